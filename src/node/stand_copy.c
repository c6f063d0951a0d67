/* SPDX-License-Identifier: MIT
 *
 * Copies: mirrors that stay when their receiver moves in order (docs/HOSTS.md, "Copies"). What
 * waits in one also lies at its origin, as long as that has its memory; and it is offered to the
 * receiver's new host by both. Who is there first is taken; a copy goes when the new host has all
 * that it has.
 */
#include <errno.h>
#include <string.h>

#include "node/custody.h"
#include "node/mirror.h"
#include "node/stand_inner.h"
#include "sys/cleanup.h"
#include "sys/file.h"

/* Nobody who remembers knows what of it was seen. */
static int doubt_all(const tram_node *node, int dir, tram_id to, uint64_t accepted) {
    struct sys_map map;
    struct head_facts facts;
    struct head *head;
    int rc = head_open(dir, node->id, to, SYS_MAP_WRITE | SYS_MAP_GUARD, &map, &facts);

    if (rc < 0)
        return rc;
    head = map.base;
    if (load_relaxed(&head->unsure) < accepted)
        store_relaxed(&head->unsure, accepted);
    journal_order();
    sys_unmap(&map);
    return 0;
}

/* With the mark locked. */
static int keep(tram_node *node, int dir, tram_id to, int fd, bool doubt) {
    struct channel_look look;
    struct mirror_mark mark;
    int rc = channel_look(dir, node->id, to, &look);

    if (rc == 0)
        rc = mirror_mark_read(fd, &mark);
    if (rc == 0 && (mark.id != look.id || look.accepted == look.consumed))
        rc = -ENOENT;
    if (rc == 0 && doubt)
        rc = doubt_all(node, dir, to, look.accepted);
    if (rc < 0 || mark.copy == 1)
        return rc;
    mark.copy = 1;
    return mirror_mark_write(&node->bus, fd, &mark);
}

int stand_out_keep(struct stand *stand, tram_id to, bool doubt) {
    tram_node *node = &stand->node;
    struct stand_out *out = stand_out_find(stand, to);
    OWNS_FD int dir = files_node_dir(&node->bus, to, false);
    OWNS_FD int mark = -1;
    struct peer *peer = peer_get(node, to);
    int rc = dir < 0 ? dir : peer ? 0 : -ENOMEM;

    if (rc == 0 && !out)
        rc = mirror_lock(&node->bus, dir, node->id, false, &mark);
    if (rc == 0)
        rc = keep(node, dir, to, out ? out->out->mark : mark, doubt);
    if (rc == 0)
        rc = peer_take_door(node, peer, dir);
    if (rc == 0)
        rc = peer_announce(node, peer);
    return rc;
}

int stand_out_unkeep(struct stand *stand, tram_id to) {
    tram_node *node = &stand->node;
    OWNS_FD int dir = files_node_dir(&node->bus, to, false);
    OWNS_FD int fd = -1;
    struct mirror_mark mark;
    int rc = dir < 0 ? dir : mirror_is_copy(dir, node->id);

    if (rc != 1)
        return rc;
    rc = mirror_lock(&node->bus, dir, node->id, false, &fd);
    if (rc == 0)
        rc = mirror_mark_read(fd, &mark);
    if (rc < 0 || mark.copy == 0)
        return rc;
    mark.copy = 0;
    return mirror_mark_write(&node->bus, fd, &mark);
}

int stand_out_from(struct stand_out *out, const uint8_t origin[STAND_ORIGIN]) {
    struct mirror_mark mark;
    int rc = mirror_mark_read(out->out->mark, &mark);

    if (rc < 0 || memcmp(mark.origin, origin, sizeof(mark.origin)) == 0)
        return rc;
    memcpy(mark.origin, origin, sizeof(mark.origin));
    return mirror_mark_write(&out->stand->node.bus, out->out->mark, &mark);
}

/* ---- which a receiver's new host may take ---------------------------------------------------- */

