/* SPDX-License-Identifier: MIT
 *
 * Plain TCP (or UNIX): what is given is what goes.
 */
#include <errno.h>
#include <string.h>

#include "transport/transport_inner.h"

static int plain_open(struct transport *me) {
    me->open = true;
    return 0;
}

static int64_t plain_readv(struct transport *me, const struct iovec *pieces, int count) {
    int64_t n = count == 1 ? sys_receive(me->fd, pieces->iov_base, pieces->iov_len)
                           : sys_receive_pieces(me->fd, pieces, count);

    if (n < 0 && n != -EAGAIN)
        return transport_broken(me, (int) n, "%s: %s", me->peer.address, strerror((int) -n));
    return n;
}

static int64_t plain_writev(struct transport *me, const struct iovec *pieces, int count) {
    int64_t n = sys_send_pieces(me->fd, pieces, count);

    me->full = n == -EAGAIN;
    if (n >= 0) {
        size_t size = 0;

        for (int i = 0; i < count; i++)
            size += pieces[i].iov_len;
        me->full = (size_t) n < size;
    } else if (n != -EAGAIN) {
        return transport_broken(me, (int) n, "%s: %s", me->peer.address, strerror((int) -n));
    }
    return n;
}

/* Nothing waits in here; whoever calls has heard that the kernel has room. */
static int plain_flush(struct transport *me) {
    me->full = false;
    return 0;
}

static int plain_check(struct transport *me, int64_t now) {
    (void) me;
    (void) now;
    return 0;
}

static void plain_end(struct transport *me) {
    (void) me;
}

const struct transport_ops transport_plain = {
    .open = plain_open,
    .readv = plain_readv,
    .writev = plain_writev,
    .flush = plain_flush,
    .check = plain_check,
    .end = plain_end,
};
