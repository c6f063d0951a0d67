/* SPDX-License-Identifier: MIT
 * test: wrap label=notsan
 *
 * Rings that grow, and are given back, while somebody removes or spoils what they are made of
 * (support/fault.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "node/custody.h"
#include "node/node.h"
#include "support/fault.h"
#include "support/kit.h"

#define A TRAM_ID(1, 1, 1, 1)
#define B TRAM_ID(1, 1, 1, 2)
#define STREAM "from-1.1.1.1"

static uint8_t block[1 << 20];
static tram_node *a, *b;

static const char *path_of(tram_id id, const char *name) {
    static char path[300];

    return kit_path(path, sizeof path, test_dir(), id, name);
}

static tram_node *open_node(tram_id id, uint64_t most) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);

    options.ring_max = most;
    return kit_open(NULL, id, &options);
}

static void open_both(void) {
    a = open_node(A, 1 << 20);
    b = open_node(B, 1 << 20);
}

static void close_both(void) {
    a = tram_close(a);
    b = tram_close(b);
}

static void receive(uint64_t count) {
    struct tram_msg msg;

    for (uint64_t i = 0; i < count; i++)
        CHECK_OK(tram_recv(b, &msg, kit_patience(5)));
    CHECK_OK(tram_done(b));
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
}

static int send(size_t size, uint32_t flags) {
    return tram_send(a, B, 0, block, size, flags | TRAM_NOWAIT);
}

/* ---- spoilt ---------------------------------------------------------------------------------- */

static size_t spoilt;

static int spoil(void) {
    int fd = CHECK_OK(open(path_of(B, STREAM "+1"), O_RDWR | O_CLOEXEC));
    uint64_t value = 0;

    CHECK_EQ(pread(fd, &value, sizeof value, (off_t) spoilt), sizeof value);
    value = spoilt == offsetof(struct stream, capacity) ? value / 2 : value + 8;
    CHECK_EQ(pwrite(fd, &value, sizeof value, (off_t) spoilt), sizeof value);
    if (spoilt == offsetof(struct stream, capacity))
        CHECK_OK(ftruncate(fd, (off_t) (LAYOUT_DATA + value)));
    close(fd);
    return 0;
}

/* What lies there is not what we made: the message is refused, and the channel goes on without. */
TEST(a_larger_stream_that_is_spoilt) {
    static const size_t fields[] = {
        offsetof(struct stream, id), offsetof(struct stream, capacity),
        offsetof(struct stream, base), offsetof(struct stream, base_seq),
    };

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        struct tram_error error;

        open_both();
        CHECK_OK(send(1, 0));
        spoilt = fields[i];
        fault_before("openat", STREAM "+1", 1, spoil);
        CHECK_ERR(send(100000, 0), -ENOTRECOVERABLE);
        CHECK_EQ(fault_done(), 1);
        CHECK_EQ(tram_last_error(a)->to, B);
        CHECK(access(path_of(B, STREAM "+1"), F_OK) < 0);
        CHECK_OK(send(1, 0)); /* the one before is whole */
        CHECK_OK(send(100000, 0));
        receive(3);
        close_both();
        CHECK_OK(custody_rm(tram_bus_path(a = open_node(A, 1 << 20)), B, true, &error));
        a = tram_close(a);
    }
}

/* ---- removed --------------------------------------------------------------------------------- */

static tram_id receiver;

static int remove_receiver(void) {
    kit_remove_tree(path_of(receiver, NULL));
    return 0;
}

TEST(removed_as_its_ring_grows) {
    char name[TRAM_ID_TEXT];

    for (int ephemeral = 0; ephemeral < 2; ephemeral++) {
        open_both();
        if (ephemeral) {
            b = tram_close(b);
            b = open_node(TRAM_EPHEMERAL, 1 << 20);
        }
        receiver = tram_node_id(b);
        CHECK_OK(tram_send(a, receiver, 0, "x", 1, 0));
        fault_before("openat", tram_id_format(receiver, name), 1, remove_receiver);
        if (ephemeral)
            CHECK_ERR(tram_send(a, receiver, 0, block, 100000, 0), -EHOSTUNREACH);
        else
            CHECK_OK(tram_send(a, receiver, 0, block, 100000, 0)); /* made anew */
        CHECK_EQ(fault_done(), 1);
        close_both();
        if (!ephemeral) {
            b = open_node(B, 1 << 20);
            receive(1);
            b = tram_close(b);
        }
    }
}

