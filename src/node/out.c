/* SPDX-License-Identifier: MIT
 *
 * A channel's sending end, off the fast path: made or found at the first message, rung, waited for
 * when it is full, and found closed.
 *
 * Attaching. The files are made complete under hidden names and renamed, head first; then the
 * receiver is told (door.attached), and then we map them, all before the first publish. Who dies in
 * between leaves either nothing visible or a channel that his successor finds and announces again,
 * and that the receiver's re-look finds anyway.
 *
 * Closed. Somebody who removes the receiver stores ARMED_CLOSED, fences, and looks at our tail; we
 * store the tail, fence, and look at armed. So either he sees our message (and does not remove, or
 * counts it as lost), or we see that it is closed before we say that it was accepted. Then we take
 * ARMED_CLOSED off, and he sets ARMED_FINAL if it is still on, each in one step: one of us comes
 * first. Final is for ever: it was not accepted, and nobody hands it out. He unlinks the files
 * then, or we if he died, or the receiver if we don't run.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "node/custody.h"
#include "node/disk.h"
#include "node/mirror.h"
#include "node/node.h"
#include "sys/cleanup.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"

struct out *out_free(struct out *out) {
    if (!out)
        return NULL;
    while (out->old) {
        struct old_stream *old = out->old;

        out->old = old->next;
        sys_unmap(&old->map);
        free(old);
    }
    sys_unmap(&out->map);
    sys_unmap(&out->head_map);
    cleanup_fd(&out->fd);
    cleanup_fd(&out->mark); /* and with it the lock */
    free(out);
    return NULL;
}

static void out_free_p(struct out **out) {
    (void) out_free(*out);
}

/* ---- attaching ------------------------------------------------------------------------------- */

int out_make_channel(int dir, struct out *out, const struct stream_plan *plan, int *ret_head) {
    char name[FILES_NAME];
    int rc;

    /* A remover may have found the head of an attempt before this one, and not yet its stream: with
     * another head beside it, that would be a channel that is broken. */
    files_stream_name(name, plan->from, 0);
    rc = sys_unlink(dir, name);
    if (rc == 0 || rc == -ENOENT)
        rc = head_make(dir, plan, ret_head);
    if (rc < 0)
        return rc;
    rc = stream_make(dir, plan, &out->fd);
    if (rc < 0) { /* a head alone is nothing, but has memory */
        files_head_name(name, plan->from);
        (void) sys_unlink(dir, name);
    }
    return rc;
}

static int make_channel(tram_node *node, int dir, struct out *out, uint64_t capacity,
                        int *ret_head) {
    struct stream_plan plan = {
        .from = node->id,
        .to = out->peer->id,
        .mode = node->mode,
        .capacity = capacity,
        .boot = node->bus.boot,
    };
    int rc = sys_random(&plan.id, sizeof(plan.id));

    return rc < 0 ? rc : out_make_channel(dir, out, &plan, ret_head);
}

/* A predecessor died between making a successor stream and linking to it: link now. */
static int finish_link(tram_node *node, int dir, struct out *out, struct old_stream *old,
                       const struct stream_facts *facts, uint64_t base) {
    struct stream *words = stream_words(&old->map);
    OWNS_FD int fd = -1;
    char name[FILES_NAME];
    struct ring_tx tx;
    int rc;

    if (WORD_POSITION(load_relaxed(&words->tail)) == base)
        return 0;
    if (load_acquire(&((const struct head *) out->head_map.base)->head) >= base)
        return 0; /* the receiver is beyond it: somebody purged */
    rc = ring_tx_init(&tx, words, stream_data(&old->map), out->head_map.base, facts->capacity,
                      facts->base, facts->base_seq);
    if (rc < 0 || tx.pos + LINK_SPAN != base)
        return -EBADMSG;
    files_stream_name(name, node->id, old->generation);
    fd = sys_file_open(dir, name, true);
    if (fd < 0)
        return fd;
    rc = sys_file_reserve(fd, LAYOUT_DATA + (tx.pos & tx.mask & ~UINT64_C(4095)), 4096);
    if (rc < 0)
        return rc;
    (void) ring_tx_link(&tx, node->id); /* announced below: no need to knock */
    return 0;
}

