/* SPDX-License-Identifier: MIT */
#include "ring/tx.h"

#include <errno.h>

#include "ring/check.h"

int ring_tx_init(struct ring_tx *tx, struct stream *words, uint8_t *data, const struct head *head,
                 uint64_t capacity, uint64_t base, uint64_t base_seq) {
    uint64_t tail = load_relaxed(&words->tail);

    *tx = (struct ring_tx){
        .data = data,
        .mask = capacity - 1,
        .pos = WORD_POSITION(tail),
        .seq = load_relaxed(&words->accepted[WORD_SLOT(tail)]),
        .tail = tail,
        .words = words,
        .head = head,
        .freed = base,
        .base = base,
    };
    tx->room = tx->pos;
    if (tx->pos < base || tx->pos >= LAYOUT_END || tx->seq < base_seq || tx->seq >= LAYOUT_END)
        return -EBADMSG;
    if (ring_tx_look(tx) < 0 || tx->pos - tx->freed > capacity)
        return -EBADMSG;
    return 0;
}

void ring_tx_check(struct ring_tx *tx, uint64_t size) {
    struct record *record = (struct record *) (void *) (tx->data + (tx->pos & tx->mask));

    record->check = record_check(record, (uint32_t) size);
}

int ring_tx_look(struct ring_tx *tx) {
    uint64_t head = load_acquire(&tx->head->head); /* H1 */
    uint64_t published = WORD_POSITION(tx->tail);

    /* A head below our base belongs to earlier generations that are still being drained. */
    if (head < tx->base)
        head = tx->base;
    if (head % LAYOUT_ALIGN != 0 || head < tx->freed || head > published)
        return -EBADMSG;
    tx->freed = head;
    return 0;
}

int ring_tx_want(struct ring_tx *tx) {
    uint64_t want = load_relaxed(&tx->words->want);

    /* A new epoch each time: the consumer rings once for each, and what it freed for the last one
     * may not have been enough. */
    store_relaxed(&tx->words->want, (want + ARMED_EPOCH) | ARMED_ON);
    fence(); /* F3 */
    return ring_tx_look(tx);
}

void ring_tx_unwant(struct ring_tx *tx) {
    store_relaxed(&tx->words->want, load_relaxed(&tx->words->want) & ~(uint64_t) ARMED_ON);
}

uint64_t ring_tx_link(struct ring_tx *tx, uint32_t from) {
    (void) ring_tx_header(tx, from, 0, RECORD_LINK, 0);
    tx->pos += LINK_SPAN; /* a link is no message: the count stays */
    return ring_tx_publish(tx);
}
