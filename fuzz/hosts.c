/* SPDX-License-Identifier: MIT
 *
 * The directory and its member, against a peer that says anything: the first byte says which of
 * them is spoken to, the rest are frames. What is taken keeps the rules; a directory that cut
 * somebody off goes on; no ID is placed on a host that is not there.
 */
#include "wire/hosts.h"

#include <errno.h>
#include <string.h>

#include "fuzz.h"
#include "wire/directory.h"
#include "wire/member.h"

static int noted;

static void on_send(void *arg, void *conn, const hosts_frame *frame) {
    struct control_out out = { 0 };
    struct wrong wrong = { 0 };

    (void) arg;
    (void) conn;
    REQUIRE(hosts_check(frame, HOSTS_TO_MEMBER, &wrong) == 0);
    REQUIRE(hosts_out_add(&out, frame) == 0);
    control_out_reset(&out);
}

static int on_note(void *arg, const Tram__Hosts__Record *record) {
    hosts_frame frame = HOSTS_FRAME(RECORD, record, (Tram__Hosts__Record *) (uintptr_t) record);
    struct wrong wrong = { 0 };

    (void) arg;
    REQUIRE(hosts_check(&frame, HOSTS_TO_FILE, &wrong) == 0);
    return ++noted % 7 == 0 ? -ENOSPC : 0;
}

static int on_each(void *arg, const Tram__Hosts__Record *record) {
    uint32_t *hosts = arg;

    if (record->host)
        hosts[record->host->number / 32] |= 1u << record->host->number % 32;
    else if (record->holder > 0)
        REQUIRE(hosts[record->holder / 32] >> record->holder % 32 & 1);
    return 0;
}

static void speak_to_directory(struct control_in *in) {
    static const struct directory_calls calls = { .send = on_send, .note = on_note };
    const struct directory_rules rules = {
        .cluster = "c", .beat_ns = 1000, .misses = 3, .lease_ns = 1, .hosts = 3, .ids_each = 4,
    };
    uint32_t hosts[HOSTS_MAX / 32 + 1] = { 0 };
    struct directory_member *members[3] = { NULL };
    struct directory *directory;
    struct wrong wrong = { 0 };
    hosts_frame *frame;
    int64_t now = 1;

    REQUIRE(directory_new(&rules, &calls, NULL, &directory) == 0);
    while (hosts_in_next(in, HOSTS_TO_DIRECTORY, &frame, &wrong) > 0) {
        unsigned who = (unsigned) now % 3;

        now++;
        if (!members[who])
            REQUIRE(directory_connected(directory, now, members, NULL, &members[who]) == 0);
        if (directory_take(directory, members[who], now, frame, &wrong) < 0)
            members[who] = directory_gone(directory, members[who], now);
        directory_time(directory, now * 700);
        (void) hosts_free(frame);
    }
    REQUIRE(directory_each(directory, on_each, hosts) == 0);
    (void) directory_free(directory);
}

/* ---- the other side -------------------------------------------------------------------------- */

static void member_send(void *arg, const hosts_frame *frame) {
    struct wrong wrong = { 0 };

    (void) arg;
    REQUIRE(hosts_check(frame, HOSTS_TO_DIRECTORY, &wrong) == 0);
}

static bool on_held(void *arg, uint32_t after, uint32_t *ret_id, uint64_t *ret_epoch) {
    (void) arg;
    *ret_id = after + 0x01000001;
    *ret_epoch = 1;
    return after < 0x40000000;
}

static void on_joined(void *arg, uint32_t number) {
    (void) arg;
    REQUIRE(number > 0 && number <= HOSTS_MAX);
}

static void on_host(void *arg, const hosts_host *host, bool gone) {
    (void) arg;
    (void) gone;
    REQUIRE(hosts_name_valid(host->name) && host->n_addresses <= HOSTS_ADDRESSES_MAX);
}

static void on_told(void *arg) {
    (void) arg;
}

static void on_granted(void *arg, uint64_t cookie, uint32_t id, uint64_t epoch, uint32_t from,
                       bool taken) {
    struct member *member = *(struct member **) arg;

    (void) cookie;
    (void) from;
    (void) taken;
    REQUIRE(id >> 28 != 0xf && id != 0);
    member_settled(member, id, epoch);
}

static void on_refused(void *arg, uint64_t cookie, uint32_t id, int error, uint32_t host,
                       const char *text) {
    struct member *member = *(struct member **) arg;

    (void) host;
    REQUIRE(error < 0 && strlen(text) <= CONTROL_TEXT_MAX);
    REQUIRE(member_claim(member, cookie, id, false) == 0);
}

static void on_placed(void *arg, const hosts_placed *placed) {
    REQUIRE(placed->host <= HOSTS_MAX && placed->n_left <= HOSTS_LEFT_MAX);
    REQUIRE(placed->n_to == placed->n_left);
    for (size_t i = 0; i < placed->n_left; i++)
        REQUIRE(placed->left[i] > 0 && placed->left[i] <= HOSTS_MAX);
    member_unwatch(*(struct member **) arg, placed->id);
}

static void on_yield(void *arg, uint32_t id, uint64_t epoch, uint32_t to) {
    (void) to;
    member_yielded(*(struct member **) arg, id, epoch, -EADDRINUSE, false,
                   (struct member_left){ 0 }, "no");
}

static void on_done(void *arg, uint64_t cookie, int error, const char *text) {
    (void) arg;
    (void) cookie;
    (void) text;
    REQUIRE(error <= 0);
}

static void speak_to_member(struct control_in *in) {
    static const struct member_calls calls = {
        .send = member_send, .held = on_held, .on_joined = on_joined, .on_host = on_host,
        .on_told = on_told, .on_granted = on_granted, .on_refused = on_refused,
        .on_placed = on_placed, .on_yield = on_yield, .on_done = on_done,
    };
    const struct member_who who = { .cluster = "c", .host = "h", .program = "1" };
    struct member *member;
    struct wrong wrong = { 0 };
    hosts_frame *frame;
    int64_t now = 1;

    REQUIRE(member_new(&who, &calls, &member, &member) == 0);
    REQUIRE(member_claim(member, 1, 0x01000001, false) == 0);
    REQUIRE(member_watch(member, 0x01000002) == 0);
    member_connected(member, now);
    while (hosts_in_next(in, HOSTS_TO_MEMBER, &frame, &wrong) > 0) {
        if (member_take(member, ++now, frame, &wrong) < 0) {
            member_cut(member);
            member_connected(member, ++now);
        }
        (void) member_time(member, now += 1000000000);
        (void) hosts_free(frame);
    }
    (void) member_free(member);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct control_in in = { 0 };
    struct wrong wrong = { 0 };
    hosts_frame *frame;

    if (size == 0)
        return 0;
    noted = 0;
    for (size_t at = 1; at < size;) {
        size_t room;
        void *bytes = control_in_room(&in, &room);

        REQUIRE(bytes);
        room = room < size - at ? room : size - at;
        memcpy(bytes, data + at, room);
        control_in_add(&in, room);
        at += room;
    }
    if (data[0] == 0)
        speak_to_directory(&in);
    else if (data[0] == 1)
        speak_to_member(&in);
    else if (hosts_unpack(data + 1, size - 1, HOSTS_TO_PEER, &frame, &wrong) == 0)
        (void) hosts_free(frame);
    control_in_reset(&in);
    return 0;
}