/* Map the generations before the newest, which still have to be drained. */
static int open_old(tram_node *node, int dir, struct out *out, uint32_t lowest, uint64_t base) {
    for (uint32_t generation = out->generation; generation > lowest; generation--) {
        OWNS_MEMORY struct old_stream *old = calloc(1, sizeof(*old));
        struct stream_facts facts;
        int rc;

        if (!old)
            return -ENOMEM;
        old->generation = generation - 1;
        old->end = base;
        rc = stream_open(dir, node->id, out->peer->id, old->generation,
                         SYS_MAP_WRITE | node->map_flags, &old->map, &facts, NULL);
        if (rc < 0)
            return rc == -ENOENT ? -EBADMSG : rc;
        rc = facts.id != out->id || facts.base > base ? -EBADMSG : 0;
        if (rc == 0 && generation == out->generation)
            rc = finish_link(node, dir, out, old, &facts, base);
        if (rc < 0) {
            sys_unmap(&old->map);
            return rc;
        }
        base = facts.base;
        old->next = out->old;
        out->old = old;
        old = NULL;
    }
    return 0;
}

/* Map what lies there (or what we made: it is open) and go on where its words stand. */
int out_open_channel(tram_node *node, int dir, struct out *out, int made_head, uint32_t lowest,
                     uint32_t highest) {
    uint32_t flags = SYS_MAP_WRITE | node->map_flags;
    tram_id to = out->peer->id;
    struct stream_facts facts;
    struct head_facts head;
    int rc;

    out->generation = highest;
    rc = made_head >= 0
             ? head_map(made_head, node->id, to, node->map_flags, &out->head_map, &head)
             : head_open(dir, node->id, to, node->map_flags, &out->head_map, &head);
    if (rc == 0)
        rc = made_head >= 0
                 ? stream_map(out->fd, node->id, to, highest, flags, &out->map, &facts)
                 : stream_open(dir, node->id, to, highest, flags, &out->map, &facts, &out->fd);
    if (rc < 0)
        return rc;
    if (facts.id != head.id)
        return -EBADMSG;
    out->id = head.id;
    out->head_inode = head.inode;
    out->capacity = facts.capacity;
    out->chunk = facts.capacity / 8 < UINT64_C(65536) ? facts.capacity / 8 : UINT64_C(65536);
    rc = ring_tx_init(&out->tx, stream_words(&out->map), stream_data(&out->map),
                      out->head_map.base, facts.capacity, facts.base, facts.base_seq);
    if (rc < 0)
        return rc;
    if (on_disk(&node->bus))
        rc = disk_take_stream(&node->bus, dir, out);
    if (rc < 0)
        return rc;
    /* What a predecessor had reserved is unknown: from here on, reserve again. */
    out->kept = out->reserved = out->tx.pos;
    return open_old(node, dir, out, lowest, facts.base);
}

/* What gets all of its memory first is announced when it has it: its receiver touches all of it. */
static bool is_pinned(const tram_node *node, tram_id to) {
    return layout_find(node->layout, node->id, to) ||
           (node->flags & (TRAM_OPEN_PREFAULT | TRAM_OPEN_LOCK));
}

