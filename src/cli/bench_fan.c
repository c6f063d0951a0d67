/* SPDX-License-Identifier: MIT
 *
 * The floor of events: the ideal ring (bench_ideal.h) with one writer and --readers N readers, each
 * with a head of its own. The writer publishes in batches and waits for the slowest; who finds
 * nothing to do gives its core away, since there are more processes than cores.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "bench_ideal.h"

#define FAN_RING (4u << 20)
#define FAN_BATCH 64u

struct fan_reader {
    struct ideal_words words; /* of which `head` is used */
    bool ok;
    double rate;
    struct bench_switches switches;
    struct bench_hist hist;
};

struct fan_run {
    struct bench_barrier barrier;
    struct ideal_words words;
    _Alignas(128) const struct bench_opts *o;
    unsigned char *data;
    size_t size;
    uint64_t count, warm;
    unsigned readers, batch;
    struct bench_switches switches;
    struct fan_reader of[BENCH_READERS_MAX];
};

static uint64_t slowest(const struct fan_run *f) {
    uint64_t head = UINT64_MAX;

    for (unsigned i = 0; i < f->readers; i++) {
        uint64_t at = atomic_load_explicit(&f->of[i].words.head, memory_order_acquire); /* h */

        head = at < head ? at : head;
    }
    return head;
}

static void wait_for_room(struct fan_run *f, struct ideal *out) {
    uint64_t end = out->own + ideal_record(f->size);

    out->other = slowest(f);
    if (end - out->other > out->size)
        ideal_publish(out);
    while (end - out->other > out->size) {
        bench_yield();
        out->other = slowest(f);
    }
}

static int fan_write(struct fan_run *f, struct bench_pattern *pattern) {
    struct ideal out = { .words = &f->words, .data = f->data, .size = FAN_RING };
    unsigned staged = 0;

    for (uint64_t seq = 0; seq < f->count + f->warm; seq++) {
        if (out.own + ideal_record(f->size) - out.other > out.size)
            wait_for_room(f, &out);
        bench_pattern_write(pattern, ideal_claim(&out, f->size), f->size, seq);
        ideal_push(&out, f->size);
        if (++staged >= f->batch) {
            ideal_publish(&out);
            staged = 0;
        }
    }
    ideal_publish(&out);
    return 0;
}

static int fan_read(struct fan_run *f, struct fan_reader *mine, struct bench_pattern *pattern) {
    struct ideal in = { .words = &f->words, .data = f->data, .size = FAN_RING };
    struct bench_slices slices;
    uint64_t seq = 0;
    bool ok = true;

    bench_slices_init(&slices, &mine->hist, f->warm, f->count);
    while (seq < f->count + f->warm) {
        const void *msg;
        size_t size;

        while (!ideal_look(&in))
            bench_yield();
        for (unsigned n = 0; n < f->batch && (msg = ideal_next(&in, &size)); n++)
            ok &= size == f->size && bench_pattern_check(pattern, msg, size, seq++);
        atomic_store_explicit(&mine->words.head, in.own, memory_order_release); /* H */
        bench_slices_count(&slices, seq);
    }
    mine->rate = bench_slices_rate(&slices);
    mine->ok = ok;
    return 0;
}

static int fan_member(void *arg, unsigned who) {
    struct fan_run *f = arg;
    struct bench_pattern pattern;
    struct bench_switches before;
    int rc;

    if (f->readers == 1)
        (void) bench_pin(f->o->cpu[who]);
    else
        (void) bench_pin_both(f->o->cpu);
    if (bench_pattern_init(&pattern, f->size) < 0)
        return -ENOMEM;
    bench_barrier(&f->barrier, f->readers + 1);
    before = bench_switches();
    rc = who ? fan_read(f, &f->of[who - 1], &pattern) : fan_write(f, &pattern);
    *(who ? &f->of[who - 1].switches : &f->switches) = bench_switches_since(before);
    bench_pattern_deinit(&pattern);
    return rc;
}

static int fan_run(void *arg, struct bench_result *r) {
    static struct bench_hist hist;
    struct fan_run *f = arg;
    struct bench_team team = { .n = f->readers + 1,
                               .threads = f->o->threads,
                               .timeout_s = BENCH_TIMEOUT_S,
                               .fn = fan_member,
                               .arg = f };
    double all = 0;
    int rc;

    memset(&f->words, 0, sizeof(f->words));
    memset(&f->barrier, 0, sizeof(f->barrier));
    memset(f->of, 0, sizeof(f->of));
    rc = bench_team_run(&team);
    if (rc < 0)
        return rc;
    bench_hist_clear(&hist);
    r->count = f->count;
    r->verified = true;
    r->preempted = f->switches.preempted;
    r->slept = f->switches.slept;
    r->msgs_per_s = f->of[0].rate;
    for (unsigned i = 0; i < f->readers; i++) {
        const struct fan_reader *of = &f->of[i];

        r->verified &= of->ok;
        r->preempted += of->switches.preempted;
        r->slept += of->switches.slept;
        all += of->rate;
        r->msgs_per_s = of->rate < r->msgs_per_s ? of->rate : r->msgs_per_s;
        bench_hist_merge(&hist, &of->hist);
    }
    r->bytes_per_s = r->msgs_per_s * (double) f->size;
    bench_result_times(r, &hist, BENCH_SLICE_UNIT);
    (void) snprintf(r->extra, sizeof(r->extra), ",\"readers\":%u,\"delivered_per_s\":%.0f",
                    f->readers, all);
    (void) snprintf(r->extra_text, sizeof(r->extra_text), "; delivered in all: %.2f M/s",
                    all / 1e6);
    return 0;
}

int bench_fan(const struct bench_opts *o, struct bench_result *r) {
    struct fan_run *f = bench_shared(sizeof(*f));
    char mode[64];
    int ret = 1;

    if (!f)
        return 1;
    f->o = o;
    f->size = o->size ? o->size : 256;
    f->readers = o->readers ? o->readers : 4;
    f->count = o->count ? o->count : bench_stream_count(f->size);
    f->warm = f->count / 10 + 1;
    f->batch = o->batch ? o->batch : FAN_BATCH;
    while (f->batch > 1 && f->batch * ideal_record(f->size) > FAN_RING / 16)
        f->batch /= 2;
    (void) snprintf(mode, sizeof(mode), "ideal 4 MiB ring, %u readers, batch %u", f->readers,
                    f->batch);
    *r = (struct bench_result){
        .bench = "floor", .subject = "fan", .mode = mode, .size = f->size
    };
    f->data = bench_ring_map(FAN_RING);
    if (f->size > FAN_RING / 4)
        fprintf(stderr, "bench: %zu bytes are too much for this ring\n", f->size);
    else if (!f->data)
        fprintf(stderr, "bench: no memory for the ring\n");
    else
        ret = bench_report(o, fan_run, f, r);
    r->mode = "ideal 4 MiB ring, many readers"; /* it outlives this call */
    bench_ring_unmap(f->data, FAN_RING);
    bench_unshare(f, sizeof(*f));
    return ret;
}
