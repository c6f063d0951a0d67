/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * Time does not decide who is alive. Processes that are stopped for long, or held by a debugger, at
 * random moments are not taken for dead, and nothing is lost or comes twice; a wall clock that is
 * set by hours moves stamps, and no wait. STOP_MS is how long they are stopped, STOP_ROUNDS how
 * often.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"

#define SENDER TRAM_ID(1, 0, 0, 1)
#define RECEIVER TRAM_ID(2, 0, 0, 1)
#define WATCHER TRAM_ID(3, 0, 0, 1)

struct traffic {
    volatile uint64_t sent, received;
    volatile uint32_t stop, done;
};

/* ---- traffic --------------------------------------------------------------------------------- */

static void send_all(void *arg) {
    struct traffic *traffic = arg;
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *node = kit_open(NULL, SENDER, &options);
    uint64_t n = 0;

    while (!traffic->stop) {
        n++;
        CHECK_OK(tram_send(node, RECEIVER, 0, &n, sizeof n, 0));
        traffic->sent = n;
        if (n % 64 == 0)
            kit_pause();
    }
    traffic->done = 1;
    tram_close(node);
}

static void receive_all(void *arg) {
    struct traffic *traffic = arg;
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *node = kit_open(NULL, RECEIVER, &options);
    struct tram_msg msg;

    while (!traffic->done || traffic->received < traffic->sent) {
        int rc = tram_recv(node, &msg, 50 * KIT_MS);

        if (rc == -ETIMEDOUT)
            continue;
        CHECK_OK(rc);
        CHECK_EQ(msg.attempt, 1);
        CHECK_EQ(msg.seq, traffic->received + 1);
        CHECK_EQ(memcmp(msg.data, &msg.seq, sizeof msg.seq), 0);
        CHECK_OK(tram_done(node));
        traffic->received = msg.seq;
    }
    tram_close(node);
}

static void await_more(const volatile uint64_t *count, uint64_t more) {
    uint64_t from = *count;
    int64_t end = kit_now() + kit_patience(10);

    while (*count < from + more && kit_now() < end)
        kit_pause();
    if (*count < from + more)
        FAIL("nothing moves any more");
}

static void check_up(tram_node *node, tram_id id) {
    struct tram_event event;
    struct tram_peer peer;
    tram_node *second;

    CHECK_OK(tram_peer(node, id, &peer));
    CHECK_EQ(peer.state, TRAM_PEER_UP);
    CHECK_ERR(tram_open(NULL, id, NULL, &second), -EADDRINUSE);
    CHECK_EQ(tram_dispatch(node, &event), 0); /* nobody went down */
}

static void await_stopped(pid_t pid) {
    siginfo_t info;

    CHECK_OK(waitid(P_PID, (id_t) pid, &info, WSTOPPED | WNOWAIT));
}

static tram_node *watch_both(void) {
    tram_node *node = kit_open(NULL, WATCHER, NULL);
    struct tram_event event;
    struct tram_peer peer;

    for (tram_id id = SENDER; id <= RECEIVER; id += RECEIVER - SENDER) {
        do
            CHECK_OK(tram_peer(node, id, &peer));
        while (peer.state != TRAM_PEER_UP);
        CHECK_OK(tram_watch(node, id));
        CHECK_EQ(tram_dispatch(node, &event), 1);
        CHECK_EQ(event.type, TRAM_EVENT_UP);
    }
    return node;
}

static int64_t stop_ns(void) {
    return (int64_t) kit_env("STOP_MS", 300) * KIT_MS;
}

static void stay_stopped(tram_node *node, bool sender, bool receiver) {
    int64_t end = kit_now() + stop_ns();

    while (kit_now() < end) {
        CHECK_ERR(tram_wait(node, 20 * KIT_MS), -ETIMEDOUT); /* a wait keeps its bound */
        if (sender)
            check_up(node, SENDER);
        if (receiver)
            check_up(node, RECEIVER);
    }
}

/* One of them, or both at once, which come back in any order: as after a machine that was
 * suspended. */
TEST_TIMEOUT(stopped_in_traffic, 600) {
    struct traffic *traffic = kit_shared(sizeof *traffic);
    struct rng rng = { kit_env("STOP_SEED", (uint64_t) kit_now()) };
    uint64_t rounds = kit_env("STOP_ROUNDS", 6);
    pid_t pids[2] = { test_fork(send_all, traffic), test_fork(receive_all, traffic) };
    tram_node *node = watch_both();

    for (uint64_t i = 0; i < rounds; i++) {
        unsigned who = 1 + (unsigned) (i % 3); /* the sender, the receiver, both */
        unsigned first = (unsigned) rng_below(&rng, 2);

        await_more(&traffic->received, 1 + rng_below(&rng, 3000));
        for (unsigned k = 0; k < 2; k++) {
            if (who & 1u << k) {
                CHECK_OK(kill(pids[k], SIGSTOP));
                await_stopped(pids[k]);
            }
        }
        stay_stopped(node, who & 1, who & 2);
        for (unsigned k = 0; k < 2; k++) {
            unsigned one = k ^ first;

            if (who & 1u << one)
                CHECK_OK(kill(pids[one], SIGCONT));
        }
        await_more(&traffic->received, 100);
    }
    traffic->stop = 1;
    JOIN(pids[0]);
    JOIN(pids[1]);
    CHECK_EQ(traffic->received, traffic->sent);
    tram_close(node);
    munmap(traffic, sizeof *traffic);
}

