/* SPDX-License-Identifier: MIT
 *
 * Where links over sockets come from: connecting, and listening.
 */
#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "service/link_socket_inner.h"
#include "service/secure.h"
#include "service/service.h"
#include "sys/file.h"
#include "sys/socket.h"
#include "transport/security.h"

#define BACKLOG   4096 /* as far as the system lets it */
#define ACCEPTS   64u /* in one turn */
#define BREATH_NS INT64_C(100000000) /* after the machine ran out of descriptors */
#define PORT_FIRST 61002u /* of those that are chosen here; 61000 and 61001 are the daemons' */
#define PORT_COUNT (65536u - PORT_FIRST)
#define PORT_TRIES 64

struct socket_listener {
    tram_worker *worker;
    struct socket_listening how;
    int fd;
    tram_io *io;
    tram_timer *breath;
    struct address address;
    char text[ADDRESS_SIZE];
    uint32_t links;
    struct socket_budget *budget;
    struct socket_link *waiting, **waiting_end; /* for a hello, the oldest first */
    uint32_t waiting_count;
    bool closed;
    uint64_t inode;    /* of a UNIX socket: what was made here is what is removed */
};

/* A UNIX socket's address, or TCP's; plain TCP on loopback only, unless it is meant. */
static int resolve(const struct address *address, bool plain, struct sys_address *ret) {
    int rc;

    if (address->kind == ADDRESS_IPC)
        return sys_address_unix(address->path, ret);
    if (address->kind != ADDRESS_TCP && address->kind != ADDRESS_TLS)
        return -EINVAL;
    rc = sys_address_numeric(address->host, address->port, ret);
    if (rc == -EINVAL)
        rc = sys_address_tcp(address->host, address->port, ret);
    if (rc < 0)
        return rc;
    return address->kind == ADDRESS_TLS || plain || sys_address_is_local(ret) ? 0 : -EACCES;
}

/* The keys that an address needs. */
static int keys_for(tram_worker *worker, const struct address *address,
                    struct security **ret_security) {
    *ret_security = NULL;
    return address->kind == ADDRESS_TLS ? secure_get(worker, ret_security) : 0;
}

int socket_connect(tram_worker *worker, const struct address *address, bool plain,
                   struct link **ret_link) {
    const char *expected = *address->expected ? address->expected : address->host;
    struct transport *transport;
    struct security *security;
    struct sys_address where;
    struct link *link;
    int rc;

    rc = resolve(address, plain, &where);
    if (rc == 0)
        rc = keys_for(worker, address, &security);
    if (rc == 0)
        rc = transport_connect(&where, security ? expected : NULL, security, &transport, NULL);
    if (rc < 0)
        return rc;
    link = socket_link_new(worker, transport, address->kind, NULL);
    if (!link)
        return -ENOMEM;
    *ret_link = link;
    return 0;
}

/* ---- those who wait for a hello -------------------------------------------------------------- */

static void wait_for_hello(struct socket_listener *me, struct socket_link *link) {
    link->waiting = NULL;
    link->waiting_at = me->waiting_end;
    *me->waiting_end = link;
    me->waiting_end = &link->waiting;
    me->waiting_count++;
    if (me->waiting_count > WAITING_MAX)
        socket_close(&me->waiting->link); /* who means it has said hello before 512 others came */
}

static void waits_no_more(struct socket_listener *me, struct socket_link *link) {
    if (!link->waiting_at)
        return;
    *link->waiting_at = link->waiting;
    if (link->waiting)
        link->waiting->waiting_at = link->waiting_at;
    else
        me->waiting_end = link->waiting_at;
    link->waiting_at = NULL;
    me->waiting_count--;
}

/* ---- listening ------------------------------------------------------------------------------- */

static void listen_or_not(struct socket_listener *me) {
    if (me->io)
        (void) tram_io_set(me->io, me->links < me->how.links_max ? TRAM_IO_READ : 0);
}

static void on_breath(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    (void) timer;
    (void) late_ns;
    (void) missed;
    listen_or_not(arg);
}

/* Only who has our user, or root, may speak through a UNIX socket, whatever its file's mode. */
static bool trusted(const struct socket_listener *me, int fd, int32_t *ret_pid) {
    struct sys_credentials who = { 0 };
    bool ours = me->address.kind != ADDRESS_IPC ||
                (sys_credentials(fd, &who) == 0 && (who.user == sys_user() || who.user == 0));

    *ret_pid = who.pid;
    return ours;
}

static void accepted(struct socket_listener *me, int fd) {
    struct transport *transport;
    struct security *security;
    struct link *link;
    int32_t pid;

    if (!trusted(me, fd, &pid) || keys_for(me->worker, &me->address, &security) < 0) {
        (void) close(fd);
        return;
    }
    if (transport_take(fd, true, NULL, security, &transport) < 0)
        return;
    link = socket_link_new(me->worker, transport, me->address.kind, me);
    if (!link)
        return;
    link->pid = pid;
    socket_budget_join(socket_of(link), me->budget);
    me->links++;
    wait_for_hello(me, socket_of(link));
}

