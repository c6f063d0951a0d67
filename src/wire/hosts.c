/* SPDX-License-Identifier: MIT */
#include "wire/hosts.h"

#include <errno.h>
#include <string.h>

#include "wire/frame.h"
#include "wire/name.h"

bool hosts_name_valid(const char *name) {
    return *name != '\0' && *name != '.' && name_instance_valid(name);
}

/* ---- bytes ----------------------------------------------------------------------------------- */

int hosts_unpack(const void *bytes, size_t size, enum hosts_way way, hosts_frame **ret_frame,
                 struct wrong *wrong) {
    hosts_frame *frame = tram__hosts__frame__unpack(NULL, size, bytes);

    if (!frame)
        return wrong_set(wrong, -EBADMSG, "a frame that is no protobuf message");
    if (hosts_check(frame, way, wrong) < 0) {
        (void) hosts_free(frame);
        return -EBADMSG;
    }
    *ret_frame = frame;
    return 0;
}

int hosts_in_next(struct control_in *in, enum hosts_way way, hosts_frame **ret_frame,
                  struct wrong *wrong) {
    const uint8_t *bytes;
    size_t length;
    int rc = control_in_bytes(in, &bytes, &length, wrong);

    if (rc <= 0)
        return rc;
    rc = hosts_unpack(bytes, length, way, ret_frame, wrong);
    if (rc < 0)
        return rc;
    control_in_took(in, length);
    return 1;
}

hosts_frame *hosts_free(hosts_frame *frame) {
    if (frame)
        tram__hosts__frame__free_unpacked(frame, NULL);
    return NULL;
}

int hosts_out_add(struct control_out *out, const hosts_frame *frame) {
    return control_out_message(out, &frame->base);
}

/* ---- what may come --------------------------------------------------------------------------- */

/* Of 0.0.0.0 and of ephemeral nodes nobody holds anything. */
static bool id_good(uint32_t id) {
    return id != 0 && id >> 28 != 0xf;
}

static int host_check(const hosts_host *host, bool numbered, struct wrong *wrong) {
    if (!host)
        return wrong_set(wrong, -EBADMSG, "a frame without its host");
    if (!hosts_name_valid(host->name))
        return wrong_set(wrong, -EBADMSG, "a host's name that can be none");
    if (host->instance.len != HOSTS_INSTANCE)
        return wrong_set(wrong, -EBADMSG, "an instance of %zu bytes", host->instance.len);
    if (host->number > HOSTS_MAX || (numbered && host->number == 0))
        return wrong_set(wrong, -EBADMSG, "a host with the number %u", host->number);
    if (!control_text_good(host->program, CONTROL_PROGRAM_MAX))
        return wrong_set(wrong, -EBADMSG, "a version that can be none");
    if (host->n_addresses > HOSTS_ADDRESSES_MAX)
        return wrong_set(wrong, -EBADMSG, "a host with %zu addresses", host->n_addresses);
    for (size_t i = 0; i < host->n_addresses; i++)
        if (*host->addresses[i] == '\0' ||
            !control_text_good(host->addresses[i], HOSTS_ADDRESS_MAX))
            return wrong_set(wrong, -EBADMSG, "an address that can be none");
    return 0;
}

static int hold_check(const Tram__Hosts__Hold *hold, struct wrong *wrong) {
    if (hold->n_ids > HOSTS_HOLD_MAX)
        return wrong_set(wrong, -EBADMSG, "%zu IDs in one frame", hold->n_ids);
    for (size_t i = 0; i < hold->n_ids; i++)
        if (!id_good(hold->ids[i]->id) || hold->ids[i]->epoch == 0 ||
            hold->ids[i]->epoch > HOSTS_EPOCH_MAX)
            return wrong_set(wrong, -EBADMSG, "an ID or an epoch that can be none");
    return 0;
}

