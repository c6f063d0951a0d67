/* SPDX-License-Identifier: MIT */
#include "support/shape.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ring/layout.h"

enum { GENERATIONS = 64 };

struct generation {
    struct stream words;
    int fd;
};

struct channel {
    const char *dir; /* of the receiving node */
    char from[64];
    struct generation streams[GENERATIONS];
    int n_streams;
    bool has_head;
    struct head head;
    char *why;
    size_t size;
};

__attribute__((format(printf, 2, 3))) static int wrong(struct channel *chan, const char *format,
                                                       ...) {
    size_t n = (size_t) snprintf(chan->why, chan->size, "%s/from-%s: ", chan->dir, chan->from);
    va_list args;

    va_start(args, format);
    if (n < chan->size)
        vsnprintf(chan->why + n, chan->size - n, format, args);
    va_end(args);
    return -1;
}

#define ULL(x) ((unsigned long long) (x))

static uint64_t position(uint64_t word) {
    return word & ~UINT64_C(7);
}

static uint64_t tail_of(const struct generation *g) {
    return position(g->words.tail);
}

static uint64_t accepted_of(const struct generation *g) {
    return g->words.accepted[g->words.tail & 1];
}

/* ---- words ---------------------------------------------------------------------------------- */

static int check_stream(struct channel *chan, int index) {
    const struct generation *g = &chan->streams[index];
    const struct stream *words = &g->words;
    struct stat st;

    if (words->magic != STREAM_MAGIC || words->version != LAYOUT_VERSION)
        return wrong(chan, "stream %d is in place, but not complete", index);
    if (words->capacity < STREAM_MIN || (words->capacity & (words->capacity - 1)) ||
        words->capacity > STREAM_MAX)
        return wrong(chan, "capacity %llu", ULL(words->capacity));
    if (fstat(g->fd, &st) < 0 || (uint64_t) st.st_size != LAYOUT_DATA + words->capacity)
        return wrong(chan, "file of %lld bytes, capacity %llu", (long long) st.st_size,
                     ULL(words->capacity));
    if ((words->tail & 7) > 1 || words->base % 8 || words->kept % 8)
        return wrong(chan, "tail %#llx, base %#llx, kept %#llx are not aligned", ULL(words->tail),
                     ULL(words->base), ULL(words->kept));
    if (tail_of(g) < words->base)
        return wrong(chan, "tail %llu before base %llu", ULL(tail_of(g)), ULL(words->base));
    if (accepted_of(g) < words->base_seq)
        return wrong(chan, "accepted %llu below %llu", ULL(accepted_of(g)), ULL(words->base_seq));
    if (index > 0) {
        const struct generation *older = &chan->streams[index - 1];

        if (words->id != older->words.id)
            return wrong(chan, "generation %d is of another channel", index);
        if (words->generation != older->words.generation + 1)
            return wrong(chan, "generation %u after %u", words->generation,
                         older->words.generation);
    }
    return 0;
}

static int check_head(struct channel *chan) {
    const struct head *head = &chan->head;
    const struct generation *newest = &chan->streams[chan->n_streams - 1];
    uint64_t committed = position(head->committed), handed = position(head->handed);

    if (!chan->has_head)
        return 0;
    if (head->magic != HEAD_MAGIC || head->version != LAYOUT_VERSION)
        return wrong(chan, "the head is in place, but not complete");
    if (head->id != newest->words.id)
        return wrong(chan, "head and stream are of different channels");
    if (head->head % 8 || (head->committed & 7) > 1)
        return wrong(chan, "head %#llx, committed %#llx are not aligned", ULL(head->head),
                     ULL(head->committed));
    /* committed may be ahead of handed: by what was dealt with and not handed out. */
    if (head->head > committed || committed > tail_of(newest) || handed > tail_of(newest))
        return wrong(chan, "not head %llu <= committed %llu, handed %llu <= tail %llu",
                     ULL(head->head), ULL(committed), ULL(handed), ULL(tail_of(newest)));
    if (newest->words.kept > head->head && newest->words.kept > newest->words.base)
        return wrong(chan, "kept %llu is beyond the head %llu", ULL(newest->words.kept),
                     ULL(head->head));
    if (head->consumed[head->committed & 1] > accepted_of(newest))
        return wrong(chan, "consumed %llu of %llu", ULL(head->consumed[head->committed & 1]),
                     ULL(accepted_of(newest)));
    return 0;
}

