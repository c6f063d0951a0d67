/* SPDX-License-Identifier: MIT */
#include "tram/service.h" /* the second layer has to be there */

#include "support/events.h"

#include <poll.h>
#include <string.h>

#include "harness.h"
#include "support/pair.h"

#define WORKERS 16

const char *events_address;

static tram_worker *workers[WORKERS];
static int count;

void events_go(tram_worker *worker) {
    CHECK(count < WORKERS);
    workers[count++] = worker;
}

void events_stop(tram_worker *worker) {
    for (int i = 0; i < count; i++)
        if (workers[i] == worker) {
            workers[i] = workers[--count];
            return;
        }
}

void events_turn(void) {
    struct pollfd entries[WORKERS];
    bool any = false;
    int used = count;

    for (int i = 0; i < used; i++) {
        int rc = tram_worker_dispatch(workers[i]);

        CHECK(rc >= 0);
        any |= rc > 0;
        entries[i] = (struct pollfd){.fd = tram_worker_fd(workers[i]), .events = POLLIN};
    }
    if (!any)
        (void) poll(entries, (nfds_t) used, 2);
}

/* ---- what is published ----------------------------------------------------------------------- */

void events_fill(uint8_t *data, uint64_t number, size_t size) {
    memcpy(data, &number, sizeof(number));
    for (size_t i = sizeof(number); i < size; i++)
        data[i] = (uint8_t) (number * 31 + i * 7);
}

static void on_space(tram_server *server, tram_session *session, void *arg) {
    struct events_pub *pub = arg;

    (void) server;
    pub->spaces += session == NULL;
}

static int on_set(tram_server *server, tram_session *session, const struct tram_view *view,
                  void *arg) {
    struct events_pub *pub = arg;

    (void) server;
    CHECK(session != NULL && view != NULL);
    pub->sets++;
    return pub->set_answer;
}

static const struct tram_server_handlers server_handlers = {.on_space = on_space, .on_set = on_set};

void events_publisher(struct events_pub *pub, const struct tram_server_options *options) {
    struct tram_server_options made = TRAM_SERVER_OPTIONS_INIT;
    struct tram_worker_options own = TRAM_WORKER_OPTIONS_INIT;

    if (options)
        made = *options;
    if (!made.handlers)
        made.handlers = &server_handlers;
    made.arg = pub;
    made.flags |= TRAM_SERVER_NO_DAEMON;
    own.id = EVENTS_SERVER;
    *pub = (struct events_pub){0};
    CHECK_OK(tram_worker_new(&own, &pub->worker));
    CHECK_OK(tram_server_new(pub->worker, EVENTS_NAME, &made, &pub->server));
    events_go(pub->worker);
}

void events_publisher_end(struct events_pub *pub) {
    events_stop(pub->worker);
    (void) tram_worker_free(pub->worker);
}

int events_publish(struct events_pub *pub, size_t size, const struct tram_how *how) {
    uint8_t data[EVENTS_SIZE_MAX];
    int rc;

    CHECK(size >= 8 && size <= sizeof(data));
    events_fill(data, pub->number + 1, size);
    rc = tram_server_publish(pub->server, 7, data, size, how);
    pub->number += rc == 0;
    return rc;
}

/* ---- what comes ------------------------------------------------------------------------------ */

static void on_event(tram_subscription *subscription, const struct tram_view *view, int status,
                     void *arg) {
    struct events_sub *sub = arg;
    uint8_t expected[EVENTS_SIZE_MAX];
    uint64_t number;

    CHECK(subscription == sub->subscription || !sub->subscription);
    if (!view) {
        CHECK(status < 0);
        sub->ended = status;
        return;
    }
    CHECK_EQ(status, 0);
    CHECK(view->size >= sizeof(number) && view->size <= sizeof(expected));
    memcpy(&number, view->data, sizeof(number));
    events_fill(expected, number, view->size);
    CHECK_MEM(view->data, expected, view->size);
    if (view->flags & TRAM_VIEW_INITIAL)
        sub->initial++;
    else if (!sub->loose && view->attempt == 1 && sub->last != 0)
        CHECK_EQ(number, sub->last + 1 + view->missed);
    if (sub->last != 0 && number <= sub->last && view->attempt == 1)
        sub->broken_order = true;
    sub->attempts += view->attempt > 1;
    sub->count++;
    sub->missed += view->missed;
    sub->last = number;
    sub->code = view->code;
    sub->size = view->size;
    CHECK(strlen(view->topic) < sizeof(sub->topic));
    strcpy(sub->topic, view->topic);
    memcpy(sub->trace, view->trace, sizeof(sub->trace));
    if (sub->then)
        sub->then(sub, view);
}

static void on_state(tram_client *client, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    struct events_sub *sub = arg;

    (void) client;
    (void) who;
    sub->online += state == TRAM_STATE_ONLINE;
    sub->offline += state == TRAM_STATE_OFFLINE;
}

void events_subscriber(struct events_sub *sub, tram_id id) {
    static const struct tram_client_handlers handlers = {.on_state = on_state};

    *sub = (struct events_sub){0};
    sub->worker = pair_worker(id);
    sub->client = pair_client(sub->worker, events_address ? events_address : EVENTS_ADDRESS, 0,
                              &handlers, sub);
    events_go(sub->worker);
}

void events_subscribe(struct events_sub *sub, uint32_t event, const char *topic,
                      const struct tram_subscribe_options *options) {
    CHECK_OK(tram_client_subscribe(sub->client, event, topic, options, on_event, sub,
                                   &sub->subscription));
}

void events_subscriber_end(struct events_sub *sub) {
    events_stop(sub->worker);
    (void) tram_worker_free(sub->worker);
}
