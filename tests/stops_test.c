/* SPDX-License-Identifier: MIT
 * test: timeout=120 label=notsan cpus=2
 *
 * Processes that stop for a while: by SIGSTOP, all of them at once as if the machine was suspended,
 * in a debugger, or because signals come all the time. Nobody may be taken for dead, nothing lost.
 *
 * STOPS_SEED and STOPS_ROUNDS in the environment: other moments, and more of them. (Not under the
 * thread sanitizer: no process here has two threads.)
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "node/custody.h"
#include "support/kit.h"
#include "support/traffic.h"

#define OBSERVER TRAM_ID(9, 0, 0, 1)
#define HUB TRAM_ID(1, 0, 0, 1)
#define SPOKE TRAM_ID(2, 0, 0, 1)

static uint64_t seed_of(void) {
    return kit_env("STOPS_SEED", 1);
}

static unsigned rounds_of(unsigned standard) {
    return (unsigned) kit_env("STOPS_ROUNDS", standard);
}

/* ---- stopping ------------------------------------------------------------------------------- */

static void stop(pid_t pid) {
    int status;

    CHECK_OK(kill(pid, SIGSTOP));
    CHECK_EQ(waitpid(pid, &status, WUNTRACED), pid);
    if (!WIFSTOPPED(status))
        FAIL("process %d ended", (int) pid);
}

static void go_on(pid_t pid) {
    CHECK_OK(kill(pid, SIGCONT));
}

static void shuffle(struct rng *rng, pid_t *pids, int n) {
    for (int i = n - 1; i > 0; i--) {
        int j = (int) rng_below(rng, (uint64_t) i + 1);
        pid_t pid = pids[i];

        pids[i] = pids[j];
        pids[j] = pid;
    }
}

/* ---- some traffics, and who looks on --------------------------------------------------------- */

enum { PAIRS = 3 };

struct scene {
    struct rng rng;
    tram_node *observer;
    struct traffic *pairs[PAIRS];
};

static void scene_begin(struct scene *scene, uint64_t salt,
                        void (*begin)(struct traffic *, bool receiver)) {
    struct tram_event event;

    scene->rng.state = kit_mix(seed_of(), salt, 0);
    scene->observer = kit_open(NULL, OBSERVER, NULL);
    for (unsigned i = 0; i < PAIRS; i++) {
        struct traffic like = {
            .seed = seed_of() * PAIRS + i,
            .sender = TRAM_ID(2, 0, i, 1),
            .receiver = TRAM_ID(3, 0, i, 1),
            .begin = begin,
        };

        scene->pairs[i] = traffic_start(&like);
        CHECK_OK(tram_watch(scene->observer, like.sender));
        CHECK_OK(tram_watch(scene->observer, like.receiver));
    }
    for (unsigned i = 0; i < 2 * PAIRS; i++) {
        CHECK_EQ(tram_dispatch(scene->observer, &event), 1);
        CHECK_EQ(event.type, TRAM_EVENT_UP);
    }
}

static void scene_check_up(struct scene *scene) {
    struct tram_event event;

    for (unsigned i = 0; i < PAIRS; i++)
        traffic_check_up(scene->pairs[i], scene->observer);
    CHECK_EQ(tram_dispatch(scene->observer, &event), 0);
}

static void scene_await_progress(struct scene *scene) {
    for (unsigned i = 0; i < PAIRS; i++)
        traffic_await_progress(scene->pairs[i]);
}

static void scene_end(struct scene *scene, const char *what, unsigned times) {
    unsigned long long messages = 0, bounds = 0;
    struct tram_event event;

    scene_check_up(scene);
    for (unsigned i = 0; i < PAIRS; i++) {
        bounds += scene->pairs[i]->bounds;
        messages += traffic_end(scene->pairs[i]);
    }
    for (unsigned i = 0; i < 2 * PAIRS; i++) { /* now they are */
        CHECK_EQ(tram_wait(scene->observer, kit_patience(10)), 1);
        CHECK_EQ(tram_dispatch(scene->observer, &event), 1);
        CHECK_EQ(event.type, TRAM_EVENT_DOWN);
    }
    printf("    %s %u times: %llu messages, %llu waits ended by their bound\n", what, times,
           messages, bounds);
    tram_close(scene->observer);
}

/* ---- one stops, or both, or all -------------------------------------------------------------- */

