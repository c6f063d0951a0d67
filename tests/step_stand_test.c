/* SPDX-License-Identifier: MIT
 * test: timeout=60 label=notsan
 *
 * Kill at every instruction of what a stand-in does. support/step.h says how; here one of the two
 * nodes is stood in for, and its successor is the node itself. notsan: as step_test.c.
 */
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "node/stand.h"
#include "support/step.h"

/* Of the process that is stepped. */
static struct bus bus;
static struct stand *stand;
static struct stand_in *in;
static struct stand_out *out;
static uint64_t placed;

static void take(struct step_pair *pair, tram_id id) {
    struct tram_error error;

    STEP_OK(bus_open(NULL, pair->dir, 0600, &bus, &error));
    STEP_OK(stand_new(&bus, id, 0, &stand));
    STEP_OK(stand_take(stand, &error));
}

/* ---- mirrors --------------------------------------------------------------------------------- */

static const struct stand_out_plan plan = {.to = STEP_RECEIVER, .id = 77, .capacity = 65536};

static void mirror(struct step_pair *pair) {
    pair->receiver = step_open(pair->this, pair->dir, STEP_RECEIVER);
    take(pair, STEP_SENDER);
    STEP_OK(stand_out_open(stand, &plan, &out, NULL));
}

/* What came over the link, `size` bytes of a record at most. */
static void come(uint64_t seq, size_t body, size_t size) {
    static uint8_t bytes[100000];
    struct record record = {.seq = seq, .size = (uint32_t) body, .from = STEP_SENDER,
                            .tag = (uint32_t) seq, .prev = 5};
    const uint8_t *at = bytes;

    step_prepare(seq, body);
    memcpy(bytes, &record, sizeof(record));
    memcpy(bytes + sizeof(record), step_prepared(seq), body);
    if (size > record_span(body))
        size = record_span(body);
    while (size > 0) {
        uint64_t room;
        void *place;

        STEP_OK(stand_out_place(out, size, &place, &room));
        step_check(room >= size, "a place for all of it");
        memcpy((uint8_t *) place + placed, at, size);
        placed += size;
        size = 0;
    }
}

static void three_came(struct step_pair *pair) {
    mirror(pair);
    for (uint64_t seq = 1; seq <= 3; seq++)
        come(seq, step_size(seq), SIZE_MAX);
}

static void three_came_for_a_sleeper(struct step_pair *pair) {
    mirror(pair);
    step_sleep_receiver(pair);
    for (uint64_t seq = 1; seq <= 3; seq++)
        come(seq, step_size(seq), SIZE_MAX);
}

static void fill(struct step_pair *pair) {
    uint64_t accepted;

    (void) pair;
    STEP_OK(stand_out_filled(out, placed, &accepted));
}

static void sent_three(struct step_model *model) {
    model_sent(model, 3);
}

STEP_CASE(mirror_accepts, .setup = three_came, .operation = fill, .after = sent_three)
STEP_CASE(mirror_wakes, .setup = three_came_for_a_sleeper, .operation = fill, .after = sent_three)

/* Two, and the beginning of one for which the ring has to grow. */
static void large_begins(struct step_pair *pair) {
    mirror(pair);
    come(1, step_size(1), SIZE_MAX);
    come(2, step_size(2), SIZE_MAX);
    come(3, 90000, 3000);
}

static void sent_two(struct step_model *model) {
    model_sent(model, 2);
}

STEP_CASE(mirror_grows, .setup = large_begins, .operation = fill, .after = sent_two)

static void no_mirror(struct step_pair *pair) {
    pair->receiver = step_open(pair->this, pair->dir, STEP_RECEIVER);
    take(pair, STEP_SENDER);
}

static void make(struct step_pair *pair) {
    (void) pair;
    STEP_OK(stand_out_open(stand, &plan, &out, NULL));
}

static void nothing(struct step_model *model) {
    (void) model;
}

STEP_CASE(mirror_is_made, .setup = no_mirror, .operation = make, .after = nothing)

static void drained(struct step_pair *pair) {
    three_came(pair);
    fill(pair);
    model_sent(&pair->shared->before, 3);
    step_recv(pair, 3);
    for (int i = 0; i < 3; i++)
        step_release(pair, i);
    STEP_OK(tram_done(pair->receiver));
    (void) tram_close(pair->receiver);
    pair->receiver = NULL;
    out = stand_out_close(out);
}

static void remove_mirror(struct step_pair *pair) {
    (void) pair;
    STEP_OK(stand_out_remove(stand, STEP_RECEIVER, false));
}

/* What the sender sends next arrives, whether it is the fourth or the first; and who opens the
 * mirror anew is told that three were consumed. */
