/* SPDX-License-Identifier: MIT
 *
 * What tests of names share: a daemon beside the test, a process that serves names, a connection
 * that speaks the control protocol by hand, and a worker that is driven step by step.
 */
#pragma once

#include "harness.h"
#include "service/names.h"
#include "sys/clock.h"
#include "tram/worker.h"
#include "wire/control.h"

/* ---- the daemon ------------------------------------------------------------------------------ */

/* Start tramd on the test's bus, with up to three more arguments (NULL ends), and wait until it
 * can be connected to. stderr goes to the file `tramd.err` of the test's directory. */
pid_t tramd_start(const char *const *more);
/* With a config file of this text. */
pid_t tramd_start_config(const char *text);
/* The daemon that runs, as the lock file says; 0: there is none. */
pid_t tramd_running(void);
/* What a daemon has said so far; free it. */
char *tramd_said(void);
const char *tramd_path(void);

/* ---- workers --------------------------------------------------------------------------------- */

tram_worker *worker_make(uint32_t flags);
/* Turn it until *done is at least `wanted`; fails after 10 s. */
void worker_until(tram_worker *worker, const int *done, int wanted);
/* For this long, or until *done is at least `wanted`. True: it is. */
bool worker_for(tram_worker *worker, const int *done, int wanted, int64_t ns);

/* Binds a name and publishes it at once. */
struct served {
    struct names_binding binding;
    int bound, published, refused, away;
    int error, holder_pid;
    char holder[64];
    uint64_t order;
    bool only_bind;
};
void served_bind(tram_worker *worker, struct served *served, const char *name,
                 const char *instance);

/* Watches a pattern and counts. */
struct seen {
    struct names_watch watch;
    int online, offline, told, away;
    int64_t at;               /* CLOCK_MONOTONIC of the last one */
    char last[128];
};
void seen_watch(tram_worker *worker, struct seen *seen, const char *pattern);

/* A process that serves `count` names, "prefix0" …; returns when they are published. */
pid_t serve(const char *prefix, int count);

/* ---- by hand --------------------------------------------------------------------------------- */

struct raw {
    int fd;
    struct control_in in;
};
/* Connects, without a word. */
void raw_open(struct raw *raw);
void raw_close(struct raw *raw);
void raw_send(struct raw *raw, const control_frame *frame);
void raw_hello(struct raw *raw);
/* As if it were that worker's node, `later` lives later. */
void raw_hello_as(struct raw *raw, tram_worker *worker, uint64_t later);
/* Binds a name, and returns how that was answered. */
int raw_bind(struct raw *raw, uint64_t cookie, const char *name);
/* The order, as it is answered. */
uint64_t raw_publish(struct raw *raw, uint64_t cookie);
void raw_settle(struct raw *raw);
void raw_watch(struct raw *raw, uint64_t cookie, const char *pattern);
/* The next frame, to be freed; NULL: the connection ended. Fails after 10 s. */
control_frame *raw_next(struct raw *raw);
