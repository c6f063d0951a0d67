/* SPDX-License-Identifier: MIT
 *
 * What goes with a message of the service layer beside its payload; normative text in
 * docs/PROTOCOL.md.
 *
 * The frame is the 16 layer bytes of a record in shared memory (struct tram_meta), and the second
 * part of the 24-byte head of a message on a socket; code and payload are the record's tag and
 * payload. What only some messages need stands in front of the payload, `extra` bytes of it, and
 * the application never sees it. All little-endian.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_VERSION 1u

enum frame_kind {
    FRAME_HELLO = 1,  /* client → server: I am here. payload: struct hello */
    FRAME_WELCOME,    /* server → client: answer to it. payload: struct hello */
    FRAME_BYE,        /* this session is over */
    FRAME_REQUEST,    /* correlation: the asker's port << 32 | number */
    FRAME_REPLY,      /* correlation: of the request; the end of it */
    FRAME_PART,       /* a part of a streamed reply */
    FRAME_CREDIT,     /* code: so many parts more may come */
    FRAME_ERROR,      /* the end of a request: code and, as payload, text of the application; with
                         FRAME_FAILED a negative errno of the layer */
    FRAME_CANCEL,     /* of the request */
    FRAME_ONEWAY,
    FRAME_SYNC,       /* client → server that has come back: which of mine have you in hand? Lower
                         half: counts them */
    FRAME_SYNCED,     /* lower half: of the SYNC. payload: their correlations, 8 bytes each */
    FRAME_SUBSCRIBE,  /* lower half: the subscription. payload: struct subscribe */
    FRAME_SUBSCRIBED, /* likewise. payload: struct subscribed */
    FRAME_UNSUBSCRIBE,
    FRAME_EVENT,      /* to one subscriber; code: the event, lower half: its subscription */
    FRAME_NEWS,       /* the ring of events, which you sleep on, has something */
    FRAME_GET,        /* cached event; answered by FRAME_REPLY or FRAME_ERROR */
    FRAME_SET,
    FRAME_INSPECT,    /* of tools: answered with a tram.control.Inspection */
    FRAME_ACK,        /* on a socket: so many one-way messages (lower half of the correlation) were
                         handed to the application; never seen above the link */
    FRAME_KINDS,
};

/* Flags: which fields `extra` has, in this order, each padded to 8 bytes. */
#define FRAME_DEADLINE 0x01u /* i64 CLOCK_MONOTONIC ns; over a socket: ns that are left */
#define FRAME_TRACE    0x02u /* 16 bytes */
#define FRAME_TOPIC    0x04u /* u8 length, the bytes */
#define FRAME_WINDOW   0x08u /* u32: parts of the reply that may be under way */
#define FRAME_FLAGS    0x0fu
/* … and others. */
#define FRAME_FAILED   0x10u
#define FRAME_INITIAL  0x20u /* an event from the cache */

struct frame {
    uint8_t kind;
    uint8_t flags;
    uint16_t extra;       /* bytes before the payload, a multiple of 8 */
    uint32_t port;        /* of the endpoint that it is for */
    uint64_t correlation; /* upper half: the sender's port, never 0; an answer (REPLY, PART, ERROR)
                             has the correlation of what it answers, so there the asker's */
};

static_assert(sizeof(struct frame) == 16, "layout");
static_assert(offsetof(struct frame, extra) == 2, "layout");
static_assert(offsetof(struct frame, port) == 4, "layout");
static_assert(offsetof(struct frame, correlation) == 8, "layout");

/* On a socket, before extra and payload, which are padded to 8 bytes. */
struct socket_head {
    uint32_t size;  /* of extra and payload without padding, up to SOCKET_MAX */
    uint32_t code;
    struct frame frame;
};

#define SOCKET_MAX (16u << 20)

static_assert(sizeof(struct socket_head) == 24, "layout");

/* Payload of FRAME_HELLO and FRAME_WELCOME, and the first message on a socket either way. */
struct hello {
    char magic[4];      /* "TRAM" */
    uint16_t version;   /* FRAME_VERSION */
    uint16_t program;   /* length of the program's name, which follows, then the service's */
    uint32_t service;   /* length of the service's name */
    int32_t pid;
};

static_assert(sizeof(struct hello) == 16, "layout");

/* Payload of the ERROR, failed, -ECONNREFUSED, by which a request is given back that was not
 * executed: this, then its fields and payload as they came. It may be empty, too. */
struct returned {
    struct frame frame;
    uint32_t code;
    uint32_t reserved;
};

static_assert(sizeof(struct returned) == 24, "layout");

#define FRAME_EXTRA_MAX 304u /* 8 + 16 + 256 + 8, and some */

/* What extra says, unpacked. */
struct frame_extra {
    int64_t deadline;   /* INT64_MAX: none */
    uint32_t window;    /* 0: none */
    uint8_t trace[16];
    uint8_t topic_size;
    char topic[256];    /* terminated */
};

/* Which port an endpoint of that name has: FNV-1a of the name, never 0. */
uint32_t frame_port(const char *name, size_t length);

/* Write the extra fields that frame->flags names to `buffer` (FRAME_EXTRA_MAX bytes), and their
 * length to frame->extra. */
void frame_extra_write(struct frame *frame, const struct frame_extra *extra, uint8_t *buffer);

/* Read and check a frame that a peer wrote (from a private copy), and the extra fields at `body`,
 * of which `size` bytes are there. 0 or -EBADMSG. */
int frame_read(const struct frame *frame, const void *body, size_t size,
               struct frame_extra *ret_extra);
