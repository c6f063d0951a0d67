/* SPDX-License-Identifier: MIT */
#include "node/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "node/node.h"

int error_set(struct tram_error *error, int code, const char *format, ...) {
    va_list arguments;

    *error = (struct tram_error){.code = code};
    va_start(arguments, format);
    (void) vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    return code;
}

int error_channel(struct tram_error *error, int code, tram_id from, tram_id to, const char *format,
                  ...) {
    va_list arguments;

    *error = (struct tram_error){.code = code, .from = from, .to = to};
    va_start(arguments, format);
    (void) vsnprintf(error->text, sizeof(error->text), format, arguments);
    va_end(arguments);
    return code;
}

struct tram_error *error_of_open(void) {
    static _Thread_local struct tram_error error = {.text = "no error"};

    return &error;
}

const struct tram_error *tram_last_error(const tram_node *node) {
    return node ? &node->error : error_of_open();
}
