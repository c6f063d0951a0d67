/* SPDX-License-Identifier: MIT
 *
 * Many senders to one node. All send as fast as they are let; when the receiver has had `count`
 * messages in all it stops the clock. The slowest sender's share is what it got delivered of an
 * equal part, 1 being fair.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_tram.h"

#define RECEIVER BENCH_NODE(1)
#define SENDER(i) BENCH_NODE(1 + (i)) /* i from 1 */

struct fanin_run {
    struct bench_barrier barrier;
    _Alignas(128) _Atomic bool stop;
    _Alignas(128) const struct bench_opts *o;
    struct bench_bus bus;
    enum bench_wait wait;
    size_t size;
    uint64_t count, warm;
    unsigned senders, batch;
    bool ok;
    double rate, slowest, fastest;
    struct bench_switches switches;
    struct bench_hist hist;
};

/* What the receiver knows of a sender. */
struct fanin_from {
    uint64_t seq;   /* messages so far */
    uint64_t begin; /* of these before the clock ran */
};

static int fanin_send(struct fanin_run *f, tram_node *node, struct bench_pattern *pattern) {
    unsigned staged = 0;

    for (uint64_t seq = 0; !atomic_load_explicit(&f->stop, memory_order_relaxed); seq++) {
        const void *data = bench_pattern_make(pattern, seq);
        uint32_t flags = TRAM_MORE | TRAM_NOWAIT;
        struct iovec all = { .iov_base = (void *) (uintptr_t) data, .iov_len = f->size };
        int ret;

        if (++staged >= f->batch) {
            flags = TRAM_NOWAIT;
            staged = 0;
        }
        ret = tram_send(node, RECEIVER, 0, data, f->size, flags);
        /* Full: what is staged goes first, then wait, but not beyond the end of the run. */
        while (ret == -EAGAIN || ret == -ETIMEDOUT) {
            if (atomic_load(&f->stop))
                return 0;
            ret = tram_flush(node);
            if (ret >= 0)
                ret = tram_sendv(node, RECEIVER, NULL, &all, 1, 0, 50000000);
        }
        if (ret < 0)
            return bench_fail(node, "send", ret);
    }
    return 0;
}

static bool fanin_check(struct fanin_run *f, struct bench_pattern *patterns,
                        struct fanin_from *from, const struct tram_msg *msg) {
    tram_id first = SENDER(1);
    unsigned i = msg->from - first;

    if (msg->from < first || i >= f->senders || msg->size != f->size || msg->attempt != 1 ||
        msg->seq != from[i].seq + 1)
        return false;
    return bench_pattern_check(&patterns[i], msg->data, msg->size, from[i].seq++);
}

static void fanin_shares(struct fanin_run *f, const struct fanin_from *from, uint64_t total) {
    f->slowest = (double) f->senders;
    f->fastest = 0;
    for (unsigned i = 0; i < f->senders; i++) {
        double share = (double) (from[i].seq - from[i].begin) * f->senders / (double) total;

        f->slowest = share < f->slowest ? share : f->slowest;
        f->fastest = share > f->fastest ? share : f->fastest;
    }
}

static int fanin_receive(struct fanin_run *f, tram_node *node, struct bench_pattern *patterns,
                         struct fanin_from *from) {
    static struct bench_hist hist;
    static struct tram_msg msgs[512];
    int max = f->batch > 1 ? (int) f->batch : 64;
    uint64_t done = 0, began = 0;
    struct bench_slices slices;
    bool ok = true;
    int n = 0;

    bench_slices_init(&slices, &hist, f->warm, f->count);
    bench_barrier(&f->barrier, f->senders + 1);
    while (done < f->warm + f->count) {
        n = tram_recv_batch(node, msgs, max, 0, TRAM_FOREVER);
        if (n < 0)
            break;
        for (int i = 0; i < n; i++)
            ok &= fanin_check(f, patterns, from, &msgs[i]);
        done += (uint64_t) n;
        bench_slices_count(&slices, done);
        if (!began && done >= f->warm) {
            began = done;
            for (unsigned i = 0; i < f->senders; i++)
                from[i].begin = from[i].seq;
        }
    }
    atomic_store(&f->stop, true);
    f->rate = bench_slices_rate(&slices);
    f->hist = hist;
    f->ok = ok;
    if (n >= 0)
        fanin_shares(f, from, done - began);
    return n < 0 ? bench_fail(node, "receive", n) : 0;
}

