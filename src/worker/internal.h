/* SPDX-License-Identifier: MIT
 *
 * Inside a worker. One role per file:
 *
 *   worker.c   made and freed                     message.c  ports, parking, handing on
 *   life.c     run, start, stop, join, fork       peer.c     peers, events, room
 *   loop.c     turns, spinning, sleeping          job.c      jobs of other threads
 *   pump.c     the wait of a blocking call        timer.c, watch.c, source.c
 *
 * The loop is ours, around libuv's. A turn hands on a batch of messages and looks at the clock
 * every few of them; libuv is asked (an epoll_wait(2)) only every LOOK_NS while there is work, and
 * when there is none. In libuv's loop three descriptors are ours: the inner set (node, alarm,
 * descriptors of the layer itself), which a blocking call waits for alone; the outer set (watches
 * of the application); and the counter that other threads raise.
 *
 * What other threads write is in one struct (`outside`), and they set `attention` behind it: the
 * only word of theirs that a turn reads.
 */
#pragma once

#include <pthread.h>
#include <uv.h>

#include "sys/event.h"
#include "worker/worker.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define MESSAGES_MAX 32     /* of a turn */
#define MESSAGES_MIN 8      /* … if jobs wait */
#define JOBS_MAX     32
#define TIMERS_MAX   64
#define QUICK_NS     2000   /* of a message with its handler: then sends are staged */
#define CLOCK_EVERY  4      /* messages between two looks at the clock, if there are timers */
#define LOOK_NS      50000  /* between two looks at descriptors, while there is work */
#define EVENTS_NS    1000000 /* … at a node's events, if nobody waits for room */
#define RECEIVE_NS   20000 /* between two receives, while there is other work */
#define SLICE_NS     2000   /* of spinning, between looks at everything else */
#define RETRY_NS     10000000 /* after a failed receive */
#define IDLE_NS      5000000000 /* how often a node is seen to that receives nothing */
#define COPIES_MAX   (16u << 20) /* bytes of messages that wait outside of their rings */
#define PORTS_FIRST  64
#define PEERS        64
#define WORKER_PORT_AT 4    /* the port in the layer bytes, 4 bytes (wire/frame.h) */

/* A message that is kept: taken by its port, parked, or to be handed on later. The public part is
 * first; `next` is of the list that has it. */
struct held {
    struct worker_message message;
    int64_t since;
    struct held *next;
};

struct held_list {
    struct held *first, **last;
    uint32_t count;
};

struct heap {
    tram_timer **timers; /* timers[0] is due first */
    uint32_t count, room;
};

struct tram_timer {
    tram_worker *worker;
    tram_timer_fn *fn;
    void *arg;
    int64_t due, every;
    struct heap *heap;
    uint32_t place; /* in the heap, from 1; 0: not set */
    tram_timer *next, **link;
};

struct tram_io {
    tram_worker *worker;
    tram_io_fn *fn;
    void *arg;
    int fd, set;
    tram_io *next, **link;
};

struct tram_signal {
    uv_signal_t handle;
    tram_worker *worker;
    tram_signal_fn *fn;
    void *arg;
    tram_signal *next, **link;
};

/* Descriptors that were ready at one look, while their handlers run: who frees one takes it out.
 * Handlers may wait, so that there can be several. */
struct ready_frame {
    struct sys_ready ready[16];
    int count;
    struct ready_frame *outer;
};

/* A node that somebody wants to know about. */
struct watched {
    tram_id id;
    bool watching, up, fresh;
    bool room;                  /* a send found some: who waits for it is to be told */
    bool looked;                /* … and `consumed` is what its receiver had then */
    uint64_t consumed;
    uint64_t life;              /* that runs when the end of one is told; 0: none */
    int32_t pid;
    struct worker_peer *peers;
    struct watched *next;
};

/* Peers that are being told of something: who removes one moves the cursor on. */
struct peer_cursor {
    struct worker_peer *next;
    struct peer_cursor *outer;
};

