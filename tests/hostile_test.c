/* SPDX-License-Identifier: MIT
 * test: timeout=60 cpus=2
 *
 * A hostile peer: it writes what it likes into what it may write, and names files as it likes. Its
 * channel is closed, with its name; everything else goes on.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "node/custody.h"
#include "node/files.h"
#include "ring/layout.h"
#include "support/hostile.h"

#define A TRAM_ID(1, 1, 1, 1)
#define B TRAM_ID(1, 1, 1, 2)
#define C TRAM_ID(1, 1, 1, 3)

static uint8_t block[1 << 20];

static void copy_file(tram_id node, const char *from, const char *to) {
    char source[512];
    char target[512];
    char command[1100];

    (void) snprintf(command, sizeof(command), "cp '%s' '%s'",
                    kit_path(source, sizeof(source), test_dir(), node, from),
                    kit_path(target, sizeof(target), test_dir(), node, to));
    CHECK_EQ(system(command), 0);
}

/* B opens, and whatever else lies there, what C sends it comes. */
static void b_works(tram_node *b) {
    tram_node *c = hostile_open(C);
    struct tram_msg msg;
    int rc;

    CHECK_OK(tram_send(c, B, 0, "hello", 5, 0));
    do
        rc = tram_recv(b, &msg, 3 * KIT_S);
    while (rc == -EBADMSG || (rc == 0 && msg.from != C));
    CHECK_OK(rc);
    (void) tram_close(c);
}

TEST(hostile_names) {
    static const char *names[] = {
        "from-1.1.1.1+4294967295", "from-1.1.1.1+4294967294", "from-1.1.1.1+99999999999999999999",
        "from-001.1.1.1", "from-1.1.1.1+0", "from-1.1.1.1+01", "from-9.9.9.9", "head-9.9.9.9",
        "from-9.9.9.8+7", "aside-9.9.9.9-0", "retry-9.9.9.9-18446744073709551616",
        "retry-9.9.9.9-7", "watch-0.0.0.0", "from-240.0.0.0", "from-1.1.1.2",
    };
    tram_node *a = hostile_open(A);
    tram_node *b = hostile_open(B);
    struct tram_error error;
    struct tram_msg msg;
    uint64_t dropped;
    char path[512];

    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    (void) tram_close(a);
    (void) tram_close(b);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        hostile_put(B, names[i], "nonsense", 8);
    b = hostile_open(B);
    b_works(b);
    (void) tram_close(b);
    a = kit_open(NULL, A, NULL);
    (void) tram_send(a, B, 0, "x", 1, TRAM_NOWAIT);
    (void) custody_purge(tram_bus_path(a), A, B, &dropped, &error);
    (void) tram_close(a);
    b = hostile_open(B);
    CHECK_OK(mkdir(kit_path(path, sizeof(path), test_dir(), B, "from-8.8.8.8"), 0700));
    CHECK_OK(mkdir(kit_path(path, sizeof(path), test_dir(), B, "head-8.8.8.8"), 0700));
    (void) tram_close(b);
    b = hostile_open(B);
    b_works(b);
    while (tram_recv(b, &msg, 0) >= 0)
        continue;
    CHECK_OK(custody_rm(tram_bus_path(b), A, true, &error));
    (void) tram_close(b);
}

TEST(hostile_kinds_of_file) {
    tram_node *b = hostile_open(B);
    char path[512];

    (void) tram_close(b);
    CHECK_OK(symlink("door", kit_path(path, sizeof(path), test_dir(), B, "from-9.9.9.1")));
    CHECK_OK(mkdir(kit_path(path, sizeof(path), test_dir(), B, "from-9.9.9.2"), 0700));
    CHECK_OK(mkfifo(kit_path(path, sizeof(path), test_dir(), B, "from-9.9.9.3"), 0600));
    hostile_put(B, "from-9.9.9.4", "x", 1);
    CHECK_OK(mkdir(kit_path(path, sizeof(path), test_dir(), B, "head-9.9.9.4"), 0700));
    hostile_put(B, "from-9.9.9.5", "x", 1);
    CHECK_OK(symlink("door", kit_path(path, sizeof(path), test_dir(), B, "head-9.9.9.5")));
    CHECK_OK(mkdir(kit_path(path, sizeof(path), test_dir(), B, "retry-9.9.9.5-1"), 0700));
    b = hostile_open(B);
    b_works(b);
    (void) tram_close(b);
}

