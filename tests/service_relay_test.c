/* SPDX-License-Identifier: MIT
 *
 * Events of a server on another host: they cross the link once, however many want them, and each
 * subscriber has each once and in order, whoever is killed and however often.
 *
 * The publisher numbers what it publishes; the topics are a/x, b/x and c/x in turn.
 */
// test: timeout=120
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"
#include "support/pair.h"
#include "support/twin.h"
#include "topic/topic.h"
#include "tram/service.h"
#include "wire/frame.h"

#define SIZE 200
#define KINDS 3u
#define GO 1u      /* a request: publish so many more */
#define KEEP 2u    /* … one, and keep it */
#define PATIENT INT64_C(30000000000)

/* Beside requests, which daemons that are killed hold up. */
struct shared {
    uint32_t go, number;
    uint64_t ring;     /* bytes of it; 0: the default */
    int64_t patience;
};

/* ---- the publisher --------------------------------------------------------------------------- */

struct source {
    tram_server *server;
    struct shared *shared;
    uint32_t number, left;
};

static int publish(struct source *source, uint32_t flags) {
    static const char *const topics[KINDS] = {"a/x", "b/x", "c/x"};
    struct tram_how how = TRAM_HOW_INIT;
    uint32_t data[SIZE / 4] = {source->number + 1};
    int rc;

    how.topic = topics[data[0] % KINDS];
    how.flags = flags;
    rc = tram_server_publish(source->server, 1, data, sizeof(data), &how);
    source->number += rc == 0;
    __atomic_store_n(&source->shared->number, source->number, __ATOMIC_RELAXED);
    CHECK(rc == 0 || rc == -EAGAIN);
    return rc;
}

static void on_request(tram_server *server, tram_request **request, void *arg) {
    struct source *source = arg;
    const struct tram_view *view = tram_request_view(*request);
    uint32_t count;

    (void) server;
    memcpy(&count, view->data, sizeof(count));
    if (view->code == GO)
        source->left += count;
    else
        CHECK_OK(publish(source, TRAM_HOW_KEEP));
    CHECK_OK(tram_reply_send(request, &source->number, sizeof(source->number)));
}

static const struct tram_server_handlers publishes = {.on_request = on_request};

static void serve(void *arg) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_worker *worker = pair_worker(PAIR_SERVER);
    struct shared *shared = arg;
    struct source source = {.number = shared->number, .shared = shared}; /* after a death, too */

    options.handlers = &publishes;
    options.arg = &source;
    options.topic_ring = shared->ring;
    options.patience_ns = shared->patience;
    CHECK_OK(tram_server_new(worker, "svc://news", &options, &source.server));
    for (;;) {
        source.left += __atomic_exchange_n(&shared->go, 0, __ATOMIC_RELAXED);
        if (source.left > 0 && publish(&source, 0) == 0)
            source.left--;
        if (source.left > 0 && source.number % 20 != 0)
            (void) tram_worker_dispatch(worker);
        else
            pair_turn(worker);
    }
}

/* ---- subscribers ----------------------------------------------------------------------------- */

struct seen {
    tram_subscription *subscription;
    uint32_t kind;   /* of this topic only; KINDS: all */
    uint32_t first, last, count, initial, repeated;
    uint64_t missed;
    int status;
};

static void on_event(tram_subscription *subscription, const struct tram_view *view, int status,
                     void *arg) {
    struct seen *seen = arg;
    uint32_t number;

    (void) subscription;
    if (!view) {
        seen->status = status;
        return;
    }
    CHECK_EQ(view->size, SIZE);
    memcpy(&number, view->data, sizeof(number));
    seen->missed += view->missed;
    if (view->flags & TRAM_VIEW_INITIAL) {
        seen->initial++;
        return;
    } else if (view->attempt > 1 && number == seen->last) {
        seen->repeated++;
        return;
    } else if (seen->last > 0 && (seen->kind == KINDS || view->missed == 0)) {
        if (number != seen->last + (seen->kind == KINDS ? 1 + view->missed : KINDS))
            FAIL("after %u and %u missed comes %u", seen->last, (unsigned) view->missed, number);
    } else if (seen->last >= number) {
        FAIL("after %u comes %u", seen->last, number);
    }
    CHECK(seen->kind == KINDS || number % KINDS == seen->kind);
    seen->first = seen->count++ == 0 ? number : seen->first;
    seen->last = number;
}

