/* SPDX-License-Identifier: MIT
 *
 * Both ends of a ring on plain memory: order, counts, wrapping, links, nonsense, recovery; and the
 * door. Two threads as ends, that sleep and are woken: it is here that the thread sanitizer sees
 * all of it, in one mapping.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "ring/door.h"
#include "ring/rx.h"
#include "ring/tx.h"

#define CAPACITY 65536u
#define FROM 0x01020304u

/* Data "mapped twice": the second half is kept equal by hand. */
struct bench {
    struct stream words;
    struct head head;
    uint8_t *data;
    struct ring_tx tx;
    struct ring_rx rx;
};

static struct bench *bench_new(uint64_t base, uint64_t base_seq) {
    struct bench *bench = calloc(1, sizeof(*bench));

    bench->data = calloc(2, CAPACITY);
    bench->words.capacity = CAPACITY;
    bench->words.base = base;
    bench->words.base_seq = base_seq;
    bench->words.tail = base;
    bench->words.accepted[0] = base_seq;
    bench->head.committed = base;
    bench->head.consumed[0] = base_seq;
    bench->head.handed = base;
    bench->head.head = base;
    CHECK_OK(ring_tx_init(&bench->tx, &bench->words, bench->data, &bench->head, CAPACITY, base,
                          base_seq));
    CHECK(ring_rx_init(&bench->rx, &bench->words, bench->data, &bench->head, FROM, CAPACITY, base,
                       base_seq));
    return bench;
}

static void bench_free(struct bench *bench) {
    free(bench->data);
    free(bench);
}

static void put(struct bench *bench, const char *text) {
    size_t size = strlen(text);
    uint64_t at = bench->tx.pos & bench->tx.mask;

    CHECK_OK(ring_tx_look(&bench->tx));
    bench->tx.room = bench->tx.freed + CAPACITY - LINK_SPAN;
    CHECK(ring_tx_fits(&bench->tx, size));
    memcpy(ring_tx_header(&bench->tx, FROM, 1, 0, size), text, size);
    if (at + record_span(size) > CAPACITY)
        memcpy(bench->data, bench->data + CAPACITY, at + record_span(size) - CAPACITY);
    if (at < 4096)
        memcpy(bench->data + CAPACITY, bench->data, 4096);
    ring_tx_stage(&bench->tx, size);
}

static void expect(struct bench *bench, uint64_t seq, const char *text) {
    struct ring_view view = {0};

    CHECK(ring_rx_look(&bench->rx));
    CHECK_EQ(ring_rx_next(&bench->rx, &view), RX_MESSAGE);
    CHECK_EQ(view.seq, seq);
    CHECK_EQ(view.size, strlen(text));
    CHECK(memcmp(view.record + 1, text, view.size) == 0);
    ring_rx_handed(&bench->rx);
}

TEST(staged_is_not_there_before_it_is_published) {
    struct bench *bench = bench_new(0, 0);
    struct ring_view view = {0};

    put(bench, "one");
    put(bench, "two");
    CHECK(ring_tx_staged(&bench->tx));
    CHECK(ring_rx_look(&bench->rx));
    CHECK_EQ(ring_rx_next(&bench->rx, &view), RX_EMPTY);
    CHECK_EQ(ring_tx_publish(&bench->tx), 0);
    CHECK_EQ(bench->words.accepted[bench->words.tail & 1], 2);
    expect(bench, 1, "one");
    expect(bench, 2, "two");
    CHECK_EQ(ring_rx_next(&bench->rx, &view), RX_EMPTY);
    bench_free(bench);
}

TEST(goes_round_many_times) {
    struct bench *bench = bench_new(800, 7);
    char text[300];

    for (uint64_t i = 0; i < 5000; i++) {
        memset(text, 'a' + (int) (i % 26), sizeof(text));
        text[i % 299] = '\0';
        put(bench, text);
        (void) ring_tx_publish(&bench->tx);
        expect(bench, 8 + i, text);
        ring_rx_commit(&bench->rx, bench->rx.pos, bench->rx.seq);
        if (ring_rx_should_free(&bench->rx))
            (void) ring_rx_free(&bench->rx);
    }
    CHECK_EQ(bench->head.consumed[bench->head.committed & 1], 5007);
    bench_free(bench);
}

