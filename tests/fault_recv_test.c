/* SPDX-License-Identifier: MIT
 * test: timeout=120 wrap label=notsan
 *
 * Receiving, waiting, asking and tidying while one call after the other fails; see
 * fault_send_test.c and support/fault_world.h.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "node/custody.h"
#include "observe/observe.h"
#include "support/fault.h"
#include "support/fault_world.h"
#include "support/kit.h"

#define A FAULT_A
#define B FAULT_B
#define C FAULT_C

/* ---- receiving ------------------------------------------------------------------------------- */

static void untouched(struct tram_msg *msg) {
    memset(msg, 0x5a, sizeof *msg);
}

static void expect_untouched(const struct tram_msg *msg) {
    struct tram_msg as_before;

    untouched(&as_before);
    EXPECT(memcmp(msg, &as_before, sizeof as_before) == 0);
}

static int recv_one(struct fault_world *w, int64_t timeout_ns) {
    int rc;

    untouched(&w->msg);
    rc = fault_said(w->b, FAULTY(tram_recv(w->b, &w->msg, timeout_ns)));
    if (rc == 0)
        fault_check_message(w, &w->msg);
    else
        expect_untouched(&w->msg);
    return rc;
}

static int recv_now(struct fault_world *w) {
    return recv_one(w, 0);
}

static int recv_bounded(struct fault_world *w) {
    return recv_one(w, 2 * KIT_MS);
}

static int recv_copied(struct fault_world *w) {
    static char buffer[100000];
    int rc;

    untouched(&w->msg);
    rc = fault_said(w->b, FAULTY(tram_recv_copy(w->b, buffer, sizeof buffer, &w->msg, 0)));
    if (rc == 0)
        fault_check_message(w, &w->msg);
    else
        expect_untouched(&w->msg);
    return rc;
}

/* Three, held; released in the end, last one first. */
static int recv_held(struct fault_world *w) {
    int rc = fault_said(w->b, FAULTY(tram_recv_batch(w->b, w->msgs, 3, TRAM_HOLD, 0)));

    for (int i = 0; i < rc; i++)
        fault_check_message(w, &w->msgs[i]);
    for (int i = rc - 1; i >= 0; i--)
        EXPECT_OK(tram_release(w->b, &w->msgs[i]));
    return rc > 0 ? 1 : rc;
}

static void announced(struct fault_world *w) {
    fault_open_both(w);
    EXPECT(tram_recv(w->b, &w->msg, 0) == -EAGAIN);
    fault_send_many(w, 3, 1000);
}

static void announced_to_sleeper(struct fault_world *w) {
    fault_open_both(w);
    EXPECT_OK(tram_fd(w->b));
    EXPECT(tram_timeout(w->b) > 0);
    fault_send_many(w, 3, 1000);
}

static void nothing_there(struct fault_world *w) {
    fault_open_both(w);
    fault_send(w, 10);
    fault_receive(w, 1);
}

static void nothing_there_with_fd(struct fault_world *w) {
    nothing_there(w);
    EXPECT_OK(tram_fd(w->b));
}

/* The next record is a link. */
static void before_a_link(struct fault_world *w) {
    fault_open_both(w);
    fault_send(w, 1000);
    fault_send(w, 70000);
    fault_receive(w, 1);
}

static void held_before_a_link(struct fault_world *w) {
    fault_open_both(w);
    fault_send(w, 1000);
    EXPECT(tram_recv_batch(w->b, w->msgs, 1, TRAM_HOLD, 0) == 1);
    w->got = 1;
    fault_send(w, 70000);
}

static void check_release_first(struct fault_world *w) {
    EXPECT_OK(tram_release(w->b, &w->msgs[0]));
}

static void three_held(struct fault_world *w) {
    fault_open_both(w);
    fault_send_many(w, 3, 1000);
    EXPECT(tram_recv_batch(w->b, w->msgs, 3, TRAM_HOLD, 0) == 3);
    w->got = 3;
}

static int release_last(struct fault_world *w) {
    return fault_said(w->b, FAULTY(tram_release(w->b, &w->msgs[2])));
}

