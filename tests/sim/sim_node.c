/* SPDX-License-Identifier: MIT
 *
 * Processes: they send, have messages in hand for a while, release them, in order or not, and
 * die.
 */
#include <string.h>

#include "sim/sim.h"

void node_open(struct sim *sim, int node, int host, uint64_t epoch) {
    struct node *who = &sim->node[node];

    who->home = host;
    who->epoch = epoch;
    who->life++;
    who->hands = 0;
    who->hold = 1 + (int) sim_random(sim, 16);
    who->slow = sim_chance(sim, 15);
    who->disorder = sim_chance(sim, 30);
    who->wish = -1;
    who->next = sim->now + sim_random(sim, 10 * MS);
    sim->running |= UINT64_C(1) << node;
    sim_trace(sim, "node %d opens on host %d", node % NODES, host);
}

void node_die(struct sim *sim, int node) {
    struct node *who = &sim->node[node];
    struct host *host = &sim->host[who->home];

    sim_trace(sim, "node %d on host %d is dead, %d in hand", node % NODES, who->home, who->hands);
    oracle_died(sim, node);
    for (int from = 0; from < sim->nodes; from++) {
        struct ring *ring = host->rings[from][node % NODES];

        if (!ring || ring->promoted)
            continue;
        for (uint64_t seq = ring->consumed + 1; seq <= ring->handed; seq++)
            ring->attempts[seq] = (uint8_t) (ring->attempts[seq] + (ring->attempts[seq] < 255));
    }
    who->hands = 0;
    who->home = -1;
    who->next = NEVER;
    if (gone_is_ephemeral(sim, node))
        gone_ended(sim, node);
    else if (node < NODES)
        place_start(sim, node, sim->truth[node].host, false);
}

void node_close(struct sim *sim, int node) {
    node_die(sim, node);
}

/* ---- sends ----------------------------------------------------------------------------------- */

static void send_some(struct sim *sim, int node) {
    struct host *host = &sim->host[sim->node[node].home];
    int from = node % NODES, to = (int) sim_random(sim, (uint64_t) sim->nodes);
    struct ring *ring = host->rings[from][to];
    uint64_t count = 1 + sim_random(sim, 8);

    if (to == from || (sim->node[to].over && host->index == sim->truth[to].host))
        return;
    if (ring && (ring->mirror || ring->promoted)) {
        if (ring->mirror && store_may_retire(host, ring))
            store_retire(host, ring);
        return; /* -EAGAIN: what was sent on another host is still on its way */
    }
    if (!ring) {
        uint64_t id = sim_random(sim, NEVER);

        if (!oracle_stream(sim, from, to, id))
            return;
        ring = ring_new(host, from, to, id, 0);
        host->dirty = true;
    }
    for (uint64_t i = 0; i < count && sim->messages_left > 0; i++) {
        uint64_t seq = ring->accepted + 1;

        if (!ring_append(sim, ring, seq <= MESSAGES ? message_size(sim, ring->id, seq) : 0))
            break;
        ring->stream->sent = ring->accepted;
        sim->messages_left--;
        ring->stream->epoch[seq] = (uint16_t) sim->node[node].epoch;
        if (sim->truth[from].epoch != sim->node[node].epoch) { /* and it doesn't know yet */
            ring->stream->fenced = ring->stream->stale[seq] = true;
            ring->stream->fence = sim->truth[from].epoch;
        }
    }
    if (ring->out && host->daemon && host->paused <= sim->now)
        link_kick(host->peers[ring->out_host].link, ring->out);
}

/* ---- receives -------------------------------------------------------------------------------- */

static bool is_in_hand(const struct node *who, const struct ring *ring, uint64_t seq) {
    for (int i = 0; i < who->hands; i++) {
        if (who->hand[i].ring == ring && who->hand[i].seq == seq)
            return true;
    }
    return false;
}

/* What is freed is free in order. */
static void consume(struct host *host, struct ring *ring) {
    uint64_t consumed = ring->consumed;

    while (consumed < ring->accepted && ring->released[consumed + 1])
        consumed++;
    if (consumed == ring->consumed)
        return;
    ring_consume(ring, consumed);
    if (ring_drained(ring))
        host->look = host->dirty = true;
    if (ring->wanted && ring->chan && host->daemon && host->paused <= host->sim->now) {
        ring->wanted = false;
        link_kick_in(host->peers[ring->chan->peer].link, ring->chan->in);
    }
}

static void receive_some(struct sim *sim, int node) {
    struct node *who = &sim->node[node];
    struct host *host = &sim->host[who->home];
    int to = node % NODES, first = (int) sim_random(sim, (uint64_t) sim->nodes);

    for (int i = 0; i < sim->nodes; i++) {
        struct ring *ring = host->rings[(first + i) % sim->nodes][to];

        if (!ring || ring->promoted || ring->left)
            continue;
        for (uint64_t seq = ring->consumed + 1; seq <= ring->accepted; seq++) {
            bool marked = ring->attempts[seq] > 0 || seq <= ring->unsure;

            if (ring->released[seq] && seq == ring->consumed + 1)
                consume(host, ring); /* on another host, before what was in front of it */
            if (ring->released[seq] || is_in_hand(who, ring, seq))
                continue;
            if (who->hands == who->hold)
                return;
            if (seq > ring->handed)
                ring->handed = seq;
            who->hand[who->hands].ring = ring;
            who->hand[who->hands].id = ring->id;
            who->hand[who->hands++].seq = seq;
            oracle_handed(sim, node, ring, seq, marked);
        }
    }
}

/* One of those in hand, in any order. */
static void release_one(struct sim *sim, int node, int which) {
    struct node *who = &sim->node[node];
    struct host *host = &sim->host[who->home];
    struct ring *ring = who->hand[which].ring;
    uint64_t seq = who->hand[which].seq;

    who->hands--;
    memmove(&who->hand[which], &who->hand[which + 1],
            (size_t) (who->hands - which) * sizeof(who->hand[0]));
    if (!ring || seq <= ring->consumed)
        return;
    oracle_released(sim, node, ring, seq);
    ring->released[seq] = true;
    consume(host, ring);
}

static void release_some(struct sim *sim, int node) {
    struct node *who = &sim->node[node];
    int count = who->hands ? 1 + (int) sim_random(sim, (uint64_t) who->hands) : 0;

    if (sim->calm)
        count = who->hands;
    for (int i = 0; i < count; i++) {
        bool turn = !who->disorder || sim->calm || sim_chance(sim, 50);

        release_one(sim, node, turn ? 0 : (int) sim_random(sim, (uint64_t) who->hands));
    }
}

void node_step(struct sim *sim, int node) {
    struct node *who = &sim->node[node];
    uint64_t pause = who->slow && !sim->calm ? 150 * MS : 15 * MS;

    who->next = sim->now + sim_random(sim, pause) + MS / 10;
    if (!sim->calm && sim_chance(sim, 50))
        send_some(sim, node);
    if (sim->calm || sim_chance(sim, 70))
        release_some(sim, node);
    receive_some(sim, node);
}
