/* SPDX-License-Identifier: MIT */
#include "sys/map.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sys/guard.h"

#ifndef MADV_POPULATE_READ /* Linux 5.14 */
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif

uint64_t sys_page_size(void) {
    return (uint64_t) sysconf(_SC_PAGESIZE);
}

/* Why there is no mapping, or no lock. EAGAIN is RLIMIT_MEMLOCK, with mlockall(2); but to us that
 * word means: a ring is full, or empty. */
static int refused(void) {
    return errno == EAGAIN ? -ENOMEM : -errno;
}

int sys_map(int fd, uint64_t length, uint64_t twice, uint32_t flags, struct sys_map *ret_map) {
    int protection = PROT_READ | ((flags & SYS_MAP_WRITE) ? PROT_WRITE : 0);
    struct sys_map map = {.length = length + twice};
    /* What is mapped once is words, two pages at most, used at once: it saves their faults. */
    int populate = twice == 0 ? MAP_POPULATE : 0;
    uint8_t *base = mmap(NULL, map.length, protection, MAP_SHARED | populate, fd, 0);
    int rc = 0;

    if (base == MAP_FAILED)
        return refused();
    /* The first view is long enough for both, and reaches beyond the file; the second one lies over
     * that: nobody else can get in between. */
    if (twice > 0 && mmap(base + length, twice, protection, MAP_SHARED | MAP_FIXED, fd,
                          (off_t) (length - twice)) == MAP_FAILED)
        rc = refused();
    map.base = base;
    if (rc == 0 && (flags & SYS_MAP_GUARD))
        rc = sys_guard_add(map.base, map.length, twice, (flags & SYS_MAP_WRITE) != 0, &map.guard,
                           &map.torn);
    if (rc < 0) {
        (void) munmap(map.base, map.length);
        return rc;
    }
    if (!(flags & SYS_MAP_DUMP)) /* a refusal costs disk space only */
        (void) madvise(map.base, map.length, MADV_DONTDUMP);
    *ret_map = map;
    return 0;
}

void sys_unmap(struct sys_map *map) {
    if (!map->base)
        return;
    sys_guard_remove(map->guard);
    (void) munmap(map->base, map->length); /* fails only for a range that is no mapping of ours */
    *map = (struct sys_map){0};
}

int sys_map_populate(const struct sys_map *map, uint64_t offset, uint64_t length, uint32_t flags) {
    uint8_t *at = (uint8_t *) map->base + offset;
    int advice = (flags & SYS_MAP_WRITE) ? MADV_POPULATE_WRITE : MADV_POPULATE_READ;

    if (madvise(at, length, advice) < 0 && errno != EINVAL)
        return refused();
    if ((flags & SYS_MAP_LOCK) && mlock(at, length) < 0)
        return refused();
    return 0;
}

int sys_map_sync(const struct sys_map *map, uint64_t length) {
    return msync(map->base, length, MS_SYNC) < 0 ? -errno : 0;
}
