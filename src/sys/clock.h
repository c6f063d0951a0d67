/* SPDX-License-Identifier: MIT
 *
 * Time. Deadlines are points on the monotonic clock, so that a stepped wall clock moves nothing.
 */
#pragma once

#include <sched.h>
#include <stdint.h>

#define SYS_SECOND UINT64_C(1000000000)
#define SYS_MILLISECOND UINT64_C(1000000)
#define SYS_MICROSECOND UINT64_C(1000)

/* Nanoseconds on CLOCK_MONOTONIC. */
uint64_t sys_now(void);

/* Nanoseconds on CLOCK_REALTIME: for people and for time stamps, never for time-outs. */
uint64_t sys_wall(void);

/* The point `timeout_ns` from now: UINT64_MAX for a negative one (for ever), 0 for 0 (the past). */
uint64_t sys_deadline(int64_t timeout_ns);

/* Let another have this core, if one wants it. */
static inline void sys_yield(void) {
    (void) sched_yield(); /* cannot fail */
}

/* Let others run for so long, less than a second. A signal may end it early. */
void sys_pause(uint64_t ns);

/* Tell the processor that this is a spin loop. */
static inline void sys_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("isb" ::: "memory"); /* yield is a no-op on most cores */
#else
    __asm__ volatile("" ::: "memory");
#endif
}