static int answer_check(int32_t error, const char *text, struct wrong *wrong) {
    if (error > 0 || !control_text_good(text, CONTROL_TEXT_MAX))
        return wrong_set(wrong, -EBADMSG, "an answer that can be none");
    return 0;
}

static int id_check(uint32_t id, uint32_t host, struct wrong *wrong) {
    if (!id_good(id))
        return wrong_set(wrong, -EBADMSG, "an ID that nobody can hold");
    if (host > HOSTS_MAX)
        return wrong_set(wrong, -EBADMSG, "a host with the number %u", host);
    return 0;
}

/* Hosts, and for each one for whom. */
static int left_check(const uint32_t *left, size_t count, size_t to_count, struct wrong *wrong) {
    if (count > HOSTS_LEFT_MAX || to_count != count)
        return wrong_set(wrong, -EBADMSG, "an ID with messages on %zu hosts, for %zu", count,
                         to_count);
    for (size_t i = 0; i < count; i++)
        if (left[i] == 0 || left[i] > HOSTS_MAX)
            return wrong_set(wrong, -EBADMSG, "a host with the number %u", left[i]);
    return 0;
}

static int check_to_directory(const hosts_frame *frame, struct wrong *wrong) {
    switch ((int) frame->kind_case) {
    case TRAM__HOSTS__FRAME__KIND_JOIN:
        if (!hosts_name_valid(frame->join->cluster))
            return wrong_set(wrong, -EBADMSG, "a cluster's name that can be none");
        return host_check(frame->join->host, false, wrong);
    case TRAM__HOSTS__FRAME__KIND_HOLD:
        return hold_check(frame->hold, wrong);
    case TRAM__HOSTS__FRAME__KIND_CLAIM:
        return id_check(frame->claim->id, 0, wrong);
    case TRAM__HOSTS__FRAME__KIND_RELEASE:
        return id_check(frame->release->id, 0, wrong);
    case TRAM__HOSTS__FRAME__KIND_WHERE:
        return id_check(frame->where->id, 0, wrong);
    case TRAM__HOSTS__FRAME__KIND_YIELDED:
        if (answer_check(frame->yielded->error, frame->yielded->text, wrong) < 0)
            return -EBADMSG;
        if (frame->yielded->n_left > HOSTS_LEFT_EACH)
            return wrong_set(wrong, -EBADMSG, "messages for %zu nodes", frame->yielded->n_left);
        return id_check(frame->yielded->id, 0, wrong);
    case TRAM__HOSTS__FRAME__KIND_SETTLED:
        return id_check(frame->settled->id, 0, wrong);
    case TRAM__HOSTS__FRAME__KIND_LEFT:
        if (frame->left->n_to > HOSTS_LEFT_EACH)
            return wrong_set(wrong, -EBADMSG, "messages for %zu nodes", frame->left->n_to);
        return id_check(frame->left->id, 0, wrong);
    case TRAM__HOSTS__FRAME__KIND_FORGET:
        if (!hosts_name_valid(frame->forget->host))
            return wrong_set(wrong, -EBADMSG, "a host's name that can be none");
        return 0;
    case TRAM__HOSTS__FRAME__KIND_BEAT:
        return 0;
    default:
        return wrong_set(wrong, -EBADMSG, "a frame of kind %d, which no member sends",
                         (int) frame->kind_case);
    }
}