/* A successor finds the count that belongs to the tail, whichever store its predecessor died
 * before. */
TEST(a_count_belongs_to_its_word) {
    struct bench *bench = bench_new(0, 0);
    struct ring_tx successor;

    put(bench, "one");
    (void) ring_tx_publish(&bench->tx);
    put(bench, "two");
    bench->words.accepted[(bench->words.tail & 1) ^ 1] = 2; /* died here, before the tail */
    CHECK_OK(ring_tx_init(&successor, &bench->words, bench->data, &bench->head, CAPACITY, 0,
                          0));
    CHECK_EQ(successor.seq, 1);
    CHECK_EQ(successor.pos, record_span(3));
    (void) ring_tx_publish(&bench->tx); /* died here, before the bell */
    CHECK_OK(ring_tx_init(&successor, &bench->words, bench->data, &bench->head, CAPACITY, 0,
                          0));
    CHECK_EQ(successor.seq, 2);
    bench_free(bench);
}

TEST(a_link_is_the_last_and_no_message) {
    struct bench *bench = bench_new(0, 0);
    struct bench *next;
    struct ring_view view = {0};

    put(bench, "one");
    (void) ring_tx_publish(&bench->tx);
    (void) ring_tx_link(&bench->tx, FROM);
    CHECK_EQ(bench->words.accepted[bench->words.tail & 1], 1);
    expect(bench, 1, "one");
    CHECK_EQ(ring_rx_next(&bench->rx, &view), RX_LINK);
    next = bench_new(bench->tx.pos, 1);
    put(next, "two");
    (void) ring_tx_publish(&next->tx);
    CHECK(!ring_rx_succeed(&bench->rx, &next->words, next->data, CAPACITY, bench->tx.pos + 8, 1));
    CHECK(!ring_rx_succeed(&bench->rx, &next->words, next->data, CAPACITY, bench->tx.pos, 2));
    CHECK(ring_rx_succeed(&bench->rx, &next->words, next->data, CAPACITY, bench->tx.pos, 1));
    expect(bench, 2, "two");
    bench_free(next);
    bench_free(bench);
}

TEST(nonsense_of_the_producer_is_seen) {
    struct bench *bench = bench_new(0, 0);
    struct record *record = (struct record *) (void *) bench->data;
    struct record good;
    struct ring_view view = {0};

    put(bench, "one");
    (void) ring_tx_publish(&bench->tx);
    CHECK(ring_rx_look(&bench->rx));
    good = *record;
#define BAD(field, value)                                                                          \
    record->field = (value);                                                                       \
    CHECK_EQ(ring_rx_next(&bench->rx, &view), RX_BAD);                                             \
    CHECK_EQ(bench->rx.pos, 0);                                                                    \
    *record = good
    BAD(size, 9); /* beyond the tail */
    BAD(size, UINT32_MAX);
    BAD(seq, 2);
    BAD(seq, 0);
    BAD(from, FROM + 1);
    BAD(flags, 4);
    BAD(flags, RECORD_LINK);
    BAD(flags, RECORD_WIDE); /* too short for an extension */
    bench->words.tail = 8;   /* backwards */
    CHECK(!ring_rx_look(&bench->rx));
    bench->words.tail = CAPACITY + 8; /* more than the ring holds */
    CHECK(!ring_rx_look(&bench->rx));
    bench->words.tail = UINT64_MAX;
    CHECK(!ring_rx_look(&bench->rx));
    bench_free(bench);
}

TEST(nonsense_of_the_consumer_is_seen) {
    struct bench *bench = bench_new(0, 0);

    put(bench, "one");
    (void) ring_tx_publish(&bench->tx);
    bench->head.head = 12; /* no multiple of 8 */
    CHECK_ERR(ring_tx_look(&bench->tx), -EBADMSG);
    bench->head.head = bench->tx.pos + 8; /* never published */
    CHECK_ERR(ring_tx_look(&bench->tx), -EBADMSG);
    bench->head.head = bench->tx.pos;
    CHECK_OK(ring_tx_look(&bench->tx));
    bench->head.head = 0; /* backwards */
    CHECK_ERR(ring_tx_look(&bench->tx), -EBADMSG);
    bench_free(bench);
}

/* On a disk each record has a checksum; none is of another life unless it has; and what is not the
 * usual kind is left to the long way. */
