/* SPDX-License-Identifier: MIT
 *
 * The memory of a sending end: reserved ahead, given back behind, and grown.
 *
 * Memory. [kept, reserved) of the positions has memory behind it; the rest of the ring is a hole
 * that nobody may touch. Reserving goes ahead by as much as there is, a chunk at most; when a whole
 * ring length has memory, it stays so (reserved is UINT64_MAX) until the traffic gets light.
 *
 * Growing. A message that does not fit makes a larger stream, which goes on at the position behind
 * a link record in the old one. Order: publish what is staged; make the new file complete and
 * rename it; link. Who dies before the link leaves a new stream in which nothing was published: the
 * successor links (out.c). The old file is removed once the receiver has freed all of it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "node/disk.h"
#include "node/node.h"
#include "sys/cleanup.h"
#include "sys/clock.h"
#include "sys/file.h"

#define PAGE UINT64_C(4096)
#define POPULATE (8 * PAGE)

static uint64_t round_up(uint64_t value, uint64_t grain) {
    return (value + grain - 1) & ~(grain - 1);
}

/* Call `change` on the file ranges of a range of positions, not an empty one, which may wrap
 * once. */
static int each_range(const struct out *out, uint64_t from, uint64_t to,
                      int (*change)(int fd, uint64_t offset, uint64_t length)) {
    uint64_t at = from & out->tx.mask;
    uint64_t length = to - from;
    uint64_t first = length < out->capacity - at ? length : out->capacity - at;
    int rc = change(out->fd, LAYOUT_DATA + at, first);

    if (rc == 0 && first < length)
        rc = change(out->fd, LAYOUT_DATA, length - first);
    return rc;
}

/* Of a channel that goes on, pages are mapped at once, not one by one as they are written. What
 * fails here, fails there. */
static void populate(const struct out *out, uint64_t from, uint64_t to) {
    uint64_t at = from & out->tx.mask;
    uint64_t length = to - from;
    uint64_t first = length < out->capacity - at ? length : out->capacity - at;

    (void) sys_map_populate(&out->map, LAYOUT_DATA + at, first, SYS_MAP_WRITE);
    if (first < length)
        (void) sys_map_populate(&out->map, LAYOUT_DATA, length - first, SYS_MAP_WRITE);
}

/* Memory for all positions up to `end`, and as much again as there is already, a chunk at most:
 * many channels carry few messages, and few channels many. */
int out_reserve(struct out *out, uint64_t end) {
    uint64_t from = out->reserved & ~(PAGE - 1);
    uint64_t to = round_up(end, PAGE);
    uint64_t more = from - (out->kept & ~(PAGE - 1));
    uint64_t ahead = to + (more < out->chunk ? more : out->chunk);
    int rc;

    if (ahead - from > out->capacity)
        ahead = from + out->capacity;
    if (ahead < to)
        ahead = to;
    rc = each_range(out, from, ahead, sys_file_reserve);
    if (rc == -ENOSPC && ahead > to) {
        ahead = to; /* what is needed may still fit */
        rc = each_range(out, from, ahead, sys_file_reserve);
    }
    if (rc < 0)
        return rc;
    if (ahead - from >= POPULATE)
        populate(out, from, ahead);
    out->reserved = ahead;
    if (out->reserved - (out->kept & ~(PAGE - 1)) >= out->capacity)
        out->reserved = UINT64_MAX;
    return 0;
}

int out_pin(struct out *out, uint32_t map_flags) {
    int rc = sys_file_reserve(out->fd, LAYOUT_DATA, out->capacity);

    if (rc == 0 && (map_flags & SYS_MAP_PREFAULT))
        rc = sys_map_populate(&out->map, LAYOUT_DATA, 2 * out->capacity,
                              map_flags | SYS_MAP_WRITE);
    if (rc < 0)
        return rc;
    out->pinned = true;
    out->reserved = UINT64_MAX;
    return 0;
}

