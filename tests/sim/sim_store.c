/* SPDX-License-Identifier: MIT
 *
 * The store of the simulated daemon: rings in memory, by the rules that link.h has for a store.
 * What is decided here (which stream waits for which, what a mirror is made from) is what the
 * daemon has to decide, too.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

struct peer_store sim_stores[HOSTS][HOSTS];

#define YIELDED LINK_YIELDED

/* ---- notes ----------------------------------------------------------------------------------- */

struct journal *journal_of(struct host *host, int from, int to, uint64_t id) {
    for (struct journal *j = host->journals; j; j = j->next) {
        if (j->from == from && j->to == to && j->id == id)
            return j;
    }
    return NULL;
}

struct journal *journal_add(struct host *host, int from, int to, uint64_t id) {
    struct journal *journal = journal_of(host, from, to, id);

    if (!journal) {
        journal = calloc(1, sizeof(*journal));
        journal->next = host->journals;
        host->journals = journal;
        journal->from = from;
        journal->to = to;
        journal->id = id;
    }
    return journal;
}

void journal_enter(struct host *host, const struct ring *ring) {
    struct journal *journal = journal_add(host, ring->from, ring->to, ring->id);

    journal->past = journal->retired = false;
    journal->consumed = ring->consumed;
    journal->handed = ring->handed;
    journal->unsure = ring->unsure;
    memcpy(journal->attempts, ring->attempts, sizeof(ring->attempts));
    memcpy(journal->released, ring->released, sizeof(ring->released));
}

void journal_remove(struct host *host, struct journal *journal) {
    struct journal **at = &host->journals;

    while (*at != journal)
        at = &(*at)->next;
    *at = journal->next;
    free(journal);
}

/* ---- origins --------------------------------------------------------------------------------- */

/* As what its host may send for its sender. */
uint64_t store_from_epoch(const struct host *host, const struct ring *ring) {
    const struct place *place = &host->place[ring->from];

    if (ring->promoted)
        return YIELDED;
    if (!place->here && place->yielded && host->where[ring->from].epoch > place->was)
        return host->where[ring->from].epoch; /* may it go first? The directory's list says so */
    return place->here ? place->epoch : place->was;
}

static int origin_offer(void *store, void *channel, struct link_offer *ret) {
    struct peer_store *ps = store;
    struct ring *ring = channel;

    if (sim_chance(ps->host->sim, 1)) {
        ps->host->dirty = true; /* asked for again when it is kicked */
        return -EAGAIN;
    }
    *ret = (struct link_offer){
        .consumed = ring->consumed,
        .handed = ring->promoted                 ? ring->accepted
                  : ring->unsure > ring->handed ? ring->unsure /* as a journal said */
                                                : ring->handed,
        .accepted = ring->accepted,
        .from_epoch = store_from_epoch(ps->host, ring),
        .to_epoch = ps->host->where[ring->to].epoch,
    };
    return 0;
}

static int origin_run(void *store, void *channel, uint64_t seq, uint64_t offset, uint32_t max,
                      struct link_run *ret) {
    struct peer_store *ps = store;
    struct sim *sim = ps->host->sim;
    struct ring *ring = channel;
    uint64_t from, end, last = seq;

    if (seq > ring->accepted)
        return 0;
    if (seq <= ring->consumed)
        sim_fail(sim, "%d>%d: #%u is asked for, and freed", ring->from, ring->to, (unsigned) seq);
    from = ring_position(ring, seq) + offset;
    end = from;
    while (last <= ring->accepted && ring->end[last] - from <= max && !sim_chance(sim, 10))
        end = ring->end[last++];
    *ret = (struct link_run){
        .bytes = ring->data + from % ring->capacity,
        .last = last - 1 >= seq ? last - 1 : 0,
        .seq = last,
        .want = sim_chance(sim, 10),
    };
    if (last == seq) { /* a part, for want of room, or because the dice say so */
        uint64_t left = ring->end[seq] - from;

        if (left <= max) {
            end = ring->end[seq];
            ret->last = seq;
            ret->seq = seq + 1;
        } else {
            end = from + max;
            ret->offset = offset + max;
        }
    }
    ret->size = (uint32_t) (end - from);
    ret->more = ret->seq <= ring->accepted;
    return 1;
}