/* What was staged before a message that makes the ring grow is lost with the receiver: said. */
TEST(removed_with_staged_messages) {
    struct tram_error error;

    open_both();
    CHECK_OK(send(1, 0));
    receive(1);
    b = tram_close(b);
    CHECK_EQ(send(1, TRAM_MORE), TRAM_STAGED);
    CHECK_OK(custody_rm(tram_bus_path(a), B, false, &error));
    CHECK_ERR(send(100000, 0), -ESTALE);
    CHECK_OK(send(100000, 0));
    b = open_node(B, 1 << 20);
    receive(1);
    close_both();
}

/* What is staged was written behind the end of a file that somebody cut: nothing of it is accepted,
 * nor what would make the ring grow. */
TEST(cut_before_it_grows) {
    uint64_t accepted = 99;

    open_both();
    CHECK_OK(send(1000, 0));
    CHECK_OK(tram_accepted(a, B, &accepted));
    CHECK_OK(truncate(path_of(B, STREAM), LAYOUT_DATA));
    CHECK_EQ(send(1000, TRAM_MORE), TRAM_STAGED);
    CHECK_ERR(send(100000, 0), -ENOTRECOVERABLE);
    CHECK_EQ(tram_last_error(a)->to, B);
    CHECK(access(path_of(B, STREAM "+1"), F_OK) < 0);
    close_both();
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* A ring that an earlier process made larger than this one may make any. */
TEST(larger_than_it_may_grow) {
    open_both();
    CHECK_OK(send(300000, 0));
    receive(1);
    a = tram_close(a);
    a = open_node(A, 65536);
    CHECK_ERR(send(1 << 20, 0), -EMSGSIZE);
    CHECK(tram_last_error(a)->limit > 500000);
    CHECK_OK(send(tram_last_error(a)->limit, 0));
    receive(1);
    close_both();
}

/* There is no name for a further generation. */
TEST(the_last_generation) {
    struct stream_plan plan = {.from = A, .to = B, .mode = 0600, .id = 5, .capacity = 65536,
                               .generation = FILES_GENERATIONS - 1};
    int dir;

    b = open_node(B, 1 << 20);
    dir = CHECK_OK(open(path_of(B, NULL), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    CHECK_OK(head_make(dir, &plan, NULL));
    CHECK_OK(stream_make(dir, &plan, NULL));
    close(dir);
    a = open_node(A, 1 << 20);
    CHECK_OK(send(1000, 0));
    CHECK_ERR(send(100000, 0), -EMSGSIZE);
    CHECK_OK(send(1000, 0));
    receive(2);
    close_both();
}

/* ---- given back ------------------------------------------------------------------------------ */

static int fail(void) {
    return EIO;
}

/* An old stream goes when it is drained and its sender idles; if it could not, the next time. */
TEST(old_streams_of_who_idles) {
    open_both();
    CHECK_OK(send(1000, 0));
    CHECK_OK(send(100000, 0));
    outs_trim(a, 0);
    outs_trim(a, 0);
    CHECK_OK(access(path_of(B, STREAM), F_OK)); /* not drained */
    receive(2);
    fault_before("unlinkat", STREAM, 1, fail);
    outs_trim(a, 0);
    CHECK_EQ(fault_done(), 1);
    CHECK_OK(access(path_of(B, STREAM), F_OK));
    outs_trim(a, 0);
    CHECK(access(path_of(B, STREAM), F_OK) < 0);
    outs_trim(a, 0);
    CHECK(a->dirty == NULL);
    CHECK_OK(send(1000, 0));
    receive(1);
    close_both();
}

/* Nothing is given back under an open claim, of a channel that is closed, or by words that make no
 * sense. */
TEST(not_idle) {
    struct head *head;
    struct peer *peer;
    void *data;

    open_both();
    CHECK_OK(send(50000, 0));
    receive(1);
    CHECK_OK(tram_claim(a, B, 100, 0, &data));
    peer = peer_find(a, B);
    outs_trim(a, 0);
    outs_trim(a, 0);
    CHECK(a->dirty == peer->out);
    CHECK_OK(tram_abort(a, B));
    head = peer_find(b, A)->in->head_map.base;
    head->head += 1;
    outs_trim(a, 0);
    CHECK(a->dirty == peer->out);
    head->head -= 1;
    out_break(peer->out, -ENOTRECOVERABLE);
    outs_trim(a, 0);
    CHECK(a->dirty == peer->out);
    peer->out->broken = 0;
    outs_trim(a, 0);
    CHECK(a->dirty == NULL);
    close_both();
}
