/* SPDX-License-Identifier: MIT
 * test: timeout=120 wrap label=notsan
 *
 * Opening, sending and closing while one call after the other fails (support/fault_world.h). Each
 * test is a group of scenarios; FAULT_ALL=1 tries every way in which each call can fail.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "node/custody.h"
#include "ring/layout.h"
#include "support/fault.h"
#include "support/fault_world.h"
#include "support/kit.h"

#define A FAULT_A
#define B FAULT_B
#define C FAULT_C

/* ---- opening --------------------------------------------------------------------------------- */

static int act_open(struct fault_world *w, tram_id id, tram_node **ret_node) {
    tram_node *node = NULL;
    int rc = fault_said(NULL, FAULTY(tram_open(NULL, id, &w->options, &node)));

    EXPECT((rc == 0) == (node != NULL));
    *ret_node = node;
    return rc;
}

static int open_a(struct fault_world *w) {
    return act_open(w, A, &w->a);
}

static int open_b(struct fault_world *w) {
    return act_open(w, B, &w->b);
}

static void nothing(struct fault_world *w) {
    (void) w;
}

static void group_mode(struct fault_world *w) {
    w->options.mode = 0660;
    snprintf(w->path, sizeof w->path, "%s/shared", test_dir());
    w->options.dir = w->path;
}

/* Whatever failed on the way: all that is there has the mode that was asked for. */
static void check_modes(struct fault_world *w) {
    static const char *const names[] = { "", "/1.1.1.1", "/1.1.1.1/door", "/1.1.1.1/lock",
                                         "/1.1.1.1/bell" };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char path[600];
        struct stat st;

        snprintf(path, sizeof path, "%s/default%s", w->path, names[i]);
        EXPECT(stat(path, &st) == 0);
        EXPECT((st.st_mode & 0666) == 0660);
    }
    w->a = tram_close(w->a);
    kit_remove_tree(w->path);
    w->options.dir = test_dir();
    w->options.mode = 0;
}

/* A has sent, and ended. */
static void sent_and_closed(struct fault_world *w) {
    w->a = fault_open(w, A);
    fault_send_many(w, 5, 1000);
    w->a = tram_close(w->a);
}

static void check_accepted(struct fault_world *w) {
    uint64_t accepted = 99;

    EXPECT_OK(tram_accepted(w->a, B, &accepted));
    EXPECT(accepted == w->sent);
}

/* Its ring has grown twice, and nothing of that is drained. */
static void grown_and_closed(struct fault_world *w) {
    w->a = fault_open(w, A);
    fault_send(w, 1000);
    fault_send(w, 70000);
    fault_send(w, 1000);
    fault_send(w, 300000);
    fault_send(w, 10);
    w->a = tram_close(w->a);
}

static void set_words(const char *name, off_t offset, const uint64_t *words, size_t size) {
    char path[300];
    int fd = CHECK_OK(open(kit_path(path, sizeof path, test_dir(), B, name), O_RDWR | O_CLOEXEC));

    CHECK_EQ(pwrite(fd, words, size, offset), (ssize_t) size);
    close(fd);
}

/* It died between making the larger stream and linking to it. */
static void grown_and_not_linked(struct fault_world *w) {
    const off_t tail = offsetof(struct stream, tail);
    const uint64_t end = record_span(1000);
    const uint64_t empty[] = { end + sizeof(struct record), 1, 1 };

    w->a = fault_open(w, A);
    fault_send(w, 1000);
    fault_send(w, 70000);
    w->a = tram_close(w->a);
    set_words("from-1.1.1.1", tail, &end, sizeof end);
    set_words("from-1.1.1.1", tail + 8, &empty[1], 16);
    set_words("from-1.1.1.1+1", tail, empty, sizeof empty);
    w->sent = 1;
}

static void in_hand_and_dead(struct fault_world *w) {
    w->a = fault_open(w, A);
    fault_send_many(w, 6, 500);
    fault_die_with(w, 3);
    w->again = 3;
}

