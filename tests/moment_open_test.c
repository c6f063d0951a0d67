/* SPDX-License-Identifier: MIT
 * test: timeout=60 wrap label=notsan
 *
 * Opening, asking and closing, while somebody takes, makes or removes just then what it is about:
 * each is one moment between two system calls (support/fault.h), made by hand.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "node/node.h"
#include "support/fault.h"
#include "support/kit.h"
#include "sys/lock.h"

#define A TRAM_ID(1, 1, 1, 1)
#define B TRAM_ID(1, 1, 1, 2)

static char path[300];
static int fd;

static const char *path_of(tram_id id, const char *name) {
    return kit_path(path, sizeof path, test_dir(), id, name);
}

static tram_node *open_node(tram_id id) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);

    return kit_open(NULL, id, &options);
}

static void open_refused(tram_id id, int code, const char *said) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *node = NULL;

    CHECK_ERR(tram_open(NULL, id, &options, &node), code);
    CHECK(node == NULL);
    CHECK_EQ(tram_last_error(NULL)->code, code);
    CHECK(strstr(tram_last_error(NULL)->text, said));
}

/* A moment came, and the node is open, as nobody else's. */
static void opens_all_the_same(tram_id id) {
    tram_node *node = open_node(id);
    tram_node *again = NULL;

    CHECK_EQ(fault_done(), 1);
    CHECK_ERR(tram_open(NULL, id, NULL, &again), -EADDRINUSE);
    CHECK_OK(tram_send(node, id, 1, "x", 1, 0));
    tram_close(node);
}

/* ---- the lock -------------------------------------------------------------------------------- */

static int take_identity(void) {
    fd = CHECK_OK(open(path_of(A, "lock"), O_RDWR | O_CLOEXEC));
    CHECK_OK(sys_lock(fd, LOCK_IDENTITY));
    return 0;
}

static int remove_lock(void) {
    CHECK_OK(unlink(path_of(A, "lock")));
    return 0;
}

/* It was nobody's, when we looked. */
TEST(taken_before_we_take_it) {
    fault_before("fcntl", NULL, 1, take_identity);
    open_refused(A, -EADDRINUSE, "1.1.1.1 is open in process");
    CHECK_EQ(fault_done(), 1);
    close(fd);
    tram_close(open_node(A));
}

TEST(removed_before_it_is_opened) {
    fault_before("openat", "lock", 2, remove_lock);
    opens_all_the_same(A);
}

/* What was locked then is the lock of nothing. */
TEST(removed_before_it_is_locked) {
    fault_before("fcntl", NULL, 1, remove_lock);
    opens_all_the_same(A);
}

static int remove_lock_again(void) {
    if (unlink(path_of(A, "lock")) < 0)
        CHECK_EQ(errno, ENOENT);
    return 0;
}

TEST(removed_again_and_again) {
    fault_before("openat", "lock", 0, remove_lock_again);
    open_refused(A, -ESTALE, "again and again");
    CHECK_EQ(fault_done(), 2000);
    tram_close(open_node(A));
}

static int later(void) {
    fault_ahead(3 * KIT_S);
    return 0;
}

static int let_go(void) {
    CHECK_OK(sys_unlock(fd, LOCK_CUSTODY));
    return 0;
}

/* Somebody acts for it: he is waited for, but not for ever. */
TEST(custodian) {
    tram_close(open_node(A));
    fd = CHECK_OK(open(path_of(A, "lock"), O_RDWR | O_CLOEXEC));
    CHECK_OK(sys_lock(fd, LOCK_CUSTODY));
    fault_before("clock_gettime", NULL, 5, later);
    open_refused(A, -ETIMEDOUT, "does not let go");
    CHECK_EQ(fault_done(), 1);
    fault_before("clock_gettime", NULL, 5, let_go);
    opens_all_the_same(A);
    close(fd);
}

/* ---- other things that fail just then -------------------------------------------------------- */

static int exists(void) {
    return EEXIST;
}

static int no_memory(void) {
    return ENOMEM;
}

static int no_such_call(void) {
    return ENOSYS;
}

