/* SPDX-License-Identifier: MIT
 *
 * How a node gets its files: the directory maker, for buses of one user. Nothing else in ring and
 * node opens anything. Names and layouts are those of ring/layout.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "ring/layout.h"
#include "sys/map.h"
#include "tram/tram.h"

#define FILES_NAME 64 /* room for any name in a node's directory */

#define FILES_GENERATIONS LAYOUT_GENERATIONS

/* The byte of the lock file that means … */
#define LOCK_IDENTITY 0u /* I am this node */
#define LOCK_CUSTODY  1u /* I act for it */
#define LOCK_PROXY    2u /* I act for it, and am not it */
#define LOCK_UP       3u /* I am this node, and have signed its door */

struct bus {
    int dir;      /* -1: none */
    uint32_t mode; /* of files; directories get x where r is set */
    uint64_t boot; /* on a disk: sys_boot_id(); else 0 */
    char path[256];
};

/* Find or make the directory of a bus, and check it. -EPERM: not to be trusted; the error says
 * why. */
int bus_open(const char *name, const char *root, uint32_t mode, struct bus *ret_bus,
             struct tram_error *error);
void bus_close(struct bus *bus);
/* Is it on a disk? Then its boot is set. */
int bus_find_boot(struct bus *bus);
/* What was removed from one of its directories stays removed, whatever happens to the machine. */
int bus_sync_names(const struct bus *bus, int dir);

uint32_t files_dir_mode(uint32_t mode);

/* The directory of a node. -ENOENT without `make`. */
int files_node_dir(const struct bus *bus, tram_id id, bool make);

/* Of 240.0.0.0/4: it has a directory as long as it lives, and nobody makes one for it. */
static inline bool is_ephemeral(tram_id id) {
    return id >> 28 == 0xf;
}

/* Did the machine fail, and not the file? What it refuses at one moment it may grant at the next,
 * and it says nothing of what the file holds. */
bool files_is_machine(int rc);

/* Names. */
void files_stream_name(char name[FILES_NAME], tram_id from, uint32_t generation);
void files_head_name(char name[FILES_NAME], tram_id from);
void files_aside_name(char name[FILES_NAME], const char *kind, tram_id from, uint64_t seq);
void files_watch_name(char name[FILES_NAME], tram_id watcher);
void files_mirror_name(char name[FILES_NAME], tram_id from);
void files_past_name(char name[FILES_NAME], tram_id from);

enum file_kind {
    FILE_OTHER,
    FILE_STREAM,
    FILE_HEAD,
    FILE_ASIDE,
    FILE_RETRY,
    FILE_WATCH,
    FILE_MIRROR,
    FILE_PAST,
};

/* What a name in a node's directory means; number: generation of a stream, seq of a message. */
enum file_kind files_parse(const char *name, tram_id *ret_peer, uint64_t *ret_number);

/* Put a file with this content in place of what has the name: whole, or not at all. */
int files_put(const struct bus *bus, int dir, const char *name, const void *content,
              uint64_t length);

/* Put a door with these words in place of what lies there. */
int door_make(int dir, const struct door *words, uint32_t mode);

/* Map the door in `dir`. With make: create it if it is missing. -EPROTO: another version. ret_inode
 * may be NULL. */
int door_open(int dir, tram_id id, uint32_t mode, bool make, uint32_t flags,
              struct sys_map *ret_map, uint64_t *ret_inode);

/* The layout version of a door; or of the channel's files from `from`, the first that is not ours.
 * LAYOUT_VERSION also if there is no such file, or one that makes no sense. */
uint32_t files_door_version(int dir);
uint32_t files_channel_version(int dir, tram_id from);

/* Is the node of this directory open? Asked before anybody opens its lock to take it: as long as he
 * has it open, the end of its holder is told to nobody. */
bool files_held(int dir);

