/* SPDX-License-Identifier: MIT
 *
 * The seam to the kernel, call for call.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "sys/bell.h"
#include "sys/cleanup.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"
#include "sys/map.h"
#include "sys/process.h"

static int open_dir(void) {
    return CHECK_OK(sys_dir_open(AT_FDCWD, test_dir()));
}

TEST(locks_exclude_and_go_with_their_file) {
    int dir = open_dir();
    int a = CHECK_OK(sys_lock_open(dir, "lock", 0600));
    int b = CHECK_OK(sys_lock_open(dir, "lock", 0600));

    CHECK_EQ(sys_lock_held(b, 0), 0);
    CHECK_OK(sys_lock(a, 0));
    CHECK_OK(sys_lock(a, 0)); /* mine already */
    CHECK_ERR(sys_lock(b, 0), -EAGAIN);
    CHECK_OK(sys_lock(b, 1));
    CHECK_EQ(sys_lock_held(b, 0), 1);
    CHECK_EQ(sys_lock_held(a, 1), 1);
    CHECK_OK(sys_unlock(a, 0));
    CHECK_OK(sys_lock(b, 0));
    close(b);
    CHECK_EQ(sys_lock_held(a, 1), 0);
    close(a);
    close(dir);
}

/* At the moment that the end of who held a lock is told, it is free. */
TEST(locks_are_free_when_their_holder_hangs_up) {
    int dir = open_dir(), set = CHECK_OK(sys_set_new());

    for (int i = 0; i < 100; i++) {
        int pipe_ends[2];
        int lock;
        uint32_t id = 0;
        char byte;
        pid_t pid;

        CHECK_OK(pipe(pipe_ends));
        pid = fork();
        if (pid == 0) {
            for (int n = 0; n < i % 7; n++) /* closed before it, or behind it */
                (void) dup(dir);
            CHECK_OK(sys_lock(CHECK_OK(sys_lock_open(dir, "hung", 0600)), 0));
            CHECK_EQ(write(pipe_ends[1], "x", 1), 1);
            for (;;)
                pause();
        }
        CHECK_EQ(read(pipe_ends[0], &byte, 1), 1);
        lock = CHECK_OK(sys_lock_look(dir, "hung"));
        CHECK_EQ(sys_lock_held(lock, 0), 1);
        CHECK_OK(sys_set_add_end(set, lock, 17));
        CHECK_EQ(sys_set_ready(set, &id, 1), 0);
        CHECK_OK(kill(pid, SIGKILL));
        CHECK_EQ(sys_wait_readable(set, sys_now() + 10 * SYS_SECOND), 1);
        CHECK_EQ(sys_lock_held(lock, 0), 0);
        CHECK_EQ(sys_set_ready(set, &id, 1), 1);
        CHECK_EQ(id, 17);
        CHECK_EQ(waitpid(pid, NULL, 0), pid);
        close(lock);
        close(pipe_ends[0]);
        close(pipe_ends[1]);
    }
    close(set);
    close(dir);
}

TEST(a_symlink_is_not_followed) {
    struct sys_stat st;
    int dir = open_dir();

    CHECK_OK(sys_dir_make(dir, "real", 0700));
    CHECK_ERR(sys_dir_make(dir, "real", 0700), -EEXIST);
    CHECK_EQ(symlinkat("real", dir, "link"), 0);
    CHECK_ERR(sys_dir_open(dir, "link"), -ENOTDIR);
    CHECK_ERR(sys_file_open(dir, "link", false), -ELOOP);
    CHECK_OK(sys_stat_at(dir, "link", &st));
    CHECK(st.is_symlink && !st.is_directory);
    CHECK_OK(sys_stat_at(dir, "real", &st));
    CHECK(st.is_directory && st.mode == 0700 && st.owner == sys_user());
    close(dir);
}

TEST(memory_comes_and_goes) {
    int dir = open_dir();
    int fd = CHECK_OK(sys_file_make(dir, "file", 0600, 1 << 20));
    struct sys_stat st;
    char text[4] = "";

    CHECK_OK(sys_stat_fd(fd, &st));
    CHECK_EQ(st.memory, 0);
    CHECK_OK(sys_file_reserve(fd, 65536, 65536));
    CHECK_OK(sys_stat_fd(fd, &st));
    CHECK_EQ(st.memory, 65536);
    CHECK_OK(sys_file_write(fd, "abc", 3, 65536));
    CHECK_OK(sys_file_punch(fd, 65536, 65536));
    CHECK_OK(sys_stat_fd(fd, &st));
    CHECK_EQ(st.memory, 0);
    CHECK_EQ(st.size, 1 << 20);
    CHECK_OK(sys_file_read(fd, text, 3, 65536));
    CHECK_EQ(text[0], 0);
    CHECK_ERR(sys_file_read(fd, text, 3, (1 << 20) - 1), -ENODATA);
    close(fd);
    close(dir);
}

