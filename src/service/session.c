/* SPDX-License-Identifier: MIT
 *
 * A session: made by the first message, or by a client for its server; found by the node and the
 * port there; ended by either side, by the node's end or by the connection's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service/client.h"
#include "service/draft.h"
#include "service/events.h"
#include "service/server.h"
#include "service/service.h"

#define BUCKETS_FIRST 16u

/* ---- the table ------------------------------------------------------------------------------- */

static uint32_t hash(tram_id from, uint32_t port) {
    uint32_t value = from * 0x9e3779b1u ^ port * 0x85ebca6bu;

    return value ^ value >> 15;
}

static int table_grow(struct session_table *table) {
    uint32_t count = table->buckets ? 2 * (table->mask + 1) : BUCKETS_FIRST;
    tram_session **buckets = calloc(count, sizeof(*buckets));

    if (!buckets)
        return table->buckets ? 0 : -ENOMEM; /* full, but it works */
    for (uint32_t i = 0; table->buckets && i <= table->mask; i++) {
        tram_session *session, *next;

        for (session = table->buckets[i]; session; session = next) {
            tram_session **bucket =
                &buckets[hash(session->link->peer, session->peer_port) & (count - 1)];

            next = session->chain;
            session->chain = *bucket;
            *bucket = session;
        }
    }
    free(table->buckets);
    table->buckets = buckets;
    table->mask = count - 1;
    return 0;
}

static tram_session **bucket_of(struct session_table *table, const tram_session *session) {
    return &table->buckets[hash(session->link->peer, session->peer_port) & table->mask];
}

tram_session *session_find(struct endpoint *endpoint, tram_id from, uint32_t port) {
    tram_session *session = endpoint->last;

    if (session && session->link->peer == from && session->peer_port == port)
        return session;
    if (!endpoint->table.buckets)
        return NULL;
    session = endpoint->table.buckets[hash(from, port) & endpoint->table.mask];
    while (session && (session->link->peer != from || session->peer_port != port))
        session = session->chain;
    if (session)
        endpoint->last = session;
    return session;
}

/* ---- making and ending ----------------------------------------------------------------------- */

static void free_memory(struct worker_deferred *deferred) {
    tram_session *session = container_of(deferred, tram_session, defer);

    free(session->name);
    free(session->program);
    free(session->address);
    free(session->host);
    free(session);
}

tram_session *session_new(struct endpoint *endpoint, struct link *link, const char *address) {
    struct session_table *table = &endpoint->table;
    tram_session *session = calloc(1, sizeof(*session));
    tram_session **bucket;

    if (session && link->peer)
        session->neighbour = neighbour_get(endpoint->service, link->peer);
    if (!session || (link->peer && !session->neighbour) || !(session->address = strdup(address)) ||
        ((!table->buckets || table->count > table->mask) && table_grow(table) < 0)) {
        if (session)
            neighbour_put(endpoint->service, session->neighbour);
        free(session ? session->address : NULL);
        free(session);
        link->ops->close(link);
        return NULL;
    }
    session->endpoint = endpoint;
    session->link = link;
    session->peer_port = link->port;
    session->control_end = &session->control;
    session->defer.fn = free_memory;
    session->party = (struct tram_party){
        .name = "", .program = "", .address = session->address, .node = link->peer, .host = ""};
    link->context = session;
    link->owner = &session_link_owner;
    bucket = bucket_of(table, session);
    session->chain = *bucket;
    *bucket = session;
    table->count++;
    session->next = endpoint->sessions;
    session->prev = &endpoint->sessions;
    if (session->next)
        session->next->prev = &session->next;
    endpoint->sessions = session;
    return session;
}

void session_of_host(tram_session *session, const char *host) {
    if (session->host || !*host)
        return;
    session->host = strdup(host);
    session->party.host = session->host ? session->host : "";
}

static void unlink_session(tram_session *session) {
    struct endpoint *endpoint = session->endpoint;
    tram_session **at = bucket_of(&endpoint->table, session);

    while (*at != session)
        at = &(*at)->chain;
    *at = session->chain;
    endpoint->table.count--;
    *session->prev = session->next;
    if (session->next)
        session->next->prev = session->prev;
    if (endpoint->last == session)
        endpoint->last = NULL;
}

void session_end(tram_session *session, int status) {
    struct endpoint *endpoint = session->endpoint;

    if (session->state == SESSION_DEAD)
        return;
    unlink_session(session);
    session->state = SESSION_DEAD;
    session->chain = NULL;
    if (!endpoint->server)
        client_session_gone(session);
    events_session_gone(session);
    inbox_drop(endpoint, session);
    drafts_orphan(session);
    requests_orphan(session);
    control_leave(session);
    if (session->link->ops->unknown)
        session->party.unknown += (uint32_t) session->link->ops->unknown(session->link);
    session->link->ops->close(session->link);
    session->link = NULL;
    neighbour_put(endpoint->service, session->neighbour);
    session->neighbour = NULL;
    if ((session->told || endpoint->service->pumping) && !endpoint->dead) {
        session->next = endpoint->departed;
        endpoint->departed = session;
        worker_defer(endpoint->worker, &endpoint->notice);
    } else {
        worker_defer(endpoint->worker, &session->defer);
    }
    calls_end(endpoint, session, status); /* last: it has handlers, which may do anything */
}

/* ---- who the other side is ------------------------------------------------------------------- */

