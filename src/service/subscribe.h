/* SPDX-License-Identifier: MIT
 *
 * Subscriptions of a client. A subscription has a feed for each server of the client: the reader of
 * its ring of events, or messages. A feed outlives its session, because what its server published
 * before it died is to be read to the end; and when the same server comes back, it goes on in the
 * same ring at the same place.
 */
#pragma once

#include "service/client.h"
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

/* ---- reading (feed.c) ------------------------------------------------------------------------ */

void feed_listen(struct feed *feed);
/* What was handed out is done with. */
void feed_done(struct feed *feed);
