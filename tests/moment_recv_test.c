/* SPDX-License-Identifier: MIT
 * test: timeout=60 wrap label=notsan
 *
 * Receiving, waiting and looking again, while a sender publishes, scribbles, is removed or dies
 * between two system calls (support/fault.h), and states that only such an order of things makes.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "node/node.h"
#include "support/fault.h"
#include "support/hostile.h"
#include "sys/bell.h"

#define A HOSTILE_A
#define B HOSTILE_B
#define C HOSTILE_C

static uint8_t block[1 << 17];
static tram_node *a, *b, *c;
static struct tram_msg msg, msgs[LAYOUT_WINDOW + 8];
static struct tram_event event;

static void open_all(void) {
    a = hostile_open(A);
    b = hostile_open(B);
    c = hostile_open(C);
}

static void close_all(void) {
    a = tram_close(a);
    b = tram_close(b);
    c = tram_close(c);
}

static void again(void) {
    close_all();
    kit_remove_tree(test_dir());
    CHECK_OK(mkdir(test_dir(), 0700));
}

static void send_many(tram_node *node, unsigned count) {
    while (count-- > 0)
        CHECK_OK(tram_send(node, B, 1, block, 8, 0));
}

static void receive_many(unsigned count) {
    while (count-- > 0)
        CHECK_OK(tram_recv(b, &msg, kit_patience(5)));
}

static void set_word(const char *name, size_t offset, uint64_t value) {
    uint64_t *words = hostile_map(B, name, offset + 8);

    __atomic_store_n(&words[offset / 8], value, __ATOMIC_SEQ_CST);
    munmap(words, offset + 8);
}

static int spoil_tail(void) {
    set_word("from-1.1.1.1", offsetof(struct stream, tail), 12345 * 8);
    return 0;
}

static int send_one(void) {
    send_many(a, 1);
    return 0;
}

static void closed(int rc, const char *said) {
    CHECK_ERR(rc, -EBADMSG);
    CHECK_EQ(tram_last_error(b)->from, A);
    CHECK_EQ(tram_last_error(b)->to, B);
    CHECK(strstr(kit_error(b), said));
    send_many(c, 1); /* and the others go on */
    receive_many(1);
    CHECK_EQ(msg.from, C);
}

static int refuse(void) {
    return EMFILE;
}

/* ---- on the way to sleep --------------------------------------------------------------------- */

/* A tail turns to nonsense after the last look: at the next one, which is that before the sleep, or
 * the first after it looked away from a sender that had much. */
TEST(spoilt_before_it_sleeps) {
    for (unsigned many = 1; many < 30; many += 20) {
        open_all();
        send_many(a, many);
        CHECK_EQ(tram_recv_batch(b, msgs, 100, 0, 0), (int) many);
        fault_before("clock_gettime", NULL, 1, spoil_tail);
        closed(tram_recv(b, &msg, KIT_S * 9 / 10), "tail"); /* before the re-look */
        CHECK_EQ(fault_done(), 1);
        again();
    }
}

/* Nobody rings: a re-look finds it, and says so as an event. */
TEST(spoilt_while_it_sleeps) {
    open_all();
    CHECK(tram_fd(b) >= 0);
    send_many(a, 1);
    receive_many(1);
    while (tram_timeout(b) == 0)
        CHECK_EQ(tram_dispatch(b, &event), 0);
    (void) spoil_tail();
    fault_ahead(2 * KIT_S);
    CHECK_EQ(tram_dispatch(b, &event), 1);
    CHECK_EQ(event.type, TRAM_EVENT_CLOSED);
    CHECK_EQ(event.peer, A);
    closed(tram_recv(b, &msg, 0), "tail");
    fault_ahead(40 * KIT_S); /* and a re-look passes over it */
    CHECK_EQ(tram_dispatch(b, &event), 0);
    close_all();
}

/* The receiver's words are cut while its node goes to sleep: that has to be said before. */
TEST(cut_before_it_sleeps) {
    char path[512];

    open_all();
    CHECK(tram_fd(b) >= 0);
    send_many(c, 1);
    send_many(a, 1);
    CHECK_EQ(tram_recv_batch(b, msgs, 10, 0, 0), 2);
    CHECK_OK(tram_done(b));
    CHECK_OK(truncate(hostile_path(path, B, "head-1.1.1.1"), 0));
    CHECK_EQ(tram_dispatch(b, &event), 0);
    CHECK_EQ(tram_dispatch(b, &event), 1);
    CHECK_EQ(event.type, TRAM_EVENT_CLOSED);
    closed(tram_recv(b, &msg, 0), "cut");
    close_all();
}

