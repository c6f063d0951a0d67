/* SPDX-License-Identifier: MIT
 *
 * Reading a ring to pass it on: every event, with its number, and done with only when somebody else
 * has it.
 */
#include <errno.h>
#include <string.h>

#include "service/service.h"
#include "service/subscribe.h"

#define TURN_EVENTS 128u

int raw_subscribe(tram_client *client, enum tram_delivery delivery, const char *durable,
                  struct raw *raw, tram_event_fn *fn, void *arg, tram_subscription **ret) {
    struct tram_subscribe_options options = TRAM_SUBSCRIBE_OPTIONS_INIT;
    int rc;

    options.delivery = delivery;
    options.durable = durable;
    raw->full = raw->busy = false;
    rc = tram_client_subscribe(client, TRAM_ANY_EVENT, NULL, &options, fn, arg, ret);
    if (rc == 0)
        (*ret)->raw = raw; /* nothing is read before the server has answered */
    return rc;
}

/* One event. False: there is none, or it is not taken. *ret_error: -EBADMSG */
static bool one(struct feed *feed, int *ret_error) {
    struct raw *raw = feed->subscription->raw;
    struct topic_rx before = feed->rx;
    struct frame_extra extra;
    struct topic_view event;
    enum topic_result result = topic_rx_next(&feed->rx, &event);
    enum raw_result taken;
    int rc;

    if (result != TOPIC_EVENT) {
        *ret_error = result == TOPIC_NONE ? 0 : -EBADMSG;
        return false;
    }
    rc = feed_extra(feed, &event, &extra);
    if (rc < 0) {
        *ret_error = rc;
        return false;
    }
    taken = rc == 0 ? RAW_LOST
                    : raw->on_event(raw, &feed->rx, &event, &extra,
                                    feed->missed + feed->rx.missed);
    if (taken == RAW_FULL) {
        feed->rx = before;
        return false;
    }
    feed->missed = taken == RAW_TOOK ? 0 : feed->missed + feed->rx.missed + 1;
    return true;
}

int raw_turn(struct feed *feed) {
    struct raw *raw = feed->subscription->raw;
    int error = 0;

    for (unsigned n = 0; n < TURN_EVENTS && one(feed, &error); n++)
        ;
    raw->on_rest(raw);
    return error;
}

void raw_done(tram_subscription *subscription, uint64_t pos, uint64_t number) {
    struct feed *feed = subscription->feeds;
    struct frame frame;

    if (!feed || !feed->reading || !topic_rx_done_to(&feed->rx, pos, number) || !feed->session)
        return;
    frame = session_frame(feed->session, FRAME_NEWS,
                          session_own(feed->session) | subscription->number);
    session_control(feed->session, frame, 0, NULL, 0);
}

void raw_rewind(tram_subscription *subscription) {
    struct feed *feed = subscription->feeds;

    if (!feed || !feed->reading)
        return;
    feed->rx.pos = WORD_POSITION(feed->rx.position);
    feed->rx.number = load_relaxed(&feed->rx.mine->number[WORD_SLOT(feed->rx.position)]);
    feed->missed = 0;
}

bool raw_position(const tram_subscription *subscription, uint64_t *ret_pos, uint64_t *ret_number) {
    const struct feed *feed = subscription ? subscription->feeds : NULL;

    if (!feed || !feed->reading)
        return false;
    *ret_pos = feed->rx.pos;
    *ret_number = feed->rx.number;
    if (*ret_number != TOPIC_UNKNOWN) /* what was lost last is told with the next one */
        *ret_number -= feed->missed < *ret_number ? feed->missed : *ret_number;
    return true;
}
