/* SPDX-License-Identifier: MIT
 *
 * The directory and its members, without anything between them but frames that are packed and
 * unpacked. What the directory noted is its file: a directory can be killed at any point.
 */
#include "wire/directory_world.h"

/* ---- hosts ----------------------------------------------------------------------------------- */

TEST(hosts_join_and_know_each_other) {
    struct world world;

    world_begin(&world);
    for (int i = 0; i < 3; i++)
        join(&world, i);
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(world.sides[i].number, i + 1);
        CHECK_EQ(world.sides[i].told, 1);
        for (int j = 1; j <= 3; j++)
            CHECK(world.sides[i].known[j] && !world.sides[i].away[j]);
    }
    world_end(&world);
}

TEST(numbers_stay_through_restarts) {
    struct world world;

    world_begin(&world);
    for (int i = 0; i < 3; i++)
        join(&world, i);
    for (int turn = 0; turn < 2; turn++) {
        directory_restart(&world, turn == 0); /* the members know their own, too */
        for (int i = 2; i >= 0; i--)
            join(&world, i);
        for (int i = 0; i < 3; i++)
            CHECK_EQ(world.sides[i].number, i + 1);
    }
    world_end(&world);
}

TEST(who_is_silent_is_away_and_keeps_all) {
    struct world world;

    world_begin_with(&world, 2);
    claim(&world, 1, NODE, false);
    cut(&world.sides[1]);
    directory_time(world.directory, world.now += 9 * SECOND);
    settle(&world);
    CHECK(!world.sides[0].away[2]);
    directory_time(world.directory, world.now += 2 * SECOND);
    settle(&world);
    CHECK(world.sides[0].away[2]);
    claim(&world, 0, NODE, false);
    CHECK_EQ(world.sides[0].error, -EHOSTUNREACH);
    CHECK_EQ(world.sides[0].holder, 2);
    join(&world, 1);
    CHECK(!world.sides[0].away[2]);
    CHECK_EQ(held(&world.sides[1], NODE), 1);
    world_end(&world);
}

TEST(a_second_host_of_the_same_name_is_refused) {
    struct world world;
    struct side *other;

    world_begin_with(&world, 1);
    other = &world.sides[1];
    other->world = &world;
    other->who = world.sides[0].who;
    other->who.instance[5] = 77;
    CHECK_OK(member_new(&other->who, &member_calls, other, &other->member));
    connect_side(other);
    CHECK_EQ(other->error, -EEXIST);
    CHECK_EQ(other->joined, 0);
    cut(&world.sides[0]); /* gone: then it is the host without its memory */
    connect_side(other);
    CHECK_EQ(other->joined, 1);
    CHECK_EQ(other->number, 1);
    world_end(&world);
}

TEST(strangers_are_refused) {
    struct world world;
    struct directory_member *seat;
    struct side *side;

    world_begin_with(&world, 1);
    side = &world.sides[1];
    side->world = &world;
    side->who = (struct member_who){ .cluster = "d", .host = "h1", .program = "1" };
    CHECK_OK(member_new(&side->who, &member_calls, side, &side->member));
    connect_side(side);
    CHECK_EQ(side->error, -EINVAL);
    side->member = member_free(side->member);
    side->who.cluster = "c";
    CHECK_OK(member_new(&side->who, &member_calls, side, &side->member));
    CHECK_OK(directory_connected(world.directory, world.now, side, "h2", &seat)); /* certificate */
    side->seat = seat;
    member_connected(side->member, world.now);
    settle(&world);
    CHECK_EQ(side->error, -EACCES);
    CHECK_EQ(side->joined, 0);
    world_end(&world);
}

/* ---- bounds ---------------------------------------------------------------------------------- */

TEST(what_may_not_be_had) {
    struct world world;
    struct side *d;

    world_begin(&world);
    join(&world, 3);
    d = &world.sides[3];
    claim(&world, 3, NODE, false);
    CHECK_EQ(d->error, -EACCES);
    for (uint32_t i = 1; i <= 8; i++)
        claim(&world, 3, 0x03000000 + i, false);
    CHECK_EQ(d->granted, 8);
    claim(&world, 3, 0x03000009, false);
    CHECK_EQ(d->error, -EDQUOT);
    member_release(d->member, 0x03000001, 1);
    settle(&world);
    claim(&world, 3, 0x03000009, false);
    CHECK_EQ(d->granted, 9);
    world.note_fails = 1;
    member_release(d->member, 0x03000002, 1);
    settle(&world);
    claim(&world, 3, 0x03000002, false); /* it stays there */
    CHECK_EQ(d->granted, 10);
    CHECK_EQ(d->epoch, 1);
    world_end(&world);
}

TEST(what_cannot_be_noted_is_not_granted) {
    struct world world;

    world_begin_with(&world, 2);
    world.note_fails = 1;
    claim(&world, 0, NODE, false);
    CHECK_EQ(world.sides[0].error, -ENOSPC);
    world.note_fails = 0;
    claim(&world, 1, NODE, false);
    CHECK_EQ(world.sides[1].epoch, 1);
    CHECK_EQ(world.sides[1].from_host, 0);
    world_end(&world);
}

TEST(beats_tell_silence) {
    struct world world;
    struct side *a;
    int64_t next;

    world_begin_with(&world, 1);
    a = &world.sides[0];
    for (int i = 0; i < 20; i++) {
        next = member_time(a->member, world.now);
        CHECK(next > world.now);
        settle(&world);
        world.now = next;
    }
    CHECK(!directory_silent(world.directory, a->seat, world.now));
    CHECK(directory_silent(world.directory, a->seat, world.now + 11 * SECOND));
    CHECK_EQ(member_time(a->member, world.now + 11 * SECOND), -ETIMEDOUT);
    world_end(&world);
}

/* ---- by seed --------------------------------------------------------------------------------- */

/* Whatever happens, a node is held by one host at most among those that are connected, once all has
 * been said. */
static void check_world(struct world *world) {
    for (uint32_t id = NODE; id < NODE + 3; id++) {
        int holders = 0;

        for (int i = 0; i < 3; i++)
            if (world->sides[i].member && world->sides[i].seat)
                holders += held(&world->sides[i], id) > 0;
        CHECK(holders <= 1);
    }
}

TEST(by_seed) {
    for (unsigned seed = 1; seed <= 300; seed++) {
        struct world world;
        unsigned dice = seed;

        world_begin(&world);
        for (int step = 0; step < 60; step++) {
            int i = rand_r(&dice) % 3;
            struct side *side = &world.sides[i];
            uint32_t id = NODE + (uint32_t) rand_r(&dice) % 3;

            if (!side->member || !side->seat) {
                join(&world, i);
                continue;
            }
            switch (rand_r(&dice) % 12) {
            case 0:
                cut(side);
                break;
            case 1:
                directory_restart(&world, true);
                break;
            case 2:
                forget(side);
                break;
            case 3:
                (void) member_claim(side->member, id, id, true);
                break;
            case 4:
                if (held(side, id))
                    member_release(side->member, id, held(side, id));
                hold(side, id, 0);
                break;
            case 5:
                side->refuse_yield = rand_r(&dice) % 3 == 0 ? -EADDRINUSE : 0;
                break;
            default:
                if (held(side, id) == 0)
                    (void) member_claim(side->member, id, id, false);
            }
            settle(&world);
            world.now += SECOND;
            directory_time(world.directory, world.now);
            settle(&world);
            check_world(&world);
        }
        world_end(&world);
    }
}
