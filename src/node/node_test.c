/* SPDX-License-Identifier: MIT
 *
 * A node from the outside, within one process: each call once or more. What needs several processes
 * and kills is in tests/.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "node/node.h"
#include "tram/tram.h"

#define A TRAM_ID(1, 1, 1, 1)
#define B TRAM_ID(1, 1, 1, 2)

static tram_node *open_node(tram_id id) {
    tram_node *node = NULL;

    CHECK_OK(tram_open("t", id, NULL, &node));
    return node;
}

TEST(nothing_to_free) {
    CHECK(tram_close(NULL) == NULL);
    CHECK(out_free(NULL) == NULL);
    CHECK(in_free(NULL) == NULL);
    CHECK(retry_free(NULL) == NULL);
    CHECK(layout_free(NULL) == NULL);
}

TEST(ids) {
    tram_id id = 0;
    char text[TRAM_ID_TEXT];

    CHECK_OK(tram_id_parse("1.2.3.4", &id));
    CHECK_EQ(id, TRAM_ID(1, 2, 3, 4));
    CHECK_STR(tram_id_format(id, text), "1.2.3.4");
    CHECK_ERR(tram_id_parse("0.0.0.0", &id), -EINVAL);
    CHECK_ERR(tram_id_parse("255.255.255.255", &id), -EINVAL);
    CHECK_ERR(tram_id_parse("1.2.3", &id), -EINVAL);
    CHECK_ERR(tram_id_parse("1.2.3.256", &id), -EINVAL);
    CHECK_ERR(tram_id_parse("1.2.3.4 ", &id), -EINVAL);
    CHECK_ERR(tram_id_parse("01.2.3.0004", &id), -EINVAL);
    CHECK_EQ(id, TRAM_ID(1, 2, 3, 4));
}

TEST(send_and_receive) {
    tram_node *a = open_node(A);
    tram_node *b = open_node(B);
    struct tram_msg msg;
    uint64_t accepted = 99;

    CHECK_OK(tram_accepted(a, B, &accepted));
    CHECK_EQ(accepted, 0);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    CHECK_EQ(tram_send(a, B, 7, "hello", 5, 0), 0);
    CHECK_EQ(tram_send(a, B, 8, NULL, 0, 0), 0);
    CHECK_OK(tram_recv(b, &msg, TRAM_FOREVER));
    CHECK_EQ(msg.size, 5);
    CHECK_EQ(msg.tag, 7);
    CHECK_EQ(msg.from, A);
    CHECK_EQ(msg.seq, 1);
    CHECK_EQ(msg.attempt, 1);
    CHECK(memcmp(msg.data, "hello", 5) == 0);
    CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_EQ(msg.size, 0);
    CHECK_EQ(msg.seq, 2);
    CHECK_ERR(tram_recv(b, &msg, 1000), -ETIMEDOUT);
    CHECK_OK(tram_accepted(a, B, &accepted));
    CHECK_EQ(accepted, 2);
    CHECK(!tram_close(a));
    CHECK(!tram_close(b));
}

TEST(to_oneself_and_full) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    static uint8_t block[30000];
    tram_node *a = NULL;
    struct tram_msg msg;
    int sent = 0;

    options.ring_size = 65536;
    options.ring_max = 65536;
    CHECK_OK(tram_open("t", A, &options, &a));
    CHECK_ERR(tram_send(a, A, 0, block, 70000, 0), -EMSGSIZE);
    CHECK(tram_last_error(a)->limit > 60000);
    while (tram_send(a, A, 0, block, sizeof(block), TRAM_NOWAIT) == 0)
        sent++;
    CHECK_EQ(tram_last_error(a)->code, -EAGAIN);
    CHECK_EQ(sent, 2);
    CHECK_ERR(tram_send(a, A, 0, block, sizeof(block), 0), -EDEADLK);
    for (int round = 0; round < 20; round++) {
        CHECK_OK(tram_recv(a, &msg, 0));
        CHECK_EQ(msg.size, sizeof(block));
        CHECK_EQ(msg.seq, round + 1);
        CHECK_OK(tram_done(a));
        CHECK_ERR(tram_recv_copy(a, block, 10, &msg, 0), -EMSGSIZE);
        CHECK_EQ(tram_send(a, A, 0, block, sizeof(block), TRAM_NOWAIT), 0);
    }
    (void) tram_close(a);
}

TEST(staged_claimed_gathered) {
    tram_node *a = open_node(A);
    tram_node *b = open_node(B);
    char ab[] = "ab";
    char cde[] = "cde";
    struct tram_meta meta = {.tag = 5, .layer = {1, 2, 3}};
    struct iovec pieces[2] = {{ab, 2}, {cde, 3}};
    struct tram_msg msgs[8];
    void *data = NULL;

    CHECK_EQ(tram_send(a, B, 1, "x", 1, TRAM_MORE), TRAM_STAGED);
    CHECK_ERR(tram_recv(b, &msgs[0], 0), -EAGAIN);
    CHECK_EQ(tram_sendv(a, B, &meta, pieces, 2, TRAM_MORE, 0), TRAM_STAGED);
    CHECK_OK(tram_claim(a, B, 100, 0, &data));
    CHECK_ERR(tram_send(a, B, 1, "x", 1, 0), -EBUSY);
    CHECK_OK(tram_abort(a, B));
    CHECK_ERR(tram_abort(a, B), -ENOENT);
    CHECK_OK(tram_claim(a, B, 100, 0, &data));
    memcpy(data, "claimed", 7);
    CHECK_ERR(tram_commit(a, B, NULL, 101, 0), -EINVAL);
    CHECK_EQ(tram_commit(a, B, &meta, 7, TRAM_MORE), TRAM_STAGED);
    CHECK_ERR(tram_recv(b, &msgs[0], 0), -EAGAIN);
    CHECK_OK(tram_flush(a));
    CHECK_EQ(tram_recv_batch(b, msgs, 8, TRAM_HOLD, 0), 3);
    CHECK(memcmp(msgs[1].data, "abcde", 5) == 0 && msgs[1].size == 5 && msgs[1].layer[2] == 3);
    CHECK(memcmp(msgs[2].data, "claimed", 7) == 0 && msgs[2].size == 7 && msgs[2].tag == 5);
    CHECK_OK(tram_release(b, &msgs[2]));
    CHECK_ERR(tram_release(b, &msgs[2]), -ENOENT);
    CHECK_OK(tram_release(b, &msgs[0]));
    CHECK_OK(tram_forward(b, &msgs[1], A, 0));
    CHECK_OK(tram_release(b, &msgs[1]));
    CHECK_OK(tram_recv(a, &msgs[0], 0));
    CHECK(memcmp(msgs[0].data, "abcde", 5) == 0 && msgs[0].layer[1] == 2 && msgs[0].tag == 5);
    (void) tram_close(a);
    (void) tram_close(b);
}

TEST(grows) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    tram_node *a = NULL;
    tram_node *b = open_node(B);
    uint8_t *big = calloc(1, 3000000);
    struct tram_msg msg;

    options.ring_size = 65536;
    CHECK_OK(tram_open("t", A, &options, &a));
    CHECK_EQ(tram_send(a, B, 1, "first", 5, 0), 0);
    memset(big, 0x5a, 3000000);
    CHECK_EQ(tram_send(a, B, 2, big, 100000, TRAM_NOWAIT), 0);
    CHECK_EQ(tram_send(a, B, 3, big, 3000000, TRAM_NOWAIT), 0);
    CHECK_EQ(tram_send(a, B, 4, "last", 4, TRAM_NOWAIT), 0);
    CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_EQ(msg.size, 5);
    CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_EQ(msg.size, 100000);
    CHECK_OK(tram_recv(b, &msg, 0));
    CHECK(msg.size == 3000000 && memcmp(msg.data, big, 3000000) == 0);
    CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_EQ(msg.size, 4);
    CHECK_EQ(msg.seq, 4);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    free(big);
    (void) tram_close(a);
    (void) tram_close(b);
}

TEST(poll_loop) {
    tram_node *a = open_node(A);
    tram_node *b = open_node(B);
    struct pollfd entry = {.fd = tram_fd(b), .events = POLLIN};
    struct tram_event event;
    struct tram_msg msg;

    CHECK(entry.fd >= 0);
    CHECK_EQ(poll(&entry, 1, 0), 1); /* not yet asleep: there may be work */
    CHECK_EQ(tram_dispatch(b, &event), 0);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    CHECK(tram_timeout(b) > 0);
    CHECK_EQ(poll(&entry, 1, 0), 0);
    CHECK_EQ(tram_send(a, B, 1, "x", 1, 0), 0);
    CHECK_EQ(tram_send(a, B, 1, "y", 1, 0), 0);
    CHECK_EQ(poll(&entry, 1, 1000), 1);
    CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_EQ(poll(&entry, 1, 0), 1); /* work is left */
    CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    CHECK_EQ(poll(&entry, 1, 0), 0);
    (void) tram_close(a);
    (void) tram_close(b);
}

