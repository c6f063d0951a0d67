/* SPDX-License-Identifier: MIT
 *
 * Services: names, request and reply, one-way messages, events. Link with -ltram-service.
 *
 * A server binds a name, a client connects to it; which process, thread or transport is behind the
 * name is not the client's business. Both are endpoints of a worker (worker.h); its conventions
 * hold here: one thread, handlers one at a time, an object is ended by its …_free().
 *
 * Addresses
 *     svc://name            whoever serves the name; name: 1 to 63 of [A-Za-z0-9._-], '/' between
 *     svc://name:instance   that one of several. A name with its instance is unique on a host
 *     svc://name@host       a client's: whoever serves it on that host of the cluster; also behind
 *                           an instance
 *     topic://name          a topic without a broker: every server of it is a publisher, with an
 *                           instance of its own; a client has all of them (svc://topic/name)
 *     shm://1.2.3.4/name    the endpoint `name` of that node: no daemon is asked
 *     ipc:///path           a UNIX socket; file:///path is the same
 *     tcp://host:port       IPv4, IPv6 in brackets, or a host's name; beyond loopback only with
 *                           TRAM_SERVER_PLAIN and TRAM_CLIENT_PLAIN
 *     tls://host:port       the same by TLS 1.3, both sides with keys (tram-keys(1)): the server
 *                           has to be `host` by its certificate,
 *     tls://name@host:port  or the host of this name
 *
 * How a request ends: exactly once, with one of
 *      0             answered
 *     -EREMOTEIO     the server answered with an error: its code and text are in the result
 *     -ETIMEDOUT     the time was up; if the server had it in hand, it may have been executed
 *     -ECANCELED     tram_call_free(), or its client or worker was freed; likewise
 *     -ECONNRESET    unknown: the server, or the connection, went with the request in hand; it may
 *                    have been executed or not. A one-way message over a socket ends so, too
 *     -ENOTCONN, -ECONNREFUSED   nobody serves the name, or the daemon, which was never heard, is
 *                    away: the text says which; it was not executed
 *     -ENOBUFS       the other end has 4,096 requests of this node in hand, or 64 MiB of them; it
 *                    was not executed
 * Through shared memory a request that lies in the ring of a server with an ID of its own is kept
 * when that server dies, and handed to its successor, in order; what the dead one had in hand comes
 * again, marked (attempt in struct tram_view). With TRAM_CLIENT_WAIT the client waits for that; and
 * what a server that hands over gives back, because too much waits for its successor, is asked of
 * that, and doesn't end with -ECONNREFUSED. (Behind what the successor finds in the ring; those
 * that were given back keep their order.)
 */
#ifndef TRAM_SERVICE_H
#define TRAM_SERVICE_H

#include <stdbool.h>

#include <tram/worker.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tram_server tram_server;
typedef struct tram_client tram_client;
typedef struct tram_session tram_session;           /* a server and one of its clients */
typedef struct tram_request tram_request;           /* in hand of who has to answer it */
typedef struct tram_call tram_call;                 /* of who asked */
typedef struct tram_reply tram_reply;               /* what a blocking call brought */
typedef struct tram_draft tram_draft;               /* a message that is written in place */
typedef struct tram_subscription tram_subscription;
typedef struct tram_name_watch tram_name_watch;

/* ---- messages ------------------------------------------------------------------------------- */

/* What arrives, in all patterns: what the sender gave, and nothing else, in place. Valid until the
 * handler returns, unless something said here keeps it. Who sent it could still change `data`
 * (shared memory): check what you copied, not what you saw. */
struct tram_view {
    const void *data;
    size_t size;
    uint32_t code;         /* method or event, the application's number */
    uint32_t attempt;      /* 1: the first time, provably; n: handed out n - 1 times before */
    const char *topic;     /* of an event; "" if it has none */
    int64_t deadline_ns;   /* CLOCK_MONOTONIC; TRAM_FOREVER: none */
    uint64_t time_ns;      /* CLOCK_REALTIME of the send, or 0 (TRAM_OPEN_STAMP of its node) */
    uint64_t missed;       /* events of this subscription that were dropped before this one */
    tram_id from;          /* the node; 0: over a socket */
    uint32_t flags;        /* TRAM_VIEW_… */
    uint8_t trace[16];     /* W3C trace id; all 0: none */
};

