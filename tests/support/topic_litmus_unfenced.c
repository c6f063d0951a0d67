/* SPDX-License-Identifier: MIT
 *
 * The library's code once more, with every fence() taken out: what service_litmus_test.c has to
 * notice.
 */
#include "ring/atomic.h"

#define fence() ((void) 0)
#define topic_tx_make_room untopic_tx_make_room
#define topic_tx_want      untopic_tx_want
#define topic_tx_unwant    untopic_tx_unwant
#define topic_tx_init      untopic_tx_init
#define topic_tx_position  untopic_tx_position
#define topic_rx_look      untopic_rx_look
#define topic_rx_next      untopic_rx_next
#define topic_rx_done      untopic_rx_done
#define topic_rx_done_to   untopic_rx_done_to
#define topic_rx_init      untopic_rx_init

#include "topic/topic.c"
#include "support/topic_litmus_sides.h"

const struct topic_sides topic_unfenced = TOPIC_SIDES;
