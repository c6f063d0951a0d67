/* SPDX-License-Identifier: MIT
 *
 * A connection: bytes in, bytes out, and its bounds. It reads once at a time, so that none takes
 * the others' turn; who doesn't read what is for him is cut off when too much of it waits.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/relay.h"
#include "sys/cleanup.h"
#include "sys/process.h"

#define PUMP_MOST (32u << 10) /* of what was there; the rest when the reader has taken some */

static void send_welcome(struct conn *conn, int error, const char *text) {
    Tram__Control__Welcome welcome = CONTROL_NEW(Welcome, welcome);
    control_frame frame = CONTROL_NEW(Frame, frame);

    welcome.version = CONTROL_VERSION;
    welcome.pid = (int32_t) sys_pid();
    welcome.error = error;
    welcome.text = (char *) (uintptr_t) text; /* it is only read */
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_WELCOME;
    frame.welcome = &welcome;
    conn_send(conn, &frame);
}

void conn_due(struct conn *conn) {
    struct daemon *daemon = conn->daemon;

    if (conn->due)
        return;
    conn->due = true;
    conn->due_next = daemon->due;
    daemon->due = conn;
    worker_defer(daemon->worker, &daemon->deferred);
}

void conn_doom(struct conn *conn, int code, const char *format, ...) {
    char text[CONTROL_TEXT_MAX + 1];
    va_list arguments;

    if (conn->doomed)
        return;
    va_start(arguments, format);
    (void) vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (code < 0) {
        log_line(LEVEL_WARNING, "process %d (%s) is cut off: %s", conn->credentials.pid,
                 conn->program, text);
        if (code != -ENOBUFS) /* it would not read that either */
            send_welcome(conn, code, text);
    }
    conn->doomed = true;
    conn_due(conn);
}

void conn_send(struct conn *conn, control_frame *frame) {
    if (conn->doomed)
        return;
    if (control_out_add(&conn->out, frame) < 0) {
        conn_doom(conn, -ENOBUFS, "no memory for what is to be sent");
        return;
    }
    if (control_out_size(&conn->out) > conn->daemon->settings.queue)
        conn_doom(conn, -ENOBUFS, "it does not read; %zu bytes wait for it",
                  control_out_size(&conn->out));
    conn_due(conn);
}

void conn_flush(struct conn *conn) {
    for (;;) {
        int64_t put;

        watch_pump(conn, PUMP_MOST);
        if (control_out_size(&conn->out) == 0)
            break;
        put = sys_send(conn->fd, control_out_bytes(&conn->out), control_out_size(&conn->out));
        if (put == -EAGAIN)
            break;
        if (put < 0) {
            conn_doom(conn, 0, "it went");
            return;
        }
        control_out_sent(&conn->out, (size_t) put);
    }
    (void) tram_io_set(conn->io, TRAM_IO_READ |
                                     (control_out_size(&conn->out) > 0 ? TRAM_IO_WRITE : 0));
}

/* ---- frames ---------------------------------------------------------------------------------- */

static void greet(struct conn *conn, const Tram__Control__Hello *hello) {
    memcpy(conn->program, hello->program, strlen(hello->program) + 1);
    if (conn->greeted) {
        conn_doom(conn, -EBADMSG, "a second greeting");
        return;
    }
    if (hello->version != CONTROL_VERSION) {
        conn_doom(conn, -EPROTO, "it speaks version %u of the protocol, this tramd %u",
                  hello->version, CONTROL_VERSION);
        return;
    }
    conn->greeted = true;
    conn->node = hello->node;
    conn->life = hello->life;
    log_line(LEVEL_DEBUG, "process %d (%s) is there", conn->credentials.pid, conn->program);
    send_welcome(conn, 0, "");
}

static void ask_watch(struct conn *conn, const Tram__Control__Watch *watch) {
    int rc = conn->watches_count >= conn->daemon->settings.watches_each ? -EDQUOT : 0;

    if (rc == 0)
        rc = watch_add(conn, watch->cookie, watch->pattern);
    if (rc == -EDQUOT)
        conn_doom(conn, rc, "more than %" PRIu64 " watches", conn->daemon->settings.watches_each);
    else if (rc < 0)
        conn_doom(conn, rc, "%s",
                  rc == -EEXIST ? "watch with a cookie that is in use" : "no memory");
}

