/* SPDX-License-Identifier: MIT
 *
 * Requests in hand of who has to answer them. One that is answered in its handler costs no more
 * than that: its message is released when the handler returns. One that is taken out keeps its
 * message in hand, so that a successor gets it if this process dies first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/client.h"
#include "service/server.h"
#include "service/service.h"

static tram_request *request_new(struct service *service) {
    tram_request *request = service->free_requests;

    if (request)
        service->free_requests = request->next;
    else if (!(request = malloc(sizeof(*request))))
        return NULL;
    return request;
}

static void put_back(tram_request *request) {
    struct service *service = request->service;

    request->session = NULL;
    request->endpoint = NULL;
    request->state = REQUEST_DONE;
    request->next = service->free_requests;
    service->free_requests = request;
}

static void list(tram_request *request, tram_request **head) {
    request->next = *head;
    request->link = head;
    if (*head)
        (*head)->link = &request->next;
    *head = request;
}

static void unlist(tram_request *request) {
    if (!request->link)
        return;
    *request->link = request->next;
    if (request->next)
        request->next->link = request->link;
    request->link = NULL;
}

/* What is deferred is counted for all sessions of a node together. */
static void count(tram_request *request, struct neighbour *neighbour) {
    request->neighbour = neighbour;
    if (!neighbour) /* a socket: its link counts */
        return;
    neighbour->users++;
    neighbour->requests++;
    neighbour->request_bytes += request->view.size;
}

static void uncount(tram_request *request) {
    struct neighbour *neighbour = request->neighbour;

    if (!neighbour)
        return;
    request->neighbour = NULL;
    neighbour->requests--;
    neighbour->request_bytes -= request->view.size;
    neighbour_put(request->service, neighbour);
}

static bool too_many(const tram_session *session, size_t size) {
    const struct neighbour *neighbour = session->neighbour;

    return neighbour && neighbour->requests > 0 &&
           (neighbour->requests >= REQUESTS_MAX ||
            neighbour->request_bytes + size > REQUESTS_BYTES);
}

void request_done(tram_request *request) {
    struct endpoint *endpoint = request->endpoint;

    draft_forget(request);
    if (request->state == REQUEST_HANDLER) { /* the rest where the handler returns */
        request->state = REQUEST_DONE;
        return;
    }
    unlist(request);
    hold_release(&request->held);
    uncount(request);
    put_back(request);
    if (endpoint) {
        endpoint->in_hand--;
        drain_check(endpoint);
    }
}

void request_fail(tram_request *request) {
    draft_forget(request);
    session_refuse(request->session, request->correlation, -ECANCELED);
}

/* Its owner is told when no handler runs. */
static void orphan(tram_request *request) {
    struct service *service = request->service;

    unlist(request);
    request->session = NULL;
    request->over = true;
    list(request, &service->cancelled);
    worker_defer(service->worker, &service->late_defer);
}

/* Its endpoint went, too. */
static void abandon(tram_request *request) {
    unlist(request);
    request->session = NULL;
    request->endpoint = NULL;
    request->over = true;
    list(request, &request->service->abandoned);
}

/* ---- arrival --------------------------------------------------------------------------------- */

/* The handler took it out: keep the message. If the session ended there, its link can't. */
static void defer(tram_request *request, tram_session *session, struct inbound *in) {
    bool gone = session->state == SESSION_DEAD;
    int rc;

    request->state = REQUEST_DEFERRED;
    rc = gone ? hold_copy(&request->held, in, &request->view.data)
              : hold_take(&request->held, session, in, &request->view.data);
    if (rc < 0) {
        request->view.data = NULL;
        request->view.size = 0;
        request->over = true;
        session_refuse(session, request->correlation, -ENOMEM);
    }
    if (rc == 0 && !gone)
        count(request, session->neighbour);
    if (!gone) {
        list(request, &session->requests);
    } else if (request->endpoint) {
        orphan(request);
    } else {
        abandon(request);
    }
}

