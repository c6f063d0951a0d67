/* SPDX-License-Identifier: MIT
 *
 * The host server: the directory (wire/directory.h) for those who connect, and its file,
 * `directory` in the bus directory: a record for each change, appended before it is answered, and
 * the whole written anew when most of it doesn't count any more, as journal.c does it. Who knocks
 * and says nothing is held back by a gate.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/hosts.h"
#include "daemon/log.h"
#include "daemon/record_file.h"
#include "sys/cleanup.h"
#include "wire/allow.h"
#include "wire/directory.h"

#define FILE_NAME "directory"
#define SLACK 1024u /* records that don't count, before it is written anew */

/* A connection. */
struct guest {
    struct guest *next, **link;
    struct host_server *server;
    struct line line;
    struct directory_member *member; /* NULL: not open yet */
    bool known;                      /* it has said who it is */
};

struct host_server {
    struct hosts *hosts;
    struct directory *directory;
    struct listener *listeners;
    struct gate gate;
    struct guest *guests;
    int fd;
    uint64_t size, records;
    bool stale;
    int64_t next;
};

/* ---- the file -------------------------------------------------------------------------------- */

static int record_add(void *arg, const Tram__Hosts__Record *record) {
    hosts_frame frame = HOSTS_FRAME(RECORD, record, (Tram__Hosts__Record *) (uintptr_t) record);

    return hosts_out_add(arg, &frame);
}

static int rewrite(struct host_server *server) {
    Tram__Hosts__Record first = HOSTS_NEW(Record, record);
    struct control_out out = { 0 };
    int fd, rc;

    first.version = HOSTS_VERSION;
    rc = record_add(&out, &first);
    if (rc == 0)
        rc = directory_each(server->directory, record_add, &out);
    if (rc == 0)
        rc = record_file_write(server->hosts->daemon->bus.dir, FILE_NAME, &out, &fd);
    if (rc == 0) {
        cleanup_fd(&server->fd);
        server->fd = fd;
        server->size = control_out_size(&out);
        server->records = directory_size(server->directory);
        server->stale = false;
    }
    control_out_reset(&out);
    return rc;
}

static int on_note(void *arg, const Tram__Hosts__Record *record) {
    struct host_server *server = arg;
    struct control_out out = { 0 };
    int rc = record_add(&out, record);

    if (rc == 0)
        rc = record_file_append(server->fd, &server->size, &out);
    if (rc == 0)
        server->stale |= ++server->records > SLACK + 2 * directory_size(server->directory);
    else
        log_line(LEVEL_ERROR, "cannot write to %s/%s: %s", server->hosts->daemon->bus.path,
                 FILE_NAME, strerror(-rc));
    control_out_reset(&out);
    return rc;
}

/* The records of these bytes. */
static int enter(struct host_server *server, struct control_in *in, bool *first) {
    struct wrong wrong = { 0 };
    hosts_frame *frame;
    int rc;

    while ((rc = hosts_in_next(in, HOSTS_TO_FILE, &frame, &wrong)) > 0) {
        rc = *first && frame->record->version != HOSTS_VERSION ? -EPROTO
                                           : directory_enter(server->directory, frame->record);
        *first = false;
        (void) hosts_free(frame);
        if (rc < 0)
            return rc;
    }
    if (rc == -EBADMSG)
        log_line(LEVEL_ERROR, "%s/%s is damaged: %s; what comes before is taken",
                 server->hosts->daemon->bus.path, FILE_NAME, wrong.text);
    return rc;
}

static int load(struct host_server *server) {
    struct record_file file;
    bool first = true;
    int rc = record_file_open(&file, server->hosts->daemon->bus.dir, FILE_NAME);

    while (rc == 0 && (rc = record_file_more(&file)) > 0)
        rc = enter(server, &file.in, &first);
    record_file_close(&file);
    if (rc == -EPROTO)
        log_line(LEVEL_ERROR, "%s/%s is of another version, and passed over",
                 server->hosts->daemon->bus.path, FILE_NAME);
    if (rc == -ENOENT || rc == -EPROTO || rc == -EBADMSG)
        rc = 0;
    return rc < 0 ? rc : rewrite(server);
}

