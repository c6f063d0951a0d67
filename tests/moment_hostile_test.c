/* SPDX-License-Identifier: MIT
 * test: timeout=60 wrap label=notsan
 *
 * What a peer does at one moment, between two system calls of its victim: no process meets it by
 * trying, so it is done in front of the call (support/fault.h), of the first, the second, the third
 * …, until there is none left.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness.h"
#include "node/files.h"
#include "node/node.h"
#include "support/fault.h"
#include "support/hostile.h"

#define A HOSTILE_A
#define B HOSTILE_B

#define ENDLESS 2000 /* so often nobody does anything who means to stop */

static uint8_t block[200000];

/* ---- a larger stream ------------------------------------------------------------------------- */

enum other { SMALLER, LARGER, STRANGE, SHIFTED, COUNTED, NONSENSE, CUT, HEAD, OTHERS };

struct growth {
    enum other other;
    struct stream words; /* of the stream before */
    bool done;
};

static struct growth growth;

/* The new stream, once it is in place, is another one. */
static int swap(void) {
    struct stream words = growth.words;
    char other[512];
    char path[512];
    struct head *head;
    uint64_t length;

    if (growth.other == HEAD) { /* nothing is swapped: the receiver's position is nonsense */
        head = hostile_map(B, "head-1.1.1.1", sizeof(*head));
        __atomic_store_n(&head->head, UINT64_MAX - 7, __ATOMIC_SEQ_CST);
        munmap(head, sizeof(*head));
        growth.done = true;
        return 0;
    }
    if (access(hostile_path(path, B, "from-1.1.1.1+1"), F_OK) < 0)
        return 0;
    words.generation = 1;
    words.capacity = UINT64_C(1) << 19; /* what is made for 200,000 bytes */
    words.capacity >>= growth.other == SMALLER ? 2 : 0;
    words.capacity <<= growth.other == LARGER ? 1 : 0;
    words.id += growth.other == STRANGE;
    words.base = WORD_POSITION(words.tail) + LINK_SPAN;
    words.base -= growth.other == SHIFTED ? 8 : 0;
    words.base_seq = words.accepted[words.tail & 1] + (growth.other == COUNTED);
    words.tail = words.base;
    words.accepted[0] = words.accepted[1] = words.base_seq;
    words.magic += growth.other == NONSENSE;
    length = growth.other == CUT ? 100 : LAYOUT_DATA + words.capacity;
    hostile_put(B, "other", &words, sizeof(words));
    CHECK_OK(truncate(hostile_path(other, B, "other"), (off_t) length));
    CHECK_OK(rename(other, path));
    growth.done = true;
    return 0;
}

/* One growth, in which the peer acts before call n. False: there were not so many. */
static bool grow(struct sound *sound, enum other other, unsigned n, unsigned *closed) {
    static const int codes[] = {-ENOTRECOVERABLE, 0};
    tram_node *a = hostile_open(A);
    struct stream *words;
    unsigned acted;
    char path[512];
    int rc;

    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    words = hostile_map(B, "from-1.1.1.1", LAYOUT_DATA);
    growth = (struct growth){.other = other, .words = *words};
    munmap(words, LAYOUT_DATA);
    fault_before(NULL, NULL, n, swap);
    rc = tram_send(a, B, 0, block, sizeof(block), TRAM_NOWAIT);
    acted = fault_done();
    if (rc < 0) {
        hostile_error(a, rc, codes);
        CHECK(growth.done);
        ++*closed;
    }
    sound_goes_on(sound);
    (void) tram_close(a);
    (void) tram_close(sound->b);
    (void) unlink(hostile_path(path, B, "from-1.1.1.1"));
    (void) unlink(hostile_path(path, B, "from-1.1.1.1+1"));
    (void) unlink(hostile_path(path, B, "head-1.1.1.1"));
    sound->b = hostile_open(B);
    return acted > 0;
}

/* It is mapped as it was made, or not at all; and no send says -EBADMSG. */
TEST_TIMEOUT(grown_stream_swapped, 40) {
    struct sound sound = sound_start();

    for (int other = 0; other < OTHERS; other++) {
        unsigned closed = 0;
        unsigned n = 1;

        while (grow(&sound, (enum other) other, n, &closed))
            n++;
        (void) fprintf(stderr, "%d: %u calls, closed by %u of them\n", other, n - 1, closed);
        CHECK(closed > 0);
    }
    sound_end(&sound);
}

/* ---- without end ----------------------------------------------------------------------------- */

static unsigned times;

/* Whoever reads the directory is told that it changed, and takes a while. */
static int announce_slowly(void) {
    int64_t until = kit_now() + 2 * KIT_MS;

    times++;
    hostile_announce(B);
    while (kit_now() < until)
        continue;
    return 0;
}

