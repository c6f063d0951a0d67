/* SPDX-License-Identifier: MIT
 *
 * The inside of a node.
 *
 * One object per peer (struct peer), with up to two channels: `out` towards it, `in` from it. A
 * channel in is *hot* (in a circle, looked at by every receive, its ring disarmed) or *quiet* (its
 * ring armed: its sender knocks). The node is awake, or asleep: then every ring is armed (unless it
 * waits for space only) and the bell tells.
 *
 * Only the thread that is inside a call touches any of this (node_enter()).
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#include "node/error.h"
#include "node/files.h"
#include "node/place.h"
#include "ring/door.h"
#include "ring/rx.h"
#include "ring/tx.h"
#include "sys/bias.h"
#include "sys/clock.h"
#include "sys/process.h"
#include "tram/tram.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define DEFAULT_RING     (UINT64_C(4) << 20)
#define DEFAULT_RING_MAX (UINT64_C(1) << 30)
#define DEFAULT_KEEP     UINT64_C(65536)
#define DEFAULT_SPIN_NS  20000
#define DEFAULT_ATTEMPTS 5u
#define ASIDE_MAX        1024u /* messages set aside per node: more would let a peer fill the bus */
#define INS_MAX          8192u /* senders of a node: more would let a peer use up the mappings */
#define WATCHERS_MAX     1024u /* who is told at once that a node opens; the others re-look */
#define REMAINS_MAX      16u   /* remains of dead ephemeral nodes that one look clears */
#define DOOR_LOOK        (SYS_SECOND / 2) /* between two looks whether a door is still in place */
#define REMOVER_WAIT     (5 * SYS_SECOND)
#define TURN_BYTES       65536 /* a sender's turn, when others wait; … */
#define TURN_MESSAGE     1024  /* … and each message counts as so many more */
#define TURN_MESSAGES    (TURN_BYTES / TURN_MESSAGE)

struct peer;
struct stand_in;

/* A stream that was grown out of, until it is drained. */
struct old_stream {
    struct old_stream *next;
    struct sys_map map;
    uint32_t generation;
    uint64_t end; /* position behind its link */
};

struct out {
    struct ring_tx tx; /* first: the fast path is in it */
    struct peer *peer;
    struct out *staged_next;
    struct out *dirty_next;
    bool staged;       /* on the node's list of those with staged messages */
    bool dirty;        /* on the list of those that hold memory to be given back */
    bool asked;        /* the receiver asks for it */
    bool pinned;       /* reserved ahead, never given back */
    bool fixed;        /* of a static layout: never grown, either */
    bool announced;    /* when it was made */
    bool blocked;      /* a send said -EAGAIN: an event is owed */
    bool claimed;
    bool untold;       /* staged messages were lost, and no call said so yet */
    int broken;        /* 0, or what every send returns */
    int unsynced;      /* 0, or why something of it may never be on the disk */
    uint64_t claim_size, claim_room;
    uint64_t capacity;
    uint64_t reserved; /* [kept, reserved) has memory; UINT64_MAX: all of the ring has */
    uint64_t kept;
    uint64_t settled;  /* on a disk: what is freed up to here was so on the disk, too */
    uint64_t chunk;    /* grain of reserving and of the post-mortem */
    uint64_t chunk_ns, chunk_pos; /* when and where the last chunk was begun */
    uint32_t light;    /* chunks in a row that took long */
    uint64_t paced;    /* the head as it was when we last waited for the receiver to catch up */
    uint64_t idle_pos; /* pos when it was last looked at for giving back */
    uint64_t ring_max;
    uint64_t id;       /* of the channel */
    uint64_t head_inode;
    uint32_t generation;
    uint32_t marks;    /* flags of all records: on a disk, checked, and the channel's life */
    int fd;            /* of the stream at hand */
    int mark;          /* of a mirror: its locked mark; else -1 */
    struct sys_map map, head_map;
    struct old_stream *old;
};

enum hand_state { HAND_HELD, HAND_RELEASED };

/* A message in hand, when they are released one by one. */
struct hand {
    uint64_t seq; /* 0: none */
    uint64_t end;
    enum hand_state state;
};

