/* SPDX-License-Identifier: MIT
 *
 * The world of a storm with services: who is there, what requests are, and the oracle.
 */
#include "support/service_storm.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void add_server(struct siege_world *world, enum siege_service service, const char *instance,
                       tram_id id) {
    struct siege_server *server = &world->servers[world->n_servers++];

    server->id = id;
    server->service = service;
    (void) snprintf(server->address, sizeof(server->address), "svc://%s%s", siege_name(service),
                    instance);
}

struct siege_world *siege_world_new(const struct siege_config *config) {
    struct siege_world *world = kit_shared(sizeof(*world));

    world->seed = config->seed;
    world->gentle = config->gentle;
    (void) snprintf(world->dir, sizeof(world->dir), "%s", config->dir);
    add_server(world, ALPHA, "", TRAM_ID(1, 2, 1, 1));
    add_server(world, FRONT, "", TRAM_ID(1, 2, 1, 2));
    add_server(world, WORK, ":1", TRAM_ID(1, 2, 2, 1));
    add_server(world, WORK, ":2", TRAM_ID(1, 2, 2, 2));
    add_server(world, WORK, ":3", TRAM_ID(1, 2, 2, 3));
    if (!config->gentle) { /* these may lose what was sent to them */
        add_server(world, BETA, "", TRAM_EPHEMERAL);
        add_server(world, DELTA, "", TRAM_ID(1, 2, 3, 1));
        add_server(world, DELTA, "", TRAM_ID(1, 2, 3, 2));
    }
    for (int i = 0; i < SIEGE_CLIENTS; i++) {
        struct siege_client *client = &world->clients[world->n_clients++];

        client->id = i % 2 ? TRAM_EPHEMERAL : TRAM_ID(1, 2, 9, i + 1);
        client->waits = config->gentle || i % 3 != 2;
    }
    return world;
}

void siege_world_free(struct siege_world *world) {
    (void) munmap(world, sizeof(*world));
}

int64_t siege_patience(const struct siege_world *world, int seconds) {
    int64_t dozes = world->dozes, now = kit_now(), stalls = 0;

    if (dozes > 0 && now - dozes > SIEGE_STALL_NS)
        stalls = now - dozes; /* whoever asks was awake first */
    return kit_patience(seconds) + world->stalled + stalls;
}

const char *siege_name(enum siege_service service) {
    static const char *const names[] = {"alpha", "beta", "work", "delta", "front"};

    return names[service];
}

void siege_fail(struct siege_world *world, const char *format, ...) {
    char text[500];
    va_list arguments;

    va_start(arguments, format);
    (void) vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void) fprintf(stderr, "  storm: pid %d: %s\n", (int) getpid(), text);
    (void) fflush(stderr);
    world->failed = 1;
    _exit(1);
}

tram_worker *siege_worker(struct siege_world *world, tram_id id, const char *name) {
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_options node = TRAM_OPTIONS_INIT;
    int64_t start = kit_now() - world->stalled;
    tram_worker *worker;
    int rc;

    node.attempts = SIEGE_ATTEMPTS; /* handed out in five lives that end at once: not bad */
    options.node = &node;
    options.id = id;
    options.name = name;
    options.flags = TRAM_WORKER_NO_SPIN;
    while ((rc = tram_worker_new(&options, &worker)) < 0) {
        if (rc != -EADDRINUSE && rc != -EBUSY)
            siege_fail(world, "%s cannot be opened: %s", name, tram_last_error(NULL)->text);
        if (kit_now() - start > siege_patience(world, 10))
            siege_fail(world, "%s: its node stays taken: %s", name, tram_last_error(NULL)->text);
        kit_pause();
    }
    return worker;
}

/* ---- requests -------------------------------------------------------------------------------- */

static size_t extra_size(const struct siege_world *world, uint32_t index) {
    uint64_t key = kit_mix(world->seed, index, 3);

    if (key % 1000 < 4)
        return (size_t) (key >> 20) % (SIEGE_PAYLOAD - sizeof(struct siege_payload));
    return (size_t) (key >> 20) % 200;
}

size_t siege_payload(const struct siege_world *world, uint32_t index, enum siege_kind kind,
                     void *buffer) {
    const struct siege_ask *ask = &world->asks[index];
    struct siege_payload payload = {.index = index,
                                    .kind = (uint8_t) kind,
                                    .service = ask->service,
                                    .parts = ask->parts,
                                    .key = kit_mix(world->seed, index, kind)};
    size_t size = extra_size(world, index);

    memcpy(buffer, &payload, sizeof(payload));
    pattern_fill((char *) buffer + sizeof(payload), size, payload.key);
    return sizeof(payload) + size;
}

struct siege_payload siege_parse(struct siege_world *world, const struct tram_view *view) {
    struct siege_payload payload;
    const char *data = view->data;

    if (view->size < sizeof(payload))
        siege_fail(world, "a request of %zu bytes", view->size);
    memcpy(&payload, data, sizeof(payload));
    if (payload.index >= SIEGE_ASKS || payload.kind != view->code ||
        payload.key != kit_mix(world->seed, payload.index, payload.kind) ||
        view->size != sizeof(payload) + extra_size(world, payload.index) ||
        pattern_check(data + sizeof(payload), view->size - sizeof(payload), payload.key) >= 0)
        siege_fail(world, "request %u is not what was sent: code %u, %zu bytes", payload.index,
                   view->code, view->size);
    return payload;
}

