/* SPDX-License-Identifier: MIT
 *
 * Calls with arguments that make no sense, in a state that is none for them, or on things that are
 * not there: each says so, in words as well, and changes nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "node/custody.h"
#include "support/kit.h"

#define A TRAM_ID(1, 1, 1, 1)
#define B TRAM_ID(1, 1, 1, 2)
#define C TRAM_ID(1, 1, 1, 3)

static struct tram_msg msg;

/* The call failed, and the node says why. */
static void refused(const tram_node *node, int64_t rc, int code) {
    CHECK_ERR(rc, code);
    CHECK_EQ(tram_last_error(node)->code, code);
    CHECK(tram_last_error(node)->text[0] != '\0');
}

TEST(no_node) {
    struct tram_event event;
    struct tram_peer peer;
    uint64_t count;
    void *data;

    CHECK_ERR(tram_send(NULL, B, 0, "x", 1, 0), -EINVAL);
    CHECK_ERR(tram_sendv(NULL, B, NULL, NULL, 0, 0, 0), -EINVAL);
    CHECK_ERR(tram_forward(NULL, &msg, B, 0), -EINVAL);
    CHECK_ERR(tram_claim(NULL, B, 1, 0, &data), -EINVAL);
    CHECK_ERR(tram_commit(NULL, B, NULL, 1, 0), -EINVAL);
    CHECK_ERR(tram_abort(NULL, B), -EINVAL);
    CHECK_ERR(tram_flush(NULL), -EINVAL);
    CHECK_ERR(tram_accepted(NULL, B, &count), -EINVAL);
    CHECK_ERR(tram_recv(NULL, &msg, 0), -EINVAL);
    CHECK_ERR(tram_recv_batch(NULL, &msg, 1, 0, 0), -EINVAL);
    CHECK_ERR(tram_recv_copy(NULL, &count, 8, &msg, 0), -EINVAL);
    CHECK_ERR(tram_release(NULL, &msg), -EINVAL);
    CHECK_ERR(tram_done(NULL), -EINVAL);
    CHECK_ERR(tram_aside_list(NULL, NULL, 0), -EINVAL);
    CHECK_ERR(tram_aside_retry(NULL, A, 1), -EINVAL);
    CHECK_ERR(tram_aside_drop(NULL, A, 1), -EINVAL);
    CHECK_ERR(tram_fd(NULL), -EINVAL);
    CHECK_ERR(tram_timeout(NULL), -EINVAL);
    CHECK_ERR(tram_dispatch(NULL, &event), -EINVAL);
    CHECK_ERR(tram_wait(NULL, 0), -EINVAL);
    CHECK_ERR(tram_peer(NULL, A, &peer), -EINVAL);
    CHECK_ERR(tram_watch(NULL, A), -EINVAL);
    CHECK_ERR(tram_unwatch(NULL, A), -EINVAL);
    CHECK(tram_close(NULL) == NULL);
    CHECK_EQ(tram_node_id(NULL), 0);
    CHECK(tram_bus_path(NULL) == NULL);
}

TEST(sending) {
    struct iovec hole = { NULL, 3 };
    tram_node *a = kit_open(NULL, A, NULL);
    uint64_t count = 99;
    void *data;

    refused(a, tram_send(a, B, 0, NULL, 1, 0), -EINVAL);
    refused(a, tram_send(a, B, 0, "x", 1, 1u << 30), -EINVAL);
    refused(a, tram_send(a, 0, 0, "x", 1, 0), -EINVAL);
    refused(a, tram_send(a, UINT32_MAX, 0, "x", 1, 0), -EINVAL);
    refused(a, tram_send(a, TRAM_EPHEMERAL, 0, "x", 1, 0), -EINVAL);
    refused(a, tram_sendv(a, B, NULL, NULL, 1, 0, 0), -EINVAL);
    refused(a, tram_sendv(a, B, NULL, NULL, -1, 0, 0), -EINVAL);
    refused(a, tram_sendv(a, B, NULL, &hole, IOV_MAX + 1, 0, 0), -EINVAL);
    refused(a, tram_sendv(a, B, NULL, &hole, 1, 0, 0), -EINVAL);
    refused(a, tram_sendv(a, B, NULL, NULL, 0, 1u << 30, 0), -EINVAL);
    CHECK_ERR(tram_forward(a, NULL, B, 0), -EINVAL);
    refused(a, tram_forward(a, &msg, B, 1u << 30), -EINVAL);
    refused(a, tram_claim(a, B, 1, 0, NULL), -EINVAL);
    refused(a, tram_commit(a, B, NULL, 1, 0), -ENOENT);
    refused(a, tram_commit(a, B, NULL, 1, 1u << 30), -EINVAL);
    refused(a, tram_abort(a, B), -ENOENT);
    refused(a, tram_accepted(a, B, NULL), -EINVAL);
    refused(a, tram_accepted(a, 0, &count), -EINVAL);
    refused(a, tram_accepted(a, UINT32_MAX, &count), -EINVAL);
    CHECK_EQ(count, 99);
    CHECK_OK(tram_claim(a, B, 8, 0, &data));
    refused(a, tram_claim(a, B, 8, 0, &data), -EBUSY);
    refused(a, tram_send(a, B, 0, "x", 1, 0), -EBUSY);
    refused(a, tram_commit(a, B, NULL, 9, 0), -EINVAL);
    CHECK_OK(tram_commit(a, B, NULL, 8, 0));
    refused(a, tram_send(a, B, 0, "x", (size_t) 1 << 40, 0), -EMSGSIZE);
    CHECK_EQ(tram_last_error(a)->limit, (UINT64_C(1) << 30) - 64);
    CHECK_OK(tram_accepted(a, B, &count));
    CHECK_EQ(count, 1);
    tram_close(a);
}

