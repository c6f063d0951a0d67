/* SPDX-License-Identifier: MIT
 *
 * Where the directory places nodes: claims, yielding, take-overs, and what is lost.
 */
#include "wire/directory_world.h"

/* ---- places ---------------------------------------------------------------------------------- */

TEST(a_node_is_placed_once) {
    struct world world;

    world_begin_with(&world, 2);
    claim(&world, 0, NODE, false);
    CHECK_EQ(world.sides[0].epoch, 1);
    claim(&world, 0, NODE, false); /* again: the same */
    CHECK_EQ(world.sides[0].epoch, 1);
    CHECK_EQ(world.sides[0].granted, 2);
    world.sides[0].refuse_yield = -EADDRINUSE;
    claim(&world, 1, NODE, false);
    CHECK_EQ(world.sides[1].error, -EADDRINUSE);
    CHECK_EQ(world.sides[1].holder, 1);
    CHECK_EQ(held(&world.sides[0], NODE), 1);
    world_end(&world);
}

TEST(a_node_moves_and_its_knowledge_is_asked_for) {
    struct world world;
    struct side *a = &world.sides[0], *b = &world.sides[1], *c = &world.sides[2];

    world_begin_with(&world, 3);
    CHECK_OK(member_watch(c->member, NODE));
    claim(&world, 0, NODE, false);
    claim(&world, 1, NODE, false);
    CHECK_EQ(a->yields, 1);
    CHECK_EQ(b->epoch, 2);
    CHECK_EQ(b->from_host, 1);
    CHECK_EQ(held(a, NODE), 0);
    CHECK_EQ(c->placed_host, 2);
    /* b never asked a: so c has to. */
    claim(&world, 2, NODE, false);
    CHECK_EQ(c->epoch, 3);
    CHECK_EQ(c->from_host, 1);
    member_settled(c->member, NODE, 3);
    settle(&world);
    claim(&world, 0, NODE, false);
    CHECK_EQ(a->epoch, 4);
    CHECK_EQ(a->from_host, 3);
    world_end(&world);
}

/* The directory is killed while a host yields: it granted nothing, and the next claim goes on. */
TEST(a_directory_that_dies_while_it_asks_has_granted_nothing) {
    struct world world;
    struct side *a = &world.sides[0], *b = &world.sides[1];

    world_begin_with(&world, 2);
    claim(&world, 0, NODE, false);
    a->refuse_yield = 1;
    CHECK_OK(member_claim(b->member, 5, NODE, false));
    settle(&world);
    CHECK_EQ(a->yields, 1);
    hold(a, NODE, 0); /* it wrote that it yields; the word of it is lost */
    directory_restart(&world, true);
    a->refuse_yield = 0;
    join(&world, 0);
    join(&world, 1); /* says its claim again */
    CHECK_EQ(a->yields, 2);
    CHECK_EQ(b->granted, 1);
    CHECK_EQ(b->epoch, 2);
    world_end(&world);
}

/* What it says of a YIELD may be older than its claim. */
TEST(who_is_asked_for_a_node_is_not_granted_it) {
    struct world world;
    struct side *a = &world.sides[0], *b = &world.sides[1];

    world_begin(&world);
    join(&world, 0);
    join(&world, 1);
    claim(&world, 0, NODE, false);
    a->refuse_yield = 1;
    claim(&world, 1, NODE, false);
    CHECK_EQ(a->yields, 1);
    claim(&world, 0, NODE, false);
    CHECK_EQ(a->error, -EAGAIN);
    CHECK_EQ(a->granted, 1);
    hold(a, NODE, 0);
    member_yielded(a->member, NODE, 2, 0, true, (struct member_left){ 0 }, "");
    settle(&world);
    CHECK_EQ(b->epoch, 2);
    claim(&world, 0, NODE, false);
    CHECK_EQ(a->epoch, 3);
    world_end(&world);
}

TEST(who_waits_for_a_node_that_is_placed_anew_is_told) {
    struct world world;
    struct side *a = &world.sides[0], *b = &world.sides[1], *c = &world.sides[2];

    world_begin(&world);
    for (int i = 0; i < 3; i++)
        join(&world, i);
    claim(&world, 0, NODE, false);
    a->refuse_yield = 1;
    claim(&world, 1, NODE, false);
    CHECK_EQ(b->refused, 0);
    hold(a, NODE, 0);
    member_release(a->member, NODE, 1);
    settle(&world);
    CHECK_EQ(b->error, -EAGAIN);
    claim(&world, 2, NODE, false);
    CHECK_EQ(c->granted, 1);
    claim(&world, 1, NODE, false); /* nobody asks for it any more */
    CHECK_EQ(b->granted, 1);
    world_end(&world);
}

