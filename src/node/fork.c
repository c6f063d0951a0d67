/* SPDX-License-Identifier: MIT
 *
 * fork(). OFD locks belong to the open file, which a child shares: it would keep its parent's IDs
 * alive. So in the child every node is closed and unmapped at once, and answers -ECHILD from then
 * on. Children that exec (popen, posix_spawn, system) never run this; their descriptors are
 * close-on-exec.
 */
#include <pthread.h>

#include "node/node.h"
#include "sys/cleanup.h"
#include "sys/guard.h"

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static bool registry_started;
static tram_node *registry;

static void close_streams(struct old_stream *old) {
    for (; old; old = old->next)
        sys_unmap(&old->map);
}

/* Give back all that the kernel holds for a node; memory is freed by tram_close(). */
static void node_sever(tram_node *node) {
    int *fds[] = {&node->lock, &node->bell, &node->set, &node->dir, &node->bus.dir};

    node->forked = true;
    bias_retire(&node->entry);
    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        cleanup_fd(fds[i]);
        *fds[i] = -1;
    }
    sys_unmap(&node->door_map);
    for (uint32_t i = 0; i < LAYOUT_BITS; i++) {
        for (struct peer *peer = node->peers[i]; peer; peer = peer->next) {
            peer_forget_door(peer);
            cleanup_fd(&peer->watch_fd);
            peer->watch_fd = -1;
            if (peer->out) {
                cleanup_fd(&peer->out->fd);
                cleanup_fd(&peer->out->mark);
                peer->out->fd = peer->out->mark = -1;
                sys_unmap(&peer->out->map);
                sys_unmap(&peer->out->head_map);
                close_streams(peer->out->old);
            }
            if (peer->in) {
                sys_unmap(&peer->in->map);
                sys_unmap(&peer->in->head_map);
                close_streams(peer->in->old);
            }
        }
    }
}

static void before_fork(void) {
    (void) pthread_mutex_lock(&registry_lock);
    sys_guard_hold(); /* or another thread holds it in the child for ever */
}

static void after_fork_in_parent(void) {
    sys_guard_let();
    (void) pthread_mutex_unlock(&registry_lock);
}

static void after_fork_in_child(void) {
    sys_guard_let();
    for (tram_node *node = registry; node; node = node->registry_next)
        node_sever(node);
    registry = NULL;
    (void) pthread_mutex_unlock(&registry_lock);
}

int fork_register(tram_node *node) {
    int rc = 0;

    (void) pthread_mutex_lock(&registry_lock);
    if (!registry_started)
        rc = sys_on_fork(before_fork, after_fork_in_parent, after_fork_in_child);
    if (rc < 0) {
        (void) pthread_mutex_unlock(&registry_lock);
        return rc;
    }
    registry_started = true;
    node->registry_next = registry;
    node->registry_link = &registry;
    if (registry)
        registry->registry_link = &node->registry_next;
    registry = node;
    (void) pthread_mutex_unlock(&registry_lock);
    return 0;
}

void fork_unregister(tram_node *node) {
    (void) pthread_mutex_lock(&registry_lock);
    if (node->registry_link) {
        *node->registry_link = node->registry_next;
        if (node->registry_next)
            node->registry_next->registry_link = node->registry_link;
        node->registry_link = NULL;
    }
    (void) pthread_mutex_unlock(&registry_lock);
}