struct in {
    struct ring_rx rx; /* first: the fast path is in it */
    struct peer *peer;
    struct in *hot_next, *hot_previous; /* NULL: quiet */
    struct in *auto_next;
    bool auto_listed;
    bool broken;
    bool plain;        /* nothing is held or comes again: receives go the short way */
    uint64_t auto_first, auto_seq; /* released by the next receive */
    uint64_t auto_pos; /* behind the last of them */
    uint64_t done_seq; /* messages committed */
    uint64_t again;    /* up to this one they may have been handed out before … */
    uint64_t unsure;   /* … and up to this one, by whom a restart of the machine ended */
    int64_t turn;      /* bytes left of its turn, when others wait */
    uint64_t seq_empty; /* number of the last message when it was last found empty */
    uint32_t idle;     /* looks that found nothing, in a row */
    struct hand *hands; /* LAYOUT_WINDOW of them, once needed */
    uint64_t id;
    uint64_t inode;    /* of the stream at hand */
    uint64_t head_inode;
    const char *untold; /* why it is broken, until that was said */
    uint32_t generation;
    uint64_t quiet_tail; /* tail when it was last re-looked at */
    struct sys_map map, head_map;
    struct old_stream *old;
    struct stand_in *stand; /* whose it is, if this is a stand-in for the node, and … */
    void (*lost)(struct stand_in *stand); /* … how that is told that it goes */
};

struct peer {
    struct peer *next;
    tram_id id;
    bool watched;
    bool mirrored;     /* a send waits until a mirror of what we sent elsewhere is gone */
    bool up;           /* as last told */
    uint32_t events;   /* owed, 1 << type */
    bool event_listed;
    struct peer *event_next;
    int watch_fd;      /* its lock, which hangs up at the end of its process; -1 */
    int32_t pid;
    uint64_t opens;    /* which life of it was last seen up */
    int bell;          /* -1: not open */
    uint64_t door_inode, door_seen_at; /* of the one that is mapped; when it was last compared */
    uint64_t patience; /* ns to wait until who removes it is through: REMOVER_WAIT, or 0 then */
    struct sys_map door;
    struct out *out;
    struct in *in;
};

/* A message that was set aside and is tried once more. */
struct retry {
    struct retry *next;
    tram_id from;
    uint64_t seq;
    bool in_hand, hold;
    bool failed;       /* the machine refused; tried again when there is nothing else */
    void *data;
};

struct tram_node {
    struct bias entry; /* held by who is inside a call */
    bool forked;       /* this is a child of the process that opened it */
    bool asleep;       /* rings are armed and the door says so */
    bool lit;          /* the bell has a byte, which is to be taken on the way to sleep */
    bool ephemeral;
    bool standing;     /* a stand-in: byte 1 of the lock alone, see stand.h */
    bool cluster;      /* the bus is part of one: there may be mirrors, and `place` may change */
    bool fenced;       /* the node was placed elsewhere: every call is -ESTALE */
    bool fd_given;     /* tram_fd() was called: leave the bell lit while there is work */
    tram_id id;
    uint32_t host;     /* in the cluster */
    uint32_t place_seen; /* door.attached when `place` was last looked at */
    uint64_t epoch;    /* of the placement; of an ephemeral one: round of its ID, from 1 */
    uint64_t pid_namespace;
    uint32_t flags, mode, attempts;
    uint64_t ring_size, ring_max, keep;
    int64_t spin_ns;
    uint32_t map_flags;

    struct in *hot;    /* whose turn it is, in the circle of hot ones */
    struct in *quick;  /* if receives may go the short way: from this one; see recv.c */
    struct out *last;  /* sent to last, if plain records will do, and to whom; … */
    uint64_t last_to;  /* … UINT64_MAX: nobody */
    struct in *autos;
    struct out *staged;
    struct out *dirty;
    struct retry *retries;
    struct peer *events, **events_end;
    struct door *door;
    struct door mine;  /* its words that only we write */
    uint64_t door_inode, bell_inode;
    uint32_t attached; /* of the door, as last seen */
    bool scan_owed;    /* it changed, and the directory was not read since */
    uint64_t scan_at;  /* when it may be read again; see node_scan() */
    uint32_t ins;      /* channels in, also closed ones */
    tram_id refused;   /* a sender whose channel is one too many, to be said */
    bool refused_told;
    const char *lost;  /* why the node is not what it was, to be said */
    bool lost_told;
    uint32_t remains;  /* cleared in this look at the directory */
    uint32_t hot_count;
    uint32_t watches;
    bool recheck;        /* a watched peer could not be looked at: again, with the next call */
    uint32_t retry_count, retries_seen; /* that we have; in this look at the directory */
    uint32_t asides;     /* messages set aside that lie in the directory */
    uint32_t ephemeral_ins; /* channels from ephemeral nodes that were ever taken over */
    uint32_t tidy_at;    /* where ins_tidy_ephemerals() goes on */
    bool bad;            /* a channel was closed, and nobody was told yet; or unscanned */
    int unscanned;       /* why the last look at the directory did not come to its end, or 0 */
    uint64_t size_limit; /* a larger message is left where it is */

