/* SPDX-License-Identifier: MIT
 * test: timeout=120 cpus=2
 *
 * Files of a bus cut, replaced, multiplied and scribbled over while their users work: threads that
 * write random words for a while, every kind of file in every place, more files than anybody needs.
 * The victim's process lives, its calls end, errors name the channel or the limit, and the channel
 * that has nothing to do with it goes on, exactly. HOSTILE_MS=N: scribble so long each time.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "support/hostile.h"

#define A HOSTILE_A
#define B HOSTILE_B

static const int send_codes[] = {-EAGAIN, -EMSGSIZE, -ENOTRECOVERABLE, -EPROTO, -ESTALE,
                                 -ETIMEDOUT, 0};
static uint8_t block[1 << 19];

/* ---- scribbling ------------------------------------------------------------------------------ */

/* A process of its own, so that a fault of the attacker isn't the victim's. */
struct scribble {
    const char *name;     /* of a file of B */
    size_t first, length; /* what of it */
    bool cuts;
    int fd;
};

static void scribble(void *arg) {
    const struct scribble *job = arg;
    struct rng rng = {kit_env("ATTACK_SEED", (uint64_t) kit_now())};
    int64_t until = kit_now() + (int64_t) kit_env("HOSTILE_MS", 25) * KIT_MS;
    size_t whole = job->first + job->length;
    volatile uint64_t *words = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED, job->fd, 0);

    CHECK(words != MAP_FAILED);
    (void) fprintf(stderr, "ATTACK_SEED=%llu\n", (unsigned long long) rng.state);
    while (kit_now() < until) {
        for (int i = 0; i < 100; i++) {
            size_t at = (job->first + rng_below(&rng, job->length)) & ~(size_t) 7;
            uint64_t values[24];
            unsigned count = hostile_values(job->cuts ? 0 : words[at / 8], values);
            uint64_t value = values[rng_below(&rng, count)];

            if (job->cuts) /* through a mapping it would die of its own cut */
                (void) !pwrite(job->fd, &value, 8, (off_t) at);
            else
                words[at / 8] = rng_chance(&rng, 100) ? rng_next(&rng) : value;
        }
        if (job->cuts && rng_chance(&rng, 50)) {
            (void) !ftruncate(job->fd, (off_t) rng_below(&rng, whole / 4096) * 4096);
            if (rng_chance(&rng, 500))
                (void) !ftruncate(job->fd, (off_t) whole);
        }
    }
    _exit(0);
}

static pid_t scribble_start(struct scribble *job) {
    char path[512];
    pid_t pid;

    job->fd = CHECK_OK(open(hostile_path(path, B, job->name), O_RDWR));
    pid = test_fork(scribble, job);
    close(job->fd);
    return pid;
}

static bool scribble_goes_on(pid_t pid) {
    return waitpid(pid, NULL, WNOHANG) == 0;
}

/* The victim sends small and large, grows, stages, claims, waits for space and for events. */
static void use_sender(tram_node *a, unsigned round) {
    struct iovec piece = {.iov_base = block, .iov_len = round % 3 ? 100 : 40000};
    struct tram_event event;
    struct tram_peer peer;
    void *room;
    int rc = tram_sendv(a, B, NULL, &piece, 1, round % 4 ? 0 : TRAM_MORE, KIT_MS);

    if (rc < 0)
        hostile_error(a, rc, send_codes);
    rc = round % 16 == 15 ? tram_send(a, B, 0, block, 70000u << round / 16 % 3, TRAM_NOWAIT) : 0;
    if (rc < 0)
        hostile_error(a, rc, send_codes);
    rc = tram_claim(a, B, 1000, 0, &room);
    if (rc < 0) {
        hostile_error(a, rc, send_codes);
    } else {
        memset(room, 1, 1000);
        rc = tram_commit(a, B, NULL, 900, 0);
        if (rc < 0)
            hostile_error(a, rc, send_codes);
    }
    rc = tram_flush(a);
    if (rc < 0)
        hostile_error(a, rc, send_codes);
    while (tram_dispatch(a, &event) > 0)
        continue;
    CHECK_OK(tram_peer(a, B, &peer));
}

