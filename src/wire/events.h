/* SPDX-License-Identifier: MIT
 *
 * Payloads of the messages about events; normative text in docs/PROTOCOL.md.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DURABLE_SIZE 49u /* room for the name of a durable subscription */

/* FRAME_SUBSCRIBE; code: the event, topic: the pattern, none: all. Answered by FRAME_SUBSCRIBED. */
struct subscribe {
    uint32_t delivery; /* enum tram_delivery */
    uint32_t initial;  /* cached values of each topic */
    uint32_t reader;   /* number in the name of its reader's file; 0: events as messages, please;
                          READER_RELAYED: by the relay of its host */
    uint8_t zero[3];
    char durable[DURABLE_SIZE]; /* terminated; "": none */
};

#define READER_RELAYED UINT32_MAX

static_assert(offsetof(struct subscribe, initial) == 4, "layout");
static_assert(offsetof(struct subscribe, reader) == 8, "layout");
static_assert(offsetof(struct subscribe, durable) == 15, "layout");
static_assert(sizeof(struct subscribe) == 64, "layout");

/* FRAME_UNSUBSCRIBE; code: 0: for good; or: a durable one comes back. */
#define UNSUBSCRIBE_AWAY 1u

/* FRAME_SUBSCRIBED: how it began; and, with a status below 0, how it ended. */
struct subscribed {
    int32_t status;
    uint32_t ring;     /* 1: events come through the ring with this id */
    uint64_t topic;
    uint64_t start;    /* position at which a reader starts that is not of this ring yet */
    uint64_t number;   /* … and of the last event before it */
};

static_assert(offsetof(struct subscribed, ring) == 4, "layout");
static_assert(offsetof(struct subscribed, topic) == 8, "layout");
static_assert(offsetof(struct subscribed, start) == 16, "layout");
static_assert(offsetof(struct subscribed, number) == 24, "layout");
static_assert(sizeof(struct subscribed) == 32, "layout");

/* Is this the name of a durable subscription: 1 to 48 of [A-Za-z0-9._-]? */
bool durable_name_ok(const char *name);

/* Read what a peer sent, byte by byte once. 0 or -EBADMSG. */
int subscribe_read(const void *payload, size_t size, struct subscribe *ret_subscribe);
int subscribed_read(const void *payload, size_t size, struct subscribed *ret_subscribed);

/* Does a topic fit a pattern: the same, or a prefix if it ends with '*'; "" fits all. */
bool topic_fits(const char *pattern, const char *topic);
