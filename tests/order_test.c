/* SPDX-License-Identifier: MIT
 * test: timeout=60 cpus=2
 *
 * An event loop that calls in any order: before each poll it does something at random, and ends
 * with a call that says that there is nothing. Whatever the order, no message is left while the
 * descriptor is not readable, and the descriptor does not stay readable with nothing there.
 *
 * ORDER_SECONDS=N makes it longer.
 */
#include <poll.h>
#include <pthread.h>
#include <stdio.h>

#include "harness.h"
#include "support/kit.h"

#define HUB      TRAM_ID(1, 0, 0, 1)
#define SPOKE(i) TRAM_ID(2, 0, 0, 1 + (i))
#define SPOKES   3
#define LATE     (900 * KIT_MS) /* a re-look would hide a lost wake-up: it comes after a second */

static struct spoke {
    unsigned number;
    uint64_t sent, got, seed;
} spokes[SPOKES];
static bool stop;
static tram_id lone; /* watched, comes and goes */

static void *send_now_and_then(void *context) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    struct spoke *spoke = context;
    struct rng rng = {spoke->seed};
    tram_node *node = kit_open(NULL, SPOKE(spoke->number), &options);
    static _Thread_local uint8_t data[4000];
    struct tram_msg msg;

    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        uint64_t most = rng_chance(&rng, 50) ? 5000000 : 600000;
        int64_t until = kit_now() + (int64_t) rng_below(&rng, most);

        for (uint64_t n = rng_below(&rng, 20); n > 0; n--) {
            int rc = tram_send(node, HUB, 0, data, rng_below(&rng, sizeof(data)), TRAM_NOWAIT);

            if (rc == 0)
                (void) __atomic_fetch_add(&spoke->sent, 1, __ATOMIC_SEQ_CST);
        }
        while (tram_recv(node, &msg, rng_chance(&rng, 500) ? 0 : 20000) == 0)
            continue;
        while (kit_now() < until)
            kit_pause();
    }
    (void) tram_close(node);
    return NULL;
}

static void *come_and_go(void *context) {
    (void) context;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        tram_node *node = kit_open(NULL, lone, NULL);

        kit_pause();
        (void) tram_close(node);
        kit_pause();
    }
    return NULL;
}

static uint64_t waiting(void) {
    uint64_t all = 0;

    for (unsigned i = 0; i < SPOKES; i++)
        all += __atomic_load_n(&spokes[i].sent, __ATOMIC_SEQ_CST) - spokes[i].got;
    return all;
}

static int receive(tram_node *hub, struct rng *rng, int64_t timeout_ns) {
    static uint8_t data[4000];
    struct tram_msg msg;
    int rc = tram_recv(hub, &msg, timeout_ns);

    if (rc < 0)
        return rc;
    spokes[(msg.from & 0xff) - 1].got++;
    CHECK_EQ(msg.seq, spokes[(msg.from & 0xff) - 1].got);
    if (rng_chance(rng, 300))
        (void) tram_send(hub, msg.from, 0, data, rng_below(rng, sizeof(data)),
                         TRAM_NOWAIT | (rng_chance(rng, 300) ? TRAM_MORE : 0));
    return 0;
}

/* True: the call said that there is nothing. */
static bool call(tram_node *hub, struct rng *rng, bool blocking) {
    struct tram_event event;

    switch (rng_below(rng, blocking ? 8 : 6)) {
    case 0:
    case 1:
        return receive(hub, rng, 0) == -EAGAIN;
    case 2:
    case 3:
        return tram_dispatch(hub, &event) == 0;
    case 4:
        return tram_timeout(hub) > 0;
    case 5:
        return tram_wait(hub, 0) == -EAGAIN;
    case 6:
        (void) receive(hub, rng, 100000);
        return false;
    default:
        (void) tram_wait(hub, 100000);
        return false;
    }
}

static void loop(tram_node *hub, struct rng *rng, int64_t end) {
    struct pollfd entry = {.fd = tram_fd(hub), .events = POLLIN};
    struct tram_event event;
    uint64_t polls = 0;
    uint64_t vain = 0;

    while (kit_now() < end) {
        uint64_t before = waiting();
        int64_t start;
        int idle = 0;
        int rc;

        for (uint64_t n = rng_below(rng, 4); n > 0; n--)
            (void) call(hub, rng, true);
        while (!call(hub, rng, false))
            continue;
        start = kit_now();
        rc = poll(&entry, 1, 2000);
        if (rc == 0 || kit_now() - start > LATE)
            FAIL("polled %lld ms, %llu waited before, %llu now",
                 (long long) ((kit_now() - start) / KIT_MS), (unsigned long long) before,
                 (unsigned long long) waiting());
        polls++;
        if (rng_chance(rng, 900))
            continue;
        /* Take all there is: then it must not be readable for long without a message. */
        do {
            idle = 0;
            while (tram_dispatch(hub, &event) > 0)
                continue;
            while (idle < 1000 && receive(hub, rng, 0) == 0)
                idle++;
            vain += idle == 0;
        } while (idle > 0 && kit_now() < end);
    }
    (void) fprintf(stderr, "%llu polls, %llu in vain\n", (unsigned long long) polls,
                   (unsigned long long) vain);
}

TEST_TIMEOUT(calls_in_any_order, 50) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    uint64_t seed = kit_env("ORDER_SEED", (uint64_t) kit_now());
    int64_t end = kit_now() + (int64_t) kit_env("ORDER_SECONDS", 3) * KIT_S;
    struct rng rng = {seed};
    pthread_t threads[SPOKES + 1];
    tram_node *hub;

    (void) fprintf(stderr, "ORDER_SEED=%llu\n", (unsigned long long) seed);
    lone = TRAM_ID(3, 0, 0, 1);
    hub = kit_open(NULL, HUB, &options);
    CHECK_OK(tram_watch(hub, lone));
    for (unsigned i = 0; i < SPOKES; i++) {
        spokes[i] = (struct spoke){.number = i, .seed = rng_next(&rng)};
        CHECK_EQ(pthread_create(&threads[i], NULL, send_now_and_then, &spokes[i]), 0);
    }
    CHECK_EQ(pthread_create(&threads[SPOKES], NULL, come_and_go, NULL), 0);
    loop(hub, &rng, end);
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i <= SPOKES; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    while (receive(hub, &rng, 0) == 0)
        continue;
    CHECK_EQ(waiting(), 0);
    (void) tram_close(hub);
}
