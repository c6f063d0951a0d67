/* SPDX-License-Identifier: MIT
 *
 * Small tools that several tests share. Nothing here needs the harness, so that programs with a
 * main() of their own can use it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <tram/tram.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KIT_MS INT64_C(1000000)
#define KIT_S INT64_C(1000000000)

/* CLOCK_MONOTONIC, nanoseconds. */
int64_t kit_now(void);

/* A number from the environment, or `standard`. */
uint64_t kit_env(const char *name, uint64_t standard);

/* A time-out for waits that should not be needed: nanoseconds, times TRAM_TIME_SCALE. */
int64_t kit_patience(int seconds);

/* Seeded random numbers: the same seed gives the same sequence on every machine. */
struct rng {
    uint64_t state;
};

uint64_t rng_next(struct rng *rng);
uint64_t rng_below(struct rng *rng, uint64_t n); /* 0 to n - 1 */
bool rng_chance(struct rng *rng, unsigned in_thousand);

/* A 64-bit hash of up to three numbers. */
uint64_t kit_mix(uint64_t a, uint64_t b, uint64_t c);

/* Bytes that follow from a key; the offset of the first wrong one, or -1. */
void pattern_fill(void *data, size_t size, uint64_t key);
ssize_t pattern_check(const void *data, size_t size, uint64_t key);

/* Zeroed memory that forked children share. Aborts when there is none. */
void *kit_shared(size_t size);

/* The usual options of a test: a small ring, and a time of looking before sleeping. */
struct tram_options kit_options(uint64_t ring_size, int64_t spin_ns);

/* Open a node on the default bus below `dir` (NULL: $TRAM_DIR); prints the reason and exits with 1
 * when that fails. options may be NULL. */
tram_node *kit_open(const char *dir, tram_id id, const struct tram_options *options);

/* Text of the last error. */
const char *kit_error(const tram_node *node);

/* Copy a directory tree: files with their holes, FIFOs, modes. 0 or a negative errno. */
int kit_copy_tree(const char *from, const char *to);

/* Remove a tree. */
void kit_remove_tree(const char *path);

/* How many entries below `dir` (all levels; directories not counted) have a name or a parent that
 * matches the fnmatch(3) pattern; "*" counts all. */
unsigned kit_count_files(const char *dir, const char *pattern);

/* Memory of all files below a directory, bytes. */
uint64_t kit_memory(const char *dir);

/* Print all names below a directory, with size and memory, to standard error. */
void kit_list_tree(const char *dir);

/* Run this and all later children on one processor; -1: any. */
void kit_pin(int cpu);

/* "dir/default/1.2.3.4/name" of a node's file, in `buffer`, which is returned. name may be NULL. */
char *kit_path(char *buffer, size_t size, const char *dir, tram_id node, const char *name);

/* Is the node asleep, as its door says? false when there is no door yet. */
bool kit_asleep(const char *dir, tram_id node);

/* Wait until a node sleeps; false when it does not within some seconds. */
bool kit_await_asleep(const char *dir, tram_id node);

/* Give up the processor for some microseconds: between two looks at a condition. */
void kit_pause(void);

#ifdef __cplusplus
}
#endif
