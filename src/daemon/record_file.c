/* SPDX-License-Identifier: MIT */
#include "daemon/record_file.h"

#include <errno.h>
#include <stdio.h>

#include "sys/cleanup.h"
#include "sys/file.h"

#define FILE_MODE 0600u
#define NAME_SIZE 32u

int record_file_open(struct record_file *file, int dir, const char *name) {
    struct sys_stat st;
    int rc;

    *file = (struct record_file){ .fd = sys_file_open(dir, name, false) };
    rc = file->fd < 0 ? file->fd : sys_stat_fd(file->fd, &st);
    if (rc < 0)
        record_file_close(file);
    else
        file->size = st.size;
    return rc;
}

int record_file_more(struct record_file *file) {
    uint64_t left = file->size - file->at;
    size_t room;
    void *bytes;
    int rc;

    if (left == 0)
        return 0;
    bytes = control_in_room(&file->in, &room);
    if (!bytes)
        return -ENOMEM;
    room = room < left ? room : left;
    rc = sys_file_read(file->fd, bytes, room, file->at);
    if (rc < 0)
        return rc;
    control_in_add(&file->in, room);
    file->at += room;
    return 1;
}

void record_file_close(struct record_file *file) {
    cleanup_fd(&file->fd);
    control_in_reset(&file->in);
}

int record_file_write(int dir, const char *name, const struct control_out *out, int *ret_fd) {
    char next[NAME_SIZE];
    OWNS_FD int fd = -1;
    int rc;

    (void) snprintf(next, sizeof(next), ".%s.new", name);
    fd = sys_file_make(dir, next, FILE_MODE, 0);
    rc = fd < 0 ? fd : sys_file_write(fd, control_out_bytes(out), control_out_size(out), 0);
    if (rc == 0)
        rc = sys_rename(dir, next, name);
    if (rc < 0)
        (void) sys_unlink(dir, next); /* it takes room, if it is there */
    else if (ret_fd)
        *ret_fd = take_fd(&fd);
    return rc;
}

int record_file_append(int fd, uint64_t *size, const struct control_out *out) {
    int rc = sys_file_write(fd, control_out_bytes(out), control_out_size(out), *size);

    if (rc == 0)
        *size += control_out_size(out);
    else
        (void) sys_file_extend(fd, *size);
    return rc;
}
