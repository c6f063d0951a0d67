/* SPDX-License-Identifier: MIT */
#include "wire/control.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/address.h"
#include "wire/name.h"

#define FIRST_ROOM 4096u

/* ---- in -------------------------------------------------------------------------------------- */

/* The length of the frame that begins the bytes; 0: it isn't there yet. */
static uint32_t length_of(const struct control_in *in) {
    const uint8_t *at;

    if (in->end - in->start < CONTROL_HEAD)
        return 0; /* there may be no bytes at all */
    at = in->bytes + in->start;
    return (uint32_t) at[0] | (uint32_t) at[1] << 8 | (uint32_t) at[2] << 16 |
           (uint32_t) at[3] << 24;
}

void *control_in_room(struct control_in *in, size_t *ret_size) {
    uint32_t length = length_of(in);
    size_t wanted = CONTROL_HEAD + (length <= CONTROL_MAX ? (size_t) length : 0);

    if (in->start > 0) {
        memmove(in->bytes, in->bytes + in->start, in->end - in->start);
        in->end -= in->start;
        in->start = 0;
    }
    if (wanted < FIRST_ROOM)
        wanted = FIRST_ROOM;
    if (wanted <= in->end)
        wanted = in->end + FIRST_ROOM;
    if (in->room < wanted) {
        uint8_t *bytes = realloc(in->bytes, wanted);

        if (!bytes)
            return NULL;
        in->bytes = bytes;
        in->room = wanted;
    }
    *ret_size = in->room - in->end;
    return in->bytes + in->end;
}

void control_in_add(struct control_in *in, size_t size) {
    in->end += size;
}

int control_in_bytes(struct control_in *in, const uint8_t **ret_bytes, size_t *ret_length,
                     struct wrong *wrong) {
    uint32_t length = length_of(in);

    if (in->end - in->start < CONTROL_HEAD)
        return 0;
    if (length == 0 || length > CONTROL_MAX)
        return wrong_set(wrong, -EBADMSG, "a frame of %u bytes; 1 to %u are allowed", length,
                         CONTROL_MAX);
    if (in->end - in->start < CONTROL_HEAD + length)
        return 0;
    *ret_bytes = in->bytes + in->start + CONTROL_HEAD;
    *ret_length = length;
    return 1;
}

void control_in_took(struct control_in *in, size_t length) {
    in->start += CONTROL_HEAD + length;
}

int control_in_next(struct control_in *in, enum control_way way, control_frame **ret_frame,
                    struct wrong *wrong) {
    const uint8_t *bytes;
    size_t length;
    control_frame *frame;
    int rc = control_in_bytes(in, &bytes, &length, wrong);

    if (rc <= 0)
        return rc;
    frame = tram__control__frame__unpack(NULL, length, bytes);
    if (!frame) /* it does not tell one from the other, and what is nonsense will not be sense */
        return wrong_set(wrong, -EBADMSG, "a frame that is no protobuf message");
    if (control_check(frame, way, wrong) < 0) {
        (void) control_free(frame);
        return -EBADMSG;
    }
    control_in_took(in, length);
    *ret_frame = frame;
    return 1;
}

control_frame *control_free(control_frame *frame) {
    if (frame)
        tram__control__frame__free_unpacked(frame, NULL);
    return NULL;
}

void control_in_reset(struct control_in *in) {
    free(in->bytes);
    *in = (struct control_in){ 0 };
}

/* ---- out ------------------------------------------------------------------------------------- */

int control_out_add(struct control_out *out, const control_frame *frame) {
    return control_out_message(out, &frame->base);
}

int control_out_message(struct control_out *out, const ProtobufCMessage *message) {
    size_t length = protobuf_c_message_get_packed_size(message);
    size_t wanted = out->end - out->start + CONTROL_HEAD + length;
    uint8_t *at;

    if (length > CONTROL_MAX)
        return -EMSGSIZE;
    if (out->room - out->start < wanted && out->start > 0) {
        memmove(out->bytes, out->bytes + out->start, out->end - out->start);
        out->end -= out->start;
        out->start = 0;
    }
    if (out->room < wanted) {
        size_t room = out->room * 2 > wanted ? out->room * 2 : wanted;
        uint8_t *bytes;

        room = room < FIRST_ROOM ? FIRST_ROOM : room;
        bytes = realloc(out->bytes, room);
        if (!bytes)
            return -ENOMEM;
        out->bytes = bytes;
        out->room = room;
    }
    at = out->bytes + out->end;
    for (unsigned i = 0; i < CONTROL_HEAD; i++)
        at[i] = (uint8_t) (length >> 8 * i);
    (void) protobuf_c_message_pack(message, at + CONTROL_HEAD);
    out->end += CONTROL_HEAD + length;
    return 0;
}

