/* SPDX-License-Identifier: MIT
 *
 * Mirrors: channels out of a node that is placed elsewhere, written with what came over the link.
 *
 * Bytes are placed above the tail, as a producer's record is written. Each record that is whole is
 * checked there, once: nobody but the holder of the mark writes in that file. What its sender's
 * host put into it that is only of that host is replaced: the way back to the record before, the
 * channel's life, the checksum. Then one store of the tail publishes all of them.
 */
#include <stdlib.h>
#include <string.h>

#include "node/custody.h"
#include "node/disk.h"
#include "node/mirror.h"
#include "node/stand_inner.h"
#include "ring/check.h"
#include "sys/bell.h"
#include "sys/cleanup.h"
#include "sys/file.h"

/* ---- opening --------------------------------------------------------------------------------- */

/* What lies there. 0, -ENOENT, or as channel_look(). */
static int look_at_other(tram_node *node, int dir, tram_id to, struct stand_other *ret_other) {
    struct channel_look look;
    int rc = channel_look(dir, node->id, to, &look);

    if (rc < 0)
        return rc;
    *ret_other = (struct stand_other){
        .id = look.id, .accepted = look.accepted, .consumed = look.consumed};
    return 0;
}

/* What a move brought: who had the receiver last knows what it was handed, which is less than what
 * left the sender's host. That is true for the placement that it came with; since the receiver was
 * placed anew, others had it who said nothing here. */
static int plan_from_journal(int dir, struct stream_plan *plan, const struct past *past) {
    struct place place = {.epoch = 0};
    int rc;

    if (past->id != plan->id || past->id == 0)
        return 0;
    rc = place_read(dir, plan->to, &place);
    if (files_is_machine(rc))
        return rc;
    if (plan->base_seq < past->consumed)
        plan->base_seq = past->consumed;
    if (plan->unsure < past->unsure ||
        (past->epoch != 0 && rc == 0 && place.state == PLACE_HERE && place.epoch == past->epoch))
        plan->unsure = past->unsure;
    plan->window = past->window;
    return 0;
}

static int make_mirror(struct stand *stand, int dir, struct out *out,
                       const struct stand_out_plan *wish, struct past *past) {
    tram_node *node = &stand->node;
    struct stream_plan plan = {
        .from = node->id,
        .to = wish->to,
        .mode = node->mode,
        .id = wish->id,
        .base_seq = wish->consumed,
        .unsure = wish->unsure,
        .capacity = STREAM_MIN,
        .boot = node->bus.boot,
    };
    struct mirror_mark mark = {.magic = MARK_MAGIC, .version = MARK_VERSION, .from = node->id,
                               .to = wish->to, .id = wish->id};
    OWNS_FD int head = -1;
    uint64_t consumed;
    int rc;

    while (plan.capacity < wish->capacity && plan.capacity < node->ring_max)
        plan.capacity *= 2;
    if (past_find(past, wish->id, &consumed) == 0 && consumed > plan.base_seq)
        plan.base_seq = consumed;
    rc = plan_from_journal(dir, &plan, past);
    if (rc < 0)
        return rc;
    memcpy(mark.origin, wish->origin, sizeof(mark.origin));
    rc = mirror_mark_write(&node->bus, out->mark, &mark);
    if (rc == 0)
        rc = out_make_channel(dir, out, &plan, &head);
    if (rc == 0)
        rc = peer_announce(node, out->peer); /* now: it wakes while we map */
    out->announced = rc == 0;
    if (rc == 0)
        rc = out_open_channel(node, dir, out, head, 0, 0);
    return rc;
}

