/* SPDX-License-Identifier: MIT
 *
 * How many events of 256 bytes go from one publisher to 1 and to 4 subscribers with back-pressure,
 * in processes of their own, beside the same over a bare ring:
 *
 *     service_events_speed_prog [MESSAGES]
 *     service_events_speed_prog MESSAGES costs          what each costs, in one thread, only
 *     service_events_speed_prog MESSAGES block|latest   one kind: for service_events_speed_test.py
 */
#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tram/service.h"

#define SIZE 256
#define READERS_MAX 8

static struct shared {
    uint64_t ready, missed;
    struct {
        uint64_t got;
        uint64_t pad[15];
    } of[READERS_MAX];
} *shared;

static uint64_t total;

static int64_t now(void) {
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

static void must(int rc, const char *what) {
    if (rc >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, strerror(-rc));
    exit(1);
}

/* ---- events ---------------------------------------------------------------------------------- */

static uint64_t number;
static int mine;

static void on_event(tram_subscription *subscription, const struct tram_view *view, int status,
                     void *arg) {
    tram_worker *worker = arg;
    uint64_t said;

    (void) subscription;
    must(view ? 0 : status, "subscription");
    memcpy(&said, view->data, sizeof(said));
    if (said == 0) {
        if (number == 0) {
            number = 1;
            __atomic_add_fetch(&shared->ready, 1, __ATOMIC_RELEASE);
        }
        return;
    }
    __atomic_add_fetch(&shared->missed, said != number, __ATOMIC_RELAXED);
    number = said + 1;
    if (said == total) {
        __atomic_store_n(&shared->of[mine].got, said, __ATOMIC_RELEASE);
        (void) tram_worker_stop(worker, 0);
    }
}

static void read_events(void) {
    struct tram_subscribe_options wish = TRAM_SUBSCRIBE_OPTIONS_INIT;
    tram_worker *worker;
    tram_client *client;

    must(tram_worker_new(NULL, &worker), "worker");
    must(tram_client_new(worker, "shm://1.1.7.1/speed", NULL, &client), "client");
    wish.delivery = TRAM_DELIVER_BLOCK;
    must(tram_client_subscribe(client, 1, NULL, &wish, on_event, worker, NULL), "subscribe");
    must(tram_worker_run(worker), "run");
    (void) tram_worker_free(worker);
    _exit(0);
}

struct publishing {
    tram_worker *worker;
    tram_server *server;
    struct tram_how how;
    uint64_t data[SIZE / 8];
    int readers;
};

/* As much as goes, and some at a time: the rest when there is room, or in the next turn. */
static void publish(tram_worker *worker, void *arg) {
    struct publishing *p = arg;
    bool all = true;

    for (int i = 0; i < 1000 && p->data[0] <= total; i++) {
        int rc = tram_server_publish(p->server, 1, p->data, SIZE, &p->how);

        if (rc == -EAGAIN)
            return;
        must(rc, "publish");
        p->data[0]++;
    }
    for (int i = 0; i < p->readers; i++)
        all = all && __atomic_load_n(&shared->of[i].got, __ATOMIC_ACQUIRE) >= total;
    if (all)
        (void) tram_worker_stop(worker, 0);
    else
        must(tram_worker_post(worker, publish, p, 0), "post");
}

static void on_space(tram_server *server, tram_session *session, void *arg) {
    struct publishing *p = arg;

    (void) server;
    (void) session;
    publish(p->worker, p);
}

static double events(int readers, uint32_t flags) {
    static const struct tram_server_handlers handlers = {.on_space = on_space};
    struct tram_worker_options own = TRAM_WORKER_OPTIONS_INIT;
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    struct publishing p = {.how = TRAM_HOW_INIT, .readers = readers};
    int64_t begin;

    memset(shared, 0, sizeof(*shared));
    own.id = TRAM_ID(1, 1, 7, 1);
    options.flags = TRAM_SERVER_NO_DAEMON;
    options.patience_ns = INT64_C(60000000000);
    options.handlers = &handlers;
    options.arg = &p;
    p.how.flags = flags;
    must(tram_worker_new(&own, &p.worker), "worker");
    must(tram_server_new(p.worker, "svc://speed", &options, &p.server), "server");
    for (mine = 0; mine < readers; mine++)
        if (fork() == 0)
            read_events();
    while (__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE) < (uint64_t) readers) {
        (void) tram_worker_dispatch(p.worker);
        must(tram_server_publish(p.server, 1, p.data, 8, NULL), "publish");
        (void) sched_yield();
    }
    p.data[0] = 1;
    begin = now();
    must(tram_worker_post(p.worker, publish, &p, 0), "post");
    must(tram_worker_run(p.worker), "run");
    begin = now() - begin;
    (void) tram_worker_free(p.worker);
    while (wait(NULL) > 0)
        ;
    if (shared->missed)
        fprintf(stderr, "%" PRIu64 " were out of order\n", shared->missed);
    return (double) total * 1e3 / (double) begin;
}

