/* SPDX-License-Identifier: MIT
 *
 * Links over UNIX and TCP sockets: one connection, one session.
 *
 * What is sent is written at once, unless `more` was said: that is gathered until the turn of the
 * loop ends. What the kernel does not take waits here, up to OUT_MAX; then a send says -EAGAIN.
 * Nothing of a peer is believed: a frame that makes no sense, a first frame that is no hello, or,
 * of who connected here, none within HELLO_NS, ends the connection. (Who connects elsewhere waits
 * as long as its calls do: a stopped server is not a dead one.) A peer can make us hold one message
 * of up to SOCKET_MAX, for which memory is had as its bytes come and not as its head says, and
 * KEPT_MAX of messages that the application keeps: no more is read then.
 *
 * One-way messages are acknowledged, some at a time, when they were handed on: so that the end of a
 * connection says how many of them nobody knows anything about.
 */
#pragma once

#include "service/link.h"
#include "wire/address.h"

#define OUT_MAX     (UINT64_C(1) << 20)
#define HELLO_NS    INT64_C(5000000000)
#define HELLO_SIZE  4096u                 /* the largest first frame */
#define WAITING_MAX 512u                  /* connections that said no hello yet; the oldest goes */
#define KEPT_MAX    (UINT64_C(16) << 20)  /* bytes, and KEPT_EACH for each message */
#define KEPT_EACH   256u

/* Connect. The link can be used at once; on_down() tells if nobody is there. A host's name is
 * looked up here, which may take its time. -EACCES: tcp beyond loopback, unless `plain` says that
 * it is meant. -ENOKEY: tls without keys. -ECONNREFUSED, -ENOENT … at once, where that is known. */
int socket_connect(tram_worker *worker, const struct address *address, bool plain,
                   struct link **ret_link);

/* How much all connections of a server may hold together: those that hold most are ended when it is
 * more. A listener and its connections keep it; unref takes NULL. */
struct socket_budget;
struct socket_budget *socket_budget_new(uint64_t max);
struct socket_budget *socket_budget_unref(struct socket_budget *budget);

struct socket_listener;
struct transport;

/* Somebody connected and said hello, which is *in. Give the link an owner and a context, or return
 * false: it is closed then. */
typedef bool socket_link_fn(struct link *link, struct inbound *in, void *context);
/* Somebody connected and was turned away before that: a line for a log. */
typedef void socket_refused_fn(const char *why, void *context);

struct socket_listening {
    struct address address;
    bool plain;              /* tcp beyond loopback is meant */
    uint32_t links_max;      /* who comes then is not accepted until another goes */
    struct socket_budget *budget; /* may be NULL */
    socket_link_fn *fn;
    socket_refused_fn *refused;
    void *context;
};

/* Listen. A UNIX socket that nobody listens at any more is replaced. -EADDRINUSE: somebody listens
 * there. -EACCES, -ENOKEY as above. */
int socket_listen(tram_worker *worker, const struct socket_listening *how,
                  struct socket_listener **ret_listener);

/* The host, or program, at the other end by its certificate; "": not by TLS. */
const char *socket_peer_name(const struct link *link);

/* The address as it came out: with the port that the system chose. */
const char *socket_listener_address(const struct socket_listener *listener);

/* Its links stay, but for those that said no hello yet. NULL is fine. */
struct socket_listener *socket_listener_free(struct socket_listener *listener);

/* Over a connection that there is, or is on its way. `listener`: that accepted it, NULL: it is
 * ours, or a test's. The transport is the link's. NULL: no memory; it is closed. */
struct link *socket_link_new(tram_worker *worker, struct transport *transport,
                             enum address_kind kind, struct socket_listener *listener);