/* Of each pair the sender, the receiver or both. */
TEST_TIMEOUT(stopped_in_traffic, 60) {
    unsigned rounds = rounds_of(3), stops = 0;
    struct scene scene;

    scene_begin(&scene, 1, NULL);
    for (unsigned round = 0; round < rounds; round++) {
        pid_t pids[2 * PAIRS];
        int n = 0;

        traffic_pass((int64_t) rng_below(&scene.rng, 30000) * 1000);
        for (unsigned i = 0; i < PAIRS; i++) {
            uint64_t who = 1 + rng_below(&scene.rng, 3);

            if (who & 1)
                pids[n++] = scene.pairs[i]->pid[0];
            if (who & 2)
                pids[n++] = scene.pairs[i]->pid[1];
        }
        shuffle(&scene.rng, pids, n);
        for (int i = 0; i < n; i++)
            stop(pids[i]);
        traffic_pass(200 * KIT_MS + (int64_t) rng_below(&scene.rng, 200) * KIT_MS);
        scene_check_up(&scene);
        shuffle(&scene.rng, pids, n);
        for (int i = 0; i < n; i++)
            go_on(pids[i]);
        scene_await_progress(&scene);
        stops += (unsigned) n;
    }
    scene_end(&scene, "stopped", stops);
}

/* As far as a test can: nobody on the bus runs, and then all go on in some order, some of them
 * later. (Time goes on meanwhile; that of a suspended machine does not: docs/TESTING.md.) */
TEST_TIMEOUT(all_stopped_at_once, 60) {
    unsigned rounds = (rounds_of(1) + 1) / 2;
    struct scene scene;

    scene_begin(&scene, 2, NULL);
    for (unsigned round = 0; round < rounds; round++) {
        pid_t pids[2 * PAIRS];

        traffic_pass((int64_t) rng_below(&scene.rng, 30000) * 1000);
        for (int i = 0; i < 2 * PAIRS; i++)
            pids[i] = scene.pairs[i / 2]->pid[i % 2];
        shuffle(&scene.rng, pids, 2 * PAIRS);
        for (int i = 0; i < 2 * PAIRS; i++)
            stop(pids[i]);
        traffic_pass(KIT_S);
        scene_check_up(&scene);
        shuffle(&scene.rng, pids, 2 * PAIRS);
        for (int i = 0; i < 2 * PAIRS; i++) {
            go_on(pids[i]);
            traffic_pass((int64_t) rng_below(&scene.rng, 20000) * 1000);
        }
        scene_await_progress(&scene);
    }
    scene_end(&scene, "all stopped", rounds);
}

/* ---- stopped asleep -------------------------------------------------------------------------- */

/* What came while a sleeper was stopped is there for it at once, and not only at its next re-look,
 * which is a second after it fell asleep. */
struct sleeper {
    _Atomic int64_t told;    /* when it came back from its wait */
    _Atomic uint32_t rounds; /* waits that it came back from */
};

static void sleep_in_recv(void *arg) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *node = kit_open(NULL, HUB, &options);
    struct sleeper *sleeper = arg;
    struct tram_msg msg;

    for (;;) {
        CHECK_OK(tram_recv(node, &msg, TRAM_FOREVER));
        sleeper->told = kit_now();
        for (int i = 1; i < 3; i++)
            CHECK_OK(tram_recv(node, &msg, 0));
        sleeper->rounds++;
    }
}

static void sleep_in_poll(void *arg) {
    tram_node *node = kit_open(NULL, HUB, NULL);
    struct pollfd fd = { .fd = CHECK_OK(tram_fd(node)), .events = POLLIN };
    struct sleeper *sleeper = arg;
    struct tram_event event;
    struct tram_msg msg;

    for (int got = 0;;) {
        int64_t ns = tram_timeout(node);

        CHECK_OK(poll(&fd, 1, ns < 0 ? -1 : (int) (ns / KIT_MS) + 1));
        CHECK_EQ(tram_dispatch(node, &event), 0);
        for (; tram_recv(node, &msg, 0) == 0; got++)
            if (got % 3 == 0)
                sleeper->told = kit_now();
        sleeper->rounds = (uint32_t) got / 3;
    }
}

/* The other side: asleep because there is no room. (Prefaulted: or it would look each 100 ms
 * whether there is memory to give back, and find room.) */
static void sleep_for_space(void *arg) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    static const char bytes[20000];
    struct sleeper *sleeper = arg;
    tram_node *node;
    int rc;

    options.flags = TRAM_OPEN_PREFAULT;
    node = kit_open(NULL, HUB, &options);
    for (;;) {
        while ((rc = tram_send(node, SPOKE, 0, bytes, sizeof bytes, TRAM_NOWAIT)) == 0)
            continue;
        CHECK_EQ(rc, -EAGAIN);
        CHECK_OK(tram_send(node, SPOKE, 0, bytes, sizeof bytes, 0));
        sleeper->told = kit_now();
        sleeper->rounds++;
    }
}

