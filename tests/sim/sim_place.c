/* SPDX-License-Identifier: MIT
 *
 * Where nodes are placed, as one host's daemon sees it (src/daemon/placing.c): what its openers
 * claim, what it gives up for other hosts, what it asks of the old host, and being fenced. Who
 * decides is the directory (sim_dir.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

#define GRACE (100 * MS)    /* for a directory that is not there at this moment */
#define PATIENCE (500 * MS) /* for what the old host knows */

static bool answers(const struct host *host) {
    return host->up && host->daemon && host->paused <= host->sim->now;
}

void place_init(struct sim *sim) {
    for (int n = 0; n < sim->nodes; n++) {
        int home = (int) sim_random(sim, (uint64_t) sim->hosts);

        sim->truth[n].host = home;
        sim->node[n] = (struct node){.home = -1, .wish = n < sim->lasting ? home : -1,
                                       .next = NEVER};
        sim->node[NODES + n] = (struct node){.home = -1, .wish = -1, .next = NEVER};
    }
}

void place_start(struct sim *sim, int node, int host, bool take) {
    if (gone_is_ephemeral(sim, node))
        return;
    sim->node[node].wish = host;
    sim->node[node].wish_take = take;
    sim->node[node].wish_at = sim->now + sim_random(sim, 60 * MS);
}

void place_watch(struct host *host, int node) {
    if (gone_is_ephemeral(host->sim, node))
        return;
    if (!host->watched[node])
        (void) member_watch(host->member, (uint32_t) node + 1);
    host->watched[node] = true;
}

/* Somebody says that the node is not there: what does the directory say? */
void place_ask(struct host *host, int node) {
    uint64_t at = host->sim->now + MS + sim_random(host->sim, 50 * MS);

    if (gone_is_ephemeral(host->sim, node))
        return;
    if (at < host->ask_at[node])
        host->ask_at[node] = at;
    host->pending |= UINT32_C(1) << node;
}

static void kill_one(struct sim *sim, int node, const struct host *host) {
    if (sim->node[node].home == host->index)
        node_die(sim, node);
}

static void kill_here(struct host *host, int node) {
    kill_one(host->sim, node, host);
    kill_one(host->sim, NODES + node, host);
}

/* It was given up there, but that could not be noted, and somebody has taken it over since: then
 * the list of what goes first does not have that host. */
static bool was_taken(const struct sim *sim, const struct host *old, int node,
                      const Tram__Hosts__Record *record) {
    if (!old->place[node].yielded || sim->truth[node].host != old->index)
        return false;
    for (size_t i = 0; i < record->n_left; i++) {
        if ((int) record->left[i] - 1 == old->index)
            return false;
    }
    return true;
}

/* The directory noted that: what is so from now on, whoever knows it. */
void place_noted(struct sim *sim, const Tram__Hosts__Record *record) {
    int node = (int) record->id - 1, holder = (int) record->holder - 1;
    uint64_t epoch = record->epoch;
    struct node *who = &sim->node[node];
    bool taken = false;

    if (epoch <= sim->truth[node].epoch)
        return;
    for (int h = 0; h < sim->hosts; h++) {
        struct host *old = &sim->host[h];

        if (h == holder || (!old->place[node].here && !was_taken(sim, old, node, record)))
            continue;
        taken |= old->place[node].here;
        for (int to = 0; to < sim->nodes; to++) {
            struct ring *ring = old->rings[node][to];

            if (ring && !ring->mirror && !ring->promoted && /* (that one had been given up) */
                (old->place[node].here || !ring_drained(ring)))
                oracle_fence(sim, ring->stream, epoch);
        }
    }
    sim_trace(sim, "node %d is placed on host %d, epoch %u%s", node, holder, (unsigned) epoch,
              taken ? ", taken over" : "");
    if (holder >= 0)
        sim->truth[node].host = holder;
    for (int to = 0; holder >= 0 && to < sim->nodes; to++) { /* what it left there is its own */
        struct ring *ring = sim->host[holder].rings[node][to];

        if (ring && !ring->mirror)
            memset(ring->stream->stale, 0, sizeof(ring->stream->stale));
    }
    sim->truth[node].epoch = epoch;
    if (taken) {
        sim->truth[node].taken = epoch;
        oracle_doubt(sim, node);
    }
    if (who->home < 0 || who->home == holder)
        return;
    if (sim->node[NODES + node].home >= 0) /* its process lives on, and doesn't know yet */
        node_die(sim, NODES + node);
    sim->node[NODES + node] = *who;
    sim->running |= UINT64_C(1) << (NODES + node);
    sim->node[NODES + node].wish = -1;
    who->home = -1;
    who->hands = 0;
    who->next = NEVER;
    if (who->wish < 0)
        place_start(sim, node, sim->truth[node].host, false);
}

