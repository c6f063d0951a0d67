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

struct names_node_inner {
    struct names_node_inner *next;
    struct names_node *owner;    /* as above */
    struct names *names;
    uint64_t cookie;
    tram_id id;
    uint64_t life;               /* as told; 0: it does not run */
    bool told, lost;
};

struct names_relay_inner {
    struct names_relay_inner *next;
    struct names_relay *owner;   /* as above */
    struct names *names;
    uint64_t cookie;
    char reader[CONTROL_READER_MAX];
};

enum names_state { NAMES_AWAY, NAMES_GREETING, NAMES_READY };

/* All of a worker's. */
struct names {
    tram_worker *worker;
    struct worker_ending ending;
    struct names_binding_inner *bindings;
    struct names_watch_inner *watches;
    struct names_node_inner *nodes; /* names_node.c */
    struct names_relay_inner *relays; /* names_relay.c */
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

/* ---- names_node.c ---------------------------------------------------------------------------- */

bool names_nodes_used(const struct names *names);
/* The daemon is there: ask it anew. */
void names_nodes_register(struct names *names);
void names_nodes_take(struct names *names, const Tram__Control__Life *life);
void names_nodes_sweep(struct names *names);
/* The worker goes. */
void names_nodes_end(struct names *names);

/* ---- names_relay.c --------------------------------------------------------------------------- */

bool names_relays_used(const struct names *names);
void names_relays_register(struct names *names);
void names_relays_take(struct names *names, const Tram__Control__Relayed *relayed);
void names_relays_sweep(struct names *names);
void names_relays_end(struct names *names);

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
