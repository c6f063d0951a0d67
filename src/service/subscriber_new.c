/* SPDX-License-Identifier: MIT
 *
 * How a subscription begins at its server: what is cached first, then FRAME_SUBSCRIBED, then what
 * is published from then on. And how one goes on that an earlier life of the server had.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/publish.h"
#include "service/service.h"
#include "sys/file.h"

static struct subscriber *add(struct publisher *publisher, tram_session *session) {
    struct subscriber *subscriber = calloc(1, sizeof(*subscriber));

    if (!subscriber)
        return NULL;
    subscriber->publisher = publisher;
    subscriber->session = session;
    subscriber->end = &subscriber->first;
    subscriber->next = publisher->subscribers;
    subscriber->link = &publisher->subscribers;
    if (subscriber->next)
        subscriber->next->link = &subscriber->next;
    publisher->subscribers = subscriber;
    publisher->count++;
    publisher->messages++;
    return subscriber;
}

/* From messages to the ring. */
static void by_ring(struct subscriber *subscriber, const struct topic_file *reader,
                    const struct reader_name *name, bool durable) {
    subscriber->ring = true;
    subscriber->durable = durable;
    subscriber->reader = *reader;
    subscriber->armed = &reader_words(reader)->armed;
    subscriber->name = *name;
    subscriber->start = WORD_POSITION(subscriber->publisher->tx.tail);
    subscriber->publisher->messages--;
    subscriber->publisher->rings++;
}

/* Is it of an earlier process of the node that this session has? Its end may not be told yet. One
 * that has not said who it is since we are there was left in the ring: who lives says it first. */
static bool is_earlier(const tram_session *old, const tram_session *session) {
    return !old || (old->link->peer == session->link->peer &&
                    (!old->greeted || old->party.pid != session->party.pid));
}

/* The same reader, of an earlier life of it, or of us. -EBUSY: it is no earlier one. */
static int forget_same(struct publisher *publisher, const struct reader_name *name,
                       const tram_session *session) {
    struct subscriber *at = publisher->subscribers;

    while (at && !(at->ring && !at->relayed && strcmp(at->name.text, name->text) == 0))
        at = at->next;
    if (!at)
        return 0;
    if (!is_earlier(at->session, session))
        return -EBUSY;
    subscriber_free(at);
    return 0;
}

/* The reader's file is there already: its owner made it. */
static int open_reader(struct subscriber *subscriber, const struct inbound *in,
                       const struct subscribe *wish) {
    struct publisher *publisher = subscriber->publisher;
    struct endpoint *endpoint = &publisher->server->endpoint;
    struct topic_file reader = {0};
    struct reader_name name;
    int rc = ring_open(publisher);

    if (rc == 0)
        rc = reader_name(tram_node_id(tram_worker_node(endpoint->worker)), endpoint->port.port,
                         in->from, (uint32_t) (in->frame.correlation >> 32), wish->reader,
                         wish->durable[0] ? wish->durable : NULL, &name);
    if (rc < 0)
        return rc;
    rc = forget_same(publisher, &name, subscriber->session);
    if (rc == 0)
        rc = reader_file_open(publisher->dir, &name, &reader);
    if (rc < 0)
        return rc;
    ring_publish(publisher);
    by_ring(subscriber, &reader, &name, wish->durable[0] != 0);
    return 0;
}

/* ---- cached values --------------------------------------------------------------------------- */

static int send_value(struct subscriber *subscriber, const struct cached_topic *topic,
                      const struct cached *value) {
    struct frame_extra extra = {.topic_size = (uint8_t) strlen(topic->topic)};
    struct frame frame = subscriber_frame(subscriber, FRAME_EVENT);
    uint8_t bytes[FRAME_EXTRA_MAX];

    frame.flags = FRAME_INITIAL | (extra.topic_size ? FRAME_TOPIC : 0);
    memcpy(extra.topic, topic->topic, extra.topic_size);
    frame_extra_write(&frame, &extra, bytes);
    if (subscriber->bytes + value->size > INITIAL_MAX)
        return -EMSGSIZE;
    return subscriber_put(subscriber, &frame, topic->event, bytes, value->data, value->size);
}

