/* SPDX-License-Identifier: MIT
 *
 * A worker driven by a loop of libuv that you have: one descriptor for its messages and timers.
 * Prints the first message to 1.0.0.2, as of
 *
 *     echo hello | tram send --from 1.0.0.1 --to 1.0.0.2
 */
#include <errno.h>
#include <stdio.h>
#include <tram/worker.h>
#include <uv.h>

static void on_message(tram_worker *worker, const struct tram_msg *msg, void *arg) {
    (void) arg;
    printf("%.*s\n", (int) msg->size, (const char *) msg->data);
    (void) fflush(stdout);
    (void) tram_worker_stop(worker, 0); /* one is enough here */
}

static void on_timer(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    (void) timer, (void) late_ns, (void) missed;
    ++*(int *) arg;
}

static tram_worker *make(int *ticks) {
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    tram_worker *worker;
    tram_timer *timer;

    options.id = TRAM_ID(1, 0, 0, 2);
    if (tram_worker_new(&options, &worker) < 0) {
        (void) fprintf(stderr, "%s\n", tram_worker_error(NULL)->text);
        return NULL;
    }
    if (tram_worker_on_message(worker, on_message, NULL) == 0 &&
        tram_timer_new(worker, on_timer, ticks, &timer) == 0 &&
        tram_timer_set(timer, 1000000, 1000000) == 0) /* each millisecond */
        return worker;
    (void) fprintf(stderr, "%s\n", tram_worker_error(worker)->text);
    return tram_worker_free(worker);
}

static void dispatch(uv_poll_t *poll, int status, int events) {
    int rc;

    (void) status, (void) events;
    while ((rc = tram_worker_dispatch(poll->data)) > 0)
        continue;
    if (rc < 0)
        uv_close((uv_handle_t *) poll, NULL);
}

int main(void) {
    int ticks = 0;
    tram_worker *worker = make(&ticks);
    uv_poll_t poll = {.data = worker};

    if (!worker || uv_poll_init(uv_default_loop(), &poll, tram_worker_fd(worker)) < 0 ||
        uv_poll_start(&poll, UV_READABLE, dispatch) < 0)
        return 1;
    dispatch(&poll, 0, 0); /* once before the first poll */
    (void) uv_run(uv_default_loop(), UV_RUN_DEFAULT);
    (void) fprintf(stderr, "%d ticks\n", ticks);
    (void) tram_worker_free(worker);
    return uv_loop_close(uv_default_loop()) == 0 ? 0 : 1;
}
