/* SPDX-License-Identifier: MIT
 *
 * Connections, as TCP has them: bytes in order, some time later, or not at all any more; an end may
 * not know that the other is gone. And what a daemon does around its links: dial, accept, greet.
 */
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

#define DIAL_MIN (20 * MS)
#define DIAL_MAX (500 * MS)

void net_init(struct sim *sim) {
    for (int h = 0; h < sim->hosts; h++) {
        for (int p = 0; p < sim->hosts; p++)
            sim_stores[h][p] = (struct peer_store){&sim->host[h], p};
    }
}

void net_free(struct sim *sim) {
    for (int i = 0; i < sim->conns_top; i++) {
        free(sim->conns[i].pipe[0].bytes);
        free(sim->conns[i].pipe[1].bytes);
    }
    for (int h = 0; h < sim->hosts; h++) {
        sim->host[h].daemon = false;
        for (int p = 0; p < sim->hosts; p++)
            sim->host[h].peers[p].link = link_free(sim->host[h].peers[p].link);
    }
}

/* ---- pipes ----------------------------------------------------------------------------------- */

static size_t pipe_room(const struct conn *conn, const struct pipe *pipe) {
    size_t used = pipe->end - pipe->start;

    return pipe->count == 64 || used >= conn->window ? 0 : conn->window - used;
}

static void pipe_write(struct sim *sim, const struct conn *conn, struct pipe *pipe,
                       const void *bytes, size_t size) {
    uint64_t at = sim->now + conn->latency + sim_random(sim, conn->latency / 4 + 1);
    int slot = (pipe->first + pipe->count) % 64;

    if (pipe->fin || pipe->dead)
        return; /* into the void */
    if (pipe->start > 0 && pipe->start == pipe->end)
        pipe->start = pipe->end = 0;
    if (pipe->start > 65536) {
        memmove(pipe->bytes, pipe->bytes + pipe->start, pipe->end - pipe->start);
        pipe->end -= pipe->start;
        pipe->start = 0;
    }
    if (pipe->end + size > pipe->room) {
        pipe->room = pipe->end + size + 4096;
        pipe->bytes = realloc(pipe->bytes, pipe->room);
    }
    memcpy(pipe->bytes + pipe->end, bytes, size);
    pipe->end += size;
    pipe->last = at > pipe->last ? at : pipe->last;
    pipe->parts[slot].at = pipe->last;
    pipe->parts[slot].size = size;
    pipe->count++;
}

/* When something arrives at the other side. */
static uint64_t pipe_next(const struct sim *sim, const struct conn *conn, int side) {
    const struct pipe *pipe = &conn->pipe[side];
    const struct wall *wall = &sim->walls[conn->host[side]][conn->host[!side]];
    const struct host *reader = &sim->host[conn->host[!side]];
    uint64_t at = NEVER;

    if (conn->state[!side] == END_CLOSED || pipe->dead)
        return NEVER;
    if (pipe->count > 0)
        at = pipe->parts[pipe->first].at;
    else if (pipe->fin)
        at = pipe->fin_at;
    if (at == NEVER)
        return NEVER;
    if (wall->until > at)
        at = wall->until;
    if (pipe->stalled > at)
        at = pipe->stalled;
    return reader->paused > at ? reader->paused : at;
}

/* ---- connections ----------------------------------------------------------------------------- */

static void release(struct conn *conn) {
    for (int side = 0; side < 2; side++) {
        struct pipe *pipe = &conn->pipe[side];
        uint8_t *bytes = pipe->bytes;
        size_t room = pipe->room;

        memset(pipe, 0, sizeof(*pipe));
        pipe->bytes = bytes;
        pipe->room = room;
    }
    conn->used = false;
}

void net_close(struct sim *sim, struct conn *conn, int side, bool quietly) {
    struct host *host = &sim->host[conn->host[side]];
    struct peer *peer = &host->peers[conn->host[!side]];

    if (conn->state[side] == END_CLOSED)
        return;
    if (conn->state[side] == END_NONE || conn->state[side] == END_GREETING) {
        if (side == 0)
            peer->dialling--;
    }
    if (peer->conn == conn)
        peer->conn = NULL;
    conn->state[side] = END_CLOSED;
    conn->pipe[side].fin = true;
    conn->pipe[side].dead |= quietly;
    conn->pipe[side].fin_at = sim->now + conn->latency > conn->pipe[side].last
                                  ? sim->now + conn->latency
                                  : conn->pipe[side].last;
    if (conn->state[!side] == END_CLOSED)
        release(conn);
}

