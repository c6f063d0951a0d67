// test: timeout=120
/* SPDX-License-Identifier: MIT
 *
 * tramd and its clients: names that survive the daemon, and end with their server. Arguments,
 * config and signals: tramd_cli_test.py.
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "service/names.h"
#include "support/tramd.h"
#include "sys/file.h"
#include "sys/socket.h"

static int64_t now(void) {
    return (int64_t) sys_now();
}

/* ---- binding --------------------------------------------------------------------------------- */

TEST(a_name_is_bound_published_and_found) {
    tram_worker *server, *client;
    struct served served = { .only_bind = true };
    struct seen seen;

    (void) tramd_start(NULL);
    server = worker_make(0);
    client = worker_make(0);
    seen_watch(client, &seen, "*");
    worker_until(client, &seen.told, 1);
    served_bind(server, &served, "media/player", "2");
    worker_until(server, &served.bound, 1);
    CHECK(!worker_for(client, &seen.online, 1, 50 * (int64_t) SYS_MILLISECOND));
    CHECK_OK(names_publish(&served.binding, (const char *const[]){ "ipc:///run/x", NULL }));
    worker_until(server, &served.published, 1);
    worker_until(client, &seen.online, 1);
    CHECK_STR(seen.last, "media/player:2");
    CHECK_EQ(names_next(&seen.watch, NULL)->pid, getpid());
    CHECK_EQ(names_next(&seen.watch, NULL)->node, tram_node_id(tram_worker_node(server)));
    CHECK_EQ(names_next(&seen.watch, NULL)->port, 17);
    CHECK_STR(names_next(&seen.watch, NULL)->addresses[0], "ipc:///run/x");
    CHECK_STR(names_next(&seen.watch, NULL)->program, "tramd_test");
    names_unbind(&served.binding);
    worker_until(client, &seen.offline, 1);
    CHECK(!names_next(&seen.watch, NULL));
    (void) tram_worker_free(server);
    (void) tram_worker_free(client);
}

TEST(a_held_name_is_refused_and_its_holder_named) {
    pid_t daemon, holder;
    tram_worker *worker;
    struct served served = { 0 }, other = { 0 };

    daemon = tramd_start(NULL);
    holder = serve("db", 1);
    worker = worker_make(0);
    served_bind(worker, &served, "db0", NULL);
    served_bind(worker, &other, "db0", "1"); /* another one */
    worker_until(worker, &served.refused, 1);
    worker_until(worker, &other.published, 1);
    CHECK_EQ(served.error, -EEXIST);
    CHECK_EQ(served.holder_pid, holder);
    CHECK_STR(served.holder, "tramd_test");
    names_unbind(&served.binding);
    /* Killed while the question was on its way: what is noticed of that comes behind it. */
    CHECK_OK(kill(daemon, SIGSTOP));
    served_bind(worker, &served, "db0", NULL);
    test_kill(holder);
    CHECK_OK(kill(daemon, SIGCONT));
    worker_until(worker, &served.published, 1);
    CHECK_EQ(served.refused, 0);
    (void) tram_worker_free(worker);
}

static void bind_only(void *arg) {
    struct served served = { .only_bind = true };
    tram_worker *worker = worker_make(0);

    served_bind(worker, &served, "half", NULL);
    worker_until(worker, &served.bound, 1);
    CHECK_EQ(write(*(int *) arg, "!", 1), 1);
    CHECK_OK(tram_worker_run(worker));
}

/* In both ways: alone, and with a daemon that is killed at the same time. */
TEST(who_dies_between_bind_and_publish_leaves_nothing) {
    for (int kills = 0; kills < 2; kills++) {
        tram_worker *worker = NULL;
        struct served served = { 0 };
        struct seen seen;
        pid_t daemon = tramd_start(NULL), half;
        int pipes[2];
        char byte;

        worker = worker_make(0);
        seen_watch(worker, &seen, "*");
        worker_until(worker, &seen.told, 1);
        CHECK_OK(pipe(pipes));
        half = test_fork(bind_only, &pipes[1]);
        CHECK_EQ(read(pipes[0], &byte, 1), 1);
        test_kill(half);
        if (kills) {
            test_kill(daemon);
            daemon = tramd_start(NULL);
        }
        served_bind(worker, &served, "half", NULL);
        worker_until(worker, &served.published, 1);
        CHECK_EQ(served.refused, 0);
        worker_until(worker, &seen.online, 1);
        CHECK_EQ(seen.online + seen.offline, 1);
        (void) tram_worker_free(worker);
        (void) close(pipes[0]);
        (void) close(pipes[1]);
        test_kill(daemon);
    }
}

