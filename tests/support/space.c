/* SPDX-License-Identifier: MIT */
#include "support/space.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME /* Linux 5.6 */
#define CLONE_NEWTIME 0x00000080
#endif

static bool write_text(const char *path, const char *text) {
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool done = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t) strlen(text);

    if (fd >= 0)
        close(fd);
    return done;
}

/* The same numbers inside as outside: the bus belongs to whom it belonged to. */
static bool map_ids(unsigned uid, unsigned gid) {
    char map[64];

    (void) write_text("/proc/self/setgroups", "deny");
    snprintf(map, sizeof map, "%u %u 1", uid, uid);
    if (!write_text("/proc/self/uid_map", map))
        return false;
    snprintf(map, sizeof map, "%u %u 1", gid, gid);
    return write_text("/proc/self/gid_map", map);
}

const char *space_enter(unsigned flags) {
    unsigned uid = geteuid(), gid = getegid();
    int spaces = CLONE_NEWNS | ((flags & SPACE_PIDS) ? CLONE_NEWPID : 0) |
                 ((flags & SPACE_TIME) ? CLONE_NEWTIME : 0);
    bool user = (flags & SPACE_USER) || uid != 0;

    if (unshare(spaces | (user ? CLONE_NEWUSER : 0)) < 0)
        return user ? "no user namespace for us here" : "no namespaces for root here";
    if (user && !map_ids(uid, gid))
        return "no user namespace of our own here";
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return "no private mounts here";
    return NULL;
}

int space_proc(void) {
    return mount("proc", "/proc", "proc", 0, NULL) < 0 ? -errno : 0;
}

bool space_possible(unsigned flags) {
    int status = 1;
    pid_t pid = fork();

    if (pid == 0) {
        if (space_enter(flags))
            _exit(1);
        pid = fork(); /* the first one of the new namespaces */
        if (pid == 0)
            _exit((flags & SPACE_PROC) && space_proc() < 0);
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            _exit(1);
        _exit(status != 0);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}