static int attach(tram_node *node, int dir, struct peer *peer, bool make, uint64_t capacity,
                  struct out **ret_out) {
    __attribute__((cleanup(out_free_p))) struct out *out = calloc(1, sizeof(*out));
    OWNS_FD int head = -1;
    uint32_t lowest = 0;
    uint32_t highest = 0;
    int rc;

    if (!out)
        return -ENOMEM;
    out->fd = out->mark = -1;
    out->peer = peer;
    out->ring_max = node->ring_max;
    rc = files_generations(dir, node->id, &lowest, &highest);
    if (rc == 0)
        rc = head_is_final(dir, node->id);
    if (rc == 1) { /* what a remover left, or is about to remove: ours as well */
        rc = custody_unlink_channel(dir, node->id);
        if (rc == 0)
            rc = -ENOENT;
    }
    if (rc == -ENOENT && make) {
        lowest = highest = 0; /* what a remover left may have been grown */
        rc = make_channel(node, dir, out, capacity, &head);
        out->announced = rc == 0 && !is_pinned(node, peer->id);
        if (out->announced) /* now: it wakes, and looks at the directory, while we map */
            rc = peer_announce(node, peer);
    } else if (rc == 0 && on_disk(&node->bus)) {
        rc = disk_repair_streams(&node->bus, dir, node->id, peer->id);
        if (rc == 0)
            rc = files_generations(dir, node->id, &lowest, &highest);
    }
    if (rc == 0)
        rc = out_open_channel(node, dir, out, head, lowest, highest);
    if (rc < 0)
        return rc;
    *ret_out = out;
    out = NULL;
    return 0;
}

/* Of the receiver, or of what lies at it from an earlier process of ours. */
static int other_layout(tram_node *node, tram_id to) {
    OWNS_FD int dir = files_node_dir(&node->bus, to, false);
    uint32_t version = files_door_version(dir);

    if (version == LAYOUT_VERSION)
        version = files_channel_version(dir, node->id);
    return error_channel(&node->error, -EPROTO, node->id, to,
                         "the files there are of a tram with layout version %u, this one has %u; "
                         "end what uses them, and remove them with the tram that made them",
                         version, LAYOUT_VERSION);
}

static int attach_failed(tram_node *node, tram_id to, int rc) {
    if (rc == -EBADMSG)
        return error_channel(&node->error, -ENOTRECOVERABLE, node->id, to,
                             "the channel's files contradict each other; `tram purge` makes it "
                             "usable again");
    if (rc == -EPROTO)
        return other_layout(node, to);
    if (rc == -ENOENT)
        return rc;
    return error_channel(&node->error, rc, node->id, to, "cannot make or map the channel: %s%s",
                         strerror(-rc),
                         rc == -ENOSPC ? "; the file system of the bus is full" : "");
}

static int ephemeral_gone(tram_node *node, tram_id to) {
    return error_channel(&node->error, -EHOSTUNREACH, node->id, to,
                         "the ephemeral node is gone, and what was sent to it as well");
}

/* Planned channels, and all of a node opened so, get their memory now. */
static int pin(const tram_node *node, struct out *out, const struct layout_channel *plan) {
    uint32_t flags = 0;

    if (!plan && !(node->flags & (TRAM_OPEN_PREFAULT | TRAM_OPEN_LOCK)))
        return 0;
    if ((node->flags & TRAM_OPEN_PREFAULT) || (plan && plan->prefault))
        flags |= SYS_MAP_PREFAULT;
    if ((node->flags & TRAM_OPEN_LOCK) || (plan && plan->lock))
        flags |= SYS_MAP_PREFAULT | SYS_MAP_LOCK;
    return out_pin(out, flags);
}

/* Is the channel that we have still the one in the directory? 1, 0 or a negative errno. */
static int lies_in(const tram_node *node, int dir, const struct peer *peer) {
    uint64_t inode;
    int rc = dir < 0 ? dir : head_inode(dir, node->id, &inode);

    if (rc < 0)
        return rc == -ENOENT ? 0 : rc;
    return inode == peer->out->head_inode;
}

static int still_there(tram_node *node, struct peer *peer) {
    OWNS_FD int dir = files_node_dir(&node->bus, peer->id, false);

    return lies_in(node, dir, peer);
}

/* Is what we published still in a file that has its name? Asked without a new descriptor: there may
 * be none. 1, 0 or a negative errno. */
static int still_linked(tram_node *node, struct peer *peer) {
    struct sys_stat st;
    int rc = sys_stat_fd(peer->out->fd, &st);

    return rc < 0 ? still_there(node, peer) : st.links > 0;
}

