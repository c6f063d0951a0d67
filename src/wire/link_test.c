/* SPDX-License-Identifier: MIT
 *
 * Channels of a link: what each function says. What happens over long times and many hosts is the
 * simulator's (tests/sim/).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "support/link_world.h"

/* ---- what holds ------------------------------------------------------------------------------ */

TEST(messages_cross_and_are_freed_when_consumed) {
    struct world w;
    struct origin *o;
    struct mirror *m;

    world_init(&w);
    o = world_channel(&w, 1, WIRE);
    m = &w.b.mirrors[1];
    world_connect(&w);
    for (unsigned i = 0; i < 300; i++)
        world_send(o, i % 50 == 0 ? 200000 + i : i * 8);
    CHECK_OK(world_pass(&w, 10 * MS));
    world_check_same(&w, 1);
    CHECK_EQ(o->handed, 300);
    CHECK_EQ(o->committed, 0); /* nothing is freed for having arrived */
    m->consumed = 120;
    CHECK_OK(world_pass(&w, 600 * MS));
    CHECK_EQ(o->committed, 120);
    m->consumed = 300;
    CHECK_OK(world_pass(&w, 600 * MS));
    CHECK_EQ(o->committed, 300);
    world_free(&w);
}

TEST(a_byte_at_a_time) {
    struct world w;
    struct origin *o;

    world_init(&w);
    o = world_channel(&w, 1, WIRE);
    world_connect(&w);
    for (unsigned i = 0; i < 20; i++)
        world_send(o, i * 100);
    w.chunk = 1;
    CHECK_OK(world_pass(&w, 10 * MS));
    world_check_same(&w, 1);
    world_free(&w);
}

TEST(after_a_cut_it_goes_on_behind_what_is_there) {
    struct world w;
    struct origin *o;
    struct link_stats stats;
    int rc = 0;

    world_init(&w);
    o = world_channel(&w, 1, WIRE);
    world_connect(&w);
    CHECK_OK(world_settle(&w));
    for (unsigned i = 0; i < 10; i++)
        world_send(o, 100000);
    w.chunk = 250000; /* in the middle of the third */
    (void) world_move(&w, &w.a, &w.b, &rc);
    CHECK_EQ(w.b.mirrors[1].accepted, 2);
    CHECK(w.b.mirrors[1].placed > 0);
    world_cut(&w);
    CHECK_EQ(w.b.mirrors[1].placed, 0);
    CHECK_EQ(w.b.mirrors[1].end, LINK_CUT);
    CHECK(w.b.mirrors[1].closed_more);
    w.chunk = SIZE_MAX;
    world_connect(&w);
    CHECK_OK(world_pass(&w, 10 * MS));
    world_check_same(&w, 1);
    link_stats(w.a.link, &stats);
    CHECK(stats.retransmitted > 0 && stats.retransmitted <= 262144);
    CHECK_EQ(stats.connections, 2);
    CHECK_EQ(w.a.ups, 2);
    CHECK_EQ(w.a.downs, 1);
    world_free(&w);
}

/* `handed` fell, as the receiver was at home in between: ten are over there from before. */
static struct origin *begin_fallen(struct world *w) {
    struct origin *o;

    world_init(w);
    o = world_channel(w, 1, WIRE);
    world_connect(w);
    for (unsigned i = 0; i < 10; i++)
        world_send(o, 100);
    CHECK_OK(world_settle(w));
    CHECK_EQ(w->b.mirrors[1].accepted, 10);
    world_cut(w);
    o->handed = 3;
    w->b.mirrors[1].consumed = 5;
    return o;
}

TEST(what_a_mirror_has_from_before_has_left) {
    struct world w;
    struct origin *o = begin_fallen(&w);

    world_send(o, 100);
    world_connect(&w);
    CHECK_OK(world_pass(&w, 10 * MS));
    CHECK_EQ(o->answer, LINK_TAKEN);
    CHECK_EQ(o->handed, 11);
    CHECK_EQ(o->committed, 5);
    world_check_same(&w, 1);
    world_free(&w);
}

/* All of it had come before the last cut: nothing is cut short by the next one. */
TEST(who_has_all_of_it_misses_nothing) {
    struct world w;
    struct origin *o = begin_fallen(&w);

    w.b.mirrors[1].consumed = 10;
    world_connect(&w);
    CHECK_OK(world_pass(&w, 10 * MS));
    CHECK_EQ(o->committed, 10);
    world_cut(&w);
    CHECK_EQ(w.b.mirrors[1].end, LINK_CUT);
    CHECK(!w.b.mirrors[1].closed_more);
    world_free(&w);
}

TEST(what_was_consumed_before_it_was_refused_has_left) {
    struct world w;
    struct origin *o = begin_fallen(&w);

    w.b.answer = LINK_AWAY;
    world_connect(&w);
    CHECK_OK(world_settle(&w));
    CHECK_EQ(o->answer, LINK_AWAY);
    CHECK_EQ(o->handed, 5);
    CHECK_EQ(o->committed, 5);
    world_free(&w);
}

