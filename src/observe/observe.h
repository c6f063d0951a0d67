/* SPDX-License-Identifier: MIT
 *
 * The read-only door on a bus: who is there, what waits, and the messages themselves.
 *
 * An observer reads the files of a bus beside those who use them. It takes no lock, writes
 * nothing, maps nothing and asks nobody: what it sees is the same whether the nodes run, hang or
 * are long dead, and they cannot tell that it looked. So it also cannot make them wait: what
 * changes while it is being read is either read again, or counted as missed, but never made up.
 *
 * Nothing in a file is believed. Magic, version and lengths are checked before a word is used, and
 * what doesn't hold is reported in words (`note`), next to whatever else could be read.
 *
 * Functions return 0 or a positive number, or a negative errno; out-parameters are written on
 * success only. An observer is used by one thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tram/tram.h"

#define OBSERVE_NOTE 160

struct observe; /* a bus */

/* The bus in this directory. -ENOENT: there is none; -ENOTDIR, -EACCES … of the file system. */
int observe_open(const char *path, struct observe **ret_observe);
struct observe *observe_close(struct observe *observe);

/* The names of the directories below `path` that hold at least one node: the buses there.
 * free(*ret_names). */
int observe_buses(const char *path, char ***ret_names, size_t *ret_count);

/* ---- nodes ---------------------------------------------------------------------------------- */

struct observe_node {
    tram_id id;
    int32_t pid;  /* of the holder if up, else of the last one; 0: never opened */
    bool foreign; /* pid is a number of another pid namespace than ours */
    bool up;      /* byte 3 of the lock is held: the node runs */
    bool custody; /* byte 1 is held: somebody acts for it (the node itself, when up) */
    bool asleep;  /* it waits for its bell, as it says itself */
    bool ephemeral;
    bool away;    /* it is placed on another host of the cluster, as `place` says */
    char host[64]; /* on which one; "": nobody says, as where there is no cluster */
    uint64_t epoch; /* of that placement */
    uint32_t owner;     /* user whose directory it is */
    bool other_layout;  /* another version of it than this program reads, as the note says */
    uint64_t opens;     /* how often it was opened; 0: others sent to it, it never ran */
    uint64_t opened_ns; /* CLOCK_REALTIME of the last open, or 0 */
    uint64_t gone;      /* messages that it sent and that went with removed nodes */
    uint64_t closed_ns; /* of the orderly close that followed, or 0: it runs, or was killed */
    char program[33];
    char note[OBSERVE_NOTE]; /* what does not hold in its files; "": nothing */
};

/* All nodes, by ID. free(*ret_nodes). */
int observe_nodes(struct observe *observe, struct observe_node **ret_nodes, size_t *ret_count);

/* One of them. -ENOENT: the bus does not know this ID. */
int observe_node(struct observe *observe, tram_id id, struct observe_node *ret_node);

/* ---- leftovers ------------------------------------------------------------------------------ */

enum observe_leftover_kind {
    OBSERVE_HIDDEN,   /* .NAME: somebody was making NAME */
    OBSERVE_WATCH,    /* watch-W: node `peer` wants to know when `node` opens */
    OBSERVE_EVENTS,   /* events/…: a ring of events, or a reader of one, whose publisher `node` is
                         not on the bus */
    OBSERVE_STRANGER, /* nothing of ours */
};

/* A file in a node's directory that is part of no node and no channel; or, with `node` 0 or the one
 * that is missing, in the folder `events`. */
struct observe_leftover {
    enum observe_leftover_kind kind;
    tram_id node, peer;
    uint64_t memory;
    uint64_t changed_ns; /* CLOCK_REALTIME */
    bool events;         /* it lies in the folder `events` */
    char name[128];      /* cut to fit */
};

/* All of them, in no order. free(*ret_list). */
int observe_leftovers(struct observe *observe, struct observe_leftover **ret_list,
                      size_t *ret_count);

/* ---- channels ------------------------------------------------------------------------------- */

