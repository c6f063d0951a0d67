/* SPDX-License-Identifier: MIT
 *
 * tram links: of this host to all others.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cluster.h"

typedef Tram__Control__Link link_words;

/* What a link had carried when it was shown last. */
struct before {
    struct before *next;
    char *host;
    uint64_t at, bytes_out, bytes_in, messages_out, messages_in;
};

static struct before *all;

static void json_signed(struct buf *buf, bool *first, const char *key, int64_t value) {
    json_key(buf, first, key);
    buf_format(buf, "%lld", (long long) value);
}

static struct before *before_of(const char *host) {
    struct before *before = all;

    while (before && strcmp(before->host, host) != 0)
        before = before->next;
    if (before)
        return before;
    before = calloc(1, sizeof(*before));
    if (before)
        before->host = strdup(host);
    if (!before || !before->host) {
        free(before);
        return NULL;
    }
    before->next = all;
    all = before;
    return before;
}

struct rates {
    uint64_t bytes_out, bytes_in, messages_out, messages_in; /* each second */
};

static uint64_t rate(uint64_t now, uint64_t then, uint64_t ns) {
    return ns == 0 || now < then ? 0 : (uint64_t) ((double) (now - then) * 1e9 / (double) ns);
}

/* Since the last turn; or, in the first, since the link is up. */
static struct rates rates_of(const link_words *link) {
    struct before *before = before_of(link->host);
    uint64_t now = cli_now(), ns = link->since_ns;
    struct before zero = { 0 };
    struct rates rates;

    if (!before)
        return (struct rates){ 0 };
    if (before->at > 0) {
        zero = *before;
        ns = now - before->at;
    }
    rates = (struct rates){
        .bytes_out = rate(link->bytes_out, zero.bytes_out, ns),
        .bytes_in = rate(link->bytes_in, zero.bytes_in, ns),
        .messages_out = rate(link->messages_out, zero.messages_out, ns),
        .messages_in = rate(link->messages_in, zero.messages_in, ns),
    };
    before->at = now;
    before->bytes_out = link->bytes_out;
    before->bytes_in = link->bytes_in;
    before->messages_out = link->messages_out;
    before->messages_in = link->messages_in;
    return rates;
}

static void json_link(struct buf *buf, const link_words *link) {
    struct rates rates = rates_of(link);
    bool first = true;

    buf_char(buf, '{');
    json_member_text(buf, &first, "host", link->host);
    json_member_bool(buf, &first, "up", link->up);
    json_member_text(buf, &first, "address", link->address);
    json_member_number(buf, &first, "version", link->version);
    json_member_text(buf, &first, "tls", link->tls);
    json_member_text(buf, &first, "cipher", link->cipher);
    json_member_number(buf, &first, "round_trip_ns", link->round_trip_ns);
    json_member_number(buf, &first, "round_trip_min_ns", link->round_trip_min_ns);
    if (link->offset_known)
        json_signed(buf, &first, "clock_offset_ns", link->offset_ns);
    json_member_number(buf, &first, "up_ns", link->since_ns);
    json_member_number(buf, &first, "heard_ns", link->heard_ns);
    json_member_number(buf, &first, "connections", link->connections);
    json_member_number(buf, &first, "bytes_out", link->bytes_out);
    json_member_number(buf, &first, "bytes_in", link->bytes_in);
    json_member_number(buf, &first, "messages_out", link->messages_out);
    json_member_number(buf, &first, "messages_in", link->messages_in);
    json_member_number(buf, &first, "bytes_out_per_s", rates.bytes_out);
    json_member_number(buf, &first, "bytes_in_per_s", rates.bytes_in);
    json_member_number(buf, &first, "messages_out_per_s", rates.messages_out);
    json_member_number(buf, &first, "messages_in_per_s", rates.messages_in);
    json_member_number(buf, &first, "backlog", link->backlog);
    json_member_number(buf, &first, "retransmitted_bytes", link->retransmitted);
    json_member_number(buf, &first, "dropped_bytes", link->dropped);
    json_member_number(buf, &first, "stalls_out", link->stalls_out);
    json_member_number(buf, &first, "stalls_in", link->stalls_in);
    json_member_number(buf, &first, "channels_out", link->channels_out);
    json_member_number(buf, &first, "channels_in", link->channels_in);
    json_member_number(buf, &first, "cut_short", link->cut_short);
    json_member_text(buf, &first, "error", link->error);
    buf_char(buf, '}');
}

/* What is asked for less often, behind the row; an indented line is no row of its own. */
static void text_more(struct buf *buf, const link_words *link) {
    buf_text(buf, "  ");
    if (link->up)
        buf_format(buf, "version %u, %s%s%s, ", (unsigned) link->version,
                   *link->tls ? link->tls : "plain", *link->cipher ? " " : "", link->cipher);
    if (link->offset_known)
        buf_format(buf, "clock %+.3f ms, ", (double) link->offset_ns / 1e6);
    buf_format(buf, "retransmitted %llu bytes, duplicates dropped %llu bytes\n",
               (unsigned long long) link->retransmitted, (unsigned long long) link->dropped);
    if (*link->error) {
        buf_text(buf, "  last error: ");
        buf_preview(buf, link->error, strlen(link->error));
        buf_char(buf, '\n');
    }
}

static void text_link(struct buf *buf, const link_words *link) {
    const char *address = *link->address ? link->address : "-";
    struct rates rates = rates_of(link);

    buf_format(buf, "%-15s  %-4s  %8.3f ms  %9llu  %9llu  %8llu  %8llu  ", link->host,
               link->up ? "up" : "down", (double) link->round_trip_ns / 1e6,
               (unsigned long long) rates.messages_out, (unsigned long long) rates.messages_in,
               (unsigned long long) link->backlog, (unsigned long long) link->connections);
    buf_preview(buf, address, strlen(address));
    buf_char(buf, '\n');
    text_more(buf, link);
}

static bool one(struct buf *buf, const ask_frame *frame, bool json) {
    if (frame->kind_case != TRAM__CONTROL__FRAME__KIND_LINK)
        return false;
    if (json)
        json_link(buf, frame->link);
    else
        text_link(buf, frame->link);
    return true;
}

static void head(struct buf *buf) {
    buf_format(buf, "%-15s  %-4s  %11s  %9s  %9s  %8s  %8s  %s\n", "HOST", "LINK", "ROUND TRIP",
               "OUT msg/s", "IN msg/s", "BACKLOG", "CONNECTS", "ADDRESS");
}

int verb_links(int argc, char **argv) {
    static const struct cluster_kind kind = { ASK_LINKS, "links", false, head, one };
    int code = cluster_verb(argc, argv, &kind);

    while (all) {
        struct before *before = all;

        all = before->next;
        free(before->host);
        free(before);
    }
    return code;
}
