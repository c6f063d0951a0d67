/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * Attacks: what an adversarial review of the node's code found, each as a test: accidents in an
 * unlucky order (removal, growth, failure of the machine), and the contract at its edges. Peers
 * that are hostile are in hostile_test.c.
 */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "node/custody.h"
#include "node/files.h"
#include "ring/layout.h"
#include "ring/tx.h"
#include "support/hostile.h"
#include "sys/file.h"

#define A TRAM_ID(1, 1, 1, 1)
#define B TRAM_ID(1, 1, 1, 2)
#define C TRAM_ID(1, 1, 1, 3)

static uint8_t block[1 << 20];

static void take_and_check(tram_node *node, uint64_t seq, uint32_t attempt) {
    struct tram_msg msg;
    int rc = tram_recv(node, &msg, 5 * KIT_S);

    if (rc < 0)
        FAIL("message %llu: %d %s", (unsigned long long) seq, rc, kit_error(node));
    CHECK_EQ(msg.seq, seq);
    CHECK_EQ(msg.attempt, attempt);
}

/* As of a sender that died between publishing and ringing: the record is there, the bell silent. */
static void publish_silently(tram_id from, tram_id to) {
    char name[FILES_NAME];
    struct stream *words;
    struct record *record;
    uint64_t pos;
    uint64_t slot;

    files_stream_name(name, from, 0);
    words = hostile_map(to, name, LAYOUT_DATA + 65536);
    pos = WORD_POSITION(words->tail);
    slot = WORD_SLOT(words->tail) ^ 1u;
    record = (struct record *) (void *) ((uint8_t *) words + LAYOUT_DATA + (pos & 65535u));
    *record = (struct record){.seq = words->accepted[slot ^ 1u] + 1, .from = from};
    words->accepted[slot] = record->seq;
    __atomic_store_n(&words->tail, (pos + record_span(0)) | slot, __ATOMIC_RELEASE);
    munmap(words, LAYOUT_DATA + 65536);
}

/* ---- accidents ------------------------------------------------------------------------------- */

/* Whoever waits in short pieces re-looks as well: a message comes whose sender died before it
 * rang. */
TEST(relook_between_short_waits) {
    tram_node *a = hostile_open(A);
    tram_node *b = hostile_open(B);
    struct tram_msg msg;
    int64_t end;

    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    take_and_check(b, 1, 1);
    CHECK_ERR(tram_recv(b, &msg, KIT_MS), -ETIMEDOUT); /* quiet */
    (void) tram_close(a);
    publish_silently(A, B);
    end = kit_now() + kit_patience(5);
    while (tram_recv(b, &msg, 100 * KIT_MS) < 0)
        CHECK(kit_now() < end);
    CHECK_EQ(msg.seq, 2);
    (void) tram_close(b);
}

/* The same under steady traffic of somebody else. */
TEST(relook_under_traffic) {
    tram_node *a = hostile_open(A);
    tram_node *b = hostile_open(B);
    tram_node *c = hostile_open(C);
    struct tram_msg msg;
    int64_t end;

    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    take_and_check(b, 1, 1);
    CHECK_ERR(tram_recv(b, &msg, KIT_MS), -ETIMEDOUT);
    (void) tram_close(a);
    publish_silently(A, B);
    end = kit_now() + kit_patience(5);
    do {
        CHECK(kit_now() < end);
        if (tram_recv(b, &msg, 50 * KIT_MS) < 0) {
            CHECK_OK(tram_send(c, B, 0, "y", 1, 0));
            CHECK_OK(tram_recv(b, &msg, KIT_S));
        }
    } while (msg.from != A);
    (void) tram_close(b);
    (void) tram_close(c);
}

/* And for whoever only polls. */
TEST(relook_of_a_poller) {
    tram_node *a = hostile_open(A);
    tram_node *b = hostile_open(B);
    struct tram_msg msg;
    int64_t end;

    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    take_and_check(b, 1, 1);
    CHECK_ERR(tram_recv(b, &msg, KIT_MS), -ETIMEDOUT);
    (void) tram_close(a);
    publish_silently(A, B);
    end = kit_now() + kit_patience(5);
    while (tram_recv(b, &msg, 0) < 0)
        CHECK(kit_now() < end);
    (void) tram_close(b);
}