static void send_three(tram_node *spoke) {
    for (int i = 0; i < 3; i++)
        CHECK_OK(tram_send(spoke, HUB, 0, &i, sizeof i, 0));
}

static void receive_all(tram_node *spoke) {
    struct tram_msg msg;

    while (tram_recv(spoke, &msg, 0) == 0)
        continue;
}

static int by_size(const void *a, const void *b) {
    int64_t x = *(const int64_t *) a, y = *(const int64_t *) b;

    return (x > y) - (x < y);
}

static void check_sleeper(void (*body)(void *), void (*wake)(tram_node *), const char *what,
                          int64_t allowed) {
    enum { TIMES = 3 };
    struct sleeper *sleeper = kit_shared(sizeof *sleeper);
    tram_node *spoke = kit_open(NULL, SPOKE, NULL);
    pid_t pid = test_fork(body, sleeper);
    int64_t late[TIMES];

    for (uint32_t i = 0; i < TIMES; i++) {
        int64_t end, woken;

        if (!kit_await_asleep(test_dir(), HUB))
            FAIL("%s: it does not sleep", what);
        stop(pid);
        if (sleeper->rounds != i || !kit_asleep(test_dir(), HUB))
            FAIL("%s: woken by nothing", what);
        wake(spoke);
        traffic_pass(120 * KIT_MS);
        woken = kit_now();
        go_on(pid);
        for (end = woken + kit_patience(10); sleeper->rounds == i; kit_pause())
            if (kit_now() > end)
                FAIL("%s: it sleeps on", what);
        late[i] = sleeper->told - woken;
    }
    test_kill(pid);
    qsort(late, TIMES, sizeof *late, by_size);
    printf("    %s: p50 %.2f ms, longest %.2f ms after it went on\n", what,
           (double) late[TIMES / 2] / 1e6, (double) late[TIMES - 1] / 1e6);
    if (late[TIMES / 2] > allowed + 300 * KIT_MS)
        FAIL("%s: too late: found by a re-look, it seems", what);
    tram_close(spoke);
    munmap(sleeper, sizeof *sleeper);
}

TEST(stopped_asleep_in_recv) {
    check_sleeper(sleep_in_recv, send_three, "a receive", 0);
}

TEST(stopped_asleep_in_poll) {
    check_sleeper(sleep_in_poll, send_three, "a poll", 0);
}

TEST(stopped_asleep_for_space) {
    check_sleeper(sleep_for_space, receive_all, "a send", 0);
}

/* A sleep stands still while it is stopped: what was left of its bound then, it may last after it
 * (poll(2): the kernel begins it again with that), and no longer. */
#define BOUND (100 * KIT_MS)

static void wait_bounded(void *arg) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *node = kit_open(NULL, HUB, &options);
    struct sleeper *sleeper = arg;
    struct tram_msg msg;

    for (;;) {
        int64_t began = kit_now();

        CHECK_ERR(tram_recv(node, &msg, BOUND), -ETIMEDOUT);
        CHECK(kit_now() - began >= BOUND);
        sleeper->told = kit_now();
        sleeper->rounds++;
    }
}

static void wake_by_nothing(tram_node *spoke) {
    (void) spoke;
}

TEST(stopped_over_a_bound) {
    check_sleeper(wait_bounded, wake_by_nothing, "a bound", BOUND);
}

/* ---- a third party stops that holds the custody ---------------------------------------------- */

/* A sender with messages of its own numbers; a receiver that comes and goes; and somebody who
 * removes it again and again when it is drained, and is stopped in the middle. */
struct parties {
    _Atomic uint64_t accepted, received, removed, refused, stale, waited;
    _Atomic int ending, drained;
};

static void third_party_send(void *arg) {
    struct tram_options options = kit_options(65536, 0);
    tram_node *node = kit_open(NULL, SPOKE, &options);
    struct parties *parties = arg;

    for (uint64_t n = 1; !parties->ending; n++) {
        int rc;

        while ((rc = tram_send(node, HUB, 0, &n, sizeof n, 0)) == -ESTALE)
            parties->stale++; /* not accepted: send it again */
        if (rc == -ETIMEDOUT) { /* nor this: said after five seconds */
            n--;
            continue;
        }
        CHECK_EQ(rc, 0);
        parties->accepted = n;
        if (n % 8 == 0) /* let it be drained, and removed */
            while (parties->received < n && !parties->ending)
                kit_pause();
        if (n % 8 == 0)
            traffic_pass((int64_t) (n / 8 % 4) * KIT_MS);
    }
    tram_close(node);
}

