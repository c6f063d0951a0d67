/* SPDX-License-Identifier: MIT
 * test: timeout=90 cpus=2
 *
 * Wake-ups: none is lost. A bounded re-look would hide a lost one, so every wait is timed: one that
 * takes as long as the re-look takes (1 s) is a wake-up that was lost. Nobody spins here
 * (TRAM_NO_SPIN), and each process counts how often it really slept.
 *
 * WAKE_ROUNDS=N is the number of rounds of each test, WAKE_SECONDS=N how long it may take on a
 * machine that is busy; tests/soak.sh makes it millions.
 */
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"

#define HUB TRAM_ID(1, 0, 0, 1)
#define SPOKE(i) TRAM_ID(2, 0, 0, 1 + (i))
#define LOST_NS (900 * KIT_MS) /* a wait as long as this was ended by the re-look */
#define FAN 8

enum how { BLOCKING, BY_POLL, BY_EPOLL };

struct meter { /* of one process */
    uint64_t waits, sleeps;
    int64_t longest;
};

static struct {
    struct meter hub, spokes[FAN];
    uint64_t sent[FAN];
} * shared;

static uint64_t rounds(void) {
    return kit_env("WAKE_ROUNDS", *test_sanitizer() ? 6000 : 20000);
}

/* Tests end at this time, however many rounds they had. */
static int64_t closing_time(void) {
    return kit_now() + (int64_t) kit_env("WAKE_SECONDS", 3) * KIT_S;
}

static void meter_wait(struct meter *meter, int64_t since) {
    int64_t took = kit_now() - since;

    meter->waits++;
    if (took > meter->longest)
        meter->longest = took;
}

static void meter_end(struct meter *meter) {
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    meter->sleeps = (uint64_t) usage.ru_nvcsw;
}

/* All instants between two operations have to be met: now and then somebody is a little late. */
static void dawdle(struct rng *rng) {
    int64_t end;

    if (rng_chance(rng, 600))
        return;
    end = kit_now() + (int64_t) rng_below(rng, 20000);
    while (kit_now() < end)
        continue;
}

/* ---- ways to wait --------------------------------------------------------------------------- */

static int epoll_of(tram_node *node) {
    struct epoll_event want = { .events = EPOLLIN };
    int fd = CHECK_OK(epoll_create1(EPOLL_CLOEXEC));

    CHECK_OK(epoll_ctl(fd, EPOLL_CTL_ADD, tram_fd(node), &want));
    return fd;
}

/* Sleep in poll() or epoll as an event loop would, whatever the time-out is. */
static void sleep_outside(tram_node *node, enum how how, int epoll) {
    struct pollfd fd = { .fd = tram_fd(node), .events = POLLIN };
    int64_t ns = tram_timeout(node);
    struct epoll_event ready;
    struct tram_event event;
    int ms = ns < 0 ? -1 : (int) ((ns + KIT_MS - 1) / KIT_MS);

    if (how == BY_EPOLL)
        CHECK_OK(epoll_wait(epoll, &ready, 1, ms));
    else
        CHECK_OK(poll(&fd, 1, ms));
    while (tram_dispatch(node, &event) > 0)
        continue;
}

static void receive(tram_node *node, struct tram_msg *msg, enum how how, int epoll) {
    if (how == BLOCKING) {
        CHECK_OK(tram_recv(node, msg, kit_patience(15)));
        return;
    }
    while (tram_recv(node, msg, 0) == -EAGAIN)
        sleep_outside(node, how, epoll);
}

/* ---- question and answer -------------------------------------------------------------------- */

struct spoke {
    int index;
    enum how how;
    uint64_t rounds;
};

