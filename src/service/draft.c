/* SPDX-License-Identifier: MIT
 *
 * Messages written in place. What stands before the payload has its size when the room is claimed,
 * and so the session, the deadline and the trace are chosen then; the kind of message when it is
 * sent. One claim at a time goes through a channel.
 */
#include "service/draft.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/client.h"
#include "service/server.h"

static int begin(tram_session *session, const struct sending *sending, size_t size,
                 tram_draft **ret_draft, void **ret_data) {
    tram_worker *worker = session->endpoint->worker;
    tram_draft *draft = calloc(1, sizeof(*draft));
    uint8_t extra[FRAME_EXTRA_MAX];
    void *data;
    int rc;

    if (!draft)
        return worker_fail(worker, -ENOMEM, "no memory for a draft");
    draft->sending = *sending;
    draft->sending.frame.extra = 0;
    if (draft->sending.frame.flags)
        frame_extra_write(&draft->sending.frame, &draft->sending.extra, extra);
    if (size > SIZE_MAX - FRAME_EXTRA_MAX) {
        free(draft);
        return worker_fail(worker, -EMSGSIZE, "larger than memory");
    }
    rc = session->link->ops->claim(session->link, draft->sending.frame.extra + size, &data);
    if (rc < 0) {
        free(draft);
        return session_gone(session, session_full(session, rc));
    }
    memcpy(data, extra, draft->sending.frame.extra);
    draft->session = session;
    draft->worker = worker;
    draft->size = size;
    draft->next = session->drafts;
    session->drafts = draft;
    *ret_data = (char *) data + draft->sending.frame.extra;
    *ret_draft = draft;
    return 0;
}

/* Out of its session. */
static void unlink_draft(tram_draft *draft) {
    tram_draft **link = draft->session ? &draft->session->drafts : NULL;

    while (link && *link && *link != draft)
        link = &(*link)->next;
    if (link && *link)
        *link = draft->next;
    draft->session = NULL;
}

static void end(tram_draft *draft) {
    unlink_draft(draft);
    if (draft->request)
        draft->request->draft = NULL;
    free(draft);
}

void drafts_orphan(tram_session *session) {
    for (tram_draft *draft; (draft = session->drafts);) {
        session->drafts = draft->next;
        session->link->ops->abort(session->link);
        draft->session = NULL;
        if (draft->request)
            draft->request->draft = NULL;
        draft->request = NULL;
    }
}

void draft_forget(struct tram_request *request) {
    tram_draft *draft = request->draft;

    if (!draft)
        return;
    if (draft->session) {
        draft->session->link->ops->abort(draft->session->link);
        unlink_draft(draft);
    }
    request->draft = NULL;
    draft->request = NULL;
}

tram_draft *tram_draft_free(tram_draft *draft) {
    if (!draft)
        return NULL;
    if (draft->events)
        return draft_event_free(draft);
    if (draft->session && worker_check(draft->worker) == 0)
        draft->session->link->ops->abort(draft->session->link);
    end(draft);
    return NULL;
}

int tram_client_draft(tram_client *client, size_t size, const struct tram_how *how,
                      tram_draft **ret_draft, void **ret_data) {
    struct sending sending;
    tram_session *session;
    int rc;

    if (!client || !ret_draft || !ret_data)
        return -EINVAL;
    rc = worker_check(client->endpoint.worker);
    if (rc < 0)
        return rc;
    rc = sending_init(&sending, client->endpoint.service, FRAME_REQUEST, 0, NULL, 0, how);
    if (rc < 0)
        return worker_fail(client->endpoint.worker, rc, "an argument is out of its range");
    sending.waits = client_waits(client, how);
    rc = client_pick(client, how ? how->instance : NULL, how ? how->key : 0, false, &session);
    if (rc == 1)
        return worker_fail(client->endpoint.worker, -ENOTCONN, "its server is not known yet");
    if (rc == 0 && queue_has(client, session)) {
        client->wants_space = true;
        return worker_fail(client->endpoint.worker, -EAGAIN, "what was sent before waits here");
    }
    return rc < 0 ? rc : begin(session, &sending, size, ret_draft, ret_data);
}

