/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * Lives of a receiver, at random: it takes messages in all ways, holds some, releases them in any
 * order, and ends without a word, again and again, while the ring grows below it. A model knows of
 * each message in how many lives it was in hand and whether it was released.
 *
 * HOLD_ROUNDS=N and HOLD_SEED=N make more of it, or the same again.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"

#define A TRAM_ID(1, 1, 1, 1)
#define B TRAM_ID(1, 1, 1, 2)
#define MOST 20000

enum { WAITS, IN_HAND, RELEASED };

static struct {
    uint64_t sent;
    uint32_t sizes[MOST];
    uint8_t state[MOST];
    uint32_t hands[MOST]; /* lives in which it was handed out */
    bool held[MOST];      /* in this life, by hand */
    bool automatic[MOST]; /* in this life, until the next receive */
    uint64_t last;        /* handed out in this life */
    uint64_t handed, again;
} *all;

static void release_automatic(void) {
    for (uint64_t seq = 1; seq <= all->sent; seq++) {
        if (all->automatic[seq]) {
            all->automatic[seq] = false;
            all->state[seq] = RELEASED;
        }
    }
}

static void note(const struct tram_msg *msg, bool hold) {
    uint64_t seq = msg->seq;

    if (seq <= all->last || seq > all->sent)
        FAIL("%llu after %llu", (unsigned long long) seq, (unsigned long long) all->last);
    for (uint64_t i = all->last + 1; i < seq; i++)
        if (all->state[i] != RELEASED)
            FAIL("%llu is missing before %llu", (unsigned long long) i, (unsigned long long) seq);
    if (all->state[seq] == RELEASED)
        FAIL("%llu was released", (unsigned long long) seq);
    if (msg->attempt != all->hands[seq] + 1)
        FAIL("%llu: attempt %u after %u hand-outs", (unsigned long long) seq, msg->attempt,
             all->hands[seq]);
    CHECK_EQ(msg->size, all->sizes[seq]);
    CHECK_EQ(pattern_check(msg->data, msg->size, seq), -1);
    all->last = seq;
    all->hands[seq]++;
    all->state[seq] = IN_HAND;
    all->held[seq] = hold;
    all->automatic[seq] = !hold;
    all->handed++;
    all->again += msg->attempt > 1;
}

struct life {
    uint64_t seed;
    bool to_the_end;
};

static void one_step(tram_node *b, struct rng *rng, struct tram_msg *held, unsigned *count) {
    static uint8_t buffer[4096];
    struct tram_msg msgs[40];
    int rc;

    switch (rng_below(rng, 8)) {
    case 0:
    case 1:
        release_automatic();
        rc = tram_recv(b, msgs, 0);
        if (rc == 0)
            note(msgs, false);
        return;
    case 2:
        release_automatic();
        rc = tram_recv_batch(b, msgs, 1 + (int) rng_below(rng, 40), 0, 0);
        for (int i = 0; i < rc; i++)
            note(&msgs[i], false);
        return;
    case 3:
    case 4:
        release_automatic();
        rc = tram_recv_batch(b, msgs, 1 + (int) rng_below(rng, 40), TRAM_HOLD, 0);
        for (int i = 0; i < rc; i++) {
            note(&msgs[i], true);
            held[(*count)++] = msgs[i];
        }
        return;
    case 5:
        release_automatic();
        if (rng_chance(rng, 500)) {
            CHECK_OK(tram_done(b));
        } else {
            rc = tram_recv_copy(b, buffer, rng_below(rng, sizeof(buffer)), msgs, 0);
            if (rc == 0)
                note(msgs, false);
        }
        return;
    case 6:
        (void) tram_wait(b, 0);
        return;
    default:
        for (uint64_t n = rng_below(rng, 30); n > 0 && *count > 0; n--) {
            unsigned which = (unsigned) rng_below(rng, *count);

            CHECK_OK(tram_release(b, &held[which]));
            CHECK_ERR(tram_release(b, &held[which]), -ENOENT);
            all->state[held[which].seq] = RELEASED;
            held[which] = held[--*count];
        }
    }
}

static void live(void *context) {
    static struct tram_msg held[MOST];
    const struct life *life = context;
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    struct rng rng = {life->seed};
    uint64_t steps = rng_below(&rng, 30);
    unsigned count = 0;
    tram_node *b = NULL;
    struct tram_msg msg;

    options.attempts = 254;
    b = kit_open(NULL, B, &options);
    while (steps-- > 0)
        one_step(b, &rng, held, &count);
    if (life->to_the_end) {
        while (count > 0) {
            CHECK_OK(tram_release(b, &held[--count]));
            all->state[held[count].seq] = RELEASED;
        }
        for (;;) {
            release_automatic();
            if (tram_recv(b, &msg, 0) < 0)
                break;
            note(&msg, false);
        }
    }
    if (life->to_the_end || rng_chance(&rng, 300))
        (void) tram_close(b);
    _exit(0);
}

static void send_some(tram_node *a, struct rng *rng, uint64_t largest) {
    static uint8_t block[1 << 20];

    for (uint64_t n = rng_below(rng, 60); n > 0 && all->sent + 1 < MOST; n--) {
        uint64_t most = rng_chance(rng, 20) ? largest : 2000;
        uint64_t size = rng_below(rng, most);
        uint64_t seq = all->sent + 1;

        pattern_fill(block, size, seq);
        if (tram_send(a, B, 0, block, size, TRAM_NOWAIT) < 0)
            return;
        all->sizes[seq] = (uint32_t) size;
        all->sent = seq;
    }
}

static void round_of(uint64_t seed) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    struct rng rng = {seed};
    tram_node *a = NULL;

    memset(all, 0, sizeof(*all));
    options.ring_max = 1 << 20;
    for (int i = 0; i < 60; i++) {
        struct life life = {.seed = rng_next(&rng), .to_the_end = i == 59};

        if (!a)
            a = kit_open(NULL, A, &options);
        send_some(a, &rng, rng_chance(&rng, 100) ? (1 << 20) - 200 : 60000);
        if (rng_chance(&rng, 200))
            a = tram_close(a);
        JOIN(test_fork(live, &life));
        all->last = 0;
        for (uint64_t seq = 1; seq <= all->sent; seq++)
            all->held[seq] = all->automatic[seq] = false;
    }
    for (uint64_t seq = 1; seq <= all->sent; seq++)
        CHECK_EQ(all->state[seq], RELEASED);
    (void) tram_close(a);
}

TEST_TIMEOUT(lives_of_a_receiver, 50) {
    uint64_t rounds = kit_env("HOLD_ROUNDS", *test_sanitizer() ? 3 : 20);
    uint64_t seed = kit_env("HOLD_SEED", (uint64_t) kit_now());
    char path[512];

    all = kit_shared(sizeof(*all));
    for (uint64_t i = 0; i < rounds; i++) {
        (void) fprintf(stderr, "HOLD_SEED=%llu", (unsigned long long) seed + i);
        round_of(seed + i);
        (void) fprintf(stderr, ": %llu sent, %llu handed out, %llu again\n",
                       (unsigned long long) all->sent, (unsigned long long) all->handed,
                       (unsigned long long) all->again);
        kit_remove_tree(kit_path(path, sizeof(path), test_dir(), B, NULL));
        kit_remove_tree(kit_path(path, sizeof(path), test_dir(), A, NULL));
    }
}
