/* SPDX-License-Identifier: MIT
 * test: timeout=90 cpus=2
 *
 * The kill storm across hosts: two flows in opposite directions between two bus directories, and
 * everything is killed: what copies between them (at any instruction, with both its ends; and its
 * ends one by one, between two calls), the senders and the receivers. What a sender was told to be
 * accepted arrives, once, in order, unless its receiver died with it in hand; then marked.
 * STAND_SEED=… repeats a run's choices, STAND_KILLS=… sets how many.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <tram/tram.h>

#include "harness.h"
#include "support/cable.h"
#include "support/kit.h"

enum { FLOWS = 2 };

struct flow {
    tram_id from, to;
    int side;          /* where the sender is */
    uint64_t last;     /* received */
    uint64_t sent;     /* all of it, once that is known */
    uint64_t marked, lives;
};

struct world {
    struct cable cable;
    struct flow flows[FLOWS];
    uint64_t seed;
    bool stop;         /* senders: enough */
};

static struct world *world;

static size_t size_of(const struct world *w, uint64_t number) {
    uint64_t mix = kit_mix(w->seed, number, 7);

    if (mix % 5000 == 0)
        return 100000 + mix % 200000; /* the ring grows */
    return mix % 20 == 0 ? mix / 32 % 8000 : 8 + mix / 32 % 100;
}

static void sender(void *arg) {
    struct flow *flow = arg;
    struct tram_options options = kit_options(65536, 0);
    tram_node *node = kit_open(world->cable.dirs[flow->side], flow->from, &options);
    uint8_t *data = malloc(400000);
    uint64_t number = 0;

    CHECK_OK(tram_accepted(node, flow->to, &number));
    for (number++; !__atomic_load_n(&world->stop, __ATOMIC_RELAXED); number++) {
        size_t size = size_of(world, number);
        uint32_t more = kit_mix(number, 1, 1) % 3 == 0 ? TRAM_MORE : 0;

        pattern_fill(data, size, number);
        if (tram_send(node, flow->to, (uint32_t) number, data, size, more) < 0)
            FAIL("%s", kit_error(node));
    }
    CHECK_OK(tram_flush(node));
    __atomic_store_n(&flow->sent, number - 1, __ATOMIC_RELEASE);
    for (;;)
        (void) tram_wait(node, TRAM_FOREVER);
}

static void receiver(void *arg) {
    struct flow *flow = arg;
    struct tram_options options = kit_options(65536, 0);
    tram_node *node;

    options.attempts = 254;
    node = kit_open(world->cable.dirs[!flow->side], flow->to, &options);
    for (;;) {
        struct tram_msg msg;

        if (tram_recv(node, &msg, TRAM_FOREVER) < 0)
            FAIL("%s", kit_error(node));
        if (msg.seq > flow->last + 1 || (msg.attempt == 1 && msg.seq != flow->last + 1))
            FAIL("message %llu, attempt %u, behind %llu", (unsigned long long) msg.seq,
                 msg.attempt, (unsigned long long) flow->last);
        CHECK_EQ(msg.tag, (uint32_t) msg.seq);
        CHECK_EQ(msg.size, size_of(world, msg.seq));
        CHECK_EQ(pattern_check(msg.data, msg.size, msg.seq), -1);
        if (msg.attempt > 1)
            flow->marked++;
        if (msg.seq % 64 == 0)
            kit_pause(); /* with it in hand */
        if (msg.seq > flow->last)
            __atomic_store_n(&flow->last, msg.seq, __ATOMIC_RELEASE);
    }
}

/* The daemons of both hosts; now and then one of them begins anew. */
static void copier(void *arg) {
    struct rng rng = {.state = (uint64_t) (uintptr_t) arg};
    struct cable *cable = malloc(sizeof(*cable));

    *cable = world->cable;
    cable->part = rng_chance(&rng, 300) ? 4096 : 65536;
    cable_plug(cable);
    for (;;) {
        for (uint64_t turns = 1 + rng_below(&rng, 3000); turns > 0; turns--) {
            cable_plug(cable);
            if (!cable_turn(cable))
                kit_pause();
        }
        cable_restart(cable, (int) rng_below(&rng, 2));
    }
}

