/* SPDX-License-Identifier: MIT
 *
 * Peers: their doors, and whether they are there.
 *
 * A node is up while byte 3 of its lock file is held: the kernel drops that when the process dies.
 * The file is a FIFO that only holders have open for writing, so that at the same moment it hangs
 * up at those who watch (sys/lock.h). A node that opens tells those who left a watch file in its
 * directory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "node/node.h"
#include "sys/bell.h"
#include "sys/cleanup.h"
#include "sys/file.h"
#include "sys/lock.h"

struct peer *peer_find(tram_node *node, tram_id id) {
    struct peer *peer = node->peers[door_bit(id)];

    while (peer && peer->id != id)
        peer = peer->next;
    return peer;
}

struct peer *peer_get(tram_node *node, tram_id id) {
    struct peer *peer = peer_find(node, id);
    struct peer **bucket = &node->peers[door_bit(id)];

    if (peer)
        return peer;
    peer = calloc(1, sizeof(*peer));
    if (!peer)
        return NULL;
    peer->id = id;
    peer->patience = REMOVER_WAIT;
    peer->bell = -1;
    peer->watch_fd = -1;
    peer->next = *bucket;
    *bucket = peer;
    return peer;
}

void peer_put(tram_node *node, struct peer *peer) {
    struct peer **link = &node->peers[door_bit(peer->id)];

    if (peer->out || peer->watched || peer->mirrored || peer->event_listed)
        return;
    while (*link != peer)
        link = &(*link)->next;
    *link = peer->next;
    peer_forget_door(peer);
    free(peer);
}

/* ---- doors ----------------------------------------------------------------------------------- */

void peer_forget_door(struct peer *peer) {
    sys_unmap(&peer->door);
    cleanup_fd(&peer->bell);
    peer->bell = -1;
}

/* Descriptors run out: those of bells are only kept to save an open. */
static void close_bells(tram_node *node) {
    for (uint32_t i = 0; i < LAYOUT_BITS; i++) {
        for (struct peer *peer = node->peers[i]; peer; peer = peer->next) {
            cleanup_fd(&peer->bell);
            peer->bell = -1;
        }
    }
}

/* Something in its directory, with those descriptors if it must be. */
static int open_at(tram_node *node, struct peer *peer,
                   int (*open)(tram_node *node, struct peer *peer, int dir)) {
    int rc = 0;

    for (int tries = 0; tries < 2; tries++) {
        OWNS_FD int dir = files_node_dir(&node->bus, peer->id, false);

        rc = dir < 0 ? dir : open(node, peer, dir);
        if (rc != -EMFILE)
            break;
        close_bells(node);
    }
    return rc;
}

static int open_its_door(tram_node *node, struct peer *peer, int dir) {
    peer->door_seen_at = 0; /* the first who knocks compares: it may have been opened long before */
    return door_open(dir, peer->id, node->mode, false, node->map_flags, &peer->door,
                     &peer->door_inode);
}

int peer_take_door(tram_node *node, struct peer *peer, int dir) {
    int rc = 0;

    if (peer->door.base)
        rc = files_door_version(dir) == LAYOUT_VERSION ? 0 : -EPROTO;
    else
        rc = open_its_door(node, peer, dir);
    return rc == -EPROTO ? rc : 0; /* who knocks is told the rest */
}

static int open_its_bell(tram_node *node, struct peer *peer, int dir) {
    int bell = sys_bell_open(dir, "bell");

    (void) node;
    if (bell < 0)
        return bell;
    peer->bell = bell;
    return 0;
}

/* Who took it away did not have to say so in its magic: now and then, look. */
static bool door_is_old(const tram_node *node, struct peer *peer) {
    char path[TRAM_ID_TEXT + sizeof("/door")];
    uint64_t now = sys_now();
    struct sys_stat st;

    if (now - peer->door_seen_at < DOOR_LOOK)
        return false;
    peer->door_seen_at = now;
    (void) tram_id_format(peer->id, path);
    (void) strcat(path, "/door");
    if (sys_stat_at(node->bus.dir, path, &st) < 0)
        return false; /* there is no other one */
    return st.inode != peer->door_inode;
}

