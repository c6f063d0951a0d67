/* SPDX-License-Identifier: MIT
 *
 * Start, end, signals and the loop. Order of the start: the lock, so that there is one; the node
 * and its worker; the table of whoever was there before; then the socket, which appears when it can
 * be connected to.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/exit.h"
#include "daemon/hosts.h"
#include "daemon/log.h"
#include "daemon/notify.h"
#include "sys/cleanup.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/lock.h"
#include "sys/process.h"
#include "sys/spawn.h"

#define SOCKET_NAME "tramd.sock"
#define LOCK_NAME "tramd.lock"
#define LOG_NAME "tramd.log"
#define BACKLOG 1024
#define ACCEPTS_MAX 32 /* of a turn */
#define HOUSEKEEPING (30 * (int64_t) SYS_SECOND)
#define HOUSEKEEPING_FAST ((int64_t) SYS_SECOND) /* somebody has not greeted, or something failed */

/* ---- the only one ---------------------------------------------------------------------------- */

/* Who holds the lock, as far as the file says. */
static uint32_t holder_of(int fd) {
    char text[16] = "";
    struct sys_stat st;

    if (sys_stat_fd(fd, &st) < 0 || st.size >= sizeof(text) ||
        sys_file_read(fd, text, st.size, 0) < 0)
        return 0;
    return (uint32_t) strtoul(text, NULL, 10);
}

static int lock_take(struct daemon *daemon) {
    OWNS_FD int fd = sys_file_open_or_make(daemon->bus.dir, LOCK_NAME, daemon->bus.mode);
    char text[16];
    struct sys_stat st;
    int rc = fd < 0 ? fd : sys_lock(fd, 0);
    int length;

    if (rc == -EAGAIN) {
        if (!daemon->options->automatic)
            log_line(LEVEL_ERROR, "the bus at %s has its tramd, process %" PRIu32,
                     daemon->bus.path, holder_of(fd));
        return -EEXIST;
    }
    if (rc == 0)
        rc = sys_stat_fd(fd, &st);
    if (rc == 0) {
        length = snprintf(text, sizeof(text), "%" PRIu32 "\n", sys_pid());
        rc = sys_file_extend(fd, 0);
        if (rc == 0)
            rc = sys_file_write(fd, text, (uint64_t) length, 0);
    }
    if (rc < 0) {
        log_line(LEVEL_ERROR, "cannot lock %s/%s: %s", daemon->bus.path, LOCK_NAME, strerror(-rc));
        return rc;
    }
    daemon->lock_inode = st.inode;
    daemon->lock = take_fd(&fd);
    return 0;
}

/* Somebody removed the directory: nobody can find us any more. */
static bool is_orphan(const struct daemon *daemon) {
    struct sys_stat st;
    int rc = sys_stat_at(daemon->bus.dir, LOCK_NAME, &st);

    return rc == -ENOENT || (rc == 0 && st.inode != daemon->lock_inode);
}

/* ---- connections ----------------------------------------------------------------------------- */

static void flush(struct worker_deferred *deferred) {
    struct daemon *daemon =
        (struct daemon *) ((char *) deferred - offsetof(struct daemon, deferred));

    while (daemon->due) {
        struct conn *conn = daemon->due;

        daemon->due = conn->due_next;
        conn->due = false;
        if (!conn->doomed)
            conn_flush(conn);
        if (conn->doomed && !conn->due) {
            (void) conn_free(conn);
            daemon_needed(daemon);
        }
    }
}

static void housekeeping_set(struct daemon *daemon, bool fast) {
    int64_t every = fast ? HOUSEKEEPING_FAST : HOUSEKEEPING;

    if (fast == daemon->housekeeping_fast)
        return;
    daemon->housekeeping_fast = fast;
    (void) tram_timer_set(daemon->housekeeping, every, every); /* its arguments are right */
}

