/* SPDX-License-Identifier: MIT
 *
 * A client and a server on two hosts, joined by mirrored rings: whichever end or daemon dies or
 * hangs, each request ends once. (What both do for each other: tests/service_conformance_test.c.)
 */
// test: timeout=300
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"
#include "support/pair.h"
#include "support/twin.h"
#include "tram/service.h"

#define REQUESTS 100

struct at {
    struct twin twin;
    tram_worker *worker;
    tram_client *client;
    pid_t server;
    int online, offline;
    char host[64];
};

struct end {
    int count, status;
    char text[200];
};

static void on_state(tram_client *client, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    struct at *at = arg;

    (void) client;
    at->online += state == TRAM_STATE_ONLINE;
    at->offline += state == TRAM_STATE_OFFLINE;
    (void) strncpy(at->host, who->host, sizeof(at->host) - 1);
}

static const struct tram_client_handlers handlers = {.on_state = on_state};

static void serve(struct at *at) {
    struct pair_options options = {.daemon = true};

    twin_be(&at->twin, 1);
    at->server = pair_start(&options);
    twin_be(&at->twin, 0);
}

static void begin(struct at *at, uint32_t flags) {
    *at = (struct at){.online = 0};
    twin_start(&at->twin);
    serve(at);
    at->worker = pair_worker(0);
    at->client = pair_client(at->worker, "svc://pair@b", flags, &handlers, at);
    UNTIL(at->worker, at->online);
    CHECK_STR(at->host, "b");
}

static void finish(struct at *at) {
    CHECK(!tram_client_free(at->client));
    CHECK(!tram_worker_free(at->worker));
    test_kill(at->server);
    twin_kill(&at->twin, 0);
    twin_kill(&at->twin, 1);
}

static void ended(const struct tram_result *result, void *arg) {
    struct end *end = arg;

    end->count++;
    end->status = result->status;
    (void) snprintf(end->text, sizeof(end->text), "%s", result->text);
}

static void ask(struct at *at, uint32_t code, struct end ends[REQUESTS]) {
    memset(ends, 0, REQUESTS * sizeof(*ends));
    for (int i = 0; i < REQUESTS; i++)
        CHECK_OK(tram_client_ask(at->client, code, &i, sizeof(i), NULL, ended, &ends[i], NULL));
}

static bool all_ended(const struct end ends[REQUESTS]) {
    for (int i = 0; i < REQUESTS; i++) {
        CHECK(ends[i].count <= 1);
        if (ends[i].count == 0)
            return false;
    }
    return true;
}

static void check(const struct at *at, const struct end ends[REQUESTS], int status) {
    for (int i = 0; i < REQUESTS; i++) {
        CHECK_EQ(ends[i].count, 1);
        if (ends[i].status != status) {
            (void) fprintf(stderr, "%s\n", ends[i].text);
            twin_show(&at->twin);
        }
        CHECK_EQ(ends[i].status, status);
    }
}

static void pass(struct at *at, int ms) {
    int64_t until = pair_now() + (int64_t) ms * 1000000;

    while (pair_now() < until)
        pair_turn(at->worker);
}

/* Either daemon alone, then both at once. SERVICE_HOSTS_KILLS: so many rounds. A daemon that was
 * away for nearly as long as the heartbeat allows (1 s) because the machine stood still has its
 * host taken for lost, as it should be: that round says nothing. */
TEST_TIMEOUT(daemons_killed_lose_no_request, 300) {
    const char *word = getenv("SERVICE_HOSTS_KILLS");
    int rounds = word ? atoi(word) : 24;
    static struct end ends[REQUESTS];
    struct at at;

    begin(&at, 0);
    for (int round = 0; round < rounds; round++) {
        int first = round & 1;
        bool both = round % 6 >= 4;
        int64_t began = pair_now();
        bool away;

        ask(&at, PAIR_ECHO, ends);
        twin_kill(&at.twin, first);
        if (both)
            twin_kill(&at.twin, 1 - first);
        twin_run(&at.twin, first);
        if (both)
            twin_run(&at.twin, 1 - first);
        away = pair_now() - began > 700 * 1000000;
        UNTIL(at.worker, all_ended(ends));
        if (away) {
            finish(&at);
            begin(&at, 0);
            continue;
        }
        check(&at, ends, 0);
        CHECK_EQ(at.offline, 0);
    }
    finish(&at);
}

/* A daemon that begins, and has not heard of the other host yet, says of no name there that it is
 * gone, until the heartbeat's bound. */
