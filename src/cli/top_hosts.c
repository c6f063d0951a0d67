/* SPDX-License-Identifier: MIT */
#include "cli/top_hosts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/ask.h"

#define TIMEOUT_NS INT64_C(5000000000)

typedef Tram__Control__Sample sample_words;

/* A look as it comes in: rows of one host may come in several frames, and hosts in any order. */
struct gather {
    struct top *now;
    size_t channel_room, node_room;
    bool failed; /* no memory */
};

/* Which row belongs where. */
struct at {
    uint32_t host;
    tram_id to, from; /* of a node: its ID, and 0 */
    size_t at;
};

static struct top_host *host_get(struct gather *gather, const sample_words *sample) {
    struct top *now = gather->now;
    struct top_host *more;

    for (size_t i = 0; i < now->host_count; i++)
        if (now->hosts[i].number == sample->number)
            return &now->hosts[i];
    more = realloc(now->hosts, (now->host_count + 1) * sizeof(*more));
    if (!more)
        return NULL;
    now->hosts = more;
    more += now->host_count++;
    *more = (struct top_host){ .number = sample->number };
    (void) snprintf(more->name, sizeof(more->name), "%s", sample->host);
    return more;
}

/* Room for so many more in a list and in that of their hosts: the list, wherever it is now. */
static void *grow(struct gather *gather, void *list, uint32_t **hosts, size_t size, size_t wanted,
                  size_t *room) {
    size_t more = *room;
    uint32_t *numbers;
    void *items;

    while (more < wanted)
        more = 2 * more + 64;
    if (more == *room)
        return list;
    items = realloc(list, more * size);
    numbers = realloc(*hosts, more * sizeof(*numbers));
    *hosts = numbers ? numbers : *hosts;
    if (items && numbers)
        *room = more;
    else
        gather->failed = true;
    return items ? items : list;
}

static struct observe_channel channel_of(const Tram__Control__Sample__Channel *words,
                                         uint64_t wall_ns) {
    struct observe_channel channel = {
        .from = words->from,
        .to = words->to,
        .state = words->state <= OBSERVE_DAMAGED ? (enum observe_state) words->state
                                                 : OBSERVE_DAMAGED,
        .id = words->stream,
        .accepted = words->accepted,
        .consumed = words->consumed,
        .position = words->position,
        .waiting = words->waiting,
        .waiting_bytes = words->bytes,
        .oldest_ns = words->age_ns > 0 && words->age_ns < wall_ns ? wall_ns - words->age_ns : 0,
        .aside = words->aside,
        .memory = words->memory,
    };

    (void) snprintf(channel.note, sizeof(channel.note), "%s", words->note);
    return channel;
}

static struct observe_node node_of(const Tram__Control__Sample__Node *words) {
    struct observe_node node = {
        .id = words->id,
        .up = words->up,
        .pid = words->pid,
        .opens = words->opens,
    };

    (void) snprintf(node.program, sizeof(node.program), "%s", words->program);
    (void) snprintf(node.note, sizeof(node.note), "%s", words->note);
    return node;
}

static void on_sample(void *arg, const ask_frame *frame) {
    const sample_words *sample = frame->sample;
    struct gather *gather = arg;
    struct top *now = gather->now;
    struct top_host *host;

    if (frame->kind_case != TRAM__CONTROL__FRAME__KIND_SAMPLE)
        return;
    host = host_get(gather, sample);
    gather->failed |= !host;
    now->channels = grow(gather, now->channels, &now->channel_hosts, sizeof(*now->channels),
                         now->channel_count + sample->n_channels, &gather->channel_room);
    now->nodes = grow(gather, now->nodes, &now->node_hosts, sizeof(*now->nodes),
                      now->node_count + sample->n_nodes, &gather->node_room);
    if (gather->failed)
        return;
    (void) snprintf(host->silent, sizeof(host->silent), "%s", sample->silent);
    host->left_channels = sample->left_channels;
    host->left_nodes = sample->left_nodes;
    for (size_t i = 0; i < sample->n_channels; i++) {
        now->channel_hosts[now->channel_count] = sample->number;
        now->channels[now->channel_count++] = channel_of(sample->channels[i], now->wall_ns);
    }
    for (size_t i = 0; i < sample->n_nodes; i++) {
        now->node_hosts[now->node_count] = sample->number;
        now->nodes[now->node_count++] = node_of(sample->nodes[i]);
    }
}

/* ---- in order -------------------------------------------------------------------------------- */

static int by_place(const void *left, const void *right) {
    const struct at *a = left, *b = right;

    if (a->host != b->host)
        return a->host < b->host ? -1 : 1;
    if (a->to != b->to)
        return a->to < b->to ? -1 : 1;
    return a->from < b->from ? -1 : a->from > b->from;
}

/* A list, and that of its hosts, in the order of `order`. NULL: no memory; nothing is changed. */
static void *reorder(void *list, uint32_t *hosts, size_t size, struct at *order, size_t count) {
    char *sorted = malloc(count * size + 1), *from = list;

    if (!sorted)
        return NULL;
    if (count > 1)
        qsort(order, count, sizeof(*order), by_place);
    for (size_t i = 0; i < count; i++) {
        memcpy(sorted + i * size, from + order[i].at * size, size);
        hosts[i] = order[i].host;
    }
    free(list);
    return sorted;
}

static int sort(struct top *now) {
    size_t most = now->channel_count > now->node_count ? now->channel_count : now->node_count;
    struct at *order = calloc(most + 1, sizeof(*order));
    void *sorted;

    for (size_t i = 0; order && i < now->channel_count; i++)
        order[i] = (struct at){ now->channel_hosts[i], now->channels[i].to, now->channels[i].from,
                                i };
    sorted = order ? reorder(now->channels, now->channel_hosts, sizeof(*now->channels), order,
                             now->channel_count) : NULL;
    now->channels = sorted ? sorted : now->channels;
    for (size_t i = 0; sorted && i < now->node_count; i++)
        order[i] = (struct at){ now->node_hosts[i], now->nodes[i].id, 0, i };
    sorted = sorted ? reorder(now->nodes, now->node_hosts, sizeof(*now->nodes), order,
                              now->node_count) : NULL;
    now->nodes = sorted ? sorted : now->nodes;
    free(order);
    return sorted ? 0 : -ENOMEM;
}

static struct ask ask = { .fd = -1 }; /* stays, from look to look */

int top_look_hosts(struct top *top) {
    uint64_t before = top_processor_time();
    struct gather gather = { 0 };
    enum cli_exit code = CLI_OK;
    struct top now;
    int rc = 0;

    if (ask.fd < 0 && !ask_open(&ask, &code))
        return -ENOENT;
    top_begin(&now, top);
    gather.now = &now;
    code = ask_now(&ask, ASK_SAMPLES, 0, NULL, TIMEOUT_NS, on_sample, &gather);
    if (code != CLI_OK)
        rc = code == CLI_NOT_FOUND ? -ENOENT : code == CLI_INTERRUPTED ? -EINTR : -EIO;
    else if (gather.failed)
        rc = -ENOMEM;
    else
        rc = sort(&now);
    if (rc < 0) {
        top_free(&now);
        return rc;
    }
    return top_end(top, &now, top_processor_time() - before);
}

void top_hosts_end(void) {
    ask_close(&ask);
}
