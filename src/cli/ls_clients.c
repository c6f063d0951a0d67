/* SPDX-License-Identifier: MIT
 *
 * tram ls clients, tram ls events: what servers say of their clients and events. Following is
 * asking again.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/service.h"
#include "service/inspect.h"

#define FOLLOW_NS INT64_C(500000000)

/* A row of the list, as it is printed, and what makes it the same one as before. */
struct row {
    char *key, *text;
};

struct rows {
    struct row *rows;
    size_t count, room;
};

struct kind {
    const char *name, *title;
    void (*add)(struct rows *rows, const inspection *said, bool json);
};

/* ---- rows ------------------------------------------------------------------------------------ */

static void rows_add(struct rows *rows, const char *key, struct buf *text) {
    struct row *more = rows->rows;

    buf_char(text, '\0');
    if (rows->count == rows->room)
        more = realloc(rows->rows, (rows->room = 2 * rows->room + 16) * sizeof(*more));
    if (more)
        rows->rows = more;
    if (!more || !(more[rows->count].key = strdup(key)) ||
        !(more[rows->count].text = strdup(text->data))) {
        cli_error("no memory for a list");
        exit(CLI_FAILURE);
    }
    rows->count++;
    buf_free(text);
    *text = (struct buf){0};
}

static void rows_free(struct rows *rows) {
    for (size_t i = 0; i < rows->count; i++) {
        free(rows->rows[i].key);
        free(rows->rows[i].text);
    }
    free(rows->rows);
    *rows = (struct rows){0};
}

static const struct row *rows_find(const struct rows *rows, const char *key) {
    for (size_t i = 0; i < rows->count; i++)
        if (strcmp(rows->rows[i].key, key) == 0)
            return &rows->rows[i];
    return NULL;
}

/* ---- clients --------------------------------------------------------------------------------- */

typedef Tram__Control__Inspection__Session session;
typedef Tram__Control__Inspection__Event event;

static void json_client(struct buf *buf, const char *service, const session *s) {
    bool first = false, item = true;

    json_member_text(buf, &first, "service", service);
    json_member_text(buf, &first, "name", s->name);
    json_member_text(buf, &first, "program", s->program);
    json_member_number(buf, &first, "pid", (uint64_t) s->pid);
    json_member_id(buf, &first, "node", s->node);
    json_member_text(buf, &first, "address", s->address);
    json_member_text(buf, &first, "host", s->host);
    json_member_number(buf, &first, "requests", s->requests);
    json_member_number(buf, &first, "in_hand", s->in_hand);
    json_member_number(buf, &first, "messages", s->messages);
    json_member_number(buf, &first, "events", s->events);
    json_member_number(buf, &first, "waiting", s->waiting);
    json_key(buf, &first, "subscriptions");
    buf_char(buf, '[');
    for (size_t i = 0; i < s->n_subscriptions; i++) {
        json_item(buf, &item);
        json_string(buf, s->subscriptions[i], strlen(s->subscriptions[i]));
    }
    buf_char(buf, ']');
}

static void add_clients(struct rows *rows, const inspection *said, bool json) {
    char service[256], key[768], id[TRAM_ID_TEXT];

    service_party(said->party, service, sizeof(service));
    for (size_t i = 0; i < said->n_sessions; i++) {
        const session *s = said->sessions[i];
        struct buf buf = {0};

        if (s->pid == (int32_t) getpid())
            continue; /* who asks is a client, too */
        (void) snprintf(key, sizeof(key), "%s %.255s %" PRId32 " %.200s", service, s->name, s->pid,
                        s->address);
        if (json) {
            json_client(&buf, service, s);
        } else {
            buf_format(&buf, "%-23s  %-15s  %7" PRId32 "  %10" PRIu64 "  %7" PRIu64 "  %10" PRIu64
                             "  %10" PRIu64 "  ", service, tram_id_format(s->node, id), s->pid,
                       s->requests, s->in_hand, s->messages, s->events);
            buf_preview(&buf, s->program, strlen(s->program));
            buf_text(&buf, "  ");
            buf_preview(&buf, s->address, strlen(s->address));
            for (size_t n = 0; n < s->n_subscriptions; n++) {
                buf_text(&buf, n == 0 ? "  events " : "; ");
                buf_preview(&buf, s->subscriptions[n], strlen(s->subscriptions[n]));
            }
        }
        rows_add(rows, key, &buf);
    }
}