/* The longer nothing comes, the later is the next look, but never after half a minute. */
TEST(re_looks) {
    static const int64_t gaps[] = {1, 1, 2, 4, 8, 16, 30, 30, 30};

    b = hostile_open(B);
    CHECK(tram_timeout(b) > 0);
    CHECK_EQ(tram_dispatch(b, &event), 0); /* asleep, and nobody asked for a descriptor */
    CHECK(tram_fd(b) >= 0);
    for (size_t i = 0; i < sizeof gaps / sizeof gaps[0]; i++) {
        int64_t timeout = tram_timeout(b);

        CHECK(timeout <= gaps[i] * KIT_S);
        CHECK(timeout > (gaps[i] - 1) * KIT_S);
        fault_ahead(gaps[i] * KIT_S);
        CHECK_EQ(tram_dispatch(b, &event), 0);
    }
    close_all();
}

/* A directory that cannot be read is an error once, not the end of each wait; nor of the node. */
TEST(a_directory_that_cannot_be_read) {
    b = hostile_open(B);
    CHECK(tram_fd(b) >= 0);
    CHECK(tram_timeout(b) > 0);
    fault_before("openat", ".", 0, refuse);
    fault_ahead(2 * KIT_S);
    CHECK_EQ(tram_dispatch(b, &event), 0);
    CHECK_ERR(tram_recv(b, &msg, 0), -EMFILE);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    CHECK_ERR(tram_recv(b, &msg, KIT_MS), -ETIMEDOUT);
    CHECK(fault_done() >= 4);
    c = hostile_open(C);
    send_many(c, 1);
    receive_many(1);
    close_all();
}

/* ---- hot and quiet --------------------------------------------------------------------------- */

/* A waits for space, asleep, for a ring of which B holds the one message that is in it. */
static void a_waits_for_space(void) {
    open_all();
    send_many(c, 1);
    receive_many(1);
    CHECK_OK(tram_send(a, B, 1, block, 4000, 0));
    CHECK_EQ(tram_recv_batch(b, msgs, 1, TRAM_HOLD, 0), 1);
    CHECK_ERR(tram_send(a, B, 1, block, 62000, TRAM_NOWAIT), -EAGAIN);
    CHECK(tram_fd(a) >= 0);
    while (tram_timeout(a) == 0)
        CHECK_EQ(tram_dispatch(a, &event), 0);
}

/* Another one is hot, and A was looked at in vain for long. */
static void a_is_idle(void) {
    send_many(c, 1);
    receive_many(1);
    CHECK_EQ(msg.from, C);
    b->hot = peer_find(b, C)->in;
    peer_find(b, A)->in->idle = 1000;
    CHECK(peer_find(b, A)->in->hot_next != NULL);
    CHECK_OK(tram_release(b, &msgs[0]));
}

static int send_large(void) {
    CHECK_OK(tram_send(a, B, 2, block, 62000, TRAM_NOWAIT));
    return 0;
}

/* An idle channel is made quiet; its sender, who is rung for space just before, sends, or writes
 * nonsense: that is seen in the last look. */
TEST(sends_as_it_is_made_quiet) {
    a_waits_for_space();
    a_is_idle();
    fault_before("write", NULL, 1, send_large);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN); /* it had looked */
    CHECK_EQ(fault_done(), 1);
    CHECK(peer_find(b, A)->in->hot_next != NULL);
    CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_EQ(msg.from, A);
    CHECK_EQ(msg.tag, 2);
    close_all();
}

TEST(spoilt_as_it_is_made_quiet) {
    a_waits_for_space();
    a_is_idle();
    fault_before("write", NULL, 1, spoil_tail);
    closed(tram_recv(b, &msg, 0), "tail");
    CHECK_EQ(fault_done(), 1);
    close_all();
}

static bool rung(const tram_node *node) {
    return sys_wait_readable(node->bell, 0) > 0;
}