#define TRAM_VIEW_INITIAL 0x01u /* from the cache, at the subscription */
#define TRAM_VIEW_MORE    0x02u /* part of a streamed reply; others follow */

/* How to send, in all patterns; NULL where it is asked for: all defaults. */
struct tram_how {
    size_t struct_size;    /* set by TRAM_HOW_INIT */
    int64_t timeout_ns;    /* of a request: until it ends, TRAM_FOREVER: no limit, 0: 20 s. Of any
                              other message: its time to live; older at its turn, it is dropped by
                              the reader and counted; 0: none */
    const char *topic;     /* of an event, up to 255 bytes; NULL: none */
    const char *instance;  /* the server of this instance; NULL: by the client's choice */
    uint64_t key;          /* TRAM_CHOOSE_KEY: the same key reaches the same server */
    const uint8_t *trace;  /* 16 bytes; NULL: of the handler that is running, if it has one */
    uint32_t flags;        /* TRAM_HOW_… */
    uint32_t window;       /* parts of a streamed reply that may be under way; 0: 16 */
};

#define TRAM_HOW_MORE    0x01u /* others follow at once: may be sent together; see tram_flush() */
#define TRAM_HOW_WAIT    0x02u /* wait for a server to come or come back, as TRAM_CLIENT_WAIT */
#define TRAM_HOW_NO_WAIT 0x04u /* … or don't, though the client has it */
#define TRAM_HOW_KEEP    0x08u /* an event: keep it in the cache (struct tram_server_options) */
#define TRAM_HOW_CHANGED 0x10u /* … and send it only if it differs from what is there */

#ifdef __cplusplus
#define TRAM_HOW_INIT { sizeof(struct tram_how), 0, 0, 0, 0, 0, 0, 0 }
#else
#define TRAM_HOW_INIT { .struct_size = sizeof(struct tram_how) }
#endif

/* ---- servers -------------------------------------------------------------------------------- */

enum tram_state {
    TRAM_STATE_ONLINE = 1, /* a server: published, can be found. A client: has a server */
    TRAM_STATE_OFFLINE,    /* a client: has none. A server: the daemon is away; who is connected
                              stays so, and the name is published again by itself */
    TRAM_STATE_REFUSED,    /* a server: the name is held (-EEXIST), or may not be had. The end */
};

/* Who serves, or is served. */
struct tram_party {
    const char *name;      /* with ":instance", if it has one; "" for a client without a name */
    const char *program;
    const char *address;   /* by which it is reached. Of a server to itself: all, ' ' between */
    tram_id node;          /* 0: over a socket */
    int32_t pid;           /* over ipc:// as the kernel says, else as it says itself */
    int error;             /* TRAM_STATE_REFUSED: a negative errno; `pid` and `program` hold it */
    uint32_t unknown;      /* TRAM_STATE_OFFLINE, on_session: one-way messages of ours to it that
                              the end of a socket cut off: nobody knows whether they arrived. Also
                              those that had waited here for it, and were larger than its ring may
                              be: they did not */
    const char *host;      /* of the cluster; "": this one, or over a socket */
};

/* Handlers of a server; each may be NULL. */
struct tram_server_handlers {
    void (*on_state)(tram_server *server, enum tram_state state, const struct tram_party *who,
                     void *arg);
    void (*on_session)(tram_server *server, tram_session *session, bool online, void *arg);
    /* Answer it by one of the functions below, which take it: *request is NULL then. To answer
     * later, take it out: mine = *request; *request = NULL. What is still there on return is
     * answered with -ENOSYS. */
    void (*on_request)(tram_server *server, tram_request **request, void *arg);
    void (*on_message)(tram_server *server, tram_session *session, const struct tram_view *view,
                       void *arg); /* one-way */
    /* A client sets a cached event. 0: kept and published; else the negative errno for it. NULL:
     * -EACCES for all. */
    int (*on_set)(tram_server *server, tram_session *session, const struct tram_view *view,
                  void *arg);
    /* A request that was deferred was cancelled, or its client went: answer it all the same (it
     * goes nowhere), or free it. */
    void (*on_cancel)(tram_server *server, tram_request *request, void *arg);
    /* After -EAGAIN of anything sent to this session. */
    void (*on_space)(tram_server *server, tram_session *session, void *arg);
    /* Somebody who connected to a socket was turned away before it was a session: a line for a log,
     * with the address and the reason. */
    void (*on_refused)(tram_server *server, const char *why, void *arg);
};

