/* SPDX-License-Identifier: MIT
 *
 * The two sides of each labelled pair, as litmus_test.c races them: the library's own functions,
 * compiled twice, with their fences (litmus_fenced) and without (litmus_unfenced).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ring/layout.h"
#include "ring/rx.h"
#include "ring/tx.h"

/* What both sides see; each word lies as in the files. */
struct litmus {
    _Alignas(4096) struct stream words;
    _Alignas(4096) struct head head;
    _Alignas(4096) struct door door;
    _Alignas(64) uint64_t data;    /* something that a word tells of */
    _Alignas(64) struct ring_tx tx;
    _Alignas(64) struct ring_rx rx;
    _Alignas(64) uint8_t ring[2 * STREAM_MIN];
};

/* Each returns what it saw: true, if it saw the other side's store. */
struct litmus_sides {
    bool (*publish)(struct litmus *litmus); /* F1: tail; fence; armed */
    bool (*arm)(struct litmus *litmus);     /* F2: armed; fence; tail */
    bool (*shut)(struct litmus *litmus);    /* F2 of a remover: closed; fence; tail */
    bool (*want)(struct litmus *litmus);    /* F3: want; fence; head */
    bool (*give)(struct litmus *litmus);    /* F4: head; fence; want */
    bool (*knock)(struct litmus *litmus);   /* D1: bit; fence; asleep */
    bool (*announce)(struct litmus *litmus); /* D1: attached; fence; asleep */
    bool (*sleep)(struct litmus *litmus);   /* D2: asleep; fence; bits and attached */
};

extern const struct litmus_sides litmus_fenced, litmus_unfenced;