static void subscribe(tram_client *client, struct seen *seen, const char *topic,
                      enum tram_delivery delivery, const char *durable, uint32_t initial) {
    struct tram_subscribe_options options = TRAM_SUBSCRIBE_OPTIONS_INIT;

    options.delivery = delivery;
    options.durable = durable;
    options.initial = initial;
    *seen = (struct seen){.kind = topic ? (uint32_t) (*topic - 'a') : KINDS};
    CHECK_OK(tram_client_subscribe(client, 1, topic, &options, on_event, seen,
                                   &seen->subscription));
}

struct at {
    struct twin twin;
    pid_t server;
    tram_worker *worker;
    tram_client *client;
    struct shared *shared;
};

static void begin_with(struct at *at, uint64_t ring, int64_t patience) {
    *at = (struct at){.server = 0};
    at->shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(at->shared != MAP_FAILED);
    at->shared->ring = ring;
    at->shared->patience = patience;
    twin_start(&at->twin);
    twin_be(&at->twin, 1);
    at->server = test_fork(serve, at->shared);
    twin_be(&at->twin, 0);
    at->worker = pair_worker(0);
    at->client = pair_client(at->worker, "svc://news", TRAM_CLIENT_WAIT, NULL, NULL);
    CHECK_OK(tram_client_wait(at->client, pair_patience()));
}

static void begin(struct at *at) {
    begin_with(at, 0, PATIENT);
}

static void finish(struct at *at) {
    CHECK(!tram_client_free(at->client));
    CHECK(!tram_worker_free(at->worker));
    test_kill(at->server);
    CHECK_OK(munmap(at->shared, 4096));
    twin_kill(&at->twin, 0);
    twin_kill(&at->twin, 1);
}

static void go(struct at *at, uint32_t count) {
    (void) __atomic_add_fetch(&at->shared->go, count, __ATOMIC_RELAXED);
}

static uint32_t number_of(const struct at *at) {
    return __atomic_load_n(&at->shared->number, __ATOMIC_RELAXED);
}

static uint32_t ask(struct at *at, uint32_t code, uint32_t count) {
    tram_reply *reply;
    uint32_t number;

    CHECK_OK(tram_client_call(at->client, code, &count, sizeof(count), NULL, &reply));
    memcpy(&number, tram_reply_view(reply)->data, sizeof(number));
    (void) tram_reply_free(reply);
    return number;
}

/* How many readers have this in their names, in that host's folder; `reading`: in a ring. */
static int readers(const struct twin *twin, int host, const char *part, bool reading) {
    char path[600];
    int count = 0;
    glob_t found;

    (void) snprintf(path, sizeof(path), "%s/default/events/*%s*", twin->dir[host], part);
    if (glob(path, 0, NULL, &found) != 0)
        return 0;
    for (size_t i = 0; i < found.gl_pathc; i++) {
        uint64_t topic = 0;
        int fd = strstr(found.gl_pathv[i], ".new") ? -1 : open(found.gl_pathv[i], O_RDONLY);

        if (fd >= 0 && pread(fd, &topic, sizeof(topic), 24) == 8)
            count += !reading || topic != 0;
        (void) close(fd);
    }
    globfree(&found);
    return count;
}

static void pass(struct at *at, int ms) {
    int64_t until = pair_now() + (int64_t) ms * 1000000;

    while (pair_now() < until)
        pair_turn(at->worker);
}

