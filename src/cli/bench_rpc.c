/* SPDX-License-Identifier: MIT
 *
 * Requests and their answers: a client in one process, a server in another, each in a worker. With
 * one under way (the default) it is a round trip, which is put beside the one of bare nodes in the
 * same run, between the same two processes; with --batch N so many are under way, and it is a rate.
 * A request has what it has when nobody says otherwise, a deadline among it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bench_tram.h"
#include "tram/service.h"

#define CLIENT BENCH_NODE(1)
#define SERVER BENCH_NODE(2)
#define BARE_CLIENT BENCH_NODE(3)
#define BARE_SERVER BENCH_NODE(4)
#define UNDER_WAY_MAX 512

struct rpc_run {
    struct bench_barrier barrier;
    _Alignas(128) const struct bench_opts *o;
    struct bench_bus bus;
    enum bench_wait wait;
    size_t size;
    uint64_t count, warm;
    unsigned under_way;
    bool ok[2];
    double rate;
    struct bench_switches switches[2];
    struct bench_hist hist, bare;
};

/* One end, in its process; private, but for `run`. */
struct rpc_end {
    struct rpc_run *run;
    tram_worker *worker;
    tram_client *client;
    struct bench_pattern *out, *in;
    struct bench_hist *hist;
    uint64_t next, done;
    uint64_t start[UNDER_WAY_MAX], began;
    bool ok;
    int error;
};

static int rpc_fail(const struct rpc_end *end, const char *what, int err) {
    fprintf(stderr, "tram bench: %s: %s: %s\n", what, strerror(-err),
            end->worker ? tram_worker_error(end->worker)->text : tram_last_error(NULL)->text);
    return err;
}

static int rpc_worker(struct rpc_end *end, tram_id id) {
    static const uint32_t flags[] = {
        [BENCH_SPIN] = TRAM_WORKER_SPIN, [BENCH_DEFAULT] = 0, [BENCH_SLEEP] = TRAM_WORKER_NO_SPIN
    };
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_options node = TRAM_OPTIONS_INIT;
    int rc;

    node.dir = end->run->bus.dir;
    if (end->run->size * end->run->under_way > 1u << 20) /* growing is another matter */
        for (node.ring_size = 4u << 20; node.ring_size < 3 * end->run->size * end->run->under_way;)
            node.ring_size *= 2;
    options.bus = end->run->bus.name;
    options.node = &node;
    options.id = id;
    options.flags = flags[end->run->wait];
    rc = tram_worker_new(&options, &end->worker);
    return rc < 0 ? rpc_fail(end, "open", rc) : 0;
}

/* ---- the server ------------------------------------------------------------------------------ */

static void rpc_answer(tram_server *server, tram_request **request, void *arg) {
    const struct tram_view *view = tram_request_view(*request);
    struct rpc_end *end = arg;
    int rc;

    (void) server;
    end->ok &= view->size == end->run->size && view->attempt == 1 &&
               bench_pattern_check(end->in, view->data, view->size, end->done++);
    rc = tram_reply_send(request, view->data, view->size);
    if (rc < 0) {
        end->error = rpc_fail(end, "reply", rc);
        (void) tram_worker_stop(end->worker, 0);
    }
}

static void rpc_over(tram_server *server, tram_session *session, const struct tram_view *view,
                     void *arg) {
    struct rpc_end *end = arg;

    (void) server;
    (void) session;
    (void) view;
    (void) tram_worker_stop(end->worker, 0);
}

static int rpc_serve(struct rpc_end *end) {
    static const struct tram_server_handlers handlers = { .on_request = rpc_answer,
                                                          .on_message = rpc_over };
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_server *server;
    int rc;

    options.handlers = &handlers;
    options.arg = end;
    options.flags = TRAM_SERVER_NO_DAEMON;
    rc = tram_server_new(end->worker, "svc://bench", &options, &server);
    if (rc < 0)
        return rpc_fail(end, "serve", rc);
    bench_barrier(&end->run->barrier, 2);
    rc = tram_worker_run(end->worker);
    return rc < 0 ? rpc_fail(end, "run", rc) : end->error;
}