/* IDs that somebody has. */
TEST(ephemeral_ids_that_are_taken) {
    tram_node *node = open_node(A);

    fault_before("mkdirat", NULL, 3, exists); /* after the root's and the bus's */
    tram_close(open_node(TRAM_EPHEMERAL));
    CHECK_EQ(fault_done(), 1);
    fault_before("mkdirat", NULL, 0, exists);
    open_refused(TRAM_EPHEMERAL, -EADDRNOTAVAIL, "no free ephemeral ID");
    CHECK_EQ(fault_done(), 1002);
    fault_before("getrandom", NULL, 1, no_such_call);
    open_refused(TRAM_EPHEMERAL, -ENOSYS, "random");
    CHECK_EQ(fault_done(), 1);
    tram_close(node);
}

/* Before the first node of a process; the second try asks again. */
TEST(no_memory_to_watch_for_forks) {
    fault_before("pthread_atfork", NULL, 1, no_memory);
    open_refused(A, -ENOMEM, "cannot watch for forks");
    CHECK_EQ(fault_done(), 1);
    tram_close(open_node(A));
}

/* ---- what else lies in the directory of the bus ---------------------------------------------- */

static int remove_b(void) {
    kit_remove_tree(path_of(B, NULL));
    return 0;
}

/* A sender looks for the channels that it had: what is none is left alone, what goes is no error,
 * and is made anew when it is used. */
TEST(a_receiver_goes_as_its_sender_opens) {
    tram_node *a = open_node(A);
    uint64_t count = 99;

    CHECK_OK(tram_send(a, B, 1, "x", 1, 0));
    tram_close(a);
    snprintf(path, sizeof path, "%s/default/notes", test_dir());
    CHECK_OK(mkdir(path, 0700));
    fault_before("openat", "1.1.1.2", 2, remove_b);
    a = open_node(A);
    CHECK_EQ(fault_done(), 1);
    CHECK_OK(tram_accepted(a, B, &count));
    CHECK_EQ(count, 0);
    CHECK_OK(tram_send(a, B, 1, "x", 1, 0));
    tram_close(a);
}

/* ---- options --------------------------------------------------------------------------------- */

/* No handler of ours, then; else there is one. */
TEST(no_sigbus_handler) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    struct sigaction before;
    struct sigaction now;
    struct tram_msg msg;
    tram_node *a;

    CHECK_OK(sigaction(SIGBUS, NULL, &before));
    options.flags = TRAM_OPEN_NO_SIGBUS;
    a = kit_open(NULL, A, &options);
    CHECK_OK(tram_send(a, A, 1, "x", 1, 0));
    CHECK_OK(tram_recv(a, &msg, 0));
    CHECK_MEM(msg.data, "x", 1);
    CHECK_OK(sigaction(SIGBUS, NULL, &now));
    CHECK(now.sa_sigaction == before.sa_sigaction);
    tram_close(a);
    a = open_node(A);
    CHECK_OK(tram_send(a, A, 1, "x", 1, 0));
    CHECK_OK(sigaction(SIGBUS, NULL, &now));
    CHECK(now.sa_sigaction != before.sa_sigaction);
    tram_close(a);
}

/* ---- two threads ----------------------------------------------------------------------------- */

static void *wait_for_one(void *arg) {
    struct tram_msg msg;

    CHECK_OK(tram_recv(arg, &msg, kit_patience(10)));
    return NULL;
}

/* Who closes a node while another thread is inside closes nothing. */
TEST(closed_while_a_thread_waits) {
    tram_node *a = open_node(A), *b = open_node(B);
    pthread_t thread;

    CHECK_EQ(pthread_create(&thread, NULL, wait_for_one, b), 0);
    CHECK(kit_await_asleep(test_dir(), B));
    CHECK(tram_close(b) == NULL);
    CHECK_OK(tram_send(a, B, 1, "x", 1, 0));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_OK(tram_send(b, A, 1, "x", 1, 0));
    tram_close(b);
    tram_close(a);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void set_door(size_t offset, const void *value, size_t size) {
    int file = CHECK_OK(open(path_of(B, "door"), O_RDWR | O_CLOEXEC));

    CHECK_EQ(pwrite(file, value, size, (off_t) offset), (ssize_t) size);
    close(file);
}

static enum tram_peer_state state_of(tram_node *a) {
    struct tram_peer peer;

    CHECK_OK(tram_peer(a, B, &peer));
    return (enum tram_peer_state) peer.state;
}

/* A door that is none of this node's, or was never opened: nothing is known. A lock that is gone:
 * it is down. */
TEST(doors_that_say_nothing) {
    static const struct {
        size_t offset, size;
    } words[] = {
        {offsetof(struct door, magic), 8},
        {offsetof(struct door, id), 4},
        {offsetof(struct door, opens), 8},
    };
    tram_node *a = open_node(A), *b = open_node(B);
    const uint64_t none = 0;

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        CHECK_EQ(state_of(a), TRAM_PEER_UP);
        set_door(words[i].offset, &none, words[i].size);
        CHECK_EQ(state_of(a), TRAM_PEER_NEVER);
        tram_close(b);
        b = open_node(B);
    }
    CHECK_OK(unlink(path_of(B, "lock")));
    CHECK_EQ(state_of(a), TRAM_PEER_DOWN);
    tram_close(b);
    tram_close(a);
}

