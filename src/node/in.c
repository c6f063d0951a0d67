/* SPDX-License-Identifier: MIT
 *
 * A channel's receiving end, off the fast path: found in the directory, recovered after a death,
 * followed into successor streams, released and given back.
 *
 * Hot and quiet. A hot channel is in the circle that receives go round; its ring is disarmed. A
 * quiet one is armed and waits for its sender's knock. Everything is made quiet before the node
 * sleeps.
 *
 * Release. Messages are numbered; done_seq of them are committed. Those received without TRAM_HOLD
 * are released by the next receive (auto_seq). While any message in front of them is still held,
 * releases are noted in `hands`, and in the shared window, so that a successor need not hand them
 * out again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "node/custody.h"
#include "node/disk.h"
#include "node/mirror.h"
#include "node/node.h"
#include "sys/cleanup.h"
#include "sys/clock.h"
#include "sys/file.h"

/* ---- hot and quiet --------------------------------------------------------------------------- */

void in_heat(tram_node *node, struct in *in) {
    if (in->hot_next || in->broken)
        return;
    node->hot_count++;
    in->idle = 0;
    in->turn = TURN_BYTES;
    if (!node->hot) {
        in->hot_next = in->hot_previous = in;
        node->hot = in;
        return;
    }
    in->hot_next = node->hot; /* last in turn */
    in->hot_previous = node->hot->hot_previous;
    in->hot_previous->hot_next = in;
    in->hot_next->hot_previous = in;
}

