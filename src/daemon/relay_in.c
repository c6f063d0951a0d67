/* SPDX-License-Identifier: MIT
 *
 * Events of servers of other hosts, for all who read them here.
 *
 * A process makes its reader's file, in which stands what it wants, and names it (Relay). All that
 * is wanted of one server is asked of its host, which sends each event once. When that host has
 * said that it sends them, the process is told, which then asks the server for no more messages.
 *
 * What is known of readers is in their files: so a daemon that begins knows all of them, and asks
 * for no less than the one before, until their processes are back. Who does not come back, because
 * its node has ended, or whose file is gone, is forgotten; a durable one only with its file.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/log.h"
#include "daemon/relay.h"
#include "sys/cleanup.h"
#include "sys/file.h"
#include "tram/service.h"
#include "wire/link.h"

#define READERS_MAX 65536u
#define WISH_BYTES (16u << 10) /* of a frame's; with more, everything is wanted */
#define AGAIN INT64_C(100000000)
#define LOOK_AGAIN INT64_C(1000000000) /* for an answer, for who is away, and where the server is */
#define NEVER INT64_MAX

void inflow_due(struct inflow *flow, int64_t due) {
    if (due < flow->due)
        flow->due = due;
    hosts_wake(flow->hosts, due);
}

static void soon(struct inflow *flow, int64_t after) {
    inflow_due(flow, hosts_now(flow->hosts) + after);
}

/* ---- processes ------------------------------------------------------------------------------- */

static void tell(struct conn *conn, uint64_t cookie, uint64_t ring, int error) {
    Tram__Control__Relayed words = CONTROL_NEW(Relayed, relayed);
    control_frame frame = CONTROL_NEW(Frame, frame);

    words.cookie = cookie;
    words.ring = ring;
    words.error = error;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_RELAYED;
    frame.relayed = &words;
    conn_send(conn, &frame);
}

void relay_tell(struct inflow *flow, struct relay_reader *reader, int error) {
    if (reader->conn)
        tell(reader->conn, reader->cookie, flow->has_ring ? topic_words(&flow->file)->id : 0,
             error);
}

/* What they want comes from now on. */
static void tell_those(struct inflow *flow) {
    for (struct relay_reader *at = flow->readers; at; at = at->next)
        if (flow->has_ring && !at->told && at->serial <= flow->confirmed) {
            at->told = true;
            at->start = WORD_POSITION(flow->tx.tail);
            relay_tell(flow, at, 0);
        }
}

/* ---- asking ---------------------------------------------------------------------------------- */

static uint32_t host_of(struct hosts *hosts, tram_id node) {
    uint32_t number = hosts_number_of(node);
    uint64_t epoch;

    return number ? number : placing_of(hosts, node, &epoch);
}

static bool is_same(const Tram__Hosts__Wish *wish, const struct relay_reader *reader) {
    return wish->event == reader->event && wish->topic.len == strlen(reader->topic) &&
           memcmp(wish->topic.data, reader->topic, wish->topic.len) == 0;
}

/* What all readers want, each once. */
static size_t collect(const struct inflow *flow, Tram__Hosts__Wish wishes[HOSTS_WISHES_MAX]) {
    size_t count = 0, bytes = 0;

    for (struct relay_reader *at = flow->readers; at; at = at->next) {
        size_t i = 0;

        while (i < count && !is_same(&wishes[i], at))
            i++;
        if (i < count)
            continue;
        bytes += strlen(at->topic) + 16;
        if (count == HOSTS_WISHES_MAX || bytes > WISH_BYTES) {
            wishes[0] = HOSTS_NEW(Wish, wish);
            wishes[0].event = TRAM_ANY_EVENT;
            return 1;
        }
        wishes[count] = HOSTS_NEW(Wish, wish);
        wishes[count].event = at->event;
        wishes[count].topic.data = (uint8_t *) at->topic;
        wishes[count++].topic.len = strlen(at->topic);
    }
    return count;
}

