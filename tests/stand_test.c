/* SPDX-License-Identifier: MIT
 * test: timeout=60
 *
 * Stand-ins: nodes on two bus directories, which stand for two hosts, and what their daemons do
 * with src/node/stand.h in between (tests/support/cable.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <tram/tram.h>
#include <unistd.h>

#include "harness.h"
#include "support/cable.h"
#include "support/kit.h"

#define S TRAM_ID(1, 1, 1, 1)
#define R TRAM_ID(2, 2, 2, 2)
#define P TRAM_ID(3, 3, 3, 3)

static tram_node *open_on(const struct cable *cable, int host, tram_id id, uint64_t ring) {
    struct tram_options options = kit_options(ring, TRAM_NO_SPIN);

    return kit_open(cable->dirs[host], id, &options);
}

static void send_number(tram_node *node, tram_id to, uint64_t number, size_t size) {
    uint8_t *data = malloc(size);

    CHECK(data != NULL);
    pattern_fill(data, size, number);
    CHECK_OK(tram_send(node, to, (uint32_t) number, data, size, TRAM_NOWAIT));
    free(data);
}

/* The next message has this number and size, and comes as this attempt. */
static void expect(tram_node *node, tram_id from, uint64_t number, size_t size, unsigned attempt) {
    struct tram_msg msg;
    int rc = tram_recv(node, &msg, 0);

    if (rc < 0)
        FAIL("%llu: %s", (unsigned long long) number, kit_error(node));
    CHECK_EQ(msg.from, from);
    CHECK_EQ(msg.tag, number);
    CHECK_EQ(msg.seq, number);
    CHECK_EQ(msg.size, size);
    CHECK_EQ(msg.attempt, attempt);
    CHECK_EQ(pattern_check(msg.data, msg.size, number), -1);
}

static size_t size_of(uint64_t number) {
    return kit_mix(number, 1, 2) % 3 == 0 ? kit_mix(number, 3, 4) % 3000 : 8 + number % 64;
}

static void begin(struct cable *cable) {
    cable_init(cable);
    cable_place(cable, S, 0);
    cable_place(cable, R, 1);
}

TEST(messages_cross) {
    struct cable cable;
    tram_node *s;
    tram_node *r;
    struct stand_in_state state;

    begin(&cable);
    s = open_on(&cable, 0, S, 65536);
    r = open_on(&cable, 1, R, 65536);
    cable_plug(&cable);
    for (uint64_t number = 1; number <= 2000; number++) {
        send_number(s, R, number, size_of(number));
        send_number(r, S, number, size_of(number + 7));
        if (number % 16 == 0) {
            cable_settle(&cable);
            for (uint64_t n = number - 15; n <= number; n++) {
                expect(r, S, n, size_of(n), 1);
                expect(s, R, n, size_of(n + 7), 1);
            }
        }
    }
    CHECK_OK(tram_done(r));
    CHECK_OK(tram_done(s));
    CHECK_ERR(tram_recv(r, &(struct tram_msg){0}, 0), -EAGAIN);
    cable_settle(&cable);
    stand_in_state(stand_in_find(cable_stand(&cable, R, 0), S), &state);
    CHECK_EQ(state.consumed, 2000);
    CHECK_EQ(state.accepted, 2000);
    CHECK_EQ(state.handed, 2000);
    (void) tram_close(s);
    (void) tram_close(r);
    cable_close(&cable);
}

