/* SPDX-License-Identifier: MIT
 *
 * Plain nodes on two hosts with a daemon each, over loopback: what becomes of messages when nodes
 * end, are removed, and come again.
 */
// test: timeout=120
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "node/custody.h"
#include "ring/placing.h"
#include "support/kit.h"
#include "support/twin.h"
#include "tram/tram.h"

#define A TRAM_ID(1, 2, 0, 1)
#define B TRAM_ID(1, 3, 0, 1)

static tram_node *open_on(const struct twin *twin, int host, tram_id id) {
    int64_t until = kit_now() + kit_patience(10);
    tram_node *node;
    int rc;

    twin_be(twin, host);
    while ((rc = tram_open(NULL, id, NULL, &node)) == -EAGAIN && kit_now() < until)
        kit_pause(); /* the hosts don't know each other yet */
    if (rc < 0)
        FAIL("%s", tram_last_error(NULL)->text);
    return node;
}

static void send_all(tram_node *node, tram_id to, int first, int last) {
    for (int i = first; i <= last; i++)
        CHECK_OK(tram_send(node, to, 1, &i, sizeof(i), 0));
}

static void expect(tram_node *node, int first, int last) {
    for (int i = first; i <= last; i++) {
        struct tram_msg msg;
        int number;

        CHECK_OK(tram_recv(node, &msg, kit_patience(10)));
        CHECK_EQ(msg.size, sizeof(number));
        memcpy(&number, msg.data, sizeof(number));
        CHECK_EQ(number, i);
        CHECK_EQ(msg.attempt, 1);
    }
}

/* Entries of a folder whose name has that text. */
static int count(const struct twin *twin, int host, const char *folder, const char *text) {
    char path[400];
    DIR *dir;
    int found = 0;

    (void) snprintf(path, sizeof(path), "%s/default/%s", twin->dir[host], folder);
    dir = opendir(path);
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        found += strstr(entry->d_name, text) != NULL;
    (void) closedir(dir);
    return found;
}

static bool log_has(const struct twin *twin, int host, const char *text) {
    static char said[1 << 20];
    char path[400];
    size_t size;
    FILE *file;

    (void) snprintf(path, sizeof(path), "%s.log", twin->dir[host]);
    file = fopen(path, "r");
    CHECK(file);
    size = fread(said, 1, sizeof(said) - 1, file);
    (void) fclose(file);
    said[size] = 0;
    return strstr(said, text) != NULL;
}

