/* SPDX-License-Identifier: MIT
 *
 * Channels into a node that is placed elsewhere.
 *
 * Two places in one channel: `in->rx` stays where R's host has consumed up to, and walks when that
 * rises; `at` reads ahead of it, through streams that it maps itself, and goes back to `in->rx`
 * when something has to be sent again. Each run that ends with a record leaves a mark (where, and
 * its number), so that what is consumed is freed by a look-up as a rule, and by a walk over less
 * than a run at its end.
 *
 * A walk checks what it reads once more: what was checked by a run may have been changed by the
 * sender since. Only the mark's own numbers are believed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/custody.h"
#include "node/disk.h"
#include "node/mirror.h"
#include "node/stand_inner.h"
#include "sys/cleanup.h"
#include "sys/file.h"
#include "sys/lock.h"

/* ---- life ------------------------------------------------------------------------------------ */

static void drop_ahead(struct stand_in *in, uint32_t before) {
    while (in->ahead && in->ahead->generation < before) {
        struct ahead *ahead = in->ahead;

        in->ahead = ahead->next;
        sys_unmap(&ahead->map);
        free(ahead);
    }
}

static void drop_kept(struct stand_in *in) {
    sys_unmap(&in->map);
    while (in->old) {
        struct old_stream *old = in->old;

        in->old = old->next;
        sys_unmap(&old->map);
        free(old);
    }
}

struct stand_in *stand_in_free(struct stand_in *in) {
    if (!in)
        return NULL;
    drop_ahead(in, UINT32_MAX);
    drop_kept(in);
    *in->link = in->next;
    if (in->next)
        in->next->link = in->link;
    free(in);
    return NULL;
}

/* The channel is dropped. What runs pointed to may be about to be written: its mappings stay. */
static void lost(struct stand_in *in) {
    struct in *inner = in->in;

    in->map = inner->map;
    in->old = inner->old;
    inner->map = (struct sys_map){0};
    inner->old = NULL;
    in->in = NULL;
    in->news = 0;
    if (in->known)
        stand_in_tell(in, STAND_GONE);
    else
        (void) stand_in_free(in);
}

static int stand_in_new(struct stand *stand, struct in *in, struct stand_in **ret_in) {
    int copy = mirror_lies(stand->node.dir, in->peer->id);
    struct stand_in *made = copy < 0 ? NULL : calloc(1, sizeof(*made));

    if (!made)
        return copy < 0 ? copy : -ENOMEM;
    made->stand = stand;
    made->in = in;
    made->from = in->peer->id;
    made->copy = copy;
    made->next = stand->ins;
    made->link = &stand->ins;
    if (made->next)
        made->next->link = &made->next;
    stand->ins = made;
    in->stand = made;
    in->lost = lost;
    *ret_in = made;
    return 0;
}

void stand_in_rewind(struct stand_in *in) {
    in->at = in->in->rx;
    in->generation = in->in->generation;
    in->part = 0;
}

static void put_mark(struct stand_in *in) {
    const struct mark *last =
        &in->marks[(in->marks_first + in->marks_count - 1) % MARKS];

    if (in->marks_count > 0 && last->seq >= in->at.seq)
        return;
    if (in->marks_count == MARKS) { /* what is between the others is walked */
        in->marks_first++;
        in->marks_count--;
    }
    in->marks[(in->marks_first + in->marks_count++) % MARKS] =
        (struct mark){.pos = in->at.pos, .seq = in->at.seq, .generation = in->generation};
}

/* The last mark at or before a number; NULL. */
static const struct mark *find_mark(const struct stand_in *in, uint64_t number) {
    for (uint32_t i = in->marks_count; i > 0; i--) {
        const struct mark *mark = &in->marks[(in->marks_first + i - 1) % MARKS];

        if (mark->seq <= number)
            return mark;
    }
    return NULL;
}

static int nonsense(struct stand_in *in, const char *what) {
    return in_break(&in->stand->node, in->in, what);
}

/* ---- reading ahead --------------------------------------------------------------------------- */

