/* SPDX-License-Identifier: MIT */
#include "service/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_MAX 65536u

int cache_init(struct cache *cache, uint32_t values_max, uint32_t topics_max) {
    uint32_t buckets = 16;

    while (buckets < topics_max && buckets < BUCKETS_MAX)
        buckets *= 2;
    *cache = (struct cache){
        .buckets = calloc(buckets, sizeof(*cache->buckets)),
        .mask = buckets - 1,
        .topics_max = topics_max,
        .values_max = values_max,
    };
    cache->end = &cache->first;
    return cache->buckets ? 0 : -ENOMEM;
}

static void values_free(struct cached *value) {
    while (value) {
        struct cached *older = value->older;

        free(value);
        value = older;
    }
}

void cache_deinit(struct cache *cache) {
    struct cached_topic *topic = cache->first;

    while (topic) {
        struct cached_topic *after = topic->after;

        values_free(topic->newest);
        free(topic);
        topic = after;
    }
    free(cache->buckets);
    *cache = (struct cache){0};
}

static struct cached_topic **bucket(const struct cache *cache, uint32_t event, const char *topic) {
    uint32_t hash = 0x811c9dc5u ^ event;

    for (const char *at = topic; *at; at++)
        hash = (hash ^ (uint8_t) *at) * 0x01000193u;
    hash ^= hash >> 15;
    return &cache->buckets[hash & cache->mask];
}

struct cached_topic *cache_find(const struct cache *cache, uint32_t event, const char *topic) {
    struct cached_topic *at;

    if (!cache->buckets)
        return NULL;
    at = *bucket(cache, event, topic);
    while (at && (at->event != event || strcmp(at->topic, topic) != 0))
        at = at->next;
    return at;
}

bool cache_same(const struct cached_topic *topic, const void *data, size_t size) {
    return topic->newest && topic->newest->size == size &&
           (size == 0 || memcmp(topic->newest->data, data, size) == 0);
}

static struct cached_topic *make(struct cache *cache, uint32_t event, const char *name) {
    size_t length = strlen(name);
    struct cached_topic *topic = calloc(1, sizeof(*topic) + length + 1);
    struct cached_topic **at;

    if (!topic)
        return NULL;
    topic->event = event;
    memcpy(topic->topic, name, length + 1);
    at = bucket(cache, event, name);
    topic->next = *at;
    *at = topic;
    *cache->end = topic;
    cache->end = &topic->after;
    cache->topics++;
    return topic;
}

int cache_prepare(struct cache *cache, uint32_t event, const char *topic, const void *data,
                  size_t size, struct cached_topic **ret_topic, struct cached **ret_value) {
    struct cached_topic *found = cache_find(cache, event, topic);
    struct cached *value;

    if (!found && cache->topics >= cache->topics_max)
        return -ENOSPC;
    value = malloc(sizeof(*value) + size);
    if (value && !found)
        found = make(cache, event, topic);
    if (!value || !found) {
        free(value);
        return -ENOMEM;
    }
    value->size = size;
    if (size > 0)
        memcpy(value->data, data, size);
    *ret_topic = found;
    *ret_value = value;
    return 0;
}

void cache_put(struct cache *cache, struct cached_topic *topic, struct cached *value,
               uint64_t time_ns) {
    struct cached *last = value;

    value->time_ns = time_ns;
    value->older = topic->newest;
    topic->newest = value;
    topic->published++;
    if (topic->count < cache->values_max) {
        topic->count++;
        return;
    }
    for (uint32_t i = 1; i < topic->count; i++)
        last = last->older;
    values_free(last->older);
    last->older = NULL;
}

const struct cached *cache_value(const struct cached_topic *topic, uint32_t n) {
    const struct cached *value = topic->newest;

    while (value && n-- > 0)
        value = value->older;
    return value;
}
