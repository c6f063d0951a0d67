/* SPDX-License-Identifier: MIT
 *
 * The oracle of the kill storm: what a receiver may be handed, given what was handed out and
 * released before, in this life and in those that were killed.
 *
 * In one life the numbers of a channel only grow. A number may be skipped only if its release was
 * begun (then it is done), or if it was handed out so often that it is set aside. A message comes
 * with the attempt that the log says, plus one for each death at which it may have been handed out
 * unseen; so attempt 1 never stands on one that was handed out before.
 */
#include "support/storm.h"

#include <stdio.h>
#include <string.h>

/* The entry of a number; a fresh one when the place was last used by an older number. */
static struct storm_entry *entry_of(struct storm_chan *chan, uint64_t seq) {
    struct storm_entry *entry = &chan->log[seq % STORM_LOG];

    if (entry->seq != seq) {
        entry->state = FRESH;
        entry->handed = 0;
        entry->unsure = 0;
        __atomic_store_n(&entry->seq, seq, __ATOMIC_RELEASE);
    }
    return entry;
}

static void set_state(struct storm_entry *entry, enum storm_state state) {
    __atomic_store_n(&entry->state, (uint32_t) state, __ATOMIC_RELEASE);
}

static void settle(struct storm_chan *chan) {
    uint64_t seq = chan->settled;

    while (seq < chan->handed || seq < chan->tried) {
        const struct storm_entry *entry = &chan->log[(seq + 1) % STORM_LOG];

        if (entry->seq != seq + 1 || (entry->state != RELEASED && entry->state != SET_ASIDE))
            break;
        seq++;
    }
    __atomic_store_n(&chan->settled, seq, __ATOMIC_RELEASE);
}

/* The last life may have died in a receive: up to so many messages were handed out unseen. */
static void count_unsure(struct storm_chan *chan, unsigned max) {
    for (uint64_t seq = chan->settled + 1; seq <= chan->handed + max; seq++) {
        struct storm_entry *entry = entry_of(chan, seq);

        if (entry->state != RELEASED && entry->state != SET_ASIDE)
            entry->unsure++;
    }
}

void oracle_begin(struct storm_life_of *me, struct storm_seen *seen) {
    struct storm_world *world = me->world;

    for (int i = 0; i < world->n_chans; i++) {
        struct storm_chan *chan = &world->chans[i];

        if (chan->receiver != me->index)
            continue;
        settle(chan);
        if (me->self->calling)
            count_unsure(chan, me->self->calling);
        seen->last[i] = chan->settled;
    }
    __atomic_store_n(&me->self->calling, 0, __ATOMIC_RELEASE);
}

void oracle_calling(struct storm_life_of *me, unsigned max) {
    __atomic_store_n(&me->self->calling, max, __ATOMIC_RELEASE);
}

void oracle_called(struct storm_life_of *me) {
    __atomic_store_n(&me->self->calling, 0, __ATOMIC_RELEASE);
}

/* ---- a hand-out ----------------------------------------------------------------------------- */

static bool all_zero(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++)
        if (bytes[i])
            return false;
    return true;
}

static void check_bytes(struct storm_life_of *me, struct storm_chan *chan,
                        const struct tram_msg *msg) {
    uint64_t key = storm_key(me->world, chan, msg->seq);
    uint32_t size = storm_size(me->world, chan, msg->seq);
    ssize_t wrong;

    if (msg->size != size || msg->tag != (uint32_t) key)
        storm_fail(me->world, chan, "%llu: size %zu tag %#x, expected %u %#x",
                   (unsigned long long) msg->seq, msg->size, msg->tag, size, (uint32_t) key);
    if ((uintptr_t) msg->data % 8)
        storm_fail(me->world, chan, "%llu: not aligned", (unsigned long long) msg->seq);
    wrong = pattern_check(msg->data, msg->size, key);
    if (wrong >= 0)
        storm_fail(me->world, chan, "%llu: byte %zd of %zu is wrong", (unsigned long long) msg->seq,
                   wrong, msg->size);
    if (!all_zero(msg->layer, sizeof msg->layer) &&
        pattern_check(msg->layer, sizeof msg->layer, key) >= 0)
        storm_fail(me->world, chan, "%llu: layer bytes are wrong", (unsigned long long) msg->seq);
}

static void check_attempt(struct storm_life_of *me, struct storm_chan *chan,
                          const struct storm_entry *entry, uint32_t attempt) {
    uint32_t least = entry->handed + 1u, most = least + entry->unsure;

    if (attempt < least || attempt > most)
        storm_fail(me->world, chan, "%llu: attempt %u; %u hand-outs seen, %u perhaps",
                   (unsigned long long) entry->seq, attempt, entry->handed, entry->unsure);
    if (attempt > me->self->attempts)
        storm_fail(me->world, chan, "%llu: attempt %u, but the limit is %u",
                   (unsigned long long) entry->seq, attempt, me->self->attempts);
}

