/* SPDX-License-Identifier: MIT
 *
 * The table as a file, `names` in the bus directory: a record for each change, appended before
 * anybody is told of it, so that the next daemon knows what living servers hold, and what was told.
 * What doesn't count any more is left out when the file is written anew: at the start, and when it
 * is the larger part. The next file is made beside it and renamed into its place.
 *
 * A daemon that is killed while it writes leaves a record cut off; nobody was told of that change.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/daemon.h"
#include "daemon/log.h"
#include "daemon/record_file.h"
#include "sys/cleanup.h"

#define FILE_NAME "names"
#define SLACK (UINT64_C(64) << 10) /* what doesn't count, before it is written anew */

/* A record as bytes, at the end of `out`. */
static int record_add(struct control_out *out, const control_party *party, uint64_t order,
                      bool gone) {
    Tram__Control__Record record = CONTROL_NEW(Record, record);
    control_frame frame = CONTROL_NEW(Frame, frame);

    record.version = party ? 0 : CONTROL_VERSION;
    record.order = order;
    record.party = (control_party *) (uintptr_t) party; /* it is only read */
    record.gone = gone;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_RECORD;
    frame.record = &record;
    return control_out_add(out, &frame);
}

static int entry_add(struct control_out *out, struct entry *entry, bool gone) {
    size_t before = control_out_size(out);
    control_party party;
    int rc;

    table_party(entry, &party);
    rc = record_add(out, &party, 0, gone);
    entry->size = control_out_size(out) - before;
    return rc;
}

static int write_all(struct daemon *daemon, struct control_out *out, uint64_t *ret_live) {
    int rc = record_add(out, NULL, daemon->table.order, false);

    *ret_live = 0;
    for (uint32_t i = 0; i < TABLE_BUCKETS && rc == 0; i++) {
        for (struct entry *entry = daemon->table.buckets[i]; entry && rc == 0;
             entry = entry->hash_next) {
            rc = entry_add(out, entry, false);
            *ret_live += entry->size;
        }
    }
    return rc;
}

int journal_rewrite(struct daemon *daemon) {
    struct journal *journal = &daemon->journal;
    struct control_out out = { 0 };
    uint64_t live;
    int fd, rc = write_all(daemon, &out, &live);

    if (rc == 0)
        rc = record_file_write(daemon->bus.dir, FILE_NAME, &out, &fd);
    if (rc == 0) {
        cleanup_fd(&journal->fd);
        journal->fd = fd;
        journal->size = control_out_size(&out);
        journal->live = live;
        journal->stale = false;
    }
    control_out_reset(&out);
    return rc;
}

int journal_note(struct daemon *daemon, struct entry *entry, bool gone) {
    struct journal *journal = &daemon->journal;
    struct control_out out = { 0 };
    uint64_t before = entry->size;
    int rc = entry_add(&out, entry, gone);

    if (rc == 0)
        rc = record_file_append(journal->fd, &journal->size, &out);
    if (rc == 0)
        journal->live = journal->live - before + (gone ? 0 : entry->size);
    else
        entry->size = before;
    control_out_reset(&out);
    /* No room: perhaps there is when what doesn't count is left out. What goes still counts. */
    if (rc < 0 && !gone)
        rc = journal_rewrite(daemon);
    if (rc < 0) {
        if (!journal->stale)
            log_line(LEVEL_ERROR, "cannot write to %s/%s: %s", daemon->bus.path, FILE_NAME,
                     strerror(-rc));
        journal->stale = true;
    } else if (journal->size > SLACK + 2 * journal->live && !gone) {
        (void) journal_rewrite(daemon); /* or with the next change */
    }
    return rc;
}

void journal_close(struct journal *journal) {
    cleanup_fd(&journal->fd);
    journal->fd = -1;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* An entry as the record says. What is there of that name is older. */
static int record_enter(struct daemon *daemon, const Tram__Control__Record *record) {
    const control_party *party = record->party;
    struct entry *entry = table_find(&daemon->table, party->name, party->instance);
    struct name name = { 0 };
    struct life *life;
    int rc;

    if (entry) {
        struct life *old = entry->life;

        table_remove(&daemon->table, entry);
        life_put(old);
    }
    if (record->gone)
        return 0;
    rc = life_get(daemon, party->node, party->life, &life);
    if (rc == -ENOENT)
        return 0; /* an ephemeral node, and gone */
    if (rc < 0)
        return rc;
    memcpy(name.name, party->name, strlen(party->name));
    memcpy(name.instance, party->instance, strlen(party->instance));
    entry = table_add(&daemon->table, &name, life);
    if (!entry || table_set_addresses(entry, party->addresses, party->n_addresses) < 0)
        return -ENOMEM;
    memcpy(entry->program, party->program, strlen(party->program) + 1);
    entry->pid = party->pid;
    entry->port = party->port;
    if (party->order > 0)
        table_show(&daemon->table, entry, party->order);
    return 0;
}

static int record_take(struct daemon *daemon, const Tram__Control__Record *record, bool first) {
    if (first && record->version != CONTROL_VERSION)
        return -EPROTO;
    if (!record->party) {
        if (record->order > daemon->table.order && record->order <= 2 * TABLE_ORDER_MAX)
            daemon->table.order = record->order;
        return 0;
    }
    return record_enter(daemon, record);
}

/* The records that have come. */
static int take(struct daemon *daemon, struct control_in *in, bool *first, struct wrong *wrong) {
    control_frame *frame;
    int rc;

    while ((rc = control_in_next(in, CONTROL_TO_FILE, &frame, wrong)) > 0) {
        rc = record_take(daemon, frame->record, *first);
        *first = false;
        (void) control_free(frame);
        if (rc < 0)
            return rc;
    }
    return rc;
}

static int load(struct daemon *daemon) {
    struct record_file file;
    struct wrong wrong = { 0 };
    bool first = true;
    int rc = record_file_open(&file, daemon->bus.dir, FILE_NAME);

    while (rc == 0 && (rc = record_file_more(&file)) > 0)
        rc = take(daemon, &file.in, &first, &wrong);
    record_file_close(&file);
    if (rc == -EBADMSG)
        log_line(LEVEL_ERROR, "%s/%s is damaged: %s; what comes before is taken",
                 daemon->bus.path, FILE_NAME, wrong.text);
    if (rc == -EPROTO)
        log_line(LEVEL_ERROR, "%s/%s is of another version, and passed over", daemon->bus.path,
                 FILE_NAME);
    return rc == -ENOENT || rc == -EPROTO || rc == -EBADMSG ? 0 : rc;
}

/* Lives that are over hold nothing. */
static void check_lives(struct daemon *daemon) {
    struct life *next;

    for (struct life *life = daemon->lives; life; life = next) {
        next = life->next;
        life_check(life);
    }
}

int journal_load(struct daemon *daemon) {
    int rc = load(daemon);

    if (rc == 0)
        rc = journal_rewrite(daemon); /* before lives are checked, which notes what goes */
    if (rc == 0)
        check_lives(daemon);
    return rc;
}
