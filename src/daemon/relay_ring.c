/* SPDX-License-Identifier: MIT
 *
 * The copy of a ring of another host: written here, read by all here who subscribed there.
 *
 * Its number counts as the server's does; what nobody here wants is left out, and its record says
 * how many were. A reader with back-pressure that is in the way holds it up: then nothing more is
 * acknowledged, and so the host there stops, and with it the server; looked at every 2 ms. Who does
 * not move for a second is cut off.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/relay.h"
#include "tram/service.h"
#include "wire/events.h"
#include "wire/frame.h"

#define LOOK INT64_C(2000000)
#define PATIENCE INT64_C(1000000000)
#define WAITING_MAX (UINT64_C(1) << 20) /* of small ones; of large ones one */
#define FAR_BEHIND 4u /* a quarter of the ring */
/* What a host may have us hold is not its to say. */
#define COPY_MAX   (UINT64_C(64) << 20)  /* of one ring; the oldest is overwritten sooner, then */
#define COPIES_MAX (UINT64_C(256) << 20) /* of all of one host's */
#define RING_AGAIN INT64_C(1000000000)   /* between two rings of one server */

/* ---- files ----------------------------------------------------------------------------------- */

/* As large as its origin, as far as there is room for it. 0: there is none. */
static uint64_t room_for(const struct inflow *flow, uint64_t capacity) {
    uint64_t others = 0;

    for (const struct inflow *at = flow->hosts->relays.in; at; at = at->next)
        if (at != flow && at->host == flow->host && at->has_ring)
            others += at->tx.mask + 1;
    capacity = capacity < COPY_MAX ? capacity : COPY_MAX;
    while (capacity >= TOPIC_MIN && others + capacity > COPIES_MAX)
        capacity /= 2;
    return capacity >= TOPIC_MIN ? capacity : 0;
}

int inflow_open(struct inflow *flow, uint64_t id, uint64_t capacity) {
    int64_t now = hosts_now(flow->hosts);
    struct topic_file file = {0};
    struct topic_tx tx;
    int rc;

    if (id && flow->opened != 0 && now - flow->opened < RING_AGAIN)
        return -EAGAIN;
    flow->opened = id ? now : 0;
    if (id && (capacity < TOPIC_MIN || capacity > TOPIC_MAX || (capacity & (capacity - 1)) != 0))
        return -EBADMSG;
    if (id && !(capacity = room_for(flow, capacity)))
        return -ENOSPC;
    rc = topic_file_copy(flow->hosts->relays.dir, flow->node, flow->port, id, capacity, 0600,
                         &file, &tx);
    if (rc < 0)
        return rc;
    inflow_close(flow);
    flow->file = file;
    flow->tx = tx;
    flow->has_ring = true;
    flow->had = tx.number;
    return 0;
}

void inflow_close(struct inflow *flow) {
    topic_file_close(&flow->file);
    flow->has_ring = false;
}

/* ---- readers --------------------------------------------------------------------------------- */

static uint64_t ring_id(const struct inflow *flow) {
    return topic_words(&flow->file)->id;
}

static uint64_t position_of(struct inflow *flow, const struct relay_reader *reader) {
    const struct topic_reader *words = reader_words(&reader->file);
    uint64_t position = 0;

    if (load_acquire(&words->topic) != ring_id(flow))
        position = reader->start; /* it has not begun */
    else if (topic_tx_position(&flow->tx, words, &position) < 0)
        position = 0; /* nonsense holds it up as long as one who never reads */
    return position - flow->tx.floor <= flow->tx.mask + 1 ? position : flow->tx.floor;
}

static uint64_t slowest(struct inflow *flow, struct relay_reader **ret_who) {
    uint64_t limit = UINT64_MAX;

    for (struct relay_reader *at = flow->readers; at; at = at->next) {
        uint64_t position = at->block && at->told ? position_of(flow, at) : UINT64_MAX;

        if (position < limit) {
            limit = position;
            *ret_who = at;
        }
    }
    return limit;
}