int peer_door(tram_node *node, struct peer *peer, struct door **ret_door) {
    const struct door *door = peer->door.base;
    int rc = 0;

    if (!door || unlikely(load_relaxed(&door->magic) != DOOR_MAGIC) || door_is_old(node, peer)) {
        peer_forget_door(peer); /* it was removed: perhaps there is another one */
        rc = open_at(node, peer, open_its_door);
    }
    *ret_door = peer->door.base;
    return files_is_machine(rc) ? rc : 0; /* never opened: it looks at everything when it does */
}

/* The bell is a hint, and the re-look makes it right; but if it is the machine that refuses, who
 * rings has to know. */
static int ring(tram_node *node, struct peer *peer) {
    int rc = peer->bell < 0 ? open_at(node, peer, open_its_bell) : 0;

    if (rc == 0)
        rc = sys_bell_ring(peer->bell);
    return files_is_machine(rc) ? rc : 0;
}

int peer_knock(tram_node *node, struct peer *peer) {
    struct door *door;
    int rc = peer_door(node, peer, &door);

    return door && door_knock(door, node->id) ? ring(node, peer) : rc;
}

int peer_announce(tram_node *node, struct peer *peer) {
    struct door *door;
    int rc = peer_door(node, peer, &door);

    return door && door_announce(door) ? ring(node, peer) : rc;
}

/* ---- events ---------------------------------------------------------------------------------- */

void peer_event(tram_node *node, struct peer *peer, enum tram_event_type type) {
    peer->events |= 1u << type;
    if (peer->event_listed)
        return;
    peer->event_listed = true;
    peer->event_next = NULL;
    *node->events_end = peer;
    node->events_end = &peer->event_next;
}

/* Nothing is owed of these types any more. Who is on the list is owed something. */
void peer_no_event(tram_node *node, struct peer *peer, uint32_t types) {
    struct peer **link = &node->events;

    peer->events &= ~types;
    if (peer->events || !peer->event_listed)
        return;
    while (*link != peer)
        link = &(*link)->event_next;
    *link = peer->event_next;
    if (!*link)
        node->events_end = link;
    peer->event_listed = false;
}

struct look {
    bool known; /* it was opened once */
    bool up;
    struct door door;
};

/* The state of any node, from its files. ret_lock may be NULL: else it gets the caller a descriptor
 * that hangs up at the end of who holds the node now; -1 if it is not up. */
static int look_at(tram_node *node, tram_id id, struct look *ret_look, int *ret_lock) {
    OWNS_FD int dir = files_node_dir(&node->bus, id, false);
    OWNS_FD int lock = -1;
    OWNS_FD int file = -ENOENT;
    struct look look = {0};
    int held = 0;
    int rc;

    if (dir < 0 && dir != -ENOENT)
        return dir;
    if (dir >= 0) { /* first: who holds it has signed the door */
        lock = sys_lock_look(dir, "lock");
        held = lock < 0 ? lock : sys_lock_held(lock, LOCK_UP);
    }
    if (dir >= 0)
        file = sys_file_open(dir, "door", false);
    rc = file < 0 ? file : sys_file_read(file, &look.door, sizeof(look.door), 0);
    if (files_is_machine(rc))
        return rc; /* to say that it is down would be no truth */
    if (rc == 0 && look.door.magic == DOOR_MAGIC && look.door.version != LAYOUT_VERSION)
        return -EPROTO;
    look.known = rc == 0 && look.door.magic == DOOR_MAGIC && look.door.id == id &&
                 look.door.opens > 0;
    if (look.known && held < 0 && held != -ENOENT)
        return held;
    look.up = look.known && held == 1;
    *ret_look = look;
    if (ret_lock)
        *ret_lock = look.up ? take_fd(&lock) : -1;
    return 0;
}

static void stop_watching(tram_node *node, struct peer *peer) {
    if (peer->watch_fd >= 0)
        (void) sys_set_remove(node->set, peer->watch_fd); /* closing removes it, too */
    cleanup_fd(&peer->watch_fd);
    peer->watch_fd = -1;
}

