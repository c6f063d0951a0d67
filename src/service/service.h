/* SPDX-License-Identifier: MIT
 *
 * The parts of the service layer, and what each knows of the others.
 *
 *     service    one per worker: what its endpoints share (time-outs, free lists, names)
 *     endpoint   a server or a client: a port, its sessions, its calls
 *     session    an endpoint here and one there, over a link (link.h)
 *     call       of who asked, found by the number in the correlation
 *     request    of who has to answer
 *
 * Two rules hold everywhere. What the application may free in a handler is only taken out of all
 * lists at once; its memory goes when the worker's turn is over (worker_defer()). And no handler of
 * the application runs inside a call of it: in a blocking call (`pumping`) messages are kept
 * (inbox.c) and ends are noted (late), and both are told afterwards.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/link.h"
#include "service/wheel.h"
#include "tram/service.h"
#include "wire/frame.h"
#include "worker/worker.h"

#define DEFAULT_TIMEOUT_NS INT64_C(20000000000)
#define DEFAULT_WINDOW     16u
#define WINDOW_MAX         65536u
#define CALLS_MAX          65536u
#define CONTROLS_MAX        1024u /* control frames that wait for space, per session */
#define TEXT_MAX           4096u /* of an error */
#define REQUESTS_MAX       4096u /* deferred, of a node, … */
#define REQUESTS_BYTES     (UINT64_C(64) << 20) /* … and bytes of them, or one */
#define UNSENT_MAX         (UINT64_C(16) << 20) /* bytes of control frames and events that wait for
                                                   space, of a node or connection */

#define container_of(ptr, type, member) ((type *) (void *) ((char *) (ptr) -offsetof(type, member)))

struct endpoint;
struct neighbour;

/* ---- what the endpoints of a worker share (service.c) ---------------------------------------- */

struct service {
    tram_worker *worker;
    struct worker_ending ending;
    struct endpoint *endpoints;
    struct wheel wheel;
    tram_timer *timer;
    int64_t timer_at;               /* WHEEL_NEVER: not set */
    unsigned pumping;               /* a blocking call is on the way */
    bool wheel_waits;               /* a turn of the wheel that was due meanwhile */
    struct worker_deferred late_defer;
    struct tram_call *late, **late_end; /* ended calls whose owner is still to be told */
    struct tram_request *cancelled; /* likewise */
    struct tram_request *abandoned; /* of endpoints that went; the application has them */
    struct neighbour *neighbours;   /* hold.c */
    uint32_t holds;                 /* messages in the lists of all neighbours */
    uint64_t waiting;               /* bytes in inboxes */
    struct farewell *farewells;     /* control.c */
    tram_timer *again;              /* of what failed for a reason that passes */
    bool again_set;
    struct orphan *orphans;         /* drain.c */
    struct worker_deferred drain_defer, memory;
    uint32_t hot_sockets;           /* link_socket.c */
    struct secure *secure;          /* secure.c */
    struct tram_request *free_requests;
    struct tram_call *free_calls;
    void *names;                    /* names.c's own */
    void *typed;                    /* typed_server.c's */
};

/* What the endpoints of this worker share, made when it is first needed. NULL: no memory. */
struct service *service_get(tram_worker *worker);

/* Refuse a message for which there is no endpoint, as not executed; and is it of a kind for which
 * this is all that there is to be said? */
void service_refuse(tram_worker *worker, const struct tram_msg *msg);
bool service_refuses(const struct frame *frame);

/* Where names.c keeps what it has for this worker. NULL: no memory. */
void **service_names(tram_worker *worker);

/* Note a time-out; it ends in call_expired() or session_expired(). */
void service_timeout(struct service *service, struct wheel_entry *entry, int64_t due_ns);

/* Run worker_pump() for this endpoint until *done. */
int service_pump(struct service *service, struct endpoint *endpoint, const bool *done,
                 int64_t deadline);

