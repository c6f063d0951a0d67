/* SPDX-License-Identifier: MIT */
#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/kit.h"

#define CAPACITY 65536u
#define ID       UINT64_C(0x1234567812345678)
#define FILES    3

static const char *const names[FILES] = {"from-1.1.1.1", "from-1.1.1.1+1", "head-1.1.1.1"};
static char root[64];
static pid_t owner;

static void remove_root(void) {
    if (getpid() == owner)
        kit_remove_tree(root);
}

const char *files_root(void) {
    if (!root[0]) {
        (void) snprintf(root, sizeof(root), "/dev/shm/tram-test-fuzz-%d", (int) getpid());
        REQUIRE(mkdir(root, 0700) == 0);
        owner = getpid();
        REQUIRE(atexit(remove_root) == 0);
    }
    return root;
}

int files_dir(void) {
    static int dir = -1;
    char path[128];

    if (dir >= 0)
        return dir;
    (void) snprintf(path, sizeof(path), "%s/default", files_root());
    REQUIRE(mkdir(path, 0700) == 0 || errno == EEXIST);
    (void) snprintf(path, sizeof(path), "%s/default/1.1.1.2", files_root());
    REQUIRE(mkdir(path, 0700) == 0 || errno == EEXIST);
    dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    REQUIRE(dir >= 0);
    return dir;
}

/* What lies under the names, kept open from one write, or input, to the next: a write is one system
 * call, and not three. */
static int held[FILES] = {-1, -1, -1};

static void forget(unsigned file) {
    if (held[file] >= 0)
        close(held[file]);
    held[file] = -1;
}

void files_forget(void) {
    for (unsigned i = 0; i < FILES; i++)
        forget(i);
}

static int hold(unsigned file) {
    if (held[file] < 0)
        held[file] = openat(files_dir(), names[file], O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    REQUIRE(held[file] >= 0);
    return held[file];
}

static void put(unsigned file, const void *content, size_t size, uint64_t offset) {
    REQUIRE(pwrite(hold(file), content, size, (off_t) offset) == (ssize_t) size);
}

static void resize(unsigned file, uint64_t size) {
    (void) ftruncate(hold(file), (off_t) size); /* larger than may be: then not */
}

static void remove_file(unsigned file) {
    (void) unlinkat(files_dir(), names[file], 0);
    forget(file);
}

static void rename_file(unsigned from, unsigned to) {
    if (from == to || renameat(files_dir(), names[from], files_dir(), names[to]) < 0)
        return;
    forget(to);
    held[to] = held[from];
    held[from] = -1;
}

void files_remove(void) {
    for (unsigned i = 0; i < FILES; i++)
        remove_file(i);
}

/* Nothing of the input before is left. */
static void clear(bool anew) {
    for (unsigned i = 0; i < FILES; i++) {
        if (anew || i == 1)
            remove_file(i);
        else
            resize(i, 0);
    }
}

/* One stream with `count` records from its base on, and a link if there is another one. */
static uint64_t fill(struct files *files, uint32_t generation, uint64_t base, uint64_t seq,
                     unsigned count, struct input *input) {
    static uint8_t data[4096];
    struct stream *stream = &files->streams[generation];
    bool last = generation + 1 == files->count;
    uint64_t pos = 0;
    uint64_t before = 0;

    memset(data, 0, sizeof(data));
    for (unsigned i = 0; i < count + !last; i++) {
        uint32_t size = i == count ? 0 : input_byte(input) / 2;
        struct record record = {.seq = seq + i + 1,
                                .size = size,
                                .prev = (uint32_t) ((pos - before) / LAYOUT_ALIGN),
                                .from = A,
                                .tag = 7,
                                .flags = i == count ? RECORD_LINK : 0};

        memcpy(data + pos, &record, sizeof(record));
        before = pos;
        pos += record_span(size);
    }
    *stream = (struct stream){
        .magic = STREAM_MAGIC,
        .version = LAYOUT_VERSION,
        .generation = generation,
        .from = A,
        .to = B,
        .id = ID,
        .base = base,
        .base_seq = seq,
        .capacity = CAPACITY << generation,
        .tail = (base + pos) | 1,
        .accepted = {0, seq + count},
        .kept = base,
        .reserved = base + pos,
    };
    put(generation, stream, sizeof(*stream), 0);
    if (pos > 0)
        put(generation, data, pos, LAYOUT_DATA + (base & (stream->capacity - 1)));
    resize(generation, LAYOUT_DATA + stream->capacity);
    return base + pos;
}

void files_make(struct input *input, struct files *files, bool anew) {
    unsigned counts[2] = {input_byte(input) % 16, input_byte(input) % 16};
    uint64_t base = input_byte(input) * UINT64_C(1024);
    uint64_t end;

    clear(anew);
    files->count = 1 + (counts[1] > 0);
    end = fill(files, 0, base, 0, counts[0], input);
    if (files->count == 2)
        end = fill(files, 1, end, counts[0], counts[1], input);
    files->head = (struct head){
        .magic = HEAD_MAGIC,
        .version = LAYOUT_VERSION,
        .from = A,
        .to = B,
        .id = ID,
        .head = base,
        .committed = base,
        .handed = input_byte(input) & 1 ? end : base,
    };
    put(2, &files->head, sizeof(files->head), 0);
}

static void attack_words(struct input *input, struct files *files, uint8_t how) {
    unsigned file = how % 3;
    uint8_t *words = file == 2 ? (uint8_t *) &files->head : (uint8_t *) &files->streams[file];
    size_t count = file == 2 ? 304 / 8 : sizeof(struct stream) / 8;
    size_t at = input_byte(input) % count * 8;
    uint64_t word;

    if (file == 1 && files->count < 2)
        return;
    if (file == 2 && how & 0x40)
        at = offsetof(struct head, window) + input_byte(input) * 8u;
    memcpy(&word, words + at, sizeof(word));
    word = how & 0x20 ? input_word(input, files->streams[0].tail) : input_word(input, word);
    memcpy(words + at, &word, sizeof(word));
    put(file, &word, sizeof(word), at);
}

void files_attack(struct input *input, struct files *files) {
    uint8_t how = input_byte(input);
    unsigned file = how % 3;
    uint64_t number;

    switch (how >> 4) {
    case 0: /* a word of a record, near where some are */
        number = input_number(input, 2);
        how = input_byte(input);
        put(file & 1 && files->count > 1, &(uint64_t){input_word(input, how)}, 8,
            LAYOUT_DATA + number / 8 * 8);
        break;
    case 1:
        resize(file, input_word(input, LAYOUT_DATA + CAPACITY) & UINT64_C(0x3ffffffff));
        break;
    case 2:
        rename_file(file, input_byte(input) % FILES);
        break;
    case 3:
        remove_file(file);
        break;
    default:
        attack_words(input, files, how);
    }
}
