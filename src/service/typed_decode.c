/* SPDX-License-Identifier: MIT
 *
 * From bytes to messages, as a peer may have made them. protobuf-c goes over the bytes twice,
 * trusts in the second turn what it counted in the first, recurses as deep as they say and
 * allocates what they ask for. So it is given a private copy, of bounded depth, and memory with an
 * end.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/typed.h"
#include "wire/frame.h"

#define SIZE_DEFAULT   ((size_t) 16 << 20)
#define MEMORY_DEFAULT ((size_t) 64 << 20)
#define DEPTH_DEFAULT  100u
#define DEPTH_MAX      1000u
#define BLOCK_FIRST    1024u
#define BLOCK_KEPT     65536u /* an arena that once held more gives the rest back */
#define TYPES_MAX      64u    /* more are not looked at: their messages are checked */

/* ---- memory ---------------------------------------------------------------------------------- */

struct arena_chunk {
    struct arena_chunk *next;
    _Alignas(16) char data[];
};

void arena_init(struct arena *arena) {
    *arena = (struct arena){.max = SIZE_MAX};
}

static void drop_chunks(struct arena *arena) {
    struct arena_chunk *chunk;

    while ((chunk = arena->chunks)) {
        arena->chunks = chunk->next;
        free(chunk);
    }
}

void arena_deinit(struct arena *arena) {
    drop_chunks(arena);
    free(arena->block);
    arena_init(arena);
}

void arena_clear(struct arena *arena) {
    size_t room = arena->room;

    if (arena->chunks) {
        drop_chunks(arena);
        while (room < arena->total && room < BLOCK_KEPT)
            room *= 2;
        if (room > arena->room) { /* so that the next one of its kind fits */
            free(arena->block);
            arena->block = malloc(room);
            arena->room = arena->block ? room : 0;
        }
    }
    arena->used = arena->total = 0;
}

static void *arena_alloc(void *allocator_data, size_t size) {
    struct arena *arena = allocator_data;
    struct arena_chunk *chunk;
    void *memory;

    if (size > arena->max - arena->total || size > SIZE_MAX - 32)
        return NULL;
    size = (size + 15) & ~(size_t) 15;
    arena->total += size < arena->max - arena->total ? size : arena->max - arena->total;
    if (!arena->block && (arena->block = malloc(BLOCK_FIRST)))
        arena->room = BLOCK_FIRST;
    if (size <= arena->room - arena->used) {
        memory = arena->block + arena->used;
        arena->used += size;
        return memory;
    }
    chunk = malloc(sizeof(*chunk) + size);
    if (!chunk)
        return NULL;
    chunk->next = arena->chunks;
    arena->chunks = chunk;
    return chunk->data;
}

static void arena_free(void *allocator_data, void *pointer) {
    (void) allocator_data; /* all goes at once */
    (void) pointer;
}

/* The same bound for messages of the application, whose parts it frees itself. */
static void *bounded_alloc(void *allocator_data, size_t size) {
    size_t *left = allocator_data;

    if (size > *left)
        return NULL;
    *left -= size;
    return malloc(size);
}

static void bounded_free(void *allocator_data, void *pointer) {
    (void) allocator_data; /* what was given back is not counted: it is a bound, not an account */
    free(pointer);
}

/* ---- options --------------------------------------------------------------------------------- */

int typed_options(struct tram_protobuf_options *out, const struct tram_protobuf_options *options) {
    *out = (struct tram_protobuf_options) TRAM_PROTOBUF_OPTIONS_INIT;
    if (options) {
        if (options->struct_size < sizeof(*options) || options->flags & ~TRAM_PROTOBUF_IN_PLACE ||
            options->depth_max > DEPTH_MAX || options->timeout_ns < TRAM_FOREVER)
            return -EINVAL;
        *out = *options;
    }
    if (out->size_max == 0)
        out->size_max = SIZE_DEFAULT;
    if (out->memory_max == 0)
        out->memory_max = MEMORY_DEFAULT;
    if (out->depth_max == 0)
        out->depth_max = DEPTH_DEFAULT;
    return 0;
}

/* ---- depth ----------------------------------------------------------------------------------- */

static const ProtobufCMessageDescriptor *inner(const ProtobufCFieldDescriptor *field) {
    return field->type == PROTOBUF_C_TYPE_MESSAGE ? field->descriptor : NULL;
}

/* Types that do not lead back to themselves can't be deeper than there are types. So it is enough
 * to look for a way back, and to count; without recursion, for the types are the application's, but
 * may be many. */
bool typed_may_be_deep(const ProtobufCMessageDescriptor *descriptor, uint32_t depth) {
    const ProtobufCMessageDescriptor *types[TYPES_MAX];
    unsigned count = 1, heights[TYPES_MAX] = {0};
    bool changed = true;

    types[0] = descriptor;
    for (unsigned i = 0; i < count; i++) {
        for (unsigned f = 0; f < types[i]->n_fields; f++) {
            const ProtobufCMessageDescriptor *type = inner(&types[i]->fields[f]);
            unsigned at = 0;

            while (type && at < count && types[at] != type)
                at++;
            if (!type || at < count)
                continue;
            if (count == TYPES_MAX)
                return true;
            types[count++] = type;
        }
    }
    if (count > depth)
        return true;
    /* Heights settle in as many rounds as there are types, unless there is a way back. */
    for (unsigned round = 0; changed && round <= count; round++) {
        changed = false;
        for (unsigned i = 0; i < count; i++) {
            for (unsigned f = 0; f < types[i]->n_fields; f++) {
                const ProtobufCMessageDescriptor *type = inner(&types[i]->fields[f]);
                unsigned at = 0;

                while (type && types[at] != type)
                    at++;
                if (!type || heights[i] > heights[at])
                    continue;
                heights[i] = heights[at] + 1;
                changed = true;
            }
        }
    }
    return changed;
}

