/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * One descriptor for everything: in poll, epoll and libuv, without spinning; several nodes in a
 * thread; a node handed from thread to thread, and used by two at once.
 */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"

#define LEFT TRAM_ID(1, 0, 0, 1)
#define RIGHT TRAM_ID(1, 0, 0, 2)

static int64_t cpu_time(void) {
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * KIT_S +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}

static int to_ms(int64_t ns) {
    return ns < 0 ? -1 : ns > 3600 * KIT_S ? 3600000 : (int) ((ns + KIT_MS - 1) / KIT_MS);
}

static bool readable(tram_node *node) {
    struct pollfd fd = { .fd = tram_fd(node), .events = POLLIN };

    return CHECK_OK(poll(&fd, 1, 0)) == 1;
}

/* ---- the truth ------------------------------------------------------------------------------- */

/* However fast new senders come: who accepted a message before the call has it received by it. */
static void first_messages(tram_node *right, int64_t timeout_ns, tram_id first) {
    struct tram_msg msg;

    for (tram_id id = first; id < first + 60; id++) {
        tram_node *left = kit_open(NULL, id, NULL);

        CHECK_OK(tram_send(left, RIGHT, 0, "x", 1, 0));
        CHECK_OK(tram_recv(right, &msg, timeout_ns));
        CHECK_EQ(msg.from, id);
        CHECK_ERR(tram_recv(right, &msg, timeout_ns), timeout_ns ? -ETIMEDOUT : -EAGAIN);
        tram_close(left);
    }
}

TEST(nothing_there_is_the_truth) {
    tram_node *right = kit_open(NULL, RIGHT, NULL);

    first_messages(right, 0, TRAM_ID(2, 0, 0, 1));
    first_messages(right, 1, TRAM_ID(3, 0, 0, 1));
    CHECK_OK(tram_fd(right));
    first_messages(right, 0, TRAM_ID(4, 0, 0, 1));
    tram_close(right);
}

/* ---- held messages --------------------------------------------------------------------------- */

/* With 512 in hand the next one is no work, until one is released; others' messages are. */
TEST(descriptor_of_who_holds_all) {
    tram_node *left = kit_open(NULL, LEFT, NULL), *right = kit_open(NULL, RIGHT, NULL);
    tram_node *third = kit_open(NULL, TRAM_ID(1, 0, 0, 3), NULL);
    struct tram_msg held[512], msg;
    int64_t before;

    CHECK_OK(tram_fd(right));
    for (int i = 0; i < 600; i++)
        CHECK_OK(tram_send(left, RIGHT, 0, &i, sizeof(i), 0));
    for (int i = 0; i < 512; i++)
        CHECK_EQ(tram_recv_batch(right, &held[i], 1, TRAM_HOLD, 0), 1);
    CHECK_ERR(tram_recv(right, &msg, 0), -ENOBUFS);
    CHECK(!readable(right));
    before = cpu_time();
    for (int64_t end = kit_now() + 300 * KIT_MS; kit_now() < end;) {
        struct pollfd fd = { .fd = tram_fd(right), .events = POLLIN };
        struct tram_event event;

        CHECK_OK(poll(&fd, 1, 50));
        CHECK_EQ(tram_dispatch(right, &event), 0);
        CHECK_ERR(tram_recv(right, &msg, 0), -ENOBUFS);
        CHECK(tram_timeout(right) > 0);
    }
    CHECK(cpu_time() - before < 100 * KIT_MS);
    CHECK_OK(tram_send(third, RIGHT, 7, "x", 1, 0));
    CHECK(readable(right));
    CHECK_OK(tram_recv(right, &msg, 0));
    CHECK_EQ(msg.tag, 7);
    CHECK_ERR(tram_recv(right, &msg, 0), -ENOBUFS);
    CHECK(!readable(right));
    CHECK_OK(tram_release(right, &held[5])); /* in hand until all before it are released */
    CHECK(!readable(right));
    for (int i = 0; i < 5; i++)
        CHECK_OK(tram_release(right, &held[i]));
    CHECK(readable(right));
    for (int i = 512; i < 518; i++) {
        CHECK_EQ(tram_recv_batch(right, &msg, 1, TRAM_HOLD, 0), 1);
        CHECK_EQ(msg.seq, i + 1);
    }
    CHECK_ERR(tram_recv(right, &msg, 0), -ENOBUFS);
    CHECK(!readable(right));
    tram_close(left);
    tram_close(third);
    tram_close(right);
}

