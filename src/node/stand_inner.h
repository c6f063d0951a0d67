/* SPDX-License-Identifier: MIT
 *
 * The inside of a stand: a node of which only custody is held. What it has of channels, doors and
 * memory is a node's (node.h); the daemon's ends of them are stand_in.c and stand_out.c.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "node/node.h"
#include "node/stand.h"

#define MARKS 64u

/* Where a record ends. */
struct mark {
    uint64_t pos, seq;
    uint32_t generation;
};

/* A stream behind the one that the channel's `in` is at, mapped by who reads ahead. */
struct ahead {
    struct ahead *next; /* by generation */
    struct sys_map map;
    struct stream_facts facts;
    uint32_t generation;
};

struct stand_in {
    struct stand *stand;
    struct in *in;         /* stays where R's host has consumed up to; NULL: it was dropped */
    tram_id from;
    struct ring_rx at;     /* reads ahead of it */
    uint32_t generation;   /* of the stream that `at` is in */
    struct ahead *ahead;
    struct sys_map map;    /* of a channel that was dropped, until the daemon knows … */
    struct old_stream *old; /* … and the streams before it */
    uint64_t part;         /* span of the record at `at` that a run gave a part of; 0: none */
    uint64_t handed;       /* number */
    struct mark marks[MARKS]; /* where runs ended, rising: marks[(marks_first + i) % MARKS] */
    uint32_t marks_first, marks_count;
    bool told;             /* STAND_MORE: no look at it is needed before a run finds nothing */
    bool known;            /* STAND_NEW was told */
    bool copy;
    uint32_t news;         /* 1 << what, to be told */
    bool listed;           /* on the list of those with news */
    struct stand_in *news_next;
    struct stand_in *next, **link; /* all of them */
    char text[sizeof(((struct tram_error *) 0)->text)]; /* of STAND_BROKEN */
    void *user;
};

struct stand_out {
    struct stand *stand;
    struct out *out;
    tram_id to;
    uint64_t consumed;     /* as last seen */
    uint64_t placed;       /* bytes above the tail */
    uint8_t *moving;       /* these, while the stream that they go to has no memory for them */
    bool freed;            /* to be told */
    const char *why;
    struct stand_out *next, **link;
    void *user;
};

struct stand {
    tram_node node;
    struct stand_in *ins;
    struct stand_out *outs;
    struct stand_in *news, **news_end;
    struct stand_in *gone; /* told last time */
    uint32_t attached;     /* when it was last asked who opens the node */
    bool opener, trouble;  /* to be told */
    bool opener_told;
    bool expected;         /* by an opener, who has byte 0 */
    uint32_t pasts;        /* files past-S of R, while they are entered; 0: not counted yet */
    uint32_t tries;        /* to sleep, in a row */
    char text[sizeof(((struct tram_error *) 0)->text)];
};

/* Something of this channel is to be told. */
void stand_in_tell(struct stand_in *in, enum stand_what what);
/* A channel that is awake: is there more, or arm it. */
int stand_in_look(struct stand *stand, struct in *in);
struct stand_in *stand_in_free(struct stand_in *in);
/* … that was not awake: a mirror that is a copy by now. NULL: it is not there. */
struct stand_in *stand_in_attach(struct stand *stand, tram_id from);
/* Read on from what is committed. */
void stand_in_rewind(struct stand_in *in);
/* Up to which number messages were in hand when R ran here. */
int stand_in_had(struct stand_in *in, uint64_t *ret_number);
