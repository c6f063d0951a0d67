/* SPDX-License-Identifier: MIT
 *
 * Which of several servers: pure functions, without sessions or time.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tram/service.h"

struct candidate {
    uint64_t order;   /* of its publication: a newer one has a higher number */
    uint64_t load;    /* what waits for it */
    uint64_t distance; /* 0: on this host; else larger the farther its host is */
    uint64_t identity; /* hash of its name: a successor has the same */
    bool usable;
    bool current;     /* the one that was chosen last */
};

/* The index, or -1: none is usable. `turn` counts choices, so that equals take turns. */
int choose(enum tram_choice choice, const struct candidate *candidates, int count, uint64_t key,
           uint32_t turn);

/* Rendezvous hashing: for each key every server has a weight of its own, and the heaviest has it.
 * One that goes takes no other's keys along. */
uint64_t choose_weight(uint64_t key, uint64_t identity);

uint64_t choose_identity(const char *name);
