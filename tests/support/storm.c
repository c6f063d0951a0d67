/* SPDX-License-Identifier: MIT
 *
 * The supervisor of the kill storm: starts the nodes, kills and restarts them, brings the storm to
 * an end, and then looks at what is left.
 */
#include "support/storm.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct supervisor {
    const struct storm_config *config;
    struct storm_world *world;
    struct storm_tally *tally;
    struct rng rng;
    uint64_t progress; /* as last seen, and when it last moved */
    int64_t moved;
};

static void live(struct storm_world *world, int index) {
    static struct storm_life_of me;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    me.world = world;
    me.self = &world->nodes[index];
    me.index = index;
    me.rng.state = kit_mix(world->seed, (uint64_t) index, me.self->lives);
    switch (me.self->kind) {
    case SENDER:
        storm_sender(&me);
        me.self->ended = 1;
        break;
    case RECEIVER:
        storm_receiver(&me);
        break;
    case RELAY:
        storm_relay(&me);
        break;
    case EPHEMERAL:
        storm_ephemeral(&me);
        break;
    }
    _exit(0);
}

static void start(struct supervisor *sup, int index) {
    struct storm_node *node = &sup->world->nodes[index];
    pid_t pid;

    node->lives++;
    sup->tally->lives++;
    fflush(NULL);
    pid = fork();
    if (pid < 0) {
        perror("fork");
        abort();
    }
    if (pid == 0)
        live(sup->world, index);
    node->pid = pid;
}

/* A process has ended. It may have been killed, or have come to an orderly end. */
static void ended(struct supervisor *sup, pid_t pid, int status) {
    struct storm_world *world = sup->world;
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

    if (!killed && (!WIFEXITED(status) || WEXITSTATUS(status) != 0)) {
        if (WIFSIGNALED(status))
            fprintf(stderr, "  storm: pid %d died of signal %d\n", (int) pid, WTERMSIG(status));
        world->failed = 1;
    }
    for (int i = 0; i < world->n_nodes; i++) {
        struct storm_node *node = &world->nodes[i];

        if (node->pid != pid)
            continue;
        node->pid = 0;
        if (node->kind == EPHEMERAL ? !world->ending : killed || !node->ended)
            start(sup, i);
    }
}

static void reap(struct supervisor *sup) {
    int status;
    pid_t pid;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        ended(sup, pid, status);
}

/* Something must happen within this time; else the report says who waits for what. */
static void watch(struct supervisor *sup) {
    uint64_t progress = __atomic_load_n(&sup->world->progress, __ATOMIC_RELAXED);
    int64_t now = kit_now();

    if (progress != sup->progress) {
        sup->progress = progress;
        sup->moved = now;
    } else if (now - sup->moved > kit_patience(10)) {
        fprintf(stderr, "  storm: nothing moves\n");
        sup->world->failed = 1;
    }
}

/* Some microseconds to milliseconds, looking after the children meanwhile. */
static void linger(struct supervisor *sup, int64_t ns) {
    int64_t end = kit_now() + ns;

    do {
        struct timespec ts = { .tv_nsec = ns < KIT_MS ? ns : KIT_MS };

        nanosleep(&ts, NULL);
        reap(sup);
        watch(sup);
    } while (kit_now() < end && !sup->world->failed);
}

/* By its descriptor: its number may be another one's by the time that this is done. */
static void signal_to(int pidfd, int signal) {
    (void) syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0); /* -ESRCH: it ended by itself */
}

static void kill_slowly(struct supervisor *sup, int index, int pidfd) {
    struct storm_node *node = &sup->world->nodes[index];

    /* Sometimes the successor is there already and opens the ID the moment that it is free. */
    if (node->kind != EPHEMERAL && rng_chance(&sup->rng, 250)) {
        start(sup, index);
        sup->tally->takeovers++;
        if (rng_chance(&sup->rng, 500))
            linger(sup, (int64_t) rng_below(&sup->rng, 2000000));
        signal_to(pidfd, SIGKILL);
        return;
    }
    /* Sometimes it is stopped first: others see a holder that lives and does nothing. */
    if (rng_chance(&sup->rng, 100)) {
        signal_to(pidfd, SIGSTOP);
        linger(sup, (int64_t) rng_below(&sup->rng, 5000000));
    }
    signal_to(pidfd, SIGKILL);
}

static void kill_one(struct supervisor *sup) {
    int index = (int) rng_below(&sup->rng, (uint64_t) sup->world->n_nodes);
    pid_t pid = sup->world->nodes[index].pid;
    int pidfd = pid ? (int) syscall(SYS_pidfd_open, pid, 0) : -1; /* it is not reaped yet */

    if (pidfd < 0)
        return;
    sup->tally->kills++;
    kill_slowly(sup, index, pidfd);
    close(pidfd);
}

static void rage(struct supervisor *sup, unsigned kills) {
    for (unsigned i = 0; i < kills && !sup->world->failed; i++) {
        uint64_t several = rng_chance(&sup->rng, 150) ? rng_below(&sup->rng, 4) : 1;

        linger(sup, (int64_t) rng_below(&sup->rng, 24000000));
        for (; several > 0; several--)
            kill_one(sup);
    }
}

static bool all_ended(const struct storm_world *world) {
    for (int i = 0; i < world->n_nodes; i++)
        if (world->nodes[i].pid)
            return false;
    return true;
}

