/* SPDX-License-Identifier: MIT
 *
 * tram top: the channels or nodes of a bus with what changes in them, again and again: on a screen
 * with keys, as plain tables, or as JSON.
 */
#include "cli/top.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/screen.h"
#include "cli/top_hosts.h"

#define INTERVAL_MIN 0.1
#define INTERVAL_MAX 3600
#define INTERVAL 2.0
#define FIRST 0.5   /* at most, until the first rates are there */
#define SHARE 5     /* a look may take that part of the time, not more */

const char verb_top_help[] =
    "usage: tram top [OPTIONS]\n"
    "\n"
    "Show what goes through the channels of a bus, live: rates, what waits and for how long,\n"
    "memory. Nothing is changed, and nobody notices: top reads the files as tram ls does. On\n"
    "a terminal it has keys (h shows them); where there is none, or with TERM=dumb, it prints\n"
    "tables.\n"
    "\n"
    "  --hosts        of all hosts of the cluster, with a column HOST: by their daemons, which\n"
    "                 tell of up to 1024 channels and nodes each, those with the most to say\n"
    "  --nodes        a row per node instead of one per channel (key n)\n"
    "  --sort KEY     rate, backlog, age, memory, from, to or host (keys R B A M F T H);\n"
    "                 default rate\n"
    "  --reverse      the other way round (key r)\n"
    "  --filter GLOB  rows with such an ID at either end, state, program or host, as\n"
    "                 '1.0.0.*' or full (key /)\n"
    "  --active       only what has traffic, or something that waits or is wrong (key i)\n"
    "  --interval S   seconds from look to look, 0.1 to 3600, default 2 (keys + and -)\n"
    "  -b, --batch    tables on standard output, no keys\n"
    "  --count N      end after N of them (1 with rates over one interval)\n"
    "  --rows N       no more than N rows each\n"
    "  --json         one JSON object a line for each interval\n"
    "\n"
    "Columns of a channel: MSG/S and B/S are what was accepted since the look before, with\n"
    "headers; WAIT and SIZE the messages that wait and their bytes; ASIDE those set aside;\n"
    "MEM the memory of its files; STATE as in tram ls. Of a node: IN/S is what was sent to\n"
    "it, OUT/S what it sent; the rest is about the channels to it. Figures are in steps of\n"
    "1000, bytes of 1024.\n"
    "\n"
    "AGE is how long the oldest message waits: by its time stamp, if its sender stamps\n"
    "(TRAM_OPEN_STAMP); else >9s says that it was in the ring already when top looked so long\n"
    "ago, so it waits for at least that.\n"
    "\n"
    "A look reads each channel once. Where that takes long, the interval grows, so that top\n"
    "never takes more than a fifth of a processor.\n"
    "\n"
    "Examples:\n"
    "  tram top\n"
    "  tram top --sort age --filter '1.0.0.*'\n"
    "  tram top --batch --count 1 --rows 10\n"
    "  tram top --hosts --sort backlog\n"
    "  tram top --json --interval 10 | jq -c '[.time_ns, .rate, .waiting]'\n";

struct ui {
    struct top top;
    struct top_view view;
    struct screen screen;
    struct buf buf;
    double interval;
    uint64_t count, rows; /* UINT64_MAX: no end, all */
    bool json;
    bool paused, help, typing; /* typing: a filter */
    char typed[64];            /* … this one */
    size_t scroll;
    char message[80];          /* instead of the help line, once */
};

static const char *const sort_names[] = { "rate", "backlog", "age", "memory", "from", "to",
                                          "host" };
static const char sort_keys[] = "RBAMFTH"; /* in the same order */

/* ---- time ----------------------------------------------------------------------------------- */

/* From the begin of a look to that of the next. */
static uint64_t pause_ns(const struct ui *ui) {
    uint64_t pause = (uint64_t) (ui->interval * 1e9);

    return pause > SHARE * ui->top.cost_ns ? pause : SHARE * ui->top.cost_ns;
}