static void check_release_rest(struct fault_world *w) {
    EXPECT_OK(tram_release(w->b, &w->msgs[0]));
    EXPECT_OK(tram_release(w->b, &w->msgs[1]));
    EXPECT(tram_release(w->b, &w->msgs[2]) == -ENOENT);
}

/* The sender waits for the space that comes with the next release, asleep in a loop. */
static void sender_waits(struct fault_world *w) {
    fault_open_both(w);
    fault_send_many(w, 6, 10000);
    EXPECT_OK(tram_fd(w->a));
    EXPECT(tram_send(w->a, B, 0, fault_bytes(1, 10000), 10000, TRAM_NOWAIT) == -EAGAIN);
    while (tram_timeout(w->a) == 0)
        EXPECT(tram_dispatch(w->a, &(struct tram_event){ 0 }) == 0);
    fault_receive(w, 6);
}

static int done(struct fault_world *w) {
    return fault_said(w->b, FAULTY(tram_done(w->b)));
}

/* The sender is rung now, or looks again after a second. */
static void check_space(struct fault_world *w) {
    struct tram_event event;

    EXPECT(tram_wait(w->a, kit_patience(5)) == 1);
    EXPECT(tram_dispatch(w->a, &event) == 1);
    EXPECT(event.type == TRAM_EVENT_SPACE);
}

TEST_TIMEOUT(receiving, 60) {
    static const struct fault_scenario scenarios[] = {
        { "receive the first", announced, recv_now, 0, NULL },
        { "receive the first in a loop", announced_to_sleeper, recv_now, 0, NULL },
        { "receive, nothing there", nothing_there, recv_bounded, -ETIMEDOUT, NULL },
        { "receive, nothing there, in a loop", nothing_there_with_fd, recv_now, -EAGAIN, NULL },
        { "receive a copy", announced, recv_copied, 0, NULL },
        { "receive and hold", announced, recv_held, 1, NULL },
        { "receive across a link", before_a_link, recv_now, 0, NULL },
        { "receive across a link, holding", held_before_a_link, recv_now, 0, check_release_first },
        { "release out of order", three_held, release_last, 0, check_release_rest },
        { "give space to one who waits", sender_waits, done, 0, check_space },
    };

    FAULT_RUN(scenarios);
}

/* ---- messages set aside ---------------------------------------------------------------------- */

/* The first of three was handed out as often as it may be. */
static void handed_out_too_often(struct fault_world *w) {
    w->options.attempts = 1;
    w->a = fault_open(w, A);
    fault_send_many(w, 3, 700);
    fault_die_with(w, 1);
    w->b = fault_open(w, B);
    w->got = 1; /* it is set aside */
}

static void is_aside(struct fault_world *w) {
    handed_out_too_often(w);
    fault_receive(w, 2);
    EXPECT_OK(tram_done(w->b));
}

static void check_aside(struct fault_world *w) {
    struct tram_aside aside;

    EXPECT(tram_aside_list(w->b, &aside, 1) == 1);
    EXPECT(aside.from == A && aside.seq == 1 && aside.size == 700 && aside.attempts == 1);
}

static int list_aside(struct fault_world *w) {
    struct tram_aside aside = { 0 };
    int rc = fault_said(w->b, FAULTY(tram_aside_list(w->b, &aside, 1)));

    EXPECT(rc != 1 || (aside.from == A && aside.seq == 1));
    return rc;
}

static int retry_aside(struct fault_world *w) {
    return fault_said(w->b, FAULTY(tram_aside_retry(w->b, A, 1)));
}

static void check_retried(struct fault_world *w) {
    struct tram_msg msg;
    uint64_t stream;

    EXPECT_OK(tram_recv(w->b, &msg, 0));
    EXPECT(msg.seq == 1 && msg.attempt == 2 && msg.size == 700);
    EXPECT(pattern_check(msg.data, msg.size, 1) < 0);
    stream = msg.stream;
    EXPECT_OK(tram_done(w->b));
    EXPECT(tram_aside_list(w->b, NULL, 0) == 0);
    fault_send(w, 10);
    EXPECT_OK(tram_recv(w->b, &msg, 0));
    EXPECT(msg.stream == stream);
    fault_check_message(w, &msg);
}

