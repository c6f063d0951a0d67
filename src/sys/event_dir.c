/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "sys/event.h"

int sys_dir_watch(int dir) {
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    char path[64];

    if (fd < 0)
        return -errno;
    (void) snprintf(path, sizeof(path), "/proc/self/fd/%d", dir);
    if (inotify_add_watch(fd, path, IN_CREATE | IN_MOVED_TO | IN_ONLYDIR) < 0) {
        int rc = -errno;

        (void) close(fd);
        return rc;
    }
    return fd;
}

int sys_dir_news(int fd, void (*entry)(void *context, const char *name), void *context) {
    union {
        struct inotify_event first;
        char bytes[8192];
    } buffer;
    ssize_t got;
    int lost = 0;

    while ((got = read(fd, &buffer, sizeof(buffer))) > 0) {
        for (ssize_t at = 0; at < got;) {
            struct inotify_event *event = (struct inotify_event *) (buffer.bytes + at);

            if (event->mask & IN_Q_OVERFLOW)
                lost = 1;
            else if (event->len > 0)
                entry(context, event->name);
            at += (ssize_t) sizeof(*event) + event->len;
        }
    }
    return lost;
}