static void run_spoke(void *arg) {
    const struct spoke *spoke = arg;
    struct meter *meter = &shared->spokes[spoke->index];
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *node = kit_open(NULL, SPOKE(spoke->index), &options);
    struct rng rng = { (uint64_t) spoke->index + (uint64_t) getpid() };
    int epoll = spoke->how == BY_EPOLL ? epoll_of(node) : -1;
    int64_t end = closing_time();
    struct tram_msg msg;

    for (uint64_t i = 1; i <= spoke->rounds && kit_now() < end; i++) {
        int64_t start;

        dawdle(&rng);
        start = kit_now();
        CHECK_OK(tram_send(node, HUB, 0, &i, sizeof i, 0));
        receive(node, &msg, spoke->how, epoll);
        meter_wait(meter, start);
        CHECK_EQ(msg.size, sizeof i);
        CHECK_MEM(msg.data, &i, sizeof i);
    }
    CHECK_OK(tram_send(node, HUB, 0, NULL, 0, 0)); /* that was all */
    if (epoll >= 0)
        close(epoll);
    tram_close(node);
    meter_end(meter);
}

static void run_hub(int n, enum how how, uint64_t total) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *node = kit_open(NULL, HUB, &options);
    struct rng rng = { (uint64_t) getpid() };
    int epoll = how == BY_EPOLL ? epoll_of(node) : -1;
    struct spoke spokes[FAN];
    pid_t pids[FAN];
    struct tram_msg msg;

    for (int i = 0; i < n; i++) {
        spokes[i] = (struct spoke){ .index = i, .how = how, .rounds = total / (uint64_t) n };
        pids[i] = test_fork(run_spoke, &spokes[i]);
    }
    for (int spoken = n; spoken > 0;) {
        receive(node, &msg, how, epoll);
        spoken -= msg.size == 0;
        if (msg.size == 0)
            continue;
        dawdle(&rng);
        CHECK_OK(tram_send(node, msg.from, 0, msg.data, msg.size, 0));
    }
    for (int i = 0; i < n; i++)
        JOIN(pids[i]);
    if (epoll >= 0)
        close(epoll);
    tram_close(node);
    meter_end(&shared->hub);
}

static void judge(int n, bool often_asleep) {
    int64_t longest = shared->hub.longest;
    uint64_t sleeps = shared->hub.sleeps, waits = 0;

    for (int i = 0; i < n; i++) {
        sleeps += shared->spokes[i].sleeps;
        waits += shared->spokes[i].waits;
        if (shared->spokes[i].longest > longest)
            longest = shared->spokes[i].longest;
    }
    printf("    %llu rounds, %llu sleeps, longest wait %.1f ms\n", (unsigned long long) waits,
           (unsigned long long) sleeps, (double) longest / 1e6);
    if (longest >= LOST_NS)
        FAIL("a wait took %.0f ms: a wake-up was lost", (double) longest / 1e6);
    if (often_asleep && sleeps < waits / 4)
        FAIL("only %llu sleeps: this proves nothing", (unsigned long long) sleeps);
}

static void question_and_answer(int n, enum how how, uint64_t total) {
    shared = kit_shared(sizeof *shared);
    run_hub(n, how, total);
    judge(n, true);
    munmap(shared, sizeof *shared);
}

TEST_TIMEOUT(one_to_one_blocking, 60) {
    question_and_answer(1, BLOCKING, rounds());
}

TEST_TIMEOUT(one_to_one_poll, 60) {
    question_and_answer(1, BY_POLL, rounds() / 2);
}

TEST_TIMEOUT(one_to_one_epoll, 60) {
    question_and_answer(1, BY_EPOLL, rounds() / 2);
}

TEST_TIMEOUT(two_to_one, 60) {
    question_and_answer(2, BLOCKING, rounds());
}

TEST_TIMEOUT(four_to_one, 60) {
    question_and_answer(4, BLOCKING, rounds());
}

TEST_TIMEOUT(eight_to_one, 60) {
    question_and_answer(8, BLOCKING, rounds());
}

TEST_TIMEOUT(eight_to_one_poll, 60) {
    question_and_answer(8, BY_POLL, rounds() / 2);
}

/* ---- first messages -------------------------------------------------------------------------- */

