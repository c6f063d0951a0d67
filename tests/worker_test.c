/* SPDX-License-Identifier: MIT
 *
 * Workers as their header says: life, messages, timers, watches, signals; freed in each kind of
 * handler; forked; driven by a foreign loop. (Jobs: worker_job_test.c. What services see of them:
 * src/worker/worker_test.c.)
 */
// test: timeout=90
#include "tram/worker.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "harness.h"
#include "support/kit.h"
#include "worker/internal.h"

#define SELF  TRAM_ID(1, 0, 0, 1)
#define OTHER TRAM_ID(1, 0, 0, 2)

static tram_worker *make(tram_id id, uint32_t flags) {
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    tram_worker *worker;

    options.id = id;
    options.flags = flags;
    CHECK_OK(tram_worker_new(&options, &worker));
    return worker;
}

static tram_timer *timer_of(tram_worker *worker, tram_timer_fn *fn, void *arg, int64_t first_ns,
                            int64_t every_ns) {
    tram_timer *timer;

    CHECK_OK(tram_timer_new(worker, fn, arg, &timer));
    CHECK_OK(tram_timer_set(timer, first_ns, every_ns));
    return timer;
}

static void stop_at(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    (void) timer, (void) missed;
    CHECK(late_ns >= 0);
    CHECK_OK(tram_worker_stop(arg, 9));
}

/* Run for some milliseconds. */
static void run_for(tram_worker *worker, int ms) {
    tram_timer *timer = timer_of(worker, stop_at, worker, ms * KIT_MS, 0);

    CHECK_EQ(tram_worker_run(worker), 9);
    CHECK(tram_timer_free(timer) == NULL);
}

/* ---- making, running ------------------------------------------------------------------------- */

TEST(options_are_checked) {
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    tram_worker *worker = NULL, *other = NULL;

    CHECK_ERR(tram_worker_new(NULL, NULL), -EINVAL);
    options.flags = TRAM_WORKER_SPIN | TRAM_WORKER_NO_SPIN;
    CHECK_ERR(tram_worker_new(&options, &worker), -EINVAL);
    CHECK(strstr(tram_worker_error(NULL)->text, "exclude"));
    options.flags = 0x8000;
    CHECK_ERR(tram_worker_new(&options, &worker), -EINVAL);
    options.flags = 0;
    options.reserved = 1;
    CHECK_ERR(tram_worker_new(&options, &worker), -EINVAL);
    options.reserved = 0;
    options.jobs_max = UINT32_MAX;
    CHECK_ERR(tram_worker_new(&options, &worker), -EINVAL);
    options.jobs_max = 0;
    options.struct_size = 0;
    CHECK_ERR(tram_worker_new(&options, &worker), -EINVAL);
    options.struct_size = sizeof(options);
    options.bus = ".no";
    CHECK_ERR(tram_worker_new(&options, &worker), -EINVAL);
    options.bus = NULL;
    options.id = SELF;
    options.name = "a name that is longer than fifteen";
    CHECK_OK(tram_worker_new(&options, &worker));
    CHECK_ERR(tram_worker_new(&options, &other), -EADDRINUSE);
    CHECK_EQ(tram_worker_error(NULL)->pid, getpid());
    CHECK(other == NULL);
    CHECK(strncmp(tram_worker_name(worker), "a name", 6) == 0);
    CHECK_EQ(tram_node_id(tram_worker_node(worker)), SELF);
    CHECK(tram_worker_current() == NULL);
    CHECK(tram_worker_free(worker) == NULL);
    CHECK(tram_worker_free(NULL) == NULL);
}

TEST(without_options) {
    tram_worker *worker;

    CHECK_OK(tram_worker_new(NULL, &worker));
    CHECK(tram_node_id(tram_worker_node(worker)) >= TRAM_EPHEMERAL);
    CHECK(tram_worker_name(worker)[0] != '\0');
    tram_worker_free(worker);
}

static void free_in_io(tram_io *io, int fd, uint32_t events, void *arg) {
    (void) io, (void) fd, (void) events;
    tram_worker_free(arg);
}

static void free_in_signal(tram_signal *sign, int number, void *arg) {
    (void) sign, (void) number;
    tram_worker_free(arg);
}

