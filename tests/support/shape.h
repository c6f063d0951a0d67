/* SPDX-License-Identifier: MIT
 *
 * The invariants of the shared files, checked from outside on files that nobody uses.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <tram/tram.h>

/* Check everything below the bus directory. 0; or -1, and what is wrong stands in `why`. */
int shape_check(const char *bus, char *why, size_t size);