/* If the bell cannot be opened, the next who gives space rings it. */
TEST(a_bell_that_cannot_be_rung) {
    a_waits_for_space();
    fault_before("openat", "bell", 0, refuse);
    CHECK_OK(tram_release(b, &msgs[0]));
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    CHECK(fault_done() > 0);
    CHECK(!rung(a));
    peer_find(b, A)->in->rx.freed -= 8; /* as if there was more */
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    CHECK(rung(a));
    close_all();
}

/* ---- releasing ------------------------------------------------------------------------------- */

/* One message of A is in hand, and those that the last receive took, which the next one releases:
 * of these the application released one itself. */
TEST(released_twice) {
    open_all();
    send_many(a, 4);
    CHECK_EQ(tram_recv_batch(b, &msgs[0], 1, TRAM_HOLD, 0), 1);
    CHECK_EQ(tram_recv_batch(b, &msgs[1], 3, 0, 0), 3);
    CHECK_OK(tram_release(b, &msgs[2]));
    CHECK_ERR(tram_release(b, &msgs[2]), -ENOENT);
    CHECK_OK(tram_done(b));
    for (int i = 1; i < 4; i++)
        CHECK_ERR(tram_release(b, &msgs[i]), -ENOENT);
    CHECK_OK(tram_release(b, &msgs[0]));
    CHECK_EQ(peer_find(b, A)->in->done_seq, 4);
    close_all();
}

/* What is no message in hand: of nobody, of a node that only receives, of one of whom nothing is
 * held, of another channel, of another number. */
TEST(released_and_not_in_hand) {
    open_all();
    send_many(a, 2);
    send_many(c, 1);
    CHECK_EQ(tram_recv_batch(b, msgs, 1, TRAM_HOLD, 0), 1);
    msg = msgs[0];
    for (int i = 0; i < 4; i++) {
        static const tram_id from[] = {C + 1, B + 7, A, A};

        msg = msgs[0];
        msg.from = from[i] == A ? msgs[0].from : from[i];
        msg.stream += i == 2 ? UINT64_C(1) << 40 : 0;
        msg.seq += i == 3;
        CHECK_OK(tram_watch(b, B + 7));
        CHECK_ERR(tram_release(b, &msg), -ENOENT);
    }
    msg = msgs[0];
    msg.from = msgs[0].from == A ? C : A;
    CHECK_ERR(tram_release(b, &msg), -ENOENT); /* none of that one is held */
    CHECK_OK(tram_release(b, &msgs[0]));
    close_all();
}

/* The node sleeps, and a message of a quiet channel is released: it goes on sleeping. */
TEST(released_asleep) {
    open_all();
    CHECK(tram_fd(b) >= 0);
    send_many(a, 1);
    CHECK_EQ(tram_recv_batch(b, msgs, 1, TRAM_HOLD, 0), 1);
    while (tram_timeout(b) == 0)
        CHECK_EQ(tram_dispatch(b, &event), 0);
    CHECK(kit_asleep(test_dir(), B));
    CHECK_OK(tram_release(b, &msgs[0]));
    CHECK(kit_asleep(test_dir(), B));
    send_many(a, 1);
    receive_many(1);
    CHECK_EQ(msg.seq, 2);
    close_all();
}

static int announce(void) {
    hostile_announce(B);
    return 0;
}

/* A channel is made anew, all of whose messages were released, while the last receive's are still
 * to be; also behind those of another one. */
TEST(replaced_before_the_next_receive) {
    char path[512];

    open_all();
    send_many(c, 1);
    receive_many(1);
    send_many(a, 1);
    CHECK_EQ(tram_recv_batch(b, &msgs[0], 1, TRAM_HOLD, 0), 1);
    send_many(a, 1);
    send_many(c, 1);
    CHECK_EQ(tram_recv_batch(b, &msgs[1], 2, 0, 0), 2);
    for (int i = 0; i < 3; i++)
        if (msgs[i].from == A)
            CHECK_OK(tram_release(b, &msgs[i]));
    a = tram_close(a);
    CHECK_OK(unlink(hostile_path(path, B, "from-1.1.1.1")));
    CHECK_OK(unlink(hostile_path(path, B, "head-1.1.1.1")));
    a = hostile_open(A);
    send_many(a, 1);
    (void) announce();
    CHECK_EQ(tram_wait(b, kit_patience(5)), 1);
    receive_many(1);
    CHECK_EQ(msg.from, A);
    CHECK_EQ(msg.seq, 1);
    close_all();
}

