/* SPDX-License-Identifier: MIT
 *
 * The tests' harness: each test is a process of its own, with a private bus, watched from outside.
 *
 *     #include "harness.h"
 *
 *     TEST(send_is_received) {
 *         CHECK_OK(tram_open(…));
 *         CHECK_EQ(count, 3);
 *     }
 *
 * A test fails when a CHECK fails in it or in any process it forked, when it crashes, exceeds its
 * time, or leaves open descriptors or shared mappings behind. What it leaves running is killed, and
 * so is what left its process group; its bus directory (TRAM_DIR, fresh, 0700, tmpfs) is removed.
 *
 * A program without arguments runs all its tests; arguments are names (or parts with a '*') of
 * those to run; --list lists them; -v tells about each test's leftover files, too. Exit code: 0
 * passed, 1 failed, 77 all skipped. TRAM_TIME_SCALE=N in the environment multiplies all time-outs;
 * TRAM_NO_FORK=1 runs one named test in the foreground without a clock, for the debugger.
 */

#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Defines and registers a test that has 20 seconds; or as many as it says. */
#define TEST(name) TEST_TIMEOUT(name, 20)

#define TEST_TIMEOUT(name, seconds)                                                                \
    static void test_body_##name(void);                                                            \
    static struct test test_entry_##name = { #name, test_body_##name, seconds, 0 };                \
    __attribute__((constructor)) static void test_add_##name(void) {                               \
        test_register(&test_entry_##name);                                                         \
    }                                                                                              \
    static void test_body_##name(void)

/* Each of these ends the test (and the process it is in) when it doesn't hold. */
#define CHECK(expr) ((expr) ? (void) 0 : test_fail(__FILE__, __LINE__, "%s", #expr))
#define CHECK_EQ(a, b) test_check_eq(__FILE__, __LINE__, #a, #b, (long long) (a), (long long) (b))
#define CHECK_STR(a, b) test_check_str(__FILE__, __LINE__, #a, #b, (a), (b))
#define CHECK_MEM(a, b, size) test_check_mem(__FILE__, __LINE__, #a, #b, (a), (b), (size))
#define CHECK_OK(rc) test_check_ok(__FILE__, __LINE__, #rc, (long long) (rc))
#define CHECK_ERR(rc, error) test_check_err(__FILE__, __LINE__, #rc, (long long) (rc), (error))
#define FAIL(...) test_fail(__FILE__, __LINE__, __VA_ARGS__)

/* Ends the test; it counts as skipped, with the reason. */
#define SKIP(reason) test_skip(reason)

struct test {
    const char *name;
    void (*body)(void);
    int seconds;
    struct test *next;
};

void test_register(struct test *test);
void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((noreturn, format(printf, 3, 4)));
void test_skip(const char *reason) __attribute__((noreturn));
void test_check_eq(const char *file, int line, const char *a_text, const char *b_text, long long a,
                   long long b);
void test_check_str(const char *file, int line, const char *a_text, const char *b_text,
                    const char *a, const char *b);
void test_check_mem(const char *file, int line, const char *a_text, const char *b_text,
                    const void *a, const void *b, size_t size);
/* Gives rc back as an int, so that fd = CHECK_OK(open(…)) can be written. */
int test_check_ok(const char *file, int line, const char *text, long long rc);
void test_check_err(const char *file, int line, const char *text, long long rc, int error);

/* The private bus directory of the running test. */
const char *test_dir(void);

/* At the end of this test nothing at all may lie in the bus directory. */
void test_expect_empty_dir(void);

/* Forks a child of the test's process group that runs body(arg) and exits with 0. */
pid_t test_fork(void (*body)(void *arg), void *arg);

/* Waits for a child; it must have exited with 0. */
#define JOIN(pid) test_join(__FILE__, __LINE__, (pid))
void test_join(const char *file, int line, pid_t pid);

/* Kills a child with -9 and reaps it. */
void test_kill(pid_t pid);

/* The path of a program that lies beside the running test: a tests/NAME_prog.c. */
const char *test_program(const char *name);

/* Seconds × TRAM_TIME_SCALE: for bounded waits inside a test. */
int test_seconds(int seconds);

/* Is the running program instrumented: "address", "thread"; or ""? */
const char *test_sanitizer(void);

#ifdef __cplusplus
}
#endif
