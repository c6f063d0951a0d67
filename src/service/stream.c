/* SPDX-License-Identifier: MIT
 *
 * Streamed replies: parts, of which only so many may be under way as the asker gave credit for.
 */
#include <errno.h>

#include "service/client.h"
#include "service/server.h"
#include "service/service.h"

int tram_reply_part(tram_request *request, const void *data, size_t size) {
    union {
        const void *from;
        void *base;
    } payload = {data}; /* struct iovec has no const */
    struct iovec piece = {payload.base, size};
    tram_session *session;
    struct frame frame;
    int rc;

    if (!request || request->state == REQUEST_DONE || (!data && size > 0))
        return -EINVAL;
    rc = worker_check(request->service->worker);
    if (rc < 0)
        return rc;
    session = request->session;
    if (!session || session->state == SESSION_DEAD || request->over)
        return worker_fail(request->service->worker, -ECANCELED, "nobody waits for it any more");
    if (request->credit == 0) {
        request->wants_space = true;
        return -EAGAIN;
    }
    frame = session_frame(session, FRAME_PART, request->correlation);
    rc = session->link->ops->send(session->link, &frame, 0, &piece, size > 0, false);
    if (rc == -EHOSTUNREACH) /* its node went, and that was not told yet */
        return worker_fail(request->service->worker, -ECANCELED, "nobody waits for it any more");
    if (rc < 0)
        return session_full(session, rc);
    request->credit--;
    return 0;
}

void request_credit(tram_session *session, const struct inbound *in) {
    tram_request *request = request_find(session, in->frame.correlation);

    if (!request || in->code > WINDOW_MAX || request->credit > WINDOW_MAX)
        return;
    request->credit += in->code;
    if (!request->wants_space)
        return;
    request->wants_space = false;
    if (session->endpoint->server)
        server_space(session);
    else
        client_space(session);
}
