/* SPDX-License-Identifier: MIT
 *
 * The kill storm, long: rounds of new worlds until the time is over or so many were killed.
 *
 *     storm_prog [--seed N] [--seconds N] [--kills N] [--keep] [--on DIR]
 *
 * The last line sums up. On a failure it prints the seed of the round (--seed N --seconds 0 repeats
 * it), leaves the bus where it is, and exits with 1. --on: the buses lie there, not on /dev/shm.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

#include "support/storm.h"

static int usage(void) {
    fprintf(stderr, "usage: storm_prog [--seed N] [--seconds N] [--kills N] [--keep] [--on DIR]\n");
    return 2;
}

/* One world in a bus of its own. */
static int storm(uint64_t seed, struct storm_tally *tally, bool keep, const char *on) {
    struct storm_config config = { .seed = seed, .kills = 250 };
    char dir[256];
    int rc;

    (void) snprintf(dir, sizeof(dir), "%s/tram-test-XXXXXX", on);
    if (!mkdtemp(dir)) {
        perror(dir);
        return -1;
    }
    config.dir = dir;
    config.phases = 1 + (unsigned) (kit_mix(seed, 5, 0) % 4);
    rc = storm_round(&config, tally);
    if (rc < 0)
        fprintf(stderr, "its bus: %s\n", dir);
    else if (!keep)
        kit_remove_tree(dir);
    return rc;
}

static void sum_up(const struct storm_tally *tally, uint64_t seed, uint64_t rounds, int64_t start) {
    printf("%.0f s, %llu rounds up to seed %llu: %llu kills, %llu lives (%llu took over at once, "
           "%llu ephemeral), %llu accepted, %llu handed out, %llu of them again, %llu set aside\n",
           (double) (kit_now() - start) / 1e9, (unsigned long long) rounds,
           (unsigned long long) seed, (unsigned long long) tally->kills,
           (unsigned long long) tally->lives, (unsigned long long) tally->takeovers,
           (unsigned long long) tally->ephemeral, (unsigned long long) tally->accepted,
           (unsigned long long) tally->handed, (unsigned long long) tally->repeated,
           (unsigned long long) tally->aside);
    fflush(stdout);
}

int main(int argc, char **argv) {
    static const struct option options[] = {
        { "seed", required_argument, NULL, 's' },
        { "seconds", required_argument, NULL, 't' },
        { "kills", required_argument, NULL, 'k' },
        { "keep", no_argument, NULL, 'p' },
        { "on", required_argument, NULL, 'o' },
        { NULL, 0, NULL, 0 },
    };
    uint64_t seed = (uint64_t) kit_now() / 1000 % 1000000000 * 1000, kills = UINT64_MAX, rounds = 0;
    int64_t start = kit_now(), seconds = 60;
    struct storm_tally tally = { 0 };
    const char *on = "/dev/shm";
    bool keep = false;
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (option == 's')
            seed = strtoull(optarg, NULL, 0);
        else if (option == 't')
            seconds = strtoll(optarg, NULL, 0);
        else if (option == 'k')
            kills = strtoull(optarg, NULL, 0);
        else if (option == 'o')
            on = optarg;
        else if (option == 'p')
            keep = true;
        else
            return usage();
    if (optind < argc)
        return usage();
    printf("seed %llu\n", (unsigned long long) seed);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    do {
        if (storm(seed, &tally, keep, on) < 0) {
            sum_up(&tally, seed, rounds, start);
            return 1;
        }
        rounds++;
        if (rounds % 10 == 0)
            sum_up(&tally, seed, rounds, start);
        seed++;
    } while (kit_now() - start < seconds * KIT_S && tally.kills < kills);
    sum_up(&tally, seed - 1, rounds, start);
    return 0;
}