static int origin_handed(void *store, void *channel, uint64_t seq) {
    struct ring *ring = channel;

    (void) store;
    if (seq > ring->handed)
        ring->handed = seq;
    return 0;
}

static void origin_commit(void *store, void *channel, uint64_t consumed) {
    struct peer_store *ps = store;
    struct ring *ring = channel;

    if (consumed <= ring->consumed)
        return; /* its receiver was here meanwhile */
    if (consumed > ring->accepted) {
        sim_fail(ps->host->sim, "%d>%d: commits %u, at %u of %u", ring->from, ring->to,
                 (unsigned) consumed, (unsigned) ring->consumed, (unsigned) ring->accepted);
        return;
    }
    ring_consume(ring, consumed);
    if (ring_drained(ring))
        ps->host->dirty = true;
}

static void origin_answered(void *store, void *channel, enum link_answer answer,
                            uint64_t consumed) {
    struct peer_store *ps = store;
    struct ring *ring = channel;

    (void) consumed;
    sim_trace(ps->host->sim, "host %d: %d>%d answered %d by host %d", ps->host->index, ring->from,
              ring->to, answer, ps->peer);
    if (answer == LINK_PAST) {
        ring->past = ps->host->dirty = true;
        if (!ring->promoted)
            sim_fail(ps->host->sim, "%d>%d: an origin that is behind its mirror", ring->from,
                     ring->to);
    }
    if (answer == LINK_BROKEN)
        sim_fail(ps->host->sim, "%d>%d of host %d is nonsense to host %d%s%s", ring->from,
                 ring->to, ps->host->index, ps->peer,
                 link_wrong(ps->host->peers[ps->peer].link)[0] ? ": " : "",
                 link_wrong(ps->host->peers[ps->peer].link));
    if (answer == LINK_REMOVED)
        gone_origin(ps->host, ring);
    ring->stale = answer == LINK_STALE;
    if (answer == LINK_AWAY) {
        ring->away = true;
        place_ask(ps->host, ring->to);
    }
}

/* ---- mirrors --------------------------------------------------------------------------------- */

static void chan_free(struct chan *chan) {
    struct chan **at = &chan->host->chans;

    while (*at != chan)
        at = &(*at)->next;
    *at = chan->next;
    if (chan->ring) {
        chan->ring->chan = NULL;
        chan->ring->wanted = false;
    }
    free(chan);
}

/* Does another copy of the stream go on with it? What is in that may have been seen, too. */
static bool is_other(const struct host *host, int source, uint8_t instance, int peer) {
    return source != peer || instance != host->peers[peer].instance;
}

static struct ring *mirror_new(struct host *host, int from, int to, uint64_t id,
                               const struct link_offer *offer, int peer) {
    struct journal *known = journal_of(host, from, to, id);
    uint64_t consumed = offer->consumed, unsure = known ? known->unsure : 0;
    struct ring *ring;

    if (known && known->retired && BUG(NO_PAST))
        known = NULL;
    if (known && known->consumed > consumed)
        consumed = known->consumed;
    ring = ring_new(host, from, to, id, consumed);
    ring->mirror = true;
    if (known && !known->past) {
        ring->handed = known->handed > consumed ? known->handed : consumed;
        if (known->retired && is_other(host, known->source, known->instance, peer) &&
            unsure < offer->handed)
            unsure = offer->handed;
        ring->unsure = unsure;
        memcpy(ring->attempts, known->attempts, sizeof(ring->attempts));
        memcpy(ring->released, known->released, sizeof(ring->released));
    } else if (!BUG(NO_UNSURE)) {
        ring->unsure = offer->handed;
    }
    oracle_entered(host, ring, offer->handed, known && !known->past);
    if (known)
        journal_remove(host, known);
    return ring;
}

void store_close(struct host *host, struct ring *ring, enum link_end end) {
    ring->out = link_close(host->peers[ring->out_host].link, ring->out, end,
                           !ring_drained(ring));
    ring->out_host = -1;
    ring->away = ring->again = false;
}

