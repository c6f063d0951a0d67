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

#include "node/custody.h"
#include "node/mirror.h"
#include "node/place.h"
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

static int export_ring(tram_node *node, tram_id from, struct stand_journal *journal) {
    struct peer peer = {.id = from, .bell = -1, .watch_fd = -1};
    struct channel_look look = {0};
    struct in *in = calloc(1, sizeof(*in));
    const struct head *head;
    int lies = 0;
    int rc;

    if (!in)
        return -ENOMEM;
    in->peer = &peer;
    rc = channel_look(node->dir, from, node->id, &look);
    if (rc == 0)
        rc = in_map(node, in);
    if (rc == 0)
        rc = lies = mirror_lies(node->dir, from);
    if (rc >= 0) {
        head = in->head_map.base;
        *journal = (struct stand_journal){
            .from = from,
            .mirror = lies == 1,
            .id = in->id + (load_relaxed(&in->rx.words->life) & RECORD_LIFE(-1u)),
            .consumed = in->rx.seq,
            .accepted = look.accepted,
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

/* One that was entered, and of whose stream no mirror was made here; or that of a drained mirror
 * which was removed. It holds for the time that the node was here last, and no other: where it is
 * by now says nothing, for the directory may have told that before its next host asks. 1, 0, or
 * what the machine says. */
static int export_entered(const tram_node *node, const struct past *past,
                          struct stand_journal *journal) {
    struct place place;
    int rc = past->id == 0 || past->epoch == 0 ? -ENOENT
                                               : place_read(node->dir, node->id, &place);

    if (rc < 0 || (place.here ? place.here : place.epoch) != past->epoch)
        return files_is_machine(rc) ? rc : 0;
    *journal = (struct stand_journal){
        .from = past->from,
        .mirror = true,
        .id = past->id,
        .consumed = past->consumed,
        .handed = past->handed,
        .accepted = past->consumed,
        .unsure = past->unsure,
    };
    for (uint64_t i = 1; i <= LAYOUT_WINDOW; i++) {
        uint64_t number = past->consumed + i;
        uint64_t word = past->window[number % LAYOUT_WINDOW];

        if (word != 0 && WINDOW_SEQ(word) == WINDOW_SEQ(number))
            journal->hands[journal->count++] = (struct stand_hand){
                .number = number, .attempts = (uint8_t) WINDOW_ATTEMPTS(word),
                .released = (word & WINDOW_RELEASED) != 0};
    }
    return 1;
}

struct export {
    tram_node *node;
    const struct stand_exported *each;
    void *context;
};

static int export_notes(const struct export *export, const struct past *past) {
    struct channel_look look = {0}; /* of that stream its ring says more */
    int rc = 0;

    (void) channel_look(export->node->dir, past->from, export->node->id, &look);

    for (uint32_t i = 0; rc == 0 && i < PAST_STREAMS; i++) {
        const struct stand_note note = {
            .from = past->from, .id = past->streams[i].id, .number = past->streams[i].consumed};

        if (note.number != 0 && note.id != look.id)
            rc = export->each->note(export->context, &note);
    }
    if (rc == 0 && past->id != 0 && past->id != look.id && past->consumed != 0)
        rc = export->each->note(export->context,
                                &(struct stand_note){.from = past->from, .id = past->id,
                                                     .number = past->consumed});
    for (uint32_t i = 0; rc == 0 && i < PAST_COPIES; i++) {
        const struct past_copy *copy = &past->copies[PAST_COPIES - 1 - i];
        const struct stand_note note = {.from = past->from, .host = (uint32_t) copy->host,
                                        .id = copy->id, .number = copy->accepted};

        if (note.id != 0)
            rc = export->each->note(export->context, &note);
    }
    return rc;
}

/* What is known of streams from one sender. */
static int export_past(const struct export *export, tram_id from) {
    struct stand_journal journal = {0};
    struct past past;
    uint64_t inode;
    int rc = past_read(export->node->dir, from, export->node->id, &past);

    if (rc < 0)
        return files_is_machine(rc) ? rc : 0; /* of another version */
    rc = export_notes(export, &past);
    if (rc < 0)
        return rc;
    rc = head_inode(export->node->dir, from, &inode);
    if (rc != -ENOENT)
        return files_is_machine(rc) ? rc : 0; /* its ring says more */
    rc = export_entered(export->node, &past, &journal);
    return rc == 1 ? export->each->journal(export->context, &journal) : rc;
}

static int export_name(void *context, const char *name, uint64_t inode) {
    struct export *export = context;
    struct stand_journal journal;
    enum file_kind kind;
    uint64_t number;
    tram_id from;
    int rc;

    (void) inode;
    kind = files_parse(name, &from, &number);
    if (kind == FILE_PAST)
        return export_past(export, from);
    if (kind != FILE_HEAD)
        return 0;
    rc = export_ring(export->node, from, &journal);
    if (rc < 0) /* no channel, or one that is closed to everybody */
        return files_is_machine(rc) ? rc : 0;
    return export->each->journal(export->context, &journal);
}

int stand_export(struct stand *stand, const struct stand_exported *each, void *context) {
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

/* What another host says: of no more senders than could have a channel here. */
static int enter_past(struct stand *stand, const struct past *past) {
    const tram_node *node = &stand->node;
    char name[FILES_NAME];
    struct sys_stat st;
    int rc = 0;

    files_past_name(name, past->from);
    if (sys_stat_at(node->dir, name, &st) < 0) {
        if (stand->pasts == 0)
            rc = past_count(node->dir, &stand->pasts);
        if (rc == 0 && stand->pasts >= INS_MAX)
            rc = -EMLINK;
        stand->pasts++;
    }
    return rc < 0 ? rc : past_write(&node->bus, node->dir, past);
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
    if (!in)
        in = stand_in_attach(stand, journal->from);
    if (in)
        stand_in_state(in, &state);
    if (in && !state.broken && state.id == journal->id) {
        if (!in->copy || journal->consumed < state.accepted)
            return import_here(in, journal);
        rc = stand_in_remove(in); /* all of it was consumed elsewhere */
        if (rc < 0)
            return rc;
        in = NULL;
    }
    /* From before the node went away: older than this journal. A copy of another stream is read
     * before the one that this journal is of. */
    if ((!in || !in->copy) && mirror_bars(node->dir, journal->from) == 1)
        return -EEXIST;
    rc = past_read(node->dir, journal->from, node->id, &past);
    if (rc < 0)
        return rc;
    past_enter(&past, journal->id, journal->consumed);
    past.handed = journal->handed;
    past.unsure = journal->unsure;
    past.epoch = journal->epoch;
    make_window(journal, 0, past.window);
    return enter_past(stand, &past);
}

/* What lies here was consumed elsewhere up to there. */
static int consumed_elsewhere(struct stand_in *in, const struct stand_note *note) {
    uint64_t number = note->number;
    struct stand_in_state state;

    stand_in_state(in, &state);
    if (state.broken || state.id != note->id || number <= state.consumed)
        return 0;
    if (in->copy && number >= state.accepted)
        return stand_in_remove(in);
    if (number > state.accepted)
        return -EINVAL;
    if (in->handed < number)
        in->handed = number;
    return stand_in_commit(in, number);
}

int stand_import_note(struct stand *stand, const struct stand_note *note) {
    tram_node *node = &stand->node;
    struct stand_in *in = NULL;
    struct past past;
    uint64_t known = 0;
    int rc = 0;

    if (!stand_is_held(stand))
        return -EBADF;
    if (note->id == 0 || note->number == 0 || note->number >= LAYOUT_END)
        return -EINVAL;
    if (note->host == 0)
        in = stand_in_find(stand, note->from);
    if (note->host == 0 && !in)
        in = stand_in_attach(stand, note->from);
    if (in)
        rc = consumed_elsewhere(in, note);
    else if (note->host == 0 && mirror_bars(node->dir, note->from) == 1)
        rc = -EEXIST;
    if (rc == 0)
        rc = past_read(node->dir, note->from, node->id, &past);
    if (rc < 0)
        return rc;
    if (note->host != 0)
        (void) past_copy(&past, note->id, note->host, note->number);
    else if (past_find(&past, note->id, &known) < 0 || known < note->number)
        past_note(&past, note->id, note->number);
    return enter_past(stand, &past);
}

/* ---- mirrors --------------------------------------------------------------------------------- */

struct each_mirror {
    const struct bus *bus;
    int dir;
    tram_id to;
    int (*each)(void *context, const struct stand_mirror *mirror);
    void *context;
};

static int find_mirror(void *context, const char *name, uint64_t inode) {
    struct each_mirror *walk = context;
    OWNS_FD int fd = -1;
    struct stand_mirror mirror;
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
    mirror = (struct stand_mirror){.from = from, .to = walk->to, .id = mark.id};
    memcpy(mirror.origin, mark.origin, sizeof(mirror.origin));
    return walk->each(walk->context, &mirror);
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

int stand_mirrors(const struct bus *bus, tram_id to,
                  int (*each)(void *context, const struct stand_mirror *mirror), void *context) {
    struct each_mirror walk = {.bus = bus, .dir = -1, .each = each, .context = context};
    char name[TRAM_ID_TEXT];

    if (to != 0)
        return find_mirrors(&walk, tram_id_format(to, name), 0);
    return sys_dir_each(bus->dir, find_mirrors, &walk);
}
