/* SPDX-License-Identifier: MIT
 *
 * The layout of the shared files: normative text in docs/SEGMENT.md, this is its C.
 *
 * A node D is a directory named by its ID. In it lie
 *
 *   lock           bytes 0 (identity) and 1 (custody), OFD locks of a FIFO that stays empty; only
 *                  who takes one of them opens it for writing
 *   door           struct door: who D is, and the words by which it is woken
 *   bell           a FIFO: one byte wakes
 *   from-S         a stream S -> D: struct stream, written by the custodian of S only
 *   from-S+N       its N-th successor: made when a message did not fit
 *   head-S         struct head: the consumer's words of the channel, made by the producer with the
 *                  first stream, then written by the custodian of D only
 *   aside-S-SEQ    a message set aside: struct record and payload; retry-S-SEQ: to be tried again
 *   watch-W        node W wants to know when D comes and goes
 *
 * Positions are bytes of a channel: they start at 0, are multiples of 8, only grow, and go on
 * through successor streams. Every word is little-endian, fixed-width and naturally aligned; words
 * that change are accessed with the __atomic built-ins, never as language atomics. What one side
 * stores per message and what the other side reads lie on different cache lines.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#ifndef LAYOUT_VERSION /* another one: for tests of two versions on one bus */
#define LAYOUT_VERSION 2u
#endif

#define STREAM_MAGIC UINT64_C(0x474e49524d415254) /* "TRAMRING" */
#define HEAD_MAGIC   UINT64_C(0x444145484d415254) /* "TRAMHEAD" */
#define DOOR_MAGIC   UINT64_C(0x524f4f444d415254) /* "TRAMDOOR" */

#define LAYOUT_ALIGN   8u      /* of records, and so of positions */
#define LAYOUT_DATA    65536u  /* offset of a stream's data: a page of 4, 16 and 64 KiB kernels */
#define LAYOUT_DOOR    4096u   /* size of a door's file */
#define LAYOUT_WINDOW  512u    /* messages in hand, per sender */
#define LAYOUT_BITS    512u    /* bits of a door */
#define STREAM_MIN     65536u  /* smallest capacity of a stream */
#define STREAM_MAX     (UINT64_C(1) << 32)
#define LAYOUT_END     (UINT64_C(1) << 63) /* positions and counts stay below */

/* A successor is twice as large or more: from STREAM_MIN to STREAM_MAX there are so many. */
#define LAYOUT_GENERATIONS 17u

/* A message in a ring, followed by its body and padding to LAYOUT_ALIGN. The body is the payload;
 * with RECORD_WIDE, struct extension and then the payload. */
struct record {
    uint64_t seq;      /* number in the channel, from 1 */
    uint32_t size;     /* of the body */
    uint32_t prev;     /* bytes / 8 back to the record before this one; 0: none in this stream,
                          or not known, as by a process that has just opened */
    uint32_t from;     /* ID of the source */
    uint32_t tag;      /* the user's */
    uint32_t flags;    /* RECORD_…, and the channel's life in the upper 24 bits */
    uint32_t check;    /* RECORD_CHECKED: CRC-32C. In aside-S-SEQ: hand-outs so far. Else 0 */
};

/* What not every message has. */
struct extension {
    uint64_t time_ns;  /* CLOCK_REALTIME of the send, or 0 */
    uint8_t layer[16]; /* the layer above */
};

#define RECORD_LINK 1u /* no message: the channel goes on in the next stream (from-S+N+1) */
#define RECORD_WIDE 2u /* the body begins with struct extension */
#define RECORD_CHECKED 4u /* on a disk: check is that of header (without it) and body */
#define RECORD_KINDS 0xffu
#define RECORD_LIFE(flags) ((flags) >> 8) /* of the channel, see struct stream */

static_assert(offsetof(struct record, seq) == 0, "layout");
static_assert(offsetof(struct record, size) == 8, "layout");
static_assert(offsetof(struct record, prev) == 12, "layout");
static_assert(offsetof(struct record, from) == 16, "layout");
static_assert(offsetof(struct record, tag) == 20, "layout");
static_assert(offsetof(struct record, flags) == 24, "layout");
static_assert(offsetof(struct record, check) == 28, "layout");
static_assert(sizeof(struct record) == 32, "layout");
static_assert(offsetof(struct extension, time_ns) == 0, "layout");
static_assert(offsetof(struct extension, layer) == 8, "layout");
static_assert(sizeof(struct extension) == 24, "layout");

