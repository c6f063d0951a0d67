/* SPDX-License-Identifier: MIT
 *
 * The link over shared memory: rings of the node. What is accepted survives both ends. The link is
 * only a way to send, and an ear for the other node's end; what comes in comes to the port of the
 * endpoint, from many links.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ring/atomic.h"
#include "service/names.h"
#include "service/service.h"
#include "sys/clock.h"

struct shm_link {
    struct link link;
    tram_node *node;
    struct worker_peer peer;
    struct names_node far_node; /* of another host: there the daemon tells, not the kernel */
    void *claimed;
};

static struct shm_link *shm(struct link *link) {
    return container_of(link, struct shm_link, link);
}

/* ---- deadlines ------------------------------------------------------------------------------- */

/* Clocks of two hosts have nothing in common: on the way a deadline is what is left of the time, as
 * over a socket. What lies in a ring meanwhile is given more time than it has; who asked ends it
 * when his is up. */
static void deadline_to_wire(const struct frame *frame, void *extra) {
    int64_t deadline;

    if (!(frame->flags & FRAME_DEADLINE))
        return;
    memcpy(&deadline, extra, sizeof(deadline));
    deadline -= (int64_t) sys_now();
    if (deadline < 0)
        deadline = 0;
    memcpy(extra, &deadline, sizeof(deadline));
}

static void deadline_from_wire(struct inbound *in) {
    int64_t now = (int64_t) sys_now();

    if (in->extra.deadline == INT64_MAX)
        return;
    if (in->extra.deadline < 0)
        in->extra.deadline = now;
    else if (in->extra.deadline < INT64_MAX - now)
        in->extra.deadline += now;
    else
        in->extra.deadline = INT64_MAX - 1;
}

/* ---- sending --------------------------------------------------------------------------------- */

static int told(struct shm_link *shm, int rc) {
    if (rc >= 0) {
        worker_space_shows(shm->link.worker, shm->link.peer);
        return 0;
    }
    if (rc == -EAGAIN || rc == -EBUSY)
        worker_want_space(shm->link.worker, &shm->peer);
    else
        (void) worker_fail_node(shm->link.worker, rc);
    return rc;
}

/* The frame as two words. Its fields were just written one by one: a processor that is to load them
 * as one waits until these stores are in its cache, behind all those to the ring; and of
 * neighbours that are read as usual compilers make one load. */
static inline void put_frame(const struct frame *frame, uint8_t *layer) {
    uint64_t words[2] = {load_relaxed(&frame->kind) | (uint64_t) load_relaxed(&frame->flags) << 8 |
                             (uint64_t) load_relaxed(&frame->extra) << 16 |
                             (uint64_t) load_relaxed(&frame->port) << 32,
                         load_relaxed(&frame->correlation)};

    memcpy(layer, words, sizeof(words));
}

/* An open claim holds the channel up as a ring does that is full; its end is room. */
static int send_pieces(struct link *link, const struct frame *frame, uint32_t code,
                       const struct iovec *pieces, int count, bool more) {
    struct tram_meta meta = {.tag = code};
    uint32_t flags = TRAM_NOWAIT;
    int rc;

    if (worker_stage(link->worker, more))
        flags |= TRAM_MORE;
    put_frame(frame, meta.layer);
    rc = told(shm(link), tram_sendv(shm(link)->node, link->peer, &meta, pieces, count, flags, 0));
    return rc == -EBUSY ? -EAGAIN : rc;
}

/* Apart, so that others need no room for the copy. */
static __attribute__((noinline)) int send_far(struct link *link, const struct frame *frame,
                                              uint32_t code, const struct iovec *pieces, int count,
                                              bool more) {
    uint8_t extra[FRAME_EXTRA_MAX];
    struct iovec changed[2] = {{extra, frame->extra}};

    memcpy(extra, pieces[0].iov_base, frame->extra);
    deadline_to_wire(frame, extra);
    if (count > 1)
        changed[1] = pieces[1];
    return send_pieces(link, frame, code, changed, count, more);
}

static int shm_send(struct link *link, const struct frame *frame, uint32_t code,
                    const struct iovec *pieces, int count, bool more) {
    if (link->far && frame->flags & FRAME_DEADLINE && count <= 2)
        return send_far(link, frame, code, pieces, count, more);
    return send_pieces(link, frame, code, pieces, count, more);
}

static int shm_claim(struct link *link, size_t size, void **ret_data) {
    int rc = told(shm(link), tram_claim(shm(link)->node, link->peer, size, 0, ret_data));

    shm(link)->claimed = rc == 0 ? *ret_data : NULL;
    return rc;
}

static int shm_commit(struct link *link, const struct frame *frame, uint32_t code, size_t size) {
    struct tram_meta meta = {.tag = code};
    uint32_t flags = worker_stage(link->worker, false) ? TRAM_MORE : 0;

    put_frame(frame, meta.layer);
    if (link->far)
        deadline_to_wire(frame, shm(link)->claimed);
    return told(shm(link), tram_commit(shm(link)->node, link->peer, &meta, size, flags));
}

static void shm_abort(struct link *link) {
    (void) tram_abort(shm(link)->node, link->peer); /* -ENOENT: the channel went */
    worker_space_shows(link->worker, link->peer);
}

static uint64_t shm_waiting(const struct link *link) {
    struct tram_peer peer;

    return tram_peer(tram_worker_node(link->worker), link->peer, &peer) == 0 ? peer.to.bytes : 0;
}

/* ---- the other node -------------------------------------------------------------------------- */

static void on_state(struct worker_peer *peer, bool up, int32_t pid) {
    struct shm_link *shm = container_of(peer, struct shm_link, peer);

    if (up)
        shm->link.owner->on_up(&shm->link, pid);
    else
        shm->link.owner->on_down(&shm->link, -ECONNRESET);
}