/* Nothing, or a node; the custody may be another's for two seconds. */
static tram_node *open_hub(struct parties *parties) {
    tram_node *node = NULL;
    int rc = tram_open(NULL, HUB, NULL, &node);

    if (rc == -ETIMEDOUT)
        parties->waited++;
    else
        CHECK_EQ(rc, 0);
    return node;
}

static void third_party_receive(void *arg) {
    struct parties *parties = arg;
    struct tram_msg msg;

    while (!parties->drained) {
        bool ending = parties->ending == 2;
        tram_node *node = open_hub(parties);

        if (!node)
            continue;
        while (tram_recv(node, &msg, KIT_MS) == 0) {
            uint64_t expected = parties->received + 1;

            CHECK_EQ(msg.attempt, 1);
            CHECK_MEM(msg.data, &expected, sizeof expected);
            CHECK_OK(tram_done(node));
            parties->received++;
        }
        tram_close(node);
        if (ending)
            parties->drained = 1;
        traffic_pass(2 * KIT_MS);
    }
}

static void third_party_remove(void *arg) {
    struct parties *parties = arg;
    char bus[200];

    snprintf(bus, sizeof bus, "%s/default", test_dir());
    while (parties->ending < 2) {
        struct tram_error error;
        int rc = custody_rm(bus, HUB, false, &error);

        if (rc == 0)
            parties->removed++;
        else if (rc == -EBUSY || rc == -ENOTEMPTY || rc == -ENOENT)
            parties->refused++;
        else
            FAIL("rm: %s", error.text);
    }
}

TEST_TIMEOUT(stopped_with_the_custody, 60) {
    struct parties *parties = kit_shared(sizeof *parties);
    struct rng rng = { kit_mix(seed_of(), 3, 0) };
    pid_t sender = test_fork(third_party_send, parties);
    pid_t receiver = test_fork(third_party_receive, parties);
    pid_t remover = test_fork(third_party_remove, parties);
    unsigned rounds = rounds_of(4);

    for (unsigned round = 0; round < rounds; round++) {
        uint64_t before = parties->received;
        int64_t end = kit_now() + kit_patience(15);

        traffic_pass((int64_t) rng_below(&rng, 20000) * 1000);
        stop(remover);
        traffic_pass(100 * KIT_MS + (int64_t) rng_below(&rng, 300) * KIT_MS);
        go_on(remover);
        for (; parties->received == before; kit_pause())
            if (kit_now() > end)
                FAIL("nothing moves any more");
    }
    parties->ending = 1;
    JOIN(sender);
    parties->ending = 2;
    JOIN(remover);
    JOIN(receiver);
    CHECK_EQ(parties->received, parties->accepted);
    printf("    remover stopped %u times: %llu messages, %llu removals, %llu refused; %llu sends "
           "again\n", rounds, (unsigned long long) parties->received,
           (unsigned long long) parties->removed, (unsigned long long) parties->refused,
           (unsigned long long) parties->stale);
    CHECK(parties->removed > 0);
    munmap(parties, sizeof *parties);
}

/* ---- a debugger ------------------------------------------------------------------------------ */

/* The process stops under us; false when it does not within the time. */
static bool await_trap(pid_t pid, int64_t patience) {
    int64_t end = kit_now() + patience;
    int status = 0;
    pid_t got;

    while ((got = CHECK_OK(waitpid(pid, &status, __WALL | WNOHANG))) == 0) {
        if (kit_now() > end)
            return false;
        sched_yield();
    }
    if (got != pid || !WIFSTOPPED(status))
        FAIL("process %d ended in the debugger", (int) pid);
    return true;
}

static void debugger_attach(pid_t pid) {
    if (ptrace(PTRACE_SEIZE, pid, 0, 0) < 0)
        SKIP("no ptrace here");
    CHECK_OK(ptrace(PTRACE_INTERRUPT, pid, 0, 0));
    CHECK(await_trap(pid, kit_patience(10)));
}

/* Some instructions, one by one: if one is a system call that sleeps, until there. (Not where loops
 * of load-exclusive never end when they are stepped.) */
static unsigned debugger_step(pid_t pid, unsigned most) {
#if !defined(__x86_64__)
    most = 0;
#endif
    for (unsigned i = 0; i < most; i++) {
        CHECK_OK(ptrace(PTRACE_SINGLESTEP, pid, 0, 0));
        if (!await_trap(pid, 20 * KIT_MS)) {
            CHECK_OK(ptrace(PTRACE_INTERRUPT, pid, 0, 0));
            CHECK(await_trap(pid, kit_patience(10)));
            return i;
        }
    }
    return most;
}

