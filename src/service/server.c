/* SPDX-License-Identifier: MIT
 *
 * Servers: bound at once, published by names_…, and found by their port, which is the hash of their
 * name, so that a successor on the same node has the same.
 */
#include "service/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/draft.h"
#include "service/events.h"
#include "service/typed.h"
#include "wire/address.h"

#define SESSIONS_MAX    4096u
#define DESCRIPTORS_MAX (1u << 20)
#define KNOWN_FLAGS     (TRAM_SERVER_NO_SHM | TRAM_SERVER_NO_DAEMON | TRAM_SERVER_PLAIN)

/* ---- sessions -------------------------------------------------------------------------------- */

static void refuse(struct endpoint *endpoint, const struct inbound *in) {
    struct frame frame = {.kind = FRAME_BYE,
                          .port = (uint32_t) (in->frame.correlation >> 32),
                          .correlation = (uint64_t) endpoint->port.port << 32};

    farewell_say(endpoint->service, in->from, &frame, 0, NULL, 0);
}

/* In a blocking call nobody can be told: then notice() does it, before its messages come. */
void server_introduce(tram_session *session) {
    session->state = SESSION_ONLINE;
    if (session->endpoint->service->pumping) {
        worker_defer(session->endpoint->worker, &session->endpoint->notice);
        return;
    }
    session->told = true;
    server_tell(session->endpoint, session, true);
}

/* One that drains takes what it is handed on (drain.c), also of who comes to it first then. It
 * welcomes only whose question it has in hand, for it must hear if that is gone: all else is its
 * successor's to welcome. */
tram_session *server_session(struct endpoint *endpoint, const struct inbound *in) {
    tram_server *server = server_of(endpoint);
    bool too_late = endpoint->draining && in->frame.kind != FRAME_ONEWAY &&
                    !service_refuses(&in->frame);
    char address[TRAM_ID_TEXT + 8];
    char id[TRAM_ID_TEXT];
    tram_session *session;
    struct link *link;
    bool runs;

    if (endpoint->table.count >= server->sessions_max || too_late ||
        (server->flags & TRAM_SERVER_NO_SHM) ||
        link_shm_new(endpoint->worker, in->from, (uint32_t) (in->frame.correlation >> 32), false,
                     &link, &runs) < 0) {
        refuse(endpoint, in);
        return NULL;
    }
    (void) snprintf(address, sizeof(address), "shm://%s", tram_id_format(in->from, id));
    session = session_new(endpoint, link, address);
    if (!session) {
        refuse(endpoint, in);
        return NULL;
    }
    if (in->frame.kind == FRAME_HELLO)
        (void) session_read_hello(session, in);
    else if (runs && !(endpoint->draining && in->frame.kind == FRAME_ONEWAY))
        (void) session_hello(session, FRAME_WELCOME); /* from before we were there: who has gone
                                                         since is known by the refusal */
    if (!runs) { /* nobody will tell of its end */
        session->broken = BROKEN_GONE;
        worker_defer(endpoint->worker, &endpoint->notice);
    }
    server_introduce(session);
    return session->state == SESSION_DEAD || endpoint->dead ? NULL : session;
}

/* Sessions of an earlier process of that node: all that it sent came before this one's HELLO. One
 * that has not said who it is may be this process's: a successor of ours finds requests first. */
bool server_is_predecessor(const tram_session *other, const tram_session *session) {
    return other != session && session->link->peer && other->link->peer == session->link->peer &&
           other->party.pid != 0 && other->party.pid != session->party.pid;
}

static void end_predecessors(tram_session *session) {
    tram_session *other, *next;

    for (other = session->endpoint->sessions; other; other = next) {
        next = other->next;
        if (server_is_predecessor(other, session)) {
            session_end(other, -ECONNRESET);
            next = session->endpoint->sessions; /* calls may have ended, with handlers */
        }
    }
}

void server_greeted(tram_session *session, const struct inbound *in) {
    if (session_read_hello(session, in) < 0)
        session->endpoint->nonsense++;
    else
        end_predecessors(session);
    if (session->state != SESSION_DEAD)
        (void) session_hello(session, FRAME_WELCOME);
}

/* ---- handlers -------------------------------------------------------------------------------- */

void server_tell(struct endpoint *endpoint, tram_session *session, bool online) {
    tram_server *server = server_of(endpoint);

    if (server->handlers.on_session)
        server->handlers.on_session(server, session, online, server->arg);
}

