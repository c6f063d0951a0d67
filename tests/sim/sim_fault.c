/* SPDX-License-Identifier: MIT
 *
 * What goes wrong. Each world has its own mixture: most faults are rare or missing in it, so that
 * those that are there meet each other in all ways.
 */
#include <string.h>

#include "sim/sim.h"

void fault_init(struct sim *sim) {
    static const unsigned most[FAULTS] = {10, 6, 6, 5, 4, 2, 8, 5, 3, 3, 2, 3, 2, 3, 1, 1};

    for (int i = 0; i < FAULTS; i++) {
        sim->odds[i] = sim_chance(sim, 55) ? 1 + (unsigned) sim_random(sim, most[i]) : 0;
        sim->odds_sum += sim->odds[i];
    }
    sim->fault_at = sim->odds_sum ? sim_random(sim, 100 * MS) : NEVER;
}

static uint64_t a_while(struct sim *sim) {
    return sim_chance(sim, 70) ? sim_random(sim, 100 * MS) : sim_random(sim, 1500 * MS);
}

/* One of the connections, if there is any. */
static struct conn *some_conn(struct sim *sim) {
    int first = (int) sim_random(sim, CONNS);

    for (int i = 0; i < CONNS; i++) {
        struct conn *conn = &sim->conns[(first + i) % CONNS];

        if (conn->used && conn->state[0] != END_NONE)
            return conn;
    }
    return NULL;
}

static void cut(struct sim *sim, struct conn *conn, bool half) {
    int side = (int) sim_random(sim, 2);

    sim_trace(sim, "connection %d of hosts %d and %d is cut%s", (int) (conn - sim->conns),
              conn->host[0], conn->host[1], half ? ", one end knows" : "");
    conn->pipe[0].count = conn->pipe[1].count = 0; /* what is on its way is lost */
    conn->pipe[0].start = conn->pipe[0].end = conn->pipe[1].start = conn->pipe[1].end = 0;
    conn->pipe[side].fin = true;
    conn->pipe[side].fin_at = sim->now;
    conn->pipe[!side].dead = true;
    if (half)
        return;
    conn->pipe[!side].dead = false;
    conn->pipe[!side].fin = true;
    conn->pipe[!side].fin_at = sim->now + sim_random(sim, 2) * conn->latency;
}

static void daemon_dies(struct host *host, bool host_died) {
    struct sim *sim = host->sim;

    host->daemon = false;
    host->paused = 0;
    place_end(host, host_died && sim_chance(sim, 50));
    if (host->index == sim->server)
        dir_stop(sim, host_died && sim_chance(sim, 50));
    net_daemon_died(host, host_died);
    for (int from = 0; from < sim->nodes; from++) {
        for (int to = 0; to < sim->nodes; to++) {
            struct ring *ring = host->rings[from][to];

            if (!ring)
                continue;
            ring->placed = 0;
            ring->orphan = ring->unnamed = false; /* the next one finds out */
            ring->out = NULL;
            ring->out_host = -1;
            ring->away = ring->again = false;
        }
    }
    host->daemon_at = sim->now + a_while(sim);
}

void fault_daemon_back(struct host *host) {
    struct sim *sim = host->sim;

    if (!host->up) {
        host->up = true;
        sim_trace(sim, "host %d is back", host->index);
    }
    sim_trace(sim, "host %d: daemon is back", host->index);
    host->daemon = true;
    host->daemon_at = NEVER;
    host->self.life++;
    host->tries = 0;
    host->self.instance[0] = (uint8_t) host->index;
    host->self.instance[1] = host->instance;
    for (int p = 0; p < sim->hosts; p++) {
        char name[8] = {'h', (char) ('0' + p), 0};

        host->peers[p].backoff = 20 * MS;
        host->peers[p].dial_at = sim->now;
        if (link_new(&host->self, name, NULL, &sim_store, &sim_stores[host->index][p],
                     &host->peers[p].link) < 0)
            sim_fail(sim, "no memory");
    }
    if (host->index == sim->server)
        dir_start(sim);
    place_begin(host);
    host->dirty = host->look = true;
}

static void host_dies(struct host *host) {
    sim_trace(host->sim, "host %d loses its memory", host->index);
    place_host_lost(host);
    host->up = false;
    if (host->daemon)
        daemon_dies(host, true);
    host->instance++;
    host->self.life = 0;
    host->no_memory = 0;
}

