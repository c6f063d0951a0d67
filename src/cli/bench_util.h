/* SPDX-License-Identifier: MIT
 *
 * What every benchmark shares: a clock cheap enough to read per round trip, a histogram, and the
 * one way a result is printed. (Messages that can be checked: bench_pattern.h; processes, cores
 * and memory: bench_os.h.)
 *
 * The floors, tram's own benchmarks and the peers in bench/peers all use these three, so that they
 * do the same job: nobody wins by checking less.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- clock ------------------------------------------------------------------------------- */

/* Finds out whether the time stamp counter is fit for use and how fast it runs; before any fork,
   so that all processes convert alike. */
void bench_clock_init(void);

/* Nanoseconds. Comparable between the processes of one run, and cheap: about 10 ns. */
uint64_t bench_now(void);

/* ---- histogram --------------------------------------------------------------------------- */

/* Values fall into 128 steps per power of two: never more than 0.8 % off. Plain data without
   pointers, so that it can be filled in private memory and copied into a shared page. */
#define HIST_SUB_BITS 7
#define HIST_TOP_BITS 42
#define HIST_CELLS ((HIST_TOP_BITS - HIST_SUB_BITS + 1) << HIST_SUB_BITS)

struct bench_hist {
    uint64_t n;
    uint64_t sum;
    uint64_t min;
    uint64_t max;
    uint32_t cell[HIST_CELLS];
};

void bench_hist_clear(struct bench_hist *h);
void bench_hist_add(struct bench_hist *h, uint64_t ns);
void bench_hist_merge(struct bench_hist *into, const struct bench_hist *from);

/* The value that a share of `q` (0 to 1) of all values does not exceed; 0 if there are none. */
uint64_t bench_hist_at(const struct bench_hist *h, double q);

/* ---- a stream's time ------------------------------------------------------------------------ */

/* The receiver of a stream counts here. The clock is read at the start (after `warm` messages, when
   all is attached and touched) and some 100 times on the way: a rate, and how even it was. */
struct bench_slices {
    struct bench_hist *hist; /* picoseconds per message, slice by slice */
    uint64_t warm, end, step;
    uint64_t next; /* count at which to read the clock */
    uint64_t begin_ns,
        begin; /* of the measured part: may begin after `warm` if many come at once */
    uint64_t last_ns, last;
};

#define BENCH_SLICE_UNIT 0.001

void bench_slices_init(struct bench_slices *s, struct bench_hist *hist, uint64_t warm,
                       uint64_t count);
void bench_slices_mark(struct bench_slices *s, uint64_t done);

static inline void bench_slices_count(struct bench_slices *s, uint64_t done) {
    if (__builtin_expect(done >= s->next, 0))
        bench_slices_mark(s, done);
}

/* Messages per second between the first mark and the last. */
double bench_slices_rate(const struct bench_slices *s);

/* How many messages make a stream of about a second on a good path. */
uint64_t bench_stream_count(size_t size);

/* How many round trips to make before the first that counts: a tenth, but at least until a ring of
   4 MiB was gone round once. Before, each of its pages costs a fault. */
uint64_t bench_warm_trips(size_t size, uint64_t count);

/* ---- results ------------------------------------------------------------------------------ */

struct bench_result {
    const char *bench;   /* rtt, stream, … */
    const char *subject; /* tram, floor name, peer name */
    const char *mode;    /* spin, sleep, batch 64, … */
    size_t size;
    uint64_t count;
    double min_ns; /* of a round trip; of a stream: per message, in slices of it */
    double p50_ns;
    double p99_ns;
    double p999_ns;
    double max_ns;
    double msgs_per_s;
    double bytes_per_s;
    bool verified;
    double class_ns;       /* round trip of a cache line before … */
    double class_after_ns; /* … and after */
    unsigned disturbed;    /* attempts thrown away because the two differed */
    uint64_t preempted;    /* how often the kernel took a core from us */
    uint64_t slept;        /* how often one of us went to sleep */
    bool pinned;
    char extra[512];      /* further members, each with a leading comma; or empty */
    char extra_text[256]; /* the same for people; or empty */
};

/* Fills the percentiles out of a histogram of which 1 stands for unit_ns, and the rate when it is
   still 0. */
void bench_result_times(struct bench_result *r, const struct bench_hist *h, double unit_ns);

/* Two lines for people. */
void bench_result_text(const struct bench_result *r);

/* One JSON object, without a newline. */
void bench_result_json(const struct bench_result *r, FILE *out);

/*
 * Runs the job, probing the placement class (TARGETS: the hypervisor moves our cores about) before
 * and after, and once more where the two differ. `run` fills times, rate and `verified`; the rest
 * of *r is set before and kept. cpu: -1 twice where nothing can be pinned. 0 or what run returned.
 */
int bench_measure(const int cpu[2], int (*run)(void *arg, struct bench_result *r), void *arg,
                  struct bench_result *r);

/* A small generator for sizes and orders; the same seed gives the same run. */
uint64_t bench_random(uint64_t *state);

/* "64k", "1M", "4096"; false if it is none of that. */
bool bench_parse_size(const char *text, uint64_t *ret);