void server_request(tram_session *session, tram_request **request) {
    tram_server *server = server_of(session->endpoint);

    server->requests_ever++;
    if (server->typed && typed_request(server, request))
        return;
    if (server->handlers.on_request)
        server->handlers.on_request(server, request, server->arg);
}

void server_one_way(tram_session *session, const struct tram_view *view) {
    tram_server *server = server_of(session->endpoint);

    if (server->handlers.on_message)
        server->handlers.on_message(server, session, view, server->arg);
}

void server_cancelled(tram_server *server, tram_request *request) {
    if (server->handlers.on_cancel)
        server->handlers.on_cancel(server, request, server->arg);
}

void server_space(tram_session *session) {
    tram_server *server = server_of(session->endpoint);

    typed_space(server);
    if (!server->endpoint.dead && server->handlers.on_space)
        server->handlers.on_space(server, session, server->arg);
}

static void tell_state(struct worker_deferred *deferred) {
    tram_server *server = container_of(deferred, tram_server, state_defer);
    struct tram_party who = {.name = server->endpoint.name,
                             .program = "",
                             .address = server->address,
                             .node = tram_node_id(tram_worker_node(server->endpoint.worker))};

    if (server->endpoint.dead || server->endpoint.service->pumping ||
        server->state == server->state_told)
        return;
    server->state_told = server->state;
    if (server->state == TRAM_STATE_REFUSED)
        who = server->holder;
    if (server->handlers.on_state)
        server->handlers.on_state(server, server->state, &who, server->arg);
}

void server_state(tram_server *server, enum tram_state state) {
    server->state = state;
    worker_defer(server->endpoint.worker, &server->state_defer);
}

/* ---- making and ending ----------------------------------------------------------------------- */

static void free_memory(struct worker_deferred *deferred) {
    tram_server *server = container_of(deferred, tram_server, memory);

    for (char **address = server->addresses; address && *address; address++)
        free(*address);
    free(server->addresses);
    free(server->endpoint.name);
    free(server->service);
    free(server->instance);
    free(server->address);
    free(server->holder_name);
    free(server->holder_program);
    free(server->descriptors);
    free(server);
}

static int copy_addresses(tram_server *server, const char *const *addresses) {
    size_t count = 0;

    while (addresses && addresses[count])
        count++;
    server->addresses = calloc(count + 1, sizeof(*server->addresses));
    if (!server->addresses)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        if (!(server->addresses[i] = strdup(addresses[i])))
            return -ENOMEM;
    return 0;
}

static int apply(tram_server *server, const struct tram_server_options *options) {
    if (!options) {
        server->options = (struct tram_server_options) TRAM_SERVER_OPTIONS_INIT;
        server->sessions_max = SESSIONS_MAX;
        return copy_addresses(server, NULL);
    }
    if (options->struct_size < sizeof(*options) || options->flags & ~KNOWN_FLAGS ||
        options->descriptors_size > DESCRIPTORS_MAX ||
        (options->descriptors_size > 0 && !options->descriptors))
        return -EINVAL;
    server->options = *options;
    if (options->handlers)
        server->handlers = *options->handlers;
    server->arg = options->arg;
    server->flags = options->flags;
    server->sessions_max = options->sessions_max ? options->sessions_max : SESSIONS_MAX;
    if (options->descriptors_size > 0) {
        server->descriptors = malloc(options->descriptors_size);
        if (!server->descriptors)
            return -ENOMEM;
        memcpy(server->descriptors, options->descriptors, options->descriptors_size);
        server->descriptors_size = options->descriptors_size;
    }
    return copy_addresses(server, options->addresses);
}

