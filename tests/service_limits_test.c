/* SPDX-License-Identifier: MIT
 *
 * What a peer can make a worker with endpoints hold has an end, and what happens there is what the
 * headers say: requests that stay deferred, what waits for room in a ring that nobody reads, what
 * comes for a server that hands over, plain messages that nobody handles. And the time to live of a
 * message is over when it is over, however old the clock of the turn is.
 */
// test: timeout=120
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "harness.h"
#include "service/service.h"
#include "support/pair.h"
#include "tram/service.h"
#include "wire/events.h"
#include "wire/frame.h"

#define EVIL TRAM_ID(1, 1, 5, 9)
#define ROOM 8192

static struct world {
    tram_worker *worker;
    tram_server *server;
    tram_request *kept[ROOM];
    int kept_count, messages, sessions, sessions_ever, plain;
    uint32_t codes;    /* requests came in their order: the code of the last */
    bool in_order, call_first, slow, turn_away;
    struct frame heard[ROOM];
    uint32_t said[ROOM]; /* the code of each */
    size_t sizes[ROOM];
    int heard_count;
} w;

static void turns(int64_t ns) {
    int64_t until = pair_now() + ns;

    do
        CHECK(tram_worker_dispatch(w.worker) >= 0);
    while (pair_now() < until);
}

static int say(tram_node *evil, enum frame_kind kind, uint32_t port, uint64_t correlation,
               uint32_t code, const void *data, size_t size) {
    struct frame frame = { .kind = (uint8_t) kind, .port = port, .correlation = correlation };
    struct tram_meta meta = { .tag = code };
    struct iovec piece;

    memcpy(&piece.iov_base, &data, sizeof(data));
    piece.iov_len = size;
    memcpy(meta.layer, &frame, sizeof(frame));
    return tram_sendv(evil, PAIR_SERVER, &meta, &piece, size > 0, TRAM_NOWAIT, 0);
}

static uint64_t of(uint32_t port, uint32_t number) {
    return (uint64_t) port << 32 | number;
}

static uint32_t pair_port(void) {
    return frame_port("pair", 4);
}

/* What was said to the evil node since. */
static void listen_to(tram_node *evil) {
    struct tram_msg msg;

    while (tram_recv(evil, &msg, 0) == 0) {
        CHECK(w.heard_count < ROOM);
        memcpy(&w.heard[w.heard_count], msg.layer, sizeof(struct frame));
        w.sizes[w.heard_count] = msg.size;
        w.said[w.heard_count++] = msg.tag;
    }
}

static int heard(enum frame_kind kind, uint32_t code) {
    int count = 0;

    for (int i = 0; i < w.heard_count; i++)
        count += w.heard[i].kind == kind && w.said[i] == code;
    return count;
}

/* ---- the server ------------------------------------------------------------------------------ */

static void keep_it(tram_server *server, tram_request **request, void *arg) {
    (void) server;
    (void) arg;
    CHECK(w.kept_count < ROOM);
    w.in_order &= tram_request_view(*request)->code == ++w.codes;
    if (w.call_first && w.kept_count == 0) {
        struct tram_how how = TRAM_HOW_INIT;
        tram_reply *reply;

        how.timeout_ns = 100000000;
        CHECK_ERR(tram_session_call(tram_request_session(*request), 1, "x", 1, &how, &reply),
                  -ETIMEDOUT);
    }
    w.kept[w.kept_count++] = *request;
    *request = NULL;
}

static void on_message(tram_server *server, tram_session *session, const struct tram_view *view,
                       void *arg) {
    int64_t until = pair_now() + (w.slow ? 60000000 : 0);

    (void) server;
    (void) session;
    (void) view;
    (void) arg;
    w.messages++;
    while (pair_now() < until)
        ;
}

static void on_session(tram_server *server, tram_session *session, bool online, void *arg) {
    (void) server;
    (void) arg;
    w.sessions_ever += online;
    w.sessions += online ? 1 : -1;
    if (online && w.turn_away)
        (void) tram_session_free(session);
}

static void on_cancel(tram_server *server, tram_request *request, void *arg) {
    (void) server;
    (void) arg;
    for (int i = 0; i < w.kept_count; i++)
        if (w.kept[i] == request)
            w.kept[i] = NULL;
    (void) tram_request_free(request);
}