/* A broken channel is said once, however often the directory is looked at. */
TEST(nonsense_is_said_once) {
    tram_node *b = hostile_open(B);
    tram_node *c = NULL;
    struct tram_msg msg;
    int told = 0;

    hostile_put(B, "from-9.9.9.9", "nonsense", 8);
    hostile_put(B, "head-9.9.9.9", "nonsense", 8);
    for (int i = 0; i < 3; i++) {
        c = hostile_open(TRAM_ID(2, 2, 2, 1 + i));
        CHECK_OK(tram_send(c, B, 0, "x", 1, 0)); /* B looks at its directory */
        (void) tram_close(c);
        for (int got = 0; got < 1;) {
            int rc = tram_recv(b, &msg, KIT_S);

            told += rc == -EBADMSG;
            got += rc == 0;
            CHECK(rc == 0 || rc == -EBADMSG);
        }
    }
    while (tram_recv(b, &msg, 0) == -EBADMSG)
        told++;
    CHECK_EQ(told, 1);
    (void) tram_close(b);
}

/* A message in hand stays readable, whatever its sender puts in place of its file. */
TEST(replaced_while_in_hand) {
    tram_node *a = hostile_open(A);
    tram_node *b = hostile_open(B);
    struct tram_msg msgs[2];
    uint8_t *copy;
    char path[512];
    char other[512];

    CHECK_OK(tram_send(a, B, 0, "held", 4, 0));
    CHECK_OK(tram_send(a, B, 0, "auto", 4, 0));
    CHECK_EQ(tram_recv_batch(b, msgs, 1, TRAM_HOLD, KIT_S), 1);
    CHECK_OK(tram_recv(b, &msgs[1], KIT_S));
    copy_file(B, "from-1.1.1.1", "copy");
    copy = hostile_map(B, "copy", LAYOUT_DATA + 65536);
    memset(copy + LAYOUT_DATA, 0, 65536);
    munmap(copy, LAYOUT_DATA + 65536);
    CHECK_OK(rename(kit_path(other, sizeof(other), test_dir(), B, "copy"),
                    kit_path(path, sizeof(path), test_dir(), B, "from-1.1.1.1")));
    for (int i = 0; i < 3; i++) {
        tram_node *c = hostile_open(TRAM_ID(2, 2, 2, 1 + i));

        CHECK_OK(tram_send(c, B, 0, "x", 1, 0));
        CHECK_OK(tram_wait(b, KIT_S));
        (void) tram_close(c);
    }
    CHECK_MEM(msgs[0].data, "held", 4);
    CHECK_MEM(msgs[1].data, "auto", 4);
    (void) tram_close(a);
    (void) tram_close(b);
}

/* Ten thousand channels of nonsense: an open takes no minute. */
TEST(ten_thousand_names) {
    tram_node *b = hostile_open(B);
    char name[FILES_NAME];
    int64_t start;

    (void) tram_close(b);
    for (uint32_t i = 0; i < 10000; i++) {
        files_stream_name(name, TRAM_ID(9, 0, 0, 0) + i, 0);
        hostile_put(B, name, "nonsense", 8);
    }
    start = kit_now();
    b = hostile_open(B);
    CHECK(kit_now() - start < kit_patience(5));
    b_works(b);
    (void) tram_close(b);
}

/* That the receiver closed the channel is told to a sender that waits for an event. */
TEST(broken_while_waiting_for_space) {
    tram_node *a = hostile_open(A);
    tram_node *b = hostile_open(B);
    struct tram_event event;
    struct stream *words;
    struct tram_msg msg;

    while (tram_send(a, B, 0, block, 1000, TRAM_NOWAIT) == 0)
        continue;
    words = hostile_map(B, "from-1.1.1.1", LAYOUT_DATA + 65536);
    memset((uint8_t *) words + LAYOUT_DATA, 0xff, 4096);
    CHECK_ERR(tram_recv(b, &msg, 0), -EBADMSG);
    CHECK_EQ(tram_wait(a, 3 * KIT_S), 1);
    CHECK_EQ(tram_dispatch(a, &event), 1);
    CHECK_ERR(tram_send(a, B, 0, "x", 1, TRAM_NOWAIT), -ENOTRECOVERABLE);
    munmap(words, LAYOUT_DATA + 65536);
    (void) tram_close(a);
    (void) tram_close(b);
}

