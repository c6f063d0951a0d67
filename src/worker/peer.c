/* SPDX-License-Identifier: MIT
 *
 * Peers: who asked to be told of a node's comings and goings, or of room in the ring to it. The
 * core tells of each node once; here several may ask, and who asks late is told what is so.
 *
 * The core owes one event of room, until a send goes through, whosever it is. The application may
 * send on the same node, so who waits here is not told of that; nor need anything else be sent. So
 * while somebody waits, we look every ROOM_NS whether the receiver got further.
 */
#include <errno.h>
#include <stdlib.h>

#include "worker/internal.h"

#define ROOM_NS    INT64_C(10000000)
#define ROOM_BYTES 16384u /* of the smallest ring a quarter: there is room, whatever became of it */

static struct watched **bucket(tram_worker *worker, tram_id id) {
    return &worker->watched[(id ^ id >> 8 ^ id >> 16) % PEERS];
}

static struct watched *watched_find(tram_worker *worker, tram_id id) {
    struct watched *watched = *bucket(worker, id);

    while (watched && watched->id != id)
        watched = watched->next;
    return watched;
}

/* Forgotten when nobody asks any more. */
static void watched_drop(tram_worker *worker, struct watched *watched) {
    struct watched **link = bucket(worker, watched->id);

    while (*link != watched)
        link = &(*link)->next;
    *link = watched->next;
    if (watched->watching) {
        (void) tram_unwatch(worker->node, watched->id); /* what still comes finds nobody */
        worker->watch_count--;
    }
    free(watched);
}

int worker_peer_add(tram_worker *worker, struct worker_peer *peer, tram_id id) {
    struct watched *watched;
    int rc = worker_check(worker);

    if (rc < 0)
        return rc;
    watched = watched_find(worker, id);
    if (!watched) {
        watched = calloc(1, sizeof(*watched));
        if (!watched)
            return worker_fail(worker, -ENOMEM, "no memory for a peer");
        watched->id = id;
        watched->next = *bucket(worker, id);
        *bucket(worker, id) = watched;
    }
    if (peer->on_state && !watched->watching) {
        rc = tram_watch(worker->node, id);
        if (rc < 0) {
            if (!watched->peers)
                watched_drop(worker, watched);
            return worker_fail_node(worker, rc);
        }
        watched->watching = true;
        worker->watch_count++;
        worker_call_attention(worker); /* the first event is there at once */
    }
    peer->id = id;
    peer->wants_space = false;
    peer->told = false;
    peer->next = watched->peers;
    peer->link = &watched->peers;
    if (peer->next)
        peer->next->link = &peer->next;
    watched->peers = peer;
    if (peer->on_state && watched->up) {
        watched->fresh = worker->fresh_peers = true;
        worker_call_attention(worker);
    }
    return 0;
}

void worker_peer_remove(tram_worker *worker, struct worker_peer *peer) {
    struct watched *watched;

    if (!peer->link)
        return;
    for (struct peer_cursor *cursor = worker->cursors; cursor; cursor = cursor->outer)
        if (cursor->next == peer)
            cursor->next = peer->next;
    *peer->link = peer->next;
    if (peer->next)
        peer->next->link = peer->link;
    peer->link = NULL;
    if (peer->wants_space)
        worker->space_count--;
    peer->wants_space = false;
    watched = watched_find(worker, peer->id);
    if (watched && !watched->peers)
        watched_drop(worker, watched);
}

/* Has the receiver got further since the last look, for those who wait? */
static bool look_for_room(tram_worker *worker, struct watched *watched) {
    const struct worker_peer *peer = watched->peers;
    uint64_t before = watched->consumed;
    struct tram_peer now;
    bool room;

    while (peer && !peer->wants_space)
        peer = peer->next;
    if (!peer || tram_peer(worker->node, watched->id, &now) < 0)
        return false;
    room = now.to.bytes < ROOM_BYTES || (watched->looked && now.to.consumed != before);
    watched->looked = true;
    watched->consumed = now.to.consumed;
    return room;
}

static void on_room_timer(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    tram_worker *worker = arg;

    (void) late_ns;
    (void) missed;
    if (worker->space_count == 0)
        return;
    for (uint32_t i = 0; i < PEERS; i++)
        for (struct watched *watched = worker->watched[i]; watched; watched = watched->next)
            if (look_for_room(worker, watched))
                watched->room = worker->fresh_peers = true;
    if (worker->fresh_peers)
        worker_call_attention(worker);
    (void) tram_timer_set(timer, ROOM_NS, 0); /* cannot fail for this time */
}

void worker_want_space(tram_worker *worker, struct worker_peer *peer) {
    if (peer->wants_space || !peer->link)
        return;
    peer->wants_space = true;
    watched_find(worker, peer->id)->looked = false; /* it is there: it has a peer */
    if (!worker->room_timer) /* without memory for one, the core's event has to do */
        (void) worker_inner_timer(worker, on_room_timer, worker, &worker->room_timer);
    if (worker->space_count++ == 0 && worker->room_timer)
        (void) tram_timer_set(worker->room_timer, ROOM_NS, 0);
    worker_call_attention(worker);
}