static const struct tram_server_handlers serving = { .on_request = keep_it,
                                                     .on_message = on_message,
                                                     .on_session = on_session,
                                                     .on_cancel = on_cancel };

static tram_server *serve_at(const char *address, const char *const *addresses) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_server *server;

    options.handlers = &serving;
    options.addresses = addresses;
    options.flags = TRAM_SERVER_NO_DAEMON;
    CHECK_OK(tram_server_new(w.worker, address, &options, &server));
    return server;
}

static tram_server *serve(const char *address) {
    return serve_at(address, NULL);
}

static void open_worker(void) {
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_options node = TRAM_OPTIONS_INIT;

    node.ring_size = 65536;
    options.node = &node;
    options.id = PAIR_SERVER;
    options.flags = TRAM_WORKER_NO_SPIN;
    CHECK_OK(tram_worker_new(&options, &w.worker));
}

static tram_node *begin(void) {
    tram_node *evil;

    memset(&w, 0, sizeof(w));
    w.in_order = true;
    open_worker();
    w.server = serve("svc://pair");
    CHECK_OK(tram_open(NULL, EVIL, NULL, &evil));
    return evil;
}

static void end(tram_node *evil) {
    for (int i = 0; i < w.kept_count; i++)
        (void) tram_request_free(w.kept[i]);
    (void) tram_worker_free(w.worker);
    (void) tram_close(evil);
}

static tram_client *client_at(const char *address, tram_worker **ret_worker) {
    *ret_worker = pair_worker(PAIR_CLIENT);
    return pair_client(*ret_worker, address, 0, NULL, NULL);
}

/* Until `condition`, or the test's time is up. */
#define TURN_UNTIL(evil, condition)                                                                \
    do {                                                                                           \
        turns(200000);                                                                             \
        listen_to(evil);                                                                           \
    } while (!(condition))

/* ---- connections ----------------------------------------------------------------------------- */

/* A server may turn a client away when it comes, also one that comes over a socket. */
TEST(session_that_is_closed_when_it_begins) {
    const char *addresses[] = { pair_address("ipc"), NULL };
    tram_node *evil = begin();
    tram_worker *worker;
    tram_client *client;

    w.server = tram_server_free(w.server);
    w.server = serve_at("svc://pair", addresses);
    w.turn_away = true;
    client = client_at(addresses[0], &worker);
    while (w.sessions_ever < 3) { /* it tries again */
        pair_turn(worker);
        turns(1000);
    }
    w.turn_away = false;
    UNTIL(worker, (turns(1000), tram_client_send(client, 1, "x", 1, NULL) == 0));
    TURN_UNTIL(evil, (pair_turn(worker), w.messages == 1));
    (void) tram_worker_free(worker);
    end(evil);
}

/* ---- requests -------------------------------------------------------------------------------- */

/* From ports as many as it likes. */
TEST(deferred_requests_of_a_node_are_bounded_in_number) {
    tram_node *evil = begin();
    int more = 500, sent = 0;

    while (sent < (int) REQUESTS_MAX + more) {
        if (say(evil, FRAME_REQUEST, pair_port(), of(1 + (uint32_t) sent % 7, (uint32_t) sent), 1,
                "x", 1) == 0)
            sent++;
        else
            turns(1);
        listen_to(evil);
    }
    TURN_UNTIL(evil, w.kept_count + heard(FRAME_ERROR, (uint32_t) -ENOBUFS) == sent);
    CHECK_EQ(w.kept_count, REQUESTS_MAX);
    CHECK_OK(tram_reply_send(&w.kept[17], "y", 1)); /* and so there is room for one */
    CHECK_OK(say(evil, FRAME_REQUEST, pair_port(), of(1, 70000), 1, "x", 1));
    CHECK_OK(say(evil, FRAME_REQUEST, pair_port(), of(1, 70001), 1, "x", 1));
    TURN_UNTIL(evil, heard(FRAME_ERROR, (uint32_t) -ENOBUFS) == more + 1);
    CHECK_EQ(w.kept_count, REQUESTS_MAX + 1);
    end(evil);
}

