/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * Senders, and somebody who removes their receiver and is met, or dies, in the middle: the moments
 * that the model of it found (tests/model/remove.pml), each made by hand. The test takes the
 * remover's steps itself.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "node/files.h"
#include "ring/layout.h"
#include "support/kit.h"
#include "sys/lock.h"

#define HUB TRAM_ID(1, 0, 0, 1)
#define SPOKE TRAM_ID(2, 0, 0, 1)
#define STREAM "from-2.0.0.1"
#define HEAD "head-2.0.0.1"

static int open_file(const char *name) {
    char path[300];

    return CHECK_OK(open(kit_path(path, sizeof path, test_dir(), HUB, name), O_RDWR | O_CLOEXEC));
}

static void remove_file(const char *name) {
    char path[300];

    CHECK_OK(unlink(kit_path(path, sizeof path, test_dir(), HUB, name)));
}

static struct head *map_head(void) {
    int fd = open_file(HEAD);
    struct head *head = mmap(NULL, sizeof *head, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    CHECK(head != MAP_FAILED);
    close(fd);
    return head;
}

/* As decide() of src/node/custody.c: closed, … */
static void close_channel(void) {
    struct head *head = map_head();

    __atomic_store_n(&head->armed, (head->armed + ARMED_EPOCH) | ARMED_CLOSED, __ATOMIC_SEQ_CST);
    munmap(head, sizeof *head);
}

/* … and, if it still is, final. */
static bool make_final(void) {
    struct head *head = map_head();
    uint64_t closed = head->armed;
    bool done = (closed & ARMED_CLOSED) &&
                __atomic_compare_exchange_n(&head->armed, &closed, closed | ARMED_FINAL, false,
                                            __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);

    munmap(head, sizeof *head);
    return done;
}

static tram_node *open_node(tram_id id) {
    struct tram_options options = kit_options(65536, 0);

    return kit_open(NULL, id, &options);
}

/* The receiver ran, got a message, and is down; the channel is there, and drained. */
static tram_node *drained(void) {
    tram_node *hub = open_node(HUB), *spoke = open_node(SPOKE);
    struct tram_msg msg;

    CHECK_OK(tram_send(spoke, HUB, 0, "before", 6, 0));
    CHECK_OK(tram_recv(hub, &msg, kit_patience(15)));
    tram_close(hub);
    return spoke;
}

/* Exactly this is there, once. */
static void expect_one(const char *text) {
    tram_node *hub = open_node(HUB);
    struct tram_msg msg;

    CHECK_OK(tram_recv(hub, &msg, 0));
    CHECK_EQ(msg.size, strlen(text));
    CHECK_MEM(msg.data, text, strlen(text));
    CHECK_ERR(tram_recv(hub, &msg, 0), -EAGAIN);
    tram_close(hub);
}

/* Send until it is accepted, as an application does: what is refused was not. */
static void send_accepted(tram_node *spoke, const char *text) {
    int rc;

    while ((rc = tram_send(spoke, HUB, 0, text, strlen(text), 0)) == -ESTALE)
        continue;
    CHECK_OK(rc);
}

/* A remover is killed between two unlinks: the stream is no more, the head is. */
TEST(remover_dead_between_stream_and_head) {
    tram_node *spoke = drained();

    close_channel();
    CHECK(make_final());
    remove_file(STREAM);
    send_accepted(spoke, "after");
    tram_close(spoke);
    expect_one("after");
}

/* It was killed before it unlinked anything, and its receiver opens: nothing comes of what the
 * sender is told was refused. */
TEST(remover_dead_after_he_decided) {
    tram_node *spoke = drained(), *hub;
    struct tram_msg msg;
    uint64_t count;

    close_channel();
    CHECK(make_final());
    CHECK_ERR(tram_send(spoke, HUB, 0, "refused", 7, 0), -ESTALE);
    CHECK_OK(tram_accepted(spoke, HUB, &count));
    CHECK_EQ(count, 0); /* of a channel that is to be made */
    hub = open_node(HUB);
    CHECK_ERR(tram_recv(hub, &msg, 0), -EAGAIN);
    CHECK_OK(tram_send(spoke, HUB, 0, "after", 5, 0));
    CHECK_OK(tram_recv(hub, &msg, kit_patience(15)));
    CHECK_EQ(msg.size, 5);
    CHECK_EQ(msg.seq, 1);
    tram_close(hub);
    tram_close(spoke);
}

/* The same, and the ring had grown: the one that is made begins from the start. */
TEST(remover_dead_and_a_grown_ring) {
    static char large[100000];
    tram_node *spoke = drained();

    CHECK_OK(tram_send(spoke, HUB, 0, large, sizeof large, 0));
    close_channel();
    CHECK(make_final());
    send_accepted(spoke, "after");
    tram_close(spoke);
    expect_one("after");
}

/* The same, and its sender does not run: the receiver clears it away. */
TEST(remover_dead_and_no_sender) {
    tram_node *spoke = drained();
    char path[300];

    close_channel();
    CHECK(make_final());
    CHECK_ERR(tram_send(spoke, HUB, 0, "refused", 7, 0), -ESTALE);
    tram_close(spoke);
    tram_close(open_node(HUB));
    CHECK(access(kit_path(path, sizeof path, test_dir(), HUB, STREAM), F_OK) < 0);
    CHECK(access(kit_path(path, sizeof path, test_dir(), HUB, HEAD), F_OK) < 0);
    spoke = open_node(SPOKE);
    send_accepted(spoke, "after");
    tram_close(spoke);
    expect_one("after");
}

static void send_one(void *arg) {
    tram_node *spoke = open_node(SPOKE);

    (void) arg;
    send_accepted(spoke, "after");
    tram_close(spoke);
}

static uint64_t tail_of(int stream) {
    uint64_t tail = 0;

    CHECK_EQ(pread(stream, &tail, sizeof tail, offsetof(struct stream, tail)), sizeof tail);
    return tail;
}

/* While a remover is at work the receiver is opened: it takes the identity, and waits. That does
 * not make the remover the receiver. */
TEST(remover_with_an_opener_behind_it) {
    tram_node *spoke = drained();
    int remover, opener, stream;
    uint64_t before;
    pid_t pid;

    tram_close(spoke);
    remover = open_file("lock");
    opener = open_file("lock");
    stream = open_file(STREAM);
    before = tail_of(stream);
    CHECK_OK(sys_lock(opener, LOCK_IDENTITY));
    CHECK_OK(sys_lock(remover, LOCK_CUSTODY));
    CHECK_OK(sys_lock(remover, LOCK_PROXY));
    pid = test_fork(send_one, NULL); /* it has the descriptors, too: unlock, don't only close */
    for (int i = 0; i < 1000 && tail_of(stream) == before; i++)
        kit_pause();
    CHECK_EQ(tail_of(stream), before); /* it minds the remover */
    close_channel();
    CHECK(make_final());
    remove_file(STREAM);
    remove_file(HEAD);
    CHECK_OK(sys_unlock(remover, LOCK_PROXY));
    CHECK_OK(sys_unlock(remover, LOCK_CUSTODY));
    CHECK_OK(sys_unlock(opener, LOCK_IDENTITY));
    JOIN(pid);
    close(stream);
    close(opener);
    close(remover);
    expect_one("after");
}

struct published {
    tram_node *spoke;
    int rc;
};

static void send_and_say(void *arg) {
    struct published *shared = arg;
    tram_node *spoke = open_node(SPOKE);
    int rc;

    CHECK_OK(tram_send(spoke, HUB, 0, "during", 6, 0));
    __atomic_store_n(&shared->rc, 1, __ATOMIC_RELEASE);
    while (__atomic_load_n(&shared->rc, __ATOMIC_ACQUIRE) == 1)
        kit_pause();
    rc = tram_send(spoke, HUB, 0, "again", 5, 0); /* published into a closed channel */
    __atomic_store_n(&shared->rc, rc, __ATOMIC_RELEASE);
    if (rc == -ESTALE)
        send_accepted(spoke, "again");
    tram_close(spoke);
}

/* The same, met by a sender that has published: whether that is accepted is decided by who comes
 * first, and nobody waits for the other. */
static void meet(bool decided) {
    struct published *shared = kit_shared(sizeof *shared);
    pid_t pid = test_fork(send_and_say, shared);
    struct tram_msg msg;
    int remover, opener;
    tram_node *hub = open_node(HUB);

    CHECK_OK(tram_recv(hub, &msg, kit_patience(15)));
    CHECK_OK(tram_done(hub));
    tram_close(hub);
    while (__atomic_load_n(&shared->rc, __ATOMIC_ACQUIRE) != 1)
        kit_pause();
    remover = open_file("lock");
    opener = open_file("lock");
    CHECK_OK(sys_lock(remover, LOCK_CUSTODY));
    CHECK_OK(sys_lock(remover, LOCK_PROXY));
    CHECK_OK(sys_lock(opener, LOCK_IDENTITY));
    close_channel(); /* and here the remover looks: nothing waits */
    if (decided)
        CHECK(make_final());
    __atomic_store_n(&shared->rc, 2, __ATOMIC_RELEASE);
    while (__atomic_load_n(&shared->rc, __ATOMIC_ACQUIRE) == 2)
        kit_pause();
    CHECK_EQ(shared->rc, decided ? -ESTALE : 0); /* said while the remover holds all he has */
    if (!decided)
        CHECK(!make_final());
    /* Else he unlinks both now, if the sender was not quicker. */
    CHECK_OK(sys_unlock(remover, LOCK_PROXY));
    CHECK_OK(sys_unlock(remover, LOCK_CUSTODY));
    CHECK_OK(sys_unlock(opener, LOCK_IDENTITY));
    JOIN(pid);
    close(opener);
    close(remover);
    munmap(shared, sizeof *shared);
    expect_one("again");
}

TEST(a_message_before_the_remover_decides) {
    meet(false);
}

TEST(a_message_after_the_remover_decided) {
    meet(true);
}

/* The files were made by a process before this one, which died then, while a remover was at work
 * who had closed all channels before: he unlinks them by their names. */
TEST(remover_and_the_channel_of_a_dead_sender) {
    tram_node *spoke = drained();
    int remover;
    pid_t pid;

    tram_close(spoke);
    remover = open_file("lock");
    CHECK_OK(sys_lock(remover, LOCK_CUSTODY));
    CHECK_OK(sys_lock(remover, LOCK_PROXY));
    pid = test_fork(send_one, NULL);
    for (int i = 0; i < 300; i++)
        kit_pause();
    remove_file(STREAM);
    remove_file(HEAD);
    CHECK_OK(sys_unlock(remover, LOCK_PROXY));
    CHECK_OK(sys_unlock(remover, LOCK_CUSTODY));
    JOIN(pid);
    close(remover);
    expect_one("after");
}

/* A remover left a stream, and no head. */
TEST(a_stream_without_a_head_is_replaced_whole) {
    tram_node *spoke = drained();
    struct stream before, after;
    int fd = open_file(STREAM);

    CHECK_EQ(pread(fd, &before, sizeof before, 0), sizeof before);
    close(fd);
    tram_close(spoke);
    remove_file(HEAD); /* its remover was killed here, in an attempt that came between */
    spoke = open_node(SPOKE);
    CHECK_OK(tram_send(spoke, HUB, 0, "after", 5, 0));
    fd = open_file(STREAM);
    CHECK_EQ(pread(fd, &after, sizeof after, 0), sizeof after);
    close(fd);
    CHECK(before.id != after.id);
    tram_close(spoke);
    expect_one("after");
}
