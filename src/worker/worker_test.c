/* SPDX-License-Identifier: MIT
 *
 * What the service layer sees of a worker: ports, parking, taking, peers, room, blocking calls.
 */
#include "worker/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "harness.h"

#define MS INT64_C(1000000)
#define S  INT64_C(1000000000)
#define SELF  TRAM_ID(1, 0, 0, 1)
#define OTHER TRAM_ID(1, 0, 0, 2)

static tram_worker *make(tram_id id) {
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    tram_worker *worker;

    options.id = id;
    CHECK_OK(tram_worker_new(&options, &worker));
    return worker;
}

static tram_node *open_other(void) {
    tram_node *node;

    CHECK_OK(tram_open(NULL, OTHER, NULL, &node));
    return node;
}

/* A message to a port. */
static void send_to(tram_node *node, tram_id to, uint32_t port, const char *text) {
    struct tram_meta meta = {.tag = 7};
    struct iovec piece = {.iov_base = (void *) (uintptr_t) text, .iov_len = strlen(text)};

    meta.layer[0] = 1;
    memcpy(meta.layer + 4, &port, sizeof(port));
    CHECK_OK(tram_sendv(node, to, &meta, &piece, 1, 0, S));
}

struct port {
    struct worker_port port;
    char got[256];
    unsigned count, enough;
    bool done;
    struct worker_message *taken;
    bool take;
};

static void on_message(struct worker_port *at, struct worker_message *message) {
    struct port *port = (struct port *) at;

    (void) strncat(port->got, message->msg.data, message->msg.size);
    port->count++;
    if (port->take)
        port->taken = worker_take(message);
    if (port->count == port->enough) {
        port->done = true;
        (void) tram_worker_stop(message->worker, 0);
    }
}

static void add(tram_worker *worker, struct port *port, uint32_t number, unsigned enough) {
    *port = (struct port){.port = {.port = number, .on_message = on_message}, .enough = enough};
    CHECK_OK(worker_port_add(worker, &port->port));
}

TEST(port_gets_its_messages) {
    tram_worker *worker = make(SELF);
    tram_node *node = open_other();
    struct port one, two;

    add(worker, &one, 1, 99);
    add(worker, &two, 70000, 2);
    CHECK_ERR(worker_port_add(worker, &one.port), -EADDRINUSE);
    send_to(node, SELF, 1, "a");
    send_to(node, SELF, 70000, "x");
    send_to(node, SELF, 1, "b");
    send_to(node, SELF, 70000, "y");
    CHECK_EQ(tram_worker_run(worker), 0);
    CHECK_STR(one.got, "ab");
    CHECK_STR(two.got, "xy");
    tram_worker_free(worker);
    tram_close(node);
}

static void tick(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    (void) timer, (void) late_ns, (void) missed;
    (void) tram_worker_stop(arg, 3);
}

TEST(timer_ends_the_run) {
    tram_worker *worker = make(SELF);
    tram_timer *timer;

    CHECK_OK(tram_timer_new(worker, tick, worker, &timer));
    CHECK_OK(tram_timer_set(timer, 5 * MS, 0));
    CHECK_EQ(tram_worker_run(worker), 3);
    tram_worker_free(worker);
}

static void job(tram_worker *worker, void *arg) {
    unsigned *count = arg;

    CHECK(tram_worker_current() == worker);
    ++*count;
}

TEST(thread_runs_jobs) {
    tram_worker *worker = make(SELF);
    unsigned count = 0;

    CHECK_OK(tram_worker_start(worker));
    for (int i = 0; i < 100; i++)
        CHECK_OK(tram_worker_post(worker, job, &count, 0));
    CHECK_OK(tram_worker_call(worker, job, NULL, &count, 0, 5 * S));
    CHECK_EQ(count, 101);
    CHECK_OK(tram_worker_stop(worker, 4));
    CHECK_EQ(tram_worker_join(worker), 4);
    CHECK_ERR(tram_worker_join(worker), -ESRCH);
    tram_worker_free(worker);
}