void out_trim(struct out *out, uint64_t keep) {
    uint64_t head = out->tx.freed;
    uint64_t first = head > keep ? head - keep : 0;
    uint64_t end = round_up(out->tx.pos + LINK_SPAN, PAGE);
    uint64_t told = load_relaxed(&out->tx.words->kept);
    bool empty = head == out->tx.pos;
    uint64_t kept;

    if (empty) /* the page at hand counts as kept */
        first = end > keep ? end - keep : 0;
    if (first < out->tx.base)
        first = out->tx.base;
    first &= ~(PAGE - 1);
    if (empty && keep < PAGE)
        first = end; /* nothing stays, not even the page at hand */
    kept = first < out->tx.pos ? first : out->tx.pos;
    if (kept < told && told <= out->tx.pos)
        kept = told; /* gone is gone, whoever punched it */
    if (first + out->capacity <= end)
        return; /* all of it is in use or kept */
    if (out->reserved != UINT64_MAX && out->kept >= first && out->reserved <= end && !out->asked)
        return; /* nothing to give back */
    /* Observers are told first: what was punched reads as zeros. */
    store_release(&out->tx.words->kept, kept > out->tx.base ? kept : out->tx.base);
    /* A file system without holes keeps it; and if half of it is gone before that fails, nobody may
     * count on the rest: so either way it is as if it were gone. */
    (void) each_range(out, end, first + out->capacity, sys_file_punch);
    /* Beyond these nothing was reserved that we know of: a process before us may have punched. */
    if (out->kept < first)
        out->kept = first;
    if (out->reserved > end)
        out->reserved = end;
    if (first == end) {
        out->kept = out->tx.pos;
        out->reserved = out->tx.pos & ~(PAGE - 1);
    }
    out->tx.room = out->tx.pos; /* the next send asks for memory */
    store_relaxed(&out->tx.words->reserved, out->reserved);
}

/* Old streams that are drained go. */
void out_reap_old(tram_node *node, struct peer *peer) {
    struct out *out = peer->out;
    uint64_t head = load_acquire(&out->tx.head->head);

    while (out->old && head >= out->old->end) {
        struct old_stream *old = out->old;
        OWNS_FD int dir = files_node_dir(&node->bus, peer->id, false);
        char name[FILES_NAME];
        int rc = dir < 0 ? dir : 0;

        /* Its name may be there after a restart, and not all that was in it: the receiver's words
         * have to say that nothing of it is needed. */
        if (rc == 0 && on_disk(&node->bus) && out->settled < old->end) {
            rc = disk_sync_head(dir, node->id);
            if (rc == 0)
                out->settled = head;
        }
        files_stream_name(name, node->id, old->generation);
        if (rc == 0)
            rc = sys_unlink(dir, name);
        if (rc < 0 && rc != -ENOENT)
            return; /* a later look tries again: no younger one goes before it */
        sys_unmap(&old->map);
        out->old = old->next;
        free(old);
    }
}

static bool is_dirty(const struct out *out, uint64_t keep) {
    return out->reserved == UINT64_MAX || out->reserved - out->kept > keep + 4 * PAGE;
}

void out_make_dirty(tram_node *node, struct out *out, bool asked) {
    if (out->pinned)
        return;
    out->asked |= asked;
    if (out->dirty)
        return;
    out->dirty = true;
    out->dirty_next = node->dirty;
    node->dirty = out;
    if (node->trim_at == UINT64_MAX)
        node->trim_at = 0;
}

/* Idle, drained channels give back what they hold beyond `keep`: those that have not moved since
 * the last look, 100 ms ago. */
void outs_trim(tram_node *node, uint64_t now) {
    struct out **link = &node->dirty;

    node->trim_at = UINT64_MAX;
    while (*link) {
        struct out *out = *link;
        bool idle = out->idle_pos == out->tx.pos && ring_tx_look(&out->tx) == 0 &&
                    out->tx.freed == out->tx.pos && !out->claimed;

        out->idle_pos = out->tx.pos;
        if (out->old)
            out_reap_old(node, out->peer);
        if (idle && !out->broken) {
            if ((is_dirty(out, node->keep) || out->asked) && disk_settle(node, out) == 0)
                out_trim(out, node->keep);
            out->asked = false;
            if (!out->old) {
                out->dirty = false;
                *link = out->dirty_next;
                continue;
            }
        }
        node->trim_at = now + 100 * SYS_MILLISECOND;
        link = &out->dirty_next;
    }
}

/* ---- growing --------------------------------------------------------------------------------- */

static int too_large(tram_node *node, struct peer *peer, uint64_t more) {
    const struct out *out = peer->out;
    uint64_t most =
        out->fixed || out->capacity > out->ring_max ? out->capacity : out->ring_max;
    uint64_t limit = most - LINK_SPAN - sizeof(struct record) - more;

    (void) error_channel(&node->error, -EMSGSIZE, node->id, peer->id,
                         "the message is larger than this channel may carry (%llu bytes); raise "
                         "ring_max%s",
                         (unsigned long long) limit,
                         out->fixed ? ", or size in the static layout" : "");
    node->error.limit = limit;
    return -EMSGSIZE;
}

/* Put the new stream in place of the one at hand, which becomes the youngest old one. -EBADMSG:
 * what lies there is not what we made. */
