/* SPDX-License-Identifier: MIT
 * test: timeout=90
 *
 * Every word that a peer can write, set to every value that it might try, before its victim maps
 * the file and while it uses it: the victim's call ends, with an answer that tram.h has, that names
 * the channel; what a third node sends goes on, exactly. Each third case of them, each fifth
 * under a sanitizer; HOSTILE_EVERY=1: all. HOSTILE_FIRST=1, 2 …: others.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness.h"
#include "support/hostile.h"

#define A HOSTILE_A
#define B HOSTILE_B

/* Where a word lies that is set. */
enum place { STREAM, HEAD, RECORDS, DOOR };

static const int send_codes[] = {-EAGAIN, -EMSGSIZE, -ENOTRECOVERABLE, -EPROTO, -ESTALE, 0};

/* A channel A → B as it was before anybody spoilt it: one message consumed, three waiting. */
static struct {
    uint8_t stream[LAYOUT_DATA + HOSTILE_RING];
    struct head head;
    struct door door;
} good;

static void load(const char *name, void *content, size_t size) {
    char path[512];
    int fd = CHECK_OK(open(hostile_path(path, B, name), O_RDONLY));

    CHECK_EQ(read(fd, content, size), (ssize_t) size);
    close(fd);
}

/* With a new inode: another channel to whoever has the old one. */
static void store(const char *name, const void *content, size_t size) {
    char path[512];
    char hidden[512];
    int fd = CHECK_OK(open(hostile_path(hidden, B, "new"), O_RDWR | O_CREAT | O_TRUNC, 0600));

    CHECK_EQ(write(fd, content, size), (ssize_t) size);
    close(fd);
    CHECK_OK(rename(hidden, hostile_path(path, B, name)));
}

static struct sound start(void) {
    struct sound sound = sound_start();
    struct tram_options options = kit_options(HOSTILE_RING, TRAM_NO_SPIN);
    tram_node *a = NULL;

    options.ring_max = 1 << 20;
    options.flags = TRAM_OPEN_STAMP; /* with an extension */
    options.keep = HOSTILE_RING;
    a = kit_open(NULL, A, &options);
    CHECK_OK(tram_send(a, B, 1, "consumed", 8, 0));
    sound_receive(&sound, 1);
    CHECK_OK(tram_done(sound.b));
    sound_receive(&sound, 1);
    for (int i = 0; i < 3; i++)
        CHECK_OK(tram_send(a, B, 1, "some text", 9, 0));
    load("from-1.1.1.1", good.stream, sizeof(good.stream));
    load("head-1.1.1.1", &good.head, sizeof(good.head));
    load("door", &good.door, sizeof(good.door));
    (void) tram_close(a);
    sound_receive(&sound, 10);
    CHECK_EQ(sound.others, 4);
    CHECK_OK(tram_done(sound.b));
    sound_goes_on(&sound);
    return sound;
}

static void restore(void) {
    store("head-1.1.1.1", &good.head, sizeof(good.head));
    store("from-1.1.1.1", good.stream, sizeof(good.stream));
}

/* Words of a place: those of the header, or of the four records; of the head a bit of the
 * window. */
static unsigned words_of(enum place place) {
    switch (place) {
    case STREAM:
        return sizeof(struct stream) / 8;
    case HEAD:
        return offsetof(struct head, zero5) / 8 + 6;
    case RECORDS:
        return 4 * (sizeof(struct record) + sizeof(struct extension)) / 8;
    default:
        return sizeof(struct door) / 8;
    }
}

static size_t offset_of(enum place place, unsigned word) {
    unsigned each = (sizeof(struct record) + sizeof(struct extension)) / 8;
    unsigned head = offsetof(struct head, zero5) / 8;

    if (place == RECORDS)
        return LAYOUT_DATA + word / each * record_span(9 + sizeof(struct extension)) +
               word % each * 8;
    if (place == HEAD && word >= head)
        return offsetof(struct head, window) + (word - head) * 8;
    return word * 8;
}

/* A word of a file as it lies there now. */
struct word {
    int fd;
    size_t at;
    uint64_t old;
};

static struct word word_open(enum place place, unsigned index) {
    static const char *const names[] = {"from-1.1.1.1", "head-1.1.1.1", "from-1.1.1.1", "door"};
    struct word word = {.at = offset_of(place, index)};
    char path[512];

    word.fd = CHECK_OK(open(hostile_path(path, B, names[place]), O_RDWR));
    CHECK_EQ(pread(word.fd, &word.old, 8, (off_t) word.at), 8);
    return word;
}

static void word_set(const struct word *word, uint64_t value) {
    CHECK_EQ(pwrite(word->fd, &value, 8, (off_t) word->at), 8);
}

/* ---- the receiver is the victim -------------------------------------------------------------- */

