/* SPDX-License-Identifier: MIT
 *
 * A client and its servers. A target is a server that is known, by its name or by the address that
 * was given; its session is how it is reached.
 */
#pragma once

#include "service/choose.h"
#include "service/names.h"
#include "service/service.h"
#include "wire/address.h"

struct target {
    struct target *next;
    tram_client *client;
    char *name;               /* "name:instance" */
    const char *instance;     /* part of it; "" */
    char *program;
    char *host;               /* of the cluster; "": this one */
    uint64_t distance;        /* as choose.h has it */
    char **addresses;         /* beside shared memory */
    uint64_t order, identity;
    tram_id node;
    uint32_t port;
    int32_t pid;
    bool up;                  /* published; or given as an address */
    bool named;               /* somebody asked for it by its instance */
    bool tried;               /* its sockets: whether somebody is there is known */
    bool welcomed;            /* over the socket that it has, or had last */
    int attempt;              /* which of its addresses is tried, best first */
    int64_t delay;            /* before the next round of them; 0: none has failed yet */
    tram_timer *again;        /* … which begins by it */
    bool again_set;
    tram_session *session;    /* NULL: not reached yet */
};

/* A message that waits for a server. */
struct queued {
    struct queued *next, **link;
    tram_client *client;
    tram_call *call;          /* NULL: one-way */
    bool waits;               /* also when nobody serves the name */
    bool returned;            /* by a server that hands over */
    char *instance;           /* NULL: any */
    uint64_t key;
    struct frame frame;
    struct frame_extra extra;
    uint32_t code;
    size_t size;
    char data[];
};

struct stub;

struct tram_client {
    struct endpoint endpoint; /* first */
    struct tram_client_handlers handlers;
    void *arg;
    enum tram_choice choice;
    uint32_t flags;
    enum address_kind via;    /* 0: the best */
    struct address address;
    struct names_watch watch;
    bool watching;
    bool settled;             /* whether there are servers is known */
    struct target *targets;
    struct target *current;   /* chosen last */
    struct target **list;     /* of targets, and beside it what choose() has to know */
    struct candidate *candidates;
    int count, room;
    uint32_t turn;
    struct queued *queue, **queue_end;
    size_t queued_bytes, queue_max;
    bool wants_space;         /* the queue was full */
    bool has_space;           /* … and is not any more: on_space is owed */
    bool wait_up;             /* tram_client_wait(): there is a server */
    struct worker_deferred flush_defer;
    struct worker_deferred memory;
    tram_timer *retry;        /* after a refusal: look whether it is there now */
    void *events;             /* what subscribe.c has for it */
    struct stub *typed;       /* typed_stub.c */
    uint32_t at_port;         /* of an address shm://: this one, and not that of a name; or 0 */
};

static inline tram_client *client_of(struct endpoint *endpoint) {
    return (tram_client *) (void *) endpoint;
}

/* A client of the endpoint with this port of a node of this host. */
int client_new_at(tram_worker *worker, tram_id node, uint32_t port,
                  const struct tram_client_options *options, tram_client **ret_client);

/* Ask with any kind of request (FRAME_REQUEST, _GET, _SET, _INSPECT). */
int client_ask(tram_client *client, enum frame_kind kind, uint32_t code, const void *data,
               size_t size, const struct tram_how *how, tram_result_fn *fn, void *arg,
               tram_call **ret_call);

/* What sessions tell. */
void client_request(tram_session *session, tram_request **request);
void client_one_way(tram_session *session, const struct tram_view *view);
void client_space(tram_session *session);
void client_has_space(tram_client *client);
void client_welcomed(tram_session *session, const struct inbound *in);
void client_left(tram_session *session, int why); /* BYE; why requests failed that it ends */
void client_up(tram_session *session);
void client_down(tram_session *session);
void client_turned_away(tram_session *session);          /* a request was given back */
void client_session_gone(tram_session *session);

/* Why there is no server, as text. */
const char *client_nobody(const tram_client *client);

/* Servers (target.c). */
void client_changed(tram_client *client);         /* look who is to be reached, and what can go */
int client_reach_socket(struct target *target);   /* by one of its addresses, or the one given */
void client_socket_welcomed(struct target *target);
void client_socket_gone(struct target *target);
void target_join(struct target *target, tram_session *session);
int client_find_servers(tram_client *client);
void client_targets_gone(tram_client *client);
/* The session for a message. 0; 1: wait for one; -ENOTCONN, and its text. */
int client_pick(tram_client *client, const char *instance, uint64_t key, bool wait,
                tram_session **ret_session);

/* Did sending find that its node is gone for good, before its end was told? Then it is not picked
 * any more. */
bool client_unreachable(tram_session *session, int rc);

/* What waits (queue.c). */
int queue_put(tram_client *client, const struct sending *sending, const struct tram_how *how,
              tram_call *call);
void client_unqueue(struct queued *queued);
/* A request that was refused as not executed, in *in: it is asked again, of who serves next. False:
 * it isn't given back there, or there is no memory. */
bool queue_take_back(tram_client *client, tram_call *call, const struct inbound *in);
/* Is something in it that goes over this session? */
bool queue_has(tram_client *client, const tram_session *session);
/* Send what can go; who can never is ended. */
void queue_flush(tram_client *client);
void queue_drop(tram_client *client);
bool client_waits(const tram_client *client, const struct tram_how *how);
