/* SPDX-License-Identifier: MIT
 *
 * Receiving: look for a channel with messages, take some in place, journal that they were handed
 * out.
 *
 * Waiting goes from cheap to patient: look; after a look that found many, look away for a while (a
 * consumer that reads each record the moment it is published trades a cache line with the producer
 * for every one: measured 21 against 83 million messages a second); spin; sleep.
 */
#include <assert.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "node/node.h"
#include "sys/clock.h"

#define CUT_SHORT "somebody cut the channel's file short"
#define AWAY_NS   20000u /* how long to look away */
#define AWAY_FROM 16u    /* after so many messages in one look */
#define DUE_AFTER 256u   /* looks between two readings of the clock */
#define SLEEP_TRIES 16   /* who is kept awake by knocks with nothing behind them gives up */
#define COOL_AFTER 256u  /* looks in vain, when others are hot, before a channel is made quiet */

/* ---- looking --------------------------------------------------------------------------------- */

/* Has this channel a message? It becomes quiet when it has not for long and others have. */
static bool in_ready(tram_node *node, struct in *in) {
    if (!ring_rx_ready(&in->rx)) {
        if (!ring_rx_look(&in->rx)) {
            (void) in_break(node, in, "the sender's tail makes no sense");
            return false;
        }
        if (!ring_rx_ready(&in->rx)) {
            if (WORD_POSITION(in->rx.committed) != in->rx.freed)
                in_give(node, in);
            in->idle++;
            return false;
        }
    }
    in->idle = 0;
    return !in_stuck(in);
}

/* Arm one ring while the node stays awake. */
static void quieten(tram_node *node, struct in *in) {
    ring_rx_arm(&in->rx);
    fence(); /* F2 */
    if (!ring_rx_look(&in->rx)) {
        (void) in_break(node, in, "the sender's tail makes no sense");
        return;
    }
    if (ring_rx_ready(&in->rx))
        ring_rx_disarm(&in->rx);
    else
        in_cool(node, in);
}

static struct in *go_round(tram_node *node) {
    for (uint32_t left = node->hot_count; left > 0; left--) {
        struct in *in = node->hot;

        if (in_ready(node, in))
            return in;
        if (node->hot == in)
            node->hot = in->hot_next;
        if (node->hot_count > 1 && in->idle > COOL_AFTER)
            quieten(node, in);
    }
    return NULL;
}

/* Now and then do what is due, where no wait does it. */
static inline void look_due(tram_node *node) {
    if (++node->looks % DUE_AFTER == 0)
        node_due(node, sys_now());
}

struct in *node_look(tram_node *node) {
    struct in *in = node->hot;

    if (likely(in && in->turn > 0 && in_ready(node, in)))
        return in;
    if (in && in->turn <= 0) { /* its turn is over: the next one's, and who knocked */
        in->turn = TURN_BYTES;
        node->hot = in->hot_next;
        look_due(node); /* under load nobody comes to a wait */
    }
    if (node_knocked(node))
        node_wake(node);
    return go_round(node);
}

/* ---- taking ---------------------------------------------------------------------------------- */

static_assert(offsetof(struct tram_msg, tag) == offsetof(struct tram_msg, from) + 4 &&
                  offsetof(struct tram_msg, reserved) == offsetof(struct tram_msg, attempt) + 4,
              "fill");

static inline void fill(const struct in *in, const struct ring_view *view, uint32_t attempt,
                        struct tram_msg *msg) {
    typedef uint64_t __attribute__((may_alias)) word;

    msg->data = view->record + 1;
    msg->size = view->size;
    *(word *) (void *) &msg->from = view->who; /* two fields at a time, as ring_tx_header() does */
    msg->seq = view->seq;
    msg->stream = in->id;
    msg->time_ns = 0;
    *(word *) (void *) &msg->attempt = attempt; /* and `reserved` */
    memset(msg->layer, 0, sizeof(msg->layer));
    if (unlikely(view->flags)) {
        const struct extension *extension = msg->data;

        msg->stream += RECORD_LIFE(view->flags);
        if (!(view->flags & RECORD_WIDE))
            return;
        msg->data = extension + 1;
        msg->size -= sizeof(*extension);
        msg->time_ns = load_relaxed(&extension->time_ns);
        memcpy(msg->layer, extension->layer, sizeof(msg->layer));
    }
}

