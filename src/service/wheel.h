/* SPDX-License-Identifier: MIT
 *
 * A timing wheel: time-outs of calls, set and removed in constant time, because nearly all are
 * removed before they are due. It has no clock: the owner says what time it is.
 *
 * Seven levels of 64 slots. A slot of level l has the times that differ from now first in the l-th
 * six bits; when now reaches the slot, they move down. Ticks are 2^20 ns: an entry is due up to one
 * tick late, never early.
 */
#pragma once

#include <stdint.h>

#define WHEEL_SHIFT  20
#define WHEEL_LEVELS 7
#define WHEEL_NEVER  INT64_MAX

struct wheel_entry {
    struct wheel_entry *next, **link; /* link NULL: not in it */
    uint64_t tick;
};

struct wheel {
    uint64_t now; /* tick */
    struct wheel_entry *slots[WHEEL_LEVELS][64];
    uint64_t used[WHEEL_LEVELS]; /* slots that have entries, or had some when last looked at */
    struct wheel_entry *due;
};

void wheel_init(struct wheel *wheel, int64_t now_ns);

/* Add an entry that is not in it. Returns the time at which it needs wheel_turn() at the latest. */
int64_t wheel_add(struct wheel *wheel, struct wheel_entry *entry, int64_t due_ns);

static inline void wheel_remove(struct wheel_entry *entry) {
    if (!entry->link)
        return;
    *entry->link = entry->next;
    if (entry->next)
        entry->next->link = entry->link;
    entry->link = 0;
}

/* Now it is `now_ns`: what is due waits for wheel_pop(). */
void wheel_turn(struct wheel *wheel, int64_t now_ns);

/* One entry that is due, taken out; or NULL. */
struct wheel_entry *wheel_pop(struct wheel *wheel);

/* When it wants the next turn; WHEEL_NEVER: it is empty. */
int64_t wheel_next(struct wheel *wheel);