/* Does anybody act for the receiver who is not the receiver? 1, 0 or a negative errno; -ENOENT: it
 * has no lock, for it never ran, or the remover is through: the lock goes last. */
static int look_for_remover(int dir) {
    OWNS_FD int lock = dir < 0 ? dir : sys_lock_look(dir, "lock");

    return lock < 0 ? lock : sys_lock_held(lock, LOCK_PROXY);
}

/* A remover that was at work while the files were made may have unlinked them by their names
 * without having closed this channel; or may be about to. So wait for his end, and look; whoever
 * begins later finds them whole, and closes them first. Who made them, we or a process before us
 * that died then, does not matter. 0, or -ENOENT: to be made again. Who only wants to tell the
 * receiver of them (not `make`) does not wait: it does not run. All of this in `dir`: if it was
 * removed itself, nothing lies in it. */
int out_outlive_remover(tram_node *node, int dir, struct peer *peer, bool make) {
    uint64_t begin = sys_now();
    int rc;

    while ((rc = look_for_remover(dir)) == 1) {
        if (!make)
            return -ETIMEDOUT;
        if (sys_now() - begin >= peer->patience) {
            peer->patience = 0;
            return -ETIMEDOUT;
        }
        sys_relax();
    }
    if (rc == 0 || rc == -ENOENT)
        rc = lies_in(node, dir, peer);
    if (rc > 0)
        rc = still_linked(node, peer);
    return rc > 0 ? 0 : rc == 0 ? -ENOENT : rc;
}

/* The receiver's directory, and our channel in it. */
static int find_or_make(tram_node *node, tram_id to, bool make, uint64_t capacity,
                        struct peer **ret_peer) {
    OWNS_FD int dir = files_node_dir(&node->bus, to, make && !is_ephemeral(to));
    struct peer *peer;
    int rc;

    if (dir == -ENOENT && is_ephemeral(to))
        return -EHOSTUNREACH;
    if (dir < 0)
        return dir;
    peer = peer_get(node, to);
    if (!peer)
        return -ENOMEM;
    rc = peer_take_door(node, peer, dir);
    if (rc == 0 && unlikely(node->cluster))
        rc = mirror_refuses(dir, node->id);
    if (rc < 0) {
        peer_put(node, peer);
        return rc;
    }
    rc = attach(node, dir, peer, make, capacity, &peer->out);
    if (rc == 0)
        rc = out_outlive_remover(node, dir, peer, make);
    if (rc < 0) {
        peer->out = out_free(peer->out);
        return rc;
    }
    peer->patience = REMOVER_WAIT; /* for the next one */
    *ret_peer = peer;
    return 0;
}

int out_get(tram_node *node, tram_id to, bool make, struct peer **ret_peer) {
    const struct layout_channel *plan;
    struct peer *peer = peer_find(node, to);
    uint64_t capacity = node->ring_size;
    int rc = -ENOENT;

    if (peer && peer->out) {
        *ret_peer = peer;
        return 0;
    }
    if (node_is_fenced(node))
        return place_fenced(node);
    if (to == 0 || to == UINT32_MAX || to == TRAM_EPHEMERAL)
        return error_set(&node->error, -EINVAL,
                         "0.0.0.0, 240.0.0.0 and 255.255.255.255 are no nodes");
    plan = layout_find(node->layout, node->id, to);
    if (node->layout && !plan)
        return error_channel(&node->error, -EACCES, node->id, to,
                             "the static layout has no such channel");
    if (plan)
        capacity = plan->size;
    /* What is removed under our hands is made anew. */
    for (int tries = 0; tries < 64; tries++) {
        rc = find_or_make(node, to, make, capacity, &peer);
        if (rc != -ENOENT || !make)
            break;
    }
    if (rc == -EHOSTUNREACH)
        return ephemeral_gone(node, to);
    if (rc == -EALREADY)
        return mirror_barred(node, to);
    if (rc == -ENOENT && make)
        return error_channel(&node->error, -ESTALE, node->id, to,
                             "the node's directory is removed again and again");
    if (rc < 0)
        return attach_failed(node, to, rc);
    peer->out->fixed = plan != NULL;
    rc = pin(node, peer->out, plan);
    if (rc < 0) {
        peer->out = out_free(peer->out);
        return attach_failed(node, to, rc);
    }
    rc = peer->out->announced ? 0 : peer_announce(node, peer);
    if (rc < 0) { /* who receives would not know of the channel */
        peer->out = out_free(peer->out);
        return attach_failed(node, to, rc);
    }
    *ret_peer = peer;
    return 0;
}