static void before_receiver(struct sound *sound, enum place place, unsigned index,
                            uint64_t value) {
    struct word word;

    (void) tram_close(sound->b);
    restore();
    word = word_open(place, index);
    word_set(&word, value);
    if (place == DOOR && index == offsetof(struct door, version) / 8 &&
        (uint32_t) value != LAYOUT_VERSION) {
        struct tram_options options = TRAM_OPTIONS_INIT;

        CHECK_ERR(tram_open(NULL, B, &options, &sound->b), -EPROTO);
        word_set(&word, word.old);
    }
    sound->b = hostile_open(B);
    sound_goes_on(sound);
    if (place == DOOR)
        word_set(&word, word.old);
    close(word.fd);
}

static void while_receiving(struct sound *sound, enum place place, unsigned index,
                            uint64_t value) {
    uint64_t before = sound->others;
    struct word word;

    CHECK_OK(tram_done(sound->b));
    restore();
    hostile_announce(B);
    while (sound->others == before) /* until it is mapped, and a message of it in hand */
        sound_receive(sound, 1);
    word = word_open(place, index);
    word_set(&word, value);
    sound_goes_on(sound);
    hostile_announce(B);
    sound_goes_on(sound);
    if (word.at != offsetof(struct door, attached)) /* back is a value that B has seen: no news */
        word_set(&word, word.old);
    close(word.fd);
}

/* ---- the sender is the victim ---------------------------------------------------------------- */

static void send_some(tram_node *a) {
    static const uint8_t block[40000];
    static const size_t sizes[] = {10, 0, 5000, 40000, 100};

    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        int rc = tram_send(a, B, 1, block, sizes[i], TRAM_NOWAIT);

        if (rc < 0)
            hostile_error(a, rc, send_codes);
    }
}

static void before_sender(struct sound *sound, enum place place, unsigned index, uint64_t value) {
    struct word word;
    tram_node *a;

    CHECK_OK(tram_done(sound->b));
    restore();
    word = word_open(place, index);
    word_set(&word, value);
    close(word.fd);
    a = hostile_open(A);
    send_some(a);
    (void) tram_close(a);
    sound_goes_on(sound);
}

static void while_sending(struct sound *sound, enum place place, unsigned index, uint64_t value) {
    struct word word;
    tram_node *a;

    CHECK_OK(tram_done(sound->b));
    restore();
    a = hostile_open(A);
    send_some(a);
    word = word_open(place, index);
    word_set(&word, value);
    send_some(a);
    if (place == DOOR)
        word_set(&word, word.old);
    close(word.fd);
    (void) tram_close(a);
    sound_goes_on(sound);
}

/* ---- all words, all values ------------------------------------------------------------------- */

static void all_words(enum place place, void (*attack)(struct sound *sound, enum place place,
                                                       unsigned index, uint64_t value)) {
    struct sound sound = start();
    unsigned every = (unsigned) kit_env("HOSTILE_EVERY", test_sanitizer()[0] ? 5 : 3);
    unsigned number = (unsigned) kit_env("HOSTILE_FIRST", 0);
    unsigned count = 0;

    for (unsigned index = 0; index < words_of(place); index++) {
        size_t at = offset_of(place, index);
        uint64_t values[24], old;
        unsigned most;

        memcpy(&old,
               place == HEAD   ? (const uint8_t *) &good.head + at
               : place == DOOR ? (const uint8_t *) &good.door + at
                               : good.stream + at,
               8);
        most = hostile_values(old, values);
        for (unsigned i = 0; i < most; i++) {
            if (values[i] == old || number++ % every != 0)
                continue;
            attack(&sound, place, index, values[i]);
            count++;
        }
    }
    (void) fprintf(stderr, "%u cases, %llu closed, %llu messages of the channel came\n", count,
                   (unsigned long long) sound.closed, (unsigned long long) sound.others);
    if (place == STREAM || place == RECORDS)
        CHECK(sound.closed > 0);
    sound_end(&sound);
}

TEST_TIMEOUT(stream_before_receiver, 60) { all_words(STREAM, before_receiver); }
TEST_TIMEOUT(stream_while_receiving, 60) { all_words(STREAM, while_receiving); }
TEST_TIMEOUT(stream_before_sender, 60) { all_words(STREAM, before_sender); }
TEST_TIMEOUT(head_before_receiver, 60) { all_words(HEAD, before_receiver); }
TEST_TIMEOUT(head_while_receiving, 60) { all_words(HEAD, while_receiving); }
TEST_TIMEOUT(head_before_sender, 60) { all_words(HEAD, before_sender); }
TEST_TIMEOUT(head_while_sending, 60) { all_words(HEAD, while_sending); }
TEST_TIMEOUT(records_before_receiver, 60) { all_words(RECORDS, before_receiver); }
TEST_TIMEOUT(records_while_receiving, 60) { all_words(RECORDS, while_receiving); }
TEST_TIMEOUT(door_before_receiver, 60) { all_words(DOOR, before_receiver); }
TEST_TIMEOUT(door_while_receiving, 60) { all_words(DOOR, while_receiving); }
TEST_TIMEOUT(door_while_sending, 60) { all_words(DOOR, while_sending); }