TEST(deferred_requests_of_a_node_are_bounded_in_bytes) {
    static char block[1 << 20];
    tram_node *evil = begin();
    int sent = 0, most = (int) (REQUESTS_BYTES / sizeof(block));

    while (sent < most + 20) {
        if (say(evil, FRAME_REQUEST, pair_port(), of(1, (uint32_t) sent), 1, block,
                sizeof(block)) == 0)
            sent++;
        turns(1);
        listen_to(evil);
    }
    TURN_UNTIL(evil, w.kept_count + heard(FRAME_ERROR, (uint32_t) -ENOBUFS) == sent);
    CHECK_EQ(w.kept_count, most);
    end(evil);
}

/* One larger than all of that is taken, if it is alone. */
TEST(one_request_may_be_larger_than_the_bound) {
    size_t size = REQUESTS_BYTES + 1;
    tram_node *evil = begin();
    void *block = calloc(1, size);

    CHECK(block);
    CHECK_OK(say(evil, FRAME_REQUEST, pair_port(), of(1, 1), 1, block, size));
    CHECK_OK(say(evil, FRAME_REQUEST, pair_port(), of(1, 2), 1, "x", 1));
    TURN_UNTIL(evil, heard(FRAME_ERROR, (uint32_t) -ENOBUFS) == 1);
    CHECK_EQ(w.kept_count, 1);
    CHECK_EQ(tram_request_view(w.kept[0])->size, size);
    free(block);
    end(evil);
}

/* A client says SYNC to a server that came back, whose first handler waits: what came behind that
 * request is not lost, though nobody has seen it yet. */
TEST(sync_lists_what_waits_for_a_blocking_call) {
    tram_node *evil = begin();

    w.call_first = true;
    for (uint32_t i = 1; i <= 3; i++)
        CHECK_OK(say(evil, FRAME_REQUEST, pair_port(), of(1, i), i, "x", 1));
    CHECK_OK(say(evil, FRAME_SYNC, pair_port(), of(1, 1), 0, NULL, 0));
    TURN_UNTIL(evil, heard(FRAME_SYNCED, 0) == 1);
    CHECK_EQ(w.kept_count, 3);
    CHECK_EQ(w.sizes[w.heard_count - 1], 3 * sizeof(uint64_t));
    end(evil);
}

/* ---- what waits for room --------------------------------------------------------------------- */

static uint64_t unsent(void) {
    const struct service *service = worker_shared(w.worker);

    CHECK(!service->neighbours || !service->neighbours->next);
    return service->neighbours ? service->neighbours->unsent : 0;
}

/* Answers of the layer itself, each much larger than the question. */
TEST(who_asks_and_does_not_read_is_bounded) {
    tram_node *evil = begin();
    uint64_t most = 0;
    int sent = 0;

    for (uint32_t i = 0; i < 4000; i++)
        while (say(evil, FRAME_REQUEST, pair_port(), of(1 + i % 8, i), 1, "x", 1) != 0)
            turns(1);
    while (sent < 8000) {
        CHECK_OK(say(evil, FRAME_SYNC, pair_port(), of(1 + (uint32_t) sent++ % 8, 1), 0, NULL, 0));
        turns(1);
        most = unsent() > most ? unsent() : most;
    }
    CHECK(most > UNSENT_MAX / 2 && most < UNSENT_MAX + (1 << 20));
    end(evil);
}

/* Events of many subscriptions that come as messages: a MiB may wait for each. */
TEST(subscriptions_that_are_not_read_are_bounded_together) {
    struct subscribe wish = { 0 };
    static char block[100000];
    tram_node *evil = begin();

    for (uint32_t i = 0; i < 64; i++)
        while (say(evil, FRAME_SUBSCRIBE, pair_port(), of(1, i), 7, &wish, sizeof(wish)) != 0)
            turns(1);
    turns(5000000);
    for (int i = 0; i < 12; i++) {
        CHECK_OK(tram_server_publish(w.server, 7, block, sizeof(block), NULL));
        turns(1);
    }
    CHECK(unsent() > UNSENT_MAX / 2 && unsent() <= UNSENT_MAX + 4096 * 64);
    w.server = tram_server_free(w.server);
    turns(1);
    CHECK(!((const struct service *) worker_shared(w.worker))->neighbours);
    end(evil);
}

/* ---- handing over ---------------------------------------------------------------------------- */

/* What is asked of a server that drains waits for its successor, up to a number; when it is more,
 * all is given back in its order, and doesn't stop the channel: the worker's other endpoints go
 * on. */
