/* SPDX-License-Identifier: MIT
 *
 * One message at a time to a receiver that sleeps, one way: from just before the send until every
 * byte was checked. Afterwards the receiver waits for something that doesn't come, and what that
 * costs of its core is reported too.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench_tram.h"

#define SENDER BENCH_NODE(1)
#define RECEIVER BENCH_NODE(2)

/* Long enough for the receiver to be asleep, in the kernel's eyes too. */
#define QUIET_NS 100000u
#define IDLE_NS 1000000000

struct wake_run {
    struct bench_barrier barrier;
    _Alignas(128) _Atomic uint64_t sent_ns;
    _Atomic uint64_t received;
    _Alignas(128) const struct bench_opts *o;
    struct bench_bus bus;
    enum bench_wait wait;
    size_t size;
    uint64_t count, warm;
    bool ok;
    uint64_t idle_cpu_ns;
    struct bench_switches switches;
    struct bench_hist hist;
};

static int wake_send(struct wake_run *f, tram_node *node, struct bench_pattern *pattern) {
    for (uint64_t seq = 0; seq < f->count + f->warm; seq++) {
        const void *data = bench_pattern_make(pattern, seq);
        int ret;

        while (atomic_load(&f->received) != seq)
            bench_pause(QUIET_NS / 4);
        bench_pause(QUIET_NS);
        atomic_store(&f->sent_ns, bench_now());
        ret = tram_send(node, RECEIVER, 0, data, f->size, 0);
        if (ret < 0)
            return bench_fail(node, "send", ret);
    }
    return 0;
}

static int wake_receive(struct wake_run *f, tram_node *node, struct bench_pattern *pattern) {
    static struct bench_hist hist;
    struct tram_msg msg;
    uint64_t cpu;
    bool ok = true;
    int ret;

    bench_hist_clear(&hist);
    for (uint64_t seq = 0; seq < f->count + f->warm; seq++) {
        uint64_t now;

        ret = tram_recv(node, &msg, TRAM_FOREVER);
        if (ret < 0)
            return bench_fail(node, "receive", ret);
        ok &= msg.from == SENDER && msg.seq == seq + 1 && msg.size == f->size;
        ok &= bench_pattern_check(pattern, msg.data, msg.size, seq);
        now = bench_now();
        if (seq >= f->warm)
            bench_hist_add(&hist, now - atomic_load(&f->sent_ns));
        atomic_store(&f->received, seq + 1);
    }
    cpu = bench_cpu_time();
    ret = tram_recv(node, &msg, IDLE_NS);
    if (ret != -ETIMEDOUT)
        return ret < 0 ? bench_fail(node, "receive", ret) : -EPROTO;
    f->idle_cpu_ns = bench_cpu_time() - cpu;
    f->hist = hist;
    f->ok = ok;
    return 0;
}

static int wake_member(void *arg, unsigned who) {
    struct wake_run *f = arg;
    struct bench_pattern pattern;
    tram_node *node;
    int ret = -EIO;

    (void) bench_pin(f->o->cpu[who]);
    if (bench_pattern_init(&pattern, f->size) < 0)
        return -ENOMEM;
    node = bench_open(&f->bus, who ? RECEIVER : SENDER, f->wait, f->size);
    if (node) {
        bench_barrier(&f->barrier, 2);
        ret = who ? wake_receive(f, node, &pattern) : wake_send(f, node, &pattern);
        if (who)
            f->switches = bench_switches();
    }
    tram_close(node);
    bench_pattern_deinit(&pattern);
    return ret;
}

static int wake_run(void *arg, struct bench_result *r) {
    struct wake_run *f = arg;
    struct bench_team team = {
        .n = 2, .threads = f->o->threads, .timeout_s = BENCH_TIMEOUT_S, .fn = wake_member, .arg = f
    };
    int ret;

    memset(&f->barrier, 0, sizeof(f->barrier));
    atomic_store(&f->received, 0);
    f->ok = false;
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
    (void) snprintf(r->extra, sizeof(r->extra), ",\"idle_cpu_ns_per_s\":%llu",
                    (unsigned long long) f->idle_cpu_ns);
    (void) snprintf(r->extra_text, sizeof(r->extra_text), "; idle: %.1f µs of core time in 1 s",
                    (double) f->idle_cpu_ns / 1e3);
    return 0;
}

int bench_wake(const struct bench_opts *o) {
    struct wake_run *f = bench_shared(sizeof(*f));
    struct bench_result r = { .bench = "wake", .subject = "tram" };
    char mode[64];
    int ret;

    if (!f)
        return 1;
    f->o = o;
    f->size = o->size ? o->size : 32;
    f->wait = bench_wait_of(o, BENCH_SLEEP);
    f->count = o->count ? o->count : 5000;
    f->warm = f->count / 10 + 1;
    (void) snprintf(mode, sizeof(mode), "one way, %s%s", bench_wait_name(f->wait),
                    o->threads ? ", threads" : "");
    r.mode = mode;
    r.size = f->size;
    ret = bench_report(o, wake_run, f, &r);
    bench_unshare(f, sizeof(*f));
    return ret;
}
