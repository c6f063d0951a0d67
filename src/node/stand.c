/* SPDX-License-Identifier: MIT
 *
 * The stand itself: custody, waking, and what is told.
 *
 * It sleeps and wakes as a node does (wait.c), with one difference: a channel that the daemon was
 * told of (STAND_MORE) and has not read to its end is neither looked at nor armed, for the link may
 * be slow or cut for long. stand_in_run() arms it when it finds nothing more, also while the stand
 * sleeps: F2 and the look after it are the same.
 */
#include "node/stand.h"

#include <stdlib.h>
#include <string.h>

#include "node/disk.h"
#include "node/mirror.h"
#include "node/stand_inner.h"
#include "sys/bell.h"
#include "sys/cleanup.h"
#include "sys/file.h"
#include "sys/lock.h"

#define SLEEP_TRIES 16u /* who is knocked without end lets its loop do other things */

/* ---- life ------------------------------------------------------------------------------------ */

int stand_new(const struct bus *bus, tram_id id, uint64_t ring_max, struct stand **ret_stand) {
    struct stand *stand = calloc(1, sizeof(*stand));
    tram_node *node;
    int rc;

    if (!stand)
        return -ENOMEM;
    node = &stand->node;
    bias_init(&node->entry);
    node->bus = *bus;
    node->dir = node->lock = node->bell = node->set = -1;
    node->standing = true;
    node->id = id;
    node->mode = bus->mode;
    node->ring_size = DEFAULT_RING;
    node->ring_max = ring_max ? ring_max : DEFAULT_RING_MAX;
    node->keep = DEFAULT_KEEP;
    node->attempts = DEFAULT_ATTEMPTS;
    node->map_flags = SYS_MAP_GUARD;
    node->events_end = &node->events;
    node->size_limit = UINT64_MAX;
    node->trim_at = UINT64_MAX;
    node->relook_at = UINT64_MAX;
    node->last_to = UINT64_MAX;
    stand->news_end = &stand->news;
    rc = fork_register(node);
    if (rc < 0) {
        free(stand);
        return rc;
    }
    *ret_stand = stand;
    return 0;
}

static void free_gone(struct stand *stand) {
    while (stand->gone) {
        struct stand_in *in = stand->gone;

        stand->gone = in->news_next;
        (void) stand_in_free(in);
    }
}

struct stand *stand_free(struct stand *stand) {
    tram_node *node;

    if (!stand)
        return NULL;
    node = &stand->node;
    while (stand->outs)
        (void) stand_out_close(stand->outs);
    stand_let_go(stand);
    fork_unregister(node);
    for (uint32_t i = 0; i < LAYOUT_BITS; i++) {
        while (node->peers[i]) {
            struct peer *peer = node->peers[i];

            node->peers[i] = peer->next;
            peer_forget_door(peer);
            free(peer);
        }
    }
    free(stand);
    return NULL;
}

/* ---- hearing --------------------------------------------------------------------------------- */

void stand_in_tell(struct stand_in *in, enum stand_what what) {
    struct stand *stand = in->stand;

    in->news |= 1u << what;
    if (in->listed)
        return;
    in->listed = true;
    in->news_next = NULL;
    *stand->news_end = in;
    stand->news_end = &in->news_next;
}

/* Somebody opens the node if byte 0 is held: we don't. */
static void ask_opener(struct stand *stand) {
    tram_node *node = &stand->node;
    bool opener = sys_lock_held(node->lock, LOCK_IDENTITY) == 1;

    stand->attached = node->attached;
    stand->opener = opener && !stand->opener_told;
    stand->opener_told = opener;
}

/* What the node has to say: a channel was closed, or the directory can't be read. */
static void hear(struct stand *stand) {
    tram_node *node = &stand->node;

    while (node->bad) {
        int unscanned = node->unscanned;
        int rc;
        struct peer *peer;

        node->unscanned = 0; /* said once, below */
        rc = ins_say_broken(node);
        node->unscanned = unscanned;
        if (rc == 0)
            break;
        peer = rc == -EBADMSG ? peer_find(node, node->error.from) : NULL;
        if (peer && peer->in && !peer->in->stand)
            (void) stand_in_look(stand, peer->in);
        if (peer && peer->in && peer->in->stand) {
            struct stand_in *in = peer->in->stand;

            memcpy(in->text, node->error.text, sizeof(in->text));
            stand_in_tell(in, STAND_BROKEN);
        } else if (rc != -EBADMSG) {
            memcpy(stand->text, node->error.text, sizeof(stand->text));
            stand->trouble = true;
        }
    }
    node->bad = false;
}

/* Look at those that are awake, tell of them, and leave them alone from then on. */
static void collect(struct stand *stand) {
    tram_node *node = &stand->node;

    for (uint32_t left = node->hot_count; left > 0; left--) {
        struct in *in = node->hot;

        in_cool(node, in);
        (void) stand_in_look(stand, in); /* no memory: at the next re-look */
    }
    while (node->events) {
        struct peer *peer = node->events;
        struct stand_out *out = stand_out_find(stand, peer->id);

        if (out && peer->events & 1u << TRAM_EVENT_SPACE)
            out->freed = true;
        peer_no_event(node, peer, peer->events);
    }
    if (node->bad)
        hear(stand);
    if (node->attached != stand->attached)
        ask_opener(stand);
}

