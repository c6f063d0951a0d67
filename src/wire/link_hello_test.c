/* SPDX-License-Identifier: MIT
 *
 * Connections of a link, its clock, and a peer that speaks nonsense.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "support/link_world.h"

/* ---- connections ----------------------------------------------------------------------------- */

TEST(of_two_connections_both_ends_take_the_same) {
    for (int order = 0; order < 4; order++) {
        struct greet a1, b1, a2, b2;
        enum link_meet met1, met2;
        struct world w;

        world_init(&w);
        world_greet(&w, &a1, &b1);
        world_greet(&w, &a2, &b2);
        met1 = order & 1 ? LINK_MEET_WAIT : link_meet(w.b.link, &b1, w.now);
        met2 = link_meet(w.b.link, &b2, w.now);
        if (order & 1)
            met1 = link_meet(w.b.link, &b1, w.now);
        CHECK_EQ(met1, order & 1 ? LINK_MEET_DROP : LINK_MEET_TAKEN);
        CHECK_EQ(met2, LINK_MEET_TAKEN);
        if (order & 2) { /* the younger's USE comes first */
            CHECK_EQ(world_greet_step(&b2, &a2), 1);
            CHECK_EQ(link_meet(w.a.link, &a2, w.now), LINK_MEET_TAKEN);
        }
        if (world_greet_step(&b1, &a1) == 1)
            CHECK_EQ(link_meet(w.a.link, &a1, w.now),
                     order & 2 ? LINK_MEET_DROP : LINK_MEET_TAKEN);
        else
            CHECK_STR(a1.wrong.text, "a younger connection is in use");
        if (!(order & 2)) {
            CHECK_EQ(world_greet_step(&b2, &a2), 1);
            CHECK_EQ(link_meet(w.a.link, &a2, w.now), LINK_MEET_TAKEN);
        }
        (void) world_channel(&w, 1, WIRE);
        world_send(&w.a.origins[1], 5);
        CHECK_OK(world_pass(&w, 10 * MS));
        world_check_same(&w, 1);
        world_free(&w);
    }
}

TEST(a_daemon_that_started_anew_is_taken_at_once) {
    struct world w;
    struct greet ga, gb;

    world_init(&w);
    world_connect(&w);
    w.a.link = link_free(w.a.link);
    w.a.self.life++;
    w.a.tries = 0;
    CHECK_OK(link_new(&w.a.self, "beta", NULL, &world_store, &w.a, &w.a.link));
    world_connect(&w); /* b doesn't know yet that the old one is gone */
    CHECK_EQ(w.b.downs, 1);
    w.a.self.life = 1; /* and what the old one sent last comes late */
    world_greet(&w, &ga, &gb);
    CHECK_EQ(link_meet(w.b.link, &gb, w.now), LINK_MEET_DROP);
    world_free(&w);
}

TEST(who_does_not_fit_is_told_why) {
    static const struct {
        const char *host, *cluster;
        int error;
        const char *text;
    } cases[] = {
        {"beta", "c", -ELOOP, "both ends are called beta"},
        {"alpha", "other", -EREMOTE, "alpha is of the cluster other, beta of c"},
        {"al pha", "c", -EBADMSG, "a HELLO of a host or cluster that has no proper name"},
    };
    struct world w;

    world_init(&w);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        strcpy(w.a.self.host, cases[i].host);
        strcpy(w.a.self.cluster, cases[i].cluster);
        greet_init(&w.greet_a, &w.a.self, 1, w.now);
        greet_init(&w.greet_b, &w.b.self, 1, w.now);
        CHECK_ERR(world_greet_step(&w.greet_a, &w.greet_b), cases[i].error);
        CHECK_STR(w.greet_b.wrong.text, cases[i].text);
    }
    strcpy(w.a.self.host, "gamma");
    greet_init(&w.greet_a, &w.a.self, 1, w.now);
    greet_init(&w.greet_b, &w.b.self, 1, w.now);
    put16(w.greet_a.out_bytes + FRAME_HEAD + 8, 7);
    put16(w.greet_a.out_bytes + FRAME_HEAD + 10, 9);
    CHECK_ERR(world_greet_step(&w.greet_a, &w.greet_b), -EPROTO);
    CHECK_STR(w.greet_b.wrong.text,
              "gamma speaks the versions 7 to 9 of the link, beta 1 to 1");
    w.greet_b.out = FRAME_HEAD + HELLO_SIZE; /* the HELLO has gone by */
    CHECK_ERR(world_greet_step(&w.greet_b, &w.greet_a), -ECONNREFUSED);
    CHECK_STR(w.greet_a.wrong.text, w.greet_b.wrong.text);
    world_free(&w);
}

