/* SPDX-License-Identifier: MIT
 *
 * What the verbs around hosts share: a question to the daemon of the bus, and its answers.
 */
#pragma once

#include "cli/buf.h"
#include "cli/cli.h"
#include "wire/control.pb-c.h"

typedef Tram__Control__Frame ask_frame;

enum ask_what {
    ASK_HOSTS = TRAM__CONTROL__ASK__HOSTS,
    ASK_LINKS = TRAM__CONTROL__ASK__LINKS,
    ASK_TAKEOVER = TRAM__CONTROL__ASK__TAKEOVER,
    ASK_FORGET = TRAM__CONTROL__ASK__FORGET,
    ASK_TRACE = TRAM__CONTROL__ASK__TRACE,
    ASK_THERE = TRAM__CONTROL__ASK__THERE,
    ASK_SAMPLES = TRAM__CONTROL__ASK__SAMPLES,
    ASK_LEFT = TRAM__CONTROL__ASK__LEFT,
};

struct ask {
    int fd;
    uint64_t cookie;
    uint8_t *bytes;
    size_t used, room;
    tram_id from; /* of the next question */
    bool quiet;   /* nothing is told */
    char said[256]; /* text of the last answer */
};

/* Connect to the daemon. False: told, and *ret_code. */
bool ask_open(struct ask *ask, enum cli_exit *ret_code);
/* The same, and nothing is told. */
bool ask_try(struct ask *ask);
void ask_close(struct ask *ask);

/* Ask, and have `each` called for every answer before the last. -ETIMEDOUT, -EPIPE, -EINTR, or what
 * the daemon says; told. */
enum cli_exit ask_now(struct ask *ask, enum ask_what what, tram_id id, const char *host,
                      int64_t timeout_ns, void (*each)(void *arg, const ask_frame *frame),
                      void *arg);
