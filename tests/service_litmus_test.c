/* SPDX-License-Identifier: MIT
 * test: timeout=120 cpus=2
 *
 * The fences of the ring of events (src/topic/topic.h), raced as litmus_test.c does it with those
 * of a stream. LITMUS_ROUNDS=N for each pair.
 */
#include <string.h>

#include "harness.h"
#include "support/topic_litmus.h"
#include "support/race.h"
#include "topic/topic.h"

/* Everything as new: a ring with one event published and read, and not done with; another one
 * staged. */
static void reset(struct litmus *litmus) {
    struct topic_record record = {.code = 1};

    memset(&litmus->words, 0, sizeof litmus->words);
    memset(&litmus->reader, 0, sizeof litmus->reader);
    CHECK_OK(topic_tx_init(&litmus->tx, &litmus->words, litmus->ring, TOPIC_MIN));
    CHECK(topic_rx_init(&litmus->rx, &litmus->words, litmus->ring, TOPIC_MIN, &litmus->reader,
                        false));
    (void) topic_tx_header(&litmus->tx, &record);
    topic_tx_stage(&litmus->tx, 0);
    topic_tx_publish(&litmus->tx);
    CHECK(topic_rx_look(&litmus->rx));
    litmus->rx.pos = litmus->rx.tail;
    (void) topic_tx_header(&litmus->tx, &record);
    topic_tx_stage(&litmus->tx, 0);
}

#define OK topic_fenced
#define NO topic_unfenced

TEST_TIMEOUT(tail_and_armed, 60) {
    with(OK.publish, OK.arm);
    without("F1", NO.publish, OK.arm, true);
    without("F2", OK.publish, NO.arm, true);
}

TEST_TIMEOUT(want_and_position, 60) {
    with(OK.want, OK.done);
    without("F3", NO.want, OK.done, true);
    without("F4", OK.want, NO.done, true);
}