TEST_TIMEOUT(names_outlive_the_daemon, 60) {
    struct at at;

    begin(&at, 0);
    CHECK_OK(kill(at.twin.daemon[1], SIGSTOP));
    twin_kill(&at.twin, 0);
    twin_run(&at.twin, 0);
    pass(&at, 300);
    CHECK_EQ(at.offline, 0);
    CHECK_OK(kill(at.twin.daemon[1], SIGCONT));
    pass(&at, 300);
    CHECK_EQ(at.offline, 0);
    CHECK_OK(kill(at.twin.daemon[1], SIGSTOP));
    twin_kill(&at.twin, 0);
    twin_run(&at.twin, 0);
    UNTIL(at.worker, at.offline);
    CHECK_OK(kill(at.twin.daemon[1], SIGCONT));
    UNTIL(at.worker, at.online == 2);
    finish(&at);
}

TEST_TIMEOUT(stall_is_not_noticed, 60) {
    static struct end ends[REQUESTS];
    struct at at;

    begin(&at, 0);
    for (int host = 0; host < 2; host++) {
        CHECK_OK(kill(at.twin.daemon[host], SIGSTOP));
        ask(&at, PAIR_ECHO, ends);
        pass(&at, 300);
        CHECK_OK(kill(at.twin.daemon[host], SIGCONT));
        UNTIL(at.worker, all_ended(ends));
        check(&at, ends, 0);
    }
    CHECK_EQ(at.offline, 0);
    finish(&at);
}

TEST_TIMEOUT(server_killed, 60) {
    static struct end ends[REQUESTS];
    tram_reply *reply;
    struct at at;

    begin(&at, 0);
    ask(&at, PAIR_DEFER, ends);
    CHECK_OK(tram_client_call(at.client, PAIR_ECHO, "x", 1, NULL, &reply)); /* it has them */
    (void) tram_reply_free(reply);
    test_kill(at.server);
    UNTIL(at.worker, all_ended(ends));
    check(&at, ends, -ECONNRESET);
    UNTIL(at.worker, at.offline);
    serve(&at);
    UNTIL(at.worker, at.online == 2);
    ask(&at, PAIR_ECHO, ends);
    UNTIL(at.worker, all_ended(ends));
    check(&at, ends, 0);
    finish(&at);
}

/* What the dead one had in hand comes again. */
TEST_TIMEOUT(server_killed_and_waited_for, 60) {
    static struct end ends[REQUESTS];
    tram_reply *reply;
    struct at at;

    begin(&at, TRAM_CLIENT_WAIT);
    ask(&at, PAIR_DEFER, ends);
    pass(&at, 300);
    test_kill(at.server);
    serve(&at);
    UNTIL(at.worker, at.online == 2);
    CHECK_OK(tram_client_call(at.client, PAIR_FLUSH, NULL, 0, NULL, &reply));
    (void) tram_reply_free(reply);
    UNTIL(at.worker, all_ended(ends));
    for (int i = 0; i < REQUESTS; i++)
        CHECK(ends[i].status == 0 || ends[i].status == -ECONNRESET);
    finish(&at);
}

static void other_client(void *arg) {
    tram_worker *worker = pair_worker(0);
    tram_client *client = pair_client(worker, "svc://pair", TRAM_CLIENT_WAIT, NULL, NULL);
    tram_reply *reply;
    int *fd = arg;

    CHECK_OK(tram_client_call(client, PAIR_ECHO, "x", 1, NULL, &reply));
    (void) tram_reply_free(reply);
    CHECK_OK(tram_client_ask(client, PAIR_DEFER, "x", 1, NULL, ended, NULL, NULL));
    CHECK_EQ(write(*fd, "x", 1), 1);
    for (;;)
        pair_turn(worker);
}

static struct pair_counts counts_of(struct at *at) {
    struct pair_counts counts;
    tram_reply *reply;

    CHECK_OK(tram_client_call(at->client, PAIR_COUNT, NULL, 0, NULL, &reply));
    memcpy(&counts, tram_reply_view(reply)->data, sizeof(counts));
    (void) tram_reply_free(reply);
    return counts;
}

TEST_TIMEOUT(client_killed, 60) {
    int fds[2];
    struct at at;
    pid_t pid;
    char byte;

    begin(&at, 0);
    CHECK_OK(pipe(fds));
    pid = test_fork(other_client, &fds[1]);
    CHECK_EQ(read(fds[0], &byte, 1), 1);
    UNTIL(at.worker, counts_of(&at).online == 2);
    test_kill(pid);
    UNTIL(at.worker, counts_of(&at).online == 1);
    UNTIL(at.worker, counts_of(&at).cancelled == 1);
    (void) close(fds[0]);
    (void) close(fds[1]);
    finish(&at);
}