/* Each question is the first message of a node that never was before; and so is the answer. */
static void run_strangers(void *arg) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    const struct spoke *spoke = arg;
    struct tram_msg msg;

    for (uint64_t i = 1; i <= spoke->rounds; i++) {
        tram_node *node = kit_open(NULL, SPOKE(i), &options);
        int64_t start = kit_now();

        CHECK_OK(tram_send(node, HUB, 0, &i, sizeof i, 0));
        receive(node, &msg, spoke->how, -1);
        meter_wait(&shared->spokes[0], start);
        tram_close(node);
    }
    meter_end(&shared->spokes[0]);
}

static void first_messages(enum how how) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    struct spoke spoke = { .how = how, .rounds = *test_sanitizer() ? 100 : 200 };
    struct tram_msg msg;
    tram_node *node;
    pid_t pid;

    shared = kit_shared(sizeof *shared);
    node = kit_open(NULL, HUB, &options);
    pid = test_fork(run_strangers, &spoke);
    for (uint64_t i = 0; i < spoke.rounds; i++) {
        receive(node, &msg, how, -1);
        CHECK_EQ(msg.seq, 1);
        CHECK_OK(tram_send(node, msg.from, 0, msg.data, msg.size, 0));
    }
    JOIN(pid);
    tram_close(node);
    meter_end(&shared->hub);
    judge(1, false);
    munmap(shared, sizeof *shared);
}

TEST(first_messages_blocking) {
    first_messages(BLOCKING);
}

TEST(first_messages_poll) {
    first_messages(BY_POLL);
}

/* ---- space ---------------------------------------------------------------------------------- */

enum { LARGE = 20000 }; /* three of them fit into 64 KiB */

static char large[LARGE];

/* Send as an event loop does: not waiting, then asleep until the event says that there is room. */
static void send_by_poll(tram_node *node, tram_id to) {
    struct pollfd fd = { .fd = tram_fd(node), .events = POLLIN };
    struct tram_event event;
    int rc;

    while ((rc = tram_send(node, to, 0, large, LARGE, TRAM_NOWAIT)) == -EAGAIN) {
        bool room = false;

        while (!room) {
            int64_t ns = tram_timeout(node);

            CHECK_OK(poll(&fd, 1, ns < 0 ? -1 : (int) ((ns + KIT_MS - 1) / KIT_MS)));
            while (tram_dispatch(node, &event) > 0)
                room |= event.type == TRAM_EVENT_SPACE && event.peer == to;
        }
    }
    CHECK_OK(rc);
}

static void run_pusher(void *arg) {
    const struct spoke *spoke = arg;
    struct meter *meter = &shared->spokes[spoke->index];
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *node = kit_open(NULL, SPOKE(spoke->index), &options);
    struct rng rng = { (uint64_t) getpid() };
    int64_t end = closing_time();

    for (uint64_t i = 0; i < spoke->rounds && kit_now() < end; i++) {
        int64_t start;

        dawdle(&rng);
        start = kit_now();
        if (spoke->how == BY_POLL)
            send_by_poll(node, HUB);
        else
            CHECK_OK(tram_send(node, HUB, 0, large, LARGE, 0));
        meter_wait(meter, start);
    }
    CHECK_OK(tram_send(node, HUB, 0, NULL, 0, 0)); /* that was all */
    tram_close(node);
    meter_end(meter);
}

static void space(int n, enum how how, uint64_t total) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    struct spoke spokes[FAN];
    struct tram_msg msg;
    struct rng rng = { (uint64_t) getpid() };
    pid_t pids[FAN];
    tram_node *node;

    shared = kit_shared(sizeof *shared);
    node = kit_open(NULL, HUB, &options);
    for (int i = 0; i < n; i++) {
        spokes[i] = (struct spoke){ .index = i, .how = how, .rounds = total / (uint64_t) n };
        pids[i] = test_fork(run_pusher, &spokes[i]);
    }
    for (int pushed = n; pushed > 0;) {
        int64_t start = kit_now();

        CHECK_OK(tram_recv(node, &msg, kit_patience(15)));
        meter_wait(&shared->hub, start);
        pushed -= msg.size == 0;
        dawdle(&rng);
    }
    for (int i = 0; i < n; i++)
        JOIN(pids[i]);
    tram_close(node);
    meter_end(&shared->hub);
    judge(n, false);
    munmap(shared, sizeof *shared);
}

