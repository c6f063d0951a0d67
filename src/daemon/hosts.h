/* SPDX-License-Identifier: MIT
 *
 * This host as a part of a cluster (docs/HOSTS.md).
 *
 *   hosts.c             start and end, the table of hosts, time
 *   placing*.c          on which host a node is placed: claims of openers, giving up, being fenced
 *   directory_*.c       the directory as this host sees it (directory.h)
 *   host_server.c       … and as a host server: its connections and its file
 *   peers.c             connections to the other daemons, and their links
 *   listener.c          where these, and members of the directory, connect to
 *   dial.c              which of a host's addresses is dialled
 *   stands.c            stand-ins: rings ↔ link
 *   copies.c            mirrors of a receiver that moves
 *   far.c               names of other hosts
 *   looks.c             lives of nodes of other hosts
 *   strays.c            what is left here of ephemeral ones that are over
 *   relay_*.c           events of other hosts, and for them (relay.h)
 *   line.c              connections to the host server; tasks
 *   trust.c             keys, and who is revoked
 *   report.c, trace.c, sample.c
 *                       what tools ask
 *
 * Without a cluster in the config none of it does anything.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/daemon.h"
#include "daemon/directory.h"
#include "daemon/line.h"
#include "node/place.h"
#include "sys/socket.h"
#include "transport/gate.h"
#include "transport/security.h"
#include "wire/link_hello.h"
#include "worker/worker.h"

#define HOSTS_INTERFACES 32
#define HOSTS_ADDRESSES_TEXT 1088 /* room for all addresses of a host, blanks between */

struct host_server;
struct listener;
struct peer;
struct wire;
struct placing;
struct standin;
struct question;
struct sampling;
struct inflow;
struct outflow;

/* Another host. */
struct host {
    struct host *next;
    struct hosts *hosts;
    uint32_t number;
    char name[HOSTS_NAME_MAX + 1];
    uint8_t instance[HOSTS_INSTANCE];
    char program[CONTROL_PROGRAM_MAX + 1];
    char addresses[HOSTS_ADDRESSES_TEXT];
    bool away;              /* as the directory says */
    bool told;              /* … since this connection to it began */
    bool settled;           /* all channels out were named on this link … */
    bool named;             /* … and all that come from there */
    int64_t sweep_at;       /* it has named all of its own: look for mirrors that it did not; 0 */
    int64_t drop_at;        /* its mirrors are kept open till then, for its next connection; 0 */
    bool heard;             /* it has said all its names since this daemon began */
    struct peer *peer;
    uint64_t name_count, round; /* of names that it announced (far.c) */
    bool names_owed;        /* it was not told all of ours */
    int64_t names_due;      /* … and will be then */
    uint64_t distance;      /* to it, as clients were told */
    int64_t distance_due;   /* … and are told again then at the earliest */
    struct shown *shown;    /* nodes here of whose lives it is told (looks.c) */
    uint32_t shown_count;
    int64_t names_until;    /* its own go then, unless there is a link again; 0: there is one */
    bool relays_told;       /* it has said which events it wants (relay.h) */
    bool lived;             /* it was connected, … */
    uint8_t lived_as[HOSTS_INSTANCE]; /* … as that instance */
    struct torn *torn;      /* channels from there that had more to come when it was last heard */
    uint32_t torn_count;
    uint64_t cut_short;     /* … and were lost with its memory, ever */
};

struct relays {             /* of events (relay.h) */
    int dir;                /* the folder `events`; -1 */
    struct inflow *in;
    uint32_t readers;       /* of all of these */
    uint64_t serial;        /* of the last wish: an answer to one of a flow that ended is none */
    struct outflow *out;
};

