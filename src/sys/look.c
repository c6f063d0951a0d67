/* SPDX-License-Identifier: MIT */
#include "look.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int look_dir(const char *path) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

int look_dir_at(int dir, const char *name) {
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

int look_file(int dir, const char *name) {
    struct stat st;
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

    if (fd < 0)
        return errno == ELOOP ? -EMEDIUMTYPE : -errno;
    if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        return fd;
    (void) close(fd); /* was only read */
    return -EMEDIUMTYPE;
}

int look_stat(int file, struct look_stat *ret_stat) {
    struct stat st;

    if (fstat(file, &st) < 0)
        return -errno;
    *ret_stat = (struct look_stat){
        .size = st.st_size < 0 ? 0 : (uint64_t) st.st_size,
        .memory = st.st_blocks < 0 ? 0 : (uint64_t) st.st_blocks * 512,
        .serial = (uint64_t) st.st_ino,
        .owner = st.st_uid,
        .removed = st.st_nlink == 0,
    };
    return 0;
}

int64_t look_read(int file, void *buffer, size_t size, uint64_t offset) {
    size_t done = 0;

    if (offset > INT64_MAX || size > INT64_MAX - offset)
        return -EINVAL;
    while (done < size) {
        ssize_t n = pread(file, (char *) buffer + done, size - done, (off_t) (offset + done));

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t) n;
    }
    return (int64_t) done;
}

int look_locked(int file, uint64_t byte) {
    struct flock lock = {
        .l_type = F_WRLCK,
        .l_whence = SEEK_SET,
        .l_start = (off_t) byte,
        .l_len = 1,
    };

    if (fcntl(file, F_OFD_GETLK, &lock) < 0)
        return -errno;
    return lock.l_type != F_UNLCK;
}

/* Names one after the other with their terminators, as they are found. */
struct names {
    char *bytes;
    size_t used, room, count;
};

static int names_add(struct names *names, const char *name) {
    size_t size = strlen(name) + 1;

    if (names->room - names->used < size) {
        size_t room = (names->room + size) * 2 + 1024;
        char *bytes = realloc(names->bytes, room);

        if (!bytes)
            return -ENOMEM;
        names->bytes = bytes;
        names->room = room;
    }
    memcpy(names->bytes + names->used, name, size);
    names->used += size;
    names->count++;
    return 0;
}

static int names_read(DIR *stream, size_t limit, struct names *names, bool *ret_more) {
    *ret_more = false;
    for (;;) {
        struct dirent *entry;
        int r;

        errno = 0;
        entry = readdir(stream);
        if (!entry)
            return -errno;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (names->count == limit) {
            *ret_more = true;
            return 0;
        }
        r = names_add(names, entry->d_name);
        if (r < 0)
            return r;
    }
}

/* Turn the names into one block: pointers first, then the bytes that they point to. */
static int names_pack(const struct names *names, char ***ret_names) {
    size_t table = names->count * sizeof(char *);
    char **list = malloc(table + names->used + 1);
    char *at;

    if (!list)
        return -ENOMEM;
    at = (char *) list + table;
    if (names->used > 0)
        memcpy(at, names->bytes, names->used);
    for (size_t i = 0; i < names->count; i++) {
        list[i] = at;
        at += strlen(at) + 1;
    }
    *ret_names = list;
    return 0;
}

int look_names(int dir, size_t limit, char ***ret_names, size_t *ret_count, bool *ret_more) {
    struct names names = { 0 };
    bool more = false;
    int r, copy;
    DIR *stream;

    /* An open file description of its own: a duplicate would share the position of `dir`. */
    copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0)
        return -errno;
    stream = fdopendir(copy);
    if (!stream) {
        r = -errno;
        (void) close(copy); /* was only read */
        return r;
    }
    r = names_read(stream, limit, &names, &more);
    if (r == 0)
        r = names_pack(&names, ret_names);
    if (r == 0) {
        *ret_count = names.count;
        *ret_more = more;
    }
    free(names.bytes);
    (void) closedir(stream); /* was only read */
    return r;
}

int look_close(int fd) {
    if (fd >= 0)
        (void) close(fd); /* was only read */
    return -1;
}
