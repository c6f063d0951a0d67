/* SPDX-License-Identifier: MIT
 *
 * What is asked of names. Each change is noted in the file first, then told.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "daemon/hosts.h"
#include "daemon/log.h"
#include "sys/clock.h"

void names_drop(struct daemon *daemon, struct entry *entry) {
    struct life *life = entry->life;
    char full[NAME_FULL_SIZE];

    (void) journal_note(daemon, entry, true); /* else it is known by the end of its life */
    log_line(LEVEL_DEBUG, "%s of %d (%s) is gone",
             name_format(entry->name.name, entry->name.instance, full), entry->pid,
             entry->program);
    if (entry->order > 0) {
        watch_offline(daemon, entry);
        far_tell(daemon, entry, true);
    }
    if (entry->conn)
        entry->conn->names--;
    table_remove(&daemon->table, entry);
    life_put(life);
}

/* ---- answers --------------------------------------------------------------------------------- */

__attribute__((format(printf, 5, 6))) static void
answer(struct conn *conn, uint64_t cookie, int error, const struct entry *holder,
       const char *format, ...) {
    Tram__Control__Bound bound = CONTROL_NEW(Bound, bound);
    control_frame frame = CONTROL_NEW(Frame, frame);
    control_party party;
    char text[CONTROL_TEXT_MAX + 1];
    va_list arguments;

    va_start(arguments, format);
    (void) vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (holder) {
        table_party(holder, &party);
        bound.holder = &party;
    }
    bound.cookie = cookie;
    bound.error = error;
    bound.text = text;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_BOUND;
    frame.bound = &bound;
    conn_send(conn, &frame);
}

static void answer_published(struct conn *conn, const struct entry *entry) {
    Tram__Control__Published published = CONTROL_NEW(Published, published);
    control_frame frame = CONTROL_NEW(Frame, frame);

    published.cookie = entry->cookie;
    published.order = entry->order;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_PUBLISHED;
    frame.published = &published;
    conn_send(conn, &frame);
}

/* ---- binding --------------------------------------------------------------------------------- */

static struct entry *by_cookie(struct conn *conn, uint64_t cookie) {
    struct life *life = life_find(conn->daemon, conn->node, conn->life);
    struct entry *entry = life ? life->entries : NULL;

    while (entry && (entry->conn != conn || entry->cookie != cookie))
        entry = entry->life_next;
    return entry;
}

/* The life that the connection speaks for, if it is one. */
static int life_of(struct conn *conn, struct life **ret_life) {
    uint64_t number = 0;
    int rc;

    *ret_life = life_find(conn->daemon, conn->node, conn->life);
    if (*ret_life)
        return 0;
    if (conn->node == 0 || conn->node == UINT32_MAX || conn->life == 0)
        return -ESTALE;
    rc = life_look(conn->daemon, conn->node, &number);
    if (rc == 0 && number != conn->life)
        rc = -ESTALE;
    return rc < 0 ? rc : life_get(conn->daemon, conn->node, conn->life, ret_life);
}

static void entry_belongs(struct entry *entry, struct conn *conn, uint64_t cookie) {
    if (entry->conn)
        entry->conn->names--;
    entry->conn = conn;
    entry->cookie = cookie;
    entry->pid = conn->credentials.pid;
    memcpy(entry->program, conn->program, sizeof(entry->program));
    conn->names++;
}

/* The name is in the table. True: it is the asker's now, or was answered. */
static bool bind_known(struct conn *conn, const Tram__Control__Bind *bind, struct entry *entry) {
    const control_party *party = bind->party;

    if (entry->life->node != conn->node || entry->life->number != conn->life)
        life_check(entry->life);
    entry = table_find(&conn->daemon->table, party->name, party->instance);
    if (!entry)
        return false;
    if (entry->life->node != conn->node || entry->life->number != conn->life ||
        entry->conn == conn) {
        answer(conn, bind->cookie, -EEXIST, entry, "held by process %d (%s)", entry->pid,
               entry->program);
        return true;
    }
    /* Its own, from an earlier connection or before a restart of the daemon. */
    if (entry->port != party->port) {
        names_drop(conn->daemon, entry);
        return false;
    }
    entry_belongs(entry, conn, bind->cookie);
    answer(conn, bind->cookie, 0, NULL, "%s", "");
    return true;
}

