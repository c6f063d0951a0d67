/* SPDX-License-Identifier: MIT
 *
 * The targets whose code reads files: a bus directory on tmpfs, and in it the files of one channel,
 * good to begin with, that an input then spoils.
 */
#pragma once

#include "fuzz.h"
#include "node/files.h"

#define A TRAM_ID(1, 1, 1, 1)
#define B TRAM_ID(1, 1, 1, 2)

/* A fresh bus below /dev/shm, removed when the process ends. */
const char *files_root(void);

/* The directory of B in the bus "default" there. */
int files_dir(void);

struct files {
    struct stream streams[2]; /* generations 0 and 1 */
    struct head head;
    uint32_t count; /* of streams */
};

/* A channel A → B with some messages, as `input` has it: some consumed, some handed out, in one
 * stream or two. `anew`: with new inodes, or who has the files open takes them for the old ones. */
void files_make(struct input *input, struct files *files, bool anew);

/* Spoil some of it, in place. */
void files_attack(struct input *input, struct files *files);

/* Somebody else may have put other files in place. */
void files_forget(void);

void files_remove(void);
