/* SPDX-License-Identifier: MIT
 *
 * Names, the client's side: the connection to the daemon. It is made when something is bound or
 * watched, and again whenever it was lost, as long as there is something. Who wishes so
 * (TRAM_WORKER_AUTO) has the daemon started when there is none.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring/layout.h"
#include "service/names_inner.h"
#include "sys/cleanup.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/process.h"
#include "sys/socket.h"
#include "sys/spawn.h"

#ifndef TRAMD_PATH
#define TRAMD_PATH "/usr/bin/tramd"
#endif

#define BACKOFF_FIRST ((int64_t) SYS_MILLISECOND)
#define BACKOFF_LAST (200 * (int64_t) SYS_MILLISECOND)
#define REFUSED_WAIT ((int64_t) SYS_SECOND) /* the daemon said that it doesn't want us */
#define START_AGAIN ((int64_t) SYS_SECOND)  /* after the last start */
#define REST_WAIT ((int64_t) SYS_SECOND)    /* without a use, until it is closed */
#define READS_MAX 16                        /* of a turn */

static void retry(struct names *names, int64_t delay);

/* ---- going down ------------------------------------------------------------------------------ */

static void disconnect(struct names *names) {
    names->io = tram_io_free(names->io);
    cleanup_fd(&names->fd);
    names->fd = -1;
    names->pending = names->spoilt = false;
    control_in_reset(&names->in);
    control_out_reset(&names->out);
}

/* Half of the delay is fixed, the other half random: so that hundreds of clients whose daemon went
 * don't come back at one instant. */
static int64_t backoff(struct names *names) {
    int64_t delay = names->failures < 8 ? BACKOFF_FIRST << names->failures : BACKOFF_LAST;

    if (delay > BACKOFF_LAST)
        delay = BACKOFF_LAST;
    names->failures++;
    names->random ^= names->random << 13;
    names->random ^= names->random >> 7;
    names->random ^= names->random << 17;
    return delay / 2 + (int64_t) (names->random % (uint64_t) (delay / 2 + 1));
}

/* Is it worth telling that nobody is there? Not while the one that we started begins. */
static bool is_starting(const struct names *names) {
    return names->started > 0 && worker_now(names->worker) - names->started < 2 * START_AGAIN;
}

/* The connection is over, or none came about. */
static void went(struct names *names, int64_t delay) {
    bool there = names->state != NAMES_AWAY;

    names->state = NAMES_AWAY;
    disconnect(names);
    retry(names, delay);
    if (there || !is_starting(names))
        names_away(names);
}

/* ---- starting the daemon --------------------------------------------------------------------- */

static int start_at(const char *path, const char *root, const char *bus, int32_t *ret_pid) {
    return sys_spawn(path, (const char *const[]){ path, "--auto", "--dir", root, "--bus", bus,
                                                  NULL },
                     ret_pid);
}

/* Where it was meant to be installed; else as in the tree in which it was built, or in PATH. */
static int start_somewhere(const char *root, const char *bus, int32_t *ret_pid) {
    char beside[PATH_MAX];
    int rc = start_at(TRAMD_PATH, root, bus, ret_pid);

    if (rc == -ENOENT && sys_beside("../bin/tramd", beside, sizeof(beside)) == 0)
        rc = start_at(beside, root, bus, ret_pid);
    return rc == -ENOENT ? start_at("tramd", root, bus, ret_pid) : rc;
}

/* As TRAMD says, if it is set. */
static void start_daemon(struct names *names) {
    const char *path = sys_environment("TRAMD");
    char root[256];
    char *slash;
    int32_t pid = 0;
    int rc;

    (void) snprintf(root, sizeof(root), "%s", tram_bus_path(tram_worker_node(names->worker)));
    slash = strrchr(root, '/');
    if (!slash)
        return;
    *slash = '\0';
    if (path && *path) {
        rc = start_at(path, root, slash + 1, &pid);
    } else {
        path = TRAMD_PATH;
        rc = start_somewhere(root, slash + 1, &pid);
    }
    names->cannot_start = rc < 0 ? rc : 0;
    if (rc < 0) {
        (void) worker_fail(names->worker, rc, "cannot start %s: %s", path, strerror(-rc));
        return;
    }
    names->starter = pid;
    names->started = worker_now(names->worker);
}