/* This end is over, for whatever reason; the link hears of it. */
static void end(struct sim *sim, struct conn *conn, int side, bool quietly) {
    struct host *host = &sim->host[conn->host[side]];
    struct peer *peer = &host->peers[conn->host[!side]];

    if (peer->conn == conn && peer->link)
        link_cut(peer->link, sim->now);
    net_close(sim, conn, side, quietly);
}

static void write_greet(struct sim *sim, struct conn *conn, int side) {
    struct link_piece piece;

    if (conn->state[side] != END_CLOSED && greet_piece(&conn->greet[side], &piece) &&
        conn->pipe[side].count < 64) {
        pipe_write(sim, conn, &conn->pipe[side], piece.base, piece.size);
        greet_wrote(&conn->greet[side], piece.size);
    }
}

static void taken(struct sim *sim, struct conn *conn, int side) {
    struct host *host = &sim->host[conn->host[side]];
    struct peer *peer = &host->peers[conn->host[!side]];
    struct conn *before = peer->conn;

    sim_trace(sim, "host %d: connection %d to host %d taken", host->index,
              (int) (conn - sim->conns), conn->host[!side]);
    peer->conn = conn;
    if (side == 0)
        peer->dialling--;
    peer->backoff = DIAL_MIN;
    conn->state[side] = END_TAKEN;
    write_greet(sim, conn, side);
    if (before && !BUG(TWO_CONNECTIONS))
        net_close(sim, before, before->host[0] == host->index ? 0 : 1, false);
}

/* The greeting goes on; how many bytes of it these were. */
static size_t greet(struct sim *sim, struct conn *conn, int side, const uint8_t *bytes,
                    size_t size) {
    struct greet *greet = &conn->greet[side];
    struct host *host = &sim->host[conn->host[side]];
    struct link *link = host->peers[conn->host[!side]].link;
    struct link_room room;
    int rc;

    if (!greet_room(greet, &room))
        return size;
    if (room.size > size)
        room.size = size;
    memcpy(room.base, bytes, room.size);
    rc = greet_came(greet, room.size);
    if (rc == 1) {
        enum link_meet met = link_meet(link, greet, sim->now);

        if (met == LINK_MEET_TAKEN)
            taken(sim, conn, side);
        else if (met == LINK_MEET_DROP)
            rc = -1;
    }
    if (rc < 0) {
        write_greet(sim, conn, side);
        net_close(sim, conn, side, false);
    }
    return room.size;
}

static void write_link(struct host *host, struct peer *peer, struct conn *conn, int side) {
    struct sim *sim = host->sim;
    struct pipe *pipe = &conn->pipe[side];
    const struct link_piece *pieces;
    int count;

    while ((count = link_pieces(peer->link, sim->now, &pieces)) > 0) {
        size_t room = pipe_room(conn, pipe), wrote = 0;

        for (int i = 0; i < count && room > 0 && pipe->count < 64; i++) {
            size_t part = pieces[i].size < room ? pieces[i].size : room;

            if (part > conn->chunk)
                part = 1 + sim_random(sim, conn->chunk);
            pipe_write(sim, conn, pipe, pieces[i].base, part);
            wrote += part;
            room -= part;
            if (part < pieces[i].size)
                break;
        }
        if (wrote == 0)
            return;
        link_wrote(peer->link, sim->now, wrote);
    }
}

