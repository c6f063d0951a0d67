/* SPDX-License-Identifier: MIT
 *
 * What hosts say to each other (hosts.proto, docs/PROTOCOL.md "Directory"): frames unpacked and
 * checked. The bytes around them are those of control.h on a connection to the directory; in a
 * CONTROL frame of a link there are none.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/control.h"
#include "wire/hosts.pb-c.h"
#include "wire/wrong.h"

#define HOSTS_VERSION 1u
#define HOSTS_MAX 4095u            /* numbers are from 1 to that */
#define HOSTS_LEFT_MAX 256u        /* hosts where what a node sent waits, and for whom */
#define HOSTS_LEFT_EACH 64u        /* … of one host; if it is for more: maybe for any */
#define HOSTS_NAME_MAX 63u         /* bytes of a host's or a cluster's name */
#define HOSTS_INSTANCE 16u
#define HOSTS_ADDRESSES_MAX 16u
#define HOSTS_ADDRESS_MAX 63u      /* bytes of 1.2.3.4:61001 */
#define HOSTS_EPOCH_MAX (UINT64_C(1) << 48) /* that a host may say of a node: it goes on from it */
#define HOSTS_HOLD_MAX 4096u       /* IDs of one Hold */
#define HOSTS_NAMES_MAX 256u       /* of one Names */
#define HOSTS_CHANNELS_MAX 1024u   /* of one Given */
#define HOSTS_HANDS_MAX 512u       /* of one Channel */
#define HOSTS_WISHES_MAX 256u      /* of one Relay */
#define HOSTS_VIEW_MAX 4096u       /* bytes of one View */
#define HOSTS_SAMPLE_MAX 32768u    /* of one Sample */
#define HOSTS_PORT_DIRECTORY 61000u
#define HOSTS_PORT_LINK 61001u

typedef Tram__Hosts__Frame hosts_frame;
typedef Tram__Hosts__Host hosts_host;
typedef Tram__Hosts__Placed hosts_placed;

/* An empty message: HOSTS_NEW(Join, join). */
#define HOSTS_NEW(Kind, kind)                                                                      \
    ({                                                                                             \
        Tram__Hosts__##Kind hosts_new_;                                                            \
                                                                                                   \
        tram__hosts__##kind##__init(&hosts_new_);                                                  \
        hosts_new_;                                                                                \
    })

/* A frame of that kind around a message. */
#define HOSTS_FRAME(KIND, kind, message)                                                           \
    ({                                                                                             \
        hosts_frame hosts_frame_ = HOSTS_NEW(Frame, frame);                                        \
                                                                                                   \
        hosts_frame_.kind_case = TRAM__HOSTS__FRAME__KIND_##KIND;                                  \
        hosts_frame_.kind = (message);                                                             \
        hosts_frame_;                                                                              \
    })

enum hosts_way { HOSTS_TO_DIRECTORY, HOSTS_TO_MEMBER, HOSTS_TO_PEER, HOSTS_TO_FILE };

/* 1 to 63 of [A-Za-z0-9._-], not beginning with a dot. */
bool hosts_name_valid(const char *name);

/* The host's number in the ID of an ephemeral node, and an ID of it (`low`: 16 bits). */
static inline uint32_t hosts_number_of(uint32_t id) {
    return id >> 28 == 0xf ? id >> 16 & 0xfff : 0;
}

/* Unpack and check: *ret_frame is for hosts_free(). -EBADMSG, and why. */
int hosts_unpack(const void *bytes, size_t size, enum hosts_way way, hosts_frame **ret_frame,
                 struct wrong *wrong);
/* The next one of a connection: 1; 0: more bytes are needed; -EBADMSG, and why. */
int hosts_in_next(struct control_in *in, enum hosts_way way, hosts_frame **ret_frame,
                  struct wrong *wrong);
hosts_frame *hosts_free(hosts_frame *frame);

/* -ENOMEM; -EMSGSIZE */
int hosts_out_add(struct control_out *out, const hosts_frame *frame);

int hosts_check(const hosts_frame *frame, enum hosts_way way, struct wrong *wrong);
