/* SPDX-License-Identifier: MIT
 *
 * Tests that go wrong in each way the harness knows. harness_test.c runs them one at a time and
 * looks at what the harness says.
 */

#include "harness.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int make_file(const char *name) {
    char path[200];

    snprintf(path, sizeof path, "%s/%s", test_dir(), name);
    return CHECK_OK(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
}

static void pause_for_ever(void *arg) {
    (void) arg;
    for (;;)
        pause();
}

/* Tells its pid to whoever runs this program, then that it did so to the test; and stays. */
static void report_and_pause(int told, bool own_session) {
    if (own_session)
        setsid();
    printf("pid %d\n", (int) getpid());
    fflush(stdout);
    CHECK_EQ(write(told, "", 1), 1);
    pause_for_ever(NULL);
}

static void pause_in_group(void *told) {
    report_and_pause(*(int *) told, false);
}

static void pause_in_session(void *told) {
    report_and_pause(*(int *) told, true);
}

static void do_nothing(void *arg) {
    (void) arg;
}

static void fail_a_check(void *arg) {
    (void) arg;
    CHECK_EQ(1 + 1, 3);
}

TEST(good) {
    struct stat st;
    int fd;

    CHECK_STR(getenv("TRAM_DIR"), test_dir());
    CHECK_OK(stat(test_dir(), &st));
    CHECK_EQ(st.st_mode & 07777, 0700);
    fd = make_file("kept");
    CHECK_EQ(fd >= 0, 1);
    CHECK_ERR(-ENOENT, -ENOENT);
    CHECK_MEM("abc", "abd", 2);
    JOIN(test_fork(do_nothing, NULL));
    close(fd);
}

TEST(leaks_fd) {
    make_file("open");
}

TEST(closes_fd) {
    close(0);
}

TEST(leaks_mapping) {
    int fd = make_file("mapped");

    CHECK_OK(ftruncate(fd, 4096));
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
    close(fd);
}

TEST(leaves_file) {
    test_expect_empty_dir();
    close(make_file("left"));
}

TEST_TIMEOUT(hangs, 0) {
    pause_for_ever(NULL);
}

TEST(crashes) {
    raise(SIGSEGV);
}

TEST(aborts) {
    signal(SIGABRT, SIG_DFL);
    abort();
}

TEST(exits) {
    _exit(3);
}

TEST(fails_eq) {
    CHECK_EQ(2 + 2, 5);
}

TEST(fails_str) {
    CHECK_STR("a", "b");
}

TEST(fails_ok) {
    CHECK_OK(-ENOENT);
}

TEST(fails_err) {
    CHECK_ERR(-ENOENT, -EAGAIN);
}

TEST(fails_in_child_nobody_asks) {
    CHECK(waitpid(test_fork(fail_a_check, NULL), NULL, 0) > 0);
}

TEST(fails_in_child) {
    JOIN(test_fork(fail_a_check, NULL));
}

TEST(joins_killed_child) {
    pid_t pid = test_fork(pause_for_ever, NULL);

    kill(pid, SIGTERM);
    JOIN(pid);
}

TEST(leaves_processes) {
    int fd[2];
    char byte;

    CHECK_OK(pipe(fd));
    test_fork(pause_in_group, &fd[1]);
    test_fork(pause_in_session, &fd[1]);
    CHECK_EQ(read(fd[0], &byte, 1), 1);
    CHECK_EQ(read(fd[0], &byte, 1), 1);
    close(fd[0]);
    close(fd[1]);
}

TEST(skips) {
    SKIP("not today");
}
