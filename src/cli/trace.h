/* SPDX-License-Identifier: MIT
 *
 * What tram trace found (trace.c), and shows (trace_text.c).
 */
#pragma once

#include "cli/buf.h"
#include "cli/cli.h"
#include "wire/control.pb-c.h"

#define TRACE_VIEWS 66u /* this host's, and of as many as are asked */

typedef Tram__Control__View view_words;
typedef Tram__Control__View__Node view_node;

struct cause {
    const char *word; /* stable, for JSON */
    char text[320];
};

struct trace {
    tram_id from, to;
    uint64_t wanted, number; /* the message in question */
    bool json, alone, daemonless;
    view_words *views[TRACE_VIEWS];
    size_t count;

    const view_words *origin, *mirror;         /* NULL: not seen */
    const char *sender_host, *receiver_host;   /* "": nobody knows */
    bool crosses;                              /* the two are placed on two hosts */
    bool older;                                /* the mirror is of another stream */
    uint64_t sent, arrived, consumed;          /* numbers of messages */
    struct cause cause;
};

void trace_print(const struct trace *trace, struct buf *buf);
