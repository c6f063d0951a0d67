/* SPDX-License-Identifier: MIT
 *
 * Nodes that say to services what no client or server of ours would: frames written by hand. Who
 * behaves is served meanwhile, and memory stays bounded.
 */
// test: timeout=120
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "harness.h"
#include "support/pair.h"
#include "tram/service.h"
#include "wire/frame.h"
#include "worker/internal.h"

#define EVIL TRAM_ID(1, 1, 5, 9)

static struct world {
    tram_worker *worker;
    tram_server *server;
    tram_request *kept[600];
    int kept_count, cancelled, messages, sessions;
    int online, offline, ends, last;
    uint32_t port; /* of the client that asked the evil node */
    uint64_t asked[8];
    int asked_count, given_up;
    tram_node **reborn; /* who asks ends in the handler, and comes again */
} w;

static void turns(int64_t ns) {
    int64_t until = pair_now() + ns;

    do
        CHECK(tram_worker_dispatch(w.worker) >= 0);
    while (pair_now() < until);
}

static int say(tram_node *evil, tram_id to, enum frame_kind kind, uint32_t port,
               uint64_t correlation, uint32_t code, const void *data, size_t size) {
    struct frame frame = {.kind = (uint8_t) kind, .port = port, .correlation = correlation};
    struct tram_meta meta = {.tag = code};
    struct iovec piece;

    memcpy(&piece.iov_base, &data, sizeof(data));
    piece.iov_len = size;
    memcpy(meta.layer, &frame, sizeof(frame));
    return tram_sendv(evil, to, &meta, &piece, size > 0, TRAM_NOWAIT, 0);
}

static uint64_t of(uint32_t port, uint32_t number) {
    return (uint64_t) port << 32 | number;
}

/* ---- the server that it attacks -------------------------------------------------------------- */

static void end_and_come_again(tram_node **evil) {
    CHECK_OK(tram_close(*evil));
    CHECK_OK(tram_open(NULL, EVIL, NULL, evil));
}

static void keep_it(tram_server *server, tram_request **request, void *arg) {
    (void) server;
    (void) arg;
    if (w.reborn)
        end_and_come_again(w.reborn);
    w.reborn = NULL;
    CHECK(w.kept_count < 600);
    w.kept[w.kept_count++] = *request;
    *request = NULL;
}

static void count_message(tram_server *server, tram_session *session, const struct tram_view *view,
                          void *arg) {
    (void) server;
    (void) session;
    (void) view;
    (void) arg;
    w.messages++;
}

static void count_cancel(tram_server *server, tram_request *request, void *arg) {
    (void) server;
    (void) request;
    (void) arg;
    w.cancelled++;
}

static void count_session(tram_server *server, tram_session *session, bool online, void *arg) {
    (void) server;
    (void) session;
    (void) arg;
    w.sessions += online ? 1 : -1;
}

static const struct tram_server_handlers serving = {.on_request = keep_it,
                                                    .on_message = count_message,
                                                    .on_session = count_session,
                                                    .on_cancel = count_cancel};

static tram_node *begin_server(void) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_node *evil;

    memset(&w, 0, sizeof(w));
    w.worker = pair_worker(PAIR_SERVER);
    options.handlers = &serving;
    options.flags = TRAM_SERVER_NO_DAEMON;
    options.sessions_max = 100;
    CHECK_OK(tram_server_new(w.worker, "svc://pair", &options, &w.server));
    CHECK_OK(tram_open(NULL, EVIL, NULL, &evil));
    return evil;
}

static void hello(tram_node *evil, uint32_t to, uint32_t port, enum frame_kind kind, int pid) {
    struct hello hello = {.magic = "TRAM", .version = FRAME_VERSION, .pid = pid};

    CHECK_OK(say(evil, kind == FRAME_HELLO ? PAIR_SERVER : PAIR_CLIENT, kind, to, of(port, 0), 0,
                 &hello, sizeof(hello)));
}

