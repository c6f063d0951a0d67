/* SPDX-License-Identifier: MIT
 *
 * Transports: byte streams between hosts, plain TCP or TLS 1.3, which don't block. Links of
 * daemons, the directory and direct tcp:// and tls:// endpoints of services use the same. There is
 * no loop, clock or thread in here: who has a transport watches its descriptor for what it wants,
 * and says what time it is.
 *
 *     transport_connect()        or  sys_accept(), transport_take()
 *     transport_open()           when the descriptor is ready, until it does not say -EAGAIN
 *     transport_read(), _write() each takes what goes; -EAGAIN: wait for transport_want()
 *     transport_close()
 *
 * Reading: TLS decrypts more than was asked for, and no event of the descriptor tells of that. So
 * read until -EAGAIN, or ask transport_pending() before going to sleep.
 *
 * Writing: what transport_write() took is taken: it is the kernel's, or encrypted and waits in here
 * (up to some 100 KiB) for the descriptor; transport_flush() has it go on. The next write may
 * offer anything, whatever the last one did not take.
 *
 * Errors are negative errno, and transport_why() is a text that says what was wrong and what to do.
 * After one of them but -EAGAIN only closing is left; and, when it was a write, reading what the
 * peer had said before.
 *
 * A client with TLS is open when it knows the server; whether that takes our certificate is told
 * by what it sends first, and if it doesn't, by the first read.
 *
 * Who connects is unknown until transport_open() is done, and with plain TCP even then. What such
 * peers can cost is bounded by a gate (transport/gate.h).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sys/socket.h"
#include "wire/wrong.h"

struct transport;

/* The keys of this host, for TLS (transport/security.h). NULL everywhere: plain TCP. */
struct security;

#define TRANSPORT_NAME_SIZE 64 /* room for the name of a host, or a cluster */

enum transport_role {
    TRANSPORT_NOBODY,  /* plain TCP: it has shown nothing */
    TRANSPORT_HOST,    /* the certificate of a host: its daemon, and what runs there */
    TRANSPORT_PROGRAM, /* of a program that belongs to no host: may use services, not join */
};

/* What is known of who is at the other end. */
struct transport_peer {
    char address[SYS_ADDRESS_TEXT];
    enum transport_role role;
    /* By its certificate; "" and 0 before it is open, and with plain TCP: */
    char name[TRANSPORT_NAME_SIZE];
    char cluster[TRANSPORT_NAME_SIZE];
    char version[16]; /* "TLSv1.3"; plain: "" */
    char cipher[48];
    char serial[48];
    int64_t ends;     /* the certificate, in seconds of the clock */
};

/* TRAM_IO_READ and TRAM_IO_WRITE */
#define TRANSPORT_READ  0x01u
#define TRANSPORT_WRITE 0x02u

/* Connect. `expected`: who has to be there by the certificate, as the name of a host, or a DNS name
 * or address that is in it (NULL: any of the cluster, or plain TCP).
 * Errors that are known at once, with text. */
int transport_connect(const struct sys_address *address, const char *expected,
                      struct security *security, struct transport **ret_transport,
                      struct wrong *wrong);
/* A descriptor that was accepted, or (`accepted` false) that is connected. It is the transport's
 * from now on, also on failure. */
int transport_take(int fd, bool accepted, const char *expected, struct security *security,
                   struct transport **ret_transport);
/* Close the connection. NULL is fine. Returns NULL. */
struct transport *transport_close(struct transport *transport);

int transport_fd(const struct transport *transport);
/* What to wait for: TRANSPORT_READ, TRANSPORT_WRITE. */
uint32_t transport_want(const struct transport *transport);

/* Go on with connecting and the handshake. 0: it is open, and we know who the other is. */
int transport_open(struct transport *transport);
bool transport_is_open(const struct transport *transport);

/* Up to all of it, in order. 0: the end, which the peer said. -ECONNRESET: an end that it did not
 * say, too. */
int64_t transport_readv(struct transport *transport, const struct iovec *pieces, int count);
int64_t transport_read(struct transport *transport, void *buffer, size_t size);
/* There may be more, of which no event will tell. */
bool transport_pending(const struct transport *transport);

/* How many bytes were taken, at least 1. */
int64_t transport_writev(struct transport *transport, const struct iovec *pieces, int count);
int64_t transport_write(struct transport *transport, const void *bytes, size_t size);
/* What was taken goes on its way. 0: all of it is the kernel's. */
int transport_flush(struct transport *transport);

const struct transport_peer *transport_peer(const struct transport *transport);
/* The host by its certificate, which is what it may announce as; "": plain TCP, that proves
 * nothing. */
const char *transport_peer_name(const struct transport *transport);
/* Is it still to be trusted, with the keys and the list of the revoked as they are now?
 * -EKEYREVOKED, -EKEYEXPIRED. `now`: seconds of the clock. */
int transport_check(struct transport *transport, int64_t now);

/* What was wrong; "" when nothing was. */
const char *transport_why(const struct transport *transport);

/* What is to be listened at, or connected to. Beyond loopback only with keys, or with the word that
 * plain TCP is meant: -EACCES, with text. */
int transport_allowed(const struct sys_address *address, const struct security *security,
                      bool plain, struct wrong *wrong);
