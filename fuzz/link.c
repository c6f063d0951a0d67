/* SPDX-License-Identifier: MIT
 *
 * A hostile host on a link (src/wire/link.h), from its greeting on. The input is a program: frames
 * with heads that fit and fields near what would be right, frames of raw bytes, time that goes by,
 * and what goes on meanwhile on this side: sends, consumption, no memory, channels that are closed,
 * cuts.
 *
 * Whatever comes: nothing is freed but what was handed out, nothing is placed beyond the space that
 * the mirror has, what is published is in order, and a connection that ends says why.
 */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "wire/link.h"
#include "wire/link_frame.h"

#define MIRROR 4096u /* bytes of space */
#define CHANNELS 4

struct origin {
    struct link_out *out;
    uint64_t sent, handed, committed;
};

struct mirror {
    struct link_in *in;
    bool used;
    uint64_t accepted, consumed, placed;
    uint8_t bytes[MIRROR];
};

struct world {
    struct input *input;
    struct link *link;
    struct link_identity self;
    struct origin origins[CHANNELS];
    struct mirror mirrors[CHANNELS];
    const char *peer;
    uint64_t now;
    uint8_t answers; /* what the store says next */
};

static uint8_t ring[512]; /* what origins send: eight bytes a message */

/* ---- the store ------------------------------------------------------------------------------- */

static int offer(void *store, void *channel, struct link_offer *ret) {
    struct origin *o = channel;

    (void) store;
    *ret = (struct link_offer){o->committed, o->handed, o->sent, 1, 1};
    return 0;
}

static int run(void *store, void *channel, uint64_t seq, uint64_t offset, uint32_t max,
               struct link_run *ret) {
    struct origin *o = channel;

    (void) store;
    REQUIRE(seq > o->committed && offset < 8 && max > 0 && max <= LINK_PART);
    if (seq > o->sent)
        return 0;
    *ret = (struct link_run){.bytes = ring, .size = (uint32_t) (8 - offset), .last = seq,
                             .seq = seq + 1, .more = seq < o->sent};
    if (ret->size > max) {
        ret->size = max;
        ret->last = 0;
        ret->seq = seq;
        ret->offset = offset + max;
    }
    return 1;
}

static int handed(void *store, void *channel, uint64_t seq) {
    struct origin *o = channel;

    (void) store;
    REQUIRE(seq > o->handed && seq <= o->sent);
    o->handed = seq;
    return 0;
}

static void commit(void *store, void *channel, uint64_t consumed) {
    struct origin *o = channel;

    (void) store;
    REQUIRE(consumed > o->committed && consumed <= o->handed);
    o->committed = consumed;
}

static void answered(void *store, void *channel, enum link_answer answer, uint64_t consumed) {
    struct origin *o = channel;

    (void) store;
    REQUIRE(answer > LINK_TAKEN && answer < LINK_ANSWERS && consumed <= o->handed);
}

static void look(void *store, void *channel, struct link_state *ret) {
    struct mirror *m = channel;

    (void) store;
    *ret = (struct link_state){m->accepted, m->consumed,
                               MIRROR - (m->accepted - m->consumed) * 8 - m->placed};
}

static int open_mirror(void *store, struct link_in *in, const struct link_name *name,
                       const struct link_offer *said, void **ret_channel, struct link_state *ret) {
    struct world *world = store;
    struct mirror *m = &world->mirrors[name->from % CHANNELS];
    uint8_t answer = world->answers++ & 15;

    REQUIRE(said->consumed <= said->handed && said->handed <= said->accepted);
    if (*ret_channel == NULL && m->used)
        return -EEXIST;
    m->in = in;
    if (answer >= LINK_ANSWERS)
        answer = LINK_TAKEN;
    if (answer <= LINK_WAIT || answer == LINK_LATER) {
        if (!m->used)
            m->accepted = m->consumed = said->consumed;
        m->used = true;
        *ret_channel = m;
    } else {
        m->used = false;
    }
    look(store, m, ret);
    return answer;
}

static int place(void *store, void *channel, struct link_room *ret) {
    struct world *world = store;
    struct mirror *m = channel;
    struct link_state state;

    look(store, channel, &state);
    if (world->answers & 0x40) {
        m->placed = 0;
        return -ENOSPC;
    }
    REQUIRE(m->used && m->placed < 8);
    *ret = (struct link_room){m->bytes + m->placed, state.space};
    if (ret->size > 64)
        ret->size = 64;
    return 0;
}

static int filled(void *store, void *channel, size_t size, struct link_state *ret,
                  uint64_t *ret_rest) {
    struct mirror *m = channel;
    int rc = m->bytes[0] == 0xbd ? -EBADMSG : 0;

    REQUIRE(m->used && size > 0 && size <= 64);
    m->placed += size;
    m->accepted += m->placed / 8;
    m->placed %= 8;
    REQUIRE((m->accepted - m->consumed) * 8 + m->placed <= MIRROR);
    look(store, channel, ret);
    *ret_rest = m->placed;
    return rc;
}

