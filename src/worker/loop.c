/* SPDX-License-Identifier: MIT
 *
 * The loop: turns while there is work, a while of spinning, sleep.
 *
 * Sleeping: `asleep` is stored, then attention is looked at; who wants attention stores that, then
 * looks at `asleep`, and raises the counter if it was the one who took it back. So each raise
 * belongs to one sleep, and the worker knows how many it has to take back.
 */
#include <errno.h>
#include <string.h>

#include "sys/clock.h"
#include "worker/internal.h"

void worker_call_attention(tram_worker *worker) {
    store_ordered(&worker->outside.attention, 1);
    if (load_ordered(&worker->outside.asleep) && swap_ordered(&worker->outside.asleep, 0))
        sys_raise(worker->raise_fd);
}

int64_t worker_read_clock(tram_worker *worker) {
    worker->now = (int64_t) sys_now();
    worker->since_clock = 0;
    return worker->now;
}

int64_t worker_now(tram_worker *worker) {
    return worker->since_clock < CLOCK_EVERY ? worker->now : worker_read_clock(worker);
}

/* ---- a turn ---------------------------------------------------------------------------------- */

/* Somebody outside, or a handler, wants something. */
static bool attend(tram_worker *worker) {
    bool any;

    (void) swap_ordered(&worker->outside.attention, 0);
    any = worker_jobs_run(worker);
    if (worker->forked)
        return true;
    any |= worker_tell_fresh(worker);
    worker_after_handler(worker);
    return any;
}

/* The handlers of descriptors that libuv has found ready. */
static bool descriptors(tram_worker *worker) {
    bool any = false;

    if (worker->inner_ready && worker->inner_ios > 0)
        any = worker_ready_run(worker, worker->inner_set);
    worker->inner_ready = false;
    if (worker->outer_ready && !worker->forked) {
        worker->outer_ready = false;
        any |= worker_ready_run(worker, worker->outer_set);
    }
    return any;
}

/* Give libuv its turn. */
static void ask_uv(tram_worker *worker, uv_run_mode mode) {
    (void) uv_run(&worker->loop, mode);
    if (!worker->forked)
        worker_after_handler(worker);
}

/* What a worker under load must not forget. */
static bool chores(tram_worker *worker) {
    bool any = false;

    if (worker->now - worker->looked_at >= LOOK_NS) {
        worker->looked_at = worker->now;
        ask_uv(worker, UV_RUN_NOWAIT);
        if (worker->forked)
            return true;
        any = descriptors(worker);
        if (!worker->forked && (worker->space_count > 0 || (worker->watch_count > 0 &&
                                worker->now - worker->events_at >= EVENTS_NS))) {
            worker->events_at = worker->now;
            any |= worker_events(worker);
        }
        if (!worker->forked)
            worker_parked_due(worker);
        if (!worker->forked && !worker_receives(worker))
            worker_settle(worker);
    }
    return any;
}

static bool timers(tram_worker *worker) {
    bool any = false;

    if (worker->now >= heap_due(&worker->inner_timers))
        any = worker_timers_run(worker, &worker->inner_timers);
    if (!worker->forked && worker->now >= heap_due(&worker->timers))
        any |= worker_timers_run(worker, &worker->timers);
    return any;
}

/* True: something was done. */
static bool turn(tram_worker *worker, int64_t look_ns) {
    int64_t pause = 0;
    bool any = false;

    worker->looks = look_ns > 0;
    if (unlikely(worker_interrupted(worker))) {
        any = attend(worker);
        if (worker_over(worker))
            return true;
    }
    if (worker->sources && worker_sources_run(worker)) {
        any = true;
        if (unlikely(worker_over(worker)))
            return true;
    }
    /* A receive that finds nothing costs some µs, or the way to sleep and back; and sources that
     * look, too, are not kept waiting for its look. */
    if (any) {
        pause = RECEIVE_NS;
    } else if (worker->sources && look_ns > 0) {
        pause = look_ns;
        look_ns = 0;
    }
    if (pause == 0 || worker_read_clock(worker) - worker->received_at >= pause) {
        any |= worker_messages(worker, look_ns);
        worker->received_at = worker->now;
    }
    if (unlikely(worker_over(worker)))
        return true;
    if (any && ++worker->since_look < MESSAGES_MAX &&
        worker->timers.count + worker->inner_timers.count == 0)
        return true;
    worker->since_look = 0;
    (void) worker_read_clock(worker);
    any |= timers(worker);
    return worker_over(worker) || chores(worker) || any;
}

/* ---- sleeping -------------------------------------------------------------------------------- */

/* An alarm that rings too early is left: it is one wake-up more, and not one system call more each
 * time that the deadline moves on. */
int worker_arm(tram_worker *worker, int64_t due) {
    if (worker->armed > worker->now && worker->armed <= due)
        return 0;
    worker->armed = due;
    return sys_alarm_set(worker->alarm, due);
}

/* Is its descriptor to wake us? Where nobody takes messages, it would do so without end. */
static void hear(tram_worker *worker, bool hears) {
    if (likely(worker->deaf != hears))
        return;
    worker->deaf = !hears;
    (void) sys_watch_change(worker->inner_set, worker->node_fd, hears ? SYS_READ : 0,
                            NULL); /* cannot fail: it is in the set */
}