TEST(arguments_are_checked) {
    tram_worker *worker = make(SELF, 0);
    tram_timer *timer;
    tram_signal *sign;
    tram_io *io;
    int file = CHECK_OK(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));

    CHECK_ERR(tram_worker_start(NULL), -EINVAL);
    CHECK_ERR(tram_worker_run(NULL), -EINVAL);
    CHECK_ERR(tram_worker_dispatch(NULL), -EINVAL);
    CHECK_ERR(tram_worker_stop(worker, -1), -EINVAL);
    CHECK_ERR(tram_worker_join(worker), -ESRCH);
    CHECK_ERR(tram_worker_fd(NULL), -EINVAL);
    CHECK_ERR(tram_timer_new(worker, NULL, NULL, &timer), -EINVAL);
    CHECK_ERR(tram_timer_new(worker, stop_at, NULL, NULL), -EINVAL);
    CHECK_OK(tram_timer_new(worker, stop_at, NULL, &timer));
    CHECK_ERR(tram_timer_set(timer, -2, 0), -EINVAL);
    CHECK_ERR(tram_timer_set(timer, 0, -1), -EINVAL);
    CHECK_ERR(tram_timer_set(NULL, 0, 0), -EINVAL);
    CHECK_ERR(tram_io_new(worker, file, TRAM_IO_READ, NULL, NULL, &io), -EINVAL);
    CHECK_ERR(tram_io_new(worker, file, 64, free_in_io, NULL, &io), -EINVAL);
    CHECK_ERR(tram_io_new(worker, file, TRAM_IO_READ, free_in_io, NULL, &io), -EPERM);
    CHECK_EQ(tram_worker_error(worker)->code, -EPERM);
    CHECK_ERR(tram_signal_new(worker, SIGKILL, free_in_signal, NULL, &sign), -EINVAL);
    CHECK_ERR(tram_signal_new(worker, 0, free_in_signal, NULL, &sign), -EINVAL);
    CHECK(!tram_timer_free(NULL) && !tram_io_free(NULL) && !tram_signal_free(NULL));
    CHECK_ERR(tram_worker_on_message(NULL, NULL, NULL), -EINVAL);
    tram_worker_free(worker);
    (void) close(file);
}

static void nested(tram_worker *worker, void *arg) {
    *(int *) arg = tram_worker_run(worker);
    CHECK_ERR(tram_worker_dispatch(worker), -EDEADLK);
    CHECK_ERR(tram_worker_start(worker), -EALREADY);
    CHECK(tram_worker_current() == worker);
    CHECK_OK(tram_worker_stop(worker, 5));
}

TEST(run_stop_run_again) {
    tram_worker *worker = make(SELF, 0);
    int rc = 0;

    CHECK_OK(tram_worker_stop(worker, 2)); /* before it runs: the next run ends at once */
    CHECK_EQ(tram_worker_run(worker), 2);
    CHECK_OK(tram_worker_post(worker, nested, &rc, 0));
    CHECK_EQ(tram_worker_run(worker), 5);
    CHECK_EQ(rc, -EDEADLK);
    run_for(worker, 5);
    tram_worker_free(worker);
}

static void thread_checks(tram_worker *worker, void *arg) {
    char name[16] = "";

    CHECK_EQ(pthread_getname_np(pthread_self(), name, sizeof(name)), 0);
    CHECK_STR(name, tram_worker_name(worker));
    CHECK_ERR(tram_worker_join(worker), -EDEADLK);
    *(bool *) arg = true;
}

TEST(thread_of_its_own) {
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    tram_worker *worker;
    tram_timer *timer = NULL;
    bool ran = false;

    options.name = "mine";
    CHECK_OK(tram_worker_new(&options, &worker));
    for (int round = 0; round < 3; round++) {
        CHECK_OK(tram_worker_start(worker));
        CHECK_ERR(tram_worker_start(worker), -EALREADY);
        CHECK_ERR(tram_worker_run(worker), -EALREADY);
        CHECK_ERR(tram_worker_dispatch(worker), -EALREADY);
        CHECK_ERR(tram_timer_new(worker, stop_at, NULL, &timer), -EXDEV);
        CHECK_ERR(tram_worker_on_message(worker, NULL, NULL), -EXDEV);
        CHECK_OK(tram_worker_call(worker, thread_checks, NULL, &ran, 0, kit_patience(5)));
        CHECK(ran);
        CHECK_OK(tram_worker_stop(worker, 40 + round));
        CHECK_EQ(tram_worker_join(worker), 40 + round);
        CHECK_OK(tram_timer_new(worker, stop_at, NULL, &timer)); /* this thread's again */
        CHECK_ERR(tram_worker_join(worker), -ESRCH);
    }
    CHECK_OK(tram_worker_start(worker));
    tram_worker_free(worker); /* while it runs */
}

