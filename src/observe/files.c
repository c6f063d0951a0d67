/* SPDX-License-Identifier: MIT
 *
 * The only place where the observer takes words from a file. A pair of words that belong together,
 * a position and the count in the slot that its low bit names, is read as their writer publishes
 * it: position, count, position again; the same position twice means that the count is its own.
 */
#include "observe/files.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sys/cleanup.h"
#include "sys/file.h"

#define POSITION(word) ((word) & ~(uint64_t) (LAYOUT_ALIGN - 1))
#define SLOT(word) ((word) &1)

/* A writer that publishes 50 million times a second may outrun each of our reads. Then the last
 * pair is as good as any: it was true within the time of the read, give or take a message. */
#define STABLE_TRIES 64

__attribute__((format(printf, 2, 3))) static int bad(char note[OBSERVE_NOTE], const char *format,
                                                     ...) {
    va_list args;

    va_start(args, format);
    (void) vsnprintf(note, OBSERVE_NOTE, format, args); /* cut short: still a note */
    va_end(args);
    return -EBADMSG;
}

/* What a failed read of `what` is called. A file that ends too early is nonsense, not a failure. */
static int bad_read(char note[OBSERVE_NOTE], const char *what, int rc) {
    if (rc == -ENODATA)
        return bad(note, "%s is cut short", what);
    if (rc == -ESPIPE || rc == -EISDIR || rc == -ENXIO || rc == -ELOOP)
        return bad(note, "%s is not a regular file", what);
    if (rc == -ENOENT)
        (void) bad(note, "%s is missing", what);
    else
        (void) bad(note, "%s: %s", what, strerror(-rc));
    return rc;
}

static int bad_magic(char note[OBSERVE_NOTE], const char *what, uint64_t magic, uint64_t expected,
                     uint32_t version) {
    if (magic == 0)
        return bad(note, "%s is not complete", what);
    if (magic != expected)
        return bad(note, "%s is not what its name says", what);
    if (version == LAYOUT_VERSION)
        return 0;
    (void) bad(note, "%s has layout version %" PRIu32 ", this program reads %u", what, version,
               LAYOUT_VERSION);
    return -EPROTO;
}

/* ---- doors ---------------------------------------------------------------------------------- */

int look_door(int dir, tram_id id, struct door_view *ret_door, char note[OBSERVE_NOTE]) {
    OWNS_FD int file = sys_file_open(dir, "door", false);
    struct door door;
    int rc;

    if (file < 0)
        return bad_read(note, "door", file);
    rc = sys_file_read(file, &door, sizeof(door), 0);
    if (rc < 0)
        return bad_read(note, "door", rc);
    rc = bad_magic(note, "door", door.magic, DOOR_MAGIC, door.version);
    if (rc < 0)
        return rc;
    if (door.id != id)
        return bad(note, "door is that of another node (%08" PRIx32 ")", door.id);
    *ret_door = (struct door_view){
        .pid = door.pid <= INT32_MAX ? door.pid : 0,
        .pid_namespace = door.pid_namespace,
        .flags = door.flags,
        .opens = door.opens,
        .opened_ns = door.opened_ns,
        .closed_ns = door.closed_ns,
        .gone = door.gone,
        .asleep = door.asleep != 0,
    };
    memcpy(ret_door->program, door.program, sizeof(door.program));
    ret_door->program[sizeof(door.program)] = '\0';
    return 0;
}

/* ---- the consumer's words ------------------------------------------------------------------- */

int look_head_open(int dir, tram_id from, tram_id to, struct head_view *ret_head,
                   char note[OBSERVE_NOTE]) {
    struct file_name name = { .peer = from, .kind = FILE_HEAD };
    char text[FILE_NAME_TEXT];
    OWNS_FD int file = -1;
    int rc;

    look_name_format(&name, text);
    file = sys_file_open(dir, text, false);
    if (file < 0)
        return bad_read(note, text, file);
    rc = look_head(file, from, to, ret_head, note);
    return rc < 0 ? rc : take_fd(&file);
}

