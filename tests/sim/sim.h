/* SPDX-License-Identifier: MIT
 *
 * The simulator: whole clusters in virtual time, in one process, from one number (the seed). Real
 * are the link machine (src/wire/link.h), one for each pair of hosts, and the directory and its
 * members (src/wire/directory.h, member.h), with faults compiled in to order (link_bug.h). Models
 * are what they stand on:
 *
 *   sim_net.c     connections that are cut, half open, slow, stalled, late; who dials when
 *   sim_ring.c    rings and what a death leaves of them, as docs/SEGMENT.md has it
 *   sim_store.c   the store of the link: stand-ins, mirrors, past and waiting streams
 *   sim_dir.c     the host server: connections to the directory, and its file
 *   sim_place.c   where nodes are placed: claims, yielding, take-overs, as a daemon does it
 *   sim_move.c    what becomes of rings when a node moves; journals, given and entered
 *   sim_gone.c    channels that are removed; ephemeral nodes, whose lives end
 *   sim_node.c    processes that send, receive, keep messages in hand, and die
 *   sim_fault.c   what goes wrong
 *   sim_oracle.c  what may be lost, may come again, must be marked, must come
 *   sim_known.c   worlds that failed once
 *   sim.c         events, one after the other; the command line
 *
 * Time is in ns. Everything random comes from the world's seed, so a seed is a run.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "wire/link.h"
#include "wire/link_bug.h"
#include "wire/link_frame.h"
#include "wire/directory.h"
#include "wire/member.h"

#define HOSTS 5
#define NODES 24
#define STREAMS 512
#define MESSAGES 400u /* of a stream */
#define CONNS 64
#define LINES 32
#define RECORD 16u    /* head: number, size, sum */
#define MS UINT64_C(1000000)
#define NEVER UINT64_MAX

struct sim;
struct host;

/* ---- what is known of messages (sim_oracle.c) ------------------------------------------------ */

struct stream {
    uint64_t id;
    int from, to;
    uint64_t sent;
    bool fenced;                  /* its sender was taken over: the rest need not come */
    uint64_t fence;               /* … by this epoch */
    uint8_t handed[MESSAGES + 1]; /* times */
    bool released[MESSAGES + 1], again[MESSAGES + 1], lost[MESSAGES + 1];
    bool stale[MESSAGES + 1];     /* nor after what the next holder sent */
    uint16_t epoch[MESSAGES + 1]; /* of its sender */
    uint64_t doubt;               /* up to here a mark may be needless */
    bool unknown;                 /* nobody knows exactly what was handed out: what leaves is in
                                     doubt, too, until a mirror is made, or its origin is read */
};

/* ---- rings ----------------------------------------------------------------------------------- */

struct ring {
    struct ring *next_dead;       /* its memory may still be pointed to by a batch */
    struct stream *stream;        /* the oracle's, for checks only */
    uint64_t id;
    int from, to;
    /* Of a mirror: where the origin is, and which memory of that host it lay in. */
    bool mirror;
    int source;
    uint8_t instance;
    bool orphan;                  /* the origin is gone: ended, or with its host's memory */
    bool unnamed;                 /* … or its host says so, that may err: it did not name it */
    bool left;                    /* the receiver moved away; until the origin's fate is known */
    uint64_t left_at;
    bool promoted;                /* was a mirror whose origin is gone, and its receiver moved */
    uint64_t from_epoch;          /* of a mirror: as the last OPEN said */
    /* The words. */
    uint64_t base, accepted, consumed, handed, unsure;
    uint64_t end[MESSAGES + 1];   /* position behind each message, by number */
    uint8_t attempts[MESSAGES + 1];
    bool released[MESSAGES + 1];  /* above consumed */
    uint64_t capacity;
    uint8_t *data;                /* 2 × capacity, twice the same, as the real one is mapped */
    uint8_t *old[24];             /* smaller ones: a batch may still point there */
    int olds;
    /* The daemon's, gone with it. */
    uint64_t placed;
    struct chan *chan;
    struct link_out *out;
    int out_host;
    bool wanted;
    bool past;                    /* of an origin: nobody needs it */
    bool away, again;             /* of an origin: was told so; has asked the directory since */
    bool stale;                   /* … that its sender is elsewhere */
};

/* A channel in, of a link's present connection; without a ring: it waits. */
struct chan {
    struct chan *next;
    struct host *host;
    int peer, from, to;
    uint64_t id;
    struct link_in *in;
    struct ring *ring;
    bool later, stalled;
};

