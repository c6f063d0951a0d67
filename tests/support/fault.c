/* SPDX-License-Identifier: MIT
 *
 * The other side of --wrap: the linker sends each call of NAME to __wrap_NAME, and each call of
 * __real_NAME to the C library (or to the sanitizer in front of it). Calls are counted while a
 * thread is armed, and that is around one call of the library; so what the test itself does goes
 * through untouched.
 */
#include "support/fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static struct {
    bool armed, stay;
    unsigned n, calls;
    int variant;
    enum fault_result result;
    const char *name;
    int code;
} state;

static long allocations;
static bool disk;

void fault_arm(unsigned n, int variant, bool stay) {
    memset(&state, 0, sizeof state);
    state.n = n;
    state.variant = variant;
    state.stay = stay;
    state.armed = true;
}

enum fault_result fault_disarm(void) {
    state.armed = false;
    return state.result;
}

const char *fault_name(void) {
    return state.result == FAULT_HIT ? state.name : "none";
}

int fault_code(void) {
    return state.result == FAULT_HIT ? state.code : 0;
}

static bool transparent(int code) {
    return code == FAULT_SHORT || code == EINTR;
}

bool fault_transparent(void) {
    return state.result == FAULT_HIT && transparent(state.code);
}

void fault_disk(void) {
    disk = true;
}

long fault_allocations(void) {
    return allocations;
}

static _Thread_local int64_t ahead;

void fault_ahead(int64_t ns) {
    ahead += ns;
}

static _Thread_local struct {
    const char *function, *name;
    unsigned n, calls, done;
    int (*act)(void);
    bool busy;
} moment;

void fault_before(const char *function, const char *name, unsigned n, int (*act)(void)) {
    moment.function = function;
    moment.name = name;
    moment.n = n;
    moment.calls = 0;
    moment.act = act;
}

unsigned fault_done(void) {
    unsigned done = moment.done;

    moment.act = NULL;
    moment.done = 0;
    return done;
}

/* 0, or how the call is to fail. */
static int at_moment(const char *function, const char *name) {
    int code;

    if (!moment.act || moment.busy ||
        (moment.function && strcmp(function, moment.function) != 0) ||
        (moment.name && (!name || strcmp(name, moment.name) != 0)) ||
        (++moment.calls != moment.n && moment.n != 0))
        return 0;
    moment.done++;
    moment.busy = true;
    code = moment.act();
    moment.busy = false;
    return code;
}

/* Is this call to fail? 0, or how. */
static int fails(const char *name, const char *file, const int *codes, size_t count) {
    int code = at_moment(name, file);
    size_t which;

    if (code != 0 || !state.armed)
        return code;
    if (++state.calls != state.n)
        return state.stay && state.result == FAULT_HIT && strcmp(name, state.name) == 0
                   ? state.code
                   : 0;
    which = state.variant == FAULT_ROTATE ? state.n % count : (size_t) state.variant;
    if (which >= count || (state.stay && transparent(codes[which]))) {
        state.result = FAULT_NO_VARIANT;
        return 0;
    }
    state.result = FAULT_HIT;
    state.name = name;
    state.code = codes[which];
    return state.code;
}

/* FAILS(name, errno…): 0, or how this call is to fail; errno is set. */
#define FAILS(name, ...) FAILS_OF(name, NULL, __VA_ARGS__)
#define FAILS_OF(name, file, ...)                                                                  \
    ({                                                                                             \
        static const int codes[] = { __VA_ARGS__ };                                                \
        int code_ = fails(name, file, codes, sizeof codes / sizeof codes[0]);                      \
                                                                                                   \
        if (code_ > 0)                                                                             \
            errno = code_;                                                                         \
        code_;                                                                                     \
    })

/* WRAP(type, name, parameters): the prototypes, and the head of the wrapper. */
#define WRAP(type, name, ...)                                                                      \
    type __real_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__);                                                               \
    type __wrap_##name(__VA_ARGS__)

/* ---- memory ---------------------------------------------------------------------------------- */

WRAP(void *, malloc, size_t size) {
    void *made = FAILS("malloc", ENOMEM) ? NULL : __real_malloc(size);

    allocations += made != NULL;
    return made;
}

WRAP(void *, calloc, size_t count, size_t size) {
    void *made = FAILS("calloc", ENOMEM) ? NULL : __real_calloc(count, size);

    allocations += made != NULL;
    return made;
}

WRAP(void *, realloc, void *old, size_t size) {
    void *made = FAILS("realloc", ENOMEM) ? NULL : __real_realloc(old, size);

    allocations += made && !old;
    return made;
}

WRAP(char *, strdup, const char *text) {
    char *made = FAILS("strdup", ENOMEM) ? NULL : __real_strdup(text);

    allocations += made != NULL;
    return made;
}

WRAP(void, free, void *memory) {
    allocations -= memory != NULL;
    __real_free(memory);
}

