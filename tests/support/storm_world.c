/* SPDX-License-Identifier: MIT
 *
 * The world of a kill storm: who is there and who sends to whom, drawn from the seed; what the
 * messages are; and the report when something is wrong.
 */
#include "support/storm.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ring/layout.h"

/* ---- messages ------------------------------------------------------------------------------- */

uint64_t storm_key(const struct storm_world *world, const struct storm_chan *chan, uint64_t n) {
    return kit_mix(world->seed, (uint64_t) chan->origin, n);
}

uint32_t storm_size(const struct storm_world *world, const struct storm_chan *chan, uint64_t n) {
    const struct storm_chan *origin = &world->chans[chan->origin];
    uint64_t key = kit_mix(storm_key(world, chan, n), 1, 0);
    unsigned dice = (unsigned) (key % 10000);

    key >>= 20;
    if (dice < origin->big)
        return (uint32_t) (20000 + key % 280000);
    if (dice < 200)
        return (uint32_t) (key % 12000);
    if (dice < 400)
        return 0;
    return (uint32_t) (key % (origin->usual + 1));
}

/* ---- who is there --------------------------------------------------------------------------- */

static bool id_taken(const struct storm_world *world, tram_id id) {
    for (int i = 0; i < world->n_nodes; i++)
        if (world->nodes[i].id == id)
            return true;
    return false;
}

/* Sometimes one whose bit in a door is that of another node: both ring by the same bit. */
static tram_id draw_id(const struct storm_world *world, struct rng *rng) {
    bool twin = world->n_nodes > 0 && rng_chance(rng, 250);
    uint32_t bit = twin ? door_bit(world->nodes[world->n_nodes - 1].id) : 0;
    tram_id id;

    do
        id = TRAM_ID(1 + rng_below(rng, 200), rng_below(rng, 3), rng_below(rng, 3),
                     rng_below(rng, 256));
    while (id_taken(world, id) || (twin && door_bit(id) != bit));
    return id;
}

static int add_node(struct storm_world *world, struct rng *rng, enum storm_kind kind) {
    static const uint64_t sizes[] = { 65536, 65536, 131072, 1 << 20, 4 << 20 };
    struct storm_node *node = &world->nodes[world->n_nodes];

    node->kind = kind;
    node->id = kind == EPHEMERAL ? TRAM_EPHEMERAL : draw_id(world, rng);
    node->ring_size = sizes[rng_below(rng, 5)];
    node->attempts = kind == RECEIVER && rng_chance(rng, 400) ? 2 + rng_next(rng) % 2 : 250;
    node->spin_ns = rng_chance(rng, 500) ? 0 : TRAM_NO_SPIN;
    return world->n_nodes++;
}

static int add_chan(struct storm_world *world, struct rng *rng, int sender, int receiver) {
    static const uint32_t usual[] = { 16, 64, 300, 1500 };
    int index = world->n_chans++;
    struct storm_chan *chan = &world->chans[index];

    chan->sender = sender;
    chan->receiver = receiver;
    chan->origin = index;
    chan->usual = usual[rng_below(rng, 4)];
    chan->big = rng_chance(rng, 350) ? 1 + (unsigned) rng_below(rng, 8) : 0;
    return index;
}

/* A relay forwards each upstream to a receiver of its own, so that numbers stay the same. */
static void add_relay(struct storm_world *world, struct rng *rng, int relay, const int *targets,
                      int n_targets) {
    int n = 1 + (int) rng_below(rng, (uint64_t) n_targets);

    for (int i = 0; i < n; i++) {
        int sender = add_node(world, rng, SENDER);
        int up = add_chan(world, rng, sender, relay);
        int down = add_chan(world, rng, relay, targets[i]);

        world->chans[down].origin = world->chans[up].origin;
    }
}

static void draw_world(struct storm_world *world, struct rng *rng) {
    int receivers[4], n_receivers = 2 + (int) rng_below(rng, 3);
    int n_senders = 3 + (int) rng_below(rng, 4), relay, first;

    for (int i = 0; i < n_receivers; i++)
        receivers[i] = add_node(world, rng, RECEIVER);
    for (int i = 0; i < n_senders; i++) {
        int sender = add_node(world, rng, SENDER), n = 1 + (int) rng_below(rng, 3), at;

        at = (int) rng_below(rng, (uint64_t) n_receivers);
        for (int k = 0; k < n && k < n_receivers; k++)
            add_chan(world, rng, sender, receivers[(at + k) % n_receivers]);
    }
    relay = add_node(world, rng, RELAY);
    add_relay(world, rng, relay, receivers, 2);
    if (rng_chance(rng, 500)) { /* a chain: a relay that is the receiver of another one's channel */
        first = add_node(world, rng, RELAY);
        int sender = add_node(world, rng, SENDER);
        int up = add_chan(world, rng, sender, first);
        int middle = add_chan(world, rng, first, relay);
        int down = add_chan(world, rng, relay, receivers[n_receivers - 1]);

        world->chans[middle].origin = world->chans[down].origin = world->chans[up].origin;
    }
    for (uint64_t i = 1 + rng_below(rng, 2); i > 0; i--)
        add_node(world, rng, EPHEMERAL);
}

/* A chain may only be drawn when its last channel is a new pair of nodes. */
static bool drawn_well(const struct storm_world *world) {
    for (int i = 0; i < world->n_chans; i++)
        for (int k = 0; k < i; k++)
            if (world->chans[i].sender == world->chans[k].sender &&
                world->chans[i].receiver == world->chans[k].receiver)
                return false;
    return true;
}