/* A message that a process before us may have seen: the attempt to hand it out as; 0: it is dealt
 * with; or a negative errno. */
static int take_again(tram_node *node, struct in *in, const struct ring_view *view) {
    const struct head *head = in->head_map.base;
    uint64_t word = load_relaxed(&head->window[view->seq % LAYOUT_WINDOW]);
    uint32_t attempts = WINDOW_ATTEMPTS(word);

    if (WINDOW_SEQ(word) != WINDOW_SEQ(view->seq))
        return view->seq <= in->unsure ? 2 : 1;
    if (word & WINDOW_RELEASED) {
        in_done(node, in, view->seq, view->end);
        return 0;
    }
    if (attempts >= node->attempts) {
        int rc = aside_put(node, in, view, attempts);

        if (rc == 0) {
            in_done(node, in, view->seq, view->end);
            return 0;
        }
        if (rc == -EFAULT)
            return in_break(node, in, CUT_SHORT);
    }
    return (int) attempts + 1;
}

/* Note who releases it. */
static inline int note_hand(tram_node *node, struct in *in, const struct ring_view *view,
                            bool hold) {
    if (likely(!hold)) {
        if (!in->auto_listed) {
            in->auto_listed = true;
            in->auto_next = node->autos;
            node->autos = in;
            in->auto_first = view->seq;
        }
        in->auto_pos = view->end;
        in->auto_seq = view->seq;
        if (likely(in->auto_first == in->done_seq + 1))
            return 0;
    }
    if (!in->hands) {
        int rc = in_need_hands(node, in);

        if (rc < 0)
            return rc;
    }
    in->plain = false;
    in->hands[view->seq % LAYOUT_WINDOW] =
        (struct hand){.seq = view->seq, .end = view->end, .state = HAND_HELD};
    return 0;
}

static int too_large(tram_node *node, const struct in *in, uint64_t size) {
    (void) error_channel(&node->error, -EMSGSIZE, in->peer->id, node->id,
                         "the message has %llu bytes, more than the buffer",
                         (unsigned long long) size);
    node->error.limit = size;
    return -EMSGSIZE;
}

/* The next record. 1: a message for *msg; 0: look again; or a negative errno. */
static inline int take_one(tram_node *node, struct in *in, struct tram_msg *msg, bool hold,
                           bool alone) {
    uint64_t pos = in->rx.pos;
    uint64_t seq = in->rx.seq;
    struct ring_view view;
    uint64_t size;
    int attempt = 1;
    int rc;

    switch (ring_rx_next(&in->rx, &view)) {
    case RX_MESSAGE:
        break;
    case RX_LINK:
        rc = in_succeed(node, in);
        if (rc < 0 && !in->broken) {
            in->rx.pos = pos;
            in->turn = 0; /* others need not wait until it can be mapped */
        }
        return rc;
    default: /* the caller has seen that there is one */
        return in_break(node, in, "a record in the ring makes no sense");
    }
    size = view.size - (view.flags & RECORD_WIDE ? sizeof(struct extension) : 0);
    rc = likely(size <= node->size_limit) ? 0 : too_large(node, in, size);
    if (unlikely(view.seq <= in->again) && rc == 0) {
        if (!alone) { /* it comes alone: next time */
            in->rx.pos = pos;
            in->rx.seq = seq;
            in->turn = 0;
            return -EAGAIN;
        }
        rc = attempt = take_again(node, in, &view);
        if (rc == 0)
            return 0;
    }
    if (likely(rc >= 0))
        rc = note_hand(node, in, &view, hold);
    if (unlikely(rc < 0)) {
        in->rx.pos = pos;
        in->rx.seq = seq;
        return rc;
    }
    fill(in, &view, (uint32_t) attempt, msg);
    return 1;
}

