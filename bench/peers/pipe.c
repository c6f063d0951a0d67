/* SPDX-License-Identifier: MIT
 *
 * Peer: pipes, one each way.
 */
#include <fcntl.h>
#include <unistd.h>

#include "fds.h"

/* The largest that an ordinary user gets. */
#define BUFFER (1 << 20)

static int pipe_setup(const struct job_opts *o) {
    (void) o;
    for (unsigned i = 0; i < 2; i++) {
        int ends[2];

        if (pipe(ends) < 0)
            return -errno;
        fds_ends[1 - i].in = ends[0];
        fds_ends[i].out = ends[1];
        /* Best effort: the system may allow less. */
        (void) fcntl(ends[0], F_SETPIPE_SZ, BUFFER);
    }
    return 0;
}

static const struct job_ops pipe_ops = {
    .name = "pipe",
    .modes = "Two pipes of up to 1 MiB; streams pack messages into writes of 64 KiB.",
    .packs = true,
    .setup = pipe_setup,
    .teardown = fds_teardown,
    .open = fds_open,
    .send = fds_send,
    .flush = fds_flush,
    .recv = fds_recv,
    .close = fds_close,
};

JOB_MAIN(pipe_ops)
