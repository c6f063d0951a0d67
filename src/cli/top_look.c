/* SPDX-License-Identifier: MIT
 *
 * tram top: what a look at the bus tells, together with the looks before.
 *
 * A channel is the same one as before if it has the same ends and the same random id; one that was
 * removed and made anew starts from nothing, which is also true. So no rate is ever negative, and
 * none counts what was accepted before we looked.
 *
 * How long the oldest message waits is told by its time stamp. Where senders do not stamp, marks
 * tell that it waits at least since then: a mark is a time and the tail at that time, and as long
 * as the receiver's committed position is below that tail, the oldest message was in the ring
 * already. A few marks a channel, the younger ones dropped as needed, so that a receiver which is a
 * minute behind is shown as such although its position moves all the time.
 */
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "cli/top.h"

/* ---- ages ----------------------------------------------------------------------------------- */

static void marks_drop(struct top_past *past, unsigned at) {
    past->mark_count--;
    for (unsigned i = at; i < past->mark_count; i++)
        past->marks[i] = past->marks[i + 1];
}

/* Note where the tail is now. If there is no room, the mark goes that is nearest to the one before
 * it: the oldest stays as long as it says something. */
static void marks_add(struct top_past *past, uint64_t time_ns, uint64_t tail) {
    unsigned drop = 1;

    if (past->mark_count == TOP_MARKS) {
        for (unsigned i = 2; i < TOP_MARKS; i++)
            if (past->marks[i].time_ns - past->marks[i - 1].time_ns <
                past->marks[drop].time_ns - past->marks[drop - 1].time_ns)
                drop = i;
        marks_drop(past, drop);
    }
    past->marks[past->mark_count++] = (struct top_mark){ time_ns, tail };
}

static struct top_age age_of(const struct observe_channel *channel, struct top_past *past,
                             uint64_t time_ns, uint64_t wall_ns) {
    uint64_t committed = channel->position - channel->waiting_bytes;
    struct top_age age = { 0 };

    while (past->mark_count > 0 && past->marks[0].tail <= committed)
        marks_drop(past, 0);
    if (channel->waiting == 0)
        return age;
    if (channel->oldest_ns != 0) {
        age.known = true;
        age.ns = wall_ns > channel->oldest_ns ? wall_ns - channel->oldest_ns : 0;
    } else if (past->mark_count > 0) {
        age.known = age.at_least = true;
        age.ns = time_ns - past->marks[0].time_ns;
    }
    if (past->mark_count == 0 || past->marks[past->mark_count - 1].tail < channel->position)
        marks_add(past, time_ns, channel->position);
    return age;
}

static void age_max(struct top_age *sum, const struct top_age *age) {
    if (age->known && (!sum->known || age->ns > sum->ns))
        *sum = *age;
}

/* ---- a look --------------------------------------------------------------------------------- */

static bool alarming(enum observe_state state) {
    return state >= OBSERVE_FULL;
}

/* The row of a channel. `was`: what is known of it from the look before, or NULL. */
static struct top_row row_of(const struct top *top, const struct observe_channel *channel,
                             const struct top_past *was, struct top_past *past) {
    struct top_row row = {
        .from = channel->from,
        .to = channel->to,
        .state = observe_state_name(channel->state),
        .note = channel->note,
        .alarm = alarming(channel->state),
        .waiting = channel->waiting,
        .waiting_bytes = channel->waiting_bytes,
        .aside = channel->aside,
        .memory = channel->memory,
    };
    static const struct top_past none = { .sound = true };
    double seconds = (double) top->interval_ns / 1e9;
    bool known = was && was->id == channel->id;
    bool back = known && (was->accepted > channel->accepted || was->consumed > channel->consumed ||
                          was->position > channel->position);
    const struct top_past *base = known ? was : &none; /* made since: all of it is new */

    *past = known && !back ? *was : none;
    row.rated = top->interval_ns > 0 && channel->state != OBSERVE_DAMAGED && !back &&
                (!was || was->sound);
    if (row.rated) {
        row.rate = (double) (channel->accepted - base->accepted) / seconds;
        row.out_rate = (double) (channel->consumed - base->consumed) / seconds;
        row.bytes_rate = (double) (channel->position - base->position) / seconds;
    }
    past->from = channel->from;
    past->to = channel->to;
    past->id = channel->id;
    past->accepted = channel->accepted;
    past->consumed = channel->consumed;
    past->position = channel->position;
    past->sound = channel->state != OBSERVE_DAMAGED;
    row.age = age_of(channel, past, top->time_ns, top->wall_ns);
    return row;
}

