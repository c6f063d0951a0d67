/* SPDX-License-Identifier: MIT */
#include "bench_os.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/futex.h>
#include <linux/magic.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench_util.h"

/* ---- cores -------------------------------------------------------------------------------- */

/* Text that is the same for the threads of one core; empty if the kernel doesn't say. */
static void core_name(int cpu, char *buf, size_t size) {
    char path[96];
    FILE *f;

    buf[0] = 0;
    (void) snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/core_cpus_list",
                    cpu);
    f = fopen(path, "re");
    if (!f)
        return;
    if (!fgets(buf, (int) size, f))
        buf[0] = 0;
    (void) fclose(f);
}

void bench_cpus(int cpu[2]) {
    const char *wish = getenv("BENCH_CPUS");
    char first[64] = "", other[64];
    cpu_set_t set;

    cpu[0] = cpu[1] = -1;
    if (wish && sscanf(wish, "%d,%d", &cpu[0], &cpu[1]) == 2)
        return;
    if (sched_getaffinity(0, sizeof(set), &set) < 0)
        return;
    for (int i = 0; i < CPU_SETSIZE; i++) {
        if (!CPU_ISSET((size_t) i, &set))
            continue;
        if (cpu[0] < 0) {
            cpu[0] = i;
            core_name(i, first, sizeof(first));
            continue;
        }
        core_name(i, other, sizeof(other));
        if (!first[0] || strcmp(first, other) != 0) {
            cpu[1] = i;
            return;
        }
    }
    cpu[0] = cpu[1] = -1;
}

bool bench_pin(int cpu) {
    cpu_set_t set;

    if (cpu < 0)
        return false;
    CPU_ZERO(&set);
    CPU_SET((size_t) cpu, &set);
    return sched_setaffinity(0, sizeof(set), &set) == 0;
}

bool bench_pin_elsewhere(int cpu) {
    cpu_set_t set;

    if (cpu < 0 || sched_getaffinity(0, sizeof(set), &set) < 0)
        return false;
    CPU_CLR((size_t) cpu, &set);
    return CPU_COUNT(&set) > 0 && sched_setaffinity(0, sizeof(set), &set) == 0;
}

bool bench_pin_both(const int cpu[2]) {
    cpu_set_t set;

    if (cpu[0] < 0 || cpu[1] < 0)
        return false;
    CPU_ZERO(&set);
    CPU_SET((size_t) cpu[0], &set);
    CPU_SET((size_t) cpu[1], &set);
    return sched_setaffinity(0, sizeof(set), &set) == 0;
}

void bench_yield(void) {
    (void) sched_yield();
}

void bench_pause(uint64_t ns) {
    struct timespec t = { .tv_sec = (time_t) (ns / 1000000000u),
                          .tv_nsec = (long) (ns % 1000000000u) };

    (void) nanosleep(&t, NULL);
}

struct bench_switches bench_switches(void) {
    struct rusage u;

    if (getrusage(RUSAGE_THREAD, &u) < 0)
        return (struct bench_switches){ 0, 0 };
    return (struct bench_switches){ (uint64_t) u.ru_nivcsw, (uint64_t) u.ru_nvcsw };
}

struct bench_switches bench_switches_since(struct bench_switches before) {
    struct bench_switches now = bench_switches();

    return (struct bench_switches){ now.preempted - before.preempted, now.slept - before.slept };
}

uint64_t bench_cpu_time(void) {
    struct timespec t;

    (void) clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t) t.tv_sec * 1000000000u + (uint64_t) t.tv_nsec;
}

/* ---- the placement class ------------------------------------------------------------------ */

#define PROBE_BURSTS 63u
#define PROBE_TRIPS 200u

struct probe {
    _Alignas(128) _Atomic uint32_t line;
    _Alignas(128) int cpu[2];
    bool pinned[2];
    uint64_t ns[PROBE_BURSTS];
};

