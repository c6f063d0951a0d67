/* SPDX-License-Identifier: MIT
 *
 * How a connection between two daemons begins; normative text in docs/PROTOCOL.md, "Links".
 *
 * Both sides say HELLO as soon as the transport is there. Then each knows the other; the host whose
 * name is the greater one (bytes compared) *leads*: it alone decides which connection of the pair
 * is in use, and says USE on it. So two connections that were dialled at once, or a second one that
 * races a silent first, can't be seen differently at the two ends:
 *
 *   - the leader takes the connection on which the follower's HELLO is the youngest: (life, try)
 *     only rise;
 *   - the follower says nothing behind its HELLO until USE, and takes the USE whose number is the
 *     highest of this life of the leader.
 *
 *     struct greet greet;                       one for each transport, dialled or accepted
 *     greet_init(&greet, &identity, try, now);
 *     loop  greet_piece, write, greet_wrote; greet_room, read, greet_came
 *           1: greet.peer is known: find the link of that host (compare the name with the peer's
 *              certificate), and ask link_meet(). LINK_MEET_WAIT: go on; greet_came() gives 1 once
 *              more, when USE is there
 *           < 0: greet.wrong says why; write what greet_piece() still has (BYE), and close
 *           greet_due() is over: close; nobody there speaks
 *
 * It reads not a byte too much: once the link has taken the connection, it reads on itself.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/wrong.h"

#define LINK_VERSION_MIN 1u /* of the protocol: the oldest and the newest that is spoken here */
#define LINK_VERSION     1u

#define LINK_NAME_SIZE 64u /* of a host or a cluster, terminator included: [A-Za-z0-9._-] */

/* Bytes to be written, like struct iovec. */
struct link_piece {
    const void *base;
    size_t size;
};

/* Room to be read into, likewise. */
struct link_room {
    void *base;
    size_t size;
};

/* Who a host is, as HELLO says it. */
struct link_identity {
    char host[LINK_NAME_SIZE];
    char cluster[LINK_NAME_SIZE];
    uint32_t number;      /* in the cluster, 1 to 4095; 0: has none yet */
    uint8_t instance[16]; /* of the bus directory: another one has another memory */
    uint64_t life;        /* rises with each daemon on this instance */
    uint64_t features;    /* what may be used if both have it; LINK_FEATURE_… */
};

#define LINK_FEATURE_EVENTS UINT64_C(1) /* events cross once, in CONTROL frames */
#define LINK_FEATURES       LINK_FEATURE_EVENTS

struct link_peer {
    struct link_identity identity;
    uint16_t version;     /* that both speak */
    uint64_t features;    /* that both have */
    uint64_t try;         /* of the peer, for this connection */
};

#define GREET_TIMEOUT_NS UINT64_C(3000000000)
#define GREET_SIZE 512u /* of a frame before the link begins */

struct greet {
    struct link_peer peer;    /* known once greet_came() gave 1 */
    bool leader;              /* … we are */
    bool use;                 /* USE was said, by whom leads: the connection may be taken */
    uint64_t use_number;
    struct wrong wrong;
    /* Its own. */
    struct link_identity self;
    uint64_t due;
    int step;
    size_t in, out, out_end;
    uint8_t in_bytes[GREET_SIZE], out_bytes[GREET_SIZE];
};

/* `try` rises with each connection of this life, whoever dialled it. */
void greet_init(struct greet *greet, const struct link_identity *self, uint64_t try, uint64_t now);

/* When to give up, unless the link has taken it. */
static inline uint64_t greet_due(const struct greet *greet) {
    return greet->due;
}

/* What is to be written: 0 or 1 pieces. */
int greet_piece(const struct greet *greet, struct link_piece *ret_piece);
void greet_wrote(struct greet *greet, size_t size);

/* Where the next bytes go: at most ret_room->size. 0: none now (ask link_meet() first). */
int greet_room(struct greet *greet, struct link_room *ret_room);

/* So many bytes are there. 1: ask link_meet(); 0: go on; -EBADMSG: nonsense; -EPROTO: another
 * version; -EREMOTE: another cluster; -ELOOP: ourselves; -ECONNREFUSED: the peer said BYE, wrong
 * has why. */
int greet_came(struct greet *greet, size_t size);

/* We don't want it, and say why: BYE is to be written, then close. */
void greet_refuse(struct greet *greet, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* For link.c: say USE. */
void greet_say_use(struct greet *greet, uint64_t number);
