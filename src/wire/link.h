/* SPDX-License-Identifier: MIT
 *
 * The link: all that two daemons say to each other, as a state machine. Bytes and time in, bytes
 * out; no descriptor, clock or thread. Normative text of the frames: docs/PROTOCOL.md, "Links"; why
 * it is so: docs/HOSTS.md.
 *
 * One struct link for each pair of hosts. It outlives connections: channels out stay, and are said
 * anew on each. What it carries lies in *stores*: the rings, behind the functions of struct
 * link_store. The link itself holds no message, neither on the way out (what is written points into
 * the origin) nor in (what is read goes into the mirror).
 *
 *     origin on A, run      -> DATA ->            place, filled: mirror on B
 *     commit frees it       <- ACK, consumed <-   look
 *
 * A channel is (from, to, stream id). Messages have their number (seq, from 1). "Up to n" is a
 * count: all messages with numbers ≤ n. At all times
 *
 *     A: committed ≤ handed ≤ accepted        B: consumed ≤ accepted ≤ A's handed
 *
 * (but for a mirror of before the receiver was on A, which A hears of by its STATE, or REFUSED).
 *
 * USE
 *
 *     link_new                      for a host that is known, once
 *     struct greet (link_hello.h)   for each transport; link_meet() takes it, or not
 *     link_pieces, link_wrote       while there is something to write
 *     link_rooms, link_came         when something came
 *     link_cut                      the transport ended
 *     link_time at link_next        timers
 *     link_open, link_close         channels out: rings here to nodes that are placed on that host
 *     link_kick                     the origin has something new
 *
 * Reading, straight into the mirror: link_rooms() gives the places of the next bytes, one to three;
 * pass them to readv(2) as they are (or the first alone, to SSL_read), then link_came() with the
 * number of bytes that came. While a large body is expected the first place lies in the store's
 * memory. The places are good until the next call of any function of this link.
 *
 * Writing, straight out of the origin: link_pieces() gives what is to be written, for writev(2);
 * then link_wrote() with what of it was taken. The pieces are good until link_wrote(), link_close()
 * or link_cut(); no function of the link has to be called in between, but any may, but then ask for
 * the pieces again.
 *
 * A store's function is never called but inside a call of the link, and may call link_kick(),
 * link_ready(), link_refuse(), link_control() and link_open(), but not what reads, writes, closes,
 * cuts or frees the link: link_close() of *another* channel out is allowed, and of the one it is
 * about in `answered`.
 *
 * THE PEER IS NOT TRUSTED. What breaks the frames ends the connection (-EBADMSG, link_wrong());
 * what breaks one channel (a nonsense record, which may be the sender's doing) ends that channel.
 * What is held for a peer is bounded: link_config.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/link_hello.h"

#define LINK_PART 65536u       /* largest body of a frame */
#define LINK_CONTROL_MAX LINK_PART
#define LINK_CHANNELS 65536u   /* each way, on one link; part of the protocol */
#define LINK_ROOMS 2           /* link_rooms() gives at most */
#define LINK_PIECES 128        /* link_pieces() gives at most */

struct link;
struct link_in;  /* a channel into this host, of the present connection */
struct link_out; /* a channel out of this host; stays through connections */

/* ---- what is said of a channel --------------------------------------------------------------- */

struct link_name {
    uint32_t from, to;
    uint64_t stream;      /* the id of the origin, and of its mirror */
};

#define LINK_YIELDED UINT64_MAX
#define LINK_LOST (UINT64_MAX - 1)

/* What the origin says (OPEN). */
struct link_offer {
    uint64_t consumed;    /* it has committed up to here: these never come again */
    uint64_t handed;      /* up to here may have left this host, since the receiver was here */
    uint64_t accepted;    /* up to here is there. Grows later */
    uint64_t from_epoch;  /* of the sender's placement on this host: the last one that it had here;
                             LINK_YIELDED: it was given up in order, so nothing here is fenced;
                             0: it is a copy; LINK_LOST: one whose origin's host has no memory */
    uint64_t to_epoch;    /* of the receiver's placement on that host, as known here */
};