int session_hello(tram_session *session, enum frame_kind kind) {
    const char *program = program_invocation_short_name;
    const char *service = session->endpoint->name ? session->endpoint->name : "";
    struct hello hello = {.magic = "TRAM", .version = FRAME_VERSION};
    char payload[sizeof(hello) + 512];
    size_t size;

    hello.program = (uint16_t) strnlen(program, 255);
    hello.service = (uint32_t) strnlen(service, 255);
    hello.pid = (int32_t) getpid();
    memcpy(payload, &hello, sizeof(hello));
    size = sizeof(hello);
    memcpy(payload + size, program, hello.program);
    size += hello.program;
    memcpy(payload + size, service, hello.service);
    size += hello.service;
    session_control(session, session_frame(session, kind, session_own(session)), 0, payload, size);
    return 0;
}

/* Over a socket: a server's own address; a client of this process that has its port. */
bool session_is_own(const tram_session *session) {
    const struct endpoint *mine = session->endpoint;

    if (session->link->peer)
        return session->link->peer == tram_node_id(tram_worker_node(mine->worker));
    for (const struct endpoint *e = mine->service->endpoints; e; e = e->next) {
        if (mine->server ? !e->server && session->party.pid == (int32_t) getpid() &&
                               e->port.port == session->link->port
                         : e->server && server_is_at((const tram_server *) (const void *) e,
                                                     session->address))
            return true;
    }
    return false;
}

/* For names that go to people and logs. */
static char *text_of(const char *bytes, size_t size) {
    char *text = malloc(size + 1);

    if (!text)
        return NULL;
    for (size_t i = 0; i < size; i++)
        text[i] = bytes[i] > ' ' && bytes[i] < 0x7f ? bytes[i] : '?';
    text[size] = 0;
    return text;
}

int session_read_hello(tram_session *session, const struct inbound *in) {
    char payload[sizeof(struct hello) + 512];
    struct hello hello;
    char *program, *name;

    if (in->size < sizeof(hello) || in->size > sizeof(payload))
        return -EBADMSG;
    memcpy(payload, in->data, in->size); /* its sender may change it while we read */
    memcpy(&hello, payload, sizeof(hello));
    if (memcmp(hello.magic, "TRAM", 4) != 0 || hello.version != FRAME_VERSION)
        return -EPROTO;
    if (hello.program > 255 || hello.service > 255 ||
        in->size != sizeof(hello) + hello.program + hello.service)
        return -EBADMSG;
    program = text_of(payload + sizeof(hello), hello.program);
    name = text_of(payload + sizeof(hello) + hello.program, hello.service);
    if (!program || !name) {
        free(program);
        free(name);
        return -ENOMEM;
    }
    free(session->program);
    free(session->name);
    session->program = program;
    session->name = name;
    session->party.program = program;
    session->party.name = name;
    session->party.pid = session->link->pid ? session->link->pid : hello.pid;
    session->greeted = true;
    return 0;
}

/* ---- what links tell ------------------------------------------------------------------------- */

static void on_frame(struct link *link, struct inbound *in) {
    tram_session *session = link->context;

    endpoint_frame(session->endpoint, session, in);
}

static void on_space(struct link *link) {
    tram_session *session = link->context;

    if (!control_flush(session))
        return;
    events_session_space(session);
    if (session->state == SESSION_DEAD || !session->wants_space)
        return;
    if (session->endpoint->service->pumping) {
        session->space_came = true;
        if (!session->endpoint->server) /* what is awaited may be in it */
            queue_flush(client_of(session->endpoint));
        return;
    }
    session->wants_space = false;
    if (session->endpoint->server)
        server_space(session);
    else
        client_space(session);
}

/* Whatever it was, what was under way is unknown. */
void session_down(tram_session *session) {
    if (session->endpoint->server)
        session_end(session, -ECONNRESET);
    else
        client_down(session);
}

static void on_down(struct link *link, int why) {
    tram_session *session = link->context;

    if (why == -EHOSTUNREACH && session->endpoint->server)
        session_bye(session); /* its client may live, and think the same of us or not */
    if (!inbox_keep_end(session->endpoint, session))
        session_down(session);
}

static void on_up(struct link *link, int32_t pid) {
    tram_session *session = link->context;

    /* The node may be of another process by now than the client that this session is of. */
    session_of_host(session, link->host);
    if (pid != 0 && !session->greeted)
        session->party.pid = pid;
    if (!session->endpoint->server)
        client_up(session);
}

const struct link_owner session_link_owner = {
    .on_frame = on_frame,
    .on_space = on_space,
    .on_down = on_down,
    .on_up = on_up,
};

int session_full(tram_session *session, int rc) {
    if (rc == -EAGAIN)
        session->wants_space = true;
    return rc;
}

int session_gone(tram_session *session, int rc) {
    return rc == -EHOSTUNREACH
               ? worker_fail(session->endpoint->worker, -ENOTCONN, "the session is over")
               : rc;
}

/* ---- the public part ------------------------------------------------------------------------- */

const struct tram_party *tram_session_party(const tram_session *session) {
    return session ? &session->party : NULL;
}

void tram_session_set_data(tram_session *session, void *data) {
    if (session)
        session->data = data;
}

void *tram_session_data(const tram_session *session) {
    return session ? session->data : NULL;
}

tram_session *tram_session_free(tram_session *session) {
    if (!session || session->state == SESSION_DEAD || worker_check(session->endpoint->worker) < 0)
        return NULL;
    session->told = false; /* who ends it need not be told */
    drafts_orphan(session); /* or the channel is closed to us */
    session_bye(session);
    if (session->state != SESSION_DEAD) {
        calls_forget(session->endpoint, session);
        session_end(session, -ECANCELED);
    }
    return NULL;
}
