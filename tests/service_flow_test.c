/* SPDX-License-Identifier: MIT
 *
 * Rings that are full, servers that are stopped, requests that are too late: nothing is lost
 * silently, nothing is executed after its deadline, and memory is bounded.
 */
// test: timeout=120
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "service/client.h"
#include "support/pair.h"
#include "tram/service.h"
#include "wire/control.pb-c.h"

#define ADDRESS "shm://1.1.5.1/pair"

static int ends, failures, spaces;

static void ended(const struct tram_result *result, void *arg) {
    int *status = arg;

    ends++;
    failures += result->status != 0;
    if (status)
        *status = result->status;
}

static void on_space(tram_client *client, void *arg) {
    (void) client;
    (void) arg;
    spaces++;
}

static const struct tram_client_handlers handlers = {.on_space = on_space};

static void stop(pid_t pid) {
    int status;

    CHECK_OK(kill(pid, SIGSTOP));
    CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
}

static void get_counts(tram_client *client, struct pair_counts *counts) {
    tram_reply *reply;

    CHECK_OK(tram_client_call(client, PAIR_COUNT, NULL, 0, NULL, &reply));
    memcpy(counts, tram_reply_view(reply)->data, sizeof(*counts));
    (void) tram_reply_free(reply);
}

/* A client whose ring is small. */
static tram_worker *small_worker(void) {
    struct tram_worker_options made = TRAM_WORKER_OPTIONS_INIT;
    struct tram_options node = TRAM_OPTIONS_INIT;
    tram_worker *worker;

    node.ring_size = 65536;
    node.ring_max = 65536;
    made.node = &node;
    CHECK_OK(tram_worker_new(&made, &worker));
    return worker;
}

static void late_are_told(const struct tram_result *result, void *arg) {
    Tram__Control__Inspection *inspection =
        tram__control__inspection__unpack(NULL, result->view.size, result->view.data);

    CHECK_EQ(result->status, 0);
    CHECK(inspection);
    CHECK_EQ(inspection->expired, *(int *) arg);
    tram__control__inspection__free_unpacked(inspection, NULL);
    ends++;
}

TEST(past_its_deadline_nothing_is_executed) {
    pid_t server = pair_start(NULL);
    tram_worker *worker = pair_worker(0);
    tram_client *client = pair_client(worker, ADDRESS, 0, &handlers, NULL);
    struct tram_how how = TRAM_HOW_INIT;
    struct pair_counts before, after;
    int status = 0, late = 11;

    get_counts(client, &before);
    stop(server);
    how.timeout_ns = 5000000;
    for (int i = 0; i < 10; i++)
        CHECK_OK(tram_client_send(client, 1, "late", 4, &how));
    CHECK_OK(tram_client_ask(client, PAIR_ECHO, "late", 4, &how, ended, &status, NULL));
    UNTIL(worker, ends == 1);
    CHECK_ERR(status, -ETIMEDOUT);
    CHECK_OK(kill(server, SIGCONT));
    get_counts(client, &after);
    CHECK_EQ(after.messages, 0);
    CHECK_EQ(after.requests, before.requests + 1); /* the one that counts */
    CHECK_OK(client_ask(client, FRAME_INSPECT, 0, NULL, 0, NULL, late_are_told, &late, NULL));
    UNTIL(worker, ends == 2);
    (void) tram_worker_free(worker);
    test_kill(server);
}

TEST(full_ring_is_said_and_goes_on) {
    pid_t server = pair_start(NULL);
    tram_worker *worker = small_worker();
    tram_client *client = pair_client(worker, ADDRESS, 0, &handlers, NULL);
    static char block[1000];
    int sent = 0, rc;

    CHECK_OK(tram_client_wait(client, pair_patience()));
    stop(server);
    while ((rc = tram_client_ask(client, PAIR_ECHO, block, sizeof(block), NULL, ended, NULL,
                                 NULL)) == 0)
        sent++;
    CHECK_ERR(rc, -EAGAIN);
    CHECK(sent > 30 && sent < 70);
    CHECK_EQ(spaces, 0);
    CHECK_OK(kill(server, SIGCONT));
    do { /* there is room, if not yet for this one */
        spaces = 0;
        UNTIL(worker, spaces > 0);
        rc = tram_client_ask(client, PAIR_ECHO, block, sizeof(block), NULL, ended, NULL, NULL);
    } while (rc == -EAGAIN);
    CHECK_OK(rc);
    UNTIL(worker, ends == sent + 1);
    CHECK_EQ(failures, 0);
    (void) tram_worker_free(worker);
    test_kill(server);
}

/* Cancellations of all that lies in the full ring wait, and go when there is room. */
TEST(control_frames_wait_for_room) {
    static tram_call *calls[100];
    pid_t server = pair_start(NULL);
    tram_worker *worker = small_worker();
    tram_client *client = pair_client(worker, ADDRESS, 0, &handlers, NULL);
    struct pair_counts counts;
    static char block[1000];
    int sent = 0;

    CHECK_OK(tram_client_wait(client, pair_patience()));
    stop(server);
    while (tram_client_ask(client, PAIR_DEFER, block, sizeof(block), NULL, ended, NULL,
                           &calls[sent]) == 0)
        sent++;
    for (int i = 0; i < sent; i++)
        CHECK(!tram_call_free(calls[i]));
    CHECK_OK(kill(server, SIGCONT));
    UNTIL(worker, spaces > 0);
    do
        get_counts(client, &counts);
    while (counts.cancelled < (uint64_t) sent);
    CHECK_EQ(ends, 0);
    (void) tram_worker_free(worker);
    test_kill(server);
}

