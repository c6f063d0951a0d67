/* SPDX-License-Identifier: MIT
 *
 * Events of a server here for another host.
 *
 * The daemon subscribes as any client does, under a durable name of that host's, and reads all that
 * is in the ring; what is wanted there is sent, up to 256 KiB before that host has said that it has
 * it. Only then the reader's position moves. So after a cut, or the death of either daemon, it is
 * read again from there, and that host has said what it has: nothing is lost, and what it has is
 * passed over. If somebody there has back-pressure the subscription has it, too; when that is cut
 * off, it goes on without, and that host sees from the numbers that something is missing.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/relay.h"
#include "service/subscribe.h"
#include "sys/file.h"
#include "wire/link.h"

#define OUTFLOWS_MAX 256u             /* of a host; up to 120 KiB each */
#define SENT_MAX 512u                 /* events that may be under way, … */
#define WINDOW (UINT64_C(256) << 10)  /* … and bytes of them; one may be larger */
#define BATCH_EVENTS 64u
#define BATCH_BYTES (32u << 10)
#define PART_BYTES (48u << 10)
#define AGAIN INT64_C(100000000)
#define LOOK_AGAIN INT64_C(1000000000)
#define CONTROL_FULL (UINT64_C(1) << 20) /* the rest is for what others say */
#define NEVER INT64_MAX

struct wish {
    uint32_t event;
    char topic[256];
};

struct sent {
    uint64_t number, pos, size;
};

struct outflow {
    struct raw raw; /* first */
    struct outflow *next;
    struct host *host;
    tram_id node;
    uint32_t port;
    tram_client *client;
    tram_subscription *subscription;
    struct wish *wishes;
    size_t count;
    uint64_t serial;
    bool begun;              /* on this link */
    bool block, cut;         /* back-pressure is wanted; was too much for the server */
    bool gone;
    uint64_t there, number;  /* what that host has: the ring, and up to this event */
    uint64_t ring, capacity; /* 0: none is read */
    uint64_t last;           /* event that was sent, or is there */
    uint64_t chain;          /* up to this one it is not known what there was */
    bool unchained;          /* the first one that comes says that */
    uint64_t owed;           /* so many were missed, and no event that was sent says so */
    struct sent sent[SENT_MAX];
    unsigned first, sent_count;
    uint64_t under_way;
    Tram__Hosts__Happened batch[BATCH_EVENTS];
    size_t batch_count, batch_bytes;
    uint8_t bytes[BATCH_BYTES];
    int64_t due;
};

static void due(struct outflow *flow, int64_t after) {
    flow->due = hosts_now(flow->host->hosts) + after;
    hosts_wake(flow->host->hosts, flow->due);
}

/* ---- what was sent --------------------------------------------------------------------------- */

static void forget_sent(struct outflow *flow) {
    flow->first = flow->sent_count = 0;
    flow->under_way = 0;
    flow->batch_count = flow->batch_bytes = 0;
    flow->raw.busy = false;
}

/* Read again, from behind what the other host has. */
static void restart(struct outflow *flow) {
    forget_sent(flow);
    flow->owed = 0; /* it is found again */
    flow->last = flow->there == flow->ring ? flow->number : 0;
    flow->raw.full = !flow->begun;
    if (flow->subscription)
        raw_rewind(flow->subscription);
}

/* It could not be said: all of it again, soon. */
static void failed(struct outflow *flow) {
    flow->begun = false;
    forget_sent(flow);
    flow->raw.full = true;
    due(flow, AGAIN);
}

static bool say(struct outflow *flow, Tram__Hosts__Happened *events, size_t count) {
    Tram__Hosts__Events words = HOSTS_NEW(Events, events);
    hosts_frame frame = HOSTS_FRAME(EVENTS, events, &words);
    Tram__Hosts__Happened *pointers[BATCH_EVENTS];

    for (size_t i = 0; i < count; i++)
        pointers[i] = &events[i];
    words.node = flow->node;
    words.port = flow->port;
    words.ring = flow->ring;
    words.events = pointers;
    words.n_events = count;
    if (peer_is_up(flow->host) && link_control_waits(peer_link(flow->host)) < CONTROL_FULL &&
        peer_say(flow->host, &frame) == 0)
        return true;
    failed(flow);
    return false;
}

