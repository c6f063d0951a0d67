/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * A bus on a file system that is full: a send says -ENOSPC and has accepted nothing, nobody dies
 * of a page that is not there, and all goes on when there is space again. Each test has a small
 * tmpfs of its own, in a mount namespace.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"

#define A TRAM_ID(1, 1, 1, 1)
#define B TRAM_ID(1, 1, 1, 2)
#define C TRAM_ID(1, 1, 1, 3)

static char place[200];

static void write_text(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd >= 0) {
        if (write(fd, text, strlen(text)) < 0)
            SKIP("no user namespace here");
        close(fd);
    }
}

static void enter_namespace(void) {
    unsigned uid = geteuid(), gid = getegid();
    char map[64];

    if (unshare(CLONE_NEWNS) == 0)
        return;
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        SKIP("neither root nor a user namespace");
    write_text("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "0 %u 1", uid);
    write_text("/proc/self/uid_map", map);
    snprintf(map, sizeof map, "0 %u 1", gid);
    write_text("/proc/self/gid_map", map);
}

/* A tmpfs of so many KiB, in which buses may lie. */
static void make_place(unsigned kib) {
    char options[64];

    snprintf(place, sizeof place, "%s/small", test_dir());
    CHECK_OK(mkdir(place, 0700));
    enter_namespace();
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        SKIP("no private mounts here");
    snprintf(options, sizeof options, "size=%uk,mode=0700", kib);
    if (mount("tram", place, "tmpfs", 0, options) < 0)
        SKIP("no mount of a tmpfs here");
}

static tram_node *open_here(tram_id id, uint64_t ring_size) {
    struct tram_options options = kit_options(ring_size, 0);

    return kit_open(place, id, &options);
}

/* Take all that is left but so many KiB. */
static void fill_place(unsigned leave_kib) {
    static char bytes[4096];
    char path[300];
    int fd;

    snprintf(path, sizeof path, "%s/ballast", place);
    fd = CHECK_OK(open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600));
    while (write(fd, bytes, sizeof bytes) == sizeof bytes)
        continue;
    CHECK_OK(ftruncate(fd, lseek(fd, 0, SEEK_CUR) - (off_t) leave_kib * 1024));
    close(fd);
}

static void drop_ballast(void) {
    char path[300];

    snprintf(path, sizeof path, "%s/ballast", place);
    CHECK_OK(unlink(path));
}

static int send_number(tram_node *node, tram_id to, uint64_t n, size_t size) {
    static char bytes[1 << 20];

    pattern_fill(bytes, size, n);
    return tram_send(node, to, 0, bytes, size, TRAM_NOWAIT);
}

static void check_number(tram_node *node, uint64_t n) {
    struct tram_msg msg;

    CHECK_OK(tram_recv(node, &msg, 0));
    CHECK_EQ(msg.seq, n);
    CHECK_EQ(msg.attempt, 1);
    CHECK_EQ(pattern_check(msg.data, msg.size, n), -1);
}

/* More than the file system holds: what was accepted arrives, and then it goes on. */
TEST(full_and_drained) {
    tram_node *a, *b;
    uint64_t sent = 0, count, received = 0;

    make_place(1024);
    a = open_here(A, 0);
    b = open_here(B, 0);
    for (int round = 0; round < 5; round++) {
        int rc;

        while ((rc = send_number(a, B, sent + 1, 3000)) == 0)
            sent++;
        CHECK_EQ(rc, -ENOSPC);
        CHECK(strstr(tram_last_error(a)->text, "full"));
        CHECK_OK(tram_accepted(a, B, &count));
        CHECK_EQ(count, sent);
        CHECK(sent - received > 100);
        while (received < sent)
            check_number(b, ++received);
        CHECK_OK(tram_done(b));
    }
    tram_close(a);
    tram_close(b);
}

