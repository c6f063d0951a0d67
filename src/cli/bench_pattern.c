/* SPDX-License-Identifier: MIT */
#include "bench_pattern.h"

#include <errno.h>
#include <stdlib.h>

#include "bench_util.h"

/* What a sender's prepared messages may take of its cache. */
#define PATTERN_CACHE (256u << 10)

static unsigned pattern_slots(size_t size) {
    static const unsigned primes[] = { 61, 31, 13, 7, 5, 3 };

    for (size_t i = 0; i < sizeof(primes) / sizeof(*primes); i++)
        if (primes[i] * size <= PATTERN_CACHE)
            return primes[i];
    return 3;
}

int bench_pattern_init(struct bench_pattern *p, size_t size_max) {
    uint64_t seed = 0x7472616d;
    size_t words;

    memset(p, 0, sizeof(*p));
    p->size_max = size_max;
    p->stride = (size_max + 63) & ~(size_t) 63;
    p->slots = pattern_slots(p->stride);
    p->ahead = p->slots / 2;
    if (p->ahead > 16)
        p->ahead = 16;
    words = p->stride / 8;
    p->data = aligned_alloc(64, p->slots * p->stride);
    p->sums = calloc(p->slots * words, sizeof(*p->sums));
    if (!p->data || !p->sums) {
        bench_pattern_deinit(p);
        return -ENOMEM;
    }

    for (unsigned s = 0; s < p->slots; s++) {
        unsigned char *slot = bench_pattern_slot(p, s);
        uint64_t *sums = p->sums + s * words;

        memset(slot, 0, 8);
        for (size_t i = 1; i < words; i++) {
            uint64_t w = bench_random(&seed);

            memcpy(slot + i * 8, &w, sizeof(w));
            sums[i] = w + (i >= 2 ? sums[i - 2] : 0);
        }
    }
    bench_pattern_seek(p, 0);
    return 0;
}

void bench_pattern_deinit(struct bench_pattern *p) {
    free(p->data);
    free(p->sums);
    p->data = NULL;
    p->sums = NULL;
}

void bench_pattern_seek(struct bench_pattern *p, uint64_t seq) {
    p->next_seq = seq;
    p->slot = (unsigned) (seq % p->slots);
    for (unsigned i = 0; i < p->ahead; i++) {
        uint64_t stamp = seq + i;

        memcpy(bench_pattern_slot(p, (unsigned) (stamp % p->slots)), &stamp, sizeof(stamp));
    }
}

bool bench_pattern_check_any(struct bench_pattern *p, const void *msg, size_t size, uint64_t seq) {
    p->next_seq = seq;
    p->slot = (unsigned) (seq % p->slots);
    return bench_pattern_check(p, msg, size, seq);
}

const void *bench_pattern_make_any(struct bench_pattern *p, uint64_t seq) {
    unsigned char *slot = bench_pattern_slot(p, (unsigned) (seq % p->slots));

    memcpy(slot, &seq, sizeof(seq));
    return slot;
}