static int check_to_member(const hosts_frame *frame, struct wrong *wrong) {
    switch ((int) frame->kind_case) {
    case TRAM__HOSTS__FRAME__KIND_WELCOME:
        if (frame->welcome->number > HOSTS_MAX ||
            (frame->welcome->error == 0 && frame->welcome->number == 0))
            return wrong_set(wrong, -EBADMSG, "a greeting that can be none");
        return answer_check(frame->welcome->error, frame->welcome->text, wrong);
    case TRAM__HOSTS__FRAME__KIND_MEMBER:
        return host_check(frame->member->host, true, wrong);
    case TRAM__HOSTS__FRAME__KIND_GRANTED:
        return id_check(frame->granted->id, frame->granted->from, wrong);
    case TRAM__HOSTS__FRAME__KIND_REFUSED:
        if (answer_check(frame->refused->error, frame->refused->text, wrong) < 0)
            return -EBADMSG;
        return id_check(frame->refused->id, frame->refused->host, wrong);
    case TRAM__HOSTS__FRAME__KIND_PLACED:
        if (left_check(frame->placed->left, frame->placed->n_left, frame->placed->n_to, wrong) < 0)
            return -EBADMSG;
        return id_check(frame->placed->id, frame->placed->host, wrong);
    case TRAM__HOSTS__FRAME__KIND_YIELD:
        return id_check(frame->yield->id, frame->yield->to, wrong);
    case TRAM__HOSTS__FRAME__KIND_DONE:
        return answer_check(frame->done->error, frame->done->text, wrong);
    case TRAM__HOSTS__FRAME__KIND_TOLD:
    case TRAM__HOSTS__FRAME__KIND_BEAT:
        return 0;
    default:
        return wrong_set(wrong, -EBADMSG, "a frame of kind %d, which no directory sends",
                         (int) frame->kind_case);
    }
}

static int names_check(const Tram__Hosts__Names *names, struct wrong *wrong) {
    if (names->n_names > HOSTS_NAMES_MAX)
        return wrong_set(wrong, -EBADMSG, "%zu names in one frame", names->n_names);
    for (size_t i = 0; i < names->n_names; i++) {
        const Tram__Hosts__Name *name = names->names[i];
        control_party party = CONTROL_NEW(Party, party);

        party.name = name->name;
        party.instance = name->instance;
        party.program = name->program;
        party.node = name->node;
        party.addresses = name->addresses;
        party.n_addresses = name->n_addresses;
        if (control_party_check(&party, true, wrong) < 0)
            return -EBADMSG;
    }
    return 0;
}

/* Ephemeral or not. */
static int node_check(uint32_t id, struct wrong *wrong) {
    return id == 0 || id == UINT32_MAX
               ? wrong_set(wrong, -EBADMSG, "a node that can be none") : 0;
}

static int given_check(const Tram__Hosts__Given *given, struct wrong *wrong) {
    if (given->n_channels > HOSTS_CHANNELS_MAX || given->n_notes > HOSTS_CHANNELS_MAX)
        return wrong_set(wrong, -EBADMSG, "%zu channels and %zu notes in one frame",
                         given->n_channels, given->n_notes);
    for (size_t i = 0; i < given->n_channels; i++) {
        if (given->channels[i]->n_hands > HOSTS_HANDS_MAX)
            return wrong_set(wrong, -EBADMSG, "a channel with too many messages in hand");
        if (node_check(given->channels[i]->from, wrong) < 0)
            return -EBADMSG;
    }
    for (size_t i = 0; i < given->n_notes; i++) {
        if (given->notes[i]->copy > HOSTS_MAX)
            return wrong_set(wrong, -EBADMSG, "a host with the number %u", given->notes[i]->copy);
        if (node_check(given->notes[i]->from, wrong) < 0)
            return -EBADMSG;
    }
    if (given->error > 0)
        return wrong_set(wrong, -EBADMSG, "an answer that can be none");
    return id_check(given->id, 0, wrong);
}

static int relay_check(const Tram__Hosts__Relay *relay, struct wrong *wrong) {
    if (relay->n_wishes > HOSTS_WISHES_MAX)
        return wrong_set(wrong, -EBADMSG, "%zu wishes in one frame", relay->n_wishes);
    for (size_t i = 0; i < relay->n_wishes; i++)
        if (relay->wishes[i]->topic.len > 255 ||
            (relay->wishes[i]->topic.len > 0 &&
             memchr(relay->wishes[i]->topic.data, 0, relay->wishes[i]->topic.len)))
            return wrong_set(wrong, -EBADMSG, "a topic that can be none");
    return node_check(relay->node, wrong);
}

