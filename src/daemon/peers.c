/* SPDX-License-Identifier: MIT
 *
 * Connections to the other daemons. Both ends dial; which connection of a pair is used, the link
 * decides (wire/link_hello.h). Dialling begins anew after 10 ms, doubling to 1 s, with jitter, and
 * at once when a network interface came up. While a link is silent a second connection races the
 * first.
 *
 * A wire is a transport: being opened, greeting, or in use by the link. It ends from a task, never
 * below a caller that may still use it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/hosts.h"
#include "daemon/log.h"
#include "daemon/stands.h"
#include "sys/cleanup.h"
#include "sys/clock.h"
#include "sys/event.h"
#include "sys/file.h"
#include "wire/allow.h"
#include "wire/link.h"

#define BACK_MIN INT64_C(10000000)
#define BACK_MAX INT64_C(1000000000)
#define BACK_FRESH INT64_C(50000000)   /* the longest while it was heard a moment ago: */
#define FRESH INT64_C(6000000000)
#define RACE_MIN INT64_C(25000000)     /* between two that are under way; */
#define RACE_OPEN INT64_C(250000000)   /* … if one is there that only has to greet */
#define RACES_MAX 32                   /* at most so many */
#define DIAL_TIME INT64_C(3000000000) /* for connecting and the handshake */
#define READS_MAX 16                  /* of a turn */
#define WRITES_MAX 16

struct wire {
    struct wire *next, **link_next;
    struct hosts *hosts;
    struct peer *peer;       /* NULL: accepted, and has not said who it is */
    struct transport *transport;
    tram_io *io;
    struct greet greet;
    struct task task;
    int64_t since;
    uint32_t events;         /* that io watches for */
    bool dialled, greeting, linked, doomed;
    bool came;               /* something, in this turn */
    char why[256];           /* accepted, and doomed before it said who it is */
};

struct peer {
    struct host *host;
    struct link *link;
    struct wire *wire;       /* in use by the link */
    struct wire *dialling;   /* the last one that we dialled, not in use yet */
    int64_t retry, back;
    unsigned address;
    char said[256];          /* … as the log has it */
    char error[256];         /* why the last one ended, or could not be */
};

/* ---- wires: ends ----------------------------------------------------------------------------- */

/* Another one is in use: nothing went wrong. */
static void wire_yield(struct wire *wire) {
    wire->doomed = true;
    task_add(&wire->hosts->tasks, &wire->task);
}

static void wire_doom(struct wire *wire, const char *why) {
    const char *address = transport_peer(wire->transport)->address;
    char *text = wire->peer ? wire->peer->error : wire->why;

    if (wire->doomed)
        return;
    (void) snprintf(text, sizeof(wire->why), "%s: %.160s", address, trust_bare(address, why));
    wire_yield(wire);
}

/* When to dial again. A short cut is to be noticed at its end, so soon while it may be one. */
static void rest(struct peer *peer, int64_t now) {
    struct link_stats stats;
    int64_t most = BACK_MAX;

    link_stats(peer->link, &stats);
    if (stats.heard > 0 && now - (int64_t) stats.heard < FRESH)
        most = BACK_FRESH;
    peer->back = peer->back < most ? peer->back : most;
    peer->retry = now + hosts_jitter(peer->back);
    peer->back = peer->back * 2 < most ? peer->back * 2 : most;
}

static void wire_free(struct wire *wire) {
    struct peer *peer = wire->peer;
    int64_t now = hosts_now(wire->hosts);

    if (wire->linked && peer && peer->wire == wire) {
        peer->wire = NULL;
        link_cut(peer->link, (uint64_t) now);
        if (now - wire->since > BACK_MAX)
            peer->back = BACK_MIN; /* else it is worth no haste */
        peer->address = 0; /* the nearest first */
        rest(peer, now);
        log_line(LEVEL_INFO, "host %s: the connection ended: %s", peer->host->name, peer->error);
    }
    if (!peer && *wire->why)
        trust_turned_away(wire->hosts, wire->why);
    if (peer && peer->dialling == wire) {
        peer->dialling = NULL;
        rest(peer, now);
        if (strcmp(peer->said, peer->error) != 0) /* once, however often it is tried */
            log_line(LEVEL_DEBUG, "host %s: %s", peer->host->name, peer->error);
        memcpy(peer->said, peer->error, sizeof(peer->said));
    }
    task_remove(&wire->hosts->tasks, &wire->task);
    wire->io = tram_io_free(wire->io);
    wire->transport = transport_close(wire->transport);
    *wire->link_next = wire->next;
    if (wire->next)
        wire->next->link_next = wire->link_next;
    if (peer)
        hosts_wake(wire->hosts, now);
    free(wire);
}

