/* SPDX-License-Identifier: MIT
 *
 * The trace id of what this thread is handling. A process that never saw one pays nothing for it.
 */
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "service/service.h"

bool trace_used;
static _Thread_local uint8_t current[16];

static bool is_set(const uint8_t trace[16]) {
    static const uint8_t none[16];

    return memcmp(trace, none, sizeof(none)) != 0;
}

void trace_begin(const uint8_t *trace) {
    if (trace)
        tram_trace_set(trace);
    else
        memset(current, 0, sizeof(current));
}

const uint8_t *trace_current(void) {
    if (!__atomic_load_n(&trace_used, __ATOMIC_RELAXED) || !is_set(current))
        return NULL;
    return current;
}

const uint8_t *tram_trace(void) {
    return current;
}

void tram_trace_set(const uint8_t trace[16]) {
    __atomic_store_n(&trace_used, true, __ATOMIC_RELAXED);
    if (trace)
        memcpy(current, trace, sizeof(current));
    else if (getentropy(current, sizeof(current)) < 0 || !is_set(current)) {
        for (size_t i = 0; i < sizeof(current); i += sizeof(uint32_t)) {
            uint32_t part = service_random();

            memcpy(current + i, &part, sizeof(part));
        }
    }
}