static bool flush(struct outflow *flow) {
    size_t count = flow->batch_count;

    flow->batch_count = flow->batch_bytes = 0;
    return count == 0 || say(flow, flow->batch, count);
}

static void say_ring(struct outflow *flow, bool over) {
    Tram__Hosts__Relaying words = HOSTS_NEW(Relaying, relaying);
    hosts_frame frame = HOSTS_FRAME(RELAYING, relaying, &words);

    words.node = flow->node;
    words.port = flow->port;
    words.serial = flow->serial;
    words.ring = flow->ring;
    words.capacity = flow->capacity;
    words.over = over;
    if (peer_say(flow->host, &frame) < 0)
        failed(flow);
}

/* ---- the ring -------------------------------------------------------------------------------- */

static void on_ring(struct raw *raw, uint64_t id, uint64_t capacity, uint64_t number,
                    bool resumed) {
    struct outflow *flow = (struct outflow *) raw;

    flow->ring = id;
    flow->capacity = capacity;
    flow->unchained = number == TOPIC_UNKNOWN;
    flow->chain = resumed || flow->unchained ? 0 : number;
    restart(flow);
    if (flow->begun)
        say_ring(flow, false);
}

static bool is_wanted(const struct outflow *flow, uint32_t code, const char *topic) {
    for (size_t i = 0; i < flow->count; i++)
        if ((flow->wishes[i].event == TRAM_ANY_EVENT || flow->wishes[i].event == code) &&
            topic_fits(flow->wishes[i].topic, topic))
            return true;
    return false;
}

/* Of a large one. The bytes may be overwritten while they are copied: of a part that goes out, too.
 * Then it is never complete over there, and the next one says that it is missing. */
static enum raw_result send_parts(struct outflow *flow, const struct topic_rx *rx,
                                  const struct topic_view *event, Tram__Hosts__Happened *words) {
    uint32_t size = event->record.size;

    if (!flush(flow))
        return RAW_FULL;
    words->size = size;
    for (uint32_t at = 0; at < size; at += PART_BYTES) {
        words->offset = at;
        words->data.len = size - at < PART_BYTES ? size - at : PART_BYTES;
        words->data.data = (uint8_t *) (uintptr_t) event->body + at; /* it is only read */
        if (!say(flow, words, 1))
            return RAW_FULL;
        if (!topic_rx_intact(rx, event))
            return RAW_LOST;
    }
    return RAW_TOOK;
}

static enum raw_result send_event(struct outflow *flow, const struct topic_rx *rx,
                                  const struct topic_view *event, Tram__Hosts__Happened *words) {
    uint32_t size = event->record.size;

    if (size > BATCH_BYTES)
        return send_parts(flow, rx, event, words);
    if ((flow->batch_count == BATCH_EVENTS || flow->batch_bytes + size > BATCH_BYTES) &&
        !flush(flow))
        return RAW_FULL;
    memcpy(flow->bytes + flow->batch_bytes, event->body, size);
    if (!topic_rx_intact(rx, event))
        return RAW_LOST;
    words->data.data = flow->bytes + flow->batch_bytes;
    words->data.len = size;
    flow->batch[flow->batch_count++] = *words;
    flow->batch_bytes += size;
    return RAW_TOOK;
}

static void note_sent(struct outflow *flow, const struct topic_rx *rx, uint64_t size) {
    flow->sent[(flow->first + flow->sent_count++) % SENT_MAX] =
        (struct sent){.number = rx->number, .pos = rx->pos, .size = size};
    flow->under_way += size;
    flow->last = rx->number;
    flow->owed = 0;
    flow->raw.busy = true;
}

