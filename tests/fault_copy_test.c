/* SPDX-License-Identifier: MIT
 * test: timeout=120 wrap label=notsan
 *
 * A receiver moves with what waits in a copy, while one call after the other fails on either host
 * (docs/HOSTS.md, "Copies"); and what another host may say that it knows.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "harness.h"
#include "node/files.h"
#include "node/place.h"
#include "node/stand.h"
#include "ring/layout.h"
#include "support/fault.h"
#include "support/kit.h"

#define S TRAM_ID(1, 1, 1, 1)
#define R TRAM_ID(2, 2, 2, 2)

enum { SENT = 10, READ = 3, TRIES = 5, OLD = 0, NEW = 1 };

/* Two hosts; on each the stands of both nodes. */
struct world {
    char dirs[2][256];
    struct bus buses[2];
    struct stand *senders[2], *receivers[2];
    struct stand_journal journals[4];
    struct stand_note notes[8];
    size_t journals_count, notes_count;
};

static void begin(struct world *w, unsigned round) {
    struct tram_error error;

    *w = (struct world){.journals_count = 0};
    for (int host = 0; host < 2; host++) {
        (void) snprintf(w->dirs[host], sizeof(w->dirs[host]), "%s/%u-%d", test_dir(), round, host);
        CHECK_OK(mkdir(w->dirs[host], 0700));
        CHECK_OK(bus_open(NULL, w->dirs[host], 0600, &w->buses[host], &error));
        CHECK_OK(stand_new(&w->buses[host], S, 0, &w->senders[host]));
        CHECK_OK(stand_new(&w->buses[host], R, 0, &w->receivers[host]));
        CHECK_OK(stand_take(w->senders[host], &error));
    }
}

static void end(struct world *w) {
    for (int host = 0; host < 2; host++) {
        (void) stand_free(w->senders[host]);
        (void) stand_free(w->receivers[host]);
        bus_close(&w->buses[host]);
        kit_remove_tree(w->dirs[host]);
    }
}

/* Messages from `first` on, as many as R reads on that host: once each, and unmarked. */
static void read_on(const struct world *w, int host, uint64_t first, uint64_t last) {
    const struct tram_options options = kit_options(65536, TRAM_NO_SPIN);
    tram_node *r = kit_open(w->dirs[host], R, &options);
    struct tram_msg msg;

    for (uint64_t n = first; n <= last; n++) {
        CHECK_OK(tram_recv(r, &msg, 0));
        if (msg.seq != n || msg.attempt != 1)
            FAIL("%llu, attempt %u, not %llu [%s: %s]", (unsigned long long) msg.seq, msg.attempt,
                 (unsigned long long) n, fault_name(), strerror(fault_code()));
    }
    CHECK_OK(tram_done(r));
    (void) tram_close(r);
}

static int put(struct stand_out *out, const void *bytes, uint64_t size) {
    uint64_t accepted, room;
    void *place;
    int rc = stand_out_place(out, size, &place, &room);

    if (rc < 0 || room < size)
        return rc < 0 ? rc : -ENOSPC;
    memcpy(place, bytes, size);
    rc = stand_out_filled(out, size, &accepted);
    if (rc < 0)
        stand_out_drop(out); /* it comes again */
    return rc;
}

/* What came over the link before the sender's host was cut off. */
static void fill(struct world *w) {
    const struct stand_out_plan plan = {.to = R, .id = 99, .capacity = 65536};
    struct stand_out *out;

    CHECK_OK(stand_out_open(w->senders[OLD], &plan, &out, NULL));
    for (uint64_t n = 1; n <= SENT; n++) {
        struct { struct record record; uint8_t body[8]; } message = {
            .record = {.seq = n, .size = 8, .from = S}};

        CHECK_OK(put(out, &message, sizeof(message)));
    }
}

/* ---- the steps of a move, each of which may be done again ------------------------------------ */

static int hold(struct world *w) {
    struct tram_error error;

    return stand_take(w->receivers[OLD], &error);
}

static int keep(struct world *w) {
    return stand_out_keep(w->senders[OLD], R, false);
}

static int journal(void *context, const struct stand_journal *journal) {
    struct world *w = context;

    CHECK(w->journals_count < 4);
    w->journals[w->journals_count] = *journal;
    w->journals[w->journals_count++].epoch = 1;
    return 0;
}

static int note(void *context, const struct stand_note *note) {
    struct world *w = context;

    CHECK(w->notes_count < 8);
    w->notes[w->notes_count++] = *note;
    return 0;
}

static int export(struct world *w) {
    static const struct stand_exported each = {journal, note};

    (void) stand_out_close(stand_out_find(w->senders[OLD], R)); /* its link is told that R left */
    w->journals_count = w->notes_count = 0;
    return stand_export(w->receivers[OLD], &each, w);
}

