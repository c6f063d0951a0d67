/* SPDX-License-Identifier: MIT
 *
 * Where events come into the layer: what is told to an endpoint goes to its publisher (publish.c),
 * if it is a server, or to its subscriptions (subscribe.c).
 */
#include "service/events.h"

#include "service/publish.h"
#include "service/subscribe.h"

void events_at_server(tram_session *session, struct inbound *in) {
    struct publisher *publisher = server_of(session->endpoint)->events;

    switch (in->frame.kind) {
    case FRAME_SUBSCRIBE:
        subscriber_new(session, in);
        break;
    case FRAME_UNSUBSCRIBE:
        publish_unsubscribe(session, in);
        break;
    case FRAME_NEWS: /* a reader has read on */
        if (publisher)
            ring_moved(publisher);
        break;
    case FRAME_GET:
        values_get(session, in);
        break;
    case FRAME_SET:
        values_set(session, in);
        break;
    default:
        break;
    }
}

void events_at_client(tram_session *session, struct inbound *in) {
    subscribe_frame(session, in);
}

void events_session_ready(tram_session *session) {
    subscribe_session_ready(session);
}

void events_session_gone(tram_session *session) {
    if (session->endpoint->server)
        publish_session_gone(session);
    else
        subscribe_session_gone(session);
}

void events_session_space(tram_session *session) {
    if (session->endpoint->server)
        publish_session_space(session);
}

void events_after_pump(struct endpoint *endpoint) {
    if (endpoint->server)
        publish_after_pump(server_of(endpoint));
    else
        subscribe_after_pump(client_of(endpoint));
}