/* Who has the node of this directory open, as its door says: a courtesy, for texts. */
struct holder {
    int32_t pid;    /* 0: not known, or a number of another pid namespace */
    char text[112]; /* "process 17 (program)" */
};
void files_holder(int dir, struct holder *ret_holder);

/* The pid of a door as it is meant in `pid_namespace`: 0 if it is one of another. */
static inline int32_t files_pid(const struct door *door, uint64_t pid_namespace) {
    return door->pid_namespace == pid_namespace ? (int32_t) door->pid : 0;
}

/* Make a stream (its data has no memory yet) and put it in place under its name. The descriptor is
 * the caller's if ret_fd is given. */
struct stream_plan {
    tram_id from, to;
    uint32_t generation;
    uint32_t mode;
    uint64_t id, base, base_seq, capacity;
    uint64_t boot, lost, life, since; /* as in struct stream; on a disk it is there at return */
    uint64_t unsure;        /* of the head, which begins with base_seq consumed */
    const uint64_t *window; /* likewise, LAYOUT_WINDOW words; NULL: zeros */
};
int stream_make(int dir, const struct stream_plan *plan, int *ret_fd);
int head_make(int dir, const struct stream_plan *plan, int *ret_fd);

/* What was checked in a stream's first page, once and for all: the words a producer must not
 * change. */
struct stream_facts {
    uint64_t id, base, base_seq, capacity;
    uint64_t inode;
};

/* Map a stream, data twice. The descriptor is the caller's if ret_fd is given. -EPROTO: another
 * version; -EBADMSG: nonsense; -ENOENT. */
int stream_open(int dir, tram_id from, tram_id to, uint32_t generation, uint32_t flags,
                struct sys_map *ret_map, struct stream_facts *ret_facts, int *ret_fd);
/* The same with the file that is open. */
int stream_map(int fd, tram_id from, tram_id to, uint32_t generation, uint32_t flags,
               struct sys_map *ret_map, struct stream_facts *ret_facts);
/* The words alone, as they stand. The descriptor (for writing as well) is the caller's. */
int stream_read(int dir, tram_id from, tram_id to, uint32_t generation, struct stream *ret_words,
                uint64_t *ret_size, int *ret_fd);
/* A channel that was removed and made anew has another head: `inode` tells one from the other. */
struct head_facts {
    uint64_t id, inode;
};
int head_open(int dir, tram_id from, tram_id to, uint32_t flags, struct sys_map *ret_map,
              struct head_facts *ret_facts);
int head_map(int fd, tram_id from, tram_id to, uint32_t flags, struct sys_map *ret_map,
             struct head_facts *ret_facts);
/* The inode of what lies there as head. -ENOENT. */
int head_inode(int dir, tram_id from, uint64_t *ret_inode);
/* Is it of a channel that is removed, though not all of its files are? 1, 0 (also if there is none)
 * or what the machine says. */
int head_is_final(int dir, tram_id from);

/* The generations of a channel's streams. -ENOENT: none. */
int files_generations(int dir, tram_id from, uint32_t *ret_lowest, uint32_t *ret_highest);

/* Both ends of a channel as their words stand, without mapping anything: in the directory of its
 * destination. -ENOENT: no such channel. What one cannot believe is -EBADMSG. */
struct channel_look {
    uint32_t lowest, highest; /* generations */
    uint64_t id, tail, accepted, committed, consumed, head, armed, aside;
    uint64_t base, capacity, lost; /* of the highest */
};
int channel_look(int dir, tram_id from, tram_id to, struct channel_look *ret_look);
/* The same, also of a channel that is removed, of which there is something left: to the one above
 * that is none. */
int channel_look_final(int dir, tram_id from, tram_id to, struct channel_look *ret_look);

static inline struct stream *stream_words(const struct sys_map *map) {
    return map->base;
}
static inline uint8_t *stream_data(const struct sys_map *map) {
    return (uint8_t *) map->base + LAYOUT_DATA;
}
