/* SPDX-License-Identifier: MIT
 *
 * Typed messages (tram/protobuf.h): decoding within limits, methods of a server, stubs of a client,
 * and where the three hang in what they belong to.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/service.h"
#include "tram/protobuf.h"

#define PACKED_SMALL 2048u /* up to here a message is packed on the stack and copied to the ring */

/* ---- memory of what is decoded (typed_decode.c) ---------------------------------------------- */

/* One block that is used again for each message, and further ones for what it is too small for. */
struct arena {
    char *block;
    size_t room, used;
    size_t total, max;        /* of this message */
    struct arena_chunk *chunks;
};

void arena_init(struct arena *arena);
void arena_deinit(struct arena *arena);
/* Forget the message. */
void arena_clear(struct arena *arena);

/* The options of one side, with its defaults. -EINVAL. */
int typed_options(struct tram_protobuf_options *out, const struct tram_protobuf_options *options);

/* Can messages of this type be deeper than `depth`, as far as the types say? */
bool typed_may_be_deep(const ProtobufCMessageDescriptor *descriptor, uint32_t depth);

/* Is what these bytes say not deeper than `depth`? -EBADMSG: it is, or makes no sense. */
int typed_check_depth(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data,
                      size_t size, uint32_t depth);

/* Decode `view` into the arena, which is clear. `deep`: see typed_may_be_deep(). 0, -EBADMSG,
 * -EMSGSIZE, -ENOMEM. */
int typed_decode(struct arena *arena, const ProtobufCMessageDescriptor *descriptor,
                 const struct tram_view *view, const struct tram_protobuf_options *options,
                 bool deep, ProtobufCMessage **ret_message);

/* The code of method `index`. */
uint32_t typed_number(const ProtobufCServiceDescriptor *descriptor, unsigned index);

/* ---- servers (typed_server.c) ---------------------------------------------------------------- */

/* True: it was a method of a service that is bound here. */
bool typed_request(tram_server *server, tram_request **request);
/* Room again: answers that waited for it. */
void typed_space(tram_server *server);
void typed_server_gone(tram_server *server);
/* The worker ends. */
void typed_forget(struct service *service);

/* ---- clients (typed_stub.c) ------------------------------------------------------------------ */

void typed_client_gone(tram_client *client);
