/* SPDX-License-Identifier: MIT
 *
 * What the service layer promises, the same over each transport. A row of the table is a transport;
 * each test runs over all of them.
 */
// test: timeout=120
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "support/pair.h"
#include "support/twin.h"
#include "tram/service.h"
#ifdef TRAM_TLS
#include "support/keys.h"
#endif

/* Where a client finds the server; over sockets that serves there, too. */
struct way {
    const char *address;
    const char *addresses[2];
    bool far;        /* the server is on another host */
    uint32_t flags;  /* of the client */
};

static struct way transports[] = {
    { "shm://1.1.5.1/pair", { NULL }, false, 0 },
    { "svc://pair", { NULL }, true, 0 },                               /* mirrored */
    { "svc://pair", { NULL }, true, TRAM_CLIENT_DIRECT | TRAM_CLIENT_PLAIN }, /* direct */
    { NULL, { NULL }, false, 0 }, /* ipc, tcp and tls: pair_address() */
    { NULL, { NULL }, false, 0 },
#ifdef TRAM_TLS
    { NULL, { NULL }, false, 0 },
#endif
};

struct at {
    tram_worker *worker;
    tram_client *client;
    const struct way *transport;
    pid_t server;
    struct twin twin;
    int online, offline, messages, requests;
    char text[64];
    uint8_t trace[16];  /* of what came last */
};

static void on_state(tram_client *client, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    struct at *at = arg;

    (void) client;
    CHECK(who && who->name);
    at->online += state == TRAM_STATE_ONLINE;
    at->offline += state == TRAM_STATE_OFFLINE;
}

static void on_message(tram_client *client, const struct tram_view *view, void *arg) {
    struct at *at = arg;

    (void) client;
    at->messages++;
    CHECK(view->size < sizeof(at->text));
    memcpy(at->text, view->data, view->size);
    at->text[view->size] = 0;
    memcpy(at->trace, view->trace, 16);
    CHECK_MEM(tram_trace(), view->trace, 16);
}

static void on_request(tram_client *client, tram_request **request, void *arg) {
    const struct tram_view *view = tram_request_view(*request);
    struct at *at = arg;

    (void) client;
    at->requests++;
    memcpy(at->trace, view->trace, 16);
    CHECK_MEM(tram_trace(), view->trace, 16);
    CHECK_OK(tram_reply_send(request, view->data, view->size));
    CHECK(!*request);
}

static const struct tram_client_handlers handlers = {
    .on_state = on_state, .on_message = on_message, .on_request = on_request};

static void complete(void) {
    static const char *const schemes[] = { "shm", "far", "far", "ipc", "tcp", "tls" };

    transports[2].addresses[0] = pair_address("tcp");
    for (size_t i = 3; i < sizeof(transports) / sizeof(transports[0]); i++)
        transports[i].address = transports[i].addresses[0] = pair_address(schemes[i]);
#ifdef TRAM_TLS
    char *keys = keys_bundle(&(struct keys_order){ .cluster = "test", .name = "pair" });

    CHECK_OK(setenv("TRAM_KEYS", keys, 1));
    free(keys);
#endif
}

static void serve(struct at *at) {
    struct pair_options options = {.addresses = at->transport->addresses};

    options.daemon = at->transport->far;
    if (at->transport->far)
        twin_be(&at->twin, 1);
    at->server = pair_start(&options);
    if (at->transport->far)
        twin_be(&at->twin, 0);
}

static void begin(struct at *at, const struct way *transport) {
    *at = (struct at){.transport = transport};
    if (transport->far)
        twin_start(&at->twin);
    serve(at);
    at->worker = pair_worker(0);
    at->client = pair_client(at->worker, transport->address, transport->flags, &handlers, at);
    if (transport->far) /* until the hosts know of each other, nobody serves the name */
        CHECK_OK(tram_client_wait(at->client, pair_patience()));
}

