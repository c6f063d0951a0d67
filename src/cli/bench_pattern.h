/* SPDX-License-Identifier: MIT
 *
 * Messages whose every byte can be checked, at more than a hundred million a second.
 *
 * A message is its sequence number (8 bytes) and a body out of one of a few prepared slots: slot
 * seq mod slots. The bodies are random, so neighbours differ in every word, and the number of
 * slots is prime, so that bytes left over from an earlier lap of a ring don't pass for the right
 * ones.
 *
 * The sender's copies lie ready in its cache, stamped some messages ahead: a store that was just
 * made and is then read by a wider load stalls the core for longer than a whole 32-byte message
 * may take, and would measure the benchmark. The receiver reads all bytes: it adds them up in two
 * lanes, and compares one message in 64 with its own copy byte by byte.
 *
 * The short loops are inline, and for all alike: tram, the floors and the peers.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Smaller messages have no room for a sequence number. */
#define BENCH_SIZE_MIN 8u

struct bench_pattern {
    size_t size_max; /* largest message */
    size_t stride;   /* from one slot to the next */
    unsigned slots;  /* prime */
    unsigned ahead;  /* slots that are stamped before their turn */
    unsigned slot;   /* that of next_seq */
    uint64_t next_seq;
    unsigned char *data;
    uint64_t *sums; /* [slot][i]: body words i, i-2, i-4 … added up */
};

/* 0 or -ENOMEM. Sender and receiver each make their own: they share nothing but the seed. */
int bench_pattern_init(struct bench_pattern *p, size_t size_max);
void bench_pattern_deinit(struct bench_pattern *p);

/* Puts the turn to `seq`, where numbers don't follow each other. */
void bench_pattern_seek(struct bench_pattern *p, uint64_t seq);

/* The same as bench_pattern_make and _check, for numbers in any order. */
const void *bench_pattern_make_any(struct bench_pattern *p, uint64_t seq);
bool bench_pattern_check_any(struct bench_pattern *p, const void *msg, size_t size, uint64_t seq);

typedef uint64_t bench_v2 __attribute__((vector_size(16)));

static inline bench_v2 bench_load16(const unsigned char *at) {
    bench_v2 v;

    memcpy(&v, at, sizeof(v));
    return v;
}

static inline uint64_t bench_load8(const void *at) {
    uint64_t v;

    memcpy(&v, at, sizeof(v));
    return v;
}

static inline unsigned char *bench_pattern_slot(const struct bench_pattern *p, unsigned slot) {
    return p->data + slot * p->stride;
}

static inline void bench_pattern_step(struct bench_pattern *p) {
    p->next_seq++;
    if (++p->slot == p->slots)
        p->slot = 0;
}

/* The message `seq`, complete; of use until the next call. */
static inline const void *bench_pattern_make(struct bench_pattern *p, uint64_t seq) {
    const unsigned char *ret;
    unsigned later;

    if (__builtin_expect(p->next_seq != seq, 0))
        bench_pattern_seek(p, seq);

    later = p->slot + p->ahead;
    if (later >= p->slots)
        later -= p->slots;
    seq += p->ahead;
    memcpy(bench_pattern_slot(p, later), &seq, sizeof(seq));

    ret = bench_pattern_slot(p, p->slot);
    bench_pattern_step(p);
    return ret;
}

/* Like memcpy, without a call for what is small. */
static inline void bench_copy(void *to, const void *from, size_t n) {
    unsigned char *t = to;
    const unsigned char *f = from;

    if (n > 512) {
        memcpy(to, from, n);
        return;
    }
    for (; n >= 16; n -= 16, t += 16, f += 16)
        memcpy(t, f, 16);
    if (n & 8) {
        memcpy(t, f, 8);
        t += 8;
        f += 8;
    }
    for (n &= 7; n; n--)
        *t++ = *f++;
}

/* Writes message `seq` into memory that the transport gave: for paths that build in place. */
static inline void bench_pattern_write(struct bench_pattern *p, void *to, size_t size,
                                       uint64_t seq) {
    bench_copy(to, bench_pattern_make(p, seq), size);
}

/* Adds up all whole words, even ones and odd ones apart. */
static inline bench_v2 bench_pattern_add(const unsigned char *m, size_t words) {
    bench_v2 a = { 0, 0 }, b = { 0, 0 }, c = { 0, 0 }, d = { 0, 0 }, last = { 0, 0 };

    for (; words >= 8; words -= 8, m += 64) {
        a += bench_load16(m);
        b += bench_load16(m + 16);
        c += bench_load16(m + 32);
        d += bench_load16(m + 48);
    }
    for (; words >= 2; words -= 2, m += 16)
        a += bench_load16(m);
    if (words)
        last[0] = bench_load8(m);
    return a + b + c + d + last;
}

/* Whether these bytes are message `seq`; numbers follow each other. Reads each byte. */
static inline bool bench_pattern_check(struct bench_pattern *p, const void *msg, size_t size,
                                       uint64_t seq) {
    const unsigned char *m = msg, *slot;
    size_t words = size / 8;
    const uint64_t *sums;
    bench_v2 got;
    bool ok;

    if (__builtin_expect(p->next_seq != seq, 0))
        bench_pattern_seek(p, seq);

    slot = bench_pattern_slot(p, p->slot);
    sums = p->sums + p->slot * (p->stride / 8);
    got = bench_pattern_add(m, words);
    ok = bench_load8(m) == seq;
    /* sums[i] is that of i's parity up to i, word 0 being the number and left out: so the last even
       and the last odd word tell all, where there is an odd one. */
    ok &= got[0] == sums[(words - 1) & ~(size_t) 1] + seq;
    ok &= got[1] == (words < 2 ? 0 : sums[((words - 2) | 1)]);

    if (__builtin_expect((size & 7) != 0, 0))
        ok &= memcmp(m + words * 8, slot + words * 8, size & 7) == 0;
    if (__builtin_expect((seq & 63) == 0, 0))
        ok &= memcmp(m + 8, slot + 8, size - 8) == 0;
    bench_pattern_step(p);
    return ok;
}
