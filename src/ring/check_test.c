/* SPDX-License-Identifier: MIT
 *
 * Checksums: the vectors of RFC 3720 (appendix B.4), with the processor's instruction and without,
 * of each length, at each place, and in pieces.
 */
#include "harness.h"
#include "ring/check.h"

TEST(vectors) {
    static const struct {
        int first, step;
        uint32_t sum;
    } vectors[] = {
        {0, 0, 0x8a9136aa}, {0xff, 0, 0x62a8ab43}, {0, 1, 0x46dd794e}, {31, -1, 0x113fdb5c},
    };
    uint8_t bytes[32];

    for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        for (int n = 0; n < 32; n++)
            bytes[n] = (uint8_t) (vectors[i].first + n * vectors[i].step);
        CHECK_EQ(crc32c(0, bytes, sizeof(bytes)), vectors[i].sum);
        CHECK_EQ(crc32c_portable(0, bytes, sizeof(bytes)), vectors[i].sum);
    }
    CHECK_EQ(crc32c(0, bytes, 0), 0);
    CHECK_EQ(crc32c_portable(0, bytes, 0), 0);
}

TEST(both_are_the_same) {
    uint8_t bytes[200];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t) (i * i + i / 7);
    for (size_t at = 0; at < 9; at++) {
        for (size_t size = 0; size <= 100; size++) {
            uint32_t sum = crc32c(7, bytes + at, size);

            CHECK_EQ(crc32c_portable(7, bytes + at, size), sum);
            CHECK_EQ(crc32c(crc32c(7, bytes + at, size / 3), bytes + at + size / 3,
                            size - size / 3), sum);
        }
    }
}
