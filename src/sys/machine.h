/* SPDX-License-Identifier: MIT
 *
 * Facts about the machine, for who looks at it (tram top, tram doctor). Only the tool is linked
 * with this; nothing here is for the library. Everything is read, nothing is changed.
 *
 * Calls return 0 or a negative errno, and write their results on success only.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MACHINE_NONE UINT64_MAX /* no limit */

/* ---- file systems --------------------------------------------------------------------------- */

struct machine_space {
    uint64_t total, free; /* bytes; free ones that we may take */
    uint64_t inodes, inodes_free; /* 0 and 0: it does not count them */
    bool tmpfs;
    bool read_only;
};

/* Where a path leads, in full and without symlinks: that of its last directory which is there, and
 * the rest behind it. */
int machine_place(const char *path, char buffer[4096]);

/* Of the file system that `path`, or what there is of it, lies on. */
int machine_space(const char *path, struct machine_space *ret_space);

struct machine_mount {
    char point[256], type[32], options[512];
};

/* The mount that a place lies on, by the table in `file` (as /proc/self/mounts). */
int machine_mount(const char *file, const char *path, struct machine_mount *ret_mount);

struct machine_file {
    uint32_t owner, mode; /* permission bits */
    bool is_directory, is_symlink;
};

/* A symlink is not followed. */
int machine_file(const char *path, struct machine_file *ret_file);

/* Call `entry` for each name in a directory until it returns nonzero: that is returned. */
int machine_each(const char *path, int (*entry)(void *context, const char *name), void *context);

/* ---- the kernel ----------------------------------------------------------------------------- */

/* A small file as text, without the line feed at its end; cut to fit. */
int machine_read(const char *path, char *buffer, size_t size);

/* "6.1.0-18-amd64", and 6 and 1 of it. */
int machine_kernel(char release[65], unsigned *ret_major, unsigned *ret_minor);

bool machine_has_locks(const char *folder); /* OFD locks work on files there */

/* What a read of CLOCK_REALTIME takes here and now, nanoseconds: the best of some rounds. */
uint64_t machine_clock_cost(void);

/* ---- limits and users ----------------------------------------------------------------------- */

enum machine_limit {
    MACHINE_FILES,   /* RLIMIT_NOFILE */
    MACHINE_LOCKED,  /* RLIMIT_MEMLOCK */
    MACHINE_SIZE,    /* RLIMIT_FSIZE */
    MACHINE_ADDRESS, /* RLIMIT_AS */
};

int machine_limit(enum machine_limit which, uint64_t *ret_soft, uint64_t *ret_hard);

uint32_t machine_user(void);

/* The user's name, or the number if it has none. */
void machine_user_name(uint32_t user, char *buffer, size_t size);
