/* SPDX-License-Identifier: MIT
 *
 * What a send with TRAM_DURABLE takes on a disk, and, turn about on the same disk, what one write
 * with one fdatasync takes: less it can't be.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench_tram.h"

struct durable_run {
    const struct bench_opts *o;
    struct bench_bus bus;
    size_t size;
    uint64_t count, warm;
    bool ok;
    struct bench_switches switches;
    struct bench_hist sends, floor;
};

struct durable_ends {
    tram_node *from, *to;
    int file;
    struct bench_pattern pattern;
};

static int durable_send(struct durable_run *d, struct durable_ends *ends, uint64_t i,
                        const void *data, uint64_t *ret_ns) {
    uint64_t start = bench_now();
    struct tram_msg msg;
    int ret = tram_send(ends->from, BENCH_NODE(2), 0, data, d->size, TRAM_DURABLE);

    *ret_ns = bench_now() - start;
    if (ret < 0)
        return bench_fail(ends->from, "send", ret);
    ret = tram_recv(ends->to, &msg, TRAM_FOREVER);
    if (ret < 0)
        return bench_fail(ends->to, "receive", ret);
    d->ok &= msg.size == d->size && msg.seq == i + 1 &&
             bench_pattern_check(&ends->pattern, msg.data, msg.size, i);
    return 0;
}

static int durable_one(struct durable_run *d, struct durable_ends *ends, uint64_t i) {
    const void *data = bench_pattern_make(&ends->pattern, i);
    uint64_t start = bench_now(), floor, took = 0;
    int ret = bench_disk_write(ends->file, data, d->size, i);

    floor = bench_now() - start;
    if (ret == 0)
        ret = durable_send(d, ends, i, data, &took);
    if (ret == 0 && i >= d->warm) {
        bench_hist_add(&d->floor, floor);
        bench_hist_add(&d->sends, took);
    }
    return ret;
}

static int durable_member(void *arg, unsigned who) {
    struct durable_run *d = arg;
    struct durable_ends ends = {0};
    struct bench_switches before;
    int ret = 0;

    (void) bench_pin(d->o->cpu[who]);
    if (bench_pattern_init(&ends.pattern, d->size) < 0)
        return -ENOMEM;
    bench_hist_clear(&d->sends);
    bench_hist_clear(&d->floor);
    ends.to = bench_open(&d->bus, BENCH_NODE(2), BENCH_DEFAULT, d->size);
    ends.from = bench_open(&d->bus, BENCH_NODE(1), BENCH_DEFAULT, d->size);
    ends.file = bench_disk_open(d->bus.dir, d->size);
    if (!ends.to || !ends.from || ends.file < 0)
        ret = ends.file < 0 ? ends.file : -EIO;
    before = bench_switches();
    for (uint64_t i = 0; i < d->count + d->warm && ret == 0; i++)
        ret = durable_one(d, &ends, i);
    d->switches = bench_switches_since(before);
    bench_disk_close(ends.file);
    (void) tram_close(ends.from);
    (void) tram_close(ends.to);
    bench_pattern_deinit(&ends.pattern);
    return ret;
}

static int durable_run(void *arg, struct bench_result *r) {
    struct durable_run *d = arg;
    struct bench_team team = {
        .n = 1, .timeout_s = BENCH_TIMEOUT_S, .fn = durable_member, .arg = d
    };
    double floor, over;
    int ret;

    d->ok = true;
    bench_bus_init(&d->bus, d->o);
    ret = bench_team_run(&team);
    bench_bus_deinit(&d->bus);
    if (ret < 0)
        return ret;
    r->count = d->count;
    r->verified = d->ok;
    r->preempted = d->switches.preempted;
    r->slept = d->switches.slept;
    bench_result_times(r, &d->sends, 1);
    floor = (double) bench_hist_at(&d->floor, 0.5);
    over = floor > 0 ? r->p50_ns / floor : 0;
    (void) snprintf(r->extra, sizeof(r->extra),
                    ",\"fdatasync_p50_ns\":%.0f,\"fdatasync_p99_ns\":%.0f,\"over_fdatasync\":%.2f",
                    floor, (double) bench_hist_at(&d->floor, 0.99), over);
    (void) snprintf(r->extra_text, sizeof(r->extra_text),
                    "; one write with one fdatasync took %.1f µs (p50), this %.2f times as long",
                    floor / 1e3, over);
    return 0;
}

int bench_durable(const struct bench_opts *o) {
    struct durable_run *d = bench_shared(sizeof(*d));
    struct bench_result r = { .bench = "durable", .subject = "tram" };
    int ret;

    if (!d)
        return 1;
    d->o = o;
    d->size = o->size ? o->size : 32;
    d->count = o->count ? o->count : 500;
    d->warm = d->count / 10 + 1;
    r.mode = "one send, on the disk before it returns";
    r.size = d->size;
    ret = bench_report(o, durable_run, d, &r);
    bench_unshare(d, sizeof(*d));
    return ret;
}