/* Of a living node: what was published stays with it, and what was not is free; until it comes back
 * and says that it has it no more. */
TEST(what_a_connection_takes_with_it) {
    tram_worker *lives, *other;
    struct served half = { 0 }, kept = { 0 };
    struct seen seen;
    struct raw raw;
    uint64_t order;

    (void) tramd_start(NULL);
    lives = worker_make(0);
    other = worker_make(0);
    seen_watch(other, &seen, "kept");
    raw_open(&raw);
    raw_hello_as(&raw, lives, 0);
    CHECK_EQ(raw_bind(&raw, 1, "kept"), 0);
    order = raw_publish(&raw, 1);
    CHECK_EQ(raw_publish(&raw, 1), order);
    CHECK_EQ(raw_bind(&raw, 2, "half"), 0);
    CHECK_EQ(raw_bind(&raw, 3, "half"), -EEXIST);
    raw_close(&raw);
    served_bind(other, &half, "half", NULL);
    worker_until(other, &half.published, 1);
    served_bind(other, &kept, "kept", NULL);
    worker_until(other, &kept.refused, 1);
    names_unbind(&kept.binding);
    CHECK_EQ(seen.online, 1);
    raw_open(&raw);
    raw_hello_as(&raw, lives, 0);
    CHECK_EQ(raw_bind(&raw, 7, "kept"), 0); /* its own */
    CHECK_EQ(raw_publish(&raw, 7), order);
    raw_settle(&raw);
    CHECK_EQ(raw_bind(&raw, 8, "more"), 0);
    CHECK_EQ(seen.offline, 0);
    raw_close(&raw);
    raw_open(&raw);
    raw_hello_as(&raw, lives, 0);
    raw_settle(&raw);
    worker_until(other, &seen.offline, 1);
    CHECK_EQ(seen.online, 1);
    raw_close(&raw);
    (void) tram_worker_free(lives);
    (void) tram_worker_free(other);
}

TEST(only_who_lives_binds) {
    tram_worker *worker;
    struct raw raw;

    (void) tramd_start(NULL);
    worker = worker_make(0);
    raw_open(&raw);
    raw_hello_as(&raw, worker, 1); /* a life that has not begun */
    CHECK_EQ(raw_bind(&raw, 1, "x"), -ESTALE);
    raw_close(&raw);
    raw_open(&raw);
    raw_hello(&raw); /* no node */
    CHECK_EQ(raw_bind(&raw, 1, "x"), -ESTALE);
    raw_close(&raw);
    raw_open(&raw);
    raw_hello_as(&raw, worker, 0);
    CHECK_EQ(raw_bind(&raw, 1, "x"), 0);
    (void) tram_worker_free(worker); /* its node is gone: and so is who speaks for it */
    CHECK(!raw_next(&raw));
    raw_close(&raw);
}

/* ---- the daemon goes and comes --------------------------------------------------------------- */

#define SERVERS 4
#define EACH 50

static void churn(void *arg) {
    tram_worker *worker = worker_make(0);
    struct served served[8] = { 0 };
    char name[32];

    (void) arg;
    for (;;) {
        for (int i = 0; i < 8; i++) {
            (void) snprintf(name, sizeof(name), "churn%d", i);
            served_bind(worker, &served[i], name, NULL);
        }
        for (int i = 0; i < 8; i++)
            worker_until(worker, &served[i].published, 1);
        for (int i = 0; i < 8; i++)
            names_unbind(&served[i].binding);
    }
}

/* All names that a new watch is told of. */
static int count_names(const char *pattern) {
    struct raw raw;
    int count = 0;
    bool told = false;

    raw_open(&raw);
    raw_hello(&raw);
    raw_watch(&raw, 1, pattern);
    while (!told) {
        control_frame *frame = raw_next(&raw);

        CHECK(frame);
        told = frame->kind_case == TRAM__CONTROL__FRAME__KIND_TOLD;
        count += frame->kind_case == TRAM__CONTROL__FRAME__KIND_ONLINE;
        (void) control_free(frame);
    }
    raw_close(&raw);
    return count;
}