/* What a node sent on hosts that it left goes first, the oldest first; until it came through, is
 * lost, or is of one who is fenced. */
TEST(where_messages_wait_is_told) {
    struct world world;
    struct side *a = &world.sides[0], *b = &world.sides[1], *c = &world.sides[2];
    const uint32_t whom[2] = { NODE + 1, NODE + 2 };

    world_begin_with(&world, 3);
    CHECK_OK(member_watch(c->member, NODE));
    a->leaves = (struct member_left){ whom, 2 };
    b->leaves = (struct member_left){ whom, 1 };
    claim(&world, 0, NODE, false);
    claim(&world, 1, NODE, false);
    CHECK_EQ(c->left_count, 2);
    CHECK_EQ(c->left[1], 1);
    CHECK_EQ(c->left_to[1], NODE + 2);
    b->lacks = false;
    member_settled(b->member, NODE, 2);
    settle(&world);
    claim(&world, 2, NODE, false);
    CHECK_EQ(c->epoch, 3);
    CHECK_EQ(c->left_count, 3);
    CHECK_EQ(c->left[2], 2);
    directory_restart(&world, true);
    for (int i = 0; i < 3; i++)
        join(&world, i);
    CHECK_EQ(c->left_count, 3);
    CHECK_EQ(c->left_to[0], NODE + 1);
    world.note_fails = 1;
    member_left(a->member, NODE, (struct member_left){ whom + 1, 1 });
    settle(&world);
    CHECK_EQ(c->left_count, 3); /* can't be noted: it says it again */
    world.note_fails = 0;
    member_left(a->member, NODE, (struct member_left){ whom + 1, 1 });
    settle(&world);
    CHECK_EQ(c->left_count, 2);
    CHECK_EQ(c->left[0], 1); /* at its place */
    CHECK_EQ(c->left_to[0], NODE + 2);
    member_left(a->member, NODE, (struct member_left){ 0 });
    settle(&world);
    CHECK_EQ(c->left_count, 1);
    CHECK_EQ(c->left[0], 2);
    member_left(a->member, NODE, (struct member_left){ whom, 2 }); /* who is not in it stays so */
    settle(&world);
    CHECK_EQ(c->left_count, 1);
    claim(&world, 1, NODE, false); /* back; if it does not get to know so, all is as it was */
    claim(&world, 2, NODE, false);
    CHECK_EQ(c->left_count, 1);
    CHECK_EQ(c->left[0], 2);
    claim(&world, 1, NODE, false);
    CHECK_EQ(c->left_count, 1);
    b->lacks = false;
    member_settled(b->member, NODE, b->epoch);
    settle(&world);
    CHECK_EQ(c->left_count, 0); /* back: all of it is its own */
    claim(&world, 0, NODE, true); /* taken over: what b sent is fenced */
    CHECK_EQ(c->left_count, 0);
    claim(&world, 2, NODE, false);
    CHECK_EQ(c->left_count, 2);
    forget(a); /* its memory, and so what waited there */
    join(&world, 0);
    CHECK_EQ(c->left_count, 0);
    world_end(&world);
}

/* It gives the node up before its SETTLED is heard; that can't be noted, and it has it back. */
TEST(what_waits_where_a_node_is_back_is_in_nobodys_way) {
    struct world world;
    struct side *a = &world.sides[0], *b = &world.sides[1], *c = &world.sides[2];
    const uint32_t whom[1] = { NODE + 1 };

    world_begin_with(&world, 3);
    CHECK_OK(member_watch(c->member, NODE));
    a->leaves = (struct member_left){ whom, 1 };
    claim(&world, 0, NODE, false);
    claim(&world, 1, NODE, false);
    b->lacks = false;
    member_settled(b->member, NODE, b->epoch);
    settle(&world);
    claim(&world, 0, NODE, false);
    CHECK_EQ(a->epoch, 3);
    CHECK_EQ(c->left_count, 1); /* not settled yet */
    a->lacks = false;
    world.note_fails = 1;
    claim(&world, 2, NODE, false);
    CHECK_EQ(c->granted, 0);
    CHECK_EQ(c->left_count, 0); /* it is its own, as its answer says */
    claim(&world, 0, NODE, false);
    CHECK_EQ(a->epoch, 3);
    CHECK_EQ(c->left_count, 0);
    world_end(&world);
}

