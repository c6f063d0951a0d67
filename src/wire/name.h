/* SPDX-License-Identifier: MIT
 *
 * Names of services, and patterns that fit several.
 *
 *     full      NAME | NAME ':' INSTANCE
 *     NAME      PART ('/' PART)*, 63 characters at most
 *     INSTANCE  1 to 63 of [A-Za-z0-9._-]
 *     PART      1 or more of the same, but neither "." nor ".."
 *     pattern   as a full name, and '*' stands for any run of characters, '/' included. Without ':'
 *               it fits every instance; behind it "" is: only the one that has none
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define NAME_SIZE 64       /* room for a name, or an instance, terminator included */
#define NAME_FULL_SIZE 128 /* … for both and the ':' */

struct name {
    char name[NAME_SIZE];
    char instance[NAME_SIZE]; /* "": none */
};

bool name_valid(const char *text);
bool name_instance_valid(const char *text); /* "" is none, and valid */

/* Take a full name apart. -EINVAL */
int name_parse(const char *full, struct name *ret_name);

/* Put it together, in `buffer`, which is returned. */
char *name_format(const char *name, const char *instance, char buffer[NAME_FULL_SIZE]);

bool pattern_valid(const char *pattern);

/* Does a valid pattern fit a valid name? */
bool pattern_fits(const char *pattern, const char *name, const char *instance);
