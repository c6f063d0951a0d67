/* SPDX-License-Identifier: MIT
 *
 * A worker driven by a main loop of GLib: one descriptor for its messages and timers.
 * Prints the first message to 1.0.0.2, as of
 *
 *     echo hello | tram send --from 1.0.0.1 --to 1.0.0.2
 */
#include <glib-unix.h>
#include <glib.h>
#include <stdio.h>
#include <tram/worker.h>

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

struct state {
    tram_worker *worker;
    GMainLoop *loop;
};

static gboolean dispatch(gint fd, GIOCondition condition, gpointer data) {
    struct state *state = data;
    int rc;

    (void) fd, (void) condition;
    while ((rc = tram_worker_dispatch(state->worker)) > 0)
        continue;
    if (rc == 0)
        return G_SOURCE_CONTINUE;
    g_main_loop_quit(state->loop);
    return G_SOURCE_REMOVE;
}

int main(void) {
    int ticks = 0;
    struct state state = {.worker = make(&ticks)};

    if (!state.worker)
        return 1;
    state.loop = g_main_loop_new(NULL, FALSE);
    if (dispatch(0, 0, &state)) { /* once before the first poll */
        (void) g_unix_fd_add(tram_worker_fd(state.worker), G_IO_IN, dispatch, &state);
        g_main_loop_run(state.loop);
    }
    (void) fprintf(stderr, "%d ticks\n", ticks);
    g_main_loop_unref(state.loop);
    (void) tram_worker_free(state.worker);
    return 0;
}
