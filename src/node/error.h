/* SPDX-License-Identifier: MIT
 *
 * Errors with their text. Each setter returns the code, so that it can end a function.
 */
#pragma once

#include "tram/tram.h"

int error_set(struct tram_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, naming a channel. */
int error_channel(struct tram_error *error, int code, tram_id from, tram_id to, const char *format,
                  ...) __attribute__((format(printf, 5, 6)));

/* Where the errors of a failed tram_open() go: one per thread. */
struct tram_error *error_of_open(void);
