/* SPDX-License-Identifier: MIT
 *
 * Standing in: this host's side of a node R that is placed on another one (docs/HOSTS.md).
 *
 * Overview
 *   The daemon has one stand for each such node. Holding custody of R (byte 1 of its lock, not byte
 *   0, and not byte 2, for which senders would wait), it reads every ring from a node here to R, as
 *   R would (struct stand_in), and writes every ring from R to a node here, as R would (struct
 *   stand_out, a mirror). In between lies the link. Nothing here knows of links, frames or hosts;
 *   nothing here waits.
 *
 *     channel in     stand_next() says STAND_MORE; stand_in_run() gives records as they lie in the
 *                    ring; stand_in_handed() before their bytes leave; stand_in_commit() when they
 *                    were consumed on the other host, which frees them here
 *     channel out    stand_out_open(); stand_out_place() says where bytes go; stand_out_filled()
 *                    checks the records that are whole now, and publishes them; stand_out_look()
 *                    what of them was consumed, and how much more may come
 *
 *   Everything is counted in messages (`number`, record.seq): they go through streams, processes
 *   and hosts. Positions are each host's own.
 *
 * Contract
 *   One thread for a stand and all that it has. An error is a negative errno; what is not said to
 *   be an error of a channel is one of the machine, may go away, and changed nothing. Data that
 *   stand_in_run() pointed to stays where it is until stand_in_commit() passes it, or the call
 *   after the one that told STAND_GONE. Neither the sender of a channel in, nor the host that a
 *   mirror's bytes come from, nor the receiver of a mirror is trusted: each word and each record's
 *   header is read once, checked, and only the copy is used. Nonsense closes that one channel.
 *
 *   Mirrors. Beside from-R of a mirror lies `mirror-R`, which says so, and a byte of which is
 *   locked by who writes the mirror. So a mirror may be written on when R itself runs here (it
 *   moved here, and what it sent on another host before is still being delivered): R's process
 *   leaves it alone, and its sends to that receiver say -EAGAIN, until stand_out_remove().
 *
 * Why it is correct; death at any instruction
 *   In: the orders are those of ring/rx.h. What left is noted before (head->unsure, a number), so
 *   what R's receiver can have seen lies below it, whoever dies. `committed` is stored after R
 *   consumed it over there; a daemon that dies before has lost an acknowledgement, and hears it
 *   again. It keeps no other state: the next one finds consumed and handed in the head, and begins
 *   at consumed. Walks begin at what is committed, or at what they checked themselves.
 *   Out: the orders are those of ring/tx.h. Bytes are written above the tail, where nobody looks;
 *   the tail is stored when whole records were checked. So a daemon that dies has accepted a
 *   record or has not, and the next one, or R's, begins behind the tail. What was placed and is no
 *   whole record is nothing. Files are made in the order mark, head, stream, announcement, and
 *   removed in the order note, stream, head, mark. A mark without a stream of its id is nothing,
 *   and R may send; a mirror is there as long as its stream is, and then its words count, not a
 *   note. A death anywhere in between leaves one of these, and stand_out_open() goes on from each.
 *   Custody and the lock of a mark end with the process, by the kernel.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "node/files.h"
#include "ring/layout.h"
#include "tram/tram.h"

#define STAND_ORIGIN 16 /* bytes that name the life of a host's memory */

struct stand;
struct stand_in;
struct stand_out;

/* ---- the stand ------------------------------------------------------------------------------- */

/* For node `id` on the bus, which has to outlive it. `ring_max`: how far a mirror may grow for a
 * large message; 0: as a node's. Takes nothing yet. -ENOMEM. */
int stand_new(const struct bus *bus, tram_id id, uint64_t ring_max, struct stand **ret_stand);
/* Lets go of everything. Files stay. NULL is fine; returns NULL. */
struct stand *stand_free(struct stand *stand);

