/* SPDX-License-Identifier: MIT
 *
 * The floors: what the machine allows, measured in the same run as everything else. See
 * docs/PERFORMANCE.md for what each stands for.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "bench_ideal.h"

#define RTT_RING (1u << 20)
#define AWAY_NS 20000u

enum floor_kind { FLOOR_LINE, FLOOR_RTT, FLOOR_FUTEX, FLOOR_STREAM, FLOOR_FAN };

struct floor {
    const char *name;
    enum floor_kind kind;
    uint64_t ring; /* bytes */
    bool batch;    /* publish in batches */
    bool away;     /* the consumer looks away for a while when it has drained */
    const char *mode;
};

static const struct floor floors[] = {
    { "line", FLOOR_LINE, 0, false, false, "one cache line there and back" },
    { "rtt", FLOOR_RTT, RTT_RING, false, false, "ideal ring, spinning" },
    { "futex", FLOOR_FUTEX, RTT_RING, false, false, "ideal ring, both asleep on a futex" },
    { "each", FLOOR_STREAM, 1u << 20, false, false, "ideal 1 MiB ring, each published" },
    { "batch", FLOOR_STREAM, 4u << 20, true, false, "ideal 4 MiB ring, in batches" },
    { "away", FLOOR_STREAM, 4u << 20, true, true, "ideal 4 MiB ring, in batches, looks away" },
    { "fan", FLOOR_FAN, 0, true, false, "ideal 4 MiB ring, many readers" },
};
#define FLOORS (sizeof(floors) / sizeof(*floors))

const char bench_floor_names[] = "line, rtt, futex, each, batch, away, fan";

/* What both processes share; [0] goes from member 0 to 1, [1] back. */
struct floor_run {
    struct ideal_words words[2];
    struct bench_barrier barrier;
    _Alignas(128) _Atomic uint32_t bell[2];
    _Alignas(128) const struct floor *floor;
    const struct bench_opts *o;
    unsigned char *data[2];
    size_t size;
    uint64_t count, warm;
    unsigned batch;
    bool ok[2];
    double rate;
    struct bench_switches switches[2];
    struct bench_hist hist;
};

static struct ideal floor_ring(struct floor_run *f, unsigned direction) {
    return (struct ideal){ .words = &f->words[direction],
                           .data = f->data[direction],
                           .size = f->floor->ring };
}

/* ---- there and back ----------------------------------------------------------------------- */

static void floor_send(struct floor_run *f, struct ideal *out, unsigned direction) {
    ideal_push(out, f->size);
    ideal_publish(out);
    if (f->floor->kind != FLOOR_FUTEX)
        return;
    atomic_fetch_add(&f->bell[direction], 1);
    bench_futex_wake(&f->bell[direction]);
}

static const void *floor_wait(struct floor_run *f, struct ideal *in, unsigned direction,
                              size_t *ret_size) {
    if (f->floor->kind == FLOOR_FUTEX) {
        for (;;) {
            uint32_t seen = atomic_load(&f->bell[direction]);

            if (ideal_look(in))
                break;
            bench_futex_wait(&f->bell[direction], seen);
        }
    }
    while (!ideal_look(in))
        bench_relax();
    return ideal_next(in, ret_size);
}

static int floor_asker(struct floor_run *f, struct bench_hist *hist) {
    struct ideal out = floor_ring(f, 0), in = floor_ring(f, 1);
    struct bench_pattern pattern, back;
    bool ok = true;

    if (bench_pattern_init(&pattern, f->size) < 0 || bench_pattern_init(&back, f->size) < 0)
        return -ENOMEM;
    bench_hist_clear(hist);
    for (uint64_t seq = 0; seq < f->count + f->warm; seq++) {
        uint64_t start = bench_now();
        const void *msg;
        size_t size;

        bench_pattern_write(&pattern, ideal_claim(&out, f->size), f->size, seq);
        floor_send(f, &out, 0);
        msg = floor_wait(f, &in, 1, &size);
        ok &= size == f->size && bench_pattern_check(&back, msg, size, seq);
        ideal_free(&in);
        if (seq >= f->warm)
            bench_hist_add(hist, bench_now() - start);
    }
    bench_pattern_deinit(&pattern);
    bench_pattern_deinit(&back);
    f->ok[0] = ok;
    return 0;
}

static int floor_echo(struct floor_run *f) {
    struct ideal in = floor_ring(f, 0), out = floor_ring(f, 1);
    struct bench_pattern pattern;
    bool ok = true;

    if (bench_pattern_init(&pattern, f->size) < 0)
        return -ENOMEM;
    for (uint64_t seq = 0; seq < f->count + f->warm; seq++) {
        size_t size;
        const void *msg = floor_wait(f, &in, 0, &size);

        ok &= size == f->size && bench_pattern_check(&pattern, msg, size, seq);
        bench_copy(ideal_claim(&out, f->size), msg, f->size);
        ideal_free(&in);
        floor_send(f, &out, 1);
    }
    bench_pattern_deinit(&pattern);
    f->ok[1] = ok;
    return 0;
}

