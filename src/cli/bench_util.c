/* SPDX-License-Identifier: MIT */
#include "bench_util.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif

#include "bench_os.h"

/* ---- clock ------------------------------------------------------------------------------- */

/* ns = ticks * mult / 2^32; 0 means: ask the kernel. */
static uint64_t clock_mult;

static uint64_t clock_kernel(void) {
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

#if defined(__x86_64__)
static uint64_t clock_ticks(void) {
    unsigned aux;

    /* rdtscp waits for the loads before it: a message counts as read when it has been. */
    return __rdtscp(&aux);
}

static bool clock_ticks_usable(void) {
    unsigned a, b, c, d;

    /* "Invariant": same rate in every power state. Without that it is no clock. */
    if (!__get_cpuid(0x80000007u, &a, &b, &c, &d) || !(d & (1u << 8)))
        return false;
    return __get_cpuid(0x80000001u, &a, &b, &c, &d) && (d & (1u << 27));
}
#else
static uint64_t clock_ticks(void) {
    return 0;
}

static bool clock_ticks_usable(void) {
    return false;
}
#endif

void bench_clock_init(void) {
    uint64_t k0, k1, t0, t1;

    if (clock_mult || !clock_ticks_usable())
        return;

    k0 = clock_kernel();
    t0 = clock_ticks();
    do {
        k1 = clock_kernel();
        t1 = clock_ticks();
    } while (k1 - k0 < 20000000u);

    clock_mult = (uint64_t) (((unsigned __int128) (k1 - k0) << 32) / (t1 - t0));
}

uint64_t bench_now(void) {
    if (!clock_mult)
        return clock_kernel();
    return (uint64_t) (((unsigned __int128) clock_ticks() * clock_mult) >> 32);
}

/* ---- histogram --------------------------------------------------------------------------- */

static unsigned hist_cell(uint64_t v) {
    unsigned top;

    if (v >= (UINT64_C(1) << HIST_TOP_BITS))
        v = (UINT64_C(1) << HIST_TOP_BITS) - 1;
    if (v < (1u << HIST_SUB_BITS))
        return (unsigned) v;
    top = 63u - (unsigned) __builtin_clzll(v);
    return ((top - HIST_SUB_BITS) << HIST_SUB_BITS) + (unsigned) (v >> (top - HIST_SUB_BITS));
}

/* The middle of what falls into a cell: the inverse of hist_cell. */
static uint64_t hist_value(unsigned cell) {
    unsigned shift;
    uint64_t low;

    if (cell < (2u << HIST_SUB_BITS))
        return cell;
    shift = (cell >> HIST_SUB_BITS) - 1;
    low = ((uint64_t) (cell & ((1u << HIST_SUB_BITS) - 1)) | (1u << HIST_SUB_BITS)) << shift;
    return low + ((UINT64_C(1) << shift) >> 1);
}

void bench_hist_clear(struct bench_hist *h) {
    memset(h, 0, sizeof(*h));
    h->min = UINT64_MAX;
}

void bench_hist_add(struct bench_hist *h, uint64_t ns) {
    h->n++;
    h->sum += ns;
    if (ns < h->min)
        h->min = ns;
    if (ns > h->max)
        h->max = ns;
    h->cell[hist_cell(ns)]++;
}

void bench_hist_merge(struct bench_hist *into, const struct bench_hist *from) {
    into->n += from->n;
    into->sum += from->sum;
    if (from->min < into->min)
        into->min = from->min;
    if (from->max > into->max)
        into->max = from->max;
    for (unsigned i = 0; i < HIST_CELLS; i++)
        into->cell[i] += from->cell[i];
}

uint64_t bench_hist_at(const struct bench_hist *h, double q) {
    uint64_t want, seen = 0;

    if (!h->n)
        return 0;
    want = (uint64_t) (q * (double) h->n);
    if ((double) want < q * (double) h->n)
        want++;
    for (unsigned i = 0; i < HIST_CELLS; i++) {
        seen += h->cell[i];
        if (h->cell[i] && seen >= want) {
            uint64_t v = hist_value(i);

            return v < h->min ? h->min : v > h->max ? h->max : v;
        }
    }
    return h->max;
}

/* ---- a stream's time ------------------------------------------------------------------------ */

void bench_slices_init(struct bench_slices *s, struct bench_hist *hist, uint64_t warm,
                       uint64_t count) {
    uint64_t step = count / 100;

    *s = (struct bench_slices){
        .hist = hist, .warm = warm, .end = warm + count, .step = step ? step : 1, .next = warm
    };
    bench_hist_clear(hist);
}

void bench_slices_mark(struct bench_slices *s, uint64_t done) {
    uint64_t now = bench_now();

    if (s->begin_ns) {
        bench_hist_add(s->hist, (now - s->last_ns) * 1000 / (done - s->last));
    } else {
        s->begin_ns = now;
        s->begin = done;
    }
    s->last_ns = now;
    s->last = done;
    s->next = done + s->step;
    /* The last slice ends with the last message, and takes in what is too short for one. */
    if (done < s->end && s->end - done < 2 * s->step)
        s->next = s->end;
}

double bench_slices_rate(const struct bench_slices *s) {
    if (s->last_ns == s->begin_ns)
        return 0;
    return (double) (s->last - s->begin) * 1e9 / (double) (s->last_ns - s->begin_ns);
}

uint64_t bench_stream_count(size_t size) {
    return size <= 512 ? 20000000 : size <= 4096 ? 5000000 : 131072;
}

uint64_t bench_warm_trips(size_t size, uint64_t count) {
    uint64_t lap = (5u << 20) / (size + 32) + 1;

    return count / 10 > lap ? count / 10 : lap;
}

/* ---- results ------------------------------------------------------------------------------ */

void bench_result_times(struct bench_result *r, const struct bench_hist *h, double unit_ns) {
    r->min_ns = h->n ? (double) h->min * unit_ns : 0;
    r->p50_ns = (double) bench_hist_at(h, 0.5) * unit_ns;
    r->p99_ns = (double) bench_hist_at(h, 0.99) * unit_ns;
    r->p999_ns = (double) bench_hist_at(h, 0.999) * unit_ns;
    r->max_ns = (double) h->max * unit_ns;
    if (r->msgs_per_s <= 0 && h->sum) {
        r->msgs_per_s = (double) h->n * 1e9 / ((double) h->sum * unit_ns);
        r->bytes_per_s = r->msgs_per_s * (double) r->size;
    }
}

void bench_result_json(const struct bench_result *r, FILE *out) {
    fprintf(out,
            "{\"bench\":\"%s\",\"subject\":\"%s\",\"mode\":\"%s\",\"size\":%zu,"
            "\"count\":%" PRIu64 ",\"min_ns\":%.3f,\"p50_ns\":%.3f,\"p99_ns\":%.3f,"
            "\"p999_ns\":%.3f,\"max_ns\":%.3f,\"msgs_per_s\":%.0f,\"bytes_per_s\":%.0f,"
            "\"verified\":%s,\"class_ns\":%.0f,\"class_after_ns\":%.0f,\"disturbed\":%u,"
            "\"preempted\":%" PRIu64 ",\"slept\":%" PRIu64 ",\"pinned\":%s%s}",
            r->bench, r->subject, r->mode, r->size, r->count, r->min_ns, r->p50_ns, r->p99_ns,
            r->p999_ns, r->max_ns, r->msgs_per_s, r->bytes_per_s, r->verified ? "true" : "false",
            r->class_ns, r->class_after_ns, r->disturbed, r->preempted, r->slept,
            r->pinned ? "true" : "false", r->extra);
}

/* A rate the way people say it. */
static void print_rate(double per_s, double bytes_per_s) {
    if (per_s >= 1e6)
        printf("%.2f M msg/s", per_s / 1e6);
    else if (per_s >= 1e3)
        printf("%.1f k msg/s", per_s / 1e3);
    else
        printf("%.1f msg/s", per_s);
    if (bytes_per_s >= 1e9)
        printf(", %.2f GB/s", bytes_per_s / 1e9);
    else
        printf(", %.1f MB/s", bytes_per_s / 1e6);
}

void bench_result_text(const struct bench_result *r) {
    printf("%s %s, %zu B, %s: ", r->subject, r->bench, r->size, r->mode);
    print_rate(r->msgs_per_s, r->bytes_per_s);
    printf(" (%" PRIu64 " messages%s%s)%s\n", r->count, r->verified ? ", each verified" : "",
           r->pinned ? "" : ", not pinned", r->extra_text);
    printf("    µs: min %.3f  p50 %.3f  p99 %.3f  p99.9 %.3f  max %.3f   "
           "cache line there and back %.0f/%.0f ns",
           r->min_ns / 1e3, r->p50_ns / 1e3, r->p99_ns / 1e3, r->p999_ns / 1e3, r->max_ns / 1e3,
           r->class_ns, r->class_after_ns);
    if (r->preempted)
        printf("; lost the core %" PRIu64 " times", r->preempted);
    if (r->slept)
        printf("; slept %" PRIu64 " times", r->slept);
    if (r->disturbed)
        printf("; %u disturbed attempts thrown away", r->disturbed);
    printf("\n");
}

/* ---- measuring within one class ------------------------------------------------------------ */

/* Attempts that may be thrown away before the last one counts, marked. */
#define MEASURE_RETRIES 3u

/* The classes lie a factor of two and more apart; within one, probes differ by up to a half. */
static bool same_class(double a, double b) {
    return a <= b * 1.7 && b <= a * 1.7;
}

int bench_measure(const int cpu[2], int (*run)(void *arg, struct bench_result *r), void *arg,
                  struct bench_result *r) {
    struct bench_result blank = *r;
    double before = bench_class_probe(cpu);

    for (unsigned tries = 0;; tries++) {
        double after;
        int ret;

        *r = blank;
        r->pinned = cpu[0] >= 0 && cpu[1] >= 0;
        ret = run(arg, r);
        if (ret < 0)
            return ret;
        after = bench_class_probe(cpu);
        r->class_ns = before;
        r->class_after_ns = after;
        r->disturbed = tries;
        if (same_class(before, after) || tries == MEASURE_RETRIES)
            return 0;
        before = after;
    }
}

/* ---- small things ------------------------------------------------------------------------- */

uint64_t bench_random(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

bool bench_parse_size(const char *text, uint64_t *ret) {
    char *end;
    uint64_t v, shift = 0;

    if (!isdigit((unsigned char) text[0]))
        return false;
    v = strtoull(text, &end, 10);
    switch (*end) {
    case 'k':
    case 'K':
        shift = 10;
        break;
    case 'm':
    case 'M':
        shift = 20;
        break;
    case 'g':
    case 'G':
        shift = 30;
        break;
    default:
        break;
    }
    if (shift)
        end++;
    if (*end || v > (UINT64_MAX >> shift))
        return false;
    *ret = v << shift;
    return true;
}