/* What a receiver's host says when it gives the node up; and what it knows of streams that are
 * over. */
struct journal {
    struct journal *next;
    int from, to;
    uint64_t id, consumed, handed, unsure;
    bool past;                    /* only consumed is known */
    bool retired;                 /* the mirror was drained, and gave way to another stream's */
    int source;                   /* … and came from there, */
    uint8_t instance;             /* … from that memory */
    uint8_t attempts[MESSAGES + 1];
    bool released[MESSAGES + 1];
};

/* ---- nodes, hosts, connections --------------------------------------------------------------- */

struct node {
    int home;                     /* host on which its process runs, -1: none */
    uint64_t epoch;               /* … by this placement */
    uint64_t life;
    uint64_t next;                /* when it does something */
    int hold;                     /* messages that it keeps in hand, at most */
    bool slow, disorder;
    bool over;                    /* its life: it is ephemeral, and was killed */
    int wish;                     /* host on which it is to be started, -1: none */
    bool wish_take;
    uint64_t wish_at;
    struct { struct ring *ring; uint64_t id, seq; } hand[32];
    int hands;
};

struct place {
    bool here;
    uint64_t epoch;
    bool yielded;                 /* it was here, and was given up in order */
    uint64_t was;                 /* the epoch in which it was here */
};

struct peer {
    struct link *link;
    struct conn *conn;            /* in use */
    uint64_t dial_at, backoff;
    int dialling;
    bool settle_due;
    uint32_t control_out, control_in;
    uint8_t instance;             /* of that host, on this connection */
};

/* Where a node is, as the directory said; `told`: in this life of the daemon. */
struct where {
    int host; /* -1: nowhere */
    uint64_t epoch;
    bool known, told;
};

/* Where what a node sent waits, and for whom, as the directory said; the oldest first. */
struct left {
    bool told;                    /* for the epoch that is known of */
    uint32_t host[HOSTS_LEFT_MAX], to[HOSTS_LEFT_MAX], count;
    uint64_t at;                  /* when it is looked at whether it waits here still */
};

/* Of an opener, on its way. */
struct claim {
    bool on, granted, began;      /* what the old host knows is missing, or comes */
    uint64_t since, epoch;
    uint64_t serial;              /* of the last question */
    int from;
};

struct host {
    struct sim *sim;
    int index;
    uint64_t gives;               /* questions for what old hosts know */
    struct link_identity self;
    uint8_t instance;
    bool up, daemon;              /* the machine; its daemon */
    uint64_t back_at, daemon_at;  /* when they come back */
    uint64_t paused;              /* the daemon is stopped until then */
    uint64_t tries;
    uint64_t no_memory;           /* until then */
    int64_t skew;
    struct peer peers[HOSTS];
    struct ring *rings[NODES][NODES]; /* [from][to], origins and mirrors: as files, one of a name */
    struct journal *journals;
    struct chan *chans;
    struct place place[NODES];
    struct where where[NODES];
    struct left left[NODES];
    struct claim claims[NODES];
    bool watched[NODES];
    uint64_t ask_at[NODES];
    uint32_t pending;             /* nodes with a claim, or to be asked after; some more */
    struct member *member;
    struct line *line;            /* to the host server */
    uint64_t line_at;             /* when it is looked at, or dialled */
    bool cut_off;                 /* from the directory */
    uint64_t cut_off_until;
    bool look;                    /* something changed: who waits may not have to any more */
    bool dirty;                   /* origins are to be opened or closed */
    uint64_t due;                 /* when its links or dials are, as world_next() saw it */
    bool touched;                 /* since then */
};

enum end_state { END_NONE, END_GREETING, END_TAKEN, END_CLOSED };

struct pipe {
    uint8_t *bytes;
    size_t start, end, room;
    struct { uint64_t at; size_t size; } parts[64];
    int first, count;
    uint64_t last;                /* when the last part arrives */
    bool fin, dead;               /* ends behind the parts; nothing arrives any more */
    uint64_t fin_at;
    uint64_t stalled;             /* until then */
};

struct conn {
    bool used;
    int host[2];
    enum end_state state[2];
    struct greet greet[2];
    struct pipe pipe[2];          /* [side]: what that side wrote */
    uint64_t starts;              /* when it is there */
    uint64_t latency;
    size_t window, chunk;
};

/* A connection to the host server. Of two: [0] the server's side, and what goes to it. */
struct line {
    int host;
    bool open[2];
    uint64_t latency;
    struct directory_member *there;
    struct way { struct letter *first, *last; struct control_in in; } way[2];
};