/* ---- events ---------------------------------------------------------------------------------- */

static void add_events(struct rows *rows, const inspection *said, bool json) {
    char service[256], key[640];

    service_party(said->party, service, sizeof(service));
    for (size_t i = 0; i < said->n_events; i++) {
        const event *e = said->events[i];
        struct buf buf = {0};
        bool first = false;

        (void) snprintf(key, sizeof(key), "%s %" PRIu32 " %.300s", service, e->event, e->topic);
        if (json) {
            json_member_text(&buf, &first, "service", service);
            json_member_number(&buf, &first, "number", e->event);
            json_member_text(&buf, &first, "topic", e->topic);
            json_member_number(&buf, &first, "published", e->published);
            json_member_number(&buf, &first, "cached", e->cached);
            json_member_number(&buf, &first, "size", e->size);
            json_member_payload(&buf, &first, e->value.data, e->value.len);
        } else {
            buf_format(&buf, "%-23s  %10" PRIu32 "  %10" PRIu64 "  %6" PRIu32 "  %8" PRIu64 "  ",
                       service, e->event, e->published, e->cached, e->size);
            buf_preview(&buf, e->topic, strlen(e->topic));
            buf_text(&buf, "  ");
            buf_preview(&buf, e->value.data, e->value.len < 40 ? e->value.len : 40);
        }
        rows_add(rows, key, &buf);
    }
}

/* ---- asking ---------------------------------------------------------------------------------- */

static enum cli_exit ask(const char *address, int64_t timeout_ns, const struct kind *kind,
                         bool json, struct rows *rows) {
    struct reach reach = {.timeout_ns = timeout_ns};
    inspection *said;
    enum cli_exit code;

    if (!reach_open(&reach, address, NULL, &code))
        return code;
    said = reach_inspect(&reach, INSPECT_ALL, &code);
    reach_close(&reach);
    if (!said)
        return code;
    kind->add(rows, said, json);
    if (said->more)
        cli_error("%s: there are more than it says at once", address);
    (void) inspection_free(said);
    return CLI_OK;
}

/* Of one server, by its address, or of all whose names fit. Of many, one that does not answer is
 * told, and the others are shown. */
static enum cli_exit gather(const char *pattern, int64_t timeout_ns, const struct kind *kind,
                            bool json, struct rows *rows) {
    struct reach reach = {.timeout_ns = timeout_ns};
    enum cli_exit code, worst = CLI_OK;
    char **names;

    if (pattern && !strchr(pattern, '*'))
        return ask(service_address(pattern), timeout_ns, kind, json, rows);
    if (pattern && strncmp(pattern, "svc://", 6) == 0)
        pattern += 6;
    if (!service_daemon())
        return CLI_NOT_FOUND;
    if (!reach_open(&reach, NULL, NULL, &code))
        return code;
    names = reach_names(&reach, pattern ? pattern : "*", &code);
    reach_close(&reach);
    for (char **name = names; name && *name && !cli_stop; name++) {
        code = ask(*name, timeout_ns, kind, json, rows);
        worst = code == CLI_OK ? worst : code;
    }
    (void) reach_names_free(names);
    return names ? worst : code;
}

/* ---- showing --------------------------------------------------------------------------------- */

