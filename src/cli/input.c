/* SPDX-License-Identifier: MIT */
#include "cli/input.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK ((size_t) 256 * 1024) /* what is read at once, at least */

void input_init(struct input *input, int fd, size_t block) {
    *input = (struct input){ .fd = fd, .block = block };
}

void input_deinit(struct input *input) {
    free(input->data);
    input->data = NULL;
}

static enum input_result next_block(struct input *input, size_t *ret_size) {
    size_t size = input->end - input->start;

    if (size > input->block)
        size = input->block;
    if (size < input->block && !input->eof)
        return INPUT_EMPTY;
    *ret_size = size;
    return size > 0 ? INPUT_MESSAGE : INPUT_END;
}

static enum input_result next_line(struct input *input, size_t *ret_size) {
    size_t size = input->end - input->start;
    const char *newline = NULL;

    if (size > input->seen)
        newline = memchr(input->data + input->start + input->seen, '\n', size - input->seen);
    input->seen = newline ? 0 : size;
    if (newline)
        *ret_size = (size_t) (newline - input->data) - input->start;
    else if (input->eof && size > 0)
        *ret_size = size; /* the last line of a file that does not end its last line */
    else
        return input->eof ? INPUT_END : INPUT_EMPTY;
    return INPUT_MESSAGE;
}

enum input_result input_next(struct input *input, const void **ret_data, size_t *ret_size) {
    enum input_result result;
    size_t size = 0;

    result = input->block > 0 ? next_block(input, &size) : next_line(input, &size);
    if (result != INPUT_MESSAGE)
        return result;
    *ret_data = input->data + input->start;
    *ret_size = size;
    input->start += size;
    if (input->block == 0 && input->start < input->end)
        input->start++; /* the line's end */
    input->seen = 0;
    return INPUT_MESSAGE;
}

bool input_ready(const struct input *input) {
    struct pollfd poll_fd = { .fd = input->fd, .events = POLLIN };

    return input->eof || poll(&poll_fd, 1, 0) > 0;
}

/* Make room for a chunk, or for the rest of the block at hand. */
static int make_room(struct input *input) {
    size_t kept = input->end - input->start;
    size_t need = CHUNK;

    if (input->block > kept && input->block - kept > need)
        need = input->block - kept;
    if (kept > 0 && input->start > 0)
        memmove(input->data, input->data + input->start, kept);
    input->start = 0;
    input->end = kept;
    if (input->room - kept < need) {
        size_t room = kept + kept / 2 + need; /* a long line is copied a few times, not often */
        char *data = room > kept ? realloc(input->data, room) : NULL;

        if (!data)
            return -ENOMEM;
        input->data = data;
        input->room = room;
    }
    return 0;
}

int input_fill(struct input *input) {
    int rc = make_room(input);
    ssize_t got;

    if (rc < 0)
        return rc;
    got = read(input->fd, input->data + input->end, input->room - input->end);
    if (got < 0)
        return -errno;
    if (got == 0)
        input->eof = true;
    input->end += (size_t) got;
    return 0;
}

uint64_t input_seek(struct input *input, uint64_t count) {
    struct stat st;
    off_t at;
    uint64_t left;

    if (input->block == 0 || input->end > 0 || fstat(input->fd, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    at = lseek(input->fd, 0, SEEK_CUR);
    if (at < 0 || at >= st.st_size)
        return 0;
    left = (uint64_t) (st.st_size - at) / input->block; /* whole blocks: the rest is read */
    if (count > left)
        count = left;
    return lseek(input->fd, (off_t) (count * input->block), SEEK_CUR) < 0 ? 0 : count;
}
