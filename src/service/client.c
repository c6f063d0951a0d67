/* SPDX-License-Identifier: MIT
 *
 * Clients: asking and telling. Which server it goes to is target.c's.
 */
#include "service/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/draft.h"
#include "service/events.h"
#include "service/typed.h"

#define CALLS_DEFAULT 1024u
#define QUEUE_DEFAULT (1u << 20)

/* ---- handlers -------------------------------------------------------------------------------- */

void client_tell(struct endpoint *endpoint, tram_session *session, bool online) {
    tram_client *client = client_of(endpoint);

    if (client->handlers.on_state)
        client->handlers.on_state(client, online ? TRAM_STATE_ONLINE : TRAM_STATE_OFFLINE,
                                  &session->party, client->arg);
}

void client_request(tram_session *session, tram_request **request) {
    tram_client *client = client_of(session->endpoint);

    if (client->handlers.on_request)
        client->handlers.on_request(client, request, client->arg);
}

void client_one_way(tram_session *session, const struct tram_view *view) {
    tram_client *client = client_of(session->endpoint);

    if (client->handlers.on_message)
        client->handlers.on_message(client, view, client->arg);
}

void client_has_space(tram_client *client) {
    if (client->handlers.on_space)
        client->handlers.on_space(client, client->arg);
}

void client_space(tram_session *session) {
    tram_client *client = client_of(session->endpoint);

    if (client->queue) {
        queue_flush(client);
        if (client->endpoint.dead || client->queue)
            return;
    }
    client_has_space(client);
}

const char *client_nobody(const tram_client *client) {
    const char *trouble =
        client->watching ? names_trouble(client->endpoint.worker) : NULL;

    return trouble ? trouble : "nobody serves it at the moment";
}

/* ---- making and ending ----------------------------------------------------------------------- */

static void flush(struct worker_deferred *deferred) {
    tram_client *client = container_of(deferred, tram_client, flush_defer);

    if (!client->endpoint.dead)
        queue_flush(client);
}

static void free_memory(struct worker_deferred *deferred) {
    free(container_of(deferred, tram_client, memory));
}

static int apply(tram_client *client, tram_worker *worker,
                 const struct tram_client_options *options, uint32_t *ret_calls) {
    *ret_calls = CALLS_DEFAULT;
    client->queue_max = QUEUE_DEFAULT;
    if (!options)
        return 0;
    if (options->struct_size < sizeof(*options) ||
        options->flags & ~(TRAM_CLIENT_WAIT | TRAM_CLIENT_PLAIN | TRAM_CLIENT_DIRECT) ||
        (unsigned) options->choice > TRAM_CHOOSE_KEY || options->calls_max > CALLS_MAX)
        return worker_fail(worker, -EINVAL, "options of a client out of their range");
    if (options->via) {
        for (client->via = ADDRESS_SHM; client->via <= ADDRESS_TLS; client->via++)
            if (strcmp(options->via, address_scheme(client->via)) == 0)
                break;
        if (client->via > ADDRESS_TLS)
            return worker_fail(worker, -EINVAL, "'%.32s': via is shm, ipc, tcp or tls",
                               options->via);
    }
    if (options->handlers)
        client->handlers = *options->handlers;
    client->arg = options->arg;
    client->choice = options->choice;
    client->flags = options->flags;
    if (options->calls_max)
        *ret_calls = options->calls_max;
    if (options->queue_max)
        client->queue_max = options->queue_max;
    return 0;
}

static int begin(tram_client *client, tram_worker *worker, const char *address,
                 const struct tram_client_options *options) {
    struct wrong wrong;
    uint32_t calls;
    int rc = apply(client, worker, options, &calls);

    if (rc < 0)
        return rc;
    rc = address_parse(address, &client->address, &wrong);
    if (rc < 0)
        return worker_fail(worker, rc, "%s", wrong.text);
    if (client->address.topic) /* all who publish there */
        client->choice = TRAM_CHOOSE_LEAST;
    rc = endpoint_init(&client->endpoint, worker, false, calls);
    if (rc == 0)
        rc = endpoint_bind(&client->endpoint, 0);
    if (rc == 0)
        rc = client_find_servers(client);
    return rc;
}

static int client_new(tram_worker *worker, const char *address, uint32_t port,
                      const struct tram_client_options *options, tram_client **ret_client) {
    tram_client *client;
    int rc = worker ? worker_check(worker) : -EINVAL;

    if (rc < 0)
        return rc;
    if (!address || !ret_client)
        return worker_fail(worker, -EINVAL, "no address, or nowhere to put the client");
    client = calloc(1, sizeof(*client));
    if (!client)
        return worker_fail(worker, -ENOMEM, "no memory for a client");
    client->memory.fn = free_memory;
    client->flush_defer.fn = flush;
    client->queue_end = &client->queue;
    client->at_port = port;
    rc = begin(client, worker, address, options);
    if (rc < 0) {
        if (client->endpoint.service)
            (void) tram_client_free(client);
        else
            free(client);
        return rc;
    }
    *ret_client = client;
    return 0;
}

int tram_client_new(tram_worker *worker, const char *address,
                    const struct tram_client_options *options, tram_client **ret_client) {
    return client_new(worker, address, 0, options, ret_client);
}

int client_new_at(tram_worker *worker, tram_id node, uint32_t port,
                  const struct tram_client_options *options, tram_client **ret_client) {
    char address[TRAM_ID_TEXT + 16], id[TRAM_ID_TEXT];

    (void) snprintf(address, sizeof(address), "shm://%s/at", tram_id_format(node, id));
    return client_new(worker, address, port, options, ret_client);
}

