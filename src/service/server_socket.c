/* SPDX-License-Identifier: MIT
 *
 * The sockets of a server: listened at once the name is its own, and before it is published.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/link_socket.h"
#include "service/server.h"
#include "sys/socket.h"

#define SOCKETS_MAX 16 /* that the daemon takes of a name */
#define INTERFACES_MAX 32
#define HELD_MAX    (UINT64_C(256) << 20) /* bytes that all connections make it hold */

struct server_sockets {
    int count;
    struct socket_budget *budget;
    struct socket_listener *listeners[SOCKETS_MAX];
    const char *addresses[SOCKETS_MAX + 1];
};

int server_check_addresses(tram_server *server) {
    tram_worker *worker = server->endpoint.worker;
    struct address address;
    struct wrong wrong;
    int count = 0;

    for (char **text = server->addresses; *text; text++) {
        if (address_parse(*text, &address, &wrong) < 0)
            return worker_fail(worker, -EINVAL, "%s", wrong.text);
        if (address.kind != ADDRESS_IPC && address.kind != ADDRESS_TCP &&
            address.kind != ADDRESS_TLS)
            return worker_fail(worker, -EINVAL, "'%.100s': beside its name a server has ipc://, "
                               "tcp:// and tls:// addresses only", *text);
        if (++count > SOCKETS_MAX)
            return worker_fail(worker, -EINVAL, "more than %d addresses", SOCKETS_MAX);
    }
    return 0;
}

/* A session for a connection. The party is known, and WELCOME sent, before anybody hears of it. */
static bool greeted(struct link *link, struct inbound *in, void *context) {
    tram_server *server = context;
    struct endpoint *endpoint = &server->endpoint;
    tram_session *session;
    char address[80];

    if (endpoint->table.count >= server->sessions_max || endpoint->draining)
        return false;
    (void) snprintf(address, sizeof(address), "%s://%s", link->ops->name, socket_peer_name(link));
    session = session_new(endpoint, link, address);
    if (!session)
        return false;
    if (session_read_hello(session, in) < 0) {
        session_end(session, -ECONNRESET);
        return false;
    }
    (void) session_hello(session, FRAME_WELCOME);
    server_introduce(session);
    return true;
}

static const char *why_not(int rc) {
    switch (rc) {
    case -EADDRINUSE:
        return "somebody listens there, or something else lies there";
    case -EACCES:
        return "not allowed; tcp:// beyond loopback has to be meant: tls://, or "
               "TRAM_SERVER_PLAIN";
    default:
        return strerror(-rc);
    }
}

static void refused(const char *why, void *context) {
    tram_server *server = context;

    (void) worker_fail(server->endpoint.worker, -ECONNREFUSED, "%s", why);
    /* A blocking call runs no handlers; that it was told is not worth keeping. */
    if (server->handlers.on_refused && service_get(server->endpoint.worker)->pumping == 0)
        server->handlers.on_refused(server, why, server->arg);
}

static int listen_one(tram_server *server, const struct address *address) {
    struct server_sockets *sockets = server->sockets;
    struct socket_listening how = {
        .address = *address,
        .plain = server->flags & TRAM_SERVER_PLAIN,
        .links_max = server->sessions_max + WAITING_MAX,
        .budget = sockets->budget,
        .fn = greeted,
        .refused = refused,
        .context = server,
    };
    int rc = sockets->count == SOCKETS_MAX
                 ? -E2BIG
                 : socket_listen(server->endpoint.worker, &how,
                                 &sockets->listeners[sockets->count]);

    if (rc < 0)
        return rc;
    sockets->addresses[sockets->count] =
        socket_listener_address(sockets->listeners[sockets->count]);
    sockets->count++;
    return 0;
}

/* 0.0.0.0 and [::] stand for all interfaces: one address for each is listened at and published, for
 * "any" is nothing that a client of another host could connect to. */
static bool is_any(const struct address *address) {
    return (address->kind == ADDRESS_TCP || address->kind == ADDRESS_TLS) &&
           (strcmp(address->host, "0.0.0.0") == 0 || strcmp(address->host, "::") == 0);
}

/* The port of the first is that of all, if it is free there. */
static int listen_interface(tram_server *server, struct address *address, bool choose) {
    struct server_sockets *sockets = server->sockets;
    struct wrong wrong;
    int rc = listen_one(server, address);

    if (rc == -EADDRINUSE && choose && address->port > 0) {
        address->port = 0;
        rc = listen_one(server, address);
    }
    if (rc == 0 && choose) {
        struct address got;

        if (address_parse(sockets->addresses[sockets->count - 1], &got, &wrong) == 0)
            address->port = got.port;
    }
    return rc;
}

