/* SPDX-License-Identifier: MIT
 *
 * One worker of a group that shares the requests for svc://primes; start as many as you like, each
 * with a number of its own, also while work_group_client runs, and kill any.
 *     work_group_worker NUMBER
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tram/service.h>

static void on_request(tram_server *server, tram_request **request, void *arg) {
    const struct tram_view *view = tram_request_view(*request);
    uint32_t number;
    char text[64];
    int size;

    (void) server;
    if (view->size != sizeof(number)) {
        (void) tram_reply_error(request, 1, "not a number of 32 bits");
        return;
    }
    memcpy(&number, view->data, sizeof(number));
    for (uint32_t d = 2; d <= number / d; d++)
        if (number % d == 0)
            number = 0;
    size = snprintf(text, sizeof(text), "%sa prime, says %s", number > 1 ? "" : "not ",
                    (const char *) arg);
    (void) tram_reply_send(request, text, (size_t) size);
}

int main(int argc, char **argv) {
    static const struct tram_server_handlers handlers = {.on_request = on_request};
    struct tram_worker_options worker_options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_worker *worker;
    tram_server *server;
    char address[64];

    if (argc != 2)
        return fprintf(stderr, "work_group_worker NUMBER\n"), 2;
    (void) snprintf(address, sizeof(address), "svc://primes:%s", argv[1]);
    worker_options.id = TRAM_ID(1, 1, 8, (uint32_t) atoi(argv[1]));
    worker_options.flags = TRAM_WORKER_AUTO;
    options.handlers = &handlers;
    options.arg = argv[1];
    if (tram_worker_new(&worker_options, &worker) < 0 ||
        tram_server_new(worker, address, &options, &server) < 0)
        return fprintf(stderr, "%s\n", tram_last_error(NULL)->text), 1;
    return tram_worker_run(worker);
}
