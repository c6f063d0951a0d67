/* SPDX-License-Identifier: MIT
 *
 * What others did to the files that are ours. Anybody of this user can write, cut short, rename and
 * remove them; nobody does by the rules. A re-look finds it, at the latest, and mends it: the words
 * of the door that only we write are put back; a door or bell that is gone, or is not ours any
 * more, is made anew. Peers that have the old door mapped see that its magic is 0 (or that it was
 * cut short, which reads the same) and open the new one, and the bell with it.
 *
 * The lock cannot be mended: who made another one may have given our ID to somebody else. That is
 * said, once.
 */
#include <string.h>

#include "node/node.h"
#include "sys/bell.h"
#include "sys/cleanup.h"
#include "sys/file.h"

#define OUR_WORDS offsetof(struct door, zero)

static bool is_at(int dir, const char *name, uint64_t inode) {
    struct sys_stat st;

    return sys_stat_at(dir, name, &st) == 0 && st.inode == inode;
}

/* Is what is locked still what an opener would lock? */
static bool lock_in_place(const tram_node *node) {
    char name[TRAM_ID_TEXT];
    struct sys_stat lock;
    struct sys_stat dir;

    if (sys_stat_fd(node->lock, &lock) < 0 || sys_stat_fd(node->dir, &dir) < 0)
        return true; /* nobody knows */
    return lock.links > 0 && is_at(node->dir, "lock", lock.inode) &&
           is_at(node->bus.dir, tram_id_format(node->id, name), dir.inode);
}

static bool door_in_place(const tram_node *node) {
    struct sys_stat st;

    return !sys_map_torn(&node->door_map) && sys_stat_at(node->dir, "door", &st) == 0 &&
           st.inode == node->door_inode && st.size == LAYOUT_DOOR &&
           is_at(node->dir, "bell", node->bell_inode);
}

static void put_words_back(tram_node *node) {
    struct door *door = node->door;

    if (memcmp(door, &node->mine, OUR_WORDS) != 0) {
        memcpy((uint8_t *) door + sizeof(door->magic),
               (const uint8_t *) &node->mine + sizeof(door->magic),
               OUR_WORDS - sizeof(door->magic));
        store_release(&door->magic, node->mine.magic);
    }
    if (node->asleep && load_relaxed(&door->asleep) != 1) {
        store_relaxed(&door->asleep, 1);
        fence(); /* D2: what was published before is found by the re-look that follows */
    }
}

bool node_is_no_bell(int rc) {
    return rc == -EPROTO || rc == -EISDIR || rc == -ELOOP || rc == -ENXIO;
}

int node_make_bell(tram_node *node) {
    OWNS_FD int fd = -1;
    struct sys_stat st;
    int rc;

    for (int tries = 0; tries < 2; tries++) {
        rc = sys_bell_make(node->dir, "bell", node->mode);
        if (rc == 0)
            rc = fd = sys_bell_open(node->dir, "bell");
        if (!node_is_no_bell(rc))
            break;
        (void) sys_remove(node->dir, "bell"); /* whatever it is, it is no bell */
    }
    if (rc >= 0)
        rc = sys_stat_fd(fd, &st);
    if (rc == 0 && node->set >= 0) {
        (void) sys_set_remove(node->set, node->bell); /* closing removes it, too */
        rc = sys_set_add(node->set, fd, 0);
    }
    if (rc < 0)
        return rc;
    cleanup_fd(&node->bell);
    node->bell = take_fd(&fd);
    node->bell_inode = st.inode;
    return 0;
}

/* Both: a peer opens the bell anew when it opens the door anew. */
static void make_anew(tram_node *node) {
    struct door words = node->mine;
    struct sys_map map;
    struct sys_stat st;

    if (node_make_bell(node) < 0)
        return; /* at the next re-look */
    words.asleep = node->asleep;
    words.gone = load_relaxed(&node->door->gone);
    if (door_make(node->dir, &words, node->mode) < 0 ||
        sys_stat_at(node->dir, "door", &st) < 0 ||
        door_open(node->dir, node->id, node->mode, false, node->map_flags, &map, NULL) < 0)
        return;
    store_release(&node->door->magic, 0);
    sys_unmap(&node->door_map);
    node->door_map = map;
    node->door = map.base;
    node->door_inode = st.inode;
    node->attached = 0; /* the directory is read next */
}

void node_mend(tram_node *node) {
    if (!node->lost_told && !lock_in_place(node)) {
        node->lost_told = true;
        node->lost = "the node's lock, or its directory, was removed or replaced";
        node->bad = true;
    }
    if (!door_in_place(node))
        make_anew(node);
    put_words_back(node);
}