/* Wide records, and what goes with a message. */
TEST(what_goes_with_it_crosses) {
    struct cable cable;
    tram_node *s;
    tram_node *r;
    struct tram_msg msg;
    struct tram_meta meta = {.tag = 77, .layer = "fifteen letters"};
    char text[] = "hello";
    struct iovec piece = {.iov_base = text, .iov_len = 5};
    struct tram_options options = kit_options(65536, TRAM_NO_SPIN);

    begin(&cable);
    options.flags |= TRAM_OPEN_STAMP;
    s = kit_open(cable.dirs[0], S, &options);
    r = open_on(&cable, 1, R, 65536);
    cable_plug(&cable);
    CHECK_OK(tram_sendv(s, R, &meta, &piece, 1, 0, 0));
    CHECK_OK(tram_send(s, R, 5, "", 0, 0));
    cable_settle(&cable);
    CHECK_OK(tram_recv(r, &msg, 0));
    CHECK_EQ(msg.tag, 77);
    CHECK_MEM(msg.layer, meta.layer, sizeof(msg.layer));
    CHECK_MEM(msg.data, "hello", 5);
    CHECK(msg.time_ns > 0);
    CHECK_OK(tram_recv(r, &msg, 0));
    CHECK_EQ(msg.size, 0);
    (void) tram_close(s);
    (void) tram_close(r);
    cable_close(&cable);
}

/* The origin grows, and grows again; so does the mirror, by its own need; parts of records are on
 * their way when both ends are restarted. */
TEST_TIMEOUT(large_messages_cross, 60) {
    static const size_t sizes[] = {100, 200000, 50, 1 << 20, 30, 30, 64 << 20, 8, 70000};
    struct cable cable;
    tram_node *s;
    tram_node *r;
    const unsigned count = sizeof(sizes) / sizeof(sizes[0]);

    begin(&cable);
    s = open_on(&cable, 0, S, 65536);
    r = open_on(&cable, 1, R, 65536);
    cable_plug(&cable);
    for (unsigned i = 0; i < count; i++)
        send_number(s, R, i + 1, sizes[i]);
    for (unsigned i = 0; i < 400; i++) {
        (void) cable_turn(&cable);
        if (i % 50 == 49)
            cable_restart(&cable, (int) (i / 50) % 3 - 1);
    }
    cable_settle(&cable);
    for (unsigned i = 0; i < count; i++) {
        expect(r, S, i + 1, sizes[i], 1);
        cable_settle(&cable);
    }
    CHECK_OK(tram_done(r));
    cable_settle(&cable);
    CHECK_OK(tram_flush(s));
    (void) tram_timeout(s);
    (void) tram_close(s);
    (void) tram_close(r);
    cable_close(&cable);
    CHECK_EQ(kit_count_files(cable.dirs[0], "from-*"), 1);
    CHECK_EQ(kit_count_files(cable.dirs[1], "from-*+*"), 1);
}

/* A receiver that reads nothing holds up its sender, and nobody else. */
TEST(full_mirror) {
    struct cable cable;
    tram_node *s;
    tram_node *r;
    uint64_t sent = 0;
    uint64_t got = 0;
    uint8_t data[1000];
    struct tram_msg msg;

    begin(&cable);
    s = open_on(&cable, 0, S, 65536);
    r = open_on(&cable, 1, R, 65536);
    cable_plug(&cable);
    for (int quiet = 0; quiet < 2;) {
        pattern_fill(data, sizeof(data), sent + 1);
        if (tram_send(s, R, (uint32_t) (sent + 1), data, sizeof(data), TRAM_NOWAIT) == 0) {
            sent++;
            quiet = 0;
            continue;
        }
        cable_settle(&cable);
        quiet++;
    }
    CHECK(sent > 60 && sent < 64); /* what the origin has room for: it frees what is consumed */
    while (got < sent) {
        while (tram_recv(r, &msg, 0) == 0) {
            got++;
            CHECK_EQ(msg.seq, got);
            CHECK_EQ(pattern_check(msg.data, msg.size, got), -1);
        }
        cable_settle(&cable);
    }
    /* There is space again, and the sender is told. */
    pattern_fill(data, sizeof(data), sent + 1);
    CHECK_OK(tram_send(s, R, (uint32_t) (sent + 1), data, sizeof(data), TRAM_NOWAIT));
    cable_settle(&cable);
    expect(r, S, sent + 1, sizeof(data), 1);
    (void) tram_close(s);
    (void) tram_close(r);
    cable_close(&cable);
}