/* Up to that one, each once. */
static void all_have(struct at *at, struct seen *seen, int count, uint32_t last) {
    for (int i = 0; i < count; i++)
        UNTIL(at->worker, seen[i].last + (seen[i].kind < KINDS ? KINDS - 1 : 0) >= last);
    for (int i = 0; i < count; i++) {
        CHECK_EQ(seen[i].status, 0);
        CHECK_EQ(seen[i].missed, 0);
        CHECK_EQ(seen[i].repeated, 0);
    }
}

/* Bytes that the server's host has written to its link. */
static uint64_t bytes_out(const struct at *at) {
    char command[700], text[4096];
    const char *found;
    size_t got;
    FILE *pipe;

    (void) snprintf(command, sizeof(command), "TRAM_DIR=%s %s links --json", at->twin.dir[1],
                    test_program("../bin/tram"));
    pipe = popen(command, "r");
    CHECK(pipe);
    got = fread(text, 1, sizeof(text) - 1, pipe);
    CHECK_EQ(pclose(pipe), 0);
    text[got] = '\0';
    found = strstr(text, "\"bytes_out\":");
    CHECK(found);
    return strtoull(found + strlen("\"bytes_out\":"), NULL, 10);
}

/* ---- tests ----------------------------------------------------------------------------------- */

#define MANY 8
#define EVENTS 2000u

static uint64_t bytes_of(struct at *at, struct seen *seen, int count) {
    uint64_t before;
    uint32_t first;

    UNTIL(at->worker, readers(&at->twin, 0, "@", true) == count);
    before = bytes_out(at);
    first = ask(at, GO, EVENTS);
    for (int i = 0; i < count; i++)
        UNTIL(at->worker, seen[i].last == first + EVENTS);
    return bytes_out(at) - before;
}

TEST_TIMEOUT(eight_cost_what_one_does, 60) {
    struct seen seen[MANY];
    uint64_t one, eight;
    struct at at;

    begin(&at);
    subscribe(at.client, &seen[0], NULL, TRAM_DELIVER_LATEST_ALL, NULL, 0);
    one = bytes_of(&at, seen, 1);
    for (int i = 1; i < MANY; i++)
        subscribe(at.client, &seen[i], NULL, TRAM_DELIVER_LATEST_ALL, NULL, 0);
    eight = bytes_of(&at, seen, MANY);
    (void) printf("bytes of %u events: to one %llu, to %d %llu\n", EVENTS,
                  (unsigned long long) one, MANY, (unsigned long long) eight);
    CHECK(one > EVENTS * SIZE);
    CHECK(eight * 10 <= one * 11);
    for (int i = 0; i < MANY; i++)
        CHECK_EQ(seen[i].missed, 0);
    finish(&at);
}

/* What nobody wants does not cross; when nobody wants anything, nothing does. */
TEST_TIMEOUT(only_what_is_wanted_crosses, 60) {
    struct seen seen[2];
    uint64_t before;
    uint32_t first;
    struct at at;

    begin(&at);
    subscribe(at.client, &seen[0], "a/*", TRAM_DELIVER_LATEST_ALL, NULL, 0);
    subscribe(at.client, &seen[1], "a/x", TRAM_DELIVER_LATEST_ALL, NULL, 0);
    UNTIL(at.worker, readers(&at.twin, 0, "@", true) == 2);
    before = bytes_out(&at);
    first = ask(&at, GO, EVENTS);
    for (int i = 0; i < 2; i++)
        UNTIL(at.worker, seen[i].last + KINDS > first + EVENTS);
    CHECK(bytes_out(&at) - before < EVENTS * SIZE / 2);
    for (int i = 0; i < 2; i++) {
        CHECK_EQ(seen[i].missed, 0);
        CHECK(!tram_subscription_free(seen[i].subscription));
    }
    UNTIL(at.worker, readers(&at.twin, 1, "@", false) == 0);
    CHECK_EQ(readers(&at.twin, 0, "@", false), 0);
    before = bytes_out(&at);
    (void) ask(&at, GO, EVENTS);
    while (ask(&at, GO, 0) < first + 2 * EVENTS)
        pair_turn(at.worker);
    CHECK(bytes_out(&at) - before < EVENTS * SIZE / 2);
    finish(&at);
}