/* Did a send fail for a reason that passes without anybody telling when (no memory)? Then what
 * waits is tried again soon. */
bool service_retries(struct service *service, int rc);

/* A deadline out of a time-out as the header has them; `otherwise` for 0. */
int64_t service_deadline(struct service *service, int64_t timeout_ns, int64_t otherwise);

/* A random number that isn't 0. */
uint32_t service_random(void);

/* ---- keeping messages (hold.c) --------------------------------------------------------------- */

/* A message that is kept beyond its handler. One that is kept long while others pass behind it
 * would stop its channel: then it is copied out, and released. */
struct held {
    void *message;                  /* the link's; NULL: nothing, or copied out */
    void *copy;
    const void **data;              /* where the owner has the address of the payload */
    size_t size;
    const struct link_ops *ops;
    tram_worker *worker;
    struct neighbour *neighbour;    /* in its list, oldest first */
    struct held *next, **link;
    uint64_t seq, bytes;
};

struct neighbour {                  /* a node that has sessions with endpoints of this worker */
    struct neighbour *next;
    tram_id id;
    unsigned users;
    struct held *first, **end;
    uint64_t bytes;                 /* that came from it ever */
    uint32_t requests;              /* of it that are deferred */
    uint64_t request_bytes;
    uint64_t unsent;                /* bytes that wait for space in its ring */
    struct farewell *farewell;      /* to it; NULL: none (control.c) */
    bool returning;                 /* its questions to who drains are given back (drain.c) */
    uint32_t copied;                /* what waits for a successor, copied out */
};

struct neighbour *neighbour_get(struct service *service, tram_id id);
void neighbour_put(struct service *service, struct neighbour *neighbour);

/* Keep the message of *in, whose payload the owner has at *data. -ENOMEM: it is not kept. */
int hold_take(struct held *held, tram_session *session, struct inbound *in, const void **data);
int hold_copy(struct held *held, const struct inbound *in, const void **data);
void hold_release(struct held *held);
/* The worker ends: what the application still has of it is copied out. */
void hold_forget(struct service *service);
/* A message came from there: has what is kept become too old? */
void hold_look(struct service *service, struct neighbour *neighbour, uint64_t seq);
static inline void hold_passed(struct service *service, struct neighbour *neighbour, uint64_t seq,
                               size_t size) {
    neighbour->bytes += size + 64; /* of a record */
    if (__builtin_expect(neighbour->first || service->orphans, 0))
        hold_look(service, neighbour, seq);
}
/* … that is of no session: as long as nothing is kept, none of these is counted. */
void hold_other_passed(tram_worker *worker, const struct tram_msg *msg);
/* Is one that came as number `seq`, behind `bytes`, too old when number `now` comes? */
bool hold_is_old(const struct neighbour *neighbour, uint64_t seq, uint64_t bytes, uint64_t now);

/* ---- endpoints (endpoint.c, inbox.c) --------------------------------------------------------- */

struct session_table {
    tram_session **buckets;         /* a power of two */
    uint32_t mask;                  /* of buckets; 0: there are none */
    uint32_t count;
};

struct call_table {                 /* slot = number % size: no search, and no list of free ones */
    struct tram_call **slots;
    uint32_t mask, count, max;
    uint32_t number;                /* of the last call */
};

struct inbox_message;

struct endpoint {
    struct worker_port port;
    struct service *service;
    tram_worker *worker;
    struct endpoint *next, **link;  /* of the service */
    bool server;                    /* else a client */
    bool bound;                     /* its port is added */
    bool dead;                      /* freed; memory goes with the turn */
    uint32_t in_hand;               /* requests */
    struct tram_request *handled;   /* its handler runs */
    bool draining;                  /* takes nothing new: a server that hands over */
    struct session_table table;
    tram_session *last;             /* found last, over shared memory */
    tram_session *sessions;         /* all */
    struct call_table calls;
    struct tram_call *awaited;      /* the blocking call that is on the way */
    struct inbox_message *inbox, **inbox_end;
    struct worker_deferred inbox_defer;
    tram_session *departed;         /* ended; that is still to be told */
    struct tram_request *told;      /* over, and its owner knows */
    struct worker_deferred notice;  /* tells what became of sessions */
    char *name;                     /* its own: "name:instance", or "" */
    uint64_t nonsense;              /* messages that made no sense, or are not for this side */
    uint32_t syncs;                 /* number of the last SYNC: the next session to a server has
                                       others, for those of this one may still be in its ring */
};

