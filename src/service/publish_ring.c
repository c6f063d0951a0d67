/* SPDX-License-Identifier: MIT
 *
 * The writer's side of the ring of events: room, and who is woken.
 *
 * A subscriber with back-pressure that is in the way is asked to ring when it has read on, and the
 * application is told by on_space. If nothing happens within the server's patience, it is cut off:
 * then the application is told as well, and its next try succeeds.
 *
 * Who sleeps is looked for after each publishing; where many read, once in a turn of the loop. What
 * is new since the last such look is compared with the wishes of those only who do sleep.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "service/publish.h"
#include "service/service.h"

#define RING_DEFAULT (UINT64_C(4) << 20)
#define STAGED_MAX   8192u /* bytes that may wait for the end of a turn (TRAM_HOW_MORE) */
#define AT_ONCE_MAX  16u   /* readers that are looked at after each event */
#define COMPARED_MAX 64u   /* new events that are compared with the wish of one who sleeps */

/* ---- waking ---------------------------------------------------------------------------------- */

static void news(struct subscriber *subscriber, uint64_t armed) {
    subscriber->rung = armed;
    session_control(subscriber->session, subscriber_frame(subscriber, FRAME_NEWS), 0, NULL, 0);
}

/* Is an event of ours, at this position, for it? Moves *at behind it. */
static bool is_wanted(const struct publisher *publisher, const struct subscriber *subscriber,
                      uint64_t *at) {
    const struct topic_tx *tx = &publisher->tx;
    struct topic_record record;
    const uint8_t *body = tx->data + (*at & tx->mask) + sizeof(record);
    char topic[256] = "";
    size_t before;

    memcpy(&record, body - sizeof(record), sizeof(record));
    *at += topic_span(record.size);
    if (subscriber->event != TRAM_ANY_EVENT && subscriber->event != record.code)
        return false;
    if (record.flags & FRAME_TOPIC) {
        before = record.flags & FRAME_DEADLINE ? 8 : 0;
        before += record.flags & FRAME_TRACE ? 16 : 0;
        memcpy(topic, body + before + 1, body[before]);
    }
    return topic_fits(subscriber->topic, topic);
}

/* One that sleeps and wants none of what is new is left alone, until it is far behind. */
static bool must_wake(const struct publisher *publisher, const struct subscriber *subscriber) {
    uint64_t at = publisher->looked, end = WORD_POSITION(publisher->tx.tail);
    uint64_t position = WORD_POSITION(load_relaxed(&reader_words(&subscriber->reader)->position));

    if (at - publisher->tx.floor > publisher->tx.mask + 1 ||
        end - position > (publisher->tx.mask + 1) / 4)
        return true;
    for (uint32_t i = 0; at != end; i++)
        if (i == COMPARED_MAX || is_wanted(publisher, subscriber, &at))
            return true;
    return false;
}

/* The word by which a reader says that it sleeps, if nobody has rung for that yet; else 0. */
static inline uint64_t sleeps(const struct subscriber *subscriber) {
    uint64_t armed = subscriber->armed ? load_relaxed(subscriber->armed) : 0; /* F1 */

    return armed & ARMED_ON && armed != subscriber->rung ? armed : 0;
}

static __attribute__((noinline)) void wake_from(struct publisher *publisher,
                                                struct subscriber *at) {
    for (struct subscriber *next; at; at = next) {
        uint64_t armed = sleeps(at);

        next = at->next;
        if (armed && at->session && must_wake(publisher, at))
            news(at, armed);
    }
}

static inline void wake(struct publisher *publisher) {
    struct subscriber *at = publisher->subscribers;

    publisher->wakes = false;
    while (at && !sleeps(at))
        at = at->next;
    if (__builtin_expect(at != NULL, 0))
        wake_from(publisher, at);
    publisher->looked = WORD_POSITION(publisher->tx.tail);
}

void ring_publish(struct publisher *publisher) {
    if (!publisher->has_ring || !topic_tx_staged(&publisher->tx))
        return;
    topic_tx_publish(&publisher->tx);
    if (publisher->rings <= AT_ONCE_MAX) {
        wake(publisher);
        return;
    }
    publisher->wakes = true;
    ring_look_again(publisher);
}

