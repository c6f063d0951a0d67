/* SPDX-License-Identifier: MIT
 *
 * What the observer's files share: the files of a node, opened, checked and copied into plain
 * structs. Nothing outside of files.c interprets a word that somebody else wrote.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "observe/observe.h"
#include "ring/layout.h"

struct observe {
    int dir;
    char *path;
    uint64_t pid_namespace; /* ours */
};

/* ---- names ---------------------------------------------------------------------------------- */

/* The order is the one in which files of one peer are sorted. */
enum file_kind { FILE_HEAD, FILE_STREAM, FILE_ASIDE, FILE_RETRY };

struct file_name {
    tram_id peer;
    enum file_kind kind;
    uint64_t number; /* generation of a stream, sequence number of a message set aside */
};

#define FILE_NAME_TEXT 64

/* "1.2.3.4", to the end of the string. */
bool look_id_parse(const char *text, tram_id *ret_id);
void look_id_format(tram_id id, char text[FILE_NAME_TEXT]);
/* A channel file's name, exactly. */
bool look_name_parse(const char *text, struct file_name *ret_name);
void look_name_format(const struct file_name *name, char text[FILE_NAME_TEXT]);

/* The directory of a node. A descriptor, or -ENOENT … */
int look_node_dir(const struct observe *observe, tram_id id);

/* The channel files in a node's directory, by peer, kind and number; of one peer only, if
 * `peer` is not 0. Other names are passed over. free(*ret_names). */
int look_names(int dir, tram_id peer, struct file_name **ret_names, size_t *ret_count);

/* ---- contents ------------------------------------------------------------------------------- */

/* Of each: 0, or a negative errno, with the reason in `note`: -ENOENT, it is gone meanwhile;
 * -EBADMSG, it does not hold what it should; -EPROTO, its layout has another version; or
 * what the system says. */

struct door_view {
    uint32_t pid;
    uint32_t flags;
    uint64_t pid_namespace;
    uint64_t opens, opened_ns, closed_ns, gone;
    bool asleep;
    char program[33];
};

int look_door(int dir, tram_id id, struct door_view *ret_door, char note[OBSERVE_NOTE]);

struct head_view {
    uint64_t id;
    uint64_t head;      /* position: the producer may overwrite all before it */
    uint64_t committed; /* position, and … */
    uint64_t consumed;  /* … messages before it */
    uint64_t handed;    /* position */
    uint64_t aside;
    uint64_t armed;
    uint64_t memory;
};

/* The file stays open, and look_head() reads its words again. */
int look_head_open(int dir, tram_id from, tram_id to, struct head_view *ret_head,
                   char note[OBSERVE_NOTE]);
int look_head(int file, tram_id from, tram_id to, struct head_view *ret_head,
              char note[OBSERVE_NOTE]);

/* Has the receiver freed what lies at this position, so that it may be overwritten? True, too, if
 * nobody knows. */
bool look_head_freed(int file, uint64_t position);

/* The word of the window for this message; 0 if it has none. */
uint64_t look_head_window(int file, uint64_t seq);

struct stream_view {
    int file;
    uint32_t generation;
    uint64_t id;
    uint64_t base;     /* position of the first record */
    uint64_t base_seq; /* messages before it */
    uint64_t capacity;
    uint64_t tail;     /* position, and … */
    uint64_t accepted; /* … messages before it */
    uint64_t kept;     /* data before this position may be gone */
    uint64_t lost;
    uint64_t memory;
    uint64_t made_ns;
    bool wanted; /* the sender waits for space */
};

/* The file stays open: look_stream_close(). */
int look_stream_open(int dir, const struct file_name *name, tram_id to,
                     struct stream_view *ret_stream, char note[OBSERVE_NOTE]);

/* Read the words that change again. */
int look_stream(struct stream_view *stream, char note[OBSERVE_NOTE]);

/* Copy bytes of the data area, from a position on. */
int look_stream_read(const struct stream_view *stream, uint64_t position, void *buffer,
                     size_t size);

void look_stream_close(struct stream_view *stream);

/* The header of a message set aside; its payload follows at *ret_offset. The file stays open. */
int look_aside_open(int dir, const struct file_name *name, struct record *ret_record,
                    uint64_t *ret_offset, char note[OBSERVE_NOTE]);