struct hosts {
    struct daemon *daemon;
    struct tasks tasks;
    struct cluster self;           /* the file */
    struct link_identity identity;
    char addresses[HOSTS_ADDRESSES_TEXT]; /* at which we listen */
    struct security *security;     /* NULL: plain TCP */
    int64_t look, warned;          /* trust.c: when connections are looked at, … */
    int64_t turned_until;          /* of lines about who was turned away */
    uint64_t turned_silent;
    struct claims claims;
    tram_io *claims_io;
    const struct seat_maker *maker;
    struct seat *seat;
    struct host_server *server;    /* if it is here */
    struct host *list;
    uint32_t count;
    struct listener *listeners;
    struct wire *wires;
    struct gate gate;              /* of those that were accepted */
    uint64_t tries;
    struct placing *placing;
    struct standin **standins;     /* by hash of the ID */
    struct standin *all_standins;
    struct standin *looked_at;     /* that is looked at next; NULL: the first */
    struct worker_source looking;  /* … while the daemon spins */
    int64_t stands_due;            /* when one of them has something to do */
    int64_t stands_sweep;          /* when some may not be needed any more; 0: all are */
    int dir_fd;                    /* tells of new directories of nodes */
    tram_io *dir_io;
    int net_fd;                    /* tells of network interfaces; -1: nothing does */
    tram_io *net_io;
    struct sys_interface near[HOSTS_INTERFACES]; /* our segments, */
    int near_count;
    int64_t near_until;            /* … as they were until then */
    tram_timer *timer;
    int64_t due;                   /* for which that is set */
    int64_t strays_due;            /* when strays.c looks */
    int64_t names_until;           /* the names of all hosts are waited for; 0: no more */
    struct entry *far[TABLE_BUCKETS]; /* names of other hosts, by hash_next */
    bool told;                     /* all hosts that the directory knows */
    bool joined;
    struct command *commands;      /* that wait for an answer */
    struct sampling *sampling;     /* a look at the bus that is under way, or was made */
    struct relays relays;
    struct question *questions;    /* to other hosts, that wait for an answer */
    uint64_t command;              /* the last one's number */
};

/* ---- hosts.c --------------------------------------------------------------------------------- */

/* Begin, if the config names a cluster. */
int hosts_start(struct daemon *daemon);
void hosts_stop(struct daemon *daemon);
/* The config was read again. */
void hosts_reload(struct daemon *daemon, const struct settings *before);

struct host *host_by_name(struct hosts *hosts, const char *name);
struct host *host_by_number(struct hosts *hosts, uint32_t number);
/* Of a host, for people. */
const char *host_name(struct hosts *hosts, uint32_t number);
static inline const struct settings *hosts_settings(const struct hosts *hosts) {
    return &hosts->daemon->settings;
}
int64_t hosts_now(struct hosts *hosts);
/* A time of wire/link.h. */
static inline int64_t hosts_due(uint64_t at) {
    return at > INT64_MAX ? INT64_MAX : (int64_t) at;
}
/* Have the timer run at that time, or before. */
void hosts_wake(struct hosts *hosts, int64_t due);

/* ---- placing.c ------------------------------------------------------------------------------- */

/* What the directory says of places. */
extern const struct seat_calls hosts_seat_calls;
int placing_start(struct hosts *hosts);
void placing_stop(struct hosts *hosts);
int64_t placing_time(struct hosts *hosts, int64_t now);
/* Where a node is placed, as far as it is known here: 0: not known. */
uint32_t placing_of(struct hosts *hosts, tram_id id, uint64_t *ret_epoch);
/* It is open here: have it placed here, if it is nowhere else. */
void placing_adopt(struct hosts *hosts, tram_id id);
/* Is it being claimed here? */
bool placing_claims(struct hosts *hosts, tram_id id);
/* The connection to the directory ended: what it granted, and is not settled, may be placed
 * elsewhere before we hear of it. */
void placing_cut(struct hosts *hosts);
/* The link to that host came up. */
void placing_link(struct host *host);
/* A frame about a node that was given up. */
int placing_take(struct host *host, const hosts_frame *frame);
/* Nodes that are placed on that host, as far as it is known here, behind `after`, by ID; and, of
 * those that this bus knows, what waits here. How many, up to `most`. */
struct placing_left {
    tram_id id;
    uint64_t epoch, waiting, arrived;
};
size_t placing_left(struct hosts *hosts, uint32_t host, tram_id after,
                    struct placing_left *ret_left, size_t most);
/* How many nodes are known to be placed there. */
uint64_t placing_count(struct hosts *hosts, uint32_t host);
/* By command. -EEXIST: it is being asked for. */
int placing_takeover(struct hosts *hosts, tram_id id, uint64_t cookie);

/* What the directory says of hosts (hosts.c). */
void hosts_on_joined(struct hosts *hosts, uint32_t number);
void hosts_on_host(struct hosts *hosts, const hosts_host *words, bool gone);
void hosts_on_told(struct hosts *hosts);
void hosts_on_away(struct hosts *hosts, const char *why);

