/* SPDX-License-Identifier: MIT
 *
 * How a feed begins and ends: its reader's file, the wish, the ring that the server names, and the
 * ring that follows when the server comes back with another.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/service.h"
#include "service/subscribe.h"

/* ---- the reader's file ----------------------------------------------------------------------- */

static bool node_runs(void *context, uint32_t node) {
    struct tram_peer peer;

    return tram_peer(context, node, &peer) == 0 && peer.state == TRAM_PEER_UP;
}

static int open_dir(struct subscriptions *all, const tram_node *node) {
    int rc = all->dir < 0 ? topic_dir(tram_bus_path(node), 0600) : 0;

    if (rc > 0)
        all->dir = rc;
    return rc < 0 ? rc : 0;
}

/* Where the last one was: its server has removed that file, or will. */
static void take_on(struct topic_reader *mine, const struct topic_reader *old) {
    store_relaxed(&mine->topic, load_relaxed(&old->topic));
    store_relaxed(&mine->number[0], load_relaxed(&old->number[0]));
    store_relaxed(&mine->number[1], load_relaxed(&old->number[1]));
    store_relaxed(&mine->missed, load_relaxed(&old->missed));
    store_relaxed(&mine->position, load_relaxed(&old->position));
}

/* The relay reads there what to ask for. */
static void write_wish(const struct feed *feed) {
    struct topic_wish *wish = (struct topic_wish *) (void *)
                              ((uint8_t *) feed->reader.map.base + WISH_AT);

    if (!feed->far) {
        store_release(&wish->magic, 0);
        return;
    }
    wish->event = feed->subscription->event;
    memcpy(wish->topic, feed->subscription->topic, sizeof(wish->topic));
    store_release(&wish->magic, WISH_MAGIC);
}

/* It is made before the server is asked, which opens it. */
int feed_reader(struct feed *feed) {
    struct tram_subscription *subscription = feed->subscription;
    struct endpoint *endpoint = &subscription->client->endpoint;
    struct subscriptions *all = subscription->client->events;
    tram_node *node = tram_worker_node(endpoint->worker);
    const char *durable = subscription->durable[0] ? subscription->durable : NULL;
    struct topic_file reader;
    bool found;
    int rc;

    if (feed->reader.map.base && durable) {
        write_wish(feed);
        return 0;
    }
    rc = open_dir(all, node);
    if (rc == 0)
        rc = reader_name(feed->node, feed->port, tram_node_id(node), endpoint->port.port,
                         subscription->number, durable, &feed->name);
    if (rc == 0)
        rc = reader_file_make(all->dir, &feed->name, tram_node_id(node), 0600, node_runs, node,
                              &reader, &found);
    if (rc < 0)
        return rc;
    if (feed->reader.map.base)
        take_on(reader_words(&reader), reader_words(&feed->reader));
    store_relaxed(&reader_words(&reader)->flags,
                  subscription->delivery == TRAM_DELIVER_BLOCK ? READER_BLOCK : 0u);
    feed->handed = load_relaxed(&reader_words(&reader)->handed);
    if (feed->reading)
        feed->rx.mine = reader_words(&reader);
    topic_file_close(&feed->reader);
    feed->reader = reader;
    write_wish(feed);
    return 0;
}

/* ---- beginning ------------------------------------------------------------------------------- */

void feed_ask(struct feed *feed, uint32_t reader) {
    struct tram_subscription *subscription = feed->subscription;
    struct frame frame = session_frame(feed->session, FRAME_SUBSCRIBE,
                                       session_own(feed->session) | subscription->number);
    struct subscribe wish = {.delivery = subscription->delivery,
                             .initial = reader == READER_RELAYED ? 0 : subscription->initial,
                             .reader = reader};
    struct frame_extra extra = {.topic_size = (uint8_t) strlen(subscription->topic)};
    uint8_t bytes[FRAME_EXTRA_MAX + sizeof(wish)];

    memcpy(wish.durable, subscription->durable, sizeof(wish.durable));
    memcpy(extra.topic, subscription->topic, extra.topic_size);
    if (extra.topic_size > 0)
        frame.flags |= FRAME_TOPIC;
    frame_extra_write(&frame, &extra, bytes);
    memcpy(bytes + frame.extra, &wish, sizeof(wish));
    session_control(feed->session, frame, subscription->event, bytes,
                    frame.extra + sizeof(wish));
}

/* The feed that this session has, or had when its server was there last. */
static struct feed *find(struct tram_subscription *subscription, tram_session *session) {
    struct feed *feed = subscription->feeds;

    while (feed && feed->session != session &&
           (session->link->peer == 0 || feed->node != session->link->peer ||
            feed->port != session->peer_port))
        feed = feed->next;
    return feed;
}

static struct feed *feed_new(struct tram_subscription *subscription, tram_session *session) {
    struct feed *feed = calloc(1, sizeof(*feed));

    if (!feed)
        return NULL;
    feed->subscription = subscription;
    feed->node = session->link->peer;
    feed->port = session->peer_port;
    feed->next = subscription->feeds;
    feed->link = &subscription->feeds;
    if (feed->next)
        feed->next->link = &feed->next;
    subscription->feeds = feed;
    return feed;
}

