/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * Two layout versions on one bus: this program's, and that of other_version, the same library
 * compiled with another number. Each refuses what the other one made, names both numbers, and
 * changes nothing of it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "node/custody.h"
#include "ring/layout.h"
#include "support/kit.h"

#define OURS TRAM_ID(1, 0, 0, 1)
#define THEIRS TRAM_ID(2, 0, 0, 1)
#define NOBODYS TRAM_ID(3, 0, 0, 1)
#define THIRD TRAM_ID(4, 0, 0, 1)

static void output_of(const char *command, char *text, size_t size) {
    FILE *pipe = popen(command, "re");
    size_t got;

    CHECK(pipe);
    got = fread(text, 1, size - 1, pipe);
    text[got] = '\0';
    CHECK_EQ(pclose(pipe), 0);
}

static void names_both(const char *text) {
    if (!strstr(text, "2") || !strstr(text, "3") || !strstr(text, "version"))
        FAIL("does not name both versions: %s", text);
}

/* The other version does this; what its call returned. */
static int other(const char *what, char text[500]) {
    char command[400];

    snprintf(command, sizeof command, "%s %s", test_program("other_version"), what);
    output_of(command, text, 500);
    return atoi(text);
}

static void other_does(const char *what) {
    char text[500];

    if (other(what, text) != 0)
        FAIL("%s: %s", what, text);
}

static void other_refuses(const char *what, int error) {
    char text[500];

    CHECK_EQ(other(what, text), error);
    names_both(text);
}

/* Names and contents of all files of a node. */
static void picture(const char *id, char text[8000]) {
    char command[400];

    snprintf(command, sizeof command,
             "cd %s/default/%s && { find . -printf '%%p %%y %%s\\n'; "
             "find . -type f -exec cksum {} +; } | sort", test_dir(), id);
    output_of(command, text, 8000);
}

static void same_as(const char *id, const char *before) {
    static char after[8000];

    picture(id, after);
    CHECK_STR(after, before);
}

TEST(doors) {
    static char theirs[8000], ours[8000];
    struct tram_peer peer;
    tram_node *node;

    other_does("open 2.0.0.1");
    picture("2.0.0.1", theirs);
    CHECK_ERR(tram_open(NULL, THEIRS, NULL, &node), -EPROTO);
    names_both(tram_last_error(NULL)->text);
    same_as("2.0.0.1", theirs);

    node = kit_open(NULL, OURS, NULL);
    CHECK_ERR(tram_send(node, THEIRS, 0, "x", 1, 0), -EPROTO);
    names_both(tram_last_error(node)->text);
    CHECK_ERR(tram_peer(node, THEIRS, &peer), -EPROTO);
    names_both(tram_last_error(node)->text);
    CHECK_ERR(tram_watch(node, THEIRS), -EPROTO);
    names_both(tram_last_error(node)->text);
    same_as("2.0.0.1", theirs);
    CHECK_OK(tram_send(node, OURS, 0, "x", 1, 0)); /* nothing else is hurt */
    tram_close(node);

    picture("1.0.0.1", ours);
    other_refuses("open 1.0.0.1", -EPROTO);
    other_refuses("send 2.0.0.1 1.0.0.1", -EPROTO);
    other_refuses("peer 2.0.0.1 1.0.0.1", -EPROTO);
    other_refuses("watch 2.0.0.1 1.0.0.1", -EPROTO);
    same_as("1.0.0.1", ours);
}

/* Sent to a node that nobody had opened yet. */
TEST(channels) {
    static char before[8000];
    tram_node *node, *third;
    struct tram_msg msg;
    int refusals = 0;

    other_does("send 2.0.0.1 3.0.0.1");
    third = kit_open(NULL, THIRD, NULL);
    CHECK_OK(tram_send(third, NOBODYS, 0, "x", 1, 0));
    snprintf(before, sizeof before, "cd %s/default/3.0.0.1 && cksum *-2.0.0.1", test_dir());
    {
        static char first[8000], second[8000];

        output_of(before, first, sizeof first);
        node = kit_open(NULL, NOBODYS, NULL);
        for (int i = 0; i < 2; i++) { /* in any order */
            int rc = tram_recv(node, &msg, kit_patience(5));

            if (rc == -EBADMSG) {
                CHECK_EQ(tram_last_error(node)->from, THEIRS);
                names_both(tram_last_error(node)->text);
                refusals++;
            } else {
                CHECK_OK(rc);
                CHECK_EQ(msg.from, THIRD);
            }
        }
        CHECK_EQ(refusals, 1);
        CHECK_OK(tram_done(node));
        tram_close(node);
        output_of(before, second, sizeof second);
        CHECK_STR(first, second);
    }
    tram_close(third);
    other_refuses("open 3.0.0.1", -EPROTO);
}

/* Who acts for nodes keeps his hands off those of another version. */
TEST(tools) {
    static char theirs[8000];
    char bus[200], command[300], text[4000];
    struct tram_error error;
    uint64_t count;

    other_does("open 2.0.0.1");
    other_does("send 2.0.0.1 2.0.0.1");
    picture("2.0.0.1", theirs);
    snprintf(bus, sizeof bus, "%s/default", test_dir());
    CHECK_ERR(custody_rm(bus, THEIRS, false, &error), -EPROTO);
    CHECK_ERR(custody_rm(bus, THEIRS, true, &error), -EPROTO);
    CHECK(strstr(error.text, "layout version"));
    CHECK_ERR(custody_purge(bus, THEIRS, THEIRS, &count, &error), -EPROTO);
    same_as("2.0.0.1", theirs);
    snprintf(command, sizeof command, "%s/../bin/tram ls", test_program("."));
    output_of(command, text, sizeof text);
    CHECK(strstr(text, "door has layout version 3, this program reads 2"));
    same_as("2.0.0.1", theirs);

    other_does("send 2.0.0.1 3.0.0.1"); /* of no version itself */
    picture("3.0.0.1", theirs);
    CHECK_ERR(custody_rm(bus, NOBODYS, true, &error), -EPROTO);
    CHECK_ERR(custody_purge(bus, THEIRS, NOBODYS, &count, &error), -EPROTO);
}