/* `none`: nothing any more. */
static int say(struct inflow *flow, struct host *host, bool begin, bool none) {
    Tram__Hosts__Relay words = HOSTS_NEW(Relay, relay);
    hosts_frame frame = HOSTS_FRAME(RELAY, relay, &words);
    Tram__Hosts__Wish wishes[HOSTS_WISHES_MAX];
    Tram__Hosts__Wish *pointers[HOSTS_WISHES_MAX];

    words.node = flow->node;
    words.port = flow->port;
    words.serial = flow->serial;
    words.begin = begin;
    words.n_wishes = none ? 0 : collect(flow, wishes);
    words.wishes = pointers;
    for (size_t i = 0; i < words.n_wishes; i++)
        pointers[i] = &wishes[i];
    for (struct relay_reader *at = flow->readers; at; at = at->next)
        words.block |= at->block;
    if (flow->has_ring) {
        words.ring = topic_words(&flow->file)->id;
        words.number = flow->tx.number;
    }
    return peer_say(host, &frame);
}

static bool has_events(const struct host *host) {
    return link_peer(peer_link(host))->features & LINK_FEATURE_EVENTS;
}

/* Have its host know what is wanted. */
static int ask(struct inflow *flow) {
    uint32_t number = host_of(flow->hosts, flow->node);
    struct host *host = number ? host_by_number(flow->hosts, number) : NULL;
    bool begin = !flow->begun || number != flow->host;
    int rc;

    soon(flow, LOOK_AGAIN);
    if (number != flow->host && flow->begun && (host_by_number(flow->hosts, flow->host)))
        (void) say(flow, host_by_number(flow->hosts, flow->host), false, true);
    flow->host = number;
    if (!host || !peer_is_up(host) || !has_events(host))
        return 0; /* relays_up(); of an older one they come as messages */
    if (begin)
        inflow_forget(flow);
    rc = say(flow, host, begin, false);
    flow->begun = rc == 0;
    if (rc < 0)
        soon(flow, AGAIN);
    return rc;
}

static void change(struct inflow *flow) {
    flow->serial = ++flow->hosts->relays.serial;
    (void) ask(flow);
}

/* ---- readers --------------------------------------------------------------------------------- */

void relay_reader_free(struct inflow *flow, struct relay_reader *reader) {
    struct relay_reader **link = &flow->readers;

    while (*link != reader)
        link = &(*link)->next;
    *link = reader->next;
    flow->hosts->relays.readers--;
    topic_file_close(&reader->file);
    free(reader);
}

/* "1.1.2.1-9f3a0c11", and what comes then ('@': of a reader; 0: of the ring): the server. */
static bool parse(const char *name, char then, tram_id *ret_node, uint32_t *ret_port) {
    size_t length = strcspn(name, "-");
    char id[TRAM_ID_TEXT], end = 0;

    if (length >= sizeof(id) || strlen(name) >= READER_NAME ||
        sscanf(name + length, "-%8x%c", ret_port, &end) < 1 || end != then)
        return false;
    memcpy(id, name, length);
    id[length] = '\0';
    return tram_id_parse(id, ret_node) == 0;
}

/* What stands in its file: 0, or it is none of ours. */
static int read_wish(struct relay_reader *reader) {
    const struct topic_wish *wish = (const struct topic_wish *) (const void *)
                                    ((const uint8_t *) reader->file.map.base + WISH_AT);

    if (load_acquire(&wish->magic) != WISH_MAGIC)
        return -EBADMSG;
    reader->event = load_relaxed(&wish->event);
    memcpy(reader->topic, wish->topic, sizeof(reader->topic));
    reader->topic[sizeof(reader->topic) - 1] = '\0';
    reader->block = load_relaxed(&reader_words(&reader->file)->flags) & READER_BLOCK;
    reader->durable = strchr(reader->name.text, '@')[1] == '=';
    return 0;
}