/* Its files go; what its words say is noted. */
void store_retire(struct host *host, struct ring *ring) {
    struct journal *known;

    journal_enter(host, ring);
    known = journal_of(host, ring->from, ring->to, ring->id);
    known->retired = true;
    known->source = ring->source;
    known->instance = ring->instance;
    if (ring->out)
        store_close(host, ring, LINK_MOVED);
    if (ring->chan) {
        struct chan *chan = ring->chan;

        chan->ring = NULL; /* waits from now on */
        ring->chan = NULL;
        link_refuse(host->peers[chan->peer].link, chan->in, LINK_WAIT);
    }
    for (int i = 0; i < host->sim->hosts && !ring->mirror; i++)
        host->peers[i].settle_due = host->dirty = true; /* a mirror of it may stand anywhere */
    sim_trace(host->sim, "host %d: %d>%d %08x retired at %u of %u", host->index, ring->from,
              ring->to, (unsigned) ring->id, (unsigned) ring->consumed,
              (unsigned) ring->accepted);
    ring_remove(host, ring);
    host->look = true;
}

/* Was the host where this mirror comes from fenced? */
bool store_is_fenced(const struct host *host, const struct ring *ring) {
    return ring->from_epoch != YIELDED && host->where[ring->from].known &&
           host->where[ring->from].epoch > ring->from_epoch &&
           host->where[ring->from].host != ring->source;
}

bool store_may_retire(const struct host *host, const struct ring *ring) {
    if (BUG(NO_WAIT))
        return true;
    if (!ring_drained(ring))
        return false;
    if (!ring->mirror)
        return !ring->promoted && !host->place[ring->from].here;
    return ring->orphan || ring->unnamed || store_is_fenced(host, ring);
}

static enum link_answer mirror_answer(struct host *host, int peer, const struct chan *chan,
                                      const struct link_offer *offer, struct ring **ret_ring) {
    int from = chan->from, to = chan->to;
    struct ring *ring = host->rings[from][to];
    const struct journal *known = journal_of(host, from, to, chan->id);

    if (host->sim->node[to].over)
        return LINK_REMOVED;
    if (!host->place[to].here || offer->to_epoch < host->place[to].epoch)
        return LINK_AWAY; /* (the latter: said before it left from here, and came back) */
    if (!BUG(NO_EPOCH) && offer->from_epoch != YIELDED && host->where[from].known &&
        host->where[from].epoch > offer->from_epoch && host->where[from].host != peer) {
        if (ring && ring->mirror && ring->id == chan->id && !ring->chan) {
            ring->from_epoch = offer->from_epoch; /* its sender had come back, and was fenced */
            host->look = true;
        }
        return LINK_STALE;
    }
    if ((known && known->consumed > offer->accepted && !BUG(NO_PAST)) ||
        (ring && ring->id == chan->id && ring->accepted > offer->accepted && !ring->left))
        return LINK_PAST;
    if (ring && ring->mirror && (ring->id == chan->id || BUG(NO_STREAM))) {
        if (ring->chan)
            return ring->chan->peer == peer ? (enum link_answer) -EEXIST : LINK_WAIT;
        if (offer->consumed > ring->accepted || ring->left) {
            ring_remove(host, ring);
            ring = NULL;
        } else if (offer->consumed > ring->consumed) {
            ring_consume(ring, offer->consumed);
        }
        if (ring && is_other(host, ring->source, ring->instance, peer) &&
            ring->unsure < offer->handed)
            ring->unsure = offer->handed;
    } else if (ring) {
        if (!store_may_retire(host, ring) &&
            !(ring_drained(ring) && offer->from_epoch == YIELDED &&
              (ring->from_epoch != YIELDED || place_first(host, from, to, peer))))
            return LINK_WAIT;
        store_retire(host, ring);
        ring = NULL;
    }
    *ret_ring = ring ? ring : mirror_new(host, from, to, chan->id, offer, peer);
    return LINK_TAKEN;
}

/* Is it known whether that host may send for that node? */
static bool is_known(const struct host *host, const struct chan *chan,
                     const struct link_offer *offer) {
    const struct where *where = &host->where[chan->from];

    if (!where->known)
        return false; /* who has not been told where its sender is can fence nobody */
    if (offer->from_epoch < where->epoch && !host->left[chan->from].told)
        return false; /* likewise what goes first */
    return offer->from_epoch == YIELDED || offer->from_epoch < where->epoch ||
           where->host == chan->peer; /* else it was placed there since */
}

