/* SPDX-License-Identifier: MIT
 *
 * The directory and its members, without anything between them but frames that are packed and
 * unpacked. What the directory noted is its file: a directory can be killed at any point.
 */
#include "wire/directory.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "wire/member.h"

#define SECOND INT64_C(1000000000)
#define HOSTS 4
#define HELD 16
#define NODE 0x01010101u

struct world;

struct side {
    struct world *world;
    struct member *member;
    struct directory_member *seat;
    struct member_who who;
    struct control_out to, from;
    char name[8];
    uint32_t number;
    int joined, told, granted, refused, yields, placed, done;
    uint64_t epoch;                /* of the last answer */
    uint32_t from_host, holder;    /* of the last one granted; refused */
    bool taken;
    int error;
    uint32_t placed_host;
    uint64_t placed_epoch;
    int refuse_yield;              /* errno to answer with; 1: no answer */
    uint32_t ids[HELD];
    uint64_t epochs[HELD];
    bool known[HOSTS + 2], away[HOSTS + 2];
};

struct world {
    struct directory *directory;
    struct directory_rules rules;
    struct side sides[HOSTS];
    struct control_out file;
    int note_fails;
    int64_t now;
};

/* ---- the directory's side -------------------------------------------------------------------- */

static void dir_send(void *arg, void *conn, const hosts_frame *frame) {
    struct side *side = conn;
    struct wrong wrong;

    (void) arg;
    if (hosts_check(frame, HOSTS_TO_MEMBER, &wrong) < 0)
        FAIL("%s", wrong.text);
    CHECK_OK(hosts_out_add(&side->from, frame));
}

static int dir_note(void *arg, const Tram__Hosts__Record *record) {
    struct world *world = arg;
    hosts_frame frame = HOSTS_FRAME(RECORD, record, (Tram__Hosts__Record *) (uintptr_t) record);

    if (world->note_fails)
        return -ENOSPC;
    return hosts_out_add(&world->file, &frame);
}

static bool dir_allowed(void *arg, const char *host, uint32_t id) {
    (void) arg;
    return strcmp(host, "h3") != 0 || id >> 24 == 3; /* h3 has 3.0.0.0/8 */
}

static const struct directory_calls directory_calls = {
    .send = dir_send, .note = dir_note, .allowed = dir_allowed,
};

/* ---- the members' side ----------------------------------------------------------------------- */

static void on_send(void *arg, const hosts_frame *frame) {
    struct side *side = arg;

    CHECK_OK(hosts_out_add(&side->to, frame));
}

static bool on_held(void *arg, uint32_t after, uint32_t *ret_id, uint64_t *ret_epoch) {
    struct side *side = arg;
    uint32_t best = UINT32_MAX;

    for (int i = 0; i < HELD; i++) {
        if (side->ids[i] > after && side->ids[i] < best) {
            best = side->ids[i];
            *ret_id = best;
            *ret_epoch = side->epochs[i];
        }
    }
    return best != UINT32_MAX;
}

static void hold(struct side *side, uint32_t id, uint64_t epoch) {
    int free = -1;

    for (int i = 0; i < HELD; i++) {
        if (side->ids[i] == id)
            free = i;
        else if (side->ids[i] == 0 && free < 0)
            free = i;
    }
    side->ids[free] = epoch ? id : 0;
    side->epochs[free] = epoch;
}

static uint64_t held(const struct side *side, uint32_t id) {
    for (int i = 0; i < HELD; i++)
        if (side->ids[i] == id)
            return side->epochs[i];
    return 0;
}

static void on_joined(void *arg, uint32_t number) {
    struct side *side = arg;

    side->joined++;
    side->number = number;
}

static void on_host(void *arg, const hosts_host *host, bool gone) {
    struct side *side = arg;

    CHECK(host->number <= HOSTS + 1);
    side->known[host->number] = !gone;
    side->away[host->number] = host->away;
}

static void on_told(void *arg) {
    ((struct side *) arg)->told++;
}

static void on_granted(void *arg, uint64_t cookie, uint32_t id, uint64_t epoch, uint32_t from,
                       bool taken) {
    struct side *side = arg;

    (void) cookie;
    side->granted++;
    side->epoch = epoch;
    side->from_host = from;
    side->taken = taken;
    hold(side, id, epoch);
}

