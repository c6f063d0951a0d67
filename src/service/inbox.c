/* SPDX-License-Identifier: MIT
 *
 * What came for an endpoint while a blocking call of its was on the way, and has handlers of the
 * application: kept, and handed out in order when the call is over.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/client.h"
#include "service/server.h"
#include "service/service.h"

struct inbox_message {
    struct inbox_message *next;
    tram_session *session;
    struct inbound in;              /* frame.kind 0: its node, or connection, went */
    struct held held;
};

bool inbox_has(const struct endpoint *endpoint, const tram_session *session) {
    const struct inbox_message *message = endpoint->inbox;

    while (message && message->session != session)
        message = message->next;
    return message != NULL;
}

/* … of one that ends by this one's HELLO. */
static bool has_of_predecessor(const struct endpoint *endpoint, const tram_session *session) {
    const struct inbox_message *message = endpoint->inbox;

    while (message && !server_is_predecessor(message->session, session))
        message = message->next;
    return message != NULL;
}

/* Does the end of the session wait until its kept messages were handed out? A client's over shared
 * memory may come back meanwhile, and keeps them. */
static bool ends_later(const struct endpoint *endpoint, const tram_session *session) {
    return (endpoint->server || !session->link->ops->keeps) && inbox_has(endpoint, session);
}

/* Its end is kept: whoever waits for it need not wait so long, and a client may look for another
 * server. */
static void end_is_kept(struct endpoint *endpoint, tram_session *session, int status) {
    session->ending = true;
    if (endpoint->awaited && endpoint->awaited->session == session)
        call_end(endpoint->awaited, status);
    if (!endpoint->server) {
        client_session_gone(session);
        client_changed(client_of(endpoint));
    }
}

/* What the layer deals with itself, or what the blocking call waits for, is not kept; unless it
 * would overtake what is kept, and end that. SYNC is kept: what it asks for is in the inbox. */
static bool is_to_wait(struct endpoint *endpoint, const tram_session *session,
                       const struct inbound *in) {
    struct tram_call *call;

    switch (in->frame.kind) {
    case FRAME_HELLO:
        return has_of_predecessor(endpoint, session);
    case FRAME_BYE:
        return ends_later(endpoint, session);
    case FRAME_WELCOME:
    case FRAME_SYNCED:
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

static void append(struct endpoint *endpoint, struct inbox_message *message) {
    endpoint->service->waiting += message->in.size + sizeof(*message);
    *endpoint->inbox_end = message;
    endpoint->inbox_end = &message->next;
}

bool inbox_keep_end(struct endpoint *endpoint, tram_session *session) {
    struct inbox_message *message;

    if (!endpoint->service->pumping || !ends_later(endpoint, session) ||
        !(message = calloc(1, sizeof(*message))))
        return false;
    message->session = session;
    append(endpoint, message);
    end_is_kept(endpoint, session, -ECONNRESET);
    return true;
}

bool inbox_keep(struct endpoint *endpoint, tram_session *session, struct inbound *in) {
    struct inbox_message *message;

    if (!is_to_wait(endpoint, session, in))
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
    append(endpoint, message);
    if (in->frame.kind == FRAME_BYE)
        end_is_kept(endpoint, session,
                    in->frame.flags & FRAME_FAILED && !endpoint->server ? -ECONNREFUSED
                                                                        : -ECONNRESET);
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
        if (message->in.frame.kind == 0)
            session_down(message->session);
        else
            endpoint_frame(endpoint, message->session, &message->in);
        hold_release(&message->held); /* unless it was taken on */
        free(message);
    }
    if (!endpoint->inbox && !endpoint->dead)
        worker_defer(endpoint->worker, &endpoint->notice); /* what waited for that */
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
