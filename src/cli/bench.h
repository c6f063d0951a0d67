/* SPDX-License-Identifier: MIT
 *
 * `tram bench`: the options, and the verbs below it. One file each: bench_rtt.c, bench_stream.c …
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bench_os.h"
#include "bench_util.h"

/* A run that takes longer hangs. */
#define BENCH_TIMEOUT_S 300u

#define BENCH_READERS_MAX 64u

struct bench_opts {
    const char *floor; /* floor: which one; NULL: all */
    const char *on;    /* durable: a folder on the disk; NULL: the current one */
    const char *dir;   /* where the buses of this run lie */
    size_t size;       /* 0: the verb's own choice, likewise for the next ones */
    uint64_t count;
    unsigned batch;   /* messages staged before a flush, and received at once … */
    unsigned take;    /* … unless this says otherwise */
    unsigned senders; /* fanin, mix: how many; nodes of mix */
    unsigned readers; /* events, floor fan: how many */
    bool sleep;       /* never spin; none of the three: what suits the verb */
    bool dflt;        /* wait as one does who asks for nothing: spin a little, then sleep */
    bool spin;        /* never sleep */
    bool threads;     /* threads of one process, a node each */
    bool claim;       /* written in place, viewed in place */
    bool quiet;       /* no text, JSON only */
    bool list;        /* text only: the caller prints the JSON */
    int cpu[2];
};

/* Each prints its result and returns an exit code. */
int bench_rtt(const struct bench_opts *o);
int bench_stream(const struct bench_opts *o);
int bench_fanin(const struct bench_opts *o);
int bench_wake(const struct bench_opts *o);
int bench_mix(const struct bench_opts *o);
int bench_first(const struct bench_opts *o);
int bench_durable(const struct bench_opts *o);
int bench_rpc(const struct bench_opts *o);
int bench_events(const struct bench_opts *o);
int bench_floor(const struct bench_opts *o);

/* The floor of events (bench_fan.c). */
int bench_fan(const struct bench_opts *o, struct bench_result *r);

/* The names of the floors, for --help. */
extern const char bench_floor_names[];

/* Runs `run` within one class, prints, and turns what went wrong into an exit code and a line. */
int bench_report(const struct bench_opts *o, int (*run)(void *arg, struct bench_result *r),
                 void *arg, struct bench_result *r);
