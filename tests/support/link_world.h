/* SPDX-License-Identifier: MIT
 *
 * Two links, one at each end of a wire in memory, with stores that are vectors: for the unit tests
 * of src/wire/link.h.
 */
#pragma once

#include "wire/link.h"
#include "wire/link_frame.h"

#define MS UINT64_C(1000000)
#define RECORD 16u /* head of a record here: number, size */
#define CHANNELS 4
#define WIRE (48u << 20) /* bytes of an origin, and of a mirror, at most */

struct side;

struct origin {
    struct side *side;
    struct link_out *out;
    struct link_name name;
    uint8_t *bytes;
    uint64_t at[4096], count; /* where message n + 1 begins */
    uint64_t handed, committed;
    enum link_answer answer;
    int answers;
    bool nonsense;
};

struct mirror {
    struct side *side;
    struct link_in *in;
    struct link_name name;
    struct link_offer offer;
    uint8_t *bytes;           /* from message 1 on */
    uint64_t at[4096];        /* where message n + 1 begins */
    uint64_t accepted, consumed, placed, space, wants;
    bool open, no_memory, closed_more;
    enum link_end end;
};

struct side {
    struct link *link;
    struct link_identity self;
    struct origin origins[CHANNELS];
    struct mirror mirrors[CHANNELS];
    int answer; /* to OPEN */
    uint64_t wall;
    int ups, downs, settled, controls, opens;
    char control[64];
    uint64_t tries;
};

struct world {
    struct side a, b;
    struct greet greet_a, greet_b;
    uint64_t now;
    size_t chunk; /* bytes per write */
};

extern const struct link_store world_store; /* its `store` is a struct side */

void world_init(struct world *w);
void world_free(struct world *w);
/* A channel from a to b, whose mirror has so much space. */
struct origin *world_channel(struct world *w, int i, uint64_t space);
void world_send(struct origin *o, uint64_t size);
/* What a greeting has to say, to the other. 1: both have what they want of each other so far. */
int world_greet_step(struct greet *from, struct greet *to);
/* Both HELLOs, on a further connection. */
void world_greet(struct world *w, struct greet *ga, struct greet *gb);
/* … and what follows: both links have it. */
void world_connect(struct world *w);
/* One batch, or as much of it as `chunk` says. False: nothing to say. */
int world_move(struct world *w, struct side *from, struct side *to, int *ret_rc);
/* Until nobody has anything to say; the result is the last error. */
int world_settle(struct world *w);
/* Time goes by, timers and all. */
int world_pass(struct world *w, uint64_t ns);
void world_cut(struct world *w);
/* All that the origin has is in the mirror. */
void world_check_same(struct world *w, int i);