static void clock_text(uint64_t wall_ns, char text[16]) {
    time_t seconds = (time_t) (wall_ns / 1000000000);
    struct tm tm;

    if (!localtime_r(&seconds, &tm) || strftime(text, 16, "%H:%M:%S", &tm) == 0)
        text[0] = '\0';
}

/* The first line: which bus, when, how often. */
static void title(const struct ui *ui, int width, char text[TOP_LINE]) {
    char right[64], place[TOP_LINE], time_text[16];
    double interval = (double) pause_ns(ui) / 1e9;
    int left;

    clock_text(ui->top.wall_ns, time_text);
    (void) snprintf(right, sizeof(right), "%s  every %.3g s", time_text, interval);
    left = width - (int) strlen(right) - 2;
    left = left < 20 ? 20 : left;
    left = left > 300 ? 300 : left;
    (void) snprintf(place, sizeof(place), "bus %s at %s", cli_bus_name(), cli_bus_path());
    (void) snprintf(text, TOP_LINE, "%-*.*s  %s", left, left, place, right);
}

/* ---- tables --------------------------------------------------------------------------------- */

static void print_table(struct ui *ui) {
    char text[TOP_LINE];

    title(ui, 80, text);
    buf_format(&ui->buf, "%s\n", text);
    for (int i = 0; i < TOP_HEAD; i++) {
        top_head(&ui->top, i, text);
        buf_format(&ui->buf, "%s\n", text);
    }
    top_titles(&ui->view, 80, text);
    buf_format(&ui->buf, "\n%s\n", text);
    for (size_t i = 0; i < ui->top.row_count && i < ui->rows; i++) {
        top_row(&ui->view, &ui->top.rows[i], 80, text);
        buf_format(&ui->buf, "%s\n", text);
    }
    buf_char(&ui->buf, '\n');
}

/* A look; a channel that changes faster than it can be read is no reason to end. */
static int look(struct ui *ui) {
    int rc = ui->view.hosts ? top_look_hosts(&ui->top)
                            : top_look(&ui->top, cli_bus_path());

    if (rc == -EBUSY && ui->top.time_ns > 0)
        rc = 0;
    return rc < 0 ? rc : top_arrange(&ui->top, &ui->view);
}

static int batch(struct ui *ui) {
    int rc = look(ui);

    for (uint64_t i = 0; rc == 0 && i < ui->count; i++) {
        uint64_t due = ui->top.time_ns + pause_ns(ui), now;

        while (!cli_stop && (now = cli_now()) < due)
            cli_wait(-1, (int64_t) (due - now));
        if (cli_stop)
            break;
        rc = look(ui);
        if (rc < 0)
            break;
        if (ui->json)
            top_json(&ui->buf, &ui->top, &ui->view, ui->rows);
        else
            print_table(ui);
        rc = buf_write(&ui->buf, STDOUT_FILENO);
    }
    return rc;
}

/* ---- the screen ----------------------------------------------------------------------------- */

static const char *const help_lines[] = {
    "q, ctrl-c   quit              R rate      B backlog   A age",
    "n           nodes, channels   M memory    F from  T to  H host   sort by",
    "p, blank    pause, go on      s           the next of these",
    "/           filter            r           the other way round",
    "i           hide what idles   + -         interval",
    "up down PgUp PgDn Home End, j k           move",
    "",
    "MSG/S, B/S  accepted since the look before; IN/S, OUT/S: sent to a node, by it",
    "WAIT, SIZE  messages that wait, and their bytes;  ASIDE: set aside",
    "AGE         how long the oldest waits, by its time stamp; where senders do not",
    "            stamp, >9s: it was in the ring when top looked so long ago",
    "MEM         memory of the channel's files;  STATE: as tram ls --help says",
    "",
    "Any key goes back.",
};

/* Rows that fit. */
static size_t room(const struct ui *ui) {
    int rows = ui->screen.rows - TOP_HEAD - 4; /* title, blank, titles, keys */

    return rows > 0 ? (size_t) rows : 0;
}

