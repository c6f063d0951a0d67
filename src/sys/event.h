/* SPDX-License-Identifier: MIT
 *
 * What an event loop waits for: a timer with nanoseconds, a counter that other threads raise, and a
 * set of descriptors.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* A descriptor that becomes readable at a point of CLOCK_MONOTONIC. INT64_MAX: never. Setting it
 * anew takes back that it was readable. */
int sys_alarm_new(void);
int sys_alarm_set(int fd, int64_t due);

/* A descriptor that is readable after a raise, until that is taken: then how many raises there were
 * is returned. Any thread may raise it. */
int sys_raise_new(void);
void sys_raise(int fd);
uint64_t sys_raise_take(int fd);

/* Descriptors, each with events and a pointer. */
#define SYS_READ   1u
#define SYS_WRITE  2u
#define SYS_HANGUP 4u /* always told, errors too */

struct sys_ready {
    void *data;
    uint32_t events;
};

/* -EEXIST: it is in the set. -EPERM: it can't be polled. */
int sys_watch_add(int set, int fd, uint32_t events, void *data);
int sys_watch_change(int set, int fd, uint32_t events, void *data);
int sys_watch_remove(int set, int fd);
/* Those that are ready now; up to `max`, at most 16. */
int sys_watch_ready(int set, struct sys_ready *ret_ready, int max);
/* The same, when there is one; 0 after a signal. */
int sys_watch_wait(int set, struct sys_ready *ret_ready, int max);

/* A descriptor that is readable when something came into a directory. */
int sys_dir_watch(int dir);
/* What came, by name. 1: some of it was lost: look yourself. */
int sys_dir_news(int fd, void (*entry)(void *context, const char *name), void *context);

/* A descriptor that is readable when something changed about network interfaces; and whether one
 * came up, or got an address. */
int sys_net_watch(void);
bool sys_net_news(int fd);

/* Name the calling thread, cut to fit, for tools. */
void sys_thread_name(const char *name);
