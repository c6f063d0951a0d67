/* SPDX-License-Identifier: MIT
 *
 * Where nodes are placed. The directory knows all and decides at once; hosts are told late, or, cut
 * off from it, not at all. An exact move goes in one step here, between two hosts that both answer;
 * its messages, and deaths between them, are the directory's tests.
 */
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

static bool answers(const struct host *host) {
    return host->up && host->daemon && !host->cut_off && host->paused <= host->sim->now;
}

void place_init(struct sim *sim) {
    for (int n = 0; n < sim->nodes; n++) {
        int home = (int) sim_random(sim, (uint64_t) sim->hosts);

        sim->truth[n].host = home;
        sim->truth[n].epoch = 1;
        sim->host[home].place[n] = (struct place){.here = true, .known = true, .epoch = 1};
        sim->node[n] = (struct node){.home = -1, .wish = home, .next = NEVER};
        sim->node[NODES + n] = (struct node){.home = -1, .wish = -1, .next = NEVER};
    }
    for (int h = 0; h < sim->hosts; h++)
        sim->host[h].told_at = 0;
}

void place_ask(struct host *host) {
    uint64_t at = host->sim->now + MS + sim_random(host->sim, 50 * MS);

    if (at < host->told_at)
        host->told_at = at;
}

void place_changed(struct sim *sim, int node) {
    for (int h = 0; h < sim->hosts; h++)
        place_ask(&sim->host[h]);
    sim_trace(sim, "node %d placed on host %d, epoch %u", node, sim->truth[node].host,
              (unsigned) sim->truth[node].epoch);
}

void place_start(struct sim *sim, int node, int host, bool take) {
    sim->node[node].wish = host;
    sim->node[node].wish_take = take;
    sim->node[node].wish_at = sim->now + sim_random(sim, 60 * MS);
}

/* ---- a node leaves --------------------------------------------------------------------------- */

static void past_add(struct host *host, const struct ring *ring) {
    struct journal *past = journal_add(host, ring->from, ring->to, ring->id);

    past->past = true;
    if (ring->consumed > past->consumed)
        past->consumed = ring->consumed;
}

static void kill_here(struct host *host, int node) {
    if (host->sim->node[node].home == host->index)
        node_die(host->sim, node);
    if (host->sim->node[NODES + node].home == host->index)
        node_die(host->sim, NODES + node);
}

static void refuse(struct host *host, struct ring *ring) {
    if (ring->chan)
        link_refuse(host->peers[ring->chan->peer].link, ring->chan->in, LINK_AWAY);
}

void place_drop(struct host *host, struct ring *ring) {
    past_add(host, ring);
    ring_remove(host, ring);
    host->look = true;
}

/* What becomes of the mirrors into a node that is not here any more. The only copy of a message may
 * lie in one: so each stays until the origin's host says that it goes another way. If that lost its
 * memory, the mirror is the origin from now on. */
static void drop_mirrors(struct host *host, int node) {
    for (int from = 0; from < host->sim->nodes; from++) {
        struct ring *ring = host->rings[from][node];

        if (!ring || !ring->mirror)
            continue;
        if (ring_drained(ring)) {
            refuse(host, ring);
            place_drop(host, ring);
        } else if (ring->orphan) {
            refuse(host, ring);
            ring->mirror = false;
            ring->promoted = true;
        } else {
            ring->left = true;
            ring->left_at = host->sim->now;
        }
    }
    host->dirty = host->look = true;
}

/* The channel of a mirror that was left was closed before: then it is enough that its host
 * speaks. */
void place_left(struct host *host) {
    for (int i = 0; i < host->sim->nodes * host->sim->nodes; i++) {
        struct ring *ring = host->rings[i / host->sim->nodes][i % host->sim->nodes];
        struct link_stats stats;

        if (!ring || !ring->left || ring->chan || !host->daemon ||
            !link_is_up(host->peers[ring->source].link) ||
            host->peers[ring->source].instance != ring->instance)
            continue;
        link_stats(host->peers[ring->source].link, &stats);
        if (stats.heard > ring->left_at + 3000 * MS)
            place_drop(host, ring);
    }
}

void place_source_back(struct host *host, int peer) {
    for (int from = 0; from < host->sim->nodes; from++) {
        for (int to = 0; to < host->sim->nodes; to++) {
            struct ring *ring = host->rings[from][to];
            bool same = ring && ring->instance == host->peers[peer].instance;

            if (!ring || !ring->mirror || ring->source != peer)
                continue;
            if (!same)
                ring->orphan = true;
            if (ring->left && same) {
                place_drop(host, ring);
            } else if (ring->left && host->place[to].here) {
                ring->left = false;
                ring->unsure = ring->accepted;
            } else if (ring->left) {
                ring->mirror = ring->left = false;
                ring->promoted = true;
            }
        }
    }
    host->dirty = host->look = true;
}