enum observe_state {
    OBSERVE_IDLE,     /* everything consumed */
    OBSERVE_SLEEPING, /* everything consumed; the receiver sleeps until the bell rings */
    OBSERVE_FLOWING,  /* messages wait, the receiver runs */
    OBSERVE_WAITING,  /* messages wait, the receiver does not run */
    OBSERVE_FULL,     /* the same, and the sender waits for space */
    OBSERVE_CLOSED,   /* the receiver was removed */
    OBSERVE_BROKEN,   /* the receiver saw nonsense and closed the channel */
    OBSERVE_DAMAGED,  /* the files do not hold what they should; see the note */
};

/* One word for it: "idle", "sleeping", … */
const char *observe_state_name(enum observe_state state);

struct observe_channel {
    tram_id from, to;
    enum observe_state state;
    uint32_t streams;       /* generations that exist; 0: only the receiver's words do */
    bool other_layout;      /* another version of it than this program reads, as the note says */
    uint64_t id;            /* random, the same in all generations */
    uint64_t accepted;      /* messages ever accepted */
    uint64_t consumed;      /* of these: released, or set aside */
    uint64_t waiting;       /* accepted - consumed */
    uint64_t waiting_bytes; /* headers included */
    uint64_t position;      /* of the tail: bytes ever accepted */
    uint64_t made_ns;       /* CLOCK_REALTIME of the oldest stream's making */
    uint64_t oldest_ns;     /* CLOCK_REALTIME of the send of the oldest message that waits; 0: none
                               waits, its sender does not stamp, or it was too fast to be read */
    uint64_t aside_ever;    /* messages ever set aside */
    uint64_t aside;         /* of these, those that lie there now */
    uint64_t retries;       /* of these, those to be tried again */
    uint64_t lost;          /* accepted, but not on the disk when the machine stopped */
    uint64_t capacity;      /* bytes of the newest ring */
    uint64_t memory;        /* bytes that all its files hold in memory */
    char note[OBSERVE_NOTE];
};

/* The channels to `to`, by sender; or, with to == 0, all of the bus, by receiver and sender.
 * free(*ret_channels). */
int observe_channels(struct observe *observe, tram_id to, struct observe_channel **ret_channels,
                     size_t *ret_count);

/* One of them. -ENOENT: nothing was ever sent that way. */
int observe_channel(struct observe *observe, tram_id from, tram_id to,
                    struct observe_channel *ret_channel);

/* ---- records -------------------------------------------------------------------------------- */

enum observe_where {
    OBSERVE_KEPT,    /* consumed, not yet overwritten */
    OBSERVE_IN_HAND, /* handed out, not released */
    OBSERVE_QUEUED,  /* not handed out yet */
    OBSERVE_ASIDE,   /* set aside */
    OBSERVE_RETRY,   /* set aside, to be tried again */
};

const char *observe_where_name(enum observe_where where);

struct observe_record {
    tram_id from, to;
    enum observe_where where;
    uint32_t tag;
    uint32_t attempts; /* how often it was handed out, as far as the files tell */
    uint64_t seq;
    uint64_t size;     /* of the message */
    uint64_t position; /* in the channel; 0 for one that was set aside */
    uint64_t time_ns;  /* CLOCK_REALTIME, or 0 */
    uint8_t layer[16];
    const void *data; /* a private copy, until the next call with the same reader */
    size_t data_size; /* bytes of it: `size`, or the reader's limit */
};

struct observe_reader;

/* Read the records of a channel, oldest first: those kept behind the head, as far as they are
 * still there, then those that waited at the time of this call. At most `limit` bytes of
 * each message are copied. -ENOENT: no such channel. */
int observe_read(struct observe *observe, tram_id from, tram_id to, size_t limit,
                 struct observe_reader **ret_reader);

/* Those of its messages that were set aside, by sequence number. from == 0: of all senders. */
int observe_read_aside(struct observe *observe, tram_id from, tram_id to, size_t limit,
                       struct observe_reader **ret_reader);

/* The next record: 1; 0 at the end; or a negative errno: -EBADMSG, what is there makes no sense. */
int observe_next(struct observe_reader *reader, struct observe_record *ret_record);

/* How many messages were overwritten before they could be read, so far. */
uint64_t observe_missed(const struct observe_reader *reader);

/* What could not be read, and why; "": nothing. */
const char *observe_note(const struct observe_reader *reader);

struct observe_reader *observe_read_end(struct observe_reader *reader);
