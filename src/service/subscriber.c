/* SPDX-License-Identifier: MIT
 *
 * Who has subscribed at a server, and what it is sent.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/publish.h"
#include "service/service.h"

bool subscriber_wants(const struct subscriber *subscriber, uint32_t event, const char *topic) {
    if (subscriber->event != TRAM_ANY_EVENT && subscriber->event != event)
        return false;
    return topic_fits(subscriber->topic, topic);
}

/* ---- messages -------------------------------------------------------------------------------- */

static int send_now(struct subscriber *subscriber, const struct frame *frame, uint32_t code,
                    const void *extra, const void *data, size_t size) {
    struct link *link = subscriber->session->link;
    union {
        const void *from;
        void *base;
    } first = {extra}, second = {data}; /* struct iovec has no const */
    struct iovec pieces[2];
    int count = 0;

    if (frame->extra > 0)
        pieces[count++] = (struct iovec){first.base, frame->extra};
    if (size > 0)
        pieces[count++] = (struct iovec){second.base, size};
    return link->ops->send(link, frame, code, pieces, count, false);
}

static int keep(struct subscriber *subscriber, const struct frame *frame, uint32_t code,
                const void *extra, const void *data, size_t size) {
    struct backlog *waits = *session_unsent(subscriber->session) + size > UNSENT_MAX
                                ? NULL /* with all that it has subscribed to */
                                : malloc(sizeof(*waits) + frame->extra + size);

    if (!waits)
        return -ENOMEM;
    waits->next = NULL;
    waits->frame = *frame;
    waits->code = code;
    waits->size = frame->extra + size;
    if (frame->extra > 0)
        memcpy(waits->data, extra, frame->extra);
    if (size > 0)
        memcpy(waits->data + frame->extra, data, size);
    *subscriber->end = waits;
    subscriber->end = &waits->next;
    subscriber->bytes += waits->size;
    session_waits(subscriber->session, (int64_t) (sizeof(*waits) + waits->size));
    return 0;
}

static void drop_oldest(struct subscriber *subscriber) {
    struct backlog *waits = subscriber->first;

    subscriber->first = waits->next;
    if (!subscriber->first)
        subscriber->end = &subscriber->first;
    subscriber->bytes -= waits->size;
    session_waits(subscriber->session, -(int64_t) (sizeof(*waits) + waits->size));
    free(waits);
}

void subscriber_drop_backlog(struct subscriber *subscriber) {
    while (subscriber->first)
        drop_oldest(subscriber);
}

void subscriber_flush(struct subscriber *subscriber) {
    struct backlog *waits;

    while (subscriber->session && (waits = subscriber->first)) {
        int rc = send_now(subscriber, &waits->frame, waits->code, waits->data,
                          waits->data + waits->frame.extra, waits->size - waits->frame.extra);

        if (rc == -EAGAIN)
            return;
        drop_oldest(subscriber); /* any other error ends the session, and is told there */
    }
    if (subscriber->session && subscriber->leaves)
        subscriber_relay(subscriber);
}

bool subscriber_has_room(const struct subscriber *subscriber, uint64_t size) {
    if (subscriber->session && *session_unsent(subscriber->session) + size > UNSENT_MAX)
        return false;
    return subscriber->bytes == 0 || subscriber->bytes + size <= BACKLOG_MAX;
}

int subscriber_put(struct subscriber *subscriber, const struct frame *frame, uint32_t code,
                   const void *extra, const void *data, size_t size) {
    int rc = -EAGAIN;

    if (!subscriber->first)
        rc = send_now(subscriber, frame, code, extra, data, size);
    return rc == -EAGAIN ? keep(subscriber, frame, code, extra, data, size) : rc;
}

/* How many were missed stands in the window field. */
static void with_missed(struct subscriber *subscriber, struct frame *frame, uint8_t *extra) {
    uint64_t missed = subscriber->missed;

    if (missed == 0)
        return;
    frame->flags |= FRAME_WINDOW; /* the last of the fields */
    memcpy(extra + frame->extra, &missed, sizeof(missed));
    frame->extra = (uint16_t) (frame->extra + sizeof(missed));
}

void subscriber_send(struct subscriber *subscriber, const struct event *event) {
    struct frame frame = event->frame;
    uint8_t extra[FRAME_EXTRA_MAX];

    if (subscriber->delivery == TRAM_DELIVER_LAST)
        while (subscriber->first) {
            drop_oldest(subscriber);
            subscriber->missed++;
        }
    if (frame.extra > 0)
        memcpy(extra, event->extra, frame.extra);
    with_missed(subscriber, &frame, extra);
    frame.port = subscriber->session->peer_port;
    frame.correlation = session_own(subscriber->session) | subscriber->number;
    if (subscriber->first && !subscriber_has_room(subscriber, event->size)) {
        subscriber->missed++;
        return;
    }
    if (subscriber_put(subscriber, &frame, event->code, extra, event->data, event->size) < 0) {
        subscriber->missed++;
        return;
    }
    subscriber->missed = 0;
    subscriber->session->events_ever++;
}

/* ---- the end --------------------------------------------------------------------------------- */

void subscriber_free(struct subscriber *subscriber) {
    struct publisher *publisher = subscriber->publisher;

    *subscriber->link = subscriber->next;
    if (subscriber->next)
        subscriber->next->link = subscriber->link;
    publisher->count--;
    if (subscriber->ring) {
        publisher->rings--;
        topic_file_close(&subscriber->reader);
    } else {
        publisher->messages--;
    }
    subscriber_drop_backlog(subscriber);
    ring_moved(publisher); /* it may have held it up */
    free(subscriber);
}

void subscriber_answer(tram_session *session, uint32_t number, const struct subscribed *said) {
    struct frame frame = session_frame(session, FRAME_SUBSCRIBED, session_own(session) | number);

    session_control(session, frame, 0, said, sizeof(*said));
}

void subscriber_cut(struct subscriber *subscriber, int status) {
    if (subscriber->session)
        subscriber_answer(subscriber->session, subscriber->number,
                          &(struct subscribed){.status = status});
    subscriber_free(subscriber);
}
