/* SPDX-License-Identifier: MIT */
#include "wire/config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define LINE_SIZE 1024

#define MILLISECOND UINT64_C(1000000)

struct reader {
    const struct config_key *keys;
    const struct config_items *items;
    void *into, *item; /* … of keys of this section */
    struct wrong *wrong;
    char section[64];
    uint64_t seen; /* bit per key */
};

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit no_units[] = { { "", 1 }, { NULL, 0 } };

static const struct unit sizes[] = {
    { "", 1 },
    { "K", UINT64_C(1) << 10 },
    { "k", UINT64_C(1) << 10 },
    { "M", UINT64_C(1) << 20 },
    { "G", UINT64_C(1) << 30 },
    { NULL, 0 },
};

static const struct unit times[] = {
    { "us", 1000 },
    { "ms", MILLISECOND },
    { "s", 1000 * MILLISECOND },
    { "min", 60000 * MILLISECOND },
    { "h", 3600000 * MILLISECOND },
    { NULL, 0 },
};

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/* Cut the blanks around off, in place. */
static char *trim(char *text) {
    size_t length;

    while (is_blank(*text))
        text++;
    length = strlen(text);
    while (length > 0 && is_blank(text[length - 1]))
        text[--length] = '\0';
    return text;
}

/* ---- values ---------------------------------------------------------------------------------- */

