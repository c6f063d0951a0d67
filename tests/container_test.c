/* SPDX-License-Identifier: MIT
 * test: timeout=90
 *
 * Containers that share the bus directory: other pid namespaces. Messages, wake-ups, deaths,
 * takeovers and events go from one to the other; a pid of another namespace is never taken for one
 * of ours. Each test runs as root does it and with a user namespace of the container's own, with
 * and without a /proc of its own, as far as the kernel allows.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"
#include "support/space.h"

#define A TRAM_ID(1, 0, 0, 1)
#define B TRAM_ID(2, 0, 0, 1)
#define TOO_LONG (900 * KIT_MS) /* a wait that only a re-look has ended */

/* ---- containers ------------------------------------------------------------------------------ */

struct container {
    void (*body)(void *arg);
    void *arg;
    unsigned flags;      /* SPACE_… */
    volatile pid_t init; /* its process 1, as it is called outside */
};

/* Process 1 of a container runs the body; who made it waits outside, until it ends or is killed. */
static void contain(void *arg) {
    struct container *container = arg;
    const char *refused = space_enter(SPACE_PIDS | container->flags);
    int status;
    pid_t pid;

    if (refused)
        SKIP(refused);
    pid = fork();
    if (pid == 0) {
        if (getpid() != 1)
            FAIL("process %d of a new pid namespace", (int) getpid());
        if (container->flags & SPACE_PROC)
            CHECK_OK(space_proc());
        container->body(container->arg);
        _exit(0);
    }
    container->init = CHECK_OK(pid);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(status == 0 || (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL));
}

static struct container *container_new(void (*body)(void *arg), void *arg, unsigned flags) {
    struct container *container = kit_shared(sizeof *container);

    container->body = body;
    container->arg = arg;
    container->flags = flags;
    return container;
}

/* Known as soon as it was forked. */
static pid_t container_init(const struct container *container) {
    while (container->init == 0)
        kit_pause();
    return container->init;
}

static void container_free(struct container *container) {
    munmap(container, sizeof *container);
}

/* Each kind that this kernel allows; skipped if there is none. */
static void each_kind(void (*body)(unsigned flags)) {
    static const unsigned kinds[] = { 0, SPACE_PROC, SPACE_USER, SPACE_USER | SPACE_PROC };
    int done = 0;

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (!space_possible(SPACE_PIDS | kinds[i]))
            continue;
        body(kinds[i]);
        done++;
    }
    if (done == 0)
        SKIP("no pid namespace for us here, neither as root nor with a user namespace");
}

static void await(volatile uint32_t *word, uint32_t value) {
    while (*word != value)
        kit_pause();
}

/* ---- messages and wake-ups ------------------------------------------------------------------- */

enum { TRIPS = 300 };

static tram_node *open_sleeper(tram_id id) {
    struct tram_options options = kit_options(0, TRAM_NO_SPIN);

    return kit_open(NULL, id, &options);
}

static void echo(void *arg) {
    tram_node *node = open_sleeper(B);
    struct tram_msg msg;

    (void) arg;
    for (uint32_t i = 0; i < TRIPS; i++) {
        CHECK_OK(tram_recv(node, &msg, kit_patience(10)));
        CHECK_EQ(msg.tag, i);
        CHECK_OK(tram_forward(node, &msg, A, 0));
    }
    CHECK_OK(tram_done(node));
    tram_close(node);
}

static void ask(void *arg) {
    tram_node *node = open_sleeper(A);
    int64_t longest = 0;
    struct tram_msg msg;

    (void) arg;
    for (uint32_t i = 0; i < TRIPS; i++) {
        int64_t start, took;

        if (i % 10 == 1)
            CHECK(kit_await_asleep(test_dir(), B));
        start = kit_now();
        CHECK_OK(tram_send(node, B, i, &i, sizeof i, 0));
        CHECK_OK(tram_recv(node, &msg, kit_patience(10)));
        took = kit_now() - start;
        CHECK_EQ(msg.tag, i);
        CHECK_EQ(msg.attempt, 1);
        if (i > 0 && took > longest)
            longest = took;
    }
    if (longest > TOO_LONG)
        FAIL("a round trip took %.0f ms: a wake-up was lost", (double) longest / 1e6);
    CHECK_OK(tram_done(node));
    tram_close(node);
}