/* A batch goes across a link, and nothing of it is noted one by one. */
TEST(a_batch_across_a_link) {
    open_all();
    send_many(a, 1);
    CHECK_OK(tram_send(a, B, 1, block, 70000, 0));
    send_many(a, 1);
    CHECK_EQ(tram_recv_batch(b, msgs, 3, 0, 0), 3);
    CHECK_EQ(msgs[2].seq, 3);
    CHECK_OK(tram_done(b));
    CHECK_EQ(peer_find(b, A)->in->done_seq, 3);
    close_all();
}

/* As many as there may be are in hand, of one receive: the next one releases them, so that more can
 * be had. If they are held, it cannot, and says so, also while somebody announces without end. */
TEST(as_many_as_may_be_in_hand) {
    for (int holds = 0; holds < 2; holds++) {
        open_all();
        CHECK(tram_fd(b) >= 0);
        send_many(a, LAYOUT_WINDOW + 1);
        CHECK_EQ(tram_recv_batch(b, msgs, LAYOUT_WINDOW, holds ? TRAM_HOLD : 0, 0),
                 LAYOUT_WINDOW);
        CHECK_EQ(tram_wait(b, 0), holds ? -ENOBUFS : 1);
        if (holds) {
            fault_before("openat", ".", 0, announce);
            (void) announce();
            CHECK_ERR(tram_recv(b, &msg, 0), -ENOBUFS);
            CHECK(fault_done() > 0);
        } else {
            CHECK_OK(tram_recv(b, &msg, 0));
            CHECK_EQ(msg.seq, LAYOUT_WINDOW + 1);
        }
        again();
    }
}

/* One is held in front of as many as there may be in all: it has to be released first. */
TEST(as_many_behind_one_that_is_held) {
    open_all();
    send_many(a, LAYOUT_WINDOW + 1);
    CHECK_EQ(tram_recv_batch(b, msgs, 1, TRAM_HOLD, 0), 1);
    CHECK_EQ(tram_recv_batch(b, &msgs[1], LAYOUT_WINDOW, 0, 0), LAYOUT_WINDOW - 1);
    CHECK_ERR(tram_wait(b, 0), -ENOBUFS);
    CHECK_OK(tram_release(b, &msgs[0]));
    CHECK_EQ(tram_wait(b, 0), 1);
    CHECK_OK(tram_recv(b, &msg, 0));
    CHECK_EQ(msg.seq, LAYOUT_WINDOW + 1);
    close_all();
}

/* ---- found in the directory ------------------------------------------------------------------ */

static int remove_channel(void) {
    char path[512];

    CHECK_OK(unlink(hostile_path(path, B, "from-1.1.1.1")));
    CHECK_OK(unlink(hostile_path(path, B, "head-1.1.1.1")));
    return 0;
}

/* A drained channel goes with its sender, just as it is taken over: that is nobody's fault, and
 * nothing is said. */
TEST(removed_as_it_is_taken_over) {
    open_all();
    send_many(a, 1);
    receive_many(1);
    b = tram_close(b);
    fault_before("openat", "from-1.1.1.1", 1, remove_channel);
    b = hostile_open(B);
    CHECK_EQ(fault_done(), 1);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    a = tram_close(a);
    a = hostile_open(A);
    send_many(a, 1);
    receive_many(1);
    CHECK_EQ(msg.seq, 1);
    close_all();
}

/* One of several streams that are all needed is gone: that is no removal. */
TEST(a_gap_between_streams) {
    struct tram_options options = kit_options(HOSTILE_RING, TRAM_NO_SPIN);
    static uint8_t large[2500000];
    char path[512];

    options.ring_max = 4 << 20;
    a = kit_open(NULL, A, &options);
    c = hostile_open(C);
    for (size_t size = 20000; size <= sizeof large; size *= 5)
        CHECK_OK(tram_send(a, B, 1, large, size, 0));
    CHECK_OK(unlink(hostile_path(path, B, "from-1.1.1.1+2")));
    b = hostile_open(B);
    closed(tram_recv(b, &msg, 0), "contradict");
    close_all();
}

/* Two streams, of which both are needed. */
static void in_two_streams(void) {
    open_all();
    send_many(a, 2);
    CHECK_OK(tram_send(a, B, 1, block, 70000, 0));
    CHECK_OK(tram_send(a, B, 1, block, 300, 0));
}

