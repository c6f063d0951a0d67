/* SPDX-License-Identifier: MIT
 *
 * Messages by their descriptors, which a server gave: JSON in and out. reflect.cpp has it from
 * libprotobuf; reflect_none.c stands in where that is missing.
 *
 * Descriptors and messages come from others, and are refused if they make no sense. Texts of errors
 * go into `text` of REFLECT_TEXT bytes.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define REFLECT_TEXT 512

struct reflect;

struct reflect_method {
    const char *name;    /* full: "package.Service.Method" */
    const char *service; /* full */
    const char *input, *output;
    const char *comment; /* or "" */
    bool client_streams, server_streams;
};

/* NULL, or why this build can't. */
const char *reflect_missing(void);

/* From a google.protobuf.FileDescriptorSet. 0, -EINVAL, -ENOTSUP. */
int reflect_new(const void *set, size_t size, struct reflect **ret_reflect, char *text);
struct reflect *reflect_free(struct reflect *reflect);

/* All methods of all services, in their order; live as long as `reflect`. */
const struct reflect_method *reflect_methods(const struct reflect *reflect, size_t *ret_count);

/* A message from JSON, and back; free() the results. `type`: its full name. */
int reflect_from_json(struct reflect *reflect, const char *type, const char *json, size_t size,
                      char **ret_data, size_t *ret_size, char *text);
int reflect_to_json(struct reflect *reflect, const char *type, const void *data, size_t size,
                    char **ret_json, size_t *ret_size, char *text);

/* Services and messages in protobuf's language, without what protobuf itself brings. free() it. */
char *reflect_source(const struct reflect *reflect);

#ifdef __cplusplus
}
#endif
