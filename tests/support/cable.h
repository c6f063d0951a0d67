/* SPDX-License-Identifier: MIT
 *
 * Two bus directories that stand for two hosts, and what the daemons and their link do between
 * them, without either: stand-ins on both, and records copied from rings to mirrors. For tests of
 * src/node/stand.h with real nodes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <tram/tram.h>

#include "node/stand.h"

enum { CABLE_HOSTS = 2, CABLE_NODES = 8 };

/* A channel across: the origin on host `side`. */
struct cable_channel {
    struct cable_channel *next;
    struct stand_in *in;
    struct stand_out *out;
    uint64_t number, offset; /* what is to be read next */
    bool more;               /* it was told so, and no run was in vain since */
    tram_id from, to;
    int side;
};

struct cable_node {
    tram_id id;
    int placed;               /* on which host it may be opened */
    struct stand *stands[CABLE_HOSTS]; /* on the other one; on both while it moves */
    bool opener;              /* somebody opens it where it is not placed */
};

struct cable {
    struct bus buses[CABLE_HOSTS];
    char dirs[CABLE_HOSTS][256];
    struct cable_node nodes[CABLE_NODES];
    int count;
    uint64_t part;            /* largest piece that is read at once */
    struct cable_channel *channels;
    uint64_t moved;           /* bytes */
    uint64_t news;            /* ever told by stand_next() */
    uint64_t broken;          /* channels that were told to be */
    const char *why;
    int failed;               /* the last error of a mirror, which was closed then */
};

/* Below test_dir(): "a" and "b", made as buses. */
void cable_init(struct cable *cable);
/* In these directories. */
void cable_init_in(struct cable *cable, const char *a, const char *b);
/* A node, and on which host it runs. */
void cable_place(struct cable *cable, tram_id id, int host);
/* Take the stands that are missing (a node that still runs there, or another daemon: the next
 * time). */
void cable_plug(struct cable *cable);
/* One turn: true if anything was done. */
bool cable_turn(struct cable *cable);
/* Turn until nothing is done, some times over. */
void cable_settle(struct cable *cable);
/* Turn for ever, sleeping on descriptors when there is nothing to do; for a process of its own. */
void cable_run(struct cable *cable);
/* The daemon of one host ends, and begins anew; or both (host -1). */
void cable_restart(struct cable *cable, int host);
void cable_close(struct cable *cable);
/* Exact move of a node, which runs nowhere. */
void cable_move(struct cable *cable, tram_id id, int host);
/* Remove the mirror of the stream from one node to another, which is drained. */
void cable_remove(struct cable *cable, tram_id from, tram_id to);
struct stand *cable_stand(struct cable *cable, tram_id id, int host);
