/* SPDX-License-Identifier: MIT
 *
 * Reading the records of a channel beside its two ends.
 *
 * Two kinds of records lie in a ring. Those that wait, from the consumer's committed position to
 * the producer's tail, are read forwards. Those kept behind the head have no index: each header
 * says how far back the one before it starts, so that they are found by walking back, and then
 * read forwards as well. Where the walk has no record to start from (nothing waits; a producer
 * began anew and does not know the one before), the one that ends at a known position with a known
 * number is looked for, eight bytes at a time: its number, its length and its sender have to fit.
 *
 * What is overwritten while we read it
 *   The producer writes upwards and never above head + capacity. A record at or above the head
 *   that is read after the record was copied is therefore whole. One below it may have been
 *   overwritten: it counts only if its header is the same before and after. What is lost this way
 *   is counted as missed, and reading goes on at the position that the consumer has by then.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "observe/files.h"
#include "sys/cleanup.h"
#include "sys/file.h"

#define KEPT_MAX (UINT64_C(1) << 20) /* records behind the head that are looked for */
#define SCAN_MAX (UINT64_C(1) << 26) /* bytes that are searched for the starts of some */
#define SCAN_FIRST 4096u             /* at once, at first; then twice as many, up to … */
#define SCAN_STEP 65536u

struct place {
    uint64_t position, seq;
    size_t stream;
};

struct observe_reader {
    int dir, head_file;
    tram_id from, to;
    size_t limit;

    struct stream_view *streams; /* in order */
    size_t stream_count, stream;
    struct head_view head;

    struct place *kept; /* newest first */
    size_t kept_count, kept_room;

    uint64_t position, seq; /* of the next record forwards */
    uint64_t end, end_seq;  /* where that ends, and the last message before it */

    struct file_name *aside;
    size_t aside_count, aside_at;

    uint64_t missed;
    uint64_t scanned; /* bytes, in search of starts */
    void *data;
    char note[OBSERVE_NOTE];
};

const char *observe_where_name(enum observe_where where) {
    switch (where) {
    case OBSERVE_KEPT:
        return "kept";
    case OBSERVE_IN_HAND:
        return "in hand";
    case OBSERVE_QUEUED:
        return "queued";
    case OBSERVE_ASIDE:
        return "aside";
    case OBSERVE_RETRY:
        return "retry";
    }
    return "?";
}

uint64_t observe_missed(const struct observe_reader *reader) {
    return reader->missed;
}

const char *observe_note(const struct observe_reader *reader) {
    return reader->note;
}

struct observe_reader *observe_read_end(struct observe_reader *reader) {
    if (!reader)
        return NULL;
    for (size_t i = 0; i < reader->stream_count; i++)
        look_stream_close(&reader->streams[i]);
    cleanup_fd(&reader->dir);
    cleanup_fd(&reader->head_file);
    free(reader->streams);
    free(reader->kept);
    free(reader->aside);
    free(reader->data);
    free(reader);
    return NULL;
}

static void cleanup_reader(struct observe_reader **reader) {
    (void) observe_read_end(*reader);
}

#define OWNS_READER __attribute__((cleanup(cleanup_reader)))

/* ---- one record ----------------------------------------------------------------------------- */

/* Whether this may be the header of message `seq` with `span` bytes or less. A link carries the
 * number of the message that follows it, and no payload. */
static bool record_fits(const struct observe_reader *reader, const struct record *record,
                        uint64_t seq, uint64_t span) {
    if (record->seq != seq || record->from != reader->from || record_span(record->size) > span)
        return false;
    if (record->flags == RECORD_LINK)
        return record->size == 0;
    if (record->flags & RECORD_KINDS & ~(RECORD_WIDE | RECORD_CHECKED))
        return false;
    return !(record->flags & RECORD_WIDE) || record->size >= sizeof(struct extension);
}

/* Read the header at a position, if one fits there that ends at or before `end`. */
static bool record_get(const struct observe_reader *reader, const struct stream_view *stream,
                       uint64_t position, uint64_t seq, uint64_t end, struct record *ret_record) {
    struct record record;

    if (end - position < sizeof(record) || end - position > stream->capacity)
        return false;
    if (look_stream_read(stream, position, &record, sizeof(record)) < 0)
        return false;
    if (!record_fits(reader, &record, seq, end - position))
        return false;
    *ret_record = record;
    return true;
}