static void total_add(struct top_total *total, const struct top_row *row) {
    total->rate += row->rate;
    total->bytes_rate += row->bytes_rate;
    total->rated |= row->rated;
    total->waiting += row->waiting;
    total->waiting_bytes += row->waiting_bytes;
    total->aside += row->aside;
    total->memory += row->memory;
    age_max(&total->age, &row->age);
}

static uint32_t host_of(const uint32_t *hosts, size_t at) {
    return hosts ? hosts[at] : 0;
}

static const char *host_name(const struct top *top, uint32_t number) {
    for (size_t i = 0; i < top->host_count; i++)
        if (top->hosts[i].number == number)
            return top->hosts[i].name;
    return "";
}

/* Is what we know of a channel that lies before this one, in the order of the lists, or its own? */
static bool is_before(const struct top_past *past, uint32_t host,
                      const struct observe_channel *channel) {
    if (past->host != host)
        return past->host < host;
    return past->to < channel->to || (past->to == channel->to && past->from < channel->from);
}

/* Both lists are sorted by host, receiver and sender: go along them together. */
static void compare(struct top *now, const struct top *before) {
    size_t old = 0;

    for (size_t i = 0; i < now->channel_count; i++) {
        const struct observe_channel *channel = &now->channels[i];
        uint32_t host = host_of(now->channel_hosts, i);
        const struct top_past *was = NULL;

        while (old < before->channel_count && is_before(&before->past[old], host, channel))
            old++;
        if (old < before->channel_count && before->past[old].host == host &&
            before->past[old].to == channel->to && before->past[old].from == channel->from)
            was = &before->past[old];
        now->channel_rows[i] = row_of(now, channel, was, &now->past[i]);
        now->past[i].host = host;
        now->channel_rows[i].host = host_name(now, host);
        total_add(&now->total, &now->channel_rows[i]);
        now->total.states[channel->state]++;
    }
    now->total.channels = now->channel_count;
    for (size_t i = 0; i < now->node_count; i++) {
        now->total.up += now->nodes[i].up;
        now->total.never += !now->nodes[i].up && now->nodes[i].opens == 0;
    }
    now->total.down = now->node_count - now->total.up - now->total.never;
    now->total.rated |= now->interval_ns > 0;
}

static int read_bus(struct top *top, const char *path) {
    struct observe *observe;
    int rc = observe_open(path, &observe); /* each time: it may be another one by now */

    if (rc < 0)
        return rc;
    rc = observe_nodes(observe, &top->nodes, &top->node_count);
    if (rc == 0)
        rc = observe_channels(observe, 0, &top->channels, &top->channel_count);
    (void) observe_close(observe);
    return rc;
}

/* Of this process, so far. */
uint64_t top_processor_time(void) {
    struct timespec used;

    (void) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used); /* cannot fail with these arguments */
    return (uint64_t) used.tv_sec * 1000000000 + (uint64_t) used.tv_nsec;
}

void top_begin(struct top *now, const struct top *before) {
    struct timespec wall;

    *now = (struct top){ .time_ns = cli_now() };
    (void) clock_gettime(CLOCK_REALTIME, &wall); /* cannot fail with these arguments */
    now->wall_ns = (uint64_t) wall.tv_sec * 1000000000 + (uint64_t) wall.tv_nsec;
    now->interval_ns = before->time_ns > 0 ? now->time_ns - before->time_ns : 0;
}

int top_end(struct top *top, struct top *now, uint64_t cost_ns) {
    size_t room = now->channel_count + 1;

    now->past = calloc(room, sizeof(*now->past));
    now->channel_rows = calloc(room, sizeof(*now->channel_rows));
    if (!now->past || !now->channel_rows) {
        top_free(now);
        return -ENOMEM;
    }
    compare(now, top);
    now->cost_ns = cost_ns;
    top_free(top);
    *top = *now;
    return 0;
}

int top_look(struct top *top, const char *path) {
    uint64_t before = top_processor_time();
    struct top now;
    int rc;

    top_begin(&now, top);
    rc = read_bus(&now, path);
    if (rc < 0) {
        top_free(&now);
        return rc;
    }
    return top_end(top, &now, top_processor_time() - before);
}

void top_free(struct top *top) {
    free(top->nodes);
    free(top->channels);
    free(top->hosts);
    free(top->node_hosts);
    free(top->channel_hosts);
    free(top->past);
    free(top->channel_rows);
    free(top->rows);
    *top = (struct top){ 0 };
}

/* ---- rows ----------------------------------------------------------------------------------- */

static const struct top_view *order; /* of the sort at hand: qsort(3) has no argument for it */

static int descending(double a, double b) {
    return a > b ? -1 : a < b;
}

