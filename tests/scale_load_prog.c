/* SPDX-License-Identifier: MIT
 *
 * Many channels of one node, under load. Prints one JSON object.
 *
 *   fan SENDERS RING  one sender, and then so many, a process each and all active, send 32 bytes at
 *                     a time to one receiver, through rings of RING bytes that are mostly full: the
 *                     rates, and the share of the slowest
 *   channels COUNT    one node sends to so many others, none of which runs: first a message each,
 *                     then a backlog; its process ends, another one opens the node; then some of
 *                     the receivers come, take all, and go: time, memory, mappings, descriptors
 */
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "support/footprint.h"
#include "tram/tram.h"

#define FAN_BYTES 32
#define FAN_SPAN  64 /* in the ring */
#define FAN_NS    INT64_C(1000000000)
#define SLICES_NS INT64_C(20000000) /* of each sender: they share a core, 3 ms at a time */
#define WARM_NS   (120 * FAN_NS)
#define BACKLOG   15  /* messages … */
#define KIB       1024 /* … of a KiB */
#define RECEIVERS 100u /* come and go: each open looks into all of the bus's directories */

static tram_id id_of(uint32_t number) {
    return TRAM_ID(10, 0, 0, 0) + 1 + number;
}

static int64_t now(void) {
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000000000) + t.tv_nsec;
}

static double seconds(int64_t ns) {
    return (double) ns / 1e9;
}

static _Noreturn void fail(const tram_node *node, const char *what, int rc) {
    (void) fprintf(stderr, "scale: %s: %s (%s)\n", what, strerror(-rc),
                   tram_last_error(node)->text);
    exit(1);
}

static tram_node *open_node(tram_id id, uint64_t ring) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    tram_node *node = NULL;
    int rc;

    options.ring_size = ring;
    options.spin_ns = ring ? 0 : TRAM_NO_SPIN;
    rc = tram_open(NULL, id, &options, &node);
    if (rc < 0)
        fail(NULL, "open", rc);
    return node;
}

/* ---- fan ------------------------------------------------------------------------------------- */

struct fan {
    uint32_t ready, stop, ended;
    cpu_set_t cpus;
};

static void add(uint32_t *word) {
    (void) __atomic_fetch_add(word, 1, __ATOMIC_SEQ_CST);
}

static uint32_t get(const uint32_t *word) {
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

/* The receiver has a core, the senders have the others: `all` is what there was before, since who
 * is forked has its parent's. */
static void pin(const cpu_set_t *all, bool receiver) {
    cpu_set_t want;
    size_t first = CPU_SETSIZE;

    if (CPU_COUNT(all) < 2)
        return;
    CPU_ZERO(&want);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, all))
            continue;
        if (first == CPU_SETSIZE)
            first = cpu;
        if ((cpu == first) == receiver)
            CPU_SET(cpu, &want);
    }
    (void) sched_setaffinity(0, sizeof(want), &want); /* a machine that forbids it is slower */
}

static _Noreturn void sender_main(struct fan *fan, uint32_t me, uint64_t ring) {
    char body[FAN_BYTES] = "thirty-two bytes, more or less.";
    tram_node *node;
    int rc = 0;

    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    pin(&fan->cpus, false);
    node = open_node(id_of(1 + me), ring);
    rc = tram_send(node, id_of(0), me, body, sizeof(body), 0);
    add(&fan->ready);
    while (rc == 0 && !get(&fan->stop))
        rc = tram_send(node, id_of(0), me, body, sizeof(body), 0);
    if (rc < 0)
        fail(node, "send", rc);
    add(&fan->ended);
    (void) tram_close(node);
    exit(0);
}

struct flow {
    double rate;     /* messages a second */
    double slowest;  /* share of the slowest sender, 1: as all */
    double start_s;  /* until each was heard */
    double warm_s;   /* until each ring was gone round once */
    uint64_t loaded; /* bytes of the bus, when the time is up */
    struct footprint self;
};

/* Receive until each ring was gone round once, for before that each page is cleared and costs two
 * faults; then for FAN_NS and some time slices of each sender, and twice what all rings hold, lest
 * it be what waited; then what is left. */