/* What a dead process had in hand lies in two streams. */
static void in_hand_across_a_link(struct fault_world *w) {
    struct tram_msg msgs[3];

    w->a = fault_open(w, A);
    fault_send(w, 1000);
    w->b = fault_open(w, B);
    fault_receive(w, 1);
    EXPECT_OK(tram_done(w->b));
    fault_send(w, 1000);
    fault_send(w, 70000);
    for (int count = 0; count < 2;)
        count += EXPECT_OK(tram_recv_batch(w->b, msgs + count, 3 - count, TRAM_HOLD, 0));
    w->b = tram_close(w->b); /* holding them */
    w->again = 3;
}

/* C watches B. */
static void watched(struct fault_world *w) {
    w->c = fault_open(w, C);
    EXPECT_OK(tram_watch(w->c, B));
}

static void check_watched(struct fault_world *w) {
    struct tram_event event;

    /* Told, or to be told by the next life. */
    if (tram_wait(w->c, 0) == -EAGAIN) {
        w->b = tram_close(w->b);
        w->b = fault_open(w, B);
    }
    EXPECT(tram_wait(w->c, 0) == 1);
    EXPECT(tram_dispatch(w->c, &event) == 1);
    EXPECT(event.type == TRAM_EVENT_UP && event.peer == B);
}

static int open_ephemeral(struct fault_world *w) {
    return act_open(w, TRAM_EPHEMERAL, &w->c);
}

static unsigned count_ephemerals(void) {
    char path[300];

    snprintf(path, sizeof path, "%s/default", test_dir());
    return kit_count_files(path, "24?.*") + kit_count_files(path, "25?.*");
}

static void check_ephemeral_gone(struct fault_world *w) {
    EXPECT(count_ephemerals() == 3); /* lock, door, bell */
    w->c = tram_close(w->c);
    EXPECT(count_ephemerals() == 0);
}

static void leave_ephemeral(void *arg) {
    struct fault_world *w = arg;
    tram_node *node = fault_open(w, TRAM_EPHEMERAL);

    EXPECT_OK(tram_send(node, B, 1, fault_bytes(1, 100), 100, 0));
    EXPECT_OK(tram_send(node, tram_node_id(node), 1, "x", 1, 0));
    _exit(0);
}

static void dead_ephemeral(struct fault_world *w) {
    JOIN(test_fork(leave_ephemeral, w));
}

/* Its message is there, and of itself nothing stays. */
static void check_remains(struct fault_world *w) {
    struct tram_msg msg;

    EXPECT_OK(tram_recv(w->b, &msg, kit_patience(5)));
    EXPECT(msg.seq == 1 && pattern_check(msg.data, msg.size, 1) < 0);
    EXPECT_OK(tram_done(w->b));
    w->b = tram_close(w->b);
    w->b = fault_open(w, B);
    w->b = tram_close(w->b);
    EXPECT(count_ephemerals() == 0);
}

static void write_layout(struct fault_world *w, const char *text) {
    FILE *file;

    snprintf(w->path, sizeof w->path, "%s/layout", test_dir());
    file = fopen(w->path, "we");
    EXPECT(file && fputs(text, file) >= 0);
    fclose(file);
    w->options.layout = w->path;
}

static void planned(struct fault_world *w) {
    write_layout(w, "node 1.1.1.3\n"
                    "channel 1.1.1.1 1.1.1.2 size=128K prefault lock\n"
                    "channel 1.1.1.2 1.1.1.1 size=64K lock\n"
                    "channel 1.1.1.1 1.1.1.1 size=64K\n");
}

static void planned_and_there(struct fault_world *w) {
    planned(w);
    w->a = fault_open(w, A);
    fault_send(w, 100);
}

TEST_TIMEOUT(opening, 60) {
    static const struct fault_scenario scenarios[] = {
        { "open, the very first", nothing, open_a, 0, NULL },
        { "open for a group", group_mode, open_a, 0, check_modes },
        { "open a receiver", sent_and_closed, open_b, 0, NULL },
        { "open a sender", sent_and_closed, open_a, 0, check_accepted },
        { "open a receiver of a grown ring", grown_and_closed, open_b, 0, NULL },
        { "open a sender of a grown ring", grown_and_closed, open_a, 0, check_accepted },
        { "open a sender that did not link", grown_and_not_linked, open_a, 0, check_accepted },
        { "open, watched", watched, open_b, 0, check_watched },
    };

    FAULT_RUN(scenarios);
}