static void tell_space(struct publisher *publisher) {
    tram_server *server = publisher->server;

    if (!publisher->space_came || server->endpoint.service->pumping)
        return;
    publisher->space_came = publisher->wants_space = false;
    if (server->handlers.on_space)
        server->handlers.on_space(server, NULL, server->arg);
}

static bool turn(struct worker_source *source) {
    struct publisher *publisher = container_of(source, struct publisher, source);

    publisher->listed = false;
    worker_source_remove(source);
    ring_publish(publisher);
    if (publisher->wakes)
        wake(publisher);
    tell_space(publisher); /* last: the publisher may be gone */
    return true;
}

void ring_look_again(struct publisher *publisher) {
    if (publisher->listed)
        return;
    publisher->listed = true;
    publisher->source.turn = turn;
    worker_source_add(publisher->server->endpoint.worker, &publisher->source);
}

/* ---- room ------------------------------------------------------------------------------------ */

static uint64_t position_of(struct publisher *publisher, struct subscriber *subscriber) {
    const struct topic_reader *reader = reader_words(&subscriber->reader);
    uint64_t position = 0;

    if (load_acquire(&reader->topic) != load_relaxed(&publisher->tx.words->id))
        position = subscriber->start; /* it has not begun */
    else if (topic_tx_position(&publisher->tx, reader, &position) < 0)
        position = 0; /* nonsense holds it up as long as one who never reads */
    /* What is gone is gone: one that was cut off and is back begins at the floor. */
    return position - publisher->tx.floor <= publisher->tx.mask + 1 ? position
                                                                    : publisher->tx.floor;
}

/* The position of the slowest with back-pressure; UINT64_MAX: nobody has it. */
static uint64_t slowest(struct publisher *publisher, struct subscriber **ret_who) {
    uint64_t limit = UINT64_MAX;

    for (struct subscriber *at = publisher->subscribers; at; at = at->next) {
        uint64_t position;

        if (!at->ring || at->delivery != TRAM_DELIVER_BLOCK)
            continue;
        position = position_of(publisher, at);
        if (position < limit) {
            limit = position;
            *ret_who = at;
        }
    }
    return limit;
}

/* It may sleep, because nothing of this was for it. */
static void wake_slowest(struct subscriber *who) {
    uint64_t armed = load_relaxed(&reader_words(&who->reader)->armed);

    if (who->session && (armed & ARMED_ON) && armed != who->rung)
        news(who, armed);
}

/* The ring's file was cut short by somebody: what is written reaches nobody any more. */
static void give_up(struct publisher *publisher) {
    struct subscriber *at, *next;

    for (at = publisher->subscribers; at; at = next) {
        next = at->next;
        if (at->ring)
            subscriber_cut(at, -EBADMSG);
    }
    ring_close(publisher);
}

/* Is there so much room that going on is worth it? One step at a time, each with a bell, would be
 * slow. */
static bool is_ample(const struct publisher *publisher, uint64_t limit) {
    const struct topic_tx *tx = &publisher->tx;

    return publisher->held_since == 0 || limit >= WORD_POSITION(tx->tail) ||
           limit - tx->floor >= TOPIC_AMPLE(tx->mask);
}

static int make_room(struct publisher *publisher, size_t size) {
    struct topic_tx *tx = &publisher->tx;
    struct subscriber *who = NULL;
    uint64_t limit;

    if (sys_map_torn(&publisher->file.map)) {
        give_up(publisher);
        return 0;
    }
    limit = slowest(publisher, &who);
    if (is_ample(publisher, limit) && topic_tx_make_room(tx, size, limit))
        return 0;
    ring_publish(publisher);
    topic_tx_want(tx);
    for (;;) {
        limit = slowest(publisher, &who);
        if (is_ample(publisher, limit) && topic_tx_make_room(tx, size, limit))
            break;
        wake_slowest(who);
        if (publisher_waits(publisher))
            return -EAGAIN;
        if (topic_tx_make_room(tx, size, limit)) /* slow, but it reads */
            break;
        subscriber_cut(who, -EPIPE);
    }
    topic_tx_unwant(tx);
    return 0;
}