/* What the next receive releases does not stand in its own way. */
TEST(descriptor_after_a_full_batch) {
    tram_node *left = kit_open(NULL, LEFT, NULL), *right = kit_open(NULL, RIGHT, NULL);
    struct tram_msg msgs[600];
    int got;

    CHECK_OK(tram_fd(right));
    for (int i = 0; i < 1200; i++)
        CHECK_OK(tram_send(left, RIGHT, 0, &i, sizeof(i), 0));
    for (int sum = 0; sum < 1200; sum += got) {
        CHECK(readable(right));
        CHECK_EQ(tram_timeout(right), 0);
        CHECK_EQ(tram_wait(right, 0), 1);
        got = CHECK_OK(tram_recv_batch(right, msgs, 600, 0, 0));
        CHECK_EQ(msgs[0].seq, sum + 1);
    }
    CHECK_ERR(tram_recv(right, msgs, 0), -EAGAIN);
    CHECK(!readable(right));
    tram_close(left);
    tram_close(right);
}

/* ---- the contract of the descriptor --------------------------------------------------------- */

TEST(descriptor_is_level_triggered) {
    tram_node *left = kit_open(NULL, LEFT, NULL), *right = kit_open(NULL, RIGHT, NULL);
    struct tram_msg msg;

    CHECK_OK(tram_fd(right));
    CHECK_ERR(tram_recv(right, &msg, 0), -EAGAIN);
    CHECK(!readable(right));
    CHECK(tram_timeout(right) != 0);
    for (int i = 0; i < 3; i++)
        CHECK_OK(tram_send(left, RIGHT, 0, "x", 1, 0));
    CHECK(readable(right));
    for (int i = 0; i < 3; i++) {
        CHECK(readable(right)); /* also while some are left */
        CHECK_EQ(tram_timeout(right), 0);
        CHECK_OK(tram_recv(right, &msg, 0));
    }
    CHECK_ERR(tram_recv(right, &msg, 0), -EAGAIN);
    CHECK(!readable(right));
    CHECK(tram_timeout(right) != 0);
    tram_close(left);
    tram_close(right);
}

/* Whoever looks at one message a turn must be told again of the others. */
TEST(one_message_a_turn) {
    tram_node *left = kit_open(NULL, LEFT, NULL), *right = kit_open(NULL, RIGHT, NULL);
    struct pollfd fd = { .fd = tram_fd(right), .events = POLLIN };
    struct tram_event event;
    struct tram_msg msg;

    for (int i = 0; i < 100; i++)
        CHECK_OK(tram_send(left, RIGHT, 0, "x", 1, 0));
    for (int i = 0; i < 100; i++) {
        CHECK_EQ(poll(&fd, 1, to_ms(kit_patience(5))), 1);
        CHECK_EQ(tram_dispatch(right, &event), 0);
        CHECK_OK(tram_recv(right, &msg, 0));
    }
    tram_close(left);
    tram_close(right);
}

/* Space, too: after -EAGAIN the descriptor says when there is room. */
TEST(descriptor_tells_of_space) {
    struct tram_options options = kit_options(65536, 0);
    tram_node *left = kit_open(NULL, LEFT, &options), *right = kit_open(NULL, RIGHT, NULL);
    static char bytes[5000];
    struct tram_event event;
    struct tram_msg msg;

    CHECK_OK(tram_fd(left));
    while (tram_send(left, RIGHT, 0, bytes, sizeof bytes, TRAM_NOWAIT) == 0)
        continue;
    CHECK_EQ(tram_dispatch(left, &event), 0);
    CHECK(tram_timeout(left) != 0);
    CHECK(!readable(left));
    while (tram_recv(right, &msg, 0) == 0)
        continue;
    CHECK(readable(left));
    CHECK_EQ(tram_dispatch(left, &event), 1);
    CHECK_EQ(event.type, TRAM_EVENT_SPACE);
    CHECK_EQ(event.peer, RIGHT);
    CHECK_EQ(tram_dispatch(left, &event), 0);
    CHECK_OK(tram_send(left, RIGHT, 0, bytes, sizeof bytes, TRAM_NOWAIT));
    tram_close(left);
    tram_close(right);
}

