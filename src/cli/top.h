/* SPDX-License-Identifier: MIT
 *
 * What the parts of `tram top` share: a look at the bus, what changed since the one before, and the
 * rows made of it, to be drawn on a screen, printed as a table or as JSON.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/buf.h"
#include "observe/observe.h"

enum top_sort { TOP_RATE, TOP_BACKLOG, TOP_AGE, TOP_MEMORY, TOP_FROM, TOP_TO, TOP_HOST };

/* What the user wants to see. */
struct top_view {
    enum top_sort sort;
    bool reverse;
    bool hosts;      /* of all hosts of the cluster */
    bool nodes;      /* rows are nodes, not channels */
    bool active;     /* only those with traffic, or with something that waits or is wrong */
    char filter[64]; /* "": all */
};

/* How long the oldest message waits. */
struct top_age {
    uint64_t ns;
    bool known;    /* else there is none, or we have not watched long enough to say anything */
    bool at_least; /* not stamped: it was there already, so long ago, when we looked */
};

struct top_row {
    const char *host; /* "": this one, and no other was asked */
    tram_id from, to; /* of a node: its ID, and 0 */
    const char *state;
    const char *program; /* of a node; else NULL */
    const char *note;    /* what is wrong with it, or "" */
    int32_t pid;         /* of a node that is up; else 0 */
    bool alarm;          /* worth a second look: full, closed, broken, damaged */
    bool rated;          /* the rates mean something: it was looked at before */
    double rate, bytes_rate;       /* of a channel: accepted; of a node: what was sent to it */
    double out_rate;               /* of a channel: consumed; of a node: what it sent */
    uint64_t waiting, waiting_bytes, aside, memory;
    struct top_age age;
};

/* Of the whole bus, whatever the filter says. */
struct top_total {
    size_t up, down, never, channels;
    size_t states[OBSERVE_DAMAGED + 1]; /* of the channels */
    double rate, bytes_rate;
    bool rated;
    uint64_t waiting, waiting_bytes, aside, memory;
    struct top_age age;
};

/* Where something was in the ring when we looked: what waits below a mark waited then. */
struct top_mark {
    uint64_t time_ns, tail;
};

#define TOP_MARKS 4

/* What is remembered of a channel from look to look. */
struct top_past {
    uint32_t host;
    tram_id from, to;
    uint64_t id, accepted, consumed, position;
    bool sound; /* the counts meant something */
    unsigned mark_count;
    struct top_mark marks[TOP_MARKS]; /* oldest first */
};

/* A host that was asked. */
struct top_host {
    uint32_t number;
    char name[64];
    char silent[256];                 /* why nothing is known of it; "": that isn't so */
    uint64_t left_channels, left_nodes; /* so many it did not tell of: they had less to say */
};

struct top {
    struct observe_node *nodes;
    size_t node_count;
    struct observe_channel *channels; /* by host, receiver and sender */
    size_t channel_count;
    struct top_host *hosts;           /* by number; of a look at one bus none */
    size_t host_count;
    uint32_t *node_hosts, *channel_hosts; /* number of each one's host, or NULL */
    struct top_past *past;            /* of these channels */
    struct top_row *channel_rows;     /* likewise */
    struct top_row *rows;             /* what is shown, in order */
    size_t row_count;
    struct top_total total;
    uint64_t time_ns, wall_ns; /* of the look; 0: there was none yet */
    uint64_t interval_ns;      /* since the look before; 0: there was none */
    uint64_t cost_ns;          /* processor time that it took */
};

/* Look at the bus. -ENOENT: it is gone; -ENOMEM … Keeps the last look on failure. */
int top_look(struct top *top, const char *path);


/* What a look does with its lists, whoever made them: compare with the look before, which `now`
 * takes the place of. -ENOMEM */
void top_begin(struct top *now, const struct top *before);
int top_end(struct top *top, struct top *now, uint64_t cost_ns);
uint64_t top_processor_time(void);

/* Choose and sort the rows of the last look. */
int top_arrange(struct top *top, const struct top_view *view);

void top_free(struct top *top);

/* ---- drawing -------------------------------------------------------------------------------- */

#define TOP_HEAD 4      /* lines of top_head() */
#define TOP_LINE 512    /* room for a line of any of these */

/* Lines about the whole bus, without what is shown and how. */
void top_head(const struct top *top, int line, char text[TOP_LINE]);

/* The line of titles, and that of a row. `width`: of the terminal; 80 and more are kept to, below
 * that lines are cut by whoever shows them. */
void top_titles(const struct top_view *view, int width, char text[TOP_LINE]);
void top_row(const struct top_view *view, const struct top_row *row, int width,
             char text[TOP_LINE]);

/* One JSON object, and a line feed. */
void top_json(struct buf *buf, const struct top *top, const struct top_view *view, size_t rows);