/* As many as are next of those that need no further look, for who releases each. */
static int take_plain(struct in *in, struct tram_msg *msgs, int max) {
    uint64_t most = in->done_seq + LAYOUT_WINDOW;
    struct ring_rx rx = in->rx; /* see receive_quick_batch() */
    struct ring_view view;
    int count = 0;

    ring_rx_fetch_next(&rx);
    while (count < max && rx.seq < most && ring_rx_next_plain(&rx, &view) == RX_MESSAGE) {
        fill(in, &view, 1, &msgs[count++]);
        in->hands[view.seq % LAYOUT_WINDOW] =
            (struct hand){.seq = view.seq, .end = view.end, .state = HAND_HELD};
    }
    if (unlikely(count == 0))
        return 0;
    in->plain = false;
    in->rx.pos = rx.pos;
    in->rx.seq = rx.seq;
    ring_rx_handed(&in->rx);
    return count;
}

/* Up to `max` messages of one sender, `before` are in the batch already. Returns how many, or a
 * negative errno if there is none. */
static int take(tram_node *node, struct in *in, struct tram_msg *msgs, int max, int before,
                bool hold) {
    int count = 0;
    int rc = 0;

    if (hold && likely(in->hands && in->rx.seq >= in->again && node->size_limit == UINT64_MAX)) {
        count = take_plain(in, msgs, max);
        if (likely(count > 0))
            return count;
    }
    while (count < max && ring_rx_ready(&in->rx) && !in_window_full(in)) {
        rc = take_one(node, in, &msgs[count], hold, before + count == 0);
        if (rc < 0)
            break;
        count += rc;
        if (rc > 0 && unlikely(msgs[count - 1].attempt > 1))
            break;
    }
    if (count > 0)
        ring_rx_handed(&in->rx);
    return count > 0 || rc >= 0 ? count : rc;
}

/* What can be had now. 0: nothing. */
static int take_now(tram_node *node, struct tram_msg *msgs, int max, bool hold) {
    int count = 0;

    if (unlikely(node->retries)) {
        int rc = aside_take_retry(node, msgs, hold, false);

        if (rc != 0)
            return rc;
    }
    while (count < max) {
        struct in *in = node_look(node);
        uint64_t pos;
        int rc;

        if (!in)
            break;
        pos = in->rx.pos;
        rc = take(node, in, msgs + count, max - count, count, hold);
        if (rc < 0) {
            if (rc == -EBADMSG)
                break;
            return count > 0 ? count : rc;
        }
        if (rc == 0)
            continue; /* links, and what was dealt with without being handed out */
        count += rc;
        in->turn -= (int64_t) (in->rx.pos - pos) + rc * TURN_MESSAGE;
        if (msgs[count - 1].attempt > 1)
            break;
        /* This sender's are in hand; look at the others only to fill a batch. */
        if (node->hot_count < 2)
            break;
    }
    if (unlikely(node->retries) && count == 0) {
        int rc = aside_take_retry(node, msgs, hold, true);

        if (rc > 0)
            return rc; /* what failed was told then, and is again at the next look */
    }
    return likely(!node->bad) || count > 0 ? count : ins_say_broken(node);
}

/* ---- waiting --------------------------------------------------------------------------------- */

/* The last look found many: leave the producer alone for a while. */
static inline void look_away(tram_node *node) {
    struct in *in = node->hot;
    uint64_t streak;
    uint64_t until;

    if (!in)
        return;
    streak = in->rx.seq - in->seq_empty;
    in->seq_empty = in->rx.seq;
    if (likely(streak < AWAY_FROM) || node->hot_count > 1)
        return;
    until = sys_now() + AWAY_NS;
    do
        for (int i = 0; i < 8; i++)
            sys_relax();
    while (sys_now() < until);
}

/* Everything that is ready has as many messages in hand as there may be. */
bool node_all_in_hand(const tram_node *node) {
    const struct in *in = node->hot;

    if (!in)
        return false;
    do {
        if (in_stuck(in))
            return true;
        in = in->hot_next;
    } while (in != node->hot);
    return false;
}

