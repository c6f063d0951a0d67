/* SPDX-License-Identifier: MIT */
#include "wire/wrong.h"

#include <stdarg.h>
#include <stdio.h>

int wrong_set(struct wrong *wrong, int code, const char *format, ...) {
    va_list arguments;

    if (!wrong)
        return code;
    va_start(arguments, format);
    (void) vsnprintf(wrong->text, sizeof(wrong->text), format, arguments);
    va_end(arguments);
    return code;
}
