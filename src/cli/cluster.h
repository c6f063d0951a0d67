/* SPDX-License-Identifier: MIT
 *
 * What tram hosts and tram links share: a list of what the daemon answers, shown once or again and
 * again.
 */
#pragma once

#include "cli/ask.h"

struct cluster_kind {
    enum ask_what what;
    const char *member;  /* of the JSON object */
    bool changes;        /* shown again only if something changed */
    void (*head)(struct buf *buf);
    /* One answer, as text or as JSON. False: it is of another kind. */
    bool (*one)(struct buf *buf, const ask_frame *frame, bool json);
};

int cluster_verb(int argc, char **argv, const struct cluster_kind *kind);
