/* SPDX-License-Identifier: MIT
 *
 * Where links over sockets come from: connecting, and listening.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "service/link_socket_inner.h"
#include "sys/file.h"
#include "sys/socket.h"

#define BACKLOG   4096 /* as far as the system lets it */
#define ACCEPTS   64u /* in one turn */
#define BREATH_NS INT64_C(100000000) /* after the machine ran out of descriptors */

struct socket_listener {
    tram_worker *worker;
    socket_link_fn *fn;
    void *context;
    int fd;
    tram_io *io;
    tram_timer *breath;
    struct address address;
    char text[ADDRESS_SIZE];
    uint32_t links, links_max;
    struct socket_budget *budget;
    struct socket_link *waiting, **waiting_end; /* for a hello, the oldest first */
    uint32_t waiting_count;
    bool closed;
    uint64_t inode;    /* of a UNIX socket: what was made here is what is removed */
};

/* A UNIX socket's address, or TCP's; loopback only. */
static int resolve(const struct address *address, struct sys_address *ret) {
    int rc;

    if (address->kind == ADDRESS_IPC)
        return sys_address_unix(address->path, ret);
    if (address->kind != ADDRESS_TCP)
        return -EINVAL;
    rc = sys_address_numeric(address->host, address->port, ret);
    if (rc == -EINVAL)
        rc = sys_address_tcp(address->host, address->port, ret);
    if (rc < 0)
        return rc;
    return sys_address_is_local(ret) ? 0 : -EACCES;
}

int socket_connect(tram_worker *worker, const struct address *address, struct link **ret_link) {
    struct sys_address where;
    struct link *link;
    bool pending;
    int fd, rc;

    rc = resolve(address, &where);
    if (rc == 0)
        rc = sys_connect(&where, &fd, &pending);
    if (rc < 0)
        return rc;
    if (address->kind == ADDRESS_TCP)
        (void) sys_no_delay(fd); /* slower, and right all the same */
    link = socket_link_new(worker, fd, address->kind, pending, NULL);
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
        (void) tram_io_set(me->io, me->links < me->links_max ? TRAM_IO_READ : 0);
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
    bool ours = me->address.kind == ADDRESS_TCP ||
                (sys_credentials(fd, &who) == 0 && (who.user == sys_user() || who.user == 0));

    *ret_pid = who.pid;
    return ours;
}

static void accepted(struct socket_listener *me, int fd) {
    struct link *link;
    int32_t pid;

    if (!trusted(me, fd, &pid)) {
        (void) close(fd);
        return;
    }
    if (me->address.kind == ADDRESS_TCP)
        (void) sys_no_delay(fd); /* as above */
    link = socket_link_new(me->worker, fd, me->address.kind, false, me);
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
    for (uint32_t i = 0; i < ACCEPTS && me->links < me->links_max; i++) {
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
    if (!me->closed && me->fn(&link->link, in, me->context))
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
    if (!me->closed && me->links + 1 == me->links_max)
        listen_or_not(me);
    maybe_free(me);
}

static int start(struct socket_listener *me, struct sys_address *where) {
    int rc = me->address.kind == ADDRESS_IPC
                 ? sys_listen_path(me->address.path, BACKLOG, &me->inode)
                 : sys_listen(where, BACKLOG);

    if (rc < 0)
        return rc;
    me->fd = rc;
    if (me->address.kind == ADDRESS_TCP) {
        rc = sys_local_address(me->fd, where);
        if (rc < 0)
            return rc;
        me->address.port = sys_address_port(where);
    }
    (void) address_format(&me->address, me->text);
    rc = worker_inner_io(me->worker, me->fd, TRAM_IO_READ, on_connection, me, &me->io);
    if (rc == 0)
        rc = worker_inner_timer(me->worker, on_breath, me, &me->breath);
    return rc;
}

int socket_listen(tram_worker *worker, const struct address *address, uint32_t links_max,
                  struct socket_budget *budget, socket_link_fn *fn, void *context,
                  struct socket_listener **ret_listener) {
    struct socket_listener *me;
    struct sys_address where;
    int rc = resolve(address, &where);

    if (rc < 0)
        return rc;
    me = calloc(1, sizeof(*me));
    if (!me)
        return -ENOMEM;
    *me = (struct socket_listener){
        .worker = worker,
        .fn = fn,
        .context = context,
        .fd = -1,
        .address = *address,
        .links_max = links_max,
        .budget = socket_budget_ref(budget),
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
