/* SPDX-License-Identifier: MIT
 *
 * Events: what a peer says of subscriptions, and a ring of events whose every word and byte a peer
 * wrote, before it is read and while it is.
 */
#include "wire/events.h"

#include <string.h>

#include "fuzz.h"
#include "topic/topic.h"

#define CAPACITY 65536u

static _Alignas(64) uint8_t data[2 * CAPACITY]; /* as if it were mapped twice */
static struct topic words;
static struct topic_reader mine;

static void scribble(struct input *input) {
    uint64_t *const all[] = {&words.tail, &words.floor, &words.want, &words.count[0],
                             &words.count[1]};
    uint8_t what = input_byte(input);

    if (what % 2 == 0) {
        *all[what / 2 % 5] = input_number(input, 1 + what % 8);
    } else {
        uint64_t at = input_number(input, 2) & (CAPACITY - 8);
        uint64_t value = input_number(input, 1 + what / 2 % 8);

        memcpy(data + at, &value, sizeof(value));
        memcpy(data + CAPACITY + at, &value, sizeof(value));
    }
}

static void read_ring(struct input *input) {
    struct topic_view view;
    struct topic_rx rx;
    uint64_t last = 0;
    bool any = false;

    memset(&mine, 0, sizeof(mine));
    mine.position = input_number(input, 3);
    mine.number[0] = mine.number[1] = input_number(input, 2);
    for (int i = 0; i < 8; i++)
        scribble(input);
    if (mine.position % 8 > 1 || !topic_rx_init(&rx, &words, data, CAPACITY, &mine, true))
        return;
    for (int i = 0; i < 4096; i++) {
        enum topic_result result = topic_rx_next(&rx, &view);

        if (result == TOPIC_BAD)
            return;
        if (result == TOPIC_NONE) {
            (void) topic_rx_done(&rx);
            if (!input_left(input))
                return;
            scribble(input);
            if (!topic_rx_look(&rx))
                return;
            continue;
        }
        REQUIRE(view.body >= data && view.body <= data + CAPACITY + sizeof(struct topic_record));
        REQUIRE(view.record.extra <= view.record.size);
        REQUIRE(rx.pos <= rx.tail && (!any || view.record.number > last));
        REQUIRE(view.record.size <= CAPACITY);
        REQUIRE(view.body + view.record.size <= data + sizeof(data));
        last = view.record.number;
        any = true;
        if (input_left(input) && input_byte(input) % 4 == 0)
            scribble(input);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    struct input input = {bytes, bytes + size};
    struct subscribed said;
    struct subscribe wish;

    if (subscribe_read(bytes, size, &wish) == 0) {
        REQUIRE(wish.delivery <= 2 && memchr(wish.durable, 0, sizeof(wish.durable)));
        REQUIRE(!wish.durable[0] || durable_name_ok(wish.durable));
    }
    if (subscribed_read(bytes, size, &said) == 0)
        REQUIRE(said.status <= 0 && said.ring <= 1 && said.start % 8 == 0);
    memset(&words, 0, sizeof(words));
    memset(data, 0, sizeof(data));
    read_ring(&input);
    return 0;
}
