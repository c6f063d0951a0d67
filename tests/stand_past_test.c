/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * What is kept of streams whose mirrors are gone (`past-S`, docs/SEGMENT.md §14): told to the
 * receiver's next host as long as it holds, whatever is known by then of where that is; and read
 * without what can't be.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <tram/tram.h>
#include <unistd.h>

#include "harness.h"
#include "node/mirror.h"
#include "node/place.h"
#include "ring/layout.h"
#include "support/cable.h"
#include "support/kit.h"

#define S TRAM_ID(1, 1, 1, 1)
#define R TRAM_ID(2, 2, 2, 2)

#define STREAM 99u

/* R's host, and R's stand-in on it. */
struct host {
    struct cable cable;
    struct stand *stand;
};

static void place(const struct host *host, uint32_t state, uint32_t where, uint64_t epoch) {
    struct place place = {.id = R, .state = state, .host = where, .epoch = epoch};

    CHECK_OK(place_write(&host->cable.buses[1], &place));
}

static void begin(struct host *host) {
    struct tram_error error;

    cable_init(&host->cable);
    cable_place(&host->cable, S, 0);
    cable_place(&host->cable, R, 1);
    CHECK_OK(stand_new(&host->cable.buses[1], R, 0, &host->stand));
    CHECK_OK(stand_take(host->stand, &error));
}

static void end(struct host *host) {
    (void) stand_free(host->stand);
    cable_close(&host->cable);
    for (int i = 0; i < CABLE_HOSTS; i++)
        kit_remove_tree(host->cable.dirs[i]);
}

/* ---- what the next host is told -------------------------------------------------------------- */

struct told {
    unsigned journals, notes;
    uint64_t consumed, unsure;
};

static int count_journal(void *context, const struct stand_journal *journal) {
    struct told *told = context;

    CHECK(journal->from == S && journal->id == STREAM && journal->mirror);
    told->journals++;
    told->consumed = journal->consumed;
    told->unsure = journal->unsure;
    return 0;
}

static int count_note(void *context, const struct stand_note *note) {
    struct told *told = context;

    CHECK(note->from == S && note->id == STREAM);
    told->notes++;
    return 0;
}

static struct told told_by(struct host *host) {
    static const struct stand_exported each = {count_journal, count_note};
    struct told told = {0};

    CHECK_OK(stand_export(host->stand, &each, &told));
    return told;
}

/* One message is received, its mirror is drained, and removed. */
static void drain(struct host *host) {
    const struct stand_out_plan plan = {.to = R, .id = STREAM, .capacity = 65536, .unsure = 1};
    const struct record record = {.seq = 1, .size = 8, .from = S};
    const struct bus *bus = &host->cable.buses[1];
    struct tram_error error;
    struct stand *sender;
    struct stand_out *out;
    struct tram_msg msg;
    uint64_t accepted, size;
    tram_node *r;
    void *data;

    stand_let_go(host->stand);
    r = kit_open(host->cable.dirs[1], R, NULL);
    CHECK_OK(stand_new(bus, S, 0, &sender));
    CHECK_OK(stand_take(sender, &error));
    CHECK_OK(stand_out_open(sender, &plan, &out, NULL));
    CHECK_OK(stand_out_place(out, record_span(record.size), &data, &size));
    memset(data, 0, size);
    memcpy(data, &record, sizeof(record));
    CHECK_OK(stand_out_filled(out, record_span(record.size), &accepted));
    CHECK_EQ(accepted, 1);
    CHECK_OK(tram_recv(r, &msg, 0));
    CHECK_OK(tram_done(r));
    (void) tram_close(r);
    CHECK_OK(stand_out_remove(sender, R, false));
    (void) stand_free(sender);
    CHECK_OK(stand_take(host->stand, &error));
}

/* Given up in order for another host. That is asked for what is known may be behind the directory's
 * word of where the node is: then, too, nothing beyond what was consumed may have been seen, and
 * the next host has to know. */
TEST(a_journal_is_told_though_it_is_known_where_it_went) {
    struct told told;
    struct host host;

    begin(&host);
    place(&host, PLACE_HERE, 1, 5);
    drain(&host);
    told = told_by(&host);
    CHECK(told.journals == 1 && told.consumed == 1 && told.unsure == 0);
    place(&host, PLACE_AWAY, 0, 5);
    CHECK_EQ(told_by(&host).journals, 1);
    place(&host, PLACE_AWAY, 2, 6);
    told = told_by(&host);
    CHECK(told.journals == 1 && told.consumed == 1 && told.unsure == 0);
    place(&host, PLACE_AWAY, 3, 7); /* that one never got to know that it had it */
    CHECK_EQ(told_by(&host).journals, 1);
    end(&host);
}

