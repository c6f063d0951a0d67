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
/* It is not here any more: what other hosts send here for it has to go elsewhere. */
void stands_refuse(struct hosts *hosts, tram_id id);
/* Each that is placed here, until `each` returns other than 0. */
void placing_each_here(struct hosts *hosts, int (*each)(void *context, tram_id id), void *context);
/* It came here without what its host before knew (a take-over; that host lost its memory). */
bool placing_is_taken(struct hosts *hosts, tram_id id);
/* It was placed here less than that span ago. */
bool placing_is_new(struct hosts *hosts, tram_id id, int64_t span);

/* ---- copies.c: mirrors of what others send to a node, when it moves -------------------------- */

/* It is given up in order: what waits here for it is kept, as copies. */
int copies_keep(struct hosts *hosts, tram_id id);
/* … and what was known of it here is known at its new host: the other mirrors go. */
int copies_given(struct hosts *hosts, tram_id id);
/* It is back by a take-over. */
int copies_back(struct hosts *hosts, tram_id id);
/* It is placed here, whatever was before: what lies here is no copy (any more). */
int copies_here(struct hosts *hosts, tram_id id);
/* A host lost its memory, or was forgotten: copies of what came from there may be all there is. */
void copies_lost(struct hosts *hosts);
/* It comes in order; a mirror from that sender lies here from before. */
int copies_reuse(struct hosts *hosts, tram_id from, tram_id id);
/* All origins to that host are open: say so to it. */
void stands_settle(struct host *host);