/* Reading the directory takes a fifth of the time at most, so the rest of a wait is for others. */
TEST(directory_changes_without_end) {
    struct sound sound = sound_start();
    struct tram_msg msg;

    hostile_announce(B);
    fault_before("fdopendir", NULL, 0, announce_slowly);
    CHECK_ERR(tram_recv(sound.b, &msg, 200 * KIT_MS), -ETIMEDOUT);
    (void) fault_done();
    (void) fprintf(stderr, "read %u times\n", times);
    CHECK(times >= 2);
    CHECK(times <= 200 / (5 * 2) + 3); /* and the look at the end */
    sound_goes_on(&sound);
    sound_end(&sound);
}

static int announce_again(void) {
    if (++times > ENDLESS)
        FAIL("it is kept awake without end");
    hostile_announce(B);
    return 0;
}

/* A receive that does not wait ends, though the node can't go to sleep: work is shown instead. */
TEST(kept_awake_without_end) {
    struct sound sound = sound_start();
    struct tram_msg msg;

    CHECK(tram_fd(sound.b) >= 0);
    CHECK_ERR(tram_recv(sound.b, &msg, 0), -EAGAIN);
    hostile_announce(B);
    fault_before("fdopendir", NULL, 0, announce_again);
    CHECK_ERR(tram_recv(sound.b, &msg, 0), -EAGAIN);
    (void) fault_done();
    CHECK(times > 0);
    CHECK_EQ(tram_timeout(sound.b), 0);
    sound_goes_on(&sound);
    sound_end(&sound);
}

static int bell;

static int fill_bell(void) {
    static const uint8_t bytes[4096];

    if (++times > ENDLESS)
        FAIL("a bell is emptied without end");
    (void) !write(bell, bytes, sizeof(bytes));
    return 0;
}

/* A bell that is filled as fast as it is emptied is rung, and no more than that. */
TEST(bell_fills_without_end) {
    struct sound sound = sound_start();
    struct tram_event event;
    struct tram_msg msg;
    char path[512];

    bell = CHECK_OK(open(hostile_path(path, B, "bell"), O_RDWR | O_NONBLOCK));
    CHECK(tram_fd(sound.b) >= 0);
    CHECK_ERR(tram_recv(sound.b, &msg, 0), -EAGAIN);
    fault_before("read", NULL, 0, fill_bell);
    CHECK_OK(tram_dispatch(sound.b, &event));
    CHECK_ERR(tram_recv(sound.b, &msg, 0), -EAGAIN);
    (void) fault_done();
    (void) fprintf(stderr, "read %u times\n", times);
    CHECK(times > 0);
    close(bell);
    sound_goes_on(&sound);
    sound_end(&sound);
}

/* ---- a door ---------------------------------------------------------------------------------- */

static struct {
    struct door *door;
    unsigned waits, cleared;
} silence;

/* Somebody says that it does not sleep, when it begins to wait. */
static int say_awake(void) {
    if (silence.waits++ == 0)
        __atomic_store_n(&silence.door->asleep, 0, __ATOMIC_SEQ_CST);
    else
        silence.cleared += __atomic_load_n(&silence.door->asleep, __ATOMIC_SEQ_CST) == 0;
    return 0;
}

/* A re-look that finds nothing goes on sleeping: before that, the door says so again. */
TEST(asleep_is_put_back) {
    struct sound sound = sound_start();
    struct tram_msg msg;

    silence.door = hostile_map(B, "door", LAYOUT_DOOR);
    while (silence.waits < 2) { /* once, but where the machine looked away for that long */
        silence.waits = 0;
        sound.b->relook_at = (uint64_t) (kit_now() + 20 * KIT_MS); /* it is a second */
        fault_before("ppoll", NULL, 0, say_awake);
        CHECK_ERR(tram_recv(sound.b, &msg, 100 * KIT_MS), -ETIMEDOUT);
        (void) fault_done();
    }
    CHECK_EQ(silence.cleared, 0);
    munmap(silence.door, LAYOUT_DOOR);
    sound_goes_on(&sound);
    sound_end(&sound);
}

/* Cut, touched, and then as long as ever: what is mapped is a page of nobody, in which no bit comes
 * up. Only that it was torn tells. */