static void round_trips(unsigned flags) {
    struct container *here = container_new(ask, NULL, flags);
    struct container *there = container_new(echo, NULL, flags);
    pid_t a = test_fork(contain, here), b = test_fork(contain, there);

    JOIN(a);
    JOIN(b);
    container_free(here);
    container_free(there);
}

TEST_TIMEOUT(round_trips_between_containers, 40) {
    each_kind(round_trips);
}

/* ---- who is who ------------------------------------------------------------------------------ */

struct stage {
    volatile uint32_t at, pid;
};

static void hold(void *arg) {
    struct stage *stage = arg;
    tram_node *node = kit_open(NULL, B, NULL);

    stage->pid = (uint32_t) getpid();
    stage->at = 1;
    await(&stage->at, 2);
    tram_close(node);
}

static void look_from_container(void *arg) {
    struct stage *stage = arg;
    tram_node *node = kit_open(NULL, A, NULL), *second = NULL;
    struct tram_peer peer;
    struct tram_event event;

    CHECK_ERR(tram_open(NULL, B, NULL, &second), -EADDRINUSE);
    CHECK_EQ(tram_last_error(NULL)->pid, 0);
    CHECK(strstr(tram_last_error(NULL)->text, "another pid namespace"));
    CHECK_OK(tram_peer(node, B, &peer));
    CHECK_EQ(peer.state, TRAM_PEER_UP);
    CHECK_EQ(peer.pid, 0);
    CHECK_EQ(peer.foreign_pid, stage->pid);
    CHECK_OK(tram_peer(node, A, &peer));
    CHECK_EQ(peer.pid, getpid());
    CHECK_EQ(peer.foreign_pid, 0);
    CHECK_OK(tram_watch(node, B));
    CHECK_EQ(tram_dispatch(node, &event), 1);
    CHECK_EQ(event.type, TRAM_EVENT_UP);
    CHECK_EQ(event.pid, 0);
    tram_close(node);
}

/* What a command prints. */
static void output_of(const char *command, char *text, size_t size) {
    FILE *pipe = popen(command, "re");
    size_t got;

    CHECK(pipe);
    got = fread(text, 1, size - 1, pipe);
    text[got] = '\0';
    CHECK_EQ(pclose(pipe), 0);
}

static void holders(unsigned flags) {
    struct stage *stage = kit_shared(sizeof *stage);
    struct container *there = container_new(hold, stage, flags);
    struct container *here = container_new(look_from_container, stage, flags);
    char command[300], text[4000];
    pid_t b = test_fork(contain, there);

    await(&stage->at, 1);
    CHECK_EQ(stage->pid, 1);
    look_from_container(stage);
    JOIN(test_fork(contain, here)); /* its process 1 is not that process 1 */
    snprintf(command, sizeof command, "%s/../bin/tram ls", test_program("."));
    output_of(command, text, sizeof text);
    CHECK(strstr(text, "in another pid namespace"));
    stage->at = 2;
    JOIN(b);
    container_free(there);
    container_free(here);
    munmap(stage, sizeof *stage);
}

TEST(holders_of_other_namespaces) {
    each_kind(holders);
}

/* ---- deaths ---------------------------------------------------------------------------------- */

/* Process 1 of each container is alive as long as it: who would watch a process by the number in
 * the door, 1 or 2, would watch another one than the holder. */
static void open_and_stay(void *arg) {
    tram_node *node = kit_open(NULL, B, NULL);

    (void) arg;
    for (;;)
        pause();
    tram_close(node);
}

