/* SPDX-License-Identifier: MIT
 *
 * Events: who gets which, in which order, and what becomes of who is too slow. Publisher and
 * subscribers are workers of one thread here; deaths are in service_events_death_test.c.
 */
// test: timeout=120
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "support/events.h"
#include "support/pair.h"
#include "tram/service.h"

#define SMALL_RING 65536

/* Let everybody who subscribed be known to the publisher: an event reaches them all. */
static void settle(struct events_pub *pub, struct events_sub *subs, int count) {
    for (int i = 0; i < count; i++)
        EVENTS_UNTIL(subs[i].online > 0);
    for (int i = 0; i < count; i++)
        while (subs[i].count == 0) {
            CHECK_OK(events_publish(pub, 8, NULL));
            for (int turns = 0; turns < 20 && subs[i].count == 0; turns++)
                events_turn();
        }
    EVENTS_UNTIL(subs[count - 1].last == pub->number);
    for (int i = 0; i < count; i++)
        EVENTS_UNTIL(subs[i].last == pub->number);
}

TEST(each_event_reaches_each_subscriber_in_order) {
    struct events_pub pub;
    struct events_sub subs[4];

    events_publisher(&pub, NULL);
    for (int i = 0; i < 4; i++) {
        events_subscriber(&subs[i], 0);
        events_subscribe(&subs[i], 7, NULL, NULL);
    }
    settle(&pub, subs, 4);
    for (int i = 0; i < 20000; i++) {
        CHECK_OK(events_publish(&pub, 8 + (size_t) (i * 37 % 900), NULL));
        if (i % 64 == 0)
            events_turn();
    }
    for (int i = 0; i < 4; i++) {
        EVENTS_UNTIL(subs[i].last == pub.number);
        CHECK_EQ(subs[i].missed, 0);
        CHECK_EQ(subs[i].code, 7);
        events_subscriber_end(&subs[i]);
    }
    events_publisher_end(&pub);
}

TEST(nobody_has_to_listen) {
    struct events_pub pub;

    events_publisher(&pub, NULL);
    for (int i = 0; i < 100000; i++)
        CHECK_OK(events_publish(&pub, 100, NULL));
    CHECK_ERR(tram_server_publish(pub.server, TRAM_ANY_EVENT, NULL, 0, NULL), -EINVAL);
    CHECK_ERR(tram_server_publish(pub.server, 1, NULL, 8, NULL), -EINVAL);
    events_publisher_end(&pub);
}

TEST(more_are_sent_together) {
    struct tram_how how = TRAM_HOW_INIT;
    struct events_pub pub;
    struct events_sub sub;

    events_publisher(&pub, NULL);
    events_subscriber(&sub, 0);
    events_subscribe(&sub, TRAM_ANY_EVENT, NULL, NULL);
    settle(&pub, &sub, 1);
    how.flags = TRAM_HOW_MORE;
    for (int i = 0; i < 5000; i++)
        CHECK_OK(events_publish(&pub, 64, &how));
    EVENTS_UNTIL(sub.last == pub.number); /* the last of them by the end of the turn */
    CHECK_EQ(sub.missed, 0);
    events_subscriber_end(&sub);
    events_publisher_end(&pub);
}

