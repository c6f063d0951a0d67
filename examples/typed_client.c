/* SPDX-License-Identifier: MIT
 *
 * Calls the service of typed_server.c: reports points and prints the place, in which the answer is
 * told to a function; then prints the best, for which it waits.
 */
#include <stdio.h>
#include <stdlib.h>

#include <tram/protobuf.h>

#include "typed.pb-c.h"

static tram_worker *worker;
static ProtobufCService *ranking;

static void on_place(const Tram__Example__Place *place, void *data) {
    if (place)
        printf("%s has place %u\n", (const char *) data, place->place);
    else
        fprintf(stderr, "no answer: %s\n", tram_protobuf_result(ranking)->text);
    tram_worker_stop(worker, place ? 0 : 1);
}

static int print_best(uint32_t count) {
    Tram__Example__Limit limit = TRAM__EXAMPLE__LIMIT__INIT;
    ProtobufCMessage *answer;
    Tram__Example__Table *table;

    limit.limit = count;
    if (tram_protobuf_call(ranking, "Best", &limit.base, NULL, &answer) < 0)
        return fprintf(stderr, "%s\n", tram_worker_error(worker)->text), 1;
    table = (Tram__Example__Table *) answer;
    for (size_t i = 0; i < table->n_scores; i++)
        printf("%2zu. %s %lld\n", i + 1, table->scores[i]->player,
               (long long) table->scores[i]->points);
    tram__example__table__free_unpacked(table, NULL);
    return 0;
}

int main(int argc, char **argv) {
    struct tram_worker_options worker_options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    Tram__Example__Score score = TRAM__EXAMPLE__SCORE__INIT;
    char nobody[] = "nobody";
    tram_client *client;
    int code;

    score.player = argc > 1 ? argv[1] : nobody;
    score.points = argc > 2 ? atoll(argv[2]) : 1;
    worker_options.flags = TRAM_WORKER_AUTO;
    options.flags = TRAM_CLIENT_WAIT;
    if (tram_worker_new(&worker_options, &worker) < 0)
        return fprintf(stderr, "%s\n", tram_last_error(NULL)->text), 1;
    if (tram_client_new(worker, "svc://ranking", &options, &client) < 0 ||
        tram_protobuf_stub_new(client, &tram__example__ranking__descriptor, NULL, &ranking) < 0)
        return fprintf(stderr, "%s\n", tram_worker_error(worker)->text), 1;
    tram__example__ranking__report(ranking, &score, on_place, score.player);
    code = tram_worker_run(worker);
    if (code == 0)
        code = print_best(3);
    (void) tram_worker_free(worker); /* and all that belongs to it */
    return code;
}
