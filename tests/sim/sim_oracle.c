/* SPDX-License-Identifier: MIT
 *
 * What is promised (docs/HOSTS.md), checked message by message: this knows of all hosts at once,
 * and what happened to each.
 *
 *   - a message is handed out whole, and behind all of its stream with lower numbers
 *   - once; again only if the one who had it died with it in hand, or its host's memory was lost,
 *     or it was taken over; and then marked
 *   - marked for nothing only where a take-over or a loss left it open; never after an exact move
 *   - what was accepted is released in the end, unless the memory that alone had it was lost, or
 *     its sender was taken over
 *   - and then all origins are free again
 */
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

struct stream *oracle_stream(struct sim *sim, int from, int to, uint64_t id) {
    struct stream *stream;

    if (sim->streams_count == STREAMS)
        return NULL;
    stream = calloc(1, sizeof(*stream));
    stream->id = id;
    stream->from = from;
    stream->to = to;
    sim->streams[sim->streams_count++] = stream;
    return stream;
}

struct stream *oracle_find(struct sim *sim, uint64_t id) {
    for (int i = 0; i < sim->streams_count; i++) {
        if (sim->streams[i]->id == id)
            return sim->streams[i];
    }
    return NULL;
}

void oracle_free(struct sim *sim) {
    for (int i = 0; i < sim->streams_count; i++)
        free(sim->streams[i]);
}

/* What a sender who is fenced from now on has, and what nobody else has: it must not come any more
 * once the next one is heard. */
void oracle_fence(struct sim *sim, struct stream *stream, uint64_t epoch) {
    uint64_t crossed = 0;

    for (int h = 0; h < sim->hosts; h++) {
        const struct ring *ring = sim->host[h].rings[stream->from][stream->to];

        if (ring && ring->id == stream->id && ring->mirror && ring->accepted > crossed)
            crossed = ring->accepted;
        if (ring && ring->id == stream->id && !ring->mirror && ring->handed > crossed)
            crossed = ring->handed; /* on its way */
    }
    stream->fenced = true;
    stream->fence = epoch;
    for (uint64_t seq = crossed + 1; seq <= stream->sent; seq++)
        stream->stale[seq] = true;
}

/* Is this the process that the directory thinks it is? */
static bool is_fenced(const struct sim *sim, int node) {
    return sim->truth[node % NODES].epoch != sim->node[node].epoch;
}

void oracle_handed(struct sim *sim, int node, const struct ring *ring, uint64_t seq, bool marked) {
    struct stream *stream = ring->stream;
    bool fenced = is_fenced(sim, node);

    node %= NODES;
    if (stream->to != node || ring->to != node || seq > stream->sent) {
        sim_fail(sim, "node %d got %u, which nobody sent it", node, (unsigned) seq);
        return;
    }
    if (!ring_check(ring, seq)) {
        sim_fail(sim, "node %d got %d>%d #%u, but not whole", node, ring->from, node,
                 (unsigned) seq);
        return;
    }
    for (uint64_t before = 1; before < seq; before++) {
        if (stream->handed[before] == 0 && !stream->lost[before]) {
            sim_fail(sim, "node %d got %d>%d #%u before #%u", node, ring->from, node,
                     (unsigned) seq, (unsigned) before);
            return;
        }
    }
    if (stream->handed[seq] > 0 && !stream->again[seq] && !fenced)
        sim_fail(sim, "node %d got %d>%d #%u again, without cause%s", node, ring->from, node,
                 (unsigned) seq, stream->released[seq] ? ", released" : "");
    else if (stream->handed[seq] > 0 && !marked && !fenced)
        sim_fail(sim, "node %d got %d>%d #%u again, not marked", node, ring->from, node,
                 (unsigned) seq);
    else if (stream->handed[seq] == 0 && marked && seq > stream->doubt && !fenced)
        sim_fail(sim, "node %d got %d>%d #%u marked, the first time", node, ring->from, node,
                 (unsigned) seq);
    if (ring->mirror && ring->from_epoch != LINK_YIELDED && stream->stale[seq] && !fenced &&
        sim->newest[stream->from][stream->to] >= stream->fence)
        sim_fail(sim, "node %d got %d>%d #%u of a sender that is fenced", node, ring->from, node,
                 (unsigned) seq);
    if (!stream->stale[seq] && !fenced && /* what those hear who are fenced, orders nothing */
        stream->epoch[seq] > sim->newest[stream->from][stream->to])
        sim->newest[stream->from][stream->to] = stream->epoch[seq];
    sim->repeated += stream->handed[seq] > 0;
    sim->marked += marked;
    if (stream->handed[seq] < 255)
        stream->handed[seq]++;
    stream->again[seq] = fenced;
}

void oracle_released(struct sim *sim, int node, const struct ring *ring, uint64_t seq) {
    struct stream *stream = ring->stream;

    if (!ring_check(ring, seq))
        sim_fail(sim, "%d>%d #%u was spoiled while node %d had it in hand", ring->from, ring->to,
                 (unsigned) seq, node);
    sim->delivered += !stream->released[seq];
    stream->released[seq] = true;
}

void oracle_died(struct sim *sim, int node) {
    struct node *who = &sim->node[node];

    for (int i = 0; i < who->hands; i++)
        oracle_find(sim, who->hand[i].id)->again[who->hand[i].seq] = true;
}

