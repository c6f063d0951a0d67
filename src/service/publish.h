/* SPDX-License-Identifier: MIT
 *
 * Events at their server. A subscriber on this host reads the ring of events (topic/topic.h), in
 * which each event is written once; any other is sent each event as a message. What such a one
 * can't take at the moment waits in its backlog, bounded.
 */
#pragma once

#include "service/cache.h"
#include "service/server.h"
#include "service/topic_file.h"
#include "wire/events.h"

#define SUBSCRIBERS_MAX 65536u
#define BACKLOG_MAX     (UINT64_C(1) << 20)  /* bytes of events that wait for one subscriber */
#define INITIAL_MAX     (UINT64_C(16) << 20) /* … and of cached values at its beginning */

struct backlog {              /* an event that waits */
    struct backlog *next;
    struct frame frame;
    uint32_t code;
    size_t size;              /* of extra and payload */
    uint8_t data[];
};

struct subscriber {
    struct subscriber *next;  /* these four are looked at for each event: in one line of cache */
    tram_session *session;    /* NULL: it is away, and its reader's file is not */
    const uint64_t *armed;    /* of its reader; NULL: by messages */
    uint64_t rung;
    struct subscriber **link;
    struct publisher *publisher;
    uint32_t number;          /* of the subscription there */
    uint32_t event;
    enum tram_delivery delivery;
    char topic[256];
    /* By the ring. */
    bool ring, durable;
    bool relayed;             /* … that the relay of its host has a copy of: no reader here */
    bool leaves;              /* … as soon as what waits for it went */
    struct topic_file reader;
    struct reader_name name;
    uint64_t start;
    /* By messages. */
    struct backlog *first, **end;
    uint64_t bytes;
    uint32_t missed;          /* since the last one that it was sent */
};

struct publisher {
    tram_server *server;
    struct cache cache;
    struct subscriber *subscribers;
    uint32_t count, rings, messages; /* of these, by the ring and by messages */
    bool has_ring;
    bool kept;                /* somebody who is not in the list may read on in the ring */
    bool wakes;               /* who sleeps is still to be looked for */
    int dir;                  /* of the files; -1 */
    struct topic_file file;
    struct topic_tx tx;
    uint64_t looked;          /* for who sleeps on events before this position was looked */
    struct worker_source source;
    bool listed;              /* source is: something is staged, or to be told */
    struct event_draft *draft; /* an event is being written in place */
    bool wants_space, space_came;
    int64_t held_since;       /* 0: nobody holds it up */
    tram_timer *patience;
    uint64_t published, refused;
};

/* An event on its way: how it looks in front of a payload. */
struct event {
    struct frame frame;
    uint32_t code;
    const char *topic;
    uint8_t extra[FRAME_EXTRA_MAX];
    const void *data;
    size_t size;              /* of the payload */
    bool more;
    bool in_place;            /* the payload is in the ring already */
};

/* Made when it is first needed. NULL: no memory, and the worker's error says so. */
struct publisher *publisher_get(tram_server *server);
/* Somebody holds an event up. True: the application has to wait; false: patience is over. */
bool publisher_waits(struct publisher *publisher);
/* It was published. */
void publisher_let_go(struct publisher *publisher);
static inline void publisher_not_held(struct publisher *publisher) {
    if (__builtin_expect(publisher->held_since != 0, 0))
        publisher_let_go(publisher);
}
/* Publish it, with TRAM_HOW_… 0, or what kept all of it from being published. */
int publish_event(struct publisher *publisher, struct event *event, uint32_t flags);
/* Text for such an error. */
int publish_explain(tram_server *server, int rc);
/* Fill *event; its topic and data stay the caller's. */
int event_init(struct event *event, struct sending *sending, struct service *service,
               uint32_t code, const void *data, size_t size, const struct tram_how *how);
/* The server goes, or what is written can't be published: whoever writes it keeps the memory. */
void draft_abandon(struct publisher *publisher);

/* What the endpoint tells. */
void publish_unsubscribe(tram_session *session, const struct inbound *in);
void publish_session_gone(tram_session *session);
void publish_session_space(tram_session *session);
void publish_after_pump(tram_server *server);
void values_get(tram_session *session, const struct inbound *in);
void values_set(tram_session *session, const struct inbound *in);

/* ---- subscribers (subscriber.c, subscriber_new.c) -------------------------------------------- */

void subscriber_new(tram_session *session, const struct inbound *in);
/* From messages to the relay of its host, which has what is published from now on. */
void subscriber_relay(struct subscriber *subscriber);
/* The end: it is forgotten; its file stays. */
void subscriber_free(struct subscriber *subscriber);
/* Cut it off, and tell it. */
void subscriber_cut(struct subscriber *subscriber, int status);
/* FRAME_SUBSCRIBED. */
void subscriber_answer(tram_session *session, uint32_t number, const struct subscribed *said);
/* A frame to it: what is no answer names who sends. */
static inline struct frame subscriber_frame(const struct subscriber *subscriber,
                                            enum frame_kind kind) {
    return session_frame(subscriber->session, kind,
                         session_own(subscriber->session) | subscriber->number);
}
bool subscriber_wants(const struct subscriber *subscriber, uint32_t event, const char *topic);
/* Send it an event as a message, or keep it. */
void subscriber_send(struct subscriber *subscriber, const struct event *event);
/* Send a message, or keep it: 0, -ENOMEM, or the link's error. */
int subscriber_put(struct subscriber *subscriber, const struct frame *frame, uint32_t code,
                   const void *extra, const void *data, size_t size);
/* What waits for it goes: its session does. */
void subscriber_drop_backlog(struct subscriber *subscriber);
/* There is room again. */
void subscriber_flush(struct subscriber *subscriber);
/* Can it take one more of this size without missing any? */
bool subscriber_has_room(const struct subscriber *subscriber, uint64_t size);
/* Find readers that an earlier life of this server left. */
void subscribers_resume(struct publisher *publisher);

/* ---- the ring (publish_ring.c) --------------------------------------------------------------- */

/* Make it, or open what was left. */
int ring_open(struct publisher *publisher);
/* Open what was left; if nothing was, there is none. */
void ring_reopen(struct publisher *publisher);
void ring_close(struct publisher *publisher);
/* Has an event to be written there? */
static inline bool ring_wanted(const struct publisher *publisher) {
    return publisher->has_ring && (publisher->rings > 0 || publisher->kept);
}
/* Room for an event: 0; -EAGAIN: a subscriber holds it up; -EMSGSIZE. */
int ring_make_room(struct publisher *publisher, size_t size);
static inline int ring_room(struct publisher *publisher, size_t size) {
    if (__builtin_expect(size <= topic_largest(&publisher->tx) &&
                         topic_tx_fits(&publisher->tx, size), 1))
        return 0;
    return ring_make_room(publisher, size);
}
/* Write it into the room: `extra` bytes of what stands in front, then the payload; `data` NULL: it
 * is there. */
void ring_put(struct publisher *publisher, const struct topic_record *record, const void *extra,
              const void *data, bool more);
/* The same for one that has nothing but payload. */
void ring_plain(struct publisher *publisher, uint32_t code, const void *data, size_t size,
                bool more);
/* Make all that is staged visible, and wake those who sleep. */
void ring_publish(struct publisher *publisher);
/* Look at it again when the loop turns. */
void ring_look_again(struct publisher *publisher);
/* A subscriber that held it up has read on, or went. */
void ring_moved(struct publisher *publisher);
