/* SPDX-License-Identifier: MIT
 * test: timeout=90
 *
 * Stand-ins and what may befall them but death (stand_storm_test.c, step_stand_test.c): peers and
 * hosts that write nonsense, receivers that are removed, hosts that lose their memory, nodes that
 * are taken over, a full tmpfs, a disk.
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <tram/tram.h>
#include <unistd.h>

#include "harness.h"
#include "node/custody.h"
#include "node/place.h"
#include "ring/check.h"
#include "ring/layout.h"
#include "support/cable.h"
#include "support/disk.h"
#include "support/kit.h"

#define S TRAM_ID(1, 1, 1, 1)
#define R TRAM_ID(2, 2, 2, 2)
#define X TRAM_ID(1, 1, 1, 9) /* sends to R as well, and must not be hurt */

static tram_node *open_on(const struct cable *cable, int host, tram_id id) {
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);

    return kit_open(cable->dirs[host], id, &options);
}

static int send_number(tram_node *node, tram_id to, uint64_t number, size_t size) {
    uint8_t data[4000];

    pattern_fill(data, size, number);
    return tram_send(node, to, (uint32_t) number, data, size, TRAM_NOWAIT);
}

static void expect(tram_node *node, tram_id from, uint64_t number, unsigned attempt) {
    struct tram_msg msg;
    int rc = tram_recv(node, &msg, 0);

    if (rc < 0)
        FAIL("%llu: %s", (unsigned long long) number, kit_error(node));
    CHECK_EQ(msg.from, from);
    CHECK_EQ(msg.tag, number);
    CHECK_EQ(msg.attempt, attempt);
    CHECK_EQ(pattern_check(msg.data, msg.size, number), -1);
}

static void begin(struct cable *cable) {
    cable_init(cable);
    cable_place(cable, S, 0);
    cable_place(cable, X, 0);
    cable_place(cable, R, 1);
}

static void *map_file(const struct cable *cable, int host, tram_id node, const char *name,
                      size_t size) {
    char path[512];
    int fd = open(kit_path(path, sizeof(path), cable->dirs[host], node, name),
                  O_RDWR | O_CLOEXEC);
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    CHECK(fd >= 0 && base != MAP_FAILED);
    (void) close(fd);
    return base;
}

#define ORIGIN (LAYOUT_DATA + 65536)

/* ---- nonsense -------------------------------------------------------------------------------- */

/* The sender spoils one word of the third of five records. */
static void spoil(size_t offset, uint32_t value) {
    struct cable cable;
    tram_node *s;
    tram_node *x;
    tram_node *r;
    uint8_t *file;

    begin(&cable);
    s = open_on(&cable, 0, S);
    x = open_on(&cable, 0, X);
    r = open_on(&cable, 1, R);
    for (uint64_t n = 1; n <= 5; n++)
        CHECK_OK(send_number(s, R, n, 96));
    file = map_file(&cable, 0, R, "from-1.1.1.1", ORIGIN);
    memcpy(file + LAYOUT_DATA + 256 + offset, &value, sizeof(value));
    cable_plug(&cable);
    cable_settle(&cable);
    CHECK_EQ(cable.broken, 1);
    expect(r, S, 1, 1);
    expect(r, S, 2, 1);
    CHECK_ERR(tram_recv(r, &(struct tram_msg){0}, 0), -EAGAIN);
    CHECK_ERR(send_number(s, R, 6, 96), -ENOTRECOVERABLE);
    CHECK_OK(send_number(x, R, 7, 96));
    cable_settle(&cable);
    expect(r, X, 7, 1);
    (void) munmap(file, ORIGIN);
    (void) tram_close(s);
    (void) tram_close(x);
    (void) tram_close(r);
    cable_close(&cable);
}

TEST(sender_writes_a_wrong_number) {
    spoil(offsetof(struct record, seq), 77);
}

TEST(sender_writes_a_wrong_size) {
    spoil(offsetof(struct record, size), 0xfffffff0);
}

TEST(sender_writes_another_sender) {
    spoil(offsetof(struct record, from), X);
}