/* When the node wants to be called again, having gone to sleep; 0: now. */
int64_t worker_node_due(tram_worker *worker, bool receiving) {
    int64_t now = worker_read_clock(worker);
    int64_t timeout;

    if (!receiving) {
        hear(worker, false);
        worker_settle(worker);
        return now + IDLE_NS;
    }
    timeout = tram_timeout(worker->node);
    hear(worker, timeout != 0 || worker_receives(worker));
    if (worker->deaf) /* messages that nobody takes; events are looked at meanwhile */
        return now + RETRY_NS;
    if (timeout == 0)
        return worker->retry_at > now ? worker->retry_at : 0;
    if (timeout == TRAM_FOREVER)
        return INT64_MAX;
    if (timeout < 0) {
        (void) worker_fail_node(worker, (int) timeout);
        return now + RETRY_NS;
    }
    return now + timeout;
}

/* Everything is armed. False: there is something to do after all. */
static bool fall_asleep(tram_worker *worker) {
    bool receiving = worker_receives(worker) || worker->watch_count + worker->space_count > 0;
    int64_t due;

    if (receiving && worker_events(worker))
        return false;
    if (worker->forked)
        return false;
    due = worker_node_due(worker, receiving);
    if (due == 0)
        return false;
    if (heap_due(&worker->timers) < due)
        due = heap_due(&worker->timers);
    if (heap_due(&worker->inner_timers) < due)
        due = heap_due(&worker->inner_timers);
    if (worker->parked.count > 0 && worker->stranger &&
        worker->parked.first->since + PARK_NS < due)
        due = worker->parked.first->since + PARK_NS;
    if (worker->plain.count > 0 && worker->plain.first->since + PARK_NS < due)
        due = worker->plain.first->since + PARK_NS;
    if (due <= worker->now || !worker_sources_sleep(worker))
        return false;
    store_ordered(&worker->outside.asleep, 1);
    if (load_ordered(&worker->outside.attention)) {
        if (!swap_ordered(&worker->outside.asleep, 0))
            worker->raises_owed++;
        worker_sources_wake(worker);
        return false;
    }
    (void) worker_arm(worker, due); /* cannot fail for a valid time */
    worker->sleeping = true;
    return true;
}

static void wake_up(tram_worker *worker) {
    if (!worker->sleeping)
        return;
    worker->sleeping = false;
    worker_sources_wake(worker);
    if (!swap_ordered(&worker->outside.asleep, 0))
        worker->raises_owed++;
    if (worker->raises_owed > 0)
        worker->raises_owed -= sys_raise_take(worker->raise_fd);
    worker->looked_at = worker_read_clock(worker);
    if (worker->armed <= worker->now)
        worker->armed = 0; /* it rang: to be set anew */
}

/* Nothing to do: spin for a while, then sleep until there is. */
static void rest(tram_worker *worker) {
    if (worker->never_sleeps) {
        worker->retry_at = worker->retry_at > worker->now ? worker->retry_at : 0;
        return;
    }
    if (worker->spins) {
        if (worker->spun_from == 0)
            worker->spun_from = worker->now;
        if (worker->now - worker->spun_from < worker->spin_ns)
            return;
    }
    if (!fall_asleep(worker))
        return;
    ask_uv(worker, UV_RUN_ONCE);
    if (worker->forked)
        return;
    wake_up(worker);
    worker->spun_from = 0;
    (void) descriptors(worker);
}

/* ---- running --------------------------------------------------------------------------------- */

static int64_t look_ns(const tram_worker *worker) {
    return worker->spins ? SLICE_NS : 0;
}

/* The code it was stopped with, taken; or -1. */
static int64_t stopped(tram_worker *worker) {
    if (likely(load_relaxed(&worker->outside.stop) < 0))
        return -1;
    return swap_ordered(&worker->outside.stop, -1);
}

int worker_loop(tram_worker *worker) {
    wake_up(worker);
    (void) worker_read_clock(worker);
    worker_call_attention(worker);
    for (;;) {
        bool any = turn(worker, look_ns(worker));
        int64_t code;

        if (unlikely(worker->forked))
            return -ECHILD;
        code = stopped(worker);
        if (unlikely(code >= 0)) {
            worker_settle(worker); /* what handlers staged */
            return (int) code;
        }
        if (any)
            worker->spun_from = 0;
        else
            rest(worker);
        if (unlikely(worker->forked))
            return -ECHILD;
    }
}

/* One turn for a foreign loop. Watches of libuv handles that are not ours reach the kernel with the
 * next uv_run() only; so there is one more if there are such. */
int worker_turn_once(tram_worker *worker) {
    int64_t code;
    bool any = false;

    wake_up(worker);
    (void) worker_read_clock(worker); /* who calls may have been away for long */
    ask_uv(worker, UV_RUN_NOWAIT);
    if (!worker->forked)
        any = descriptors(worker);
    if (!worker->forked)
        any |= turn(worker, 0);
    if (worker->forked)
        return -ECHILD;
    if (worker->staged)
        worker_settle(worker);
    code = stopped(worker);
    if (code >= 0) {
        worker_call_attention(worker);
        return -ESHUTDOWN;
    }
    if (any || !fall_asleep(worker))
        return worker->forked ? -ECHILD : 1;
    if (worker->loop.active_handles > 3 + worker->signal_count) {
        int timeout;

        ask_uv(worker, UV_RUN_NOWAIT);
        timeout = uv_backend_timeout(&worker->loop);
        if (timeout >= 0 && worker->now + timeout * INT64_C(1000000) < worker->armed)
            (void) worker_arm(worker, worker->now + timeout * INT64_C(1000000));
    }
    return 0;
}