int tram_request_draft(tram_request *request, size_t size, tram_draft **ret_draft,
                       void **ret_data) {
    struct sending sending = {.frame.kind = FRAME_REPLY};
    tram_worker *worker;
    int rc;

    if (!request || request->state == REQUEST_DONE || !ret_draft || !ret_data)
        return -EINVAL;
    worker = request->service->worker;
    rc = worker_check(worker);
    if (rc < 0)
        return rc;
    if (request->draft)
        return worker_fail(worker, -EBUSY, "a draft of the answer is open");
    if (!request->session || request->session->state == SESSION_DEAD || request->over)
        return worker_fail(worker, -ECANCELED, "nobody waits for it any more");
    rc = begin(request->session, &sending, size, ret_draft, ret_data);
    if (rc < 0)
        return rc;
    (*ret_draft)->request = request;
    request->draft = *ret_draft;
    return 0;
}

static int commit(tram_draft *draft, enum frame_kind kind, uint64_t correlation, uint32_t code,
                  size_t size) {
    struct frame frame = draft->sending.frame;
    struct link *link = draft->session->link;

    frame.kind = (uint8_t) kind;
    frame.port = draft->session->peer_port;
    frame.correlation = correlation;
    return link->ops->commit(link, &frame, code, frame.extra + size);
}

/* Can it be sent? Its session may have ended meanwhile: then it is taken, and the error says so. */
static int check(tram_draft **draft, size_t size) {
    tram_draft *d = draft ? *draft : NULL;
    int rc;

    if (!d || d->events)
        return -EINVAL;
    rc = worker_check(d->worker);
    if (rc < 0)
        return rc;
    if (size > d->size)
        return worker_fail(d->worker, -EINVAL, "larger than the draft");
    if (d->session)
        return 0;
    *draft = NULL;
    rc = worker_fail(d->worker, -ENOTCONN, "the session is over");
    end(d);
    return rc;
}

int tram_draft_ask(tram_draft **draft, uint32_t code, size_t size, tram_result_fn *fn, void *arg,
                   tram_call **ret_call) {
    int rc = check(draft, size);
    tram_call *call;
    tram_draft *d;

    if (rc < 0)
        return rc;
    d = *draft;
    if (d->request)
        return worker_fail(d->worker, -EINVAL, "it is the draft of an answer");
    call = call_new(d->session->endpoint);
    if (!call)
        return worker_fail(d->worker, -errno, "calls_max are under way, or no memory");
    rc = commit(d, FRAME_REQUEST, call_correlation(call), code, size);
    *draft = NULL;
    if (rc < 0) {
        call_drop(call);
    } else {
        call_prepare(call, &d->sending, fn, arg);
        call_sent(call, d->session);
        call_timeout(call);
        if (ret_call)
            *ret_call = call;
    }
    end(d);
    return rc;
}

int tram_draft_send(tram_draft **draft, uint32_t code, size_t size) {
    int rc = check(draft, size);
    tram_draft *d;

    if (rc < 0)
        return rc;
    d = *draft;
    if (d->request)
        return worker_fail(d->worker, -EINVAL, "it is the draft of an answer");
    rc = commit(d, FRAME_ONEWAY, session_own(d->session), code, size);
    *draft = NULL;
    end(d);
    return rc;
}

int tram_draft_reply(tram_draft **draft, tram_request **request, size_t size) {
    int rc = check(draft, size);
    tram_draft *d;

    if (rc < 0)
        return rc;
    d = *draft;
    if (!request || !*request || d->request != *request)
        return worker_fail(d->worker, -EINVAL, "it is no draft of this answer");
    rc = commit(d, FRAME_REPLY, (*request)->correlation, 0, size);
    *draft = NULL;
    end(d);
    return reply_settle(request, rc);
}
