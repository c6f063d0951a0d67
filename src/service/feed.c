/* SPDX-License-Identifier: MIT
 *
 * Reading a ring of events: looked at in each turn of the loop, armed before it sleeps.
 *
 * With back-pressure an event is handed out in place: the writer does not touch it, unless this
 * reader was cut off meanwhile, which is told when the handler returns. Otherwise it is copied, and
 * thrown away if it was overwritten while it was. What is not wanted is not copied.
 *
 * Most events are plain: nothing but payload, and all that came before was read. They go a short
 * way (plain_ones()) of some 70 instructions each.
 *
 * Who reads each event the moment it is published trades a line of cache with the writer for each.
 * So one that found many, and then nothing, looks away for a while, as a receive does, and lets
 * others have its core: where more read than there are cores, the writer or another reader.
 *
 * The position is stored once for a number of events; by a durable reader, after each, and before
 * each that it has it in hand: so that its successor has none twice, but the one that was in hand,
 * and that marked. What was missed, and not told yet, is left out of the number that is stored with
 * it: so its successor finds that gap again, and tells.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/service.h"
#include "service/subscribe.h"
#include "sys/clock.h"

#define TURN_EVENTS 128u
#define HANDED_MASK 7u
#define AWAY_FROM   16u    /* after so many events in one look … */
#define AWAY_NS     20000  /* … it looks away for so long */

enum found { FOUND_BAD, FOUND_LOST, FOUND_OTHER, FOUND_EXPIRED, FOUND };

static tram_worker *worker_of(const struct feed *feed) {
    return feed->subscription->client->endpoint.worker;
}

/* ---- one event ------------------------------------------------------------------------------- */

static enum found read_extra(struct feed *feed, const struct topic_view *event,
                             struct frame_extra *extra) {
    struct frame frame = {.kind = FRAME_EVENT,
                          .flags = event->record.flags,
                          .extra = event->record.extra,
                          .port = 1,
                          .correlation = UINT64_C(1) << 32};
    uint8_t bytes[FRAME_EXTRA_MAX];

    if (frame.extra > sizeof(bytes))
        return FOUND_BAD;
    memcpy(bytes, event->body, frame.extra);
    if (!topic_rx_intact(&feed->rx, event))
        return FOUND_LOST;
    return frame_read(&frame, bytes, event->record.size, extra) < 0 ? FOUND_BAD : FOUND;
}

int feed_extra(struct feed *feed, const struct topic_view *event, struct frame_extra *extra) {
    enum found found = read_extra(feed, event, extra);

    return found == FOUND ? 1 : found == FOUND_LOST ? 0 : -EBADMSG;
}

/* By a clock that is read once in a turn, and only if there is something to be compared. */
static bool is_past(struct feed *feed, int64_t deadline) {
    if (feed->now == 0)
        feed->now = (int64_t) sys_now();
    return feed->now >= deadline;
}

/* Is it for us? */
static enum found examine(struct feed *feed, const struct topic_view *event,
                          struct frame_extra *extra) {
    const struct tram_subscription *subscription = feed->subscription;
    enum found found;

    if (subscription->event != TRAM_ANY_EVENT && subscription->event != event->record.code)
        return FOUND_OTHER;
    if (event->record.flags == 0 && event->record.extra == 0) {
        extra->deadline = INT64_MAX;
        extra->topic[0] = 0;
        memset(extra->trace, 0, sizeof(extra->trace));
        return subscription->topic[0] && !topic_fits(subscription->topic, "") ? FOUND_OTHER : FOUND;
    }
    found = read_extra(feed, event, extra);
    if (found != FOUND)
        return found;
    if (subscription->topic[0] && !topic_fits(subscription->topic, extra->topic))
        return FOUND_OTHER;
    return extra->deadline != INT64_MAX && is_past(feed, extra->deadline) ? FOUND_EXPIRED : FOUND;
}

/* A copy of what lies there; NULL: it was overwritten meanwhile, or there is no memory. */
static const uint8_t *copied(struct feed *feed, const uint8_t *data, size_t size, uint64_t at) {
    struct tram_subscription *subscription = feed->subscription;

    if (subscription->copy_size < size || !subscription->copy) {
        uint8_t *copy = realloc(subscription->copy, size + 64);

        if (!copy)
            return NULL;
        subscription->copy = copy;
        subscription->copy_size = size + 64;
    }
    memcpy(subscription->copy, data, size);
    return topic_rx_holds(&feed->rx, at) ? subscription->copy : NULL;
}