/* What a server and a client do differently. */
void server_tell(struct endpoint *endpoint, tram_session *session, bool online);
void client_tell(struct endpoint *endpoint, tram_session *session, bool online);

int endpoint_init(struct endpoint *endpoint, tram_worker *worker, bool server, uint32_t calls_max);
int endpoint_bind(struct endpoint *endpoint, uint32_t port);
/* Take it out of everything; its sessions have to be gone. */
void endpoint_deinit(struct endpoint *endpoint);

#define CLOSE_NS INT64_C(1000000000) /* to a deadline */

/* A message of somebody without a session here: a server makes one. NULL: there is to be none. */
tram_session *endpoint_stranger(struct endpoint *endpoint, const struct inbound *in);

/* Past its deadline: it is dropped, and counted. The clock of the turn may be as old as the
 * handlers before this one took: close to the deadline the clock itself is asked. */
bool endpoint_expired_by_the_clock(struct endpoint *endpoint, const struct inbound *in);
static inline bool endpoint_expired(struct endpoint *endpoint, const struct inbound *in) {
    return __builtin_expect(in->extra.deadline <= worker_now(endpoint->worker) + CLOSE_NS, 0) &&
           endpoint_expired_by_the_clock(endpoint, in);
}

/* A message for it. */
void endpoint_frame(struct endpoint *endpoint, tram_session *session, struct inbound *in);
/* The same, where a blocking call is on the way. True: kept for later. */
bool inbox_keep(struct endpoint *endpoint, tram_session *session, struct inbound *in);
/* Its node, or connection, went: true: that is to be told behind what is kept of it. */
bool inbox_keep_end(struct endpoint *endpoint, tram_session *session);
bool inbox_has(const struct endpoint *endpoint, const tram_session *session);
void inbox_open(struct worker_deferred *deferred);
void inbox_drop(struct endpoint *endpoint, tram_session *session); /* NULL: all */
/* Mark the calls of this session whose answers are kept as `listed`. */
void inbox_list_answered(struct endpoint *endpoint, const tram_session *session);

/* ---- sessions (session.c, control.c) --------------------------------------------------------- */

enum session_state {
    SESSION_OPEN,    /* requests may go; of a client: HELLO was sent, no WELCOME came yet */
    SESSION_ONLINE,
    SESSION_LEAVING, /* of a client: its server gave the name up, and may still answer */
    SESSION_LOST,    /* of a client that waits: the other side went; its calls wait for SYNCED */
    SESSION_DEAD,    /* taken out of everything; memory goes with the turn */
};

/* Its other end is on that host of the cluster; "": on this one. */
void session_of_host(tram_session *session, const char *host);

enum session_broken {
    BROKEN_NOT,
    BROKEN_GONE, /* there is nobody to be told */
    BROKEN_TELL, /* its control frames can't be kept */
};

struct control;