static void receive(struct fan *fan, tram_node *node, uint32_t senders, uint64_t ring,
                    struct flow *ret_flow) {
    uint64_t round = ring / FAN_SPAN;
    uint64_t *counts = calloc(senders, sizeof(*counts));
    uint64_t files = 0, measured = 0, least = UINT64_MAX;
    int64_t begin = now(), all_heard = begin, from = 0, until = INT64_MAX;
    uint32_t heard = 0, warm = 0;
    struct tram_msg msg;

    for (uint64_t n = 1;; n++) {
        int rc = tram_recv(node, &msg, 20000000);

        if (rc == -ETIMEDOUT && get(&fan->ended) == senders)
            break;
        if (rc < 0 && rc != -ETIMEDOUT)
            fail(node, "receive", rc);
        if (rc == 0 && warm == senders && until != INT64_MAX) {
            counts[msg.tag]++;
            measured++;
        } else if (rc == 0 && warm < senders) {
            uint64_t count = ++counts[msg.tag];

            heard += count == 1;
            if (count == 1 && heard == senders)
                all_heard = now();
            if (count == round && ++warm == senders) {
                memset(counts, 0, senders * sizeof(*counts));
                from = now();
                until = from + FAN_NS + senders * SLICES_NS;
            }
        }
        if (until != INT64_MAX && (n % 64 == 0 || rc < 0) && measured >= 2 * round * senders &&
            now() >= until) {
            ret_flow->rate = (double) measured / seconds(now() - from);
            until = INT64_MAX;
            ret_flow->loaded = footprint_of_files(getenv("TRAM_DIR"), 3, &files);
            ret_flow->self = footprint_of_self();
            add(&fan->stop);
        }
        if (from == 0 && n % 64 == 0 && now() - begin > WARM_NS)
            fail(node, "not all rings were gone round", -ETIMEDOUT);
    }
    for (uint32_t i = 0; i < senders; i++)
        least = counts[i] < least ? counts[i] : least;
    ret_flow->slowest = (double) least * senders / (double) measured;
    ret_flow->start_s = seconds(all_heard - begin);
    ret_flow->warm_s = seconds(from - begin);
    free(counts);
}

static struct flow flow_of(uint32_t senders, uint64_t ring, const cpu_set_t *cpus) {
    struct fan *fan = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct flow flow = {0};
    tram_node *node;
    pid_t receiver;
    int status;

    if (fan == MAP_FAILED)
        fail(NULL, "mmap", -errno);
    receiver = getpid();
    fan->cpus = *cpus;
    node = open_node(id_of(0), ring);
    for (uint32_t me = 0; me < senders; me++)
        if (fork() == 0)
            sender_main(fan, me, ring);
    if (getpid() == receiver)
        receive(fan, node, senders, ring, &flow);
    (void) tram_close(node);
    while (wait(&status) > 0 || errno == EINTR)
        if (status != 0)
            exit(1);
    (void) munmap(fan, 4096);
    return flow;
}

static void fan_main(uint32_t senders, uint64_t ring) {
    struct flow one;
    struct flow many;
    struct flow again;
    cpu_set_t cpus;

    CPU_ZERO(&cpus);
    (void) sched_getaffinity(0, sizeof(cpus), &cpus); /* none: nobody is pinned */
    pin(&cpus, true);
    one = flow_of(1, ring, &cpus);
    many = flow_of(senders, ring, &cpus);
    again = flow_of(1, ring, &cpus); /* the better one, if others took a core meanwhile */
    if (again.rate > one.rate)
        one = again;
    (void) printf("{\"mode\":\"fan\",\"senders\":%u,\"ring\":%llu,\"one_msg_s\":%.0f,"
                  "\"many_msg_s\":%.0f,\"ratio\":%.3f,\"slowest_share\":%.3f,\"start_s\":%.3f,"
                  "\"warm_s\":%.3f,\"loaded_bytes_per_channel\":%llu,\"descriptors\":%u,"
                  "\"mappings\":%u,\"rss_bytes\":%llu,\"pss_bytes\":%llu}\n",
                  senders, (unsigned long long) ring, one.rate, many.rate, many.rate / one.rate,
                  many.slowest, many.start_s, many.warm_s,
                  (unsigned long long) (many.loaded / senders), many.self.descriptors,
                  many.self.mappings, (unsigned long long) many.self.rss,
                  (unsigned long long) many.self.pss);
}

/* ---- channels -------------------------------------------------------------------------------- */

