/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * Ephemeral nodes: free IDs out of 240.0.0.0/4; what they sent is delivered, what waits for them
 * goes with them and is counted, and those that are killed by the hundreds (EPHEMERAL_KILLS, 10,000
 * in tests/soak.sh) leave nothing behind.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "ring/layout.h"
#include "support/kit.h"

#define SERVER TRAM_ID(1, 0, 0, 1)
#define CLIENT TRAM_ID(1, 0, 0, 2)

static bool is_ephemeral(tram_id id) {
    return id >> 28 == 15 && id != TRAM_EPHEMERAL && id != UINT32_MAX;
}

/* Files of, or from, ephemeral nodes. */
static unsigned remains(void) {
    unsigned n = 0;

    for (int i = 240; i < 256; i++) {
        char pattern[32];

        snprintf(pattern, sizeof pattern, "%d.*.*.*", i);
        n += kit_count_files(test_dir(), pattern);
        snprintf(pattern, sizeof pattern, "*-%d.*.*.*", i);
        n += kit_count_files(test_dir(), pattern);
    }
    return n;
}

TEST(ids_are_free_and_held) {
    enum { NODES = 100 };
    tram_node *nodes[NODES], *other;

    for (int i = 0; i < NODES; i++) {
        nodes[i] = kit_open(NULL, TRAM_EPHEMERAL, NULL);
        CHECK(is_ephemeral(tram_node_id(nodes[i])));
        for (int k = 0; k < i; k++)
            CHECK(tram_node_id(nodes[k]) != tram_node_id(nodes[i]));
    }
    CHECK_ERR(tram_open(NULL, tram_node_id(nodes[0]), NULL, &other), -EINVAL);
    for (int i = 0; i < NODES; i++)
        tram_close(nodes[i]);
    CHECK_EQ(remains(), 0);
}

TEST(conversation) {
    tram_node *server = kit_open(NULL, SERVER, NULL);
    tram_node *client = kit_open(NULL, TRAM_EPHEMERAL, NULL);
    tram_id id = tram_node_id(client);
    struct tram_msg msg;

    CHECK_OK(tram_send(client, SERVER, 1, "ask", 3, 0));
    CHECK_OK(tram_recv(server, &msg, 0));
    CHECK_EQ(msg.from, id);
    CHECK_OK(tram_send(server, msg.from, 2, "answer", 6, 0));
    CHECK_OK(tram_recv(client, &msg, 0));
    CHECK_EQ(msg.tag, 2);
    tram_close(client);
    CHECK_ERR(tram_send(server, id, 3, "too late", 8, 0), -EHOSTUNREACH);
    CHECK_ERR(tram_send(server, id, 3, "too late", 8, 0), -EHOSTUNREACH);
    CHECK(strstr(tram_last_error(server)->text, "ephemeral"));
    CHECK_OK(tram_done(server));
    tram_close(server);
    CHECK_EQ(remains(), 0);
}

/* To an ID that never was. */
TEST(nobody_there) {
    tram_node *node = kit_open(NULL, CLIENT, NULL);

    CHECK_ERR(tram_send(node, TRAM_ID(250, 1, 2, 3), 0, "x", 1, 0), -EHOSTUNREACH);
    CHECK_EQ(remains(), 0);
    tram_close(node);
}

static uint64_t count_gone(tram_id id) {
    char path[300];
    struct door door;
    int fd = CHECK_OK(open(kit_path(path, sizeof path, test_dir(), id, "door"), O_RDONLY));

    CHECK_EQ(read(fd, &door, sizeof door), sizeof door);
    close(fd);
    return door.gone;
}

