/* SPDX-License-Identifier: MIT
 * test: link=shared
 *
 * One life of a node in the kill storm of the bindings, in C: a sender or a receiver, beside which
 * those in other languages live. tests/support/lives.py has the oracle's memory and the rules; the
 * storm of the library itself, with all the ways of C, is tests/support/storm.c.
 *
 *     life_prog ORACLE NODE       the life of a node
 *     life_prog ORACLE check      afterwards: what both ends of each channel say
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "support/kit.h"

/* Words of the oracle's memory, as lives.py has them. */
enum { SEED, NODES, CHANS, ENDING, FAILED, PROGRESS };
enum { ID, ROLE, RING, CALLING, ENDED };
enum { SENDER, RECEIVER, ORIGIN, TRIED, ACCEPTED, FINAL }; /* of a channel: the sender's */
enum { HANDED = 6, MAYBE, SETTLED, HANDOUTS, REPEATS };    /* … and the receiver's */
enum { HEADER = 16, NODE = 16, MAX_NODES = 32, LOG = 4096, CHAN = 16 + LOG, MAX_CHANS = 32 };
enum { IS_HANDED = 1, RELEASING, RELEASED };
enum { BATCH = 16, BIGGEST = 60000 };

static uint64_t *memory;
static uint64_t *me;
static tram_node *node;
static struct rng dice;
static char buffer[BIGGEST + 8];

/* The channels of this node: a sender's numbers, or how far a receiver has come in this life. */
static uint64_t *chans[MAX_CHANS];
static uint64_t at[MAX_CHANS];
static int n_chans;

/* Received without TRAM_HOLD: the next receive releases them. */
static struct tram_msg autos[BATCH];
static int n_autos;

