/* SPDX-License-Identifier: MIT
 *
 * Moves: what a receiver's host knows of its channels, taken along. And the mirrors of a bus.
 *
 * What a process had in hand when it ended is counted here, as its next process would (recover() in
 * in.c): a word of the window with as many attempts. So nothing is counted twice when the node
 * opens on the other host: there `handed` is no higher than `committed`.
 */
#include <stdlib.h>
#include <string.h>

#include "node/mirror.h"
#include "node/stand_inner.h"
#include "sys/cleanup.h"
#include "sys/file.h"

/* ---- out ------------------------------------------------------------------------------------- */

/* Walks over what may be in hand. */
struct hands {
    tram_node *node;
    struct in *in;
    struct stand_journal *journal;
};

static void note_hand(struct stand_journal *journal, const struct head *head, uint64_t number,
                      bool in_hand) {
    uint64_t word = load_relaxed(&head->window[number % LAYOUT_WINDOW]);
    uint64_t handed = load_relaxed(&head->handed);
    uint32_t attempts = 0;
    bool released = false;

    if (word != 0 && WINDOW_SEQ(word) == WINDOW_SEQ(number)) {
        attempts = WINDOW_ATTEMPTS(word);
        released = (word & WINDOW_RELEASED) != 0;
        if (in_hand && (WINDOW_RECOVERY(word) != ((handed + 1) & 7) || attempts == 0))
            attempts += attempts < 255;
    } else if (in_hand) {
        attempts = 1;
    }
    if (attempts == 0 && !released)
        return;
    journal->hands[journal->count++] = (struct stand_hand){
        .number = number, .attempts = (uint8_t) attempts, .released = released};
}

/* The number of the last message below the position `handed`. */
static int count_handed(tram_node *node, struct in *in, uint64_t handed, uint64_t *ret_number) {
    struct ring_rx walk = in->rx;
    uint32_t generation = in->generation;
    struct sys_map map = {0};
    int rc = 0;

    while (rc == 0 && walk.pos < handed) {
        struct stream_facts facts;
        struct ring_view view;
        struct sys_map next;

        switch (ring_rx_next(&walk, &view)) {
        case RX_MESSAGE:
            break;
        case RX_LINK:
            rc = stream_open(node->dir, in->peer->id, node->id, ++generation, node->map_flags,
                             &next, &facts, NULL);
            if (rc < 0)
                break;
            sys_unmap(&map);
            map = next;
            if (!ring_rx_succeed(&walk, stream_words(&map), stream_data(&map), facts.capacity,
                                 facts.base, facts.base_seq))
                rc = -EBADMSG;
            break;
        default:
            rc = -EBADMSG;
        }
        if (walk.seq - in->rx.seq > LAYOUT_WINDOW)
            rc = -EBADMSG; /* more than can be in hand */
    }
    sys_unmap(&map);
    *ret_number = walk.seq;
    return rc == -ENOENT ? -EBADMSG : rc;
}

int stand_in_had(struct stand_in *in, uint64_t *ret_number) {
    const struct in *inner = in->in;
    const struct head *head = inner->head_map.base;
    uint64_t number;
    int rc = count_handed(&in->stand->node, in->in, WORD_POSITION(load_relaxed(&head->handed)),
                          &number);

    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < LAYOUT_WINDOW; i++) { /* in hand in a life before, or released */
        uint64_t word = load_relaxed(&head->window[i]);
        uint64_t ahead = WINDOW_SEQ(word) - WINDOW_SEQ(inner->done_seq);

        if (word != 0 && ahead <= LAYOUT_WINDOW && inner->done_seq + ahead > number)
            number = inner->done_seq + ahead;
    }
    *ret_number = number;
    return 0;
}

static int export_one(tram_node *node, tram_id from, struct stand_journal *journal) {
    struct peer peer = {.id = from, .bell = -1, .watch_fd = -1};
    struct in *in = calloc(1, sizeof(*in));
    const struct head *head;
    int rc;

    if (!in)
        return -ENOMEM;
    in->peer = &peer;
    rc = in_map(node, in);
    if (rc == 0) {
        head = in->head_map.base;
        *journal = (struct stand_journal){
            .from = from,
            .mirror = mirror_lies(node->dir, from),
            .id = in->id + (load_relaxed(&in->rx.words->life) & RECORD_LIFE(-1u)),
            .consumed = in->rx.seq,
            .unsure = load_relaxed(&head->unsure),
        };
        rc = count_handed(node, in, WORD_POSITION(load_relaxed(&head->handed)), &journal->handed);
    }
    if (rc == 0) {
        if (journal->unsure < journal->consumed)
            journal->unsure = 0;
        for (uint64_t i = 1; i <= LAYOUT_WINDOW; i++)
            note_hand(journal, head, journal->consumed + i,
                      journal->consumed + i <= journal->handed);
    }
    (void) in_free(in);
    return rc;
}

struct export {
    tram_node *node;
    int (*each)(void *context, const struct stand_journal *journal);
    void *context;
};

static int export_name(void *context, const char *name, uint64_t inode) {
    struct export *export = context;
    struct stand_journal journal;
    uint64_t number;
    tram_id from;
    int rc;

    (void) inode;
    if (files_parse(name, &from, &number) != FILE_HEAD)
        return 0;
    rc = export_one(export->node, from, &journal);
    if (rc == -ENOENT || rc == -EBADMSG || rc == -EPROTO)
        return 0; /* no channel, or one that is closed to everybody */
    return rc < 0 ? rc : export->each(export->context, &journal);
}

