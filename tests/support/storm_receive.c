/* SPDX-License-Identifier: MIT
 *
 * The receiving side of the kill storm: receivers in all the ways there are to receive and to
 * release, and relays, which forward what they receive exactly once.
 */
#include "support/storm.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum {
    BATCH = 64,
    IN_HAND = 300, /* messages with TRAM_HOLD at most: fewer than a sender's window */
    BIGGEST = 300008,
};

struct held {
    struct storm_chan *chan; /* NULL: of an ephemeral node */
    struct tram_msg msg;
};

struct receiver {
    struct storm_life_of *me;
    struct storm_seen seen;
    struct held soft[BATCH]; /* released by the next receive */
    int n_soft;
    struct held hard[IN_HAND]; /* released one by one */
    int n_hard;
    int epoll;
    uint64_t accepted[STORM_CHANS]; /* before a receive: it may not miss these */
    struct tram_msg msgs[BATCH];
    char buffer[BIGGEST];
};

static void doing(struct storm_life_of *me, const char *what) {
    snprintf(me->self->doing, sizeof me->self->doing, "%s", what);
}

/* ---- what a receive means for the log ------------------------------------------------------- */

static void before(struct receiver *r, unsigned max) {
    struct storm_world *world = r->me->world;

    for (int i = 0; i < r->n_soft; i++)
        if (r->soft[i].chan)
            oracle_releasing(r->soft[i].chan, r->soft[i].msg.seq);
    for (int i = 0; i < world->n_chans; i++)
        r->accepted[i] = __atomic_load_n(&world->chans[i].accepted, __ATOMIC_ACQUIRE);
    if (max)
        oracle_calling(r->me, max);
}

/* A call that releases the soft ones came back. */
static void soft_released(struct receiver *r) {
    for (int i = 0; i < r->n_soft; i++)
        if (r->soft[i].chan)
            oracle_released(r->me, r->soft[i].chan, r->soft[i].msg.seq);
    r->n_soft = 0;
}

static void handed_ephemeral(struct receiver *r, const struct tram_msg *msg) {
    struct storm_world *world = r->me->world;
    const uint64_t *words = msg->data;
    struct storm_life *life;

    if (msg->size != 24 || words[2] != kit_mix(world->seed, words[0], words[1]))
        storm_fail(world, NULL, "message of ephemeral %#x is wrong", msg->from);
    life = &world->lives[words[0] % STORM_LIVES];
    if (words[1] > life->tried || msg->seq != words[1] ||
        (words[1] > life->handed + 1 && msg->attempt == 1) ||
        (words[1] <= life->handed && msg->attempt == 1))
        storm_fail(world, NULL, "ephemeral %#x: number %llu seq %llu attempt %u after %llu of %llu",
                   msg->from, (unsigned long long) words[1], (unsigned long long) msg->seq,
                   msg->attempt, (unsigned long long) life->handed,
                   (unsigned long long) life->tried);
    if (words[1] > life->handed)
        life->handed = words[1];
    world->progress++;
}

/* Some receivers die of some messages, each time: these have to be set aside. */
static void suffer(struct receiver *r, const struct held *held) {
    if (held->chan && r->me->self->attempts <= 5 &&
        storm_key(r->me->world, held->chan, held->msg.seq) % 20000 == 0)
        raise(SIGKILL);
}

static void handed(struct receiver *r, const struct tram_msg *msg, bool hold) {
    struct held *held = hold ? &r->hard[r->n_hard++] : &r->soft[r->n_soft++];

    held->msg = *msg;
    held->chan = NULL;
    if (msg->from >> 28 == 15)
        handed_ephemeral(r, msg);
    else
        held->chan = oracle_handed(r->me, &r->seen, msg);
    suffer(r, held);
}

/* "Empty" must be the truth: all that was accepted before the call was handed out. */
static void check_empty(struct receiver *r, const char *call) {
    struct storm_world *world = r->me->world;

    for (int i = 0; i < world->n_chans; i++)
        if (world->chans[i].receiver == r->me->index && r->accepted[i] > r->seen.last[i])
            oracle_skipped(r->me, &r->seen, &world->chans[i], r->accepted[i], call);
}

static void release_one(struct receiver *r, int index) {
    struct held *held = &r->hard[index];
    int rc;

    if (held->chan)
        oracle_releasing(held->chan, held->msg.seq);
    doing(r->me, "release");
    rc = tram_release(r->me->node, &held->msg);
    doing(r->me, "");
    if (rc < 0)
        storm_fail(r->me->world, held->chan, "tram_release of %llu: %s: %s",
                   (unsigned long long) held->msg.seq, strerror(-rc), kit_error(r->me->node));
    if (held->chan)
        oracle_released(r->me, held->chan, held->msg.seq);
    r->hard[index] = r->hard[--r->n_hard];
}

