/* SPDX-License-Identifier: MIT
 *
 * Control frames. They must not be lost because a ring is full at the moment: they wait in a queue
 * of the session, bounded, in their order. A session whose queue overflows has a peer that has not
 * read for long, and asks for more all the time: it is ended.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/service.h"

struct control {
    struct control *next;
    struct frame frame;
    uint32_t code;
    size_t size;
    char data[];
};

static int put(tram_session *session, const struct frame *frame, uint32_t code, const void *data,
               size_t size) {
    union {
        const void *from;
        void *base;
    } payload = {data}; /* struct iovec has no const */
    struct iovec piece = {payload.base, size};

    return session->link->ops->send(session->link, frame, code, &piece, size > 0, false);
}

static int keep(tram_session *session, const struct frame *frame, uint32_t code, const void *data,
                size_t size) {
    struct control *control;

    if (session->controls >= CONTROLS_MAX || *session_unsent(session) + size > UNSENT_MAX)
        return -ENOBUFS;
    control = malloc(sizeof(*control) + size);
    if (!control)
        return -ENOMEM;
    control->next = NULL;
    control->frame = *frame;
    control->code = code;
    control->size = size;
    if (size > 0)
        memcpy(control->data, data, size);
    *session->control_end = control;
    session->control_end = &control->next;
    session->controls++;
    session_waits(session, (int64_t) (sizeof(*control) + size));
    return 0;
}

void session_control(tram_session *session, struct frame frame, uint32_t code, const void *data,
                     size_t size) {
    int rc = -EAGAIN;

    if (session->state == SESSION_DEAD)
        return;
    if (!session->control)
        rc = put(session, &frame, code, data, size);
    if (rc == -EAGAIN)
        rc = keep(session, &frame, code, data, size);
    if (rc < 0 && session->link->ops->keeps)
        session->broken = true; /* ended where no list is being walked */
    if (session->broken)
        worker_defer(session->endpoint->worker, &session->endpoint->notice);
}

bool control_flush(tram_session *session) {
    struct control *control;

    while ((control = session->control)) {
        int rc = put(session, &control->frame, control->code, control->data, control->size);

        if (rc == -EAGAIN)
            return false;
        session->control = control->next;
        if (!session->control)
            session->control_end = &session->control;
        session->controls--;
        session_waits(session, -(int64_t) (sizeof(*control) + control->size));
        free(control);
    }
    return true;
}

void control_drop(tram_session *session) {
    struct control *control;

    while ((control = session->control)) {
        session->control = control->next;
        session_waits(session, -(int64_t) (sizeof(*control) + control->size));
        free(control);
    }
    session->control_end = &session->control;
    session->controls = 0;
}

void session_refuse(tram_session *session, uint64_t correlation, int error) {
    struct frame frame = session_frame(session, FRAME_ERROR, correlation);

    frame.flags = FRAME_FAILED;
    session_control(session, frame, (uint32_t) error, NULL, 0);
}

int session_answer(tram_session *session, uint64_t correlation, int status, uint32_t code,
                   const void *data, size_t size) {
    struct frame frame = session_frame(session, FRAME_REPLY, correlation);

    if (session->state == SESSION_DEAD)
        return -ECONNRESET;
    if (status < 0) {
        session_refuse(session, correlation, status);
        return 0;
    }
    return put(session, &frame, code, data, size);
}
