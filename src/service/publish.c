/* SPDX-License-Identifier: MIT
 *
 * Publishing: to the ring, to those who get messages, and into the cache; all or none.
 */
#include "service/publish.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/events.h"
#include "service/service.h"
#include "sys/clock.h"

#define TOPICS_MAX       4096u
#define VALUES_MAX       1u
#define PATIENCE_DEFAULT INT64_C(1000000000)

struct publisher *publisher_get(tram_server *server) {
    struct publisher *publisher = server->events;
    const struct tram_server_options *options = &server->options;

    if (publisher)
        return publisher;
    publisher = calloc(1, sizeof(*publisher));
    if (!publisher || cache_init(&publisher->cache, options->cache ? options->cache : VALUES_MAX,
                                 options->topics_max ? options->topics_max : TOPICS_MAX) < 0) {
        free(publisher);
        (void) worker_fail(server->endpoint.worker, -ENOMEM, "no memory for events");
        return NULL;
    }
    publisher->server = server;
    publisher->dir = -1;
    server->events = publisher;
    ring_reopen(publisher);
    return publisher;
}

/* ---- patience -------------------------------------------------------------------------------- */

static void on_patience(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    struct publisher *publisher = arg;

    (void) timer;
    (void) late_ns;
    (void) missed;
    publisher->space_came = publisher->wants_space;
    ring_look_again(publisher);
}

bool publisher_waits(struct publisher *publisher) {
    tram_worker *worker = publisher->server->endpoint.worker;
    int64_t patience = publisher->server->options.patience_ns;
    int64_t now = (int64_t) sys_now(); /* not the turn's: who tries again and again in it waits */

    if (patience <= 0)
        patience = PATIENCE_DEFAULT;
    if (publisher->held_since != 0 && now - publisher->held_since >= patience)
        return false;
    publisher->wants_space = true;
    publisher->refused++;
    if (publisher->held_since != 0)
        return true;
    publisher->held_since = now;
    if (publisher->patience ||
        worker_inner_timer(worker, on_patience, publisher, &publisher->patience) == 0)
        (void) tram_timer_set(publisher->patience, patience, 0); /* else its next try finds out */
    return true;
}

void publisher_let_go(struct publisher *publisher) {
    publisher->held_since = 0;
    publisher->wants_space = publisher->space_came = false;
    if (publisher->has_ring)
        topic_tx_unwant(&publisher->tx);
    if (publisher->patience)
        (void) tram_timer_set(publisher->patience, TRAM_FOREVER, 0);
}

/* ---- one event ------------------------------------------------------------------------------- */

int event_init(struct event *event, struct sending *sending, struct service *service,
               uint32_t code, const void *data, size_t size, const struct tram_how *how) {
    int rc = code == TRAM_ANY_EVENT
                 ? -EINVAL
                 : sending_init(sending, service, FRAME_EVENT, code, data, size, how);

    if (rc < 0)
        return rc;
    event->frame = sending->frame;
    event->frame.flags &= (uint8_t) ~FRAME_WINDOW; /* on the way it says how many were missed */
    event->frame.extra = 0;
    event->code = code;
    sending->extra.topic[sending->extra.topic_size] = 0;
    event->topic = sending->extra.topic;
    event->data = data;
    event->size = size;
    event->more = sending->more;
    event->in_place = false;
    if (event->frame.flags)
        frame_extra_write(&event->frame, &sending->extra, event->extra);
    return 0;
}

/* Can all take it who get messages and must not miss any? */
static int messages_room(struct publisher *publisher, const struct event *event) {
    struct subscriber *at, *next;

    if (event->frame.extra + event->size > SOCKET_MAX - 8)
        return -EMSGSIZE;
    for (at = publisher->subscribers; at; at = next) {
        next = at->next;
        if (at->ring || at->delivery != TRAM_DELIVER_BLOCK ||
            !subscriber_wants(at, event->code, event->topic) ||
            subscriber_has_room(at, event->size))
            continue;
        if (publisher_waits(publisher))
            return -EAGAIN;
        subscriber_cut(at, -EPIPE);
    }
    return 0;
}