static void *join_it(void *arg) {
    CHECK_EQ(tram_worker_join(arg), 6);
    return NULL;
}

static int waiting(tram_worker *worker) {
    int count;

    CHECK_EQ(pthread_mutex_lock(&worker->life_lock), 0);
    count = (int) worker->waiters;
    CHECK_EQ(pthread_mutex_unlock(&worker->life_lock), 0);
    return count;
}

TEST(several_join) {
    tram_worker *worker = make(SELF, 0);
    pthread_t threads[3];

    CHECK_OK(tram_worker_start(worker));
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, join_it, worker), 0);
    while (waiting(worker) < 3) /* who comes when the thread is joined gets -ESRCH */
        kit_pause();
    CHECK_OK(tram_worker_stop(worker, 6));
    for (int i = 0; i < 3; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    tram_worker_free(worker);
}

/* ---- messages -------------------------------------------------------------------------------- */

struct inbox {
    char text[64];
    int count, enough;
};

static void on_message(tram_worker *worker, const struct tram_msg *msg, void *arg) {
    struct inbox *inbox = arg;

    CHECK_EQ(msg->from, OTHER);
    (void) strncat(inbox->text, msg->data, msg->size);
    if (++inbox->count == inbox->enough)
        CHECK_OK(tram_worker_stop(worker, 1));
}

TEST(plain_messages) {
    tram_worker *worker = make(SELF, 0);
    tram_node *node = kit_open(NULL, OTHER, NULL);
    struct inbox inbox = {.enough = 3};
    struct tram_peer peer;

    CHECK_OK(tram_send(node, SELF, 0, "a", 1, 0));
    CHECK_OK(tram_send(node, SELF, 0, "b", 1, 0));
    run_for(worker, 20); /* nobody wants them: they stay */
    CHECK_OK(tram_peer(node, SELF, &peer));
    CHECK_EQ(peer.to.consumed, 0);
    CHECK_OK(tram_worker_on_message(worker, on_message, &inbox));
    CHECK_OK(tram_send(node, SELF, 0, "c", 1, 0));
    CHECK_EQ(tram_worker_run(worker), 1);
    CHECK_STR(inbox.text, "abc");
    CHECK_OK(tram_peer(node, SELF, &peer));
    CHECK_EQ(peer.to.consumed, 3);
    tram_worker_free(worker);
    tram_close(node);
}

static void wake_by_message(void *arg) {
    tram_node *node = kit_open(NULL, OTHER, NULL);

    for (int i = 0; i < 20; i++) {
        if (!kit_await_asleep(test_dir(), SELF))
            FAIL("the worker does not go to sleep");
        CHECK_OK(tram_send(node, SELF, 0, ".", 1, 0));
    }
    (void) arg;
    tram_close(node);
}

static void wakes_with(uint32_t flags) {
    tram_worker *worker = make(SELF, flags);
    struct inbox inbox = {.enough = 20};
    pid_t pid;

    CHECK_OK(tram_worker_on_message(worker, on_message, &inbox));
    pid = test_fork(wake_by_message, NULL);
    CHECK_EQ(tram_worker_run(worker), 1);
    JOIN(pid);
    tram_worker_free(worker);
}

TEST(sleeps_and_wakes) {
    wakes_with(0);
}

TEST(sleeps_and_wakes_without_spinning) {
    wakes_with(TRAM_WORKER_NO_SPIN);
}

static void stop_first(tram_worker *worker, const struct tram_msg *msg, void *arg) {
    (void) msg;
    ++*(int *) arg;
    CHECK_OK(tram_worker_stop(worker, 0));
}

TEST(what_waits_at_a_stop_stays) {
    tram_worker *worker = make(SELF, 0);
    tram_node *node = kit_open(NULL, OTHER, NULL);
    struct tram_peer peer;
    int count = 0;

    CHECK_OK(tram_worker_on_message(worker, stop_first, &count));
    for (int i = 0; i < 10; i++)
        CHECK_OK(tram_send(node, SELF, 0, "x", 1, 0));
    for (int i = 0; i < 9; i++)
        CHECK_EQ(tram_worker_run(worker), 0);
    CHECK_EQ(count, 9);
    CHECK_OK(tram_peer(node, SELF, &peer));
    CHECK_EQ(peer.to.consumed, 9);
    CHECK_EQ(tram_worker_run(worker), 0);
    CHECK_EQ(count, 10);
    tram_worker_free(worker);
    tram_close(node);
}

