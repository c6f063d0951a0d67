/* SPDX-License-Identifier: MIT
 *
 * Not too far ahead of the receiver.
 *
 * A ring that is nearly full is slow for both ends: what the receiver reads has fallen out of the
 * sender's cache, and what the sender writes takes lines that the receiver has read just now. And
 * it stays full, since the receiver is the slower one as long as it is. Measured (RATIONALE, the
 * fast path): 64 KiB messages at 12 GB/s with a full ring of 4 MiB, at 17 with it half full.
 *
 * So a sender that comes to the end of a chunk, with room, and the receiver more than half a ring
 * behind, waits for it a little, once for each head that the receiver stored: a receiver that does
 * not move delays nobody.
 */
#include "node/node.h"
#include "sys/clock.h"

#define PACE_NS 20000u /* about as long as a receiver looks away */

void out_pace(const tram_node *node, struct out *out, uint64_t deadline) {
    uint64_t published = WORD_POSITION(out->tx.tail);
    uint64_t now;
    uint64_t until;

    if (likely(published - out->tx.freed <= out->capacity / 2) || out->paced == out->tx.freed ||
        deadline == 0 || node->spin_ns == 0 || out->peer->id == node->id)
        return;
    out->paced = out->tx.freed;
    now = sys_now();
    until = now + PACE_NS < deadline ? now + PACE_NS : deadline;
    do {
        for (int i = 0; i < 8; i++)
            sys_relax();
        if (ring_tx_look(&out->tx) < 0)
            return; /* the next look says so, too */
    } while (published - out->tx.freed > out->capacity / 2 && sys_now() < until);
}