uint64_t siege_answer(const struct siege_world *world, uint32_t index) {
    return kit_mix(world->seed, index, 99);
}

/* ---- the oracle ------------------------------------------------------------------------------ */

void siege_executed(struct siege_world *world, const struct siege_payload *payload,
                    const struct tram_view *view) {
    struct siege_ask *ask = &world->asks[payload->index];
    unsigned before = atomic_fetch_add(&ask->executed, 1);

    if (payload->kind != ask->kind)
        siege_fail(world, "request %u: kind %u became %u", payload->index, ask->kind,
                   payload->kind);
    if (view->attempt == 1 && before > 0)
        siege_fail(world, "request %u (%s, kind %u) came %u times, and is not marked",
                   payload->index, siege_name(ask->service), ask->kind, before + 1);
}

/* May what happened to the servers be the reason? A client hears of it with the kernel's lock, or
 * within a second from the daemon. */
static bool is_recent(const struct siege_world *world, const struct siege_ask *ask, int64_t at) {
    return at > 0 && at > ask->asked - siege_patience(world, 2);
}

static bool disturbed(const struct siege_world *world, const struct siege_ask *ask) {
    return is_recent(world, ask, world->disturbed[ask->service]);
}

/* … or that nobody could tell its client where they are? */
static bool no_tramd(const struct siege_world *world, const struct siege_ask *ask) {
    return ask->unheard && is_recent(world, ask, world->tramd);
}

static void check_error(struct siege_world *world, uint32_t index,
                        const struct tram_result *result) {
    const struct siege_ask *ask = &world->asks[index];
    bool nested = ask->kind == ASK_CHAIN || ask->kind == ASK_BLOCK || ask->kind == ASK_BACK;

    if (ask->kind == ASK_ERROR && result->code == 42 && strcmp(result->text, "no") == 0)
        return;
    if (nested && !world->gentle && strcmp(result->text, "nested") == 0)
        return;
    siege_fail(world, "request %u, kind %u: error %d '%s'", index, ask->kind, result->code,
               result->text);
}

static const char *why_not(const struct siege_world *world, uint32_t index,
                           const struct tram_result *result) {
    const struct siege_ask *ask = &world->asks[index];
    int64_t now = kit_now();

    switch (result->status) {
    case -ENOSYS:
        return ask->kind == ASK_LEAVE ? NULL : "it has a handler";
    case -ETIMEDOUT:
        return ask->deadline != TRAM_FOREVER && now >= ask->deadline ? NULL : "it has time";
    case -ECONNRESET:
        return disturbed(world, ask) && !world->gentle ? NULL : "its server is well";
    case -ECANCELED: /* a server that did not get its name was freed */
        return ask->service == DELTA || ask->service == BETA ? NULL : "nobody cancelled it";
    case -ENOTCONN:
        return ask->waits                                     ? "it waits"
               : disturbed(world, ask) || no_tramd(world, ask) ? NULL
                                                               : "its server is well";
    case -ECONNREFUSED: /* given back by one that hands over */
        return ask->waits ? "it waits" : ask->executed > 0 ? "it was executed" : NULL;
    default:
        return "this is no end of a request";
    }
}

static void check_answer(struct siege_world *world, uint32_t index,
                         const struct tram_result *result) {
    const struct siege_ask *ask = &world->asks[index];
    uint64_t answer;

    if (ask->kind == ASK_ERROR || ask->kind == ASK_LEAVE)
        siege_fail(world, "request %u, kind %u, was answered", index, ask->kind);
    if (ask->executed == 0)
        siege_fail(world, "request %u (%s, kind %u) was answered, but nobody had it", index,
                   siege_name(ask->service), ask->kind);
    if (result->view.size != sizeof(answer))
        siege_fail(world, "request %u: %zu bytes as answer", index, result->view.size);
    memcpy(&answer, result->view.data, sizeof(answer));
    if (answer != siege_answer(world, index))
        siege_fail(world, "request %u (kind %u) has the answer of another one", index, ask->kind);
}

void siege_ended(struct siege_world *world, uint32_t index, const struct tram_result *result) {
    struct siege_ask *ask = &world->asks[index];
    uint8_t before = OPEN;
    int64_t now = kit_now();
    const char *wrong;

    if (!atomic_compare_exchange_strong(&ask->end, &before, ENDED))
        siege_fail(world, "request %u (%s, kind %u) ended with %d after it %s", index,
                   siege_name(ask->service), ask->kind, result->status,
                   before == CANCELLED ? "was cancelled" : "had ended");
    ask->status = result->status;
    if (ask->deadline != TRAM_FOREVER && now > ask->deadline + siege_patience(world, 3))
        siege_fail(world, "request %u (%s, kind %u) ended %lld ms late with %d", index,
                   siege_name(ask->service), ask->kind,
                   (long long) (now - ask->deadline) / KIT_MS, result->status);
    if (result->status == 0) {
        check_answer(world, index, result);
    } else if (result->status == -EREMOTEIO) {
        check_error(world, index, result);
    } else if ((wrong = why_not(world, index, result))) {
        siege_fail(world, "request %u (%s, kind %u%s, asked %lld ms ago, executed %u) ended with "
                          "%d, but %s",
                   index, siege_name(ask->service), ask->kind, ask->waits ? ", waits" : "",
                   (long long) (now - ask->asked) / KIT_MS, ask->executed, result->status, wrong);
    }
}
