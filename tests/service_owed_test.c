/* SPDX-License-Identifier: MIT
 *
 * What is owed when rings, or the memory of the bus, are full: that a session is over, and one-way
 * messages that were accepted before there was a server. Server and client are two workers of this
 * process, each of which reads when the test lets it.
 */
// test: timeout=120
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "support/pair.h"
#include "support/tramd.h"
#include "tram/service.h"

#define NODE    TRAM_ID(1, 1, 6, 1)
#define ADDRESS "shm://1.1.6.1/owed"

/* ---- a file system that is full -------------------------------------------------------------- */

static bool full;

int fallocate(int fd, int mode, off_t offset, off_t length) {
    int (*real)(int, int, off_t, off_t) = (int (*)(int, int, off_t, off_t)) dlsym(RTLD_NEXT,
                                                                                  "fallocate");

    if (full && mode == 0) {
        errno = ENOSPC;
        return -1;
    }
    return real(fd, mode, offset, length);
}

/* ---- both sides ------------------------------------------------------------------------------ */

static char block[1000];
static tram_worker *there, *here;
static tram_server *server;
static tram_session *session;
static tram_request *kept[8];
static int kept_count, requests, messages, ends, resets, online, offline;
static uint32_t unknown;
static bool leave;

static void on_request(tram_server *its, tram_request **request, void *arg) {
    (void) its;
    (void) arg;
    requests++;
    session = tram_request_session(*request);
    if (leave)
        return;
    kept[kept_count++] = *request;
    *request = NULL;
}

static void on_message(tram_server *its, tram_session *from, const struct tram_view *view,
                       void *arg) {
    (void) its;
    (void) from;
    (void) view;
    (void) arg;
    messages++;
}

static const struct tram_server_handlers server_handlers = {.on_request = on_request,
                                                            .on_message = on_message};

static void asked_back(tram_client *client, tram_request **request, void *arg) {
    (void) client;
    (void) arg;
    requests++;
    kept[kept_count++] = *request;
    *request = NULL;
}

static void on_state(tram_client *client, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    (void) client;
    (void) arg;
    online += state == TRAM_STATE_ONLINE;
    offline += state == TRAM_STATE_OFFLINE;
    if (state == TRAM_STATE_OFFLINE)
        unknown += who->unknown;
}

static const struct tram_client_handlers client_handlers = {.on_state = on_state,
                                                            .on_request = asked_back};

static void ended(const struct tram_result *result, void *arg) {
    (void) arg;
    ends++;
    resets += result->status == -ECONNRESET;
}

/* Its rings are small, and stay so. */
static tram_worker *small_worker(tram_id id) {
    struct tram_worker_options made = TRAM_WORKER_OPTIONS_INIT;
    struct tram_options node = TRAM_OPTIONS_INIT;
    tram_worker *worker;

    node.ring_size = 65536;
    node.ring_max = 65536;
    made.id = id;
    made.node = &node;
    CHECK_OK(tram_worker_new(&made, &worker));
    return worker;
}

static void serve_it(uint32_t flags) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;

    options.handlers = &server_handlers;
    options.flags = flags;
    there = small_worker(NODE);
    CHECK_OK(tram_server_new(there, "svc://owed", &options, &server));
}

