/* SPDX-License-Identifier: MIT
 *
 * The door of a node: how a peer that sleeps is woken, and how one that does not is left alone.
 *
 * Overview
 *   A sender that finds a ring armed (F1 in tx.h) sets its bit in the receiver's door, and writes a
 *   byte into its bell if the receiver says that it sleeps. The receiver, before it sleeps, arms
 *   its rings, says that it sleeps, and looks at the bits once more:
 *
 *     peer     set the bit; fence D1; asleep? then ring the bell
 *     owner    asleep = 1; fence D2; bits or attached? then do not sleep
 *     owner    awake again: asleep = 0; take the bits; disarm and look at those rings
 *
 * Contract
 *   asleep is written by the owner only: a peer that cleared it would silence the others. Bits are
 *   set by peers and taken by the owner. A bit that is set already is no reason not to ring: it may
 *   be another peer's, who died before it rang. Several peers may share a bit.
 *
 * Why it is correct
 *   D1 and D2 are a Dekker pair: the peer sees asleep and rings, or the owner sees the bit and does
 *   not sleep. The owner takes the bits before it looks at the rings, never after: a bit set in
 *   between stays for the next look. A hostile peer that clears bits delays wake-ups to the
 *   re-look, no more. Checked exhaustively with deaths of both sides (tests/model/wake.pml).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ring/atomic.h"
#include "ring/layout.h"

/* Peer: knock. True: the bell has to be rung. */
static inline bool door_knock(struct door *door, uint32_t id) {
    uint32_t bit = door_bit(id);

    (void) __atomic_fetch_or(&door->bits[bit / 64], UINT64_C(1) << (bit % 64), __ATOMIC_SEQ_CST);
    fence(); /* D1 */
    return load_relaxed(&door->asleep) != 0;
}

/* Peer: something new lies in the directory. True: the bell has to be rung. */
static inline bool door_announce(struct door *door) {
    (void) __atomic_fetch_add(&door->attached, 1, __ATOMIC_SEQ_CST);
    fence(); /* D1 */
    return load_relaxed(&door->asleep) != 0;
}

/* Owner: is there a bit? */
static inline bool door_bits(const struct door *door) {
    uint64_t all = 0;

    for (uint32_t i = 0; i < LAYOUT_BITS / 64; i++)
        all |= load_relaxed(&door->bits[i]);
    return all != 0;
}

/* Owner: take 64 of the bits. */
static inline uint64_t door_take(struct door *door, uint32_t index) {
    if (load_relaxed(&door->bits[index]) == 0)
        return 0;
    return __atomic_exchange_n(&door->bits[index], 0, __ATOMIC_SEQ_CST);
}

/* Owner: say that it sleeps (D2), and look once more. True: sleep. */
static inline bool door_sleep(struct door *door, uint32_t attached_seen) {
    store_relaxed(&door->asleep, 1);
    fence(); /* D2 */
    return !door_bits(door) && load_relaxed(&door->attached) == attached_seen;
}

static inline void door_wake(struct door *door) {
    store_relaxed(&door->asleep, 0);
}
