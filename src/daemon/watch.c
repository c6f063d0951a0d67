/* SPDX-License-Identifier: MIT
 *
 * Who wants to know of names. A new watch is first told what is there, in the order of publication,
 * as fast as its reader takes it: the cursor says how far that is. What is behind the cursor, in
 * that order, changes by frames of its own; what is before it will be told as it is then.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/hosts.h"

static void send_party(struct conn *conn, uint64_t cookie, const struct entry *entry,
                       bool online) {
    Tram__Control__Online come = CONTROL_NEW(Online, online);
    Tram__Control__Offline go = CONTROL_NEW(Offline, offline);
    control_frame frame = CONTROL_NEW(Frame, frame);
    control_party party;

    table_party(entry, &party);
    if (online) {
        come.cookie = cookie;
        come.party = &party;
        frame.kind_case = TRAM__CONTROL__FRAME__KIND_ONLINE;
        frame.online = &come;
    } else {
        go.cookie = cookie;
        go.party = &party;
        frame.kind_case = TRAM__CONTROL__FRAME__KIND_OFFLINE;
        frame.offline = &go;
    }
    conn_send(conn, &frame);
}

static void send_told(struct conn *conn, struct watch *watch) {
    Tram__Control__Told told = CONTROL_NEW(Told, told);
    control_frame frame = CONTROL_NEW(Frame, frame);

    watch->told = true;
    watch->owed = conn->daemon->hosts && far_pending(conn->daemon->hosts);
    told.cookie = watch->cookie;
    told.more = watch->owed;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_TOLD;
    frame.told = &told;
    conn_send(conn, &frame);
}

static bool fits(const struct watch *watch, const struct entry *entry) {
    return pattern_fits(watch->pattern, entry->name.name, entry->name.instance);
}

int watch_add(struct conn *conn, uint64_t cookie, const char *pattern) {
    struct watch *watch;

    for (watch = conn->watches; watch; watch = watch->next)
        if (watch->cookie == cookie)
            return -EEXIST;
    watch = calloc(1, sizeof(*watch));
    if (!watch)
        return -ENOMEM;
    watch->cookie = cookie;
    memcpy(watch->pattern, pattern, strlen(pattern) + 1);
    watch->cursor = conn->daemon->table.first;
    watch->next = conn->watches;
    conn->watches = watch;
    conn->watches_count++;
    conn_due(conn);
    return 0;
}

void watch_remove(struct conn *conn, uint64_t cookie) {
    for (struct watch **link = &conn->watches; *link; link = &(*link)->next) {
        struct watch *watch = *link;

        if (watch->cookie != cookie)
            continue;
        *link = watch->next;
        conn->watches_count--;
        free(watch);
        return;
    }
}

void watch_end(struct conn *conn) {
    while (conn->watches)
        watch_remove(conn, conn->watches->cookie);
}

void watch_pump(struct conn *conn, size_t most) {
    for (struct watch *watch = conn->watches; watch; watch = watch->next) {
        while (!watch->told && !conn->doomed) {
            struct entry *entry = watch->cursor;

            if (control_out_size(&conn->out) >= most)
                return;
            if (entry) {
                watch->cursor = entry->next;
                if (fits(watch, entry))
                    send_party(conn, watch->cookie, entry, true);
            } else {
                send_told(conn, watch);
            }
        }
    }
}

void watch_complete(struct daemon *daemon) {
    for (struct conn *conn = daemon->conns; conn; conn = conn->next)
        for (struct watch *watch = conn->watches; watch; watch = watch->next)
            if (watch->owed)
                send_told(conn, watch);
}

/* Has its place been passed by the cursor? */
static bool is_behind(const struct watch *watch, const struct entry *entry) {
    return watch->told || !watch->cursor || entry->order < watch->cursor->order;
}

void watch_online(struct daemon *daemon, struct entry *entry) {
    for (struct conn *conn = daemon->conns; conn; conn = conn->next)
        for (struct watch *watch = conn->watches; watch; watch = watch->next)
            if (is_behind(watch, entry) && fits(watch, entry))
                send_party(conn, watch->cookie, entry, true);
}

void watch_offline(struct daemon *daemon, struct entry *entry) {
    for (struct conn *conn = daemon->conns; conn; conn = conn->next) {
        for (struct watch *watch = conn->watches; watch; watch = watch->next) {
            if (is_behind(watch, entry) && fits(watch, entry))
                send_party(conn, watch->cookie, entry, false);
            if (watch->cursor == entry)
                watch->cursor = entry->next;
        }
    }
}
