/* SPDX-License-Identifier: MIT
 *
 * hosts_direct_prog NAME ADDRESS…   serves at these addresses, and prints them
 * hosts_direct_prog NAME            asks it directly, and prints the address that it took, or why
 *                                   there is none
 */
#include <stdio.h>
#include <string.h>

#include <tram/service.h>

static void on_request(tram_server *server, tram_request **request, void *arg) {
    const tram_session *session = tram_request_session(*request);
    const char *address = session ? tram_session_party(session)->address : "";

    (void) server;
    (void) arg;
    (void) tram_reply_send(request, address, strlen(address)); /* or who asked is gone */
}

static void on_state(tram_server *server, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    (void) server;
    (void) arg;
    (void) printf("%s %s\n", state == TRAM_STATE_ONLINE ? "serves" : "does not serve",
                  who ? who->address : "");
    (void) fflush(stdout);
}

/* ---- the client ------------------------------------------------------------------------------ */

static void on_server(tram_client *client, enum tram_state state, const struct tram_party *who,
                      void *arg) {
    tram_worker *worker = arg;

    (void) client;
    if (state != TRAM_STATE_ONLINE)
        return;
    (void) printf("%s\n", who->address);
    (void) tram_worker_stop(worker, 0);
}

static int ask(tram_worker *worker, const char *name) {
    static const struct tram_client_handlers handlers = { .on_state = on_server };
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    tram_client *client;

    options.handlers = &handlers;
    options.arg = worker;
    options.flags = TRAM_CLIENT_DIRECT | TRAM_CLIENT_PLAIN;
    if (tram_client_new(worker, name, &options, &client) < 0)
        return (void) fprintf(stderr, "%s\n", tram_worker_error(worker)->text), 1;
    return tram_worker_run(worker);
}

int main(int argc, char **argv) {
    static const struct tram_server_handlers handlers = { .on_request = on_request,
                                                          .on_state = on_state };
    struct tram_worker_options worker_options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_worker *worker;
    tram_server *server;

    if (argc < 2)
        return 2;
    options.handlers = &handlers;
    options.flags = TRAM_SERVER_PLAIN;
    options.addresses = (const char *const *) (const void *) (argv + 2);
    worker_options.flags = TRAM_WORKER_NO_SPIN;
    if (tram_worker_new(&worker_options, &worker) < 0)
        return fprintf(stderr, "%s\n", tram_last_error(NULL)->text), 1;
    if (argc == 2)
        return ask(worker, argv[1]);
    if (tram_server_new(worker, argv[1], &options, &server) < 0)
        return fprintf(stderr, "%s\n", tram_worker_error(worker)->text), 1;
    return tram_worker_run(worker);
}