/* ---- wires: bytes ---------------------------------------------------------------------------- */

/* What the greeting has to say. 0: all of it went. */
static int flush_greet(struct wire *wire) {
    struct link_piece piece;

    while (greet_piece(&wire->greet, &piece) > 0) {
        int64_t put = transport_write(wire->transport, piece.base, piece.size);

        if (put < 0)
            return (int) put;
        greet_wrote(&wire->greet, (size_t) put);
    }
    return 0;
}

static int flush_link(struct wire *wire) {
    struct link *link = wire->peer->link;

    for (int i = 0; i < WRITES_MAX; i++) {
        const struct link_piece *pieces;
        struct iovec list[LINK_PIECES];
        uint64_t now = (uint64_t) hosts_now(wire->hosts);
        int count = link_pieces(link, now, &pieces);
        int64_t put;

        if (count == 0)
            return 0;
        for (int at = 0; at < count; at++)
            list[at] = (struct iovec){ (void *) (uintptr_t) pieces[at].base, pieces[at].size };
        put = transport_writev(wire->transport, list, count);
        if (put < 0)
            return (int) put;
        link_wrote(link, now, (size_t) put);
    }
    return -EAGAIN;
}

/* Each message would be a system call more. */
static void watch(struct wire *wire, uint32_t events) {
    if (events == wire->events)
        return;
    wire->events = events;
    (void) tram_io_set(wire->io, events); /* its arguments are right */
}

static void flush(struct wire *wire) {
    uint32_t events;
    int rc = wire->greeting || wire->linked ? flush_greet(wire) : 0;

    /* One that another has taken the place of has nothing to say: the link speaks to that one. */
    if (rc == 0 && wire->linked && wire->peer->wire == wire)
        rc = flush_link(wire);
    if (rc == 0 && (wire->greeting || wire->linked))
        rc = transport_flush(wire->transport);
    if (rc < 0 && rc != -EAGAIN)
        wire_doom(wire, transport_why(wire->transport));
    events = transport_want(wire->transport);
    /* What is decrypted is read in the next turn, of which nothing else would tell. */
    if (rc == -EAGAIN || transport_pending(wire->transport))
        events |= TRANSPORT_WRITE;
    if (!wire->doomed)
        watch(wire, events);
}

static void work(struct task *task) {
    struct wire *wire = (struct wire *) ((char *) task - offsetof(struct wire, task));

    if (transport_is_open(wire->transport))
        flush(wire);
    else if (!wire->doomed)
        watch(wire, transport_want(wire->transport));
    if (wire->doomed)
        wire_free(wire);
}

/* ---- greeting -------------------------------------------------------------------------------- */

/* Who is it? -EACCES: greet has a word for it. */
static int find_peer(struct wire *wire) {
    const struct link_identity *it = &wire->greet.peer.identity;
    const char *certified = transport_peer_name(wire->transport);
    struct host *host = host_by_name(wire->hosts, it->host);

    if (*certified && strcmp(certified, it->host) != 0) {
        greet_refuse(&wire->greet, "you say that you are host %s, your certificate %s", it->host,
                     certified);
        return -EACCES;
    }
    if (!host || !host->peer) {
        greet_refuse(&wire->greet, "host %s is not known here (yet)", it->host);
        return -EACCES;
    }
    if (wire->peer && wire->peer != host->peer) {
        greet_refuse(&wire->greet, "you are host %s, not %s", it->host, wire->peer->host->name);
        return -EACCES;
    }
    wire->peer = host->peer;
    return 0;
}

/* One is in use: the others that we dialled are not needed. */
static void end_races(struct peer *peer, const struct wire *winner) {
    for (struct wire *wire = winner->hosts->wires; wire; wire = wire->next)
        if (wire != winner && wire->peer == peer && wire->dialled && !wire->linked)
            wire_yield(wire);
}

