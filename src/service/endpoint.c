/* SPDX-License-Identifier: MIT
 *
 * An endpoint: a port, the sessions that it has, and who takes which message.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/client.h"
#include "service/events.h"
#include "service/server.h"
#include "service/service.h"

/* A session whose control frames can't be kept any more: that there are no more is told, if need be
 * later. */
static bool end_broken(struct endpoint *endpoint) {
    tram_session *session = endpoint->sessions;

    while (session && (!session->broken || inbox_has(endpoint, session)))
        session = session->next;
    if (!session)
        return false;
    if (session->broken == BROKEN_TELL) {
        control_drop(session);
        session_bye(session);
    }
    session->broken = BROKEN_NOT;
    if (endpoint->server)
        session_end(session, -ECONNRESET);
    else
        client_left(session, -ECONNRESET);
    return true;
}

/* Room that came while a blocking call was on the way. */
static bool tell_space(struct endpoint *endpoint) {
    tram_session *session = endpoint->sessions;

    while (session && !session->space_came)
        session = session->next;
    if (!session)
        return false;
    session->space_came = session->wants_space = false;
    if (endpoint->server)
        server_space(session);
    else
        client_space(session);
    return true;
}

/* Tell what became of sessions: first those that went, then those that came. Runs when no handler
 * does; after each call anything may have changed, so it looks from the beginning again. */
static bool tell_one(struct endpoint *endpoint) {
    void (*tell)(struct endpoint *, tram_session *, bool) =
        endpoint->server ? server_tell : client_tell;
    tram_session *session = endpoint->departed;

    if (end_broken(endpoint) || tell_space(endpoint))
        return true;
    if (session) {
        endpoint->departed = session->next;
        if (session->told)
            tell(endpoint, session, false);
        worker_defer(endpoint->worker, &session->defer);
        return true;
    }
    for (session = endpoint->sessions; session; session = session->next) {
        bool online = session->state == SESSION_ONLINE;

        if (online == session->told)
            continue;
        session->told = online;
        tell(endpoint, session, online);
        if (!online)
            session->party.unknown = 0; /* said */
        return true;
    }
    return false;
}

static void notice(struct worker_deferred *deferred) {
    struct endpoint *endpoint = container_of(deferred, struct endpoint, notice);

    while (!endpoint->dead && !endpoint->service->pumping && tell_one(endpoint))
        ;
}

int endpoint_init(struct endpoint *endpoint, tram_worker *worker, bool server, uint32_t calls_max) {
    struct service *service = service_get(worker);

    if (!service)
        return worker_fail(worker, -ENOMEM, "no memory for an endpoint");
    endpoint->service = service;
    endpoint->worker = worker;
    endpoint->server = server;
    endpoint->port.on_message = link_shm_message;
    endpoint->inbox_end = &endpoint->inbox;
    endpoint->inbox_defer.fn = inbox_open;
    endpoint->notice.fn = notice;
    endpoint->calls.max = calls_max;
    endpoint->calls.number = service_random(); /* a predecessor's answers fit no call of ours */
    endpoint->next = service->endpoints;
    endpoint->link = &service->endpoints;
    if (endpoint->next)
        endpoint->next->link = &endpoint->next;
    service->endpoints = endpoint;
    return 0;
}

int endpoint_bind(struct endpoint *endpoint, uint32_t port) {
    int rc = 0;

    do {
        endpoint->port.port = port ? port : service_random();
        rc = worker_port_add(endpoint->worker, &endpoint->port);
    } while (rc == -EADDRINUSE && port == 0);
    endpoint->bound = rc == 0;
    return rc;
}

void endpoint_deinit(struct endpoint *endpoint) {
    tram_session *session;

    endpoint->dead = true;
    inbox_drop(endpoint, NULL);
    calls_forget(endpoint, NULL);
    requests_abandon(endpoint);
    while ((session = endpoint->departed)) {
        endpoint->departed = session->next;
        worker_defer(endpoint->worker, &session->defer);
    }
    if (endpoint->bound)
        worker_port_remove(endpoint->worker, &endpoint->port);
    if (endpoint->link) {
        *endpoint->link = endpoint->next;
        if (endpoint->next)
            endpoint->next->link = endpoint->link;
        endpoint->link = NULL;
    }
    free(endpoint->table.buckets);
    free(endpoint->calls.slots);
    endpoint->table = (struct session_table){0};
    endpoint->calls = (struct call_table){0};
}

