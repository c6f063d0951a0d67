/* SPDX-License-Identifier: MIT
 *
 * Handing over: a server that drains gives its name up, takes nothing new, and ends when what it
 * has in hand is answered. What comes meanwhile is kept in hand and never released, so that it
 * stays in its ring: for the next process of this node, or for the next server of that name on this
 * worker. Over sockets it is refused as not executed.
 *
 * What is in hand holds up its channel in the end, and with it answers that the last requests may
 * wait for. So when as much has passed behind the oldest as hold.c lets pass, all questions of that
 * node are given back, in their order, and so are those that come then: refused as not executed,
 * and with what they said, so that a client which waits for servers asks the successor (queue.c).
 * What was said one-way was accepted, and nobody would hear that it is lost: that is handed to the
 * server that drains, after all. It leaves nothing in hand. So is a question that was in the hand
 * of an earlier process, which may have executed it: it has to come marked, and there are no more
 * of them than that one had in hand.
 *
 * The rest (HELLO, SYNC, SUBSCRIBE), and what nobody can be handed now, is copied out when it is
 * too old: for a server that follows on this worker. To another process the clients say it again,
 * when they see that this one is gone.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/server.h"

#define GOODBYE_NS      INT64_C(1000000000)
#define GOODBYE_LOOK_NS INT64_C(2000000)
#define COPIED_MAX      4096u /* messages of a node that wait outside of its ring */

/* Messages for a server that this worker has not any more, in their order. */
struct orphan {
    struct orphan *next;
    uint32_t port;
    bool copied;    /* out of its ring */
    struct worker_message *message;
    struct neighbour *neighbour;
    uint64_t bytes; /* that had come from there */
};

static void orphan_free(struct service *service, struct orphan *orphan) {
    orphan->neighbour->copied -= orphan->copied;
    neighbour_put(service, orphan->neighbour);
    free(orphan);
}

static struct frame frame_of(const struct tram_msg *msg) {
    struct frame frame;

    memcpy(&frame, msg->layer, sizeof(frame));
    return frame;
}

/* Who says HELLO or SYNC again need not be heard twice: a client that waits says it each second. */
static bool is_said_again(const struct orphan *orphan, const struct tram_msg *msg) {
    struct frame before = frame_of(&orphan->message->msg), now = frame_of(msg);

    return (now.kind == FRAME_HELLO || now.kind == FRAME_SYNC) && before.kind == now.kind &&
           orphan->message->msg.from == msg->from && before.port == now.port &&
           before.correlation >> 32 == now.correlation >> 32;
}

/* Keep it, behind the others. False: there is no memory. */
static bool adopt(struct service *service, uint32_t port, struct worker_message *message,
                  struct neighbour *neighbour) {
    struct orphan **end = &service->orphans;
    struct orphan *orphan = calloc(1, sizeof(*orphan));

    if (!orphan)
        return false;
    orphan->message = worker_take(message);
    if (!orphan->message) {
        free(orphan);
        return false;
    }
    orphan->port = port;
    orphan->neighbour = neighbour;
    orphan->bytes = neighbour->bytes;
    while (*end) {
        struct orphan *other = *end;

        if (!is_said_again(other, &orphan->message->msg)) {
            end = &other->next;
            continue;
        }
        *end = other->next;
        (void) worker_release(other->message);
        orphan_free(service, other);
    }
    *end = orphan;
    return true;
}

/* Out of the ring, and then back to who asked: if this process is killed in between, the end of the
 * question is unknown. The other way round its successor would execute what is asked again. False:
 * there is no memory, and it stays. */
static bool give_back(struct service *service, const struct orphan *orphan) {
    struct tram_msg msg = orphan->message->msg;
    void *copy = malloc(msg.size ? msg.size : 1);

    if (!copy)
        return false;
    memcpy(copy, msg.data, msg.size);
    msg.data = copy;
    worker_settle(service->worker); /* or it would leave with the end of the turn */
    (void) worker_release(orphan->message);
    service_refuse(service->worker, &msg);
    free(copy);
    return true;
}

