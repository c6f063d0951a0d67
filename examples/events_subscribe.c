/* SPDX-License-Identifier: MIT
 *
 * Prints what any number of events_publish say: of all rooms, or of those with a prefix ("ki*").
 * Publishers may come, go and be killed.
 *     events_subscribe [TOPIC [TIMES]]
 */
#include <stdio.h>
#include <stdlib.h>

#include <tram/service.h>

static int left = -1;

static void on_event(tram_subscription *subscription, const struct tram_view *view, int status,
                     void *arg) {
    (void) subscription;
    (void) arg;
    if (view == NULL) { /* cut off: only who asked for back-pressure can be */
        (void) fprintf(stderr, "the subscription ended: %d\n", status);
        (void) tram_worker_stop(tram_worker_current(), 1);
        return;
    }
    printf("%s %.*s", view->topic, (int) view->size, (const char *) view->data);
    if (view->missed > 0)
        printf(" (%llu missed before it)", (unsigned long long) view->missed);
    printf("\n");
    (void) fflush(stdout);
    if (left > 0 && --left == 0)
        (void) tram_worker_stop(tram_worker_current(), 0);
}

int main(int argc, char **argv) {
    struct tram_worker_options worker_options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_subscribe_options options = TRAM_SUBSCRIBE_OPTIONS_INIT;
    tram_worker *worker;
    tram_client *client;
    int rc;

    left = argc > 2 ? atoi(argv[2]) : left;
    worker_options.flags = TRAM_WORKER_AUTO;
    options.initial = 1; /* what was published last, at once */
    if (tram_worker_new(&worker_options, &worker) < 0 ||
        tram_client_new(worker, "topic://weather", NULL, &client) < 0 ||
        tram_client_subscribe(client, TRAM_ANY_EVENT, argc > 1 ? argv[1] : NULL, &options, on_event,
                              NULL, NULL) < 0)
        return fprintf(stderr, "%s\n", tram_last_error(NULL)->text), 1;
    rc = tram_worker_run(worker);
    (void) tram_worker_free(worker);
    return rc;
}
