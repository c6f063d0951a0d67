/* SPDX-License-Identifier: MIT
 *
 * Servers found by their name: several of one name, the choice among them, work groups, coming and
 * going. And handlers that free what they are called for.
 */
// test: timeout=120
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "support/pair.h"
#include "support/tramd.h"
#include "tram/service.h"

static pid_t instance(int number) {
    char address[32];
    struct pair_options options = {.id = TRAM_ID(1, 1, 6, number),
                                   .address = address,
                                   .daemon = true};

    (void) snprintf(address, sizeof(address), "svc://x:%d", number);
    return pair_start(&options);
}

static tram_client *client_of_group(tram_worker *worker, enum tram_choice choice, uint32_t flags) {
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    tram_client *client;

    options.choice = choice;
    options.flags = flags;
    CHECK_OK(tram_client_new(worker, "svc://x", &options, &client));
    return client;
}

/* Who answers? 0: it died with the request in hand, or nobody is there. */
static pid_t who(tram_client *client, const struct tram_how *how) {
    tram_reply *reply;
    pid_t pid;
    int rc = tram_client_call(client, PAIR_SELF, NULL, 0, how, &reply);

    if (rc == -ECONNRESET || rc == -ENOTCONN)
        return 0;
    CHECK_OK(rc);
    memcpy(&pid, tram_reply_view(reply)->data, sizeof(pid));
    (void) tram_reply_free(reply);
    return pid;
}

static int ends, unknown;

static void ended(const struct tram_result *result, void *arg) {
    (void) arg;
    ends++;
    unknown += result->status != 0;
}

TEST(first_stays_newest_moves_and_one_can_be_named) {
    pid_t daemon = tramd_start(NULL), servers[3];
    tram_worker *worker = pair_worker(0);
    struct tram_how how = TRAM_HOW_INIT;
    tram_client *first, *newest;

    servers[0] = instance(1);
    first = client_of_group(worker, TRAM_CHOOSE_FIRST, 0);
    newest = client_of_group(worker, TRAM_CHOOSE_NEWEST, TRAM_CLIENT_WAIT);
    CHECK_EQ(who(first, NULL), servers[0]);
    CHECK_EQ(who(newest, NULL), servers[0]);
    servers[1] = instance(2);
    UNTIL(worker, who(newest, NULL) == servers[1]);
    CHECK_EQ(who(first, NULL), servers[0]);
    servers[2] = instance(3);
    UNTIL(worker, who(newest, NULL) == servers[2]);
    how.instance = "2";
    CHECK_EQ(who(first, &how), servers[1]);
    how.instance = "9";
    CHECK_ERR(tram_client_ask(first, PAIR_SELF, NULL, 0, &how, ended, NULL, NULL), -ENOTCONN);
    test_kill(servers[0]);
    UNTIL(worker, who(first, NULL) == servers[1]);
    (void) tram_worker_free(worker);
    test_kill(servers[1]);
    test_kill(servers[2]);
    test_kill(daemon);
}

TEST(least_spreads_and_keys_stay) {
    pid_t daemon = tramd_start(NULL), servers[3], before[64];
    tram_worker *worker = pair_worker(0);
    struct tram_how how = TRAM_HOW_INIT;
    tram_client *least, *keyed;
    int times[3] = {0}, moved = 0;

    for (int i = 0; i < 3; i++)
        servers[i] = instance(i + 1);
    least = client_of_group(worker, TRAM_CHOOSE_LEAST, TRAM_CLIENT_WAIT);
    keyed = client_of_group(worker, TRAM_CHOOSE_KEY, TRAM_CLIENT_WAIT);
    for (int i = 0; i < 200; i++) /* until all are known */
        (void) who(least, NULL), pair_turn(worker);
    for (int i = 0; i < 300; i++) {
        pid_t pid = who(least, NULL);

        for (int at = 0; at < 3; at++)
            times[at] += servers[at] == pid;
    }
    for (int at = 0; at < 3; at++)
        CHECK_EQ(times[at], 100);
    for (int i = 0; i < 64; i++) {
        how.key = (uint64_t) i;
        before[i] = who(keyed, &how);
        CHECK_EQ(who(keyed, &how), before[i]);
    }
    test_kill(servers[1]);
    for (int i = 0; i < 64; i++) {
        pid_t after;

        how.key = (uint64_t) i;
        if (before[i] == servers[1]) {
            moved++;
            continue;
        }
        after = who(keyed, &how);
        CHECK_EQ(after, before[i]);
    }
    CHECK(moved > 8 && moved < 40);
    (void) tram_worker_free(worker);
    test_kill(servers[0]);
    test_kill(servers[2]);
    test_kill(daemon);
}

