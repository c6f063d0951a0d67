/* SPDX-License-Identifier: MIT */
#include "sys/lock.h"

#include <errno.h>
#include <fcntl.h>

#include "sys/bell.h"
#include "sys/file.h"

int sys_lock_open(int dir, const char *name, uint32_t mode) {
    int rc = sys_bell_make(dir, name, mode);

    return rc < 0 ? rc : sys_bell_open(dir, name);
}

int sys_lock_look(int dir, const char *name) {
    return sys_file_open(dir, name, false);
}

static int lock_call(int fd, int command, short type, uint64_t byte, struct flock *lock) {
    int rc;

    *lock = (struct flock){
        .l_type = type,
        .l_whence = SEEK_SET,
        .l_start = (off_t) byte,
        .l_len = 1,
    };
    do
        rc = fcntl(fd, command, lock);
    while (rc < 0 && errno == EINTR);
    if (rc < 0)
        return errno == EACCES ? -EAGAIN : -errno;
    return 0;
}

int sys_lock(int fd, uint64_t byte) {
    struct flock lock;

    return lock_call(fd, F_OFD_SETLK, F_WRLCK, byte, &lock);
}

int sys_unlock(int fd, uint64_t byte) {
    struct flock lock;

    return lock_call(fd, F_OFD_SETLK, F_UNLCK, byte, &lock);
}

int sys_lock_held(int fd, uint64_t byte) {
    struct flock lock;
    int rc = lock_call(fd, F_OFD_GETLK, F_WRLCK, byte, &lock);

    return rc < 0 ? rc : lock.l_type != F_UNLCK;
}