TEST(pump_hands_on_one_port_only) {
    tram_worker *worker = make(SELF);
    tram_node *node = open_other();
    struct port one, two;
    bool never = false;

    add(worker, &one, 1, 3);
    add(worker, &two, 2, 2);
    send_to(node, SELF, 1, "a");
    send_to(node, SELF, 2, "x");
    send_to(node, SELF, 1, "b");
    send_to(node, SELF, 2, "y");
    send_to(node, SELF, 1, "c");
    CHECK_OK(worker_pump(worker, &two.port, &two.done, INT64_MAX));
    CHECK_STR(one.got, "");
    CHECK_STR(two.got, "xy");
    CHECK_ERR(worker_pump(worker, &two.port, &never, worker_now(worker) + 20 * MS),
              -ETIMEDOUT);
    CHECK_EQ(tram_worker_run(worker), 0); /* the stop of two */
    CHECK_EQ(tram_worker_run(worker), 0);
    CHECK_STR(one.got, "abc");
    tram_worker_free(worker);
    tram_close(node);
}

struct peer {
    struct worker_peer peer;
    unsigned ups, downs, spaces;
};

static void on_state(struct worker_peer *at, bool up, int32_t pid) {
    struct peer *peer = (struct peer *) at;

    (void) pid;
    if (up)
        peer->ups++;
    else
        peer->downs++;
}

static void settle(tram_worker *worker) {
    tram_timer *timer;

    CHECK_OK(tram_timer_new(worker, tick, worker, &timer));
    CHECK_OK(tram_timer_set(timer, 20 * MS, 0));
    CHECK_EQ(tram_worker_run(worker), 3);
    tram_timer_free(timer);
}

TEST(peers_are_told) {
    tram_worker *worker = make(SELF);
    tram_node *node = open_other();
    struct peer a = {.peer = {.on_state = on_state}}, b = a;

    CHECK_OK(worker_peer_add(worker, &a.peer, OTHER));
    settle(worker);
    CHECK_EQ(a.ups, 1);
    CHECK_OK(worker_peer_add(worker, &b.peer, OTHER));
    CHECK_EQ(b.ups, 0);
    settle(worker);
    CHECK_EQ(a.ups, 1);
    CHECK_EQ(b.ups, 1);
    node = tram_close(node);
    settle(worker);
    CHECK_EQ(a.downs, 1);
    CHECK_EQ(b.downs, 1);
    worker_peer_remove(worker, &a.peer);
    worker_peer_remove(worker, &b.peer);
    tram_worker_free(worker);
}

static void count_plain(tram_worker *worker, const struct tram_msg *msg, void *arg) {
    (void) worker;
    (void) msg;
    ++*(unsigned *) arg;
}

/* A third of a second, in which there is nothing to do. */
static void rests(tram_worker *worker) {
    struct rusage before, after;
    tram_timer *timer;
    int64_t spent;

    CHECK_OK(tram_timer_new(worker, tick, worker, &timer));
    CHECK_OK(tram_timer_set(timer, 333 * MS, 0));
    CHECK_OK(getrusage(RUSAGE_THREAD, &before));
    CHECK_EQ(tram_worker_run(worker), 3);
    CHECK_OK(getrusage(RUSAGE_THREAD, &after));
    tram_timer_free(timer);
    spent = (after.ru_utime.tv_sec - before.ru_utime.tv_sec +
             after.ru_stime.tv_sec - before.ru_stime.tv_sec) * 1000000 +
            after.ru_utime.tv_usec - before.ru_utime.tv_usec +
            after.ru_stime.tv_usec - before.ru_stime.tv_usec;
    if (spent > 50000)
        FAIL("%.1f ms of CPU for nothing", (double) spent / 1000);
}

TEST(who_takes_no_messages_is_not_kept_awake_by_them) {
    tram_worker *worker = make(SELF);
    tram_node *node = open_other();
    struct peer a = {.peer = {.on_state = on_state}};
    unsigned count = 0;

    CHECK_OK(tram_send(node, SELF, 0, "1", 1, 0));
    CHECK_OK(tram_worker_on_message(worker, count_plain, &count));
    settle(worker); /* it slept, so that the next one rings */
    CHECK_EQ(count, 1);
    CHECK_OK(tram_worker_on_message(worker, NULL, NULL));
    CHECK_OK(tram_send(node, SELF, 0, "2", 1, 0));
    rests(worker);
    CHECK_OK(worker_peer_add(worker, &a.peer, OTHER)); /* now it wants to hear of something */
    rests(worker);
    CHECK_EQ(a.ups, 1);
    CHECK_OK(tram_worker_on_message(worker, count_plain, &count));
    settle(worker);
    CHECK_EQ(count, 2);
    CHECK_OK(tram_worker_on_message(worker, NULL, NULL));
    CHECK_OK(tram_send(node, SELF, 0, "3", 1, 0));
    node = tram_close(node);
    settle(worker);
    settle(worker);
    CHECK_EQ(a.downs, 1);
    worker_peer_remove(worker, &a.peer);
    rests(worker);
    tram_worker_free(worker);
}