/* The receiver dies with messages in hand: as on one host. */
static void die_with_three(void *arg) {
    const struct cable *cable = arg;
    tram_node *r = open_on(cable, 1, R, 65536);
    struct tram_msg msgs[3];
    int count = 0;

    while (count < 3)
        count += tram_recv_batch(r, msgs + count, 3 - count, TRAM_HOLD, 0);
    _exit(0);
}

TEST(receiver_dies) {
    struct cable cable;
    tram_node *s;
    tram_node *r;

    begin(&cable);
    s = open_on(&cable, 0, S, 65536);
    cable_plug(&cable);
    for (uint64_t n = 1; n <= 10; n++)
        send_number(s, R, n, 100);
    cable_settle(&cable);
    JOIN(test_fork(die_with_three, &cable));
    r = open_on(&cable, 1, R, 65536);
    for (uint64_t n = 1; n <= 10; n++)
        expect(r, S, n, 100, n <= 3 ? 2 : 1);
    (void) tram_close(s);
    (void) tram_close(r);
    cable_close(&cable);
}

/* ---- openers --------------------------------------------------------------------------------- */

static void run_cable(void *arg) {
    struct cable *cable = arg;

    cable_plug(cable);
    cable_run(cable);
}

static int by_length(const void *a, const void *b) {
    int64_t left = *(const int64_t *) a;
    int64_t right = *(const int64_t *) b;

    return (left > right) - (left < right);
}

/* A node that opens where it is stood in for gets its ID at once, with what waits there. */
TEST(opener_waits_for_nobody) {
    struct cable cable;
    tram_node *s;
    int64_t took[20];
    pid_t daemon;

    begin(&cable);
    s = open_on(&cable, 0, S, 65536);
    send_number(s, R, 1, 100);
    for (int round = 0; round < 20; round++) {
        int64_t start;
        tram_node *r;

        daemon = test_fork(run_cable, &cable);
        CHECK(kit_await_asleep(cable.dirs[0], R));
        start = kit_now();
        r = open_on(&cable, 0, R, 65536);
        took[round] = kit_now() - start;
        (void) tram_close(r);
        test_kill(daemon);
    }
    qsort(took, 20, sizeof(took[0]), by_length);
    printf("    median %.2f ms, longest %.2f ms\n", (double) took[10] / 1e6,
           (double) took[19] / 1e6);
    CHECK(took[10] < 10 * KIT_MS * test_seconds(1)); /* the machine may be busy now and then */
    (void) tram_close(s);
    cable_close(&cable);
}

/* ---- moves ----------------------------------------------------------------------------------- */

/* The other host has what was not read in this life: it counts as having left, if there is such. */
TEST(what_is_there_from_before_was_handed) {
    struct cable cable;
    struct stand_news news;
    struct stand_in_state state;
    struct stand_in *in = NULL;
    struct stand_run run;
    tram_node *s;

    begin(&cable);
    s = open_on(&cable, 0, S, 65536);
    cable_plug(&cable);
    for (uint64_t n = 1; n <= 5; n++)
        send_number(s, R, n, 100);
    while (stand_next(cable_stand(&cable, R, 0), &news) > 0)
        if (news.what == STAND_NEW)
            in = news.in;
    CHECK(in != NULL);
    CHECK_OK(stand_in_handed(in, 3));
    CHECK_ERR(stand_in_handed(in, 6), -EINVAL);
    stand_in_state(in, &state);
    CHECK_EQ(state.handed, 3);
    CHECK_OK(stand_in_commit(in, 2));
    CHECK_EQ(stand_in_run(in, 4, 0, 1 << 20, &run), 1);
    CHECK_EQ(run.first, 4);
    CHECK_EQ(run.last, 5);
    (void) tram_close(s);
    cable_close(&cable);
}

