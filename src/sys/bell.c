/* SPDX-License-Identifier: MIT */
#include "sys/bell.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sys/cleanup.h"
#include "sys/clock.h"
#include "sys/file.h"

#define DRAIN_READS 65 /* of a KiB: a FIFO is full with 64 */

int sys_bell_make(int dir, const char *name, uint32_t mode) {
    if (mkfifoat(dir, name, 0600) < 0)
        return errno == EEXIST ? 0 : -errno;
    if (mode != 0600 && fchmodat(dir, name, mode, 0) < 0) {
        int rc = -errno;

        (void) unlinkat(dir, name, 0); /* or it would be found with another mode */
        return rc;
    }
    return 0;
}

int sys_bell_open(int dir, const char *name) {
    OWNS_FD int fd = sys_file_open(dir, name, true);
    struct stat st;

    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return -errno;
    return S_ISFIFO(st.st_mode) ? take_fd(&fd) : -EPROTO;
}

int sys_bell_ring(int fd) {
    ssize_t put;

    do
        put = write(fd, "!", 1);
    while (put < 0 && errno == EINTR);
    return put < 0 && errno != EAGAIN ? -errno : 0;
}

bool sys_bell_drain(int fd) {
    char bytes[1024];
    bool rung = false;

    for (int i = 0; i < DRAIN_READS; i++) {
        ssize_t got = read(fd, bytes, sizeof(bytes));

        rung |= got > 0;
        if (got != (ssize_t) sizeof(bytes) && !(got < 0 && errno == EINTR))
            break;
    }
    return rung;
}

int sys_bell_open_to_put(int dir, const char *name) {
    OWNS_FD int fd = -1;
    struct stat st;

    do
        fd = openat(dir, name, O_WRONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    while (fd < 0 && errno == EINTR);
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    return S_ISFIFO(st.st_mode) ? take_fd(&fd) : -EPROTO;
}

int sys_bell_put(int fd, const void *data, uint64_t size) {
    ssize_t put;

    do
        put = write(fd, data, size);
    while (put < 0 && errno == EINTR);
    if (put < 0)
        return -errno;
    return (uint64_t) put == size ? 0 : -EIO;
}

int sys_bell_get(int fd, void *data, uint64_t size) {
    ssize_t got;

    do
        got = read(fd, data, size);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : (int) got;
}

int sys_wait_readable(int fd, uint64_t deadline) {
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    struct timespec left = {0};
    int rc;

    if (deadline != UINT64_MAX && deadline != 0) {
        uint64_t now = sys_now();
        uint64_t ns = deadline > now ? deadline - now : 0;

        left.tv_sec = (time_t) (ns / SYS_SECOND);
        left.tv_nsec = (long) (ns % SYS_SECOND);
    }
    rc = ppoll(&entry, 1, deadline == UINT64_MAX ? NULL : &left, NULL);
    if (rc < 0)
        return errno == EINTR ? 0 : -errno;
    return rc;
}

int sys_set_new(void) {
    int fd = epoll_create1(EPOLL_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

int sys_set_add(int set, int fd, uint32_t id) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = id};

    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int sys_set_add_end(int set, int fd, uint32_t id) {
    struct epoll_event event = {.events = 0, .data.u32 = id}; /* EPOLLHUP is always told */

    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int sys_set_remove(int set, int fd) {
    struct epoll_event event = {0};

    return epoll_ctl(set, EPOLL_CTL_DEL, fd, &event) < 0 ? -errno : 0;
}

int sys_set_ready(int set, uint32_t *ret_ids, int max) {
    struct epoll_event events[16];
    int count = epoll_wait(set, events, max < 16 ? max : 16, 0);

    for (int i = 0; i < count; i++)
        ret_ids[i] = events[i].data.u32;
    return count < 0 ? 0 : count;
}
