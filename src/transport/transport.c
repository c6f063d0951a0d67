/* SPDX-License-Identifier: MIT
 *
 * What all transports have in common: connecting, ends, and what is known of them.
 */
#include "transport/transport.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "transport/gate.h"
#include "transport/security.h"
#include "transport/transport_inner.h"

#define UNSENT (32u << 10) /* bytes that lie in the kernel and have not left */

int transport_broken(struct transport *transport, int code, const char *format, ...) {
    va_list arguments;

    if (transport->broken != 0) /* the first reason is the one */
        return transport->broken;
    transport->broken = code;
    va_start(arguments, format);
    (void) vsnprintf(transport->why, sizeof(transport->why), format, arguments);
    va_end(arguments);
    return code;
}

/* ---- making ---------------------------------------------------------------------------------- */

static int make(int fd, const char *expected, struct security *security,
                struct transport **ret_transport) {
    struct transport *me = NULL;
    int rc = 0;

    if (expected && strlen(expected) >= sizeof(me->expected))
        rc = -EINVAL;
    else if (security)
        rc = security_transport(security, &me);
    else
        rc = (me = calloc(1, sizeof(*me))) ? 0 : -ENOMEM;
    if (rc < 0) {
        (void) close(fd);
        return rc;
    }
    if (!security)
        me->ops = &transport_plain;
    me->fd = fd;
    if (expected)
        (void) snprintf(me->expected, sizeof(me->expected), "%s", expected);
    (void) sys_no_delay(fd); /* of TCP; slower without it, and right all the same */
    (void) sys_unsent(fd, UNSENT); /* likewise: others wait longer without it */
    *ret_transport = me;
    return 0;
}

int transport_connect(const struct sys_address *address, const char *expected,
                      struct security *security, struct transport **ret_transport,
                      struct wrong *wrong) {
    char text[SYS_ADDRESS_TEXT];
    struct transport *me;
    bool pending;
    int fd, rc;

    rc = sys_connect(address, &fd, &pending);
    if (rc == 0)
        rc = make(fd, expected, security, &me);
    if (rc < 0)
        return wrong_set(wrong, rc, "cannot connect to %s: %s", sys_address_text(address, text),
                         strerror(-rc));
    me->connecting = pending;
    me->address = *address;
    (void) sys_address_text(address, me->peer.address);
    *ret_transport = me;
    return 0;
}

int transport_take(int fd, bool accepted, const char *expected, struct security *security,
                   struct transport **ret_transport) {
    struct transport *me;
    int rc = make(fd, expected, security, &me);

    if (rc < 0)
        return rc;
    me->accepted = accepted;
    if (sys_peer_address(fd, &me->address) == 0)
        (void) sys_address_text(&me->address, me->peer.address);
    *ret_transport = me;
    return 0;
}

struct transport *transport_close(struct transport *transport) {
    if (!transport)
        return NULL;
    if (transport->gate)
        gate_leave(transport);
    transport->ops->end(transport);
    (void) close(transport->fd); /* what that could lose is not ours to promise */
    free(transport);
    return NULL;
}

int transport_fd(const struct transport *transport) {
    return transport->fd;
}

/* ---- going on -------------------------------------------------------------------------------- */

uint32_t transport_want(const struct transport *transport) {
    if (transport->connecting)
        return TRANSPORT_WRITE;
    return TRANSPORT_READ | (transport->full ? TRANSPORT_WRITE : 0);
}

int transport_open(struct transport *transport) {
    if (transport->broken != 0)
        return transport->broken;
    if (transport->open)
        return 0;
    if (transport->connecting) {
        int rc = sys_connected(transport->fd);

        if (rc < 0)
            return transport_broken(transport, rc, "cannot connect to %s: %s",
                                    transport->peer.address, strerror(-rc));
        /* Not wrong, and nobody there: it is on its way still. */
        if (sys_peer_address(transport->fd, &(struct sys_address){ 0 }) == -ENOTCONN)
            return -EAGAIN;
        transport->connecting = false;
    }
    return transport->ops->open(transport);
}

bool transport_is_open(const struct transport *transport) {
    return transport->open;
}

/* Also when writing has failed: what the peer said before it went is worth hearing. */
int64_t transport_readv(struct transport *transport, const struct iovec *pieces, int count) {
    int rc = transport->open ? 0 : transport_open(transport);

    return rc < 0 ? rc : transport->ops->readv(transport, pieces, count);
}

int64_t transport_read(struct transport *transport, void *buffer, size_t size) {
    struct iovec piece = { buffer, size };

    return transport_readv(transport, &piece, 1);
}

bool transport_pending(const struct transport *transport) {
    return transport->pending;
}

int64_t transport_writev(struct transport *transport, const struct iovec *pieces, int count) {
    int rc = transport_open(transport);

    return rc < 0 ? rc : transport->ops->writev(transport, pieces, count);
}

int64_t transport_write(struct transport *transport, const void *bytes, size_t size) {
    struct iovec piece = { (void *) (uintptr_t) bytes, size }; /* it is only read */

    return transport_writev(transport, &piece, 1);
}

int transport_flush(struct transport *transport) {
    int rc = transport_open(transport);

    return rc < 0 ? rc : transport->ops->flush(transport);
}

/* ---- what is known --------------------------------------------------------------------------- */

const struct transport_peer *transport_peer(const struct transport *transport) {
    return &transport->peer;
}

const char *transport_peer_name(const struct transport *transport) {
    return transport->peer.name;
}

int transport_check(struct transport *transport, int64_t now) {
    if (transport->broken != 0)
        return transport->broken;
    return transport->open ? transport->ops->check(transport, now) : 0;
}

const char *transport_why(const struct transport *transport) {
    return transport->why;
}

int transport_allowed(const struct sys_address *address, const struct security *security,
                      bool plain, struct wrong *wrong) {
    char text[SYS_ADDRESS_TEXT];

    if (security || plain || sys_address_is_local(address))
        return 0;
    return wrong_set(wrong, -EACCES,
                     "%s is not loopback, and there are no keys: make some with 'tram keys', or "
                     "say that it is to be plain",
                     sys_address_text(address, text));
}