static int show_all(const struct kind *kind, const struct rows *rows, bool json) {
    struct buf buf = {0};
    bool first = true, item = true;
    int rc;

    if (json) {
        buf_char(&buf, '{');
        json_member_text(&buf, &first, "bus", cli_bus_name());
        json_member_text(&buf, &first, "path", cli_bus_path());
        json_key(&buf, &first, kind->name);
        buf_char(&buf, '[');
    } else {
        buf_text(&buf, kind->title);
    }
    for (size_t i = 0; i < rows->count; i++) {
        const char *text = rows->rows[i].text;

        if (json) {
            json_item(&buf, &item);
            buf_format(&buf, "{%s}", text[0] == ',' ? text + 1 : text);
        } else {
            buf_format(&buf, "%s\n", text);
        }
    }
    if (json)
        buf_text(&buf, "]}\n");
    rc = buf_write(&buf, STDOUT_FILENO);
    buf_free(&buf);
    return rc;
}

static void tell(struct buf *buf, const char *what, const struct row *row, bool json) {
    struct timespec now = {0};
    bool first = true;
    struct tm tm;
    char text[32];

    (void) clock_gettime(CLOCK_REALTIME, &now); /* cannot fail with these arguments */
    if (json) {
        buf_char(buf, '{');
        json_member_text(buf, &first, "event", what);
        json_member_number(buf, &first, "time_ns",
                           (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec);
        buf_format(buf, "%s}\n", row->text);
        return;
    }
    if (localtime_r(&now.tv_sec, &tm) && strftime(text, sizeof(text), "%H:%M:%S", &tm) > 0)
        buf_format(buf, "%s.%03ld  ", text, now.tv_nsec / 1000000);
    buf_format(buf, "%-7s  %s\n", what, row->text);
}

static int show_changes(const struct rows *before, const struct rows *now, bool json) {
    struct buf buf = {0};
    int rc;

    for (size_t i = 0; i < before->count; i++)
        if (!rows_find(now, before->rows[i].key))
            tell(&buf, "gone", &before->rows[i], json);
    for (size_t i = 0; i < now->count; i++) {
        const struct row *old = rows_find(before, now->rows[i].key);

        if (!old || strcmp(old->text, now->rows[i].text) != 0)
            tell(&buf, old ? "changed" : "new", &now->rows[i], json);
    }
    rc = buf_write(&buf, STDOUT_FILENO);
    buf_free(&buf);
    return rc;
}

static int list(const struct kind *kind, const char *pattern, bool json, bool following,
                int64_t timeout_ns) {
    struct rows before = {0}, now = {0};
    enum cli_exit code;
    int rc;

    cli_catch_signals();
    code = gather(pattern, timeout_ns, kind, json, &before);
    rc = code == CLI_OK || before.count > 0 || following ? show_all(kind, &before, json) : 0;
    while (following && rc == 0 && !cli_stop) {
        cli_wait(-1, FOLLOW_NS);
        if (cli_stop)
            break;
        (void) gather(pattern, timeout_ns, kind, json, &now);
        rc = show_changes(&before, &now, json);
        rows_free(&before);
        before = now;
        now = (struct rows){0};
    }
    rows_free(&before);
    if (following)
        return (int) (rc < 0 ? CLI_FAILURE : CLI_OK);
    return (int) (rc < 0 ? CLI_FAILURE : code);
}

int ls_clients(const char *pattern, bool json, bool following, int64_t timeout_ns) {
    static const struct kind kind = {
        "clients",
        "SERVICE                  NODE                 PID    REQUESTS  IN HAND    MESSAGES  "
        "    EVENTS  PROGRAM, ADDRESS, SUBSCRIPTIONS\n",
        add_clients,
    };

    return list(&kind, pattern, json, following, timeout_ns);
}

int ls_events(const char *pattern, bool json, bool following, int64_t timeout_ns) {
    static const struct kind kind = {
        "events",
        "SERVICE                       EVENT   PUBLISHED  CACHED      SIZE  TOPIC  VALUE\n",
        add_events,
    };

    return list(&kind, pattern, json, following, timeout_ns);
}