/* First page of a stream's file; data[capacity] follows at LAYOUT_DATA. */
struct stream {
    uint64_t magic;
    uint32_t version;
    uint32_t generation; /* N of from-S+N */
    uint32_t from;
    uint32_t to;
    uint64_t id;        /* random; of the channel: the same in all its generations */
    uint64_t base;      /* position of the first record */
    uint64_t base_seq;  /* messages accepted before it */
    uint64_t capacity;  /* power of two, bytes */
    uint64_t made_ns;   /* CLOCK_REALTIME */
    uint64_t zero[24];

    /* The producer's line, read by the consumer: tail is position | slot, and accepted[slot] is the
     * number of messages accepted up to it. */
    uint64_t tail;
    uint64_t accepted[2];
    uint64_t zero2[5];

    /* Rarely written. */
    uint64_t want;     /* as head.armed, with roles swapped: rung when space is freed */
    uint64_t kept;     /* data before this position may be gone (punched) */
    uint64_t reserved; /* the writer stays below, until it stores another; has memory from tail */

    /* On a disk, else 0. */
    uint64_t boot; /* of the machine, while somebody writes here; 0: closed, all of it is there */
    uint64_t lost; /* messages that a restart of the machine cost */
    uint64_t life; /* restarts that found it open: a sequence number may have been used before */
    uint64_t since; /* position where this life began: older records behind it are no more */
    uint64_t zero3;
};

static_assert(offsetof(struct stream, version) == 8, "layout");
static_assert(offsetof(struct stream, generation) == 12, "layout");
static_assert(offsetof(struct stream, from) == 16, "layout");
static_assert(offsetof(struct stream, to) == 20, "layout");
static_assert(offsetof(struct stream, id) == 24, "layout");
static_assert(offsetof(struct stream, base) == 32, "layout");
static_assert(offsetof(struct stream, base_seq) == 40, "layout");
static_assert(offsetof(struct stream, capacity) == 48, "layout");
static_assert(offsetof(struct stream, made_ns) == 56, "layout");
static_assert(offsetof(struct stream, tail) == 256, "layout");
static_assert(offsetof(struct stream, accepted) == 264, "layout");
static_assert(offsetof(struct stream, want) == 320, "layout");
static_assert(offsetof(struct stream, kept) == 328, "layout");
static_assert(offsetof(struct stream, reserved) == 336, "layout");
static_assert(offsetof(struct stream, boot) == 344, "layout");
static_assert(offsetof(struct stream, lost) == 352, "layout");
static_assert(offsetof(struct stream, life) == 360, "layout");
static_assert(offsetof(struct stream, since) == 368, "layout");
static_assert(sizeof(struct stream) == 384, "layout");

/* The consumer's words of a channel, through all generations. The window has its own page. */
struct head {
    uint64_t magic;
    uint32_t version;
    uint32_t zero0;
    uint32_t from;
    uint32_t to;
    uint64_t id;       /* of the channel, as in struct stream */
    uint64_t zero[12];

    uint64_t head;     /* all before it is free; may lag behind committed; read by the producer */
    uint64_t zero2[7];

    uint64_t armed;    /* ARMED_…; read by the producer at each publish */
    uint64_t zero3[7];

    /* The consumer's journal, never read by the producer's fast path: committed is position | slot,
     * and consumed[slot] counts the messages before it. handed is position | recovery & 7. */
    uint64_t committed;
    uint64_t consumed[2];
    uint64_t handed;
    uint64_t aside;    /* messages set aside, ever */
    uint64_t boot;     /* on a disk: as in struct stream */
    uint64_t unsure;   /* up to this message, any may have been handed out before a restart */
    uint64_t life;     /* of the channel, that these words speak of: as in struct stream */

    uint64_t zero5[472];

    /* window[seq % 512], WINDOW_…: releases out of order, and hand-outs before a crash. */
    uint64_t window[LAYOUT_WINDOW];
};

#define ARMED_ON     1u  /* the consumer sleeps on this ring: ring the bell */
#define ARMED_CLOSED 2u  /* somebody removes the receiver; who has published takes it off */
#define ARMED_BROKEN 4u  /* the consumer saw nonsense and closed the channel */
#define ARMED_TRIM   8u  /* the consumer asks for the memory behind the head to be given back */
#define ARMED_FINAL  16u /* it is removed: nothing that is not consumed was accepted, for ever */
#define ARMED_EPOCH  32u /* added at each arming; never restarts */