TEST(records_that_are_not_usual) {
    struct bench *bench = bench_new(0, 0);
    struct record *record = (struct record *) (void *) bench->data;
    struct ring_view view = {0};

    put(bench, "twenty-four bytes of it!");
    (void) ring_tx_publish(&bench->tx);
    CHECK(ring_rx_look(&bench->rx));
    bench->rx.usual = RX_ON_DISK;
    CHECK_EQ(ring_rx_next_plain(&bench->rx, &view), RX_EMPTY);
    CHECK_EQ(ring_rx_next(&bench->rx, &view), RX_BAD);
    record->flags = RECORD_WIDE;
    CHECK_EQ(ring_rx_next_plain(&bench->rx, &view), RX_EMPTY);
    bench->rx.usual = 0;
    record->flags = RECORD_WIDE | 1u << 8;
    CHECK_EQ(ring_rx_next_plain(&bench->rx, &view), RX_EMPTY);
    CHECK_EQ(ring_rx_next(&bench->rx, &view), RX_BAD);
    record->flags = RECORD_WIDE;
    CHECK_EQ(ring_rx_next_plain(&bench->rx, &view), RX_MESSAGE);
    bench->rx.tail = 0; /* the tail is where it was, and we are beyond it */
    bench->words.tail = 8;
    CHECK(!ring_rx_look(&bench->rx));
    bench_free(bench);
}

/* What was checked before the words were mapped comes as arguments: what the words say now does
 * not matter. Counts and positions that lead too far are an error. */
TEST(words_that_changed_or_lead_too_far) {
    struct bench *bench = bench_new(0, 0);
    struct ring_tx tx;
    struct ring_rx rx;

    bench->words.capacity = 16 * CAPACITY;
    bench->words.base = 8 * CAPACITY;
    CHECK_OK(ring_tx_init(&tx, &bench->words, bench->data, &bench->head, CAPACITY, 0, 0));
    CHECK_EQ(tx.mask, CAPACITY - 1);
    CHECK_EQ(tx.base, 0);
    bench->words.tail = 2 * CAPACITY; /* more than fits lies between it and the head */
    CHECK_ERR(ring_tx_init(&tx, &bench->words, bench->data, &bench->head, CAPACITY, 0, 0),
              -EBADMSG);
    bench->words.tail = bench->head.head = LAYOUT_END;
    CHECK_ERR(ring_tx_init(&tx, &bench->words, bench->data, &bench->head, CAPACITY, 0, 0),
              -EBADMSG);
    bench->head.committed = LAYOUT_END;
    CHECK(!ring_rx_init(&rx, &bench->words, bench->data, &bench->head, FROM, CAPACITY, 0, 0));
    bench->words.tail = bench->head.head = bench->head.committed = 0;
    CHECK_OK(ring_tx_init(&tx, &bench->words, bench->data, &bench->head, CAPACITY, 0, 0));
    CHECK_ERR(ring_tx_init(&tx, &bench->words, bench->data, &bench->head, CAPACITY, 0, 1),
              -EBADMSG); /* fewer messages than the stream began with */
    CHECK(!ring_rx_init(&rx, &bench->words, bench->data, &bench->head, FROM, CAPACITY, 0, 1));
    bench->words.accepted[0] = bench->head.consumed[0] = LAYOUT_END;
    CHECK_ERR(ring_tx_init(&tx, &bench->words, bench->data, &bench->head, CAPACITY, 0, 0),
              -EBADMSG);
    CHECK(!ring_rx_init(&rx, &bench->words, bench->data, &bench->head, FROM, CAPACITY, 0, 0));
    bench_free(bench);
}

/* No more can have been in hand than the window has places. */
TEST(recovery_of_more_than_a_window) {
    struct bench *bench = bench_new(0, 0);
    bool more;

    for (unsigned i = 0; i <= LAYOUT_WINDOW; i++)
        put(bench, "");
    (void) ring_tx_publish(&bench->tx);
    CHECK(ring_rx_look(&bench->rx));
    CHECK_EQ(ring_rx_recover(&bench->rx, bench->tx.pos, &more), UINT64_MAX);
    bench_free(bench);
}