static void closed(void *store, void *channel, enum link_end end, bool more) {
    struct mirror *m = channel;

    (void) store;
    (void) more;
    REQUIRE(m->used && end < LINK_ENDS);
    m->used = false;
    m->placed = 0;
}

static void want(void *store, void *channel) {
    (void) store;
    REQUIRE(((struct mirror *) channel)->used);
}

static void nothing(void *store) {
    (void) store;
}

static void up(void *store, const struct link_peer *peer) {
    (void) store;
    REQUIRE(peer->version == LINK_VERSION);
}

static int control(void *store, const void *bytes, size_t size) {
    (void) store;
    REQUIRE(size > 0 && size <= LINK_CONTROL_MAX);
    return ((const uint8_t *) bytes)[0] == 0xbc ? -EBADMSG : 0;
}

static uint64_t wall(void *store) {
    return ((struct world *) store)->now + 77;
}

static const struct link_store vtable = {
    offer, run,   handed, commit, answered, open_mirror, place,   filled,
    look,  want,  closed, nothing, control, up,          nothing, wall,
};

/* ---- the peer -------------------------------------------------------------------------------- */

/* Say HELLO, right or wrong. Does the link have a connection afterwards? */
static bool hello(struct world *world) {
    struct link_identity self = {.cluster = "c", .life = world->now};
    uint8_t bytes[GREET_SIZE] = {0};
    struct link_head head = {.type = LINK_HELLO, .size = HELLO_SIZE};
    struct link_room room;
    struct greet greet;
    size_t at = 0, size = FRAME_HEAD + HELLO_SIZE;
    int rc = 0;

    strcpy(self.host, (input_byte(world->input) & 15) == 15 ? "b" : world->peer);
    link_hello_write(bytes + FRAME_HEAD, &self, world->now);
    for (int n = input_byte(world->input) & 3; n > 0; n--)
        bytes[input_byte(world->input)] = input_byte(world->input);
    link_head_write(bytes, &head);
    head = (struct link_head){.type = LINK_USE, .size = USE_SIZE};
    link_head_write(bytes + size, &head);
    put64(bytes + size + FRAME_HEAD, world->now);
    size += FRAME_HEAD + USE_SIZE;
    greet_init(&greet, &world->self, world->now, world->now);
    while (rc >= 0 && at < size && greet_room(&greet, &room)) {
        if (room.size > size - at)
            room.size = size - at;
        memcpy(room.base, bytes + at, room.size);
        at += room.size;
        rc = greet_came(&greet, room.size);
        if (rc == 1 && link_meet(world->link, &greet, world->now) == LINK_MEET_TAKEN)
            return true;
    }
    REQUIRE(rc >= 0 || greet.wrong.text[0]);
    return false;
}

static void cut(struct world *world) {
    REQUIRE(link_wrong(world->link)[0]);
    link_cut(world->link, world->now);
    for (int i = 0; i < CHANNELS; i++)
        REQUIRE(!world->mirrors[i].used);
}

static void frame(struct world *world) {
    struct input *input = world->input;
    uint8_t bytes[FRAME_HEAD + 256] = {0};
    uint8_t how = input_byte(input);
    struct link_head head = {.type = input_byte(input) % (LINK_TYPES + 1)};
    static const uint8_t sizes[LINK_TYPES + 1] = {
        [LINK_HELLO] = HELLO_SIZE, [LINK_USE] = USE_SIZE,     [LINK_PING] = PING_SIZE,
        [LINK_PONG] = PONG_SIZE,   [LINK_OPEN] = OPEN_SIZE,   [LINK_STATE] = STATE_SIZE,
        [LINK_REFUSAL] = REFUSAL_SIZE, [LINK_ACK] = ACK_SIZE, [LINK_STALL] = STALL_SIZE,
        [LINK_CLOSE] = CLOSE_SIZE,
    };
    uint32_t which = input_byte(input);
    const struct origin *o = &world->origins[which % CHANNELS];
    const struct mirror *m = &world->mirrors[which % CHANNELS];
    uint64_t known[4] = {o->handed, o->committed, 1000, m->accepted + 1};

    head.size = sizes[head.type];
    if (head.type == LINK_DATA || head.type == LINK_CONTROL || head.type == LINK_BYE)
        head.size = (head.type == LINK_DATA ? DATA_SIZE : 0) + input_byte(input) % 200;
    if (head.type >= LINK_OPEN && head.type < LINK_SETTLED) {
        head.channel = which % CHANNELS;
        head.serial = how & 1 ? input_byte(input) : 1 + which % CHANNELS;
        head.turn = head.type == LINK_STATE || head.type == LINK_DATA ? how >> 6 : 0;
        head.flags = head.type == LINK_DATA ? how >> 4 & 3 : 0;
    }
    for (uint32_t at = 0; at + 8 <= head.size && at < 64; at += 8)
        put64(bytes + FRAME_HEAD + at,
              how & 2 ? input_word(input, known[at / 8 % 4]) : known[at / 8 % 4]);
    if (head.type == LINK_OPEN && !(how & 2)) {
        put32(bytes + FRAME_HEAD, 1 + which % CHANNELS);
        put64(bytes + FRAME_HEAD + 16, m->consumed);
        put64(bytes + FRAME_HEAD + 24, m->accepted);
        put64(bytes + FRAME_HEAD + 32, m->accepted + 5);
    }
    if (head.type == LINK_DATA && !(how & 2)) {
        put64(bytes + FRAME_HEAD, m->accepted + 1);
        put64(bytes + FRAME_HEAD + 8, m->placed);
    }
    if (how & 4)
        head.size += input_byte(input);
    link_head_write(bytes, &head);
    if (how & 8)
        bytes[input_byte(input) % FRAME_HEAD] = input_byte(input);
    if (link_read(world->link, world->now, bytes,
                  FRAME_HEAD + (head.size < 256 ? head.size : 256)) < 0)
        cut(world);
}

