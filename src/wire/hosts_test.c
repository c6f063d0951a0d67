/* SPDX-License-Identifier: MIT
 *
 * What may come of a member, the directory, another daemon and the file: each frame as it is right,
 * and with one thing in it that can't be.
 */
#include "wire/hosts.h"

#include <errno.h>
#include <string.h>

#include "harness.h"

#define NODE 0x01010101u
#define EPHEMERAL 0xf0010001u

static char host_name[] = "a", dot_name[] = ".a", program[] = "1", tab[] = "\t", address[] = "1:2";
static char nothing[] = "";
static uint8_t bytes[HOSTS_SAMPLE_MAX + 1];

static void good(const hosts_frame *frame, enum hosts_way way) {
    struct wrong wrong = { 0 };

    if (hosts_check(frame, way, &wrong) != 0)
        FAIL("kind %d: %s", (int) frame->kind_case, wrong.text);
}

static void bad(const hosts_frame *frame, enum hosts_way way) {
    struct wrong wrong = { 0 };

    if (hosts_check(frame, way, &wrong) != -EBADMSG)
        FAIL("kind %d is taken", (int) frame->kind_case);
    CHECK(*wrong.text != '\0');
}

/* A field that is right for a while is wrong. */
#define BAD(frame, way, field, value)                                                              \
    do {                                                                                           \
        __typeof__(field) was_ = (field);                                                          \
                                                                                                   \
        (field) = (value);                                                                         \
        bad(frame, way);                                                                           \
        (field) = was_;                                                                            \
        good(frame, way);                                                                          \
    } while (0)

/* Names, version and addresses, of a frame that has a host. */
static void check_host(const hosts_frame *frame, enum hosts_way way, hosts_host *host) {
    static char *addresses[HOSTS_ADDRESSES_MAX + 1];

    for (size_t i = 0; i <= HOSTS_ADDRESSES_MAX; i++)
        addresses[i] = address;
    host->name = host_name;
    host->number = 1;
    host->instance.data = bytes;
    host->instance.len = HOSTS_INSTANCE;
    host->program = program;
    host->addresses = addresses;
    host->n_addresses = HOSTS_ADDRESSES_MAX;
    BAD(frame, way, host->name, dot_name);
    BAD(frame, way, host->name, nothing);
    BAD(frame, way, host->number, HOSTS_MAX + 1);
    BAD(frame, way, host->instance.len, HOSTS_INSTANCE - 1);
    BAD(frame, way, host->program, tab);
    BAD(frame, way, host->n_addresses, HOSTS_ADDRESSES_MAX + 1);
    BAD(frame, way, addresses[HOSTS_ADDRESSES_MAX - 1], nothing);
    BAD(frame, way, addresses[HOSTS_ADDRESSES_MAX - 1], tab);
}

TEST(of_a_member) {
    const enum hosts_way way = HOSTS_TO_DIRECTORY;
    Tram__Hosts__Join join = HOSTS_NEW(Join, join);
    hosts_host host = HOSTS_NEW(Host, host);
    Tram__Hosts__Holding holding = HOSTS_NEW(Holding, holding), *list[1] = { &holding };
    Tram__Hosts__Hold hold = HOSTS_NEW(Hold, hold);
    Tram__Hosts__Claim claim = HOSTS_NEW(Claim, claim);
    Tram__Hosts__Yielded yielded = HOSTS_NEW(Yielded, yielded);
    Tram__Hosts__Forget forget = HOSTS_NEW(Forget, forget);
    Tram__Hosts__Told told = HOSTS_NEW(Told, told);
    hosts_frame frame = HOSTS_FRAME(JOIN, join, &join);

    bad(&frame, way); /* no host */
    join.cluster = host_name;
    join.host = &host;
    check_host(&frame, way, &host);
    BAD(&frame, way, join.cluster, dot_name);
    host.number = 0; /* it has none yet */
    good(&frame, way);

    frame = HOSTS_FRAME(HOLD, hold, &hold);
    hold.ids = list;
    hold.n_ids = 1;
    holding.id = NODE;
    holding.epoch = 1;
    BAD(&frame, way, holding.id, 0);
    BAD(&frame, way, holding.id, EPHEMERAL);
    BAD(&frame, way, holding.epoch, 0);
    BAD(&frame, way, hold.n_ids, HOSTS_HOLD_MAX + 1);

    frame = HOSTS_FRAME(CLAIM, claim, &claim);
    claim.id = NODE;
    BAD(&frame, way, claim.id, 0);
    BAD(&frame, way, claim.id, EPHEMERAL);

    frame = HOSTS_FRAME(YIELDED, yielded, &yielded);
    yielded.id = NODE;
    yielded.error = -EBUSY;
    BAD(&frame, way, yielded.error, EBUSY);
    BAD(&frame, way, yielded.text, tab);
    BAD(&frame, way, yielded.id, 0);

    frame = HOSTS_FRAME(FORGET, forget, &forget);
    forget.host = host_name;
    BAD(&frame, way, forget.host, dot_name);

    frame = HOSTS_FRAME(TOLD, told, &told);
    bad(&frame, way); /* what only a directory says */
}