static int map_ahead(struct stand_in *in, uint32_t generation, struct ahead **ret_ahead) {
    tram_node *node = &in->stand->node;
    struct ahead **link = &in->ahead;
    struct ahead *ahead;
    int rc;

    while (*link && (*link)->generation != generation)
        link = &(*link)->next;
    if (*link) {
        *ret_ahead = *link;
        return 0;
    }
    if (generation >= FILES_GENERATIONS)
        return -EBADMSG;
    ahead = calloc(1, sizeof(*ahead));
    if (!ahead)
        return -ENOMEM;
    ahead->generation = generation;
    rc = stream_open(node->dir, in->from, node->id, generation, node->map_flags, &ahead->map,
                     &ahead->facts, NULL);
    if (rc == 0 && ahead->facts.id != in->in->id) {
        sys_unmap(&ahead->map);
        rc = -EBADMSG;
    }
    if (rc < 0) {
        free(ahead);
        return rc;
    }
    *link = *ret_ahead = ahead;
    return 0;
}

/* `at` is behind a link: go on in the next stream. Else it is where it was. */
static int succeed(struct stand_in *in) {
    struct ahead *ahead = NULL;
    int rc = map_ahead(in, in->generation + 1, &ahead);

    if (rc == 0) {
        struct ring_rx at = in->at;

        at.freed = in->in->rx.freed;
        if (!ring_rx_succeed(&at, stream_words(&ahead->map), stream_data(&ahead->map),
                             ahead->facts.capacity, ahead->facts.base, ahead->facts.base_seq))
            return nonsense(in, "the channel's next stream does not go on where it ended");
        in->at = at;
        in->generation = ahead->generation;
        return 0;
    }
    if (!files_is_machine(rc))
        return nonsense(in, "the channel's next stream is missing or nonsense");
    return rc;
}

static enum ring_rx_result peek(const struct ring_rx *rx, struct ring_view *ret_view) {
    enum ring_rx_result result = ring_rx_peek(rx, ret_view);

    return result == RX_MESSAGE && ring_rx_is_link(rx, ret_view) ? RX_LINK : result;
}

/* Is there a record at `at`? It is no link then. 1, 0 or a negative errno. */
static int ready(struct stand_in *in, struct ring_view *ret_view) {
    for (;;) {
        struct ring_rx *at = &in->at;
        uint64_t pos = at->pos;
        int rc;

        at->freed = in->in->rx.freed; /* a look compares with it */
        if (!ring_rx_ready(at) && !ring_rx_look(at))
            return nonsense(in, "the sender's tail makes no sense");
        if (!ring_rx_ready(at))
            return 0;
        switch (peek(at, ret_view)) {
        case RX_MESSAGE:
            if (ret_view->flags != at->usual && !ring_rx_unusual(at, ret_view))
                return nonsense(in, "a record in the ring makes no sense");
            return 1;
        case RX_LINK:
            at->pos = ret_view->end;
            rc = succeed(in);
            if (rc < 0) {
                at->pos = pos;
                return rc;
            }
            break;
        default:
            return nonsense(in, "a record in the ring makes no sense");
        }
    }
}

/* Behind the record that was looked at. */
static void pass(struct ring_rx *at, const struct ring_view *view) {
    at->pos = view->end;
    at->seq = view->seq;
}

/* Go where `number` is the last record passed. */
static int seek(struct stand_in *in, uint64_t number) {
    const struct mark *mark;

    in->part = 0;
    if (number < in->at.seq)
        stand_in_rewind(in);
    /* A mark in this stream, as far as it was seen. */
    mark = find_mark(in, number);
    if (mark && mark->seq > in->at.seq && mark->generation == in->generation &&
        mark->pos <= in->at.tail) {
        in->at.pos = mark->pos;
        in->at.seq = mark->seq;
    }
    while (in->at.seq < number) {
        struct ring_view view;
        int rc = ready(in, &view);

        if (rc <= 0)
            return rc < 0 ? rc : -EINVAL;
        pass(&in->at, &view);
    }
    return 0;
}

/* Armed from here on, unless there is more. 1: there is. */
static int rest(struct stand_in *in) {
    tram_node *node = &in->stand->node;
    struct ring_view view;
    int rc;

    if (WORD_POSITION(in->in->rx.committed) != in->in->rx.freed)
        in_give(node, in->in);
    ring_rx_arm(&in->in->rx);
    fence(); /* F2 */
    rc = ready(in, &view);
    if (rc != 0 && !in->in->broken)
        ring_rx_disarm(&in->in->rx); /* or it could not be mapped: looked at again */
    return rc;
}

/* How far messages may have been seen: over there, as was noted; or here, when R ran here. That is
 * noted, too: from here on it is one number. */