/* "svc://name:instance": what it is called, and where it is found without a daemon. */
static int name_it(tram_server *server, tram_worker *worker, const char *address) {
    char full[NAME_FULL_SIZE], id[TRAM_ID_TEXT], text[NAME_FULL_SIZE + 32];
    struct address parsed;
    struct wrong wrong;
    int rc = address_parse(address, &parsed, &wrong);

    if (rc < 0)
        return worker_fail(worker, rc, "%s", wrong.text);
    if (parsed.kind != ADDRESS_SVC)
        return worker_fail(worker, -EINVAL, "a server is svc://name; other addresses are options");
    if (*parsed.at)
        return worker_fail(worker, -EINVAL, "a server's host is the one that it runs on: no '@'");
    if (parsed.topic && !parsed.name.instance[0]) /* one of many that publish there */
        (void) snprintf(parsed.name.instance, sizeof(parsed.name.instance), "%08x%08x",
                        service_random(), service_random());
    name_format(parsed.name.name, parsed.name.instance, full);
    (void) snprintf(text, sizeof(text), "shm://%s/%s",
                    tram_id_format(tram_node_id(tram_worker_node(worker)), id), full);
    server->endpoint.name = strdup(full);
    server->service = strdup(parsed.name.name);
    server->instance = strdup(parsed.name.instance);
    server->address = strdup(text);
    if (!server->endpoint.name || !server->service || !server->instance || !server->address)
        return worker_fail(worker, -ENOMEM, "no memory for a server");
    return 0;
}

static int begin(tram_server *server, tram_worker *worker, const char *address,
                 const struct tram_server_options *options) {
    int rc = apply(server, options);

    if (rc < 0)
        return worker_fail(worker, rc, "options of a server out of their range, or no memory");
    rc = name_it(server, worker, address);
    if (rc == 0)
        rc = endpoint_init(&server->endpoint, worker, true, CALLS_MAX);
    if (rc == 0)
        rc = server_check_addresses(server);
    if (rc == 0)
        rc = endpoint_bind(&server->endpoint,
                           frame_port(server->endpoint.name, strlen(server->endpoint.name)));
    if (rc == -EADDRINUSE)
        return worker_fail(worker, rc, "this node serves '%s' already", server->endpoint.name);
    if (rc == 0)
        rc = server_publish(server);
    return rc;
}

int tram_server_new(tram_worker *worker, const char *address,
                    const struct tram_server_options *options, tram_server **ret_server) {
    tram_server *server;
    int rc = worker ? worker_check(worker) : -EINVAL;

    if (rc < 0)
        return rc;
    if (!address || !ret_server)
        return worker_fail(worker, -EINVAL, "no address, or nowhere to put the server");
    server = calloc(1, sizeof(*server));
    if (!server)
        return worker_fail(worker, -ENOMEM, "no memory for a server");
    server->memory.fn = free_memory;
    server->state_defer.fn = tell_state;
    server->drain_defer.fn = server_drained;
    rc = begin(server, worker, address, options);
    if (rc < 0) {
        server_listen_no_more(server);
        if (server->endpoint.service)
            endpoint_deinit(&server->endpoint);
        server->endpoint.worker = worker;
        worker_defer(worker, &server->memory);
        return rc;
    }
    drain_inherit(&server->endpoint);
    *ret_server = server;
    return 0;
}

/* Who drains says nothing through shared memory: what waits there is the successor's. Over a socket
 * what is not answered by now was not executed. */
void server_goodbye(tram_session *session) {
    struct frame frame = session_frame(session, FRAME_BYE, session_own(session));

    if (session->link->ops->keeps) {
        if (!session->endpoint->draining)
            session_bye(session);
        return;
    }
    frame.flags = FRAME_FAILED;
    session_control(session, frame, (uint32_t) -ECONNREFUSED, NULL, 0);
}

tram_server *tram_server_free(tram_server *server) {
    struct endpoint *endpoint;

    if (!server || server->endpoint.dead || worker_check(server->endpoint.worker) < 0)
        return NULL;
    endpoint = &server->endpoint;
    endpoint->dead = true;
    names_unbind(&server->binding);
    server_listen_no_more(server);
    server->drain_timer = tram_timer_free(server->drain_timer);
    events_server_gone(server);
    typed_server_gone(server);
    if (endpoint->handled && endpoint->handled->state == REQUEST_HANDLER)
        request_fail(endpoint->handled);
    while (endpoint->sessions) {
        tram_session *session = endpoint->sessions;

        drafts_orphan(session);
        for (tram_request *r = session->requests; r; r = r->next)
            session_refuse(session, r->correlation, -ECANCELED);
        server_goodbye(session);
        calls_forget(endpoint, session);
        session_end(session, -ECANCELED);
    }
    endpoint_deinit(endpoint);
    worker_defer(endpoint->worker, &server->memory);
    return NULL;
}

tram_session *tram_server_next(tram_server *server, tram_session *session) {
    if (!server || server->endpoint.dead)
        return NULL;
    return session ? session->next : server->endpoint.sessions;
}