int ring_make_room(struct publisher *publisher, size_t size) {
    return size > topic_largest(&publisher->tx) ? -EMSGSIZE : make_room(publisher, size);
}

/* Each time that it hears of a reader that has read on; the application is told when there is room
 * for many events, not for one after the other. */
void ring_moved(struct publisher *publisher) {
    struct topic_tx *tx = &publisher->tx;
    struct subscriber *who = NULL;

    if (!publisher->wants_space)
        return;
    if (publisher->has_ring && tx->want & ARMED_ON &&
        !is_ample(publisher, slowest(publisher, &who))) {
        topic_tx_want(tx);
        if (!is_ample(publisher, slowest(publisher, &who)))
            return; /* it will ring again */
    }
    publisher->space_came = true;
    ring_look_again(publisher);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* What is in the ring now: visible at once, or with the next ones. */
static inline void go(struct publisher *publisher, bool more) {
    struct topic_tx *tx = &publisher->tx;

    if (more && tx->pos - WORD_POSITION(tx->tail) < STAGED_MAX)
        ring_look_again(publisher);
    else
        ring_publish(publisher);
}

void ring_plain(struct publisher *publisher, uint32_t code, const void *data, size_t size,
                bool more) {
    void *body = topic_tx_plain(&publisher->tx, code, (uint32_t) size);

    if (size > 0)
        memcpy(body, data, size);
    topic_tx_stage(&publisher->tx, size);
    go(publisher, more);
}

void ring_put(struct publisher *publisher, const struct topic_record *record, const void *extra,
              const void *data, bool more) {
    struct topic_tx *tx = &publisher->tx;
    uint8_t *body = topic_tx_header(tx, record);
    size_t size = record->size - record->extra;

    if (__builtin_expect(record->extra > 0, 0))
        memcpy(body, extra, record->extra);
    if (data && size > 0)
        memcpy(body + record->extra, data, size);
    topic_tx_stage(tx, record->size);
    go(publisher, more);
}

/* ---- its file -------------------------------------------------------------------------------- */

int ring_open(struct publisher *publisher) {
    tram_server *server = publisher->server;
    tram_node *node = tram_worker_node(server->endpoint.worker);
    uint64_t size = server->options.topic_ring ? server->options.topic_ring : RING_DEFAULT;
    bool found = false;
    int rc;

    if (publisher->has_ring)
        return 0;
    if (publisher->dir < 0) {
        rc = topic_dir(tram_bus_path(node), 0600);
        if (rc < 0)
            return rc;
        publisher->dir = rc;
        topic_dir_sweep(publisher->dir, tram_bus_path(node));
    }
    rc = topic_file_make(publisher->dir, tram_node_id(node), server->endpoint.port.port,
                         size, 0600, &publisher->file, &publisher->tx, &found);
    if (rc < 0)
        return rc;
    publisher->has_ring = true;
    publisher->kept = found;
    publisher->looked = WORD_POSITION(publisher->tx.tail);
    if (found)
        subscribers_resume(publisher);
    return 0;
}

void ring_reopen(struct publisher *publisher) {
    struct endpoint *endpoint = &publisher->server->endpoint;
    tram_node *node = tram_worker_node(endpoint->worker);

    if (tram_node_id(node) < TRAM_EPHEMERAL &&
        topic_file_left(tram_bus_path(node), tram_node_id(node), endpoint->port.port))
        (void) ring_open(publisher); /* its error comes again with the first subscriber */
}

void ring_close(struct publisher *publisher) {
    tram_node *node = tram_worker_node(publisher->server->endpoint.worker);
    bool ephemeral = tram_node_id(node) >= TRAM_EPHEMERAL;

    if (publisher->has_ring) {
        ring_publish(publisher);
        topic_file_close(&publisher->file);
        topic_file_remove(publisher->dir, tram_node_id(node),
                          publisher->server->endpoint.port.port, ephemeral);
    }
    publisher->has_ring = publisher->kept = publisher->wakes = false;
    if (publisher->listed)
        worker_source_remove(&publisher->source);
    publisher->listed = false;
    publisher->patience = tram_timer_free(publisher->patience);
    publisher->held_since = 0;
    if (publisher->dir >= 0)
        close(publisher->dir);
    publisher->dir = -1;
}
