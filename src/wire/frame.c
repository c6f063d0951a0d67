/* SPDX-License-Identifier: MIT
 *
 * The fields in front of a payload, written and read. What a peer wrote is read from a private copy
 * only, field by field in their one order, and they must fill `extra` to the byte: so there is one
 * way to write a message, and no room for what nobody looks at.
 */
#include "wire/frame.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define FRAME_KNOWN (FRAME_FLAGS | FRAME_FAILED | FRAME_INITIAL)
#define PAD(n)      (((n) + 7u) & ~(size_t) 7u)

uint32_t frame_port(const char *name, size_t length) {
    uint32_t hash = 0x811c9dc5u;

    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t) name[i]) * 0x01000193u;
    return hash ? hash : 1;
}

static size_t put(uint8_t *buffer, size_t at, const void *data, size_t size) {
    memcpy(buffer + at, data, size);
    if (PAD(size) > size)
        memset(buffer + at + size, 0, PAD(size) - size);
    return at + PAD(size);
}

void frame_extra_write(struct frame *frame, const struct frame_extra *extra, uint8_t *buffer) {
    size_t at = 0;

    if ((frame->flags & FRAME_FLAGS) == FRAME_DEADLINE) { /* most are so */
        memcpy(buffer, &extra->deadline, sizeof(extra->deadline));
        frame->extra = sizeof(extra->deadline);
        return;
    }
    if (frame->flags & FRAME_DEADLINE)
        at = put(buffer, at, &extra->deadline, sizeof(extra->deadline));
    if (frame->flags & FRAME_TRACE)
        at = put(buffer, at, extra->trace, sizeof(extra->trace));
    if (frame->flags & FRAME_TOPIC) {
        uint8_t field[256];

        field[0] = extra->topic_size;
        memcpy(field + 1, extra->topic, extra->topic_size);
        at = put(buffer, at, field, 1u + extra->topic_size);
    }
    if (frame->flags & FRAME_WINDOW)
        at = put(buffer, at, &extra->window, sizeof(extra->window));
    frame->extra = (uint16_t) at;
}

/* Where the next field of `size` bytes lies; NULL: it doesn't fit. */
static const uint8_t *next(const uint8_t *body, size_t limit, size_t *at, size_t size) {
    const uint8_t *field = body + *at;

    if (limit - *at < PAD(size))
        return NULL;
    *at += PAD(size);
    return field;
}

static bool read_topic(const uint8_t *body, size_t limit, size_t *at, struct frame_extra *extra) {
    const uint8_t *field;
    size_t size;

    if (limit == *at)
        return false;
    size = body[*at];
    field = next(body, limit, at, 1 + size);
    if (!field || memchr(field + 1, 0, size))
        return false;
    extra->topic_size = (uint8_t) size;
    memcpy(extra->topic, field + 1, size);
    extra->topic[size] = 0;
    return true;
}

int frame_read(const struct frame *frame, const void *body, size_t size,
               struct frame_extra *ret_extra) {
    size_t limit = frame->extra;
    const uint8_t *field;
    size_t at = 0;

    ret_extra->deadline = INT64_MAX;
    ret_extra->window = 0;
    ret_extra->topic_size = 0;
    ret_extra->topic[0] = 0;
    memset(ret_extra->trace, 0, sizeof(ret_extra->trace));
    if (frame->kind == 0 || frame->kind >= FRAME_KINDS || frame->flags & ~FRAME_KNOWN ||
        frame->port == 0 || frame->correlation >> 32 == 0 || limit % 8 != 0 || limit > size ||
        limit > FRAME_EXTRA_MAX)
        return -EBADMSG;
    if (frame->flags & FRAME_DEADLINE) {
        if (!(field = next(body, limit, &at, sizeof(ret_extra->deadline))))
            return -EBADMSG;
        memcpy(&ret_extra->deadline, field, sizeof(ret_extra->deadline));
    }
    if (at == limit && !(frame->flags & FRAME_FLAGS & ~FRAME_DEADLINE))
        return 0; /* most end here */
    if (frame->flags & FRAME_TRACE) {
        if (!(field = next(body, limit, &at, sizeof(ret_extra->trace))))
            return -EBADMSG;
        memcpy(ret_extra->trace, field, sizeof(ret_extra->trace));
    }
    if (frame->flags & FRAME_TOPIC && !read_topic(body, limit, &at, ret_extra))
        return -EBADMSG;
    if (frame->flags & FRAME_WINDOW) {
        if (!(field = next(body, limit, &at, sizeof(ret_extra->window))))
            return -EBADMSG;
        memcpy(&ret_extra->window, field, sizeof(ret_extra->window));
    }
    return at == limit ? 0 : -EBADMSG;
}
