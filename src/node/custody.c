/* SPDX-License-Identifier: MIT */
#include "node/custody.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "node/disk.h"
#include "node/mirror.h"
#include "node/node.h"
#include "sys/bell.h"
#include "sys/cleanup.h"
#include "sys/file.h"
#include "sys/lock.h"

struct custody {
    int dir, lock;
};

#define NO_CUSTODY { -1, -1 }

/* Unlocked, not only closed: a process that another thread forks this moment has a copy of the
 * descriptor, and would keep the lock. */
static void custody_release(struct custody *custody) {
    if (custody->lock >= 0) {
        (void) sys_unlock(custody->lock, LOCK_PROXY);
        (void) sys_unlock(custody->lock, LOCK_CUSTODY);
    }
    cleanup_fd(&custody->lock);
    cleanup_fd(&custody->dir);
}

#define OWNS_CUSTODY __attribute__((cleanup(custody_release)))

/* Become the custodian of a node that does not run. -EBUSY. */
static int custody_take(const struct bus *bus, tram_id id, bool make, struct custody *ret_custody) {
    OWNS_CUSTODY struct custody custody = NO_CUSTODY;
    struct sys_stat st;
    int rc;

    custody.dir = files_node_dir(bus, id, make);
    if (custody.dir < 0)
        return custody.dir;
    if (files_held(custody.dir))
        return -EBUSY;
    if (files_door_version(custody.dir) != LAYOUT_VERSION)
        return -EPROTO; /* what it means is not known here */
    custody.lock = sys_lock_open(custody.dir, "lock", bus->mode);
    if (custody.lock < 0)
        return custody.lock;
    rc = sys_lock(custody.lock, LOCK_CUSTODY);
    if (rc < 0)
        return rc == -EAGAIN ? -EBUSY : rc;
    rc = sys_lock_held(custody.lock, LOCK_IDENTITY);
    if (rc != 0)
        return rc < 0 ? rc : -EBUSY;
    rc = sys_stat_fd(custody.lock, &st);
    if (rc < 0 || st.links == 0)
        return rc < 0 ? rc : -ENOENT;
    /* From here on an opener may take the identity, and wait: that we act is to be seen all the
     * same. */
    rc = sys_lock(custody.lock, LOCK_PROXY);
    if (rc < 0)
        return rc == -EAGAIN ? -EBUSY : rc;
    *ret_custody = custody;
    custody = (struct custody) NO_CUSTODY;
    return 0;
}

static int bus_from_path(const char *path, struct bus *ret_bus) {
    *ret_bus = (struct bus){.dir = -1, .mode = 0600};
    if (snprintf(ret_bus->path, sizeof(ret_bus->path), "%s", path) >= (int) sizeof(ret_bus->path))
        return -ENAMETOOLONG;
    ret_bus->dir = sys_dir_open(AT_FDCWD, path);
    return ret_bus->dir < 0 ? ret_bus->dir : bus_find_boot(ret_bus);
}

static void bus_close_p(struct bus *bus) {
    bus_close(bus);
}

#define OWNS_BUS __attribute__((cleanup(bus_close_p)))

/* ---- words of channels ----------------------------------------------------------------------- */

static void unmap_p(struct sys_map *map) {
    sys_unmap(map);
}

#define OWNS_MAP __attribute__((cleanup(unmap_p)))

/* Change the flags of the consumer's word, as custodian of the destination. Returns the new one. A
 * sender that takes the closed bit off between the load and the store has published before, and we
 * see what when we look. */
static uint64_t change_armed(struct head *head, uint64_t clear, uint64_t set) {
    uint64_t armed = ((load_relaxed(&head->armed) + ARMED_EPOCH) & ~clear) | set;

    store_relaxed(&head->armed, armed);
    fence(); /* F1: the sender publishes, fences, and looks here; we look at its tail next */
    return armed;
}