int node_too_many(tram_node *node) {
    (void) error_set(&node->error, -ENOBUFS,
                     "%u messages of a sender are in hand: release some", LAYOUT_WINDOW);
    node->error.limit = LAYOUT_WINDOW;
    return -ENOBUFS;
}

/* How far a wait has come. */
struct patience {
    bool scanned; /* the directory, before nothing is said to be there */
    int64_t timeout_ns;
    uint64_t deadline, spin_until; /* 0: the clock was not read yet */
};

/* Somebody may have made a channel, and sent, before this call. True: look again. */
static bool scan_last(tram_node *node, struct patience *wait) {
    if (likely(!node->scan_owed) || wait->scanned)
        return false;
    wait->scanned = true;
    node_scan(node, true);
    return true;
}

/* Nothing there: spin for a while, then sleep. 0: look again. */
static int rest(tram_node *node, struct patience *wait) {
    uint64_t now;
    int rc;

    if (wait->timeout_ns < 0 || wait->timeout_ns >= (int64_t) AWAY_NS)
        look_away(node); /* a shorter wait has other things to do, and says so */
    for (int i = node->spin_ns == 0 ? 1 : 64; i > 0; i--) { /* dense traffic reads no clock */
        if (node_look(node) || node_to_say(node))
            return 0;
        sys_relax();
    }
    now = sys_now();
    if (wait->spin_until == 0) {
        wait->spin_until = node->spin_ns < 0 ? UINT64_MAX : now + (uint64_t) node->spin_ns;
        wait->deadline = sys_deadline(wait->timeout_ns);
    }
    if (now < wait->deadline && now < wait->spin_until) {
        node_due(node, now);
        return 0;
    }
    if (node_all_in_hand(node))
        return node_too_many(node); /* "nothing came" has to be the truth */
    if (now >= wait->deadline)
        return scan_last(node, wait) ? 0 : -ETIMEDOUT;
    if (!node_sleep(node, false)) {
        node_wake(node);
        return 0;
    }
    rc = node_block(node, wait->deadline);
    node_wake(node);
    return rc;
}

/* After a receive the long way: may the next one go the short way? It may while one plain channel
 * has everything that is to be released; whatever changes that clears node->quick. */
static inline void remember_quick(tram_node *node) {
    struct in *in = node->autos;

    if (in && !in->auto_next && in->plain && in->hot_next && in->turn > 0 && !node->bad &&
        !node->retries)
        node->quick = in;
}

static int receive(tram_node *node, struct tram_msg *msgs, int max, uint32_t flags,
                   int64_t timeout_ns) {
    struct patience wait = {.timeout_ns = timeout_ns};
    bool hold = (flags & TRAM_HOLD) != 0;
    int tries = 0;
    int rc;

    node->quick = NULL;
    /* What was made of a message is accepted before the message is released. */
    if (unlikely(node->staged))
        (void) outs_flush(node, false); /* an error stays with its channel, for the next send */
    if (likely(node->autos || node->retries))
        autos_release(node);
    if (unlikely(node->unscanned < 0)) {
        bool bad = node->bad;

        if (ins_scan(node) < 0)
            node->bad = bad; /* told already, and again after the next look: waits have to wait */
    }
    for (;;) {
        rc = take_now(node, msgs, max, hold);
        if (rc > 0)
            remember_quick(node);
        if (rc != 0)
            return rc;
        if (timeout_ns == 0 && unlikely(scan_last(node, &wait)))
            continue;
        if (timeout_ns == 0) {
            bool full = node_all_in_hand(node);

            if (!node->fd_given) {
                look_due(node); /* what it finds is for the next one */
                return full ? node_too_many(node) : -EAGAIN;
            }
            if (!node->events && (node->asleep ? node_sleeps_on(node) : node_sleep(node, false)))
                return full ? node_too_many(node) : -EAGAIN;
            node_wake(node);
            if (node->events && !node_look(node) && !node_to_say(node))
                return -EAGAIN; /* awake: the descriptor says that there is an event */
            if (++tries == SLEEP_TRIES) /* knocked without end: awake, and the loop comes again */
                return full ? node_too_many(node) : -EAGAIN;
            continue;
        }
        rc = rest(node, &wait);
        if (rc < 0)
            return rc;
    }
}

