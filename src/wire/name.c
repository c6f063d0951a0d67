/* SPDX-License-Identifier: MIT */
#include "wire/name.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Not isalnum(): what a letter is must not depend on the locale. */
static bool is_plain(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           c == '.' || c == '_' || c == '-';
}

/* Is it one or more parts, with '/' between? */
static bool parts_valid(const char *text, size_t length) {
    size_t start = 0;

    for (size_t i = 0; i <= length; i++) {
        size_t size = i - start;

        if (i < length && text[i] != '/') {
            if (!is_plain(text[i]))
                return false;
            continue;
        }
        if (size == 0 || (size <= 2 && text[start] == '.' && text[i - 1] == '.'))
            return false;
        start = i + 1;
    }
    return true;
}

bool name_valid(const char *text) {
    size_t length = strnlen(text, NAME_SIZE);

    return length > 0 && length < NAME_SIZE && parts_valid(text, length);
}

bool name_instance_valid(const char *text) {
    size_t length = strnlen(text, NAME_SIZE);

    if (length == NAME_SIZE)
        return false;
    for (size_t i = 0; i < length; i++)
        if (!is_plain(text[i]))
            return false;
    return true;
}

int name_parse(const char *full, struct name *ret_name) {
    size_t length = strnlen(full, NAME_FULL_SIZE);
    const char *colon = memchr(full, ':', length);
    size_t first = colon ? (size_t) (colon - full) : length;
    struct name name = { 0 };

    if (length == NAME_FULL_SIZE || first >= NAME_SIZE || length - first > NAME_SIZE)
        return -EINVAL;
    memcpy(name.name, full, first);
    if (colon)
        memcpy(name.instance, colon + 1, length - first - 1);
    if (!name_valid(name.name) || !name_instance_valid(name.instance) ||
        (colon && !*name.instance))
        return -EINVAL;
    *ret_name = name;
    return 0;
}

char *name_format(const char *name, const char *instance, char buffer[NAME_FULL_SIZE]) {
    (void) snprintf(buffer, NAME_FULL_SIZE, "%s%s%s", name, *instance ? ":" : "", instance);
    return buffer;
}

/* ---- patterns -------------------------------------------------------------------------------- */

bool pattern_valid(const char *pattern) {
    size_t length = strnlen(pattern, NAME_FULL_SIZE);
    const char *colon = memchr(pattern, ':', length);
    size_t first = colon ? (size_t) (colon - pattern) : length;

    if (first == 0 || first >= NAME_SIZE || length - first > NAME_SIZE)
        return false;
    for (size_t i = 0; i < length; i++) {
        char c = pattern[i];

        if (!is_plain(c) && c != '*' && !(c == '/' && i < first) && i != first)
            return false;
    }
    return true;
}

/* The part of a pattern in [at, end). A '*' takes nothing at first; when what follows does not fit,
 * only the last one has to take one character more: so the time is at most the product of both. */
static bool part_fits(const char *at, const char *end, const char *text) {
    const char *star = NULL, *resume = NULL;

    while (*text) {
        if (at < end && *at == '*') {
            star = ++at;
            resume = text;
        } else if (at < end && *at == *text) {
            at++;
            text++;
        } else if (star) {
            at = star;
            text = ++resume;
        } else {
            return false;
        }
    }
    while (at < end && *at == '*')
        at++;
    return at == end;
}

bool pattern_fits(const char *pattern, const char *name, const char *instance) {
    const char *end = pattern + strlen(pattern);
    const char *colon = strchr(pattern, ':');

    return part_fits(pattern, colon ? colon : end, name) &&
           (!colon || part_fits(colon + 1, end, instance));
}