/* How a mirror is (STATE). */
struct link_state {
    uint64_t accepted;    /* up to here it has whole records, published */
    uint64_t consumed;    /* up to here its receiver is done with; ≤ accepted */
    uint64_t space;       /* bytes that may come behind what was placed so far */
};

/* What the mirror's side says of a channel, if not STATE. */
enum link_answer {
    LINK_TAKEN,   /* it may send */
    LINK_WAIT,    /* an older stream of the same (from, to) is drained first; you are told */
    LINK_AWAY,    /* the receiver is not placed here (any more) */
    LINK_STALE,   /* the sender is placed elsewhere, with a higher epoch: you are fenced */
    LINK_REMOVED, /* the receiver was removed here (tram rm): what was not consumed is lost */
    LINK_BROKEN,  /* nonsense was seen in it */
    LINK_DENIED,  /* the config does not allow that this host sends for that node, or to that one */
    LINK_LATER,   /* no memory, no descriptors, too many channels: asked again by timer */
    LINK_PAST,    /* more of this stream came here than that origin has: it is a copy left over */
    LINK_ANSWERS,
};

/* Why a channel ends. */
enum link_end {
    LINK_CUT,     /* only the connection: a mirror stays as it is */
    LINK_ENDED,   /* the origin is drained and gone, or given up: no more of this stream, ever */
    LINK_MOVED,   /* the origin stays, but does not go this way any more */
    LINK_REFUSED, /* by ourselves (link_refuse, nonsense) */
    LINK_ENDS,
};

/* ---- what the link drives: rings in the daemon, memory in the simulator ---------------------- */

/* The next bytes of an origin, in one piece. */
struct link_run {
    const void *bytes;    /* stay readable until written, or link_close() or link_cut() */
    uint32_t size;        /* > 0 */
    uint64_t last;        /* number of the last message whose end is among them; 0: of none */
    uint64_t seq;         /* the next run begins in message `seq`, `offset` bytes into it */
    uint64_t offset;
    bool more;            /* something is there already behind them */
    bool want;            /* the ring is half full, or its sender waits: consumed? say it soon */
};

/* All of a store answer at once. Results below 0 are errno. `store` is link_new()'s, `channel` is
 * link_open()'s for a channel out and what `open` returned for one in. */
struct link_store {
    /* ---- origins: channels out ---- */

    /* How the origin is: said to each new connection. < 0: it can't be said now (asked again at the
     * next connection, or link_kick()). */
    int (*offer)(void *store, void *channel, struct link_offer *ret_offer);

    /* The next bytes: of records as they lie in the ring, links left out, from byte `offset` of
     * message `seq` on; at most `max` (> 0, ≤ LINK_PART). Whole records (or the rest of one, and
     * whole ones behind it), as many as fit; or as much of one as fits, if it alone is larger than
     * `max`. What it gave may not be used, and asked for once more. The first call on a connection
     * names any message above `consumed`; later ones go on where the last run said. 1; 0: nothing
     * there now (the store kicks when there is, and has made sure that it will); -EBADMSG: the ring
     * is nonsense: the channel is closed (LINK_BROKEN is told to both). */
    int (*run)(void *store, void *channel, uint64_t seq, uint64_t offset, uint32_t max,
               struct link_run *ret_run);

    /* The records up to `seq` are about to leave. To be stored before it returns (the origin's
     * `handed`): after a crash these may have been seen. < 0: they don't leave, the channel rests
     * until the next kick. Also when a mirror says that it has them, from before; `seq` is no more
     * than `offer` had, but was perhaps never asked for by `run`. -EINVAL, -EBADMSG: it can't have
     * them: LINK_BROKEN; else < 0: the connection ends. */
    int (*handed)(void *store, void *channel, uint64_t seq);

    /* The receiver is done with all up to `consumed`: free them. Only rises, never above what was
     * handed. */
    void (*commit)(void *store, void *channel, uint64_t consumed);