static int find_handed(struct stand_in *in) {
    struct head *head = in->in->head_map.base;
    uint64_t had = 0;
    int rc = stand_in_had(in, &had);

    stand_in_rewind(in);
    in->handed = load_relaxed(&head->unsure);
    if (in->copy) /* its words are those of its receiver's life here: they stay */
        return 0;
    if (rc == -EBADMSG || rc == -ENOENT) /* runs find what is wrong with it, and say so */
        return 0;
    if (rc == 0 && had > in->handed && had > in->in->done_seq) {
        store_relaxed(&head->unsure, had);
        in->handed = had;
    }
    return rc;
}

int stand_in_look(struct stand *stand, struct in *in) {
    struct stand_in *mine = in->stand;
    struct ring_view view;
    int rc;

    if (!mine) {
        rc = stand_in_new(stand, in, &mine);
        if (rc < 0)
            return rc;
    }
    if (!mine->known) {
        rc = in->broken ? 0 : find_handed(mine);
        if (rc < 0)
            return rc;
        mine->known = true;
        stand_in_tell(mine, STAND_NEW);
        if (in->broken && !in->untold) { /* else it is said by the node */
            (void) snprintf(mine->text, sizeof(mine->text), "the channel was closed before");
            stand_in_tell(mine, STAND_BROKEN);
        }
    }
    if (in->broken || mine->told)
        return 0;
    rc = ready(mine, &view);
    if (rc == 0)
        rc = rest(mine);
    if (rc == 0 || in->broken)
        return rc;
    mine->told = true; /* also if it could not be mapped: a run says why */
    stand_in_tell(mine, STAND_MORE);
    return 0;
}

/* As many whole records as `most` bytes have, or as can be taken without a further look. */
static uint64_t take_whole(struct ring_rx *at, uint64_t most) {
    const uint8_t *data = at->data + (at->pos & at->mask);
    uint64_t size = at->tail - at->pos < most ? at->tail - at->pos : most;
    uint64_t left = size;
    uint64_t seq = at->seq + 1;
    uint32_t from = at->from;

    while (left >= sizeof(struct record)) {
        const struct record *record = (const struct record *) (const void *) data;
        uint32_t body = load_relaxed(&record->size);
        uint32_t flags = load_relaxed(&record->flags);
        uint64_t span = record_span(body);

        if (unlikely(span > left || load_relaxed(&record->seq) != seq ||
                     load_relaxed(&record->from) != from))
            break;
        if (unlikely(flags != 0) && (flags != RECORD_WIDE || body < sizeof(struct extension)))
            break;
        data += span;
        left -= span;
        seq++;
    }
    at->pos += size - left;
    at->seq = seq - 1;
    return size - left;
}

/* The same on a disk, where each has a checksum. */
static uint64_t take_checked(struct ring_rx *at, uint64_t most) {
    uint64_t begin = at->pos;
    struct ring_view view;

    while (ring_rx_ready(at) && peek(at, &view) == RX_MESSAGE &&
           view.end - begin <= most && ring_rx_unusual(at, &view))
        pass(at, &view);
    return at->pos - begin;
}

/* A part of the record at `at`, whose span is known. */
static void take_part(struct stand_in *in, uint64_t offset, uint64_t most,
                      struct stand_run *ret_run) {
    uint64_t span = in->part;
    uint64_t size = span - offset < most ? span - offset : most;
    uint64_t number = in->at.seq + 1;

    *ret_run = (struct stand_run){
        .data = in->at.data + (in->at.pos & in->at.mask) + offset,
        .size = size,
        .first = number,
        .offset = offset,
        .last = number - 1,
        .left = span - offset - size,
    };
    if (ret_run->left > 0)
        return;
    ret_run->last = number;
    in->at.pos += span;
    in->at.seq = number;
    in->part = 0;
    put_mark(in);
}

