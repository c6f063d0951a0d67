/* SPDX-License-Identifier: MIT
 * test: timeout=60 wrap label=notsan
 *
 * Acting for nodes that do not run – removing, purging, tidying, retrying – while somebody comes,
 * goes, or is at it as well: each is one moment between two system calls (support/fault.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <ucontext.h>
#include <unistd.h>

#include "harness.h"
#include "node/custody.h"
#include "node/node.h"
#include "support/fault.h"
#include "support/kit.h"
#include "sys/lock.h"

#define A TRAM_ID(1, 1, 1, 1)
#define B TRAM_ID(1, 1, 1, 2)
#define C TRAM_ID(1, 1, 1, 3)
#define STREAM "from-1.1.1.1"
#define HEAD   "head-1.1.1.1"

static struct tram_error said;

static const char *bus_path(void) {
    static char path[300];

    (void) snprintf(path, sizeof path, "%s/default", test_dir());
    return path;
}

static const char *at(tram_id node, const char *name) {
    static char paths[4][300];
    static unsigned next;

    return kit_path(paths[next++ % 4], sizeof paths[0], test_dir(), node, name);
}

static tram_node *open_node(tram_id id) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);

    options.attempts = 1;
    return kit_open(NULL, id, &options);
}

static void put_bytes(tram_id node, const char *name, size_t offset, uint64_t value, size_t size) {
    int fd = CHECK_OK(open(at(node, name), O_RDWR | O_CREAT | O_CLOEXEC, 0600));

    CHECK_EQ(pwrite(fd, &value, size, (off_t) offset), (ssize_t) size);
    close(fd);
}

#define PUT(node, name, type, field, value)                                                        \
    put_bytes(node, name, offsetof(type, field), value, sizeof(((type *) 0)->field))

static int rm(bool force) {
    int rc = custody_rm(bus_path(), B, force, &said);

    if (rc < 0)
        CHECK(said.code == rc && said.text[0] != '\0');
    return rc;
}

/* Rung, or not? */
static bool rung(tram_node *node) {
    struct pollfd entry = {.fd = tram_fd(node), .events = POLLIN};

    return poll(&entry, 1, 0) == 1;
}

static void sleeps(tram_node *node) {
    struct tram_event event;

    for (int i = 0; tram_timeout(node) == 0; i++) {
        CHECK_OK(tram_dispatch(node, &event));
        CHECK(i < 10);
    }
}

/* B ran and ended, with `waiting` of five messages of A unread. */
static tram_node *b_ended(int waiting) {
    tram_node *a = open_node(A), *b = open_node(B);
    struct tram_msg msg;

    for (int i = 0; i < 5; i++)
        CHECK_OK(tram_send(a, B, 0, "message", 7, 0));
    for (int i = waiting; i < 5; i++)
        CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_OK(tram_done(b));
    tram_close(b);
    return a;
}

static void expect_waiting(int waiting) {
    tram_node *b = open_node(B);
    struct tram_msg msg;

    for (int i = 0; i < waiting; i++)
        CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    tram_close(b);
}

/* ---- taking custody -------------------------------------------------------------------------- */

static int other;

static int take_byte(uint64_t byte) {
    other = CHECK_OK(open(at(B, "lock"), O_RDWR | O_CLOEXEC));
    CHECK_OK(sys_lock(other, byte));
    return 0;
}

static int take_identity(void) {
    return take_byte(LOCK_IDENTITY);
}

static int take_custody(void) {
    return take_byte(LOCK_CUSTODY);
}

static int take_proxy(void) {
    return take_byte(LOCK_PROXY);
}

static int remove_lock(void) {
    CHECK_OK(unlink(at(B, "lock")));
    return 0;
}

