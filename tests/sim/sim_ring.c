/* SPDX-License-Identifier: MIT
 *
 * Rings as files: what a host's memory has. Bytes are really there, freed ones are spoiled, and
 * what is handed out is compared with what was sent, byte by byte.
 */
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

static uint64_t mix(uint64_t x) {
    x ^= x >> 31;
    x *= UINT64_C(0x7fb5d329728ea185);
    x ^= x >> 27;
    x *= UINT64_C(0x81dadef4bc2dd44d);
    return x ^ x >> 33;
}

/* Sizes follow from the number, so that nobody has to keep them. Multiples of 8, as spans are. */
uint64_t message_size(const struct sim *sim, uint64_t id, uint64_t seq) {
    uint64_t dice = mix(id * 31 + seq);

    if (dice % 64 == 0)
        return dice / 64 % sim->size_max & ~UINT64_C(7);
    return dice / 64 % 200 & ~UINT64_C(7);
}

static uint8_t byte_of(uint64_t id, uint64_t seq) {
    uint8_t byte = (uint8_t) mix(id + seq * 977);

    return byte == 0xdd ? 0xde : byte;
}

struct ring *ring_new(struct host *host, int from, int to, uint64_t id, uint64_t consumed) {
    struct ring *ring = calloc(1, sizeof(*ring));

    ring->id = id;
    ring->from = from;
    ring->to = to;
    ring->source = -1;
    ring->out_host = -1;
    ring->base = ring->accepted = ring->consumed = ring->handed = consumed;
    ring->capacity = host->sim->capacity;
    ring->data = malloc(2 * ring->capacity);
    memset(ring->data, 0xdd, 2 * ring->capacity);
    ring->stream = oracle_find(host->sim, id);
    host->rings[from][to] = ring;
    return ring;
}

/* Its memory stays: a batch that is half written points there. */
void ring_remove(struct host *host, struct ring *ring) {
    struct sim *sim = host->sim;

    for (int i = 0; i < sim->nodes; i++) {
        struct node *node = &sim->node[i];

        for (int k = 0; k < node->hands; k++) {
            if (node->hand[k].ring == ring)
                node->hand[k].ring = NULL;
        }
    }
    if (host->rings[ring->from][ring->to] == ring)
        host->rings[ring->from][ring->to] = NULL;
    ring->next_dead = sim->dead;
    sim->dead = ring;
}

static void ring_free(struct ring *ring) {
    for (int i = 0; i < ring->olds; i++)
        free(ring->old[i]);
    free(ring->data);
    free(ring);
}

void rings_free(struct sim *sim) {
    struct ring *ring;

    for (int h = 0; h < sim->hosts; h++) {
        for (int from = 0; from < sim->nodes; from++) {
            for (int to = 0; to < sim->nodes; to++) {
                if (sim->host[h].rings[from][to])
                    ring_free(sim->host[h].rings[from][to]);
            }
        }
    }
    while ((ring = sim->dead)) {
        sim->dead = ring->next_dead;
        ring_free(ring);
    }
}

uint64_t ring_position(const struct ring *ring, uint64_t seq) {
    return seq <= ring->base + 1 ? 0 : ring->end[seq - 1];
}

static uint64_t tail(const struct ring *ring) {
    return ring->accepted == ring->base ? 0 : ring->end[ring->accepted];
}

uint64_t ring_used(const struct ring *ring) {
    return tail(ring) - ring_position(ring, ring->consumed + 1);
}

bool ring_drained(const struct ring *ring) {
    return ring->consumed == ring->accepted;
}

void ring_twin(struct ring *ring, uint64_t position, uint64_t size) {
    uint64_t at = position % ring->capacity;
    uint64_t first = size < ring->capacity - at ? size : ring->capacity - at;

    memcpy(ring->data + ring->capacity + at, ring->data + at, first);
    if (size > first) /* went over the end, into the second half */
        memcpy(ring->data, ring->data + ring->capacity, size - first);
}