/* The same for sources. */
struct source_cursor {
    struct worker_source *next;
    struct source_cursor *outer;
};

/* One of the two queues of jobs: bounded, many producers. A producer takes a number, fills its slot
 * and publishes it (J1); the consumer reads published slots in order (J2). There is always a slot:
 * no more jobs wait than there are. */
struct job {
    uint64_t published; /* number + 1 */
    tram_job_fn *fn;
    void *arg;
    struct call *call;
};

struct job_queue {
    struct job *jobs;
    uint64_t head;               /* the consumer's */
    uint64_t tail __attribute__((aligned(64)));
};

enum life { LIFE_IDLE, LIFE_RUNNING };

struct tram_worker {
    /* What each message touches. */
    tram_node *node;
    struct worker_port **ports;
    uint32_t ports_mask, port_count;
    uint32_t batch_at, batch_count;
    int64_t batch_since;         /* when it came, if it has more than one; else 0 */
    bool quick;                  /* as far as the last such tells */
    bool staged;                 /* something may be: releases wait for the flush, … */
    uint32_t owed_count;         /* … these */
    struct worker_deferred *deferred;
    struct worker_source *sources;
    struct held_list later;      /* to be handed on before anything else */
    int64_t now;                 /* the clock, as last read */
    uint32_t since_clock;        /* messages since then */
    uint32_t since_look;         /* … and since a turn looked at timers and descriptors */
    bool forked;
    bool spins, never_sleeps, sleeping;
    bool looks;                  /* this turn is one of many: another look follows at once */
    bool inner_ready, outer_ready;
    uint32_t pumping;
    struct heap timers, inner_timers;
    struct tram_msg batch[MESSAGES_MAX];
    struct tram_msg owed[MESSAGES_MAX];

    /* The rest of its own thread's. */
    tram_message_fn *on_message;
    void *on_message_arg;
    void (*stranger)(tram_worker *worker, const struct tram_msg *msg);
    bool (*hopeless)(const struct tram_msg *msg);
    void (*passed)(tram_worker *worker, const struct tram_msg *msg);
    struct held_list parked, plain;
    struct held_list outlived;   /* plain ones that were copied out, older than those */
    uint64_t copies;             /* bytes of messages that were copied out */
    uint64_t dropped;            /* plain ones, ever */
    struct held *free_held;
    struct watched *watched[PEERS];
    uint32_t watch_count, space_count;
    tram_timer *room_timer;      /* while space_count is not 0 (peer.c) */
    bool fresh_peers;
    struct peer_cursor *cursors;
    struct worker_ending *endings;
    struct source_cursor *source_cursors;
    tram_timer *all_timers;
    tram_io *all_ios;
    tram_signal *all_signals;
    uint32_t timer_count, inner_ios, signal_count;
    struct ready_frame *frames;
    int64_t received_at, looked_at, events_at, retry_at, spin_ns, spun_from, armed;
    uint64_t raises_owed;
    void *shared;
    uv_loop_t loop;
    uv_poll_t inner_poll, outer_poll, raise_poll;
    int inner_set, outer_set, alarm, raise_fd, node_fd;
    bool deaf;                   /* node_fd wakes nobody: what it tells of, nobody takes */
    bool loop_made;
    bool free_wanted;
    struct tram_error error;
    char name[32];
    char *keys; /* NULL: as the environment says */
    uint32_t flags;

    /* What other threads write. */
    struct {
        uint32_t attention __attribute__((aligned(64)));
        uint32_t asleep;
        int64_t stop;            /* the code; -1: none */
        uint32_t closing;
        uint32_t job_count;
        uintptr_t owner;
        uint32_t life;
        uint32_t jobs_max, jobs_mask;
        struct job_queue jobs, urgent;
    } outside;
    pthread_mutex_t life_lock;
    pthread_cond_t life_changed;
    pthread_t thread;
    bool has_thread, thread_ended, thread_joined;
    uint32_t waiters;
    int code;
    tram_worker *registry_next, **registry_link;
};

