/* SPDX-License-Identifier: MIT */
#include "support/disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "harness.h"
#include "sys/file.h"

void disk_make(char path[DISK_PATH], const char *name) {
    char unique[64];
    int in_memory;
    int fd;

    (void) snprintf(unique, sizeof(unique), "%s-XXXXXX", name);
    (void) snprintf(path, DISK_PATH, "%s", test_program(unique));
    CHECK(mkdtemp(path) != NULL);
    fd = CHECK_OK(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    in_memory = sys_file_in_memory(fd);
    close(fd);
    if (in_memory) {
        (void) rmdir(path);
        SKIP("the build lies in memory");
    }
}
