/* SPDX-License-Identifier: MIT
 *
 * Answers. What takes a request nulls its owner's pointer, unless the answer has to be tried again.
 */
#include <errno.h>
#include <string.h>

#include "service/service.h"

/* May the answer go somewhere? 0: yes; 1: no, and the request is done; or -EINVAL, … */
static int begin(tram_request **request) {
    tram_request *r = request ? *request : NULL;
    int rc;

    if (!r || r->state == REQUEST_DONE)
        return -EINVAL;
    rc = worker_check(r->service->worker);
    if (rc < 0)
        return rc;
    if (r->draft)
        return worker_fail(r->service->worker, -EBUSY, "a draft of the answer is open");
    if (r->session && r->session->state != SESSION_DEAD && !r->over)
        return 0;
    request_done(r);
    *request = NULL;
    return 1;
}

/* After an answer was sent, or not: who has the request now? */
int reply_settle(tram_request **request, int rc) {
    tram_request *r = *request;

    if (rc == -EAGAIN) {
        r->wants_space = true;
        return session_full(r->session, rc);
    }
    if (rc == -EMSGSIZE || rc == -ENOMEM || rc == -ENOSPC)
        return rc;
    request_done(r); /* or it can go nowhere any more */
    *request = NULL;
    return 0;
}

static int answer(tram_request **request, enum frame_kind kind, uint32_t code, const void *data,
                  size_t size) {
    tram_request *r = *request;
    tram_session *session = r->session;
    struct frame frame = session_frame(session, kind, r->correlation);
    union {
        const void *from;
        void *base;
    } payload = {data}; /* struct iovec has no const */
    struct iovec piece = {payload.base, size};

    return reply_settle(request, session->link->ops->send(session->link, &frame, code, &piece,
                                                          size > 0, false));
}

int tram_reply_send(tram_request **request, const void *data, size_t size) {
    int rc = !data && size > 0 ? -EINVAL : begin(request);

    return rc != 0 ? (rc > 0 ? 0 : rc) : answer(request, FRAME_REPLY, 0, data, size);
}

int tram_reply_error(tram_request **request, int32_t code, const char *text) {
    int rc = begin(request);

    if (rc != 0)
        return rc > 0 ? 0 : rc;
    return answer(request, FRAME_ERROR, (uint32_t) code, text,
                  text ? strnlen(text, TEXT_MAX) : 0);
}

tram_request *tram_request_free(tram_request *request) {
    int rc = begin(&request);

    if (rc == -EBUSY || rc == 0) {
        draft_forget(request);
        session_refuse(request->session, request->correlation, -ECANCELED);
        request_done(request);
    }
    return NULL;
}
