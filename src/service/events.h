/* SPDX-License-Identifier: MIT
 *
 * What the rest of the layer asks of events (publish.c, subscribe.c, cache.c).
 */
#pragma once

#include "service/service.h"

/* FRAME_SUBSCRIBE, _UNSUBSCRIBE, _NEWS, _GET, _SET at a server; _SUBSCRIBED, _EVENT, _NEWS at a
 * client. */
void events_at_server(tram_session *session, struct inbound *in);
void events_at_client(tram_session *session, struct inbound *in);

/* A client's session has a server (again): subscribe, what was subscribed before as well. */
void events_session_ready(tram_session *session);
/* A session ends: forget what it has subscribed, or what is subscribed through it. */
void events_session_gone(tram_session *session);

/* There is room in its link again. */
void events_session_space(tram_session *session);
/* A blocking call is over: tell what had to wait. */
void events_after_pump(struct endpoint *endpoint);

/* The endpoints go. */
void events_server_gone(tram_server *server);
void events_client_gone(tram_client *client);
