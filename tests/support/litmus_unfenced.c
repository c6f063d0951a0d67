/* SPDX-License-Identifier: MIT
 *
 * The library's code once more, with every fence() taken out: what litmus_test.c has to notice.
 */
#include "ring/atomic.h"

#define fence() ((void) 0)
#define fence_word     unfenced_word
#define ring_tx_init   unfenced_tx_init
#define ring_tx_check  unfenced_tx_check
#define ring_tx_look   unfenced_tx_look
#define ring_tx_want   unfenced_tx_want
#define ring_tx_unwant unfenced_tx_unwant
#define ring_tx_link   unfenced_tx_link

#include "ring/tx.c"
#include "support/litmus_sides.h"

const struct litmus_sides litmus_unfenced = LITMUS_SIDES;
