/* SPDX-License-Identifier: MIT */
#include "service/cache.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "harness.h"
#include "wire/events.h"

static int put(struct cache *cache, uint32_t event, const char *topic, const char *text) {
    struct cached_topic *at;
    struct cached *value;
    int rc = cache_prepare(cache, event, topic, text, strlen(text), &at, &value);

    if (rc == 0)
        cache_put(cache, at, value, 7);
    return rc;
}

static void expect(const struct cache *cache, uint32_t event, const char *topic, uint32_t n,
                   const char *text) {
    const struct cached_topic *at = cache_find(cache, event, topic);
    const struct cached *value;

    CHECK(at != NULL);
    value = cache_value(at, n);
    if (!text) {
        CHECK(value == NULL);
        return;
    }
    CHECK(value != NULL);
    CHECK_EQ(value->size, strlen(text));
    CHECK_MEM(value->data, text, value->size);
}

TEST(the_last_values_are_kept) {
    struct cache cache;

    CHECK_OK(cache_init(&cache, 3, 10));
    for (int i = 0; i < 10; i++) {
        char text[16];

        (void) snprintf(text, sizeof(text), "v%d", i);
        CHECK_OK(put(&cache, 1, "a", text));
        CHECK_EQ(cache_find(&cache, 1, "a")->count, i < 3 ? i + 1 : 3);
    }
    expect(&cache, 1, "a", 0, "v9");
    expect(&cache, 1, "a", 2, "v7");
    expect(&cache, 1, "a", 3, NULL);
    CHECK_EQ(cache_find(&cache, 1, "a")->published, 10);
    CHECK(cache_find(&cache, 2, "a") == NULL);
    CHECK(cache_find(&cache, 1, "") == NULL);
    cache_deinit(&cache);
    CHECK(cache_find(&cache, 1, "a") == NULL);
}

TEST(one_value_each) {
    struct cache cache;

    CHECK_OK(cache_init(&cache, 1, 10));
    CHECK_OK(put(&cache, 1, "", "x"));
    CHECK_OK(put(&cache, 1, "", ""));
    expect(&cache, 1, "", 0, "");
    expect(&cache, 1, "", 1, NULL);
    CHECK(cache_same(cache_find(&cache, 1, ""), "", 0));
    CHECK(!cache_same(cache_find(&cache, 1, ""), "y", 1));
    cache_deinit(&cache);
}

TEST(topics_are_bounded_and_keep_their_order) {
    struct cache cache;
    struct cached_topic *at;
    char topic[16];
    int n = 0;

    CHECK_OK(cache_init(&cache, 1, 100));
    for (int i = 0; i < 100; i++) {
        (void) snprintf(topic, sizeof(topic), "t/%d", i);
        CHECK_OK(put(&cache, 5, topic, topic));
    }
    CHECK_ERR(put(&cache, 5, "one more", ""), -ENOSPC);
    CHECK_OK(put(&cache, 5, "t/17", "again"));
    for (at = cache.first; at; at = at->after) {
        (void) snprintf(topic, sizeof(topic), "t/%d", n++);
        CHECK_STR(at->topic, topic);
    }
    CHECK_EQ(n, 100);
    cache_deinit(&cache);
}

TEST(patterns) {
    CHECK(topic_fits("", "") && topic_fits("", "a/b"));
    CHECK(topic_fits("a/b", "a/b"));
    CHECK(!topic_fits("a/b", "a/bc") && !topic_fits("a/b", "a"));
    CHECK(topic_fits("a/*", "a/") && topic_fits("a/*", "a/b/c"));
    CHECK(!topic_fits("a/*", "a") && !topic_fits("a/*", "b/a/"));
    CHECK(topic_fits("*", "") && topic_fits("*", "x"));
}