/* Somebody else goes on: of what is noted here only what was consumed holds still. */
static void forget_doubtful(struct host *host, int node) {
    for (struct journal *known = host->journals; known; known = known->next) {
        if (known->to == node)
            known->past = true;
    }
}

static void fence(struct host *host, int node) {
    struct place *place = &host->place[node];

    sim_trace(host->sim, "host %d: node %d is fenced", host->index, node);
    kill_here(host, node);
    place->was = place->epoch;
    place->here = place->yielded = false;
    drop_mirrors(host, node);
    forget_doubtful(host, node);
}

/* ---- a node comes ---------------------------------------------------------------------------- */

static void export(struct host *old, struct host *new, int node) {
    struct journal *next;

    for (struct journal *known = old->journals; known; known = next) {
        struct journal *copy, *link;

        next = known->next;
        if (known->to != node)
            continue;
        copy = journal_add(new, known->from, node, known->id);
        link = copy->next;
        if (copy->consumed <= known->consumed) {
            *copy = *known;
            copy->next = link;
        }
        journal_remove(old, known);
    }
    for (int from = 0; from < old->sim->nodes; from++) {
        struct ring *ring = old->rings[from][node];

        if (ring && ring->left)
            past_add(new, ring);
        else if (ring)
            journal_enter(new, ring);
    }
}

/* What the old host knew goes into the rings that are here. `exact`: it said so. */
static void enter(struct host *host, int node, bool exact) {
    for (int from = 0; from < host->sim->nodes; from++) {
        struct ring *ring = host->rings[from][node];
        struct journal *known = ring ? journal_of(host, from, node, ring->id) : NULL;

        if (!ring)
            continue;
        refuse(host, ring); /* its origin's host has not noticed that the node was away */
        if (ring->left && !(exact && known && !known->past))
            continue; /* of what is in it nobody knows what was consumed since: its origin does */
        ring->left = false;
        if (ring->promoted) { /* its receiver is back */
            ring->promoted = false;
            ring->mirror = ring->orphan = true;
        }
        if (!exact || ((!known || known->past) && !ring->mirror)) { /* all that left may be seen */
            for (uint64_t seq = ring->consumed + 1; seq <= ring->handed; seq++)
                ring->attempts[seq] = ring->attempts[seq] ? ring->attempts[seq] : 1;
            if (ring->mirror)
                ring->unsure = ring->accepted;
        } else if (known && !known->past) {
            ring->unsure = known->unsure;
            memcpy(ring->attempts, known->attempts, sizeof(ring->attempts));
            /* What left this host has, even if nobody saw it; so it comes marked. */
            for (uint64_t seq = known->handed + 1; seq <= ring->handed && !ring->mirror; seq++)
                ring->attempts[seq] = ring->attempts[seq] ? ring->attempts[seq] : 1;
            if (ring->mirror || ring->handed < known->handed)
                ring->handed = known->handed;
        }
        if (known && known->consumed > ring->accepted)
            ring_remove(host, ring);
        else if (known && known->consumed > ring->consumed)
            ring_consume(ring, known->consumed);
        if (known)
            journal_remove(host, known);
        if (ring->handed < ring->consumed)
            ring->handed = ring->consumed;
    }
    if (!exact)
        forget_doubtful(host, node);
}

static void settle_here(struct sim *sim, int node, struct host *host) {
    struct place *place = &host->place[node];

    sim->truth[node].host = host->index;
    sim->truth[node].epoch++;
    *place = (struct place){.here = true, .known = true, .epoch = sim->truth[node].epoch};
    for (int to = 0; to < sim->nodes; to++) { /* what it left here is its own again */
        if (host->rings[node][to] && !host->rings[node][to]->mirror)
            memset(host->rings[node][to]->stream->stale, 0,
                   sizeof(host->rings[node][to]->stream->stale));
    }
    store_reopen(host, node);
    host->dirty = host->look = true;
    place_changed(sim, node);
    node_open(sim, node, host->index, place->epoch);
}

/* Can the two speak to each other? */
static bool may_yield(const struct sim *sim, int node, const struct host *old,
                      const struct host *new) {
    return answers(old) && answers(new) && sim->node[node].home != old->index &&
           link_is_up(old->peers[new->index].link) && link_is_up(new->peers[old->index].link);
}