static void raw(struct world *world) {
    uint8_t bytes[64];
    size_t size = 1 + input_byte(world->input) % sizeof(bytes);

    for (size_t i = 0; i < size; i++)
        bytes[i] = input_byte(world->input);
    if (link_read(world->link, world->now, bytes, size) < 0)
        cut(world);
}

/* ---- what goes on here ----------------------------------------------------------------------- */

static void write_some(struct world *world) {
    const struct link_piece *pieces;
    int count = link_pieces(world->link, world->now, &pieces);
    size_t size = 0;

    for (int i = 0; i < count; i++) {
        static volatile uint8_t seen;

        for (size_t k = 0; k < pieces[i].size; k += 64)
            seen = ((const uint8_t *) pieces[i].base)[k];
        size += pieces[i].size;
        (void) seen;
    }
    REQUIRE(size <= 4 * LINK_PART + 70000);
    link_wrote(world->link, world->now, size > 3 && input_byte(world->input) & 1 ? 3 : size);
}

static void act(struct world *world, uint8_t what) {
    struct origin *o = &world->origins[what >> 4 & 3];
    struct mirror *m = &world->mirrors[what >> 4 & 3];
    struct link_name name = {9, 1u + (what >> 4 & 3), 5};

    switch (what & 15) {
    case 0:
        o->sent++;
        if (o->out)
            link_kick(world->link, o->out);
        break;
    case 1:
        m->consumed = m->accepted;
        if (m->used)
            link_kick_in(world->link, m->in);
        break;
    case 2:
        world->answers = input_byte(world->input);
        break;
    case 3:
        if (m->used)
            link_ready(world->link, m->in);
        break;
    case 4:
        if (m->used)
            link_refuse(world->link, m->in,
                        (enum link_answer) (1 + input_byte(world->input) % (LINK_ANSWERS - 1)));
        break;
    case 5:
        if (o->out)
            o->out = link_close(world->link, o->out, what & 64 ? LINK_ENDED : LINK_MOVED,
                                what & 128);
        else
            REQUIRE(link_open(world->link, &name, o, &o->out) == 0);
        break;
    case 6:
        link_settle(world->link);
        (void) link_control(world->link, ring, 1 + what);
        break;
    default:
        world->now += UINT64_C(1000000) * (what & 7 ? what : 2000);
        if (link_time(world->link, world->now) < 0)
            cut(world);
        REQUIRE(!link_is_up(world->link) || link_next(world->link) != UINT64_MAX);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, data + size};
    static struct world world;

    memset(&world, 0, sizeof(world));
    world.input = &input;
    world.now = 1000000000;
    world.self = (struct link_identity){.host = "m", .cluster = "c"};
    world.peer = size & 1 ? "a" : "zeta"; /* we lead, or it does */
    REQUIRE(link_new(&world.self, world.peer, NULL, &vtable, &world, &world.link) == 0);
    while (input_left(&input)) {
        uint8_t what = input_byte(&input);

        world.now++;
        if (!link_is_up(world.link)) {
            (void) hello(&world);
            continue;
        }
        if (what < 0x80)
            frame(&world);
        else if (what < 0xa0)
            raw(&world);
        else if (what < 0xd0)
            write_some(&world);
        else
            act(&world, input_byte(&input));
    }
    (void) link_free(world.link);
    for (int i = 0; i < CHANNELS; i++)
        REQUIRE(!world.mirrors[i].used);
    return 0;
}
