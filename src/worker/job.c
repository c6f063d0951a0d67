/* SPDX-License-Identifier: MIT
 *
 * Jobs: functions that other threads have called here.
 *
 * Two bounded queues, one for urgent jobs. Overview, for each:
 *   post     job_count += 1, or -EAGAIN                                          J0
 *            number = tail++                                                    J4
 *            fill slots[number]; publish number + 1 in it                       J1
 *            attention = 1; asleep? then raise
 *   run      slots[head] published? copy it; head += 1; job_count -= 1           J2, J3
 *
 * Why it is correct
 *   J1 (release) with J2 (acquire): what was filled in is seen. A slot is written again only after
 *   it was copied: no more than jobs_max numbers, of S slots with S at least that, are between
 *   taken and given back. And it is seen that it was: numbers n to n + S are S + 1, so not all of
 *   them were counted (J0) before n was given back (J3). Either n + S itself was counted after:
 *   J3 (release) with J0 (acquire). Or one between was, and took its number before n + S: then J4
 *   with J4, too. (Relaxed there, the thread sanitizer found two writers of a slot.) A producer
 *   that is stopped between taking a number and publishing it holds up those behind it, as a lock
 *   would, but nobody spins for it: the worker sleeps if the slot at the head isn't published, and
 *   whoever publishes raises.
 *   Published, then attention, then a look at `asleep`; the worker stores `asleep`, then looks at
 *   attention (worker_sleep() in loop.c): one of both sees the other. All four are sequentially
 *   consistent.
 *
 * A call that is waited for has a struct of its own, held by both sides, with a word that says who
 * was first: the worker that begins it, or the caller who gives up.
 */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "sys/clock.h"
#include "worker/internal.h"

enum call_state { CALL_WAITS, CALL_RUNS, CALL_GIVEN_UP, CALL_ENDED, CALL_CANCELLED };

struct call {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum call_state state;
    int holders;
    tram_job_fn *done;
};

/* ---- the queues ------------------------------------------------------------------------------ */

int worker_jobs_make(tram_worker *worker, uint32_t max) {
    uint32_t slots = 1;

    while (slots < max)
        slots *= 2;
    worker->outside.jobs_max = max;
    worker->outside.jobs_mask = slots - 1;
    worker->outside.jobs.jobs = calloc(slots, sizeof(struct job));
    worker->outside.urgent.jobs = calloc(slots, sizeof(struct job));
    return worker->outside.jobs.jobs && worker->outside.urgent.jobs ? 0 : -ENOMEM;
}

static int enqueue(tram_worker *worker, const struct job *given, uint32_t flags) {
    struct job_queue *queue;
    struct job *job;
    uint64_t number;

    if (load_acquire(&worker->outside.closing))
        return -ESHUTDOWN;
    if (__atomic_fetch_add(&worker->outside.job_count, 1, __ATOMIC_ACQUIRE) >= /* J0 */
        worker->outside.jobs_max) {
        (void) __atomic_fetch_sub(&worker->outside.job_count, 1, __ATOMIC_RELEASE);
        return -EAGAIN;
    }
    queue = flags & TRAM_JOB_URGENT ? &worker->outside.urgent : &worker->outside.jobs;
    number = __atomic_fetch_add(&queue->tail, 1, __ATOMIC_ACQ_REL); /* J4 */
    job = &queue->jobs[number & worker->outside.jobs_mask];
    job->fn = given->fn;
    job->arg = given->arg;
    job->call = given->call;
    store_release(&job->published, number + 1); /* J1 */
    worker_call_attention(worker);
    return 0;
}

static bool waits(const tram_worker *worker, const struct job_queue *queue) {
    const struct job *job = &queue->jobs[queue->head & worker->outside.jobs_mask];

    return load_acquire(&job->published) == queue->head + 1; /* J2 */
}

bool worker_jobs_wait(const tram_worker *worker) {
    return waits(worker, &worker->outside.urgent) || waits(worker, &worker->outside.jobs);
}

static bool dequeue(tram_worker *worker, struct job *ret_job) {
    struct job_queue *queue = &worker->outside.urgent;

    if (!waits(worker, queue)) {
        queue = &worker->outside.jobs;
        if (!waits(worker, queue))
            return false;
    }
    *ret_job = queue->jobs[queue->head++ & worker->outside.jobs_mask];
    (void) __atomic_fetch_sub(&worker->outside.job_count, 1, __ATOMIC_RELEASE); /* J3 */
    return true;
}

/* ---- running --------------------------------------------------------------------------------- */

static void call_drop(struct call *call) {
    bool last;

    (void) pthread_mutex_lock(&call->lock);
    last = --call->holders == 0;
    (void) pthread_mutex_unlock(&call->lock);
    if (!last)
        return;
    (void) pthread_cond_destroy(&call->changed);
    (void) pthread_mutex_destroy(&call->lock);
    free(call);
}