static void die_with_four(void *arg) {
    unsigned count = 0;

    (void) arg;
    b = hostile_open(B);
    while (count < 4)
        count += (unsigned) CHECK_OK(tram_recv_batch(b, msgs, 4, TRAM_HOLD, KIT_S));
    _exit(0);
}

/* What a dead process had in hand goes on in a stream that does not go on where it should. */
TEST(recovered_into_nonsense) {
    static const size_t offsets[] = {offsetof(struct stream, base),
                                     offsetof(struct stream, base_seq)};

    for (size_t i = 0; i < 2; i++) {
        in_two_streams();
        b = tram_close(b);
        JOIN(test_fork(die_with_four, NULL));
        set_word("from-1.1.1.1+1", offsets[i], i == 0 ? 1 << 20 : 1);
        b = hostile_open(B);
        closed(tram_recv(b, &msg, 0), "contradict");
        again();
    }
}

/* The last generation that there may be ends with a link. */
TEST(linked_to_nowhere) {
    struct record *record;
    struct stream *words;
    char from[512], to[512];

    open_all();
    send_many(a, 1);
    a = tram_close(a);
    b = tram_close(b);
    CHECK_OK(rename(hostile_path(from, B, "from-1.1.1.1"),
                    hostile_path(to, B, "from-1.1.1.1+16")));
    words = hostile_map(B, "from-1.1.1.1+16", LAYOUT_DATA + HOSTILE_RING);
    words->generation = LAYOUT_GENERATIONS - 1;
    record = (struct record *) (void *) ((uint8_t *) words + LAYOUT_DATA + record_span(8));
    *record = (struct record){.seq = 2, .from = A, .flags = RECORD_LINK};
    words->tail += sizeof *record;
    munmap(words, LAYOUT_DATA + HOSTILE_RING);
    b = hostile_open(B);
    receive_many(1);
    closed(tram_recv(b, &msg, 0), "next stream");
    close_all();
}

/* A message that was handed out too often, and lies in a file that is cut, is none to set aside. */
static void die_with_it(void *arg) {
    (void) arg;
    b = hostile_open(B);
    receive_many(1);
    _exit(0);
}

TEST(cut_before_it_is_set_aside) {
    struct tram_options options = kit_options(HOSTILE_RING, TRAM_NO_SPIN);
    char path[512];

    options.attempts = 1;
    a = hostile_open(A);
    c = hostile_open(C);
    CHECK_OK(tram_send(a, B, 1, block, 20000, 0));
    JOIN(test_fork(die_with_it, NULL));
    b = kit_open(NULL, B, &options);
    CHECK_OK(truncate(hostile_path(path, B, "from-1.1.1.1"), LAYOUT_DATA + 4096));
    closed(tram_recv(b, &msg, 0), "cut");
    CHECK_EQ(tram_aside_list(b, NULL, 0), 0);
    close_all();
}

/* What comes again comes alone, so not behind another's in a batch. */
TEST(again_behind_another) {
    a = hostile_open(A);
    send_many(a, 1);
    JOIN(test_fork(die_with_it, NULL));
    c = hostile_open(C);
    send_many(c, 1);
    b = hostile_open(B);
    b->hot = peer_find(b, C)->in;
    CHECK_EQ(tram_recv_batch(b, msgs, 10, 0, kit_patience(5)), 1);
    CHECK_EQ(msgs[0].from, C);
    CHECK_EQ(tram_recv_batch(b, msgs, 10, 0, kit_patience(5)), 1);
    CHECK_EQ(msgs[0].from, A);
    CHECK_EQ(msgs[0].attempt, 2);
    close_all();
}

/* A message that was set aside, and is tried again, is a copy: whatever becomes of the channel. */
TEST(a_retry_from_a_file_that_is_cut) {
    struct tram_options options = kit_options(HOSTILE_RING, TRAM_NO_SPIN);
    static uint8_t buffer[100];
    char path[512];

    options.attempts = 1;
    a = hostile_open(A);
    c = hostile_open(C);
    send_many(a, 1);
    JOIN(test_fork(die_with_it, NULL));
    b = kit_open(NULL, B, &options);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    CHECK_OK(tram_aside_retry(b, A, 1));
    CHECK_OK(truncate(hostile_path(path, B, "from-1.1.1.1"), 0));
    (void) *(volatile const uint64_t *) &peer_find(b, A)->in->rx.words->tail;
    CHECK_OK(tram_recv_copy(b, buffer, sizeof buffer, &msg, 0));
    CHECK_EQ(msg.seq, 1);
    CHECK_EQ(msg.attempt, 2);
    CHECK_EQ(msg.size, 8);
    CHECK_OK(tram_done(b));
    CHECK_EQ(tram_aside_list(b, NULL, 0), 0);
    close_all();
}