static void release_some(struct receiver *r, int keep) {
    while (r->n_hard > keep)
        release_one(r, (int) rng_below(&r->me->rng, (uint64_t) r->n_hard));
}

/* After a receiving call that came back with rc: < 0, or the number of messages. */
static int after(struct receiver *r, int rc, bool hold, const char *call) {
    doing(r->me, "");
    if (rc == -EAGAIN || rc == -ETIMEDOUT) {
        oracle_called(r->me);
        soft_released(r);
        check_empty(r, call);
        return 0;
    }
    if (rc == -ENOBUFS && r->n_hard > 0) { /* an old one was held while hundreds came after it */
        oracle_called(r->me);
        soft_released(r);
        release_some(r, 0);
        return 0;
    }
    if (rc < 0)
        storm_fail(r->me->world, NULL, "%s at %#x: %s: %s", call, r->me->self->id, strerror(-rc),
                   kit_error(r->me->node));
    soft_released(r);
    for (int i = 0; i < rc; i++)
        handed(r, &r->msgs[i], hold);
    oracle_called(r->me);
    return rc;
}

/* ---- the ways to receive -------------------------------------------------------------------- */

static int receive_one(struct receiver *r, int64_t timeout_ns) {
    int rc;

    before(r, 1);
    doing(r->me, "recv");
    rc = tram_recv(r->me->node, &r->msgs[0], timeout_ns);
    return after(r, rc == 0 ? 1 : rc, false, "tram_recv");
}

static int receive_batch(struct receiver *r, bool hold, int64_t timeout_ns) {
    int max = 1 + (int) rng_below(&r->me->rng, BATCH), rc;

    if (hold && max > IN_HAND - r->n_hard)
        max = IN_HAND - r->n_hard;
    before(r, (unsigned) max);
    doing(r->me, hold ? "recv_batch, hold" : "recv_batch");
    rc = tram_recv_batch(r->me->node, r->msgs, max, hold ? TRAM_HOLD : 0, timeout_ns);
    if (rc == 0 || rc > max)
        storm_fail(r->me->world, NULL, "tram_recv_batch of %d returned %d", max, rc);
    if (rc > 1)
        for (int i = 0; i < rc; i++)
            if (r->msgs[i].attempt > 1)
                storm_fail(r->me->world, NULL, "a repeated message did not come alone");
    return after(r, rc, hold, "tram_recv_batch");
}

static int receive_copy(struct receiver *r, int64_t timeout_ns) {
    size_t capacity = rng_chance(&r->me->rng, 500) ? 200 : sizeof r->buffer;
    int rc;

    before(r, 1);
    doing(r->me, "recv_copy");
    rc = tram_recv_copy(r->me->node, r->buffer, capacity, &r->msgs[0], timeout_ns);
    if (rc == -EMSGSIZE && capacity == 200)
        rc = tram_recv_copy(r->me->node, r->buffer, sizeof r->buffer, &r->msgs[0], timeout_ns);
    if (rc == 0 && r->msgs[0].data != r->buffer)
        storm_fail(r->me->world, NULL, "tram_recv_copy points elsewhere");
    return after(r, rc == 0 ? 1 : rc, false, "tram_recv_copy");
}

/* Wait in poll or epoll, then take what is there. */
static int receive_driven(struct receiver *r, bool by_epoll) {
    struct pollfd fd = { .fd = tram_fd(r->me->node), .events = POLLIN };
    struct tram_event event;
    int64_t ns;
    int n = 0;

    doing(r->me, "timeout");
    ns = tram_timeout(r->me->node);
    if (ns < 0 || ns > 20 * KIT_MS)
        ns = 20 * KIT_MS; /* looks whether the storm comes to an end */
    doing(r->me, by_epoll ? "epoll" : "poll");
    if (by_epoll) {
        struct epoll_event ready;

        if (r->epoll < 0) {
            r->epoll = epoll_create1(EPOLL_CLOEXEC);
            ready.events = EPOLLIN;
            epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd.fd, &ready);
        }
        epoll_wait(r->epoll, &ready, 1, (int) ((ns + KIT_MS - 1) / KIT_MS));
    } else {
        poll(&fd, 1, (int) ((ns + KIT_MS - 1) / KIT_MS));
    }
    doing(r->me, "dispatch");
    while (tram_dispatch(r->me->node, &event) > 0)
        ;
    while (n < 1000 && receive_one(r, 0) > 0)
        n++;
    return n;
}