void oracle_doubt(struct sim *sim, int node) {
    for (int i = 0; i < sim->streams_count; i++) {
        struct stream *stream = sim->streams[i];
        uint64_t freed = 0; /* at its origin, if that is there: never comes again */

        if (stream->to != node)
            continue;
        stream->doubt = stream->sent;
        stream->unknown = true;
        for (int h = 0; h < sim->hosts; h++) {
            const struct ring *ring = sim->host[h].rings[stream->from][stream->to];

            if (ring && ring->id == stream->id && !ring->mirror && ring->consumed > freed &&
                sim->host[h].place[node].here == false)
                freed = ring->consumed;
        }
        for (uint64_t seq = freed + 1; seq <= stream->sent; seq++) {
            if (stream->handed[seq] > 0)
                stream->again[seq] = true;
        }
    }
}

/* The receiver's host has it from now on. Did it make that from a journal, or of what may have
 * left the origin, up to `left`? After a take-over or a removal some of that may have been sent
 * since. */
void oracle_entered(struct host *host, const struct ring *ring, uint64_t left, bool exact) {
    struct stream *stream = ring->stream;

    if (stream->unknown && !exact && stream->doubt < left)
        stream->doubt = left;
    if (host->sim->truth[ring->to].host == host->index)
        stream->unknown = false;
}

/* That host knows of it from now on: what left it before went to a holder that nobody asks. */
void oracle_learned(struct sim *sim, int node, int host) {
    for (int from = 0; from < sim->nodes; from++) {
        const struct ring *ring = sim->host[host].rings[from][node];

        if (ring && !ring->mirror && ring->stream->doubt < ring->accepted)
            ring->stream->doubt = ring->accepted;
    }
}

void oracle_gone(struct sim *sim, struct stream *stream) {
    (void) sim;
    for (uint64_t seq = 1; seq <= stream->sent; seq++)
        stream->lost[seq] |= !stream->released[seq];
    oracle_removed(sim, stream);
}

void oracle_removed(struct sim *sim, struct stream *stream) {
    bool origin = false;

    for (int h = 0; h < sim->hosts; h++) {
        const struct ring *ring = sim->host[h].rings[stream->from][stream->to];

        origin |= ring && ring->id == stream->id && !ring->mirror;
    }
    stream->doubt = stream->sent;
    stream->unknown = true;
    for (uint64_t seq = 1; seq <= stream->sent; seq++) {
        stream->lost[seq] |= !origin && !stream->released[seq];
        stream->again[seq] |= stream->handed[seq] > 0;
    }
}

/* Its origin may be said to be well, late, and is not; or its host has closed the channel, and the
 * CLOSE may come when its receiver has left. */
static bool is_let_go(const struct sim *sim, const struct ring *ring, int at, int lost) {
    const struct host *host = &sim->host[lost];
    const struct ring *origin = host->rings[ring->from][ring->to];

    if (ring->left)
        return true;
    return ring->mirror && ring->source == lost && origin && origin->id == ring->id &&
           (host->where[ring->to].host != at ||
            store_from_epoch(host, origin) != ring->from_epoch);
}

/* The memory of a host is about to go: what is in no other may be lost. */
void oracle_before_loss(struct sim *sim, int host) {
    for (int i = 0; i < sim->streams_count; i++) {
        struct stream *stream = sim->streams[i];
        uint64_t best = 0;
        bool origin = false;
        const struct ring *here = sim->host[host].rings[stream->from][stream->to];

        if (here && here->id == stream->id)
            stream->doubt = stream->sent;
        for (int h = 0; h < sim->hosts; h++) {
            const struct ring *ring = sim->host[h].rings[stream->from][stream->to];

            if (h == host || !ring || ring->id != stream->id || is_let_go(sim, ring, h, host))
                continue;
            if (!ring->mirror && !ring->promoted)
                origin = true;
            if (ring->accepted > best)
                best = ring->accepted;
        }
        for (uint64_t seq = best + 1; !origin && seq <= stream->sent; seq++)
            stream->lost[seq] = true;
        /* What was freed was known here alone: a mirror that was left behind may not know. */
        for (uint64_t seq = 1; !origin && seq <= stream->sent; seq++)
            stream->again[seq] |= stream->handed[seq] > 0;
    }
}

bool oracle_done(struct sim *sim, char *why, size_t size) {
    for (int i = 0; i < sim->streams_count; i++) {
        const struct stream *stream = sim->streams[i];

        for (uint64_t seq = 1; seq <= stream->sent; seq++) {
            if (!stream->released[seq] && !stream->lost[seq] && !stream->fenced) {
                (void) snprintf(why, size, "%d>%d %08x #%u of %u never came", stream->from,
                                stream->to, (unsigned) stream->id, (unsigned) seq,
                                (unsigned) stream->sent);
                return false;
            }
        }
    }
    for (int h = 0; h < sim->hosts; h++) {
        for (int from = 0; from < sim->nodes; from++) {
            for (int to = 0; to < sim->nodes; to++) {
                const struct ring *ring = sim->host[h].rings[from][to];

                if (!ring || ring_drained(ring) || ring->stream->fenced)
                    continue;
                (void) snprintf(why, size, "%d>%d on host %d: %u of %u are not free", from, to, h,
                                (unsigned) ring->consumed, (unsigned) ring->accepted);
                return false;
            }
        }
    }
    return true;
}