/* What was sent and not received when it went is counted at its sender. */
TEST(what_waits_goes_and_is_counted) {
    tram_node *server = kit_open(NULL, SERVER, NULL);
    tram_node *client = kit_open(NULL, TRAM_EPHEMERAL, NULL);
    tram_id id = tram_node_id(client);
    struct tram_msg msg;

    for (int i = 0; i < 5; i++)
        CHECK_OK(tram_send(server, id, 0, "x", 1, 0));
    CHECK_OK(tram_recv(client, &msg, 0));
    CHECK_OK(tram_recv(client, &msg, 0)); /* the first is released, the second is not */
    tram_close(client);
    CHECK_EQ(count_gone(SERVER), 4);
    CHECK_ERR(tram_send(server, id, 0, "x", 1, 0), -EHOSTUNREACH);
    tram_close(server);
    CHECK_EQ(remains(), 0);
}

/* ---- killed --------------------------------------------------------------------------------- */

struct ephemeral {
    uint64_t life;
    volatile uint64_t *accepted; /* shared; by life */
    volatile uint64_t *stop;     /* shared */
};

static void send_until_killed(void *arg) {
    const struct ephemeral *me = arg;
    tram_node *node = kit_open(NULL, TRAM_EPHEMERAL, NULL);

    for (uint64_t i = 1; i <= 100; i++) {
        uint64_t words[2] = { me->life, i };

        CHECK_OK(tram_send(node, SERVER, 0, words, sizeof words, 0));
        me->accepted[me->life] = i;
    }
    while (!*me->stop)
        pause();
}

struct counts {
    uint64_t *seen; /* by life */
    uint64_t all;
};

static void receive_all(tram_node *server, struct counts *counts) {
    struct tram_msg msg;

    while (tram_recv(server, &msg, 0) == 0) {
        const uint64_t *words = msg.data;

        CHECK(is_ephemeral(msg.from));
        CHECK_EQ(msg.size, 16);
        CHECK_EQ(msg.attempt, 1);
        CHECK_EQ(words[1], ++counts->seen[words[0]]);
        counts->all++;
    }
}

/* Killed at any moment: while it opens, makes its channel, or sends. What it was told is accepted
 * arrives, and of itself nothing is left. */
TEST_TIMEOUT(killed_by_the_hundreds, 60) {
    uint64_t kills = kit_env("EPHEMERAL_KILLS", *test_sanitizer() ? 100 : 400);
    struct rng rng = { kit_env("STORM_SEED", (uint64_t) kit_now()) };
    size_t size = (kills + 1) * sizeof(uint64_t);
    struct ephemeral me = { .accepted = kit_shared(size), .stop = kit_shared(4096) };
    struct counts counts = { .seen = kit_shared(size) };
    struct tram_options options = kit_options(65536, 0);
    tram_node *server = kit_open(NULL, SERVER, &options);
    unsigned most = 0, files;

    for (; me.life < kills; me.life++) {
        pid_t pid = test_fork(send_until_killed, &me);
        int64_t end = kit_now() + (int64_t) rng_below(&rng, 1500000);

        while (kit_now() < end)
            receive_all(server, &counts);
        test_kill(pid);
        if (me.life % 20 == 0) {
            files = remains();
            most = files > most ? files : most;
        }
    }
    receive_all(server, &counts);
    for (uint64_t i = 0; i < kills; i++)
        if (counts.seen[i] < me.accepted[i])
            FAIL("life %llu: %llu accepted, %llu received", (unsigned long long) i,
                 (unsigned long long) me.accepted[i], (unsigned long long) counts.seen[i]);
    CHECK_OK(tram_done(server));
    tram_close(server);
    /* The last ones go when the next ephemeral node is opened, whoever that is. */
    for (int i = 0; i < 4; i++)
        tram_close(kit_open(NULL, TRAM_EPHEMERAL, NULL));
    tram_close(kit_open(NULL, SERVER, &options));
    printf("    %llu kills, %llu messages, at most %u files of theirs at a time\n",
           (unsigned long long) kills, (unsigned long long) counts.all, most);
    CHECK(most < 200);
    if (remains() > 0) {
        kit_list_tree(test_dir());
        FAIL("%u files of ephemeral nodes are left", remains());
    }
}
