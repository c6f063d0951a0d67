/* SPDX-License-Identifier: MIT
 *
 * The life of a worker: which thread runs it, how it is stopped and joined; and fork().
 *
 * A worker is idle or running. Who runs it (run, its own thread, each dispatch) makes it running,
 * and is its thread from then on. What waits for it to be idle (join, free from elsewhere) waits on
 * a condition; waiters are counted, because a worker that ends itself has to let them go first.
 */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "sys/process.h"
#include "worker/internal.h"

_Thread_local tram_worker *worker_running;

tram_worker *tram_worker_current(void) {
    return worker_running;
}

uintptr_t worker_self(void) {
    return (uintptr_t) pthread_self();
}

int worker_check(const tram_worker *worker) {
    if (unlikely(!worker))
        return -EINVAL;
    if (unlikely(worker->forked))
        return -ECHILD;
    return likely(load_relaxed(&worker->outside.owner) == worker_self()) ? 0 : -EXDEV;
}

/* ---- running --------------------------------------------------------------------------------- */

static int enter(tram_worker *worker) {
    int rc = 0;

    (void) pthread_mutex_lock(&worker->life_lock);
    if (worker->outside.life == LIFE_RUNNING)
        rc = load_relaxed(&worker->outside.owner) == worker_self() ? -EDEADLK : -EALREADY;
    else if (worker->has_thread && !worker->thread_ended)
        rc = -EALREADY;
    else if (load_acquire(&worker->outside.closing))
        rc = -ESHUTDOWN;
    if (rc == 0) {
        worker->outside.life = LIFE_RUNNING;
        store_relaxed(&worker->outside.owner, worker_self());
    }
    (void) pthread_mutex_unlock(&worker->life_lock);
    return rc;
}

/* The worker may be gone after this. */
static void leave(tram_worker *worker) {
    if (worker->forked)
        return;
    if (worker->free_wanted) {
        worker_destroy(worker);
        return;
    }
    (void) pthread_mutex_lock(&worker->life_lock);
    worker->outside.life = LIFE_IDLE;
    if (worker->waiters > 0)
        (void) pthread_cond_broadcast(&worker->life_changed);
    (void) pthread_mutex_unlock(&worker->life_lock);
}

/* This thread is the worker's while `turn` runs. */
static int as_worker(tram_worker *worker, int (*turn)(tram_worker *worker)) {
    tram_worker *outer = worker_running;
    int rc;

    if (!worker)
        return -EINVAL;
    if (worker->forked)
        return -ECHILD;
    rc = enter(worker);
    if (rc < 0)
        return rc;
    worker_running = worker;
    rc = turn(worker);
    worker_running = outer;
    leave(worker);
    return rc;
}

int tram_worker_run(tram_worker *worker) {
    return as_worker(worker, worker_loop);
}

int tram_worker_dispatch(tram_worker *worker) {
    return as_worker(worker, worker_turn_once);
}

int tram_worker_fd(tram_worker *worker) {
    int rc = worker_check(worker);

    return rc < 0 ? rc : uv_backend_fd(&worker->loop);
}

int tram_worker_stop(tram_worker *worker, int code) {
    if (!worker || code < 0)
        return -EINVAL;
    if (worker->forked)
        return -ECHILD;
    store_ordered(&worker->outside.stop, code);
    worker_call_attention(worker);
    return 0;
}

/* ---- a thread of its own --------------------------------------------------------------------- */

static void *thread_main(void *arg) {
    tram_worker *worker = arg;
    int code;

    store_relaxed(&worker->outside.owner, worker_self());
    sys_thread_name(worker->name);
    worker_running = worker;
    code = worker_loop(worker);
    worker_running = NULL;
    if (worker->forked)
        return NULL;
    if (worker->free_wanted) {
        (void) pthread_detach(pthread_self());
        worker_destroy(worker);
        return NULL;
    }
    (void) pthread_mutex_lock(&worker->life_lock);
    worker->outside.life = LIFE_IDLE;
    worker->thread_ended = true;
    worker->code = code;
    (void) pthread_cond_broadcast(&worker->life_changed);
    (void) pthread_mutex_unlock(&worker->life_lock);
    return NULL;
}

/* Wait for the thread's very end; with the lock, which is let go of meanwhile. */
static void reap(tram_worker *worker) {
    if (worker->thread_joined)
        return;
    worker->thread_joined = true;
    (void) pthread_join(worker->thread, NULL); /* it has unlocked, or is about to return */
}

static int start(tram_worker *worker) {
    sigset_t all, before;
    int rc;

    if (worker->has_thread && !worker->thread_ended)
        return -EALREADY;
    if (worker->outside.life == LIFE_RUNNING)
        return -EALREADY;
    if (worker->has_thread)
        reap(worker);
    /* Signals are for the threads that the application knows; those that a fault raises come
     * nevertheless. */
    (void) sigfillset(&all);
    (void) pthread_sigmask(SIG_SETMASK, &all, &before);
    worker->thread_ended = worker->thread_joined = false;
    worker->outside.life = LIFE_RUNNING;
    rc = -pthread_create(&worker->thread, NULL, thread_main, worker);
    (void) pthread_sigmask(SIG_SETMASK, &before, NULL);
    worker->has_thread = rc == 0;
    if (rc == 0)
        store_relaxed(&worker->outside.owner, (uintptr_t) worker->thread);
    else
        worker->outside.life = LIFE_IDLE;
    return rc;
}

