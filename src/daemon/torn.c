/* SPDX-License-Identifier: MIT
 *
 * Channels that are cut short: a host lost its memory, and with it what its nodes had sent and had
 * not come here. How much that was nobody can know; but of a channel whose origin was last heard to
 * have more, it was one message at least. That is kept from the end of a connection to the next
 * one: either it opens the channel anew, or its host has another instance, and never will.
 */
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/stands_inner.h"

#define TORN_MAX  4096u /* of a host; of the others the first ones are forgotten */
#define LINES_MAX 16u   /* so many are named in the log */

struct torn {
    struct torn *next;
    struct link_name name;
};

static void drop(struct host *host, struct torn **link) {
    struct torn *torn = *link;

    *link = torn->next;
    host->torn_count--;
    free(torn);
}

void torn_note(struct host *host, const struct link_name *name) {
    struct torn *torn;

    torn_forget(host, name);
    torn = malloc(sizeof(*torn));
    if (!torn)
        return; /* then it is not told */
    torn->name = *name;
    torn->next = host->torn;
    host->torn = torn;
    if (++host->torn_count > TORN_MAX) {
        struct torn **last = &host->torn;

        while ((*last)->next)
            last = &(*last)->next;
        drop(host, last);
    }
}

void torn_forget(struct host *host, const struct link_name *name) {
    for (struct torn **link = &host->torn; *link; link = &(*link)->next)
        if ((*link)->name.stream == name->stream && (*link)->name.to == name->to) {
            drop(host, link);
            return;
        }
}

void torn_say(struct host *host, const struct link_name *name) {
    char from[TRAM_ID_TEXT], to[TRAM_ID_TEXT];

    if (host->cut_short++ < LINES_MAX)
        log_line(LEVEL_WARNING, "host %s: the channel %s → %s was cut short: what had not come is "
                 "lost", host->name, tram_id_format(name->from, from),
                 tram_id_format(name->to, to));
}

void torn_up(struct host *host, const uint8_t *instance) {
    uint32_t count = host->torn_count;
    bool other = host->lived && memcmp(host->lived_as, instance, HOSTS_INSTANCE) != 0;

    if (other) {
        while (host->torn) {
            torn_say(host, &host->torn->name);
            drop(host, &host->torn);
        }
        log_line(LEVEL_WARNING, "host %s lost its memory; %u channels from there had more to come "
                 "when it was last heard of", host->name, count);
    }
    host->lived = true;
    memcpy(host->lived_as, instance, HOSTS_INSTANCE);
    if (other)
        copies_lost(host->hosts);
}

void torn_free(struct host *host) {
    while (host->torn)
        drop(host, &host->torn);
}
