/* SPDX-License-Identifier: MIT
 *
 * Inside the directory: directory.c (hosts), directory_place.c (where nodes are placed).
 */
#pragma once

#include "wire/directory.h"

#define DIRECTORY_BUCKETS 65536u

struct dir_host {
    uint32_t number;
    char name[HOSTS_NAME_MAX + 1];
    uint8_t instance[HOSTS_INSTANCE];
    char program[CONTROL_PROGRAM_MAX + 1];
    char **addresses;
    size_t count;
    bool away;                       /* as was told */
    bool anew;                       /* it lost its memory since its IDs were placed there */
    int64_t since;                   /* that its connection ended */
    struct directory_member *member; /* its connection, or NULL */
    uint64_t ids;                    /* placed there */
};

struct directory_member {
    struct directory_member *next;
    void *conn;
    struct dir_host *host;           /* NULL: has not joined, or was replaced */
    bool joined;
    int64_t heard;
    uint64_t watches;
    bool crowded;                    /* it asked for more than it may have */
    char certified[HOSTS_NAME_MAX + 1];
};

struct dir_watch {
    struct dir_watch *next;
    struct directory_member *member;
};

/* Where an ID is placed. */
struct dir_place {
    struct dir_place *next;          /* of its bucket */
    struct dir_place *all_next, **all_link;
    uint32_t id;
    uint32_t host;                   /* 0: nowhere */
    uint32_t from;                   /* whose knowledge of it the host still lacks; 0: nobody's;
                                        the host itself: what is known of it is lost */
    uint32_t *left;                  /* where what it sent waits, given up in order, the oldest
                                        first; and behind all these for whom, 0: maybe for any */
    uint32_t left_count;
    uint64_t epoch;
    struct directory_member *asker;  /* who waits until it is yielded; NULL: nobody */
    uint64_t cookie;                 /* his */
    struct dir_watch *watches;
};

struct directory {
    struct directory_rules rules;
    const struct directory_calls *calls;
    void *arg;
    int64_t now;
    char cluster[HOSTS_NAME_MAX + 1];
    struct dir_host *hosts[HOSTS_MAX + 1];
    uint32_t host_count, last_number;
    struct directory_member *members;
    struct dir_place *places[DIRECTORY_BUCKETS], *all;
    uint64_t id_count;
};

void directory_send(struct directory *directory, const struct directory_member *member,
                    hosts_frame frame);
/* For the log. */
__attribute__((format(printf, 2, 3))) void directory_say(struct directory *directory,
                                                         const char *format, ...);

int dir_place_hold(struct directory *directory, struct directory_member *member, uint32_t id,
               uint64_t epoch);
void dir_place_claim(struct directory *directory, struct directory_member *member,
                 const Tram__Hosts__Claim *claim);
void dir_place_release(struct directory *directory, struct directory_member *member,
                   const Tram__Hosts__Release *release);
int dir_place_where(struct directory *directory, struct directory_member *member,
                const Tram__Hosts__Where *where, struct wrong *wrong);
int dir_place_yielded(struct directory *directory, struct directory_member *member,
                      const Tram__Hosts__Yielded *yielded, struct wrong *wrong);
void dir_place_left(struct directory *directory, struct directory_member *member,
                    const Tram__Hosts__Left *left);
int dir_place_settled(struct directory *directory, struct directory_member *member,
                      const Tram__Hosts__Settled *settled, struct wrong *wrong);
/* Its IDs are placed nowhere any more. */
int dir_place_forget(struct directory *directory, struct dir_host *host);
/* The member goes: what it waits for, what others wait for from it, and its watches. */
void dir_place_gone(struct directory *directory, struct directory_member *member);
int dir_place_enter(struct directory *directory, const Tram__Hosts__Record *record);
int dir_place_each(struct directory *directory,
               int (*each)(void *arg, const Tram__Hosts__Record *record), void *arg);
void dir_place_free_all(struct directory *directory);