/* A varint of up to ten bytes. False: it has no end. */
static bool varint(const uint8_t **at, const uint8_t *end, uint64_t *ret_value) {
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 70 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;

        if (shift < 64)
            value |= (uint64_t) (byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret_value = value;
            return true;
        }
    }
    return false;
}

int typed_check_depth(const ProtobufCMessageDescriptor *descriptor, const uint8_t *data,
                      size_t size, uint32_t depth) {
    const uint8_t *at = data, *end = data + size;

    if (depth == 0)
        return -EBADMSG;
    while (at < end) {
        const ProtobufCFieldDescriptor *field;
        uint64_t tag, length = 0;

        if (!varint(&at, end, &tag) || tag >> 3 == 0 || tag > UINT32_MAX)
            return -EBADMSG;
        switch (tag & 7) {
        case 0:
            if (!varint(&at, end, &length))
                return -EBADMSG;
            continue;
        case 1:
            length = 8;
            break;
        case 2:
            if (!varint(&at, end, &length))
                return -EBADMSG;
            break;
        case 5:
            length = 4;
            break;
        default: /* groups, which nobody makes */
            return -EBADMSG;
        }
        if (length > (uint64_t) (end - at))
            return -EBADMSG;
        field = (tag & 7) == 2 ? protobuf_c_message_descriptor_get_field(descriptor,
                                                                         (unsigned) (tag >> 3))
                               : NULL;
        if (field && inner(field) &&
            typed_check_depth(inner(field), at, (size_t) length, depth - 1) < 0)
            return -EBADMSG;
        at += length;
    }
    return 0;
}

/* ---- decoding -------------------------------------------------------------------------------- */

static int decode(ProtobufCAllocator *allocator, const ProtobufCMessageDescriptor *descriptor,
                  const uint8_t *data, size_t size, const struct tram_protobuf_options *options,
                  bool deep, ProtobufCMessage **ret_message) {
    ProtobufCMessage *message;

    if (deep && typed_check_depth(descriptor, data, size, options->depth_max) < 0)
        return -EBADMSG;
    message = protobuf_c_message_unpack(descriptor, allocator, size, data);
    if (!message)
        return -EBADMSG;
    *ret_message = message;
    return 0;
}

int typed_decode(struct arena *arena, const ProtobufCMessageDescriptor *descriptor,
                 const struct tram_view *view, const struct tram_protobuf_options *options,
                 bool deep, ProtobufCMessage **ret_message) {
    ProtobufCAllocator allocator = {arena_alloc, arena_free, arena};
    const uint8_t *data = view->data;
    uint8_t *copy;
    int rc;

    if (view->size > options->size_max)
        return -EMSGSIZE;
    arena->max = SIZE_MAX;
    if (!(options->flags & TRAM_PROTOBUF_IN_PLACE) && view->size > 0) {
        copy = arena_alloc(arena, view->size);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, data, view->size);
        data = copy;
    }
    arena->max = options->memory_max < SIZE_MAX - arena->total ? arena->total + options->memory_max
                                                               : SIZE_MAX;
    rc = decode(&allocator, descriptor, data, view->size, options, deep, ret_message);
    arena->max = SIZE_MAX;
    return rc;
}

int tram_protobuf_unpack(const ProtobufCMessageDescriptor *descriptor, const struct tram_view *view,
                         const struct tram_protobuf_options *options,
                         ProtobufCMessage **ret_message) {
    struct tram_protobuf_options given;
    ProtobufCAllocator allocator = {bounded_alloc, bounded_free, &given.memory_max};
    const uint8_t *data;
    uint8_t *copy = NULL;
    int rc;

    if (!descriptor || !view || !ret_message || (!view->data && view->size > 0) ||
        typed_options(&given, options) < 0)
        return -EINVAL;
    if (view->size > given.size_max)
        return -EMSGSIZE;
    data = view->data;
    if (!(given.flags & TRAM_PROTOBUF_IN_PLACE) && view->size > 0) {
        copy = malloc(view->size);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, data, view->size);
        data = copy;
    }
    rc = decode(&allocator, descriptor, data, view->size, &given, true, ret_message);
    free(copy);
    return rc;
}

/* ---- numbers --------------------------------------------------------------------------------- */

uint32_t tram_protobuf_number(const char *name) {
    return name ? frame_port(name, strlen(name)) : 0;
}

uint32_t typed_number(const ProtobufCServiceDescriptor *descriptor, unsigned index) {
    char name[512];
    size_t service = strlen(descriptor->name), method = strlen(descriptor->methods[index].name);

    if (service + 1 + method > sizeof(name))
        return 0; /* and so nobody can have it */
    memcpy(name, descriptor->name, service);
    name[service] = '.';
    memcpy(name + service + 1, descriptor->methods[index].name, method);
    return frame_port(name, service + 1 + method);
}
