/* SPDX-License-Identifier: MIT */
#include "sys/process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/cleanup.h"
#include "sys/file.h"

uint32_t sys_pid(void) {
    return (uint32_t) getpid();
}

/* Field 22 of /proc/PID/stat; the second field is the name in parentheses and may hold anything. */
uint64_t sys_start_time(uint32_t pid) {
    char path[32];
    char text[1024];
    char *at;
    ssize_t got;
    OWNS_FD int fd = -1;

    (void) snprintf(path, sizeof(path), "/proc/%u/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    got = read(fd, text, sizeof(text) - 1);
    if (got <= 0)
        return 0;
    text[got] = '\0';
    at = strrchr(text, ')');
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    return at ? strtoull(at + 1, NULL, 10) : 0;
}

void sys_program(char *buffer, size_t size) {
    (void) snprintf(buffer, size, "%s", program_invocation_short_name);
}

int sys_process_watch(uint32_t pid) {
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
    int fd = (int) syscall(SYS_pidfd_open, (pid_t) pid, 0);

    return fd < 0 ? -errno : fd;
}

int sys_on_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
    return -pthread_atfork(prepare, parent, child);
}
