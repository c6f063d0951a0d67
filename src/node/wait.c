/* SPDX-License-Identifier: MIT
 *
 * Sleeping and waking, and what falls due.
 *
 * Asleep means: every ring is armed, the door says so, and all was quiet in the look after that
 * (ring/tx.h, ring/door.h: why no wake-up is lost). Only who waits for space arms none; and a ring
 * of which as many messages are in hand as there may be stays hot and disarmed: a release wakes.
 * The bell is a hint, and a sender may die between publishing and ringing; so a node looks at
 * everything again after a second, then after two, four … thirty if it finds nothing.
 *
 * The descriptor. Once tram_fd() was called, the bell has a byte in it whenever the node is awake
 * between two calls (node_leave()): it is emptied only on the way to sleep.
 */
#include <errno.h>
#include <string.h>

#include "node/mirror.h"
#include "node/node.h"
#include "sys/bell.h"
#include "sys/cleanup.h"
#include "sys/clock.h"

#define RELOOK_FIRST SYS_SECOND
#define RELOOK_LAST  (30 * SYS_SECOND)
#define RELOOK_RUNG  (100 * SYS_MILLISECOND) /* after a bell for nothing */
#define SCAN_SHARE   5 /* of the time, if there is no end to reading the directory */

/* ---- going to sleep -------------------------------------------------------------------------- */

/* Arm every hot ring, then look at all of them. False: one has a message. */
static bool arm_all(tram_node *node) {
    struct in *in;
    bool quiet = true;

    ins_give(node);
    in = node->hot;
    if (!in)
        return !node_to_say(node);
    do {
        if (!in_stuck(in))
            ring_rx_arm(&in->rx);
        in = in->hot_next;
    } while (in != node->hot);
    fence(); /* F2 */
    for (uint32_t left = node->hot_count; left > 0; left--) {
        struct in *next = in->hot_next;

        if (!ring_rx_look(&in->rx)) {
            (void) in_break(node, in, "the sender's tail makes no sense");
            quiet = false;
        } else if (ring_rx_ready(&in->rx)) {
            ring_rx_disarm(&in->rx);
            quiet = quiet && in_stuck(in);
        } else {
            in_cool(node, in);
        }
        in = next;
    }
    return quiet && !node_to_say(node);
}

bool node_sleep(tram_node *node, bool space_only) {
    if (node->asleep)
        return !node_knocked(node);
    if (!space_only) {
        if (node_to_say(node) || !arm_all(node))
            return false;
    }
    if (node->scan_owed)
        return false;
    if (node->lit) {
        (void) sys_bell_drain(node->bell);
        node->lit = false;
    }
    if (!door_sleep(node->door, node->attached)) {
        door_wake(node->door);
        return false;
    }
    node->asleep = true;
    node->relook_anew = true; /* the clock is read when it is asked for the time-out */
    return true;
}

/* ---- waking ---------------------------------------------------------------------------------- */

/* A peer knocked: a message, space, or a wish. */
static void peer_knocked(tram_node *node, struct peer *peer) {
    if (peer->in && !peer->in->broken) {
        ring_rx_disarm(&peer->in->rx);
        in_heat(node, peer->in);
    }
    if (peer->out && !peer->out->broken)
        out_knocked(node, peer);
    if (unlikely(peer->mirrored))
        mirror_look(node, peer);
}

/* Something in the directory changed. Who says so without end must not keep us from everything
 * else: it is put off until as much time was ours. */
void node_scan(tram_node *node, bool at_once) {
    uint64_t now = sys_now();

    if (now < node->scan_at && !at_once)
        return; /* still owed */
    node->scan_owed = false;
    if (place_lost(node))
        return;
    (void) ins_scan(node); /* if it fails, the next receive says so and tries again */
    if (node->watches > 0)
        peers_check(node);
    node->scan_at = sys_now();
    node->scan_at += (SCAN_SHARE - 1) * (node->scan_at - now);
}

void node_wake(tram_node *node) {
    uint32_t attached;

    door_wake(node->door);
    node->asleep = false;
    for (uint32_t i = 0; i < LAYOUT_BITS / 64; i++) {
        uint64_t bits = door_take(node->door, i);

        while (bits) {
            uint32_t bit = i * 64 + (uint32_t) __builtin_ctzll(bits);

            bits &= bits - 1;
            for (struct peer *peer = node->peers[bit]; peer; peer = peer->next)
                peer_knocked(node, peer);
        }
    }
    attached = load_acquire(&node->door->attached);
    if (attached != node->attached) {
        node->attached = attached;
        node->scan_owed = true;
    }
    if (unlikely(node->scan_owed))
        node_scan(node, false);
}

/* The bell, but no bit: it came late; or somebody takes our bits. Everything is looked at soon. */
static void rung_for_nothing(tram_node *node) {
    if (node->relook_at > node->relooked_at + RELOOK_RUNG)
        node->relook_at = node->relooked_at + RELOOK_RUNG;
}