/* A server that has just begun finds a request of one client, and then another client of the same
 * process says who it is: nothing of the first one is over. */
TEST(hello_ends_nothing_of_who_has_not_said_it) {
    tram_node *evil = begin_server();
    uint32_t port = frame_port("pair", 4);

    CHECK_OK(say(evil, PAIR_SERVER, FRAME_REQUEST, port, of(71, 1), 1, "x", 1));
    hello(evil, port, 72, FRAME_HELLO, getpid());
    while (w.sessions < 2)
        turns(1000000);
    CHECK_EQ(w.kept_count, 1);
    CHECK_EQ(w.cancelled, 0);
    CHECK(!tram_request_over(w.kept[0]));
    /* What process it is of, the node's coming tells. */
    while (tram_session_party(tram_request_session(w.kept[0]))->pid == 0)
        turns(1000000);
    hello(evil, port, 73, FRAME_HELLO, getpid() + 1); /* but an earlier process is over */
    while (w.sessions != 1)
        turns(1000000);
    CHECK_OK(tram_close(evil));
    (void) tram_worker_free(w.worker);
}

/* A client ends, and the next process of its node has begun before anybody was told that there was
 * one: what it asked is over all the same. */
TEST(who_ends_before_he_was_seen_has_ended) {
    tram_node *evil = begin_server();

    w.reborn = &evil;
    CHECK_OK(say(evil, PAIR_SERVER, FRAME_REQUEST, frame_port("pair", 4), of(71, 1), 1, "x", 1));
    while (w.cancelled < 1)
        turns(1000000);
    CHECK_EQ(w.kept_count, 1);
    CHECK_EQ(w.sessions, 0);
    CHECK_OK(tram_close(evil));
    (void) tram_worker_free(w.worker);
}

/* The next process asks before the end of the one before is told: that ends nothing of its. */
TEST(the_end_of_a_process_is_not_that_of_the_next) {
    tram_node *evil = begin_server();
    uint32_t port = frame_port("pair", 4);

    CHECK_OK(say(evil, PAIR_SERVER, FRAME_REQUEST, port, of(71, 1), 1, "x", 1));
    while (w.kept_count < 1 || tram_session_party(tram_request_session(w.kept[0]))->pid == 0)
        turns(1000000);
    end_and_come_again(&evil);
    CHECK_OK(say(evil, PAIR_SERVER, FRAME_REQUEST, port, of(72, 1), 1, "x", 1));
    while (w.kept_count < 2 || w.cancelled < 1)
        turns(1000000);
    turns(20000000);
    CHECK_EQ(w.cancelled, 1);
    CHECK_EQ(w.sessions, 1);
    CHECK(tram_request_over(w.kept[0]) && !tram_request_over(w.kept[1]));
    CHECK_OK(tram_close(evil));
    while (w.sessions > 0)
        turns(1000000);
    CHECK_EQ(w.cancelled, 2);
    (void) tram_worker_free(w.worker);
}

/* Ports without end: sessions are bounded, the rest is refused. */
TEST(ports_without_end_are_bounded) {
    tram_node *evil = begin_server();
    uint32_t port = frame_port("pair", 4);
    struct tram_msg msg;
    int refused = 0;

    for (uint32_t i = 1; i <= 1000; i++)
        hello(evil, port, i, FRAME_HELLO, getpid());
    while (refused < 900) { /* the test's time ends it */
        turns(1000000);
        while (tram_recv(evil, &msg, 0) == 0)
            refused += msg.layer[0] == FRAME_BYE;
    }
    turns(5000000);
    CHECK_EQ(refused, 900);
    CHECK_EQ(w.sessions, 100);
    CHECK_OK(tram_close(evil));
    while (w.sessions > 0)
        turns(1000000);
    (void) tram_worker_free(w.worker);
}

