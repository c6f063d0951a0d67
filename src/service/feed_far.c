/* SPDX-License-Identifier: MIT
 *
 * Events of a server on another host. They come as messages at first, one for each subscriber. The
 * daemon here is told of the reader, and has a copy of the server's ring from then on: with the
 * same id and the same numbers, each event once for all readers here. When that stands, the server
 * is asked to send nothing more, and answers, behind its last message, with the number from which
 * on all comes by the ring. So nothing is lost or repeated in between, and what is published behind
 * a subscription arrives, whatever the daemons do.
 *
 * A durable one waits for the ring: what it has not read lies there, and comes first.
 */
#include <errno.h>

#include "service/service.h"
#include "service/subscribe.h"

static void on_relayed(struct names_relay *relay, uint64_t ring, int error) {
    struct feed *feed = container_of(relay, struct feed, relay);

    if (error == -ENOTCONN) {
        feed->over = true;
        return;
    }
    if (error < 0 && (feed->reading || feed->waits || feed->subscription->durable[0])) {
        subscription_end(feed->subscription, error);
        return;
    }
    if (error < 0)
        return; /* it stays with messages */
    feed->here = ring;
    if (feed->waits) {
        feed->waits = ring != feed->said.topic;
        if (!feed->waits)
            feed_read(feed);
    } else if (!feed->reading && feed->session && !feed->asked) {
        feed->asked = true;
        feed_ask(feed, READER_RELAYED);
    }
}

static int relay(struct feed *feed) {
    int rc = feed->relay.wish ? 0 : feed_reader(feed);

    if (rc < 0 || feed->relay.wish)
        return rc;
    feed->relay.on_relayed = on_relayed;
    return names_relay(feed->subscription->client->endpoint.worker, &feed->relay, feed->name.text);
}

void feed_far_begin(struct feed *feed) {
    bool durable = feed->subscription->durable[0] != 0;
    int rc = 0;

    feed->far = true;
    feed->asked = feed->reading || feed->waits || (durable && feed->here != 0);
    if (feed->asked)
        feed_ask(feed, READER_RELAYED);
    else if (durable)
        rc = relay(feed);
    else
        feed_ask(feed, 0);
    if (rc < 0)
        subscription_end(feed->subscription, rc);
}

void feed_far_confirmed(struct feed *feed, const struct subscribed *said) {
    if (!said->ring) {
        (void) relay(feed); /* else it stays with messages */
        return;
    }
    feed->said = *said;
    if (feed->reading) {
        feed->follows = load_relaxed(&feed->rx.words->id) != said->topic;
        return;
    }
    feed->waits = feed->here != said->topic;
    if (!feed->waits)
        feed_read(feed);
}

void feed_far_end(struct feed *feed) {
    names_relay_end(&feed->relay);
    feed->far = false;
}