/* A bell may come late, when what it rang for was found and dealt with already; left in the
 * descriptor it would wake its loop again and again. Emptied first, then the bits: what is set
 * after that look rings after it. */
bool node_sleeps_on(tram_node *node) {
    bool rung = node->asleep && node->fd_given && sys_bell_drain(node->bell);

    if (rung)
        node->lit = false;
    if (node_knocked(node))
        return false;
    if (rung)
        rung_for_nothing(node);
    return true;
}

/* ---- what falls due -------------------------------------------------------------------------- */

/* Nobody rang for long: look at everything, as if everybody had. */
static bool relook(tram_node *node) {
    bool found = false;

    if (node->cluster && place_lost(node))
        return true;
    node_mend(node);
    if (ins_scan(node) < 0)
        found = true; /* or will be: look again soon */
    if (node->resume_owed)
        found |= outs_resume(node) < 0 || node->resume_owed;
    for (uint32_t i = 0; i < LAYOUT_BITS; i++) {
        for (struct peer *peer = node->peers[i], *next; peer; peer = next) {
            struct in *in = peer->in;

            next = peer->next;
            if (in && !in->broken && !in->hot_next) {
                if (!ring_rx_look(&in->rx))
                    (void) in_break(node, in, "the sender's tail makes no sense");
                else if (ring_rx_ready(&in->rx))
                    peer_knocked(node, peer), found = true;
                else
                    in_tidy(node, in);
            }
            if (peer->out && !peer->out->broken)
                out_knocked(node, peer);
            if (peer->watched)
                peer_check(node, peer);
            if (peer->mirrored)
                mirror_look(node, peer);
            if (!peer->in)
                peer_put(node, peer);
        }
    }
    return found;
}

/* Traffic, and then none: begin to count anew. Never later than was due: whoever sleeps often and
 * briefly, because of others' messages or of its own time-outs, has to look as well. */
static void restart_relook(tram_node *node, uint64_t now) {
    node->relook_anew = false;
    node->relook_gap = 0;
    if (node->relook_at > now + RELOOK_FIRST)
        node->relook_at = now + RELOOK_FIRST;
}

void node_due(tram_node *node, uint64_t now) {
    if (node->relook_anew)
        restart_relook(node, now);
    if (now >= node->trim_at)
        outs_trim(node, now);
    if (now < node->relook_at)
        return;
    if (relook(node) || node->relook_gap == 0)
        node->relook_gap = RELOOK_FIRST;
    else if (node->relook_gap < RELOOK_LAST)
        node->relook_gap = node->relook_gap * 2 < RELOOK_LAST ? node->relook_gap * 2 : RELOOK_LAST;
    node->relooked_at = now;
    node->relook_at = now + node->relook_gap;
}

/* Asleep, everything is quiet and armed, or stuck: what is not was found by a re-look. */
static bool found_asleep(const tram_node *node) {
    const struct in *in = node->hot;

    if (!node->asleep)
        return false;
    if (node->events || node_to_say(node))
        return true;
    for (uint32_t left = node->hot_count; left > 0; left--, in = in->hot_next)
        if (!in_stuck(in))
            return true;
    return false;
}

static uint64_t next_due(const tram_node *node) {
    return node->trim_at < node->relook_at ? node->trim_at : node->relook_at;
}

static int wait_bell(tram_node *node, uint64_t deadline) {
    int rc = sys_wait_readable(node->watches > 0 ? node->set : node->bell, deadline);

    if (rc > 0 && node->watches > 0) {
        /* It may have been the end of a peer: then there is no byte in the bell. */
        node->lit = sys_wait_readable(node->bell, 0) > 0;
        peers_check_ended(node);
    } else if (rc > 0) {
        node->lit = true;
    }
    return rc;
}

int node_block(tram_node *node, uint64_t deadline) {
    uint64_t now = sys_now();

    restart_relook(node, now);
    for (;;) {
        uint64_t due = next_due(node);
        int rc;

        if (now >= deadline)
            return 0;
        rc = wait_bell(node, due < deadline ? due : deadline);
        if (rc > 0 && !node_knocked(node))
            rung_for_nothing(node);
        if (rc != 0 || node_knocked(node))
            return rc < 0 ? error_set(&node->error, rc, "cannot wait: %s", strerror(-rc)) : 0;
        now = sys_now();
        if (now < due)
            return 0; /* a signal, or the deadline */
        node_due(node, now);
        if (found_asleep(node))
            return 0;
    }
}

/* ---- event loops ----------------------------------------------------------------------------- */

int node_make_set(tram_node *node) {
    int set = sys_set_new();
    int rc;

    if (set < 0)
        return set;
    rc = sys_set_add(set, node->bell, 0);
    if (rc < 0) {
        cleanup_fd(&set);
        return rc;
    }
    node->set = set;
    return 0;
}