#define BOTH_UNTIL(condition)                                                                      \
    do {                                                                                           \
        int64_t until_ = pair_now() + pair_patience();                                             \
        while (!(condition)) {                                                                     \
            pair_turn(there);                                                                      \
            pair_turn(here);                                                                       \
            if (pair_now() > until_)                                                               \
                FAIL("in vain: %s", #condition);                                                   \
        }                                                                                          \
    } while (0)

static tram_client *client_with(uint32_t flags, uint32_t calls_max) {
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    tram_client *client;

    options.flags = flags;
    options.calls_max = calls_max;
    options.handlers = &client_handlers;
    here = small_worker(0);
    CHECK_OK(tram_client_new(here, ADDRESS, &options, &client));
    return client;
}

static void ask(tram_client *client, int count) {
    struct tram_how how = TRAM_HOW_INIT;

    how.timeout_ns = TRAM_FOREVER;
    for (int i = 0; i < count; i++)
        CHECK_OK(tram_client_ask(client, 1, "?", 1, &how, ended, NULL, NULL));
}

/* Of the server's end: nobody reads meanwhile. */
static int fill(void) {
    int rc = 0;

    for (size_t size = sizeof(block); size > 0; size /= 10)
        while ((rc = tram_session_send(session, 1, block, size, NULL)) == 0)
            ;
    return rc;
}

static void done(void) {
    while (kept_count > 0)
        (void) tram_request_free(kept[--kept_count]);
    (void) tram_worker_free(here);
    (void) tram_worker_free(there);
}

/* ---- that it is over ------------------------------------------------------------------------- */

TEST(session_that_ends_with_its_ring_full_is_told) {
    tram_client *client;

    serve_it(TRAM_SERVER_NO_DAEMON);
    client = client_with(0, 0);
    ask(client, 3);
    BOTH_UNTIL(requests == 3);
    CHECK_ERR(fill(), -EAGAIN);
    (void) tram_session_free(session);
    BOTH_UNTIL(ends == 3);
    CHECK_EQ(resets, 3);
    BOTH_UNTIL(offline == 1 && online == 2); /* it comes back, with a session of its own */
    ask(client, 1);
    BOTH_UNTIL(requests == 4);
    done();
}

TEST(server_that_ends_with_its_ring_full_is_told) {
    tram_client *client;

    serve_it(TRAM_SERVER_NO_DAEMON);
    client = client_with(0, 0);
    ask(client, 3);
    BOTH_UNTIL(requests == 3);
    CHECK_ERR(fill(), -EAGAIN);
    while (kept_count > 0) /* an answer that waits goes before it */
        (void) tram_request_free(kept[--kept_count]);
    ask(client, 1);
    (void) tram_server_free(server);
    BOTH_UNTIL(ends == 4);
    done();
}

TEST(client_that_ends_with_its_ring_full_is_told) {
    struct tram_how how = TRAM_HOW_INIT;
    tram_client *client;
    int rc = 0;

    serve_it(TRAM_SERVER_NO_DAEMON);
    client = client_with(0, 0);
    ask(client, 1);
    BOTH_UNTIL(requests == 1 && online == 1);
    how.timeout_ns = TRAM_FOREVER;
    CHECK_OK(tram_session_ask(session, 1, "?", 1, &how, ended, NULL, NULL));
    BOTH_UNTIL(requests == 2);
    for (size_t size = sizeof(block); size > 0; size /= 10)
        while ((rc = tram_client_send(client, 1, block, size, NULL)) == 0)
            ;
    CHECK_ERR(rc, -EAGAIN);
    (void) tram_client_free(client);
    BOTH_UNTIL(ends == 1);
    CHECK_EQ(resets, 1);
    done();
}

/* More refusals than are kept for it: the session is ended, and the client hears that. */
TEST(session_of_whom_too_much_is_owed_is_ended_and_told) {
    tram_client *client;

    serve_it(TRAM_SERVER_NO_DAEMON);
    client = client_with(0, 4096);
    ask(client, 1);
    BOTH_UNTIL(requests == 1);
    CHECK_ERR(fill(), -EAGAIN);
    leave = true;
    for (int i = 0; i < 8; i++) {
        ask(client, 200);
        while (requests < 1 + (i + 1) * 200)
            pair_turn(there);
    }
    BOTH_UNTIL(ends == 1601);
    CHECK(resets > 0);
    done();
}

TEST(session_that_ends_without_memory_is_told) {
    tram_client *client;

    serve_it(TRAM_SERVER_NO_DAEMON);
    client = client_with(0, 0);
    ask(client, 3);
    BOTH_UNTIL(requests == 3);
    full = true;
    CHECK_ERR(fill(), -ENOSPC);
    (void) tram_session_free(session);
    for (int i = 0; i < 20; i++) {
        pair_turn(there);
        pair_turn(here);
    }
    CHECK_EQ(ends, 0);
    full = false;
    BOTH_UNTIL(ends == 3);
    done();
}

/* ---- parts that nobody takes ----------------------------------------------------------------- */

/* However much room there is: no more than who asked lets be under way; on when he took some. */
TEST(parts_of_a_reply_wait_for_who_asked) {
    struct tram_how how = TRAM_HOW_INIT;
    tram_client *client;

    serve_it(TRAM_SERVER_NO_DAEMON);
    client = client_with(0, 0);
    how.timeout_ns = TRAM_FOREVER;
    how.window = 6;
    CHECK_OK(tram_client_ask(client, 1, "?", 1, &how, ended, NULL, NULL));
    BOTH_UNTIL(requests == 1);
    for (int i = 0; i < 6; i++)
        CHECK_OK(tram_reply_part(kept[0], "x", 1));
    for (int i = 0; i < 20; i++) {
        CHECK_ERR(tram_reply_part(kept[0], "x", 1), -EAGAIN);
        pair_turn(there);
    }
    BOTH_UNTIL(ends == 6); /* parts */
    BOTH_UNTIL(tram_reply_part(kept[0], "x", 1) == 0);
    CHECK_OK(tram_reply_send(&kept[0], NULL, 0));
    kept_count = 0;
    BOTH_UNTIL(ends == 8);
    done();
}

/* ---- what was accepted before there was a server --------------------------------------------- */

TEST(one_way_messages_wait_for_memory) {
    tram_client *client = client_with(TRAM_CLIENT_WAIT, 0);

    for (int i = 0; i < 40; i++)
        CHECK_OK(tram_client_send(client, 1, block, sizeof(block), NULL));
    serve_it(TRAM_SERVER_NO_DAEMON);
    for (int i = 0; i < 40; i++) {
        full = true;
        pair_turn(here);
        full = false;
        pair_turn(there);
    }
    BOTH_UNTIL(messages == 40);
    done();
}

TEST(one_way_message_that_is_too_large_is_counted) {
    static char large[100000];
    tram_client *client = client_with(TRAM_CLIENT_WAIT, 0);

    CHECK_OK(tram_client_send(client, 1, large, sizeof(large), NULL));
    CHECK_OK(tram_client_send(client, 1, "x", 1, NULL));
    serve_it(TRAM_SERVER_NO_DAEMON);
    BOTH_UNTIL(messages == 1 && online == 1);
    (void) tram_server_free(server);
    BOTH_UNTIL(offline == 1);
    CHECK_EQ(unknown, 1);
    done();
}

TEST(one_way_message_to_whoever_will_serve_it_is_kept) {
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    pid_t daemon = tramd_start(NULL);
    tram_client *client;
    int rc, sent = 0;

    here = small_worker(0);
    CHECK_OK(tram_client_new(here, "svc://owed", &options, &client));
    while ((rc = tram_client_send(client, 1, "x", 1, NULL)) == 0) { /* until it is known */
        sent++;
        pair_turn(here);
    }
    CHECK_ERR(rc, -ENOTCONN);
    CHECK(sent > 0);
    serve_it(0);
    BOTH_UNTIL(messages == sent);
    done();
    test_kill(daemon);
}
