/* SPDX-License-Identifier: MIT */
#include "daemon/line.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* ---- tasks ----------------------------------------------------------------------------------- */

static void run(struct worker_deferred *deferred) {
    struct tasks *tasks = (struct tasks *) ((char *) deferred - offsetof(struct tasks, deferred));

    while (tasks->first) {
        struct task *task = tasks->first;

        task_remove(tasks, task);
        task->fn(task);
    }
}

void tasks_init(struct tasks *tasks, tram_worker *worker) {
    *tasks = (struct tasks){ .worker = worker, .deferred.fn = run };
    tasks->last = &tasks->first;
}

void task_add(struct tasks *tasks, struct task *task) {
    if (task->queued)
        return;
    task->queued = true;
    task->next = NULL;
    *tasks->last = task;
    tasks->last = &task->next;
    worker_defer(tasks->worker, &tasks->deferred);
}

void task_remove(struct tasks *tasks, struct task *task) {
    struct task **link = &tasks->first;

    if (!task->queued)
        return;
    while (*link != task)
        link = &(*link)->next;
    *link = task->next;
    if (!*link)
        tasks->last = link;
    task->queued = false;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static void flush(struct line *line) {
    while (control_out_size(&line->out) > 0) {
        int64_t put = transport_write(line->transport, control_out_bytes(&line->out),
                                      control_out_size(&line->out));

        if (put == -EAGAIN)
            return;
        if (put < 0) {
            line_end(line, transport_why(line->transport));
            return;
        }
        control_out_sent(&line->out, (size_t) put);
    }
    (void) transport_flush(line->transport); /* -EAGAIN, or the next read says what it is */
}

static void watch(struct line *line) {
    uint32_t events = transport_want(line->transport);

    /* What is decrypted is read in the next turn, of which nothing else would tell. */
    if (line->opened && (control_out_size(&line->out) > 0 || transport_pending(line->transport)))
        events |= TRANSPORT_WRITE;
    (void) tram_io_set(line->io, events); /* its arguments are right */
}

static void work(struct task *task) {
    struct line *line = (struct line *) ((char *) task - offsetof(struct line, task));

    if (line->opened)
        flush(line);
    if (line->ended)
        line->on_end(line);
    else
        watch(line);
}

void line_end(struct line *line, const char *why) {
    if (!line->transport || line->ended)
        return;
    line->ended = true;
    (void) snprintf(line->why, sizeof(line->why), "%s", why);
    task_add(line->tasks, &line->task);
}

void line_send(struct line *line, const hosts_frame *frame) {
    if (!line_is_there(line))
        return;
    if (hosts_out_add(&line->out, frame) < 0)
        line_end(line, "no memory for what is to be sent");
    else if (control_out_size(&line->out) > LINE_QUEUE)
        line_end(line, "it does not read what is for it");
    task_add(line->tasks, &line->task);
}

/* False: nothing more now. */
static bool read_once(struct line *line) {
    struct wrong wrong = { 0 };
    size_t size;
    void *room = control_in_room(&line->in, &size);
    int64_t got = room ? transport_read(line->transport, room, size) : -ENOMEM;
    int rc = 1;

    if (got == -EAGAIN)
        return false;
    if (got <= 0) {
        line_end(line, got == 0 ? "it went" : transport_why(line->transport));
        return false;
    }
    control_in_add(&line->in, (size_t) got);
    while (rc > 0 && !line->ended) {
        hosts_frame *frame = NULL;

        rc = hosts_in_next(&line->in, line->way, &frame, &wrong);
        if (rc > 0 && line->on_frame(line, frame, &wrong) < 0)
            rc = -EBADMSG;
        (void) hosts_free(frame);
    }
    if (rc < 0)
        line_end(line, wrong.text);
    return !line->ended;
}

static void on_io(tram_io *io, int fd, uint32_t events, void *arg) {
    struct line *line = arg;
    int rc;

    (void) io;
    (void) fd;
    if (line->ended)
        return;
    if (!line->opened) {
        rc = transport_open(line->transport);
        if (rc < 0 && rc != -EAGAIN)
            line_end(line, transport_why(line->transport));
        if (rc == 0 && transport_peer(line->transport)->role == TRANSPORT_PROGRAM) {
            line_end(line, "its certificate is of a program, not of a host");
        } else if (rc == 0) {
            line->opened = true;
            line->on_open(line);
        }
    }
    if (line->opened && (events & ~TRAM_IO_WRITE || transport_pending(line->transport)))
        for (int i = 0; i < 16 && read_once(line); i++)
            ;
    task_add(line->tasks, &line->task);
}

int line_begin(struct line *line, struct tasks *tasks, struct transport *transport) {
    int rc;

    line->tasks = tasks;
    line->transport = transport;
    line->task.fn = work;
    line->opened = line->ended = false;
    *line->why = '\0';
    rc = tram_io_new(tasks->worker, transport_fd(transport),
                     TRAM_IO_WRITE | TRAM_IO_READ, on_io, line, &line->io);
    if (rc < 0)
        line_reset(line);
    return rc;
}

void line_reset(struct line *line) {
    if (line->tasks)
        task_remove(line->tasks, &line->task);
    line->io = tram_io_free(line->io);
    line->transport = transport_close(line->transport);
    control_in_reset(&line->in);
    control_out_reset(&line->out);
    line->opened = line->ended = false;
}