int tram_worker_start(tram_worker *worker) {
    int rc;

    if (!worker)
        return -EINVAL;
    if (worker->forked)
        return -ECHILD;
    (void) pthread_mutex_lock(&worker->life_lock);
    rc = load_acquire(&worker->outside.closing) ? -ESHUTDOWN : start(worker);
    (void) pthread_mutex_unlock(&worker->life_lock);
    return rc;
}

/* The thread has ended: whoever sees to that next owns the worker. */
int tram_worker_join(tram_worker *worker) {
    int rc;

    if (!worker)
        return -EINVAL;
    if (worker->forked)
        return -ECHILD;
    (void) pthread_mutex_lock(&worker->life_lock);
    if (!worker->has_thread) {
        rc = -ESRCH;
    } else if (!worker->thread_ended && pthread_equal(worker->thread, pthread_self())) {
        rc = -EDEADLK;
    } else {
        worker->waiters++;
        while (worker->has_thread && !worker->thread_ended)
            (void) pthread_cond_wait(&worker->life_changed, &worker->life_lock);
        worker->waiters--;
        rc = worker->code;
        if (worker->has_thread) {
            reap(worker);
            worker->has_thread = false;
            store_relaxed(&worker->outside.owner, worker_self());
        }
        (void) pthread_cond_broadcast(&worker->life_changed);
    }
    (void) pthread_mutex_unlock(&worker->life_lock);
    return rc;
}

/* Before it is freed: it ends, if it runs in another thread. False: it runs in this one, inside a
 * handler, and will end when that returns. */
bool worker_quiesce(tram_worker *worker) {
    bool inside;

    store_release(&worker->outside.closing, 1u);
    (void) pthread_mutex_lock(&worker->life_lock);
    inside = worker->outside.life == LIFE_RUNNING &&
             load_relaxed(&worker->outside.owner) == worker_self();
    if (inside)
        worker->free_wanted = true;
    worker->waiters++;
    while (!inside && worker->outside.life == LIFE_RUNNING) {
        store_ordered(&worker->outside.stop, 0);
        worker_call_attention(worker);
        (void) pthread_cond_wait(&worker->life_changed, &worker->life_lock);
    }
    worker->waiters--;
    (void) pthread_mutex_unlock(&worker->life_lock);
    if (inside)
        (void) tram_worker_stop(worker, 0);
    return !inside;
}

/* It is idle, or this thread is at its end: nobody else may be in it any more. */
void worker_let_go(tram_worker *worker) {
    (void) pthread_mutex_lock(&worker->life_lock);
    if (worker->has_thread && !worker->free_wanted)
        reap(worker);
    worker->has_thread = false;
    worker->outside.life = LIFE_IDLE;
    store_relaxed(&worker->outside.owner, worker_self());
    (void) pthread_cond_broadcast(&worker->life_changed); /* joins return */
    while (worker->waiters > 0)
        (void) pthread_cond_wait(&worker->life_changed, &worker->life_lock);
    (void) pthread_mutex_unlock(&worker->life_lock);
}

/* ---- fork ------------------------------------------------------------------------------------ */

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static bool registry_started;
static tram_worker *registry;

static void before_fork(void) {
    (void) pthread_mutex_lock(&registry_lock);
}

static void after_fork_in_parent(void) {
    (void) pthread_mutex_unlock(&registry_lock);
}

/* In the child nothing runs it. libuv's structures may be in any state, if another thread was
 * inside; so what the kernel holds is closed, and they are not touched again. Their layout is
 * part of libuv's ABI. */
static void after_fork_in_child(void) {
    for (tram_worker *worker = registry; worker; worker = worker->registry_next) {
        int fds[] = {worker->inner_set, worker->outer_set, worker->alarm, worker->raise_fd,
                     worker->loop.backend_fd, worker->loop.signal_pipefd[0],
                     worker->loop.signal_pipefd[1], worker->loop.async_io_watcher.fd,
                     worker->loop.async_wfd, worker->loop.emfile_fd};

        worker->forked = true;
        store_relaxed(&worker->outside.attention, 1);
        for (tram_signal *one = worker->all_signals; one; one = one->next)
            (void) signal(one->handle.signum, SIG_DFL); /* or libuv writes to who knows whom */
        for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
            if (fds[i] >= 0)
                (void) close(fds[i]); /* nothing was written through it that close could lose */
    }
    registry = NULL;
    (void) pthread_mutex_unlock(&registry_lock);
}

int worker_register(tram_worker *worker) {
    int rc = 0;

    (void) pthread_mutex_lock(&registry_lock);
    if (!registry_started)
        rc = sys_on_fork(before_fork, after_fork_in_parent, after_fork_in_child);
    if (rc == 0) {
        registry_started = true;
        worker->registry_next = registry;
        worker->registry_link = &registry;
        if (registry)
            registry->registry_link = &worker->registry_next;
        registry = worker;
    }
    (void) pthread_mutex_unlock(&registry_lock);
    return rc;
}

void worker_unregister(tram_worker *worker) {
    (void) pthread_mutex_lock(&registry_lock);
    if (worker->registry_link) {
        *worker->registry_link = worker->registry_next;
        if (worker->registry_next)
            worker->registry_next->registry_link = worker->registry_link;
        worker->registry_link = NULL;
    }
    (void) pthread_mutex_unlock(&registry_lock);
}
