/* SPDX-License-Identifier: MIT
 *
 * Many nodes, a process each. Everyone sends to everyone (`all NODES`), or all to one
 * (`one NODES`): a first round in which channels are made, then rounds with traffic, then rest.
 * Prints what that took as one JSON object: memory of the bus directory loaded and at rest,
 * descriptors, mappings and memory of the first process, time until everybody has heard of
 * everybody.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/footprint.h"
#include "tram/tram.h"

#define ROUNDS 20

struct world {
    uint32_t nodes;
    int one;        /* all to the first */
    uint32_t ready, heard, done, failed, rest;
    uint64_t messages;
    struct footprint first; /* of the first node's process */
};

static tram_id id_of(uint32_t number) {
    return TRAM_ID(10, 0, 0, 0) + 1 + number;
}

/* How long anything may take. */
static double most_s(void) {
    const char *scale = getenv("TRAM_TIME_SCALE");

    return 60 * (scale ? strtod(scale, NULL) : 1);
}

static double now(void) {
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void add(uint32_t *word) {
    (void) __atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
}

static uint32_t get(const uint32_t *word) {
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static void fail(struct world *world, tram_node *node, uint32_t me, const char *what, int rc) {
    (void) fprintf(stderr, "scale: node %u: %s: %s (%s)\n", me, what, strerror(-rc),
                   tram_last_error(node)->text);
    add(&world->failed);
    _exit(1);
}

/* Send one to each; never wait for space while others wait for us. */
static void send_round(struct world *world, tram_node *node, uint32_t me) {
    for (uint32_t to = 0; to < (world->one ? 1 : world->nodes); to++) {
        int rc = to == me ? 0 : tram_send(node, id_of(to), me, "12345678", 8, 0);

        if (rc < 0)
            fail(world, node, me, "send", rc);
    }
}

static void node_main(struct world *world, uint32_t me) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    uint64_t expected = world->one ? (me == 0 ? world->nodes - 1 : 0) : world->nodes - 1;
    uint64_t *seen = calloc(world->nodes, sizeof(*seen));
    uint64_t got = 0;
    struct tram_msg msg;
    tram_node *node;
    int rc;

    options.spin_ns = TRAM_NO_SPIN;
    rc = tram_open(NULL, id_of(me), &options, &node);
    if (rc < 0)
        fail(world, NULL, me, "open", rc);
    add(&world->ready);
    for (int round = 0; round < ROUNDS; round++) {
        send_round(world, node, me);
        while (got < expected * (uint64_t) (round + 1)) {
            rc = tram_recv(node, &msg, (int64_t) (most_s() * 1e9));
            if (rc < 0)
                fail(world, node, me, "receive", rc);
            if (msg.tag >= world->nodes || ++seen[msg.tag] != msg.seq || msg.attempt != 1)
                fail(world, node, me, "out of order", -EPROTO);
            got++;
        }
        if (round == 0)
            add(&world->heard);
    }
    (void) tram_done(node);
    (void) __atomic_fetch_add(&world->messages, got, __ATOMIC_SEQ_CST);
    if (me == 0)
        world->first = footprint_of_self();
    add(&world->done);
    while (!get(&world->rest)) /* idle: this wait gives memory back */
        (void) tram_wait(node, 50000000);
    (void) tram_close(node);
    free(seen);
    _exit(0);
}

/* Until so many are there, or one failed, or the time is up. */
static int await(const struct world *world, const uint32_t *word, double until) {
    while (get(word) < world->nodes) {
        const struct timespec pause = {.tv_nsec = 1000000};

        if (get(&world->failed) || now() > until)
            return -1;
        (void) nanosleep(&pause, NULL);
    }
    return 0;
}

static int report(struct world *world, double start) {
    const char *bus = getenv("TRAM_DIR");
    double until = start + most_s();
    double opened, heard, done;
    uint64_t loaded, rested, files = 0;
    uint64_t channels = world->one ? world->nodes - 1
                                   : (uint64_t) world->nodes * (world->nodes - 1);

    if (await(world, &world->ready, until) < 0)
        return -1;
    opened = now();
    if (await(world, &world->heard, until) < 0)
        return -1;
    heard = now();
    if (await(world, &world->done, until) < 0)
        return -1;
    done = now();
    loaded = footprint_of_files(bus, 3, &files);
    for (rested = loaded; now() < done + 10;) { /* until nothing more is given back */
        const struct timespec pause = {.tv_nsec = 400000000};
        uint64_t before = rested;

        (void) nanosleep(&pause, NULL);
        files = 0;
        rested = footprint_of_files(bus, 3, &files);
        if (rested == before)
            break;
    }
    (void) printf("{\"mode\":\"%s\",\"nodes\":%u,\"channels\":%llu,\"messages\":%llu,"
                  "\"open_s\":%.3f,\"first_round_s\":%.3f,\"other_rounds_s\":%.3f,"
                  "\"loaded_bytes_per_channel\":%llu,\"rest_bytes_per_channel\":%llu,"
                  "\"files\":%llu,\"descriptors\":%u,\"mappings\":%u,"
                  "\"rss_bytes\":%llu,\"pss_bytes\":%llu}\n",
                  world->one ? "one" : "all", world->nodes, (unsigned long long) channels,
                  (unsigned long long) world->messages, opened - start, heard - opened,
                  done - heard, (unsigned long long) (loaded / channels),
                  (unsigned long long) (rested / channels), (unsigned long long) files,
                  world->first.descriptors, world->first.mappings,
                  (unsigned long long) world->first.rss, (unsigned long long) world->first.pss);
    return world->messages == channels * ROUNDS ? 0 : -1;
}

int main(int argc, char **argv) {
    struct rlimit files;
    struct world *world;
    double start = now();
    int rc;

    if (argc != 3 || !getenv("TRAM_DIR")) {
        (void) fprintf(stderr, "usage: TRAM_DIR=… scale_prog all|one NODES\n");
        return 2;
    }
    world = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (world == MAP_FAILED)
        return 1;
    world->one = strcmp(argv[1], "one") == 0;
    world->nodes = (uint32_t) strtoul(argv[2], NULL, 10);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &files); /* a refusal shows soon enough */
    }
    for (uint32_t me = 0; me < world->nodes; me++)
        if (fork() == 0)
            node_main(world, me);
    rc = report(world, start);
    __atomic_store_n(&world->rest, 1, __ATOMIC_SEQ_CST);
    while (wait(NULL) > 0 || errno == EINTR)
        continue;
    if (rc < 0)
        (void) fprintf(stderr, "scale: %u opened, %u heard from all, %u done, %u failed\n",
                       world->ready, world->heard, world->done, world->failed);
    return rc < 0 ? 1 : 0;
}