static void mirror_look(void *store, void *channel, struct link_state *ret) {
    struct ring *ring = ((struct chan *) channel)->ring;
    uint64_t used;

    (void) store;
    if (!ring)
        return;
    used = ring_used(ring);
    if (BUG(FREE_UNCONSUMED) && ring->handed <= ring->accepted)
        used -= ring_position(ring, ring->handed + 1) - ring_position(ring, ring->consumed + 1);
    used += ring->placed;
    *ret = (struct link_state){ring->accepted, ring->consumed,
                               ring->capacity > used ? ring->capacity - used : 0};
}

static int mirror_open(void *store, struct link_in *in, const struct link_name *name,
                       const struct link_offer *said, void **ret_channel,
                       struct link_state *ret_state) {
    struct peer_store *ps = store;
    struct host *host = ps->host;
    struct chan *chan = *ret_channel;
    struct link_offer as_known = *said;
    const struct link_offer *offer = &as_known;
    struct ring *ring = NULL;
    enum link_answer answer;

    if (!chan) {
        chan = calloc(1, sizeof(*chan));
        chan->next = host->chans;
        host->chans = chan;
        chan->host = host;
        chan->peer = ps->peer;
        chan->from = (int) name->from - 1;
        chan->to = (int) name->to - 1;
        chan->id = name->stream;
        chan->in = in;
    }
    *ret_channel = chan;
    place_watch(host, chan->from);
    if (place_first(host, chan->from, chan->to, ps->peer))
        as_known.from_epoch = YIELDED; /* by the directory's word, not by that host's */
    chan->later = sim_chance(host->sim, 2) || !is_known(host, chan, offer) ||
                  place_waits(host, chan->from, chan->to, ps->peer);
    if (chan->later)
        return LINK_LATER;
    answer = mirror_answer(host, ps->peer, chan, offer, &ring);
    sim_trace(host->sim, "host %d: %d>%d %08x of host %d opened: %d, at %u", host->index,
              chan->from, chan->to, (unsigned) chan->id, ps->peer, (int) answer,
              ring ? (unsigned) ring->accepted : 0);
    if (answer == LINK_WAIT)
        return LINK_WAIT;
    if (answer != LINK_TAKEN) {
        chan_free(chan);
        return (int) answer;
    }
    chan->ring = ring;
    ring->chan = chan;
    ring->source = ps->peer;
    ring->instance = host->peers[ps->peer].instance;
    ring->orphan = ring->unnamed = ring->left = false;
    if (ring->from_epoch == YIELDED && offer->from_epoch != YIELDED)
        host->look = true; /* one that was given up may go before it now */
    ring->from_epoch = offer->from_epoch;
    for (const struct chan *other = host->chans; other && ring_drained(ring); other = other->next)
        host->look |= !other->ring && !other->later && other->from == chan->from &&
                      other->to == chan->to; /* it may have to give way to that one */
    mirror_look(store, chan, ret_state);
    return LINK_TAKEN;
}

static uint64_t write_position(const struct ring *ring) {
    return ring_position(ring, ring->accepted + 1) + ring->placed;
}

static int mirror_place(void *store, void *channel, struct link_room *ret) {
    struct peer_store *ps = store;
    struct ring *ring = ((struct chan *) channel)->ring;
    struct link_state state;

    if (ps->host->no_memory > ps->host->sim->now || ring->left ||
        (!ps->host->sim->calm && sim_chance(ps->host->sim, 1))) {
        ring->placed = 0;
        ((struct chan *) channel)->stalled = !ring->left;
        return -ENOSPC;
    }
    mirror_look(store, channel, &state);
    *ret = (struct link_room){ring->data + write_position(ring) % ring->capacity, state.space};
    return 0;
}

