/* SPDX-License-Identifier: MIT
 *
 * A worker is made and freed here; its errors, and what else is asked of it.
 */
#include "worker/worker.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sys/bell.h"
#include "sys/cleanup.h"
#include "sys/process.h"
#include "worker/internal.h"

#define JOBS_STANDARD 1024u
#define JOBS_LIMIT    (1u << 20)
#define SPIN_STANDARD 20000
#define FLAGS         (TRAM_WORKER_AUTO | TRAM_WORKER_NO_SPIN | TRAM_WORKER_SPIN)

/* ---- errors ---------------------------------------------------------------------------------- */

static _Thread_local struct tram_error made_error = {.text = "no error"};

static int set_error(struct tram_error *error, int code, const char *format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

static int set_error(struct tram_error *error, int code, const char *format, va_list arguments) {
    *error = (struct tram_error){.code = code};
    (void) vsnprintf(error->text, sizeof(error->text), format, arguments);
    return code;
}

int worker_fail(tram_worker *worker, int code, const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    (void) set_error(&worker->error, code, format, arguments);
    va_end(arguments);
    return code;
}

void worker_fail_limit(tram_worker *worker, uint64_t limit) {
    worker->error.limit = limit;
}

int worker_fail_node(tram_worker *worker, int code) {
    worker->error = *tram_last_error(worker->node);
    if (worker->error.code != code) /* the node could not be entered */
        (void) worker_fail(worker, code, "%s", strerror(-code));
    return code;
}

static int fail_making(int code, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static int fail_making(int code, const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    (void) set_error(&made_error, code, format, arguments);
    va_end(arguments);
    return code;
}

const struct tram_error *tram_worker_error(const tram_worker *worker) {
    return worker ? &worker->error : &made_error;
}

/* ---- making ---------------------------------------------------------------------------------- */

static int read_options(const struct tram_worker_options *given,
                        struct tram_worker_options *options) {
    size_t size;

    *options = (struct tram_worker_options){.struct_size = sizeof(*options)};
    if (given) {
        size = given->struct_size;
        if (size < sizeof(size))
            return fail_making(-EINVAL,
                               "options without struct_size: use TRAM_WORKER_OPTIONS_INIT");
        memcpy(options, given, size < sizeof(*options) ? size : sizeof(*options));
        for (size_t i = sizeof(*options); i < size; i++)
            if (((const uint8_t *) given)[i])
                return fail_making(-EINVAL, "options of a later version than this library's");
    }
    if (options->jobs_max == 0)
        options->jobs_max = JOBS_STANDARD;
    if (options->jobs_max > JOBS_LIMIT)
        return fail_making(-EINVAL, "jobs_max is more than %u", JOBS_LIMIT);
    if ((options->flags & ~FLAGS) || options->reserved != 0)
        return fail_making(-EINVAL, "unknown flags, or `reserved` is not 0");
    if ((options->flags & TRAM_WORKER_SPIN) && (options->flags & TRAM_WORKER_NO_SPIN))
        return fail_making(-EINVAL, "TRAM_WORKER_SPIN and TRAM_WORKER_NO_SPIN exclude each other");
    if (options->id == 0)
        options->id = TRAM_EPHEMERAL;
    return 0;
}

/* Looking is the worker's: its node's calls are asked for slices of it. */
static void set_spinning(tram_worker *worker, const struct tram_worker_options *options,
                         struct tram_options *node) {
    if (options->flags & TRAM_WORKER_NO_SPIN)
        node->spin_ns = TRAM_NO_SPIN;
    else if ((options->flags & TRAM_WORKER_SPIN) || node->spin_ns == 0)
        node->spin_ns = SPIN_STANDARD;
    worker->spins = node->spin_ns != TRAM_NO_SPIN;
    worker->spin_ns = node->spin_ns;
    worker->never_sleeps = (options->flags & TRAM_WORKER_SPIN) || node->spin_ns == TRAM_FOREVER;
}

static int open_node(tram_worker *worker, const struct tram_worker_options *options) {
    struct tram_options node = TRAM_OPTIONS_INIT;
    int rc;

    if (options->node) {
        size_t size = options->node->struct_size;

        if (size < sizeof(size))
            return fail_making(-EINVAL, "options without struct_size: use TRAM_OPTIONS_INIT");
        memcpy(&node, options->node, size < sizeof(node) ? size : sizeof(node));
        node.struct_size = sizeof(node);
    }
    set_spinning(worker, options, &node);
    rc = tram_open(options->bus, options->id, &node, &worker->node);
    if (rc < 0)
        made_error = *tram_last_error(NULL);
    return rc;
}

static void on_inner(uv_poll_t *handle, int status, int events) {
    (void) status, (void) events;
    ((tram_worker *) handle->data)->inner_ready = true;
}

static void on_outer(uv_poll_t *handle, int status, int events) {
    (void) status, (void) events;
    ((tram_worker *) handle->data)->outer_ready = true;
}

static void on_raise(uv_poll_t *handle, int status, int events) {
    (void) handle, (void) status, (void) events; /* the counter is read on waking up */
}

static int poll_make(tram_worker *worker, uv_poll_t *handle, int fd, uv_poll_cb callback) {
    int rc = uv_poll_init(&worker->loop, handle, fd);

    handle->data = worker;
    return rc < 0 ? rc : uv_poll_start(handle, UV_READABLE, callback);
}

static int make_loop(tram_worker *worker) {
    int rc;

    worker->node_fd = tram_fd(worker->node);
    if (worker->node_fd < 0)
        return worker->node_fd;
    worker->inner_set = sys_set_new();
    worker->outer_set = sys_set_new();
    worker->alarm = sys_alarm_new();
    worker->raise_fd = sys_raise_new();
    rc = worker->inner_set < 0   ? worker->inner_set
         : worker->outer_set < 0 ? worker->outer_set
         : worker->alarm < 0     ? worker->alarm
         : worker->raise_fd < 0  ? worker->raise_fd
                                 : 0;
    if (rc == 0)
        rc = sys_watch_add(worker->inner_set, worker->node_fd, SYS_READ, NULL);
    if (rc == 0)
        rc = sys_watch_add(worker->inner_set, worker->alarm, SYS_READ, NULL);
    if (rc == 0)
        rc = uv_loop_init(&worker->loop);
    worker->loop_made = rc == 0;
    if (rc == 0)
        rc = poll_make(worker, &worker->inner_poll, worker->inner_set, on_inner);
    if (rc == 0)
        rc = poll_make(worker, &worker->outer_poll, worker->outer_set, on_outer);
    if (rc == 0)
        rc = poll_make(worker, &worker->raise_poll, worker->raise_fd, on_raise);
    return rc;
}

static tram_worker *worker_alloc(void) {
    tram_worker *worker = NULL;
    pthread_mutexattr_t attributes;

    if (posix_memalign((void **) &worker, 64, sizeof(*worker)) != 0)
        return NULL;
    memset(worker, 0, sizeof(*worker));
    worker->inner_set = worker->outer_set = worker->alarm = worker->raise_fd = -1;
    worker->outside.stop = -1;
    worker->outside.owner = worker_self();
    worker->ports_mask = PORTS_FIRST - 1;
    worker->ports = calloc(PORTS_FIRST, sizeof(struct worker_port *));
    (void) snprintf(worker->error.text, sizeof(worker->error.text), "no error");
    (void) pthread_mutexattr_init(&attributes);
    (void) pthread_mutex_init(&worker->life_lock, &attributes);
    (void) pthread_mutexattr_destroy(&attributes);
    (void) pthread_cond_init(&worker->life_changed, NULL);
    if (!worker->ports) {
        free(worker);
        return NULL;
    }
    return worker;
}

int tram_worker_new(const struct tram_worker_options *given, tram_worker **ret_worker) {
    struct tram_worker_options options;
    tram_worker *worker;
    int rc = read_options(given, &options);

    if (rc < 0)
        return rc;
    if (!ret_worker)
        return fail_making(-EINVAL, "ret_worker is NULL");
    worker = worker_alloc();
    if (!worker)
        return fail_making(-ENOMEM, "no memory for a worker");
    if (options.name)
        (void) snprintf(worker->name, sizeof(worker->name), "%s", options.name);
    else
        sys_program(worker->name, sizeof(worker->name));
    worker->flags = options.flags;
    worker->keys = options.keys ? strdup(options.keys) : NULL;
    rc = options.keys && !worker->keys ? -ENOMEM : worker_jobs_make(worker, options.jobs_max);
    if (rc < 0)
        (void) fail_making(rc, "no memory for a worker");
    else
        rc = open_node(worker, &options);
    if (rc == 0) {
        rc = make_loop(worker);
        if (rc == 0)
            rc = worker_register(worker);
        if (rc < 0)
            (void) fail_making(rc, "cannot make an event loop: %s", strerror(-rc));
    }
    if (rc < 0) {
        worker_destroy(worker);
        return rc;
    }
    (void) worker_read_clock(worker);
    *ret_worker = worker;
    return 0;
}

/* ---- freeing --------------------------------------------------------------------------------- */

static void close_left(uv_handle_t *handle, void *arg) {
    (void) arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static void end_loop(tram_worker *worker) {
    if (!worker->loop_made)
        return;
    uv_walk(&worker->loop, close_left, NULL);
    while (uv_loop_close(&worker->loop) == UV_EBUSY)
        (void) uv_run(&worker->loop, UV_RUN_ONCE); /* closing handles keep it from waiting */
}

static void end_layers(tram_worker *worker) {
    struct worker_ending *ending;

    while ((ending = worker->endings)) {
        worker_ending_remove(ending);
        ending->fn(ending);
    }
    worker_run_deferred(worker);
}

/* Workers of the parent that were freed in a child. */
static tram_worker *graveyard;

/* By the thread that owns it, while nothing runs it; also what was made in part. */
void worker_destroy(tram_worker *worker) {
    if (!worker->forked) {
        worker_let_go(worker);
        worker_jobs_cancel(worker);
        end_layers(worker);
        worker_watches_end(worker);
        end_loop(worker);
        worker_unregister(worker);
    }
    worker_jobs_cancel(worker);
    worker_timers_end(worker);
    worker_watches_end(worker);
    worker_peers_end(worker);
    worker_messages_end(worker);
    (void) tram_close(worker->node);
    if (!worker->forked) {
        cleanup_fd(&worker->inner_set);
        cleanup_fd(&worker->outer_set);
        cleanup_fd(&worker->alarm);
        cleanup_fd(&worker->raise_fd);
        (void) pthread_cond_destroy(&worker->life_changed);
        (void) pthread_mutex_destroy(&worker->life_lock);
    }
    free(worker->keys);
    if (worker->forked) { /* libuv's part of it is not to be touched: it stays, and is no leak */
        worker->registry_next = graveyard;
        graveyard = worker;
        return;
    }
    free(worker);
}

tram_worker *tram_worker_free(tram_worker *worker) {
    if (!worker)
        return NULL;
    if (worker->forked || worker_quiesce(worker))
        worker_destroy(worker);
    return NULL;
}

void worker_ending_add(tram_worker *worker, struct worker_ending *ending) {
    ending->next = worker->endings;
    ending->link = &worker->endings;
    if (ending->next)
        ending->next->link = &ending->next;
    worker->endings = ending;
}

void worker_ending_remove(struct worker_ending *ending) {
    if (!ending->link)
        return;
    *ending->link = ending->next;
    if (ending->next)
        ending->next->link = ending->link;
    ending->link = NULL;
}

/* ---- asking ---------------------------------------------------------------------------------- */

tram_node *tram_worker_node(tram_worker *worker) {
    return worker ? worker->node : NULL;
}

void *tram_worker_loop(tram_worker *worker) {
    return worker && !worker->forked ? &worker->loop : NULL;
}

const char *worker_keys(const tram_worker *worker) {
    return worker->keys;
}

const char *tram_worker_name(const tram_worker *worker) {
    return worker ? worker->name : NULL;
}

void *worker_shared(const tram_worker *worker) {
    return worker->shared;
}

void worker_set_shared(tram_worker *worker, void *shared) {
    worker->shared = shared;
}

uint32_t worker_flags(const tram_worker *worker) {
    return worker->flags;
}

bool worker_looks(const tram_worker *worker) {
    return worker->looks;
}

bool worker_spins(const tram_worker *worker) {
    return worker->spins;
}