TEST(held_and_watched) {
    tram_node *a = open_node(A);
    tram_node *b = NULL;
    struct tram_event event;
    struct tram_peer peer;

    CHECK_ERR(tram_open("t", A, NULL, &b), -EADDRINUSE);
    CHECK(tram_last_error(NULL)->pid > 0);
    CHECK_OK(tram_peer(a, B, &peer));
    CHECK_EQ(peer.state, TRAM_PEER_NEVER);
    CHECK_OK(tram_watch(a, B));
    CHECK_EQ(tram_dispatch(a, &event), 0);
    b = open_node(B);
    CHECK_EQ(tram_dispatch(a, &event), 1);
    CHECK_EQ(event.type, TRAM_EVENT_UP);
    CHECK_EQ(event.peer, B);
    CHECK_OK(tram_peer(a, B, &peer));
    CHECK_EQ(peer.state, TRAM_PEER_UP);
    b = tram_close(b);
    CHECK_OK(tram_peer(a, B, &peer));
    CHECK_EQ(peer.state, TRAM_PEER_DOWN);
    (void) tram_close(a);
}

TEST(ephemeral) {
    tram_node *a = open_node(A);
    tram_node *e = NULL;
    struct tram_msg msg;
    tram_id id;

    CHECK_OK(tram_open("t", TRAM_EPHEMERAL, NULL, &e));
    id = tram_node_id(e);
    CHECK_EQ(id >> 28, 0xf);
    CHECK_EQ(tram_send(e, A, 1, "hi", 2, 0), 0);
    CHECK_OK(tram_recv(a, &msg, 0));
    CHECK_EQ(msg.from, id);
    CHECK_EQ(tram_send(a, id, 1, "ho", 2, 0), 0);
    CHECK_OK(tram_recv(e, &msg, 0));
    e = tram_close(e);
    CHECK_ERR(tram_send(a, id, 1, "ho", 2, 0), -EHOSTUNREACH);
    CHECK_ERR(tram_send(a, id, 1, "ho", 2, 0), -EHOSTUNREACH);
    (void) tram_close(a);
}