/* It is true all the same, and said again to a directory that does not know it. */
TEST(that_a_node_is_settled_can_not_be_noted) {
    struct world world;
    struct side *a = &world.sides[0], *b = &world.sides[1], *c = &world.sides[2];
    const uint32_t whom[1] = { NODE + 1 };

    world_begin_with(&world, 3);
    CHECK_OK(member_watch(c->member, NODE));
    a->leaves = (struct member_left){ whom, 1 };
    claim(&world, 0, NODE, false);
    claim(&world, 1, NODE, false);
    member_settled(b->member, NODE, b->epoch);
    settle(&world);
    claim(&world, 0, NODE, false);
    CHECK_EQ(a->epoch, 3);
    CHECK_EQ(c->left_count, 1);
    world.note_fails = 1;
    member_settled(a->member, NODE, 3);
    settle(&world);
    CHECK_EQ(c->left_count, 0);
    world.note_fails = 0;
    directory_restart(&world, true);
    join(&world, 2);
    CHECK_EQ(c->left_count, 1); /* it does not know it */
    join(&world, 0);
    CHECK_EQ(c->left_count, 0);
    world_end(&world);
}

TEST(who_waits_for_a_host_that_goes_is_told) {
    struct world world;

    world_begin_with(&world, 2);
    claim(&world, 0, NODE, false);
    world.sides[0].refuse_yield = 1;
    claim(&world, 1, NODE, false);
    CHECK_EQ(world.sides[1].refused, 0);
    cut(&world.sides[0]);
    settle(&world);
    CHECK_EQ(world.sides[1].error, -EHOSTUNREACH);
    world_end(&world);
}

TEST(taken_over_and_fenced) {
    struct world world;
    struct side *a = &world.sides[0], *b = &world.sides[1];

    world_begin_with(&world, 2);
    claim(&world, 0, NODE, false);
    cut(a);
    claim(&world, 1, NODE, true);
    CHECK(b->taken);
    CHECK_EQ(b->epoch, 2);
    CHECK_EQ(b->from_host, 1);
    join(&world, 0);
    CHECK_EQ(held(a, NODE), 0); /* told that it is elsewhere */
    CHECK_EQ(a->placed_host, 2);
    /* and from one that is there */
    claim(&world, 0, NODE, true);
    CHECK_EQ(a->epoch, 3);
    CHECK_EQ(held(b, NODE), 0);
    world_end(&world);
}

TEST(a_lease_ends) {
    struct world world;

    world_begin(&world);
    world.rules.lease_ns = 60 * SECOND;
    directory_set(world.directory, &world.rules);
    join(&world, 0);
    join(&world, 1);
    claim(&world, 0, NODE, false);
    cut(&world.sides[0]);
    for (int i = 0; i < 59; i++)
        directory_time(world.directory, world.now += SECOND);
    claim(&world, 1, NODE, false);
    CHECK_EQ(world.sides[1].error, -EHOSTUNREACH);
    directory_time(world.directory, world.now += 2 * SECOND);
    claim(&world, 1, NODE, false);
    CHECK_EQ(world.sides[1].granted, 1);
    CHECK(world.sides[1].taken);
    world_end(&world);
}

/* The directory lost its file, and gave a node away that it did not know. */
TEST(the_higher_epoch_is_right) {
    struct world world;
    struct side *a = &world.sides[0], *b = &world.sides[1];

    world_begin_with(&world, 2);
    claim(&world, 1, NODE, false);
    claim(&world, 0, NODE, false);
    claim(&world, 1, NODE, false);
    CHECK_EQ(held(b, NODE), 3);
    directory_restart(&world, false);
    join(&world, 0);
    claim(&world, 0, NODE, false);
    CHECK_EQ(held(a, NODE), 1);
    join(&world, 1);
    CHECK_EQ(held(b, NODE), 3);
    CHECK_EQ(held(a, NODE), 0);
    CHECK_EQ(a->placed_epoch, 3);
    world_end(&world);
}

TEST(a_host_without_its_memory_gets_its_nodes_back_anew) {
    struct world world;
    struct side *a = &world.sides[0];

    world_begin_with(&world, 1);
    claim(&world, 0, NODE, false);
    forget(a);
    join(&world, 0);
    CHECK_EQ(a->number, 1);
    claim(&world, 0, NODE, false);
    CHECK_EQ(a->epoch, 3); /* it was placed nowhere in between */
    CHECK(a->taken);
    world_end(&world);
}

/* It knows nothing of them any more, and who asks it for that would ask for ever. */
TEST(nodes_of_a_host_without_its_memory_are_free) {
    struct world world;
    struct side *a = &world.sides[0], *b = &world.sides[1];

    world_begin_with(&world, 2);
    claim(&world, 0, NODE, false);
    forget(a);
    join(&world, 0);
    claim(&world, 1, NODE, false);
    CHECK_EQ(a->yields, 0);
    CHECK_EQ(b->granted, 1);
    CHECK_EQ(b->epoch, 3); /* of one more than it was placed nowhere in */
    CHECK_EQ(b->from_host, 0);
    CHECK(b->taken); /* what had been handed out is not known */
    claim(&world, 1, NODE, false); /* the answer was lost, say */
    CHECK_EQ(b->granted, 2);
    CHECK(b->taken);
    world_end(&world);
}