void in_cool(tram_node *node, struct in *in) {
    if (!in->hot_next)
        return;
    if (node->quick == in)
        node->quick = NULL;
    node->hot_count--;
    if (node->hot == in)
        node->hot = in->hot_next == in ? NULL : in->hot_next;
    in->hot_next->hot_previous = in->hot_previous;
    in->hot_previous->hot_next = in->hot_next;
    in->hot_next = in->hot_previous = NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

struct in *in_free(struct in *in) {
    if (!in)
        return NULL;
    if (in->stand)
        in->lost(in->stand);
    while (in->old) {
        struct old_stream *old = in->old;

        in->old = old->next;
        sys_unmap(&old->map);
        free(old);
    }
    sys_unmap(&in->map);
    sys_unmap(&in->head_map);
    free(in->hands);
    free(in);
    return NULL;
}

static void in_free_p(struct in **in) {
    (void) in_free(*in);
}

static int say_broken(tram_node *node, const struct in *in, const char *what) {
    uint32_t version = files_channel_version(node->dir, in->peer->id);

    if (version != LAYOUT_VERSION)
        return error_channel(&node->error, -EBADMSG, in->peer->id, node->id,
                             "the channel's files have layout version %u, this tram has %u; it is "
                             "closed: receive them with the tram that made them", version,
                             LAYOUT_VERSION);
    return error_channel(&node->error, -EBADMSG, in->peer->id, node->id,
                         "%s; this channel is closed, `tram purge` makes it usable again", what);
}

static int cannot_scan(tram_node *node) {
    return error_set(&node->error, node->unscanned,
                     "cannot take over the channels in the directory: %s",
                     strerror(-node->unscanned));
}

/* What concerns no channel that we have. */
static int say_refused(tram_node *node) {
    tram_id from = node->refused;

    node->refused = 0;
    (void) error_channel(&node->error, -EMLINK, from, node->id,
                         "%u nodes send to this one already: the channel is not taken over; "
                         "`tram rm` those that are not needed, and open the node again",
                         INS_MAX);
    node->error.limit = INS_MAX;
    return -EMLINK;
}

static int say_lost(tram_node *node) {
    const char *what = node->lost;

    node->lost = NULL;
    return error_channel(&node->error, -ESTALE, node->id, 0,
                         "%s: others can open the same ID; close the node, and open it again",
                         what);
}

int ins_say_broken(tram_node *node) {
    struct in *told = NULL;

    if (node->lost)
        return say_lost(node);
    if (node->refused)
        return say_refused(node);
    node->bad = false;
    for (uint32_t i = 0; i < LAYOUT_BITS; i++) {
        for (struct peer *peer = node->peers[i]; peer; peer = peer->next) {
            if (!peer->in || !peer->in->untold)
                continue;
            if (told) {
                node->bad = true; /* the next time */
                break;
            }
            told = peer->in;
        }
    }
    if (!told)
        return node->unscanned < 0 ? cannot_scan(node) : 0;
    node->bad |= node->unscanned < 0;
    (void) say_broken(node, told, told->untold);
    told->untold = NULL;
    return -EBADMSG;
}

int in_break(tram_node *node, struct in *in, const char *what) {
    struct head *head = in->head_map.base;

    in->untold = what;
    in->broken = true;
    node->bad = true;
    node->quick = NULL;
    in_cool(node, in);
    if (head) {
        store_relaxed(&head->armed, (load_relaxed(&head->armed) + ARMED_EPOCH) | ARMED_BROKEN);
        fence();
    }
    peer_event(node, in->peer, TRAM_EVENT_CLOSED);
    (void) peer_knock(node, in->peer); /* it may wait for space that will never be; it re-looks */
    return say_broken(node, in, what);
}

int in_need_hands(tram_node *node, struct in *in) {
    if (!in->hands)
        in->hands = calloc(LAYOUT_WINDOW, sizeof(*in->hands));
    if (!in->hands)
        return error_channel(&node->error, -ENOMEM, in->peer->id, node->id,
                             "no memory to release messages one by one");
    return 0;
}

/* Map generation `generation` behind the one at hand, which is kept while messages of it are in
 * hand. */
static int next_stream(tram_node *node, struct in *in, uint32_t generation,
                       struct stream_facts *ret_facts) {
    struct old_stream *old;
    struct sys_map map;
    int rc = generation >= FILES_GENERATIONS ? -EBADMSG : 0;

    if (rc == 0)
        rc = stream_open(node->dir, in->peer->id, node->id, generation, node->map_flags, &map,
                         ret_facts, NULL);
    if (rc < 0)
        return rc;
    old = calloc(1, sizeof(*old));
    if (!old) {
        sys_unmap(&map);
        return -ENOMEM;
    }
    *old = (struct old_stream){.next = in->old, .map = in->map, .end = in->rx.pos};
    in->old = old;
    in->map = map;
    in->generation = generation;
    in->inode = ret_facts->inode;
    return 0;
}

/* Old streams of which nothing is in hand any more. */
static void drop_old(struct in *in) {
    uint64_t committed = WORD_POSITION(in->rx.committed);

    for (struct old_stream **link = &in->old; *link;) {
        struct old_stream *old = *link;

        if (committed < old->end) {
            link = &old->next;
            continue;
        }
        *link = old->next;
        sys_unmap(&old->map);
        free(old);
    }
}

int in_succeed(tram_node *node, struct in *in) {
    struct stream_facts facts;
    int rc = next_stream(node, in, in->generation + 1, &facts);

    if (rc < 0 && !files_is_machine(rc))
        return in_break(node, in, "the channel's next stream is missing or nonsense");
    if (rc < 0)
        return error_channel(&node->error, rc, in->peer->id, node->id,
                             "cannot map the channel's next stream: %s", strerror(-rc));
    if (facts.id != in->id ||
        !ring_rx_succeed(&in->rx, stream_words(&in->map), stream_data(&in->map), facts.capacity,
                         facts.base, facts.base_seq))
        return in_break(node, in, "the channel's next stream does not go on where it ended");
    /* The link is consumed with the message before it. */
    if (in->done_seq == in->rx.seq) {
        ring_rx_commit(&in->rx, in->rx.pos, in->done_seq);
    } else {
        if (in->auto_listed) /* by this receive, the last of whose is the one before the link */
            in->auto_pos = in->rx.pos;
        if (in->hands)
            in->hands[in->rx.seq % LAYOUT_WINDOW].end = in->rx.pos;
    }
    drop_old(in);
    return 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Find the generation in which the committed position lies: the last that begins at or before
 * it. A channel that is removed this moment is drained: its newest is not there. */
static int find_generation(tram_node *node, struct in *in, uint32_t lowest, uint32_t highest,
                           struct stream_facts *ret_facts) {
    const struct head *head = in->head_map.base;
    uint64_t committed = WORD_POSITION(load_relaxed(&head->committed));

    for (uint32_t generation = highest + 1; generation > lowest; generation--) {
        struct sys_map map;
        int rc = stream_open(node->dir, in->peer->id, node->id, generation - 1, node->map_flags,
                             &map, ret_facts, NULL);

        if (rc < 0)
            return rc == -ENOENT && generation <= highest ? -EBADMSG : rc;
        if (ret_facts->base <= committed || (generation - 1 == lowest && committed == 0)) {
            in->map = map;
            in->generation = generation - 1;
            in->inode = ret_facts->inode;
            return 0;
        }
        sys_unmap(&map);
    }
    return -EBADMSG;
}

/* Count what was in hand when the process before us died, over all streams it lies in. */
static int recover(tram_node *node, struct in *in) {
    struct head *head = in->head_map.base;
    uint64_t handed = WORD_POSITION(load_relaxed(&head->handed));
    struct ring_rx walk = in->rx;
    uint32_t generation = in->generation;
    struct sys_map map = {0};
    bool more;
    int rc = 0;

    in->again = in->rx.seq;
    in->plain = handed <= in->rx.pos;
    if (in->plain)
        return 0;
    rc = in_need_hands(node, in);
    while (rc == 0) {
        struct stream_facts facts;
        struct sys_map next;
        struct ring_view view;

        in->again = ring_rx_recover(&walk, handed, &more);
        if (in->again == UINT64_MAX)
            rc = -EBADMSG;
        if (rc < 0 || !more)
            break;
        while (ring_rx_next(&walk, &view) == RX_MESSAGE)
            continue; /* to the link */
        rc = stream_open(node->dir, in->peer->id, node->id, ++generation, node->map_flags, &next,
                         &facts, NULL);
        if (rc == -ENOENT)
            rc = -EBADMSG; /* not before what was handed out of it is committed */
        if (rc == 0) {
            sys_unmap(&map);
            map = next;
            if (!ring_rx_succeed(&walk, stream_words(&map), stream_data(&map), facts.capacity,
                                 facts.base, facts.base_seq))
                rc = -EBADMSG;
        }
    }
    sys_unmap(&map);
    if (rc == 0)
        ring_rx_recovered(&in->rx);
    return rc;
}

/* What was in hand in a life before the last one, and not reached in the last, lies behind handed;
 * only the window knows of it, and of what was released out of order. */
static int recover_earlier(tram_node *node, struct in *in) {
    const struct head *head = in->head_map.base;
    uint64_t again = in->again;

    in->unsure = load_relaxed(&head->unsure);
    if (in->unsure > again)
        again = in->unsure;
    for (uint32_t i = 0; i < LAYOUT_WINDOW; i++) {
        uint64_t word = load_relaxed(&head->window[i]);
        uint64_t ahead = WINDOW_SEQ(word) - WINDOW_SEQ(in->done_seq);

        if (word != 0 && ahead <= LAYOUT_WINDOW && in->done_seq + ahead > again)
            again = in->done_seq + ahead;
    }
    in->again = again;
    in->plain = again <= in->rx.seq;
    return in->plain ? 0 : in_need_hands(node, in);
}

int in_map(tram_node *node, struct in *in) {
    struct stream_facts facts;
    struct head_facts head;
    uint32_t lowest;
    uint32_t highest;
    int rc = head_is_final(node->dir, in->peer->id);

    if (rc == 1) { /* nothing in it was accepted, and its sender was told so */
        (void) custody_bury(&node->bus, node->dir, in->peer->id);
        return -ENOENT;
    }
    if (rc == 0 && on_disk(&node->bus))
        rc = disk_check_sender(&node->bus, node->dir, in->peer->id, node->id);
    if (rc == 0)
        rc = files_generations(node->dir, in->peer->id, &lowest, &highest);
    if (rc == 0)
        rc = head_open(node->dir, in->peer->id, node->id, SYS_MAP_WRITE | node->map_flags,
                       &in->head_map, &head);
    if (rc == 0 && on_disk(&node->bus))
        rc = disk_take_head(&node->bus, node->dir, in, lowest, highest);
    if (rc == 0)
        rc = find_generation(node, in, lowest, highest, &facts);
    if (rc < 0)
        return rc;
    if (facts.id != head.id)
        return -EBADMSG;
    in->id = head.id;
    in->head_inode = head.inode;
    if (!ring_rx_init(&in->rx, stream_words(&in->map), stream_data(&in->map), in->head_map.base,
                      in->peer->id, facts.capacity, facts.base, facts.base_seq))
        return -EBADMSG;
    if (on_disk(&node->bus))
        in->rx.usual = RX_ON_DISK;
    in->done_seq = in->rx.seq;
    if (node->standing)
        return 0; /* who was handed what is known on the other host */
    rc = recover(node, in);
    return rc < 0 ? rc : recover_earlier(node, in);
}

/* Static channels have their memory before the first message, on this side, too. */
static void prefault(tram_node *node, struct in *in) {
    const struct layout_channel *plan = layout_find(node->layout, in->peer->id, node->id);
    uint32_t flags = 0;

    if (plan && (plan->prefault || plan->lock))
        flags = SYS_MAP_PREFAULT | (plan->lock ? SYS_MAP_LOCK : 0);
    if (flags && sys_map_populate(&in->map, LAYOUT_DATA, 2 * (in->rx.mask + 1), flags) < 0)
        return; /* a refusal (RLIMIT_MEMLOCK) is said to the sender, who asks for the same */
}

/* That the machine ran out, or that the channel is being made or removed, is not the channel's
 * fault. Anything else is: it must not keep the others from being opened. */
static bool is_channels_fault(int rc) {
    return rc < 0 && rc != -ENOENT && !files_is_machine(rc);
}

/* Take over a channel found in the directory, of which one stream is `generation` with this inode:
 * disarmed, hot. */
static int in_open(tram_node *node, struct peer *peer, uint32_t generation, uint64_t inode) {
    __attribute__((cleanup(in_free_p))) struct in *in = calloc(1, sizeof(*in));
    struct head *head;
    int rc;

    if (!in)
        return -ENOMEM;
    in->peer = peer;
    rc = in_map(node, in);
    if (is_channels_fault(rc)) {
        /* Keep it, so that it is said once, and not taken for new at each look. */
        in->generation = generation;
        in->inode = inode;
        (void) head_inode(node->dir, peer->id, &in->head_inode); /* none: 0 */
        if (rc != -EBADMSG && rc != -EPROTO)
            sys_unmap(&in->head_map); /* not nonsense: nothing for the next process to believe */
        (void) in_break(node, in, rc == -EPROTO ? "the channel's files have another layout version"
                                                : "the channel's files contradict each other");
        peer->in = in;
        node->ins++;
        in = NULL;
        return 0;
    }
    if (rc < 0)
        return rc;
    head = in->head_map.base;
    if (load_relaxed(&head->armed) & ARMED_BROKEN) {
        in->broken = true; /* said by a process before us; `tram purge` opens it */
    } else {
        store_relaxed(&head->armed, load_relaxed(&head->armed) &
                                        ~(uint64_t) (ARMED_ON | ARMED_CLOSED | ARMED_TRIM));
        fence(); /* F2 */
    }
    prefault(node, in);
    if (!in->broken)
        in_give(node, in); /* a process before us may have died before it freed, or rang */
    peer->in = in;
    node->ins++;
    node->ephemeral_ins += is_ephemeral(peer->id);
    in_heat(node, in);
    in = NULL;
    return 0;
}

void in_drop(tram_node *node, struct peer *peer) {
    struct in *in = peer->in;

    in_cool(node, in);
    for (struct in **link = &node->autos; *link; link = &(*link)->auto_next) {
        if (*link == in) {
            *link = in->auto_next;
            break;
        }
    }
    peer->in = NULL; /* before: another thread may fork, and the child goes over all there is */
    node->ins--;
    (void) in_free(in);
    peer_forget_door(peer);
}

/* An ephemeral node that died while it made its channel left a head without a stream, or hidden
 * files. */
static void find_remains(tram_node *node, const char *name) {
    bool hidden = name[0] == '.';
    const struct peer *peer;
    enum file_kind kind;
    uint32_t generation;
    uint64_t number;
    tram_id from;

    kind = files_parse(name + hidden, &from, &number);
    if ((kind != FILE_HEAD && (kind != FILE_STREAM || !hidden)) || !is_ephemeral(from) ||
        node->remains >= REMAINS_MAX)
        return;
    peer = peer_find(node, from);
    if ((peer && peer->in) ||
        files_generations(node->dir, from, &generation, &generation) != -ENOENT)
        return;
    node->remains++;
    (void) custody_tidy_sender(&node->bus, node->dir, from, node->id, node->keep,
                               NULL); /* or the next */
}

/* Is this stream of another channel than the one that we have mapped? That was removed, and made
 * anew, with a new head. Streams that we are through with, or are yet to come, are of the same. */
static bool is_replaced(const tram_node *node, const struct in *in, uint64_t generation,
                        uint64_t inode) {
    uint64_t head;

    if (generation == in->generation && inode == in->inode)
        return false;
    return head_inode(node->dir, in->peer->id, &head) == 0 && head != in->head_inode;
}

/* It lies there, and is not taken over: said once. */
static int refuse(tram_node *node, tram_id from) {
    if (!node->refused_told) {
        node->refused_told = true;
        node->refused = from;
        node->bad = true;
    }
    return 0;
}

static int found(void *context, const char *name, uint64_t inode) {
    tram_node *node = context;
    struct peer *peer;
    uint64_t number;
    tram_id from;
    int rc;

    switch (files_parse(name, &from, &number)) {
    case FILE_RETRY:
        if (node->standing)
            return 0;
        if (++node->retries_seen > ASIDE_MAX)
            return 0; /* for a later look */
        return aside_find_retry(node, from, number);
    case FILE_ASIDE:
        node->asides++;
        return 0;
    case FILE_STREAM:
        break;
    default:
        find_remains(node, name);
        return 0;
    }
    if (node->layout && !layout_find(node->layout, from, node->id))
        return 0;
    peer = peer_find(node, from);
    if (node->standing && (!peer || !peer->in)) {
        rc = mirror_lies(node->dir, from);
        if (rc < 0 || (rc == 1 && (rc = mirror_is_copy(node->dir, from)) != 1))
            return rc; /* never is a mirror mirrored, unless its receiver left it behind */
    }
    if (!peer || !peer->in) {
        if (node->ins >= INS_MAX)
            return refuse(node, from);
        peer = peer_get(node, from);
    }
    if (!peer)
        return -ENOMEM;
    if (peer->in && is_replaced(node, peer->in, number, inode)) {
        if (peer->in->rx.seq != peer->in->done_seq)
            return 0; /* messages of it are in hand: at a later look */
        in_drop(node, peer);
    }
    if (peer->in)
        return 0;
    rc = in_open(node, peer, (uint32_t) number, inode);
    if (rc < 0)
        peer_put(node, peer);
    if (rc == -ENOENT)
        return 0; /* not complete, or gone again: its maker announces it */
    return rc;
}

/* A drained channel whose ephemeral sender does not run goes, and what is known of the sender. */
static void drop_ephemeral(tram_node *node, struct peer *peer) {
    struct in *in = peer->in;

    if (!ring_rx_look(&in->rx) || WORD_POSITION(in->rx.committed) != in->rx.tail ||
        custody_tidy_sender(&node->bus, node->dir, peer->id, node->id, node->keep, &in->rx) != 1) {
        if (ring_rx_ready(&in->rx))
            in_heat(node, in); /* it published just before it ended */
        return;
    }
    in_drop(node, peer);
    peer_put(node, peer);
}

void ins_tidy_ephemerals(tram_node *node, uint32_t most) {
    for (uint32_t i = 0; i < LAYOUT_BITS && most > 0; i++) {
        struct peer **link = &node->peers[node->tidy_at++ % LAYOUT_BITS];

        while (*link) {
            struct peer *peer = *link;

            if (is_ephemeral(peer->id) && peer->in && !peer->in->broken) {
                drop_ephemeral(node, peer);
                most -= most > 0;
            }
            if (*link == peer)
                link = &peer->next;
        }
    }
}

int ins_scan(tram_node *node) {
    uint32_t before = node->ephemeral_ins;
    int rc;

    node->asides = 0;
    node->remains = 0;
    node->retries_seen = 0;
    rc = sys_dir_each(node->dir, found, node);
    node->unscanned = rc;
    if (rc < 0) {
        node->bad = true; /* who receives next is told: that there is nothing would be no truth */
        return cannot_scan(node);
    }
    /* For each that came look at two: so what is left of them stays little under any traffic. */
    ins_tidy_ephemerals(node, 2 * (node->ephemeral_ins - before));
    return 0;
}

void in_tidy(tram_node *node, struct in *in) {
    uint64_t tail = in->rx.tail;
    uint64_t reserved = load_relaxed(&in->rx.words->reserved);
    uint64_t kept = load_relaxed(&in->rx.words->kept);
    uint64_t held = reserved > kept ? reserved - kept : 0; /* nothing, after an orderly end */
    struct head *head = in->head_map.base;
    tram_id from = in->peer->id;
    int rc;

    if (WORD_POSITION(in->rx.committed) != tail || in->quiet_tail != tail) {
        in->quiet_tail = tail;
        return; /* not drained, or not idle for long */
    }
    if ((held <= node->keep + 4 * DEFAULT_KEEP && !is_ephemeral(from)) ||
        layout_find(node->layout, from, node->id))
        return;
    rc = custody_tidy_sender(&node->bus, node->dir, from, node->id, node->keep, &in->rx);
    if (ring_rx_ready(&in->rx))
        in_heat(node, in);
    if (rc == 1) {
        in_drop(node, in->peer);
        return;
    }
    if (rc == -EBUSY && held > node->keep + 4 * DEFAULT_KEEP) { /* it runs: ask it */
        store_relaxed(&head->armed,
                      (load_relaxed(&head->armed) + ARMED_EPOCH) | ARMED_ON | ARMED_TRIM);
        fence(); /* F2 */
        if (ring_rx_look(&in->rx) && ring_rx_ready(&in->rx))
            in_heat(node, in);
        (void) peer_knock(node, in->peer); /* or at the next re-look */
    }
}

/* ---- releasing ------------------------------------------------------------------------------- */

void in_give(tram_node *node, struct in *in) {
    uint64_t want = ring_rx_free(&in->rx);

    if (unlikely(sys_map_torn(&in->head_map)) && !in->broken)
        (void) in_break(node, in, "somebody cut the file with the receiver's words short");
    if (in->old)
        drop_old(in);
    if (unlikely(ring_rx_must_ring(&in->rx, want)) && peer_knock(node, in->peer) == 0)
        in->rx.rung = want; /* else the next one knocks again */
}

void ins_give(tram_node *node) {
    struct in *in = node->hot;

    for (uint32_t left = node->hot_count; left > 0; left--) {
        struct in *next = in->hot_next; /* it may be closed */

        if (WORD_POSITION(in->rx.committed) != in->rx.freed)
            in_give(node, in);
        in = next;
    }
}

void in_done(tram_node *node, struct in *in, uint64_t seq, uint64_t end) {
    struct head *head = in->head_map.base;
    uint64_t *word = &head->window[seq % LAYOUT_WINDOW];
    uint64_t old;

    if (seq == in->done_seq + 1) {
        in_commit(node, in, end, seq);
        return;
    }
    old = load_relaxed(word);
    if (WINDOW_SEQ(old) != WINDOW_SEQ(seq))
        old = WINDOW_SEQ(seq);
    store_relaxed(word, old | WINDOW_RELEASED);
    in->plain = false;
    in->hands[seq % LAYOUT_WINDOW] =
        (struct hand){.seq = seq, .end = end, .state = HAND_RELEASED};
}

/* The messages that the last receive handed out without TRAM_HOLD. */
static inline void auto_release(tram_node *node, struct in *in) {
    in->auto_listed = false;
    if (in->plain) { /* the short way notes no more than that it is listed */
        in_commit(node, in, in->rx.pos, in->rx.seq);
        return;
    }
    if (likely(in->auto_first == in->done_seq + 1)) {
        in_commit(node, in, in->auto_pos, in->auto_seq);
        return;
    }
    for (uint64_t seq = in->auto_first; seq <= in->auto_seq; seq++) {
        const struct hand *hand = &in->hands[seq % LAYOUT_WINDOW];

        if (hand->state == HAND_HELD) /* else by the application, already */
            in_done(node, in, seq, hand->end);
    }
}

void autos_release(tram_node *node) {
    node->quick = NULL;
    while (node->autos) {
        struct in *in = node->autos;

        node->autos = in->auto_next;
        auto_release(node, in);
        in_give_quiet(node, in);
    }
    for (struct retry *retry = node->retries; unlikely(retry != NULL);) {
        struct retry *next = retry->next;

        if (retry->in_hand && !retry->hold)
            (void) aside_release(node, retry->from, retry->seq, true); /* or the next receive */
        retry = next;
    }
}