static int probe_run(void *arg, unsigned who) {
    struct probe *p = arg;
    uint32_t turn = who;

    p->pinned[who] = bench_pin(p->cpu[who]);
    for (unsigned b = 0; b < PROBE_BURSTS; b++) {
        uint64_t start = bench_now();

        for (unsigned i = 0; i < PROBE_TRIPS; i++) {
            while (atomic_load_explicit(&p->line, memory_order_acquire) != turn)
                bench_relax();
            atomic_store_explicit(&p->line, turn + 1, memory_order_release);
            turn += 2;
        }
        if (who == 0)
            p->ns[b] = (bench_now() - start) / PROBE_TRIPS;
    }
    return 0;
}

static int compare_u64(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *) a, y = *(const uint64_t *) b;

    return x < y ? -1 : x > y;
}

double bench_class_probe(const int cpu[2]) {
    struct bench_team team = { .n = 2, .timeout_s = 20, .fn = probe_run };
    struct probe *p;
    double ret = 0;

    if (cpu[0] < 0 || cpu[1] < 0)
        return 0;
    p = bench_shared(sizeof(*p));
    if (!p)
        return 0;
    p->cpu[0] = cpu[0];
    p->cpu[1] = cpu[1];
    team.arg = p;
    if (bench_team_run(&team) == 0 && p->pinned[0] && p->pinned[1]) {
        qsort(p->ns, PROBE_BURSTS, sizeof(*p->ns), compare_u64);
        ret = (double) p->ns[PROBE_BURSTS / 2];
    }
    bench_unshare(p, sizeof(*p));
    return ret;
}

/* ---- memory ------------------------------------------------------------------------------- */

void *bench_shared(size_t size) {
    void *at =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    return at == MAP_FAILED ? NULL : at;
}

void bench_unshare(void *at, size_t size) {
    if (at)
        (void) munmap(at, size);
}

void *bench_ring_map(size_t size) {
    int fd = memfd_create("tram-bench", MFD_CLOEXEC);
    unsigned char *at;

    if (fd < 0)
        return NULL;
    at = MAP_FAILED;
    /* Allocated before anybody stores: on a full tmpfs a store to a hole is a SIGBUS. */
    if (ftruncate(fd, (off_t) size) == 0 && fallocate(fd, 0, 0, (off_t) size) == 0)
        at = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (unsigned i = 0; i < 2 && at != MAP_FAILED; i++) {
        void *half = mmap(at + i * size, size, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0);

        if (half == MAP_FAILED) {
            (void) munmap(at, 2 * size);
            at = MAP_FAILED;
        }
    }
    (void) close(fd);
    return at == MAP_FAILED ? NULL : at;
}

void bench_ring_unmap(void *at, size_t size) {
    if (at)
        (void) munmap(at, 2 * size);
}

