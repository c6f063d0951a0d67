/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * Messages set aside: a message of which its receiver dies again and again is put away after so
 * many hand-outs, and the channel goes on. It can be listed, retried and dropped, by any later
 * life.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"

#define SENDER TRAM_ID(1, 0, 0, 1)
#define RECEIVER TRAM_ID(2, 0, 0, 1)

enum { POISON = 666 };

static struct tram_options attempts(uint32_t n) {
    struct tram_options options = TRAM_OPTIONS_INIT;

    options.attempts = n;
    return options;
}

/* Messages 1 to n; the tag of some of them kills. */
static void send_numbers(tram_node *node, uint64_t first, uint64_t n, uint64_t poison) {
    for (uint64_t i = first; i < first + n; i++)
        CHECK_OK(tram_send(node, RECEIVER, i == poison ? POISON : 0, &i, sizeof i, 0));
}

struct life { /* of a receiver that dies of poison */
    uint32_t attempts;
    int batch;
    uint64_t upto;           /* it ends in order after this message */
    volatile uint64_t *seen; /* shared: how often each number was seen without dying */
};

static void live(void *arg) {
    const struct life *life = arg;
    struct tram_options options = attempts(life->attempts);
    tram_node *node = kit_open(NULL, RECEIVER, &options);
    struct tram_msg msgs[16];
    bool more = true;

    while (more) {
        int n = tram_recv_batch(node, msgs, life->batch, 0, kit_patience(10));

        CHECK_OK(n);
        for (int i = 0; i < n; i++)
            if (msgs[i].tag == POISON)
                raise(SIGKILL);
        for (int i = 0; i < n; i++) {
            life->seen[msgs[i].seq]++;
            more &= msgs[i].seq != life->upto;
        }
        CHECK_OK(tram_done(node));
    }
    tram_close(node);
}

/* Lives until one ends in order; how many were killed. */
static unsigned live_until_done(struct life *life) {
    for (unsigned killed = 0;; killed++) {
        pid_t pid = test_fork(live, life);
        int status;

        CHECK_EQ(waitpid(pid, &status, 0), pid);
        if (!WIFSIGNALED(status)) {
            CHECK_EQ(status, 0);
            return killed;
        }
        CHECK_EQ(WTERMSIG(status), SIGKILL);
        CHECK(killed < 50);
    }
}

static void check_set_aside(uint32_t limit, int batch, unsigned deaths) {
    tram_node *sender = kit_open(NULL, SENDER, NULL), *node;
    struct life life = { limit, batch, 20, kit_shared(4096) };
    struct tram_options options = attempts(limit);
    struct tram_aside list[4];
    struct tram_peer peer;
    struct tram_msg msg;

    send_numbers(sender, 1, 20, 7);
    CHECK_EQ(live_until_done(&life), deaths);
    for (uint64_t i = 1; i <= 20; i++)
        CHECK_EQ(life.seen[i], i == 7 ? 0 : 1);

    node = kit_open(NULL, RECEIVER, &options);
    CHECK_ERR(tram_recv(node, &msg, 0), -EAGAIN);
    CHECK_EQ(tram_aside_list(node, list, 4), 1);
    CHECK_EQ(list[0].from, SENDER);
    CHECK_EQ(list[0].seq, 7);
    CHECK_EQ(list[0].tag, POISON);
    CHECK_EQ(list[0].size, 8);
    CHECK_EQ(list[0].attempts, deaths);
    CHECK_OK(tram_peer(node, SENDER, &peer));
    CHECK_EQ(peer.from.accepted, 20);
    CHECK_EQ(peer.from.consumed, 20);
    tram_close(node);
    tram_close(sender);
}

TEST(set_aside_after_five) {
    check_set_aside(0, 1, 5);
}

TEST(set_aside_after_two) {
    check_set_aside(2, 1, 2);
}

/* In a batch the first time, alone after that: the others do not suffer for it. */
TEST(found_in_a_batch) {
    check_set_aside(3, 16, 3);
}

/* Dies with several in hand: each is counted, and only the one that kills goes. */
TEST(neighbours_are_marked_and_stay) {
    tram_node *sender = kit_open(NULL, SENDER, NULL);
    struct life life = { 3, 16, 40, kit_shared(4096) };

    send_numbers(sender, 1, 20, 3);
    send_numbers(sender, 21, 20, 0);
    CHECK_EQ(live_until_done(&life), 3);
    for (uint64_t i = 1; i <= 40; i++)
        CHECK_EQ(life.seen[i], i == 3 ? 0 : 1);
    tram_close(sender);
}

/* ---- what can be done with it --------------------------------------------------------------- */

/* A receiver that has number 7 set aside. */
static tram_node *with_one_aside(tram_node *sender) {
    struct life life = { 2, 1, 10, kit_shared(4096) };
    struct tram_options options = attempts(2);

    send_numbers(sender, 1, 10, 7);
    CHECK_EQ(live_until_done(&life), 2);
    return kit_open(NULL, RECEIVER, &options);
}