TEST_TIMEOUT(space_blocking, 60) {
    space(1, BLOCKING, rounds());
}

TEST_TIMEOUT(space_poll, 60) {
    space(1, BY_POLL, rounds());
}

TEST_TIMEOUT(space_of_four, 60) {
    space(4, BLOCKING, rounds());
}

/* The receiver knocks when it opens, for one before it may have died before it could: but there is
 * no space yet. When there is, it has to knock again. */
static void run_late_receiver(void *arg) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    uint64_t *woken = arg;
    struct tram_msg msg;
    tram_node *node = kit_open(NULL, HUB, &options);

    while (!__atomic_load_n(woken, __ATOMIC_ACQUIRE))
        kit_pause();
    if (!kit_await_asleep(test_dir(), SPOKE(0)))
        FAIL("the sender does not go back to sleep");
    while (tram_recv(node, &msg, 0) == 0)
        continue;
    CHECK_OK(tram_done(node));
    while (__atomic_load_n(woken, __ATOMIC_ACQUIRE))
        kit_pause();
    tram_close(node);
}

/* To sleep, whatever is due. */
static void settle(tram_node *node) {
    struct tram_event event;

    while (tram_timeout(node) == 0)
        CHECK_EQ(tram_dispatch(node, &event), 0);
}

TEST(space_after_a_knock_in_vain) {
    uint64_t *woken = kit_shared(sizeof *woken);
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *node = kit_open(NULL, SPOKE(0), &options);
    struct pollfd fd = { .fd = tram_fd(node), .events = POLLIN };
    struct tram_event event = { .type = TRAM_EVENT_UP };
    int64_t start = 0;
    pid_t pid;

    while (tram_send(node, HUB, 0, NULL, 0, TRAM_NOWAIT) == 0) /* full to the last byte */
        continue;
    settle(node);
    pid = test_fork(run_late_receiver, woken);
    CHECK_EQ(poll(&fd, 1, 20000), 1); /* in vain */
    settle(node);
    start = kit_now();
    __atomic_store_n(woken, 1, __ATOMIC_RELEASE);
    while (event.type != TRAM_EVENT_SPACE) {
        int64_t ns = tram_timeout(node);

        CHECK_OK(poll(&fd, 1, (int) ((ns + KIT_MS - 1) / KIT_MS)));
        while (tram_dispatch(node, &event) > 0 && event.type != TRAM_EVENT_SPACE)
            continue;
    }
    if (kit_now() - start >= LOST_NS)
        FAIL("space came after %.0f ms: the re-look found it", (double) (kit_now() - start) / 1e6);
    __atomic_store_n(woken, 0, __ATOMIC_RELEASE);
    JOIN(pid);
    tram_close(node);
    munmap(woken, sizeof *woken);
}

/* ---- at the very moment -------------------------------------------------------------------- */

/* Here one side does not sleep: it watches the other one begin to wait, and acts in the next few
 * microseconds, when the other is on its way to sleep. So the fences are met, which a round of two
 * sleepers never meets. */
struct race {
    uint64_t over;
    uint64_t turn; /* shared: raised by the side that sleeps, just before it waits */
    uint64_t done; /* shared: the other side's last act */
};

/* Does a process sleep, or does it only not get a processor? */
static bool sleeps(pid_t pid) {
    char path[64], state = 0;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%d/stat", (int) pid);
    file = fopen(path, "re");
    CHECK(file);
    CHECK_EQ(fscanf(file, "%*d %*s %c", &state), 1); /* no blank in our name */
    fclose(file);
    return state == 'S';
}

/* Spin until a word has a value; true if that took as long as a re-look, and the other one sleeps:
 * its wake-up is lost. */
static bool lost(pid_t pid, const uint64_t *word, uint64_t value) {
    int64_t start = kit_now();

    for (uint64_t i = 1; __atomic_load_n(word, __ATOMIC_ACQUIRE) < value; i++) {
        if (i % 256 != 0)
            continue;
        if (kit_now() - start > LOST_NS) {
            if (sleeps(pid))
                return true;
            start = kit_now(); /* the machine is to blame */
        }
        sched_yield(); /* where others want the processor, too */
    }
    return false;
}

