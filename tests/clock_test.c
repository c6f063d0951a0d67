/* SPDX-License-Identifier: MIT
 * test: timeout=60 label=notsan cpus=2
 *
 * Clocks: the wall clock is stepped by hours while messages flow, and moves nothing but stamps; and
 * each process may have another monotonic clock, as containers have, because nothing that two
 * processes share is a time on it.
 *
 * The machine's own clock is left alone: clock_gettime() of this program is the one below.
 * STOPS_SEED: other steps. (Not under the thread sanitizer: no process here has two threads.)
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"
#include "support/traffic.h"

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x00000080
#endif

#define LEFT TRAM_ID(1, 0, 0, 1)
#define RIGHT TRAM_ID(1, 0, 0, 2)
#define HOUR (3600 * KIT_S)
#define DAY (24 * HOUR)

/* ---- the clocks of this program -------------------------------------------------------------- */

static struct {
    _Atomic int64_t ns;
} *wall_shift; /* of all processes of a test; NULL: none */
static int64_t monotonic_shift;     /* of this process */

static int64_t true_clock(clockid_t id) {
    struct timespec ts;

    if (syscall(SYS_clock_gettime, id, &ts) < 0)
        return -1;
    return ts.tv_sec * KIT_S + ts.tv_nsec;
}

int clock_gettime(clockid_t id, struct timespec *ts) {
    int64_t now = true_clock(id);

    if (now < 0)
        return -1;
    if (id == CLOCK_REALTIME && wall_shift)
        now += wall_shift->ns;
    if (id == CLOCK_MONOTONIC)
        now += monotonic_shift;
    *ts = (struct timespec){ .tv_sec = now / KIT_S, .tv_nsec = now % KIT_S };
    return 0;
}

static uint64_t seed_of(void) {
    return kit_env("STOPS_SEED", 1);
}

static int64_t wall(void) {
    return true_clock(CLOCK_REALTIME) + wall_shift->ns;
}

/* ---- the wall clock is stepped --------------------------------------------------------------- */

/* Stamps, as seen by the receiver: how many are hours ahead of the true time, or behind. */
struct stamps {
    _Atomic uint64_t ahead, behind;
};

static void look_at_stamp(struct traffic *traffic, const struct tram_msg *msg) {
    int64_t off = (int64_t) msg->time_ns - true_clock(CLOCK_REALTIME);
    struct stamps *stamps = traffic->context;

    CHECK(msg->time_ns > 0);
    CHECK(off > -11 * HOUR && off < 10 * HOUR + KIT_S);
    if (off > HOUR)
        stamps->ahead++;
    else if (off < -HOUR)
        stamps->behind++;
}

TEST(stepped_in_traffic) {
    struct rng rng = { kit_mix(seed_of(), 11, 0) };
    struct stamps *stamps = kit_shared(sizeof *stamps);
    struct traffic *pairs[2];
    unsigned long long messages = 0, bounds = 0;
    unsigned steps = 0;

    wall_shift = kit_shared(sizeof *wall_shift);
    for (unsigned i = 0; i < 2; i++) {
        struct traffic like = {
            .seed = seed_of() * 2 + i,
            .sender = TRAM_ID(2, 0, i, 1),
            .receiver = TRAM_ID(3, 0, i, 1),
            .flags = TRAM_OPEN_STAMP,
            .seen = look_at_stamp,
            .context = stamps,
        };

        pairs[i] = traffic_start(&like);
    }
    for (int64_t end = kit_now() + 800 * KIT_MS; kit_now() < end; steps++) {
        wall_shift->ns = ((int64_t) rng_below(&rng, 21) - 10) * HOUR;
        traffic_pass((int64_t) rng_below(&rng, 4) * KIT_MS);
    }
    for (unsigned i = 0; i < 2; i++) {
        traffic_await_progress(pairs[i]);
        bounds += pairs[i]->bounds;
        messages += traffic_end(pairs[i]);
    }
    printf("    %u steps: %llu messages, %llu waits ended by their bound; stamps %llu ahead, %llu "
           "behind\n", steps, messages, bounds, (unsigned long long) stamps->ahead,
           (unsigned long long) stamps->behind);
    CHECK(stamps->ahead > 0 && stamps->behind > 0);
    munmap(wall_shift, sizeof *wall_shift);
    munmap(stamps, sizeof *stamps);
}