TEST(sender_writes_wrong_flags) {
    spoil(offsetof(struct record, flags), 0x40);
}

TEST(sender_writes_a_link_in_the_middle) {
    spoil(offsetof(struct record, flags), RECORD_LINK);
}

/* Any word of the origin, in any state, with any value: nothing but that channel is hurt. */
TEST_TIMEOUT(sender_spoils_words_at_random, 60) {
    struct rng rng = {.state = kit_env("STAND_SEED", (uint64_t) kit_now() / 1000 % 1000000)};
    unsigned rounds = (unsigned) kit_env("STAND_ROUNDS", *test_sanitizer() ? 60 : 200);

    printf("    STAND_SEED=%llu\n", (unsigned long long) rng.state);
    for (unsigned round = 0; round < rounds; round++) {
        static const uint64_t values[] = {0, 1, 8, 0xffffffff, UINT64_MAX, 1ull << 63, 65536, 31};
        struct cable cable;
        tram_node *s;
        tram_node *x;
        tram_node *r;
        struct tram_msg msg;
        uint64_t *file;
        int64_t end;
        bool came = false;

        begin(&cable);
        s = open_on(&cable, 0, S);
        x = open_on(&cable, 0, X);
        r = open_on(&cable, 1, R);
        cable_plug(&cable);
        for (uint64_t n = 1; n <= 20; n++) {
            CHECK_OK(send_number(s, R, n, 8 + 16 * n));
            if (n == round % 20)
                cable_settle(&cable);
        }
        file = map_file(&cable, 0, R, "from-1.1.1.1", ORIGIN);
        for (int spoilt = 0; spoilt < 3; spoilt++) {
            uint64_t word = rng_chance(&rng, 400) ? rng_below(&rng, 47)
                                                  : LAYOUT_DATA / 8 + rng_below(&rng, 500);

            file[word] = rng_chance(&rng, 700) ? values[rng_below(&rng, 8)]
                                               : file[word] ^ 1ull << rng_below(&rng, 64);
            if (rng_chance(&rng, 500))
                (void) cable_turn(&cable);
        }
        if (rng_chance(&rng, 300))
            cable_restart(&cable, 0);
        cable_settle(&cable);
        CHECK_OK(send_number(x, R, 7, 96));
        end = kit_now() + kit_patience(5);
        while (!came) { /* the directory is not read again and again */
            CHECK(kit_now() < end);
            cable_settle(&cable);
            while (tram_recv(r, &msg, 0) == 0)
                came |= msg.from == X;
        }
        (void) munmap(file, ORIGIN);
        (void) tram_close(s);
        (void) tram_close(x);
        (void) tram_close(r);
        cable_close(&cable);
        kit_remove_tree(cable.dirs[0]);
        kit_remove_tree(cable.dirs[1]);
    }
}

/* A mirror on its own, into which a host writes. */
struct alone {
    struct cable cable;
    struct stand *stand;
    struct stand_out *out;
    tram_node *r;
};

static void begin_alone(struct alone *alone, const struct stand_out_plan *plan) {
    struct tram_error error;

    begin(&alone->cable);
    alone->r = open_on(&alone->cable, 1, R);
    CHECK_OK(stand_new(&alone->cable.buses[1], S, 1 << 20, &alone->stand));
    CHECK_OK(stand_take(alone->stand, &error));
    CHECK_OK(stand_out_open(alone->stand, plan, &alone->out, NULL));
}

static void end_alone(struct alone *alone) {
    (void) stand_free(alone->stand);
    (void) tram_close(alone->r);
    cable_close(&alone->cable);
}

static const struct stand_out_plan simple = {.to = R, .id = 99, .capacity = 65536};

static int feed(struct alone *alone, const struct record *record, uint64_t *ret_accepted) {
    uint8_t bytes[256] = {0};
    uint64_t size;
    void *place;

    memcpy(bytes, record, sizeof(*record));
    CHECK_OK(stand_out_place(alone->out, sizeof(bytes), &place, &size));
    CHECK(size == sizeof(bytes));
    memcpy(place, bytes, sizeof(bytes));
    return stand_out_filled(alone->out, record->size < 200 ? record_span(record->size)
                                                           : sizeof(bytes), ret_accepted);
}