static void end(struct at *at) {
    CHECK(!tram_client_free(at->client));
    CHECK(!tram_worker_free(at->worker));
    test_kill(at->server);
    if (at->transport->far) {
        twin_kill(&at->twin, 0);
        twin_kill(&at->twin, 1);
        CHECK_OK(setenv("TRAM_DIR", test_dir(), 1));
    }
}

#define EACH(name)                                                                                 \
    static void each_##name(struct at *at);                                                        \
    TEST(name) {                                                                                   \
        complete();                                                                                \
        for (size_t i = 0; i < sizeof(transports) / sizeof(transports[0]); i++) {                  \
            struct at at;                                                                          \
                                                                                                   \
            begin(&at, &transports[i]);                                                            \
            each_##name(&at);                                                                      \
            end(&at);                                                                              \
        }                                                                                          \
    }                                                                                              \
    static void each_##name(struct at *at)

/* ---- asking ---------------------------------------------------------------------------------- */

struct end {
    int count, parts, status, code;
    uint32_t last;
    size_t size;
    char text[64];
    uint8_t trace[16];
};

static void ended(const struct tram_result *result, void *arg) {
    struct end *e = arg;

    if (result->view.flags & TRAM_VIEW_MORE) {
        uint32_t number;

        CHECK_EQ(result->status, 0);
        CHECK_EQ(result->view.size, sizeof(number));
        memcpy(&number, result->view.data, sizeof(number));
        CHECK_EQ(number, (uint32_t) e->parts);
        e->parts++;
        return;
    }
    e->count++;
    e->status = result->status;
    e->code = result->code;
    e->size = result->view.size;
    (void) strncpy(e->text, result->text, sizeof(e->text) - 1);
    if (result->status == 0 && result->view.size == sizeof(e->trace))
        memcpy(e->trace, result->view.data, sizeof(e->trace));
    if (result->status == 0 && result->view.size == sizeof(e->last))
        memcpy(&e->last, result->view.data, sizeof(e->last));
}

static void count(struct at *at, struct pair_counts *counts) {
    tram_reply *reply;

    CHECK_OK(tram_client_call(at->client, PAIR_COUNT, NULL, 0, NULL, &reply));
    CHECK_EQ(tram_reply_view(reply)->size, sizeof(*counts));
    memcpy(counts, tram_reply_view(reply)->data, sizeof(*counts));
    CHECK(!tram_reply_free(reply));
}

EACH(blocking_call_is_answered) {
    tram_reply *reply;

    for (int i = 0; i < 100; i++) {
        CHECK_OK(tram_client_call(at->client, PAIR_ECHO, "hello", 5, NULL, &reply));
        CHECK_EQ(tram_reply_view(reply)->size, 5);
        CHECK_MEM(tram_reply_view(reply)->data, "hello", 5);
        CHECK(!tram_reply_free(reply));
    }
}

EACH(sizes_from_none_to_a_mebibyte) {
    char *block = malloc(1 << 20);
    tram_reply *reply;

    for (size_t i = 0; i < 1 << 20; i++)
        block[i] = (char) (i * 7 + (i >> 8));
    for (size_t size = 0; size <= 1 << 20; size = size * 4 + 1) {
        CHECK_OK(tram_client_call(at->client, PAIR_ECHO, block, size, NULL, &reply));
        CHECK_EQ(tram_reply_view(reply)->size, size);
        CHECK_MEM(tram_reply_view(reply)->data, block, size);
        (void) tram_reply_free(reply);
    }
    free(block);
}

EACH(thousand_asynchronous_requests_each_end_once) {
    static struct end ends[1000];

    memset(ends, 0, sizeof(ends));
    for (int i = 0; i < 1000; i++)
        CHECK_OK(
            tram_client_ask(at->client, PAIR_ECHO, &i, sizeof(i), NULL, ended, &ends[i], NULL));
    UNTIL(at->worker, ends[999].count > 0);
    for (int i = 0; i < 1000; i++) {
        CHECK_EQ(ends[i].count, 1);
        CHECK_EQ(ends[i].status, 0);
        CHECK_EQ(ends[i].last, (uint32_t) i);
    }
}

