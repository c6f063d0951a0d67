/* SPDX-License-Identifier: MIT */
#include "wire/name.h"

#include <string.h>

#include "harness.h"

#define LONG63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

TEST(names) {
    static const char *const good[] = { "a", "a/b", "A.b_c-9", "...", ".a", "a..b", LONG63 };
    static const char *const bad[] = {
        "",    "/",   "a/",         "/a",  "a//b", ".",        "..",  "a/../b",
        "a b", "a*",  "a:b", "\xc3\xa4", "a\n",  "a%b", LONG63 "a", "a/.",
    };

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!name_valid(good[i]))
            FAIL("%s is refused", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (name_valid(bad[i]))
            FAIL("%s is taken", bad[i]);
    CHECK(name_instance_valid(""));
    CHECK(name_instance_valid(LONG63));
    CHECK(!name_instance_valid(LONG63 "a"));
    CHECK(!name_instance_valid("a/b"));
}

TEST(full_names) {
    struct name name;
    char full[NAME_FULL_SIZE];

    CHECK_OK(name_parse("media/player:left", &name));
    CHECK_STR(name.name, "media/player");
    CHECK_STR(name.instance, "left");
    CHECK_STR(name_format(name.name, name.instance, full), "media/player:left");
    CHECK_OK(name_parse("media", &name));
    CHECK_STR(name.instance, "");
    CHECK_STR(name_format(name.name, name.instance, full), "media");
    CHECK_OK(name_parse(LONG63 ":" LONG63, &name));
    CHECK_ERR(name_parse("media:", &name), -EINVAL);
    CHECK_ERR(name_parse(":x", &name), -EINVAL);
    CHECK_ERR(name_parse("a:b:c", &name), -EINVAL);
    CHECK_ERR(name_parse("a:" LONG63 "b", &name), -EINVAL);
    CHECK_ERR(name_parse(LONG63 "b:a", &name), -EINVAL);
}

TEST(patterns) {
    static const struct {
        const char *pattern, *name, *instance;
        bool fits;
    } cases[] = {
        { "*", "a/b", "", true },        { "*", "a", "1", true },
        { "media", "media", "", true },  { "media", "media", "2", true },
        { "media", "media2", "", false }, { "media:", "media", "", true },
        { "media:", "media", "2", false }, { "media:2", "media", "2", true },
        { "media:2", "media", "", false }, { "media:*", "media", "", true },
        { "m*a", "media", "", true },    { "m*a", "media/b", "", false },
        { "m*a/*", "media/b", "", true }, { "*:*", "x", "y", true },
        { "*:y", "x", "y", true },       { "*:y", "x", "yy", false },
        { "a*b*c", "aXbXbXc", "", true }, { "a*b*c", "aXbXbX", "", false },
        { "**a**", "a", "", true },      { "*a", "ab", "", false },
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK(pattern_valid(cases[i].pattern));
        if (pattern_fits(cases[i].pattern, cases[i].name, cases[i].instance) != cases[i].fits)
            FAIL("%s and %s:%s", cases[i].pattern, cases[i].name, cases[i].instance);
    }
    CHECK(!pattern_valid(""));
    CHECK(!pattern_valid(":x"));
    CHECK(!pattern_valid("a:b:c"));
    CHECK(!pattern_valid("a b"));
    CHECK(!pattern_valid("a:b/c"));
    CHECK(!pattern_valid(LONG63 "*"));
}