/* A has consumed most of what B sent, but frees lazily; then both send until they are full. */
TEST(full_both_ways) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    static uint8_t block[3000];
    tram_node *a = NULL;
    tram_node *b = NULL;
    struct tram_msg msg;

    options.ring_size = options.ring_max = 65536;
    CHECK_OK(tram_open("t", A, &options, &a));
    CHECK_OK(tram_open("t", B, &options, &b));
    while (tram_send(a, B, 0, block, sizeof(block), TRAM_NOWAIT) == 0)
        continue;
    while (tram_send(b, A, 0, block, sizeof(block), TRAM_NOWAIT) == 0)
        continue;
    CHECK_OK(tram_recv(a, &msg, 0));
    CHECK_OK(tram_done(a)); /* consumed, and less than what is freed at once */
    CHECK_ERR(tram_sendv(a, B, NULL, &(struct iovec){block, sizeof(block)}, 1, 0, 1000000),
              -ETIMEDOUT);
    CHECK_OK(tram_send(b, A, 0, block, sizeof(block), TRAM_NOWAIT));
    (void) tram_close(a);
    (void) tram_close(b);
}

/* With as many in hand as there may be, and more waiting, nobody says that nothing came. */
TEST(too_many_in_hand) {
    tram_node *a = open_node(A);
    tram_node *b = open_node(B);
    static struct tram_msg msgs[600];
    struct tram_msg msg;

    for (int i = 0; i < 600; i++)
        CHECK_EQ(tram_send(a, B, 0, "x", 1, 0), 0);
    for (int got = 0; got < 512;)
        got += CHECK_OK(tram_recv_batch(b, msgs + got, 600 - got, TRAM_HOLD, 0));
    CHECK_ERR(tram_recv_batch(b, msgs + 512, 1, TRAM_HOLD, 0), -ENOBUFS);
    CHECK_ERR(tram_recv_batch(b, msgs + 512, 1, TRAM_HOLD, 1), -ENOBUFS);
    CHECK_ERR(tram_recv_batch(b, msgs + 512, 1, TRAM_HOLD, TRAM_FOREVER), -ENOBUFS);
    CHECK_ERR(tram_wait(b, 0), -ENOBUFS);
    CHECK_ERR(tram_wait(b, 1), -ENOBUFS);
    CHECK_EQ(tram_last_error(b)->limit, 512);
    CHECK_OK(tram_release(b, &msgs[1])); /* not the first: still as many count as in hand */
    CHECK_ERR(tram_recv(b, &msg, 1), -ENOBUFS);
    CHECK_OK(tram_release(b, &msgs[0]));
    CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_EQ(msg.seq, 513);
    (void) tram_close(a);
    (void) tram_close(b);
}