/* ---- timers ---------------------------------------------------------------------------------- */

struct clockwork {
    tram_worker *worker;
    tram_timer *self, *victim;
    int count, enough;
    char *trace, letter;
    uint64_t missed;
};

static void tick(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    struct clockwork *clock = arg;

    CHECK(late_ns >= 0);
    CHECK(tram_worker_current() == clock->worker);
    clock->missed += missed;
    if (clock->trace)
        (void) strncat(clock->trace, &clock->letter, 1);
    if (clock->victim)
        clock->victim = tram_timer_free(clock->victim);
    if (++clock->count == clock->enough) {
        CHECK(tram_timer_free(timer) == NULL);
        CHECK_OK(tram_worker_stop(clock->worker, 0));
    }
}

TEST(timers_in_order) {
    tram_worker *worker = make(SELF, 0);
    char trace[8] = "";
    struct clockwork a = {.worker = worker, .trace = trace, .letter = 'a'}, b = a, c = a, d = a;

    b.letter = 'b', c.letter = 'c', d.letter = 'd';
    c.enough = 1;
    (void) timer_of(worker, tick, &c, 30 * KIT_MS, 0);
    (void) timer_of(worker, tick, &a, 0, 0);
    d.victim = timer_of(worker, tick, &b, 20 * KIT_MS, 0);
    (void) timer_of(worker, tick, &d, 10 * KIT_MS, 0);
    (void) timer_of(worker, tick, &b, TRAM_FOREVER, 5);
    CHECK_OK(tram_timer_set(timer_of(worker, tick, &b, 0, 1), TRAM_FOREVER, 0));
    CHECK_EQ(tram_worker_run(worker), 0);
    CHECK_STR(trace, "adc");
    tram_worker_free(worker);
}

TEST(cyclic_timer_counts_what_it_missed) {
    tram_worker *worker = make(SELF, 0);
    struct clockwork clock = {.worker = worker, .enough = 50};
    int64_t start = kit_now(), turns;

    (void) timer_of(worker, tick, &clock, KIT_MS, KIT_MS);
    CHECK_EQ(tram_worker_run(worker), 0);
    turns = (kit_now() - start) / KIT_MS;
    CHECK(turns >= 50);
    CHECK((int64_t) clock.missed + 50 <= turns + 1);
    tram_worker_free(worker);
}

TEST(many_timers) {
    static struct clockwork clocks[500];
    tram_worker *worker = make(SELF, 0);
    struct rng rng = {.state = 5};
    int ran = 0;

    for (int i = 0; i < 500; i++) {
        clocks[i] = (struct clockwork){.worker = worker};
        clocks[i].self = timer_of(worker, tick, &clocks[i],
                                  (int64_t) rng_below(&rng, 20 * KIT_MS), 0);
        if (i % 3 == 0)
            CHECK_OK(tram_timer_set(clocks[i].self, (int64_t) rng_below(&rng, 20 * KIT_MS), 0));
        if (i % 5 == 0)
            clocks[i].self = tram_timer_free(clocks[i].self);
    }
    run_for(worker, 60);
    for (int i = 0; i < 500; i++) {
        CHECK_EQ(clocks[i].count, i % 5 != 0);
        ran += clocks[i].count;
    }
    CHECK_EQ(ran, 400);
    tram_worker_free(worker);
}

/* ---- watches, signals ------------------------------------------------------------------------ */

struct ear {
    tram_worker *worker;
    tram_io *io, **victim;
    int count;
    uint32_t events;
};

static void on_io(tram_io *io, int fd, uint32_t events, void *arg) {
    struct ear *ear = arg;
    char byte;

    ear->events = events;
    ear->count++;
    if (events & TRAM_IO_READ)
        (void) read(fd, &byte, 1);
    if (ear->victim) {
        CHECK(io == ear->io);
        *ear->victim = tram_io_free(*ear->victim);
    }
    CHECK_OK(tram_worker_stop(ear->worker, 0));
}