/* In an event loop that only dispatches what a re-look finds makes the descriptor readable. */
TEST(relook_lights_the_descriptor) {
    tram_node *a = hostile_open(A);
    tram_node *b = hostile_open(B);
    struct pollfd entry = {.fd = tram_fd(b), .events = POLLIN};
    struct tram_event event;
    struct tram_msg msg;
    int64_t end;

    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    take_and_check(b, 1, 1);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    (void) tram_close(a);
    publish_silently(A, B);
    end = kit_now() + kit_patience(5);
    do {
        CHECK(kit_now() < end);
        (void) tram_dispatch(b, &event);
    } while (poll(&entry, 1, (int) (tram_timeout(b) / KIT_MS) + 1) == 0);
    CHECK_OK(tram_recv(b, &msg, 0));
    (void) tram_close(b);
}

/* Messages that were held are released after the channel got quiet: their space is given all the
 * same, or a sender waits for it for ever. */
TEST(space_of_what_was_held) {
    tram_node *a = hostile_open(A);
    tram_node *b = hostile_open(B);
    struct tram_msg msgs[60];
    struct tram_msg msg;
    struct iovec piece = {block, 65000};
    int got = 0;

    for (int i = 0; i < 60; i++)
        CHECK_OK(tram_send(a, B, 0, block, 1000, 0));
    while (got < 60)
        got += CHECK_OK(tram_recv_batch(b, msgs + got, 60 - got, TRAM_HOLD, KIT_S));
    CHECK_ERR(tram_recv_batch(b, &msg, 1, TRAM_HOLD, KIT_MS), -ETIMEDOUT);
    for (int i = 0; i < 60; i++)
        CHECK_OK(tram_release(b, &msgs[i]));
    CHECK_OK(tram_sendv(a, B, NULL, &piece, 1, 0, 3 * KIT_S));
    (void) tram_close(a);
    (void) tram_close(b);
}

TEST(space_of_what_is_done) {
    tram_node *a = hostile_open(A);
    tram_node *b = hostile_open(B);
    struct iovec piece = {block, 65000};
    struct tram_msg msg;

    CHECK_OK(tram_send(a, B, 0, block, 6000, 0));
    CHECK_OK(tram_recv(b, &msg, KIT_S));
    CHECK_ERR(tram_wait(b, KIT_MS), -ETIMEDOUT);
    CHECK_OK(tram_done(b));
    CHECK_OK(tram_sendv(a, B, NULL, &piece, 1, 0, 3 * KIT_S));
    (void) tram_close(a);
    (void) tram_close(b);
}

static void remove_node_ok(tram_node *any, tram_id id) {
    struct tram_error error;

    if (custody_rm(tram_bus_path(any), id, false, &error) < 0)
        FAIL("rm: %s", error.text);
}

/* A sender is removed and comes again; its receiver had followed it into a successor stream. */
TEST(removed_sender_comes_again) {
    tram_node *a = hostile_open(A);
    tram_node *b = hostile_open(B);
    struct tram_msg msg;

    CHECK_OK(tram_send(a, B, 0, block, 100000, 0)); /* grows */
    take_and_check(b, 1, 1);
    CHECK_ERR(tram_recv(b, &msg, KIT_MS), -ETIMEDOUT);
    (void) tram_close(a);
    remove_node_ok(b, A);
    a = hostile_open(A);
    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    take_and_check(b, 1, 1);
    (void) tram_close(a);
    (void) tram_close(b);
}