static enum raw_result on_event(struct raw *raw, const struct topic_rx *rx,
                                const struct topic_view *event, const struct frame_extra *extra,
                                uint64_t missed) {
    struct outflow *flow = (struct outflow *) raw;
    Tram__Hosts__Happened words = HOSTS_NEW(Happened, happened);
    uint64_t number = event->record.number, size = topic_span(event->record.size), behind;
    enum raw_result result;

    if (missed > 0 || flow->unchained)
        flow->chain = number - 1;
    flow->unchained = false;
    if (number <= flow->last || !is_wanted(flow, event->record.code, extra->topic)) {
        flow->owed = number <= flow->last ? 0 : flow->owed + missed;
        return RAW_TOOK;
    }
    if (number >> 62 != 0 || number == 0) /* an event that can be none would end the link */
        return RAW_LOST;
    if (!flow->begun || flow->sent_count == SENT_MAX ||
        (flow->under_way > 0 && flow->under_way + size > WINDOW)) {
        raw->full = true;
        return RAW_FULL;
    }
    if (extra->deadline != INT64_MAX) {
        int64_t now = hosts_now(flow->host->hosts);

        if (extra->deadline <= now) {
            flow->chain = number; /* too late: it is missed, over there */
            flow->owed += missed + 1;
            return RAW_TOOK;
        }
        words.left = extra->deadline - now;
    }
    behind = flow->last > flow->chain ? flow->last : flow->chain;
    words.number = number;
    words.passed = number - 1 - behind > UINT32_MAX ? UINT32_MAX : (uint32_t) (number - 1 - behind);
    words.code = event->record.code;
    words.flags = event->record.flags & FRAME_FLAGS;
    words.extra = event->record.extra;
    words.time = event->record.time_ns;
    result = send_event(flow, rx, event, &words);
    if (result == RAW_TOOK)
        note_sent(flow, rx, size);
    return result;
}

static void on_rest(struct raw *raw) {
    struct outflow *flow = (struct outflow *) raw;
    uint64_t pos, number;

    if (!flush(flow) || flow->sent_count > 0)
        return;
    /* What nobody wants is done with; what was missed is found again by who goes on from there. */
    if (flow->begun && raw_position(flow->subscription, &pos, &number) && number != TOPIC_UNKNOWN &&
        number > flow->chain)
        raw_done(flow->subscription, pos, number - (flow->owed < number ? flow->owed : number));
}

static void on_gone(struct raw *raw) {
    struct outflow *flow = (struct outflow *) raw;

    flow->gone = hosts_number_of(flow->node) != 0;
    flow->ring = 0;
    due(flow, 0);
}

/* ---- the subscription ------------------------------------------------------------------------ */

static void on_end(tram_subscription *subscription, const struct tram_view *view, int status,
                   void *arg) {
    struct outflow *flow = arg;

    (void) subscription;
    (void) view;
    log_line(LEVEL_INFO, "events for host %s are cut off: %s", flow->host->name,
             strerror(-status));
    flow->cut = status == -EPIPE;
    flow->ring = 0;
    flow->subscription = tram_subscription_free(flow->subscription);
    due(flow, flow->cut ? 0 : LOOK_AGAIN);
}

static void name_of(const struct host *host, char text[DURABLE_SIZE]) {
    (void) snprintf(text, DURABLE_SIZE, ".relay.%u", host->number);
}

static void subscribe(struct outflow *flow) {
    tram_worker *worker = flow->host->hosts->daemon->worker;
    char name[DURABLE_SIZE];
    int rc = 0;

    if (!flow->client)
        rc = client_new_at(worker, flow->node, flow->port, NULL, &flow->client);
    name_of(flow->host, name);
    if (rc == 0)
        rc = raw_subscribe(flow->client,
                           flow->block && !flow->cut ? TRAM_DELIVER_BLOCK : TRAM_DELIVER_LATEST_ALL,
                           name, &flow->raw, on_end, flow, &flow->subscription);
    flow->raw.full = !flow->begun;
    if (rc < 0)
        due(flow, AGAIN);
}