TEST(retried_and_released) {
    tram_node *sender = kit_open(NULL, SENDER, NULL), *node = with_one_aside(sender);
    struct tram_msg msg;
    uint64_t seven = 7;

    CHECK_ERR(tram_aside_retry(node, SENDER, 8), -ENOENT);
    CHECK_ERR(tram_aside_retry(node, TRAM_ID(9, 9, 9, 9), 7), -ENOENT);
    CHECK_OK(tram_aside_retry(node, SENDER, 7));
    CHECK_OK(tram_recv(node, &msg, 0)); /* out of order, and marked */
    CHECK_EQ(msg.seq, 7);
    CHECK_EQ(msg.from, SENDER);
    CHECK_EQ(msg.tag, POISON);
    CHECK_EQ(msg.attempt, 3);
    CHECK_EQ(msg.size, 8);
    CHECK_MEM(msg.data, &seven, 8);
    CHECK_OK(tram_done(node));
    CHECK_EQ(tram_aside_list(node, NULL, 0), 0);
    CHECK_ERR(tram_aside_retry(node, SENDER, 7), -ENOENT);
    send_numbers(sender, 11, 1, 0);
    CHECK_OK(tram_recv(node, &msg, kit_patience(5)));
    CHECK_EQ(msg.seq, 11);
    CHECK_EQ(msg.attempt, 1);
    tram_close(node);
    tram_close(sender);
}

TEST(retried_and_held) {
    tram_node *sender = kit_open(NULL, SENDER, NULL), *node = with_one_aside(sender);
    struct tram_msg msgs[4];

    CHECK_OK(tram_aside_retry(node, SENDER, 7));
    CHECK_EQ(tram_recv_batch(node, msgs, 4, TRAM_HOLD, 0), 1);
    CHECK_EQ(msgs[0].seq, 7);
    CHECK_ERR(tram_recv_batch(node, msgs + 1, 3, TRAM_HOLD, 0), -EAGAIN);
    CHECK_OK(tram_release(node, &msgs[0]));
    CHECK_EQ(tram_aside_list(node, NULL, 0), 0);
    tram_close(node);
    tram_close(sender);
}

TEST(dropped) {
    tram_node *sender = kit_open(NULL, SENDER, NULL), *node = with_one_aside(sender);
    struct tram_msg msg;

    CHECK_OK(tram_aside_drop(node, SENDER, 7));
    CHECK_ERR(tram_aside_drop(node, SENDER, 7), -ENOENT);
    CHECK_EQ(tram_aside_list(node, NULL, 0), 0);
    CHECK_ERR(tram_recv(node, &msg, 0), -EAGAIN);
    tram_close(node);
    tram_close(sender);
}

static void retry_and_die(void *arg) {
    struct tram_options options = attempts(2);
    tram_node *node = kit_open(NULL, RECEIVER, &options);
    struct tram_msg msg;

    CHECK_OK(tram_aside_retry(node, SENDER, 7));
    CHECK_OK(tram_recv(node, &msg, 0));
    CHECK_EQ(msg.seq, 7);
    CHECK_EQ(msg.attempt, *(uint32_t *) arg);
    raise(SIGKILL);
}

/* Retried, and killed once more: it stays set aside until it is asked for again. */
TEST(retried_and_kills_again) {
    tram_node *sender = kit_open(NULL, SENDER, NULL), *node = with_one_aside(sender);
    struct tram_options options = attempts(2);
    struct tram_aside aside;
    struct tram_msg msg;

    tram_close(node);
    for (uint32_t attempt = 3; attempt < 6; attempt++) {
        pid_t pid = test_fork(retry_and_die, &attempt);
        int status;

        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK(WIFSIGNALED(status));
        node = kit_open(NULL, RECEIVER, &options);
        CHECK_ERR(tram_recv(node, &msg, 0), -EAGAIN);
        CHECK_EQ(tram_aside_list(node, &aside, 1), 1);
        CHECK_EQ(aside.seq, 7);
        CHECK_EQ(aside.attempts, attempt);
        tram_close(node);
    }
    tram_close(sender);
}

/* Of several senders, and large ones: each keeps its bytes. */
TEST(several_with_their_bytes) {
    enum { SENDERS = 3, LARGE = 300000 };
    struct tram_options options = attempts(2);
    struct life life = { 2, 1, 2, kit_shared(4096) };
    static char bytes[LARGE];
    struct tram_aside list[8];
    struct tram_msg msg;
    tram_node *node;

    for (uint32_t i = 0; i < SENDERS; i++) {
        tram_node *sender = kit_open(NULL, SENDER + i, NULL);

        pattern_fill(bytes, sizeof bytes, i);
        CHECK_OK(tram_send(sender, RECEIVER, POISON, bytes, sizeof bytes, 0));
        tram_close(sender);
    }
    node = kit_open(NULL, SENDER, NULL);
    CHECK_OK(tram_send(node, RECEIVER, 0, "end", 3, 0));
    tram_close(node);
    (void) live_until_done(&life);
    node = kit_open(NULL, RECEIVER, &options);
    while (tram_recv(node, &msg, 0) == 0)
        continue;
    CHECK_EQ(tram_aside_list(node, list, 8), SENDERS);
    for (uint32_t i = 0; i < SENDERS; i++) {
        CHECK_OK(tram_aside_retry(node, SENDER + i, 1));
        CHECK_OK(tram_recv(node, &msg, 0));
        CHECK_EQ(msg.from, SENDER + i);
        CHECK_EQ(msg.size, LARGE);
        CHECK_EQ(pattern_check(msg.data, msg.size, i), -1);
    }
    CHECK_OK(tram_done(node));
    CHECK_EQ(tram_aside_list(node, NULL, 0), 0);
    tram_close(node);
}
