/* SPDX-License-Identifier: MIT
 *
 * Processes: who we are, who a peer is, and its end.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t sys_pid(void);

/* Start time of a process in clock ticks since boot, which tells it from a later one with the same
 * pid; 0 if there is none. */
uint64_t sys_start_time(uint32_t pid);

/* Short name of this program, cut to fit. */
void sys_program(char *buffer, size_t size);

/* A descriptor that becomes readable when the process ends. -ESRCH; -ENOSYS before Linux 5.3. */
int sys_process_watch(uint32_t pid);

/* Have these called around each fork() of this process, as by pthread_atfork(3). Once for all. */
int sys_on_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
