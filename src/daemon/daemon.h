/* SPDX-License-Identifier: MIT
 *
 * tramd: who serves which name.
 *
 * Parts
 *   daemon.c    start, end, signals, the loop (a worker on a node of its own)
 *   conn.c      a connection: frames in, frames out, its bounds
 *   bind.c      what is asked of names: bind, publish, unbind, settle
 *   table.c     the names, and who holds each
 *   life.c      the lives of nodes that hold names
 *   watch.c     who wants to know
 *   journal.c   the table as a file, for the next daemon
 *   record_file.h   that file, and those of the cluster, as bytes
 *   hosts.h     this host as part of a cluster
 *
 * A name is held by a life of a node: (node, how often it was opened). It ends with that life,
 * which the kernel tells, and not with a connection: so neither a restart of the daemon nor cutting
 * a client off takes a living server's name away.
 *
 * Nothing is closed or freed below a caller that may still use it: a connection that has to go is
 * doomed, and goes when the handler has returned (flush()), as all that is to be sent does.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/settings.h"
#include "node/files.h"
#include "sys/socket.h"
#include "tram/tram.h"
#include "wire/control.h"
#include "wire/name.h"
#include "worker/worker.h"

struct daemon;
struct conn;
struct host;
struct hosts;

/* ---- lives ----------------------------------------------------------------------------------- */

/* A life of a node that holds names. */
struct life {
    struct life *next;
    struct daemon *daemon;
    struct worker_peer peer;
    tram_id node;
    uint64_t number;
    struct entry *entries;
};

/* Which life of the node runs now. 0: none. Or a negative errno, when it is not to be known. */
int life_look(struct daemon *daemon, tram_id node, uint64_t *ret_number);
/* … or ran last; 0: it has not begun. -ENOENT: there is no such node. */
int life_number(struct daemon *daemon, tram_id node, uint64_t *ret_number);
struct life *life_find(struct daemon *daemon, tram_id node, uint64_t number);
/* Found or made; watched from now on. */
int life_get(struct daemon *daemon, tram_id node, uint64_t number, struct life **ret_life);
/* Forget it if it holds nothing. */
void life_put(struct life *life);
/* Drop what it holds if it is over; it may be gone then. */
void life_check(struct life *life);

/* ---- names ----------------------------------------------------------------------------------- */

#define TABLE_BUCKETS 4096u
#define TABLE_ORDER_MAX (UINT64_C(1) << 62) /* that others may say: there is always a next one */

struct entry {
    struct entry *hash_next;
    struct entry *prev, *next;   /* published ones, by order */
    struct life *life;
    struct entry *life_next;
    struct conn *conn;           /* that bound it; NULL: it is gone */
    uint64_t cookie;             /* there */
    struct name name;
    char program[CONTROL_PROGRAM_MAX + 1];
    int32_t pid;
    uint32_t port;
    char **addresses;            /* one block */
    size_t count;
    uint64_t order;              /* 0: not published */
    uint64_t wish;               /* … the order that it had before the table was lost */
    uint64_t size;               /* of its record in the file */
    /* Of another host (far.c): no life, and in buckets of its own. */
    struct host *far;
    uint64_t round;              /* in which it was told last */
    uint64_t far_order, far_life;
    tram_id far_node;
};

struct table {
    struct entry *buckets[TABLE_BUCKETS];
    struct entry *first, *last;  /* published */
    uint64_t count;
    uint64_t order;              /* of the last publication */
};

/* Which of TABLE_BUCKETS that name is in. */
uint32_t table_bucket(const char *name, const char *instance);
struct entry *table_find(struct table *table, const char *name, const char *instance);
/* Enter it, reserved. NULL: no memory. */
struct entry *table_add(struct table *table, const struct name *name, struct life *life);
/* The addresses of a frame become those of the entry. -ENOMEM */
int table_set_addresses(struct entry *entry, char *const *addresses, size_t count);
/* Give it its place among the published. `order` 0, or one that can be none: the newest. */
void table_show(struct table *table, struct entry *entry, uint64_t order);
void table_hide(struct table *table, struct entry *entry);
/* Take it out and free it. */
void table_remove(struct table *table, struct entry *entry);
/* What frames say of it; points into the entry. */
void table_party(const struct entry *entry, control_party *ret_party);

/* Tell the other hosts: it is published; it goes (far.c). */
void far_tell(struct daemon *daemon, const struct entry *entry, bool gone);
/* The name of the host that it is of; "": this one. */
const char *far_host(const struct entry *entry);
/* To that host: round trip in ns; 0: not known. */
uint64_t far_distance(const struct host *host);

/* An entry goes: watchers are told, the file notes it, it is freed. */
void names_drop(struct daemon *daemon, struct entry *entry);