TEST(receiving) {
    tram_node *b = kit_open(NULL, B, NULL);
    struct tram_peer peer;

    refused(b, tram_recv(b, NULL, 0), -EINVAL);
    refused(b, tram_recv_batch(b, NULL, 1, 0, 0), -EINVAL);
    refused(b, tram_recv_batch(b, &msg, 0, 0, 0), -EINVAL);
    refused(b, tram_recv_batch(b, &msg, 1, 1u << 30, 0), -EINVAL);
    refused(b, tram_recv_copy(b, NULL, 1, &msg, 0), -EINVAL);
    refused(b, tram_recv_copy(b, &peer, 1, NULL, 0), -EINVAL);
    refused(b, tram_release(b, NULL), -EINVAL);
    refused(b, tram_release(b, &(struct tram_msg){ .from = A, .seq = 1 }), -ENOENT);
    refused(b, tram_aside_list(b, NULL, 1), -EINVAL);
    refused(b, tram_aside_list(b, NULL, -1), -EINVAL);
    refused(b, tram_aside_retry(b, A, 1), -ENOENT);
    refused(b, tram_aside_drop(b, A, 1), -ENOENT);
    refused(b, tram_dispatch(b, NULL), -EINVAL);
    refused(b, tram_peer(b, A, NULL), -EINVAL);
    refused(b, tram_peer(b, 0, &peer), -EINVAL);
    refused(b, tram_peer(b, UINT32_MAX, &peer), -EINVAL);
    refused(b, tram_watch(b, 0), -EINVAL);
    refused(b, tram_watch(b, UINT32_MAX), -EINVAL);
    refused(b, tram_watch(b, TRAM_EPHEMERAL + 5), -ENOENT);
    CHECK_OK(tram_unwatch(b, A));
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    CHECK_ERR(tram_wait(b, 0), -EAGAIN);
    tram_close(b);
}

/* The same on the short ways, which a channel goes that was used before; and flags that are allowed
 * together. */
