/* SPDX-License-Identifier: MIT
 * test: timeout=60 wrap label=notsan
 *
 * Sending, while its receiver frees, scribbles, is removed or cut short between two system calls
 * (support/fault.h); and what was staged or claimed when that happens.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "node/custody.h"
#include "node/node.h"
#include "support/fault.h"
#include "support/hostile.h"
#include "sys/lock.h"

#define A HOSTILE_A
#define B HOSTILE_B
#define C HOSTILE_C
#define BLOCK 992 /* a KiB in the ring */

static uint8_t block[1 << 17], large[2500000];
static tram_node *a, *b, *c;
static uint64_t got; /* by B */

static void open_both(void) {
    a = hostile_open(A);
    b = hostile_open(B);
}

static void close_all(void) {
    a = tram_close(a);
    b = tram_close(b);
    c = tram_close(c);
}

static int send_block(uint32_t flags) {
    return tram_send(a, B, 1, block, BLOCK, flags);
}

/* To the last byte, but for the link. */
static void fill_ring(void) {
    while (send_block(TRAM_NOWAIT) == 0)
        continue;
    while (tram_send(a, B, 1, "", 0, TRAM_NOWAIT) == 0)
        continue;
}

/* B takes all that there is, in order, and frees it. */
static int receive_all(void) {
    struct tram_msg msg;
    int rc;

    while ((rc = tram_recv(b, &msg, 0)) == 0)
        CHECK_EQ(msg.seq, ++got);
    CHECK_ERR(rc, -EAGAIN);
    return 0;
}

static int spoil_head(void) {
    struct head *head = hostile_map(B, "head-1.1.1.1", sizeof *head);

    __atomic_store_n(&head->head, 12, __ATOMIC_SEQ_CST);
    munmap(head, sizeof *head);
    return 0;
}

static void refused(int rc, int code, const char *said) {
    CHECK_ERR(rc, code);
    CHECK_EQ(tram_last_error(a)->code, code);
    CHECK_EQ(tram_last_error(a)->from, A);
    CHECK(strstr(kit_error(a), said));
}

/* B's directory goes, drained. */
static void remove_node(tram_node **node) {
    tram_id id = tram_node_id(*node);
    struct tram_error error;
    char path[300];

    snprintf(path, sizeof path, "%s/default", test_dir());
    *node = tram_close(*node);
    CHECK_OK(custody_rm(path, id, false, &error));
}

/* ---- a full ring ----------------------------------------------------------------------------- */

static void b_sleeps(void) {
    open_both();
    CHECK_OK(send_block(0));
    (void) receive_all();
    CHECK(tram_fd(b) >= 0);
    CHECK(tram_timeout(b) > 0);
}

/* What was staged is published when the ring is full, and that rings the receiver: who frees just
 * then has done so before the sender says that he waits. */
TEST(freed_as_it_is_rung) {
    b_sleeps();
    fault_before("write", NULL, 1, receive_all);
    for (int i = 0; i < 100; i++)
        CHECK_EQ(send_block(TRAM_MORE | TRAM_NOWAIT), TRAM_STAGED);
    CHECK_EQ(fault_done(), 1);
    CHECK_OK(tram_flush(a));
    (void) receive_all();
    CHECK_EQ(got, 101);
    close_all();
}

TEST(spoilt_as_it_is_rung) {
    int rc;

    b_sleeps();
    fault_before("write", NULL, 1, spoil_head);
    while ((rc = send_block(TRAM_MORE | TRAM_NOWAIT)) == TRAM_STAGED)
        continue;
    CHECK_EQ(fault_done(), 1);
    refused(rc, -ENOTRECOVERABLE, "nonsense");
    refused(send_block(0), -ENOTRECOVERABLE, "");
    close_all();
}

/* The same as the n-th look at the clock while a send waits: as it begins to spin, and as it has
 * spun and says that it waits. */