enum fault {
    FAULT_CUT,       /* a connection, both ends know */
    FAULT_HALF,      /* … only one does */
    FAULT_STALL,     /* a connection, one way, for a while */
    FAULT_WALL,      /* between two hosts, one way or both */
    FAULT_DAEMON,    /* is killed, and comes back */
    FAULT_HOST,      /* loses its memory */
    FAULT_NODE,      /* is killed */
    FAULT_MOVE,
    FAULT_TAKE,
    FAULT_MEMORY,    /* none, for a while */
    FAULT_CLOCK,
    FAULT_PAUSE,     /* a daemon is stopped for a while */
    FAULT_DIRECTORY, /* a host is cut off from it */
    FAULT_CONTROL,   /* no fault: something is said beside the channels */
    FAULT_REMOVE,    /* tram rm: all that waits for a node */
    FAULT_NOTE,      /* the host server can write nothing for a while */
    FAULTS,
};

struct wall { bool blocked; uint64_t until; };

struct sim {
    uint64_t seed, random, now, calm_at, end_at;
    bool calm;                    /* no more faults, all is repaired */
    bool trace, failed;
    char why[300];
    int hosts, nodes, lasting;    /* nodes from the latter on are ephemeral */
    struct host host[HOSTS];
    struct node node[2 * NODES];  /* at NODES + n: a process of n that was fenced and lives on */
    uint64_t running;             /* of these, those that may have something to do */
    struct { int host; uint64_t epoch, taken; } truth[NODES];
    struct conn conns[CONNS];
    int conns_top;                /* none from here on was ever used */
    struct wall walls[HOSTS][HOSTS]; /* from, to */
    struct stream *streams[STREAMS];
    int streams_count;
    uint64_t newest[NODES][NODES]; /* epoch of the youngest sender whose message was handed out */
    int server;                   /* host of the host server */
    struct directory *directory;  /* NULL: it does not run */
    struct control_out file;      /* … and its file, which can't be written until then: */
    uint64_t notes_fail, dir_at, lease;
    struct line lines[LINES];
    int lines_top;
    struct ring *dead;
    uint64_t fault_at, left_at;
    unsigned odds[FAULTS];        /* of faults */
    unsigned odds_sum;
    int messages_left;
    uint64_t capacity;
    uint64_t size_max;
    uint64_t steps, delivered, repeated, marked, faults;
};