static int drop_aside(struct fault_world *w) {
    return fault_said(w->b, FAULTY(tram_aside_drop(w->b, A, 1)));
}

static void check_dropped(struct fault_world *w) {
    EXPECT(tram_aside_list(w->b, NULL, 0) == 0);
    EXPECT(tram_aside_drop(w->b, A, 1) == -ENOENT);
}

static void to_be_retried(struct fault_world *w) {
    is_aside(w);
    EXPECT_OK(tram_aside_retry(w->b, A, 1));
}

static int recv_retried(struct fault_world *w) {
    int rc;

    untouched(&w->msg);
    rc = fault_said(w->b, FAULTY(tram_recv(w->b, &w->msg, 0)));
    if (rc < 0) {
        expect_untouched(&w->msg);
        return rc;
    }
    EXPECT(w->msg.seq == 1 && w->msg.size == 700 && w->msg.attempt >= 2);
    EXPECT(pattern_check(w->msg.data, 700, 1) < 0);
    return rc;
}

static void check_released(struct fault_world *w) {
    EXPECT_OK(tram_done(w->b));
    EXPECT(tram_aside_list(w->b, NULL, 0) == 0);
}

static void retried_and_held(struct fault_world *w) {
    to_be_retried(w);
    EXPECT(tram_recv_batch(w->b, w->msgs, 1, TRAM_HOLD, 0) == 1);
}

static int release_first(struct fault_world *w) {
    return fault_said(w->b, FAULTY(tram_release(w->b, &w->msgs[0])));
}

TEST_TIMEOUT(set_aside, 60) {
    static const struct fault_scenario scenarios[] = {
        { "list set-aside messages", is_aside, list_aside, 1, check_aside },
        { "retry", is_aside, retry_aside, 0, check_retried },
        { "drop", is_aside, drop_aside, 0, check_dropped },
        { "receive a retried one", to_be_retried, recv_retried, 0, check_released },
        { "release a retried one", retried_and_held, release_first, 0, check_released },
    };

    FAULT_RUN(scenarios);
}

/* The receive either sets it aside and hands out the next, or hands it out once more. */
static int recv_setting_aside(struct fault_world *w) {
    int rc;

    untouched(&w->msg);
    rc = fault_said(w->b, FAULTY(tram_recv(w->b, &w->msg, 0)));
    if (rc < 0) {
        expect_untouched(&w->msg);
    } else if (w->msg.seq == 1) {
        EXPECT(w->msg.attempt == 2 && pattern_check(w->msg.data, 700, 1) < 0);
        EXPECT(tram_aside_list(w->b, NULL, 0) == 0);
    } else {
        fault_check_message(w, &w->msg);
        EXPECT(tram_aside_list(w->b, NULL, 0) == 1);
    }
    return rc;
}

