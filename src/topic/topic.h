/* SPDX-License-Identifier: MIT
 *
 * The ring of events: one writer, many readers, each event written once.
 *
 * Overview
 *   The writer's file (struct topic, then data that is mapped twice in a row) is mapped read-only
 *   by readers. A reader has a file of its own (struct topic_reader, mapped read-only by the
 *   writer) with the position up to which it is done, and the word by which it is woken. There are
 *   two kinds of readers:
 *
 *   - *granted*: the writer does not overwrite what such a reader is not done with. It reads in
 *     place.
 *   - others: the writer doesn't care. They copy an event, and then ask whether the copy can be
 *     trusted; who was lapped goes on at the oldest event that is there, and knows from its number
 *     how many it missed.
 *
 *     topic_tx_fits(tx, size) or topic_tx_make_room(tx, size, limit)     limit: slowest granted one
 *     body = topic_tx_header(tx, …); … topic_tx_stage(tx)                once or more often
 *     topic_tx_publish(tx)                    then load each sleeping reader's armed word, and ring
 *
 *     topic_rx_look(rx)
 *     while (topic_rx_next(rx, &view) == TOPIC_EVENT) { copy; if (topic_rx_intact(rx, &view)) … }
 *     topic_rx_done(rx)
 *
 * Contract
 *   One writer, one thread at a time; each reader one thread at a time. Positions are as those of a
 *   ring: multiples of 8, only grow. `floor` is the position of a record; nothing before it may be
 *   looked at. It moves in steps of 1/64 of the ring, so that it is read by all and written rarely.
 *   Readers believe nothing: a record's header is copied, found to be intact, checked, and the copy
 *   used. The writer reads a position of a granted reader once and checks it; a reader that writes
 *   nonsense there holds up the writer for its patience, as one does that never reads.
 *
 * Why it is correct
 *   T1  tail is stored with release after the records before it; loaded with acquire. The floor is
 *       never beyond the tail, and stored after it with release: who has seen the floor (acquire,
 *       L3) sees a tail that is not before it.
 *   L1  floor stored, with release; release fence; data before floor overwritten. Against
 *   L2  data read; acquire fence; floor loaded. If the copy has anything of the new data, then the
 *       floor that is loaded is the new one, or a later, and the copy is thrown away. (A sequence
 *       lock whose number is a position; Boehm, "Can seqlocks get along with programming language
 *       memory models?", 2012.)
 *   G1  A granted reader stores its position with release after its last look at what lies before;
 *       the writer loads it with acquire before it moves the floor there.
 *   F1  tail stored; fence; armed of a reader loaded. F2  armed stored; fence; tail loaded. At
 *       least one side sees the other's store: it is rung, or does not sleep.
 *   F3  want stored; fence; positions loaded (by the writer that is held up). F4  position stored;
 *       fence; want loaded: likewise.
 *
 * Death at any instruction
 *   The writer's: an event is published by the store of the tail, or not at all. Its successor goes
 *   on at the tail; the number that belongs to it is in the slot that its low bit names, as in a
 *   ring. The floor may be further on than needed, never less far than what was overwritten. A
 *   reader's: its position says what it was done with; a successor of the same name goes on there.
 *   Whoever dies between store and bell is found by the re-look.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "ring/atomic.h"
#include "ring/layout.h"
#include "ring/tx.h"

#ifndef TOPIC_VERSION
#define TOPIC_VERSION 1u
#endif

#define TOPIC_MAGIC  UINT64_C(0x53544e5645415254) /* "TRAEVNTS" */
#define READER_MAGIC UINT64_C(0x5244414552415254) /* "TRAREADR" */
#define TOPIC_STEPS  64u      /* the floor moves by this part of the ring */
#define TOPIC_MIN    65536u   /* smallest capacity */
#define TOPIC_MAX    (UINT64_C(1) << 32)
#define READER_SIZE  4096u
#define TOPIC_AMPLE(mask) (((mask) + 1) / 8) /* so much room is worth a bell */
#define TOPIC_UNKNOWN UINT64_MAX
#define READER_BLOCK 1u       /* of a durable one: it has back-pressure */

