/* SPDX-License-Identifier: MIT
 *
 * Inside a socket's link: link_socket.c (its life, and the loop), socket_write.c, socket_read.c,
 * and socket_listen.c, where it comes from.
 *
 * Its owner may do anything in what it is told: close the link, send, wait in a blocking call, in
 * which the loop calls the link again. So memory goes when `busy` is 0, and the bytes of a message
 * that is being handed out (`pinned`) are neither moved nor overwritten.
 */
#pragma once

#include "service/link_socket.h"
#include "transport/transport.h"

#define IN_SIZE 65536u
#define IN_ROOM 16384u  /* no smaller read, … */
#define DIRECT  16384u  /* a larger message is not copied before the kernel gets it */
#define GATHER  65536u  /* what was gathered goes when it is so much */
#define PAD(n)  (((n) + 7u) & ~(size_t) 7u)

struct buffer {
    uint8_t *bytes;
    size_t start, end, size;
};

struct socket_link {
    struct link link;                  /* first */
    struct transport *transport;
    enum address_kind kind;
    tram_io *io;
    uint32_t events;                   /* that io watches */
    tram_timer *hello;                 /* until it was said */
    struct socket_listener *listener;  /* of who was accepted; it counts us */
    struct socket_link *waiting, **waiting_at; /* in its list of those without hello */

    struct socket_link *secure_next, **secure_at; /* of those by TLS (secure.c) */

    struct buffer in, out;
    uint8_t *pinned;
    uint32_t busy;                     /* calls of the owner under way */
    bool connecting, greeted, closed;  /* connecting: or the handshake goes on */
    bool up_owed;                      /* the owner is to hear that it is connected */
    bool wants_space;                  /* … the owner; */
    bool full;                         /* the kernel takes no more at the moment */
    bool corked;                       /* more of what was read is to be handed on: sends wait, … */
    int64_t corked_since, looked_at;   /* … but not for long; */
    uint32_t look_in, look_every;      /* … frames, until the clock is looked at */
    bool paused;                       /* the application keeps too much: nothing is read */
    bool cut;                          /* writing failed: what it said before is still read */
    bool down_told;
    int down;                          /* why it ended, 0: it has not */

    uint8_t *draft;                    /* head and payload, or NULL */
    size_t draft_size;

    struct taken *taken;               /* messages that the owner keeps */
    uint64_t taken_bytes;

    struct socket_budget *budget;      /* of all connections of its server; NULL: there is none */
    struct socket_link *peer, **peer_at; /* in its list */
    uint64_t above;                    /* bytes that the owner has for it */
    uint64_t holds;                    /* of all that, as far as the budget knows */
    bool doomed;                       /* it holds too much of it */

    bool owes;                         /* source_turn() has something to do */
    bool hot;                          /* … and reads in each turn of a loop that spins */
    int64_t hot_until;
    bool listed;
    struct worker_source source;
    struct worker_deferred memory;

    uint32_t sent, acknowledged;       /* one-way messages, modulo 2^32 */
    uint32_t handed, answered;
    tram_timer *answer;
    bool answer_set;
};

static inline struct socket_link *socket_of(struct link *link) {
    return (struct socket_link *) (void *) link;
}

/* ---- link_socket.c --------------------------------------------------------------------------- */

/* Have the loop look at it: something is to be written, or told. */
void socket_look_again(struct socket_link *me);
/* It has something to do: a loop that spins reads it in each turn for a while. */
void socket_warm(struct socket_link *me);
/* The connection is over, which the owner is told by the loop. Returns what a send says then. */
int socket_broken(struct socket_link *me, int why);
/* Watch what is to be watched now. */
void socket_watch(struct socket_link *me);
void socket_close(struct link *link);
/* Around each call of the owner; leave: false if it closed the link. */
void socket_enter(struct socket_link *me);
bool socket_leave(struct socket_link *me);

/* ---- socket_budget.c ------------------------------------------------------------------------- */

struct socket_budget *socket_budget_ref(struct socket_budget *budget);
void socket_budget_join(struct socket_link *me, struct socket_budget *budget);
void socket_budget_leave(struct socket_link *me);
/* What it holds has changed. It, or another, may be ended: told by the loop, as always. */
void socket_account(struct socket_link *me);
void socket_hold(struct link *link, int64_t bytes);
/* A message that is kept when its connection has ended, and its release. */
struct socket_budget *socket_budget_inherit(struct socket_budget *budget, uint64_t bytes);
void socket_budget_release(struct socket_budget *budget, uint64_t bytes);

/* ---- socket_write.c -------------------------------------------------------------------------- */

bool buffer_grow(struct buffer *buffer, size_t more, size_t least, const uint8_t *pinned);
void buffer_free(struct buffer *buffer);

int socket_send(struct link *link, const struct frame *frame, uint32_t code,
                const struct iovec *pieces, int count, bool more);
int socket_claim(struct link *link, size_t size, void **ret_data);
int socket_commit(struct link *link, const struct frame *frame, uint32_t code, size_t size);
void socket_abort(struct link *link);
void socket_flush(struct socket_link *me);
static inline size_t socket_gathered(const struct socket_link *me) {
    return me->out.end - me->out.start;
}

/* ---- socket_read.c --------------------------------------------------------------------------- */

/* Read once, and hand on what has come. True: something came. */
bool socket_receive(struct socket_link *me);
/* Hand on what has been read. */
void socket_parse(struct socket_link *me);
bool socket_keeps_too_much(const struct socket_link *me);
void *socket_take(struct inbound *in, const void **ret_data);
void socket_release(tram_worker *worker, void *held);
/* The link is closed: what is kept of it is released without it. */
void socket_orphan_taken(struct socket_link *me);
/* Say how many one-way messages were handed on. */
void socket_acknowledge(struct socket_link *me);

/* ---- socket_listen.c ------------------------------------------------------------------------- */

/* A link of it said hello: false: it is closed. It ended. */
bool socket_listener_greeted(struct socket_listener *listener, struct socket_link *link,
                             struct inbound *in);
void socket_listener_left(struct socket_listener *listener, struct socket_link *link);
/* It ended before, for this reason. */
void socket_listener_refused(struct socket_listener *listener, struct socket_link *link, int why);