/* ---- what is kept behind the head ----------------------------------------------------------- */

/* The lowest position at which a record may still lie. */
static uint64_t stream_floor(const struct stream_view *stream) {
    uint64_t floor = stream->base;

    if (stream->kept > floor && stream->kept <= stream->tail)
        floor = stream->kept;
    if (stream->tail - floor > stream->capacity)
        floor = stream->tail - stream->capacity;
    return (floor + LAYOUT_ALIGN - 1) & ~(uint64_t) (LAYOUT_ALIGN - 1);
}

/* Search [low, high), read to `bytes`, from above for the record `seq` that ends at `end`. */
static bool scan_step(const struct observe_reader *reader, const uint8_t *bytes, uint64_t low,
                      uint64_t high, uint64_t end, uint64_t seq, uint64_t *ret_position) {
    for (uint64_t at = high; at > low;) {
        struct record record;

        at -= LAYOUT_ALIGN;
        memcpy(&record, bytes + (at - low), sizeof(record));
        if (record_fits(reader, &record, seq, end - at) && record_span(record.size) == end - at) {
            *ret_position = at;
            return true;
        }
    }
    return false;
}

/* Find where the record `seq` starts that ends at `end`. */
static bool scan(struct observe_reader *reader, const struct stream_view *stream, uint64_t end,
                 uint64_t seq, uint64_t *ret_position) {
    uint64_t left = SCAN_MAX - reader->scanned;
    uint64_t step = SCAN_FIRST;
    uint64_t floor = stream_floor(stream);
    OWNS_MEMORY uint8_t *bytes = malloc(SCAN_STEP + sizeof(struct record));
    uint64_t high;

    if (!bytes || end < floor + sizeof(struct record) || end > stream->tail)
        return false;
    if (end - floor > left)
        floor = end - left;
    high = end - sizeof(struct record) + LAYOUT_ALIGN;
    while (high > floor) {
        uint64_t low = high - floor > step ? high - step : floor;
        size_t size = high - low + sizeof(struct record) - LAYOUT_ALIGN;

        if (look_stream_read(stream, low, bytes, size) < 0)
            return false;
        reader->scanned += high - low;
        if (scan_step(reader, bytes, low, high, end, seq, ret_position))
            return true;
        high = low;
        step = step < SCAN_STEP ? 2 * step : SCAN_STEP;
    }
    return false;
}

static int kept_add(struct observe_reader *reader, uint64_t position, uint64_t seq, size_t stream) {
    if (reader->kept_count == reader->kept_room) {
        size_t room = reader->kept_room * 2 + 256;
        struct place *kept = realloc(reader->kept, room * sizeof(*kept));

        if (!kept)
            return -ENOMEM;
        reader->kept = kept;
        reader->kept_room = room;
    }
    reader->kept[reader->kept_count++] = (struct place){ position, seq, stream };
    return 0;
}

/* Walk back in one generation from `end`, before which lie `*seq` messages; `back` is how far
 * the record before starts, or 0 if nobody knows. Leaves in *seq how many lie before what was
 * found. 1: the generation's beginning was reached; 0: something is gone. */
static int walk_back(struct observe_reader *reader, size_t index, uint64_t end, uint64_t back,
                     uint64_t *seq) {
    const struct stream_view *stream = &reader->streams[index];
    uint64_t floor = stream_floor(stream);
    bool last = index + 1 < reader->stream_count && end == stream->tail;

    while (end > stream->base && reader->kept_count < KEPT_MAX) {
        uint64_t number = last ? *seq + 1 : *seq; /* a link is numbered, but not counted */
        uint64_t position = end - back;
        struct record record;

        if (back > end - stream->base || (!last && *seq <= stream->base_seq))
            return 0;
        if (back == 0 && !scan(reader, stream, end, number, &position))
            return 0;
        if (position < floor || !record_get(reader, stream, position, number, end, &record) ||
            record_span(record.size) != end - position)
            return 0;
        if (!last) {
            int rc = kept_add(reader, position, number, index);

            if (rc < 0)
                return rc;
            *seq -= 1;
        }
        last = false;
        back = (uint64_t) record.prev * LAYOUT_ALIGN;
        end = position;
    }
    return end == stream->base && *seq == stream->base_seq;
}