TEST(topics_and_numbers_choose) {
    static const char *const topics[] = {"a", "a/b", "a/c", "b", "", "ab"};
    struct events_sub subs[5];
    struct tram_how how = TRAM_HOW_INIT;
    struct events_pub pub;

    events_publisher(&pub, NULL);
    for (int i = 0; i < 5; i++) {
        events_subscriber(&subs[i], 0);
        subs[i].loose = true;
    }
    events_subscribe(&subs[0], 7, NULL, NULL);
    settle(&pub, subs, 1);
    events_subscribe(&subs[1], 7, "a", NULL);
    events_subscribe(&subs[2], TRAM_ANY_EVENT, "a*", NULL);
    events_subscribe(&subs[3], 7, "a/*", NULL);
    events_subscribe(&subs[4], 8, NULL, NULL);
    how.topic = "a";
    while (subs[1].count == 0 || subs[2].count == 0) {
        CHECK_OK(events_publish(&pub, 8, &how));
        events_turn();
    }
    how.topic = "a/b";
    while (subs[3].count == 0) {
        CHECK_OK(events_publish(&pub, 8, &how));
        events_turn();
    }
    EVENTS_UNTIL(subs[0].last == pub.number && subs[2].last == pub.number);
    for (int i = 0; i < 5; i++)
        subs[i].count = 0;
    for (size_t i = 0; i < sizeof(topics) / sizeof(topics[0]); i++) {
        how.topic = topics[i];
        CHECK_OK(events_publish(&pub, 8, &how));
    }
    EVENTS_UNTIL(subs[0].last == pub.number);
    for (int i = 0; i < 20; i++)
        events_turn();
    CHECK_EQ(subs[0].count, 6);
    CHECK_EQ(subs[1].count, 1);
    CHECK_EQ(subs[2].count, 4);
    CHECK_EQ(subs[3].count, 2);
    CHECK_EQ(subs[4].count, 0);
    CHECK_STR(subs[2].topic, "ab");
    CHECK_ERR(tram_client_subscribe(subs[0].client, 1, NULL, NULL, NULL, NULL, NULL), -EINVAL);
    for (int i = 0; i < 5; i++)
        events_subscriber_end(&subs[i]);
    events_publisher_end(&pub);
}

/* ---- cached values --------------------------------------------------------------------------- */

TEST(the_last_values_come_at_the_subscription) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    struct tram_subscribe_options wish = TRAM_SUBSCRIBE_OPTIONS_INIT;
    struct tram_how how = TRAM_HOW_INIT;
    struct events_pub pub;
    struct events_sub subs[3];

    options.cache = 5;
    events_publisher(&pub, &options);
    how.flags = TRAM_HOW_KEEP;
    how.topic = "t";
    for (int i = 0; i < 9; i++)
        CHECK_OK(events_publish(&pub, 600, &how));
    for (int i = 0; i < 3; i++)
        events_subscriber(&subs[i], 0);
    wish.initial = 3;
    events_subscribe(&subs[0], 7, "t*", &wish);
    wish.initial = 100;
    events_subscribe(&subs[1], TRAM_ANY_EVENT, NULL, &wish);
    events_subscribe(&subs[2], 7, NULL, NULL);
    EVENTS_UNTIL(subs[0].count == 3 && subs[1].count == 5);
    CHECK_EQ(subs[0].initial, 3);
    CHECK_EQ(subs[1].initial, 5);
    CHECK_EQ(subs[0].last, 9);
    CHECK(!subs[0].broken_order && !subs[1].broken_order);
    CHECK_STR(subs[1].topic, "t");
    EVENTS_UNTIL(subs[2].online > 0);
    while (subs[2].count == 0) {
        CHECK_OK(events_publish(&pub, 8, &how));
        events_turn();
    }
    EVENTS_UNTIL(subs[0].last == pub.number && subs[1].last == pub.number);
    CHECK_EQ(subs[0].initial, 3);
    CHECK_EQ(subs[2].initial, 0);
    for (int i = 0; i < 3; i++)
        events_subscriber_end(&subs[i]);
    events_publisher_end(&pub);
}

TEST(what_did_not_change_is_not_sent) {
    struct tram_how how = TRAM_HOW_INIT;
    struct events_pub pub;
    struct events_sub sub;
    uint64_t value = 1;
    uint8_t data[16];

    events_publisher(&pub, NULL);
    events_subscriber(&sub, 0);
    sub.loose = true;
    events_subscribe(&sub, TRAM_ANY_EVENT, NULL, NULL);
    settle(&pub, &sub, 1);
    sub.count = 0;
    how.flags = TRAM_HOW_CHANGED;
    for (int i = 0; i < 10; i++) {
        value = (uint64_t) (1000 + i / 5);
        events_fill(data, value, sizeof(data));
        CHECK_OK(tram_server_publish(pub.server, 9, data, sizeof(data), &how));
    }
    how.flags = TRAM_HOW_KEEP; /* forced */
    CHECK_OK(tram_server_publish(pub.server, 9, data, sizeof(data), &how));
    EVENTS_UNTIL(sub.count >= 3);
    for (int i = 0; i < 10; i++)
        events_turn();
    CHECK_EQ(sub.count, 3);
    CHECK_EQ(sub.last, 1001);
    events_subscriber_end(&sub);
    events_publisher_end(&pub);
}