static int room_for_all(struct publisher *publisher, const struct event *event) {
    int rc = 0;

    if (publisher->draft && !event->in_place)
        return -EBUSY;
    if (publisher->messages > 0)
        rc = messages_room(publisher, event);
    if (rc == 0 && !event->in_place && ring_wanted(publisher))
        rc = ring_room(publisher, event->frame.extra + event->size);
    if (rc == 0)
        publisher_not_held(publisher);
    return rc;
}

static void send_messages(struct publisher *publisher, const struct event *event) {
    struct subscriber *at, *next;

    for (at = publisher->subscribers; at; at = next) {
        next = at->next;
        if (!at->ring && subscriber_wants(at, event->code, event->topic))
            subscriber_send(at, event);
    }
}

int publish_explain(tram_server *server, int rc) {
    tram_worker *worker = server->endpoint.worker;

    if (rc == -EAGAIN)
        return worker_fail(worker, rc, "a subscriber with back-pressure is too slow");
    if (rc == -EMSGSIZE)
        return worker_fail(worker, rc, "an event may have a quarter of the ring; see topic_ring");
    if (rc == -EBUSY)
        return worker_fail(worker, rc, "an event is being written in place");
    if (rc == -ENOSPC)
        return worker_fail(worker, rc, "as many topics are cached as topics_max allows");
    return worker_fail(worker, rc, "cannot publish: %s", strerror(-rc));
}

static void put(struct publisher *publisher, const struct event *event) {
    struct topic_record record = {
        .size = (uint32_t) (event->frame.extra + event->size),
        .code = event->code,
        .extra = event->frame.extra,
        .flags = event->frame.flags,
    };

    ring_put(publisher, &record, event->extra, event->in_place ? NULL : event->data, event->more);
}

int publish_event(struct publisher *publisher, struct event *event, uint32_t flags) {
    struct cached_topic *topic = NULL;
    struct cached *value = NULL;
    int rc;

    if (flags & TRAM_HOW_CHANGED) {
        topic = cache_find(&publisher->cache, event->code, event->topic);
        if (topic && cache_same(topic, event->data, event->size))
            return 1;
    }
    rc = room_for_all(publisher, event);
    if (rc == 0 && (flags & (TRAM_HOW_KEEP | TRAM_HOW_CHANGED)))
        rc = cache_prepare(&publisher->cache, event->code, event->topic, event->data, event->size,
                           &topic, &value);
    if (rc < 0)
        return rc;
    if (event->in_place || ring_wanted(publisher))
        put(publisher, event);
    if (publisher->messages > 0)
        send_messages(publisher, event);
    if (value)
        cache_put(&publisher->cache, topic, value, sys_wall());
    publisher->published++;
    return 0;
}

/* The short way: nothing but payload, for readers of the ring only. 1: it has to go the long
 * one. */
static int publish_plain(tram_server *server, uint32_t code, const void *data, size_t size,
                         const struct tram_how *how) {
    struct publisher *publisher = server->events;
    int rc;

    if (how && (how->struct_size < sizeof(*how) ||
                ((uintptr_t) how->topic | (uintptr_t) how->trace | (uint64_t) how->timeout_ns |
                 how->window | (how->flags & ~TRAM_HOW_MORE)) != 0))
        return 1;
    if (!publisher || publisher->messages > 0 || publisher->draft || !ring_wanted(publisher) ||
        code == TRAM_ANY_EVENT || (!data && size > 0) || (trace_on() && trace_current()))
        return 1;
    rc = ring_room(publisher, size);
    if (rc < 0 || !publisher->has_ring)
        return rc < 0 ? rc : 1;
    publisher_not_held(publisher);
    ring_plain(publisher, code, data, size, how && how->flags);
    publisher->published++;
    return 0;
}

/* The long way. Not inlined: what it needs of the stack, the short way would pay for. */
static __attribute__((noinline)) int publish_any(tram_server *server, uint32_t event_code,
                                                 const void *data, size_t size,
                                                 const struct tram_how *how) {
    struct publisher *publisher;
    struct sending sending;
    struct event event;
    int rc;

    if (server->endpoint.dead ||
        event_init(&event, &sending, server->endpoint.service, event_code, data, size, how) < 0)
        return worker_fail(server->endpoint.worker, -EINVAL, "an argument is out of its range");
    publisher = publisher_get(server);
    if (!publisher)
        return -ENOMEM;
    rc = publish_event(publisher, &event, how ? how->flags : 0);
    return rc < 0 ? publish_explain(server, rc) : 0;
}