TEST(while_it_spins) {
    static const struct {
        unsigned n;
        int (*act)(void);
        int rc;
    } moments[] = {
        {2, receive_all, 0},
        {3, receive_all, 0},
        {2, spoil_head, -ENOTRECOVERABLE},
        {3, spoil_head, -ENOTRECOVERABLE},
    };
    struct iovec piece = {.iov_base = block, .iov_len = BLOCK};

    for (size_t i = 0; i < sizeof moments / sizeof moments[0]; i++) {
        open_both();
        got = 0;
        fill_ring();
        fault_before("clock_gettime", NULL, moments[i].n, moments[i].act);
        CHECK_EQ(tram_sendv(a, B, NULL, &piece, 1, 0, kit_patience(10)), moments[i].rc);
        CHECK_EQ(fault_done(), 1);
        if (moments[i].rc == 0)
            (void) receive_all();
        close_all();
        kit_remove_tree(test_dir());
        CHECK_OK(mkdir(test_dir(), 0700));
    }
}

static void *receive_later(void *arg) {
    (void) arg;
    for (int i = 0; i < 50; i++)
        kit_pause();
    (void) receive_all();
    return NULL;
}

/* Without end, or to its bound, and without a system call. */
TEST(spinning_for_ever) {
    struct iovec piece = {.iov_base = block, .iov_len = BLOCK};
    struct tram_options options = kit_options(65536, -1);
    pthread_t thread;

    options.ring_max = 65536;
    a = kit_open(NULL, A, &options);
    b = hostile_open(B);
    fill_ring();
    CHECK_ERR(tram_sendv(a, B, NULL, &piece, 1, 0, KIT_MS), -ETIMEDOUT);
    CHECK_EQ(pthread_create(&thread, NULL, receive_later, NULL), 0);
    CHECK_OK(send_block(0));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    (void) receive_all();
    CHECK_ERR(tram_wait(a, KIT_MS), -ETIMEDOUT);
    close_all();
}

static void knock(tram_id node) {
    struct door *door = hostile_map(node, "door", LAYOUT_DOOR);
    char path[512];
    int bell = CHECK_OK(open(hostile_path(path, node, "bell"), O_RDWR | O_NONBLOCK));

    for (unsigned i = 0; i < LAYOUT_BITS / 64; i++)
        __atomic_store_n(&door->bits[i], UINT64_MAX, __ATOMIC_SEQ_CST);
    CHECK_EQ(write(bell, "!", 1), 1);
    close(bell);
    munmap(door, LAYOUT_DOOR);
}

/* Who waits for space as an event, and would get an error, gets the event. */
TEST(spoilt_while_it_waits_for_an_event) {
    struct tram_event event;

    open_both();
    fill_ring();
    CHECK_EQ(tram_dispatch(a, &event), 0);
    knock(A);
    CHECK_EQ(tram_dispatch(a, &event), 0); /* for nothing */
    (void) spoil_head();
    knock(A);
    CHECK_EQ(tram_wait(a, kit_patience(5)), 1);
    CHECK_EQ(tram_dispatch(a, &event), 1);
    CHECK_EQ(event.type, TRAM_EVENT_SPACE);
    refused(send_block(0), -ENOTRECOVERABLE, "nonsense");
    CHECK(tram_fd(a) >= 0);
    while (tram_timeout(a) == 0)
        CHECK_EQ(tram_dispatch(a, &event), 0);
    fault_ahead(2 * KIT_S); /* a re-look passes over it */
    CHECK_EQ(tram_dispatch(a, &event), 0);
    close_all();
}

/* A wish that is not one to be rung for: it is heard with the next knock, and once. */
TEST(asked_for_memory_and_not_armed) {
    struct tram_event event;
    struct head *head;

    open_both();
    CHECK_OK(send_block(0));
    (void) receive_all();
    head = hostile_map(B, "head-1.1.1.1", sizeof *head);
    __atomic_store_n(&head->armed, 100 * ARMED_EPOCH | ARMED_TRIM, __ATOMIC_SEQ_CST);
    knock(A);
    CHECK_EQ(tram_dispatch(a, &event), 0);
    CHECK(peer_find(a, B)->out->asked);
    CHECK_EQ(peer_find(a, B)->out->tx.rung, 100 * ARMED_EPOCH | ARMED_TRIM);
    CHECK_OK(send_block(0));
    (void) receive_all();
    munmap(head, sizeof *head);
    close_all();
}