/* A receiver is removed and comes again; the next message to it has to grow the ring. */
TEST(removed_receiver_and_a_large_message) {
    tram_node *a = hostile_open(A);
    tram_node *b = hostile_open(B);
    struct tram_msg msg;

    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    take_and_check(b, 1, 1);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    (void) tram_close(b);
    remove_node_ok(a, B);
    CHECK_OK(tram_send(a, B, 0, block, 100000, 0));
    b = hostile_open(B);
    take_and_check(b, 1, 1);
    CHECK_OK(tram_done(b));
    (void) tram_close(b);
    remove_node_ok(a, B);
    b = hostile_open(B);
    CHECK_OK(tram_send(a, B, 0, block, 300000, 0)); /* larger than that ring as well */
    take_and_check(b, 1, 1);
    CHECK_OK(tram_send(a, B, 0, "y", 1, 0));
    take_and_check(b, 2, 1);
    (void) tram_close(a);
    (void) tram_close(b);
}

/* The ring had grown; the new one is small again, and the message is as large as the last. */
TEST(removed_receiver_of_a_grown_ring) {
    tram_node *a = hostile_open(A);
    tram_node *b = hostile_open(B);
    struct iovec piece = {block, 100000};
    struct tram_msg msg;

    CHECK_OK(tram_send(a, B, 0, block, 100000, 0));
    take_and_check(b, 1, 1);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    (void) tram_close(b);
    remove_node_ok(a, B);
    CHECK_OK(tram_sendv(a, B, NULL, &piece, 1, 0, 3 * KIT_S));
    b = hostile_open(B);
    take_and_check(b, 1, 1);
    (void) tram_close(a);
    (void) tram_close(b);
}

/* What was staged for a node that is removed meanwhile is not lost in silence. */
TEST(staged_for_a_removed_node) {
    tram_node *a = hostile_open(A);
    tram_node *b = hostile_open(B);
    struct tram_msg msg;
    int rc;

    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    take_and_check(b, 1, 1);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    (void) tram_close(b);
    CHECK_EQ(tram_send(a, B, 0, "y", 1, TRAM_MORE), TRAM_STAGED);
    remove_node_ok(a, B);
    CHECK_ERR(tram_recv(a, &msg, 0), -EAGAIN); /* flushes */
    rc = tram_send(a, B, 0, "z", 1, 0);
    CHECK_ERR(rc, -ESTALE);
    CHECK_OK(tram_send(a, B, 0, "z", 1, 0));
    (void) tram_close(a);
}

static void limit_memory(rlim_t bytes) {
    struct rlimit limit;

    CHECK_OK(getrlimit(RLIMIT_AS, &limit));
    limit.rlim_cur = bytes;
    CHECK_OK(setrlimit(RLIMIT_AS, &limit));
}

/* A larger ring could be made, but not mapped: the channel goes on as if nothing had been. */
TEST(growth_that_fails) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *a = NULL;
    tram_node *b = NULL;
    struct tram_msg msg;
    char path[512];

    if (*test_sanitizer())
        SKIP("a sanitizer maps more than can be limited");
    options.ring_max = UINT64_C(1) << 30;
    a = kit_open(NULL, A, &options);
    b = hostile_open(B);
    uint8_t *large = malloc(300 << 20);

    CHECK(large);
    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    limit_memory((rlim_t) 600 << 20);
    CHECK_ERR(tram_send(a, B, 0, large, 300 << 20, 0), -ENOMEM);
    limit_memory(RLIM_INFINITY);
    for (int i = 0; i < 10; i++)
        CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    for (uint64_t seq = 1; seq <= 11; seq++)
        take_and_check(b, seq, 1);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    (void) tram_close(a);
    (void) tram_close(b);
    CHECK(access(kit_path(path, sizeof(path), test_dir(), B, "from-1.1.1.1+1"), F_OK) < 0);
    a = kit_open(NULL, A, &options);
    b = hostile_open(B);
    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    take_and_check(b, 12, 1);
    (void) tram_close(a);
    (void) tram_close(b);
    free(large);
}

