/* SPDX-License-Identifier: MIT
 *
 * Inside a transport: transport.c, plain.c, and src/tls.
 */
#pragma once

#include "transport/transport.h"

struct gate;

struct transport_ops {
    int (*open)(struct transport *transport); /* when it is connected; sets `open` */
    int64_t (*readv)(struct transport *transport, const struct iovec *pieces, int count);
    int64_t (*writev)(struct transport *transport, const struct iovec *pieces, int count);
    int (*flush)(struct transport *transport);
    int (*check)(struct transport *transport, int64_t now);
    void (*end)(struct transport *transport); /* says goodbye, and gives back all but what is
                                                 in struct transport */
};

struct transport {
    const struct transport_ops *ops;
    int fd;
    bool accepted;   /* the other one connected */
    bool connecting;
    bool open;
    bool full;       /* the kernel took not all */
    bool pending;    /* more may be there than events tell of */
    int broken;      /* 0, or with what it ended */
    struct transport_peer peer;
    char expected[256]; /* "": anybody of the cluster */
    char why[256];

    struct gate *gate; /* in which it waits, from the oldest on */
    struct transport *gate_next, *gate_previous;
    int64_t gate_until;
    struct sys_address address;
};

/* It is over: sets why. Returns `code`. */
int transport_broken(struct transport *transport, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

extern const struct transport_ops transport_plain;
