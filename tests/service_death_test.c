/* SPDX-License-Identifier: MIT
 *
 * Servers and clients that are killed, come back and hand over: each request ends once, whatever
 * happens, and what the ring has is not lost.
 */
// test: timeout=180
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "support/pair.h"
#include "tram/service.h"

#define ADDRESS "shm://1.1.5.1/pair"
#define MOST    20000

struct end {
    int count, status;
    uint32_t value;
};

static struct end ends[MOST];
static int ended_count, answered, unknown;

static void ended(const struct tram_result *result, void *arg) {
    struct end *e = arg;

    e->count++;
    e->status = result->status;
    ended_count++;
    if (result->status == 0) {
        answered++;
        if (result->view.size == sizeof(e->value))
            memcpy(&e->value, result->view.data, sizeof(e->value));
    }
    if (result->status == -ECONNRESET)
        unknown++;
}

static void reset(void) {
    memset(ends, 0, sizeof(ends));
    ended_count = answered = unknown = 0;
}

static int online, offline;

static void on_state(tram_client *client, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    (void) client;
    (void) who;
    (void) arg;
    online += state == TRAM_STATE_ONLINE;
    offline += state == TRAM_STATE_OFFLINE;
}

static const struct tram_client_handlers handlers = {.on_state = on_state};

static void get_counts(tram_client *client, struct pair_counts *counts) {
    tram_reply *reply;

    CHECK_OK(tram_client_call(client, PAIR_COUNT, NULL, 0, NULL, &reply));
    memcpy(counts, tram_reply_view(reply)->data, sizeof(*counts));
    (void) tram_reply_free(reply);
}

static int ask(tram_client *client, uint32_t code, uint32_t number) {
    return tram_client_ask(client, code, &number, sizeof(number), NULL, ended, &ends[number], NULL);
}

/* ---- the server dies ------------------------------------------------------------------------- */

TEST(what_a_dead_server_had_ends_as_unknown) {
    pid_t server = pair_start(NULL);
    tram_worker *worker = pair_worker(0);
    tram_client *client = pair_client(worker, ADDRESS, 0, &handlers, NULL);
    tram_reply *reply;

    CHECK_OK(tram_client_wait(client, pair_patience()));
    for (uint32_t i = 0; i < 100; i++)
        CHECK_OK(ask(client, PAIR_DEFER, i));
    CHECK_ERR(tram_client_call(client, PAIR_DIE, NULL, 0, NULL, &reply), -ECONNRESET);
    UNTIL(worker, ended_count == 100);
    CHECK_EQ(unknown, 100);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(ends[i].count, 1);
    CHECK_ERR(ask(client, PAIR_ECHO, 0), -ENOTCONN);
    (void) tram_worker_free(worker);
    test_kill(server);
}

TEST(server_that_returns_has_what_was_in_hand_and_in_its_ring) {
    pid_t server = pair_start(NULL);
    tram_worker *worker = pair_worker(0);
    tram_client *client = pair_client(worker, ADDRESS, TRAM_CLIENT_WAIT, &handlers, NULL);
    struct pair_counts counts;
    tram_reply *reply;

    CHECK_OK(tram_client_wait(client, pair_patience()));
    for (uint32_t i = 0; i < 50; i++)
        CHECK_OK(ask(client, PAIR_DEFER, i));
    get_counts(client, &counts);
    CHECK_EQ(counts.requests, 51);
    test_kill(server);
    for (uint32_t i = 50; i < 100; i++) /* into its ring, or into the queue here */
        CHECK_OK(ask(client, PAIR_ECHO, i));
    UNTIL(worker, offline == 1);
    for (uint32_t i = 100; i < 150; i++)
        CHECK_OK(ask(client, PAIR_ECHO, i));
    server = pair_start(NULL);
    UNTIL(worker, ended_count == 100);
    CHECK_EQ(answered, 100);
    get_counts(client, &counts);
    CHECK(counts.attempts >= 50);
    CHECK_OK(tram_client_call(client, PAIR_FLUSH, NULL, 0, NULL, &reply));
    (void) tram_reply_free(reply);
    UNTIL(worker, ended_count == 150);
    CHECK_EQ(answered, 150);
    for (uint32_t i = 0; i < 150; i++) {
        CHECK_EQ(ends[i].count, 1);
        CHECK_EQ(ends[i].value, i);
    }
    (void) tram_worker_free(worker);
    test_kill(server);
}

/* Deferred for so long that they were copied out of the ring: only the dead one had them. */
TEST(what_only_the_dead_one_had_ends_as_unknown_by_sync) {
    pid_t server = pair_start(NULL);
    tram_worker *worker = pair_worker(0);
    tram_client *client = pair_client(worker, ADDRESS, TRAM_CLIENT_WAIT, &handlers, NULL);
    struct pair_counts counts;
    tram_reply *reply;

    CHECK_OK(tram_client_wait(client, pair_patience()));
    for (uint32_t i = 0; i < 600; i++)
        CHECK_OK(ask(client, PAIR_DEFER, i));
    get_counts(client, &counts);
    test_kill(server);
    server = pair_start(NULL);
    UNTIL(worker, unknown > 300); /* but the last ones it has again */
    CHECK_OK(tram_client_call(client, PAIR_FLUSH, NULL, 0, NULL, &reply));
    (void) tram_reply_free(reply);
    UNTIL(worker, ended_count == 600);
    CHECK_EQ(answered + unknown, 600);
    CHECK(answered > 100);
    for (int i = 0; i < 600; i++)
        CHECK_EQ(ends[i].count, 1);
    (void) tram_worker_free(worker);
    test_kill(server);
}