struct topic {
    uint64_t magic;
    uint32_t version;
    uint32_t zero0;
    uint32_t node;      /* of the publisher */
    uint32_t port;
    uint64_t id;        /* random: another ring has another */
    uint64_t capacity;
    uint64_t made_ns;   /* CLOCK_REALTIME */
    uint32_t copy;      /* 1: of a ring of another host; no server goes on in it */
    uint32_t zero4;
    uint64_t zero[25];

    uint64_t tail;      /* position | slot */
    uint64_t count[2];  /* events up to it */
    uint64_t zero1[5];

    uint64_t floor;     /* a record starts here; before it, nothing is as it was */
    uint64_t zero2[7];

    uint64_t want;      /* ARMED_ON and epochs: the writer waits for a granted reader */
    uint64_t zero3[7];
};

static_assert(offsetof(struct topic, version) == 8, "layout");
static_assert(offsetof(struct topic, node) == 16, "layout");
static_assert(offsetof(struct topic, port) == 20, "layout");
static_assert(offsetof(struct topic, id) == 24, "layout");
static_assert(offsetof(struct topic, capacity) == 32, "layout");
static_assert(offsetof(struct topic, made_ns) == 40, "layout");
static_assert(offsetof(struct topic, copy) == 48, "layout");
static_assert(offsetof(struct topic, tail) == 256, "layout");
static_assert(offsetof(struct topic, count) == 264, "layout");
static_assert(offsetof(struct topic, floor) == 320, "layout");
static_assert(offsetof(struct topic, want) == 384, "layout");
static_assert(sizeof(struct topic) == 448, "layout");

struct topic_reader {
    uint64_t magic;
    uint32_t version;
    uint32_t flags;     /* READER_… */
    uint32_t node;      /* of the subscriber */
    uint32_t zero1;
    uint64_t topic;     /* id of the ring */
    uint64_t zero[12];

    uint64_t position;  /* done with all before it; | slot */
    uint64_t number[2]; /* … which is up to this event; TOPIC_UNKNOWN */
    uint64_t missed;    /* ever */
    uint64_t handed;    /* durable: position of what is in hand | how often it was, up to 7 */
    uint64_t zero2[3];

    uint64_t armed;     /* ARMED_ON and epochs: the reader sleeps */
    uint64_t zero3[7];
};

static_assert(offsetof(struct topic_reader, version) == 8, "layout");
static_assert(offsetof(struct topic_reader, node) == 16, "layout");
static_assert(offsetof(struct topic_reader, topic) == 24, "layout");
static_assert(offsetof(struct topic_reader, position) == 128, "layout");
static_assert(offsetof(struct topic_reader, number) == 136, "layout");
static_assert(offsetof(struct topic_reader, missed) == 152, "layout");
static_assert(offsetof(struct topic_reader, handed) == 160, "layout");
static_assert(offsetof(struct topic_reader, armed) == 192, "layout");
static_assert(sizeof(struct topic_reader) == 256, "layout");

/* In the file of a reader of another host's ring, at WISH_AT: what it wants, for the relay. */
#define WISH_MAGIC UINT64_C(0x4853495754415254) /* "TRATWISH" */
#define WISH_AT    512u

struct topic_wish {
    uint64_t magic;
    uint32_t event;
    uint32_t zero;
    char topic[256];    /* terminated */
};

static_assert(offsetof(struct topic_wish, event) == 8, "layout");
static_assert(offsetof(struct topic_wish, topic) == 16, "layout");
static_assert(sizeof(struct topic_wish) == 272, "layout");

/* An event in the ring, followed by `extra` bytes of the layer's, the payload, and padding. */
struct topic_record {
    uint64_t number;   /* from 1, no gaps */
    uint32_t size;     /* of extra and payload */
    uint32_t code;
    uint64_t time_ns;  /* CLOCK_REALTIME, or 0 */
    uint16_t extra;
    uint8_t flags;     /* of the layer */
    uint8_t zero0;
    uint32_t passed;   /* of a ring that is another's copy: events that were left out before it */
};

static_assert(offsetof(struct topic_record, size) == 8, "layout");
static_assert(offsetof(struct topic_record, code) == 12, "layout");
static_assert(offsetof(struct topic_record, time_ns) == 16, "layout");
static_assert(offsetof(struct topic_record, extra) == 24, "layout");
static_assert(offsetof(struct topic_record, flags) == 26, "layout");
static_assert(offsetof(struct topic_record, passed) == 28, "layout");
static_assert(sizeof(struct topic_record) == 32, "layout");