tram_client *tram_client_free(tram_client *client) {
    struct endpoint *endpoint;

    if (!client || client->endpoint.dead || worker_check(client->endpoint.worker) < 0)
        return NULL;
    endpoint = &client->endpoint;
    endpoint->dead = true;
    events_client_gone(client);
    typed_client_gone(client);
    queue_drop(client);
    while (endpoint->sessions) {
        tram_session *session = endpoint->sessions;

        drafts_orphan(session);
        session_bye(session);
        calls_forget(endpoint, session);
        session_end(session, -ECANCELED);
    }
    client_targets_gone(client);
    endpoint_deinit(endpoint);
    worker_defer(endpoint->worker, &client->memory);
    return NULL;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static int check(tram_client *client, struct sending *sending, enum frame_kind kind, uint32_t code,
                 const void *data, size_t size, const struct tram_how *how) {
    int rc;

    if (!client)
        return -EINVAL;
    rc = worker_check(client->endpoint.worker);
    if (rc < 0)
        return rc;
    if (client->endpoint.dead)
        return -EINVAL;
    sending->waits = client_waits(client, how);
    rc = sending_init(sending, client->endpoint.service, kind, code, data, size, how);
    if (rc < 0)
        return worker_fail(client->endpoint.worker, rc, "an argument is out of its range");
    return 0;
}

/* Nobody is there yet: the call is made, and waits with its message. */
static int ask_later(tram_client *client, struct sending *sending, const struct tram_how *how,
                     tram_result_fn *fn, void *arg, tram_call **ret_call) {
    tram_call *call = call_new(&client->endpoint);
    int rc;

    if (!call)
        return worker_fail(client->endpoint.worker, -errno,
                           "calls_max are under way, or no memory");
    rc = queue_put(client, sending, how, call);
    if (rc < 0) {
        call_drop(call);
        return rc;
    }
    call_prepare(call, sending, fn, arg);
    call_timeout(call);
    if (ret_call)
        *ret_call = call;
    return 0;
}

int client_ask(tram_client *client, enum frame_kind kind, uint32_t code, const void *data,
               size_t size, const struct tram_how *how, tram_result_fn *fn, void *arg,
               tram_call **ret_call) {
    struct sending sending;
    tram_session *session;
    int rc = check(client, &sending, kind, code, data, size, how);

    if (rc < 0)
        return rc;
    rc = client_pick(client, how ? how->instance : NULL, how ? how->key : 0,
                     client_waits(client, how), &session);
    if (rc < 0)
        return rc;
    if (rc == 0 && !client->queue) {
        rc = call_ask(session, &sending, fn, arg, ret_call);
        if (!client_unreachable(session, rc))
            return rc;
    }
    return ask_later(client, &sending, how, fn, arg, ret_call);
}

int tram_client_ask(tram_client *client, uint32_t code, const void *data, size_t size,
                    const struct tram_how *how, tram_result_fn *fn, void *arg,
                    tram_call **ret_call) {
    return client_ask(client, FRAME_REQUEST, code, data, size, how, fn, arg, ret_call);
}

/* Would it wait for itself? */
static bool is_own(tram_client *client, const struct tram_how *how) {
    tram_session *session;

    if (client_pick(client, how ? how->instance : NULL, how ? how->key : 0, true, &session) == 0)
        return session_is_own(session);
    for (session = client->endpoint.sessions; session; session = session->next)
        if (session->fresh && session_is_own(session))
            return true;
    return false;
}

int tram_client_call(tram_client *client, uint32_t code, const void *data, size_t size,
                     const struct tram_how *how, tram_reply **ret_reply) {
    tram_call *call;
    int rc;

    if (!client || !ret_reply)
        return -EINVAL;
    rc = worker_check(client->endpoint.worker);
    if (rc < 0)
        return rc;
    if (is_own(client, how))
        return worker_fail(client->endpoint.worker, -EDEADLK, "the server is this worker's own");
    rc = client_ask(client, FRAME_REQUEST, code, data, size, how, NULL, NULL, &call);
    if (rc < 0)
        return rc;
    call->reply = reply_new();
    if (!call->reply) {
        (void) tram_call_free(call);
        return worker_fail(client->endpoint.worker, -ENOMEM, "no memory for a reply");
    }
    return call_await(call, ret_reply);
}

int tram_client_send(tram_client *client, uint32_t code, const void *data, size_t size,
                     const struct tram_how *how) {
    struct sending sending;
    tram_session *session;
    int rc = check(client, &sending, FRAME_ONEWAY, code, data, size, how);

    if (rc < 0)
        return rc;
    rc = client_pick(client, how ? how->instance : NULL, how ? how->key : 0,
                     client_waits(client, how), &session);
    if (rc < 0)
        return rc;
    if (rc == 0 && !client->queue) {
        session->messages_ever++;
        rc = sending_send(&sending, session, session_own(session));
        if (!client_unreachable(session, rc))
            return rc;
    }
    return queue_put(client, &sending, how, NULL);
}

int tram_client_wait(tram_client *client, int64_t timeout_ns) {
    int64_t deadline;
    int rc;

    if (!client || timeout_ns < TRAM_FOREVER)
        return -EINVAL;
    rc = worker_check(client->endpoint.worker);
    if (rc < 0)
        return rc;
    client->wait_up = false;
    for (tram_session *session = client->endpoint.sessions; session; session = session->next)
        client->wait_up |= session->state == SESSION_ONLINE && !session->ending;
    if (client->wait_up)
        return 0;
    deadline = timeout_ns == 0 ? worker_now(client->endpoint.worker)
                               : service_deadline(client->endpoint.service, timeout_ns, 0);
    rc = service_pump(client->endpoint.service, &client->endpoint, &client->wait_up, deadline);
    if (rc == -ETIMEDOUT)
        return worker_fail(client->endpoint.worker, rc, "%s", client_nobody(client));
    return rc;
}
