/* SPDX-License-Identifier: MIT
 *
 * The client's side of names: one connection to the daemon for each worker, made when it is first
 * needed. It comes back by itself (1 ms, doubling to 200 ms, with jitter) and registers everything
 * anew, so that a daemon which was killed is not noticed: who is watched is compared with what was
 * there before, and only differences are told.
 *
 * Callbacks run from the worker's loop, never inside a call of names.h, but also inside a blocking
 * call of the application (worker_pump()): whoever has something to tell it defers that. In a
 * callback everything may be called, also names_unbind() and names_unwatch() of what it is for.
 *
 * The structs are embedded in the caller's objects, all 0 before the first use, and have to stay
 * until names_unbind() or names_unwatch(). When the worker is freed they are let go without a call.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tram/tram.h"
#include "tram/worker.h"

/* Who serves a name. */
struct names_party {
    const char *name;            /* without instance */
    const char *instance;        /* "" if it has none */
    const char *full;            /* "name" or "name:instance" */
    const char *program;
    const char *const *addresses; /* beside shared memory; NULL ends */
    const char *host;            /* of the cluster; "": this one */
    uint64_t distance;           /* to it: round trip in ns, as told last; 0: not known */
    uint64_t order;              /* counts publications: a newer one has a higher number */
    uint64_t life;               /* of the node: tells a successor from it */
    uint32_t port;               /* 0: not by shared memory */
    tram_id node;
    int32_t pid;
};

/* ---- binding --------------------------------------------------------------------------------- */

struct names_binding_inner;

struct names_binding {
    /* The name is ours: bind the sockets, then call names_publish(). Once: when the daemon was away
     * and comes back, what was published is published again without a word. */
    void (*on_bound)(struct names_binding *binding);
    /* It can be found; also again, after on_away. */
    void (*on_published)(struct names_binding *binding, uint64_t order);
    /* It may not be had: -EEXIST (`holder` has it), … ; only names_unbind() is left. */
    void (*on_refused)(struct names_binding *binding, int error, const char *text,
                       const struct names_party *holder);
    /* The daemon went; what is published stays so for whoever knows it. */
    void (*on_away)(struct names_binding *binding);

    struct names_binding_inner *inner; /* ours */
};

/* Reserve `name`, or `name`:`instance` (NULL or "": none) for `port` of the worker's node. 0: on
 * its way. -EINVAL: no such name can be. */
int names_bind(tram_worker *worker, struct names_binding *binding, const char *name,
               const char *instance, uint32_t port);

/* After on_bound: let it be found, by shared memory (unless its port is 0) and by these addresses,
 * which are copied; NULL ends them, NULL: none. */
int names_publish(struct names_binding *binding, const char *const *addresses);

/* Give the name back; the end of the binding. Also of one that was never bound. */
void names_unbind(struct names_binding *binding);

/* ---- watching -------------------------------------------------------------------------------- */

struct names_watch_inner;

struct names_watch {
    /* Somebody serves it now. `party` is valid until its on_offline has returned. The same name may
     * come again at another node, or with other addresses: first on_offline, then on_online. */
    void (*on_online)(struct names_watch *watch, const struct names_party *party);
    void (*on_offline)(struct names_watch *watch, const struct names_party *party);
    /* May be NULL: its `distance` is another one. */
    void (*on_distance)(struct names_watch *watch, const struct names_party *party);
    /* All that was there has been told; once. */
    void (*on_told)(struct names_watch *watch);
    /* May be NULL: the daemon could not be reached, or went; the next try is made by itself. Again
     * for each that went before it had told all. */
    void (*on_away)(struct names_watch *watch);

    struct names_watch_inner *inner; /* ours */
};

/* Watch all that a pattern fits (wire/name.h): "media" is every instance of it, "media:2" that one,
 * "media:" only the one without an instance. -EINVAL: it is none. */
int names_watch(tram_worker *worker, struct names_watch *watch, const char *pattern);
void names_unwatch(struct names_watch *watch);
/* Is the daemon there, and has it not said yet what there is, nor any before it? */
bool names_asks(const struct names_watch *watch);

/* Parties that this watch knows now, one after the other: NULL gives the first, NULL is the end. */
const struct names_party *names_next(const struct names_watch *watch,
                                     const struct names_party *party);

/* ---- nodes of other hosts -------------------------------------------------------------------- */

/* Of what lies on this host the kernel tells; the life of a node of another host is told by the
 * daemons. */
struct names_wish;

struct names_node {
    /* It runs, or it doesn't; `lost`: its host is not heard of for as long as the heartbeat allows,
     * and it may come back in the same life. The first call comes as soon as it is known. A node
     * that was opened anew: down, then up. */
    void (*on_life)(struct names_node *node, bool up, bool lost, const char *host);

    struct names_wish *wish; /* ours */
};

int names_node_watch(tram_worker *worker, struct names_node *node, tram_id id);
void names_node_unwatch(struct names_node *node);

/* Events of a server of another host, which the daemon has copied into a ring here: for this
 * reader, whose file is in place and says what it wants. */
struct names_relay {
    /* Something is to be looked at; `ring`: what it wants comes into the ring with this id.
     * `error`: it is over, and only names_relay_end() is left. */
    void (*on_relayed)(struct names_relay *relay, uint64_t ring, int error);

    struct names_wish *wish; /* ours */
};

int names_relay(tram_worker *worker, struct names_relay *relay, const char *reader);
void names_relay_end(struct names_relay *relay);

/* May this node, which does not run here, run on another host? Never, without a cluster. */
bool names_may_be_far(tram_worker *worker, tram_id id);
/* Is that the name of this host? */
bool names_is_here(tram_worker *worker, const char *host);

/* Why nobody may be found: the daemon is away, or could not be started. NULL: it is there. */
const char *names_trouble(tram_worker *worker);