TEST(on_the_short_ways) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    char text[] = "12345678";
    struct iovec piece = { text, 8 };
    tram_node *a, *b;
    uint64_t count = 99;

    options.ring_max = 65536;
    a = kit_open(NULL, A, &options);
    b = kit_open(NULL, B, NULL);
    for (int i = 0; i < 4; i++)
        CHECK_OK(tram_send(a, B, 0, "12345678", 8, 0));
    refused(a, tram_send(a, B, 0, NULL, 8, 0), -EINVAL);
    refused(a, tram_send(a, B, 0, "12345678", 8, 1u << 30), -EINVAL);
    refused(a, tram_send(a, B, 0, "12345678", SIZE_MAX - 10, 0), -EMSGSIZE);
    CHECK_EQ(tram_send(a, B, 0, "12345678", 8, TRAM_MORE), TRAM_STAGED);
    CHECK_OK(tram_send(a, B, 0, "12345678", 8, TRAM_MORE | TRAM_DURABLE));
    CHECK_OK(tram_send(a, B, 0, NULL, 0, TRAM_DURABLE));
    CHECK_OK(tram_accepted(a, B, &count));
    CHECK_EQ(count, 7);
    for (int i = 0; i < 6; i++) {
        CHECK_OK(tram_recv(b, &msg, 0));
        CHECK_MEM(msg.data, "12345678", 8);
        if (i == 1)
            refused(b, tram_recv(b, NULL, 0), -EINVAL);
    }
    CHECK_OK(tram_recv_copy(b, NULL, 0, &msg, 0));
    CHECK_EQ(msg.seq, 7);
    while (tram_sendv(a, B, NULL, &piece, 1, TRAM_NOWAIT, TRAM_FOREVER) == 0)
        count++;
    msg.data = "12345678";
    msg.size = 8;
    refused(a, tram_forward(a, &msg, B, TRAM_NOWAIT), -EAGAIN);
    CHECK_OK(tram_accepted(a, B, &count));
    for (uint64_t seq = 8; seq <= count; seq++) {
        CHECK_OK(tram_recv_copy(b, &options, sizeof options, &msg, 0));
        CHECK_EQ(msg.seq, seq);
    }
    CHECK_OK(tram_done(b));
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    CHECK_OK(tram_forward(a, &(struct tram_msg){ .data = "x", .size = 1 }, B, TRAM_NOWAIT));
    tram_close(a);
    tram_close(b);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void open_refused(const char *bus, tram_id id, const struct tram_options *options,
                         int code) {
    tram_node *node = NULL;

    refused(NULL, tram_open(bus, id, options, &node), code);
    CHECK(node == NULL);
}

TEST(opening) {
    struct {
        struct tram_options known;
        uint64_t later;
    } newer = { TRAM_OPTIONS_INIT, 0 };
    char longest[400];
    tram_node *a;

    refused(NULL, tram_open(NULL, A, NULL, NULL), -EINVAL);
    open_refused(NULL, 0, NULL, -EINVAL);
    open_refused(NULL, UINT32_MAX, NULL, -EINVAL);
    open_refused(NULL, TRAM_EPHEMERAL + 1, NULL, -EINVAL);
    open_refused(".hidden", A, NULL, -EINVAL);
    open_refused("a/b", A, NULL, -EINVAL);
    open_refused("0123456789012345678901234567890123456789012345678901234567890123", A, NULL,
                 -EINVAL);
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    open_refused(NULL, A, &(struct tram_options){ .struct_size = sizeof(struct tram_options),
                                                  .dir = longest }, -ENAMETOOLONG);
    /* What a later version has is ignored while it is 0. */
    newer.known.struct_size = sizeof newer;
    CHECK_OK(tram_open(NULL, A, &newer.known, &a));
    open_refused(NULL, A, NULL, -EADDRINUSE);
    CHECK_EQ(tram_last_error(NULL)->pid, getpid());
    tram_close(a);
    newer.later = 1;
    open_refused(NULL, A, &newer.known, -EINVAL);
}

#define REFUSED(...)                                                                               \
    open_refused(NULL, A, &(struct tram_options){ .struct_size = sizeof(struct tram_options),     \
                                                  __VA_ARGS__ }, -EINVAL)

TEST(options) {
    open_refused(NULL, A, &(struct tram_options){ .struct_size = 4 }, -EINVAL);
    REFUSED(.ring_size = 65535);
    REFUSED(.ring_size = 32768);
    REFUSED(.ring_size = UINT64_C(1) << 33);
    REFUSED(.ring_max = 3 << 20);
    REFUSED(.ring_size = 1 << 20, .ring_max = 1 << 19);
    REFUSED(.ring_max = UINT64_C(1) << 33);
    REFUSED(.spin_ns = -3);
    REFUSED(.attempts = 255);
    REFUSED(.mode = 0400);
    REFUSED(.mode = 01600);
    REFUSED(.flags = 1u << 30);
    REFUSED(.reserved = 1);
}

static void layout_refused(const void *text, size_t size, int code) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    char path[200];
    int fd;

    snprintf(path, sizeof path, "%s/layout", test_dir());
    fd = CHECK_OK(open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600));
    CHECK_EQ(write(fd, text, size), (ssize_t) size);
    options.layout = path;
    open_refused(NULL, A, &options, code);
    CHECK_OK(ftruncate(fd, (1 << 20) + 1));
    open_refused(NULL, A, &options, -EFBIG);
    close(fd);
    CHECK_OK(unlink(path));
    open_refused(NULL, A, &options, -ENOENT);
}