/* True: the file was cut short, and must not be touched any more. */
static bool scribble(struct rng *rng, uint8_t *words, size_t size, const char *path) {
    static const uint64_t values[] = {0, 1, 7, 8, 65536, UINT32_MAX, UINT64_MAX, INT64_MAX,
                                      UINT64_C(1) << 63, UINT64_MAX - 7};

    for (uint64_t n = rng_below(rng, 4) + 1; n > 0; n--) {
        size_t at = rng_below(rng, rng_chance(rng, 700) ? (size < 512 ? size : 512) : size) & ~7u;
        uint64_t old = *(uint64_t *) (void *) (words + at);
        uint64_t value = values[rng_below(rng, sizeof(values) / sizeof(values[0]))];

        if (rng_chance(rng, 500))
            value = old + (rng_below(rng, 64) - 32) * (rng_chance(rng, 500) ? 1 : 8);
        *(volatile uint64_t *) (void *) (words + at) = value;
    }
    if (!rng_chance(rng, 100))
        return false;
    return truncate(path, (off_t) (rng_below(rng, size / 4096 + 1) * 4096)) == 0;
}

/* One side writes what it likes into its file while the other works; a third goes on.
 * Each round a new pair of nodes. */
static void scribble_rounds(const char *kind, size_t size) {
    uint64_t seed = kit_env("ATTACK_SEED", (uint64_t) kit_now());
    struct rng rng = {seed};
    tram_node *b = hostile_open(B);
    tram_node *c = hostile_open(C);
    uint64_t closed = 0;

    (void) fprintf(stderr, "ATTACK_SEED=%llu\n", (unsigned long long) seed);
    for (uint32_t i = 0; i < 60; i++) {
        tram_id id = TRAM_ID(3, 0, 0, 0) + i;
        tram_node *a = hostile_open(id);
        char text[TRAM_ID_TEXT];
        char name[FILES_NAME];
        char path[512];
        uint8_t *words;
        struct tram_msg msg;
        struct tram_event event;
        bool heard = false;
        bool cut = false;

        CHECK_OK(tram_send(a, B, 0, block, 100, 0));
        if (rng_chance(&rng, 300))
            CHECK_OK(tram_send(a, B, 0, block, 70000, 0));
        (void) snprintf(name, sizeof(name), "%s-%s", kind, tram_id_format(id, text));
        words = hostile_map(B, name, size);
        for (int step = 0; step < 30; step++) {
            if (!cut && rng_chance(&rng, 300))
                cut = scribble(&rng, words, size,
                               kit_path(path, sizeof(path), test_dir(), B, name));
            if (rng_chance(&rng, 500))
                (void) tram_send(a, B, 0, block, rng_below(&rng, 9000), TRAM_NOWAIT);
            if (rng_chance(&rng, 500))
                closed += tram_recv(b, &msg, 0) == -EBADMSG;
            (void) tram_dispatch(b, &event);
            (void) tram_dispatch(a, &event);
        }
        CHECK_OK(tram_send(c, B, 7, "sound", 5, 0));
        for (int tries = 0; tries < 5000 && !heard; tries++)
            heard = tram_recv(b, &msg, 0) == 0 && msg.from == C && msg.tag == 7;
        CHECK(heard);
        munmap(words, size);
        (void) tram_close(a);
        if (rng_chance(&rng, 50)) {
            (void) tram_close(b);
            b = hostile_open(B);
        }
    }
    (void) fprintf(stderr, "%llu closed\n", (unsigned long long) closed);
    (void) tram_close(b);
    (void) tram_close(c);
}

TEST(scribbled_stream) {
    scribble_rounds("from", LAYOUT_DATA + 65536);
}

TEST(scribbled_head) {
    scribble_rounds("head", sizeof(struct head));
}