static void arrive(struct sim *sim, struct conn *conn, int side) {
    struct pipe *pipe = &conn->pipe[!side];
    struct host *host = &sim->host[conn->host[side]];
    struct peer *peer = &host->peers[conn->host[!side]];
    uint8_t bytes[4096];
    size_t size, done = 0;

    host->touched = true;
    if (pipe->count == 0) { /* the other end was closed */
        end(sim, conn, side, false);
        return;
    }
    size = pipe->parts[pipe->first].size;
    if (size > sizeof(bytes))
        size = sizeof(bytes);
    if (sim_chance(sim, 20))
        size = 1 + sim_random(sim, size);
    memcpy(bytes, pipe->bytes + pipe->start, size);
    pipe->start += size;
    pipe->parts[pipe->first].size -= size;
    if (pipe->parts[pipe->first].size == 0) {
        pipe->first = (pipe->first + 1) % 64;
        pipe->count--;
    }
    while (conn->state[side] == END_GREETING && done < size)
        done += greet(sim, conn, side, bytes + done, size - done);
    if (conn->state[side] != END_TAKEN || done == size)
        return;
    if (link_read(peer->link, sim->now, bytes + done, size - done) < 0) {
        sim_trace(sim, "host %d: %s", host->index, link_wrong(peer->link));
        if (!strstr(link_wrong(peer->link), "ends the connection"))
            sim_fail(sim, "host %d: nonsense: %s", host->index, link_wrong(peer->link));
        write_link(host, peer, conn, side);
        end(sim, conn, side, false);
    }
}

/* ---- dialling -------------------------------------------------------------------------------- */

static void dial(struct host *host, int to) {
    struct sim *sim = host->sim;
    struct peer *peer = &host->peers[to];
    struct conn *conn = NULL;

    for (int i = 0; i < CONNS && !conn; i++) {
        if (!sim->conns[i].used)
            conn = &sim->conns[i];
    }
    peer->backoff = peer->backoff * 2 < DIAL_MAX ? peer->backoff * 2 : DIAL_MAX;
    peer->dial_at = sim->now + peer->backoff / 2 + sim_random(sim, peer->backoff);
    if (!conn)
        return;
    if (conn - sim->conns >= sim->conns_top)
        sim->conns_top = (int) (conn - sim->conns) + 1;
    conn->used = true;
    conn->host[0] = host->index;
    conn->host[1] = to;
    conn->state[0] = conn->state[1] = END_NONE;
    conn->latency = MS / 20 + sim_random(sim, sim_chance(sim, 20) ? 30 * MS : 2 * MS);
    conn->starts = sim->now + conn->latency +
                   (sim_chance(sim, 10) ? sim_random(sim, 400 * MS) : 0);
    conn->window = 1024u << sim_random(sim, 8);
    conn->chunk = sim_chance(sim, 30) ? 64 + sim_random(sim, 2000) : 65536;
    peer->dialling++;
}