static void on_connection(tram_io *io, int fd, uint32_t events, void *arg) {
    struct socket_listener *me = arg;

    (void) io;
    (void) events;
    for (uint32_t i = 0; i < ACCEPTS && me->links < me->how.links_max; i++) {
        int rc = sys_accept(fd);

        if (rc == -EAGAIN)
            return;
        if (rc < 0) {
            /* No descriptors, no memory: those who wait are there in a moment, too. */
            (void) tram_io_set(me->io, 0);
            (void) tram_timer_set(me->breath, BREATH_NS, 0);
            return;
        }
        accepted(me, rc);
    }
    listen_or_not(me);
}

bool socket_listener_greeted(struct socket_listener *me, struct socket_link *link,
                             struct inbound *in) {
    waits_no_more(me, link);
    link->hello = tram_timer_free(link->hello);
    if (!me->closed && me->how.fn(&link->link, in, me->how.context))
        return true;
    socket_close(&link->link);
    return false;
}

static void maybe_free(struct socket_listener *me) {
    if (!me->closed || me->links > 0)
        return;
    (void) socket_budget_unref(me->budget);
    free(me);
}

void socket_listener_left(struct socket_listener *me, struct socket_link *link) {
    waits_no_more(me, link);
    me->links--;
    if (!me->closed && me->links + 1 == me->how.links_max)
        listen_or_not(me);
    maybe_free(me);
}

void socket_listener_refused(struct socket_listener *me, struct socket_link *link, int why) {
    const char *said = transport_why(link->transport);
    char text[256];

    if (me->closed || !me->how.refused)
        return;
    if (!*said) {
        (void) snprintf(text, sizeof(text), "%s: %s",
                        transport_peer(link->transport)->address,
                        why == -ETIMEDOUT ? "it connected, and did not say who it is"
                        : why == -ECONNRESET ? "it connected, and went"
                                             : "what it said first is no hello");
        said = text;
    }
    me->how.refused(said, me->how.context);
}

/* Of tls:// it says whose certificate is there: who reads it can expect that. */
static void name_it(struct socket_listener *me) {
    struct security *security;

    if (me->address.kind == ADDRESS_TLS && !*me->address.expected &&
        keys_for(me->worker, &me->address, &security) == 0 &&
        security_self(security)->role == TRANSPORT_HOST)
        (void) snprintf(me->address.expected, sizeof(me->address.expected), "%s",
                        security_self(security)->name);
    (void) address_format(&me->address, me->text);
}

/* A free one of the ports for that, which connections are not given by the system, and which a
 * firewall can be told. If there is none, any. */
static int listen_somewhere(struct sys_address *where) {
    for (int tries = 0; tries < PORT_TRIES; tries++) {
        int rc;

        sys_address_set_port(where, (uint16_t) (PORT_FIRST + service_random() % PORT_COUNT));
        rc = sys_listen(where, BACKLOG);
        if (rc != -EADDRINUSE)
            return rc;
    }
    sys_address_set_port(where, 0);
    return sys_listen(where, BACKLOG);
}

static int start(struct socket_listener *me, struct sys_address *where) {
    int rc = me->address.kind == ADDRESS_IPC
                 ? sys_listen_path(me->address.path, BACKLOG, &me->inode)
             : me->address.port == 0 ? listen_somewhere(where)
                                     : sys_listen(where, BACKLOG);

    if (rc < 0)
        return rc;
    me->fd = rc;
    if (me->address.kind != ADDRESS_IPC) {
        rc = sys_local_address(me->fd, where);
        if (rc < 0)
            return rc;
        me->address.port = sys_address_port(where);
    }
    name_it(me);
    rc = worker_inner_io(me->worker, me->fd, TRAM_IO_READ, on_connection, me, &me->io);
    if (rc == 0)
        rc = worker_inner_timer(me->worker, on_breath, me, &me->breath);
    return rc;
}

int socket_listen(tram_worker *worker, const struct socket_listening *how,
                  struct socket_listener **ret_listener) {
    struct socket_listener *me;
    struct security *security;
    struct sys_address where;
    int rc = resolve(&how->address, how->plain, &where);

    if (rc == 0)
        rc = keys_for(worker, &how->address, &security);
    if (rc < 0)
        return rc;
    me = calloc(1, sizeof(*me));
    if (!me)
        return -ENOMEM;
    *me = (struct socket_listener){
        .worker = worker,
        .how = *how,
        .fd = -1,
        .address = how->address,
        .budget = socket_budget_ref(how->budget),
    };
    me->waiting_end = &me->waiting;
    rc = start(me, &where);
    if (rc < 0) {
        (void) socket_listener_free(me);
        return rc;
    }
    *ret_listener = me;
    return 0;
}

const char *socket_listener_address(const struct socket_listener *listener) {
    return listener->text;
}

struct socket_listener *socket_listener_free(struct socket_listener *me) {
    if (!me || me->closed)
        return NULL;
    me->io = tram_io_free(me->io);
    me->breath = tram_timer_free(me->breath);
    if (me->inode != 0) /* first: as long as we listen, nobody puts another there */
        sys_unlisten_path(me->address.path, me->inode);
    if (me->fd >= 0)
        (void) close(me->fd);
    while (me->waiting)
        socket_close(&me->waiting->link);
    me->closed = true;
    maybe_free(me);
    return NULL;
}
