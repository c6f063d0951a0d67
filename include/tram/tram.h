/* SPDX-License-Identifier: MIT
 *
 * tram: a message bus. Two IDs and one call.
 *
 * A node is an identity on a bus, held by one process at a time. What one node sends to another
 * goes into a ring, a file in the bus directory, which only these two ends write. What tram_send()
 * accepted arrives once and in order, also when the sender, the receiver or both are killed in
 * between; what a dead receiver had in hand comes again, marked (attempt in struct tram_msg).
 *
 * Conventions
 *   - A function returns 0 or a positive number, or a negative errno. Out-parameters (ret_…) are
 *     written on success only. tram_last_error() has the text, and what to do.
 *   - Time-outs are nanoseconds on CLOCK_MONOTONIC: 0 does not wait, TRAM_FOREVER has no end.
 *   - No function starts a thread, prints, aborts or calls back. Signals do not end a wait. The
 *     first tram_open() installs a SIGBUS handler (TRAM_OPEN_NO_SIGBUS: not), chained to yours.
 *   - A node may be handed from thread to thread, but is used by one at a time: a call while
 *     another one is inside returns -EBUSY. Different nodes are independent.
 *   - In a forked child every node of the parent answers -ECHILD; tram_close() frees its memory
 *     there and does nothing else. A child that needs the bus opens a node of its own.
 *   - Options structs start with their size (the …_INIT macros set it), so that they can grow.
 *
 * A bus on a disk
 *   - A bus lies in memory (tmpfs) unless its directory is elsewhere. On a disk it survives the
 *     machine. Records have checksums there, which costs a pass over each message; opening and
 *     closing a channel waits for the disk.
 *   - After a stop without an orderly close what waits is handed out marked (attempt > 1). What was
 *     accepted and is not on the disk whole is lost, with all behind it in that channel: never
 *     handed out, counted (lost in struct tram_way), and no longer in tram_accepted(). Sequence
 *     numbers go on where the channel ends, with another `stream` in struct tram_msg.
 *   - TRAM_DURABLE makes a send wait for the disk.
 *
 * Errors that every function may return, beside those named with it
 *   -EINVAL   an argument is NULL or out of its range; an invalid ID; unknown flags
 *   -EBUSY    another thread is inside a call on this node
 *   -ECHILD   the node was opened by the parent of this process
 *   -ENOMEM, -ENFILE, -EMFILE, -ENOSPC   the machine ran out; nothing was accepted, nothing leaked
 *   -EACCES, -EIO, -ENOLCK, -EFBIG …   of the file system and its limits, when files are made,
 *             opened, locked or read. All of these are of the moment: the same call may succeed the
 *             next time. Where nothing else says so, -EAGAIN is never one of them
 */
#ifndef TRAM_TRAM_H
#define TRAM_TRAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TRAM_API __attribute__((visibility("default")))

#define TRAM_VERSION_MAJOR 0
#define TRAM_VERSION_MINOR 1
#define TRAM_VERSION_PATCH 0

/* ---- IDs ------------------------------------------------------------------------------------ */

/* The ID of a node, written like an IPv4 address; 1.2.3.4 is 0x01020304. 0.0.0.0 and
 * 255.255.255.255 are invalid; 240.0.0.0/4 is for ephemeral nodes. */
typedef uint32_t tram_id;

#define TRAM_ID(a, b, c, d)                                                                        \
    (((tram_id) (a) << 24) | ((tram_id) (b) << 16) | ((tram_id) (c) << 8) | (tram_id) (d))

/* To tram_open(): choose a free ID out of 240.0.0.0/4. The node, and what waits for it, goes when
 * it is closed; if its process dies, when one of the next ephemeral nodes opens, or when whom it
 * sent to notices. What it had sent is delivered all the same. */
#define TRAM_EPHEMERAL TRAM_ID(240, 0, 0, 0)

#define TRAM_ID_TEXT 16 /* room for an ID as text, terminator included */