/* The file that asks the peer to tell us: `tram rm` takes it away with the rest. */
static int watch_file_put(tram_node *node, tram_id id) {
    OWNS_FD int dir = files_node_dir(&node->bus, id, !is_ephemeral(id));
    OWNS_FD int file = -1;
    char name[FILES_NAME];

    if (dir < 0)
        return dir;
    if (files_door_version(dir) != LAYOUT_VERSION)
        return -EPROTO; /* it may call something else a watch */
    files_watch_name(name, node->id);
    file = sys_file_open_or_make(dir, name, node->mode);
    return file < 0 ? file : 0;
}

void peer_check(tram_node *node, struct peer *peer) {
    OWNS_FD int lock = -1;
    struct look look;
    int rc;

    if (!peer->watched)
        return;
    /* First: who opens between this and the look tells us. */
    (void) watch_file_put(node, peer->id);
    rc = look_at(node, peer->id, &look, &lock);
    if (rc < 0) {
        node->recheck |= rc != -EPROTO;
        return;
    }
    if (peer->up && (!look.up || look.door.opens != peer->opens)) {
        peer->up = false;
        stop_watching(node, peer);
        peer_event(node, peer, TRAM_EVENT_DOWN);
    }
    if (look.up && !peer->up) {
        peer->up = true;
        peer->opens = look.door.opens;
        peer->pid = files_pid(&look.door, node->pid_namespace);
        peer_event(node, peer, TRAM_EVENT_UP);
    }
    if (look.up && peer->watch_fd < 0) {
        peer->watch_fd = take_fd(&lock);
        (void) sys_set_add_end(node->set, peer->watch_fd, peer->id); /* else the re-look notices */
    }
}

void peers_check(tram_node *node) {
    for (uint32_t i = 0; i < LAYOUT_BITS; i++) {
        for (struct peer *peer = node->peers[i]; peer; peer = peer->next)
            peer_check(node, peer);
    }
}

void peers_check_ended(tram_node *node) {
    uint32_t ids[16];
    int count = sys_set_ready(node->set, ids, 16);

    if (unlikely(node->recheck)) {
        node->recheck = false;
        peers_check(node);
    }

    for (int i = 0; i < count; i++) {
        struct peer *peer = ids[i] ? peer_find(node, ids[i]) : NULL;

        if (!peer)
            continue;
        stop_watching(node, peer);
        peer_check(node, peer);
    }
}

static int refused(tram_node *node, tram_id id, int rc, const char *what) {
    OWNS_FD int dir = files_node_dir(&node->bus, id, false);

    if (rc == -EPROTO)
        return error_set(&node->error, rc,
                         "cannot %s the peer: it is one of layout version %u, this tram has %u",
                         what, files_door_version(dir), LAYOUT_VERSION);
    return error_set(&node->error, rc, "cannot %s the peer: %s", what, strerror(-rc));
}

int tram_watch(tram_node *node, tram_id id) {
    struct peer *peer;
    int rc = node_enter(node);

    if (rc < 0)
        return rc;
    if (id == 0 || id == UINT32_MAX)
        return node_leave(node, error_set(&node->error, -EINVAL, "not an ID"));
    peer = peer_get(node, id);
    rc = !peer ? -ENOMEM : node->set < 0 ? node_make_set(node) : 0;
    if (rc == 0)
        rc = watch_file_put(node, id);
    if (rc < 0)
        return node_leave(node, refused(node, id, rc, "watch"));
    if (!peer->watched) {
        peer->watched = true;
        node->watches++;
        peer_check(node, peer);
    }
    return node_leave(node, 0);
}

void watch_file_remove(tram_node *node, tram_id id) {
    OWNS_FD int dir = files_node_dir(&node->bus, id, false);
    char name[FILES_NAME];

    files_watch_name(name, node->id);
    if (dir >= 0)
        (void) sys_unlink(dir, name); /* a stale one costs its owner one look */
}

int tram_unwatch(tram_node *node, tram_id id) {
    struct peer *peer;
    int rc = node_enter(node);

    if (rc < 0)
        return rc;
    peer = peer_find(node, id);
    if (peer && peer->watched) {
        peer->watched = false;
        peer->up = false;
        node->watches--;
        stop_watching(node, peer);
        peer_no_event(node, peer, 1u << TRAM_EVENT_UP | 1u << TRAM_EVENT_DOWN);
        watch_file_remove(node, id);
    }
    return node_leave(node, 0);
}