/* ---- claims ---------------------------------------------------------------------------------- */

static void claim_end(struct host *host, int node) {
    if (!host->claims[node].on)
        return;
    host->claims[node].on = false;
    member_claim_end(host->member, (uint64_t) node + 1);
}

static void claim_begin(struct host *host, int node, bool take) {
    if (host->claims[node].on)
        return;
    host->claims[node] = (struct claim){.on = true, .since = host->sim->now, .from = -1};
    host->pending |= UINT32_C(1) << node;
    (void) member_claim(host->member, (uint64_t) node + 1, (uint32_t) node + 1, take);
}

void place_say(struct host *host, int peer, const hosts_frame *frame) {
    struct peer *to = &host->peers[peer];
    uint8_t bytes[5 + 16384];

    put32(bytes, to->control_out);
    bytes[4] = 1;
    if (5 + tram__hosts__frame__get_packed_size(frame) > sizeof(bytes))
        sim_fail(host->sim, "a frame that is too large");
    else if (link_control(to->link, bytes, 5 + tram__hosts__frame__pack(frame, bytes + 5)) == 0)
        to->control_out++;
}

static void say_give(struct host *host, int old, int node, uint64_t epoch, uint64_t serial) {
    Tram__Hosts__Give give = HOSTS_NEW(Give, give);
    hosts_frame frame = HOSTS_FRAME(GIVE, give, &give);

    give.id = (uint32_t) node + 1;
    give.epoch = epoch;
    give.entered = serial == 0;
    give.serial = serial;
    place_say(host, old, &frame);
}

static void ask_give(struct host *host, int node) {
    struct claim *claim = &host->claims[node];

    claim->serial = ++host->gives;
    say_give(host, claim->from, node, claim->epoch, claim->serial);
}

/* All is known that there is to know: it is placed here. */
static void settle(struct host *host, int node, uint64_t epoch, int from, bool taken) {
    struct sim *sim = host->sim;
    struct place *place = &host->place[node];

    claim_end(host, node);
    if (place->here && place->epoch >= epoch)
        return;
    sim_trace(sim, "host %d: node %d is placed here, epoch %u%s", host->index, node,
              (unsigned) epoch, taken ? ", taken" : "");
    kill_here(host, node);
    if (taken) {
        sim->truth[node].taken = epoch;
        oracle_doubt(sim, node);
    }
    move_enter(host, node, !taken);
    *place = (struct place){.here = true, .epoch = epoch};
    host->where[node] = (struct where){host->index, epoch, true, true};
    host->left[node].told = false;
    for (int to = 0; to < sim->nodes; to++) { /* what it left here is its own again */
        if (host->rings[node][to] && !host->rings[node][to]->mirror)
            memset(host->rings[node][to]->stream->stale, 0,
                   sizeof(host->rings[node][to]->stream->stale));
    }
    store_reopen(host, node);
    host->dirty = host->look = true;
    if (from >= 0 && !taken)
        say_give(host, from, node, epoch, 0);
    if (from < 0 && !taken)
        return;
    member_settled(host->member, (uint32_t) node + 1, epoch);
    if (!sim->calm && sim->odds[FAULT_DIRECTORY] > 0 && sim_chance(sim, 10))
        dir_cut(host); /* before that is heard */
}

