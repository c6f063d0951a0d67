/* SPDX-License-Identifier: MIT
 *
 * Workers: a thread, or the current one, with an event loop and a node of its own. Link with
 * -ltram-service.
 *
 *     struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
 *     tram_worker *worker;
 *
 *     options.id = TRAM_ID(1, 1, 2, 1);
 *     tram_worker_new(&options, &worker);
 *     …                                       make endpoints, timers, watches: nothing runs yet
 *     tram_worker_run(worker)                 in this thread, until tram_worker_stop();
 *     tram_worker_start(worker)               or in a thread of its own;
 *     tram_worker_fd(worker)                  or driven by a loop that you have
 *
 * Conventions, beside those of tram.h
 *   - What belongs to a worker (timers, watches, endpoints) is made and used in the thread that
 *     runs it; before it runs, in the thread that made it. From any other thread the functions
 *     return -EXDEV: post a job. Functions that any thread may call say so.
 *   - Handlers run in the worker's thread, one at a time, to their end, and never inside a send or
 *     any other call of yours. A handler may make, use and free anything, also what it was called
 *     for.
 *   - Each object has one function that ends it: it takes NULL and returns NULL. Nothing of it is
 *     called back afterwards. tram_worker_free() ends all that is left.
 *   - In a forked child every function answers -ECHILD, and those that free give memory back only.
 *   - Errors that every function may return: -EINVAL, -ENOMEM, -EMFILE, -ENFILE, -EXDEV, -ECHILD.
 *     tram_worker_error() has the text of the last error of this worker.
 */
#ifndef TRAM_WORKER_H
#define TRAM_WORKER_H

#include <tram/tram.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct tram_worker tram_worker;
typedef struct tram_timer tram_timer;
typedef struct tram_io tram_io;
typedef struct tram_signal tram_signal;

/* ---- the worker ----------------------------------------------------------------------------- */

#define TRAM_WORKER_AUTO      0x01u /* start `tramd --auto` if none runs and a name is used */
#define TRAM_WORKER_NO_SPIN   0x02u /* sleep at once when there is nothing to do */
#define TRAM_WORKER_SPIN      0x04u /* never sleep: for a core of its own */

struct tram_worker_options {
    size_t struct_size;               /* set by TRAM_WORKER_OPTIONS_INIT */
    const char *bus;                  /* as tram_open() */
    const struct tram_options *node;  /* as tram_open(); NULL: defaults */
    tram_id id;                       /* of its node; 0: TRAM_EPHEMERAL. What waits for a node with
                                         an ID of its own survives the process */
    uint32_t flags;                   /* TRAM_WORKER_… */
    const char *name;                 /* of its thread, and in tools; NULL: the program's */
    uint32_t jobs_max;                /* that wait; more are -EAGAIN; 0: 1024 */
    uint32_t reserved;                /* 0 */
    const char *keys;                 /* file of 'tram keys', for tls:// addresses; NULL:
                                         $TRAM_KEYS, ~/.config/tram/host.keys or
                                         /etc/tram/host.keys, when one is needed */
};

#ifdef __cplusplus
#define TRAM_WORKER_OPTIONS_INIT { sizeof(struct tram_worker_options), 0, 0, 0, 0, 0, 0, 0, 0 }
#else
#define TRAM_WORKER_OPTIONS_INIT { .struct_size = sizeof(struct tram_worker_options) }
#endif

/* Make a worker and open its node. options may be NULL. Errors as tram_open(), whose text
 * tram_worker_error(NULL) has. */
TRAM_API int tram_worker_new(const struct tram_worker_options *options, tram_worker **ret_worker);

/* Stop it, wait for its thread, end all that it has, close its node. Jobs that wait do not run;
 * who waits for one gets -ECANCELED. From one of its own handlers it ends when that returns. */
TRAM_API tram_worker *tram_worker_free(tram_worker *worker);

/* Run it in a thread of its own, which blocks all signals: they are for the threads that you know.
 * -EALREADY: it runs. -ESHUTDOWN: it is being freed. */
TRAM_API int tram_worker_start(tram_worker *worker);

/* Run it in this thread until tram_worker_stop(): returns what that was given. From inside a
 * handler it is -EDEADLK. -EALREADY: another thread runs it. */
TRAM_API int tram_worker_run(tram_worker *worker);

/* Any thread: let tram_worker_run(), or its thread, return `code` (0 or more) when the handler
 * that runs has ended. What waits stays. A worker may run again. If it does not run, the next run
 * ends at once. */
TRAM_API int tram_worker_stop(tram_worker *worker, int code);

/* Any thread: wait until the thread of tram_worker_start() has ended; returns the code. -ESRCH: it
 * has none. -EDEADLK: it is this one. */
TRAM_API int tram_worker_join(tram_worker *worker);

/* Instead of running it: one descriptor for all of it (messages, timers, watches, jobs), readable
 * while something is to be done. Level-triggered; belongs to the worker. */
TRAM_API int tram_worker_fd(tram_worker *worker);

