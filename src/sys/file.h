/* SPDX-License-Identifier: MIT
 *
 * Files and directories. Every call returns 0, a descriptor (close-on-exec) or a negative errno,
 * and goes on after a signal.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct sys_stat {
    uint64_t size;
    uint64_t memory; /* bytes that have memory (or disk) behind them */
    uint64_t inode;
    uint64_t changed_ns; /* CLOCK_REALTIME of the last write(2) or change of size */
    uint32_t mode;   /* permission bits */
    uint32_t owner;
    uint32_t links;
    bool is_directory;
    bool is_symlink;
};

int sys_stat_fd(int fd, struct sys_stat *ret_stat);

/* By name below `dir`; a symlink is not followed. */
int sys_stat_at(int dir, const char *name, struct sys_stat *ret_stat);

uint32_t sys_user(void);

/* Open a directory. Never through a symlink in its last part. */
int sys_dir_open(int dir, const char *name);
/* Make a directory with exactly these permissions (the umask is not asked). -EEXIST as mkdir(2). */
int sys_dir_make(int dir, const char *name, uint32_t mode);
int sys_dir_remove(int dir, const char *name);

/* Call `entry` for each name in a directory, "." and ".." left out, until it returns nonzero: that
 * is returned. The descriptor stays open. */
int sys_dir_each(int dir, int (*entry)(void *context, const char *name, uint64_t inode),
                 void *context);

/* Make a regular file of `size` zero bytes, with exactly these permissions, in the place of
 * whatever has the name. What fails leaves no file. -EFBIG: larger than this process may make. */
int sys_file_make(int dir, const char *name, uint32_t mode, uint64_t size);
int sys_file_open(int dir, const char *name, bool writable);
/* Open or make, without emptying. -EAGAIN: somebody has a lease on it. */
int sys_file_open_or_make(int dir, const char *name, uint32_t mode);

int sys_rename(int dir, const char *from, const char *to);
int sys_unlink(int dir, const char *name);
/* Whatever it is: also an empty directory. */
int sys_remove(int dir, const char *name);

/* Give memory to a range, so that no store to it can fail: -ENOSPC. What is there stays. */
int sys_file_reserve(int fd, uint64_t offset, uint64_t length);
/* Take the memory of a range away; it reads as zeros. */
int sys_file_punch(int fd, uint64_t offset, uint64_t length);

/* All of it, or a negative errno; -ENODATA when the file ends before. */
int sys_file_read(int fd, void *buffer, uint64_t length, uint64_t offset);
int sys_file_write(int fd, const void *buffer, uint64_t length, uint64_t offset);

/* Is the file system in memory, and so gone with the machine? 1, 0 or a negative errno. */
int sys_file_in_memory(int fd);
/* All of a file, also what was stored through mappings, or the entries of a directory: on the disk
 * before it returns. */
int sys_file_sync(int fd);
int sys_dir_sync(int dir);
/* Make a file longer; what is new reads as zeros. */
int sys_file_extend(int fd, uint64_t size);

/* A number that changes when the machine is started; never 0. */
int sys_boot_id(uint64_t *ret_id);

/* Unpredictable bytes from the kernel. */
int sys_random(void *buffer, uint64_t length);
