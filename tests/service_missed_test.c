/* SPDX-License-Identifier: MIT
 *
 * What was missed, and could not be told yet, because nothing came since that the subscriber wants:
 * it is told with the next event, whoever ended in between. A durable subscription, and the daemon
 * of a server's host, which reads the server's ring for another host.
 */
// test: timeout=90
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "support/events.h"
#include "support/kit.h"
#include "support/pair.h"
#include "support/twin.h"
#include "topic/topic.h"
#include "tram/service.h"

#define RING  65536
#define WANTED "a/x"
#define OTHER  "b/x"

/* ---- a durable one --------------------------------------------------------------------------- */

static void publish(struct events_pub *pub, const char *topic, int count) {
    struct tram_how how = TRAM_HOW_INIT;

    how.topic = topic;
    for (int i = 0; i < count; i++) {
        CHECK_OK(events_publish(pub, 1000, &how));
        events_turn();
    }
}

static void come(struct events_sub *sub) {
    struct tram_subscribe_options wish = TRAM_SUBSCRIBE_OPTIONS_INIT;

    wish.durable = "mine";
    events_subscriber(sub, 0);
    sub->loose = true;
    events_subscribe(sub, 7, WANTED, &wish);
    EVENTS_UNTIL(sub->online > 0);
}

static uint64_t word_of(const char *dir, const char *pattern, off_t at) {
    char path[700];
    glob_t found;
    uint64_t word;
    int fd;

    (void) snprintf(path, sizeof(path), "%s/%s", dir, pattern);
    CHECK_EQ(glob(path, 0, NULL, &found), 0);
    CHECK_EQ(found.gl_pathc, 1);
    fd = CHECK_OK(open(found.gl_pathv[0], O_RDONLY));
    globfree(&found);
    CHECK_EQ(pread(fd, &word, sizeof(word), at), sizeof(word));
    (void) close(fd);
    return word;
}

/* Has that reader read all that is in the ring? */
static bool has_read(const char *dir, const char *ring, const char *reader) {
    return WORD_POSITION(word_of(dir, reader, offsetof(struct topic_reader, position))) ==
           WORD_POSITION(word_of(dir, ring, offsetof(struct topic, tail)));
}

TEST(a_durable_one_is_told_by_its_successor_what_it_missed) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    struct events_pub pub;
    struct events_sub sub;
    char events[300];

    (void) snprintf(events, sizeof(events), "%s/default/events", test_dir());
    options.topic_ring = RING;
    events_publisher(&pub, &options);
    come(&sub);
    while (sub.count == 0)
        publish(&pub, WANTED, 1);
    EVENTS_UNTIL(sub.last == pub.number);
    events_subscriber_end(&sub);
    publish(&pub, WANTED, 200);
    publish(&pub, OTHER, 100); /* the ring has none of the others any more */
    for (int i = 0; i < 2; i++) {
        come(&sub);
        EVENTS_UNTIL(has_read(events, "*-????????", "*@=mine"));
        CHECK_EQ(sub.count, 0);
        events_subscriber_end(&sub);
    }
    come(&sub);
    publish(&pub, WANTED, 1);
    EVENTS_UNTIL(sub.count == 1);
    CHECK(sub.missed >= 200 && sub.missed < 300);
    sub.missed = 0;
    publish(&pub, WANTED, 1);
    EVENTS_UNTIL(sub.count == 2);
    CHECK_EQ(sub.missed, 0);
    events_subscriber_end(&sub);
    events_publisher_end(&pub);
}

/* ---- another host ---------------------------------------------------------------------------- */

struct shared {
    uint32_t go[2]; /* publish so many: wanted ones, then others */
    uint32_t left;  /* … of which so many were not yet */
};

