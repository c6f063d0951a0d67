/* SPDX-License-Identifier: MIT
 *
 * The begin of a connection, read to the byte: a head, its body, and perhaps a USE. Whatever the
 * peer sends, no more than GREET_SIZE bytes of it are held.
 */
#include "wire/link_hello.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "wire/link_frame.h"

enum greet_step {
    GREET_HELLO, /* the peer's HELLO is being read */
    GREET_ASK,   /* … was; nothing is read until somebody asked the link */
    GREET_USE,   /* we follow: USE is being read */
    GREET_OVER,
};

static void say(struct greet *greet, uint8_t type, const void *body, size_t size) {
    struct link_head head = {.type = type, .size = (uint32_t) size};

    if (greet->out_end + FRAME_HEAD + size > sizeof(greet->out_bytes))
        return; /* not reached: HELLO, and one of USE and BYE, fit */
    link_head_write(greet->out_bytes + greet->out_end, &head);
    if (size > 0)
        memcpy(greet->out_bytes + greet->out_end + FRAME_HEAD, body, size);
    greet->out_end += FRAME_HEAD + size;
}

void greet_init(struct greet *greet, const struct link_identity *self, uint64_t try, uint64_t now) {
    uint8_t body[HELLO_SIZE];

    memset(greet, 0, sizeof(*greet));
    greet->self = *self;
    greet->due = now + GREET_TIMEOUT_NS;
    greet->step = GREET_HELLO;
    link_hello_write(body, self, try);
    say(greet, LINK_HELLO, body, sizeof(body));
}

int greet_piece(const struct greet *greet, struct link_piece *ret_piece) {
    ret_piece->base = greet->out_bytes + greet->out;
    ret_piece->size = greet->out_end - greet->out;
    return ret_piece->size > 0;
}

void greet_wrote(struct greet *greet, size_t size) {
    greet->out += size;
}

/* Bytes of the frame that is being read: first the head, then all of it. */
static size_t wanted(const struct greet *greet) {
    struct link_head head;

    if (greet->in < FRAME_HEAD)
        return FRAME_HEAD;
    if (link_head_read(greet->in_bytes, &head, NULL) < 0 || head.size > HELLO_SIZE_MAX)
        return FRAME_HEAD;
    return FRAME_HEAD + head.size;
}

int greet_room(struct greet *greet, struct link_room *ret_room) {
    if (greet->step != GREET_HELLO && greet->step != GREET_USE)
        return 0;
    ret_room->base = greet->in_bytes + greet->in;
    ret_room->size = wanted(greet) - greet->in;
    return 1;
}

static void say_bye(struct greet *greet) {
    say(greet, LINK_BYE, greet->wrong.text, strnlen(greet->wrong.text, BYE_SIZE_MAX - 1));
    greet->step = GREET_OVER;
}

void greet_refuse(struct greet *greet, const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    (void) vsnprintf(greet->wrong.text, sizeof(greet->wrong.text), format, arguments);
    va_end(arguments);
    say_bye(greet);
}

void greet_say_use(struct greet *greet, uint64_t number) {
    uint8_t body[USE_SIZE];

    put64(body, number);
    say(greet, LINK_USE, body, sizeof(body));
    greet->step = GREET_OVER;
}

/* Text of a peer, for people: what could move a cursor is not in it. */
static void text_of(const uint8_t *at, size_t size, char *ret_text, size_t room) {
    size_t i = 0;

    for (; i < size && i + 1 < room; i++)
        ret_text[i] = at[i] < 32 || at[i] == 127 ? '?' : (char) at[i];
    ret_text[i] = 0;
}

static int hello_came(struct greet *greet, size_t size) {
    const struct link_identity *self = &greet->self;
    struct link_peer *peer = &greet->peer;
    struct link_hello hello;
    int order;

    if (link_hello_read(greet->in_bytes + FRAME_HEAD, size, &hello, &greet->wrong) < 0)
        return -EBADMSG;
    if (hello.version < LINK_VERSION_MIN || hello.version_min > LINK_VERSION)
        return wrong_set(&greet->wrong, -EPROTO,
                         "%s speaks the versions %u to %u of the link, %s %u to %u",
                         hello.identity.host, hello.version_min, hello.version, self->host,
                         LINK_VERSION_MIN, LINK_VERSION);
    if (strcmp(hello.identity.cluster, self->cluster) != 0)
        return wrong_set(&greet->wrong, -EREMOTE, "%s is of the cluster %s, %s of %s",
                         hello.identity.host, hello.identity.cluster, self->host, self->cluster);
    order = strcmp(self->host, hello.identity.host);
    if (order == 0)
        return wrong_set(&greet->wrong, -ELOOP, "both ends are called %s", self->host);
    peer->identity = hello.identity;
    peer->version = hello.version < LINK_VERSION ? hello.version : LINK_VERSION;
    peer->features = hello.identity.features & self->features;
    peer->try = hello.try;
    greet->leader = order > 0;
    return 1;
}

static int frame_came(struct greet *greet, const struct link_head *head) {
    const uint8_t *body = greet->in_bytes + FRAME_HEAD;
    char text[BYE_SIZE_MAX + 1];
    int rc;

    greet->in = 0;
    if (head->type == LINK_BYE) {
        text_of(body, head->size, text, sizeof(text));
        greet->step = GREET_OVER;
        return wrong_set(&greet->wrong, -ECONNREFUSED, "%s", text);
    }
    if (greet->step == GREET_HELLO && head->type == LINK_HELLO) {
        rc = hello_came(greet, head->size);
        if (rc < 0) {
            say_bye(greet);
            return rc;
        }
        greet->step = greet->leader ? GREET_ASK : GREET_USE;
        return rc;
    }
    if (greet->step == GREET_USE && head->type == LINK_USE) {
        greet->use_number = get64(body);
        greet->use = true;
        greet->step = GREET_ASK;
        return 1;
    }
    greet_refuse(greet, "%s is nothing to begin with", link_frame_name(head->type));
    return -EBADMSG;
}

int greet_came(struct greet *greet, size_t size) {
    struct link_head head;

    greet->in += size;
    if (greet->in < FRAME_HEAD)
        return 0;
    if (link_head_read(greet->in_bytes, &head, &greet->wrong) < 0 ||
        (head.size > HELLO_SIZE_MAX &&
         wrong_set(&greet->wrong, -EBADMSG, "%s is nothing to begin with",
                   link_frame_name(head.type)) < 0)) {
        say_bye(greet);
        return -EBADMSG;
    }
    if (greet->in < FRAME_HEAD + head.size)
        return 0;
    return frame_came(greet, &head);
}
