/* SPDX-License-Identifier: MIT
 *
 * Mappings of shared files. A ring's data is mapped twice in a row, so that each record is
 * contiguous. A guarded mapping survives a peer that cuts its file short: see sys/guard.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct sys_map {
    void *base;      /* NULL: none */
    uint64_t length; /* address space, the second mapping included */
    uint32_t guard;  /* its place in the guard's table + 1; 0: not guarded */
    const bool *torn; /* set when the file was found cut short; NULL: not guarded */
};

#define SYS_MAP_WRITE    1u
#define SYS_MAP_GUARD    2u
#define SYS_MAP_PREFAULT 4u
#define SYS_MAP_LOCK     8u
#define SYS_MAP_DUMP     16u

/* Map the first `length` bytes of a file, and again the last `twice` of them behind (0: not). Both
 * multiples of the page size if `twice` is not 0. Kept out of core dumps without
 * SYS_MAP_DUMP. */
int sys_map(int fd, uint64_t length, uint64_t twice, uint32_t flags, struct sys_map *ret_map);

/* Takes an empty map. */
void sys_unmap(struct sys_map *map);

/* Was the file found cut short? */
static inline bool sys_map_torn(const struct sys_map *map) {
    return map->torn && __atomic_load_n(map->torn, __ATOMIC_RELAXED);
}

/* Fault in, and lock if asked, a range that has memory. */
int sys_map_populate(const struct sys_map *map, uint64_t offset, uint64_t length, uint32_t flags);

/* What was stored in the first `length` bytes is in the file on the disk before it returns. */
int sys_map_sync(const struct sys_map *map, uint64_t length);

uint64_t sys_page_size(void);