/* A step that ended at the moment of an interruption left its SIGTRAP, which would kill. */
static void debugger_detach(pid_t pid) {
    struct __ptrace_peeksiginfo_args first = { .nr = 1 };
    siginfo_t info;

    while (CHECK_OK(ptrace(PTRACE_PEEKSIGINFO, pid, &first, &info)) > 0) {
        CHECK_OK(ptrace(PTRACE_CONT, pid, 0, 0));
        CHECK(await_trap(pid, kit_patience(10)));
    }
    CHECK_OK(ptrace(PTRACE_DETACH, pid, 0, 0));
}

TEST_TIMEOUT(in_a_debugger, 60) {
    unsigned rounds = rounds_of(6), steps = 0;
    struct scene scene;

    scene_begin(&scene, 4, NULL);
    for (unsigned round = 0; round < rounds; round++) {
        pid_t pids[2 * PAIRS];
        int n = 1 + (int) rng_below(&scene.rng, 2 * PAIRS);

        traffic_pass((int64_t) rng_below(&scene.rng, 20000) * 1000);
        for (int i = 0; i < 2 * PAIRS; i++)
            pids[i] = scene.pairs[i / 2]->pid[i % 2];
        shuffle(&scene.rng, pids, 2 * PAIRS);
        for (int i = 0; i < n; i++)
            debugger_attach(pids[i]);
        if (round % 3 == 0)
            traffic_pass(300 * KIT_MS);
        scene_check_up(&scene);
        for (int i = 0; i < n; i++)
            steps += debugger_step(pids[i], (unsigned) rng_below(&scene.rng, 800));
        for (int i = 0; i < n; i++)
            debugger_detach(pids[i]);
        scene_await_progress(&scene);
    }
    printf("    %u single steps\n", steps);
    scene_end(&scene, "attached", rounds);
}

/* ---- signals --------------------------------------------------------------------------------- */

static volatile sig_atomic_t rung;

static void ring(int signal) {
    (void) signal;
    rung++;
}

/* A timer that interrupts whatever this process does, some thousand times a second. */
static void begin_with_alarms(struct traffic *traffic, bool receiver) {
    struct sigaction action = { .sa_handler = ring }; /* without SA_RESTART */
    struct itimerval timer = { .it_interval = { .tv_usec = 400 + 170 * receiver },
                               .it_value = { .tv_usec = 1 } };

    (void) traffic;
    CHECK_OK(sigaction(SIGALRM, &action, NULL));
    CHECK_OK(setitimer(ITIMER_REAL, &timer, NULL));
}

TEST_TIMEOUT(signals_all_the_time, 60) {
    unsigned rounds = rounds_of(2);
    struct scene scene;

    scene_begin(&scene, 5, begin_with_alarms);
    for (unsigned round = 0; round < rounds; round++) {
        traffic_pass(300 * KIT_MS);
        scene_await_progress(&scene);
    }
    scene_end(&scene, "300 ms of alarms", rounds);
}

/* A wait in peace: it does nothing but wait, and lasts. */
TEST(signals_end_no_wait) {
    static char bytes[20000];
    struct tram_options options = kit_options(65536, 0);
    tram_node *node = kit_open(NULL, HUB, &options), *full = kit_open(NULL, SPOKE, NULL);
    struct iovec piece = { bytes, sizeof bytes };
    struct tram_msg msg;
    void *room;

    while (tram_send(node, SPOKE, 0, bytes, sizeof bytes, TRAM_NOWAIT) == 0)
        continue;
    begin_with_alarms(NULL, false);
    for (int call = 0; call < 6; call++) {
        int64_t began = kit_now();
        int before = (int) rung, rc;

        switch (call) {
        case 0: rc = tram_recv(node, &msg, 100 * KIT_MS); break;
        case 1: rc = tram_recv_batch(node, &msg, 1, TRAM_HOLD, 100 * KIT_MS); break;
        case 2: rc = tram_recv_copy(node, bytes, sizeof bytes, &msg, 100 * KIT_MS); break;
        case 3: rc = tram_wait(node, 100 * KIT_MS); break;
        case 4: rc = tram_sendv(node, SPOKE, NULL, &piece, 1, 0, 100 * KIT_MS); break;
        default: rc = tram_claim(node, SPOKE, sizeof bytes, 100 * KIT_MS, &room); break;
        }
        CHECK_ERR(rc, -ETIMEDOUT);
        CHECK(kit_now() - began >= 100 * KIT_MS);
        CHECK(rung - before > 10);
    }
    CHECK_OK(setitimer(ITIMER_REAL, &(struct itimerval){ 0 }, NULL));
    tram_close(node);
    tram_close(full);
}
