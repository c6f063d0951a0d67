/* SPDX-License-Identifier: MIT
 *
 * One to one: a sender that never stops and a receiver that reads every byte. Plain: one send and
 * one receive a message; --batch N: N staged before one is sent, and up to N received at a time;
 * --take N: received at a time, else; --claim: written in place.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_tram.h"

#define SENDER BENCH_NODE(1)
#define RECEIVER BENCH_NODE(2)
#define TAG 7

struct stream_run {
    struct bench_barrier barrier;
    _Alignas(128) const struct bench_opts *o;
    struct bench_bus bus;
    enum bench_wait wait;
    size_t size;
    uint64_t count, warm;
    unsigned batch, take;
    bool ok;
    double rate;
    struct bench_switches switches[2];
    struct bench_hist hist;
};

static int stream_claim(struct stream_run *f, tram_node *node, struct bench_pattern *pattern,
                        uint64_t seq, uint32_t flags) {
    static const struct tram_meta meta = { .tag = TAG };
    void *at;
    int ret = tram_claim(node, RECEIVER, f->size, TRAM_FOREVER, &at);

    if (ret < 0)
        return ret;
    bench_pattern_write(pattern, at, f->size, seq);
    return tram_commit(node, RECEIVER, &meta, f->size, flags);
}

static int stream_send(struct stream_run *f, tram_node *node, struct bench_pattern *pattern) {
    uint64_t all = f->count + f->warm;
    unsigned staged = 0;

    for (uint64_t seq = 0; seq < all; seq++) {
        uint32_t flags = TRAM_MORE;
        int ret;

        if (++staged >= f->batch || seq + 1 == all) {
            flags = 0;
            staged = 0;
        }
        if (f->o->claim)
            ret = stream_claim(f, node, pattern, seq, flags);
        else
            ret = tram_send(node, RECEIVER, TAG, bench_pattern_make(pattern, seq), f->size, flags);
        if (__builtin_expect(ret < 0, 0))
            return bench_fail(node, "send", ret);
    }
    return 0;
}

static inline bool stream_check(struct stream_run *f, struct bench_pattern *pattern,
                                const struct tram_msg *msg, uint64_t seq) {
    return msg->from == SENDER && msg->seq == seq + 1 && msg->tag == TAG && msg->attempt == 1 &&
           msg->size == f->size && bench_pattern_check(pattern, msg->data, msg->size, seq);
}

static int stream_receive(struct stream_run *f, tram_node *node, struct bench_pattern *pattern,
                          struct bench_slices *slices) {
    struct tram_msg *msgs = calloc(f->take, sizeof(*msgs));
    uint64_t seq = 0, all = f->count + f->warm;
    bool ok = true;
    int n = msgs ? 0 : -ENOMEM;

    while (seq < all && n >= 0) {
        if (f->take == 1) {
            n = tram_recv(node, msgs, TRAM_FOREVER);
            n = n < 0 ? n : 1;
        } else {
            n = tram_recv_batch(node, msgs, (int) f->take, 0, TRAM_FOREVER);
        }
        for (int i = 0; i < n; i++)
            ok &= stream_check(f, pattern, &msgs[i], seq++);
        bench_slices_count(slices, seq);
    }
    free(msgs);
    f->ok = ok;
    return n < 0 ? bench_fail(node, "receive", n) : 0;
}

static int stream_member(void *arg, unsigned who) {
    static struct bench_hist hist;
    struct stream_run *f = arg;
    struct bench_pattern pattern;
    struct bench_slices slices;
    tram_node *node;
    struct bench_switches before;
    int ret = -EIO;

    (void) bench_pin(f->o->cpu[who]);
    if (bench_pattern_init(&pattern, f->size) < 0)
        return -ENOMEM;
    node = bench_open(&f->bus, who ? RECEIVER : SENDER, f->wait, f->size);
    if (node) {
        if (who)
            bench_slices_init(&slices, &hist, f->warm, f->count);
        bench_barrier(&f->barrier, 2);
        before = bench_switches();
        ret = who ? stream_receive(f, node, &pattern, &slices) : stream_send(f, node, &pattern);
        f->switches[who] = bench_switches_since(before);
        if (who) {
            f->rate = bench_slices_rate(&slices);
            f->hist = hist;
        }
    }
    tram_close(node);
    bench_pattern_deinit(&pattern);
    return ret;
}

static int stream_run(void *arg, struct bench_result *r) {
    struct stream_run *f = arg;
    struct bench_team team = { .n = 2,
                               .threads = f->o->threads,
                               .timeout_s = BENCH_TIMEOUT_S,
                               .fn = stream_member,
                               .arg = f };
    int ret;

    memset(&f->barrier, 0, sizeof(f->barrier));
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
    r->preempted = f->switches[0].preempted + f->switches[1].preempted;
    r->slept = f->switches[0].slept + f->switches[1].slept;
    bench_result_times(r, &f->hist, BENCH_SLICE_UNIT);
    return 0;
}

int bench_stream(const struct bench_opts *o) {
    struct stream_run *f = bench_shared(sizeof(*f));
    struct bench_result r = { .bench = "stream", .subject = "tram" };
    char mode[64];
    int ret;

    if (!f)
        return 1;
    f->o = o;
    f->size = o->size ? o->size : 32;
    f->wait = bench_wait_of(o, BENCH_DEFAULT);
    f->count = o->count ? o->count : bench_stream_count(f->size);
    f->warm = f->count / 10 + 1;
    f->batch = o->batch ? o->batch : 1;
    f->take = o->take ? o->take : f->batch;
    (void) snprintf(mode, sizeof(mode), "batch %u, take %u, %s%s%s", f->batch, f->take,
                    bench_wait_name(f->wait), o->claim ? ", in place" : "",
                    o->threads ? ", threads" : "");
    r.mode = mode;
    r.size = f->size;
    ret = bench_report(o, stream_run, f, &r);
    bench_unshare(f, sizeof(*f));
    return ret;
}