/* "1.2.3.4" to an ID. -EINVAL: not four decimal numbers of 0 to 255, or an invalid ID. (An ID of
 * 240.0.0.0/4 is valid: one can send to it.) */
TRAM_API int tram_id_parse(const char *text, tram_id *ret_id);

/* An ID to text, in `buffer`, which is returned. */
TRAM_API char *tram_id_format(tram_id id, char buffer[TRAM_ID_TEXT]);

/* ---- opening and closing -------------------------------------------------------------------- */

typedef struct tram_node tram_node;

#define TRAM_FOREVER INT64_C(-1)

/* Flags of struct tram_options. */
#define TRAM_OPEN_PREFAULT  0x01u /* rings that this node sends into get all of their memory when
                                     they are made or found, touched, and keep it */
#define TRAM_OPEN_LOCK      0x02u /* mlock(2) it as well; implies prefault */
#define TRAM_OPEN_NO_SIGBUS 0x04u /* no SIGBUS handler: a file cut short by a peer kills us */
#define TRAM_OPEN_STAMP     0x08u /* a time stamp in each message sent: a clock read, some 20 ns,
                                     and 24 bytes more in the ring */
#define TRAM_OPEN_DUMP      0x10u /* rings and doors may be in core dumps of this process; they are
                                     only if bit 3 of /proc/self/coredump_filter is set as well */

struct tram_options {
    size_t struct_size;   /* sizeof(struct tram_options); set by TRAM_OPTIONS_INIT */
    const char *dir;      /* where buses lie; NULL: $TRAM_DIR, else /dev/shm/tram-<uid> */
    const char *layout;   /* file of a static layout, see docs/LAYOUT.md; NULL: none */
    uint64_t ring_size;   /* bytes of a new ring, a power of two, 64 KiB to 4 GiB; 0: 4 MiB.
                             Sparse: it has memory only for what waits, and a little more */
    uint64_t ring_max;    /* how far a ring grows for a message that does not fit, a power of two
                             up to 4 GiB; 0: 1 GiB, or ring_size if that is more */
    uint64_t keep;        /* bytes that stay for the post-mortem in a drained ring; 0: 64 KiB */
    int64_t spin_ns;      /* how long a wait looks before it sleeps; 0: default (20 µs),
                             TRAM_FOREVER: never sleep, -2 (TRAM_NO_SPIN): sleep at once */
    uint32_t attempts;    /* hand-outs of a message before it is set aside, up to 254; 0: 5 */
    uint32_t mode;        /* permissions of files made, 0600 and more; 0: 0600; directories get x
                             where r is set */
    uint32_t flags;       /* TRAM_OPEN_… */
    uint32_t reserved;    /* 0 */
};

#define TRAM_NO_SPIN INT64_C(-2)
#ifdef __cplusplus
#define TRAM_OPTIONS_INIT { sizeof(struct tram_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
#else
#define TRAM_OPTIONS_INIT { .struct_size = sizeof(struct tram_options) }
#endif

/* Open the node `id` on the bus called `bus` (NULL: $TRAM_BUS, else "default"; 1 to 63 characters
 * of [A-Za-z0-9._-], not starting with a dot). Makes the bus and the directory it lies in, if they
 * are missing; not what is above that. options may be NULL. The node is the caller's; free it with
 * tram_close(). What waits for the node can be received at once.
 *   -EINVAL         no name for a bus, no ID to open (of 240.0.0.0/4 there is TRAM_EPHEMERAL only),
 *                   or options out of their range; the text says which
 *   -EADDRINUSE     the ID is held; the error has the holder's pid and program
 *   -EADDRNOTAVAIL  no free ephemeral ID was found
 *   -ETIMEDOUT      another process acts for this node (tram rm, a cleaner) and did not let go
 *                   within two seconds
 *   -EAGAIN, -EHOSTUNREACH, -EACCES  the bus is part of a cluster: nobody can say now whether the
 *                   node may be opened here; the host where it is placed does not answer; the
 *                   config does not allow it. -EADDRINUSE then also names a host
 *   -EPERM          the bus directory, or the one it lies in, is a symlink, another user's, or
 *                   open to others than `mode` says
 *   -EPROTO         the node's door has another layout version; the text names both
 *   -EACCES         the static layout has no such node
 *   -EBADMSG        the layout file has a mistake; the error names its line
 *   -ENOSPC         no memory for the node's files, or for a channel of the static layout
 *   -ENAMETOOLONG, -ENOENT, -ENOTDIR, -EROFS, -EFBIG …  of the file system and the layout file
 * A channel whose files make no sense does not keep a node from opening: it is said by a receive
 * (-EBADMSG) or a send (-ENOTRECOVERABLE). */
