/* SPDX-License-Identifier: MIT */
#include "wire/events.h"

#include <string.h>

bool topic_fits(const char *pattern, const char *topic) {
    size_t length = strlen(pattern);

    if (length == 0)
        return true;
    if (pattern[length - 1] != '*')
        return strcmp(pattern, topic) == 0;
    return strncmp(pattern, topic, length - 1) == 0;
}