/* When a node looks again, by itself, is not moved by a step. */
TEST(stepped_before_a_relook) {
    tram_node *node = kit_open(NULL, LEFT, NULL);
    int64_t began, due;

    wall_shift = kit_shared(sizeof *wall_shift);
    CHECK_OK(tram_fd(node));
    began = kit_now();
    due = tram_timeout(node);
    CHECK(due > 0 && due <= KIT_S);
    for (int i = 0; i < 6; i++) {
        int64_t left;

        wall_shift->ns = (i % 2 ? -10 : 10) * (i + 1) * HOUR;
        left = tram_timeout(node);
        CHECK(left <= due);
        CHECK(left >= due - (kit_now() - began));
    }
    tram_close(node);
    munmap(wall_shift, sizeof *wall_shift);
}

/* Nor when memory is given back. */
TEST(stepped_before_a_trim) {
    tram_node *left = kit_open(NULL, LEFT, NULL), *right = kit_open(NULL, RIGHT, NULL);
    static char bytes[10000];
    struct tram_msg msg;
    uint64_t loaded;
    int64_t began;

    wall_shift = kit_shared(sizeof *wall_shift);
    wall_shift->ns = 10 * HOUR;
    for (int i = 0; i < 100; i++)
        CHECK_OK(tram_send(left, RIGHT, 0, bytes, sizeof bytes, 0));
    CHECK_ERR(tram_wait(left, KIT_MS), -ETIMEDOUT);
    loaded = kit_memory(test_dir());
    CHECK(loaded > 1000000);
    wall_shift->ns = -10 * HOUR;
    while (tram_recv(right, &msg, 0) == 0)
        continue;
    for (began = kit_now(); kit_memory(test_dir()) > loaded - 700000;) {
        wall_shift->ns -= HOUR;
        CHECK_ERR(tram_wait(left, 20 * KIT_MS), -ETIMEDOUT);
        if (kit_now() - began > kit_patience(5))
            FAIL("memory is not given back");
    }
    tram_close(left);
    tram_close(right);
    munmap(wall_shift, sizeof *wall_shift);
}

static void wait_a_while(void *arg) {
    struct tram_options options = kit_options(0, 30 * KIT_MS);
    tram_node *node = kit_open(NULL, RIGHT, &options);
    int64_t began = kit_now(), took;
    struct tram_msg msg;

    (void) arg;
    CHECK_ERR(tram_recv(node, &msg, 300 * KIT_MS), -ETIMEDOUT);
    took = kit_now() - began;
    CHECK(took >= 300 * KIT_MS && took < 300 * KIT_MS + kit_patience(5));
    CHECK_OK(tram_recv(node, &msg, TRAM_FOREVER));
    tram_close(node);
}

/* A clock that is set back again and again stretches neither spins nor bounds; and an event comes
 * as it does otherwise. What moves is the time that is said to people. */
TEST(stepped_back_in_a_wait) {
    tram_node *node = kit_open(NULL, LEFT, NULL);
    int64_t end = kit_now() + kit_patience(10);
    struct tram_event event;
    struct tram_peer peer;
    pid_t pid;

    wall_shift = kit_shared(sizeof *wall_shift);
    wall_shift->ns = -100 * HOUR;
    CHECK_OK(tram_watch(node, RIGHT));
    pid = test_fork(wait_a_while, NULL);
    CHECK_EQ(tram_wait(node, kit_patience(10)), 1);
    CHECK_EQ(tram_dispatch(node, &event), 1);
    CHECK_EQ(event.type, TRAM_EVENT_UP);
    CHECK_OK(tram_peer(node, RIGHT, &peer));
    CHECK((int64_t) peer.since_ns < true_clock(CLOCK_REALTIME) - 90 * HOUR);
    CHECK((int64_t) peer.since_ns <= wall());
    while (!kit_asleep(test_dir(), RIGHT)) {
        wall_shift->ns -= HOUR;
        if (kit_now() > end)
            FAIL("it spins without end");
        kit_pause();
    }
    for (end = kit_now() + 400 * KIT_MS; kit_now() < end; kit_pause())
        wall_shift->ns -= HOUR / 60;
    CHECK_EQ(tram_dispatch(node, &event), 0);
    CHECK_OK(tram_send(node, RIGHT, 0, "x", 1, 0));
    JOIN(pid);
    CHECK_EQ(tram_wait(node, kit_patience(10)), 1);
    CHECK_EQ(tram_dispatch(node, &event), 1);
    CHECK_EQ(event.type, TRAM_EVENT_DOWN);
    tram_close(node);
    munmap(wall_shift, sizeof *wall_shift);
}