int tram_server_publish(tram_server *server, uint32_t event_code, const void *data, size_t size,
                        const struct tram_how *how) {
    int rc = server ? worker_check(server->endpoint.worker) : -EINVAL;

    if (rc < 0)
        return rc;
    rc = server->endpoint.dead ? 1 : publish_plain(server, event_code, data, size, how);
    if (__builtin_expect(rc == 0, 1))
        return 0;
    return rc < 0 ? publish_explain(server, rc)
                  : publish_any(server, event_code, data, size, how);
}

/* ---- to one ---------------------------------------------------------------------------------- */

static bool is_for(const struct subscriber *subscriber, const tram_session *session,
                   const struct event *event) {
    return subscriber->session == session &&
           subscriber_wants(subscriber, event->code, event->topic);
}

int tram_session_publish(tram_session *session, uint32_t event_code, const void *data, size_t size,
                         const struct tram_how *how) {
    struct publisher *publisher;
    struct sending sending;
    struct event event;
    bool found = false;
    int rc = session ? worker_check(session->endpoint->worker) : -EINVAL;

    if (rc < 0)
        return rc;
    if (!session->endpoint->server || session->state == SESSION_DEAD ||
        event_init(&event, &sending, session->endpoint->service, event_code, data, size, how) < 0)
        return worker_fail(session->endpoint->worker, -EINVAL, "an argument is out of its range");
    publisher = server_of(session->endpoint)->events;
    for (struct subscriber *at = publisher ? publisher->subscribers : NULL; at; at = at->next) {
        if (!is_for(at, session, &event))
            continue;
        found = true;
        if (subscriber_has_room(at, size))
            continue;
        (void) session_full(session, -EAGAIN);
        return worker_fail(session->endpoint->worker, -EAGAIN,
                           "events wait for this client already");
    }
    if (!found)
        return worker_fail(session->endpoint->worker, -ENOENT,
                           "that client has not subscribed to this event");
    for (struct subscriber *at = publisher->subscribers, *next; at; at = next) {
        next = at->next;
        if (is_for(at, session, &event))
            subscriber_send(at, &event);
    }
    return 0;
}

/* ---- what the endpoint tells ----------------------------------------------------------------- */

/* Its session is over, or it is free of it. */
static void goes(struct subscriber *subscriber, bool away) {
    struct publisher *publisher = subscriber->publisher;

    subscriber_drop_backlog(subscriber);
    subscriber->session = NULL;
    if (subscriber->durable && away) {
        publisher->kept = true;
        return;
    }
    if (subscriber->ring && !subscriber->durable && !subscriber->relayed)
        reader_file_remove(publisher->dir, &subscriber->name);
    subscriber_free(subscriber);
}

void publish_unsubscribe(tram_session *session, const struct inbound *in) {
    struct publisher *publisher = server_of(session->endpoint)->events;

    for (struct subscriber *at = publisher ? publisher->subscribers : NULL; at; at = at->next)
        if (at->session == session && at->number == (uint32_t) in->frame.correlation) {
            goes(at, in->code == UNSUBSCRIBE_AWAY);
            return;
        }
}

void publish_session_gone(tram_session *session) {
    struct publisher *publisher = server_of(session->endpoint)->events;
    struct subscriber *at, *next;

    for (at = publisher ? publisher->subscribers : NULL; at; at = next) {
        next = at->next;
        if (at->session == session)
            goes(at, true);
    }
}

void publish_session_space(tram_session *session) {
    struct publisher *publisher = server_of(session->endpoint)->events;
    struct subscriber *at, *next;

    for (at = publisher ? publisher->subscribers : NULL; at; at = next) {
        next = at->next;
        if (at->session == session)
            subscriber_flush(at); /* it may be cut off */
    }
    if (publisher)
        ring_moved(publisher);
}

void publish_after_pump(tram_server *server) {
    struct publisher *publisher = server->events;

    if (publisher && publisher->space_came)
        ring_look_again(publisher);
}

void events_server_gone(tram_server *server) {
    struct publisher *publisher = server->events;

    if (!publisher)
        return;
    ring_publish(publisher);
    draft_abandon(publisher);
    while (publisher->subscribers)
        subscriber_free(publisher->subscribers);
    ring_close(publisher);
    cache_deinit(&publisher->cache);
    server->events = NULL;
    free(publisher);
}
