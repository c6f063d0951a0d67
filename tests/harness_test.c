/* SPDX-License-Identifier: MIT
 *
 * The harness itself: every way in which a test can go wrong is noticed and named. The samples are
 * in harness_bad_prog.c.
 */

#include "harness.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char said[20000];

/* Runs one sample, keeps what it says, gives its exit code. */
static int sample(const char *arguments) {
    char command[5000];
    size_t size;
    FILE *pipe;
    int status;

    snprintf(command, sizeof command, "exec '%s' %s 2>&1", test_program("harness_bad_prog"),
             arguments);
    pipe = popen(command, "re");
    CHECK(pipe);
    size = fread(said, 1, sizeof said - 1, pipe);
    said[size] = 0;
    status = pclose(pipe);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void expect_text(const char *text) {
    if (!strstr(said, text))
        FAIL("'%s' is missing in:\n%s", text, said);
}

static void expect_failure(const char *name, const char *text) {
    CHECK_EQ(sample(name), 1);
    expect_text("FAILED ");
    expect_text(name);
    expect_text(text);
    expect_text("0 passed, 1 failed, 0 skipped");
}

TEST(good_test_passes) {
    CHECK_EQ(sample("good"), 0);
    expect_text("ok     good");
    expect_text("1 passed, 0 failed, 0 skipped");
}

TEST(leaked_descriptor) {
    expect_failure("leaks_fd", "leaked descriptor");
    expect_text("/open");
}

TEST(closed_descriptor) {
    expect_failure("closes_fd", "descriptor 0 was closed");
}

TEST(leaked_mapping) {
    expect_failure("leaks_mapping", "leaked mapping");
    expect_text("/mapped");
}

TEST(left_file) {
    expect_failure("leaves_file", "1 files left");
    sample("-v leaves_file");
    expect_text("left: left");
}

TEST(time_out) {
    expect_failure("hangs", "time-out");
}

TEST(crash) {
    /* A sanitizer turns the signal into a report and an exit code. */
    expect_failure("crashes", *test_sanitizer() ? "exit code" : "killed by signal 11");
}

TEST(abort_and_exit) {
    expect_failure("aborts", *test_sanitizer() ? "FAILED" : "killed by signal 6");
    expect_failure("exits", "exit code 3");
}

TEST(failed_checks) {
    expect_failure("fails_eq", "harness_bad_prog.c:");
    expect_text("2 + 2 == 5: 4, not 5");
    expect_failure("fails_str", "\"a\", not \"b\"");
    expect_failure("fails_ok", "No such file");
    expect_failure("fails_err", "not -11");
}

TEST(failure_in_child) {
    expect_failure("fails_in_child", "exit code 1");
    expect_failure("fails_in_child_nobody_asks", "1 + 1 == 3");
    expect_failure("joins_killed_child", "Terminated");
}

TEST(left_processes_are_killed) {
    const char *at = said;
    int n = 0;

    CHECK_EQ(sample("leaves_processes"), 0);
    while ((at = strstr(at, "pid "))) {
        at += 4;
        CHECK_EQ(kill(atoi(at), 0), -1);
        CHECK_EQ(errno, ESRCH);
        n++;
    }
    CHECK_EQ(n, 2);
}

TEST(skipped) {
    CHECK_EQ(sample("skips"), 77);
    expect_text("skip   skips");
    expect_text("not today");
    CHECK_EQ(sample("skips good"), 0);
    expect_text("1 passed, 0 failed, 1 skipped");
}

TEST(names) {
    CHECK_EQ(sample("--list"), 0);
    expect_text("good\n");
    expect_text("skips\n");
    CHECK_EQ(sample("no_such_test"), 1);
    expect_text("no such test");
    CHECK_EQ(sample("'fails_*'"), 1);
    expect_text("0 passed, 6 failed, 0 skipped");
    CHECK_EQ(sample("--nonsense"), 2);
}

TEST(bus_directory_is_removed) {
    char path[300];
    const char *at;

    CHECK_EQ(sample("leaks_fd"), 1);
    at = strstr(said, "/dev/shm/tram-test-");
    CHECK(at);
    snprintf(path, sizeof path, "%.*s", (int) strcspn(at + 9, "/") + 9, at);
    CHECK_EQ(access(path, F_OK), -1);
}
