/* SPDX-License-Identifier: MIT
 *
 * A connection that speaks frames of hosts.proto behind their length: of a member to the host
 * server, at either end. And tasks: what is done when the handler that runs now has returned.
 *
 * A line ends once: line_end() by its owner or by itself, then on_end from a task; the owner calls
 * line_reset() there.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "transport/transport.h"
#include "wire/hosts.h"
#include "worker/worker.h"

/* ---- tasks ----------------------------------------------------------------------------------- */

struct tasks;

struct task {
    struct task *next;
    void (*fn)(struct task *task);
    bool queued;
};

struct tasks {
    tram_worker *worker;
    struct worker_deferred deferred;
    struct task *first, **last;
};

void tasks_init(struct tasks *tasks, tram_worker *worker);
/* Once, however often it is asked for. */
void task_add(struct tasks *tasks, struct task *task);
void task_remove(struct tasks *tasks, struct task *task);

/* ---- lines ----------------------------------------------------------------------------------- */

#define LINE_QUEUE (UINT64_C(16) << 20) /* bytes that wait for one who doesn't read */

struct line {
    struct tasks *tasks;
    struct transport *transport;
    tram_io *io;
    struct control_in in;
    struct control_out out;
    enum hosts_way way;          /* of what comes */
    struct task task;
    bool opened, ended;
    char why[256];
    void (*on_open)(struct line *line);
    /* Negative: it ends, and why. */
    int (*on_frame)(struct line *line, const hosts_frame *frame, struct wrong *wrong);
    void (*on_end)(struct line *line);
};

/* The transport is the line's from now on, also on failure. */
int line_begin(struct line *line, struct tasks *tasks, struct transport *transport);
void line_send(struct line *line, const hosts_frame *frame);
/* What is queued goes out as far as it goes at once. */
void line_end(struct line *line, const char *why);
void line_reset(struct line *line);
static inline bool line_is_there(const struct line *line) {
    return line->transport && !line->ended;
}
