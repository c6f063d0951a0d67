/* SPDX-License-Identifier: MIT
 *
 * Channels as they stand: counts, positions, memory, one word for the state.
 *
 * The receiver's words are read before the sender's: what was consumed by then had been accepted
 * before, so that a busy channel never seems to have consumed more than it accepted; and when the
 * files say so, they are damaged.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "observe/files.h"
#include "sys/cleanup.h"

/* A growing ring takes files away while we open them. */
#define LIST_TRIES 8

const char *observe_state_name(enum observe_state state) {
    switch (state) {
    case OBSERVE_IDLE:
        return "idle";
    case OBSERVE_SLEEPING:
        return "sleeping";
    case OBSERVE_FLOWING:
        return "flowing";
    case OBSERVE_WAITING:
        return "waiting";
    case OBSERVE_FULL:
        return "full";
    case OBSERVE_CLOSED:
        return "closed";
    case OBSERVE_BROKEN:
        return "broken";
    case OBSERVE_DAMAGED:
        return "damaged";
    }
    return "?";
}

static void damaged(struct observe_channel *channel, const char *note) {
    channel->state = OBSERVE_DAMAGED;
    if (channel->note[0] == '\0')
        (void) snprintf(channel->note, sizeof(channel->note), "%s", note);
}

/* Finding the oldest message that waits. */
struct oldest {
    uint64_t position; /* where it is, or the link before it */
    bool found;
    struct {
        struct record record;
        struct extension extension; /* if the record says so */
    } copy;
};

/* Copy it, if it lies in this generation. */
static void oldest_look(const struct stream_view *stream, struct oldest *oldest) {
    const struct record *record = &oldest->copy.record;
    uint64_t size = stream->tail - oldest->position;

    if (oldest->found || oldest->position < stream->base || oldest->position >= stream->tail ||
        size < sizeof(*record))
        return;
    size = size < sizeof(oldest->copy) ? size : sizeof(oldest->copy);
    if (look_stream_read(stream, oldest->position, &oldest->copy, size) < 0)
        return;
    if (record->flags == RECORD_LINK)
        oldest->position += sizeof(*record); /* it is the first of the next one */
    else
        oldest->found = (record->flags & RECORD_KINDS & ~RECORD_CHECKED) == RECORD_WIDE &&
                        record->size >= sizeof(oldest->copy.extension) &&
                        size == sizeof(oldest->copy);
}

/* When it was sent; 0: nobody knows. The copy is whole if it was not freed meanwhile. */
static uint64_t oldest_time(const struct oldest *oldest, int head_file,
                            const struct observe_channel *channel) {
    const struct record *record = &oldest->copy.record;

    if (channel->waiting == 0 || !oldest->found || record->from != channel->from ||
        record->seq != channel->consumed + 1 || look_head_freed(head_file, oldest->position))
        return 0;
    return oldest->copy.extension.time_ns;
}

/* Take in one generation; they come in order. */
static int channel_add_stream(int dir, const struct file_name *name,
                              struct observe_channel *channel, struct oldest *oldest,
                              bool *ret_wanted) {
    struct stream_view stream;
    char note[OBSERVE_NOTE];
    int rc = look_stream_open(dir, name, channel->to, &stream, note);

    if (rc == -ENOENT)
        return rc;
    if (rc < 0) {
        channel->other_layout |= rc == -EPROTO;
        damaged(channel, note);
        return 0;
    }
    oldest_look(&stream, oldest);
    look_stream_close(&stream);
    if (channel->streams == 0)
        channel->made_ns = stream.made_ns;
    if (channel->id != 0 && channel->id != stream.id)
        damaged(channel, "its files belong to different streams");
    if (stream.base < channel->position || stream.base_seq < channel->accepted)
        damaged(channel, "its streams do not follow each other");
    channel->id = stream.id;
    channel->streams++;
    channel->accepted = stream.accepted;
    channel->position = stream.tail;
    channel->lost = stream.lost;
    channel->capacity = stream.capacity;
    channel->memory += stream.memory;
    *ret_wanted = stream.wanted;
    return 0;
}

static void channel_judge(struct observe_channel *channel, const struct head_view *head,
                          const struct observe_node *receiver, bool wanted) {
    if (head->consumed > channel->accepted || head->committed > channel->position) {
        damaged(channel, "more was consumed than accepted");
    } else {
        channel->waiting = channel->accepted - head->consumed;
        channel->waiting_bytes = channel->position - head->committed;
    }
    if (head->armed & ARMED_FINAL) /* what is there was not accepted, or is counted as lost */
        channel->waiting = channel->waiting_bytes = 0;
    if (channel->state == OBSERVE_DAMAGED)
        return;
    if (head->armed & ARMED_BROKEN)
        channel->state = OBSERVE_BROKEN;
    else if (head->armed & ARMED_REMOVED)
        channel->state = OBSERVE_CLOSED;
    else if (channel->waiting > 0 && wanted)
        channel->state = OBSERVE_FULL;
    else if (channel->waiting > 0)
        channel->state = receiver->up ? OBSERVE_FLOWING : OBSERVE_WAITING;
    else if (receiver->up && receiver->asleep && (head->armed & ARMED_ON))
        channel->state = OBSERVE_SLEEPING;
    else
        channel->state = OBSERVE_IDLE;
}

/* Streams were seen, and no head. It is made before them and removed after them, so look again: it
 * is there, or the last stream is gone (-ENOENT: the listing is out of date), or it is missing. */