/* A subscriber gets what is cached, then all that comes behind, with no hole; also what is
 * published by a request behind the subscription, before any relay stands. */
TEST_TIMEOUT(late_one_gets_what_is_cached, 60) {
    struct seen seen[2];
    uint32_t last;
    struct at at;

    begin(&at);
    CHECK_EQ(ask(&at, KEEP, 0), 1);
    for (int i = 0; i < 2; i++) {
        subscribe(at.client, &seen[i], i ? NULL : "b/*", TRAM_DELIVER_LATEST_ALL, NULL, 1);
        last = ask(&at, GO, 300) + 300;
        UNTIL(at.worker, seen[i].last + (i ? 0 : KINDS - 1) >= last);
        CHECK_EQ(seen[i].initial, 1);
        CHECK_EQ(seen[i].first, i ? 302 : 1 + KINDS);
        CHECK_EQ(seen[i].missed, 0);
        UNTIL(at.worker, readers(&at.twin, 0, "@", true) == i + 1);
    }
    finish(&at);
}

/* Whatever dies, or hangs for longer than the heartbeat allows. */
static void harm(struct at *at, int step) {
    int host = step & 1;

    if (step % 5 == 4) {
        CHECK_OK(kill(at->twin.daemon[host], SIGSTOP));
        pass(at, 300);
        CHECK_OK(kill(at->twin.daemon[host], SIGCONT));
        return;
    }
    twin_kill(&at->twin, host);
    pass(at, 20 * (step % 4));
    twin_run(&at->twin, host);
}

static void storm(int steps) {
    struct seen seen[5];
    uint32_t last = 0;
    struct at at;

    begin(&at);
    subscribe(at.client, &seen[0], NULL, TRAM_DELIVER_LATEST_ALL, NULL, 0);
    subscribe(at.client, &seen[1], NULL, TRAM_DELIVER_BLOCK, NULL, 0);
    subscribe(at.client, &seen[2], "a/*", TRAM_DELIVER_LATEST_ALL, NULL, 0);
    subscribe(at.client, &seen[3], NULL, TRAM_DELIVER_BLOCK, "lasts", 0);
    subscribe(at.client, &seen[4], "b/x", TRAM_DELIVER_BLOCK, NULL, 0);
    UNTIL(at.worker, readers(&at.twin, 0, "@", true) == 5);
    for (int step = 0; step < steps; step++) {
        go(&at, 500);
        pass(&at, 10);
        harm(&at, step);
    }
    last = (uint32_t) steps * 500;
    UNTIL(at.worker, number_of(&at) == last);
    all_have(&at, seen, 5, last);
    CHECK_EQ(seen[3].count, seen[1].count);
    finish(&at);
}

TEST_TIMEOUT(daemons_die_and_nothing_is_lost, 100) {
    const char *steps = getenv("RELAY_STEPS");

    storm(steps ? atoi(steps) : 6);
}

struct child {
    int fd;
};

/* A process with a durable subscription: it says each number. */
static void durable(void *arg) {
    struct child *child = arg;
    tram_worker *worker = pair_worker(0);
    tram_client *client = pair_client(worker, "svc://news", 0, NULL, NULL);
    struct seen seen;
    uint32_t said = 0;

    subscribe(client, &seen, NULL, TRAM_DELIVER_LATEST_ALL, "stays", 0);
    for (;;) {
        pair_turn(worker);
        if (seen.last != said || seen.missed > 0) {
            uint32_t words[2] = {seen.first, seen.last};

            if (seen.missed > 0)
                words[0] = 0;
            CHECK_EQ(write(child->fd, words, sizeof(words)), sizeof(words));
            said = seen.last;
        }
    }
}

