/* SPDX-License-Identifier: MIT
 *
 * A worker driven by epoll(7): one descriptor for its messages and timers.
 * Prints the first message to 1.0.0.2, as of
 *
 *     echo hello | tram send --from 1.0.0.1 --to 1.0.0.2
 */
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <tram/worker.h>
#include <unistd.h>

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

int main(void) {
    int ticks = 0;
    tram_worker *worker = make(&ticks);
    int loop = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    int rc = worker && loop >= 0 ? epoll_ctl(loop, EPOLL_CTL_ADD, tram_worker_fd(worker), &event)
                                 : -1;

    while (rc >= 0) {
        while ((rc = tram_worker_dispatch(worker)) > 0)
            continue;
        if (rc == 0 && epoll_wait(loop, &event, 1, -1) < 0 && errno != EINTR)
            rc = -errno;
    }
    (void) fprintf(stderr, "%d ticks\n", ticks);
    (void) tram_worker_free(worker);
    (void) close(loop);
    return rc == -ESHUTDOWN ? 0 : 1;
}
