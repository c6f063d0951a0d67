/* SPDX-License-Identifier: MIT
 *
 * What applications may do and seldom do: leave drafts open, free what a call is about while it is
 * told of, ask from inside handlers. Server and client are workers of this process, turn by turn.
 */
// test: timeout=120
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "support/pair.h"
#include "support/tramd.h"
#include "tram/service.h"
#include "wire/frame.h"

#define ADDRESS "shm://1.1.5.1/pair"

static struct world {
    tram_worker *servers, *clients;
    tram_server *server;
    tram_client *client;
    tram_request *kept[8];
    int kept_count;
    int online, offline, messages, cancelled, server_spaces, spaces;
    int ends, status[16];
    char text[16];
} w;

/* ---- the server ------------------------------------------------------------------------------ */

static void keep_it(tram_server *server, tram_request **request, void *arg) {
    (void) server;
    (void) arg;
    CHECK(w.kept_count < 8);
    w.kept[w.kept_count++] = *request;
    *request = NULL;
}

static void count_message(tram_server *server, tram_session *session, const struct tram_view *view,
                          void *arg) {
    (void) server;
    (void) session;
    (void) arg;
    CHECK(view->size < sizeof(w.text));
    memcpy(w.text, view->data, view->size);
    w.text[view->size] = 0;
    w.messages++;
}

static void count_cancel(tram_server *server, tram_request *request, void *arg) {
    (void) server;
    (void) arg;
    w.cancelled++;
    for (int i = 0; i < w.kept_count; i++)
        if (w.kept[i] == request)
            w.kept[i] = NULL;
    (void) tram_request_free(request);
}

static void count_room(tram_server *server, tram_session *session, void *arg) {
    (void) server;
    (void) session;
    (void) arg;
    w.server_spaces++;
}

static const struct tram_server_handlers serving = {.on_request = keep_it,
                                                    .on_message = count_message,
                                                    .on_cancel = count_cancel,
                                                    .on_space = count_room};

/* ---- the client ------------------------------------------------------------------------------ */

static void on_state(tram_client *client, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    (void) client;
    (void) who;
    (void) arg;
    w.online += state == TRAM_STATE_ONLINE;
    w.offline += state == TRAM_STATE_OFFLINE;
}

static void on_space(tram_client *client, void *arg) {
    (void) client;
    (void) arg;
    w.spaces++;
}

static const struct tram_client_handlers asking = {.on_state = on_state, .on_space = on_space};

static void ended(const struct tram_result *result, void *arg) {
    int at = arg ? *(int *) arg : 0;

    w.ends++;
    w.status[at] = result->status ? result->status : 1;
}

static int number[8] = {0, 1, 2, 3, 4, 5, 6, 7};

static void ask(int at) {
    CHECK_OK(tram_client_ask(w.client, 1, "x", 1, NULL, ended, &number[at], NULL));
}

/* ---- both ------------------------------------------------------------------------------------ */

static void turn(void) {
    if (w.servers)
        CHECK(tram_worker_dispatch(w.servers) >= 0);
    if (w.clients)
        CHECK(tram_worker_dispatch(w.clients) >= 0);
}

#define TURN_UNTIL(condition)                                                                      \
    do {                                                                                           \
        int64_t until_ = pair_now() + pair_patience();                                             \
        while (!(condition)) {                                                                     \
            turn();                                                                                \
            if (pair_now() > until_)                                                               \
                FAIL("in vain: %s", #condition);                                                   \
        }                                                                                          \
    } while (0)

static void turns(int64_t ns) {
    int64_t until = pair_now() + ns;

    while (pair_now() < until)
        turn();
}

static void serve_on(tram_id id, const char *address, const struct tram_server_handlers *handlers) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;

    w.servers = pair_worker(id);
    options.handlers = handlers;
    options.flags = TRAM_SERVER_NO_DAEMON;
    CHECK_OK(tram_server_new(w.servers, address, &options, &w.server));
}

static void begin(const struct tram_server_handlers *handlers) {
    memset(&w, 0, sizeof(w));
    serve_on(PAIR_SERVER, "svc://pair", handlers);
    w.clients = pair_worker(0);
    w.client = pair_client(w.clients, ADDRESS, 0, &asking, NULL);
    TURN_UNTIL(w.online == 1);
}

static void end(void) {
    (void) tram_worker_free(w.clients);
    (void) tram_worker_free(w.servers);
}

/* ---- drafts that stay open ------------------------------------------------------------------- */