/* The payload, safe from the writer; NULL: as above. */
static const uint8_t *payload(struct feed *feed, const struct topic_view *event) {
    const uint8_t *data = event->body + event->record.extra;

    if (feed->subscription->delivery == TRAM_DELIVER_BLOCK)
        return data;
    return copied(feed, data, event->record.size - event->record.extra, event->at);
}

/* Before a durable one is handed out. How often that was done before, and 1. */
static uint32_t in_hand(struct feed *feed, uint64_t at) {
    uint64_t times = WORD_POSITION(feed->handed) == at ? feed->handed & HANDED_MASK : 0;

    store_relaxed(&feed->rx.mine->handed, at | (times < HANDED_MASK ? times + 1 : times));
    return (uint32_t) times + 1;
}

/* Hand it out. False: the feed is gone. */
static bool hand(struct feed *feed, const struct topic_view *event,
                 const struct frame_extra *extra, const uint8_t *data) {
    bool traced = event->record.flags & FRAME_TRACE;
    bool in_place = feed->subscription->delivery == TRAM_DELIVER_BLOCK;
    bool durable = feed->subscription->durable[0] != 0;
    struct tram_view view = {
        .data = data,
        .size = event->record.size - event->record.extra,
        .code = event->record.code,
        .attempt = durable ? in_hand(feed, event->at) : 1,
        .topic = extra->topic,
        .deadline_ns = extra->deadline == INT64_MAX ? TRAM_FOREVER : extra->deadline,
        .time_ns = event->record.time_ns,
        .missed = feed->missed,
        .from = feed->node,
    };

    memcpy(view.trace, extra->trace, sizeof(view.trace));
    feed->missed = 0;
    if (!subscription_hand(feed->subscription, &view, traced ? extra->trace : NULL))
        return false;
    if (in_place && !topic_rx_intact(&feed->rx, event)) {
        subscription_end(feed->subscription, -EPIPE);
        return false;
    }
    if (durable)
        feed_done(feed);
    return true;
}

/* ---- turns of the loop ----------------------------------------------------------------------- */

void feed_done(struct feed *feed) {
    uint64_t number = feed->rx.number;
    struct frame frame;

    if (feed->subscription->raw || !feed->reading)
        return;
    if (feed->missed > 0 && feed->subscription->durable[0] && number != TOPIC_UNKNOWN)
        number -= feed->missed < number ? feed->missed : number;
    if (!topic_rx_done_to(&feed->rx, feed->rx.pos, number) || !feed->session ||
        feed->far) /* the relay looks by itself */
        return;
    frame = session_frame(feed->session, FRAME_NEWS,
                          session_own(feed->session) | feed->subscription->number);
    session_control(feed->session, frame, 0, NULL, 0);
}

static void count_missed(struct feed *feed, uint64_t missed) {
    struct topic_reader *mine = feed->rx.mine;

    feed->missed += missed;
    store_relaxed(&mine->missed, load_relaxed(&mine->missed) + missed);
}

/* The next one that is for us. FOUND_OTHER: there is none. */
static enum found next(struct feed *feed, struct topic_view *event, struct frame_extra *extra,
                       uint32_t *left) {
    for (;;) {
        enum topic_result result;
        enum found found;

        if (*left == 0)
            return FOUND_OTHER;
        --*left;
        result = topic_rx_next(&feed->rx, event);
        if (result != TOPIC_EVENT)
            return result == TOPIC_NONE ? FOUND_OTHER : FOUND_BAD;
        found = examine(feed, event, extra);
        if (__builtin_expect(feed->rx.missed > 0, 0)) {
            count_missed(feed, feed->rx.missed);
            if (feed->subscription->delivery == TRAM_DELIVER_BLOCK &&
                !feed->subscription->durable[0])
                return FOUND_LOST;
        }
        if (found == FOUND || found == FOUND_BAD)
            return found;
        if (found != FOUND_OTHER)
            count_missed(feed, 1);
    }
}

/* May there be events for it that go the short way? */
static bool takes_plain(const struct feed *feed) {
    const struct tram_subscription *subscription = feed->subscription;

    return !subscription->durable[0] && feed->missed == 0 && !trace_on() &&
           (!subscription->topic[0] || topic_fits(subscription->topic, ""));
}