static void meet(struct wire *wire) {
    struct peer *peer;
    uint64_t now = (uint64_t) hosts_now(wire->hosts);

    if (find_peer(wire) < 0) {
        wire_doom(wire, wire->greet.wrong.text);
        return;
    }
    peer = wire->peer;
    switch (link_meet(peer->link, &wire->greet, now)) {
    case LINK_MEET_TAKEN:
        if (peer->wire && peer->wire != wire) {
            struct wire *old = peer->wire;

            peer->wire = NULL;
            wire_yield(old);
        }
        if (peer->dialling == wire)
            peer->dialling = NULL;
        end_races(peer, wire);
        gate_leave(wire->transport);
        wire->linked = true;
        wire->greeting = false;
        peer->wire = wire;
        wire->since = (int64_t) now;
        log_line(LEVEL_INFO, "host %s: connected, %s", peer->host->name,
                 transport_peer(wire->transport)->address);
        hosts_wake(wire->hosts, (int64_t) now);
        break;
    case LINK_MEET_WAIT:
        break;
    case LINK_MEET_DROP:
        wire_doom(wire, wire->greet.wrong.text);
    }
}

/* False: nothing more now. */
static bool read_greet(struct wire *wire) {
    struct link_room room;
    int64_t got;
    int rc;

    if (greet_room(&wire->greet, &room) == 0 || room.size == 0) {
        meet(wire);
        return wire->linked;
    }
    got = transport_read(wire->transport, room.base, room.size);
    if (got == -EAGAIN)
        return false;
    if (got <= 0) {
        wire_doom(wire, got == 0 ? "it went" : transport_why(wire->transport));
        return false;
    }
    rc = greet_came(&wire->greet, (size_t) got);
    if (rc > 0)
        meet(wire);
    if (rc < 0)
        wire_doom(wire, wire->greet.wrong.text);
    return !wire->doomed;
}

/* False: nothing more now, of which the descriptor would not tell. */
static bool read_link(struct wire *wire) {
    struct link *link = wire->peer->link;
    struct link_room rooms[LINK_ROOMS];
    struct iovec list[LINK_ROOMS];
    int count = link_rooms(link, rooms), rc;
    int64_t got, room = 0;

    for (int i = 0; i < count; i++) {
        list[i] = (struct iovec){ rooms[i].base, rooms[i].size };
        room += (int64_t) rooms[i].size;
    }
    got = transport_readv(wire->transport, list, count);
    if (got == -EAGAIN)
        return false;
    if (got <= 0) {
        wire_doom(wire, got == 0 ? "it went" : transport_why(wire->transport));
        return false;
    }
    wire->came = true;
    /* Not the time of the turn: a PING that came since would be said to be held for longer. */
    rc = link_came(link, (uint64_t) worker_read_clock(wire->hosts->tasks.worker), (size_t) got);
    if (rc < 0)
        wire_doom(wire, link_wrong(link));
    return rc >= 0 && !wire->doomed && (got == room || transport_pending(wire->transport));
}

static void opened(struct wire *wire) {
    struct hosts *hosts = wire->hosts;

    if (transport_peer(wire->transport)->role == TRANSPORT_PROGRAM) {
        wire_doom(wire, "its certificate is of a program, not of a host");
        return;
    }

    wire->greeting = true;
    greet_init(&wire->greet, &hosts->identity, ++hosts->tries, (uint64_t) hosts_now(hosts));
    hosts_wake(hosts, (int64_t) greet_due(&wire->greet));
}

/* All that came, as far as a turn goes. */
static void read_wire(struct wire *wire) {
    bool more = true;

    for (int i = 0; i < READS_MAX && more && !wire->doomed; i++)
        more = wire->linked     ? read_link(wire)
               : wire->greeting ? read_greet(wire)
                                : false;
}

bool peers_turn(struct hosts *hosts) {
    bool any = false;

    for (struct wire *wire = hosts->wires; wire; wire = wire->next) {
        if (!wire->linked || wire->doomed || !wire->peer)
            continue;
        wire->came = false;
        read_wire(wire);
        if (!wire->came && !wire->doomed)
            continue;
        any = true;
        hosts_wake(hosts, hosts_due(link_next(wire->peer->link)));
        task_add(&hosts->tasks, &wire->task);
    }
    return any;
}