/* Every later send goes the slow way and is told `why`. */
void out_break(struct out *out, int why) {
    out->broken = why;
    out->tx.room = out->tx.pos;
}

/* ---- ringing --------------------------------------------------------------------------------- */

/* While we did not look, the remover may have left it to the receiver, who consumed what we
 * published, and the next remover found nothing that waited. */
static bool is_consumed(const struct out *out) {
    const struct head *head = out->head_map.base;

    return WORD_POSITION(load_acquire(&head->committed)) >= WORD_POSITION(out->tx.tail);
}

static int gone(tram_node *node, const struct peer *peer) {
    if (is_ephemeral(peer->id))
        return ephemeral_gone(node, peer->id);
    return error_channel(&node->error, -ESTALE, node->id, peer->id,
                         "the node was removed while this was sent; nothing of it was accepted: "
                         "send it again");
}

/* Take the closed bit off, in the receiver's words, which are mapped for reading only. A remover
 * who has not decided yet fails when he does (C1, against make_final() in custody.c), and looks
 * again. */
static int reopen(tram_node *node, const struct peer *peer) {
    OWNS_FD int dir = files_node_dir(&node->bus, peer->id, false);
    struct head_facts facts;
    struct sys_map map;
    int rc = dir < 0 ? dir
                     : head_open(dir, node->id, peer->id, SYS_MAP_WRITE | SYS_MAP_GUARD, &map,
                                 &facts);

    if (rc < 0)
        return rc;
    if (facts.inode == peer->out->head_inode)
        (void) __atomic_fetch_and(&((struct head *) map.base)->armed,
                                  ~(uint64_t) ARMED_CLOSED, __ATOMIC_SEQ_CST);
    else
        rc = -ENOENT;
    sys_unmap(&map);
    return rc;
}

/* Somebody removes the receiver, and we have published. Whether it is removed, or the message
 * accepted, is decided by who comes first to one word. What is published can't be taken back, so
 * if the machine refuses what we need, it is asked again, but not often. */
static int removed_or_accepted(tram_node *node, struct peer *peer) {
    const uint64_t *armed = &peer->out->tx.head->armed;

    for (uint64_t word; !((word = load_acquire(armed)) & ARMED_FINAL);) {
        int rc = word & ARMED_CLOSED ? reopen(node, peer) : 1;

        if (rc > 0)
            return 0;
        if (rc < 0 && !files_is_machine(rc)) /* gone, or spoilt, by a way that is none of ours */
            break;
        if (rc < 0) {
            peer_forget_door(peer); /* a descriptor and a mapping more, for us */
            sys_pause(SYS_MILLISECOND);
        }
    }
    if (is_consumed(peer->out)) {
        out_break(peer->out, -ESTALE);
        return 0;
    }
    out_break(peer->out, is_ephemeral(peer->id) ? -EHOSTUNREACH : -ESTALE);
    return gone(node, peer); /* the next send makes the channel anew */
}