TEST(data_mapped_twice_is_one) {
    uint64_t page = sys_page_size();
    int dir = open_dir();
    int fd = CHECK_OK(sys_file_make(dir, "file", 0600, 3 * page));
    struct sys_map map;
    uint8_t *bytes;

    CHECK_OK(sys_file_reserve(fd, 0, 3 * page));
    CHECK_OK(sys_map(fd, 3 * page, 2 * page, SYS_MAP_WRITE | SYS_MAP_GUARD, &map));
    bytes = map.base;
    memcpy(bytes + 3 * page - 2, "wrap", 4); /* over the end of the first mapping */
    CHECK(memcmp(bytes + page, "ap", 2) == 0);
    CHECK(memcmp(bytes + 5 * page - 2, "wr", 2) == 0);
    CHECK(!sys_map_torn(&map));
    sys_unmap(&map);
    sys_unmap(&map); /* an empty one is fine */
    close(fd);
    close(dir);
}

TEST(a_file_cut_short_does_not_kill) {
    uint64_t page = sys_page_size();
    int dir = open_dir();
    int fd = CHECK_OK(sys_file_make(dir, "file", 0600, 2 * page));
    struct sys_map map, other;
    volatile uint8_t *bytes;

    CHECK_OK(sys_file_reserve(fd, 0, 2 * page));
    CHECK_OK(sys_map(fd, 2 * page, 0, SYS_MAP_WRITE | SYS_MAP_GUARD, &map));
    CHECK_OK(sys_map(fd, page, 0, SYS_MAP_GUARD, &other));
    bytes = map.base;
    bytes[page] = 7;
    CHECK_EQ(ftruncate(fd, (off_t) page), 0);
    CHECK_EQ(bytes[page], 0); /* zeros where the file ended */
    bytes[page + 1] = 1;      /* and a store goes nowhere */
    CHECK(sys_map_torn(&map));
    CHECK(!sys_map_torn(&other));
    sys_unmap(&map);
    sys_unmap(&other);
    close(fd);
    close(dir);
}

static void fault_elsewhere(void *unused) {
    int dir = open_dir();
    int fd = CHECK_OK(sys_file_make(dir, "file", 0600, sys_page_size()));
    struct sys_map guarded, bare;

    (void) unused;
    CHECK_OK(sys_map(fd, sys_page_size(), 0, SYS_MAP_GUARD, &guarded));
    CHECK_OK(sys_map(fd, sys_page_size(), 0, 0, &bare));
    CHECK_EQ(ftruncate(fd, 0), 0);
    _exit(*(volatile uint8_t *) bare.base); /* not ours: the default is death */
}

TEST(other_faults_are_not_ours) {
    if (strcmp(test_sanitizer(), "") != 0)
        SKIP("the sanitizer has a handler of its own");
    pid_t pid = test_fork(fault_elsewhere, NULL);
    int status = 0;

    CHECK_EQ(waitpid(pid, &status, 0), pid);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

TEST(bells_ring) {
    int dir = open_dir();
    int a, b, no_bell;

    CHECK_OK(sys_bell_make(dir, "bell", 0600));
    CHECK_OK(sys_bell_make(dir, "bell", 0600));
    a = CHECK_OK(sys_bell_open(dir, "bell"));
    b = CHECK_OK(sys_bell_open(dir, "bell"));
    CHECK_EQ(sys_wait_readable(a, 0), 0);
    CHECK_EQ(sys_wait_readable(a, sys_now() + SYS_MILLISECOND), 0);
    for (int i = 0; i < 100000; i++)
        CHECK_OK(sys_bell_ring(b)); /* a full one is as good as a rung one */
    CHECK_EQ(sys_wait_readable(a, UINT64_MAX), 1);
    sys_bell_drain(a);
    CHECK_EQ(sys_wait_readable(a, 0), 0);
    no_bell = CHECK_OK(sys_file_open_or_make(dir, "no-bell", 0600));
    CHECK_ERR(sys_bell_open(dir, "no-bell"), -EPROTO);
    close(a);
    close(b);
    close(no_bell);
    close(dir);
}

TEST(processes) {
    char name[32];

    CHECK(sys_start_time() > 0);
    CHECK(sys_pid_namespace() > 0);
    sys_program(name, sizeof(name));
    CHECK(strlen(name) > 0);
    sys_program(name, 3);
    CHECK_EQ(strlen(name), 2);
}

TEST(deadlines) {
    CHECK_EQ(sys_deadline(0), 0);
    CHECK(sys_deadline(-1) == UINT64_MAX);
    CHECK(sys_deadline(1000) > sys_now() - SYS_SECOND);
    CHECK(sys_deadline(INT64_MAX) > sys_now());
}