static void scribbled_sender(struct scribble job) {
    struct sound sound = sound_start();
    tram_node *a = hostile_open(A);
    unsigned round = 0;
    pid_t pid;

    CHECK_OK(tram_send(a, B, 0, "x", 1, 0));
    pid = scribble_start(&job);
    while (scribble_goes_on(pid)) {
        use_sender(a, round++);
        sound_goes_on(&sound);
        if (round % 50 == 0) {
            (void) tram_close(a); /* what was written is found again */
            a = hostile_open(A);
        }
    }
    (void) fprintf(stderr, "%u rounds, %llu from A, %llu closed\n", round,
                   (unsigned long long) sound.others, (unsigned long long) sound.closed);
    (void) tram_close(a);
    sound_end(&sound);
}

TEST(sender_in_scribbled_head) {
    scribbled_sender((struct scribble){"head-1.1.1.1", 128, 176, false, -1});
}

TEST(sender_in_cut_head) {
    scribbled_sender((struct scribble){"head-1.1.1.1", 0, sizeof(struct head), true, -1});
}

TEST(sender_in_cut_stream) {
    scribbled_sender((struct scribble){"from-1.1.1.1", 0, LAYOUT_DATA + HOSTILE_RING, true, -1});
}

TEST(sender_at_scribbled_door) {
    scribbled_sender((struct scribble){"door", 256, 192, false, -1});
}

/* The victim receives in all ways, sleeps, looks on, closes and opens. */
static void scribbled_receiver(struct scribble job) {
    struct sound sound = sound_start();
    struct tram_event event;
    unsigned opens = 0;
    pid_t pid;

    for (unsigned i = 0; i < 4; i++) {
        tram_node *a = hostile_open(A);
        struct scribble part = job;

        (void) tram_send(a, B, 0, block, 100, TRAM_NOWAIT);
        (void) tram_send(a, B, 0, block, 9000, TRAM_NOWAIT);
        pid = scribble_start(&part);
        while (scribble_goes_on(pid)) {
            static uint8_t buffer[4096];
            struct tram_msg msg;
            int rc = tram_recv_copy(sound.b, buffer, 0, &msg, 0);

            if (rc == 0 && msg.from == HOSTILE_C)
                FAIL("nothing of C waits");
            (void) tram_send(a, B, 0, block, 10, TRAM_NOWAIT);
            (void) tram_dispatch(sound.b, &event);
            (void) tram_wait(sound.b, 0);
            sound_goes_on(&sound);
        }
        (void) tram_close(a);
        (void) tram_close(sound.b);
        sound.b = hostile_open(B);
        opens++;
        if (sound.closed > 0) { /* the channel starts anew */
            char path[512];

            (void) unlink(hostile_path(path, B, "from-1.1.1.1"));
            (void) unlink(hostile_path(path, B, "head-1.1.1.1"));
        }
    }
    (void) fprintf(stderr, "%u opens, %llu from A, %llu closed\n", opens,
                   (unsigned long long) sound.others, (unsigned long long) sound.closed);
    sound_end(&sound);
}

TEST(receiver_of_scribbled_stream) {
    scribbled_receiver((struct scribble){"from-1.1.1.1", 256, 96, false, -1});
}

TEST(receiver_of_scribbled_records) {
    scribbled_receiver((struct scribble){"from-1.1.1.1", LAYOUT_DATA, HOSTILE_RING, false, -1});
}

TEST(receiver_of_cut_stream) {
    scribbled_receiver((struct scribble){"from-1.1.1.1", 0, LAYOUT_DATA + HOSTILE_RING, true, -1});
}

TEST(receiver_in_cut_head) {
    scribbled_receiver((struct scribble){"head-1.1.1.1", 0, sizeof(struct head), true, -1});
}

TEST(receiver_with_scribbled_door) {
    scribbled_receiver((struct scribble){"door", 256, 192, false, -1});
}

TEST(receiver_with_cut_door) {
    scribbled_receiver((struct scribble){"door", 0, LAYOUT_DOOR, true, -1});
}

/* ---- private copies -------------------------------------------------------------------------- */