    /* The peer does not take the channel, or not any more; nothing is sent on it until it is opened
     * anew: by the next connection, by the peer's STATE (after LINK_WAIT and LINK_LATER it comes by
     * itself), or link_close() and link_open(). What to do is the store's business:
     * AWAY: ask the directory, then link_close() and link_open(), though it may be on the same link
     * (who is asked may know less than who asks); STALE: nothing, what is left is listed; PAST:
     * remove it; REMOVED: as tram rm of the receiver; BROKEN: mark the origin; DENIED: log.
     * `consumed` has been committed before. */
    void (*answered)(void *store, void *channel, enum link_answer answer, uint64_t consumed);

    /* ---- mirrors: channels in ---- */

    /* The peer has this origin. Make or find the mirror; *ret_channel for the calls below. `in`:
     * for link_ready() and link_refuse(), until `closed`. Returns an enum link_answer. On LINK_WAIT
     * and LINK_LATER *ret_channel and `in` are good, too, and `open` is called again, with
     * *ret_channel as it was left (NULL at first), after link_ready() or some time. Any other
     * answer than these and LINK_TAKEN is final: `in` and channel are no more, and there is no
     * `closed` for them; ret_state->consumed is told to the peer, if it is known. The rules:
     *   - no mirror of this stream: it is made with accepted = consumed = offer->consumed and
     *     *unsure* = offer->handed: messages up to there come marked. But if what the receiver's
     *     last host said when it gave the node up is known (consumed, handed, window), that is it
     *     instead.
     *   - a mirror of this stream: as it is; but at least offer->consumed is consumed. If that is
     *     more than it has accepted it is made anew, as above.
     *   - a mirror of another stream of (from, to): LINK_WAIT until that is drained and its origin
     *     gone (`closed` with LINK_ENDED, or not named when `settled` comes) or fenced. Then its
     *     files are removed, leaving a note: *past*, its stream and end.
     *   - no mirror, but a note that this stream is past, up to n: made with accepted = consumed =
     *     max(n, offer->consumed).
     *   - the mirror, or the note, has more than offer->accepted: LINK_PAST.
     *   - the receiver is not placed here: LINK_AWAY. The sender is placed elsewhere with a higher
     *     epoch than offer->from_epoch: LINK_STALE.
     *   - the same (from, to, stream) is open already on this link: -EEXIST, and the connection
     *     ends; on another one: LINK_WAIT. */
    int (*open)(void *store, struct link_in *in, const struct link_name *name,
                const struct link_offer *offer, void **ret_channel, struct link_state *ret_state);

    /* Room for the next bytes, behind those that were placed and not published: writable, at least
     * one byte, contiguous. Changes nothing that is seen. -ENOSPC, -ENOMEM: the channel stalls:
     * the store forgets what was placed, the peer is told to stop; some time later (100 ms,
     * doubling to 1 s, or at link_ready()) the link calls `look` and `place` again, and if there is
     * room, lets the peer go on behind `accepted`. Any other error: LINK_BROKEN; unless this
     * function called link_refuse() for a reason that is a better one. */
    int (*place)(void *store, void *channel, struct link_room *ret_room);

    /* `size` bytes lie in the place. Check the records that are whole now: number = accepted + 1 …,
     * source, size, flags, padding; publish them all at once, never a part of one. What is behind
     * the last whole one stays placed. A record that is larger than the ring makes it grow (what
     * was placed of it moves). *ret_rest: bytes placed and not published. Errors as of `place`;
     * -EBADMSG is nonsense. *ret_state must be right all the same. */
    int (*filled)(void *store, void *channel, size_t size, struct link_state *ret_state,
                  uint64_t *ret_rest);

    /* How is it now? `space` may grow by what was consumed, and shrink only by what was placed. */
    void (*look)(void *store, void *channel, struct link_state *ret_state);

