/* SPDX-License-Identifier: MIT
 *
 * Peer: UNIX stream sockets.
 */
#include <sys/socket.h>

#include "fds.h"

/* The largest that an ordinary user gets on a Debian machine; with less the two take turns. */
#define BUFFER 212992

static int unix_setup(const struct job_opts *o) {
    int pair[2], size = BUFFER;

    (void) o;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return -errno;
    for (unsigned i = 0; i < 2; i++) {
        fds_ends[i] = (struct fds){ pair[i], pair[i] };
        if (setsockopt(pair[i], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0)
            return -errno;
    }
    return 0;
}

static const struct job_ops unix_ops = {
    .name = "unix",
    .modes = "A pair of UNIX stream sockets; streams pack messages into writes of 64 KiB.",
    .packs = true,
    .setup = unix_setup,
    .teardown = fds_teardown,
    .open = fds_open,
    .send = fds_send,
    .flush = fds_flush,
    .recv = fds_recv,
    .close = fds_close,
};

JOB_MAIN(unix_ops)
