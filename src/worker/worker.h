/* SPDX-License-Identifier: MIT
 *
 * What the service layer sees of a worker beyond the public header: ports of its node, messages in
 * hand, peers, room in rings, and the wait of a blocking call.
 *
 * The worker receives from its node (each message with TRAM_HOLD) and hands a message with layer
 * bytes to the port that they name. A message for a port that is not there yet is parked, for
 * PARK_NS and within the 512 of a sender that the core lets be in hand, because a process that has
 * restarted makes its endpoints one after the other; then the worker's `stranger` is called, which
 * refuses it.
 *
 * A blocking call (worker_pump()) hands on messages of one port only; the others are parked in
 * their order and come when the loop turns again. So no handler ever runs inside another's call.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "tram/worker.h"

#define PARK_NS INT64_C(5000000000)

/* A message in hand. Who keeps it beyond the call that brought it takes it (worker_take()) and
 * releases it later, in any order. */
struct worker_message {
    struct tram_msg msg;
    tram_worker *worker;
    void *copy;      /* the worker's: where msg.data is, if it had to leave its ring */
    bool taken;
    bool last;       /* whoever comes after this process has no use for it: it may be released
                        before what was made of it is accepted */
};

struct worker_port {
    uint32_t port;                 /* not 0 */
    void (*on_message)(struct worker_port *port, struct worker_message *message);
    struct worker_port *next;      /* the worker's */
};

/* -EADDRINUSE: the port is taken. Messages that were parked for it come with the next turn. */
int worker_port_add(tram_worker *worker, struct worker_port *port);
void worker_port_remove(tram_worker *worker, struct worker_port *port);

/* `fn` is called for a message of a port that nobody has; at once if it is hopeless, for that port
 * will never be there (NULL: none is). */
void worker_set_stranger(tram_worker *worker,
                         void (*fn)(tram_worker *worker, const struct tram_msg *msg),
                         bool (*hopeless)(const struct tram_msg *msg));

/* `fn` is called for each message that comes and is not handed to a port now: plain, parked, or put
 * off while a blocking call is on the way. Who has others of that sender in hand holds up what
 * follows. */
void worker_set_passed(tram_worker *worker,
                       void (*fn)(tram_worker *worker, const struct tram_msg *msg));

/* Keep the message: a copy of *message that is the caller's, to be given to worker_release(). NULL:
 * no memory, and it is released as if it had not been taken. */
struct worker_message *worker_take(struct worker_message *message);
struct worker_message *worker_release(struct worker_message *message);

/* A message that was taken leaves its ring: it is copied, and released. False: there is no memory,
 * or too many are so. */
bool worker_copy(struct worker_message *message);

/* A message that was taken was handed on, with `taken` false: the end of it, unless it was taken
 * again. */
void worker_handed_on(struct worker_message *message);

/* Give back a message that was taken as if it had not come yet: it is handed on in the next turn,
 * before all others, to whoever has the port then. */
void worker_hand_back(struct worker_message *message);

/* May, and shall, what is sent now be staged (TRAM_MORE)? It may if more messages of the same turn
 * follow the one whose handler runs, and handlers are quick at the moment: the worker flushes in
 * some µs; or if the caller knows that more follow. Messages that are released from then on are so
 * after the flush: what was made of them is accepted first. */
bool worker_stage(tram_worker *worker, bool more);
/* Flush, and release what waits for that. The worker does at the end of the turn. */
void worker_settle(tram_worker *worker);

/* Receive and hand on until *done, the deadline (CLOCK_MONOTONIC; INT64_MAX: none), or an error:
 * messages of `port`, events of peers and room, sockets and timers of the layer itself
 * (worker_inner…), but no handler of the application. 0, -ETIMEDOUT or why the node failed. */
int worker_pump(tram_worker *worker, struct worker_port *port, const bool *done, int64_t deadline);

/* A peer node whose comings and goings somebody wants to know; and room in the ring to it. Several
 * may ask for the same peer. `on_state`: up tells whether it runs now; the first call comes at once
 * if it does. `on_space`: after worker_want_space(), once. Either may be NULL. */
