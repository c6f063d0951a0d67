/* SPDX-License-Identifier: MIT
 *
 * Everything at once: N nodes, each sends to all (itself included) messages of 8 B to 16 KiB, the
 * receiver and the size chosen at random, and receives in between. Nobody waits in a send: who
 * finds a ring full receives first, so that no circle of waiting can close.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_tram.h"

#define MIX_MAX (16u << 10)
#define MIX_NODES 64u
#define NODE(i) BENCH_NODE(1 + (i))

struct mix_run {
    struct bench_barrier barrier;
    _Alignas(128) const struct bench_opts *o;
    struct bench_bus bus;
    enum bench_wait wait;
    uint64_t count; /* messages sent by each */
    unsigned nodes, batch;
    _Alignas(128) _Atomic uint64_t sent[MIX_NODES][MIX_NODES]; /* [from][to], once from is done */
    _Atomic unsigned finished;
    bool ok[MIX_NODES];
    uint64_t begin_ns[MIX_NODES], end_ns[MIX_NODES];
    uint64_t bytes[MIX_NODES];
    struct bench_switches switches[MIX_NODES];
};

struct mix_node {
    struct mix_run *f;
    unsigned self;
    tram_node *node;
    struct bench_pattern pattern, expect;
    uint64_t random;
    uint64_t sent[MIX_NODES], got[MIX_NODES];
    uint64_t bytes;
    bool ok;
};

/* What identifies a message, and what its size follows from: a byte each for the ends. */
static uint64_t mix_key(unsigned from, unsigned to, uint64_t seq) {
    return (uint64_t) from << 56 | (uint64_t) to << 48 | seq;
}

/* Evenly spread over the powers of two rather than the bytes: small ones are usual. */
static size_t mix_size(uint64_t key) {
    uint64_t r = bench_random(&key);
    size_t top = (size_t) 8 << (r % 12);

    return top >= MIX_MAX ? MIX_MAX : top + (size_t) (r >> 32) % top;
}

static int mix_take(struct mix_node *m, int64_t timeout) {
    static _Thread_local struct tram_msg msgs[512];
    int n = tram_recv_batch(m->node, msgs, (int) m->f->batch, 0, timeout);

    for (int i = 0; i < n; i++) {
        unsigned from = msgs[i].from - NODE(0);
        uint64_t key;

        if (from >= m->f->nodes || msgs[i].seq != m->got[from] + 1 || msgs[i].attempt != 1) {
            m->ok = false;
            continue;
        }
        key = mix_key(from, m->self, m->got[from]++);
        m->ok &= msgs[i].size == mix_size(key) &&
                 bench_pattern_check_any(&m->expect, msgs[i].data, msgs[i].size, key);
        m->bytes += msgs[i].size;
    }
    if (n < 0 && n != -EAGAIN && n != -ETIMEDOUT)
        return bench_fail(m->node, "receive", n);
    return n;
}

static int mix_send(struct mix_node *m) {
    uint32_t flags = TRAM_NOWAIT | (m->f->batch > 1 ? TRAM_MORE : 0);

    for (uint64_t i = 0; i < m->f->count; i++) {
        unsigned to = (unsigned) (bench_random(&m->random) % m->f->nodes);
        uint64_t key = mix_key(m->self, to, m->sent[to]);
        const void *data = bench_pattern_make_any(&m->pattern, key);
        int ret;

        while ((ret = tram_send(m->node, NODE(to), 0, data, mix_size(key), flags)) == -EAGAIN) {
            /* What waits here makes no room there, so don't wait long. */
            ret = mix_take(m, 1000000);
            if (ret < 0 && ret != -EAGAIN && ret != -ETIMEDOUT)
                return ret;
        }
        if (ret < 0)
            return bench_fail(m->node, "send", ret);
        m->sent[to]++;
        if (i % m->f->batch == 0 && (ret = mix_take(m, 0)) < 0 && ret != -EAGAIN)
            return ret;
    }
    return tram_flush(m->node);
}

static bool mix_complete(const struct mix_node *m) {
    if (atomic_load(&m->f->finished) < m->f->nodes)
        return false;
    for (unsigned from = 0; from < m->f->nodes; from++)
        if (m->got[from] != atomic_load(&m->f->sent[from][m->self]))
            return false;
    return true;
}

