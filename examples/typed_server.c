/* SPDX-License-Identifier: MIT
 *
 * The service of typed.proto. Beside it, in another shell:
 *
 *     typed_client alice 7
 *     tram call svc://ranking Best '{"limit": 3}'
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tram/protobuf.h>

#include "typed.descriptors.h"
#include "typed.pb-c.h"

#define PLAYERS 100

static struct {
    char name[32];
    int64_t points;
} table[PLAYERS]; /* best first */
static size_t players;

static void ranking_report(Tram__Example__Ranking_Service *service,
                           const Tram__Example__Score *score,
                           Tram__Example__Place_Closure closure, void *closure_data) {
    Tram__Example__Place place = TRAM__EXAMPLE__PLACE__INIT;
    size_t at = 0;
    int64_t points;

    (void) service;
    while (at < players && strcmp(table[at].name, score->player) != 0)
        at++;
    if (at == players) {
        if (players == PLAYERS || strlen(score->player) >= sizeof(table[0].name)) {
            tram_protobuf_error(closure_data, 1, "too many players, or too long a name");
            return;
        }
        snprintf(table[players++].name, sizeof(table[0].name), "%s", score->player);
        table[at].points = 0;
    }
    points = table[at].points + score->points;
    memmove(&table[at], &table[at + 1], (players - at - 1) * sizeof(table[0]));
    for (at = 0; at + 1 < players && table[at].points >= points;)
        at++;
    memmove(&table[at + 1], &table[at], (players - at - 1) * sizeof(table[0]));
    snprintf(table[at].name, sizeof(table[0].name), "%s", score->player);
    table[at].points = points;
    place.place = (uint32_t) at + 1;
    closure(&place, closure_data);
}

static void ranking_best(Tram__Example__Ranking_Service *service, const Tram__Example__Limit *limit,
                         Tram__Example__Table_Closure closure, void *closure_data) {
    Tram__Example__Table answer = TRAM__EXAMPLE__TABLE__INIT;
    Tram__Example__Score scores[PLAYERS], *pointers[PLAYERS];

    (void) service;
    answer.scores = pointers;
    while (answer.n_scores < players && answer.n_scores < limit->limit) {
        size_t i = answer.n_scores++;

        tram__example__score__init(&scores[i]);
        scores[i].player = table[i].name;
        scores[i].points = table[i].points;
        pointers[i] = &scores[i];
    }
    closure(&answer, closure_data);
}

int main(void) {
    static Tram__Example__Ranking_Service ranking = TRAM__EXAMPLE__RANKING__INIT(ranking_);
    struct tram_worker_options worker_options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_worker *worker;
    tram_server *server;

    worker_options.id = TRAM_ID(1, 1, 7, 2);
    worker_options.flags = TRAM_WORKER_AUTO;
    options.descriptors = typed_descriptors; /* so that tools know what it speaks */
    options.descriptors_size = typed_descriptors_size;
    if (tram_worker_new(&worker_options, &worker) < 0)
        return fprintf(stderr, "%s\n", tram_last_error(NULL)->text), 1;
    if (tram_server_new(worker, "svc://ranking", &options, &server) < 0 ||
        tram_protobuf_serve(server, &ranking.base, NULL) < 0)
        return fprintf(stderr, "%s\n", tram_worker_error(worker)->text), 1;
    return tram_worker_run(worker);
}