EACH(error_has_code_and_text) {
    struct end e = {0};
    tram_reply *reply;

    CHECK_OK(tram_client_ask(at->client, PAIR_ERROR, NULL, 0, NULL, ended, &e, NULL));
    UNTIL(at->worker, e.count);
    CHECK_ERR(e.status, -EREMOTEIO);
    CHECK_EQ(e.code, 42);
    CHECK_STR(e.text, "no such luck");
    CHECK_ERR(tram_client_call(at->client, PAIR_ERROR, NULL, 0, NULL, &reply), -EREMOTEIO);
    CHECK_STR(tram_worker_error(at->worker)->text, "no such luck");
    CHECK_EQ(tram_worker_error(at->worker)->limit, 42);
}

EACH(what_the_handler_left_is_not_implemented) {
    tram_reply *reply;

    CHECK_ERR(tram_client_call(at->client, PAIR_LEAVE, NULL, 0, NULL, &reply), -ENOSYS);
}

EACH(deferred_requests_are_answered_in_any_order) {
    static struct end ends[700];
    tram_reply *reply;

    memset(ends, 0, sizeof(ends));
    for (int i = 0; i < 700; i++) /* more than the core lets be in hand */
        CHECK_OK(tram_client_ask(at->client, PAIR_DEFER, &i, sizeof(i), NULL, ended, &ends[i],
                                 NULL));
    CHECK_OK(tram_client_call(at->client, PAIR_FLUSH, NULL, 0, NULL, &reply));
    (void) tram_reply_free(reply);
    UNTIL(at->worker, ends[0].count);
    for (int i = 0; i < 700; i++) {
        CHECK_EQ(ends[i].count, 1);
        CHECK_EQ(ends[i].status, 0);
        CHECK_EQ(ends[i].last, (uint32_t) i);
    }
}

EACH(time_out_ends_it_and_the_server_is_told) {
    struct tram_how how = TRAM_HOW_INIT;
    struct pair_counts counts;
    struct end e = {0};
    tram_reply *reply;

    CHECK_OK(tram_client_wait(at->client, pair_patience())); /* or it might never leave us */
    how.timeout_ns = (int64_t) test_seconds(1) * 200000000;
    CHECK_OK(tram_client_ask(at->client, PAIR_DEFER, "x", 1, &how, ended, &e, NULL));
    UNTIL(at->worker, e.count);
    CHECK_ERR(e.status, -ETIMEDOUT);
    CHECK_ERR(tram_client_call(at->client, PAIR_DEFER, "x", 1, &how, &reply), -ETIMEDOUT);
    do
        count(at, &counts);
    while (counts.cancelled < 2);
    CHECK_EQ(e.count, 1);
}

EACH(time_out_counts_from_the_call) {
    struct tram_how how = TRAM_HOW_INIT;
    int64_t until;
    tram_reply *reply;

    CHECK_OK(tram_client_wait(at->client, pair_patience()));
    until = pair_now() + 400000000;
    while (pair_now() < until) /* in vain, without a turn of the worker */
        ;
    how.timeout_ns = 300000000;
    CHECK_OK(tram_client_call(at->client, PAIR_ECHO, "x", 1, &how, &reply));
    (void) tram_reply_free(reply);
}

EACH(cancelled_call_is_silent) {
    struct pair_counts counts;
    struct end e = {0};
    tram_call *call;

    CHECK_OK(tram_client_wait(at->client, pair_patience()));
    CHECK_OK(tram_client_ask(at->client, PAIR_DEFER, "x", 1, NULL, ended, &e, &call));
    CHECK(!tram_call_free(call));
    do
        count(at, &counts);
    while (counts.cancelled < 1);
    CHECK_EQ(e.count, 0);
}

EACH(streamed_reply_comes_in_parts) {
    struct tram_how how = TRAM_HOW_INIT;
    uint32_t parts = 10000;
    struct end e = {0};

    CHECK_OK(
        tram_client_ask(at->client, PAIR_STREAM, &parts, sizeof(parts), NULL, ended, &e, NULL));
    UNTIL(at->worker, e.count);
    CHECK_EQ(e.parts, 10000);
    CHECK_EQ(e.last, 10000);
    how.window = 1;
    parts = 100;
    e = (struct end){0};
    CHECK_OK(
        tram_client_ask(at->client, PAIR_STREAM, &parts, sizeof(parts), &how, ended, &e, NULL));
    UNTIL(at->worker, e.count);
    CHECK_EQ(e.parts, 100);
}