static void outflow_free(struct outflow *flow) {
    struct outflow **link = &flow->host->hosts->relays.out;

    while (*link != flow)
        link = &(*link)->next;
    *link = flow->next;
    flow->subscription = tram_subscription_forget(flow->subscription);
    flow->client = tram_client_free(flow->client);
    free(flow->wishes);
    free(flow);
}

/* ---- what that host says --------------------------------------------------------------------- */

static struct outflow *find(struct host *host, tram_id node, uint32_t port, unsigned *ret_count) {
    unsigned count = 0;

    for (struct outflow *flow = host->hosts->relays.out; flow; flow = flow->next) {
        if (flow->host != host)
            continue;
        if (flow->node == node && flow->port == port)
            return flow;
        count++;
    }
    if (ret_count)
        *ret_count = count;
    return NULL;
}

static bool is_here(struct hosts *hosts, tram_id node) {
    uint32_t number = hosts_number_of(node);
    uint64_t epoch;

    return (number ? number : placing_of(hosts, node, &epoch)) == hosts->self.host;
}

static struct outflow *outflow_new(struct host *host, tram_id node, uint32_t port) {
    struct outflow *flow = calloc(1, sizeof(*flow));

    if (!flow)
        return NULL;
    flow->raw = (struct raw){
        .on_ring = on_ring, .on_event = on_event, .on_rest = on_rest, .on_gone = on_gone};
    flow->host = host;
    flow->node = node;
    flow->port = port;
    flow->due = NEVER;
    flow->next = host->hosts->relays.out;
    host->hosts->relays.out = flow;
    return flow;
}

static int take_wishes(struct outflow *flow, const Tram__Hosts__Relay *relay) {
    struct wish *wishes = calloc(relay->n_wishes, sizeof(*wishes));

    if (!wishes)
        return -ENOMEM;
    for (size_t i = 0; i < relay->n_wishes; i++) {
        const Tram__Hosts__Wish *words = relay->wishes[i];

        wishes[i].event = words->event;
        if (words->topic.len > 0)
            memcpy(wishes[i].topic, words->topic.data, words->topic.len);
    }
    free(flow->wishes);
    flow->wishes = wishes;
    flow->count = relay->n_wishes;
    return 0;
}

int outflow_take(struct host *host, const Tram__Hosts__Relay *relay) {
    unsigned count = 0;
    struct outflow *flow = find(host, relay->node, relay->port, &count);
    bool block;

    if (relay->n_wishes == 0) {
        if (flow)
            outflow_free(flow);
        return 0;
    }
    if (!is_here(host->hosts, relay->node) || (!flow && count >= OUTFLOWS_MAX))
        return 0; /* it asks again */
    if (!flow)
        flow = outflow_new(host, relay->node, relay->port);
    if (!flow || take_wishes(flow, relay) < 0)
        return -ENOMEM;
    block = flow->block && !flow->cut;
    flow->serial = relay->serial;
    flow->block = relay->block;
    flow->cut = false;
    if (flow->subscription && block != flow->block) {
        flow->subscription = tram_subscription_free(flow->subscription); /* it goes on */
        flow->ring = 0;
    }
    if (relay->begin || !flow->begun) {
        flow->begun = true;
        flow->there = relay->ring;
        flow->number = relay->number;
        restart(flow);
    }
    if (!flow->subscription)
        subscribe(flow);
    if (flow->ring && flow->begun)
        say_ring(flow, false);
    return 0;
}