/* A recovery that itself dies halfway counts each hand-out once all the same. */
TEST(recovery_counts_once) {
    struct bench *bench = bench_new(0, 0);
    uint64_t handed;
    bool more;

    for (int i = 0; i < 3; i++)
        put(bench, "text");
    (void) ring_tx_publish(&bench->tx);
    for (uint64_t i = 1; i <= 3; i++)
        expect(bench, i, "text");
    for (uint64_t life = 1; life <= 20; life++) {
        CHECK(ring_rx_init(&bench->rx, &bench->words, bench->data, &bench->head, FROM, CAPACITY,
                           0, 0));
        handed = WORD_POSITION(bench->head.handed);
        CHECK_EQ(ring_rx_recover(&bench->rx, handed, &more), 3);
        CHECK_EQ(ring_rx_recover(&bench->rx, handed, &more), 3); /* the first one died */
        ring_rx_recovered(&bench->rx);
        for (uint64_t seq = 1; seq <= 3; seq++)
            CHECK_EQ(WINDOW_ATTEMPTS(bench->head.window[seq]), life);
        CHECK_EQ(WORD_POSITION(bench->head.handed), 0);
        for (uint64_t i = 1; i <= 3; i++)
            expect(bench, i, "text");
    }
    bench_free(bench);
}

TEST(want_and_arm_are_rung_once) {
    struct bench *bench = bench_new(0, 0);
    uint64_t armed;

    put(bench, "one");
    armed = ring_tx_publish(&bench->tx);
    CHECK(!ring_tx_must_ring(&bench->tx, armed));
    ring_rx_arm(&bench->rx);
    put(bench, "two");
    armed = ring_tx_publish(&bench->tx);
    CHECK(ring_tx_must_ring(&bench->tx, armed));
    bench->tx.rung = armed;
    CHECK(!ring_tx_must_ring(&bench->tx, armed));
    ring_rx_disarm(&bench->rx);
    ring_rx_arm(&bench->rx);
    CHECK(ring_tx_must_ring(&bench->tx, bench->head.armed)); /* another epoch */
    CHECK_OK(ring_tx_want(&bench->tx));
    expect(bench, 1, "one");
    ring_rx_commit(&bench->rx, bench->rx.pos, bench->rx.seq);
    CHECK(ring_rx_must_ring(&bench->rx, ring_rx_free(&bench->rx)));
    ring_tx_unwant(&bench->tx);
    CHECK(!ring_rx_must_ring(&bench->rx, ring_rx_free(&bench->rx)));
    bench_free(bench);
}

TEST(doors) {
    struct door door = {0};
    uint64_t taken = 0;

    CHECK(!door_knock(&door, FROM)); /* awake: no bell */
    CHECK(door_bits(&door));
    CHECK(!door_sleep(&door, 0)); /* a bit: do not sleep */
    door_wake(&door);
    for (uint32_t i = 0; i < LAYOUT_BITS / 64; i++)
        taken |= door_take(&door, i);
    CHECK_EQ(__builtin_popcountll(taken), 1);
    CHECK(!door_bits(&door));
    CHECK(door_sleep(&door, 0));
    CHECK(door_knock(&door, FROM));
    CHECK(door_knock(&door, FROM)); /* a set bit is no reason not to ring */
    CHECK(door_announce(&door));
    CHECK_EQ(door.attached, 1);
}

/* ---- two threads ----------------------------------------------------------------------------- */

/* An end's door, and the bell beside it. */
struct end {
    _Alignas(64) struct door door;
    int bell[2];
};

struct pair {
    struct bench *bench;
    struct end producer, consumer;
    uint64_t messages;
    uint64_t sleeps[2];
};

static void ring_bell(struct end *end) {
    CHECK(write(end->bell[1], "!", 1) == 1 || errno == EAGAIN);
}

/* As node_sleep(), node_block() and node_wake() do. What was knocked for is looked at by the
 * caller, after this. */
static bool sleep_until_knocked(struct end *end) {
    struct pollfd bell = { .fd = end->bell[0], .events = POLLIN };
    char bytes[64];
    bool slept = door_sleep(&end->door, 0);

    if (slept && poll(&bell, 1, 15000) <= 0)
        FAIL("a wake-up was lost");
    if (slept)
        (void) !read(end->bell[0], bytes, sizeof(bytes));
    door_wake(&end->door);
    for (uint32_t i = 0; i < LAYOUT_BITS / 64; i++)
        (void) door_take(&end->door, i);
    return slept;
}

