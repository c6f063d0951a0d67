/* SPDX-License-Identifier: MIT */
#include "harness.h"
#include "service/choose.h"

#include <stdio.h>

static struct candidate some[5];

static void make(int count) {
    for (int i = 0; i < count; i++) {
        char name[16];

        (void) snprintf(name, sizeof(name), "x:%d", i);
        some[i] = (struct candidate){
            .order = (uint64_t) (10 + i), .identity = choose_identity(name), .usable = true};
    }
}

TEST(nearest_is_here_or_least_far) {
    make(4);
    some[0].distance = 300;
    some[1].distance = 200;
    some[2].distance = 200;
    some[3].usable = false;
    CHECK_EQ(choose(TRAM_CHOOSE_NEAREST, some, 4, 0, 0), 1);
    some[0].current = true; /* it stays */
    CHECK_EQ(choose(TRAM_CHOOSE_NEAREST, some, 4, 0, 0), 0);
    some[3].usable = true; /* but for one of this host */
    CHECK_EQ(choose(TRAM_CHOOSE_NEAREST, some, 4, 0, 0), 3);
}

TEST(first_stays_and_newest_moves) {
    make(3);
    CHECK_EQ(choose(TRAM_CHOOSE_FIRST, some, 3, 0, 0), 0);
    some[2].current = true;
    CHECK_EQ(choose(TRAM_CHOOSE_FIRST, some, 3, 0, 0), 2);
    some[2].usable = false;
    CHECK_EQ(choose(TRAM_CHOOSE_FIRST, some, 3, 0, 0), 0);
    CHECK_EQ(choose(TRAM_CHOOSE_NEWEST, some, 3, 0, 0), 1);
    some[2].usable = true;
    CHECK_EQ(choose(TRAM_CHOOSE_NEWEST, some, 3, 0, 0), 2);
    for (int i = 0; i < 3; i++)
        some[i].usable = false;
    CHECK_EQ(choose(TRAM_CHOOSE_NEWEST, some, 3, 0, 0), -1);
    CHECK_EQ(choose(TRAM_CHOOSE_LEAST, some, 0, 0, 0), -1);
}

TEST(least_takes_turns_among_equals) {
    int times[4] = {0};

    make(4);
    for (uint32_t turn = 0; turn < 400; turn++)
        times[choose(TRAM_CHOOSE_LEAST, some, 4, 0, turn)]++;
    for (int i = 0; i < 4; i++)
        CHECK_EQ(times[i], 100);
    for (int i = 0; i < 4; i++)
        some[i].load = i == 2 ? 1 : 2;
    CHECK_EQ(choose(TRAM_CHOOSE_LEAST, some, 4, 0, 3), 2);
}

/* Each has its share, and one that goes moves no key but its own. */
TEST(keys_stay_where_they_are) {
    int times[5] = {0}, moved = 0;

    make(5);
    for (uint64_t key = 0; key < 100000; key++) {
        int before = choose(TRAM_CHOOSE_KEY, some, 5, key, 0), after;

        times[before]++;
        some[3].usable = false;
        after = choose(TRAM_CHOOSE_KEY, some, 5, key, 9);
        some[3].usable = true;
        CHECK(after != 3);
        if (before != 3)
            CHECK_EQ(after, before);
        else
            moved++;
    }
    for (int i = 0; i < 5; i++)
        CHECK(times[i] > 19000 && times[i] < 21000);
    CHECK_EQ(moved, times[3]);
}
