/* SPDX-License-Identifier: MIT
 *
 * The ideal ring: what one producer and one consumer cost when nothing else is promised. No
 * crash survives, nobody sleeps, nobody looks on, and nothing is checked; the floor that the
 * product's own ring is held against.
 *
 * Positions only grow. The producer publishes `tail` with release (T); the consumer's acquire of it
 * (t) sees all records before. The consumer gives room back with a release of `head` (H), the
 * producer's acquire (h) sees that they were read. Each side keeps what it last saw of the other
 * and looks again only when that is used up.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "bench_os.h"
#include "bench_pattern.h"

/* Two lines apart, since processors fetch lines in pairs. */
struct ideal_words {
    _Alignas(128) _Atomic uint64_t tail;
    _Alignas(128) _Atomic uint64_t head;
    _Alignas(128) char end[1];
};

/* Each side has a copy of its own. */
struct ideal {
    struct ideal_words *words;
    unsigned char *data; /* mapped twice in a row */
    uint64_t size;
    uint64_t own;   /* producer: tail so far; consumer: head so far */
    uint64_t other; /* what was last seen of the other's */
};

/* A record is its length in 8 bytes, and the payload in whole 8 bytes. */
static inline uint64_t ideal_record(size_t size) {
    return 8 + (((uint64_t) size + 7) & ~(uint64_t) 7);
}

static inline void ideal_publish(struct ideal *r) {
    atomic_store_explicit(&r->words->tail, r->own, memory_order_release); /* T */
}

/* Room for a message; waits for it. */
static inline void *ideal_claim(struct ideal *r, size_t size) {
    uint64_t end = r->own + ideal_record(size), length = size;
    unsigned char *at = r->data + (r->own & (r->size - 1));

    if (__builtin_expect(end - r->other > r->size, 0)) {
        r->other = atomic_load_explicit(&r->words->head, memory_order_acquire); /* h */
        if (end - r->other > r->size)
            ideal_publish(r);
        while (end - r->other > r->size) {
            bench_relax();
            r->other = atomic_load_explicit(&r->words->head, memory_order_acquire); /* h */
        }
    }
    memcpy(at, &length, sizeof(length));
    return at + 8;
}

static inline void ideal_push(struct ideal *r, size_t size) {
    r->own += ideal_record(size);
}

/* Looks at the other's word; whether there is something. */
static inline bool ideal_look(struct ideal *r) {
    r->other = atomic_load_explicit(&r->words->tail, memory_order_acquire); /* t */
    return r->other != r->own;
}

/* The next message of those seen by ideal_look(); NULL when they are used up. */
static inline const void *ideal_next(struct ideal *r, size_t *ret_size) {
    unsigned char *at = r->data + (r->own & (r->size - 1));

    if (r->own == r->other)
        return NULL;
    *ret_size = bench_load8(at);
    r->own += ideal_record(*ret_size);
    return at + 8;
}

static inline void ideal_free(struct ideal *r) {
    atomic_store_explicit(&r->words->head, r->own, memory_order_release); /* H */
}
