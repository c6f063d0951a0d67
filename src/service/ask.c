/* SPDX-License-Identifier: MIT
 *
 * Asking over a session: with a function for the end, or waiting for it. Client and server ask
 * alike; only how the session is found differs (client.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/client.h"
#include "service/service.h"

/* What the call has to know of what was sent. */
void call_prepare(struct tram_call *call, const struct sending *sending, tram_result_fn *fn,
                  void *arg) {
    call->fn = fn;
    call->arg = arg;
    call->deadline = sending->extra.deadline;
    call->window = sending->frame.flags & FRAME_WINDOW ? sending->extra.window : DEFAULT_WINDOW;
    call->traced = sending->frame.flags & FRAME_TRACE;
    call->waits = sending->waits;
    call->named = sending->named;
    call->key = sending->key;
    if (call->traced)
        memcpy(call->trace, sending->extra.trace, sizeof(call->trace));
}

void call_sent(struct tram_call *call, tram_session *session) {
    call->state = CALL_SENT;
    call->session = session;
    session->calls++;
    session->requests_ever++;
}

void call_timeout(struct tram_call *call) {
    if (call->deadline != INT64_MAX)
        service_timeout(call->endpoint->service, &call->timer, call->deadline);
}

int call_ask(tram_session *session, struct sending *sending, tram_result_fn *fn, void *arg,
             tram_call **ret_call) {
    struct tram_call *call = call_new(session->endpoint);
    int rc;

    if (!call)
        return worker_fail(session->endpoint->worker, -errno,
                           errno == EAGAIN ? "%u calls are under way; see calls_max"
                                           : "no memory for a call beside %u",
                           session->endpoint->calls.count);
    rc = sending_send(sending, session, call_correlation(call));
    if (rc < 0) {
        call_drop(call);
        return rc;
    }
    call_prepare(call, sending, fn, arg);
    call_sent(call, session);
    call_timeout(call);
    if (ret_call)
        *ret_call = call;
    return 0;
}

/* What to tell who waited in vain. */
static const char *why(const struct endpoint *endpoint, int status) {
    if (!endpoint->server &&
        (status == -ENOTCONN || (status == -ETIMEDOUT && !endpoint->sessions)))
        return client_nobody((const tram_client *) (const void *) endpoint);
    return status == -ETIMEDOUT ? "no answer in time" : strerror(-status);
}

/* ---- blocking -------------------------------------------------------------------------------- */

int call_await(struct tram_call *call, tram_reply **ret_reply) {
    struct endpoint *endpoint = call->endpoint;
    struct service *service = endpoint->service;
    tram_worker *worker = endpoint->worker;
    tram_reply *reply = call->reply;
    bool done = false;
    int rc;

    call->done = &done;
    endpoint->awaited = call;
    rc = service_pump(service, endpoint, &done, call->deadline);
    if (!done) { /* and so the call is still there */
        call->reply = NULL;
        endpoint->awaited = NULL;
        (void) tram_call_free(call);
        free(reply);
        return worker_fail(worker, rc, "%s", why(endpoint, rc));
    }
    rc = reply->status;
    if (rc < 0) {
        (void) worker_fail(worker, rc, "%s", reply->text ? reply->text : why(endpoint, rc));
        worker_fail_limit(worker, (uint32_t) reply->code);
        free(reply->text);
        free(reply);
        return rc;
    }
    *ret_reply = reply;
    return 0;
}

tram_reply *reply_new(void) {
    return calloc(1, sizeof(tram_reply));
}

const struct tram_view *tram_reply_view(const tram_reply *reply) {
    return reply ? &reply->view : NULL;
}

tram_reply *tram_reply_free(tram_reply *reply) {
    if (!reply)
        return NULL;
    hold_release(&reply->held);
    free(reply->text);
    free(reply);
    return NULL;
}

/* ---- from the server's end of a session ------------------------------------------------------ */

static int begin(tram_session *session, struct sending *sending, enum frame_kind kind,
                 uint32_t code, const void *data, size_t size, const struct tram_how *how) {
    struct endpoint *endpoint;
    int rc;

    if (!session)
        return -EINVAL;
    endpoint = session->endpoint;
    rc = worker_check(endpoint->worker);
    if (rc < 0)
        return rc;
    sending->waits = false;
    if (session->state == SESSION_DEAD || session->ending || !session->link)
        return worker_fail(endpoint->worker, -ENOTCONN, "the session is over");
    rc = sending_init(sending, endpoint->service, kind, code, data, size, how);
    if (rc < 0)
        return worker_fail(endpoint->worker, rc, "an argument is out of its range");
    return 0;
}

int tram_session_ask(tram_session *session, uint32_t code, const void *data, size_t size,
                     const struct tram_how *how, tram_result_fn *fn, void *arg,
                     tram_call **ret_call) {
    struct sending sending;
    int rc = begin(session, &sending, FRAME_REQUEST, code, data, size, how);

    if (rc < 0)
        return rc;
    return session_gone(session, call_ask(session, &sending, fn, arg, ret_call));
}

int tram_session_call(tram_session *session, uint32_t code, const void *data, size_t size,
                      const struct tram_how *how, tram_reply **ret_reply) {
    struct sending sending;
    struct tram_call *call;
    int rc = begin(session, &sending, FRAME_REQUEST, code, data, size, how);

    if (rc < 0)
        return rc;
    if (!ret_reply)
        return worker_fail(session->endpoint->worker, -EINVAL, "nowhere to put the reply");
    if (session_is_own(session))
        return worker_fail(session->endpoint->worker, -EDEADLK, "the client is this worker's own");
    rc = session_gone(session, call_ask(session, &sending, NULL, NULL, &call));
    if (rc < 0)
        return rc;
    call->reply = reply_new();
    if (!call->reply) {
        (void) tram_call_free(call);
        return worker_fail(session->endpoint->worker, -ENOMEM, "no memory for a reply");
    }
    return call_await(call, ret_reply);
}

int tram_session_send(tram_session *session, uint32_t code, const void *data, size_t size,
                      const struct tram_how *how) {
    struct sending sending;
    int rc = begin(session, &sending, FRAME_ONEWAY, code, data, size, how);

    if (rc < 0)
        return rc;
    return session_gone(session, sending_send(&sending, session, session_own(session)));
}