static void done(struct receiver *r) {
    int rc;

    before(r, 0);
    doing(r->me, "done");
    rc = tram_done(r->me->node);
    doing(r->me, "");
    if (rc < 0)
        storm_fail(r->me->world, NULL, "tram_done: %s: %s", strerror(-rc), kit_error(r->me->node));
    soft_released(r);
}

/* Bytes in hand must not change before their release. */
static void look_again(struct receiver *r) {
    if (r->n_hard > 0) {
        const struct held *held = &r->hard[rng_below(&r->me->rng, (uint64_t) r->n_hard)];

        if (held->chan && pattern_check(held->msg.data, held->msg.size,
                                        storm_key(r->me->world, held->chan, held->msg.seq)) >= 0)
            storm_fail(r->me->world, held->chan, "%llu changed while it was in hand",
                       (unsigned long long) held->msg.seq);
    }
}

static void receive_some(struct receiver *r) {
    int64_t patience = (int64_t) rng_below(&r->me->rng, 30) * KIT_MS;
    uint64_t way = rng_below(&r->me->rng, 6);

    for (uint64_t n = 1 + rng_below(&r->me->rng, 100); n > 0; n--) {
        switch (way) {
        case 0:
            receive_one(r, patience);
            break;
        case 1:
            receive_batch(r, false, patience);
            break;
        case 2:
            if (r->n_hard > IN_HAND - BATCH)
                release_some(r, (int) rng_below(&r->me->rng, IN_HAND - BATCH));
            receive_batch(r, true, patience);
            look_again(r);
            break;
        case 3:
            receive_copy(r, patience);
            break;
        default:
            receive_driven(r, way == 4);
            break;
        }
        if (r->me->world->ending && n > 3)
            n = 3;
    }
    if (rng_chance(&r->me->rng, 500))
        release_some(r, (int) rng_below(&r->me->rng, 20));
    if (rng_chance(&r->me->rng, 200))
        done(r);
}

/* ---- the end -------------------------------------------------------------------------------- */

/* The storm is over and the channels are drained: what was set aside is tried again, or dropped. */
static void retry_one(struct receiver *r, const struct tram_aside *aside) {
    struct storm_world *world = r->me->world;
    struct storm_chan *chan = storm_find(world, aside->from, r->me->index);
    int rc;

    if (chan && aside->size != storm_size(world, chan, aside->seq))
        storm_fail(world, chan, "%llu is set aside with another size",
                   (unsigned long long) aside->seq);
    rc = tram_aside_retry(r->me->node, aside->from, aside->seq);
    if (rc < 0)
        storm_fail(world, chan, "tram_aside_retry: %s: %s", strerror(-rc), kit_error(r->me->node));
    rc = tram_recv(r->me->node, &r->msgs[0], kit_patience(5));
    if (rc < 0)
        storm_fail(world, chan, "retried %llu does not come: %s", (unsigned long long) aside->seq,
                   strerror(-rc));
    if (chan)
        oracle_retried(r->me, &r->msgs[0]);
    else
        handed_ephemeral(r, &r->msgs[0]);
    if (tram_done(r->me->node) < 0)
        storm_fail(world, chan, "tram_done of a retried message");
}

static void clear_aside(struct receiver *r) {
    static struct tram_aside list[STORM_ASIDE];
    struct storm_world *world = r->me->world;
    int n;

    while ((n = tram_aside_list(r->me->node, list, STORM_ASIDE)) > 0)
        for (int i = 0; i < n && i < STORM_ASIDE; i++)
            retry_one(r, &list[i]);
    if (n < 0)
        storm_fail(world, NULL, "tram_aside_list: %s", strerror(-n));
    for (int i = 0; i < world->n_chans; i++) {
        const struct storm_chan *chan = &world->chans[i];

        if (chan->receiver == r->me->index && chan->n_aside != chan->n_retried)
            storm_fail(world, chan, "%llu were set aside, %llu came when retried",
                       (unsigned long long) chan->n_aside, (unsigned long long) chan->n_retried);
    }
}

static void begin(struct receiver *r, struct storm_life_of *me) {
    r->me = me;
    r->epoll = -1;
    storm_open(me);
    oracle_begin(me, &r->seen);
}