/* ---- host_server.c --------------------------------------------------------------------------- */

int host_server_start(struct hosts *hosts);
void host_server_stop(struct hosts *hosts);
void host_server_reload(struct hosts *hosts);
int64_t host_server_time(struct hosts *hosts, int64_t now);
/* Look at the connections' certificates; seconds of the clock. */
void host_server_look(struct hosts *hosts, int64_t seconds);

/* ---- peers.c --------------------------------------------------------------------------------- */

int peers_start(struct hosts *hosts);
void peers_stop(struct hosts *hosts);
/* A host is known, has other addresses, or is not known any more. */
int peer_begin(struct host *host);
void peer_change(struct host *host);
void peer_end(struct host *host);
int64_t peers_time(struct hosts *hosts, int64_t now);
/* A network interface came up: every back-off ends. */
void peers_hurry(struct hosts *hosts);
/* Say something to the daemon of that host, in a CONTROL frame. -ENOTCONN */
int peer_say(struct host *host, const hosts_frame *frame);
bool peer_is_up(const struct host *host);
/* Something of its link is to be written. */
void peer_flush(struct host *host);
struct link *peer_link(const struct host *host);

/* Did it come over loopback: is that host on this machine? */
bool peer_is_local(const struct host *host);
/* What is known of the link to it. */
void peer_report(struct host *host, Tram__Control__Link *ret_link);
const char *peer_error(const struct host *host);
/* Look at the connections' certificates; seconds of the clock. */
void peers_look(struct hosts *hosts, int64_t seconds);
/* Whoever spins: read what came. False: nothing. */
bool peers_turn(struct hosts *hosts);

/* ---- dial.c ---------------------------------------------------------------------------------- */

/* Connect to one address after the other of a list, as text, those of our segments first; *at
 * counts on. NULL: none can be. */
struct transport *hosts_dial(struct hosts *hosts, const char *list, uint16_t port, unsigned *at,
                             const char *expected, struct wrong *wrong);
/* Between half and the whole of it. */
int64_t hosts_jitter(int64_t ns);

/* ---- listener.c ------------------------------------------------------------------------------ */

/* A listener for one address; accepted ones come by its function. */
struct listener {
    struct listener *next;
    struct hosts *hosts;
    int fd;
    tram_io *io;
    void (*on_accept)(struct hosts *hosts, int fd);
    bool failed;         /* the last time; said once */
    int64_t again;       /* when it listens again; 0: it does */
};
int listener_new(struct hosts *hosts, const char *address, uint16_t port,
                 void (*on_accept)(struct hosts *hosts, int fd), struct listener **list,
                 struct wrong *wrong);
int64_t listeners_time(struct listener *list, int64_t now);
void listeners_free(struct listener **list);

/* ---- stands.c -------------------------------------------------------------------------------- */

int stands_start(struct hosts *hosts);
void stands_stop(struct hosts *hosts);
int64_t stands_time(struct hosts *hosts, int64_t now);
/* That host is no more: no link to it carries anything; and, without its link: nothing of it is
 * kept. */
void stands_leave(struct host *host);
/* What torn.c keeps of it. */
void torn_free(struct host *host);
void stands_drop(struct host *host);
/* Look through the whole bus. */
void stands_look(struct hosts *hosts);
/* Whoever spins: hear who knocked. False: nobody. */
bool stands_turn(struct hosts *hosts);

/* How many messages wait here for nodes on that host. */
uint64_t stands_waiting(struct hosts *hosts, uint32_t host);
/* How many for that node; and how many of it wait here for nodes of this host. */
void stands_count(struct hosts *hosts, tram_id id, uint64_t *ret_waiting, uint64_t *ret_arrived);
/* What it sent here goes first, as the directory says: who refused that did not know yet. */
void stands_again(struct hosts *hosts, tram_id id);
/* For how many nodes wait messages here that the node sent? And for which, up to HOSTS_LEFT_EACH;
 * if there are more: for one, 0. `here`: of those placed here only these are looked at; NULL: all.
 * -EAGAIN: not known yet; 0 is in *ret_to. */
int stands_left(struct hosts *hosts, tram_id id, const tram_id *here, size_t count_here,
                tram_id *ret_to);

/* ---- trust.c --------------------------------------------------------------------------------- */