/* From one state to another; false: it is in a third one. */
static bool call_step(struct call *call, enum call_state from, enum call_state to) {
    bool stepped;

    (void) pthread_mutex_lock(&call->lock);
    stepped = call->state == from;
    if (stepped)
        call->state = to;
    (void) pthread_cond_broadcast(&call->changed);
    (void) pthread_mutex_unlock(&call->lock);
    return stepped;
}

static void run_call(tram_worker *worker, const struct job *job) {
    struct call *call = job->call;

    if (call_step(call, CALL_WAITS, CALL_RUNS)) {
        job->fn(worker, job->arg);
        if (worker->forked)
            return; /* the waiting thread isn't here */
        (void) call_step(call, CALL_RUNS, CALL_ENDED);
    }
    if (call->done)
        call->done(worker, job->arg);
    call_drop(call);
}

bool worker_jobs_run(tram_worker *worker) {
    struct job job;
    int count = 0;

    while (count < JOBS_MAX && dequeue(worker, &job)) {
        count++;
        if (job.call)
            run_call(worker, &job);
        else
            job.fn(worker, job.arg);
        if (unlikely(worker->forked))
            return true;
        worker_after_handler(worker);
        if (load_relaxed(&worker->outside.stop) >= 0)
            break;
    }
    if (worker_jobs_wait(worker))
        worker_call_attention(worker);
    return count > 0;
}

/* The worker ends: no job runs any more. */
void worker_jobs_cancel(tram_worker *worker) {
    struct job job;

    while (worker->outside.jobs.jobs && worker->outside.urgent.jobs && dequeue(worker, &job)) {
        if (!job.call || worker->forked)
            continue;
        (void) call_step(job.call, CALL_WAITS, CALL_CANCELLED);
        if (job.call->done)
            job.call->done(worker, job.arg);
        call_drop(job.call);
    }
    free(worker->outside.jobs.jobs);
    free(worker->outside.urgent.jobs);
    worker->outside.jobs.jobs = worker->outside.urgent.jobs = NULL;
}

/* ---- from outside ---------------------------------------------------------------------------- */

int tram_worker_post(tram_worker *worker, tram_job_fn *fn, void *arg, uint32_t flags) {
    struct job job = {.fn = fn, .arg = arg};

    if (!worker || !fn || (flags & ~TRAM_JOB_URGENT))
        return -EINVAL;
    if (worker->forked)
        return -ECHILD;
    return enqueue(worker, &job, flags);
}

static struct call *call_new(tram_job_fn *done) {
    struct call *call = calloc(1, sizeof(*call));
    pthread_condattr_t attributes;

    if (!call)
        return NULL;
    call->holders = 2;
    call->done = done;
    (void) pthread_mutex_init(&call->lock, NULL);
    (void) pthread_condattr_init(&attributes);
    (void) pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void) pthread_cond_init(&call->changed, &attributes);
    (void) pthread_condattr_destroy(&attributes);
    return call;
}

static int call_wait(struct call *call, int64_t timeout_ns) {
    uint64_t deadline = sys_deadline(timeout_ns);
    struct timespec until = {.tv_sec = (time_t) (deadline / SYS_SECOND),
                             .tv_nsec = (long) (deadline % SYS_SECOND)};
    enum call_state state;
    int rc = 0;

    (void) pthread_mutex_lock(&call->lock);
    while ((call->state == CALL_WAITS || call->state == CALL_RUNS) && rc != ETIMEDOUT) {
        if (deadline == UINT64_MAX)
            rc = pthread_cond_wait(&call->changed, &call->lock);
        else
            rc = pthread_cond_timedwait(&call->changed, &call->lock, &until);
    }
    state = call->state;
    if (state == CALL_WAITS)
        call->state = CALL_GIVEN_UP;
    (void) pthread_mutex_unlock(&call->lock);
    switch (state) {
    case CALL_ENDED:
        return 0;
    case CALL_RUNS:
        return -EINPROGRESS;
    case CALL_CANCELLED:
        return -ECANCELED;
    default:
        return -ETIMEDOUT;
    }
}

int tram_worker_call(tram_worker *worker, tram_job_fn *fn, tram_job_fn *done, void *arg,
                     uint32_t flags, int64_t timeout_ns) {
    struct job job = {.fn = fn, .arg = arg};
    int rc;

    if (!worker || !fn || (flags & ~TRAM_JOB_URGENT) || timeout_ns < TRAM_FOREVER)
        return -EINVAL;
    rc = worker_check(worker);
    if (rc == 0) {
        fn(worker, arg);
        if (done && !worker->forked)
            done(worker, arg);
        return 0;
    }
    if (rc != -EXDEV)
        return rc;
    job.call = call_new(done);
    if (!job.call)
        return -ENOMEM;
    rc = enqueue(worker, &job, flags);
    if (rc < 0) {
        job.call->holders = 1;
    } else {
        rc = call_wait(job.call, timeout_ns);
    }
    call_drop(job.call);
    return rc;
}