void storm_receiver(struct storm_life_of *me) {
    static struct receiver receiver;
    struct receiver *r = &receiver;

    begin(r, me);
    while (!oracle_drained(me)) {
        receive_some(r);
        if (me->world->ending)
            release_some(r, 0);
        /* An orderly end with messages in hand: they come again. */
        if (!me->world->ending && rng_chance(&me->rng, 2))
            break;
    }
    if (me->world->ending && oracle_drained(me)) {
        while (receive_one(r, 0) > 0)
            ;
        if (me->world->ending > 1)
            clear_aside(r);
        me->self->ended = 1;
    }
    doing(me, "close");
    tram_close(me->node);
    doing(me, "");
}

/* ---- relays --------------------------------------------------------------------------------- */

static struct storm_chan *downstream(struct storm_life_of *me, const struct storm_chan *up) {
    struct storm_world *world = me->world;

    for (int i = 0; i < world->n_chans; i++)
        if (world->chans[i].sender == me->index && world->chans[i].origin == up->origin)
            return &world->chans[i];
    storm_fail(world, up, "this relay has no way on");
}

/* Number n of a relay's channel is number n of its upstream: what a dead life has forwarded already
 * is recognised by the count, and a gap is a message that was lost here. */
static void forward(struct receiver *r, uint64_t *next, const struct held *held, uint32_t flags) {
    struct storm_world *world = r->me->world;
    struct storm_chan *down = downstream(r->me, held->chan);
    uint64_t *n = &next[down - world->chans], seq = held->msg.seq;
    int rc;

    if (seq < *n)
        return;
    if (seq > *n)
        storm_fail(world, down, "relay: %llu comes, but %llu was not forwarded",
                   (unsigned long long) seq, (unsigned long long) *n);
    __atomic_store_n(&down->tried, seq, __ATOMIC_RELEASE);
    doing(r->me, "forward");
    rc = tram_forward(r->me->node, &held->msg, world->nodes[down->receiver].id, flags);
    doing(r->me, "");
    if (rc < 0 || rc > TRAM_STAGED)
        storm_fail(world, down, "tram_forward: %d %s", rc, kit_error(r->me->node));
    ++*n;
    if (rc == 0)
        __atomic_store_n(&down->accepted, seq, __ATOMIC_RELEASE);
}

/* A receive flushes before it releases: all that was forwarded is accepted. */
static void note_forwarded(struct receiver *r, const uint64_t *next) {
    struct storm_world *world = r->me->world;

    for (int i = 0; i < world->n_chans; i++)
        if (world->chans[i].sender == r->me->index)
            __atomic_store_n(&world->chans[i].accepted, next[i] - 1, __ATOMIC_RELEASE);
}

static void relay_some(struct receiver *r, uint64_t *next) {
    uint32_t flags = rng_chance(&r->me->rng, 500) ? TRAM_MORE : 0;
    int64_t patience = (int64_t) rng_below(&r->me->rng, 20) * KIT_MS;
    uint64_t way = rng_below(&r->me->rng, 3);

    for (uint64_t n = 1 + rng_below(&r->me->rng, 60); n > 0; n--) {
        if (way == 0)
            receive_one(r, patience);
        else
            receive_batch(r, way == 2, patience);
        note_forwarded(r, next);
        for (int i = 0; i < r->n_soft; i++)
            if (r->soft[i].chan)
                forward(r, next, &r->soft[i], flags);
        for (int i = 0; i < r->n_hard; i++)
            if (r->hard[i].chan)
                forward(r, next, &r->hard[i], flags);
        /* Released by hand only after what was staged is accepted. */
        if (r->n_hard > 0 && tram_flush(r->me->node) < 0)
            storm_fail(r->me->world, NULL, "tram_flush: %s", kit_error(r->me->node));
        release_some(r, 0);
    }
}

static bool upstreams_ended(struct storm_life_of *me) {
    return me->world->ending && oracle_drained(me);
}

void storm_relay(struct storm_life_of *me) {
    static struct receiver receiver;
    static uint64_t next[STORM_CHANS];
    struct storm_world *world = me->world;
    struct receiver *r = &receiver;

    begin(r, me);
    for (int i = 0; i < world->n_chans; i++)
        if (world->chans[i].sender == me->index)
            next[i] = storm_resume(me, &world->chans[i]);
    while (!upstreams_ended(me))
        relay_some(r, next);
    done(r);
    doing(me, "close");
    tram_close(me->node);
    doing(me, "");
    for (int i = 0; i < world->n_chans; i++)
        if (world->chans[i].sender == me->index) {
            __atomic_store_n(&world->chans[i].accepted, next[i] - 1, __ATOMIC_RELEASE);
            __atomic_store_n(&world->chans[i].final, next[i], __ATOMIC_RELEASE);
        }
    me->self->ended = 1;
}
