/* SPDX-License-Identifier: MIT
 *
 * Stand-ins: between the rings of this bus (node/stand.h) and the links (wire/link.h).
 */
#pragma once

#include "daemon/hosts.h"
#include "node/stand.h"
#include "wire/link.h"

/* A link's store is its struct host. */
extern const struct link_store stands_store;

/* A node is placed there from now on (0: not known): a stand-in for it is had, or not. */
void stands_place(struct hosts *hosts, tram_id id, uint32_t host, uint64_t epoch);
/* May that host send for the node now, in that epoch? LINK_TAKEN: so far. */
enum link_answer placing_sends(struct hosts *hosts, const struct link_name *name, uint32_t host,
                               uint64_t epoch);
/* The directory answered where it is. */
void stands_known(struct hosts *hosts, tram_id id);
/* Somebody opens it here: let go of it. 0: nobody stands in for it (any more). */
int stands_let_go(struct hosts *hosts, tram_id id);
/* The custody of a node that does not run here, for giving it up. -EBUSY: it runs, as the error
 * says. */
int stands_hold(struct hosts *hosts, tram_id id, struct stand **ret_stand,
                struct tram_error *error);
/* … of one that an opener here waits for, until what is known of it was entered. */
int stands_enter(struct hosts *hosts, tram_id id, struct stand **ret_stand,
                 struct tram_error *error);
/* What was known of a node that is placed elsewhere, and is known there now: mirrors of what others
 * send to it. */
int stands_forget(struct hosts *hosts, tram_id id);
/* All origins to that host are open: say so to it. */
void stands_settle(struct host *host);