struct tram_session {
    struct endpoint *endpoint;
    struct link *link;
    uint32_t peer_port;             /* of the endpoint there */
    uint8_t state;                  /* enum session_state */
    bool wants_space;               /* on_space is owed */
    bool space_came;                /* … and came while a blocking call was on the way */
    bool fresh;                     /* of a client: whether its server runs is not known yet */
    bool refused;                   /* … there is none at that node, though that runs */
    uint8_t broken;                 /* enum session_broken: to be ended */
    bool syncing;                   /* SYNC went, SYNCED has not come yet */
    bool greeted;                   /* a server's: HELLO said who the client is */
    bool ending;                    /* its end is in the inbox */
    bool told;                      /* online, by the last on_session() or on_state() */
    uint32_t syncs;                 /* number of its last SYNC */
    tram_session *next, **prev;     /* of the endpoint */
    tram_session *chain;            /* of the bucket */
    struct tram_request *requests;  /* in hand, deferred */
    uint32_t calls;                 /* that it has under way */
    struct control *control, **control_end;
    uint32_t controls;
    uint64_t unsent;                /* over a socket: as a neighbour has it */
    struct neighbour *neighbour;    /* over shared memory */
    struct target *target;          /* of a client: which server it is */
    struct tram_party party;
    char *name, *program, *address, *host; /* of party */
    tram_draft *drafts;             /* that are open */
    void *data;                     /* the application's */
    void *events;                   /* what subscribe.c and publish.c have for it */
    uint64_t requests_ever, messages_ever, events_ever;
    struct worker_deferred defer;   /* its memory */
};

/* A session over a link that was just made, which becomes its. NULL: no memory, or too many (the
 * link is closed then). */
tram_session *session_new(struct endpoint *endpoint, struct link *link, const char *address);
/* End it: everything of it fails, and the link is closed. Tells nobody there. */
void session_end(tram_session *session, int status);
/* Its node, or its connection, went. */
void session_down(tram_session *session);
tram_session *session_find(struct endpoint *endpoint, tram_id from, uint32_t port);
int session_hello(tram_session *session, enum frame_kind kind);
int session_read_hello(tram_session *session, const struct inbound *in);
extern const struct link_owner session_link_owner;

/* Is the other side of this worker, too? */
bool session_is_own(const tram_session *session);

/* Send a control frame; if there is no room it waits, bounded. Keeps its order among these. */
void session_control(tram_session *session, struct frame frame, uint32_t code, const void *data,
                     size_t size);
/* … with room again: true: all went. */
bool control_flush(tram_session *session);
void control_drop(tram_session *session);
bool control_waits(const tram_session *session, const struct frame *frame); /* this one */
/* What waits for space is counted for all sessions of a node together, or of a connection. */
static inline uint64_t *session_unsent(tram_session *session) {
    return session->neighbour ? &session->neighbour->unsent : &session->unsent;
}
static inline void session_waits(tram_session *session, int64_t bytes) {
    *session_unsent(session) += (uint64_t) bytes;
    if (session->link->ops->hold)
        session->link->ops->hold(session->link, bytes);
}
/* The session ends: what waits is dropped; but if BYE is the last of it, it still goes. */
void control_leave(tram_session *session);
/* Tell the other side that it ends. */
void session_bye(tram_session *session);
/* A frame without a session: as those, it waits for space. */
void farewell_say(struct service *service, tram_id to, const struct frame *frame, uint32_t code,
                  const void *data, size_t size);
void farewells_forget(struct service *service);
/* Try again what waits, of all sessions. */
void controls_again(struct service *service);

static inline struct frame session_frame(const tram_session *session, enum frame_kind kind,
                                         uint64_t correlation) {
    return (struct frame){
        .kind = (uint8_t) kind, .port = session->peer_port, .correlation = correlation};
}

/* The correlation of what is no answer and no request: who sends it. */
static inline uint64_t session_own(const tram_session *session) {
    return (uint64_t) session->endpoint->port.port << 32;
}

/* Refuse a request, as the layer. */
void session_refuse(tram_session *session, uint64_t correlation, int error);

/* -EAGAIN came: on_space is owed. */
int session_full(tram_session *session, int rc);
/* Its node is gone, though its end was not told yet: -ENOTCONN. */
int session_gone(tram_session *session, int rc);

/* ---- calls (call.c, ask.c) ------------------------------------------------------------------- */

