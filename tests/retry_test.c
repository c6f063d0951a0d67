/* SPDX-License-Identifier: MIT
 * test: wrap label=notsan
 *
 * Messages set aside and tried again, within one process: what goes with them, several at a time,
 * too large for a buffer, and files that are none. The crashes are in tests/aside_test.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "node/custody.h"
#include "ring/layout.h"
#include "support/fault.h"
#include "support/kit.h"

#define A TRAM_ID(1, 1, 1, 1)
#define B TRAM_ID(1, 1, 1, 2)

static struct tram_options once(void) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);

    options.attempts = 1;
    return options;
}

static void take_and_end(void *arg) {
    struct tram_options options = once();
    tram_node *b = kit_open(NULL, B, &options);
    struct tram_msg msgs[8];

    (void) arg;
    CHECK(tram_recv_batch(b, msgs, 8, TRAM_HOLD, 0) >= 1);
    _exit(0);
}

/* So many messages of A, with all that can go with one, lie aside at B. */
static tram_node *set_aside(unsigned count) {
    struct tram_options options = once();
    struct tram_meta meta = { .tag = 77, .layer = { 1, 2, 3 } };
    struct iovec piece = { (void *) (uintptr_t) "a message", 9 };
    struct tram_msg msg;
    tram_node *a, *b;

    options.flags = TRAM_OPEN_STAMP;
    a = kit_open(NULL, A, &options);
    for (unsigned i = 0; i < count; i++)
        CHECK_OK(tram_sendv(a, B, &meta, &piece, 1, 0, 0));
    tram_close(a);
    JOIN(test_fork(take_and_end, NULL));
    options = once();
    b = kit_open(NULL, B, &options);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    CHECK_EQ(tram_aside_list(b, NULL, 0), count);
    return b;
}

static void check_message(const struct tram_msg *msg, uint64_t seq, uint32_t attempt) {
    CHECK_EQ(msg->seq, seq);
    CHECK_EQ(msg->attempt, attempt);
    CHECK_EQ(msg->tag, 77);
    CHECK_EQ(msg->size, 9);
    CHECK(memcmp(msg->data, "a message", 9) == 0);
    CHECK(msg->layer[0] == 1 && msg->layer[2] == 3);
    CHECK(msg->time_ns > 0);
}

TEST(everything_goes_with_it) {
    tram_node *b = set_aside(1);
    struct tram_aside aside;
    struct tram_msg msg;
    char buffer[16];

    CHECK_EQ(tram_aside_list(b, &aside, 1), 1);
    CHECK(aside.from == A && aside.seq == 1 && aside.size == 9 && aside.tag == 77);
    CHECK_OK(tram_aside_retry(b, A, 1));
    CHECK_EQ(tram_aside_list(b, NULL, 0), 0);
    CHECK_ERR(tram_recv_copy(b, buffer, 8, &msg, 0), -EMSGSIZE);
    CHECK_EQ(tram_last_error(b)->limit, 9);
    CHECK_OK(tram_recv_copy(b, buffer, 9, &msg, 0));
    CHECK(msg.data == buffer);
    check_message(&msg, 1, 2);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN); /* released */
    CHECK_EQ(tram_aside_list(b, NULL, 0), 0);
    tram_close(b);
}

TEST(several_in_hand) {
    tram_node *b = set_aside(3);
    struct tram_msg msgs[3];

    for (uint64_t seq = 1; seq <= 3; seq++) {
        CHECK_OK(tram_aside_retry(b, A, seq));
        CHECK_EQ(tram_recv_batch(b, &msgs[seq - 1], 1, TRAM_HOLD, 0), 1);
        check_message(&msgs[seq - 1], seq, 2);
    }
    CHECK_ERR(tram_recv(b, &msgs[0], 0), -EAGAIN);
    msgs[0].seq = 1;
    CHECK_OK(tram_release(b, &msgs[2]));
    CHECK_OK(tram_release(b, &msgs[1]));
    CHECK_ERR(tram_release(b, &msgs[1]), -ENOENT);
    CHECK_EQ(tram_aside_list(b, NULL, 0), 1); /* in hand, and so still aside */
    tram_close(b);
    b = kit_open(NULL, B, NULL);
    CHECK_EQ(tram_aside_list(b, NULL, 0), 1);
    tram_close(b);
}

/* A node that sleeps in a loop has work at once. */
TEST(asked_for_while_asleep) {
    tram_node *b = set_aside(1);
    struct pollfd entry = { .fd = CHECK_OK(tram_fd(b)), .events = POLLIN };
    struct tram_msg msg;

    CHECK(tram_timeout(b) > 0);
    CHECK_OK(tram_aside_retry(b, A, 1));
    CHECK(tram_timeout(b) == 0 || poll(&entry, 1, 0) == 1);
    CHECK_EQ(tram_wait(b, 0), 1);
    CHECK_OK(tram_recv(b, &msg, 0));
    check_message(&msg, 1, 2);
    tram_close(b);
}

