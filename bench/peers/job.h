/* SPDX-License-Identifier: MIT
 *
 * The job that every peer does, the same as tram's own (src/cli/bench_rtt.c, bench_stream.c):
 * the same messages, every byte read, every number checked, two processes pinned to two cores, the
 * same clock and the same way to count. A peer says how it opens, sends and receives; the loops are
 * here, inline, so that a constant table of operations costs no call.
 */
#pragma once

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/bench_os.h"
#include "cli/bench_pattern.h"
#include "cli/bench_util.h"

#define JOB_UNDER_WAY_MAX 512u
#define JOB_CHANNELS_MAX 10000u

struct job_opts {
    bool stream; /* else round trips */
    bool requests; /* round trips as requests and answers, if the peer knows such */
    unsigned under_way; /* … so many at once: a rate */
    size_t size;
    uint64_t count, warm;
    bool sleep; /* round trips: block, don't spin; streams: the peer's best way anyhow */
    bool each;  /* streams: one message per write, where that makes a difference */
    bool spin_daemons; /* if the peer has some: they look before they sleep */
    bool one_host; /* … both ends are on one host, without them */
    size_t ring; /* bytes of a ring; 0: as it is by default */
    bool tcp;   /* over loopback TCP, of a peer that has several transports */
    bool quiet;
    unsigned channels; /* streams: messages take turns among so many */
    int cpu[2];
    const char *dir; /* a private directory, for sockets that need a name */
};

/* In memory that both ends share. End 0 sends first. */
struct job {
    struct bench_barrier barrier;
    _Alignas(128) struct job_opts o;
    bool ok[2];
    double rate;
    struct bench_switches switches[2];
    struct bench_hist hist;
};

struct job_ops {
    const char *name;
    const char *modes; /* for --help: what its settings are */
    bool packs;        /* several messages per system call: --each makes a difference */
    bool daemons;      /* … and such as can spin, or be left out, and rings of any size */
    bool requests;     /* it has requests and answers */
    bool tcp;          /* it has --tcp */
    /* Once, before the two processes are started, and after they ended. May be NULL. */
    int (*setup)(const struct job_opts *o);
    void (*teardown)(void);
    /* One end, in its own process. */
    void *(*open)(const struct job_opts *o, unsigned who);
    int (*send)(void *end, const void *data, size_t size);
    /* After the last of a stream, and after each message of a round trip. */
    int (*flush)(void *end);
    /* Waits for the next message, which is valid until the next call. */
    int (*recv)(void *end, const void **ret_data, size_t *ret_size);
    /* Which message it was, if they take turns among channels; NULL: one behind the other. */
    uint64_t (*number)(void *end);
    void (*close)(void *end);
};

#define JOB_INLINE static inline __attribute__((always_inline))

JOB_INLINE int job_ask(struct job *j, const struct job_ops *ops, void *end,
                       struct bench_pattern *out, struct bench_pattern *in) {
    static struct bench_hist hist;
    bool ok = true;

    bench_hist_clear(&hist);
    for (uint64_t seq = 0; seq < j->o.count + j->o.warm; seq++) {
        uint64_t start = bench_now();
        const void *data = bench_pattern_make(out, seq);
        size_t size = 0;
        int ret = ops->send(end, data, j->o.size);

        if (ret >= 0)
            ret = ops->flush(end);
        if (ret >= 0)
            ret = ops->recv(end, &data, &size);
        if (ret < 0)
            return ret;
        ok &= size == j->o.size && bench_pattern_check(in, data, size, seq);
        if (seq >= j->o.warm)
            bench_hist_add(&hist, bench_now() - start);
    }
    j->hist = hist;
    j->ok[0] = ok;
    return 0;
}

/* Several requests under way, answered in order. */
JOB_INLINE int job_ask_many(struct job *j, const struct job_ops *ops, void *end,
                            struct bench_pattern *out, struct bench_pattern *in) {
    uint64_t start[JOB_UNDER_WAY_MAX], began = 0, next = 0, all = j->o.count + j->o.warm;
    static struct bench_hist hist;
    bool ok = true;

    bench_hist_clear(&hist);
    for (uint64_t seq = 0; seq < all; seq++) {
        const void *data = NULL;
        size_t size = 0;
        int ret = 0;

        for (; ret >= 0 && next < all && next - seq < j->o.under_way; next++) {
            start[next % j->o.under_way] = bench_now();
            ret = ops->send(end, bench_pattern_make(out, next), j->o.size);
        }
        if (ret >= 0)
            ret = ops->flush(end);
        if (ret >= 0)
            ret = ops->recv(end, &data, &size);
        if (ret < 0)
            return ret;
        ok &= size == j->o.size && bench_pattern_check(in, data, size, seq);
        if (seq >= j->o.warm)
            bench_hist_add(&hist, bench_now() - start[seq % j->o.under_way]);
        else if (seq + 1 == j->o.warm)
            began = bench_now();
    }
    j->rate = (double) j->o.count * 1e9 / (double) (bench_now() - began);
    j->hist = hist;
    j->ok[0] = ok;
    return 0;
}