struct tram_server_options {
    size_t struct_size;            /* set by TRAM_SERVER_OPTIONS_INIT */
    const struct tram_server_handlers *handlers; /* stays the caller's, and stays */
    void *arg;
    const char *const *addresses;  /* ipc://, tcp:// and tls:// to serve beside shared memory; NULL
                                      ends */
    uint32_t flags;                /* TRAM_SERVER_… */
    uint32_t sessions_max;         /* 0: 4096; more clients are refused */
    uint32_t cache;                /* last values kept for each event and topic; 0: 1 */
    uint32_t topics_max;           /* that are cached; 0: 4096 */
    uint64_t topic_ring;           /* bytes of the ring of events, a power of two; 0: 4 MiB */
    int64_t patience_ns;           /* how long a subscriber with back-pressure may hold up events
                                      before it is cut off; 0: 1 s */
    const void *descriptors;       /* a serialized google.protobuf.FileDescriptorSet, for tools */
    size_t descriptors_size;       /* up to 1 MiB */
    uint64_t sockets_held_max;     /* bytes that all its connections together make it hold; those
                                      that hold most are ended when it is more; 0: 256 MiB */
};

#define TRAM_SERVER_NO_SHM    0x01u /* by the given addresses only */
#define TRAM_SERVER_NO_DAEMON 0x02u /* the name is not published: clients use addresses */
#define TRAM_SERVER_PLAIN     0x04u /* tcp:// beyond loopback is meant: who is there may use it */

