/* SPDX-License-Identifier: MIT
 *
 * Bytes that are taken for a message of protobuf, as a server or a stub takes them: limits hold,
 * and what was taken says the same when it is packed and read again, the other way.
 */
#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "kinds.pb-c.h"
#include "service/typed.h"

static int depth_of(const Tram__Test__Tree *tree) {
    int depth = 0;

    for (size_t i = 0; i < tree->n_children; i++) {
        int inner = depth_of(tree->children[i]);

        depth = inner > depth ? inner : depth;
    }
    return depth + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const ProtobufCMessageDescriptor *type = &tram__test__tree__descriptor;
    struct tram_protobuf_options options;
    struct tram_protobuf_options given = TRAM_PROTOBUF_OPTIONS_INIT;
    ProtobufCMessage *message, *again;
    struct tram_view view = {0};
    struct arena arena;
    uint8_t *packed;
    size_t length;
    int rc;

    if (size < 3)
        return 0;
    given.depth_max = data[0] % 32 + 1;
    given.memory_max = (size_t) data[1] * 256 + 1;
    given.size_max = (size_t) data[2] * 16 + 1;
    REQUIRE(typed_options(&options, &given) == 0);
    view.data = data + 3;
    view.size = size - 3;
    arena_init(&arena);
    rc = typed_decode(&arena, type, &view, &options, typed_may_be_deep(type, options.depth_max),
                      &message);
    REQUIRE(rc == 0 || rc == -EBADMSG || rc == -EMSGSIZE);
    REQUIRE((rc == -EMSGSIZE) == (view.size > options.size_max));
    if (rc == 0) {
        REQUIRE(depth_of((Tram__Test__Tree *) message) <= (int) options.depth_max);
        REQUIRE(arena.total <= options.memory_max + view.size + 64);
        length = protobuf_c_message_get_packed_size(message);
        packed = malloc(length + 1);
        REQUIRE(packed && protobuf_c_message_pack(message, packed) == length);
        view = (struct tram_view){.data = packed, .size = length};
        given.size_max = given.memory_max = 0;
        REQUIRE(tram_protobuf_unpack(type, &view, &given, &again) == 0);
        REQUIRE(protobuf_c_message_get_packed_size(again) == length);
        protobuf_c_message_free_unpacked(again, NULL);
        free(packed);
    }
    arena_clear(&arena);
    arena_deinit(&arena);
    return 0;
}