static void on_io(tram_io *io, int fd, uint32_t events, void *arg) {
    struct wire *wire = arg;
    int rc;

    (void) io;
    (void) fd;
    if (wire->doomed)
        return;
    if (!wire->greeting && !wire->linked) {
        rc = transport_open(wire->transport);
        if (rc < 0 && rc != -EAGAIN)
            wire_doom(wire, transport_why(wire->transport));
        if (rc == 0)
            opened(wire);
    }
    if (events & ~TRAM_IO_WRITE || transport_pending(wire->transport)) {
        read_wire(wire);
        if (wire->linked && wire->peer)
            hosts_wake(wire->hosts, hosts_due(link_next(wire->peer->link)));
    }
    task_add(&wire->hosts->tasks, &wire->task);
}

/* The transport is the wire's from now on, also on failure. */
static int wire_new(struct hosts *hosts, struct transport *transport, struct peer *peer,
                    struct wire **ret_wire) {
    struct wire *wire = calloc(1, sizeof(*wire));
    int rc = wire ? tram_io_new(hosts->tasks.worker, transport_fd(transport),
                                TRAM_IO_READ | TRAM_IO_WRITE, on_io, wire, &wire->io)
                  : -ENOMEM;

    if (rc < 0) {
        (void) transport_close(transport);
        free(wire);
        return rc;
    }
    wire->hosts = hosts;
    wire->peer = peer;
    wire->transport = transport;
    wire->task.fn = work;
    wire->events = TRAM_IO_READ | TRAM_IO_WRITE;
    wire->since = hosts_now(hosts);
    wire->dialled = peer != NULL;
    wire->next = hosts->wires;
    wire->link_next = &hosts->wires;
    if (wire->next)
        wire->next->link_next = &wire->next;
    hosts->wires = wire;
    *ret_wire = wire;
    return 0;
}

static void turn_away(struct hosts *hosts, struct transport *transport) {
    for (struct wire *wire = hosts->wires; transport && wire; wire = wire->next)
        if (wire->transport == transport)
            wire_doom(wire, transport_why(transport));
}

static void on_accept(struct hosts *hosts, int fd) {
    struct transport *transport;
    struct wire *wire;
    int rc = transport_take(fd, true, NULL, hosts->security, &transport);

    if (rc == 0) {
        turn_away(hosts, gate_enter(&hosts->gate, transport, hosts_now(hosts)));
        rc = wire_new(hosts, transport, NULL, &wire);
    }
    if (rc < 0)
        log_line(LEVEL_ERROR, "cannot take a connection: %s", strerror(-rc));
    else
        hosts_wake(hosts, gate_next(&hosts->gate));
}

/* ---- dialling -------------------------------------------------------------------------------- */

/* A segment that was lost is sent again after a second or more: whoever waits for that notices the
 * end of a short cut too late. So others race it; the oldest gives way. */
static void race(struct peer *peer) {
    struct wire *oldest = NULL;
    unsigned count = 0;

    for (struct wire *wire = peer->host->hosts->wires; wire; wire = wire->next) {
        if (wire->peer != peer || !wire->dialled || wire->linked || wire->doomed)
            continue;
        count++;
        oldest = wire; /* the list has the youngest first */
    }
    if (oldest && count >= RACES_MAX)
        wire_doom(oldest, "it does not answer");
}

static void dial(struct peer *peer, int64_t now) {
    struct hosts *hosts = peer->host->hosts;
    struct wrong wrong = { 0 };
    struct transport *transport =
        hosts_dial(hosts, peer->host->addresses, (uint16_t) HOSTS_PORT_LINK, &peer->address,
                   peer->host->name, &wrong);

    race(peer);
    rest(peer, now); /* for the next one, should this fail */
    if (transport && peer->retry < now + RACE_MIN)
        peer->retry = now + RACE_MIN;
    if (!transport)
        (void) snprintf(peer->error, sizeof(peer->error), "%s", wrong.text);
    else if (wire_new(hosts, transport, peer, &peer->dialling) < 0)
        (void) snprintf(peer->error, sizeof(peer->error), "no memory");
}