struct end {
    int count, status;
    uint64_t value;
};

static void ended(const struct tram_result *result, void *arg) {
    struct end *e = arg;

    e->count++;
    e->status = result->status;
    if (result->status == 0 && result->view.size >= sizeof(e->value))
        memcpy(&e->value, result->view.data, sizeof(e->value));
}

TEST(values_are_asked_for_and_set) {
    struct tram_how how = TRAM_HOW_INIT;
    struct events_pub pub;
    struct events_sub sub;
    uint8_t data[64];
    struct end e = {0};

    events_publisher(&pub, NULL);
    events_subscriber(&sub, 0);
    sub.loose = true;
    how.topic = "speed";
    CHECK_OK(tram_client_get(sub.client, 3, &how, ended, &e, NULL));
    EVENTS_UNTIL(e.count == 1);
    CHECK_ERR(e.status, -ENOENT);
    events_fill(data, 77, sizeof(data));
    CHECK_OK(tram_client_set(sub.client, 3, data, sizeof(data), &how, ended, &e, NULL));
    EVENTS_UNTIL(e.count == 2);
    CHECK_EQ(e.status, 0);
    CHECK_EQ(pub.sets, 1);
    CHECK_OK(tram_client_get(sub.client, 3, &how, ended, &e, NULL));
    EVENTS_UNTIL(e.count == 3);
    CHECK_EQ(e.status, 0);
    CHECK_EQ(e.value, 77);
    events_subscribe(&sub, 3, "speed", NULL);
    pub.set_answer = -EPERM;
    events_fill(data, 78, sizeof(data));
    CHECK_OK(tram_client_set(sub.client, 3, data, sizeof(data), &how, ended, &e, NULL));
    EVENTS_UNTIL(e.count == 4);
    CHECK_ERR(e.status, -EPERM);
    pub.set_answer = 0;
    CHECK_OK(tram_client_set(sub.client, 3, data, sizeof(data), &how, ended, &e, NULL));
    EVENTS_UNTIL(e.count == 5 && sub.count == 1);
    CHECK_EQ(e.status, 0);
    CHECK_EQ(sub.last, 78);
    CHECK_OK(tram_client_set(sub.client, TRAM_ANY_EVENT, data, 8, NULL, ended, &e, NULL));
    EVENTS_UNTIL(e.count == 6);
    CHECK_ERR(e.status, -EINVAL);
    events_subscriber_end(&sub);
    events_publisher_end(&pub);
}

TEST(to_one_only) {
    struct events_pub pub;
    struct events_sub subs[2];
    tram_session *session;
    uint8_t data[32];
    int sent = 0;

    events_publisher(&pub, NULL);
    for (int i = 0; i < 2; i++) {
        events_subscriber(&subs[i], 0);
        subs[i].loose = true;
        events_subscribe(&subs[i], 7, NULL, NULL);
    }
    settle(&pub, subs, 2);
    subs[0].count = subs[1].count = 0;
    session = tram_server_next(pub.server, NULL);
    CHECK(session);
    CHECK_ERR(tram_session_publish(session, 8, "12345678", 8, NULL), -ENOENT);
    for (uint64_t i = 1; i <= 50; i++) {
        events_fill(data, 5000 + i, sizeof(data));
        CHECK_OK(tram_session_publish(session, 7, data, sizeof(data), NULL));
        sent++;
    }
    EVENTS_UNTIL(subs[0].count + subs[1].count == 50);
    CHECK(subs[0].count == 0 || subs[1].count == 0);
    for (int i = 0; i < 2; i++)
        events_subscriber_end(&subs[i]);
    events_publisher_end(&pub);
}

/* ---- who is too slow ------------------------------------------------------------------------- */

