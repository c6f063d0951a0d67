/* SPDX-License-Identifier: MIT
 *
 * After a restart: the channels that earlier processes of this node made. Who died between a
 * publish and its bell, or between making a channel and announcing it, left that to us.
 */
#include <errno.h>

#include "node/node.h"
#include "sys/cleanup.h"
#include "sys/file.h"

struct resume {
    tram_node *node;
    int rc;
};

static int resume_one(void *context, const char *name, uint64_t inode) {
    struct resume *resume = context;
    tram_node *node = resume->node;
    char file[FILES_NAME];
    OWNS_FD int dir = -1;
    struct sys_stat st;
    struct peer *peer;
    tram_id to;

    (void) inode;
    if (tram_id_parse(name, &to) < 0)
        return 0;
    dir = sys_dir_open(node->bus.dir, name);
    if (dir < 0)
        return 0;
    files_head_name(file, node->id);
    if (sys_stat_at(dir, file, &st) < 0)
        return 0;
    if (out_get(node, to, false, &peer) < 0)
        return 0; /* a broken channel is said when it is used */
    (void) out_publish(node, peer->out);
    return 0;
}

int outs_resume(tram_node *node) {
    struct resume resume = {.node = node};

    return sys_dir_each(node->bus.dir, resume_one, &resume);
}