TEST(of_the_directory) {
    const enum hosts_way way = HOSTS_TO_MEMBER;
    Tram__Hosts__Welcome welcome = HOSTS_NEW(Welcome, welcome);
    Tram__Hosts__Member member = HOSTS_NEW(Member, member);
    hosts_host host = HOSTS_NEW(Host, host);
    Tram__Hosts__Granted granted = HOSTS_NEW(Granted, granted);
    Tram__Hosts__Refused refused = HOSTS_NEW(Refused, refused);
    Tram__Hosts__Claim claim = HOSTS_NEW(Claim, claim);
    hosts_frame frame = HOSTS_FRAME(WELCOME, welcome, &welcome);

    welcome.number = 1;
    BAD(&frame, way, welcome.number, 0);
    BAD(&frame, way, welcome.number, HOSTS_MAX + 1);
    BAD(&frame, way, welcome.error, 1);
    BAD(&frame, way, welcome.text, tab);

    frame = HOSTS_FRAME(MEMBER, member, &member);
    member.host = &host;
    check_host(&frame, way, &host);
    BAD(&frame, way, host.number, 0);
    BAD(&frame, way, member.host, NULL);

    frame = HOSTS_FRAME(GRANTED, granted, &granted);
    granted.id = NODE;
    BAD(&frame, way, granted.id, EPHEMERAL);
    BAD(&frame, way, granted.from, HOSTS_MAX + 1);

    frame = HOSTS_FRAME(REFUSED, refused, &refused);
    refused.id = NODE;
    BAD(&frame, way, refused.error, 1);
    BAD(&frame, way, refused.host, HOSTS_MAX + 1);

    frame = HOSTS_FRAME(CLAIM, claim, &claim);
    claim.id = NODE;
    bad(&frame, way);
}

TEST(of_another_daemon) {
    const enum hosts_way way = HOSTS_TO_PEER;
    Tram__Hosts__Name name = HOSTS_NEW(Name, name), *named[HOSTS_NAMES_MAX + 1];
    Tram__Hosts__Names names = HOSTS_NEW(Names, names);
    Tram__Hosts__Channel channel = HOSTS_NEW(Channel, channel), *given_ones[] = { &channel };
    Tram__Hosts__Hand hand = HOSTS_NEW(Hand, hand), *hands[HOSTS_HANDS_MAX + 1];
    Tram__Hosts__Note note = HOSTS_NEW(Note, note), *notes[] = { &note };
    Tram__Hosts__Given given = HOSTS_NEW(Given, given);
    Tram__Hosts__Look look = HOSTS_NEW(Look, look);
    Tram__Hosts__Answer answer = HOSTS_NEW(Answer, answer);
    Tram__Hosts__Claim claim = HOSTS_NEW(Claim, claim);
    hosts_frame frame = HOSTS_FRAME(NAMES, names, &names);

    for (size_t i = 0; i <= HOSTS_NAMES_MAX; i++)
        named[i] = &name;
    for (size_t i = 0; i <= HOSTS_HANDS_MAX; i++)
        hands[i] = &hand;
    names.names = named;
    names.n_names = HOSTS_NAMES_MAX;
    name.name = host_name;
    name.program = program;
    name.node = NODE;
    BAD(&frame, way, names.n_names, HOSTS_NAMES_MAX + 1);
    BAD(&frame, way, name.name, nothing);
    BAD(&frame, way, name.program, tab);
    BAD(&frame, way, name.node, 0);

    frame = HOSTS_FRAME(GIVEN, given, &given);
    given.id = NODE;
    given.channels = given_ones;
    given.n_channels = 1;
    given.notes = notes;
    given.n_notes = 1;
    channel.hands = hands;
    channel.from = NODE;
    note.from = EPHEMERAL;
    BAD(&frame, way, channel.from, 0);
    BAD(&frame, way, note.from, 0);
    BAD(&frame, way, note.copy, HOSTS_MAX + 1);
    BAD(&frame, way, channel.n_hands, HOSTS_HANDS_MAX + 1);
    BAD(&frame, way, given.n_channels, HOSTS_CHANNELS_MAX + 1);
    BAD(&frame, way, given.n_notes, HOSTS_CHANNELS_MAX + 1);
    BAD(&frame, way, given.error, 1);
    BAD(&frame, way, given.id, EPHEMERAL);

    frame = HOSTS_FRAME(LOOK, look, &look);
    look.id = EPHEMERAL;
    BAD(&frame, way, look.id, 0);
    BAD(&frame, way, look.id, UINT32_MAX);

    frame = HOSTS_FRAME(ANSWER, answer, &answer);
    answer.view.data = answer.sample.data = bytes;
    BAD(&frame, way, answer.view.len, HOSTS_VIEW_MAX + 1);
    BAD(&frame, way, answer.sample.len, HOSTS_SAMPLE_MAX + 1);

    frame = HOSTS_FRAME(CLAIM, claim, &claim);
    claim.id = NODE;
    bad(&frame, way);
}

