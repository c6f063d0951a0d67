/* SPDX-License-Identifier: MIT
 *
 * Timers: a heap by due time, of which the alarm (a timerfd) is told the first when the worker goes
 * to sleep. While it is awake the clock is looked at.
 */
#include <errno.h>
#include <stdlib.h>

#include "worker/internal.h"

/* ---- the heap -------------------------------------------------------------------------------- */

static void put(struct heap *heap, uint32_t place, tram_timer *timer) {
    heap->timers[place - 1] = timer;
    timer->place = place;
}

static void rise(struct heap *heap, tram_timer *timer) {
    uint32_t place = timer->place;

    while (place > 1 && heap->timers[place / 2 - 1]->due > timer->due) {
        put(heap, place, heap->timers[place / 2 - 1]);
        place /= 2;
    }
    put(heap, place, timer);
}

static void sink(struct heap *heap, tram_timer *timer) {
    uint32_t place = timer->place;

    for (;;) {
        uint32_t child = place * 2;

        if (child > heap->count)
            break;
        if (child < heap->count && heap->timers[child]->due < heap->timers[child - 1]->due)
            child++;
        if (heap->timers[child - 1]->due >= timer->due)
            break;
        put(heap, place, heap->timers[child - 1]);
        place = child;
    }
    put(heap, place, timer);
}

static void heap_remove(tram_timer *timer) {
    struct heap *heap = timer->heap;
    tram_timer *last;

    if (timer->place == 0)
        return;
    last = heap->timers[--heap->count];
    if (last != timer) {
        put(heap, timer->place, last);
        rise(heap, last);
        sink(heap, last);
    }
    timer->place = 0;
}

/* There is room: tram_timer_new() saw to it. */
static void heap_set(tram_timer *timer) {
    struct heap *heap = timer->heap;

    if (timer->place == 0) {
        heap->count++;
        put(heap, heap->count, timer);
    }
    rise(heap, timer);
    sink(heap, timer);
}

/* ---- timers ---------------------------------------------------------------------------------- */

static int timer_new(tram_worker *worker, struct heap *heap, tram_timer_fn *fn, void *arg,
                     tram_timer **ret_timer) {
    tram_timer *timer;

    if (heap->room <= worker->timer_count) {
        uint32_t room = heap->room ? heap->room * 2 : 16;
        tram_timer **timers;

        while (room <= worker->timer_count)
            room *= 2;
        timers = realloc(heap->timers, room * sizeof(tram_timer *));
        if (!timers)
            return worker_fail(worker, -ENOMEM, "no memory for a timer");
        heap->timers = timers;
        heap->room = room;
    }
    timer = calloc(1, sizeof(*timer));
    if (!timer)
        return worker_fail(worker, -ENOMEM, "no memory for a timer");
    *timer = (tram_timer){.worker = worker, .fn = fn, .arg = arg, .heap = heap};
    timer->next = worker->all_timers;
    timer->link = &worker->all_timers;
    if (timer->next)
        timer->next->link = &timer->next;
    worker->all_timers = timer;
    worker->timer_count++;
    *ret_timer = timer;
    return 0;
}

int tram_timer_new(tram_worker *worker, tram_timer_fn *fn, void *arg, tram_timer **ret_timer) {
    int rc = worker_check(worker);

    if (rc < 0)
        return rc;
    if (!fn || !ret_timer)
        return worker_fail(worker, -EINVAL, "a timer without a function, or no ret_timer");
    return timer_new(worker, &worker->timers, fn, arg, ret_timer);
}

int worker_inner_timer(tram_worker *worker, tram_timer_fn *fn, void *arg,
                       tram_timer **ret_timer) {
    int rc = worker_check(worker);

    return rc < 0 ? rc : timer_new(worker, &worker->inner_timers, fn, arg, ret_timer);
}

tram_timer *tram_timer_free(tram_timer *timer) {
    if (!timer || worker_check(timer->worker) == -EXDEV)
        return NULL;
    heap_remove(timer);
    timer->worker->timer_count--;
    *timer->link = timer->next;
    if (timer->next)
        timer->next->link = timer->link;
    free(timer);
    return NULL;
}

int tram_timer_set(tram_timer *timer, int64_t first_ns, int64_t every_ns) {
    int64_t now;
    int rc = timer ? worker_check(timer->worker) : -EINVAL;

    if (rc < 0)
        return rc;
    if (first_ns < TRAM_FOREVER || every_ns < 0)
        return worker_fail(timer->worker, -EINVAL, "a time below 0");
    if (first_ns == TRAM_FOREVER) {
        heap_remove(timer);
        return 0;
    }
    now = worker_read_clock(timer->worker);
    timer->due = first_ns < INT64_MAX - 1 - now ? now + first_ns : INT64_MAX - 1;
    timer->every = every_ns;
    heap_set(timer);
    return 0;
}

/* ---- running --------------------------------------------------------------------------------- */

/* The next turn of a cyclic timer is counted from when this one was due. */
static uint64_t set_next(tram_timer *timer, int64_t late) {
    uint64_t missed;

    if (timer->every == 0) {
        heap_remove(timer);
        return 0;
    }
    missed = (uint64_t) (late / timer->every);
    if (timer->every < INT64_MAX - 1 - timer->due - (int64_t) missed * timer->every)
        timer->due += ((int64_t) missed + 1) * timer->every;
    else
        timer->due = INT64_MAX - 1;
    heap_set(timer);
    return missed;
}

bool worker_timers_run(tram_worker *worker, struct heap *heap) {
    int64_t until = worker->now;
    bool any = false;

    for (int i = 0; i < TIMERS_MAX && heap_due(heap) <= until; i++) {
        tram_timer *timer = heap->timers[0];
        int64_t late = worker_read_clock(worker) - timer->due;
        uint64_t missed = set_next(timer, late);

        any = true;
        timer->fn(timer, late, missed, timer->arg);
        if (unlikely(worker->forked))
            return true;
        worker_after_handler(worker);
        if (unlikely(worker_over(worker)) && heap == &worker->timers)
            break;
    }
    return any;
}

void worker_timers_end(tram_worker *worker) {
    while (worker->all_timers)
        (void) tram_timer_free(worker->all_timers);
    free(worker->timers.timers);
    free(worker->inner_timers.timers);
    worker->timers = worker->inner_timers = (struct heap){0};
}