static void ring_for(struct inflow *flow, struct relay_reader *reader) {
    uint64_t armed = load_relaxed(&reader_words(&reader->file)->armed); /* F1 */

    if (!(armed & ARMED_ON) || armed == reader->rung || !reader->conn)
        return;
    reader->rung = armed;
    relay_tell(flow, reader, 0);
}

/* Who sleeps and wants none of it is left alone, until it is far behind. */
static void publish(struct inflow *flow) {
    uint64_t far = (flow->tx.mask + 1) / FAR_BEHIND;

    if (!flow->has_ring || !topic_tx_staged(&flow->tx))
        return;
    topic_tx_publish(&flow->tx);
    for (struct relay_reader *at = flow->readers; at; at = at->next) {
        if (at->told && (at->hit || flow->tx.pos - position_of(flow, at) > far))
            ring_for(flow, at);
        at->hit = false;
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

static void mark(struct inflow *flow, const struct relay_event *event) {
    struct frame frame = {.kind = FRAME_EVENT,
                          .flags = event->record.flags,
                          .extra = event->record.extra,
                          .port = 1,
                          .correlation = UINT64_C(1) << 32};
    struct frame_extra extra;

    if (frame_read(&frame, event->data, event->record.size, &extra) < 0)
        extra.topic[0] = '\0'; /* a reader will say so */
    for (struct relay_reader *at = flow->readers; at; at = at->next)
        at->hit |= (at->event == TRAM_ANY_EVENT || at->event == event->record.code) &&
                   topic_fits(at->topic, extra.topic);
}

/* The server, or its host, could not wait, and something is lost for all here. Readers that are not
 * durable see it from the number, and end; these are told. */
static void cut_blocked(struct inflow *flow) {
    for (struct relay_reader *at = flow->readers; at; at = at->next)
        if (at->block && at->durable && at->told) {
            relay_tell(flow, at, -EPIPE);
            at->block = false;
        }
}

/* Write it. False: there is no room. */
static bool put(struct inflow *flow, const struct relay_event *event) {
    struct topic_tx *tx = &flow->tx;
    uint32_t size = event->record.size;
    struct relay_reader *who = NULL;

    if (event->record.number <= tx->number || size > topic_largest(tx))
        return true; /* it is there; or can't be, and will be missed */
    if (!topic_tx_fits(tx, size) && !topic_tx_make_room(tx, size, slowest(flow, &who))) {
        publish(flow);
        if (!topic_tx_make_room(tx, size, slowest(flow, &who))) {
            if (who)
                ring_for(flow, who);
            return false;
        }
    }
    if (tx->number > 0 && event->record.number - tx->number - 1 > event->record.passed)
        cut_blocked(flow);
    tx->number = event->record.number - 1;
    memcpy(topic_tx_header(tx, &event->record), event->data, size);
    topic_tx_stage(tx, size);
    mark(flow, event);
    return true;
}

static void say_had(struct inflow *flow) {
    struct host *host = host_by_number(flow->hosts, flow->host);
    Tram__Hosts__Had words = HOSTS_NEW(Had, had);
    hosts_frame frame = HOSTS_FRAME(HAD, had, &words);

    if (!host || flow->had == flow->tx.number)
        return;
    words.node = flow->node;
    words.port = flow->port;
    words.ring = ring_id(flow);
    words.number = flow->tx.number;
    if (peer_say(host, &frame) == 0)
        flow->had = flow->tx.number;
    else
        inflow_due(flow, hosts_now(flow->hosts) + LOOK);
}

static void finish(struct inflow *flow) {
    publish(flow);
    say_had(flow);
}

static void wait_for(struct inflow *flow, struct relay_event *event) {
    *flow->end = event;
    flow->end = &event->next;
    flow->waiting += flow->first == event ? 0 : event->record.size;
    if (flow->held == 0)
        flow->held = hosts_now(flow->hosts);
    inflow_due(flow, hosts_now(flow->hosts) + LOOK);
}

/* What is left of its time to live becomes a time of this host's clock. */
static void set_deadline(struct inflow *flow, struct relay_event *event) {
    int64_t now = hosts_now(flow->hosts), deadline;

    if (!(event->record.flags & FRAME_DEADLINE) || event->record.extra < sizeof(deadline))
        return;
    memcpy(&deadline, event->data, sizeof(deadline));
    deadline = deadline < 0 ? 0 : deadline < INT64_MAX - now ? now + deadline : INT64_MAX;
    memcpy(event->data, &deadline, sizeof(deadline));
}

static void come(struct inflow *flow, struct relay_event *event) {
    set_deadline(flow, event);
    if (flow->first || !put(flow, event))
        wait_for(flow, event);
    else
        free(event);
}

/* A whole one, or the next part of one; else NULL. */
static struct relay_event *gather(struct inflow *flow, const Tram__Hosts__Happened *words) {
    size_t size = words->size ? words->size : words->data.len;
    struct relay_event *event = flow->part;

    if (words->offset == 0) {
        free(event);
        flow->part = event = size > topic_largest(&flow->tx) ? NULL : malloc(sizeof(*event) + size);
        if (!event)
            return NULL; /* it will be missed */
        *event = (struct relay_event){.record = {.number = words->number,
                                                 .size = (uint32_t) size,
                                                 .code = words->code,
                                                 .time_ns = words->time,
                                                 .extra = (uint16_t) words->extra,
                                                 .flags = (uint8_t) words->flags,
                                                 .passed = words->passed}};
        flow->part_have = 0;
    }
    if (!event || event->record.number != words->number || flow->part_have != words->offset ||
        event->record.size != size)
        return NULL;
    if (words->data.len > 0)
        memcpy(event->data + words->offset, words->data.data, words->data.len);
    if (words->offset == 0 && words->left > 0 && words->data.len >= sizeof(words->left))
        memcpy(event->data, &words->left, sizeof(words->left));
    flow->part_have += words->data.len;
    if (flow->part_have < size)
        return NULL;
    flow->part = NULL;
    return event;
}

void inflow_take(struct inflow *flow, const Tram__Hosts__Events *events) {
    if (!flow->has_ring || events->ring != ring_id(flow))
        return;
    if (sys_map_torn(&flow->file.map)) { /* somebody cut it short: another one */
        inflow_forget(flow);
        inflow_close(flow);
        flow->begun = false;
        inflow_due(flow, hosts_now(flow->hosts) + RING_AGAIN);
        return;
    }
    for (size_t i = 0; i < events->n_events; i++) {
        struct relay_event *event = gather(flow, events->events[i]);

        if (event)
            come(flow, event);
    }
    if (flow->waiting > WAITING_MAX)
        inflow_forget(flow); /* it sends more than it may */
    flow->had = UINT64_MAX;  /* also what was here already is acknowledged */
    finish(flow);
}

/* What waits is dropped: it was not acknowledged. */
void inflow_forget(struct inflow *flow) {
    while (flow->first) {
        struct relay_event *event = flow->first;

        flow->first = event->next;
        free(event);
    }
    flow->end = &flow->first;
    flow->held = 0;
    flow->waiting = 0;
    free(flow->part);
    flow->part = NULL;
}

/* It has not moved for too long. A durable one goes on without back-pressure when it is back. */
static void cut_off(struct inflow *flow) {
    struct relay_reader *who = NULL;

    (void) slowest(flow, &who);
    if (!who)
        return;
    relay_tell(flow, who, -EPIPE);
    who->block = false;
    who->told = false;
}

void inflow_go_on(struct inflow *flow, int64_t now) {
    if (!flow->first) {
        if (flow->has_ring)
            say_had(flow);
        return;
    }
    if (now - flow->held >= PATIENCE) {
        cut_off(flow);
        flow->held = now;
    }
    while (flow->first && put(flow, flow->first)) {
        struct relay_event *event = flow->first;

        flow->first = event->next;
        flow->waiting -= flow->first ? flow->first->record.size : 0;
        if (!flow->first)
            flow->end = &flow->first;
        free(event);
        flow->held = now;
    }
    finish(flow);
    if (flow->first)
        inflow_due(flow, now + LOOK);
    else
        flow->held = 0;
}
