/* SPDX-License-Identifier: MIT
 *
 * Included by litmus_fenced.c and litmus_unfenced.c: what `fence()` is there, decides.
 */
#include "ring/door.h"
#include "support/litmus.h"

#define LITMUS_FROM 0x01020304u

static bool publish(struct litmus *litmus) {
    return (ring_tx_publish(&litmus->tx) & (ARMED_ON | ARMED_CLOSED)) != 0;
}

static bool arm(struct litmus *litmus) {
    ring_rx_arm(&litmus->rx);
    fence(); /* as arm_all() does */
    return ring_rx_look(&litmus->rx) && ring_rx_ready(&litmus->rx);
}

/* As set_armed() and channel_look() of src/node do. */
static bool shut(struct litmus *litmus) {
    uint64_t *armed = &litmus->head.armed;

    store_relaxed(armed, (load_relaxed(armed) + ARMED_EPOCH) | ARMED_CLOSED);
    fence();
    return WORD_POSITION(load_relaxed(&litmus->words.tail)) != litmus->rx.pos;
}

static bool want(struct litmus *litmus) {
    uint64_t seen = litmus->tx.freed;

    return ring_tx_want(&litmus->tx) == 0 && litmus->tx.freed != seen;
}

static bool give(struct litmus *litmus) {
    return (ring_rx_free(&litmus->rx) & ARMED_ON) != 0;
}

static bool knock(struct litmus *litmus) {
    return door_knock(&litmus->door, LITMUS_FROM);
}

static bool announce(struct litmus *litmus) {
    return door_announce(&litmus->door);
}

static bool go_to_sleep(struct litmus *litmus) {
    return !door_sleep(&litmus->door, 0);
}

#define LITMUS_SIDES                                                                               \
    { publish, arm, shut, want, give, knock, announce, go_to_sleep }
