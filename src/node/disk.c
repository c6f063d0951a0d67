/* SPDX-License-Identifier: MIT */
#include "node/disk.h"

#include <errno.h>
#include <string.h>

#include "node/custody.h"
#include "sys/cleanup.h"
#include "sys/file.h"

static bool is_stale(const struct bus *bus, uint64_t boot) {
    return boot != 0 && boot != bus->boot;
}

/* ---- streams --------------------------------------------------------------------------------- */

struct repair {
    const struct bus *bus;
    int dir;
    tram_id from, to;
    uint32_t lowest, highest;
    uint64_t committed, consumed; /* as the receiver says */
    uint64_t accepted, lost, life; /* of the channel, before */
    bool stale;
};

static int read_head(struct repair *repair) {
    struct head head;
    char name[FILES_NAME];
    OWNS_FD int fd = -1;
    int rc;

    files_head_name(name, repair->from);
    fd = sys_file_open(repair->dir, name, false);
    if (fd < 0)
        return fd;
    rc = sys_file_read(fd, &head, offsetof(struct head, window), 0);
    if (rc < 0)
        return rc == -ENODATA ? -EBADMSG : rc;
    if (head.magic != HEAD_MAGIC || head.from != repair->from || head.to != repair->to)
        return -EBADMSG;
    repair->committed = WORD_POSITION(head.committed);
    repair->consumed = head.consumed[WORD_SLOT(head.committed)];
    return 0;
}

/* The words of a generation; the file gets the length that they say, if its end was lost. */
static int read_words(const struct repair *repair, uint32_t generation, struct stream *ret_words) {
    OWNS_FD int fd = -1;
    uint64_t size;
    int rc = stream_read(repair->dir, repair->from, repair->to, generation, ret_words, &size, &fd);

    if (rc < 0)
        return rc;
    if (size < LAYOUT_DATA + ret_words->capacity && is_stale(repair->bus, ret_words->boot))
        return sys_file_extend(fd, LAYOUT_DATA + ret_words->capacity);
    return 0;
}

/* What all of them say. -EBADMSG: nothing that could be repaired; -ENOENT: it is gone again. */
static int survey(struct repair *repair) {
    for (uint32_t generation = repair->lowest; generation <= repair->highest; generation++) {
        struct stream words;
        int rc = read_words(repair, generation, &words);

        /* Removed, as nobody needed it; that an older one is there again means nothing. */
        if (rc == -ENOENT && generation < repair->highest) {
            repair->lowest = generation + 1;
            continue;
        }
        if (rc < 0 && !files_is_machine(rc) && generation > repair->lowest && repair->stale) {
            repair->highest = generation - 1; /* the stream ends before it */
            break;
        }
        if (rc < 0)
            return rc;
        repair->stale |= is_stale(repair->bus, words.boot);
        repair->accepted = words.accepted[WORD_SLOT(words.tail)];
        repair->lost = words.lost > repair->lost ? words.lost : repair->lost;
        repair->life = words.life > repair->life ? words.life : repair->life;
    }
    return 0;
}

/* Where a generation begins, if there is one. 1, 0, or what the machine says. */
static int look_at(const struct repair *repair, uint32_t generation, struct stream *ret_words) {
    int rc = generation <= repair->highest ? read_words(repair, generation, ret_words) : -ENOENT;

    return rc == 0 ? 1 : files_is_machine(rc) ? rc : 0;
}

/* Does the channel go on in that generation, at this place? */
static int goes_on(const struct repair *repair, uint32_t generation, uint64_t pos, uint64_t seq) {
    struct stream words;
    int rc = look_at(repair, generation, &words);

    return rc <= 0 ? rc : words.base == pos && words.base_seq == seq;
}

/* Is the receiver beyond this generation? Then it does not matter what its words say. */
static int is_passed(const struct repair *repair, uint32_t generation) {
    struct stream words;
    int rc = look_at(repair, generation + 1, &words);

    return rc <= 0 ? rc : words.base <= repair->committed;
}

