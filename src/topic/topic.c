/* SPDX-License-Identifier: MIT */
#include "topic/topic.h"

#include <errno.h>


/* The record that the writer itself wrote at a position below its tail. */
static const struct topic_record *written(const struct topic_tx *tx, uint64_t pos) {
    return (const struct topic_record *) (const void *) (tx->data + (pos & tx->mask));
}

bool topic_tx_make_room(struct topic_tx *tx, uint64_t size, uint64_t limit) {
    uint64_t capacity = tx->mask + 1;
    uint64_t end = tx->pos + topic_span(size);
    uint64_t floor = tx->floor;

    while (end - floor > capacity) {
        /* The first record in the next step; a large one may reach over several. */
        uint64_t next = tx->starts[((floor >> tx->shift) + 1) % TOPIC_STEPS];

        if (next <= floor || next > tx->pos)
            next = tx->pos;
        floor = next;
    }
    if (floor == tx->floor)
        return true;
    if (floor > limit)
        return false;
    if (floor > WORD_POSITION(tx->tail))
        topic_tx_publish(tx);
    tx->floor = floor;
    tx->room = floor + capacity;
    store_release(&tx->words->floor, floor); /* L3 */
    fence_release();                         /* L1 */
    return true;
}

void topic_tx_want(struct topic_tx *tx) {
    tx->want = (tx->want + ARMED_EPOCH) | ARMED_ON;
    store_relaxed(&tx->words->want, tx->want);
    fence(); /* F3 */
}

void topic_tx_unwant(struct topic_tx *tx) {
    tx->want &= ~(uint64_t) ARMED_ON;
    store_relaxed(&tx->words->want, tx->want);
}

int topic_tx_init(struct topic_tx *tx, struct topic *words, uint8_t *data, uint64_t capacity) {
    uint64_t tail = load_relaxed(&words->tail);
    uint64_t end = WORD_POSITION(tail);
    uint64_t pos = load_relaxed(&words->floor);

    *tx = (struct topic_tx){
        .data = data,
        .mask = capacity - 1,
        .pos = pos,
        .room = pos + capacity,
        .tail = tail,
        .floor = pos,
        .words = words,
        .want = load_relaxed(&words->want) & ~(uint64_t) ARMED_ON,
        .shift = (uint32_t) __builtin_ctzll(capacity / TOPIC_STEPS),
        .step = pos >> __builtin_ctzll(capacity / TOPIC_STEPS),
    };
    if (end >= LAYOUT_END || pos > end || end - pos > capacity || pos % LAYOUT_ALIGN != 0)
        return -EBADMSG;
    tx->starts[tx->step % TOPIC_STEPS] = pos;
    /* Find the steps again, from record to record. */
    while (tx->pos < end) {
        uint64_t left = end - tx->pos;
        uint32_t size = load_relaxed(&written(tx, tx->pos)->size);

        if (left < sizeof(struct topic_record) || topic_span(size) > left)
            return -EBADMSG;
        topic_tx_stage(tx, size);
    }
    tx->number = load_relaxed(&words->count[WORD_SLOT(tail)]);
    return 0;
}

int topic_tx_position(const struct topic_tx *tx, const struct topic_reader *reader,
                      uint64_t *ret_position) {
    uint64_t position = WORD_POSITION(load_acquire(&reader->position)); /* G1 */

    if (position > WORD_POSITION(tx->tail))
        return -EBADMSG;
    *ret_position = position;
    return 0;
}

bool topic_rx_look(struct topic_rx *rx) {
    uint64_t tail = WORD_POSITION(load_acquire(&rx->words->tail)); /* T1 */

    if (tail < rx->tail || tail >= LAYOUT_END)
        return false;
    rx->tail = tail;
    return true;
}

/* Copy the header at pos, if pos is still there. */
static bool peek(const struct topic_rx *rx, struct topic_view *view) {
    const uint8_t *from = rx->data + (rx->pos & rx->mask);
    const struct topic_record *record = (const struct topic_record *) (const void *) from;

    view->record.number = load_relaxed(&record->number);
    view->record.size = load_relaxed(&record->size);
    view->record.code = load_relaxed(&record->code);
    view->record.time_ns = load_relaxed(&record->time_ns);
    view->record.extra = load_relaxed(&record->extra);
    view->record.flags = load_relaxed(&record->flags);
    view->record.passed = load_relaxed(&record->passed);
    view->body = from + sizeof(*record);
    view->at = rx->pos;
    return topic_rx_intact(rx, view);
}

