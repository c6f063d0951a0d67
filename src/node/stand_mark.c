/* SPDX-License-Identifier: MIT
 *
 * The files beside a mirror, as who writes it has them.
 */
#include <errno.h>
#include <string.h>

#include "node/mirror.h"
#include "sys/cleanup.h"
#include "sys/file.h"
#include "sys/lock.h"

int mirror_mark_write(const struct bus *bus, int fd, const struct mirror_mark *mark) {
    int rc = sys_file_write(fd, mark, sizeof(*mark), 0);

    return rc == 0 && bus->boot ? sys_file_sync(fd) : rc;
}

/* A directory, a link or a FIFO lies in its place. */
static bool is_no_file(int rc) {
    return rc == -EISDIR || rc == -ELOOP || rc == -ESPIPE;
}

int mirror_lock(const struct bus *bus, int dir, tram_id from, bool make, int *ret_fd) {
    char name[FILES_NAME];

    files_mirror_name(name, from);
    for (;;) {
        OWNS_FD int fd = make ? sys_file_open_or_make(dir, name, bus->mode)
                              : sys_file_open(dir, name, true);
        struct mirror_mark mark;
        struct sys_stat st;
        int rc = fd < 0 ? fd : make ? mirror_mark_read(fd, &mark) : 0;

        if (is_no_file(rc) && make && sys_remove(dir, name) == 0)
            continue;
        if (fd >= 0)
            rc = sys_lock(fd, MARK_LOCK);
        if (rc < 0)
            return fd >= 0 && rc == -EAGAIN ? -EBUSY : rc;
        rc = sys_stat_fd(fd, &st);
        if (rc < 0)
            return rc;
        if (st.links > 0) { /* else who had it removed it: again */
            *ret_fd = take_fd(&fd);
            return 0;
        }
    }
}

/* ---- past ------------------------------------------------------------------------------------ */

/* What can't be is left out: it was spoiled, and is not to be told to others. */
static void keep_sane(struct past *past) {
    uint32_t streams = 0, copies = 0;

    if (past->id == 0 || past->consumed >= LAYOUT_END || past->handed >= LAYOUT_END ||
        past->unsure >= LAYOUT_END || past->handed < past->consumed) {
        past->id = past->consumed = past->handed = past->unsure = past->epoch = 0;
        memset(past->window, 0, sizeof(past->window));
    }
    for (uint32_t i = 0; i < PAST_STREAMS; i++)
        if (past->streams[i].id != 0 && past->streams[i].consumed < LAYOUT_END)
            past->streams[streams++] = past->streams[i];
    while (streams < PAST_STREAMS)
        past->streams[streams++] = (struct past_stream){.id = 0};
    for (uint32_t i = 0; i < PAST_COPIES; i++)
        if (past->copies[i].id != 0 && past->copies[i].accepted != 0 &&
            past->copies[i].accepted < LAYOUT_END && past->copies[i].host != 0 &&
            past->copies[i].host <= PAST_HOSTS)
            past->copies[copies++] = past->copies[i];
    while (copies < PAST_COPIES)
        past->copies[copies++] = (struct past_copy){.id = 0};
}

int past_read(int dir, tram_id from, tram_id to, struct past *ret_past) {
    char name[FILES_NAME];
    OWNS_FD int fd = -1;
    int rc;

    files_past_name(name, from);
    fd = sys_file_open(dir, name, false);
    rc = fd < 0 ? fd : sys_file_read(fd, ret_past, sizeof(*ret_past), 0);
    if (rc == 0 && ret_past->magic == PAST_MAGIC && ret_past->version != PAST_VERSION)
        return -EPROTO;
    if (files_is_machine(rc))
        return rc;
    if (rc < 0 || ret_past->magic != PAST_MAGIC || ret_past->from != from || ret_past->to != to) {
        memset(ret_past, 0, sizeof(*ret_past));
        ret_past->magic = PAST_MAGIC;
        ret_past->version = PAST_VERSION;
        ret_past->from = from;
        ret_past->to = to;
    }
    keep_sane(ret_past);
    return 0;
}

int past_write(const struct bus *bus, int dir, const struct past *past) {
    char name[FILES_NAME];

    files_past_name(name, past->from);
    return files_put(bus, dir, name, past, sizeof(*past));
}

static int count_past(void *context, const char *name, uint64_t inode) {
    uint32_t *count = context;
    uint64_t number;
    tram_id from;

    (void) inode;
    *count += files_parse(name, &from, &number) == FILE_PAST;
    return 0;
}

int past_count(int dir, uint32_t *count) {
    return sys_dir_each(dir, count_past, count);
}

int past_find(const struct past *past, uint64_t id, uint64_t *ret_consumed) {
    for (uint32_t i = 0; i < PAST_STREAMS; i++) {
        if (id != 0 && past->streams[i].id == id) {
            *ret_consumed = past->streams[i].consumed;
            return 0;
        }
    }
    return -ENOENT;
}

void past_note(struct past *past, uint64_t id, uint64_t consumed) {
    uint32_t at = 0;

    while (at < PAST_STREAMS - 1 && past->streams[at].id != id && past->streams[at].id != 0)
        at++;
    memmove(&past->streams[1], &past->streams[0], at * sizeof(past->streams[0]));
    past->streams[0] = (struct past_stream){.id = id, .consumed = consumed};
    past_had(past, id, consumed);
}

void past_enter(struct past *past, uint64_t id, uint64_t consumed) {
    uint64_t known;

    if (past->id != id && past->id != 0 &&
        (past_find(past, past->id, &known) < 0 || known < past->consumed))
        past_note(past, past->id, past->consumed);
    past->id = id;
    past->consumed = consumed;
    past_had(past, id, consumed);
}

void past_had(struct past *past, uint64_t id, uint64_t consumed) {
    uint32_t kept = 0;

    for (uint32_t i = 0; i < PAST_COPIES; i++) {
        if (past->copies[i].id != id || past->copies[i].accepted > consumed)
            past->copies[kept++] = past->copies[i];
    }
    while (kept < PAST_COPIES)
        past->copies[kept++] = (struct past_copy){.id = 0};
}

bool past_copy(struct past *past, uint64_t id, uint32_t host, uint64_t accepted) {
    uint32_t at = 0;
    bool knew;

    while (at < PAST_COPIES - 1 && past->copies[at].id != 0 &&
           (past->copies[at].id != id || past->copies[at].host != host))
        at++;
    knew = past->copies[at].id == id && past->copies[at].host == host;
    if (accepted > 0) {
        memmove(&past->copies[1], &past->copies[0], at * sizeof(past->copies[0]));
        past->copies[0] = (struct past_copy){.id = id, .accepted = accepted, .host = host};
    } else if (knew) {
        memmove(&past->copies[at], &past->copies[at + 1],
                (PAST_COPIES - 1 - at) * sizeof(past->copies[0]));
        past->copies[PAST_COPIES - 1] = (struct past_copy){.id = 0};
    }
    return knew;
}