int stand_in_run(struct stand_in *in, uint64_t number, uint64_t offset, uint64_t most,
                 struct stand_run *ret_run) {
    struct ring_view view;
    uint64_t span = 0;
    int rc = 0;

    most &= ~(uint64_t) (LAYOUT_ALIGN - 1);
    if (!in->in || in->in->broken)
        return -EBADMSG;
    if (number <= in->in->done_seq || most == 0 || offset % LAYOUT_ALIGN != 0)
        return -EINVAL;
    if (number != in->at.seq + 1)
        rc = seek(in, number - 1);
    if (rc < 0)
        return rc;
    if (in->part == 0) { /* else its header was read, and is not read again */
        rc = ready(in, &view);
        if (rc == 0) {
            rc = rest(in);
            in->told = rc != 0;
        }
        if (rc > 0)
            rc = ready(in, &view);
        if (rc <= 0)
            return rc;
        span = view.end - in->at.pos;
        if (offset > 0 || span > most)
            in->part = span;
    }
    if (in->part > 0) {
        if (offset >= in->part)
            return -EINVAL;
        take_part(in, offset, most, ret_run);
        return 1;
    }
    *ret_run = (struct stand_run){
        .data = in->at.data + (in->at.pos & in->at.mask), .size = span, .first = number};
    pass(&in->at, &view);
    ret_run->size += in->at.usual == RX_ON_DISK ? take_checked(&in->at, most - span)
                                                : take_whole(&in->at, most - span);
    ret_run->last = in->at.seq;
    put_mark(in);
    return 1;
}

/* ---- handed and committed -------------------------------------------------------------------- */

int stand_in_handed(struct stand_in *in, uint64_t number) {
    struct head *head;
    int rc;

    if (!in->in || in->in->broken)
        return -EBADMSG;
    if (number <= in->handed)
        return 0;
    if (number > in->at.seq) { /* the other host has it from before: is there such a one? */
        rc = seek(in, number);
        if (rc < 0)
            return rc;
    }
    in->handed = number;
    if (in->copy)
        return 0;
    head = in->in->head_map.base;
    journal_order();
    store_relaxed(&head->unsure, number);
    journal_order();
    return 0;
}

/* in->rx goes to the end of `number`, or of the stream before. */
static int walk_to(struct stand_in *in, uint64_t number) {
    struct ring_rx *rx = &in->in->rx;
    const struct mark *mark = find_mark(in, number);
    struct ring_view view;

    if (mark && mark->seq > rx->seq && mark->generation == in->in->generation &&
        mark->pos <= rx->tail) {
        rx->pos = mark->pos;
        rx->seq = mark->seq;
    }
    while (rx->seq < number) {
        enum ring_rx_result result = ring_rx_next(rx, &view);

        if (result == RX_LINK)
            return 1;
        if (result != RX_MESSAGE)
            return nonsense(in, "a record in the ring makes no sense");
    }
    return 0;
}

/* `at` may have been in the stream that in->rx has come to: the one that stays mapped. */
static void follow(struct stand_in *in) {
    const struct ring_rx *rx = &in->in->rx;

    if (in->at.seq < rx->seq) {
        stand_in_rewind(in);
    } else if (in->generation <= in->in->generation) {
        in->at.data = rx->data;
        in->at.words = rx->words;
        if (in->generation < in->in->generation) { /* at its end: the link was passed */
            in->at = *rx;
            in->generation = in->in->generation;
        }
    }
    drop_ahead(in, in->in->generation + 1);
}

/* The same, at a link that is the next record. */
static int pass_link(struct stand_in *in, uint64_t end) {
    tram_node *node = &in->stand->node;
    struct ring_rx *rx = &in->in->rx;
    uint64_t pos = rx->pos;
    int rc;

    rx->pos = end;
    rc = in_succeed(node, in->in);
    if (rc < 0) {
        if (!in->in->broken)
            rx->pos = pos;
        return rc;
    }
    follow(in);
    return 0;
}

int stand_in_commit(struct stand_in *in, uint64_t number) {
    tram_node *node = &in->stand->node;
    struct in *inner = in->in;
    struct ring_view view;
    uint64_t most;
    int rc;

    if (!inner || inner->broken)
        return -EBADMSG;
    if (number <= inner->done_seq)
        return 0;
    most = in->handed > in->at.seq ? in->handed : in->at.seq;
    if (number > most && on_disk(&node->bus)) { /* these words may be older than the other host's */
        rc = seek(in, number);
        if (rc < 0)
            return rc;
    } else if (number > most) {
        return -EINVAL;
    }
    for (;;) {
        if (!ring_rx_look(&inner->rx))
            return nonsense(in, "the sender's tail makes no sense");
        rc = walk_to(in, number);
        if (rc < 0)
            return rc;
        if (rc == 1) { /* rx is behind the link */
            uint64_t end = inner->rx.pos;

            inner->done_seq = inner->rx.seq;
            inner->rx.pos = end - LINK_SPAN;
            rc = pass_link(in, end);
            if (rc < 0)
                break;
            continue;
        }
        inner->done_seq = number;
        ring_rx_commit(&inner->rx, inner->rx.pos, number);
        if (ring_rx_ready(&inner->rx) && peek(&inner->rx, &view) == RX_LINK)
            rc = pass_link(in, view.end); /* if it can't be mapped: with the next one */
        break;
    }
    if (inner->broken)
        return -EBADMSG;
    if (in->at.seq < inner->rx.seq)
        follow(in);
    in->at.committed = inner->rx.committed;
    while (in->marks_count > 0 && in->marks[in->marks_first % MARKS].seq <= inner->done_seq) {
        in->marks_first++;
        in->marks_count--;
    }
    in_give(node, inner);
    return inner->done_seq == number ? 0 : rc;
}

