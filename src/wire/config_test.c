/* SPDX-License-Identifier: MIT */
#include "wire/config.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "harness.h"

struct sample {
    uint64_t number, size, time, word, truth, plain;
    char text[8];
};

#define AT(member) offsetof(struct sample, member)

static const char *const words[] = { "red", "green", NULL };

static const struct config_key keys[] = {
    { "", "plain", CONFIG_NUMBER, AT(plain), 0, 9, NULL },
    { "a", "number", CONFIG_NUMBER, AT(number), 1, 100, NULL },
    { "a", "size", CONFIG_SIZE, AT(size), 1024, UINT64_C(4) << 30, NULL },
    { "b", "time", CONFIG_TIME, AT(time), 1000000, 7200 * UINT64_C(1000000000), NULL },
    { "b", "word", CONFIG_WORD, AT(word), 0, 0, words },
    { "b", "truth", CONFIG_BOOL, AT(truth), 0, 0, NULL },
    { "b", "text", CONFIG_TEXT, AT(text), 0, 8, NULL },
    { NULL, NULL, CONFIG_TEXT, 0, 0, 0, NULL },
};

TEST(all_kinds) {
    static const char text[] = "# a comment\r\n"
                               "plain=3\n"
                               "\n"
                               "  [ a ]   # and another\n"
                               "\tnumber =  100 \n"
                               "size = 64K\n"
                               "[b]\n"
                               "time = 2 min\n"
                               "word = green\n"
                               "truth = yes\n"
                               "text = a#b # c";
    struct sample sample = { 0 };
    struct wrong wrong = { 0 };

    if (config_parse(text, sizeof(text) - 1, keys, &sample, &wrong) < 0)
        FAIL("line %d: %s", wrong.line, wrong.text);
    CHECK_EQ(sample.plain, 3);
    CHECK_EQ(sample.number, 100);
    CHECK_EQ(sample.size, 65536);
    CHECK_EQ(sample.time, 120 * INT64_C(1000000000));
    CHECK_EQ(sample.word, 1);
    CHECK_EQ(sample.truth, 1);
    CHECK_STR(sample.text, "a#b");
}

TEST(what_is_not_named_stays) {
    static const char text[] = "[b]\ntext =\ntruth=false\ntime = 1500us";
    struct sample sample = { .number = 7, .text = "old" };
    struct wrong wrong = { 0 };

    CHECK_OK(config_parse("", 0, keys, &sample, &wrong));
    CHECK_OK(config_parse(text, strlen(text), keys, &sample, &wrong));
    CHECK_EQ(sample.number, 7);
    CHECK_STR(sample.text, "");
    CHECK_EQ(sample.truth, 0);
    CHECK_EQ(sample.time, 1500000);
}

TEST(mistakes_have_their_line) {
    static const struct {
        const char *text;
        int line;
        const char *why;
    } cases[] = {
        { "x = 1", 1, "no key 'x' outside of sections" },
        { "\n\nnumber = 1", 3, "no key 'number' outside" },
        { "[a]\nplain = 1", 2, "no key 'plain' in [a]" },
        { "[c]", 1, "no section 'c'" },
        { "[]", 1, "no section ''" },
        { "[a", 1, "alone in its line" },
        { "[a] x", 1, "alone in its line" },
        { "plain", 1, "neither" },
        { "plain = 1\n\nplain = 2\n", 3, "twice" },
        { "plain = 10", 1, "no number from 0 to 9" },
        { "plain = -1", 1, "no number" },
        { "plain = 1K", 1, "no number" },
        { "plain = ", 1, "no number" },
        { "plain = 99999999999999999999", 1, "no number" },
        { "[a]\nnumber = 0", 2, "from 1 to 100" },
        { "[a]\nsize = 1", 2, "no size from 1K to 4G" },
        { "[a]\nsize = 18014398509481984K", 2, "no size" },
        { "[b]\ntime = 5", 2, "no time from 1ms to 2h" },
        { "[b]\ntime = 999us", 2, "no time from 1ms to 2h" },
        { "[b]\nword = blue", 2, "none of red, green" },
        { "[b]\ntruth = maybe", 2, "none of no, false, yes, true" },
        { "[b]\ntext = 12345678", 2, "longer than 7" },
        { "= 1", 1, "no key ''" },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct sample sample = { 0 };
        struct wrong wrong = { 0 };

        CHECK_ERR(config_parse(cases[i].text, strlen(cases[i].text), keys, &sample, &wrong),
                  -EINVAL);
        if (wrong.line != cases[i].line || !strstr(wrong.text, cases[i].why))
            FAIL("%s: line %d, %s", cases[i].text, wrong.line, wrong.text);
    }
}

