/* SPDX-License-Identifier: MIT
 *
 * A directory and four members in memory, for the tests of both: bytes are carried between them,
 * and time is a number.
 */
#pragma once

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
    bool taken, lacks;
    int error;
    uint32_t placed_host;
    uint64_t placed_epoch;
    uint32_t left[HOSTS_LEFT_MAX], left_to[HOSTS_LEFT_MAX], left_count;
    struct member_left leaves;     /* when it yields */
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

static inline void dir_send(void *arg, void *conn, const hosts_frame *frame) {
    struct side *side = conn;
    struct wrong wrong;

    (void) arg;
    if (hosts_check(frame, HOSTS_TO_MEMBER, &wrong) < 0)
        FAIL("%s", wrong.text);
    CHECK_OK(hosts_out_add(&side->from, frame));
}

static inline int dir_note(void *arg, const Tram__Hosts__Record *record) {
    struct world *world = arg;
    hosts_frame frame = HOSTS_FRAME(RECORD, record, (Tram__Hosts__Record *) (uintptr_t) record);

    if (world->note_fails)
        return -ENOSPC;
    return hosts_out_add(&world->file, &frame);
}

static inline bool dir_allowed(void *arg, const char *host, uint32_t id) {
    (void) arg;
    return strcmp(host, "h3") != 0 || id >> 24 == 3; /* h3 has 3.0.0.0/8 */
}

static const struct directory_calls directory_calls = {
    .send = dir_send, .note = dir_note, .allowed = dir_allowed,
};

/* ---- the members' side ----------------------------------------------------------------------- */

static inline void on_send(void *arg, const hosts_frame *frame) {
    struct side *side = arg;

    CHECK_OK(hosts_out_add(&side->to, frame));
}

static inline bool on_held(void *arg, uint32_t after, uint32_t *ret_id, uint64_t *ret_epoch) {
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

static inline void hold(struct side *side, uint32_t id, uint64_t epoch) {
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

static inline uint64_t held(const struct side *side, uint32_t id) {
    for (int i = 0; i < HELD; i++)
        if (side->ids[i] == id)
            return side->epochs[i];
    return 0;
}

static inline void on_joined(void *arg, uint32_t number) {
    struct side *side = arg;

    side->joined++;
    side->number = number;
}

static inline void on_host(void *arg, const hosts_host *host, bool gone) {
    struct side *side = arg;

    CHECK(host->number <= HOSTS + 1);
    side->known[host->number] = !gone;
    side->away[host->number] = host->away;
}

static inline void on_told(void *arg) {
    ((struct side *) arg)->told++;
}

static inline void on_granted(void *arg, uint64_t cookie, uint32_t id, uint64_t epoch,
                              uint32_t from, bool taken) {
    struct side *side = arg;

    (void) cookie;
    side->granted++;
    side->epoch = epoch;
    side->from_host = from;
    side->taken = taken;
    side->lacks = from > 0 && !taken;
    hold(side, id, epoch);
}

static inline void on_refused(void *arg, uint64_t cookie, uint32_t id, int error, uint32_t host,
                       const char *text) {
    struct side *side = arg;

    (void) cookie;
    (void) id;
    CHECK(*text != '\0');
    side->refused++;
    side->error = error;
    side->holder = host;
}

static inline void on_placed(void *arg, const hosts_placed *placed) {
    struct side *side = arg;
    uint32_t id = placed->id;

    side->placed++;
    side->placed_host = placed->host;
    side->placed_epoch = placed->epoch;
    side->left_count = (uint32_t) placed->n_left;
    for (uint32_t i = 0; i < side->left_count; i++) {
        side->left[i] = placed->left[i];
        side->left_to[i] = placed->to[i];
    }
    if (placed->host != side->number && held(side, id) > 0 && held(side, id) <= placed->epoch)
        hold(side, id, 0);
}

static inline void on_yield(void *arg, uint32_t id, uint64_t epoch, uint32_t to) {
    struct side *side = arg;
    bool knew = held(side, id) > 0 && !side->lacks;

    (void) to;
    side->yields++;
    if (side->refuse_yield == 1)
        return;
    if (side->refuse_yield == 0)
        hold(side, id, 0);
    member_yielded(side->member, id, epoch, side->refuse_yield, knew, side->leaves,
                   side->refuse_yield ? "it runs" : "");
}

static inline void on_done(void *arg, uint64_t cookie, int error, const char *text) {
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

static inline void cut(struct side *side) {
    side->seat = directory_gone(side->world->directory, side->seat, side->world->now);
    member_cut(side->member);
    control_out_reset(&side->to);
    control_out_reset(&side->from);
}

/* Move the bytes of one to the other. True: there were some. */
static inline bool move(struct control_out *out, struct control_in *in) {
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

static inline bool serve(struct side *side) {
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

static inline void settle(struct world *world) {
    bool some = true;

    while (some) {
        some = false;
        for (int i = 0; i < HOSTS; i++)
            if (world->sides[i].member)
                some |= serve(&world->sides[i]);
    }
}

static inline void connect_side(struct side *side) {
    CHECK_OK(directory_connected(side->world->directory, side->world->now, side, NULL,
                                 &side->seat));
    member_connected(side->member, side->world->now);
    settle(side->world);
}

static inline void join(struct world *world, int i) {
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
static inline void forget(struct side *side) {
    cut(side);
    side->member = member_free(side->member);
    side->who.instance[0] = (uint8_t) (side->who.instance[0] + 100);
    memset(side->ids, 0, sizeof(side->ids));
}

static inline void world_begin(struct world *world) {
    *world = (struct world){ .now = SECOND };
    world->rules = (struct directory_rules){
        .cluster = "c", .beat_ns = 2 * SECOND, .misses = 5, .hosts = HOSTS, .ids_each = 8,
    };
    CHECK_OK(directory_new(&world->rules, &directory_calls, world, &world->directory));
}

/* … and the first of its hosts have joined. */
static inline void world_begin_with(struct world *world, int hosts) {
    world_begin(world);
    for (int i = 0; i < hosts; i++)
        join(world, i);
}

/* Killed; the next one has the file, or not. */
static inline void directory_restart(struct world *world, bool file) {
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

static inline void world_end(struct world *world) {
    for (int i = 0; i < HOSTS; i++) {
        if (!world->sides[i].member)
            continue;
        cut(&world->sides[i]);
        world->sides[i].member = member_free(world->sides[i].member);
    }
    world->directory = directory_free(world->directory);
    control_out_reset(&world->file);
}

static inline void claim(struct world *world, int i, uint32_t id, bool take) {
    CHECK_OK(member_claim(world->sides[i].member, id, id, take));
    settle(world);
}