/* Need it not wait for a successor? One-way messages, and questions that come again. */
static bool may_be_handed_on(const struct tram_msg *msg) {
    struct frame frame = frame_of(msg);

    return frame.kind == FRAME_ONEWAY || (service_refuses(&frame) && msg->attempt > 1);
}

/* The server that drains, and takes this one after all. NULL: it ended. */
static struct endpoint *taker(struct service *service, const struct orphan *orphan) {
    bool question = orphan->message->msg.layer[offsetof(struct frame, kind)] != FRAME_ONEWAY;
    struct endpoint *endpoint = service->endpoints;

    while (endpoint && (!endpoint->draining || endpoint->dead ||
                        endpoint->port.port != orphan->port ||
                        (question && server_of(endpoint)->drain_told)))
        endpoint = endpoint->next;
    return endpoint;
}

/* Out of its ring, which it would stop, for a server that follows on this worker. Without memory it
 * stays; the next message tries again. */
static void copy_out(struct orphan *orphan) {
    if (orphan->copied || orphan->neighbour->copied >= COPIED_MAX)
        return;
    orphan->copied = worker_copy(orphan->message);
    orphan->neighbour->copied += orphan->copied;
}

void drain_passed(struct service *service, struct neighbour *neighbour, uint64_t seq) {
    struct orphan **link = &service->orphans;

    while (*link) {
        struct orphan *orphan = *link;
        const struct tram_msg *msg = &orphan->message->msg;
        struct frame frame = frame_of(msg);
        bool old;

        if (orphan->neighbour != neighbour) {
            link = &orphan->next;
            continue;
        }
        old = hold_is_old(neighbour, msg->seq, orphan->bytes, seq);
        if (!neighbour->returning && !old)
            return;
        neighbour->returning = true;
        if (service_refuses(&frame) && msg->attempt == 1) {
            if (!give_back(service, orphan))
                return;
            *link = orphan->next;
            orphan_free(service, orphan);
            continue;
        }
        if (may_be_handed_on(msg) && !service->pumping && taker(service, orphan))
            worker_defer(service->worker, &service->drain_defer);
        else if (old)
            copy_out(orphan);
        link = &orphan->next;
    }
}

/* The first that need not wait for a successor, out of the list. */
static struct worker_message *take_first(struct service *service, struct endpoint **ret_to) {
    struct worker_message *message;
    struct orphan **link, *orphan;

    for (link = &service->orphans; (orphan = *link); link = &orphan->next)
        if (orphan->neighbour->returning && may_be_handed_on(&orphan->message->msg) &&
            (*ret_to = taker(service, orphan)))
            break;
    if (!orphan)
        return NULL;
    message = orphan->message;
    *link = orphan->next;
    orphan_free(service, orphan);
    return message;
}

void drain_hand_on(struct worker_deferred *deferred) {
    struct service *service = container_of(deferred, struct service, drain_defer);
    struct worker_message *message;
    struct endpoint *endpoint;

    while (!service->pumping && (message = take_first(service, &endpoint))) {
        message->taken = false;
        link_shm_message(&endpoint->port, message);
        worker_handed_on(message);
    }
}

static void drain_message(struct worker_port *port, struct worker_message *message) {
    struct endpoint *endpoint = container_of(port, struct endpoint, port);
    struct service *service = endpoint->service;
    const struct tram_msg *msg = &message->msg;
    struct neighbour *neighbour;
    struct frame frame = frame_of(msg);

    if (frame.kind != FRAME_REQUEST && frame.kind != FRAME_ONEWAY && frame.kind != FRAME_HELLO &&
        frame.kind != FRAME_SYNC && frame.kind != FRAME_SUBSCRIBE && frame.kind != FRAME_GET &&
        frame.kind != FRAME_SET) {
        link_shm_message(port, message);
        return;
    }
    neighbour = neighbour_get(service, msg->from);
    if (!neighbour)
        return; /* nothing can be kept: it goes unanswered, and ends by its time-out */
    neighbour->users++;
    if (!adopt(service, port->port, message, neighbour))
        neighbour->users--;
    hold_passed(service, neighbour, msg->seq, msg->size);
    neighbour_put(service, neighbour);
}

