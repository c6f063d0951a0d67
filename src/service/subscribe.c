/* SPDX-License-Identifier: MIT */
#include "service/subscribe.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service/events.h"
#include "service/service.h"

/* ---- handing out ----------------------------------------------------------------------------- */

bool subscription_hand(struct tram_subscription *subscription, const struct tram_view *view,
                       const uint8_t *trace) {
    trace_enter(trace);
    subscription->fn(subscription, view, 0, subscription->arg);
    trace_leave();
    return !subscription->dead && subscription->status == 0;
}

static void tell_end(struct worker_deferred *deferred) {
    struct tram_subscription *subscription =
        container_of(deferred, struct tram_subscription, tell);

    if (subscription->dead || subscription->told ||
        subscription->client->endpoint.service->pumping) /* then it is told afterwards */
        return;
    subscription->told = true;
    subscription->fn(subscription, NULL, subscription->status, subscription->arg);
}

void subscription_end(struct tram_subscription *subscription, int status) {
    if (subscription->status != 0 || subscription->dead)
        return;
    subscription->status = status;
    while (subscription->feeds)
        feed_free(subscription->feeds);
    worker_defer(subscription->client->endpoint.worker, &subscription->tell);
}

void subscribe_after_pump(tram_client *client) {
    struct subscriptions *all = client->events;

    for (struct tram_subscription *at = all ? all->first : NULL; at; at = at->next)
        if (at->status != 0 && !at->told)
            worker_defer(client->endpoint.worker, &at->tell);
}

/* ---- what the endpoint tells ----------------------------------------------------------------- */

static struct tram_subscription *find(tram_client *client, uint32_t number) {
    struct subscriptions *all = client->events;
    struct tram_subscription *at = all ? all->first : NULL;

    while (at && at->number != number)
        at = at->next;
    return at;
}

static struct feed *feed_of(struct tram_subscription *subscription, const tram_session *session) {
    struct feed *feed = subscription->feeds;

    while (feed && feed->session != session)
        feed = feed->next;
    return feed;
}

static void event_came(struct feed *feed, const struct inbound *in) {
    struct tram_subscription *subscription = feed->subscription;
    struct tram_view view;

    feed->missed += in->extra.window;
    if (in->extra.deadline != INT64_MAX &&
        worker_now(subscription->client->endpoint.worker) >= in->extra.deadline) {
        feed->missed++;
        return;
    }
    view_of(in, &view);
    view.missed = feed->missed;
    feed->missed = 0;
    (void) subscription_hand(subscription, &view, trace_of(in)); /* nothing is touched any more */
}

void subscribe_frame(tram_session *session, struct inbound *in) {
    tram_client *client = client_of(session->endpoint);
    struct tram_subscription *subscription;
    struct subscribed said;
    struct feed *feed;

    if (in->frame.kind == FRAME_NEWS)
        return; /* there to wake the loop, which looks at its rings by itself */
    subscription = find(client, (uint32_t) in->frame.correlation);
    feed = subscription ? feed_of(subscription, session) : NULL;
    if (!feed)
        return; /* of a subscription that is over */
    if (in->frame.kind == FRAME_EVENT) {
        session->events_ever++;
        event_came(feed, in);
    } else if (subscribed_read(in->data, in->size, &said) == 0) {
        feed_confirmed(feed, &said);
    } else {
        session->endpoint->nonsense++;
    }
}

void subscribe_session_ready(tram_session *session) {
    struct subscriptions *all = client_of(session->endpoint)->events;

    for (struct tram_subscription *at = all ? all->first : NULL; at; at = at->next)
        if (at->status == 0)
            feed_begin(at, session);
}

void subscribe_session_gone(tram_session *session) {
    struct subscriptions *all = client_of(session->endpoint)->events;

    for (struct tram_subscription *at = all ? all->first : NULL; at; at = at->next) {
        struct feed *feed = feed_of(at, session);

        if (feed)
            feed_alone(feed);
    }
}