/* ---- messages -------------------------------------------------------------------------------- */

tram_session *endpoint_stranger(struct endpoint *endpoint, const struct inbound *in) {
    switch (in->frame.kind) {
    case FRAME_HELLO:
    case FRAME_REQUEST:
    case FRAME_ONEWAY:
    case FRAME_SYNC:
    case FRAME_SUBSCRIBE:
    case FRAME_GET:
    case FRAME_SET:
    case FRAME_INSPECT:
        return endpoint->server ? server_session(endpoint, in) : NULL;
    default: /* about a session that is over */
        return NULL;
    }
}

static void server_only(struct endpoint *endpoint, tram_session *session, struct inbound *in) {
    switch (in->frame.kind) {
    case FRAME_HELLO:
        server_greeted(session, in);
        break;
    case FRAME_SYNC:
        sync_arrived(session, in);
        break;
    case FRAME_SUBSCRIBE:
    case FRAME_UNSUBSCRIBE:
    case FRAME_NEWS:
    case FRAME_GET:
    case FRAME_SET:
        if (!endpoint->draining || (session->link->ops->keeps && service_refuses(&in->frame)))
            events_at_server(session, in); /* drain.c hands on no others */
        break;
    case FRAME_INSPECT:
        server_inspected(session, in);
        break;
    default:
        endpoint->nonsense++;
    }
}

static void client_only(struct endpoint *endpoint, tram_session *session, struct inbound *in) {
    switch (in->frame.kind) {
    case FRAME_WELCOME:
        client_welcomed(session, in);
        break;
    case FRAME_SYNCED:
        synced_arrived(session, in);
        break;
    case FRAME_SUBSCRIBED:
    case FRAME_EVENT:
    case FRAME_NEWS:
        events_at_client(session, in);
        break;
    default:
        endpoint->nonsense++;
    }
}

bool endpoint_expired_by_the_clock(struct endpoint *endpoint, const struct inbound *in) {
    if (worker_read_clock(endpoint->worker) < in->extra.deadline)
        return false;
    if (endpoint->server)
        server_of(endpoint)->expired++;
    return true;
}

static void one_way(struct endpoint *endpoint, tram_session *session, struct inbound *in) {
    struct tram_view view;

    if (endpoint_expired(endpoint, in))
        return;
    if (endpoint->draining && drain_keep(session, in))
        return;
    session->messages_ever++;
    view_of(in, &view);
    trace_enter(trace_of(in));
    if (endpoint->server)
        server_one_way(session, &view);
    else
        client_one_way(session, &view);
    trace_leave();
}

static void bye(tram_session *session, const struct inbound *in) {
    if (session->endpoint->server)
        session_end(session, -ECONNRESET);
    else
        client_left(session, in->frame.flags & FRAME_FAILED ? -ECONNREFUSED : -ECONNRESET);
}

void endpoint_frame(struct endpoint *endpoint, tram_session *session, struct inbound *in) {
    if (session->neighbour)
        hold_passed(endpoint->service, session->neighbour, in->seq, in->size);
    if (endpoint->service->pumping && inbox_keep(endpoint, session, in))
        return;
    switch (in->frame.kind) {
    case FRAME_REQUEST:
        request_arrived(endpoint, session, in);
        break;
    case FRAME_REPLY:
    case FRAME_PART:
    case FRAME_ERROR:
        call_answered(endpoint, session, in);
        break;
    case FRAME_ONEWAY:
        one_way(endpoint, session, in);
        break;
    case FRAME_CREDIT:
        request_credit(session, in);
        break;
    case FRAME_CANCEL:
        request_cancelled(session, in);
        break;
    case FRAME_BYE:
        bye(session, in);
        break;
    default:
        if (endpoint->server)
            server_only(endpoint, session, in);
        else
            client_only(endpoint, session, in);
    }
}