/* Become the custodian; its directory, lock, door and bell are made if they are missing. -EBUSY:
 * the node runs here, or is being opened, or somebody else acts for it (`tram rm`): the error says
 * who; -EPROTO: its files are of another layout version. Done already: 0. Then channels are told by
 * stand_next(). */
int stand_take(struct stand *stand, struct tram_error *ret_error);
/* From now on, or no longer: who opens the node here has its ID, and waits for us to have done
 * before it takes the custody. So stand_take() may while byte 0 is locked: of a node that runs,
 * byte 1 is, too. */
void stand_expect(struct stand *stand, bool opener);
/* No longer: what R consumed is given to its senders, the door is left as by a node that died, and
 * its opener has the custody when this returns. All struct stand_in are gone; mirrors stay, and
 * are written on. */
void stand_let_go(struct stand *stand);
bool stand_is_held(const struct stand *stand);
/* Somebody knocked: stand_next() has something. It is looked at in memory, so before stand_fd()
 * tells, and without a system call. */
bool stand_is_knocked(const struct stand *stand);

/* Readable when stand_next() has something. The stand's as long as it is held; it may be another
 * one after stand_due(), if somebody removed the bell. -EBADF: it is not held. */
int stand_fd(const struct stand *stand);

enum stand_what {
    STAND_OPENER = 1, /* somebody opens the node here, and waits for the custody */
    STAND_NEW,        /* a channel in was found: `in` */
    STAND_MORE,       /* `in` has records that no run gave yet. Told once; again after a run found
                         nothing */
    STAND_GONE,       /* `in` was removed here; it is no more after the next call of stand_next() */
    STAND_BROKEN,     /* `in` is closed: its sender wrote nonsense, as `text` says. No more runs */
    STAND_FREED,      /* the receiver of `out`, for which stand_out_want() was called, freed some */
    STAND_TROUBLE,    /* the directory could not be read, as `text` says: again after a while */
};

struct stand_news {
    enum stand_what what;
    struct stand_in *in;
    struct stand_out *out;
    const char *text; /* until the next call */
};

/* What happened, one thing at a time. 1: *ret_news; 0: nothing more: the rings are armed, and the
 * descriptor will be readable. Of a stand that isn't held: 0. */
int stand_next(struct stand *stand, struct stand_news *ret_news);

/* Do what falls due: the bounded re-look, memory given back. Returns when the next thing does
 * (sys_now()); what it found is told by stand_next(), which has to be called then. */
uint64_t stand_due(struct stand *stand, uint64_t now);

/* ---- channels in: from a node here to R ------------------------------------------------------ */

struct stand_in_state {
    tram_id from;
    uint64_t id;       /* of the stream, as a receiver is told it: with the channel's life */
    uint64_t consumed; /* numbers up to which messages are … committed, */
    uint64_t handed;   /* … may have left this host (at least consumed), */
    uint64_t accepted; /* … were sent */
    uint64_t capacity; /* of the newest ring */
    uint64_t largest;  /* span of the largest record that its ring can have */
    bool copy;         /* a mirror that R left behind (stand_out_keep()) */
    bool broken;
};

struct stand_in *stand_in_find(struct stand *stand, tram_id from);
void stand_in_state(struct stand_in *in, struct stand_in_state *ret_state);
/* The daemon's own, with the channel. */
void stand_in_set_user(struct stand_in *in, void *user);
void *stand_in_user(const struct stand_in *in);

struct stand_run {
    const void *data; /* in the ring */
    uint64_t size;    /* a multiple of LAYOUT_ALIGN */
    uint64_t first;   /* number of the record that data begins in … */
    uint64_t offset;  /* … at this byte of it; 0: at its header */
    uint64_t last;    /* number of the last record that ends in data; first - 1: none does */
    uint64_t left;    /* bytes of the record `last + 1` that begins in data, or before, which are
                         behind it; 0: data ends with a record */
};