/* The sender died between making the larger ring and linking to it; then somebody purges. */
TEST(purge_of_an_unlinked_growth) {
    tram_node *a = hostile_open(A);
    tram_node *b = hostile_open(B);
    struct stream_plan plan = {.from = A, .to = B, .generation = 1, .mode = 0600,
                               .capacity = 1 << 18};
    struct tram_error error;
    struct stream *words;
    uint64_t dropped = 0;
    char path[512];
    int dir;

    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    (void) tram_close(b);
    (void) tram_close(a);
    words = hostile_map(B, "from-1.1.1.1", 65536);
    plan.id = words->id;
    plan.base = WORD_POSITION(words->tail) + LINK_SPAN;
    plan.base_seq = 1;
    munmap(words, 65536);
    dir = CHECK_OK(open(kit_path(path, sizeof(path), test_dir(), B, NULL), O_DIRECTORY));
    CHECK_OK(stream_make(dir, &plan, NULL));
    close(dir);
    a = hostile_open(C);
    CHECK_OK(custody_purge(tram_bus_path(a), A, B, &dropped, &error));
    CHECK_EQ(dropped, 1);
    (void) tram_close(a);
    a = hostile_open(A);
    b = hostile_open(B);
    CHECK_OK(tram_send(a, B, 0, "y", 1, 0));
    take_and_check(b, 2, 1);
    (void) tram_close(a);
    (void) tram_close(b);
}

struct stream_of_messages {
    uint64_t accepted;
    bool stop;
};

static void *send_on(void *context) {
    struct stream_of_messages *all = context;
    tram_node *a = hostile_open(A);

    while (!__atomic_load_n(&all->stop, __ATOMIC_RELAXED)) {
        int rc = tram_send(a, B, 0, block, all->accepted % 50 ? 10 : 70000, TRAM_NOWAIT);

        CHECK(rc == 0 || rc == -ESTALE || rc == -EAGAIN);
        all->accepted += rc == 0;
    }
    (void) tram_close(a);
    return NULL;
}

static uint64_t receive_all(void) {
    tram_node *b = hostile_open(B);
    uint64_t count = 0;
    struct tram_msg msg;

    while (tram_recv(b, &msg, 0) == 0)
        count++;
    (void) tram_close(b);
    return count;
}

/* A receiver is removed again and again while somebody sends to it: what was accepted arrives. */
TEST(removed_while_somebody_sends) {
    struct stream_of_messages all = {0};
    tram_node *c = hostile_open(C);
    int64_t end = kit_now() + 2 * KIT_S;
    struct tram_error error;
    uint64_t received = 0;
    uint64_t removed = 0;
    pthread_t thread;

    CHECK_EQ(pthread_create(&thread, NULL, send_on, &all), 0);
    while (kit_now() < end) {
        int rc;

        received += receive_all();
        for (int i = 0; i < 20; i++) {
            rc = custody_rm(tram_bus_path(c), B, false, &error);
            removed += rc == 0;
            CHECK(rc == 0 || rc == -ENOTEMPTY || rc == -ENOENT);
        }
    }
    __atomic_store_n(&all.stop, true, __ATOMIC_RELAXED);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    received += receive_all();
    (void) fprintf(stderr, "%llu removals, %llu messages\n", (unsigned long long) removed,
                   (unsigned long long) received);
    CHECK_EQ(received, all.accepted);
    (void) tram_close(c);
}

/* An ephemeral sender published and ended between our look and our custody. */
TEST(tidied_while_it_publishes) {
    tram_node *b = hostile_open(B);
    tram_node *e = hostile_open(TRAM_EPHEMERAL);
    tram_id id = tram_node_id(e);
    struct bus bus = {.mode = 0600};
    struct stream_facts stream;
    struct head_facts head;
    struct sys_map words;
    struct sys_map mine;
    struct ring_rx rx;
    char path[512];
    int dir;

    (void) tram_close(b);
    CHECK_OK(tram_send(e, B, 0, "x", 1, TRAM_MORE) >= 0 ? 0 : -1);
    bus.dir = CHECK_OK(open(tram_bus_path(e), O_DIRECTORY));
    dir = CHECK_OK(open(kit_path(path, sizeof(path), test_dir(), B, NULL), O_DIRECTORY));
    CHECK_OK(stream_open(dir, id, B, 0, 0, &words, &stream, NULL));
    CHECK_OK(head_open(dir, id, B, SYS_MAP_WRITE, &mine, &head));
    CHECK(ring_rx_init(&rx, stream_words(&words), stream_data(&words), mine.base, id,
                       stream.capacity, stream.base, stream.base_seq));
    CHECK(!ring_rx_ready(&rx));
    (void) tram_close(e); /* flushes */
    CHECK_ERR(custody_tidy_sender(&bus, dir, id, B, 0, &rx), -EAGAIN);
    CHECK(ring_rx_ready(&rx));
    sys_unmap(&words);
    sys_unmap(&mine);
    close(dir);
    close(bus.dir);
    b = hostile_open(B);
    take_and_check(b, 1, 1);
    (void) tram_close(b);
}

