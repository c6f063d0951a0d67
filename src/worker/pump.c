/* SPDX-License-Identifier: MIT
 *
 * The wait of a blocking call: messages of one port, and what the layer itself needs, are dealt
 * with while it lasts; everything of the application's waits.
 */
#include <errno.h>

#include "sys/clock.h"
#include "worker/internal.h"

/* Messages in `later` for this port, which came before the call. */
static void from_later(tram_worker *worker, struct worker_port *port, const bool *done) {
    uint32_t number = port->port;
    struct held **link = &worker->later.first;

    while (*link && !*done && !worker->forked) {
        struct held *held = *link;
        struct tram_msg msg = held->message.msg;

        if (worker_port_of(&msg) != number) {
            link = &held->next;
            continue;
        }
        *link = held->next;
        if (!held->next)
            worker->later.last = link;
        worker->later.count--;
        worker_hand_on(worker, port, held, &msg);
        link = &worker->later.first; /* it may be another list now */
    }
}

/* The batch: those of this port are handed on, the others put off. */
static void from_batch(tram_worker *worker, struct worker_port *port, const bool *done) {
    while (worker->batch_at < worker->batch_count && !worker->forked) {
        struct tram_msg msg = worker->batch[worker->batch_at++];

        if (worker_port_of(&msg) == port->port && !*done)
            worker_hand_on(worker, port, NULL, &msg);
        else
            worker_put_off(worker, &msg);
    }
}

static bool look(tram_worker *worker, struct worker_port *port, const bool *done,
                 int64_t look_ns) {
    bool any = false;

    /* As in turn(): sources that look, too, are not kept waiting. */
    if (!worker->sources || look_ns == 0 || worker->now - worker->received_at >= look_ns) {
        worker->received_at = worker->now;
        if (worker_receive(worker, worker->sources ? 0 : look_ns) > 0) {
            from_batch(worker, port, done);
            any = true;
        }
    }
    if (worker->forked || *done)
        return true;
    if (worker->sources)
        any |= worker_sources_run(worker);
    if (worker->forked || *done)
        return true;
    (void) worker_read_clock(worker);
    if (worker->now >= heap_due(&worker->inner_timers))
        any |= worker_timers_run(worker, &worker->inner_timers);
    /* Who goes to sleep at once is woken by them. */
    if (!worker->forked && worker->inner_ios > 0 && (any || look_ns > 0) &&
        worker->now - worker->looked_at >= LOOK_NS) {
        worker->looked_at = worker->now;
        any |= worker_ready_run(worker, worker->inner_set);
    }
    if (!worker->forked && worker->space_count + worker->watch_count > 0 &&
        worker->now - worker->events_at >= (worker->space_count ? LOOK_NS : EVENTS_NS)) {
        worker->events_at = worker->now;
        any |= worker_events(worker);
    }
    if (!worker->forked)
        any |= worker_tell_fresh(worker);
    return any;
}

static void sleep_until(tram_worker *worker, int64_t deadline) {
    int64_t due;

    if (worker_events(worker) || worker->forked)
        return;
    due = worker_node_due(worker, true);
    if (due == 0)
        return;
    if (heap_due(&worker->inner_timers) < due)
        due = heap_due(&worker->inner_timers);
    if (deadline < due)
        due = deadline;
    if (due <= worker->now || !worker_sources_sleep(worker))
        return;
    (void) worker_arm(worker, due); /* cannot fail for a valid time */
    worker_ready_wait(worker);
}

static int pump(tram_worker *worker, struct worker_port *port, const bool *done,
                int64_t deadline) {
    int64_t spun_from = 0;

    from_batch(worker, port, done);
    from_later(worker, port, done);
    for (;;) {
        bool any;

        if (worker->forked)
            return -ECHILD;
        if (*done)
            return 0;
        any = look(worker, port, done, worker->spins ? SLICE_NS : 0);
        if (worker->forked || *done)
            continue;
        if (worker->now >= deadline)
            return -ETIMEDOUT;
        if (any) {
            spun_from = 0;
            continue;
        }
        if (spun_from == 0)
            spun_from = worker->now;
        if (!worker->never_sleeps &&
            (!worker->spins || worker->now - spun_from >= worker->spin_ns)) {
            sleep_until(worker, deadline);
            spun_from = 0;
        }
    }
}

int worker_pump(tram_worker *worker, struct worker_port *port, const bool *done,
                int64_t deadline) {
    struct worker_deferred *outer;
    int rc = worker_check(worker);

    if (rc < 0)
        return rc;
    outer = worker->deferred; /* of the handler that called: it has not returned */
    worker->deferred = NULL;
    worker->pumping++;
    rc = pump(worker, port, done, deadline);
    worker->pumping--;
    if (worker->forked)
        return -ECHILD;
    worker_run_deferred(worker);
    worker->deferred = outer;
    if (worker->later.count > 0 || outer)
        worker_call_attention(worker);
    return rc;
}
