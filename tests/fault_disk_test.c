/* SPDX-License-Identifier: MIT
 * test: timeout=240 wrap label=notsan
 *
 * A bus on a disk while one call after the other fails (support/fault_world.h), and what a restart
 * of the machine may leave besides torn records: words that contradict each other. The file system
 * is one in memory that is said to be a disk; disk_test and power_test have real ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "node/custody.h"
#include "node/disk.h"
#include "node/node.h"
#include "support/fault.h"
#include "support/fault_world.h"
#include "support/kit.h"

#define A FAULT_A
#define B FAULT_B
#define STREAM "from-1.1.1.1"
#define HEAD   "head-1.1.1.1"

static void run_all(const struct fault_scenario *scenarios, size_t count) {
    fault_disk();
    for (size_t i = 0; i < count; i++)
        fault_run(&scenarios[i]);
}

#define RUN(scenarios) run_all(scenarios, sizeof(scenarios) / sizeof((scenarios)[0]))

/* ---- files ----------------------------------------------------------------------------------- */

static const char *path_of(const char *name) {
    static char path[300];

    return kit_path(path, sizeof path, test_dir(), B, name);
}

static bool exists(const char *name) {
    return access(path_of(name), F_OK) == 0;
}

static void put_bytes(const char *name, size_t offset, const void *bytes, size_t size) {
    int fd = CHECK_OK(open(path_of(name), O_WRONLY | O_CLOEXEC));

    CHECK_EQ(pwrite(fd, bytes, size, (off_t) offset), (ssize_t) size);
    close(fd);
}

static uint64_t word(const char *name, size_t offset) {
    int fd = open(path_of(name), O_RDONLY | O_CLOEXEC);
    uint64_t value = 0;

    if (fd >= 0) {
        CHECK_EQ(pread(fd, &value, sizeof value, (off_t) offset), sizeof value);
        close(fd);
    }
    return value;
}

static void put_word(const char *name, size_t offset, uint64_t value) {
    put_bytes(name, offset, &value, sizeof value);
}

/* Whoever writes these files now did so in another life of the machine. */
static void restart_machine(void) {
    static const char *const streams[] = { STREAM, STREAM "+1", STREAM "+2",
                                           STREAM "+3" };
    uint64_t boot = word(HEAD, offsetof(struct head, boot));

    if (boot != 0)
        put_word(HEAD, offsetof(struct head, boot), boot ^ 4096);
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        boot = word(streams[i], offsetof(struct stream, boot));
        if (boot != 0)
            put_word(streams[i], offsetof(struct stream, boot), boot ^ 4096);
    }
}

/* ---- lives that end with the machine --------------------------------------------------------- */

struct life {
    struct fault_world *w;
    bool grown;
    uint64_t received; /* of which the last one is in hand */
};

static void live(void *arg) {
    const struct life *life = arg;
    struct fault_world *w = life->w;

    fault_open_both(w);
    fault_send_many(w, 5, 700);
    if (life->grown) {
        fault_send(w, 70000);
        fault_send_many(w, 2, 700);
        fault_send(w, 300000);
        fault_send_many(w, 3, 700);
    }
    fault_receive(w, life->received);
    _exit(0);
}

/* Five messages, or twelve in three streams. The same each time, so it is lived once. */
static void live_and_stop(struct fault_world *w, bool grown, uint64_t received) {
    struct life life = { w, grown, received };
    char bus[200], copy[200];

    snprintf(bus, sizeof bus, "%s/default", test_dir());
    snprintf(copy, sizeof copy, "%s/life-%d-%d", test_dir(), grown, (int) received);
    if (access(copy, F_OK) < 0) {
        JOIN(test_fork(live, &life));
        CHECK_OK(kit_copy_tree(bus, copy));
    } else {
        kit_remove_tree(bus);
        CHECK_OK(kit_copy_tree(copy, bus));
    }
    w->sent = grown ? 12 : 5;
    w->got = received - 1;
    w->again = w->sent;
    restart_machine();
}

