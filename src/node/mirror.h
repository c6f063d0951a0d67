/* SPDX-License-Identifier: MIT
 *
 * The files beside a mirror (docs/SEGMENT.md §14), in the directory of its receiver:
 *
 *   mirror-S   the mark: the channel from S is a mirror of the stream `id` on another host. Byte 0
 *              is locked (OFD) by who writes it, which is not S: S leaves the channel alone while
 *              its stream and this mark name the same id. A mark without such a stream is nothing.
 *              `copy`: D was given up in order, and what waits here may lie nowhere else by now: it
 *              is offered to D's new host, as an origin is
 *   past-S     what is known of streams from S that were removed here; the journal of a move that
 *              came before the mirror that it is for; and which hosts may offer a copy
 */
#pragma once

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "node/node.h"
#include "node/stand.h"

#define MARK_MAGIC    UINT64_C(0x4b52414d4d415254) /* "TRAMMARK" */
#define PAST_MAGIC    UINT64_C(0x545341504d415254) /* "TRAMPAST" */
#define MARK_VERSION  2u
#define PAST_VERSION  1u
#define PAST_STREAMS  15u
#define PAST_COPIES   4u
#define PAST_HOSTS    4095u /* numbers of hosts are from 1 to that */
#define MARK_LOCK     0u /* the byte that is locked */

struct mirror_mark {
    uint64_t magic;
    uint32_t version;
    uint32_t copy;
    uint32_t from, to;
    uint64_t id;
    uint8_t origin[STAND_ORIGIN]; /* which life of a host it came from first */
};

static_assert(offsetof(struct mirror_mark, from) == 16, "layout");
static_assert(offsetof(struct mirror_mark, id) == 24, "layout");
static_assert(sizeof(struct mirror_mark) == 48, "layout");

struct past {
    uint64_t magic;
    uint32_t version;
    uint32_t zero;
    uint32_t from, to;
    uint64_t zero2;

    /* Of a move, for the mirror of the stream `id`; 0: none. Window words as in struct head. */
    uint64_t id, consumed, handed, unsure;
    uint64_t epoch; /* of the receiver's placement, for which it is exact; 0: for none */

    /* Streams that were removed, the latest first; id 0: none. */
    struct past_stream {
        uint64_t id, consumed;
    } streams[PAST_STREAMS];

    /* Copies of streams that lie on hosts where the receiver was, the latest first; id 0: none. */
    struct past_copy {
        uint64_t id, accepted;
        uint64_t host;
    } copies[PAST_COPIES];
    uint64_t zero3[LAYOUT_WINDOW - 9 - 2 * PAST_STREAMS - 3 * PAST_COPIES];

    uint64_t window[LAYOUT_WINDOW];
};

static_assert(offsetof(struct past, id) == 32, "layout");
static_assert(offsetof(struct past, epoch) == 64, "layout");
static_assert(offsetof(struct past, streams) == 72, "layout");
static_assert(offsetof(struct past, copies) == 312, "layout");
static_assert(offsetof(struct past, window) == 4096, "layout");
static_assert(sizeof(struct past) == 8192, "layout");

/* Is there a mark? 1, 0, or what the machine says: not to know is not to say that there is none. */
int mirror_lies(int dir, tram_id from);
/* … that says `copy`? Likewise. */
int mirror_is_copy(int dir, tram_id from);
/* As who has, or takes, the custody of `from` and means to send: is the channel a mirror, to be
 * left alone? 1, 0 (a mark without one is removed), or what the machine says. */
int mirror_bars(int dir, tram_id from);
/* The same for a send: 0, or -EALREADY. */
static inline int mirror_refuses(int dir, tram_id from) {
    int rc = mirror_bars(dir, from);

    return rc == 1 ? -EALREADY : rc;
}
/* Say so: -EAGAIN. An event is owed (TRAM_EVENT_SPACE) when the mirror is gone. */
int mirror_barred(tram_node *node, tram_id to);
/* Is a send to `to` in vain because of one? */
bool mirror_waits(tram_node *node, tram_id to);
/* Wait for something to change. 0, or -ETIMEDOUT. */
int mirror_wait(tram_node *node, tram_id to, uint64_t deadline);
/* The peer knocked, or everything is looked at. */
void mirror_look(tram_node *node, struct peer *peer);
/* As custodian of `from`, before its channel is touched: *ret_fd is -1 if it is no mirror; else a
 * descriptor that has the mark locked until it is closed. -EBUSY: somebody writes it. */
int mirror_guard(int dir, tram_id from, int *ret_fd);

/* ---- for stand-ins (stand_mark.c) ------------------------------------------------------------ */

/* Lock the mark. With `make` it is made if it is missing; else -ENOENT. -EBUSY: another has it. */
int mirror_lock(const struct bus *bus, int dir, tram_id from, bool make, int *ret_fd);
int mirror_mark_read(int fd, struct mirror_mark *ret_mark);
int mirror_mark_write(const struct bus *bus, int fd, const struct mirror_mark *mark);

/* Zeros if there is none, or none that makes sense. */
int past_read(int dir, tram_id from, tram_id to, struct past *ret_past);
int past_write(const struct bus *bus, int dir, const struct past *past);
/* How many there are is added to *count. */
int past_count(int dir, uint32_t *count);
/* What was consumed of a stream that was removed. -ENOENT. */
int past_find(const struct past *past, uint64_t id, uint64_t *ret_consumed);
void past_note(struct past *past, uint64_t id, uint64_t consumed);
/* A journal begins; what another one in its place says of what was consumed is noted. */
void past_enter(struct past *past, uint64_t id, uint64_t consumed);
/* No copy of it is needed up to there. */
void past_had(struct past *past, uint64_t id, uint64_t consumed);
/* That host has a copy of the stream, up to `accepted`; 0: none (any more). Was one known? */
bool past_copy(struct past *past, uint64_t id, uint32_t host, uint64_t accepted);