TEST(who_sleeps_misses_the_oldest_and_knows_how_many) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    struct events_pub pub;
    struct events_sub subs[2];

    options.topic_ring = SMALL_RING;
    events_publisher(&pub, &options);
    for (int i = 0; i < 2; i++) {
        events_subscriber(&subs[i], 0);
        events_subscribe(&subs[i], 7, NULL, NULL);
    }
    settle(&pub, subs, 2);
    events_stop(subs[1].worker);
    for (int i = 0; i < 5000; i++) {
        CHECK_OK(events_publish(&pub, 100, NULL));
        if (i % 100 == 0)
            EVENTS_UNTIL(subs[0].last == pub.number);
    }
    EVENTS_UNTIL(subs[0].last == pub.number);
    CHECK_EQ(subs[0].missed, 0);
    events_go(subs[1].worker);
    EVENTS_UNTIL(subs[1].last == pub.number);
    CHECK(subs[1].missed > 4000); /* each number was checked: last + 1 + missed */
    CHECK(!subs[1].ended);
    for (int i = 0; i < 2; i++)
        events_subscriber_end(&subs[i]);
    events_publisher_end(&pub);
}

TEST(only_the_newest) {
    struct tram_subscribe_options wish = TRAM_SUBSCRIBE_OPTIONS_INIT;
    struct events_pub pub;
    struct events_sub sub;

    events_publisher(&pub, NULL);
    events_subscriber(&sub, 0);
    wish.delivery = TRAM_DELIVER_LAST;
    events_subscribe(&sub, 7, NULL, &wish);
    settle(&pub, &sub, 1);
    sub.count = 0;
    for (int i = 0; i < 500; i++)
        CHECK_OK(events_publish(&pub, 100, NULL));
    EVENTS_UNTIL(sub.last == pub.number);
    CHECK_EQ(sub.count, 1);
    CHECK_EQ(sub.missed, 499);
    events_subscriber_end(&sub);
    events_publisher_end(&pub);
}

TEST(back_pressure_loses_nothing) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    struct tram_subscribe_options wish = TRAM_SUBSCRIBE_OPTIONS_INIT;
    struct events_pub pub;
    struct events_sub subs[2];
    int refused = 0;

    options.topic_ring = SMALL_RING;
    options.patience_ns = INT64_C(60000000000);
    events_publisher(&pub, &options);
    wish.delivery = TRAM_DELIVER_BLOCK;
    for (int i = 0; i < 2; i++) {
        events_subscriber(&subs[i], 0);
        events_subscribe(&subs[i], 7, NULL, i == 0 ? &wish : NULL);
    }
    settle(&pub, subs, 2);
    for (int i = 0; i < 50000; i++) {
        int rc = events_publish(&pub, 100, NULL);

        if (rc == -EAGAIN) {
            int spaces = pub.spaces;

            refused++;
            EVENTS_UNTIL(pub.spaces > spaces);
            i--;
        } else {
            CHECK_OK(rc);
        }
    }
    CHECK(refused > 10);
    EVENTS_UNTIL(subs[0].last == pub.number && subs[1].last == pub.number);
    CHECK_EQ(subs[0].missed, 0);
    CHECK_EQ(subs[0].ended, 0);
    for (int i = 0; i < 2; i++)
        events_subscriber_end(&subs[i]);
    events_publisher_end(&pub);
}

TEST(patience_ends_and_who_held_it_up_is_cut_off) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    struct tram_subscribe_options wish = TRAM_SUBSCRIBE_OPTIONS_INIT;
    struct events_pub pub;
    struct events_sub subs[2];
    int64_t since;
    int rc;

    options.topic_ring = SMALL_RING;
    options.patience_ns = 50000000;
    events_publisher(&pub, &options);
    wish.delivery = TRAM_DELIVER_BLOCK;
    for (int i = 0; i < 2; i++) {
        events_subscriber(&subs[i], 0);
        events_subscribe(&subs[i], 7, NULL, i == 0 ? &wish : NULL);
    }
    settle(&pub, subs, 2);
    events_stop(subs[0].worker);
    while ((rc = events_publish(&pub, 100, NULL)) == 0)
        ;
    CHECK_ERR(rc, -EAGAIN);
    since = pair_now();
    EVENTS_UNTIL(pub.spaces > 0); /* patience ends: its next try cuts */
    CHECK(pair_now() - since >= 40000000);
    CHECK_OK(events_publish(&pub, 100, NULL));
    for (int i = 0; i < 2000; i++) {
        CHECK_OK(events_publish(&pub, 100, NULL));
        if (i % 100 == 0)
            events_turn();
    }
    events_go(subs[0].worker);
    EVENTS_UNTIL(subs[0].ended);
    CHECK_ERR(subs[0].ended, -EPIPE);
    CHECK_EQ(subs[0].missed, 0);
    EVENTS_UNTIL(subs[1].last == pub.number);
    (void) tram_subscription_free(subs[0].subscription);
    for (int i = 0; i < 2; i++)
        events_subscriber_end(&subs[i]);
    events_publisher_end(&pub);
}