/* What the command line says of the cluster. Its name and that of this host are in the keys. */
int trust_join(const struct daemon_options *options, struct settings *settings,
               struct wrong *wrong);
int trust_start(struct hosts *hosts);
void trust_reload(struct hosts *hosts);
/* End the connections of whoever is not to be trusted any more. */
void trust_look(struct hosts *hosts);
int64_t trust_time(struct hosts *hosts, int64_t now);
/* The link to that host came up; it says who is revoked. */
void trust_up(struct host *host);
int trust_take(struct host *host, const Tram__Hosts__Revoked *revoked);
/* Somebody who connected was turned away before it said who it is: a line for the log, unless there
 * were too many. */
void trust_turned_away(struct hosts *hosts, const char *why);
/* What a transport says begins with its address: the rest. */
const char *trust_bare(const char *address, const char *why);
/* What a process wrote of itself becomes something that other daemons take, and tools may show. */
char *trust_shown(char *text);

/* ---- report.c -------------------------------------------------------------------------------- */

/* A command of that number ended. */
void hosts_said(struct hosts *hosts, uint64_t number, int error, const char *text);
/* … and has placed that node here, which was that host's. */
void hosts_said_whose(struct hosts *hosts, uint64_t number, tram_id id, uint64_t epoch,
                      uint32_t host);
/* Who gave a command is gone. */
void commands_forget(struct hosts *hosts, const struct conn *conn);
void commands_stop(struct hosts *hosts);

/* ---- trace.c --------------------------------------------------------------------------------- */

/* A tool asks about a channel, or whether a host is there. */
void trace_ask(struct conn *conn, const Tram__Control__Cluster *asked);
/* Another daemon does, or answers. */
int trace_take(struct host *host, const hosts_frame *frame);
int64_t trace_time(struct hosts *hosts, int64_t now);
/* Who asked is gone; NULL: all. */
void trace_forget(struct hosts *hosts, const struct conn *conn);
/* The host of that question, which is this one, has looked: the Sample is for who asked. */
void trace_sampled(struct hosts *hosts, uint64_t number, Tram__Control__Sample *sample);

/* ---- sample.c -------------------------------------------------------------------------------- */

#define SAMPLE_ROWS_MOST 1024u /* channels, and nodes, of one host */
/* Look at this bus for another daemon (host), or, with host NULL, for a question of trace.c. */
void sample_begin(struct hosts *hosts, struct host *host, uint64_t number, uint32_t rows);
int64_t sample_time(struct hosts *hosts, int64_t now);
/* That host is gone. */
void sample_leave(struct host *host);
void sample_stop(struct hosts *hosts);

/* ---- far.c ----------------------------------------------------------------------------------- */

/* The link to that host came up; is gone; says names. */
void far_up(struct host *host);
void far_down(struct host *host);
int far_take(struct host *host, const Tram__Hosts__Names *names);
int64_t far_time(struct hosts *hosts, int64_t now);
/* All that it announced goes. */
void far_forget(struct host *host);
/* How many names that host has announced. */
uint64_t far_count(const struct host *host);

/* The names of hosts that were told before may still come (watch.c). */
bool far_pending(const struct hosts *hosts);

/* ---- looks.c --------------------------------------------------------------------------------- */

/* The link to that host came up; is gone; says something of a node's life. */
void looks_up(struct host *host);
void looks_down(struct host *host);
int looks_take(struct host *host, const hosts_frame *frame);
/* Ask that host of a node's life; `stop`: no longer, unless somebody here looks at it. */
int looks_ask(struct host *host, tram_id node, bool stop);
int64_t looks_time(struct hosts *hosts, int64_t now);

/* ---- strays.c -------------------------------------------------------------------------------- */

/* That is a stand-in for an ephemeral node of another host, from now on. */
void strays_add(struct standin *standin);
/* Is it the one in that round of its ID (0: not said)? If not, what is here of the other goes. */
bool strays_is(struct standin *standin, uint64_t number);
/* That host says in which round it lives, 0: not; the link to it came up; is gone; it has named all
 * it sends. */
void strays_life(struct host *host, tram_id id, uint64_t number);
void strays_up(struct host *host);
void strays_down(struct host *host);
bool strays_has(struct hosts *hosts, tram_id id);
int64_t strays_time(struct hosts *hosts, int64_t now);