/* ---- records -------------------------------------------------------------------------------- */

static bool read_record(const struct generation *g, uint64_t pos, struct record *ret) {
    uint64_t capacity = g->words.capacity, at = pos & (capacity - 1), n = sizeof *ret;
    char *to = (char *) ret;

    if (at + n > capacity) { /* around the end of the data */
        uint64_t part = capacity - at;

        if (pread(g->fd, to, part, (off_t) (LAYOUT_DATA + at)) != (ssize_t) part)
            return false;
        to += part;
        n -= part;
        at = 0;
    }
    return pread(g->fd, to, n, (off_t) (LAYOUT_DATA + at)) == (ssize_t) n;
}

/* Where a walk stands: the next record, its number, and the record before it in this stream. */
struct cursor {
    uint64_t pos, seq, before;
    bool has_before, link;
};

/* Walk to the end of one stream: numbers, lengths, distances. */
static int walk_stream(struct channel *chan, const struct generation *g, struct cursor *at) {
    at->has_before = false;
    at->link = false;
    while (at->pos < tail_of(g)) {
        uint64_t pos = at->pos, back;
        struct record record;

        if (at->link || !read_record(g, pos, &record))
            return wrong(chan, "a record behind the link at %llu", ULL(pos));
        back = record.prev * (uint64_t) LAYOUT_ALIGN;
        if (pos == g->words.base ? back != 0 : at->has_before && back != pos - at->before)
            return wrong(chan, "the record at %llu says that the one before is %llu back", ULL(pos),
                         ULL(back));
        at->link = record.flags & RECORD_LINK;
        if (!at->link && record.seq != at->seq + 1)
            return wrong(chan, "number %llu at %llu after %llu", ULL(record.seq), ULL(pos),
                         ULL(at->seq));
        at->seq += !at->link;
        at->before = pos;
        at->has_before = true;
        at->pos += record_span(record.size);
        if (at->pos > tail_of(g))
            return wrong(chan, "a record of %u bytes ends behind the tail", record.size);
    }
    if (at->seq != accepted_of(g))
        return wrong(chan, "%llu accepted, %llu records", ULL(accepted_of(g)), ULL(at->seq));
    return 0;
}

static int check_link(struct channel *chan, int index, const struct cursor *at) {
    const struct stream *next = &chan->streams[index].words;

    if (next->base != at->pos || next->base_seq != at->seq)
        return wrong(chan, "the next stream begins at %llu (%llu), not at %llu (%llu)",
                     ULL(next->base), ULL(next->base_seq), ULL(at->pos), ULL(at->seq));
    return 0;
}

/* Walk from the committed position to the end of the channel, through its generations. The newest
 * one may be made and not linked yet: then it is empty, and the link that is missing fits before
 * it. */
static int walk(struct channel *chan) {
    const struct generation *g = &chan->streams[0];
    struct cursor at = { .pos = g->words.base, .seq = g->words.base_seq };
    int index = 0, last = chan->n_streams - 1;

    if (chan->has_head && position(chan->head.committed) > at.pos) {
        at.pos = position(chan->head.committed);
        at.seq = chan->head.consumed[chan->head.committed & 1];
    }
    while (index < last && at.pos >= chan->streams[index + 1].words.base)
        index++;
    for (; index <= last; index++) {
        g = &chan->streams[index];
        if (at.pos < g->words.base || at.pos > tail_of(g))
            return wrong(chan, "position %llu is not in [%llu, %llu)", ULL(at.pos),
                         ULL(g->words.base), ULL(tail_of(g)));
        if (tail_of(g) - at.pos > g->words.capacity)
            return wrong(chan, "%llu bytes wait in a ring of %llu", ULL(tail_of(g) - at.pos),
                         ULL(g->words.capacity));
        if (walk_stream(chan, g, &at) < 0)
            return -1;
        if (at.link && index == last)
            return wrong(chan, "the newest stream has a link");
        if (at.link && check_link(chan, index + 1, &at) < 0)
            return -1;
        if (!at.link && index < last) {
            const struct generation *next = &chan->streams[index + 1];

            if (index + 1 != last || tail_of(next) != next->words.base ||
                next->words.base != at.pos + record_span(0))
                return wrong(chan, "stream %d has no link", index);
            break;
        }
    }
    return 0;
}

