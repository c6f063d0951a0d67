/* SPDX-License-Identifier: MIT
 *
 * Peer: a TCP connection over loopback, the floor of what crosses between hosts.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fds.h"

/* Two ends of one connection. */
static int connect_both(int listener, int pair[2]) {
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t size = sizeof(at);
    int on = 1;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *) &at, sizeof(at)) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *) &at, &size) < 0)
        return -errno;
    pair[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (pair[0] < 0 || connect(pair[0], (struct sockaddr *) &at, size) < 0)
        return -errno;
    pair[1] = accept(listener, NULL, NULL);
    for (unsigned i = 0; i < 2; i++)
        if (pair[i] < 0 || setsockopt(pair[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0)
            return -errno;
    return 0;
}

static int tcp_setup(const struct job_opts *o) {
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), pair[2] = { -1, -1 };
    int ret = listener < 0 ? -errno : connect_both(listener, pair);

    (void) o;
    for (unsigned i = 0; i < 2; i++)
        fds_ends[i] = (struct fds){ pair[i], pair[i] };
    if (listener >= 0)
        (void) close(listener);
    if (ret < 0)
        fds_teardown();
    return ret;
}

static const struct job_ops tcp_ops = {
    .name = "tcp",
    .modes = "A TCP connection over loopback; streams pack messages into writes of 64 KiB.",
    .packs = true,
    .setup = tcp_setup,
    .teardown = fds_teardown,
    .open = fds_open,
    .send = fds_send,
    .flush = fds_flush,
    .recv = fds_recv,
    .close = fds_close,
};

JOB_MAIN(tcp_ops)
