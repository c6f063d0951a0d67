/* SPDX-License-Identifier: MIT
 *
 * Inside of placing: placing.c (claims, what is given up), placing_left.c (what nodes left where).
 */
#pragma once

#include "daemon/hosts.h"

#define GRACE INT64_C(1000000000)    /* for a directory that is not there at this moment */

/* Where a node is placed. */
struct known {
    tram_id id;
    uint32_t host;     /* 0: nowhere, or nobody told us yet */
    uint64_t epoch;
    uint64_t taken;    /* … in which it came here by a take-over; 0 */
    uint32_t given_to; /* it was given up here for that host, and nothing was said of it since */
    bool told;         /* the directory said so, and not a file */
    uint32_t *left;    /* where what it sent waits, and goes first; behind these: for whom */
    uint32_t left_count;
    int64_t since;     /* when it was placed here, as far as this daemon knows */
    int64_t said;      /* when the directory was told what of it waits here; 0 */
};

/* A claim on its way. */
struct claim {
    struct claim *next;
    tram_id id;
    int64_t since;
    bool opener;       /* somebody waits in claims/ID */
    bool command;      /* `tram takeover` waits */
    uint64_t cookie;   /* … with this one */
    bool granted;      /* what the old host knows is missing yet */
    bool full;         /* … and it names more senders than are noted */
    uint64_t serial;   /* of the last question: an answer to one before may be on its way */
    uint64_t epoch;
    uint32_t from;
};

struct placing {
    struct known *known;
    size_t count, room;
    struct claim *claims;
    uint64_t serial;
    int64_t began;
    int64_t look_at;   /* whether what nodes left here is gone; 0: there are none */
};

/* NULL: nothing is known of it. */
struct known *placing_find(struct hosts *hosts, tram_id id);
/* The directory says where what it sent waits. */
void placing_left_set(struct hosts *hosts, struct known *known, const hosts_placed *placed);
/* What nodes left here when they moved: is it gone? When to look next. */
int64_t placing_left_time(struct hosts *hosts, int64_t now);
