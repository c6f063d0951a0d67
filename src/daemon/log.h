/* SPDX-License-Identifier: MIT
 *
 * What the daemon says: lines on stderr, or in a file.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum level { LEVEL_ERROR, LEVEL_WARNING, LEVEL_INFO, LEVEL_DEBUG };

extern const char *const level_words[]; /* for the config file; NULL ends */

/* Say what is up to this level. */
void log_set_level(uint64_t level);
/* Begin lines as journald wants it, with the level in < >, and without the time. */
void log_set_journal(bool journal);
/* Write to this file instead; it begins anew when it has LOG_FILE_MAX bytes. Below `dir`. */
int log_set_file(int dir, const char *path);

#define LOG_FILE_MAX (UINT64_C(256) << 10)

void log_line(enum level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