/* ---- the bare ring --------------------------------------------------------------------------- */

static void read_ring(void) {
    struct tram_msg msgs[64];
    tram_node *node;
    uint64_t got = 0;

    must(tram_open(NULL, TRAM_ID(1, 1, 7, 3), NULL, &node), "open");
    __atomic_add_fetch(&shared->ready, 1, __ATOMIC_RELEASE);
    while (got < total) {
        int rc = tram_recv_batch(node, msgs, 64, 0, 1000000000);

        got += rc > 0 ? (uint64_t) rc : 0;
    }
    (void) tram_done(node);
    __atomic_store_n(&shared->of[0].got, got, __ATOMIC_RELEASE);
    (void) tram_close(node);
    _exit(0);
}

static double ring(uint32_t flags) {
    uint64_t data[SIZE / 8] = {0};
    tram_node *node;
    int64_t begin;

    memset(shared, 0, sizeof(*shared));
    if (fork() == 0)
        read_ring();
    must(tram_open(NULL, TRAM_ID(1, 1, 7, 2), NULL, &node), "open");
    while (__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE) < 1)
        (void) sched_yield();
    begin = now();
    for (uint64_t i = 0; i < total; i++)
        must(tram_send(node, TRAM_ID(1, 1, 7, 3), 0, data, SIZE, flags), "send");
    (void) tram_flush(node);
    while (__atomic_load_n(&shared->of[0].got, __ATOMIC_ACQUIRE) < total)
        (void) sched_yield();
    begin = now() - begin;
    (void) tram_close(node);
    while (wait(NULL) > 0)
        ;
    return (double) total * 1e3 / (double) begin;
}

/* ---- what each costs, in one thread ---------------------------------------------------------- */

#define ROUND 8000

static uint64_t counted;

static void count_event(tram_subscription *subscription, const struct tram_view *view, int status,
                        void *arg) {
    (void) subscription;
    (void) arg;
    must(view ? 0 : status, "subscription");
    counted++;
}

static void drain(tram_worker *reader, tram_worker *writer, uint64_t until) {
    while (counted < until) {
        must(tram_worker_dispatch(reader), "dispatch");
        if (writer)
            must(tram_worker_dispatch(writer), "dispatch");
    }
}