void bench_futex_wait(_Atomic uint32_t *word, uint32_t value) {
    /* Interrupted or too late: the caller looks at the word again, so the result says nothing. */
    (void) syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

void bench_futex_wake(_Atomic uint32_t *word) {
    (void) syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

void bench_barrier(struct bench_barrier *b, unsigned n) {
    uint32_t round = atomic_load(&b->round);

    if (atomic_fetch_add(&b->here, 1) + 1 == n) {
        atomic_store(&b->here, 0);
        atomic_store(&b->round, round + 1);
        return;
    }
    /* Yield: there may be more of us than cores. */
    while (atomic_load(&b->round) == round)
        (void) sched_yield();
}

/* ---- teams -------------------------------------------------------------------------------- */

struct member {
    const struct bench_team *team;
    unsigned who;
    int result;
};

static void *member_thread(void *arg) {
    struct member *m = arg;

    m->result = m->team->fn(m->team->arg, m->who);
    return NULL;
}

static int team_threads(const struct bench_team *team) {
    pthread_t *threads = calloc(team->n, sizeof(*threads));
    struct member *members = calloc(team->n, sizeof(*members));
    int ret = threads && members ? 0 : -ENOMEM;

    /* A thread can't be killed alone: the alarm ends the worker, and the supervisor cleans up. */
    (void) alarm(team->timeout_s);
    for (unsigned i = 0; i < team->n && !ret; i++) {
        members[i] = (struct member){ .team = team, .who = i };
        ret = -pthread_create(&threads[i], NULL, member_thread, &members[i]);
        if (ret) {
            fprintf(stderr, "bench: no thread: %s\n", strerror(-ret));
            _exit(1);
        }
    }
    for (unsigned i = 0; i < team->n && threads && members; i++) {
        (void) pthread_join(threads[i], NULL);
        if (!ret)
            ret = members[i].result;
    }
    (void) alarm(0);
    free(threads);
    free(members);
    return ret;
}

static void member_process(const struct bench_team *team, unsigned who, pid_t parent) {
    int ret;

    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    (void) signal(SIGALRM, SIG_DFL);
    (void) alarm(team->timeout_s);
    ret = team->fn(team->arg, who);
    /* An exit code has a byte, and errno values fit into one. Not _exit: some peers sign off in
       their destructors. */
    exit(ret < 0 ? -ret & 0xff : 0);
}

static int member_verdict(int status) {
    if (WIFEXITED(status))
        return -WEXITSTATUS(status);
    return WTERMSIG(status) == SIGALRM ? -ETIMEDOUT : -ECHILD;
}

static int team_processes(const struct bench_team *team) {
    pid_t *pids = calloc(team->n, sizeof(*pids)), self = getpid();
    unsigned left = 0;
    int ret = pids ? 0 : -ENOMEM;

    for (unsigned i = 0; i < team->n && !ret; i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            member_process(team, i, self);
        if (pids[i] < 0)
            ret = -errno;
        else
            left++;
    }
    while (left) {
        int status, verdict;
        pid_t pid;

        for (unsigned i = 0; i < team->n && ret && pids; i++)
            if (pids[i] > 0)
                (void) kill(pids[i], SIGKILL);
        pid = waitpid(-1, &status, 0);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid < 0)
            break;
        for (unsigned i = 0; i < team->n; i++) {
            if (pids[i] != pid)
                continue;
            pids[i] = -1;
            left--;
            verdict = member_verdict(status);
            if (!ret)
                ret = verdict;
        }
    }
    free(pids);
    return ret;
}

int bench_team_run(const struct bench_team *team) {
    (void) fflush(NULL);
    return team->threads ? team_threads(team) : team_processes(team);
}

/* ---- supervision -------------------------------------------------------------------------- */

static volatile sig_atomic_t supervise_signal;
static volatile pid_t supervise_worker;

/* Kills from here, not from the loop: a signal just before the wait must not be forgotten. */
static void supervise_handler(int sig) {
    supervise_signal = sig;
    if (supervise_worker > 0)
        (void) kill(supervise_worker, SIGKILL);
}

int bench_in_memory(const char *dir) {
    struct statfs about;

    if (statfs(dir, &about) < 0)
        return -errno;
    return about.f_type == TMPFS_MAGIC || about.f_type == RAMFS_MAGIC;
}

#define DISK_PAGE  UINT64_C(4096)
#define DISK_PAGES UINT64_C(64)

/* Whole pages for one of that size. */
static uint64_t disk_step(size_t size) {
    return (size + DISK_PAGE - 1) / DISK_PAGE * DISK_PAGE;
}

int bench_disk_open(const char *dir, size_t size) {
    static const char zeroes[DISK_PAGE];
    char path[BENCH_PATH + 16];
    int fd, ret = 0;

    (void) snprintf(path, sizeof(path), "%s/floor", dir);
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    for (uint64_t at = 0; at < DISK_PAGES * disk_step(size) && ret == 0; at += DISK_PAGE) {
        ssize_t put = pwrite(fd, zeroes, DISK_PAGE, (off_t) at);

        if (put != (ssize_t) DISK_PAGE)
            ret = put < 0 ? -errno : -ENOSPC;
    }
    if (ret == 0 && fsync(fd) < 0)
        ret = -errno;
    if (ret < 0)
        bench_disk_close(fd);
    return ret < 0 ? ret : fd;
}

int bench_disk_write(int fd, const void *data, size_t size, uint64_t i) {
    ssize_t put = pwrite(fd, data, size, (off_t) (i % DISK_PAGES * disk_step(size)));

    if (put != (ssize_t) size)
        return put < 0 ? -errno : -ENOSPC;
    return fdatasync(fd) < 0 ? -errno : 0;
}

void bench_disk_close(int fd) {
    if (fd >= 0)
        (void) close(fd);
}

int bench_dir_make(const char *folder, char *buf, size_t size) {
    const char *const places[] = { folder ? folder : "/dev/shm", folder ? folder : "/tmp" };

    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        if (snprintf(buf, size, "%s/tram-bench-XXXXXX", places[i]) >= (int) size)
            return -ENAMETOOLONG;
        /* mkdtemp makes it 0700. */
        if (access(places[i], W_OK) == 0 && mkdtemp(buf))
            return 0;
    }
    return -errno;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void) st;
    (void) type;
    (void) ftw;
    /* Go on over what can't be removed: the rest should still go. */
    (void) remove(path);
    return 0;
}