TEST(what_waits_for_a_successor_is_bounded) {
    tram_node *evil = begin();
    tram_server *other = serve("svc://other");

    CHECK_OK(say(evil, FRAME_REQUEST, pair_port(), of(1, 1), 1, "x", 1));
    TURN_UNTIL(evil, w.kept_count == 1);
    CHECK_OK(tram_server_drain(w.server, NULL));
    for (uint32_t i = 2; i <= 1001; i++)
        CHECK_OK(say(evil, FRAME_REQUEST, pair_port(), of(1, i), i, "x", 1));
    CHECK_OK(say(evil, FRAME_ONEWAY, frame_port("other", 5), of(1, 0), 0, "x", 1));
    TURN_UNTIL(evil, w.messages == 1 && heard(FRAME_ERROR, (uint32_t) -ECONNREFUSED) == 1000);
    CHECK_EQ(heard(FRAME_BYE, 0), 0);
    for (int i = 0, number = 2; i < w.heard_count; i++) {
        if (w.heard[i].kind != FRAME_ERROR)
            continue;
        CHECK_EQ(w.heard[i].correlation, of(1, (uint32_t) number));
        CHECK_EQ(w.sizes[i], sizeof(struct returned) + 1);
        number++;
    }
    w.server = tram_server_free(w.server);
    CHECK_EQ(w.kept_count, 1);
    w.codes = 1001;
    w.server = serve("svc://pair");
    CHECK_OK(say(evil, FRAME_REQUEST, pair_port(), of(1, 1002), 1002, "x", 1));
    TURN_UNTIL(evil, w.kept_count == 2);
    CHECK(w.in_order);
    (void) tram_server_free(other);
    end(evil);
}

static struct waiting {
    int answered, failed;
} waiting;

static void count_end(const struct tram_result *result, void *arg) {
    (void) arg;
    if (result->status == 0 && result->view.size == 1)
        waiting.answered++;
    else
        waiting.failed++;
}

/* … and a client that waits for servers asks it of the next one. */
TEST(who_waits_asks_the_successor_what_was_given_back) {
    tram_node *evil = begin();
    tram_worker *worker = pair_worker(PAIR_CLIENT);
    tram_client *client = pair_client(worker, "shm://1.1.5.1/pair", TRAM_CLIENT_WAIT, NULL, NULL);
    struct tram_how how = TRAM_HOW_INIT;
    uint32_t asked = 0;
    int answered = 0;

    waiting = (struct waiting) { 0 };
    how.timeout_ns = TRAM_FOREVER;
    while (asked < 1000) {
        int rc = tram_client_ask(client, asked + 1, "x", 1, &how, count_end, NULL, NULL);

        CHECK(rc == 0 || rc == -EAGAIN);
        asked += rc == 0;
        if (asked % 100 == 1 || rc < 0) {
            pair_turn(worker);
            turns(1000);
        }
        if (asked == 1 && w.kept_count == 0)
            UNTIL(worker, (turns(1000), w.kept_count == 1));
        if (asked == 1)
            CHECK_OK(tram_server_drain(w.server, NULL));
    }
    for (int i = 0; i < 50; i++) {
        pair_turn(worker);
        turns(100000);
    }
    CHECK(waiting.answered == 0 && waiting.failed == 0 && w.kept_count == 1);
    w.server = tram_server_free(w.server);
    (void) tram_request_free(w.kept[0]); /* which that refused */
    w.kept_count = 0;
    w.server = serve("svc://pair");
    UNTIL(worker, (turns(1000), waiting.failed + w.kept_count == 1000));
    CHECK(waiting.failed == 1 && w.in_order && w.codes == 1000);
    while (answered < w.kept_count) {
        int rc = tram_reply_send(&w.kept[answered], "y", 1);

        answered += rc == 0;
        pair_turn(worker);
        turns(1);
    }
    UNTIL(worker, (turns(1000), waiting.answered == 999));
    CHECK_EQ(waiting.failed, 1);
    w.kept_count = 0;
    (void) tram_worker_free(worker);
    end(evil);
}

/* Accepted is accepted: what is said one-way meanwhile is handed on by the server that drains, once
 * it is too much to wait in the ring; nor does it stop what the last answers may wait for. */
