/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "harness.h"
#include "service/wheel.h"

#define MS INT64_C(1000000)

struct timed {
    struct wheel_entry entry;
    int64_t due;
    int times;
};

/* Whatever is set and removed, each comes once, never early and at most a tick late. */
TEST(each_is_due_once_and_in_time) {
    static struct timed all[3000];
    struct wheel *wheel = malloc(sizeof(*wheel));
    int64_t now = 123456789 * MS;
    int left = 0;

    srand(7);
    wheel_init(wheel, now);
    for (int i = 0; i < 3000; i++) {
        int64_t span = (int64_t) 1 << rand() % 45;

        all[i].due = now + rand() % 1000 + span;
        (void) wheel_add(wheel, &all[i].entry, all[i].due);
        left++;
        if (i % 3 == 0) {
            wheel_remove(&all[rand() % (i + 1)].entry);
        }
    }
    left = 0;
    for (int i = 0; i < 3000; i++)
        left += all[i].entry.link != NULL;
    while (left > 0) {
        struct wheel_entry *entry;
        int64_t next = wheel_next(wheel);

        CHECK(next != WHEEL_NEVER && next > now);
        now = rand() % 2 ? next : next + rand() % (1 << 24);
        wheel_turn(wheel, now);
        while ((entry = wheel_pop(wheel))) {
            struct timed *timed = (struct timed *) (void *) entry;

            CHECK(timed->due <= now);
            CHECK_EQ(timed->times++, 0);
            left--;
        }
        for (int i = 0; i < 3000; i++)
            CHECK(!all[i].entry.link || all[i].due + (1 << WHEEL_SHIFT) > now);
    }
    CHECK_EQ(wheel_next(wheel), WHEEL_NEVER);
    free(wheel);
}

TEST(one_that_is_past_comes_with_the_next_turn) {
    struct wheel *wheel = malloc(sizeof(*wheel));
    struct wheel_entry entry = {0};

    wheel_init(wheel, 5000 * MS);
    (void) wheel_add(wheel, &entry, 1);
    CHECK(!wheel_pop(wheel)); /* not inside the call that adds it */
    wheel_turn(wheel, wheel_next(wheel));
    CHECK(wheel_pop(wheel) == &entry);
    CHECK(!wheel_pop(wheel));
    (void) wheel_add(wheel, &entry, INT64_MAX / 2);
    wheel_turn(wheel, 6000 * MS);
    CHECK(!wheel_pop(wheel));
    wheel_remove(&entry);
    wheel_remove(&entry);
    CHECK_EQ(wheel_next(wheel), WHEEL_NEVER);
    free(wheel);
}
