/* SPDX-License-Identifier: MIT
 *
 * The kill storm with services, short. SERVICE_STORM_SEED=… repeats one, SERVICE_STORM_SECONDS=…
 * goes on with other seeds until that many have passed: the long form, of tests/soak.sh.
 */
// test: timeout=120 cpus=2
#include <stdio.h>
#include <stdlib.h>

#include <tram/service.h>

#include "harness.h"
#include "support/service_storm.h"

static void say(const struct siege_tally *t) {
    printf("    %llu kills, %llu handed over, %llu times tramd, %llu lives\n",
           (unsigned long long) t->kills, (unsigned long long) t->handovers,
           (unsigned long long) t->daemons, (unsigned long long) t->lives);
    printf("    %llu requests: %llu answered, %llu failed, %llu timed out, %llu unknown, %llu "
           "found nobody, %llu cancelled, %llu of killed clients; %llu came again; %llu one-way; "
           "all names after %.1f ms, handed over within %.1f ms\n",
           (unsigned long long) t->asked, (unsigned long long) t->answered,
           (unsigned long long) t->failed, (unsigned long long) t->timed_out,
           (unsigned long long) t->unknown, (unsigned long long) t->nobody,
           (unsigned long long) t->cancelled, (unsigned long long) t->open,
           (unsigned long long) t->again, (unsigned long long) t->one_way,
           (double) t->names_ns / 1e6, (double) t->drain_ns / 1e6);
    (void) fflush(stdout);
}

static void storm(bool gentle, int64_t length_ns) {
    int64_t until = kit_now() + (int64_t) kit_env("SERVICE_STORM_SECONDS", 0) * KIT_S;
    struct siege_tally tally = {0};
    struct siege_config config = {.gentle = gentle, .length_ns = length_ns, .dir = test_dir()};
    uint64_t rounds = 0;

    config.seed = kit_env("SERVICE_STORM_SEED", (uint64_t) kit_now() / 1000 % 1000000000);
    do {
        printf("    SERVICE_STORM_SEED=%llu\n", (unsigned long long) config.seed);
        (void) fflush(stdout);
        CHECK_EQ(service_storm(&config, &tally), 0);
        config.seed++;
        if (++rounds % 10 == 0)
            say(&tally);
    } while (kit_now() < until);
    say(&tally);
    CHECK(tally.answered > 100);
}

/* Somebody is killed all the time. */
TEST_TIMEOUT(every_request_ends_once, 60) {
    storm(false, 2500 * KIT_MS);
}

/* Servers hand over with SIGTERM, and tramd is killed: nothing is lost, nothing comes twice. */
TEST_TIMEOUT(handing_over_loses_nothing, 60) {
    storm(true, 1500 * KIT_MS);
}