EACH(streamed_reply_to_a_blocking_call_is_refused) {
    uint32_t parts = 100;
    tram_reply *reply;

    CHECK_ERR(tram_client_call(at->client, PAIR_STREAM, &parts, sizeof(parts), NULL, &reply),
              -EOPNOTSUPP);
    CHECK_OK(tram_client_call(at->client, PAIR_ECHO, "x", 1, NULL, &reply));
    (void) tram_reply_free(reply);
}

/* ---- the other patterns ---------------------------------------------------------------------- */

EACH(one_way_messages_arrive) {
    struct pair_counts counts;

    for (int i = 0; i < 1000; i++)
        CHECK_OK(tram_client_send(at->client, 1, "four", 4, NULL));
    do
        count(at, &counts);
    while (counts.messages < 1000);
    CHECK_EQ(counts.messages, 1000);
    CHECK_EQ(counts.bytes, 4000);
}

EACH(server_asks_its_client) {
    struct end e = {0};

    CHECK_OK(tram_client_ask(at->client, PAIR_ASK_BACK, "sixteen bytes, so", 16, NULL, ended, &e,
                             NULL));
    UNTIL(at->worker, e.count);
    CHECK_EQ(e.status, 0);
    CHECK_EQ(at->requests, 1);
    CHECK_MEM(e.trace, "sixteen bytes, s", 16);
}

EACH(server_tells_its_client) {
    tram_reply *reply;

    CHECK_OK(tram_client_call(at->client, PAIR_TELL, "news", 4, NULL, &reply));
    (void) tram_reply_free(reply);
    CHECK_EQ(at->messages, 0); /* no handler inside a call */
    UNTIL(at->worker, at->messages);
    CHECK_STR(at->text, "news");
}

EACH(trace_follows_the_request) {
    uint8_t trace[16] = "a trace, sixtee";
    struct tram_how how = TRAM_HOW_INIT;
    struct end e = {0};

    how.trace = trace;
    CHECK_OK(tram_client_ask(at->client, PAIR_TRACE, NULL, 0, &how, ended, &e, NULL));
    UNTIL(at->worker, e.count);
    CHECK_MEM(e.trace, trace, 16);
    e = (struct end){0};
    CHECK_OK(tram_client_ask(at->client, PAIR_TRACE, NULL, 0, NULL, ended, &e, NULL));
    UNTIL(at->worker, e.count);
    CHECK_MEM(e.trace, (uint8_t[16]){0}, 16);
}

EACH(trace_goes_on_in_what_the_handler_sends) {
    const uint8_t none[16] = {0}, trace[16] = "another trace, s";
    struct tram_how how = TRAM_HOW_INIT;
    struct end e = {0};

    how.trace = trace;
    CHECK_OK(tram_client_ask(at->client, PAIR_ASK_BACK, "x", 1, &how, ended, &e, NULL));
    UNTIL(at->worker, e.count);
    CHECK_EQ(at->requests, 1);
    CHECK_MEM(at->trace, trace, 16);
    memcpy(at->trace, none, 16);
    CHECK_OK(tram_client_ask(at->client, PAIR_TELL, "x", 1, &how, ended, &e, NULL));
    UNTIL(at->worker, e.count == 2 && at->messages);
    CHECK_MEM(at->trace, trace, 16);
    tram_trace_set(trace); /* without a handler */
    CHECK_OK(tram_client_ask(at->client, PAIR_TRACE, NULL, 0, NULL, ended, &e, NULL));
    tram_trace_set(NULL);
    CHECK(memcmp(tram_trace(), trace, 16) != 0 && memcmp(tram_trace(), none, 16) != 0);
    tram_trace_set(none);
    UNTIL(at->worker, e.count == 3);
    CHECK_MEM(e.trace, trace, 16);
}

