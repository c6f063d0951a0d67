/* SPDX-License-Identifier: MIT
 *
 * A try-lock that is biased to the thread which uses it: for an object that belongs to one thread
 * for long, is handed over seldom, and has to notice when two use it at once.
 *
 * Overview
 *   turn is the address of a variable of the owner's (unique among the threads that live) with the
 *   number of a slot in its low bits. The owner stores inside[slot] and looks at turn again: no
 *   read-modify-write, no fence. Anybody else takes inside[BIAS_SHARED] with an exchange, sets turn
 *   to BIAS_SHARED, and has the kernel execute a fence on every thread of the process
 *   (membarrier(2)); then it looks at the owner's slot. The lock becomes its own, a few times; a
 *   lock that goes on changing hands stays shared, and costs an exchange.
 *
 * Why it is correct
 *   owner    inside[slot] = 1; (compiler barrier) look at turn            B1
 *   other    turn = SHARED; membarrier; look at inside[slot]              B2
 *   The barrier falls before the owner's store: then its look sees SHARED, and it backs out. Or
 *   after: then the other sees the store, restores turn, and backs out. Both may back out, when
 *   both were inside a call at that moment. What the owner did under the lock is seen by the next
 *   one: its store of inside[slot] = 0 is a release, the look at it an acquire.
 *   A slot is of one thread only and never used again, so that an owner which is stopped between
 *   its two looks at turn stores into a word of its own, and no value of turn that it compares with
 *   comes again but by being restored, where the lock never left it.
 *
 * Source: Kawachiya, Koseki, Onodera: "Lock Reservation" (OOPSLA 2002), with the handshake of
 * membarrier(2) in place of stopping the owner.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "sys/compiler.h"

#define BIAS_SLOTS  7u
#define BIAS_SHARED 7u /* as turn: of nobody; as slot: the one for all */

struct bias {
    uintptr_t turn;
    uint8_t inside[BIAS_SLOTS + 1];
    uint8_t slot;  /* by which whoever is inside came in */
    uint8_t given; /* slots that had an owner */
};

/* Its address tells a thread; aligned, so that a slot fits below. glibc keeps room for what a
 * library that is loaded later wants at a fixed offset; musl refuses to load it. */
#ifdef __GLIBC__
extern _Thread_local uint64_t bias_thread __attribute__((tls_model("initial-exec")));
#else
extern _Thread_local uint64_t bias_thread;
#endif

/* Prepare a lock. Where the kernel has no such barrier it is shared from the start. */
void bias_init(struct bias *bias);

/* Nobody gets it any more. For the child of a fork, where only one thread is left. */
void bias_retire(struct bias *bias);

/* False: somebody is inside, this thread (in a signal handler) perhaps. */
bool bias_try_slow(struct bias *bias);

/* The same, if it is the caller's already. False: that, or as bias_try_slow(), which is to be asked
 * next. */
static inline bool bias_try_quick(struct bias *bias) {
    uintptr_t turn = __atomic_load_n(&bias->turn, __ATOMIC_RELAXED);
    uintptr_t slot = turn ^ (uintptr_t) &bias_thread;
    uint8_t *inside;

    if (__builtin_expect(slot >= BIAS_SLOTS, 0)) /* another's, or nobody's */
        return false;
    inside = &bias->inside[slot];
    if (__builtin_expect(__atomic_load_n(inside, __ATOMIC_RELAXED), 0))
        return false;
    __atomic_store_n(inside, 1, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST); /* B1 */
    if (__builtin_expect(__atomic_load_n(&bias->turn, __ATOMIC_RELAXED) == turn, 1))
        return true;
    __atomic_store_n(inside, 0, __ATOMIC_RELEASE);
    return false; /* another thread is taking it */
}

static inline bool bias_try(struct bias *bias) {
    return __builtin_expect(bias_try_quick(bias), 1) || bias_try_slow(bias);
}

static inline void bias_unlock(struct bias *bias) {
    __atomic_store_n(&bias->inside[bias->slot], 0, __ATOMIC_RELEASE);
}
