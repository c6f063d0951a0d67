/* SPDX-License-Identifier: MIT
 *
 * Frames of services: what is taken can be written again, and is read as the same.
 */
#include "wire/frame.h"

#include <errno.h>
#include <string.h>

#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct frame_extra extra, again;
    uint8_t buffer[FRAME_EXTRA_MAX];
    struct frame frame, written;

    if (size < sizeof(frame))
        return 0;
    memcpy(&frame, data, sizeof(frame));
    memset(&extra, 0, sizeof(extra));
    if (frame_read(&frame, data + sizeof(frame), size - sizeof(frame), &extra) < 0)
        return 0;
    REQUIRE(frame.kind > 0 && frame.kind < FRAME_KINDS && frame.port != 0);
    REQUIRE(frame.extra <= size - sizeof(frame) && strlen(extra.topic) == extra.topic_size);
    written = frame;
    frame_extra_write(&written, &extra, buffer);
    REQUIRE(written.extra == frame.extra);
    memset(&again, 0, sizeof(again));
    REQUIRE(frame_read(&written, buffer, written.extra, &again) == 0);
    REQUIRE(again.deadline == extra.deadline && again.window == extra.window);
    REQUIRE(memcmp(again.trace, extra.trace, sizeof(extra.trace)) == 0);
    REQUIRE(strcmp(again.topic, extra.topic) == 0);
    return 0;
}
