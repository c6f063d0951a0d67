/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "wire/frame.h"

static struct frame frame_of(uint8_t flags) {
    return (struct frame){.kind = FRAME_REQUEST,
                          .flags = flags,
                          .port = 7,
                          .correlation = UINT64_C(0x1234567800000009)};
}

static struct frame_extra extra_of(size_t topic) {
    struct frame_extra extra = {.deadline = 123456789, .window = 77};

    memset(extra.trace, 0xab, sizeof(extra.trace));
    extra.topic_size = (uint8_t) topic;
    memset(extra.topic, 't', topic);
    return extra;
}

TEST(what_was_written_is_read) {
    for (unsigned flags = 0; flags <= FRAME_FLAGS; flags++) {
        for (size_t topic = 0; topic < 256; topic += topic < 20 ? 1 : 47) {
            struct frame frame = frame_of((uint8_t) flags);
            struct frame_extra extra = extra_of(topic), back;
            uint8_t buffer[FRAME_EXTRA_MAX];

            frame_extra_write(&frame, &extra, buffer);
            CHECK(frame.extra % 8 == 0 && frame.extra <= FRAME_EXTRA_MAX);
            CHECK_OK(frame_read(&frame, buffer, frame.extra, &back));
            CHECK_EQ(back.deadline, flags & FRAME_DEADLINE ? 123456789 : INT64_MAX);
            CHECK_EQ(back.window, flags & FRAME_WINDOW ? 77 : 0);
            CHECK_EQ(back.trace[15], flags & FRAME_TRACE ? 0xab : 0);
            CHECK_EQ(strlen(back.topic), flags & FRAME_TOPIC ? topic : 0);
            CHECK_EQ(back.topic_size, flags & FRAME_TOPIC ? topic : 0);
            if (frame.extra > 0)
                CHECK_ERR(frame_read(&frame, buffer, frame.extra - 1u, &back), -EBADMSG);
            frame.extra = (uint16_t) (frame.extra + 8);
            CHECK_ERR(frame_read(&frame, buffer, FRAME_EXTRA_MAX, &back), -EBADMSG);
        }
    }
}

TEST(nonsense_is_refused) {
    uint8_t buffer[FRAME_EXTRA_MAX] = {0};
    struct frame_extra back;
    struct frame frame = frame_of(0);

    CHECK_OK(frame_read(&frame, buffer, 0, &back));
    frame.kind = 0;
    CHECK_ERR(frame_read(&frame, buffer, 0, &back), -EBADMSG);
    frame.kind = FRAME_KINDS;
    CHECK_ERR(frame_read(&frame, buffer, 0, &back), -EBADMSG);
    frame = frame_of(0x40);
    CHECK_ERR(frame_read(&frame, buffer, 0, &back), -EBADMSG);
    frame = frame_of(0);
    frame.port = 0;
    CHECK_ERR(frame_read(&frame, buffer, 0, &back), -EBADMSG);
    frame = frame_of(0);
    frame.correlation = 9;
    CHECK_ERR(frame_read(&frame, buffer, 0, &back), -EBADMSG);
    frame = frame_of(FRAME_DEADLINE);
    frame.extra = 4;
    CHECK_ERR(frame_read(&frame, buffer, 8, &back), -EBADMSG);
    frame = frame_of(FRAME_TOPIC);
    frame.extra = 8;
    buffer[0] = 3; /* with terminators inside */
    CHECK_ERR(frame_read(&frame, buffer, 8, &back), -EBADMSG);
    memset(buffer + 1, 't', 7);
    CHECK_OK(frame_read(&frame, buffer, 8, &back));
    buffer[0] = 8; /* longer than what is there */
    CHECK_ERR(frame_read(&frame, buffer, 8, &back), -EBADMSG);
}

TEST(ports_are_never_zero_and_differ) {
    CHECK(frame_port("", 0) != 0);
    CHECK(frame_port("media", 5) != frame_port("media:1", 7));
    CHECK_EQ(frame_port("a", 1), 0xe40c292cu); /* FNV-1a, for ever: successors have it */
}
