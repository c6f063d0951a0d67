/* SPDX-License-Identifier: MIT
 *
 * Both ends of a ring on plain memory, and an attacker who writes words, records and whole pages
 * between any two steps of theirs. Each end sees what it may only read through a mapping that it
 * cannot write, and the data with nothing before and behind it: reading or writing outside is a
 * crash. As long as the attacker did nothing, every message arrives once, in order, as it was sent.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "ring/rx.h"
#include "ring/tx.h"

#define CAPACITY 65536u
#define FROM     0x01020304u
#define STEPS    600 /* of one input */
#define NOTES    1024

/* One stream: writable for its sender, readable for its receiver. */
struct ring {
    struct stream *words;
    const struct stream *seen;
    uint8_t *data;
    const uint8_t *data_seen;
    uint64_t base, base_seq; /* as the ends read them, once */
};

static struct world {
    struct ring rings[2];
    struct head *head;
    const struct head *head_seen;
    struct ring_tx tx;
    struct ring_rx rx;
    bool tx_open, rx_open;
    unsigned tx_ring, rx_ring;
    bool honest; /* the attacker did nothing yet */
    uint64_t handed_seq, committed_seq;
    uint32_t notes[NOTES]; /* what of the data was written, in 64 bytes */
    size_t note_count;
} world;

/* ---- memory ---------------------------------------------------------------------------------- */

static int file_of(size_t size) {
    int fd = memfd_create("fuzz", MFD_CLOEXEC);

    REQUIRE(fd >= 0 && ftruncate(fd, (off_t) size) == 0);
    return fd;
}