TEST(host_sends_nonsense) {
    const struct record good = {.seq = 1, .size = 100, .from = S, .tag = 5};
    const struct record bad[] = {
        {.seq = 2, .size = 100, .from = S},
        {.seq = 0, .size = 100, .from = S},
        {.seq = 1, .size = 100, .from = X},
        {.seq = 1, .size = 100, .from = S, .flags = RECORD_LINK},
        {.seq = 1, .size = 0, .from = S, .flags = RECORD_LINK},
        {.seq = 1, .size = 100, .from = S, .flags = 0x80},
        {.seq = 1, .size = 23, .from = S, .flags = RECORD_WIDE},
        {.seq = 1, .size = 100, .from = S, .flags = RECORD_CHECKED, .check = 1},
        {.seq = 2, .size = 0xffffffff, .from = S},
    };
    struct alone alone;
    struct tram_msg msg;
    uint64_t accepted = 0;

    begin_alone(&alone, &simple);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_ERR(feed(&alone, &bad[i], &accepted), -EBADMSG);
        CHECK_EQ(accepted, 0);
        CHECK(*stand_out_why(alone.out));
    }
    CHECK_ERR(tram_recv(alone.r, &msg, 0), -EAGAIN);
    CHECK_OK(feed(&alone, &good, &accepted));
    CHECK_EQ(accepted, 1);
    CHECK_OK(tram_recv(alone.r, &msg, 0));
    CHECK_EQ(msg.tag, 5);
    end_alone(&alone);
}

/* Whatever it says of the way back and of lives is made this host's. */
TEST(host_sends_what_is_only_its_own) {
    struct record record = {.seq = 1, .size = 100, .from = S, .tag = 5, .prev = 777,
                            .flags = RECORD_CHECKED | 5u << 8};
    uint8_t body[100] = {0};
    struct alone alone;
    struct tram_msg msg;
    uint64_t accepted = 0;

    begin_alone(&alone, &simple);
    record.check = crc32c(crc32c(0, &record, offsetof(struct record, check)), body, sizeof(body));
    CHECK_OK(feed(&alone, &record, &accepted));
    record = (struct record){.seq = 2, .size = 8, .from = S, .tag = 6, .prev = 1, .check = 33};
    CHECK_OK(feed(&alone, &record, &accepted));
    CHECK_EQ(accepted, 2);
    CHECK_OK(tram_recv(alone.r, &msg, 0));
    CHECK_EQ(msg.stream, 99);
    CHECK_EQ(((const struct record *) msg.data - 1)->prev, 0);
    CHECK_OK(tram_recv(alone.r, &msg, 0));
    CHECK_EQ(((const struct record *) msg.data - 1)->prev, 17);
    CHECK_EQ(((const struct record *) msg.data - 1)->check, 0);
    end_alone(&alone);
}

/* More than this host lets a ring grow for. */
TEST(host_sends_what_is_too_large) {
    const struct record record = {.seq = 1, .size = 2 << 20, .from = S};
    struct alone alone;
    uint64_t accepted = 0;

    begin_alone(&alone, &simple);
    CHECK_ERR(feed(&alone, &record, &accepted), -EMSGSIZE);
    end_alone(&alone);
}