static int mix_work(struct mix_node *m) {
    int ret = mix_send(m);

    if (ret < 0)
        return ret;
    for (unsigned to = 0; to < m->f->nodes; to++)
        atomic_store(&m->f->sent[m->self][to], m->sent[to]);
    atomic_fetch_add(&m->f->finished, 1);
    while (!mix_complete(m)) {
        ret = mix_take(m, 10000000);
        if (ret < 0 && ret != -EAGAIN && ret != -ETIMEDOUT)
            return ret;
    }
    return 0;
}

static int mix_member(void *arg, unsigned who) {
    struct mix_run *f = arg;
    struct mix_node *m = calloc(1, sizeof(*m));
    int ret = -ENOMEM;

    if (!m)
        return -ENOMEM;
    (void) bench_pin(f->o->cpu[who & 1]);
    *m = (struct mix_node){ .f = f, .self = who, .random = who + 1, .ok = true };
    if (bench_pattern_init(&m->pattern, MIX_MAX) == 0 &&
        bench_pattern_init(&m->expect, MIX_MAX) == 0)
        m->node = bench_open(&f->bus, NODE(who), f->wait, MIX_MAX);
    if (m->node) {
        bench_barrier(&f->barrier, f->nodes);
        f->begin_ns[who] = bench_now();
        ret = mix_work(m);
        f->end_ns[who] = bench_now();
        f->bytes[who] = m->bytes;
        f->ok[who] = m->ok;
        f->switches[who] = bench_switches();
    }
    tram_close(m->node);
    bench_pattern_deinit(&m->pattern);
    bench_pattern_deinit(&m->expect);
    free(m);
    return ret;
}

static int mix_run(void *arg, struct bench_result *r) {
    static struct bench_hist hist;
    struct mix_run *f = arg;
    struct bench_team team = { .n = f->nodes,
                               .threads = f->o->threads,
                               .timeout_s = BENCH_TIMEOUT_S,
                               .fn = mix_member,
                               .arg = f };
    uint64_t begin = UINT64_MAX, end = 0, bytes = 0;
    int ret;

    memset(&f->barrier, 0, sizeof(f->barrier));
    atomic_store(&f->finished, 0);
    memset(f->ok, 0, sizeof(f->ok));
    bench_bus_init(&f->bus, f->o);
    ret = bench_team_run(&team);
    bench_bus_deinit(&f->bus);
    if (ret < 0)
        return ret;
    bench_hist_clear(&hist);
    r->verified = true;
    for (unsigned i = 0; i < f->nodes; i++) {
        begin = f->begin_ns[i] < begin ? f->begin_ns[i] : begin;
        end = f->end_ns[i] > end ? f->end_ns[i] : end;
        bytes += f->bytes[i];
        r->verified &= f->ok[i];
        r->preempted += f->switches[i].preempted;
        r->slept += f->switches[i].slept;
        /* Per message of each node: how even they were. */
        bench_hist_add(&hist, (f->end_ns[i] - f->begin_ns[i]) * 1000 / f->count);
    }
    r->count = f->count * f->nodes;
    r->size = (size_t) (bytes / r->count);
    r->msgs_per_s = (double) r->count * 1e9 / (double) (end - begin);
    r->bytes_per_s = (double) bytes * 1e9 / (double) (end - begin);
    (void) snprintf(r->extra, sizeof(r->extra), ",\"nodes\":%u,\"channels\":%u", f->nodes,
                    f->nodes * f->nodes);
    bench_result_times(r, &hist, BENCH_SLICE_UNIT);
    return 0;
}

int bench_mix(const struct bench_opts *o) {
    struct mix_run *f = bench_shared(sizeof(*f));
    struct bench_result r = { .bench = "mix", .subject = "tram" };
    char mode[64];
    int ret;

    if (!f)
        return 1;
    if (o->senders > MIX_NODES) {
        fprintf(stderr, "tram bench: mix has at most %u nodes\n", MIX_NODES);
        return 2;
    }
    f->o = o;
    f->nodes = o->senders ? o->senders : 4;
    f->wait = bench_wait_of(o, BENCH_DEFAULT);
    f->count = o->count ? o->count / f->nodes + 1 : 2000000 / f->nodes;
    f->batch = o->batch ? o->batch : 16;
    (void) snprintf(mode, sizeof(mode), "%u x %u nodes, 8 B to 16 KiB, batch %u, %s%s", f->nodes,
                    f->nodes, f->batch, bench_wait_name(f->wait), o->threads ? ", threads" : "");
    r.mode = mode;
    ret = bench_report(o, mix_run, f, &r);
    bench_unshare(f, sizeof(*f));
    return ret;
}
