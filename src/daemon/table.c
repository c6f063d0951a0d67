/* SPDX-License-Identifier: MIT
 *
 * The names: who holds each, and the published ones in the order of their publication.
 */
#include "daemon/daemon.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

uint32_t table_bucket(const char *name, const char *instance) {
    uint32_t value = 2166136261u; /* FNV-1a */

    for (; *name; name++)
        value = (value ^ (uint8_t) *name) * 16777619u;
    for (; *instance; instance++)
        value = (value ^ (uint8_t) *instance) * 16777619u;
    return value % TABLE_BUCKETS;
}

struct entry *table_find(struct table *table, const char *name, const char *instance) {
    struct entry *entry = table->buckets[table_bucket(name, instance)];

    while (entry &&
           (strcmp(entry->name.name, name) != 0 || strcmp(entry->name.instance, instance) != 0))
        entry = entry->hash_next;
    return entry;
}

struct entry *table_add(struct table *table, const struct name *name, struct life *life) {
    struct entry **bucket = &table->buckets[table_bucket(name->name, name->instance)];
    struct entry *entry = calloc(1, sizeof(*entry));

    if (!entry)
        return NULL;
    entry->name = *name;
    entry->life = life;
    entry->life_next = life->entries;
    life->entries = entry;
    entry->hash_next = *bucket;
    *bucket = entry;
    table->count++;
    return entry;
}

int table_set_addresses(struct entry *entry, char *const *addresses, size_t count) {
    size_t bytes = count * sizeof(char *);
    char **copy = NULL;
    char *at;

    for (size_t i = 0; i < count; i++)
        bytes += strlen(addresses[i]) + 1;
    if (count > 0) {
        copy = malloc(bytes);
        if (!copy)
            return -ENOMEM;
        at = (char *) (copy + count);
        for (size_t i = 0; i < count; i++) {
            copy[i] = at;
            at = stpcpy(at, addresses[i]) + 1;
        }
    }
    free(entry->addresses);
    entry->addresses = copy;
    entry->count = count;
    return 0;
}

/* Is there one with this number already? */
static bool order_used(const struct table *table, uint64_t order) {
    const struct entry *entry = table->last;

    while (entry && entry->order > order)
        entry = entry->prev;
    return entry && entry->order == order;
}

void table_show(struct table *table, struct entry *entry, uint64_t order) {
    struct entry *before = table->last;

    if (order == 0 || order > TABLE_ORDER_MAX || order_used(table, order))
        order = table->order + 1;
    if (order > table->order)
        table->order = order;
    entry->order = order;
    while (before && before->order > order)
        before = before->prev;
    entry->prev = before;
    entry->next = before ? before->next : table->first;
    *(entry->prev ? &entry->prev->next : &table->first) = entry;
    *(entry->next ? &entry->next->prev : &table->last) = entry;
}

void table_hide(struct table *table, struct entry *entry) {
    if (entry->order == 0)
        return;
    *(entry->prev ? &entry->prev->next : &table->first) = entry->next;
    *(entry->next ? &entry->next->prev : &table->last) = entry->prev;
    entry->prev = entry->next = NULL;
    entry->order = 0;
}

void table_remove(struct table *table, struct entry *entry) {
    struct entry **link = &table->buckets[table_bucket(entry->name.name, entry->name.instance)];

    table_hide(table, entry);
    while (*link != entry)
        link = &(*link)->hash_next;
    *link = entry->hash_next;
    link = &entry->life->entries;
    while (*link != entry)
        link = &(*link)->life_next;
    *link = entry->life_next;
    table->count--;
    free(entry->addresses);
    free(entry);
}

void table_party(const struct entry *entry, control_party *ret_party) {
    *ret_party = CONTROL_NEW(Party, party);
    ret_party->name = (char *) (uintptr_t) entry->name.name; /* frames that go out are only read */
    ret_party->instance = (char *) (uintptr_t) entry->name.instance;
    ret_party->program = (char *) (uintptr_t) entry->program;
    ret_party->pid = entry->pid;
    ret_party->node = entry->far ? entry->far_node : entry->life->node;
    ret_party->life = entry->far ? entry->far_life : entry->life->number;
    ret_party->host = (char *) (uintptr_t) far_host(entry);
    ret_party->distance = entry->far ? far_distance(entry->far) : 0;
    ret_party->port = entry->port;
    ret_party->addresses = entry->addresses;
    ret_party->n_addresses = entry->count;
    ret_party->order = entry->far ? entry->far_order : entry->order;
}
