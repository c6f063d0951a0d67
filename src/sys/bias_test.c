/* SPDX-License-Identifier: MIT
 * test: timeout=60 cpus=2
 */
#include "sys/bias.h"

#include <pthread.h>
#include <stdio.h>

#include "harness.h"
#include "sys/clock.h"

TEST(one_thread) {
    struct bias bias;

    bias_init(&bias);
    for (int i = 0; i < 3; i++) {
        CHECK(bias_try(&bias));
        CHECK(!bias_try(&bias)); /* as from a signal handler */
        CHECK(!bias_try(&bias));
        bias_unlock(&bias);
    }
}

static void *try_once(void *argument) {
    struct bias *bias = argument;
    bool got = bias_try(bias);

    if (got)
        bias_unlock(bias);
    return got ? bias : NULL;
}

static bool try_in_thread(struct bias *bias) {
    pthread_t thread;
    void *got;

    CHECK_EQ(pthread_create(&thread, NULL, try_once, bias), 0);
    CHECK_EQ(pthread_join(thread, &got), 0);
    return got != NULL;
}

TEST(handed_over) {
    struct bias bias;

    bias_init(&bias);
    for (int i = 0; i < 12; i++) { /* more often than it has slots */
        CHECK(bias_try(&bias));
        CHECK(!try_in_thread(&bias));
        bias_unlock(&bias);
        CHECK(try_in_thread(&bias));
    }
    CHECK_EQ(bias.turn, BIAS_SHARED);
    CHECK_EQ(bias.given, BIAS_SLOTS);
}

static void hand_over_in_child(void *unused) {
    struct bias bias;

    (void) unused;
    bias_init(&bias);
    CHECK(bias_try(&bias));
    bias_unlock(&bias);
    CHECK(try_in_thread(&bias));
    CHECK(bias_try(&bias));
    bias_unlock(&bias);
}

TEST(handed_over_in_a_child) {
    struct bias bias;

    bias_init(&bias); /* registers this process */
    JOIN(test_fork(hand_over_in_child, NULL));
}

/* ---- two at once ----------------------------------------------------------------------------- */

/* Under the thread sanitizer the lock is always shared: nothing to be found, slowly. */
#define ROUNDS (THREAD_SANITIZER ? 100u : 4000u)

/* What the lock protects, plain words on purpose. */
static struct bias lock;
static volatile uint64_t one, two;
static uint32_t gate; /* both wait for each round */

static void meet(uint32_t round) {
    (void) __atomic_fetch_add(&gate, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&gate, __ATOMIC_SEQ_CST) < round * 2)
        sys_relax();
}

static uint64_t hammer(uint32_t tries, uint32_t pause) {
    uint64_t got = 0;

    for (uint32_t i = 0; i < tries; i++) {
        for (uint32_t j = 0; j < pause; j++)
            sys_relax();
        if (!bias_try(&lock))
            continue;
        one = one + 1;
        two = two + 1;
        bias_unlock(&lock);
        got++;
    }
    return got;
}

static uint64_t got_of_other;

static void *other(void *unused) {
    (void) unused;
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        meet(2 * round - 1);
        got_of_other += hammer(2, round % 61);
        meet(2 * round);
    }
    return NULL;
}

TEST_TIMEOUT(two_at_once, 60) {
    pthread_t thread;
    uint64_t got = 0;

    CHECK_EQ(pthread_create(&thread, NULL, other, NULL), 0);
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        bias_init(&lock);
        if (bias_try(&lock)) /* biased to us */
            bias_unlock(&lock);
        meet(2 * round - 1);
        got += hammer(200, 0);
        meet(2 * round);
    }
    CHECK_EQ(pthread_join(thread, NULL), 0);
    printf("    %lu and %lu times inside\n", (unsigned long) got, (unsigned long) got_of_other);
    CHECK(got_of_other > 0);
    CHECK_EQ(one, got + got_of_other);
    CHECK_EQ(two, got + got_of_other);
}