TEST_TIMEOUT(names_outlive_the_daemon, 60) {
    char prefix[SERVERS][16];
    tram_worker *worker;
    struct served own = { 0 };
    struct seen seen;
    int64_t worst = 0;
    pid_t daemon = tramd_start(NULL);

    for (int i = 0; i < SERVERS; i++) {
        (void) snprintf(prefix[i], sizeof(prefix[i]), "svc%d/", i);
        (void) serve(prefix[i], EACH);
    }
    (void) test_fork(churn, NULL);
    worker = worker_make(0);
    seen_watch(worker, &seen, "svc*");
    served_bind(worker, &own, "own", NULL);
    worker_until(worker, &seen.online, SERVERS * EACH);
    worker_until(worker, &own.published, 1);
    for (int round = 0; round < 10; round++) {
        uint64_t order = own.order;
        int64_t began;

        test_kill(daemon);
        began = now();
        daemon = tramd_start(NULL);
        CHECK_EQ(count_names("svc*"), SERVERS * EACH); /* at once, from the file */
        worker_until(worker, &own.published, round + 2);
        if (now() - began > worst)
            worst = now() - began;
        CHECK_EQ(own.order, order);
        CHECK_EQ(own.away, round + 1);
    }
    CHECK(worker_for(worker, &seen.away, 1, 0));
    CHECK_EQ(seen.online, SERVERS * EACH); /* no word of it */
    CHECK_EQ(seen.offline, 0);
    CHECK_EQ(count_names("*") >= SERVERS * EACH + 1, true);
    printf("    %d names whole again %.1f ms after kill -9, at most\n", SERVERS * EACH,
           (double) worst / 1e6);
    CHECK(worst < test_seconds(1) * (int64_t) SYS_SECOND);
    (void) tram_worker_free(worker);
}

TEST(only_differences_are_told_after_a_restart) {
    pid_t daemon = tramd_start(NULL), stays, goes;
    tram_worker *worker = worker_make(0);
    struct served unbound = { 0 };
    struct seen seen;

    stays = serve("stays", 1);
    goes = serve("goes", 1);
    seen_watch(worker, &seen, "*");
    served_bind(worker, &unbound, "unbound", NULL);
    worker_until(worker, &seen.online, 3);
    test_kill(daemon);
    worker_until(worker, &seen.away, 1);
    test_kill(goes);
    names_unbind(&unbound.binding);
    CHECK_EQ(seen.offline, 0);
    daemon = tramd_start(NULL);
    worker_until(worker, &seen.offline, 2);
    CHECK(!worker_for(worker, &seen.offline, 3, 50 * (int64_t) SYS_MILLISECOND));
    CHECK_EQ(seen.online, 3);
    CHECK_STR(names_next(&seen.watch, NULL)->full, "stays0");
    CHECK(!names_next(&seen.watch, names_next(&seen.watch, NULL)));
    CHECK_EQ(count_names("*"), 1);
    test_kill(stays);
    worker_until(worker, &seen.offline, 3);
    (void) tram_worker_free(worker);
}

/* Given back while nobody could hear it, and bound again later. */
TEST(a_worker_that_rested_begins_again) {
    const int never = 0;
    tram_worker *worker = worker_make(0);
    struct served served = { 0 };
    struct seen seen;

    seen_watch(worker, &seen, "*");
    served_bind(worker, &served, "x", NULL);
    worker_until(worker, &seen.away, 1);
    names_unbind(&served.binding);
    names_unwatch(&seen.watch);
    (void) worker_for(worker, &never, 1, 300 * (int64_t) SYS_MILLISECOND); /* a back-off, or two */
    (void) tramd_start(NULL);
    served_bind(worker, &served, "x", NULL);
    worker_until(worker, &served.published, 1);
    (void) tram_worker_free(worker);
}

/* A server that is stopped, and so doesn't come back to the new daemon, keeps its name all the
 * same: no clock decides. */
TEST(a_stopped_server_keeps_its_name) {
    pid_t daemon = tramd_start(NULL), stopped = serve("stopped", 1);
    tram_worker *worker = worker_make(0);
    struct served thief = { 0 };

    CHECK_OK(kill(stopped, SIGSTOP));
    test_kill(daemon);
    (void) tramd_start(NULL);
    served_bind(worker, &thief, "stopped0", NULL);
    worker_until(worker, &thief.refused, 1);
    CHECK_EQ(thief.error, -EEXIST);
    CHECK_EQ(thief.holder_pid, stopped);
    CHECK_OK(kill(stopped, SIGCONT));
    (void) tram_worker_free(worker);
}

TEST(order_rises_through_restarts) {
    tram_worker *worker = worker_make(0);
    uint64_t last = 0;

    for (int round = 0; round < 3; round++) {
        pid_t daemon = tramd_start(NULL);

        for (int i = 0; i < 3; i++) {
            struct served served = { 0 };

            served_bind(worker, &served, "x", NULL);
            worker_until(worker, &served.published, 1);
            CHECK(served.order > last);
            last = served.order;
            names_unbind(&served.binding);
        }
        CHECK_EQ(count_names("*"), 0);
        test_kill(daemon);
        test_kill(tramd_start(NULL)); /* one that publishes nothing */
    }
    (void) tram_worker_free(worker);
}

