/* SPDX-License-Identifier: MIT
 *
 * What becomes of rings when their receiver leaves or comes: mirrors that stay behind, journals of
 * what it had consumed and in hand, given and entered. The rules are in docs/HOSTS.md ("What
 * becomes of mirrors").
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sim/sim.h"

/* ---- a node leaves --------------------------------------------------------------------------- */

static void past_add(struct host *host, const struct ring *ring) {
    struct journal *past = journal_of(host, ring->from, ring->to, ring->id);

    if (!past) {
        past = journal_add(host, ring->from, ring->to, ring->id);
        past->past = true;
    }
    if (ring->consumed > past->consumed)
        past->consumed = ring->consumed;
}

static void refuse(struct host *host, struct ring *ring) {
    if (ring->chan)
        link_refuse(host->peers[ring->chan->peer].link, ring->chan->in, LINK_AWAY);
}

void move_drop(struct host *host, struct ring *ring) {
    past_add(host, ring);
    ring_remove(host, ring);
    host->look = true;
}

/* What becomes of the mirrors into a node that is not here any more. The only copy of a message may
 * lie in one: so each stays until the origin's host says that it goes another way. If that lost its
 * memory, the mirror is the origin from now on. */
void move_drop_mirrors(struct host *host, int node) {
    for (int from = 0; from < host->sim->nodes; from++) {
        struct ring *ring = host->rings[from][node];

        if (!ring || !ring->mirror)
            continue;
        if (ring_drained(ring)) {
            refuse(host, ring);
            move_drop(host, ring);
        } else if (ring->orphan) {
            refuse(host, ring);
            ring->mirror = false;
            ring->promoted = true;
        } else {
            ring->left = true;
            ring->left_at = host->sim->now;
        }
    }
    host->dirty = host->look = true;
}

/* The channel of a mirror that was left was closed before: then it is enough that its host
 * speaks. */
void move_left(struct host *host) {
    for (int i = 0; i < host->sim->nodes * host->sim->nodes; i++) {
        struct ring *ring = host->rings[i / host->sim->nodes][i % host->sim->nodes];
        struct link_stats stats;

        if (!ring || !ring->left || ring->chan || !host->daemon ||
            !link_is_up(host->peers[ring->source].link) ||
            host->peers[ring->source].instance != ring->instance)
            continue;
        link_stats(host->peers[ring->source].link, &stats);
        if (stats.heard > ring->left_at + 3000 * MS)
            move_drop(host, ring);
    }
}

void move_source_back(struct host *host, int peer) {
    for (int from = 0; from < host->sim->nodes; from++) {
        for (int to = 0; to < host->sim->nodes; to++) {
            struct ring *ring = host->rings[from][to];
            bool same = ring && ring->instance == host->peers[peer].instance;

            if (!ring || !ring->mirror || ring->source != peer)
                continue;
            if (same)
                continue; /* said before it died, maybe: move_left() waits for more */
            ring->orphan = true;
            if (ring->left && host->place[to].here) {
                ring->left = false;
                ring->unsure = ring->accepted;
                ring->from_epoch = LINK_YIELDED; /* as if it had been offered */
            } else if (ring->left) {
                ring->mirror = ring->left = false;
                ring->promoted = true;
            }
        }
    }
    host->dirty = host->look = true;
}

/* Somebody else goes on: of what is noted here only what was consumed holds still. */
void move_forget(struct host *host, int node) {
    for (struct journal *known = host->journals; known; known = known->next) {
        if (known->to == node)
            known->past = true;
    }
}

/* ---- journals -------------------------------------------------------------------------------- */

/* In order: what its rings say here is noted, for whoever has it next. */
void move_give_up(struct host *host, int node) {
    for (int from = 0; from < host->sim->nodes; from++) {
        struct ring *ring = host->rings[from][node];

        if (ring && ring->left)
            past_add(host, ring);
        else if (ring)
            journal_enter(host, ring);
    }
    move_drop_mirrors(host, node);
    store_reopen(host, node);
}

/* One channel, as it crosses. */
static void give_one(struct host *host, int peer, Tram__Hosts__Given *given,
                     const struct journal *known) {
    Tram__Hosts__Channel channel = HOSTS_NEW(Channel, channel), *channels[1] = {&channel};
    Tram__Hosts__Hand hands[MESSAGES], *pointers[MESSAGES];
    hosts_frame frame = HOSTS_FRAME(GIVEN, given, given);

    given->more = true;
    given->channels = channels;
    given->n_channels = 1;
    channel.from = (uint32_t) known->from + 1;
    channel.stream = known->id;
    channel.consumed = known->consumed;
    channel.handed = known->past ? known->consumed : known->handed;
    channel.unsure = known->unsure;
    channel.mirror = known->past; /* (nothing else asks for it here) */
    channel.hands = pointers;
    for (uint64_t seq = known->consumed + 1; seq <= MESSAGES && !known->past; seq++) {
        if (known->attempts[seq] == 0 && !known->released[seq])
            continue;
        hands[channel.n_hands] = HOSTS_NEW(Hand, hand);
        hands[channel.n_hands].number = seq;
        hands[channel.n_hands].attempts = known->attempts[seq];
        hands[channel.n_hands].released = known->released[seq] && !BUG(NO_WINDOW);
        pointers[channel.n_hands] = &hands[channel.n_hands];
        channel.n_hands++;
    }
    place_say(host, peer, &frame);
    given->n_channels = 0;
}