/* Nothing of the node is changed. */
TEST(taken_as_we_take_it) {
    static const struct {
        const char *function;
        unsigned n;
        int (*act)(void);
        int rc;
    } moments[] = {
        {"fcntl", 2, take_custody, -EBUSY}, {"fcntl", 3, take_identity, -EBUSY},
        {"fcntl", 4, take_proxy, -EBUSY},   {"fstat", 2, remove_lock, -ENOENT},
    };
    tram_node *a = b_ended(2);

    for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        other = -1;
        fault_before(moments[i].function, NULL, moments[i].n, moments[i].act);
        CHECK_ERR(rm(true), moments[i].rc);
        CHECK_EQ(fault_done(), 1);
        if (other >= 0)
            close(other);
    }
    expect_waiting(2);
    CHECK_OK(rm(true));
    CHECK(access(at(B, NULL), F_OK) < 0);
    tram_close(a);
}

TEST(of_another_layout) {
    tram_node *a = b_ended(0);

    PUT(B, "door", struct door, version, LAYOUT_VERSION + 1);
    CHECK_ERR(rm(true), -EPROTO);
    CHECK(strstr(said.text, "layout version"));
    PUT(B, "door", struct door, version, LAYOUT_VERSION);
    PUT(B, HEAD, struct head, version, LAYOUT_VERSION + 1);
    CHECK_ERR(rm(true), -EPROTO);
    PUT(B, HEAD, struct head, version, LAYOUT_VERSION);
    expect_waiting(0);
    tram_close(a);
}

static int other_layout(void) {
    PUT(B, STREAM, struct stream, version, LAYOUT_VERSION + 1);
    return 0;
}

/* Made by another tram after we had counted: it stays, and is open. */
TEST(a_channel_of_another_layout_comes) {
    tram_node *a = b_ended(0);

    fault_before("openat", STREAM, 2, other_layout);
    CHECK_ERR(rm(false), -EPROTO);
    CHECK_EQ(fault_done(), 1);
    PUT(B, STREAM, struct stream, version, LAYOUT_VERSION);
    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    expect_waiting(1);
    tram_close(a);
}

/* ---- removing -------------------------------------------------------------------------------- */

static int code;

static int fail(void) {
    return code;
}

/* Whoever waits for space there, or watches, is rung; and hears of it later if he cannot be. */
TEST(sleepers_are_rung) {
    for (int refused = 0; refused < 2; refused++) {
        tram_node *a = b_ended(5), *c = open_node(C);
        struct tram_event event;

        CHECK_OK(tram_watch(c, B));
        while (tram_dispatch(c, &event) == 1)
            continue;
        while (tram_send(a, B, 0, bus_path(), 200, TRAM_NOWAIT) == 0)
            continue;
        CHECK_OK(tram_fd(a));
        CHECK_OK(tram_fd(c));
        sleeps(a);
        sleeps(c);
        CHECK(!rung(a) && !rung(c));
        code = EMFILE;
        if (refused)
            fault_before("openat", "bell", 0, fail);
        CHECK_OK(rm(true));
        CHECK_EQ(fault_done(), refused ? 2 : 0);
        CHECK_EQ(rung(a), !refused);
        CHECK_EQ(rung(c), !refused);
        CHECK_EQ(tram_send(a, B, 0, "x", 1, TRAM_NOWAIT), -ESTALE);
        CHECK_OK(tram_send(a, B, 0, "x", 1, TRAM_NOWAIT));
        tram_close(a);
        tram_close(c);
        CHECK_OK(rm(true));
    }
}

static const char *victim;

static int remove_victim(void) {
    CHECK_OK(unlink(at(B, victim)));
    return 0;
}

/* Somebody else removes the same files. */
TEST(removed_by_two) {
    static const char *const names[] = {STREAM, HEAD, "bell", "door", "lock"};

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        tram_node *a = b_ended(0);

        victim = names[i];
        fault_before("unlinkat", victim, 1, remove_victim);
        CHECK_OK(rm(false));
        CHECK_EQ(fault_done(), 1);
        CHECK(access(at(B, NULL), F_OK) < 0);
        tram_close(a);
    }
}

/* A stream of several cannot be removed: nothing younger goes before it. */
TEST(a_grown_ring_that_cannot_be_removed) {
    static uint8_t large[100000];
    tram_node *a = b_ended(2);

    CHECK_OK(tram_send(a, B, 0, large, sizeof large, 0));
    code = EIO;
    fault_before("unlinkat", STREAM, 1, fail);
    CHECK_ERR(rm(true), -EIO);
    CHECK_EQ(fault_done(), 1);
    CHECK(access(at(B, STREAM "+1"), F_OK) == 0);
    CHECK_OK(rm(true));
    tram_close(a);
}