/* ---- what the directory asks of us ----------------------------------------------------------- */

static void on_send(void *arg, void *conn, const hosts_frame *frame) {
    (void) arg;
    line_send(&((struct guest *) conn)->line, frame);
}

static bool on_allowed(void *arg, const char *host, uint32_t id) {
    struct host_server *server = arg;

    return settings_allow_id(hosts_settings(server->hosts), host, id);
}

static void on_say(void *arg, const char *text) {
    (void) arg;
    log_line(LEVEL_INFO, "directory: %s", text);
}

static const struct directory_calls calls = {
    .send = on_send, .note = on_note, .allowed = on_allowed, .say = on_say,
};

static struct directory_rules rules_of(const struct settings *settings) {
    return (struct directory_rules){
        .cluster = settings->cluster,
        .beat_ns = (int64_t) settings->beat_ns,
        .misses = (uint32_t) settings->misses,
        .lease_ns = (int64_t) settings->lease_ns,
        .hosts = HOSTS_MAX,
        .ids_each = settings->ids_each,
    };
}

/* ---- connections ----------------------------------------------------------------------------- */

static struct guest *guest_of(struct line *line) {
    return (struct guest *) ((char *) line - offsetof(struct guest, line));
}

static void guest_free(struct guest *guest) {
    *guest->link = guest->next;
    if (guest->next)
        guest->next->link = guest->link;
    if (guest->member)
        guest->member = directory_gone(guest->server->directory, guest->member,
                                       hosts_now(guest->server->hosts));
    line_reset(&guest->line);
    free(guest);
}

static void on_open(struct line *line) {
    struct guest *guest = guest_of(line);
    const char *name = transport_peer_name(line->transport);

    if (directory_connected(guest->server->directory, hosts_now(guest->server->hosts), guest,
                            *name ? name : NULL, &guest->member) < 0)
        line_end(line, "no memory");
}

static int on_frame(struct line *line, const hosts_frame *frame, struct wrong *wrong) {
    struct guest *guest = guest_of(line);
    int rc = directory_take(guest->server->directory, guest->member,
                            hosts_now(guest->server->hosts), frame, wrong);

    if (rc == 0) {
        guest->known = true;
        gate_leave(line->transport);
    }
    return rc;
}

static void on_end(struct line *line) {
    const char *address = transport_peer(line->transport)->address;
    char why[sizeof(line->why) + SYS_ADDRESS_TEXT];

    (void) snprintf(why, sizeof(why), "%s: %s", address, trust_bare(address, line->why));
    if (guest_of(line)->known)
        log_line(LEVEL_INFO, "directory: %s", why);
    else
        trust_turned_away(guest_of(line)->server->hosts, why);
    guest_free(guest_of(line));
}

/* The connection of that transport. */
static void turn_away(struct host_server *server, struct transport *transport) {
    for (struct guest *guest = server->guests; transport && guest; guest = guest->next) {
        if (guest->line.transport != transport)
            continue;
        line_end(&guest->line, transport_why(transport));
        return;
    }
}

static void on_accept(struct hosts *hosts, int fd) {
    struct host_server *server = hosts->server;
    struct guest *guest = calloc(1, sizeof(*guest));
    struct transport *transport;
    int rc = guest ? transport_take(fd, true, NULL, hosts->security, &transport) : -ENOMEM;

    if (!guest)
        (void) close(fd);
    if (rc == 0) {
        turn_away(server, gate_enter(&server->gate, transport, hosts_now(hosts)));
        guest->server = server;
        guest->line.way = HOSTS_TO_DIRECTORY;
        guest->line.on_open = on_open;
        guest->line.on_frame = on_frame;
        guest->line.on_end = on_end;
        rc = line_begin(&guest->line, &hosts->tasks, transport);
    }
    if (rc < 0) {
        log_line(LEVEL_ERROR, "cannot take a connection: %s", strerror(-rc));
        free(guest);
        return;
    }
    guest->next = server->guests;
    guest->link = &server->guests;
    if (guest->next)
        guest->next->link = &guest->next;
    server->guests = guest;
}

