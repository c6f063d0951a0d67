/* SPDX-License-Identifier: MIT
 *
 * What a worker costs beside the bare rings.
 *
 *     worker_speed_prog count HUNDREDS   messages to a port, for worker_speed_test.py to count
 *     worker_speed_prog rtt ROUNDS       round trips: two workers, and two bare nodes
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/kit.h"
#include "worker/worker.h"

#define LEFT  TRAM_ID(1, 0, 0, 1)
#define RIGHT TRAM_ID(1, 0, 0, 2)
#define PORT  77u

static void must(int rc) {
    if (rc < 0) {
        (void) fprintf(stderr, "worker_speed: %s\n", strerror(-rc));
        exit(1);
    }
}

static void send_on(tram_node *node, tram_id to, uint32_t port) {
    struct tram_meta meta = {.tag = 1};
    char payload[32] = "";
    struct iovec piece = {.iov_base = payload, .iov_len = sizeof(payload)};

    meta.layer[0] = 1;
    memcpy(meta.layer + 4, &port, sizeof(port));
    must(tram_sendv(node, to, &meta, &piece, 1, 0, TRAM_FOREVER));
}

static tram_worker *make(tram_id id, uint32_t flags) {
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    tram_worker *worker;

    options.id = id;
    options.flags = flags;
    must(tram_worker_new(&options, &worker));
    return worker;
}

/* ---- counting -------------------------------------------------------------------------------- */

struct counter {
    struct worker_port port;
    long left;
};

static void on_count(struct worker_port *at, struct worker_message *message) {
    struct counter *counter = (struct counter *) at;

    if (--counter->left == 0)
        (void) tram_worker_stop(message->worker, 0);
}

static void count(long rounds) {
    tram_node *node = kit_open(NULL, LEFT, NULL);
    tram_worker *worker = make(RIGHT, TRAM_WORKER_NO_SPIN);
    struct counter counter = {.port = {.port = PORT, .on_message = on_count}};

    must(worker_port_add(worker, &counter.port));
    for (long round = 0; round < rounds; round++) {
        counter.left = 100;
        for (int i = 0; i < 100; i++)
            send_on(node, RIGHT, PORT);
        must(tram_worker_run(worker));
    }
    tram_worker_free(worker);
    tram_close(node);
}

/* ---- round trips ----------------------------------------------------------------------------- */

struct echo {
    struct worker_port port;
    tram_id to;
    long left; /* of who counts; -1: the other */
};

static void on_echo(struct worker_port *at, struct worker_message *message) {
    struct echo *echo = (struct echo *) at;

    if (echo->left > 0 && --echo->left == 0)
        (void) tram_worker_stop(message->worker, 0);
    else
        send_on(tram_worker_node(message->worker), echo->to, PORT);
}

static double rtt_of_workers(long rounds) {
    tram_worker *left = make(LEFT, TRAM_WORKER_SPIN), *right = make(RIGHT, TRAM_WORKER_SPIN);
    struct echo one = {.port = {.port = PORT, .on_message = on_echo}, .to = RIGHT, .left = rounds};
    struct echo two = {.port = {.port = PORT, .on_message = on_echo}, .to = LEFT, .left = -1};
    int64_t start;

    must(worker_port_add(left, &one.port));
    must(worker_port_add(right, &two.port));
    must(tram_worker_start(right));
    start = kit_now();
    send_on(tram_worker_node(left), RIGHT, PORT);
    must(tram_worker_run(left));
    start = kit_now() - start;
    tram_worker_free(right);
    tram_worker_free(left);
    return (double) start / (double) rounds;
}

static long bare_rounds;

static void *bare_echo(void *arg) {
    tram_node *node = arg;
    struct tram_msg msg;

    for (long i = 0; i < bare_rounds; i++) {
        must(tram_recv(node, &msg, TRAM_FOREVER));
        send_on(node, LEFT, PORT);
    }
    return NULL;
}

static double rtt_of_nodes(long rounds) {
    struct tram_options options = kit_options(0, TRAM_FOREVER);
    tram_node *left = kit_open(NULL, LEFT, &options), *right = kit_open(NULL, RIGHT, &options);
    struct tram_msg msg;
    pthread_t thread;
    int64_t start;

    bare_rounds = rounds;
    must(-pthread_create(&thread, NULL, bare_echo, right));
    start = kit_now();
    for (long i = 0; i < rounds; i++) {
        send_on(left, RIGHT, PORT);
        must(tram_recv(left, &msg, TRAM_FOREVER));
    }
    start = kit_now() - start;
    (void) pthread_join(thread, NULL);
    tram_close(right);
    tram_close(left);
    return (double) start / (double) rounds;
}

int main(int argc, char **argv) {
    long rounds = argc == 3 ? strtol(argv[2], NULL, 10) : 0;

    if (rounds > 0 && strcmp(argv[1], "count") == 0) {
        count(rounds);
    } else if (rounds > 0 && strcmp(argv[1], "rtt") == 0) {
        double bare = rtt_of_nodes(rounds), worker = rtt_of_workers(rounds);

        printf("round trip: nodes %.0f ns, workers %.0f ns, %.2f times\n", bare, worker,
               worker / bare);
    } else {
        (void) fprintf(stderr, "worker_speed_prog count|rtt NUMBER\n");
        return 2;
    }
    return 0;
}
