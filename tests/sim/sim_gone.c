/* SPDX-License-Identifier: MIT
 *
 * What is removed with all that waits in it: channels (`tram rm` of a receiver that does not run),
 * and what was sent to an ephemeral node whose life is over. The host of the receiver tells the
 * origin's, which removes it, too (LINK_REMOVED).
 */
#include "sim/sim.h"

/* The origin goes, and its sender begins another stream. */
void gone_origin(struct host *host, struct ring *ring) {
    if (BUG(KEEP_REMOVED))
        return;
    sim_trace(host->sim, "host %d: %d>%d %08x is removed at %u of %u", host->index, ring->from,
              ring->to, (unsigned) ring->id, (unsigned) ring->consumed,
              (unsigned) ring->accepted);
    oracle_gone(host->sim, ring->stream);
    if (ring->out)
        store_close(host, ring, LINK_ENDED);
    ring_remove(host, ring);
    for (int i = 0; i < host->sim->hosts; i++)
        host->peers[i].settle_due = true; /* a mirror of it may stand anywhere */
    host->dirty = host->look = true;
}

/* All into that node, on its host. */
static void remove_into(struct host *host, int node) {
    for (int from = 0; from < host->sim->nodes; from++) {
        struct ring *ring = host->rings[from][node];

        if (!ring)
            continue;
        if (!ring->mirror) {
            gone_origin(host, ring);
            continue;
        }
        if (ring->chan)
            link_refuse(host->peers[ring->chan->peer].link, ring->chan->in, LINK_REMOVED);
        ring_remove(host, ring);
    }
    move_given(host, node); /* what was known of streams that are over, too */
    for (int i = 0; i < host->sim->streams_count; i++) {
        if (host->sim->streams[i]->to == node)
            oracle_removed(host->sim, host->sim->streams[i]);
    }
    host->dirty = host->look = true;
}

void gone_remove(struct host *host, int node) {
    const struct sim *sim = host->sim;

    if (!host->place[node].here || !host->daemon || sim->node[node].home == host->index ||
        sim->node[NODES + node].home == host->index)
        return;
    sim_trace(host->sim, "host %d: all that waits for node %d is removed", host->index, node);
    remove_into(host, node);
}

/* ---- ephemeral nodes ------------------------------------------------------------------------- */

/* The last ones of a world: each is where it is for its life, as its ID says. */
void gone_init(struct sim *sim) {
    sim->lasting = sim->nodes;
    if (sim_chance(sim, 30) && sim->nodes > 3)
        sim->lasting -= 1 + (int) sim_random(sim, 2);
}

bool gone_is_ephemeral(const struct sim *sim, int node) {
    return node % NODES >= sim->lasting;
}

void gone_begin(struct sim *sim) {
    for (int n = sim->lasting; n < sim->nodes; n++) {
        int home = sim->truth[n].host;

        sim->truth[n].epoch = 1;
        sim->host[home].place[n] = (struct place){.here = true, .epoch = 1};
        for (int h = 0; h < sim->hosts; h++)
            sim->host[h].where[n] = (struct where){home, 1, true, true};
        node_open(sim, n, home, 1);
    }
}

/* Its life is over. What it sent is still delivered. */
void gone_ended(struct sim *sim, int node) {
    struct host *host = &sim->host[sim->truth[node].host];

    sim_trace(sim, "ephemeral node %d is no more", node);
    sim->node[node].over = true;
    for (int i = 0; i < sim->streams_count; i++) {
        if (sim->streams[i]->to == node)
            oracle_gone(sim, sim->streams[i]);
    }
    if (host->up)
        remove_into(host, node);
}