static void *run_producer(void *arg) {
    struct pair *pair = arg;
    struct ring_tx *tx = &pair->bench->tx;

    for (uint64_t i = 1; i <= pair->messages; i++) {
        uint64_t size = 8 * (1 + i * 7919 % 1500), armed;
        uint64_t *body;

        CHECK_OK(ring_tx_look(tx));
        while (tx->pos + record_span(size) + LINK_SPAN > tx->freed + CAPACITY) {
            uint64_t seen = tx->freed;

            CHECK_OK(ring_tx_want(tx));
            if (tx->freed == seen)
                pair->sleeps[0] += sleep_until_knocked(&pair->producer);
            CHECK_OK(ring_tx_look(tx));
        }
        if (load_relaxed(&tx->words->want) & ARMED_ON)
            ring_tx_unwant(tx);
        /* What goes round the end lies behind it here, for both. */
        body = ring_tx_header(tx, FROM, 1, 0, size);
        for (uint64_t n = 0; n < size / 8; n++)
            body[n] = i ^ n;
        ring_tx_stage(tx, size);
        armed = ring_tx_publish(tx);
        if (ring_tx_must_ring(tx, armed)) {
            tx->rung = armed;
            if (door_knock(&pair->consumer.door, FROM))
                ring_bell(&pair->consumer);
        }
    }
    return NULL;
}

static void give(struct pair *pair) {
    struct ring_rx *rx = &pair->bench->rx;
    uint64_t want = ring_rx_free(rx);

    if (!ring_rx_must_ring(rx, want))
        return;
    rx->rung = want;
    if (door_knock(&pair->producer.door, FROM + 1))
        ring_bell(&pair->producer);
}

static void consume(struct pair *pair) {
    struct ring_rx *rx = &pair->bench->rx;

    while (rx->seq < pair->messages) {
        struct ring_view view;

        CHECK(ring_rx_look(rx));
        while (ring_rx_next(rx, &view) == RX_MESSAGE) {
            const uint64_t *body = (const uint64_t *) (const void *) (view.record + 1);

            ring_rx_handed(rx);
            for (uint64_t n = 0; n < view.size / 8; n++)
                CHECK(body[n] == (view.seq ^ n));
            ring_rx_commit(rx, rx->pos, rx->seq);
            if (ring_rx_should_free(rx))
                give(pair);
        }
        give(pair);
        if (rx->seq == pair->messages)
            return;
        ring_rx_arm(rx);
        fence(); /* F2 */
        CHECK(ring_rx_look(rx));
        if (!ring_rx_ready(rx))
            pair->sleeps[1] += sleep_until_knocked(&pair->consumer);
        ring_rx_disarm(rx);
    }
}

TEST_TIMEOUT(two_threads_wake_each_other, 60) {
    struct pair *pair = aligned_alloc(64, sizeof(*pair));
    pthread_t thread;

    memset(pair, 0, sizeof(*pair));
    pair->bench = bench_new(0, 0);
    pair->messages = *test_sanitizer() ? 20000 : 50000;
    CHECK_EQ(pipe2(pair->producer.bell, O_NONBLOCK | O_CLOEXEC), 0);
    CHECK_EQ(pipe2(pair->consumer.bell, O_NONBLOCK | O_CLOEXEC), 0);
    CHECK_EQ(pthread_create(&thread, NULL, run_producer, pair), 0);
    consume(pair);
    CHECK_EQ(pthread_join(thread, NULL), 0);
    CHECK(pair->sleeps[0] + pair->sleeps[1] > 0);
    for (int i = 0; i < 2; i++) {
        (void) close(pair->producer.bell[i]);
        (void) close(pair->consumer.bell[i]);
    }
    bench_free(pair->bench);
    free(pair);
}

/* IDs that differ in one byte only do not share bits more than chance has it. */
TEST(neighbours_have_bits_of_their_own) {
    uint8_t used[LAYOUT_BITS] = {0};
    int collisions = 0;

    for (uint32_t i = 0; i < 200; i++)
        collisions += used[door_bit(0x01010100u + i)]++ > 0;
    CHECK(collisions < 40);
}
