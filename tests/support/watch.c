/* SPDX-License-Identifier: MIT */
#include "support/watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/layout.h"

static void drop(struct watch_file *file) {
    if (file->map)
        munmap(file->map, file->size);
    free(file->shadow);
    if (file->fd >= 0)
        close(file->fd);
    memset(file, 0, sizeof *file);
    file->fd = -1;
}

/* Where the file has data; a page that is reserved and was never written counts as none. True: not
 * as before. What comes into being counts as changed by its bytes, which are compared with zero. */
static bool find_extents(struct watch_file *file) {
    struct watch_extent old[WATCH_EXTENTS];
    int n_old = file->n_extents;
    off_t at = 0;

    memcpy(old, file->extents, sizeof old);
    memset(file->extents, 0, sizeof file->extents);
    file->n_extents = 0;
    while (file->n_extents < WATCH_EXTENTS && (at = lseek(file->fd, at, SEEK_DATA)) >= 0) {
        off_t end = lseek(file->fd, at, SEEK_HOLE);

        if ((size_t) end > file->size)
            end = (off_t) file->size;
        file->extents[file->n_extents].start = (size_t) at;
        file->extents[file->n_extents++].end = (size_t) end;
        at = end;
    }
    return n_old != file->n_extents || memcmp(old, file->extents, sizeof old) != 0;
}

/* Compare a part with the copy, and take it over. */
static bool part_changed(struct watch_file *file, size_t start, size_t end) {
    if (start >= end || memcmp(file->map + start, file->shadow + start, end - start) == 0)
        return false;
    memcpy(file->shadow + start, file->map + start, end - start);
    return true;
}

static enum watch_change bytes_changed(struct watch_file *file, bool with_data) {
    enum watch_change change = WATCH_SAME;

    for (int i = 0; i < file->n_extents; i++) {
        size_t start = file->extents[i].start, end = file->extents[i].end;
        size_t middle = start > LAYOUT_DATA ? start : end < LAYOUT_DATA ? end : LAYOUT_DATA;

        if (with_data && part_changed(file, middle, end) && change == WATCH_SAME)
            change = WATCH_DATA;
        if (part_changed(file, start, middle))
            change = WATCH_WORDS;
    }
    return change;
}

static void add(struct watch *watch, const char *path, const struct stat *st) {
    struct watch_file *file = &watch->files[watch->n_files];

    if (watch->n_files == WATCH_FILES || st->st_size == 0)
        return;
    snprintf(file->path, sizeof file->path, "%s", path);
    file->inode = st->st_ino;
    file->size = (size_t) st->st_size;
    file->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (file->fd < 0)
        return;
    file->map = mmap(NULL, file->size, PROT_READ, MAP_SHARED, file->fd, 0);
    file->shadow = calloc(1, file->size);
    if (file->map == MAP_FAILED || !file->shadow) {
        perror("mmap");
        abort();
    }
    watch->n_files++;
}

/* A file whose name or size is new is mapped; one that is known keeps its copy. */
static void note_file(struct watch *watch, const char *path, const struct stat *st) {
    for (int i = 0; i < watch->n_files; i++) {
        struct watch_file *file = &watch->files[i];

        if (file->inode == st->st_ino && file->size == (size_t) st->st_size)
            return;
    }
    add(watch, path, st);
}

static void note_name(struct watch *watch, const char *path, const struct stat *st) {
    char line[300];
    size_t n = (size_t) snprintf(
        line, sizeof line, "%s %llu %lld %o\n", path, (unsigned long long) st->st_ino,
        (long long) (S_ISREG(st->st_mode) ? st->st_size : 0), (unsigned) st->st_mode);

    if (watch->names_size + n + 1 > watch->names_room) {
        watch->names_room = watch->names_room * 2 + n + 4096;
        watch->names = realloc(watch->names, watch->names_room);
        if (!watch->names)
            abort();
    }
    memcpy(watch->names + watch->names_size, line, n + 1);
    watch->names_size += n;
}

static void walk(struct watch *watch, const char *path, int depth) {
    DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        char below[200];
        struct stat st;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if ((size_t) snprintf(below, sizeof below, "%s/%s", path, entry->d_name) >= sizeof below ||
            lstat(below, &st) < 0)
            continue;
        note_name(watch, below, &st);
        if (S_ISREG(st.st_mode))
            note_file(watch, below, &st);
        else if (S_ISDIR(st.st_mode) && depth < 3)
            walk(watch, below, depth + 1);
    }
    if (dir)
        closedir(dir);
}

/* Files that are gone, or of another size, are let go. */
static void drop_gone(struct watch *watch) {
    for (int i = 0; i < watch->n_files;) {
        struct watch_file *file = &watch->files[i];
        struct stat st;

        if (fstat(file->fd, &st) == 0 && st.st_nlink > 0 && (size_t) st.st_size == file->size) {
            i++;
            continue;
        }
        drop(file);
        *file = watch->files[--watch->n_files];
        memset(&watch->files[watch->n_files], 0, sizeof *file);
        watch->files[watch->n_files].fd = -1;
    }
}

static bool names_changed(struct watch *watch) {
    size_t size = watch->names_size;
    char *old = size ? strdup(watch->names) : NULL;
    bool changed;

    watch->names_size = 0;
    drop_gone(watch);
    walk(watch, watch->dir, 0);
    changed = size != watch->names_size || (old && memcmp(old, watch->names, size) != 0);
    free(old);
    return changed;
}

enum watch_change watch_changed(struct watch *watch, bool thorough) {
    enum watch_change change = thorough && names_changed(watch) ? WATCH_WORDS : WATCH_SAME;
    bool with_data = watch->looks++ % 16 == 0;

    for (int i = 0; i < watch->n_files; i++) {
        struct watch_file *file = &watch->files[i];
        enum watch_change bytes;

        if (thorough && find_extents(file))
            change = WATCH_WORDS;
        bytes = bytes_changed(file, thorough || with_data);
        if (bytes > change)
            change = bytes;
    }
    return change;
}

void watch_init(struct watch *watch, const char *dir) {
    memset(watch, 0, sizeof *watch);
    watch->dir = dir;
    (void) watch_changed(watch, true);
}

void watch_deinit(struct watch *watch) {
    for (int i = 0; i < watch->n_files; i++)
        drop(&watch->files[i]);
    free(watch->names);
}