static int events_check(const Tram__Hosts__Events *events, struct wrong *wrong) {
    for (size_t i = 0; i < events->n_events; i++) {
        const Tram__Hosts__Happened *event = events->events[i];
        size_t size = event->size ? event->size : event->data.len;

        if (event->extra > size || event->extra % 8 != 0 || event->extra > FRAME_EXTRA_MAX ||
            event->offset > size || event->data.len > size - event->offset ||
            event->flags & ~FRAME_FLAGS || event->number == 0 || event->number >> 62 != 0)
            return wrong_set(wrong, -EBADMSG, "an event that can be none");
    }
    return node_check(events->node, wrong);
}

static int check_to_peer(const hosts_frame *frame, struct wrong *wrong) {
    switch ((int) frame->kind_case) {
    case TRAM__HOSTS__FRAME__KIND_NAMES:
        return names_check(frame->names, wrong);
    case TRAM__HOSTS__FRAME__KIND_GIVE:
        return id_check(frame->give->id, 0, wrong);
    case TRAM__HOSTS__FRAME__KIND_LOOK:
        return node_check(frame->look->id, wrong);
    case TRAM__HOSTS__FRAME__KIND_LIFE:
        return node_check(frame->life->id, wrong);
    case TRAM__HOSTS__FRAME__KIND_RELAY:
        return relay_check(frame->relay, wrong);
    case TRAM__HOSTS__FRAME__KIND_RELAYS_TOLD:
        return 0;
    case TRAM__HOSTS__FRAME__KIND_RELAYING:
        return node_check(frame->relaying->node, wrong);
    case TRAM__HOSTS__FRAME__KIND_EVENTS:
        return events_check(frame->events, wrong);
    case TRAM__HOSTS__FRAME__KIND_HAD:
        return node_check(frame->had->node, wrong);
    case TRAM__HOSTS__FRAME__KIND_GIVEN:
        return given_check(frame->given, wrong);
    case TRAM__HOSTS__FRAME__KIND_REVOKED:
        return 0; /* it is signed */
    case TRAM__HOSTS__FRAME__KIND_ASK:
        return 0;
    case TRAM__HOSTS__FRAME__KIND_ANSWER:
        if (frame->answer->view.len > HOSTS_VIEW_MAX ||
            frame->answer->sample.len > HOSTS_SAMPLE_MAX)
            return wrong_set(wrong, -EBADMSG, "an answer of %zu bytes",
                             frame->answer->view.len + frame->answer->sample.len);
        return 0; /* who asked looks into it */
    default:
        return wrong_set(wrong, -EBADMSG, "a frame of kind %d, which no daemon sends",
                         (int) frame->kind_case);
    }
}

static int check_to_file(const hosts_frame *frame, struct wrong *wrong) {
    const Tram__Hosts__Record *record = frame->record;

    if (frame->kind_case != TRAM__HOSTS__FRAME__KIND_RECORD)
        return wrong_set(wrong, -EBADMSG, "no record");
    if (record->host)
        return host_check(record->host, true, wrong);
    if (record->version > 0)
        return 0;
    if (id_check(record->id, record->holder, wrong) < 0 ||
        left_check(record->left, record->n_left, record->n_to, wrong) < 0)
        return -EBADMSG;
    return id_check(record->id, record->from, wrong);
}

int hosts_check(const hosts_frame *frame, enum hosts_way way, struct wrong *wrong) {
    switch (way) {
    case HOSTS_TO_DIRECTORY:
        return check_to_directory(frame, wrong);
    case HOSTS_TO_MEMBER:
        return check_to_member(frame, wrong);
    case HOSTS_TO_PEER:
        return check_to_peer(frame, wrong);
    case HOSTS_TO_FILE:
        break;
    }
    return check_to_file(frame, wrong);
}