TEST(a_newer_version_that_speaks_ours_is_taken) {
    struct world w;
    struct link_head head;

    world_init(&w);
    greet_init(&w.greet_a, &w.a.self, 1, w.now);
    greet_init(&w.greet_b, &w.b.self, 1, w.now);
    CHECK_OK(link_head_read(w.greet_a.out_bytes, &head, NULL));
    put16(w.greet_a.out_bytes + FRAME_HEAD + 10, 9); /* and says more in its HELLO */
    head.size += 8;
    link_head_write(w.greet_a.out_bytes, &head);
    w.greet_a.out_end += 8;
    CHECK_EQ(world_greet_step(&w.greet_a, &w.greet_b), 1);
    CHECK_EQ(w.greet_b.peer.version, LINK_VERSION);
    world_free(&w);
}

/* ---- time ------------------------------------------------------------------------------------ */

TEST(at_rest_there_is_a_ping_a_beat_and_nothing_else) {
    struct world w;
    struct link_stats before, after;

    world_init(&w);
    (void) world_channel(&w, 1, WIRE);
    world_send(&w.a.origins[1], 5);
    world_connect(&w);
    CHECK_OK(world_pass(&w, 100 * MS));
    w.b.mirrors[1].consumed = 1;
    CHECK_OK(world_pass(&w, 5000 * MS));
    link_stats(w.a.link, &before);
    CHECK_OK(world_pass(&w, 20000 * MS));
    link_stats(w.a.link, &after);
    CHECK_EQ(after.frames_out - before.frames_out, 20); /* 10 PING, 10 PONG */
    world_free(&w);
}

TEST(silence_is_noticed_soon_and_death_later) {
    struct world w;

    world_init(&w);
    (void) world_channel(&w, 1, WIRE);
    world_connect(&w);
    CHECK_OK(world_pass(&w, 1000 * MS));
    CHECK(!link_wants(w.a.link, w.now));
    world_send(&w.a.origins[1], 5); /* into a wire that nobody reads */
    for (uint64_t end = w.now + 200 * MS; w.now < end; w.now += MS) {
        const struct link_piece *pieces;

        CHECK_OK(link_time(w.a.link, w.now));
        for (int n = link_pieces(w.a.link, w.now, &pieces), i = 0; i < n; i++)
            link_wrote(w.a.link, w.now, pieces[i].size);
        if (w.now < end - 80 * MS)
            CHECK(!link_wants(w.a.link, w.now));
    }
    CHECK(link_wants(w.a.link, w.now));
    CHECK_OK(link_time(w.a.link, w.now + 8000 * MS));
    CHECK_ERR(link_time(w.a.link, w.now + 10000 * MS), -ETIMEDOUT);
    CHECK(strncmp(link_wrong(w.a.link), "beta has said nothing for 1", 27) == 0);
    world_free(&w);
}

TEST(clocks_are_compared) {
    struct world w;
    struct link_stats stats;

    world_init(&w);
    w.a.wall = 5000 * MS;
    w.b.wall = 9000 * MS;
    world_connect(&w);
    CHECK_OK(world_pass(&w, 10000 * MS));
    link_stats(w.a.link, &stats);
    CHECK(stats.offset_known);
    CHECK_EQ(stats.offset, (int64_t) (4000 * MS));
    link_stats(w.b.link, &stats);
    CHECK_EQ(stats.offset, -(int64_t) (4000 * MS));
    CHECK_EQ(stats.rtt, 1);
    world_free(&w);
}

/* ---- a peer that speaks nonsense ------------------------------------------------------------- */

static int say_nonsense(struct link_head head, const char *text) {
    uint8_t bytes[FRAME_HEAD + LINK_PART] = {0};
    struct world w;
    int rc;

    world_init(&w);
    (void) world_channel(&w, 1, WIRE);
    world_connect(&w);
    world_send(&w.a.origins[1], 5);
    CHECK_OK(world_pass(&w, 10 * MS));
    link_head_write(bytes, &head);
    memset(bytes + FRAME_HEAD, 0x11, sizeof(bytes) - FRAME_HEAD);
    rc = link_read(w.b.link, w.now, bytes,
                   FRAME_HEAD + (head.size < LINK_PART ? head.size : LINK_PART));
    if (rc < 0 && !strstr(link_wrong(w.b.link), text))
        FAIL("\"%s\" instead of \"%s\"", link_wrong(w.b.link), text);
    world_free(&w);
    return rc;
}