/* The records from `number` on, from byte `offset` of the first of them, in one piece: whole
 * ones, as many as `most` bytes have, and no link; or, if the first is larger, or `offset` isn't 0,
 * a part of that one alone. consumed < number; offset is 0 or where a run ended. It costs a walk
 * unless number is what follows the last run, or is consumed + 1. 1: *ret_run; 0: nothing (yet):
 * more is told as STAND_MORE; -EINVAL: there is no such number; -EBADMSG: the channel is closed, as
 * a STAND_BROKEN will say; or what the machine says. */
int stand_in_run(struct stand_in *in, uint64_t number, uint64_t offset, uint64_t most,
                 struct stand_run *ret_run);

/* Before the bytes leave: messages up to `number`, that a run gave, may be seen over there. (Not
 * noted of a copy: all of it may have come from elsewhere in any case.) Also what no run gave in
 * this life, if it is said to be there: from before R was here in between, and the note of what had
 * left was taken back (stand_import()). -EINVAL: there is no such number; -EBADMSG; or what the
 * machine says. */
int stand_in_handed(struct stand_in *in, uint64_t number);

/* R has consumed up to `number`, which is at most what the runs of this life gave, or what was
 * handed: they are freed here, and the sender is rung if it waits. A number that was committed
 * before changes nothing. -EINVAL: never handed; -EBADMSG. */
int stand_in_commit(struct stand_in *in, uint64_t number);

/* R was removed on the other host (`tram rm`): so is the channel here, with what waits, and its
 * sender is told. Or it is a copy that is not needed any more: what was consumed of it is noted. A
 * STAND_GONE will say so. -EBADMSG; -EBUSY; or what the machine says: try it again. */
int stand_in_remove(struct stand_in *in);

/* The other host closed the mirror for good: the channel is closed here, and its sender told. */
void stand_in_close(struct stand_in *in, const char *why);

/* ---- channels out: mirrors of R's rings, to a node here -------------------------------------- */

struct stand_out_plan {
    tram_id to;
    uint64_t id;       /* as in struct stand_in_state: the mirror's is the same */
    uint64_t consumed; /* at the origin: the mirror begins behind it */
    uint64_t unsure;   /* messages up to this number may have been seen in a life that nobody
                          remembers: they come marked; 0: none */
    uint64_t capacity; /* wished; at most ring_max */
    uint64_t life;     /* how many of the bits at its end the id counts lives with: 0 */
    uint8_t origin[STAND_ORIGIN]; /* the life of the host that has the origin, for the mark */
};

/* What lies there instead. */
struct stand_other {
    uint64_t id;
    uint64_t accepted, consumed;
    bool mirror; /* or R's own, when it ran here */
    bool held;   /* by whom writes it: R, which runs here; or another daemon */
};

/* Make or find the mirror of the stream `id`. Needs no custody. Found, it goes on where its words
 * stand; made, it begins behind what was consumed at the origin, or here by a mirror of the same id
 * that was removed. The journal of a move that was entered before (stand_import()) is used up.
 *   -EEXIST       another stream lies there, as *ret_other says (may be NULL): drain it, and
 *                 stand_out_remove() it; or it is of this id, and the origin has forgotten (freed)
 *                 more than came here: likewise
 *   -EBUSY        another process writes it (another daemon), or R's own channel is being used
 *   -EHOSTUNREACH the receiver is an ephemeral node, and gone
 *   -EPROTO       its files are of another layout version
 *   -ENOTRECOVERABLE  it was closed for nonsense (`tram purge`)
 *   -ENOSPC … */
int stand_out_open(struct stand *stand, const struct stand_out_plan *plan,
                   struct stand_out **ret_out, struct stand_other *ret_other);
/* Leave it as it is. NULL is fine; returns NULL. */
struct stand_out *stand_out_close(struct stand_out *out);
struct stand_out *stand_out_find(struct stand *stand, tram_id to);
void stand_out_set_user(struct stand_out *out, void *user);
void *stand_out_user(const struct stand_out *out);