/* Of a life before, which ended before it: what was written over it is not on the disk. */
static bool is_older(const struct ring_view *view, const struct stream *words) {
    return view->end > words->since &&
           RECORD_LIFE(view->flags) != RECORD_LIFE((uint32_t) words->life << 8);
}

/* Go over the records that are not consumed. rx->pos is left behind the last that holds. 1: the
 * channel goes on in the next generation. */
static int walk(const struct repair *repair, uint32_t generation, const struct stream *words,
                struct ring_rx *rx) {
    struct ring_view view;

    for (;;) {
        uint64_t before = rx->pos;
        int rc;

        switch (ring_rx_next(rx, &view)) {
        case RX_MESSAGE:
            if (is_older(&view, words)) {
                rx->pos = before;
                rx->seq -= 1;
                return 0;
            }
            continue;
        case RX_LINK:
            rc = goes_on(repair, generation + 1, rx->pos, rx->seq);
            if (rc == 0)
                rx->pos = before;
            return rc;
        default:
            rx->pos = before;
            /* The last one may be made and not linked yet: who takes the channel over does that. */
            if (before != rx->tail || generation + 1 != repair->highest)
                return 0;
            return goes_on(repair, generation + 1, before + LINK_SPAN, rx->seq);
        }
    }
}

/* Begin where the receiver stands, or at the stream's start. False: it stands behind the tail. */
static bool place(const struct repair *repair, const struct stream_facts *facts, uint64_t tail,
                  struct ring_rx *rx) {
    rx->tail = tail;
    if (repair->committed < facts->base) {
        rx->pos = facts->base;
        rx->seq = facts->base_seq;
        return true;
    }
    rx->pos = repair->committed;
    rx->seq = repair->consumed;
    return rx->pos <= rx->tail;
}

/* All that is behind `pos`, which are `seq` messages, is no more. */
static void cut(struct stream *words, uint64_t tail, uint64_t pos, uint64_t seq) {
    uint64_t slot = WORD_SLOT(tail) ^ 1u;

    store_relaxed(&words->accepted[slot], seq);
    journal_order();
    store_relaxed(&words->tail, pos | slot);
}

/* The words of the generation in which the channel ends. */
static void end_channel(const struct repair *repair, struct stream *words, uint64_t tail,
                        const struct ring_rx *rx) {
    if (rx->pos != WORD_POSITION(tail))
        cut(words, tail, rx->pos, rx->seq);
    words->lost = repair->lost + (repair->accepted > rx->seq ? repair->accepted - rx->seq : 0);
    store_relaxed(&words->since, rx->pos);
    journal_order(); /* or what is there would be taken for older */
    store_relaxed(&words->life, repair->life + 1);
}

/* One generation. 1: the channel goes on behind it. */
static int repair_stream(struct repair *repair, uint32_t generation) {
    struct stream_facts facts;
    struct sys_map map;
    struct stream *words;
    struct ring_rx rx = {.from = repair->from, .usual = RX_ON_DISK};
    uint64_t tail;
    int on;
    int rc = stream_open(repair->dir, repair->from, repair->to, generation,
                         SYS_MAP_WRITE | SYS_MAP_GUARD, &map, &facts, NULL);

    if (rc < 0)
        return rc;
    words = stream_words(&map);
    rx.data = stream_data(&map);
    rx.mask = facts.capacity - 1;
    tail = load_relaxed(&words->tail);
    on = is_passed(repair, generation);
    if (on == 0 && place(repair, &facts, WORD_POSITION(tail), &rx)) {
        if (rx.tail - rx.pos > facts.capacity)
            rx.tail = rx.pos; /* it can't have been so far ahead */
        on = walk(repair, generation, words, &rx);
    }
    if (on == 0)
        end_channel(repair, words, tail, &rx);
    if (on >= 0)
        rc = sys_map_sync(&map, LAYOUT_DATA + facts.capacity);
    if (on >= 0 && rc == 0) {
        words->boot = repair->bus->boot;
        rc = sys_map_sync(&map, LAYOUT_DATA);
    }
    sys_unmap(&map);
    return rc < 0 ? rc : on;
}