struct told {
    volatile uint32_t up, killed, down;
    volatile int64_t killed_at;
    int64_t took[32];
};

/* By the descriptor alone. That nothing comes for long is a fault if there is something to tell,
 * and else the machine, which makes a container when it likes. */
static void await_event(tram_node *node, enum tram_event_type type) {
    struct pollfd fd = { .fd = tram_fd(node), .events = POLLIN };
    bool up = type == TRAM_EVENT_UP;
    struct tram_event event;
    struct tram_peer peer;

    while (CHECK_OK(tram_dispatch(node, &event)) == 0) {
        CHECK(tram_timeout(node) >= 0);
        if (CHECK_OK(poll(&fd, 1, (int) (kit_patience(10) / KIT_MS))) > 0)
            continue;
        CHECK_OK(tram_peer(node, B, &peer));
        if ((peer.state == TRAM_PEER_UP) == up)
            FAIL("not told by the descriptor that it is %s", up ? "up" : "down");
    }
    CHECK_EQ(event.type, type);
}

enum { KILLS = 20 };

static void watch(void *arg) {
    struct told *told = arg;
    tram_node *node = kit_open(NULL, A, NULL);

    CHECK_OK(tram_watch(node, B));
    for (uint32_t i = 0; i < KILLS; i++) {
        await_event(node, TRAM_EVENT_UP);
        told->up = i + 1;
        await_event(node, TRAM_EVENT_DOWN);
        told->took[i] = kit_now() - told->killed_at;
        told->down = i + 1;
    }
    tram_close(node);
}

/* Odd ones are process 2 of a container that lives on, even ones process 1 and its container. */
static void kill_inside(void *arg) {
    struct told *told = arg;
    uint32_t number = told->up + 1;
    pid_t pid = test_fork(open_and_stay, NULL);

    await(&told->up, number);
    told->killed_at = kit_now();
    CHECK_OK(kill(pid, SIGKILL));
    await(&told->down, number);
}

static void kill_outside(struct told *told, unsigned flags, uint32_t number) {
    struct container *there = container_new(open_and_stay, NULL, flags);
    pid_t pid = test_fork(contain, there);

    await(&told->up, number);
    (void) container_init(there);
    told->killed_at = kit_now();
    CHECK_OK(kill(there->init, SIGKILL));
    await(&told->down, number);
    JOIN(pid);
    container_free(there);
}

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *) a, y = *(const int64_t *) b;

    return (x > y) - (x < y);
}

static void told_of_kills(unsigned flags) {
    struct told *told = kit_shared(sizeof *told);
    struct container *here = container_new(watch, told, flags);
    int64_t limit = 25 * KIT_MS * (*test_sanitizer() ? 4 : 1);
    pid_t watcher = test_fork(contain, here);

    for (uint32_t i = 0; i < KILLS; i++) {
        if (i % 2 == 0) {
            kill_outside(told, flags, i + 1);
        } else {
            struct container *there = container_new(kill_inside, told, flags);

            JOIN(test_fork(contain, there));
            container_free(there);
        }
    }
    JOIN(watcher);
    qsort(told->took, KILLS, sizeof *told->took, by_size);
    printf("    down: p50 %.2f ms, longest %.2f ms\n", (double) told->took[KILLS / 2] / 1e6,
           (double) told->took[KILLS - 1] / 1e6);
    if (told->took[KILLS * 9 / 10] > limit)
        FAIL("p90 %.1f ms", (double) told->took[KILLS * 9 / 10] / 1e6);
    container_free(here);
    munmap(told, sizeof *told);
}

TEST_TIMEOUT(deaths_are_told_across_namespaces, 60) {
    each_kind(told_of_kills);
}

/* ---- takeovers ------------------------------------------------------------------------------- */

enum { LIVES = 12, NUMBERS = 4000 };

