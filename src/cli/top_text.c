/* SPDX-License-Identifier: MIT
 *
 * tram top: a look as lines of text and as JSON. Lines have 80 columns, whatever the IDs and the
 * figures are: every column has a width that it cannot exceed, and only a wider terminal gets more.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/top.h"
#include "sys/machine.h"

/* ---- figures -------------------------------------------------------------------------------- */

#define FIGURE 24

/* A figure in `width` columns, 4 or 5: 999, 1.2M … in steps of `step`, 1000 or 1024. */
static const char *figure(char text[FIGURE], double value, double step, int width) {
    static const char units[] = "KMGTPE";
    double most = width > 4 ? 99.95 : 9.95; /* below this there is room for a decimal */
    size_t unit = 0;

    if (value < (width > 4 && step < 1001 ? 99999.5 : 999.5)) {
        bool tenths = value > 0 && value < 9.95 && value != (double) (uint64_t) value;

        (void) snprintf(text, FIGURE, tenths ? "%.1f" : "%.0f", value);
        return text;
    }
    for (value /= step; value >= 999.5 && unit + 2 < sizeof(units); unit++)
        value /= step;
    (void) snprintf(text, FIGURE, value < most ? "%.1f%c" : "%.0f%c", value, units[unit]);
    return text;
}

static const char *count_text(char text[FIGURE], uint64_t count) {
    return figure(text, (double) count, 1000, 5);
}

static const char *bytes_text(char text[FIGURE], uint64_t bytes) {
    return figure(text, (double) bytes, 1024, 4);
}

static const char *rate_text(char text[FIGURE], bool rated, double rate, double step) {
    if (rated)
        return figure(text, rate, step, 5);
    (void) snprintf(text, FIGURE, "-");
    return text;
}

/* Four columns: 45ms, 3.2s, 59s, 59m, 23h, 364d; >3s if it is at least that. */
static const char *age_text(char text[FIGURE], const struct top_age *age) {
    uint64_t half = age->at_least ? 0 : 500000000;
    uint64_t seconds = (age->ns < UINT64_MAX - half ? age->ns + half : age->ns) / 1000000000;
    uint64_t days = seconds / 86400;
    uint64_t most = age->at_least ? 99 : 999;
    const char *more = age->at_least ? ">" : "";

    if (!age->known || (age->at_least && seconds == 0))
        (void) snprintf(text, FIGURE, "-");
    else if (age->ns < 99500000)
        (void) snprintf(text, FIGURE, "%" PRIu64 "ms", (age->ns + 500000) / 1000000);
    else if (!age->at_least && age->ns < UINT64_C(9950000000))
        (void) snprintf(text, FIGURE, "%.1fs", (double) age->ns / 1e9);
    else if (seconds < 100)
        (void) snprintf(text, FIGURE, "%s%" PRIu64 "s", more, seconds);
    else if (seconds < 6000)
        (void) snprintf(text, FIGURE, "%s%" PRIu64 "m", more, seconds / 60);
    else if (seconds < 360000)
        (void) snprintf(text, FIGURE, "%s%" PRIu64 "h", more, seconds / 3600);
    else
        (void) snprintf(text, FIGURE, "%s%" PRIu64 "d", more, days < most ? days : most);
    return text;
}

/* ---- the bus -------------------------------------------------------------------------------- */

static void head_space(const struct top *top, char text[TOP_LINE]) {
    char memory[FIGURE], free_text[FIGURE], all[FIGURE];
    struct machine_space space;

    (void) bytes_text(memory, top->total.memory);
    if (machine_space(cli_bus_path(), &space) < 0 || space.total == 0)
        (void) snprintf(text, TOP_LINE, "memory   %s in rings", memory);
    else
        (void) snprintf(text, TOP_LINE, "memory   %s in rings; %s: %s free of %s (%.0f%%)", memory,
                        space.tmpfs ? "tmpfs" : "disk", bytes_text(free_text, space.free),
                        bytes_text(all, space.total),
                        100 * (double) space.free / (double) space.total);
}

