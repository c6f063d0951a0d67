/* SPDX-License-Identifier: MIT
 *
 * What the fuzz targets share. A target is one file with LLVMFuzzerTestOneInput(): built with
 * Clang's -fsanitize=fuzzer by `make fuzz`, and with any compiler by the tests, which replay the
 * corpus (replay.c).
 *
 * An input is a program: bytes that say what the attacker writes and what the victim does, in turn.
 * A target doesn't only look for crashes: REQUIRE says what has to hold whatever the input is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(expr)                                                                              \
    ((expr) ? (void) 0 : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #expr), abort()))

struct input {
    const uint8_t *at, *end;
};

static inline bool input_left(const struct input *input) {
    return input->at < input->end;
}

/* The next byte; 0 behind the end. */
static inline uint8_t input_byte(struct input *input) {
    return input->at < input->end ? *input->at++ : 0;
}

/* The next `count` bytes as a number. */
static inline uint64_t input_number(struct input *input, int count) {
    uint64_t number = 0;

    for (int i = 0; i < count; i++)
        number |= (uint64_t) input_byte(input) << 8 * i;
    return number;
}

/* A word that an attacker would try: near `known`, or at an edge, or anything. */
static inline uint64_t input_word(struct input *input, uint64_t known) {
    static const uint64_t edges[] = {
        0, 1, 7, 8, 31, 32, 65535, 65536, UINT32_MAX, UINT64_C(1) << 32, UINT64_C(1) << 48,
        INT64_MAX, UINT64_C(1) << 63, UINT64_MAX - 7, UINT64_MAX - 1, UINT64_MAX,
    };
    uint8_t how = input_byte(input);

    if (how < 0x40)
        return known + ((uint64_t) how - 0x20);
    if (how < 0x80)
        return known + ((uint64_t) how - 0x60) * 8;
    if (how < 0x90)
        return edges[how & 15];
    if (how < 0xa0)
        return known + edges[how & 15];
    if (how < 0xb0)
        return known - edges[how & 15];
    if (how < 0xd0)
        return input_number(input, 2) * 8;
    if (how < 0xf0)
        return input_number(input, 4);
    return input_number(input, 8);
}
