/* SPDX-License-Identifier: MIT
 *
 * A client of the storm: asks all services in all ways, and tells the oracle how each ended.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "support/service_storm.h"

#define TICK_NS (1 * KIT_MS)

struct open {
    bool used;
    uint32_t index;
    uint16_t parts;
    int service;
    tram_call *call;
};

struct asking {
    struct siege_world *world;
    struct siege_client *self;
    struct rng rng;
    tram_worker *worker;
    bool calm; /* gentle, and one who blocks: who waits without end for a server must not be who
                  its predecessor waits for, with a part of a stream or a request */
    tram_client *clients[SIEGE_SERVICES];
    bool heard[SIEGE_SERVICES]; /* had a server */
    struct open open[SIEGE_OPEN];
    int under_way;
    char buffer[SIEGE_PAYLOAD];
};

static struct asking me;

static void doing(const char *what) {
    (void) snprintf(me.self->doing, sizeof(me.self->doing), "%s", what);
}

static struct siege_ask *ask_of(const struct open *open) {
    return &me.world->asks[open->index];
}

/* ---- ends ------------------------------------------------------------------------------------ */

/* After the death of a server its successor begins a streamed reply anew. */
static void part(struct open *open, const struct tram_result *result) {
    uint16_t at;

    if (result->status != 0 || result->view.size != sizeof(at))
        siege_fail(me.world, "request %u: a part with status %d", open->index, result->status);
    memcpy(&at, result->view.data, sizeof(at));
    if (at != open->parts && at != 0)
        siege_fail(me.world, "request %u: part %u after %u", open->index, at, open->parts);
    open->parts = (uint16_t) (at + 1);
}

static void ended(const struct tram_result *result, void *arg) {
    struct open *open = arg;

    if (!open->used || ask_of(open)->life != me.self->life)
        siege_fail(me.world, "request %u (kind %u, end %u): told again, status %d", open->index,
                   ask_of(open)->kind, ask_of(open)->end, result->status);
    if (result->view.flags & TRAM_VIEW_MORE) {
        part(open, result);
        return;
    }
    siege_ended(me.world, open->index, result);
    if (result->status == 0 && open->parts != ask_of(open)->parts)
        siege_fail(me.world, "request %u: %u parts of %u", open->index, open->parts,
                   ask_of(open)->parts);
    open->used = false;
    me.under_way--;
}

static void cancel(struct open *open) {
    uint8_t before = OPEN;

    if (!atomic_compare_exchange_strong(&ask_of(open)->end, &before, CANCELLED))
        siege_fail(me.world, "request %u had ended already", open->index);
    open->used = false;
    me.under_way--;
}

/* The server asks back. */
static void on_request(tram_client *client, tram_request **request, void *arg) {
    const struct tram_view *view = tram_request_view(*request);
    struct siege_payload payload;

    (void) client;
    (void) arg;
    if (view->size != sizeof(payload) || view->code != ASK_BACK)
        siege_fail(me.world, "a server asks with %zu bytes", view->size);
    memcpy(&payload, view->data, sizeof(payload));
    if (me.world->asks[payload.index].life != me.self->life)
        siege_fail(me.world, "a server asks for request %u of another client", payload.index);
    if (tram_reply_send(request, view->data, view->size) < 0)
        (void) tram_reply_error(request, 1, "no room");
}

