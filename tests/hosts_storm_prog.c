/* SPDX-License-Identifier: MIT
 *
 * The ends of a storm over several hosts (hosts_storm_test.py), and its oracle.
 *
 *     hosts_storm_prog send STATE ID      sends on each channel from that node, until told to end
 *     hosts_storm_prog recv STATE ID      receives on each channel to it, until all has come
 *
 * What is known of each channel lies in the file STATE, which all hosts of the test share, and
 * which survives the processes. Both sides say there what they are about to do before they call
 * the library, and what became of it afterwards. Sure of a channel at all times:
 *
 *   accepted <= tram_accepted() at an open <= tried
 *   numbers come one behind the other, from settled + 1 in a new life of the receiver (or behind
 *   what it was releasing when it died); what was seen comes again marked, and nothing else does,
 *   but what may have been handed out unseen at a death
 *
 * The payload of a message follows from channel and number. A mistake is written into the file
 * (the first one), and ends all.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "support/kit.h"

enum { CHANS = 64, BIG = 150000, WORDS = 16, TEXT = 448, PAUSE_MS = 100 };

struct chan { /* WORDS words; the test makes them, and reads some */
    uint64_t from, to;
    _Atomic uint64_t pace; /* of the sender: us between two messages; 0: as fast as it goes */
    _Atomic uint64_t hold; /* of the receiver: us that it thinks about each */
    _Atomic uint64_t tried, accepted;
    _Atomic uint64_t handed;    /* highest number that was seen */
    _Atomic uint64_t unsure;    /* … that may have been handed out unseen at a death */
    _Atomic uint64_t settled;   /* released for sure */
    _Atomic uint64_t releasing; /* a call that releases up to it was begun */
    _Atomic uint64_t repeats;
    _Atomic uint64_t came;      /* when the last one came, */
    _Atomic uint64_t late;      /* … and the longest that one was on its way: ns */
    uint64_t spare[3];
};
static_assert(sizeof(struct chan) == WORDS * 8, "as hosts_storm_test.py has it");

struct state {
    _Atomic uint64_t ending, failed, calling[2];
    uint64_t seed, spare[3];
    char text[TEXT];
    struct chan chans[CHANS];
};

struct head { /* of a payload */
    uint64_t chan, number;
    int64_t sent;
};

static struct state *state;
static tram_id self;
static tram_node *node;
static uint8_t buffer[BIG + 8];

static void fail(const struct chan *chan, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));
static void fail(const struct chan *chan, const char *format, ...) {
    uint64_t none = 0;
    char text[TEXT];
    va_list args;
    int at = 0;

    if (chan)
        at = snprintf(text, sizeof(text), "%" PRIx64 " to %" PRIx64 ": ", chan->from, chan->to);
    va_start(args, format);
    (void) vsnprintf(text + at, sizeof(text) - (size_t) at, format, args);
    va_end(args);
    fprintf(stderr, "hosts_storm_prog: %s\n", text);
    if (atomic_compare_exchange_strong(&state->failed, &none, 1))
        memcpy(state->text, text, sizeof(text));
    exit(1);
}

static void open_node(void) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    int64_t end = kit_now() + kit_patience(30);
    int rc;

    options.attempts = 254;
    /* Its last holder may be dying, its host be cut off, the directory be away. */
    while ((rc = tram_open(NULL, self, &options, &node)) == -EADDRINUSE || rc == -EAGAIN ||
           rc == -EHOSTUNREACH || rc == -ETIMEDOUT) {
        if (kit_now() > end || state->ending > 1)
            break;
        (void) usleep(20000);
    }
    if (rc < 0)
        fail(NULL, "open of %#x: %s: %s", self, strerror(-rc), kit_error(NULL));
}

