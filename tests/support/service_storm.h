/* SPDX-License-Identifier: MIT
 *
 * The kill storm with services: a supervisor forks servers, clients and tramd, kills them with -9,
 * stops them or hands them over with SIGTERM at random instants, starts them again, and an oracle
 * looks at every request.
 *
 * What is known of a request lies in memory that survives the processes (struct siege_ask): who
 * asked, when, until when; how often it was executed, and how marked; how it ended. The client
 * writes there before it calls the library, the server before it answers. So whoever reads it knows
 * what must be, and what may be.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <tram/service.h>

#include "support/kit.h"

#define SIEGE_STALL_NS (100 * KIT_MS) /* of a sleep of 1 ms */

enum {
    SIEGE_SERVERS = 8,
    SIEGE_CLIENTS = 7,
    SIEGE_ASKS = 1 << 19, /* of one round; then nobody asks any more */
    SIEGE_OPEN = 48,      /* that one client has under way */
    SIEGE_ATTEMPTS = 254, /* before a message is set aside: in this storm nobody lives long */
    SIEGE_PENDING = 512,  /* that one server has deferred: more than all clients have under way */
};

enum siege_service {
    ALPHA,  /* one server, with a node ID of its own */
    BETA,   /* one server on an ephemeral node: what waits for it goes with it */
    WORK,   /* a group of three instances */
    DELTA,  /* two nodes want the name; who has it not, tries again */
    FRONT,  /* asks ALPHA before it answers */
    SIEGE_SERVICES,
};

enum siege_kind {
    ASK_ECHO,
    ASK_DEFER,   /* answered later, in any order */
    ASK_STREAM,  /* … in parts */
    ASK_BACK,    /* the server asks its client first */
    ASK_ERROR,
    ASK_LEAVE,   /* the handler leaves it */
    ASK_CHAIN,   /* the server asks ALPHA first, if it is FRONT */
    ASK_BLOCK,   /* … in a blocking call */
    ASK_KINDS,
    ASK_ONEWAY = ASK_KINDS,
    ASK_INNER,   /* FRONT's own */
};

enum siege_end { OPEN = 0, ENDED, CANCELLED };

struct siege_ask {
    uint32_t life;             /* of the client; its number in the world */
    uint8_t service, kind;
    bool waits, accepted;      /* accepted: of a one-way message */
    bool unheard;              /* its client has had no server yet */
    _Atomic uint8_t end;       /* enum siege_end */
    _Atomic uint16_t executed; /* how often a handler saw it */
    uint16_t parts;
    int status;
    int64_t asked, deadline;   /* CLOCK_MONOTONIC; TRAM_FOREVER */
};

/* What a request has as payload, and bytes that follow from its number behind that. */
struct siege_payload {
    uint32_t index;
    uint8_t kind, service;
    uint16_t parts;
    uint64_t key;
};

struct siege_server {
    tram_id id;
    enum siege_service service;
    char address[32];
    pid_t pid;          /* 0: not running */
    int64_t due;        /* when it is started again */
    unsigned lives;
    _Atomic pid_t online; /* who is published, as he was told */
};

struct siege_client {
    tram_id id;         /* or TRAM_EPHEMERAL */
    bool waits;
    pid_t pid;
    int64_t due;
    unsigned lives;
    uint32_t life;
    int ended;          /* in order */
    char doing[24];
};

struct siege_world {
    uint64_t seed;
    char dir[128];
    bool gentle;                            /* nobody is killed but tramd: nothing may be lost */
    struct siege_server servers[SIEGE_SERVERS];
    struct siege_client clients[SIEGE_CLIENTS];
    int n_servers, n_clients;
    _Atomic int64_t disturbed[SIEGE_SERVICES]; /* when one of its servers was killed or started */
    _Atomic int64_t tramd;   /* when that was killed or started */
    _Atomic int64_t stalled; /* while the machine did nothing, in all, as the supervisor saw */
    _Atomic int64_t dozes;   /* since when that sleeps its millisecond; 0: doesn't */
    _Atomic int ending, failed;
    _Atomic uint32_t n_asks, n_lives;
    struct siege_ask asks[SIEGE_ASKS];
};

struct siege_config {
    uint64_t seed;
    int64_t length_ns;
    bool gentle;
    const char *dir; /* where the bus lies */
};

struct siege_tally {
    uint64_t kills, handovers, daemons, lives, asked, answered, failed, timed_out, unknown, nobody,
        cancelled, open, again, one_way;
    int64_t names_ns; /* the longest time until all names were there again */
    int64_t drain_ns; /* … until a server had handed over */
};

/* One storm: 0, or -1 after it has said what was wrong. Adds to *tally. */
int service_storm(const struct siege_config *config, struct siege_tally *tally);

/* ---- inside ---------------------------------------------------------------------------------- */

/* service_storm_world.c */
/* kit_patience(), and as long as the machine stood still in this storm. */
int64_t siege_patience(const struct siege_world *world, int seconds);
struct siege_world *siege_world_new(const struct siege_config *config);
void siege_world_free(struct siege_world *world);
void siege_fail(struct siege_world *world, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));
/* Size of its payload, and the payload in `buffer`, which has SIEGE_PAYLOAD bytes. */
#define SIEGE_PAYLOAD 40000u
size_t siege_payload(const struct siege_world *world, uint32_t index, enum siege_kind kind,
                     void *buffer);
/* Reads and checks one. */
struct siege_payload siege_parse(struct siege_world *world, const struct tram_view *view);
/* What it is answered with: 8 bytes. */
uint64_t siege_answer(const struct siege_world *world, uint32_t index);
/* A handler has it. */
void siege_executed(struct siege_world *world, const struct siege_payload *payload,
                    const struct tram_view *view);
/* Its end, as the client was told. */
void siege_ended(struct siege_world *world, uint32_t index, const struct tram_result *result);
const char *siege_name(enum siege_service service);
/* Opens a worker, though the last holder of its ID may still be dying. */
tram_worker *siege_worker(struct siege_world *world, tram_id id, const char *name);

/* A life, from fork to the end in order (service_storm_server.c, service_storm_client.c). */
void siege_serve(struct siege_world *world, struct siege_server *self);
void siege_client(struct siege_world *world, struct siege_client *self);
/* Are all names there within a second? Exits with 0; writes the time to *ret_ns (shared). */
void siege_probe(struct siege_world *world, int64_t since, int64_t *ret_ns);
