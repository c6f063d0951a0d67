/* SPDX-License-Identifier: MIT */
#include "support/link_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"

/* ---- a store --------------------------------------------------------------------------------- */

static int store_offer(void *store, void *channel, struct link_offer *ret) {
    struct origin *o = channel;

    (void) store;
    *ret = (struct link_offer){o->committed, o->handed, o->count, 1, 1};
    return 0;
}

static int store_run(void *store, void *channel, uint64_t seq, uint64_t offset, uint32_t max,
                     struct link_run *ret) {
    struct origin *o = channel;
    uint64_t end = seq, size;

    (void) store;
    CHECK(seq > o->committed);
    if (o->nonsense)
        return -EBADMSG;
    if (seq > o->count)
        return 0;
    while (end <= o->count && o->at[end] - (o->at[seq - 1] + offset) <= max)
        end++;
    size = (end > seq ? o->at[end - 1] : o->at[seq - 1] + offset + max) - o->at[seq - 1] - offset;
    *ret = (struct link_run){
        .bytes = o->bytes + o->at[seq - 1] + offset,
        .size = (uint32_t) size,
        .last = end > seq ? end - 1 : 0,
        .seq = end,
        .offset = end > seq ? 0 : offset + size,
        .more = end <= o->count,
    };
    return 1;
}

static int store_handed(void *store, void *channel, uint64_t seq) {
    struct origin *o = channel;

    (void) store;
    CHECK(seq > o->handed && seq <= o->count);
    o->handed = seq;
    return 0;
}

static void store_commit(void *store, void *channel, uint64_t consumed) {
    struct origin *o = channel;

    (void) store;
    CHECK(consumed > o->committed && consumed <= o->handed);
    o->committed = consumed;
}

static void store_answered(void *store, void *channel, enum link_answer answer,
                           uint64_t consumed) {
    struct origin *o = channel;

    (void) store;
    (void) consumed;
    o->answer = answer;
    o->answers++;
}

static int store_open(void *store, struct link_in *in, const struct link_name *name,
                      const struct link_offer *offer, void **ret_channel,
                      struct link_state *ret_state) {
    struct side *side = store;
    struct mirror *m = &side->mirrors[name->from % CHANNELS];

    side->opens++;
    m->offer = *offer;
    m->in = in;
    m->side = side;
    m->name = *name;
    *ret_channel = m;
    *ret_state = (struct link_state){m->accepted, m->consumed, m->space};
    if (side->answer == LINK_TAKEN)
        m->open = true;
    return side->answer;
}

static uint64_t used(const struct mirror *m) {
    return m->at[m->accepted] - m->at[m->consumed] + m->placed;
}

static void store_look(void *store, void *channel, struct link_state *ret) {
    struct mirror *m = channel;

    (void) store;
    *ret = (struct link_state){m->accepted, m->consumed, m->space - used(m)};
}

static int store_place(void *store, void *channel, struct link_room *ret) {
    struct mirror *m = channel;

    (void) store;
    if (m->no_memory) {
        m->placed = 0;
        return -ENOSPC;
    }
    *ret = (struct link_room){m->bytes + m->at[m->accepted] + m->placed, m->space - used(m)};
    return 0;
}

static int store_filled(void *store, void *channel, size_t size, struct link_state *ret,
                        uint64_t *ret_rest) {
    struct mirror *m = channel;
    int rc = 0;

    m->placed += size;
    while (m->placed >= RECORD) {
        const uint8_t *at = m->bytes + m->at[m->accepted];
        uint64_t span = RECORD + get64(at + 8);

        if (get64(at) != m->accepted + 1) {
            rc = -EBADMSG;
            break;
        }
        if (m->placed < span)
            break;
        m->placed -= span;
        m->at[m->accepted + 1] = m->at[m->accepted] + span;
        m->accepted++;
    }
    store_look(store, channel, ret);
    *ret_rest = m->placed;
    return rc;
}

static void store_want(void *store, void *channel) {
    struct mirror *m = channel;

    (void) store;
    m->wants++;
}

static void store_closed(void *store, void *channel, enum link_end end, bool more) {
    struct mirror *m = channel;

    (void) store;
    m->open = false;
    m->placed = 0;
    m->end = end;
    m->closed_more = more;
}

static void store_settled(void *store) {
    ((struct side *) store)->settled++;
}

static int store_control(void *store, const void *bytes, size_t size) {
    struct side *side = store;

    side->controls++;
    if (size < sizeof(side->control))
        memcpy(side->control, bytes, size);
    return size == 3 && memcmp(bytes, "bad", 3) == 0
               ? link_wrong_set(side->link, -EBADMSG, "bad it says")
               : 0;
}

static void store_up(void *store, const struct link_peer *peer) {
    (void) peer;
    ((struct side *) store)->ups++;
}

static void store_down(void *store) {
    ((struct side *) store)->downs++;
}

static uint64_t store_wall(void *store) {
    return ((struct side *) store)->wall;
}

const struct link_store world_store = {
    store_offer, store_run,     store_handed,  store_commit, store_answered, store_open,
    store_place, store_filled,  store_look,    store_want,   store_closed,   store_settled,
    store_control, store_up,    store_down,    store_wall,
};

/* ---- the world ------------------------------------------------------------------------------- */