/* Does another stream lie there? 0: it is this one. */
static int check_mirror(tram_node *node, int dir, struct out *out,
                        const struct stand_out_plan *plan, struct stand_other *other) {
    struct mirror_mark mark;
    char name[FILES_NAME];
    int rc = mirror_mark_read(out->mark, &mark);

    if (rc < 0)
        return rc;
    other->mirror = mark.id == other->id;
    /* If the origin has freed more than ever came here, it was consumed in a life that is forgotten
     * here: this mirror can't go on. */
    if (other->mirror && other->id == plan->id && other->accepted >= plan->consumed) {
        if (mark.copy == 0)
            return 0;
        mark.copy = 0; /* its receiver is back */
        return mirror_mark_write(&node->bus, out->mark, &mark);
    }
    if (!other->mirror) { /* the mark was made by mirror_lock(), or is what a death left */
        files_mirror_name(name, node->id);
        (void) sys_unlink(dir, name);
    }
    return -EEXIST;
}

/* What lies in the directory, with the mark locked. -ENOENT: nothing. */
static int look_at_mirror(tram_node *node, int dir, struct out *out,
                          const struct stand_out_plan *plan, struct stand_other *other) {
    int rc = head_is_final(dir, node->id);

    if (rc == 1) /* remains of what a remover began to remove */
        rc = custody_unlink_channel(dir, node->id);
    if (rc == 0 && on_disk(&node->bus)) {
        rc = disk_repair_streams(&node->bus, dir, node->id, plan->to);
        if (rc == -ENOENT)
            return rc;
    }
    if (rc == 0)
        rc = look_at_other(node, dir, plan->to, other);
    return rc == 0 ? check_mirror(node, dir, out, plan, other) : rc;
}

/* It is not ours to lock. */
static int not_ours(tram_node *node, int dir, tram_id to, int rc, struct stand_other *other) {
    if (rc != -ENOENT && rc != -EBUSY)
        return rc;
    other->held = look_at_other(node, dir, to, other) == 0;
    return rc == -ENOENT && other->held ? -EEXIST : -EBUSY;
}

static int open_mirror(struct stand *stand, int dir, struct out *out,
                       const struct stand_out_plan *plan, struct stand_other *other) {
    tram_node *node = &stand->node;
    struct past past;
    uint32_t lowest;
    uint32_t highest;
    int rc = mirror_lock(&node->bus, dir, node->id, stand_is_held(stand), &out->mark);

    if (rc < 0)
        return not_ours(node, dir, plan->to, rc, other);
    rc = look_at_mirror(node, dir, out, plan, other);
    if (rc == 0)
        rc = files_generations(dir, node->id, &lowest, &highest);
    if (rc == 0)
        return out_open_channel(node, dir, out, -1, lowest, highest);
    if (rc != -ENOENT)
        return rc;
    if (!stand_is_held(stand))
        return -EBUSY; /* R may be making its own */
    rc = past_read(dir, node->id, plan->to, &past);
    return rc < 0 ? rc : make_mirror(stand, dir, out, plan, &past);
}

/* Attach it to the stand. The journal that it began with is used up. */
static int adopt(struct stand *stand, int dir, struct stand_out *mine, struct peer *peer) {
    tram_node *node = &stand->node;
    struct out *out = peer->out;
    struct past past;
    int rc = out_outlive_remover(node, dir, peer, false);

    if (rc < 0)
        return rc == -ETIMEDOUT || rc == -ENOENT ? -EAGAIN : rc;
    rc = past_read(dir, node->id, peer->id, &past);
    if (rc == 0 && past.id == out->id) {
        past.id = past.consumed = past.handed = past.unsure = past.epoch = 0;
        memset(past.window, 0, sizeof(past.window));
        rc = past_write(&node->bus, dir, &past);
    }
    if (rc < 0)
        return rc;
    if (load_relaxed(&out->tx.head->armed) & ARMED_BROKEN)
        return -ENOTRECOVERABLE;
    mine->stand = stand;
    mine->out = out;
    mine->to = peer->id;
    mine->next = stand->outs;
    mine->link = &stand->outs;
    if (mine->next)
        mine->next->link = &mine->next;
    stand->outs = mine;
    rc = out->announced ? 0 : peer_announce(node, peer); /* as when it was made, by one who died */
    return rc < 0 ? rc : out_publish(node, out); /* likewise before he rang */
}

