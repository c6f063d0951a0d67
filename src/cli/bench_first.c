/* SPDX-License-Identifier: MIT
 *
 * The first message to a new node: the receiver has just opened an ID that nobody ever wrote to,
 * and waits; the sender sends one message, which makes the channel's files, attaches and rings.
 * One way, until the message was received and checked.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench_tram.h"

#define SENDER BENCH_NODE(1)
#define FRESH(i) BENCH_NODE(2 + (unsigned) (i))

/* Until the receiver is in its receive. */
#define QUIET_NS 50000u

struct first_run {
    struct bench_barrier barrier;
    _Alignas(128) _Atomic uint64_t sent_ns;
    _Atomic uint64_t ready, received;
    _Alignas(128) const struct bench_opts *o;
    struct bench_bus bus;
    enum bench_wait wait;
    size_t size;
    uint64_t count, warm;
    bool ok;
    struct bench_switches switches;
    struct bench_hist hist;
    struct bench_hist open; /* what opening took */
};

static int first_send(struct first_run *f, struct bench_pattern *pattern) {
    tram_node *node = bench_open(&f->bus, SENDER, f->wait, f->size);
    int ret = node ? 0 : -EIO;

    for (uint64_t i = 0; i < f->count + f->warm && !ret; i++) {
        const void *data = bench_pattern_make(pattern, i);

        while (atomic_load(&f->ready) != i + 1)
            bench_pause(QUIET_NS / 4);
        bench_pause(QUIET_NS);
        atomic_store(&f->sent_ns, bench_now());
        ret = tram_send(node, FRESH(i), 0, data, f->size, 0);
        if (ret < 0)
            (void) bench_fail(node, "send", ret);
    }
    /* The last message is on its way: the channel is there whether or not we are. */
    tram_close(node);
    return ret;
}

static int first_receive_one(struct first_run *f, struct bench_pattern *pattern, uint64_t i,
                             struct bench_hist hist[2]) {
    uint64_t start = bench_now(), opened, now;
    tram_node *node = bench_open(&f->bus, FRESH(i), f->wait, f->size);
    struct tram_msg msg;
    int ret;

    if (!node)
        return -EIO;
    opened = bench_now() - start;
    atomic_store(&f->ready, i + 1);
    ret = tram_recv(node, &msg, TRAM_FOREVER);
    if (ret == 0) {
        f->ok &= msg.from == SENDER && msg.seq == 1 && msg.size == f->size &&
                 bench_pattern_check(pattern, msg.data, msg.size, i);
        now = bench_now();
        if (i >= f->warm) {
            bench_hist_add(&hist[0], now - atomic_load(&f->sent_ns));
            bench_hist_add(&hist[1], opened);
        }
    } else {
        (void) bench_fail(node, "receive", ret);
    }
    tram_close(node);
    return ret;
}

static int first_member(void *arg, unsigned who) {
    static struct bench_hist hist[2];
    struct first_run *f = arg;
    struct bench_pattern pattern;
    int ret = 0;

    (void) bench_pin(f->o->cpu[who]);
    if (bench_pattern_init(&pattern, f->size) < 0)
        return -ENOMEM;
    bench_barrier(&f->barrier, 2);
    if (who == 0) {
        ret = first_send(f, &pattern);
    } else {
        bench_hist_clear(&hist[0]);
        bench_hist_clear(&hist[1]);
        for (uint64_t i = 0; i < f->count + f->warm && !ret; i++)
            ret = first_receive_one(f, &pattern, i, hist);
        f->hist = hist[0];
        f->open = hist[1];
        f->switches = bench_switches();
    }
    bench_pattern_deinit(&pattern);
    return ret;
}

static int first_run(void *arg, struct bench_result *r) {
    struct first_run *f = arg;
    struct bench_team team = {
        .n = 2, .threads = f->o->threads, .timeout_s = BENCH_TIMEOUT_S, .fn = first_member, .arg = f
    };
    double open_us;
    int ret;

    memset(&f->barrier, 0, sizeof(f->barrier));
    atomic_store(&f->ready, 0);
    f->ok = true;
    bench_bus_init(&f->bus, f->o);
    ret = bench_team_run(&team);
    bench_bus_deinit(&f->bus);
    if (ret < 0)
        return ret;
    r->count = f->count;
    r->verified = f->ok;
    r->preempted = f->switches.preempted;
    r->slept = f->switches.slept;
    bench_result_times(r, &f->hist, 1);
    open_us = (double) bench_hist_at(&f->open, 0.5) / 1e3;
    (void) snprintf(r->extra, sizeof(r->extra), ",\"open_p50_ns\":%.0f", open_us * 1e3);
    (void) snprintf(r->extra_text, sizeof(r->extra_text), "; opening the node took %.1f µs (p50)",
                    open_us);
    return 0;
}

int bench_first(const struct bench_opts *o) {
    struct first_run *f = bench_shared(sizeof(*f));
    struct bench_result r = { .bench = "first", .subject = "tram" };
    char mode[64];
    int ret;

    if (!f)
        return 1;
    f->o = o;
    f->size = o->size ? o->size : 32;
    f->wait = bench_wait_of(o, BENCH_SLEEP);
    f->count = o->count ? o->count : 1000;
    f->warm = f->count / 10 + 1;
    (void) snprintf(mode, sizeof(mode), "one way, new channel, %s%s", bench_wait_name(f->wait),
                    o->threads ? ", threads" : "");
    r.mode = mode;
    r.size = f->size;
    ret = bench_report(o, first_run, f, &r);
    bench_unshare(f, sizeof(*f));
    return ret;
}
