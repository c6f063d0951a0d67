/* SPDX-License-Identifier: MIT
 *
 * Writer and readers of a ring of events: on plain memory, as threads that sleep and are woken, and
 * as processes that are lapped while they copy.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"
#include "topic/topic.h"

#define CAPACITY 65536u
#define READERS 4

/* The ring's data has to be mapped twice in a row, as in the product. */
struct bench {
    struct topic *words;
    uint8_t *data;
    struct topic_reader *readers; /* READERS of them */
    struct topic_tx tx;
};

static void bench_init(struct bench *bench) {
    int fd = memfd_create("events", MFD_CLOEXEC);
    size_t words = 4096 + READERS * sizeof(struct topic_reader);
    uint8_t *data;

    CHECK_OK(ftruncate(fd, CAPACITY));
    data = mmap(NULL, 2 * CAPACITY, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(data != MAP_FAILED);
    for (int i = 0; i < 2; i++)
        CHECK(mmap(data + i * CAPACITY, CAPACITY, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
                   fd, 0) != MAP_FAILED);
    close(fd);
    bench->data = data;
    bench->words = mmap(NULL, words, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(bench->words != MAP_FAILED);
    bench->readers = (struct topic_reader *) (void *) ((uint8_t *) bench->words + 4096);
    CHECK_OK(topic_tx_init(&bench->tx, bench->words, bench->data, CAPACITY));
}

static void bench_deinit(struct bench *bench) {
    munmap(bench->data, 2 * CAPACITY);
    munmap(bench->words, 4096 + READERS * sizeof(struct topic_reader));
}

/* Every word of an event is made from its number, so that a torn one is seen. */
static uint64_t word_of(uint64_t number, uint64_t index) {
    return number * UINT64_C(0x9e3779b97f4a7c15) + index;
}

static uint64_t size_of(uint64_t number) {
    return 8 * (number * 7 % 61);
}

static bool put(struct bench *bench, uint64_t limit) {
    struct topic_tx *tx = &bench->tx;
    uint64_t number = tx->number + 1, size = size_of(number);
    struct topic_record record = {.size = (uint32_t) size, .code = (uint32_t) number};
    uint64_t *body;

    if (!topic_tx_fits(tx, size) && !topic_tx_make_room(tx, size, limit))
        return false;
    body = topic_tx_header(tx, &record);
    for (uint64_t i = 0; i < size / 8; i++)
        body[i] = word_of(number, i);
    topic_tx_stage(tx, size);
    return true;
}

static bool whole(const struct topic_view *view) {
    const uint64_t *body = (const uint64_t *) (const void *) view->body;

    if (view->record.size != size_of(view->record.number) ||
        view->record.code != (uint32_t) view->record.number)
        return false;
    for (uint64_t i = 0; i < view->record.size / 8; i++)
        if (load_relaxed(&body[i]) != word_of(view->record.number, i))
            return false;
    return true;
}

TEST(every_event_comes_in_order) {
    struct bench bench;
    struct topic_rx rx;
    struct topic_view view;

    bench_init(&bench);
    CHECK(topic_rx_init(&rx, bench.words, bench.data, CAPACITY, &bench.readers[0], false));
    for (uint64_t i = 1; i <= 100000; i++) {
        CHECK(put(&bench, rx.pos));
        CHECK(topic_rx_look(&rx));
        CHECK_EQ(topic_rx_next(&rx, &view), TOPIC_NONE); /* staged only */
        topic_tx_publish(&bench.tx);
        CHECK(topic_rx_look(&rx));
        CHECK_EQ(topic_rx_next(&rx, &view), TOPIC_EVENT);
        CHECK_EQ(view.record.number, i);
        CHECK_EQ(rx.missed, 0);
        CHECK(whole(&view));
        CHECK(topic_rx_intact(&rx, &view));
        CHECK(!topic_rx_done(&rx));
    }
    CHECK_EQ(topic_rx_next(&rx, &view), TOPIC_NONE);
    bench_deinit(&bench);
}

TEST(who_is_lapped_goes_on_at_the_oldest) {
    struct bench bench;
    struct topic_rx rx;
    struct topic_view view;
    uint64_t seen = 0, missed = 0;

    bench_init(&bench);
    CHECK(topic_rx_init(&rx, bench.words, bench.data, CAPACITY, &bench.readers[0], false));
    for (uint64_t round = 0; round < 300; round++) {
        for (uint64_t i = 0; i < round * 7; i++)
            CHECK(put(&bench, UINT64_MAX));
        topic_tx_publish(&bench.tx);
        CHECK(topic_rx_look(&rx));
        while (topic_rx_next(&rx, &view) == TOPIC_EVENT) {
            CHECK(whole(&view));
            seen++;
            missed += rx.missed;
            CHECK_EQ(seen + missed, view.record.number);
        }
        CHECK_EQ(seen + missed, bench.tx.number);
    }
    CHECK(missed > 1000);
    /* What is missed is no more than has to be: all but 1/64 of the ring, and a record, is kept. */
    for (uint64_t i = 0; i < 5000; i++)
        CHECK(put(&bench, UINT64_MAX));
    topic_tx_publish(&bench.tx);
    CHECK(bench.tx.pos - bench.tx.floor > CAPACITY - 2 * CAPACITY / TOPIC_STEPS);
    bench_deinit(&bench);
}

TEST(a_granted_reader_holds_the_writer_up) {
    struct bench bench;
    struct topic_rx rx;
    struct topic_view view;
    uint64_t position = 1, next = 1;

    bench_init(&bench);
    CHECK(topic_rx_init(&rx, bench.words, bench.data, CAPACITY, &bench.readers[0], false));
    for (int round = 0; round < 100; round++) {
        CHECK_OK(topic_tx_position(&bench.tx, &bench.readers[0], &position));
        while (put(&bench, position))
            ;
        topic_tx_publish(&bench.tx);
        topic_tx_want(&bench.tx);
        CHECK(topic_rx_look(&rx));
        while (topic_rx_next(&rx, &view) == TOPIC_EVENT) {
            CHECK_EQ(view.record.number, next++);
            CHECK_EQ(rx.missed, 0);
            CHECK(whole(&view) && topic_rx_intact(&rx, &view));
        }
        CHECK(topic_rx_done(&rx));
        CHECK(!topic_rx_done(&rx)); /* rung once */
        topic_tx_unwant(&bench.tx);
    }
    CHECK(next > 100 * (CAPACITY / 512));
    bench_deinit(&bench);
}

TEST(a_successor_goes_on) {
    struct bench bench;
    struct topic_rx rx, again;
    struct topic_view view;

    bench_init(&bench);
    CHECK(topic_rx_init(&rx, bench.words, bench.data, CAPACITY, &bench.readers[0], false));
    for (uint64_t i = 0; i < 3000; i++) {
        uint64_t starts[TOPIC_STEPS];

        CHECK(put(&bench, UINT64_MAX));
        if (i % 3)
            topic_tx_publish(&bench.tx);
        if (i % 10 != 9)
            continue;
        CHECK(put(&bench, UINT64_MAX)); /* never published */
        topic_tx_publish(&bench.tx);
        memcpy(starts, bench.tx.starts, sizeof(starts));
        CHECK(put(&bench, UINT64_MAX));
        bench.tx.words->count[WORD_SLOT(bench.tx.tail) ^ 1u] = 77777777; /* of what never was */
        CHECK_OK(topic_tx_init(&bench.tx, bench.words, bench.data, CAPACITY));
        CHECK(topic_rx_look(&rx));
        while (topic_rx_next(&rx, &view) == TOPIC_EVENT)
            CHECK(whole(&view));
        CHECK_EQ(rx.number, bench.tx.number);
        (void) topic_rx_done(&rx);
        /* A durable reader's: it has what is between. */
        CHECK(put(&bench, UINT64_MAX));
        topic_tx_publish(&bench.tx);
        CHECK(topic_rx_init(&again, bench.words, bench.data, CAPACITY, &bench.readers[0], true));
        CHECK_EQ(topic_rx_next(&again, &view), TOPIC_EVENT);
        CHECK_EQ(again.missed, 0);
        CHECK_EQ(view.record.number, rx.number + 1);
    }
    bench_deinit(&bench);
}

TEST(nonsense_is_found) {
    struct bench bench;
    struct topic_rx rx;
    struct topic_view view;
    uint64_t position;
    struct topic_record *first;

    bench_init(&bench);
    first = (struct topic_record *) (void *) bench.data;
    for (int i = 0; i < 3; i++)
        CHECK(put(&bench, UINT64_MAX));
    topic_tx_publish(&bench.tx);
    CHECK(topic_rx_init(&rx, bench.words, bench.data, CAPACITY, &bench.readers[0], true));
    first->size = UINT32_MAX;
    CHECK_EQ(topic_rx_next(&rx, &view), TOPIC_BAD);
    first->size = 4096;
    CHECK_EQ(topic_rx_next(&rx, &view), TOPIC_BAD);
    first->size = (uint32_t) size_of(1);
    first->extra = UINT16_MAX;
    CHECK_EQ(topic_rx_next(&rx, &view), TOPIC_BAD);
    first->extra = 0;
    first->number = UINT64_MAX;
    CHECK_EQ(topic_rx_next(&rx, &view), TOPIC_BAD);
    first->number = 1;
    bench.words->floor = 8 * CAPACITY;
    CHECK_EQ(topic_rx_next(&rx, &view), TOPIC_BAD);
    bench.words->floor = 12;
    CHECK_EQ(topic_rx_next(&rx, &view), TOPIC_BAD);
    bench.words->floor = 0;
    CHECK_EQ(topic_rx_next(&rx, &view), TOPIC_EVENT);
    bench.words->tail = 8; /* backwards */
    CHECK(!topic_rx_look(&rx));
    bench.words->tail = LAYOUT_END;
    CHECK(!topic_rx_look(&rx));
    bench.readers[0].position = 8 * CAPACITY;
    CHECK_ERR(topic_tx_position(&bench.tx, &bench.readers[0], &position), -EBADMSG);
    CHECK_ERR(topic_tx_init(&bench.tx, bench.words, bench.data, CAPACITY), -EBADMSG);
    bench.words->tail = 128;
    first->size = UINT32_MAX;
    CHECK_ERR(topic_tx_init(&bench.tx, bench.words, bench.data, CAPACITY), -EBADMSG);
    bench_deinit(&bench);
}

/* ---- threads: nothing is lost, nobody sleeps for ever ---------------------------------------- */

#define EVENTS 200000u

struct sleeper {
    struct bench *bench;
    int index;
    pthread_mutex_t lock;
    pthread_cond_t rings;
    uint64_t rung;
};

static struct sleeper reader_bell[READERS], writer_bell;

static void ring(struct sleeper *sleeper) {
    pthread_mutex_lock(&sleeper->lock);
    sleeper->rung++;
    pthread_cond_signal(&sleeper->rings);
    pthread_mutex_unlock(&sleeper->lock);
}

static void sleep_until_rung(struct sleeper *sleeper, uint64_t before) {
    pthread_mutex_lock(&sleeper->lock);
    while (sleeper->rung == before)
        pthread_cond_wait(&sleeper->rings, &sleeper->lock);
    pthread_mutex_unlock(&sleeper->lock);
}

static uint64_t rings_of(struct sleeper *sleeper) {
    uint64_t rung;

    pthread_mutex_lock(&sleeper->lock);
    rung = sleeper->rung;
    pthread_mutex_unlock(&sleeper->lock);
    return rung;
}

static void *read_all(void *context) {
    struct sleeper *me = context;
    struct topic_rx rx;
    struct topic_view view;

    CHECK(topic_rx_init(&rx, me->bench->words, me->bench->data, CAPACITY,
                        &me->bench->readers[me->index], true));
    while (rx.number == TOPIC_UNKNOWN || rx.number < EVENTS) {
        uint64_t rung = rings_of(me);

        CHECK(topic_rx_look(&rx));
        if (topic_rx_next(&rx, &view) == TOPIC_EVENT) {
            CHECK(whole(&view));
            CHECK_EQ(rx.missed, 0);
            if (view.record.number % 64 == 0 && topic_rx_done(&rx))
                ring(&writer_bell);
            continue;
        }
        if (topic_rx_done(&rx))
            ring(&writer_bell);
        topic_rx_arm(&rx);
        fence(); /* F2 */
        CHECK(topic_rx_look(&rx));
        if (rx.pos == rx.tail)
            sleep_until_rung(me, rung);
        topic_rx_disarm(&rx);
    }
    (void) topic_rx_done(&rx);
    ring(&writer_bell);
    return NULL;
}

static uint64_t slowest(struct bench *bench) {
    uint64_t limit = UINT64_MAX, position = 0;

    for (int i = 0; i < READERS; i++) {
        CHECK_OK(topic_tx_position(&bench->tx, &bench->readers[i], &position));
        if (position < limit)
            limit = position;
    }
    return limit;
}

static void publish(struct bench *bench, uint64_t *rung) {
    topic_tx_publish(&bench->tx);
    for (int i = 0; i < READERS; i++) {
        uint64_t armed = load_relaxed(&bench->readers[i].armed);

        if ((armed & ARMED_ON) && armed != rung[i]) {
            rung[i] = armed;
            ring(&reader_bell[i]);
        }
    }
}

TEST_TIMEOUT(threads_wake_each_other, 120) {
    uint64_t rung[READERS] = {0}, limit = 0;
    pthread_t threads[READERS];
    struct bench bench;

    bench_init(&bench);
    for (int i = 0; i <= READERS; i++) {
        struct sleeper *bell = i < READERS ? &reader_bell[i] : &writer_bell;

        *bell = (struct sleeper){.bench = &bench, .index = i};
        pthread_mutex_init(&bell->lock, NULL);
        pthread_cond_init(&bell->rings, NULL);
    }
    for (int i = 0; i < READERS; i++)
        CHECK_EQ(pthread_create(&threads[i], NULL, read_all, &reader_bell[i]), 0);
    while (bench.tx.number < EVENTS) {
        uint64_t before = rings_of(&writer_bell);

        if (put(&bench, limit)) {
            if (bench.tx.number % 5 == 0 || bench.tx.number == EVENTS)
                publish(&bench, rung);
            continue;
        }
        publish(&bench, rung);
        topic_tx_want(&bench.tx);
        limit = slowest(&bench);
        if (!topic_tx_make_room(&bench.tx, size_of(bench.tx.number + 1), limit))
            sleep_until_rung(&writer_bell, before);
        topic_tx_unwant(&bench.tx);
        limit = slowest(&bench);
    }
    publish(&bench, rung);
    for (int i = 0; i < READERS; i++)
        CHECK_EQ(pthread_join(threads[i], NULL), 0);
    bench_deinit(&bench);
}

/* ---- processes: copies that were torn are thrown away ---------------------------------------- */

static void read_carelessly(struct bench *bench, int index) {
    static struct topic_view view;
    uint64_t copies = 0, torn = 0;
    static uint64_t copy[64];
    struct topic_rx rx;

    CHECK(topic_rx_init(&rx, bench->words, bench->data, CAPACITY, &bench->readers[index], false));
    while (rx.number == TOPIC_UNKNOWN || rx.number < 10 * EVENTS) {
        enum topic_result result;

        CHECK(topic_rx_look(&rx));
        result = topic_rx_next(&rx, &view);
        CHECK(result != TOPIC_BAD);
        if (result == TOPIC_NONE)
            continue;
        CHECK_EQ(view.record.size, size_of(view.record.number));
        memcpy(copy, view.body, view.record.size);
        if (!topic_rx_intact(&rx, &view)) {
            torn++;
            continue;
        }
        copies++;
        for (uint64_t i = 0; i < view.record.size / 8; i++)
            CHECK_EQ(copy[i], word_of(view.record.number, i));
        if (copies % 1000 == 0)
            sched_yield(); /* to be lapped */
    }
    CHECK(copies > 0);
    _exit(0);
}

TEST_TIMEOUT(what_is_torn_is_thrown_away, 60) {
    struct bench bench;
    int status;

    bench_init(&bench);
    for (int i = 0; i < 2; i++)
        if (fork() == 0)
            read_carelessly(&bench, i);
    /* Enough, and then on until they have seen the last numbers. */
    for (pid_t pid = 0; pid == 0; pid = waitpid(-1, &status, WNOHANG)) {
        for (int i = 0; i < 1000; i++)
            CHECK(put(&bench, UINT64_MAX));
        topic_tx_publish(&bench.tx);
        if (bench.tx.number % 64000 == 0)
            sched_yield();
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    for (pid_t pid = 0; pid == 0; pid = waitpid(-1, &status, WNOHANG)) {
        for (int i = 0; i < 1000; i++)
            CHECK(put(&bench, UINT64_MAX));
        topic_tx_publish(&bench.tx);
    }
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    bench_deinit(&bench);
}
