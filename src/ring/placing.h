/* SPDX-License-Identifier: MIT
 *
 * The layout of the files that say on which host a node may be opened: normative text in
 * docs/SEGMENT.md §14. Each is written whole, by renaming, and read whole.
 */
#pragma once

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define CLUSTER_MAGIC UINT64_C(0x54534c434d415254) /* "TRAMCLST" */
#define PLACE_MAGIC   UINT64_C(0x43414c504d415254) /* "TRAMPLAC" */
#define CLAIM_MAGIC   UINT64_C(0x4d494c434d415254) /* "TRAMCLIM" */
#define PLACE_VERSION 1u
#define PLACE_NAME    64 /* of a host, with its zero */
#define HOST_MAX      4095u
#define HOST_IDS      65535u /* ephemeral ones of a host */

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
    uint64_t here;       /* the last epoch in which it was placed here; 0: not known */
    uint64_t taken;      /* the last epoch in which it came without what the host before knew */
    uint64_t zero[2];
};

static_assert(offsetof(struct place, here) == 96, "layout");
static_assert(offsetof(struct place, taken) == 104, "layout");
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