static int mirror_filled(void *store, void *channel, size_t size, struct link_state *ret,
                         uint64_t *ret_rest) {
    struct peer_store *ps = store;
    struct ring *ring = ((struct chan *) channel)->ring;
    int rc = 0;

    ring_twin(ring, write_position(ring), size);
    ring->placed += size;
    while (ring->placed >= RECORD) {
        uint64_t position = ring_position(ring, ring->accepted + 1);
        const uint8_t *at = ring->data + position % ring->capacity;
        uint64_t seq = get64(at), span = RECORD + get32(at + 8);

        if ((seq != ring->accepted + 1 && !BUG(NO_TAIL_CHECK)) || span > 1u << 24 ||
            get32(at + 12) != (uint32_t) ring->from || ring->accepted == MESSAGES) {
            rc = -EBADMSG;
            break;
        }
        if (span > ring->capacity)
            ring_grow(ring, span);
        if (ring->placed < span)
            break;
        ring->accepted++;
        ring->end[ring->accepted] = position + span;
        ring->placed -= span;
    }
    mirror_look(store, channel, ret);
    *ret_rest = ring->placed;
    (void) ps;
    return rc;
}

static void mirror_want(void *store, void *channel) {
    struct ring *ring = ((struct chan *) channel)->ring;

    (void) store;
    ring->wanted = true;
}

static void mirror_closed(void *store, void *channel, enum link_end end, bool more) {
    struct chan *chan = channel;
    struct host *host = chan->host;
    struct ring *ring = chan->ring;

    (void) store;
    (void) more;
    host->look = true;
    if (ring) {
        if (BUG(PUBLISH_PART) && ring->placed >= RECORD) {
            uint64_t position = ring_position(ring, ring->accepted + 1);
            const uint8_t *at = ring->data + position % ring->capacity;

            ring->accepted++;
            ring->end[ring->accepted] = position + RECORD + get32(at + 8);
        }
        if (!BUG(KEEP_REST) || end != LINK_CUT || !host->daemon)
            ring->placed = 0;
        if (end == LINK_ENDED)
            ring->orphan = true;
    }
    chan_free(chan);
    if (ring && ring->left && (end == LINK_MOVED || end == LINK_ENDED))
        move_drop(host, ring); /* the origin is there, and goes elsewhere */
}

static void mirror_settled(void *store) {
    struct peer_store *ps = store;
    struct host *host = ps->host;

    for (int from = 0; from < host->sim->nodes; from++) {
        for (int to = 0; to < host->sim->nodes; to++) {
            struct ring *ring = host->rings[from][to];
            bool named = false;

            if (!ring || !ring->mirror || ring->source != ps->peer)
                continue;
            for (struct chan *chan = host->chans; chan; chan = chan->next)
                named |= chan->peer == ps->peer && chan->from == from && chan->to == to &&
                         chan->id == ring->id;
            if (!named) {
                ring->unnamed = true;
                host->look = true;
            }
        }
    }
}

/* ---- who goes where -------------------------------------------------------------------------- */

/* The origin has done its duty, and nobody here will write it. */
static bool is_over(const struct host *host, const struct ring *ring) {
    return ring_drained(ring) && (ring->promoted || !host->place[ring->from].here ||
                                  host->sim->node[ring->from].over);
}

static void refresh_one(struct host *host, struct ring *ring) {
    int to = ring->to, target = host->where[to].known ? host->where[to].host : -1;

    if (!host->place[to].here)
        place_watch(host, to);
    if (host->place[to].here || target == host->index)
        target = -1;
    bool over = is_over(host, ring) || ring->past;
    bool said = ring->out != NULL;

    if (ring->out && (target != ring->out_host || over || ring->again))
        store_close(host, ring, over ? LINK_ENDED : LINK_MOVED);
    if (over && !host->place[to].here) {
        ring_remove(host, ring);
        for (int i = 0; i < host->sim->hosts && !said; i++)
            host->peers[i].settle_due = true; /* nobody was told that it is gone */
        return;
    }
    if (!ring->out && target >= 0) {
        struct link_name name = {(uint32_t) ring->from + 1, (uint32_t) to + 1, ring->id};

        if (link_open(host->peers[target].link, &name, ring, &ring->out) == 0)
            ring->out_host = target;
    } else if (ring->out) {
        link_kick(host->peers[ring->out_host].link, ring->out);
    }
}

