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
    uint64_t seq;           /* shm: in the channel from that node */
    void *hold;             /* the link's own */
    bool kept;              /* taken: not to be released when on_frame() returns */
    bool lost;              /* a one-way message that was handed to nobody, and will not be */
};

struct link_owner {
    void (*on_frame)(struct link *link, struct inbound *in);
    void (*on_space)(struct link *link);         /* after -EAGAIN of a send, once */
    /* The end of a socket: -ECONNRESET, -EBADMSG …; close it. Over shared memory the node there has
     * ended; the link stays, and on_up() tells that it runs again. */
    void (*on_down)(struct link *link, int why);
    /* shm: the node there runs (at once, if it does); a socket is connected. */
    void (*on_up)(struct link *link, int32_t pid);
};

struct link_ops {
    const char *name;       /* "shm", "ipc", "tcp" */
    bool keeps;             /* what was accepted survives both ends */
    /* 0: accepted. -EAGAIN: full. -EMSGSIZE, -ECONNRESET, -EHOSTUNREACH … The first piece is the
     * frame's extra, if it has one. `more`: others follow in this turn, at the end of which all
     * are sent. */
    int (*send)(struct link *link, const struct frame *frame, uint32_t code,
                const struct iovec *pieces, int count, bool more);
    /* Room for extra and payload in place; then commit (cut to `size`, extra counted) or abort. */
    int (*claim)(struct link *link, size_t size, void **ret_data);
    int (*commit)(struct link *link, const struct frame *frame, uint32_t code, size_t size);
    void (*abort)(struct link *link);
    /* Keep a message beyond on_frame(), and set in->kept: returns what `release` takes, and at
     * *ret_data where the payload lies then; NULL: no memory. */
    void *(*take)(struct inbound *in, const void **ret_data);
    void (*release)(tram_worker *worker, void *held);
    uint64_t (*waiting)(const struct link *link); /* bytes on the way, for TRAM_CHOOSE_LEAST */
    uint64_t (*unknown)(const struct link *link); /* one-way messages of which nobody knows, in
                                                     on_down: sent, and not acknowledged */
    void (*hold)(struct link *link, int64_t bytes); /* its owner has so many more bytes for it, or
                                                       fewer; NULL: nobody counts them */
    void (*close)(struct link *link);             /* frees it; no more calls */
};

struct link {
    const struct link_ops *ops;
    const struct link_owner *owner;
    void *context;          /* the owner's */
    tram_worker *worker;
    uint32_t port;          /* of the endpoint there; over a socket 1 until it has said hello */
    tram_id peer;           /* shm: its node */
    int32_t pid;            /* socket: of its process, as the kernel says; 0: it doesn't */
    bool far;               /* shm: the node is of another host, by the rings of the daemons */
    char host[64];          /* … of this one, as soon as it is known; else "" */
    bool down;              /* socket: nothing goes any more, and on_down() follows */
};

/* (-EHOSTUNREACH in on_down(): the host of the node is not heard of.)
 * Over shared memory messages come to the port of an endpoint, and this function of it; the link is
 * how to send, and who hears of the node there. `runs`: it does, or it is of another host (`far`
 * says so; if not, that is found out): on_up() or on_down() follows. */
int link_shm_new(tram_worker *worker, tram_id node, uint32_t port, bool far,
                 struct link **ret_link, bool *ret_runs);
void link_shm_message(struct worker_port *port, struct worker_message *message);