static void go_on_or_begin(struct step_shared *shared, const struct step_case *this) {
    struct stand_out_state state;
    struct tram_error error;
    struct tram_msg msg;
    tram_node *sender;
    tram_node *receiver;

    if (bus_open(NULL, shared->copy, 0600, &bus, &error) < 0 ||
        stand_new(&bus, STEP_SENDER, 0, &stand) < 0 || stand_take(stand, &error) < 0 ||
        stand_out_open(stand, &plan, &out, NULL) < 0 || stand_out_look(out, &state) < 0)
        step_wrong(shared, "the mirror can't be opened");
    if (state.consumed != 3 || state.accepted != 3)
        step_wrong(shared, "accepted %llu, consumed %llu", (unsigned long long) state.accepted,
                   (unsigned long long) state.consumed);
    stand = stand_free(stand);
    sender = step_open(this, shared->copy, STEP_SENDER);
    receiver = step_open(this, shared->copy, STEP_RECEIVER);
    if (tram_send(sender, STEP_RECEIVER, 44, "next", 4, 0) < 0 ||
        tram_recv(receiver, &msg, 0) < 0 || msg.tag != 44 || msg.attempt != 1 || msg.seq != 4)
        step_wrong(shared, "the next message does not come");
    shared->found = shared->before;
    (void) tram_close(sender);
    (void) tram_close(receiver);
    bus_close(&bus);
}

STEP_CASE(mirror_is_removed, .setup = drained, .operation = remove_mirror, .after = nothing,
          .successors = go_on_or_begin)

/* ---- origins --------------------------------------------------------------------------------- */

/* The receiver is stood in for; all that waits was read. */
static void origin(struct step_pair *pair, unsigned count) {
    struct stand_news news;
    struct stand_run run;
    uint64_t number = 1;

    take(pair, STEP_RECEIVER);
    while (stand_next(stand, &news) > 0)
        if (news.what == STAND_NEW)
            in = news.in;
    while (number <= count) {
        step_check(stand_in_run(in, number, 0, 1 << 20, &run) == 1, "a run");
        number = run.last + 1;
    }
}

static void eight_read(struct step_pair *pair) {
    pair->sender = step_open(pair->this, pair->dir, STEP_SENDER);
    step_send(pair, 8, SIZE_MAX);
    origin(pair, 8);
}

static void note(struct step_pair *pair) {
    (void) pair;
    STEP_OK(stand_in_handed(in, 8));
}

static void maybe_seen(struct step_model *model) {
    for (uint64_t seq = 1; seq <= 8; seq++)
        model->rank[seq] = 2;
}

STEP_CASE(origin_is_handed, .setup = eight_read, .operation = note, .after = maybe_seen)

static void eight_handed(struct step_pair *pair) {
    eight_read(pair);
    note(pair);
    maybe_seen(&pair->shared->before);
}

static void commit_five(struct step_pair *pair) {
    (void) pair;
    STEP_OK(stand_in_commit(in, 5));
}

static void five_gone(struct step_model *model) {
    for (uint64_t seq = 1; seq <= 5; seq++)
        model->rank[seq] = RANK_GONE;
}

STEP_CASE(origin_commits, .setup = eight_handed, .operation = commit_five, .after = five_gone)

/* Two, then a larger stream. */
static void grown(struct step_pair *pair) {
    pair->sender = step_open(pair->this, pair->dir, STEP_SENDER);
    step_send(pair, 2, SIZE_MAX);
    step_send(pair, 1, 70000);
    step_send(pair, 1, SIZE_MAX);
    origin(pair, 4);
    STEP_OK(stand_in_handed(in, 4));
    for (uint64_t seq = 1; seq <= 4; seq++)
        pair->shared->before.rank[seq] = 2;
}

static void commit_two(struct step_pair *pair) {
    (void) pair;
    STEP_OK(stand_in_commit(in, 2));
}

static void commit_four(struct step_pair *pair) {
    (void) pair;
    STEP_OK(stand_in_commit(in, 4));
}

static void two_gone(struct step_model *model) {
    model->rank[1] = model->rank[2] = RANK_GONE;
}

static void four_gone(struct step_model *model) {
    for (uint64_t seq = 1; seq <= 4; seq++)
        model->rank[seq] = RANK_GONE;
}

STEP_CASE(origin_commits_to_a_link, .setup = grown, .operation = commit_two, .after = two_gone)
STEP_CASE(origin_commits_over_a_link, .setup = grown, .operation = commit_four,
          .after = four_gone)

/* ---- moves ----------------------------------------------------------------------------------- */

static void import(struct step_pair *pair) {
    static struct stand_journal journal;
    struct stand_in_state state;

    (void) pair;
    stand_in_state(in, &state);
    journal = (struct stand_journal){.from = STEP_SENDER, .id = state.id, .consumed = 2,
                                     .handed = 5, .count = 3};
    journal.hands[0] = (struct stand_hand){.number = 3, .attempts = 1};
    journal.hands[1] = (struct stand_hand){.number = 4, .attempts = 3};
    journal.hands[2] = (struct stand_hand){.number = 5, .attempts = 1, .released = true};
    STEP_OK(stand_import(stand, &journal));
}

static void imported(struct step_model *model) {
    model->rank[1] = model->rank[2] = model->rank[5] = RANK_GONE;
    model->rank[3] = 2;
    model->rank[4] = 4;
}

STEP_CASE(journal_is_entered, .setup = eight_read, .operation = import, .after = imported)