static struct inflow *inflow_get(struct hosts *hosts, tram_id node, uint32_t port) {
    struct inflow *flow = hosts->relays.in;

    while (flow && (flow->node != node || flow->port != port))
        flow = flow->next;
    if (flow || !(flow = calloc(1, sizeof(*flow))))
        return flow;
    flow->hosts = hosts;
    flow->node = node;
    flow->port = port;
    flow->end = &flow->first;
    flow->due = NEVER;
    flow->next = hosts->relays.in;
    hosts->relays.in = flow;
    if (host_of(hosts, node) != hosts->self.host)
        (void) inflow_open(flow, 0, 0); /* if an earlier daemon left one */
    return flow;
}

static void inflow_free(struct inflow *flow) {
    struct inflow **link = &flow->hosts->relays.in;
    struct host *host = host_by_number(flow->hosts, flow->host);

    while (*link != flow)
        link = &(*link)->next;
    *link = flow->next;
    if (host && flow->begun)
        (void) say(flow, host, false, true); /* if it can't be said: with the next link */
    while (flow->readers)
        relay_reader_free(flow, flow->readers);
    inflow_forget(flow);
    inflow_close(flow);
    free(flow);
}

/* Nobody reads it any more. */
static void inflow_end(struct inflow *flow) {
    int dir = flow->hosts->relays.dir;
    tram_id node = flow->node;
    uint32_t port = flow->port;
    bool here = host_of(flow->hosts, node) == flow->hosts->self.host;

    inflow_free(flow);
    if (!here) /* else its server has taken that file */
        topic_file_remove(dir, node, port, false);
}

/* Found, or made, with its file. NULL, and why. */
static struct relay_reader *reader_get(struct hosts *hosts, const char *name,
                                       struct inflow **ret_flow, int *ret_error) {
    struct relay_reader *reader = calloc(1, sizeof(*reader));
    struct inflow *flow = NULL;
    tram_id node;
    uint32_t port;
    int rc = !reader ? -ENOMEM : hosts->relays.readers < READERS_MAX ? 0 : -ENOSPC;

    if (rc == 0 && !parse(name, '@', &node, &port))
        rc = -EINVAL;
    if (rc == 0) {
        memcpy(reader->name.text, name, strlen(name) + 1);
        rc = reader_file_open(hosts->relays.dir, &reader->name, &reader->file);
    }
    if (rc == 0)
        rc = read_wish(reader);
    if (rc == 0 && !(flow = inflow_get(hosts, node, port)))
        rc = -ENOMEM;
    if (rc < 0) {
        if (reader)
            topic_file_close(&reader->file);
        free(reader);
        *ret_error = rc;
        return NULL;
    }
    reader->serial = hosts->relays.serial + 1;
    for (struct relay_reader *at = flow->readers, *next; at; at = next) {
        next = at->next;
        if (at->event == reader->event && strcmp(at->topic, reader->topic) == 0)
            reader->serial = at->serial; /* that wish is known there */
        if (strcmp(at->name.text, name) == 0)
            relay_reader_free(flow, at);
    }
    reader->next = flow->readers;
    flow->readers = reader;
    hosts->relays.readers++;
    *ret_flow = flow;
    return reader;
}

void relay_add(struct conn *conn, uint64_t cookie, const char *name) {
    struct hosts *hosts = conn->daemon->hosts;
    struct relay_reader *reader;
    struct inflow *flow;
    int error = -EHOSTUNREACH;

    reader = hosts && hosts->relays.dir >= 0 ? reader_get(hosts, name, &flow, &error) : NULL;
    if (!reader) {
        tell(conn, cookie, 0, error);
        return;
    }
    reader->conn = conn;
    reader->cookie = cookie;
    if (reader->serial > flow->serial || reader->block)
        change(flow);
    tell_those(flow);
}