/* ---- loops that do not spin ----------------------------------------------------------------- */

enum loop { POLL, EPOLL };

struct turns {
    unsigned woken, received;
    int64_t cpu;
};

/* Receive `want` messages, then stay in the loop for `linger`: how often was it woken? */
static struct turns run_loop(tram_node *node, enum loop loop, unsigned want, int64_t linger) {
    struct pollfd fd = { .fd = tram_fd(node), .events = POLLIN };
    struct epoll_event wanted = { .events = EPOLLIN }, ready;
    int epoll = CHECK_OK(epoll_create1(EPOLL_CLOEXEC));
    int64_t end = 0, start = cpu_time();
    struct turns turns = { 0 };
    struct tram_event event;
    struct tram_msg msg;

    CHECK_OK(epoll_ctl(epoll, EPOLL_CTL_ADD, fd.fd, &wanted));
    for (;;) {
        int64_t ns = tram_timeout(node), left;

        if (turns.received >= want && end == 0)
            end = kit_now() + linger;
        left = end ? end - kit_now() : kit_patience(10);
        if (left <= 0)
            break;
        if (ns < 0 || ns > left)
            ns = left;
        CHECK_OK(loop == POLL ? poll(&fd, 1, to_ms(ns)) : epoll_wait(epoll, &ready, 1, to_ms(ns)));
        turns.woken++;
        while (tram_dispatch(node, &event) > 0)
            continue;
        while (tram_recv(node, &msg, 0) == 0)
            turns.received++;
    }
    close(epoll);
    turns.cpu = cpu_time() - start;
    return turns;
}

static void send_slowly(void *arg) {
    tram_node *node = kit_open(NULL, LEFT, NULL);

    (void) arg;
    for (int i = 0; i < 50; i++) {
        CHECK_OK(tram_send(node, RIGHT, 0, "x", 1, 0));
        if (!kit_await_asleep(test_dir(), RIGHT))
            FAIL("the receiver does not go to sleep");
    }
    tram_close(node);
}

static void check_loop(enum loop loop) {
    tram_node *node = kit_open(NULL, RIGHT, NULL);
    pid_t pid = test_fork(send_slowly, NULL);
    struct turns turns = run_loop(node, loop, 50, 300 * KIT_MS);

    JOIN(pid);
    printf("    woken %u times for %u messages and 300 ms of nothing, %.1f ms of CPU\n",
           turns.woken, turns.received, (double) turns.cpu / 1e6);
    CHECK_EQ(turns.received, 50);
    CHECK(turns.woken <= 2 * 50 + 20);
    tram_close(node);
}

TEST(poll_loop) {
    check_loop(POLL);
}

TEST(epoll_loop) {
    check_loop(EPOLL);
}

/* ---- libuv, where it is installed ----------------------------------------------------------- */

/* What little of it is needed; no header, since it may be missing when this is built. */
static struct {
    void *library;
    size_t (*loop_size)(void), (*handle_size)(int type);
    const char *(*type_name)(int type);
    int (*loop_init)(void *loop), (*loop_close)(void *loop);
    int (*run)(void *loop, int mode);
    int (*poll_init)(void *loop, void *handle, int fd);
    int (*poll_start)(void *handle, int events, void (*told)(void *handle, int status, int events));
    int (*poll_stop)(void *handle);
    void (*close)(void *handle, void (*closed)(void *handle));
    void (*shutdown)(void);
} uv;

