/* SPDX-License-Identifier: MIT
 *
 * The consumer's end of a ring.
 *
 * Overview
 *   One consumer reads records from `pos` up to the producer's tail, in place. A record is handed
 *   out (journalled in head->handed), later committed (head->committed and its count), and later
 *   still freed (head->head, which the producer reads). Use:
 *
 *     ring_rx_look(rx)                        take over a new tail
 *     while (ring_rx_next(rx, &view) == RX_MESSAGE) … ring_rx_handed(rx) before the caller sees it
 *     ring_rx_commit(rx, position, seq)       when it is released
 *     want = ring_rx_free(rx)                 when idle, or much has been committed
 *
 * Contract
 *   Only the custodian of the destination calls any of these, one thread at a time. Nothing that
 *   the producer wrote is believed: each field is read once, checked, and only the copy is used;
 *   payload may change while it is read. RX_BAD closes the channel; nothing outside [pos, tail) is
 *   ever read.
 *
 * Why it is correct
 *   T1  The tail is loaded with acquire: records below it are complete (T1 in tx.h).
 *   H1  The head is stored with release after the last look at the data below it.
 *   F2  armed stored; fence; tail loaded: against F1 in tx.h, see there.
 *   F4  head stored; fence; want loaded: against F3 in tx.h.
 *
 * Death at any instruction
 *   handed is stored before the caller gets the view, committed after it is done with it; both are
 *   plain stores of this process in program order, and whoever acts for the node afterwards got its
 *   lock from the kernel after our death. So what lies in [committed, handed) may have been seen:
 *   it comes again, marked; what lies above handed was never seen and comes unmarked. The count
 *   that belongs to committed is named by its low bit, as with the tail. head may lag behind
 *   committed: the successor sets it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ring/atomic.h"
#include "ring/layout.h"
#include "ring/tx.h"

enum ring_rx_result { RX_BAD = -1, RX_EMPTY, RX_MESSAGE, RX_LINK };

struct ring_rx {
    const uint8_t *data;
    uint64_t mask;
    uint64_t pos;       /* of the next record to hand out */
    uint64_t tail;      /* a tail seen, checked */
    uint64_t seq;       /* of the last message handed out */
    uint64_t committed; /* the stored word */
    uint64_t freed;     /* the stored head */
    uint64_t lag;       /* free when so many bytes are committed and not freed: … */
    uint64_t free_at;   /* … from this position on */
    uint64_t recovery;  /* low bits of handed */
    const struct stream *words;
    struct head *head;
    uint32_t from;
    uint64_t base;      /* of the stream at hand */
    uint32_t usual;     /* flags of a record that needs no further look; on a disk none are */
    uint64_t rung;      /* the want word for which the bell was rung */
};

/* A record whose place and extent were checked, from one read. What means nothing to us (time,
 * layer) is read at most once by whoever hands it on. */
struct ring_view {
    const struct record *record;
    uint64_t end;  /* position behind it */
    uint64_t seq;
    uint64_t who;  /* the source, and in the upper half the tag */
    uint32_t size; /* of the body */
    uint32_t flags;
};

#define RX_AHEAD   4096u /* bytes, see ring_rx_fetch() */
#define RX_ON_DISK UINT32_MAX /* as `usual`: every record has to be checked */

/* A record that is not of the usual kind: is it a message? What its flags say is true, then. */
bool ring_rx_unusual(const struct ring_rx *rx, const struct ring_view *view);

/* Take over the producer's tail. False: nonsense. */
bool ring_rx_look(struct ring_rx *rx);

static inline bool ring_rx_ready(const struct ring_rx *rx) {
    return rx->pos != rx->tail;
}

/* Look at the place, extent and number of the record at pos. */
static inline enum ring_rx_result ring_rx_peek(const struct ring_rx *rx,
                                               struct ring_view *ret_view) {
    typedef uint64_t __attribute__((may_alias)) word;
    const struct record *record =
        (const struct record *) (const void *) (rx->data + (rx->pos & rx->mask));
    uint64_t left = rx->tail - rx->pos;
    uint64_t who;
    uint32_t size;
    uint64_t span;

    if (left < sizeof(*record))
        return left == 0 ? RX_EMPTY : RX_BAD;
    size = load_relaxed(&record->size);
    span = record_span(size);
    who = load_relaxed((const word *) (const void *) &record->from);
    if (span > left || load_relaxed(&record->seq) != rx->seq + 1 || (uint32_t) who != rx->from)
        return RX_BAD;
    ret_view->record = record;
    ret_view->end = rx->pos + span;
    ret_view->seq = rx->seq + 1;
    ret_view->who = who;
    ret_view->size = size;
    ret_view->flags = load_relaxed(&record->flags);
    return RX_MESSAGE;
}

/* It was found to be in place: may it be a link? */
static inline bool ring_rx_is_link(const struct ring_rx *rx, const struct ring_view *view) {
    return view->flags == RECORD_LINK && view->size == 0 && view->end == rx->tail;
}

/* Read the record at pos and go behind it. RX_LINK: pos is behind the link, which is this stream's
 * last record. */