TRAM_API int tram_open(const char *bus, tram_id id, const struct tram_options *options,
                       tram_node **ret_node);

/* Flush what is staged, give the ID up, and give back the memory of rings that are drained. Nothing
 * that is in hand is released: it comes again, marked, also the message of the last tram_recv()
 * unless tram_done() was called. Takes NULL; returns NULL. While another thread is inside a call on
 * the node nothing happens: the node stays open. */
TRAM_API tram_node *tram_close(tram_node *node);

/* The node's own ID, which an ephemeral node learns this way. 0 for NULL. */
TRAM_API tram_id tram_node_id(const tram_node *node);

/* The directory of the node's bus. Lives as long as the node. NULL for NULL. */
TRAM_API const char *tram_bus_path(const tram_node *node);

/* ---- sending -------------------------------------------------------------------------------- */

#define TRAM_NOWAIT 0x01u /* a full ring is -EAGAIN at once */
#define TRAM_MORE   0x02u /* stage: written, not yet accepted; see tram_flush() */
#define TRAM_DURABLE 0x08u /* on a disk before the call returns, with all that was sent to that
                              node before; on a bus in memory it has no effect */

/* What a send with TRAM_MORE returns: the message is in the ring, but not accepted, not visible to
 * the receiver and lost if the process dies, until tram_flush() or any later call on this node that
 * receives, waits, dispatches or closes, or sends to the same node without TRAM_MORE. It is also
 * accepted when the ring is full and when it grows. If it is lost because the receiver was removed
 * meanwhile, tram_flush() or the next send to that node says so. */
#define TRAM_STAGED 1

/* Send `size` bytes (0 is fine) to node `to`, itself included. Returns 0: the message is accepted
 * and will arrive; or TRAM_STAGED. Waits for ever for space unless TRAM_NOWAIT. The channel's files
 * are made at its first message; `to` need not run, nor ever have run. After an error nothing of
 * this message was accepted.
 *   -EAGAIN           the ring is full (TRAM_NOWAIT); a TRAM_EVENT_SPACE follows when there is
 *                     room. Or this node moved here, and what it sent to `to` before is still
 *                     being delivered; the event follows likewise
 *   -ETIMEDOUT        `to` is being removed, and whoever does it was not done within five seconds
 *   -EMSGSIZE         larger than the ring may ever be; the error has the limit
 *   -ENOSPC           the file system of the bus is full
 *   -EHOSTUNREACH     `to` is an ephemeral node that is gone
 *   -ESTALE           `to` was removed (tram rm) at this moment, with what was staged for it; the
 *                     next send starts a new channel. Or this node was placed on another host of
 *                     the cluster: so says every call from then on, but tram_close()
 *   -EDEADLK          the ring to oneself is full, and only this node could make room
 *   -EACCES           the static layout has no such channel
 *   -EBUSY            a claim on this channel is open
 *   -ENOTRECOVERABLE  the channel is closed: one end wrote nonsense, or somebody cut its file
 *                     short; other channels go on, and `tram purge` makes this one usable again
 *                     (its receiver has to end for that; who sends need not)
 *   -EPROTO           the door of `to`, or the channel's files, have another layout version
 *   -ENOMEM, -EPERM   also: TRAM_OPEN_LOCK, and RLIMIT_MEMLOCK is too low
 *   -EIO              TRAM_DURABLE: accepted, this time, but the disk failed; so does every
 *                     later one to that node, until this node is opened anew */