/* A cancel meets the open claim of its own client: the session lives, and the server is told. */
TEST(open_draft_does_not_end_the_session) {
    tram_draft *draft;
    tram_call *call;
    void *data;

    begin(&serving);
    CHECK_OK(tram_client_ask(w.client, 1, "x", 1, NULL, ended, NULL, &call));
    TURN_UNTIL(w.kept_count == 1);
    CHECK_OK(tram_client_draft(w.client, 3, NULL, &draft, &data));
    CHECK(!tram_call_free(call));
    turns(2000000);
    CHECK_ERR(tram_client_send(w.client, 1, "x", 1, NULL), -EAGAIN);
    memcpy(data, "in", 3);
    CHECK_OK(tram_draft_send(&draft, 1, 3));
    TURN_UNTIL(w.messages == 1 && w.cancelled == 1 && w.spaces > 0);
    CHECK_STR(w.text, "in");
    CHECK_OK(tram_client_draft(w.client, 3, NULL, &draft, &data));
    CHECK_ERR(tram_client_send(w.client, 1, "x", 1, NULL), -EAGAIN);
    w.spaces = 0;
    CHECK(!tram_draft_free(draft));
    TURN_UNTIL(w.spaces > 0);
    CHECK_EQ(w.offline, 0);
    CHECK_EQ(w.ends, 0);
    end();
}

/* While the answer of one request is written in place, others can't be answered the same way: they
 * stay in hand. */
TEST(answer_beside_an_open_draft_is_not_lost) {
    tram_request *first, *second;
    tram_draft *draft;
    void *data;

    begin(&serving);
    ask(1);
    ask(2);
    TURN_UNTIL(w.kept_count == 2);
    first = w.kept[0];
    second = w.kept[1];
    CHECK_OK(tram_request_draft(first, 4, &draft, &data));
    CHECK_ERR(tram_reply_send(&second, "y", 1), -EAGAIN);
    CHECK(second);
    CHECK_OK(tram_draft_reply(&draft, &first, 0));
    CHECK(!first);
    TURN_UNTIL(w.server_spaces > 0);
    CHECK_OK(tram_reply_send(&second, "y", 1));
    TURN_UNTIL(w.ends == 2);
    CHECK_EQ(w.status[1], 1);
    CHECK_EQ(w.status[2], 1);
    CHECK_EQ(w.offline, 0);
    end();
}

/* A request that is given up with its answer half written: the draft goes nowhere. */
TEST(draft_of_a_request_that_was_freed_is_over) {
    tram_request *first, *second;
    tram_draft *draft;
    void *data;

    begin(&serving);
    ask(1);
    TURN_UNTIL(w.kept_count == 1);
    first = w.kept[0];
    CHECK_OK(tram_request_draft(first, 4, &draft, &data));
    CHECK(!tram_request_free(first));
    TURN_UNTIL(w.ends == 1);
    CHECK_EQ(w.status[1], -ECANCELED);
    ask(2); /* its request may lie where the first one was */
    TURN_UNTIL(w.kept_count == 2);
    second = w.kept[1];
    CHECK(tram_draft_reply(&draft, &second, 4) < 0);
    CHECK(second);
    (void) tram_draft_free(draft);
    CHECK_OK(tram_reply_send(&second, "y", 1));
    TURN_UNTIL(w.ends == 2);
    CHECK_EQ(w.status[2], 1);
    CHECK_EQ(w.offline, 0);
    end();
}

static tram_draft *left;

static void leave_a_draft(tram_server *server, tram_request **request, void *arg) {
    void *data;

    (void) server;
    (void) arg;
    if (!left)
        CHECK_OK(tram_request_draft(*request, 4, &left, &data));
}

TEST(request_that_is_left_with_a_draft_is_refused) {
    static const struct tram_server_handlers leaving = {.on_request = leave_a_draft};

    begin(&leaving);
    ask(1);
    TURN_UNTIL(w.ends == 1);
    CHECK_EQ(w.status[1], -ENOSYS);
    (void) tram_draft_free(left);
    ask(2);
    TURN_UNTIL(w.ends == 2);
    CHECK_EQ(w.status[2], -ENOSYS);
    CHECK_EQ(w.offline, 0);
    end();
}

/* What was accepted before goes before, also if it waits here. */
TEST(draft_does_not_overtake_what_is_queued) {
    struct tram_how how = TRAM_HOW_INIT;
    tram_draft *draft;
    void *data;

    memset(&w, 0, sizeof(w));
    w.clients = pair_worker(0);
    w.client = pair_client(w.clients, ADDRESS, TRAM_CLIENT_WAIT, &asking, NULL);
    CHECK_OK(tram_client_send(w.client, 1, "first", 5, &how));
    CHECK(tram_client_draft(w.client, 6, NULL, &draft, &data) < 0);
    serve_on(PAIR_SERVER, "svc://pair", &serving);
    TURN_UNTIL(w.messages == 1);
    CHECK_OK(tram_client_draft(w.client, 6, NULL, &draft, &data));
    memcpy(data, "second", 6);
    CHECK_OK(tram_draft_send(&draft, 1, 6));
    TURN_UNTIL(w.messages == 2);
    CHECK_STR(w.text, "second");
    end();
}

/* ---- room that comes at other times ---------------------------------------------------------- */

static tram_client *small_queue(const char *address) {
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    tram_client *client;

    options.handlers = &asking;
    options.flags = TRAM_CLIENT_WAIT;
    options.queue_max = 8192;
    CHECK_OK(tram_client_new(w.clients, address, &options, &client));
    return client;
}