/* A record that has begun is not taken for memory to be given back, however long its rest takes. */
TEST(what_has_begun_stays) {
    struct alone alone;
    struct tram_msg msg;
    uint64_t accepted;
    uint64_t size;
    uint8_t body[60000];
    uint8_t *place;
    struct record *record;

    begin_alone(&alone, &simple);
    for (uint32_t i = 1; i <= 30; i++) { /* so that memory is held */
        const struct record small = {.seq = i, .size = 150, .from = S, .tag = i};

        CHECK_OK(feed(&alone, &small, &accepted));
        CHECK_OK(tram_recv(alone.r, &msg, 0));
    }
    CHECK_OK(tram_done(alone.r));
    CHECK_ERR(tram_recv(alone.r, &msg, 0), -EAGAIN);
    pattern_fill(body, sizeof(body), 5);
    for (uint64_t done = 0; done < sizeof(*record) + sizeof(body);) {
        CHECK_OK(stand_out_place(alone.out, sizeof(*record) + sizeof(body) - done,
                                 (void **) &place, &size));
        CHECK(size > 0);
        if (done == 0) {
            record = (struct record *) (void *) place;
            *record = (struct record){.seq = 31, .size = sizeof(body), .from = S, .tag = 31};
            memcpy(place + sizeof(*record), body, size - sizeof(*record));
        } else {
            memcpy(place, body + done - sizeof(*record), size);
        }
        done += size;
        CHECK_OK(stand_out_filled(alone.out, size, &accepted));
        for (uint64_t later = 1; later <= 4; later++)
            (void) stand_due(alone.stand, (uint64_t) kit_now() + later * 200 * (uint64_t) KIT_MS);
    }
    CHECK_EQ(accepted, 31);
    CHECK_OK(tram_recv(alone.r, &msg, 0));
    CHECK_EQ(pattern_check(msg.data, msg.size, 5), -1);
    end_alone(&alone);
}