static bool quantity_read(const char *text, const struct unit *units, uint64_t *ret_value) {
    uint64_t value = 0;

    if (*text < '0' || *text > '9')
        return false;
    for (; *text >= '0' && *text <= '9'; text++) {
        uint64_t digit = (uint64_t) (*text - '0');

        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    while (is_blank(*text))
        text++;
    for (; units->name; units++) {
        if (strcmp(units->name, text) != 0)
            continue;
        if (value > UINT64_MAX / units->factor)
            return false;
        *ret_value = value * units->factor;
        return true;
    }
    return false;
}

/* A quantity as a person would write it, in the largest unit that fits. */
static const char *quantity_text(uint64_t value, const struct unit *units, char buffer[32]) {
    const struct unit *best = units;

    for (const struct unit *unit = units; unit->name; unit++)
        if (value > 0 && value % unit->factor == 0 && unit->factor > best->factor)
            best = unit;
    (void) snprintf(buffer, 32, "%" PRIu64 "%s", value / best->factor, best->name);
    return buffer;
}

static int quantity_set(struct reader *reader, const struct config_key *key, const char *value,
                        const struct unit *units, const char *what) {
    char min[32], max[32];
    uint64_t quantity;

    if (!quantity_read(value, units, &quantity) || quantity < key->min || quantity > key->max)
        return wrong_set(reader->wrong, -EINVAL, "%s: '%.60s' is no %s from %s to %s", key->name,
                         value, what, quantity_text(key->min, units, min),
                         quantity_text(key->max, units, max));
    memcpy((char *) reader->item + key->offset, &quantity, sizeof(quantity));
    return 0;
}

/* One of these words; every second one means the same as that before it, if they are `paired`. */
static int word_set(struct reader *reader, const struct config_key *key, const char *value,
                    const char *const *words, bool paired) {
    char all[120] = "";
    size_t used = 0;

    for (uint64_t i = 0; words[i]; i++) {
        uint64_t place = paired ? i / 2 : i;
        int more;

        if (strcmp(words[i], value) == 0) {
            memcpy((char *) reader->item + key->offset, &place, sizeof(place));
            return 0;
        }
        more = snprintf(all + used, sizeof(all) - used, "%s%s", i > 0 ? ", " : "", words[i]);
        if (more > 0 && used + (size_t) more < sizeof(all))
            used += (size_t) more;
    }
    return wrong_set(reader->wrong, -EINVAL, "%s: '%.60s' is none of %s", key->name, value, all);
}

static int value_set(struct reader *reader, const struct config_key *key, const char *value) {
    static const char *const truths[] = { "no", "false", "yes", "true", NULL };

    switch (key->type) {
    case CONFIG_NUMBER:
        return quantity_set(reader, key, value, no_units, "number");
    case CONFIG_SIZE:
        return quantity_set(reader, key, value, sizes, "size");
    case CONFIG_TIME:
        return quantity_set(reader, key, value, times, "time");
    case CONFIG_WORD:
        return word_set(reader, key, value, key->words, false);
    case CONFIG_BOOL:
        return word_set(reader, key, value, truths, true);
    case CONFIG_TEXT:
        break;
    }
    if (strlen(value) >= key->max)
        return wrong_set(reader->wrong, -EINVAL, "%s: longer than %" PRIu64 " bytes", key->name,
                         key->max - 1);
    memcpy((char *) reader->item + key->offset, value, strlen(value) + 1);
    return 0;
}

/* ---- lines ----------------------------------------------------------------------------------- */

/* "host alpha": of items "host *". */
static int item_read(struct reader *reader, const char *line) {
    const char *section = reader->items ? reader->items->section : "";
    size_t length = strcspn(line, " \t");

    if (*section == '\0' || line[length] == '\0' || strlen(section) != length + 2 ||
        strncmp(section, line, length) != 0)
        return wrong_set(reader->wrong, -EINVAL, "there is no section '%.60s'", line);
    reader->item = reader->items->item(reader->into, line + length + strspn(line + length, " \t"),
                                       reader->wrong);
    if (!reader->item)
        return -EINVAL;
    (void) snprintf(reader->section, sizeof(reader->section), "%s", section);
    for (uint64_t i = 0; reader->keys[i].name; i++)
        if (strcmp(reader->keys[i].section, section) == 0)
            reader->seen &= ~(UINT64_C(1) << i);
    return 0;
}

static int section_read(struct reader *reader, char *line) {
    char *end = strchr(line, ']');

    if (!end || *trim(end + 1) != '\0')
        return wrong_set(reader->wrong, -EINVAL, "a section is written [name], alone in its line");
    *end = '\0';
    line = trim(line + 1);
    reader->item = reader->into;
    for (const struct config_key *key = reader->keys; key->name; key++) {
        if (*line != '\0' && strcmp(key->section, line) == 0 &&
            !(reader->items && strcmp(reader->items->section, line) == 0)) {
            (void) snprintf(reader->section, sizeof(reader->section), "%s", line);
            return 0;
        }
    }
    return item_read(reader, line);
}

static int key_read(struct reader *reader, char *line) {
    char *sign = strchr(line, '=');
    char *value;

    if (!sign)
        return wrong_set(reader->wrong, -EINVAL, "'%.60s' is neither key = value nor [section]",
                         line);
    *sign = '\0';
    line = trim(line);
    value = trim(sign + 1);
    for (uint64_t i = 0; reader->keys[i].name; i++) {
        const struct config_key *key = &reader->keys[i];

        if (strcmp(key->name, line) != 0 || strcmp(key->section, reader->section) != 0)
            continue;
        if (reader->seen >> i & 1)
            return wrong_set(reader->wrong, -EINVAL, "'%s' is there twice", key->name);
        reader->seen |= UINT64_C(1) << i;
        return value_set(reader, key, value);
    }
    if (*reader->section != '\0')
        return wrong_set(reader->wrong, -EINVAL, "there is no key '%.60s' in [%s]", line,
                         reader->section);
    return wrong_set(reader->wrong, -EINVAL, "there is no key '%.60s' outside of sections", line);
}

static int line_read(struct reader *reader, const char *text, size_t length) {
    char buffer[LINE_SIZE];
    char *line = buffer;

    if (length >= sizeof(buffer))
        return wrong_set(reader->wrong, -EINVAL, "a line of more than %zu bytes",
                         sizeof(buffer) - 1);
    if (memchr(text, '\0', length))
        return wrong_set(reader->wrong, -EINVAL, "a zero byte: this is no text");
    memcpy(buffer, text, length);
    buffer[length] = '\0';
    for (char *at = buffer; (at = strchr(at, '#')); at++) {
        if (at == buffer || is_blank(at[-1])) {
            *at = '\0';
            break;
        }
    }
    line = trim(line);
    if (*line == '\0')
        return 0;
    return *line == '[' ? section_read(reader, line) : key_read(reader, line);
}

int config_parse(const char *text, size_t size, const struct config_key *keys, void *into,
                 struct wrong *wrong) {
    return config_parse_items(text, size, keys, NULL, into, wrong);
}

int config_parse_items(const char *text, size_t size, const struct config_key *keys,
                       const struct config_items *items, void *into, struct wrong *wrong) {
    struct reader reader = {
        .keys = keys, .items = items, .into = into, .item = into, .wrong = wrong
    };

    for (int line = 1; size > 0; line++) {
        const char *end = memchr(text, '\n', size);
        size_t length = end ? (size_t) (end - text) : size;
        int rc = line_read(&reader, text, length);

        if (rc < 0) {
            wrong->line = line;
            return rc;
        }
        length += end != NULL;
        text += length;
        size -= length;
    }
    return 0;
}
