/* SPDX-License-Identifier: MIT */
#include "node/mirror.h"

#include <errno.h>
#include <string.h>

#include "node/error.h"
#include "sys/cleanup.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

int mirror_lies(int dir, tram_id from) {
    char name[FILES_NAME];
    struct sys_stat st;
    int rc;

    files_mirror_name(name, from);
    rc = sys_stat_at(dir, name, &st);
    return rc == -ENOENT ? 0 : rc < 0 ? rc : 1;
}

int mirror_is_copy(int dir, tram_id from) {
    char name[FILES_NAME];
    OWNS_FD int fd = -1;
    struct mirror_mark mark;
    int rc;

    files_mirror_name(name, from);
    fd = sys_file_open(dir, name, false);
    rc = fd < 0 ? fd : mirror_mark_read(fd, &mark);
    return rc < 0 ? (files_is_machine(rc) ? rc : 0) : mark.copy != 0;
}

int mirror_mark_read(int fd, struct mirror_mark *ret_mark) {
    struct mirror_mark mark;
    int rc = sys_file_read(fd, &mark, sizeof(mark), 0);

    if (rc == -ENODATA || (rc == 0 && mark.magic != MARK_MAGIC))
        mark = (struct mirror_mark){.version = MARK_VERSION}; /* who made it died then */
    else if (rc < 0)
        return rc;
    if (mark.version != MARK_VERSION)
        return -EPROTO;
    *ret_mark = mark;
    return 0;
}

/* The id of the channel from `from` that lies there. -ENOENT: none. */
static int channel_id(int dir, tram_id from, uint64_t *ret_id) {
    char name[FILES_NAME];
    OWNS_FD int fd = -1;
    struct stream words;
    uint32_t lowest;
    uint32_t highest;
    int rc = files_generations(dir, from, &lowest, &highest);

    if (rc < 0)
        return rc;
    files_stream_name(name, from, highest);
    fd = sys_file_open(dir, name, false);
    rc = fd < 0 ? fd : sys_file_read(fd, &words, sizeof(words), 0);
    if (rc == 0)
        *ret_id = words.id;
    return rc == -ENODATA ? -ENOENT : rc;
}

int mirror_bars(int dir, tram_id from) {
    char name[FILES_NAME];
    OWNS_FD int fd = -1;
    struct mirror_mark mark = {0};
    uint64_t id = 0;
    int rc;

    files_mirror_name(name, from);
    fd = sys_file_open(dir, name, false);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    rc = mirror_mark_read(fd, &mark);
    if (rc == 0)
        rc = channel_id(dir, from, &id);
    if (rc == 0 && id == mark.id && head_is_final(dir, from) == 0)
        return 1;
    if (files_is_machine(rc) || rc == -EPROTO)
        return rc;
    rc = sys_unlink(dir, name);
    return rc == -ENOENT ? 0 : rc;
}

int mirror_guard(int dir, tram_id from, int *ret_fd) {
    char name[FILES_NAME];
    OWNS_FD int fd = -1;
    int rc;

    *ret_fd = -1;
    files_mirror_name(name, from);
    fd = sys_file_open(dir, name, true);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    rc = sys_lock(fd, MARK_LOCK);
    if (rc < 0)
        return rc == -EAGAIN ? -EBUSY : rc;
    *ret_fd = take_fd(&fd);
    return 0;
}

/* ---- sends that wait for one ------------------------------------------------------------------
 * */

int mirror_barred(tram_node *node, tram_id to) {
    struct peer *peer = peer_get(node, to);

    if (peer)
        peer->mirrored = true;
    return error_channel(&node->error, -EAGAIN, node->id, to,
                         "what this node sent when it ran on another host is still being "
                         "delivered; then it may send");
}

bool mirror_waits(tram_node *node, tram_id to) {
    const struct peer *peer = peer_find(node, to);

    return peer && peer->mirrored;
}

int mirror_wait(tram_node *node, tram_id to, uint64_t deadline) {
    uint64_t now = sys_now();
    uint64_t again = now + SYS_SECOND; /* who removed it may have died before it rang */
    int rc = 0;

    if (now >= deadline)
        return error_channel(&node->error, -ETIMEDOUT, node->id, to,
                             "what this node sent when it ran on another host is still being "
                             "delivered");
    ins_give(node);
    if (node_sleep(node, true))
        rc = node_block(node, deadline < again ? deadline : again);
    node_wake(node);
    return rc;
}

void mirror_look(tram_node *node, struct peer *peer) {
    OWNS_FD int dir = files_node_dir(&node->bus, peer->id, false);

    if (dir >= 0 && mirror_bars(dir, node->id) != 0)
        return;
    peer->mirrored = false;
    peer_event(node, peer, TRAM_EVENT_SPACE);
}
