/* SPDX-License-Identifier: MIT
 *
 * A file of records in the bus directory, framed like what goes over a connection (wire/control.h):
 * read from its beginning, appended to, and written anew beside itself and renamed into its place.
 * Which records there are is the affair of who has the file.
 */
#pragma once

#include <stdint.h>

#include "wire/control.h"

struct record_file {
    int fd;
    uint64_t size, at;
    struct control_in in;
};

/* For reading. -ENOENT: it is not there. */
int record_file_open(struct record_file *file, int dir, const char *name);
/* What comes next of it is in `in`: 1. 0: that was all. */
int record_file_more(struct record_file *file);
void record_file_close(struct record_file *file);

/* The whole of it. On failure it stays what it was; *ret_fd is for appending, or NULL. */
int record_file_write(int dir, const char *name, const struct control_out *out, int *ret_fd);
/* At its end, which is moved. What doesn't go in whole is cut off again. */
int record_file_append(int fd, uint64_t *size, const struct control_out *out);