static int set_armed(int dir, tram_id from, tram_id to, uint64_t clear, uint64_t set) {
    OWNS_MAP struct sys_map map = {0};
    struct head_facts facts;
    int rc = head_open(dir, from, to, SYS_MAP_WRITE | SYS_MAP_GUARD, &map, &facts);

    if (rc == 0)
        (void) change_armed(map.base, clear, set);
    return rc;
}

/* Wake a node that may wait for space, or count what it lost. */
static void tell_sender(const struct bus *bus, tram_id sender, tram_id id, uint64_t lost) {
    OWNS_FD int dir = files_node_dir(bus, sender, false);
    OWNS_FD int bell = -1;
    OWNS_MAP struct sys_map map = {0};
    struct door *door;

    if (dir < 0 || door_open(dir, sender, bus->mode, false, SYS_MAP_GUARD, &map, NULL) < 0)
        return;
    door = map.base;
    (void) __atomic_fetch_add(&door->gone, lost, __ATOMIC_RELAXED);
    if (door_knock(door, id)) {
        bell = sys_bell_open(dir, "bell");
        if (bell >= 0)
            (void) sys_bell_ring(bell); /* a hint: it re-looks */
    }
}

/* ---- removing -------------------------------------------------------------------------------- */

/* What lies there is nonsense or no more: it goes, or does not count. Else what the machine refused
 * (or another layout version, of which nothing is known) is passed on: what was not seen must not
 * be removed. */
static int unless_machine(int rc) {
    return files_is_machine(rc) || rc == -EPROTO ? rc : 0;
}

struct walk {
    const struct bus *bus;
    int dir;
    tram_id id; /* whose directory, or which sender */
    uint64_t set, clear;
    uint64_t waiting;
    bool force;
    tram_id watchers[64]; /* who is told at once; any others re-look */
    uint32_t watcher_count;
};

static int mark_channel(void *context, const char *name, uint64_t inode) {
    struct walk *walk = context;
    uint64_t number;
    tram_id from;

    (void) inode;
    if (files_parse(name, &from, &number) != FILE_HEAD)
        return 0;
    return unless_machine(set_armed(walk->dir, from, walk->id, walk->clear, walk->set));
}

static int count_waiting(void *context, const char *name, uint64_t inode) {
    struct walk *walk = context;
    struct channel_look look;
    uint64_t number;
    tram_id from;

    int rc;

    (void) inode;
    if (files_parse(name, &from, &number) != FILE_HEAD)
        return 0;
    rc = channel_look(walk->dir, from, walk->id, &look);
    if (rc == 0)
        walk->waiting += look.accepted - look.consumed;
    return unless_machine(rc);
}

static int remove_names(int dir, tram_id from, uint32_t lowest, uint32_t highest) {
    char name[FILES_NAME];
    int rc = 0;

    for (uint32_t generation = lowest; generation <= highest && rc == 0; generation++) {
        files_stream_name(name, from, generation);
        rc = sys_unlink(dir, name);
        if (rc == -ENOENT)
            rc = 0;
    }
    files_head_name(name, from); /* last: a head alone is nothing */
    return rc < 0 ? rc : sys_unlink(dir, name);
}

/* Closed as we left it, it is removed from here on: no sender of it says accepted any more. False:
 * one took it back meanwhile. */
