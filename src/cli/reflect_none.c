/* SPDX-License-Identifier: MIT
 *
 * Where there is no libprotobuf, or no C++ compiler for it: payloads stay bytes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/reflect.h"

static const char missing[] = "this tram was built without libprotobuf";

const char *reflect_missing(void) {
    return missing;
}

int reflect_new(const void *set, size_t size, struct reflect **ret_reflect, char *text) {
    (void) set;
    (void) size;
    (void) ret_reflect;
    (void) snprintf(text, REFLECT_TEXT, "%s", missing);
    return -ENOTSUP;
}

struct reflect *reflect_free(struct reflect *reflect) {
    return reflect;
}

const struct reflect_method *reflect_methods(const struct reflect *reflect, size_t *ret_count) {
    (void) reflect;
    *ret_count = 0;
    return NULL;
}

int reflect_from_json(struct reflect *reflect, const char *type, const char *json, size_t size,
                      char **ret_data, size_t *ret_size, char *text) {
    (void) type;
    (void) json;
    (void) ret_data;
    (void) ret_size;
    return reflect_new(NULL, size, &reflect, text);
}

int reflect_to_json(struct reflect *reflect, const char *type, const void *data, size_t size,
                    char **ret_json, size_t *ret_size, char *text) {
    (void) type;
    (void) ret_json;
    (void) ret_size;
    return reflect_new(data, size, &reflect, text);
}

char *reflect_source(const struct reflect *reflect) {
    (void) reflect;
    return strdup("");
}
