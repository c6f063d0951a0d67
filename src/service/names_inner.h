/* SPDX-License-Identifier: MIT
 *
 * What names.c (what is registered) and names_link.c (the connection) share.
 */
#pragma once

#include "service/names.h"
#include "wire/control.h"
#include "wire/name.h"
#include "worker/worker.h"

struct names_binding_inner {
    struct names_binding_inner *next;
    struct names_binding *owner; /* NULL: given back; freed when nobody walks the list */
    struct names *names;
    uint64_t cookie;
    struct name name;
    uint32_t port;
    char **addresses;            /* one block; NULL: none */
    size_t count;
    uint64_t order;              /* of the publication; 0: none yet */
    bool wanted;                 /* names_publish() was called */
    bool bound;                  /* on_bound was called */
    bool published;              /* in this connection */
    bool refused;
};

struct known {                   /* a party that a watch was told of */
    struct names_party party;
    struct known *next;
    bool confirmed;              /* in this connection */
};

struct names_watch_inner {
    struct names_watch_inner *next;
    struct names_watch *owner;   /* as above */
    struct names *names;
    uint64_t cookie;
    char pattern[NAME_FULL_SIZE];
    struct known *known;
    bool told;                   /* on_told was called */
    bool away;                   /* on_away was called, and nothing since */
};

/* A look at a node or a reader of events, which begins with this. */
struct names_wish {
    struct names_wish *next;
    struct names_wish **owner;   /* where its owner has it; NULL: given back, as above */
    struct names *names;
    uint64_t cookie;
    void (*say)(const struct names_wish *wish, bool wanted); /* to the daemon; tells its kind */
};

enum names_state { NAMES_AWAY, NAMES_GREETING, NAMES_READY };

/* All of a worker's. */
struct names {
    tram_worker *worker;
    struct worker_ending ending;
    struct names_binding_inner *bindings;
    struct names_watch_inner *watches;
    struct names_wish *wishes;   /* names_wish.c */
    uint64_t cookies;
    int walks;                   /* that may meet what has been given back */

    /* The connection. */
    enum names_state state;
    int dir;                     /* the bus directory */
    int fd;
    tram_io *io;
    tram_timer *timer;
    struct control_in in;
    struct control_out out;
    bool pending;                /* connect(2) goes on */
    unsigned failures;           /* in a row */
    bool waiting;                /* the timer is set */
    bool spoilt;                 /* a frame for it was lost: begin anew */
    bool refused;                /* it said that it doesn't want us */
    uint64_t random;
    int32_t starter;             /* the tramd that we started, until it has gone into the
                                    background; 0: none */
    int64_t started;             /* when; 0: never */
    int cannot_start;            /* why the last try failed; 0: it did not */
};

/* ---- names_link.c ---------------------------------------------------------------------------- */

/* Connect if that was not done. */
int names_link_need(struct names *names);
/* Nothing is bound or watched: let it go, unless that changes soon. */
void names_link_rest(struct names *names);
/* Queue a frame for the daemon, if it is there; else it is made anew when it is. */
void names_link_add(struct names *names, control_frame *frame);
/* Let go what is queued. */
void names_link_flush(struct names *names);
/* The bus directory, opened when it is first needed. */
int names_link_dir(struct names *names, int *ret_dir);
void names_link_end(struct names *names);

/* ---- names_wish.c ---------------------------------------------------------------------------- */

/* One of that size, all 0 behind its beginning, at *owner: to be filled in and begun. */
int names_wish_new(tram_worker *worker, size_t size, void (*say)(const struct names_wish *, bool),
                   struct names_wish **owner);
/* Say it. On failure it is given back. */
int names_wish_begin(struct names_wish *wish);
/* NULL: nothing. */
void names_wish_end(struct names_wish *wish);
/* What the daemon answers to, if that is still wished for. */
struct names_wish *names_wish_find(struct names *names, uint64_t cookie,
                                   void (*say)(const struct names_wish *, bool));
bool names_wishes_used(const struct names *names);
/* The daemon is there: ask it anew. */
void names_wishes_register(struct names *names);
void names_wishes_sweep(struct names *names);
/* The worker goes. */
void names_wishes_end(struct names *names);

/* ---- names_node.c, names_relay.c ------------------------------------------------------------- */

void names_node_take(struct names *names, const Tram__Control__Life *life);
void names_relay_take(struct names *names, const Tram__Control__Relayed *relayed);

/* ---- names.c --------------------------------------------------------------------------------- */

/* All of this worker, made when it is first needed. -ENOMEM */
int names_of(tram_worker *worker, struct names **ret_names);
/* Free what has been given back, unless somebody is on the way through the lists. */
void names_sweep(struct names *names);
/* The daemon is there: say all of it. */
void names_register(struct names *names);
/* A frame came. -EBADMSG: one that makes no sense now. */
int names_frame(struct names *names, const control_frame *frame);
/* It is away, or could not be reached. */
void names_away(struct names *names);
bool names_used(const struct names *names);