/* One whose subscription ends with it. */
static void fleeting(void *arg) {
    tram_worker *worker = pair_worker(0);
    tram_client *client = pair_client(worker, "svc://news", 0, NULL, NULL);
    struct seen seen;

    (void) arg;
    subscribe(client, &seen, NULL, TRAM_DELIVER_LATEST_ALL, NULL, 0);
    for (;;)
        pair_turn(worker);
}

/* What it says until it has come to `last`: first is the first that it ever got. */
static uint32_t until(struct at *at, int fd, uint32_t last) {
    uint32_t words[2];

    do {
        ssize_t got;

        while ((got = read(fd, words, sizeof(words))) < 0 && errno == EAGAIN)
            pair_turn(at->worker);
        CHECK_EQ(got, sizeof(words));
        CHECK(words[0] > 0);
    } while (words[1] < last);
    CHECK_EQ(words[1], last);
    return words[0];
}

TEST_TIMEOUT(durable_one_goes_on, 60) {
    struct child child;
    struct at at;
    uint32_t last;
    int fds[2];
    pid_t pid;

    begin(&at);
    CHECK_OK(pipe2(fds, O_NONBLOCK));
    child.fd = fds[1];
    pid = test_fork(durable, &child);
    UNTIL(at.worker, readers(&at.twin, 0, "@=stays", true) == 1);
    last = ask(&at, GO, 200) + 200;
    (void) until(&at, fds[0], last);
    test_kill(pid);
    go(&at, 300); /* while it is away, and one daemon after the other */
    pass(&at, 20);
    twin_kill(&at.twin, 0);
    twin_run(&at.twin, 0);
    go(&at, 300);
    pass(&at, 20);
    twin_kill(&at.twin, 1);
    twin_run(&at.twin, 1);
    pid = test_fork(durable, &child);
    CHECK(until(&at, fds[0], last + 600) - last <= 1);
    test_kill(pid);
    (void) close(fds[0]);
    (void) close(fds[1]);
    finish(&at);
}

/* A process with back-pressure, which is stopped: it says how its subscription ends. */
static void slow(void *arg) {
    struct child *child = arg;
    tram_worker *worker = pair_worker(0);
    tram_client *client = pair_client(worker, "svc://news", 0, NULL, NULL);
    struct seen seen;

    subscribe(client, &seen, NULL, TRAM_DELIVER_BLOCK, NULL, 0);
    UNTIL(worker, seen.status != 0);
    CHECK_EQ(write(child->fd, &seen.status, sizeof(seen.status)), sizeof(seen.status));
}

/* It holds the publisher up, for a second, and is cut off; another one with back-pressure misses
 * nothing. */
TEST_TIMEOUT(who_does_not_read_is_cut_off, 60) {
    struct child child;
    struct seen seen;
    struct at at;
    int fds[2], status;
    pid_t pid;

    begin_with(&at, 65536, PATIENT);
    subscribe(at.client, &seen, NULL, TRAM_DELIVER_BLOCK, NULL, 0);
    CHECK_OK(pipe2(fds, O_NONBLOCK));
    child.fd = fds[1];
    pid = test_fork(slow, &child);
    UNTIL(at.worker, readers(&at.twin, 0, "@", true) == 2);
    CHECK_OK(kill(pid, SIGSTOP)); /* not for long: all wait for it */
    go(&at, 3000);
    pass(&at, 300);
    CHECK(number_of(&at) < 3000);
    CHECK_OK(kill(pid, SIGCONT));
    UNTIL(at.worker, seen.last == 3000);
    pass(&at, 20);
    CHECK_EQ(read(fds[0], &status, sizeof(status)), -1);
    CHECK_OK(kill(pid, SIGSTOP));
    go(&at, 3000);
    UNTIL(at.worker, seen.last == 6000);
    CHECK_EQ(seen.missed, 0);
    CHECK_EQ(seen.status, 0);
    CHECK_EQ(read(fds[0], &status, sizeof(status)), -1);
    CHECK_OK(kill(pid, SIGCONT));
    for (status = 0; read(fds[0], &status, sizeof(status)) < 0;)
        pair_turn(at.worker);
    CHECK_EQ(status, -EPIPE);
    JOIN(pid);
    (void) close(fds[0]);
    (void) close(fds[1]);
    finish(&at);
}

