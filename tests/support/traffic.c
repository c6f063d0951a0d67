/* SPDX-License-Identifier: MIT */
#include "support/traffic.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "harness.h"

enum { LARGEST = 6000, LAST = 1 }; /* LAST: the tag of the last message */

/* One of the two, from the inside. */
struct end {
    struct traffic *traffic;
    tram_node *node;
    tram_id partner;
    struct rng rng;
};

void traffic_pass(int64_t ns) {
    int64_t end = kit_now() + ns;

    while (kit_now() < end)
        (void) poll(NULL, 0, 1 + (int) ((end - kit_now()) / KIT_MS)); /* signals may end it */
}

/* A call ended by its bound. Above it stand what a busy machine takes, and a stop. */
static void check_bound(struct traffic *traffic, int64_t began, int64_t timeout_ns) {
    int64_t took = kit_now() - began;

    if (took < timeout_ns || took > timeout_ns + KIT_S + kit_patience(5))
        FAIL("a wait of %.3f ms took %.3f ms", (double) timeout_ns / 1e6, (double) took / 1e6);
    traffic->bounds++;
}

static void check_event(const struct end *end, const struct tram_event *event) {
    CHECK_EQ(event->peer, end->partner);
    if (event->type == TRAM_EVENT_DOWN && !end->traffic->ending)
        FAIL("a process that lives is said to be down");
    CHECK(event->type != TRAM_EVENT_CLOSED);
}

static void dispatch(struct end *end) {
    struct tram_event event;

    while (CHECK_OK(tram_dispatch(end->node, &event)) > 0)
        check_event(end, &event);
}

/* As an event loop does. */
static void poll_once(struct end *end) {
    struct pollfd fd = { .fd = CHECK_OK(tram_fd(end->node)), .events = POLLIN };
    int64_t ns = tram_timeout(end->node);

    CHECK(ns >= TRAM_FOREVER);
    (void) poll(&fd, 1, ns < 0 ? -1 : (int) ((ns + KIT_MS - 1) / KIT_MS)); /* or -EINTR */
    dispatch(end);
}

static void begin(struct end *end, struct traffic *traffic, bool receiver) {
    struct tram_options options = kit_options(65536, 0);

    if (traffic->begin)
        traffic->begin(traffic, receiver);
    options.flags = traffic->flags;
    options.spin_ns = traffic->seed % 3 == 0 ? TRAM_NO_SPIN : 0;
    end->traffic = traffic;
    end->partner = receiver ? traffic->sender : traffic->receiver;
    end->rng.state = kit_mix(traffic->seed, receiver, 0);
    end->node = kit_open(NULL, receiver ? traffic->receiver : traffic->sender, &options);
    CHECK_OK(tram_watch(end->node, end->partner));
}

/* ---- the sender ------------------------------------------------------------------------------ */

static uint64_t key_of(const struct traffic *traffic, uint64_t n) {
    return kit_mix(traffic->seed, n, 7);
}

static size_t size_of(const struct traffic *traffic, uint64_t n) {
    uint64_t mixed = kit_mix(traffic->seed, n, 8);

    return mixed % 8 ? mixed / 8 % 200 : mixed / 8 % LARGEST;
}

static int claim(struct end *end, const char *bytes, size_t size, int64_t timeout_ns) {
    void *room;
    int rc = tram_claim(end->node, end->partner, size, timeout_ns, &room);

    if (rc < 0)
        return rc;
    memcpy(room, bytes, size);
    return tram_commit(end->node, end->partner, NULL, size, 0);
}

/* One try, in one of the ways there are. Returns false when there was no room. */
static bool send_somehow(struct end *end, const char *bytes, size_t size) {
    struct iovec piece = { .iov_base = (void *) (uintptr_t) bytes, .iov_len = size };
    int64_t bound = (int64_t) rng_below(&end->rng, 20) * KIT_MS, began = kit_now();
    int rc;

    switch (rng_below(&end->rng, 6)) {
    case 0:
        rc = tram_sendv(end->node, end->partner, NULL, &piece, 1, 0, bound);
        break;
    case 1:
        rc = claim(end, bytes, size, bound);
        break;
    case 2:
        CHECK_EQ(tram_send(end->node, end->partner, 0, bytes, size, TRAM_MORE), TRAM_STAGED);
        rc = tram_flush(end->node);
        break;
    case 3:
        rc = tram_send(end->node, end->partner, 0, bytes, size, TRAM_NOWAIT);
        if (rc == -EAGAIN && end->traffic->seed % 2) {
            poll_once(end);
            return false;
        }
        break;
    default:
        rc = tram_send(end->node, end->partner, 0, bytes, size, 0);
        break;
    }
    if (rc == -ETIMEDOUT)
        check_bound(end->traffic, began, bound);
    else if (rc != -EAGAIN)
        CHECK_EQ(rc, 0);
    return rc == 0;
}

static void run_sender(void *arg) {
    static char bytes[LARGEST];
    struct traffic *traffic = arg;
    struct end end;
    uint64_t n = 1, count;

    begin(&end, traffic, false);
    for (; !traffic->ending; n++) {
        size_t size = size_of(traffic, n);

        pattern_fill(bytes, size, key_of(traffic, n));
        while (!send_somehow(&end, bytes, size))
            continue;
        traffic->accepted = n;
        if (rng_chance(&end.rng, 10)) {
            dispatch(&end);
            traffic_pass((int64_t) rng_below(&end.rng, 3) * KIT_MS);
        }
    }
    CHECK_OK(tram_send(end.node, end.partner, LAST, NULL, 0, 0));
    CHECK_OK(tram_accepted(end.node, end.partner, &count));
    CHECK_EQ(count, n);
    tram_close(end.node);
}

