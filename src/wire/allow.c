/* SPDX-License-Identifier: MIT */
#include "wire/allow.h"

#include <errno.h>
#include <string.h>

#include "wire/name.h"

#define WORD_SIZE 256

static bool is_between(char c) {
    return c == ' ' || c == '\t' || c == ',';
}

bool allow_next(const char **at, char *word, size_t room) {
    size_t length = 0;

    while (is_between(**at))
        (*at)++;
    while (**at != '\0' && !is_between(**at)) {
        if (length + 1 < room)
            word[length++] = **at;
        (*at)++;
    }
    word[length] = '\0';
    return length > 0;
}

/* A number up to `max`; *at moves behind it. */
static bool number_read(const char **at, uint32_t max, uint32_t *ret_number) {
    uint32_t number = 0;

    if (**at < '0' || **at > '9')
        return false;
    for (; **at >= '0' && **at <= '9'; (*at)++) {
        number = number * 10 + (uint32_t) (**at - '0');
        if (number > max)
            return false;
    }
    *ret_number = number;
    return true;
}

/* "1.1.0.0/16": the first and the last ID of it. */
static bool range_read(const char *text, uint32_t *ret_first, uint32_t *ret_last) {
    uint32_t id = 0, part, bits = 32, rest;

    if (strcmp(text, "*") == 0) {
        *ret_first = 0;
        *ret_last = UINT32_MAX;
        return true;
    }
    for (int i = 0; i < 4; i++) {
        if (i > 0 && *text++ != '.')
            return false;
        if (!number_read(&text, 255, &part))
            return false;
        id = id << 8 | part;
    }
    if (*text == '/') {
        text++;
        if (!number_read(&text, 32, &bits))
            return false;
    }
    rest = bits == 0 ? UINT32_MAX : (uint32_t) ((UINT64_C(1) << (32 - bits)) - 1);
    *ret_first = id;
    *ret_last = id | rest;
    return *text == '\0' && (id & rest) == 0;
}

int allow_ids_check(const char *ids, struct wrong *wrong) {
    char word[WORD_SIZE];
    uint32_t first, last;

    while (allow_next(&ids, word, sizeof(word)))
        if (!range_read(word, &first, &last))
            return wrong_set(wrong, -EINVAL, "'%.60s' is no range of IDs such as 1.1.0.0/16",
                             word);
    return 0;
}

bool allow_id(const char *ids, uint32_t id) {
    char word[WORD_SIZE];
    uint32_t first, last;

    while (allow_next(&ids, word, sizeof(word)))
        if (range_read(word, &first, &last) && id >= first && id <= last)
            return true;
    return false;
}

bool allow_ids_overlap(const char *a, const char *b, uint32_t *ret_id) {
    char word[WORD_SIZE], other[WORD_SIZE];
    uint32_t first, last, other_first, other_last;

    while (allow_next(&a, word, sizeof(word))) {
        const char *at = b;

        if (!range_read(word, &first, &last))
            continue;
        while (allow_next(&at, other, sizeof(other))) {
            if (!range_read(other, &other_first, &other_last) || other_first > last ||
                first > other_last)
                continue;
            *ret_id = first > other_first ? first : other_first;
            return true;
        }
    }
    return false;
}

int allow_names_check(const char *names, struct wrong *wrong) {
    char word[WORD_SIZE];

    while (allow_next(&names, word, sizeof(word)))
        if (!pattern_valid(word))
            return wrong_set(wrong, -EINVAL, "'%.60s' is no pattern of names", word);
    return 0;
}

bool allow_name(const char *names, const char *name, const char *instance) {
    char word[WORD_SIZE];

    while (allow_next(&names, word, sizeof(word)))
        if (pattern_valid(word) && pattern_fits(word, name, instance))
            return true;
    return false;
}

/* ---- addresses ------------------------------------------------------------------------------- */

int allow_address(const char *text, uint16_t port, char host[ALLOW_HOST_SIZE], uint16_t *ret_port) {
    const char *end = text + strlen(text), *behind = NULL;
    const char *colon = strchr(text, ':');
    uint32_t number = port;

    if (*text == '[') {
        end = strchr(++text, ']');
        if (!end || (end[1] != '\0' && end[1] != ':'))
            return -EINVAL;
        if (end[1] == ':')
            behind = end + 2;
    } else if (colon && !strchr(colon + 1, ':')) {
        end = colon;
        behind = colon + 1;
    }
    if (behind && (!number_read(&behind, 65535, &number) || *behind != '\0' || number == 0))
        return -EINVAL;
    if (end == text || end - text >= ALLOW_HOST_SIZE)
        return -EINVAL;
    memcpy(host, text, (size_t) (end - text));
    host[end - text] = '\0';
    *ret_port = (uint16_t) number;
    return 0;
}
