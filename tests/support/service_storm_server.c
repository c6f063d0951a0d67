/* SPDX-License-Identifier: MIT
 *
 * A server of the storm: answers at once, later, in parts, or when somebody else has answered. It
 * hands over when it gets a SIGTERM.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "support/service_storm.h"

#define TICK_NS (2 * KIT_MS)

struct pending {
    tram_request *request; /* NULL: was cancelled */
    bool used, asks;       /* asks: its callback is still to come */
    uint32_t index;
    uint16_t at, parts;
    int64_t due;
};

struct serving {
    struct siege_world *world;
    struct siege_server *self;
    struct rng rng;
    tram_worker *worker;
    tram_server *server;
    tram_client *alpha; /* FRONT's */
    bool draining, refused;
    int64_t again; /* refused: the next try */
    struct pending pending[SIEGE_PENDING];
};

static struct serving me;

static void sent(int rc, const char *what) {
    if (rc < 0 && rc != -EAGAIN)
        siege_fail(me.world, "%s: %d, %s", what, rc, tram_worker_error(me.worker)->text);
}

/* The ring may be full: the next tick tries again. */
static bool answer(tram_request **request, uint32_t index) {
    uint64_t value = siege_answer(me.world, index);

    sent(tram_reply_send(request, &value, sizeof(value)), "an answer");
    return !*request;
}

static struct pending *defer(tram_request **request, const struct siege_payload *payload) {
    for (int i = 0; i < SIEGE_PENDING; i++) {
        struct pending *pending = &me.pending[i];

        if (pending->used)
            continue;
        *pending = (struct pending){.request = *request,
                                    .used = true,
                                    .index = payload->index,
                                    .parts = payload->parts,
                                    .due = kit_now() + (int64_t) rng_below(&me.rng, 20 * KIT_MS)};
        *request = NULL;
        return pending;
    }
    return NULL;
}

/* ---- who asks before it answers -------------------------------------------------------------- */

static void asked(const struct tram_result *result, void *arg) {
    struct pending *pending = arg;

    pending->asks = false;
    if (!pending->request) {
        pending->used = false;
        return;
    }
    if (result->status < 0) {
        sent(tram_reply_error(&pending->request, result->status, "nested"), "a nested error");
        pending->used = pending->request != NULL;
        return;
    }
    pending->due = 0; /* the tick answers it, if there is no room now */
    if (answer(&pending->request, pending->index))
        pending->used = false;
}

static void ask_first(tram_request **request, const struct siege_payload *payload) {
    struct tram_how how = TRAM_HOW_INIT;
    struct pending *pending;
    char buffer[sizeof(struct siege_payload)];
    tram_session *session = tram_request_session(*request);
    struct siege_payload inner = *payload;
    int rc;

    inner.kind = payload->kind == ASK_BACK ? ASK_BACK : ASK_INNER;
    memcpy(buffer, &inner, sizeof(buffer));
    pending = defer(request, payload);
    if (!pending)
        return;
    how.timeout_ns = 2 * KIT_S;
    pending->asks = true;
    if (payload->kind == ASK_BACK)
        rc = tram_session_ask(session, inner.kind, buffer, sizeof(buffer), &how, asked, pending,
                              NULL);
    else
        rc = tram_client_ask(me.alpha, inner.kind, buffer, sizeof(buffer), &how, asked, pending,
                             NULL);
    if (rc == 0)
        return;
    sent(rc == -ENOTCONN ? 0 : rc, "a nested request");
    pending->asks = false; /* it will be answered all the same */
}

static void ask_blocking(tram_request **request, const struct siege_payload *payload) {
    struct tram_how how = TRAM_HOW_INIT;
    tram_reply *reply = NULL;
    int rc;

    how.timeout_ns = 200 * KIT_MS;
    rc = tram_client_call(me.alpha, ASK_INNER, payload, sizeof(*payload), &how, &reply);
    if (rc == 0 && (tram_reply_view(reply)->size != sizeof(uint64_t)))
        siege_fail(me.world, "a blocking answer of %zu bytes", tram_reply_view(reply)->size);
    (void) tram_reply_free(reply);
    (void) answer(request, payload->index);
}

/* ---- handlers -------------------------------------------------------------------------------- */

static void handle(tram_request **request, const struct siege_payload *payload) {
    switch (payload->kind) {
    case ASK_DEFER:
    case ASK_STREAM:
        (void) defer(request, payload);
        break;
    case ASK_BACK:
        ask_first(request, payload);
        break;
    case ASK_CHAIN:
        if (me.alpha)
            ask_first(request, payload);
        break;
    case ASK_BLOCK:
        if (me.alpha)
            ask_blocking(request, payload);
        break;
    case ASK_ERROR:
        sent(tram_reply_error(request, 42, "no"), "an error");
        break;
    default:
        break;
    }
    if (*request && payload->kind != ASK_LEAVE && !answer(request, payload->index))
        (void) defer(request, payload); /* no room */
}