/* ---- files ---------------------------------------------------------------------------------- */

static void close_channel(struct channel *chan) {
    for (int i = 0; i < chan->n_streams; i++)
        close(chan->streams[i].fd);
}

static int open_at(int dir, const char *kind, const char *from, unsigned n) {
    char name[128];

    snprintf(name, sizeof name, n ? "%s-%s+%u" : "%s-%s", kind, from, n);
    return openat(dir, name, O_RDONLY | O_CLOEXEC);
}

/* `name` is that of one of its streams. */
static int check_channel(int dir, const char *path, const char *name, char *why, size_t size) {
    struct channel chan = { .dir = path, .why = why, .size = size };
    size_t length = strcspn(name + 5, "+");
    int rc = 0, fd;

    memcpy(chan.from, name + 5, length < sizeof chan.from ? length : sizeof chan.from - 1);
    for (unsigned n = 0; n < GENERATIONS; n++) {
        struct generation *g = &chan.streams[chan.n_streams];

        fd = open_at(dir, "from", chan.from, n);
        if (fd < 0)
            continue;
        g->fd = fd;
        chan.n_streams++;
        if (pread(fd, &g->words, sizeof g->words, 0) != sizeof g->words)
            rc = wrong(&chan, "stream %u is cut short", n);
        if (rc == 0)
            rc = check_stream(&chan, chan.n_streams - 1);
    }
    fd = open_at(dir, "head", chan.from, 0);
    if (fd >= 0) {
        chan.has_head = pread(fd, &chan.head, sizeof chan.head, 0) == sizeof chan.head;
        close(fd);
        if (!chan.has_head && rc == 0)
            rc = wrong(&chan, "the head is cut short");
    }
    if (rc == 0 && chan.n_streams > 0)
        rc = check_head(&chan);
    if (rc == 0 && chan.n_streams > 0)
        rc = walk(&chan);
    close_channel(&chan);
    return rc;
}

static int check_door(int dir, const char *path, const char *id, char *why, size_t size) {
    struct door door;
    tram_id expected;
    int fd = openat(dir, "door", O_RDONLY | O_CLOEXEC), rc = -1;

    if (fd >= 0 && pread(fd, &door, sizeof door, 0) == sizeof door && door.magic == DOOR_MAGIC &&
        door.version == LAYOUT_VERSION && tram_id_parse(id, &expected) == 0 && door.id == expected)
        rc = 0;
    if (fd >= 0)
        close(fd);
    if (rc < 0)
        snprintf(why, size, "%s/door is in place, but not complete", path);
    return rc;
}

/* Hidden names are files that are being made. */
static bool is_known(const char *name) {
    static const char *const known[] = {
        ".", "lock", "bell", "head-", "aside-", "retry-", "watch-", "mirror-", "past-", "place"
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp(name, known[i], strlen(known[i])) == 0)
            return true;
    return false;
}

static int check_node(int bus, const char *id, char *why, size_t size) {
    int fd = openat(bus, id, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!dir)
        return 0;
    while (rc == 0 && (entry = readdir(dir))) {
        const char *name = entry->d_name;

        if (strcmp(name, "door") == 0)
            rc = check_door(fd, id, id, why, size);
        else if (strncmp(name, "from-", 5) == 0)
            rc = check_channel(fd, id, name, why, size); /* once for each stream: so what */
        else if (!is_known(name)) {
            snprintf(why, size, "%s/%s: what is that?", id, name);
            rc = -1;
        }
    }
    closedir(dir);
    return rc;
}

int shape_check(const char *bus, char *why, size_t size) {
    int fd = open(bus, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = 0;
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!dir)
        return 0; /* not made yet */
    while (rc == 0 && (entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            rc = check_node(fd, entry->d_name, why, size);
    closedir(dir);
    return rc;
}