/* `views` views of a file in a row, between pages that nobody may touch. */
static void *map_of(int fd, size_t size, int views, int protection) {
    size_t page = (size_t) sysconf(_SC_PAGESIZE);
    uint8_t *base = mmap(NULL, size * (size_t) views + 2 * page, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    REQUIRE(base != MAP_FAILED);
    base += page;
    for (int i = 0; i < views; i++)
        REQUIRE(mmap(base + size * (size_t) i, size, protection, MAP_SHARED | MAP_FIXED, fd, 0) !=
                MAP_FAILED);
    return base;
}

static void world_make(void) {
    int fd = file_of(sizeof(struct head));

    world.head = map_of(fd, sizeof(struct head), 1, PROT_READ | PROT_WRITE);
    world.head_seen = map_of(fd, sizeof(struct head), 1, PROT_READ);
    close(fd);
    for (int i = 0; i < 2; i++) {
        int words = file_of(4096);
        int data = file_of(CAPACITY);

        world.rings[i].words = map_of(words, 4096, 1, PROT_READ | PROT_WRITE);
        world.rings[i].seen = map_of(words, 4096, 1, PROT_READ);
        world.rings[i].data = map_of(data, CAPACITY, 2, PROT_READ | PROT_WRITE);
        world.rings[i].data_seen = map_of(data, CAPACITY, 2, PROT_READ);
        close(words);
        close(data);
    }
}

/* What lies there is zero again before the next input. */
static void note(unsigned ring, uint64_t position, uint64_t size) {
    uint32_t first = (uint32_t) (position % CAPACITY) / 64;

    for (uint64_t i = 0; i <= (size + 63) / 64 && world.note_count < NOTES; i++)
        world.notes[world.note_count++] = ring << 16 | (first + (uint32_t) i) % (CAPACITY / 64);
}

static void ring_start(unsigned ring, uint64_t base, uint64_t base_seq) {
    struct ring *at = &world.rings[ring];

    *at->words = (struct stream){.tail = base, .accepted = {base_seq, base_seq}, .want = 0};
    at->base = base;
    at->base_seq = base_seq;
}

static void world_start(uint64_t base, uint64_t base_seq) {
    for (size_t i = 0; i < world.note_count; i++)
        memset(world.rings[world.notes[i] >> 16].data + (world.notes[i] & 0xffff) * 64, 0, 64);
    world.note_count = 0;
    memset(world.head, 0, sizeof(*world.head));
    world.head->head = world.head->committed = world.head->handed = base;
    world.head->consumed[0] = base_seq;
    ring_start(0, base, base_seq);
    ring_start(1, base, base_seq);
    world.tx_ring = world.rx_ring = 0;
    world.tx_open = world.rx_open = false;
    world.honest = true;
    world.committed_seq = base_seq;
}

/* ---- what has to hold ------------------------------------------------------------------------ */

static void check_tx(void) {
    const struct ring_tx *tx = &world.tx;

    REQUIRE(tx->pos % LAYOUT_ALIGN == 0 && tx->freed % LAYOUT_ALIGN == 0);
    REQUIRE(tx->base <= tx->freed && tx->freed <= WORD_POSITION(tx->tail));
    REQUIRE(WORD_POSITION(tx->tail) <= tx->pos && tx->pos - tx->freed <= CAPACITY);
}

static void check_rx(void) {
    const struct ring_rx *rx = &world.rx;

    REQUIRE(rx->pos % LAYOUT_ALIGN == 0 && rx->tail % LAYOUT_ALIGN == 0);
    REQUIRE(rx->base <= rx->pos && rx->pos <= rx->tail && rx->tail < LAYOUT_END);
    REQUIRE(rx->tail - rx->pos <= CAPACITY);
    REQUIRE(rx->freed <= WORD_POSITION(rx->committed) && WORD_POSITION(rx->committed) <= rx->pos);
}

/* ---- the sender ------------------------------------------------------------------------------ */

static void tx_open(void) {
    struct ring *ring = &world.rings[world.tx_ring];
    int rc = ring_tx_init(&world.tx, ring->words, ring->data, world.head_seen, CAPACITY,
                          ring->base, ring->base_seq);

    REQUIRE(rc == 0 || rc == -EBADMSG);
    REQUIRE(rc == 0 || !world.honest);
    world.tx_open = rc == 0;
    if (rc == 0)
        check_tx();
}

static bool tx_look(void) {
    uint64_t freed = world.tx.freed;
    int rc = ring_tx_look(&world.tx);

    REQUIRE(rc == 0 || rc == -EBADMSG);
    REQUIRE(rc == 0 ? world.tx.freed >= freed : world.tx.freed == freed);
    REQUIRE(rc == 0 || !world.honest);
    world.tx_open = rc == 0;
    check_tx();
    return rc == 0;
}

/* As the slow path of a send: look, make room, write. */
static void tx_send(uint64_t size, uint32_t flags) {
    struct ring_tx *tx = &world.tx;
    uint8_t *body;

    if (!tx_look() || tx->pos + record_span(size) + LINK_SPAN > tx->freed + CAPACITY)
        return;
    tx->room = tx->freed + CAPACITY - LINK_SPAN;
    if (!ring_tx_fits(tx, size))
        return;
    body = ring_tx_header(tx, FROM, (uint32_t) tx->seq + 1, flags, size);
    REQUIRE(body == ring_tx_body(tx));
    REQUIRE(body >= tx->data + sizeof(struct record) && body + size <= tx->data + 2 * CAPACITY);
    note(world.tx_ring, tx->pos, sizeof(struct record));
    if (size > 0) {
        body[0] = (uint8_t) size;
        body[size - 1] = (uint8_t) size;
        note(world.tx_ring, tx->pos + sizeof(struct record), 1);
        note(world.tx_ring, tx->pos + sizeof(struct record) + size - 1, 1);
    }
    ring_tx_stage(tx, size);
    check_tx();
    REQUIRE(tx->pos <= tx->room);
}

static void tx_publish(void) {
    struct ring_tx *tx = &world.tx;
    uint64_t armed = ring_tx_publish(tx);

    REQUIRE(tx->words->tail == tx->tail && WORD_POSITION(tx->tail) == tx->pos);
    REQUIRE(tx->words->accepted[WORD_SLOT(tx->tail)] == tx->seq);
    if (ring_tx_must_ring(tx, armed))
        tx->rung = armed;
    REQUIRE(!ring_tx_must_ring(tx, armed));
    check_tx();
}

/* The channel goes on in the other ring, if the receiver is through with that. */
static void tx_grow(void) {
    struct ring_tx *tx = &world.tx;

    if (world.tx_ring != world.rx_ring || !tx_look() ||
        WORD_POSITION(world.head->committed) < world.rings[world.tx_ring].base)
        return;
    if (tx->pos + LINK_SPAN > tx->freed + CAPACITY)
        return;
    note(world.tx_ring, tx->pos, LINK_SPAN);
    (void) ring_tx_link(tx, FROM);
    world.tx_ring ^= 1;
    ring_start(world.tx_ring, tx->pos, tx->seq);
    tx_open();
}

/* ---- the receiver ---------------------------------------------------------------------------- */

static void rx_open(void) {
    struct ring *ring = &world.rings[world.rx_ring];
    uint64_t committed = WORD_POSITION(world.head->committed);

    /* In which of them it lies: the later one, if that begins at or before it. */
    if (world.honest) {
        world.rx_ring = world.tx_ring ^ (committed < world.rings[world.tx_ring].base);
        ring = &world.rings[world.rx_ring];
    }
    world.rx_open = ring_rx_init(&world.rx, ring->seen, ring->data_seen, world.head, FROM,
                                 CAPACITY, ring->base, ring->base_seq);
    REQUIRE(world.rx_open || !world.honest);
    if (world.rx_open) {
        check_rx();
        REQUIRE(world.rx.seq >= ring->base_seq && world.rx.seq < LAYOUT_END);
        world.committed_seq = world.rx.seq;
    }
}

static void rx_look(void) {
    uint64_t tail = world.rx.tail;

    world.rx_open = ring_rx_look(&world.rx);
    REQUIRE(world.rx_open ? world.rx.tail >= tail : world.rx.tail == tail && !world.honest);
    check_rx();
}

static void rx_succeed(uint64_t base, uint64_t base_seq) {
    struct ring *next = &world.rings[world.rx_ring ^ 1];

    world.rx_open = ring_rx_succeed(&world.rx, next->seen, next->data_seen, CAPACITY, base,
                                    base_seq);
    REQUIRE(world.rx_open || !world.honest);
    if (world.rx_open) {
        world.rx_ring ^= 1;
        check_rx();
    }
}

static void rx_next(void) {
    struct ring_rx before = world.rx;
    struct ring_rx *rx = &world.rx;
    enum ring_rx_result result;
    struct ring_view view;
    uint64_t offset = before.pos & before.mask;
    volatile uint8_t byte;

    if (rx->seq - world.committed_seq >= LAYOUT_WINDOW)
        return; /* as many in hand as there may be */
    result = ring_rx_next(rx, &view);
    check_rx();
    switch (result) {
    case RX_MESSAGE:
        REQUIRE(rx->seq == before.seq + 1 && view.seq == rx->seq && view.end == rx->pos);
        REQUIRE(rx->pos > before.pos && rx->pos - before.pos >= record_span(view.size));
        REQUIRE((const uint8_t *) view.record == rx->data + offset);
        REQUIRE(offset + sizeof(struct record) + view.size <= 2 * CAPACITY);
        REQUIRE(!(view.flags & RECORD_WIDE) || view.size >= sizeof(struct extension));
        byte = ((const uint8_t *) (view.record + 1))[view.size > 0 ? view.size - 1 : 0];
        if (world.honest)
            REQUIRE(view.record->tag == (uint32_t) view.seq &&
                    (view.size == 0 || byte == (uint8_t) view.size));
        break;
    case RX_EMPTY:
        REQUIRE(before.pos == before.tail && rx->pos == before.pos && rx->seq == before.seq);
        break;
    case RX_LINK:
        REQUIRE(rx->pos == rx->tail && rx->seq == before.seq);
        if (world.honest)
            rx_succeed(world.rings[world.rx_ring ^ 1].base,
                       world.rings[world.rx_ring ^ 1].base_seq);
        break;
    default:
        REQUIRE(result == RX_BAD && !world.honest);
        REQUIRE(rx->pos == before.pos && rx->seq == before.seq);
        world.rx_open = false;
    }
}

static void rx_commit(void) {
    ring_rx_commit(&world.rx, world.rx.pos, world.rx.seq);
    world.committed_seq = world.rx.seq;
    REQUIRE(world.head->consumed[WORD_SLOT(world.head->committed)] == world.rx.seq);
    check_rx();
}

static void rx_recover(uint64_t handed) {
    uint64_t pos = world.rx.pos;
    uint64_t last;
    bool more = true;

    last = ring_rx_recover(&world.rx, WORD_POSITION(handed), &more);
    REQUIRE(world.rx.pos == pos);
    REQUIRE(last == UINT64_MAX || last - world.rx.seq <= LAYOUT_WINDOW);
    REQUIRE(last != UINT64_MAX || !world.honest);
    if (last != UINT64_MAX)
        ring_rx_recovered(&world.rx);
    check_rx();
}

/* ---- the attacker ---------------------------------------------------------------------------- */

static void write_word(struct input *input) {
    static const uint16_t offsets[] = {
        offsetof(struct stream, tail),     offsetof(struct stream, accepted),
        offsetof(struct stream, accepted) + 8, offsetof(struct stream, want),
        offsetof(struct stream, kept),     offsetof(struct stream, reserved),
        offsetof(struct stream, capacity), offsetof(struct stream, base),
    };
    uint8_t which = input_byte(input);
    uint64_t *word = (uint64_t *) (void *) ((uint8_t *) world.rings[which >> 7].words +
                                            offsets[which & 7]);

    *word = input_word(input, *word);
}

static void write_head(struct input *input) {
    static const uint16_t offsets[] = {
        offsetof(struct head, head),     offsetof(struct head, armed),
        offsetof(struct head, committed), offsetof(struct head, consumed),
        offsetof(struct head, consumed) + 8, offsetof(struct head, handed),
        offsetof(struct head, aside),    offsetof(struct head, window),
    };
    uint8_t which = input_byte(input);
    uint64_t *word = (uint64_t *) (void *) ((uint8_t *) world.head + offsets[which & 7]);

    if ((which & 7) == 7)
        word += input_byte(input) * 2;
    *word = input_word(input, *word);
}

/* A record, good or not, at a position, good or not. */
static void write_record(struct input *input) {
    uint8_t how = input_byte(input);
    unsigned ring = how >> 7;
    uint64_t pos = input_word(input, WORD_POSITION(world.rings[ring].words->tail));
    struct record record = {
        .seq = input_word(input, world.rx.seq + 1),
        .size = (uint32_t) (how & 1 ? input_number(input, 2) : input_word(input, CAPACITY)),
        .from = how & 2 ? input_byte(input) : FROM,
        .flags = how & 4 ? input_byte(input) : 0,
    };

    memcpy(world.rings[ring].data + pos % CAPACITY, &record, sizeof(record));
    note(ring, pos, sizeof(record));
    if (how & 8) {
        world.rings[ring].words->tail = (pos + record_span(record.size)) | (how >> 4 & 1);
        world.rings[ring].words->accepted[how >> 4 & 1] = record.seq;
    }
}

/* ---- one input ------------------------------------------------------------------------------- */

static void attack(struct input *input, uint8_t step) {
    world.honest = false;
    if (step % 4 < 2)
        write_record(input);
    else if (step % 4 == 2)
        write_word(input);
    else
        write_head(input);
}

static void step_tx(struct input *input, uint8_t step) {
    if (!world.tx_open)
        return;
    switch (step & 7) {
    case 0: case 1:
        tx_send(step & 8 ? input_number(input, 2) : input_byte(input), 0);
        break;
    case 2:
        tx_send(sizeof(struct extension) + input_byte(input), RECORD_WIDE);
        break;
    case 3: case 4:
        tx_publish();
        break;
    case 5:
        if (ring_tx_want(&world.tx) < 0)
            REQUIRE(!world.honest);
        break;
    case 6:
        ring_tx_unwant(&world.tx);
        break;
    default:
        tx_grow();
    }
}

static void step_rx(struct input *input, uint8_t step) {
    if (!world.rx_open)
        return;
    switch (step & 7) {
    case 0:
        rx_look();
        break;
    case 1: case 2:
        for (int i = step >> 3 & 7; i >= 0 && world.rx_open; i--)
            rx_next();
        break;
    case 3:
        ring_rx_handed(&world.rx);
        break;
    case 4:
        rx_commit();
        break;
    case 5:
        (void) ring_rx_must_ring(&world.rx, ring_rx_free(&world.rx));
        check_rx();
        break;
    case 6:
        ring_rx_arm(&world.rx);
        if (step & 8)
            ring_rx_disarm(&world.rx);
        break;
    default:
        if (step & 8 && !world.honest)
            rx_succeed(input_word(input, world.rx.pos), input_word(input, world.rx.seq));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {data, data + size};
    uint64_t base;

    if (!world.head)
        world_make();
    base = input_word(&input, 0) & ~UINT64_C(7);
    world_start(base < LAYOUT_END / 2 ? base : 0, input_byte(&input));
    for (int steps = 0; input_left(&input) && steps < STEPS; steps++) {
        uint8_t step = input_byte(&input);

        if (step < 0x50) {
            step_tx(&input, step);
        } else if (step < 0xb0) {
            step_rx(&input, step);
        } else if (step < 0xc0) {
            tx_open();
        } else if (step < 0xd0) {
            rx_open();
            if (world.rx_open && step & 1)
                rx_recover(world.head->handed);
        } else {
            attack(&input, step);
        }
    }
    return 0;
}