static void starter_look(struct names *names) {
    if (names->starter != 0 && sys_spawn_ended(names->starter))
        names->starter = 0;
}

/* Nobody listens. */
static void start_if_wanted(struct names *names) {
    if (!(worker_flags(names->worker) & TRAM_WORKER_AUTO) || names->starter != 0)
        return;
    if (names->started == 0 || worker_now(names->worker) - names->started > START_AGAIN)
        start_daemon(names);
}

/* ---- coming up ------------------------------------------------------------------------------- */

/* Which life of our node this is: as its door says, which nobody but us writes. */
static uint64_t own_life(struct names *names, tram_id id) {
    char path[TRAM_ID_TEXT + sizeof("/door")];
    struct door door;
    OWNS_FD int fd = -1;

    (void) tram_id_format(id, path);
    (void) strcat(path, "/door");
    fd = sys_file_open(names->dir, path, false);
    if (fd < 0 || sys_file_read(fd, &door, sizeof(door), 0) < 0)
        return 0; /* the daemon will say that there is no such node */
    return door.opens;
}

static void say_hello(struct names *names) {
    Tram__Control__Hello hello = CONTROL_NEW(Hello, hello);
    control_frame frame = CONTROL_NEW(Frame, frame);
    char program[CONTROL_PROGRAM_MAX + 1];

    sys_program(program, sizeof(program));
    hello.version = CONTROL_VERSION;
    hello.node = tram_node_id(tram_worker_node(names->worker));
    hello.life = own_life(names, hello.node);
    hello.program = program;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_HELLO;
    frame.hello = &hello;
    names->state = NAMES_GREETING;
    names->refused = false;
    names_link_add(names, &frame);
    names_register(names); /* no need to wait for the answer */
}

static void on_io(tram_io *io, int fd, uint32_t events, void *arg);

int names_link_dir(struct names *names, int *ret_dir) {
    if (names->dir < 0) {
        int rc = sys_dir_open(AT_FDCWD, tram_bus_path(tram_worker_node(names->worker)));

        if (rc < 0)
            return rc;
        names->dir = rc;
    }
    *ret_dir = names->dir;
    return 0;
}

static int try_connect(struct names *names) {
    struct sys_address address;
    int dir;
    int rc = names_link_dir(names, &dir);

    if (rc < 0)
        return rc;
    rc = sys_address_at(names->dir, "tramd.sock", &address);
    if (rc == 0)
        rc = sys_connect(&address, &names->fd, &names->pending);
    if (rc == 0)
        rc = worker_inner_io(names->worker, names->fd,
                             TRAM_IO_READ | (names->pending ? TRAM_IO_WRITE : 0), on_io, names,
                             &names->io);
    return rc;
}

static void connect_now(struct names *names) {
    int rc = try_connect(names);

    if (rc < 0) {
        if (rc == -ENOENT || rc == -ECONNREFUSED)
            start_if_wanted(names);
        went(names, backoff(names));
        return;
    }
    if (!names->pending)
        say_hello(names);
}

static void on_timer(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    struct names *names = arg;

    (void) timer;
    (void) late_ns;
    (void) missed;
    names->waiting = false;
    starter_look(names);
    if (!names_used(names)) {
        names->state = NAMES_AWAY;
        names->failures = 0;
        disconnect(names); /* so that a daemon that nobody needs can leave */
    } else if (names->fd < 0) {
        connect_now(names);
    }
    if (names->starter != 0 && !names->waiting)
        retry(names, BACKOFF_LAST); /* only to look after it */
}

static void retry(struct names *names, int64_t delay) {
    names->waiting = true;
    (void) tram_timer_set(names->timer, delay, 0); /* it can fail for wrong arguments only */
}