    uint64_t relook_at, relook_gap; /* bounded re-look, ns */
    uint64_t relooked_at;
    bool relook_anew;    /* fell asleep: count anew from the next reading of the clock */
    bool resume_owed;    /* channels of earlier processes, for which the machine had no room */
    uint32_t looks;
    uint64_t trim_at;

    struct bus bus;
    int dir, lock, bell, set;
    struct sys_map door_map;
    struct layout *layout;
    struct tram_error error;
    struct tram_node *registry_next, **registry_link;
    struct peer *peers[LAYOUT_BITS];
};

/* ---- entry (open.c, fork.c) ------------------------------------------------------------------ */

/* Every public call begins with it: one thread inside at a time. */
static inline int node_enter(tram_node *node) {
    if (unlikely(!node))
        return -EINVAL;
    if (likely(bias_try(&node->entry)))
        return 0;
    return node->forked ? -ECHILD : node->fenced ? -ESTALE : -EBUSY;
}

/* The quickest calls do without a stack frame: everything rare is a call in their place. */
static inline bool node_enter_quick(tram_node *node) {
    return likely(node != NULL) && likely(bias_try_quick(&node->entry));
}

void node_light(tram_node *node);
int node_leave_lit(tram_node *node, int rc);
/* The set of descriptors behind tram_fd(). */
int node_make_set(tram_node *node);

static inline int node_leave(tram_node *node, int rc) {
    if (unlikely(node->fd_given > (node->asleep | node->lit)))
        return node_leave_lit(node, rc);
    bias_unlock(&node->entry);
    return rc;
}

int fork_register(tram_node *node);
void fork_unregister(tram_node *node);

/* ---- placement (place.c) --------------------------------------------------------------------- */

/* In a cluster, before something is sent the slow way: was the node placed elsewhere since? */
static inline bool node_is_fenced(tram_node *node) {
    uint32_t attached;

    if (likely(!node->cluster))
        return false;
    attached = load_acquire(&node->door->attached);
    if (attached == node->place_seen)
        return node->fenced;
    node->place_seen = attached;
    return place_lost(node);
}

/* ---- peers (peer.c) -------------------------------------------------------------------------- */

struct peer *peer_find(tram_node *node, tram_id id);
/* Find or make. NULL: no memory. */
struct peer *peer_get(tram_node *node, tram_id id);
/* Its door, mapped at the first need; NULL if it never opened. */
int peer_door(tram_node *node, struct peer *peer, struct door **ret_door);
/* The same, in its directory, before anything is made there. -EPROTO: it is of another layout
 * version, and would not look at what we make. */
int peer_take_door(tram_node *node, struct peer *peer, int dir);
/* Knock at its door (there is a message, or space), or announce something in its directory. 0,
 * also if it never opened; or why it was not told. */
int peer_knock(tram_node *node, struct peer *peer);
int peer_announce(tram_node *node, struct peer *peer);
void peer_forget_door(struct peer *peer);
void peer_event(tram_node *node, struct peer *peer, enum tram_event_type type);
void peer_no_event(tram_node *node, struct peer *peer, uint32_t types);
/* Look at the state of a watched peer and owe events. */
void peer_check(tram_node *node, struct peer *peer);
void peers_check(tram_node *node);
/* Look at those whose processes ended. */
void peers_check_ended(tram_node *node);
/* There is no channel from it; if it is used for nothing else: forget it. */
void peer_put(tram_node *node, struct peer *peer);
void watch_file_remove(tram_node *node, tram_id id);
/* Tell those who watch this node. */
void peers_tell_watchers(tram_node *node);

/* ---- sending (out.c, grow.c, send.c) --------------------------------------------------------- */

/* The channel to `to`, made if it is missing and `make`. */
int out_get(tram_node *node, tram_id to, bool make, struct peer **ret_peer);
struct out *out_free(struct out *out);
/* Make room for a record of `size` bytes of payload and `more` before it, waiting until the
 * deadline. */
int out_room(tram_node *node, struct peer *peer, uint64_t size, uint64_t more, uint64_t deadline);
/* Make the files of a channel as planned, and map them or what lies there. */
int out_make_channel(int dir, struct out *out, const struct stream_plan *plan, int *ret_head);
int out_open_channel(tram_node *node, int dir, struct out *out, int made_head, uint32_t lowest,
                     uint32_t highest);