static void on_state(tram_client *client, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    (void) state;
    (void) who;
    (void) arg;
    for (int i = 0; i < SIEGE_SERVICES; i++)
        me.heard[i] |= me.clients[i] == client;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void make_client(int service) {
    static const struct tram_client_handlers handlers = {.on_state = on_state,
                                                         .on_request = on_request};
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    char address[64];
    int rc;

    me.heard[service] = false;
    options.handlers = &handlers;
    options.flags = me.self->waits ? TRAM_CLIENT_WAIT : 0;
    if (service == WORK)
        options.choice = rng_chance(&me.rng, 500) ? TRAM_CHOOSE_LEAST : TRAM_CHOOSE_KEY;
    else if (service == DELTA && rng_chance(&me.rng, 500))
        options.choice = TRAM_CHOOSE_NEWEST;
    (void) snprintf(address, sizeof(address), "svc://%s", siege_name(service));
    if (service == ALPHA && rng_chance(&me.rng, 300))
        (void) snprintf(address, sizeof(address), "shm://1.2.1.1/alpha"); /* without a daemon */
    rc = tram_client_new(me.worker, address, &options, &me.clients[service]);
    if (rc < 0)
        siege_fail(me.world, "%s: %d, %s", address, rc, tram_worker_error(me.worker)->text);
}

static enum siege_service draw_service(void) {
    enum siege_service service;

    do
        service = (enum siege_service) rng_below(&me.rng, SIEGE_SERVICES);
    while (me.world->gentle && (service == BETA || service == DELTA));
    return service;
}

static int64_t draw_timeout(struct tram_how *how) {
    unsigned dice = (unsigned) rng_below(&me.rng, 100);

    how->timeout_ns = me.world->gentle || dice < 40 ? TRAM_FOREVER
                      : dice < 65 ? (int64_t) (3 + rng_below(&me.rng, 100)) * KIT_MS
                                  : 5 * KIT_S;
    return how->timeout_ns == TRAM_FOREVER ? TRAM_FOREVER : kit_now() + how->timeout_ns;
}

/* A new request; false: there are none left. */
static bool draw(struct open *open, struct tram_how *how) {
    uint32_t index = atomic_fetch_add(&me.world->n_asks, 1);
    enum siege_service service = draw_service();
    struct siege_ask *ask = &me.world->asks[index];
    enum siege_kind kind = rng_chance(&me.rng, 400)
                               ? ASK_ECHO
                               : (enum siege_kind) rng_below(&me.rng, ASK_KINDS + 1);

    if (index >= SIEGE_ASKS) {
        me.world->n_asks = SIEGE_ASKS;
        return false;
    }
    if (me.calm && (kind == ASK_STREAM || kind == ASK_BACK))
        kind = ASK_DEFER;
    if (kind == ASK_BLOCK && rng_chance(&me.rng, 800))
        kind = ASK_CHAIN;
    ask->life = me.self->life;
    ask->service = (uint8_t) service;
    ask->kind = (uint8_t) kind;
    ask->waits = me.self->waits;
    ask->unheard = !me.heard[service];
    ask->parts = kind == ASK_STREAM ? (uint16_t) rng_below(&me.rng, 60) : 0;
    ask->deadline = kind == ASK_ONEWAY ? TRAM_FOREVER : draw_timeout(how);
    how->key = rng_next(&me.rng);
    ask->asked = kit_now();
    *open = (struct open){.index = index, .service = (int) service};
    return true;
}

/* It did not even begin: as if it had ended so; -EAGAIN may always be. */
static void refused(struct open *open, int rc, const char *what) {
    struct tram_result result = {.status = rc, .text = ""};

    if (rc == -EAGAIN) {
        ask_of(open)->end = CANCELLED;
    } else if (rc == -ENOTCONN) {
        siege_ended(me.world, open->index, &result);
    } else {
        siege_fail(me.world, "%s: %d, %s", what, rc, tram_worker_error(me.worker)->text);
    }
}

static void send_one(struct open *open, const struct tram_how *how, size_t size) {
    int rc = tram_client_send(me.clients[open->service], ASK_ONEWAY, me.buffer, size, NULL);

    (void) how;
    ask_of(open)->accepted = rc == 0;
    if (rc < 0)
        refused(open, rc, "a message");
}

static void ask_blocking(struct open *open, struct tram_how *how, size_t size) {
    struct siege_ask *ask = ask_of(open);
    struct tram_result result = {.text = ""};
    tram_reply *reply = NULL;

    if (!me.world->gentle) {
        how->timeout_ns = (int64_t) (20 + rng_below(&me.rng, 150)) * KIT_MS;
        ask->deadline = kit_now() + how->timeout_ns;
    }
    doing("a blocking call");
    result.status = tram_client_call(me.clients[open->service], ask->kind, me.buffer, size, how,
                                     &reply);
    doing("");
    if (result.status == -EAGAIN) {
        ask->end = CANCELLED;
        return;
    }
    if (result.status == 0)
        result.view = *tram_reply_view(reply);
    if (result.status == -EREMOTEIO) {
        result.text = tram_worker_error(me.worker)->text;
        result.code = (int32_t) tram_worker_error(me.worker)->limit;
    }
    siege_ended(me.world, open->index, &result);
    (void) tram_reply_free(reply);
}

static void ask_one(struct open *open) {
    struct tram_how how = TRAM_HOW_INIT;
    struct siege_ask *ask;
    size_t size;
    int rc;

    if (!draw(open, &how))
        return;
    ask = ask_of(open);
    size = siege_payload(me.world, open->index, ask->kind, me.buffer);
    if (ask->kind == ASK_ONEWAY) {
        send_one(open, &how, size);
        return;
    }
    if (ask->kind != ASK_STREAM && ask->kind != ASK_BACK && rng_chance(&me.rng, 30) &&
        (me.calm || !me.world->gentle)) {
        ask_blocking(open, &how, size);
        return;
    }
    open->used = true;
    me.under_way++;
    rc = tram_client_ask(me.clients[open->service], ask->kind, me.buffer, size, &how, ended, open,
                         &open->call);
    if (rc == 0)
        return;
    open->used = false;
    me.under_way--;
    refused(open, rc, "a request");
}

static void cancel_one(struct open *open) {
    (void) tram_call_free(open->call);
    cancel(open);
}

/* The client of one service goes, and comes again, in the same life. What waited in it for a server
 * goes, too. */
static void renew(int service) {
    if (!me.clients[service])
        return;
    me.clients[service] = tram_client_free(me.clients[service]);
    for (uint32_t i = 0; i < SIEGE_ASKS && i < me.world->n_asks; i++) {
        struct siege_ask *ask = &me.world->asks[i];

        if (ask->life == me.self->life && ask->kind == ASK_ONEWAY && ask->service == service)
            ask->accepted = false;
    }
    for (int i = 0; i < SIEGE_OPEN; i++)
        if (me.open[i].used && me.open[i].service == service)
            cancel(&me.open[i]);
    make_client(service);
}

/* ---- the life -------------------------------------------------------------------------------- */

static void tick(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    unsigned most = 1 + (unsigned) rng_below(&me.rng, 4);

    (void) timer;
    (void) late_ns;
    (void) missed;
    (void) arg;
    if (me.world->ending) {
        if (me.under_way == 0)
            (void) tram_worker_stop(me.worker, 0);
        return;
    }
    for (int i = 0; i < SIEGE_OPEN && most > 0; i++) {
        struct open *open = &me.open[i];

        if (open->used && rng_chance(&me.rng, 2) && !me.world->gentle)
            cancel_one(open);
        if (open->used)
            continue;
        ask_one(open);
        most--;
    }
    if (rng_chance(&me.rng, 2) && !me.world->gentle)
        renew((int) rng_below(&me.rng, SIEGE_SERVICES));
}

void siege_client(struct siege_world *world, struct siege_client *self) {
    tram_timer *timer;

    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    me.world = world;
    me.self = self;
    self->life = atomic_fetch_add(&world->n_lives, 1) + 1;
    me.rng.state = kit_mix(world->seed, 1000 + self->life, 0);
    me.calm = world->gentle && self->life % 2;
    me.worker = siege_worker(world, self->id, "player");
    for (int i = 0; i < SIEGE_SERVICES; i++)
        if (!world->gentle || (i != BETA && i != DELTA))
            make_client(i);
    if (tram_timer_new(me.worker, tick, NULL, &timer) < 0 ||
        tram_timer_set(timer, TICK_NS, TICK_NS) < 0 || tram_worker_run(me.worker) < 0)
        siege_fail(world, "a client: %s", tram_worker_error(me.worker)->text);
    /* What is queued for a server goes before the client does. */
    for (int i = 0; i < SIEGE_SERVICES; i++)
        if (me.clients[i])
            (void) tram_client_wait(me.clients[i], kit_patience(5));
    (void) tram_flush(tram_worker_node(me.worker));
    self->ended = 1;
    (void) tram_worker_free(me.worker);
    _exit(0);
}

/* ---- names after a restart of the daemon ----------------------------------------------------- */

struct probe {
    struct siege_world *world;
    uint32_t there; /* a bit for each server */
    uint32_t wanted;
    tram_worker *worker;
};

static void on_name(enum tram_state state, const struct tram_party *who, void *arg) {
    struct probe *probe = arg;

    for (int i = 0; who && i < probe->world->n_servers; i++)
        if (strcmp(probe->world->servers[i].address + strlen("svc://"), who->name) == 0 &&
            state == TRAM_STATE_ONLINE)
            probe->there |= 1u << i;
    if ((probe->there & probe->wanted) == probe->wanted)
        (void) tram_worker_stop(probe->worker, 0);
}

static void too_late(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    struct probe *probe = arg;

    (void) timer;
    (void) late_ns;
    (void) missed;
    for (int i = 0; i < probe->world->n_servers; i++)
        if (probe->wanted & ~probe->there & 1u << i)
            (void) fprintf(stderr, "  storm: %s is not there\n", probe->world->servers[i].address);
    siege_fail(probe->world, "tramd was started a second ago, and not all names are there");
}

void siege_probe(struct siege_world *world, int64_t since, int64_t *ret_ns) {
    struct probe probe = {.world = world};
    int64_t left = since + kit_patience(1) - kit_now();
    tram_name_watch *watch;
    tram_timer *timer;

    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < world->n_servers; i++)
        probe.wanted |= 1u << i;
    probe.worker = siege_worker(world, TRAM_EPHEMERAL, "probe");
    if (tram_name_watch_new(probe.worker, "*", on_name, &probe, &watch) < 0 ||
        tram_timer_new(probe.worker, too_late, &probe, &timer) < 0 ||
        tram_timer_set(timer, left > 0 ? left : 0, 0) < 0 || tram_worker_run(probe.worker) < 0)
        siege_fail(world, "the probe: %s", tram_worker_error(probe.worker)->text);
    *ret_ns = kit_now() - since;
    (void) tram_worker_free(probe.worker);
    _exit(0);
}