TEST(setting_aside) {
    static const struct fault_scenario scenarios[] = {
        { "set aside", handed_out_too_often, recv_setting_aside, 0, NULL },
    };

    FAULT_RUN(scenarios);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static int get_fd(struct fault_world *w) {
    int rc = fault_said(w->b, FAULTY(tram_fd(w->b)));

    return rc < 0 ? rc : 0;
}

static int get_timeout(struct fault_world *w) {
    return FAULTY(tram_timeout(w->b)) > 0;
}

static int wait_bounded(struct fault_world *w) {
    return fault_said(w->b, FAULTY(tram_wait(w->b, 2 * KIT_MS)));
}

static int dispatch(struct fault_world *w) {
    struct tram_event event;

    return fault_said(w->b, FAULTY(tram_dispatch(w->b, &event)));
}

static int watch(struct fault_world *w) {
    return fault_said(w->b, FAULTY(tram_watch(w->b, A)));
}

/* However it was noticed that A is up: the event comes, and one that says that it is gone. */
static void check_watching(struct fault_world *w) {
    struct tram_event event;

    EXPECT(tram_wait(w->b, kit_patience(5)) == 1);
    EXPECT(tram_dispatch(w->b, &event) == 1);
    EXPECT(event.type == TRAM_EVENT_UP && event.peer == A && event.pid == getpid());
    w->a = tram_close(w->a);
    EXPECT(tram_wait(w->b, kit_patience(5)) == 1);
    EXPECT(tram_dispatch(w->b, &event) == 1);
    EXPECT(event.type == TRAM_EVENT_DOWN && event.peer == A);
    EXPECT_OK(tram_unwatch(w->b, A));
}

static void watching(struct fault_world *w) {
    struct tram_event event;

    fault_open_both(w);
    EXPECT_OK(tram_watch(w->b, A));
    EXPECT(tram_dispatch(w->b, &event) == 1);
}

static int unwatch(struct fault_world *w) {
    return fault_said(w->b, FAULTY(tram_unwatch(w->b, A)));
}

static void check_no_event(struct fault_world *w) {
    struct tram_event event;

    w->a = tram_close(w->a);
    EXPECT(tram_dispatch(w->b, &event) == 0);
}

/* A ended, and opens again, before B looks. */
static void came_back(struct fault_world *w) {
    watching(w);
    w->a = tram_close(w->a);
    w->a = fault_open(w, A);
}

/* What this dispatch did not tell is told by the next ones. */
static int dispatch_down(struct fault_world *w) {
    struct tram_event event;
    int rc = fault_said(w->b, FAULTY(tram_dispatch(w->b, &event)));

    if (rc == 0)
        rc = tram_dispatch(w->b, &event);
    EXPECT(rc < 0 || (rc == 1 && event.type == TRAM_EVENT_DOWN && event.peer == A));
    return rc;
}

static void check_up(struct fault_world *w) {
    struct tram_event event;

    EXPECT(tram_wait(w->b, kit_patience(5)) == 1);
    EXPECT(tram_dispatch(w->b, &event) == 1);
    EXPECT(event.type == TRAM_EVENT_UP && event.peer == A);
}

/* Idle for long enough, A gives back what its ring holds. */
static void idle_with_memory(struct fault_world *w) {
    int64_t end;

    w->options.keep = 4096;
    fault_open_both(w);
    EXPECT_OK(tram_fd(w->a));
    fault_send_many(w, 5, 10000);
    fault_receive(w, 5);
    EXPECT(tram_recv(w->b, &w->msg, 0) == -EAGAIN);
    EXPECT(dispatch(w) == 0);
    (void) tram_dispatch(w->a, &(struct tram_event){ 0 });
    end = kit_now() + 110 * KIT_MS;
    while (kit_now() < end)
        kit_pause();
}

static int dispatch_a(struct fault_world *w) {
    struct tram_event event;

    return fault_said(w->a, FAULTY(tram_dispatch(w->a, &event)));
}

TEST_TIMEOUT(waiting, 100) {
    static const struct fault_scenario scenarios[] = {
        { "fd", fault_open_both, get_fd, 0, NULL },
        { "timeout", nothing_there_with_fd, get_timeout, 1, NULL },
        { "wait", nothing_there, wait_bounded, -ETIMEDOUT, NULL },
        { "wait for the first", announced, wait_bounded, 1, NULL },
        { "dispatch", nothing_there_with_fd, dispatch, 0, NULL },
        { "give memory back", idle_with_memory, dispatch_a, 0, NULL },
    };

    FAULT_RUN(scenarios);
}

TEST_TIMEOUT(watching_peers, 100) {
    static const struct fault_scenario scenarios[] = {
        { "watch", fault_open_both, watch, 0, check_watching },
        { "unwatch", watching, unwatch, 0, check_no_event },
        { "dispatch a watched end", came_back, dispatch_down, 1, check_up },
    };

    FAULT_RUN(scenarios);
}

/* ---- questions ------------------------------------------------------------------------------- */

static void two_wait(struct fault_world *w) {
    fault_open_both(w);
    fault_send_many(w, 5, 100);
    fault_receive(w, 3);
    EXPECT_OK(tram_done(w->b));
    EXPECT(tram_recv(w->b, &w->msg, 0) == 0);
    fault_check_message(w, &w->msg);
    w->a = tram_close(w->a);
    w->a = fault_open(w, A);
}

static int ask_peer(struct fault_world *w) {
    struct tram_peer peer;
    int rc = fault_said(w->b, FAULTY(tram_peer(w->b, A, &peer)));

    if (rc == 0) {
        EXPECT(peer.state == TRAM_PEER_UP && peer.pid == getpid());
        EXPECT(peer.from.accepted == 5 && peer.from.consumed == 3);
        EXPECT(peer.to.accepted == 0);
    }
    return rc;
}

static int ask_accepted(struct fault_world *w) {
    uint64_t count = 99;
    int rc = fault_said(w->a, FAULTY(tram_accepted(w->a, C, &count)));

    EXPECT(count == (rc < 0 ? 99 : 0));
    return rc;
}

TEST_TIMEOUT(questions, 60) {
    static const struct fault_scenario scenarios[] = {
        { "peer", two_wait, ask_peer, 0, NULL },
        { "accepted, without a channel", fault_open_both, ask_accepted, 0, NULL },
    };

    FAULT_RUN(scenarios);
}

/* ---- acting for others ----------------------------------------------------------------------- */

static struct tram_error said;

static int said_by_tool(int rc) {
    if (rc < 0) {
        EXPECT(said.code == rc);
        EXPECT(said.text[0] != '\0');
    }
    return rc;
}

static const char *bus_path(struct fault_world *w) {
    snprintf(w->path, sizeof w->path, "%s/default", test_dir());
    return w->path;
}

static int rm_b(struct fault_world *w) {
    return said_by_tool((int) FAULTY(custody_rm(bus_path(w), B, false, &said)));
}

static int rm_b_by_force(struct fault_world *w) {
    return said_by_tool((int) FAULTY(custody_rm(bus_path(w), B, true, &said)));
}

static void b_drained_and_closed(struct fault_world *w) {
    fault_open_both(w);
    EXPECT_OK(tram_send(w->b, A, 1, "x", 1, 0));
    EXPECT_OK(tram_recv(w->a, &w->msg, 0));
    EXPECT_OK(tram_done(w->a));
    fault_send_many(w, 4, 1000);
    fault_receive(w, 4);
    EXPECT_OK(tram_done(w->b));
    EXPECT_OK(tram_watch(w->a, B));
    w->b = tram_close(w->b);
}

/* Nothing of it is left, and A makes its channel anew. */
static void check_removed(struct fault_world *w) {
    char path[300];

    uint64_t accepted = 99;

    EXPECT(access(kit_path(path, sizeof path, test_dir(), B, NULL), F_OK) < 0);
    EXPECT_OK(tram_accepted(w->a, B, &accepted));
    EXPECT(accepted == 0);
    EXPECT(tram_send(w->a, B, 1, "lost", 4, 0) == -ESTALE);
    w->sent = w->got = 0;
}

static void b_closed_with_messages(struct fault_world *w) {
    fault_open_both(w);
    fault_send_many(w, 4, 1000);
    fault_receive(w, 2);
    EXPECT_OK(tram_done(w->b));
    w->b = tram_close(w->b);
}

static int purge(struct fault_world *w) {
    uint64_t messages = 99;
    int rc = said_by_tool((int) FAULTY(custody_purge(bus_path(w), A, B, &messages, &said)));

    EXPECT(messages == (rc < 0 ? 99 : 2));
    return rc;
}

static void check_purged(struct fault_world *w) {
    w->got = w->sent;
}

/* Its first page is nonsense. */
static void spoilt(struct fault_world *w) {
    char path[300];
    FILE *file;

    b_closed_with_messages(w);
    w->a = tram_close(w->a);
    file = fopen(kit_path(path, sizeof path, test_dir(), B, "from-1.1.1.1"), "r+e");
    EXPECT(file && fputs("nonsense", file) >= 0);
    fclose(file);
}

static int purge_spoilt(struct fault_world *w) {
    static uint64_t messages;
    static int before;
    int rc = said_by_tool((int) FAULTY(custody_purge(bus_path(w), A, B, &messages, &said)));

    if (before < 0 && rc == -ENOENT)
        rc = 0; /* all was gone, but it could not see that */
    before = rc;
    return rc;
}

static void check_new(struct fault_world *w) {
    w->sent = w->got = 0;
}

static int tool_retry(struct fault_world *w) {
    return said_by_tool((int) FAULTY(custody_retry(bus_path(w), B, A, 1, &said)));
}

static int tool_drop(struct fault_world *w) {
    return said_by_tool((int) FAULTY(custody_drop(bus_path(w), B, A, 1, &said)));
}

/* If it was not told: at the latest when it next opens. */
static void check_retried_later(struct fault_world *w) {
    if (tram_recv(w->b, &w->msg, 0) == -EAGAIN) {
        w->b = tram_close(w->b);
        w->b = fault_open(w, B);
        EXPECT_OK(tram_recv(w->b, &w->msg, 0));
    }
    EXPECT(w->msg.seq == 1 && w->msg.attempt == 2);
    check_released(w);
}

TEST_TIMEOUT(acting_for_others, 60) {
    static const struct fault_scenario scenarios[] = {
        { "rm", b_drained_and_closed, rm_b, 0, check_removed },
        { "rm with messages", b_closed_with_messages, rm_b, -ENOTEMPTY, NULL },
        { "rm by force", b_closed_with_messages, rm_b_by_force, 0, check_removed },
        { "purge", b_closed_with_messages, purge, 0, check_purged },
        { "purge what is spoilt", spoilt, purge_spoilt, 0, check_new },
        { "retry by the tool", is_aside, tool_retry, 0, check_retried_later },
        { "drop by the tool", is_aside, tool_drop, 0, check_dropped },
    };

    FAULT_RUN(scenarios);
}

/* ---- observing ------------------------------------------------------------------------------- */

static struct observe *look;

static void observed(struct fault_world *w) {
    two_wait(w);
    EXPECT_OK(observe_open(bus_path(w), &look));
}

static void check_look_end(struct fault_world *w) {
    (void) w;
    look = observe_close(look);
}

static int look_open(struct fault_world *w) {
    look = NULL;
    return (int) FAULTY(observe_open(bus_path(w), &look));
}

static int look_buses(struct fault_world *w) {
    char **names = NULL;
    size_t count = 0;
    int rc = (int) FAULTY(observe_buses(test_dir(), &names, &count));

    (void) w;
    EXPECT(rc < 0 || (count == 1 && strcmp(names[0], "default") == 0));
    free(names);
    return rc;
}

static int look_nodes(struct fault_world *w) {
    struct observe_node *nodes = NULL;
    size_t count = 0;
    int rc = (int) FAULTY(observe_nodes(look, &nodes, &count));

    (void) w;
    EXPECT(rc < 0 || count == 2);
    free(nodes);
    return rc < 0 ? rc : 0;
}

static int look_channels(struct fault_world *w) {
    struct observe_channel *channels = NULL;
    size_t count = 0;
    int rc = (int) FAULTY(observe_channels(look, 0, &channels, &count));

    (void) w;
    EXPECT(rc < 0 || count == 1);
    free(channels);
    return rc < 0 ? rc : 0;
}

/* All five are there: kept, in hand or queued. */
static int read_records(void) {
    struct observe_reader *reader = NULL;
    struct observe_record record;
    uint64_t last = 0;
    int rc = observe_read(look, A, B, 1000, &reader);

    while (rc == 0 && last < 5 && (rc = observe_next(reader, &record)) == 1) {
        rc = record.seq == last + 1 && record.size == 100 ? 0 : -EBADMSG;
        last = record.seq;
    }
    (void) observe_read_end(reader);
    return rc;
}

/* What could not be read is said in words (observe_note()), and as what makes no sense. */
static int look_records(struct fault_world *w) {
    int rc = (int) FAULTY(read_records());

    (void) w;
    return rc == -EBADMSG && fault_code() > 0 ? -fault_code() : rc;
}

TEST_TIMEOUT(observing, 60) {
    static const struct fault_scenario scenarios[] = {
        { "look at a bus", two_wait, look_open, 0, check_look_end },
        { "look at nodes", observed, look_nodes, 0, check_look_end },
        { "look at channels", observed, look_channels, 0, check_look_end },
        { "look at records", observed, look_records, 0, check_look_end },
    };
    static const struct fault_scenario buses[] = {
        { "look for buses", two_wait, look_buses, 0, NULL },
    };

    FAULT_RUN(scenarios);
    FAULT_RUN(buses);
}
