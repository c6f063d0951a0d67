/* SPDX-License-Identifier: MIT */
#include "sys/spawn.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int spawn_with(const char *path, char *const *argv, posix_spawn_file_actions_t *files,
                      posix_spawnattr_t *how, int32_t *ret_pid) {
    sigset_t none, all;
    pid_t pid;
    int rc;

    (void) sigemptyset(&none);
    (void) sigfillset(&all);
    rc = posix_spawnattr_setflags(how, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                           POSIX_SPAWN_SETSID);
    if (rc == 0)
        rc = posix_spawnattr_setsigmask(how, &none);
    if (rc == 0)
        rc = posix_spawnattr_setsigdefault(how, &all);
    for (int fd = 0; fd < 3 && rc == 0; fd++)
        rc = posix_spawn_file_actions_addopen(files, fd, "/dev/null", fd ? O_WRONLY : O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawnp(&pid, path, files, how, argv, environ);
    if (rc != 0)
        return -rc;
    *ret_pid = pid;
    return 0;
}

int sys_spawn(const char *path, const char *const *argv, int32_t *ret_pid) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t how;
    int rc = posix_spawn_file_actions_init(&files);

    if (rc != 0)
        return -rc;
    rc = -posix_spawnattr_init(&how);
    if (rc == 0) {
        /* It only reads them. */
        rc = spawn_with(path, (char *const *) (uintptr_t) argv, &files, &how, ret_pid);
        (void) posix_spawnattr_destroy(&how);
    }
    (void) posix_spawn_file_actions_destroy(&files);
    return rc;
}

int sys_spawn_ended(int32_t pid) {
    pid_t rc;

    do
        rc = waitpid(pid, NULL, WNOHANG);
    while (rc < 0 && errno == EINTR);
    return rc != 0; /* an error: somebody else waited for it, or SIGCHLD is ignored */
}

const char *sys_environment(const char *name) {
#ifdef __GLIBC__
    return secure_getenv(name);
#else
    return geteuid() == getuid() && getegid() == getgid() ? getenv(name) : NULL;
#endif
}

int sys_detach(void) {
    pid_t pid = fork();

    if (pid < 0)
        return -errno;
    if (pid > 0)
        _exit(0);
    /* What whoever started us forgot to close: it would hold up pipes whose end he waits for. */
    if (syscall(SYS_close_range, 3u, ~0u, 0u) < 0)
        for (int fd = 3; fd < 1024; fd++)
            (void) close(fd);
    return setsid() < 0 ? -errno : 0;
}

void sys_leave(void) {
    int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    for (int i = 0; i < 3 && fd >= 0; i++)
        (void) dup2(fd, i);
    if (fd > 2)
        (void) close(fd);
    (void) !chdir("/"); /* it is there */
}

void sys_most_descriptors(void) {
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        (void) setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int sys_beside(const char *name, char *buffer, size_t size) {
    static const char here; /* its address is in what is meant */
    const char *slash;
    Dl_info info;
    int length;

    if (!dladdr(&here, &info) || !info.dli_fname || !(slash = strrchr(info.dli_fname, '/')))
        return -ENOENT;
    length = snprintf(buffer, size, "%.*s/%s", (int) (slash - info.dli_fname), info.dli_fname,
                      name);
    return length < 0 || (size_t) length >= size ? -ENAMETOOLONG : 0;
}
