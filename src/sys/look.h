/* SPDX-License-Identifier: MIT
 *
 * Looking at files without touching them: what an observer may do, and nothing else.
 *
 * Everything is opened for reading only, never through a symbolic link, never so that the open
 * could wait (a FIFO under a file's name) and never kept across an exec. Nothing is mapped: a read
 * through a mapping of a page that was not allocated, or of a file that is cut short meanwhile,
 * would kill the observer, whereas pread(2) just comes back short.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct look_stat {
    uint64_t size;   /* bytes, holes included */
    uint64_t memory; /* bytes that have memory */
    uint64_t serial; /* inode number: tells a file from its successor of the same name */
    uint32_t owner;  /* user ID */
    bool removed;    /* it has no name any more */
};

/* A directory, by path, or by name below another one. A descriptor, or
 *   -ENOENT, -ENOTDIR (also a symbolic link, below another one), -EACCES, -EMFILE … */
int look_dir(const char *path);
int look_dir_at(int dir, const char *name);

/* A regular file in a directory. A descriptor; -EMEDIUMTYPE: there is something of the name, but
 * not a regular file; or what open(2) says. */
int look_file(int dir, const char *name);

int look_stat(int file, struct look_stat *ret_stat);

/* Read up to `size` bytes from `offset` on. How many were read: less than asked only where the file
 * ends. */
int64_t look_read(int file, void *buffer, size_t size, uint64_t offset);

/* Whether anybody holds an OFD lock on this byte of a file: 1, 0, or a negative errno. */
int look_locked(int file, uint64_t byte);

/* The names in a directory, without "." and "..", in no order. The list, and the names, are one
 * block: free(*ret_names). At most `limit` names are read; *ret_more says whether there were more. */
int look_names(int dir, size_t limit, char ***ret_names, size_t *ret_count, bool *ret_more);

/* Takes -1; returns -1. */
int look_close(int fd);