/* ---- staged, claimed, and then -------------------------------------------------------------- */

/* It was said when the channel was found spoilt: a flush publishes nothing, and says nothing. */
TEST(staged_in_a_spoilt_channel) {
    struct stream words;
    char path[512];
    int fd;

    open_both();
    CHECK_OK(send_block(0));
    CHECK_EQ(send_block(TRAM_MORE), TRAM_STAGED);
    (void) spoil_head();
    refused(tram_send(a, B, 1, block, 64000, 0), -ENOTRECOVERABLE, "nonsense");
    CHECK_OK(tram_flush(a));
    fd = CHECK_OK(open(hostile_path(path, B, "from-1.1.1.1"), O_RDONLY));
    CHECK_EQ(pread(fd, &words, sizeof words, 0), sizeof words);
    CHECK_EQ(words.accepted[words.tail & 1], 1);
    close(fd);
    close_all();
}

/* A flush says one error; who sends to the other one next is told then. */
TEST(staged_for_two_that_are_removed) {
    tram_id told;

    open_both();
    c = hostile_open(C);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(tram_send(a, B, 1, "x", 1, 0));
        CHECK_OK(tram_send(a, C, 1, "x", 1, 0));
    }
    (void) receive_all();
    CHECK_EQ(got, 2);
    for (struct tram_msg msg; tram_recv(c, &msg, 0) == 0;)
        continue;
    CHECK_EQ(tram_send(a, B, 1, "lost", 4, TRAM_MORE), TRAM_STAGED);
    CHECK_EQ(tram_send(a, C, 1, "lost", 4, TRAM_MORE), TRAM_STAGED);
    remove_node(&b);
    remove_node(&c);
    refused(tram_flush(a), -ESTALE, "removed");
    told = tram_last_error(a)->to;
    CHECK_OK(tram_send(a, told, 1, "x", 1, 0));
    refused(tram_send(a, told == B ? C : B, 1, "x", 1, 0), -ESTALE, "staged");
    CHECK_OK(tram_send(a, told == B ? C : B, 1, "x", 1, 0));
    got = 0;
    b = hostile_open(B);
    (void) receive_all();
    CHECK_EQ(got, 1);
    close_all();
}

/* A send that finds the receiver removed says so also of what was staged. */
TEST(staged_and_removed_before_more_is_sent) {
    open_both();
    CHECK_OK(send_block(0));
    (void) receive_all();
    CHECK_EQ(send_block(TRAM_MORE), TRAM_STAGED);
    remove_node(&b);
    refused(tram_send(a, B, 1, block, 64000, 0), -ESTALE, "removed");
    CHECK_OK(send_block(0));
    got = 0;
    b = hostile_open(B);
    (void) receive_all();
    CHECK_EQ(got, 1);
    close_all();
}

/* A claim is of a channel that was closed by what was staged before it. */
TEST(claimed_and_removed) {
    for (int commits = 0; commits < 2; commits++) {
        void *room;

        open_both();
        CHECK_OK(send_block(0));
        got = 0;
        (void) receive_all();
        CHECK_EQ(send_block(TRAM_MORE), TRAM_STAGED);
        CHECK_OK(tram_claim(a, B, 100, 0, &room));
        remove_node(&b);
        refused(tram_flush(a), -ESTALE, "removed");
        memset(room, 1, 100);
        if (commits)
            refused(tram_commit(a, B, NULL, 100, 0), -ESTALE, "closed");
        else
            CHECK_OK(tram_abort(a, B));
        CHECK_OK(send_block(0));
        b = hostile_open(B);
        got = 0;
        (void) receive_all();
        CHECK_EQ(got, 1);
        remove_node(&b);
        close_all();
    }
}