/* ---- who sleeps ------------------------------------------------------------------------------ */

static void on_one(tram_subscription *subscription, const struct tram_view *view, int status,
                   void *arg) {
    struct child *child = arg;

    (void) subscription;
    CHECK(view && status == 0);
    CHECK_EQ(write(child->fd, "x", 1), 1);
}

/* A process that does nothing until it is rung. */
static void sleeper(void *arg) {
    tram_worker *worker = pair_worker(0);
    tram_client *client = pair_client(worker, "svc://news", 0, NULL, NULL);
    tram_subscription *subscription;

    CHECK_OK(tram_client_subscribe(client, 1, NULL, NULL, on_one, arg, &subscription));
    (void) tram_worker_run(worker);
}

/* It is rung for each event, by the daemon here: nobody else knows of it. Else it would look again
 * after a second, then after two, and so on. */
TEST_TIMEOUT(who_sleeps_is_rung, 60) {
    struct child child;
    int64_t began;
    struct at at;
    int fds[2];
    pid_t pid;
    char byte;

    begin(&at);
    CHECK_OK(pipe2(fds, O_NONBLOCK));
    child.fd = fds[1];
    pid = test_fork(sleeper, &child);
    UNTIL(at.worker, readers(&at.twin, 0, "@", true) == 1);
    go(&at, 1);
    UNTIL(at.worker, read(fds[0], &byte, 1) == 1);
    began = pair_now();
    for (int i = 0; i < 8; i++) {
        pass(&at, 20);
        go(&at, 1);
        UNTIL(at.worker, read(fds[0], &byte, 1) == 1);
    }
    CHECK(pair_now() - began < INT64_C(4000000000));
    test_kill(pid);
    (void) close(fds[0]);
    (void) close(fds[1]);
    finish(&at);
}

/* ---- what is lost is counted ----------------------------------------------------------------- */

static void rest_until(struct at *at, uint32_t number) {
    int64_t until = pair_now() + pair_patience();

    while (number_of(at) < number) { /* our worker does not turn */
        CHECK(pair_now() < until);
        kit_pause();
    }
}

/* All but those that it was told it missed. */
static void all_are_counted(const struct seen *seen, uint32_t last, bool some) {
    CHECK_EQ(seen->status, 0);
    CHECK(!some || seen->missed > 0);
    CHECK_EQ(seen->first, seen->kind == KINDS ? 1 : KINDS);
    if (seen->kind == KINDS)
        CHECK_EQ(seen->count + seen->missed, last);
}

/* One that does not read is lapped in the copy; when this host is cut off, the copy is lapped, and
 * all who read it. */
TEST_TIMEOUT(what_is_lost_is_counted, 60) {
    struct seen seen[3];
    uint64_t before;
    struct at at;

    begin_with(&at, 65536, PATIENT);
    subscribe(at.client, &seen[0], NULL, TRAM_DELIVER_LATEST_ALL, NULL, 0);
    subscribe(at.client, &seen[1], NULL, TRAM_DELIVER_LATEST_ALL, "keeps", 0);
    subscribe(at.client, &seen[2], "a/*", TRAM_DELIVER_LATEST_ALL, NULL, 0);
    UNTIL(at.worker, readers(&at.twin, 0, "@", true) == 3);
    go(&at, 10);
    UNTIL(at.worker, seen[0].last == 10 && seen[1].last == 10 && seen[2].last == 9);
    go(&at, 3000);
    rest_until(&at, 3010);
    UNTIL(at.worker, seen[0].last == 3010 && seen[1].last == 3010 && seen[2].last == 3009);
    for (int i = 0; i < 3; i++)
        all_are_counted(&seen[i], 3010, true);
    for (uint32_t turn = 1, last; turn <= 4; turn++) {
        before = seen[0].missed;
        last = 3010 + turn * 3000;
        CHECK_OK(kill(at.twin.daemon[0], SIGSTOP)); /* nothing is on its way any more */
        if (turn % 2 == 0)
            twin_kill(&at.twin, 0);
        go(&at, 2990);
        rest_until(&at, last - 10);
        if (turn % 2 == 0)
            twin_run(&at.twin, 0);
        else
            CHECK_OK(kill(at.twin.daemon[0], SIGCONT));
        go(&at, 10);
        UNTIL(at.worker, seen[0].last == last && seen[1].last == last &&
                             seen[2].last + KINDS > last);
        CHECK(seen[0].missed > before);
        for (int i = 0; i < 3; i++)
            all_are_counted(&seen[i], last, true);
    }
    finish(&at);
}

