/* SPDX-License-Identifier: MIT
 *
 * The last values of each event and topic of a server, bounded in number of topics and of values of
 * each.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cached {          /* one value; freed when it is displaced */
    struct cached *older;
    size_t size;
    uint64_t time_ns;
    uint8_t data[];
};

struct cached_topic {
    struct cached_topic *next;  /* of the bucket */
    struct cached_topic *after; /* of all, in the order in which they came */
    uint32_t event;
    uint32_t count;
    uint64_t published;
    struct cached *newest;
    char topic[];
};

struct cache {
    struct cached_topic **buckets;
    uint32_t mask;       /* of buckets */
    uint32_t topics, topics_max, values_max;
    struct cached_topic *first, **end;
};

int cache_init(struct cache *cache, uint32_t values_max, uint32_t topics_max);
void cache_deinit(struct cache *cache);

struct cached_topic *cache_find(const struct cache *cache, uint32_t event, const char *topic);

/* Is this what it holds as the newest? */
bool cache_same(const struct cached_topic *topic, const void *data, size_t size);

/* A value to be put in later, when it is known that it was published: so that it can't fail then.
 * *ret_topic is found or made. -ENOMEM; -ENOSPC: topics_max are there. */
int cache_prepare(struct cache *cache, uint32_t event, const char *topic, const void *data,
                  size_t size, struct cached_topic **ret_topic, struct cached **ret_value);
void cache_put(struct cache *cache, struct cached_topic *topic, struct cached *value,
               uint64_t time_ns);

/* The n-th newest value of a topic, from 0; NULL. */
const struct cached *cache_value(const struct cached_topic *topic, uint32_t n);
