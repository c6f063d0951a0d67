/* SPDX-License-Identifier: MIT
 *
 * Config files: text into a struct, as a table says. A line is one of
 *
 *     [section]
 *     key = value          also below no section
 *     # comment            at the start, or behind a blank
 *
 * Some sections come once for each of several things and have its name: [host alpha].
 *
 * An unknown section or key, a key that is there twice and a bad value are errors with their line.
 * What the file doesn't name keeps its value.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "wire/wrong.h"

enum config_type {
    CONFIG_NUMBER, /* 17 */
    CONFIG_SIZE,   /* 64K, 1M, 2G, or bytes */
    CONFIG_TIME,   /* 10ms, 5s, 2min, 1h: to nanoseconds */
    CONFIG_WORD,   /* one of `words`: to its place among them */
    CONFIG_BOOL,   /* yes, no, true or false: to 1 or 0 */
    CONFIG_TEXT,   /* the rest of the line, without blanks around: to a char array */
};

struct config_key {
    const char *section; /* "": none; "host *": of items, below */
    const char *name;
    enum config_type type;
    size_t offset;       /* in the struct, or the item: of a uint64_t, for a text of a char array */
    uint64_t min, max;   /* numbers, sizes, times (ns); text: max is the room of it */
    const char *const *words; /* CONFIG_WORD: NULL ends */
};

#define CONFIG_KEYS_MAX 64

/* Read `size` bytes into the struct at `into`; `keys` ends with a name of NULL. -EINVAL, and why
 * in *wrong; what was read before stays in the struct. */
int config_parse(const char *text, size_t size, const struct config_key *keys, void *into,
                 struct wrong *wrong);

/* The same with items. `item` gives the struct for the keys of [section NAME]; NULL: it may not be,
 * and why in *wrong. */
struct config_items {
    const char *section; /* "host *" */
    void *(*item)(void *into, const char *name, struct wrong *wrong);
};
int config_parse_items(const char *text, size_t size, const struct config_key *keys,
                       const struct config_items *items, void *into, struct wrong *wrong);