/* ---- tidied ---------------------------------------------------------------------------------- */

static void leave_ephemeral(void *arg) {
    tram_node *node = hostile_open(TRAM_EPHEMERAL);

    (void) arg;
    send_many(node, 1);
    _exit(0);
}

static unsigned ephemerals(void) {
    return kit_count_files(test_dir(), "from-24?.*") + kit_count_files(test_dir(), "from-25?.*");
}

static void re_look(void) {
    while (tram_timeout(b) == 0)
        CHECK_EQ(tram_dispatch(b, &event), 0);
    fault_ahead(10 * KIT_S);
    CHECK_EQ(tram_dispatch(b, &event), 0);
}

/* A drained channel of an ephemeral node that was killed goes at the second re-look; who it was is
 * known as long as something else is between them. */
TEST(an_ephemeral_sender_is_dead) {
    for (int way = 0; way < 3; way++) {
        b = hostile_open(B);
        CHECK(tram_fd(b) >= 0);
        JOIN(test_fork(leave_ephemeral, NULL));
        receive_many(1);
        CHECK_OK(tram_done(b));
        if (way == 1)
            CHECK_OK(tram_send(b, msg.from, 1, "x", 1, 0));
        if (way == 2)
            CHECK_OK(tram_watch(b, msg.from));
        for (int i = 0; i < 3; i++) {
            CHECK_EQ(ephemerals(), i < 2);
            re_look();
        }
        CHECK_EQ(ephemerals(), 0);
        CHECK_EQ(peer_find(b, msg.from) != NULL, way > 0);
        again();
    }
}

/* One that runs keeps it. */
TEST(an_ephemeral_sender_runs) {
    b = hostile_open(B);
    c = hostile_open(TRAM_EPHEMERAL);
    CHECK(tram_fd(b) >= 0);
    send_many(c, 1);
    receive_many(1);
    CHECK_OK(tram_done(b));
    for (int i = 0; i < 4; i++)
        re_look();
    CHECK_EQ(ephemerals(), 1);
    send_many(c, 1);
    receive_many(1);
    CHECK_EQ(msg.seq, 2);
    close_all();
}

/* A holds much memory, drained, and does nothing: it is asked for it, and sends just then, or
 * writes nonsense. */
TEST(asked_for_memory_as_it_sends) {
    struct tram_options options = kit_options(1 << 20, TRAM_NO_SPIN);

    for (int spoils = 0; spoils < 2; spoils++) {
        a = kit_open(NULL, A, &options);
        b = hostile_open(B);
        c = hostile_open(C);
        CHECK(tram_fd(b) >= 0);
        for (int i = 0; i < 6; i++)
            CHECK_OK(tram_send(a, B, 1, block, 100000, 0));
        receive_many(6);
        CHECK_OK(tram_done(b));
        re_look();
        fault_before("fcntl", NULL, 1, spoils ? spoil_tail : send_one);
        re_look();
        CHECK_EQ(fault_done(), 1);
        if (spoils) {
            closed(tram_recv(b, &msg, kit_patience(5)), "tail");
        } else {
            CHECK(peer_find(b, A)->in->hot_next != NULL); /* seen, not only rung for */
            receive_many(1);
            CHECK_EQ(msg.seq, 7);
        }
        again();
    }
}

static void send_and_end(void *arg) {
    struct tram_options options = kit_options(1 << 20, TRAM_NO_SPIN);

    a = kit_open(NULL, A, &options);
    for (int i = 0; i < (arg ? 6 : 1); i++)
        CHECK_OK(tram_send(a, B, 1, block, 100000, 0));
    _exit(0);
}

static int another_life(void) {
    JOIN(test_fork(send_and_end, NULL));
    return 0;
}

