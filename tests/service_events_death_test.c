/* SPDX-License-Identifier: MIT
 *
 * Events across deaths: publisher and subscribers are processes that are killed with -9 at any
 * moment and started again, and what each saw is compared with what was published.
 *
 * The publisher notes a number before it publishes it and again when that succeeded. Of a number
 * that was noted once only nobody knows; its successor leaves it out. All others have to come to
 * each subscriber, in order, and once, or marked.
 */
// test: timeout=150 cpus=2
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "support/events.h"
#include "support/pair.h"
#include "tram/service.h"

#define UNSURE_MAX 4096
#define SUBSCRIBERS 3

struct seen {
    uint64_t last, count, missed, again, lives, ended;
    uint64_t life, unclear; /* in which the last came; in hand at a death, and overwritten */
    bool wrong;
};

static struct shared {
    uint64_t noted, published; /* by the publisher */
    uint64_t unsure[UNSURE_MAX];
    uint32_t unsures;
    bool stop;                 /* publish no more */
    bool suicidal;             /* subscribers die with every hundredth in hand, once */
    bool late;                 /* … with every tenth, when they have noted it */
    uint64_t lives, refused;
    struct seen seen[SUBSCRIBERS];
} *shared;

static void begin(void) {
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
}

static uint64_t look(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void note(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* ---- the publisher --------------------------------------------------------------------------- */

static void publish_forever(void *arg) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    uint8_t data[512];
    struct events_pub pub;

    (void) arg;
    options.topic_ring = 65536;
    options.patience_ns = INT64_C(300000000000);
    if (shared->noted != shared->published) {
        CHECK(shared->unsures < UNSURE_MAX);
        shared->unsure[shared->unsures] = shared->noted;
        __atomic_add_fetch(&shared->unsures, 1, __ATOMIC_RELEASE);
        note(&shared->published, shared->noted);
    }
    shared->lives++;
    events_publisher(&pub, &options);
    for (;;) {
        uint64_t number = shared->published + 1;
        size_t size = 8 + number * 13 % 300;

        if (!__atomic_load_n(&shared->stop, __ATOMIC_ACQUIRE)) {
            int rc;

            events_fill(data, number, size);
            note(&shared->noted, number);
            rc = tram_server_publish(pub.server, 7, data, size, NULL);
            if (rc == 0) {
                note(&shared->published, number);
            } else {
                CHECK_ERR(rc, -EAGAIN);
                note(&shared->noted, number - 1); /* it was not */
                shared->refused++;
            }
            if (rc == 0 && number % 50 != 0)
                continue;
        }
        events_turn();
    }
}

/* ---- subscribers ----------------------------------------------------------------------------- */

/* How many of the numbers between two were perhaps never published. */
static uint64_t unsure_between(uint64_t from, uint64_t to) {
    uint32_t unsures = __atomic_load_n(&shared->unsures, __ATOMIC_ACQUIRE);
    uint64_t found = 0;

    for (uint32_t i = 0; i < unsures; i++)
        found += shared->unsure[i] > from && shared->unsure[i] < to;
    return found;
}

/* What was in the hand of one that died comes again; overwritten before it could, it was missed,
 * as nobody knows how far it had got. */
static bool adds_up(struct seen *seen, const struct tram_view *view, uint64_t number) {
    uint64_t gap = number - seen->last - 1, in_hand = seen->life != seen->lives;

    seen->unclear += view->missed > gap;
    return view->missed <= gap + in_hand &&
           gap <= view->missed + unsure_between(seen->last, number);
}

static void judge(struct seen *seen, const struct tram_view *view, uint64_t number) {
    if (view->attempt > 1) {
        seen->again++;
        if (number == seen->last)
            return;
    }
    if (number <= seen->last)
        FAIL("%llu came after %llu, attempt %u", (unsigned long long) number,
             (unsigned long long) seen->last, view->attempt);
    if (seen->last != 0 && !adds_up(seen, view, number))
        FAIL("%llu came after %llu, and %llu missed, life %llu, then %llu",
             (unsigned long long) number, (unsigned long long) seen->last,
             (unsigned long long) view->missed, (unsigned long long) seen->life,
             (unsigned long long) seen->lives);
}

static void on_event(tram_subscription *subscription, const struct tram_view *view, int status,
                     void *arg) {
    struct seen *seen = arg;
    uint8_t expected[512];
    uint64_t number;

    (void) subscription;
    if (!view)
        FAIL("subscriber %d was cut off: %d", (int) (seen - shared->seen), status);
    memcpy(&number, view->data, sizeof(number));
    events_fill(expected, number, view->size);
    CHECK_MEM(view->data, expected, view->size);
    judge(seen, view, number);
    if (shared->suicidal && number % 100 == 0 && view->attempt == 1)
        (void) kill(getpid(), SIGKILL);
    seen->missed += view->missed;
    seen->count++;
    seen->life = seen->lives;
    note(&seen->last, number);
    if (shared->late && seen->count % 10 == 0)
        (void) kill(getpid(), SIGKILL);
}

struct role {
    int place;
    tram_id id;
    const char *durable;
    enum tram_delivery delivery;
};

static const struct role roles[SUBSCRIBERS] = {
    {0, TRAM_ID(1, 1, 6, 11), "first", TRAM_DELIVER_BLOCK},
    {1, TRAM_ID(1, 1, 6, 12), "second", TRAM_DELIVER_LATEST_ALL},
    {2, TRAM_ID(1, 1, 6, 13), NULL, TRAM_DELIVER_BLOCK},
};

static void subscribe_forever(void *arg) {
    const struct role *role = arg;
    struct tram_subscribe_options wish = TRAM_SUBSCRIBE_OPTIONS_INIT;
    struct seen *seen = &shared->seen[role->place];
    tram_subscription *subscription;
    struct events_sub sub;

    seen->lives++;
    events_subscriber(&sub, role->id);
    wish.durable = role->durable;
    wish.delivery = role->delivery;
    CHECK_OK(tram_client_subscribe(sub.client, 7, NULL, &wish, on_event, seen, &subscription));
    for (;;)
        events_turn();
}

static pid_t start(int place) {
    union {
        const struct role *from;
        void *arg;
    } role = {&roles[place]};

    return test_fork(subscribe_forever, role.arg);
}

/* ---- tests ----------------------------------------------------------------------------------- */

/* Children that failed on their own make the test fail, too. */
static void alive(pid_t pid) {
    int status;

    CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
}

static void wait_until(const uint64_t *word, uint64_t value, const pid_t *pids, int count) {
    int64_t until = pair_now() + test_seconds(20) * INT64_C(1000000000);

    while (look(word) < value) {
        for (int i = 0; i < count; i++)
            alive(pids[i]);
        if (pair_now() > until)
            FAIL("in vain: %llu of %llu; published %llu", (unsigned long long) look(word),
                 (unsigned long long) value, (unsigned long long) look(&shared->published));
        (void) sched_yield();
    }
}

static void all_read(const pid_t *pids, int count) {
    __atomic_store_n(&shared->stop, true, __ATOMIC_RELEASE);
    for (int i = 0; i < SUBSCRIBERS; i++)
        if (shared->seen[i].lives > 0)
            wait_until(&shared->seen[i].last, look(&shared->published), pids, count);
}

TEST_TIMEOUT(a_durable_subscription_goes_on_where_it_stood, 60) {
    pid_t pids[2];

    begin();
    pids[0] = test_fork(publish_forever, NULL);
    pids[1] = start(0);
    for (uint64_t i = 1; i <= 20; i++) {
        wait_until(&shared->seen[0].last, look(&shared->seen[0].last) + 300, pids, 2);
        test_kill(pids[1]);
        pids[1] = start(0);
    }
    all_read(pids, 2);
    CHECK_EQ(shared->seen[0].missed, 0);
    CHECK(shared->seen[0].last > 5000);
    test_kill(pids[0]);
    test_kill(pids[1]);
}

TEST_TIMEOUT(subscribers_go_on_in_the_ring_of_a_publisher_that_was_killed, 60) {
    pid_t pids[3];

    begin();
    pids[0] = test_fork(publish_forever, NULL);
    pids[1] = start(2);
    pids[2] = start(0);
    for (uint64_t i = 1; i <= 20; i++) {
        wait_until(&shared->seen[2].last, look(&shared->seen[2].last) + 300, pids, 3);
        wait_until(&shared->seen[0].last, look(&shared->seen[0].last) + 1, pids, 3);
        test_kill(pids[0]);
        pids[0] = test_fork(publish_forever, NULL);
    }
    all_read(pids, 3);
    CHECK_EQ(shared->seen[2].missed + shared->seen[0].missed, 0);
    CHECK_EQ(shared->seen[2].again + shared->seen[0].again, 0);
    CHECK(shared->lives >= 20);
    for (int i = 0; i < 3; i++)
        test_kill(pids[i]);
}

TEST_TIMEOUT(what_was_in_hand_comes_again_marked, 60) {
    pid_t pids[2];
    int status;

    begin();
    shared->suicidal = true;
    pids[0] = test_fork(publish_forever, NULL);
    for (uint64_t life = 1; life <= 20; life++) {
        pids[1] = start(0);
        CHECK_EQ(waitpid(pids[1], &status, 0), pids[1]);
        CHECK(WIFSIGNALED(status));
        alive(pids[0]);
        CHECK_EQ(shared->seen[0].again, life - 1);
    }
    shared->suicidal = false;
    pids[1] = start(0);
    all_read(pids, 2);
    CHECK_EQ(shared->seen[0].again, 20);
    CHECK_EQ(shared->seen[0].missed, 0);
    test_kill(pids[0]);
    test_kill(pids[1]);
}

TEST_TIMEOUT(what_was_in_hand_and_is_overwritten_was_missed, 60) {
    pid_t pids[2];
    int status;

    begin();
    shared->late = true;
    pids[0] = test_fork(publish_forever, NULL);
    for (uint64_t life = 1; life <= 20; life++) {
        pids[1] = start(1);
        CHECK_EQ(waitpid(pids[1], &status, 0), pids[1]);
        CHECK(WIFSIGNALED(status));
        CHECK_EQ(shared->seen[1].unclear, life - 1);
        wait_until(&shared->published, look(&shared->seen[1].last) + 1000, pids, 1);
    }
    shared->late = false;
    pids[1] = start(1);
    all_read(pids, 2);
    CHECK_EQ(shared->seen[1].unclear, 20);
    CHECK_EQ(shared->seen[1].again, 0);
    test_kill(pids[0]);
    test_kill(pids[1]);
}

static uint32_t chance(uint32_t *seed, uint32_t of) {
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % of;
}

TEST_TIMEOUT(kill_storm, 120) {
    const char *given = getenv("TRAM_STORM_SECONDS"), *from = getenv("TRAM_STORM_SEED");
    int64_t seconds = given ? atoi(given) : 4;
    uint32_t seed = from ? (uint32_t) atoi(from) : (uint32_t) getpid();
    int64_t until, next;
    pid_t pids[4];

    begin();
    pids[3] = test_fork(publish_forever, NULL);
    for (int i = 0; i < SUBSCRIBERS; i++)
        pids[i] = start(i);
    for (int i = 0; i < SUBSCRIBERS; i++)
        wait_until(&shared->seen[i].last, 1, pids, 4);
    until = pair_now() + seconds * 1000000000;
    for (next = 0; pair_now() < until;) {
        int who;

        for (int i = 0; i < 4; i++)
            alive(pids[i]);
        if (pair_now() < next) {
            (void) sched_yield();
            continue;
        }
        next = pair_now() + chance(&seed, 60) * 1000000;
        who = (int) chance(&seed, 3);
        who = who == 2 ? 3 : who; /* the third lives */
        test_kill(pids[who]);
        pids[who] = who == 3 ? test_fork(publish_forever, NULL) : start(who);
    }
    all_read(pids, 4);
    CHECK_EQ(shared->seen[0].missed + shared->seen[2].missed, 0);
    CHECK_EQ(shared->seen[2].again, 0);
    CHECK(shared->lives > 3 && shared->published > 1000);
    if (given)
        fprintf(stderr, "published %llu in %llu lives, unsure %u; again %llu %llu, missed %llu\n",
                (unsigned long long) shared->published, (unsigned long long) shared->lives,
                shared->unsures, (unsigned long long) shared->seen[0].again,
                (unsigned long long) shared->seen[1].again,
                (unsigned long long) shared->seen[1].missed);
    for (int i = 0; i < 4; i++)
        test_kill(pids[i]);
}
