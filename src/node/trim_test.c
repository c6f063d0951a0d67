/* SPDX-License-Identifier: MIT
 *
 * What a sender takes for memory has memory: else it would store to a hole, which on a full tmpfs
 * is a signal.
 */
#include <stdio.h>
#include <sys/stat.h>

#include "harness.h"
#include "node/node.h"
#include "sys/clock.h"

#define A    TRAM_ID(1, 1, 1, 1)
#define B    TRAM_ID(1, 1, 1, 2)
#define PAGE UINT64_C(4096)

static tram_node *open_node(tram_id id) {
    tram_node *node = NULL;

    CHECK_OK(tram_open("t", id, NULL, &node));
    return node;
}

/* Bytes with memory behind them, of the data. */
static uint64_t held(const struct out *out) {
    struct stat st;

    CHECK_EQ(fstat(out->fd, &st), 0);
    return (uint64_t) st.st_blocks * 512 - PAGE;
}

static void check_claim(const struct out *out) {
    uint64_t from = out->kept & ~(PAGE - 1);
    uint64_t to = (out->reserved + PAGE - 1) & ~(PAGE - 1);

    if (out->reserved == UINT64_MAX)
        CHECK_EQ(held(out), out->capacity);
    else
        CHECK(out->reserved <= out->kept || held(out) >= to - from);
}

static void carry(tram_node *from, tram_node *to, uint64_t bytes) {
    static uint8_t block[32768];
    struct tram_msg msg;

    for (uint64_t sent = 0; sent < bytes; sent += sizeof(block)) {
        CHECK_EQ(tram_send(from, B, 0, block, sizeof(block), 0), 0);
        check_claim(peer_find(from, B)->out);
        CHECK_OK(tram_recv(to, &msg, 0));
    }
    CHECK_OK(tram_done(to));
    CHECK_ERR(tram_recv(to, &msg, 0), -EAGAIN);
}

/* The receiver asks for it, and nothing moves. */
static void trim(tram_node *node) {
    struct out *out = peer_find(node, B)->out;

    out_make_dirty(node, out, true);
    outs_trim(node, sys_now());
    outs_trim(node, sys_now());
    CHECK(!out->dirty);
    check_claim(out);
}

/* An orderly end gave everything back; its successor is asked to give back, and then sends. */
TEST(a_successor_claims_nothing_that_was_given_back) {
    tram_node *a = open_node(A);
    tram_node *b = open_node(B);

    carry(a, b, 10 << 20);
    (void) tram_close(a);
    a = open_node(A);
    trim(a);
    carry(a, b, 10 << 20);
    trim(a);
    carry(a, b, 10 << 20);
    (void) tram_close(a);
    (void) tram_close(b);
}

/* Nothing was ever sent. */
TEST(a_fresh_channel_claims_nothing) {
    tram_node *a = open_node(A);
    tram_node *b = open_node(B);
    void *data;

    CHECK_OK(tram_claim(a, B, 1, 0, &data)); /* which makes it */
    CHECK_OK(tram_abort(a, B));
    trim(a);
    carry(a, b, 10 << 20);
    (void) tram_close(a);
    (void) tram_close(b);
}