/* Credit for what nobody asked, cancels of the requests of others, the same number twice. */
TEST(others_are_not_touched_by_their_numbers) {
    tram_node *evil = begin_server(), *good;
    uint32_t port = frame_port("pair", 4);

    CHECK_OK(tram_open(NULL, PAIR_CLIENT, NULL, &good));
    CHECK_OK(say(good, PAIR_SERVER, FRAME_REQUEST, port, of(7, 1), 1, "good", 4));
    turns(5000000);
    CHECK_OK(say(evil, PAIR_SERVER, FRAME_REQUEST, port, of(7, 1), 1, "evil", 4));
    CHECK_OK(say(evil, PAIR_SERVER, FRAME_REQUEST, port, of(7, 1), 1, "twin", 4));
    CHECK_OK(say(evil, PAIR_SERVER, FRAME_CANCEL, port, of(7, 1), 0, NULL, 0));
    CHECK_OK(say(evil, PAIR_SERVER, FRAME_BYE, port, of(7, 0), 0, NULL, 0));
    for (int i = 0; i < 100; i++)
        CHECK_OK(say(evil, PAIR_SERVER, FRAME_CREDIT, port, of(7, 1), UINT32_MAX, NULL, 0));
    while (w.cancelled < 2 || w.sessions > 1)
        turns(1000000);
    CHECK_EQ(w.kept_count, 3);
    CHECK_EQ(w.cancelled, 2);
    CHECK(!tram_request_over(w.kept[0]) && tram_request_over(w.kept[1]) &&
          tram_request_over(w.kept[2]));
    CHECK_EQ(w.sessions, 1);
    for (int i = 0; i < 3; i++)
        CHECK_OK(tram_reply_send(&w.kept[i], "y", 1));
    (void) tram_close(good);
    (void) tram_close(evil);
    (void) tram_worker_free(w.worker);
}

/* ---- floods ---------------------------------------------------------------------------------- */

static uint64_t copied(const tram_worker *worker) {
    const struct held *lists[] = {worker->parked.first, worker->later.first};
    uint64_t bytes = 0;

    for (int i = 0; i < 2; i++) {
        uint32_t left = i == 0 ? worker->parked.count : worker->later.count;

        for (const struct held *held = lists[i]; left-- > 0; held = held->next)
            bytes += held->message.copy ? held->message.msg.size + sizeof(*held) : 0;
    }
    return bytes;
}

/* 64 MiB for a port that is not there: most of it is refused before it is time. */
TEST(flood_for_nobody_is_bounded) {
    tram_node *evil = begin_server();
    static char block[4000];
    int sent = 0;

    while (sent < 16000) {
        while (sent < 16000 && say(evil, PAIR_SERVER, FRAME_ONEWAY, 4711, of(7, 0), 0, block,
                                   sizeof(block)) == 0)
            sent++;
        CHECK(tram_worker_dispatch(w.worker) >= 0);
        CHECK(copied(w.worker) <= COPIES_MAX);
    }
    CHECK_OK(say(evil, PAIR_SERVER, FRAME_ONEWAY, frame_port("pair", 4), of(7, 0), 0, "x", 1));
    for (int64_t until = pair_now() + pair_patience(); w.messages == 0 && pair_now() < until;)
        turns(1000000);
    CHECK_EQ(w.messages, 1);
    (void) tram_close(evil);
    (void) tram_worker_free(w.worker);
}

static int *flooded; /* shared: how many were sent */

static void flood(void *arg) {
    static char block[4000];
    tram_node *evil;

    (void) arg;
    CHECK_OK(tram_open(NULL, EVIL, NULL, &evil));
    for (int i = 0; i < 16000; i++) {
        int rc;

        while ((rc = say(evil, PAIR_SERVER, FRAME_ONEWAY, frame_port("pair", 4), of(7, 0), 0, block,
                         sizeof(block))) == -EAGAIN)
            if (pair_now() % 64 == 0)
                (void) tram_wait(evil, 100000);
        CHECK_OK(rc);
        (void) __atomic_add_fetch(flooded, 1, __ATOMIC_RELAXED);
    }
    (void) tram_close(evil);
}

