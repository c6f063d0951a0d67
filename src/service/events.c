/* SPDX-License-Identifier: MIT
 *
 * Where events come into the layer: who asks for them is refused as long as nobody has any.
 */
#include "service/events.h"

#include <errno.h>

#include "service/draft.h"

void events_at_server(tram_session *session, struct inbound *in) {
    session_refuse(session, in->frame.correlation, -EOPNOTSUPP);
}

void events_at_client(tram_session *session, struct inbound *in) {
    (void) in;
    session->endpoint->nonsense++;
}

void events_session_ready(tram_session *session) {
    (void) session;
}

void events_session_gone(tram_session *session) {
    (void) session;
}

void events_server_gone(tram_server *server) {
    (void) server;
}

void events_client_gone(tram_client *client) {
    (void) client;
}

tram_draft *draft_event_free(tram_draft *draft) {
    (void) draft;
    return NULL;
}