int look_head(int file, tram_id from, tram_id to, struct head_view *ret_head,
              char note[OBSERVE_NOTE]) {
    struct sys_stat st;
    struct head head;
    uint64_t again;
    int rc;

    rc = sys_stat_fd(file, &st);
    for (int i = 0; rc == 0 && i < STABLE_TRIES; i++) {
        rc = sys_file_read(file, &head, offsetof(struct head, zero5), 0);
        if (rc == 0)
            rc = sys_file_read(file, &again, sizeof(again), offsetof(struct head, committed));
        if (rc == 0 && again == head.committed)
            break;
    }
    if (rc < 0)
        return bad_read(note, "head", rc);
    rc = bad_magic(note, "head", head.magic, HEAD_MAGIC, head.version);
    if (rc < 0)
        return rc;
    if (head.from != from || head.to != to)
        return bad(note, "head is that of another channel");
    *ret_head = (struct head_view){
        .id = head.id,
        .head = POSITION(head.head),
        .committed = POSITION(head.committed),
        .consumed = head.consumed[SLOT(head.committed)],
        .handed = POSITION(head.handed),
        .aside = head.aside,
        .armed = head.armed,
        .memory = st.memory,
    };
    return 0;
}

bool look_head_freed(int file, uint64_t position) {
    uint64_t head;

    return sys_file_read(file, &head, sizeof(head), offsetof(struct head, head)) < 0 ||
           POSITION(head) > position;
}

uint64_t look_head_window(int file, uint64_t seq) {
    uint64_t offset = offsetof(struct head, window) + seq % LAYOUT_WINDOW * sizeof(uint64_t);
    uint64_t word;

    if (file < 0 || sys_file_read(file, &word, sizeof(word), offset) < 0)
        return 0;
    return WINDOW_SEQ(word) == WINDOW_SEQ(seq) ? word : 0;
}

/* ---- streams -------------------------------------------------------------------------------- */

static int stream_read_words(int file, struct stream *ret_stream) {
    uint64_t again;
    int rc = 0;

    for (int i = 0; rc == 0 && i < STABLE_TRIES; i++) {
        rc = sys_file_read(file, ret_stream, sizeof(*ret_stream), 0);
        if (rc == 0)
            rc = sys_file_read(file, &again, sizeof(again), offsetof(struct stream, tail));
        if (rc == 0 && again == ret_stream->tail)
            break;
    }
    return rc;
}

/* Whether the words that never change allow to read the rest. */
static int stream_check(const struct stream *words, const struct sys_stat *st, const char *what,
                        const struct file_name *name, tram_id to, char note[OBSERVE_NOTE]) {
    int rc = bad_magic(note, what, words->magic, STREAM_MAGIC, words->version);

    if (rc < 0)
        return rc;
    if (words->from != name->peer || words->to != to || words->generation != name->number)
        return bad(note, "%s is a stream of another channel", what);
    if (words->capacity < STREAM_MIN || words->capacity > STREAM_MAX ||
        (words->capacity & (words->capacity - 1)) != 0)
        return bad(note, "%s: a ring cannot have %" PRIu64 " bytes", what, words->capacity);
    if (st->size < LAYOUT_DATA + words->capacity)
        return bad(note, "%s is cut short: %" PRIu64 " of %" PRIu64 " bytes", what, st->size,
                   LAYOUT_DATA + words->capacity);
    if (POSITION(words->base) != words->base)
        return bad(note, "%s: its base is not a position", what);
    return 0;
}