void bench_dir_remove(const char *dir) {
    (void) nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* Waits for the worker and for all that it left behind. */
static int supervise_wait(pid_t worker) {
    int status = 0, ret = 1;
    pid_t pid;

    for (;;) {
        pid = waitpid(-1, &status, 0);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid < 0)
            break;
        if (pid == worker)
            ret = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
    return supervise_signal ? BENCH_INTERRUPTED : ret;
}

static const int ends[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
#define ENDS (sizeof(ends) / sizeof(*ends))

static void worker_process(int (*fn)(void *arg, const char *dir), void *arg, const char *dir,
                           pid_t parent, const sigset_t *mask) {
    int ret;

    (void) prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    for (size_t i = 0; i < ENDS; i++)
        (void) signal(ends[i], SIG_DFL);
    (void) sigprocmask(SIG_SETMASK, mask, NULL);
    ret = fn(arg, dir);
    (void) fflush(NULL);
    _exit(ret);
}

int bench_supervise(int (*fn)(void *arg, const char *dir), void *arg) {
    return bench_supervise_in(NULL, fn, arg);
}

int bench_supervise_in(const char *folder, int (*fn)(void *arg, const char *dir), void *arg) {
    struct sigaction sa = { .sa_handler = supervise_handler };
    pid_t worker, self = getpid();
    sigset_t block, mask;
    char dir[BENCH_PATH];
    int ret = bench_dir_make(folder, dir, sizeof(dir));

    if (ret < 0) {
        fprintf(stderr, "bench: can't make a directory%s%s: %s\n", folder ? " in " : "",
                folder ? folder : "", strerror(-ret));
        return 1;
    }
    /* What the worker leaves when it dies comes to us: nothing touches the directory any more when
       it is removed. */
    (void) prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void) sigemptyset(&block);
    for (size_t i = 0; i < ENDS; i++) {
        (void) sigaddset(&block, ends[i]);
        (void) sigaction(ends[i], &sa, NULL);
    }
    (void) sigprocmask(SIG_BLOCK, &block, &mask);
    (void) fflush(NULL);
    worker = fork();
    if (worker == 0)
        worker_process(fn, arg, dir, self, &mask);
    if (worker < 0)
        fprintf(stderr, "bench: can't fork: %s\n", strerror(errno));
    supervise_worker = worker;
    (void) sigprocmask(SIG_SETMASK, &mask, NULL);
    ret = worker < 0 ? 1 : supervise_wait(worker);
    bench_dir_remove(dir);
    return ret;
}