static size_t size_of(uint64_t key) {
    if (key % 400 == 0)
        return BIG - key / 400 % 100000;
    return sizeof(struct head) + key / 400 % 300;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void resume(struct chan *chan) {
    uint64_t accepted = 0;
    int rc = tram_accepted(node, (tram_id) chan->to, &accepted);

    if (rc < 0)
        fail(chan, "tram_accepted: %s: %s", strerror(-rc), kit_error(node));
    if (accepted < chan->accepted || accepted > chan->tried)
        fail(chan, "the bus accepted %" PRIu64 "; %" PRIu64 " were accepted, %" PRIu64 " tried",
             accepted, chan->accepted, chan->tried);
    chan->accepted = chan->tried = accepted;
}

static void send_one(struct chan *chan) {
    uint64_t number = chan->accepted + 1;
    uint64_t at = (uint64_t) (chan - state->chans);
    uint64_t key = kit_mix(state->seed, at, number);
    struct head head = { at, number, kit_now() };
    size_t size = size_of(key);
    struct iovec piece = { buffer, size };
    struct tram_meta meta = { .tag = (uint32_t) key };
    int rc;

    memcpy(buffer, &head, sizeof(head));
    pattern_fill(buffer + sizeof(head), size - sizeof(head), key);
    chan->tried = number;
    rc = tram_sendv(node, (tram_id) chan->to, &meta, &piece, 1, 0, PAUSE_MS * KIT_MS);
    if (rc == 0)
        chan->accepted = number;
    else if (rc == -ETIMEDOUT || rc == -EAGAIN)
        chan->tried = chan->accepted;
    else
        fail(chan, "send: %s: %s", strerror(-rc), kit_error(node));
}

static void sender(void) {
    int64_t due[CHANS] = { 0 };

    for (int i = 0; i < CHANS; i++)
        if (state->chans[i].from == self)
            resume(&state->chans[i]);
    while (!state->ending) {
        int64_t now = kit_now(), next = now + PAUSE_MS * KIT_MS;

        for (int i = 0; i < CHANS && !state->ending; i++) {
            struct chan *chan = &state->chans[i];

            if (chan->from != self)
                continue;
            if (due[i] <= now) {
                send_one(chan);
                due[i] = now + (int64_t) chan->pace * 1000;
            }
            next = due[i] < next ? due[i] : next;
        }
        now = kit_now(); /* once: below 0 it would be an hour */
        if (next > now)
            (void) usleep((useconds_t) ((next - now) / 1000 + 1));
    }
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* A new life of the receiver: what the last one was doing may have been done. */
static void take_over(uint64_t *next, struct chan *chan) {
    if (chan->unsure <= chan->handed)
        chan->unsure = chan->handed + 1;
    *next = 0;
}

static struct chan *check(uint64_t *next, const struct tram_msg *msg) {
    struct head head;
    struct chan *chan = NULL;
    uint64_t key;
    int at = 0;

    if (msg->size < sizeof(head))
        fail(NULL, "a message of %zu bytes", msg->size);
    memcpy(&head, msg->data, sizeof(head));
    if (head.chan >= CHANS)
        fail(NULL, "a message of channel %" PRIu64, head.chan);
    at = (int) head.chan;
    chan = &state->chans[at];
    key = kit_mix(state->seed, head.chan, head.number);
    if (chan->from != msg->from || chan->to != self || head.number != msg->seq ||
        msg->tag != (uint32_t) key || msg->size != size_of(key) ||
        pattern_check((const uint8_t *) msg->data + sizeof(head), msg->size - sizeof(head), key) >=
            0)
        fail(chan, "message %" PRIu64 " says that it is %" PRIu64 ", or is not what was sent",
             msg->seq, head.number);
    if (head.number > chan->tried)
        fail(chan, "message %" PRIu64 ", of which no send was begun", msg->seq);
    if (next[at] == 0 ? msg->seq != chan->settled + 1 && msg->seq != chan->releasing + 1
                      : msg->seq != next[at])
        fail(chan, "message %" PRIu64 " (attempt %u) after %" PRIu64 "; settled %" PRIu64
             ", releasing %" PRIu64 ", handed %" PRIu64, msg->seq, msg->attempt,
             next[at] ? next[at] - 1 : 0, chan->settled, chan->releasing, chan->handed);
    if (msg->seq <= chan->handed && msg->attempt == 1)
        fail(chan, "message %" PRIu64 " comes again, unmarked", msg->seq);
    if (msg->seq > chan->unsure && msg->seq > chan->handed && msg->attempt > 1)
        fail(chan, "message %" PRIu64 " is marked %u, and comes for the first time", msg->seq,
             msg->attempt);
    if (msg->seq <= chan->handed)
        chan->repeats++;
    next[at] = msg->seq + 1;
    if (msg->seq > chan->handed)
        chan->handed = msg->seq;
    if (msg->attempt == 1 && (uint64_t) (kit_now() - head.sent) > chan->late)
        chan->late = (uint64_t) (kit_now() - head.sent);
    chan->came = (uint64_t) kit_now();
    return chan;
}

static bool drained(void) {
    for (int i = 0; i < CHANS; i++)
        if (state->chans[i].to == self && state->chans[i].settled < state->chans[i].accepted)
            return false;
    return true;
}

static void receiver(void) {
    uint64_t next[CHANS] = { 0 };

    for (int i = 0; i < CHANS; i++)
        if (state->chans[i].to == self)
            take_over(&next[i], &state->chans[i]);
    while (state->ending < 2 && !(state->ending == 1 && drained())) {
        struct tram_msg msg;
        struct chan *chan;
        int rc = tram_recv(node, &msg, PAUSE_MS * KIT_MS);

        if (rc == -ETIMEDOUT || rc == -EAGAIN)
            continue;
        if (rc < 0)
            fail(NULL, "receive of %#x: %s: %s", self, strerror(-rc), kit_error(node));
        chan = check(next, &msg);
        if (chan->hold > 0)
            (void) usleep((useconds_t) chan->hold);
        chan->releasing = msg.seq;
        rc = tram_done(node);
        if (rc < 0)
            fail(chan, "release: %s: %s", strerror(-rc), kit_error(node));
        chan->settled = msg.seq;
    }
}

int main(int argc, char **argv) {
    int fd = argc == 4 ? open(argv[2], O_RDWR | O_CLOEXEC) : -1;
    void *at = fd < 0 ? MAP_FAILED
                      : mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (at == MAP_FAILED || tram_id_parse(argv[3], &self) < 0) {
        fprintf(stderr, "usage: hosts_storm_prog send|recv STATE ID\n");
        return 2;
    }
    state = at;
    open_node();
    if (strcmp(argv[1], "send") == 0)
        sender();
    else
        receiver();
    node = tram_close(node);
    return 0;
}