TRAM_API int tram_send(tram_node *node, tram_id to, uint32_t tag, const void *data, size_t size,
                       uint32_t flags);

/* What goes with a message beside its payload. */
struct tram_meta {
    uint32_t tag;       /* the application's own */
    uint32_t reserved;  /* 0 */
    uint8_t layer[16];  /* for the layer above: carried, never looked at */
};

/* The same, gathered from `count` pieces (0 to IOV_MAX), with a bounded wait. meta may be NULL.
 * Layer bytes that are not all 0 take 24 bytes of the ring. Errors as tram_send(), and
 *   -EAGAIN     full, and timeout_ns is 0 or TRAM_NOWAIT is set
 *   -ETIMEDOUT  still full after timeout_ns */
TRAM_API int tram_sendv(tram_node *node, tram_id to, const struct tram_meta *meta,
                        const struct iovec *pieces, int count, uint32_t flags, int64_t timeout_ns);

/* Claim room for `size` bytes in the ring to `to`, to be written in place at *ret_data (8-byte
 * aligned), then tram_commit() or tram_abort(). One claim per channel at a time; nothing else can
 * be sent on that channel meanwhile. Errors as tram_sendv(). */
TRAM_API int tram_claim(tram_node *node, tram_id to, size_t size, int64_t timeout_ns,
                        void **ret_data);

/* Send what was claimed, cut to `size` bytes. flags: TRAM_MORE, TRAM_DURABLE. Errors end the claim,
 * but for those of arguments.
 *   -ENOENT  nothing is claimed on this channel
 *   -EINVAL  `size` is more than was claimed
 *   -ESTALE, -EHOSTUNREACH, -ENOTRECOVERABLE  as tram_send() */
TRAM_API int tram_commit(tram_node *node, tram_id to, const struct tram_meta *meta, size_t size,
                         uint32_t flags);

/* Give up what was claimed. -ENOENT: nothing is. */
TRAM_API int tram_abort(tram_node *node, tram_id to);

/* Publish all that is staged, on all channels. Returns 0 or the first error (-ESTALE,
 * -EHOSTUNREACH, -ENOTRECOVERABLE, as tram_send(): what was staged for that node is lost); every
 * channel is tried. */
TRAM_API int tram_flush(tram_node *node);

/* How many messages the bus ever accepted from this node to `to`: staged ones not counted, those
 * of earlier processes of this node counted, also right after a crash and when the ring's memory
 * was given back. 0 if there is no channel: none was, or it went with `tram rm`. */
TRAM_API int tram_accepted(tram_node *node, tram_id to, uint64_t *ret_count);

/* ---- receiving ------------------------------------------------------------------------------ */

/* A received message. `data` points into the ring (8-byte aligned) and is valid until the message
 * is released. The sender could still change it: check what you copied, not what you saw. */
struct tram_msg {
    const void *data;
    size_t size;
    tram_id from;
    uint32_t tag;
    uint64_t seq;        /* number in the channel, from 1, no gaps */
    uint64_t stream;     /* (from, stream, seq) is the same each time that a message comes */
    uint64_t time_ns;    /* CLOCK_REALTIME of the send, or 0 (TRAM_OPEN_STAMP of the sender) */
    uint32_t attempt;    /* 1: the first time, provably; n: handed out n - 1 times before */
    uint32_t reserved;
    uint8_t layer[16];
};

#define TRAM_HOLD 0x04u /* the message is released by tram_release() only */

/* Receive one message. It and all that was received before without TRAM_HOLD are released by the
 * next tram_recv…() or tram_done(), whatever that returns: process, then commit. Who dies or closes
 * before gets it again. What is staged is flushed first. Returns 0, or
 *   -EAGAIN     nothing there, timeout_ns is 0
 *   -ETIMEDOUT  nothing came
 *   -EBADMSG    a channel was closed because its sender wrote nonsense (said once; the error names
 *               it); the other channels go on
 *   -EMLINK     8192 nodes send to this one, and the channel of another was not taken over (said
 *               once; the error has its sender and the limit); the other channels go on
 *   -ESTALE     somebody removed or replaced the node's lock or directory, so that others can open
 *               the same ID (said once): close it, and open it again
 *   -ENOBUFS    512 messages of a sender are in hand, and nothing waits but more of the same:
 *               release some (TRAM_HOLD)
 *   -ENOSPC, -ENOMEM  no memory to note what is held; the message stays */