TEST(what_is_too_old_is_dropped) {
    struct tram_how how = TRAM_HOW_INIT;
    struct events_pub pub;
    struct events_sub sub;
    int64_t until;

    events_publisher(&pub, NULL);
    events_subscriber(&sub, 0);
    events_subscribe(&sub, 7, NULL, NULL);
    settle(&pub, &sub, 1);
    sub.count = 0;
    how.timeout_ns = 1000000;
    for (int i = 0; i < 10; i++)
        CHECK_OK(events_publish(&pub, 100, &how));
    until = pair_now() + 2000000;
    while (pair_now() < until)
        ;
    CHECK_OK(events_publish(&pub, 100, NULL));
    EVENTS_UNTIL(sub.last == pub.number);
    CHECK_EQ(sub.count, 1);
    CHECK_EQ(sub.missed, 10);
    events_subscriber_end(&sub);
    events_publisher_end(&pub);
}

TEST(trace_goes_along) {
    struct tram_how how = TRAM_HOW_INIT;
    struct events_pub pub;
    struct events_sub sub;

    events_publisher(&pub, NULL);
    events_subscriber(&sub, 0);
    events_subscribe(&sub, 7, NULL, NULL);
    settle(&pub, &sub, 1);
    how.trace = (const uint8_t *) "0123456789abcdef";
    how.topic = "with";
    CHECK_OK(events_publish(&pub, 100, &how));
    EVENTS_UNTIL(sub.last == pub.number);
    CHECK_MEM(sub.trace, "0123456789abcdef", 16);
    CHECK_STR(sub.topic, "with");
    events_subscriber_end(&sub);
    events_publisher_end(&pub);
}

/* ---- in place -------------------------------------------------------------------------------- */

TEST(events_are_written_in_place) {
    struct events_pub pub;
    struct events_sub sub;
    tram_draft *draft, *other;
    void *data;

    events_publisher(&pub, NULL);
    CHECK_OK(tram_server_draft(pub.server, 100, NULL, &draft, &data)); /* nobody is there */
    memset(data, 1, 100);
    CHECK_OK(tram_draft_publish(&draft, 7, 100));
    CHECK(!draft);
    events_subscriber(&sub, 0);
    events_subscribe(&sub, 7, NULL, NULL);
    settle(&pub, &sub, 1);
    for (int i = 0; i < 100; i++) {
        CHECK_OK(tram_server_draft(pub.server, 1000, NULL, &draft, &data));
        CHECK_ERR(tram_server_draft(pub.server, 1000, NULL, &other, &data), -EBUSY);
        CHECK_ERR(events_publish(&pub, 100, NULL), -EBUSY);
        events_fill(data, ++pub.number, 500);
        CHECK_ERR(tram_draft_publish(&draft, 7, 1001), -EINVAL);
        CHECK_ERR(tram_draft_send(&draft, 7, 10), -EINVAL);
        CHECK_OK(tram_draft_publish(&draft, 7, 500));
        CHECK(!draft);
        CHECK_OK(tram_server_draft(pub.server, 1000, NULL, &draft, &data));
        CHECK(!tram_draft_free(draft));
    }
    EVENTS_UNTIL(sub.last == pub.number);
    CHECK_EQ(sub.missed, 0);
    CHECK_EQ(sub.size, 500);
    CHECK_OK(tram_server_draft(pub.server, 1000, NULL, &draft, &data));
    CHECK(!tram_server_free(pub.server));
    memset(data, 7, 1000); /* it is still ours */
    CHECK_ERR(tram_draft_publish(&draft, 7, 1000), -ENOTCONN);
    CHECK(!draft);
    events_subscriber_end(&sub);
    events_publisher_end(&pub);
}