static void on_request(tram_server *server, tram_request **request, void *arg) {
    const struct tram_view *view = tram_request_view(*request);
    struct siege_payload payload;

    (void) server;
    (void) arg;
    if (view->code == ASK_INNER) { /* the bare head */
        memcpy(&payload, view->data, sizeof(payload));
        (void) answer(request, payload.index);
        return;
    }
    payload = siege_parse(me.world, view);
    if (payload.service != me.self->service)
        siege_fail(me.world, "request %u for %s came to %s", payload.index,
                   siege_name(payload.service), siege_name(me.self->service));
    siege_executed(me.world, &payload, view);
    handle(request, &payload);
}

static void on_message(tram_server *server, tram_session *session, const struct tram_view *view,
                       void *arg) {
    struct siege_payload payload = siege_parse(me.world, view);

    (void) server;
    (void) session;
    (void) arg;
    siege_executed(me.world, &payload, view);
}

static void on_cancel(tram_server *server, tram_request *request, void *arg) {
    (void) server;
    (void) arg;
    for (int i = 0; i < SIEGE_PENDING; i++) {
        struct pending *pending = &me.pending[i];

        if (pending->request != request)
            continue;
        pending->request = tram_request_free(request);
        pending->used = pending->asks;
        return;
    }
    siege_fail(me.world, "a request was cancelled that is not deferred");
}

static void on_state(tram_server *server, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    pid_t own = getpid();

    (void) server;
    (void) arg;
    if (state == TRAM_STATE_ONLINE)
        me.self->online = own;
    else
        (void) atomic_compare_exchange_strong(&me.self->online, &own, 0);
    if (state != TRAM_STATE_REFUSED)
        return;
    if (me.self->service != DELTA && me.self->service != BETA) /* other nodes want theirs, too */
        siege_fail(me.world, "%s was refused: pid %d has it", me.self->address, who->pid);
    me.refused = true;
    me.again = kit_now() + (int64_t) rng_below(&me.rng, 50 * KIT_MS);
}

/* ---- the life -------------------------------------------------------------------------------- */

static void push(struct pending *pending) {
    while (pending->at < pending->parts) {
        int rc = tram_reply_part(pending->request, &pending->at, sizeof(pending->at));

        if (rc == -EAGAIN)
            return;
        if (rc == -ECANCELED || rc == -ECONNRESET)
            break;
        sent(rc, "a part");
        pending->at++;
    }
    if (answer(&pending->request, pending->index))
        pending->used = false;
}

static void bind_name(void) {
    static const struct tram_server_handlers handlers = {.on_state = on_state,
                                                         .on_request = on_request,
                                                         .on_message = on_message,
                                                         .on_cancel = on_cancel};
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;

    options.handlers = &handlers;
    me.refused = false;
    sent(tram_server_new(me.worker, me.self->address, &options, &me.server), me.self->address);
}

static void tick(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    int64_t now = kit_now();

    (void) timer;
    (void) late_ns;
    (void) missed;
    (void) arg;
    for (int i = 0; i < SIEGE_PENDING; i++) {
        struct pending *pending = &me.pending[i];

        if (pending->request && !pending->asks && (pending->due <= now || pending->parts > 0))
            push(pending);
    }
    if (!me.refused || me.draining || now < me.again)
        return;
    me.server = tram_server_free(me.server);
    bind_name();
}

static void drained(tram_server *server, void *arg) {
    (void) arg;
    me.server = tram_server_free(server);
    (void) tram_worker_stop(me.worker, 0);
}

static void on_term(tram_signal *signal, int number, void *arg) {
    (void) signal;
    (void) number;
    (void) arg;
    if (me.draining)
        return;
    me.draining = true;
    if (me.refused)
        (void) tram_worker_stop(me.worker, 0);
    else
        sent(tram_server_drain(me.server, drained), "a drain");
}

void siege_serve(struct siege_world *world, struct siege_server *self) {
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    sigset_t set;
    tram_timer *timer;
    tram_signal *term;

    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    me.world = world;
    me.self = self;
    me.rng.state = kit_mix(world->seed, self->id ? self->id : 7, self->lives);
    me.worker = siege_worker(world, self->id, siege_name(self->service));
    sent(tram_signal_new(me.worker, SIGTERM, on_term, NULL, &term), "a signal");
    (void) sigemptyset(&set); /* one that came before the handler was there */
    (void) sigaddset(&set, SIGTERM);
    (void) sigprocmask(SIG_UNBLOCK, &set, NULL);
    options.flags = TRAM_CLIENT_WAIT;
    if (self->service == FRONT)
        sent(tram_client_new(me.worker, "svc://alpha", &options, &me.alpha), "a client");
    bind_name();
    sent(tram_timer_new(me.worker, tick, NULL, &timer), "a timer");
    sent(tram_timer_set(timer, TICK_NS, TICK_NS), "a timer");
    if (tram_worker_run(me.worker) < 0)
        siege_fail(world, "%s: %s", self->address, tram_worker_error(me.worker)->text);
    for (int i = 0; i < SIEGE_PENDING; i++) /* of one that was refused */
        me.pending[i].request = tram_request_free(me.pending[i].request);
    (void) tram_worker_free(me.worker);
    _exit(0);
}
