// test: timeout=60
/* SPDX-License-Identifier: MIT
 *
 * Services by name, through a daemon that is killed: who is connected does not notice, who comes
 * meanwhile waits, and a server that comes back is found.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "service/names.h"
#include "support/tramd.h"
#include "tram/service.h"

#define SECONDS(n) ((n) * (int64_t) SYS_SECOND * test_seconds(1))

static void echo(tram_server *server, tram_request **request, void *arg) {
    const struct tram_view *view = tram_request_view(*request);

    (void) server;
    (void) arg;
    CHECK_OK(tram_reply_send(request, view->data, view->size));
}

static void serve_echo(void *arg) {
    static const struct tram_server_handlers handlers = { .on_request = echo };
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_worker *worker = worker_make(0);
    tram_server *server;

    options.handlers = &handlers;
    CHECK_OK(tram_server_new(worker, arg, &options, &server));
    CHECK_OK(tram_worker_run(worker));
}

static void call(tram_client *client, const char *text) {
    tram_reply *reply = NULL;
    int rc = tram_client_call(client, 1, text, strlen(text), NULL, &reply);

    if (rc < 0)
        FAIL("%s: %s", text, strerror(-rc));
    CHECK_EQ(tram_reply_view(reply)->size, strlen(text));
    CHECK_MEM(tram_reply_view(reply)->data, text, strlen(text));
    (void) tram_reply_free(reply);
}

TEST_TIMEOUT(calls_go_on_while_the_daemon_is_killed, 40) {
    char address[] = "svc://echo:1";
    tram_worker *worker = worker_make(0);
    tram_client *client, *other;
    pid_t daemon, server;
    tram_reply *reply = NULL;
    int rc;

    /* Before there is a daemon, or a server. */
    CHECK_OK(tram_client_new(worker, "svc://echo", NULL, &client));
    daemon = tramd_start(NULL);
    server = test_fork(serve_echo, address);
    CHECK_OK(tram_client_wait(client, SECONDS(10)));
    call(client, "first");
    for (int round = 0; round < 3; round++) {
        test_kill(daemon);
        call(client, "without a daemon");
        daemon = tramd_start(NULL);
        CHECK_OK(tram_client_new(worker, address, NULL, &other));
        CHECK_OK(tram_client_wait(other, SECONDS(10)));
        call(other, "another one");
        call(client, "the first one again");
        (void) tram_client_free(other);
    }
    test_kill(server);
    server = test_fork(serve_echo, address);
    do { /* what goes to the dead one ends as unknown, or finds out that it is gone */
        CHECK_OK(tram_client_wait(client, SECONDS(10)));
        rc = tram_client_call(client, 1, "x", 1, NULL, &reply);
    } while (rc == -ECONNRESET || rc == -ENOTCONN);
    CHECK_OK(rc);
    (void) tram_reply_free(reply);
    (void) tram_client_free(client);
    (void) tram_worker_free(worker);
}

static int over, over_status;

static void ended(const struct tram_result *result, void *arg) {
    (void) arg;
    over_status = result->status;
    over++;
}

/* With a daemon that listens and says nothing. */
static pid_t ask_while_it_is_silent(tram_worker *worker, tram_client *client) {
    pid_t daemon = tramd_start(NULL);
    int rc;

    CHECK_OK(kill(daemon, SIGSTOP));
    over = 0;
    while ((rc = tram_client_ask(client, 1, "x", 1, NULL, ended, NULL, NULL)) == -ENOTCONN) {
        CHECK(strstr(tram_worker_error(worker)->text, "no tramd runs"));
        CHECK(tram_worker_dispatch(worker) >= 0);
    }
    CHECK_OK(rc);
    return daemon;
}

/* Who comes while tramd is away is told so, and not that nobody serves; one that is there and has
 * not answered yet is waited for. Who came before hears nothing of either. */
TEST(without_a_daemon_nobody_says_that_nobody_serves) {
    char address[] = "svc://echo:2";
    tram_worker *worker = worker_make(0), *other = worker_make(0);
    tram_client *before, *client;
    pid_t daemon = tramd_start(NULL);
    tram_reply *reply;

    (void) test_fork(serve_echo, address);
    CHECK_OK(tram_client_new(other, address, NULL, &before));
    CHECK_OK(tram_client_wait(before, SECONDS(10)));
    test_kill(daemon);
    CHECK_OK(tram_client_new(worker, address, NULL, &client));
    CHECK_ERR(tram_client_call(client, 1, "x", 1, NULL, &reply), -ENOTCONN);
    CHECK(strstr(tram_worker_error(worker)->text, "no tramd runs"));
    call(before, "as if it were there");
    daemon = ask_while_it_is_silent(worker, client);
    call(before, "as if it spoke");
    test_kill(daemon); /* it waits no longer than for that */
    worker_until(worker, &over, 1);
    CHECK_ERR(over_status, -ENOTCONN);
    daemon = ask_while_it_is_silent(worker, client);
    CHECK_OK(kill(daemon, SIGCONT));
    worker_until(worker, &over, 1);
    CHECK_OK(over_status);
    call(before, "as if it had never gone");
    (void) tram_worker_free(worker);
    (void) tram_worker_free(other);
}

/* ---- tram_name_watch ------------------------------------------------------------------------- */

struct news {
    int online, offline, told;
    char name[64], address[64];
    int32_t pid;
    tram_name_watch *watch;
    bool ends;
};

static void on_news(enum tram_state state, const struct tram_party *who, void *arg) {
    struct news *news = arg;

    if (!who) {
        news->told++;
        return;
    }
    news->online += state == TRAM_STATE_ONLINE;
    news->offline += state == TRAM_STATE_OFFLINE;
    news->pid = who->pid;
    (void) snprintf(news->name, sizeof(news->name), "%s", who->name);
    (void) snprintf(news->address, sizeof(news->address), "%s", who->address);
    if (news->ends)
        news->watch = tram_name_watch_free(news->watch);
}

TEST(names_are_watched_by_the_application) {
    tram_worker *worker = worker_make(0);
    struct news news = { 0 }, ends = { .ends = true };
    char first[] = "svc://watched/a", second[] = "svc://watched/b:2";
    pid_t pid;

    (void) tramd_start(NULL);
    pid = test_fork(serve_echo, first);
    CHECK_ERR(tram_name_watch_new(worker, "a b", on_news, &news, &news.watch), -EINVAL);
    CHECK_OK(tram_name_watch_new(worker, "watched/*", on_news, &news, &news.watch));
    CHECK_OK(tram_name_watch_new(worker, "watched/*", on_news, &ends, &ends.watch));
    worker_until(worker, &news.online, 1);
    CHECK_EQ(news.pid, pid);
    CHECK_STR(news.name, "watched/a");
    CHECK(strstr(news.address, "shm://") && strstr(news.address, "/watched/a"));
    worker_until(worker, &news.told, 1);
    (void) test_fork(serve_echo, second);
    worker_until(worker, &news.online, 2);
    CHECK_STR(news.name, "watched/b:2");
    test_kill(pid);
    worker_until(worker, &news.offline, 1);
    CHECK_STR(news.name, "watched/a");
    CHECK_EQ(news.told, 1);
    CHECK(!ends.watch); /* freed in its own handler */
    CHECK_EQ(ends.online, 1);
    (void) tram_worker_free(worker); /* and the other with its worker */
}