static int switch_stream(tram_node *node, struct out *out, int dir,
                         const struct stream_plan *plan) {
    struct old_stream *old = calloc(1, sizeof(*old));
    struct stream_facts facts;
    struct sys_map map;
    struct ring_tx tx;
    int fd = -1;
    int rc;

    if (!old)
        return -ENOMEM;
    rc = stream_open(dir, node->id, out->peer->id, out->generation + 1,
                     SYS_MAP_WRITE | node->map_flags, &map, &facts, &fd);
    if (rc == 0 && (facts.id != plan->id || facts.capacity != plan->capacity ||
                    facts.base != plan->base || facts.base_seq != plan->base_seq))
        rc = -EBADMSG;
    if (rc == 0)
        rc = ring_tx_init(&tx, stream_words(&map), stream_data(&map), out->head_map.base,
                          facts.capacity, facts.base, facts.base_seq);
    if (rc < 0) {
        if (fd >= 0) {
            sys_unmap(&map);
            cleanup_fd(&fd);
        }
        free(old);
        return rc;
    }
    tx.rung = out->tx.rung;
    *old = (struct old_stream){
        .map = out->map, .generation = out->generation, .end = facts.base};
    for (struct old_stream **link = &out->old;; link = &(*link)->next) {
        if (!*link) {
            *link = old;
            break;
        }
    }
    cleanup_fd(&out->fd);
    out->fd = fd;
    out->map = map;
    out->generation += 1;
    out->tx = tx;
    out->capacity = plan->capacity;
    out->chunk = UINT64_C(65536);
    out->kept = out->reserved = tx.pos;
    return 0;
}

static int grow_into(tram_node *node, struct peer *peer, int dir, uint64_t capacity) {
    struct out *out = peer->out;
    struct stream_plan plan = {
        .from = node->id,
        .to = peer->id,
        .generation = out->generation + 1,
        .mode = node->mode,
        .id = out->id,
        .base = out->tx.pos + LINK_SPAN,
        .base_seq = out->tx.seq,
        .capacity = capacity,
        .boot = node->bus.boot,
        .lost = stream_words(&out->map)->lost,
        .life = stream_words(&out->map)->life,
        .since = stream_words(&out->map)->since,
    };
    struct ring_tx before = out->tx;
    char name[FILES_NAME];
    uint64_t inode;
    int rc = head_inode(dir, node->id, &inode);

    if (rc == 0 && inode != out->head_inode)
        rc = -ESTALE; /* the receiver was removed, and made anew: this is another's directory */
    if (rc == 0 && before.pos + LINK_SPAN > out->reserved)
        rc = out_reserve(out, before.pos + LINK_SPAN);
    if (rc == 0)
        rc = stream_make(dir, &plan, NULL);
    if (rc == 0) {
        rc = switch_stream(node, out, dir, &plan);
        if (rc < 0) { /* or the next process would find it, and take it for the channel's end */
            files_stream_name(name, node->id, plan.generation);
            (void) sys_unlink(dir, name);
        }
    }
    if (rc == -ENOENT)
        rc = -ESTALE; /* the directory was removed this moment */
    if (rc == -EBADMSG) /* somebody spoilt what we made, or the receiver's words are nonsense */
        rc = -ENOTRECOVERABLE;
    if (rc == -ESTALE || rc == -ENOTRECOVERABLE)
        out_break(out, rc);
    if (rc < 0)
        return error_channel(&node->error, rc, node->id, peer->id,
                             "cannot make a larger ring of %llu bytes",
                             (unsigned long long) capacity);
    return out_published(node, out, ring_tx_link(&before, node->id));
}

int out_grow(tram_node *node, struct peer *peer, uint64_t span, uint64_t more) {
    struct out *out = peer->out;
    uint64_t capacity = out->capacity;
    int dir;
    int rc;

    if (out->fixed || span + LINK_SPAN > out->ring_max ||
        out->generation + 1 >= FILES_GENERATIONS)
        return too_large(node, peer, more);
    while (capacity < span + LINK_SPAN)
        capacity *= 2; /* both are powers of two: not beyond ring_max */
    if (capacity * 2 <= out->ring_max)
        capacity *= 2; /* so that the next one can be written while this one is read */
    if (ring_tx_staged(&out->tx)) {
        rc = out_publish(node, out);
        if (rc < 0)
            return rc;
    }
    dir = files_node_dir(&node->bus, peer->id, false);
    if (dir == -ENOENT)
        out_break(out, dir = is_ephemeral(peer->id) ? -EHOSTUNREACH : -ESTALE);
    if (dir < 0)
        return error_channel(&node->error, dir, node->id, peer->id,
                             "cannot open the receiver's directory: %s", strerror(-dir));
    rc = grow_into(node, peer, dir, capacity);
    cleanup_fd(&dir);
    return rc;
}