TEST(layouts) {
    static const char *const bad[] = {
        "nodes 1.1.1.1\n",
        "node\n",
        "node 1.1.1\n",
        "node 1.1.1.1 1.1.1.2\n",
        "channel 1.1.1.1\n",
        "channel 1.1.1.1 here\n",
        "channel here 1.1.1.1\n",
        "channel 1.1.1.1 1.1.1.2 large\n",
        "channel 1.1.1.1 1.1.1.2 size=\n",
        "channel 1.1.1.1 1.1.1.2 size=x\n",
        "channel 1.1.1.1 1.1.1.2 size=65537\n",
        "channel 1.1.1.1 1.1.1.2 size=8G\n",
        "channel 1.1.1.1 1.1.1.2 size=64T\n",
        "channel 1.1.1.1 1.1.1.2 size=99999999999999999999\n",
        "channel 1.1.1.1 1.1.1.2\nchannel 1.1.1.1 1.1.1.2\n",
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        layout_refused(bad[i], strlen(bad[i]), -EBADMSG);
    layout_refused("node 1.1.1.1\n\0\n", 15, -EBADMSG);
    layout_refused("node 1.1.1.2\n", 13, -EACCES);
}

TEST(ids) {
    tram_id id = 99;

    CHECK_ERR(tram_id_parse(NULL, &id), -EINVAL);
    CHECK_ERR(tram_id_parse("1.2.3.4", NULL), -EINVAL);
    CHECK_ERR(tram_id_parse("", &id), -EINVAL);
    CHECK_ERR(tram_id_parse("1..2.3", &id), -EINVAL);
    CHECK_ERR(tram_id_parse("1.2.3.x", &id), -EINVAL);
    CHECK_ERR(tram_id_parse("1.2.3.4.5", &id), -EINVAL);
    CHECK_EQ(id, 99);
}

/* ---- acting for others ----------------------------------------------------------------------- */

TEST(acting_for_others) {
    struct tram_error error = { 0 };
    char bus[300], longest[400];
    uint64_t count = 99;
    tram_node *a = kit_open(NULL, A, NULL);

    snprintf(bus, sizeof bus, "%s/default", test_dir());
    memset(longest, 'x', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    CHECK_ERR(custody_rm(longest, A, false, &error), -ENAMETOOLONG);
    CHECK_ERR(custody_purge(longest, A, B, &count, &error), -ENAMETOOLONG);
    CHECK_ERR(custody_drop(longest, A, B, 1, &error), -ENAMETOOLONG);
    CHECK_ERR(custody_rm(bus, A, true, &error), -EBUSY);
    CHECK_EQ(error.pid, getpid());
    CHECK_ERR(custody_purge(bus, B, A, &count, &error), -EBUSY);
    CHECK_ERR(custody_rm(bus, C, false, &error), -ENOENT);
    CHECK_ERR(custody_purge(bus, A, C, &count, &error), -ENOENT);
    CHECK_OK(tram_send(a, B, 1, "x", 1, 0));
    CHECK_ERR(custody_purge(bus, C, B, &count, &error), -ENOENT);
    CHECK_ERR(custody_retry(bus, B, A, 1, &error), -ENOENT);
    CHECK_ERR(custody_drop(bus, B, A, 1, &error), -ENOENT);
    CHECK_ERR(custody_rm(bus, B, false, &error), -ENOTEMPTY);
    tram_close(a);
    CHECK_ERR(custody_rm(bus, A, false, &error), -ENOTEMPTY); /* what it sent waits */
    CHECK_EQ(error.limit, 1);
    CHECK(error.text[0] != '\0');
    CHECK_EQ(count, 99);
    CHECK_OK(custody_rm(bus, A, true, &error));
    CHECK_OK(custody_rm(bus, B, true, &error));
}

/* A channel that is nonsense goes only if nobody writes it. */
TEST(purging_what_is_written) {
    struct tram_error error;
    char bus[300], path[300];
    uint64_t count = 99;
    tram_node *a = kit_open(NULL, A, NULL);

    CHECK_OK(tram_send(a, B, 1, "x", 1, 0));
    CHECK_OK(truncate(kit_path(path, sizeof path, test_dir(), B, "head-1.1.1.1"), 0));
    snprintf(bus, sizeof bus, "%s/default", test_dir());
    CHECK_ERR(custody_purge(bus, A, B, &count, &error), -EBUSY);
    CHECK_EQ(error.pid, getpid());
    tram_close(a);
    CHECK_OK(custody_purge(bus, A, B, &count, &error));
    CHECK_ERR(custody_purge(bus, A, B, &count, &error), -ENOENT);
}
