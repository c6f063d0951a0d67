/* SPDX-License-Identifier: MIT
 *
 * Starting a program that outlives us, from a library: no signal handler, no descriptor but
 * /dev/null as 0, 1 and 2, no signal mask, a session of its own.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* A `path` without '/' is looked for in PATH; `argv` ends with NULL. The program is a child:
 * sys_spawn_ended() has to be asked. */
int sys_spawn(const char *path, const char *const *argv, int32_t *ret_pid);

/* The path of `name` as seen from the folder of the shared library, or program, that this code is
 * in. -ENAMETOOLONG; -ENOENT: nobody knows. */
int sys_beside(const char *name, char *buffer, size_t size);

/* Has it ended? 1 (it is forgotten, or was by others), 0. */
int sys_spawn_ended(int32_t pid);

/* An environment variable, unless this program has more rights than who started it. */
const char *sys_environment(const char *name);

/* In a program that was started so: go on in a child that nobody waits for; the caller's process
 * ends. */
int sys_detach(void);

/* … and, when all is well, leave where it was: /dev/null as 0, 1 and 2, and "/" as directory. */
void sys_leave(void);

/* As many descriptors as may be. */
void sys_most_descriptors(void);