/* What was staged into a file that is cut is not accepted: said when it should be published. */
TEST(staged_in_a_file_that_is_cut) {
    char path[512];
    int rc;

    open_both();
    for (int i = 0; i < 50; i++)
        CHECK_EQ(send_block(TRAM_MORE), TRAM_STAGED);
    CHECK_OK(truncate(hostile_path(path, B, "from-1.1.1.1"), 4096));
    while ((rc = send_block(TRAM_MORE | TRAM_NOWAIT)) == TRAM_STAGED)
        continue;
    refused(rc, -ENOTRECOVERABLE, "cut");
    close_all();
}

/* ---- attaching ------------------------------------------------------------------------------- */

static int later(void) {
    fault_ahead(6 * KIT_S);
    return 0;
}

/* Somebody removes the receiver, and does not get on: he is waited for once in all. */
TEST(remover_at_the_first_message) {
    char path[512];
    int fd;

    open_both();
    b = tram_close(b);
    fd = CHECK_OK(open(hostile_path(path, B, "lock"), O_RDWR | O_CLOEXEC));
    CHECK_OK(sys_lock(fd, LOCK_PROXY));
    fault_before("clock_gettime", NULL, 10, later);
    refused(send_block(0), -ETIMEDOUT, "cannot make or map the channel");
    CHECK_EQ(fault_done(), 1);
    CHECK_EQ(tram_last_error(a)->to, B);
    refused(send_block(0), -ETIMEDOUT, "cannot make or map the channel");
    CHECK_OK(sys_unlock(fd, LOCK_PROXY));
    CHECK_OK(send_block(0));
    close(fd);
    b = hostile_open(B);
    (void) receive_all();
    CHECK_EQ(got, 1);
    close_all();
}

static unsigned refusals, pauses;

static int no_descriptor(void);

static int pause_between(void) {
    pauses++;
    fault_before("openat", "head-1.1.1.1", 1, no_descriptor);
    return 0;
}

static int no_descriptor(void) {
    if (++refusals == 5)
        return 0;
    fault_before("nanosleep", NULL, 1, pause_between);
    return EMFILE;
}

/* What a sender needs to take the bit off is refused for a while: it asks again, and not as fast as
 * it can. */
TEST(closed_and_no_descriptor_left) {
    struct head *head;

    open_both();
    CHECK_OK(send_block(0));
    receive_all();
    head = hostile_map(B, "head-1.1.1.1", sizeof *head);
    __atomic_store_n(&head->armed, (head->armed + ARMED_EPOCH) | ARMED_CLOSED, __ATOMIC_SEQ_CST);
    fault_before("openat", "head-1.1.1.1", 1, no_descriptor);
    CHECK_OK(send_block(0));
    fault_done();
    CHECK_EQ(refusals, 5);
    CHECK_EQ(pauses, 4);
    CHECK_EQ(head->armed & ARMED_CLOSED, 0);
    receive_all();
    CHECK_EQ(got, 2);
    munmap(head, sizeof *head);
    close_all();
}

static unsigned removed;

static int remove_head(void) {
    char path[512];

    removed += unlink(hostile_path(path, B, "head-1.1.1.1")) == 0;
    return 0;
}

TEST(made_and_removed_again_and_again) {
    open_both();
    fault_before("fstatat", "head-1.1.1.1", 0, remove_head);
    refused(send_block(0), -ESTALE, "again and again");
    CHECK(fault_done() >= 64);
    CHECK_EQ(removed, 64);
    CHECK_OK(send_block(0));
    (void) receive_all();
    CHECK_EQ(got, 1);
    close_all();
}

