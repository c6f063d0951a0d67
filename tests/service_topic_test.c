/* SPDX-License-Identifier: MIT
 *
 * Topics without a broker: many publish, many subscribe, and the daemon only says who is there.
 */
// test: timeout=60
#include "support/tramd.h"

#include <stdio.h>
#include <string.h>

#include "support/pair.h"
#include "tram/service.h"

#define PUBLISHERS  3
#define SUBSCRIBERS 3

struct one {
    tram_worker *worker;
    tram_server *server;
    tram_client *client;
    uint64_t last[PUBLISHERS], missed;
    int servers;
};

static struct one publishers[PUBLISHERS], subscribers[SUBSCRIBERS];

static void on_event(tram_subscription *subscription, const struct tram_view *view, int status,
                     void *arg) {
    struct one *one = arg;
    uint64_t said[2];

    (void) subscription;
    CHECK_EQ(status, 0);
    CHECK_EQ(view->size, sizeof(said));
    memcpy(said, view->data, sizeof(said));
    CHECK(said[0] < PUBLISHERS);
    if (one->last[said[0]] != 0)
        CHECK_EQ(said[1], one->last[said[0]] + 1);
    one->last[said[0]] = said[1];
    one->missed += view->missed;
}

static void on_state(tram_client *client, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    struct one *one = arg;

    (void) client;
    CHECK(strncmp(who->name, "topic/chat:", 11) == 0);
    one->servers += state == TRAM_STATE_ONLINE ? 1 : -1;
}

static void turn(void) {
    for (int i = 0; i < PUBLISHERS; i++)
        if (publishers[i].worker)
            pair_turn(publishers[i].worker);
    for (int i = 0; i < SUBSCRIBERS; i++)
        pair_turn(subscribers[i].worker);
}

static bool all_see(int servers) {
    for (int i = 0; i < SUBSCRIBERS; i++)
        if (subscribers[i].servers != servers)
            return false;
    return true;
}

static bool all_read(uint64_t who, uint64_t number) {
    for (int i = 0; i < SUBSCRIBERS; i++)
        if (subscribers[i].last[who] != number)
            return false;
    return true;
}

#define TOPIC_UNTIL(condition)                                                                     \
    do {                                                                                           \
        int64_t until_ = pair_now() + pair_patience();                                             \
        while (!(condition)) {                                                                     \
            turn();                                                                                \
            if (pair_now() > until_)                                                               \
                FAIL("in vain: %s", #condition);                                                   \
        }                                                                                          \
    } while (0)

static void publish(uint64_t who, uint64_t number) {
    uint64_t said[2] = {who, number};

    CHECK_OK(tram_server_publish(publishers[who].server, 1, said, sizeof(said), NULL));
}

TEST_TIMEOUT(many_publish_and_many_subscribe, 40) {
    static const struct tram_client_handlers handlers = {.on_state = on_state};
    uint64_t number[PUBLISHERS] = {0};

    (void) tramd_start(NULL);
    for (int i = 0; i < SUBSCRIBERS; i++) {
        subscribers[i].worker = pair_worker(0);
        subscribers[i].client =
            pair_client(subscribers[i].worker, "topic://chat", 0, &handlers, &subscribers[i]);
        CHECK_OK(tram_client_subscribe(subscribers[i].client, TRAM_ANY_EVENT, NULL, NULL, on_event,
                                       &subscribers[i], NULL));
    }
    for (int i = 0; i < PUBLISHERS; i++) {
        publishers[i].worker = pair_worker(0);
        CHECK_OK(
            tram_server_new(publishers[i].worker, "topic://chat", NULL, &publishers[i].server));
    }
    TOPIC_UNTIL(all_see(PUBLISHERS));
    for (uint64_t i = 0; i < PUBLISHERS; i++)
        do {
            publish(i, ++number[i]);
            turn();
        } while (!all_read(i, number[i]));
    for (int round = 0; round < 2000; round++) {
        for (uint64_t i = 0; i < PUBLISHERS; i++)
            publish(i, ++number[i]);
        if (round % 50 == 0)
            turn();
    }
    for (uint64_t i = 0; i < PUBLISHERS; i++)
        TOPIC_UNTIL(all_read(i, number[i]));
    (void) tram_worker_free(publishers[0].worker);
    publishers[0].worker = NULL;
    TOPIC_UNTIL(all_see(PUBLISHERS - 1));
    publish(1, ++number[1]);
    TOPIC_UNTIL(all_read(1, number[1]));
    for (int i = 0; i < SUBSCRIBERS; i++)
        CHECK_EQ(subscribers[i].missed, 0);
    for (int i = 1; i < PUBLISHERS; i++)
        (void) tram_worker_free(publishers[i].worker);
    for (int i = 0; i < SUBSCRIBERS; i++)
        (void) tram_worker_free(subscribers[i].worker);
    test_kill(tramd_running());
}
