/* SPDX-License-Identifier: MIT
 *
 * The files of rings of events (topic/topic.h). They lie in the folder `events` of the bus:
 *
 *     1.1.2.1-9f3a0c11              the ring of the endpoint with this port of this node
 *     1.1.2.1-9f3a0c11@NAME         a reader of it; NAME: 1.1.3.1-5ac01f77-2 (node, port and number
 *                                   of the subscription), or =NAME of a durable one
 *
 * A ring is made, opened again and written by who holds the node; a reader's file likewise by the
 * subscriber, but a durable one by whoever subscribes under that name: its node stands in it, and
 * while that runs no other gets it. (A lock would live on in forked children; that of the node does
 * not.)
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "sys/map.h"
#include "topic/topic.h"

#define TOPIC_NAME  32 /* room for the name of a ring */
#define READER_NAME 96 /* … of a reader, the ring's included */

struct reader_name {
    char text[READER_NAME];
};

/* The name of a reader's file: of subscription `number` of an endpoint, or `durable`. -EINVAL: that
 * is 1 to 48 of [A-Za-z0-9._-]. */
int reader_name(uint32_t node, uint32_t port, uint32_t subscriber, uint32_t subscriber_port,
                uint32_t number, const char *durable, struct reader_name *ret_name);

struct topic_file {
    struct sys_map map;
};

/* The folder of a bus, made if it is missing. A descriptor. */
int topic_dir(const char *bus, uint32_t mode);

/* Open the ring that this endpoint left, or make one. *ret_found: it was left, and goes on. One
 * that makes no sense, or has another size, is replaced. -ENOSPC: no memory for all of it. */
int topic_file_make(int dir, uint32_t node, uint32_t port, uint64_t capacity, uint32_t mode,
                    struct topic_file *ret_file, struct topic_tx *ret_tx, bool *ret_found);

/* The copy of a ring of another host: open the one that is there, if it has this id; else make it,
 * with this capacity (id 0: don't, -ENOENT). */
int topic_file_copy(int dir, uint32_t node, uint32_t port, uint64_t id, uint64_t capacity,
                    uint32_t mode, struct topic_file *ret_file, struct topic_tx *ret_tx);

/* Is what is there such a copy? */
bool topic_file_is_copy(int dir, uint32_t node, uint32_t port);

/* Is there a ring of this endpoint, of an earlier life of it? */
bool topic_file_left(const char *bus, uint32_t node, uint32_t port);

/* Open somebody's ring, read-only. -EBADMSG: it is none. -EPROTO: of another version. */
int topic_file_open(int dir, uint32_t node, uint32_t port, struct topic_file *ret_file,
                    uint64_t *ret_capacity);

/* Remove a ring; and its readers, if `all`. Otherwise it stays if a durable reader has it. */
void topic_file_remove(int dir, uint32_t node, uint32_t port, bool all);

/* Remove rings, and their readers, of nodes that this bus does not have any more. */
void topic_dir_sweep(int dir, const char *bus);

/* Make a reader's file, or open what a durable one left: *ret_found.
 * `runs` says whether a node runs. -EBUSY: one that runs has it. */
int reader_file_make(int dir, const struct reader_name *name, uint32_t subscriber, uint32_t mode,
                     bool (*runs)(void *context, uint32_t node), void *context,
                     struct topic_file *ret_file, bool *ret_found);

/* Open a subscriber's, read-only. -EBADMSG, -EPROTO, -EINVAL: no such name can be. */
int reader_file_open(int dir, const struct reader_name *name, struct topic_file *ret_file);

void reader_file_remove(int dir, const struct reader_name *name);

void topic_file_close(struct topic_file *file);

static inline struct topic *topic_words(const struct topic_file *file) {
    return file->map.base;
}

static inline struct topic_reader *reader_words(const struct topic_file *file) {
    return file->map.base;
}

static inline uint8_t *topic_data(const struct topic_file *file) {
    return (uint8_t *) file->map.base + LAYOUT_DATA;
}
