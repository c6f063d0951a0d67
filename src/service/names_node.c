/* SPDX-License-Identifier: MIT
 *
 * Lives of nodes of other hosts, as the daemon tells them; and which host this is, as the files of
 * the bus say (docs/SEGMENT.md §14).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring/placing.h"
#include "service/names_inner.h"
#include "sys/cleanup.h"
#include "sys/file.h"

#define EPHEMERAL 0xfu /* the first four bits of an ID that carries its host's number */

/* ---- files ----------------------------------------------------------------------------------- */

static int file_read(int dir, const char *name, void *bytes, size_t size) {
    OWNS_FD int fd = sys_file_open(dir, name, false);

    return fd < 0 ? fd : sys_file_read(fd, bytes, size, 0);
}

/* This host of the cluster. False: this bus is part of none. */
static bool cluster_of(tram_worker *worker, struct cluster *ret_cluster, int *ret_dir) {
    struct names *names;

    if (names_of(worker, &names) < 0 || names_link_dir(names, ret_dir) < 0 ||
        file_read(*ret_dir, "cluster", ret_cluster, sizeof(*ret_cluster)) < 0)
        return false;
    return ret_cluster->magic == CLUSTER_MAGIC && ret_cluster->version == PLACE_VERSION &&
           ret_cluster->name[sizeof(ret_cluster->name) - 1] == '\0';
}

bool names_may_be_far(tram_worker *worker, tram_id id) {
    struct cluster cluster;
    struct place place;
    char path[TRAM_ID_TEXT + 8], text[TRAM_ID_TEXT];
    int dir;

    if (!cluster_of(worker, &cluster, &dir))
        return false;
    if (id >> 28 == EPHEMERAL)
        return (id >> 16 & HOST_MAX) != cluster.host;
    (void) snprintf(path, sizeof(path), "%s/place", tram_id_format(id, text));
    if (file_read(dir, path, &place, sizeof(place)) < 0)
        return true; /* the daemon asks the directory */
    return place.magic != PLACE_MAGIC || place.version != PLACE_VERSION ||
           place.state != PLACE_HERE;
}

bool names_is_here(tram_worker *worker, const char *host) {
    struct cluster cluster;
    int dir;

    return cluster_of(worker, &cluster, &dir) && strcmp(cluster.name, host) == 0;
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void send_look(struct names_node_inner *inner) {
    Tram__Control__Look look = CONTROL_NEW(Look, look);
    control_frame frame = CONTROL_NEW(Frame, frame);

    look.cookie = inner->cookie;
    look.node = inner->id;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_LOOK;
    frame.look = &look;
    names_link_add(inner->names, &frame);
}

int names_node_watch(tram_worker *worker, struct names_node *node, tram_id id) {
    struct names_node_inner *inner;
    struct names *names;
    int rc = names_of(worker, &names);

    if (rc < 0)
        return rc;
    inner = calloc(1, sizeof(*inner));
    if (!inner)
        return worker_fail(worker, -ENOMEM, "no memory to watch a node");
    inner->owner = node;
    inner->names = names;
    inner->cookie = ++names->cookies;
    inner->id = id;
    inner->next = names->nodes;
    names->nodes = inner;
    node->inner = inner;
    rc = names_link_need(names);
    if (rc < 0) {
        names_node_unwatch(node);
        return rc;
    }
    send_look(inner);
    names_link_flush(names);
    return 0;
}

void names_node_unwatch(struct names_node *node) {
    struct names_node_inner *inner = node->inner;
    Tram__Control__Unlook unlook = CONTROL_NEW(Unlook, unlook);
    control_frame frame = CONTROL_NEW(Frame, frame);

    if (!inner)
        return;
    node->inner = NULL;
    inner->owner = NULL;
    unlook.cookie = inner->cookie;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_UNLOOK;
    frame.unlook = &unlook;
    names_link_add(inner->names, &frame);
    names_link_flush(inner->names);
    names_link_rest(inner->names);
    names_sweep(inner->names);
}

/* ---- what names.c tells ---------------------------------------------------------------------- */

bool names_nodes_used(const struct names *names) {
    for (const struct names_node_inner *inner = names->nodes; inner; inner = inner->next)
        if (inner->owner)
            return true;
    return false;
}

void names_nodes_register(struct names *names) {
    for (struct names_node_inner *inner = names->nodes; inner; inner = inner->next)
        if (inner->owner)
            send_look(inner);
}

/* The owner may give it back in any call. */
static void tell(struct names_node_inner *inner, bool up, const Tram__Control__Life *life) {
    if (inner->owner)
        inner->owner->on_life(inner->owner, up, !up && life->lost, life->host);
}

void names_nodes_take(struct names *names, const Tram__Control__Life *life) {
    struct names_node_inner *inner = names->nodes;
    bool before;

    while (inner && (inner->cookie != life->cookie || !inner->owner))
        inner = inner->next;
    if (!inner)
        return;
    before = inner->life != 0;
    if (inner->told && inner->life == life->life && inner->lost == life->lost)
        return;
    inner->life = life->life;
    inner->lost = life->lost;
    inner->told = true;
    if (before || life->life == 0)
        tell(inner, false, life);
    if (life->life != 0)
        tell(inner, true, life);
}

void names_nodes_sweep(struct names *names) {
    struct names_node_inner **link = &names->nodes;

    while (*link) {
        struct names_node_inner *inner = *link;

        if (inner->owner) {
            link = &inner->next;
            continue;
        }
        *link = inner->next;
        free(inner);
    }
}

void names_nodes_end(struct names *names) {
    for (struct names_node_inner *inner = names->nodes; inner; inner = inner->next) {
        if (inner->owner)
            inner->owner->inner = NULL;
        inner->owner = NULL;
    }
}