static void drop_out(tram_node *node, struct peer *peer) {
    struct out *out = peer->out;

    for (struct out **link = &node->dirty; *link; link = &(*link)->dirty_next) {
        if (*link == out) {
            *link = out->dirty_next;
            break;
        }
    }
    peer->out = NULL;
    (void) out_free(out);
}

static int open_at(struct stand *stand, int dir, struct stand_out *mine,
                   const struct stand_out_plan *plan, struct stand_other *other) {
    tram_node *node = &stand->node;
    struct peer *peer = peer_get(node, plan->to);
    struct out *out = calloc(1, sizeof(*out));
    int rc = peer && out ? peer_take_door(node, peer, dir) : -ENOMEM;

    if (out) {
        out->fd = out->mark = -1;
        out->peer = peer;
        out->ring_max = node->ring_max;
    }
    if (rc == 0)
        rc = open_mirror(stand, dir, out, plan, other);
    if (rc < 0) {
        (void) out_free(out);
        return rc;
    }
    peer->out = out;
    rc = adopt(stand, dir, mine, peer);
    if (rc < 0 && !mine->stand)
        drop_out(node, peer);
    return rc;
}

int stand_out_open(struct stand *stand, const struct stand_out_plan *plan,
                   struct stand_out **ret_out, struct stand_other *ret_other) {
    struct stand_other other = {0};
    tram_node *node = &stand->node;
    struct stand_out *out = stand_out_find(stand, plan->to);
    OWNS_FD int dir = files_node_dir(&node->bus, plan->to, !is_ephemeral(plan->to));
    int rc;

    if (dir < 0)
        return dir == -ENOENT ? -EHOSTUNREACH : dir;
    if (plan->id == 0 || plan->consumed >= LAYOUT_END)
        return -EINVAL;
    if (out && out->out->id == plan->id && out->out->tx.seq >= plan->consumed) {
        *ret_out = out;
        return 0;
    }
    if (out)
        (void) stand_out_close(out);
    out = calloc(1, sizeof(*out));
    if (!out)
        return -ENOMEM;
    rc = open_at(stand, dir, out, plan, &other);
    if (ret_other)
        *ret_other = other;
    if (rc < 0) {
        if (out->stand)
            (void) stand_out_close(out);
        else
            free(out);
        return rc == -EBADMSG ? -ENOTRECOVERABLE : rc;
    }
    *ret_out = out;
    return 0;
}

struct stand_out *stand_out_close(struct stand_out *out) {
    tram_node *node;

    if (!out)
        return NULL;
    node = &out->stand->node;
    drop_out(node, peer_find(node, out->to));
    *out->link = out->next;
    if (out->next)
        out->next->link = out->link;
    free(out->moving);
    free(out);
    return NULL;
}

/* ---- looking --------------------------------------------------------------------------------- */

/* Can it go on? */
static int check(struct stand_out *mine) {
    tram_node *node = &mine->stand->node;
    struct out *out = mine->out;
    uint64_t armed;

    if (out->broken)
        return out->broken;
    armed = load_relaxed(&out->tx.head->armed);
    if (unlikely(armed & (ARMED_REMOVED | ARMED_BROKEN))) {
        int rc = out_told(node, out->peer, armed);

        if (rc == 0)
            rc = out->broken;
        if (rc < 0)
            return rc;
    }
    if (ring_tx_look(&out->tx) < 0 || sys_map_torn(&out->head_map) || sys_map_torn(&out->map))
        return out_head_bad(node, out);
    if (unlikely(out->old != NULL))
        out_reap_old(node, out->peer);
    return 0;
}