/* Some nanoseconds to microseconds: short ones as likely as long ones. */
static void lie_in_wait(struct rng *rng) {
    for (volatile uint64_t n = rng_below(rng, UINT64_C(1) << rng_below(rng, 13)); n > 0; n--)
        continue;
}

static void sleeping_receiver(void *arg) {
    struct race *race = arg;
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *node = kit_open(NULL, HUB, &options);
    struct tram_msg msg;

    kit_pin(1);
    for (uint64_t i = 1; !__atomic_load_n(&race->over, __ATOMIC_ACQUIRE); i++) {
        __atomic_store_n(&race->turn, i, __ATOMIC_RELEASE);
        CHECK_OK(tram_recv(node, &msg, kit_patience(15)));
    }
    tram_close(node);
}

static void sleeping_sender(void *arg) {
    struct race *race = arg;
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *node = kit_open(NULL, SPOKE(0), &options);

    kit_pin(1);
    while (tram_send(node, HUB, 0, large, LARGE, TRAM_NOWAIT) == 0)
        continue;
    for (uint64_t i = 1; !__atomic_load_n(&race->over, __ATOMIC_ACQUIRE); i++) {
        __atomic_store_n(&race->turn, i, __ATOMIC_RELEASE);
        CHECK_OK(tram_send(node, HUB, 0, large, LARGE, 0));
        __atomic_store_n(&race->done, i, __ATOMIC_RELEASE);
    }
    tram_close(node);
}

TEST_TIMEOUT(message_at_the_very_moment, 60) {
    struct race *race = kit_shared(sizeof *race);
    struct tram_options options = kit_options(65536, TRAM_FOREVER);
    struct rng rng = { (uint64_t) getpid() };
    int64_t end = closing_time();
    uint64_t i = 1;
    tram_node *node;
    pid_t pid;

    node = kit_open(NULL, SPOKE(0), &options);
    kit_pin(0);
    pid = test_fork(sleeping_receiver, race);
    for (; i <= 10 * rounds() && kit_now() < end; i++) {
        if (lost(pid, &race->turn, i))
            FAIL("message %llu did not wake", (unsigned long long) i - 1);
        lie_in_wait(&rng);
        CHECK_OK(tram_send(node, HUB, 0, &i, sizeof i, 0));
    }
    __atomic_store_n(&race->over, 1, __ATOMIC_RELEASE);
    CHECK_OK(tram_send(node, HUB, 0, NULL, 0, 0)); /* if it waits already */
    JOIN(pid);
    printf("    %llu moments\n", (unsigned long long) i - 1);
    tram_close(node);
    munmap(race, sizeof *race);
}

TEST_TIMEOUT(space_at_the_very_moment, 60) {
    struct race *race = kit_shared(sizeof *race);
    struct tram_options options = kit_options(65536, TRAM_FOREVER);
    struct rng rng = { (uint64_t) getpid() };
    int64_t end = closing_time();
    uint64_t i = 1;
    struct tram_msg msg;
    tram_node *node;
    pid_t pid;

    node = kit_open(NULL, HUB, &options);
    kit_pin(0);
    pid = test_fork(sleeping_sender, race);
    for (; i <= 5 * rounds() && kit_now() < end; i++) {
        if (lost(pid, &race->turn, i))
            FAIL("space for %llu did not wake", (unsigned long long) i - 1);
        CHECK_OK(tram_recv(node, &msg, kit_patience(15)));
        lie_in_wait(&rng);
        CHECK_OK(tram_done(node));
        if (lost(pid, &race->done, i))
            FAIL("space for %llu did not wake", (unsigned long long) i);
    }
    __atomic_store_n(&race->over, 1, __ATOMIC_RELEASE);
    while (tram_recv(node, &msg, 100 * KIT_MS) == 0) /* if it waits already */
        continue;
    JOIN(pid);
    printf("    %llu moments\n", (unsigned long long) i - 1);
    tram_close(node);
    munmap(race, sizeof *race);
}
