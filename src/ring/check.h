/* SPDX-License-Identifier: MIT
 *
 * Checksums of records on a disk: CRC-32C (Castagnoli; RFC 3720, appendix B.4), which processors
 * have an instruction for.
 */
#pragma once

#include <stdint.h>

#include "ring/layout.h"

/* Go on with `crc` (0 at first) over `size` bytes. */
uint32_t crc32c(uint32_t crc, const void *data, uint64_t size);

/* The same without the instruction. */
uint32_t crc32c_portable(uint32_t crc, const void *data, uint64_t size);

/* What record->check has to be: over the header before it, and `size` bytes of body. */
static inline uint32_t record_check(const struct record *record, uint32_t size) {
    return crc32c(crc32c(0, record, offsetof(struct record, check)), record + 1, size);
}