/* How many hosts, and of which nothing is known. */
static void head_hosts(const struct top *top, char text[TOP_LINE]) {
    uint64_t left = 0;
    int used = snprintf(text, TOP_LINE, "hosts    %zu", top->host_count);
    const char *between = "; silent: ";

    for (size_t i = 0; i < top->host_count; i++) {
        left += top->hosts[i].left_channels;
        if (top->hosts[i].silent[0] == '\0' || used > 60)
            continue;
        used += snprintf(text + used, TOP_LINE - (size_t) used, "%s%.40s", between,
                         top->hosts[i].name);
        between = ", ";
    }
    if (left > 0 && used < TOP_LINE)
        (void) snprintf(text + used, TOP_LINE - (size_t) used,
                        "; %" PRIu64 " channels with less to say are not here", left);
}

void top_head(const struct top *top, int line, char text[TOP_LINE]) {
    const struct top_total *total = &top->total;
    char a[FIGURE], b[FIGURE], c[FIGURE];
    int used;

    switch (line) {
    case 0:
        used = snprintf(text, TOP_LINE, "nodes    %zu up, %zu down", total->up, total->down);
        if (total->never > 0 && used > 0)
            (void) snprintf(text + used, TOP_LINE - (size_t) used, ", %zu never opened",
                            total->never);
        break;
    case 1:
        used = snprintf(text, TOP_LINE, "channels %zu", total->channels);
        for (int state = OBSERVE_FLOWING; state <= OBSERVE_DAMAGED; state++)
            if (total->states[state] > 0)
                used += snprintf(text + used, TOP_LINE - (size_t) used, ", %zu %s",
                                 total->states[state], observe_state_name(state));
        break;
    case 2:
        used = snprintf(text, TOP_LINE, "traffic  %s msg/s, %s B/s; waiting %s",
                        rate_text(a, total->rated, total->rate, 1000),
                        rate_text(b, total->rated, total->bytes_rate, 1024),
                        count_text(c, total->waiting));
        if (total->waiting > 0)
            used += snprintf(text + used, TOP_LINE - (size_t) used, " (%s)",
                             bytes_text(a, total->waiting_bytes));
        if (age_text(a, &total->age)[0] != '-')
            used += snprintf(text + used, TOP_LINE - (size_t) used, ", oldest %s", a);
        if (total->aside > 0)
            (void) snprintf(text + used, TOP_LINE - (size_t) used, "; aside %s",
                            count_text(a, total->aside));
        break;
    default:
        if (top->host_count > 0)
            head_hosts(top, text);
        else
            head_space(top, text);
    }
}

/* ---- rows ----------------------------------------------------------------------------------- */

/* With all hosts there is a column for theirs, and none for SIZE and ASIDE. */
static int host_room(int width) {
    return width > 100 ? 31 : width > 80 ? width - 69 : 11;
}

/* 15 columns for an ID, 41 for what follows the two of a channel and the blanks before each. */
void top_titles(const struct top_view *view, int width, char text[TOP_LINE]) {
    int program = width > 110 ? 31 : width > 80 ? width - 70 : 10;

    if (view->nodes && view->hosts)
        (void) snprintf(text, TOP_LINE, "%-*s %-15s %-5s %7s %-10s %5s %5s %5s %4s %4s",
                        host_room(width), "HOST", "NODE", "STATE", "PID", "PROGRAM", "IN/S",
                        "OUT/S", "WAIT", "AGE", "MEM");
    else if (view->hosts)
        (void) snprintf(text, TOP_LINE, "%-*s %-15s %-15s %5s %5s %5s %4s %4s %s",
                        host_room(width), "HOST", "FROM", "TO", "MSG/S", "B/S", "WAIT", "AGE",
                        "MEM", "STATE");
    else if (view->nodes)
        (void) snprintf(text, TOP_LINE, "%-15s %-5s %7s %-*s %5s %5s %5s %4s %4s %5s %4s", "NODE",
                        "STATE", "PID", program, "PROGRAM", "IN/S", "OUT/S", "WAIT", "SIZE", "AGE",
                        "ASIDE", "MEM");
    else
        (void) snprintf(text, TOP_LINE, "%-15s %-15s %5s %5s %5s %5s %4s %5s %4s %s", "FROM", "TO",
                        "MSG/S", "B/S", "WAIT", "SIZE", "AGE", "ASIDE", "MEM", "STATE");
}