static int remove_streams(const struct repair *repair, uint32_t first, uint32_t end) {
    int rc = 0;

    for (uint32_t generation = first; generation < end && rc == 0; generation++) {
        char name[FILES_NAME];

        files_stream_name(name, repair->from, generation);
        rc = sys_unlink(repair->dir, name);
        if (rc == -ENOENT)
            rc = 0;
    }
    return rc;
}

int disk_repair_streams(const struct bus *bus, int dir, tram_id from, tram_id to) {
    struct repair repair = {.bus = bus, .dir = dir, .from = from, .to = to};
    uint32_t lowest = 0;
    uint32_t highest = 0;
    uint32_t generation;
    int rc = files_generations(dir, from, &lowest, &highest);

    if (rc < 0)
        return rc;
    repair.lowest = lowest;
    repair.highest = highest;
    rc = survey(&repair);
    if (rc < 0 || !repair.stale)
        return rc;
    rc = read_head(&repair);
    if (rc < 0)
        return rc;
    generation = repair.lowest;
    do
        rc = repair_stream(&repair, generation++);
    while (rc > 0);
    if (rc < 0)
        return rc;
    rc = remove_streams(&repair, generation, highest + 1);
    if (rc == 0)
        rc = remove_streams(&repair, lowest, repair.lowest);
    return rc < 0 ? rc : sys_dir_sync(dir);
}

int disk_check_sender(const struct bus *bus, int dir, tram_id from, tram_id to) {
    struct repair repair = {.bus = bus, .dir = dir, .from = from, .to = to};
    int rc = files_generations(dir, from, &repair.lowest, &repair.highest);

    if (rc == 0)
        rc = survey(&repair);
    if (rc < 0 || !repair.stale)
        return rc;
    rc = custody_repair_sender(bus, dir, from, to);
    return rc == -EBUSY ? -ENOENT : rc;
}

/* Records above the tail, which nobody accepted: whoever staged them was killed. What is written
 * over them may not be on the disk when they are, and then they would be taken for it. So their
 * numbers go, on the disk as well, before that. */
static int spoil_staged(struct out *out) {
    const struct ring_tx *tx = &out->tx;
    uint64_t end = tx->freed + out->capacity;
    uint64_t pos = tx->pos;
    uint64_t seq = tx->seq;

    while (end - pos >= sizeof(struct record)) {
        struct record *record = (struct record *) (void *) (tx->data + (pos & tx->mask));
        uint64_t span = record_span(load_relaxed(&record->size));

        if (load_relaxed(&record->seq) != ++seq || span > end - pos)
            break;
        store_relaxed(&record->seq, 0);
        pos += span;
    }
    return pos == tx->pos ? 0 : sys_map_sync(&out->map, LAYOUT_DATA + out->capacity);
}

int disk_take_stream(const struct bus *bus, int dir, struct out *out) {
    struct stream *words = stream_words(&out->map);

    out->marks = RECORD_CHECKED | (uint32_t) words->life << 8;
    if (words->boot == bus->boot) { /* whoever made it may have died before the names were there */
        int rc = sys_dir_sync(dir);

        if (rc == 0)
            rc = sys_dir_sync(bus->dir);
        return rc < 0 ? rc : spoil_staged(out);
    }
    words->boot = bus->boot;
    return sys_map_sync(&out->map, LAYOUT_DATA);
}

/* ---- heads ----------------------------------------------------------------------------------- */

/* Do these words speak of messages that were handed out and are not done with? */
static bool has_in_hand(const struct head *head) {
    uint64_t consumed = head->consumed[WORD_SLOT(head->committed)];

    if (WORD_POSITION(head->handed) > WORD_POSITION(head->committed))
        return true;
    for (uint32_t i = 0; i < LAYOUT_WINDOW; i++)
        if (head->window[i] != 0 &&
            WINDOW_SEQ(WINDOW_SEQ(head->window[i]) - WINDOW_SEQ(consumed) - 1) < LAYOUT_WINDOW)
            return true;
    return false;
}

/* After a restart: the words may be older than what was done, or speak of messages that are lost
 * and whose numbers are used again. */