static void on_granted(void *arg, uint64_t cookie, uint32_t id, uint64_t epoch, uint32_t from,
                       bool taken) {
    struct host *host = arg;
    int node = (int) id - 1;
    struct claim *claim = &host->claims[node];

    (void) cookie;
    if (from == 0 || taken || host->where[node].epoch >= epoch) {
        settle(host, node, epoch, (int) from - 1, taken);
        return;
    }
    if (!claim->on)
        return; /* nobody waits any more */
    claim->granted = true;
    claim->epoch = epoch;
    claim->from = (int) from - 1;
    claim->since = host->sim->now;
    if (link_is_up(host->peers[claim->from].link))
        ask_give(host, node);
}

static void on_refused(void *arg, uint64_t cookie, uint32_t id, int error, uint32_t holder,
                       const char *text) {
    struct host *host = arg;

    (void) cookie, (void) error, (void) holder;
    sim_trace(host->sim, "host %d: node %d is refused: %s", host->index, (int) id - 1, text);
    host->claims[id - 1].on = false;
}

/* ---- what the directory says ----------------------------------------------------------------- */

static void fence(struct host *host, int node) {
    struct place *place = &host->place[node];

    sim_trace(host->sim, "host %d: node %d is fenced", host->index, node);
    kill_here(host, node);
    place->was = place->epoch;
    place->here = place->yielded = false;
    for (int to = 0; to < host->sim->nodes; to++) { /* also if it was here for this moment only */
        const struct ring *ring = host->rings[node][to];

        if (ring && !ring->mirror && !ring->promoted && !ring->stream->fenced)
            oracle_fence(host->sim, ring->stream, host->where[node].epoch);
    }
    move_drop_mirrors(host, node);
    move_forget(host, node);
    place_watch(host, node); /* it may go on from there */
}

/* ---- what a node left here when it moved ----------------------------------------------------- */

/* For whom, elsewhere, messages of it wait. */
static struct member_left left_of(const struct host *host, int node, uint32_t *to) {
    struct member_left left = {to, 0};

    for (int n = 0; n < host->sim->nodes; n++) {
        const struct ring *ring = host->rings[node][n];

        if (!ring || ring->mirror || ring->promoted || ring_drained(ring))
            continue;
        if (left.count == HOSTS_LEFT_EACH) {
            to[0] = 0;
            left.count = 1;
            break;
        }
        to[left.count++] = (uint32_t) n + 1;
    }
    return left;
}

static bool is_left(const struct left *left, int host) {
    for (uint32_t i = 0; i < left->count; i++) {
        if ((int) left->host[i] - 1 == host)
            return true;
    }
    return false;
}

static void left_set(struct host *host, int node, const hosts_placed *placed) {
    struct left *left = &host->left[node];

    left->told = true;
    left->count = (uint32_t) placed->n_left;
    for (uint32_t i = 0; i < left->count; i++) {
        left->host[i] = placed->left[i];
        left->to[i] = placed->to[i];
    }
    left->at = is_left(left, host->index) ? host->sim->now + 20 * MS : NEVER;
    host->pending |= UINT32_C(1) << node;
    for (int to = 0; to < host->sim->nodes && left->at != NEVER; to++) {
        struct ring *ring = host->rings[node][to];

        if (ring && ring->out && ring->stale) /* who said so did not know that it goes first */
            ring->away = ring->again = true;
    }
}

static bool left_same(const struct left *left, int host, struct member_left now) {
    size_t count = 0, same = 0;

    for (uint32_t i = 0; i < left->count; i++) {
        if ((int) left->host[i] - 1 != host)
            continue;
        count++;
        for (size_t k = 0; k < now.count; k++)
            same += now.to[k] == left->to[i];
    }
    return count == now.count && same == count;
}

static void left_time(struct host *host, int node) {
    struct left *left = &host->left[node];
    uint32_t to[HOSTS_LEFT_EACH];
    struct member_left now = left_of(host, node, to);

    left->at = host->sim->now + 20 * MS;
    if (host->place[node].here || left_same(left, host->index, now))
        return;
    left->at = host->sim->now + 200 * MS; /* if it can't be noted */
    member_left(host->member, (uint32_t) node + 1, now);
}

