/* SPDX-License-Identifier: MIT
 *
 * The trace id of what this thread is handling. A process that never saw one pays nothing for it.
 */
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#include "service/service.h"

static bool used; /* by any thread of this process, ever */
static _Thread_local uint8_t current[16];

static bool is_set(const uint8_t trace[16]) {
    static const uint8_t none[16];

    return memcmp(trace, none, sizeof(none)) != 0;
}

void trace_enter(const uint8_t *trace) {
    if (__builtin_expect(trace != NULL, 0))
        tram_trace_set(trace);
    else
        trace_leave();
}

void trace_leave(void) {
    if (__builtin_expect(__atomic_load_n(&used, __ATOMIC_RELAXED), 0))
        memset(current, 0, sizeof(current));
}

const uint8_t *trace_current(void) {
    if (!__atomic_load_n(&used, __ATOMIC_RELAXED) || !is_set(current))
        return NULL;
    return current;
}

const uint8_t *tram_trace(void) {
    return current;
}

void tram_trace_set(const uint8_t trace[16]) {
    __atomic_store_n(&used, true, __ATOMIC_RELAXED);
    if (trace)
        memcpy(current, trace, sizeof(current));
    else if (getentropy(current, sizeof(current)) < 0 || !is_set(current)) {
        for (size_t i = 0; i < sizeof(current); i += sizeof(uint32_t)) {
            uint32_t part = service_random();

            memcpy(current + i, &part, sizeof(part));
        }
    }
}