static void put_file(const char *name, const void *bytes, size_t size) {
    char path[300];
    int fd = CHECK_OK(open(kit_path(path, sizeof path, test_dir(), B, name),
                           O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600));

    CHECK_EQ(write(fd, bytes, size), (ssize_t) size);
    close(fd);
}

/* What is called like one and is none is passed over; what is asked for is removed. */
TEST(files_that_are_none) {
    struct record other = { .seq = 9, .from = A, .size = 5 }, cut = { .seq = 8, .from = A };
    struct record longer[2] = { { .seq = 10, .from = A } };
    struct tram_options options = once();
    tram_node *b = set_aside(1);
    struct tram_msg msg;
    char path[300];

    cut.flags = RECORD_WIDE; /* and no room for what that means */
    put_file("aside-1.1.1.1-7", "short", 5);
    put_file("aside-1.1.1.1-8", &cut, sizeof cut);
    put_file("retry-1.1.1.1-9", &other, sizeof other);
    put_file("retry-1.1.1.1-6", "", 0);
    CHECK_OK(symlink("lock", kit_path(path, sizeof path, test_dir(), B, "retry-1.1.1.1-5")));
    put_file("retry-1.1.1.2-4", &cut, sizeof cut);   /* another's, … */
    put_file("retry-1.1.1.1-4", &cut, sizeof cut);   /* of another number, … */
    put_file("retry-1.1.1.1-8", &cut, sizeof cut);   /* without its extension, … */
    put_file("retry-1.1.1.1-10", &longer, sizeof longer); /* longer than it says */
    CHECK_EQ(tram_aside_list(b, NULL, 0), 1);
    tram_close(b);
    b = kit_open(NULL, B, &options);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    CHECK_EQ(kit_count_files(test_dir(), "retry-*"), 0);
    CHECK_OK(tram_aside_retry(b, A, 1));
    CHECK_OK(tram_recv(b, &msg, 0));
    check_message(&msg, 1, 2);
    tram_close(b);
}

/* A thousand lie there: one more is handed out again instead. */
TEST(no_more_than_so_many) {
    struct tram_options options = once();
    tram_node *b = set_aside(1);
    struct tram_msg msg;
    tram_node *a;
    char name[40];

    for (int i = 1; i < 1024; i++) {
        snprintf(name, sizeof name, "aside-1.1.1.9-%d", i);
        put_file(name, "", 0);
    }
    tram_close(b);
    a = kit_open(NULL, A, &options);
    CHECK_OK(tram_send(a, B, 5, "next", 4, 0));
    JOIN(test_fork(take_and_end, NULL));
    b = kit_open(NULL, B, &options);
    CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_EQ(msg.seq, 2);
    CHECK_EQ(msg.attempt, 2);
    tram_close(a);
    tram_close(b);
}

/* ---- moments --------------------------------------------------------------------------------- */

static int code;

static int fail(void) {
    return code;
}

static void fail_with(int error, const char *function, const char *name, unsigned n) {
    code = error;
    fault_before(function, name, n, fail);
}

/* What the machine refuses comes later: behind the others, or when it is asked for again. */
TEST(refused_by_the_machine) {
    tram_node *b = set_aside(2);
    struct tram_msg msg;

    for (uint64_t seq = 1; seq <= 2; seq++)
        CHECK_OK(tram_aside_retry(b, A, seq));
    fail_with(EIO, "pread", NULL, 2);
    CHECK_ERR(tram_recv(b, &msg, 0), -EIO);
    CHECK_EQ(fault_done(), 1);
    CHECK_EQ(tram_last_error(b)->from, A);
    CHECK_EQ(tram_wait(b, 0), 1);
    CHECK_OK(tram_recv(b, &msg, 0));
    check_message(&msg, 2, 2);
    CHECK_OK(tram_recv(b, &msg, 0));
    check_message(&msg, 1, 2);
    CHECK_OK(tram_done(b));
    CHECK_EQ(tram_aside_list(b, NULL, 0), 0);
    tram_close(b);
}

TEST(refused_and_seen_again) {
    tram_node *b = set_aside(2), *c;
    struct tram_msg msg;
    unsigned seen = 0;

    for (uint64_t seq = 1; seq <= 2; seq++)
        CHECK_OK(tram_aside_retry(b, A, seq));
    fail_with(ENOMEM, "openat", "retry-1.1.1.1-1", 1);
    CHECK_ERR(tram_recv(b, &msg, 0), -ENOMEM);
    CHECK_EQ(fault_done(), 1);
    c = kit_open(NULL, TRAM_ID(1, 1, 1, 3), NULL);
    CHECK_OK(tram_send(c, B, 0, "x", 1, 0)); /* the directory is read anew */
    for (int i = 0; i < 3; i++) {
        CHECK_OK(tram_recv(b, &msg, 0));
        seen |= msg.from == A ? 1u << msg.seq : 1;
    }
    CHECK_EQ(seen, 7);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    tram_close(c);
    tram_close(b);
}