#ifdef __cplusplus
#define TRAM_SERVER_OPTIONS_INIT                                                                   \
    { sizeof(struct tram_server_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
#else
#define TRAM_SERVER_OPTIONS_INIT { .struct_size = sizeof(struct tram_server_options) }
#endif

/* Serve `address` (svc://…). It is bound at once and published as soon as the daemon says that the
 * name is free; on_state tells. A worker whose node has an ID of its own finds what waits for the
 * server when it is bound.
 * Sockets are listened at when the name is this server's, and before it is published: one that is
 * taken is TRAM_STATE_REFUSED; without a daemon, an error here. tcp:// and tls:// with port 0: one
 * from 61002 on that is free, which on_state tells. A UNIX socket that a dead server left is
 * replaced, and it goes with the server; only processes of the same user, or root's, are let in.
 * 0.0.0.0 and [::] are one address for each interface that is up.
 *   -EADDRINUSE  this node has an endpoint of that name, or a socket address is taken
 *   -EACCES      tcp:// beyond loopback without TRAM_SERVER_PLAIN
 *   -ENOKEY      tls:// without keys, or with such as are no good: tram_worker_error() says why */
TRAM_API int tram_server_new(tram_worker *worker, const char *address,
                             const struct tram_server_options *options, tram_server **ret_server);

/* End it: requests in hand fail, sessions close. */
TRAM_API tram_server *tram_server_free(tram_server *server);

/* Hand over to a successor: the name goes, nothing new is taken, what is in hand may be answered.
 * Then `done` is called, if not NULL; free the server there. What is not taken waits in the rings
 * for the next server of that node; over sockets, and of a request behind which 256 messages or
 * 32 KiB of its node have come meanwhile, it fails as not executed; one-way messages, and requests
 * that an earlier process had in hand, are handed to the handlers then. It lasts until the last
 * answer is taken: a client that waits without end inside a handler, and reads a stream of this
 * server, has to have a time-out. */
TRAM_API int tram_server_drain(tram_server *server, void (*done)(tram_server *server, void *arg));

/* Sessions, one after the other: NULL gives the first, NULL is the end. */
TRAM_API tram_session *tram_server_next(tram_server *server, tram_session *session);

TRAM_API const struct tram_party *tram_session_party(const tram_session *session);
/* The application's own pointer. */
TRAM_API void tram_session_set_data(tram_session *session, void *data);
TRAM_API void *tram_session_data(const tram_session *session);
/* Close it: the client is told. */
TRAM_API tram_session *tram_session_free(tram_session *session);

/* ---- requests in hand ----------------------------------------------------------------------- */

TRAM_API const struct tram_view *tram_request_view(const tram_request *request);
TRAM_API tram_session *tram_request_session(const tram_request *request); /* NULL: it went */
/* Cancelled, or past its deadline: the answer goes nowhere. */
TRAM_API bool tram_request_over(const tram_request *request);

/* Answer it. On success, or if the answer can go nowhere any more, *request is NULL; after -EAGAIN
 * (the ring is full: on_space follows) and -EMSGSIZE it is still yours. */
TRAM_API int tram_reply_send(tram_request **request, const void *data, size_t size);
TRAM_API int tram_reply_error(tram_request **request, int32_t code, const char *text);
/* One part of many, before one of these two. -EAGAIN also: the client has not asked for more. If
 * the server dies, a successor that answers the request, which comes to it again, begins anew: who
 * asked gets the parts again from the first. */
TRAM_API int tram_reply_part(tram_request *request, const void *data, size_t size);
/* Give it up: answered with -ECANCELED. */
TRAM_API tram_request *tram_request_free(tram_request *request);

/* ---- clients -------------------------------------------------------------------------------- */

enum tram_choice {
    TRAM_CHOOSE_NEAREST, /* one of this host; else of the host with the least round trip. It stays
                            until it goes, or one comes on this host; of equals the oldest */
    TRAM_CHOOSE_FIRST,  /* the oldest, and it stays until it goes */
    TRAM_CHOOSE_NEWEST, /* moves to a newer one when that comes */
    TRAM_CHOOSE_LEAST,  /* for each message the one for which least waits */
    TRAM_CHOOSE_KEY,    /* by struct tram_how's key: rendezvous hashing, so that only the share of a
                           server that comes or goes moves */
};

struct tram_client_handlers {
    /* For each server: with LEAST and KEY there are several. */
    void (*on_state)(tram_client *client, enum tram_state state, const struct tram_party *who,
                     void *arg);
    void (*on_request)(tram_client *client, tram_request **request, void *arg); /* of the server */
    void (*on_message)(tram_client *client, const struct tram_view *view, void *arg);
    void (*on_space)(tram_client *client, void *arg);
};

struct tram_client_options {
    size_t struct_size;      /* set by TRAM_CLIENT_OPTIONS_INIT */
    const struct tram_client_handlers *handlers; /* stays the caller's, and stays */
    void *arg;
    const char *via;         /* "shm", "ipc", "tcp" or "tls": only so; NULL: the best there is */
    enum tram_choice choice;
    uint32_t flags;          /* TRAM_CLIENT_… */
    uint32_t calls_max;      /* under way, up to 65536; 0: 1024 */
    uint32_t reserved;
    size_t queue_max;        /* bytes that wait here for a server to come; 0: 1 MiB */
};

#define TRAM_CLIENT_WAIT  0x01u /* requests wait for a server to come or to return */
#define TRAM_CLIENT_PLAIN 0x02u /* tcp:// beyond loopback is meant: nobody knows who answers */
#define TRAM_CLIENT_DIRECT 0x04u /* a server of another host by a connection to an address that it
                                    published, and not through the daemons */

#ifdef __cplusplus
#define TRAM_CLIENT_OPTIONS_INIT                                                                   \
    { sizeof(struct tram_client_options), 0, 0, 0, TRAM_CHOOSE_NEAREST, 0, 0, 0, 0 }
#else
#define TRAM_CLIENT_OPTIONS_INIT { .struct_size = sizeof(struct tram_client_options) }
#endif

/* Connect to an address, now or as soon as somebody serves it; and again, whenever it is lost.
 *   -EACCES       tcp:// beyond loopback without TRAM_CLIENT_PLAIN, or a UNIX socket that is closed
 *                 to us
 *   -ENOKEY       tls:// without keys, as tram_server_new()
 *   -EHOSTUNREACH, -ENAMETOOLONG   there can be no such address */
TRAM_API int tram_client_new(tram_worker *worker, const char *address,
                             const struct tram_client_options *options, tram_client **ret_client);

/* End it: nothing of it is called back any more, and what waits here for a server goes with it.
 * Over a socket one try is made to write what was said last. What the kernel doesn't take then,
 * because the server does not read, is lost, and nobody is told: who has to know that one-way
 * messages arrived asks something behind them, and frees the client when that was answered. */
TRAM_API tram_client *tram_client_free(tram_client *client);

/* Wait until there is a server: 0 or -ETIMEDOUT. Like every blocking call it runs no handler of the
 * application; what comes meanwhile is handed out afterwards, in order. */
TRAM_API int tram_client_wait(tram_client *client, int64_t timeout_ns);

/* How a request ended. */
struct tram_result {
    int status;              /* 0 or a negative errno; see above */
    int32_t code;            /* -EREMOTEIO: the server's */
    const char *text;        /* of the error, else "" */
    struct tram_view view;   /* status 0: the reply; its flags say whether more follows */
};

/* Ask, and wait for the answer. The reply is the caller's; tram_reply_free() it. A blocking call
 * inside a handler is allowed. Returns how the request ended (tram_worker_error() has code and
 * text), or what kept it from being sent:
 *   -EAGAIN    calls_max are under way
 *   -EMSGSIZE  larger than the ring, or what a socket takes (16 MiB), may be
 *   -EDEADLK   the server is this worker's own */
TRAM_API int tram_client_call(tram_client *client, uint32_t code, const void *data, size_t size,
                              const struct tram_how *how, tram_reply **ret_reply);
TRAM_API const struct tram_view *tram_reply_view(const tram_reply *reply);
TRAM_API tram_reply *tram_reply_free(tram_reply *reply);

/* Ask; `fn` is called once with the end, or, for a streamed reply, with each part and the end.
 * ret_call may be NULL. Errors as above, and
 *   -EAGAIN  the ring is full; on_space follows */
typedef void tram_result_fn(const struct tram_result *result, void *arg);
TRAM_API int tram_client_ask(tram_client *client, uint32_t code, const void *data, size_t size,
                             const struct tram_how *how, tram_result_fn *fn, void *arg,
                             tram_call **ret_call);
/* Cancel it: `fn` is not called any more, and the server is told. Valid until `fn` was called with
 * the end. */
TRAM_API tram_call *tram_call_free(tram_call *call);

/* One way: accepted is 0. Over shared memory it arrives. What waits here for a server to come
 * (TRAM_CLIENT_WAIT, or it was not known yet whether there is one) goes with the client if none
 * does. Over a socket it is on its way; when the
 * connection ends, `unknown` in struct tram_party says how many of the messages sent through it
 * nobody can say of whether they arrived: never fewer than were lost. */
TRAM_API int tram_client_send(tram_client *client, uint32_t code, const void *data, size_t size,
                              const struct tram_how *how);

/* From the server's end of a session, the same three. */
TRAM_API int tram_session_ask(tram_session *session, uint32_t code, const void *data, size_t size,
                              const struct tram_how *how, tram_result_fn *fn, void *arg,
                              tram_call **ret_call);
TRAM_API int tram_session_call(tram_session *session, uint32_t code, const void *data, size_t size,
                               const struct tram_how *how, tram_reply **ret_reply);
TRAM_API int tram_session_send(tram_session *session, uint32_t code, const void *data, size_t size,
                               const struct tram_how *how);

/* ---- in place ------------------------------------------------------------------------------- */

/* Room for `size` bytes of payload, in the ring itself if it goes through shared memory: write
 * *ret_data, then give the draft to one of the functions below, which take it as the request is
 * taken above. Nothing else can be sent the same way until then: it is -EAGAIN, and on_space
 * follows when the draft was sent or freed. A draft ends with its request, or session. */
TRAM_API int tram_client_draft(tram_client *client, size_t size, const struct tram_how *how,
                               tram_draft **ret_draft, void **ret_data);
TRAM_API int tram_request_draft(tram_request *request, size_t size, tram_draft **ret_draft,
                                void **ret_data);
TRAM_API int tram_server_draft(tram_server *server, size_t size, const struct tram_how *how,
                               tram_draft **ret_draft, void **ret_data); /* an event */
TRAM_API tram_draft *tram_draft_free(tram_draft *draft);

TRAM_API int tram_draft_ask(tram_draft **draft, uint32_t code, size_t size, tram_result_fn *fn,
                            void *arg, tram_call **ret_call);
TRAM_API int tram_draft_send(tram_draft **draft, uint32_t code, size_t size);
TRAM_API int tram_draft_reply(tram_draft **draft, tram_request **request, size_t size);
TRAM_API int tram_draft_publish(tram_draft **draft, uint32_t code, size_t size);

/* ---- events --------------------------------------------------------------------------------- */

#define TRAM_ANY_EVENT UINT32_MAX

/* Publish to all who subscribed. Returns 0 (also if nobody did), or
 *   -EAGAIN  a subscriber with back-pressure holds it up, and its patience has not passed yet;
 *            on_space of the server follows, with no session */
TRAM_API int tram_server_publish(tram_server *server, uint32_t event, const void *data, size_t size,
                                 const struct tram_how *how);
/* To one client, if it subscribed; -ENOENT if not. */
TRAM_API int tram_session_publish(tram_session *session, uint32_t event, const void *data,
                                  size_t size, const struct tram_how *how);

enum tram_delivery {
    TRAM_DELIVER_LATEST_ALL, /* default: all, in order; who is too slow misses the oldest */
    TRAM_DELIVER_BLOCK,      /* nothing is missed: the publisher waits, up to its patience_ns; who
                                is slower than that is cut off, and told */
    TRAM_DELIVER_LAST,       /* only the newest of each look */
};

struct tram_subscribe_options {
    size_t struct_size;      /* set by TRAM_SUBSCRIBE_OPTIONS_INIT */
    enum tram_delivery delivery;
    uint32_t initial;        /* cached values of each topic wanted at once, the newest; 0: none */
    const char *durable;     /* a name for this subscription: its position outlives the process,
                                and goes on when the same name subscribes again. Of a server on
                                another host: its position in the copy here, which lasts as long
                                as this host does. NULL: none. Not over a socket */
};

#ifdef __cplusplus
#define TRAM_SUBSCRIBE_OPTIONS_INIT                                                                \
    { sizeof(struct tram_subscribe_options), TRAM_DELIVER_LATEST_ALL, 0, 0 }
#else
#define TRAM_SUBSCRIBE_OPTIONS_INIT { .struct_size = sizeof(struct tram_subscribe_options) }
#endif

/* `view` NULL: the subscription was cut off, `status` says why (-EPIPE: too slow; -EACCES, …); it
 * is still to be freed. Otherwise status is 0. */
typedef void tram_event_fn(tram_subscription *subscription, const struct tram_view *view,
                           int status, void *arg);

/* Subscribe to an event (or TRAM_ANY_EVENT) and a topic: exact; a prefix if it ends with '*'; NULL:
 * all. Holds through every change of the server: it is subscribed anew at each. */
TRAM_API int tram_client_subscribe(tram_client *client, uint32_t event, const char *topic,
                                   const struct tram_subscribe_options *options, tram_event_fn *fn,
                                   void *arg, tram_subscription **ret_subscription);
TRAM_API tram_subscription *tram_subscription_free(tram_subscription *subscription);
/* The same, and a durable one does not go on: what is kept of it at the servers that are there, is
 * removed. */
TRAM_API tram_subscription *tram_subscription_forget(tram_subscription *subscription);

/* The cached value of an event, or set it. Answered like a request; -ENOENT: there is none. */
TRAM_API int tram_client_get(tram_client *client, uint32_t event, const struct tram_how *how,
                             tram_result_fn *fn, void *arg, tram_call **ret_call);
TRAM_API int tram_client_set(tram_client *client, uint32_t event, const void *data, size_t size,
                             const struct tram_how *how, tram_result_fn *fn, void *arg,
                             tram_call **ret_call);

/* ---- names ---------------------------------------------------------------------------------- */

/* Watch all names that a pattern fits: as an address without svc://, and '*' for any run of
 * characters. All that are there are told at once, then `who` is NULL once; then what changes. */
typedef void tram_name_fn(enum tram_state state, const struct tram_party *who, void *arg);
TRAM_API int tram_name_watch_new(tram_worker *worker, const char *pattern, tram_name_fn *fn,
                                 void *arg, tram_name_watch **ret_watch);
TRAM_API tram_name_watch *tram_name_watch_free(tram_name_watch *watch);

/* ---- tracing -------------------------------------------------------------------------------- */

/* The trace id of what this thread is handling, which all that it sends inherits: 16 bytes, all 0
 * if there is none. In a new trace, set one (NULL: random). */
TRAM_API const uint8_t *tram_trace(void);
TRAM_API void tram_trace_set(const uint8_t trace[16]);

#ifdef __cplusplus
}
#endif

#endif