/* Do what is due, and no more than one turn of it; never waits. Returns 1 if there is more to do
 * at once, else 0; then everything is armed and the descriptor tells. Call it once before the first
 * poll. After tram_worker_stop(): -ESHUTDOWN, once. */
TRAM_API int tram_worker_dispatch(tram_worker *worker);

/* Any thread. */
TRAM_API tram_node *tram_worker_node(tram_worker *worker); /* to use in the worker's thread */
TRAM_API void *tram_worker_loop(tram_worker *worker);      /* its uv_loop_t, likewise */
TRAM_API const char *tram_worker_name(const tram_worker *worker);
TRAM_API tram_worker *tram_worker_current(void);           /* whose handler this is, or NULL */

/* The last error of this worker, in its thread, as tram_last_error(); for NULL that of this
 * thread's last failed tram_worker_new(). */
TRAM_API const struct tram_error *tram_worker_error(const tram_worker *worker);

/* Messages to the worker's node that are for no endpoint: plain tram_send()s. The message is
 * released when the handler returns. Without a handler they stay in their rings; if the worker has
 * endpoints, for 5 s, or until 512 of a sender wait, so that they don't hold up what is for these.
 * Then they wait in memory, 8 MiB of them, for a handler that may still come, and the oldest that
 * are more are dropped: tram_worker_error() says so, its limit how many. */
typedef void tram_message_fn(tram_worker *worker, const struct tram_msg *msg, void *arg);
TRAM_API int tram_worker_on_message(tram_worker *worker, tram_message_fn *fn, void *arg);

/* ---- jobs ----------------------------------------------------------------------------------- */

#define TRAM_JOB_URGENT 0x01u /* before all that is not urgent */

typedef void tram_job_fn(tram_worker *worker, void *arg);

/* Any thread, but no signal handler (for those: tram_signal_new()). Have `fn` called in the
 * worker's thread. Jobs of one thread run in their order, urgent ones first.
 *   -EAGAIN     jobs_max wait
 *   -ESHUTDOWN  the worker is being freed */
TRAM_API int tram_worker_post(tram_worker *worker, tram_job_fn *fn, void *arg, uint32_t flags);

/* The same, and wait until it ran. In the worker's own thread it runs at once. `done`, or NULL, is
 * called in the worker's thread when `arg` is not needed any more, however it ended, once; not if
 * an error other than those below is returned.
 *   -ETIMEDOUT    it did not begin in time, and never will
 *   -EINPROGRESS  it began, and has not ended in time; it goes on: `arg` has to stay until `done`
 *   -ECANCELED    the worker was freed before */
TRAM_API int tram_worker_call(tram_worker *worker, tram_job_fn *fn, tram_job_fn *done, void *arg,
                              uint32_t flags, int64_t timeout_ns);

/* ---- timers --------------------------------------------------------------------------------- */

/* `late_ns`: how much later than asked it runs. `missed`: turns of a cyclic timer that were left
 * out because more than one was due. */
typedef void tram_timer_fn(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg);

/* A timer that is not set. */
TRAM_API int tram_timer_new(tram_worker *worker, tram_timer_fn *fn, void *arg,
                            tram_timer **ret_timer);
TRAM_API tram_timer *tram_timer_free(tram_timer *timer);

/* Run after `first_ns` (0: as soon as the loop turns), and then every `every_ns`, counted from when
 * it was due, not from when it ran; 0: once. Sets it anew if it is set. `first_ns` TRAM_FOREVER:
 * not at all. Nanoseconds of CLOCK_MONOTONIC; kept by timerfd(2), not by the loop's milliseconds.
 * Timers run also when messages never end. */
TRAM_API int tram_timer_set(tram_timer *timer, int64_t first_ns, int64_t every_ns);

/* ---- watches -------------------------------------------------------------------------------- */

#define TRAM_IO_READ  0x01u
#define TRAM_IO_WRITE 0x02u
#define TRAM_IO_HANGUP 0x04u /* only told, always watched; errors, too */

/* `events`: which of TRAM_IO_… are so. Level-triggered. */
typedef void tram_io_fn(tram_io *io, int fd, uint32_t events, void *arg);

/* Watch a descriptor, which stays the caller's and has to stay open.
 *   -EEXIST  this worker watches it
 *   -EPERM   of a kind that cannot be polled, as a file */
TRAM_API int tram_io_new(tram_worker *worker, int fd, uint32_t events, tram_io_fn *fn, void *arg,
                         tram_io **ret_io);
TRAM_API int tram_io_set(tram_io *io, uint32_t events);
TRAM_API tram_io *tram_io_free(tram_io *io);

/* A signal of the process; several workers may ask for the same. Installs a handler for it; in a
 * forked child it has its default again. */
typedef void tram_signal_fn(tram_signal *signal, int number, void *arg);
TRAM_API int tram_signal_new(tram_worker *worker, int number, tram_signal_fn *fn, void *arg,
                             tram_signal **ret_signal);
TRAM_API tram_signal *tram_signal_free(tram_signal *signal);

#ifdef __cplusplus
}
#endif

#endif