/* ---- the file -------------------------------------------------------------------------------- */

struct journal {
    int fd;
    uint64_t size;   /* of the file */
    uint64_t live;   /* bytes of records that count */
    bool stale;      /* something could not be written: write it all anew when there is room */
};

/* Read the file into the table: what living nodes hold. Nothing there is fine. */
int journal_load(struct daemon *daemon);
/* Write the table to a new file in its place. */
int journal_rewrite(struct daemon *daemon);
/* Note an entry as it is; or that it goes. */
int journal_note(struct daemon *daemon, struct entry *entry, bool gone);
void journal_close(struct journal *journal);

/* ---- watches --------------------------------------------------------------------------------- */

struct watch {
    struct watch *next;
    uint64_t cookie;
    char pattern[NAME_FULL_SIZE];
    struct entry *cursor;        /* the next to be told of those that were there; NULL: the end */
    bool told;                   /* all of them were; */
    bool owed;                   /* … but hosts were not heard yet */
};

/* Begin to watch: what is there goes out with the flushes of the connection. */
int watch_add(struct conn *conn, uint64_t cookie, const char *pattern);
void watch_remove(struct conn *conn, uint64_t cookie);
void watch_end(struct conn *conn);
/* All hosts were heard, or waited for as long as is right. */
void watch_complete(struct daemon *daemon);
/* Add what is due of those that were there, up to `most` bytes in the queue. */
void watch_pump(struct conn *conn, size_t most);
/* Tell all: it has come; it goes (and is still in its place). */
void watch_online(struct daemon *daemon, struct entry *entry);
void watch_offline(struct daemon *daemon, struct entry *entry);

/* ---- connections ----------------------------------------------------------------------------- */

struct conn {
    struct conn *next, **link;
    struct conn *due_next;       /* of those to flush */
    struct daemon *daemon;
    int fd;
    tram_io *io;
    struct control_in in;
    struct control_out out;
    struct sys_credentials credentials;
    char program[CONTROL_PROGRAM_MAX + 1];
    tram_id node;                /* as it says; checked when it binds */
    uint64_t life;
    uint64_t names, watches_count;
    struct watch *watches;
    struct look *looks;          /* at nodes of other hosts (looks.c) */
    uint64_t looks_count;
    int64_t since;
    bool greeted, doomed, due;
};

int conn_new(struct daemon *daemon, int fd, struct conn **ret_conn);
struct conn *conn_free(struct conn *conn);
/* Queue a frame; who has too many waiting is doomed. */
void conn_send(struct conn *conn, control_frame *frame);
/* It goes; `code` not 0: with this word to it, and a line in the log. */
void conn_doom(struct conn *conn, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Send what is queued, as far as it goes. */
void conn_flush(struct conn *conn);
/* It has something to send, or is doomed: have flush() come. */
void conn_due(struct conn *conn);

/* ---- what is asked (bind.c) ------------------------------------------------------------------ */

void ask_bind(struct conn *conn, const Tram__Control__Bind *bind);
void ask_publish(struct conn *conn, const Tram__Control__Publish *publish);
void ask_unbind(struct conn *conn, uint64_t cookie);
void ask_settle(struct conn *conn);
/* About the cluster (report.c). */
void ask_cluster(struct conn *conn, const Tram__Control__Cluster *cluster);
/* The life of a node of another host (looks.c). */
void looks_add(struct conn *conn, uint64_t cookie, tram_id node);
void looks_remove(struct conn *conn, uint64_t cookie);
void looks_end(struct conn *conn);
/* The connection is gone: what it reserved and did not publish goes, too. */
void ask_nothing(struct conn *conn);

/* ---- all of it ------------------------------------------------------------------------------- */

struct daemon_options {
    const char *bus, *dir, *config; /* NULL: defaults; none */
    const char *keys, *listen, *host_server; /* NULL: as the config says */
    bool automatic, journal;
};

struct daemon {
    const struct daemon_options *options;
    struct settings settings;
    struct bus bus;
    int lock;
    uint64_t lock_inode;
    tram_worker *worker;
    int listener;
    tram_io *listen_io;
    tram_timer *housekeeping, *watchdog, *idle;
    tram_signal *signals[3];
    struct worker_deferred deferred;
    struct table table;
    struct life *lives;
    struct journal journal;
    struct conn *conns, *due;
    uint64_t conn_count;
    bool housekeeping_fast;
    struct hosts *hosts;         /* NULL: it is a host of its own */
};

/* Run until it is told to end. The exit code. */
int daemon_run(const struct daemon_options *options);

/* A connection came or went. */
void daemon_needed(struct daemon *daemon);