void worker_space_shows(tram_worker *worker, tram_id id) {
    struct watched *watched;

    if (worker->space_count == 0 || !(watched = watched_find(worker, id)))
        return;
    watched->room = worker->fresh_peers = true;
    worker_call_attention(worker);
}

/* ---- telling --------------------------------------------------------------------------------- */

/* Have `tell` called for each peer of a node, whatever that does to them. */
static void for_each(tram_worker *worker, tram_id id,
                     void (*tell)(tram_worker *worker, struct worker_peer *peer,
                                  const struct watched *watched)) {
    struct watched *watched = watched_find(worker, id);
    struct peer_cursor cursor = {.outer = worker->cursors};

    if (!watched)
        return;
    cursor.next = watched->peers;
    worker->cursors = &cursor;
    while (cursor.next && !worker->forked) {
        struct worker_peer *peer = cursor.next;
        struct watched now;

        cursor.next = peer->next;
        watched = watched_find(worker, id); /* it has a peer: so it is there */
        now = *watched;
        tell(worker, peer, &now);
        if (!worker->forked)
            worker_after_handler(worker);
    }
    worker->cursors = cursor.outer;
}

static void tell_state(tram_worker *worker, struct worker_peer *peer,
                       const struct watched *watched) {
    (void) worker;
    peer->told = true;
    if (peer->on_state)
        peer->on_state(peer, watched->up, watched->pid);
}

static void tell_fresh(tram_worker *worker, struct worker_peer *peer,
                       const struct watched *watched) {
    if (!peer->told && watched->up)
        tell_state(worker, peer, watched);
}

static void tell_space(tram_worker *worker, struct worker_peer *peer,
                       const struct watched *watched) {
    (void) watched;
    if (!peer->wants_space)
        return;
    peer->wants_space = false;
    worker->space_count--;
    if (peer->on_space)
        peer->on_space(peer);
}

/* Those that were added while their node was known to be up, or wait for room that is there. */
bool worker_tell_fresh(tram_worker *worker) {
    if (!worker->fresh_peers)
        return false;
    worker->fresh_peers = false;
    for (uint32_t i = 0; i < PEERS; i++) {
        struct watched *watched = worker->watched[i];

        while (watched && !worker->forked) {
            bool fresh = watched->fresh;

            if (!fresh && !watched->room) {
                watched = watched->next;
                continue;
            }
            if (fresh)
                watched->fresh = false;
            else
                watched->room = false;
            for_each(worker, watched->id, fresh ? tell_fresh : tell_space);
            watched = worker->watched[i]; /* it may be gone */
        }
    }
    return true;
}

/* A life ended. If the next one has begun, what it sent may have been received already: whoever was
 * added for that goes on. */
static void tell_end(tram_worker *worker, struct worker_peer *peer,
                     const struct watched *watched) {
    if (!watched->life || peer->life != watched->life)
        tell_state(worker, peer, watched);
}

/* The life that runs; 0: none. */
static uint64_t life_of(tram_worker *worker, tram_id id) {
    struct tram_peer now;

    return tram_peer(worker->node, id, &now) == 0 && now.state == TRAM_PEER_UP ? now.since_ns : 0;
}

static void ended(tram_worker *worker, struct watched *watched) {
    watched->life = life_of(worker, watched->id);
    if (watched->life) {
        /* The core may not have seen it yet, and then would not tell its end. If it cannot be
         * watched, it has gone. */
        (void) tram_unwatch(worker->node, watched->id);
        (void) tram_watch(worker->node, watched->id);
        if (life_of(worker, watched->id) != watched->life)
            watched->life = 0;
    }
    for_each(worker, watched->id, tell_end);
}

/* The node's events. An end may come without a beginning: of a life that one was added for before
 * that could be told. */
bool worker_events(tram_worker *worker) {
    struct tram_event event;
    bool any = false;

    while (!worker->forked && tram_dispatch(worker->node, &event) > 0) {
        struct watched *watched = watched_find(worker, event.peer);

        any = true;
        switch (event.type) {
        case TRAM_EVENT_UP:
        case TRAM_EVENT_DOWN:
            if (!watched)
                break;
            watched->up = event.type == TRAM_EVENT_UP;
            watched->pid = event.pid;
            watched->fresh = false;
            if (watched->up)
                for_each(worker, event.peer, tell_state);
            else
                ended(worker, watched);
            break;
        case TRAM_EVENT_SPACE:
            for_each(worker, event.peer, tell_space);
            break;
        case TRAM_EVENT_CLOSED: /* the receive that found it says it */
            break;
        }
    }
    return any;
}

void worker_peers_end(tram_worker *worker) {
    for (uint32_t i = 0; i < PEERS; i++) {
        while (worker->watched[i]) {
            struct watched *watched = worker->watched[i];

            for (struct worker_peer *peer = watched->peers; peer; peer = peer->next)
                peer->link = NULL;
            worker->watched[i] = watched->next;
            free(watched);
        }
    }
}