/* Find what is kept before the committed position, over all generations. */
static int kept_find(struct observe_reader *reader) {
    size_t index = reader->stream;
    uint64_t end = reader->position, seq = reader->seq - 1, back = 0;
    struct record record;

    if (end < reader->streams[index].base)
        return 0;
    if (record_get(reader, &reader->streams[index], end, reader->seq, reader->streams[index].tail,
                   &record))
        back = (uint64_t) record.prev * LAYOUT_ALIGN;
    for (;;) {
        int rc = walk_back(reader, index, end, back, &seq);

        if (rc <= 0)
            return rc;
        if (index == 0)
            return 0;
        index--;
        end = reader->streams[index].tail;
        back = 0;
        if (end != reader->streams[index + 1].base)
            return 0;
    }
}

/* ---- opening -------------------------------------------------------------------------------- */

static int streams_open(struct observe_reader *reader) {
    OWNS_MEMORY struct file_name *names = NULL;
    size_t count;
    int rc = look_names(reader->dir, reader->from, &names, &count);

    if (rc < 0)
        return rc;
    if (count == 0)
        return -ENOENT;
    reader->streams = calloc(count, sizeof(*reader->streams));
    if (!reader->streams)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        if (names[i].kind != FILE_STREAM)
            continue;
        rc = look_stream_open(reader->dir, &names[i], reader->to,
                              &reader->streams[reader->stream_count], reader->note);
        if (rc == -ENOENT)
            continue; /* drained and given back since we listed it */
        if (rc < 0)
            return rc;
        reader->stream_count++;
    }
    return 0;
}

/* The generation that holds this position: of two that meet there, the later one. */
static size_t stream_of(const struct observe_reader *reader, uint64_t position) {
    size_t index = reader->stream_count - 1;

    while (index > 0 && reader->streams[index].base > position)
        index--;
    return index;
}

static int head_again(struct observe_reader *reader) {
    if (reader->head_file < 0)
        return 0;
    return look_head(reader->head_file, reader->from, reader->to, &reader->head, reader->note);
}

static int bad(struct observe_reader *reader, const char *text) {
    if (reader->note[0] == '\0')
        (void) snprintf(reader->note, sizeof(reader->note), "%s", text);
    return -EBADMSG;
}

static int reader_start(struct observe_reader *reader) {
    const struct stream_view *newest;

    /* The receiver's words first: see channel.c. */
    int rc;

    reader->head_file =
        look_head_open(reader->dir, reader->from, reader->to, &reader->head, reader->note);
    if (reader->head_file < 0 && reader->head_file != -ENOENT)
        return reader->head_file;
    rc = streams_open(reader);
    if (rc < 0)
        return rc;
    reader->note[0] = '\0'; /* a channel without a head, or without a ring, is none the worse */
    if (reader->stream_count == 0)
        return 0;
    newest = &reader->streams[reader->stream_count - 1];
    reader->end = newest->tail;
    reader->end_seq = newest->accepted;
    reader->position = reader->head.committed;
    reader->seq = reader->head.consumed + 1;
    if (reader->position > reader->end || reader->seq > reader->end_seq + 1)
        return bad(reader, "more was consumed than accepted");
    if (reader->head_file < 0) {
        reader->position = reader->streams[0].base;
        reader->seq = reader->streams[0].base_seq + 1;
    }
    reader->stream = stream_of(reader, reader->position);
    return kept_find(reader);
}

static int reader_new(struct observe *observe, tram_id from, tram_id to, size_t limit,
                      struct observe_reader **ret_reader) {
    int dir = look_node_dir(observe, to);
    struct observe_reader *reader;

    if (dir < 0)
        return dir;
    reader = calloc(1, sizeof(*reader));
    if (!reader) {
        cleanup_fd(&dir);
        return -ENOMEM;
    }
    reader->dir = dir;
    reader->head_file = -1;
    reader->from = from;
    reader->to = to;
    reader->limit = limit;
    *ret_reader = reader;
    return 0;
}