/* Nothing of it is left when its daemon is asked for it: that is the end of it, not of the link. */
TEST_TIMEOUT(client_dies_with_its_daemon, 60) {
    int fds[2];
    struct at at;
    pid_t pid;
    char byte, command[400];

    begin(&at, TRAM_CLIENT_WAIT);
    CHECK_OK(pipe(fds));
    pid = test_fork(other_client, &fds[1]);
    CHECK_EQ(read(fds[0], &byte, 1), 1);
    UNTIL(at.worker, counts_of(&at).online == 2);
    twin_kill(&at.twin, 0);
    test_kill(pid);
    twin_run(&at.twin, 0);
    UNTIL(at.worker, counts_of(&at).online == 1);
    (void) snprintf(command, sizeof(command), "grep -q nonsense %s.log", at.twin.dir[0]);
    CHECK(system(command) != 0);
    (void) close(fds[0]);
    (void) close(fds[1]);
    finish(&at);
}

/* Is anything left of ephemeral nodes of host a on b? */
static bool is_stray(const char *path) {
    DIR *dir = opendir(path);
    bool found = false;

    CHECK(dir);
    for (struct dirent *entry; (entry = readdir(dir));)
        found |= strstr(entry->d_name, "240.1.") != NULL;
    (void) closedir(dir);
    return found;
}

static bool has_strays(const struct at *at) {
    char bus[300], server[300];

    (void) snprintf(bus, sizeof(bus), "%s/default", at->twin.dir[1]);
    (void) snprintf(server, sizeof(server), "%s/default/1.1.5.1", at->twin.dir[1]);
    return is_stray(bus) || is_stray(server);
}

/* What a dead client sent, and what it was sent, is cleared on the server's host, also if its end
 * is seen by a daemon that knew nothing of its life. */
TEST_TIMEOUT(nothing_is_left_of_a_client, 60) {
    int rounds = getenv("SERVICE_HOSTS_KILLS") ? 3 : 1;
    struct at at = {.online = 0};

    twin_start(&at.twin);
    serve(&at);
    for (int round = 0; round < rounds; round++) {
        int64_t until;
        int fds[2];
        pid_t pid;
        char byte;

        CHECK_OK(pipe(fds));
        pid = test_fork(other_client, &fds[1]);
        CHECK_EQ(read(fds[0], &byte, 1), 1);
        (void) close(fds[0]);
        (void) close(fds[1]);
        CHECK(has_strays(&at));
        if (round < 2)
            twin_kill(&at.twin, 1 - round);
        test_kill(pid);
        if (round < 2)
            twin_run(&at.twin, 1 - round);
        until = kit_now() + kit_patience(30);
        while (has_strays(&at)) {
            if (kit_now() > until)
                FAIL("round %d: something is left", round);
            kit_pause();
        }
    }
    test_kill(at.server);
    twin_kill(&at.twin, 0);
    twin_kill(&at.twin, 1);
}

/* The other host is not heard of for longer than the heartbeat allows, and comes back. */
TEST_TIMEOUT(host_lost_and_back, 60) {
    static struct end ends[REQUESTS];
    struct at at;
    int online;

    begin(&at, 0);
    CHECK_OK(kill(at.twin.daemon[1], SIGSTOP));
    ask(&at, PAIR_DEFER, ends);
    UNTIL(at.worker, at.offline);
    online = at.online;
    CHECK_OK(kill(at.twin.daemon[1], SIGCONT));
    UNTIL(at.worker, all_ended(ends));
    UNTIL(at.worker, at.online > online);
    ask(&at, PAIR_ECHO, ends);
    UNTIL(at.worker, all_ended(ends));
    finish(&at);
}

/* ---- events ---------------------------------------------------------------------------------- */

static void on_event(tram_subscription *subscription, const struct tram_view *view, int status,
                     void *arg) {
    int *count = arg;

    (void) subscription;
    CHECK_EQ(status, 0);
    CHECK_EQ(view->size, 4);
    ++*count;
}

static void publish(void *arg) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_worker *worker = pair_worker(0);
    tram_server *server;

    (void) arg;
    CHECK_OK(tram_server_new(worker, "svc://news", &options, &server));
    for (;;) {
        CHECK_OK(tram_server_publish(server, 1, "news", 4, NULL));
        pair_turn(worker);
    }
}

TEST_TIMEOUT(events_come_from_another_host, 60) {
    tram_subscription *subscription;
    tram_worker *worker;
    tram_client *client;
    struct twin twin;
    int count = 0;
    pid_t pid;

    twin_start(&twin);
    twin_be(&twin, 1);
    pid = test_fork(publish, NULL);
    twin_be(&twin, 0);
    worker = pair_worker(0);
    client = pair_client(worker, "svc://news", 0, NULL, NULL);
    CHECK_OK(tram_client_subscribe(client, 1, NULL, NULL, on_event, &count, &subscription));
    UNTIL(worker, count >= 20);
    CHECK(!tram_client_free(client));
    CHECK(!tram_worker_free(worker));
    test_kill(pid);
    twin_kill(&twin, 0);
    twin_kill(&twin, 1);
}