/* 64 MiB for a server that waits for its client: what is too much waits in its ring, and nothing of
 * it is lost. */
TEST(flood_in_a_blocking_call_is_bounded) {
    struct tram_how how = TRAM_HOW_INIT;
    tram_node *evil = begin_server();
    tram_session *session;
    tram_reply *reply;
    pid_t child;

    CHECK_OK(tram_close(evil));
    flooded = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(flooded != MAP_FAILED);
    child = test_fork(flood, NULL);
    while (w.messages == 0)
        turns(100000);
    session = tram_server_next(w.server, NULL);
    CHECK(session);
    how.timeout_ns = 300000000;
    CHECK_ERR(tram_session_call(session, 1, "x", 1, &how, &reply), -ETIMEDOUT);
    CHECK(__atomic_load_n(flooded, __ATOMIC_RELAXED) < 9000); /* 16 MiB here, and its ring */
    while (w.messages < 16000)
        turns(1000000);
    JOIN(child);
    (void) munmap(flooded, 4096);
    (void) tram_worker_free(w.worker);
}

/* ---- the client that it attacks -------------------------------------------------------------- */

static void on_state(tram_client *client, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    (void) client;
    (void) who;
    (void) arg;
    w.online += state == TRAM_STATE_ONLINE;
    w.offline += state == TRAM_STATE_OFFLINE;
}

static void slow_message(tram_client *client, const struct tram_view *view, void *arg) {
    int64_t until = pair_now() + 200000;

    (void) client;
    (void) view;
    (void) arg;
    while (pair_now() < until)
        ;
    w.messages++;
}

static void ended(const struct tram_result *result, void *arg) {
    (void) arg;
    if (result->view.flags & TRAM_VIEW_MORE) {
        w.messages++;
        return;
    }
    w.ends++;
    w.last = result->status;
}

static const struct tram_client_handlers asking = {.on_state = on_state,
                                                   .on_message = slow_message};

/* What the client said: its port and the numbers of its requests. */
static void listen_to(tram_node *evil) {
    struct tram_msg msg;

    while (tram_recv(evil, &msg, 0) == 0) {
        struct frame frame;

        memcpy(&frame, msg.layer, sizeof(frame));
        w.port = (uint32_t) (frame.correlation >> 32);
        w.given_up += frame.kind == FRAME_CANCEL && frame.correlation == w.asked[0];
        if (frame.kind == FRAME_REQUEST && w.asked_count < 8)
            w.asked[w.asked_count++] = frame.correlation;
    }
}

static tram_node *begin_client(tram_client **ret_client) {
    tram_node *evil;

    memset(&w, 0, sizeof(w));
    CHECK_OK(tram_open(NULL, EVIL, NULL, &evil));
    w.worker = pair_worker(PAIR_CLIENT);
    *ret_client = pair_client(w.worker, "shm://1.1.5.9/pair", 0, &asking, NULL);
    while (!w.port) {
        turns(1000000);
        listen_to(evil);
    }
    hello(evil, w.port, frame_port("pair", 4), FRAME_WELCOME, getpid());
    while (w.online == 0)
        turns(1000000);
    return evil;
}

/* The server is dead before its last WELCOME is read: nobody is there. */
TEST(welcome_of_a_dead_server_is_none) {
    tram_client *client;
    tram_node *evil = begin_client(&client);

    for (int i = 0; i < 100; i++)
        CHECK_OK(say(evil, PAIR_CLIENT, FRAME_ONEWAY, w.port, of(frame_port("pair", 4), 0), 0, "x",
                     1));
    hello(evil, w.port, frame_port("pair", 4), FRAME_WELCOME, getpid());
    CHECK_OK(tram_close(evil));
    while (w.messages < 100 || w.offline == 0)
        turns(1000000);
    turns(5000000);
    CHECK_EQ(w.online, w.offline);
    CHECK_ERR(tram_client_ask(client, 1, "x", 1, NULL, ended, NULL, NULL), -ENOTCONN);
    (void) tram_worker_free(w.worker);
}