/* The consumer's word says that there is something to be told or heard. */
int out_told(tram_node *node, struct peer *peer, uint64_t armed) {
    struct out *out = peer->out;

    if (armed & ARMED_REMOVED) {
        int rc = removed_or_accepted(node, peer);

        if (rc < 0)
            return rc;
        armed &= ~(uint64_t) ARMED_REMOVED; /* closed anew, it is news */
    }
    if (armed & ARMED_BROKEN) {
        out_break(out, -ENOTRECOVERABLE);
        return error_channel(&node->error, -ENOTRECOVERABLE, node->id, peer->id,
                             "the receiver closed the channel because it read nonsense from it; "
                             "`tram purge` makes it usable again");
    }
    out->tx.rung = armed;
    if ((armed & ARMED_ON) && peer_knock(node, peer) < 0)
        out->tx.rung = 0; /* the next one knocks again */
    if (armed & ARMED_TRIM)
        out_make_dirty(node, out, true);
    return 0;
}

int out_published(tram_node *node, struct out *out, uint64_t armed) {
    struct peer *peer = out->peer;

    if (ring_tx_must_ring(&out->tx, armed)) {
        int rc = out_told(node, peer, armed);

        if (rc < 0)
            return rc;
    }
    if (sys_map_torn(&out->map)) {
        out_break(out, -ENOTRECOVERABLE);
        return error_channel(&node->error, -ENOTRECOVERABLE, node->id, peer->id,
                             "somebody cut the channel's file short; `tram purge` makes it usable "
                             "again");
    }
    return 0;
}

int outs_flush(tram_node *node, bool told) {
    struct tram_error first; /* of the others the next sends tell */

    first.code = 0;
    while (node->staged) {
        struct out *out = node->staged;

        node->staged = out->staged_next;
        out->staged = false;
        if (!out->broken && ring_tx_staged(&out->tx)) {
            int rc = out_publish(node, out);

            out->untold = rc < 0 && (!told || first.code < 0);
            if (rc < 0 && first.code == 0)
                first = node->error;
        }
    }
    if (first.code < 0)
        node->error = first;
    return first.code;
}

/* ---- room ------------------------------------------------------------------------------------ */

/* The words that only the receiver may write made no sense. */
int out_head_bad(tram_node *node, struct out *out) {
    out_break(out, -ENOTRECOVERABLE);
    return error_channel(&node->error, -ENOTRECOVERABLE, node->id, out->peer->id,
                         "the receiver wrote nonsense into its words of the channel; `tram purge` "
                         "makes it usable again");
}

/* Memory for a record up to `end` and for the link behind it, and a new `room`. */
int out_grant(tram_node *node, struct out *out, uint64_t end) {
    uint64_t limit;
    int rc = 0;

    if (end + LINK_SPAN > out->reserved)
        rc = out_reserve(out, end + LINK_SPAN);
    if (rc == -ENOSPC && !out->claimed && disk_settle(node, out) == 0) {
        /* What was consumed gives its memory to what comes. */
        out_trim(out, 0);
        rc = out_reserve(out, end + LINK_SPAN);
    }
    if (rc < 0)
        return error_channel(&node->error, rc, node->id, out->peer->id,
                             "no memory for the message: %s%s", strerror(-rc),
                             rc == -ENOSPC ? "; the file system of the bus is full" : "");
    limit = disk_limit(&node->bus, out);
    if (limit > out->reserved)
        limit = out->reserved;
    /* The end of a chunk comes here again, even if more is free: observers learn how far the
     * writer may be, and light traffic gives memory back. */
    if (limit > (end | (out->chunk - 1)) + 1 + LINK_SPAN)
        limit = (end | (out->chunk - 1)) + 1 + LINK_SPAN;
    out->tx.room = limit - LINK_SPAN;
    store_relaxed(&out->tx.words->reserved, limit);
    fence_release(); /* who sees what is written then sees this, too */
    out_make_dirty(node, out, false);
    return 0;
}

/* Light: less than a chunk in 10 ms, in several in a row (one may be pre-emption), none waits, and
 * pages may be given back before a lap: a fault for both ends each, if it needs them so soon. */
