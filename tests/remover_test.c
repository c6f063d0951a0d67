/* SPDX-License-Identifier: MIT
 * test: timeout=120 label=notsan cpus=2
 *
 * A process that removes a node is held before and after each of its system calls, as long as it
 * pleases us, while a sender sends to the node; then it goes on, or is killed. Nobody waits for it,
 * and what was accepted comes, once. (Not under the thread sanitizer: no process here has two
 * threads.)
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "node/custody.h"
#include "node/node.h"
#include "support/kit.h"
#include "support/step.h"

#define HUB TRAM_ID(1, 0, 0, 1)
#define SPOKE TRAM_ID(2, 0, 0, 1)

struct plan {
    char dir[200], bus[256];
    bool force;
    bool no_channel; /* it is made while the remover is held */
    bool killed;     /* then; else it goes on */
    bool anew;       /* the sender sends by another process's node than before */
    bool hub_first;  /* the receiver opens before the sender sends again */
};

struct world {
    const struct plan *plan;
    tram_node *spoke;
    uint64_t accepted, received, refused;
};

static void remove_hub(void *arg) {
    const struct plan *plan = arg;
    struct tram_error error;
    int rc;

    CHECK_OK((int) ptrace(PTRACE_TRACEME, 0, 0, 0));
    raise(SIGSTOP);
    rc = custody_rm(plan->bus, HUB, plan->force, &error);
    if (rc != 0 && rc != -ENOTEMPTY)
        FAIL("%s", error.text);
    _exit(0);
}

/* Let it go on to its next stop. False: it has ended. */
static bool next_stop(pid_t pid) {
    int status;

    CHECK_OK((int) ptrace(PTRACE_SYSCALL, pid, 0, 0));
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    if (WIFSTOPPED(status))
        return true;
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return false;
}

/* Held at its n-th stop; -1: it has fewer. */
static pid_t hold_at(struct plan *plan, unsigned n) {
    pid_t pid = test_fork(remove_hub, plan);
    int status;

    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSTOPPED(status));
    CHECK_OK((int) ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_EXITKILL));
    for (unsigned i = 0; i < n; i++)
        if (!next_stop(pid))
            return -1;
    return pid;
}

static void let_go(const struct plan *plan, pid_t pid) {
    if (plan->killed)
        test_kill(pid);
    else
        while (next_stop(pid))
            continue;
}

/* As an application: what was refused is sent again. A channel can't be made while somebody
 * removes. */
static bool send_next(struct world *world, bool held) {
    uint64_t number = world->accepted + 1;
    struct peer *peer = peer_get(world->spoke, HUB);
    int64_t began = kit_now();
    int rc;

    CHECK(peer);
    peer->patience = 2 * KIT_MS; /* it is seconds */
    while ((rc = tram_send(world->spoke, HUB, 0, &number, sizeof(number), 0)) == -ESTALE)
        world->refused++;
    CHECK(kit_now() - began < kit_patience(1)); /* whatever he who removes does */
    if (rc == 0)
        world->accepted++;
    else if (!held || rc != -ETIMEDOUT)
        FAIL("%s", kit_error(world->spoke));
    return rc == 0;
}

/* All that was accepted and not received, and nothing else; or, by force, what is left of it. */
static void receive_all(struct world *world) {
    tram_node *hub = kit_open(world->plan->dir, HUB, NULL);
    struct tram_msg msg;
    int rc;

    while ((rc = tram_recv(hub, &msg, 0)) == 0) {
        uint64_t number;

        memcpy(&number, msg.data, sizeof(number));
        if (world->plan->force && number > world->received + 1)
            world->received = number - 1;
        CHECK_EQ(number, world->received + 1);
        CHECK_EQ(msg.attempt, 1);
        world->received = number;
        CHECK_OK(tram_done(hub));
    }
    if (rc != -EAGAIN)
        FAIL("%s", kit_error(hub));
    if (!world->plan->force || world->received > world->accepted)
        CHECK_EQ(world->received, world->accepted);
    tram_close(hub);
}

static uint64_t told_as_lost(const struct plan *plan) {
    uint64_t gone;
    char path[300];
    int fd = CHECK_OK(open(kit_path(path, sizeof(path), plan->dir, SPOKE, "door"), O_RDONLY));

    CHECK_EQ(pread(fd, &gone, sizeof(gone), offsetof(struct door, gone)), sizeof(gone));
    close(fd);
    return gone;
}

static void prepare(struct world *world, struct plan *plan, unsigned n) {
    const struct tram_options options = kit_options(65536, 0);

    (void) snprintf(plan->dir, sizeof(plan->dir), "%s/%u", test_dir(), n);
    (void) snprintf(plan->bus, sizeof(plan->bus), "%s/default", plan->dir);
    CHECK_OK(mkdir(plan->dir, 0700));
    *world = (struct world){.plan = plan, .spoke = kit_open(plan->dir, SPOKE, &options)};
    if (!plan->no_channel)
        CHECK(send_next(world, false));
    receive_all(world);
}

/* False: the remover has fewer stops. */
static bool run(struct plan *plan, unsigned n, uint64_t *refused) {
    struct world world;
    uint64_t before;
    pid_t pid;

    prepare(&world, plan, n);
    pid = hold_at(plan, n);
    if (pid > 0) {
        if (plan->anew) {
            tram_close(world.spoke);
            world.spoke = kit_open(plan->dir, SPOKE, NULL);
        }
        (void) send_next(&world, true);
        (void) send_next(&world, true);
        let_go(plan, pid);
        before = world.accepted - world.received;
        if (plan->hub_first)
            receive_all(&world);
        CHECK(send_next(&world, false));
        receive_all(&world);
        CHECK_EQ(world.received, world.accepted); /* by force, too: that was after it */
        if (plan->force && !plan->killed)
            CHECK(told_as_lost(plan) <= before + world.refused);
        *refused += world.refused;
    }
    tram_close(world.spoke);
    kit_remove_tree(plan->dir);
    return pid > 0;
}

static void at_each_stop(struct plan plan, const char *what) {
    unsigned every = *test_sanitizer() ? 5 : 1;
    uint64_t refused = 0;
    unsigned stops = 0;

    if (step_impossible())
        SKIP(step_impossible());
    while (run(&plan, 1 + stops * every, &refused))
        stops++;
    printf("    %s: held at %u places, %llu messages refused\n", what, stops,
           (unsigned long long) refused);
    CHECK(stops > 10 && (refused > 0 || plan.no_channel || plan.anew));
}

TEST_TIMEOUT(held, 30) {
    at_each_stop((struct plan){0}, "goes on");
    at_each_stop((struct plan){.anew = true}, "goes on, another sender");
    at_each_stop((struct plan){.no_channel = true}, "goes on, first message");
}

TEST_TIMEOUT(killed, 30) {
    at_each_stop((struct plan){.killed = true}, "killed");
    at_each_stop((struct plan){.killed = true, .hub_first = true}, "killed, receiver first");
    at_each_stop((struct plan){.killed = true, .anew = true}, "killed, another sender");
    at_each_stop((struct plan){.killed = true, .no_channel = true}, "killed, first message");
}

TEST_TIMEOUT(by_force, 30) {
    at_each_stop((struct plan){.force = true}, "by force");
    at_each_stop((struct plan){.force = true, .killed = true}, "by force, killed");
}