TRAM_API int tram_recv(tram_node *node, struct tram_msg *ret_msg, int64_t timeout_ns);

/* Receive up to `max` messages, at least one; senders take turns. flags: TRAM_HOLD. Returns how
 * many, or an error as tram_recv(). A message that comes again (attempt > 1) comes alone, so that
 * the one that kills is found. */
TRAM_API int tram_recv_batch(tram_node *node, struct tram_msg *ret_msgs, int max, uint32_t flags,
                             int64_t timeout_ns);

/* Receive one message into `buffer`; ret_msg->data points there. Private: the sender cannot touch
 * it. Released like that of tram_recv(). Errors as tram_recv(), and
 *   -EMSGSIZE  larger than `capacity` (the error's limit has the size); the message stays */
TRAM_API int tram_recv_copy(tram_node *node, void *buffer, size_t capacity,
                            struct tram_msg *ret_msg, int64_t timeout_ns);

/* Release a message received with TRAM_HOLD, in any order; it counts as in hand until all before it
 * of the same sender are released.
 *   -ENOENT  not in hand: released already, received without TRAM_HOLD, or by another process */
TRAM_API int tram_release(tram_node *node, const struct tram_msg *msg);

/* Release now what the next tram_recv() would release. */
TRAM_API int tram_done(tram_node *node);

/* Send a message in hand on to `to`, with its tag and layer bytes: one copy, from ring to ring. It
 * stays in hand: who dies between the two sends it twice. Errors as tram_send(). */
TRAM_API int tram_forward(tram_node *node, const struct tram_msg *msg, tram_id to, uint32_t flags);

/* ---- messages set aside --------------------------------------------------------------------- */

/* A message that was handed out `attempts` times and never released is set aside, and the channel
 * goes on. It keeps its name (from, stream, seq). A node has up to 1024 of them; what would be one
 * more is handed out again instead. */
struct tram_aside {
    tram_id from;
    uint32_t tag;
    uint64_t seq;
    uint64_t size;
    uint32_t attempts;
    uint32_t reserved;
};

/* Messages set aside for this node, up to `max`, in no order. Returns how many there are in all.
 * Those for which a retry was asked, and that were not handed out since, are not among them. */
TRAM_API int tram_aside_list(tram_node *node, struct tram_aside *ret_list, int max);

/* Hand it out once more (out of order, marked; set aside again if it is not released); or forget
 * it. -ENOENT: no such message. */
TRAM_API int tram_aside_retry(tram_node *node, tram_id from, uint64_t seq);
TRAM_API int tram_aside_drop(tram_node *node, tram_id from, uint64_t seq);

/* ---- waiting, event loops ------------------------------------------------------------------- */

enum tram_event_type {
    TRAM_EVENT_SPACE = 1, /* after -EAGAIN: there is room again to `peer`, or an error to be told */
    TRAM_EVENT_UP,        /* `peer`, watched, runs (pid) */
    TRAM_EVENT_DOWN,      /* `peer`, watched, is gone (pid: who held it) */
    TRAM_EVENT_CLOSED,    /* the channel from `peer` was closed: it wrote nonsense */
};

struct tram_event {
    enum tram_event_type type;
    tram_id peer;
    int32_t pid;          /* of `peer`, where it is known; else 0, as of another pid namespace */
    uint32_t reserved;
};