static void draw_rows(struct ui *ui, int at) {
    size_t fit = room(ui), count = ui->top.row_count;
    char text[TOP_LINE];

    count = count < ui->rows ? count : (size_t) ui->rows;
    if (ui->scroll + fit > count)
        ui->scroll = count > fit ? count - fit : 0;
    top_titles(&ui->view, ui->screen.columns, text);
    screen_line(&ui->screen, at++, SCREEN_TITLE, text);
    for (size_t i = ui->scroll; i < count && i < ui->scroll + fit; i++) {
        const struct top_row *row = &ui->top.rows[i];

        top_row(&ui->view, row, ui->screen.columns, text);
        screen_line(&ui->screen, at++, row->alarm ? SCREEN_BOLD : SCREEN_PLAIN, text);
    }
    if (count == 0)
        screen_line(&ui->screen, at, SCREEN_PLAIN,
                    ui->view.filter[0] || ui->view.active ? "nothing that the filter lets through"
                                                          : "nothing yet");
}

/* What is shown, and how. */
static void draw_view(struct ui *ui, int at) {
    const struct top_view *view = &ui->view;
    size_t all = view->nodes ? ui->top.node_count : ui->top.channel_count;
    char text[TOP_LINE], shown[64] = "";

    if (ui->top.row_count < all)
        (void) snprintf(shown, sizeof(shown), " (%zu of %zu)", ui->top.row_count, all);
    (void) snprintf(text, sizeof(text), "%s%s by %s%s%s%s%s%s", view->nodes ? "nodes" : "channels",
                    shown, sort_names[view->sort], view->reverse ? ", reversed" : "",
                    view->active ? ", active" : "", view->filter[0] ? ", filter " : "",
                    view->filter, ui->paused ? "   PAUSED" : "");
    screen_line(&ui->screen, at, SCREEN_PLAIN, text);
}

static int draw(struct ui *ui) {
    struct screen *screen = &ui->screen;
    char text[TOP_LINE];
    int at = 0;

    title(ui, screen->columns, text);
    screen_line(screen, at++, SCREEN_BOLD, text);
    for (int i = 0; i < TOP_HEAD; i++) {
        top_head(&ui->top, i, text);
        screen_line(screen, at++, SCREEN_PLAIN, text);
    }
    draw_view(ui, at++);
    if (ui->help) {
        for (size_t i = 0; i < sizeof(help_lines) / sizeof(help_lines[0]); i++)
            screen_line(screen, at + 1 + (int) i, SCREEN_PLAIN, help_lines[i]);
    } else {
        draw_rows(ui, at);
    }
    if (ui->typing)
        (void) snprintf(text, sizeof(text), "filter (ID, glob, state; empty: all): %s_", ui->typed);
    else
        (void) snprintf(text, sizeof(text), "%s",
                        ui->message[0] ? ui->message
                                       : "q quit  h help  / filter  n nodes  R B A M F T sort  "
                                         "r reverse  i idle  p pause");
    ui->message[0] = '\0';
    screen_line(screen, screen->rows - 1, SCREEN_PLAIN, text);
    return screen_show(screen);
}

/* ---- keys ----------------------------------------------------------------------------------- */

static void type(struct ui *ui, int key) {
    size_t size = strlen(ui->typed);

    if (key == '\r' || key == '\n') {
        memcpy(ui->view.filter, ui->typed, sizeof(ui->typed));
        ui->typing = false;
        ui->scroll = 0;
    } else if (key == SCREEN_ESCAPE) {
        ui->typing = false;
    } else if (key == 0x7f || key == '\b') {
        ui->typed[size > 0 ? size - 1 : 0] = '\0';
    } else if (key == 'U' - '@') {
        ui->typed[0] = '\0';
    } else if (key > ' ' && key < 0x7f && size + 1 < sizeof(ui->typed) && size < 39) {
        ui->typed[size] = (char) key;
        ui->typed[size + 1] = '\0';
    }
}