/* The first host where messages of it wait for that node; -1: none. */
static int left_first(const struct left *left, int to) {
    for (uint32_t i = 0; i < left->count; i++) {
        if (left->to[i] == 0 || (int) left->to[i] - 1 == to)
            return (int) left->host[i] - 1;
    }
    return -1;
}

bool place_waits(const struct host *host, int from, int to, int peer) {
    int first = left_first(&host->left[from], to);

    return first >= 0 && first != peer;
}

bool place_first(const struct host *host, int from, int to, int peer) {
    return left_first(&host->left[from], to) == peer;
}

static void on_placed(void *arg, const hosts_placed *placed) {
    struct host *host = arg;
    uint64_t epoch = placed->epoch;
    uint32_t holder = placed->host;
    int node = (int) placed->id - 1;
    struct where *where = &host->where[node];
    bool doubt = host->place[node].here;

    where->told = true;
    host->dirty = host->look = true;
    if (where->epoch <= epoch)
        left_set(host, node, placed);
    if ((int) holder - 1 == host->index || where->epoch > epoch)
        return;
    if (host->claims[node].on && host->claims[node].granted &&
        host->claims[node].epoch < epoch && !BUG(LATE_GIVEN))
        claim_end(host, node); /* it was taken over meanwhile */
    if (where->epoch < host->sim->truth[node].taken)
        oracle_learned(host->sim, node, host->index);
    *where = (struct where){(int) holder - 1, epoch, true, true};
    if (doubt)
        fence(host, node);
    for (int from = 0; from < host->sim->nodes; from++) {
        if (host->rings[from][node] && host->rings[from][node]->away)
            host->rings[from][node]->again = true;
    }
}

static void on_yield(void *arg, uint32_t id, uint64_t epoch, uint32_t to) {
    struct host *host = arg;
    struct sim *sim = host->sim;
    int node = (int) id - 1;
    struct place *place = &host->place[node];
    uint32_t whom[HOSTS_LEFT_EACH];
    struct member_left left = left_of(host, node, whom);
    bool knew = place->here || (place->yielded && place->epoch == epoch);
    bool runs = sim->node[node].home == host->index ||
                sim->node[NODES + node].home == host->index;

    if (host->claims[node].on && host->claims[node].granted && !BUG(LATE_GIVEN))
        claim_end(host, node); /* somebody else has it before we had */
    if (place->here && runs) {
        member_yielded(host->member, id, epoch, -EADDRINUSE, true, (struct member_left){0},
                       "it runs");
        return;
    }
    if (place->here) {
        sim_trace(sim, "host %d: node %d is given up for host %d", host->index, node, (int) to - 1);
        *place = (struct place){.yielded = true, .was = place->epoch, .epoch = epoch};
        host->where[node].host = -1; /* who asked has it when the directory says so: it may not
                                        be noted */
        move_give_up(host, node);
        place_watch(host, node);
    }
    member_yielded(host->member, id, epoch, 0, knew, left, "");
}

static bool on_held(void *arg, uint32_t after, uint32_t *ret_id, uint64_t *ret_epoch) {
    const struct host *host = arg;

    for (int node = (int) after; node < host->sim->lasting; node++) {
        if (!host->place[node].here)
            continue;
        *ret_id = (uint32_t) node + 1;
        *ret_epoch = host->place[node].epoch;
        return true;
    }
    return false;
}

static void on_send(void *arg, const hosts_frame *frame) {
    dir_line_send(arg, frame);
}

static void on_joined(void *arg, uint32_t number) {
    const struct host *host = arg;

    if ((int) number - 1 != host->index)
        sim_fail(host->sim, "host %d got the number %u", host->index, number);
}

static void on_host(void *arg, const hosts_host *words, bool gone) {
    (void) arg, (void) words, (void) gone;
}

static void on_told(void *arg) {
    ((struct host *) arg)->dirty = true;
}

