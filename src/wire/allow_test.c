/* SPDX-License-Identifier: MIT */
#include "wire/allow.h"

#include <errno.h>
#include <string.h>

#include "harness.h"

#define ID(a, b, c, d) ((uint32_t) (a) << 24 | (b) << 16 | (c) << 8 | (d))

TEST(ids) {
    static const char ids[] = "1.1.0.0/16, 1.2.0.7\t5.0.0.0/8";
    struct wrong wrong;

    CHECK_OK(allow_ids_check(ids, &wrong));
    CHECK(allow_id(ids, ID(1, 1, 0, 0)));
    CHECK(allow_id(ids, ID(1, 1, 255, 255)));
    CHECK(!allow_id(ids, ID(1, 2, 0, 0)));
    CHECK(allow_id(ids, ID(1, 2, 0, 7)));
    CHECK(!allow_id(ids, ID(1, 2, 0, 8)));
    CHECK(allow_id(ids, ID(5, 9, 9, 9)));
    CHECK(!allow_id("", ID(1, 1, 0, 0)));
    CHECK(allow_id("*", ID(1, 1, 0, 0)));
    CHECK(allow_id("0.0.0.0/0", ID(255, 255, 255, 255)));
}

TEST(what_is_no_range) {
    static const char *const bad[] = { "1.1.0.0/33", "1.1.0.1/16", "1.1.0", "1.1.0.256", "1.1.0.0/",
                                       "a", "1.1.0.0/16x", "1..0.0", "-1.0.0.0", "1.1.0.0/-1",
                                       "4294967297.0.0.0" };
    struct wrong wrong;

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (allow_ids_check(bad[i], &wrong) != -EINVAL)
            FAIL("%s is taken", bad[i]);
}

TEST(ranges_that_overlap) {
    uint32_t id;

    CHECK(allow_ids_overlap("1.1.0.0/16 9.0.0.1", "2.0.0.0/8 1.1.3.0/24", &id));
    CHECK_EQ(id, ID(1, 1, 3, 0));
    CHECK(allow_ids_overlap("1.1.3.0/24", "*", &id));
    CHECK_EQ(id, ID(1, 1, 3, 0));
    CHECK(!allow_ids_overlap("1.1.0.0/16", "1.2.0.0/16 1.0.0.0/16", &id));
    CHECK(!allow_ids_overlap("", "*", &id));
}

TEST(names) {
    struct wrong wrong;

    CHECK_OK(allow_names_check("media* radio:2", &wrong));
    CHECK(allow_name("media* radio:2", "media/player", "7"));
    CHECK(allow_name("media* radio:2", "radio", "2"));
    CHECK(!allow_name("media* radio:2", "radio", "3"));
    CHECK(!allow_name("", "radio", ""));
    CHECK_EQ(allow_names_check("media* a!", &wrong), -EINVAL);
}

TEST(addresses) {
    static const struct {
        const char *text, *host;
        int port;
    } good[] = {
        { "10.0.0.1", "10.0.0.1", 7 },       { "10.0.0.1:61001", "10.0.0.1", 61001 },
        { "::1", "::1", 7 },                 { "[::1]", "::1", 7 },
        { "[fd00::1]:9", "fd00::1", 9 },     { "fe80::1:2", "fe80::1:2", 7 },
    };
    static const char *const bad[] = { "", ":1", "[::1", "[::1]x", "[]:1", "10.0.0.1:",
                                       "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:1x" };
    char host[ALLOW_HOST_SIZE], longer[ALLOW_HOST_SIZE + 1];
    uint16_t port;

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CHECK_OK(allow_address(good[i].text, 7, host, &port));
        CHECK_STR(host, good[i].host);
        CHECK_EQ(port, good[i].port);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (allow_address(bad[i], 7, host, &port) != -EINVAL)
            FAIL("%s is taken", bad[i]);
    memset(longer, '1', sizeof(longer));
    longer[ALLOW_HOST_SIZE] = '\0';
    CHECK_EQ(allow_address(longer, 7, host, &port), -EINVAL);
}