/* ---- the receiver ---------------------------------------------------------------------------- */

static const int64_t waits[] = {
    0, KIT_MS, 5 * KIT_MS, 40 * KIT_MS, 300 * KIT_MS, TRAM_FOREVER, TRAM_FOREVER, TRAM_FOREVER,
};

/* Returns how many messages came; 0: none did. */
static int receive_somehow(struct end *end, struct tram_msg *msgs, int max) {
    static char copy[LARGEST];
    int64_t wait = waits[rng_below(&end->rng, sizeof waits / sizeof *waits)], began;
    uint64_t accepted = end->traffic->accepted;
    int rc = 0;

    began = kit_now();
    switch (rng_below(&end->rng, end->traffic->seed % 2 ? 5 : 4)) {
    case 0:
        rc = tram_recv_batch(end->node, msgs, max, 0, wait);
        break;
    case 1:
        rc = tram_recv_copy(end->node, copy, sizeof copy, msgs, wait);
        rc = rc == 0 ? 1 : rc;
        break;
    case 2:
        rc = tram_wait(end->node, wait);
        if (rc == 1) { /* a message, or an event */
            dispatch(end);
            return 0;
        }
        CHECK(rc < 0);
        break;
    case 3:
        rc = tram_recv(end->node, msgs, wait);
        rc = rc == 0 ? 1 : rc;
        break;
    default:
        poll_once(end);
        return 0;
    }
    if (rc > 0)
        return rc;
    CHECK_EQ(rc, wait ? -ETIMEDOUT : -EAGAIN);
    CHECK(wait >= 0);
    check_bound(end->traffic, began, wait);
    if (accepted > end->traffic->received)
        FAIL("said to be empty: message %llu of %llu",
             (unsigned long long) end->traffic->received + 1, (unsigned long long) accepted);
    return 0;
}

static void check_message(struct traffic *traffic, const struct tram_msg *msg, uint64_t n) {
    CHECK_EQ(msg->seq, n);
    CHECK_EQ(msg->attempt, 1);
    CHECK_EQ(msg->from, traffic->sender);
    if (msg->tag == LAST)
        return;
    CHECK_EQ(msg->size, size_of(traffic, n));
    CHECK_EQ(pattern_check(msg->data, msg->size, key_of(traffic, n)), -1);
    if (traffic->seen)
        traffic->seen(traffic, msg);
}

static void run_receiver(void *arg) {
    enum { MOST = 32 };
    struct traffic *traffic = arg;
    struct tram_msg msgs[MOST];
    bool last = false;
    struct end end;

    begin(&end, traffic, true);
    while (!last) {
        int count = receive_somehow(&end, msgs, 1 + (int) rng_below(&end.rng, MOST));

        for (int i = 0; i < count; i++) {
            CHECK(!last);
            check_message(traffic, &msgs[i], traffic->received + 1);
            traffic->received++;
            last = msgs[i].tag == LAST;
        }
        if (rng_chance(&end.rng, 5))
            traffic_pass((int64_t) rng_below(&end.rng, 4) * KIT_MS);
    }
    CHECK_OK(tram_done(end.node));
    tram_close(end.node);
}

/* ---- from outside ---------------------------------------------------------------------------- */

void traffic_await_progress(struct traffic *traffic) {
    uint64_t from = traffic->received;
    int64_t end = kit_now() + kit_patience(10);

    while (traffic->received < from + 2) { /* one may have been on its way */
        if (kit_now() > end)
            FAIL("no message any more: %llu accepted, %llu received",
                 (unsigned long long) traffic->accepted, (unsigned long long) traffic->received);
        kit_pause();
    }
}

struct traffic *traffic_start(const struct traffic *like) {
    struct traffic *traffic = kit_shared(sizeof *traffic);

    *traffic = *like;
    traffic->pid[0] = test_fork(run_sender, traffic);
    traffic->pid[1] = test_fork(run_receiver, traffic);
    traffic_await_progress(traffic);
    return traffic;
}

uint64_t traffic_end(struct traffic *traffic) {
    uint64_t count;

    traffic->ending = 1;
    JOIN(traffic->pid[0]);
    JOIN(traffic->pid[1]);
    count = traffic->received;
    CHECK_EQ(count, traffic->accepted + 1); /* and the last one */
    munmap(traffic, sizeof *traffic);
    return count;
}

void traffic_check_up(struct traffic *traffic, tram_node *node) {
    for (int i = 0; i < 2; i++) {
        tram_id id = i == 0 ? traffic->sender : traffic->receiver;
        struct tram_peer peer;
        tram_node *other;

        CHECK_OK(tram_peer(node, id, &peer));
        CHECK_EQ(peer.state, TRAM_PEER_UP);
        CHECK_EQ(peer.pid, traffic->pid[i]);
        CHECK_ERR(tram_open(NULL, id, NULL, &other), -EADDRINUSE);
        CHECK_EQ(tram_last_error(NULL)->pid, traffic->pid[i]);
    }
}