void host_server_look(struct hosts *hosts, int64_t seconds) {
    struct guest *guest = hosts->server ? hosts->server->guests : NULL;

    for (; guest; guest = guest->next)
        if (line_is_there(&guest->line) && transport_check(guest->line.transport, seconds) < 0)
            line_end(&guest->line, transport_why(guest->line.transport));
}

/* ---- time ------------------------------------------------------------------------------------ */

int64_t host_server_time(struct hosts *hosts, int64_t now) {
    struct host_server *server = hosts->server;
    int64_t gate, next;

    if (!server)
        return INT64_MAX;
    for (struct transport *late; (late = gate_due(&server->gate, now));)
        turn_away(server, late);
    if (now >= server->next) {
        for (struct guest *guest = server->guests; guest; guest = guest->next)
            if (guest->member && directory_silent(server->directory, guest->member, now))
                line_end(&guest->line, "it is silent");
        directory_time(server->directory, now);
        if (server->stale && rewrite(server) < 0)
            log_line(LEVEL_ERROR, "cannot write %s anew", FILE_NAME);
        server->next = now + (int64_t) hosts_settings(hosts)->beat_ns / 2;
    }
    next = listeners_time(server->listeners, now);
    gate = gate_next(&server->gate);
    next = gate < next ? gate : next;
    return server->next < next ? server->next : next;
}

/* ---- start and end --------------------------------------------------------------------------- */

/* At the port of the host server, at all addresses that links listen at, and on loopback. */
static int listen_all(struct host_server *server) {
    const struct settings *settings = hosts_settings(server->hosts);
    uint16_t port = (uint16_t) settings->server_port, other;
    const char *at = settings->listen;
    char word[ALLOW_HOST_SIZE + 8], host[ALLOW_HOST_SIZE];
    struct wrong wrong = { 0 };
    bool local = false;

    while (allow_next(&at, word, sizeof(word))) {
        if (allow_address(word, port, host, &other) < 0 ||
            listener_new(server->hosts, host, port, on_accept, &server->listeners, &wrong) < 0) {
            log_line(LEVEL_ERROR, "the host server %s", wrong.text);
            return -EADDRNOTAVAIL;
        }
        local |= strcmp(host, "127.0.0.1") == 0 || strcmp(host, "0.0.0.0") == 0;
    }
    if (!local && listener_new(server->hosts, "127.0.0.1", port, on_accept, &server->listeners,
                               &wrong) < 0) {
        log_line(LEVEL_ERROR, "the host server %s", wrong.text);
        return -EADDRNOTAVAIL;
    }
    return 0;
}

int host_server_start(struct hosts *hosts) {
    struct host_server *server = calloc(1, sizeof(*server));
    struct directory_rules rules = rules_of(hosts_settings(hosts));
    int rc;

    if (!server)
        return -ENOMEM;
    server->hosts = hosts;
    server->fd = -1;
    hosts->server = server;
    rc = directory_new(&rules, &calls, server, &server->directory);
    if (rc == 0)
        rc = load(server);
    if (rc == 0)
        rc = listen_all(server);
    if (rc < 0)
        host_server_stop(hosts);
    return rc;
}

void host_server_stop(struct hosts *hosts) {
    struct host_server *server = hosts->server;

    if (!server)
        return;
    while (server->guests)
        guest_free(server->guests);
    listeners_free(&server->listeners);
    server->directory = directory_free(server->directory);
    cleanup_fd(&server->fd);
    free(server);
    hosts->server = NULL;
}

void host_server_reload(struct hosts *hosts) {
    struct directory_rules rules = rules_of(hosts_settings(hosts));

    if (hosts->server)
        directory_set(hosts->server->directory, &rules);
}