/* ---- a client dies --------------------------------------------------------------------------- */

static void defer_and_wait(void *arg) {
    tram_worker *worker = pair_worker(PAIR_CLIENT);
    tram_client *client = pair_client(worker, ADDRESS, 0, NULL, NULL);
    struct pair_counts counts;

    CHECK_OK(tram_client_wait(client, pair_patience()));
    for (uint32_t i = 0; i < 20; i++)
        CHECK_OK(ask(client, PAIR_DEFER, i));
    get_counts(client, &counts);
    CHECK_EQ(write(*(int *) arg, "x", 1), 1);
    for (;;)
        pair_turn(worker);
}

TEST(requests_of_a_dead_client_are_cancelled) {
    pid_t server = pair_start(NULL);
    tram_worker *worker = pair_worker(0);
    tram_client *client = pair_client(worker, ADDRESS, 0, &handlers, NULL);
    struct pair_counts counts;
    int fds[2];
    char byte;

    CHECK_OK(pipe2(fds, O_CLOEXEC));
    for (int round = 1; round <= 3; round++) { /* the same node comes again, as another client */
        pid_t dying = test_fork(defer_and_wait, &fds[1]);

        CHECK_EQ(read(fds[0], &byte, 1), 1);
        test_kill(dying);
        do
            get_counts(client, &counts);
        while (counts.cancelled < (uint64_t) round * 20 || counts.online > 1);
        CHECK_EQ(counts.cancelled, round * 20);
    }
    (void) close(fds[0]);
    (void) close(fds[1]);
    (void) tram_worker_free(worker);
    test_kill(server);
}

/* ---- a storm --------------------------------------------------------------------------------- */

static uint32_t seed = 12345;

static uint32_t chance(uint32_t most) {
    seed = seed * 1664525 + 1013904223;
    return (seed >> 8) % most;
}

/* The server is killed at moments that have nothing to do with what it does. */
TEST_TIMEOUT(storm_each_request_ends_once, 60) {
    pid_t server = pair_start(NULL);
    tram_worker *worker = pair_worker(PAIR_CLIENT);
    tram_client *client = pair_client(worker, ADDRESS, TRAM_CLIENT_WAIT, &handlers, NULL);
    uint32_t next = 0;

    reset();
    for (int round = 0; round < 25; round++) {
        uint32_t turns = chance(300);

        for (uint32_t turn = 0; turn < turns; turn++) {
            for (int i = 0; i < 10 && next < MOST; i++) {
                int rc = ask(client, PAIR_ECHO, next);

                CHECK(rc == 0 || rc == -EAGAIN);
                if (rc == 0)
                    next++;
            }
            CHECK(tram_worker_dispatch(worker) >= 0);
        }
        test_kill(server);
        server = pair_start(NULL);
    }
    UNTIL(worker, ended_count == (int) next);
    CHECK_EQ(answered + unknown, next);
    CHECK(answered > unknown);
    for (uint32_t i = 0; i < next; i++) {
        CHECK_EQ(ends[i].count, 1);
        if (ends[i].status == 0)
            CHECK_EQ(ends[i].value, i);
    }
    (void) tram_worker_free(worker);
    test_kill(server);
}

/* ---- handing over ---------------------------------------------------------------------------- */

/* Times that each request was executed, out of the journal. */
static void read_journal(const char *path, uint8_t *times, uint32_t most) {
    FILE *file = fopen(path, "re");
    uint32_t number;

    CHECK(file);
    while (fread(&number, sizeof(number), 1, file) == 1) {
        CHECK(number < most);
        times[number]++;
    }
    (void) fclose(file);
}

TEST_TIMEOUT(handing_over_loses_nothing_and_repeats_nothing, 60) {
    static uint8_t times[MOST];
    struct pair_options options = {0};
    char path[512];
    pid_t server;
    tram_worker *worker;
    tram_client *client;
    uint32_t next = 0;

    (void) snprintf(path, sizeof(path), "%s/journal", test_dir());
    options.journal = path;
    server = pair_start(&options);
    worker = pair_worker(PAIR_CLIENT);
    client = pair_client(worker, ADDRESS, TRAM_CLIENT_WAIT, &handlers, NULL);
    reset();
    for (int round = 0; round < 10; round++) {
        for (int turn = 0; turn < 50; turn++) {
            for (int i = 0; i < 10; i++)
                if (ask(client, turn == 25 && i == 5 ? PAIR_DRAIN : PAIR_ECHO, next) == 0)
                    next++;
            CHECK(tram_worker_dispatch(worker) >= 0);
        }
        JOIN(server);
        server = pair_start(&options);
    }
    UNTIL(worker, ended_count == (int) next);
    for (uint32_t i = 0; i < next; i++)
        if (ends[i].status != 0)
            FAIL("request %u of %u ended with %d, %d are unknown", i, next, ends[i].status,
                 unknown);
    read_journal(path, times, next);
    for (uint32_t i = 0; i < next; i++) {
        CHECK_EQ(ends[i].count, 1);
        CHECK_EQ(times[i], 1);
    }
    (void) tram_worker_free(worker);
    test_kill(server);
}