    /* Call link_kick_in() as soon as the receiver has consumed anything beyond what `look` last
     * said. (A mirror writer's "wake me when there is space".) Once. */
    void (*want)(void *store, void *channel);

    /* The channel in is no more, and `in` with it. What was placed and not published is forgotten.
     * `more`: the origin had more than has come. LINK_ENDED: the stream is over; if `more`, it was
     * cut short. */
    void (*closed)(void *store, void *channel, enum link_end end, bool more);

    /* The peer has named all its origins to nodes here: mirrors of streams that come from it and
     * were not opened since the connection began (with LINK_WAIT or otherwise) have no origin any
     * more. If the last state of such a channel said that more was waiting, it was cut short, by at
     * least one message. */
    void (*settled)(void *store);

    /* ---- beside the channels ---- */

    /* A frame of the layer above (link_control() over there): good during the call. Complete, in
     * order, once in a connection; what was said in an earlier connection may or may not have come.
     * -EBADMSG: nonsense: the connection ends; link_wrong_set() says why. */
    int (*control)(void *store, const void *bytes, size_t size);

    /* The connection is there: say all again, then call link_settle(). / It is gone. */
    void (*up)(void *store, const struct link_peer *peer);
    void (*down)(void *store);

    /* CLOCK_REALTIME in ns, for stamps: what comes of it is only shown. */
    uint64_t (*wall)(void *store);
};

/* ---- making one ------------------------------------------------------------------------------ */

/* 0: what is named here. Times in ns. */
struct link_config {
    uint64_t beat;        /* 2 s: a PING so often */
    uint32_t misses;      /* 5: so many without a word: the connection is dead */
    uint64_t silent;      /* 100 ms: something is expected, nothing came: link_wants() says dial */
    uint64_t ack;         /* 2 ms: acknowledgements wait so long for company; then doubling … */
    uint64_t ack_slow;    /* … to 256 ms while nothing changes */
    uint32_t control;     /* 4 MiB: bytes of CONTROL frames that wait here */
};

/* Who we are, whom it goes to, and the store. `self`, `vtable` and `store` stay the caller's and
 * there. -ENOMEM */
int link_new(const struct link_identity *self, const char *peer_host,
             const struct link_config *config, const struct link_store *vtable, void *store,
             struct link **ret_link);

/* Cuts first. NULL is fine; returns NULL. No `closed` comes for channels out. */
struct link *link_free(struct link *link);

/* ---- connections ----------------------------------------------------------------------------- */

enum link_meet {
    LINK_MEET_TAKEN, /* write what greet has left, then drive the link with this transport; the
                        one of before, if any, has been cut by this call: close it */
    LINK_MEET_WAIT,  /* the other side decides: read on */
    LINK_MEET_DROP,  /* greet has a BYE: write it, close */
};

enum link_meet link_meet(struct link *link, struct greet *greet, uint64_t now);

/* Should a (further) connection be dialled: none is in use, or the one in use is silent. To be
 * asked after what is there was read. When that may change is among link_next(). */
bool link_wants(const struct link *link, uint64_t now);

bool link_is_up(const struct link *link);

/* The transport in use is gone, or is given up. */
void link_cut(struct link *link, uint64_t now);

/* What may be read, and where to: 1 to LINK_ROOMS. */
int link_rooms(struct link *link, struct link_room rooms[LINK_ROOMS]);

/* So many bytes came. < 0: the connection must end: write what link_pieces() gives (a BYE that says
 * why) as far as that goes at once, close, link_cut(). -ECONNRESET: the peer said BYE; -EBADMSG:
 * nonsense; -ENOMEM. link_wrong() has the text. */
int link_came(struct link *link, uint64_t now, size_t size);

/* rooms and came for who has the bytes already. */
int link_read(struct link *link, uint64_t now, const void *bytes, size_t size);

/* What is to be written now; 0: nothing. *ret_pieces stays the link's. */
int link_pieces(struct link *link, uint64_t now, const struct link_piece **ret_pieces);
void link_wrote(struct link *link, uint64_t now, size_t size);

