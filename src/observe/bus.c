/* SPDX-License-Identifier: MIT
 *
 * A bus and its nodes: directories named by an ID, who holds the lock in them, what the door says.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "observe/files.h"
#include "ring/placing.h"
#include "sys/cleanup.h"
#include "sys/file.h"
#include "sys/lock.h"
#include "sys/process.h"

int observe_open(const char *path, struct observe **ret_observe) {
    OWNS_FD int dir = sys_dir_open(AT_FDCWD, path);
    struct observe *observe;

    if (dir < 0)
        return dir;
    observe = calloc(1, sizeof(*observe));
    if (!observe)
        return -ENOMEM;
    observe->path = strdup(path);
    if (!observe->path) {
        free(observe);
        return -ENOMEM;
    }
    observe->dir = take_fd(&dir);
    observe->pid_namespace = sys_pid_namespace();
    *ret_observe = observe;
    return 0;
}

struct observe *observe_close(struct observe *observe) {
    if (!observe)
        return NULL;
    cleanup_fd(&observe->dir);
    free(observe->path);
    free(observe);
    return NULL;
}

/* ---- buses ---------------------------------------------------------------------------------- */

/* A list of strings in one block, for the caller to free: pointers first. */
struct strings {
    char **list;
    size_t count, bytes;
};

static void strings_free(struct strings *strings) {
    for (size_t i = 0; i < strings->count; i++)
        free(strings->list[i]);
    free(strings->list);
}

static int strings_add(struct strings *strings, const char *text) {
    char **list = realloc(strings->list, (strings->count + 1) * sizeof(*list));
    char *copy;

    if (!list)
        return -ENOMEM;
    strings->list = list;
    copy = strdup(text);
    if (!copy)
        return -ENOMEM;
    list[strings->count++] = copy;
    strings->bytes += strlen(text) + 1;
    return 0;
}

static int by_text(const void *left, const void *right) {
    return strcmp(*(char *const *) left, *(char *const *) right);
}

static int strings_pack(struct strings *strings, char ***ret_list) {
    char **list = malloc(strings->count * sizeof(*list) + strings->bytes + 1);
    char *at;

    if (!list)
        return -ENOMEM;
    if (strings->count > 1)
        qsort(strings->list, strings->count, sizeof(*strings->list), by_text);
    at = (char *) (list + strings->count);
    for (size_t i = 0; i < strings->count; i++) {
        size_t size = strlen(strings->list[i]) + 1;

        list[i] = memcpy(at, strings->list[i], size);
        at += size;
    }
    *ret_list = list;
    return 0;
}

static int entry_is_node(void *context, const char *name, uint64_t inode) {
    tram_id id;

    (void) context;
    (void) inode;
    return look_id_parse(name, &id);
}

struct bus_search {
    int dir;
    struct strings found;
};

static int bus_entry(void *context, const char *name, uint64_t inode) {
    struct bus_search *search = context;
    OWNS_FD int dir = sys_dir_open(search->dir, name);
    int rc;

    (void) inode;
    if (dir == -EMFILE || dir == -ENFILE || dir == -ENOMEM || dir == -EIO)
        return dir;
    if (dir < 0)
        return 0; /* a file, a symbolic link, or not for our eyes: no bus to us */
    rc = sys_dir_each(dir, entry_is_node, NULL);
    return rc == 1 ? strings_add(&search->found, name) : rc;
}

int observe_buses(const char *path, char ***ret_names, size_t *ret_count) {
    OWNS_FD int dir = sys_dir_open(AT_FDCWD, path);
    struct bus_search search = { .dir = dir };
    int rc;

    if (dir < 0)
        return dir;
    rc = sys_dir_each(dir, bus_entry, &search);
    if (rc == 0)
        rc = strings_pack(&search.found, ret_names);
    if (rc == 0)
        *ret_count = search.found.count;
    strings_free(&search.found);
    return rc;
}

/* ---- nodes ---------------------------------------------------------------------------------- */

/* The bytes of the lock file; see layout.h. */
#define LOCK_CUSTODY 1
#define LOCK_UP 3