struct telling {
    tram_node *node;
    uint32_t told;
};

/* Whose directory is gone does not watch any more. */
static int tell(void *context, const char *name, uint64_t inode) {
    struct telling *telling = context;
    struct peer watcher = {.bell = -1, .watch_fd = -1};
    tram_node *node = telling->node;
    uint64_t number;
    int dir;

    (void) inode;
    if (files_parse(name, &watcher.id, &number) != FILE_WATCH)
        return 0;
    dir = files_node_dir(&node->bus, watcher.id, false);
    if (dir == -ENOENT)
        (void) sys_unlink(node->dir, name); /* or the next time */
    else
        (void) peer_announce(node, &watcher); /* else it notices by its re-look */
    cleanup_fd(&dir);
    peer_forget_door(&watcher);
    return ++telling->told == WATCHERS_MAX;
}

void peers_tell_watchers(tram_node *node) {
    struct telling telling = {.node = node};

    (void) sys_dir_each(node->dir, tell, &telling); /* else their re-look notices */
}

/* ---- questions ------------------------------------------------------------------------------- */

/* One direction, from its files; zeros if there is no channel, or none that makes sense. `to` is
 * the end whose directory it is. */
static int look_at_way(tram_node *node, tram_id from, tram_id to, struct tram_way *ret_way) {
    OWNS_FD int dir = files_node_dir(&node->bus, to, false);
    struct channel_look look;
    int rc = dir < 0 ? dir : channel_look(dir, from, to, &look);

    if (files_is_machine(rc))
        return error_channel(&node->error, rc, from, to, "cannot look at the channel: %s",
                             strerror(-rc));
    if (rc == 0)
        *ret_way = (struct tram_way){.accepted = look.accepted,
                                     .consumed = look.consumed,
                                     .bytes = look.tail - look.committed,
                                     .lost = look.lost};
    return 0;
}

int tram_peer(tram_node *node, tram_id id, struct tram_peer *ret_peer) {
    struct tram_peer peer = {.id = id};
    struct look look;
    int rc = node_enter(node);

    if (rc < 0)
        return rc;
    if (!ret_peer || id == 0 || id == UINT32_MAX)
        return node_leave(node, error_set(&node->error, -EINVAL, "not an ID, or no ret_peer"));
    rc = look_at(node, id, &look, NULL);
    if (rc < 0)
        return node_leave(node, refused(node, id, rc, "look at"));
    if (look.known) {
        peer.state = look.up ? TRAM_PEER_UP : TRAM_PEER_DOWN;
        peer.pid = files_pid(&look.door, node->pid_namespace);
        peer.foreign_pid = peer.pid == 0 ? (int32_t) look.door.pid : 0;
        peer.since_ns = !look.up && look.door.closed_ns ? look.door.closed_ns
                                                        : look.door.opened_ns;
        memcpy(peer.program, look.door.program, sizeof(peer.program));
        peer.program[sizeof(peer.program) - 1] = '\0';
        peer.gone = look.door.gone;
    }
    rc = look_at_way(node, node->id, id, &peer.to);
    if (rc == 0)
        rc = look_at_way(node, id, node->id, &peer.from);
    if (rc == 0)
        *ret_peer = peer;
    return node_leave(node, rc);
}

int tram_accepted(tram_node *node, tram_id to, uint64_t *ret_count) {
    struct tram_way way = {0};
    struct peer *peer;
    int rc = node_enter(node);

    if (rc < 0)
        return rc;
    if (!ret_count || to == 0 || to == UINT32_MAX)
        return node_leave(node, error_set(&node->error, -EINVAL, "not an ID, or no ret_count"));
    peer = peer_find(node, to);
    if (peer && peer->out && !peer->out->broken &&
        !(load_relaxed(&peer->out->tx.head->armed) & ARMED_REMOVED)) {
        const struct ring_tx *tx = &peer->out->tx;

        *ret_count = load_relaxed(&tx->words->accepted[WORD_SLOT(tx->tail)]);
        return node_leave(node, 0);
    }
    rc = look_at_way(node, node->id, to, &way);
    if (rc == 0)
        *ret_count = way.accepted;
    return node_leave(node, rc);
}
