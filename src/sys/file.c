/* SPDX-License-Identifier: MIT */
#include "sys/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "sys/cleanup.h"

/* The result of a system call as our functions return it. */
static int result(int rc) {
    return rc < 0 ? -errno : rc;
}

static void fill_stat(const struct stat *st, struct sys_stat *ret_stat) {
    *ret_stat = (struct sys_stat){
        .size = (uint64_t) st->st_size,
        .memory = (uint64_t) st->st_blocks * 512,
        .inode = (uint64_t) st->st_ino,
        .changed_ns = (uint64_t) st->st_mtim.tv_sec * 1000000000 + (uint64_t) st->st_mtim.tv_nsec,
        .mode = st->st_mode & 07777u,
        .owner = st->st_uid,
        .links = (uint32_t) st->st_nlink,
        .is_directory = S_ISDIR(st->st_mode),
        .is_symlink = S_ISLNK(st->st_mode),
    };
}

int sys_stat_fd(int fd, struct sys_stat *ret_stat) {
    struct stat st;

    if (fstat(fd, &st) < 0)
        return -errno;
    fill_stat(&st, ret_stat);
    return 0;
}

int sys_stat_at(int dir, const char *name, struct sys_stat *ret_stat) {
    struct stat st;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    fill_stat(&st, ret_stat);
    return 0;
}

uint32_t sys_user(void) {
    return geteuid();
}

/* A descriptor that is not inherited, or a negative errno. The mode is of what is made. */
static int open_file(int dir, const char *name, int flags) {
    int fd;

    do
        fd = openat(dir, name, flags | O_CLOEXEC, 0600);
    while (fd < 0 && errno == EINTR);
    return result(fd);
}

int sys_dir_open(int dir, const char *name) {
    return open_file(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
}

int sys_dir_make(int dir, const char *name, uint32_t mode) {
    if (mkdirat(dir, name, 0700) < 0)
        return -errno;
    if (mode != 0700 && fchmodat(dir, name, mode, 0) < 0) {
        int rc = -errno;

        (void) unlinkat(dir, name, AT_REMOVEDIR); /* or it would be found with another mode */
        return rc;
    }
    return 0;
}

int sys_dir_remove(int dir, const char *name) {
    return result(unlinkat(dir, name, AT_REMOVEDIR));
}

int sys_dir_each(int dir, int (*entry)(void *context, const char *name, uint64_t inode),
                 void *context) {
    OWNS_FD int fd = open_file(dir, ".", O_RDONLY | O_DIRECTORY);
    DIR *stream;
    int rc = 0;

    if (fd < 0)
        return fd;
    stream = fdopendir(fd);
    if (!stream)
        return -errno;
    (void) take_fd(&fd); /* closedir() closes it */
    for (;;) {
        struct dirent *found;

        errno = 0;
        found = readdir(stream);
        if (!found) {
            rc = -errno;
            break;
        }
        if (strcmp(found->d_name, ".") == 0 || strcmp(found->d_name, "..") == 0)
            continue;
        rc = entry(context, found->d_name, (uint64_t) found->d_ino);
        if (rc != 0)
            break;
    }
    (void) closedir(stream);
    return rc;
}

int sys_file_make(int dir, const char *name, uint32_t mode, uint64_t size) {
    OWNS_FD int fd = -1;
    struct rlimit most;
    int rc;

    /* Beyond RLIMIT_FSIZE the kernel does not only refuse, it kills. */
    if (getrlimit(RLIMIT_FSIZE, &most) == 0 && size > most.rlim_cur)
        return -EFBIG;
    fd = open_file(dir, name, O_RDWR | O_CREAT | O_EXCL);
    /* Never what is there: it may be a link, or somebody has it open. */
    if (fd == -EEXIST && sys_remove(dir, name) == 0)
        fd = open_file(dir, name, O_RDWR | O_CREAT | O_EXCL);
    if (fd < 0)
        return fd;
    do
        rc = ftruncate(fd, (off_t) size);
    while (rc < 0 && errno == EINTR);
    if (rc < 0 || (mode != 0600 && fchmod(fd, mode) < 0)) {
        rc = -errno;
        (void) unlinkat(dir, name, 0);
        return rc;
    }
    return take_fd(&fd);
}

int sys_file_open(int dir, const char *name, bool writable) {
    return open_file(dir, name, (writable ? O_RDWR : O_RDONLY) | O_NOFOLLOW | O_NONBLOCK);
}

int sys_file_open_or_make(int dir, const char *name, uint32_t mode) {
    OWNS_FD int fd = open_file(dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0)
        return fd;
    if (mode != 0600 && fchmod(fd, mode) < 0)
        return -errno;
    return take_fd(&fd);
}

int sys_rename(int dir, const char *from, const char *to) {
    return result(renameat(dir, from, dir, to));
}

int sys_unlink(int dir, const char *name) {
    return result(unlinkat(dir, name, 0));
}

int sys_remove(int dir, const char *name) {
    if (unlinkat(dir, name, 0) == 0)
        return 0;
    if (errno != EISDIR && errno != EPERM) /* EPERM: POSIX, of directories */
        return -errno;
    return result(unlinkat(dir, name, AT_REMOVEDIR));
}

int sys_file_reserve(int fd, uint64_t offset, uint64_t length) {
    int rc;

    do
        rc = fallocate(fd, 0, (off_t) offset, (off_t) length);
    while (rc < 0 && errno == EINTR);
    return result(rc);
}

int sys_file_punch(int fd, uint64_t offset, uint64_t length) {
    int rc;

    do
        rc = fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t) offset,
                       (off_t) length);
    while (rc < 0 && errno == EINTR);
    return result(rc);
}