/* The short way: the channel, if it may be gone, with all that it handed out released; or NULL. */
static inline __attribute__((always_inline)) struct in *quick_release(tram_node *node) {
    struct in *in = node->quick;

    if (unlikely(!in) || unlikely(in->rx.pos >= in->rx.free_at))
        return NULL;
    ring_rx_commit(&in->rx, in->rx.pos, in->rx.seq);
    in->done_seq = in->rx.seq;
    return in;
}

/* Messages up to rx.pos were taken, `bytes` of them. */
static inline __attribute__((always_inline)) void quick_handed(tram_node *node, struct in *in,
                                                               uint64_t bytes, int count) {
    ring_rx_handed(&in->rx);
    in->turn -= (int64_t) bytes + count * TURN_MESSAGE;
    if (unlikely(in->turn <= 0))
        node->quick = NULL;
}

/* One message that way. False: go the long way. */
static inline __attribute__((always_inline)) bool receive_quick(tram_node *node,
                                                                struct tram_msg *msg) {
    struct in *in = quick_release(node);
    struct ring_view view;
    uint64_t pos;

    if (unlikely(!in))
        return false;
    pos = in->rx.pos;
    if (unlikely(ring_rx_next_plain(&in->rx, &view) != RX_MESSAGE))
        return false;
    fill(in, &view, 1, msg);
    quick_handed(node, in, view.end - pos, 1);
    return true;
}

/* Up to `max`, a turn's at most. 0: go the long way. */
static inline __attribute__((always_inline)) int receive_quick_batch(tram_node *node,
                                                                     struct tram_msg *msgs,
                                                                     int max) {
    struct in *in = quick_release(node);
    struct ring_view view;
    struct ring_rx rx;
    uint64_t pos;
    int count = 0;

    if (unlikely(!in))
        return 0;
    rx = in->rx; /* a copy, of which compilers keep what they need in registers */
    pos = rx.pos;
    do {
        if (unlikely(ring_rx_next_plain(&rx, &view) != RX_MESSAGE))
            break;
        ring_rx_fetch(&rx, view.end, record_span(view.size));
        fill(in, &view, 1, &msgs[count++]);
    } while (count < max);
    if (unlikely(count == 0))
        return 0;
    in->rx.pos = rx.pos;
    in->rx.seq = rx.seq;
    quick_handed(node, in, rx.pos - pos, count);
    return count;
}

static __attribute__((noinline)) int receive_one(tram_node *node, struct tram_msg *ret_msg,
                                                 int64_t timeout_ns) {
    int rc;

    if (!ret_msg)
        return node_leave(node, error_set(&node->error, -EINVAL, "ret_msg is NULL"));
    rc = receive(node, ret_msg, 1, 0, timeout_ns);
    return node_leave(node, rc > 0 ? 0 : rc);
}

static __attribute__((noinline)) int receive_entering(tram_node *node, struct tram_msg *ret_msg,
                                                      int64_t timeout_ns) {
    int rc = node_enter(node);

    return rc < 0 ? rc : receive_one(node, ret_msg, timeout_ns);
}

int tram_recv(tram_node *node, struct tram_msg *ret_msg, int64_t timeout_ns) {
    if (unlikely(!node_enter_quick(node)))
        return receive_entering(node, ret_msg, timeout_ns);
    if (unlikely(!ret_msg) || !receive_quick(node, ret_msg))
        return receive_one(node, ret_msg, timeout_ns);
    return node_leave(node, 0);
}