/* Does this host know where the receivers of all its origins are? Only then it may say SETTLED. */
static bool knows_all(const struct host *host) {
    for (int from = 0; from < host->sim->nodes; from++) {
        for (int to = 0; to < host->sim->nodes; to++) {
            const struct ring *ring = host->rings[from][to];

            if (ring && !ring->mirror && !host->place[to].here && !host->where[to].told)
                return false;
        }
    }
    return true;
}

void store_refresh(struct host *host) {
    host->dirty = false;
    for (int from = 0; from < host->sim->nodes; from++) {
        for (int to = 0; to < host->sim->nodes; to++) {
            struct ring *ring = host->rings[from][to];

            if (ring && !ring->mirror)
                refresh_one(host, ring);
        }
    }
    if (!knows_all(host))
        return;
    for (int i = 0; i < host->sim->hosts; i++) {
        struct peer *peer = &host->peers[i];

        if (peer->settle_due && link_is_up(peer->link)) {
            peer->settle_due = false;
            link_settle(peer->link);
        }
    }
}

void store_reopen(struct host *host, int from) {
    for (int to = 0; to < host->sim->nodes; to++) {
        struct ring *ring = host->rings[from][to];

        if (ring && !ring->mirror && ring->out)
            store_close(host, ring, LINK_MOVED);
    }
    host->dirty = true;
}

/* Who waits may not have to any more. */
void store_look(struct host *host) {
    struct { struct link *link; struct link_in *in; } waits[256];
    int count = 0;

    host->look = false;
    for (struct chan *chan = host->chans; chan && count < 256; chan = chan->next) {
        if ((!chan->ring && !chan->later) || chan->stalled) {
            chan->stalled = false;
            waits[count].link = host->peers[chan->peer].link;
            waits[count++].in = chan->in;
        }
    }
    for (int i = 0; i < count; i++) {
        bool there = false; /* still */

        for (struct chan *chan = host->chans; chan; chan = chan->next)
            there |= chan->in == waits[i].in;
        if (there)
            link_ready(waits[i].link, waits[i].in);
    }
}

/* ---- beside ---------------------------------------------------------------------------------- */

static int on_control(void *store, const void *bytes, size_t size) {
    struct peer_store *ps = store;
    struct peer *peer = &ps->host->peers[ps->peer];

    const uint8_t *at = bytes;
    struct wrong wrong = {0};
    hosts_frame *frame;

    if (size < 5 || get32(bytes) != peer->control_in)
        sim_fail(ps->host->sim, "host %d: CONTROL out of order", ps->host->index);
    peer->control_in++;
    if (size < 5 || at[4] == 0)
        return 0;
    if (hosts_unpack(at + 5, size - 5, HOSTS_TO_PEER, &frame, &wrong) < 0) {
        sim_fail(ps->host->sim, "host %d: nonsense: %s", ps->host->index, wrong.text);
        return 0;
    }
    place_take(ps->host, ps->peer, frame);
    (void) hosts_free(frame);
    return 0;
}

static void on_up(void *store, const struct link_peer *said) {
    struct peer_store *ps = store;
    struct host *host = ps->host;
    struct peer *peer = &host->peers[ps->peer];

    for (int n = 0; n < host->sim->nodes && peer->instance != said->identity.instance[1]; n++)
        oracle_learned(host->sim, n, host->index); /* it lost its memory, and so what left here */
    peer->instance = said->identity.instance[1];
    peer->control_in = peer->control_out = 0;
    peer->settle_due = true;
    host->dirty = true;
    move_source_back(host, ps->peer);
    place_link(host, ps->peer);
}

static void on_down(void *store) {
    (void) store;
}

static uint64_t on_wall(void *store) {
    struct peer_store *ps = store;

    return (uint64_t) ((int64_t) (ps->host->sim->now + UINT64_C(1000000000000000)) +
                       ps->host->skew);
}

const struct link_store sim_store = {
    .offer = origin_offer,
    .run = origin_run,
    .handed = origin_handed,
    .commit = origin_commit,
    .answered = origin_answered,
    .open = mirror_open,
    .place = mirror_place,
    .filled = mirror_filled,
    .look = mirror_look,
    .want = mirror_want,
    .closed = mirror_closed,
    .settled = mirror_settled,
    .control = on_control,
    .up = on_up,
    .down = on_down,
    .wall = on_wall,
};