/* Is there an event at pos, and what stands in its header can be? */
static enum topic_result look_at(struct topic_rx *rx, struct topic_view *ret_view) {
    const struct topic_record *record = &ret_view->record;
    uint64_t left;

    if (rx->pos == rx->tail)
        return TOPIC_NONE;
    while (!peek(rx, ret_view)) {
        uint64_t floor = load_acquire(&rx->words->floor); /* L3 */

        if (floor <= rx->pos || floor % LAYOUT_ALIGN != 0 || !topic_rx_look(rx) || floor > rx->tail)
            return TOPIC_BAD;
        rx->pos = floor;
        if (floor == rx->tail)
            return TOPIC_NONE; /* the next one tells how many were missed */
    }
    left = rx->tail - rx->pos;
    if (left < sizeof(*record) || topic_span(record->size) > left ||
        topic_span(record->size) > rx->mask + 1 || record->extra > record->size ||
        record->number >= LAYOUT_END)
        return TOPIC_BAD;
    return TOPIC_EVENT;
}

enum topic_result topic_rx_next(struct topic_rx *rx, struct topic_view *ret_view) {
    const struct topic_record *record = &ret_view->record;
    enum topic_result result;

    rx->missed = 0;
    while ((result = look_at(rx, ret_view)) == TOPIC_EVENT && rx->skips &&
           rx->number != TOPIC_UNKNOWN && record->number <= rx->number)
        rx->pos += topic_span(record->size);
    if (result != TOPIC_EVENT)
        return result;
    if (rx->number != TOPIC_UNKNOWN) {
        if (record->number <= rx->number)
            return TOPIC_BAD;
        rx->missed = record->number - rx->number - 1;
        rx->missed -= rx->missed < record->passed ? rx->missed : record->passed;
    }
    rx->number = record->number;
    rx->pos += topic_span(record->size);
    return TOPIC_EVENT;
}

static void store_position(struct topic_rx *rx, uint64_t pos, uint64_t number) {
    uint64_t slot = WORD_SLOT(rx->position) ^ 1u;

    store_relaxed(&rx->mine->number[slot], number);
    journal_order();
    rx->position = pos | slot;
    store_release(&rx->mine->position, rx->position); /* G1 */
}

bool topic_rx_done(struct topic_rx *rx) {
    return topic_rx_done_to(rx, rx->pos, rx->number);
}

bool topic_rx_done_to(struct topic_rx *rx, uint64_t pos, uint64_t number) {
    uint64_t want;

    if (WORD_POSITION(rx->position) == pos)
        return false;
    store_position(rx, pos, number);
    fence(); /* F4 */
    want = load_relaxed(&rx->words->want);
    if (!(want & ARMED_ON) || want == rx->rung)
        return false;
    if (pos != rx->tail &&
        pos - load_relaxed(&rx->words->floor) < TOPIC_AMPLE(rx->mask))
        return false; /* it is asked again before the last event of those that are there */
    rx->rung = want;
    return true;
}

bool topic_rx_init(struct topic_rx *rx, const struct topic *words, const uint8_t *data,
                   uint64_t capacity, struct topic_reader *mine, bool resume) {
    *rx = (struct topic_rx){
        .data = data,
        .mask = capacity - 1,
        .number = TOPIC_UNKNOWN,
        .position = load_relaxed(&mine->position),
        .words = words,
        .mine = mine,
    };
    if (!topic_rx_look(rx))
        return false;
    rx->pos = WORD_POSITION(rx->position);
    if (resume && rx->pos <= rx->tail) {
        rx->number = load_relaxed(&mine->number[WORD_SLOT(rx->position)]);
        return true;
    }
    rx->pos = rx->tail;
    store_position(rx, rx->pos, rx->number);
    return true;
}