#define ARMED_REMOVED (ARMED_CLOSED | ARMED_FINAL)

#define WINDOW_SEQ(w)      ((w) & UINT64_C(0xffffffffffff))
#define WINDOW_ATTEMPTS(w) ((uint32_t) ((w) >> 48) & 0xffu)  /* hand-outs so far, when > 0 */
#define WINDOW_RECOVERY(w) ((uint32_t) ((w) >> 56) & 0x7u)   /* the recovery that counted last */
#define WINDOW_RELEASED    (UINT64_C(1) << 63)

static_assert(offsetof(struct head, version) == 8, "layout");
static_assert(offsetof(struct head, from) == 16, "layout");
static_assert(offsetof(struct head, to) == 20, "layout");
static_assert(offsetof(struct head, id) == 24, "layout");
static_assert(offsetof(struct head, head) == 128, "layout");
static_assert(offsetof(struct head, armed) == 192, "layout");
static_assert(offsetof(struct head, committed) == 256, "layout");
static_assert(offsetof(struct head, consumed) == 264, "layout");
static_assert(offsetof(struct head, handed) == 280, "layout");
static_assert(offsetof(struct head, aside) == 288, "layout");
static_assert(offsetof(struct head, boot) == 296, "layout");
static_assert(offsetof(struct head, unsure) == 304, "layout");
static_assert(offsetof(struct head, life) == 312, "layout");
static_assert(offsetof(struct head, window) == 4096, "layout");
static_assert(sizeof(struct head) == 8192, "layout");

/* A node's door. `asleep` is written by the owner only; bits, attached and gone by any peer; the
 * rest by the holder when it opens and closes. */
struct door {
    uint64_t magic;
    uint32_t version;
    uint32_t id;
    uint32_t pid;      /* believed only while byte 0 of the lock is held */
    uint32_t flags;    /* DOOR_… */
    uint64_t start;    /* start time of the process, clock ticks since boot: pids come again */
    uint64_t opened_ns; /* CLOCK_REALTIME */
    uint64_t closed_ns; /* of an orderly close, else 0 */
    uint64_t opens;    /* how often the node was opened: tells one life from the next */
    char program[32];
    uint64_t pid_namespace; /* in which pid is meant: inode of /proc/self/ns/pid; 0: not known */
    uint64_t zero[20];

    uint32_t asleep;
    uint32_t zero1[15];

    uint32_t attached; /* counts what changed in the directory: look again */
    uint32_t zero2;
    uint64_t gone;     /* messages of this node that went with an ephemeral receiver */
    uint64_t zero3[6];

    uint64_t bits[LAYOUT_BITS / 64];
};

#define DOOR_EPHEMERAL 1u

static_assert(offsetof(struct door, version) == 8, "layout");
static_assert(offsetof(struct door, id) == 12, "layout");
static_assert(offsetof(struct door, pid) == 16, "layout");
static_assert(offsetof(struct door, flags) == 20, "layout");
static_assert(offsetof(struct door, start) == 24, "layout");
static_assert(offsetof(struct door, opened_ns) == 32, "layout");
static_assert(offsetof(struct door, closed_ns) == 40, "layout");
static_assert(offsetof(struct door, opens) == 48, "layout");
static_assert(offsetof(struct door, program) == 56, "layout");
static_assert(offsetof(struct door, pid_namespace) == 88, "layout");
static_assert(offsetof(struct door, asleep) == 256, "layout");
static_assert(offsetof(struct door, attached) == 320, "layout");
static_assert(offsetof(struct door, gone) == 328, "layout");
static_assert(offsetof(struct door, bits) == 384, "layout");
static_assert(sizeof(struct door) == 448, "layout");

/* Bytes that a record with `size` bytes of body takes. */
static inline uint64_t record_span(uint64_t size) {
    return (sizeof(struct record) + size + LAYOUT_ALIGN - 1) & ~(uint64_t) (LAYOUT_ALIGN - 1);
}

/* The bit of a peer in a door. Neighbouring IDs get different bits. */
static inline uint32_t door_bit(uint32_t id) {
    return (id * UINT32_C(2654435761)) >> 23;
}
