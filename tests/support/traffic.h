/* SPDX-License-Identifier: MIT
 *
 * Traffic that is to be disturbed: a sender and a receiver, each a process of its own, that use
 * most calls there are, sleep now and then, and watch each other. What must hold whatever is done
 * to them, short of a kill, they check themselves:
 *
 *   - each message comes once, in order, whole, with attempt 1: it was never taken for a dead
 *     process's;
 *   - an answer "nothing there" is true: all that was accepted before the call was received;
 *   - a wait with a bound lasts that long at least, on CLOCK_MONOTONIC, and not much longer;
 *   - no call returns anything else, -EINTR for one; and no partner is down before the end.
 *
 * Needs the harness.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <tram/tram.h>

#include "support/kit.h"

struct traffic {
    uint64_t seed;
    tram_id sender, receiver;
    uint32_t flags;                                /* TRAM_OPEN_… */
    void (*begin)(struct traffic *, bool receiver); /* called in each process first; may be NULL */
    void (*seen)(struct traffic *, const struct tram_msg *msg); /* of each message; may be NULL */
    void *context;                                 /* of these two */

    pid_t pid[2]; /* of sender and receiver */
    _Atomic int ending;
    _Atomic uint64_t accepted, received;
    _Atomic uint64_t bounds; /* waits that ended by their bound */
};

/* Make a traffic and start its processes: when this returns, messages flow. */
struct traffic *traffic_start(const struct traffic *like);

/* Messages go on flowing. */
void traffic_await_progress(struct traffic *traffic);

/* Have the sender stop sending, and both end in order once all is received; frees it. Returns how
 * many messages there were. */
uint64_t traffic_end(struct traffic *traffic);

/* A look from outside: both are up, with these processes, and nobody else gets their IDs. */
void traffic_check_up(struct traffic *traffic, tram_node *node);

/* Let time pass. */
void traffic_pass(int64_t ns);
