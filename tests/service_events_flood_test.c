/* SPDX-License-Identifier: MIT
 *
 * A subscriber that sleeps (SIGSTOP) while events are published without end: the memory of the
 * publisher and of the bus stays as it is, and the subscriber knows afterwards how many it missed.
 * TRAM_FLOOD_SECONDS: how long, 1 without it.
 */
// test: timeout=60
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "support/events.h"
#include "support/pair.h"
#include "tram/service.h"

static struct events_sub *seen; /* shared with the subscriber */

static void subscribe(void *arg) {
    const char *address = arg;

    events_address = address;
    events_subscriber(seen, 0);
    events_subscribe(seen, 7, NULL, NULL);
    for (;;)
        events_turn();
}

/* Of this process, in KiB. */
static long memory(void) {
    FILE *file = fopen("/proc/self/statm", "r");
    long size, resident, shared;

    CHECK(file && fscanf(file, "%ld %ld %ld", &size, &resident, &shared) == 3);
    (void) fclose(file);
    return (resident - shared) * (sysconf(_SC_PAGESIZE) / 1024);
}

static uint64_t bytes;

static int add(const char *path, const struct stat *stat, int type, struct FTW *ftw) {
    (void) path;
    (void) ftw;
    bytes += type == FTW_F ? (uint64_t) stat->st_blocks * 512 : 0;
    return 0;
}

/* Memory of all files of the bus. */
static uint64_t bus(void) {
    bytes = 0;
    CHECK_OK(nftw(test_dir(), add, 16, FTW_PHYS));
    return bytes;
}

static uint64_t count(void) {
    return __atomic_load_n(&seen->count, __ATOMIC_ACQUIRE);
}

static uint64_t last(void) {
    return __atomic_load_n(&seen->last, __ATOMIC_ACQUIRE);
}

static void flood(const char *address, struct tram_server_options *options) {
    const char *given = getenv("TRAM_FLOOD_SECONDS");
    struct events_pub pub;
    uint64_t before;
    int64_t until;
    uint64_t began;
    long grown;
    pid_t pid;
    union {
        const char *from;
        void *arg;
    } at = {address};

    seen = mmap(NULL, sizeof(*seen), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(seen != MAP_FAILED);
    pid = test_fork(subscribe, at.arg);
    events_publisher(&pub, options);
    while (count() == 0) {
        CHECK_OK(events_publish(&pub, 256, NULL));
        events_turn();
    }
    CHECK_OK(kill(pid, SIGSTOP));
    CHECK_EQ(waitpid(pid, NULL, WUNTRACED), pid);
    for (int i = 0; i < 100000; i++)
        CHECK_OK(events_publish(&pub, 256, NULL));
    before = bus();
    grown = memory();
    began = pub.number;
    until = pair_now() + (given ? atoi(given) : 1) * INT64_C(1000000000);
    while (pair_now() < until) {
        for (int i = 0; i < 1000; i++)
            CHECK_OK(events_publish(&pub, 256, NULL));
        events_turn();
    }
    if (given)
        fprintf(stderr, "%llu published in %s s\n", (unsigned long long) (pub.number - began),
                given);
    CHECK(pub.number - began > 10000);
    if (!test_sanitizer()[0])
        CHECK(memory() - grown < 1024);
    CHECK(bus() < before + (8u << 20));
    CHECK_OK(kill(pid, SIGCONT));
    while (last() != pub.number) { /* each number is compared with what was missed before it */
        CHECK_OK(events_publish(&pub, 256, NULL));
        for (int i = 0; i < 20 && last() != pub.number; i++)
            events_turn();
    }
    CHECK(seen->missed > 10000);
    test_kill(pid);
    events_publisher_end(&pub);
}

TEST_TIMEOUT(by_the_ring, 30) {
    flood(EVENTS_ADDRESS, NULL);
}

TEST_TIMEOUT(by_a_socket, 30) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    static const char *addresses[2];
    static char path[128];

    (void) snprintf(path, sizeof(path), "ipc://%s/events.sock", test_dir());
    addresses[0] = path;
    options.addresses = addresses;
    flood(path, &options);
}