static void on_space(struct worker_peer *at) {
    ((struct peer *) at)->spaces++;
}

/* The core owes one event of room, and a send of anybody that goes through takes it. */
TEST(room_is_found_though_a_plain_send_took_the_event) {
    tram_worker *worker = make(SELF);
    tram_node *other = open_other(), *mine = tram_worker_node(worker);
    struct peer a = {.peer = {.on_state = on_state, .on_space = on_space}};
    static char block[8000];
    struct tram_msg msg;
    int rc;

    CHECK_OK(worker_peer_add(worker, &a.peer, OTHER));
    settle(worker);
    while ((rc = tram_send(mine, OTHER, 0, block, sizeof(block), TRAM_NOWAIT)) == 0)
        ;
    CHECK_ERR(rc, -EAGAIN);
    worker_want_space(worker, &a.peer);
    settle(worker);
    settle(worker);
    CHECK_EQ(a.spaces, 0);
    while (tram_recv(other, &msg, 0) == 0)
        ;
    CHECK_OK(tram_send(mine, OTHER, 0, "x", 1, TRAM_NOWAIT)); /* before anybody is told */
    settle(worker);
    settle(worker);
    CHECK_EQ(a.spaces, 1);
    worker_peer_remove(worker, &a.peer);
    tram_worker_free(worker);
    tram_close(other);
}

/* ---- what waits ------------------------------------------------------------------------------ */

static uint64_t consumed(tram_node *node) {
    struct tram_peer peer;

    CHECK_OK(tram_peer(node, SELF, &peer));
    return peer.to.consumed;
}

TEST(parked_until_the_port_comes) {
    tram_worker *worker = make(SELF);
    tram_node *node = open_other();
    struct port one, two;

    add(worker, &one, 1, 99);
    send_to(node, SELF, 2, "x");
    send_to(node, SELF, 1, "a");
    send_to(node, SELF, 2, "y");
    settle(worker);
    CHECK_STR(one.got, "a");
    CHECK_EQ(consumed(node), 0); /* of a channel's messages the first is still in hand */
    add(worker, &two, 2, 3);
    send_to(node, SELF, 2, "z");
    CHECK_EQ(tram_worker_run(worker), 0);
    CHECK_STR(two.got, "xyz");
    CHECK_EQ(consumed(node), 4);
    tram_worker_free(worker);
    tram_close(node);
}

static unsigned strangers;

static void refuse(tram_worker *worker, const struct tram_msg *msg) {
    CHECK_EQ(((const char *) msg->data)[0], 'x');
    if (++strangers == 2)
        CHECK_OK(tram_worker_stop(worker, 0));
}

static bool any(const struct tram_msg *msg) {
    return msg->size == 1;
}

TEST(hopeless_stranger_at_once) {
    tram_worker *worker = make(SELF);
    tram_node *node = open_other();
    int64_t start = worker_now(worker);
    struct port one;

    strangers = 0;
    add(worker, &one, 1, 99);
    worker_set_stranger(worker, refuse, any);
    send_to(node, SELF, 2, "x");
    send_to(node, SELF, 3, "x");
    CHECK_EQ(tram_worker_run(worker), 0);
    CHECK(worker_now(worker) - start < PARK_NS);
    CHECK_EQ(consumed(node), 2);
    tram_worker_free(worker);
    tram_close(node);
}

TEST(stranger_after_five_seconds) {
    tram_worker *worker = make(SELF);
    tram_node *node = open_other();
    int64_t start = worker_now(worker);
    struct port one;

    add(worker, &one, 1, 99);
    worker_set_stranger(worker, refuse, NULL);
    send_to(node, SELF, 2, "x");
    send_to(node, SELF, 3, "x");
    CHECK_EQ(tram_worker_run(worker), 0);
    CHECK(worker_now(worker) - start >= PARK_NS);
    CHECK_EQ(consumed(node), 2);
    tram_worker_free(worker);
    tram_close(node);
}