TEST(a_mirror_has_no_more_than_there_was) {
    struct world w;
    struct origin *o = begin_fallen(&w);
    struct mirror *m = &w.b.mirrors[1];

    m->accepted = 11;
    m->at[11] = m->at[10];
    world_connect(&w);
    CHECK_OK(world_settle(&w));
    CHECK_EQ(o->answer, LINK_BROKEN);
    CHECK_EQ(o->handed, 3);
    CHECK_EQ(o->committed, 0);
    world_free(&w);
}

TEST(a_full_mirror_holds_up_itself_only) {
    struct world w;
    struct origin *full, *other;

    world_init(&w);
    full = world_channel(&w, 1, 100000);
    other = world_channel(&w, 2, WIRE);
    world_connect(&w);
    for (unsigned i = 0; i < 1000; i++)
        world_send(full, 1000);
    world_send(other, 5);
    CHECK_OK(world_pass(&w, 10 * MS));
    CHECK(w.b.mirrors[1].accepted < 100);
    world_check_same(&w, 2);
    CHECK(w.b.mirrors[1].wants > 0);
    for (int i = 0; i < 1000 && w.b.mirrors[1].accepted < 1000; i++) {
        w.b.mirrors[1].consumed = w.b.mirrors[1].accepted;
        link_kick_in(w.b.link, w.b.mirrors[1].in); /* as it wished */
        CHECK_OK(world_settle(&w));
    }
    world_check_same(&w, 1);
    world_free(&w);
}

TEST(a_large_message_holds_up_nobody_for_long) {
    struct world w;
    struct origin *large, *other;
    const struct link_piece *pieces;
    size_t before = 0;
    int rc = 0, count, i;

    world_init(&w);
    large = world_channel(&w, 1, WIRE);
    other = world_channel(&w, 2, WIRE);
    world_connect(&w);
    CHECK_OK(world_settle(&w));
    world_send(large, 40u << 20);
    (void) world_move(&w, &w.a, &w.b, &rc);
    world_send(other, 3000); /* more than is copied: it is found by its place */
    count = link_pieces(w.a.link, w.now, &pieces);
    for (i = 0; i < count && pieces[i].base != other->bytes; i++)
        before += pieces[i].size;
    CHECK(i < count && before <= 2 * LINK_PART);
    CHECK_OK(world_pass(&w, 10 * MS));
    world_check_same(&w, 1);
    world_check_same(&w, 2);
    world_free(&w);
}

TEST(without_memory_it_stalls_and_goes_on) {
    struct world w;
    struct origin *o;
    struct link_out_info info;
    struct link_stats stats;

    world_init(&w);
    o = world_channel(&w, 1, WIRE);
    world_connect(&w);
    CHECK_OK(world_settle(&w));
    w.b.mirrors[1].no_memory = true;
    for (unsigned i = 0; i < 40; i++)
        world_send(o, 30000);
    CHECK_OK(world_pass(&w, 50 * MS));
    link_out_info(o->out, &info);
    CHECK(info.stalled && info.stalls == 1);
    link_stats(w.b.link, &stats);
    CHECK(stats.dropped > 0 && stats.stalls_in == 1);
    CHECK_OK(world_pass(&w, 5000 * MS)); /* and it is not tried in vain */
    link_out_info(o->out, &info);
    CHECK_EQ(info.stalls, 1);
    w.b.mirrors[1].no_memory = false;
    CHECK_OK(world_pass(&w, 1100 * MS));
    world_check_same(&w, 1);
    world_free(&w);
}

TEST(what_has_to_wait_is_told_when_not_any_more) {
    struct world w;
    struct origin *o;

    world_init(&w);
    o = world_channel(&w, 1, WIRE);
    w.b.answer = LINK_WAIT;
    world_connect(&w);
    world_send(o, 10);
    CHECK_OK(world_pass(&w, 5000 * MS));
    CHECK_EQ(o->answer, LINK_WAIT);
    CHECK_EQ(o->answers, 1);
    w.b.answer = LINK_TAKEN;
    link_ready(w.b.link, w.b.mirrors[1].in);
    CHECK_OK(world_pass(&w, 10 * MS));
    world_check_same(&w, 1);
    w.b.mirrors[1].consumed = 1;
    link_refuse(w.b.link, w.b.mirrors[1].in, LINK_WAIT); /* and back, and on, in one batch */
    link_ready(w.b.link, w.b.mirrors[1].in);
    CHECK_EQ(w.b.mirrors[1].offer.consumed, 1); /* as the refusal says: it is freed there */
    world_send(o, 20);
    CHECK_OK(world_pass(&w, 10 * MS));
    world_check_same(&w, 1);
    world_free(&w);
}

TEST(later_is_asked_again_by_the_clock) {
    struct world w;
    struct origin *o;

    world_init(&w);
    o = world_channel(&w, 1, WIRE);
    w.b.answer = LINK_LATER;
    world_connect(&w);
    world_send(o, 10);
    CHECK_OK(world_pass(&w, 3000 * MS));
    CHECK_EQ(o->answer, LINK_LATER);
    CHECK_EQ(o->answers, 1); /* told once */
    CHECK(w.b.opens > 2 && w.b.opens < 10);
    w.b.answer = LINK_TAKEN;
    CHECK_OK(world_pass(&w, 1100 * MS));
    world_check_same(&w, 1);
    world_free(&w);
}

