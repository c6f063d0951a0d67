/* SPDX-License-Identifier: MIT
 *
 * The lives of nodes that hold names. A node is alive while byte 3 of its lock is held, and its
 * door counts how often it was opened; so (ID, count) never comes again. The worker's peers tell
 * when something changed, and then the files are asked.
 */
#include <errno.h>
#include <stdlib.h>

#include "daemon/daemon.h"
#include "daemon/log.h"
#include "sys/cleanup.h"
#include "sys/file.h"
#include "sys/lock.h"

/* 0: none that is signed. */
static int door_number(int dir, tram_id node, uint64_t *ret_number) {
    OWNS_FD int file = sys_file_open(dir, "door", false);
    struct door door;
    int rc = file < 0 ? file : sys_file_read(file, &door, sizeof(door), 0);

    if (rc < 0 && rc != -ENOENT && rc != -ENODATA)
        return rc;
    *ret_number = rc == 0 && door.magic == DOOR_MAGIC && door.version == LAYOUT_VERSION &&
        door.id == node ? door.opens : 0;
    return 0;
}

int life_number(struct daemon *daemon, tram_id node, uint64_t *ret_number) {
    OWNS_FD int dir = files_node_dir(&daemon->bus, node, false);

    return dir < 0 ? dir : door_number(dir, node, ret_number);
}

int life_look(struct daemon *daemon, tram_id node, uint64_t *ret_number) {
    OWNS_FD int dir = files_node_dir(&daemon->bus, node, false);
    OWNS_FD int lock = -1;
    int rc;

    *ret_number = 0;
    if (dir == -ENOENT)
        return 0;
    if (dir < 0)
        return dir;
    lock = sys_lock_look(dir, "lock");
    rc = lock == -ENOENT ? 0 : lock < 0 ? lock : sys_lock_held(lock, LOCK_UP);
    if (rc <= 0)
        return rc;
    return door_number(dir, node, ret_number); /* whoever holds that byte has counted before */
}

struct life *life_find(struct daemon *daemon, tram_id node, uint64_t number) {
    struct life *life = daemon->lives;

    while (life && (life->node != node || life->number != number))
        life = life->next;
    return life;
}

static void on_state(struct worker_peer *peer, bool up, int32_t pid) {
    struct life *life = (struct life *) ((char *) peer - offsetof(struct life, peer));

    (void) up; /* it may have changed again: the files know */
    (void) pid;
    life_check(life);
}

int life_get(struct daemon *daemon, tram_id node, uint64_t number, struct life **ret_life) {
    struct life *life = life_find(daemon, node, number);
    int rc;

    if (!life) {
        life = calloc(1, sizeof(*life));
        if (!life)
            return -ENOMEM;
        life->daemon = daemon;
        life->node = node;
        life->number = number;
        life->peer.on_state = on_state;
        rc = worker_peer_add(daemon->worker, &life->peer, node);
        if (rc < 0) {
            free(life);
            return rc;
        }
        life->next = daemon->lives;
        daemon->lives = life;
    }
    *ret_life = life;
    return 0;
}

void life_put(struct life *life) {
    struct life **link = &life->daemon->lives;

    if (life->entries)
        return;
    while (*link != life)
        link = &(*link)->next;
    *link = life->next;
    worker_peer_remove(life->daemon->worker, &life->peer);
    free(life);
}

void life_check(struct life *life) {
    struct daemon *daemon = life->daemon;
    char text[TRAM_ID_TEXT];
    uint64_t number;
    bool last = false;
    int rc = life_look(daemon, life->node, &number);

    if (rc < 0) /* the machine's trouble of this moment; looked at again by housekeeping() */
        log_line(LEVEL_WARNING, "cannot look at node %s: error %d",
                 tram_id_format(life->node, text), -rc);
    if (rc < 0 || number == life->number)
        return;
    /* A forked child may still have its connection open. */
    for (struct conn *conn = daemon->conns; conn; conn = conn->next)
        if (conn->node == life->node && conn->life == life->number)
            conn_doom(conn, 0, "its node is gone");
    while (!last) {
        last = !life->entries->life_next; /* with the last one `life` is freed */
        names_drop(daemon, life->entries);
    }
}