/* sim.c */
uint64_t sim_random(struct sim *sim, uint64_t below);
bool sim_chance(struct sim *sim, unsigned percent);
void sim_trace(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* sim_net.c */
void net_init(struct sim *sim);
uint64_t net_next(const struct sim *sim);
void net_step(struct sim *sim);
void net_pump(struct host *host);             /* write what there is */
uint64_t net_host_next(struct host *host);
bool net_host_due(struct host *host);
void net_host_time(struct host *host);        /* timers, dialling */
void net_close(struct sim *sim, struct conn *conn, int side, bool quietly);
void net_daemon_died(struct host *host, bool host_died);
void net_free(struct sim *sim);

/* sim_ring.c */
struct ring *ring_new(struct host *host, int from, int to, uint64_t id, uint64_t consumed);
void ring_remove(struct host *host, struct ring *ring);
bool ring_append(struct sim *sim, struct ring *ring, uint64_t size);
bool ring_check(const struct ring *ring, uint64_t seq); /* is it as it was sent */
void ring_grow(struct ring *ring, uint64_t span);
void ring_twin(struct ring *ring, uint64_t position, uint64_t size); /* make the halves the same */
void ring_consume(struct ring *ring, uint64_t consumed);
uint64_t ring_position(const struct ring *ring, uint64_t seq); /* where message `seq` begins */
uint64_t ring_used(const struct ring *ring);
bool ring_drained(const struct ring *ring);
uint64_t message_size(const struct sim *sim, uint64_t id, uint64_t seq);
void rings_free(struct sim *sim);
void rings_show(struct sim *sim);

/* sim_store.c */
extern const struct link_store sim_store;     /* its `store` is a struct peer_store */
struct peer_store { struct host *host; int peer; };
extern struct peer_store sim_stores[HOSTS][HOSTS];
void store_refresh(struct host *host);        /* origins go where their receivers are */
void store_reopen(struct host *host, int from); /* … and say anew what they are */
void store_look(struct host *host);           /* who waits is asked again */
struct journal *journal_of(struct host *host, int from, int to, uint64_t id);
struct journal *journal_add(struct host *host, int from, int to, uint64_t id);
void journal_enter(struct host *host, const struct ring *ring); /* all that its words say */
void journal_remove(struct host *host, struct journal *journal);
uint64_t store_from_epoch(const struct host *host, const struct ring *ring);
bool store_is_fenced(const struct host *host, const struct ring *ring); /* a mirror's sender */
bool store_may_retire(const struct host *host, const struct ring *ring);
void store_retire(struct host *host, struct ring *ring);
void store_close(struct host *host, struct ring *ring, enum link_end end); /* an origin */

/* sim_dir.c */
void dir_start(struct sim *sim);
void dir_stop(struct sim *sim, bool quietly);
void dir_free(struct sim *sim);
void dir_leave(struct host *host, bool quietly);
void dir_cut(struct host *host);
void dir_line_send(struct host *host, const hosts_frame *frame);
uint64_t dir_next(const struct sim *sim);
void dir_step(struct sim *sim);

/* sim_place.c */
void place_init(struct sim *sim);
void place_begin(struct host *host);          /* a daemon does */
void place_end(struct host *host, bool quietly);
void place_start(struct sim *sim, int node, int host, bool take); /* wish */
void place_step(struct sim *sim);
uint64_t place_next(const struct sim *sim);
void place_host_lost(struct host *host);
void place_noted(struct sim *sim, const Tram__Hosts__Record *record);
void place_watch(struct host *host, int node);
void place_ask(struct host *host, int node);  /* of the directory, soon */
void place_say(struct host *host, int peer, const hosts_frame *frame);
void place_take(struct host *host, int peer, const hosts_frame *frame);
bool place_waits(const struct host *host, int from, int to, int peer); /* others go first */
bool place_first(const struct host *host, int from, int to, int peer); /* it is in the list */
void place_cut(struct host *host);            /* from the directory */
void place_link(struct host *host, int peer);

/* sim_move.c */
void move_give_up(struct host *host, int node);
void move_give(struct host *host, int peer, int node, const Tram__Hosts__Give *give);
void move_given(struct host *host, int node);
void move_import(struct host *host, int node, const Tram__Hosts__Channel *channel);
void move_enter(struct host *host, int node, bool exact);
void move_forget(struct host *host, int node); /* what may have been handed out meanwhile */
void move_drop_mirrors(struct host *host, int node);
void move_drop(struct host *host, struct ring *ring);
void move_left(struct host *host);           /* mirrors of which the origin is there */
void move_source_back(struct host *host, int peer);

/* sim_gone.c */
void gone_init(struct sim *sim);
void gone_begin(struct sim *sim);
bool gone_is_ephemeral(const struct sim *sim, int node);
void gone_ended(struct sim *sim, int node);
void gone_remove(struct host *host, int node);
void gone_origin(struct host *host, struct ring *ring);

/* sim_node.c */
void node_open(struct sim *sim, int node, int host, uint64_t epoch);
void node_die(struct sim *sim, int node);
void node_close(struct sim *sim, int node);   /* in order: nothing in hand */
void node_step(struct sim *sim, int node);

/* sim_fault.c */
void fault_init(struct sim *sim);
void fault_step(struct sim *sim);
void fault_daemon_back(struct host *host);
void fault_repair(struct sim *sim);

/* sim_oracle.c */
struct stream *oracle_stream(struct sim *sim, int from, int to, uint64_t id);
struct stream *oracle_find(struct sim *sim, uint64_t id);
void oracle_handed(struct sim *sim, int node, const struct ring *ring, uint64_t seq, bool marked);
void oracle_released(struct sim *sim, int node, const struct ring *ring, uint64_t seq);
void oracle_died(struct sim *sim, int node);        /* a process, with what it has in hand */
void oracle_doubt(struct sim *sim, int node);       /* what it had may come again */
void oracle_entered(struct host *host, const struct ring *ring, uint64_t left, bool exact);
void oracle_learned(struct sim *sim, int node, int host);
void oracle_gone(struct sim *sim, struct stream *stream);    /* what was not released is lost */
void oracle_removed(struct sim *sim, struct stream *stream); /* … or comes again */
void oracle_fence(struct sim *sim, struct stream *stream, uint64_t epoch);
void oracle_before_loss(struct sim *sim, int host); /* of its memory */
bool oracle_done(struct sim *sim, char *why, size_t size);
void oracle_free(struct sim *sim);

/* sim_known.c: the last one has the seed 0 */
struct known_world { uint64_t seed; const char *showed; };
extern const struct known_world sim_known[];