/* Those that it wants, oldest first, and so before all that comes. */
static int send_initial(struct subscriber *subscriber, uint32_t values) {
    const struct cache *cache = &subscriber->publisher->cache;

    for (struct cached_topic *topic = cache->first; topic; topic = topic->after) {
        if (!subscriber_wants(subscriber, topic->event, topic->topic))
            continue;
        for (uint32_t n = values < topic->count ? values : topic->count; n-- > 0;) {
            int rc = send_value(subscriber, topic, cache_value(topic, n));

            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

/* ---- the beginning --------------------------------------------------------------------------- */

/* Behind the initial values, which may still wait. */
static void confirm(struct subscriber *subscriber) {
    struct publisher *publisher = subscriber->publisher;
    struct subscribed said = {.ring = subscriber->ring, .start = subscriber->start};
    struct frame frame = subscriber_frame(subscriber, FRAME_SUBSCRIBED);

    if (subscriber->ring) {
        said.topic = load_relaxed(&publisher->tx.words->id);
        said.number = publisher->tx.number; /* all that is staged was published */
    }
    if (!subscriber->first)
        subscriber_answer(subscriber->session, subscriber->number, &said);
    else if (subscriber_put(subscriber, &frame, 0, NULL, &said, sizeof(said)) < 0)
        subscriber_cut(subscriber, -ENOMEM);
}

/* Nothing of it is lost or comes twice: its last message is in front of this answer, and the first
 * event that it takes from the relay's ring is behind the number that stands here. */
void subscriber_relay(struct subscriber *subscriber) {
    struct publisher *publisher = subscriber->publisher;
    int rc = ring_open(publisher);

    subscriber->leaves = false;
    if (rc < 0) {
        subscriber_cut(subscriber, rc);
        return;
    }
    ring_publish(publisher);
    subscriber->ring = subscriber->relayed = true;
    subscriber->delivery = TRAM_DELIVER_LATEST_ALL; /* the relay's reader has what it has */
    publisher->messages--;
    publisher->rings++;
    confirm(subscriber);
}

static struct subscriber *find(struct publisher *publisher, tram_session *session,
                               uint32_t number) {
    struct subscriber *at = publisher->subscribers;

    while (at && (at->session != session || at->number != number))
        at = at->next;
    return at;
}

static int begin(struct publisher *publisher, tram_session *session, const struct inbound *in,
                 const struct subscribe *wish) {
    struct subscriber *subscriber = find(publisher, session, (uint32_t) in->frame.correlation);
    int rc = 0;

    if (subscriber && wish->reader == READER_RELAYED && !subscriber->ring) {
        subscriber->leaves = true;
        subscriber_flush(subscriber);
        return 0;
    }
    if (subscriber) /* anew: it did not know that it was */
        subscriber_free(subscriber);
    if (publisher->count >= SUBSCRIBERS_MAX)
        return -ENOSPC;
    subscriber = add(publisher, session);
    if (!subscriber)
        return -ENOMEM;
    subscriber->number = (uint32_t) in->frame.correlation;
    subscriber->event = in->code;
    subscriber->delivery = wish->delivery;
    memcpy(subscriber->topic, in->extra.topic, in->extra.topic_size);
    if (wish->reader == READER_RELAYED) {
        subscriber_relay(subscriber);
        return 0;
    }
    if (wish->reader != 0 && in->from != 0)
        rc = open_reader(subscriber, in, wish);
    if (rc == 0 && wish->initial > 0)
        rc = send_initial(subscriber, wish->initial);
    if (rc < 0)
        subscriber_free(subscriber);
    else
        confirm(subscriber);
    return rc;
}

void subscriber_new(tram_session *session, const struct inbound *in) {
    struct publisher *publisher = publisher_get(server_of(session->endpoint));
    struct subscribe wish;
    int rc = publisher ? subscribe_read(in->data, in->size, &wish) : -ENOMEM;

    if (rc == 0)
        rc = begin(publisher, session, in, &wish);
    if (rc < 0)
        subscriber_answer(session, (uint32_t) in->frame.correlation,
                          &(struct subscribed){.status = rc});
}

/* ---- after a restart ------------------------------------------------------------------------- */

struct resume {
    struct publisher *publisher;
    char prefix[TOPIC_NAME + 1];
};

/* The node of a reader that is not durable stands in its file, too. */
static bool runs(struct publisher *publisher, const struct topic_file *reader) {
    tram_node *node = tram_worker_node(publisher->server->endpoint.worker);
    struct tram_peer peer;

    return tram_peer(node, load_relaxed(&reader_words(reader)->node), &peer) == 0 &&
           peer.state == TRAM_PEER_UP;
}

/* One with back-pressure holds events up also while it is away, for as long as patience lasts. The
 * others need nothing but that events are written. */
static int resume_reader(void *context, const char *name, uint64_t inode) {
    struct resume *resume = context;
    struct publisher *publisher = resume->publisher;
    struct topic_file reader = {0};
    struct subscriber *subscriber;
    struct reader_name full;
    bool durable;

    (void) inode;
    if (strncmp(name, resume->prefix, strlen(resume->prefix)) != 0 || strlen(name) >= READER_NAME ||
        publisher->count >= SUBSCRIBERS_MAX)
        return 0;
    memcpy(full.text, name, strlen(name) + 1);
    durable = name[strlen(resume->prefix)] == '=';
    if (reader_file_open(publisher->dir, &full, &reader) < 0)
        return 0;
    if (!durable && !runs(publisher, &reader))
        reader_file_remove(publisher->dir, &full);
    else if (load_relaxed(&reader_words(&reader)->flags) & READER_BLOCK &&
             (subscriber = add(publisher, NULL))) {
        by_ring(subscriber, &reader, &full, durable);
        subscriber->delivery = TRAM_DELIVER_BLOCK;
        subscriber->event = TRAM_ANY_EVENT;
        return 0;
    }
    topic_file_close(&reader);
    return 0;
}

void subscribers_resume(struct publisher *publisher) {
    struct endpoint *endpoint = &publisher->server->endpoint;
    struct resume resume = {.publisher = publisher};
    struct reader_name name;

    if (reader_name(tram_node_id(tram_worker_node(endpoint->worker)), endpoint->port.port, 0, 0, 0,
                    "x", &name) < 0)
        return;
    memcpy(resume.prefix, name.text, strlen(name.text) - 2); /* all but the =x */
    (void) sys_dir_each(publisher->dir, resume_reader, &resume); /* who isn't found is lapped */
}