static uint64_t get(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static void set(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static uint64_t *node_words(uint64_t i) {
    return memory + HEADER + NODE * i;
}

static uint64_t *chan_words(uint64_t i) {
    return memory + HEADER + NODE * MAX_NODES + CHAN * i;
}

static tram_id node_id(uint64_t i) {
    return (tram_id) node_words(i)[ID];
}

__attribute__((noreturn)) static void fail(const uint64_t *chan, uint64_t seq, const char *what) {
    fprintf(stderr, "  channel %#x -> %#x, message %llu: %s (%s)\n", chan ? node_id(chan[0]) : 0,
            chan ? node_id(chan[1]) : 0, (unsigned long long) seq, what, kit_error(node));
    set(&memory[FAILED], 1);
    _exit(1);
}

/* ---- what follows from a channel and a number ----------------------------------------------- */

static size_t content(const uint64_t *chan, uint64_t seq, uint32_t *ret_tag) {
    static const uint64_t bounds[] = { 300, 3000, 20000, 60000 };
    uint64_t key = kit_mix(memory[SEED], chan[ORIGIN], seq), r = key % 100;
    size_t size = (key >> 8) % bounds[(r >= 70) + (r >= 95) + (r >= 99)];

    for (size_t i = 0; i < size; i += 8)
        memcpy(buffer + i, &key, 8);
    *ret_tag = (uint32_t) key;
    return size;
}

/* ---- sending -------------------------------------------------------------------------------- */

static void all_accepted(void) {
    for (int i = 0; i < n_chans; i++)
        set(&chans[i][ACCEPTED], at[i] - 1);
}

static void step(int i) {
    struct tram_meta meta = { 0 };
    tram_id to = node_id(chans[i][RECEIVER]);
    size_t size = content(chans[i], at[i], &meta.tag);
    struct iovec pieces[2] = { { buffer, size / 3 }, { buffer + size / 3, size - size / 3 } };
    uint32_t flags = rng_chance(&dice, 300) ? TRAM_MORE : 0;
    int rc;

    set(&chans[i][TRIED], at[i]);
    if (rng_chance(&dice, 500)) {
        rc = tram_send(node, to, meta.tag, buffer, size, flags);
    } else {
        do
            rc = tram_sendv(node, to, &meta, pieces, 2, flags, 2 * KIT_MS);
        while (rc == -ETIMEDOUT);
    }
    if (rc < 0)
        fail(chans[i], at[i], "send");
    at[i]++;
    if (rc == 0)
        set(&chans[i][ACCEPTED], at[i] - 1);
    memory[PROGRESS]++;
}

static void live_sender(void) {
    while (!get(&memory[ENDING])) {
        step((int) rng_below(&dice, (uint64_t) n_chans));
        if (rng_chance(&dice, 50)) {
            if (tram_flush(node) < 0)
                fail(NULL, 0, "flush");
            all_accepted();
        }
    }
    if (tram_flush(node) < 0)
        fail(NULL, 0, "flush");
    all_accepted();
    for (int i = 0; i < n_chans; i++)
        set(&chans[i][FINAL], at[i]);
}

/* ---- receiving ------------------------------------------------------------------------------ */

static int chan_of(tram_id from) {
    for (int i = 0; i < n_chans; i++)
        if (node_id(chans[i][SENDER]) == from)
            return i;
    fail(NULL, 0, "a message from a stranger");
}

static uint64_t reached(int i) {
    return at[i] > chans[i][SETTLED] ? at[i] : chans[i][SETTLED];
}

static void mark(const struct tram_msg *msg, uint64_t state) {
    uint64_t *chan = chans[chan_of(msg->from)], seq = chan[SETTLED];

    set(&chan[16 + msg->seq % LOG], msg->seq << 2 | state);
    while (chan[16 + (seq + 1) % LOG] == ((seq + 1) << 2 | RELEASED))
        seq++;
    set(&chan[SETTLED], seq);
}

/* Numbers up to `upto` did not come in this life: they may only be such as were released. */
static void skipped(int i, uint64_t upto) {
    for (uint64_t seq = reached(i) + 1; seq <= upto; seq++) {
        uint64_t entry = chans[i][16 + seq % LOG];
        struct tram_msg gone = { .from = node_id(chans[i][SENDER]), .seq = seq };

        if (entry >> 2 != seq || (entry & 3) < RELEASING)
            fail(chans[i], seq, "lost: it was not released, and did not come");
        mark(&gone, RELEASED);
    }
}

static void handed(const struct tram_msg *msg) {
    int i = chan_of(msg->from);
    uint64_t *chan = chans[i], seq = msg->seq;
    uint32_t tag;

    if (seq <= at[i])
        fail(chan, seq, "out of order");
    skipped(i, seq - 1);
    if (seq > chan[HANDED]) {
        if (msg->attempt > 1 && seq > chan[MAYBE])
            fail(chan, seq, "marked, and nobody can have had it");
        set(&chan[HANDED], seq);
    } else {
        if (seq <= chan[SETTLED] || chan[16 + seq % LOG] == (seq << 2 | RELEASED))
            fail(chan, seq, "twice: it was released");
        if (msg->attempt < 2)
            fail(chan, seq, "twice, and not marked");
        chan[REPEATS]++;
    }
    if (msg->size != content(chan, seq, &tag) || msg->tag != tag ||
        memcmp(msg->data, buffer, msg->size) != 0)
        fail(chan, seq, "other bytes than were sent");
    set(&chan[16 + seq % LOG], seq << 2 | IS_HANDED);
    at[i] = seq;
    chan[HANDOUTS]++;
    memory[PROGRESS]++;
}

static void receive(int max, uint32_t flags, int64_t timeout) {
    uint64_t before[MAX_CHANS];
    struct tram_msg msgs[BATCH];
    int rc;

    for (int i = 0; i < n_chans; i++)
        before[i] = get(&chans[i][ACCEPTED]);
    for (int i = 0; i < n_autos; i++)
        mark(&autos[i], RELEASING);
    set(&me[CALLING], (uint64_t) max);
    rc = tram_recv_batch(node, msgs, max, flags, timeout);
    for (int i = 0; i < n_autos; i++)
        mark(&autos[i], RELEASED);
    n_autos = 0;
    if (rc < 0 && rc != -EAGAIN && rc != -ETIMEDOUT)
        fail(NULL, 0, "receive");
    for (int i = 0; rc == -EAGAIN && i < n_chans; i++)
        skipped(i, before[i]); /* the truth: all that had been accepted was here */
    for (int i = 0; i < rc; i++)
        handed(&msgs[i]);
    set(&me[CALLING], 0);
    if (!(flags & TRAM_HOLD)) {
        for (; n_autos < rc; n_autos++)
            autos[n_autos] = msgs[n_autos];
        return;
    }
    for (int i = rc - 1; i >= 0; i--) { /* the last one first */
        mark(&msgs[i], RELEASING);
        if (tram_release(node, &msgs[i]) < 0)
            fail(NULL, msgs[i].seq, "release");
        mark(&msgs[i], RELEASED);
    }
}

static bool complete(void) {
    if (!get(&memory[ENDING]))
        return false;
    for (int i = 0; i < n_chans; i++) {
        uint64_t final = get(&chans[i][FINAL]);

        if (final == 0 || reached(i) + 1 < final)
            return false;
    }
    return true;
}

static void live_receiver(void) {
    do
        receive(1 + (int) rng_below(&dice, BATCH), rng_chance(&dice, 300) ? TRAM_HOLD : 0,
                rng_chance(&dice, 500) ? 0 : KIT_MS);
    while (!complete());
    receive(1, 0, 0); /* nothing: by that it is known what a life before released */
}

/* ---- a life --------------------------------------------------------------------------------- */

static void open_node(uint64_t index) {
    struct tram_options options = kit_options(me[RING], 0);
    int64_t end = kit_now() + kit_patience(20);
    int rc;

    options.ring_max = 4 << 20;
    options.attempts = 250;
    while ((rc = tram_open(NULL, node_id(index), &options, &node)) == -EADDRINUSE &&
           kit_now() < end)
        kit_pause();
    if (rc < 0)
        fail(NULL, 0, "open");
}

static void take_up(uint64_t index) {
    for (uint64_t i = 0; i < memory[CHANS]; i++) {
        uint64_t *chan = chan_words(i), accepted;

        if (chan[RECEIVER] == index) {
            uint64_t maybe = chan[HANDED] + me[CALLING];

            at[n_chans] = 0;
            chans[n_chans++] = chan;
            set(&chan[MAYBE], maybe > chan[MAYBE] ? maybe : chan[MAYBE]);
        } else if (chan[SENDER] == index) {
            if (tram_accepted(node, node_id(chan[RECEIVER]), &accepted) < 0 ||
                accepted < chan[ACCEPTED] || accepted > chan[TRIED])
                fail(chan, accepted, "tram_accepted() is not between accepted and tried");
            at[n_chans] = accepted + 1;
            chans[n_chans++] = chan;
            set(&chan[ACCEPTED], accepted);
        }
    }
    set(&me[CALLING], 0);
}

static void check(const uint64_t *chan) {
    tram_node *sender = kit_open(NULL, node_id(chan[SENDER]), NULL);
    tram_node *receiver = kit_open(NULL, node_id(chan[RECEIVER]), NULL);
    struct tram_peer peer;
    struct tram_msg msg;
    uint64_t count;

    if (tram_accepted(sender, node_id(chan[RECEIVER]), &count) < 0 || count + 1 != chan[FINAL] ||
        count != chan[HANDED] || count != chan[SETTLED])
        fail(chan, count, "accepted, handed out and released are not the same");
    if (tram_peer(receiver, node_id(chan[SENDER]), &peer) < 0 || peer.from.accepted != count ||
        peer.from.consumed != count || peer.from.bytes != 0)
        fail(chan, count, "tram_peer() says something else");
    if (tram_recv(receiver, &msg, 0) != -EAGAIN)
        fail(chan, count, "something is left");
    tram_close(sender);
    tram_close(receiver);
}

int main(int argc, char **argv) {
    size_t size = sizeof(uint64_t) * (HEADER + NODE * MAX_NODES + CHAN * MAX_CHANS);
    int fd = argc == 3 ? open(argv[1], O_RDWR | O_CLOEXEC) : -1;
    uint64_t index;

    if (fd < 0) {
        fprintf(stderr, "usage: life_prog ORACLE NODE|check\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED) {
        perror("mmap");
        return 2;
    }
    if (strcmp(argv[2], "check") == 0) {
        for (uint64_t i = 0; i < memory[CHANS]; i++)
            check(chan_words(i));
        return 0;
    }
    index = strtoull(argv[2], NULL, 10);
    me = node_words(index);
    dice.state = kit_mix(memory[SEED], index, (uint64_t) getpid());
    open_node(index);
    take_up(index);
    if (me[ROLE] == 0)
        live_sender();
    else
        live_receiver();
    tram_close(node);
    set(&me[ENDED], 1);
    return 0;
}
