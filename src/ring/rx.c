/* SPDX-License-Identifier: MIT */
#include "ring/rx.h"

#include "ring/check.h"

bool ring_rx_unusual(const struct ring_rx *rx, const struct ring_view *view) {
    uint32_t kinds = view->flags & RECORD_KINDS;

    if ((kinds & ~(RECORD_WIDE | RECORD_CHECKED)) ||
        ((kinds & RECORD_WIDE) && view->size < sizeof(struct extension)))
        return false;
    if (!(kinds & RECORD_CHECKED))
        return rx->usual != RX_ON_DISK && RECORD_LIFE(view->flags) == 0;
    return load_relaxed(&view->record->check) == record_check(view->record, view->size);
}

bool ring_rx_look(struct ring_rx *rx) {
    uint64_t tail = WORD_POSITION(load_acquire(&rx->words->tail)); /* T1 */

    if (tail < rx->tail || tail >= LAYOUT_END || tail - rx->base < rx->pos - rx->base)
        return false;
    /* The producer never runs further ahead of what we freed than the ring is long. */
    if (tail - (rx->freed > rx->base ? rx->freed : rx->base) > rx->mask + 1)
        return false;
    rx->tail = tail;
    return true;
}

bool ring_rx_init(struct ring_rx *rx, const struct stream *words, const uint8_t *data,
                  struct head *head, uint32_t from, uint64_t capacity, uint64_t base,
                  uint64_t base_seq) {
    uint64_t committed = load_relaxed(&head->committed);
    uint64_t handed = load_relaxed(&head->handed);

    *rx = (struct ring_rx){
        .data = data,
        .mask = capacity - 1,
        .pos = WORD_POSITION(committed),
        .tail = WORD_POSITION(committed),
        .seq = load_relaxed(&head->consumed[WORD_SLOT(committed)]),
        .committed = committed,
        .freed = load_relaxed(&head->head),
        .lag = capacity / 8,
        .recovery = handed & 7u,
        .words = words,
        .head = head,
        .from = from,
        .base = base,
    };
    rx->free_at = rx->freed + rx->lag;
    if (rx->freed > rx->pos || rx->freed % LAYOUT_ALIGN != 0 || rx->pos < base ||
        rx->seq < base_seq || rx->seq >= LAYOUT_END)
        return false;
    return ring_rx_look(rx);
}

bool ring_rx_succeed(struct ring_rx *rx, const struct stream *words, const uint8_t *data,
                     uint64_t capacity, uint64_t base, uint64_t base_seq) {
    if (base != rx->pos || base_seq != rx->seq)
        return false;
    rx->data = data;
    rx->mask = capacity - 1;
    rx->lag = capacity / 8;
    rx->free_at = rx->freed + rx->lag;
    rx->words = words;
    rx->base = base;
    rx->tail = base;
    rx->rung = 0;
    return ring_rx_look(rx);
}

uint64_t ring_rx_recover(struct ring_rx *rx, uint64_t handed, bool *ret_more) {
    uint64_t recovery = (rx->recovery + 1) & 7u;
    struct ring_rx walk = *rx;
    struct ring_view view;

    *ret_more = false;
    while (walk.pos < handed) {
        enum ring_rx_result result = ring_rx_next(&walk, &view);
        uint64_t *word = &rx->head->window[walk.seq % LAYOUT_WINDOW];
        uint64_t old = load_relaxed(word);
        uint64_t attempts = 1;

        if (result == RX_LINK) {
            *ret_more = walk.pos < handed;
            break;
        }
        if (result != RX_MESSAGE || walk.pos > handed || walk.seq - rx->seq > LAYOUT_WINDOW)
            return UINT64_MAX;
        if (WINDOW_SEQ(old) == WINDOW_SEQ(walk.seq)) {
            attempts = WINDOW_ATTEMPTS(old);
            if (WINDOW_RECOVERY(old) != recovery || attempts == 0)
                attempts += attempts < 255;
        } else {
            old = 0;
        }
        store_relaxed(word, WINDOW_SEQ(walk.seq) | attempts << 48 | recovery << 56 |
                                (old & WINDOW_RELEASED));
    }
    return walk.seq;
}

void ring_rx_recovered(struct ring_rx *rx) {
    uint64_t next = (rx->recovery + 2) & 7u;

    /* The next recovery takes its own mark for "counted already": none may be left from the one
     * eight before, of messages that were not reached since. */
    rx->recovery = (rx->recovery + 1) & 7u;
    for (uint32_t i = 0; i < LAYOUT_WINDOW; i++) {
        uint64_t *word = &rx->head->window[i];
        uint64_t old = load_relaxed(word);

        if (old != 0 && WINDOW_RECOVERY(old) == next)
            store_relaxed(word, (old & ~(UINT64_C(7) << 56)) | rx->recovery << 56);
    }
    journal_order();
    store_relaxed(&rx->head->handed, WORD_POSITION(rx->committed) | rx->recovery);
    journal_order();
}