struct storm_world *storm_world_new(const struct storm_config *config) {
    struct storm_world *world = kit_shared(sizeof *world);
    struct rng rng = { config->seed };

    do {
        memset(world, 0, offsetof(struct storm_world, chans));
        memset(world->chans, 0, sizeof world->chans);
        draw_world(world, &rng);
    } while (!drawn_well(world));
    world->seed = config->seed;
    snprintf(world->dir, sizeof world->dir, "%s", config->dir);
    return world;
}

void storm_world_free(struct storm_world *world) {
    munmap(world, sizeof *world);
}

struct storm_chan *storm_find(struct storm_world *world, tram_id from, int receiver) {
    for (int i = 0; i < world->n_chans; i++)
        if (world->chans[i].receiver == receiver && world->nodes[world->chans[i].sender].id == from)
            return &world->chans[i];
    return NULL;
}

/* ---- the report ----------------------------------------------------------------------------- */

static bool read_words(const struct storm_world *world, tram_id to, const char *name, void *buffer,
                       size_t size) {
    char path[PATH_MAX];
    int fd = open(kit_path(path, sizeof path, world->dir, to, name), O_RDONLY | O_CLOEXEC);
    bool good = fd >= 0 && pread(fd, buffer, size, 0) == (ssize_t) size;

    if (fd >= 0)
        close(fd);
    return good;
}

static void report_files(const struct storm_world *world, tram_id from, tram_id to) {
    char id[TRAM_ID_TEXT], name[64];
    struct stream stream;
    struct head head;

    tram_id_format(from, id);
    for (unsigned n = 0; n < 32; n++) {
        snprintf(name, sizeof name, n ? "from-%s+%u" : "from-%s", id, n);
        if (read_words(world, to, name, &stream, sizeof stream))
            fprintf(stderr,
                    "      %s: base %llu (%llu) capacity %llu tail %llu slot %llu accepted %llu "
                    "want %#llx kept %llu reserved %llu\n",
                    name, (unsigned long long) stream.base, (unsigned long long) stream.base_seq,
                    (unsigned long long) stream.capacity, (unsigned long long) stream.tail & ~7ull,
                    (unsigned long long) stream.tail & 1,
                    (unsigned long long) stream.accepted[stream.tail & 1],
                    (unsigned long long) stream.want, (unsigned long long) stream.kept,
                    (unsigned long long) stream.reserved);
    }
    snprintf(name, sizeof name, "head-%s", id);
    if (read_words(world, to, name, &head, offsetof(struct head, window)))
        fprintf(stderr,
                "      %s: head %llu armed %#llx committed %llu consumed %llu handed %llu "
                "recovery %llu aside %llu\n",
                name, (unsigned long long) head.head, (unsigned long long) head.armed,
                (unsigned long long) head.committed & ~7ull,
                (unsigned long long) head.consumed[head.committed & 1],
                (unsigned long long) head.handed & ~7ull, (unsigned long long) head.handed & 7,
                (unsigned long long) head.aside);
}

static void report_node(const struct storm_world *world, const struct storm_node *node) {
    static const char *const kinds[] = { "sender", "receiver", "relay", "ephemeral" };
    char id[TRAM_ID_TEXT];
    struct door door;

    fprintf(stderr, "    %-9s %-15s pid %d life %u %s%s%s", kinds[node->kind],
            tram_id_format(node->id, id), (int) node->pid, node->lives, node->ended ? "ended" : "",
            node->doing[0] ? "in " : "", node->doing);
    if (read_words(world, node->id, "door", &door, sizeof door)) {
        fprintf(stderr, "; door: pid %u asleep %u attached %u bits", door.pid, door.asleep,
                door.attached);
        for (unsigned i = 0; i < LAYOUT_BITS / 64; i++)
            fprintf(stderr, " %llx", (unsigned long long) door.bits[i]);
    }
    fprintf(stderr, "\n");
}

void storm_report(struct storm_world *world) {
    char from[TRAM_ID_TEXT], to[TRAM_ID_TEXT];

    fprintf(stderr, "  storm of seed %llu, ending %d\n", (unsigned long long) world->seed,
            world->ending);
    for (int i = 0; i < world->n_nodes; i++)
        report_node(world, &world->nodes[i]);
    for (int i = 0; i < world->n_chans; i++) {
        struct storm_chan *chan = &world->chans[i];

        tram_id_format(world->nodes[chan->sender].id, from);
        tram_id_format(world->nodes[chan->receiver].id, to);
        fprintf(stderr,
                "    %s -> %s: accepted %llu tried %llu final %lld; handed %llu settled %llu "
                "repeats %llu aside %llu retried %llu\n",
                from, to, (unsigned long long) chan->accepted, (unsigned long long) chan->tried,
                (long long) chan->final - 1, (unsigned long long) chan->handed,
                (unsigned long long) chan->settled, (unsigned long long) chan->repeats,
                (unsigned long long) chan->n_aside, (unsigned long long) chan->n_retried);
        report_files(world, world->nodes[chan->sender].id, world->nodes[chan->receiver].id);
    }
}

void storm_fail(struct storm_world *world, const struct storm_chan *chan, const char *format, ...) {
    char from[TRAM_ID_TEXT] = "", to[TRAM_ID_TEXT] = "", text[600];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (chan) {
        tram_id_format(world->nodes[chan->sender].id, from);
        tram_id_format(world->nodes[chan->receiver].id, to);
    }
    fprintf(stderr, "  storm: pid %d: %s%s%s%s%s\n", (int) getpid(), from, chan ? " -> " : "", to,
            chan ? ": " : "", text);
    fflush(stderr);
    world->failed = 1;
    _exit(1);
}
