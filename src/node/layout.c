/* SPDX-License-Identifier: MIT
 *
 * Static layouts: a text file that names the nodes and channels of a bus. Lines:
 *
 *     node ID                                          may be opened
 *     channel FROM TO [size=BYTES] [prefault] [lock]   may be used, and is reserved ahead
 *     # comment
 *
 * size is a power of two from 64K to 4G, with K, M or G. Nodes of channels need no line of their
 * own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/node.h"
#include "sys/cleanup.h"
#include "sys/file.h"
#include "sys/map.h"

#define LAYOUT_FILE_MAX (UINT64_C(1) << 20)

struct layout_node {
    struct layout_node *next;
    tram_id id;
};

struct layout {
    struct layout_node *nodes;
    struct layout_channel *channels;
};

struct layout *layout_free(struct layout *layout) {
    if (!layout)
        return NULL;
    while (layout->nodes) {
        struct layout_node *node = layout->nodes;

        layout->nodes = node->next;
        free(node);
    }
    while (layout->channels) {
        struct layout_channel *channel = layout->channels;

        layout->channels = channel->next;
        free(channel);
    }
    free(layout);
    return NULL;
}

static void layout_free_p(struct layout **layout) {
    (void) layout_free(*layout);
}

bool layout_has_node(const struct layout *layout, tram_id id) {
    for (const struct layout_node *node = layout->nodes; node; node = node->next)
        if (node->id == id)
            return true;
    for (const struct layout_channel *channel = layout->channels; channel; channel = channel->next)
        if (channel->from == id || channel->to == id)
            return true;
    return false;
}

const struct layout_channel *layout_channels(const struct layout *layout) {
    return layout->channels;
}

const struct layout_channel *layout_find(const struct layout *layout, tram_id from, tram_id to) {
    const struct layout_channel *channel = layout ? layout->channels : NULL;

    while (channel && (channel->from != from || channel->to != to))
        channel = channel->next;
    return channel;
}

/* ---- reading --------------------------------------------------------------------------------- */

/* "4M" to bytes; 0: not a size. */
static uint64_t parse_size(const char *text) {
    char *end;
    uint64_t size;

    if (*text < '0' || *text > '9')
        return 0;
    errno = 0;
    size = strtoull(text, &end, 10);
    if (errno || size > STREAM_MAX)
        return 0;
    if (*end == 'K' || *end == 'k')
        size <<= 10, end++;
    else if (*end == 'M' || *end == 'm')
        size <<= 20, end++;
    else if (*end == 'G' || *end == 'g')
        size <<= 30, end++;
    return *end == '\0' && size <= STREAM_MAX ? size : 0;
}

static const char no_memory[] = "no memory"; /* the machine's mistake, not the line's */

static const char *add_node(struct layout *layout, char **rest) {
    const char *word = strtok_r(NULL, " \t\r", rest);
    struct layout_node *node;
    tram_id id;

    if (!word || tram_id_parse(word, &id) < 0)
        return "'node' takes an ID";
    if (strtok_r(NULL, " \t\r", rest))
        return "'node' takes one ID only";
    node = calloc(1, sizeof(*node));
    if (!node)
        return no_memory;
    *node = (struct layout_node){.next = layout->nodes, .id = id};
    layout->nodes = node;
    return NULL;
}

static const char *read_channel(struct layout_channel *channel, char **rest) {
    const char *from = strtok_r(NULL, " \t\r", rest);
    const char *to = strtok_r(NULL, " \t\r", rest);
    const char *word;

    if (!from || !to || tram_id_parse(from, &channel->from) < 0 ||
        tram_id_parse(to, &channel->to) < 0)
        return "'channel' takes two IDs";
    while ((word = strtok_r(NULL, " \t\r", rest))) {
        if (strncmp(word, "size=", 5) == 0) {
            channel->size = parse_size(word + 5);
            if (channel->size < STREAM_MIN || (channel->size & (channel->size - 1)) != 0)
                return "size is a power of two from 64K to 4G";
        } else if (strcmp(word, "prefault") == 0) {
            channel->prefault = true;
        } else if (strcmp(word, "lock") == 0) {
            channel->lock = true;
        } else {
            return "a channel has size=, prefault and lock";
        }
    }
    return NULL;
}

static const char *add_channel(struct layout *layout, char **rest) {
    struct layout_channel read = {.size = DEFAULT_RING};
    const char *wrong = read_channel(&read, rest);
    struct layout_channel *channel;

    if (wrong)
        return wrong;
    if (layout_find(layout, read.from, read.to))
        return "this channel is in the file twice";
    channel = calloc(1, sizeof(*channel));
    if (!channel)
        return no_memory;
    *channel = read;
    channel->next = layout->channels;
    layout->channels = channel;
    return NULL;
}

/* One line; NULL, or what is wrong with it. */
static const char *read_line(struct layout *layout, char *line) {
    char *rest = NULL;
    char *comment = strchr(line, '#');
    const char *word;

    if (comment)
        *comment = '\0';
    word = strtok_r(line, " \t\r", &rest);
    if (!word)
        return NULL;
    if (strcmp(word, "node") == 0)
        return add_node(layout, &rest);
    if (strcmp(word, "channel") == 0)
        return add_channel(layout, &rest);
    return "a line begins with 'node', 'channel' or '#'";
}

int layout_parse(char *text, const char *path, struct layout **ret_layout,
                 struct tram_error *error) {
    __attribute__((cleanup(layout_free_p))) struct layout *layout = calloc(1, sizeof(*layout));
    char *line = text;

    if (!layout)
        return error_set(error, -ENOMEM, "no memory for the layout %s", path);
    for (int number = 1; line; number++) {
        char *next = strchr(line, '\n');
        const char *wrong;

        if (next)
            *next++ = '\0';
        wrong = read_line(layout, line);
        if (wrong) {
            int rc = wrong == no_memory ? -ENOMEM : -EBADMSG;

            (void) error_set(error, rc, "%s, line %d: %s", path, number, wrong);
            error->limit = (uint64_t) number;
            return rc;
        }
        line = next;
    }
    *ret_layout = layout;
    layout = NULL;
    return 0;
}

int layout_read(const char *path, struct layout **ret_layout, struct tram_error *error) {
    OWNS_FD int fd = sys_file_open(AT_FDCWD, path, false);
    OWNS_MEMORY char *text = NULL;
    struct sys_stat st;
    int rc = fd < 0 ? fd : sys_stat_fd(fd, &st);

    if (rc == 0 && st.size > LAYOUT_FILE_MAX)
        rc = -EFBIG;
    if (rc == 0) {
        text = calloc(1, st.size + 1);
        rc = text ? sys_file_read(fd, text, st.size, 0) : -ENOMEM;
    }
    if (rc < 0)
        return error_set(error, rc, "cannot read the layout %s: %s", path, strerror(-rc));
    if (strlen(text) != st.size)
        return error_set(error, -EBADMSG, "%s: a zero byte: this is no text", path);
    return layout_parse(text, path, ret_layout, error);
}

/* ---- applying -------------------------------------------------------------------------------- */

int layout_apply(tram_node *node) {
    for (const struct layout_channel *plan = node->layout->channels; plan; plan = plan->next) {
        struct peer *peer;
        int rc;

        if (plan->from != node->id)
            continue;
        rc = out_get(node, plan->to, true, &peer); /* reserves and prefaults as planned */
        if (rc < 0)
            return rc;
    }
    return 0;
}
