/* SPDX-License-Identifier: MIT
 *
 * A link: the way from an endpoint here to one there. Shared memory (link_shm.c) and sockets
 * (link_socket.c) are the two kinds; client, server and session don't know which they have, and one
 * conformance suite runs over all of them (tests/service_conformance_test.c).
 *
 * A link never calls back inside a call of its owner: what a send finds out is its result; what the
 * loop finds out is told by the owner's functions below.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/frame.h"
#include "worker/worker.h"

struct link;

/* A message that came in, checked as far as frame_read() goes. */
struct inbound {
    struct frame frame;
    struct frame_extra extra;
    uint32_t code;
    uint32_t attempt;
    const void *data;       /* payload; in place */
    size_t size;
    uint64_t time_ns;
    tram_id from;           /* 0: a socket */
    void *hold;             /* the link's own */
};

struct link_owner {
    void (*on_frame)(struct link *link, struct inbound *in);
    void (*on_space)(struct link *link);         /* after -EAGAIN of a send, once */
    void (*on_down)(struct link *link, int why); /* the end: -ECONNRESET, -EBADMSG …; close it */
};

struct link_ops {
    const char *name;       /* "shm", "ipc", "tcp" */
    bool keeps;             /* what was accepted survives both ends */
    /* 0: accepted. -EAGAIN: full. -EMSGSIZE, -ECONNRESET, -EHOSTUNREACH … The first piece is the
     * frame's extra, if it has one. `more`: others follow in this turn, at the end of which all
     * are sent. */
    int (*send)(struct link *link, const struct frame *frame, uint32_t code,
                const struct iovec *pieces, int count, bool more);
    /* Room for extra and payload in place; then commit (cut to `size`) or abort. */
    int (*claim)(struct link *link, size_t size, void **ret_data);
    int (*commit)(struct link *link, const struct frame *frame, uint32_t code, size_t size);
    void (*abort)(struct link *link);
    /* Keep a message beyond on_frame(): returns what `release` takes; NULL: no memory. */
    void *(*take)(struct inbound *in);
    void (*release)(tram_worker *worker, void *held);
    uint64_t (*waiting)(const struct link *link); /* bytes on the way, for TRAM_CHOOSE_LEAST */
    uint64_t (*unknown)(const struct link *link); /* one-way messages of which nobody knows, in
                                                     on_down: sent, and not acknowledged */
    void (*close)(struct link *link);             /* frees it; no more calls */
};

struct link {
    const struct link_ops *ops;
    const struct link_owner *owner;
    void *context;          /* the owner's */
    tram_worker *worker;
    uint32_t port;          /* of the endpoint there */
    tram_id peer;           /* shm: its node */
};
