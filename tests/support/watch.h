/* SPDX-License-Identifier: MIT
 *
 * Did any byte below a directory change since the last look? Cheap enough to be asked after every
 * instruction of a process: the files are mapped and compared with a copy, holes left alone.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WATCH_FILES = 48, WATCH_EXTENTS = 16 };

struct watch_extent {
    size_t start, end;
};

struct watch_file {
    char path[200];
    uint64_t inode;
    int fd;
    size_t size;
    char *map, *shadow;
    int n_extents;
    struct watch_extent extents[WATCH_EXTENTS];
};

struct watch {
    const char *dir;
    char *names; /* all names with inode and size, as one text */
    size_t names_size, names_room;
    unsigned looks;
    int n_files;
    struct watch_file files[WATCH_FILES];
};

void watch_init(struct watch *watch, const char *dir);
void watch_deinit(struct watch *watch);

enum watch_change {
    WATCH_SAME,
    WATCH_DATA,  /* only bytes of a stream's data */
    WATCH_WORDS, /* something else */
};

/* Look again: at the words, always; at the streams' data, at each 16th look; at names and holes, if
 * `thorough`: when a system call was made. */
enum watch_change watch_changed(struct watch *watch, bool thorough);