void ring_grow(struct ring *ring, uint64_t span) {
    uint64_t capacity = ring->capacity, from = ring_position(ring, ring->consumed + 1);
    uint64_t size = ring_used(ring) + ring->placed;
    uint8_t *data;

    while (capacity < span + ring_used(ring))
        capacity *= 2;
    data = malloc(2 * capacity);
    memset(data, 0xdd, 2 * capacity);
    for (uint64_t i = 0; i < size; i++) {
        uint8_t byte = ring->data[(from + i) % ring->capacity];

        data[(from + i) % capacity] = data[(from + i) % capacity + capacity] = byte;
    }
    ring->old[ring->olds++] = ring->data;
    ring->data = data;
    ring->capacity = capacity;
}

bool ring_append(struct sim *sim, struct ring *ring, uint64_t size) {
    uint64_t seq = ring->accepted + 1, span = RECORD + size, position = tail(ring);
    uint8_t *at;

    if (seq > MESSAGES)
        return false;
    if (span > ring->capacity)
        ring_grow(ring, span);
    if (ring_used(ring) + span > ring->capacity)
        return false;
    at = ring->data + position % ring->capacity;
    put64(at, seq);
    put32(at + 8, (uint32_t) size);
    put32(at + 12, (uint32_t) ring->from);
    memset(at + RECORD, byte_of(ring->id, seq), size);
    ring_twin(ring, position, span);
    ring->end[seq] = position + span;
    ring->accepted = seq;
    (void) sim;
    return true;
}

bool ring_check(const struct ring *ring, uint64_t seq) {
    uint64_t position = ring_position(ring, seq), size = ring->end[seq] - position - RECORD;
    const uint8_t *at = ring->data + position % ring->capacity;
    uint8_t byte = byte_of(ring->id, seq);

    if (get64(at) != seq || get32(at + 8) != size || get32(at + 12) != (uint32_t) ring->from)
        return false;
    return size == 0 || (at[RECORD] == byte && memcmp(at + RECORD, at + RECORD + 1, size - 1) == 0);
}

/* Free up to there: what was there is spoiled. */
void ring_consume(struct ring *ring, uint64_t consumed) {
    uint64_t from = ring_position(ring, ring->consumed + 1);
    uint64_t size = ring_position(ring, consumed + 1) - from, at = from % ring->capacity;
    uint64_t first = size < ring->capacity - at ? size : ring->capacity - at;

    memset(ring->data + at, 0xdd, first);
    memset(ring->data + ring->capacity + at, 0xdd, first);
    memset(ring->data, 0xdd, size - first);
    memset(ring->data + ring->capacity, 0xdd, size - first);
    ring->consumed = consumed;
    if (ring->handed < consumed)
        ring->handed = consumed;
}

/* All that is not drained, for who looks at a trace. */
void rings_show(struct sim *sim) {
    for (int h = 0; h < sim->hosts; h++) {
        for (int i = 0; i < sim->nodes * sim->nodes; i++) {
            const struct ring *ring = sim->host[h].rings[i / sim->nodes][i % sim->nodes];
            struct link_out_info info = {0};

            if (!ring || (ring_drained(ring) && !ring->chan && !ring->out))
                continue;
            if (ring->out)
                link_out_info(ring->out, &info);
            sim_trace(sim, "host %d: %d>%d %08x%s%s%s%s consumed %u handed %u of %u unsure %u "
                      "%s to %d: answer %d open %d sent %u credit %u %s", h, ring->from, ring->to,
                      (unsigned) ring->id, ring->mirror ? " mirror" : "",
                      ring->orphan ? " orphan" : "", ring->left ? " left" : "",
                      ring->promoted ? " promoted" : "", (unsigned) ring->consumed,
                      (unsigned) ring->handed, (unsigned) ring->accepted, (unsigned) ring->unsure,
                      ring->out ? "out" : "", ring->out_host, info.answer, info.open,
                      (unsigned) info.sent, (unsigned) info.credit, ring->chan ? "in" : "");
        }
        for (struct chan *chan = sim->host[h].chans; chan; chan = chan->next) {
            if (!chan->ring)
                sim_trace(sim, "host %d: %d>%d %08x of host %d waits", h, chan->from, chan->to,
                          (unsigned) chan->id, chan->peer);
        }
    }
    for (int n = 0; n < sim->nodes; n++)
        sim_trace(sim, "node %d placed on %d, runs on %d", n, sim->truth[n].host,
                  sim->node[n].home);
}
