/* SPDX-License-Identifier: MIT
 *
 * Processes: who we are, who a peer is, and its end.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

uint32_t sys_pid(void);

/* The namespace in which sys_pid() means something; 0: not known (no /proc). */
uint64_t sys_pid_namespace(void);

/* Start time of this process in clock ticks since boot, which tells it from a later one with the
 * same pid; 0: not known. */
uint64_t sys_start_time(void);

/* Short name of this program, cut to fit. */
void sys_program(char *buffer, size_t size);

/* Have these called around each fork() of this process, as by pthread_atfork(3). Once for all. */
int sys_on_fork(void (*prepare)(void), void (*parent)(void), void (*child)(void));