/* Is there anything to be written? (link_pieces() would tell, too.) */
bool link_has(const struct link *link);

/* Timers: link_time() at link_next() (UINT64_MAX: never) or any time. -ETIMEDOUT: the peer is not
 * there any more: close, link_cut(). */
uint64_t link_next(const struct link *link);
int link_time(struct link *link, uint64_t now);

/* What went wrong last, for people. Never NULL. */
const char *link_wrong(const struct link *link);
int link_wrong_set(struct link *link, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- channels out ---------------------------------------------------------------------------- */

/* From now on this origin goes over this link. May be called at any time; the peer is told when a
 * connection is there. -EEXIST: is open; -ENOMEM; -EDQUOT: too many. */
int link_open(struct link *link, const struct link_name *name, void *channel,
              struct link_out **ret_out);

/* No more of it: `end` is LINK_ENDED or LINK_MOVED. What is on its way to the socket is copied, so
 * the ring may be unmapped afterwards. `commit` may not come any more: with LINK_MOVED who closes
 * gets the last consumed count by another way. `more`: the peer lacks some of it. Returns NULL. */
struct link_out *link_close(struct link *link, struct link_out *out, enum link_end end, bool more);

/* Something may be there to be sent. */
void link_kick(struct link *link, struct link_out *out);

/* All channels out that there are have been opened, after `up`: the peer's `settled` is called
 * behind them. Not before all of them could be read: what is missing there is taken for gone. */
void link_settle(struct link *link);

struct link_out_info {
    struct link_name name;
    enum link_answer answer; /* LINK_TAKEN: it may send */
    bool open;               /* the peer has answered, on this connection */
    uint64_t sent, accepted, consumed; /* counts: whole records sent; what the peer last said */
    uint64_t credit;         /* bytes that may still be sent */
    bool stalled;            /* the peer has no memory for it */
    uint64_t bytes, stalls;
};

void link_out_info(const struct link_out *out, struct link_out_info *ret_info);

/* ---- channels in ----------------------------------------------------------------------------- */

/* After LINK_WAIT or LINK_LATER, or a stall: ask again. */
void link_ready(struct link *link, struct link_in *in);

/* The receiver consumed something (see `want`). */
void link_kick_in(struct link *link, struct link_in *in);

/* Stop this channel: the peer gets `answer`, with what is consumed now; `closed` is called from
 * this function with LINK_REFUSED, unless the answer is LINK_WAIT: then `open` is called again
 * after link_ready(). */
void link_refuse(struct link *link, struct link_in *in, enum link_answer answer);

/* ---- beside ---------------------------------------------------------------------------------- */

/* Say something to the layer above over there (its store's `control`). Copied. -ENOTCONN: no
 * connection; -ENOBUFS: too much waits; -EMSGSIZE; -ENOMEM. */
int link_control(struct link *link, const void *bytes, size_t size);

/* Bytes of these that wait to be written. */
size_t link_control_waits(const struct link *link);

struct link_stats {
    uint64_t since;             /* `now` of the last link_meet() that took a connection; 0: never */
    uint64_t connections;       /* so far */
    uint64_t bytes_out, bytes_in;
    uint64_t messages_out, messages_in; /* whole records */
    uint64_t frames_out, frames_in;
    uint64_t retransmitted;     /* bytes of records sent once more */
    uint64_t dropped;           /* bytes that came and weren't wanted, behind a stall */
    uint64_t stalls_out, stalls_in; /* for want of credit; for want of memory */
    uint64_t rtt;               /* ns, smoothed; 0: not known */
    uint64_t rtt_min;           /* of the last eight */
    int64_t offset;             /* the peer's CLOCK_REALTIME - ours, by the fastest of eight */
    bool offset_known;
    uint64_t heard;             /* `now` when something last came */
    uint32_t out, in;           /* channels */
};

void link_stats(const struct link *link, struct link_stats *ret_stats);
const struct link_peer *link_peer(const struct link *link); /* of the last connection */
