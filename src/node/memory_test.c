/* SPDX-License-Identifier: MIT
 *
 * Memory follows the backlog: what a channel holds after much traffic, at rest, and after an
 * orderly end.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "tram/tram.h"

#define A    TRAM_ID(1, 1, 1, 1)
#define B    TRAM_ID(1, 1, 1, 2)
#define KEEP 65536
#define PAGE 4096

static tram_node *open_sized(tram_id id, uint64_t ring) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    tram_node *node = NULL;

    options.ring_size = ring;
    CHECK_OK(tram_open("t", id, &options, &node));
    return node;
}

static tram_node *open_node(tram_id id) {
    return open_sized(id, 0);
}

/* Bytes with memory behind them in a file of B's directory. */
static long long held(const char *name) {
    char path[512];
    struct stat st;

    (void) snprintf(path, sizeof(path), "%s/t/1.1.1.2/%s", test_dir(), name);
    CHECK_EQ(stat(path, &st), 0);
    return (long long) st.st_blocks * 512;
}

static void carry(tram_node *from, tram_node *to, uint64_t bytes) {
    static uint8_t block[65536];
    struct tram_msg msg;

    for (uint64_t sent = 0; sent < bytes; sent += sizeof(block)) {
        CHECK_EQ(tram_send(from, B, 0, block, sizeof(block), 0), 0);
        CHECK_OK(tram_recv(to, &msg, 0));
    }
    CHECK_OK(tram_done(to));
}

/* An event loop with nothing in it gives back after a while. */
static void rest(tram_node *from, tram_node *to) {
    struct tram_msg msg;

    CHECK_ERR(tram_recv(to, &msg, 1000000), -ETIMEDOUT);
    CHECK_ERR(tram_wait(from, 350000000), -ETIMEDOUT);
}

TEST(a_drained_channel_keeps_the_end_for_the_post_mortem) {
    tram_node *a = open_node(A);
    tram_node *b = open_node(B);
    struct tram_msg msg;
    uint64_t accepted = 0;

    carry(a, b, UINT64_C(1) << 30);
    CHECK(held("from-1.1.1.1") > 1 << 20); /* under load nothing is given back */
    rest(a, b);
    CHECK(held("from-1.1.1.1") + held("head-1.1.1.1") <= 3 * PAGE + KEEP); /* the target */
    CHECK(held("from-1.1.1.1") >= KEEP);
    CHECK_OK(tram_accepted(a, B, &accepted));
    CHECK_EQ(accepted, 16384);
    CHECK_EQ(tram_send(a, B, 0, "on", 2, 0), 0);
    CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_EQ(msg.seq, 16385);
    carry(a, b, 10 << 20);
    (void) tram_close(a);
    (void) tram_close(b);
}

TEST(an_orderly_end_leaves_the_counts) {
    tram_node *a = open_node(A);
    tram_node *b = open_node(B);
    struct tram_msg msg;
    uint64_t accepted = 0;

    carry(a, b, 10 << 20);
    CHECK_ERR(tram_recv(b, &msg, 1000), -ETIMEDOUT);
    a = tram_close(a);
    CHECK_EQ(held("from-1.1.1.1"), PAGE);
    a = open_node(A);
    CHECK_OK(tram_accepted(a, B, &accepted));
    CHECK_EQ(accepted, 160);
    CHECK_EQ(tram_send(a, B, 0, "on", 2, 0), 0);
    CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_EQ(msg.seq, 161);
    CHECK_EQ(msg.attempt, 1);
    (void) tram_close(a);
    (void) tram_close(b);
}

TEST(what_waits_keeps_its_memory) {
    tram_node *a = open_node(A);
    tram_node *b = open_node(B);

    for (int i = 0; i < 100; i++)
        CHECK_EQ(tram_send(a, B, 0, "waiting", 7, 0), 0);
    CHECK_ERR(tram_wait(a, 350000000), -ETIMEDOUT);
    (void) tram_close(a);
    (void) tram_close(b);
    a = open_node(A);
    b = open_node(B);
    for (int i = 0; i < 100; i++) {
        struct tram_msg msg;

        CHECK_OK(tram_recv(b, &msg, 0));
        CHECK_EQ(msg.seq, i + 1);
        CHECK(msg.size == 7 && memcmp(msg.data, "waiting", 7) == 0);
    }
    (void) tram_close(a);
    (void) tram_close(b);
}