static void wall(struct sim *sim, int a, int b) {
    uint64_t until = sim->now + a_while(sim);
    bool both = sim_chance(sim, 60);

    sim_trace(sim, "nothing goes from host %d to %d%s for %u ms", a, b, both ? ", or back," : "",
              (unsigned) ((until - sim->now) / MS));
    sim->walls[a][b].until = until;
    if (both)
        sim->walls[b][a].until = until;
}

static void of_node(struct sim *sim, enum fault fault) {
    int node = (int) sim_random(sim, (uint64_t) sim->nodes);
    int to = (int) sim_random(sim, (uint64_t) sim->hosts);
    bool runs = sim->node[node].home >= 0;

    if (gone_is_ephemeral(sim, node) && (fault != FAULT_NODE || !runs))
        return;
    if (fault == FAULT_TAKE && to == sim->truth[node].host)
        return;
    if (fault != FAULT_TAKE && runs)
        node_die(sim, node);
    if (fault != FAULT_NODE)
        place_start(sim, node, to, fault == FAULT_TAKE);
}

static void of_host(struct sim *sim, enum fault fault) {
    struct host *host = &sim->host[sim_random(sim, (uint64_t) sim->hosts)];
    int other = (int) sim_random(sim, (uint64_t) sim->hosts);
    struct peer *peer = &host->peers[other];
    uint8_t bytes[300] = {0};

    if (!host->up || !host->daemon)
        return;
    switch (fault) {
    case FAULT_DAEMON:
        sim_trace(sim, "host %d: daemon is killed", host->index);
        daemon_dies(host, false);
        break;
    case FAULT_HOST:
        host_dies(host);
        break;
    case FAULT_MEMORY:
        host->no_memory = sim->now + a_while(sim);
        break;
    case FAULT_CLOCK:
        host->skew = (int64_t) sim_random(sim, 7200000 * MS) - (int64_t) (3600000 * MS);
        break;
    case FAULT_PAUSE:
        host->paused = sim->now + a_while(sim);
        sim_trace(sim, "host %d: daemon stops for %u ms", host->index,
                  (unsigned) ((host->paused - sim->now) / MS));
        break;
    case FAULT_DIRECTORY:
        host->cut_off_until = sim->now + a_while(sim);
        host->cut_off = true;
        break;
    case FAULT_CONTROL:
        if (host->paused > sim->now || !peer->link)
            return;
        put32(bytes, peer->control_out);
        if (link_control(peer->link, bytes, 5 + sim_random(sim, 290)) == 0)
            peer->control_out++;
        break;
    default:
        if (other != host->index)
            wall(sim, host->index, other);
    }
}

void fault_step(struct sim *sim) {
    unsigned dice = (unsigned) sim_random(sim, sim->odds_sum);
    struct conn *conn = some_conn(sim);
    enum fault fault = 0;
    int node;

    while (dice >= sim->odds[fault])
        dice -= sim->odds[fault++];
    sim->faults++;
    sim->fault_at = sim->now + sim_random(sim, sim_chance(sim, 30) ? 5 * MS : 150 * MS);
    switch (fault) {
    case FAULT_CUT:
    case FAULT_HALF:
        if (conn)
            cut(sim, conn, fault == FAULT_HALF);
        break;
    case FAULT_STALL:
        if (conn)
            conn->pipe[sim_random(sim, 2)].stalled = sim->now + a_while(sim);
        break;
    case FAULT_NODE:
    case FAULT_MOVE:
    case FAULT_TAKE:
        of_node(sim, fault);
        break;
    case FAULT_REMOVE:
        node = (int) sim_random(sim, (uint64_t) sim->nodes);
        gone_remove(&sim->host[sim->truth[node].host], node);
        break;
    case FAULT_NOTE:
        sim->notes_fail = sim->now + a_while(sim);
        break;
    default:
        of_host(sim, fault);
    }
}

/* From now on nothing goes wrong, and all comes back. */
void fault_repair(struct sim *sim) {
    sim->calm = true;
    sim->fault_at = NEVER;
    memset(sim->walls, 0, sizeof(sim->walls));
    for (int i = 0; i < CONNS; i++)
        sim->conns[i].pipe[0].stalled = sim->conns[i].pipe[1].stalled = 0;
    for (int h = 0; h < sim->hosts; h++) {
        struct host *host = &sim->host[h];

        host->no_memory = host->paused = host->cut_off_until = 0;
        host->cut_off = false;
        host->dirty = host->look = true;
        if (!host->daemon)
            fault_daemon_back(host);
    }
    for (int n = 0; n < sim->nodes; n++) {
        if (sim->node[n].home < 0 || sim->node[n].wish >= 0)
            place_start(sim, n, sim->truth[n].host, false);
    }
}
