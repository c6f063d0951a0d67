/* SPDX-License-Identifier: MIT
 *
 * What came for an endpoint while a blocking call of its was on the way, and has handlers of the
 * application: kept, and handed out in order when the call is over.
 */
#include <stdlib.h>
#include <string.h>

#include "service/service.h"

struct inbox_message {
    struct inbox_message *next;
    tram_session *session;
    struct inbound in;
    struct held held;
};

/* What the layer deals with itself, or what the blocking call waits for, is not kept. SYNC is: what
 * it asks for is in the inbox, too. */
static bool has_handler(struct endpoint *endpoint, const struct inbound *in) {
    struct tram_call *call;

    switch (in->frame.kind) {
    case FRAME_HELLO:
    case FRAME_WELCOME:
    case FRAME_SYNCED:
    case FRAME_BYE:
    case FRAME_INSPECT:
        return false;
    case FRAME_REPLY:
    case FRAME_PART:
    case FRAME_ERROR:
        call = call_find(endpoint, in->frame.correlation);
        return call && call != endpoint->awaited;
    default:
        return true;
    }
}

bool inbox_keep(struct endpoint *endpoint, tram_session *session, struct inbound *in) {
    struct inbox_message *message;

    if (!has_handler(endpoint, in))
        return false;
    message = calloc(1, sizeof(*message));
    if (!message) {
        in->lost = true; /* to us, as if it had come and found no memory */
        return true;
    }
    message->session = session;
    message->in = *in;
    if (hold_take(&message->held, session, in, &message->in.data) < 0) {
        free(message);
        in->lost = true;
        return true;
    }
    endpoint->service->waiting += in->size + sizeof(*message);
    *endpoint->inbox_end = message;
    endpoint->inbox_end = &message->next;
    return true;
}

static struct inbox_message *first(struct endpoint *endpoint) {
    struct inbox_message *message = endpoint->inbox;

    endpoint->service->waiting -= message->in.size + sizeof(*message);
    endpoint->inbox = message->next;
    if (!endpoint->inbox)
        endpoint->inbox_end = &endpoint->inbox;
    return message;
}

void inbox_open(struct worker_deferred *deferred) {
    struct endpoint *endpoint = container_of(deferred, struct endpoint, inbox_defer);

    while (endpoint->inbox && !endpoint->service->pumping && !endpoint->dead) {
        struct inbox_message *message = first(endpoint);

        message->in.hold = &message->held;
        message->held.data = &message->in.data;
        message->in.kept = true;
        endpoint_frame(endpoint, message->session, &message->in);
        hold_release(&message->held); /* unless it was taken on */
        free(message);
    }
}

void inbox_list_answered(struct endpoint *endpoint, const tram_session *session) {
    for (struct inbox_message *m = endpoint->inbox; m; m = m->next) {
        bool ends = m->in.frame.kind == FRAME_REPLY || m->in.frame.kind == FRAME_ERROR;
        struct tram_call *call =
            ends && m->session == session ? call_find(endpoint, m->in.frame.correlation) : NULL;

        if (call && call->session == session)
            call->listed = true;
    }
}

void inbox_drop(struct endpoint *endpoint, tram_session *session) {
    struct inbox_message **link = &endpoint->inbox;

    while (*link) {
        struct inbox_message *message = *link;

        if (session && message->session != session) {
            link = &message->next;
            continue;
        }
        endpoint->service->waiting -= message->in.size + sizeof(*message);
        *link = message->next;
        hold_release(&message->held);
        free(message);
    }
    endpoint->inbox_end = link;
}