static void uv_find(void) {
    struct {
        const char *name;
        void *place;
    } symbols[] = {
        { "uv_loop_size", &uv.loop_size },        { "uv_handle_size", &uv.handle_size },
        { "uv_handle_type_name", &uv.type_name }, { "uv_loop_init", &uv.loop_init },
        { "uv_loop_close", &uv.loop_close },      { "uv_run", &uv.run },
        { "uv_poll_init", &uv.poll_init },        { "uv_poll_start", &uv.poll_start },
        { "uv_poll_stop", &uv.poll_stop },        { "uv_close", &uv.close },
    };

    uv.library = dlopen("libuv.so.1", RTLD_NOW);
    if (!uv.library)
        SKIP("libuv is not installed");
    for (size_t i = 0; i < sizeof symbols / sizeof *symbols; i++) {
        void *symbol = dlsym(uv.library, symbols[i].name);

        CHECK(symbol);
        memcpy(symbols[i].place, &symbol, sizeof symbol);
    }
    *(void **) &uv.shutdown = dlsym(uv.library, "uv_library_shutdown"); /* from 1.38 on */
}

static tram_node *uv_node;
static unsigned uv_told, uv_received;

static void uv_readable(void *handle, int status, int events) {
    struct tram_event event;
    struct tram_msg msg;

    CHECK_EQ(status, 0);
    (void) events;
    uv_told++;
    while (tram_dispatch(uv_node, &event) > 0)
        continue;
    while (tram_recv(uv_node, &msg, 0) == 0)
        uv_received++;
    if (uv_received == 50)
        CHECK_EQ(uv.poll_stop(handle), 0);
}

TEST(libuv_loop) {
    enum { UV_POLL = 8, UV_RUN_DEFAULT = 0, UV_READABLE = 1 };
    void *loop, *handle;
    pid_t pid;

    uv_find();
    if (strcmp(uv.type_name(UV_POLL), "poll") != 0)
        SKIP("this libuv numbers its handles otherwise");
    loop = calloc(1, uv.loop_size());
    handle = calloc(1, uv.handle_size(UV_POLL));
    uv_node = kit_open(NULL, RIGHT, NULL);
    CHECK_EQ(uv.loop_init(loop), 0);
    CHECK_EQ(uv.poll_init(loop, handle, tram_fd(uv_node)), 0);
    CHECK_EQ(uv.poll_start(handle, UV_READABLE, uv_readable), 0);
    CHECK(tram_timeout(uv_node) != 0);
    pid = test_fork(send_slowly, NULL);
    CHECK_EQ(uv.run(loop, UV_RUN_DEFAULT), 0); /* until the handle is stopped */
    uv.close(handle, NULL);
    CHECK_EQ(uv.run(loop, UV_RUN_DEFAULT), 0);
    CHECK_EQ(uv.loop_close(loop), 0);
    JOIN(pid);
    printf("    told %u times of %u messages\n", uv_told, uv_received);
    CHECK_EQ(uv_received, 50);
    CHECK(uv_told <= 2 * 50 + 20);
    tram_close(uv_node);
    free(handle);
    free(loop);
    if (uv.shutdown)
        uv.shutdown(); /* it keeps a pipe */
}

/* ---- several nodes, several threads --------------------------------------------------------- */

/* A message goes round ten nodes of one thread, a hundred times. */
TEST(several_nodes_in_a_thread) {
    enum { NODES = 10, ROUNDS = 100 };
    struct pollfd fds[NODES];
    tram_node *nodes[NODES];
    int hops = 0;

    for (int i = 0; i < NODES; i++) {
        nodes[i] = kit_open(NULL, TRAM_ID(5, 0, 0, 1 + i), NULL);
        fds[i] = (struct pollfd){ .fd = tram_fd(nodes[i]), .events = POLLIN };
    }
    CHECK_OK(tram_send(nodes[0], TRAM_ID(5, 0, 0, 2), 0, &hops, sizeof hops, 0));
    while (hops < NODES * ROUNDS) {
        for (int i = 0; i < NODES; i++)
            CHECK(tram_timeout(nodes[i]) >= TRAM_FOREVER);
        CHECK(poll(fds, NODES, to_ms(kit_patience(5))) > 0);
        for (int i = 0; i < NODES; i++) {
            struct tram_event event;
            struct tram_msg msg;

            while (tram_dispatch(nodes[i], &event) > 0)
                continue;
            if (tram_recv(nodes[i], &msg, 0) < 0)
                continue;
            CHECK_MEM(msg.data, &hops, sizeof hops);
            hops++;
            CHECK_OK(tram_send(nodes[i], TRAM_ID(5, 0, 0, 1 + (i + 1) % NODES), 0, &hops,
                               sizeof hops, 0));
        }
    }
    for (int i = 0; i < NODES; i++)
        tram_close(nodes[i]);
}

