/* SPDX-License-Identifier: MIT
 *
 * What is wrong with something that was read, as text for people.
 */
#pragma once

struct wrong {
    int line;       /* of a file, from 1; 0: of none */
    char text[200];
};

/* Say it; returns `code`. `wrong` may be NULL. */
int wrong_set(struct wrong *wrong, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