/* What the receiver has released: two of its words that belong together. False: nonsense. */
static bool look_at_consumed(struct stand_out *mine, uint64_t *ret_handed) {
    const struct ring_tx *tx = &mine->out->tx;
    const struct head *head = tx->head;
    uint64_t accepted = mine->out->tx.seq;

    for (int tries = 0; tries < 1000; tries++) {
        uint64_t committed = load_acquire(&head->committed);
        uint64_t consumed = load_acquire(&head->consumed[WORD_SLOT(committed)]);
        uint64_t handed = WORD_POSITION(load_relaxed(&head->handed));

        if (load_relaxed(&head->committed) != committed)
            continue;
        if (consumed > accepted || WORD_POSITION(committed) > WORD_POSITION(tx->tail))
            return false;
        if (consumed > mine->consumed)
            mine->consumed = consumed;
        *ret_handed = handed > WORD_POSITION(committed) ? accepted : mine->consumed;
        return true;
    }
    *ret_handed = accepted; /* it moves on all the time: what was seen last will do */
    return true;
}

int stand_out_look(struct stand_out *out, struct stand_out_state *ret_state) {
    const struct ring_tx *tx = &out->out->tx;
    uint64_t handed = 0;
    int rc = check(out);

    if (rc < 0)
        return rc;
    if (!look_at_consumed(out, &handed))
        return out_head_bad(&out->stand->node, out->out);
    *ret_state = (struct stand_out_state){
        .id = out->out->id,
        .accepted = tx->seq,
        .consumed = out->consumed,
        .handed = handed,
        .space = tx->freed + out->out->capacity - LINK_SPAN - tx->pos,
        .placed = out->placed,
    };
    if (tx->freed + out->out->capacity < tx->pos + LINK_SPAN)
        ret_state->space = 0; /* never: a record leaves room for a link */
    return 0;
}

bool stand_out_want(struct stand_out *out) {
    struct ring_tx *tx = &out->out->tx;
    uint64_t seen = tx->freed;

    if (!stand_is_held(out->stand) || out->out->broken)
        return false;
    out->out->blocked = true;
    if (ring_tx_want(tx) == 0 && tx->freed == seen)
        return true;
    ring_tx_unwant(tx);
    out->out->blocked = false;
    return false;
}

const char *stand_out_why(const struct stand_out *out) {
    return out->why ? out->why : out->stand->node.error.text;
}

#define PLACE_LEAST UINT64_C(4096) /* bytes that a place has, if there is space */

/* ---- writing --------------------------------------------------------------------------------- */

/* Room up to `end`, or as far as there is space. 0, also if there is none. */
static int make_room(struct stand_out *mine, uint64_t end) {
    tram_node *node = &mine->stand->node;
    struct out *out = mine->out;
    uint64_t most = out->tx.freed + out->capacity - LINK_SPAN;
    int rc = 0;

    if (end > most)
        end = most;
    if (end <= out->tx.room)
        return 0;
    if (end + LINK_SPAN > disk_limit(&node->bus, out))
        rc = disk_settle(node, out);
    if (rc == 0 && (load_relaxed(&out->tx.words->want) & ARMED_ON) && !out->blocked)
        ring_tx_unwant(&out->tx);
    if (rc == 0 && mine->placed == 0)
        out_trim_if_light(node, out);
    return rc < 0 ? rc : out_grant(node, out, end);
}

/* The bytes that a stream which was grown out of had above its tail, in the one that was made. */
static int move_in(struct stand_out *mine) {
    const struct ring_tx *tx = &mine->out->tx;
    int rc;

    if (likely(!mine->moving))
        return 0;
    rc = make_room(mine, tx->pos + mine->placed);
    if (rc < 0)
        return rc;
    memcpy(tx->data + (tx->pos & tx->mask), mine->moving, mine->placed);
    free(mine->moving);
    mine->moving = NULL;
    return 0;
}