void feed_begin(struct tram_subscription *subscription, tram_session *session) {
    struct feed *feed = find(subscription, session);
    int rc = 0;

    if (!feed)
        feed = feed_new(subscription, session);
    if (!feed) {
        subscription_end(subscription, -ENOMEM);
        return;
    }
    feed->session = session;
    if (feed->node != 0 && session->link->far) {
        feed_far_begin(feed);
        return;
    }
    feed_far_end(feed);
    if (feed->node != 0)
        rc = feed_reader(feed);
    if (rc < 0)
        subscription_end(subscription, rc);
    else
        feed_ask(feed, feed->node != 0 ? subscription->number : 0);
}

/* ---- the ring -------------------------------------------------------------------------------- */

/* In a ring that it was not in before. Where a copy goes on behind that event, only its records
 * say. Who passes events on, and was in another ring, has to have all of the next. */
static void first_position(struct feed *feed, const struct topic_file *ring,
                           const struct subscribed *said) {
    struct topic_reader *reader = reader_words(&feed->reader);
    bool follows = feed->subscription->raw && load_relaxed(&reader->topic) != 0;
    uint64_t floor = load_acquire(&topic_words(ring)->floor) & ~(uint64_t) (LAYOUT_ALIGN - 1);

    store_relaxed(&reader->number[0], follows ? TOPIC_UNKNOWN : said->number);
    store_release(&reader->position, feed->far || follows ? floor : WORD_POSITION(said->start));
    store_relaxed(&reader->handed, 0);
    feed->handed = 0;
}

static int open_ring(struct feed *feed, const struct subscribed *said) {
    struct subscriptions *all = feed->subscription->client->events;
    struct topic_reader *reader = reader_words(&feed->reader);
    struct topic_file ring = {0};
    uint64_t capacity = 0;
    bool resumed;
    int rc = topic_file_open(all->dir, feed->node, feed->port, &ring, &capacity);

    if (rc < 0)
        return rc;
    if (load_relaxed(&topic_words(&ring)->id) != said->topic) {
        topic_file_close(&ring);
        return -EBADMSG;
    }
    resumed = load_relaxed(&reader->topic) == said->topic;
    if (resumed)
        feed->missed = 0; /* it is found again */
    else
        first_position(feed, &ring, said);
    if (!topic_rx_init(&feed->rx, topic_words(&ring), topic_data(&ring), capacity, reader, true)) {
        topic_file_close(&ring);
        return -EBADMSG;
    }
    feed->rx.skips = feed->far;
    store_release(&reader->topic, said->topic);
    feed->ring = ring;
    if (feed->subscription->raw)
        feed->subscription->raw->on_ring(feed->subscription->raw, said->topic, capacity,
                                         feed->rx.number, resumed);
    return 0;
}

static void stop_reading(struct feed *feed) {
    if (!feed->reading)
        return;
    worker_source_remove(&feed->source);
    feed->reading = false;
    topic_file_close(&feed->ring);
}

void feed_read(struct feed *feed) {
    int rc = feed->reader.map.base ? open_ring(feed, &feed->said) : -EBADMSG;

    if (rc < 0)
        subscription_end(feed->subscription, rc);
    else
        feed_listen(feed);
}

void feed_confirmed(struct feed *feed, const struct subscribed *said) {
    if (said->status < 0) {
        subscription_end(feed->subscription, said->status);
        return;
    }
    if (feed->far) {
        feed_far_confirmed(feed, said);
        return;
    }
    if (!said->ring)
        return; /* events come as messages */
    feed->said = *said;
    feed->follows = feed->reading && load_relaxed(&feed->rx.words->id) != said->topic;
    if (!feed->reading) /* else it goes on in the same, or in the next when this one is read */
        feed_read(feed);
}

bool feed_drained(struct feed *feed) {
    bool follows = feed->follows;

    if (!follows && (feed->node < TRAM_EPHEMERAL || (feed->far && !feed->over)))
        return true; /* its server may come back, and go on */
    if (!follows) {
        feed_free(feed);
        return false;
    }
    feed->follows = false;
    stop_reading(feed);
    feed->waits = feed->far && feed->here != feed->said.topic;
    if (!feed->waits)
        feed_read(feed);
    return false;
}

void feed_alone(struct feed *feed) {
    feed->session = NULL;
    if (!feed->reading && !feed->waits)
        feed_free(feed);
}

void feed_forget(struct feed *feed) {
    struct subscriptions *all = feed->subscription->client->events;

    if (feed->reader.map.base)
        reader_file_remove(all->dir, &feed->name);
}

void feed_free(struct feed *feed) {
    *feed->link = feed->next;
    if (feed->next)
        feed->next->link = feed->link;
    stop_reading(feed);
    if (!feed->subscription->durable[0])
        feed_forget(feed);
    feed_far_end(feed);
    if (feed->subscription->raw && !feed->subscription->dead && feed->subscription->status == 0)
        feed->subscription->raw->on_gone(feed->subscription->raw);
    topic_file_close(&feed->reader);
    free(feed);
}