static void take(struct conn *conn, const control_frame *frame) {
    if (!conn->greeted && frame->kind_case != TRAM__CONTROL__FRAME__KIND_HELLO) {
        conn_doom(conn, -EBADMSG, "it begins without a greeting");
        return;
    }
    switch ((int) frame->kind_case) {
    case TRAM__CONTROL__FRAME__KIND_HELLO:
        greet(conn, frame->hello);
        break;
    case TRAM__CONTROL__FRAME__KIND_BIND:
        ask_bind(conn, frame->bind);
        break;
    case TRAM__CONTROL__FRAME__KIND_PUBLISH:
        ask_publish(conn, frame->publish);
        break;
    case TRAM__CONTROL__FRAME__KIND_UNBIND:
        ask_unbind(conn, frame->unbind->cookie);
        break;
    case TRAM__CONTROL__FRAME__KIND_WATCH:
        ask_watch(conn, frame->watch);
        break;
    case TRAM__CONTROL__FRAME__KIND_UNWATCH:
        watch_remove(conn, frame->unwatch->cookie);
        break;
    case TRAM__CONTROL__FRAME__KIND_SETTLE:
        ask_settle(conn);
        break;
    case TRAM__CONTROL__FRAME__KIND_CLUSTER:
        ask_cluster(conn, frame->cluster);
        break;
    case TRAM__CONTROL__FRAME__KIND_LOOK:
        looks_add(conn, frame->look->cookie, frame->look->node);
        break;
    case TRAM__CONTROL__FRAME__KIND_UNLOOK:
        looks_remove(conn, frame->unlook->cookie);
        break;
    case TRAM__CONTROL__FRAME__KIND_RELAY:
        relay_add(conn, frame->relay->cookie, frame->relay->reader);
        break;
    case TRAM__CONTROL__FRAME__KIND_UNRELAY:
        relay_remove(conn, frame->unrelay->cookie);
        break;
    }
}

static void on_readable(struct conn *conn) {
    struct wrong wrong = { 0 };
    size_t size;
    void *room = control_in_room(&conn->in, &size);
    int64_t got = room ? sys_receive(conn->fd, room, size) : -ENOMEM;
    int rc = 1;

    if (got == -EAGAIN)
        return;
    if (got <= 0) {
        conn_doom(conn, 0, "it went");
        return;
    }
    control_in_add(&conn->in, (size_t) got);
    while (rc > 0 && !conn->doomed) {
        control_frame *frame = NULL;

        rc = control_in_next(&conn->in, CONTROL_TO_DAEMON, &frame, &wrong);
        if (rc > 0)
            take(conn, frame);
        (void) control_free(frame);
    }
    if (rc < 0)
        conn_doom(conn, rc, "nonsense: %.160s", wrong.text);
}

static void on_io(tram_io *io, int fd, uint32_t events, void *arg) {
    struct conn *conn = arg;

    (void) io;
    (void) fd;
    if (conn->doomed)
        return;
    if (events & (TRAM_IO_READ | TRAM_IO_HANGUP))
        on_readable(conn);
    if (events & TRAM_IO_WRITE)
        conn_due(conn);
}

/* ---- coming and going ------------------------------------------------------------------------ */

int conn_new(struct daemon *daemon, int fd, struct conn **ret_conn) {
    struct conn *conn = calloc(1, sizeof(*conn));
    int rc;

    if (!conn)
        return -ENOMEM;
    conn->daemon = daemon;
    conn->fd = fd;
    conn->since = worker_now(daemon->worker);
    rc = sys_credentials(fd, &conn->credentials);
    if (rc == 0)
        rc = tram_io_new(daemon->worker, fd, TRAM_IO_READ, on_io, conn, &conn->io);
    if (rc < 0) {
        free(conn);
        return rc;
    }
    memcpy(conn->program, "?", 2);
    conn->next = daemon->conns;
    conn->link = &daemon->conns;
    if (conn->next)
        conn->next->link = &conn->next;
    daemon->conns = conn;
    daemon->conn_count++;
    *ret_conn = conn;
    return 0;
}

static void not_due(struct conn *conn) {
    struct conn **link = &conn->daemon->due;

    while (*link != conn)
        link = &(*link)->due_next;
    *link = conn->due_next;
    conn->due = false;
}

struct conn *conn_free(struct conn *conn) {
    struct daemon *daemon = conn->daemon;

    *conn->link = conn->next;
    if (conn->next)
        conn->next->link = conn->link;
    daemon->conn_count--;
    watch_end(conn);
    looks_end(conn);
    relay_conn_end(conn);
    conn->doomed = true; /* nothing is sent to it any more */
    ask_nothing(conn);
    if (conn->due)
        not_due(conn);
    conn->io = tram_io_free(conn->io);
    if (control_out_size(&conn->out) > 0) /* the last word, if it goes */
        (void) sys_send(conn->fd, control_out_bytes(&conn->out), control_out_size(&conn->out));
    cleanup_fd(&conn->fd);
    control_in_reset(&conn->in);
    control_out_reset(&conn->out);
    free(conn);
    return NULL;
}
