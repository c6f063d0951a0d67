/* SPDX-License-Identifier: MIT
 *
 * Cached values, asked for and set: requests of their own kind, which the server answers itself.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/client.h"
#include "service/publish.h"

void values_get(tram_session *session, const struct inbound *in) {
    struct publisher *publisher = server_of(session->endpoint)->events;
    const struct cached_topic *topic = NULL;
    int rc;

    if (publisher)
        topic = cache_find(&publisher->cache, in->code, in->extra.topic);
    if (!topic || !topic->newest) {
        session_refuse(session, in->frame.correlation, -ENOENT);
        return;
    }
    rc = session_answer(session, in->frame.correlation, 0, in->code, topic->newest->data,
                        topic->newest->size);
    if (rc < 0) /* no room: a value may be large, and doesn't wait among control frames */
        session_refuse(session, in->frame.correlation, rc);
}

/* What the server has agreed to, it publishes: of a private copy, which the client can't change in
 * between. */
static int agree(tram_session *session, const struct inbound *in, const void *data) {
    tram_server *server = server_of(session->endpoint);
    struct tram_how how = TRAM_HOW_INIT;
    struct tram_view view;
    int rc;

    view_of(in, &view);
    view.data = data;
    trace_enter(trace_of(in));
    rc = server->handlers.on_set(server, session, &view, server->arg);
    trace_leave();
    if (rc != 0)
        return rc < 0 ? rc : -EINVAL;
    if (server->endpoint.dead)
        return -ECANCELED;
    how.topic = in->extra.topic;
    how.flags = TRAM_HOW_KEEP;
    return tram_server_publish(server, in->code, data, in->size, &how);
}

static int set(tram_session *session, const struct inbound *in) {
    void *copy;
    int rc;

    if (!server_of(session->endpoint)->handlers.on_set)
        return -EACCES;
    if (in->code == TRAM_ANY_EVENT)
        return -EINVAL;
    copy = malloc(in->size + 1);
    if (!copy)
        return -ENOMEM;
    memcpy(copy, in->data, in->size);
    rc = agree(session, in, copy);
    free(copy);
    return rc;
}

void values_set(tram_session *session, const struct inbound *in) {
    int rc = set(session, in);

    if (session->state == SESSION_DEAD)
        return;
    if (rc < 0)
        session_refuse(session, in->frame.correlation, rc);
    else
        session_control(session, session_frame(session, FRAME_REPLY, in->frame.correlation),
                        in->code, NULL, 0);
}

int tram_client_get(tram_client *client, uint32_t event, const struct tram_how *how,
                    tram_result_fn *fn, void *arg, tram_call **ret_call) {
    return client_ask(client, FRAME_GET, event, NULL, 0, how, fn, arg, ret_call);
}

int tram_client_set(tram_client *client, uint32_t event, const void *data, size_t size,
                    const struct tram_how *how, tram_result_fn *fn, void *arg,
                    tram_call **ret_call) {
    return client_ask(client, FRAME_SET, event, data, size, how, fn, arg, ret_call);
}