/* Parts without end, answers of others, answers twice, answers to nothing. */
TEST(answers_are_taken_of_who_was_asked_and_once) {
    tram_client *client;
    tram_node *evil = begin_client(&client), *other;

    CHECK_OK(tram_open(NULL, TRAM_ID(1, 1, 5, 8), NULL, &other));
    for (int i = 0; i < 3; i++)
        CHECK_OK(tram_client_ask(client, 1, "x", 1, NULL, ended, NULL, NULL));
    while (w.asked_count < 3) {
        turns(1000000);
        listen_to(evil);
    }
    for (int i = 0; i < 3; i++) {
        CHECK_OK(say(other, PAIR_CLIENT, FRAME_REPLY, w.port, w.asked[i], 0, "evil", 4));
        CHECK_OK(say(other, PAIR_CLIENT, FRAME_PART, w.port, w.asked[i], 0, "evil", 4));
        CHECK_OK(say(other, PAIR_CLIENT, FRAME_ERROR, w.port, w.asked[i], 0, "evil", 4));
    }
    CHECK_OK(say(other, PAIR_CLIENT, FRAME_SYNCED, w.port, of(frame_port("pair", 4), 1), 0, NULL,
                 0));
    CHECK_OK(say(other, PAIR_CLIENT, FRAME_BYE, w.port, of(frame_port("pair", 4), 0), 0, NULL, 0));
    turns(5000000);
    CHECK_EQ(w.ends, 0);
    CHECK_EQ(w.messages, 0);
    for (int i = 0; i < 5000; i++)
        while (say(evil, PAIR_CLIENT, FRAME_PART, w.port, w.asked[0], 0, "part", 4) == -EAGAIN)
            turns(100000);
    while (w.messages < 5000)
        turns(1000000);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(say(evil, PAIR_CLIENT, FRAME_ERROR, w.port, w.asked[1], 7, "no", 2));
        CHECK_OK(say(evil, PAIR_CLIENT, FRAME_REPLY, w.port, w.asked[1], 0, "yes", 3));
        CHECK_OK(say(evil, PAIR_CLIENT, FRAME_REPLY, w.port, w.asked[1] + 1000, 0, "yes", 3));
    }
    while (w.ends == 0)
        turns(1000000);
    turns(5000000);
    CHECK_EQ(w.ends, 1);
    CHECK_EQ(w.last, -EREMOTEIO);
    (void) tram_close(other);
    CHECK_OK(tram_close(evil)); /* the others end as unknown */
    while (w.ends < 3)
        turns(1000000);
    CHECK_EQ(w.last, -ECONNRESET);
    (void) tram_worker_free(w.worker);
}

/* A request that ended as unknown with its server lies in the ring, and the next server answers it
 * in parts: it hears that nobody waits for them. */
TEST(parts_that_nobody_waits_for_are_given_up) {
    tram_client *client;
    tram_node *evil = begin_client(&client);

    CHECK_OK(tram_client_ask(client, 1, "x", 1, NULL, ended, NULL, NULL));
    while (w.asked_count < 1) {
        turns(1000000);
        listen_to(evil);
    }
    end_and_come_again(&evil);
    while (w.ends < 1)
        turns(1000000);
    CHECK_EQ(w.last, -ECONNRESET);
    CHECK_OK(say(evil, PAIR_CLIENT, FRAME_PART, w.port, w.asked[0], 0, "part", 4));
    while (w.given_up < 1) {
        turns(1000000);
        listen_to(evil);
    }
    CHECK_EQ(w.messages, 0);
    CHECK_OK(tram_close(evil));
    (void) tram_worker_free(w.worker);
}
