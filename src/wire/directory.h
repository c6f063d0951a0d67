/* SPDX-License-Identifier: MIT
 *
 * The directory (the host server) as a state machine: which hosts there are, and on which of them a
 * node is placed. Connections, time and the file are the caller's; frames come in and go out.
 *
 * Rules
 *   - A host is known by its name, and keeps its number. A name with another instance is a host
 *     that lost its memory: it takes the place of the old one as soon as that is unreachable.
 *   - An ID is placed on one host at most. The epoch counts how often it was placed anew. What is
 *     granted is noted (`note`) before it is answered.
 *   - A claim for an ID that is placed elsewhere asks the host there to yield, and changes nothing
 *     before it did. So a directory that dies in between has granted nothing, and whoever asks next
 *     finds a host that yielded already and says so again.
 *   - `take` (by command or lease) places it anew without asking.
 *   - A host that joins says what it holds. The higher epoch is right; the loser is told where the
 *     node is, and so fenced. A directory that lost its file knows all again when all have joined.
 *   - A host that lost its memory holds nothing: what was placed on it is placed nowhere, one epoch
 *     on, and whoever claims it gets it as taken over.
 *   - A host that is not heard of for `misses` beats is away: that is told, and frees nothing.
 *
 * Calls may call back (send, note) and nothing else; they never free the member that they are for.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/hosts.h"

struct directory;
struct directory_member; /* a connection */

struct directory_rules {
    const char *cluster;
    int64_t beat_ns;       /* how often members say that they are there */
    uint32_t misses;       /* beats that are missed until a member is away */
    int64_t lease_ns;      /* away for that long: may be taken over; 0: by command only */
    uint32_t hosts;        /* at most */
    uint64_t ids_each;     /* that a member may hold, and ask for */
};

struct directory_calls {
    /* Queue a frame for a member's connection. */
    void (*send)(void *arg, void *conn, const hosts_frame *frame);
    /* Note a change in the file. Negative: it could not be, and is not granted. */
    int (*note)(void *arg, const Tram__Hosts__Record *record);
    /* May the host of that name hold that ID? NULL: all may. */
    bool (*allowed)(void *arg, const char *host, uint32_t id);
    /* Something for the log. NULL: no. */
    void (*say)(void *arg, const char *text);
};

int directory_new(const struct directory_rules *rules, const struct directory_calls *calls,
                  void *arg, struct directory **ret_directory);
struct directory *directory_free(struct directory *directory);
/* Other rules hold from now on. */
void directory_set(struct directory *directory, const struct directory_rules *rules);

/* What the file says, before anybody connects. -ENOMEM */
int directory_enter(struct directory *directory, const Tram__Hosts__Record *record);
/* All of it as records, for a file that is written anew. What `each` returns, if not 0. */
int directory_each(struct directory *directory,
                   int (*each)(void *arg, const Tram__Hosts__Record *record), void *arg);
/* How many records that are. */
uint64_t directory_size(const struct directory *directory);

/* Somebody connected; `certified` is the name that his certificate says, or NULL. */
int directory_connected(struct directory *directory, int64_t now, void *conn, const char *certified,
                        struct directory_member **ret_member);
/* What he says. Negative: cut him off, and why; he was told. */
int directory_take(struct directory *directory, struct directory_member *member, int64_t now,
                   const hosts_frame *frame, struct wrong *wrong);
/* The connection ended. */
struct directory_member *directory_gone(struct directory *directory,
                                        struct directory_member *member, int64_t now);
/* Was he silent for so long that the connection is to be cut? */
bool directory_silent(const struct directory *directory, const struct directory_member *member,
                      int64_t now);

/* Who is away by now is told to be; call it every beat or so. */
void directory_time(struct directory *directory, int64_t now);
