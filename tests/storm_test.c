/* SPDX-License-Identifier: MIT
 * test: timeout=60 cpus=2
 *
 * The kill storm, short: some hundreds of kills. STORM_SEED=… repeats one; storm_prog and
 * tests/soak.sh are the long form.
 */
#include <stdio.h>
#include <stdlib.h>

#include "harness.h"
#include "support/storm.h"

static void storm(unsigned round, unsigned kills, unsigned phases) {
    struct storm_tally tally = { 0 };
    struct storm_config config = { .kills = kills, .phases = phases, .dir = test_dir() };
    uint64_t seed = kit_env("STORM_SEED", (uint64_t) kit_now() / 1000 % 1000000000);
    int64_t start = kit_now();

    config.seed = getenv("STORM_SEED") ? seed : seed * 10 + round;
    if (*test_sanitizer())
        config.kills = kills / 2;
    printf("    STORM_SEED=%llu\n", (unsigned long long) config.seed);
    CHECK_EQ(storm_round(&config, &tally), 0);
    printf("    %llu kills, %llu lives (%llu took over at once, %llu ephemeral), %llu accepted, "
           "%llu came again, %llu set aside, %.1f s\n",
           (unsigned long long) tally.kills, (unsigned long long) tally.lives,
           (unsigned long long) tally.takeovers, (unsigned long long) tally.ephemeral,
           (unsigned long long) tally.accepted, (unsigned long long) tally.repeated,
           (unsigned long long) tally.aside, (double) (kit_now() - start) / 1e9);
    CHECK(tally.accepted > 0);
    CHECK(tally.repeated > 0);
}

TEST_TIMEOUT(storm_one, 60) {
    storm(1, 140, 2);
}

TEST_TIMEOUT(storm_two, 60) {
    storm(2, 140, 1);
}

TEST_TIMEOUT(storm_three, 60) {
    storm(3, 120, 3);
}