/* Here again, by a take-over: what others did with the stream meanwhile is not known. */
TEST(a_journal_of_before_is_not_told) {
    struct told told;
    struct host host;

    begin(&host);
    place(&host, PLACE_HERE, 1, 5);
    drain(&host);
    place(&host, PLACE_AWAY, 2, 6);
    place(&host, PLACE_HERE, 1, 7);
    told = told_by(&host);
    CHECK(told.journals == 0 && told.notes > 0);
    place(&host, PLACE_AWAY, 2, 8);
    told = told_by(&host);
    CHECK(told.journals == 0 && told.notes > 0);
    end(&host);
}

/* ---- spoiled notes --------------------------------------------------------------------------- */

static struct past *map_past(const struct host *host) {
    char path[512];
    int fd = open(kit_path(path, sizeof(path), host->cable.dirs[1], R, "past-1.1.1.1"),
                  O_RDWR | O_CLOEXEC);
    struct past *past = mmap(NULL, sizeof(*past), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    CHECK(fd >= 0 && past != MAP_FAILED);
    (void) close(fd);
    return past;
}

static const struct stand_note copy = {.from = S, .host = 5, .id = STREAM, .number = 10};
static const struct stand_note consumed = {.from = S, .id = STREAM, .number = 10};

/* A word of the note of a copy becomes this: that copy is not there any more, and what comes of
 * the stream is noted all the same. */
static void spoil(size_t at, uint64_t value) {
    const struct bus *bus;
    uint64_t seen, accepted;
    struct host host;
    struct past *past;
    uint32_t number;

    begin(&host);
    bus = &host.cable.buses[1];
    CHECK_OK(stand_import_note(host.stand, &copy));
    CHECK_OK(stand_copy_other(bus, S, R, STREAM + 1, &number));
    CHECK_EQ(number, 5);
    past = map_past(&host);
    memcpy((uint8_t *) past + at, &value, sizeof(value));
    (void) munmap(past, sizeof(*past));
    CHECK_ERR(stand_copy_other(bus, S, R, STREAM + 1, &number), -ENOENT);
    CHECK_OK(stand_copy_find(bus, S, R, STREAM, 5, &seen, &accepted));
    CHECK(seen == 0 && accepted == 0);
    CHECK_EQ(told_by(&host).notes, 0);
    CHECK_OK(stand_import_note(host.stand, &consumed));
    CHECK_ERR(stand_copy_other(bus, S, R, STREAM + 1, &number), -ENOENT);
    CHECK_OK(stand_copy_find(bus, S, R, STREAM, 5, &seen, &accepted));
    CHECK(seen == 10 && accepted == 0);
    CHECK_ERR(stand_copy_forget(bus, S, R, STREAM, 5), -ENOENT);
    CHECK_OK(stand_import_note(host.stand, &copy)); /* as if nothing had been */
    CHECK_OK(stand_copy_other(bus, S, R, STREAM + 1, &number));
    CHECK_EQ(number, 5);
    end(&host);
}

#define COPY(field) offsetof(struct past, copies[0].field)

TEST(a_copy_is_noted_of_a_host_that_can_be_none) {
    spoil(COPY(host), UINT64_C(1) << 32 | 5);
    spoil(COPY(host), 0);
    spoil(COPY(host), PAST_HOSTS + 1);
    spoil(COPY(host), UINT64_MAX);
}

TEST(a_copy_is_noted_with_a_number_that_can_be_none) {
    spoil(COPY(accepted), 0);
    spoil(COPY(accepted), LAYOUT_END);
    spoil(COPY(accepted), UINT64_MAX);
}

TEST(a_copy_is_noted_of_no_stream) {
    spoil(COPY(id), 0);
}

/* Each word of the file, one after the other, with values that mean something or nothing: whoever
 * reads it comes to an end, and tells nobody what can't be. */
TEST_TIMEOUT(any_word_is_spoiled, 60) {
    static const uint64_t values[] = {0, 1, STREAM, UINT64_C(1) << 32 | 5, LAYOUT_END, UINT64_MAX};
    struct past *past, good;
    struct host host;
    unsigned count = 0;

    begin(&host);
    place(&host, PLACE_HERE, 1, 5);
    drain(&host);
    CHECK_OK(stand_import_note(host.stand, &copy));
    past = map_past(&host);
    good = *past;
    (void) munmap(past, sizeof(*past));
    for (size_t at = 0; at < offsetof(struct past, zero3); at += 8) {
        for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
            struct stand_note more = consumed;
            uint32_t number;
            int rc;

            past = map_past(&host);
            *past = good;
            memcpy((uint8_t *) past + at, &values[i], sizeof(values[i]));
            (void) munmap(past, sizeof(*past));
            rc = stand_copy_other(&host.cable.buses[1], S, R, STREAM + 1, &number);
            CHECK(rc == 0 ? number > 0 && number <= PAST_HOSTS : rc == -ENOENT || rc == -EPROTO);
            more.number += ++count;
            rc = stand_import_note(host.stand, &more);
            CHECK(rc == 0 || rc == -EPROTO);
        }
    }
    end(&host);
}
