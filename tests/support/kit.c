/* SPDX-License-Identifier: MIT */
#include "support/kit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <ftw.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ring/layout.h"

int64_t kit_now(void) {
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t) ts.tv_sec * KIT_S + ts.tv_nsec;
}

uint64_t kit_env(const char *name, uint64_t standard) {
    const char *text = getenv(name);

    return text && *text ? strtoull(text, NULL, 0) : standard;
}

int64_t kit_patience(int seconds) {
    uint64_t scale = kit_env("TRAM_TIME_SCALE", 1);

    return seconds * KIT_S * (int64_t) (scale ? scale : 1);
}

uint64_t kit_mix(uint64_t a, uint64_t b, uint64_t c) {
    uint64_t x = a * UINT64_C(0x9e3779b97f4a7c15) + b * UINT64_C(0xd6e8feb86659fd93) + c;

    for (int i = 0; i < 2; i++) {
        x ^= x >> 32;
        x *= UINT64_C(0xd6e8feb86659fd93);
    }
    return x ^ (x >> 32);
}

uint64_t rng_next(struct rng *rng) {
    rng->state += UINT64_C(0x9e3779b97f4a7c15);
    return kit_mix(rng->state, 0, 0);
}

uint64_t rng_below(struct rng *rng, uint64_t n) {
    return rng_next(rng) % n;
}

bool rng_chance(struct rng *rng, unsigned in_thousand) {
    return rng_below(rng, 1000) < in_thousand;
}

/* Word i of the pattern; cheap, because the storm checks gigabytes. */
static uint64_t pattern_word(uint64_t key, size_t i) {
    return (key + i) * UINT64_C(0x9e3779b97f4a7c15);
}

void pattern_fill(void *data, size_t size, uint64_t key) {
    char *at = data;
    size_t i = 0;

    for (; (i + 1) * 8 <= size; i++) {
        uint64_t word = pattern_word(key, i);

        memcpy(at + i * 8, &word, 8);
    }
    if (size % 8) {
        uint64_t word = pattern_word(key, i);

        memcpy(at + i * 8, &word, size % 8);
    }
}

ssize_t pattern_check(const void *data, size_t size, uint64_t key) {
    const char *at = data;

    for (size_t i = 0; i * 8 < size; i++) {
        size_t n = size - i * 8 < 8 ? size - i * 8 : 8;
        uint64_t word = pattern_word(key, i), seen = word;

        memcpy(&seen, at + i * 8, n);
        if (seen != word)
            return (ssize_t) (i * 8) + __builtin_ctzll(seen ^ word) / 8;
    }
    return -1;
}

void *kit_shared(size_t size) {
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (at == MAP_FAILED) {
        perror("mmap");
        abort();
    }
    return at;
}

struct tram_options kit_options(uint64_t ring_size, int64_t spin_ns) {
    struct tram_options options = TRAM_OPTIONS_INIT;

    options.ring_size = ring_size;
    options.spin_ns = spin_ns;
    return options;
}

tram_node *kit_open(const char *dir, tram_id id, const struct tram_options *options) {
    struct tram_options copy = TRAM_OPTIONS_INIT;
    tram_node *node = NULL;
    char text[TRAM_ID_TEXT];
    int rc;

    if (options)
        copy = *options;
    if (dir)
        copy.dir = dir;
    rc = tram_open(NULL, id, &copy, &node);
    if (rc < 0) {
        fprintf(stderr, "tram_open(%s): %s: %s\n", tram_id_format(id, text), strerror(-rc),
                kit_error(NULL));
        _exit(1);
    }
    return node;
}

const char *kit_error(const tram_node *node) {
    return tram_last_error(node)->text;
}

/* ---- trees ---------------------------------------------------------------------------------- */

/* The data of a file, hole for hole. */
static int copy_data(int in, int out, off_t size) {
    static char buffer[65536];
    off_t at = 0;

    if (ftruncate(out, size) < 0)
        return -errno;
    while ((at = lseek(in, at, SEEK_DATA)) >= 0 && at < size) {
        off_t end = lseek(in, at, SEEK_HOLE);

        while (at < end) {
            size_t want = (size_t) (end - at) < sizeof buffer ? (size_t) (end - at) : sizeof buffer;
            ssize_t n = pread(in, buffer, want, at);

            if (n <= 0)
                break;
            if (pwrite(out, buffer, (size_t) n, at) != n)
                return -errno;
            at += n;
        }
        at = end;
    }
    return 0;
}

