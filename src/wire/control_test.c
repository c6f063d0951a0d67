/* SPDX-License-Identifier: MIT */
#include "wire/control.h"

#include <string.h>

#include "harness.h"

static void put_hello(struct control_out *out, uint32_t node) {
    Tram__Control__Hello hello = CONTROL_NEW(Hello, hello);
    control_frame frame = CONTROL_NEW(Frame, frame);
    char program[] = "me";

    hello.version = CONTROL_VERSION;
    hello.node = node;
    hello.program = program;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_HELLO;
    frame.hello = &hello;
    CHECK_OK(control_out_add(out, &frame));
}

static void feed(struct control_in *in, const void *bytes, size_t size) {
    while (size > 0) {
        size_t room;
        void *at = control_in_room(in, &room);

        CHECK(at && room > 0);
        room = room < size ? room : size;
        memcpy(at, bytes, room);
        control_in_add(in, room);
        bytes = (const char *) bytes + room;
        size -= room;
    }
}

/* However the bytes come. */
TEST(frames_in_pieces) {
    struct control_out out = { 0 };

    for (uint32_t i = 1; i <= 5; i++)
        put_hello(&out, i);
    for (size_t piece = 1; piece <= control_out_size(&out); piece++) {
        struct control_in in = { 0 };
        uint32_t seen = 0;

        for (size_t at = 0; at < control_out_size(&out); at += piece) {
            size_t left = control_out_size(&out) - at;
            control_frame *frame;

            feed(&in, (const char *) control_out_bytes(&out) + at, left < piece ? left : piece);
            while (CHECK_OK(control_in_next(&in, CONTROL_TO_DAEMON, &frame, NULL)) > 0) {
                CHECK_EQ(frame->hello->node, ++seen);
                CHECK_STR(frame->hello->program, "me");
                (void) control_free(frame);
            }
        }
        CHECK_EQ(seen, 5);
        control_in_reset(&in);
    }
    control_out_reset(&out);
}

TEST(bytes_out_in_pieces) {
    struct control_out out = { 0 };
    struct control_in in = { 0 };
    control_frame *frame;
    uint32_t put = 0, got = 0;

    while (got < 10000) {
        size_t size;

        for (int i = 0; i < 7 && put < 10000; i++)
            put_hello(&out, ++put);
        size = control_out_size(&out) > 11 && put < 10000 ? control_out_size(&out) / 2 + 5
                                                          : control_out_size(&out);
        feed(&in, control_out_bytes(&out), size);
        control_out_sent(&out, size);
        while (CHECK_OK(control_in_next(&in, CONTROL_TO_DAEMON, &frame, NULL)) > 0) {
            CHECK_EQ(frame->hello->node, ++got);
            (void) control_free(frame);
        }
    }
    control_out_reset(&out);
    control_in_reset(&in);
}

static void refused(const void *bytes, size_t size, enum control_way way, const char *why) {
    struct control_in in = { 0 };
    struct wrong wrong = { 0 };
    control_frame *frame;

    feed(&in, bytes, size);
    CHECK_ERR(control_in_next(&in, way, &frame, &wrong), -EBADMSG);
    if (!strstr(wrong.text, why))
        FAIL("'%s' is not in '%s'", why, wrong.text);
    control_in_reset(&in);
}

TEST(lengths_that_can_be_none) {
    refused("\0\0\0\0", 4, CONTROL_TO_DAEMON, "a frame of 0 bytes");
    refused("\1\0\1\0", 4, CONTROL_TO_DAEMON, "a frame of 65537 bytes");
    refused("\377\377\377\377", 4, CONTROL_TO_DAEMON, "a frame of 4294967295 bytes");
    refused("\2\0\0\0\377\377", 6, CONTROL_TO_DAEMON, "no protobuf");
    refused("\2\0\0\0\70\1", 6, CONTROL_TO_DAEMON, "protobuf"); /* settle as a number */
}

