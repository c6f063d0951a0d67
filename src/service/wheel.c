/* SPDX-License-Identifier: MIT */
#include "service/wheel.h"

#include <stddef.h>
#include <string.h>

#define BITS     6
#define LAST     ((UINT64_C(1) << (BITS * WHEEL_LEVELS)) - 1)
#define TICK(ns) ((uint64_t) (ns) >> WHEEL_SHIFT)
#define NS(tick) ((int64_t) ((tick) << WHEEL_SHIFT))

void wheel_init(struct wheel *wheel, int64_t now_ns) {
    memset(wheel, 0, sizeof(*wheel));
    wheel->now = TICK(now_ns);
}

static void link_in(struct wheel_entry **list, struct wheel_entry *entry) {
    entry->next = *list;
    entry->link = list;
    if (*list)
        (*list)->link = &entry->next;
    *list = entry;
}

static void place(struct wheel *wheel, struct wheel_entry *entry) {
    uint64_t differ = entry->tick ^ wheel->now;
    unsigned level, slot;

    if (entry->tick <= wheel->now) {
        link_in(&wheel->due, entry);
        return;
    }
    level = (63u - (unsigned) __builtin_clzll(differ)) / BITS;
    slot = entry->tick >> (BITS * level) & 63;
    wheel->used[level] |= UINT64_C(1) << slot;
    link_in(&wheel->slots[level][slot], entry);
}

int64_t wheel_add(struct wheel *wheel, struct wheel_entry *entry, int64_t due_ns) {
    uint64_t tick = due_ns > 0 ? TICK(due_ns - 1) + 1 : 0;

    if (tick <= wheel->now)
        tick = wheel->now + 1; /* never inside the call that adds it */
    if ((tick ^ wheel->now) > LAST)
        tick = wheel->now | LAST; /* years: it is added again then */
    entry->tick = tick;
    place(wheel, entry);
    return NS(tick);
}

/* The earliest tick at which something moves; 0: nothing is there. The lowest level that has
 * something has the earliest, and all of its slots lie ahead of now. */
static uint64_t next_tick(struct wheel *wheel) {
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        while (wheel->used[level]) {
            unsigned slot = (unsigned) __builtin_ctzll(wheel->used[level]);
            unsigned above = BITS * (level + 1);

            if (wheel->slots[level][slot])
                return (wheel->now >> above << above) | (uint64_t) slot << (BITS * level);
            wheel->used[level] &= wheel->used[level] - 1; /* all were removed */
        }
    }
    return 0;
}

/* Empty the slot of each level that begins at this tick. */
static void move_down(struct wheel *wheel) {
    for (unsigned level = WHEEL_LEVELS; level-- > 0;) {
        unsigned slot = wheel->now >> (BITS * level) & 63;
        struct wheel_entry *entry;

        if (wheel->now & ((UINT64_C(1) << (BITS * level)) - 1))
            continue;
        wheel->used[level] &= ~(UINT64_C(1) << slot);
        while ((entry = wheel->slots[level][slot])) {
            wheel_remove(entry);
            place(wheel, entry);
        }
    }
}

void wheel_turn(struct wheel *wheel, int64_t now_ns) {
    uint64_t target = TICK(now_ns);
    uint64_t tick;

    while ((tick = next_tick(wheel)) && tick <= target) {
        wheel->now = tick;
        move_down(wheel);
    }
    if (target > wheel->now)
        wheel->now = target;
}

struct wheel_entry *wheel_pop(struct wheel *wheel) {
    struct wheel_entry *entry = wheel->due;

    if (entry)
        wheel_remove(entry);
    return entry;
}

int64_t wheel_next(struct wheel *wheel) {
    uint64_t tick;

    if (wheel->due)
        return NS(wheel->now);
    tick = next_tick(wheel);
    return tick ? NS(tick) : WHEEL_NEVER;
}