void move_give(struct host *host, int peer, int node, const Tram__Hosts__Give *give) {
    Tram__Hosts__Given given = HOSTS_NEW(Given, given);
    hosts_frame frame = HOSTS_FRAME(GIVEN, given, &given);

    given.id = (uint32_t) node + 1;
    given.epoch = give->epoch;
    given.serial = give->serial;
    for (struct journal *known = host->journals; known; known = known->next) {
        if (known->to == node && !BUG(NO_JOURNAL))
            give_one(host, peer, &given, known);
    }
    given.more = false;
    place_say(host, peer, &frame);
}

/* They are known elsewhere. */
void move_given(struct host *host, int node) {
    struct journal *next;

    for (struct journal *known = host->journals; known; known = next) {
        next = known->next;
        if (known->to == node)
            journal_remove(host, known);
    }
}

void move_import(struct host *host, int node, const Tram__Hosts__Channel *channel) {
    struct journal *known = journal_add(host, (int) channel->from - 1, node, channel->stream);

    known->past = channel->mirror;
    known->retired = false;
    known->consumed = channel->consumed;
    known->handed = channel->handed;
    known->unsure = channel->unsure;
    memset(known->attempts, 0, sizeof(known->attempts));
    memset(known->released, 0, sizeof(known->released));
    for (size_t i = 0; i < channel->n_hands; i++) {
        known->attempts[channel->hands[i]->number] = (uint8_t) channel->hands[i]->attempts;
        known->released[channel->hands[i]->number] = channel->hands[i]->released;
    }
}

/* What the old host knew goes into the rings that are here. `exact`: it said so. */
void move_enter(struct host *host, int node, bool exact) {
    for (int from = 0; from < host->sim->nodes; from++) {
        struct ring *ring = host->rings[from][node];
        struct journal *known = ring ? journal_of(host, from, node, ring->id) : NULL;

        if (!ring)
            continue;
        refuse(host, ring); /* its origin's host has not noticed that the node was away */
        if (ring->left && !(exact && known && !known->past))
            continue; /* of what is in it nobody knows what was consumed since: its origin does */
        /* Who sends now was heard elsewhere; and the origin's host, whose OPEN is refused, is not
         * told what is consumed. */
        ring->left = ring->left && store_is_fenced(host, ring);
        if (ring->promoted) { /* its receiver is back */
            if (ring->out)
                store_close(host, ring, LINK_MOVED);
            ring->promoted = false;
            ring->mirror = ring->orphan = true;
            ring->from_epoch = LINK_YIELDED; /* as it was offered, too */
            if (!known || known->past) /* all of it was offered, and may be seen */
                ring->unsure = ring->accepted;
        }
        oracle_entered(host, ring, ring->mirror ? ring->unsure : ring->handed,
                       exact && known && !known->past);
        if (!exact || ((!known || known->past) && !ring->mirror)) { /* all that left may be seen */
            for (uint64_t seq = ring->consumed + 1; seq <= ring->handed; seq++)
                ring->attempts[seq] = ring->attempts[seq] ? ring->attempts[seq] : 1;
            if (ring->mirror)
                ring->unsure = ring->accepted;
        } else if (known && !known->past) {
            ring->unsure = known->unsure;
            memcpy(ring->attempts, known->attempts, sizeof(ring->attempts));
            memcpy(ring->released, known->released, sizeof(ring->released));
            if (!BUG(HANDED_STAYS) || ring->mirror || ring->handed < known->handed) {
                ring->handed = known->handed;
            } else { /* what left comes marked, though nobody saw it */
                for (uint64_t seq = known->handed + 1; seq <= ring->handed; seq++)
                    ring->attempts[seq] = ring->attempts[seq] ? ring->attempts[seq] : 1;
            }
        }
        if (known && known->consumed > ring->accepted) {
            ring_remove(host, ring); /* it is made anew, from the journal */
            continue;
        }
        if (known && known->consumed > ring->consumed)
            ring_consume(ring, known->consumed);
        if (known && !ring->left)
            journal_remove(host, known);
        if (ring->handed < ring->consumed)
            ring->handed = ring->consumed;
    }
    if (!exact)
        move_forget(host, node);
}