static int copy_file(int from, int to, const char *name, const struct stat *st) {
    int in = openat(from, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    int out, rc;

    if (in < 0)
        return -errno;
    out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, st->st_mode & 07777);
    if (out < 0) {
        rc = -errno;
        close(in);
        return rc;
    }
    rc = copy_data(in, out, st->st_size);
    close(out);
    close(in);
    return rc;
}

static int copy_dir(int from, int to);

static int copy_entry(int from, int to, const char *name) {
    struct stat st;
    int in, out, rc;

    if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (S_ISFIFO(st.st_mode))
        return mkfifoat(to, name, st.st_mode & 07777) < 0 ? -errno : 0;
    if (!S_ISDIR(st.st_mode))
        return copy_file(from, to, name, &st);
    if (mkdirat(to, name, st.st_mode & 07777) < 0)
        return -errno;
    in = openat(from, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    out = openat(to, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = in < 0 || out < 0 ? -errno : copy_dir(in, out);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return rc;
}

static int copy_dir(int from, int to) {
    int fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!dir)
        return -errno;
    while (rc == 0 && (entry = readdir(dir)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = copy_entry(from, to, entry->d_name);
    closedir(dir);
    return rc;
}

int kit_copy_tree(const char *from, const char *to) {
    int in, out, rc;

    if (mkdir(to, 0700) < 0)
        return -errno;
    in = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    out = open(to, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    rc = in < 0 || out < 0 ? -errno : copy_dir(in, out);
    if (in >= 0)
        close(in);
    if (out >= 0)
        close(out);
    return rc;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    (void) st, (void) type, (void) ftw;
    return remove(path);
}

void kit_remove_tree(const char *path) {
    nftw(path, remove_one, 16, FTW_PHYS | FTW_DEPTH);
}

static const char *walk_pattern;
static unsigned walk_count;
static uint64_t walk_memory;
static bool walk_prints;

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw) {
    char parent[PATH_MAX];
    const char *dir;

    if (type == FTW_D || type == FTW_DP || type == FTW_NS)
        return 0;
    walk_memory += (uint64_t) st->st_blocks * 512;
    snprintf(parent, sizeof parent, "%.*s", ftw->base > 0 ? ftw->base - 1 : 0, path);
    dir = strrchr(parent, '/');
    if (!walk_pattern || fnmatch(walk_pattern, path + ftw->base, 0) == 0 ||
        (dir && fnmatch(walk_pattern, dir + 1, 0) == 0))
        walk_count++;
    if (walk_prints)
        fprintf(stderr, "    %s  size %lld memory %lld\n", path, (long long) st->st_size,
                (long long) st->st_blocks * 512);
    return 0;
}

unsigned kit_count_files(const char *dir, const char *pattern) {
    walk_pattern = pattern;
    walk_count = 0;
    walk_prints = false;
    nftw(dir, visit, 16, FTW_PHYS);
    return walk_count;
}

uint64_t kit_memory(const char *dir) {
    walk_pattern = NULL;
    walk_memory = 0;
    walk_prints = false;
    nftw(dir, visit, 16, FTW_PHYS);
    return walk_memory;
}

void kit_list_tree(const char *dir) {
    walk_pattern = NULL;
    walk_prints = true;
    nftw(dir, visit, 16, FTW_PHYS);
    walk_prints = false;
}

/* ---- processes ------------------------------------------------------------------------------ */

void kit_pin(int cpu) {
    cpu_set_t set;

    CPU_ZERO(&set);
    for (int i = 0; i < CPU_SETSIZE; i++)
        if (cpu < 0 || i == cpu)
            CPU_SET(i, &set);
    (void) sched_setaffinity(0, sizeof set, &set); /* a machine that forbids it is only slower */
}

char *kit_path(char *buffer, size_t size, const char *dir, tram_id node, const char *name) {
    char text[TRAM_ID_TEXT];

    snprintf(buffer, size, "%s/default/%s%s%s", dir, tram_id_format(node, text), name ? "/" : "",
             name ? name : "");
    return buffer;
}

bool kit_asleep(const char *dir, tram_id node) {
    char path[PATH_MAX];
    uint32_t asleep = 0;
    int fd = open(kit_path(path, sizeof path, dir, node, "door"), O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return false;
    if (pread(fd, &asleep, sizeof asleep, offsetof(struct door, asleep)) != sizeof asleep)
        asleep = 0;
    close(fd);
    return asleep != 0;
}

bool kit_await_asleep(const char *dir, tram_id node) {
    int64_t end = kit_now() + kit_patience(10);

    while (!kit_asleep(dir, node)) {
        if (kit_now() > end)
            return false;
        kit_pause();
    }
    return true;
}

void kit_pause(void) {
    struct timespec ts = { .tv_nsec = 20000 };

    nanosleep(&ts, NULL);
}