TEST(one_way_messages_do_not_stop_a_handover) {
    tram_node *evil = begin();
    tram_server *other = serve("svc://other");
    uint32_t sent = 0;

    CHECK_OK(say(evil, FRAME_REQUEST, pair_port(), of(1, 1), 1, "x", 1));
    TURN_UNTIL(evil, w.kept_count == 1);
    CHECK_OK(tram_server_drain(w.server, NULL));
    while (sent < 2000) {
        if (say(evil, FRAME_ONEWAY, pair_port(), of(1 + sent % 2, 0), 0, "x", 1) == 0)
            sent++;
        else
            turns(1);
    }
    CHECK_OK(say(evil, FRAME_REQUEST, frame_port("other", 5), of(1, 2), 2, "x", 1));
    TURN_UNTIL(evil, w.kept_count == 2);
    TURN_UNTIL(evil, w.messages == 2000);
    (void) tram_server_free(other);
    end(evil);
}

/* What clients say of themselves meanwhile is kept for the successor, out of the ring when 256
 * messages have come behind it; what they say again, once. */
TEST(who_greets_a_server_that_drains_does_not_stop_it) {
    tram_node *evil = begin();
    tram_server *other = serve("svc://other");
    uint32_t sent = 0;

    CHECK_OK(say(evil, FRAME_REQUEST, pair_port(), of(1, 1), 1, "x", 1));
    TURN_UNTIL(evil, w.kept_count == 1);
    CHECK_OK(tram_server_drain(w.server, NULL));
    CHECK_OK(say(evil, FRAME_HELLO, pair_port(), of(2, 0), 0, NULL, 0));
    CHECK_OK(say(evil, FRAME_SYNC, pair_port(), of(2, 7), 0, NULL, 0));
    CHECK_OK(say(evil, FRAME_SYNC, pair_port(), of(2, 8), 0, NULL, 0));
    while (sent < 2000) {
        if (say(evil, FRAME_ONEWAY, pair_port(), of(1, 0), 0, "x", 1) == 0)
            sent++;
        else
            turns(1);
    }
    CHECK_OK(say(evil, FRAME_REQUEST, frame_port("other", 5), of(1, 2), 2, "x", 1));
    TURN_UNTIL(evil, w.kept_count == 2 && w.messages == 2000);
    w.server = tram_server_free(w.server);
    w.heard_count = 0;
    w.server = serve("svc://pair");
    TURN_UNTIL(evil, heard(FRAME_SYNCED, 0) == 1 && heard(FRAME_WELCOME, 0) > 0);
    for (int i = 0; i < w.heard_count; i++)
        CHECK(w.heard[i].kind != FRAME_SYNCED || (uint32_t) w.heard[i].correlation == 8);
    (void) tram_server_free(other);
    end(evil);
}

/* What was left to a successor that hands over itself comes there, marked, and does not stop the
 * channel: it can't be given back, for somebody may have executed it. */
TEST(what_comes_again_to_a_server_that_drains) {
    tram_node *evil = begin();
    tram_server *other;

    CHECK_OK(say(evil, FRAME_REQUEST, pair_port(), of(1, 1), 1, "x", 1));
    TURN_UNTIL(evil, w.kept_count == 1);
    CHECK_OK(tram_server_drain(w.server, NULL));
    for (uint32_t i = 2; i <= 101; i++)
        CHECK_OK(say(evil, FRAME_REQUEST, pair_port(), of(1, i), i, "x", 1));
    turns(5000000);
    CHECK_EQ(w.kept_count, 1);
    CHECK_OK(tram_reply_send(&w.kept[0], "y", 1));
    w.kept_count = 0;
    w.server = tram_server_free(w.server);
    w.worker = tram_worker_free(w.worker);

    open_worker();
    w.server = serve("svc://pair");
    other = serve("svc://other");
    w.codes = 1;
    while (w.kept_count == 0) /* what comes again comes one by one */
        CHECK(tram_worker_dispatch(w.worker) >= 0);
    CHECK(w.kept_count < 100);
    CHECK_OK(tram_server_drain(w.server, NULL));
    for (uint32_t i = 102; i <= 1101; i++)
        CHECK_OK(say(evil, FRAME_REQUEST, pair_port(), of(1, i), i, "x", 1));
    CHECK_OK(say(evil, FRAME_ONEWAY, frame_port("other", 5), of(1, 0), 0, "x", 1));
    TURN_UNTIL(evil, w.messages == 1 && w.kept_count == 100 &&
                         heard(FRAME_ERROR, (uint32_t) -ECONNREFUSED) == 1000);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(tram_request_view(w.kept[i])->attempt, 2);
    CHECK(w.in_order);
    (void) tram_server_free(other);
    end(evil);
}

