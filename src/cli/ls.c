/* SPDX-License-Identifier: MIT
 *
 * tram ls: the nodes of a bus and the channels between them; with --follow, what changes.
 *
 * Following is looking again: 4 times a second, or less often where a look takes long, so that a
 * bus with 10,000 channels is not read all day.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/buf.h"
#include "cli/cli.h"

#define FOLLOW_NS UINT64_C(250000000)

const char verb_ls_help[] =
    "usage: tram ls [OPTIONS] [ID]\n"
    "       tram ls [OPTIONS] services|clients|events [ADDRESS]\n"
    "\n"
    "List the nodes of the bus and its channels; with ID, that node and its channels, both\n"
    "ways. Nothing is changed, and nobody is waited for: what hangs or died is shown like the\n"
    "rest.\n"
    "\n"
    "Or list the names that are served, as the daemon tells, or the clients or events of\n"
    "servers, as these tell; of ADDRESS only, or of all names that fit if it has a '*'.\n"
    "\n"
    "  --follow      go on and print what changes, until a signal ends it\n"
    "  --json        one JSON object: bus, path, nodes, channels; with --follow, then one\n"
    "                line for each change: {\"event\":\"node\"|\"channel\"|\"gone\", …}. Of\n"
    "                services, clients, events: bus, path, and that\n"
    "  --timeout MS  how long a server, or the daemon, is waited for (2000)\n"
    "\n"
    "States of a node: up (its ID is held; pid and program are the holder's), away (placed on\n"
    "another host of the cluster), down, or never (others sent to it, but it was not opened\n"
    "yet). The pid of a holder in another pid namespace (\"foreign\" in JSON; another\n"
    "container) means nothing here. States of a channel:\n"
    "\n"
    "  idle      everything was consumed\n"
    "  sleeping  the same, and the receiver sleeps until the next message\n"
    "  flowing   messages wait, the receiver is up\n"
    "  waiting   messages wait, the receiver is not up\n"
    "  full      the sender waits for space\n"
    "  closed    the receiver was removed\n"
    "  broken    the receiver closed the channel, because what it read made no sense\n"
    "  damaged   the files do not hold what they should; the reason is shown\n"
    "\n"
    "Accepted and consumed are counts of messages since the channel began. Memory is what the\n"
    "channel's files hold now.\n"
    "\n"
    "Examples:\n"
    "  tram ls\n"
    "  tram ls 1.0.0.2 --follow\n"
    "  tram ls services --follow --json\n"
    "  tram ls clients svc://ranking\n"
    "  tram ls --json | jq '.channels[] | select(.waiting > 0)'\n";

struct look {
    struct observe_node *nodes;
    size_t node_count;
    struct observe_channel *channels;
    size_t channel_count;
};

static void look_free(struct look *look) {
    free(look->nodes);
    free(look->channels);
    *look = (struct look){ 0 };
}

/* Keep what has to do with this node; 0: all. */
static void look_filter(struct look *look, tram_id id) {
    size_t kept = 0;

    for (size_t i = 0; id != 0 && i < look->node_count; i++)
        if (look->nodes[i].id == id)
            look->nodes[kept++] = look->nodes[i];
    look->node_count = id != 0 ? kept : look->node_count;
    kept = 0;
    for (size_t i = 0; id != 0 && i < look->channel_count; i++)
        if (look->channels[i].from == id || look->channels[i].to == id)
            look->channels[kept++] = look->channels[i];
    look->channel_count = id != 0 ? kept : look->channel_count;
}

static int look_at(struct observe *observe, tram_id id, struct look *ret_look) {
    struct look look = { 0 };
    int rc = observe_nodes(observe, &look.nodes, &look.node_count);

    if (rc == 0)
        rc = observe_channels(observe, 0, &look.channels, &look.channel_count);
    if (rc < 0) {
        look_free(&look);
        return rc;
    }
    look_filter(&look, id);
    *ret_look = look;
    return 0;
}