/* ---- the writer ----------------------------------------------------------------------------- */

struct topic_tx {
    uint8_t *data;
    uint64_t mask;
    uint64_t pos;      /* of the next record; above the published tail if some are staged */
    uint64_t room;     /* floor + capacity: a record may end here */
    uint64_t number;   /* of the last event staged */
    uint64_t tail;     /* the published word */
    uint64_t floor;
    struct topic *words;
    uint64_t want;     /* the word that is stored */
    uint32_t shift;    /* a step is 1 << shift bytes */
    /* Where the first record at or behind the start of each step lies; of those in the ring. */
    uint64_t starts[TOPIC_STEPS];
    uint64_t step;     /* of which starts[] is known: all up to this one */
};

static inline uint64_t topic_span(uint64_t size) {
    return (sizeof(struct topic_record) + size + LAYOUT_ALIGN - 1) & ~(uint64_t) (LAYOUT_ALIGN - 1);
}

/* The largest `size` of an event: a quarter of the ring, so that those who are lapped find some. */
static inline uint64_t topic_largest(const struct topic_tx *tx) {
    return (tx->mask + 1) / 4 - sizeof(struct topic_record);
}

static inline bool topic_tx_fits(const struct topic_tx *tx, uint64_t size) {
    return tx->room - tx->pos >= topic_span(size);
}

static inline bool topic_tx_staged(const struct topic_tx *tx) {
    return tx->pos != WORD_POSITION(tx->tail);
}

/* The header of the next event; returns where extra and payload go. */
static inline void *topic_tx_header(struct topic_tx *tx, const struct topic_record *record) {
    struct topic_record *at =
        (struct topic_record *) (void *) (tx->data + (tx->pos & tx->mask));

    *at = *record;
    at->number = tx->number + 1;
    return at + 1;
}

/* The same for one that has nothing but payload. Field by field: a copy of what was just put
 * together elsewhere would wait for that. */
static inline void *topic_tx_plain(struct topic_tx *tx, uint32_t code, uint32_t size) {
    struct topic_record *at =
        (struct topic_record *) (void *) (tx->data + (tx->pos & tx->mask));

    at->number = tx->number + 1;
    at->size = size;
    at->code = code;
    at->time_ns = 0;
    at->extra = 0;
    at->flags = at->zero0 = 0;
    at->passed = 0;
    return at + 1;
}

/* The record at pos is complete. */
static inline void topic_tx_stage(struct topic_tx *tx, uint64_t size) {
    tx->pos += topic_span(size);
    tx->number += 1;
    if (__builtin_expect(tx->pos >> tx->shift > tx->step, 0))
        while (tx->pos >> tx->shift > tx->step)
            tx->starts[++tx->step % TOPIC_STEPS] = tx->pos;
}

/* Make all that is staged visible. The caller then looks at the armed words of its readers. */
static inline void topic_tx_publish(struct topic_tx *tx) {
    uint64_t slot = WORD_SLOT(tx->tail) ^ 1u;

    store_relaxed(&tx->words->count[slot], tx->number);
    tx->tail = tx->pos | slot;
    store_release(&tx->words->tail, tx->tail); /* T1 */
    fence();                                   /* F1 */
}

/* Move the floor, so that `size` more bytes fit, but not beyond `limit`, the position of the
 * slowest granted reader (UINT64_MAX: none). False: that one is in the way. What is staged may be
 * published by it. `size` is no more than topic_largest(). */
bool topic_tx_make_room(struct topic_tx *tx, uint64_t size, uint64_t limit);

/* Ask granted readers to ring when they are done with more; then look at their positions again.
 * And no more. */
void topic_tx_want(struct topic_tx *tx);
void topic_tx_unwant(struct topic_tx *tx);

/* Start on a file that is in place, with memory for all of it, and `capacity` as its header says,
 * checked. -EBADMSG: its words contradict each other. */
int topic_tx_init(struct topic_tx *tx, struct topic *words, uint8_t *data, uint64_t capacity);

/* A granted reader's position, from its file: 0 and the position, or -EBADMSG. */
int topic_tx_position(const struct topic_tx *tx, const struct topic_reader *reader,
                      uint64_t *ret_position);