static bool make_final(struct head *head, uint64_t closed) {
    return (closed & ARMED_FINAL) ||
           __atomic_compare_exchange_n(&head->armed, &closed, closed | ARMED_FINAL, false,
                                       __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

/* Close a channel to the node, look, and decide that it is removed. So we see what its sender
 * published, or the sender sees that it is closed, and takes it back before we decide, or is told
 * that it is removed; also of a channel that was made this moment. -EAGAIN: it was taken back. */
static int decide(struct walk *walk, tram_id from, struct channel_look *ret_look) {
    OWNS_MAP struct sys_map map = {0};
    struct head_facts facts;
    struct head *head = NULL;
    bool was_final = false;
    uint64_t closed = 0;
    int rc = head_open(walk->dir, from, walk->id, SYS_MAP_WRITE | SYS_MAP_GUARD, &map, &facts);

    if (rc == 0) {
        head = map.base;
        was_final = (load_relaxed(&head->armed) & ARMED_FINAL) != 0;
        closed = change_armed(head, 0, walk->force ? ARMED_REMOVED : ARMED_CLOSED);
    }
    rc = unless_machine(rc);
    if (rc == 0)
        rc = channel_look_final(walk->dir, from, walk->id, ret_look);
    if (files_is_machine(rc) || rc == -EPROTO)
        return rc;
    if (was_final) /* by one who died then: he told */
        ret_look->accepted = ret_look->consumed;
    if (rc == 0 && ret_look->accepted != ret_look->consumed && !walk->force)
        return -ENOTEMPTY;
    return head && !make_final(head, closed) ? -EAGAIN : rc;
}

static int remove_in(void *context, const char *name, uint64_t inode) {
    struct walk *walk = context;
    struct channel_look look = {0};
    uint64_t number;
    tram_id from;
    int rc = -EAGAIN;

    (void) inode;
    if (files_parse(name, &from, &number) != FILE_HEAD)
        return 0;
    for (int tries = 0; tries < 16 && rc == -EAGAIN; tries++)
        rc = decide(walk, from, &look);
    if (rc == -EAGAIN)
        return -ENOTEMPTY; /* somebody is sending, or about to */
    if (files_is_machine(rc) || rc == -EPROTO || rc == -ENOTEMPTY)
        return rc;
    tell_sender(walk->bus, from, walk->id, look.accepted - look.consumed);
    if (rc < 0)
        look.highest = FILES_GENERATIONS - 1;
    rc = remove_names(walk->dir, from, look.lowest, look.highest);
    return rc == -ENOENT ? 0 : rc;
}

int custody_remove_channel(const struct bus *bus, int dir, tram_id from, tram_id to) {
    struct walk walk = {.bus = bus, .dir = dir, .id = to, .force = true};
    char name[FILES_NAME];

    files_head_name(name, from);
    return remove_in(&walk, name, 0);
}

/* Peers that have the door mapped see that it is nobody's any more. */
static int close_door(const struct walk *walk) {
    OWNS_MAP struct sys_map map = {0};
    int rc = door_open(walk->dir, walk->id, walk->bus->mode, false, SYS_MAP_GUARD, &map, NULL);

    if (rc == 0)
        store_relaxed(&((struct door *) map.base)->magic, 0);
    return unless_machine(rc);
}

/* Everything but the lock, and channels that came meanwhile. */
static int remove_rest(void *context, const char *name, uint64_t inode) {
    struct walk *walk = context;
    enum file_kind kind;
    uint64_t number;
    tram_id peer;
    int rc;

    (void) inode;
    kind = files_parse(name, &peer, &number);
    if (strcmp(name, "lock") == 0 || kind == FILE_HEAD)
        return 0;
    rc = kind == FILE_STREAM ? head_inode(walk->dir, peer, &number) : -ENOENT;
    if (rc != -ENOENT)
        return rc; /* 0: there is a head, so it is a channel */
    if (kind == FILE_WATCH &&
        walk->watcher_count < sizeof(walk->watchers) / sizeof(walk->watchers[0]))
        walk->watchers[walk->watcher_count++] = peer;
    rc = strcmp(name, "door") == 0 ? close_door(walk) : 0;
    if (rc == 0)
        rc = sys_unlink(walk->dir, name);
    return rc == -ENOENT ? 0 : rc;
}

/* The node is gone: its watchers look. */
static void tell_watchers(const struct walk *walk) {
    for (uint32_t i = 0; i < walk->watcher_count; i++) {
        OWNS_FD int dir = files_node_dir(walk->bus, walk->watchers[i], false);
        OWNS_FD int bell = -1;
        OWNS_MAP struct sys_map map = {0};

        if (dir < 0 ||
            door_open(dir, walk->watchers[i], walk->bus->mode, false, SYS_MAP_GUARD, &map,
                      NULL) < 0 ||
            !door_announce(map.base))
            continue;
        bell = sys_bell_open(dir, "bell");
        if (bell >= 0)
            (void) sys_bell_ring(bell); /* a hint: it re-looks */
    }
}

static int note_from(void *context, const char *name, uint64_t inode) {
    struct walk *walk = context;
    OWNS_FD int dir = -1;
    struct channel_look look;
    tram_id to;
    int rc;

    (void) inode;
    if (tram_id_parse(name, &to) < 0 || to == walk->id)
        return 0;
    dir = sys_dir_open(walk->bus->dir, name);
    if (dir < 0)
        return unless_machine(dir);
    rc = channel_look_final(dir, walk->id, to, &look);
    if (rc < 0)
        return unless_machine(rc);
    if (look.armed & ARMED_FINAL)
        look.accepted = look.consumed;
    walk->waiting += look.accepted - look.consumed;
    if (!walk->set || look.accepted != look.consumed || mirror_lies(dir, walk->id))
        return 0;
    (void) remove_names(dir, walk->id, look.lowest, look.highest); /* its receiver sees that */
    return bus_sync_names(walk->bus, dir);
}

/* Close all channels, and count what waits. */
static int close_all(struct walk *walk) {
    int rc;

    walk->set = ARMED_CLOSED;
    walk->clear = 0;
    rc = sys_dir_each(walk->dir, mark_channel, walk);
    if (rc == 0)
        rc = sys_dir_each(walk->dir, count_waiting, walk);
    return rc == 0 && walk->waiting > 0 && !walk->force ? -ENOTEMPTY : rc;
}

static int open_all(struct walk *walk, int rc) {
    walk->set = 0;
    walk->clear = ARMED_CLOSED;
    (void) sys_dir_each(walk->dir, mark_channel, walk);
    return rc;
}

/* Rings of events that it published, and its readers' files (docs/SEGMENT.md §1). */
struct events_of {
    int dir;
    const char *id;
    size_t length;
};

static bool begins_with(const struct events_of *of, const char *text) {
    return strncmp(text, of->id, of->length) == 0 && text[of->length] == '-';
}

static int remove_event_file(void *context, const char *name, uint64_t inode) {
    const struct events_of *of = context;
    const char *reader = strchr(name, '@');

    (void) inode;
    if (begins_with(of, name) || (reader && begins_with(of, reader + 1)))
        (void) sys_unlink(of->dir, name); /* else a publisher's next sweep finds it */
    return 0;
}

static void remove_events(const struct bus *bus, const char *id) {
    OWNS_FD int dir = sys_dir_open(bus->dir, "events");
    struct events_of of = {.dir = dir, .id = id, .length = strlen(id)};

    if (dir >= 0)
        (void) sys_dir_each(dir, remove_event_file, &of); /* likewise */
}

/* Remove a directory whose custody the caller has. Without `force`: -ENOTEMPTY if messages wait,
 * and nothing that counts is changed. `sent`: go over what it sent, too. */
static int remove_node(const struct bus *bus, int dir, tram_id id, bool force, struct walk *sent) {
    struct walk walk = {.bus = bus, .dir = dir, .id = id, .force = force};
    OWNS_CUSTODY struct custody again = NO_CUSTODY;
    char name[TRAM_ID_TEXT];
    int rc = close_all(&walk);

    if (rc < 0)
        return open_all(&walk, rc);
    if (sent) /* as long as we have the custody */
        rc = sys_dir_each(bus->dir, note_from, sent);
    if (rc < 0)
        return open_all(&walk, rc);
    for (int tries = 0; tries < 16; tries++) {
        rc = sys_dir_each(walk.dir, remove_in, &walk);
        if (rc < 0)
            return open_all(&walk, rc);
        rc = sys_dir_each(walk.dir, remove_rest, &walk);
        if (rc < 0)
            break;
        rc = sys_unlink(walk.dir, "lock");
        if (rc == 0 || rc == -ENOENT)
            rc = sys_dir_remove(bus->dir, tram_id_format(id, name));
        if (rc == 0)
            remove_events(bus, name);
        if (rc != -ENOTEMPTY)
            break;
        /* Something came between. With the lock our custody is gone: what is there now may be
         * somebody's who opens the node, and only if not ours to remove. */
        custody_release(&again);
        rc = custody_take(bus, id, true, &again);
        if (rc < 0) {
            rc = rc == -EBUSY || rc == -ENOENT ? 0 : rc;
            break;
        }
        walk.dir = again.dir;
        rc = -EAGAIN; /* if that was the last attempt: files come as fast as they go */
    }
    tell_watchers(&walk);
    return rc;
}

/* On a disk: what is removed stays so. Its directory is gone, or another's by now. */
static int sync_removed(const struct bus *bus, tram_id id) {
    OWNS_FD int dir = bus->boot ? files_node_dir(bus, id, false) : -ENOENT;
    int rc = dir < 0 ? dir : bus_sync_names(bus, dir);

    return rc == 0 || rc == -ENOENT ? bus_sync_names(bus, bus->dir) : rc;
}

static int busy(const struct bus *bus, tram_id id, struct tram_error *error) {
    OWNS_FD int dir = files_node_dir(bus, id, false);
    struct holder holder;
    struct place place;
    char text[TRAM_ID_TEXT];

    if (dir >= 0 && !files_held(dir) && place_read(dir, id, &place) == 0 &&
        place.state == PLACE_AWAY)
        return error_set(error, -EBUSY,
                         "node %s is placed on host %s, and tramd stands in for it here: do that "
                         "there",
                         tram_id_format(id, text), place.name);
    files_holder(dir, &holder);
    (void) error_set(error, -EBUSY, "node %s is held by %s; end that first",
                     tram_id_format(id, text), holder.text);
    error->pid = holder.pid;
    return -EBUSY;
}

static int failed(struct tram_error *error, int rc, tram_id id, const char *what) {
    char text[TRAM_ID_TEXT];

    if (rc == -ENOENT)
        return error_set(error, rc, "there is no node %s on this bus", tram_id_format(id, text));
    if (rc == -EPROTO)
        return error_set(error, rc,
                         "cannot %s node %s: there are files of another layout version than %u, "
                         "this program's (see tram ls); do it with the tram that made them",
                         what, tram_id_format(id, text), LAYOUT_VERSION);
    return error_set(error, rc, "cannot %s node %s: %s", what, tram_id_format(id, text),
                     strerror(-rc));
}

int custody_rm(const char *bus_path, tram_id id, bool force, struct tram_error *ret_error) {
    OWNS_BUS struct bus bus = {.dir = -1};
    OWNS_CUSTODY struct custody custody = NO_CUSTODY;
    struct walk walk = {.bus = &bus, .id = id};
    char text[TRAM_ID_TEXT];
    int rc = bus_from_path(bus_path, &bus);

    if (rc < 0)
        return error_set(ret_error, rc, "cannot open the bus %s: %s", bus_path, strerror(-rc));
    rc = custody_take(&bus, id, false, &custody);
    if (rc == -EBUSY)
        return busy(&bus, id, ret_error);
    if (rc == 0)
        rc = sys_dir_each(bus.dir, note_from, &walk);
    if (rc == 0 && walk.waiting > 0 && !force) {
        (void) error_set(ret_error, -ENOTEMPTY,
                         "%llu messages that node %s sent wait at their receivers; they stay "
                         "deliverable: use --force to remove the node all the same",
                         (unsigned long long) walk.waiting, tram_id_format(id, text));
        ret_error->limit = walk.waiting;
        return -ENOTEMPTY;
    }
    walk.set = 1; /* then remove those that are drained */
    if (rc == 0)
        rc = remove_node(&bus, custody.dir, id, force, &walk);
    if (rc == 0)
        rc = sync_removed(&bus, id);
    if (rc == -ENOTEMPTY)
        return error_set(ret_error, rc,
                         "messages wait for node %s; receive or purge them, or use --force",
                         tram_id_format(id, text));
    if (rc < 0)
        return failed(ret_error, rc, id, "remove");
    return 0;
}

void custody_remove_own(const struct bus *bus, int dir, tram_id id) {
    (void) remove_node(bus, dir, id, true, NULL); /* what stays is cleaned by the next one */
}

struct clean {
    const struct bus *bus;
    uint32_t host;
    int looks, most;
};

static int clean_one(void *context, const char *name, uint64_t inode) {
    struct clean *clean = context;
    OWNS_CUSTODY struct custody custody = NO_CUSTODY;
    tram_id id;

    (void) inode;
    if (tram_id_parse(name, &id) < 0 || !is_ephemeral(id))
        return 0;
    if (clean->host > 0 && (id >> 16 & HOST_MAX) != clean->host)
        return 0;
    if (custody_take(clean->bus, id, false, &custody) == 0 &&
        remove_node(clean->bus, custody.dir, id, true, NULL) == 0)
        clean->most--;
    return --clean->looks <= 0 || clean->most <= 0;
}

void custody_clean_ephemerals(const struct bus *bus, uint32_t host, int most) {
    struct clean clean = {.bus = bus, .host = host, .looks = 64, .most = most};

    (void) sys_dir_each(bus->dir, clean_one, &clean);
}

int custody_remove_far(const struct bus *bus, tram_id id) {
    OWNS_CUSTODY struct custody custody = NO_CUSTODY;
    int rc = custody_take(bus, id, false, &custody);

    return rc < 0 ? rc : remove_node(bus, custody.dir, id, true, NULL);
}

/* ---- tidying, purging ------------------------------------------------------------------------ */

/* Also what is hidden, because it was being made. */
static int remove_both(int dir, char *hidden) {
    int rc = sys_remove(dir, hidden);

    if (rc == 0 || rc == -ENOENT)
        rc = sys_remove(dir, hidden + 1);
    return rc == -ENOENT ? 0 : rc;
}

/* By name: the directory has files of every sender. The head last: a head alone is nothing, a
 * stream alone would be a channel that is broken. */
int custody_unlink_channel(int dir, tram_id from) {
    char hidden[FILES_NAME + 1] = ".";
    int rc = 0;

    for (uint32_t generation = 0; generation < FILES_GENERATIONS && rc == 0; generation++) {
        files_stream_name(hidden + 1, from, generation);
        rc = remove_both(dir, hidden);
    }
    files_head_name(hidden + 1, from);
    return rc < 0 ? rc : remove_both(dir, hidden);
}

/* As custodian of the source: give back the memory of a drained ring. */
static int trim_channel(const struct bus *bus, int dir, tram_id from, tram_id to,
                        uint64_t keep) {
    OWNS_MAP struct sys_map head_map = {0};
    OWNS_FD int fd = -1;
    struct stream_facts facts;
    struct head_facts head;
    uint32_t lowest;
    uint32_t highest;
    struct out out = {.reserved = UINT64_MAX};
    int rc = files_generations(dir, from, &lowest, &highest);

    if (rc == 0)
        rc = head_open(dir, from, to, SYS_MAP_GUARD, &head_map, &head);
    if (rc == 0)
        rc = stream_open(dir, from, to, highest, SYS_MAP_WRITE | SYS_MAP_GUARD, &out.map, &facts,
                         &fd);
    if (rc < 0)
        return rc;
    out.fd = fd;
    out.capacity = facts.capacity;
    rc = ring_tx_init(&out.tx, stream_words(&out.map), stream_data(&out.map), head_map.base,
                      facts.capacity, facts.base, facts.base_seq);
    if (rc == 0 && out.tx.freed == out.tx.pos && (!on_disk(bus) || disk_sync_head(dir, from) == 0))
        out_trim(&out, keep);
    sys_unmap(&out.map);
    return rc;
}

int custody_tidy_sender(const struct bus *bus, int dir, tram_id from, tram_id to, uint64_t keep,
                        struct ring_rx *rx) {
    OWNS_CUSTODY struct custody custody = NO_CUSTODY;
    OWNS_FD int mark = -1;
    uint32_t lowest;
    uint32_t highest;
    int rc = custody_take(bus, from, is_ephemeral(from), &custody);

    if (rc < 0)
        return rc;
    /* A mirror is removed by the daemon alone, who notes what was consumed of it. */
    rc = is_ephemeral(from) && mirror_lies(dir, from) ? -EBUSY : mirror_guard(dir, from, &mark);
    if (rc < 0)
        return rc;
    if (rx ? !ring_rx_look(rx) || WORD_POSITION(rx->committed) != rx->tail
           : files_generations(dir, from, &lowest, &highest) != -ENOENT)
        return -EAGAIN;
    if (!is_ephemeral(from))
        return trim_channel(bus, dir, from, to, keep);
    rc = custody_unlink_channel(dir, from);
    if (rc == 0)
        rc = remove_node(bus, custody.dir, from, true, NULL);
    return rc < 0 ? rc : 1;
}

int custody_bury(const struct bus *bus, int dir, tram_id from) {
    OWNS_CUSTODY struct custody custody = NO_CUSTODY;
    OWNS_FD int mark = -1;
    int rc = custody_take(bus, from, true, &custody);

    if (rc < 0)
        return rc; /* it runs: it will, when it sends */
    rc = mirror_guard(dir, from, &mark);
    if (rc < 0)
        return rc;
    rc = head_is_final(dir, from); /* it may have, before we had the custody */
    if (rc == 1)
        rc = custody_unlink_channel(dir, from);
    if (rc == 0 && is_ephemeral(from) && !mirror_lies(dir, from))
        rc = remove_node(bus, custody.dir, from, true, NULL);
    return rc;
}

int custody_repair_sender(const struct bus *bus, int dir, tram_id from, tram_id to) {
    OWNS_CUSTODY struct custody custody = NO_CUSTODY;
    OWNS_FD int mark = -1;
    int rc = custody_take(bus, from, true, &custody);

    if (rc == 0) /* who writes it has repaired it */
        rc = mirror_guard(dir, from, &mark);
    return rc < 0 ? rc : disk_repair_streams(bus, dir, from, to);
}

/* The tail and the count that belongs to it, of a stream whose sender may run. */
static int look_at_tail(int dir, tram_id from, tram_id to, struct channel_look *look) {
    OWNS_MAP struct sys_map map = {0};
    struct stream_facts facts;
    const struct stream *words;
    int rc = stream_open(dir, from, to, look->highest, SYS_MAP_GUARD, &map, &facts, NULL);

    if (rc < 0)
        return rc;
    words = stream_words(&map);
    for (int tries = 0; tries < 1000; tries++) {
        uint64_t tail = load_acquire(&words->tail);
        uint64_t accepted = load_acquire(&words->accepted[WORD_SLOT(tail)]);

        /* The slot is stored anew only after a next tail. */
        if (load_relaxed(&words->tail) != tail)
            continue;
        if (accepted < look->consumed || WORD_POSITION(tail) < look->committed)
            return -EBADMSG;
        look->tail = WORD_POSITION(tail);
        look->accepted = accepted;
        return 0;
    }
    return -EBUSY;
}

/* As custodian of the destination: everything accepted is consumed. */
static int drop_waiting(const struct bus *bus, int dir, tram_id from, tram_id to,
                        const struct channel_look *look) {
    OWNS_MAP struct sys_map map = {0};
    struct head *head;
    struct head_facts facts;
    uint64_t slot;
    int rc = head_open(dir, from, to, SYS_MAP_WRITE | SYS_MAP_GUARD, &map, &facts);

    if (rc < 0)
        return rc;
    head = map.base;
    slot = (head->committed & 1) ^ 1;
    head->consumed[slot] = look->accepted;
    journal_order();
    store_relaxed(&head->committed, look->tail | slot);
    journal_order();
    store_relaxed(&head->handed, look->tail | (head->handed & 7));
    store_release(&head->head, look->tail);
    (void) change_armed(head, ARMED_BROKEN | ARMED_CLOSED, 0);
    return on_disk(bus) ? disk_sync_head(dir, from) : 0;
}

int custody_purge(const char *bus_path, tram_id from, tram_id to, uint64_t *ret_messages,
                  struct tram_error *ret_error) {
    OWNS_BUS struct bus bus = {.dir = -1};
    OWNS_CUSTODY struct custody custody = NO_CUSTODY;
    OWNS_CUSTODY struct custody sender = NO_CUSTODY;
    struct channel_look look = {0};
    uint64_t inode;
    int rc = bus_from_path(bus_path, &bus);

    if (rc < 0)
        return error_set(ret_error, rc, "cannot open the bus %s: %s", bus_path, strerror(-rc));
    rc = custody_take(&bus, to, false, &custody);
    if (rc == -EBUSY)
        return busy(&bus, to, ret_error);
    if (rc < 0)
        return failed(ret_error, rc, to, "act for");
    rc = channel_look(custody.dir, from, to, &look);
    if (rc == -ENOENT && head_inode(custody.dir, from, &inode) == 0)
        rc = -EBADMSG; /* a head alone: what a purge before this one could not remove */
    if (rc == -ENOENT)
        return error_channel(ret_error, rc, from, to, "there is no such channel");
    if (rc == 0)
        rc = look_at_tail(custody.dir, from, to, &look);
    if (rc == 0) {
        rc = drop_waiting(&bus, custody.dir, from, to, &look);
        if (rc == 0)
            tell_sender(&bus, from, to, 0);
    } else if (!files_is_machine(rc) && rc != -EPROTO) {
        /* Nothing in it can be believed: it goes, if nobody writes it. */
        rc = custody_take(&bus, from, true, &sender);
        if (rc == -EBUSY)
            return busy(&bus, from, ret_error);
        if (rc == 0)
            rc = custody_unlink_channel(custody.dir, from);
        if (rc == 0)
            rc = bus_sync_names(&bus, custody.dir);
    }
    if (rc < 0)
        return error_channel(ret_error, rc, from, to, "cannot purge: %s", strerror(-rc));
    *ret_messages = look.accepted - look.consumed;
    return 0;
}

/* ---- set aside ------------------------------------------------------------------------------- */

static int change_aside(const char *bus_path, tram_id to, tram_id from, uint64_t seq, bool retry,
                        struct tram_error *error) {
    OWNS_BUS struct bus bus = {.dir = -1};
    OWNS_FD int dir = -1;
    OWNS_FD int bell = -1;
    OWNS_MAP struct sys_map map = {0};
    char aside[FILES_NAME];
    char again[FILES_NAME];
    int rc = bus_from_path(bus_path, &bus);

    if (rc == 0)
        rc = dir = files_node_dir(&bus, to, false);
    files_aside_name(aside, "aside", from, seq);
    files_aside_name(again, "retry", from, seq);
    if (rc >= 0)
        rc = retry ? sys_rename(dir, aside, again) : sys_unlink(dir, aside);
    if (rc == 0)
        rc = bus_sync_names(&bus, dir);
    if (rc == -ENOENT)
        return error_channel(error, rc, from, to, "message %llu is not set aside",
                             (unsigned long long) seq);
    if (rc < 0)
        return error_channel(error, rc, from, to, "cannot change the set-aside message: %s",
                             strerror(-rc));
    if (retry && door_open(dir, to, bus.mode, false, SYS_MAP_GUARD, &map, NULL) == 0 &&
        door_announce(map.base)) {
        bell = sys_bell_open(dir, "bell");
        if (bell >= 0)
            (void) sys_bell_ring(bell); /* else it re-looks */
    }
    return 0;
}

int custody_retry(const char *bus_path, tram_id to, tram_id from, uint64_t seq,
                  struct tram_error *ret_error) {
    return change_aside(bus_path, to, from, seq, true, ret_error);
}

int custody_drop(const char *bus_path, tram_id to, tram_id from, uint64_t seq,
                 struct tram_error *ret_error) {
    return change_aside(bus_path, to, from, seq, false, ret_error);
}