/* A number that this life will not get any more. */
static void check_skipped(struct storm_life_of *me, struct storm_chan *chan, uint64_t seq) {
    struct storm_entry *entry = entry_of(chan, seq);

    switch (entry->state) {
    case RELEASED:
    case SET_ASIDE:
        return;
    case RELEASING:
        set_state(entry, RELEASED);
        return;
    default:
        break;
    }
    if (entry->handed + entry->unsure < me->self->attempts)
        storm_fail(me->world, chan, "%llu is missing (%s, %u hand-outs seen, %u perhaps)",
                   (unsigned long long) seq, entry->state == HANDED ? "in hand" : "never seen",
                   entry->handed, entry->unsure);
    if (chan->n_aside < STORM_ASIDE)
        chan->aside[chan->n_aside] = seq;
    __atomic_store_n(&chan->n_aside, chan->n_aside + 1, __ATOMIC_RELEASE);
    set_state(entry, SET_ASIDE);
}

void oracle_skipped(struct storm_life_of *me, struct storm_seen *seen, struct storm_chan *chan,
                    uint64_t upto, const char *call) {
    uint64_t *last = &seen->last[chan - me->world->chans];

    snprintf(me->self->doing, sizeof me->self->doing, "empty: %s", call);
    for (uint64_t seq = *last + 1; seq <= upto; seq++)
        check_skipped(me, chan, seq);
    me->self->doing[0] = 0;
    *last = upto;
    settle(chan);
}

struct storm_chan *oracle_handed(struct storm_life_of *me, struct storm_seen *seen,
                                 const struct tram_msg *msg) {
    struct storm_chan *chan = storm_find(me->world, msg->from, me->index);
    struct storm_entry *entry;
    uint64_t *last;

    if (!chan)
        storm_fail(me->world, NULL, "message from %#x, which has no channel to here", msg->from);
    last = &seen->last[chan - me->world->chans];
    if (msg->seq <= *last)
        storm_fail(me->world, chan, "%llu after %llu", (unsigned long long) msg->seq,
                   (unsigned long long) *last);
    if (msg->seq > __atomic_load_n(&chan->tried, __ATOMIC_ACQUIRE))
        storm_fail(me->world, chan, "%llu was never sent", (unsigned long long) msg->seq);
    for (uint64_t seq = *last + 1; seq < msg->seq; seq++)
        check_skipped(me, chan, seq);
    entry = entry_of(chan, msg->seq);
    if (entry->state == RELEASED || entry->state == SET_ASIDE)
        storm_fail(me->world, chan, "%llu comes again (attempt %u), but it was %s",
                   (unsigned long long) msg->seq, msg->attempt,
                   entry->state == RELEASED ? "released" : "set aside");
    check_attempt(me, chan, entry, msg->attempt);
    check_bytes(me, chan, msg);

    if (msg->attempt > 1)
        chan->repeats++;
    chan->handouts++;
    /* What was handed out and not seen counts as seen from here on: attempt says how often. */
    entry->handed = (uint16_t) msg->attempt;
    entry->unsure = 0;
    set_state(entry, HANDED);
    if (msg->seq > chan->handed)
        __atomic_store_n(&chan->handed, msg->seq, __ATOMIC_RELEASE);
    *last = msg->seq;
    return chan;
}

/* ---- its release ---------------------------------------------------------------------------- */

void oracle_releasing(struct storm_chan *chan, uint64_t seq) {
    struct storm_entry *entry = entry_of(chan, seq);

    if (entry->state == HANDED)
        set_state(entry, RELEASING);
}

void oracle_released(struct storm_life_of *me, struct storm_chan *chan, uint64_t seq) {
    struct storm_entry *entry = entry_of(chan, seq);

    if (entry->state != RELEASING && entry->state != RELEASED)
        storm_fail(me->world, chan, "%llu: the test released what it did not have",
                   (unsigned long long) seq);
    set_state(entry, RELEASED);
    settle(chan);
    me->world->progress++;
}

/* A message that was set aside comes once more: out of order and marked. */
void oracle_retried(struct storm_life_of *me, const struct tram_msg *msg) {
    struct storm_chan *chan = storm_find(me->world, msg->from, me->index);

    if (!chan)
        storm_fail(me->world, NULL, "retried message from %#x", msg->from);
    for (uint64_t i = 0; i < chan->n_aside && i < STORM_ASIDE; i++)
        if (chan->aside[i] == msg->seq) {
            if (msg->attempt <= me->self->attempts)
                storm_fail(me->world, chan, "%llu retried with attempt %u",
                           (unsigned long long) msg->seq, msg->attempt);
            check_bytes(me, chan, msg);
            chan->aside[i] = 0;
            chan->n_retried++;
            return;
        }
    storm_fail(me->world, chan, "%llu retried, but it was not set aside",
               (unsigned long long) msg->seq);
}

/* Everything that was accepted on the channels to here is released; true only after the senders
 * have ended. The numbers that are left may only be such as were skipped. */
bool oracle_drained(struct storm_life_of *me) {
    struct storm_world *world = me->world;

    for (int i = 0; i < world->n_nodes; i++)
        if (world->nodes[i].kind == EPHEMERAL && world->nodes[i].pid)
            return false;
    for (int i = 0; i < world->n_chans; i++) {
        struct storm_chan *chan = &world->chans[i];
        uint64_t final = __atomic_load_n(&chan->final, __ATOMIC_ACQUIRE);

        if (chan->receiver != me->index)
            continue;
        if (!final)
            return false;
        if (chan->settled != final - 1)
            return false;
    }
    return true;
}