static const char *node_state(const struct observe_node *node) {
    return node->up ? "up" : node->away ? "away" : node->opens > 0 ? "down" : "never";
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void json_note(struct buf *buf, bool *first, const char *note) {
    if (note[0] != '\0')
        json_member_text(buf, first, "note", note);
}

static void json_node(struct buf *buf, bool first, const struct observe_node *node) {
    json_member_id(buf, &first, "id", node->id);
    json_member_text(buf, &first, "state", node_state(node));
    json_member_number(buf, &first, "pid", node->pid > 0 ? (uint64_t) node->pid : 0);
    json_member_bool(buf, &first, "foreign", node->foreign);
    json_member_text(buf, &first, "program", node->program);
    json_member_bool(buf, &first, "ephemeral", node->ephemeral);
    json_member_number(buf, &first, "opens", node->opens);
    json_member_number(buf, &first, "opened_ns", node->opened_ns);
    json_member_number(buf, &first, "closed_ns", node->closed_ns);
    json_member_number(buf, &first, "gone", node->gone);
    if (node->host[0] != '\0') {
        json_member_text(buf, &first, "host", node->host);
        json_member_number(buf, &first, "epoch", node->epoch);
    }
    json_note(buf, &first, node->note);
    buf_char(buf, '}');
}

static void json_channel(struct buf *buf, bool first, const struct observe_channel *channel) {
    json_member_id(buf, &first, "from", channel->from);
    json_member_id(buf, &first, "to", channel->to);
    json_member_text(buf, &first, "state", observe_state_name(channel->state));
    json_member_number(buf, &first, "accepted", channel->accepted);
    json_member_number(buf, &first, "consumed", channel->consumed);
    json_member_number(buf, &first, "waiting", channel->waiting);
    json_member_number(buf, &first, "waiting_bytes", channel->waiting_bytes);
    json_member_number(buf, &first, "aside", channel->aside);
    json_member_number(buf, &first, "aside_ever", channel->aside_ever);
    json_member_number(buf, &first, "lost", channel->lost);
    json_member_number(buf, &first, "memory", channel->memory);
    json_member_number(buf, &first, "capacity", channel->capacity);
    json_member_number(buf, &first, "streams", channel->streams);
    json_note(buf, &first, channel->note);
    buf_char(buf, '}');
}

static void json_all(struct buf *buf, const struct look *look) {
    bool first = true, item = true;

    buf_char(buf, '{');
    json_member_text(buf, &first, "bus", cli_bus_name());
    json_member_text(buf, &first, "path", cli_bus_path());
    json_key(buf, &first, "nodes");
    buf_char(buf, '[');
    for (size_t i = 0; i < look->node_count; i++) {
        json_item(buf, &item);
        buf_char(buf, '{');
        json_node(buf, true, &look->nodes[i]);
    }
    buf_char(buf, ']');
    json_key(buf, &first, "channels");
    buf_char(buf, '[');
    item = true;
    for (size_t i = 0; i < look->channel_count; i++) {
        json_item(buf, &item);
        buf_char(buf, '{');
        json_channel(buf, true, &look->channels[i]);
    }
    buf_text(buf, "]}\n");
}

/* ---- for people ----------------------------------------------------------------------------- */

static const char *bytes_text(uint64_t bytes, char text[32]) {
    static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB" };
    double value = (double) bytes;
    size_t unit = 0;

    for (; value >= 1000 && unit + 1 < sizeof(units) / sizeof(units[0]); unit++)
        value /= 1024;
    (void) snprintf(text, 32, unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
    return text;
}

static const char *time_text(uint64_t time_ns, char text[32]) {
    time_t seconds = (time_t) (time_ns / 1000000000);
    struct tm tm;

    if (time_ns == 0 || !localtime_r(&seconds, &tm) ||
        strftime(text, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        (void) snprintf(text, 32, "-");
    return text;
}

static void text_node(struct buf *buf, const struct observe_node *node) {
    const char *program = node->program[0] ? node->program : "-";
    const char *what = node->up ? "opened" : node->closed_ns > 0 ? "closed" : "died, opened";
    char id[TRAM_ID_TEXT], pid[16] = "-", text[32];

    if (node->up && node->pid > 0)
        (void) snprintf(pid, sizeof(pid), "%" PRId32, node->pid);
    buf_format(buf, "%-15s  %-5s  %7s  ", tram_id_format(node->id, id), node_state(node), pid);
    buf_preview(buf, program, strlen(program));
    for (size_t i = strlen(program); i < 15; i++)
        buf_char(buf, ' ');
    if (node->opens > 0)
        buf_format(buf, "  %s %s", what,
                   time_text(node->closed_ns > 0 ? node->closed_ns : node->opened_ns, text));
    if (node->gone > 0)
        buf_format(buf, "  (%" PRIu64 " of its messages went with removed nodes)", node->gone);
    if (node->away)
        buf_format(buf, "  (placed on host %s)", node->host);
    if (node->up && node->foreign)
        buf_text(buf, "  (in another pid namespace)");
    if (node->note[0])
        buf_format(buf, "  (%s)", node->note);
    buf_char(buf, '\n');
}

static void text_channel(struct buf *buf, const struct observe_channel *channel) {
    char from[TRAM_ID_TEXT], to[TRAM_ID_TEXT], bytes[32], memory[32];

    buf_format(
        buf, "%-15s  %-15s  %10" PRIu64 "  %10" PRIu64 "  %8" PRIu64 "  %9s  %5" PRIu64 "  %9s  %s",
        tram_id_format(channel->from, from), tram_id_format(channel->to, to), channel->accepted,
        channel->consumed, channel->waiting, bytes_text(channel->waiting_bytes, bytes),
        channel->aside, bytes_text(channel->memory, memory), observe_state_name(channel->state));
    if (channel->lost > 0)
        buf_format(buf, "  (%" PRIu64 " lost when the machine stopped)", channel->lost);
    if (channel->note[0])
        buf_format(buf, "  (%s)", channel->note);
    buf_char(buf, '\n');
}

static void text_all(struct buf *buf, const struct look *look) {
    buf_format(buf, "bus %s at %s\n\n", cli_bus_name(), cli_bus_path());
    buf_format(buf, "%-15s  %-5s  %7s  %-15s  %s\n", "NODE", "STATE", "PID", "PROGRAM", "SINCE");
    for (size_t i = 0; i < look->node_count; i++)
        text_node(buf, &look->nodes[i]);
    if (look->channel_count == 0)
        return;
    buf_format(buf, "\n%-15s  %-15s  %10s  %10s  %8s  %9s  %5s  %9s  %s\n", "FROM", "TO",
               "ACCEPTED", "CONSUMED", "WAITING", "BYTES", "ASIDE", "MEMORY", "STATE");
    for (size_t i = 0; i < look->channel_count; i++)
        text_channel(buf, &look->channels[i]);
}

/* ---- following ------------------------------------------------------------------------------ */

/* The beginning of a line that tells a change. */
static void begin_change(struct buf *buf, bool json, const char *event) {
    struct timespec now = { 0 };
    struct tm tm;
    char text[32];
    bool first = true;

    (void) clock_gettime(CLOCK_REALTIME, &now); /* cannot fail with these arguments */
    if (json) {
        buf_char(buf, '{');
        json_member_text(buf, &first, "event", event);
        json_member_number(buf, &first, "time_ns",
                           (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec);
        return;
    }
    if (localtime_r(&now.tv_sec, &tm) && strftime(text, sizeof(text), "%H:%M:%S", &tm) > 0)
        buf_format(buf, "%s.%03ld  ", text, now.tv_nsec / 1000000);
}

static void tell_node(struct buf *buf, bool json, const struct observe_node *node) {
    begin_change(buf, json, "node");
    if (json) {
        json_node(buf, false, node);
        buf_char(buf, '\n');
    } else {
        text_node(buf, node);
    }
}

static void tell_channel(struct buf *buf, bool json, const struct observe_channel *channel) {
    begin_change(buf, json, "channel");
    if (json) {
        json_channel(buf, false, channel);
        buf_char(buf, '\n');
    } else {
        text_channel(buf, channel);
    }
}

/* A node that was removed, or, with `from`, a channel. */
static void tell_gone(struct buf *buf, bool json, tram_id from, tram_id to) {
    char from_text[TRAM_ID_TEXT], to_text[TRAM_ID_TEXT];
    bool first = false;

    begin_change(buf, json, "gone");
    (void) tram_id_format(to, to_text);
    if (json && from != 0) {
        json_member_id(buf, &first, "from", from);
        json_member_id(buf, &first, "to", to);
    } else if (json) {
        json_member_id(buf, &first, "id", to);
    } else if (from != 0) {
        buf_format(buf, "%-15s  %-15s  removed", tram_id_format(from, from_text), to_text);
    } else {
        buf_format(buf, "%-15s  removed", to_text);
    }
    buf_text(buf, json ? "}\n" : "\n");
}

static bool node_same(const struct observe_node *a, const struct observe_node *b) {
    return a->up == b->up && a->pid == b->pid && a->opens == b->opens &&
           a->closed_ns == b->closed_ns && strcmp(a->note, b->note) == 0;
}

static bool channel_same(const struct observe_channel *a, const struct observe_channel *b) {
    return a->state == b->state && a->id == b->id && a->accepted == b->accepted &&
           a->consumed == b->consumed && a->aside == b->aside && a->capacity == b->capacity &&
           strcmp(a->note, b->note) == 0;
}

/* Both lists are sorted: go along them together. */
static void tell_nodes(struct buf *buf, bool json, const struct look *old, const struct look *now) {
    size_t i = 0, j = 0;

    while (i < old->node_count || j < now->node_count) {
        const struct observe_node *was = i < old->node_count ? &old->nodes[i] : NULL;
        const struct observe_node *is = j < now->node_count ? &now->nodes[j] : NULL;

        if (!is || (was && was->id < is->id)) {
            tell_gone(buf, json, 0, was->id);
            i++;
            continue;
        }
        if (!was || was->id > is->id)
            tell_node(buf, json, is);
        else if (i++, !node_same(was, is))
            tell_node(buf, json, is);
        j++;
    }
}

static int channel_order(const struct observe_channel *a, const struct observe_channel *b) {
    if (a->to != b->to)
        return a->to < b->to ? -1 : 1;
    return a->from < b->from ? -1 : a->from > b->from;
}

static void tell_channels(struct buf *buf, bool json, const struct look *old,
                          const struct look *now) {
    size_t i = 0, j = 0;

    while (i < old->channel_count || j < now->channel_count) {
        const struct observe_channel *was = i < old->channel_count ? &old->channels[i] : NULL;
        const struct observe_channel *is = j < now->channel_count ? &now->channels[j] : NULL;
        int order = !was ? 1 : !is ? -1 : channel_order(was, is);

        if (order < 0) {
            tell_gone(buf, json, was->from, was->to);
            i++;
            continue;
        }
        if (order > 0 || !channel_same(was, is))
            tell_channel(buf, json, is);
        i += order == 0;
        j++;
    }
}

static int follow(struct observe *observe, tram_id id, bool json, struct look *look) {
    struct buf buf = { 0 };
    uint64_t pause = FOLLOW_NS;
    int rc = 0;

    while (rc == 0) {
        struct look now;
        uint64_t began;

        cli_wait(-1, (int64_t) pause);
        if (cli_stop)
            break;
        began = cli_now();
        rc = look_at(observe, id, &now);
        if (rc < 0)
            break;
        tell_nodes(&buf, json, look, &now);
        tell_channels(&buf, json, look, &now);
        look_free(look);
        *look = now;
        rc = buf_write(&buf, STDOUT_FILENO);
        pause = 4 * (cli_now() - began);
        pause = pause < FOLLOW_NS ? FOLLOW_NS : pause;
    }
    buf_free(&buf);
    return rc;
}

/* ---- the verb ------------------------------------------------------------------------------- */

static enum cli_exit list(struct observe *observe, tram_id id, bool json, bool following) {
    struct buf buf = { 0 };
    struct look look = { 0 };
    char text[TRAM_ID_TEXT];
    int rc = look_at(observe, id, &look);

    if (rc == 0 && id != 0 && look.node_count == 0 && !following) {
        cli_error("there is no node %s on this bus (%s)", tram_id_format(id, text), cli_bus_path());
        look_free(&look);
        return CLI_NOT_FOUND;
    }
    if (rc == 0) {
        if (json)
            json_all(&buf, &look);
        else
            text_all(&buf, &look);
        rc = buf_write(&buf, STDOUT_FILENO);
    }
    if (rc == 0 && following)
        rc = follow(observe, id, json, &look);
    buf_free(&buf);
    look_free(&look);
    if (rc < 0 && rc != -EPIPE)
        cli_error("the bus at %s cannot be listed: %s", cli_bus_path(), strerror(-rc));
    return rc < 0 ? CLI_FAILURE : CLI_OK;
}

static const struct {
    const char *name;
    int (*list)(const char *pattern, bool json, bool following, int64_t timeout_ns);
} others[] = {
    { "services", ls_services },
    { "clients", ls_clients },
    { "events", ls_events },
};

int verb_ls(int argc, char **argv) {
    enum { JSON = CLI_OPT_OWN, FOLLOW, TIMEOUT };
    static const struct option options[] = {
        { "json", no_argument, NULL, JSON },
        { "follow", no_argument, NULL, FOLLOW },
        { "timeout", required_argument, NULL, TIMEOUT },
        CLI_COMMON,
    };
    bool json = false, following = false;
    int64_t timeout_ns = INT64_C(2000000000);
    enum cli_exit code = CLI_FAILURE;
    struct observe *observe;
    tram_id id = 0;
    int option;

    while ((option = cli_option(argc, argv, "h", options)) >= 0) {
        json |= option == JSON;
        following |= option == FOLLOW;
        if (option == TIMEOUT)
            timeout_ns = (int64_t) cli_number("--timeout", optarg, 0, 1000000000) * 1000000;
    }
    for (size_t i = 0; argv[optind] && i < sizeof(others) / sizeof(others[0]); i++) {
        if (strcmp(argv[optind], others[i].name) == 0) {
            cli_operands(argc, 1, 2);
            return others[i].list(argv[optind + 1], json, following, timeout_ns);
        }
    }
    cli_operands(argc, 0, 1);
    if (argv[optind])
        id = cli_id("the argument", argv[optind]);
    cli_catch_signals();
    observe = cli_observe(&code);
    if (observe)
        code = list(observe, id, json, following);
    (void) observe_close(observe);
    return (int) code;
}
