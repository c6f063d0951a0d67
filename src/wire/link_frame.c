/* SPDX-License-Identifier: MIT
 *
 * One table says what each type of frame may look like, so that no reader has to remember to check.
 */
#include "wire/link_frame.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define MAGIC "TRAMLINK"

struct shape {
    const char *name;
    uint32_t min, max; /* of the body */
    uint8_t flags;     /* that it may have */
    bool channel;      /* is of one: channel, serial */
    bool turn;
};

static const struct shape shapes[LINK_TYPES] = {
    [LINK_HELLO] = {"HELLO", HELLO_SIZE, HELLO_SIZE_MAX, 0, false, false},
    [LINK_USE] = {"USE", USE_SIZE, USE_SIZE, 0, false, false},
    [LINK_BYE] = {"BYE", 0, BYE_SIZE_MAX, 0, false, false},
    [LINK_PING] = {"PING", PING_SIZE, PING_SIZE, 0, false, false},
    [LINK_PONG] = {"PONG", PONG_SIZE, PONG_SIZE, 0, false, false},
    [LINK_CONTROL] = {"CONTROL", 1, LINK_CONTROL_MAX, 0, false, false},
    [LINK_OPEN] = {"OPEN", OPEN_SIZE, OPEN_SIZE, 0, true, false},
    [LINK_STATE] = {"STATE", STATE_SIZE, STATE_SIZE, 0, true, true},
    [LINK_REFUSAL] = {"REFUSED", REFUSAL_SIZE, REFUSAL_SIZE, 0, true, false},
    [LINK_DATA] = {"DATA", DATA_SIZE + 1, LINK_PART, LINK_MORE | LINK_WANT, true, true},
    [LINK_ACK] = {"ACK", ACK_SIZE, ACK_SIZE, 0, true, false},
    [LINK_STALL] = {"STALL", STALL_SIZE, STALL_SIZE, 0, true, false},
    [LINK_CLOSE] = {"CLOSE", CLOSE_SIZE, CLOSE_SIZE, LINK_MORE, true, false},
    [LINK_SETTLED] = {"SETTLED", 0, 0, 0, false, false},
    [LINK_HERE] = {"HERE", 0, 0, 0, false, false},
};

const char *link_frame_name(unsigned type) {
    return type > 0 && type < LINK_TYPES ? shapes[type].name : "?";
}

void link_head_write(uint8_t *at, const struct link_head *head) {
    at[0] = head->type;
    at[1] = head->flags;
    put16(at + 2, head->turn);
    put32(at + 4, head->channel);
    put32(at + 8, head->size);
    put32(at + 12, head->serial);
}

int link_head_read(const uint8_t *at, struct link_head *ret_head, struct wrong *wrong) {
    struct link_head head = {at[0], at[1], get16(at + 2), get32(at + 4), get32(at + 8),
                             get32(at + 12)};
    const struct shape *shape;

    if (head.type == 0 || head.type >= LINK_TYPES)
        return wrong_set(wrong, -EBADMSG, "a frame of the unknown type %u", head.type);
    shape = &shapes[head.type];
    if (head.size < shape->min || head.size > shape->max)
        return wrong_set(wrong, -EBADMSG, "a %s of %u bytes; %u to %u are allowed", shape->name,
                         head.size, shape->min, shape->max);
    if (head.flags & ~shape->flags)
        return wrong_set(wrong, -EBADMSG, "a %s with the flags 0x%x", shape->name, head.flags);
    if (shape->channel ? head.serial == 0 : head.serial != 0 || head.channel != 0)
        return wrong_set(wrong, -EBADMSG, "a %s of channel %u, serial %u", shape->name,
                         head.channel, head.serial);
    if (!shape->turn && head.turn)
        return wrong_set(wrong, -EBADMSG, "a %s with the turn %u", shape->name, head.turn);
    *ret_head = head;
    return 0;
}

/* ---- HELLO ----------------------------------------------------------------------------------- */

void link_hello_write(uint8_t *at, const struct link_identity *self, uint64_t try) {
    memset(at, 0, HELLO_SIZE);
    memcpy(at, MAGIC, 8);
    put16(at + 8, LINK_VERSION_MIN);
    put16(at + 10, LINK_VERSION);
    put32(at + 12, self->number);
    put64(at + 16, self->life);
    put64(at + 24, try);
    put64(at + 32, self->features);
    memcpy(at + 40, self->instance, 16);
    memcpy(at + 64, self->host, strnlen(self->host, LINK_NAME_SIZE - 1));
    memcpy(at + 128, self->cluster, strnlen(self->cluster, LINK_NAME_SIZE - 1));
}

static bool name_ok(const uint8_t *at) {
    size_t length = strnlen((const char *) at, LINK_NAME_SIZE);

    if (length == 0 || length == LINK_NAME_SIZE)
        return false;
    for (size_t i = 0; i < LINK_NAME_SIZE; i++) {
        char c = (char) at[i];
        bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '_' || c == '-';

        if (i < length ? !fits : c != 0)
            return false;
    }
    return true;
}

int link_hello_read(const uint8_t *at, size_t size, struct link_hello *ret_hello,
                    struct wrong *wrong) {
    struct link_hello hello = {0};

    if (size < HELLO_SIZE || memcmp(at, MAGIC, 8) != 0)
        return wrong_set(wrong, -EBADMSG, "no HELLO of a link");
    hello.version_min = get16(at + 8);
    hello.version = get16(at + 10);
    hello.identity.number = get32(at + 12);
    hello.identity.life = get64(at + 16);
    hello.try = get64(at + 24);
    hello.identity.features = get64(at + 32);
    memcpy(hello.identity.instance, at + 40, 16);
    if (hello.version_min == 0 || hello.version_min > hello.version)
        return wrong_set(wrong, -EBADMSG, "a HELLO of the versions %u to %u", hello.version_min,
                         hello.version);
    if (hello.identity.number > 4095)
        return wrong_set(wrong, -EBADMSG, "a HELLO of host number %u", hello.identity.number);
    if (!name_ok(at + 64) || !name_ok(at + 128))
        return wrong_set(wrong, -EBADMSG, "a HELLO of a host or cluster that has no proper name");
    memcpy(hello.identity.host, at + 64, LINK_NAME_SIZE);
    memcpy(hello.identity.cluster, at + 128, LINK_NAME_SIZE);
    *ret_hello = hello;
    return 0;
}