static int64_t peer_time(struct peer *peer, int64_t now) {
    int64_t next;

    if (link_time(peer->link, (uint64_t) now) < 0 && peer->wire)
        wire_doom(peer->wire, link_wrong(peer->link));
    if (peer->wire && link_has(peer->link))
        task_add(&peer->host->hosts->tasks, &peer->wire->task);
    if (peer->dialling && peer->dialling->greeting &&
        peer->retry < peer->dialling->since + RACE_OPEN)
        peer->retry = peer->dialling->since + RACE_OPEN; /* no segment was lost: it is slow */
    if (peer->wire && !peer->wire->doomed && link_wants(peer->link, (uint64_t) now)) {
        read_wire(peer->wire); /* silent may be who was not listened to: we were busy, or stopped */
        task_add(&peer->host->hosts->tasks, &peer->wire->task);
    }
    if (link_wants(peer->link, (uint64_t) now) && now >= peer->retry)
        dial(peer, now);
    next = hosts_due(link_next(peer->link));
    if (link_wants(peer->link, (uint64_t) now) && peer->retry < next)
        next = peer->retry;
    return next;
}

int64_t peers_time(struct hosts *hosts, int64_t now) {
    int64_t next = listeners_time(hosts->listeners, now);

    for (struct transport *late; (late = gate_due(&hosts->gate, now));)
        turn_away(hosts, late);
    for (struct wire *wire = hosts->wires; wire; wire = wire->next) {
        if (wire->doomed || wire->linked)
            continue;
        if (wire->dialled && now - wire->since > DIAL_TIME)
            wire_doom(wire, "it does not answer");
        else if (wire->dialled && wire->since + DIAL_TIME < next)
            next = wire->since + DIAL_TIME + 1;
        if (!wire->greeting || wire->doomed)
            continue;
        if ((int64_t) greet_due(&wire->greet) <= now)
            wire_doom(wire, "it does not say who it is");
        else if ((int64_t) greet_due(&wire->greet) < next)
            next = (int64_t) greet_due(&wire->greet);
    }
    for (struct host *host = hosts->list; host; host = host->next) {
        int64_t its = host->peer ? peer_time(host->peer, now) : INT64_MAX;

        next = its < next ? its : next;
    }
    return gate_next(&hosts->gate) < next ? gate_next(&hosts->gate) : next;
}

void peers_look(struct hosts *hosts, int64_t seconds) {
    for (struct wire *wire = hosts->wires; wire; wire = wire->next)
        if (!wire->doomed && transport_check(wire->transport, seconds) < 0)
            wire_doom(wire, transport_why(wire->transport));
}

void peers_hurry(struct hosts *hosts) {
    for (struct host *host = hosts->list; host; host = host->next) {
        if (!host->peer)
            continue;
        host->peer->back = BACK_MIN;
        host->peer->retry = 0;
    }
    hosts_wake(hosts, hosts_now(hosts));
}

/* ---- what others use ------------------------------------------------------------------------- */

int peer_begin(struct host *host) {
    const struct settings *settings = hosts_settings(host->hosts);
    struct link_config config = { .beat = settings->beat_ns,
                                  .misses = (uint32_t) settings->misses };
    struct peer *peer = calloc(1, sizeof(*peer));
    int rc = peer ? link_new(&host->hosts->identity, host->name, &config, &stands_store, host,
                             &peer->link)
                  : -ENOMEM;

    if (rc < 0) {
        free(peer);
        return rc;
    }
    peer->host = host;
    peer->back = BACK_MIN;
    host->peer = peer;
    hosts_wake(host->hosts, hosts_now(host->hosts));
    return 0;
}

void peer_change(struct host *host) {
    if (!host->peer)
        return;
    host->peer->address = 0;
    host->peer->back = BACK_MIN;
    host->peer->retry = 0;
    hosts_wake(host->hosts, hosts_now(host->hosts));
}

void peer_end(struct host *host) {
    struct peer *peer = host->peer;
    struct wire *next;

    if (!peer)
        return;
    for (struct wire *wire = host->hosts->wires; wire; wire = next) {
        next = wire->next;
        if (wire->peer == peer)
            wire_free(wire);
    }
    peer->link = link_free(peer->link);
    host->peer = NULL;
    free(peer);
}

struct link *peer_link(const struct host *host) {
    return host->peer ? host->peer->link : NULL;
}

bool peer_is_up(const struct host *host) {
    return host->peer && link_is_up(host->peer->link);
}

bool peer_is_local(const struct host *host) {
    const struct wire *wire = host->peer ? host->peer->wire : NULL;
    const char *address = wire ? transport_peer(wire->transport)->address : "";

    return strncmp(address, "127.", 4) == 0 || strncmp(address, "[::1]", 5) == 0;
}