/* Bytes that the first receivers' directories hold, for each. */
static uint64_t channel_bytes(const tram_node *node, uint32_t receivers) {
    uint64_t files = 0, sum = 0;

    for (uint32_t to = 1; to <= receivers; to++) {
        char id[TRAM_ID_TEXT];
        char path[4096];

        (void) snprintf(path, sizeof(path), "%s/%s", tram_bus_path(node),
                        tram_id_format(id_of(to), id));
        sum += footprint_of_files(path, 0, &files);
    }
    return sum / receivers;
}

static void send_to_all(tram_node *node, uint32_t channels, uint32_t count, size_t size) {
    static char body[KIB];

    for (uint32_t to = 1; to <= channels; to++) {
        for (uint32_t i = 0; i < count; i++) {
            int rc = tram_send(node, id_of(to), i, body, size, TRAM_NOWAIT);

            if (rc < 0)
                fail(node, "send", rc);
        }
    }
}

/* Each of the first receivers comes, takes all that waits, and goes. */
static void take_all(uint32_t receivers) {
    for (uint32_t to = 1; to <= receivers; to++) {
        tram_node *node = open_node(id_of(to), 0);
        struct tram_msg msg;

        for (int i = 0; i < 1 + BACKLOG; i++) {
            int rc = tram_recv(node, &msg, 0);

            if (rc < 0)
                fail(node, "receive", rc);
        }
        (void) tram_done(node);
        (void) tram_close(node);
    }
}

/* An idle wait gives memory back, 100 ms at a time. */
static void idle(tram_node *node) {
    for (int64_t until = now() + 500000000; now() < until;)
        (void) tram_wait(node, until - now());
}

static void channels_main(uint32_t channels) {
    uint32_t receivers = channels < RECEIVERS ? channels : RECEIVERS;
    uint64_t one, loaded, drained, closed;
    int64_t begin = now(), made, opening, opened, taken;
    tram_node *node = open_node(id_of(0), 0);
    struct footprint self;

    send_to_all(node, channels, 1, 8);
    made = now();
    one = channel_bytes(node, receivers);
    self = footprint_of_self();
    send_to_all(node, channels, BACKLOG, KIB);
    loaded = channel_bytes(node, receivers);
    (void) tram_close(node);
    opening = now();
    node = open_node(id_of(0), 0); /* as the next process would: all of its channels are mapped */
    opened = now();
    take_all(receivers);
    taken = now();
    idle(node);
    drained = channel_bytes(node, receivers);
    (void) tram_close(node);
    node = open_node(id_of(channels + 1), 0);
    closed = channel_bytes(node, receivers);
    (void) tram_close(node);
    (void) printf("{\"mode\":\"channels\",\"channels\":%u,\"make_us\":%.1f,\"reopen_s\":%.3f,"
                  "\"take_us\":%.1f,\"one_bytes_per_channel\":%llu,"
                  "\"loaded_bytes_per_channel\":%llu,\"drained_bytes_per_channel\":%llu,"
                  "\"closed_bytes_per_channel\":%llu,\"descriptors\":%u,\"mappings\":%u,"
                  "\"rss_bytes\":%llu,\"pss_bytes\":%llu}\n",
                  channels, seconds(made - begin) * 1e6 / channels, seconds(opened - opening),
                  seconds(taken - opened) * 1e6 / receivers, (unsigned long long) one,
                  (unsigned long long) loaded, (unsigned long long) drained,
                  (unsigned long long) closed, self.descriptors, self.mappings,
                  (unsigned long long) self.rss, (unsigned long long) self.pss);
}

int main(int argc, char **argv) {
    struct rlimit files;
    uint32_t count = argc >= 3 ? (uint32_t) strtoul(argv[2], NULL, 10) : 0;
    uint64_t ring = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;

    if (count == 0 || !getenv("TRAM_DIR") || (ring > 0) != (strcmp(argv[1], "fan") == 0)) {
        (void) fprintf(stderr, "usage: TRAM_DIR=… scale_load_prog fan SENDERS RING\n"
                               "       TRAM_DIR=… scale_load_prog channels COUNT\n");
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &files); /* a refusal shows soon enough */
    }
    if (ring > 0)
        fan_main(count, ring);
    else
        channels_main(count);
    return 0;
}
