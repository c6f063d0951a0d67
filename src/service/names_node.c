/* SPDX-License-Identifier: MIT
 *
 * Lives of nodes of other hosts, as the daemon tells them; and which host this is, as the files of
 * the bus say (docs/SEGMENT.md §14).
 */
#include <errno.h>
#include <stdio.h>
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

struct look {
    struct names_wish wish;
    struct names_node *node;
    tram_id id;
    uint64_t life;               /* as told; 0: it does not run */
    bool told, lost;
};

static void say(const struct names_wish *wish, bool wanted) {
    Tram__Control__Look look = CONTROL_NEW(Look, look);
    Tram__Control__Unlook unlook = CONTROL_NEW(Unlook, unlook);
    control_frame frame = CONTROL_NEW(Frame, frame);

    look.cookie = unlook.cookie = wish->cookie;
    look.node = ((const struct look *) wish)->id;
    if (wanted) {
        frame.kind_case = TRAM__CONTROL__FRAME__KIND_LOOK;
        frame.look = &look;
    } else {
        frame.kind_case = TRAM__CONTROL__FRAME__KIND_UNLOOK;
        frame.unlook = &unlook;
    }
    names_link_add(wish->names, &frame);
}

int names_node_watch(tram_worker *worker, struct names_node *node, tram_id id) {
    struct look *look;
    int rc = names_wish_new(worker, sizeof(*look), say, &node->wish);

    if (rc < 0)
        return rc;
    look = (struct look *) node->wish;
    look->node = node;
    look->id = id;
    return names_wish_begin(&look->wish);
}

void names_node_unwatch(struct names_node *node) {
    names_wish_end(node->wish);
}

/* ---- being told ------------------------------------------------------------------------------ */

void names_node_take(struct names *names, const Tram__Control__Life *life) {
    struct look *look = (struct look *) names_wish_find(names, life->cookie, say);
    bool before;

    if (!look || (look->told && look->life == life->life && look->lost == life->lost))
        return;
    before = look->life != 0;
    look->life = life->life;
    look->lost = life->lost;
    look->told = true;
    if (before || life->life == 0)
        look->node->on_life(look->node, false, life->lost, life->host);
    if (life->life != 0 && look->wish.owner) /* it may have been given back in that call */
        look->node->on_life(look->node, true, false, life->host);
}