#define UNTIL(condition)                                                                           \
    do {                                                                                           \
        int64_t until_ = kit_now() + kit_patience(20);                                             \
        while (!(condition)) {                                                                     \
            if (kit_now() > until_)                                                                \
                FAIL("waited in vain: %s", #condition);                                            \
            kit_pause();                                                                           \
        }                                                                                          \
    } while (0)

static void finish(struct twin *twin) {
    twin_kill(twin, 0);
    twin_kill(twin, 1);
}

/* It sends and ends while the other daemon hangs, which asks for a life that is over. */
TEST_TIMEOUT(a_sender_that_is_no_more, 60) {
    struct twin twin;
    tram_node *node;
    tram_node *b;

    twin_start(&twin);
    b = open_on(&twin, 1, B);
    node = open_on(&twin, 0, TRAM_EPHEMERAL);
    send_all(node, B, 1, 1);
    (void) tram_close(node);
    expect(b, 1, 1);
    for (int i = 1; i <= 5; i++) {
        CHECK_OK(kill(twin.daemon[1], SIGSTOP));
        node = open_on(&twin, 0, TRAM_EPHEMERAL);
        send_all(node, B, 1, 3);
        (void) tram_close(node);
        CHECK_OK(kill(twin.daemon[1], SIGCONT));
        expect(b, 1, 3);
    }
    CHECK_ERR(tram_recv(b, &(struct tram_msg){0}, 0), -EAGAIN); /* releases the last one */
    UNTIL(count(&twin, 1, "", "240.1.") == 0);
    UNTIL(count(&twin, 1, "1.3.0.1", "240.1.") == 0);
    CHECK(!log_has(&twin, 0, "nonsense") && !log_has(&twin, 1, "nonsense"));
    (void) tram_close(b);
    finish(&twin);
}

/* Told that the receiver was removed: once more. */
static void send_on(tram_node *node, int number) {
    int64_t until = kit_now() + kit_patience(10);
    int rc;

    while ((rc = tram_send(node, B, 1, &number, sizeof(number), 0)) == -ESTALE)
        CHECK(kit_now() < until);
    CHECK_OK(rc);
}

/* What waits for a node that is removed goes, with it, on all hosts, and is counted; its senders
 * are told, and what they send from then on arrives. */
static void removed(bool sends) {
    struct tram_error error;
    struct twin twin;
    char bus[320];
    tram_node *a;
    tram_node *b;
    int sent = 10;
    int rc = 0;

    twin_start(&twin);
    b = open_on(&twin, 1, B);
    a = open_on(&twin, 0, A);
    send_all(a, B, 1, 5);
    expect(b, 1, 5);
    (void) tram_close(b);
    send_all(a, B, 6, 10);
    UNTIL(count(&twin, 1, "1.3.0.1", "from-1.2.0.1") == 1);
    (void) snprintf(bus, sizeof(bus), "%s/default", twin.dir[1]);
    UNTIL((rc = custody_rm(bus, B, true, &error)) != -EBUSY);
    CHECK_OK(rc);
    if (!sends)
        UNTIL(count(&twin, 0, "1.3.0.1", "from-1.2.0.1") == 0);
    /* What was accepted before its host heard of it is lost as well: a new stream comes. */
    for (int more = 100; more > 0; more -= count(&twin, 1, "1.3.0.1", "from-1.2.0.1"))
        send_on(a, ++sent);
    b = open_on(&twin, 1, B);
    for (int last = 10; last < sent;) {
        struct tram_msg msg;
        int number;

        CHECK_OK(tram_recv(b, &msg, kit_patience(10)));
        memcpy(&number, msg.data, sizeof(number));
        CHECK(number > last && (last == 10 || number == last + 1));
        last = number;
    }
    CHECK(!log_has(&twin, 0, "nonsense") && !log_has(&twin, 1, "nonsense"));
    (void) tram_close(a);
    (void) tram_close(b);
    finish(&twin);
}

TEST_TIMEOUT(a_receiver_is_removed, 60) {
    removed(false);
}

TEST_TIMEOUT(a_receiver_is_removed_while_it_is_sent_to, 60) {
    removed(true);
}

/* As if all other IDs of that host had been given since. */
static void come_round(const struct twin *twin, int host) {
    uint64_t count = 0;
    char path[400];
    FILE *file;

    (void) snprintf(path, sizeof(path), "%s/default/claims/count", twin->dir[host]);
    file = fopen(path, "r+");
    CHECK(file && fread(&count, sizeof(count), 1, file) == 1);
    count += HOST_IDS - 1;
    rewind(file);
    CHECK(fwrite(&count, sizeof(count), 1, file) == 1 && fclose(file) == 0);
}

/* What waits on another host for an ephemeral node is not for one that has its ID later. */
static void round_again(bool speaks, bool restart) {
    int64_t until = kit_now() + kit_patience(20);
    struct tram_msg msg;
    struct twin twin;
    tram_node *b;
    tram_node *e;
    tram_id id;
    int number = 7;

    twin_start(&twin);
    b = open_on(&twin, 1, B);
    e = open_on(&twin, 0, TRAM_EPHEMERAL);
    id = tram_node_id(e);
    send_all(e, B, 1, 1);
    expect(b, 1, 1);
    send_all(b, id, 1, 3);
    expect(e, 1, 3);
    twin_kill(&twin, 0);
    send_all(b, id, 4, 6);
    (void) tram_close(e);
    come_round(&twin, 0);
    e = open_on(&twin, 0, TRAM_EPHEMERAL);
    CHECK_EQ(tram_node_id(e), id);
    if (restart) {
        twin_kill(&twin, 1);
        twin_run(&twin, 1);
    }
    twin_run(&twin, 0);
    if (speaks) {
        send_all(e, B, 2, 2);
        expect(b, 2, 2);
    }
    do {
        int rc = tram_send(b, id, 1, &number, sizeof(number), 0);

        CHECK(rc == 0 || rc == -EHOSTUNREACH);
        number += rc == 0;
        CHECK(kit_now() < until);
    } while (tram_recv(e, &msg, 10 * 1000000) != 0);
    memcpy(&number, msg.data, sizeof(number));
    CHECK(number > 6);
    CHECK_EQ(msg.attempt, 1);
    (void) tram_close(e);
    (void) tram_close(b);
    finish(&twin);
}

TEST_TIMEOUT(an_ephemeral_id_comes_round_again, 60) {
    round_again(true, false);
}

TEST_TIMEOUT(an_ephemeral_id_comes_round_again_while_the_daemon_restarts, 60) {
    round_again(true, true);
}

TEST_TIMEOUT(an_ephemeral_id_comes_round_again_and_is_sent_to, 60) {
    round_again(false, true);
}