JOB_INLINE int job_echo(struct job *j, const struct job_ops *ops, void *end,
                        struct bench_pattern *in) {
    bool ok = true;

    for (uint64_t seq = 0; seq < j->o.count + j->o.warm; seq++) {
        const void *data = NULL;
        size_t size = 0;
        int ret = ops->recv(end, &data, &size);

        if (ret < 0)
            return ret;
        ok &= size == j->o.size && bench_pattern_check(in, data, size, seq);
        ret = ops->send(end, data, size);
        if (ret >= 0)
            ret = ops->flush(end);
        if (ret < 0)
            return ret;
    }
    j->ok[1] = ok;
    return 0;
}

JOB_INLINE int job_send(struct job *j, const struct job_ops *ops, void *end,
                        struct bench_pattern *out) {
    for (uint64_t seq = 0; seq < j->o.count + j->o.warm; seq++) {
        int ret = ops->send(end, bench_pattern_make(out, seq), j->o.size);

        if (ret < 0)
            return ret;
    }
    j->ok[0] = true;
    return ops->flush(end);
}

JOB_INLINE int job_receive(struct job *j, const struct job_ops *ops, void *end,
                           struct bench_pattern *in) {
    static struct bench_hist hist;
    struct bench_slices slices;
    bool ok = true;

    bench_slices_init(&slices, &hist, j->o.warm, j->o.count);
    for (uint64_t seq = 0; seq < j->o.count + j->o.warm;) {
        const void *data = NULL;
        size_t size = 0;
        int ret = ops->recv(end, &data, &size);

        if (ret < 0)
            return ret;
        if (j->o.channels > 1)
            ok &= bench_pattern_check_any(in, data, size, ops->number(end));
        else
            ok &= bench_pattern_check(in, data, size, seq);
        ok &= size == j->o.size;
        seq++;
        bench_slices_count(&slices, seq);
    }
    j->rate = bench_slices_rate(&slices);
    j->hist = hist;
    j->ok[1] = ok;
    return 0;
}

/* What each of the two processes does. */
JOB_INLINE int job_end(struct job *j, const struct job_ops *ops, unsigned who) {
    struct bench_pattern out, in;
    struct bench_switches before;
    void *end;
    int ret;

    (void) bench_pin(j->o.cpu[who]);
    if (bench_pattern_init(&out, j->o.size) < 0 || bench_pattern_init(&in, j->o.size) < 0)
        return -ENOMEM;
    end = ops->open(&j->o, who);
    if (!end)
        return -EIO;
    bench_barrier(&j->barrier, 2);
    before = bench_switches();
    if (j->o.stream)
        ret = who ? job_receive(j, ops, end, &in) : job_send(j, ops, end, &out);
    else if (who)
        ret = job_echo(j, ops, end, &in);
    else if (j->o.under_way > 1)
        ret = job_ask_many(j, ops, end, &out, &in);
    else
        ret = job_ask(j, ops, end, &out, &in);
    j->switches[who] = bench_switches_since(before);
    /* Some peers throw away what they hold when they are closed. */
    if (ret >= 0)
        bench_barrier(&j->barrier, 2);
    ops->close(end);
    bench_pattern_deinit(&out);
    bench_pattern_deinit(&in);
    return ret;
}

/* The rest of main(): options, processes, result. `end` is job_end() with the peer's table. */
int job_main(int argc, char **argv, const struct job_ops *ops, int (*end)(void *job, unsigned who));

/* Both of them. */
#define JOB_MAIN(ops)                                                                              \
    static int job_end_of_peer(void *arg, unsigned who) {                                          \
        return job_end(arg, &(ops), who);                                                          \
    }                                                                                              \
    int main(int argc, char **argv) {                                                              \
        return job_main(argc, argv, &(ops), job_end_of_peer);                                      \
    }
