/* SPDX-License-Identifier: MIT
 *
 * Placement, as the daemon of a host writes it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "node/place.h"
#include "ring/door.h"
#include "sys/bell.h"
#include "sys/cleanup.h"
#include "sys/file.h"
#include "sys/lock.h"

int cluster_write(const struct bus *bus, const struct cluster *cluster) {
    struct cluster words = *cluster;

    if (words.host == 0 || words.host > HOST_MAX || words.name[sizeof(words.name) - 1])
        return -EINVAL;
    words.magic = CLUSTER_MAGIC;
    words.version = PLACE_VERSION;
    memset(words.zero, 0, sizeof(words.zero));
    return files_put(bus, bus->dir, "cluster", &words, sizeof(words));
}

int cluster_remove(const struct bus *bus) {
    int rc = sys_unlink(bus->dir, "cluster");

    return rc < 0 && rc != -ENOENT ? rc : bus_sync_names(bus, bus->dir);
}

/* Who has the node open looks at `place`. */
static void announce(const struct bus *bus, int dir, tram_id id) {
    OWNS_FD int bell = -1;
    struct sys_map map;

    if (door_open(dir, id, bus->mode, false, SYS_MAP_GUARD, &map, NULL) < 0)
        return;
    if (door_announce(map.base)) {
        bell = sys_bell_open(dir, "bell");
        if (bell >= 0)
            (void) sys_bell_ring(bell); /* else at its re-look */
    }
    sys_unmap(&map);
}

int place_write(const struct bus *bus, const struct place *place) {
    OWNS_FD int dir = files_node_dir(bus, place->id, true);
    struct place words = *place;
    struct place old;
    int rc = dir < 0 ? dir : place_read(dir, place->id, &old);

    if (rc == 0 && old.epoch > place->epoch)
        return -ESTALE;
    if (rc < 0 && rc != -ENOENT && rc != -EBADMSG)
        return rc;
    words.here = words.state == PLACE_HERE ? words.epoch
                 : rc < 0                  ? 0
                 : old.state == PLACE_HERE ? old.epoch
                                           : old.here;
    if (words.taken == 0 && rc == 0)
        words.taken = old.taken;
    if ((words.state != PLACE_HERE && words.state != PLACE_AWAY) ||
        words.name[sizeof(words.name) - 1])
        return -EINVAL;
    words.magic = PLACE_MAGIC;
    words.version = PLACE_VERSION;
    memset(words.zero, 0, sizeof(words.zero));
    rc = files_put(bus, dir, "place", &words, sizeof(words));
    if (rc == 0 && words.state == PLACE_AWAY)
        announce(bus, dir, words.id);
    return rc;
}

int place_remove(const struct bus *bus, tram_id id) {
    OWNS_FD int dir = files_node_dir(bus, id, false);
    int rc = dir < 0 ? dir : sys_unlink(dir, "place");

    if (rc == -ENOENT)
        return 0;
    return rc < 0 ? rc : bus_sync_names(bus, dir);
}

struct each_place {
    const struct bus *bus;
    int (*each)(void *context, const struct place *place);
    void *context;
};

static int find_place(void *context, const char *name, uint64_t inode) {
    struct each_place *walk = context;
    OWNS_FD int dir = -1;
    struct place place;
    tram_id id;
    int rc;

    (void) inode;
    if (tram_id_parse(name, &id) < 0)
        return 0;
    dir = sys_dir_open(walk->bus->dir, name);
    rc = dir < 0 ? dir : place_read(dir, id, &place);
    if (rc < 0)
        return files_is_machine(rc) ? rc : 0;
    return walk->each(walk->context, &place);
}

int place_each(const struct bus *bus, int (*each)(void *context, const struct place *place),
               void *context) {
    struct each_place walk = {.bus = bus, .each = each, .context = context};

    return sys_dir_each(bus->dir, find_place, &walk);
}

/* ---- claims ---------------------------------------------------------------------------------- */

static int open_claims(const struct bus *bus, struct claims *claims) {
    int rc = sys_dir_make(bus->dir, "claims", files_dir_mode(bus->mode));

    if (rc < 0 && rc != -EEXIST)
        return rc;
    claims->dir = sys_dir_open(bus->dir, "claims");
    if (claims->dir < 0)
        return claims->dir;
    rc = sys_bell_make(claims->dir, "bell", bus->mode);
    if (rc == 0)
        rc = claims->bell = sys_bell_open(claims->dir, "bell");
    if (rc >= 0) /* last: who sees it held rings the bell */
        rc = claims->lock = sys_lock_open(claims->dir, "lock", bus->mode);
    if (rc >= 0)
        rc = sys_lock(claims->lock, 0);
    if (rc == -EAGAIN)
        return -EBUSY;
    return rc < 0 ? rc : sys_bell_ring(claims->bell); /* for claims that wait already */
}

int claims_open(const struct bus *bus, struct claims *ret_claims) {
    struct claims claims = NO_CLAIMS;
    int rc = open_claims(bus, &claims);

    if (rc < 0) {
        claims_close(&claims);
        return rc;
    }
    *ret_claims = claims;
    return 0;
}

void claims_close(struct claims *claims) {
    if (claims->lock >= 0) /* a child that is forked this moment has it, too */
        (void) sys_unlock(claims->lock, 0);
    cleanup_fd(&claims->lock);
    cleanup_fd(&claims->bell);
    cleanup_fd(&claims->dir);
    *claims = (struct claims) NO_CLAIMS;
}

struct each_claim {
    int (*each)(void *context, tram_id id);
    void *context;
};

static int find_claim(void *context, const char *name, uint64_t inode) {
    const struct each_claim *walk = context;
    tram_id id;

    (void) inode;
    return tram_id_parse(name, &id) < 0 ? 0 : walk->each(walk->context, id);
}

int claims_each(struct claims *claims, int (*each)(void *context, tram_id id), void *context) {
    struct each_claim walk = {.each = each, .context = context};

    (void) sys_bell_drain(claims->bell); /* first: who comes later rings again */
    return sys_dir_each(claims->dir, find_claim, &walk);
}

int claims_answer(struct claims *claims, tram_id id, int code, uint64_t epoch, uint32_t pid,
                  const char *text) {
    struct claim_answer answer = {.magic = CLAIM_MAGIC,
                                  .version = PLACE_VERSION,
                                  .id = id,
                                  .code = code,
                                  .pid = pid,
                                  .epoch = epoch};
    char name[TRAM_ID_TEXT];
    OWNS_FD int fd = -1;
    int rc;

    static_assert(sizeof(answer) <= 512, "a FIFO takes it whole (PIPE_BUF)");
    (void) snprintf(answer.text, sizeof(answer.text), "%s", text ? text : "");
    fd = sys_bell_open_to_put(claims->dir, tram_id_format(id, name));
    rc = sys_unlink(claims->dir, name);
    if (fd == -ENXIO || fd == -ENOENT)
        return -ENOENT; /* who waited is no more */
    if (fd < 0)
        return fd;
    rc = rc == -ENOENT ? 0 : rc;
    return rc < 0 ? rc : sys_bell_put(fd, &answer, sizeof(answer));
}