/* ---- custody --------------------------------------------------------------------------------- */

bool stand_is_held(const struct stand *stand) {
    return stand->node.lock >= 0;
}

static int busy(const tram_node *node, struct tram_error *error) {
    struct holder holder;
    char text[TRAM_ID_TEXT];

    files_holder(node->dir, &holder);
    (void) error_set(error, -EBUSY, "node %s is held by %s", tram_id_format(node->id, text),
                     files_held(node->dir) ? holder.text : "who acts for it");
    error->pid = holder.pid;
    return -EBUSY;
}

/* Byte 1, while byte 0 is free. Not byte 2: who makes a channel would wait for us. */
static int take_lock(struct stand *stand, struct tram_error *error) {
    tram_node *node = &stand->node;
    OWNS_FD int lock = -1;
    struct sys_stat st;
    int rc;

    if (!stand->expected && files_held(node->dir))
        return busy(node, error);
    if (files_door_version(node->dir) != LAYOUT_VERSION)
        return error_set(error, -EPROTO, "the node's files are of layout version %u",
                         files_door_version(node->dir));
    lock = sys_lock_open(node->dir, "lock", node->mode);
    rc = lock < 0 ? lock : sys_lock(lock, LOCK_CUSTODY);
    if (rc == -EAGAIN)
        return busy(node, error);
    if (rc == 0 && !stand->expected)
        rc = sys_lock_held(lock, LOCK_IDENTITY);
    if (rc == 1)
        return busy(node, error); /* an opener, who waits for the custody; closing gives it */
    if (rc == 0)
        rc = sys_stat_fd(lock, &st);
    if (rc == 0 && st.links == 0)
        rc = -ENOENT; /* the directory is being removed: again */
    if (rc < 0)
        return error_set(error, rc, "cannot lock the node: %s", strerror(-rc));
    node->lock = take_fd(&lock);
    return 0;
}

/* What R sent when it ran here is looked after by its custodian: on a disk, after a restart of the
 * machine, before anybody receives it. */
static int repair_one(void *context, const char *name, uint64_t inode) {
    tram_node *node = context;
    OWNS_FD int mark = -1;
    OWNS_FD int dir = -1;
    struct peer *peer;
    tram_id to;

    (void) inode;
    if (tram_id_parse(name, &to) < 0)
        return 0;
    dir = sys_dir_open(node->bus.dir, name);
    if (dir < 0 || mirror_guard(dir, node->id, &mark) < 0 ||
        disk_repair_streams(&node->bus, dir, node->id, to) < 0)
        return 0; /* none from here, or broken, which its receiver says */
    peer = peer_get(node, to);
    if (peer)
        (void) peer_announce(node, peer); /* or it re-looks */
    return 0;
}

void stand_expect(struct stand *stand, bool opener) {
    stand->expected = opener;
}

int stand_take(struct stand *stand, struct tram_error *ret_error) {
    tram_node *node = &stand->node;
    int rc = -ENOENT;

    if (stand_is_held(stand))
        return 0;
    for (int tries = 0; tries < 16 && rc == -ENOENT; tries++) {
        /* Also of an ephemeral one, of another host's block: for what it sends, and its answers. */
        node->dir = files_node_dir(&node->bus, node->id, true);
        if (node->dir < 0)
            return error_set(ret_error, node->dir, "cannot open the node's directory: %s",
                             strerror(-node->dir));
        rc = take_lock(stand, ret_error);
        if (rc < 0) {
            cleanup_fd(&node->dir);
            node->dir = -1;
        }
    }
    if (rc == 0)
        rc = node_open_door(node, ret_error);
    if (rc == 0 && on_disk(&node->bus))
        (void) sys_dir_each(node->bus.dir, repair_one, node);
    if (rc == 0) {
        rc = ins_scan(node);
        if (rc < 0)
            *ret_error = node->error;
    }
    if (rc < 0) {
        stand_let_go(stand);
        return rc;
    }
    stand->opener_told = false;
    ask_opener(stand); /* who came before there was a door */
    collect(stand);
    node->fd_given = true; /* a late ring is emptied, see node_sleeps_on() */
    node->lit = true;
    node->relook_anew = true;
    node->relook_at = sys_now() + SYS_SECOND;
    return 0;
}

