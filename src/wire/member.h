/* SPDX-License-Identifier: MIT
 *
 * A host's side of the directory (wire/directory.h) as a state machine. It keeps what has to be
 * said again after a new connection: claims that were not answered, what is watched. What is placed
 * here is the caller's, who is asked for it when the member joins.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/hosts.h"

struct member;

struct member_who {
    const char *cluster, *host, *program;
    uint8_t instance[HOSTS_INSTANCE];
    uint32_t number;              /* that it had; 0: none */
    char *const *addresses;       /* of its link; they have to stay */
    size_t count;
};

struct member_calls {
    /* Queue a frame for the directory. */
    void (*send)(void *arg, const hosts_frame *frame);
    /* What is placed here, one after the other: the next ID behind `after` (0: the first) with its
     * epoch. False: no more. */
    bool (*held)(void *arg, uint32_t after, uint32_t *ret_id, uint64_t *ret_epoch);
    /* It joined, and has this number. Members that are there are told next, then on_told. */
    void (*on_joined)(void *arg, uint32_t number);
    void (*on_host)(void *arg, const hosts_host *host, bool gone);
    void (*on_told)(void *arg);
    /* A claim ended. `from`: whose knowledge of the node is to be asked for, 0: nobody's. */
    void (*on_granted)(void *arg, uint64_t cookie, uint32_t id, uint64_t epoch, uint32_t from,
                       bool taken);
    void (*on_refused)(void *arg, uint64_t cookie, uint32_t id, int error, uint32_t host,
                       const char *text);
    /* Where a node is placed: of those watched, and of one that was here and is elsewhere now. */
    void (*on_placed)(void *arg, const hosts_placed *placed);
    /* Give it up for host `to`: answered by member_yielded(), perhaps at once. */
    void (*on_yield)(void *arg, uint32_t id, uint64_t epoch, uint32_t to);
    void (*on_done)(void *arg, uint64_t cookie, int error, const char *text);
};

int member_new(const struct member_who *who, const struct member_calls *calls, void *arg,
               struct member **ret_member);
struct member *member_free(struct member *member);

void member_connected(struct member *member, int64_t now);
/* Negative: the connection has to end, and why. */
int member_take(struct member *member, int64_t now, const hosts_frame *frame, struct wrong *wrong);
void member_cut(struct member *member);
/* Beats. When it is to be called next; -ETIMEDOUT: the directory is silent, cut the connection. */
int64_t member_time(struct member *member, int64_t now);

/* Has it joined, in this connection? */
bool member_joined(const struct member *member);

/* -EEXIST: this ID is claimed already. -ENOMEM. Without a connection it waits for one. */
int member_claim(struct member *member, uint64_t cookie, uint32_t id, bool take);
/* Nobody waits for it any more. */
void member_claim_end(struct member *member, uint64_t cookie);
int member_watch(struct member *member, uint32_t id);
void member_unwatch(struct member *member, uint32_t id);
/* What is lost if there is no connection: said again by holding it, or not, at the next join. */
void member_release(struct member *member, uint32_t id, uint64_t epoch);
void member_settled(struct member *member, uint32_t id, uint64_t epoch);
/* `knew`: it was placed here, in the epoch before, and nothing of it was missing here. `to`: for
 * these nodes (0: maybe for any) what it sent waits here, and goes before what it sends where it is
 * next, until member_left() says otherwise. HOSTS_LEFT_EACH at most. */
struct member_left { const uint32_t *to; size_t count; };
void member_yielded(struct member *member, uint32_t id, uint64_t epoch, int error, bool knew,
                    struct member_left left, const char *text);
void member_left(struct member *member, uint32_t id, struct member_left left);
/* -EAGAIN: there is no directory. */
int member_forget(struct member *member, uint64_t cookie, const char *host);