/* The receiver checks each sender against a pattern of its own, which keeps the place. */
static int fanin_receiver(struct fanin_run *f) {
    struct bench_pattern *patterns = calloc(f->senders, sizeof(*patterns));
    struct fanin_from *from = calloc(f->senders, sizeof(*from));
    tram_node *node = NULL;
    int ret = patterns && from ? 0 : -ENOMEM;

    /* They differ in their place only: the bodies are shared. */
    if (!ret)
        ret = bench_pattern_init(&patterns[0], f->size);
    for (unsigned i = 1; i < f->senders && !ret; i++)
        patterns[i] = patterns[0];
    if (!ret)
        node = bench_open(&f->bus, RECEIVER, f->wait, f->size);
    if (node) {
        struct bench_switches before = bench_switches();

        ret = fanin_receive(f, node, patterns, from);
        f->switches = bench_switches_since(before);
    } else if (!ret) {
        ret = -EIO;
    }
    tram_close(node);
    if (patterns)
        bench_pattern_deinit(&patterns[0]);
    free(patterns);
    free(from);
    return ret;
}

static int fanin_member(void *arg, unsigned who) {
    struct fanin_run *f = arg;
    struct bench_pattern pattern;
    tram_node *node;
    int ret = -EIO;

    if (who == 0) {
        (void) bench_pin(f->o->cpu[0]);
        return fanin_receiver(f);
    }
    (void) bench_pin_elsewhere(f->o->cpu[0]);
    if (bench_pattern_init(&pattern, f->size) < 0)
        return -ENOMEM;
    node = bench_open(&f->bus, SENDER(who), BENCH_DEFAULT, f->size);
    if (node) {
        bench_barrier(&f->barrier, f->senders + 1);
        ret = fanin_send(f, node, &pattern);
    }
    tram_close(node);
    bench_pattern_deinit(&pattern);
    return ret;
}

static int fanin_run(void *arg, struct bench_result *r) {
    struct fanin_run *f = arg;
    struct bench_team team = { .n = f->senders + 1,
                               .threads = f->o->threads,
                               .timeout_s = BENCH_TIMEOUT_S,
                               .fn = fanin_member,
                               .arg = f };
    int ret;

    memset(&f->barrier, 0, sizeof(f->barrier));
    atomic_store(&f->stop, false);
    f->ok = false;
    bench_bus_init(&f->bus, f->o);
    ret = bench_team_run(&team);
    bench_bus_deinit(&f->bus);
    if (ret < 0)
        return ret;
    r->count = f->count;
    r->msgs_per_s = f->rate;
    r->bytes_per_s = f->rate * (double) f->size;
    r->verified = f->ok;
    r->preempted = f->switches.preempted;
    r->slept = f->switches.slept;
    (void) snprintf(r->extra, sizeof(r->extra),
                    ",\"senders\":%u,\"slowest_share\":%.3f,\"fastest_share\":%.3f", f->senders,
                    f->slowest, f->fastest);
    (void) snprintf(r->extra_text, sizeof(r->extra_text),
                    "; of an equal share the slowest got %.2f, the fastest %.2f", f->slowest,
                    f->fastest);
    bench_result_times(r, &f->hist, BENCH_SLICE_UNIT);
    return 0;
}

int bench_fanin(const struct bench_opts *o) {
    struct fanin_run *f = bench_shared(sizeof(*f));
    struct bench_result r = { .bench = "fanin", .subject = "tram" };
    char mode[64];
    int ret;

    if (!f)
        return 1;
    f->o = o;
    f->size = o->size ? o->size : 32;
    f->senders = o->senders ? o->senders : 8;
    f->wait = bench_wait_of(o, BENCH_DEFAULT);
    f->count = o->count ? o->count : 2 * bench_stream_count(f->size);
    f->warm = f->count / 5 + 1;
    f->batch = o->batch ? o->batch : 1;
    (void) snprintf(mode, sizeof(mode), "%u senders, batch %u, %s%s", f->senders, f->batch,
                    bench_wait_name(f->wait), o->threads ? ", threads" : "");
    r.mode = mode;
    r.size = f->size;
    ret = bench_report(o, fanin_run, f, &r);
    bench_unshare(f, sizeof(*f));
    return ret;
}
