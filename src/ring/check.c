/* SPDX-License-Identifier: MIT
 *
 * Four bits at a time by a table of 16, for processors whose instruction isn't known here.
 */
#include "ring/check.h"

#include <string.h>

uint32_t crc32c_portable(uint32_t crc, const void *data, uint64_t size) {
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    const uint8_t *at = data;

    crc = ~crc;
    for (; size > 0; size--, at++) {
        crc ^= *at;
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return ~crc;
}

#if defined(__x86_64__)

__attribute__((target("sse4.2"))) static uint32_t crc32c_sse(uint32_t crc, const void *data,
                                                             uint64_t size) {
    const uint8_t *at = data;
    uint64_t sum = (uint32_t) ~crc;

    for (; size >= 8; size -= 8, at += 8) {
        uint64_t word;

        memcpy(&word, at, sizeof(word));
        sum = __builtin_ia32_crc32di(sum, word);
    }
    for (; size > 0; size--, at++)
        sum = __builtin_ia32_crc32qi((uint32_t) sum, *at);
    return ~(uint32_t) sum;
}

uint32_t crc32c(uint32_t crc, const void *data, uint64_t size) {
    return __builtin_cpu_supports("sse4.2") ? crc32c_sse(crc, data, size)
                                            : crc32c_portable(crc, data, size);
}

#else

uint32_t crc32c(uint32_t crc, const void *data, uint64_t size) {
    return crc32c_portable(crc, data, size);
}

#endif
