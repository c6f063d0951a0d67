/* SPDX-License-Identifier: MIT
 *
 * Locks that the kernel drops when their holder dies: OFD locks (fcntl(2)) on single bytes. They
 * belong to the open file, so that two nodes of one process exclude each other as two processes do,
 * and closing some other descriptor of the file drops nothing. A forked child shares them: it must
 * close.
 *
 * The file is a FIFO that nobody ever writes to. Who takes a lock has it open for writing, who asks
 * for reading only, so that the end of the last taker is seen as a hang-up: no pid is needed, which
 * would mean somebody else in another pid namespace. When a file is closed for good, at the latest
 * with its process, the kernel first drops its locks and then hangs up (__fput()): who is told
 * finds the lock free.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Open it to take locks; made if it is missing. -EPROTO: what lies there is no FIFO. */
int sys_lock_open(int dir, const char *name, uint32_t mode);

/* Open it to ask, and to be told of the last taker's end (sys_set_add_end()). If a lock is held
 * after this, then its end will be told. */
int sys_lock_look(int dir, const char *name);

/* Take byte `byte` of the file. -EAGAIN: somebody holds it. */
int sys_lock(int fd, uint64_t byte);
int sys_unlock(int fd, uint64_t byte);

/* Does anybody else hold it? 0, 1 or a negative errno. */
int sys_lock_held(int fd, uint64_t byte);