/* What is known about each number, from all lives. */
struct numbers {
    tram_id from, to;
    volatile uint32_t sent, received, lives;
    uint8_t seen[NUMBERS + 1], done[NUMBERS + 1];
};

/* Goes on behind what the bus says that it accepted from the lives before. */
static void send_numbers(void *arg) {
    struct numbers *numbers = arg;
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *node = kit_open(NULL, numbers->from, &options);
    uint64_t next;

    CHECK_OK(tram_accepted(node, numbers->to, &next));
    while (next < NUMBERS) {
        next++;
        CHECK_OK(tram_send(node, numbers->to, (uint32_t) next, &next, sizeof next, 0));
        numbers->sent = (uint32_t) next;
        if (next % 16 == 0)
            kit_pause();
    }
    tram_close(node);
}

static void receive_numbers(void *arg) {
    struct numbers *numbers = arg;
    struct tram_options options = kit_options(0, TRAM_NO_SPIN);
    tram_node *node = kit_open(NULL, numbers->to, &options);
    struct tram_msg msg;

    while (numbers->received < NUMBERS) {
        CHECK_OK(tram_recv(node, &msg, kit_patience(10)));
        CHECK(msg.seq <= NUMBERS && msg.tag == msg.seq);
        CHECK(!numbers->done[msg.seq]);
        if (numbers->seen[msg.seq])
            CHECK(msg.attempt > 1);
        numbers->seen[msg.seq] = 1;
        if (msg.seq > 1)
            CHECK(numbers->seen[msg.seq - 1]);
        CHECK_OK(tram_done(node));
        numbers->done[msg.seq] = 1;
        numbers->received = (uint32_t) msg.seq;
    }
    tram_close(node);
}

struct life {
    struct container *container;
    pid_t pid;
};

/* Every second life is in a container, the others outside. */
static struct life life_begin(void (*body)(void *arg), struct numbers *numbers, unsigned flags) {
    struct life life = { 0 };

    if (numbers->lives++ % 2 == 0) {
        life.container = container_new(body, numbers, flags);
        life.pid = test_fork(contain, life.container);
    } else {
        life.pid = test_fork(body, numbers);
    }
    return life;
}

static void life_end(struct life *life, bool kill_it) {
    if (kill_it && life->container)
        kill(container_init(life->container), SIGKILL);
    if (kill_it && !life->container) {
        test_kill(life->pid);
    } else {
        JOIN(life->pid); /* with its container */
    }
    if (life->container)
        container_free(life->container);
}

static void await_progress(const struct numbers *numbers, uint32_t number) {
    int64_t end = kit_now() + kit_patience(10);

    while (numbers->received < number && kit_now() < end)
        kit_pause();
    if (numbers->received < number)
        FAIL("number %u does not come", number);
}

/* Killed where it is, it goes on in the other namespace, at once. */
static void take_over(unsigned flags) {
    struct numbers *numbers = kit_shared(sizeof *numbers);
    struct life sender, receiver;

    numbers->from = A + flags; /* a channel of its own for each kind */
    numbers->to = B + flags;
    sender = life_begin(send_numbers, numbers, flags);
    numbers->lives++; /* the receiver begins on the other side */
    receiver = life_begin(receive_numbers, numbers, flags);
    for (uint32_t i = 1; i < LIVES; i++) {
        struct life *life = i % 2 ? &receiver : &sender;

        await_progress(numbers, i * (NUMBERS / LIVES / 2));
        life_end(life, true);
        numbers->lives = i / 2;
        *life = life_begin(i % 2 ? receive_numbers : send_numbers, numbers, flags);
    }
    life_end(&sender, false);
    life_end(&receiver, false);
    for (uint32_t i = 1; i <= NUMBERS; i++)
        CHECK(numbers->seen[i]);
    munmap(numbers, sizeof *numbers);
}

TEST_TIMEOUT(takeovers_across_namespaces, 60) {
    each_kind(take_over);
}
