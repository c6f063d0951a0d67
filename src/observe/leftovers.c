/* SPDX-License-Identifier: MIT
 *
 * What lies in the directories of nodes beside the files of nodes and channels, and in that of
 * events without a publisher.
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
    const struct observe_node *nodes; /* all */
    size_t node_count;
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

static int add(struct leftover_search *search, struct observe_leftover *left, const char *name) {
    struct observe_leftover *list = search->list;
    struct sys_stat st;

    if (sys_stat_at(search->dir, name, &st) < 0)
        return 0; /* gone by now */
    left->memory = st.memory;
    left->changed_ns = st.changed_ns;
    (void) snprintf(left->name, sizeof(left->name), "%s", name);
    if (search->count == search->room) {
        size_t room = search->room * 2 + 16;

        list = realloc(list, room * sizeof(*list));
        if (!list)
            return -ENOMEM;
        search->list = list;
        search->room = room;
    }
    list[search->count++] = *left;
    return 0;
}

static int leftover_entry(void *context, const char *name, uint64_t inode) {
    struct leftover_search *search = context;
    struct observe_leftover left = { .kind = OBSERVE_STRANGER, .node = search->node };

    (void) inode;
    if (known(name))
        return 0;
    if (name[0] == '.' && (known(name + 1) || strncmp(name, ".watch-", 7) == 0))
        left.kind = OBSERVE_HIDDEN;
    else if (strncmp(name, "watch-", 6) == 0 && look_id_parse(name + 6, &left.peer))
        left.kind = OBSERVE_WATCH;
    return add(search, &left, name);
}

/* ID-PORT, or ID-PORT@READER. */
static int event_entry(void *context, const char *name, uint64_t inode) {
    struct leftover_search *search = context;
    struct observe_leftover left = { .kind = OBSERVE_STRANGER, .events = true };
    size_t length = strcspn(name, "-");
    char id[FILE_NAME_TEXT];

    (void) inode;
    if (name[0] == '.')
        left.kind = OBSERVE_HIDDEN;
    if (name[length] == '-' && length < sizeof(id)) {
        memcpy(id, name, length);
        id[length] = '\0';
        if (look_id_parse(id, &left.node))
            left.kind = OBSERVE_EVENTS;
    }
    for (size_t i = 0; left.kind == OBSERVE_EVENTS && i < search->node_count; i++)
        if (search->nodes[i].id == left.node)
            return 0;
    return add(search, &left, name);
}

static int find_events(const struct observe *observe, struct leftover_search *search) {
    OWNS_FD int dir = sys_dir_open(observe->dir, "events");

    search->dir = dir;
    return dir >= 0 ? sys_dir_each(dir, event_entry, search) : 0;
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
    search.nodes = nodes;
    search.node_count = count;
    if (rc == 0)
        rc = find_events(observe, &search);
    if (rc < 0) {
        free(search.list);
        return rc;
    }
    *ret_list = search.list;
    *ret_count = search.count;
    return 0;
}