int stand_out_place(struct stand_out *out, uint64_t most, void **ret_data, uint64_t *ret_size) {
    struct ring_tx *tx = &out->out->tx;
    uint64_t at;
    int rc = out->out->broken;

    if (rc == 0)
        rc = move_in(out);
    if (rc < 0)
        return rc;
    at = tx->pos + out->placed;
    /* Memory is reserved ahead of need, so this is all that is asked for at once: many channels
     * carry little. */
    if (unlikely(tx->room < at + (most < PLACE_LEAST ? most : PLACE_LEAST))) {
        rc = check(out);
        if (rc == 0)
            rc = make_room(out, at + (most < PLACE_LEAST ? most : PLACE_LEAST));
        if (rc < 0 && tx->room <= at)
            return rc;
    }
    *ret_data = tx->data + (at & tx->mask);
    *ret_size = tx->room <= at ? 0 : tx->room - at < most ? tx->room - at : most;
    return 0;
}

/* What is wrong with the record; NULL: nothing. */
static const char *wrong(const struct record *record, uint64_t seq, uint32_t from) {
    uint32_t kinds = record->flags & RECORD_KINDS;

    if (record->seq != seq)
        return "a number that does not follow";
    if (record->from != from)
        return "another sender";
    if ((kinds & ~(RECORD_WIDE | RECORD_CHECKED)) ||
        ((kinds & RECORD_WIDE) && record->size < sizeof(struct extension)))
        return "no message";
    return NULL;
}

/* A whole record that is more than a header and a body, or becomes that here. False: its checksum
 * does not hold. */
static bool convert(struct record *record, uint64_t prev, uint32_t marks) {
    uint32_t kinds = record->flags & RECORD_KINDS;

    if ((kinds & RECORD_CHECKED) && record->check != record_check(record, record->size))
        return false;
    record->prev = (uint32_t) (prev >> 32);
    record->flags = (kinds & RECORD_WIDE) | marks;
    record->check = marks ? record_check(record, record->size) : 0;
    return true;
}

/* Check the whole records above the tail, make them this host's, and stage them. *ret_span: of the
 * one behind them, if its header is there, else 0. -EBADMSG: that one is nonsense. */
static int take_over(struct stand_out *mine, uint64_t *ret_span) {
    typedef uint64_t __attribute__((may_alias)) word;
    struct ring_tx *tx = &mine->out->tx;
    uint8_t *at = tx->data + (tx->pos & tx->mask);
    uint32_t marks = mine->out->marks;
    uint32_t from = mine->stand->node.id;
    uint64_t left = mine->placed;
    uint64_t seq = tx->seq + 1;
    uint64_t prev = tx->prev;
    int rc = 0;

    *ret_span = 0;
    while (left >= sizeof(struct record)) {
        word *words = (word *) (void *) at;
        uint64_t span = record_span((uint32_t) words[1]);
        bool plain = words[0] == seq && (uint32_t) words[2] == from && words[3] == 0;

        if (unlikely(!plain)) {
            mine->why = wrong((const struct record *) (const void *) at, seq, from);
            if (mine->why) {
                rc = -EBADMSG;
                break;
            }
        }
        if (unlikely(span > left)) {
            *ret_span = span;
            break;
        }
        if (likely(plain && marks == 0)) {
            words[1] = (uint32_t) words[1] | prev;
        } else if (!convert((struct record *) (void *) at, prev, marks)) {
            mine->why = "a checksum does not hold";
            rc = -EBADMSG;
            break;
        }
        prev = span / LAYOUT_ALIGN << 32;
        at += span;
        left -= span;
        seq++;
    }
    tx->pos += mine->placed - left;
    tx->seq = seq - 1;
    tx->prev = prev;
    mine->placed = left;
    return rc;
}

/* The record that has begun does not fit into this stream. */
static int grow(struct stand_out *mine, uint64_t span) {
    struct out *out = mine->out;
    uint8_t *bytes = malloc(mine->placed);
    int rc;

    if (!bytes)
        return -ENOMEM;
    memcpy(bytes, out->tx.data + (out->tx.pos & out->tx.mask), mine->placed);
    rc = out_grow(&mine->stand->node, out->peer, span, 0);
    if (rc < 0) { /* nothing has changed, or it is broken */
        free(bytes);
        return rc;
    }
    mine->moving = bytes;
    return move_in(mine);
}

