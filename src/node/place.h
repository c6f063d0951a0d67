/* SPDX-License-Identifier: MIT
 *
 * Placement: on which host a node may be opened (docs/HOSTS.md, "Placement"; layouts in
 * docs/SEGMENT.md §14). Three kinds of files, which the daemon of the host writes:
 *
 *   cluster       this bus is part of a cluster, as this host
 *   ID/place      the node is placed here, or elsewhere
 *   claims/       bell and lock of the daemon that answers claims; and ID, a FIFO that an opener of
 *                 that node makes and waits in
 *
 * Without `cluster` a bus is a host of its own, and who opens a node looks no further.
 *
 * Who opens a node has byte 0 of its lock. `place` says HERE: it goes on. Else it makes claims/ID
 * anew, rings claims/bell, and waits for the 256 bytes of an answer. The daemon removes the FIFO
 * before it answers, and answers when the stand-in has let go and `place` is written: so a claim is
 * answered once; who was killed left a FIFO without a reader; and an answer to him reaches nobody.
 */
#pragma once

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "node/files.h"
#include "tram/tram.h"

#define CLUSTER_MAGIC UINT64_C(0x54534c434d415254) /* "TRAMCLST" */
#define PLACE_MAGIC   UINT64_C(0x43414c504d415254) /* "TRAMPLAC" */
#define CLAIM_MAGIC   UINT64_C(0x4d494c434d415254) /* "TRAMCLIM" */
#define PLACE_VERSION 1u
#define PLACE_NAME    64 /* of a host, with its zero */
#define HOST_MAX      4095u

/* The file `cluster`. */
struct cluster {
    uint64_t magic;
    uint32_t version;
    uint32_t host;       /* number of this host, 1 … HOST_MAX */
    uint64_t instance[2];
    char name[PLACE_NAME]; /* of this host */
    uint64_t zero[4];
};

static_assert(offsetof(struct cluster, host) == 12, "layout");
static_assert(offsetof(struct cluster, instance) == 16, "layout");
static_assert(offsetof(struct cluster, name) == 32, "layout");
static_assert(sizeof(struct cluster) == 128, "layout");

#define PLACE_HERE 1u
#define PLACE_AWAY 2u

/* The file ID/place. */
struct place {
    uint64_t magic;
    uint32_t version;
    uint32_t id;
    uint32_t state;      /* PLACE_… */
    uint32_t host;       /* where it is placed */
    uint64_t epoch;      /* counts placements of the node */
    char name[PLACE_NAME]; /* of that host */
    uint64_t zero[4];
};

static_assert(offsetof(struct place, id) == 12, "layout");
static_assert(offsetof(struct place, state) == 16, "layout");
static_assert(offsetof(struct place, host) == 20, "layout");
static_assert(offsetof(struct place, epoch) == 24, "layout");
static_assert(offsetof(struct place, name) == 32, "layout");
static_assert(sizeof(struct place) == 128, "layout");

/* An answer in claims/ID. */
struct claim_answer {
    uint64_t magic;
    uint32_t version;
    uint32_t id;
    int32_t code;        /* 0: it is placed here, and may be opened; or a negative errno */
    uint32_t pid;        /* of the process that holds it over there, or 0 */
    uint64_t epoch;
    char text[224];      /* why not, whole sentences, with host and process; a zero at the end */
};

static_assert(offsetof(struct claim_answer, code) == 16, "layout");
static_assert(offsetof(struct claim_answer, epoch) == 24, "layout");
static_assert(offsetof(struct claim_answer, text) == 32, "layout");
static_assert(sizeof(struct claim_answer) == 256, "layout");

/* ---- the files ------------------------------------------------------------------------------- */

/* -ENOENT: there is none, so this bus is no part of a cluster; -EPROTO: of another version;
 * -EBADMSG. */
int cluster_read(int bus_dir, struct cluster *ret_cluster);
int place_read(int node_dir, tram_id id, struct place *ret_place);

/* ---- for nodes (place.c) --------------------------------------------------------------------- */

#define CLAIM_WAIT (UINT64_C(10) * 1000000000) /* ns that an opener waits for an answer */

/* Is the bus of a node that is being opened part of a cluster? */
int place_join(tram_node *node, struct tram_error *error);
/* Its byte 0 is ours: may it be opened here? Asks the daemon if the host does not know. -EAGAIN,
 * -EADDRINUSE, -EHOSTUNREACH, -EACCES: as the text says. */
int place_ask(tram_node *node, struct tram_error *error);
/* Something changed in its directory: was the node placed elsewhere? Then every call from now on is
 * -ESTALE. */
bool place_lost(tram_node *node);
int place_fenced(tram_node *node);

/* ---- the daemon's side ----------------------------------------------------------------------- */

/* Write `cluster` (magic, version and zeros are put in), in one step. */
int cluster_write(const struct bus *bus, const struct cluster *cluster);
/* This bus is a host of its own again. */
int cluster_remove(const struct bus *bus);
/* Write ID/place, in one step; the directory is made if it is missing. AWAY: who has the node open
 * all the same is told, and fenced (-ESTALE from then on). Never lowers an epoch: -ESTALE. */
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
