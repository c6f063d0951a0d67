/* SPDX-License-Identifier: MIT
 *
 * Whoever reads the files of a channel without being one of its ends: the counts that nodes and
 * tools ask for, the checks before a file is mapped, and the observer's channels, nodes, records.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "files.h"
#include "observe/observe.h"

static bool known(int rc) {
    return rc == 0 || rc == -EBADMSG || rc == -EPROTO || rc == -ENOENT;
}

static bool is_capacity(uint64_t capacity) {
    return capacity >= STREAM_MIN && capacity <= STREAM_MAX && (capacity & (capacity - 1)) == 0;
}

static void look_as_node(int dir) {
    struct channel_look look;
    struct stream_facts stream;
    struct head_facts head;
    struct sys_map map;
    uint32_t lowest = 0;
    uint32_t highest = 0;
    int rc = files_generations(dir, A, &lowest, &highest);

    REQUIRE(known(rc) && lowest <= highest && highest < FILES_GENERATIONS);
    rc = channel_look(dir, A, B, &look);
    REQUIRE(known(rc));
    if (rc == 0)
        REQUIRE(look.committed <= look.tail && look.consumed <= look.accepted &&
                look.tail < LAYOUT_END && look.accepted < LAYOUT_END &&
                is_capacity(look.capacity));
    for (uint32_t generation = 0; generation < 2; generation++) {
        rc = stream_open(dir, A, B, generation, SYS_MAP_WRITE | SYS_MAP_GUARD, &map, &stream, NULL);
        REQUIRE(known(rc) || rc == -ENOMEM);
        if (rc != 0)
            continue;
        REQUIRE(is_capacity(stream.capacity) && stream.base < LAYOUT_END);
        REQUIRE(map.length == LAYOUT_DATA + 2 * stream.capacity);
        sys_unmap(&map);
    }
    rc = head_open(dir, A, B, SYS_MAP_WRITE | SYS_MAP_GUARD, &map, &head);
    REQUIRE(known(rc));
    if (rc == 0)
        sys_unmap(&map);
}

static void check_text(const char *text, size_t size) {
    REQUIRE(memchr(text, '\0', size));
}

static void look_at_channels(struct observe *observe) {
    struct observe_channel *channels = NULL;
    struct observe_channel channel;
    struct observe_node *nodes = NULL;
    size_t count = 0;

    REQUIRE(observe_nodes(observe, &nodes, &count) == 0 && count == 1 && nodes->id == B);
    check_text(nodes->note, sizeof(nodes->note));
    check_text(nodes->program, sizeof(nodes->program));
    free(nodes);
    REQUIRE(observe_channels(observe, B, &channels, &count) == 0 && count <= 1);
    for (size_t i = 0; i < count; i++) {
        const struct observe_channel *at = &channels[i];

        REQUIRE(at->from == A && at->to == B && at->streams <= 2);
        check_text(at->note, sizeof(at->note));
        REQUIRE((at->state == OBSERVE_DAMAGED) == (at->note[0] != '\0'));
        REQUIRE(at->waiting <= at->accepted && at->waiting_bytes <= at->position);
    }
    free(channels);
    REQUIRE(known(observe_channel(observe, A, B, &channel)));
}

static void look_at_records(struct observe *observe, size_t limit) {
    struct observe_reader *reader = NULL;
    struct observe_record record;
    uint64_t seq = 0;
    uint64_t count = 0;
    int rc = observe_read(observe, A, B, limit, &reader);

    REQUIRE(known(rc));
    if (rc < 0)
        return;
    while ((rc = observe_next(reader, &record)) == 1) {
        REQUIRE(record.from == A && record.to == B && record.seq > seq);
        REQUIRE(record.data_size <= limit && record.data_size <= record.size);
        seq = record.seq;
        count++;
    }
    /* No more than lie in two rings of these sizes, or in larger ones that are full of holes. */
    REQUIRE(rc == 0 || rc == -EBADMSG || rc == -ENODATA);
    REQUIRE(count <= 3 * (uint64_t) STREAM_MIN / sizeof(struct record));
    check_text(observe_note(reader), OBSERVE_NOTE);
    REQUIRE(!observe_read_end(reader));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct observe *observe;
    static struct files files;
    struct input input = {data, data + size};
    char path[128];

    if (!observe) {
        (void) files_dir();
        (void) snprintf(path, sizeof(path), "%s/default", files_root());
        REQUIRE(observe_open(path, &observe) == 0);
    }
    files_make(&input, &files, false);
    for (int i = 0; i < 16 && input_left(&input); i++)
        files_attack(&input, &files);
    look_as_node(files_dir());
    look_at_channels(observe);
    look_at_records(observe, size % 64);
    return 0;
}