static int by_view(const void *left, const void *right) {
    const struct top_row *a = left, *b = right;
    int result = 0;

    switch (order->sort) {
    case TOP_RATE:
        result = order->nodes ? descending(a->rate + a->out_rate, b->rate + b->out_rate)
                              : descending(a->rate, b->rate);
        break;
    case TOP_BACKLOG:
        result = descending((double) a->waiting, (double) b->waiting);
        break;
    case TOP_AGE:
        result = descending(a->age.known ? (double) a->age.ns : -1,
                            b->age.known ? (double) b->age.ns : -1);
        break;
    case TOP_MEMORY:
        result = descending((double) a->memory, (double) b->memory);
        break;
    case TOP_FROM:
        result = a->from < b->from ? -1 : a->from > b->from;
        break;
    case TOP_HOST:
        result = strcmp(a->host, b->host);
        break;
    case TOP_TO:
        break;
    }
    if (result == 0)
        result = a->to < b->to ? -1 : a->to > b->to;
    if (result == 0)
        result = a->from < b->from ? -1 : a->from > b->from;
    return order->reverse ? -result : result;
}

static bool wanted(const struct top_view *view, const struct top_row *row) {
    char from[TRAM_ID_TEXT], to[TRAM_ID_TEXT];

    if (view->active && row->rate <= 0 && row->out_rate <= 0 && row->waiting == 0 && !row->alarm)
        return false;
    if (view->filter[0] == '\0')
        return true;
    return fnmatch(view->filter, tram_id_format(row->from, from), 0) == 0 ||
           (row->to != 0 && fnmatch(view->filter, tram_id_format(row->to, to), 0) == 0) ||
           fnmatch(view->filter, row->state, 0) == 0 ||
           (*row->host && fnmatch(view->filter, row->host, 0) == 0) ||
           (row->program && fnmatch(view->filter, row->program, 0) == 0);
}

static const char *node_state(const struct observe_node *node) {
    return node->up ? "up" : node->opens > 0 ? "down" : "never";
}

/* The row of this node; they are sorted by host and ID. */
static struct top_row *node_row(struct top_row *rows, const struct top *top, uint32_t host,
                                tram_id id) {
    size_t low = 0, high = top->node_count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        uint32_t its = host_of(top->node_hosts, middle);

        if (its < host || (its == host && top->nodes[middle].id < id))
            low = middle + 1;
        else
            high = middle;
    }
    return low < top->node_count && top->nodes[low].id == id &&
                   host_of(top->node_hosts, low) == host
               ? &rows[low] : NULL;
}

/* What waits for a node, and what is its: the channels to it. What it sends is a rate. */
static void node_rows(const struct top *top, struct top_row *rows) {
    for (size_t i = 0; i < top->node_count; i++) {
        const struct observe_node *node = &top->nodes[i];

        rows[i] = (struct top_row){
            .host = host_name(top, host_of(top->node_hosts, i)),
            .from = node->id,
            .state = node_state(node),
            .program = node->program,
            .note = node->note,
            .pid = node->up ? node->pid : 0,
            .alarm = node->note[0] != '\0',
            .rated = top->interval_ns > 0,
        };
    }
    for (size_t i = 0; i < top->channel_count; i++) {
        const struct top_row *channel = &top->channel_rows[i];
        uint32_t host = host_of(top->channel_hosts, i);
        struct top_row *to = node_row(rows, top, host, channel->to);
        struct top_row *from = node_row(rows, top, host, channel->from);

        if (from)
            from->out_rate += channel->rate;
        if (!to)
            continue;
        to->rate += channel->rate;
        to->bytes_rate += channel->bytes_rate;
        to->waiting += channel->waiting;
        to->waiting_bytes += channel->waiting_bytes;
        to->aside += channel->aside;
        to->memory += channel->memory;
        to->alarm |= channel->alarm;
        age_max(&to->age, &channel->age);
    }
}

int top_arrange(struct top *top, const struct top_view *view) {
    size_t count = view->nodes ? top->node_count : top->channel_count;
    struct top_row *rows = calloc(count + 1, sizeof(*rows));
    size_t kept = 0;

    if (!rows)
        return -ENOMEM;
    if (view->nodes)
        node_rows(top, rows);
    else
        for (size_t i = 0; i < count; i++)
            rows[i] = top->channel_rows[i];
    for (size_t i = 0; i < count; i++)
        if (wanted(view, &rows[i]))
            rows[kept++] = rows[i];
    order = view;
    if (kept > 1)
        qsort(rows, kept, sizeof(*rows), by_view);
    free(top->rows);
    top->rows = rows;
    top->row_count = kept;
    return 0;
}