/* Streams that were grown out of and do not fit the newest: nothing is sent behind them. */
TEST(older_streams_that_do_not_fit) {
    static const off_t offsets[] = {
        -1, /* it is gone */
        offsetof(struct stream, id),
        offsetof(struct stream, base),
    };
    static const uint64_t far = UINT64_C(1) << 40;

    for (size_t i = 0; i < sizeof offsets / sizeof offsets[0]; i++) {
        struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
        char path[512];
        int fd;

        options.ring_max = 4 << 20;
        a = kit_open(NULL, A, &options);
        for (size_t size = 20000; size <= sizeof large; size *= 5) /* grows three times */
            CHECK_OK(tram_send(a, B, 1, large, size, 0));
        tram_close(a);
        fd = CHECK_OK(open(hostile_path(path, B, "from-1.1.1.1+2"), O_RDWR | O_CLOEXEC));
        if (offsets[i] < 0)
            CHECK_OK(unlink(path));
        else
            CHECK_EQ(pwrite(fd, &far, sizeof far, offsets[i]), sizeof far);
        close(fd);
        a = hostile_open(A);
        refused(send_block(0), -ENOTRECOVERABLE, "contradict");
        CHECK_EQ(tram_last_error(a)->to, B);
        a = tram_close(a);
        kit_remove_tree(test_dir());
        CHECK_OK(mkdir(test_dir(), 0700));
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

static int go_on(void) {
    return 0;
}

/* Which flags of the node, and which words of a layout, do what. */
TEST(pinned_and_locked) {
    static const struct {
        uint32_t flags;
        const char *words; /* of the layout; NULL: none */
        bool pinned, locked;
    } ways[] = {
        {0, NULL, false, false},
        {TRAM_OPEN_PREFAULT, NULL, true, false},
        {TRAM_OPEN_LOCK, NULL, true, true},
        {0, "", true, false},
        {0, "prefault", true, false},
        {0, "lock", true, true},
        {TRAM_OPEN_PREFAULT, "lock", true, true},
        {TRAM_OPEN_LOCK, "", true, true},
    };

    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
        char path[300];
        FILE *file;

        options.flags = ways[i].flags;
        snprintf(path, sizeof path, "%s/layout", test_dir());
        if (ways[i].words) {
            file = fopen(path, "we");
            CHECK(file && fprintf(file, "channel 1.1.1.1 1.1.1.2 size=64K %s\n",
                                  ways[i].words) > 0);
            fclose(file);
            options.layout = path;
        }
        fault_before("mlock", NULL, 0, go_on);
        a = kit_open(NULL, A, &options);
        CHECK_OK(send_block(0));
        CHECK_EQ(fault_done() > 0, ways[i].locked);
        CHECK_EQ(peer_find(a, B)->out->pinned, ways[i].pinned);
        CHECK((kit_memory(test_dir()) >= 65536) == ways[i].pinned);
        a = tram_close(a);
        kit_remove_tree(test_dir());
        CHECK_OK(mkdir(test_dir(), 0700));
    }
}

/* Light traffic gives memory back, but never what was pinned, nor while much waits. */
TEST(light_traffic) {
    for (int way = 0; way < 3; way++) {
        struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
        uint64_t most, least = UINT64_MAX;
        char path[512];

        options.flags = way == 1 ? TRAM_OPEN_PREFAULT : 0;
        options.keep = 4096;
        a = kit_open(NULL, A, &options);
        b = hostile_open(B);
        got = 0;
        fill_ring();
        (void) receive_all();
        most = kit_memory(hostile_path(path, B, NULL));
        CHECK(most > 65536);
        for (int i = 0; i < (way == 2 ? 7 : 30); i++) {
            uint64_t memory = kit_memory(path);

            least = memory < least ? memory : least;
            for (int k = 0; k < 8; k++)
                CHECK_OK(send_block(TRAM_NOWAIT));
            if (way < 2)
                (void) receive_all();
            fault_ahead(KIT_S);
        }
        if (way == 0)
            CHECK(least < most - 32768);
        else
            CHECK_EQ(least, most);
        close_all();
        kit_remove_tree(test_dir());
        CHECK_OK(mkdir(test_dir(), 0700));
    }
}
