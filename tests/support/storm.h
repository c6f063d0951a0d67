/* SPDX-License-Identifier: MIT
 *
 * The kill storm: a supervisor forks nodes that send, relay and receive, kills them with -9 at
 * random instants, restarts them on the same IDs, and an oracle looks at every channel.
 *
 * What is known about a channel lies in memory that survives the processes. Both sides say there
 * what they are about to do before they call the library, and what became of it afterwards; so a
 * successor knows for each message whether something is sure or only possible.
 *
 *   sender     tried     the highest number of which a send was begun
 *              accepted  the highest number that a call said was accepted
 *              at open:  accepted <= tram_accepted() <= tried, and from there it goes on
 *   receiver   calling   a receive is under way: up to so many messages may be handed out unseen
 *              log[seq]  handed out how often (for sure, and perhaps), and what is known of its
 *                        release: not yet, under way, done
 *
 * The number of a message is the library's sequence number; its size, tag and bytes follow from
 * channel and number, so everybody can check everything.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <tram/tram.h>

#include "support/kit.h"

enum {
    STORM_NODES = 32,
    STORM_CHANS = 96,
    STORM_LOG = 4096,   /* numbers remembered of a channel: more than can be in hand */
    STORM_ASIDE = 512,  /* messages set aside that a channel remembers */
    STORM_LIVES = 4096, /* ephemeral nodes, in turn */
};

struct storm_config {
    uint64_t seed;
    unsigned kills;  /* of one round */
    unsigned phases; /* a round is quiet, and all is checked, so often */
    bool verbose;
    const char *dir; /* where the bus lies */
};

struct storm_tally {
    uint64_t kills, lives, takeovers, accepted, handed, repeated, aside, ephemeral;
};

/* One storm; 0, or -1 after it has said what was wrong. Adds to *tally. */
int storm_round(const struct storm_config *config, struct storm_tally *tally);

/* ---- inside --------------------------------------------------------------------------------- */

enum storm_state {
    FRESH = 0,
    HANDED,    /* in hand, or was when its receiver died */
    RELEASING, /* a call that releases it was begun */
    RELEASED,  /* and it came back: it must not come again */
    SET_ASIDE, /* skipped after enough attempts: must be on the list */
};

struct storm_entry {
    uint64_t seq;
    uint16_t handed; /* hand-outs that were seen */
    uint16_t unsure; /* deaths at which it may have been handed out unseen */
    uint32_t state;
};

struct storm_chan {
    int sender, receiver; /* indices of nodes */
    int origin;           /* the channel whose messages these are: itself, or a relay's upstream */
    unsigned big;         /* how many of a thousand messages are big: the ring has to grow */
    uint32_t usual;       /* size of most messages */

    /* The sender's. */
    uint64_t accepted, tried;
    uint64_t final; /* accepted at an orderly end + 1; 0: goes on */

    /* The receiver's. */
    uint64_t handed;  /* the highest number seen */
    uint64_t settled; /* all up to here are released or set aside, for sure */
    uint64_t handouts, repeats;
    uint64_t n_aside, n_retried;
    uint64_t aside[STORM_ASIDE];
    struct storm_entry log[STORM_LOG];
};

enum storm_kind { SENDER, RECEIVER, RELAY, EPHEMERAL };

struct storm_node {
    tram_id id;
    enum storm_kind kind;
    uint64_t ring_size;
    uint32_t attempts; /* hand-outs before a message is set aside */
    int64_t spin_ns;
    unsigned calling; /* of a receive that is under way: its maximum; else 0 */
    unsigned lives;
    pid_t pid;      /* 0: not running */
    int ended;      /* it said that its work is done */
    char doing[32]; /* for the report: the call that it is in */
};

struct storm_life { /* of an ephemeral node */
    uint64_t tried, accepted, handed;
};

struct storm_world {
    uint64_t seed;
    char dir[128];
    int n_nodes, n_chans;
    struct storm_node nodes[STORM_NODES];
    struct storm_chan chans[STORM_CHANS];
    struct storm_life lives[STORM_LIVES];
    uint64_t n_lives;
    _Atomic int ending; /* senders come to an end, receivers drain */
    _Atomic int failed;
    uint64_t progress; /* moves while something happens; torn updates do not matter */
};

/* storm_world.c */
struct storm_world *storm_world_new(const struct storm_config *config);
void storm_world_free(struct storm_world *world);
struct storm_chan *storm_find(struct storm_world *world, tram_id from, int receiver);
uint32_t storm_size(const struct storm_world *world, const struct storm_chan *chan, uint64_t n);
uint64_t storm_key(const struct storm_world *world, const struct storm_chan *chan, uint64_t n);
void storm_report(struct storm_world *world);
void storm_fail(struct storm_world *world, const struct storm_chan *chan, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));

/* storm_send.c, storm_receive.c: a life of a node, from fork to its orderly end. */
struct storm_life_of {
    struct storm_world *world;
    struct storm_node *self;
    int index;
    tram_node *node;
    struct rng rng;
};

void storm_sender(struct storm_life_of *me);
void storm_ephemeral(struct storm_life_of *me);
void storm_receiver(struct storm_life_of *me);
void storm_relay(struct storm_life_of *me);

/* Open the node, though its last holder may still be dying. */
void storm_open(struct storm_life_of *me);

/* What the library says of a channel must fit what is known; gives the number of the next. */
uint64_t storm_resume(struct storm_life_of *me, struct storm_chan *chan);

/* storm_oracle.c: the receiver's log. */
struct storm_seen { /* how far one life has come in each channel */
    uint64_t last[STORM_CHANS];
};

void oracle_begin(struct storm_life_of *me, struct storm_seen *seen);
void oracle_calling(struct storm_life_of *me, unsigned max);
struct storm_chan *oracle_handed(struct storm_life_of *me, struct storm_seen *seen,
                                 const struct tram_msg *msg);
/* All numbers up to `upto` were there before a call that found nothing: they may only be such as
 * were released or set aside. */
void oracle_skipped(struct storm_life_of *me, struct storm_seen *seen, struct storm_chan *chan,
                    uint64_t upto, const char *call);
void oracle_called(struct storm_life_of *me);
void oracle_releasing(struct storm_chan *chan, uint64_t seq);
void oracle_released(struct storm_life_of *me, struct storm_chan *chan, uint64_t seq);
void oracle_retried(struct storm_life_of *me, const struct tram_msg *msg);
bool oracle_drained(struct storm_life_of *me);