static int listen_any(tram_server *server, const struct address *any) {
    struct sys_interface interfaces[INTERFACES_MAX];
    struct address address = *any;
    char text[SYS_ADDRESS_TEXT];
    bool v6 = any->host[0] == ':';
    int count = sys_interfaces(interfaces, INTERFACES_MAX), before = server->sockets->count;
    int rc = count < 0 ? count : 0;

    if (any->kind == ADDRESS_TCP && !(server->flags & TRAM_SERVER_PLAIN))
        return -EACCES;
    for (int i = 0; rc == 0 && i < count; i++) {
        char *end = strrchr(sys_address_text(&interfaces[i].address, text), ':');

        if (!end || (text[0] == '[') != v6 || strncmp(text, "[fe80:", 6) == 0)
            continue; /* of a link alone: it would need the name of the interface */
        *end = '\0';
        if (v6)
            text[strlen(text) - 1] = '\0';
        (void) snprintf(address.host, sizeof(address.host), "%s", text + v6);
        rc = listen_interface(server, &address, any->port == 0);
        rc = rc == -EADDRNOTAVAIL ? 0 : rc; /* it went meanwhile, or is not there yet */
    }
    if (rc == -E2BIG)
        rc = 0; /* more interfaces than a name has addresses */
    return rc == 0 && server->sockets->count == before ? -EADDRNOTAVAIL : rc;
}

static int listen_at(tram_server *server, const char *text) {
    struct address address;
    struct wrong wrong;
    int rc = address_parse(text, &address, &wrong);

    if (rc == 0)
        rc = is_any(&address) ? listen_any(server, &address) : listen_one(server, &address);
    if (rc == -ENOKEY) /* the text is there */
        return rc;
    if (rc < 0)
        return worker_fail(server->endpoint.worker, rc, "cannot listen at '%.150s': %s", text,
                           why_not(rc));
    return 0;
}

/* What on_state() says: all by which it is found, with blanks between. */
static int join(tram_server *server) {
    bool shm = !(server->flags & TRAM_SERVER_NO_SHM);
    size_t size = strlen(server->address) + 1;
    char *text;

    for (int i = 0; i < server->sockets->count; i++)
        size += strlen(server->sockets->addresses[i]) + 1;
    text = malloc(size);
    if (!text)
        return worker_fail(server->endpoint.worker, -ENOMEM, "no memory for a server");
    text[0] = 0;
    if (shm)
        strcat(text, server->address);
    for (int i = 0; i < server->sockets->count; i++) {
        if (text[0])
            strcat(text, " ");
        strcat(text, server->sockets->addresses[i]);
    }
    free(server->address);
    server->address = text;
    return 0;
}

int server_listen(tram_server *server) {
    int rc = 0;

    if (server->sockets || !server->addresses[0])
        return 0;
    server->sockets = calloc(1, sizeof(*server->sockets));
    if (server->sockets)
        server->sockets->budget = socket_budget_new(
            server->options.sockets_held_max ? server->options.sockets_held_max : HELD_MAX);
    if (!server->sockets || !server->sockets->budget) {
        server_listen_no_more(server);
        return worker_fail(server->endpoint.worker, -ENOMEM, "no memory for a server");
    }
    for (char **text = server->addresses; rc == 0 && *text; text++)
        rc = listen_at(server, *text);
    if (rc == 0)
        rc = join(server);
    if (rc < 0)
        server_listen_no_more(server);
    return rc;
}

const char *const *server_listens_at(const tram_server *server) {
    return server->sockets ? server->sockets->addresses : NULL;
}

void server_listen_no_more(tram_server *server) {
    struct server_sockets *sockets = server->sockets;

    server->sockets = NULL;
    for (int i = 0; sockets && i < sockets->count; i++)
        (void) socket_listener_free(sockets->listeners[i]);
    (void) socket_budget_unref(sockets ? sockets->budget : NULL);
    free(sockets);
}

bool server_is_at(const tram_server *server, const char *address) {
    for (int i = 0; server->sockets && i < server->sockets->count; i++)
        if (strcmp(server->sockets->addresses[i], address) == 0)
            return true;
    return false;
}
