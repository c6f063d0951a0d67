/* SPDX-License-Identifier: MIT
 *
 * The frames of a link as bytes; normative text in docs/PROTOCOL.md, "Links". A frame is a head of
 * 16 bytes and a body of at most LINK_PART. All numbers little-endian.
 *
 * Reading checks everything that can be seen in a frame alone; what it means in its place is
 * checked where it is used.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "wire/link.h"

#define FRAME_HEAD 16u /* type, flags, turn, channel, size, serial */

enum link_frame_type {
    LINK_HELLO = 1,
    LINK_USE,
    LINK_BYE,
    LINK_PING,
    LINK_PONG,
    LINK_CONTROL,
    LINK_OPEN,
    LINK_STATE,
    LINK_REFUSAL,
    LINK_DATA,
    LINK_ACK,
    LINK_STALL,
    LINK_CLOSE,
    LINK_SETTLED,
    LINK_HERE,
    LINK_TYPES,
};

/* Flags. */
#define LINK_MORE 1u /* DATA, CLOSE: the origin has more behind this */
#define LINK_WANT 2u /* DATA: the origin is short of space: say soon what was consumed */

struct link_head {
    uint8_t type;
    uint8_t flags;
    uint16_t turn;    /* STATE: from now on; DATA: of the STATE that it is sent by; else 0 */
    uint32_t channel; /* the opener's number of it; else 0 */
    uint32_t size;    /* of the body */
    uint32_t serial;  /* of the OPEN that the frame belongs to; else 0 */
};

#define HELLO_SIZE 192u      /* of version 1; later ones may be larger, up to … */
#define HELLO_SIZE_MAX (GREET_SIZE - FRAME_HEAD)
#define USE_SIZE 8u
#define BYE_SIZE_MAX 200u
#define PING_SIZE 16u
#define PONG_SIZE 32u
#define OPEN_SIZE 56u
#define STATE_SIZE 24u
#define REFUSAL_SIZE 16u
#define DATA_SIZE 16u        /* in front of the bytes of the records */
#define ACK_SIZE 24u
#define STALL_SIZE 16u
#define CLOSE_SIZE 8u
#define DATA_MAX (LINK_PART - DATA_SIZE)

static inline void put16(uint8_t *at, uint16_t value) {
    at[0] = (uint8_t) value;
    at[1] = (uint8_t) (value >> 8);
}
static inline void put32(uint8_t *at, uint32_t value) {
    put16(at, (uint16_t) value);
    put16(at + 2, (uint16_t) (value >> 16));
}
static inline void put64(uint8_t *at, uint64_t value) {
    put32(at, (uint32_t) value);
    put32(at + 4, (uint32_t) (value >> 32));
}
static inline uint16_t get16(const uint8_t *at) {
    return (uint16_t) (at[0] | at[1] << 8);
}
static inline uint32_t get32(const uint8_t *at) {
    return get16(at) | (uint32_t) get16(at + 2) << 16;
}
static inline uint64_t get64(const uint8_t *at) {
    return get32(at) | (uint64_t) get32(at + 4) << 32;
}

void link_head_write(uint8_t *at, const struct link_head *head);

/* Read and check a head: type, flags, size of that type, what has to be 0. -EBADMSG, and why. */
int link_head_read(const uint8_t *at, struct link_head *ret_head, struct wrong *wrong);

/* What a type is called. */
const char *link_frame_name(unsigned type);

/* HELLO's body, HELLO_SIZE bytes; and back, `size` bytes of it. -EBADMSG. */
void link_hello_write(uint8_t *at, const struct link_identity *self, uint64_t try);

struct link_hello {
    struct link_identity identity;
    uint16_t version_min, version;
    uint64_t try;
};

int link_hello_read(const uint8_t *at, size_t size, struct link_hello *ret_hello,
                    struct wrong *wrong);