static void bind_new(struct conn *conn, const Tram__Control__Bind *bind) {
    struct daemon *daemon = conn->daemon;
    const control_party *party = bind->party;
    struct name name = { 0 };
    struct entry *entry;
    struct life *life;
    int rc = life_of(conn, &life);

    if (rc < 0) {
        answer(conn, bind->cookie, rc == -ENOENT ? -ESTALE : rc, NULL, "%s",
               rc == -ESTALE || rc == -ENOENT ? "its node is not open" : strerror(-rc));
        return;
    }
    memcpy(name.name, party->name, strlen(party->name));
    memcpy(name.instance, party->instance, strlen(party->instance));
    entry = table_add(&daemon->table, &name, life);
    if (!entry) {
        life_put(life);
        answer(conn, bind->cookie, -ENOMEM, NULL, "no memory");
        return;
    }
    entry->port = party->port;
    entry->wish = bind->order;
    entry_belongs(entry, conn, bind->cookie);
    rc = journal_note(daemon, entry, false);
    if (rc < 0) {
        names_drop(daemon, entry);
        answer(conn, bind->cookie, rc, NULL, "cannot note it: %s", strerror(-rc));
        return;
    }
    answer(conn, bind->cookie, 0, NULL, "%s", "");
}

void ask_bind(struct conn *conn, const Tram__Control__Bind *bind) {
    struct daemon *daemon = conn->daemon;
    struct entry *entry = table_find(&daemon->table, bind->party->name, bind->party->instance);

    if (by_cookie(conn, bind->cookie)) {
        conn_doom(conn, -EBADMSG, "bind with a cookie that is in use");
        return;
    }
    if (conn->names >= daemon->settings.names_each || daemon->table.count >= daemon->settings.names)
        answer(conn, bind->cookie, -EDQUOT, NULL,
               "too many names: %" PRIu64 " of a connection, %" PRIu64 " in all",
               daemon->settings.names_each, daemon->settings.names);
    else if (!entry || !bind_known(conn, bind, entry))
        bind_new(conn, bind);
}

/* ---- and the rest ---------------------------------------------------------------------------- */

static bool same_addresses(const struct entry *entry, char *const *addresses, size_t count) {
    for (size_t i = 0; i < count && i < entry->count; i++)
        if (strcmp(entry->addresses[i], addresses[i]) != 0)
            return false;
    return entry->count == count;
}

/* Of a publication: in a cluster it is by the clock, so that it says who is newer of two hosts. */
static uint64_t new_order(const struct daemon *daemon) {
    uint64_t wall = sys_wall() / SYS_MICROSECOND;

    return daemon->hosts && wall > daemon->table.order ? wall : 0;
}

void ask_publish(struct conn *conn, const Tram__Control__Publish *publish) {
    struct daemon *daemon = conn->daemon;
    struct entry *entry = by_cookie(conn, publish->cookie);

    if (!entry)
        return; /* it was refused, and the answer is on its way */
    if (entry->order > 0 && !same_addresses(entry, publish->addresses, publish->n_addresses)) {
        watch_offline(daemon, entry);
        table_hide(&daemon->table, entry);
    }
    if (entry->order == 0) {
        if (table_set_addresses(entry, publish->addresses, publish->n_addresses) < 0) {
            conn_doom(conn, -ENOMEM, "no memory");
            return;
        }
        table_show(&daemon->table, entry, entry->wish > 0 ? entry->wish : new_order(daemon));
        entry->wish = 0;
        /* If it can't be noted: a daemon that is started meanwhile knows it as reserved only, until
         * its server comes back. */
        (void) journal_note(daemon, entry, false);
        watch_online(daemon, entry);
        far_tell(daemon, entry, false);
    }
    answer_published(conn, entry);
}

void ask_unbind(struct conn *conn, uint64_t cookie) {
    struct entry *entry = by_cookie(conn, cookie);

    if (entry)
        names_drop(conn->daemon, entry);
}

/* Drop those of the connection's life for which `goes` holds. */
static void drop_some(struct conn *conn, bool (*goes)(struct entry *entry, struct conn *conn)) {
    struct life *life = life_find(conn->daemon, conn->node, conn->life);
    struct entry *next;

    for (struct entry *entry = life ? life->entries : NULL; entry; entry = next) {
        next = entry->life_next; /* `life` may be freed with the last one */
        if (goes(entry, conn))
            names_drop(conn->daemon, entry);
    }
}

static bool is_elsewhere(struct entry *entry, struct conn *conn) {
    return entry->conn != conn;
}

void ask_settle(struct conn *conn) {
    drop_some(conn, is_elsewhere);
}

static bool is_unfinished(struct entry *entry, struct conn *conn) {
    if (entry->conn != conn)
        return false;
    if (entry->order == 0)
        return true;
    entry->conn = NULL;
    return false;
}

void ask_nothing(struct conn *conn) {
    struct life *life;

    if (conn->daemon->hosts)
        commands_forget(conn->daemon->hosts, conn);
    drop_some(conn, is_unfinished);
    life = life_find(conn->daemon, conn->node, conn->life);
    if (life)
        life_check(life); /* mostly it ended because its process did */
}