static void refuse(int fd) {
    Tram__Control__Welcome welcome = CONTROL_NEW(Welcome, welcome);
    control_frame frame = CONTROL_NEW(Frame, frame);
    struct control_out out = { 0 };
    char text[] = "too many connections";

    welcome.version = CONTROL_VERSION;
    welcome.error = -EUSERS;
    welcome.text = text;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_WELCOME;
    frame.welcome = &welcome;
    if (control_out_add(&out, &frame) == 0)
        (void) sys_send(fd, control_out_bytes(&out), control_out_size(&out));
    control_out_reset(&out);
}

static void on_listener(tram_io *io, int fd, uint32_t events, void *arg) {
    struct daemon *daemon = arg;

    (void) events;
    for (int i = 0; i < ACCEPTS_MAX; i++) {
        OWNS_FD int accepted = sys_accept(fd);
        struct conn *conn;
        int rc;

        if (accepted == -EAGAIN)
            return;
        if (accepted < 0) {
            /* Of descriptors, mostly: those who wait do so until housekeeping looks again. */
            log_line(LEVEL_ERROR, "cannot accept a connection: %s", strerror(-accepted));
            (void) tram_io_set(io, 0);
            housekeeping_set(daemon, true);
            return;
        }
        if (daemon->conn_count >= daemon->settings.connections) {
            log_line(LEVEL_WARNING, "more than %" PRIu64 " connections",
                     daemon->settings.connections);
            refuse(accepted);
            continue;
        }
        rc = conn_new(daemon, accepted, &conn);
        if (rc < 0) {
            log_line(LEVEL_ERROR, "cannot take a connection: %s", strerror(-rc));
            continue;
        }
        accepted = -1;
        if (conn->credentials.user != sys_user())
            conn_doom(conn, -EACCES, "it is of user %" PRIu32, conn->credentials.user);
        housekeeping_set(daemon, true);
        daemon_needed(daemon);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

void daemon_needed(struct daemon *daemon) {
    if (!daemon->options->automatic)
        return;
    (void) tram_timer_set(daemon->idle,
                          daemon->conn_count > 0 ? TRAM_FOREVER
                                                 : (int64_t) daemon->settings.idle_ns,
                          0);
}

static void on_idle(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    struct daemon *daemon = arg;

    (void) timer;
    (void) late_ns;
    (void) missed;
    if (daemon->conn_count > 0)
        return;
    log_line(LEVEL_INFO, "nobody needs it");
    (void) tram_worker_stop(daemon->worker, EXIT_CODE_OK);
}

static void on_watchdog(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    (void) timer;
    (void) late_ns;
    (void) missed;
    (void) arg;
    notify("WATCHDOG=1");
}

static void on_housekeeping(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    struct daemon *daemon = arg;
    int64_t now = worker_now(daemon->worker);
    bool fast = false;
    struct life *next;

    (void) timer;
    (void) late_ns;
    (void) missed;
    if (is_orphan(daemon)) {
        log_line(LEVEL_ERROR, "%s/%s was removed", daemon->bus.path, LOCK_NAME);
        (void) tram_worker_stop(daemon->worker, EXIT_CODE_FAILURE);
        return;
    }
    for (struct conn *conn = daemon->conns; conn; conn = conn->next) {
        if (conn->greeted || conn->doomed)
            continue;
        fast = true;
        if (now - conn->since > (int64_t) daemon->settings.greeting_ns)
            conn_doom(conn, -ETIMEDOUT, "it does not greet");
    }
    for (struct life *life = daemon->lives; life; life = next) {
        next = life->next;
        life_check(life);
    }
    if (daemon->journal.stale)
        fast |= journal_rewrite(daemon) < 0;
    (void) tram_io_set(daemon->listen_io, TRAM_IO_READ);
    housekeeping_set(daemon, fast);
}

/* ---- signals --------------------------------------------------------------------------------- */

static void apply(struct daemon *daemon) {
    const struct settings *settings = &daemon->settings;
    const char *file = *settings->log_file        ? settings->log_file
                       : daemon->options->automatic ? LOG_NAME
                                                    : "";

    log_set_level(settings->level);
    if (*file) {
        int rc = log_set_file(daemon->bus.dir, file);

        if (rc < 0)
            log_line(LEVEL_ERROR, "cannot log to %s: %s", file, strerror(-rc));
    }
}

static void reload(struct daemon *daemon) {
    const char *path = daemon->options->config;
    struct settings settings;
    struct wrong wrong = { 0 };
    char lines[80];

    (void) snprintf(lines, sizeof(lines), "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
                    sys_now() / SYS_MICROSECOND);
    notify(lines);
    settings_default(&settings);
    if (path && settings_read(path, &settings, &wrong) < 0) {
        log_line(LEVEL_ERROR, "%s, line %d: %s; what was read before still holds", path,
                 wrong.line, wrong.text);
    } else if (trust_join(daemon->options, &settings, &wrong) < 0) {
        log_line(LEVEL_ERROR, "%s; what was read before still holds", wrong.text);
        settings_reset(&settings);
    } else {
        struct settings before = daemon->settings;

        daemon->settings = settings;
        apply(daemon);
        hosts_reload(daemon, &before);
        settings_reset(&before);
        log_line(LEVEL_INFO, "%s read again", path ? path : "no config file");
    }
    notify("READY=1");
}

static void on_signal(tram_signal *signal, int number, void *arg) {
    struct daemon *daemon = arg;

    (void) signal;
    if (number == SIGHUP) {
        reload(daemon);
        return;
    }
    log_line(LEVEL_INFO, "told to end by signal %d", number);
    (void) tram_worker_stop(daemon->worker, EXIT_CODE_OK);
}

/* ---- start ----------------------------------------------------------------------------------- */

static int failed(const char *what, int rc) {
    log_line(LEVEL_ERROR, "cannot %s: %s", what, strerror(-rc));
    return rc;
}

/* Nobody has anything to say to us by messages. But a worker that takes none does not empty its
 * bell when it is rung late, and then wakes up again and again. */
static void on_message(tram_worker *worker, const struct tram_msg *msg, void *arg) {
    (void) worker;
    (void) msg;
    (void) arg;
}

static int make_worker(struct daemon *daemon) {
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_options node = TRAM_OPTIONS_INIT;
    int rc;

    node.dir = daemon->options->dir;
    options.bus = daemon->options->bus;
    options.node = &node;
    options.name = "tramd";
    node.spin_ns = (int64_t) daemon->settings.spin_ns;
    if (*daemon->settings.cluster == '\0' || node.spin_ns == 0)
        options.flags = TRAM_WORKER_NO_SPIN;
    rc = tram_worker_new(&options, &daemon->worker);
    if (rc < 0)
        log_line(LEVEL_ERROR, "cannot open a node: %s", tram_last_error(NULL)->text);
    else
        rc = tram_worker_on_message(daemon->worker, on_message, NULL);
    return rc;
}

static int make_timers(struct daemon *daemon) {
    static const int numbers[] = { SIGTERM, SIGINT, SIGHUP };
    int64_t watchdog = notify_watchdog_ns();
    tram_worker *worker = daemon->worker;
    int rc = tram_timer_new(worker, on_housekeeping, daemon, &daemon->housekeeping);

    if (rc == 0)
        rc = tram_timer_new(worker, on_idle, daemon, &daemon->idle);
    if (rc == 0)
        rc = tram_timer_new(worker, on_watchdog, daemon, &daemon->watchdog);
    for (int i = 0; i < 3 && rc == 0; i++)
        rc = tram_signal_new(worker, numbers[i], on_signal, daemon, &daemon->signals[i]);
    if (rc == 0)
        rc = tram_timer_set(daemon->housekeeping, HOUSEKEEPING, HOUSEKEEPING);
    if (rc == 0 && watchdog > 0)
        rc = tram_timer_set(daemon->watchdog, watchdog, watchdog);
    return rc < 0 ? failed("make timers", rc) : 0;
}

static int start_listening(struct daemon *daemon) {
    int fd = sys_listen_at(daemon->bus.dir, SOCKET_NAME, daemon->bus.mode, BACKLOG);
    int rc = fd;

    if (fd >= 0) {
        daemon->listener = fd;
        rc = tram_io_new(daemon->worker, fd, TRAM_IO_READ, on_listener, daemon,
                         &daemon->listen_io);
    }
    return rc < 0 ? failed("listen at " SOCKET_NAME, rc) : 0;
}

static int start(struct daemon *daemon) {
    struct tram_error error;
    int rc = bus_open(daemon->options->bus, daemon->options->dir, 0600, &daemon->bus, &error);

    if (rc < 0) {
        log_line(LEVEL_ERROR, "%s", error.text);
        return rc;
    }
    rc = lock_take(daemon);
    if (rc < 0)
        return rc;
    apply(daemon);
    sys_most_descriptors();
    rc = make_worker(daemon);
    if (rc == 0)
        rc = make_timers(daemon);
    if (rc == 0) {
        rc = journal_load(daemon);
        if (rc < 0)
            (void) failed("read or write the table of names", rc);
    }
    if (rc == 0)
        rc = hosts_start(daemon);
    if (rc == 0)
        rc = start_listening(daemon);
    return rc;
}

static void end(struct daemon *daemon) {
    if (daemon->listener >= 0 && !is_orphan(daemon))
        (void) sys_unlink(daemon->bus.dir, SOCKET_NAME); /* a stale one refuses, as none does */
    hosts_stop(daemon);
    while (daemon->conns) {
        daemon->conns->names = 0;
        (void) conn_free(daemon->conns);
    }
    while (daemon->lives) { /* from memory only: the next one reads the file */
        struct life *life = daemon->lives;

        while (life->entries)
            table_remove(&daemon->table, life->entries);
        life_put(life);
    }
    daemon->worker = tram_worker_free(daemon->worker);
    cleanup_fd(&daemon->listener);
    journal_close(&daemon->journal);
    bus_close(&daemon->bus);
    cleanup_fd(&daemon->lock); /* last: from now on the next one may begin */
}

int daemon_run(const struct daemon_options *options) {
    struct daemon *daemon = calloc(1, sizeof(*daemon));
    struct wrong wrong;
    int rc;

    if (!daemon)
        return EXIT_CODE_FAILURE;
    daemon->options = options;
    daemon->lock = daemon->listener = daemon->journal.fd = daemon->bus.dir = -1;
    daemon->deferred.fn = flush;
    settings_default(&daemon->settings);
    if (options->config && settings_read(options->config, &daemon->settings, &wrong) < 0) {
        log_line(LEVEL_ERROR, "%s, line %d: %s", options->config, wrong.line, wrong.text);
        free(daemon);
        return EXIT_CODE_USAGE;
    }
    if (trust_join(options, &daemon->settings, &wrong) < 0) {
        log_line(LEVEL_ERROR, "%s", wrong.text);
        settings_reset(&daemon->settings);
        free(daemon);
        return EXIT_CODE_USAGE;
    }
    rc = start(daemon);
    if (rc == 0) {
        log_line(LEVEL_INFO, "serves %s, with %" PRIu64 " names", daemon->bus.path,
                 daemon->table.count);
        notify("READY=1");
        if (options->automatic)
            sys_leave(); /* all that it needs is open */
        daemon_needed(daemon);
        rc = tram_worker_run(daemon->worker);
        notify("STOPPING=1");
    } else if (rc == -EEXIST) {
        rc = options->automatic ? EXIT_CODE_OK : EXIT_CODE_REFUSED;
    }
    end(daemon);
    settings_reset(&daemon->settings);
    free(daemon);
    return rc < 0 ? EXIT_CODE_FAILURE : rc;
}