static char aside_dir[300];

static void move_channel(bool back) {
    static const char *const names[] = {"head-1.1.1.3", "from-1.1.1.3"};
    char path[600];

    for (int i = 0; i < 2; i++) {
        (void) snprintf(path, sizeof path, "%s/%s", aside_dir, names[i]);
        if (back)
            CHECK_OK(rename(path, at(B, names[i])));
        else
            CHECK_OK(rename(at(B, names[i]), path));
    }
}

static int channel_comes(void) {
    move_channel(true);
    return 0;
}

static int next_code;

static int refused_the_next_time(void) {
    return next_code;
}

static int opener_comes(void) {
    CHECK_OK(mkfifo(at(B, "lock"), 0600));
    return take_identity();
}

/* A channel comes (from C, of one message) when all is removed but lock and directory. */
static void channel_comes_late(bool drained, bool force, int (*next)(void), int rc, bool stays) {
    tram_node *a = b_ended(0), *c = open_node(C), *b;
    struct tram_msg msg;

    (void) snprintf(aside_dir, sizeof aside_dir, "%s/aside", test_dir());
    (void) mkdir(aside_dir, 0700);
    CHECK_OK(tram_send(c, B, 0, "late", 4, 0));
    tram_close(c);
    b = open_node(B);
    if (drained) {
        CHECK_OK(tram_recv(b, &msg, 0));
        CHECK_OK(tram_done(b));
    }
    tram_close(b);
    move_channel(false);
    other = -1;
    fault_before("openat", ".", 6, next ? next : channel_comes);
    CHECK_EQ(rm(force), rc);
    CHECK(fault_done() > 0);
    if (other >= 0)
        close(other);
    CHECK_EQ(access(at(B, "head-1.1.1.3"), F_OK) == 0, stays);
    if (stays)
        expect_waiting(drained ? 0 : 1);
    (void) rm(true);
    tram_close(a);
}

static int channel_and_opener(void) {
    fault_before("mkfifoat", "lock", 1, opener_comes);
    return channel_comes();
}

static int remover_comes(void) {
    fault_before("fstat", NULL, 2, remove_lock);
    return 0;
}

static int channel_and_remover(void) {
    fault_before("unlinkat", "lock", 1, remover_comes);
    return channel_comes();
}

static int channel_and_no_memory(void) {
    fault_before("mkfifoat", "lock", 1, refused_the_next_time);
    return channel_comes();
}

TEST(a_channel_comes_as_its_node_is_removed) {
    channel_comes_late(true, false, NULL, 0, false);
    channel_comes_late(false, true, NULL, 0, false);
    channel_comes_late(false, false, NULL, -ENOTEMPTY, true);
    channel_comes_late(false, true, channel_and_opener, 0, true); /* now it is his */
    channel_comes_late(false, true, channel_and_remover, 0, true); /* his to remove */
    next_code = ENOSPC;
    channel_comes_late(false, true, channel_and_no_memory, -ENOSPC, true);
}

static unsigned made;

static int make_one_more(void) {
    char name[32];

    (void) snprintf(name, sizeof name, "x%u", made++);
    put_bytes(B, name, 0, 0, 1);
    return 0;
}

TEST(files_come_as_fast_as_they_go) {
    tram_node *a = b_ended(0);

    fault_before("unlinkat", "lock", 0, make_one_more);
    CHECK_ERR(rm(false), -EAGAIN);
    CHECK_EQ(fault_done(), 16);
    CHECK_OK(rm(false));
    tram_close(a);
}

/* More watchers than are told, some of whom are no more; and names that are none. */
TEST(many_watchers_and_other_names) {
    tram_node *a = b_ended(0);
    char name[FILES_NAME], path[400];

    for (uint32_t i = 1; i <= 70; i++) {
        files_watch_name(name, TRAM_ID(9, 9, 9, i));
        put_bytes(B, name, 0, 0, 1);
    }
    (void) snprintf(path, sizeof path, "%s/no-node", bus_path());
    CHECK_OK(mkdir(path, 0700));
    CHECK_OK(rm(false));
    CHECK(access(at(B, NULL), F_OK) < 0);
    tram_close(a);
}