/* What a program calls itself, as printable ASCII: nothing that moves a cursor or has a width that
 * we do not know. */
static void plain_text(char *to, size_t size, const char *from) {
    size_t i = 0;

    for (; from[i] != '\0' && i + 1 < size; i++)
        to[i] = from[i];
    to[i] = '\0';
    for (char *at = to; *at != '\0'; at++)
        *at = *at >= ' ' && *at <= '~' ? *at : '?';
}

/* A row's figures as text. */
struct cells {
    char from[TRAM_ID_TEXT], to[TRAM_ID_TEXT], program[33], pid[12], rate[FIGURE], bytes[FIGURE],
        out[FIGURE], waiting[FIGURE], size[FIGURE], age[FIGURE], aside[FIGURE], memory[FIGURE];
};

static void row_of_host(const struct top_view *view, const struct top_row *row, int width,
                        const struct cells *cells, char text[TOP_LINE]) {
    int room = host_room(width);

    if (view->nodes)
        (void) snprintf(text, TOP_LINE, "%-*.*s %-15s %-5s %7s %-10.10s %5s %5s %5s %4s %4s", room,
                        room, row->host, cells->from, row->state, cells->pid, cells->program,
                        cells->rate, cells->out, cells->waiting, cells->age, cells->memory);
    else
        (void) snprintf(text, TOP_LINE, "%-*.*s %-15s %-15s %5s %5s %5s %4s %4s %s", room, room,
                        row->host, cells->from, cells->to, cells->rate, cells->bytes,
                        cells->waiting, cells->age, cells->memory, row->state);
}