/* The same, of one that was killed; another life of it sends before we act for it. */
TEST(tidied_as_another_life_sends) {
    b = hostile_open(B);
    CHECK(tram_fd(b) >= 0);
    JOIN(test_fork(send_and_end, b));
    receive_many(6);
    CHECK_OK(tram_done(b));
    re_look();
    fault_before("openat", "1.1.1.1", 1, another_life);
    re_look();
    CHECK_EQ(fault_done(), 1);
    CHECK(peer_find(b, A)->in->hot_next != NULL);
    receive_many(1);
    CHECK_EQ(msg.seq, 7);
    close_all();
}

/* ---- known, closed, left --------------------------------------------------------------------- */

static void put(const char *prefix, tram_id from) {
    char name[64], id[TRAM_ID_TEXT];

    snprintf(name, sizeof name, "%s%s", prefix, tram_id_format(from, id));
    hostile_put(B, name, "", 0);
}

/* Several channels are closed at once, one of them an ephemeral node's: each is said once. */
TEST(closed_at_once) {
    static const tram_id ids[] = {A, A + 100, TRAM_EPHEMERAL + 9};
    unsigned said = 0;

    b = hostile_open(B);
    CHECK_OK(tram_send(b, C, 1, "x", 1, 0)); /* a peer that sends nothing */
    for (int i = 0; i < 3; i++) {
        put("head-", ids[i]);
        put("from-", ids[i]);
    }
    (void) announce();
    for (int i = 0; i < 3; i++) {
        CHECK_ERR(tram_recv(b, &msg, 0), -EBADMSG);
        for (unsigned k = 0; k < 3; k++)
            said |= (unsigned) (tram_last_error(b)->from == ids[k]) << k;
    }
    CHECK_EQ(said, 7);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    close_all();
}

/* A batch of two senders, and one that ends with nonsense: what comes next is right. */
TEST(batches) {
    open_all();
    send_many(a, 2);
    send_many(c, 1);
    CHECK_EQ(tram_recv_batch(b, msgs, 10, 0, 0), 3);
    send_many(a, 2);
    set_word("from-1.1.1.1", LAYOUT_DATA + 3 * record_span(8), 99);
    CHECK_EQ(tram_recv_batch(b, msgs, 10, 0, 0), 1);
    CHECK_EQ(msgs[0].seq, 3);
    closed(tram_recv(b, &msg, 0), "record");
    close_all();
}

/* What was received of a channel that is closed by now is released, also if its file was cut. */
TEST(closed_and_cut) {
    char path[512];

    open_all();
    send_many(a, 2);
    set_word("from-1.1.1.1", LAYOUT_DATA + record_span(8), 99);
    CHECK_EQ(tram_recv_batch(b, msgs, 10, 0, 0), 1);
    CHECK(peer_find(b, A)->in->broken);
    CHECK_OK(truncate(hostile_path(path, B, "head-1.1.1.1"), 0));
    CHECK_OK(tram_done(b));
    closed(tram_recv(b, &msg, 0), "record");
    close_all();
}

/* What is not whole, of ephemeral nodes that run, is left alone; so is a tail that is nonsense as
 * the receiver ends. */
TEST(remains_of_those_who_run) {
    tram_node *other = hostile_open(TRAM_EPHEMERAL);
    char id[TRAM_ID_TEXT], name[64], path[512];

    b = hostile_open(B);
    c = hostile_open(TRAM_EPHEMERAL);
    send_many(c, 1);
    receive_many(1);
    CHECK_OK(tram_watch(b, tram_node_id(other)));
    put(".head-", tram_node_id(c));
    put("head-", tram_node_id(other));
    put(".aside-", tram_node_id(other));
    (void) announce();
    send_many(c, 1);
    receive_many(1);
    CHECK_EQ(msg.from, tram_node_id(c));
    CHECK_OK(tram_done(b));
    snprintf(name, sizeof name, "head-%s", tram_id_format(tram_node_id(other), id));
    CHECK_OK(access(hostile_path(path, B, name), F_OK));
    snprintf(name, sizeof name, "from-%s", tram_id_format(tram_node_id(c), id));
    set_word(name, offsetof(struct stream, tail), 12345 * 8);
    b = tram_close(b);
    CHECK_OK(access(hostile_path(path, B, name), F_OK));
    tram_close(other);
    close_all();
}
