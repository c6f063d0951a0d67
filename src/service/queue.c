/* SPDX-License-Identifier: MIT
 *
 * Messages of a client that wait for a server: because the client said so, or because it is not
 * known yet whether there is one. Bounded by queue_max; they go in their order. What a server gave
 * back that hands over goes first, and was accepted, so that it has room whatever there is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/client.h"

#define OVERHEAD sizeof(struct queued)

bool client_waits(const tram_client *client, const struct tram_how *how) {
    if (how && how->flags & (TRAM_HOW_WAIT | TRAM_HOW_NO_WAIT))
        return how->flags & TRAM_HOW_WAIT;
    return client->flags & TRAM_CLIENT_WAIT;
}

int queue_put(tram_client *client, const struct sending *sending, const struct tram_how *how,
              tram_call *call) {
    size_t size = OVERHEAD + sending->size;
    struct queued *queued;

    if (sending->size > client->queue_max || client->queued_bytes > client->queue_max ||
        size > client->queue_max - client->queued_bytes) {
        if (client->queued_bytes == 0)
            return worker_fail(client->endpoint.worker, -EMSGSIZE, "larger than queue_max");
        client->wants_space = true;
        return worker_fail(client->endpoint.worker, -EAGAIN, "queue_max bytes wait for a server");
    }
    queued = malloc(sizeof(*queued) + sending->size);
    if (!queued)
        return worker_fail(client->endpoint.worker, -ENOMEM, "no memory for a message that waits");
    *queued = (struct queued){.client = client,
                              .call = call,
                              .waits = client_waits(client, how),
                              .key = how ? how->key : 0,
                              .frame = sending->frame,
                              .extra = sending->extra,
                              .code = sending->code,
                              .size = sending->size};
    if (how && how->instance && !(queued->instance = strdup(how->instance))) {
        free(queued);
        return worker_fail(client->endpoint.worker, -ENOMEM, "no memory for a message that waits");
    }
    if (sending->size > 0)
        memcpy(queued->data, sending->data, sending->size);
    queued->link = client->queue_end;
    *client->queue_end = queued;
    client->queue_end = &queued->next;
    client->queued_bytes += size;
    if (call)
        call->queued = queued;
    worker_defer(client->endpoint.worker, &client->flush_defer);
    return 0;
}

void client_unqueue(struct queued *queued) {
    tram_client *client = queued->client;

    *queued->link = queued->next;
    if (queued->next)
        queued->next->link = queued->link;
    else
        client->queue_end = queued->link;
    client->queued_bytes -= OVERHEAD + queued->size;
    if (client->wants_space) {
        client->has_space = true;
        worker_defer(client->endpoint.worker, &client->flush_defer); /* which tells */
    }
    if (queued->call)
        queued->call->queued = NULL;
    free(queued->instance);
    free(queued);
}

/* What was asked is in what was given back, which *session's other side wrote. */
static struct queued *read_returned(tram_client *client, const struct tram_call *call,
                                    const struct inbound *in) {
    const char *body = (const char *) in->data + sizeof(struct returned);
    uint8_t extra[FRAME_EXTRA_MAX];
    struct returned head;
    struct queued *queued;
    size_t size;

    if (in->size < sizeof(head))
        return NULL;
    memcpy(&head, in->data, sizeof(head));
    size = in->size - sizeof(head);
    if (!service_refuses(&head.frame) || head.frame.correlation != call_correlation(call) ||
        head.frame.extra > size || head.frame.extra > sizeof(extra) ||
        !(queued = malloc(sizeof(*queued) + size)))
        return NULL;
    memcpy(extra, body, head.frame.extra);
    if (frame_read(&head.frame, extra, size, &queued->extra) < 0) {
        free(queued);
        return NULL;
    }
    queued->client = client;
    queued->waits = true;
    queued->returned = true;
    queued->key = call->key;
    queued->instance = NULL;
    queued->frame = head.frame;
    queued->code = head.code;
    queued->size = size - head.frame.extra;
    memcpy(queued->data, body + head.frame.extra, queued->size);
    return queued;
}

