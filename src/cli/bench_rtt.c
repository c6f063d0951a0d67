/* SPDX-License-Identifier: MIT
 *
 * Round trips: one node asks, the other sends back the bytes that it got. A trip starts before the
 * message is copied into the ring and ends when every byte of the answer has been checked.
 *
 * With --claim it is the handing over alone: both write and look in place, and only the number at
 * either end of the message, so that what is left depends on the size if, and only if, tram does.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench_tram.h"

#define ASKER BENCH_NODE(1)
#define ECHO BENCH_NODE(2)

struct rtt_run {
    struct bench_barrier barrier;
    _Alignas(128) const struct bench_opts *o;
    struct bench_bus bus;
    enum bench_wait wait;
    size_t size;
    uint64_t count, warm;
    bool ok[2];
    struct bench_switches switches[2];
    struct bench_hist hist;
};

static void claim_write(void *data, size_t size, uint64_t seq) {
    memcpy(data, &seq, sizeof(seq));
    memcpy((unsigned char *) data + size - sizeof(seq), &seq, sizeof(seq));
}

static bool claim_check(const void *data, size_t size, uint64_t seq) {
    return bench_load8(data) == seq &&
           bench_load8((const unsigned char *) data + size - sizeof(seq)) == seq;
}

static int rtt_send(struct rtt_run *f, tram_node *node, tram_id to, const void *data,
                    uint64_t seq) {
    void *at;
    int ret;

    if (!f->o->claim) {
        ret = tram_send(node, to, (uint32_t) seq, data, f->size, 0);
        return ret < 0 ? bench_fail(node, "send", ret) : 0;
    }
    ret = tram_claim(node, to, f->size, TRAM_FOREVER, &at);
    if (ret < 0)
        return bench_fail(node, "claim", ret);
    claim_write(at, f->size, seq);
    ret = tram_commit(node, to, NULL, f->size, 0);
    return ret < 0 ? bench_fail(node, "commit", ret) : 0;
}

static bool rtt_check(const struct rtt_run *f, struct bench_pattern *pattern,
                      const struct tram_msg *msg, tram_id from, uint64_t seq) {
    if (msg->from != from || msg->seq != seq + 1 || msg->attempt != 1 || msg->size != f->size)
        return false;
    return f->o->claim ? claim_check(msg->data, msg->size, seq)
                       : bench_pattern_check(pattern, msg->data, msg->size, seq);
}

static int rtt_asker(struct rtt_run *f, tram_node *node, struct bench_pattern *pattern,
                     struct bench_pattern *back) {
    static struct bench_hist hist;
    struct tram_msg msg;
    bool ok = true; /* private: the run's own would trade a cache line per trip */

    bench_hist_clear(&hist);
    for (uint64_t seq = 0; seq < f->count + f->warm; seq++) {
        uint64_t start = bench_now();
        const void *data = f->o->claim ? NULL : bench_pattern_make(pattern, seq);
        int ret = rtt_send(f, node, ECHO, data, seq);

        if (ret < 0)
            return ret;
        ret = tram_recv(node, &msg, TRAM_FOREVER);
        if (ret < 0)
            return bench_fail(node, "receive", ret);
        ok &= rtt_check(f, back, &msg, ECHO, seq);
        if (seq >= f->warm)
            bench_hist_add(&hist, bench_now() - start);
    }
    f->hist = hist;
    f->ok[0] = ok;
    return 0;
}

static int rtt_echo(struct rtt_run *f, tram_node *node, struct bench_pattern *pattern) {
    struct tram_msg msg;
    bool ok = true;

    for (uint64_t seq = 0; seq < f->count + f->warm; seq++) {
        int ret = tram_recv(node, &msg, TRAM_FOREVER);

        if (ret < 0)
            return bench_fail(node, "receive", ret);
        ok &= rtt_check(f, pattern, &msg, ASKER, seq);
        ret = rtt_send(f, node, msg.from, msg.data, seq);
        if (ret < 0)
            return ret;
    }
    f->ok[1] = ok;
    return 0;
}

static int rtt_member(void *arg, unsigned who) {
    struct rtt_run *f = arg;
    struct bench_pattern pattern[2];
    size_t size = f->o->claim ? BENCH_SIZE_MIN : f->size;
    tram_node *node;
    struct bench_switches before;
    int ret = -EIO;

    (void) bench_pin(f->o->cpu[who]);
    if (bench_pattern_init(&pattern[0], size) < 0 || bench_pattern_init(&pattern[1], size) < 0)
        return -ENOMEM;
    node = bench_open(&f->bus, who ? ECHO : ASKER, f->wait, f->size);
    if (node) {
        bench_barrier(&f->barrier, 2);
        before = bench_switches();
        ret = who ? rtt_echo(f, node, &pattern[0]) : rtt_asker(f, node, &pattern[0], &pattern[1]);
        f->switches[who] = bench_switches_since(before);
    }
    tram_close(node);
    bench_pattern_deinit(&pattern[0]);
    bench_pattern_deinit(&pattern[1]);
    return ret;
}

static int rtt_run(void *arg, struct bench_result *r) {
    struct rtt_run *f = arg;
    struct bench_team team = {
        .n = 2, .threads = f->o->threads, .timeout_s = BENCH_TIMEOUT_S, .fn = rtt_member, .arg = f
    };
    int ret;

    memset(&f->barrier, 0, sizeof(f->barrier));
    memset(f->ok, 0, sizeof(f->ok));
    bench_bus_init(&f->bus, f->o);
    ret = bench_team_run(&team);
    bench_bus_deinit(&f->bus);
    if (ret < 0)
        return ret;
    r->count = f->count;
    r->verified = f->ok[0] && f->ok[1];
    r->preempted = f->switches[0].preempted + f->switches[1].preempted;
    r->slept = f->switches[0].slept + f->switches[1].slept;
    bench_result_times(r, &f->hist, 1);
    return 0;
}

int bench_rtt(const struct bench_opts *o) {
    struct rtt_run *f = bench_shared(sizeof(*f));
    struct bench_result r = { .bench = "rtt", .subject = "tram" };
    char mode[64];
    int ret;

    if (!f)
        return 1;
    f->o = o;
    f->size = o->size ? o->size : 32;
    f->wait = bench_wait_of(o, BENCH_SPIN);
    f->count = o->count;
    if (!f->count && f->wait == BENCH_SLEEP)
        f->count = 20000;
    else if (!f->count)
        f->count = f->size > 65536 ? 2000 : f->size > 4096 ? 50000 : 500000;
    f->warm = f->wait == BENCH_SLEEP ? f->count / 10 + 1 : bench_warm_trips(f->size, f->count);
    (void) snprintf(mode, sizeof(mode), "%s%s%s", bench_wait_name(f->wait),
                    o->claim ? ", in place" : "", o->threads ? ", threads" : "");
    r.mode = mode;
    r.size = f->size;
    ret = bench_report(o, rtt_run, f, &r);
    bench_unshare(f, sizeof(*f));
    return ret;
}
