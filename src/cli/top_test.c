/* SPDX-License-Identifier: MIT
 *
 * The lines of tram top: whatever the figures are, they stay in their columns.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/top.h"
#include "harness.h"

static uint64_t seed = 1;

/* Any size of number is as likely as another. */
static uint64_t any(void) {
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return seed >> (seed >> 33 & 63);
}

/* The columns of a line are separated by one blank at these places, and nowhere full of text. */
static void check_columns(const char *line, const int *blanks, int count, int width) {
    CHECK((int) strlen(line) <= width);
    for (int i = 0; i < count; i++)
        CHECK_EQ(line[blanks[i]], ' ');
}

static struct top_row any_row(void) {
    static const char *const states[] = { "sleeping", "damaged", "idle" };
    struct top_row row = {
        .host = "a-host-with-a-name-that-is-far-too-long-for-its-column-of-a-terminal",
        .from = (tram_id) (any() | 1),
        .to = (tram_id) (any() | 0xc8c8c8c8),
        .state = states[any() % 3],
        .note = "",
        .rated = any() % 8 > 0,
        .rate = (double) any() / (double) (any() % 100 + 1),
        .bytes_rate = (double) any(),
        .out_rate = (double) any() / 3,
        .waiting = any(),
        .waiting_bytes = any(),
        .aside = any(),
        .memory = any(),
        .age = { .ns = any(), .known = any() % 4 > 0, .at_least = any() % 2 > 0 },
    };

    return row;
}

TEST(columns_of_channels_keep_their_width) {
    static const int blanks[] = { 15, 31, 37, 43, 49, 55, 60, 66, 71 };
    struct top_view view = { 0 };
    char line[TOP_LINE];

    for (int i = 0; i < 20000; i++) {
        struct top_row row = any_row();

        top_row(&view, &row, 80, line);
        check_columns(line, blanks, 9, 80);
    }
    top_titles(&view, 80, line);
    check_columns(line, blanks, 9, 80);
}

TEST(columns_of_nodes_keep_their_width) {
    static const int blanks[] = { 15, 21, 29, 40, 46, 52, 58, 63, 68, 74 };
    struct top_view view = { .nodes = true };
    char line[TOP_LINE];

    for (int i = 0; i < 20000; i++) {
        struct top_row row = any_row();

        row.state = "never";
        row.program = "\x1b[2J-a-program-with-a-long-name";
        row.pid = (int32_t) (any() % 4194304);
        top_row(&view, &row, 80, line);
        check_columns(line, blanks, 10, 80);
        CHECK(!strchr(line, '\x1b'));
        top_row(&view, &row, 100, line);
        CHECK((int) strlen(line) <= 100);
    }
    top_titles(&view, 80, line);
    check_columns(line, blanks, 10, 80);
}

TEST(columns_with_hosts_keep_their_width) {
    static const int of_channels[] = { 11, 27, 43, 49, 55, 61, 66, 71 };
    static const int of_nodes[] = { 11, 27, 33, 41, 52, 58, 64, 70, 75 };
    char line[TOP_LINE];

    for (int nodes = 0; nodes < 2; nodes++) {
        struct top_view view = { .hosts = true, .nodes = nodes > 0 };

        for (int i = 0; i < 20000; i++) {
            struct top_row row = any_row();

            if (nodes)
                row.state = "never";
            row.program = "a-program-with-a-long-name";
            row.pid = (int32_t) (any() % 4194304);
            top_row(&view, &row, 80, line);
            check_columns(line, nodes ? of_nodes : of_channels, nodes ? 9 : 8, 80);
            top_row(&view, &row, 100, line);
            CHECK((int) strlen(line) <= 100);
        }
        top_titles(&view, 80, line);
        check_columns(line, nodes ? of_nodes : of_channels, nodes ? 9 : 8, 80);
    }
}

/* The column AGE of a row, without blanks before it. */
static const char *age_of(uint64_t ns, bool at_least) {
    static char text[8];
    struct top_view view = { 0 };
    struct top_row row = { .from = 1, .to = 1, .state = "idle", .note = "" };
    char line[TOP_LINE];

    row.age = (struct top_age){ .ns = ns, .known = true, .at_least = at_least };
    top_row(&view, &row, 80, line);
    (void) snprintf(text, sizeof(text), "%.4s", line + 56 + strspn(line + 56, " "));
    text[strcspn(text, " ")] = '\0';
    return text;
}

TEST(ages) {
    const uint64_t second = 1000000000, day = 86400 * second;

    CHECK_STR(age_of(0, false), "0ms");
    CHECK_STR(age_of(45400000, false), "45ms");
    CHECK_STR(age_of(99400000, false), "99ms");
    CHECK_STR(age_of(99600000, false), "0.1s");
    CHECK_STR(age_of(9949999999, false), "9.9s");
    CHECK_STR(age_of(9950000000, false), "10s");
    CHECK_STR(age_of(99 * second, false), "99s");
    CHECK_STR(age_of(100 * second, false), "1m");
    CHECK_STR(age_of(99 * 60 * second, false), "99m");
    CHECK_STR(age_of(UINT64_MAX, false), "999d");
    CHECK_STR(age_of(100 * 60 * second, false), "1h");
    CHECK_STR(age_of(100 * 3600 * second, false), "4d");
    CHECK_STR(age_of(5000 * day, false), "999d");
    CHECK_STR(age_of(second / 2, true), "-");
    CHECK_STR(age_of(3 * second + second / 2, true), ">3s");
    CHECK_STR(age_of(150 * second, true), ">2m");
    CHECK_STR(age_of(150 * day, true), ">99d");
}