static void side_init(struct side *side, const char *host, const char *peer) {
    side->self.life = 1;
    strcpy(side->self.host, host);
    strcpy(side->self.cluster, "c");
    side->self.instance[0] = (uint8_t) host[0];
    CHECK_OK(link_new(&side->self, peer, NULL, &world_store, side, &side->link));
}

void world_init(struct world *w) {
    memset(w, 0, sizeof(*w));
    w->now = 1000 * MS;
    w->chunk = SIZE_MAX;
    side_init(&w->a, "alpha", "beta");
    side_init(&w->b, "beta", "alpha"); /* leads */
}

static void side_free(struct side *side) {
    side->link = link_free(side->link);
    for (int i = 0; i < CHANNELS; i++) {
        free(side->origins[i].bytes);
        free(side->mirrors[i].bytes);
    }
}

void world_free(struct world *w) {
    side_free(&w->a);
    side_free(&w->b);
}

struct origin *world_channel(struct world *w, int i, uint64_t space) {
    struct origin *o = &w->a.origins[i];
    struct mirror *m = &w->b.mirrors[i];

    o->side = &w->a;
    o->name = (struct link_name){(uint32_t) (4 * i + i), 77, 1000u + (unsigned) i};
    o->bytes = malloc(WIRE);
    m->bytes = malloc(WIRE);
    CHECK(o->bytes && m->bytes);
    m->space = space;
    CHECK_OK(link_open(w->a.link, &o->name, o, &o->out));
    return o;
}

void world_send(struct origin *o, uint64_t size) {
    uint8_t *at = o->bytes + o->at[o->count];

    put64(at, o->count + 1);
    put64(at + 8, size);
    memset(at + RECORD, (int) (o->count * 7 + 1), size);
    o->at[o->count + 1] = o->at[o->count] + RECORD + size;
    o->count++;
    link_kick(o->side->link, o->out);
}

int world_greet_step(struct greet *from, struct greet *to) {
    struct link_piece piece;
    int rc = 0;

    while (greet_piece(from, &piece)) {
        const uint8_t *at = piece.base;
        struct link_room room;

        if (!greet_room(to, &room))
            break;
        if (room.size > piece.size)
            room.size = piece.size;
        memcpy(room.base, at, room.size);
        greet_wrote(from, room.size);
        rc = greet_came(to, room.size);
        if (rc != 0)
            return rc;
    }
    return rc;
}

void world_greet(struct world *w, struct greet *ga, struct greet *gb) {
    greet_init(ga, &w->a.self, ++w->a.tries, w->now);
    greet_init(gb, &w->b.self, ++w->b.tries, w->now);
    CHECK_EQ(world_greet_step(gb, ga), 1);
    CHECK_EQ(world_greet_step(ga, gb), 1);
}

void world_connect(struct world *w) {
    struct greet *ga = &w->greet_a, *gb = &w->greet_b;

    world_greet(w, ga, gb);
    CHECK_EQ(link_meet(w->a.link, ga, w->now), LINK_MEET_WAIT);
    CHECK_EQ(link_meet(w->b.link, gb, w->now), LINK_MEET_TAKEN);
    CHECK_EQ(world_greet_step(gb, ga), 1);
    CHECK_EQ(link_meet(w->a.link, ga, w->now), LINK_MEET_TAKEN);
    CHECK(link_is_up(w->a.link) && link_is_up(w->b.link));
}

int world_move(struct world *w, struct side *from, struct side *to, int *ret_rc) {
    const struct link_piece *pieces;
    int count = link_pieces(from->link, w->now, &pieces);
    size_t left = w->chunk, wrote = 0;

    CHECK_EQ(count > 0, link_has(from->link));
    for (int i = 0; i < count && left > 0; i++) {
        size_t part = pieces[i].size < left ? pieces[i].size : left;
        int rc = link_read(to->link, w->now, pieces[i].base, part);

        if (rc < 0)
            *ret_rc = rc;
        left -= part;
        wrote += part;
    }
    link_wrote(from->link, w->now, wrote);
    return count > 0;
}

int world_settle(struct world *w) {
    int rc = 0;

    while (world_move(w, &w->a, &w->b, &rc) | world_move(w, &w->b, &w->a, &rc))
        ;
    return rc;
}

int world_pass(struct world *w, uint64_t ns) {
    uint64_t end = w->now + ns;
    int rc = world_settle(w);

    while (rc == 0) {
        uint64_t a = link_next(w->a.link), b = link_next(w->b.link), next = a < b ? a : b;

        if (next > end)
            break;
        w->now = next > w->now ? next : w->now + 1;
        rc = link_time(w->a.link, w->now);
        if (rc == 0)
            rc = link_time(w->b.link, w->now);
        if (rc == 0)
            rc = world_settle(w);
    }
    w->now = end;
    return rc;
}

void world_cut(struct world *w) {
    link_cut(w->a.link, w->now);
    link_cut(w->b.link, w->now);
}

void world_check_same(struct world *w, int i) {
    struct origin *o = &w->a.origins[i];
    struct mirror *m = &w->b.mirrors[i];

    CHECK_EQ(m->accepted, o->count);
    CHECK_MEM(m->bytes, o->bytes, o->at[o->count]);
}

