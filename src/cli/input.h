/* SPDX-License-Identifier: MIT
 *
 * A file or pipe as a row of messages: its lines without their ends, or blocks of a fixed size,
 * the last of which may be shorter.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct input {
    int fd;
    size_t block; /* 0: lines */
    char *data;
    size_t start, end, room;
    size_t seen; /* bytes from start on that hold no end of a line */
    bool eof;
};

enum input_result { INPUT_END, INPUT_MESSAGE, INPUT_EMPTY };

void input_init(struct input *input, int fd, size_t block);
void input_deinit(struct input *input);

/* The next message, in the input's memory until the next input_fill(). INPUT_EMPTY: fill first. */
enum input_result input_next(struct input *input, const void **ret_data, size_t *ret_size);

/* Whether a read would not wait. */
bool input_ready(const struct input *input);

/* Read more, waiting for it. 0, -EINTR after a signal, or another negative errno. */
int input_fill(struct input *input);

/* Pass over `count` messages without reading them, as far as this input can be sought in.
 * Returns how many were passed over. */
uint64_t input_seek(struct input *input, uint64_t count);
