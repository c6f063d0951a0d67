/* SPDX-License-Identifier: MIT
 *
 * Owning locals give back what they own when they go out of scope; assign out, and clear the local,
 * to keep it.
 */
#pragma once

#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_fd(int *fd) {
    if (*fd >= 0)
        (void) close(*fd); /* nothing was written through it that close could lose */
}

static inline void cleanup_free(void *memory) {
    free(*(void **) memory);
}

#define OWNS_FD __attribute__((cleanup(cleanup_fd)))
#define OWNS_MEMORY __attribute__((cleanup(cleanup_free)))

static inline int take_fd(int *fd) {
    int taken = *fd;

    *fd = -1;
    return taken;
}
