/* SPDX-License-Identifier: MIT
 *
 * Processes, cores and memory for benchmarks: the only benchmark file that talks to the kernel.
 *
 * A benchmark runs in a worker process that a supervisor waits for; the worker starts a team of
 * processes (or threads) that do the job. Whoever dies takes those below along, and the supervisor
 * removes the bus directory in every case but its own kill -9.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BENCH_PATH 1024 /* of the directory, at most */

/* ---- cores -------------------------------------------------------------------------------- */

/* Two cores that we may use and that are not two halves of one; -1 twice if there is but one. */
void bench_cpus(int cpu[2]);

/* Pins the calling thread; false if that could not be done. -1 asks for nothing. */
bool bench_pin(int cpu);

/* Lets the calling thread run anywhere but there. */
bool bench_pin_elsewhere(int cpu);

/* Lets the calling thread run on either. */
bool bench_pin_both(const int cpu[2]);

/* Gives its core to another. */
void bench_yield(void);

/* The round trip of one cache line between two cores in ns, median of short bursts; 0 if there is
   only one core. Takes some milliseconds. */
double bench_class_probe(const int cpu[2]);

/* How often the calling thread lost its core so far: because the kernel took it away, and because
   it went to sleep (or yielded). */
struct bench_switches {
    uint64_t preempted, slept;
};
struct bench_switches bench_switches(void);

/* Those of the calling thread since `before`. */
struct bench_switches bench_switches_since(struct bench_switches before);

/* Processor time of the calling thread so far, ns. */
uint64_t bench_cpu_time(void);

static inline void bench_relax(void) {
    /* No `pause` on purpose: on newer processors it takes up to 140 cycles, more than the round
       trip that is measured. */
    atomic_signal_fence(memory_order_seq_cst);
}

/* Sleeps. */
void bench_pause(uint64_t ns);

/* ---- memory ------------------------------------------------------------------------------- */

/* Zeroed memory shared with children, allocated at once; NULL if there is none. */
void *bench_shared(size_t size);
void bench_unshare(void *at, size_t size);

/* A data area of `size` (whole pages) that is mapped twice in a row, so that what runs over its
   end goes on at its start. NULL if there is none. */
void *bench_ring_map(size_t size);
void bench_ring_unmap(void *at, size_t size);

/* Sleeps while *word is `value`; may return early. wake: wakes one sleeper. */
void bench_futex_wait(_Atomic uint32_t *word, uint32_t value);
void bench_futex_wake(_Atomic uint32_t *word);

/* ---- teams -------------------------------------------------------------------------------- */

struct bench_team {
    unsigned n;
    bool threads;                       /* threads of this process, not processes */
    unsigned timeout_s;                 /* whoever takes longer is killed */
    int (*fn)(void *arg, unsigned who); /* returns 0 or a negative errno */
    void *arg;                          /* in shared memory if processes are to write to it */
};

/* Runs fn(arg, 0) … fn(arg, n - 1) at once and waits for all. 0; the first error; -ETIMEDOUT; or
   -ECHILD if one died. The others are killed as soon as one fails. */
int bench_team_run(const struct bench_team *team);

/* All `n` wait here for each other; usable again and again on zeroed memory. */
struct bench_barrier {
    _Atomic uint32_t here;
    _Atomic uint32_t round;
};
void bench_barrier(struct bench_barrier *b, unsigned n);

/* ---- a disk ------------------------------------------------------------------------------- */

/* Does that folder lie in memory (tmpfs, ramfs)? Negative errno: it can't be looked at. */
int bench_in_memory(const char *dir);

/* A file below `dir` that has its blocks on the disk; a descriptor, or negative errno. */
int bench_disk_open(const char *dir, size_t size);
/* The i-th write of so many bytes, from a page's beginning, and one fdatasync. */
int bench_disk_write(int fd, const void *data, size_t size, uint64_t i);
void bench_disk_close(int fd);

/* ---- supervision -------------------------------------------------------------------------- */

#define BENCH_INTERRUPTED 6

/* Makes a private directory for buses (in memory if there is such a place), runs fn in a child
   with it, and removes it whatever happened. Returns what fn returned, BENCH_INTERRUPTED after a
   signal to us, or 128 + the one that ended the worker. */
int bench_supervise(int (*fn)(void *arg, const char *dir), void *arg);

/* The same, with a directory below that folder. */
int bench_supervise_in(const char *folder, int (*fn)(void *arg, const char *dir), void *arg);

/* A private directory (NULL: in memory, if there is such a place), and away with it and all that is
   in it. 0 or negative errno. */
int bench_dir_make(const char *folder, char *buf, size_t size);
void bench_dir_remove(const char *dir);
