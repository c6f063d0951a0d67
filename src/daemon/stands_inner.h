/* SPDX-License-Identifier: MIT
 *
 * Inside the stand-ins: stands.c (which nodes have one), stands_link.c (what links ask of them).
 */
#pragma once

#include "daemon/stands.h"

#define STANDS_BUCKETS 4096u

/* A ring from a node here to one that is placed elsewhere. */
struct origin {
    struct origin *next;
    struct standin *standin;   /* of the receiver */
    struct stand_in *in;
    struct link_out *out;      /* NULL: no link carries it */
    struct host *host;         /* … the one that does */
    tram_id from;
    enum link_answer answer;   /* the last one that was not LINK_TAKEN */
    bool copy;                 /* a mirror that the receiver left here (copies.c) */
    uint64_t lost;             /* of a copy: LINK_LOST, or 0, as was said last */
};

/* A ring from a node that is placed elsewhere to one here, as a link has it. It is kept for a while
 * when the link is cut: as a rule the next connection opens the same ones, and a thousand that are
 * closed and opened are a tenth of a second. */
struct mirror {
    struct mirror *next, **link;
    struct standin *standin;   /* of the sender */
    struct host *host;
    struct link_in *in;        /* NULL: kept */
    struct stand_out *out;     /* NULL: waits */
    struct link_name name;
    bool poll;                 /* look by the clock */
    bool removed;              /* its receiver was: the channel is to be refused */
    bool copy;                 /* of a copy on the host that the receiver came from */
    uint64_t consumed;         /* as of the last look */
};

struct standin {
    struct standin *next;      /* of the bucket */
    struct standin *all_next;
    struct hosts *hosts;
    tram_id id;
    uint32_t host;             /* where it is placed; 0: not known, or here */
    uint64_t epoch;            /* of an ephemeral one: round of its ID; 0: not known */
    struct stand *stand;
    tram_io *io;
    int fd;                    /* that io watches */
    int64_t due;
    int64_t retry;             /* take it then; 0: needn't */
    int64_t ask;               /* ask the directory once more where it is, then; 0: needn't */
    bool watched;              /* the directory was asked where it is */
    bool known;                /* … and answered, if only that it is nowhere */
    bool scanned;              /* all channels were told since it was taken */
    bool ended;                /* of some origin all was consumed whose sender went elsewhere */
    bool passing;              /* another host named it, and nothing else did */
    bool asked, over, lingers; /* strays.c: its host tells of its life; it ended; messages wait; */
    bool stale;                /* … what is here is of another node of that ID */
    struct task task;
    struct origin *origins;
    struct mirror *mirrors;
    struct mirror *following;  /* of a walk: what a link finds out may free any of them */
};

struct standin *standin_find(struct hosts *hosts, tram_id id);
/* -ENOMEM */
int standin_get(struct hosts *hosts, tram_id id, struct standin **ret_standin);
/* Hear what its rings say, soon. */
void standin_pump(struct standin *standin);
/* Lets go of it; NULL is fine; returns NULL. */
struct standin *standin_free(struct standin *standin);
/* Take the custody, and open its channels. */
int standin_take(struct standin *standin, struct tram_error *error);

/* The link of that host carries the ring from now on. */
void origin_open(struct origin *origin);
void origin_close(struct origin *origin, enum link_end end);
/* Is its sender placed elsewhere, and all consumed that it had sent here? */
bool origin_is_over(const struct origin *origin);
void mirror_free(struct mirror *mirror);
/* Those of that host (NULL: of any) that are kept. */
void mirrors_drop(struct standin *standin, const struct host *host);
/* A host named all origins that it has, a second ago: what else lies here has none any more. */
void mirrors_sweep(struct host *host);
void mirrors_sweep_soon(struct host *host);
/* One has something to do then. */
void standins_wake(struct hosts *hosts, int64_t due);
/* One is perhaps not needed any more. */
void standins_passed(struct hosts *hosts);
struct mirror *mirror_find(struct standin *standin, tram_id to);
/* Its origin is gone: if it is drained, so is it. -ENOTEMPTY. */
int mirror_remove(struct standin *standin, tram_id to);
/* Its receiver is not here any more: the link is told, and it is freed. */
void mirrors_away(struct standin *standin, tram_id to);
/* copies.c: a host offers a copy, or says so: may it; its origin's host has brought all that is in
 * it; it is not needed any more; something has to come before that channel; an origin here that is
 * a copy is not needed any more. */
bool copies_offer(struct host *host, const struct link_name *name, const struct link_offer *offer,
                  enum link_answer *ret_answer);
/* What is said of the origin of a copy here (`from_epoch` of its offer). */
uint64_t copies_origin(const struct origin *origin);
/* … and is noted of where a mirror comes from: zeros if that is not known. */
void copies_came_from(const struct mirror *mirror, const struct link_offer *offer,
                      uint8_t ret_origin[STAND_ORIGIN]);
bool copies_have(const struct mirror *mirror, const struct link_offer *offer);
void copies_over(const struct mirror *mirror);
bool copies_first(struct host *host, const struct link_name *name, const struct link_offer *offer);
void copies_end(struct origin *origin);
/* torn.c: a connection ended while more was to come of a channel; it was opened again; it never
 * will be; the host is connected, as that instance. */
void torn_note(struct host *host, const struct link_name *name);
void torn_forget(struct host *host, const struct link_name *name);
void torn_say(struct host *host, const struct link_name *name);
void torn_up(struct host *host, const uint8_t *instance);
/* A mirror that waits may be tried again; one that is polled, too. When to look next. */
int64_t mirrors_time(struct standin *standin, int64_t now);