/* ---- the server dies ------------------------------------------------------------------------- */

/* And goes on in its ring: so do all who read the copy of it, whichever daemon died with it. */
TEST_TIMEOUT(server_dies_and_goes_on, 60) {
    struct seen seen[4];
    uint32_t last = 0;
    struct at at;

    begin(&at);
    subscribe(at.client, &seen[0], NULL, TRAM_DELIVER_LATEST_ALL, NULL, 0);
    subscribe(at.client, &seen[1], NULL, TRAM_DELIVER_BLOCK, NULL, 0);
    subscribe(at.client, &seen[2], "b/*", TRAM_DELIVER_LATEST_ALL, NULL, 0);
    subscribe(at.client, &seen[3], NULL, TRAM_DELIVER_LATEST_ALL, "lasts", 0);
    UNTIL(at.worker, readers(&at.twin, 0, "@", true) == 4);
    for (int turn = 0; turn < 4; turn++) {
        go(&at, 300);
        last += 300;
        UNTIL(at.worker, number_of(&at) == last);
        if (turn & 1)
            twin_kill(&at.twin, 0);
        test_kill(at.server); /* what it published last may not have crossed */
        pass(&at, 30 * turn);
        if (turn & 2)
            twin_kill(&at.twin, 1);
        if (turn & 2)
            twin_run(&at.twin, 1);
        twin_be(&at.twin, 1);
        at.server = test_fork(serve, at.shared);
        twin_be(&at.twin, 0);
        if (turn & 1)
            twin_run(&at.twin, 0);
    }
    go(&at, 300);
    last += 300;
    all_have(&at, seen, 4, last);
    finish(&at);
}

/* ---- who can't wait, and what is left -------------------------------------------------------- */

/* A publisher is held up by who has back-pressure on a host that is not heard of, for its patience;
 * those end, and are told. Who has none is told what it missed. */
TEST_TIMEOUT(back_pressure_ends_with_patience, 60) {
    struct seen seen[3];
    struct at at;

    begin_with(&at, 65536, INT64_C(300000000));
    subscribe(at.client, &seen[0], NULL, TRAM_DELIVER_BLOCK, NULL, 0);
    subscribe(at.client, &seen[1], NULL, TRAM_DELIVER_BLOCK, "holds", 0);
    subscribe(at.client, &seen[2], NULL, TRAM_DELIVER_LATEST_ALL, NULL, 0);
    UNTIL(at.worker, readers(&at.twin, 0, "@", true) == 3);
    go(&at, 10);
    UNTIL(at.worker, seen[0].last == 10 && seen[1].last == 10 && seen[2].last == 10);
    CHECK_OK(kill(at.twin.daemon[0], SIGSTOP));
    go(&at, 3000);
    rest_until(&at, 3010);
    CHECK_OK(kill(at.twin.daemon[0], SIGCONT));
    UNTIL(at.worker, seen[0].status != 0 && seen[1].status != 0 && seen[2].last == 3010);
    CHECK_EQ(seen[0].status, -EPIPE);
    CHECK_EQ(seen[1].status, -EPIPE);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(seen[i].count + seen[i].missed, seen[i].last); /* up to there, without a hole */
    all_are_counted(&seen[2], 3010, true);
    /* And again, once it subscribes anew. */
    CHECK(!tram_subscription_free(seen[0].subscription));
    subscribe(at.client, &seen[0], NULL, TRAM_DELIVER_BLOCK, NULL, 0);
    UNTIL(at.worker, readers(&at.twin, 0, "@", true) == 3);
    go(&at, 3000);
    UNTIL(at.worker, seen[0].last == 6010);
    CHECK_EQ(seen[0].missed, 0);
    CHECK_EQ(seen[0].status, 0);
    finish(&at);
}