void out_trim_if_light(tram_node *node, struct out *out) {
    uint64_t now = sys_now();
    uint64_t us = now - out->chunk_ns < 1000000000 ? (now - out->chunk_ns) / 1000 : 1000000;

    if (us * out->chunk > (out->tx.pos - out->chunk_pos) * 10000 && out->capacity / 4 > node->keep)
        out->light++;
    else
        out->light = 0;
    out->chunk_ns = now;
    out->chunk_pos = out->tx.pos;
    if (out->light < 4 || out->pinned || out->tx.pos - out->tx.freed > out->chunk)
        return;
    out->light = 0;
    if (disk_settle(node, out) == 0)
        out_trim(out, node->keep);
}

/* Full: wait for the receiver, spinning first. 0: look again. */
static int wait_for_space(tram_node *node, struct peer *peer, uint64_t deadline,
                          uint64_t *spin_until) {
    struct out *out = peer->out;
    uint64_t seen = out->tx.freed;
    uint64_t again;
    int rc;

    if (deadline == 0) {
        out->blocked = true;
        return ring_tx_want(&out->tx) < 0 || out->tx.freed != seen ? 0 : -EAGAIN;
    }
    if (peer->id == node->id)
        return -EDEADLK;
    ins_give(node); /* or two that send to each other wait for what both have already consumed */
    if (*spin_until == 0)
        *spin_until = node->spin_ns < 0 ? UINT64_MAX : sys_now() + (uint64_t) node->spin_ns;
    for (int i = node->spin_ns == 0 ? 1 : 64; i > 0; i--) {
        if (ring_tx_look(&out->tx) < 0 || out->tx.freed != seen)
            return 0;
        sys_relax();
    }
    if (*spin_until == UINT64_MAX || sys_now() < *spin_until)
        return deadline != UINT64_MAX && sys_now() >= deadline ? -ETIMEDOUT : 0;
    rc = ring_tx_want(&out->tx);
    if (rc < 0 || out->tx.freed != seen)
        return 0;
    if (!node_sleep(node, true)) {
        node_wake(node); /* and who knocks without end does not make the wait endless */
        return deadline != UINT64_MAX && sys_now() >= deadline ? -ETIMEDOUT : 0;
    }
    /* A receiver may die between freeing and ringing: look again after a while. */
    again = sys_now() + SYS_SECOND;
    rc = node_block(node, deadline < again ? deadline : again);
    node_wake(node);
    if (rc < 0)
        return rc;
    return deadline != UINT64_MAX && sys_now() >= deadline ? -ETIMEDOUT : 0;
}

static int full_error(tram_node *node, struct peer *peer, int rc) {
    if (rc == -EDEADLK)
        return error_channel(&node->error, rc, node->id, peer->id,
                             "the ring to oneself is full: receive first");
    if (rc == -EAGAIN || rc == -ETIMEDOUT)
        return error_channel(&node->error, rc, node->id, peer->id,
                             "the ring is full: the receiver is slow or does not run");
    return error_channel(&node->error, rc, node->id, peer->id, "cannot wait: %s", strerror(-rc));
}

/* A channel that was found closed, or whose receiver was removed. */
static int out_revive(tram_node *node, struct peer *peer) {
    struct out *out = peer->out;
    struct peer *again;
    int broken = out->broken;

    if (broken == -ENOTRECOVERABLE && (load_relaxed(&out->tx.head->armed) & ARMED_BROKEN))
        return error_channel(&node->error, broken, node->id, peer->id,
                             "the channel is closed; `tram purge` makes it usable again");
    if (out->untold) {
        out->untold = false;
        return error_channel(&node->error, broken, node->id, peer->id,
                             "what was staged for the node is lost, as it was removed: send it, "
                             "and this, again");
    }
    for (struct out **link = &node->dirty; *link; link = &(*link)->dirty_next) {
        if (*link == peer->out) {
            *link = peer->out->dirty_next;
            break;
        }
    }
    (void) outs_flush(node, false); /* so that it is on no list */
    node->last_to = UINT64_MAX;
    peer->out = out_free(peer->out);
    peer_forget_door(peer);
    return out_get(node, peer->id, true, &again);
}