EACH(drafts_are_written_in_place) {
    struct end e = {0};
    tram_draft *draft;
    void *data;

    CHECK_OK(tram_client_wait(at->client, pair_patience()));
    CHECK_OK(tram_client_draft(at->client, 100, NULL, &draft, &data));
    memcpy(data, "sixteen bytes, so", 16);
    CHECK_OK(tram_draft_ask(&draft, PAIR_DRAFT, 16, ended, &e, NULL));
    CHECK(!draft);
    UNTIL(at->worker, e.count);
    CHECK_EQ(e.status, 0);
    CHECK_MEM(e.trace, "sixteen bytes, s", 16);
    CHECK_OK(tram_client_draft(at->client, 100, NULL, &draft, &data));
    CHECK(!tram_draft_free(draft));
    CHECK_OK(tram_client_draft(at->client, 8, NULL, &draft, &data));
    CHECK_OK(tram_draft_send(&draft, 1, 8));
}

/* ---- states ---------------------------------------------------------------------------------- */

EACH(online_is_told_and_offline) {
    UNTIL(at->worker, at->online);
    test_kill(at->server);
    UNTIL(at->worker, at->offline);
    CHECK_EQ(at->online, 1);
    CHECK_ERR(tram_client_ask(at->client, PAIR_ECHO, NULL, 0, NULL, ended, NULL, NULL), -ENOTCONN);
    serve(at);
    UNTIL(at->worker, at->online == 2);
}

EACH(closed_session_fails_its_requests) {
    struct end e = {0};

    CHECK_OK(tram_client_ask(at->client, PAIR_CLOSE, "x", 1, NULL, ended, &e, NULL));
    UNTIL(at->worker, e.count);
    CHECK_ERR(e.status, -ECONNRESET);
}

EACH(clients_come_and_go) {
    struct pair_counts counts;

    UNTIL(at->worker, at->online);
    for (int i = 0; i < 50; i++) {
        tram_worker *worker = pair_worker(0);
        tram_client *client =
            pair_client(worker, at->transport->address, at->transport->flags, NULL, NULL);
        tram_reply *reply;

        CHECK_OK(tram_client_call(client, PAIR_ECHO, "x", 1, NULL, &reply));
        (void) tram_reply_free(reply);
        (void) tram_worker_free(worker);
    }
    do
        count(at, &counts);
    while (counts.online > 1);
    CHECK_EQ(counts.sessions, 51);
}

EACH(calls_are_bounded) {
    static struct end ends[1025];
    tram_reply *reply;
    int n = 0, rc;

    memset(ends, 0, sizeof(ends));
    while ((rc = tram_client_ask(at->client, PAIR_DEFER, "x", 1, NULL, ended, &ends[n], NULL)) == 0)
        n++;
    CHECK_ERR(rc, -EAGAIN);
    CHECK_EQ(n, 1024);
    CHECK_ERR(tram_client_call(at->client, PAIR_ECHO, "x", 1, NULL, &reply), -EAGAIN);
}

EACH(arguments_are_checked) {
    struct tram_how how = TRAM_HOW_INIT;
    tram_reply *reply;

    CHECK_ERR(tram_client_ask(NULL, 0, NULL, 0, NULL, ended, NULL, NULL), -EINVAL);
    CHECK_ERR(tram_client_ask(at->client, 0, NULL, 1, NULL, ended, NULL, NULL), -EINVAL);
    how.flags = 0x8000;
    CHECK_ERR(tram_client_ask(at->client, 0, NULL, 0, &how, ended, NULL, NULL), -EINVAL);
    CHECK_ERR(tram_client_call(at->client, 0, NULL, 0, &how, &reply), -EINVAL);
    CHECK(!tram_call_free(NULL) && !tram_reply_free(NULL) && !tram_client_free(NULL));
    CHECK(!tram_server_free(NULL) && !tram_session_free(NULL) && !tram_request_free(NULL));
    CHECK(!tram_draft_free(NULL));
}
