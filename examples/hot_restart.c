/* SPDX-License-Identifier: MIT
 *
 * A server that is replaced while it is asked, by a new version of itself for example: SIGTERM lets
 * it answer what it has in hand; all that comes later waits for its successor, which has the same
 * ID. No request is lost or executed twice.
 *     hot_restart VERSION
 */
#include <signal.h>
#include <stdio.h>

#include <tram/service.h>

static void on_request(tram_server *server, tram_request **request, void *arg) {
    char text[64];
    int size = snprintf(text, sizeof(text), "version %.50s", (const char *) arg);

    (void) server;
    (void) tram_reply_send(request, text, (size_t) size);
}

static void on_drained(tram_server *server, void *arg) {
    (void) arg;
    (void) tram_server_free(server);
    (void) tram_worker_stop(tram_worker_current(), 0);
}

static void on_term(tram_signal *signal, int number, void *arg) {
    (void) signal;
    (void) number;
    (void) tram_server_drain(arg, on_drained);
}

int main(int argc, char **argv) {
    static const struct tram_server_handlers handlers = {.on_request = on_request};
    struct tram_worker_options worker_options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_worker *worker;
    tram_server *server;
    tram_signal *term;

    if (argc != 2)
        return fprintf(stderr, "hot_restart VERSION\n"), 2;
    worker_options.id = TRAM_ID(1, 1, 7, 2);
    worker_options.flags = TRAM_WORKER_AUTO;
    options.handlers = &handlers;
    options.arg = argv[1];
    if (tram_worker_new(&worker_options, &worker) < 0 ||
        tram_server_new(worker, "svc://restart", &options, &server) < 0 ||
        tram_signal_new(worker, SIGTERM, on_term, server, &term) < 0)
        return fprintf(stderr, "%s\n", tram_last_error(NULL)->text), 1;
    (void) tram_worker_run(worker);
    (void) tram_worker_free(worker);
    return 0;
}
