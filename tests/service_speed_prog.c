/* SPDX-License-Identifier: MIT
 *
 * What requests cost.
 *
 *     service_speed_prog rtt ROUNDS     one request after the other, spinning, 32 bytes:
 *                                       percentiles, beside those of bare nodes in the same run
 *     service_speed_prog call ROUNDS    the same by blocking calls
 *     service_speed_prog async ROUNDS   64 requests under way, 64 bytes: requests a second
 *     service_speed_prog count ROUNDS   64 requests and their answers, both sides in one thread,
 *                                       for service_speed_test.py to count instructions
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/kit.h"
#include "tram/service.h"

#define LEFT  TRAM_ID(1, 0, 0, 1)
#define RIGHT TRAM_ID(1, 0, 0, 2)
#define MANY  64
#define WINDOW 1000

static void must(int rc) {
    if (rc < 0) {
        (void) fprintf(stderr, "service_speed: %s\n", strerror(-rc));
        exit(1);
    }
}

static tram_worker *make(tram_id id, uint32_t flags) {
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    tram_worker *worker;

    options.id = id;
    options.flags = flags;
    must(tram_worker_new(&options, &worker));
    return worker;
}

static void on_request(tram_server *server, tram_request **request, void *arg) {
    const struct tram_view *view = tram_request_view(*request);

    (void) server;
    (void) arg;
    must(tram_reply_send(request, view->data, view->size));
}

static tram_server *serve(tram_worker *worker) {
    static const struct tram_server_handlers handlers = {.on_request = on_request};
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_server *server;

    options.handlers = &handlers;
    options.flags = TRAM_SERVER_NO_DAEMON;
    must(tram_server_new(worker, "svc://speed", &options, &server));
    return server;
}

struct asker {
    tram_worker *worker;
    tram_client *client;
    long left, ends;
    size_t size;
    int64_t since, *samples;
    int64_t *windows; /* time of each WINDOW requests */
    char payload[64];
};

static void on_result(const struct tram_result *result, void *arg);

static void ask(struct asker *asker) {
    if (asker->samples)
        asker->since = kit_now();
    must(tram_client_ask(asker->client, 1, asker->payload, asker->size, NULL, on_result, asker,
                         NULL));
}

static void on_result(const struct tram_result *result, void *arg) {
    struct asker *asker = arg;

    must(result->status);
    if (asker->samples)
        asker->samples[asker->ends] = kit_now() - asker->since;
    asker->ends++;
    if (asker->windows && asker->ends % WINDOW == 0)
        asker->windows[asker->ends / WINDOW - 1] = kit_now();
    if (asker->left > 0) {
        asker->left--;
        ask(asker);
    } else if (asker->samples || --asker->since == 0) {
        (void) tram_worker_stop(asker->worker, 0);
    }
}

static void connect_to(struct asker *asker, tram_worker *worker, size_t size) {
    *asker = (struct asker){.worker = worker, .size = size};
    must(tram_client_new(worker, "shm://1.0.0.2/speed", NULL, &asker->client));
}

static int by_size(const void *a, const void *b) {
    int64_t left = *(const int64_t *) a, right = *(const int64_t *) b;

    return left < right ? -1 : left > right;
}

static int64_t show(const char *what, int64_t *samples, long count) {
    int64_t half;

    qsort(samples, (size_t) count, sizeof(*samples), by_size);
    half = samples[count / 2];
    printf("%s: p50 %lld ns, p90 %lld, p99 %lld\n", what, (long long) half,
           (long long) samples[count * 9 / 10], (long long) samples[count * 99 / 100]);
    return half;
}

/* ---- bare nodes ------------------------------------------------------------------------------ */

static long bare_rounds;

static void *bare_echo(void *arg) {
    tram_node *node = arg;
    struct tram_msg msg;

    for (long i = 0; i < bare_rounds; i++) {
        must(tram_recv(node, &msg, TRAM_FOREVER));
        must(tram_send(node, LEFT, 0, msg.data, msg.size, 0));
    }
    return NULL;
}

