/* SPDX-License-Identifier: MIT
 *
 * The harness: harness.h says what it does. The runner forks a child per test, and is itself the
 * reaper of every orphan below, so that it can kill and wait for all of them before it removes the
 * bus directory. The child counts its own descriptors and mappings before and after the body.
 */

#include "harness.h"

#include <dirent.h>
#include <fnmatch.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_SKIPPED = 77, MAX_FDS = 1024, MAX_LINES = 64 };

/* Shared by the runner and all processes of a test: what fails in a grandchild fails the test. */
struct verdict {
    bool failed;
    bool expect_empty_dir;
    char skipped[200];
};

static struct test *tests;
static struct verdict *verdict;
static char bus_dir[64];
static int files_left;
static bool verbose;

void test_register(struct test *test) {
    struct test **end = &tests;

    while (*end)
        end = &(*end)->next;
    *end = test;
}

/* ---- Checks ---------------------------------------------------------------------------------- */

__attribute__((format(printf, 3, 0))) static void say(const char *file, int line,
                                                      const char *format, va_list args) {
    char text[2000];

    vsnprintf(text, sizeof text, format, args);
    if (file)
        fprintf(stderr, "    %s:%d: %s\n", file, line, text);
    else
        fprintf(stderr, "    %s\n", text);
    fflush(stderr);
}

/* Something is wrong; the test goes on, but has failed. */
__attribute__((format(printf, 1, 2))) static void complain(const char *format, ...) {
    va_list args;

    va_start(args, format);
    say(NULL, 0, format, args);
    va_end(args);
    verdict->failed = true;
}

void test_fail(const char *file, int line, const char *format, ...) {
    const char *base = strrchr(file, '/');
    va_list args;

    va_start(args, format);
    say(base ? base + 1 : file, line, format, args);
    va_end(args);
    verdict->failed = true;
    fflush(NULL);
    _exit(1);
}

void test_skip(const char *reason) {
    snprintf(verdict->skipped, sizeof verdict->skipped, "%s", reason);
    fflush(NULL);
    _exit(EXIT_SKIPPED);
}

void test_check_eq(const char *file, int line, const char *a_text, const char *b_text, long long a,
                   long long b) {
    if (a != b)
        test_fail(file, line, "%s == %s: %lld, not %lld", a_text, b_text, a, b);
}

void test_check_str(const char *file, int line, const char *a_text, const char *b_text,
                    const char *a, const char *b) {
    if (!a || !b || strcmp(a, b) != 0)
        test_fail(file, line, "%s == %s: \"%s\", not \"%s\"", a_text, b_text, a ? a : "(null)",
                  b ? b : "(null)");
}

void test_check_mem(const char *file, int line, const char *a_text, const char *b_text,
                    const void *a, const void *b, size_t size) {
    const unsigned char *x = a, *y = b;

    for (size_t i = 0; i < size; i++)
        if (x[i] != y[i])
            test_fail(file, line, "%s == %s: byte %zu of %zu is 0x%02x, not 0x%02x", a_text, b_text,
                      i, size, x[i], y[i]);
}

static const char *error_text(long long rc) {
    return rc < 0 && rc > -4096 ? strerror((int) -rc) : "not an error";
}

int test_check_ok(const char *file, int line, const char *text, long long rc) {
    if (rc < 0)
        test_fail(file, line, "%s: %lld (%s%s%s)", text, rc, error_text(rc),
                  rc == -1 ? "; errno: " : "", rc == -1 ? strerror(errno) : "");
    return (int) rc;
}

void test_check_err(const char *file, int line, const char *text, long long rc, int error) {
    if (rc != error)
        test_fail(file, line, "%s: %lld (%s), not %d (%s)", text, rc, error_text(rc), error,
                  error_text(error));
}

/* ---- What a test may ask for ----------------------------------------------------------------- */

const char *test_dir(void) {
    return bus_dir;
}

void test_expect_empty_dir(void) {
    verdict->expect_empty_dir = true;
}

pid_t test_fork(void (*body)(void *arg), void *arg) {
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid < 0)
        test_fail(__FILE__, __LINE__, "fork: %s", strerror(errno));
    if (pid == 0) {
        body(arg);
        fflush(NULL);
        _exit(0);
    }
    return pid;
}

void test_join(const char *file, int line, pid_t pid) {
    int status = 0;

    while (waitpid(pid, &status, 0) != pid)
        if (errno != EINTR)
            test_fail(file, line, "waitpid(%d): %s", (int) pid, strerror(errno));
    if (WIFSIGNALED(status))
        test_fail(file, line, "child %d: %s", (int) pid, strsignal(WTERMSIG(status)));
    if (WEXITSTATUS(status) != 0)
        test_fail(file, line, "child %d: exit code %d", (int) pid, WEXITSTATUS(status));
}

void test_kill(pid_t pid) {
    kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
}