enum call_state { CALL_FREE, CALL_QUEUED, CALL_SENT, CALL_ENDED };

struct tram_call {
    struct wheel_entry timer;       /* first: what is in the wheel is a call */
    int64_t deadline;
    struct endpoint *endpoint;
    tram_session *session;          /* NULL: it waits for one */
    tram_result_fn *fn;
    void *arg;
    uint32_t number;
    uint8_t state;
    bool traced;
    bool waits;
    bool listed;                    /* SYNC: the server that came back has it, or its answer is
                                       kept here */
    bool before_sync;               /* sent before the server went */
    bool named;                     /* … the instance that it is for */
    uint64_t key;                   /* by which the server was chosen */
    uint32_t parts;                 /* handed out since the last CREDIT */
    uint32_t window;
    int status;                     /* CALL_ENDED: what is to be told */
    struct tram_call *next;         /* free, or late */
    struct queued *queued;          /* of a client: its message */
    tram_reply *reply;              /* blocking */
    bool *done;
    uint8_t trace[16];
};

struct tram_reply {
    struct tram_view view;
    struct held held;
    int status;
    int32_t code;
    char *text;
};

/* What a call or a message takes along; made of struct tram_how. */
struct sending {
    struct frame frame;
    struct frame_extra extra;
    uint32_t code;
    const void *data;
    size_t size;
    uint64_t key;
    bool more;
    bool waits;                     /* for a server to come back */
    bool named;                     /* its instance was */
};

struct tram_call *call_new(struct endpoint *endpoint);     /* NULL and errno: calls_max, memory */
struct tram_call *call_find(struct endpoint *endpoint, uint64_t correlation);
/* It is over: out of the table, told nobody. The memory may be used again at once. */
void call_drop(struct tram_call *call);
/* End it and tell, now or, if a blocking call is on the way, later. */
void call_end(struct tram_call *call, int status);
void call_expired(struct wheel_entry *entry);
void call_tell_late(struct worker_deferred *deferred);
/* All calls of this session (or all of the endpoint, NULL) end so. */
void calls_end(struct endpoint *endpoint, tram_session *session, int status);
/* The other side went: those end that do not wait for its return. */
void calls_lost(struct endpoint *endpoint, tram_session *session);
/* The same without a word: who owns them ends the session. */
void calls_forget(struct endpoint *endpoint, tram_session *session);
/* The session that was asked what *in answers; NULL: none, or it came from somebody else. */
tram_session *call_session(struct endpoint *endpoint, const struct inbound *in);
static inline uint64_t call_correlation(const struct tram_call *call) {
    return (uint64_t) call->endpoint->port.port << 32 | call->number;
}

/* A part came of an answer that nobody waits for. */
void call_unwanted(struct endpoint *endpoint, const struct inbound *in);
/* A REPLY, PART or ERROR came. */
void call_answered(struct endpoint *endpoint, tram_session *session, struct inbound *in);

/* Make *sending of what the caller gave. -EINVAL. */
int sending_init(struct sending *sending, struct service *service, enum frame_kind kind,
                 uint32_t code, const void *data, size_t size, const struct tram_how *how);
int sending_send(struct sending *sending, tram_session *session, uint64_t correlation);
/* Send a request of any kind (FRAME_REQUEST, _GET, _SET, _INSPECT) over this session. */
int call_ask(tram_session *session, struct sending *sending, tram_result_fn *fn, void *arg,
             tram_call **ret_call);
/* The parts of it, for a client that queues. */
void call_prepare(struct tram_call *call, const struct sending *sending, tram_result_fn *fn,
                  void *arg);
void call_sent(struct tram_call *call, tram_session *session);
void call_timeout(struct tram_call *call);
/* Wait for the end of a call that has a reply. */
int call_await(struct tram_call *call, tram_reply **ret_reply);
tram_reply *reply_new(void);