static int floor_trips(void *arg, unsigned who) {
    static struct bench_hist hist;
    struct floor_run *f = arg;
    struct bench_switches before;
    int ret;

    (void) bench_pin(f->o->cpu[who]);
    bench_barrier(&f->barrier, 2);
    before = bench_switches();
    ret = who ? floor_echo(f) : floor_asker(f, &hist);
    f->switches[who] = bench_switches_since(before);
    if (who == 0)
        f->hist = hist;
    return ret;
}

/* The line alone: nothing but one word that goes to and fro. */
static int floor_line(void *arg, unsigned who) {
    static struct bench_hist hist;
    struct floor_run *f = arg;
    _Atomic uint64_t *line = &f->words[0].tail;
    uint64_t turn = who;
    struct bench_switches before;

    (void) bench_pin(f->o->cpu[who]);
    bench_barrier(&f->barrier, 2);
    before = bench_switches();
    bench_hist_clear(&hist);
    for (uint64_t i = 0; i < f->count + f->warm; i++, turn += 2) {
        uint64_t start = who ? 0 : bench_now();

        if (who) {
            while (atomic_load_explicit(line, memory_order_acquire) != turn)
                bench_relax();
            atomic_store_explicit(line, turn + 1, memory_order_release);
            continue;
        }
        atomic_store_explicit(line, turn + 1, memory_order_release);
        while (atomic_load_explicit(line, memory_order_acquire) != turn + 2)
            bench_relax();
        if (i >= f->warm)
            bench_hist_add(&hist, bench_now() - start);
    }
    f->switches[who] = bench_switches_since(before);
    f->ok[who] = true;
    if (who == 0)
        f->hist = hist;
    return 0;
}

/* ---- one to one --------------------------------------------------------------------------- */

static int floor_producer(struct floor_run *f) {
    struct ideal out = floor_ring(f, 0);
    struct bench_pattern pattern;
    unsigned staged = 0;

    if (bench_pattern_init(&pattern, f->size) < 0)
        return -ENOMEM;
    bench_barrier(&f->barrier, 2);
    for (uint64_t seq = 0; seq < f->count + f->warm; seq++) {
        bench_pattern_write(&pattern, ideal_claim(&out, f->size), f->size, seq);
        ideal_push(&out, f->size);
        if (++staged >= f->batch) {
            ideal_publish(&out);
            staged = 0;
        }
    }
    ideal_publish(&out);
    bench_pattern_deinit(&pattern);
    f->ok[0] = true;
    return 0;
}

static void look_away(void) {
    uint64_t until = bench_now() + AWAY_NS;

    while (bench_now() < until)
        bench_relax();
}

static int floor_consumer(struct floor_run *f, struct bench_hist *hist) {
    struct ideal in = floor_ring(f, 0);
    struct bench_pattern pattern;
    struct bench_slices slices;
    uint64_t seq = 0;
    bool ok = true;

    if (bench_pattern_init(&pattern, f->size) < 0)
        return -ENOMEM;
    bench_slices_init(&slices, hist, f->warm, f->count);
    bench_barrier(&f->barrier, 2);
    while (seq < f->count + f->warm) {
        const void *msg;
        size_t size;

        while (!ideal_look(&in))
            bench_relax();
        while ((msg = ideal_next(&in, &size))) {
            ok &= size == f->size && bench_pattern_check(&pattern, msg, size, seq++);
            if (!f->floor->batch)
                ideal_free(&in);
            bench_slices_count(&slices, seq);
        }
        ideal_free(&in);
        if (f->floor->away && seq < f->count + f->warm)
            look_away();
    }
    f->rate = bench_slices_rate(&slices);
    bench_pattern_deinit(&pattern);
    f->ok[1] = ok;
    return 0;
}

static int floor_flow(void *arg, unsigned who) {
    static struct bench_hist hist;
    struct floor_run *f = arg;
    struct bench_switches before;
    int ret;

    (void) bench_pin(f->o->cpu[who]);
    before = bench_switches();
    ret = who ? floor_consumer(f, &hist) : floor_producer(f);
    f->switches[who] = bench_switches_since(before);
    if (who == 1)
        f->hist = hist;
    return ret;
}

/* ---- all of them -------------------------------------------------------------------------- */

