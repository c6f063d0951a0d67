/* SPDX-License-Identifier: MIT
 *
 * What typed messages cost beside raw ones, with SIZE bytes of data.
 *
 *     typed_speed_prog ROUNDS SIZE         round trips in turns of 1000, raw and typed, both ends
 *                                          spinning; and the coding itself, as often as a round
 *                                          trip has it: packed and unpacked twice
 *     typed_speed_prog ROUNDS SIZE KIND    only raw (0), typed (1) or coding (2), both ends in one
 *                                          thread, to count instructions
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kinds.pb-c.h"
#include "support/kit.h"
#include "tram/protobuf.h"

#define TURN 1000

typedef Tram__Test__Tree tree;

static tram_worker *worker, *other;
static bool single;
static tram_client *client;
static ProtobufCService *kinds;
static tree message;
static uint8_t *packed;
static size_t size;
static long left;

static void must(int rc) {
    if (rc < 0) {
        (void) fprintf(stderr, "typed_speed: %s\n", strerror(-rc));
        exit(1);
    }
}

static void kinds_echo(Tram__Test__Kinds_Service *service, const tree *input,
                       Tram__Test__Tree_Closure closure, void *closure_data) {
    (void) service;
    closure(input, closure_data);
}

static void on_request(tram_server *server, tram_request **request, void *arg) {
    const struct tram_view *view = tram_request_view(*request);

    (void) server;
    (void) arg;
    must(tram_reply_send(request, view->data, view->size));
}

static void raw_result(const struct tram_result *result, void *arg) {
    must(result->status);
    if (--left > 0)
        must(tram_client_ask(client, 1, packed, size, NULL, raw_result, arg, NULL));
    else if (!single)
        (void) tram_worker_stop(worker, 0);
}

static void typed_result(const tree *answer, void *arg) {
    must(answer ? 0 : -EIO);
    if (--left > 0)
        tram__test__kinds__echo(kinds, &message, typed_result, arg);
    else if (!single)
        (void) tram_worker_stop(worker, 0);
}

static int64_t turn(int kind) {
    int64_t start = kit_now();

    left = TURN;
    if (kind == 0)
        must(tram_client_ask(client, 1, packed, size, NULL, raw_result, NULL, NULL));
    else if (kind == 1)
        tram__test__kinds__echo(kinds, &message, typed_result, NULL);
    for (; kind == 2 && left > 0; left--) {
        for (int i = 0; i < 2; i++) {
            size_t again = tram__test__tree__pack(&message, packed);

            tram__test__tree__free_unpacked(tram__test__tree__unpack(NULL, again, packed), NULL);
        }
    }
    while (kind < 2 && single && left > 0) {
        must(tram_worker_dispatch(other));
        must(tram_worker_dispatch(worker));
    }
    if (kind < 2 && !single)
        must(tram_worker_run(worker));
    return kit_now() - start;
}

static int by_size(const void *a, const void *b) {
    int64_t one = *(const int64_t *) a, two = *(const int64_t *) b;

    return one < two ? -1 : one > two;
}

int main(int argc, char **argv) {
    static Tram__Test__Kinds_Service service = {TRAM__TEST__KINDS__BASE_INIT, kinds_echo,
                                                kinds_echo, NULL, NULL, NULL, NULL, kinds_echo,
                                                kinds_echo};
    static const struct tram_server_handlers handlers = {.on_request = on_request};
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_server_options server_options = TRAM_SERVER_OPTIONS_INIT;
    long turns = argc > 1 ? atol(argv[1]) / TURN : 0;
    int64_t *times[3], half[3];
    tram_server *server;

    if (turns < 1)
        return 2;
    tram__test__tree__init(&message);
    message.data.len = argc > 2 ? strtoul(argv[2], NULL, 10) : 32;
    message.data.data = calloc(1, message.data.len + 1);
    size = tram__test__tree__get_packed_size(&message);
    packed = calloc(1, size);
    service.flush = (void *) kinds_echo; /* not called; but all have to be there */
    service.fail = service.drop = (void *) kinds_echo;
    service.wrong = (void *) kinds_echo;
    single = argc > 3;
    options.flags = single ? 0 : TRAM_WORKER_SPIN;
    must(tram_worker_new(&options, &worker));
    options.id = TRAM_ID(1, 0, 0, 2);
    must(tram_worker_new(&options, &other));
    server_options.handlers = &handlers;
    server_options.flags = TRAM_SERVER_NO_DAEMON;
    must(tram_server_new(other, "svc://kinds", &server_options, &server));
    must(tram_protobuf_serve(server, &service.base, NULL));
    if (!single)
        must(tram_worker_start(other));
    must(tram_client_new(worker, "shm://1.0.0.2/kinds", NULL, &client));
    must(tram_protobuf_stub_new(client, &tram__test__kinds__descriptor, NULL, &kinds));
    if (single) {
        for (long i = 0; i < turns; i++)
            (void) turn(atoi(argv[3]));
        return 0;
    }
    for (int kind = 0; kind < 3; kind++)
        times[kind] = calloc((size_t) turns, sizeof(int64_t));
    (void) turn(0);
    for (long i = 0; i < turns; i++)
        for (int kind = 0; kind < 3; kind++)
            times[kind][i] = turn(kind);
    for (int kind = 0; kind < 3; kind++) {
        qsort(times[kind], (size_t) turns, sizeof(int64_t), by_size);
        half[kind] = times[kind][turns / 2] / TURN;
        free(times[kind]);
    }
    printf("%zu bytes: raw %lld ns, typed %lld ns, coding itself %lld ns: typed adds %.1f %%\n",
           size, (long long) half[0], (long long) half[1], (long long) half[2],
           100.0 * (double) (half[1] - half[2] - half[0]) / (double) half[0]);
    (void) tram_worker_free(worker);
    (void) tram_worker_free(other);
    free(message.data.data);
    free(packed);
    return 0;
}