/* As many as there are next. False: the feed is gone. */
static bool plain_ones(struct feed *feed, uint32_t *left) {
    static const struct frame_extra none;
    struct tram_subscription *subscription = feed->subscription;
    bool in_place = subscription->delivery == TRAM_DELIVER_BLOCK;
    struct tram_view view = {.topic = none.topic,
                             .attempt = 1,
                             .deadline_ns = TRAM_FOREVER,
                             .from = feed->node};
    struct topic_plain event;
    uint32_t n;

    for (n = *left; n > 0 && topic_rx_plain(&feed->rx, &event); n--) {
        if (subscription->event != event.code && subscription->event != TRAM_ANY_EVENT)
            continue;
        view.data = in_place ? event.data
                             : copied(feed, event.data, event.size, event.at);
        if (!view.data) {
            count_missed(feed, 1);
            n--;
            break;
        }
        view.size = event.size;
        view.code = event.code;
        view.time_ns = event.time_ns;
        subscription->fn(subscription, &view, 0, subscription->arg);
        trace_leave();
        if (subscription->dead || subscription->status != 0)
            return false;
        if (in_place && !topic_rx_holds(&feed->rx, event.at)) {
            subscription_end(subscription, -EPIPE);
            return false;
        }
    }
    *left = n;
    return true;
}

/* 0, or why the subscription ends. *ret_gone: it is gone already. */
static int turn_all(struct feed *feed, bool *ret_gone) {
    bool plain = takes_plain(feed);
    struct frame_extra extra;
    struct topic_view event;
    uint32_t left = TURN_EVENTS;
    enum found found;

    if (plain && !plain_ones(feed, &left)) {
        *ret_gone = true;
        return 0;
    }
    while ((found = next(feed, &event, &extra, &left)) == FOUND) {
        const uint8_t *data = payload(feed, &event);

        if (!data) {
            count_missed(feed, 1);
        } else if (!hand(feed, &event, &extra, data)) {
            *ret_gone = true;
            return 0;
        }
    }
    if (feed->rx.pos == feed->rx.tail && TURN_EVENTS - left >= AWAY_FROM)
        feed->away = worker_read_clock(worker_of(feed)) + AWAY_NS;
    feed_done(feed);
    return found == FOUND_BAD ? -EBADMSG : found == FOUND_LOST ? -EPIPE : 0;
}

/* All but the newest is skipped. */
static int turn_last(struct feed *feed, bool *ret_gone) {
    struct frame_extra extra, last_extra;
    struct topic_view event, last;
    uint32_t left = UINT32_MAX;
    const uint8_t *data;
    bool any = false;
    enum found found;

    while ((found = next(feed, &event, &extra, &left)) == FOUND) {
        if (any)
            count_missed(feed, 1);
        any = true;
        last = event;
        last_extra = extra;
    }
    if (any && (data = payload(feed, &last)))
        *ret_gone = !hand(feed, &last, &last_extra, data);
    else if (any)
        count_missed(feed, 1);
    if (!*ret_gone)
        feed_done(feed);
    return found == FOUND_BAD ? -EBADMSG : 0;
}

static bool turn(struct worker_source *source) {
    struct feed *feed = container_of(source, struct feed, source);
    struct raw *raw = feed->subscription->raw;
    bool gone = false;
    int rc;

    if (feed->subscription->client->endpoint.service->pumping || (raw && raw->full))
        return false;
    if (feed->away != 0 && worker_looks(worker_of(feed)) &&
        worker_now(worker_of(feed)) < feed->away) {
        sys_yield();
        return true; /* no time to sleep: there will be more */
    }
    feed->away = 0;
    if (sys_map_torn(&feed->ring.map) || sys_map_torn(&feed->reader.map) ||
        !topic_rx_look(&feed->rx)) {
        subscription_end(feed->subscription, -EBADMSG);
        return true;
    }
    if (feed->rx.pos == feed->rx.tail) {
        if ((feed->follows || !feed->session) && !(raw && raw->busy))
            (void) feed_drained(feed); /* nothing of it is touched any more */
        return false;
    }
    feed->now = 0;
    if (raw)
        rc = raw_turn(feed);
    else if (feed->subscription->delivery == TRAM_DELIVER_LAST)
        rc = turn_last(feed, &gone);
    else
        rc = turn_all(feed, &gone);
    if (rc < 0 && !gone)
        subscription_end(feed->subscription, rc);
    return true;
}

static bool sleep_on(struct worker_source *source) {
    struct feed *feed = container_of(source, struct feed, source);

    if (feed->subscription->client->endpoint.service->pumping)
        return true; /* it is read when that is over */
    if (feed->subscription->raw && feed->subscription->raw->full)
        return true; /* likewise */
    feed->away = 0;
    topic_rx_arm(&feed->rx);
    fence(); /* F2 */
    return topic_rx_look(&feed->rx) && feed->rx.pos == feed->rx.tail;
}

static void wake(struct worker_source *source) {
    topic_rx_disarm(&container_of(source, struct feed, source)->rx);
}

void feed_listen(struct feed *feed) {
    feed->reading = true;
    feed->source = (struct worker_source){.turn = turn, .sleep = sleep_on, .wake = wake};
    worker_source_add(worker_of(feed), &feed->source);
}