TEST(nonsense_ends_the_connection) {
    CHECK_ERR(say_nonsense((struct link_head){.type = 0}, "unknown type 0"), -EBADMSG);
    CHECK_ERR(say_nonsense((struct link_head){.type = LINK_TYPES}, "unknown type"), -EBADMSG);
    CHECK_ERR(say_nonsense((struct link_head){.type = LINK_PING}, "PING of 0 bytes"), -EBADMSG);
    CHECK_ERR(say_nonsense((struct link_head){.type = LINK_CONTROL, .size = LINK_PART + 1},
                           "CONTROL of 65537 bytes"), -EBADMSG);
    CHECK_ERR(say_nonsense((struct link_head){.type = LINK_HERE, .flags = 1}, "flags"), -EBADMSG);
    CHECK_ERR(say_nonsense((struct link_head){.type = LINK_HERE, .channel = 1}, "channel 1"),
              -EBADMSG);
    CHECK_ERR(say_nonsense((struct link_head){.type = LINK_HERE, .turn = 1}, "turn 1"), -EBADMSG);
    CHECK_ERR(say_nonsense((struct link_head){.type = LINK_OPEN, .size = OPEN_SIZE}, "serial 0"),
              -EBADMSG);
    CHECK_ERR(say_nonsense((struct link_head){.type = LINK_OPEN, .size = OPEN_SIZE, .serial = 9},
                           "is open"), -EBADMSG);
    CHECK_ERR(say_nonsense((struct link_head){.type = LINK_OPEN, .size = OPEN_SIZE, .serial = 9,
                                              .channel = 1}, "contradicts itself"), -EBADMSG);
    CHECK_ERR(say_nonsense((struct link_head){.type = LINK_OPEN, .size = OPEN_SIZE, .serial = 9,
                                              .channel = LINK_CHANNELS}, "OPEN of channel 65536"),
              -EBADMSG);
    CHECK_ERR(say_nonsense((struct link_head){.type = LINK_DATA, .size = 100, .serial = 1},
                           "DATA of message"), -EBADMSG);
    CHECK_ERR(say_nonsense((struct link_head){.type = LINK_HELLO, .size = HELLO_SIZE},
                           "in the middle"), -EBADMSG);
    CHECK_ERR(say_nonsense((struct link_head){.type = LINK_CLOSE, .size = CLOSE_SIZE, .serial = 1},
                           "CLOSE with the reason"), -EBADMSG);
    CHECK_ERR(say_nonsense((struct link_head){.type = LINK_BYE, .size = 3}, "alpha ends"),
              -ECONNRESET);
    /* Frames about channels that are no more are no nonsense. */
    CHECK_OK(say_nonsense((struct link_head){.type = LINK_STATE, .size = STATE_SIZE, .serial = 7},
                          ""));
    CHECK_OK(say_nonsense((struct link_head){.type = LINK_DATA, .size = 100, .serial = 7}, ""));
    CHECK_OK(say_nonsense((struct link_head){.type = LINK_PONG, .size = PONG_SIZE}, ""));
}

/* Counts of a hostile mirror free nothing. */
TEST(counts_that_can_not_be_break_the_channel) {
    static const struct {
        uint8_t type;
        uint64_t accepted, consumed, credit;
    } cases[] = {
        {LINK_ACK, 4, 0, 1u << 30}, {LINK_ACK, 3, 4, 1u << 30}, {LINK_ACK, 3, 0, 1u << 30},
        {LINK_ACK, 2, 2, 1u << 30}, {LINK_ACK, 3, 3, 5},        {LINK_STALL, 4, 3, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct link_head head = {cases[i].type, 0, 0, 0, ACK_SIZE, 1};
        uint8_t bytes[FRAME_HEAD + ACK_SIZE];
        struct origin *o;
        struct world w;

        world_init(&w);
        o = world_channel(&w, 1, WIRE);
        world_connect(&w);
        for (int n = 0; n < 3; n++)
            world_send(o, 5);
        CHECK_OK(world_settle(&w));
        w.b.mirrors[1].consumed = 1;
        CHECK_OK(world_pass(&w, 100 * MS));
        CHECK_EQ(o->committed, 1);
        if (head.type == LINK_STALL)
            head.size = STALL_SIZE;
        link_head_write(bytes, &head);
        put64(bytes + FRAME_HEAD, cases[i].accepted);
        put64(bytes + FRAME_HEAD + 8, cases[i].consumed);
        put64(bytes + FRAME_HEAD + 16, cases[i].credit);
        CHECK_OK(link_read(w.a.link, w.now, bytes, FRAME_HEAD + head.size));
        CHECK_EQ(o->answer, LINK_BROKEN);
        CHECK_EQ(o->committed, 1);
        CHECK(link_is_up(w.a.link));
        world_free(&w);
    }
}