static int fill(tram_client *client, int64_t timeout_ns) {
    struct tram_how how = TRAM_HOW_INIT;
    static char block[1000];
    int count = 0, rc;

    how.timeout_ns = timeout_ns;
    while ((rc = tram_client_ask(client, PAIR_ECHO, block, sizeof(block), &how, ended, NULL,
                                 NULL)) == 0)
        count++;
    CHECK_ERR(rc, -EAGAIN);
    return count;
}

/* The queue empties inside tram_client_wait(): the room is told afterwards. */
TEST(room_that_came_in_a_blocking_call_is_told) {
    pid_t server;
    int sent;

    memset(&w, 0, sizeof(w));
    w.clients = pair_worker(0);
    w.client = small_queue(ADDRESS);
    sent = fill(w.client, 0);
    server = pair_start(NULL);
    CHECK_OK(tram_client_wait(w.client, pair_patience()));
    CHECK_EQ(w.spaces, 0);
    TURN_UNTIL(w.ends == sent && w.spaces > 0);
    end();
    test_kill(server);
}

/* Nobody comes, the requests end, and so there is room. */
TEST(room_of_what_timed_out_is_told) {
    int sent;

    memset(&w, 0, sizeof(w));
    w.clients = pair_worker(0);
    w.client = small_queue(ADDRESS);
    sent = fill(w.client, 20000000);
    TURN_UNTIL(w.ends == sent && w.spaces > 0);
    end();
}

/* ---- freed while it is told of --------------------------------------------------------------- */

/* A blocking call that ends its session ends other requests, too. Freed before that is told: it is
 * not told any more. */
TEST(nothing_is_told_of_a_client_that_is_freed) {
    pid_t server = pair_start(NULL);
    tram_reply *reply;

    memset(&w, 0, sizeof(w));
    w.clients = pair_worker(0);
    w.client = pair_client(w.clients, ADDRESS, 0, &asking, NULL);
    CHECK_OK(tram_client_wait(w.client, pair_patience()));
    CHECK_OK(tram_client_ask(w.client, PAIR_DEFER, "x", 1, NULL, ended, NULL, NULL));
    CHECK_ERR(tram_client_call(w.client, PAIR_CLOSE, NULL, 0, NULL, &reply), -ECONNRESET);
    CHECK_EQ(w.ends, 0);
    (void) tram_client_free(w.client);
    turns(2000000);
    CHECK_EQ(w.ends, 0);
    end();
    test_kill(server);
}

static void free_and_look(tram_server *server, enum tram_state state, const struct tram_party *who,
                          void *arg) {
    (void) arg;
    if (state != TRAM_STATE_ONLINE)
        return;
    (void) tram_server_free(server);
    CHECK_STR(who->name, "pair");
    CHECK_STR(who->address, ADDRESS);
    w.messages++;
}

TEST(server_may_be_freed_while_it_is_told_its_name) {
    static const struct tram_server_handlers freeing = {.on_state = free_and_look};

    memset(&w, 0, sizeof(w));
    serve_on(PAIR_SERVER, "svc://pair", &freeing);
    TURN_UNTIL(w.messages == 1);
    end();
}

static void free_server(tram_server *server, tram_request **request, void *arg) {
    (void) arg;
    if (tram_request_view(*request)->code == 2) {
        w.kept[w.kept_count++] = *request;
        *request = NULL;
    }
    (void) tram_server_free(server);
}

/* "Requests in hand fail": also the one whose handler it is, taken out or not. */
TEST(request_whose_handler_frees_the_server_fails) {
    static const struct tram_server_handlers freeing = {.on_request = free_server};

    for (uint32_t code = 1; code <= 2; code++) {
        begin(&freeing);
        CHECK_OK(tram_client_ask(w.client, code, "x", 1, NULL, ended, &number[1], NULL));
        TURN_UNTIL(w.ends == 1);
        CHECK_EQ(w.status[1], -ECANCELED);
        if (w.kept_count > 0) {
            CHECK_EQ(*(const char *) tram_request_view(w.kept[0])->data, 'x');
            CHECK(tram_request_over(w.kept[0]));
            (void) tram_request_free(w.kept[0]);
        }
        end();
    }
}

/* ---- a server of one's own ------------------------------------------------------------------- */

/* Known by its name only, and not yet: it is found out while the call waits. */
TEST(own_server_that_is_not_known_yet_is_no_deadlock) {
    pid_t daemon = tramd_start(NULL);
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_reply *reply;

    memset(&w, 0, sizeof(w));
    w.clients = pair_worker(0);
    options.handlers = &serving;
    CHECK_OK(tram_server_new(w.clients, "svc://own", &options, &w.server));
    w.client = pair_client(w.clients, "svc://own", TRAM_CLIENT_WAIT, &asking, NULL);
    CHECK_ERR(tram_client_call(w.client, 1, "x", 1, NULL, &reply), -EDEADLK);
    end();
    test_kill(daemon);
}
