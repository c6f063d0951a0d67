/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * Whoever dies between what he did and the bell that tells of it: a sender that published, a
 * receiver that freed. A successor rings at once; without one, those who sleep look again after a
 * second.
 */
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "ring/layout.h"
#include "support/kit.h"
#include "support/step.h"

#define HUB TRAM_ID(1, 0, 0, 1)
#define SPOKE(i) TRAM_ID(2, 0, 0, 1 + (i))
#define LOST_NS (900 * KIT_MS) /* a wait as long as this was ended by the re-look */

static void need_stepping(void) {
    const char *reason = step_impossible();

    if (reason)
        SKIP(reason);
}

static void receive_and_note(void *arg) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *node = kit_open(NULL, HUB, &options);
    struct tram_msg msg;
    int64_t *came = arg;

    CHECK_OK(tram_recv(node, &msg, kit_patience(15))); /* the one before */
    for (int i = 0; i < 2; i++) {
        CHECK_OK(tram_recv(node, &msg, kit_patience(15)));
        CHECK_EQ(msg.seq, (uint64_t) i + 2);
        __atomic_store_n(&came[i], kit_now(), __ATOMIC_RELEASE);
    }
    tram_close(node);
}

/* Until the other sender's second message has come, whatever comes of the dead one's. */
static void receive_two(void *arg) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *node = kit_open(NULL, HUB, &options);
    struct tram_msg msg;
    int64_t *came = arg;

    while (!came[1]) {
        CHECK_OK(tram_recv(node, &msg, kit_patience(15)));
        if (msg.size == 5 && memcmp(msg.data, "again", 5) == 0)
            __atomic_store_n(&came[1], kit_now(), __ATOMIC_RELEASE);
    }
    tram_close(node);
}

/* The sender stops itself before the send that is stepped. */
static void send_and_die(void *arg) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *node = kit_open(NULL, SPOKE(0), &options);

    (void) arg;
    CHECK_OK(tram_send(node, HUB, 0, "before", 6, 0));
    if (!kit_await_asleep(test_dir(), HUB))
        FAIL("the receiver does not go to sleep");
    CHECK_OK(ptrace(PTRACE_TRACEME, 0, 0, 0));
    raise(SIGSTOP);
    CHECK_OK(tram_send(node, HUB, 0, "after", 5, 0));
    raise(SIGSTOP);
}

/* A word of the channel from SPOKE to HUB. */
struct word {
    const char *file;
    size_t offset;
};

static const struct word tail = { "from-2.0.0.1", offsetof(struct stream, tail) };
static const struct word head = { "head-2.0.0.1", offsetof(struct head, head) };

static uint64_t value_of(int fd, const struct word *word) {
    uint64_t value = 0;

    CHECK_EQ(pread(fd, &value, sizeof value, (off_t) word->offset), sizeof value);
    return value;
}

/* Kill a process that stopped itself so many instructions after the word has changed. False: it was
 * through with what it did by then. */
static bool kill_after(pid_t pid, const struct word *word, int instructions) {
    char path[300];
    uint64_t before;
    int status, fd;

    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSTOPPED(status));
    fd = CHECK_OK(open(kit_path(path, sizeof path, test_dir(), HUB, word->file), O_RDONLY));
    before = value_of(fd, word);
    while (value_of(fd, word) == before || instructions-- > 0) {
        CHECK_OK(ptrace(PTRACE_SINGLESTEP, pid, 0, 0));
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK(WIFSTOPPED(status));
        if (WSTOPSIG(status) != SIGTRAP)
            break; /* it stopped itself again */
    }
    close(fd);
    test_kill(pid);
    return WSTOPSIG(status) == SIGTRAP;
}

static void await(const int64_t *came, int64_t limit, const char *what) {
    int64_t start = kit_now();

    while (!__atomic_load_n(came, __ATOMIC_ACQUIRE)) {
        kit_pause();
        if (kit_now() - start > limit)
            FAIL("%s: nothing after %.0f ms", what, (double) limit / 1e6);
    }
}

/* Nobody comes after it: the receiver finds it by its bounded re-look. */
TEST(sender_dead_before_the_bell_alone) {
    int64_t *came = kit_shared(4096), start;
    struct tram_options options = kit_options(65536, 0);
    pid_t receiver, sender;
    tram_node *node;

    need_stepping();
    receiver = test_fork(receive_and_note, came);
    sender = test_fork(send_and_die, NULL);
    CHECK(kill_after(sender, &tail, 0));
    start = kit_now();
    await(&came[0], 1500 * KIT_MS + kit_patience(1), "the re-look");
    printf("    found after %.0f ms\n", (double) (came[0] - start) / 1e6);
    node = kit_open(NULL, SPOKE(0), &options);
    CHECK_OK(tram_send(node, HUB, 0, "last", 4, 0));
    tram_close(node);
    JOIN(receiver);
    munmap(came, 4096);
}