static int64_t bare(long rounds) {
    struct tram_options options = kit_options(0, TRAM_FOREVER);
    tram_node *left = kit_open(NULL, LEFT, &options), *right = kit_open(NULL, RIGHT, &options);
    int64_t *samples = calloc((size_t) rounds, sizeof(*samples));
    char payload[32] = "";
    struct tram_msg msg;
    pthread_t thread;
    int64_t half;

    bare_rounds = rounds;
    must(-pthread_create(&thread, NULL, bare_echo, right));
    for (long i = 0; i < rounds; i++) {
        int64_t start = kit_now();

        must(tram_send(left, RIGHT, 0, payload, sizeof(payload), 0));
        must(tram_recv(left, &msg, TRAM_FOREVER));
        samples[i] = kit_now() - start;
    }
    (void) pthread_join(thread, NULL);
    must(tram_done(left)); /* or the last one comes again, to who has the node next */
    must(tram_done(right));
    tram_close(right);
    tram_close(left);
    half = show("nodes", samples, rounds);
    free(samples);
    return half;
}

/* ---- services -------------------------------------------------------------------------------- */

static int64_t rtt(long rounds, bool blocking) {
    tram_worker *left = make(LEFT, TRAM_WORKER_SPIN), *right = make(RIGHT, TRAM_WORKER_SPIN);
    int64_t *samples = calloc((size_t) rounds, sizeof(*samples));
    struct asker asker;
    int64_t half;

    (void) serve(right);
    must(tram_worker_start(right));
    connect_to(&asker, left, 32);
    must(tram_client_wait(asker.client, TRAM_FOREVER));
    if (blocking) {
        for (long i = 0; i < rounds; i++) {
            int64_t start = kit_now();
            tram_reply *reply;

            must(tram_client_call(asker.client, 1, asker.payload, 32, NULL, &reply));
            (void) tram_reply_free(reply);
            samples[i] = kit_now() - start;
        }
    } else {
        asker.samples = samples;
        asker.left = rounds - 1;
        ask(&asker);
        must(tram_worker_run(left));
    }
    tram_worker_free(left);
    tram_worker_free(right);
    half = show(blocking ? "blocking calls" : "requests", samples, rounds);
    free(samples);
    return half;
}

static void async(long rounds) {
    tram_worker *left = make(LEFT, TRAM_WORKER_SPIN), *right = make(RIGHT, TRAM_WORKER_SPIN);
    long windows = rounds / WINDOW;
    struct asker asker;
    int64_t start;

    (void) serve(right);
    must(tram_worker_start(right));
    connect_to(&asker, left, 64);
    must(tram_client_wait(asker.client, TRAM_FOREVER));
    asker.left = rounds - MANY;
    asker.since = MANY;
    asker.windows = calloc((size_t) windows + 1, sizeof(*asker.windows));
    start = kit_now();
    for (int i = 0; i < MANY; i++)
        ask(&asker);
    must(tram_worker_run(left));
    start = kit_now() - start;
    tram_worker_free(left);
    tram_worker_free(right);
    for (long i = windows; --i > 0;)
        asker.windows[i] -= asker.windows[i - 1];
    qsort(asker.windows + 1, (size_t) windows - 1, sizeof(*asker.windows), by_size);
    printf("%d under way: %.2f million requests a second, half of the time %.2f, a tenth %.2f\n",
           MANY, (double) asker.ends * 1e3 / (double) start,
           WINDOW * 1e3 / (double) asker.windows[windows / 2],
           WINDOW * 1e3 / (double) asker.windows[windows / 10]);
    free(asker.windows);
}

static void count(long rounds) {
    tram_worker *left = make(LEFT, TRAM_WORKER_NO_SPIN), *right = make(RIGHT, TRAM_WORKER_NO_SPIN);
    struct asker asker;

    (void) serve(right);
    connect_to(&asker, left, 64);
    asker.since = -1;
    while (asker.ends < rounds * MANY) {
        for (int i = 0; i < MANY; i++)
            ask(&asker);
        for (long due = asker.ends + MANY; asker.ends < due;) {
            must(tram_worker_dispatch(right));
            must(tram_worker_dispatch(left));
        }
    }
    tram_worker_free(left);
    tram_worker_free(right);
}

int main(int argc, char **argv) {
    long rounds = argc == 3 ? strtol(argv[2], NULL, 10) : 0;

    if (rounds > 0 && strcmp(argv[1], "count") == 0) {
        count(rounds);
    } else if (rounds >= 10 * WINDOW && strcmp(argv[1], "async") == 0) {
        async(rounds);
    } else if (rounds > 0 && (strcmp(argv[1], "rtt") == 0 || strcmp(argv[1], "call") == 0)) {
        int64_t floor = bare(rounds), ours = rtt(rounds, strcmp(argv[1], "call") == 0);

        printf("%.2f times\n", (double) ours / (double) floor);
    } else {
        (void) fprintf(stderr, "service_speed_prog rtt|call|async|count NUMBER\n");
        return 2;
    }
    return 0;
}