void stand_let_go(struct stand *stand) {
    tram_node *node = &stand->node;

    for (uint32_t i = 0; i < LAYOUT_BITS; i++) {
        for (struct peer *peer = node->peers[i]; peer; peer = peer->next) {
            struct in *in = peer->in;

            if (in && !in->broken && WORD_POSITION(in->rx.committed) != in->rx.freed)
                in_give(node, in);
            if (!in)
                continue;
            in_cool(node, in);
            peer->in = NULL;
            (void) in_free(in);
        }
    }
    node->ins = 0;
    while (stand->ins)
        (void) stand_in_free(stand->ins);
    stand->news = NULL;
    stand->news_end = &stand->news;
    stand->gone = NULL; /* they were among them */
    stand->opener = stand->trouble = false;
    stand->pasts = 0;
    if (node->door)
        door_wake(node->door);
    sys_unmap(&node->door_map);
    node->door = NULL;
    node->asleep = false;
    node->bad = false;
    node->relook_at = UINT64_MAX;
    if (node->lock >= 0) /* a child that is forked this moment has it, too */
        (void) sys_unlock(node->lock, LOCK_CUSTODY);
    cleanup_fd(&node->lock);
    cleanup_fd(&node->bell);
    cleanup_fd(&node->dir);
    node->lock = node->bell = node->dir = -1;
}

int stand_fd(const struct stand *stand) {
    return stand_is_held(stand) ? stand->node.bell : -EBADF;
}

/* ---- what is told ---------------------------------------------------------------------------- */

static bool pop_in(struct stand *stand, struct stand_news *ret_news) {
    struct stand_in *in = stand->news;
    enum stand_what what;

    if (!in)
        return false;
    what = (enum stand_what) __builtin_ctz(in->news);
    in->news &= ~(1u << what);
    if (in->news == 0) {
        in->listed = false;
        stand->news = in->news_next;
        if (!stand->news)
            stand->news_end = &stand->news;
        if (what == STAND_GONE) {
            in->news_next = stand->gone;
            stand->gone = in;
        }
    }
    *ret_news = (struct stand_news){.what = what, .in = in, .text = in->text};
    return true;
}

static bool pop(struct stand *stand, struct stand_news *ret_news) {
    if (stand->opener) {
        stand->opener = false;
        *ret_news = (struct stand_news){.what = STAND_OPENER};
        return true;
    }
    if (stand->trouble) {
        stand->trouble = false;
        *ret_news = (struct stand_news){.what = STAND_TROUBLE, .text = stand->text};
        return true;
    }
    if (pop_in(stand, ret_news))
        return true;
    for (struct stand_out *out = stand->outs; out; out = out->next) {
        if (out->freed) {
            out->freed = false;
            *ret_news = (struct stand_news){.what = STAND_FREED, .out = out};
            return true;
        }
    }
    return false;
}

/* ---- sleeping -------------------------------------------------------------------------------- */

static bool is_knocked(const tram_node *node) {
    return door_bits(node->door) || load_relaxed(&node->door->attached) != node->attached;
}

bool stand_is_knocked(const struct stand *stand) {
    return stand_is_held(stand) && is_knocked(&stand->node);
}

/* All rings are armed, or the daemon's to read: sleep, unless somebody knocked. */
static bool go_to_sleep(tram_node *node) {
    if (node->lit) {
        (void) sys_bell_drain(node->bell);
        node->lit = false;
    }
    if (!door_sleep(node->door, node->attached)) {
        door_wake(node->door);
        return false;
    }
    node->asleep = true;
    node->relook_anew = true;
    return true;
}

/* False: asleep, and to stay so. */
static bool wake(tram_node *node) {
    bool rung;

    if (!node->asleep)
        return true;
    rung = sys_bell_drain(node->bell); /* so it need not be emptied on the way back to sleep */
    if (is_knocked(node))
        return true;
    if (rung && node->relook_at > node->relooked_at + 100 * SYS_MILLISECOND)
        node->relook_at = node->relooked_at + 100 * SYS_MILLISECOND;
    return false;
}

int stand_next(struct stand *stand, struct stand_news *ret_news) {
    tram_node *node = &stand->node;

    free_gone(stand);
    if (!stand_is_held(stand))
        return 0;
    for (;;) {
        if (node->hot || node->events || node->bad)
            collect(stand);
        if (pop(stand, ret_news)) {
            stand->tries = 0;
            return 1;
        }
        if (!wake(node))
            return 0;
        if (is_knocked(node) || node->asleep) {
            node_wake(node);
            collect(stand);
            if (stand->tries++ < SLEEP_TRIES)
                continue;
            (void) sys_bell_ring(node->bell); /* knocked without end: the loop comes again */
        }
        if (pop(stand, ret_news)) {
            stand->tries = 0;
            return 1;
        }
        if (go_to_sleep(node) || stand->tries >= SLEEP_TRIES) {
            stand->tries = 0;
            return 0;
        }
    }
}

uint64_t stand_due(struct stand *stand, uint64_t now) {
    tram_node *node = &stand->node;
    uint64_t next;

    if (!stand_is_held(stand)) {
        if (now >= node->trim_at)
            outs_trim(node, now);
        return node->trim_at;
    }
    if (node->scan_owed && now >= node->scan_at)
        node_scan(node, false);
    if (now >= node->relook_at)
        ask_opener(stand);
    node_due(node, now);
    next = node->trim_at < node->relook_at ? node->trim_at : node->relook_at;
    if (node->scan_owed && node->scan_at < next)
        next = node->scan_at;
    return next;
}