static bool is_over(struct inflow *flow, const struct relay_reader *reader) {
    struct sys_stat stat;
    uint64_t life = 1;

    if (sys_stat_at(flow->hosts->relays.dir, reader->name.text, &stat) == -ENOENT)
        return true;
    return !reader->durable &&
           life_look(flow->hosts->daemon, load_relaxed(&reader_words(&reader->file)->node),
                     &life) == 0 && life == 0;
}

/* Those that are away: do they come back? True: the flow is gone. */
static bool look_away(struct inflow *flow) {
    bool fewer = false, away = false;

    for (struct relay_reader *at = flow->readers, *next; at; at = next) {
        next = at->next;
        if (at->conn)
            continue;
        if (is_over(flow, at)) {
            relay_reader_free(flow, at);
            fewer = true;
        } else {
            away = true;
        }
    }
    if (!flow->readers) {
        inflow_end(flow);
        return true;
    }
    if (fewer)
        change(flow);
    if (away)
        soon(flow, LOOK_AGAIN);
    return false;
}

void relay_remove(struct conn *conn, uint64_t cookie) {
    struct hosts *hosts = conn->daemon->hosts;

    for (struct inflow *flow = hosts ? hosts->relays.in : NULL; flow; flow = flow->next)
        for (struct relay_reader *at = flow->readers; at; at = at->next)
            if (at->conn == conn && at->cookie == cookie) {
                at->conn = NULL;
                if (!at->durable) {
                    relay_reader_free(flow, at);
                    change(flow);
                }
                (void) look_away(flow);
                return;
            }
}

void relay_conn_end(struct conn *conn) {
    struct hosts *hosts = conn->daemon->hosts;

    for (struct inflow *flow = hosts ? hosts->relays.in : NULL; flow; flow = flow->next)
        for (struct relay_reader *at = flow->readers; at; at = at->next)
            if (at->conn == conn) {
                at->conn = NULL;
                soon(flow, LOOK_AGAIN);
            }
}

/* ---- what the other host says ---------------------------------------------------------------- */

static void take_ring(struct inflow *flow, const Tram__Hosts__Relaying *words) {
    bool other = !flow->has_ring || topic_words(&flow->file)->id != words->ring;
    int rc = other ? inflow_open(flow, words->ring, words->capacity) : 0;

    if (rc < 0) {
        if (rc != -EAGAIN)
            log_line(LEVEL_WARNING, "no ring for events of another host: %s", strerror(-rc));
        flow->begun = false; /* it is asked for again, each second */
        return;
    }
    if (other)
        inflow_forget(flow);
    for (struct relay_reader *at = flow->readers; at && other; at = at->next)
        at->told = false;
    flow->confirmed = words->serial;
    tell_those(flow);
}

static struct inflow *find(struct host *host, tram_id node, uint32_t port) {
    struct inflow *flow = host->hosts->relays.in;

    while (flow && (flow->node != node || flow->port != port))
        flow = flow->next;
    return flow && flow->host == host->number &&
                   host_of(host->hosts, node) == host->number ? flow : NULL;
}

int relays_take(struct host *host, const hosts_frame *frame) {
    struct inflow *flow;

    switch ((int) frame->kind_case) {
    case TRAM__HOSTS__FRAME__KIND_RELAY:
        return outflow_take(host, frame->relay);
    case TRAM__HOSTS__FRAME__KIND_RELAYS_TOLD:
        if (!host->relays_told) /* once for each link: it takes a look at all readers */
            outflows_told(host);
        host->relays_told = true;
        return 0;
    case TRAM__HOSTS__FRAME__KIND_HAD:
        outflow_had(host, frame->had);
        return 0;
    case TRAM__HOSTS__FRAME__KIND_RELAYING:
        flow = find(host, frame->relaying->node, frame->relaying->port);
        for (struct relay_reader *at = flow && frame->relaying->over ? flow->readers : NULL; at;
             at = at->next)
            relay_tell(flow, at, -ENOTCONN);
        if (flow && !frame->relaying->over && frame->relaying->ring)
            take_ring(flow, frame->relaying);
        return 0;
    default:
        flow = find(host, frame->events->node, frame->events->port);
        if (flow)
            inflow_take(flow, frame->events);
        return 0;
    }
}

