/* SPDX-License-Identifier: MIT
 *
 * Two sides of a pair of orders, raced: for litmus_test.c and service_litmus_test.c, which define
 * `struct litmus` before, and reset().
 */
#pragma once

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"

#define LONGEST (400 * KIT_MS) /* a race with its fences, on a machine that is busy; … */
#define PATIENCE (12 * KIT_S)  /* … and until something is seen that must be */
#define BUSY     (6 * 1000000) /* fewer rounds in all that time: the sides did not run at once */

typedef bool (*side)(struct litmus *litmus);

struct race {
    struct litmus litmus;
    side sides[2];
    uint64_t rounds, done;
    uint64_t neither;
    int64_t patience;
    bool until_seen;
    _Alignas(64) uint64_t at[2]; /* the round that a side is ready for */
    _Alignas(64) bool saw[2];
    bool over;
};

static struct race race;

static void reset(struct litmus *litmus);

/* Both sides, at once. */
static void meet(int me, uint64_t round) {
    __atomic_store_n(&race.at[me], round, __ATOMIC_RELEASE);
    for (unsigned n = 1; __atomic_load_n(&race.at[!me], __ATOMIC_ACQUIRE) < round; n++)
        if (n % 4096 == 0)
            sched_yield();
}

/* By how much one side is late differs from machine to machine and from minute to minute. So it is
 * searched for: now one of them waits longer, now the other. */
static void lie_in_wait(struct rng *rng, int me, uint64_t round) {
    uint64_t late = round / 512 % 64;
    uint64_t mine = late % 2 == (uint64_t) me ? late : 0;

    for (volatile uint64_t n = mine + rng_below(rng, 24); n > 0; n--)
        continue;
}

static void *run_side(void *arg) {
    int me = arg != NULL;
    struct rng rng = { (uint64_t) me + 1 };
    int64_t end = kit_now() + race.patience;

    kit_pin(me);
    for (uint64_t round = 1;; round++) {
        if (me == 0) {
            reset(&race.litmus);
            race.over = round > race.rounds || kit_now() > end ||
                        (race.until_seen && race.neither >= 3);
        }
        meet(me, 3 * round);
        if (race.over)
            return NULL;
        lie_in_wait(&rng, me, round);
        meet(me, 3 * round + 1);
        lie_in_wait(&rng, me, round);
        race.saw[me] = race.sides[me](&race.litmus);
        meet(me, 3 * round + 2);
        if (me == 0) {
            race.done++;
            race.neither += !race.saw[0] && !race.saw[1];
        }
    }
}

static uint64_t count(side one, side other, bool until_seen, int64_t patience, uint64_t rounds) {
    pthread_t thread;

    memset(&race, 0, sizeof race);
    race.sides[0] = one;
    race.sides[1] = other;
    race.until_seen = until_seen;
    race.rounds = rounds;
    race.patience = patience;
    CHECK_EQ(pthread_create(&thread, NULL, run_side, &race), 0);
    (void) run_side(NULL);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    return race.neither;
}

/* Is a fence that is not there to be seen here? Instrumented code is slow enough, or ordered
 * enough, to hide it. */
static bool can_see(void) {
#if defined(__x86_64__)
    return sysconf(_SC_NPROCESSORS_ONLN) >= 2 && strcmp(test_sanitizer(), "thread") != 0;
#else
    return false;
#endif
}

static uint64_t rounds(void) {
    return kit_env("LITMUS_ROUNDS", *test_sanitizer() ? 30000 : 200000);
}

static void without(const char *label, side one, side other, bool visible) {
    bool demanded = visible && can_see();
    uint64_t seen = demanded ? count(one, other, true, PATIENCE, UINT64_MAX)
                             : count(one, other, true, LONGEST / 4, 50 * rounds());

    printf("    without %s: %llu of %llu\n", label, (unsigned long long) seen,
           (unsigned long long) race.done);
    if (demanded && seen == 0 && race.done < BUSY)
        printf("    too few: this machine is too busy to show it\n");
    else if (demanded && seen == 0)
        FAIL("without %s nothing was seen: this test is blind", label);
}

static void with(side one, side other) {
    uint64_t seen = count(one, other, false, LONGEST, rounds());

    printf("    %llu rounds\n", (unsigned long long) race.done);
    if (seen > 0)
        FAIL("neither side saw the other's store, %llu times", (unsigned long long) seen);
}