/* Over a socket there is no successor on the same connection: not executed. Through shared memory
 * only what drain_hand_on() hands on comes here. */
bool drain_keep(tram_session *session, struct inbound *in) {
    if (session->link->ops->keeps)
        return false;
    if (in->frame.kind == FRAME_REQUEST)
        session_refuse(session, in->frame.correlation, -ECONNREFUSED);
    in->lost = true;
    return true;
}

void drain_check(struct endpoint *endpoint) {
    if (endpoint->draining && endpoint->in_hand == 0 && !endpoint->dead)
        worker_defer(endpoint->worker, &server_of(endpoint)->drain_defer);
}

static void on_drain_timer(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    tram_server *server = arg;

    (void) timer;
    (void) late_ns;
    (void) missed;
    worker_defer(server->endpoint.worker, &server->drain_defer);
}

/* Answers, and that it was all, have to leave this process; and so does what is given back, which
 * isn't in the ring any more. A client that doesn't read them holds the end up for GOODBYE_NS.
 * True: wait. */
static bool last_words_wait(tram_server *server) {
    tram_worker *worker = server->endpoint.worker;
    bool waits = server->endpoint.service->farewells != NULL;
    tram_session *session;

    for (session = server->endpoint.sessions; session; session = session->next) {
        if (session->link->ops->keeps)
            continue;
        if (!server->said_goodbye)
            server_goodbye(session);
        waits |= session->link->ops->waiting(session->link) > 0;
    }
    if (!server->said_goodbye)
        server->drain_until = worker_now(worker) + GOODBYE_NS;
    server->said_goodbye = true;
    if (!waits || worker_now(worker) >= server->drain_until)
        return false;
    if (!server->drain_timer &&
        worker_inner_timer(worker, on_drain_timer, server, &server->drain_timer) < 0)
        return false;
    return tram_timer_set(server->drain_timer, GOODBYE_LOOK_NS, 0) == 0;
}

void server_drained(struct worker_deferred *deferred) {
    tram_server *server = container_of(deferred, tram_server, drain_defer);

    if (server->endpoint.dead || server->drain_told || server->endpoint.in_hand > 0)
        return;
    if (server->endpoint.service->pumping)
        return; /* the handler that waits has one in hand, or asks itself */
    if (last_words_wait(server))
        return;
    server->drain_told = true;
    worker_settle(server->endpoint.worker); /* answers: before it goes */
    if (server->drained)
        server->drained(server, server->arg);
}

int tram_server_drain(tram_server *server, void (*done)(tram_server *server, void *arg)) {
    int rc = server ? worker_check(server->endpoint.worker) : -EINVAL;

    if (rc < 0)
        return rc;
    if (server->endpoint.dead)
        return -EINVAL;
    server->drained = done;
    if (!server->endpoint.draining) {
        server->endpoint.draining = true;
        server->endpoint.port.on_message = drain_message;
        names_unbind(&server->binding);
        server_listen_no_more(server);
    }
    server->drain_told = false;
    drain_check(&server->endpoint);
    return 0;
}

void drain_inherit(struct endpoint *endpoint) {
    struct orphan **link = &endpoint->service->orphans;

    for (struct neighbour *n = endpoint->service->neighbours; n; n = n->next)
        n->returning = false;
    while (*link) {
        struct orphan *orphan = *link;

        if (orphan->port != endpoint->port.port) {
            link = &orphan->next;
            continue;
        }
        *link = orphan->next;
        worker_hand_back(orphan->message); /* comes with the next turn, in order */
        orphan_free(endpoint->service, orphan);
    }
}

/* Not released: they come again, to the next process of this node. */
void drain_forget(struct service *service) {
    struct orphan *orphan;

    while ((orphan = service->orphans)) {
        service->orphans = orphan->next;
        worker_hand_back(orphan->message);
        orphan_free(service, orphan);
    }
}
