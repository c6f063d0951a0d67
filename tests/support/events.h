/* SPDX-License-Identifier: MIT
 *
 * For the tests of events: workers that one thread drives together, a publisher and subscribers on
 * them, and events that carry their number, so that what is lost, comes twice or out of order is
 * seen.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tram/service.h"

#define EVENTS_SERVER TRAM_ID(1, 1, 6, 1)
#define EVENTS_ADDRESS "shm://1.1.6.1/feed"
#define EVENTS_NAME    "svc://feed"

struct events_pub {
    tram_worker *worker;
    tram_server *server;
    int spaces, sets, set_answer;
    uint64_t number; /* of the last event published */
};

struct events_sub {
    tram_worker *worker;
    tram_client *client;
    tram_subscription *subscription;
    uint64_t count, missed, last, initial, attempts; /* attempts: with one above 1 */
    int ended, offline, online;
    bool loose;              /* the sum of numbers needs not to fit */
    bool broken_order;
    uint32_t code;           /* of the last */
    size_t size;
    char topic[256];
    uint8_t trace[16];
    void (*then)(struct events_sub *sub, const struct tram_view *view);
};

/* The payload of an event: its number, and what follows made from that. */
#define EVENTS_SIZE_MAX 4096
void events_fill(uint8_t *data, uint64_t number, size_t size);

void events_publisher(struct events_pub *pub, const struct tram_server_options *options);
void events_publisher_end(struct events_pub *pub);
/* Publish the next number with this size (at least 8). */
int events_publish(struct events_pub *pub, size_t size, const struct tram_how *how);

/* Where subscribers find the publisher; NULL: EVENTS_ADDRESS. */
extern const char *events_address;

/* id 0: ephemeral. */
void events_subscriber(struct events_sub *sub, tram_id id);
void events_subscribe(struct events_sub *sub, uint32_t event, const char *topic,
                      const struct tram_subscribe_options *options);
void events_subscriber_end(struct events_sub *sub);

/* One turn of all workers here, and a short wait if none has anything to do. */
void events_turn(void);
/* Leave one out of it, or take it in again. */
void events_stop(tram_worker *worker);
void events_go(tram_worker *worker);

#define EVENTS_UNTIL(condition)                                                                    \
    do {                                                                                           \
        int64_t until_ = pair_now() + pair_patience();                                             \
        while (!(condition)) {                                                                     \
            events_turn();                                                                         \
            if (pair_now() > until_)                                                               \
                FAIL("in vain: %s", #condition);                                                   \
        }                                                                                          \
    } while (0)