static void move(struct ui *ui, int key) {
    size_t page = room(ui) > 1 ? room(ui) - 1 : 1;

    if (key == SCREEN_UP || key == 'k')
        ui->scroll -= ui->scroll > 0;
    else if (key == SCREEN_DOWN || key == 'j')
        ui->scroll++; /* draw_rows() keeps it within */
    else if (key == SCREEN_PAGE_UP)
        ui->scroll -= ui->scroll > page ? page : ui->scroll;
    else if (key == SCREEN_PAGE_DOWN)
        ui->scroll += page;
    else if (key == SCREEN_HOME || key == 'g')
        ui->scroll = 0;
    else if (key == SCREEN_END || key == 'G')
        ui->scroll = ui->top.row_count;
}

static void change_interval(struct ui *ui, bool longer) {
    static const double steps[] = { 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, INTERVAL_MAX };
    size_t count = sizeof(steps) / sizeof(steps[0]), i = 0;

    while (i < count && (longer ? steps[i] <= ui->interval : steps[i] < ui->interval))
        i++;
    if (longer)
        ui->interval = steps[i < count ? i : count - 1];
    else
        ui->interval = steps[i > 0 ? i - 1 : 0];
}

/* Whether to go on. */
static bool obey(struct ui *ui, int key) {
    const char *sort = key > 0 && key < 0x80 ? strchr(sort_keys, key) : NULL;

    if (ui->typing || (ui->help && key != 'q')) {
        if (ui->typing)
            type(ui, key);
        ui->help = false;
        return true;
    }
    if (sort)
        ui->view.sort = (enum top_sort)(sort - sort_keys);
    switch (key) {
    case 'q':
    case 'Q':
        return false;
    case 'h':
    case '?':
        ui->help = true;
        break;
    case 'n':
        ui->view.nodes = !ui->view.nodes;
        ui->scroll = 0;
        break;
    case 's':
        ui->view.sort = (ui->view.sort + 1) % (TOP_HOST + 1);
        break;
    case 'r':
        ui->view.reverse = !ui->view.reverse;
        break;
    case 'i':
        ui->view.active = !ui->view.active;
        break;
    case '/':
        ui->typing = true;
        memcpy(ui->typed, ui->view.filter, sizeof(ui->typed));
        break;
    case 'p':
    case ' ':
        ui->paused = !ui->paused;
        break;
    case '+':
    case '-':
        change_interval(ui, key == '+');
        break;
    default:
        move(ui, key);
    }
    return true;
}

/* Wait for keys until the next look is due. 1: to look; 0: to end; or a negative errno. */
static int keys_until(struct ui *ui, double at_most) {
    for (;;) {
        uint64_t wait = pause_ns(ui), now = cli_now();
        uint64_t first = (uint64_t) (at_most * 1e9);
        uint64_t due = ui->top.time_ns + (first < wait ? first : wait);
        int key, rc;

        if (!ui->paused && now >= due)
            return 1;
        key = screen_key(&ui->screen, ui->paused ? INTERVAL_MAX * INT64_C(1000000000)
                                                 : (int64_t) (due - now));
        if (cli_stop || key == SCREEN_GONE)
            return 0;
        if (key == SCREEN_NOTHING)
            continue;
        if (key != SCREEN_RESIZED && !obey(ui, key))
            return 0;
        rc = top_arrange(&ui->top, &ui->view);
        if (rc == 0)
            rc = draw(ui);
        if (rc < 0)
            return rc;
    }
}

static int live(struct ui *ui) {
    int rc = look(ui);

    if (rc == 0)
        rc = screen_open(&ui->screen);
    if (rc < 0)
        return rc;
    for (uint64_t i = 0; rc == 0 && i <= ui->count; i++) {
        rc = draw(ui);
        if (rc == 0)
            rc = keys_until(ui, i == 0 ? FIRST : INTERVAL_MAX);
        if (rc <= 0)
            break;
        rc = look(ui);
        if (rc == -ENOENT && !ui->view.hosts) { /* removed; it may come again */
            top_free(&ui->top);
            ui->top.time_ns = cli_now();
            (void) snprintf(ui->message, sizeof(ui->message), "the bus is gone");
            rc = top_arrange(&ui->top, &ui->view);
        }
    }
    screen_close(&ui->screen);
    return rc;
}