TEST_TIMEOUT(opening_after_death, 60) {
    static const struct fault_scenario scenarios[] = {
        { "open after a death", in_hand_and_dead, open_b, 0, NULL },
        { "open after a death, two streams", in_hand_across_a_link, open_b, 0, NULL },
        { "open with remains of a dead ephemeral", dead_ephemeral, open_b, 0, check_remains },
        { "open an ephemeral node", nothing, open_ephemeral, 0, check_ephemeral_gone },
    };

    FAULT_RUN(scenarios);
}

TEST_TIMEOUT(opening_with_a_layout, 60) {
    static const struct fault_scenario scenarios[] = {
        { "open a planned sender", planned, open_a, 0, NULL },
        { "open a planned receiver", planned_and_there, open_b, 0, NULL },
    };

    FAULT_RUN(scenarios);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void only_a(struct fault_world *w) {
    w->a = fault_open(w, A);
}

/* B is asleep in a loop of its own. */
static void b_sleeps(struct fault_world *w) {
    fault_open_both(w);
    fault_send(w, 10);
    fault_receive(w, 1);
    EXPECT_OK(tram_fd(w->b));
    EXPECT(tram_timeout(w->b) > 0);
}

static void b_sleeps_alone(struct fault_world *w) {
    fault_open_both(w);
    EXPECT_OK(tram_fd(w->b));
    EXPECT(tram_timeout(w->b) > 0);
}

static bool is_rung(struct fault_world *w) {
    struct pollfd entry = { .fd = tram_fd(w->b), .events = POLLIN };

    return poll(&entry, 1, 0) == 1;
}

/* Rung by the message, or by the next one. */
static void check_rung(struct fault_world *w) {
    if (!is_rung(w))
        fault_send(w, 10);
    EXPECT(is_rung(w));
}

struct unrung {
    int opened[2], asleep[2];
};

static int die_now(void) {
    _exit(0);
}

static void send_unrung(void *arg) {
    const struct unrung *unrung = arg;
    struct fault_world w = { .options = kit_options(65536, TRAM_NO_SPIN), .sent = 1 };
    char byte;

    w.options.dir = test_dir();
    w.a = fault_open(&w, A);
    EXPECT(write(unrung->opened[1], "", 1) == 1);
    EXPECT(read(unrung->asleep[0], &byte, 1) == 1);
    fault_before("write", NULL, 1, die_now);
    fault_send(&w, 100);
    FAIL("it did not ring");
}

/* B sleeps, A has published, and died before it rang. */
static void published_unrung(struct fault_world *w) {
    struct tram_event event;
    struct unrung unrung;
    char byte;
    pid_t child;

    b_sleeps(w);
    w->a = tram_close(w->a);
    EXPECT_OK(pipe(unrung.opened));
    EXPECT_OK(pipe(unrung.asleep));
    child = test_fork(send_unrung, &unrung);
    EXPECT(read(unrung.opened[0], &byte, 1) == 1);
    do /* the channel was announced */
        EXPECT(tram_dispatch(w->b, &event) == 0);
    while (tram_timeout(w->b) == 0 || is_rung(w));
    EXPECT(write(unrung.asleep[1], "", 1) == 1);
    JOIN(child);
    for (int i = 0; i < 2; i++) {
        close(unrung.opened[i]);
        close(unrung.asleep[i]);
    }
    EXPECT(!is_rung(w));
    w->sent++;
}

/* If not at once, when it is looked at again. */
static void check_resumed(struct fault_world *w) {
    struct tram_event event;

    if (!is_rung(w)) {
        EXPECT_OK(tram_fd(w->a));
        fault_ahead(2000 * KIT_MS);
        EXPECT(tram_dispatch(w->a, &event) == 0);
    }
    EXPECT(is_rung(w));
}

TEST_TIMEOUT(opening_after_a_death_before_the_bell, 60) {
    static const struct fault_scenario scenarios[] = {
        { "open a sender that did not ring", published_unrung, open_a, 0, check_resumed },
    };

    FAULT_RUN(scenarios);
}

static int send_small(struct fault_world *w) {
    return fault_try_send(w, 200, TRAM_NOWAIT);
}

static void both_locked(struct fault_world *w) {
    w->options.flags = TRAM_OPEN_LOCK;
    fault_open_both(w);
}

static void next_chunk(struct fault_world *w) {
    fault_open_both(w);
    fault_send(w, 8000);
}

static int send_chunk(struct fault_world *w) {
    return fault_try_send(w, 16000, TRAM_NOWAIT);
}

static void full(struct fault_world *w) {
    fault_open_both(w);
    fault_send_many(w, 6, 10000);
}

static int send_nowait(struct fault_world *w) {
    return fault_try_send(w, 10000, TRAM_NOWAIT);
}

static int send_bounded(struct fault_world *w) {
    struct iovec piece = { (void *) (uintptr_t) fault_bytes(w->sent + 1, 10000), 10000 };
    struct tram_meta meta = { .tag = (uint32_t) w->sent + 1, .layer = { 1 } };
    int rc = fault_said(w->a, FAULTY(tram_sendv(w->a, B, &meta, &piece, 1, 0, 2 * KIT_MS)));

    w->sent += rc == 0;
    return rc;
}

/* Space that is given back comes with an event, whatever failed before. */
static void check_space(struct fault_world *w) {
    struct tram_event event;

    EXPECT(tram_send(w->a, B, 0, fault_bytes(1, 10000), 10000, TRAM_NOWAIT) == -EAGAIN);
    fault_receive(w, 6);
    EXPECT_OK(tram_done(w->b));
    EXPECT(tram_recv(w->b, &w->msg, 0) == -EAGAIN);
    EXPECT(tram_dispatch(w->a, &event) == 1);
    EXPECT(event.type == TRAM_EVENT_SPACE && event.peer == B);
    EXPECT(send_nowait(w) == 0);
}

static void some_in_it(struct fault_world *w) {
    fault_open_both(w);
    fault_send_many(w, 3, 1000);
}

static int send_large(struct fault_world *w) {
    return fault_try_send(w, 70000, TRAM_NOWAIT);
}

static void staged(struct fault_world *w) {
    some_in_it(w);
    for (int i = 0; i < 2; i++)
        EXPECT(fault_try_send(w, 1000, TRAM_MORE) == TRAM_STAGED);
}

/* Of what was staged nothing is said by a send that fails: growing may have accepted it. */
static int send_large_behind(struct fault_world *w) {
    uint64_t number = w->sent + w->staged + 1;
    uint64_t accepted = 0;
    int rc = fault_said(w->a, FAULTY(tram_send(w->a, B, (uint32_t) number,
                                               fault_bytes(number, 70000), 70000, TRAM_NOWAIT)));

    EXPECT_OK(tram_accepted(w->a, B, &accepted));
    EXPECT(accepted == w->sent + w->staged + (rc == 0) ||
           (rc < 0 && (accepted == w->sent || accepted == w->sent + w->staged)));
    if (accepted > w->sent) {
        w->sent = accepted;
        w->staged = 0;
    }
    return rc;
}

static void grown(struct fault_world *w) {
    some_in_it(w);
    EXPECT(send_large(w) == 0);
}

static int send_larger(struct fault_world *w) {
    return fault_try_send(w, 300000, TRAM_NOWAIT);
}

/* The old stream is drained, and goes with the next send that looks. */
static void grown_and_drained(struct fault_world *w) {
    grown(w);
    fault_receive(w, 4);
    EXPECT(tram_recv(w->b, &w->msg, 0) == -EAGAIN);
}

/* Drained and with a larger one behind it, the old stream goes, at the latest when A ends. */
static void check_old_gone(struct fault_world *w) {
    char path[300];

    fault_receive(w, w->sent - w->got);
    EXPECT(tram_recv(w->b, &w->msg, 0) == -EAGAIN);
    w->a = tram_close(w->a);
    w->a = fault_open(w, A);
    w->a = tram_close(w->a);
    EXPECT(access(kit_path(path, sizeof path, test_dir(), B, "from-1.1.1.1+2"), F_OK) == 0);
    EXPECT(access(kit_path(path, sizeof path, test_dir(), B, "from-1.1.1.1+1"), F_OK) < 0);
}

TEST_TIMEOUT(first_messages, 60) {
    static const struct fault_scenario scenarios[] = {
        { "first send, nobody there", only_a, send_small, 0, NULL },
        { "first send", fault_open_both, send_small, 0, NULL },
        { "first send to one who sleeps", b_sleeps_alone, send_small, 0, check_rung },
        { "first send, locked", both_locked, send_small, 0, NULL },
        { "send to one who sleeps", b_sleeps, send_small, 0, check_rung },
        { "send into the next chunk", next_chunk, send_chunk, 0, NULL },
    };

    FAULT_RUN(scenarios);
}

TEST_TIMEOUT(full_rings, 60) {
    static const struct fault_scenario scenarios[] = {
        { "send into a full ring", full, send_nowait, -EAGAIN, check_space },
        { "send into a full ring, waiting", full, send_bounded, -ETIMEDOUT, check_space },
        { "grow", some_in_it, send_large, 0, NULL },
        { "grow with staged messages", staged, send_large_behind, 0, NULL },
        { "grow again", grown, send_larger, 0, NULL },
        { "grow when drained", grown_and_drained, send_larger, 0, check_old_gone },
    };

    FAULT_RUN(scenarios);
}

/* ---- other ways to send ---------------------------------------------------------------------- */

static int claim(struct fault_world *w) {
    void *data = w;
    int rc = fault_said(w->a, FAULTY(tram_claim(w->a, B, 20000, 0, &data)));

    EXPECT(rc == 0 || data == w);
    if (rc == 0) {
        struct tram_meta meta = { .tag = (uint32_t) w->sent + 1 };

        memcpy(data, fault_bytes(w->sent + 1, 9000), 9000);
        EXPECT_OK(tram_commit(w->a, B, &meta, 9000, 0));
        w->sent++;
    }
    return rc;
}

static void claimed_for_a_sleeper(struct fault_world *w) {
    void *data;

    b_sleeps(w);
    EXPECT_OK(tram_claim(w->a, B, 5000, 0, &data));
    memcpy(data, fault_bytes(w->sent + 1, 5000), 5000);
}

static int commit(struct fault_world *w) {
    struct tram_meta meta = { .tag = (uint32_t) w->sent + 1 };
    int rc = fault_said(w->a, FAULTY(tram_commit(w->a, B, &meta, 5000, 0)));

    w->sent += rc == 0;
    return rc;
}

static int give_up(struct fault_world *w) {
    return fault_said(w->a, FAULTY(tram_abort(w->a, B)));
}

static void staged_for_a_sleeper(struct fault_world *w) {
    b_sleeps(w);
    for (int i = 0; i < 3; i++)
        EXPECT(fault_try_send(w, 100, TRAM_MORE) == TRAM_STAGED);
}

static int flush(struct fault_world *w) {
    int rc = fault_said(w->a, FAULTY(tram_flush(w->a)));

    if (rc == 0) {
        w->sent += w->staged;
        w->staged = 0;
    }
    return rc;
}

static int stage_first(struct fault_world *w) {
    return fault_try_send(w, 100, TRAM_MORE);
}

/* C has sent to A what A forwards to B. */
static void in_hand_of_a(struct fault_world *w) {
    fault_open_both(w);
    w->c = fault_open(w, C);
    EXPECT_OK(tram_send(w->c, A, 1, fault_bytes(1, 3000), 3000, 0));
    EXPECT_OK(tram_recv(w->a, &w->msg, 0));
}

static int forward(struct fault_world *w) {
    int rc = fault_said(w->a, FAULTY(tram_forward(w->a, &w->msg, B, 0)));

    w->sent += rc == 0;
    return rc;
}

/* The receiver was removed, drained: what A holds of its channel is stale. */
static void just_removed(struct fault_world *w) {
    struct tram_error error;
    char path[300];

    fault_open_both(w);
    fault_send(w, 100);
    fault_receive(w, 1);
    EXPECT_OK(tram_done(w->b));
    w->b = tram_close(w->b);
    snprintf(path, sizeof path, "%s/default", test_dir());
    EXPECT_OK(custody_rm(path, B, false, &error));
    w->sent = w->got = 0; /* the next one begins a new channel */
}

/* A knows. */
static void removed(struct fault_world *w) {
    just_removed(w);
    EXPECT(tram_send(w->a, B, 1, "lost", 4, 0) == -ESTALE);
}

static void removed_while_staged(struct fault_world *w) {
    struct tram_error error;
    char path[300];

    fault_open_both(w);
    fault_send(w, 100);
    fault_receive(w, 1);
    EXPECT_OK(tram_done(w->b));
    w->b = tram_close(w->b);
    EXPECT(tram_send(w->a, B, 1, "lost", 4, TRAM_MORE) == TRAM_STAGED);
    snprintf(path, sizeof path, "%s/default", test_dir());
    EXPECT_OK(custody_rm(path, B, false, &error));
    w->sent = w->got = 0;
}

/* What was published into the ring of a node that is gone is accepted by nobody, and that is
 * said. */
static int flush_lost(struct fault_world *w) {
    return fault_said(w->a, FAULTY(tram_flush(w->a)));
}

TEST_TIMEOUT(other_ways_to_send, 60) {
    static const struct fault_scenario scenarios[] = {
        { "claim, the first", fault_open_both, claim, 0, NULL },
        { "claim", some_in_it, claim, 0, NULL },
        { "commit to one who sleeps", claimed_for_a_sleeper, commit, 0, check_rung },
        { "abort", claimed_for_a_sleeper, give_up, 0, NULL },
        { "stage the first", fault_open_both, stage_first, TRAM_STAGED, NULL },
        { "flush to one who sleeps", staged_for_a_sleeper, flush, 0, check_rung },
        { "forward, the first", in_hand_of_a, forward, 0, NULL },
    };

    FAULT_RUN(scenarios);
}

TEST_TIMEOUT(removed_receivers, 60) {
    static const struct fault_scenario scenarios[] = {
        { "send to one who was just removed", just_removed, send_small, -ESTALE, NULL },
        { "send to one who was removed", removed, send_small, 0, NULL },
        { "flush to one who was removed", removed_while_staged, flush_lost, -ESTALE, NULL },
    };

    FAULT_RUN(scenarios);
}

/* ---- closing --------------------------------------------------------------------------------- */

static int close_a(struct fault_world *w) {
    w->a = FAULTY(tram_close(w->a)) ? w->a : NULL;
    w->sent += w->staged; /* closing flushes */
    w->staged = 0;
    return 0;
}

static int close_b(struct fault_world *w) {
    w->b = FAULTY(tram_close(w->b)) ? w->b : NULL;
    return 0;
}

static int close_c(struct fault_world *w) {
    w->c = FAULTY(tram_close(w->c)) ? w->c : NULL;
    return 0;
}

/* Something is staged, much is drained, an old stream too, and it watches. */
static void much_to_close(struct fault_world *w) {
    fault_open_both(w);
    fault_send_many(w, 5, 10000);
    fault_send(w, 70000);
    EXPECT_OK(tram_watch(w->a, B));
    fault_receive(w, 6);
    EXPECT(tram_recv(w->b, &w->msg, 0) == -EAGAIN);
    EXPECT(fault_try_send(w, 100, TRAM_MORE) == TRAM_STAGED);
}

static void drained(struct fault_world *w) {
    fault_open_both(w);
    fault_send_many(w, 5, 10000);
    fault_receive(w, 5);
    EXPECT(tram_recv(w->b, &w->msg, 0) == -EAGAIN);
}

static void ephemeral(struct fault_world *w) {
    w->b = fault_open(w, B);
    w->c = fault_open(w, TRAM_EPHEMERAL);
    EXPECT_OK(tram_send(w->b, tram_node_id(w->c), 1, "x", 1, 0));
    EXPECT_OK(tram_recv(w->c, &w->msg, 0));
    EXPECT_OK(tram_watch(w->b, tram_node_id(w->c)));
}

/* What could not be removed is by the next ephemeral node that opens. */
static void check_next_cleans(struct fault_world *w) {
    w->c = fault_open(w, TRAM_EPHEMERAL);
    w->c = tram_close(w->c);
    EXPECT(count_ephemerals() == 0);
}

TEST_TIMEOUT(closing, 60) {
    static const struct fault_scenario scenarios[] = {
        { "close a sender", much_to_close, close_a, 0, NULL },
        { "close a receiver", much_to_close, close_b, 0, NULL },
        { "close when drained", drained, close_a, 0, NULL },
        { "close an ephemeral node", ephemeral, close_c, 0, check_next_cleans },
    };

    FAULT_RUN(scenarios);
}