/* ---- readers -------------------------------------------------------------------------------- */

enum topic_result { TOPIC_BAD = -1, TOPIC_NONE, TOPIC_EVENT };

struct topic_rx {
    const uint8_t *data;
    uint64_t mask;
    uint64_t pos;      /* of the next event */
    uint64_t tail;     /* seen, checked */
    uint64_t number;   /* of the last event handed out */
    uint64_t missed;   /* before the event that topic_rx_next() handed out last */
    uint64_t position; /* the word that is stored */
    uint64_t rung;     /* the want word for which the writer was rung */
    bool skips;        /* events up to `number` are passed over: it began behind that one */
    const struct topic *words;
    struct topic_reader *mine;
};

struct topic_view {
    struct topic_record record; /* a copy, checked */
    const uint8_t *body;        /* extra and payload, in place */
    uint64_t at;                /* its position */
};

/* Take over the writer's tail. False: nonsense. */
bool topic_rx_look(struct topic_rx *rx);

/* The next event, and go behind it. Lapped: the oldest there is; rx->missed tells. */
enum topic_result topic_rx_next(struct topic_rx *rx, struct topic_view *ret_view);

/* Was what has been read at this position until now as the writer wrote it? */
static inline bool topic_rx_holds(const struct topic_rx *rx, uint64_t at) {
    fence_acquire(); /* L2 */
    return load_relaxed(&rx->words->floor) <= at;
}
static inline bool topic_rx_intact(const struct topic_rx *rx, const struct topic_view *view) {
    return topic_rx_holds(rx, view->at);
}

/* An event that has nothing but payload. */
struct topic_plain {
    const uint8_t *data; /* in place */
    uint64_t at, time_ns;
    uint32_t size, code;
};

/* The short way of topic_rx_next(), for a plain event that follows the last one and is intact.
 * False: there is none, or another kind of it, or something is the matter; the other says. Each
 * field is loaded by itself: one that is stored in halves and read as a whole stalls. */
static inline bool topic_rx_plain(struct topic_rx *rx, struct topic_plain *ret_event) {
    const uint8_t *from = rx->data + (rx->pos & rx->mask);
    const struct topic_record *record = (const struct topic_record *) (const void *) from;
    uint64_t left = rx->tail - rx->pos, number, rest, span;

    if (left < sizeof(*record))
        return false;
    number = load_relaxed(&record->number);
    ret_event->size = load_relaxed(&record->size);
    ret_event->code = load_relaxed(&record->code);
    ret_event->time_ns = load_relaxed(&record->time_ns);
    /* From there on all is 0 if there is nothing but payload. */
    rest = load_relaxed((const uint64_t *) (const void *) &record->extra);
    ret_event->data = from + sizeof(*record);
    ret_event->at = rx->pos;
    span = topic_span(ret_event->size);
    if (!topic_rx_holds(rx, rx->pos) || number != rx->number + 1 || rest != 0 || span > left ||
        span > rx->mask + 1)
        return false;
    rx->number = number;
    rx->pos += span;
    return true;
}

/* Done with all that was handed out. True: the writer waits for that, there is ample room now or
 * nothing more to read, and it is to be rung (said once per want word). */
bool topic_rx_done(struct topic_rx *rx);
/* … with all up to this event, which ends at `pos`. */
bool topic_rx_done_to(struct topic_rx *rx, uint64_t pos, uint64_t number);

/* From the caller's fence (F2) on, the writer rings. Then look once more, and sleep. */
static inline void topic_rx_arm(struct topic_rx *rx) {
    uint64_t armed = load_relaxed(&rx->mine->armed);

    store_relaxed(&rx->mine->armed, (armed + ARMED_EPOCH) | ARMED_ON);
}

static inline void topic_rx_disarm(struct topic_rx *rx) {
    uint64_t armed = load_relaxed(&rx->mine->armed);

    if (armed & ARMED_ON)
        store_relaxed(&rx->mine->armed, armed & ~(uint64_t) ARMED_ON);
}

/* Start at a position: that of the file if `resume` and it lies in this ring, else the tail. False:
 * the ring's words are nonsense. rx->missed is how many were lost in between. */
bool topic_rx_init(struct topic_rx *rx, const struct topic *words, const uint8_t *data,
                   uint64_t capacity, struct topic_reader *mine, bool resume);