static void *send_some(void *arg) {
    for (int i = 0; i < 100; i++)
        CHECK_OK(tram_send(arg, RIGHT, 0, &i, sizeof i, 0));
    return NULL;
}

TEST(handed_from_thread_to_thread) {
    tram_node *left = kit_open(NULL, LEFT, NULL), *right = kit_open(NULL, RIGHT, NULL);
    struct tram_msg msg;

    for (int i = 0; i < 4; i++) {
        pthread_t thread;

        CHECK_EQ(pthread_create(&thread, NULL, send_some, left), 0);
        CHECK_EQ(pthread_join(thread, NULL), 0);
    }
    for (uint64_t i = 0; i < 400; i++) {
        CHECK_OK(tram_recv(right, &msg, 0));
        CHECK_EQ(msg.seq, i + 1);
        CHECK_EQ(*(const int *) msg.data, (int) i % 100);
    }
    tram_close(left);
    tram_close(right);
}

static void *wait_long(void *arg) {
    struct tram_msg msg;

    CHECK_OK(tram_recv(arg, &msg, kit_patience(15)));
    return NULL;
}

TEST(used_by_two_at_once_is_busy) {
    struct tram_options options = kit_options(0, TRAM_NO_SPIN);
    tram_node *left = kit_open(NULL, LEFT, NULL), *right = kit_open(NULL, RIGHT, &options);
    struct tram_event event;
    struct tram_msg msg;
    pthread_t thread;
    uint64_t count;

    CHECK_EQ(pthread_create(&thread, NULL, wait_long, right), 0);
    if (!kit_await_asleep(test_dir(), RIGHT))
        FAIL("the thread does not wait");
    CHECK_ERR(tram_recv(right, &msg, 0), -EBUSY);
    CHECK_ERR(tram_send(right, LEFT, 0, "x", 1, 0), -EBUSY);
    CHECK_ERR(tram_dispatch(right, &event), -EBUSY);
    CHECK_ERR(tram_accepted(right, LEFT, &count), -EBUSY);
    CHECK_ERR(tram_flush(right), -EBUSY);
    CHECK_ERR(tram_done(right), -EBUSY);
    CHECK_OK(tram_send(left, RIGHT, 0, "x", 1, 0)); /* other nodes are not concerned */
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK_OK(tram_flush(right));
    tram_close(left);
    tram_close(right);
}

/* Threads of one process are like processes: one node each, at full speed, nothing lost. */
static void *receive_many(void *arg) {
    struct tram_msg msg;

    for (uint64_t i = 1; i <= 200000; i++) {
        CHECK_OK(tram_recv(arg, &msg, kit_patience(15)));
        CHECK_EQ(msg.seq, i);
        CHECK_MEM(msg.data, &i, sizeof i);
    }
    return NULL;
}

TEST_TIMEOUT(a_node_each_for_two_threads, 40) {
    struct tram_options options = kit_options(65536, 0);
    tram_node *left = kit_open(NULL, LEFT, &options), *right = kit_open(NULL, RIGHT, &options);
    pthread_t thread;

    CHECK_EQ(pthread_create(&thread, NULL, receive_many, right), 0);
    for (uint64_t i = 1; i <= 200000; i++)
        CHECK_OK(tram_send(left, RIGHT, 0, &i, sizeof i, 0));
    CHECK_EQ(pthread_join(thread, NULL), 0);
    tram_close(left);
    tram_close(right);
}