static void on_refused(void *arg, uint64_t cookie, uint32_t id, int error, uint32_t host,
                       const char *text) {
    struct side *side = arg;

    (void) cookie;
    (void) id;
    CHECK(*text != '\0');
    side->refused++;
    side->error = error;
    side->holder = host;
}

static void on_placed(void *arg, uint32_t id, uint64_t epoch, uint32_t host) {
    struct side *side = arg;

    side->placed++;
    side->placed_host = host;
    side->placed_epoch = epoch;
    if (host != side->number && held(side, id) > 0 && held(side, id) <= epoch)
        hold(side, id, 0);
}

static void on_yield(void *arg, uint32_t id, uint64_t epoch, uint32_t to) {
    struct side *side = arg;

    (void) to;
    side->yields++;
    if (side->refuse_yield == 1)
        return;
    if (side->refuse_yield == 0)
        hold(side, id, 0);
    member_yielded(side->member, id, epoch, side->refuse_yield,
                   side->refuse_yield ? "it runs" : "");
}

static void on_done(void *arg, uint64_t cookie, int error, const char *text) {
    struct side *side = arg;

    (void) cookie;
    (void) text;
    side->done++;
    side->error = error;
}

static const struct member_calls member_calls = {
    .send = on_send,
    .held = on_held,
    .on_joined = on_joined,
    .on_host = on_host,
    .on_told = on_told,
    .on_granted = on_granted,
    .on_refused = on_refused,
    .on_placed = on_placed,
    .on_yield = on_yield,
    .on_done = on_done,
};

/* ---- the world ------------------------------------------------------------------------------- */

static void cut(struct side *side) {
    side->seat = directory_gone(side->world->directory, side->seat, side->world->now);
    member_cut(side->member);
    control_out_reset(&side->to);
    control_out_reset(&side->from);
}

/* Move the bytes of one to the other. True: there were some. */
static bool move(struct control_out *out, struct control_in *in) {
    size_t room;
    void *at = control_in_room(in, &room);

    if (room > control_out_size(out))
        room = control_out_size(out);
    if (room == 0)
        return false;
    memcpy(at, control_out_bytes(out), room);
    control_in_add(in, room);
    control_out_sent(out, room);
    return true;
}

static bool serve(struct side *side) {
    struct control_in in = { 0 };
    struct wrong wrong = { 0 };
    hosts_frame *frame;
    bool some = false;
    int rc = 0;

    while (side->seat && rc >= 0 && move(&side->to, &in)) {
        some = true;
        while (rc >= 0 && (rc = hosts_in_next(&in, HOSTS_TO_DIRECTORY, &frame, &wrong)) > 0) {
            rc = directory_take(side->world->directory, side->seat, side->world->now, frame,
                                &wrong);
            (void) hosts_free(frame);
        }
    }
    control_in_reset(&in);
    if (rc < 0)
        side->seat = directory_gone(side->world->directory, side->seat, side->world->now);
    rc = 0;
    while (rc >= 0 && move(&side->from, &in)) {
        some = true;
        while (rc >= 0 && (rc = hosts_in_next(&in, HOSTS_TO_MEMBER, &frame, &wrong)) > 0) {
            rc = member_take(side->member, side->world->now, frame, &wrong);
            (void) hosts_free(frame);
        }
    }
    control_in_reset(&in);
    if (rc < 0) {
        side->error = rc;
        cut(side);
    }
    return some;
}

static void settle(struct world *world) {
    bool some = true;

    while (some) {
        some = false;
        for (int i = 0; i < HOSTS; i++)
            if (world->sides[i].member)
                some |= serve(&world->sides[i]);
    }
}

static void connect_side(struct side *side) {
    CHECK_OK(directory_connected(side->world->directory, side->world->now, side, NULL,
                                 &side->seat));
    member_connected(side->member, side->world->now);
    settle(side->world);
}

static void join(struct world *world, int i) {
    struct side *side = &world->sides[i];

    if (!side->member) {
        side->world = world;
        (void) snprintf(side->name, sizeof(side->name), "h%u", (unsigned) i % 100);
        side->who.cluster = "c";
        side->who.host = side->name;
        side->who.program = "1";
        side->who.instance[0] = (uint8_t) (side->who.instance[0] + i + 1);
        CHECK_OK(member_new(&side->who, &member_calls, side, &side->member));
    }
    connect_side(side);
}