struct worker_peer {
    tram_id id;
    uint64_t life; /* of the node that it is about (since_ns of struct tram_peer), or 0: any. The
                      end of an earlier one is not its */
    void (*on_state)(struct worker_peer *peer, bool up, int32_t pid);
    void (*on_space)(struct worker_peer *peer);
    struct worker_peer *next, **link; /* the worker's, as all below */
    bool wants_space, told;
};

int worker_peer_add(tram_worker *worker, struct worker_peer *peer, tram_id id);
void worker_peer_remove(tram_worker *worker, struct worker_peer *peer);
void worker_want_space(tram_worker *worker, struct worker_peer *peer);
/* Something was sent to this node, so that there is room, and the core owes no event any more: who
 * was refused before is told in the next turn. */
void worker_space_shows(tram_worker *worker, tram_id id);

/* Call `fn` when the handler that runs now has returned, before anything else: for what frees
 * itself. Linked into the object, so that it can't fail. */
struct worker_deferred {
    void (*fn)(struct worker_deferred *deferred);
    struct worker_deferred *next;
    bool queued;
};
void worker_defer(tram_worker *worker, struct worker_deferred *deferred);

/* Called when the worker is freed, before its node is closed: end what you have. */
struct worker_ending {
    void (*fn)(struct worker_ending *ending);
    struct worker_ending *next, **link;
};
void worker_ending_add(tram_worker *worker, struct worker_ending *ending);
void worker_ending_remove(struct worker_ending *ending);

/* What has to be looked at in each turn of the loop, and in worker_pump(), too: rings of events
 * that are being read, sockets with something to be written. `turn` does a bounded part and says
 * whether it did something; a loop in which no source and no message did spins, and then sleeps.
 * `sleep` is called before it sleeps (and before tram_worker_dispatch() says 0): arm what wakes
 * you; false: there is work after all. Then, when it is awake again, or could not fall asleep,
 * `wake`, also to who said false. sleep and wake may be NULL; they call no handler and neither add
 * nor remove. */
struct worker_source {
    bool (*turn)(struct worker_source *source);
    bool (*sleep)(struct worker_source *source);
    void (*wake)(struct worker_source *source);
    struct worker_source *next, **link; /* the worker's, as all below */
    tram_worker *worker;
    bool sleeps;
};
void worker_source_add(tram_worker *worker, struct worker_source *source);
void worker_source_remove(struct worker_source *source);

/* Timers and watches of the layer itself: as the public ones, but they run in worker_pump(), too.
 */
int worker_inner_timer(tram_worker *worker, tram_timer_fn *fn, void *arg, tram_timer **ret_timer);
int worker_inner_io(tram_worker *worker, int fd, uint32_t events, tram_io_fn *fn, void *arg,
                    tram_io **ret_io);

/* Is this the thread that may use it? 0, -EXDEV or -ECHILD. */
int worker_check(const tram_worker *worker);

/* The file of keys that its options name, or NULL. */
const char *worker_keys(const tram_worker *worker);

/* Note an error for tram_worker_error(); returns `code`. */
int worker_fail(tram_worker *worker, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* … and a number that goes with it. */
void worker_fail_limit(tram_worker *worker, uint64_t limit);
/* … and that of the node. */
int worker_fail_node(tram_worker *worker, int code);

/* One pointer for the service layer: what all endpoints of a worker share (its connection to the
 * daemon). */
void *worker_shared(const tram_worker *worker);
void worker_set_shared(tram_worker *worker, void *shared);

uint32_t worker_flags(const tram_worker *worker);
/* Does it look for a while before it sleeps? */
bool worker_spins(const tram_worker *worker);
/* Is it looking now, so that a source that found much may leave the other side alone for some µs,
 * though there could be more? Not where the turn tells somebody that there is nothing. */
bool worker_looks(const tram_worker *worker);

/* CLOCK_MONOTONIC as of the beginning of this turn, or now if the turn is older than that matters:
 * what one handler after the other may use without a clock read each. */
int64_t worker_now(tram_worker *worker);
/* … and now. */
int64_t worker_read_clock(tram_worker *worker);