static void costs(enum tram_delivery delivery, uint32_t flags) {
    struct tram_subscribe_options wish = TRAM_SUBSCRIBE_OPTIONS_INIT;
    struct tram_worker_options own = TRAM_WORKER_OPTIONS_INIT;
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    struct tram_how how = TRAM_HOW_INIT;
    int64_t publishing = 0, reading = 0;
    tram_worker *writer, *reader;
    uint64_t data[SIZE / 8] = {0};
    tram_server *server;
    tram_client *client;

    own.id = TRAM_ID(1, 1, 7, 1);
    options.flags = TRAM_SERVER_NO_DAEMON;
    wish.delivery = delivery;
    how.flags = flags;
    counted = 0;
    must(tram_worker_new(&own, &writer), "worker");
    must(tram_worker_new(NULL, &reader), "worker");
    must(tram_server_new(writer, "svc://speed", &options, &server), "server");
    must(tram_client_new(reader, "shm://1.1.7.1/speed", NULL, &client), "client");
    must(tram_client_subscribe(client, 1, NULL, &wish, count_event, NULL, NULL), "subscribe");
    while (counted == 0) {
        must(tram_worker_dispatch(reader), "dispatch");
        must(tram_worker_dispatch(writer), "dispatch");
        must(tram_server_publish(server, 1, data, SIZE, NULL), "publish");
    }
    for (uint64_t i = 0; i < total / ROUND; i++) {
        int64_t first, second;
        uint64_t until;

        drain(reader, writer, counted + (i == 0));
        until = counted + ROUND;
        first = now();
        for (uint64_t n = 0; n < ROUND; n++)
            must(tram_server_publish(server, 1, data, SIZE, &how), "publish");
        second = now();
        if (flags)
            must(tram_worker_dispatch(writer), "dispatch");
        publishing += second - first;
        second = now();
        drain(reader, NULL, until);
        reading += now() - second;
        if (i == 0)
            publishing = reading = 0;
    }
    printf("delivery %d, flags %u: publish %.1f ns, read %.1f ns\n", delivery, flags,
           (double) publishing / (double) (total / ROUND - 1) / ROUND,
           (double) reading / (double) (total / ROUND - 1) / ROUND);
    (void) tram_worker_free(reader);
    (void) tram_worker_free(writer);
}

static void ring_costs(uint32_t flags) {
    int64_t sending = 0, receiving = 0;
    uint64_t data[SIZE / 8] = {0};
    struct tram_msg msgs[64];
    tram_node *from, *to;

    must(tram_open(NULL, TRAM_ID(1, 1, 7, 2), NULL, &from), "open");
    must(tram_open(NULL, TRAM_ID(1, 1, 7, 3), NULL, &to), "open");
    for (uint64_t i = 0; i < total / ROUND; i++) {
        int64_t first = now(), second;

        for (uint64_t n = 0; n < ROUND; n++)
            must(tram_send(from, TRAM_ID(1, 1, 7, 3), 0, data, SIZE, flags), "send");
        must(tram_flush(from), "flush");
        second = now();
        sending += second - first;
        for (uint64_t n = 0; n < ROUND;) {
            int rc = tram_recv_batch(to, msgs, 64, 0, 0);

            must(rc, "receive");
            n += (uint64_t) rc;
        }
        (void) tram_done(to);
        receiving += now() - second;
    }
    printf("ring, flags %u: send %.1f ns, receive %.1f ns\n", flags,
           (double) sending / (double) (total / ROUND) / ROUND,
           (double) receiving / (double) (total / ROUND) / ROUND);
    (void) tram_close(from);
    (void) tram_close(to);
}

int main(int argc, char **argv) {
    double bare, one, four, more;

    total = argc > 1 ? strtoull(argv[1], NULL, 10) : 5000000;
    if (argc > 2 && strcmp(argv[2], "costs") != 0) {
        costs(strcmp(argv[2], "block") == 0 ? TRAM_DELIVER_BLOCK : TRAM_DELIVER_LATEST_ALL, 0);
        return 0;
    }
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ring_costs(0);
    ring_costs(TRAM_MORE);
    costs(TRAM_DELIVER_BLOCK, 0);
    costs(TRAM_DELIVER_BLOCK, TRAM_HOW_MORE);
    costs(TRAM_DELIVER_LATEST_ALL, 0);
    for (int round = 0; argc < 3 && round < 3; round++) {
        bare = ring(0);
        one = events(1, 0);
        more = events(1, TRAM_HOW_MORE);
        four = events(4, 0);
        printf("ring %.2f M/s, one %.2f M/s (%.2f), together %.2f M/s (%.2f), four %.2f M/s "
               "delivered (%.2f)\n",
               bare, one, one / bare, more, more / bare, 4 * four, 4 * four / bare);
        (void) fflush(stdout);
    }
    return shared->missed > 0;
}