/* ---- handlers that do what they like --------------------------------------------------------- */

static void then_free_subscription(struct events_sub *sub, const struct tram_view *view) {
    (void) view;
    sub->subscription = tram_subscription_free(sub->subscription);
}

static void then_free_client(struct events_sub *sub, const struct tram_view *view) {
    (void) view;
    sub->client = tram_client_free(sub->client);
}

TEST(a_handler_may_free_anything) {
    static void (*const thens[])(struct events_sub *, const struct tram_view *) = {
        then_free_subscription, then_free_client};
    struct events_pub pub;
    struct events_sub sub;

    events_publisher(&pub, NULL);
    for (size_t i = 0; i < sizeof(thens) / sizeof(thens[0]); i++) {
        events_subscriber(&sub, 0);
        events_subscribe(&sub, 7, NULL, NULL);
        settle(&pub, &sub, 1);
        sub.then = thens[i];
        sub.count = 0;
        for (int n = 0; n < 100; n++)
            CHECK_OK(events_publish(&pub, 100, NULL));
        for (int n = 0; n < 30; n++)
            events_turn();
        CHECK_EQ(sub.count, 1);
        events_subscriber_end(&sub);
    }
    events_publisher_end(&pub);
}

/* ---- durable subscriptions ------------------------------------------------------------------- */

TEST(a_durable_subscription_goes_on_until_it_is_forgotten) {
    struct tram_subscribe_options wish = TRAM_SUBSCRIBE_OPTIONS_INIT;
    struct events_pub pub;
    struct events_sub sub;
    uint64_t last;

    events_publisher(&pub, NULL);
    wish.durable = "mine";
    events_subscriber(&sub, 0);
    events_subscribe(&sub, 7, NULL, &wish);
    settle(&pub, &sub, 1);
    last = sub.last;
    events_subscriber_end(&sub);
    for (int i = 0; i < 100; i++) {
        CHECK_OK(events_publish(&pub, 100, NULL));
        events_turn();
    }
    events_subscriber(&sub, 0); /* another process, as good as */
    events_subscribe(&sub, 7, NULL, &wish);
    sub.last = last;
    EVENTS_UNTIL(sub.last == pub.number);
    CHECK_EQ(sub.count, 100);
    CHECK_EQ(sub.missed, 0);
    CHECK(!tram_subscription_forget(sub.subscription));
    events_subscribe(&sub, 7, NULL, &wish);
    EVENTS_UNTIL(sub.online > 0);
    for (int i = 0; i < 30; i++)
        events_turn();
    CHECK_OK(events_publish(&pub, 100, NULL));
    EVENTS_UNTIL(sub.last == pub.number);
    CHECK_EQ(sub.count, 101);
    events_subscriber_end(&sub);
    events_publisher_end(&pub);
}

static void never(tram_subscription *subscription, const struct tram_view *view, int status,
                  void *arg) {
    (void) subscription;
    (void) view;
    (void) arg;
    FAIL("called: %d", status);
}

TEST(a_durable_subscription_is_one) {
    struct tram_subscribe_options wish = TRAM_SUBSCRIBE_OPTIONS_INIT;
    struct events_pub pub;
    struct events_sub subs[2];

    events_publisher(&pub, NULL);
    wish.durable = "mine";
    events_subscriber(&subs[0], 0);
    events_subscribe(&subs[0], 7, NULL, &wish);
    settle(&pub, subs, 1);
    events_subscriber(&subs[1], 0);
    events_subscribe(&subs[1], 7, NULL, &wish);
    EVENTS_UNTIL(subs[1].ended);
    CHECK_ERR(subs[1].ended, -EBUSY);
    CHECK(!tram_subscription_free(subs[1].subscription));
    settle(&pub, subs, 1);
    CHECK_EQ(subs[0].ended, 0);
    wish.durable = "no/name";
    CHECK_ERR(tram_client_subscribe(subs[0].client, 7, NULL, &wish, never, NULL, NULL), -EINVAL);
    for (int i = 0; i < 2; i++)
        events_subscriber_end(&subs[i]);
    events_publisher_end(&pub);
}

/* ---- over a socket --------------------------------------------------------------------------- */

