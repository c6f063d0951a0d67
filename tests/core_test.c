/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * Core dumps: rings stay out of them unless asked. Told by the flags of the mappings, and by a core
 * where this machine writes them into the directory of the process.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"

#define A TRAM_ID(1, 0, 0, 1)

static tram_node *open_and_fill(uint32_t flags) {
    static const unsigned char hidden[] = "never in plain text but in the ring: 5512";
    struct tram_options options = TRAM_OPTIONS_INIT;
    volatile unsigned char *at;
    tram_node *node;
    void *data;

    options.ring_size = 65536;
    options.flags = flags;
    node = kit_open(NULL, A, &options);
    CHECK_OK(tram_claim(node, A, sizeof hidden, 0, &data));
    at = data;
    for (size_t i = 0; i < sizeof hidden; i++) /* a mark that is nowhere else */
        at[i] = (unsigned char) (hidden[i] ^ 0x80);
    CHECK_OK(tram_commit(node, A, NULL, sizeof hidden, 0));
    return node;
}

/* How many of our mappings there are of files in the node's directory; and without a dump. */
static void count_mappings(int *ret_all, int *ret_kept_out) {
    FILE *file = fopen("/proc/self/smaps", "re");
    bool ours = false;
    char line[600];

    CHECK(file);
    *ret_all = *ret_kept_out = 0;
    while (fgets(line, sizeof line, file)) {
        if (strstr(line, "/1.0.0.1/")) {
            ours = true;
            ++*ret_all;
        }
        if (ours && strncmp(line, "VmFlags:", 8) == 0) {
            ours = false;
            *ret_kept_out += strstr(line, " dd") != NULL;
        }
    }
    fclose(file);
}

TEST(flags_of_mappings) {
    tram_node *node = open_and_fill(0);
    struct tram_msg msg;
    int all, kept_out;

    CHECK_OK(tram_recv(node, &msg, 0));
    count_mappings(&all, &kept_out);
    CHECK(all >= 5); /* the door; both ends of a ring, and their words */
    CHECK_EQ(kept_out, all);
    tram_close(node);
    node = open_and_fill(TRAM_OPEN_DUMP);
    CHECK_OK(tram_recv(node, &msg, 0));
    count_mappings(&all, &kept_out);
    CHECK(all >= 5);
    CHECK_EQ(kept_out, 0);
    tram_close(node);
}

/* ---- a core ---------------------------------------------------------------------------------- */

static void write_text(const char *path, const char *text) {
    int fd = CHECK_OK(open(path, O_WRONLY | O_CLOEXEC));

    CHECK_EQ(write(fd, text, strlen(text)), (ssize_t) strlen(text));
    close(fd);
}

static void crash(const char *dir, uint32_t flags) {
    const struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };

    (void) open_and_fill(flags);
    CHECK_OK(chdir(dir));
    if (setrlimit(RLIMIT_CORE, &all) < 0)
        _exit(7);
    write_text("/proc/self/coredump_filter", "0x7f"); /* everything */
    signal(SIGABRT, SIG_DFL);
    abort();
}

static bool has_mark(const char *path) {
    static const char plain[] = "never in plain text but in the ring: 5512";
    char mark[sizeof plain];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    char *bytes;
    bool found;

    if (fd < 0)
        return false;
    for (size_t i = 0; i < sizeof plain; i++)
        mark[i] = (char) (plain[i] ^ 0x80);
    CHECK_OK(fstat(fd, &st));
    bytes = malloc((size_t) st.st_size);
    CHECK(bytes);
    CHECK_EQ(read(fd, bytes, (size_t) st.st_size), st.st_size);
    found = memmem(bytes, (size_t) st.st_size, mark, sizeof mark) != NULL;
    free(bytes);
    close(fd);
    return found;
}

static void wait_for_gdb(uint32_t flags, int ready) {
    (void) open_and_fill(flags);
    (void) prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0); /* refused where nobody asks */
    write_text("/proc/self/coredump_filter", "0x7f");
    CHECK_EQ(write(ready, "", 1), 1);
    for (;;)
        pause();
}

/* The same by gdb, which goes by the same flags, and can anywhere; is the mark in its core? */
static bool gdb_dumps_mark(uint32_t flags) {
    char command[800], path[200];
    int ready[2];
    bool found;
    pid_t pid;

    CHECK_OK(pipe(ready));
    pid = fork();
    if (pid == 0)
        wait_for_gdb(flags, ready[1]);
    CHECK_EQ(read(ready[0], path, 1), 1);
    close(ready[0]);
    close(ready[1]);
    snprintf(path, sizeof path, "%s/core-%u", test_dir(), flags);
    snprintf(command, sizeof command,
             "gdb -q -nx -batch -p %d -ex 'generate-core-file %s' >%s.log 2>&1 </dev/null",
             (int) pid, path, path);
    CHECK_EQ(system(command), 0);
    test_kill(pid);
    if (access(path, R_OK) < 0)
        SKIP("gdb may not attach here");
    found = has_mark(path);
    unlink(path);
    return found;
}

/* Dies with these flags; is the mark in its core? */
static bool dumps_mark(uint32_t flags) {
    char dir[200], path[300];
    int status;
    bool found;
    pid_t pid;

    snprintf(dir, sizeof dir, "%s/cores-%u", test_dir(), flags);
    CHECK_OK(mkdir(dir, 0700));
    pid = fork();
    if (pid == 0)
        crash(dir, flags);
    CHECK_EQ(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 7)
        SKIP("core dumps are not allowed here (ulimit -c)");
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    if (!WCOREDUMP(status))
        SKIP("the kernel wrote no core");
    snprintf(path, sizeof path, "%s/core", dir);
    if (access(path, R_OK) < 0)
        snprintf(path, sizeof path, "%s/core.%d", dir, (int) pid);
    if (access(path, R_OK) < 0)
        SKIP("cores go elsewhere here");
    found = has_mark(path);
    kit_remove_tree(dir);
    return found;
}

TEST(in_a_core_if_asked_only) {
    char pattern[200] = "";
    int fd = open("/proc/sys/kernel/core_pattern", O_RDONLY | O_CLOEXEC);

    if (*test_sanitizer())
        SKIP("the shadow memory of the sanitizer would be in the core");
    if (fd >= 0) {
        CHECK(read(fd, pattern, sizeof pattern - 1) >= 0);
        close(fd);
    }
    if (strcmp(pattern, "core\n") != 0)
        SKIP("kernel.core_pattern sends cores elsewhere: see the test with gdb");
    CHECK(dumps_mark(TRAM_OPEN_DUMP));
    CHECK(!dumps_mark(0));
}

TEST(in_a_core_by_gdb_if_asked_only) {
    if (*test_sanitizer())
        SKIP("the shadow memory of the sanitizer would be in the core");
    if (system("gdb --version >/dev/null 2>&1") != 0)
        SKIP("no gdb here");
    CHECK(gdb_dumps_mark(TRAM_OPEN_DUMP));
    CHECK(!gdb_dumps_mark(0));
}
