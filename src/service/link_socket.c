/* SPDX-License-Identifier: MIT
 *
 * A connection as a link: its life, and what the loop does with it. socket_listen.c makes them.
 */
#include "service/link_socket.h"

#include <errno.h>
#include <stdlib.h>

#include "service/link_socket_inner.h"
#include "service/secure.h"
#include "service/service.h"
#include "sys/socket.h"

#define HOT_NS      INT64_C(100000)
#define HOT_MAX     4u   /* of a worker: each is a system call in each turn that it spins */
#define LAST_WORDS  1024 /* reads, after writing failed */

static bool source_turn(struct worker_source *source);

/* ---- looking again --------------------------------------------------------------------------- */

static void list(struct socket_link *me) {
    if (me->listed)
        return;
    me->listed = true;
    me->source.turn = source_turn;
    worker_source_add(me->link.worker, &me->source);
}

static void unlist(struct socket_link *me) {
    if (me->listed && !me->owes && !me->hot) {
        me->listed = false;
        worker_source_remove(&me->source);
    }
}

void socket_look_again(struct socket_link *me) {
    if (me->closed)
        return;
    me->owes = true;
    list(me);
}

void socket_warm(struct socket_link *me) {
    struct service *service = worker_shared(me->link.worker);

    me->hot_until = worker_now(me->link.worker) + HOT_NS;
    if (me->hot || me->closed || !service || service->hot_sockets >= HOT_MAX ||
        !worker_spins(me->link.worker))
        return;
    service->hot_sockets++;
    me->hot = true;
    list(me);
}

static void cool(struct socket_link *me) {
    struct service *service = worker_shared(me->link.worker);

    if (!me->hot)
        return;
    me->hot = false;
    if (service)
        service->hot_sockets--;
    if (me->in.start == me->in.end && me->in.bytes != me->pinned)
        buffer_free(&me->in);
    if (socket_gathered(me) == 0)
        buffer_free(&me->out);
}