/* ---- the verb ------------------------------------------------------------------------------- */

static enum top_sort parse_sort(const char *text) {
    for (size_t i = 0; i < sizeof(sort_names) / sizeof(sort_names[0]); i++)
        if (strcmp(text, sort_names[i]) == 0)
            return (enum top_sort) i;
    cli_usage("--sort '%s' is none of: rate, backlog, age, memory, from, to, host", text);
}

static double parse_interval(const char *text) {
    double value;
    char *end;

    value = text[0] >= '0' && text[0] <= '9' ? strtod(text, &end) : -1;
    if (value < INTERVAL_MIN || value > INTERVAL_MAX || *end != '\0' || isnan(value))
        cli_usage("--interval '%s' is no number of seconds from 0.1 to 3600", text);
    return value;
}

static void parse_filter(struct ui *ui, const char *text) {
    if (strlen(text) >= sizeof(ui->view.filter))
        cli_usage("--filter: it is too long");
    (void) snprintf(ui->view.filter, sizeof(ui->view.filter), "%s", text);
}

static enum cli_exit run(struct ui *ui, bool as_batch) {
    int rc = as_batch ? batch(ui) : live(ui);

    buf_free(&ui->buf);
    top_free(&ui->top);
    top_hosts_end();
    if (ui->view.hosts && rc != -ENOMEM)
        return cli_code(rc); /* it was told */
    if (rc == -ENOENT)
        cli_error("there is no bus at %s; --bus and --dir choose another one", cli_bus_path());
    else if (rc < 0 && rc != -EPIPE)
        cli_error("the bus at %s cannot be watched: %s", cli_bus_path(), strerror(-rc));
    return cli_code(rc);
}

int verb_top(int argc, char **argv) {
    enum { HOSTS = CLI_OPT_OWN, NODES, SORT, REVERSE, FILTER, ACTIVE, EVERY, COUNT, ROWS, JSON };
    static const struct option options[] = {
        { "hosts", no_argument, NULL, HOSTS },
        { "nodes", no_argument, NULL, NODES },
        { "sort", required_argument, NULL, SORT },
        { "reverse", no_argument, NULL, REVERSE },
        { "filter", required_argument, NULL, FILTER },
        { "active", no_argument, NULL, ACTIVE },
        { "interval", required_argument, NULL, EVERY },
        { "batch", no_argument, NULL, 'b' },
        { "count", required_argument, NULL, COUNT },
        { "rows", required_argument, NULL, ROWS },
        { "json", no_argument, NULL, JSON },
        CLI_COMMON,
    };
    static struct ui ui = { .interval = INTERVAL, .count = UINT64_MAX, .rows = UINT64_MAX };
    bool as_batch = false;
    int option;

    while ((option = cli_option(argc, argv, "hb", options)) >= 0) {
        ui.view.hosts |= option == HOSTS;
        ui.view.nodes |= option == NODES;
        ui.view.reverse |= option == REVERSE;
        ui.view.active |= option == ACTIVE;
        ui.json |= option == JSON;
        as_batch |= option == 'b' || option == JSON;
        if (option == SORT)
            ui.view.sort = parse_sort(optarg);
        else if (option == FILTER)
            parse_filter(&ui, optarg);
        else if (option == EVERY)
            ui.interval = parse_interval(optarg);
        else if (option == COUNT)
            ui.count = cli_number("--count", optarg, 1, UINT32_MAX);
        else if (option == ROWS)
            ui.rows = cli_number("--rows", optarg, 1, UINT32_MAX);
    }
    cli_operands(argc, 0, 0);
    cli_catch_signals();
    return (int) run(&ui, as_batch || !screen_possible());
}
