/* SPDX-License-Identifier: MIT
 *
 * What lies in the directories of nodes beside the files of nodes and channels.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "observe/files.h"
#include "sys/cleanup.h"
#include "sys/file.h"

struct leftover_search {
    int dir;
    tram_id node;
    struct observe_leftover *list;
    size_t count, room;
};

/* What lies beside the mirror of a channel, and what is known of those before it. */
static bool is_of_peer(const char *name, const char *prefix) {
    tram_id peer;

    return strncmp(name, prefix, strlen(prefix)) == 0 &&
           look_id_parse(name + strlen(prefix), &peer);
}

static bool known(const char *name) {
    struct file_name parsed;

    return strcmp(name, "lock") == 0 || strcmp(name, "door") == 0 || strcmp(name, "bell") == 0 ||
           strcmp(name, "place") == 0 || is_of_peer(name, "mirror-") || is_of_peer(name, "past-") ||
           look_name_parse(name, &parsed);
}

static int leftover_entry(void *context, const char *name, uint64_t inode) {
    struct leftover_search *search = context;
    struct observe_leftover left = { .kind = OBSERVE_STRANGER, .node = search->node };
    struct observe_leftover *list = search->list;
    struct sys_stat st;

    (void) inode;
    if (known(name) || sys_stat_at(search->dir, name, &st) < 0) /* or gone by now */
        return 0;
    if (name[0] == '.' && (known(name + 1) || strncmp(name, ".watch-", 7) == 0))
        left.kind = OBSERVE_HIDDEN;
    else if (strncmp(name, "watch-", 6) == 0 && look_id_parse(name + 6, &left.peer))
        left.kind = OBSERVE_WATCH;
    left.memory = st.memory;
    left.changed_ns = st.changed_ns;
    (void) snprintf(left.name, sizeof(left.name), "%s", name);
    if (search->count == search->room) {
        size_t room = search->room * 2 + 16;

        list = realloc(list, room * sizeof(*list));
        if (!list)
            return -ENOMEM;
        search->list = list;
        search->room = room;
    }
    list[search->count++] = left;
    return 0;
}

int observe_leftovers(struct observe *observe, struct observe_leftover **ret_list,
                      size_t *ret_count) {
    OWNS_MEMORY struct observe_node *nodes = NULL;
    struct leftover_search search = { 0 };
    size_t count;
    int rc = observe_nodes(observe, &nodes, &count);

    for (size_t i = 0; rc == 0 && i < count; i++) {
        OWNS_FD int dir = look_node_dir(observe, nodes[i].id);

        search.dir = dir;
        search.node = nodes[i].id;
        if (dir >= 0) /* else removed meanwhile, or another user's: its note says it */
            rc = sys_dir_each(dir, leftover_entry, &search);
    }
    if (rc < 0) {
        free(search.list);
        return rc;
    }
    *ret_list = search.list;
    *ret_count = search.count;
    return 0;
}