static int read_past(const struct bus *bus, tram_id from, tram_id to, int *ret_dir,
                     struct past *ret_past) {
    *ret_dir = files_node_dir(bus, to, false);
    return *ret_dir < 0 ? *ret_dir : past_read(*ret_dir, from, to, ret_past);
}

int stand_copy_find(const struct bus *bus, tram_id from, tram_id to, uint64_t id, uint32_t host,
                    uint64_t *ret_consumed, uint64_t *ret_accepted) {
    OWNS_FD int dir = -1;
    struct channel_look look = {0};
    struct past past;
    int rc = read_past(bus, from, to, &dir, &past);

    if (rc < 0)
        return rc;
    *ret_consumed = *ret_accepted = 0;
    (void) past_find(&past, id, ret_consumed);
    if (past.id == id && past.consumed > *ret_consumed)
        *ret_consumed = past.consumed;
    rc = channel_look(dir, from, to, &look);
    if (files_is_machine(rc))
        return rc;
    if (rc == 0 && look.id == id)
        *ret_consumed = look.consumed; /* the others mean nothing beside it */
    for (uint32_t i = 0; i < PAST_COPIES; i++) {
        if (past.copies[i].id == id && past.copies[i].host == host)
            *ret_accepted = past.copies[i].accepted;
    }
    return 0;
}

int stand_copy_other(const struct bus *bus, tram_id from, tram_id to, uint64_t id,
                     uint32_t *ret_host) {
    OWNS_FD int dir = -1;
    struct channel_look look = {0}; /* what lies there is in the way by itself */
    struct past past;
    int rc = read_past(bus, from, to, &dir, &past);

    if (rc == 0)
        (void) channel_look(dir, from, to, &look);
    for (uint32_t i = 0; rc == 0 && i < PAST_COPIES; i++) {
        if (past.copies[i].id == 0 || past.copies[i].id == id ||
            (past.copies[i].id == look.id && past.copies[i].accepted <= look.accepted))
            continue;
        *ret_host = (uint32_t) past.copies[i].host;
        return 0;
    }
    return rc < 0 ? rc : -ENOENT;
}

int stand_copy_tell(const struct bus *bus, tram_id from, tram_id to, uint64_t id, uint32_t host,
                    uint64_t accepted) {
    OWNS_FD int dir = -1;
    char name[FILES_NAME];
    struct sys_stat st;
    struct past past;
    uint32_t count = 0;
    int rc = read_past(bus, from, to, &dir, &past);

    files_past_name(name, from);
    if (rc == 0 && sys_stat_at(dir, name, &st) < 0)
        rc = past_count(dir, &count);
    if (rc == 0 && count >= INS_MAX)
        rc = -EMLINK;
    if (rc < 0)
        return rc;
    (void) past_copy(&past, id, host, accepted);
    return past_write(bus, dir, &past);
}

int stand_copy_origin(const struct bus *bus, tram_id from, tram_id to,
                      uint8_t ret_origin[STAND_ORIGIN]) {
    OWNS_FD int dir = files_node_dir(bus, to, false);
    OWNS_FD int fd = -1;
    char name[FILES_NAME];
    struct mirror_mark mark;
    int rc = dir < 0 ? dir : 0;

    files_mirror_name(name, from);
    if (rc == 0)
        rc = fd = sys_file_open(dir, name, false);
    if (rc >= 0)
        rc = mirror_mark_read(fd, &mark);
    if (rc == 0)
        memcpy(ret_origin, mark.origin, STAND_ORIGIN);
    return rc;
}

int stand_copy_forget(const struct bus *bus, tram_id from, tram_id to, uint64_t id, uint32_t host) {
    OWNS_FD int dir = -1;
    struct past past;
    int rc = read_past(bus, from, to, &dir, &past);

    if (rc == 0 && !past_copy(&past, id, host, 0))
        rc = -ENOENT; /* nothing is written for who only says that it has one */
    return rc < 0 ? rc : past_write(bus, dir, &past);
}
