/* SPDX-License-Identifier: MIT
 *
 * Bells: FIFOs that everybody opens for reading and writing, so that they outlive any process and
 * never signal. A byte in it wakes; how many there are means nothing. And the waiting for it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Make the FIFO if it is missing. */
int sys_bell_make(int dir, const char *name, uint32_t mode);
int sys_bell_open(int dir, const char *name);

/* Put a byte in. A full FIFO is as good as a rung one. */
int sys_bell_ring(int fd);
/* Take out as many bytes as a full FIFO has: more come from somebody who rings without end. Were
 * there any? */
bool sys_bell_drain(int fd);

/* For a FIFO that carries an answer: open its writing end (-ENXIO: nobody waits); put all of it, at
 * most PIPE_BUF (-EAGAIN: there is no room); get what there is: how many bytes, or -EAGAIN. */
int sys_bell_open_to_put(int dir, const char *name);
int sys_bell_put(int fd, const void *data, uint64_t size);
int sys_bell_get(int fd, void *data, uint64_t size);

/* Wait until the descriptor is readable (1) or the deadline has passed (0); a signal wakes as well
 * (0). */
int sys_wait_readable(int fd, uint64_t deadline);

/* A set of descriptors that is itself readable while one of them is. */
int sys_set_new(void);
/* `id` says which one it is. */
int sys_set_add(int set, int fd, uint32_t id);
/* The same for a FIFO opened for reading, of which only the end of its last writer counts. */
int sys_set_add_end(int set, int fd, uint32_t id);
int sys_set_remove(int set, int fd);
/* Which ones are readable now. Returns how many, at most `max`. */
int sys_set_ready(int set, uint32_t *ret_ids, int max);