void control_out_sent(struct control_out *out, size_t size) {
    out->start += size;
    if (out->start < out->end)
        return;
    if (out->room > CONTROL_MAX) /* after a burst */
        control_out_reset(out);
    out->start = out->end = 0;
}

void control_out_reset(struct control_out *out) {
    free(out->bytes);
    *out = (struct control_out){ 0 };
}

/* ---- what may come --------------------------------------------------------------------------- */

/* Printable, and not too long: it is shown to people. */
bool control_text_good(const char *text, size_t max) {
    size_t length = strnlen(text, max + 1);

    for (size_t i = 0; i < length; i++)
        if ((unsigned char) text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return length <= max;
}

static int addresses_check(char *const *addresses, size_t count, struct wrong *wrong) {
    struct address address;

    if (count > CONTROL_ADDRESSES_MAX)
        return wrong_set(wrong, -EBADMSG, "%zu addresses; %u are allowed", count,
                         CONTROL_ADDRESSES_MAX);
    for (size_t i = 0; i < count; i++) {
        if (address_parse(addresses[i], &address, wrong) < 0)
            return -EBADMSG;
        if (address.kind != ADDRESS_IPC && address.kind != ADDRESS_TCP &&
            address.kind != ADDRESS_TLS)
            return wrong_set(wrong, -EBADMSG, "%s:// is no address of a socket",
                             address_scheme(address.kind));
    }
    return 0;
}

int control_party_check(const control_party *party, bool whole, struct wrong *wrong) {
    if (!party)
        return wrong_set(wrong, -EBADMSG, "a frame without its party");
    if (!name_valid(party->name) || !name_instance_valid(party->instance))
        return wrong_set(wrong, -EBADMSG, "a name or an instance that can be none");
    if (!control_text_good(party->program, CONTROL_PROGRAM_MAX))
        return wrong_set(wrong, -EBADMSG, "a program's name that can be none");
    if (whole && party->node == 0)
        return wrong_set(wrong, -EBADMSG, "a party without a node");
    if (!control_text_good(party->host, CONTROL_HOST_MAX))
        return wrong_set(wrong, -EBADMSG, "a host's name that can be none");
    return addresses_check(party->addresses, party->n_addresses, wrong);
}

static int check_to_daemon(const control_frame *frame, struct wrong *wrong) {
    switch ((int) frame->kind_case) {
    case TRAM__CONTROL__FRAME__KIND_HELLO:
        if (!control_text_good(frame->hello->program, CONTROL_PROGRAM_MAX))
            return wrong_set(wrong, -EBADMSG, "a program's name that can be none");
        return 0;
    case TRAM__CONTROL__FRAME__KIND_BIND:
        return control_party_check(frame->bind->party, false, wrong);
    case TRAM__CONTROL__FRAME__KIND_PUBLISH:
        return addresses_check(frame->publish->addresses, frame->publish->n_addresses, wrong);
    case TRAM__CONTROL__FRAME__KIND_WATCH:
        if (!pattern_valid(frame->watch->pattern))
            return wrong_set(wrong, -EBADMSG, "a pattern that can be none");
        return 0;
    case TRAM__CONTROL__FRAME__KIND_CLUSTER:
        if (frame->cluster->what < TRAM__CONTROL__ASK__HOSTS ||
            frame->cluster->what > TRAM__CONTROL__ASK__LEFT ||
            !control_text_good(frame->cluster->host, CONTROL_HOST_MAX))
            return wrong_set(wrong, -EBADMSG, "a question that can be none");
        return 0;
    case TRAM__CONTROL__FRAME__KIND_LOOK:
        if (frame->look->node == 0 || frame->look->node == UINT32_MAX)
            return wrong_set(wrong, -EBADMSG, "a node that can be none");
        return 0;
    case TRAM__CONTROL__FRAME__KIND_RELAY:
        if (strnlen(frame->relay->reader, CONTROL_READER_MAX) >= CONTROL_READER_MAX ||
            strchr(frame->relay->reader, '/'))
            return wrong_set(wrong, -EBADMSG, "a reader's file that can be none");
        return 0;
    case TRAM__CONTROL__FRAME__KIND_UNRELAY:
    case TRAM__CONTROL__FRAME__KIND_UNLOOK:
    case TRAM__CONTROL__FRAME__KIND_UNBIND:
    case TRAM__CONTROL__FRAME__KIND_UNWATCH:
    case TRAM__CONTROL__FRAME__KIND_SETTLE:
        return 0;
    default:
        return wrong_set(wrong, -EBADMSG, "a frame of kind %d, which no process sends",
                         (int) frame->kind_case);
    }
}

static bool end_good(const Tram__Control__View__Node *node) {
    return !node || (control_text_good(node->program, CONTROL_PROGRAM_MAX) &&
                     control_text_good(node->host, CONTROL_HOST_MAX));
}

int control_view_check(const Tram__Control__View *view, struct wrong *wrong) {
    if (!control_text_good(view->host, CONTROL_HOST_MAX) ||
        !control_text_good(view->link, CONTROL_HOST_MAX) ||
        !control_text_good(view->silent, CONTROL_TEXT_MAX) ||
        !control_text_good(view->error, CONTROL_TEXT_MAX) ||
        !control_text_good(view->note, CONTROL_TEXT_MAX) ||
        !control_text_good(view->state, CONTROL_HOST_MAX) || !end_good(view->sender) ||
        !end_good(view->receiver))
        return wrong_set(wrong, -EBADMSG, "a view with texts that can be none");
    return 0;
}

int control_sample_check(const Tram__Control__Sample *sample, struct wrong *wrong) {
    bool good = control_text_good(sample->host, CONTROL_HOST_MAX) &&
                control_text_good(sample->silent, CONTROL_TEXT_MAX) &&
                sample->n_channels <= CONTROL_SAMPLE_MAX && sample->n_nodes <= CONTROL_SAMPLE_MAX;

    for (size_t i = 0; good && i < sample->n_channels; i++)
        good = control_text_good(sample->channels[i]->note, CONTROL_TEXT_MAX);
    for (size_t i = 0; good && i < sample->n_nodes; i++)
        good = control_text_good(sample->nodes[i]->program, CONTROL_PROGRAM_MAX) &&
               control_text_good(sample->nodes[i]->note, CONTROL_TEXT_MAX);
    return good ? 0 : wrong_set(wrong, -EBADMSG, "a look at a bus that can be none");
}

static int check_to_process(const control_frame *frame, struct wrong *wrong) {
    switch ((int) frame->kind_case) {
    case TRAM__CONTROL__FRAME__KIND_WELCOME:
        if (!control_text_good(frame->welcome->text, CONTROL_TEXT_MAX) || frame->welcome->error > 0)
            return wrong_set(wrong, -EBADMSG, "a greeting that can be none");
        return 0;
    case TRAM__CONTROL__FRAME__KIND_BOUND:
        if (!control_text_good(frame->bound->text, CONTROL_TEXT_MAX) || frame->bound->error > 0)
            return wrong_set(wrong, -EBADMSG, "an answer that can be none");
        return frame->bound->holder ? control_party_check(frame->bound->holder, true, wrong) : 0;
    case TRAM__CONTROL__FRAME__KIND_ONLINE:
        return control_party_check(frame->online->party, true, wrong);
    case TRAM__CONTROL__FRAME__KIND_OFFLINE:
        return control_party_check(frame->offline->party, true, wrong);
    case TRAM__CONTROL__FRAME__KIND_DONE:
        if (!control_text_good(frame->done->text, CONTROL_TEXT_MAX) || frame->done->error > 0)
            return wrong_set(wrong, -EBADMSG, "an answer that can be none");
        return 0;
    case TRAM__CONTROL__FRAME__KIND_PUBLISHED:
    case TRAM__CONTROL__FRAME__KIND_TOLD:
    case TRAM__CONTROL__FRAME__KIND_HOST:
    case TRAM__CONTROL__FRAME__KIND_LINK:
        return 0;
    case TRAM__CONTROL__FRAME__KIND_VIEW:
        return control_view_check(frame->view, wrong);
    case TRAM__CONTROL__FRAME__KIND_LEFT:
        if (!control_text_good(frame->left->host, CONTROL_HOST_MAX))
            return wrong_set(wrong, -EBADMSG, "a host's name that can be none");
        return 0;
    case TRAM__CONTROL__FRAME__KIND_SAMPLE:
        return control_sample_check(frame->sample, wrong);
    case TRAM__CONTROL__FRAME__KIND_LIFE:
        if (!control_text_good(frame->life->host, CONTROL_HOST_MAX))
            return wrong_set(wrong, -EBADMSG, "a host's name that can be none");
        return 0;
    case TRAM__CONTROL__FRAME__KIND_RELAYED:
        if (frame->relayed->error > 0)
            return wrong_set(wrong, -EBADMSG, "an answer that can be none");
        return 0;
    default:
        return wrong_set(wrong, -EBADMSG, "a frame of kind %d, which no daemon sends",
                         (int) frame->kind_case);
    }
}

static int check_to_file(const control_frame *frame, struct wrong *wrong) {
    if (frame->kind_case != TRAM__CONTROL__FRAME__KIND_RECORD)
        return wrong_set(wrong, -EBADMSG, "no record");
    return frame->record->party ? control_party_check(frame->record->party, true, wrong) : 0;
}

int control_check(const control_frame *frame, enum control_way way, struct wrong *wrong) {
    switch (way) {
    case CONTROL_TO_DAEMON:
        return check_to_daemon(frame, wrong);
    case CONTROL_TO_PROCESS:
        return check_to_process(frame, wrong);
    case CONTROL_TO_FILE:
        break;
    }
    return check_to_file(frame, wrong);
}
