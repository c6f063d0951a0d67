/* SPDX-License-Identifier: MIT
 *
 * A program of somebody else's: serves by TLS with the keys that are its argument, and asks itself.
 * Exit code 0: it was answered.
 */
#include <stdio.h>
#include <string.h>

#include <tram/service.h>

static tram_worker *worker;

static void on_request(tram_server *server, tram_request **request, void *arg) {
    const struct tram_view *view = tram_request_view(*request);

    (void) server;
    (void) arg;
    (void) tram_reply_send(request, view->data, view->size);
}

static void on_result(const struct tram_result *result, void *arg) {
    (void) arg;
    if (result->status < 0)
        fprintf(stderr, "asked: %s\n", strerror(-result->status));
    (void) tram_worker_stop(worker, result->status < 0 || result->view.size != 5 ||
                                        memcmp(result->view.data, "hello", 5) != 0);
}

static void on_state(tram_server *server, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    tram_client *client;

    (void) server;
    (void) arg;
    options.flags = TRAM_CLIENT_WAIT;
    if (state == TRAM_STATE_ONLINE &&
        tram_client_new(worker, who->address, &options, &client) == 0 &&
        tram_client_ask(client, 1, "hello", 5, NULL, on_result, NULL, NULL) == 0)
        return;
    fprintf(stderr, "%s: %s\n", who->address, tram_worker_error(worker)->text);
    (void) tram_worker_stop(worker, 1);
}

int main(int argc, char **argv) {
    static const struct tram_server_handlers handlers = {.on_state = on_state,
                                                         .on_request = on_request};
    static const char *const addresses[] = {"tls://127.0.0.1:0", NULL};
    struct tram_worker_options worker_options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_server *server;

    if (argc != 2)
        return 2;
    worker_options.keys = argv[1];
    options.handlers = &handlers;
    options.addresses = addresses;
    options.flags = TRAM_SERVER_NO_DAEMON | TRAM_SERVER_NO_SHM;
    if (tram_worker_new(&worker_options, &worker) < 0)
        return fprintf(stderr, "%s\n", tram_last_error(NULL)->text), 1;
    if (tram_server_new(worker, "svc://mine", &options, &server) < 0)
        return fprintf(stderr, "%s\n", tram_worker_error(worker)->text), 1;
    return tram_worker_run(worker);
}