static void stopped(struct fault_world *w) {
    live_and_stop(w, false, 2);
}

static void stopped_grown(struct fault_world *w) {
    live_and_stop(w, true, 2);
}

/* Where record `seq` of the small ones lies. */
static size_t place_of(uint64_t seq) {
    return LAYOUT_DATA + (seq - 1) * record_span(700);
}

/* The record of number 4 is not on the disk: it is the end. */
static void torn(struct fault_world *w) {
    stopped_grown(w);
    put_word(STREAM, place_of(4) + 200, 0);
    w->sent = w->again = 3;
}

/* A larger stream was made, and not linked. */
static void unlinked(struct fault_world *w) {
    struct stream_plan plan = { .from = A, .to = B, .generation = 1, .mode = 0600,
                                .capacity = 1 << 18, .base_seq = 5 };
    int dir;

    live_and_stop(w, false, 2);
    plan.id = word(STREAM, offsetof(struct stream, id));
    plan.boot = word(STREAM, offsetof(struct stream, boot));
    plan.base = WORD_POSITION(word(STREAM, offsetof(struct stream, tail))) + LINK_SPAN;
    dir = CHECK_OK(open(path_of(NULL), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    CHECK_OK(stream_make(dir, &plan, NULL));
    close(dir);
}

static int open_one(struct fault_world *w, tram_id id, tram_node **ret_node) {
    return fault_said(NULL, FAULTY(tram_open(NULL, id, &w->options, ret_node)));
}

static int open_a(struct fault_world *w) {
    return open_one(w, A, &w->a);
}

static int open_b(struct fault_world *w) {
    return open_one(w, B, &w->b);
}

/* If A could not take its channel over, it is repaired by the first message: then that is in doubt,
 * too. */
static void check_doubt(struct fault_world *w) {
    w->b = fault_open(w, B);
    if (tram_recv(w->b, &w->msg, 0) == 0) {
        fault_check_message(w, &w->msg);
    } else {
        fault_send(w, 700);
        w->again = w->sent;
        fault_receive(w, 1); /* takes it over */
    }
}

/* Who may not (EACCES is no moment's fault) has to open again. */
static void check_next_life(struct fault_world *w) {
    int rc = tram_recv(w->b, &w->msg, 0);

    if (rc == 0) {
        fault_check_message(w, &w->msg);
        return;
    }
    EXPECT(rc == -EBADMSG && fault_code() == EACCES);
    w->b = tram_close(w->b);
    w->b = fault_open(w, B);
}

TEST_TIMEOUT(repairing, 200) {
    static const struct fault_scenario scenarios[] = {
        { "open a receiver after a stop", stopped, open_b, 0, check_next_life },
        { "open a sender after a stop", stopped, open_a, 0, check_doubt },
        { "open a receiver after a stop, grown", stopped_grown, open_b, 0, check_next_life },
        { "open a sender after a stop, grown", stopped_grown, open_a, 0, check_doubt },
        { "open a receiver of a torn record", torn, open_b, 0, check_next_life },
    };

    RUN(scenarios);
}

/* ---- working on a disk ----------------------------------------------------------------------- */

static void nothing(struct fault_world *w) {
    (void) w;
}

static int send_small(struct fault_world *w) {
    return fault_try_send(w, 200, TRAM_NOWAIT);
}

/* What failed after it was accepted is not said to have failed before; and what may not be on the
 * disk may not be for good. */
static int send_durable(struct fault_world *w) {
    uint64_t number = w->sent + 1, accepted = 0;
    int rc = fault_said(w->a, FAULTY(tram_send(w->a, B, (uint32_t) number,
                                               fault_bytes(number, 200), 200,
                                               TRAM_NOWAIT | TRAM_DURABLE)));

    EXPECT_OK(tram_accepted(w->a, B, &accepted));
    EXPECT(accepted == number || (rc < 0 && accepted == w->sent));
    if (rc < 0 && accepted == number) {
        w->sent = number;
        EXPECT(strstr(kit_error(w->a), "disk"));
        number++;
        EXPECT(tram_send(w->a, B, (uint32_t) number, fault_bytes(number, 200), 200,
                         TRAM_DURABLE) == rc);
        rc = 0;
    }
    w->sent = accepted == number || rc == 0 ? number : w->sent;
    return rc;
}

static void three_staged(struct fault_world *w) {
    fault_open_both(w);
    for (int i = 0; i < 3; i++)
        EXPECT(fault_try_send(w, 100, TRAM_MORE) == TRAM_STAGED);
}

static int send_durable_behind(struct fault_world *w) {
    w->sent += w->staged; /* accepted, or nothing is */
    w->staged = 0;
    return send_durable(w);
}

static int send_large(struct fault_world *w) {
    return fault_try_send(w, 70000, TRAM_NOWAIT);
}

static int send_larger(struct fault_world *w) {
    return fault_try_send(w, 300000, TRAM_NOWAIT);
}

static void some_in_it(struct fault_world *w) {
    fault_open_both(w);
    fault_send_many(w, 3, 1000);
}

static void grown(struct fault_world *w) {
    some_in_it(w);
    fault_send(w, 70000);
}

static void grown_and_drained(struct fault_world *w) {
    grown(w);
    fault_receive(w, 4);
    EXPECT(tram_recv(w->b, &w->msg, 0) == -EAGAIN);
}

/* The next one goes where something was that is consumed. */
static void once_around(struct fault_world *w) {
    fault_open_both(w);
    fault_send_many(w, 6, 10000);
    fault_receive(w, 6);
    EXPECT_OK(tram_done(w->b));
    EXPECT(tram_recv(w->b, &w->msg, 0) == -EAGAIN);
}

static int send_around(struct fault_world *w) {
    return fault_try_send(w, 10000, TRAM_NOWAIT);
}

/* It has not moved since the last look. */
static void idle(struct fault_world *w) {
    w->options.keep = 4096;
    once_around(w);
    outs_trim(w->a, 0);
}

static int trim(struct fault_world *w) {
    FAULTY((outs_trim(w->a, 0), 0));
    return 0;
}

static void handed_out_too_often(struct fault_world *w) {
    w->options.attempts = 1;
    w->a = fault_open(w, A);
    fault_send_many(w, 3, 700);
    fault_die_with(w, 1);
    w->b = fault_open(w, B);
    w->got = 1; /* it is set aside */
}

/* Set aside and the next one, or once more. */
static int recv_setting_aside(struct fault_world *w) {
    int rc = fault_said(w->b, FAULTY(tram_recv(w->b, &w->msg, 0)));

    if (rc == 0 && w->msg.seq == 1)
        EXPECT(w->msg.attempt == 2 && tram_aside_list(w->b, NULL, 0) == 0);
    else if (rc == 0)
        fault_check_message(w, &w->msg);
    return rc;
}

static int close_a(struct fault_world *w) {
    w->a = FAULTY(tram_close(w->a)) ? w->a : NULL;
    return 0;
}

static int close_b(struct fault_world *w) {
    w->b = FAULTY(tram_close(w->b)) ? w->b : NULL;
    return 0;
}

TEST_TIMEOUT(working, 100) {
    static const struct fault_scenario scenarios[] = {
        { "open on a disk, the very first", nothing, open_a, 0, NULL },
        { "first send on a disk", fault_open_both, send_small, 0, NULL },
        { "durable send", some_in_it, send_durable, 0, NULL },
        { "durable send in a grown ring", grown, send_durable, 0, NULL },
        { "durable send behind staged ones", three_staged, send_durable_behind, 0, NULL },
        { "grow on a disk", some_in_it, send_large, 0, NULL },
        { "grow on a disk, drained", grown_and_drained, send_larger, 0, NULL },
        { "overwrite on a disk", once_around, send_around, 0, NULL },
        { "give back on a disk", idle, trim, 0, NULL },
        { "set aside on a disk", handed_out_too_often, recv_setting_aside, 0, NULL },
        { "close a sender on a disk", grown, close_a, 0, NULL },
        { "close a drained sender on a disk", grown_and_drained, close_a, 0, NULL },
        { "close a receiver on a disk", grown_and_drained, close_b, 0, NULL },
    };

    RUN(scenarios);
}

/* ---- words that contradict each other -------------------------------------------------------- */

/* What of the twelve messages comes, and what of others' files is nonsense. */
struct contradiction {
    const char *what;
    const char *file;
    size_t offset, size; /* size 0: the file is removed; 1: it is cut there */
    uint64_t value;
    uint64_t first, last; /* messages that come, 0: none */
    bool closed;
};

#define FIELD(type, name) offsetof(type, name), sizeof(((type *) 0)->name)

/* Twelve messages in three streams, of which the first was received. */
static void check_contradiction(const struct contradiction *that) {
    struct fault_world w = { .options = kit_options(65536, TRAM_NO_SPIN) };
    uint64_t expected = that->first;
    int rc;

    w.options.ring_max = 1 << 20;
    stopped_grown(&w);
    if (that->size == 0)
        CHECK_OK(unlink(path_of(that->file)));
    else if (that->size == 1)
        CHECK_OK(truncate(path_of(that->file), (off_t) that->offset));
    else
        put_bytes(that->file, that->offset, &that->value, that->size);
    w.b = fault_open(&w, B);
    while ((rc = tram_recv(w.b, &w.msg, 0)) == 0) {
        if (w.msg.tag != expected || expected > that->last)
            FAIL("%s: message %u", that->what, w.msg.tag);
        CHECK(w.msg.attempt > 1);
        CHECK_EQ(pattern_check(w.msg.data, w.msg.size, w.msg.tag), -1);
        expected++;
    }
    if (rc != (that->closed ? -EBADMSG : -EAGAIN) ||
        (that->first > 0 && expected != that->last + 1))
        FAIL("%s: %d, %s, %llu", that->what, rc, kit_error(w.b), (unsigned long long) expected);
    if (that->closed)
        CHECK_EQ(tram_last_error(w.b)->from, A);
    if (!that->closed) { /* and it goes on */
        w.a = fault_open(&w, A);
        CHECK_OK(tram_send(w.a, B, 77, "on", 2, 0));
        CHECK_OK(tram_recv(w.b, &w.msg, 0));
        CHECK_EQ(w.msg.tag, 77);
        CHECK_EQ(w.msg.attempt, 1);
        w.a = tram_close(w.a);
    }
    w.b = tram_close(w.b);
    kit_remove_tree(path_of(NULL));
}

TEST(contradictions) {
    static const struct contradiction all[] = {
        { "as it is", STREAM, FIELD(struct stream, zero2), 0, 2, 12, false },
        { "a head that is none", HEAD, FIELD(struct head, magic), 1, 0, 0, true },
        { "a head of another", HEAD, FIELD(struct head, from), B, 0, 0, true },
        { "a head to another", HEAD, FIELD(struct head, to), A, 0, 0, true },
        { "a head cut short", HEAD, 100, 1, 0, 0, 0, true },
        { "a first stream that is none", STREAM, FIELD(struct stream, magic), 1, 0, 0, true },
        { "a next stream that is none", STREAM "+1", FIELD(struct stream, magic), 1, 2, 5, false },
        { "a next stream behind a gap", STREAM "+1", FIELD(struct stream, base),
          UINT64_C(1) << 30, 2, 5, false },
        { "a next stream before the first", STREAM "+1", FIELD(struct stream, base), 8, 0, 0,
          true },
        { "a next stream of other numbers", STREAM "+1", FIELD(struct stream, base_seq), 9, 2, 5,
          false },
        { "a last stream that is none", STREAM "+2", FIELD(struct stream, from), B, 2, 8, false },
        { "a last stream cut short", STREAM "+2", 100, 1, 0, 2, 8, false },
        { "a last stream with too much in it", STREAM "+2", FIELD(struct stream, tail),
          UINT64_C(1) << 40, 2, 8, false },
        { "a first stream that was removed", STREAM, 0, 0, 0, 6, 12, false },
        { "a next stream that was lost", STREAM "+1", 0, 0, 0, 2, 5, false },
        { "a receiver who had nothing yet, they say", HEAD, FIELD(struct head, committed),
          UINT64_C(1) << 40, 0, 0, true },
        { "a receiver who freed too much", HEAD, FIELD(struct head, head), 2048, 2, 12, false },
    };

    fault_disk();
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        check_contradiction(&all[i]);
}

/* The receiver's words are younger than the stream's: what it says it had, it had. */
TEST(a_receiver_who_is_ahead) {
    const uint64_t words[] = { 1 << 20, 15, 15 };
    struct fault_world w = { .options = kit_options(65536, TRAM_NO_SPIN) };

    fault_disk();
    stopped_grown(&w);
    put_bytes(HEAD, offsetof(struct head, committed), words, sizeof words);
    w.b = fault_open(&w, B);
    CHECK_ERR(tram_recv(w.b, &w.msg, 0), -EAGAIN);
    w.a = fault_open(&w, A);
    CHECK_OK(tram_send(w.a, B, 77, "on", 2, 0));
    CHECK_OK(tram_recv(w.b, &w.msg, 0));
    CHECK_EQ(w.msg.seq, 16);
    CHECK_EQ(w.msg.attempt, 1);
    w.a = tram_close(w.a);
    w.b = tram_close(w.b);
}

static void grow_three_times(void *arg) {
    struct fault_world *w = arg;

    fault_open_both(w);
    fault_send(w, 70000);
    fault_send(w, 300000);
    fault_send(w, 1 << 20);
    fault_receive(w, 3);
    _exit(0);
}

/* Two were drained and removed, of which the younger is there again: what counts is the last. */
TEST(a_stream_that_is_there_again) {
    struct fault_world w = { .options = kit_options(65536, TRAM_NO_SPIN) };

    fault_disk();
    w.options.ring_max = 1 << 24;
    JOIN(test_fork(grow_three_times, &w));
    CHECK_OK(unlink(path_of(STREAM)));
    CHECK_OK(unlink(path_of(STREAM "+2")));
    restart_machine();
    w.b = fault_open(&w, B);
    CHECK_OK(tram_recv(w.b, &w.msg, 0));
    CHECK_EQ(w.msg.seq, 3);
    CHECK_EQ(w.msg.size, 1 << 20);
    CHECK_EQ(w.msg.attempt, 2);
    CHECK_EQ(pattern_check(w.msg.data, w.msg.size, 3), -1);
    CHECK(!exists(STREAM "+1"));
    w.b = tram_close(w.b);
}

/* A larger stream that was made and not linked goes on where the old one ends, or is none. */
TEST(an_unlinked_stream) {
    fault_disk();
    for (int fits = 0; fits < 2; fits++) {
        struct fault_world w = { .options = kit_options(65536, TRAM_NO_SPIN) };

        unlinked(&w);
        if (!fits)
            put_word(STREAM "+1", offsetof(struct stream, base), UINT64_C(1) << 30);
        w.b = fault_open(&w, B);
        CHECK_EQ(exists(STREAM "+1"), fits);
        fault_receive(&w, 4);
        CHECK_ERR(tram_recv(w.b, &w.msg, 0), -EAGAIN);
        w.a = fault_open(&w, A);
        w.again = 0;
        fault_send(&w, 700);
        fault_receive(&w, 1);
        w.a = tram_close(w.a);
        w.b = tram_close(w.b);
        kit_remove_tree(path_of(NULL));
    }
}

/* The receiver is beyond the first stream, which nobody needs to believe. */
TEST(stopped_beyond_a_link) {
    fault_disk();
    for (int sender = 0; sender < 2; sender++) {
        struct fault_world w = { .options = kit_options(65536, TRAM_NO_SPIN) };

        live_and_stop(&w, true, 7);
        put_word(STREAM, place_of(5) + 200, 0);
        if (sender)
            w.a = fault_open(&w, A);
        w.b = fault_open(&w, B);
        fault_receive(&w, 6);
        CHECK_ERR(tram_recv(w.b, &w.msg, 0), -EAGAIN);
        w.a = tram_close(w.a);
        w.b = tram_close(w.b);
        kit_remove_tree(path_of(NULL));
    }
}

/* Stopped twice: what waits since the first time is older than the second life, and good. */
static void open_and_stop(void *arg) {
    (void) fault_open(arg, B);
    _exit(0);
}

TEST(stopped_twice) {
    struct fault_world w = { .options = kit_options(65536, TRAM_NO_SPIN) };

    fault_disk();
    stopped_grown(&w);
    JOIN(test_fork(open_and_stop, &w));
    CHECK_EQ(word(STREAM "+2", offsetof(struct stream, life)), 1);
    restart_machine();
    w.b = fault_open(&w, B);
    CHECK_EQ(word(STREAM "+2", offsetof(struct stream, life)), 2);
    fault_receive(&w, 11);
    CHECK_ERR(tram_recv(w.b, &w.msg, 0), -EAGAIN);
    w.b = tram_close(w.b);
}

static void hold_and_close(void *arg) {
    struct fault_world *w = arg;

    fault_open_both(w);
    fault_send_many(w, 5, 700);
    EXPECT(tram_recv_batch(w->b, w->msgs, 3, TRAM_HOLD, 0) == 3);
    EXPECT_OK(tram_release(w->b, &w->msgs[2]));
    w->b = tram_close(w->b);
    _exit(0);
}

/* The receiver had ended in order, and had released out of order what was then lost: its number
 * means another message now. */
TEST(released_before_it_was_lost) {
    struct fault_world w = { .options = kit_options(65536, TRAM_NO_SPIN) };

    fault_disk();
    JOIN(test_fork(hold_and_close, &w));
    put_word(HEAD, offsetof(struct head, handed),
             word(HEAD, offsetof(struct head, committed))); /* as by a recovery */
    put_word(STREAM, place_of(3) + 200, 0);
    restart_machine();
    w.a = fault_open(&w, A);
    w.sent = w.again = 2;
    fault_send_many(&w, 2, 700); /* 3 and 4 again */
    w.b = fault_open(&w, B);
    w.again = 4; /* in doubt up to what had been accepted when the receiver came */
    for (uint64_t number = 1; number <= 4; number++) {
        CHECK_OK(tram_recv(w.b, &w.msg, 0));
        CHECK_EQ(w.msg.tag, number);
        CHECK_EQ(w.msg.seq, number);
        CHECK(number > 2 || w.msg.attempt > 1);
    }
    CHECK_ERR(tram_recv(w.b, &w.msg, 0), -EAGAIN);
    w.a = tram_close(w.a);
    w.b = tram_close(w.b);
}

static void release_and_close(void *arg) {
    struct fault_world *w = arg;

    fault_open_both(w);
    fault_send_many(w, 5, 700);
    EXPECT(tram_recv_batch(w->b, w->msgs, 3, TRAM_HOLD, 0) == 3);
    for (int i = 2; i >= 0; i--)
        EXPECT_OK(tram_release(w->b, &w->msgs[i]));
    w->b = tram_close(w->b);
    _exit(0);
}

/* It had, and was done with all of it: nothing is in doubt. */
TEST(released_out_of_order_and_done) {
    struct fault_world w = { .options = kit_options(65536, TRAM_NO_SPIN) };

    fault_disk();
    JOIN(test_fork(release_and_close, &w));
    restart_machine();
    w.b = fault_open(&w, B);
    w.sent = 5;
    w.got = 3;
    fault_receive(&w, 2); /* unmarked */
    CHECK_ERR(tram_recv(w.b, &w.msg, 0), -EAGAIN);
    w.b = tram_close(w.b);
}

/* What was closed in order is not repaired: files that changed since are nonsense. */
TEST(spoilt_after_an_orderly_end) {
    fault_disk();
    for (int cut = 0; cut < 2; cut++) {
        struct fault_world w = { .options = kit_options(65536, TRAM_NO_SPIN) };

        w.options.ring_max = 1 << 20;
        w.a = fault_open(&w, A);
        fault_send(&w, 700);
        fault_send(&w, 70000);
        w.a = tram_close(w.a);
        if (cut)
            CHECK_OK(truncate(path_of(STREAM), LAYOUT_DATA + 4096));
        else
            put_word(STREAM "+1", offsetof(struct stream, magic), 1);
        w.b = fault_open(&w, B);
        CHECK_ERR(tram_recv(w.b, &w.msg, 0), -EBADMSG);
        CHECK_EQ(tram_last_error(w.b)->from, A);
        w.b = tram_close(w.b);
        kit_remove_tree(path_of(NULL));
    }
}

/* ---- moments --------------------------------------------------------------------------------- */

/* Its sender runs, and will repair it; until then nobody else touches it. */
TEST(a_sender_that_runs_repairs_itself) {
    struct fault_world w = { .options = kit_options(65536, TRAM_NO_SPIN) };

    fault_disk();
    w.a = fault_open(&w, A);
    fault_send_many(&w, 5, 700);
    restart_machine(); /* files that it has open, and of which it knows nothing */
    w.b = fault_open(&w, B);
    CHECK_ERR(tram_recv(w.b, &w.msg, 0), -EAGAIN);
    CHECK(word(STREAM, offsetof(struct stream, boot)) != w.b->bus.boot);
    w.a = tram_close(w.a);
    w.a = fault_open(&w, A);
    fault_send(&w, 700);
    w.again = 0;
    CHECK_EQ(tram_wait(w.b, kit_patience(5)), 1);
    fault_receive(&w, 6);
    w.a = tram_close(w.a);
    w.b = tram_close(w.b);
}

static int remove_channel(void) {
    CHECK_OK(unlink(path_of(STREAM)));
    CHECK_OK(unlink(path_of(HEAD)));
    return 0;
}

/* Removed between a look at the names and at the words: it is not there, and no nonsense. */
TEST(gone_before_it_is_repaired) {
    fault_disk();
    for (int sender = 0; sender < 2; sender++) {
        struct fault_world w = { .options = kit_options(65536, TRAM_NO_SPIN) };
        tram_node **node = sender ? &w.a : &w.b;

        stopped(&w);
        fault_before("openat", STREAM, 1, remove_channel);
        *node = fault_open(&w, sender ? A : B);
        CHECK_EQ(fault_done(), 1);
        CHECK(sender || tram_recv(w.b, &w.msg, 0) == -EAGAIN);
        w.sent = w.got = w.again = 0;
        if (sender)
            w.b = fault_open(&w, B);
        else
            w.a = fault_open(&w, A);
        fault_send(&w, 700);
        fault_receive(&w, 1);
        w.a = tram_close(w.a);
        w.b = tram_close(w.b);
        kit_remove_tree(path_of(NULL));
    }
}

static int remove_head(void) {
    CHECK_OK(unlink(path_of(HEAD)));
    return 0;
}

/* The receiver is removed before what it freed is on the disk: that is found elsewhere. */
TEST(gone_before_it_is_settled) {
    struct fault_world w = { .options = kit_options(65536, TRAM_NO_SPIN) };

    fault_disk();
    w.options.ring_max = 1 << 20;
    once_around(&w);
    fault_before("openat", HEAD, 1, remove_head);
    fault_send(&w, 10000);
    CHECK_EQ(fault_done(), 1);
    fault_receive(&w, 1);
    w.a = tram_close(w.a);
    w.b = tram_close(w.b);
}