TEST(no_text) {
    struct sample sample = { 0 };
    struct wrong wrong = { 0 };
    char line[2000];

    CHECK_ERR(config_parse("\n#\0", 3, keys, &sample, &wrong), -EINVAL);
    CHECK_EQ(wrong.line, 2);
    memset(line, '#', sizeof(line));
    CHECK_ERR(config_parse(line, sizeof(line), keys, &sample, &wrong), -EINVAL);
    CHECK_EQ(wrong.line, 1);
}

/* ---- items ----------------------------------------------------------------------------------- */

struct item {
    char name[8];
    uint64_t weight;
};

struct items {
    uint64_t plain;
    struct item items[2];
    int count;
};

static void *item_of(void *into, const char *name, struct wrong *wrong) {
    struct items *items = into;

    if (items->count == 2 || strlen(name) >= sizeof(items->items[0].name)) {
        (void) wrong_set(wrong, -EINVAL, "too many, or too long a name");
        return NULL;
    }
    memcpy(items->items[items->count].name, name, strlen(name) + 1);
    return &items->items[items->count++];
}

static int read_items(const char *text, struct items *items, struct wrong *wrong) {
    static const struct config_key item_keys[] = {
        { "top", "plain", CONFIG_NUMBER, offsetof(struct items, plain), 1, 9, NULL },
        { "host *", "weight", CONFIG_NUMBER, offsetof(struct item, weight), 1, 9, NULL },
        { NULL, NULL, CONFIG_TEXT, 0, 0, 0, NULL },
    };
    static const struct config_items kind = { "host *", item_of };

    *items = (struct items){ 0 };
    return config_parse_items(text, strlen(text), item_keys, &kind, items, wrong);
}

TEST(items) {
    struct items items;
    struct wrong wrong = { 0 };

    CHECK_OK(read_items("[host a]\nweight = 3\n[top]\nplain = 4\n[ host \t b ]\nweight = 5\n",
                        &items, &wrong));
    CHECK_EQ(items.count, 2);
    CHECK_EQ(items.plain, 4);
    CHECK_STR(items.items[0].name, "a");
    CHECK_EQ(items.items[0].weight, 3);
    CHECK_STR(items.items[1].name, "b");
    CHECK_EQ(items.items[1].weight, 5);
    CHECK_EQ(read_items("[host a]\nweight = 3\nweight = 4\n", &items, &wrong), -EINVAL);
    CHECK_EQ(wrong.line, 3);
    CHECK_EQ(read_items("[host a]\nplain = 3\n", &items, &wrong), -EINVAL);
    CHECK_EQ(read_items("[host a]\n[host b]\n[host c]\n", &items, &wrong), -EINVAL);
    CHECK_EQ(wrong.line, 3);
    CHECK_EQ(read_items("[host]\n", &items, &wrong), -EINVAL);
    CHECK_EQ(read_items("[hosts a]\n", &items, &wrong), -EINVAL);
    /* What stands in the table is no section of its own, and a '*' no way around it. */
    CHECK_OK(read_items("[host *]\nweight = 3\n", &items, &wrong));
    CHECK_EQ(items.plain, 0);
    CHECK_STR(items.items[0].name, "*");
}
