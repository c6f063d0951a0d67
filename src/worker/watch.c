/* SPDX-License-Identifier: MIT
 *
 * Watches of descriptors and of signals. Descriptors lie in a set of our own, of which libuv's loop
 * watches one descriptor: they stay as they are (libuv would make them non-blocking), errors come
 * at once, and a blocking call can wait for those of the layer alone. Signals are libuv's.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "sys/bell.h"
#include "worker/internal.h"

/* ---- descriptors ----------------------------------------------------------------------------- */

#define IO_EVENTS (TRAM_IO_READ | TRAM_IO_WRITE)

static int io_new(tram_worker *worker, int set, int fd, uint32_t events, tram_io_fn *fn, void *arg,
                  tram_io **ret_io) {
    tram_io *io;
    int rc;

    if (!fn || !ret_io || fd < 0 || (events & ~(IO_EVENTS | TRAM_IO_HANGUP)))
        return worker_fail(worker, -EINVAL, "no function, no ret_io, no descriptor, or events");
    io = calloc(1, sizeof(*io));
    if (!io)
        return worker_fail(worker, -ENOMEM, "no memory for a watch");
    *io = (tram_io){.worker = worker, .fn = fn, .arg = arg, .fd = fd, .set = set};
    rc = sys_watch_add(set, fd, events & IO_EVENTS, io);
    if (rc < 0) {
        free(io);
        return worker_fail(worker, rc, "cannot watch descriptor %d: %s", fd, strerror(-rc));
    }
    io->next = worker->all_ios;
    io->link = &worker->all_ios;
    if (io->next)
        io->next->link = &io->next;
    worker->all_ios = io;
    worker->inner_ios += set == worker->inner_set;
    *ret_io = io;
    return 0;
}

int tram_io_new(tram_worker *worker, int fd, uint32_t events, tram_io_fn *fn, void *arg,
                tram_io **ret_io) {
    int rc = worker_check(worker);

    return rc < 0 ? rc : io_new(worker, worker->outer_set, fd, events, fn, arg, ret_io);
}

int worker_inner_io(tram_worker *worker, int fd, uint32_t events, tram_io_fn *fn, void *arg,
                    tram_io **ret_io) {
    int rc = worker_check(worker);

    return rc < 0 ? rc : io_new(worker, worker->inner_set, fd, events, fn, arg, ret_io);
}

int tram_io_set(tram_io *io, uint32_t events) {
    int rc = io ? worker_check(io->worker) : -EINVAL;

    if (rc < 0)
        return rc;
    if (events & ~(IO_EVENTS | TRAM_IO_HANGUP))
        return worker_fail(io->worker, -EINVAL, "unknown events");
    rc = sys_watch_change(io->set, io->fd, events & IO_EVENTS, io);
    if (rc < 0)
        return worker_fail(io->worker, rc, "cannot watch descriptor %d: %s", io->fd,
                           strerror(-rc));
    return 0;
}

tram_io *tram_io_free(tram_io *io) {
    tram_worker *worker;

    if (!io || worker_check(io->worker) == -EXDEV)
        return NULL;
    worker = io->worker;
    if (!worker->forked) {
        (void) sys_watch_remove(io->set, io->fd); /* unless the caller closed it already */
        worker->inner_ios -= io->set == worker->inner_set;
    }
    for (struct ready_frame *frame = worker->frames; frame; frame = frame->outer)
        for (int i = 0; i < frame->count; i++)
            if (frame->ready[i].data == io)
                frame->ready[i].data = NULL;
    *io->link = io->next;
    if (io->next)
        io->next->link = io->link;
    free(io);
    return NULL;
}

/* Have the handlers called of those that are ready. */
static bool run(tram_worker *worker, int set, struct ready_frame *frame) {
    bool any = false;

    frame->outer = worker->frames;
    worker->frames = frame;
    for (int i = 0; i < frame->count; i++) {
        tram_io *io = frame->ready[i].data;

        if (!io) /* freed meanwhile; or the node or the alarm, which are looked at anyway */
            continue;
        any = true;
        io->fn(io, io->fd, frame->ready[i].events, io->arg);
        if (unlikely(worker->forked))
            break;
        worker_after_handler(worker);
        if (unlikely(worker_over(worker)) && set == worker->outer_set)
            break; /* level-triggered: the others are found again */
    }
    worker->frames = frame->outer;
    return any;
}

/* Have the handlers of a set called that are due. */
bool worker_ready_run(tram_worker *worker, int set) {
    struct ready_frame frame;

    frame.count = sys_watch_ready(set, frame.ready, 16);
    return run(worker, set, &frame);
}

/* Sleep until something of the inner set is due, and have its handlers called. */
void worker_ready_wait(tram_worker *worker) {
    struct ready_frame frame;

    frame.count = sys_watch_wait(worker->inner_set, frame.ready, 16);
    worker_sources_wake(worker);
    worker->looked_at = worker_read_clock(worker);
    if (worker->armed <= worker->now)
        worker->armed = 0; /* it rang: to be set anew */
    (void) run(worker, worker->inner_set, &frame);
}

/* ---- signals --------------------------------------------------------------------------------- */

static void on_signal(uv_signal_t *handle, int number) {
    tram_signal *signal = handle->data;
    tram_worker *worker = signal->worker;

    signal->fn(signal, number, signal->arg);
    if (!worker->forked)
        worker_after_handler(worker);
}

int tram_signal_new(tram_worker *worker, int number, tram_signal_fn *fn, void *arg,
                    tram_signal **ret_signal) {
    tram_signal *signal;
    int rc = worker_check(worker);

    if (rc < 0)
        return rc;
    if (!fn || !ret_signal || number < 1 || number >= NSIG || number == SIGKILL ||
        number == SIGSTOP)
        return worker_fail(worker, -EINVAL, "no function, no ret_signal, or no such signal");
    signal = calloc(1, sizeof(*signal));
    if (!signal)
        return worker_fail(worker, -ENOMEM, "no memory for a signal");
    *signal = (tram_signal){.worker = worker, .fn = fn, .arg = arg};
    rc = uv_signal_init(&worker->loop, &signal->handle);
    if (rc < 0) {
        free(signal);
        return worker_fail(worker, rc, "cannot watch signals: %s", strerror(-rc));
    }
    signal->handle.data = signal;
    signal->next = worker->all_signals;
    signal->link = &worker->all_signals;
    if (signal->next)
        signal->next->link = &signal->next;
    worker->all_signals = signal;
    worker->signal_count++;
    rc = uv_signal_start(&signal->handle, on_signal, number);
    if (rc < 0) {
        (void) tram_signal_free(signal);
        return worker_fail(worker, rc, "cannot watch signal %d: %s", number, strerror(-rc));
    }
    *ret_signal = signal;
    return 0;
}

static void signal_closed(uv_handle_t *handle) {
    free(handle->data);
}

tram_signal *tram_signal_free(tram_signal *signal) {
    if (!signal || worker_check(signal->worker) == -EXDEV)
        return NULL;
    *signal->link = signal->next;
    if (signal->next)
        signal->next->link = signal->link;
    if (signal->worker->forked)
        return NULL; /* libuv still has it in a list of the process */
    signal->worker->signal_count--;
    uv_close((uv_handle_t *) &signal->handle, signal_closed);
    return NULL;
}

void worker_watches_end(tram_worker *worker) {
    while (worker->all_ios)
        (void) tram_io_free(worker->all_ios);
    while (worker->all_signals)
        (void) tram_signal_free(worker->all_signals);
}