/* Takes some, releases the second of three out of turn, and dies. */
static void die_out_of_turn(void *arg) {
    const struct cable *cable = arg;
    tram_node *r = open_on(cable, 1, R, 65536);
    struct tram_msg msgs[4];
    int count = 0;

    while (count < 4)
        count += tram_recv_batch(r, msgs + count, 4 - count, TRAM_HOLD, 0);
    CHECK_OK(tram_release(r, &msgs[0]));
    CHECK_OK(tram_release(r, &msgs[2]));
    _exit(0);
}

/* All that waits at R: from S, and from P. 2 and 4 of one of them come again. */
static void receive_moved(struct cable *cable, tram_node *r, tram_id first) {
    uint64_t seen[2] = {0};
    struct tram_msg msg;
    int marked = 0;
    int got = 0;

    for (int tries = 0; tries < 100; tries++) {
        cable_settle(cable);
        while (tram_recv(r, &msg, 0) == 0) {
            bool from_s = msg.from == S;

            CHECK(msg.seq > seen[from_s]);
            seen[from_s] = msg.seq;
            marked += msg.attempt > 1;
            CHECK_EQ(msg.attempt, msg.from == first && (msg.seq == 2 || msg.seq == 4) ? 2 : 1);
            CHECK_EQ(pattern_check(msg.data, msg.size, msg.seq), -1);
            got++;
        }
    }
    CHECK_EQ(got, 14);
    CHECK_EQ(marked, 2);
    CHECK_EQ(seen[0], 8);
    CHECK_EQ(seen[1], 8);
    CHECK_OK(tram_done(r));
}

/* `first` is who sent what is in hand, the third of it with so many bytes. */
static void move(tram_id first, size_t third) {
    struct cable cable;
    tram_node *s;
    tram_node *r;
    tram_node *p;

    begin(&cable);
    cable_place(&cable, P, 1);
    s = open_on(&cable, 0, S, 65536);
    p = open_on(&cable, 1, P, 65536);
    cable_plug(&cable);
    for (uint64_t n = 1; n <= 8; n++)
        send_number(first == S ? s : p, R, n, n == 3 ? third : 100);
    cable_settle(&cable);
    /* On B: 1 is done with, 2 and 4 are in hand, 3 is released. */
    JOIN(test_fork(die_out_of_turn, &cable));
    for (uint64_t n = 1; n <= 8; n++)
        send_number(first == S ? p : s, R, n, 50);
    cable_settle(&cable);
    cable_move(&cable, R, 0);
    cable_settle(&cable);
    r = open_on(&cable, 0, R, 65536);
    receive_moved(&cable, r, first);
    /* And back, with messages that came meanwhile. */
    for (uint64_t n = 9; n <= 12; n++) {
        send_number(s, R, n, 100);
        send_number(p, R, n, 50);
    }
    cable_settle(&cable);
    (void) tram_close(r);
    cable_move(&cable, R, 1);
    r = open_on(&cable, 1, R, 65536);
    for (int got = 0; got < 8;) {
        struct tram_msg msg;

        cable_settle(&cable);
        while (tram_recv(r, &msg, 0) == 0) {
            CHECK_EQ(msg.attempt, 1);
            CHECK(msg.seq >= 9 && msg.seq <= 12);
            got++;
        }
    }
    (void) tram_close(r);
    (void) tram_close(s);
    (void) tram_close(p);
    cable_close(&cable);
}

/* From the host that it moves to: an origin there, which had a mirror where it was. */
TEST(moves_to_its_senders_host) {
    move(S, 100);
}

/* From the host that it moves away from: an origin there, which gets a mirror where it goes. */
TEST(moves_away_from_its_sender) {
    move(P, 100);
}

/* What is in hand began in one ring and goes on in the next: the journal counts through the
 * link. */
TEST(moves_with_two_rings_to_its_senders_host) {
    move(S, 200000);
}

TEST(moves_with_two_rings_away_from_its_sender) {
    move(P, 200000);
}
