/* SPDX-License-Identifier: MIT
 *
 * Events cross a link once, however many want them on the other host (docs/HOSTS.md).
 *
 *   relay_out.c   of a server here for another host: its ring is read by a reader with a durable
 *                 name of that host's, and what somebody wants there is sent
 *   relay_in.c    for readers here: who there is, and what is wished of which server
 *   relay_ring.c  … the copy of its ring that they read
 *
 * Numbers are those of the server's ring, and the copy has its id. So where both stand is in files
 * only: here the tail of the copy, there the position of the reader, which is moved when this host
 * has said that it has the events. What comes twice has a number that is there already.
 */
#pragma once

#include "daemon/hosts.h"
#include "service/topic_file.h"

/* ---- in -------------------------------------------------------------------------------------- */

struct relay_reader {
    struct relay_reader *next;
    struct conn *conn;          /* NULL: it is away */
    uint64_t cookie;
    struct reader_name name;
    struct topic_file file;
    uint32_t event;
    char topic[256];
    bool block, durable;
    uint64_t serial;            /* of the wish that has its own */
    bool told;                  /* … that what it wants comes */
    bool hit;                   /* something new is for it */
    uint64_t rung;
    uint64_t start;             /* position in the copy when it was told */
};

/* An event, whole. */
struct relay_event {
    struct relay_event *next;
    struct topic_record record;
    uint8_t data[];
};

struct inflow {
    struct inflow *next;
    struct hosts *hosts;
    tram_id node;
    uint32_t port;
    uint32_t host;              /* that was asked; 0: none */
    uint64_t serial, confirmed;
    bool begun;                 /* … on this link */
    struct relay_reader *readers;
    bool has_ring;
    struct topic_file file;
    struct topic_tx tx;
    struct relay_event *first, **end; /* that wait for a reader with back-pressure */
    uint64_t waiting;           /* bytes of them */
    int64_t held;               /* since when; 0: nothing waits */
    struct relay_event *part;   /* that is being put together */
    size_t part_have;
    uint64_t had;               /* as said */
    int64_t opened;             /* when that host last named another ring; 0: never */
    int64_t due;                /* INT64_MAX: nothing is */
};

int relays_start(struct hosts *hosts);
void relays_stop(struct hosts *hosts);
int64_t relays_time(struct hosts *hosts, int64_t now);
/* The link to that host came up; is gone; says something of events; the host is forgotten. */
void relays_up(struct host *host);
void relays_down(struct host *host);
int relays_take(struct host *host, const hosts_frame *frame);
void relays_forget(struct host *host);
/* A process asks; its connection ends. */
void relay_add(struct conn *conn, uint64_t cookie, const char *reader);
void relay_remove(struct conn *conn, uint64_t cookie);
void relay_conn_end(struct conn *conn);

/* Have relays_time() come then. */
void inflow_due(struct inflow *flow, int64_t due);
/* Tell a reader: `error` 0: look. */
void relay_tell(struct inflow *flow, struct relay_reader *reader, int error);
/* Take it out of the list, and free it. */
void relay_reader_free(struct inflow *flow, struct relay_reader *reader);

/* ---- relay_ring.c ---------------------------------------------------------------------------- */

/* The copy that is there: of this ring, or (0) of any. */
int inflow_open(struct inflow *flow, uint64_t id, uint64_t capacity);
void inflow_close(struct inflow *flow);
/* Events that came. */
void inflow_take(struct inflow *flow, const Tram__Hosts__Events *events);
/* Go on with what waits. */
void inflow_go_on(struct inflow *flow, int64_t now);
/* What was not written yet comes again. */
void inflow_forget(struct inflow *flow);

/* ---- relay_out.c ----------------------------------------------------------------------------- */

int outflow_take(struct host *host, const Tram__Hosts__Relay *relay);
void outflow_had(struct host *host, const Tram__Hosts__Had *had);
/* That host has said all that it wants: forget the rest. */
void outflows_told(struct host *host);
void outflows_down(struct host *host);
void outflows_forget(struct host *host);
int64_t outflows_time(struct hosts *hosts, int64_t now);
void outflows_stop(struct hosts *hosts);