static void hand(struct endpoint *endpoint, tram_session *session, tram_request **request) {
    if (endpoint->server)
        server_request(session, request);
    else
        client_request(session, request);
}

void request_arrived(struct endpoint *endpoint, tram_session *session, struct inbound *in) {
    tram_request *request, *mine;

    if (endpoint_expired(endpoint, in)) /* who asked has given up */
        return;
    if (endpoint->draining && drain_keep(session, in))
        return;
    request = too_many(session, in->size) ? NULL : request_new(endpoint->service);
    if (!request) {
        session_refuse(session, in->frame.correlation,
                       too_many(session, in->size) ? -ENOBUFS : -ENOMEM);
        return;
    }
    view_of(in, &request->view);
    request->view.topic = ""; /* what *in has of it goes with it */
    request->session = session;
    request->endpoint = endpoint;
    request->service = endpoint->service;
    request->correlation = in->frame.correlation;
    request->credit = in->frame.flags & FRAME_WINDOW && in->extra.window <= WINDOW_MAX
                          ? in->extra.window
                          : DEFAULT_WINDOW;
    request->state = REQUEST_HANDLER;
    request->over = request->wants_space = false;
    request->draft = NULL;
    request->link = NULL;
    request->held.message = request->held.copy = NULL;
    request->held.neighbour = request->neighbour = NULL;
    session->requests_ever++;
    endpoint->in_hand++;
    mine = request;
    endpoint->handled = request;
    trace_enter(trace_of(in));
    hand(endpoint, session, &mine);
    trace_leave();
    endpoint->handled = NULL;
    if (endpoint->dead)
        request->endpoint = NULL;
    if (request->state == REQUEST_HANDLER && mine) {
        draft_forget(request);
        session_refuse(session, request->correlation, -ENOSYS);
        request->state = REQUEST_DONE;
    }
    if (request->state == REQUEST_HANDLER) {
        defer(request, session, in);
        return;
    }
    put_back(request);
    endpoint->in_hand--;
    if (endpoint->draining)
        drain_check(endpoint);
}

/* ---- ends from outside ----------------------------------------------------------------------- */

tram_request *request_find(tram_session *session, uint64_t correlation) {
    tram_request *request = session->requests;

    while (request && request->correlation != correlation)
        request = request->next;
    return request;
}

void request_cancelled(tram_session *session, const struct inbound *in) {
    tram_request *request = request_find(session, in->frame.correlation);

    if (request)
        orphan(request);
}

void requests_orphan(tram_session *session) {
    while (session->requests)
        orphan(session->requests);
}

void requests_tell_cancelled(struct service *service) {
    tram_request *request;

    while (!service->pumping && (request = service->cancelled)) {
        struct endpoint *endpoint = request->endpoint;

        unlist(request);
        list(request, &endpoint->told);
        if (endpoint->server)
            server_cancelled(server_of(endpoint), request);
    }
}

void requests_abandon(struct endpoint *endpoint) {
    tram_request *request, *next;

    for (request = endpoint->service->cancelled; request; request = next) {
        next = request->next;
        if (request->endpoint == endpoint)
            abandon(request);
    }
    while (endpoint->told)
        abandon(endpoint->told);
}

void requests_forget(struct service *service) {
    while (service->abandoned)
        request_done(service->abandoned);
}

/* ---- the public part ------------------------------------------------------------------------- */

const struct tram_view *tram_request_view(const tram_request *request) {
    return request ? &request->view : NULL;
}

tram_session *tram_request_session(const tram_request *request) {
    return request ? request->session : NULL;
}

bool tram_request_over(const tram_request *request) {
    if (!request || request->over || !request->session)
        return true;
    return request->view.deadline_ns != TRAM_FOREVER &&
           worker_read_clock(request->service->worker) >= request->view.deadline_ns;
}