static int stream_take(struct stream_view *stream, const struct stream *words,
                       const struct sys_stat *st, char note[OBSERVE_NOTE]) {
    uint64_t tail = POSITION(words->tail);
    uint64_t accepted = words->accepted[SLOT(words->tail)];

    if (tail < words->base || accepted < words->base_seq)
        return bad(note, "the tail lies before the stream's beginning");
    if (accepted - words->base_seq > (tail - words->base) / sizeof(struct record))
        return bad(note, "more messages are counted than fit before the tail");
    stream->tail = tail;
    stream->accepted = accepted;
    stream->lost = words->lost;
    stream->kept = words->kept;
    stream->wanted = (words->want & ARMED_ON) != 0;
    stream->memory = st->memory;
    return 0;
}

int look_stream_open(int dir, const struct file_name *name, tram_id to,
                     struct stream_view *ret_stream, char note[OBSERVE_NOTE]) {
    char text[FILE_NAME_TEXT];
    OWNS_FD int file = -1;
    struct stream_view stream = { .file = -1 };
    struct stream words;
    struct sys_stat st;
    int rc;

    look_name_format(name, text);
    file = sys_file_open(dir, text, false);
    if (file < 0)
        return bad_read(note, text, file);
    rc = sys_stat_fd(file, &st);
    if (rc == 0)
        rc = stream_read_words(file, &words);
    if (rc < 0)
        return bad_read(note, text, rc);
    rc = stream_check(&words, &st, text, name, to, note);
    if (rc < 0)
        return rc;
    stream.generation = words.generation;
    stream.id = words.id;
    stream.base = words.base;
    stream.base_seq = words.base_seq;
    stream.capacity = words.capacity;
    stream.made_ns = words.made_ns;
    rc = stream_take(&stream, &words, &st, note);
    if (rc < 0)
        return rc;
    stream.file = take_fd(&file);
    *ret_stream = stream;
    return 0;
}

int look_stream(struct stream_view *stream, char note[OBSERVE_NOTE]) {
    struct stream words;
    struct sys_stat st;
    int rc = sys_stat_fd(stream->file, &st);

    if (rc == 0)
        rc = stream_read_words(stream->file, &words);
    if (rc < 0)
        return bad_read(note, "stream", rc);
    if (st.size < LAYOUT_DATA + stream->capacity)
        return bad(note, "the stream was cut short");
    words.base = stream->base; /* what was checked stays what it was */
    words.base_seq = stream->base_seq;
    return stream_take(stream, &words, &st, note);
}

int look_stream_read(const struct stream_view *stream, uint64_t position, void *buffer,
                     size_t size) {
    uint64_t at = position & (stream->capacity - 1);
    uint64_t first = stream->capacity - at < size ? stream->capacity - at : size;
    int rc = sys_file_read(stream->file, buffer, first, LAYOUT_DATA + at);

    if (rc == 0 && first < size)
        rc = sys_file_read(stream->file, (char *) buffer + first, size - first, LAYOUT_DATA);
    return rc;
}

void look_stream_close(struct stream_view *stream) {
    cleanup_fd(&stream->file);
    stream->file = -1;
}

/* ---- set aside ------------------------------------------------------------------------------ */

int look_aside_open(int dir, const struct file_name *name, struct record *ret_record,
                    uint64_t *ret_offset, char note[OBSERVE_NOTE]) {
    char text[FILE_NAME_TEXT];
    OWNS_FD int file = -1;
    struct sys_stat st;
    struct record record;
    int rc;

    look_name_format(name, text);
    file = sys_file_open(dir, text, false);
    if (file < 0)
        return bad_read(note, text, file);
    rc = sys_stat_fd(file, &st);
    if (rc == 0)
        rc = sys_file_read(file, &record, sizeof(record), 0);
    if (rc < 0)
        return bad_read(note, text, rc);
    if (record.from != name->peer || record.seq != name->number)
        return bad(note, "%s is not what its name says", text);
    if (st.size < sizeof(record) + record.size ||
        (record.flags & RECORD_WIDE && record.size < sizeof(struct extension)))
        return bad(note, "%s is cut short", text);
    *ret_record = record;
    *ret_offset = sizeof(record);
    return take_fd(&file);
}