/* Readers that end, also while daemons are dead, leave nothing on either host. */
TEST_TIMEOUT(what_is_left_goes, 60) {
    struct at at;
    pid_t pid;

    begin(&at);
    for (int turn = 0; turn < 3; turn++) {
        pid = test_fork(fleeting, NULL);
        UNTIL(at.worker, readers(&at.twin, 0, "@", true) == 1);
        UNTIL(at.worker, readers(&at.twin, 1, "@=.relay.", true) == 1);
        if (turn > 0)
            twin_kill(&at.twin, 0);
        test_kill(pid);
        if (turn > 1)
            twin_kill(&at.twin, 1);
        if (turn > 0)
            twin_run(&at.twin, 0);
        if (turn > 1)
            twin_run(&at.twin, 1);
        UNTIL(at.worker, readers(&at.twin, 0, "@", false) == 0);
        UNTIL(at.worker, readers(&at.twin, 1, "@", false) == 0);
        UNTIL(at.worker, readers(&at.twin, 0, "1.1.5.1-", false) == 0); /* nor the copy */
    }
    finish(&at);
}

/* ---- a server that writes nonsense ----------------------------------------------------------- */

/* Flags in all records of its ring that no event has: the other host would end the link for it. */
static void spoil(const struct at *at) {
    char path[600];
    struct topic words;
    uint64_t pos, end;
    glob_t found;
    int fd;

    (void) snprintf(path, sizeof(path), "%s/default/events/*-????????", at->twin.dir[1]);
    CHECK_EQ(glob(path, 0, NULL, &found), 0);
    fd = CHECK_OK(open(found.gl_pathv[0], O_RDWR));
    globfree(&found);
    CHECK_EQ(pread(fd, &words, sizeof(words), 0), sizeof(words));
    end = WORD_POSITION(words.tail);
    for (pos = WORD_POSITION(words.floor); pos < end;) {
        off_t at_byte = (off_t) (LAYOUT_DATA + (pos & (words.capacity - 1)));
        struct topic_record record;

        CHECK_EQ(pread(fd, &record, sizeof(record), at_byte), sizeof(record));
        record.flags |= FRAME_INITIAL;
        CHECK_EQ(pwrite(fd, &record, sizeof(record), at_byte), sizeof(record));
        pos += topic_span(record.size);
    }
    (void) close(fd);
}

TEST_TIMEOUT(nonsense_of_a_server_ends_no_link, 60) {
    char command[700];
    struct seen seen;
    struct at at;

    begin(&at);
    subscribe(at.client, &seen, NULL, TRAM_DELIVER_LATEST_ALL, NULL, 0);
    UNTIL(at.worker, readers(&at.twin, 0, "@", true) == 1);
    CHECK_OK(kill(at.twin.daemon[1], SIGSTOP));
    go(&at, 10);
    rest_until(&at, 10);
    spoil(&at);
    CHECK_OK(kill(at.twin.daemon[1], SIGCONT));
    UNTIL(at.worker, seen.last == 10);
    go(&at, 10);
    UNTIL(at.worker, seen.last == 20);
    CHECK_EQ(seen.missed, 0);
    (void) snprintf(command, sizeof(command), "grep -q 'can be none' %s.log", at.twin.dir[0]);
    CHECK(system(command) != 0);
    finish(&at);
}