/* Who acts for its sender leaves a mirror alone that somebody writes. */
TEST(others_leave_a_mirror_alone) {
    struct tram_error error;
    struct alone alone;
    char path[512];
    int dir;

    begin_alone(&alone, &simple);
    dir = open(kit_path(path, sizeof(path), alone.cable.dirs[1], R, NULL),
               O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(dir >= 0);
    stand_let_go(alone.stand);
    CHECK_ERR(custody_tidy_sender(&alone.cable.buses[1], dir, S, R, 0, NULL), -EBUSY);
    CHECK_ERR(custody_repair_sender(&alone.cable.buses[1], dir, S, R), -EBUSY);
    CHECK_ERR(custody_bury(&alone.cable.buses[1], dir, S), -EBUSY);
    CHECK_OK(custody_rm(alone.cable.buses[1].path, S, true, &error));
    CHECK_EQ(kit_count_files(alone.cable.dirs[1], "from-1.1.1.1"), 1);
    alone.out = stand_out_close(alone.out);
    (void) close(dir);
    end_alone(&alone);
}

TEST(receiver_writes_nonsense) {
    const struct record good = {.seq = 1, .size = 100, .from = S, .tag = 5};
    struct stand_out_state state;
    struct alone alone;
    struct head *head;
    uint64_t accepted = 0;

    begin_alone(&alone, &simple);
    CHECK_OK(feed(&alone, &good, &accepted));
    head = map_file(&alone.cable, 1, R, "head-1.1.1.1", sizeof(*head));
    head->consumed[head->committed & 1] = 2;
    CHECK_ERR(stand_out_look(alone.out, &state), -ENOTRECOVERABLE);
    CHECK_ERR(stand_out_look(alone.out, &state), -ENOTRECOVERABLE);
    (void) munmap(head, sizeof(*head));
    end_alone(&alone);
}

/* ---- what begins where ----------------------------------------------------------------------- */

TEST(mirror_begins_behind_what_was_consumed) {
    const struct stand_out_plan plan = {.to = R, .id = 99, .capacity = 65536, .consumed = 1000,
                                        .unsure = 1001};
    const struct stand_out_plan another = {.to = R, .id = 100, .capacity = 65536};
    struct record record = {.seq = 1001, .size = 8, .from = S};
    struct stand_out_state state;
    struct stand_other other;
    struct alone alone;
    struct tram_msg msg;
    uint64_t past;
    uint64_t accepted;

    begin_alone(&alone, &plan);
    CHECK_OK(feed(&alone, &record, &accepted));
    record.seq = 1002;
    CHECK_OK(feed(&alone, &record, &accepted));
    CHECK_EQ(accepted, 1002);
    CHECK_OK(tram_recv(alone.r, &msg, 0));
    CHECK(msg.seq == 1001 && msg.attempt == 2);
    CHECK_OK(tram_recv(alone.r, &msg, 0));
    CHECK(msg.seq == 1002 && msg.attempt == 1);
    /* Another stream waits; drained, this one makes room, and is not forgotten. */
    CHECK_ERR(stand_out_open(alone.stand, &another, &alone.out, &other), -EEXIST);
    CHECK(other.mirror && !other.held && other.id == 99 && other.accepted == 1002);
    CHECK_ERR(stand_out_remove(alone.stand, R, false), -ENOTEMPTY);
    CHECK_OK(tram_done(alone.r));
    CHECK_OK(stand_out_remove(alone.stand, R, false));
    CHECK_OK(stand_out_open(alone.stand, &another, &alone.out, NULL));
    CHECK_OK(stand_out_past(alone.stand, R, 99, &past));
    CHECK_EQ(past, 1002);
    /* The first one comes back, and says that less was consumed than there is known of here. */
    CHECK_OK(stand_out_remove(alone.stand, R, false));
    CHECK_OK(stand_out_open(alone.stand, &plan, &alone.out, NULL));
    CHECK_OK(stand_out_look(alone.out, &state));
    CHECK_EQ(state.consumed, 1002);
    end_alone(&alone);
}

/* ---- removed, lost, taken over --------------------------------------------------------------- */

/* The receiver is removed by force on its host: what waited there comes again from the origin. */
TEST(receiver_is_removed) {
    struct cable cable;
    struct tram_error error;
    tram_node *s;
    tram_node *r;

    begin(&cable);
    s = open_on(&cable, 0, S);
    r = open_on(&cable, 1, R);
    cable_plug(&cable);
    for (uint64_t n = 1; n <= 4; n++)
        CHECK_OK(send_number(s, R, n, 100));
    cable_settle(&cable);
    expect(r, S, 1, 1);
    expect(r, S, 2, 1);
    CHECK_OK(tram_done(r));
    (void) tram_close(r);
    cable_settle(&cable);
    CHECK_OK(custody_rm(cable.buses[1].path, R, true, &error));
    CHECK_OK(send_number(s, R, 5, 100));
    cable_settle(&cable);
    CHECK_EQ(cable.failed, -ESTALE);
    r = open_on(&cable, 1, R);
    cable_settle(&cable);
    for (uint64_t n = 3; n <= 5; n++) /* on their way then, and may have been seen */
        expect(r, S, n, n <= 4 ? 2 : 1);
    (void) tram_close(s);
    (void) tram_close(r);
    cable_close(&cable);
}

/* The receiver's host loses its memory. */
TEST(receivers_host_is_lost) {
    struct cable cable;
    tram_node *s;
    tram_node *r;

    begin(&cable);
    s = open_on(&cable, 0, S);
    r = open_on(&cable, 1, R);
    cable_plug(&cable);
    for (uint64_t n = 1; n <= 6; n++)
        CHECK_OK(send_number(s, R, n, 100));
    cable_settle(&cable);
    for (uint64_t n = 1; n <= 3; n++)
        expect(r, S, n, 1);
    cable_settle(&cable);
    (void) tram_close(r);
    cable_restart(&cable, 1);
    kit_remove_tree(cable.dirs[1]);
    cable_close(&cable);
    cable_init(&cable);
    cable_place(&cable, S, 0);
    cable_place(&cable, R, 1);
    cable_plug(&cable);
    CHECK_OK(send_number(s, R, 7, 100));
    r = open_on(&cable, 1, R);
    cable_settle(&cable);
    for (uint64_t n = 3; n <= 7; n++) /* the third was in hand, the others had arrived there */
        expect(r, S, n, n <= 6 ? 2 : 1);
    (void) tram_close(s);
    (void) tram_close(r);
    cable_close(&cable);
}

/* The sender's host loses its memory: a new stream, which waits for the old one. */
TEST(senders_host_is_lost) {
    struct cable cable;
    struct stand *stand;
    tram_node *s;
    tram_node *r;
    struct tram_msg msg;
    uint64_t old_stream;
    uint64_t consumed;

    begin(&cable);
    s = open_on(&cable, 0, S);
    r = open_on(&cable, 1, R);
    cable_plug(&cable);
    for (uint64_t n = 1; n <= 6; n++)
        CHECK_OK(send_number(s, R, n, 100));
    cable_settle(&cable);
    (void) tram_close(s);
    cable_close(&cable);
    kit_remove_tree(cable.dirs[0]);
    begin(&cable);
    s = open_on(&cable, 0, S);
    cable_plug(&cable);
    for (uint64_t n = 11; n <= 13; n++)
        CHECK_OK(send_number(s, R, n, 100));
    cable_settle(&cable);
    for (uint64_t n = 1; n <= 5; n++)
        expect(r, S, n, 1);
    CHECK_OK(tram_recv(r, &msg, 0));
    CHECK_EQ(msg.tag, 6);
    old_stream = msg.stream;
    cable_settle(&cable);
    CHECK_ERR(tram_recv(r, &msg, 0), -EAGAIN);
    CHECK_OK(tram_done(r));
    cable_settle(&cable);
    for (uint64_t n = 11; n <= 13; n++)
        expect(r, S, n, 1);
    stand = cable_stand(&cable, S, 1);
    CHECK_OK(stand_out_past(stand, R, old_stream, &consumed));
    CHECK_EQ(consumed, 6);
    CHECK_ERR(stand_out_past(stand, R, old_stream + 1, &consumed), -ENOENT);
    (void) tram_close(s);
    (void) tram_close(r);
    cable_close(&cable);
}

/* R is taken over by the origin's host, without a word from the other one: what had left may have
 * been seen, also if it is more than a process may have in hand. */
TEST(receiver_is_taken_over) {
    struct cable cable;
    tram_node *s;
    tram_node *r;

    begin(&cable);
    s = open_on(&cable, 0, S);
    cable_plug(&cable);
    for (uint64_t n = 1; n <= 600; n++)
        CHECK_OK(send_number(s, R, n, 20));
    cable_settle(&cable);
    for (uint64_t n = 601; n <= 610; n++)
        CHECK_OK(send_number(s, R, n, 20));
    stand_let_go(cable_stand(&cable, R, 0));
    r = open_on(&cable, 0, R);
    for (uint64_t n = 1; n <= 610; n++)
        expect(r, S, n, n <= 600 ? 2 : 1);
    (void) tram_close(s);
    (void) tram_close(r);
    cable_close(&cable);
}

static void die_with_three(void *arg) {
    const struct cable *cable = arg;
    tram_node *r = open_on(cable, 0, R);
    struct tram_msg msgs[3];
    int count = 0;

    while (count < 3)
        count += tram_recv_batch(r, msgs + count, 3 - count, TRAM_HOLD, 0);
    CHECK_OK(tram_release(r, &msgs[0]));
    _exit(0);
}

/* R ran beside the sender, died with messages in hand, and is placed elsewhere then. */
TEST(what_was_in_hand_here_is_marked_there) {
    struct cable cable;
    struct stand_in_state state;
    tram_node *s;
    tram_node *r;

    begin(&cable);
    s = open_on(&cable, 0, S);
    for (uint64_t n = 1; n <= 6; n++)
        CHECK_OK(send_number(s, R, n, 100));
    JOIN(test_fork(die_with_three, &cable));
    r = open_on(&cable, 1, R);
    CHECK_OK(stand_new(&cable.buses[0], R, 0, &cable.nodes[2].stands[0]));
    CHECK_OK(stand_take(cable.nodes[2].stands[0], &(struct tram_error){0}));
    stand_in_state(stand_in_find(cable.nodes[2].stands[0], S), &state);
    CHECK(state.consumed == 1 && state.handed == 3);
    cable_plug(&cable);
    cable_settle(&cable);
    for (uint64_t n = 2; n <= 6; n++)
        expect(r, S, n, n <= 3 ? 2 : 1);
    (void) tram_close(s);
    (void) tram_close(r);
    cable_close(&cable);
}

/* The mirror of an origin on a third host, for a receiver that moved here: what its old host knows
 * is all that may have been seen; unless it was placed anew since. */
static void enter_journal(uint64_t placed, unsigned attempt) {
    const struct stand_out_plan plan = {.to = R, .id = 99, .capacity = 65536, .consumed = 2,
                                        .unsure = 100};
    struct place place = {.id = R, .state = PLACE_HERE, .host = 1, .epoch = placed};
    struct stand_journal journal = {.from = S, .id = 99, .consumed = 2, .handed = 3, .epoch = 5,
                                    .count = 1};
    struct record record = {.seq = 3, .size = 8, .from = S};
    struct tram_error error;
    struct stand *receiver;
    struct alone alone;
    struct tram_msg msg;
    uint64_t accepted;

    begin(&alone.cable);
    journal.hands[0] = (struct stand_hand){.number = 3, .attempts = 2};
    CHECK_OK(stand_new(&alone.cable.buses[1], R, 0, &receiver));
    CHECK_OK(stand_take(receiver, &error));
    CHECK_OK(stand_import(receiver, &journal));
    CHECK_OK(place_write(&alone.cable.buses[1], &place));
    (void) stand_free(receiver);
    alone.r = open_on(&alone.cable, 1, R);
    CHECK_OK(stand_new(&alone.cable.buses[1], S, 0, &alone.stand));
    CHECK_OK(stand_take(alone.stand, &error));
    CHECK_OK(stand_out_open(alone.stand, &plan, &alone.out, NULL));
    CHECK_OK(feed(&alone, &record, &accepted));
    record.seq = 4;
    CHECK_OK(feed(&alone, &record, &accepted));
    CHECK_OK(tram_recv(alone.r, &msg, 0));
    CHECK(msg.seq == 3 && msg.attempt == 3);
    CHECK_OK(tram_recv(alone.r, &msg, 0));
    CHECK(msg.seq == 4 && msg.attempt == attempt);
    end_alone(&alone);
}

TEST(a_journal_is_exact) {
    enter_journal(5, 1);
}

TEST(a_journal_of_before_is_not) {
    enter_journal(6, 2);
}

/* What R sent when it ran here lies nowhere else: it is no mirror to be removed by force. */
TEST(an_origin_is_not_removed_by_force) {
    struct alone alone;
    struct stand_other other;
    tram_node *s;

    begin(&alone.cable);
    alone.r = open_on(&alone.cable, 1, R);
    s = open_on(&alone.cable, 1, S);
    CHECK_OK(send_number(s, R, 1, 100));
    (void) tram_close(s);
    cable_place(&alone.cable, S, 0);
    cable_plug(&alone.cable);
    alone.stand = cable_stand(&alone.cable, S, 1);
    CHECK_ERR(stand_out_open(alone.stand, &simple, &alone.out, &other), -EEXIST);
    CHECK(!other.mirror && !other.held && other.accepted == 1 && other.consumed == 0);
    CHECK_ERR(stand_out_remove(alone.stand, R, true), -ENOENT);
    CHECK_ERR(stand_out_remove(alone.stand, R, false), -ENOTEMPTY);
    expect(alone.r, S, 1, 1);
    CHECK_OK(tram_done(alone.r));
    CHECK_ERR(stand_out_remove(alone.stand, R, true), -ENOENT);
    CHECK_OK(stand_out_remove(alone.stand, R, false));
    CHECK_OK(stand_out_open(alone.stand, &simple, &alone.out, &other));
    (void) tram_close(alone.r);
    cable_close(&alone.cable);
}

/* An ephemeral node is asked, and answers; no other node may tidy away what is a mirror. */
TEST(ephemeral_nodes_cross) {
    struct cluster words = {.host = 1, .name = "a"};
    struct cable cable;
    struct tram_msg msg;
    tram_node *asks;
    tram_node *r;
    tram_id id;

    cable_init(&cable);
    CHECK_OK(cluster_write(&cable.buses[0], &words));
    asks = open_on(&cable, 0, TRAM_EPHEMERAL);
    id = tram_node_id(asks);
    cable_place(&cable, id, 0);
    cable_place(&cable, R, 1);
    r = open_on(&cable, 1, R);
    cable_plug(&cable);
    for (uint64_t n = 1; n <= 10; n++) {
        CHECK_OK(send_number(asks, R, n, 50));
        cable_settle(&cable);
        CHECK_OK(tram_recv(r, &msg, 0));
        CHECK_EQ(msg.from, id);
        CHECK_OK(send_number(r, id, n, 70));
        CHECK_OK(tram_done(r));
        cable_settle(&cable);
        expect(asks, R, n, 1);
        CHECK_OK(tram_done(asks));
        cable_settle(&cable);
        if (n == 5) { /* without a daemon, its receiver looks after a drained channel */
            cable_restart(&cable, 1);
            (void) tram_close(r);
            stand_let_go(cable_stand(&cable, id, 1));
            r = open_on(&cable, 1, R);
            (void) tram_close(r);
            CHECK_EQ(kit_count_files(cable.dirs[1], "mirror-*"), 1);
            CHECK(kit_count_files(cable.dirs[1], "from-240.1.*") == 1);
            r = open_on(&cable, 1, R);
            cable_restart(&cable, 1);
        }
    }
    (void) tram_close(asks);
    (void) tram_close(r);
    cable_close(&cable);
}

/* ---- no memory, and a disk ------------------------------------------------------------------- */

TEST(receivers_host_is_full) {
    struct cable cable;
    char dir[300];
    char path[400];
    uint8_t data[4000];
    tram_node *s;
    tram_node *r;
    uint64_t sent = 0;
    int fd;

    if (unshare(CLONE_NEWNS) < 0)
        SKIP("no mount namespace without root");
    (void) mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    (void) snprintf(dir, sizeof(dir), "%s/b", test_dir());
    CHECK_OK(mkdir(dir, 0700));
    if (mount("small", dir, "tmpfs", 0, "size=400k,mode=0700") < 0)
        SKIP("no tmpfs of a test's own");
    begin(&cable);
    s = open_on(&cable, 0, S);
    r = open_on(&cable, 1, R);
    cable_plug(&cable);
    CHECK_OK(send_number(s, R, ++sent, 100));
    cable_settle(&cable);
    /* Full but for some pages. */
    (void) snprintf(path, sizeof(path), "%s/ballast", dir);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    while (write(fd, data, sizeof(data)) == (ssize_t) sizeof(data))
        continue;
    while (send_number(s, R, sent + 1, 3000) == 0)
        sent++;
    CHECK(sent > 15);
    for (int i = 0; i < 20; i++)
        (void) cable_turn(&cable);
    CHECK_EQ(cable.failed, -ENOSPC);
    (void) close(fd);
    CHECK_OK(unlink(path));
    for (uint64_t n = 1; n <= sent; n++) {
        cable_settle(&cable);
        expect(r, S, n, 1);
    }
    (void) tram_close(s);
    (void) tram_close(r);
    cable_close(&cable);
    CHECK_OK(umount2(dir, MNT_DETACH));
}

/* Between a bus in memory and one on a disk, both ways. */
TEST(one_is_on_a_disk) {
    struct cable cable;
    char disk[DISK_PATH];
    char memory[200];
    tram_node *s;
    tram_node *r;

    disk_make(disk, "stand");
    (void) snprintf(memory, sizeof(memory), "%s/a", test_dir());
    cable_init_in(&cable, memory, disk);
    cable_place(&cable, S, 0);
    cable_place(&cable, R, 1);
    s = open_on(&cable, 0, S);
    r = open_on(&cable, 1, R);
    cable_plug(&cable);
    for (uint64_t round = 0; round < 40; round++) {
        for (uint64_t n = 10 * round + 1; n <= 10 * round + 10; n++) {
            CHECK_OK(send_number(s, R, n, 1000));
            CHECK_OK(send_number(r, S, n, 500));
        }
        if (round % 10 == 5)
            cable_restart(&cable, (int) (round / 10) % 2);
        cable_settle(&cable);
        for (uint64_t n = 10 * round + 1; n <= 10 * round + 10; n++) {
            expect(r, S, n, 1);
            expect(s, R, n, 1);
        }
    }
    (void) tram_close(s);
    (void) tram_close(r);
    cable_close(&cable);
    kit_remove_tree(disk);
}