int observe_read(struct observe *observe, tram_id from, tram_id to, size_t limit,
                 struct observe_reader **ret_reader) {
    OWNS_READER struct observe_reader *reader = NULL;
    int rc = reader_new(observe, from, to, limit, &reader);

    if (rc == 0)
        rc = reader_start(reader);
    if (rc < 0 && rc != -EBADMSG && rc != -EPROTO)
        return rc;
    if (rc < 0)
        reader->end = reader->position = reader->seq = reader->end_seq = 0;
    *ret_reader = reader;
    reader = NULL;
    return 0;
}

/* ---- going forwards ------------------------------------------------------------------------- */

/* Where a record's body lies: in a stream, or in a file of its own. */
struct source {
    const struct stream_view *stream; /* NULL: the file */
    uint64_t position;
    int file;
    uint64_t offset;
};

static int read_body(const struct source *source, uint64_t skip, void *buffer, size_t size) {
    if (source->stream)
        return look_stream_read(source->stream, source->position + sizeof(struct record) + skip,
                                buffer, size);
    return sys_file_read(source->file, buffer, size, source->offset + skip);
}

static int take_data(struct observe_reader *reader, const struct record *record,
                     const struct source *source, struct observe_record *ret_record) {
    struct extension extension = { 0 };
    uint32_t skip = record->flags & RECORD_WIDE ? sizeof(extension) : 0;
    size_t size = record->size - skip < reader->limit ? record->size - skip : reader->limit;
    int rc = 0;

    free(reader->data);
    reader->data = malloc(size + 1);
    if (!reader->data)
        return -ENOMEM;
    if (skip)
        rc = read_body(source, 0, &extension, sizeof(extension));
    if (rc == 0)
        rc = read_body(source, skip, reader->data, size);
    if (rc < 0)
        return rc;
    *ret_record = (struct observe_record){
        .from = reader->from,
        .to = reader->to,
        .tag = record->tag,
        .seq = record->seq,
        .size = record->size - skip,
        .position = source->position,
        .time_ns = extension.time_ns,
        .data = reader->data,
        .data_size = size,
    };
    memcpy(ret_record->layer, extension.layer, sizeof(ret_record->layer));
    return 0;
}

/* Whether what was copied from here is what lay here: to be asked after the copy. */
static bool still_there(struct observe_reader *reader, const struct stream_view *stream,
                        const struct record *record, uint64_t position) {
    struct record again;
    uint64_t reserved;

    if (head_again(reader) < 0)
        return false;
    if (position >= reader->head.head && reader->head_file >= 0)
        return true;
    /* Behind the head the producer may write at any time, a payload before its header: how far it
     * may be it says before it writes. */
    return sys_file_read(stream->file, &reserved, sizeof(reserved),
                         offsetof(struct stream, reserved)) == 0 &&
           (reserved < position || reserved - position <= stream->capacity) &&
           look_stream_read(stream, position, &again, sizeof(again)) == 0 &&
           memcmp(&again, record, sizeof(again)) == 0;
}

static void tell_where(struct observe_reader *reader, struct observe_record *record) {
    uint64_t window = look_head_window(reader->head_file, record->seq);

    record->attempts = WINDOW_ATTEMPTS(window);
    if (record->seq <= reader->head.consumed) {
        record->where = OBSERVE_KEPT;
    } else if (record->position >= reader->head.handed) {
        record->where = OBSERVE_QUEUED;
    } else {
        record->where = window & WINDOW_RELEASED ? OBSERVE_KEPT : OBSERVE_IN_HAND;
        record->attempts++;
    }
}

static int next_kept(struct observe_reader *reader, struct observe_record *ret_record) {
    while (reader->kept_count > 0) {
        const struct place *place = &reader->kept[--reader->kept_count];
        struct stream_view *stream = &reader->streams[place->stream];
        struct record record;
        int rc;

        if (!record_get(reader, stream, place->position, place->seq, stream->tail, &record)) {
            reader->missed++;
            continue;
        }
        rc = take_data(reader, &record,
                       &(struct source){ .stream = stream, .position = place->position },
                       ret_record);
        if (rc < 0)
            return rc;
        if (!still_there(reader, stream, &record, place->position)) {
            reader->missed++;
            continue;
        }
        tell_where(reader, ret_record);
        return 1;
    }
    return 0;
}