struct stand_out_state {
    uint64_t id;
    uint64_t accepted; /* number of the last message that is in the mirror */
    uint64_t consumed; /* … that the receiver has released */
    uint64_t handed;   /* … that it may have seen: a bound, accepted if that isn't known */
    uint64_t space;    /* bytes of records that may come beyond `accepted`, what is placed already
                          included */
    uint64_t placed;   /* bytes of a record that isn't whole yet */
};

/* -ENOTRECOVERABLE: the receiver closed it, or its words are nonsense, and the mirror is closed;
 * -ESTALE: the receiver was removed (with what waited): close it, open anew. */
int stand_out_look(struct stand_out *out, struct stand_out_state *ret_state);

/* Where the next bytes of the origin go, and how many: at most `most`, with memory behind them; as
 * a rule to the end of a chunk of 64 KiB. 0 bytes: it is full. -ENOSPC. */
int stand_out_place(struct stand_out *out, uint64_t most, void **ret_data, uint64_t *ret_size);
/* `size` bytes were written there. The records that are whole are checked (the number goes on,
 * the sender, size and flags), made this host's, published once, and the receiver is rung. What is
 * not whole stays placed. A record that is larger than the ring makes it grow: where the next bytes
 * go is to be asked each time. *ret_accepted: the number of the last one accepted. -EBADMSG:
 * nonsense, as stand_out_why() says; what was before it is accepted, the rest dropped; -EMSGSIZE:
 * larger than ring_max; else as stand_out_look(). On an error of the machine (-ENOSPC) everything
 * is placed, and a call with size 0 tries again. */
int stand_out_filled(struct stand_out *out, uint64_t size, uint64_t *ret_accepted);
/* The link was cut: what is placed and no whole record is forgotten. */
void stand_out_drop(struct stand_out *out);
/* Say STAND_FREED once the receiver has freed some. False: it has already, or R is not held here
 * (then look by the clock). */
bool stand_out_want(struct stand_out *out);
const char *stand_out_why(const struct stand_out *out);

/* Remove what lies in the directory of `to` from R, and note its id and what was consumed of it; an
 * open one is closed. R's own needs the custody, a mirror only that nobody else writes it.
 * By force: whatever waits, but mirrors only, for theirs is at the origin; also those whose files
 * contradict each other. -ENOTEMPTY: messages
 * wait; -EBUSY; -ENOENT: there is none. */
int stand_out_remove(struct stand *stand, tram_id to, bool force);
/* It has more than its origin ever had, so others wrote there who were believed to have a copy:
 * remove it, with what is said of copies of that stream; `consumed` of it is right, and no more. */
int stand_out_disown(struct stand_out *out, uint64_t consumed);
/* What was consumed of a stream from R to `to` that was removed here. -ENOENT: nothing is known. */
int stand_out_past(struct stand *stand, tram_id to, uint64_t id, uint64_t *ret_consumed);

/* R was ephemeral, and no stream of it comes again: what is known of those to `to` that were
 * removed goes. -ENOENT. */
int stand_out_forget(struct stand *stand, tram_id to);

struct stand_mirror {
    tram_id from, to;
    uint64_t id;
    uint8_t origin[STAND_ORIGIN];
};

/* Each mirror to `to` (0: to any) on the bus, open or not. Until `each` returns other than 0. */
int stand_mirrors(const struct bus *bus, tram_id to,
                  int (*each)(void *context, const struct stand_mirror *mirror), void *context);

/* ---- copies (stand_copy.c) ------------------------------------------------------------------- */

/* R's mirror to `to`, of which `to` was given up in order: what waits in it may be gone at its
 * origin by the time that the next host asks there. So it is read by the stand of `to` from now on,
 * as an origin is, and noted as a copy. `doubt`: all of it may have been seen, for it is not known
 * what was consumed elsewhere. Does not need R's custody, but that of `to`, or that it does not
 * run. -ENOENT: there is no mirror, or nothing waits in it; -EBUSY: another process writes it. */
