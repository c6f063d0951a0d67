/* SPDX-License-Identifier: MIT
 *
 * Publishes the temperature of a room, ten times a second: to all who subscribed, written once.
 *     events_publish [ROOM [TIMES]]
 */
#include <stdio.h>
#include <stdlib.h>

#include <tram/service.h>

enum { TEMPERATURE = 1 };

static const char *room = "kitchen";
static int left = -1, value = 200;

static void on_time(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    struct tram_how how = TRAM_HOW_INIT;
    char text[16];
    int size = snprintf(text, sizeof(text), "%d.%d", value / 10, value % 10);

    (void) timer;
    (void) late_ns;
    (void) missed;
    how.topic = room;
    how.flags = TRAM_HOW_KEEP; /* the newest is there for who subscribes later */
    if (tram_server_publish(arg, TEMPERATURE, text, (size_t) size, &how) == 0)
        value++;
    if (left > 0 && --left == 0)
        (void) tram_worker_stop(tram_worker_current(), 0);
}

int main(int argc, char **argv) {
    struct tram_worker_options worker_options = TRAM_WORKER_OPTIONS_INIT;
    tram_worker *worker;
    tram_server *server;
    tram_timer *timer;

    room = argc > 1 ? argv[1] : room;
    left = argc > 2 ? atoi(argv[2]) : left;
    worker_options.flags = TRAM_WORKER_AUTO;
    if (tram_worker_new(&worker_options, &worker) < 0 ||
        tram_server_new(worker, "topic://weather", NULL, &server) < 0 ||
        tram_timer_new(worker, on_time, server, &timer) < 0)
        return fprintf(stderr, "%s\n", tram_last_error(NULL)->text), 1;
    (void) tram_timer_set(timer, 0, 100000000);
    (void) tram_worker_run(worker);
    (void) tram_worker_free(worker); /* and what belongs to it */
    return 0;
}