static int enter(struct world *w) {
    const struct stand_note copy = {.from = S, .host = 7, .id = 99, .number = SENT};
    const struct place here = {.id = R, .state = PLACE_HERE, .host = 1, .epoch = 1};
    struct tram_error error;
    int rc = stand_take(w->receivers[NEW], &error);

    if (rc == 0)
        rc = stand_import_note(w->receivers[NEW], &copy);
    for (size_t i = 0; rc == 0 && i < w->notes_count; i++)
        rc = stand_import_note(w->receivers[NEW], &w->notes[i]);
    for (size_t i = 0; rc == 0 && i < w->journals_count; i++)
        rc = stand_import(w->receivers[NEW], &w->journals[i]);
    return rc < 0 ? rc : place_write(&w->buses[NEW], &here);
}

static struct stand_in *copy_of(struct world *w) {
    struct stand_news news;

    (void) stand_due(w->receivers[OLD], UINT64_MAX);
    while (stand_next(w->receivers[OLD], &news) > 0)
        continue;
    return stand_in_find(w->receivers[OLD], S);
}

/* From the copy to the mirror on the new host. */
static int carry(struct world *w) {
    struct stand_in *in = copy_of(w);
    struct stand_in_state state;
    struct stand_out_state mirror;
    struct stand_out_plan plan = {.to = R, .id = 99, .capacity = 65536};
    struct stand_out *out;
    struct stand_run run;
    int rc;

    if (!in)
        return -EAGAIN;
    stand_in_state(in, &state);
    CHECK(state.copy && !state.broken && state.accepted == SENT);
    plan.consumed = state.consumed;
    plan.unsure = state.accepted;
    rc = stand_out_open(w->senders[NEW], &plan, &out, NULL);
    if (rc == 0)
        rc = stand_out_look(out, &mirror);
    while (rc == 0 && mirror.accepted < SENT) {
        rc = stand_in_run(in, mirror.accepted + 1, 0, 65536, &run);
        rc = rc == 0 ? -EAGAIN : rc < 0 ? rc : put(out, run.data, run.size);
        if (rc == 0)
            rc = stand_out_look(out, &mirror);
    }
    return rc;
}

/* All was consumed over there. */
static int drop(struct world *w) {
    struct stand_in *in = copy_of(w);
    struct stand_in_state state;
    int rc = stand_copy_forget(&w->buses[NEW], S, R, 99, 7);

    if (rc < 0 && rc != -ENOENT)
        return rc;
    if (!in)
        return 0;
    stand_in_state(in, &state);
    rc = stand_in_handed(in, SENT);
    if (rc == 0)
        rc = stand_in_commit(in, SENT);
    return rc < 0 ? rc : stand_in_remove(in);
}

static int (*const steps[])(struct world *w) = {hold, keep, export, enter, carry, drop};

/* The n-th call of that step fails. False: it has fewer. */
static bool move(unsigned round, size_t step, unsigned n) {
    enum fault_result result = FAULT_NOT_REACHED;
    struct world w;
    int rc = 0;

    begin(&w, round);
    fill(&w);
    read_on(&w, OLD, 1, READ);
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (steps[i] == drop) { /* before: R is opened on the new host, and reads all */
            stand_let_go(w.receivers[NEW]);
            read_on(&w, NEW, READ + 1, SENT);
        }
        if (i == step)
            fault_arm(n, FAULT_ROTATE, false);
        rc = steps[i](&w);
        if (i == step)
            result = fault_disarm();
        for (int tries = 0; rc < 0 && tries < TRIES; tries++)
            rc = steps[i](&w);
        if (rc < 0)
            FAIL("step %zu: %s [%s: %s]", i, strerror(-rc), fault_name(), strerror(fault_code()));
    }
    CHECK(!copy_of(&w));
    CHECK_ERR(stand_copy_forget(&w.buses[NEW], S, R, 99, 7), -ENOENT);
    end(&w);
    return result != FAULT_NOT_REACHED;
}

TEST_TIMEOUT(a_copy_moves_while_calls_fail, 100) {
    unsigned round = 0;

    for (size_t step = 0; step < sizeof(steps) / sizeof(steps[0]); step++) {
        unsigned n = 1;

        while (move(round++, step, n))
            n++;
        CHECK(n > 1);
    }
    printf("    %u moves\n", round);
}

/* Each is a file. */
TEST(who_had_a_node_names_so_many_senders) {
    struct stand_note one = {.id = 99, .number = 1};
    struct tram_error error;
    struct world w;

    begin(&w, 0);
    CHECK_OK(stand_take(w.receivers[NEW], &error));
    for (uint32_t n = 1; n <= 8192; n++) {
        one.from = n;
        CHECK_OK(stand_import_note(w.receivers[NEW], &one));
    }
    one.from++;
    CHECK_ERR(stand_import_note(w.receivers[NEW], &one), -EMLINK);
    one.from = 1;
    one.number = 2;
    CHECK_OK(stand_import_note(w.receivers[NEW], &one));
    end(&w);
}