static void move(struct sim *sim, int node, struct host *old, struct host *new) {
    struct place *place = &old->place[node];

    sim_trace(sim, "node %d moves from host %d to %d", node, old->index, new->index);
    kill_here(old, node);
    if (!BUG(NO_JOURNAL))
        export(old, new, node);
    if (place->here)
        place->was = place->epoch;
    place->here = false;
    place->yielded = true;
    place->epoch = sim->truth[node].epoch + 1;
    drop_mirrors(old, node);
    store_reopen(old, node);
    sim->node[node].doubts++;
    enter(new, node, true);
    settle_here(sim, node, new);
}

static void take(struct sim *sim, int node, struct host *new) {
    struct host *old = &sim->host[sim->truth[node].host];
    struct node *here = &sim->node[node];

    sim_trace(sim, "node %d is taken over by host %d", node, new->index);
    oracle_doubt(sim, node);
    for (int to = 0; to < sim->nodes && old != new; to++) {
        struct ring *ring = old->rings[node][to];

        if (!ring || ring->mirror || !old->place[node].here)
            continue;
        oracle_fence(sim, ring->stream, sim->truth[node].epoch + 1);
    }
    if (here->home >= 0) { /* its process lives on, and doesn't know yet */
        if (sim->node[NODES + node].home >= 0)
            node_die(sim, NODES + node);
        sim->node[NODES + node] = *here;
        sim->node[NODES + node].wish = -1;
        here->home = -1;
        here->hands = 0;
    }
    enter(new, node, false);
    settle_here(sim, node, new);
}

static void try_start(struct sim *sim, int node) {
    struct node *who = &sim->node[node];
    struct host *new = &sim->host[who->wish], *old = &sim->host[sim->truth[node].host];

    who->wish_at = sim->now + 20 * MS + sim_random(sim, 60 * MS);
    if (!new->up || (who->home >= 0 && !who->wish_take))
        return;
    if (new->place[node].here) {
        if (who->home < 0)
            node_open(sim, node, new->index, new->place[node].epoch);
        who->wish = -1;
        return;
    }
    if (!answers(new))
        return;
    if (old != new && old->place[node].here && may_yield(sim, node, old, new))
        move(sim, node, old, new);
    else if (old == new || who->wish_take)
        take(sim, node, new);
    else
        return;
    who->wish = -1;
}

/* ---- time ------------------------------------------------------------------------------------ */

static void tell(struct host *host) {
    struct sim *sim = host->sim;

    host->told_at = NEVER;
    for (int from = 0; from < sim->nodes; from++) {
        for (int to = 0; to < sim->nodes; to++) {
            if (host->rings[from][to] && host->rings[from][to]->away)
                host->rings[from][to]->again = true;
        }
    }
    for (int n = 0; n < sim->nodes; n++) {
        host->where[n].known = true;
        host->where[n].host = sim->truth[n].host;
        host->where[n].epoch = sim->truth[n].epoch;
        if (host->place[n].here && sim->truth[n].epoch > host->place[n].epoch)
            fence(host, n);
    }
    host->dirty = host->look = true;
}

uint64_t place_next(const struct sim *sim) {
    uint64_t next = NEVER;

    for (int h = 0; h < sim->hosts; h++) {
        if (answers(&sim->host[h]) && sim->host[h].told_at < next)
            next = sim->host[h].told_at;
    }
    for (int n = 0; n < sim->nodes; n++) {
        if (sim->node[n].wish >= 0 && sim->node[n].wish_at < next)
            next = sim->node[n].wish_at;
    }
    return next;
}

void place_step(struct sim *sim) {
    for (int h = 0; h < sim->hosts; h++) {
        if (answers(&sim->host[h]) && sim->host[h].told_at <= sim->now)
            tell(&sim->host[h]);
    }
    for (int n = 0; n < sim->nodes; n++) {
        if (sim->node[n].wish >= 0 && sim->node[n].wish_at <= sim->now)
            try_start(sim, n);
    }
}

void place_host_lost(struct host *host) {
    struct sim *sim = host->sim;

    oracle_before_loss(sim, host->index);
    for (int n = 0; n < sim->nodes; n++) {
        kill_here(host, n);
        if (sim->truth[n].host == host->index)
            oracle_doubt(sim, n);
        for (int to = 0; to < sim->nodes; to++) {
            if (host->rings[n][to])
                ring_remove(host, host->rings[n][to]);
        }
    }
    while (host->journals)
        journal_remove(host, host->journals);
    memset(host->place, 0, sizeof(host->place));
}