static int came;

static void on_coming(enum tram_state state, const struct tram_party *who, void *arg) {
    (void) arg;
    came += who && state == TRAM_STATE_ONLINE;
}

TEST(client_waits_for_a_name_or_fails_at_once) {
    pid_t daemon = tramd_start(NULL), server;
    tram_worker *worker = pair_worker(0);
    tram_name_watch *watch;
    tram_client *waits = client_of_group(worker, TRAM_CHOOSE_FIRST, TRAM_CLIENT_WAIT);
    tram_client *fails = client_of_group(worker, TRAM_CHOOSE_FIRST, 0);
    struct tram_how will = TRAM_HOW_INIT, will_not = TRAM_HOW_INIT;
    tram_reply *reply;

    will.flags = TRAM_HOW_WAIT;
    will_not.flags = TRAM_HOW_NO_WAIT;
    ends = unknown = came = 0;
    CHECK_OK(tram_name_watch_new(worker, "*", on_coming, NULL, &watch));
    CHECK_ERR(tram_client_call(fails, PAIR_ECHO, NULL, 0, NULL, &reply), -ENOTCONN);
    CHECK_ERR(tram_client_call(waits, PAIR_ECHO, NULL, 0, &will_not, &reply), -ENOTCONN);
    for (int i = 0; i < 5; i++) {
        CHECK_OK(tram_client_ask(waits, PAIR_ECHO, "x", 1, NULL, ended, NULL, NULL));
        CHECK_OK(tram_client_ask(fails, PAIR_ECHO, "x", 1, &will, ended, NULL, NULL));
    }
    server = instance(1);
    UNTIL(worker, ends == 10);
    CHECK_EQ(unknown, 0);
    test_kill(server);
    for (int i = 0; i < 10; i++)
        CHECK_OK(tram_client_ask(waits, PAIR_ECHO, "x", 1, NULL, ended, NULL, NULL));
    server = instance(1);
    UNTIL(worker, ends == 20);
    CHECK_EQ(unknown, 0);
    /* Its node is seen to be back before the daemon says so. One that is killed when it has said
     * that the first one went, and nothing yet of the second, leaves clients without a server. */
    UNTIL(worker, came == 2);
    test_kill(daemon); /* nobody notices */
    CHECK_OK(tram_client_call(waits, PAIR_ECHO, NULL, 0, NULL, &reply));
    (void) tram_reply_free(reply);
    (void) tram_worker_free(worker);
    test_kill(server);
}

static int refused;
static enum tram_state state_of_second;

static void on_second(tram_server *server, enum tram_state state, const struct tram_party *party,
                      void *arg) {
    (void) arg;
    state_of_second = state;
    if (state != TRAM_STATE_REFUSED)
        return;
    refused = party->error;
    CHECK(party->pid > 0);
    (void) tram_server_free(server);
}

TEST(name_is_unique_on_the_host) {
    static const struct tram_server_handlers handlers = {.on_state = on_second};
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    pid_t daemon = tramd_start(NULL), server = instance(1);
    tram_worker *worker = pair_worker(0);
    tram_server *second;

    options.handlers = &handlers;
    CHECK_OK(tram_server_new(worker, "svc://x:1", &options, &second));
    UNTIL(worker, refused);
    CHECK_ERR(refused, -EEXIST);
    CHECK_OK(tram_server_new(worker, "svc://x:2", &options, &second));
    CHECK_ERR(tram_server_new(worker, "svc://x:2", &options, &second), -EADDRINUSE);
    UNTIL(worker, state_of_second == TRAM_STATE_ONLINE);
    (void) tram_worker_free(worker);
    test_kill(server);
    test_kill(daemon);
}

