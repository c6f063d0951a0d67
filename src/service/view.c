/* SPDX-License-Identifier: MIT
 *
 * What the application sees of a message that came, and what it says of one that goes.
 */
#include <errno.h>
#include <string.h>

#include "service/service.h"

#define KNOWN_HOW                                                                                  \
    (TRAM_HOW_MORE | TRAM_HOW_WAIT | TRAM_HOW_NO_WAIT | TRAM_HOW_KEEP | TRAM_HOW_CHANGED)

void view_of(const struct inbound *in, struct tram_view *ret_view) {
    ret_view->data = in->data;
    ret_view->size = in->size;
    ret_view->code = in->code;
    ret_view->attempt = in->attempt;
    ret_view->topic = in->extra.topic;
    ret_view->deadline_ns = in->extra.deadline == INT64_MAX ? TRAM_FOREVER : in->extra.deadline;
    ret_view->time_ns = in->time_ns;
    ret_view->missed = 0;
    ret_view->from = in->from;
    ret_view->flags = in->frame.flags & FRAME_INITIAL ? TRAM_VIEW_INITIAL : 0;
    memcpy(ret_view->trace, in->extra.trace, sizeof(ret_view->trace));
}

static int with_how(struct sending *sending, const struct tram_how *how) {
    size_t topic;

    if (how->struct_size < sizeof(*how) || how->flags & ~KNOWN_HOW || how->timeout_ns < -1 ||
        how->window > WINDOW_MAX)
        return -EINVAL;
    sending->more = how->flags & TRAM_HOW_MORE;
    sending->named = how->instance != NULL;
    sending->key = how->key;
    if (how->topic && (topic = strlen(how->topic)) > 0) {
        if (topic > 255)
            return -EINVAL;
        sending->frame.flags |= FRAME_TOPIC;
        sending->extra.topic_size = (uint8_t) topic;
        memcpy(sending->extra.topic, how->topic, topic + 1);
    }
    if (how->window > 0) {
        sending->frame.flags |= FRAME_WINDOW;
        sending->extra.window = how->window;
    }
    return 0;
}

int sending_init(struct sending *sending, struct service *service, enum frame_kind kind,
                 uint32_t code, const void *data, size_t size, const struct tram_how *how) {
    bool ask = kind != FRAME_ONEWAY && kind != FRAME_EVENT;
    const uint8_t *trace;

    sending->frame = (struct frame){.kind = (uint8_t) kind};
    sending->extra.window = 0;
    sending->extra.topic_size = 0;
    sending->code = code;
    sending->data = data;
    sending->size = size;
    sending->more = sending->named = false;
    sending->key = 0;
    if (!data && size > 0)
        return -EINVAL;
    if (how && with_how(sending, how) < 0)
        return -EINVAL;
    sending->extra.deadline = service_deadline(service, how ? how->timeout_ns : 0,
                                               ask ? DEFAULT_TIMEOUT_NS : TRAM_FOREVER);
    if (sending->extra.deadline != INT64_MAX)
        sending->frame.flags |= FRAME_DEADLINE;
    trace = how && how->trace ? how->trace : trace_current();
    if (trace) {
        sending->frame.flags |= FRAME_TRACE;
        memcpy(sending->extra.trace, trace, sizeof(sending->extra.trace));
    }
    return 0;
}

int sending_send(struct sending *sending, tram_session *session, uint64_t correlation) {
    union {
        const void *from;
        void *base;
    } payload = {sending->data}; /* struct iovec has no const */
    uint8_t extra[FRAME_EXTRA_MAX];
    struct iovec pieces[2];
    int count = 0;

    sending->frame.port = session->peer_port;
    sending->frame.correlation = correlation;
    sending->frame.extra = 0;
    if (sending->frame.flags) {
        frame_extra_write(&sending->frame, &sending->extra, extra);
        pieces[count++] = (struct iovec){extra, sending->frame.extra};
    }
    if (sending->size > 0)
        pieces[count++] = (struct iovec){payload.base, sending->size};
    return session_full(session, session->link->ops->send(session->link, &sending->frame,
                                                          sending->code, pieces, count,
                                                          sending->more));
}