int stand_out_keep(struct stand *stand, tram_id to, bool doubt);
/* `to` is placed here (again): what lies here is a mirror, as any. 0, also if it is none. */
int stand_out_unkeep(struct stand *stand, tram_id to);
/* It has its origin in the life of another host's memory than is noted. */
int stand_out_from(struct stand_out *out, const uint8_t origin[STAND_ORIGIN]);

/* What R's host, or one where it was before, says of streams that have no ring of their own there;
 * host 0: `number` messages of it were consumed; else: that host has a copy, up to `number`. */
struct stand_note {
    tram_id from;
    uint32_t host;
    uint64_t id, number;
};

/* What is known here of the stream `id` from `from` to `to`: what was consumed of it, and which is
 * the last number that a copy on that host may have, 0: none. */
int stand_copy_find(const struct bus *bus, tram_id from, tram_id to, uint64_t id, uint32_t host,
                    uint64_t *ret_consumed, uint64_t *ret_accepted);
/* Is there one of another stream than `id`: on which host? -ENOENT. */
int stand_copy_other(const struct bus *bus, tram_id from, tram_id to, uint64_t id,
                     uint32_t *ret_host);
/* That host has one, up to `accepted`, as it says itself. -EMLINK: of more senders than a node can
 * have is known. */
int stand_copy_tell(const struct bus *bus, tram_id from, tram_id to, uint64_t id, uint32_t host,
                    uint64_t accepted);
/* The instance of the host that the mirror came from. -ENOENT: there is none. */
int stand_copy_origin(const struct bus *bus, tram_id from, tram_id to,
                      uint8_t ret_origin[STAND_ORIGIN]);
/* It is not there any more. -ENOENT: there was none. */
int stand_copy_forget(const struct bus *bus, tram_id from, tram_id to, uint64_t id, uint32_t host);

/* ---- moves ----------------------------------------------------------------------------------- */

/* What a receiver's host knows of a channel, for the host that the receiver moves to. */
struct stand_journal {
    tram_id from;
    bool mirror;       /* of an origin on another host than that which exports */
    uint64_t id;       /* as above */
    uint64_t consumed, handed, unsure;
    uint64_t accepted; /* of the ring that lies there: with stand_export() only */
    uint64_t epoch;    /* of the placement that it is entered for: as long as `place` says that, it
                          is exact; another, or 0: what may have left otherwise is marked as well */
    uint32_t count;    /* of what follows */
    struct stand_hand {
        uint64_t number;  /* above consumed, rising */
        uint8_t attempts; /* hand-outs by processes that died, this one's included */
        bool released;    /* though one before it was not */
    } hands[LAYOUT_WINDOW];
};

struct stand_exported {
    int (*journal)(void *context, const struct stand_journal *journal);
    int (*note)(void *context, const struct stand_note *note);
};

/* Each channel into R on this host, mirrors included, and journals that were entered and not used
 * yet; and what else is known of streams. Needs the custody. Until one returns other than 0. */
int stand_export(struct stand *stand, const struct stand_exported *each, void *context);

/* Before R is opened here, or the mirror of that stream is: into the words of the origin, or of the
 * copy, if it lies here; else it is kept for stand_out_open() of the stand of the sender. Needs the
 * custody. May be repeated. -EEXIST: a mirror of that sender lies here, from before R went away:
 * stand_out_keep() it first, or, if that finds nothing, remove it, by force. -EINVAL: it makes no
 * sense (it came from another host); -EMLINK: of more senders than a node can have is known. */
int stand_import(struct stand *stand, const struct stand_journal *journal);
/* … and before any stand_import(). */
int stand_import_note(struct stand *stand, const struct stand_note *note);