void outflow_had(struct host *host, const Tram__Hosts__Had *had) {
    struct outflow *flow = find(host, had->node, had->port, NULL);
    struct sent *last = NULL;

    if (!flow || had->ring != flow->ring || !flow->subscription)
        return;
    flow->there = had->ring;
    flow->number = had->number;
    while (flow->sent_count > 0 && flow->sent[flow->first].number <= had->number) {
        last = &flow->sent[flow->first];
        flow->under_way -= last->size;
        flow->first = (flow->first + 1) % SENT_MAX;
        flow->sent_count--;
    }
    flow->raw.busy = flow->sent_count > 0;
    if (last)
        raw_done(flow->subscription, last->pos, last->number);
    flow->raw.full = !flow->begun;
}

/* ---- what an earlier daemon left ------------------------------------------------------------- */

struct left {
    struct host *host;
    char suffix[DURABLE_SIZE + 2];
};

/* "1.1.2.1-9f3a0c11@=.relay.7": is there still a use for it? */
static int look_left(void *context, const char *name, uint64_t inode) {
    struct left *left = context;
    size_t length = strcspn(name, "-"), full = strlen(name), suffix = strlen(left->suffix);
    char id[TRAM_ID_TEXT];
    uint32_t port;
    tram_id node;

    (void) inode;
    if (full <= suffix || strcmp(name + full - suffix, left->suffix) != 0 ||
        length >= sizeof(id) || sscanf(name + length, "-%8x@", &port) != 1)
        return 0;
    memcpy(id, name, length);
    id[length] = '\0';
    if (tram_id_parse(id, &node) < 0 || find(left->host, node, port, NULL))
        return 0;
    (void) sys_unlink(left->host->hosts->relays.dir, name); /* gone already is as good */
    return 0;
}

void outflows_told(struct host *host) {
    struct left left = {.host = host};

    (void) snprintf(left.suffix, sizeof(left.suffix), "@=.relay.%u", host->number);
    for (struct outflow *flow = host->hosts->relays.out, *next; flow; flow = next) {
        next = flow->next;
        if (flow->host == host && !flow->begun)
            outflow_free(flow);
    }
    if (host->hosts->relays.dir >= 0)
        (void) sys_dir_each(host->hosts->relays.dir, look_left, &left); /* the next time, then */
}

/* ---- time ------------------------------------------------------------------------------------ */

void outflows_down(struct host *host) {
    for (struct outflow *flow = host->hosts->relays.out; flow; flow = flow->next)
        if (flow->host == host) {
            flow->begun = false;
            forget_sent(flow);
            flow->raw.full = true;
        }
}

void outflows_forget(struct host *host) {
    for (struct outflow *flow = host->hosts->relays.out, *next; flow; flow = next) {
        next = flow->next;
        if (flow->host == host)
            outflow_free(flow);
    }
}

/* True: it is gone. */
static bool outflow_time(struct outflow *flow) {
    flow->due = NEVER;
    if (flow->gone) {
        say_ring(flow, true);
        if (flow->due == NEVER || !peer_is_up(flow->host)) {
            outflow_free(flow);
            return true;
        }
        return false;
    }
    if (!flow->subscription)
        subscribe(flow);
    if (!flow->begun && peer_is_up(flow->host)) { /* something could not be said */
        flow->begun = true;
        restart(flow);
        if (flow->ring)
            say_ring(flow, false);
    }
    return false;
}

int64_t outflows_time(struct hosts *hosts, int64_t now) {
    int64_t next = NEVER;

    for (struct outflow *flow = hosts->relays.out, *after; flow; flow = after) {
        after = flow->next;
        if (flow->due <= now && outflow_time(flow))
            continue;
        if (flow->due < next)
            next = flow->due;
    }
    return next;
}

void outflows_stop(struct hosts *hosts) {
    while (hosts->relays.out) {
        struct outflow *flow = hosts->relays.out;

        hosts->relays.out = flow->next;
        flow->subscription = tram_subscription_free(flow->subscription); /* the next one goes on */
        flow->client = tram_client_free(flow->client);
        free(flow->wishes);
        free(flow);
    }
}