static inline enum ring_rx_result ring_rx_next(struct ring_rx *rx, struct ring_view *ret_view) {
    enum ring_rx_result result = ring_rx_peek(rx, ret_view);

    if (result != RX_MESSAGE)
        return result;
    if (ring_rx_is_link(rx, ret_view)) {
        rx->pos = ret_view->end;
        return RX_LINK;
    }
    if (__builtin_expect(ret_view->flags != rx->usual, 0) && !ring_rx_unusual(rx, ret_view))
        return RX_BAD;
    rx->pos = ret_view->end;
    rx->seq += 1;
    return RX_MESSAGE;
}

/* The same for records that need no further look: anything else is RX_EMPTY, and still to be
 * read. */
static inline enum ring_rx_result ring_rx_next_plain(struct ring_rx *rx,
                                                     struct ring_view *ret_view) {
    struct ring_view view;

    if (ring_rx_peek(rx, &view) != RX_MESSAGE)
        return RX_EMPTY;
    if (view.flags != rx->usual &&
        (view.flags != RECORD_WIDE || view.size < sizeof(struct extension) || rx->usual != 0))
        return RX_EMPTY;
    rx->pos = view.end;
    rx->seq += 1;
    *ret_view = view;
    return RX_MESSAGE;
}

/* A record of `span` bytes that ends at `end` was read: have as many bytes fetched that lie a page
 * further on. Processors fetch ahead by themselves within a page, and see no more than a few small
 * records at once. Only below the tail: beyond it the producer writes, and would lose its lines.
 * One of a line comes by itself, a large one while it is read. */
static inline void ring_rx_fetch(const struct ring_rx *rx, uint64_t end, uint64_t span) {
    uint64_t from = end - span + RX_AHEAD;
    const uint8_t *at = rx->data + (from & rx->mask);

    if (span - 65 >= RX_AHEAD - 65 || span + from > rx->tail)
        return;
    for (uint64_t i = 0; i < span; i += 64)
        prefetch_read(at + i);
}

/* Have what is to be read next fetched, in one go: who walks from header to header first waits for
 * each. Only below the tail, as above. */
static inline void ring_rx_fetch_next(const struct ring_rx *rx) {
    uint64_t left = rx->tail - rx->pos;
    const uint8_t *at = rx->data + (rx->pos & rx->mask);

    if (left > RX_AHEAD)
        left = RX_AHEAD;
    for (uint64_t i = 64; i < left; i += 64)
        prefetch_read(at + i);
}

/* Journal that everything before pos may have been seen by the application. */
static inline void ring_rx_handed(struct ring_rx *rx) {
    journal_order();
    store_relaxed(&rx->head->handed, rx->pos | rx->recovery);
    journal_order();
}

/* All before `position`, which are `seq` messages, are done with. */
static inline void ring_rx_commit(struct ring_rx *rx, uint64_t position, uint64_t seq) {
    uint64_t slot = WORD_SLOT(rx->committed) ^ 1u;

    store_relaxed(&rx->head->consumed[slot], seq);
    journal_order();
    rx->committed = position | slot;
    store_relaxed(&rx->head->committed, rx->committed);
    journal_order();
}

static inline bool ring_rx_should_free(const struct ring_rx *rx) {
    return rx->committed >= rx->free_at;
}

/* Give the producer all that is committed. Returns its want word. */
static inline uint64_t ring_rx_free(struct ring_rx *rx) {
    rx->freed = WORD_POSITION(rx->committed);
    rx->free_at = rx->freed + rx->lag;
    store_release(&rx->head->head, rx->freed); /* H1 */
    fence();                                   /* F4 */
    return load_relaxed(&rx->words->want);
}

/* Is the producer to be rung, for this want word? True once per word. */
static inline bool ring_rx_must_ring(const struct ring_rx *rx, uint64_t want) {
    return (want & ARMED_ON) != 0 && want != rx->rung;
}

/* Arm: from the fence after it on, the producer rings (F2: the caller's fence, one for many
 * rings). */
static inline void ring_rx_arm(struct ring_rx *rx) {
    uint64_t armed = load_relaxed(&rx->head->armed);

    store_relaxed(&rx->head->armed, (armed + ARMED_EPOCH) | ARMED_ON);
}

static inline void ring_rx_disarm(struct ring_rx *rx) {
    uint64_t armed = load_relaxed(&rx->head->armed);

    if (armed & ARMED_ON)
        store_relaxed(&rx->head->armed, armed & ~(uint64_t) (ARMED_ON | ARMED_TRIM));
}

/* Start on the stream that holds the committed position. False: the words contradict each other. */
bool ring_rx_init(struct ring_rx *rx, const struct stream *words, const uint8_t *data,
                  struct head *head, uint32_t from, uint64_t capacity, uint64_t base,
                  uint64_t base_seq);

/* Go on in the successor stream, whose base is pos. False: it does not fit on. */
bool ring_rx_succeed(struct ring_rx *rx, const struct stream *words, const uint8_t *data,
                     uint64_t capacity, uint64_t base, uint64_t base_seq);

/* After a death: count the hand-outs of what lies in [committed, handed) into the window, which has
 * memory, and make it one recovery more. May be repeated from the start after a death in it: counts
 * each once. Returns the number of the last message that was in hand, or UINT64_MAX for nonsense:
 * what lies there is no record, or more than can be in hand.
 * pos is left where it was. Stops at a link: *ret_more says that the rest lies in the next
 * stream. */
uint64_t ring_rx_recover(struct ring_rx *rx, uint64_t handed, bool *ret_more);
void ring_rx_recovered(struct ring_rx *rx);
