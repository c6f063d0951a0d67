/* SPDX-License-Identifier: MIT
 *
 * Events: a publisher and --readers N subscribers with back-pressure (nothing may be lost), each in
 * a worker and a process of its own. One is pinned as other pairs are; of more than two processes
 * none is, but to the same two cores in all. The rate is that of the slowest subscriber; what all
 * were delivered together stands beside it. `tram bench floor fan` is what it is held against.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_tram.h"
#include "tram/service.h"

#define PUBLISHER BENCH_NODE(1)
#define TURN 256 /* events that are published before the loop turns */
#define PATIENCE_NS INT64_C(60000000000)

enum events_code { EVENT_HELLO, EVENT_DATA };

struct events_reader {
    struct bench_switches switches;
    bool ok;
    double rate;
    struct bench_hist hist;
};

struct events_run {
    struct bench_barrier barrier;
    _Alignas(128) _Atomic uint32_t ready;
    _Alignas(128) const struct bench_opts *o;
    struct bench_bus bus;
    enum bench_wait wait;
    size_t size;
    uint64_t count, warm;
    unsigned readers, batch;
    struct bench_switches switches;
    struct events_reader of[BENCH_READERS_MAX];
};

/* One end, in its process. */
struct events_end {
    struct events_run *run;
    struct events_reader *mine;
    tram_worker *worker;
    tram_server *server;
    struct bench_pattern pattern;
    struct bench_slices slices;
    struct tram_how how;
    uint64_t seq;
    unsigned over;
    bool ready, ok;
    int error;
};

static int events_fail(struct events_end *end, const char *what, int err) {
    fprintf(stderr, "tram bench: %s: %s: %s\n", what, strerror(-err),
            end->worker ? tram_worker_error(end->worker)->text : tram_last_error(NULL)->text);
    end->error = err;
    if (end->worker)
        (void) tram_worker_stop(end->worker, 0);
    return err;
}

static int events_worker(struct events_end *end, tram_id id) {
    static const uint32_t flags[] = {
        [BENCH_SPIN] = TRAM_WORKER_SPIN, [BENCH_DEFAULT] = 0, [BENCH_SLEEP] = TRAM_WORKER_NO_SPIN
    };
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_options node = TRAM_OPTIONS_INIT;
    int rc;

    node.dir = end->run->bus.dir;
    options.bus = end->run->bus.name;
    options.node = &node;
    options.id = id;
    options.flags = flags[end->run->wait];
    rc = tram_worker_new(&options, &end->worker);
    return rc < 0 ? events_fail(end, "open", rc) : 0;
}

/* ---- the publisher --------------------------------------------------------------------------- */

/* Some, and the rest in the next turn, or when there is room. */
static void events_publish(tram_worker *worker, void *arg) {
    struct events_end *end = arg;
    struct events_run *f = end->run;
    uint64_t all = f->count + f->warm;
    int rc;

    for (unsigned i = 0; i < TURN && end->seq < all; i++) {
        end->how.flags = (end->seq + 1) % f->batch != 0 && end->seq + 1 < all ? TRAM_HOW_MORE : 0;
        rc = tram_server_publish(end->server, EVENT_DATA,
                                 bench_pattern_make(&end->pattern, end->seq), f->size, &end->how);
        if (rc == -EAGAIN)
            return; /* on_space comes */
        if (rc < 0) {
            (void) events_fail(end, "publish", rc);
            return;
        }
        end->seq++;
    }
    rc = end->seq < all ? tram_worker_post(worker, events_publish, end, 0) : 0;
    if (rc < 0)
        (void) events_fail(end, "post", rc);
}

static void events_space(tram_server *server, tram_session *session, void *arg) {
    struct events_end *end = arg;

    (void) server;
    (void) session;
    events_publish(end->worker, end);
}

/* A subscriber has had all. */
static void events_over(tram_server *server, tram_session *session, const struct tram_view *view,
                        void *arg) {
    struct events_end *end = arg;

    (void) server;
    (void) session;
    (void) view;
    if (++end->over == end->run->readers)
        (void) tram_worker_stop(end->worker, 0);
}

/* Until all have heard something. */
static int events_gather(struct events_end *end) {
    while (atomic_load(&end->run->ready) < end->run->readers) {
        int rc = tram_worker_dispatch(end->worker);

        if (rc >= 0)
            rc = tram_server_publish(end->server, EVENT_HELLO, NULL, 0, NULL);
        if (rc < 0 && rc != -EAGAIN)
            return events_fail(end, "gather", rc);
        bench_yield();
    }
    return 0;
}

static int events_serve(struct events_end *end) {
    static const struct tram_server_handlers handlers = { .on_space = events_space,
                                                          .on_message = events_over };
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    int rc;

    options.handlers = &handlers;
    options.arg = end;
    options.flags = TRAM_SERVER_NO_DAEMON;
    options.patience_ns = PATIENCE_NS;
    for (options.topic_ring = 4u << 20; options.topic_ring < 16 * end->run->size;)
        options.topic_ring *= 2;
    rc = tram_server_new(end->worker, "svc://bench", &options, &end->server);
    if (rc < 0)
        return events_fail(end, "serve", rc);
    bench_barrier(&end->run->barrier, end->run->readers + 1);
    rc = events_gather(end);
    if (rc == 0)
        rc = tram_worker_post(end->worker, events_publish, end, 0);
    if (rc == 0)
        rc = tram_worker_run(end->worker);
    return rc < 0 ? events_fail(end, "run", rc) : end->error;
}

/* ---- a subscriber ---------------------------------------------------------------------------- */

