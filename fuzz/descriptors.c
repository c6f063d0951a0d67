/* SPDX-License-Identifier: MIT
 *
 * A descriptor set that a server gave, and what it answered, as the tool takes them: the first two
 * bytes are the length of the set, then it, then a message. What is refused has a text; a message
 * that became JSON becomes one again.
 */
#include "cli/reflect.h"

#include <errno.h>
#include <string.h>

#include "fuzz.h"

static void try_message(struct reflect *reflect, const char *type, const uint8_t *data,
                        size_t size) {
    char text[REFLECT_TEXT] = "", *json, *packed;
    size_t length, again;
    int rc = reflect_to_json(reflect, type, data, size, &json, &length, text);

    REQUIRE(rc == 0 || text[0]);
    if (rc < 0)
        return;
    REQUIRE(strlen(json) <= length);
    rc = reflect_from_json(reflect, type, json, length, &packed, &again, text);
    REQUIRE(rc == 0 || text[0]);
    if (rc == 0)
        free(packed);
    free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct reflect_method *methods;
    char text[REFLECT_TEXT] = "", *source;
    struct reflect *reflect;
    size_t set, count;

    if (size < 2)
        return 0;
    set = (size_t) data[0] | (size_t) data[1] << 8;
    data += 2;
    size -= 2;
    set = set < size ? set : size;
    if (reflect_new(data, set, &reflect, text) < 0) {
        REQUIRE(text[0]);
        return 0;
    }
    source = reflect_source(reflect);
    REQUIRE(source);
    free(source);
    methods = reflect_methods(reflect, &count);
    for (size_t i = 0; i < count && i < 8; i++) {
        REQUIRE(strlen(methods[i].name) > strlen(methods[i].service));
        try_message(reflect, methods[i].output, data + set, size - set);
        try_message(reflect, methods[i].input, data + set, size - set);
    }
    (void) reflect_free(reflect);
    return 0;
}