/* Senders end, receivers drain; some are killed at that, too. */
static void calm(struct supervisor *sup, bool last) {
    int64_t end = kit_now() + kit_patience(40);

    sup->world->ending = last ? 2 : 1;
    if (!last)
        rage(sup, sup->config->kills / sup->config->phases / 10);
    while (!all_ended(sup->world) && !sup->world->failed) {
        linger(sup, KIT_MS);
        if (kit_now() > end) {
            fprintf(stderr, "  storm: not drained\n");
            sup->world->failed = 1;
        }
    }
}

static void stop_all(struct supervisor *sup) {
    for (int i = 0; i < sup->world->n_nodes; i++)
        if (sup->world->nodes[i].pid > 0)
            kill(sup->world->nodes[i].pid, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
}

/* ---- what is left --------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 4))) static void wrong(struct supervisor *sup,
                                                        const struct storm_chan *chan,
                                                        const char *format, ...) {
    char from[TRAM_ID_TEXT] = "?", to[TRAM_ID_TEXT] = "?", text[300];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (chan) {
        tram_id_format(sup->world->nodes[chan->sender].id, from);
        tram_id_format(sup->world->nodes[chan->receiver].id, to);
    }
    fprintf(stderr, "  storm: afterwards %s -> %s: %s\n", from, to, text);
    sup->world->failed = 1;
}

/* Both ends, opened anew, agree with the logs about every channel. */
static void check_channel(struct supervisor *sup, struct storm_chan *chan) {
    struct storm_world *world = sup->world;
    struct tram_options options = TRAM_OPTIONS_INIT;
    tram_id from = world->nodes[chan->sender].id, to = world->nodes[chan->receiver].id;
    tram_node *sender = kit_open(world->dir, from, &options);
    tram_node *receiver = kit_open(world->dir, to, &options);
    struct tram_peer peer;
    struct tram_msg msg;
    uint64_t count;

    if (tram_accepted(sender, to, &count) < 0 || count != chan->final - 1)
        wrong(sup, chan, "the bus accepted %llu", (unsigned long long) count);
    if (tram_peer(receiver, from, &peer) < 0 || peer.from.accepted != count ||
        peer.from.consumed != count || peer.from.bytes != 0)
        wrong(sup, chan, "tram_peer: accepted %llu, consumed %llu, waiting %llu bytes, not %llu",
              (unsigned long long) peer.from.accepted, (unsigned long long) peer.from.consumed,
              (unsigned long long) peer.from.bytes, (unsigned long long) count);
    if (tram_recv(receiver, &msg, 0) != -EAGAIN)
        wrong(sup, chan, "something is left to be received");
    tram_close(receiver);
    tram_close(sender);
}

static void check_ephemeral(struct supervisor *sup) {
    static const char *const patterns[] = { "*24[0-9].*.*.*", "*25[0-5].*.*.*" };
    struct storm_world *world = sup->world;

    for (uint64_t i = 0; i < world->n_lives; i++) {
        const struct storm_life *life = &world->lives[i];

        if (life->handed < life->accepted)
            wrong(sup, NULL, "ephemeral life %llu: accepted %llu, received %llu",
                  (unsigned long long) i, (unsigned long long) life->accepted,
                  (unsigned long long) life->handed);
    }
    for (int i = 0; i < 2; i++)
        if (kit_count_files(world->dir, patterns[i]) > 0) {
            wrong(sup, NULL, "ephemeral nodes left files behind:");
            kit_list_tree(world->dir);
        }
}

static void check_rest(struct supervisor *sup, bool last) {
    struct storm_world *world = sup->world;

    for (int i = 0; i < world->n_chans && !world->failed; i++)
        check_channel(sup, &world->chans[i]);
    if (last)
        check_ephemeral(sup);
    for (int i = 0; i < world->n_chans; i++)
        world->chans[i].final = 0;
    for (int i = 0; i < world->n_nodes; i++)
        world->nodes[i].ended = 0;
}

static void add_up(struct supervisor *sup) {
    struct storm_world *world = sup->world;

    for (int i = 0; i < world->n_chans; i++) {
        sup->tally->accepted += world->chans[i].accepted;
        sup->tally->handed += world->chans[i].handouts;
        sup->tally->repeated += world->chans[i].repeats;
        sup->tally->aside += world->chans[i].n_aside;
    }
    sup->tally->ephemeral += world->n_lives;
}

int storm_round(const struct storm_config *config, struct storm_tally *tally) {
    struct supervisor sup = { .config = config, .tally = tally };
    unsigned phases = config->phases ? config->phases : 1;
    int rc;

    sup.world = storm_world_new(config);
    sup.rng.state = kit_mix(config->seed, 77, 0);
    for (unsigned phase = 0; phase < phases && !sup.world->failed; phase++) {
        sup.world->ending = 0;
        sup.moved = kit_now();
        for (int i = 0; i < sup.world->n_nodes; i++)
            start(&sup, i);
        rage(&sup, config->kills / phases);
        calm(&sup, phase + 1 == phases);
        if (!sup.world->failed)
            check_rest(&sup, phase + 1 == phases);
    }
    if (sup.world->failed) {
        storm_report(sup.world);
        fprintf(stderr, "  storm: seed %llu, kills %u, phases %u FAILED\n",
                (unsigned long long) config->seed, config->kills, phases);
    }
    stop_all(&sup);
    add_up(&sup);
    rc = sup.world->failed ? -1 : 0;
    storm_world_free(sup.world);
    return rc;
}