TEST(watches) {
    tram_worker *worker = make(SELF, 0);
    struct ear ear = {.worker = worker}, again = ear;
    int pair[2];

    CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
    CHECK_OK(tram_io_new(worker, pair[0], TRAM_IO_READ, on_io, &ear, &ear.io));
    CHECK_ERR(tram_io_new(worker, pair[0], TRAM_IO_READ, on_io, &again, &again.io), -EEXIST);
    CHECK_EQ(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0); /* it is left as it is */
    CHECK_EQ(write(pair[1], "ab", 2), 2);
    CHECK_EQ(tram_worker_run(worker), 0);
    CHECK_EQ(tram_worker_run(worker), 0); /* level-triggered: the second byte */
    CHECK_EQ(ear.count, 2);
    CHECK_OK(tram_io_set(ear.io, TRAM_IO_READ | TRAM_IO_WRITE));
    CHECK_EQ(tram_worker_run(worker), 0);
    CHECK_EQ(ear.events, TRAM_IO_WRITE);
    CHECK_OK(tram_io_set(ear.io, 0));
    run_for(worker, 10);
    CHECK_EQ(ear.count, 3);
    (void) close(pair[1]);
    CHECK_EQ(tram_worker_run(worker), 0);
    CHECK_EQ(ear.events, TRAM_IO_HANGUP);
    CHECK(tram_io_free(ear.io) == NULL);
    CHECK_OK(tram_io_new(worker, pair[0], TRAM_IO_READ, on_io, &again, &again.io));
    tram_worker_free(worker);
    (void) close(pair[0]);
}

TEST(watch_frees_another_that_is_due) {
    tram_worker *worker = make(SELF, 0);
    struct ear one = {.worker = worker}, two = one;
    int a[2], b[2];

    CHECK_OK(pipe2(a, O_CLOEXEC));
    CHECK_OK(pipe2(b, O_CLOEXEC));
    CHECK_OK(tram_io_new(worker, a[0], TRAM_IO_READ, on_io, &one, &one.io));
    CHECK_OK(tram_io_new(worker, b[0], TRAM_IO_READ, on_io, &two, &two.io));
    one.victim = &two.io;
    two.victim = &one.io;
    CHECK_EQ(write(a[1], "x", 1) + write(b[1], "x", 1), 2);
    CHECK_EQ(tram_worker_run(worker), 0);
    run_for(worker, 10);
    CHECK_EQ(one.count + two.count, 1);
    CHECK(!one.io || !two.io);
    tram_worker_free(worker);
    for (int i = 0; i < 2; i++)
        CHECK_EQ(close(a[i]) + close(b[i]), 0);
}

static void on_signal(tram_signal *sign, int number, void *arg) {
    (void) sign;
    CHECK_EQ(number, SIGUSR1);
    ++*(int *) arg;
    CHECK_OK(tram_worker_stop(tram_worker_current(), 0));
}

TEST(signals) {
    tram_worker *worker = make(SELF, 0), *other = make(OTHER, 0);
    tram_signal *one, *two;
    int count = 0, more = 0;

    CHECK_OK(tram_signal_new(worker, SIGUSR1, on_signal, &count, &one));
    CHECK_OK(tram_signal_new(other, SIGUSR1, on_signal, &more, &two));
    CHECK_OK(kill(getpid(), SIGUSR1));
    CHECK_EQ(tram_worker_run(worker), 0);
    CHECK_EQ(tram_worker_run(other), 0);
    CHECK_EQ(count + more, 2);
    CHECK(tram_signal_free(one) == NULL);
    CHECK_OK(kill(getpid(), SIGUSR1));
    CHECK_EQ(tram_worker_run(other), 0);
    run_for(worker, 5);
    CHECK_EQ(count, 1);
    CHECK_EQ(more, 2);
    tram_worker_free(worker);
    tram_worker_free(other);
}

/* ---- freed in its own handlers --------------------------------------------------------------- */

static void free_in_job(tram_worker *worker, void *arg) {
    (void) arg;
    CHECK(tram_worker_free(worker) == NULL);
    CHECK(tram_worker_free(worker) == NULL); /* still there: this handler runs */
    CHECK_EQ(tram_node_id(tram_worker_node(worker)), SELF);
}

static void free_in_timer(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    (void) late_ns, (void) missed;
    tram_worker_free(arg);
    tram_timer_free(timer);
}

static void free_in_message(tram_worker *worker, const struct tram_msg *msg, void *arg) {
    (void) arg;
    tram_worker_free(worker);
    CHECK(((const char *) msg->data)[0] >= 'x'); /* 'y': of a life before */
}

