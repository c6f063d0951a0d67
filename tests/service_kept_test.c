/* SPDX-License-Identifier: MIT
 *
 * While a server waits in a blocking call, what its clients send is kept. What ends a client's
 * session then, or asks what is in hand, must not overtake what that client had sent before. The
 * clients are a node that speaks by hand; each port is one.
 */
// test: timeout=60
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"
#include "support/pair.h"
#include "tram/service.h"
#include "wire/frame.h"

#define SERVER TRAM_ID(1, 1, 7, 1)
#define CLIENT TRAM_ID(1, 1, 7, 2)

enum { CALL_BACK = 1, ANSWER };

/* ---- the server ------------------------------------------------------------------------------ */

static int *messages; /* shared */

static void on_request(tram_server *server, tram_request **request, void *arg) {
    tram_reply *reply;

    (void) server;
    (void) arg;
    if (tram_request_view(*request)->code == CALL_BACK) {
        int rc = tram_session_call(tram_request_session(*request), 1, "?", 1, NULL, &reply);

        CHECK(rc == 0 || rc == -ECONNRESET);
        if (rc == 0)
            (void) tram_reply_free(reply);
        if (rc < 0)
            CHECK_ERR(tram_session_call(tram_request_session(*request), 1, "?", 1, NULL, &reply),
                      -ENOTCONN);
    }
    CHECK_OK(tram_reply_send(request, NULL, 0));
}

static void on_message(tram_server *server, tram_session *session, const struct tram_view *view,
                       void *arg) {
    (void) server;
    (void) session;
    (void) view;
    (void) arg;
    (void) __atomic_add_fetch(messages, 1, __ATOMIC_RELAXED);
}

static void serve_it(void *arg) {
    static const struct tram_server_handlers handlers = {.on_request = on_request,
                                                         .on_message = on_message};
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_server *server;
    tram_worker *worker;

    (void) arg;
    options.handlers = &handlers;
    options.flags = TRAM_SERVER_NO_DAEMON;
    worker = pair_worker(SERVER);
    CHECK_OK(tram_server_new(worker, "svc://kept", &options, &server));
    CHECK_OK(tram_worker_run(worker));
    _exit(0);
}

/* ---- by hand --------------------------------------------------------------------------------- */

static tram_node *node;

static void say(enum frame_kind kind, uint32_t port, uint32_t number, uint32_t code,
                const void *data, size_t size) {
    struct tram_meta meta = {.tag = code};
    struct frame frame = {.kind = (uint8_t) kind,
                          .port = frame_port("kept", 4),
                          .correlation = (uint64_t) port << 32 | number};
    union {
        const void *from;
        void *base;
    } payload = {data};
    struct iovec piece = {payload.base, size};

    memcpy(meta.layer, &frame, sizeof(frame));
    CHECK_OK(tram_sendv(node, SERVER, &meta, &piece, size > 0, 0, TRAM_FOREVER));
}

static void hello(uint32_t port, int32_t pid) {
    struct hello payload = {.magic = "TRAM", .version = FRAME_VERSION, .pid = pid};

    say(FRAME_HELLO, port, 0, 0, &payload, sizeof(payload));
}

/* The next frame of this kind. */
static struct frame await(enum frame_kind kind) {
    struct frame frame;
    struct tram_msg msg;

    do {
        CHECK_OK(tram_recv(node, &msg, pair_patience()));
        memcpy(&frame, msg.layer, sizeof(frame));
    } while (frame.kind != kind);
    return frame;
}

/* The server is in its blocking call, which asks this. */
static struct frame called_back(uint32_t port) {
    hello(port, getpid());
    say(FRAME_REQUEST, port, 1, CALL_BACK, NULL, 0);
    return await(FRAME_REQUEST);
}

static pid_t begin(void) {
    messages = kit_shared(sizeof(*messages));
    node = kit_open(NULL, CLIENT, NULL);
    return test_fork(serve_it, NULL);
}

static void answer(struct frame asked) {
    struct tram_meta meta = {0};

    asked.kind = FRAME_REPLY;
    asked.flags = 0; /* no deadline */
    asked.extra = 0;
    asked.port = frame_port("kept", 4);
    memcpy(meta.layer, &asked, sizeof(asked));
    CHECK_OK(tram_sendv(node, SERVER, &meta, NULL, 0, 0, TRAM_FOREVER));
}

/* Whatever was said before is through. */
static void end(pid_t server) {
    say(FRAME_REQUEST, 99, 5, ANSWER, NULL, 0);
    while (await(FRAME_REPLY).correlation != (UINT64_C(99) << 32 | 5))
        ;
    CHECK_OK(tram_close(node));
    test_kill(server);
}

TEST(bye_waits_for_what_was_said_before) {
    pid_t server = begin();
    struct frame asked = called_back(1);

    hello(2, getpid());
    say(FRAME_ONEWAY, 2, 0, 0, "x", 1);
    say(FRAME_BYE, 2, 0, 0, NULL, 0);
    answer(asked);
    end(server);
    CHECK_EQ(*messages, 1);
}

TEST(bye_of_who_was_asked_ends_the_call) {
    pid_t server = begin();

    (void) called_back(1);
    say(FRAME_ONEWAY, 1, 0, 0, "x", 1);
    say(FRAME_BYE, 1, 0, 0, NULL, 0);
    end(server);
    CHECK_EQ(*messages, 1);
}

TEST(hello_of_a_successor_waits_for_what_was_said_before) {
    pid_t server = begin();
    struct frame asked = called_back(1);

    hello(2, getpid());
    say(FRAME_ONEWAY, 2, 0, 0, "x", 1);
    hello(3, getpid() + 1); /* another process of this node */
    say(FRAME_ONEWAY, 3, 0, 0, "x", 1);
    answer(asked);
    end(server);
    CHECK_EQ(*messages, 2);
}

TEST(sync_waits_for_what_was_asked_before) {
    pid_t server = begin();
    struct frame asked = called_back(1);
    struct frame frame;

    hello(2, getpid());
    say(FRAME_REQUEST, 2, 7, ANSWER, NULL, 0);
    say(FRAME_SYNC, 2, 1, 0, NULL, 0);
    answer(asked);
    do { /* the answer comes first, or its request would end as unknown */
        struct tram_msg msg;

        CHECK_OK(tram_recv(node, &msg, pair_patience()));
        memcpy(&frame, msg.layer, sizeof(frame));
        CHECK(frame.kind != FRAME_SYNCED);
    } while (frame.kind != FRAME_REPLY || frame.correlation != (UINT64_C(2) << 32 | 7));
    (void) await(FRAME_SYNCED);
    end(server);
}
/* The node dies: what it had said arrives all the same. */
TEST(end_of_the_node_waits_for_what_was_said_before) {
    pid_t server = begin();

    (void) called_back(1);
    say(FRAME_ONEWAY, 1, 0, 0, "x", 1);
    hello(2, getpid());
    say(FRAME_ONEWAY, 2, 0, 0, "x", 1);
    CHECK_OK(tram_close(node));
    for (int64_t until = pair_now() + pair_patience();
         __atomic_load_n(messages, __ATOMIC_RELAXED) < 2 && pair_now() < until;)
        kit_pause();
    CHECK_EQ(*messages, 2);
    test_kill(server);
}