static void by_socket(struct tram_server_options *options) {
    static const char *addresses[2];
    static char path[128];

    (void) snprintf(path, sizeof(path), "ipc://%s/events.sock", test_dir());
    addresses[0] = path;
    options->addresses = addresses;
    events_address = path;
}

TEST(over_a_socket_they_come_as_messages) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    struct tram_subscribe_options wish = TRAM_SUBSCRIBE_OPTIONS_INIT;
    struct tram_how how = TRAM_HOW_INIT;
    struct events_pub pub;
    struct events_sub subs[3];

    options.cache = 5;
    by_socket(&options);
    events_publisher(&pub, &options);
    how.flags = TRAM_HOW_KEEP;
    for (int i = 0; i < 9; i++)
        CHECK_OK(events_publish(&pub, 600, &how));
    for (int i = 0; i < 3; i++) {
        events_subscriber(&subs[i], 0);
        if (i == 1)
            events_address = NULL; /* the third reads the ring */
    }
    wish.initial = 3;
    wish.delivery = TRAM_DELIVER_BLOCK;
    events_subscribe(&subs[0], 7, NULL, &wish);
    events_subscribe(&subs[1], 7, NULL, NULL);
    events_subscribe(&subs[2], 7, NULL, NULL);
    EVENTS_UNTIL(subs[0].count == 3);
    CHECK_EQ(subs[0].initial, 3);
    settle(&pub, subs, 3);
    for (int i = 0; i < 5000; i++) {
        how = (struct tram_how) TRAM_HOW_INIT;
        how.topic = i % 3 == 0 ? "some" : NULL;
        CHECK_OK(events_publish(&pub, 8 + (size_t) (i * 37 % 900), &how));
        if (i % 64 == 0)
            events_turn();
    }
    for (int i = 0; i < 3; i++) {
        EVENTS_UNTIL(subs[i].last == pub.number);
        CHECK_EQ(subs[i].missed, 0);
        events_subscriber_end(&subs[i]);
    }
    events_publisher_end(&pub);
}

TEST(over_a_socket_who_is_too_slow_misses_or_holds_up) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    struct tram_subscribe_options wish = TRAM_SUBSCRIBE_OPTIONS_INIT;
    struct events_pub pub;
    struct events_sub subs[2];
    int refused = 0;

    options.patience_ns = pair_patience() / 4; /* for who reads, and is slow on a loaded machine */
    by_socket(&options);
    events_publisher(&pub, &options);
    for (int i = 0; i < 2; i++) {
        events_subscriber(&subs[i], 0);
        wish.delivery = i == 0 ? TRAM_DELIVER_LATEST_ALL : TRAM_DELIVER_BLOCK;
        events_subscribe(&subs[i], 7, NULL, &wish);
    }
    settle(&pub, subs, 2);
    events_stop(subs[0].worker);
    for (int i = 0; i < 30000; i++) {
        int rc = events_publish(&pub, 1000, NULL);

        if (rc == -EAGAIN) {
            refused++;
            events_turn();
            i--;
        } else {
            CHECK_OK(rc);
        }
    }
    CHECK(refused > 0);
    EVENTS_UNTIL(subs[1].last == pub.number || subs[1].ended);
    CHECK_EQ(subs[1].ended, 0);
    CHECK_EQ(subs[1].missed, 0);
    events_go(subs[0].worker);
    EVENTS_UNTIL(subs[0].count > 100);
    while (subs[0].last != pub.number) { /* the next one tells how many were missed */
        int64_t until = pair_now() + 100000000; /* a number of turns may never be enough */

        CHECK_OK(events_publish(&pub, 8, NULL));
        while (subs[0].last != pub.number && pair_now() < until)
            events_turn();
    }
    CHECK(subs[0].missed > 1000);
    events_stop(subs[1].worker);
    while (events_publish(&pub, 1000, NULL) == 0)
        ;
    EVENTS_UNTIL(events_publish(&pub, 1000, NULL) == 0); /* its patience is over */
    events_go(subs[1].worker);
    EVENTS_UNTIL(subs[1].ended);
    CHECK_ERR(subs[1].ended, -EPIPE);
    for (int i = 0; i < 2; i++)
        events_subscriber_end(&subs[i]);
    events_publisher_end(&pub);
}
