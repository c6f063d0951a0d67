/* SPDX-License-Identifier: MIT */
#include "sys/machine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "sys/cleanup.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

/* ---- file systems --------------------------------------------------------------------------- */

/* The part of a path that is there: its length, 0 for a relative one of which nothing is. Leaves it
 * in full and without symlinks in *ret_real, to be freed. */
static int find_there(const char *path, size_t *ret_used, char **ret_real) {
    size_t used = strlen(path);
    char there[4096];

    if (used >= sizeof(there))
        return -ENAMETOOLONG;
    for (;;) {
        (void) snprintf(there, sizeof(there), "%.*s", (int) used, path);
        *ret_real = realpath(used > 0 ? there : ".", NULL);
        if (*ret_real)
            break;
        if (errno != ENOENT || used == 0 || strcmp(there, "/") == 0)
            return -errno;
        while (used > 0 && path[used - 1] != '/')
            used--;
        while (used > 1 && path[used - 1] == '/')
            used--;
    }
    *ret_used = used;
    return 0;
}

int machine_place(const char *path, char buffer[4096]) {
    char *real;
    size_t used;
    int size, rc = find_there(path, &used, &real);

    if (rc < 0)
        return rc;
    path += used;
    path += strspn(path, "/");
    size = snprintf(buffer, 4096, "%s%s%s", strcmp(real, "/") == 0 && *path ? "" : real,
                    *path ? "/" : "", path);
    free(real);
    return size < 4096 ? 0 : -ENAMETOOLONG;
}

int machine_space(const char *path, struct machine_space *ret_space) {
    struct statvfs vfs;
    struct statfs fs;
    size_t used;
    char *real;
    int rc = find_there(path, &used, &real);

    if (rc < 0)
        return rc;
    rc = statvfs(real, &vfs) < 0 || statfs(real, &fs) < 0 ? -errno : 0;
    free(real);
    if (rc < 0)
        return rc;
    *ret_space = (struct machine_space){
        .total = (uint64_t) vfs.f_blocks * vfs.f_frsize,
        .free = (uint64_t) vfs.f_bavail * vfs.f_frsize,
        .inodes = vfs.f_files,
        .inodes_free = vfs.f_favail,
        .tmpfs = fs.f_type == TMPFS_MAGIC,
        .read_only = (vfs.f_flag & ST_RDONLY) != 0,
    };
    return 0;
}

/* \040 and the like, as the table has blanks in paths. */
static void unescape(char *text) {
    char *to = text;

    for (const char *from = text; *from != '\0'; from++) {
        if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] != '\0' &&
            from[3] != '\0') {
            *to++ = (char) ((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
            from += 3;
        } else {
            *to++ = *from;
        }
    }
    *to = '\0';
}

/* How much of the path the mount point is; 0: it is not on it. */
static size_t covers(const char *point, const char *path) {
    size_t size = strlen(point);

    if (strcmp(point, "/") == 0)
        return 1;
    return strncmp(point, path, size) == 0 && (path[size] == '/' || path[size] == '\0') ? size : 0;
}

int machine_mount(const char *file, const char *path, struct machine_mount *ret_mount) {
    FILE *table = fopen(file, "re");
    size_t best = 0;
    char line[4096];

    if (!table)
        return -errno;
    while (fgets(line, sizeof(line), table)) {
        struct machine_mount mount;
        size_t size;

        if (sscanf(line, "%*s %255s %31s %511s", mount.point, mount.type, mount.options) != 3)
            continue;
        unescape(mount.point);
        size = covers(mount.point, path);
        if (size < best || size == 0)
            continue;
        best = size; /* of two mounts on one point, the later one is on top */
        *ret_mount = mount;
    }
    (void) fclose(table); /* only read */
    return best > 0 ? 0 : -ENOENT;
}

int machine_file(const char *path, struct machine_file *ret_file) {
    struct stat st;

    if (lstat(path, &st) < 0)
        return -errno;
    *ret_file = (struct machine_file){
        .owner = st.st_uid,
        .mode = st.st_mode & 07777u,
        .is_directory = S_ISDIR(st.st_mode),
        .is_symlink = S_ISLNK(st.st_mode),
    };
    return 0;
}

int machine_each(const char *path, int (*entry)(void *context, const char *name), void *context) {
    DIR *dir = opendir(path);
    int rc = 0;

    if (!dir)
        return -errno;
    for (struct dirent *found; rc == 0 && (found = readdir(dir));)
        if (strcmp(found->d_name, ".") != 0 && strcmp(found->d_name, "..") != 0)
            rc = entry(context, found->d_name);
    (void) closedir(dir);
    return rc;
}

/* ---- the kernel ----------------------------------------------------------------------------- */

int machine_read(const char *path, char *buffer, size_t size) {
    OWNS_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    size_t used = 0;

    if (fd < 0)
        return -errno;
    while (used + 1 < size) {
        ssize_t got = read(fd, buffer + used, size - 1 - used);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            break;
        used += (size_t) got;
    }
    if (used > 0 && buffer[used - 1] == '\n')
        used--;
    buffer[used] = '\0';
    return 0;
}

int machine_kernel(char release[65], unsigned *ret_major, unsigned *ret_minor) {
    struct utsname name;
    unsigned major = 0, minor = 0;

    if (uname(&name) < 0)
        return -errno;
    (void) snprintf(release, 65, "%.64s", name.release);
    if (sscanf(release, "%u.%u", &major, &minor) != 2)
        return -EPROTO;
    *ret_major = major;
    *ret_minor = minor;
    return 0;
}

bool machine_has_locks(const char *folder) {
    OWNS_FD int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 || sys_lock_held(fd, 0) >= 0;
}

uint64_t machine_clock_cost(void) {
    uint64_t best = UINT64_MAX;

    for (int round = 0; round < 5; round++) {
        uint64_t began = sys_now(), took;

        for (int i = 0; i < 200; i++)
            (void) sys_wall();
        took = (sys_now() - began) / 200;
        best = took < best ? took : best;
    }
    return best;
}

/* ---- limits and users ----------------------------------------------------------------------- */

int machine_limit(enum machine_limit which, uint64_t *ret_soft, uint64_t *ret_hard) {
    struct rlimit limit;
    int rc = -1;

    switch (which) {
    case MACHINE_FILES:
        rc = getrlimit(RLIMIT_NOFILE, &limit);
        break;
    case MACHINE_LOCKED:
        rc = getrlimit(RLIMIT_MEMLOCK, &limit);
        break;
    case MACHINE_SIZE:
        rc = getrlimit(RLIMIT_FSIZE, &limit);
        break;
    case MACHINE_ADDRESS:
        rc = getrlimit(RLIMIT_AS, &limit);
        break;
    }
    if (rc < 0)
        return -errno;
    *ret_soft = limit.rlim_cur == RLIM_INFINITY ? MACHINE_NONE : (uint64_t) limit.rlim_cur;
    *ret_hard = limit.rlim_max == RLIM_INFINITY ? MACHINE_NONE : (uint64_t) limit.rlim_max;
    return 0;
}

uint32_t machine_user(void) {
    return sys_user();
}

void machine_user_name(uint32_t user, char *buffer, size_t size) {
    const struct passwd *entry = getpwuid(user);

    if (entry)
        (void) snprintf(buffer, size, "%s", entry->pw_name);
    else
        (void) snprintf(buffer, size, "%u", user);
}