/* The note first, as for any mirror that is removed. */
static int note_copy(struct stand_in *in) {
    const tram_node *node = &in->stand->node;
    struct stand_in_state state;
    struct past past;
    int rc = past_read(node->dir, in->from, node->id, &past);

    if (rc < 0 || in->in->broken)
        return rc;
    stand_in_state(in, &state);
    past_note(&past, state.id, state.consumed);
    return past_write(&node->bus, node->dir, &past);
}

int stand_in_remove(struct stand_in *in) {
    tram_node *node = &in->stand->node;
    OWNS_FD int mark = -1;
    struct peer *peer;
    int rc = 0;

    if (!in->in)
        return -EBADMSG;
    peer = in->in->peer;
    if (in->copy)
        rc = mirror_lock(&node->bus, node->dir, in->from, false, &mark);
    if (rc == 0 && in->copy)
        rc = note_copy(in);
    if (rc == 0) /* who makes it anew meanwhile waits, and looks again */
        rc = sys_lock(node->lock, LOCK_PROXY);
    if (rc == 0) {
        rc = custody_remove_channel(&node->bus, node->dir, in->from, node->id);
        (void) sys_unlock(node->lock, LOCK_PROXY);
    }
    if (rc == 0 && in->copy)
        (void) mirror_bars(node->dir, in->from); /* removes a mark without its mirror */
    if (rc == 0) {
        in_drop(node, peer);
        peer_put(node, peer);
    }
    return rc;
}

void stand_in_close(struct stand_in *in, const char *why) {
    if (in->in && !in->in->broken)
        (void) nonsense(in, why);
}

/* ---- questions ------------------------------------------------------------------------------- */

struct stand_in *stand_in_find(struct stand *stand, tram_id from) {
    struct peer *peer = peer_find(&stand->node, from);

    return peer && peer->in ? peer->in->stand : NULL;
}

struct stand_in *stand_in_attach(struct stand *stand, tram_id from) {
    tram_node *node = &stand->node;
    struct peer *peer;

    if (mirror_is_copy(node->dir, from) != 1)
        return NULL;
    (void) ins_scan(node); /* what can't be read is said by stand_next() */
    peer = peer_find(node, from);
    if (peer && peer->in && !peer->in->stand)
        (void) stand_in_look(stand, peer->in);
    return peer && peer->in ? peer->in->stand : NULL;
}

/* The count of the newest stream that is mapped; at least what was read. */
static uint64_t count_accepted(const struct stand_in *in) {
    const struct stream *words = in->at.words;

    for (int tries = 0; tries < 100; tries++) {
        uint64_t tail = load_acquire(&words->tail);
        uint64_t accepted = load_acquire(&words->accepted[WORD_SLOT(tail)]);

        if (load_relaxed(&words->tail) == tail && accepted >= in->at.seq &&
            accepted < LAYOUT_END)
            return accepted;
    }
    return in->at.seq;
}

void stand_in_state(struct stand_in *in, struct stand_in_state *ret_state) {
    const struct in *inner = in->in;
    uint64_t life;

    *ret_state = (struct stand_in_state){.from = in->from, .broken = true};
    if (!inner || inner->broken)
        return;
    life = load_relaxed(&inner->rx.words->life) & RECORD_LIFE(-1u);
    *ret_state = (struct stand_in_state){
        .from = in->from,
        .id = inner->id + life,
        .consumed = inner->done_seq,
        .handed = in->handed > inner->done_seq ? in->handed : inner->done_seq,
        .accepted = count_accepted(in),
        .capacity = in->at.mask + 1,
        .largest = in->at.mask + 1 - LINK_SPAN,
        .copy = in->copy,
    };
}

void stand_in_set_user(struct stand_in *in, void *user) {
    in->user = user;
}

void *stand_in_user(const struct stand_in *in) {
    return in->user;
}