void events_client_gone(tram_client *client) {
    struct subscriptions *all = client->events;

    if (!all)
        return;
    while (all->first)
        (void) tram_subscription_free(all->first);
    if (all->dir >= 0)
        close(all->dir);
    client->events = NULL;
    free(all);
}

/* ---- the public part ------------------------------------------------------------------------- */

static void free_memory(struct worker_deferred *deferred) {
    struct tram_subscription *subscription =
        container_of(deferred, struct tram_subscription, memory);

    free(subscription->copy);
    free(subscription);
}

static int apply(tram_subscription *subscription, const char *topic,
                 const struct tram_subscribe_options *options) {
    if (topic && strlen(topic) > 255)
        return -EINVAL;
    strcpy(subscription->topic, topic ? topic : "");
    if (!options)
        return 0;
    if (options->struct_size < sizeof(*options) || options->delivery > TRAM_DELIVER_LAST)
        return -EINVAL;
    subscription->delivery = options->delivery;
    subscription->initial = options->initial;
    if (!options->durable)
        return 0;
    if (!durable_name_ok(options->durable))
        return -EINVAL;
    strcpy(subscription->durable, options->durable);
    return 0;
}

static struct subscriptions *subscriptions_get(tram_client *client) {
    struct subscriptions *all = client->events;

    if (!all && (all = calloc(1, sizeof(*all))))
        all->dir = -1;
    client->events = all;
    return all;
}

static void list(struct subscriptions *all, tram_subscription *subscription) {
    subscription->number = ++all->numbers;
    subscription->next = all->first;
    subscription->link = &all->first;
    if (subscription->next)
        subscription->next->link = &subscription->next;
    all->first = subscription;
}

int tram_client_subscribe(tram_client *client, uint32_t event, const char *topic,
                          const struct tram_subscribe_options *options, tram_event_fn *fn,
                          void *arg, tram_subscription **ret_subscription) {
    tram_subscription *subscription;
    struct subscriptions *all;
    int rc = client ? worker_check(client->endpoint.worker) : -EINVAL;

    if (rc < 0)
        return rc;
    all = subscriptions_get(client);
    subscription = all ? calloc(1, sizeof(*subscription)) : NULL;
    if (!subscription)
        return worker_fail(client->endpoint.worker, -ENOMEM, "no memory for a subscription");
    if (!fn || client->endpoint.dead || apply(subscription, topic, options) < 0) {
        free(subscription);
        return worker_fail(client->endpoint.worker, -EINVAL, "an argument is out of its range");
    }
    subscription->client = client;
    subscription->event = event;
    subscription->fn = fn;
    subscription->arg = arg;
    subscription->memory.fn = free_memory;
    subscription->tell.fn = tell_end;
    list(all, subscription);
    for (tram_session *at = client->endpoint.sessions; at; at = at->next)
        if (at->state == SESSION_ONLINE && subscription->status == 0)
            feed_begin(subscription, at);
    if (ret_subscription)
        *ret_subscription = subscription;
    return 0;
}

static tram_subscription *end(tram_subscription *subscription, bool forget) {
    tram_client *client;

    if (!subscription || subscription->dead)
        return NULL;
    client = subscription->client;
    if (worker_check(client->endpoint.worker) < 0)
        return NULL;
    subscription->dead = true;
    while (subscription->feeds) {
        struct feed *feed = subscription->feeds;
        tram_session *session = feed->session;

        feed_done(feed);
        if (session)
            session_control(session,
                            session_frame(session, FRAME_UNSUBSCRIBE,
                                          session_own(session) | subscription->number),
                            subscription->durable[0] && !forget ? UNSUBSCRIBE_AWAY : 0, NULL, 0);
        if (forget)
            feed_forget(feed);
        feed_free(feed);
    }
    *subscription->link = subscription->next;
    if (subscription->next)
        subscription->next->link = subscription->link;
    worker_defer(client->endpoint.worker, &subscription->memory);
    return NULL;
}

tram_subscription *tram_subscription_free(tram_subscription *subscription) {
    return end(subscription, false);
}

tram_subscription *tram_subscription_forget(tram_subscription *subscription) {
    return end(subscription, true);
}