static void doubt_head(struct head *head, const struct stream *first, const struct stream *last) {
    uint64_t committed = WORD_POSITION(head->committed);

    if (committed < first->base) { /* what is removed was consumed */
        uint64_t slot = WORD_SLOT(head->committed) ^ 1u;

        committed = first->base;
        head->consumed[slot] = first->base_seq;
        journal_order();
        head->committed = committed | slot;
        journal_order();
    }
    /* What was released out of order may bear numbers that are used again now. */
    memset(head->window, 0, sizeof(head->window));
    head->handed = committed | (head->handed & 7u);
    if (head->head > committed)
        head->head = committed;
    head->unsure = last->accepted[WORD_SLOT(last->tail)];
}

static int read_stream(int dir, const struct head *head, uint32_t generation,
                       struct stream *ret_words) {
    OWNS_FD int fd = -1;
    uint64_t size;

    return stream_read(dir, head->from, head->to, generation, ret_words, &size, &fd);
}

int disk_take_head(const struct bus *bus, int dir, struct in *in, uint32_t lowest,
                   uint32_t highest) {
    struct head *head = in->head_map.base;
    struct stream first;
    struct stream last;
    int rc;

    if (head->boot == bus->boot)
        return 0;
    rc = read_stream(dir, head, lowest, &first);
    if (rc == 0)
        rc = read_stream(dir, head, highest, &last);
    if (rc < 0)
        return rc;
    /* It may have ended in order, and its sender not. */
    if (is_stale(bus, head->boot) || (head->life != last.life && has_in_hand(head)))
        doubt_head(head, &first, &last);
    head->life = last.life;
    head->boot = bus->boot;
    return sys_map_sync(&in->head_map, sizeof(*head));
}

/* ---- syncing --------------------------------------------------------------------------------- */

int disk_sync_head(int dir, tram_id from) {
    char name[FILES_NAME];
    OWNS_FD int fd = -1;

    files_head_name(name, from);
    fd = sys_file_open(dir, name, false);
    return fd < 0 ? fd : sys_file_sync(fd);
}

int disk_settle(const tram_node *node, struct out *out) {
    uint64_t freed = out->tx.freed;
    OWNS_FD int dir = -1;
    int rc;

    if (!on_disk(&node->bus) || out->settled >= freed)
        return 0;
    dir = files_node_dir(&node->bus, out->peer->id, false);
    rc = dir < 0 ? dir : disk_sync_head(dir, node->id);
    if (rc == 0 || rc == -ENOENT) { /* removed: that is found elsewhere */
        out->settled = freed;
        rc = 0;
    }
    return rc;
}

static int sync_out(struct out *out) {
    const struct old_stream *old = out->old;
    int rc = out->unsynced;

    for (; old && rc == 0; old = old->next)
        rc = sys_map_sync(&old->map, LAYOUT_DATA + stream_words(&old->map)->capacity);
    if (rc == 0)
        rc = sys_map_sync(&out->map, LAYOUT_DATA + out->capacity);
    out->unsynced = rc;
    return rc;
}

int disk_sync(tram_node *node, struct out *out) {
    int rc = on_disk(&node->bus) ? sync_out(out) : 0;

    if (rc < 0)
        return error_channel(&node->error, rc, node->id, out->peer->id,
                             "the message was accepted, but may not be on the disk: %s",
                             strerror(-rc));
    return 0;
}

/* First what the words speak of, then the word that all of it is there. */
void disk_close_out(struct out *out) {
    if (sync_out(out) < 0)
        return; /* the next one goes over it */
    for (const struct old_stream *old = out->old; old; old = old->next) {
        stream_words(&old->map)->boot = 0;
        (void) sys_map_sync(&old->map, LAYOUT_DATA);
    }
    stream_words(&out->map)->boot = 0;
    (void) sys_map_sync(&out->map, LAYOUT_DATA);
}

void disk_close_in(const struct in *in) {
    struct head *head = in->head_map.base;

    if (sys_map_sync(&in->head_map, sizeof(*head)) < 0)
        return;
    head->boot = 0;
    (void) sys_map_sync(&in->head_map, sizeof(*head));
}