TEST(taken_and_released_later) {
    tram_worker *worker = make(SELF);
    tram_node *node = open_other();
    struct worker_message *first;
    struct port one;

    add(worker, &one, 1, 1);
    one.take = true;
    send_to(node, SELF, 1, "a");
    CHECK_EQ(tram_worker_run(worker), 0);
    first = one.taken;
    one.enough = 2;
    send_to(node, SELF, 1, "b");
    CHECK_EQ(tram_worker_run(worker), 0);
    CHECK(worker_release(one.taken) == NULL);
    CHECK_EQ(consumed(node), 0);
    CHECK_EQ(((const char *) first->msg.data)[0], 'a');
    CHECK(worker_release(first) == NULL);
    CHECK_EQ(consumed(node), 2);
    tram_worker_free(worker);
    tram_close(node);
}

/* More of one sender than may be in hand, and what is waited for comes behind them. */
TEST(pump_gets_past_what_it_parks) {
    tram_worker *worker = make(SELF);
    tram_node *node = open_other();
    struct port one, two;

    add(worker, &one, 1, 1500);
    add(worker, &two, 2, 1);
    for (int i = 0; i < 1500; i++)
        send_to(node, SELF, 1, "");
    send_to(node, SELF, 2, "x");
    CHECK_OK(worker_pump(worker, &two.port, &two.done, worker_now(worker) + 5 * S));
    CHECK_STR(two.got, "x");
    CHECK_EQ(one.count, 0);
    CHECK_EQ(tram_worker_run(worker), 0); /* the stop of two */
    CHECK_EQ(tram_worker_run(worker), 0);
    CHECK_EQ(one.count, 1500);
    CHECK_EQ(consumed(node), 1501);
    tram_worker_free(worker);
    tram_close(node);
}

/* ---- what runs in a blocking call ------------------------------------------------------------ */

static void count_timer(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    (void) timer, (void) late_ns, (void) missed;
    ++*(int *) arg;
}

static void count_io(tram_io *io, int fd, uint32_t events, void *arg) {
    (void) io, (void) fd, (void) events;
    ++*(int *) arg;
}

struct source {
    struct worker_source source;
    int turns, sleeps, wakes;
};

static bool source_turn(struct worker_source *at) {
    ((struct source *) at)->turns++;
    return false;
}

static bool source_sleep(struct worker_source *at) {
    ((struct source *) at)->sleeps++;
    return true;
}

static void source_wake(struct worker_source *at) {
    ((struct source *) at)->wakes++;
}

TEST(pump_runs_the_layer_only) {
    tram_worker *worker = make(SELF);
    struct source source = {
        .source = {.turn = source_turn, .sleep = source_sleep, .wake = source_wake}};
    int outer = 0, inner = 0, outer_io = 0, inner_io = 0, pipes[2], more[2];
    unsigned jobs = 0;
    tram_timer *a, *b;
    tram_io *io, *other;
    struct port one;
    bool never = false;

    add(worker, &one, 1, 99);
    CHECK_OK(pipe2(pipes, O_CLOEXEC));
    CHECK_OK(pipe2(more, O_CLOEXEC));
    CHECK_OK(tram_timer_new(worker, count_timer, &outer, &a));
    CHECK_OK(worker_inner_timer(worker, count_timer, &inner, &b));
    CHECK_OK(tram_timer_set(a, MS, MS));
    CHECK_OK(tram_timer_set(b, MS, MS));
    CHECK_OK(tram_io_new(worker, pipes[1], TRAM_IO_WRITE, count_io, &outer_io, &io));
    CHECK_OK(worker_inner_io(worker, more[1], TRAM_IO_WRITE, count_io, &inner_io, &other));
    CHECK_OK(tram_worker_post(worker, job, &jobs, 0));
    worker_source_add(worker, &source.source);
    CHECK_ERR(worker_pump(worker, &one.port, &never, worker_now(worker) + 20 * MS), -ETIMEDOUT);
    CHECK(inner >= 1 && inner_io >= 1 && source.turns >= 1);
    CHECK_EQ(outer + outer_io + (int) jobs, 0);
    CHECK_OK(tram_io_set(other, 0));
    CHECK_OK(tram_io_set(io, 0));
    settle(worker);
    CHECK(outer >= 1 && jobs == 1);
    CHECK(source.sleeps >= 1 && source.wakes >= source.sleeps);
    worker_source_remove(&source.source);
    tram_worker_free(worker);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(close(pipes[i]) + close(more[i]), 0);
}