int stand_export(struct stand *stand,
                 int (*each)(void *context, const struct stand_journal *journal), void *context) {
    struct export export = {.node = &stand->node, .each = each, .context = context};

    return stand_is_held(stand) ? sys_dir_each(stand->node.dir, export_name, &export) : -EBADF;
}

/* ---- in -------------------------------------------------------------------------------------- */

static int check_journal(const struct stand_journal *journal) {
    uint64_t last = journal->consumed;

    if (journal->id == 0 || journal->consumed >= LAYOUT_END || journal->unsure >= LAYOUT_END ||
        journal->handed < journal->consumed || journal->handed >= LAYOUT_END ||
        journal->count > LAYOUT_WINDOW)
        return -EINVAL;
    for (uint32_t i = 0; i < journal->count; i++) {
        uint64_t number = journal->hands[i].number;

        if (number <= last || number - journal->consumed > LAYOUT_WINDOW)
            return -EINVAL;
        last = number;
    }
    return 0;
}

static void make_window(const struct stand_journal *journal, uint64_t recovery,
                        uint64_t window[LAYOUT_WINDOW]) {
    memset(window, 0, LAYOUT_WINDOW * sizeof(window[0]));
    for (uint32_t i = 0; i < journal->count; i++) {
        const struct stand_hand *hand = &journal->hands[i];

        window[hand->number % LAYOUT_WINDOW] =
            WINDOW_SEQ(hand->number) | (uint64_t) hand->attempts << 48 | recovery << 56 |
            (hand->released ? WINDOW_RELEASED : 0);
    }
}

/* The origin lies here, and is read by us. */
static int import_here(struct stand_in *in, const struct stand_journal *journal) {
    struct head *head = in->in->head_map.base;
    uint64_t window[LAYOUT_WINDOW];
    int rc = 0;

    if (journal->consumed > in->in->done_seq) { /* acknowledgements that were under way */
        if (in->handed < journal->consumed)
            in->handed = journal->consumed;
        rc = stand_in_commit(in, journal->consumed);
    }
    if (rc < 0 || journal->consumed < in->in->done_seq)
        return rc; /* older than what is known here: said before, by the same host */
    make_window(journal, in->in->rx.recovery, window);
    for (uint32_t i = 0; i < LAYOUT_WINDOW; i++)
        store_relaxed(&head->window[i], window[i]);
    store_relaxed(&head->handed, WORD_POSITION(in->in->rx.committed) | in->in->rx.recovery);
    /* The window says which: what was only on its way was seen by nobody, and the mirror that it
     * lies in is removed before it could be. */
    journal_order();
    store_relaxed(&head->unsure, journal->unsure);
    in->handed = journal->unsure;
    return 0;
}

int stand_import(struct stand *stand, const struct stand_journal *journal) {
    tram_node *node = &stand->node;
    struct stand_in *in;
    struct stand_in_state state;
    struct past past;
    int rc = check_journal(journal);

    if (!stand_is_held(stand))
        return -EBADF;
    if (rc < 0)
        return rc;
    in = stand_in_find(stand, journal->from);
    if (in) {
        stand_in_state(in, &state);
        if (!state.broken && state.id == journal->id)
            return import_here(in, journal);
    }
    if (mirror_bars(node->dir, journal->from) == 1)
        return -EEXIST; /* from before the node went away: older than this journal */
    rc = past_read(node->dir, journal->from, node->id, &past);
    if (rc < 0)
        return rc;
    past.id = journal->id;
    past.consumed = journal->consumed;
    past.handed = journal->handed;
    past.unsure = journal->unsure;
    past.epoch = journal->epoch;
    make_window(journal, 0, past.window);
    return past_write(&node->bus, node->dir, &past);
}

/* ---- mirrors --------------------------------------------------------------------------------- */

struct each_mirror {
    const struct bus *bus;
    int dir;
    tram_id to;
    int (*each)(void *context, tram_id from, tram_id to, uint64_t id);
    void *context;
};

static int find_mirror(void *context, const char *name, uint64_t inode) {
    struct each_mirror *walk = context;
    OWNS_FD int fd = -1;
    struct mirror_mark mark;
    uint64_t number;
    tram_id from;
    int rc;

    (void) inode;
    if (files_parse(name, &from, &number) != FILE_MIRROR)
        return 0;
    fd = sys_file_open(walk->dir, name, false);
    rc = fd < 0 ? fd : mirror_mark_read(fd, &mark);
    if (rc < 0 || mark.id == 0)
        return files_is_machine(rc) ? rc : 0;
    return walk->each(walk->context, from, walk->to, mark.id);
}

static int find_mirrors(void *context, const char *name, uint64_t inode) {
    struct each_mirror *walk = context;
    int rc;

    (void) inode;
    if (tram_id_parse(name, &walk->to) < 0)
        return 0;
    walk->dir = sys_dir_open(walk->bus->dir, name);
    if (walk->dir < 0)
        return files_is_machine(walk->dir) ? walk->dir : 0;
    rc = sys_dir_each(walk->dir, find_mirror, walk);
    cleanup_fd(&walk->dir);
    return rc;
}

int stand_mirrors(const struct bus *bus,
                  int (*each)(void *context, tram_id from, tram_id to, uint64_t id),
                  void *context) {
    struct each_mirror walk = {.bus = bus, .dir = -1, .each = each, .context = context};

    return sys_dir_each(bus->dir, find_mirrors, &walk);
}