TEST(events_of_another_daemon) {
    const enum hosts_way way = HOSTS_TO_PEER;
    Tram__Hosts__Wish wish = HOSTS_NEW(Wish, wish), *wishes[HOSTS_WISHES_MAX + 1];
    Tram__Hosts__Relay relay = HOSTS_NEW(Relay, relay);
    Tram__Hosts__Happened happened = HOSTS_NEW(Happened, happened), *list[] = { &happened };
    Tram__Hosts__Events events = HOSTS_NEW(Events, events);
    hosts_frame frame = HOSTS_FRAME(RELAY, relay, &relay);

    for (size_t i = 0; i <= HOSTS_WISHES_MAX; i++)
        wishes[i] = &wish;
    relay.node = NODE;
    relay.wishes = wishes;
    relay.n_wishes = HOSTS_WISHES_MAX;
    memset(bytes, 'x', 256);
    wish.topic.data = bytes;
    wish.topic.len = 255;
    BAD(&frame, way, relay.node, 0);
    BAD(&frame, way, relay.n_wishes, HOSTS_WISHES_MAX + 1);
    BAD(&frame, way, wish.topic.len, 256);
    BAD(&frame, way, bytes[7], 0);

    frame = HOSTS_FRAME(EVENTS, events, &events);
    events.node = NODE;
    events.events = list;
    events.n_events = 1;
    happened.number = 1;
    happened.data.data = bytes;
    happened.data.len = 64;
    happened.extra = 8;
    BAD(&frame, way, events.node, UINT32_MAX);
    BAD(&frame, way, happened.number, 0);
    BAD(&frame, way, happened.number, UINT64_C(1) << 62);
    BAD(&frame, way, happened.extra, 4);
    BAD(&frame, way, happened.extra, 72);
    BAD(&frame, way, happened.size, 63); /* shorter than its part */
    BAD(&frame, way, happened.offset, 1);
    BAD(&frame, way, happened.flags, UINT32_MAX);
    happened.size = 128;
    happened.offset = 64;
    BAD(&frame, way, happened.offset, 65);
    BAD(&frame, way, happened.offset, UINT32_MAX);
}

TEST(of_the_file) {
    const enum hosts_way way = HOSTS_TO_FILE;
    Tram__Hosts__Record record = HOSTS_NEW(Record, record);
    hosts_host host = HOSTS_NEW(Host, host);
    Tram__Hosts__Told told = HOSTS_NEW(Told, told);
    hosts_frame frame = HOSTS_FRAME(RECORD, record, &record);

    record.id = NODE;
    BAD(&frame, way, record.id, EPHEMERAL);
    BAD(&frame, way, record.holder, HOSTS_MAX + 1);
    BAD(&frame, way, record.from, HOSTS_MAX + 1);
    record.host = &host;
    check_host(&frame, way, &host);
    frame = HOSTS_FRAME(TOLD, told, &told);
    bad(&frame, way);
}

TEST(bytes_that_are_no_frame) {
    static const uint8_t cut[] = { 0x0a, 0x05, 0x08 };
    struct wrong wrong = { 0 };
    hosts_frame *frame = NULL;

    CHECK_EQ(hosts_unpack(cut, sizeof(cut), HOSTS_TO_PEER, &frame, &wrong), -EBADMSG);
    CHECK_EQ(hosts_unpack(cut, 0, HOSTS_TO_PEER, &frame, &wrong), -EBADMSG); /* of no kind */
    CHECK(!frame && !hosts_free(frame));
}