/* A sender that makes no call but sends, slowly, does not fill its ring with what nobody needs. */
TEST(light_traffic_gives_back_behind_it) {
    tram_node *a = open_node(A);
    tram_node *b = open_node(B);

    for (int i = 0; i < 40; i++) {
        struct tram_msg msg;

        carry(a, b, 65536);
        CHECK_ERR(tram_recv(b, &msg, 11000000), -ETIMEDOUT);
    }
    CHECK(held("from-1.1.1.1") <= PAGE + KEEP + 8 * 65536);
    (void) tram_close(a);
    (void) tram_close(b);
}

/* A small one goes round soon: it keeps what it has as long as anything moves. */
TEST(a_small_ring_keeps_its_memory_in_light_traffic) {
    tram_node *a = open_sized(A, 256 << 10);
    tram_node *b = open_node(B);

    for (int i = 0; i < 20; i++) {
        struct tram_msg msg;

        carry(a, b, 65536);
        CHECK_ERR(tram_recv(b, &msg, 22000000), -ETIMEDOUT);
        CHECK(i < 4 || held("from-1.1.1.1") >= 256 << 10);
    }
    rest(a, b);
    CHECK(held("from-1.1.1.1") <= 2 * PAGE + KEEP);
    (void) tram_close(a);
    (void) tram_close(b);
}

static void fill_and_die(void *arg) {
    static uint8_t block[65536];
    tram_node *a = open_node(A);

    (void) arg;
    for (int i = 0; i < 16; i++)
        CHECK_EQ(tram_send(a, B, 0, block, sizeof(block), 0), 0);
    _exit(0);
}

/* Nobody is left who could give it back but the receiver, which looks after a second or two. */
TEST(a_receiver_gives_back_for_a_dead_sender) {
    tram_node *b = open_node(B);
    struct tram_msg msg;

    JOIN(test_fork(fill_and_die, NULL));
    for (int i = 0; i < 16; i++)
        CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_OK(tram_done(b));
    CHECK(held("from-1.1.1.1") >= 16 * 65536);
    for (int i = 0; i < 100 && held("from-1.1.1.1") > 3 * KEEP; i++)
        CHECK_ERR(tram_recv(b, &msg, 100000000), -ETIMEDOUT);
    CHECK(held("from-1.1.1.1") <= 2 * KEEP + 4 * PAGE);
    (void) tram_close(b);
}

/* One that runs, and does nothing, is asked; it does when it next calls. */
TEST(a_receiver_asks_a_sender_that_idles) {
    static uint8_t block[65536];
    struct tram_event event;
    tram_node *a = open_node(A);
    tram_node *b = open_node(B);
    struct tram_msg msg;

    CHECK_OK(tram_fd(a));
    for (int i = 0; i < 16; i++)
        CHECK_EQ(tram_send(a, B, 0, block, sizeof(block), 0), 0);
    for (int i = 0; i < 16; i++)
        CHECK_OK(tram_recv(b, &msg, 0));
    for (int i = 0; i < 40; i++)
        CHECK_ERR(tram_recv(b, &msg, 100000000), -ETIMEDOUT);
    CHECK(held("from-1.1.1.1") >= 16 * 65536);
    for (int i = 0; i < 100 && held("from-1.1.1.1") > 3 * KEEP; i++) {
        CHECK_ERR(tram_recv(b, &msg, 10000000), -ETIMEDOUT);
        CHECK_EQ(tram_dispatch(a, &event), 0);
    }
    CHECK(held("from-1.1.1.1") <= 2 * KEEP + 4 * PAGE);
    (void) tram_close(a);
    (void) tram_close(b);
}
