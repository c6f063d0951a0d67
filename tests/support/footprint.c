/* SPDX-License-Identifier: MIT */
#include "support/footprint.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static uint32_t count_entries(const char *path) {
    DIR *dir = opendir(path);
    uint32_t count = 0;

    if (!dir)
        return 0;
    while (readdir(dir))
        count++;
    (void) closedir(dir);
    return count - 3; /* ".", "..", and the one that looks */
}

static uint32_t count_lines(const char *path) {
    FILE *file = fopen(path, "r");
    uint32_t count = 0;

    if (!file)
        return 0;
    for (int c; (c = getc(file)) != EOF;)
        count += c == '\n';
    (void) fclose(file);
    return count;
}

struct footprint footprint_of_self(void) {
    struct footprint self = {
        .descriptors = count_entries("/proc/self/fd"),
        .mappings = count_lines("/proc/self/maps"),
    };
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    unsigned long long kib;
    char line[256];

    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "Rss: %llu kB", &kib) == 1)
            self.rss = (uint64_t) kib * 1024;
        if (sscanf(line, "Pss: %llu kB", &kib) == 1)
            self.pss = (uint64_t) kib * 1024;
    }
    if (file)
        (void) fclose(file);
    return self;
}

uint64_t footprint_of_files(const char *path, int depth, uint64_t *ret_files) {
    DIR *dir = opendir(path);
    uint64_t sum = 0;
    struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        char name[4096];
        struct stat st;

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (snprintf(name, sizeof(name), "%s/%s", path, entry->d_name) >= (int) sizeof(name) ||
            lstat(name, &st) < 0)
            continue;
        if (S_ISDIR(st.st_mode) && depth > 0) {
            sum += footprint_of_files(name, depth - 1, ret_files);
            continue;
        }
        sum += (uint64_t) st.st_blocks * 512;
        (*ret_files)++;
    }
    if (dir)
        (void) closedir(dir);
    return sum;
}