void peer_flush(struct host *host) {
    if (host->peer && host->peer->wire)
        task_add(&host->hosts->tasks, &host->peer->wire->task);
    if (host->peer)
        hosts_wake(host->hosts, hosts_due(link_next(host->peer->link)));
}

int peer_say(struct host *host, const hosts_frame *frame) {
    size_t size = tram__hosts__frame__get_packed_size(frame);
    OWNS_MEMORY uint8_t *bytes = NULL;
    int rc;

    if (!peer_is_up(host))
        return -ENOTCONN;
    if (size > LINK_CONTROL_MAX)
        return -EMSGSIZE;
    bytes = malloc(size + 1);
    if (!bytes)
        return -ENOMEM;
    (void) tram__hosts__frame__pack(frame, bytes);
    rc = link_control(host->peer->link, bytes, size);
    peer_flush(host);
    return rc;
}

const char *peer_error(const struct host *host) {
    return host->peer ? host->peer->error : "";
}

void peer_report(struct host *host, Tram__Control__Link *ret_link) {
    struct peer *peer = host->peer;
    uint64_t now = (uint64_t) hosts_now(host->hosts);
    const struct transport_peer *other;
    struct link_stats stats;

    if (!peer)
        return;
    link_stats(peer->link, &stats);
    ret_link->up = link_is_up(peer->link);
    ret_link->error = peer->error;
    ret_link->connections = stats.connections;
    ret_link->bytes_out = stats.bytes_out;
    ret_link->bytes_in = stats.bytes_in;
    ret_link->messages_out = stats.messages_out;
    ret_link->messages_in = stats.messages_in;
    ret_link->retransmitted = stats.retransmitted;
    ret_link->dropped = stats.dropped;
    ret_link->stalls_out = stats.stalls_out;
    ret_link->stalls_in = stats.stalls_in;
    ret_link->channels_out = stats.out;
    ret_link->channels_in = stats.in;
    ret_link->round_trip_ns = stats.rtt;
    ret_link->round_trip_min_ns = stats.rtt_min;
    ret_link->offset_known = stats.offset_known;
    ret_link->offset_ns = stats.offset;
    ret_link->heard_ns = stats.heard > 0 && now > stats.heard ? now - stats.heard : 0;
    if (!peer->wire)
        return;
    other = transport_peer(peer->wire->transport);
    ret_link->since_ns = now > stats.since ? now - stats.since : 0;
    ret_link->version = link_peer(peer->link)->version;
    ret_link->address = (char *) (uintptr_t) other->address; /* frames that go out are read only */
    ret_link->tls = (char *) (uintptr_t) other->version;
    ret_link->ends = other->ends;
    ret_link->cipher = (char *) (uintptr_t) other->cipher;
}

static void on_net(tram_io *io, int fd, uint32_t events, void *arg) {
    struct hosts *hosts = arg;

    (void) io;
    (void) events;
    if (!sys_net_news(fd))
        return;
    hosts->near_until = 0;
    peers_hurry(hosts);
    if (hosts->seat)
        hosts->maker->hurry(hosts->seat);
}

int peers_start(struct hosts *hosts) {
    const struct settings *settings = hosts_settings(hosts);
    const char *at = *settings->listen ? settings->listen : "127.0.0.1";
    char word[HOSTS_ADDRESS_MAX + 1];
    struct wrong wrong = { 0 };

    hosts->net_fd = sys_net_watch(); /* without it a back-off takes as long as it takes */
    if (hosts->net_fd >= 0)
        (void) tram_io_new(hosts->tasks.worker, hosts->net_fd, TRAM_IO_READ, on_net, hosts,
                           &hosts->net_io);

    while (allow_next(&at, word, sizeof(word))) {
        int rc = listener_new(hosts, word, (uint16_t) settings->port, on_accept,
                              &hosts->listeners, &wrong);

        if (rc < 0) {
            log_line(LEVEL_ERROR, "%s", wrong.text);
            return rc;
        }
    }
    return 0;
}

void peers_stop(struct hosts *hosts) {
    hosts->net_io = tram_io_free(hosts->net_io);
    cleanup_fd(&hosts->net_fd);
    listeners_free(&hosts->listeners);
    while (hosts->wires)
        wire_free(hosts->wires);
}