static int headless(int dir, const struct file_name *names, size_t count,
                    struct observe_channel *channel) {
    char note[OBSERVE_NOTE];
    struct head_view head;
    struct stream_view stream;
    OWNS_FD int file = look_head_open(dir, channel->from, channel->to, &head, note);
    int rc;

    if (file != -ENOENT)
        return -ENOENT; /* made, or changed, since we first looked */
    for (size_t i = 0; i < count; i++) {
        if (names[i].kind != FILE_STREAM)
            continue;
        rc = look_stream_open(dir, &names[i], channel->to, &stream, note);
        if (rc == 0)
            look_stream_close(&stream);
        if (rc == -ENOENT)
            return rc;
    }
    damaged(channel, "the receiver's words (head-…) are missing");
    return 0;
}

/* The channel that these files are. -ENOENT: one of them is gone meanwhile. */
static int channel_look(struct observe *observe, int dir, const struct observe_node *receiver,
                        const struct file_name *names, size_t count,
                        struct observe_channel *ret_channel) {
    struct observe_channel channel = { .from = names->peer, .to = receiver->id };
    struct head_view head = { 0 };
    struct oldest oldest = { 0 };
    char note[OBSERVE_NOTE];
    bool wanted = false;
    OWNS_FD int file = look_head_open(dir, channel.from, channel.to, &head, note);
    int rc = file;

    if (rc < 0 && rc != -ENOENT)
        damaged(&channel, note);
    channel.other_layout = rc == -EPROTO;
    oldest.position = head.committed;
    channel.id = head.id;
    channel.consumed = head.consumed;
    channel.aside_ever = head.aside;
    channel.memory = head.memory;
    for (size_t i = 0; i < count; i++) {
        rc = 0;
        if (names[i].kind == FILE_STREAM)
            rc = channel_add_stream(dir, &names[i], &channel, &oldest, &wanted);
        else if (names[i].kind == FILE_ASIDE)
            channel.aside++;
        else if (names[i].kind == FILE_RETRY)
            channel.retries++;
        if (rc < 0)
            return rc;
    }
    if (wanted) { /* who died while it waited did not say that it no longer does */
        struct observe_node sender;

        wanted = observe_node(observe, channel.from, &sender) == 0 && sender.up;
    }
    if (file == -ENOENT && channel.streams > 0) {
        rc = headless(dir, names, count, &channel);
        if (rc < 0)
            return rc;
    }
    if (channel.streams > 0)
        channel_judge(&channel, &head, receiver, wanted);
    channel.oldest_ns = oldest_time(&oldest, file, &channel);
    channel.aside += channel.retries;
    *ret_channel = channel;
    return 0;
}

struct channel_list {
    struct observe_channel *channels;
    size_t count, room;
};

static int channel_list_room(struct channel_list *list) {
    size_t room = list->room * 2 + 16;
    struct observe_channel *channels;

    if (list->count < list->room)
        return 0;
    channels = realloc(list->channels, room * sizeof(*channels));
    if (!channels)
        return -ENOMEM;
    list->channels = channels;
    list->room = room;
    return 0;
}

/* The channels of one directory listing. -ENOENT: it is out of date. */
static int channels_of_names(struct observe *observe, int dir, const struct observe_node *receiver,
                             const struct file_name *names, size_t count,
                             struct channel_list *list) {
    for (size_t first = 0, end; first < count; first = end) {
        int rc;

        for (end = first; end < count && names[end].peer == names[first].peer; end++)
            continue;
        rc = channel_list_room(list);
        if (rc == 0)
            rc = channel_look(observe, dir, receiver, names + first, end - first,
                              &list->channels[list->count]);
        if (rc < 0)
            return rc;
        list->count++;
    }
    return 0;
}

/* Add the channels to one node; from one peer, if that is not 0. */
static int channels_to(struct observe *observe, tram_id peer, tram_id to,
                       struct channel_list *list) {
    OWNS_FD int dir = look_node_dir(observe, to);
    struct observe_node receiver;
    size_t before = list->count;
    int rc;

    if (dir < 0)
        return dir;
    rc = observe_node(observe, to, &receiver);
    for (int i = 0; rc == 0 && i < LIST_TRIES; i++) {
        OWNS_MEMORY struct file_name *names = NULL;
        size_t count;

        rc = look_names(dir, peer, &names, &count);
        if (rc < 0)
            break;
        rc = channels_of_names(observe, dir, &receiver, names, count, list);
        if (rc != -ENOENT)
            break;
        list->count = before;
        rc = i + 1 < LIST_TRIES ? 0 : -EBUSY;
    }
    return rc;
}

static int channels_of_bus(struct observe *observe, struct channel_list *list) {
    OWNS_MEMORY struct observe_node *nodes = NULL;
    size_t count;
    int rc = observe_nodes(observe, &nodes, &count);

    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = channels_to(observe, 0, nodes[i].id, list);
        if (rc == -ENOENT || rc == -ENOTDIR || rc == -EACCES)
            rc = 0; /* removed meanwhile, or another user's: the node's note says it */
    }
    return rc;
}

int observe_channels(struct observe *observe, tram_id to, struct observe_channel **ret_channels,
                     size_t *ret_count) {
    struct channel_list list = { 0 };
    int rc = to == 0 ? channels_of_bus(observe, &list) : channels_to(observe, 0, to, &list);

    if (rc < 0) {
        free(list.channels);
        return rc;
    }
    *ret_channels = list.channels;
    *ret_count = list.count;
    return 0;
}

int observe_channel(struct observe *observe, tram_id from, tram_id to,
                    struct observe_channel *ret_channel) {
    struct channel_list list = { 0 };
    int rc = channels_to(observe, from, to, &list);

    if (rc == 0 && list.count == 0)
        rc = -ENOENT;
    if (rc == 0)
        *ret_channel = list.channels[0];
    free(list.channels);
    return rc;
}
