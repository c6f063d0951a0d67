/* SPDX-License-Identifier: MIT */
#pragma once

#include "service/names.h"
#include "service/service.h"

struct tram_server {
    struct endpoint endpoint;       /* first */
    struct tram_server_handlers handlers;
    void *arg;
    struct names_binding binding;
    char *service, *instance;       /* of its name */
    char *address;                  /* by which it is found */
    char **addresses;               /* that it is to serve beside shared memory; NULL ends */
    uint32_t flags;
    uint32_t sessions_max;
    uint32_t sessions;              /* there are */
    enum tram_state state;          /* as it is; 0: neither */
    enum tram_state state_told;
    struct tram_party holder;       /* TRAM_STATE_REFUSED */
    char *holder_name, *holder_program;
    struct worker_deferred state_defer;
    struct worker_deferred memory;
    void (*drained)(tram_server *server, void *arg);
    bool drain_told, said_goodbye;
    int64_t drain_until;            /* sockets that still have answers may delay it so long */
    tram_timer *drain_timer;
    struct worker_deferred drain_defer;
    uint64_t expired;               /* messages dropped at their turn */
    uint64_t requests_ever;
    void *descriptors;
    size_t descriptors_size;
    struct tram_server_options options; /* for events: cache, topics_max, topic_ring, patience */
    void *events;                   /* what publish.c and cache.c have for it */
    struct server_sockets *sockets; /* that it listens on */
    void *typed;                    /* the methods that typed_server.c knows */
};

static inline tram_server *server_of(struct endpoint *endpoint) {
    return (tram_server *) (void *) endpoint;
}

/* A session for who sends this; NULL: refused. */
tram_session *server_session(struct endpoint *endpoint, const struct inbound *in);
/* Is `other` of an earlier process of that node? */
bool server_is_predecessor(const tram_session *other, const tram_session *session);
void server_greeted(tram_session *session, const struct inbound *in);
void server_inspected(tram_session *session, const struct inbound *in);
void server_request(tram_session *session, tram_request **request);
void server_one_way(tram_session *session, const struct tram_view *view);
void server_cancelled(tram_server *server, tram_request *request);
void server_space(tram_session *session); /* NULL in the handler: of events */
void server_drained(struct worker_deferred *deferred);
void server_goodbye(tram_session *session);

/* Its first message, or its connection: told before anything is handed out. */
void server_introduce(tram_session *session);

/* Sockets (server_socket.c): check the addresses that were given; listen at all of them; where that
 * is, NULL ends; and no more. */
int server_check_addresses(tram_server *server);
int server_listen(tram_server *server);
const char *const *server_listens_at(const tram_server *server);
void server_listen_no_more(tram_server *server);
bool server_is_at(const tram_server *server, const char *address);

/* Names. */
int server_publish(tram_server *server);
void server_state(tram_server *server, enum tram_state state);