/* One of another layout version is no peer: that is said, with both numbers. */
TEST(a_door_of_another_version) {
    const uint32_t version = LAYOUT_VERSION + 1;
    tram_node *a = open_node(A), *b = open_node(B);
    struct tram_peer peer;
    struct tram_event event;

    CHECK_OK(tram_watch(a, B));
    CHECK_EQ(tram_dispatch(a, &event), 1);
    set_door(offsetof(struct door, version), &version, sizeof version);
    CHECK_ERR(tram_peer(a, B, &peer), -EPROTO);
    CHECK(strstr(kit_error(a), "layout version 3, this tram has 2"));
    CHECK_ERR(tram_watch(a, B), -EPROTO);
    CHECK(strstr(kit_error(a), "layout version 3, this tram has 2"));
    CHECK_ERR(tram_send(a, B, 1, "x", 1, 0), -EPROTO);
    CHECK(strstr(kit_error(a), "layout version 3, this one has 2"));
    CHECK_EQ(tram_last_error(a)->to, B);
    CHECK(access(path_of(B, "from-1.1.1.1"), F_OK) < 0); /* it would not look at what we make */
    tram_close(a);
    tram_close(b);
}

/* ---- peers ----------------------------------------------------------------------------------- */

/* Another one in the same bucket of peers. */
static tram_id neighbour(tram_id id) {
    tram_id other = id + 1;

    while (door_bit(other) != door_bit(id))
        other++;
    return other;
}

static void put(tram_id node, const char *name) {
    int file = CHECK_OK(open(path_of(node, name), O_CREAT | O_RDWR | O_CLOEXEC, 0600));

    close(file);
}

/* A peer of whom there is nothing any more is forgotten, also behind another one in its bucket. */
TEST(forgotten_behind_another) {
    tram_id other = neighbour(B);
    tram_node *a = open_node(A);

    tram_close(open_node(B));
    put(B, "from-1.1.1.1");
    put(B, "head-1.1.1.1");
    CHECK_ERR(tram_send(a, B, 1, "x", 1, 0), -ENOTRECOVERABLE); /* known, and used for nothing */
    CHECK_OK(tram_watch(a, other));
    CHECK(peer_find(a, other)->next == peer_find(a, B));
    put(A, "from-1.1.1.2"); /* no head: it is being made */
    CHECK_OK(ins_scan(a));
    CHECK(peer_find(a, B) == NULL);
    CHECK(peer_find(a, other) != NULL);
    tram_close(a);
}

/* Events of two are owed; those of the second go when it is watched no more. */
TEST(unwatched_while_an_event_waits) {
    tram_node *a = open_node(A), *b = open_node(B), *c = open_node(B + 1);
    struct tram_event event;

    CHECK_OK(tram_watch(a, B));
    CHECK_OK(tram_watch(a, B + 1));
    CHECK_OK(tram_unwatch(a, B + 1));
    CHECK_OK(tram_unwatch(a, B + 1));
    CHECK_EQ(tram_dispatch(a, &event), 1);
    CHECK_EQ(event.peer, B);
    CHECK_EQ(tram_dispatch(a, &event), 0);
    CHECK_OK(tram_watch(a, B + 1)); /* the list has its end where it should */
    CHECK_EQ(tram_dispatch(a, &event), 1);
    CHECK_EQ(event.peer, B + 1);
    tram_close(c);
    tram_close(b);
    tram_close(a);
}