/* ---- handlers that free ---------------------------------------------------------------------- */

static tram_client *mine;

static void free_client(const struct tram_result *result, void *arg) {
    (void) arg;
    CHECK_EQ(result->status, 0);
    ends++;
    mine = tram_client_free(mine);
}

static void free_worker(const struct tram_result *result, void *arg) {
    CHECK_EQ(result->status, 0);
    ends++;
    (void) tram_worker_free(arg);
}

TEST(results_may_free_their_client_and_their_worker) {
    pid_t server = pair_start(NULL);
    tram_worker *worker = pair_worker(0);

    ends = 0;
    mine = pair_client(worker, "shm://1.1.5.1/pair", 0, NULL, NULL);
    for (int i = 0; i < 10; i++)
        CHECK_OK(tram_client_ask(mine, PAIR_ECHO, "x", 1, NULL, free_client, NULL, NULL));
    UNTIL(worker, ends == 1);
    for (int i = 0; i < 10; i++)
        pair_turn(worker);
    CHECK_EQ(ends, 1);
    mine = pair_client(worker, "shm://1.1.5.1/pair", 0, NULL, NULL);
    CHECK_OK(tram_client_ask(mine, PAIR_ECHO, "x", 1, NULL, free_worker, worker, NULL));
    while (ends < 2)
        (void) tram_worker_dispatch(worker);
    test_kill(server);
}

static int offline_sessions, sessions_freed;

static void session_ends(tram_server *server, tram_session *session, bool online, void *arg) {
    (void) server;
    (void) session;
    (void) arg;
    offline_sessions += !online;
}

/* Each request ends in another way of freeing; the answer follows, or can go nowhere. */
static void frees(tram_server *server, tram_request **request, void *arg) {
    tram_request *kept = *request;

    (void) arg;
    switch (tram_request_view(kept)->code) {
    case 1: /* the session, then an answer to nobody */
        sessions_freed++;
        (void) tram_session_free(tram_request_session(kept));
        CHECK_OK(tram_reply_send(request, "x", 1));
        break;
    case 2: /* the session, and the request is kept */
        *request = NULL;
        (void) tram_session_free(tram_request_session(kept));
        CHECK_EQ(tram_request_view(kept)->size, 4);
        break;
    case 3:
        *request = tram_request_free(kept);
        break;
    default: /* the server, with its request in hand */
        *request = NULL;
        (void) tram_server_free(server);
        CHECK_MEM(tram_request_view(kept)->data, "four", 4);
        (void) tram_request_free(kept);
    }
}

static int statuses[5];

static void note(const struct tram_result *result, void *arg) {
    *(int *) arg = result->status;
    ends++;
}

TEST(servers_may_free_what_they_are_called_for) {
    static const struct tram_server_handlers handlers = {.on_request = frees,
                                                         .on_session = session_ends};
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_worker *worker = pair_worker(PAIR_SERVER), *other = pair_worker(0);
    tram_server *server;
    tram_client *client;

    options.handlers = &handlers;
    options.flags = TRAM_SERVER_NO_DAEMON;
    CHECK_OK(tram_server_new(worker, "svc://pair", &options, &server));
    ends = 0;
    for (uint32_t code = 1; code <= 4; code++) {
        client = pair_client(other, "shm://1.1.5.1/pair", 0, NULL, NULL);
        CHECK_OK(tram_client_ask(client, code, "four", 4, NULL, note, &statuses[code], NULL));
        UNTIL(other, (pair_turn(worker), ends == (int) code));
        (void) tram_client_free(client);
        pair_turn(worker);
    }
    CHECK_ERR(statuses[1], -ECONNRESET);
    CHECK_ERR(statuses[2], -ECONNRESET);
    CHECK_ERR(statuses[3], -ECANCELED);
    CHECK(statuses[4] == -ECANCELED || statuses[4] == -ECONNRESET);
    CHECK_EQ(sessions_freed, 1);
    (void) tram_worker_free(other);
    (void) tram_worker_free(worker);
}
