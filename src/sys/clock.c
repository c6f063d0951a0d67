/* SPDX-License-Identifier: MIT */
#include "sys/clock.h"

#include <time.h>

static uint64_t read_clock(clockid_t id) {
    struct timespec t;

    (void) clock_gettime(id, &t); /* cannot fail for these clocks */
    return (uint64_t) t.tv_sec * SYS_SECOND + (uint64_t) t.tv_nsec;
}

uint64_t sys_now(void) {
    return read_clock(CLOCK_MONOTONIC);
}

uint64_t sys_wall(void) {
    return read_clock(CLOCK_REALTIME);
}

uint64_t sys_deadline(int64_t timeout_ns) {
    if (timeout_ns < 0)
        return UINT64_MAX;
    return timeout_ns == 0 ? 0 : sys_now() + (uint64_t) timeout_ns;
}

void sys_pause(uint64_t ns) {
    const struct timespec t = {.tv_nsec = (long) ns};

    (void) nanosleep(&t, NULL); /* cannot fail otherwise */
}