int stand_out_filled(struct stand_out *mine, uint64_t size, uint64_t *ret_accepted) {
    tram_node *node = &mine->stand->node;
    struct out *out = mine->out;
    uint64_t span;
    int rc = out->broken;
    int bad;

    if (rc == 0)
        rc = move_in(mine);
    if (rc < 0)
        return rc;
    mine->placed += size;
    bad = take_over(mine, &span);
    if (bad < 0)
        mine->placed = 0;
    out->claimed = mine->placed > 0; /* what lies above the tail is not to be given back */
    if (ring_tx_staged(&out->tx))
        rc = out_publish(node, out);
    *ret_accepted = out->tx.seq;
    if (rc == 0)
        rc = out->broken;
    if (rc == 0 && unlikely(span + LINK_SPAN > out->capacity))
        rc = grow(mine, span);
    return bad < 0 ? bad : rc;
}

void stand_out_drop(struct stand_out *out) {
    free(out->moving);
    out->moving = NULL;
    out->placed = 0;
    out->out->claimed = false;
}

/* ---- removing -------------------------------------------------------------------------------- */

/* R may run here, and wait until it may send. */
static void tell_node(tram_node *node, tram_id to) {
    OWNS_FD int dir = files_node_dir(&node->bus, node->id, false);
    OWNS_FD int bell = -1;
    struct sys_map map;

    if (dir < 0 || door_open(dir, node->id, node->mode, false, SYS_MAP_GUARD, &map, NULL) < 0)
        return;
    if (door_knock(map.base, to)) {
        bell = sys_bell_open(dir, "bell");
        if (bell >= 0)
            (void) sys_bell_ring(bell); /* a hint: it re-looks */
    }
    sys_unmap(&map);
}

/* It is drained, and its receiver is placed here: so whoever makes a mirror of that stream again
 * knows as much as if it had stayed. */
static int keep_journal(int dir, struct past *past, const struct stand_other *other) {
    struct head_facts facts;
    struct place place;
    struct sys_map map;
    const struct head *head;
    int rc = other->accepted == other->consumed ? place_read(dir, past->to, &place) : -ENOENT;

    if (rc == 0 && (place.state != PLACE_HERE ||
                    (past->id != 0 && past->id != other->id && past->epoch == place.epoch)))
        rc = -ENOENT;
    if (rc == 0)
        rc = head_open(dir, past->from, past->to, SYS_MAP_GUARD, &map, &facts);
    if (rc < 0)
        return files_is_machine(rc) ? rc : 0;
    head = map.base;
    past_enter(past, other->id, other->consumed);
    past->handed = other->consumed;
    past->unsure = load_relaxed(&head->unsure);
    if (past->unsure <= past->consumed)
        past->unsure = 0;
    past->epoch = place.epoch;
    memset(past->window, 0, sizeof(past->window));
    sys_unmap(&map);
    return 0;
}

/* The note first: as long as the mirror lies there, its words are what counts. */
static int remove_channel(tram_node *node, int dir, tram_id to, const struct stand_other *other) {
    char name[FILES_NAME];
    struct past past;
    int rc = past_read(dir, node->id, to, &past);

    if (rc == 0) {
        past_note(&past, other->id, other->consumed);
        rc = other->mirror ? keep_journal(dir, &past, other) : 0;
    }
    if (rc == 0)
        rc = past_write(&node->bus, dir, &past);
    if (rc == 0)
        rc = custody_unlink_channel(dir, node->id);
    files_mirror_name(name, node->id);
    if (rc == 0)
        rc = sys_unlink(dir, name);
    if (rc == -ENOENT)
        rc = 0;
    return rc < 0 ? rc : bus_sync_names(&node->bus, dir);
}