static void *open_and_close(void *stop) {
    struct tram_msg msg;

    while (!__atomic_load_n((bool *) stop, __ATOMIC_RELAXED)) {
        tram_node *node = kit_open(NULL, B, NULL);

        CHECK_OK(tram_send(node, B, 0, "x", 1, 0));
        CHECK_OK(tram_recv(node, &msg, KIT_S));
        CHECK_OK(tram_done(node));
        (void) tram_close(node);
    }
    return NULL;
}

/* Forked while another thread maps and unmaps: the child opens a node, and nothing of the parent's
 * stays locked. */
TEST(fork_beside_a_busy_thread) {
    bool stop = false;
    tram_node *mine = hostile_open(A);
    pthread_t thread;

    if (*test_sanitizer())
        SKIP("the sanitizer's allocator stays locked in such a child");
    CHECK_EQ(pthread_create(&thread, NULL, open_and_close, &stop), 0);
    for (int i = 0; i < 300; i++) {
        pid_t child = fork();
        int status;

        CHECK(child >= 0);
        if (child == 0) {
            tram_node *node = hostile_open(C);

            (void) tram_close(node);
            _exit(tram_send(mine, B, 0, "x", 1, 0) == -ECHILD ? 0 : 1);
        }
        CHECK_EQ(waitpid(child, &status, 0), child);
        CHECK_EQ(status, 0);
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    (void) tram_close(mine);
}

/* ---- the contract ---------------------------------------------------------------------------- */

TEST(sizes_at_the_limit) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    struct tram_msg msg;
    tram_node *a = NULL;
    tram_node *b = NULL;
    void *data = NULL;
    uint64_t limit;

    options.ring_max = 131072;
    a = kit_open(NULL, A, &options);
    b = kit_open(NULL, B, &options);
    CHECK_ERR(tram_send(a, B, 0, block, 131072, 0), -EMSGSIZE);
    limit = tram_last_error(a)->limit;
    CHECK(limit > 131072 - 200 && limit < 131072);
    CHECK_ERR(tram_send(a, B, 0, block, limit + 1, 0), -EMSGSIZE);
    for (int i = 0; i < 3; i++) {
        CHECK_OK(tram_send(a, B, 0, block, limit, 0));
        CHECK_OK(tram_recv(b, &msg, KIT_S));
        CHECK_EQ(msg.size, limit);
        CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
        CHECK_OK(tram_send(a, B, 0, block, (size_t) i * 8, 0));
        CHECK_OK(tram_recv(b, &msg, KIT_S));
        CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    }
    CHECK_ERR(tram_claim(a, B, SIZE_MAX, 0, &data), -EMSGSIZE);
    CHECK(!data);
    CHECK_ERR(tram_claim(a, B, SIZE_MAX - 40, 0, &data), -EMSGSIZE);
    CHECK_ERR(tram_send(a, B, 0, block, SIZE_MAX, 0), -EMSGSIZE);
    CHECK_ERR(tram_send(a, B, 0, block, (size_t) UINT32_MAX, 0), -EMSGSIZE);
    CHECK_ERR(tram_sendv(a, B, NULL, &(struct iovec){block, SIZE_MAX}, 1, 0, 0), -EMSGSIZE);
    CHECK_EQ(tram_last_error(a)->limit, limit);
    (void) tram_close(a);
    (void) tram_close(b);
}