/* ---- the client ------------------------------------------------------------------------------ */

static void rpc_ended(const struct tram_result *result, void *arg);

static void rpc_ask(struct rpc_end *end, uint64_t now) {
    uint64_t seq = end->next++;
    int rc;

    end->start[seq % end->run->under_way] = now;
    rc = tram_client_ask(end->client, 0, bench_pattern_make(end->out, seq), end->run->size, NULL,
                         rpc_ended, end, NULL);
    if (rc < 0) {
        end->error = rpc_fail(end, "ask", rc);
        (void) tram_worker_stop(end->worker, 0);
    }
}

static void rpc_ended(const struct tram_result *result, void *arg) {
    struct rpc_end *end = arg;
    struct rpc_run *f = end->run;
    uint64_t seq = end->done++;
    uint64_t now;

    if (result->status < 0) {
        end->error = rpc_fail(end, "answer", result->status);
        (void) tram_worker_stop(end->worker, 0);
        return;
    }
    end->ok &= result->view.size == f->size &&
               bench_pattern_check(end->in, result->view.data, result->view.size, seq);
    now = bench_now(); /* the next one begins where this one ends: one look at the clock */
    if (seq >= f->warm)
        bench_hist_add(end->hist, now - end->start[seq % f->under_way]);
    else if (seq + 1 == f->warm)
        end->began = now;
    if (end->next < f->count + f->warm)
        rpc_ask(end, now);
    else if (end->done == f->count + f->warm)
        (void) tram_worker_stop(end->worker, 0);
}

static int rpc_client(struct rpc_end *end) {
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    char address[64], id[TRAM_ID_TEXT];
    int rc;

    options.flags = TRAM_CLIENT_WAIT;
    (void) snprintf(address, sizeof(address), "shm://%s/bench", tram_id_format(SERVER, id));
    bench_barrier(&end->run->barrier, 2);
    rc = tram_client_new(end->worker, address, &options, &end->client);
    if (rc == 0)
        rc = tram_client_wait(end->client, INT64_C(10000000000));
    if (rc < 0)
        return rpc_fail(end, "connect", rc);
    for (unsigned i = 0; i < end->run->under_way && !end->error; i++)
        rpc_ask(end, bench_now());
    if (!end->error)
        rc = tram_worker_run(end->worker);
    if (rc < 0)
        return rpc_fail(end, "run", rc);
    end->run->rate = (double) end->run->count * 1e9 / (double) (bench_now() - end->began);
    rc = tram_client_send(end->client, 1, NULL, 0, NULL); /* it is over */
    return end->error ? end->error : rc;
}

/* ---- bare nodes, the same trip --------------------------------------------------------------- */

static int rpc_bare(struct rpc_run *f, unsigned who, const void *data) {
    tram_node *node = bench_open(&f->bus, who ? BARE_SERVER : BARE_CLIENT, f->wait, f->size);
    static struct bench_hist hist;
    struct tram_msg msg;
    int rc = node ? 0 : -EIO;

    bench_hist_clear(&hist);
    bench_barrier(&f->barrier, 2);
    for (uint64_t seq = 0; seq < f->count + f->warm && rc == 0; seq++) {
        uint64_t start = bench_now();

        if (!who)
            rc = tram_send(node, BARE_SERVER, 0, data, f->size, 0);
        if (rc == 0)
            rc = tram_recv(node, &msg, TRAM_FOREVER);
        if (rc == 0 && who)
            rc = tram_send(node, BARE_CLIENT, 0, msg.data, msg.size, 0);
        if (seq >= f->warm)
            bench_hist_add(&hist, bench_now() - start);
    }
    if (rc < 0)
        (void) bench_fail(node, "bare", rc);
    if (!who)
        f->bare = hist;
    tram_close(node);
    return rc;
}