const char *test_program(const char *name) {
    static char path[PATH_MAX + 64];
    ssize_t size = readlink("/proc/self/exe", path, PATH_MAX);
    char *slash;

    if (size <= 0)
        test_fail(__FILE__, __LINE__, "/proc/self/exe: %s", strerror(errno));
    path[size] = 0;
    slash = strrchr(path, '/');
    snprintf(slash + 1, sizeof path - (size_t) (slash + 1 - path), "%s", name);
    return path;
}

int test_seconds(int seconds) {
    const char *scale = getenv("TRAM_TIME_SCALE");
    int factor = scale ? atoi(scale) : 1;

    return seconds * (factor > 0 ? factor : 1);
}

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define BUILT_FOR "thread"
#elif __has_feature(address_sanitizer)
#define BUILT_FOR "address"
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define BUILT_FOR "thread"
#elif defined(__SANITIZE_ADDRESS__)
#define BUILT_FOR "address"
#endif
#if !defined(BUILT_FOR)
#define BUILT_FOR ""
#endif

const char *test_sanitizer(void) {
    return BUILT_FOR;
}

/* ---- In the child: what was there before, what is there after -------------------------------- */

/* The state of a process that a test must put back. */
struct inventory {
    bool open[MAX_FDS];
    int n_maps;
    char *maps[MAX_LINES];
};

/* The start of a line of /proc/self/maps is its address: with it two mappings of a file differ. */
static void list_maps(struct inventory *inv) {
    FILE *file = fopen("/proc/self/maps", "re");
    char line[PATH_MAX + 100];

    if (!file)
        return;
    while (inv->n_maps < MAX_LINES && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (strstr(line, " /dev/shm") || strstr(line, "tram-test-"))
            inv->maps[inv->n_maps++] = strdup(line);
    }
    fclose(file);
}

static void list_fds(struct inventory *inv) {
    DIR *dir = opendir("/proc/self/fd");
    struct dirent *entry;

    if (!dir)
        return;
    while ((entry = readdir(dir))) {
        int fd = atoi(entry->d_name);

        if (entry->d_name[0] != '.' && fd != dirfd(dir) && fd < MAX_FDS)
            inv->open[fd] = true;
    }
    closedir(dir);
}

static void inventory_init(struct inventory *inv) {
    memset(inv, 0, sizeof *inv);
    list_fds(inv);
    list_maps(inv);
}

static void inventory_deinit(struct inventory *inv) {
    for (int i = 0; i < inv->n_maps; i++)
        free(inv->maps[i]);
}

static bool has_map(const struct inventory *inv, const char *line) {
    for (int i = 0; i < inv->n_maps; i++)
        if (strcmp(inv->maps[i], line) == 0)
            return true;
    return false;
}

static void compare(const struct inventory *before, const struct inventory *after) {
    for (int fd = 0; fd < MAX_FDS; fd++) {
        char link[64], target[PATH_MAX];
        ssize_t size;

        if (before->open[fd] == after->open[fd])
            continue;
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        size = readlink(link, target, sizeof target - 1);
        target[size > 0 ? size : 0] = 0;
        complain(after->open[fd] ? "leaked descriptor %d: %s" : "descriptor %d was closed%s", fd,
                 target);
    }
    for (int i = 0; i < after->n_maps; i++)
        if (!has_map(before, after->maps[i]))
            complain("leaked mapping: %s", after->maps[i]);
}

/* Leaves by exit(), so that leaks of memory are looked for where that is built in. */
static void run_child(const struct test *test) {
    static struct inventory before, after;

    inventory_init(&before);
    test->body();
    inventory_init(&after);
    compare(&before, &after);
    inventory_deinit(&before);
    inventory_deinit(&after);
    fflush(NULL);
    exit(verdict->failed ? 1 : 0);
}

/* ---- In the runner --------------------------------------------------------------------------- */

static double now_ms(void) {
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double) ts.tv_sec * 1e3 + (double) ts.tv_nsec / 1e6;
}

static int count_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void) st;
    if (ftw->level > 0 && type != FTW_D && type != FTW_DP) {
        files_left++;
        if (verbose)
            fprintf(stderr, "    left: %s\n", path + strlen(bus_dir) + 1);
    }
    return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void) st, (void) type, (void) ftw;
    return remove(path);
}

static void make_dir(void) {
    strcpy(bus_dir, "/dev/shm/tram-test-XXXXXX");
    if (!mkdtemp(bus_dir)) {
        perror(bus_dir);
        exit(1);
    }
    setenv("TRAM_DIR", bus_dir, 1);
}

static void remove_dir(void) {
    files_left = 0;
    nftw(bus_dir, count_one, 16, FTW_PHYS);
    if (verdict->expect_empty_dir && files_left > 0)
        complain("%d files left in the bus directory", files_left);
    if (nftw(bus_dir, remove_one, 16, FTW_PHYS | FTW_DEPTH) != 0)
        complain("can't remove %s: %s", bus_dir, strerror(errno));
}

/* Kills and reaps what the test left: its group, then orphans that left the group (daemons), which
 * the kernel made children of ours. */
