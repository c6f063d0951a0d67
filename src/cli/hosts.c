/* SPDX-License-Identifier: MIT
 *
 * tram hosts: the cluster, as the daemon of this bus knows it.
 */
#include <string.h>

#include "cli/cluster.h"

typedef Tram__Control__Host host_words;

static void json_host(struct buf *buf, const host_words *host) {
    bool first = true, item = true;
    char instance[33] = "";

    for (size_t i = 0; i < host->instance.len && i < 16; i++)
        (void) snprintf(instance + 2 * i, 3, "%02x", host->instance.data[i]);
    buf_char(buf, '{');
    json_member_text(buf, &first, "name", host->name);
    json_member_number(buf, &first, "number", host->number);
    json_member_text(buf, &first, "instance", instance);
    json_member_text(buf, &first, "version", host->program);
    json_member_bool(buf, &first, "self", host->self);
    json_member_bool(buf, &first, "up", host->up);
    json_member_bool(buf, &first, "away", host->away);
    json_key(buf, &first, "addresses");
    buf_char(buf, '[');
    for (size_t i = 0; i < host->n_addresses; i++) {
        json_item(buf, &item);
        json_string(buf, host->addresses[i], strlen(host->addresses[i]));
    }
    buf_char(buf, ']');
    json_member_number(buf, &first, "placed", host->placed);
    json_member_number(buf, &first, "waiting", host->waiting);
    json_member_number(buf, &first, "names", host->names);
    if (host->self) {
        json_member_text(buf, &first, "cluster", host->cluster);
        json_member_text(buf, &first, "directory", host->directory);
        json_member_bool(buf, &first, "host_server", host->server);
    }
    json_member_text(buf, &first, "trouble", host->trouble);
    buf_char(buf, '}');
}

static const char *state_of(const host_words *host) {
    if (host->self)
        return host->server ? "this, server" : "this";
    if (host->up)
        return host->away ? "up, away" : "up";
    return host->away ? "unreachable" : "no link";
}

static void text_host(struct buf *buf, const host_words *host) {
    buf_format(buf, "%-15s  %4u  %-12s  %6llu  %7llu  %5llu  ", host->name, host->number,
               state_of(host), (unsigned long long) host->placed,
               (unsigned long long) host->waiting, (unsigned long long) host->names);
    for (size_t i = 0; i < host->n_addresses; i++) {
        if (i > 0)
            buf_char(buf, ' ');
        buf_preview(buf, host->addresses[i], strlen(host->addresses[i]));
    }
    if (*host->trouble) {
        buf_text(buf, host->self ? "  no directory: " : "  ");
        buf_preview(buf, host->trouble, strlen(host->trouble));
    }
    buf_char(buf, '\n');
}

static bool one(struct buf *buf, const ask_frame *frame, bool json) {
    if (frame->kind_case != TRAM__CONTROL__FRAME__KIND_HOST)
        return false;
    if (json)
        json_host(buf, frame->host);
    else
        text_host(buf, frame->host);
    return true;
}

static void head(struct buf *buf) {
    buf_format(buf, "%-15s  %4s  %-12s  %6s  %7s  %5s  %s\n", "HOST", "NO.", "STATE", "PLACED",
               "WAITING", "NAMES", "ADDRESSES");
}

int verb_hosts(int argc, char **argv) {
    static const struct cluster_kind kind = { ASK_HOSTS, "hosts", true, head, one };

    return cluster_verb(argc, argv, &kind);
}
