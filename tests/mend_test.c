/* SPDX-License-Identifier: MIT
 * test: wrap label=notsan
 *
 * What others do to the files of a running node, looked after by the next re-look: each is mended,
 * or said, and where the machine refuses that at first, then the next time.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "node/node.h"
#include "support/fault.h"
#include "support/kit.h"

#define A TRAM_ID(1, 1, 1, 1)
#define B TRAM_ID(1, 1, 1, 2)

static const char *at(tram_id node, const char *name) {
    static char paths[4][300];
    static unsigned next;

    return kit_path(paths[next++ % 4], sizeof(paths[0]), test_dir(), node, name);
}

static tram_node *open_node(tram_id id) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);

    return kit_open(NULL, id, &options);
}

/* Somebody who has opened nothing yet finds it, and wakes it. */
static void wakes(tram_node *b) {
    struct pollfd entry = {.fd = CHECK_OK(tram_fd(b)), .events = POLLIN};
    tram_node *a = open_node(A);
    struct tram_msg msg;

    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    CHECK(tram_timeout(b) > 0);
    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    CHECK_EQ(poll(&entry, 1, 0), 1);
    CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_EQ(msg.from, A);
    CHECK_OK(tram_done(b));
    (void) tram_close(a);
}

/* ---- the lock -------------------------------------------------------------------------------- */

static void lock_removed(void) {
    CHECK_OK(unlink(at(B, "lock")));
}

static void lock_without_its_name(void) {
    CHECK_OK(link(at(B, "lock"), at(B, "other")));
    lock_removed();
}

static void lock_replaced(void) {
    lock_without_its_name();
    CHECK_OK(mkfifo(at(B, "lock"), 0600));
}

static void directory_renamed(void) {
    CHECK_OK(rename(at(B, NULL), at(TRAM_ID(9, 9, 9, 9), NULL)));
}

static void directory_replaced(void) {
    directory_renamed();
    CHECK_OK(mkdir(at(B, NULL), 0700));
}

static void lost_is_said(void (*lose)(void)) {
    tram_node *b = open_node(B);
    struct tram_msg msg;

    lose();
    for (int looks = 0; looks < 2; looks++) { /* once */
        node_mend(b);
        if (looks == 0)
            CHECK_ERR(tram_recv(b, &msg, 0), -ESTALE);
        CHECK_EQ(tram_last_error(b)->from, B);
        CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    }
    (void) tram_close(b);
    kit_remove_tree(at(B, NULL));
    kit_remove_tree(at(TRAM_ID(9, 9, 9, 9), NULL));
}

TEST(a_lost_lock_is_said) {
    lost_is_said(lock_removed);
    lost_is_said(lock_without_its_name);
    lost_is_said(lock_replaced);
    lost_is_said(directory_renamed);
    lost_is_said(directory_replaced);
}

/* ---- refused by the machine ------------------------------------------------------------------ */

static int code;

static int fail(void) {
    return code;
}

static void fail_with(int error, const char *function, const char *name, unsigned n) {
    code = error;
    fault_before(function, name, n, fail);
}

/* What cannot be looked at is not said to be lost. */
TEST(a_lock_that_cannot_be_seen) {
    for (unsigned n = 1; n <= 2; n++) { /* of the lock, of the directory */
        tram_node *b = open_node(B);
        struct tram_msg msg;

        lock_removed();
        fail_with(EIO, "fstat", NULL, n);
        node_mend(b);
        CHECK_EQ(fault_done(), 1);
        CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
        node_mend(b);
        CHECK_ERR(tram_recv(b, &msg, 0), -ESTALE);
        (void) tram_close(b);
    }
}

TEST(a_new_door_that_cannot_be_made_yet) {
    static const struct {
        const char *function, *name;
        unsigned n;
        int error;
    } calls[] = {
        {"mkfifoat", "bell", 1, ENOSPC},  {"openat", "bell", 1, EMFILE},
        {"fstat", NULL, 4, ENOMEM},       {"epoll_ctl", NULL, 2, ENOMEM},
        {"openat", ".door", 1, ENOSPC},   {"pwrite", NULL, 1, ENOSPC},
        {"fstatat", "door", 2, EIO},      {"openat", "door", 1, ENFILE},
    };

    for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
        tram_node *b = open_node(B);
        const struct door *before = b->door;

        CHECK_OK(tram_fd(b));
        CHECK_OK(unlink(at(B, "bell")));
        CHECK_OK(mkfifo(at(B, "bell"), 0600));
        CHECK_OK(truncate(at(B, "door"), 2 * LAYOUT_DOOR));
        fail_with(calls[i].error, calls[i].function, calls[i].name, calls[i].n);
        node_mend(b);
        CHECK_EQ(fault_done(), 1);
        CHECK(b->door == before && b->door->magic == DOOR_MAGIC);
        node_mend(b);
        CHECK(b->door->magic == DOOR_MAGIC);
        wakes(b);
        (void) tram_close(b);
    }
}

/* ---- door and bell --------------------------------------------------------------------------- */

static void door_cut_and_made_long_again(tram_node *b) {
    CHECK_OK(truncate(at(B, "door"), 0));
    CHECK(!door_bits(b->door)); /* a load from behind the end */
    CHECK_OK(truncate(at(B, "door"), LAYOUT_DOOR));
}

static void door_removed(tram_node *b) {
    (void) b;
    CHECK_OK(unlink(at(B, "door")));
}

static void door_too_long(tram_node *b) {
    (void) b;
    CHECK_OK(truncate(at(B, "door"), 2 * LAYOUT_DOOR));
}

static void door_of_another(tram_node *b) {
    struct door other = {.magic = DOOR_MAGIC, .version = LAYOUT_VERSION, .id = A};

    CHECK_OK(door_make(b->dir, &other, 0600));
}

static void bell_removed(tram_node *b) {
    (void) b;
    CHECK_OK(unlink(at(B, "bell")));
}

static void bell_is_a_directory(tram_node *b) {
    bell_removed(b);
    CHECK_OK(mkdir(at(B, "bell"), 0700));
}

TEST(doors_and_bells_are_mended) {
    static void (*const breaks[])(tram_node *b) = {
        door_cut_and_made_long_again, door_removed, door_too_long,
        door_of_another, bell_removed, bell_is_a_directory,
    };

    for (size_t i = 0; i < sizeof(breaks) / sizeof(breaks[0]); i++) {
        tram_node *b = open_node(B);

        if (i % 2 == 0)
            CHECK_OK(tram_fd(b));
        breaks[i](b);
        node_mend(b);
        CHECK(!sys_map_torn(&b->door_map));
        wakes(b);
        (void) tram_close(b);
    }
}

/* What lies there cannot even be removed: tried again when it can. */
TEST(a_bell_that_is_a_full_directory) {
    tram_node *b = open_node(B);

    bell_is_a_directory(b);
    CHECK_OK(mkdir(at(B, "bell/full"), 0700));
    node_mend(b);
    CHECK_OK(rmdir(at(B, "bell/full")));
    node_mend(b);
    wakes(b);
    (void) tram_close(b);
}

TEST(words_that_are_the_owners) {
    tram_node *b = open_node(B);
    struct door good;

    CHECK_OK(tram_fd(b));
    CHECK(tram_timeout(b) > 0);
    good = *b->door;
    CHECK_EQ(good.asleep, 1);
    memset(b->door, 0xff, offsetof(struct door, zero));
    b->door->asleep = 0;
    node_mend(b);
    CHECK_MEM(b->door, &good, offsetof(struct door, zero));
    CHECK_EQ(b->door->asleep, 1);
    wakes(b);
    (void) tram_close(b);
}