/* Are the files whole, whatever a remover that was at work removed by name? Waits for his end if
 * `make`; -ETIMEDOUT: he still is; -ENOENT: they are to be made again. */
int out_outlive_remover(tram_node *node, int dir, struct peer *peer, bool make);
/* What the receiver's word says: 0, or why nothing can be sent any more. */
int out_told(tram_node *node, struct peer *peer, uint64_t armed);
int out_head_bad(tram_node *node, struct out *out);
/* Memory for what ends at `end`, where there is space, and a new tx.room. */
int out_grant(tram_node *node, struct out *out, uint64_t end);
void out_trim_if_light(tram_node *node, struct out *out);
/* Publish what is staged, and ring. */
int out_published(tram_node *node, struct out *out, uint64_t armed);
static inline bool out_must_tell(const struct out *out, uint64_t armed) {
    return ring_tx_must_ring(&out->tx, armed) || sys_map_torn(&out->map);
}

static inline int out_publish(tram_node *node, struct out *out) {
    uint64_t armed = ring_tx_publish(&out->tx);

    if (unlikely(out_must_tell(out, armed)))
        return out_published(node, out, armed);
    return 0;
}
/* Publish all that is staged: 0 or the first error. If the caller does not tell the application,
 * the next send on that channel does. */
int outs_flush(tram_node *node, bool told);
void out_knocked(tram_node *node, struct peer *peer);
int out_grow(tram_node *node, struct peer *peer, uint64_t span, uint64_t more);
void out_break(struct out *out, int why);
void out_reap_old(tram_node *node, struct peer *peer);
/* There is room: let the receiver catch up, if it is far behind and moves. */
void out_pace(const tram_node *node, struct out *out, uint64_t deadline);
int out_reserve(struct out *out, uint64_t end);
/* Memory for the whole ring, faulted in and locked as asked. */
int out_pin(struct out *out, uint32_t map_flags);
/* Give back the memory behind the head but `keep` bytes. */
void out_trim(struct out *out, uint64_t keep);
/* Give back what idle channels hold. */
void outs_trim(tram_node *node, uint64_t now);
/* It holds memory that has to be given back some time; `asked` by the receiver. */
void out_make_dirty(tram_node *node, struct out *out, bool asked);
/* At open: find the channels that earlier processes of this node made, and ring for each. */
int outs_resume(tram_node *node);

/* ---- the door (open.c) ----------------------------------------------------------------------- */

/* Make or map door and bell, and begin with them empty. Signed with our process, unless standing.
 * */
int node_open_door(tram_node *node, struct tram_error *error);

/* ---- our own files (mend.c) ------------------------------------------------------------------ */

/* Look after the lock, the door and the bell: mend what can be mended. */
void node_mend(tram_node *node);
/* Did opening the bell fail because something else lies there? */
bool node_is_no_bell(int rc);
/* Open the bell; made if it is missing, or is none. */
int node_make_bell(tram_node *node);

/* ---- receiving (in.c, recv.c, aside.c) ------------------------------------------------------- */

/* Look at the directory: new channels, replaced ones, messages to retry. */
int ins_scan(tram_node *node);
struct in *in_free(struct in *in);
/* Map the channel that lies in the directory. */
int in_map(tram_node *node, struct in *in);
void in_heat(tram_node *node, struct in *in);
void in_cool(tram_node *node, struct in *in);
/* Go on in the successor stream. */
int in_succeed(tram_node *node, struct in *in);
/* Close the channel: its sender wrote nonsense. Returns -EBADMSG. */
int in_break(tram_node *node, struct in *in, const char *what);
/* What has to be said, one thing at a time: a channel was closed, or is one too many; others can
 * take the node's ID (-EBADMSG, -EMLINK, -ESTALE); the directory could not be read. 0 if there is
 * nothing any more. */
int ins_say_broken(tram_node *node);
/* Give the producer what is committed, and ring it if it waits. */
void in_give(tram_node *node, struct in *in);
void ins_give(tram_node *node);
/* Nobody looks at a quiet channel before its sender knocks, and that may wait for this space. */
static inline void in_give_quiet(tram_node *node, struct in *in) {
    if (unlikely(!in->hot_next) && WORD_POSITION(in->rx.committed) != in->rx.freed)
        in_give(node, in);
}
/* A quiet, drained channel: have its memory given back; remove it with a dead ephemeral sender. */
void in_tidy(tram_node *node, struct in *in);
/* Its channel is no more: it was removed, or made anew. */
void in_drop(tram_node *node, struct peer *peer);
/* Look at up to `most` channels from ephemeral nodes, going on where the last call ended: those
 * that are drained and whose senders do not run go. */