/* ---- plain messages -------------------------------------------------------------------------- */

static void on_plain(tram_worker *worker, const struct tram_msg *msg, void *arg) {
    (void) worker;
    (void) arg;
    if (msg->size == 4)
        w.in_order &= msg->tag == (uint32_t) w.plain;
    w.plain++;
}

/* 600 of a sender do not hold up what it says to an endpoint, and wait for who handles them. */
TEST(plain_messages_wait_for_a_handler) {
    tram_node *evil = begin();
    int64_t start = pair_now();

    for (uint32_t i = 0; i < 600; i++)
        CHECK_OK(tram_send(evil, PAIR_SERVER, i, "1234", 4, TRAM_NOWAIT));
    CHECK_OK(say(evil, FRAME_ONEWAY, pair_port(), of(1, 0), 0, "x", 1));
    TURN_UNTIL(evil, w.messages == 1);
    CHECK(pair_now() - start < PARK_NS); /* not because it was time */
    CHECK_OK(tram_send(evil, PAIR_SERVER, 600, "1234", 4, TRAM_NOWAIT));
    CHECK_OK(tram_worker_on_message(w.worker, on_plain, NULL));
    TURN_UNTIL(evil, w.plain == 601);
    CHECK(w.in_order);
    end(evil);
}

/* More than fit: the oldest go, counted; the channel goes on, and the newest are there. */
TEST(plain_messages_that_nobody_handles_are_bounded) {
    static char block[8000];
    tram_node *evil = begin();
    int sent = 0, dropped;

    while (sent < 8000) { /* 64 MB */
        if (tram_send(evil, PAIR_SERVER, 0, block, sizeof(block), TRAM_NOWAIT) == 0)
            sent++;
        else
            turns(1);
    }
    while (say(evil, FRAME_ONEWAY, pair_port(), of(1, 0), 0, "x", 1) != 0)
        turns(1);
    TURN_UNTIL(evil, w.messages == 1);
    CHECK_EQ(tram_worker_error(w.worker)->code, -ENOBUFS);
    CHECK(strstr(tram_worker_error(w.worker)->text, "tram_worker_on_message"));
    dropped = (int) tram_worker_error(w.worker)->limit;
    CHECK_OK(tram_worker_on_message(w.worker, on_plain, NULL));
    turns(5000000);
    CHECK_EQ(w.plain + dropped, sent);
    CHECK(w.plain * (int) sizeof(block) > 8000000 && w.plain * (int) sizeof(block) < 16000000);
    end(evil);
}

/* A ring full of them is emptied after 5 s. */
TEST(plain_messages_do_not_fill_their_ring_for_ever) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    tram_node *evil = begin(), *small;
    static char block[1000];

    options.ring_size = 65536;
    CHECK_OK(tram_open(NULL, TRAM_ID(1, 1, 5, 8), &options, &small));
    turns(1);
    for (size_t size = sizeof(block); size > 0; size /= 10)
        while (tram_send(small, PAIR_SERVER, 0, block, size, TRAM_NOWAIT) == 0)
            turns(1);
    CHECK_ERR(say(small, FRAME_ONEWAY, pair_port(), of(1, 0), 0, "x", 1), -EAGAIN);
    while (say(small, FRAME_ONEWAY, pair_port(), of(1, 0), 0, "x", 1) != 0)
        turns(1000000);
    TURN_UNTIL(evil, w.messages == 1);
    (void) tram_close(small);
    end(evil);
}

/* ---- behind a deferred request --------------------------------------------------------------- */

static void say_raw(tram_node *evil, const struct frame *frame, const void *data, size_t size) {
    struct tram_meta meta = { 0 };
    struct iovec piece;

    memcpy(&piece.iov_base, &data, sizeof(data));
    piece.iov_len = size;
    memcpy(meta.layer, frame, sizeof(*frame));
    while (tram_sendv(evil, PAIR_SERVER, &meta, &piece, 1, TRAM_NOWAIT, 0) == -EAGAIN)
        turns(100000);
}