/* The record at the position is not, or no longer, what it should be: go on where the consumer
 * is by now, or stop if it is not further than we are. */
static int catch_up(struct observe_reader *reader) {
    uint64_t next;

    if (head_again(reader) < 0 || reader->head_file < 0 ||
        reader->head.committed <= reader->position || reader->head.consumed < reader->seq) {
        reader->position = reader->end;
        return bad(reader, "a waiting record makes no sense");
    }
    next = reader->head.consumed + 1;
    if (next > reader->end_seq + 1)
        next = reader->end_seq + 1;
    reader->missed += next - reader->seq;
    reader->seq = next;
    reader->position = reader->head.committed < reader->end ? reader->head.committed : reader->end;
    reader->stream = stream_of(reader, reader->position);
    return 0;
}

/* Read one record forwards: 1; 0 for a link or a record that is gone; or a negative errno. */
static int forward(struct observe_reader *reader, struct observe_record *ret_record) {
    struct stream_view *stream = &reader->streams[reader->stream];
    uint64_t position = reader->position;
    struct record record;
    int rc;

    if (position == stream->tail && reader->stream + 1 < reader->stream_count &&
        reader->streams[reader->stream + 1].base == position) {
        reader->stream++;
        return 0;
    }
    if (position < stream->base || position >= stream->tail ||
        !record_get(reader, stream, position, reader->seq, stream->tail, &record))
        return catch_up(reader);
    if (record.flags & RECORD_LINK) {
        reader->position += record_span(0);
        return 0;
    }
    rc = take_data(reader, &record, &(struct source){ .stream = stream, .position = position },
                   ret_record);
    if (rc < 0)
        return rc;
    if (!still_there(reader, stream, &record, position))
        return catch_up(reader);
    tell_where(reader, ret_record);
    reader->position += record_span(record.size);
    reader->seq++;
    return 1;
}

/* ---- set aside ------------------------------------------------------------------------------ */

int observe_read_aside(struct observe *observe, tram_id from, tram_id to, size_t limit,
                       struct observe_reader **ret_reader) {
    OWNS_READER struct observe_reader *reader = NULL;
    int rc = reader_new(observe, from, to, limit, &reader);

    if (rc == 0)
        rc = look_names(reader->dir, from, &reader->aside, &reader->aside_count);
    if (rc < 0)
        return rc;
    *ret_reader = reader;
    reader = NULL;
    return 0;
}

static int next_aside(struct observe_reader *reader, struct observe_record *ret_record) {
    while (reader->aside_at < reader->aside_count) {
        const struct file_name *name = &reader->aside[reader->aside_at++];
        OWNS_FD int file = -1;
        struct record record;
        uint64_t offset;
        int rc;

        if (name->kind != FILE_ASIDE && name->kind != FILE_RETRY)
            continue;
        file = look_aside_open(reader->dir, name, &record, &offset, reader->note);
        if (file == -ENOENT || file == -EBADMSG) {
            reader->missed++;
            continue;
        }
        if (file < 0)
            return file;
        rc = take_data(reader, &record, &(struct source){ .file = file, .offset = offset },
                       ret_record);
        if (rc < 0)
            return rc;
        ret_record->from = name->peer;
        ret_record->attempts = record.check; /* what else has no place in a record set aside */
        ret_record->where = name->kind == FILE_ASIDE ? OBSERVE_ASIDE : OBSERVE_RETRY;
        return 1;
    }
    return 0;
}

int observe_next(struct observe_reader *reader, struct observe_record *ret_record) {
    int rc;

    if (reader->aside)
        return next_aside(reader, ret_record);
    rc = next_kept(reader, ret_record);
    if (rc != 0)
        return rc;
    while (reader->position < reader->end) {
        rc = forward(reader, ret_record);
        if (rc != 0)
            return rc;
    }
    return reader->note[0] != '\0' ? -EBADMSG : 0;
}
