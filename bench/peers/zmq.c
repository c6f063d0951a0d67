/* SPDX-License-Identifier: MIT
 *
 * Peer: ZeroMQ over ipc, or TCP. PAIR sockets for round trips, PUSH and PULL for streams, REQ and
 * REP for requests, DEALER and ROUTER for several of them under way; each process and its I/O
 * thread are pinned to the same core. Spinning yields between looks, since nothing comes unless
 * the I/O thread runs: that is faster than not to, or than other cores.
 */
// needs: libzmq
#include <sched.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zmq.h>

#include "job.h"

/* Messages on the way: enough for the I/O threads to pack large writes, not without end. */
#define HIGH_WATER 10000
#define HIGH_WATER_BYTES (64u << 20)

struct zmq_end {
    void *context, *socket;
    zmq_msg_t msg, from; /* of ROUTER: who asks */
    bool spin, routes;
};

static int tcp_port;

static void end_close(void *end) {
    struct zmq_end *e = end;

    if (!e)
        return;
    (void) zmq_msg_close(&e->msg);
    (void) zmq_msg_close(&e->from);
    if (e->socket)
        (void) zmq_close(e->socket);
    if (e->context)
        (void) zmq_ctx_term(e->context);
    free(e);
}

/* A port that nobody has. */
static int end_setup(const struct job_opts *o) {
    struct sockaddr_in at = { .sin_family = AF_INET };
    socklen_t size = sizeof(at);
    int fd = o->tcp ? socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1, ret = 0;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (o->tcp && (fd < 0 || bind(fd, (struct sockaddr *) &at, size) < 0 ||
                   getsockname(fd, (struct sockaddr *) &at, &size) < 0))
        ret = -errno;
    tcp_port = ntohs(at.sin_port);
    if (fd >= 0)
        (void) close(fd);
    return ret;
}

static bool end_connect(struct zmq_end *e, const struct job_opts *o, unsigned who) {
    int water = HIGH_WATER, linger = 0;
    char address[128];

    if ((uint64_t) water * o->size > HIGH_WATER_BYTES)
        water = (int) (HIGH_WATER_BYTES / o->size);
    if (o->tcp)
        (void) snprintf(address, sizeof(address), "tcp://127.0.0.1:%d", tcp_port);
    else
        (void) snprintf(address, sizeof(address), "ipc://%s/zmq", o->dir);
    return zmq_setsockopt(e->socket, ZMQ_SNDHWM, &water, sizeof(water)) == 0 &&
           zmq_setsockopt(e->socket, ZMQ_RCVHWM, &water, sizeof(water)) == 0 &&
           zmq_setsockopt(e->socket, ZMQ_LINGER, &linger, sizeof(linger)) == 0 &&
           (who ? zmq_bind(e->socket, address) : zmq_connect(e->socket, address)) == 0;
}

static int socket_type(const struct job_opts *o, unsigned who) {
    if (o->requests && o->under_way > 1)
        return who ? ZMQ_ROUTER : ZMQ_DEALER;
    if (o->requests)
        return who ? ZMQ_REP : ZMQ_REQ;
    if (o->stream)
        return who ? ZMQ_PULL : ZMQ_PUSH;
    return ZMQ_PAIR;
}

static void *end_open(const struct job_opts *o, unsigned who) {
    struct zmq_end *e = calloc(1, sizeof(*e));

    if (!e)
        return NULL;
    (void) zmq_msg_init(&e->msg);
    (void) zmq_msg_init(&e->from);
    e->routes = socket_type(o, who) == ZMQ_ROUTER;
    e->spin = !o->stream && !o->sleep;
    e->context = zmq_ctx_new();
    if (e->context)
        e->socket = zmq_socket(e->context, socket_type(o, who));
    if (!e->socket || !end_connect(e, o, who)) {
        fprintf(stderr, "peer-zmq: %s\n", zmq_strerror(zmq_errno()));
        end_close(e);
        return NULL;
    }
    return e;
}

static int end_send(void *end, const void *data, size_t size) {
    struct zmq_end *e = end;

    if (e->routes && zmq_msg_send(&e->from, e->socket, ZMQ_SNDMORE) < 0)
        return -zmq_errno();
    return zmq_send(e->socket, data, size, 0) < 0 ? -zmq_errno() : 0;
}

static int end_flush(void *end) {
    (void) end;
    return 0;
}

static int part_recv(struct zmq_end *e, zmq_msg_t *msg) {
    int ret;

    while ((ret = zmq_msg_recv(msg, e->socket, e->spin ? ZMQ_DONTWAIT : 0)) < 0 &&
           zmq_errno() == EAGAIN)
        (void) sched_yield();
    return ret < 0 ? -zmq_errno() : 0;
}

static int end_recv(void *end, const void **ret_data, size_t *ret_size) {
    struct zmq_end *e = end;
    int ret = e->routes ? part_recv(e, &e->from) : 0;

    if (ret == 0)
        ret = part_recv(e, &e->msg);
    if (ret < 0)
        return ret;
    *ret_data = zmq_msg_data(&e->msg);
    *ret_size = zmq_msg_size(&e->msg);
    return 0;
}

static const struct job_ops zmq_ops = {
    .name = "zmq",
    .modes = "ZeroMQ over ipc or TCP, PAIR sockets for round trips, PUSH and PULL for streams,\n"
             "REQ and REP for requests, DEALER and ROUTER for several under way.",
    .requests = true,
    .tcp = true,
    .setup = end_setup,
    .open = end_open,
    .send = end_send,
    .flush = end_flush,
    .recv = end_recv,
    .close = end_close,
};

JOB_MAIN(zmq_ops)
