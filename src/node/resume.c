/* SPDX-License-Identifier: MIT
 *
 * After a restart: the channels that earlier processes of this node made. Who died between a
 * publish and its bell, or between making a channel and announcing it, left that to us. What the
 * machine refuses then is done at the next re-look: the node can be of use without.
 */
#include <errno.h>

#include "node/node.h"
#include "sys/cleanup.h"
#include "sys/file.h"

/* 0, also if there is nothing to be done: a broken channel is said when it is used. */
static int resume_one(tram_node *node, tram_id to, const char *name) {
    OWNS_FD int dir = sys_dir_open(node->bus.dir, name);
    struct peer *peer = peer_find(node, to);
    char file[FILES_NAME];
    struct sys_stat st;
    int rc;

    if (dir < 0)
        return dir;
    files_head_name(file, node->id);
    rc = sys_stat_at(dir, file, &st);
    if (rc < 0)
        return rc;
    if (peer && peer->out) /* we tried before, or have sent something: what it may stage it keeps */
        return peer->out->broken ? 0 : peer_knock(node, peer);
    rc = out_get(node, to, false, &peer);
    return rc < 0 ? rc : out_publish(node, peer->out);
}

static int resume(void *context, const char *name, uint64_t inode) {
    tram_node *node = context;
    tram_id to;

    (void) inode;
    if (tram_id_parse(name, &to) == 0)
        node->resume_owed |= files_is_machine(resume_one(node, to, name));
    return 0;
}

int outs_resume(tram_node *node) {
    int rc;

    node->resume_owed = false;
    rc = sys_dir_each(node->bus.dir, resume, node);
    node->resume_owed |= rc < 0;
    return rc;
}
