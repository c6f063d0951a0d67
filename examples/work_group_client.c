/* SPDX-License-Identifier: MIT
 *
 * Has numbers looked at by the workers of a group: each request goes to the one for which least
 * waits. If a worker is killed, what waits for it is told by its successor of the same number.
 *     work_group_client [FIRST [COUNT]]
 */
#include <stdio.h>
#include <stdlib.h>

#include <tram/service.h>

static uint32_t numbers[1024]; /* as many may be under way, unless calls_max is said */
static int left;

static void on_result(const struct tram_result *result, void *arg) {
    const uint32_t *number = arg;

    if (result->status == 0)
        printf("%u: %.*s\n", *number, (int) result->view.size, (const char *) result->view.data);
    else
        printf("%u: error %d %s\n", *number, result->status, result->text);
    if (--left == 0)
        (void) tram_worker_stop(tram_worker_current(), 0);
}

int main(int argc, char **argv) {
    uint32_t first = argc > 1 ? (uint32_t) strtoul(argv[1], NULL, 10) : 1000000007;
    struct tram_worker_options worker_options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    int count = argc > 2 ? atoi(argv[2]) : 20;
    tram_worker *worker;
    tram_client *client;

    worker_options.flags = TRAM_WORKER_AUTO;
    options.choice = TRAM_CHOOSE_LEAST;
    options.flags = TRAM_CLIENT_WAIT; /* there may be no worker yet */
    if (tram_worker_new(&worker_options, &worker) < 0 ||
        tram_client_new(worker, "svc://primes", &options, &client) < 0)
        return fprintf(stderr, "%s\n", tram_last_error(NULL)->text), 1;
    for (int i = 0; i < count && i < 1024; i++, left++) {
        numbers[i] = first + (uint32_t) i;
        if (tram_client_ask(client, 0, &numbers[i], sizeof(numbers[i]), NULL, on_result,
                            &numbers[i], NULL) < 0)
            return fprintf(stderr, "%s\n", tram_worker_error(worker)->text), 1;
    }
    (void) tram_worker_run(worker);
    (void) tram_worker_free(worker);
    return 0;
}