static bool all_arrived(void) {
    for (int i = 0; i < FLOWS; i++) {
        uint64_t sent = __atomic_load_n(&world->flows[i].sent, __ATOMIC_ACQUIRE);

        if (sent == 0 || __atomic_load_n(&world->flows[i].last, __ATOMIC_ACQUIRE) != sent)
            return false;
    }
    return true;
}

/* Nobody ends but by us. */
static void end(pid_t pid) {
    siginfo_t info = {0};

    CHECK_OK(waitid(P_PID, (id_t) pid, &info, WEXITED | WNOHANG | WNOWAIT));
    CHECK_EQ(info.si_pid, 0);
    test_kill(pid);
}

static void storm(uint64_t seed, unsigned kills) {
    struct rng rng = {.state = seed};
    pid_t senders[FLOWS];
    pid_t receivers[FLOWS];
    pid_t daemon;
    int64_t last;
    uint64_t life = 1;

    world->seed = seed;
    daemon = test_fork(copier, (void *) (uintptr_t) (seed + life));
    for (int i = 0; i < FLOWS; i++) {
        senders[i] = test_fork(sender, &world->flows[i]);
        receivers[i] = test_fork(receiver, &world->flows[i]);
    }
    for (unsigned kill = 0; kill < kills; kill++) {
        int64_t until = kit_now() + (int64_t) rng_below(&rng, 12 * (uint64_t) KIT_MS);
        uint64_t which = rng_below(&rng, 10);
        struct flow *flow = &world->flows[which % FLOWS];

        while (kit_now() < until)
            kit_pause();
        if (which < 6) {
            end(daemon);
            daemon = test_fork(copier, (void *) (uintptr_t) (seed + ++life));
        } else if (which < 8) {
            end(senders[which % FLOWS]);
            senders[which % FLOWS] = test_fork(sender, flow);
        } else {
            end(receivers[which % FLOWS]);
            receivers[which % FLOWS] = test_fork(receiver, flow);
            flow->lives++;
        }
    }
    __atomic_store_n(&world->stop, true, __ATOMIC_RELAXED);
    last = kit_now() + kit_patience(40);
    while (!all_arrived()) {
        for (int i = 0; i < FLOWS && kit_now() > last; i++)
            printf("    %llu of %llu\n", (unsigned long long) world->flows[i].last,
                   (unsigned long long) world->flows[i].sent);
        CHECK(kit_now() < last);
        kit_pause();
    }
    for (int i = 0; i < FLOWS; i++) {
        end(senders[i]);
        end(receivers[i]);
    }
    end(daemon);
    for (int i = 0; i < FLOWS; i++)
        printf("    %llu messages, %llu came again in %llu lives\n",
               (unsigned long long) world->flows[i].sent,
               (unsigned long long) world->flows[i].marked,
               (unsigned long long) world->flows[i].lives);
    CHECK(world->flows[0].marked + world->flows[1].marked > 0);
}

TEST_TIMEOUT(storm, 90) {
    uint64_t seed = kit_env("STAND_SEED", (uint64_t) kit_now() / 1000 % 1000000000);

    world = kit_shared(sizeof(*world));
    cable_init(&world->cable);
    world->flows[0] = (struct flow){TRAM_ID(1, 1, 1, 1), TRAM_ID(2, 2, 2, 2), 0, 0, 0, 0, 0};
    world->flows[1] = (struct flow){TRAM_ID(2, 2, 2, 3), TRAM_ID(1, 1, 1, 2), 1, 0, 0, 0, 0};
    for (int i = 0; i < FLOWS; i++) {
        cable_place(&world->cable, world->flows[i].from, world->flows[i].side);
        cable_place(&world->cable, world->flows[i].to, !world->flows[i].side);
    }
    printf("    STAND_SEED=%llu\n", (unsigned long long) seed);
    storm(seed, (unsigned) kit_env("STAND_KILLS", *test_sanitizer() ? 150 : 400));
    cable_close(&world->cable);
}