bool queue_take_back(tram_client *client, tram_call *call, const struct inbound *in) {
    const struct target *target = call->session->target;
    struct queued *queued = read_returned(client, call, in);
    struct queued **link = &client->queue;

    if (!queued)
        return false;
    if (call->named && target && !(queued->instance = strdup(target->instance))) {
        free(queued);
        return false;
    }
    while (*link && (*link)->returned)
        link = &(*link)->next;
    queued->next = *link;
    queued->link = link;
    if (queued->next)
        queued->next->link = &queued->next;
    else
        client->queue_end = &queued->next;
    *link = queued;
    client->queued_bytes += OVERHEAD + queued->size;
    queued->call = call;
    call->queued = queued;
    call->state = CALL_QUEUED;
    call->listed = call->before_sync = false;
    call->session->calls--;
    client_turned_away(call->session);
    call->session = NULL;
    worker_defer(client->endpoint.worker, &client->flush_defer);
    return true;
}

/* Its time to live was over before there was anybody to send it to. */
static bool too_late(const struct queued *queued) {
    return !queued->call && queued->extra.deadline != INT64_MAX &&
           worker_now(queued->client->endpoint.worker) >= queued->extra.deadline;
}

/* A one-way message was accepted: whatever keeps it from going passes, or is told. A server that is
 * not there may come, a connection be made anew; what is larger than the ring may be is counted. */
static int oneway_kept(const struct queued *queued, tram_session *session, int rc) {
    if (rc == -EMSGSIZE) {
        (void) worker_fail(queued->client->endpoint.worker, rc,
                           "a one-way message of %zu bytes that waited for a server is larger than "
                           "the way to it takes", queued->size);
        session->party.unknown++;
        return 0;
    }
    return rc == 0 ? 0 : 1; /* it is tried again when something changes */
}

/* 0: it went, or ended. 1: it waits on. -EAGAIN: no room. */
static int try_one(struct queued *queued) {
    tram_client *client = queued->client;
    tram_call *call = queued->call;
    tram_session *session = NULL;
    struct sending sending;
    int rc;

    do {
        rc = client_pick(client, queued->instance, queued->key, queued->waits, &session);
        if (rc == 0 && call && call->reply && session_is_own(session))
            rc = -EDEADLK; /* it would wait for itself, as is known only now */
        if (rc == 0 && !too_late(queued)) {
            sending.frame = queued->frame;
            sending.extra = queued->extra;
            sending.code = queued->code;
            sending.data = queued->data;
            sending.size = queued->size;
            sending.more = true;
            rc = sending_send(&sending, session,
                              call ? call_correlation(call) : session_own(session));
        }
    } while (client_unreachable(session, rc));
    if (rc == -EAGAIN || service_retries(client->endpoint.service, rc))
        return -EAGAIN;
    if (!call && rc != 1)
        rc = oneway_kept(queued, session, rc);
    if (rc == 1)
        return rc;
    client_unqueue(queued);
    if (call && rc == 0)
        call_sent(call, session);
    else if (call)
        call_end(call, rc);
    return 0;
}

void queue_flush(tram_client *client) {
    struct queued *queued = client->queue;
    bool any = false;

    while (queued && !client->endpoint.dead) {
        int rc = try_one(queued);

        if (rc == -EAGAIN)
            break;
        if (rc == 0) { /* a handler may have changed anything */
            any = true;
            queued = client->queue;
        } else {
            queued = queued->next;
        }
    }
    if (any)
        (void) tram_flush(tram_worker_node(client->endpoint.worker)); /* said by the next send */
    if (client->has_space && !client->endpoint.dead && !client->endpoint.service->pumping) {
        client->wants_space = client->has_space = false;
        client_has_space(client);
    }
}

bool queue_has(tram_client *client, const tram_session *session) {
    for (const struct queued *queued = client->queue; queued; queued = queued->next) {
        tram_session *its;

        if (client_pick(client, queued->instance, queued->key, true, &its) == 0 && its == session)
            return true;
    }
    return false;
}

void queue_drop(tram_client *client) {
    while (client->queue)
        client_unqueue(client->queue);
}