TEST(door_torn_and_whole_again) {
    int64_t until = kit_now() + kit_patience(5);
    struct sound sound = sound_start();
    struct tram_event event;
    struct tram_msg msg;
    struct stat before;
    struct stat now;
    char path[512];

    CHECK(tram_fd(sound.b) >= 0);
    sound_goes_on(&sound);
    CHECK_OK(stat(hostile_path(path, B, "door"), &before));
    CHECK_OK(truncate(path, 0));
    CHECK_ERR(tram_recv(sound.b, &msg, 0), -EAGAIN);
    CHECK_OK(truncate(path, LAYOUT_DOOR));
    do {
        CHECK(kit_now() < until);
        hostile_ring(B);
        (void) tram_dispatch(sound.b, &event);
        CHECK_ERR(tram_recv(sound.b, &msg, 0), -EAGAIN);
        kit_pause();
    } while (stat(path, &now) < 0 || now.st_ino == before.st_ino);
    (void) tram_close(sound.c); /* it may look at what is mapped for half a second more */
    sound.c = hostile_open(HOSTILE_C);
    sound_goes_on(&sound);
    sound_end(&sound);
}

/* ---- retries --------------------------------------------------------------------------------- */

static void change_retries(unsigned host, bool there) {
    struct record record = {.seq = 1};

    for (unsigned i = 0; i < ASIDE_MAX; i++) {
        char name[FILES_NAME];
        char path[512];

        record.from = TRAM_ID(9, host, i >> 8, i & 255);
        files_aside_name(name, "retry", record.from, 1);
        if (there)
            hostile_put(B, name, &record, sizeof(record));
        else
            CHECK_OK(unlink(hostile_path(path, B, name)));
    }
}

/* What each look finds is bounded; and so is what is kept of all of them. */
TEST(other_retries_at_each_look) {
    struct sound sound = sound_start();
    struct tram_event event;

    for (unsigned look = 0; look < 3; look++) {
        change_retries(look, true);
        hostile_announce(B);
        CHECK_OK(tram_dispatch(sound.b, &event));
        change_retries(look, false);
        CHECK_EQ(sound.b->retry_count, ASIDE_MAX);
    }
    sound_goes_on(&sound);
    CHECK_EQ(sound.b->retry_count, 0);
    sound_end(&sound);
}

/* ---- files that are being made --------------------------------------------------------------- */

static const char *trap; /* where the link is */
static char target[512];

static int set_trap(void) {
    char path[512];

    (void) !symlink(target, hostile_path(path, B, trap));
    return 0;
}

/* Refused for this once, because of the link, or done. */
static void send_or_not(tram_node *node, size_t size) {
    int rc = tram_send(node, B, 0, block, size, TRAM_NOWAIT);

    CHECK(rc == 0 || rc == -EEXIST);
}

/* The link lies there, and is back before the n-th call. False: there were not so many. */
static bool make_files(struct sound *sound, unsigned n) {
    unsigned acted;
    tram_node *a;

    (void) set_trap();
    sound->b = hostile_open(B);
    a = hostile_open(A);
    fault_before(NULL, NULL, n, set_trap);
    send_or_not(a, 1);
    send_or_not(a, sizeof(block));
    acted = fault_done();
    CHECK_OK(tram_send(a, B, 0, block, 1, TRAM_NOWAIT));
    CHECK_OK(tram_send(a, B, 0, block, sizeof(block), TRAM_NOWAIT));
    (void) tram_close(a);
    return acted > 0;
}

/* Nothing is written through a link that lies where a file is to be made, or is back there when
 * what lay there was removed. */
TEST_TIMEOUT(links_where_files_are_made, 40) {
    static const char *const made[] = {"head-1.1.1.1", "from-1.1.1.1", "from-1.1.1.1+1", "door"};
    static const char *const hidden[] = {".head-1.1.1.1", ".from-1.1.1.1", ".from-1.1.1.1+1",
                                         ".door"};
    struct sound sound = sound_start();
    char path[512];

    (void) hostile_path(target, B, "treasure");
    hostile_put(B, "treasure", "gold", 4);
    for (size_t i = 0; i < sizeof(hidden) / sizeof(hidden[0]); i++) {
        unsigned n = 0;
        struct stat st;
        bool more;

        trap = hidden[i];
        do {
            (void) tram_close(sound.b);
            for (size_t at = 0; at < sizeof(made) / sizeof(made[0]); at++)
                (void) unlink(hostile_path(path, B, made[at]));
            more = make_files(&sound, ++n);
            CHECK_OK(stat(target, &st));
            CHECK_EQ(st.st_size, 4);
            (void) unlink(hostile_path(path, B, trap));
        } while (more);
        (void) fprintf(stderr, "%s: %u calls\n", trap, n - 1);
        CHECK(n > 20);
    }
    (void) tram_close(sound.c); /* it has the old door for half a second more */
    sound.c = hostile_open(HOSTILE_C);
    sound_goes_on(&sound);
    sound_end(&sound);
}