static void on_done(void *arg, uint64_t cookie, int error, const char *text) {
    (void) arg, (void) cookie, (void) error, (void) text;
}

static const struct member_calls calls = {
    .send = on_send, .held = on_held, .on_joined = on_joined, .on_host = on_host,
    .on_told = on_told, .on_granted = on_granted, .on_refused = on_refused,
    .on_placed = on_placed, .on_yield = on_yield, .on_done = on_done,
};

/* ---- what other hosts ask and say ------------------------------------------------------------ */

static void take_give(struct host *host, int peer, const Tram__Hosts__Give *give) {
    int node = (int) give->id - 1;
    Tram__Hosts__Given given = HOSTS_NEW(Given, given);
    hosts_frame frame = HOSTS_FRAME(GIVEN, given, &given);

    if (host->place[node].here || host->where[node].epoch > give->epoch) {
        given.id = give->id;
        given.epoch = give->epoch;
        given.serial = give->serial;
        given.error = -ESTALE; /* it is here, or went on */
        if (!give->entered)
            place_say(host, peer, &frame);
    } else if (give->entered) {
        move_given(host, node);
    } else {
        move_give(host, peer, node, give);
    }
}

static void take_given(struct host *host, int peer, const Tram__Hosts__Given *given) {
    int node = (int) given->id - 1;
    struct claim *claim = &host->claims[node];

    if (!claim->on || !claim->granted || claim->from != peer || claim->epoch != given->epoch ||
        claim->serial != given->serial)
        return; /* nobody asks any more, or asked again: some of it was not heard */
    if (given->error < 0) {
        sim_trace(host->sim, "host %d: node %d: host %d says error %d", host->index, node, peer,
                  given->error);
        claim_end(host, node);
        return;
    }
    if (!claim->began)
        move_forget(host, node);
    claim->began = true;
    for (size_t i = 0; i < given->n_channels; i++)
        move_import(host, node, given->channels[i]);
    if (!given->more)
        settle(host, node, given->epoch, peer, false);
}

void place_take(struct host *host, int peer, const hosts_frame *frame) {
    if (frame->kind_case == TRAM__HOSTS__FRAME__KIND_GIVE)
        take_give(host, peer, frame->give);
    else if (frame->kind_case == TRAM__HOSTS__FRAME__KIND_GIVEN)
        take_given(host, peer, frame->given);
}