/* Of many that cannot be removed no more are looked at than one look may. */
TEST(ephemerals_of_another_layout) {
    struct bus bus = {.mode = 0600};

    tram_close(open_node(A));
    for (uint32_t i = 1; i <= 80; i++) {
        CHECK_OK(mkdir(at(TRAM_EPHEMERAL + i, NULL), 0700));
        PUT(TRAM_EPHEMERAL + i, "door", struct door, magic, DOOR_MAGIC);
        put_bytes(TRAM_EPHEMERAL + i, "door", offsetof(struct door, version),
                  LAYOUT_VERSION + 1, 8);
    }
    bus.dir = CHECK_OK(open(bus_path(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    code = 0;
    fault_before("openat", "door", 0, fail);
    custody_clean_ephemerals(&bus, 0, 4);
    CHECK_EQ(fault_done(), 64);
    close(bus.dir);
    CHECK_EQ(kit_count_files(bus_path(), "door"), 81);
}

TEST(remains_of_many_ephemerals) {
    struct bus bus = {.mode = 0600};

    tram_close(open_node(A));
    for (uint32_t i = 1; i <= 6; i++) {
        CHECK_OK(mkdir(at(TRAM_EPHEMERAL + i, NULL), 0700));
        put_bytes(TRAM_EPHEMERAL + i, "rest", 0, 0, 1);
    }
    bus.dir = CHECK_OK(open(bus_path(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    custody_clean_ephemerals(&bus, 0, 4);
    CHECK_EQ(kit_count_files(bus_path(), "rest"), 2);
    custody_clean_ephemerals(&bus, 0, 4);
    CHECK_EQ(kit_count_files(bus_path(), "rest"), 0);
    close(bus.dir);
}

/* ---- purging --------------------------------------------------------------------------------- */

static int purge(uint64_t *ret_messages) {
    int rc = custody_purge(bus_path(), A, B, ret_messages, &said);

    if (rc < 0)
        CHECK(said.code == rc && said.text[0] != '\0');
    return rc;
}

static int accepted_less(void) {
    PUT(B, STREAM, struct stream, accepted[0], 0);
    PUT(B, STREAM, struct stream, accepted[1], 0);
    return 0;
}

static int went_back(void) {
    PUT(B, STREAM, struct stream, tail, 0);
    return 0;
}

/* Words that made sense at the first look, and none at the second: the channel goes. */
TEST(words_change_as_they_are_purged) {
    static int (*const changes[])(void) = {accepted_less, went_back};

    for (int i = 0; i < 2; i++) {
        tram_node *a = b_ended(2);
        uint64_t messages = 99;

        tram_close(a);
        fault_before("openat", STREAM, 2, changes[i]);
        CHECK_OK(purge(&messages));
        CHECK_EQ(fault_done(), 1);
        CHECK_EQ(messages, 2);
        CHECK(access(at(B, STREAM), F_OK) < 0 && access(at(B, HEAD), F_OK) < 0);
        a = open_node(A);
        CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
        expect_waiting(1);
        tram_close(a);
        CHECK_OK(rm(true));
    }
}

TEST(purge_of_what_cannot_be_purged) {
    tram_node *a = b_ended(2);
    uint64_t messages = 99;

    PUT(B, STREAM, struct stream, version, LAYOUT_VERSION + 1);
    CHECK_ERR(purge(&messages), -EPROTO);
    PUT(B, STREAM, struct stream, version, LAYOUT_VERSION);
    tram_close(a);
    PUT(B, STREAM, struct stream, magic, 1);
    CHECK_OK(mkdir(at(B, "." STREAM), 0700));
    CHECK_OK(mkdir(at(B, "." STREAM "/full"), 0700));
    CHECK_ERR(purge(&messages), -ENOTEMPTY);
    CHECK_EQ(messages, 99);
    CHECK_OK(rmdir(at(B, "." STREAM "/full")));
    CHECK_OK(purge(&messages));
    CHECK(access(at(B, STREAM), F_OK) < 0);
}

#if defined(__x86_64__)

#define TRAP_FLAG UINT64_C(0x100)

static struct stream *moving;
static uint64_t still;
static unsigned steps, most_steps;

/* After each instruction the sender has published once more. */
static void step(int number, siginfo_t *info, void *context) {
    ucontext_t *at_trap = context;

    (void) number, (void) info;
    steps++;
    if (steps < most_steps) {
        moving->tail = still + 16 * (1 + steps % 8);
    } else {
        moving->tail = still;
        at_trap->uc_mcontext.gregs[REG_EFL] &= ~(greg_t) TRAP_FLAG;
    }
}

static int begin_to_step(void) {
    __asm__ volatile("pushfq; orq %0, (%%rsp); popfq" : : "i"(TRAP_FLAG) : "cc", "memory");
    return 0;
}

/* A tail that never stands still says nothing; its sender has to end first. */
TEST(a_tail_that_does_not_stand_still) {
    struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_SIGINFO};
    tram_node *a = b_ended(2);
    uint64_t messages = 99;
    int fd = CHECK_OK(open(at(B, STREAM), O_RDWR | O_CLOEXEC));

    if (*test_sanitizer())
        SKIP("each instruction of a sanitizer is one, too");
    moving = mmap(NULL, LAYOUT_DATA, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(moving != MAP_FAILED);
    close(fd);
    still = moving->tail;
    CHECK_OK(sigaction(SIGTRAP, &action, NULL));
    most_steps = 1000000;
    fault_before("madvise", NULL, 1, begin_to_step);
    CHECK_ERR(purge(&messages), -EBUSY);
    CHECK_EQ(fault_done(), 1);
    most_steps = 0; /* the next trap ends it */
    __asm__ volatile("nop; nop");
    CHECK(strstr(said.text, "1.1.1.1 is held"));
    CHECK_EQ(moving->tail, still);
    steps = 0;
    most_steps = 500; /* it comes to rest */
    fault_before("madvise", NULL, 1, begin_to_step);
    CHECK_OK(purge(&messages));
    CHECK_EQ(fault_done(), 1);
    CHECK_EQ(messages, 2);
    munmap(moving, LAYOUT_DATA);
    expect_waiting(0);
    tram_close(a);
}

#endif

/* ---- tidying --------------------------------------------------------------------------------- */

static tram_id dead_sender;

static void send_and_die(void *arg) {
    static uint8_t block[30000];
    tram_node *a = open_node(*(tram_id *) arg);

    for (int i = 0; i < 2; i++)
        CHECK_OK(tram_send(a, B, 0, block, sizeof block, 0));
    _exit(0);
}

/* B has all that a dead process sent it. */
static tram_node *b_drained(tram_id from, struct peer **ret_peer) {
    tram_node *b = open_node(B);
    struct tram_msg msg;

    dead_sender = from;
    JOIN(test_fork(send_and_die, &dead_sender));
    for (int i = 0; i < 2; i++)
        CHECK_OK(tram_recv(b, &msg, kit_patience(5)));
    CHECK_OK(tram_done(b));
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    *ret_peer = peer_find(b, msg.from);
    return b;
}

static int tidy(tram_node *b, struct peer *peer) {
    return custody_tidy_sender(&b->bus, b->dir, peer->id, B, 4096, &peer->in->rx);
}

static uint64_t held(void) {
    struct stat st;

    CHECK_OK(stat(at(B, STREAM), &st));
    return (uint64_t) st.st_blocks * 512;
}

/* Refused by the machine it is said, and done the next time. */
TEST(tidied_while_calls_fail) {
    static const char *const functions[] = {"openat", "fstatat", "fstat", "pread", "mmap", "fcntl",
                                            "fsync", "fdatasync"};

    for (int on_disk = 0; on_disk < 2; on_disk++) {
        struct peer *peer;
        unsigned failed = 0;
        tram_node *b;

        if (on_disk)
            fault_disk();
        b = b_drained(A, &peer);
        CHECK(held() > 60000);
        code = ENOMEM;
        for (size_t f = 0; f < sizeof functions / sizeof functions[0]; f++) {
            for (unsigned n = 1; n <= 9; n++) {
                int rc;

                fault_before(functions[f], NULL, n, fail);
                rc = tidy(b, peer);
                failed += fault_done() > 0 && rc == -ENOMEM;
                CHECK(rc == 0 || rc == -ENOMEM);
            }
        }
        CHECK(failed >= 10);
        CHECK_OK(tidy(b, peer));
        CHECK(held() < 30000);
        tram_close(b);
        CHECK_OK(rm(true));
    }
}

TEST(what_is_not_tidied) {
    struct peer *peer;
    tram_node *b = b_drained(A, &peer);
    struct ring_rx before = peer->in->rx;
    uint64_t tail = peer->in->rx.words->tail;

    CHECK_ERR(custody_tidy_sender(&b->bus, b->dir, A, B, 4096, NULL), -EAGAIN); /* it is there */
    PUT(B, STREAM, struct stream, tail, 8); /* backwards */
    CHECK_ERR(tidy(b, peer), -EAGAIN);
    PUT(B, STREAM, struct stream, tail, tail);
    PUT(B, HEAD, struct head, head, 0); /* freed less than was committed */
    CHECK_OK(tidy(b, peer));
    CHECK(held() > 60000);
    PUT(B, HEAD, struct head, head, tail + 8); /* nonsense */
    CHECK_ERR(tidy(b, peer), -EBADMSG);
    PUT(B, HEAD, struct head, head, WORD_POSITION(tail));
    peer->in->rx = before;
    CHECK_OK(tidy(b, peer));
    CHECK(held() < 30000);
    tram_close(b);
}

/* An ephemeral sender is removed with its channel, or the next time. */
TEST(an_ephemeral_sender_that_cannot_be_removed) {
    static const char *const names[] = {".from-%s", "from-%s", "head-%s", "door"};
    struct peer *peer;
    tram_node *b = b_drained(TRAM_EPHEMERAL, &peer);
    char id[TRAM_ID_TEXT], name[FILES_NAME];

    (void) tram_id_format(peer->id, id);
    code = EIO;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        (void) snprintf(name, sizeof name, names[i], id);
#pragma GCC diagnostic pop
        fault_before("unlinkat", name, 1, fail);
        CHECK_ERR(tidy(b, peer), -EIO);
        CHECK_EQ(fault_done(), 1);
    }
    CHECK_EQ(tidy(b, peer), 1);
    CHECK(access(at(peer->id, NULL), F_OK) < 0);
    tram_close(b);
}

/* ---- set aside ------------------------------------------------------------------------------- */

static void take_and_die(void *arg) {
    tram_node *b = open_node(B);
    struct tram_msg msg;

    (void) arg;
    CHECK_OK(tram_recv(b, &msg, 0));
    _exit(0);
}

/* Whoever sleeps on his descriptor is rung for a message that is to be tried again. */
TEST(retried_for_a_sleeper) {
    for (int how = 0; how < 3; how++) { /* rung; refused; without a door */
        tram_node *a = open_node(A), *b;
        struct tram_msg msg;

        CHECK_OK(tram_send(a, B, 7, "message", 7, 0));
        JOIN(test_fork(take_and_die, NULL));
        b = open_node(B);
        CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
        CHECK_EQ(tram_aside_list(b, NULL, 0), 1);
        CHECK_OK(tram_fd(b));
        CHECK(tram_timeout(b) > 0);
        code = EMFILE;
        if (how == 1)
            fault_before("openat", "bell", 1, fail);
        if (how == 2)
            CHECK_OK(unlink(at(B, "door")));
        CHECK_OK(custody_retry(bus_path(), B, A, 1, &said));
        CHECK_EQ(fault_done(), how == 1);
        CHECK_EQ(rung(b), how == 0);
        if (how > 0) {
            tram_close(b);
            b = open_node(B);
        }
        CHECK_OK(tram_recv(b, &msg, 0));
        CHECK(msg.tag == 7 && msg.attempt == 2);
        CHECK_OK(tram_done(b));
        tram_close(b);
        tram_close(a);
        CHECK_OK(rm(true));
    }
}
