/* SPDX-License-Identifier: MIT
 *
 * The two sides of each labelled pair of the ring of events, as service_litmus_test.c races them:
 * the library's own functions, compiled twice, with their fences (topic_fenced) and without
 * (topic_unfenced).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "topic/topic.h"

/* What both sides see; each word lies as in the files. */
struct litmus {
    _Alignas(4096) struct topic words;
    _Alignas(4096) struct topic_reader reader;
    _Alignas(64) struct topic_tx tx;
    _Alignas(64) struct topic_rx rx;
    _Alignas(64) uint8_t ring[2 * TOPIC_MIN];
};

/* Each returns what it saw: true, if it saw the other side's store. */
struct topic_sides {
    bool (*publish)(struct litmus *litmus); /* F1: tail; fence; armed */
    bool (*arm)(struct litmus *litmus);     /* F2: armed; fence; tail */
    bool (*want)(struct litmus *litmus);    /* F3: want; fence; position */
    bool (*done)(struct litmus *litmus);    /* F4: position; fence; want */
};

extern const struct topic_sides topic_fenced, topic_unfenced;