int sys_file_read(int fd, void *buffer, uint64_t length, uint64_t offset) {
    uint8_t *at = buffer;

    while (length > 0) {
        ssize_t got = pread(fd, at, length, (off_t) offset);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return -ENODATA;
        at += got;
        offset += (uint64_t) got;
        length -= (uint64_t) got;
    }
    return 0;
}

int sys_file_write(int fd, const void *buffer, uint64_t length, uint64_t offset) {
    const uint8_t *at = buffer;

    while (length > 0) {
        ssize_t put = pwrite(fd, at, length, (off_t) offset);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return -errno;
        at += put;
        offset += (uint64_t) put;
        length -= (uint64_t) put;
    }
    return 0;
}

int sys_file_in_memory(int fd) {
    struct statfs fs;
    int rc;

    do
        rc = fstatfs(fd, &fs);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : fs.f_type == TMPFS_MAGIC || fs.f_type == RAMFS_MAGIC;
}

int sys_file_sync(int fd) {
    return result(fdatasync(fd));
}

int sys_dir_sync(int dir) {
    return result(fsync(dir));
}

int sys_file_extend(int fd, uint64_t size) {
    return result(ftruncate(fd, (off_t) size));
}

int sys_boot_id(uint64_t *ret_id) {
    OWNS_FD int fd = open_file(AT_FDCWD, "/proc/sys/kernel/random/boot_id", O_RDONLY);
    char text[19] = "";
    uint64_t id;
    int rc = fd < 0 ? fd : sys_file_read(fd, text, sizeof(text) - 1, 0);

    if (rc < 0)
        return rc;
    text[8] = text[13] = '\0'; /* xxxxxxxx-xxxx-xxxx-… */
    id = strtoull(text, NULL, 16) << 32 | strtoull(text + 9, NULL, 16) << 16 |
         strtoull(text + 14, NULL, 16);
    *ret_id = id ? id : 1;
    return 0;
}

int sys_random(void *buffer, uint64_t length) {
    uint8_t *at = buffer;

    while (length > 0) {
        ssize_t got = getrandom(at, length, 0);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        at += got;
        length -= (uint64_t) got;
    }
    return 0;
}