static int rpc_member(void *arg, unsigned who) {
    static struct bench_hist hist;
    struct rpc_end end = { .run = arg, .ok = true, .hist = &hist };
    struct bench_pattern pattern[2];
    struct rpc_run *f = arg;
    struct bench_switches before;
    int rc;

    (void) bench_pin(f->o->cpu[who]);
    if (bench_pattern_init(&pattern[0], f->size) < 0 ||
        bench_pattern_init(&pattern[1], f->size) < 0)
        return -ENOMEM;
    end.out = &pattern[0];
    end.in = &pattern[1];
    bench_hist_clear(&hist);
    rc = rpc_worker(&end, who ? SERVER : CLIENT);
    before = bench_switches();
    if (rc == 0)
        rc = who ? rpc_serve(&end) : rpc_client(&end);
    f->switches[who] = bench_switches_since(before);
    f->ok[who] = end.ok && end.done == f->count + f->warm;
    if (!who)
        f->hist = hist;
    (void) tram_worker_free(end.worker);
    if (rc == 0 && f->under_way == 1)
        rc = rpc_bare(f, who, bench_pattern_make_any(&pattern[0], 0));
    bench_pattern_deinit(&pattern[0]);
    bench_pattern_deinit(&pattern[1]);
    return rc;
}

static int rpc_run(void *arg, struct bench_result *r) {
    struct rpc_run *f = arg;
    struct bench_team team = { .n = 2, .timeout_s = BENCH_TIMEOUT_S, .fn = rpc_member, .arg = f };
    double bare;
    int rc;

    memset(&f->barrier, 0, sizeof(f->barrier));
    memset(f->ok, 0, sizeof(f->ok));
    bench_bus_init(&f->bus, f->o);
    rc = bench_team_run(&team);
    bench_bus_deinit(&f->bus);
    if (rc < 0)
        return rc;
    r->count = f->count;
    r->verified = f->ok[0] && f->ok[1];
    r->preempted = f->switches[0].preempted + f->switches[1].preempted;
    r->slept = f->switches[0].slept + f->switches[1].slept;
    r->msgs_per_s = f->rate;
    r->bytes_per_s = f->rate * (double) f->size;
    bench_result_times(r, &f->hist, 1);
    if (f->under_way > 1)
        return 0;
    bare = (double) bench_hist_at(&f->bare, 0.5);
    (void) snprintf(r->extra, sizeof(r->extra), ",\"bare_p50_ns\":%.0f,\"over_bare\":%.3f", bare,
                    r->p50_ns / bare);
    (void) snprintf(r->extra_text, sizeof(r->extra_text),
                    "; %.2f times the p50 of bare nodes in the same run, %.0f ns",
                    r->p50_ns / bare, bare);
    return 0;
}

int bench_rpc(const struct bench_opts *o) {
    struct rpc_run *f = bench_shared(sizeof(*f));
    struct bench_result r = { .bench = "rpc", .subject = "tram" };
    char mode[64];
    int ret;

    if (!f)
        return 1;
    f->o = o;
    f->size = o->size ? o->size : 32;
    f->under_way = o->batch ? o->batch : 1;
    f->wait = bench_wait_of(o, f->under_way > 1 ? BENCH_DEFAULT : BENCH_SPIN);
    f->count = o->count ? o->count : f->wait == BENCH_SLEEP ? 20000 : f->under_way > 1 ? 2000000 :
               f->size > 4096 ? 50000 : 300000;
    f->warm = f->count / 10 + 1;
    (void) snprintf(mode, sizeof(mode), "%s, %u under way", bench_wait_name(f->wait), f->under_way);
    r.mode = mode;
    r.size = f->size;
    ret = bench_report(o, rpc_run, f, &r);
    bench_unshare(f, sizeof(*f));
    return ret;
}