void top_row(const struct top_view *view, const struct top_row *row, int width,
             char text[TOP_LINE]) {
    int room = width > 110 ? 31 : width > 80 ? width - 70 : 10;
    struct cells cells = { .pid = "-" };

    (void) tram_id_format(row->from, cells.from);
    (void) tram_id_format(row->to, cells.to);
    (void) rate_text(cells.rate, row->rated, row->rate, 1000);
    (void) rate_text(cells.bytes, row->rated, row->bytes_rate, 1024);
    (void) rate_text(cells.out, row->rated, row->out_rate, 1000);
    (void) count_text(cells.waiting, row->waiting);
    (void) bytes_text(cells.size, row->waiting_bytes);
    (void) age_text(cells.age, &row->age);
    (void) count_text(cells.aside, row->aside);
    (void) bytes_text(cells.memory, row->memory);
    if (view->nodes && row->pid > 0)
        (void) snprintf(cells.pid, sizeof(cells.pid), "%" PRId32, row->pid);
    if (view->nodes)
        plain_text(cells.program, sizeof(cells.program), row->program[0] ? row->program : "-");
    if (view->hosts)
        row_of_host(view, row, width, &cells, text);
    else if (view->nodes)
        (void) snprintf(text, TOP_LINE, "%-15s %-5s %7s %-*.*s %5s %5s %5s %4s %4s %5s %4s",
                        cells.from, row->state, cells.pid, room, room, cells.program, cells.rate,
                        cells.out, cells.waiting, cells.size, cells.age, cells.aside,
                        cells.memory);
    else
        (void) snprintf(text, TOP_LINE, "%-15s %-15s %5s %5s %5s %5s %4s %5s %4s %s", cells.from,
                        cells.to, cells.rate, cells.bytes, cells.waiting, cells.size, cells.age,
                        cells.aside, cells.memory, row->state);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void json_decimal(struct buf *buf, bool *first, const char *key, bool known, double value) {
    json_key(buf, first, key);
    if (known)
        buf_format(buf, "%.1f", value);
    else
        buf_text(buf, "null");
}

static void json_age(struct buf *buf, bool *first, const struct top_age *age) {
    json_decimal(buf, first, "oldest_s", age->known, (double) age->ns / 1e9);
    json_member_bool(buf, first, "oldest_at_least", age->known && age->at_least);
}

static void json_row(struct buf *buf, const struct top_view *view, const struct top_row *row) {
    bool first = true;

    buf_char(buf, '{');
    if (view->hosts)
        json_member_text(buf, &first, "host", row->host);
    if (view->nodes) {
        json_member_id(buf, &first, "id", row->from);
        json_member_text(buf, &first, "state", row->state);
        json_member_number(buf, &first, "pid", (uint64_t) row->pid);
        json_member_text(buf, &first, "program", row->program);
        json_decimal(buf, &first, "in_rate", row->rated, row->rate);
        json_decimal(buf, &first, "out_rate", row->rated, row->out_rate);
    } else {
        json_member_id(buf, &first, "from", row->from);
        json_member_id(buf, &first, "to", row->to);
        json_member_text(buf, &first, "state", row->state);
        json_decimal(buf, &first, "rate", row->rated, row->rate);
        json_decimal(buf, &first, "consumed_rate", row->rated, row->out_rate);
    }
    json_decimal(buf, &first, "bytes_rate", row->rated, row->bytes_rate);
    json_member_number(buf, &first, "waiting", row->waiting);
    json_member_number(buf, &first, "waiting_bytes", row->waiting_bytes);
    json_age(buf, &first, &row->age);
    json_member_number(buf, &first, "aside", row->aside);
    json_member_number(buf, &first, "memory", row->memory);
    if (row->note[0] != '\0')
        json_member_text(buf, &first, "note", row->note);
    buf_char(buf, '}');
}

/* Who was asked, and what is missing. */
static void json_hosts(struct buf *buf, bool *first, const struct top *top) {
    bool item = true;

    json_key(buf, first, "hosts");
    buf_char(buf, '[');
    for (size_t i = 0; i < top->host_count; i++) {
        const struct top_host *host = &top->hosts[i];
        bool inner = true;

        json_item(buf, &item);
        buf_char(buf, '{');
        json_member_text(buf, &inner, "name", host->name);
        json_member_text(buf, &inner, "silent", host->silent);
        json_member_number(buf, &inner, "left_channels", host->left_channels);
        json_member_number(buf, &inner, "left_nodes", host->left_nodes);
        buf_char(buf, '}');
    }
    buf_char(buf, ']');
}

void top_json(struct buf *buf, const struct top *top, const struct top_view *view, size_t rows) {
    const struct top_total *total = &top->total;
    struct machine_space space;
    bool first = true, item = true;

    buf_char(buf, '{');
    json_member_text(buf, &first, "bus", cli_bus_name());
    json_member_text(buf, &first, "path", cli_bus_path());
    json_member_number(buf, &first, "time_ns", top->wall_ns);
    json_member_number(buf, &first, "interval_ns", top->interval_ns);
    json_member_number(buf, &first, "nodes_up", total->up);
    json_member_number(buf, &first, "nodes_down", total->down);
    json_member_number(buf, &first, "nodes_never", total->never);
    json_member_number(buf, &first, "channel_count", total->channels);
    json_decimal(buf, &first, "rate", total->rated, total->rate);
    json_decimal(buf, &first, "bytes_rate", total->rated, total->bytes_rate);
    json_member_number(buf, &first, "waiting", total->waiting);
    json_member_number(buf, &first, "waiting_bytes", total->waiting_bytes);
    json_age(buf, &first, &total->age);
    json_member_number(buf, &first, "aside", total->aside);
    json_member_number(buf, &first, "memory", total->memory);
    if (view->hosts) {
        json_hosts(buf, &first, top);
    } else if (machine_space(cli_bus_path(), &space) == 0) {
        json_member_number(buf, &first, "space", space.total);
        json_member_number(buf, &first, "space_free", space.free);
    }
    json_key(buf, &first, view->nodes ? "nodes" : "channels");
    buf_char(buf, '[');
    for (size_t i = 0; i < top->row_count && i < rows; i++) {
        json_item(buf, &item);
        json_row(buf, view, &top->rows[i]);
    }
    buf_text(buf, "]}\n");
}
