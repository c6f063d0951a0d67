/* SPDX-License-Identifier: MIT
 *
 * The control protocol between a process and its daemon (control.proto, docs/PROTOCOL.md) as a
 * state machine: bytes in, frames out, and frames in, bytes out. Who has the socket moves them.
 *
 * In      while there is something: room, read into it, add; then next until it gives 0
 * Out     add frames; while there are bytes: write them, sent
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/control.pb-c.h"
#include "wire/wrong.h"

#define CONTROL_VERSION 1u
#define CONTROL_MAX (64u << 10)      /* of a frame, its length not counted */
#define CONTROL_HEAD 4u              /* the length */
#define CONTROL_ADDRESSES_MAX 16u    /* of a party */
#define CONTROL_PROGRAM_MAX 63u      /* bytes of a program's name; longer ones are cut */
#define CONTROL_TEXT_MAX 255u
#define CONTROL_SAMPLE_MAX 48u       /* channels, and nodes, of one Sample */
#define CONTROL_HOST_MAX 63u         /* bytes of a host's name */
#define CONTROL_READER_MAX 96u       /* room for the name of a reader's file */

typedef Tram__Control__Frame control_frame;
typedef Tram__Control__Party control_party;

/* An empty message: CONTROL_NEW(Bind, bind). (The generated initialisers cast const away.) */
#define CONTROL_NEW(Kind, kind)                                                                    \
    ({                                                                                             \
        Tram__Control__##Kind control_new_;                                                        \
                                                                                                   \
        tram__control__##kind##__init(&control_new_);                                              \
        control_new_;                                                                              \
    })

/* Which way a frame goes, and so which kinds there may be. */
enum control_way { CONTROL_TO_DAEMON, CONTROL_TO_PROCESS, CONTROL_TO_FILE };

/* ---- in -------------------------------------------------------------------------------------- */

struct control_in {
    uint8_t *bytes;
    size_t start, end, room;
};

/* Where the next bytes go, at least one: *ret_size of them. NULL: no memory. */
void *control_in_room(struct control_in *in, size_t *ret_size);
void control_in_add(struct control_in *in, size_t size);

/* The next frame, unpacked and checked, to be given to control_free(): 1. 0: more bytes are needed.
 * -EBADMSG: nonsense, and what; nothing behind it can be read. -ENOMEM */
int control_in_next(struct control_in *in, enum control_way way, control_frame **ret_frame,
                    struct wrong *wrong);
control_frame *control_free(control_frame *frame);

/* The same for other protocols that are framed like this one: the bytes of the next message, until
 * control_in_took(). */
int control_in_bytes(struct control_in *in, const uint8_t **ret_bytes, size_t *ret_length,
                     struct wrong *wrong);
void control_in_took(struct control_in *in, size_t length);

/* Forget what is there, for a new connection; gives the memory back. */
void control_in_reset(struct control_in *in);

/* ---- out ------------------------------------------------------------------------------------- */

struct control_out {
    uint8_t *bytes;
    size_t start, end, room;
};

/* -ENOMEM; -EMSGSIZE: larger than a frame may be. */
int control_out_add(struct control_out *out, const control_frame *frame);
int control_out_message(struct control_out *out, const ProtobufCMessage *message);

static inline size_t control_out_size(const struct control_out *out) {
    return out->end - out->start;
}
static inline const void *control_out_bytes(const struct control_out *out) {
    return out->bytes + out->start;
}
void control_out_sent(struct control_out *out, size_t size);
void control_out_reset(struct control_out *out);

/* Printable, and not longer than that. */
bool control_text_good(const char *text, size_t max);

/* Is it one? `whole`: with its node. 0 or -EBADMSG. */
int control_party_check(const control_party *party, bool whole, struct wrong *wrong);
/* Texts that are shown. */
int control_view_check(const Tram__Control__View *view, struct wrong *wrong);
int control_sample_check(const Tram__Control__Sample *sample, struct wrong *wrong);

/* Is a frame what may come this way? Done by control_in_next(). 0 or -EBADMSG. */
int control_check(const control_frame *frame, enum control_way way, struct wrong *wrong);