/* The table, cut off anywhere: what is in front of the cut holds, and the daemon runs. And without
 * it: who is there says so. */
TEST_TIMEOUT(a_damaged_table_is_no_end, 60) {
    pid_t daemon = tramd_start(NULL);
    tram_worker *worker = worker_make(0);
    struct served served = { 0 }, newer = { 0 };
    char path[512];
    struct sys_stat st;
    uint64_t order;

    served_bind(worker, &served, "first", NULL);
    served_bind(worker, &newer, "second", NULL);
    worker_until(worker, &newer.published, 1);
    order = newer.order;
    (void) snprintf(path, sizeof(path), "%s/default/names", test_dir());
    CHECK_OK(sys_stat_at(-100, path, &st)); /* AT_FDCWD */
    for (int64_t size = (int64_t) st.size; size >= 0; size -= 7) {
        int before = newer.published;

        test_kill(daemon);
        CHECK_OK(truncate(path, size));
        daemon = tramd_start(NULL);
        worker_until(worker, &newer.published, before + 1);
        worker_until(worker, &served.published, before + 1);
        CHECK(newer.order > served.order);
        CHECK(newer.order >= order);
        CHECK_EQ(count_names("*"), 2);
    }
    (void) tram_worker_free(worker);
}

/* No room for the table: who asks is told, what is held stays, and when some of it goes there is
 * room again. */
TEST(a_table_that_finds_no_room_refuses) {
    enum { NAMES = 400 };
    static struct served served[NAMES];
    tram_worker *worker = worker_make(0);
    struct rlimit limit, small;
    pid_t daemon;
    int last = -1;

    CHECK_OK(getrlimit(RLIMIT_FSIZE, &limit));
    small = limit;
    small.rlim_cur = 8192;
    (void) signal(SIGXFSZ, SIG_IGN);
    CHECK_OK(setrlimit(RLIMIT_FSIZE, &small));
    daemon = tramd_start(NULL);
    CHECK_OK(setrlimit(RLIMIT_FSIZE, &limit));
    do {
        char name[16];

        CHECK(++last < NAMES);
        (void) snprintf(name, sizeof(name), "n%d", last);
        served_bind(worker, &served[last], name, NULL);
        while (served[last].published + served[last].refused == 0)
            (void) worker_for(worker, &served[last].published, 1, (int64_t) SYS_MILLISECOND);
    } while (served[last].refused == 0);
    CHECK_EQ(served[last].error, -EFBIG);
    CHECK(last > 50);
    CHECK_EQ(count_names("n*"), last);
    for (int i = 0; i < last / 2; i++)
        names_unbind(&served[i].binding);
    served_bind(worker, &served[0], "later", NULL);
    worker_until(worker, &served[0].published, 1);
    CHECK_EQ(count_names("n*"), last - last / 2);
    test_kill(daemon);
    (void) tramd_start(NULL);
    CHECK_EQ(count_names("*"), last - last / 2 + 1);
    (void) tram_worker_free(worker);
}

/* ---- the end of servers ---------------------------------------------------------------------- */

static void sleep_in_child(void *arg) {
    (void) arg;
    for (;;)
        (void) pause();
}

static void forks_and_serves(void *arg) {
    struct served served = { 0 };
    tram_worker *worker = worker_make(0);

    served_bind(worker, &served, "forked", NULL);
    worker_until(worker, &served.published, 1);
    (void) test_fork(sleep_in_child, NULL); /* it has the connection open, too */
    CHECK_EQ(write(*(int *) arg, "!", 1), 1);
    CHECK_OK(tram_worker_run(worker));
}

TEST(a_forked_child_keeps_no_name) {
    int pipes[2];
    tram_worker *worker;
    struct seen seen;
    pid_t pid;
    char byte;

    (void) tramd_start(NULL);
    worker = worker_make(0);
    seen_watch(worker, &seen, "*");
    CHECK_OK(pipe(pipes));
    pid = test_fork(forks_and_serves, &pipes[1]);
    CHECK_EQ(read(pipes[0], &byte, 1), 1);
    worker_until(worker, &seen.online, 1);
    test_kill(pid);
    worker_until(worker, &seen.offline, 1);
    (void) tram_worker_free(worker);
    (void) close(pipes[0]);
    (void) close(pipes[1]);
}