void node_light(tram_node *node) {
    (void) sys_bell_ring(node->bell);
    node->lit = true;
}

/* Awake, and work may be left: the descriptor says so. */
int node_leave_lit(tram_node *node, int rc) {
    node_light(node);
    bias_unlock(&node->entry);
    return rc;
}

int tram_fd(tram_node *node) {
    int rc = node_enter(node);

    if (rc < 0)
        return rc;
    if (node->set < 0)
        rc = node_make_set(node);
    if (rc < 0)
        return node_leave(node, error_set(&node->error, rc, "no descriptor: %s", strerror(-rc)));
    if (!node->fd_given) {
        node->fd_given = true;
        restart_relook(node, sys_now());
    }
    return node_leave(node, node->set);
}

/* Is there anything to receive or to dispatch? Goes to sleep if not. */
static bool has_work(tram_node *node) {
    if (node->staged)
        (void) outs_flush(node, false);
    if (node->asleep) {
        if (node->watches > 0)
            peers_check_ended(node);
        if (!node_knocked(node) && !found_asleep(node))
            return false;
        node_wake(node);
    }
    if (node_look(node) || node->events || node_to_say(node)) /* first: a look may find an event */
        return true;
    if (node_sleep(node, false))
        return false;
    node_wake(node);
    return true;
}

int64_t tram_timeout(tram_node *node) {
    int64_t timeout = 0;
    int rc = node_enter(node);

    if (rc < 0)
        return rc;
    if (!has_work(node)) {
        uint64_t now = sys_now();
        uint64_t due;

        if (node->relook_anew)
            restart_relook(node, now);
        due = next_due(node);
        timeout = due > now ? (int64_t) (due - now) : 0;
    }
    (void) node_leave(node, 0);
    return timeout;
}

int tram_dispatch(tram_node *node, struct tram_event *ret_event) {
    struct peer *peer;
    unsigned type;
    int rc = node_enter(node);

    if (rc < 0)
        return rc;
    if (!ret_event)
        return node_leave(node, error_set(&node->error, -EINVAL, "ret_event is NULL"));
    if (node->staged)
        (void) outs_flush(node, false);
    if (node->watches > 0)
        peers_check_ended(node);
    if (!node_sleeps_on(node))
        node_wake(node);
    if (node->fd_given)
        node_due(node, sys_now());
    if (found_asleep(node))
        node_wake(node);
    peer = node->events;
    if (!peer) {
        if (node->fd_given && !node->asleep && !node_sleep(node, false))
            node_wake(node);
        return node_leave(node, 0);
    }
    /* Down before up: a life that ended before the next one began; unless that has ended, too. */
    if ((peer->events & 1u << TRAM_EVENT_DOWN) &&
        (peer->up || !(peer->events & 1u << TRAM_EVENT_UP)))
        type = TRAM_EVENT_DOWN;
    else
        type = (unsigned) __builtin_ctz(peer->events);
    peer_no_event(node, peer, 1u << type);
    *ret_event = (struct tram_event){
        .type = (enum tram_event_type) type, .peer = peer->id, .pid = peer->pid};
    return node_leave(node, 1);
}

/* Spin, then sleep, until there is something. */
static int wait_for_work(tram_node *node, int64_t timeout_ns) {
    uint64_t deadline = sys_deadline(timeout_ns);
    uint64_t spin_until =
        node->spin_ns < 0 ? UINT64_MAX : sys_now() + (uint64_t) node->spin_ns;
    bool scanned = false;

    for (;;) {
        uint64_t now = sys_now();
        int rc;

        if (node->watches > 0)
            peers_check_ended(node);
        if (node_look(node) || node->events || node_to_say(node))
            return 1;
        if (now < deadline && now < spin_until) {
            node_due(node, now);
            sys_relax();
            continue;
        }
        if (unlikely(node->scan_owed) && now >= deadline && !scanned) {
            scanned = true;
            node_scan(node, true);
            continue;
        }
        if (node_all_in_hand(node))
            return node_too_many(node);
        if (now >= deadline)
            return timeout_ns == 0 ? -EAGAIN : -ETIMEDOUT;
        node_due(node, now);
        if (node_sleep(node, false)) {
            rc = node_block(node, deadline);
            if (rc < 0)
                return rc;
        }
        node_wake(node);
    }
}

int tram_wait(tram_node *node, int64_t timeout_ns) {
    int rc = node_enter(node);

    if (rc < 0)
        return rc;
    if (node->staged)
        (void) outs_flush(node, false);
    rc = wait_for_work(node, timeout_ns);
    if ((rc == -EAGAIN || rc == -ENOBUFS) && node->fd_given && !node->asleep) {
        if (!node_sleep(node, false)) {
            node_wake(node);
            rc = 1;
        }
    }
    return node_leave(node, rc);
}