static void serve(void *arg) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_worker *worker = pair_worker(PAIR_SERVER);
    struct shared *shared = arg;
    tram_server *server;

    options.topic_ring = RING;
    CHECK_OK(tram_server_new(worker, "svc://news", &options, &server));
    for (;;) {
        for (int kind = 0; kind < 2; kind++) {
            uint32_t count = __atomic_exchange_n(&shared->go[kind], 0, __ATOMIC_ACQUIRE);
            struct tram_how how = TRAM_HOW_INIT;
            static const char data[200];

            how.topic = kind ? OTHER : WANTED;
            for (uint32_t i = 0; i < count; i++) {
                CHECK_OK(tram_server_publish(server, 1, data, sizeof(data), &how));
                (void) tram_worker_dispatch(worker);
                __atomic_sub_fetch(&shared->left, 1, __ATOMIC_RELEASE);
            }
        }
        pair_turn(worker);
    }
}

static void go(struct shared *shared, int kind, uint32_t count) {
    int64_t until = pair_now() + pair_patience();

    __atomic_store_n(&shared->left, count, __ATOMIC_RELAXED);
    __atomic_store_n(&shared->go[kind], count, __ATOMIC_RELEASE);
    while (__atomic_load_n(&shared->left, __ATOMIC_ACQUIRE) > 0) {
        CHECK(pair_now() < until);
        kit_pause();
    }
}

static void pass(tram_worker *worker) {
    int64_t until = pair_now() + INT64_C(20000000);

    while (pair_now() < until)
        pair_turn(worker);
}

struct seen {
    uint64_t count, missed;
};

static void on_event(tram_subscription *subscription, const struct tram_view *view, int status,
                     void *arg) {
    struct seen *seen = arg;

    (void) subscription;
    CHECK(view && status == 0);
    seen->count++;
    seen->missed += view->missed;
}

static bool relays(const struct twin *twin) {
    char path[700];
    glob_t found;
    bool any;

    (void) snprintf(path, sizeof(path), "%s/default/events/*@=.relay.*", twin->dir[1]);
    any = glob(path, 0, NULL, &found) == 0;
    if (any)
        globfree(&found);
    return any;
}

/* It is lapped while the other host hangs, finds only what nobody there wants, and is killed. */
TEST_TIMEOUT(another_host_is_told_by_the_next_daemon_what_it_missed, 60) {
    struct shared *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                                 -1, 0);
    struct seen seen = {0};
    char events[300];
    struct twin twin;
    tram_worker *worker;
    tram_client *client;
    uint64_t before;
    pid_t server;

    CHECK(shared != MAP_FAILED);
    twin_start(&twin);
    (void) snprintf(events, sizeof(events), "%s/default/events", twin.dir[1]);
    twin_be(&twin, 1);
    server = test_fork(serve, shared);
    twin_be(&twin, 0);
    worker = pair_worker(0);
    client = pair_client(worker, "svc://news", TRAM_CLIENT_WAIT, NULL, NULL);
    CHECK_OK(tram_client_wait(client, pair_patience()));
    CHECK_OK(tram_client_subscribe(client, 1, "a/*", NULL, on_event, &seen, NULL));
    UNTIL(worker, relays(&twin));
    for (before = 0; seen.count == 0;) { /* until the relay reads what comes */
        go(shared, 0, 1);
        pair_turn(worker);
    }
    go(shared, 0, 10);
    UNTIL(worker, has_read(events, "*-????????", "*@=.relay.*"));
    before = seen.count;
    CHECK_EQ(seen.missed, 0);
    CHECK_OK(kill(twin.daemon[0], SIGSTOP));
    go(shared, 0, 5000);
    go(shared, 1, 1000);
    CHECK_OK(kill(twin.daemon[0], SIGCONT));
    for (go(shared, 1, 1); !has_read(events, "*-????????", "*@=.relay.*"); go(shared, 1, 1))
        pass(worker); /* what is not wanted is done with when more of it comes */
    twin_kill(&twin, 1);
    twin_run(&twin, 1);
    go(shared, 0, 1);
    UNTIL(worker, seen.count + seen.missed >= before + 5001);
    CHECK(seen.count < before + 5001);
    before = seen.missed;
    for (uint64_t count = seen.count; seen.count == count;) {
        go(shared, 0, 1);
        pair_turn(worker);
    }
    CHECK_EQ(seen.missed, before);
    CHECK(!tram_client_free(client));
    CHECK(!tram_worker_free(worker));
    test_kill(server);
    twin_kill(&twin, 0);
    twin_kill(&twin, 1);
    CHECK_OK(munmap(shared, 4096));
}