int tram_recv_batch(tram_node *node, struct tram_msg *ret_msgs, int max, uint32_t flags,
                    int64_t timeout_ns) {
    int rc = node_enter(node);

    if (unlikely(rc < 0))
        return rc;
    if (unlikely(!ret_msgs || max < 1 || (flags & ~TRAM_HOLD)))
        return node_leave(node, error_set(&node->error, -EINVAL,
                                          "ret_msgs is NULL, max below 1, or unknown flags"));
    if (!(flags & TRAM_HOLD))
        rc = receive_quick_batch(node, ret_msgs,
                                 max < (int) TURN_MESSAGES ? max : (int) TURN_MESSAGES);
    if (rc == 0)
        rc = receive(node, ret_msgs, max, flags, timeout_ns);
    return node_leave(node, rc);
}

/* What was copied may be zeros from behind the file's end. */
static int break_torn(tram_node *node, struct in *in) {
    int rc = in_break(node, in, CUT_SHORT);

    in->untold = NULL; /* said now */
    return rc;
}

int tram_recv_copy(tram_node *node, void *buffer, size_t capacity, struct tram_msg *ret_msg,
                   int64_t timeout_ns) {
    int rc = node_enter(node);

    if (rc < 0)
        return rc;
    if (!ret_msg || (!buffer && capacity > 0))
        return node_leave(node, error_set(&node->error, -EINVAL, "no buffer, or no ret_msg"));
    node->size_limit = capacity;
    rc = receive(node, ret_msg, 1, 0, timeout_ns);
    node->size_limit = UINT64_MAX;
    if (rc > 0) {
        struct in *in = node->autos; /* its channel; none: it was set aside, and is a copy */

        if (ret_msg->size > 0)
            memcpy(buffer, ret_msg->data, ret_msg->size);
        ret_msg->data = buffer;
        rc = 0;
        if (unlikely(in && sys_map_torn(&in->map)))
            rc = break_torn(node, in);
    }
    return node_leave(node, rc);
}

/* ---- releasing ------------------------------------------------------------------------------- */

static __attribute__((noinline)) int release_any(tram_node *node, const struct tram_msg *msg) {
    const struct hand *hand = NULL;
    struct peer *peer;
    int rc;

    if (unlikely(!msg))
        return node_leave(node, error_set(&node->error, -EINVAL, "msg is NULL"));
    rc = likely(!node->retries) ? -ENOENT : aside_release(node, msg->from, msg->seq, false);
    if (rc != -ENOENT)
        return node_leave(node, rc);
    peer = peer_find(node, msg->from);
    if (peer && peer->in && peer->in->hands && msg->stream - peer->in->id <= RECORD_LIFE(-1u))
        hand = &peer->in->hands[msg->seq % LAYOUT_WINDOW];
    if (!hand || hand->seq != msg->seq || hand->state != HAND_HELD ||
        msg->seq <= peer->in->done_seq)
        return node_leave(node, error_channel(&node->error, -ENOENT, msg->from, node->id,
                                              "message %llu is not in hand",
                                              (unsigned long long) msg->seq));
    in_done(node, peer->in, msg->seq, hand->end);
    in_give_quiet(node, peer->in);
    if (unlikely(node->asleep) && peer->in->hot_next && !in_stuck(peer->in))
        node_wake(node); /* its next message can be had now */
    return node_leave(node, 0);
}

/* The oldest in hand of the channel at hand: everything else goes another way. */
int tram_release(tram_node *node, const struct tram_msg *msg) {
    const struct hand *hand;
    struct in *in;

    if (unlikely(!node_enter_quick(node))) {
        int rc = node_enter(node);

        return rc < 0 ? rc : release_any(node, msg);
    }
    in = node->hot;
    if (unlikely(!msg || !in || !in->hands || msg->from != in->rx.from || node->retries ||
                 node->asleep || msg->seq != in->done_seq + 1 ||
                 msg->stream - in->id > RECORD_LIFE(-1u)))
        return release_any(node, msg);
    hand = &in->hands[msg->seq % LAYOUT_WINDOW];
    if (unlikely(hand->seq != msg->seq || hand->state != HAND_HELD))
        return release_any(node, msg);
    in_commit(node, in, hand->end, msg->seq);
    return node_leave(node, 0);
}

int tram_done(tram_node *node) {
    int rc = node_enter(node);

    if (rc < 0)
        return rc;
    autos_release(node);
    return node_leave(node, 0);
}