/* ---- a debugger ------------------------------------------------------------------------------ */

static void step_some(pid_t pid, int steps) {
    for (int i = 0; i < steps; i++) {
        int status;

        CHECK_OK(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL));
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK(WIFSTOPPED(status));
        if (WSTOPSIG(status) != SIGTRAP)
            return;
    }
}

/* Attached in the middle of a call, stepped, let go: what a debugger does. */
TEST_TIMEOUT(held_by_a_debugger, 120) {
    struct traffic *traffic = kit_shared(sizeof *traffic);
    pid_t pids[2] = { test_fork(send_all, traffic), test_fork(receive_all, traffic) };
    tram_node *node = watch_both();

    for (int i = 0; i < 10; i++) {
        pid_t pid = pids[i % 2];
        int status;

        await_more(&traffic->received, 50);
        if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) < 0)
            SKIP("ptrace is not allowed here");
        CHECK_OK(ptrace(PTRACE_INTERRUPT, pid, NULL, NULL));
        CHECK_EQ(waitpid(pid, &status, 0), pid);
        CHECK(WIFSTOPPED(status));
#if defined(__x86_64__)
        step_some(pid, 200);
#else
        (void) step_some; /* a loop of load-exclusive never ends when stepped */
#endif
        check_up(node, i % 2 ? RECEIVER : SENDER);
        CHECK_OK(ptrace(PTRACE_DETACH, pid, NULL, NULL));
    }
    await_more(&traffic->received, 100);
    traffic->stop = 1;
    JOIN(pids[0]);
    JOIN(pids[1]);
    CHECK_EQ(traffic->received, traffic->sent);
    tram_close(node);
    munmap(traffic, sizeof *traffic);
}

/* ---- clocks ---------------------------------------------------------------------------------- */

/* The wall clock of this process, set by so much. What the library calls is this function. */
static int64_t wall_offset;
static bool jumping; /* set at each reading, there and back: also in the middle of a wait */

int clock_gettime(clockid_t id, struct timespec *ret_time) {
    int64_t ns;

    if (syscall(SYS_clock_gettime, id, ret_time) < 0)
        return -1;
    if (id == CLOCK_REALTIME) {
        wall_offset = jumping ? -wall_offset : wall_offset;
        ns = (int64_t) ret_time->tv_sec * KIT_S + ret_time->tv_nsec + wall_offset;
        ret_time->tv_sec = (time_t) (ns / KIT_S);
        ret_time->tv_nsec = (long) (ns % KIT_S);
    }
    return 0;
}

static void set_clock(int64_t hours) {
    wall_offset = hours * 3600 * KIT_S;
}

static void answer(void *arg) {
    tram_node *node = kit_open(NULL, RECEIVER, NULL);
    struct tram_msg msg;

    (void) arg;
    jumping = true;
    for (int i = 0; i < 20; i++) {
        CHECK_OK(tram_recv(node, &msg, kit_patience(10)));
        CHECK_OK(tram_forward(node, &msg, SENDER, 0));
        set_clock(i % 2 ? -5 : 7);
    }
    CHECK_OK(tram_done(node));
    tram_close(node);
}

TEST(wall_clock_set) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    struct tram_msg msg;
    tram_node *node;
    struct timespec now;
    int64_t start, wall;
    pid_t pid;

    options.flags = TRAM_OPEN_STAMP;
    options.spin_ns = TRAM_NO_SPIN;
    node = kit_open(NULL, SENDER, &options);
    pid = test_fork(answer, NULL);
    jumping = true;
    for (int i = 0; i < 20; i++) {
        set_clock(i % 2 ? 12 : -12); /* between any two calls */
        CHECK_OK(tram_send(node, RECEIVER, 0, "x", 1, 0));
        set_clock(i % 2 ? -24 : 24);
        CHECK_OK(tram_recv(node, &msg, kit_patience(10)));
        CHECK_EQ(msg.attempt, 1);
        CHECK_EQ(msg.seq, i + 1);
        start = kit_now();
        CHECK_ERR(tram_recv(node, &msg, 20 * KIT_MS), -ETIMEDOUT);
        CHECK(kit_now() - start >= 20 * KIT_MS);
        CHECK(kit_now() - start < kit_patience(2));
    }
    JOIN(pid);
    jumping = false;
    set_clock(-12); /* stamps are all that moves */
    CHECK_OK(tram_send(node, SENDER, 0, "x", 1, 0));
    set_clock(0);
    CHECK_OK(tram_recv(node, &msg, kit_patience(5)));
    start = (int64_t) msg.time_ns + 12 * 3600 * KIT_S;
    CHECK_OK(clock_gettime(CLOCK_REALTIME, &now));
    wall = (int64_t) now.tv_sec * KIT_S + now.tv_nsec;
    CHECK(start <= wall && wall - start < 60 * KIT_S);
    tram_close(node);
}