WRAP(void *, mmap, void *at, size_t length, int protection, int flags, int fd, off_t offset) {
    if (FAILS("mmap", ENOMEM, ENFILE, EAGAIN))
        return MAP_FAILED;
    return __real_mmap(at, length, protection, flags, fd, offset);
}

WRAP(int, madvise, void *at, size_t length, int advice) {
    return FAILS("madvise", ENOMEM, EAGAIN, EINVAL) ? -1 : __real_madvise(at, length, advice);
}

WRAP(int, mlock, const void *at, size_t length) {
    return FAILS("mlock", ENOMEM, EPERM, EAGAIN) ? -1 : __real_mlock(at, length);
}

WRAP(int, msync, void *at, size_t length, int flags) {
    return FAILS("msync", EIO, ENOMEM) ? -1 : __real_msync(at, length, flags);
}

/* ---- names ----------------------------------------------------------------------------------- */

static int mode_of(int flags, va_list more) {
    return flags & O_CREAT ? va_arg(more, int) : 0;
}

int __real_open(const char *name, int flags, ...);
int __wrap_open(const char *name, int flags, ...);
int __wrap_open(const char *name, int flags, ...) {
    va_list more;
    int mode;

    va_start(more, flags);
    mode = mode_of(flags, more);
    va_end(more);
    if (FAILS_OF("open", name, EMFILE, ENFILE, ENOMEM, EACCES, EINTR))
        return -1;
    return __real_open(name, flags, mode);
}

/* EACCES of a file that is there is no moment's fault but the file's: hostile_test has those. */
int __real_openat(int dir, const char *name, int flags, ...);
int __wrap_openat(int dir, const char *name, int flags, ...);
int __wrap_openat(int dir, const char *name, int flags, ...) {
    va_list more;
    int mode, code;

    va_start(more, flags);
    mode = mode_of(flags, more);
    va_end(more);
    if (flags & O_CREAT)
        code = FAILS_OF("openat", name, EMFILE, ENOSPC, ENFILE, ENOMEM, EINTR, EIO, EACCES);
    else
        code = FAILS_OF("openat", name, EMFILE, ENFILE, ENOMEM, EINTR, EIO);
    return code ? -1 : __real_openat(dir, name, flags, mode);
}

WRAP(int, mkdirat, int dir, const char *name, mode_t mode) {
    if (FAILS_OF("mkdirat", name, ENOSPC, ENOMEM, EACCES, EIO))
        return -1;
    return __real_mkdirat(dir, name, mode);
}

WRAP(int, mkfifoat, int dir, const char *name, mode_t mode) {
    if (FAILS_OF("mkfifoat", name, ENOSPC, ENOMEM, EACCES, EIO))
        return -1;
    return __real_mkfifoat(dir, name, mode);
}

WRAP(int, renameat, int dir, const char *from, int to_dir, const char *to) {
    if (FAILS_OF("renameat", from, ENOSPC, ENOMEM, EIO))
        return -1;
    return __real_renameat(dir, from, to_dir, to);
}

WRAP(int, unlinkat, int dir, const char *name, int flags) {
    return FAILS_OF("unlinkat", name, EIO, ENOMEM, EACCES) ? -1 : __real_unlinkat(dir, name, flags);
}

WRAP(int, fchmodat, int dir, const char *name, mode_t mode, int flags) {
    if (FAILS_OF("fchmodat", name, EIO, ENOMEM, EPERM))
        return -1;
    return __real_fchmodat(dir, name, mode, flags);
}

WRAP(int, fstatat, int dir, const char *name, struct stat *st, int flags) {
    return FAILS_OF("fstatat", name, ENOMEM, EIO) ? -1 : __real_fstatat(dir, name, st, flags);
}

WRAP(DIR *, fdopendir, int fd) {
    return FAILS("fdopendir", ENOMEM) ? NULL : __real_fdopendir(fd);
}

WRAP(struct dirent *, readdir, DIR *dir) {
    return FAILS("readdir", EIO, ENOMEM) ? NULL : __real_readdir(dir);
}

/* What fails to close is closed. */
WRAP(int, closedir, DIR *dir) {
    int code = FAILS("closedir", EIO, EINTR);
    int rc = __real_closedir(dir);

    if (code > 0)
        errno = code;
    return code ? -1 : rc;
}

/* ---- descriptors ----------------------------------------------------------------------------- */

WRAP(int, close, int fd) {
    int code = FAILS("close", EIO, EINTR);
    int rc = __real_close(fd);

    if (code > 0)
        errno = code;
    return code ? -1 : rc;
}

WRAP(int, fstat, int fd, struct stat *st) {
    return FAILS("fstat", ENOMEM, EIO) ? -1 : __real_fstat(fd, st);
}

WRAP(int, fstatfs, int fd, struct statfs *fs) {
    int rc = FAILS("fstatfs", ENOMEM, EIO, EINTR) ? -1 : __real_fstatfs(fd, fs);

    if (rc == 0 && disk)
        fs->f_type = EXT4_SUPER_MAGIC;
    return rc;
}