void socket_watch(struct socket_link *me) {
    uint32_t events = me->paused ? 0 : TRAM_IO_READ;

    if (me->connecting)
        events = transport_want(me->transport);
    else if (me->full)
        events |= TRAM_IO_WRITE;
    if (!me->io || events == me->events)
        return;
    me->events = events;
    if (tram_io_set(me->io, events) < 0)
        (void) socket_broken(me, -EIO);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void free_memory(struct worker_deferred *deferred) {
    struct socket_link *me = container_of(deferred, struct socket_link, memory);

    buffer_free(&me->in);
    buffer_free(&me->out);
    free(me);
}

void socket_enter(struct socket_link *me) {
    me->busy++;
}

bool socket_leave(struct socket_link *me) {
    me->busy--;
    if (me->closed && me->busy == 0)
        worker_defer(me->link.worker, &me->memory);
    return !me->closed;
}

int socket_broken(struct socket_link *me, int why) {
    if (me->down == 0) {
        me->down = why;
        me->link.down = true;
        socket_look_again(me);
    }
    return -ECONNRESET;
}

/* Writing failed, because the peer went; but what it had said before is worth hearing. */
static bool hear_last_words(struct socket_link *me) {
    int why = me->down;
    bool going = true;

    me->cut = false;
    me->down = 0;
    me->out.start = me->out.end = 0;
    me->full = true; /* nothing is written any more: that would end the reading */
    socket_enter(me);
    for (int i = 0; going && i < LAST_WORDS && !me->closed && me->down == 0 && !me->paused; i++)
        going = socket_receive(me);
    me->down = why;
    return socket_leave(me);
}

static void tell_down(struct socket_link *me) {
    if (me->cut && !hear_last_words(me))
        return;
    me->down_told = true;
    me->io = tram_io_free(me->io);
    socket_enter(me);
    if (!me->greeted && me->listener)
        socket_listener_refused(me->listener, me, me->down);
    if (me->link.owner)
        me->link.owner->on_down(&me->link, me->down);
    else
        socket_close(&me->link);
    (void) socket_leave(me);
}

void socket_close(struct link *link) {
    struct socket_link *me = socket_of(link);

    if (me->closed)
        return;
    /* What was accepted is worth one try: a last answer, a BYE. */
    me->corked = false;
    if (me->greeted)
        socket_acknowledge(me);
    socket_flush(me);
    me->closed = true;
    me->owes = false;
    cool(me);
    unlist(me);
    socket_abort(link);
    socket_orphan_taken(me);
    socket_budget_leave(me);
    me->io = tram_io_free(me->io);
    me->hello = tram_timer_free(me->hello);
    me->answer = tram_timer_free(me->answer);
    secure_remove(me);
    me->transport = transport_close(me->transport); /* what that loses is told as unknown */
    if (me->listener)
        socket_listener_left(me->listener, me);
    me->listener = NULL;
    if (me->busy == 0)
        worker_defer(link->worker, &me->memory);
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* Connecting, and shaking hands. */
static void go_on(struct socket_link *me) {
    int rc = transport_open(me->transport);

    if (rc == 0)
        me->connecting = false;
    else if (rc != -EAGAIN)
        (void) socket_broken(me, rc);
    if (rc != -EAGAIN)
        socket_look_again(me);
    socket_watch(me);
}

static void on_io(tram_io *io, int fd, uint32_t events, void *arg) {
    struct socket_link *me = arg;

    (void) io;
    (void) fd;
    if (me->down != 0) {
        socket_look_again(me);
    } else if (me->connecting) {
        go_on(me);
    } else {
        if (events & TRAM_IO_WRITE) {
            me->full = false;
            socket_flush(me);
            socket_watch(me);
        }
        if (!me->paused && (events & (TRAM_IO_READ | TRAM_IO_HANGUP)))
            (void) socket_receive(me);
        else if (me->paused && (events & TRAM_IO_HANGUP))
            (void) socket_broken(me, -ECONNRESET);
    }
}

static bool tell_up(struct socket_link *me) {
    struct sys_credentials who = { 0 };

    me->up_owed = false;
    if (me->kind == ADDRESS_IPC && sys_credentials(transport_fd(me->transport), &who) == 0)
        me->link.pid = who.pid;
    socket_enter(me);
    me->link.owner->on_up(&me->link, who.pid);
    return socket_leave(me);
}

static bool tell_space(struct socket_link *me) {
    if (!me->wants_space || me->down != 0 || socket_gathered(me) >= OUT_MAX / 2)
        return true;
    me->wants_space = false;
    socket_enter(me);
    if (me->link.owner)
        me->link.owner->on_space(&me->link);
    return socket_leave(me);
}

/* What is gathered goes, and the owner is told what a call of its own must not tell. False: closed.
 */
static bool settle(struct socket_link *me) {
    me->owes = false;
    if (me->up_owed && !me->connecting && me->down == 0 && !tell_up(me))
        return false;
    socket_flush(me);
    /* Decrypted already: no event tells of it. */
    if (!me->connecting && !me->paused && me->down == 0 && transport_pending(me->transport)) {
        (void) socket_receive(me);
        if (me->closed)
            return false;
    }
    if (me->paused && me->down == 0 && !socket_keeps_too_much(me)) {
        me->paused = false;
        socket_watch(me);
        socket_enter(me);
        socket_parse(me);
        if (!socket_leave(me))
            return false;
    }
    if (!tell_space(me))
        return false;
    if (me->down != 0 && !me->down_told)
        tell_down(me);
    return !me->closed;
}

static bool source_turn(struct worker_source *source) {
    struct socket_link *me = container_of(source, struct socket_link, source);
    bool any = me->owes;
    bool open = true;

    socket_enter(me);
    if (any)
        open = settle(me);
    if (open && me->hot && me->down == 0 && !me->paused && !me->connecting) {
        if (socket_receive(me))
            any = true;
        else if (worker_now(me->link.worker) >= me->hot_until)
            cool(me);
    }
    if (!me->closed)
        unlist(me);
    (void) socket_leave(me);
    return any;
}

/* ---- making ---------------------------------------------------------------------------------- */

static void on_no_hello(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    (void) timer;
    (void) late_ns;
    (void) missed;
    (void) socket_broken(arg, -ETIMEDOUT);
}

const char *socket_peer_name(const struct link *link) {
    return transport_peer_name(((const struct socket_link *) (const void *) link)->transport);
}

static uint64_t waiting(const struct link *link) {
    return socket_gathered((const struct socket_link *) (const void *) link);
}

static uint64_t unknown(const struct link *link) {
    const struct socket_link *me = (const struct socket_link *) (const void *) link;

    return me->sent - me->acknowledged;
}

#define OPS(kind)                                                                                  \
    {                                                                                              \
        .name = kind, .keeps = false, .send = socket_send, .claim = socket_claim,                  \
        .commit = socket_commit, .abort = socket_abort, .take = socket_take,                       \
        .release = socket_release, .waiting = waiting, .unknown = unknown, .hold = socket_hold,    \
        .close = socket_close,                                                                     \
    }
static const struct link_ops ipc_ops = OPS("ipc");
static const struct link_ops tcp_ops = OPS("tcp");
static const struct link_ops tls_ops = OPS("tls");

struct link *socket_link_new(tram_worker *worker, struct transport *transport,
                             enum address_kind kind, struct socket_listener *listener) {
    struct socket_link *me = calloc(1, sizeof(*me));
    int opened, rc;

    if (!me) {
        (void) transport_close(transport);
        return NULL;
    }
    me->link = (struct link){ .ops = kind == ADDRESS_IPC   ? &ipc_ops
                                     : kind == ADDRESS_TCP ? &tcp_ops
                                                           : &tls_ops,
                              .worker = worker,
                              .port = 1 };
    me->transport = transport;
    me->kind = kind;
    opened = transport_open(transport);
    me->connecting = opened < 0;
    me->up_owed = !listener;
    me->listener = listener;
    me->memory.fn = free_memory;
    me->events = transport_want(transport);
    rc = worker_inner_io(worker, transport_fd(transport), me->events, on_io, me, &me->io);
    if (rc == 0 && listener)
        rc = worker_inner_timer(worker, on_no_hello, me, &me->hello);
    if (rc == 0 && listener)
        rc = tram_timer_set(me->hello, HELLO_NS, 0);
    if (rc < 0) {
        me->listener = NULL; /* it has not counted us */
        socket_close(&me->link);
        return NULL;
    }
    if (kind == ADDRESS_TLS)
        secure_add(me);
    if (opened < 0 && opened != -EAGAIN)
        (void) socket_broken(me, opened);
    else if (!listener && opened == 0)
        socket_look_again(me);
    return &me->link;
}
