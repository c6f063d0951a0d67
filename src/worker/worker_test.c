/* SPDX-License-Identifier: MIT
 *
 * What the service layer sees of a worker: ports, parking, taking, peers, room, blocking calls.
 */
#include "worker/worker.h"

#include <string.h>

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