/* The link to that host came up. */
void place_link(struct host *host, int peer) {
    for (int n = 0; n < host->sim->nodes; n++) {
        struct claim *claim = &host->claims[n];

        if (!claim->on || !claim->granted || claim->from != peer)
            continue;
        claim->began = false;
        ask_give(host, n);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

static void try_start(struct sim *sim, int node) {
    struct node *who = &sim->node[node];
    struct host *new = &sim->host[who->wish];

    who->wish_at = sim->now + 20 * MS + sim_random(sim, 60 * MS);
    if (!new->up || (who->home >= 0 && !who->wish_take))
        return;
    if (new->place[node].here) {
        if (who->home < 0)
            node_open(sim, node, new->index, new->place[node].epoch);
        who->wish = -1;
    } else if (answers(new)) {
        claim_begin(new, node, who->wish_take);
    }
}

static uint64_t claim_due(const struct claim *claim) {
    return claim->on ? claim->since + (claim->granted ? PATIENCE : GRACE) : NEVER;
}

static uint64_t host_next(const struct host *host) {
    uint64_t next = NEVER;

    for (uint32_t rest = host->pending; rest; rest &= rest - 1) {
        int n = __builtin_ctz(rest);
        uint64_t at = claim_due(&host->claims[n]);

        next = at < next ? at : next;
        next = host->ask_at[n] < next ? host->ask_at[n] : next;
        next = host->left[n].at < next ? host->left[n].at : next;
    }
    return next;
}

static void host_time(struct host *host) {
    uint64_t now = host->sim->now;

    for (uint32_t rest = host->pending; rest; rest &= rest - 1) {
        int n = __builtin_ctz(rest);
        struct claim *claim = &host->claims[n];

        if (host->left[n].at <= now)
            left_time(host, n);
        if (!claim->on && host->ask_at[n] == NEVER && host->left[n].at == NEVER)
            host->pending &= ~(UINT32_C(1) << n);
        if (claim_due(claim) <= now && (claim->granted || !member_joined(host->member)))
            claim_end(host, n);
        else if (claim_due(claim) <= now)
            claim->since = now; /* it has been asked, and answers */
        if (host->ask_at[n] > now)
            continue;
        host->ask_at[n] = NEVER;
        host->watched[n] = false;
        member_unwatch(host->member, (uint32_t) n + 1);
        place_watch(host, n);
    }
}

uint64_t place_next(const struct sim *sim) {
    uint64_t next = NEVER;

    for (int h = 0; h < sim->hosts; h++) {
        uint64_t at = answers(&sim->host[h]) ? host_next(&sim->host[h]) : NEVER;

        next = at < next ? at : next;
    }
    for (int n = 0; n < sim->nodes; n++) {
        if (sim->node[n].wish >= 0 && sim->node[n].wish_at < next)
            next = sim->node[n].wish_at;
    }
    return next;
}

void place_step(struct sim *sim) {
    for (int h = 0; h < sim->hosts; h++) {
        if (answers(&sim->host[h]))
            host_time(&sim->host[h]);
    }
    for (int n = 0; n < sim->nodes; n++) {
        if (sim->node[n].wish >= 0 && sim->node[n].wish_at <= sim->now)
            try_start(sim, n);
    }
}

/* The connection to the directory ended: what it granted may not hold any more. */
void place_cut(struct host *host) {
    for (int n = 0; n < host->sim->nodes; n++) {
        if (host->claims[n].on && host->claims[n].granted && !BUG(LATE_GIVEN))
            claim_end(host, n);
    }
}

/* ---- start, end, loss ------------------------------------------------------------------------ */

/* The daemon is there: what the files say it knows. */
void place_begin(struct host *host) {
    struct member_who who = {.cluster = "sim", .host = host->self.host, .program = "1",
                             .number = (uint32_t) host->index + 1};

    memcpy(who.instance, host->self.instance, sizeof(who.instance));
    if (member_new(&who, &calls, host, &host->member) < 0)
        sim_fail(host->sim, "no memory");
    host->line_at = host->sim->now + sim_random(host->sim, 5 * MS);
    for (int n = 0; n < NODES; n++) {
        host->ask_at[n] = NEVER;
        host->left[n] = (struct left){.at = NEVER};
        host->where[n].told = gone_is_ephemeral(host->sim, n);
        host->watched[n] = false;
        /* So before anything is granted it is known here what became of those that are known. */
        if (host->where[n].known && !host->place[n].here)
            place_watch(host, n);
    }
}

void place_end(struct host *host, bool quietly) {
    dir_leave(host, quietly);
    host->member = member_free(host->member);
    memset(host->claims, 0, sizeof(host->claims));
    for (int n = 0; n < NODES; n++)
        host->ask_at[n] = host->left[n].at = NEVER;
}

/* It gave the node up, and who has it now has not got what is known here of it. */
static bool has_journals(const struct host *host, int node) {
    const struct sim *sim = host->sim;
    int holder = sim->truth[node].host;

    return host->place[node].yielded && holder >= 0 && !sim->host[holder].place[node].here;
}

void place_host_lost(struct host *host) {
    struct sim *sim = host->sim;

    oracle_before_loss(sim, host->index);
    for (int n = 0; n < sim->nodes; n++) {
        kill_here(host, n);
        if (host->place[n].here || sim->truth[n].host == host->index || has_journals(host, n))
            oracle_doubt(sim, n);
        for (int to = 0; to < sim->nodes; to++) {
            if (host->rings[n][to])
                ring_remove(host, host->rings[n][to]);
        }
    }
    while (host->journals)
        journal_remove(host, host->journals);
    memset(host->place, 0, sizeof(host->place));
    memset(host->where, 0, (size_t) sim->lasting * sizeof(host->where[0]));
}