static void refused_frame(control_frame *frame, enum control_way way, const char *why) {
    struct control_out out = { 0 };

    CHECK_OK(control_out_add(&out, frame));
    refused(control_out_bytes(&out), control_out_size(&out), way, why);
    control_out_reset(&out);
}

TEST(what_may_not_come_this_way) {
    Tram__Control__Told told = CONTROL_NEW(Told, told);
    Tram__Control__Settle settle = CONTROL_NEW(Settle, settle);
    control_frame frame = CONTROL_NEW(Frame, frame);

    frame.kind_case = TRAM__CONTROL__FRAME__KIND_TOLD;
    frame.told = &told;
    CHECK_OK(control_check(&frame, CONTROL_TO_PROCESS, NULL));
    told.cookie = 1;
    refused_frame(&frame, CONTROL_TO_DAEMON, "no process sends");
    refused_frame(&frame, CONTROL_TO_FILE, "no record");
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_SETTLE;
    frame.settle = &settle;
    CHECK_OK(control_check(&frame, CONTROL_TO_DAEMON, NULL));
    refused_frame(&frame, CONTROL_TO_PROCESS, "no daemon sends");
}

TEST(what_a_bind_may_say) {
    control_party party = CONTROL_NEW(Party, party);
    Tram__Control__Bind bind = CONTROL_NEW(Bind, bind);
    control_frame frame = CONTROL_NEW(Frame, frame);
    char name[] = "a", bad[] = "a b", ipc[] = "ipc:///x", svc[] = "svc://x", program[100];
    char *addresses[20];

    frame.kind_case = TRAM__CONTROL__FRAME__KIND_BIND;
    frame.bind = &bind;
    bind.cookie = 1;
    refused_frame(&frame, CONTROL_TO_DAEMON, "without its party");
    bind.party = &party;
    refused_frame(&frame, CONTROL_TO_DAEMON, "a name or an instance");
    party.name = bad;
    refused_frame(&frame, CONTROL_TO_DAEMON, "a name or an instance");
    party.name = name;
    party.instance = bad;
    refused_frame(&frame, CONTROL_TO_DAEMON, "a name or an instance");
    party.instance = name;
    CHECK_OK(control_check(&frame, CONTROL_TO_DAEMON, NULL));
    for (size_t i = 0; i < 20; i++)
        addresses[i] = ipc;
    party.addresses = addresses;
    party.n_addresses = CONTROL_ADDRESSES_MAX;
    CHECK_OK(control_check(&frame, CONTROL_TO_DAEMON, NULL));
    party.n_addresses++;
    refused_frame(&frame, CONTROL_TO_DAEMON, "17 addresses");
    party.n_addresses = 2;
    addresses[1] = svc;
    refused_frame(&frame, CONTROL_TO_DAEMON, "svc:// is no address of a socket");
    addresses[1] = name;
    refused_frame(&frame, CONTROL_TO_DAEMON, "no address");
    party.n_addresses = 0;
    memset(program, 'p', sizeof(program));
    program[CONTROL_PROGRAM_MAX] = '\0';
    party.program = program;
    CHECK_OK(control_check(&frame, CONTROL_TO_DAEMON, NULL));
    program[3] = '\n';
    refused_frame(&frame, CONTROL_TO_DAEMON, "a program's name");
    program[3] = program[CONTROL_PROGRAM_MAX] = 'p';
    program[CONTROL_PROGRAM_MAX + 1] = '\0';
    refused_frame(&frame, CONTROL_TO_DAEMON, "a program's name");
}

TEST(too_large_a_frame_is_not_made) {
    Tram__Control__Welcome welcome = CONTROL_NEW(Welcome, welcome);
    control_frame frame = CONTROL_NEW(Frame, frame);
    static char text[CONTROL_MAX + 1];
    struct control_out out = { 0 };

    memset(text, 'x', CONTROL_MAX);
    welcome.text = text;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_WELCOME;
    frame.welcome = &welcome;
    CHECK_ERR(control_out_add(&out, &frame), -EMSGSIZE);
    CHECK_EQ(control_out_size(&out), 0);
    control_out_reset(&out);
}
