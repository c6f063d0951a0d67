/* SPDX-License-Identifier: MIT
 *
 * Asks the service of service_hello_server.c, and waits for it if it isn't there.
 */
#include <stdio.h>
#include <string.h>

#include <tram/service.h>

int main(int argc, char **argv) {
    const char *address = argc > 2 ? argv[2] : "svc://hello";
    const char *name = argc > 1 ? argv[1] : "world";
    struct tram_worker_options worker_options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    tram_worker *worker;
    tram_client *client;
    tram_reply *reply;
    int rc;

    worker_options.flags = TRAM_WORKER_AUTO;
    options.flags = TRAM_CLIENT_WAIT;
    if (tram_worker_new(&worker_options, &worker) < 0)
        return fprintf(stderr, "%s\n", tram_last_error(NULL)->text), 1;
    rc = tram_client_new(worker, address, &options, &client);
    if (rc == 0)
        rc = tram_client_call(client, 0, name, strlen(name), NULL, &reply);
    if (rc < 0) {
        fprintf(stderr, "%s\n", tram_worker_error(worker)->text);
    } else {
        const struct tram_view *view = tram_reply_view(reply);

        printf("%.*s\n", (int) view->size, (const char *) view->data);
        (void) tram_reply_free(reply);
    }
    (void) tram_worker_free(worker); /* and the client with it */
    return rc < 0;
}
