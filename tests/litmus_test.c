/* SPDX-License-Identifier: MIT
 * test: timeout=120 cpus=2
 *
 * Each labelled pair of orders, raced: two threads on two processors take the two sides of it some
 * hundred thousand times, with a little random delay, and count how often neither saw the other's
 * store. With the fences that must never be. With one of them taken out (litmus_unfenced.c) it has
 * to be seen, or the test could not see anything; that is asked for on x86-64, where these fences
 * order a store with a later load and nothing else does, and where two processors are to be had.
 *
 * The pairs of release and acquire (T1, H1, attached, reserved) cannot be seen to fail on x86-64,
 * which orders these by itself: what they order is checked there, and what a compiler may do.
 *
 * LITMUS_ROUNDS=N for each pair.
 */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "ring/door.h"
#include "support/litmus.h"
#include "support/race.h"

#define FROM 0x01020304u

/* Everything as new: a ring with one record committed and not freed, another one staged. */
static void reset(struct litmus *litmus) {
    memset(&litmus->words, 0, sizeof litmus->words);
    memset(&litmus->head, 0, sizeof litmus->head);
    memset(&litmus->door, 0, sizeof litmus->door);
    litmus->words.capacity = STREAM_MIN;
    CHECK_OK(ring_tx_init(&litmus->tx, &litmus->words, litmus->ring, &litmus->head, STREAM_MIN, 0,
                          0));
    (void) ring_tx_header(&litmus->tx, FROM, 0, 0, 0);
    ring_tx_stage(&litmus->tx, 0);
    (void) ring_tx_publish(&litmus->tx);
    CHECK(ring_rx_init(&litmus->rx, &litmus->words, litmus->ring, &litmus->head, FROM, STREAM_MIN,
                       0, 0));
    litmus->rx.pos += record_span(0);
    litmus->rx.seq++;
    ring_rx_commit(&litmus->rx, litmus->rx.pos, litmus->rx.seq);
    (void) ring_tx_header(&litmus->tx, FROM, 0, 0, 0);
    ring_tx_stage(&litmus->tx, 0);
}

#define OK litmus_fenced
#define NO litmus_unfenced

TEST_TIMEOUT(tail_and_armed, 60) {
    with(OK.publish, OK.arm);
    without("F1", NO.publish, OK.arm, true);
    without("F2", OK.publish, NO.arm, true);
}

TEST_TIMEOUT(tail_and_closed, 60) {
    with(OK.publish, OK.shut);
    without("F1", NO.publish, OK.shut, true);
    without("F2", OK.publish, NO.shut, true);
}

TEST_TIMEOUT(want_and_head, 60) {
    with(OK.want, OK.give);
    without("F3", NO.want, OK.give, true);
    without("F4", OK.want, NO.give, true);
}

/* The bit and attached are changed by instructions that are a fence themselves on x86-64. */
TEST_TIMEOUT(bit_and_asleep, 60) {
    with(OK.knock, OK.sleep);
    without("D1", NO.knock, OK.sleep, false);
    without("D2", OK.knock, NO.sleep, true);
}

TEST_TIMEOUT(attached_and_asleep, 60) {
    with(OK.announce, OK.sleep);
    without("D1", NO.announce, OK.sleep, false);
    without("D2", OK.announce, NO.sleep, true);
}

/* ---- release and acquire --------------------------------------------------------------------- */

static void *produce(void *arg) {
    struct litmus *litmus = &race.litmus;
    uint64_t total = *(const uint64_t *) arg;

    for (uint64_t i = 1; i <= total; i++) {
        uint64_t size = 8 * (1 + i % 64);
        uint64_t *body;

        while (litmus->tx.pos + record_span(size) > litmus->tx.freed + STREAM_MIN) { /* H1 */
            CHECK_OK(ring_tx_look(&litmus->tx));
            sched_yield();
        }
        /* The ring is not mapped twice here: what goes round its end lies behind it, for both. */
        body = ring_tx_header(&litmus->tx, FROM, 0, 0, size);
        for (uint64_t n = 0; n < size / 8; n++)
            body[n] = i + n;
        ring_tx_stage(&litmus->tx, size);
        if (i % 3 == 0 || i == total)
            (void) ring_tx_publish(&litmus->tx); /* T1 */
        if (ring_tx_staged(&litmus->tx) &&
            litmus->tx.pos + 1024 > litmus->tx.freed + STREAM_MIN)
            (void) ring_tx_publish(&litmus->tx);
    }
    return NULL;
}

/* What lies below the tail is complete, and stays until the head has passed it. Under the thread
 * sanitizer this is where it sees that T1 and H1 order plain loads and stores. */
TEST_TIMEOUT(records_and_tail_and_head, 30) {
    struct litmus *litmus = &race.litmus;
    uint64_t total = 5 * rounds(), wrong = 0;
    pthread_t thread;

    memset(&race, 0, sizeof race);
    litmus->words.capacity = STREAM_MIN;
    CHECK_OK(ring_tx_init(&litmus->tx, &litmus->words, litmus->ring, &litmus->head, STREAM_MIN, 0,
                          0));
    CHECK(ring_rx_init(&litmus->rx, &litmus->words, litmus->ring, &litmus->head, FROM, STREAM_MIN,
                       0, 0));
    CHECK_EQ(pthread_create(&thread, NULL, produce, &total), 0);
    while (litmus->rx.seq < total) {
        struct ring_view view;

        CHECK(ring_rx_look(&litmus->rx)); /* T1 */
        while (ring_rx_next(&litmus->rx, &view) == RX_MESSAGE) {
            const uint64_t *body = (const uint64_t *) (const void *) (view.record + 1);

            for (uint64_t n = 0; n < view.size / 8; n++)
                wrong += body[n] != view.seq + n;
            ring_rx_commit(&litmus->rx, litmus->rx.pos, litmus->rx.seq);
        }
        (void) ring_rx_free(&litmus->rx); /* H1 */
        sched_yield();
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    printf("    %llu records\n", (unsigned long long) total);
    CHECK_EQ(wrong, 0);
}

static void *announce(void *arg) {
    struct litmus *litmus = &race.litmus;
    uint64_t total = *(const uint64_t *) arg;

    for (uint64_t i = 1; i <= total; i++) {
        store_relaxed(&litmus->data, i);     /* a channel, as far as memory tells of it */
        (void) door_announce(&litmus->door); /* attached */
        store_relaxed(&litmus->words.reserved, i);
        __atomic_thread_fence(__ATOMIC_RELEASE); /* as grant() does */
        store_relaxed(&litmus->tx.pos, i);       /* what is written then */
    }
    return NULL;
}

/* Who sees attached raised sees what it tells of; who sees what was written sees that it was
 * reserved. */
TEST_TIMEOUT(attached_and_reserved, 30) {
    struct litmus *litmus = &race.litmus;
    uint64_t total = 5 * rounds(), attached = 0, wrong = 0;
    pthread_t thread;

    memset(&race, 0, sizeof race);
    CHECK_EQ(pthread_create(&thread, NULL, announce, &total), 0);
    while (attached < total) {
        uint64_t written;

        attached = load_acquire(&litmus->door.attached);
        wrong += load_relaxed(&litmus->data) < attached;
        written = load_acquire(&litmus->tx.pos);
        wrong += load_relaxed(&litmus->words.reserved) < written;
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_EQ(wrong, 0);
}