static void on_life(struct names_node *node, bool up, bool lost, const char *host) {
    struct shm_link *shm = container_of(node, struct shm_link, far_node);

    (void) snprintf(shm->link.host, sizeof(shm->link.host), "%s", host);
    if (up)
        shm->link.owner->on_up(&shm->link, 0);
    else
        shm->link.owner->on_down(&shm->link, lost ? -EHOSTUNREACH : -ECONNRESET);
}

static void on_space(struct worker_peer *peer) {
    struct shm_link *shm = container_of(peer, struct shm_link, peer);

    shm->link.owner->on_space(&shm->link);
}

static void shm_close(struct link *link) {
    worker_peer_remove(link->worker, &shm(link)->peer);
    names_node_unwatch(&shm(link)->far_node);
    free(shm(link));
}

/* ---- messages in hand ------------------------------------------------------------------------ */

static void *shm_take(struct inbound *in, const void **ret_data) {
    struct worker_message *message = in->hold;
    const char *base = message->msg.data;

    if (!in->kept)
        message = worker_take(message);
    if (!message)
        return NULL;
    in->kept = true;
    *ret_data = (const char *) message->msg.data + ((const char *) in->data - base);
    return message;
}

static void shm_release(tram_worker *worker, void *held) {
    (void) worker;
    (void) worker_release(held);
}

static const struct link_ops shm_ops = {
    .name = "shm",
    .keeps = true,
    .send = shm_send,
    .claim = shm_claim,
    .commit = shm_commit,
    .abort = shm_abort,
    .take = shm_take,
    .release = shm_release,
    .waiting = shm_waiting,
    .close = shm_close,
};

int link_shm_new(tram_worker *worker, tram_id node, uint32_t port, bool far,
                 struct link **ret_link, bool *ret_runs) {
    struct shm_link *shm = calloc(1, sizeof(*shm));
    struct tram_peer peer = {0};
    int rc = 0;

    if (!shm)
        return -ENOMEM;
    shm->node = tram_worker_node(worker);
    shm->link.ops = &shm_ops;
    shm->link.worker = worker;
    shm->link.port = port;
    shm->link.peer = node;
    shm->peer.on_state = on_state;
    shm->peer.on_space = on_space;
    shm->far_node.on_life = on_life;
    if (!far) {
        rc = worker_peer_add(worker, &shm->peer, node);
        if (rc == 0)
            rc = tram_peer(shm->node, node, &peer); /* then: what runs now is told when it ends */
        far = (rc == -ENOENT || (rc == 0 && peer.state != TRAM_PEER_UP)) &&
              names_may_be_far(worker, node);
        if (far)
            worker_peer_remove(worker, &shm->peer);
    }
    if (far) {
        shm->link.far = true;
        shm->peer.on_state = NULL; /* the kernel says nothing of it */
        rc = worker_peer_add(worker, &shm->peer, node);
        if (rc == 0)
            rc = names_node_watch(worker, &shm->far_node, node);
    }
    if (rc < 0) {
        worker_peer_remove(worker, &shm->peer);
        free(shm);
        return rc;
    }
    if (peer.state == TRAM_PEER_UP)
        shm->peer.life = peer.since_ns;
    *ret_runs = shm->link.far || peer.state == TRAM_PEER_UP;
    *ret_link = &shm->link;
    return 0;
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Answers name who asked, all else who sends: see struct frame. */
static bool is_answer(uint8_t kind) {
    return kind == FRAME_REPLY || kind == FRAME_PART || kind == FRAME_ERROR;
}

/* Where the size is known to be small compilers make a loop of it, whose stores the next load waits
 * for. */
static __attribute__((noinline)) void copy_extra(uint8_t *extra, const void *from, size_t size) {
    memcpy(extra, from, size);
}

void link_shm_message(struct worker_port *port, struct worker_message *message) {
    struct endpoint *endpoint = container_of(port, struct endpoint, port);
    const struct tram_msg *msg = &message->msg;
    tram_session *session;
    uint8_t extra[FRAME_EXTRA_MAX];
    struct inbound in;

    memcpy(&in.frame, msg->layer, sizeof(in.frame));
    if (__builtin_expect(in.frame.extra == 8 && msg->size >= 8, 1))
        memcpy(extra, msg->data, 8); /* its sender may change it while we read */
    else if (in.frame.extra <= sizeof(extra) && in.frame.extra <= msg->size)
        copy_extra(extra, msg->data, in.frame.extra);
    if (frame_read(&in.frame, extra, msg->size, &in.extra) < 0) {
        endpoint->nonsense++;
        hold_other_passed(endpoint->worker, msg);
        return;
    }
    in.code = msg->tag;
    in.attempt = msg->attempt;
    in.data = (const char *) msg->data + in.frame.extra;
    in.size = msg->size - in.frame.extra;
    in.time_ns = msg->time_ns;
    in.from = msg->from;
    in.seq = msg->seq;
    in.hold = message;
    in.kept = false;
    if (is_answer(in.frame.kind)) {
        message->last = true;
        session = call_session(endpoint, &in);
        if (!session && in.frame.kind == FRAME_PART)
            call_unwanted(endpoint, &in);
    } else {
        session = session_find(endpoint, msg->from, (uint32_t) (in.frame.correlation >> 32));
    }
    if (!session && !(session = endpoint_stranger(endpoint, &in))) {
        hold_other_passed(endpoint->worker, msg); /* of a call or a session that is over */
        return;
    }
    if (session->link->far)
        deadline_from_wire(&in);
    endpoint_frame(endpoint, session, &in);
}
