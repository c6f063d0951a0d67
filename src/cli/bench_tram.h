/* SPDX-License-Identifier: MIT
 *
 * What tram's own benchmarks share: a bus per attempt, nodes, and what to say when a call fails.
 */
#pragma once

#include <tram/tram.h>

#include "bench.h"
#include "bench_pattern.h"

#define BENCH_NODE(n) TRAM_ID(1, 1, 1 + ((n) >> 8), (n) &0xff)

/* How the ends wait. */
enum bench_wait { BENCH_SPIN, BENCH_DEFAULT, BENCH_SLEEP };

struct bench_bus {
    const char *dir;
    char name[32];
};

/* A bus that nobody used before; its numbers start at 1. */
void bench_bus_init(struct bench_bus *bus, const struct bench_opts *o);

/* Frees its memory at once: the next attempt may need it. */
void bench_bus_deinit(struct bench_bus *bus);

/* Opens a node, after the fork. `size`: the largest message. NULL after saying why. */
tram_node *bench_open(const struct bench_bus *bus, tram_id id, enum bench_wait wait, size_t size);

/* Says what failed, in the node's words; returns `err`. */
int bench_fail(const tram_node *node, const char *what, int err);

/* The wait that was asked for, or else this one; and its name. */
enum bench_wait bench_wait_of(const struct bench_opts *o, enum bench_wait other);
const char *bench_wait_name(enum bench_wait wait);