/* It stays with its owner; 1,000 others of its node pass, that no session gets. */
static void goes_on_behind(const struct frame *frame, size_t size) {
    static const char block[500];
    struct tram_options options = TRAM_OPTIONS_INIT;
    tram_node *evil = begin(), *small;
    int64_t start = pair_now();

    options.ring_size = 65536;
    CHECK_OK(tram_open(NULL, TRAM_ID(1, 1, 5, 8), &options, &small));
    if (!frame->kind)
        CHECK_OK(tram_worker_on_message(w.worker, on_plain, NULL));
    CHECK_OK(say(small, FRAME_REQUEST, pair_port(), of(1, 1), 1, "kept", 4));
    TURN_UNTIL(small, w.kept_count == 1);
    for (int i = 0; i < 1000; i++)
        say_raw(small, frame, block, size);
    while (say(small, FRAME_ONEWAY, pair_port(), of(1, 0), 0, "x", 1) != 0)
        turns(100000);
    TURN_UNTIL(small, w.messages == 1);
    CHECK(pair_now() - start < PARK_NS); /* not because it was time */
    CHECK_MEM(tram_request_view(w.kept[0])->data, "kept", 4);
    CHECK_OK(tram_reply_send(&w.kept[0], "done", 4));
    TURN_UNTIL(small, heard(FRAME_REPLY, 1) + heard(FRAME_REPLY, 0) == 1);
    (void) tram_close(small);
    end(evil);
}

TEST(deferred_request_does_not_stop_what_is_for_nobody) {
    struct frame frame = { .kind = FRAME_ONEWAY, .port = 77, .correlation = of(1, 0) };

    goes_on_behind(&frame, 4);
}

TEST(deferred_request_does_not_stop_answers_to_nobody) {
    struct frame frame = { .kind = FRAME_REPLY, .port = 77, .correlation = of(77, 1) };

    goes_on_behind(&frame, 500);
}

TEST(deferred_request_does_not_stop_nonsense) {
    struct frame frame = { .kind = 200, .port = pair_port(), .correlation = of(9, 1) };

    goes_on_behind(&frame, 500);
    frame = (struct frame){ .kind = FRAME_REPLY, .port = pair_port(), .correlation = of(9, 1) };
    goes_on_behind(&frame, 500);
}

TEST(deferred_request_does_not_stop_plain_messages) {
    struct frame frame = { 0 };

    goes_on_behind(&frame, 4);
    goes_on_behind(&frame, 500);
}

/* ---- time to live ---------------------------------------------------------------------------- */

static void say_until(tram_node *evil, int64_t deadline) {
    struct frame frame = { .kind = FRAME_ONEWAY, .flags = FRAME_DEADLINE, .extra = 8,
                           .port = pair_port(), .correlation = of(1, 0) };
    struct iovec piece = { &deadline, sizeof(deadline) };
    struct tram_meta meta = { 0 };

    memcpy(meta.layer, &frame, sizeof(frame));
    CHECK_OK(tram_sendv(evil, PAIR_SERVER, &meta, &piece, 1, TRAM_NOWAIT, 0));
}

static void let_pass(int64_t ns) {
    int64_t until = pair_now() + ns;

    while (pair_now() < until)
        ;
}

/* A foreign loop calls when it has the time. */
TEST(time_to_live_is_over_though_the_foreign_loop_was_away) {
    tram_node *evil = begin();

    CHECK_OK(say(evil, FRAME_ONEWAY, pair_port(), of(1, 0), 0, "x", 1));
    while (w.messages == 0)
        CHECK(tram_worker_dispatch(w.worker) >= 0);
    say_until(evil, pair_now() + 1300000000); /* so long that the clock is not read for it */
    let_pass(1400000000);
    turns(5000000);
    CHECK_EQ(w.messages, 1);
    say_until(evil, pair_now() + INT64_C(3600000000000));
    say_until(evil, -1);
    say_until(evil, INT64_MIN);
    turns(5000000);
    CHECK_EQ(w.messages, 2);
    end(evil);
}

TEST(time_to_live_is_over_though_a_handler_took_long) {
    tram_node *evil = begin();

    w.slow = true; /* 60 ms */
    CHECK_OK(say(evil, FRAME_ONEWAY, pair_port(), of(1, 0), 0, "x", 1));
    say_until(evil, pair_now() + 30000000);
    while (w.messages == 0)
        CHECK(tram_worker_dispatch(w.worker) >= 0);
    turns(5000000);
    CHECK_EQ(w.messages, 1);
    end(evil);
}