/* A holder whose word that it knows all was lost is believed when it joins, and when it yields:
 * what is newest is with it, and not with the one before. */
TEST(what_is_settled_is_known_though_nobody_was_told) {
    struct world world;
    struct side *a = &world.sides[0], *b = &world.sides[1];

    world_begin_with(&world, 2);
    claim(&world, 0, NODE, false);
    claim(&world, 1, NODE, false);
    CHECK_EQ(b->from_host, a->number);
    b->lacks = false; /* it has asked a */
    claim(&world, 0, NODE, false);
    CHECK_EQ(a->granted, 2);
    CHECK_EQ(a->from_host, b->number);
    cut(a);
    join(&world, 0); /* and says that it holds it */
    claim(&world, 0, NODE, false);
    CHECK_EQ(a->from_host, 0);
    world_end(&world);
}

/* The next epoch has to be a higher one. */
TEST(an_epoch_without_a_next_one_is_nonsense) {
    Tram__Hosts__Holding holding = HOSTS_NEW(Holding, holding), *list[1] = { &holding };
    Tram__Hosts__Hold hold = HOSTS_NEW(Hold, hold);
    hosts_frame frame = HOSTS_FRAME(HOLD, hold, &hold);
    struct wrong wrong = { 0 };

    hold.ids = list;
    hold.n_ids = 1;
    holding.id = NODE;
    holding.epoch = HOSTS_EPOCH_MAX;
    CHECK_OK(hosts_check(&frame, HOSTS_TO_DIRECTORY, &wrong));
    holding.epoch = UINT64_MAX;
    CHECK_EQ(hosts_check(&frame, HOSTS_TO_DIRECTORY, &wrong), -EBADMSG);
}

/* By command: though what the old host knows can't be had, and it was granted without `take`. */
TEST(taken_over_after_it_was_granted) {
    struct world world;
    struct side *a = &world.sides[0], *b = &world.sides[1];

    world_begin_with(&world, 2);
    claim(&world, 0, NODE, false);
    claim(&world, 1, NODE, false);
    CHECK_EQ(b->from_host, a->number);
    CHECK(!b->taken);
    claim(&world, 1, NODE, true);
    CHECK_EQ(b->granted, 2);
    CHECK(b->taken);
    world_end(&world);
}

/* Beyond ids-each (8) a host is told where nodes are when it asks, and not when they move. */
TEST(who_asks_for_too_much_is_answered_once) {
    struct world world;
    struct side *a = &world.sides[0], *b = &world.sides[1];

    world_begin_with(&world, 2);
    for (uint32_t i = 0; i < 8; i++)
        CHECK_OK(member_watch(b->member, NODE + 1 + i));
    CHECK_OK(member_watch(b->member, NODE));
    settle(&world);
    CHECK(b->seat != NULL);
    CHECK_EQ(b->placed, 9);
    claim(&world, 0, NODE + 8, false);
    CHECK_EQ(b->placed, 10);
    claim(&world, 0, NODE, false);
    CHECK_EQ(b->placed, 10);
    member_unwatch(b->member, NODE + 1); /* there is room again */
    member_unwatch(b->member, NODE);
    CHECK_OK(member_watch(b->member, NODE));
    settle(&world);
    CHECK_EQ(b->placed, 11);
    CHECK_EQ(b->placed_host, a->number);
    member_release(a->member, NODE, 1);
    settle(&world);
    CHECK_EQ(b->placed, 12);
    cut(b); /* and says all of it again */
    CHECK_OK(member_watch(b->member, NODE + 1));
    join(&world, 1);
    CHECK(b->seat != NULL);
    CHECK_EQ(b->placed, 12 + 9);
    world_end(&world);
}

TEST(forgotten_hosts_leave_nothing) {
    struct world world;
    struct side *a = &world.sides[0], *b = &world.sides[1];

    world_begin_with(&world, 2);
    claim(&world, 0, NODE, false);
    CHECK_OK(member_forget(b->member, 9, "h0"));
    settle(&world);
    CHECK_EQ(b->error, -EBUSY);
    cut(a);
    CHECK_OK(member_forget(b->member, 9, "h0"));
    settle(&world);
    CHECK_EQ(b->done, 2);
    CHECK_EQ(b->error, 0);
    CHECK(!b->known[1]);
    claim(&world, 1, NODE, false);
    CHECK_EQ(b->epoch, 3); /* one was left out for who was forgotten */
    join(&world, 0);
    CHECK_EQ(held(a, NODE), 0);
    world_end(&world);
}