/* ---- links, time ----------------------------------------------------------------------------- */

void relays_up(struct host *host) {
    Tram__Hosts__RelaysTold told = HOSTS_NEW(RelaysTold, relays_told);
    hosts_frame frame = HOSTS_FRAME(RELAYS_TOLD, relays_told, &told);
    int rc = 0;

    for (struct inflow *flow = host->hosts->relays.in; flow; flow = flow->next) {
        if (host_of(host->hosts, flow->node) != host->number)
            continue;
        flow->begun = false;
        rc = ask(flow) < 0 ? -1 : rc;
    }
    if (rc == 0 && has_events(host))
        (void) peer_say(host, &frame); /* else what is too much stays until the next link */
}

void relays_down(struct host *host) {
    host->relays_told = false;
    for (struct inflow *flow = host->hosts->relays.in; flow; flow = flow->next)
        if (flow->host == host->number)
            flow->begun = false;
    outflows_down(host);
}

void relays_forget(struct host *host) {
    relays_down(host);
    outflows_forget(host);
}

int64_t relays_time(struct hosts *hosts, int64_t now) {
    int64_t next = outflows_time(hosts, now);

    for (struct inflow *flow = hosts->relays.in, *after; flow; flow = after) {
        after = flow->next;
        if (flow->due <= now) {
            flow->due = NEVER;
            if (flow->host != host_of(hosts, flow->node))
                inflow_forget(flow); /* it went elsewhere: here, or another host says all of it */
            inflow_go_on(flow, now);
            if (look_away(flow))
                continue;
            if (!flow->begun || flow->confirmed != flow->serial ||
                flow->host != host_of(hosts, flow->node))
                (void) ask(flow);
        }
        if (flow->due < next)
            next = flow->due;
    }
    return next;
}

/* ---- start ----------------------------------------------------------------------------------- */

static int look_left(void *context, const char *name, uint64_t inode) {
    struct hosts *hosts = context;
    struct relay_reader *reader;
    struct inflow *flow;
    int error;

    (void) inode;
    if (!strchr(name, '@') || strstr(name, ".new"))
        return 0;
    reader = reader_get(hosts, name, &flow, &error);
    if (!reader)
        return 0;
    flow->serial = hosts->relays.serial = reader->serial;
    reader->told = flow->has_ring; /* as far as it goes */
    reader->start = flow->has_ring ? flow->tx.floor : 0;
    soon(flow, LOOK_AGAIN);
    return 0;
}

/* A copy that nobody reads: its readers' files went with their nodes. */
static int look_unread(void *context, const char *name, uint64_t inode) {
    struct hosts *hosts = context;
    struct inflow *flow = hosts->relays.in;
    tram_id node;
    uint32_t port;

    (void) inode;
    if (!parse(name, 0, &node, &port) || !topic_file_is_copy(hosts->relays.dir, node, port))
        return 0;
    while (flow && (flow->node != node || flow->port != port))
        flow = flow->next;
    if (!flow)
        topic_file_remove(hosts->relays.dir, node, port, false);
    return 0;
}

int relays_start(struct hosts *hosts) {
    hosts->relays.dir = topic_dir(tram_bus_path(tram_worker_node(hosts->daemon->worker)), 0600);
    if (hosts->relays.dir < 0)
        return hosts->relays.dir;
    (void) sys_dir_each(hosts->relays.dir, look_left, hosts); /* whoever is not found says it */
    (void) sys_dir_each(hosts->relays.dir, look_unread, hosts); /* likewise with the next start */
    return 0;
}

void relays_stop(struct hosts *hosts) {
    outflows_stop(hosts);
    while (hosts->relays.in) {
        hosts->relays.in->begun = false; /* the next daemon goes on */
        inflow_free(hosts->relays.in);
    }
    cleanup_fd(&hosts->relays.dir);
}
