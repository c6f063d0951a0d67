/* SPDX-License-Identifier: MIT
 *
 * Subscriptions of a client. A subscription has a feed for each server of the client: the reader of
 * its ring of events, or messages. A feed outlives its session, because what its server published
 * before it died is to be read to the end; and when the same server comes back, it goes on in the
 * same ring at the same place.
 */
#pragma once

#include "service/client.h"
#include "service/names.h"
#include "service/topic_file.h"
#include "wire/events.h"

struct feed {
    struct feed *next, **link;       /* of the subscription */
    struct tram_subscription *subscription;
    tram_session *session;           /* NULL: its server is gone, at present */
    tram_id node;                    /* of the server; 0: over a socket */
    uint32_t port;
    bool reading;                    /* the ring is open */
    bool follows;                    /* another ring follows when this one is read: `said` */
    struct subscribed said;
    struct topic_file ring, reader;
    struct topic_rx rx;
    struct reader_name name;
    struct worker_source source;
    uint64_t missed;                 /* not told yet */
    int64_t now;                     /* of this turn; 0: not asked for yet */
    int64_t away;                    /* the writer is left alone until then; 0: it is not */
    uint64_t handed;                 /* durable: what an earlier life had in hand */
    /* Of a server of another host (feed_far.c). */
    bool far;
    bool asked;                      /* … to come through the relay, from this session on */
    bool waits;                      /* the ring that `said` names is not here yet */
    bool over;                       /* nothing more comes into it */
    uint64_t here;                   /* id of the ring that is */
    struct names_relay relay;
};

/* Who reads all that is in a ring, to pass it on: the daemon. */
enum raw_result { RAW_TOOK, RAW_FULL, RAW_LOST };

struct raw {
    /* Another ring is read from now on. `number`: from behind this event on; TOPIC_UNKNOWN: from
     * the oldest that there is. `resumed`: an earlier life had begun it. */
    void (*on_ring)(struct raw *raw, uint64_t id, uint64_t capacity, uint64_t number,
                    bool resumed);
    /* The next event; `missed` were lost before it. RAW_FULL: not now, until `full` is false again;
     * RAW_LOST: it was overwritten while it was copied. */
    enum raw_result (*on_event)(struct raw *raw, const struct topic_rx *rx,
                                const struct topic_view *event, const struct frame_extra *extra,
                                uint64_t missed);
    /* All that is there was offered, or it is full. */
    void (*on_rest)(struct raw *raw);
    /* There is no more of it: its server was an ephemeral one. */
    void (*on_gone)(struct raw *raw);
    bool full;
    bool busy;                       /* it can't go yet: what it has may have to be read again */
};

struct tram_subscription {
    struct tram_subscription *next, **link; /* of the client */
    tram_client *client;
    struct feed *feeds;
    uint32_t number;
    uint32_t event;
    char topic[256];
    enum tram_delivery delivery;
    uint32_t initial;
    char durable[DURABLE_SIZE];
    tram_event_fn *fn;
    void *arg;
    struct raw *raw;                 /* NULL: an application's */
    bool dead;                       /* freed; its memory goes with the turn */
    bool told;                       /* … of `status` */
    int status;                      /* to be told */
    uint8_t *copy;                   /* of an event that may be overwritten */
    size_t copy_size;
    struct worker_deferred memory, tell;
};

/* What all subscriptions of a client share. */
struct subscriptions {
    struct tram_subscription *first;
    uint32_t numbers;
    int dir;                         /* of the files of rings; -1 */
};

/* ---- what the endpoint tells (subscribe.c) --------------------------------------------------- */

void subscribe_frame(tram_session *session, struct inbound *in);
void subscribe_session_ready(tram_session *session);
void subscribe_session_gone(tram_session *session);
void subscribe_after_pump(tram_client *client);

/* Hand an event to the application; `trace` NULL: it has none. False: the subscription, and all its
 * feeds, are gone. */
bool subscription_hand(struct tram_subscription *subscription, const struct tram_view *view,
                       const uint8_t *trace);
void subscription_end(struct tram_subscription *subscription, int status);

/* ---- feeds (feed_open.c) --------------------------------------------------------------------- */

/* Tell the server that it is wanted; the answer opens it. */
void feed_begin(struct tram_subscription *subscription, tram_session *session);
void feed_confirmed(struct feed *feed, const struct subscribed *said);
/* Its session ended: read what is there, and wait. */
void feed_alone(struct feed *feed);
/* All of its ring was read, and more may not come. False: the feed is gone, or another ring is open
 * now. */
bool feed_drained(struct feed *feed);
void feed_free(struct feed *feed);
/* Remove the file of a durable one, too. */
void feed_forget(struct feed *feed);

/* ---- of another host (feed_far.c) ------------------------------------------------------------ */

void feed_far_begin(struct feed *feed);
void feed_far_confirmed(struct feed *feed, const struct subscribed *said);
void feed_far_end(struct feed *feed);
/* Its reader's file, made if it is not there. */
int feed_reader(struct feed *feed);
/* Ask for events: by messages (0), or READER_RELAYED. */
void feed_ask(struct feed *feed, uint32_t reader);
/* The ring that `said` names. */
void feed_read(struct feed *feed);

/* ---- raw (feed_raw.c) ------------------------------------------------------------------------ */

/* Subscribe to all of a server, under this durable name. */
int raw_subscribe(tram_client *client, enum tram_delivery delivery, const char *durable,
                  struct raw *raw, tram_event_fn *fn, void *arg, tram_subscription **ret);
int raw_turn(struct feed *feed);
/* All up to this event, which ends there, is done with. */
void raw_done(tram_subscription *subscription, uint64_t pos, uint64_t number);
/* Read again from where all is done. */
void raw_rewind(tram_subscription *subscription);
/* How far it has read; the number without what is lost and not said yet. False: it does not. */
bool raw_position(const tram_subscription *subscription, uint64_t *ret_pos, uint64_t *ret_number);

/* ---- reading (feed.c) ------------------------------------------------------------------------ */

void feed_listen(struct feed *feed);
/* What was handed out is done with. */
void feed_done(struct feed *feed);
/* What stands in front of its payload. 1; 0: overwritten meanwhile; -EBADMSG */
int feed_extra(struct feed *feed, const struct topic_view *event, struct frame_extra *extra);
