/* SPDX-License-Identifier: MIT
 *
 * The control protocol: bytes that come in pieces of any size. What is taken for a frame keeps the
 * rules, says the same when it is packed and read again, and does not depend on the pieces.
 */
#include "wire/control.h"

#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "wire/address.h"
#include "wire/name.h"

static void check_party(const control_party *party) {
    if (!party)
        return;
    REQUIRE(name_valid(party->name) && name_instance_valid(party->instance));
    REQUIRE(party->n_addresses <= CONTROL_ADDRESSES_MAX);
    REQUIRE(strlen(party->program) <= CONTROL_PROGRAM_MAX);
    for (size_t i = 0; i < party->n_addresses; i++) {
        struct address address;

        REQUIRE(address_parse(party->addresses[i], &address, NULL) == 0);
    }
}

static void check_frame(const control_frame *frame, enum control_way way) {
    struct control_out out = { 0 }, again = { 0 };
    struct control_in in = { 0 };
    struct wrong wrong = { 0 };
    control_frame *same;
    size_t size;
    int rc;

    if (frame->kind_case == TRAM__CONTROL__FRAME__KIND_BIND)
        check_party(frame->bind->party);
    if (frame->kind_case == TRAM__CONTROL__FRAME__KIND_ONLINE)
        check_party(frame->online->party);
    if (frame->kind_case == TRAM__CONTROL__FRAME__KIND_RECORD)
        check_party(frame->record->party);
    if (frame->kind_case == TRAM__CONTROL__FRAME__KIND_WATCH)
        REQUIRE(pattern_valid(frame->watch->pattern));
    /* What was longer than it had to be gets no longer. */
    REQUIRE(control_out_add(&out, frame) == 0);
    for (size_t at = 0; at < control_out_size(&out); at += size) {
        void *room = control_in_room(&in, &size);

        REQUIRE(room);
        if (size > control_out_size(&out) - at)
            size = control_out_size(&out) - at;
        memcpy(room, (const char *) control_out_bytes(&out) + at, size);
        control_in_add(&in, size);
    }
    rc = control_in_next(&in, way, &same, &wrong);
    /* protobuf-c keeps an unknown field with the number 0 if its tag is longer than it has to be,
     * and does not read what it makes of it. Nobody passes frames on. */
    REQUIRE(rc == 1 || strcmp(wrong.text, "a frame that is no protobuf message") == 0);
    if (rc == 1) {
        REQUIRE(control_out_add(&again, same) == 0);
        REQUIRE(control_out_size(&again) == control_out_size(&out));
        REQUIRE(memcmp(control_out_bytes(&again), control_out_bytes(&out),
                       control_out_size(&out)) == 0);
        (void) control_free(same);
    }
    control_in_reset(&in);
    control_out_reset(&out);
    control_out_reset(&again);
}

/* How many frames there are, and how it ends. */
static int read_all(const uint8_t *data, size_t size, size_t piece, enum control_way way,
                    unsigned *ret_frames) {
    struct control_in in = { 0 };
    struct wrong wrong = { 0 };
    unsigned frames = 0;
    int rc = 0;

    while (size > 0 && rc == 0) {
        control_frame *frame;
        size_t some = piece < size ? piece : size, room;
        void *at = control_in_room(&in, &room);

        REQUIRE(at && room > 0);
        some = some < room ? some : room;
        memcpy(at, data, some);
        control_in_add(&in, some);
        data += some;
        size -= some;
        while ((rc = control_in_next(&in, way, &frame, &wrong)) > 0) {
            frames++;
            check_frame(frame, way);
            (void) control_free(frame);
        }
    }
    REQUIRE(rc == 0 || (rc == -EBADMSG && wrong.text[0] != '\0'));
    REQUIRE(in.room <= CONTROL_HEAD + CONTROL_MAX + 4096);
    control_in_reset(&in);
    *ret_frames = frames;
    return rc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    unsigned whole, pieces;
    enum control_way way;
    int rc;

    if (size < 2)
        return 0;
    way = (enum control_way) (data[0] % 3);
    rc = read_all(data + 2, size - 2, size, way, &whole);
    REQUIRE(read_all(data + 2, size - 2, data[1] % 16 + 1, way, &pieces) == rc);
    REQUIRE(whole == pieces);
    return 0;
}
