/* SPDX-License-Identifier: MIT
 *
 * The job over two descriptors that carry bytes: sockets and pipes. A message is its length in 8
 * bytes and its payload. The sender of a stream packs messages into writes of 64 KiB, or makes one
 * write of each; the receiver reads as much as there is and looks in place.
 */
#pragma once

#include "job.h"

/* What one end reads from and writes to; set by the peer's setup. */
struct fds {
    int in, out;
};

extern struct fds fds_ends[2];

void *fds_open(const struct job_opts *o, unsigned who);
int fds_send(void *end, const void *data, size_t size);
int fds_flush(void *end);
int fds_recv(void *end, const void **ret_data, size_t *ret_size);
void fds_close(void *end);

/* Closes all that setup opened. */
void fds_teardown(void);