TEST(queue_of_a_client_without_server_is_bounded) {
    tram_worker *worker = pair_worker(0);
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    static char block[1000];
    tram_client *client;
    int sent = 0, rc;
    pid_t server;

    options.handlers = &handlers;
    options.flags = TRAM_CLIENT_WAIT;
    options.queue_max = 100000;
    CHECK_OK(tram_client_new(worker, ADDRESS, &options, &client));
    while ((rc = tram_client_ask(client, PAIR_ECHO, block, sizeof(block), NULL, ended, NULL,
                                 NULL)) == 0)
        sent++;
    CHECK_ERR(rc, -EAGAIN);
    CHECK(sent > 50 && sent < 100);
    server = pair_start(NULL);
    UNTIL(worker, ends == sent && spaces > 0);
    CHECK_EQ(failures, 0);
    (void) tram_worker_free(worker);
    test_kill(server);
}

TEST(sessions_are_bounded_and_the_rest_is_refused) {
    struct pair_options options = {.sessions_max = 2};
    pid_t server = pair_start(&options);
    tram_worker *workers[3];
    tram_client *clients[3];
    tram_reply *reply;

    for (int i = 0; i < 3; i++) {
        workers[i] = pair_worker(0);
        clients[i] = pair_client(workers[i], ADDRESS, 0, &handlers, NULL);
        if (i < 2)
            CHECK_OK(tram_client_wait(clients[i], pair_patience()));
    }
    CHECK_ERR(tram_client_call(clients[2], PAIR_ECHO, NULL, 0, NULL, &reply), -ECONNRESET);
    CHECK_OK(tram_client_call(clients[0], PAIR_ECHO, NULL, 0, NULL, &reply));
    (void) tram_reply_free(reply);
    for (int i = 0; i < 3; i++)
        (void) tram_worker_free(workers[i]);
    test_kill(server);
}

/* ---- tools ----------------------------------------------------------------------------------- */

static void inspected(const struct tram_result *result, void *arg) {
    Tram__Control__Inspection *inspection =
        tram__control__inspection__unpack(NULL, result->view.size, result->view.data);

    (void) arg;
    CHECK_EQ(result->status, 0);
    CHECK(inspection);
    CHECK_STR(inspection->party->name, "pair");
    CHECK_EQ(inspection->party->node, PAIR_SERVER);
    CHECK_EQ(inspection->n_sessions, 1);
    CHECK_EQ(inspection->sessions[0]->requests, 3);
    CHECK_EQ(inspection->sessions[0]->in_hand, 3);
    CHECK_EQ(inspection->sessions[0]->pid, getpid());
    tram__control__inspection__free_unpacked(inspection, NULL);
    ends++;
}

TEST(server_tells_tools_about_itself) {
    pid_t server = pair_start(NULL);
    tram_worker *worker = pair_worker(0);
    tram_client *client = pair_client(worker, ADDRESS, 0, &handlers, NULL);

    CHECK_OK(tram_client_wait(client, pair_patience()));
    for (int i = 0; i < 3; i++)
        CHECK_OK(tram_client_ask(client, PAIR_DEFER, "x", 1, NULL, ended, NULL, NULL));
    CHECK_OK(client_ask(client, FRAME_INSPECT, 0, NULL, 0, NULL, inspected, NULL, NULL));
    UNTIL(worker, ends == 1);
    (void) tram_worker_free(worker);
    test_kill(server);
}

/* ---- nonsense -------------------------------------------------------------------------------- */

/* Whatever a node sends to the port of a server: others are served meanwhile, and it lives. */
TEST(nonsense_costs_nobody_else_anything) {
    pid_t server = pair_start(NULL);
    tram_worker *worker = pair_worker(0);
    tram_client *client = pair_client(worker, ADDRESS, 0, &handlers, NULL);
    tram_worker *evil = pair_worker(PAIR_CLIENT);
    tram_node *node = tram_worker_node(evil);
    tram_reply *reply;

    srand(11);
    for (int i = 0; i < 20000; i++) {
        struct tram_meta meta = {.tag = (uint32_t) rand()};
        struct frame frame = {.kind = (uint8_t) (rand() % 24),
                              .flags = (uint8_t) (rand() % 3 ? 0 : rand()),
                              .extra = (uint16_t) (rand() % 3 ? 0 : rand() % 40 * 8),
                              .port = frame_port("pair", 4),
                              .correlation = (uint64_t) (rand() % 4) << 32 | (rand() % 8u)};
        char payload[400];

        for (size_t at = 0; at < sizeof(payload); at++)
            payload[at] = (char) rand();
        if (frame.kind == FRAME_REQUEST)
            meta.tag = PAIR_DEFER + meta.tag % 2 * (PAIR_LEAVE - PAIR_DEFER);
        memcpy(meta.layer, &frame, sizeof(frame));
        (void) tram_sendv(node, PAIR_SERVER, &meta,
                          &(struct iovec){payload, (size_t) (rand() % 400)}, 1, 0, TRAM_FOREVER);
        if (i % 100 == 0) {
            CHECK_OK(tram_client_call(client, PAIR_ECHO, "x", 1, NULL, &reply));
            (void) tram_reply_free(reply);
            pair_turn(evil);
        }
    }
    CHECK_OK(tram_client_call(client, PAIR_ECHO, "x", 1, NULL, &reply));
    (void) tram_reply_free(reply);
    (void) tram_worker_free(evil);
    (void) tram_worker_free(worker);
    test_kill(server);
}
