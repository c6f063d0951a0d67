/* SPDX-License-Identifier: MIT
 *
 * The producer's end of a ring.
 *
 * Overview
 *   One producer writes records at `pos` into data that is mapped twice in a row, and makes them
 *   visible by storing words->tail. Use:
 *
 *     if (!ring_tx_fits(tx, size)) … look at the head, reserve memory, wait, or grow …
 *     body = ring_tx_header(tx, …);          write the body there
 *     ring_tx_stage(tx, size);               once or more often
 *     armed = ring_tx_publish(tx);           accepted from here on
 *     if (ring_tx_must_ring(tx, armed)) …    ring the bell
 *
 * Contract
 *   Only the custodian of the source calls any of these, one thread at a time. `room` is set by the
 *   slow path such that a record ending at or before it overwrites nothing that is not free,
 *   touches no page without memory, and leaves LINK_SPAN bytes for a link record behind it.
 *
 * Why it is correct
 *   T1  The tail is stored with release after the records before it and after accepted[slot]; the
 *       consumer loads it with acquire (T1 in rx.h), so what it sees below the tail is complete.
 *   H1  The head is loaded with acquire before data below it is overwritten; the consumer stores it
 *       with release after its last look at that data (H1 in rx.h).
 *   F1  tail stored; fence; armed loaded. The consumer: armed stored; fence F2; tail loaded. Of two
 *       such pairs at least one side sees the other's store: either we see that it is armed and
 *       ring, or it sees our tail and does not sleep.
 *   F3  want stored; fence; head loaded: the same with roles swapped, against F4 in rx.h.
 *
 * Death at any instruction
 *   Before the store of the tail: nothing was accepted; what was written above the tail is
 *   overwritten by the successor. After: the message is accepted, and the count that belongs to it
 *   is the one in the slot that the tail's low bit names, stored before; the other slot still
 *   belongs to the tail before. Between tail and bell: the successor, or the consumer's bounded
 *   re-look, finds it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "ring/atomic.h"
#include "ring/layout.h"

#define TX_AHEAD  1024u /* bytes, see ring_tx_fetch() */
#define LINK_SPAN (sizeof(struct record))
#define WORD_POSITION(word) ((word) & ~UINT64_C(7))
#define WORD_SLOT(word) ((word) & 1u)

struct ring_tx {
    uint8_t *data;
    uint64_t mask;  /* capacity - 1 */
    uint64_t pos;   /* where the next record goes; above the published tail if some are staged */
    uint64_t room;  /* a record may end here, see above; pos: the slow path has to look first */
    uint64_t seq;   /* messages accepted or staged, ever */
    uint64_t prev;  /* of the next record, where it goes: in the upper half of a word */
    uint64_t tail;  /* the published word */
    uint64_t rung;  /* the armed word for which the bell was rung */
    struct stream *words;
    const struct head *head;
    uint64_t freed; /* the last head seen, checked */
    uint64_t base;  /* position where the stream starts */
};

/* Never true by mistake; a record that fits to the last byte is left to the slow path. */
static inline bool ring_tx_fits(const struct ring_tx *tx, uint64_t size) {
    return tx->room - tx->pos >= size + sizeof(struct record) + LAYOUT_ALIGN && size < UINT32_MAX;
}

static inline bool ring_tx_staged(const struct ring_tx *tx) {
    return tx->pos != WORD_POSITION(tx->tail);
}

/* Where the body of the next record goes. */
static inline void *ring_tx_body(const struct ring_tx *tx) {
    return tx->data + (tx->pos & tx->mask) + sizeof(struct record);
}

/* Write the header of the next record, with `size` bytes of body; returns where the body goes. */
static inline void *ring_tx_header(const struct ring_tx *tx, uint32_t from, uint32_t tag,
                                   uint32_t flags, uint64_t size) {
    typedef uint64_t __attribute__((may_alias)) word;
    struct record *record = (struct record *) (void *) (tx->data + (tx->pos & tx->mask));
    word *words = (word *) (void *) record;

    /* Two fields at a time: field by field, or as one value, compilers gather them in vector
     * registers first, which takes twice as many instructions. */
    words[0] = tx->seq + 1;
    words[1] = (uint32_t) size | tx->prev;
    words[2] = from | (uint64_t) tag << 32;
    words[3] = flags; /* and no check */
    return record + 1;
}

/* Have as many bytes as a record with this body takes fetched for writing, a KiB further on: the
 * consumer read these lines last, and stores wait for them, more than a processor can hold back.
 * Only where `room` says that they are ours: else it would take lines that are still to be read. */
static inline void ring_tx_fetch(const struct ring_tx *tx, uint64_t size) {
    const uint8_t *at = tx->data + ((tx->pos + TX_AHEAD) & tx->mask);

    if (tx->room - tx->pos < TX_AHEAD + sizeof(struct record) + size)
        return;
    for (uint64_t i = 0; i < sizeof(struct record) + size; i += 64)
        prefetch_write(at + i);
}

/* On a disk, once the body is written: its checksum. */
void ring_tx_check(struct ring_tx *tx, uint64_t size);

/* The record at pos is complete: go on behind it. */
static inline void ring_tx_stage(struct ring_tx *tx, uint64_t size) {
    uint64_t span = record_span(size);

    tx->prev = span / LAYOUT_ALIGN << 32;
    tx->pos += span;
    tx->seq += 1;
}

/* Make all that is staged visible, and so accepted. Returns the consumer's armed word. */
static inline uint64_t ring_tx_publish(struct ring_tx *tx) {
    uint64_t slot = WORD_SLOT(tx->tail) ^ 1u;

    store_relaxed(&tx->words->accepted[slot], tx->seq);
    tx->tail = tx->pos | slot;
    store_release(&tx->words->tail, tx->tail); /* T1 */
    fence();                                   /* F1 */
    return load_relaxed(&tx->head->armed);
}

/* Has the consumer anything to be told? True once per armed word. */
static inline bool ring_tx_must_ring(const struct ring_tx *tx, uint64_t armed) {
    return (armed & (ARMED_ON | ARMED_REMOVED | ARMED_BROKEN | ARMED_TRIM)) != 0 &&
           armed != tx->rung;
}

/* Start on a stream that is in place: continues where its published words stand. `words` and `head`
 * are mapped; what never changes in them was read once, checked, and comes as arguments. -EBADMSG:
 * the words contradict each other. */
int ring_tx_init(struct ring_tx *tx, struct stream *words, uint8_t *data, const struct head *head,
                 uint64_t capacity, uint64_t base, uint64_t base_seq);

/* Look at the head again. 0, or -EBADMSG for nonsense; tx->freed is the result. */
int ring_tx_look(struct ring_tx *tx);

/* Ask to be rung when space is freed; then look again. Returns as ring_tx_look(). */
int ring_tx_want(struct ring_tx *tx);
void ring_tx_unwant(struct ring_tx *tx);

/* Complete this stream with a link record and publish it: the channel goes on at pos in the next
 * generation. Room for it is always there. */
uint64_t ring_tx_link(struct ring_tx *tx, uint32_t from);
