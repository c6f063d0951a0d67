/* SPDX-License-Identifier: MIT
 *
 * What is read: frames from the buffer, when they are whole; but bodies of DATA as they come, and
 * large ones not by way of the buffer.
 */
#include <errno.h>
#include <string.h>

#include "wire/link_inner.h"

#define AHEAD 4096u /* read beyond a large body: the next head, and small frames */

/* ---- where it goes --------------------------------------------------------------------------- */

static size_t compact(struct link *link) {
    if (link->start == link->end)
        link->start = link->end = 0;
    if (link->start > 0 && LINK_BUFFER - link->end < LINK_BUFFER / 2) {
        memmove(link->buffer, link->buffer + link->start, link->end - link->start);
        link->end -= link->start;
        link->start = 0;
    }
    return LINK_BUFFER - link->end;
}

int link_rooms(struct link *link, struct link_room rooms[LINK_ROOMS]) {
    size_t room = compact(link);
    int count = 0;

    link->direct = 0;
    if (link->body && link->body_left >= LINK_DIRECT && link->start == link->end &&
        in_place(link, &rooms[0])) {
        link->direct = rooms[0].size;
        count = 1;
        if (link->direct < link->body_left)
            return count;
        if (room > AHEAD)
            room = AHEAD;
    }
    rooms[count++] = (struct link_room){link->buffer + link->end, room};
    return count;
}

/* ---- what it says ---------------------------------------------------------------------------- */

static int bye_came(struct link *link, const uint8_t *body, size_t size) {
    char text[BYE_SIZE_MAX + 1];
    size_t i = 0;

    for (; i < size; i++)
        text[i] = body[i] < 32 || body[i] == 127 ? '?' : (char) body[i];
    text[i] = 0;
    return link_wrong_set(link, -ECONNRESET, "%s ends the connection: %s", link->host, text);
}

static int control_came(struct link *link, const uint8_t *body, size_t size) {
    int rc;

    if (!link->vtable->control)
        return link_nonsense(link, "CONTROL that nobody here understands");
    link->wrong.text[0] = 0;
    rc = link->vtable->control(link->store, body, size);
    if (rc < 0 && !link->wrong.text[0])
        return link_nonsense(link, "CONTROL that is nonsense");
    return rc;
}

static int frame_came(struct link *link, const struct link_head *head, const uint8_t *body) {
    switch (head->type) {
    case LINK_PING:
        link_pinged(link, body);
        return 0;
    case LINK_PONG:
        link_ponged(link, body);
        return 0;
    case LINK_CONTROL:
        return control_came(link, body, head->size);
    case LINK_OPEN:
        return in_open(link, head, body);
    case LINK_CLOSE:
        return in_close(link, head, body);
    case LINK_STATE:
        return out_state(link, head, body);
    case LINK_REFUSAL:
        return out_refusal(link, head, body);
    case LINK_ACK:
        return out_ack(link, head, body);
    case LINK_STALL:
        return out_stall(link, head, body);
    case LINK_SETTLED:
        if (link->vtable->settled)
            link->vtable->settled(link->store);
        return 0;
    case LINK_HERE:
        return 0;
    case LINK_BYE:
        return bye_came(link, body, head->size);
    default:
        return link_nonsense(link, "%s in the middle of a connection",
                             link_frame_name(head->type));
    }
}

/* The part of a body that is in the buffer. */
static void body_came(struct link *link) {
    while (link->body_left > 0 && link->start < link->end) {
        size_t size = link->end - link->start;
        struct link_room room;

        if (size > link->body_left)
            size = link->body_left;
        if (!link->body || !in_place(link, &room)) {
            link->body_left -= (uint32_t) size;
            link->start += size;
            continue;
        }
        if (size > room.size)
            size = room.size;
        memcpy(room.base, link->buffer + link->start, size);
        link->start += size;
        in_filled(link, size);
    }
}

/* Does the peer wait for a word, having said this? */
static bool wants_word(unsigned type) {
    return type != LINK_ACK && type != LINK_PONG && type != LINK_HERE;
}

/* The next frame of the buffer. 1; 0: it isn't whole; < 0. */
static int next_frame(struct link *link) {
    const uint8_t *at = link->buffer + link->start;
    size_t size = link->end - link->start;
    struct link_head head;
    int rc;

    if (size < FRAME_HEAD)
        return 0;
    rc = link_head_read(at, &head, &link->wrong);
    if (rc < 0)
        return rc;
    if (wants_word(head.type) && link->here_due == UINT64_MAX)
        link->here_due = link->now + LINK_HERE_NS;
    if (head.type == LINK_DATA) {
        if (size < FRAME_HEAD + DATA_SIZE)
            return 0;
        rc = in_data(link, &head, at + FRAME_HEAD);
        link->start += FRAME_HEAD + DATA_SIZE;
    } else {
        if (size < FRAME_HEAD + head.size)
            return 0;
        rc = frame_came(link, &head, at + FRAME_HEAD);
        link->start += FRAME_HEAD + head.size;
    }
    link->stats.frames_in++;
    return rc < 0 ? rc : 1;
}

int link_came(struct link *link, uint64_t now, size_t size) {
    size_t direct = size < link->direct ? size : link->direct;
    int rc = 1;

    link->now = now;
    if (!link->up || link->over)
        return 0;
    link->stats.heard = now;
    link->stats.bytes_in += size;
    link->direct = 0;
    if (direct > 0) {
        if (link->here_due == UINT64_MAX)
            link->here_due = now + LINK_HERE_NS;
        in_filled(link, direct);
    }
    link->end += size - direct;
    while (rc > 0) {
        body_came(link);
        if (link->body_left > 0)
            break;
        rc = next_frame(link);
    }
    if (rc < 0) {
        link->over = true; /* nothing more is read or said, but why */
        link->bye = rc != -ECONNRESET;
        return rc;
    }
    return link->failed;
}

int link_read(struct link *link, uint64_t now, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    int rc = 0;

    while (size > 0 && rc == 0 && link->up && !link->over) {
        struct link_room rooms[LINK_ROOMS];
        int count = link_rooms(link, rooms);
        size_t came = 0;

        for (int i = 0; i < count && size > 0; i++) {
            size_t part = size < rooms[i].size ? size : rooms[i].size;

            memcpy(rooms[i].base, at, part);
            at += part;
            size -= part;
            came += part;
        }
        rc = link_came(link, now, came);
    }
    return rc;
}
