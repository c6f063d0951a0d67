/* SPDX-License-Identifier: MIT
 *
 * A service in thirty lines: it greets whoever asks. Start it, then service_hello_client; in any
 * order, and kill either as often as you like.
 */
#include <stdio.h>
#include <string.h>

#include <tram/service.h>

static void on_request(tram_server *server, tram_request **request, void *arg) {
    const struct tram_view *view = tram_request_view(*request);
    char text[128];
    int most = (int) (view->size < 99 ? view->size : 99);
    int size = snprintf(text, sizeof(text), "hello, %.*s", most, (const char *) view->data);

    (void) server;
    (void) arg;
    (void) tram_reply_send(request, text, (size_t) size); /* or what is left fails */
}

int main(void) {
    static const struct tram_server_handlers handlers = {.on_request = on_request};
    struct tram_worker_options worker_options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_worker *worker;
    tram_server *server;

    worker_options.id = TRAM_ID(1, 1, 7, 1);
    worker_options.flags = TRAM_WORKER_AUTO;
    options.handlers = &handlers;
    if (tram_worker_new(&worker_options, &worker) < 0 ||
        tram_server_new(worker, "svc://hello", &options, &server) < 0)
        return fprintf(stderr, "%s\n", tram_last_error(NULL)->text), 1;
    return tram_worker_run(worker);
}