WRAP(int, fdatasync, int fd) {
    return FAILS("fdatasync", EIO, ENOSPC) ? -1 : __real_fdatasync(fd);
}

WRAP(int, fsync, int fd) {
    return FAILS("fsync", EIO, ENOSPC) ? -1 : __real_fsync(fd);
}

WRAP(int, fchmod, int fd, mode_t mode) {
    return FAILS("fchmod", EIO, EPERM) ? -1 : __real_fchmod(fd, mode);
}

WRAP(int, ftruncate, int fd, off_t size) {
    return FAILS("ftruncate", EIO, ENOSPC, EINTR, EFBIG) ? -1 : __real_ftruncate(fd, size);
}

WRAP(int, fallocate, int fd, int mode, off_t offset, off_t length) {
    if (FAILS("fallocate", ENOSPC, EINTR, EIO))
        return -1;
    return __real_fallocate(fd, mode, offset, length);
}

int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...) {
    va_list more;
    void *argument;

    va_start(more, command);
    argument = va_arg(more, void *); /* as the C library itself does */
    va_end(more);
    if (FAILS("fcntl", ENOLCK, EINTR, ENOMEM))
        return -1;
    return __real_fcntl(fd, command, argument);
}

WRAP(ssize_t, pread, int fd, void *buffer, size_t size, off_t offset) {
    int code = FAILS("pread", EIO, FAULT_SHORT, EINTR, ENOMEM);

    return code > 0 ? -1 : __real_pread(fd, buffer, code && size > 1 ? size / 2 : size, offset);
}

WRAP(ssize_t, pwrite, int fd, const void *buffer, size_t size, off_t offset) {
    int code = FAILS("pwrite", ENOSPC, FAULT_SHORT, EINTR, EIO);

    return code > 0 ? -1 : __real_pwrite(fd, buffer, code && size > 1 ? size / 2 : size, offset);
}

WRAP(ssize_t, read, int fd, void *buffer, size_t size) {
    return FAILS("read", EINTR, EIO) ? -1 : __real_read(fd, buffer, size);
}

WRAP(ssize_t, write, int fd, const void *buffer, size_t size) {
    return FAILS("write", EINTR, EIO, ENOMEM) ? -1 : __real_write(fd, buffer, size);
}

WRAP(ssize_t, getrandom, void *buffer, size_t size, unsigned flags) {
    int code = FAILS("getrandom", ENOSYS, FAULT_SHORT, EINTR);

    return code > 0 ? -1 : __real_getrandom(buffer, code && size > 1 ? size / 2 : size, flags);
}

/* Nothing to fail; but a moment. */
WRAP(int, nanosleep, const struct timespec *time, struct timespec *ret_left) {
    (void) at_moment("nanosleep", NULL);
    return __real_nanosleep(time, ret_left);
}

WRAP(int, clock_gettime, clockid_t clock, struct timespec *ret_time) {
    int rc;

    (void) at_moment("clock_gettime", NULL);
    rc = __real_clock_gettime(clock, ret_time);
    ret_time->tv_sec += (time_t) ((ret_time->tv_nsec + ahead) / 1000000000);
    ret_time->tv_nsec = (long) ((ret_time->tv_nsec + ahead) % 1000000000);
    return rc;
}

/* ---- waiting, processes ---------------------------------------------------------------------- */

WRAP(int, epoll_create1, int flags) {
    return FAILS("epoll_create1", EMFILE, ENFILE, ENOMEM) ? -1 : __real_epoll_create1(flags);
}

WRAP(int, epoll_ctl, int set, int what, int fd, struct epoll_event *event) {
    return FAILS("epoll_ctl", ENOSPC, ENOMEM) ? -1 : __real_epoll_ctl(set, what, fd, event);
}

WRAP(int, epoll_wait, int set, struct epoll_event *events, int max, int timeout) {
    return FAILS("epoll_wait", EINTR) ? -1 : __real_epoll_wait(set, events, max, timeout);
}

WRAP(int, ppoll, struct pollfd *entries, nfds_t count, const struct timespec *timeout,
     const sigset_t *mask) {
    return FAILS("ppoll", EINTR, ENOMEM) ? -1 : __real_ppoll(entries, count, timeout, mask);
}

WRAP(int, pthread_atfork, void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
    return FAILS("pthread_atfork", ENOMEM) ? ENOMEM
                                           : __real_pthread_atfork(prepare, parent, child);
}

/* membarrier(). */
long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...) {
    va_list more;
    long first, second, third;

    va_start(more, number);
    first = va_arg(more, long);
    second = va_arg(more, long);
    third = va_arg(more, long);
    va_end(more);
    if (FAILS("syscall", EMFILE, ENFILE, ENOMEM, ENOSYS, ESRCH))
        return -1;
    return __real_syscall(number, first, second, third);
}