static void events_came(tram_subscription *subscription, const struct tram_view *view, int status,
                        void *arg) {
    struct events_end *end = arg;
    struct events_run *f = end->run;

    (void) subscription;
    if (!view) {
        (void) events_fail(end, "subscription", status);
        return;
    }
    if (view->code == EVENT_HELLO) {
        if (!end->ready)
            atomic_fetch_add(&f->ready, 1);
        end->ready = true;
        return;
    }
    end->ok &= view->size == f->size && view->missed == 0 &&
               bench_pattern_check(&end->pattern, view->data, view->size, end->seq++);
    bench_slices_count(&end->slices, end->seq);
    if (end->seq == f->count + f->warm)
        (void) tram_worker_stop(end->worker, 0);
}

static int events_subscribe(struct events_end *end) {
    struct tram_subscribe_options options = TRAM_SUBSCRIBE_OPTIONS_INIT;
    char address[64], id[TRAM_ID_TEXT];
    tram_client *client;
    int rc;

    bench_slices_init(&end->slices, &end->mine->hist, end->run->warm, end->run->count);
    bench_barrier(&end->run->barrier, end->run->readers + 1);
    (void) snprintf(address, sizeof(address), "shm://%s/bench", tram_id_format(PUBLISHER, id));
    options.delivery = TRAM_DELIVER_BLOCK;
    rc = tram_client_new(end->worker, address, NULL, &client);
    if (rc == 0)
        rc = tram_client_subscribe(client, TRAM_ANY_EVENT, NULL, &options, events_came, end, NULL);
    if (rc == 0)
        rc = tram_worker_run(end->worker);
    if (rc < 0)
        return events_fail(end, "subscribe", rc);
    end->mine->rate = bench_slices_rate(&end->slices);
    rc = tram_client_send(client, 0, NULL, 0, NULL); /* it is over */
    return end->error ? end->error : rc;
}

/* ---- both ------------------------------------------------------------------------------------ */

static int events_member(void *arg, unsigned who) {
    struct events_run *f = arg;
    struct events_end end = { .run = f, .ok = true, .how = TRAM_HOW_INIT };
    struct bench_switches before;
    int rc;

    if (f->readers == 1)
        (void) bench_pin(f->o->cpu[who]);
    else
        (void) bench_pin_both(f->o->cpu);
    if (bench_pattern_init(&end.pattern, f->size) < 0)
        return -ENOMEM;
    rc = events_worker(&end, who ? TRAM_EPHEMERAL : PUBLISHER);
    before = bench_switches();
    if (who > 0) {
        end.mine = &f->of[who - 1];
        if (rc == 0)
            rc = events_subscribe(&end);
        end.mine->ok = end.ok && end.seq == f->count + f->warm;
        end.mine->switches = bench_switches_since(before);
    } else {
        if (rc == 0)
            rc = events_serve(&end);
        f->switches = bench_switches_since(before);
    }
    (void) tram_worker_free(end.worker);
    bench_pattern_deinit(&end.pattern);
    return rc;
}

static void events_result(struct events_run *f, struct bench_result *r) {
    static struct bench_hist hist;
    double all = 0;

    bench_hist_clear(&hist);
    r->count = f->count;
    r->verified = true;
    r->preempted = f->switches.preempted;
    r->slept = f->switches.slept;
    r->msgs_per_s = f->of[0].rate;
    for (unsigned i = 0; i < f->readers; i++) {
        const struct events_reader *of = &f->of[i];

        r->verified &= of->ok;
        r->preempted += of->switches.preempted;
        r->slept += of->switches.slept;
        all += of->rate;
        if (of->rate < r->msgs_per_s)
            r->msgs_per_s = of->rate;
        bench_hist_merge(&hist, &of->hist);
    }
    r->bytes_per_s = r->msgs_per_s * (double) f->size;
    bench_result_times(r, &hist, BENCH_SLICE_UNIT);
    (void) snprintf(r->extra, sizeof(r->extra), ",\"readers\":%u,\"delivered_per_s\":%.0f",
                    f->readers, all);
    (void) snprintf(r->extra_text, sizeof(r->extra_text), "; delivered in all: %.2f M/s",
                    all / 1e6);
}

static int events_run(void *arg, struct bench_result *r) {
    struct events_run *f = arg;
    struct bench_team team = {
        .n = f->readers + 1, .timeout_s = BENCH_TIMEOUT_S, .fn = events_member, .arg = f
    };
    int rc;

    memset(&f->barrier, 0, sizeof(f->barrier));
    memset(f->of, 0, sizeof(f->of));
    atomic_store(&f->ready, 0);
    bench_bus_init(&f->bus, f->o);
    rc = bench_team_run(&team);
    bench_bus_deinit(&f->bus);
    if (rc == 0)
        events_result(f, r);
    return rc;
}

int bench_events(const struct bench_opts *o) {
    struct events_run *f = bench_shared(sizeof(*f));
    struct bench_result r = { .bench = "events", .subject = "tram" };
    char mode[64];
    int ret;

    if (!f)
        return 1;
    f->o = o;
    f->size = o->size ? o->size : 256;
    f->readers = o->readers ? o->readers : 1;
    f->batch = o->batch ? o->batch : 1;
    f->wait = bench_wait_of(o, BENCH_DEFAULT);
    f->count = o->count ? o->count : bench_stream_count(f->size);
    f->warm = f->count / 10 + 1;
    (void) snprintf(mode, sizeof(mode), "%u subscribers, batch %u, %s", f->readers, f->batch,
                    bench_wait_name(f->wait));
    r.mode = mode;
    r.size = f->size;
    ret = bench_report(o, events_run, f, &r);
    bench_unshare(f, sizeof(*f));
    return ret;
}