static void kill_rest(pid_t group) {
    char path[64];

    kill(-group, SIGKILL);
    snprintf(path, sizeof path, "/proc/self/task/%d/children", (int) getpid());
    for (;;) {
        FILE *file = fopen(path, "re");
        int pid;

        while (file && fscanf(file, "%d", &pid) == 1)
            kill(pid, SIGKILL);
        if (file)
            fclose(file);
        if (waitpid(-1, NULL, 0) < 0 && errno == ECHILD)
            return;
    }
}

/* Waits for the test to end; false when its time is up. SIGCHLD is blocked and so waits for us. */
static bool wait_until(pid_t pid, double end_ms, int *status) {
    sigset_t chld;

    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    for (;;) {
        double left = end_ms - now_ms();
        struct timespec ts = { (time_t) (left / 1e3),
                               (long) (left > 0 ? left : 0) % 1000 * 1000000 };

        if (waitpid(pid, status, WNOHANG) == pid)
            return true;
        if (left <= 0)
            return false;
        sigtimedwait(&chld, NULL, &ts);
    }
}

static pid_t start_child(const struct test *test) {
    sigset_t none;
    pid_t pid;

    fflush(NULL);
    pid = fork();
    if (pid < 0) {
        perror("fork");
        exit(1);
    }
    if (pid == 0) {
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        run_child(test);
    }
    setpgid(pid, pid);
    return pid;
}

enum result { PASSED, FAILED, SKIPPED };

static enum result run(const struct test *test) {
    static const char *const words[] = { "ok", "FAILED", "skip" };
    double start = now_ms();
    int seconds = test_seconds(test->seconds), status = 0;
    enum result result;
    bool skipped = false;
    pid_t pid;

    memset(verdict, 0, sizeof *verdict);
    make_dir();
    pid = start_child(test);
    if (!wait_until(pid, start + seconds * 1e3, &status))
        complain("time-out: not done after %d s", seconds);
    else if (WIFSIGNALED(status))
        complain("killed by signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) == EXIT_SKIPPED)
        skipped = true;
    else if (WEXITSTATUS(status) != 0 && !verdict->failed)
        complain("exit code %d", WEXITSTATUS(status));
    kill_rest(pid);
    remove_dir();
    result = verdict->failed ? FAILED : skipped ? SKIPPED : PASSED;
    printf("%-6s %s  %.0f ms%s%s\n", words[result], test->name, now_ms() - start,
           result == SKIPPED ? "  " : "", result == SKIPPED ? verdict->skipped : "");
    return result;
}

/* ---- Command line ---------------------------------------------------------------------------- */

static bool chosen(const char *name, int n, char **patterns) {
    for (int i = 0; i < n; i++)
        if (fnmatch(patterns[i], name, 0) == 0)
            return true;
    return n == 0;
}

static void set_up(void) {
    struct rlimit cores;
    sigset_t chld;

    verdict =
        mmap(NULL, sizeof *verdict, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (verdict == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    sigemptyset(&chld);
    sigaddset(&chld, SIGCHLD);
    sigprocmask(SIG_BLOCK, &chld, NULL);
    signal(SIGCHLD, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    if (getrlimit(RLIMIT_CORE, &cores) == 0) { /* none, but for tests that want one */
        cores.rlim_cur = 0;
        setrlimit(RLIMIT_CORE, &cores);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
}

static int run_all(int n, char **patterns) {
    int count[3] = { 0, 0, 0 };

    for (struct test *test = tests; test; test = test->next)
        if (chosen(test->name, n, patterns))
            count[run(test)]++;
    if (count[PASSED] + count[FAILED] + count[SKIPPED] == 0) {
        fprintf(stderr, "no such test; --list names them\n");
        return 1;
    }
    printf("%d passed, %d failed, %d skipped\n", count[PASSED], count[FAILED], count[SKIPPED]);
    if (count[FAILED])
        return 1;
    return count[PASSED] ? 0 : EXIT_SKIPPED;
}

/* One test in this process, to be looked at in a debugger. */
static int run_here(int n, char **patterns) {
    for (struct test *test = tests; test; test = test->next)
        if (n > 0 && chosen(test->name, n, patterns)) {
            make_dir();
            test->body();
            remove_dir();
            return verdict->failed;
        }
    fprintf(stderr, "TRAM_NO_FORK needs the name of a test\n");
    return 1;
}

int main(int argc, char **argv) {
    int first = 1;

    for (; first < argc && argv[first][0] == '-'; first++) {
        if (strcmp(argv[first], "--list") == 0) {
            for (struct test *test = tests; test; test = test->next)
                printf("%s\n", test->name);
            return 0;
        }
        if (strcmp(argv[first], "-v") != 0) {
            fprintf(stderr, "usage: %s [--list] [-v] [TEST…]\n", argv[0]);
            return 2;
        }
        verbose = true;
    }
    set_up();
    if (getenv("TRAM_NO_FORK"))
        return run_here(argc - first, argv + first);
    return run_all(argc - first, argv + first);
}