TEST(who_is_refused_sends_nothing) {
    struct world w;
    struct origin *o;

    world_init(&w);
    o = world_channel(&w, 1, WIRE);
    world_connect(&w);
    world_send(o, 10);
    CHECK_OK(world_pass(&w, 10 * MS));
    w.b.mirrors[1].consumed = 1;
    link_refuse(w.b.link, w.b.mirrors[1].in, LINK_AWAY);
    CHECK_EQ(w.b.mirrors[1].end, LINK_REFUSED);
    world_send(o, 10);
    CHECK_OK(world_pass(&w, 10 * MS));
    CHECK_EQ(o->answer, LINK_AWAY);
    CHECK_EQ(o->committed, 1); /* as the refusal said */
    CHECK_EQ(w.b.mirrors[1].accepted, 1);
    o->out = link_close(w.a.link, o->out, LINK_MOVED, true);
    CHECK_OK(link_open(w.a.link, &o->name, o, &o->out)); /* it came back */
    CHECK_OK(world_pass(&w, 10 * MS));
    CHECK_EQ(w.b.mirrors[1].accepted, 2);
    world_free(&w);
}

TEST(a_nonsense_record_ends_its_channel_alone) {
    struct world w;
    struct origin *bad, *good;

    world_init(&w);
    bad = world_channel(&w, 1, WIRE);
    good = world_channel(&w, 2, WIRE);
    world_connect(&w);
    world_send(bad, 10);
    bad->bytes[0] = 9;
    world_send(good, 10);
    CHECK_OK(world_pass(&w, 10 * MS));
    CHECK_EQ(bad->answer, LINK_BROKEN);
    world_check_same(&w, 2);
    good->nonsense = true; /* as seen on the sender's host */
    world_send(good, 10);
    CHECK_OK(world_pass(&w, 10 * MS));
    CHECK_EQ(good->answer, LINK_BROKEN);
    CHECK(link_is_up(w.a.link) && link_is_up(w.b.link));
    world_free(&w);
}

TEST(a_ring_that_is_closed_is_not_read_any_more) {
    struct world w;
    struct origin *o;
    const struct link_piece *pieces;
    int rc = 0;

    world_init(&w);
    o = world_channel(&w, 1, WIRE);
    world_connect(&w);
    CHECK_OK(world_settle(&w));
    for (unsigned i = 0; i < 3; i++)
        world_send(o, 50000);
    w.chunk = 10;
    (void) world_move(&w, &w.a, &w.b, &rc);
    CHECK(link_pieces(w.a.link, w.now, &pieces) > 1);
    o->out = link_close(w.a.link, o->out, LINK_ENDED, false);
    memset(o->bytes, 0xee, WIRE);
    w.chunk = SIZE_MAX;
    CHECK_OK(world_pass(&w, 10 * MS));
    CHECK_EQ(w.b.mirrors[1].accepted, 3); /* what was on its way came */
    CHECK(!w.b.mirrors[1].open);
    CHECK_EQ(w.b.mirrors[1].end, LINK_ENDED);
    world_free(&w);
}

TEST(settled_comes_behind_all_opens) {
    struct world w;

    world_init(&w);
    for (int i = 0; i < CHANNELS; i++)
        (void) world_channel(&w, i, WIRE);
    world_connect(&w);
    link_settle(w.a.link);
    CHECK_OK(world_settle(&w));
    CHECK_EQ(w.b.settled, 1);
    for (int i = 0; i < CHANNELS; i++)
        CHECK(w.b.mirrors[i].open);
    world_free(&w);
}

TEST(control_is_in_order_and_bounded) {
    struct world w;
    char text[LINK_CONTROL_MAX] = "0";
    int rc = 0, sent = 0;

    world_init(&w);
    CHECK_ERR(link_control(w.a.link, text, 1), -ENOTCONN);
    world_connect(&w);
    CHECK_ERR(link_control(w.a.link, text, 0), -EMSGSIZE);
    CHECK_ERR(link_control(w.a.link, text, sizeof(text) + 1), -EMSGSIZE);
    while ((rc = link_control(w.a.link, text, sizeof(text))) == 0)
        sent++;
    CHECK_ERR(rc, -ENOBUFS);
    CHECK(link_control_waits(w.a.link) <= 4u << 20);
    CHECK_OK(world_settle(&w));
    CHECK_EQ(w.b.controls, sent);
    CHECK_OK(link_control(w.a.link, "one", 4));
    CHECK_OK(link_control(w.a.link, "two", 4));
    CHECK_OK(world_settle(&w));
    CHECK_STR(w.b.control, "two");
    CHECK_OK(link_control(w.a.link, "bad", 3));
    CHECK_ERR(world_settle(&w), -ECONNRESET); /* the BYE with which b ends it */
    CHECK_STR(link_wrong(w.b.link), "bad it says");
    CHECK_STR(link_wrong(w.a.link), "beta ends the connection: bad it says");
    world_free(&w);
}
