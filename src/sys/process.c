/* SPDX-License-Identifier: MIT */
#include "sys/process.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/cleanup.h"
#include "sys/file.h"

uint32_t sys_pid(void) {
    return (uint32_t) getpid();
}

uint64_t sys_pid_namespace(void) {
    struct stat st;

    return fstatat(AT_FDCWD, "/proc/self/ns/pid", &st, 0) < 0 ? 0 : (uint64_t) st.st_ino;
}

/* Field 22 of /proc/self/stat; the second field is the name in parentheses and may hold anything.
 * Not by number: /proc may be that of another pid namespace. */
uint64_t sys_start_time(void) {
    char text[1024];
    char *at;
    ssize_t got;
    OWNS_FD int fd = -1;

    fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
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

int sys_on_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
    return -pthread_atfork(prepare, parent, child);
}
