/* SPDX-License-Identifier: MIT */
#include "sys/event.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define SECOND INT64_C(1000000000)

int sys_alarm_new(void) {
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);

    return fd < 0 ? -errno : fd;
}

int sys_alarm_set(int fd, int64_t due) {
    struct itimerspec when = {0};

    if (due < 1)
        due = 1; /* 0 would disarm it */
    if (due != INT64_MAX) {
        when.it_value.tv_sec = (time_t) (due / SECOND);
        when.it_value.tv_nsec = (long) (due % SECOND);
    }
    return timerfd_settime(fd, TFD_TIMER_ABSTIME, &when, NULL) < 0 ? -errno : 0;
}

int sys_raise_new(void) {
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    return fd < 0 ? -errno : fd;
}

void sys_raise(int fd) {
    uint64_t one = 1;
    ssize_t put;

    do
        put = write(fd, &one, sizeof(one)); /* a full counter is as good as a raised one */
    while (put < 0 && errno == EINTR);
}

uint64_t sys_raise_take(int fd) {
    uint64_t count = 0;
    ssize_t got;

    do
        got = read(fd, &count, sizeof(count));
    while (got < 0 && errno == EINTR);
    return got == (ssize_t) sizeof(count) ? count : 0;
}

static struct epoll_event to_epoll(uint32_t events, void *data) {
    struct epoll_event event = {.data.ptr = data};

    event.events = (events & SYS_READ ? EPOLLIN : 0u) | (events & SYS_WRITE ? EPOLLOUT : 0u);
    return event;
}

int sys_watch_add(int set, int fd, uint32_t events, void *data) {
    struct epoll_event event = to_epoll(events, data);

    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int sys_watch_change(int set, int fd, uint32_t events, void *data) {
    struct epoll_event event = to_epoll(events, data);

    return epoll_ctl(set, EPOLL_CTL_MOD, fd, &event) < 0 ? -errno : 0;
}

int sys_watch_remove(int set, int fd) {
    struct epoll_event event = {0};

    return epoll_ctl(set, EPOLL_CTL_DEL, fd, &event) < 0 ? -errno : 0;
}

static int ready(int set, struct sys_ready *ret_ready, int max, int timeout) {
    struct epoll_event events[16];
    int count = epoll_wait(set, events, max < 16 ? max : 16, timeout);

    for (int i = 0; i < count; i++) {
        uint32_t told = events[i].events;

        ret_ready[i].data = events[i].data.ptr;
        ret_ready[i].events = (told & EPOLLIN ? SYS_READ : 0u) |
                              (told & EPOLLOUT ? SYS_WRITE : 0u) |
                              (told & (EPOLLHUP | EPOLLERR) ? SYS_HANGUP : 0u);
    }
    return count < 0 ? 0 : count;
}

int sys_watch_ready(int set, struct sys_ready *ret_ready, int max) {
    return ready(set, ret_ready, max, 0);
}

int sys_watch_wait(int set, struct sys_ready *ret_ready, int max) {
    return ready(set, ret_ready, max, -1);
}

void sys_thread_name(const char *name) {
    (void) prctl(PR_SET_NAME, name, 0, 0, 0); /* cut to 15 bytes; a nameless thread works as well */
}