void ins_tidy_ephemerals(tram_node *node, uint32_t most);
void autos_release(tram_node *node);
int in_need_hands(tram_node *node, struct in *in);
/* All up to `seq` are done with, and those behind it that were released before their turn. What is
 * in hand behind others is noted in `hands`. */
static inline void in_commit(tram_node *node, struct in *in, uint64_t position, uint64_t seq) {
    while (unlikely(in->hands && seq < in->rx.seq)) {
        const struct hand *hand = &in->hands[(seq + 1) % LAYOUT_WINDOW];

        if (hand->state != HAND_RELEASED)
            break;
        position = hand->end;
        seq++;
    }
    ring_rx_commit(&in->rx, position, seq);
    in->done_seq = seq;
    in->plain = seq == in->rx.seq && seq >= in->again;
    if (ring_rx_should_free(&in->rx))
        in_give(node, in);
}

/* In hand of one sender: as many as there may be. */
static inline bool in_window_full(const struct in *in) {
    return in->rx.seq - in->done_seq >= LAYOUT_WINDOW;
}

/* It has a message that cannot be had before the application releases another: the next receive
 * will not do that. */
static inline bool in_stuck(const struct in *in) {
    return ring_rx_ready(&in->rx) && in_window_full(in) &&
           !(in->auto_listed && (in->plain || in->auto_first == in->done_seq + 1));
}

/* The message is done with, in whatever order: either all before it are, or `hands` has memory. */
void in_done(tram_node *node, struct in *in, uint64_t seq, uint64_t end);
int aside_put(tram_node *node, struct in *in, const struct ring_view *view, uint32_t attempts);
/* A message to be tried again: 1; 0: there is none. `failed`: also one that could not be read. */
int aside_take_retry(tram_node *node, struct tram_msg *ret_msg, bool hold, bool failed);
/* It is done with. 0; -ENOENT: none of these; or why it could not be removed, and stays in hand. */
int aside_release(tram_node *node, tram_id from, uint64_t seq, bool automatic);
int aside_find_retry(tram_node *node, tram_id from, uint64_t seq);
/* Is there a message to be tried again that is not in hand, and did not fail? */
bool aside_waits(const tram_node *node);
struct retry *retry_free(struct retry *retry);

/* ---- sleeping (wait.c) ----------------------------------------------------------------------- */

/* Try to sleep: arm the rings (unless only space is waited for), and look once more. False: there
 * is work. */
bool node_sleep(tram_node *node, bool space_only);
/* Woken, or not? Empties the bell if the node is asleep. False: somebody knocked. */
bool node_sleeps_on(tram_node *node);
/* Read the directory, in which something changed: at once, because "nothing there" is to be said
 * and has to be true; or when enough time was ours since the last one. */
void node_scan(tram_node *node, bool at_once);
/* Wake: take the bits, make their channels hot. */
void node_wake(tram_node *node);
/* Is there a bit, or something new in the directory? */
static inline bool node_knocked(const tram_node *node) {
    return door_bits(node->door) || load_relaxed(&node->door->attached) != node->attached ||
           node->scan_owed;
}
/* Sleep until the bell or the deadline, doing what falls due. Sleeping must have been agreed. */
int node_block(tram_node *node, uint64_t deadline);
void node_due(tram_node *node, uint64_t now);
/* Is there something for the application that is in no ring? */
static inline bool node_to_say(const tram_node *node) {
    return node->bad || (unlikely(node->retries != NULL) && aside_waits(node));
}
/* Find a channel with a message, in turn; NULL. */
struct in *node_look(tram_node *node);
/* Nothing can be had but more of a sender of whom as many as there may be are in hand: -ENOBUFS. */
bool node_all_in_hand(const tram_node *node);
int node_too_many(tram_node *node);

/* ---- static layouts (layout.c) --------------------------------------------------------------- */

struct layout_channel {
    struct layout_channel *next;
    tram_id from, to;
    uint64_t size;
    bool prefault, lock;
};

/* The text, which is used up; `path` is for the error. */
int layout_parse(char *text, const char *path, struct layout **ret_layout,
                 struct tram_error *error);
const struct layout_channel *layout_channels(const struct layout *layout);
int layout_read(const char *path, struct layout **ret_layout, struct tram_error *error);
struct layout *layout_free(struct layout *layout);
bool layout_has_node(const struct layout *layout, tram_id id);
const struct layout_channel *layout_find(const struct layout *layout, tram_id from, tram_id to);
/* Make and reserve all channels from the node. */
int layout_apply(tram_node *node);