/* One descriptor for everything. It is readable (POLLIN) while there is work: a message, an event.
 * Level-triggered. Read nothing from it, do not close it. A loop around it:
 *
 *     struct pollfd entry = { .fd = tram_fd(node), .events = POLLIN };
 *
 *     poll(&entry, 1, milliseconds of tram_timeout(node), rounded up)
 *     while (tram_dispatch(node, &event) > 0) …
 *     while (tram_recv(node, &msg, 0) == 0) …      until -EAGAIN
 *
 * From the first call on, a receive or dispatch that finds nothing leaves the node asleep (senders
 * ring); before, senders need not. */
TRAM_API int tram_fd(tram_node *node);

/* How long to poll at most, nanoseconds; TRAM_FOREVER: no limit; less: an error. Flushes, and goes
 * to sleep if there is no work; 0 if there is. Call it before each poll, and tram_dispatch() after
 * it: that does what is due, and until then this stays 0. */
TRAM_API int64_t tram_timeout(tram_node *node);

/* Do what is due, and hand out one event. Returns 1 with an event, 0 without. Never waits. */
TRAM_API int tram_dispatch(tram_node *node, struct tram_event *ret_event);

/* Wait until there is a message to receive, an event to dispatch, or an error that a receive will
 * tell: 1. Or -ETIMEDOUT (-EAGAIN if timeout_ns is 0), or -ENOBUFS as tram_recv(). Flushes;
 * releases nothing. */
TRAM_API int tram_wait(tram_node *node, int64_t timeout_ns);

/* ---- peers ---------------------------------------------------------------------------------- */

enum tram_peer_state { TRAM_PEER_NEVER, TRAM_PEER_DOWN, TRAM_PEER_UP };

struct tram_way {          /* one channel */
    uint64_t accepted;     /* messages ever accepted */
    uint64_t consumed;     /* of these: released (or set aside) */
    uint64_t bytes;        /* waiting, headers included */
    uint64_t lost;         /* accepted, but not on the disk when the machine stopped */
};

struct tram_peer {
    tram_id id;
    enum tram_peer_state state;
    int32_t pid;           /* of the holder if up, else of the last one */
    int32_t foreign_pid;   /* of it, if it runs in another pid namespace (then pid is 0) */
    uint64_t since_ns;     /* CLOCK_REALTIME of its last open or, if it ended orderly, close */
    char program[32];
    uint64_t gone;         /* messages it sent that went with a receiver: ephemeral, or by force */
    struct tram_way to, from;
};

/* About a peer, from the files: no round trip, and true at the moment of the look. A channel that
 * does not exist, or whose files make no sense, is all zeros.
 *   -EPROTO  the peer's door has another layout version */
TRAM_API int tram_peer(tram_node *node, tram_id id, struct tram_peer *ret_peer);

/* Events when `id` comes up or goes down; the first one at once if it is up. Idempotent. `id` need
 * not have run ever. Survives nothing: a new process watches anew. A descriptor per watched node
 * tells of its end; when there is none left, the end is noticed by looking, which takes a second,
 * and up to thirty in a bus that is quiet.
 *   -ENOENT  `id` is an ephemeral node that is gone
 *   -EPROTO  its door has another layout version */
TRAM_API int tram_watch(tram_node *node, tram_id id);

/* No more of these events, also of those not yet handed out. */
TRAM_API int tram_unwatch(tram_node *node, tram_id id);

/* ---- errors --------------------------------------------------------------------------------- */

struct tram_error {
    int code;              /* the negative errno that was returned */
    tram_id from, to;      /* the channel, or 0 */
    int32_t pid;           /* of a holder; 0: none, or of another pid namespace (see text) */
    uint64_t limit;        /* the limit that was hit, or 0 */
    char text[240];        /* what was wrong, and what to do */
};

/* The last error of the node; of this thread's last failed tram_open() for NULL. Never NULL. Valid
 * until the next failing call. Not set by -EAGAIN and -ETIMEDOUT of receives and waits, nor where
 * the node could not be entered: it is NULL, -EBUSY as another thread is inside, -ECHILD. */
TRAM_API const struct tram_error *tram_last_error(const tram_node *node);

#ifdef __cplusplus
}
#endif

#endif
