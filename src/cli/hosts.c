/* SPDX-License-Identifier: MIT
 *
 * tram hosts, tram links: the cluster, as the daemon of this bus sees it.
 */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/ask.h"

#define TIMEOUT_NS INT64_C(5000000000)
#define EVERY_NS UINT64_C(1000000000)

typedef Tram__Control__Host host_words;
typedef Tram__Control__Link link_words;

/* What a link had carried when it was shown last. */
struct before {
    struct before *next;
    char *host;
    uint64_t at, bytes_out, bytes_in, messages_out, messages_in;
};

struct list {
    struct buf buf;          /* of this turn */
    struct buf shown;        /* of the last one, for hosts: shown again when it changed */
    bool json, links, following, first_item, failed;
    bool self_seen;
    struct before *before;
};

/* ---- hosts ----------------------------------------------------------------------------------- */

static void json_signed(struct buf *buf, bool *first, const char *key, int64_t value) {
    json_key(buf, first, key);
    buf_format(buf, "%lld", (long long) value);
}

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

/* ---- links ----------------------------------------------------------------------------------- */

static struct before *before_of(struct list *list, const char *host) {
    struct before *before = list->before;

    while (before && strcmp(before->host, host) != 0)
        before = before->next;
    if (before)
        return before;
    before = calloc(1, sizeof(*before));
    if (before)
        before->host = strdup(host);
    if (!before || !before->host) {
        free(before);
        list->failed = true;
        return NULL;
    }
    before->next = list->before;
    list->before = before;
    return before;
}

struct rates {
    uint64_t bytes_out, bytes_in, messages_out, messages_in; /* each second */
};

static uint64_t rate(uint64_t now, uint64_t then, uint64_t ns) {
    return ns == 0 || now < then ? 0 : (uint64_t) ((double) (now - then) * 1e9 / (double) ns);
}

/* Since the last turn; or, in the first, since the link is up. */
static struct rates rates_of(struct list *list, const link_words *link) {
    struct before *before = before_of(list, link->host);
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

static void json_link(struct list *list, const link_words *link) {
    struct rates rates = rates_of(list, link);
    struct buf *buf = &list->buf;
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
    json_member_text(buf, &first, "error", link->error);
    buf_char(buf, '}');
}

static void text_link(struct list *list, const link_words *link) {
    struct rates rates = rates_of(list, link);
    struct buf *buf = &list->buf;

    buf_format(buf, "%-15s  %-4s  %8.3f ms  %9llu  %9llu  %8llu  %11llu  %8llu  ", link->host,
               link->up ? "up" : "down", (double) link->round_trip_ns / 1e6,
               (unsigned long long) rates.messages_out, (unsigned long long) rates.messages_in,
               (unsigned long long) link->backlog, (unsigned long long) link->retransmitted,
               (unsigned long long) link->connections);
    if (link->up) {
        buf_preview(buf, link->address, strlen(link->address));
        buf_format(buf, " %s", *link->tls ? link->tls : "plain");
    } else {
        buf_preview(buf, link->error, strlen(link->error));
    }
    buf_char(buf, '\n');
}

/* ---- both ------------------------------------------------------------------------------------ */

static void on_answer(void *arg, const ask_frame *frame) {
    struct list *list = arg;

    if (list->json) {
        json_item(&list->buf, &list->first_item);
        if (list->links && frame->kind_case == TRAM__CONTROL__FRAME__KIND_LINK)
            json_link(list, frame->link);
        else if (frame->kind_case == TRAM__CONTROL__FRAME__KIND_HOST)
            json_host(&list->buf, frame->host);
    } else if (list->links && frame->kind_case == TRAM__CONTROL__FRAME__KIND_LINK) {
        text_link(list, frame->link);
    } else if (frame->kind_case == TRAM__CONTROL__FRAME__KIND_HOST) {
        text_host(&list->buf, frame->host);
    }
}

static void begin(struct list *list) {
    bool first = true;

    list->first_item = true;
    if (list->json) {
        buf_char(&list->buf, '{');
        json_member_text(&list->buf, &first, "bus", cli_bus_name());
        json_key(&list->buf, &first, list->links ? "links" : "hosts");
        buf_char(&list->buf, '[');
    } else if (list->links) {
        buf_format(&list->buf, "%-15s  %-4s  %11s  %9s  %9s  %8s  %11s  %8s  %s\n", "HOST", "LINK",
                   "ROUND TRIP", "OUT msg/s", "IN msg/s", "BACKLOG", "RETRANSMIT", "CONNECTS",
                   "ADDRESS, OR WHAT IS WRONG");
    } else {
        buf_format(&list->buf, "%-15s  %4s  %-12s  %6s  %7s  %5s  %s\n", "HOST", "NO.", "STATE",
                   "PLACED", "WAITING", "NAMES", "ADDRESSES");
    }
}

static int show(struct list *list) {
    bool same = list->following && list->shown.used == list->buf.used && list->buf.used > 0 &&
                memcmp(list->shown.data, list->buf.data, list->buf.used) == 0;
    int rc = 0;

    if (!same) {
        list->shown.used = 0;
        buf_bytes(&list->shown, list->buf.data, list->buf.used);
        rc = buf_write(&list->buf, STDOUT_FILENO);
    }
    list->buf.used = 0;
    return rc;
}

static enum cli_exit run(struct list *list) {
    enum cli_exit code;
    struct ask ask;

    if (!ask_open(&ask, &code))
        return code;
    do {
        uint64_t until = cli_now() + EVERY_NS;

        begin(list);
        code = ask_now(&ask, list->links ? ASK_LINKS : ASK_HOSTS, 0, NULL, TIMEOUT_NS, on_answer,
                       list);
        if (list->json)
            buf_text(&list->buf, "]}\n");
        if (code == CLI_OK && (show(list) < 0 || list->failed))
            code = CLI_FAILURE;
        while (list->following && code == CLI_OK && !cli_stop && cli_now() < until)
            cli_wait(-1, (int64_t) (until - cli_now()));
    } while (list->following && code == CLI_OK && !cli_stop);
    ask_close(&ask);
    return code == CLI_INTERRUPTED && list->following ? CLI_OK : code;
}

static int verb(int argc, char **argv, bool links) {
    static const struct option options[] = {
        { "json", no_argument, NULL, 'j' },
        { "follow", no_argument, NULL, 'f' },
        CLI_COMMON,
    };
    struct list list = { .links = links };
    enum cli_exit code;
    int option;

    while ((option = cli_option(argc, argv, "jf", options)) >= 0) {
        list.json |= option == 'j';
        list.following |= option == 'f';
    }
    cli_operands(argc, 0, 0);
    cli_catch_signals();
    code = run(&list);
    while (list.before) {
        struct before *before = list.before;

        list.before = before->next;
        free(before->host);
        free(before);
    }
    buf_free(&list.buf);
    buf_free(&list.shown);
    return (int) code;
}

int verb_hosts(int argc, char **argv) {
    return verb(argc, argv, false);
}

int verb_links(int argc, char **argv) {
    return verb(argc, argv, true);
}