static void look_at_lock(int dir, struct observe_node *node) {
    OWNS_FD int file = sys_lock_look(dir, "lock");

    if (file < 0)
        return; /* nobody can hold what is not there */
    node->up = sys_lock_held(file, LOCK_UP) == 1;
    node->custody = sys_lock_held(file, LOCK_CUSTODY) == 1;
}

static void look_at_place(int dir, struct observe_node *node) {
    OWNS_FD int file = sys_file_open(dir, "place", false);
    struct place place;

    if (file < 0 || sys_file_read(file, &place, sizeof(place), 0) < 0 ||
        place.magic != PLACE_MAGIC || place.version != PLACE_VERSION || place.id != node->id)
        return;
    static_assert(sizeof(node->host) == sizeof(place.name), "a host's name");
    memcpy(node->host, place.name, sizeof(node->host));
    node->host[sizeof(node->host) - 1] = '\0';
    node->away = place.state == PLACE_AWAY;
    node->epoch = place.epoch;
}

int observe_node(struct observe *observe, tram_id id, struct observe_node *ret_node) {
    OWNS_FD int dir = look_node_dir(observe, id);
    struct observe_node node = { .id = id };
    struct door_view door;
    struct sys_stat st;
    int rc;

    if (dir < 0)
        return dir;
    if (sys_stat_fd(dir, &st) == 0)
        node.owner = st.owner;
    look_at_lock(dir, &node);
    look_at_place(dir, &node);
    rc = look_door(dir, id, &door, node.note);
    if (rc == 0) {
        node.pid = (int32_t) door.pid;
        node.foreign = door.pid != 0 && door.pid_namespace != observe->pid_namespace;
        node.ephemeral = (door.flags & DOOR_EPHEMERAL) != 0;
        node.asleep = node.up && door.asleep;
        node.opens = door.opens;
        node.opened_ns = door.opened_ns;
        node.gone = door.gone;
        node.closed_ns = node.up ? 0 : door.closed_ns;
        memcpy(node.program, door.program, sizeof(node.program));
    } else if (rc == -ENOENT) {
        node.note[0] = '\0'; /* a node without a door: others sent to it, it never ran */
    }
    node.other_layout = rc == -EPROTO;
    *ret_node = node;
    return 0;
}

struct node_search {
    struct observe *observe;
    struct observe_node *nodes;
    size_t count, room;
};

static int node_entry(void *context, const char *name, uint64_t inode) {
    struct node_search *search = context;
    tram_id id;
    int rc;

    (void) inode;
    if (!look_id_parse(name, &id))
        return 0;
    if (search->count == search->room) {
        size_t room = search->room * 2 + 16;
        struct observe_node *nodes = realloc(search->nodes, room * sizeof(*nodes));

        if (!nodes)
            return -ENOMEM;
        search->nodes = nodes;
        search->room = room;
    }
    rc = observe_node(search->observe, id, &search->nodes[search->count]);
    if (rc == -ENOENT || rc == -ENOTDIR)
        return 0; /* removed meanwhile; a file of such a name is no node */
    if (rc < 0) {
        struct observe_node *node = &search->nodes[search->count];

        *node = (struct observe_node){ .id = id };
        (void) snprintf(node->note, sizeof(node->note), "%s", strerror(-rc));
    }
    search->count++;
    return 0;
}

static int by_id(const void *left, const void *right) {
    const struct observe_node *a = left, *b = right;

    return a->id < b->id ? -1 : a->id > b->id;
}

int observe_nodes(struct observe *observe, struct observe_node **ret_nodes, size_t *ret_count) {
    struct node_search search = { .observe = observe };
    int rc = sys_dir_each(observe->dir, node_entry, &search);

    if (rc < 0) {
        free(search.nodes);
        return rc;
    }
    if (search.count > 1)
        qsort(search.nodes, search.count, sizeof(*search.nodes), by_id);
    *ret_nodes = search.nodes;
    *ret_count = search.count;
    return 0;
}