/* ---- to each process its own monotonic clock ------------------------------------------------- */

/* Two traffics in opposite directions: what is early for one is late for the other. */
static void check_offsets(void (*begin)(struct traffic *, bool receiver)) {
    tram_node *observer = kit_open(NULL, TRAM_ID(9, 0, 0, 1), NULL);
    struct tram_event event;
    struct traffic *pairs[2];
    unsigned long long messages = 0, bounds = 0;

    for (unsigned i = 0; i < 2; i++) {
        struct traffic like = {
            .seed = seed_of() * 2 + i,
            .sender = TRAM_ID(2, 0, i, 1),
            .receiver = TRAM_ID(3, 0, i, 1),
            .begin = begin,
        };

        pairs[i] = traffic_start(&like);
        CHECK_OK(tram_watch(observer, like.sender));
        CHECK_EQ(tram_dispatch(observer, &event), 1);
        CHECK_EQ(event.type, TRAM_EVENT_UP);
    }
    traffic_pass(400 * KIT_MS);
    for (unsigned i = 0; i < 2; i++) {
        traffic_check_up(pairs[i], observer);
        CHECK_EQ(tram_dispatch(observer, &event), 0);
        traffic_await_progress(pairs[i]);
        bounds += pairs[i]->bounds;
        messages += traffic_end(pairs[i]);
        CHECK_EQ(tram_wait(observer, kit_patience(10)), 1);
        CHECK_EQ(tram_dispatch(observer, &event), 1);
        CHECK_EQ(event.type, TRAM_EVENT_DOWN);
    }
    printf("    %llu messages, %llu waits ended by their bound\n", messages, bounds);
    CHECK(bounds > 0);
    tram_close(observer);
}

static bool is_late(const struct traffic *traffic, bool receiver) {
    return (traffic->seed % 2 == 1) == receiver;
}

static void shift_own_clock(struct traffic *traffic, bool receiver) {
    monotonic_shift = is_late(traffic, receiver) ? 400 * DAY : 3 * DAY;
}

TEST(days_apart) {
    check_offsets(shift_own_clock);
}

/* The same by the kernel, where it lets us. */
static bool put(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t) strlen(text);

    if (fd >= 0)
        close(fd);
    return good;
}

static bool enter_time_namespace(void) {
    char map[64];
    int fd, rc;

    snprintf(map, sizeof map, "%u %u 1", getuid(), getuid());
    if (unshare(CLONE_NEWTIME) < 0 &&
        (unshare(CLONE_NEWUSER | CLONE_NEWTIME) < 0 || !put("/proc/self/uid_map", map)))
        return false;
    if (!put("/proc/self/timens_offsets", "monotonic 34560000 5\nboottime 34560000 5\n"))
        return false;
    fd = open("/proc/self/ns/time_for_children", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    rc = setns(fd, CLONE_NEWTIME);
    close(fd);
    return rc == 0;
}

static void try_time_namespace(void *arg) {
    int64_t before = kit_now();

    *(int *) arg = enter_time_namespace() && kit_now() - before > 399 * DAY;
}

static void enter_if_late(struct traffic *traffic, bool receiver) {
    if (is_late(traffic, receiver))
        CHECK(enter_time_namespace());
}

TEST(days_apart_by_time_namespaces) {
    int *possible = kit_shared(sizeof *possible);
    bool good;

    JOIN(test_fork(try_time_namespace, possible));
    good = *possible;
    munmap(possible, sizeof *possible);
    if (!good)
        SKIP("no time namespaces here");
    check_offsets(enter_if_late);
}