/* ---- requests in hand (request.c, reply.c, stream.c) ----------------------------------------- */

enum request_state { REQUEST_HANDLER, REQUEST_DEFERRED, REQUEST_DONE };

struct tram_request {
    struct tram_view view;
    tram_session *session;          /* NULL: it went */
    struct service *service;
    uint64_t correlation;
    uint32_t credit;                /* parts that may be sent */
    uint8_t state;
    bool over;                      /* cancelled: the answer goes nowhere */
    bool wants_space;
    tram_draft *draft;              /* of the answer, open */
    struct tram_request *next, **link; /* of the session; or free */
    struct held held;
    struct neighbour *neighbour;    /* that it is counted at, while it is deferred; or NULL */
    struct endpoint *endpoint;      /* NULL: it went */
};

void request_arrived(struct endpoint *endpoint, tram_session *session, struct inbound *in);
void request_cancelled(tram_session *session, const struct inbound *in);
void request_credit(tram_session *session, const struct inbound *in);
void requests_tell_cancelled(struct service *service);
void requests_abandon(struct endpoint *endpoint); /* it goes */
void requests_forget(struct service *service);    /* … and all of the worker */
/* The session ends: what is in hand of it goes nowhere any more. */
void requests_orphan(tram_session *session);
struct tram_request *request_find(tram_session *session, uint64_t correlation);
/* It was answered, or nobody wants the answer. */
void request_done(struct tram_request *request);
/* Its server is freed in its handler. */
void request_fail(struct tram_request *request);

/* Answer a request that has no struct tram_request: status 0 or a negative errno. -EAGAIN. */
int session_answer(tram_session *session, uint64_t correlation, int status, uint32_t code,
                   const void *data, size_t size);

int reply_settle(tram_request **request, int rc);
/* It ends: a draft of its answer goes nowhere any more (draft.c). */
void draft_forget(struct tram_request *request);

/* ---- handing over (drain.c) ------------------------------------------------------------------ */

/* A message for a server that takes nothing new any more. True: kept for its successor. */
bool drain_keep(tram_session *session, struct inbound *in);
/* A request in hand was answered. */
void drain_check(struct endpoint *endpoint);
/* A server begins: what a predecessor on this worker left for it. */
void drain_inherit(struct endpoint *endpoint);
void drain_forget(struct service *service);
/* What was said one-way, if it can't wait for a successor. */
void drain_hand_on(struct worker_deferred *deferred);
/* A message of number `seq` came from there. */
void drain_passed(struct service *service, struct neighbour *neighbour, uint64_t seq);

/* ---- both ends of struct tram_view (view.c) -------------------------------------------------- */

void view_of(const struct inbound *in, struct tram_view *ret_view);

/* ---- tracing (trace.c) ----------------------------------------------------------------------- */

/* A handler begins, for a message with a trace (or without: NULL); and ends. */
extern bool trace_used; /* by any thread of this process, ever */
void trace_begin(const uint8_t *trace);
static inline void trace_enter(const uint8_t *trace) {
    if (__builtin_expect(trace || __atomic_load_n(&trace_used, __ATOMIC_RELAXED), 0))
        trace_begin(trace);
}
static inline void trace_leave(void) {
    trace_enter(NULL);
}
static inline const uint8_t *trace_of(const struct inbound *in) {
    return in->frame.flags & FRAME_TRACE ? in->extra.trace : NULL;
}
static inline bool trace_on(void) {
    return __atomic_load_n(&trace_used, __ATOMIC_RELAXED);
}
/* The id to send along; NULL: none. */
const uint8_t *trace_current(void);

/* ---- return of a server (sync.c) ------------------------------------------------------------- */

void sync_send(tram_session *session);
void sync_arrived(tram_session *session, const struct inbound *in);
void synced_arrived(tram_session *session, const struct inbound *in);
/* SYNC was refused: nobody has anything of what was sent. */
void sync_refused(tram_session *session);
