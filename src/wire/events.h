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
    uint32_t reader;   /* number in the name of its reader's file; 0: events as messages, please */
    uint8_t zero[3];
    char durable[DURABLE_SIZE]; /* terminated; "": none */
};

static_assert(offsetof(struct subscribe, initial) == 4, "layout");
static_assert(offsetof(struct subscribe, reader) == 8, "layout");
static_assert(offsetof(struct subscribe, durable) == 15, "layout");
static_assert(sizeof(struct subscribe) == 64, "layout");

/* FRAME_SUBSCRIBED: how it began; and, with a status below 0, how it ended. */
struct subscribed {
    int32_t status;
    uint32_t ring;     /* 1: events come through the ring with this id */
    uint64_t topic;
    uint64_t start;    /* position at which a reader starts that is not of this ring yet */
};

static_assert(offsetof(struct subscribed, ring) == 4, "layout");
static_assert(offsetof(struct subscribed, topic) == 8, "layout");
static_assert(offsetof(struct subscribed, start) == 16, "layout");
static_assert(sizeof(struct subscribed) == 24, "layout");

/* Does a topic fit a pattern: the same, or a prefix if it ends with '*'; "" fits all. */
bool topic_fits(const char *pattern, const char *topic);
