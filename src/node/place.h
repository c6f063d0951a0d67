/* SPDX-License-Identifier: MIT
 *
 * Placement: on which host a node may be opened (docs/HOSTS.md, "Placement"; layouts in
 * docs/SEGMENT.md §14). Three kinds of files, which the daemon of the host writes:
 *
 *   cluster       this bus is part of a cluster, as this host
 *   ID/place      the node is placed here, or elsewhere
 *   claims/       bell and lock of the daemon that answers claims; and ID, a FIFO that an opener of
 *                 that node makes and waits in; and `count`, by which ephemeral IDs are given
 *
 * Without `cluster` a bus is a host of its own, and who opens a node looks no further.
 *
 * Who opens a node has byte 0 of its lock. `place` says HERE: it goes on. Else it makes claims/ID
 * anew, rings claims/bell, and waits for the 256 bytes of an answer. The daemon removes the FIFO
 * before it answers, and answers when the stand-in has let go and `place` is written: so a claim is
 * answered once; who was killed left a FIFO without a reader; and an answer to him reaches nobody.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "node/files.h"
#include "ring/placing.h"
#include "sys/clock.h"
#include "tram/tram.h"

/* ---- the files ------------------------------------------------------------------------------- */

/* -ENOENT: there is none, so this bus is no part of a cluster; -EPROTO: of another version;
 * -EBADMSG. */
int cluster_read(int bus_dir, struct cluster *ret_cluster);
int place_read(int node_dir, tram_id id, struct place *ret_place);

/* ---- for nodes (place.c) --------------------------------------------------------------------- */

#define CLAIM_WAIT (10 * SYS_SECOND) /* of an opener, for an answer */

/* Is the bus of a node that is being opened part of a cluster? */
int place_join(tram_node *node, struct tram_error *error);
/* Its byte 0 is ours: may it be opened here? Asks the daemon if the host does not know. -EAGAIN,
 * -EADDRINUSE, -EHOSTUNREACH, -EACCES: as the text says. */
int place_ask(tram_node *node, struct tram_error *error);
/* Of the next ephemeral node of this host, which takes its ID from it, and the round of all IDs
 * that this one is of; counted from `any`, and that itself if it can't be told. */
uint64_t place_count(const tram_node *node, uint32_t any);
/* Something changed in its directory: was the node placed elsewhere? Then every call from now on is
 * -ESTALE. */
bool place_lost(tram_node *node);
int place_fenced(tram_node *node);

/* ---- the daemon's side ----------------------------------------------------------------------- */

/* Write `cluster` (magic, version and zeros are put in), in one step. */
int cluster_write(const struct bus *bus, const struct cluster *cluster);
/* This bus is a host of its own again. */
int cluster_remove(const struct bus *bus);
/* Write ID/place, in one step (magic, version, `here` and zeros are put in; `taken` stays as it was
 * if it is 0); the directory is made if it is missing. AWAY: who has the node open all the same is
 * told, and fenced (-ESTALE from then on). Never lowers an epoch: -ESTALE. */
int place_write(const struct bus *bus, const struct place *place);
/* A node that is nowhere (`tram rm`, the directory forgot it): the next opener asks. */
int place_remove(const struct bus *bus, tram_id id);
/* Each node of the bus that has a `place`. */
int place_each(const struct bus *bus, int (*each)(void *context, const struct place *place),
               void *context);

/* Answering claims: while it is open, openers wait for answers; else they are refused at once.
 * -EBUSY: another daemon does. */
struct claims {
    int dir, lock, bell;
};

#define NO_CLAIMS { -1, -1, -1 }

int claims_open(const struct bus *bus, struct claims *ret_claims);
void claims_close(struct claims *claims);
/* Readable when there may be a new claim. */
static inline int claims_fd(const struct claims *claims) {
    return claims->bell;
}
/* Empties the bell, and calls `each` for each claim that waits, also for those it was called for
 * before and that are not answered. */
int claims_each(struct claims *claims, int (*each)(void *context, tram_id id), void *context);
/* Answer the claim of that node; `pid` for the error. 0; -ENOENT: nobody waits any more. */
int claims_answer(struct claims *claims, tram_id id, int code, uint64_t epoch, uint32_t pid,
                  const char *text);