/* 512 in hand and more there: whoever waits is told, and does not spin until the time is over. */
TEST(wait_with_all_in_hand) {
    tram_node *a = kit_open(NULL, A, NULL);
    tram_node *b = kit_open(NULL, B, NULL);
    static struct tram_msg msgs[600];
    int got = 0;
    int rc;

    for (int i = 0; i < 600; i++)
        CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    while ((rc = tram_recv_batch(b, msgs + got, 600 - got, TRAM_HOLD, 0)) > 0)
        got += rc;
    CHECK_EQ(got, 512);
    CHECK_EQ(rc, -ENOBUFS);
    CHECK_ERR(tram_wait(b, KIT_S), -ENOBUFS);
    for (int i = 511; i >= 0; i--)
        CHECK_OK(tram_release(b, &msgs[i]));
    CHECK_EQ(tram_wait(b, KIT_S), 1);
    for (uint64_t seq = 513; seq <= 600; seq++)
        take_and_check(b, seq, 1);
    (void) tram_close(a);
    (void) tram_close(b);
}

/* A message that is tried again and held is in hand like any other: waits end, the loop rests. */
TEST(retried_and_held) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *a = hostile_open(A);
    tram_node *b = NULL;
    struct pollfd entry = {.events = POLLIN};
    struct tram_msg held;
    struct tram_msg msg;

    options.attempts = 1;
    b = kit_open(NULL, B, &options);
    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    take_and_check(b, 1, 1);
    (void) tram_close(b);
    b = kit_open(NULL, B, &options);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN); /* set aside */
    CHECK_OK(tram_aside_retry(b, A, 1));
    CHECK_EQ(tram_recv_batch(b, &held, 1, TRAM_HOLD, KIT_S), 1);
    CHECK_EQ(held.attempt, 2);
    CHECK_ERR(tram_recv(b, &msg, KIT_MS), -ETIMEDOUT);
    CHECK_ERR(tram_wait(b, KIT_MS), -ETIMEDOUT);
    entry.fd = tram_fd(b);
    CHECK_ERR(tram_recv(b, &msg, 0), -EAGAIN);
    CHECK_EQ(poll(&entry, 1, 0), 0);
    CHECK(tram_timeout(b) > 0);
    CHECK_OK(tram_send(a, B, 0, "y", 1, 0));
    CHECK_EQ(poll(&entry, 1, 1000), 1);
    take_and_check(b, 2, 1);
    CHECK_OK(tram_release(b, &held));
    CHECK_EQ(tram_aside_list(b, NULL, 0), 0);
    (void) tram_close(a);
    (void) tram_close(b);
}

/* A sender died between making its larger stream and linking to it: the next one links. */
TEST(larger_stream_without_a_link) {
    struct stream_plan plan = { .from = A, .to = B, .generation = 1, .mode = 0600 };
    tram_node *a = hostile_open(A);
    struct channel_look look;
    char path[512];
    int dir;

    CHECK_OK(tram_send(a, B, 0, "one", 3, 0));
    (void) tram_close(a);
    dir = CHECK_OK(open(kit_path(path, sizeof(path), test_dir(), B, NULL), O_RDONLY));
    CHECK_OK(channel_look(dir, A, B, &look));
    plan.id = look.id;
    plan.base = look.tail + LINK_SPAN;
    plan.base_seq = look.accepted;
    plan.capacity = 2 * look.capacity;
    CHECK_OK(stream_make(dir, &plan, NULL));
    a = hostile_open(A);
    CHECK_OK(tram_send(a, B, 0, "two", 3, 0));
    tram_node *b = hostile_open(B);
    take_and_check(b, 1, 1);
    take_and_check(b, 2, 1);
    (void) tram_close(a);
    (void) tram_close(b);
    CHECK_OK(channel_look(dir, A, B, &look));
    CHECK_EQ(look.highest, 1);
    CHECK_EQ(look.accepted, 2);
    close(dir);
}