#define load_relaxed(word)         __atomic_load_n((word), __ATOMIC_RELAXED)
#define load_acquire(word)         __atomic_load_n((word), __ATOMIC_ACQUIRE)
#define load_ordered(word)         __atomic_load_n((word), __ATOMIC_SEQ_CST)
#define store_relaxed(word, value) __atomic_store_n((word), (value), __ATOMIC_RELAXED)
#define store_release(word, value) __atomic_store_n((word), (value), __ATOMIC_RELEASE)
#define store_ordered(word, value) __atomic_store_n((word), (value), __ATOMIC_SEQ_CST)
#define swap_ordered(word, value)  __atomic_exchange_n((word), (value), __ATOMIC_SEQ_CST)

/* worker.c */
void worker_destroy(tram_worker *worker);

/* life.c */
extern _Thread_local tram_worker *worker_running;
int worker_register(tram_worker *worker);
void worker_unregister(tram_worker *worker);
bool worker_quiesce(tram_worker *worker);
void worker_let_go(tram_worker *worker);
uintptr_t worker_self(void);

/* loop.c */
void worker_call_attention(tram_worker *worker); /* any thread */
int worker_loop(tram_worker *worker);
int worker_turn_once(tram_worker *worker);
int worker_arm(tram_worker *worker, int64_t due);
int64_t worker_node_due(tram_worker *worker, bool receiving);

/* message.c */
bool worker_receives(const tram_worker *worker);
bool worker_messages(tram_worker *worker, int64_t look_ns);
int worker_receive(tram_worker *worker, int64_t look_ns);
void worker_hand_on(tram_worker *worker, struct worker_port *port, struct held *held,
                    const struct tram_msg *msg);
void worker_put_off(tram_worker *worker, const struct tram_msg *msg);
void worker_copy_out(tram_worker *worker);
bool worker_later(tram_worker *worker);
void worker_parked_due(tram_worker *worker);
void worker_messages_end(tram_worker *worker);
struct worker_port *worker_port_find(const tram_worker *worker, uint32_t port);
uint32_t worker_port_of(const struct tram_msg *msg);
void worker_run_deferred(tram_worker *worker);
struct held *held_first(struct held_list *list);
void held_release(tram_worker *worker, struct held *held);

/* After each handler. */
static inline void worker_after_handler(tram_worker *worker) {
    if (unlikely(worker->deferred))
        worker_run_deferred(worker);
}

/* peer.c */
bool worker_events(tram_worker *worker);
bool worker_tell_fresh(tram_worker *worker);
void worker_peers_end(tram_worker *worker);

/* job.c */
int worker_jobs_make(tram_worker *worker, uint32_t max);
bool worker_jobs_run(tram_worker *worker);
bool worker_jobs_wait(const tram_worker *worker);
void worker_jobs_cancel(tram_worker *worker);

/* timer.c */
bool worker_timers_run(tram_worker *worker, struct heap *heap);
void worker_timers_end(tram_worker *worker);

static inline int64_t heap_due(const struct heap *heap) {
    return heap->count > 0 ? heap->timers[0]->due : INT64_MAX;
}

/* source.c */
bool worker_sources_run(tram_worker *worker);
bool worker_sources_sleep(tram_worker *worker);
void worker_sources_wake(tram_worker *worker);

/* watch.c */
bool worker_ready_run(tram_worker *worker, int set);
void worker_ready_wait(tram_worker *worker);
void worker_watches_end(tram_worker *worker);

/* For loops over handlers. Has somebody, outside or in a handler, something to be done soon? */
static inline bool worker_interrupted(const tram_worker *worker) {
    return load_relaxed(&worker->outside.attention) != 0;
}

/* Is the rest not to be done at all? */
static inline bool worker_over(const tram_worker *worker) {
    return worker->forked || load_relaxed(&worker->outside.stop) >= 0;
}
