/* SPDX-License-Identifier: MIT
 *
 * The bus directory: where it lies, and when it is refused: a link, another user's, open to others.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"

#define ID TRAM_ID(1, 2, 3, 4)

static char path[300];

static const char *below(const char *name) {
    snprintf(path, sizeof path, "%s/%s", test_dir(), name);
    return path;
}

/* Opening in `dir` must fail, and the text must have these words. */
static void check_refused(const char *dir, int error, const char *word, const char *other) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    const struct tram_error *said;
    tram_node *node = NULL;

    options.dir = dir;
    CHECK_ERR(tram_open(NULL, ID, &options, &node), error);
    CHECK(node == NULL);
    said = tram_last_error(NULL);
    CHECK_EQ(said->code, error);
    if (!strstr(said->text, word) || !strstr(said->text, other))
        FAIL("'%s' or '%s' is missing in: %s", word, other, said->text);
}

static void check_opens(const char *dir) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    tram_node *node = NULL;

    options.dir = dir;
    CHECK_OK(tram_open(NULL, ID, &options, &node));
    tram_close(node);
}

TEST(made_private) {
    struct stat st;

    check_opens(below("new"));
    CHECK_OK(stat(below("new"), &st));
    CHECK_EQ(st.st_mode & 07777, 0700);
    CHECK_OK(stat(below("new/default"), &st));
    CHECK_EQ(st.st_mode & 07777, 0700);
    CHECK_OK(stat(below("new/default/1.2.3.4"), &st));
    CHECK_EQ(st.st_mode & 07777, 0700);
    CHECK_OK(stat(below("new/default/1.2.3.4/door"), &st));
    CHECK_EQ(st.st_mode & 07777, 0600);
}

TEST(umask_does_not_matter) {
    struct stat st;

    umask(0077);
    check_opens(below("new"));
    umask(0);
    check_opens(below("newer"));
    CHECK_OK(stat(below("new/default/1.2.3.4/door"), &st));
    CHECK_EQ(st.st_mode & 07777, 0600);
    CHECK_OK(stat(below("newer/default/1.2.3.4/door"), &st));
    CHECK_EQ(st.st_mode & 07777, 0600);
}

TEST(symbolic_link) {
    CHECK_OK(mkdir(below("real"), 0700));
    CHECK_OK(symlink("real", below("link")));
    check_refused(below("link"), -EPERM, "symbolic link", "/link");
    /* The bus itself, too. */
    check_opens(below("real"));
    CHECK_OK(rename(below("real/default"), strcat(strcpy((char[300]){ 0 }, test_dir()), "/away")));
    CHECK_OK(symlink("../away", below("real/default")));
    check_refused(below("real"), -EPERM, "symbolic link", "/real/default");
}

TEST(open_to_others) {
    static const unsigned modes[] = { 0701, 0710, 0755, 0770, 0777, 01777 };

    CHECK_OK(mkdir(below("bus"), 0700));
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        CHECK_OK(chmod(below("bus"), modes[i]));
        check_refused(below("bus"), -EPERM, "open to others", "chmod");
    }
    CHECK_OK(chmod(below("bus"), 0700));
    check_opens(below("bus"));
    CHECK_OK(chmod(below("bus/default"), 0777));
    check_refused(below("bus"), -EPERM, "open to others", "/bus/default");
}

/* Who wants to share with a group says so. */
TEST(open_to_the_group_on_request) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    tram_node *node = NULL;
    struct stat st;

    options.dir = below("bus");
    options.mode = 0660;
    CHECK_OK(tram_open(NULL, ID, &options, &node));
    tram_close(node);
    CHECK_OK(stat(below("bus"), &st));
    CHECK_EQ(st.st_mode & 07777, 0770);
    CHECK_OK(stat(below("bus/default/1.2.3.4/door"), &st));
    CHECK_EQ(st.st_mode & 07777, 0660);
    check_refused(below("bus"), -EPERM, "open to others", "/bus");
}

TEST(of_another_user) {
    if (geteuid() != 0)
        SKIP("only root can give a directory away");
    CHECK_OK(mkdir(below("bus"), 0700));
    CHECK_OK(chown(below("bus"), 12345, 12345));
    check_refused(below("bus"), -EPERM, "user 12345", "TRAM_DIR");
}

TEST(not_a_directory) {
    CHECK_OK(close(CHECK_OK(open(below("file"), O_CREAT | O_WRONLY, 0600))));
    check_refused(below("file"), -ENOTDIR, "not a directory", "/file");
    check_refused(below("missing/deeper"), -ENOENT, "missing", "deeper");
}

/* Option before environment before the standard. */
TEST(where_it_lies) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    tram_node *node = NULL;
    char expected[300];

    CHECK_OK(tram_open("some.bus-1_", ID, NULL, &node));
    snprintf(expected, sizeof expected, "%s/some.bus-1_", test_dir());
    CHECK_STR(tram_bus_path(node), expected); /* the harness sets TRAM_DIR */
    tram_close(node);

    setenv("TRAM_BUS", "other", 1);
    CHECK_OK(tram_open(NULL, ID, NULL, &node));
    snprintf(expected, sizeof expected, "%s/other", test_dir());
    CHECK_STR(tram_bus_path(node), expected);
    tram_close(node);

    options.dir = below("here");
    CHECK_OK(tram_open("b", ID, &options, &node));
    snprintf(expected, sizeof expected, "%s/here/b", test_dir());
    CHECK_STR(tram_bus_path(node), expected);
    tram_close(node);
}

TEST(names_of_buses) {
    char longest[64 + 1] = { 0 };
    tram_node *node = NULL;

    memset(longest, 'x', 63);
    CHECK_OK(tram_open(longest, ID, NULL, &node));
    tram_close(node);
    memset(longest, 'x', 64);
    CHECK_ERR(tram_open(longest, ID, NULL, &node), -EINVAL);
    CHECK_ERR(tram_open(".hidden", ID, NULL, &node), -EINVAL);
    CHECK_ERR(tram_open("..", ID, NULL, &node), -EINVAL);
    CHECK_ERR(tram_open("a/b", ID, NULL, &node), -EINVAL);
    CHECK_ERR(tram_open("a b", ID, NULL, &node), -EINVAL);
    CHECK_ERR(tram_open("\xc3\xa4", ID, NULL, &node), -EINVAL);
}

/* Two buses in one place, and the same ID on both, do not know of each other. */
TEST(buses_are_apart) {
    tram_node *one = NULL, *two = NULL;
    struct tram_msg msg;

    CHECK_OK(tram_open("one", ID, NULL, &one));
    CHECK_OK(tram_open("two", ID, NULL, &two));
    CHECK_OK(tram_send(one, ID, 1, "x", 1, 0));
    CHECK_ERR(tram_recv(two, &msg, 0), -EAGAIN);
    CHECK_OK(tram_recv(one, &msg, 0));
    tram_close(one);
    tram_close(two);
}
