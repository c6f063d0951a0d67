/* SPDX-License-Identifier: MIT
 *
 * Included by topic_litmus_fenced.c and topic_litmus_unfenced.c: what `fence()` is there, decides.
 */
#include "support/topic_litmus.h"

static bool publish(struct litmus *litmus) {
    topic_tx_publish(&litmus->tx);
    return (load_relaxed(&litmus->reader.armed) & ARMED_ON) != 0; /* as wake() does */
}

static bool arm(struct litmus *litmus) {
    topic_rx_arm(&litmus->rx);
    fence(); /* as sleep_on() does */
    return topic_rx_look(&litmus->rx) && litmus->rx.pos != litmus->rx.tail;
}

static bool want(struct litmus *litmus) {
    uint64_t position = 0;

    topic_tx_want(&litmus->tx);
    return topic_tx_position(&litmus->tx, &litmus->reader, &position) == 0 && position != 0;
}

static bool done(struct litmus *litmus) {
    return topic_rx_done(&litmus->rx);
}

#define TOPIC_SIDES { publish, arm, want, done }