/* Its successor rings for it, wherever it died. */
TEST_TIMEOUT(sender_dead_before_the_bell_with_successor, 60) {
    struct tram_options options = kit_options(65536, 0);
    bool more = true;
    int n = 0;

    need_stepping();
    for (int after = 0; more; after += *test_sanitizer() ? 120 : 8, n++) {
        int64_t *came = kit_shared(4096), start;
        pid_t receiver = test_fork(receive_and_note, came), sender = test_fork(send_and_die, NULL);
        char path[300];
        tram_node *node;

        more = kill_after(sender, &tail, after);
        start = kit_now();
        node = kit_open(NULL, SPOKE(0), &options);
        await(&came[0], LOST_NS, "the successor's bell");
        if (came[0] - start >= LOST_NS)
            FAIL("came after %.0f ms", (double) (came[0] - start) / 1e6);
        CHECK_OK(tram_send(node, HUB, 0, "last", 4, 0));
        tram_close(node);
        JOIN(receiver);
        kit_remove_tree(kit_path(path, sizeof path, test_dir(), HUB, NULL));
        kit_remove_tree(kit_path(path, sizeof path, test_dir(), SPOKE(0), NULL));
        munmap(came, 4096);
    }
    printf("    killed at %d places\n", n);
    CHECK(n > 2);
}

/* Another one that has the same bit in the receiver's door: a bit that is set is no bell that was
 * rung. */
TEST_TIMEOUT(sender_dead_before_the_bell_with_the_same_bit, 60) {
    struct tram_options options = kit_options(65536, 0);
    tram_id other = SPOKE(1);
    bool more = true;

    need_stepping();
    while (door_bit(other) != door_bit(SPOKE(0)))
        other++;
    for (int after = 0; more; after += *test_sanitizer() ? 120 : 8) {
        int64_t *came = kit_shared(4096);
        pid_t receiver = test_fork(receive_two, came), sender;
        tram_node *node = kit_open(NULL, other, &options);
        char path[300];

        CHECK_OK(tram_send(node, HUB, 0, "other", 5, 0)); /* its channel is there already */
        sender = test_fork(send_and_die, NULL);
        more = kill_after(sender, &tail, after);
        CHECK_OK(tram_send(node, HUB, 0, "again", 5, 0));
        await(&came[1], LOST_NS, "the other sender's bell");
        tram_close(node);
        JOIN(receiver);
        kit_remove_tree(kit_path(path, sizeof path, test_dir(), HUB, NULL));
        kit_remove_tree(kit_path(path, sizeof path, test_dir(), SPOKE(0), NULL));
        kit_remove_tree(kit_path(path, sizeof path, test_dir(), other, NULL));
        munmap(came, 4096);
    }
}

/* ---- a receiver that dies between freeing and ringing --------------------------------------- */

enum { LARGE = 20000 }; /* three of them fill the ring */

static char large[LARGE];

/* Full, it waits for space; then says when it came. */
static void send_and_note(void *arg) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *node = kit_open(NULL, SPOKE(0), &options);
    int64_t *came = arg;

    while (tram_send(node, HUB, 0, large, LARGE, TRAM_NOWAIT) == 0)
        continue;
    CHECK_OK(tram_send(node, HUB, 0, large, LARGE, 0));
    __atomic_store_n(came, kit_now(), __ATOMIC_RELEASE);
    tram_close(node);
}

/* The receiver stops itself before the release that is stepped. */
static void release_and_die(void *arg) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *node = kit_open(NULL, HUB, &options);
    struct tram_msg msg;

    (void) arg;
    CHECK_OK(tram_recv(node, &msg, kit_patience(15)));
    if (!kit_await_asleep(test_dir(), SPOKE(0)))
        FAIL("the sender does not wait");
    CHECK_OK(ptrace(PTRACE_TRACEME, 0, 0, 0));
    raise(SIGSTOP);
    CHECK_OK(tram_done(node));
    raise(SIGSTOP);
}

/* The blocked sender looks again by itself. */
TEST(receiver_dead_before_the_bell_alone) {
    int64_t *came = kit_shared(4096), start;
    pid_t sender, receiver;

    need_stepping();
    sender = test_fork(send_and_note, came);
    receiver = test_fork(release_and_die, NULL);
    CHECK(kill_after(receiver, &head, 0));
    start = kit_now();
    await(came, 1500 * KIT_MS + kit_patience(1), "the sender's re-look");
    printf("    found after %.0f ms\n", (double) (*came - start) / 1e6);
    JOIN(sender);
    munmap(came, 4096);
}

TEST_TIMEOUT(receiver_dead_before_the_bell_with_successor, 60) {
    struct tram_options options = kit_options(65536, 0);
    bool more = true;
    int n = 0;

    need_stepping();
    for (int after = 0; more; after += *test_sanitizer() ? 120 : 8, n++) {
        int64_t *came = kit_shared(4096);
        pid_t sender = test_fork(send_and_note, came);
        pid_t receiver = test_fork(release_and_die, NULL);
        char path[300];
        tram_node *node;

        more = kill_after(receiver, &head, after);
        node = kit_open(NULL, HUB, &options);
        await(came, LOST_NS, "the successor's bell");
        JOIN(sender);
        tram_close(node);
        kit_remove_tree(kit_path(path, sizeof path, test_dir(), HUB, NULL));
        kit_remove_tree(kit_path(path, sizeof path, test_dir(), SPOKE(0), NULL));
        munmap(came, 4096);
    }
    printf("    killed at %d places\n", n);
    CHECK(n > 2);
}