static void floor_defaults(struct floor_run *f) {
    const struct bench_opts *o = f->o;
    uint64_t fit;

    f->size = o->size ? o->size : 32;
    f->count = o->count;
    if (!f->count && f->floor->kind == FLOOR_FUTEX)
        f->count = 20000;
    else if (!f->count && f->floor->kind != FLOOR_STREAM)
        f->count = f->size > 4096 ? 50000 : 500000;
    else if (!f->count)
        f->count = bench_stream_count(f->size);
    f->warm = f->floor->kind == FLOOR_RTT ? bench_warm_trips(f->size, f->count) : f->count / 10 + 1;
    /* A batch must leave room for several, else the two take turns. */
    fit = f->floor->ring / 16 / ideal_record(f->size);
    f->batch = o->batch ? o->batch : 64;
    if (f->batch > fit)
        f->batch = (unsigned) fit;
    if (!f->floor->batch || !f->batch)
        f->batch = 1;
}

static int floor_run(void *arg, struct bench_result *r) {
    static int (*const jobs[])(void *, unsigned) = {
        [FLOOR_LINE] = floor_line,
        [FLOOR_RTT] = floor_trips,
        [FLOOR_FUTEX] = floor_trips,
        [FLOOR_STREAM] = floor_flow,
    };
    struct floor_run *f = arg;
    struct bench_team team = { .n = 2,
                               .threads = f->o->threads,
                               .timeout_s = BENCH_TIMEOUT_S,
                               .fn = jobs[f->floor->kind],
                               .arg = f };
    int ret;

    memset(f->words, 0, sizeof(f->words));
    memset(&f->barrier, 0, sizeof(f->barrier));
    ret = bench_team_run(&team);
    if (ret < 0)
        return ret;
    r->count = f->count;
    if (f->floor->kind == FLOOR_STREAM) {
        r->msgs_per_s = f->rate;
        r->bytes_per_s = r->msgs_per_s * (double) f->size;
    }
    r->verified = f->ok[0] && f->ok[1];
    r->preempted = f->switches[0].preempted + f->switches[1].preempted;
    r->slept = f->switches[0].slept + f->switches[1].slept;
    bench_result_times(r, &f->hist, f->floor->kind == FLOOR_STREAM ? BENCH_SLICE_UNIT : 1);
    return 0;
}

static int floor_measure(const struct bench_opts *o, const struct floor *floor,
                         struct bench_result *r) {
    struct floor_run *f;
    int ret = 1;

    if (floor->kind == FLOOR_FAN)
        return bench_fan(o, r);
    f = bench_shared(sizeof(*f));
    if (!f)
        return 1;
    f->floor = floor;
    f->o = o;
    floor_defaults(f);
    *r = (struct bench_result){
        .bench = "floor", .subject = floor->name, .mode = floor->mode, .size = f->size
    };
    if (floor->kind == FLOOR_LINE)
        r->size = f->size = 8;
    if (floor->ring) {
        f->data[0] = bench_ring_map(floor->ring);
        f->data[1] = bench_ring_map(floor->ring);
    }
    if (floor->ring && f->size > floor->ring / 4)
        fprintf(stderr, "bench: %zu bytes are too much for this ring\n", f->size);
    else if (floor->ring && (!f->data[0] || !f->data[1]))
        fprintf(stderr, "bench: no memory for the rings\n");
    else
        ret = bench_report(o, floor_run, f, r);
    bench_ring_unmap(f->data[0], floor->ring);
    bench_ring_unmap(f->data[1], floor->ring);
    bench_unshare(f, sizeof(*f));
    return ret;
}

/* All floors at the sizes of the table; the JSON object is that of the line with a list in it. */
static int floor_all(const struct bench_opts *o) {
    static const size_t sizes[] = { 32, 1024, 65536 };
    static struct bench_result results[FLOORS * 3];
    size_t n = 0;
    int ret = 0;

    for (size_t i = 0; i < FLOORS; i++) {
        for (size_t s = 0; s < 3 && (s == 0 || floors[i].kind != FLOOR_LINE); s++) {
            struct bench_opts each = *o;

            each.list = true;
            each.size = o->size ? o->size : sizes[s];
            ret |= floor_measure(&each, &floors[i], &results[n++]);
            if (o->size)
                break;
        }
    }
    printf("{\"bench\":\"floor\",\"line\":");
    bench_result_json(&results[0], stdout);
    printf(",\"floors\":[");
    for (size_t i = 0; i < n; i++) {
        printf("%s", i ? "," : "");
        bench_result_json(&results[i], stdout);
    }
    printf("]}\n");
    return ret;
}

int bench_floor(const struct bench_opts *o) {
    struct bench_result r;

    if (!o->floor)
        return floor_all(o);
    for (size_t i = 0; i < FLOORS; i++)
        if (strcmp(floors[i].name, o->floor) == 0)
            return floor_measure(o, &floors[i], &r);
    fprintf(stderr, "bench: no floor '%s'; there are %s\n", o->floor, bench_floor_names);
    return 2;
}