/* `which` kind of handler frees it. */
static void arm_end(tram_worker *worker, int which, int fd) {
    tram_signal *sign;
    tram_io *io;

    switch (which) {
    case 0:
        CHECK_OK(tram_worker_post(worker, free_in_job, NULL, 0));
        break;
    case 1:
        (void) timer_of(worker, free_in_timer, worker, KIT_MS, KIT_MS);
        break;
    case 2:
        CHECK_OK(tram_io_new(worker, fd, TRAM_IO_WRITE, free_in_io, worker, &io));
        break;
    case 3:
        CHECK_OK(tram_signal_new(worker, SIGUSR2, free_in_signal, worker, &sign));
        CHECK_OK(kill(getpid(), SIGUSR2));
        break;
    default:
        CHECK_OK(tram_worker_on_message(worker, free_in_message, NULL));
        CHECK_OK(tram_send(tram_worker_node(worker), SELF, 0, "x", 1, 0));
        CHECK_OK(tram_send(tram_worker_node(worker), SELF, 0, "y", 1, 0));
    }
}

TEST(freed_in_each_handler) {
    int pair[2];

    CHECK_OK(pipe2(pair, O_CLOEXEC));
    for (int which = 0; which < 15; which++) {
        tram_worker *worker, *again;
        int rc = 1;

        /* libuv closes by system calls that this sanitizer does not see: it takes a later
         * descriptor of the same number for the same one. */
        if (which / 5 == 1 && strcmp(test_sanitizer(), "thread") == 0)
            continue;
        worker = make(SELF, 0);
        arm_end(worker, which % 5, pair[1]);
        if (which < 5) {
            CHECK_EQ(tram_worker_run(worker), 0);
        } else if (which < 10) {
            CHECK_OK(tram_worker_start(worker));
            do { /* its node is closed when it is gone */
                struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;

                options.id = SELF;
                kit_pause();
                rc = tram_worker_new(&options, &again);
            } while (rc == -EADDRINUSE);
            CHECK_OK(rc);
            tram_worker_free(again);
        } else {
            struct pollfd entry = {.fd = CHECK_OK(tram_worker_fd(worker)), .events = POLLIN};

            while ((rc = tram_worker_dispatch(worker)) >= 0)
                if (rc == 0)
                    CHECK_EQ(poll(&entry, 1, test_seconds(5) * 1000), 1);
            CHECK_ERR(rc, -ESHUTDOWN);
        }
    }
    CHECK_EQ(close(pair[0]) + close(pair[1]), 0);
}

/* ---- forks ----------------------------------------------------------------------------------- */

static void child_has_nothing(tram_worker *worker, tram_timer *timer, tram_io *io,
                              tram_signal *sign) {
    struct inbox inbox = {.enough = 1};

    CHECK_ERR(tram_worker_run(worker), -ECHILD);
    CHECK_ERR(tram_worker_start(worker), -ECHILD);
    CHECK_ERR(tram_worker_dispatch(worker), -ECHILD);
    CHECK_ERR(tram_worker_stop(worker, 0), -ECHILD);
    CHECK_ERR(tram_worker_join(worker), -ECHILD);
    CHECK_ERR(tram_worker_fd(worker), -ECHILD);
    CHECK_ERR(tram_worker_post(worker, nested, NULL, 0), -ECHILD);
    CHECK_ERR(tram_worker_call(worker, nested, NULL, NULL, 0, 0), -ECHILD);
    CHECK_ERR(tram_worker_on_message(worker, on_message, &inbox), -ECHILD);
    CHECK_ERR(tram_timer_set(timer, 0, 0), -ECHILD);
    CHECK_ERR(tram_io_set(io, 0), -ECHILD);
    CHECK(!tram_signal_free(sign) && !tram_io_free(io) && !tram_timer_free(timer));
    CHECK(tram_worker_free(worker) == NULL);
}

