/* SPDX-License-Identifier: MIT */
#include "cli/ask.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FRAME_MAX (64u << 10)
#define HEAD 4u

/* ---- bytes ----------------------------------------------------------------------------------- */

static int put(struct ask *ask, const ask_frame *frame) {
    size_t size = tram__control__frame__get_packed_size(frame);
    uint8_t *bytes = malloc(HEAD + size);
    ssize_t sent;

    if (!bytes)
        return -ENOMEM;
    for (unsigned i = 0; i < HEAD; i++)
        bytes[i] = (uint8_t) (size >> 8 * i);
    (void) tram__control__frame__pack(frame, bytes + HEAD);
    sent = send(ask->fd, bytes, HEAD + size, MSG_NOSIGNAL); /* a question is small: it goes whole */
    free(bytes);
    return sent == (ssize_t) (HEAD + size) ? 0 : -EPIPE;
}

/* The next frame; NULL: there is none yet. */
static ask_frame *next(struct ask *ask) {
    size_t size;
    ask_frame *frame;

    if (ask->used < HEAD)
        return NULL;
    size = (size_t) ask->bytes[0] | (size_t) ask->bytes[1] << 8 | (size_t) ask->bytes[2] << 16 |
           (size_t) ask->bytes[3] << 24;
    if (size > FRAME_MAX || ask->used < HEAD + size)
        return NULL;
    frame = tram__control__frame__unpack(NULL, size, ask->bytes + HEAD);
    ask->used -= HEAD + size;
    memmove(ask->bytes, ask->bytes + HEAD + size, ask->used);
    return frame;
}

/* -EAGAIN: nothing now; -EPIPE: the daemon is gone. */
static int fill(struct ask *ask) {
    ssize_t got;

    if (ask->room - ask->used < FRAME_MAX) {
        uint8_t *more = realloc(ask->bytes, ask->used + 2 * (FRAME_MAX + HEAD));

        if (!more)
            return -ENOMEM;
        ask->bytes = more;
        ask->room = ask->used + 2 * (FRAME_MAX + HEAD);
    }
    got = recv(ask->fd, ask->bytes + ask->used, ask->room - ask->used, MSG_DONTWAIT);
    if (got > 0)
        ask->used += (size_t) got;
    return got > 0 ? 0 : got < 0 && (errno == EAGAIN || errno == EINTR) ? -EAGAIN : -EPIPE;
}

/* ---- asking ---------------------------------------------------------------------------------- */

bool ask_try(struct ask *ask) {
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int dir = open(cli_bus_path(), O_PATH | O_DIRECTORY | O_CLOEXEC), rc = -1;

    *ask = (struct ask){ .fd = -1 };
    if (dir >= 0) {
        (void) snprintf(name.sun_path, sizeof(name.sun_path), "/proc/self/fd/%d/tramd.sock", dir);
        ask->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        rc = ask->fd < 0 ? -1 : connect(ask->fd, (struct sockaddr *) &name, sizeof(name));
        (void) close(dir);
    }
    if (rc < 0)
        ask_close(ask);
    return rc == 0;
}

bool ask_open(struct ask *ask, enum cli_exit *ret_code) {
    if (ask_try(ask))
        return true;
    cli_error("no tramd serves the bus at %s: start one", cli_bus_path());
    *ret_code = CLI_NOT_FOUND;
    return false;
}

void ask_close(struct ask *ask) {
    if (ask->fd >= 0)
        (void) close(ask->fd);
    ask->fd = -1;
    free(ask->bytes);
    ask->bytes = NULL;
}

static int put_question(struct ask *ask, enum ask_what what, tram_id id, const char *host) {
    Tram__Control__Cluster words;
    Tram__Control__Hello hello;
    ask_frame frame;
    char program[] = "tram", none[] = "";
    int rc = 0;

    tram__control__frame__init(&frame);
    if (ask->cookie == 0) {
        tram__control__hello__init(&hello);
        hello.version = 1;
        hello.program = program;
        frame.kind_case = TRAM__CONTROL__FRAME__KIND_HELLO;
        frame.hello = &hello;
        rc = put(ask, &frame);
    }
    tram__control__cluster__init(&words);
    words.cookie = ++ask->cookie;
    words.what = what;
    words.id = id;
    words.from = ask->from;
    words.host = host ? (char *) (uintptr_t) host : none; /* it is only read */
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_CLUSTER;
    frame.cluster = &words;
    return rc < 0 ? rc : put(ask, &frame);
}

/* The last answer: 0 or what it says. 1: it isn't that. */
static int take(struct ask *ask, const ask_frame *frame,
                void (*each)(void *arg, const ask_frame *frame), void *arg, const char **ret_why) {
    if (frame->kind_case == TRAM__CONTROL__FRAME__KIND_DONE && frame->done->cookie == ask->cookie) {
        *ret_why = frame->done->text;
        return frame->done->error;
    }
    if (frame->kind_case == TRAM__CONTROL__FRAME__KIND_WELCOME && frame->welcome->error < 0) {
        *ret_why = frame->welcome->text;
        return frame->welcome->error;
    }
    if (each && (frame->kind_case == TRAM__CONTROL__FRAME__KIND_HOST ||
                 frame->kind_case == TRAM__CONTROL__FRAME__KIND_LINK ||
                 frame->kind_case == TRAM__CONTROL__FRAME__KIND_SAMPLE ||
                 frame->kind_case == TRAM__CONTROL__FRAME__KIND_LEFT ||
                 frame->kind_case == TRAM__CONTROL__FRAME__KIND_VIEW))
        each(arg, frame);
    return 1;
}

enum cli_exit ask_now(struct ask *ask, enum ask_what what, tram_id id, const char *host,
                      int64_t timeout_ns, void (*each)(void *arg, const ask_frame *frame),
                      void *arg) {
    uint64_t until = cli_now() + (uint64_t) timeout_ns;
    int rc = put_question(ask, what, id, host);

    while (rc == 0) {
        ask_frame *frame;
        const char *why = "";

        while ((frame = next(ask))) {
            int said = take(ask, frame, each, arg, &why);

            if (said <= 0)
                (void) snprintf(ask->said, sizeof(ask->said), "%s", why);
            if (said < 0 && !ask->quiet)
                cli_error("%s", why);
            tram__control__frame__free_unpacked(frame, NULL);
            if (said <= 0)
                return said == 0 ? CLI_OK : cli_code(said);
        }
        if (cli_stop)
            return CLI_INTERRUPTED;
        if (cli_now() >= until) {
            cli_error("the daemon did not answer in time");
            return CLI_TIMEOUT;
        }
        cli_wait(ask->fd, (int64_t) (until - cli_now()));
        rc = fill(ask);
        rc = rc == -EAGAIN ? 0 : rc;
    }
    cli_error("the daemon went");
    return CLI_FAILURE;
}