/* The host loses its memory. */
static void forget(struct side *side) {
    cut(side);
    side->member = member_free(side->member);
    side->who.instance[0] = (uint8_t) (side->who.instance[0] + 100);
    memset(side->ids, 0, sizeof(side->ids));
}

static void world_begin(struct world *world) {
    *world = (struct world){ .now = SECOND };
    world->rules = (struct directory_rules){
        .cluster = "c", .beat_ns = 2 * SECOND, .misses = 5, .hosts = HOSTS, .ids_each = 8,
    };
    CHECK_OK(directory_new(&world->rules, &directory_calls, world, &world->directory));
}

/* Killed; the next one has the file, or not. */
static void directory_restart(struct world *world, bool file) {
    struct control_in in = { 0 };
    struct wrong wrong = { 0 };
    hosts_frame *frame;

    for (int i = 0; i < HOSTS; i++)
        if (world->sides[i].member)
            cut(&world->sides[i]);
    world->directory = directory_free(world->directory);
    CHECK_OK(directory_new(&world->rules, &directory_calls, world, &world->directory));
    if (!file)
        control_out_reset(&world->file);
    while (move(&world->file, &in))
        ;
    while (hosts_in_next(&in, HOSTS_TO_FILE, &frame, &wrong) > 0) {
        CHECK_OK(directory_enter(world->directory, frame->record));
        CHECK_OK(hosts_out_add(&world->file, frame));
        (void) hosts_free(frame);
    }
    control_in_reset(&in);
}

static void world_end(struct world *world) {
    for (int i = 0; i < HOSTS; i++) {
        if (!world->sides[i].member)
            continue;
        cut(&world->sides[i]);
        world->sides[i].member = member_free(world->sides[i].member);
    }
    world->directory = directory_free(world->directory);
    control_out_reset(&world->file);
}

static void claim(struct world *world, int i, uint32_t id, bool take) {
    CHECK_OK(member_claim(world->sides[i].member, id, id, take));
    settle(world);
}

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

    world_begin(&world);
    join(&world, 0);
    join(&world, 1);
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

    world_begin(&world);
    join(&world, 0);
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

    world_begin(&world);
    join(&world, 0);
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

/* ---- places ---------------------------------------------------------------------------------- */

TEST(a_node_is_placed_once) {
    struct world world;

    world_begin(&world);
    join(&world, 0);
    join(&world, 1);
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
    struct side *a, *b, *c;

    world_begin(&world);
    for (int i = 0; i < 3; i++)
        join(&world, i);
    a = &world.sides[0];
    b = &world.sides[1];
    c = &world.sides[2];
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
    struct side *a, *b;

    world_begin(&world);
    join(&world, 0);
    join(&world, 1);
    a = &world.sides[0];
    b = &world.sides[1];
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

TEST(who_waits_for_a_host_that_goes_is_told) {
    struct world world;

    world_begin(&world);
    join(&world, 0);
    join(&world, 1);
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
    struct side *a, *b;

    world_begin(&world);
    join(&world, 0);
    join(&world, 1);
    a = &world.sides[0];
    b = &world.sides[1];
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
    struct side *a, *b;

    world_begin(&world);
    join(&world, 0);
    join(&world, 1);
    a = &world.sides[0];
    b = &world.sides[1];
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
    struct side *a;

    world_begin(&world);
    join(&world, 0);
    a = &world.sides[0];
    claim(&world, 0, NODE, false);
    forget(a);
    join(&world, 0);
    CHECK_EQ(a->number, 1);
    claim(&world, 0, NODE, false);
    CHECK_EQ(a->epoch, 2);
    world_end(&world);
}

TEST(forgotten_hosts_leave_nothing) {
    struct world world;
    struct side *a, *b;

    world_begin(&world);
    join(&world, 0);
    join(&world, 1);
    a = &world.sides[0];
    b = &world.sides[1];
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

    world_begin(&world);
    join(&world, 0);
    join(&world, 1);
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

    world_begin(&world);
    join(&world, 0);
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