static void begin(struct sim *sim, struct conn *conn) {
    struct host *a = &sim->host[conn->host[0]], *b = &sim->host[conn->host[1]];
    bool walled = sim->walls[a->index][b->index].until > sim->now ||
                  sim->walls[b->index][a->index].until > sim->now;

    conn->starts = NEVER;
    a->touched = true;
    if (!b->up || !b->daemon || walled) {
        net_close(sim, conn, 0, true);
        conn->state[1] = END_CLOSED;
        release(conn);
        return;
    }
    for (int side = 0; side < 2; side++) {
        struct host *host = side ? b : a;

        host->touched = true;
        conn->state[side] = END_GREETING;
        greet_init(&conn->greet[side], &host->self, ++host->tries, sim->now);
        write_greet(sim, conn, side);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

uint64_t net_next(const struct sim *sim) {
    uint64_t next = NEVER;

    for (int i = 0; i < sim->conns_top; i++) {
        const struct conn *conn = &sim->conns[i];

        if (!conn->used)
            continue;
        if (conn->state[0] == END_NONE) {
            next = conn->starts < next ? conn->starts : next;
            continue;
        }
        for (int side = 0; side < 2; side++) {
            uint64_t at = pipe_next(sim, conn, side);

            next = at < next ? at : next;
        }
    }
    return next;
}

void net_step(struct sim *sim) {
    for (int i = 0; i < sim->conns_top && !sim->failed; i++) {
        struct conn *conn = &sim->conns[i];

        if (conn->used && conn->state[0] == END_NONE && conn->starts <= sim->now)
            begin(sim, conn);
        for (int side = 0; side < 2 && conn->used; side++) {
            if (conn->state[0] != END_NONE && pipe_next(sim, conn, side) <= sim->now)
                arrive(sim, conn, !side);
        }
    }
}

void net_pump(struct host *host) {
    struct sim *sim = host->sim;

    for (int i = 0; i < sim->conns_top; i++) {
        struct conn *conn = &sim->conns[i];

        for (int side = 0; side < 2 && conn->used; side++) {
            struct peer *peer = &host->peers[conn->host[!side]];

            if (conn->host[side] != host->index || conn->state[side] == END_CLOSED)
                continue;
            write_greet(sim, conn, side);
            if (conn->state[side] == END_TAKEN && peer->conn == conn)
                write_link(host, peer, conn, side);
        }
    }
}

uint64_t net_host_next(struct host *host) {
    const struct sim *sim = host->sim;
    uint64_t next = NEVER;

    if (!host->up || !host->daemon)
        return NEVER;
    for (int p = 0; p < sim->hosts; p++) {
        const struct peer *peer = &host->peers[p];
        uint64_t at;

        if (p == host->index)
            continue;
        at = link_next(peer->link);
        if (link_wants(peer->link, sim->now) && peer->dialling < 2 && peer->dial_at < at)
            at = peer->dial_at;
        next = at < next ? at : next;
    }
    for (int i = 0; i < sim->conns_top; i++) {
        const struct conn *conn = &sim->conns[i];

        for (int side = 0; side < 2 && conn->used; side++) {
            if (conn->host[side] == host->index && conn->state[side] == END_GREETING &&
                greet_due(&conn->greet[side]) < next)
                next = greet_due(&conn->greet[side]);
        }
    }
    host->touched = false;
    host->due = next > host->paused ? next : host->paused;
    return host->due;
}

/* What nobody touched since is due when it was said to be; but for a dial, which is wanted by and
 * by. */
bool net_host_due(struct host *host) {
    const struct sim *sim = host->sim;

    if (host->touched || host->due <= sim->now)
        return net_host_next(host) <= sim->now;
    for (int p = 0; p < sim->hosts; p++) {
        const struct peer *peer = &host->peers[p];

        if (p != host->index && peer->dial_at <= sim->now && host->paused <= sim->now &&
            link_wants(peer->link, sim->now) && peer->dialling < 2)
            return true;
    }
    return false;
}

void net_host_time(struct host *host) {
    struct sim *sim = host->sim;

    for (int i = 0; i < sim->conns_top; i++) {
        struct conn *conn = &sim->conns[i];

        for (int side = 0; side < 2 && conn->used; side++) {
            if (conn->host[side] == host->index && conn->state[side] == END_GREETING &&
                greet_due(&conn->greet[side]) <= sim->now)
                net_close(sim, conn, side, false);
        }
    }
    for (int p = 0; p < sim->hosts; p++) {
        struct peer *peer = &host->peers[p];

        if (p == host->index)
            continue;
        if (link_time(peer->link, sim->now) < 0 && peer->conn)
            end(sim, peer->conn, peer->conn->host[0] == host->index ? 0 : 1, false);
        if (link_wants(peer->link, sim->now) && peer->dialling < 2 && peer->dial_at <= sim->now)
            dial(host, p);
    }
}

/* Its connections end: the kernel says so, if there is one left that could. */
void net_daemon_died(struct host *host, bool host_died) {
    struct sim *sim = host->sim;

    for (int p = 0; p < sim->hosts; p++)
        host->peers[p].link = link_free(host->peers[p].link);
    for (int i = 0; i < sim->conns_top; i++) {
        struct conn *conn = &sim->conns[i];

        for (int side = 0; side < 2 && conn->used; side++) {
            if (conn->host[side] == host->index && conn->state[0] == END_NONE && side == 0) {
                conn->state[1] = END_CLOSED;
                net_close(sim, conn, 0, true);
            } else if (conn->host[side] == host->index && conn->state[side] != END_NONE) {
                net_close(sim, conn, side, host_died && sim_chance(sim, 50));
            }
        }
    }
    for (int p = 0; p < sim->hosts; p++)
        host->peers[p] = (struct peer){.backoff = DIAL_MIN};
}