int names_link_need(struct names *names) {
    int rc;

    if (!names->timer) {
        rc = worker_inner_timer(names->worker, on_timer, names, &names->timer);
        if (rc < 0)
            return rc;
        if (sys_random(&names->random, sizeof(names->random)) < 0 || names->random == 0)
            names->random = sys_now() | 1;
    }
    if (names->fd < 0 && !names->waiting)
        retry(names, 0);
    return 0;
}

void names_link_rest(struct names *names) {
    if (names->fd >= 0 && !names_used(names))
        retry(names, REST_WAIT);
}

void names_link_end(struct names *names) {
    disconnect(names);
    cleanup_fd(&names->dir);
    names->timer = tram_timer_free(names->timer);
    starter_look(names);
}

/* ---- frames ---------------------------------------------------------------------------------- */

void names_link_add(struct names *names, control_frame *frame) {
    if (names->state == NAMES_AWAY)
        return;
    /* Without memory the connection begins anew, with all that is registered then. */
    if (control_out_add(&names->out, frame) < 0)
        names->spoilt = true;
}

void names_link_flush(struct names *names) {
    if (names->state == NAMES_AWAY)
        return;
    while (control_out_size(&names->out) > 0) {
        int64_t put = sys_send(names->fd, control_out_bytes(&names->out),
                               control_out_size(&names->out));

        if (put < 0) /* -EAGAIN: later. Anything else: reading will say it, too */
            break;
        control_out_sent(&names->out, (size_t) put);
    }
    (void) tram_io_set(names->io,
                       TRAM_IO_READ | (control_out_size(&names->out) > 0 ? TRAM_IO_WRITE : 0));
}

static int take_frame(struct names *names, const control_frame *frame) {
    if (frame->kind_case != TRAM__CONTROL__FRAME__KIND_WELCOME)
        return names->state == NAMES_READY ? names_frame(names, frame) : -EBADMSG;
    if (frame->welcome->error < 0) {
        (void) worker_fail(names->worker, frame->welcome->error, "the daemon: %s",
                           frame->welcome->text);
        names->refused = true;
        return frame->welcome->error;
    }
    names->state = NAMES_READY;
    names->failures = 0;
    names->started = 0;
    return 0;
}

static int take_frames(struct names *names) {
    struct wrong wrong;
    int rc = 1;

    while (rc > 0) {
        control_frame *frame = NULL;

        rc = control_in_next(&names->in, CONTROL_TO_PROCESS, &frame, &wrong);
        if (rc > 0) {
            int taken = take_frame(names, frame);

            rc = taken < 0 ? taken : rc;
            (void) control_free(frame);
        }
    }
    return rc;
}

static int read_some(struct names *names) {
    for (int reads = 0; reads < READS_MAX; reads++) {
        size_t size;
        void *room = control_in_room(&names->in, &size);
        int64_t got;
        int rc;

        if (!room)
            return -ENOMEM;
        got = sys_receive(names->fd, room, size);
        if (got <= 0)
            return got == -EAGAIN ? 0 : got == 0 ? -ECONNRESET : (int) got;
        control_in_add(&names->in, (size_t) got);
        rc = take_frames(names);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static void on_io(tram_io *io, int fd, uint32_t events, void *arg) {
    struct names *names = arg;
    int rc = 0;

    (void) io;
    if (names->pending) {
        rc = sys_connected(fd);
        names->pending = false;
        if (rc < 0) {
            went(names, backoff(names));
            return;
        }
        say_hello(names);
        return;
    }
    if (events & (TRAM_IO_READ | TRAM_IO_HANGUP))
        rc = read_some(names);
    if (rc == 0 && names->spoilt)
        rc = -ENOMEM;
    if (rc < 0)
        went(names, names->refused || rc == -EBADMSG ? REFUSED_WAIT : backoff(names));
    else if (events & TRAM_IO_WRITE)
        names_link_flush(names);
}
