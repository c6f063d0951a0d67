/* SPDX-License-Identifier: MIT
 *
 * Locks that the kernel drops when their holder dies: OFD locks (fcntl(2)) on single bytes. They
 * belong to the open file, so that two nodes of one process exclude each other as two processes do,
 * and closing some other descriptor of the file drops nothing. A forked child shares them: it must
 * close.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Take byte `byte` of the file. -EAGAIN: somebody holds it. */
int sys_lock(int fd, uint64_t byte);
int sys_unlock(int fd, uint64_t byte);

/* Does anybody else hold it? 0, 1 or a negative errno. */
int sys_lock_held(int fd, uint64_t byte);
