/* SPDX-License-Identifier: MIT
 *
 * What the tests of hostile peers share: files that are mapped and written from outside, and a
 * channel that has nothing to do with it and must go on: C sends, B receives exactly that.
 */
#pragma once

#include "ring/layout.h"
#include "support/kit.h"

#define HOSTILE_A TRAM_ID(1, 1, 1, 1) /* attacks, or is attacked */
#define HOSTILE_B TRAM_ID(1, 1, 1, 2)
#define HOSTILE_C TRAM_ID(1, 1, 1, 3)

#define HOSTILE_RING 65536u

struct sound {
    tram_node *b, *c;
    uint64_t sent, received; /* from C */
    uint64_t others;         /* messages from A */
    uint64_t closed;         /* -EBADMSG, which named the channel from A */
};

/* Small rings, no spinning. */
tram_node *hostile_open(tram_id id);

/* The path of a node's file, in `buffer`. */
char *hostile_path(char buffer[512], tram_id node, const char *name);

/* A file of a node, mapped for writing. */
void *hostile_map(tram_id node, const char *name, size_t length);

/* A file of a node, with this content and no other. */
void hostile_put(tram_id node, const char *name, const void *content, size_t size);

/* Say that the node's directory changed. */
void hostile_announce(tram_id node);

/* Ring for nothing: a re-look follows within 100 ms. */
void hostile_ring(tram_id node);

/* What a peer might put in place of a word: returns how many. */
unsigned hostile_values(uint64_t old, uint64_t values[24]);

struct sound sound_start(void);
void sound_end(struct sound *sound);

/* Receive what there is, at most `most` messages: what C sent is exact, errors name the channel
 * from A. */
void sound_receive(struct sound *sound, unsigned most);

/* Send a message from C; B gets it within some seconds. */
void sound_goes_on(struct sound *sound);

/* An error of the channel A → B, one of those that tram.h has for it. */
void hostile_error(const tram_node *node, int rc, const int *codes);
