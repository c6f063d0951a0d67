/* SPDX-License-Identifier: MIT
 *
 * What a bus and a process hold of the machine.
 */
#pragma once

#include <stdint.h>

struct footprint {
    uint32_t descriptors;
    uint32_t mappings;
    uint64_t rss; /* bytes, pages that it shares counted whole */
    uint64_t pss; /* the same, shared ones divided by who has them */
};

/* Of this process. */
struct footprint footprint_of_self(void);

/* Bytes of memory (or disk) below a directory, `depth` levels deep; adds to *ret_files. */
uint64_t footprint_of_files(const char *path, int depth, uint64_t *ret_files);