static int remove_asked(void) {
    char path[300];

    CHECK_OK(unlink(kit_path(path, sizeof path, test_dir(), B, "retry-1.1.1.1-1")));
    return 0;
}

static int cut_asked(void) {
    char path[300];

    CHECK_OK(truncate(kit_path(path, sizeof path, test_dir(), B, "retry-1.1.1.1-1"), 34));
    return 0;
}

/* Gone or cut as it is read: there was none. What may not be read is said, once. */
TEST(gone_as_it_is_read) {
    static const struct {
        const char *function, *name;
        unsigned n;
        int (*act)(void);
        int rc;
    } moments[] = {
        { "openat", "retry-1.1.1.1-1", 1, remove_asked, -EAGAIN },
        { "pread", NULL, 2, cut_asked, -EAGAIN },
        { "openat", "retry-1.1.1.1-1", 1, fail, -EACCES },
    };

    for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        tram_node *b = set_aside(1);
        struct tram_error error;
        struct tram_msg msg;

        code = EACCES;
        CHECK_OK(tram_aside_retry(b, A, 1));
        fault_before(moments[i].function, moments[i].name, moments[i].n, moments[i].act);
        CHECK_ERR(tram_recv(b, &msg, 0), moments[i].rc);
        CHECK_EQ(fault_done(), 1);
        CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
        tram_close(b);
        CHECK_OK(custody_rm(tram_bus_path(b = kit_open(NULL, A, NULL)), B, true, &error));
        tram_close(b);
    }
}

/* Dropped while it is in hand, by the tool or by its own receiver. */
TEST(dropped_while_in_hand) {
    for (int tool = 0; tool < 2; tool++) {
        struct tram_options options = once();
        tram_node *b = set_aside(1);
        struct tram_error error;
        struct tram_msg msg;

        CHECK_OK(tram_aside_retry(b, A, 1));
        tram_close(b);
        b = kit_open(NULL, B, &options);
        CHECK_OK(tram_recv(b, &msg, 0));
        check_message(&msg, 1, 2);
        if (tool)
            CHECK_OK(custody_drop(tram_bus_path(b), B, A, 1, &error));
        else
            CHECK_OK(tram_aside_drop(b, A, 1));
        CHECK_OK(tram_done(b));
        CHECK_EQ(tram_aside_list(b, NULL, 0), 0);
        CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
        tram_close(b);
        CHECK_OK(custody_rm(tram_bus_path(b = kit_open(NULL, A, NULL)), B, true, &error));
        tram_close(b);
    }
}

/* Only what is held can be released, and only as what it is. */
TEST(released_as_something_else) {
    tram_node *b = set_aside(3);
    struct tram_msg msgs[3], other;

    for (uint64_t seq = 1; seq <= 2; seq++)
        CHECK_OK(tram_aside_retry(b, A, seq));
    CHECK_EQ(tram_recv_batch(b, msgs, 1, TRAM_HOLD, 0), 1);
    other = msgs[0];
    other.from = TRAM_ID(9, 9, 9, 9);
    CHECK_ERR(tram_release(b, &other), -ENOENT);
    other = msgs[0];
    other.seq = 2; /* listed, and in nobody's hand */
    CHECK_ERR(tram_release(b, &other), -ENOENT);
    CHECK_OK(tram_recv(b, &msgs[1], 0));
    CHECK_EQ(msgs[1].seq, 2);
    CHECK_ERR(tram_release(b, &msgs[1]), -ENOENT); /* by the next receive */
    CHECK_OK(tram_release(b, &msgs[0]));
    CHECK_ERR(tram_recv(b, &msgs[2], 0), -EAGAIN);
    CHECK_EQ(tram_aside_list(b, NULL, 0), 1);
    tram_close(b);
}

/* A thousand are being tried: one more waits for a later look. */
TEST(more_than_are_tried_at_a_time) {
    struct tram_options options = once();
    tram_node *b = set_aside(1);
    struct tram_msg msg;
    char name[40];

    tram_close(b);
    for (int i = 1; i <= 1024; i++) {
        snprintf(name, sizeof name, "retry-1.1.1.9-%d", i);
        put_file(name, "", 0);
    }
    b = kit_open(NULL, B, &options);
    CHECK_OK(tram_aside_retry(b, A, 1));
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    CHECK_EQ(kit_count_files(test_dir(), "retry-*"), 1);
    tram_close(b);
    b = kit_open(NULL, B, &options);
    CHECK_OK(tram_recv(b, &msg, 0));
    check_message(&msg, 1, 2);
    tram_close(b);
}