/* What tram_recv_copy() gave does not change, whatever the sender writes into the ring. */
TEST(a_copy_is_private) {
    struct sound sound = sound_start();
    tram_node *a = hostile_open(A);
    uint8_t *words;
    static uint8_t copy[3000];
    struct tram_msg seen;
    struct tram_msg msg;

    pattern_fill(block, sizeof(copy), 7);
    CHECK_OK(tram_send(a, B, 0, block, sizeof(copy), 0));
    CHECK_OK(tram_send(a, B, 0, block, sizeof(copy), 0));
    words = hostile_map(B, "from-1.1.1.1", LAYOUT_DATA + HOSTILE_RING);
    CHECK_OK(tram_recv_copy(sound.b, copy, sizeof(copy), &msg, KIT_S));
    CHECK(msg.data == copy);
    CHECK_OK(tram_recv(sound.b, &seen, KIT_S));
    memset(words + LAYOUT_DATA, 0xff, HOSTILE_RING);
    CHECK_EQ(pattern_check(copy, sizeof(copy), 7), -1);
    CHECK_EQ(pattern_check(seen.data, sizeof(copy), 7), 0); /* in place is not private */
    CHECK_EQ(msg.size, sizeof(copy));
    CHECK_EQ(seen.size, sizeof(copy));
    munmap(words, LAYOUT_DATA + HOSTILE_RING);
    (void) tram_close(a);
    sound_goes_on(&sound);
    sound_end(&sound);
}

/* A copy of what is behind the end of a file that was cut is no message. */
TEST(a_copy_of_nothing_is_an_error) {
    static const int codes[] = {-EBADMSG, 0};
    struct sound sound = sound_start();
    tram_node *a = hostile_open(A);
    static uint8_t copy[30000];
    struct tram_msg msg;
    char path[512];
    int rc;

    CHECK_OK(tram_send(a, B, 0, block, 10, 0));
    CHECK_OK(tram_recv_copy(sound.b, copy, sizeof(copy), &msg, KIT_S)); /* now it is mapped */
    CHECK_OK(tram_send(a, B, 0, block, sizeof(copy), 0));
    CHECK_OK(truncate(hostile_path(path, B, "from-1.1.1.1"), LAYOUT_DATA + 4096));
    rc = tram_recv_copy(sound.b, copy, sizeof(copy), &msg, KIT_S);
    hostile_error(sound.b, rc, codes);
    sound_goes_on(&sound);
    rc = tram_send(a, B, 0, block, 10, 0);
    hostile_error(a, rc, send_codes);
    (void) tram_close(a);
    sound_end(&sound);
}

/* The receiver's words are zeros, which make sense, and are nobody's: both ends notice. */
TEST(head_cut) {
    static const int broken[] = {-ENOTRECOVERABLE, 0};
    static const int closed[] = {-EBADMSG, 0};
    struct sound sound = sound_start();
    tram_node *a = hostile_open(A);
    struct tram_msg msg;
    char path[512];
    int rc;

    for (int i = 0; i < 3; i++)
        CHECK_OK(tram_send(a, B, 0, block, 100, 0));
    CHECK_OK(tram_recv(sound.b, &msg, KIT_S));
    CHECK_OK(truncate(hostile_path(path, B, "head-1.1.1.1"), 0));
    do
        rc = tram_send(a, B, 0, block, 1000, TRAM_NOWAIT);
    while (rc == 0);
    hostile_error(a, rc, broken);
    CHECK_OK(tram_done(sound.b));
    for (int i = 0; i < 100 && (rc = tram_recv(sound.b, &msg, 0)) == 0; i++)
        CHECK_OK(tram_done(sound.b));
    hostile_error(sound.b, rc, closed);
    sound_goes_on(&sound);
    (void) tram_close(a);
    sound_end(&sound);
}

/* A large message whose file is cut is read here and there: no mapping for each page. */
TEST(torn_everywhere) {
    struct tram_options options = kit_options(UINT64_C(1) << 29, TRAM_NO_SPIN);
    tram_node *a = kit_open(NULL, A, &options);
    struct sound sound = sound_start();
    volatile const uint8_t *data;
    struct tram_msg msg;
    uint64_t sum = 0;
    char path[512];
    void *room;

    CHECK_OK(tram_claim(a, B, 400u << 20, 0, &room));
    CHECK_OK(tram_commit(a, B, NULL, 400u << 20, 0));
    CHECK_OK(tram_recv(sound.b, &msg, KIT_S));
    CHECK_OK(truncate(hostile_path(path, B, "from-1.1.1.1"), LAYOUT_DATA + 4096));
    data = msg.data;
    for (size_t at = msg.size - 4096; at > 4096; at -= 2 * 4096)
        sum += data[at]; /* each page behind another one that is untouched */
    CHECK_EQ(sum, 0);
    sound_goes_on(&sound);
    (void) tram_close(a);
    sound_end(&sound);
}