/* Its files contradict each other, but say of which stream they are a mirror, and that only. */
static int look_at_spoiled(tram_node *node, int dir, tram_id to, int fd, int rc,
                           struct stand_other *ret_other) {
    struct mirror_mark mark;
    struct past past;

    if (rc == -ENOENT || rc == -EPROTO || mirror_mark_read(fd, &mark) < 0 ||
        mirror_bars(dir, node->id) != 1)
        return rc;
    *ret_other = (struct stand_other){.id = mark.id, .mirror = true};
    rc = past_read(dir, node->id, to, &past);
    if (rc == 0)
        (void) past_find(&past, mark.id, &ret_other->consumed);
    return rc;
}

int stand_out_remove(struct stand *stand, tram_id to, bool force) {
    tram_node *node = &stand->node;
    struct stand_out *out = stand_out_find(stand, to);
    OWNS_FD int dir = files_node_dir(&node->bus, to, false);
    OWNS_FD int mark = -1;
    struct stand_other other = {0};
    struct mirror_mark words;
    int rc = 0;

    if (dir < 0)
        return dir;
    if (out)
        mark = take_fd(&out->out->mark);
    else
        rc = mirror_lock(&node->bus, dir, node->id, false, &mark);
    if (mark < 0 && (out || rc != -ENOENT || !stand_is_held(stand)))
        return rc == -ENOENT ? -EBUSY : rc;
    rc = look_at_other(node, dir, to, &other);
    if (rc == 0 && mark >= 0) {
        rc = mirror_mark_read(mark, &words);
        other.mirror = rc == 0 && words.id == other.id;
    } else if (rc < 0 && !files_is_machine(rc) && force && mark >= 0) {
        rc = look_at_spoiled(node, dir, to, mark, rc, &other);
    }
    if (rc == 0 && force && !other.mirror)
        rc = -ENOENT; /* what lies in it lies nowhere else */
    if (rc == 0 && other.accepted != other.consumed && !force)
        rc = -ENOTEMPTY;
    if (rc == 0)
        rc = remove_channel(node, dir, to, &other);
    if (out && rc < 0)
        out->out->mark = take_fd(&mark);
    else if (out)
        (void) stand_out_close(out);
    if (rc == 0)
        tell_node(node, to);
    return rc;
}

int stand_out_disown(struct stand_out *out, uint64_t consumed) {
    tram_node *node = &out->stand->node;
    const struct stand_other other = {.id = out->out->id, .consumed = consumed};
    OWNS_FD int dir = files_node_dir(&node->bus, out->to, false);
    struct past past;
    int rc = dir < 0 ? dir : past_read(dir, node->id, out->to, &past);

    if (rc == 0) {
        past_had(&past, other.id, UINT64_MAX);
        rc = past_write(&node->bus, dir, &past);
    }
    if (rc == 0)
        rc = remove_channel(node, dir, out->to, &other);
    if (rc == 0)
        (void) stand_out_close(out);
    return rc;
}

int stand_out_past(struct stand *stand, tram_id to, uint64_t id, uint64_t *ret_consumed) {
    tram_node *node = &stand->node;
    OWNS_FD int dir = files_node_dir(&node->bus, to, false);
    struct past past;
    int rc = dir < 0 ? dir : past_read(dir, node->id, to, &past);

    return rc < 0 ? rc : past_find(&past, id, ret_consumed);
}

int stand_out_forget(struct stand *stand, tram_id to) {
    tram_node *node = &stand->node;
    OWNS_FD int dir = files_node_dir(&node->bus, to, false);
    char name[FILES_NAME];

    files_past_name(name, node->id);
    return dir < 0 ? dir : sys_unlink(dir, name);
}

/* ---- questions ------------------------------------------------------------------------------- */

struct stand_out *stand_out_find(struct stand *stand, tram_id to) {
    struct stand_out *out = stand->outs;

    while (out && out->to != to)
        out = out->next;
    return out;
}

void stand_out_set_user(struct stand_out *out, void *user) {
    out->user = user;
}

void *stand_out_user(const struct stand_out *out) {
    return out->user;
}
