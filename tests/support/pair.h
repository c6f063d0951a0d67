/* SPDX-License-Identifier: MIT
 *
 * A server in a process of its own that does what its requests say, and a worker here: for the
 * tests of services.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "tram/service.h"

#define PAIR_SERVER TRAM_ID(1, 1, 5, 1)
#define PAIR_CLIENT TRAM_ID(1, 1, 5, 2)

/* What the server does with a request of this code. */
enum pair_code {
    PAIR_ECHO = 1,   /* answers with the payload */
    PAIR_ERROR,      /* … with error 42 and the payload as text */
    PAIR_LEAVE,      /* leaves it to the layer */
    PAIR_DEFER,      /* keeps it until PAIR_FLUSH or the end */
    PAIR_FLUSH,      /* answers all that it kept, the last one first, then this */
    PAIR_STREAM,     /* payload: u32 count; so many parts, each its number, then the end */
    PAIR_COUNT,      /* answers with what it counted: struct pair_counts */
    PAIR_ASK_BACK,   /* asks the client (code, payload), and answers with its answer */
    PAIR_TRACE,      /* answers with tram_trace() */
    PAIR_TELL,       /* sends the payload back one-way, then answers */
    PAIR_DIE,        /* dies with it in hand */
    PAIR_DRAFT,      /* answers in place */
    PAIR_CLOSE,      /* ends the session without an answer */
    PAIR_DRAIN,      /* answers, and hands over */
    PAIR_SELF,       /* answers with its own pid */
};

struct pair_counts {
    uint64_t requests, messages, cancelled, sessions, online, bytes, attempts;
};

struct pair_options {
    tram_id id;               /* 0: PAIR_SERVER */
    const char *address;      /* NULL: svc://pair */
    const char *const *addresses;
    uint32_t flags;           /* TRAM_SERVER_…; TRAM_SERVER_NO_DAEMON is added unless `daemon` */
    bool daemon;
    uint32_t sessions_max;
    uint64_t ring_size;
    uint64_t *handed;         /* shared memory: counts the one-way messages that it was handed */
    const char *journal;      /* a file; each request's payload is appended as it is answered */
};

/* Where it can serve, "ipc", "tcp" or "tls": an address of this test alone. The last one is that of
 * a host called "pair". */
const char *pair_address(const char *scheme);

/* Start one; it serves when this returns. */
pid_t pair_start(const struct pair_options *options);

/* A worker of this process, and a client of the server. id 0: ephemeral. */
tram_worker *pair_worker(tram_id id);
tram_client *pair_client(tram_worker *worker, const char *address, uint32_t flags,
                         const struct tram_client_handlers *handlers, void *arg);

#define UNTIL(worker, condition)                                                                   \
    do {                                                                                           \
        int64_t until_ = pair_now() + pair_patience();                                             \
        while (!(condition)) {                                                                     \
            pair_turn(worker);                                                                     \
            if (pair_now() > until_)                                                               \
                FAIL("in vain: %s", #condition);                                                   \
        }                                                                                          \
    } while (0)
int64_t pair_now(void);
int64_t pair_patience(void);
/* One turn, and a wait of at most some ms if there is nothing to do. */
void pair_turn(tram_worker *worker);