TEST(forked_child) {
    tram_worker *worker = make(SELF, 0), *other;
    tram_signal *sign;
    tram_timer *timer = timer_of(worker, stop_at, worker, TRAM_FOREVER, 0);
    tram_io *io;
    int pair[2], count = 0, status;
    pid_t pid;

    CHECK_OK(pipe2(pair, O_CLOEXEC));
    CHECK_OK(tram_io_new(worker, pair[0], TRAM_IO_READ, free_in_io, worker, &io));
    CHECK_OK(tram_signal_new(worker, SIGUSR1, on_signal, &count, &sign));
    pid = CHECK_OK(fork());
    if (pid == 0) {
        child_has_nothing(worker, timer, io, sign);
        other = make(OTHER, 0);
        run_for(other, 5);
        tram_worker_free(other);
        _exit(0);
    }
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK_EQ(status, 0);
    run_for(worker, 5); /* the parent's goes on */
    CHECK_OK(kill(getpid(), SIGUSR1));
    CHECK_EQ(tram_worker_run(worker), 0);
    CHECK_EQ(count, 1);
    tram_worker_free(worker);
    CHECK_EQ(close(pair[0]) + close(pair[1]), 0);
}

static void fork_in_handler(tram_worker *worker, void *arg) {
    int *status = arg;
    pid_t pid = CHECK_OK(fork());

    if (pid == 0) {
        *status = -1;
        return; /* the child's loop ends here */
    }
    CHECK_EQ(waitpid(pid, status, 0), pid);
    CHECK_OK(tram_worker_stop(worker, 0));
}

TEST(forked_in_a_handler) {
    tram_worker *worker = make(SELF, 0);
    int status = 1, rc;

    CHECK_OK(tram_worker_post(worker, fork_in_handler, &status, 0));
    rc = tram_worker_run(worker);
    if (status == -1) {
        tram_worker_free(worker);
        _exit(rc == -ECHILD ? 0 : 3);
    }
    CHECK_OK(rc);
    CHECK_EQ(status, 0);
    tram_worker_free(worker);
}

/* ---- foreign loops --------------------------------------------------------------------------- */

static void raw_tick(uv_timer_t *handle) {
    ++*(int *) handle->data;
}

/* One descriptor for timers, watches, jobs, messages, and what libuv has. */
TEST(foreign_loop) {
    tram_worker *worker = make(SELF, 0);
    tram_node *node = kit_open(NULL, OTHER, NULL);
    struct pollfd entry = {.fd = CHECK_OK(tram_worker_fd(worker)), .events = POLLIN};
    struct clockwork clock = {.worker = worker};
    struct inbox inbox = {.enough = -1};
    uv_timer_t raw;
    int ticks = 0, wakes = 0, rc;

    CHECK_EQ(uv_timer_init(tram_worker_loop(worker), &raw), 0);
    raw.data = &ticks;
    CHECK_EQ(uv_timer_start(&raw, raw_tick, 3, 3), 0);
    (void) timer_of(worker, tick, &clock, 0, 2 * KIT_MS);
    CHECK_OK(tram_worker_on_message(worker, on_message, &inbox));
    while (clock.count < 20 || ticks < 10 || inbox.count < 20) {
        if (inbox.count < 20)
            CHECK_OK(tram_send(node, SELF, 0, "m", 1, 0));
        while ((rc = tram_worker_dispatch(worker)) == 1)
            continue;
        CHECK_EQ(rc, 0);
        CHECK_EQ(poll(&entry, 1, test_seconds(5) * 1000), 1);
        wakes++;
    }
    CHECK(wakes < 1000);
    CHECK_EQ(uv_timer_stop(&raw), 0);
    uv_close((uv_handle_t *) &raw, NULL);
    CHECK_OK(tram_worker_stop(worker, 0));
    while ((rc = tram_worker_dispatch(worker)) >= 0)
        continue;
    CHECK_ERR(rc, -ESHUTDOWN);
    CHECK(tram_worker_dispatch(worker) >= 0); /* said once */
    tram_worker_free(worker);
    tram_close(node);
}

/* Idle means idle: nothing makes the descriptor readable but the node's second of re-look. */
TEST(foreign_loop_is_quiet) {
    tram_worker *worker = make(SELF, 0);
    struct pollfd entry = {.fd = CHECK_OK(tram_worker_fd(worker)), .events = POLLIN};
    struct inbox inbox = {.enough = -1};
    int wakes = 0, rc;
    int64_t end;

    CHECK_OK(tram_worker_on_message(worker, on_message, &inbox));
    end = kit_now() + 300 * KIT_MS;
    while (kit_now() < end) {
        while ((rc = tram_worker_dispatch(worker)) == 1)
            continue;
        CHECK_OK(rc);
        wakes += poll(&entry, 1, 50);
    }
    CHECK(wakes <= 3);
    tram_worker_free(worker);
}