/* The first message: no channel comes into being, and later it is the first all the same. */
TEST(no_space_for_a_channel) {
    tram_node *a, *b;
    uint64_t count;

    make_place(512);
    a = open_here(A, 65536);
    b = open_here(B, 65536);
    for (unsigned leave = 0; leave < 12; leave += 4) {
        fill_place(leave);
        CHECK_ERR(send_number(a, B, 1, 5000), -ENOSPC);
        CHECK_OK(tram_accepted(a, B, &count));
        CHECK_EQ(count, 0);
        drop_ballast();
    }
    CHECK_OK(send_number(a, B, 1, 5000));
    check_number(b, 1);
    tram_close(a);
    tram_close(b);
}

TEST(no_space_for_a_node) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    tram_node *a = NULL;

    make_place(256);
    options.dir = place;
    fill_place(0);
    CHECK_ERR(tram_open(NULL, A, &options, &a), -ENOSPC);
    CHECK(a == NULL);
    CHECK(strstr(tram_last_error(NULL)->text, "No space"));
    drop_ballast();
    CHECK_OK(tram_open(NULL, A, &options, &a));
    tram_close(a);
}

/* A message for which the ring had to grow is not accepted; small ones still are. */
TEST(no_space_to_grow) {
    tram_node *a, *b;

    make_place(512);
    a = open_here(A, 65536);
    b = open_here(B, 65536);
    CHECK_OK(send_number(a, B, 1, 100));
    fill_place(40);
    CHECK_ERR(send_number(a, B, 2, 200000), -ENOSPC);
    CHECK_OK(send_number(a, B, 2, 100));
    check_number(b, 1);
    check_number(b, 2);
    drop_ballast();
    CHECK_OK(send_number(a, B, 3, 200000));
    CHECK_OK(send_number(a, B, 4, 100));
    check_number(b, 3);
    check_number(b, 4);
    tram_close(a);
    tram_close(b);
}

/* A receiver needs no memory to hand out and to release, in whatever order. */
TEST(receiver_needs_nothing) {
    struct tram_msg msgs[20];
    tram_node *a, *b;

    make_place(512);
    a = open_here(A, 65536);
    b = open_here(B, 65536);
    for (uint64_t n = 1; n <= 20; n++)
        CHECK_OK(send_number(a, B, n, 100));
    fill_place(0);
    CHECK_EQ(tram_recv_batch(b, msgs, 20, TRAM_HOLD, 0), 20);
    for (int i = 19; i >= 0; i--)
        CHECK_OK(tram_release(b, &msgs[i]));
    CHECK_ERR(tram_recv(b, &msgs[0], 0), -EAGAIN);
    tram_close(b);
    b = NULL;
    tram_close(a);
}

/* Claims, pieces and staged messages are refused like sends. */
TEST(every_way_to_send) {
    struct iovec piece;
    tram_node *a, *b;
    static char bytes[30000];
    uint64_t count;
    void *data;
    int rc;

    make_place(512);
    a = open_here(A, 1 << 20);
    b = open_here(B, 65536);
    piece = (struct iovec){ bytes, sizeof bytes };
    CHECK_OK(send_number(a, B, 1, 100));
    fill_place(0);
    do
        rc = tram_claim(a, B, sizeof bytes, 0, &data);
    while (rc == 0 && tram_commit(a, B, NULL, sizeof bytes, 0) == 0);
    CHECK_EQ(rc, -ENOSPC);
    CHECK_ERR(tram_sendv(a, B, NULL, &piece, 1, 0, 0), -ENOSPC);
    CHECK_ERR(tram_send(a, B, 0, bytes, sizeof bytes, TRAM_MORE), -ENOSPC);
    CHECK_ERR(tram_sendv(a, B, NULL, &piece, 1, 0, 50 * KIT_MS), -ENOSPC);
    CHECK_OK(tram_flush(a));
    CHECK_OK(tram_accepted(a, B, &count));
    for (uint64_t n = 1; n <= count; n++) {
        struct tram_msg msg;

        CHECK_OK(tram_recv(b, &msg, 0));
        CHECK_EQ(msg.seq, n);
    }
    tram_close(a);
    tram_close(b);
}