/* Is the channel open, and may a record of this span ever fit into it? 1: it was made anew. */
static int check_open(tram_node *node, struct peer *peer, uint64_t span, uint64_t more) {
    uint64_t armed = load_relaxed(&peer->out->tx.head->armed);
    int rc = 0;

    if (unlikely(armed & (ARMED_REMOVED | ARMED_BROKEN))) {
        rc = out_told(node, peer, armed);
        if (rc == 0 && peer->out->broken)
            rc = gone(node, peer);
    }
    if (rc == 0 && unlikely(span + LINK_SPAN > peer->out->capacity))
        rc = out_grow(node, peer, span, more);
    if (rc != -ESTALE || ring_tx_staged(&peer->out->tx))
        return rc; /* what was staged is lost: that has to be said */
    rc = out_revive(node, peer);
    return rc < 0 ? rc : 1;
}

int out_room(tram_node *node, struct peer *peer, uint64_t size, uint64_t more, uint64_t deadline) {
    uint64_t span = record_span(size < STREAM_MAX ? size + more : STREAM_MAX);
    uint64_t spin_until = 0;

    if (unlikely(node_is_fenced(node)))
        return place_fenced(node);
    if (peer->out->claimed)
        return error_channel(&node->error, -EBUSY, node->id, peer->id,
                             "a claim on this channel is open: commit or abort it first");
    if (peer->out->broken) {
        int rc = out_revive(node, peer);

        if (rc < 0)
            return rc;
    }
    for (;;) {
        struct out *out = peer->out;
        int rc = check_open(node, peer, span, more);
        uint64_t end;

        if (rc < 0)
            return rc;
        if (rc > 0)
            continue;
        end = out->tx.pos + span;
        if (ring_tx_look(&out->tx) < 0 || sys_map_torn(&out->head_map))
            return out_head_bad(node, out);
        if (out->old)
            out_reap_old(node, peer);
        if (end + LINK_SPAN <= out->tx.freed + out->capacity) {
            if (end + LINK_SPAN > disk_limit(&node->bus, out)) {
                rc = disk_settle(node, out);
                if (rc < 0)
                    return error_channel(&node->error, rc, node->id, peer->id,
                                         "cannot put the receiver's words on the disk: %s",
                                         strerror(-rc));
            }
            if (load_relaxed(&out->tx.words->want) & ARMED_ON)
                ring_tx_unwant(&out->tx);
            out->blocked = false;
            out_trim_if_light(node, out);
            out_pace(node, out, deadline);
            return out_grant(node, out, end);
        }
        if (ring_tx_staged(&out->tx)) { /* what is not published is not consumed */
            rc = out_publish(node, out);
            if (rc < 0)
                return rc;
        }
        rc = wait_for_space(node, peer, deadline, &spin_until);
        if (rc < 0)
            return full_error(node, peer, rc);
    }
}

/* Would a send that found no room get further now? */
static bool may_go_on(struct out *out) {
    uint64_t armed = load_relaxed(&out->tx.head->armed);

    /* Closed, or nonsense: the next send says so. */
    return (armed & (ARMED_REMOVED | ARMED_BROKEN)) || ring_tx_look(&out->tx) < 0 ||
           out->tx.freed + out->capacity > out->tx.pos + LINK_SPAN;
}

/* The receiver knocked: there is space, or it wants something. */
void out_knocked(tram_node *node, struct peer *peer) {
    struct out *out = peer->out;
    uint64_t armed = load_relaxed(&out->tx.head->armed);

    if (armed & ARMED_TRIM) {
        out_make_dirty(node, out, true);
        out->tx.rung = armed & ARMED_ON ? out->tx.rung : armed;
    }
    if (!out->blocked)
        return;
    if (!may_go_on(out)) { /* in vain; and for this want we are not rung again */
        (void) ring_tx_want(&out->tx);
        if (!may_go_on(out))
            return;
    }
    ring_tx_unwant(&out->tx);
    out->blocked = false;
    peer_event(node, peer, TRAM_EVENT_SPACE);
}
