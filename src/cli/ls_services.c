/* SPDX-License-Identifier: MIT
 *
 * tram ls services: which names are served, as the daemon tells; with --follow, what changes.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/service.h"

struct served {
    char *name, *program, *address, *host; /* host "": this one */
    tram_id node;
    int32_t pid;
};

struct list {
    struct reach reach;
    struct served *served;
    size_t count;
    bool json, following, told, failed;
};

static void served_free(struct served *served) {
    free(served->name);
    free(served->program);
    free(served->address);
    free(served->host);
}

static void json_served(struct buf *buf, bool first, const struct served *served) {
    json_member_text(buf, &first, "name", served->name);
    json_member_id(buf, &first, "node", served->node);
    json_member_number(buf, &first, "pid", (uint64_t) served->pid);
    json_member_text(buf, &first, "program", served->program);
    json_member_text(buf, &first, "address", served->address);
    json_member_text(buf, &first, "host", served->host);
    buf_char(buf, '}');
}

static void text_served(struct buf *buf, const struct served *served) {
    char id[TRAM_ID_TEXT], name[256];

    (void) snprintf(name, sizeof(name), "%s%s%s", served->name, *served->host ? "@" : "",
                    served->host);
    buf_format(buf, "%-23s  %-15s  %7" PRId32 "  ", name,
               tram_id_format(served->node, id), served->pid);
    buf_preview(buf, served->program, strlen(served->program));
    buf_text(buf, "  ");
    buf_preview(buf, served->address, strlen(served->address));
    buf_char(buf, '\n');
}

static int by_name(const void *a, const void *b) {
    const struct served *one = a, *two = b;
    int order = strcmp(one->name, two->name);

    return order != 0 ? order : strcmp(one->host, two->host);
}

static int show_all(struct list *list) {
    struct buf buf = {0};
    bool first = true, item = true;
    int rc;

    if (list->count > 0)
        qsort(list->served, list->count, sizeof(*list->served), by_name);
    if (list->json) {
        buf_char(&buf, '{');
        json_member_text(&buf, &first, "bus", cli_bus_name());
        json_member_text(&buf, &first, "path", cli_bus_path());
        json_key(&buf, &first, "services");
        buf_char(&buf, '[');
    } else {
        buf_format(&buf, "%-23s  %-15s  %7s  %s\n", "SERVICE", "NODE", "PID", "PROGRAM, ADDRESS");
    }
    for (size_t i = 0; i < list->count; i++) {
        if (list->json) {
            json_item(&buf, &item);
            buf_char(&buf, '{');
            json_served(&buf, true, &list->served[i]);
        } else {
            text_served(&buf, &list->served[i]);
        }
    }
    if (list->json)
        buf_text(&buf, "]}\n");
    rc = buf_write(&buf, STDOUT_FILENO);
    buf_free(&buf);
    return rc;
}

static int show_change(const struct list *list, bool online, const struct served *served) {
    struct timespec now = {0};
    struct buf buf = {0};
    bool first = true;
    struct tm tm;
    char text[32];
    int rc;

    (void) clock_gettime(CLOCK_REALTIME, &now); /* cannot fail with these arguments */
    if (list->json) {
        buf_char(&buf, '{');
        json_member_text(&buf, &first, "event", online ? "online" : "offline");
        json_member_number(&buf, &first, "time_ns",
                           (uint64_t) now.tv_sec * 1000000000 + (uint64_t) now.tv_nsec);
        json_served(&buf, false, served);
        buf_char(&buf, '\n');
    } else {
        if (localtime_r(&now.tv_sec, &tm) && strftime(text, sizeof(text), "%H:%M:%S", &tm) > 0)
            buf_format(&buf, "%s.%03ld  ", text, now.tv_nsec / 1000000);
        buf_format(&buf, "%-7s  ", online ? "online" : "offline");
        text_served(&buf, served);
    }
    rc = buf_write(&buf, STDOUT_FILENO);
    buf_free(&buf);
    return rc;
}

static void on_name(enum tram_state state, const struct tram_party *who, void *arg) {
    struct list *list = arg;
    struct served *more, now;

    if (!who) {
        if (!list->told)
            list->failed |= show_all(list) < 0;
        list->told = true;
        return;
    }
    now = (struct served){strdup(who->name), strdup(who->program), strdup(who->address),
                          strdup(who->host), who->node, who->pid};
    if (!now.name || !now.program || !now.address || !now.host) {
        list->failed = true;
    } else if (list->told) {
        if (list->following) /* else it came in the same turn, and the list is out */
            list->failed |= show_change(list, state == TRAM_STATE_ONLINE, &now) < 0;
    } else if (state == TRAM_STATE_ONLINE) {
        more = realloc(list->served, (list->count + 1) * sizeof(*more));
        if (more) {
            list->served = more;
            list->served[list->count++] = now;
            return;
        }
        list->failed = true;
    }
    served_free(&now);
}

static enum cli_exit run(struct list *list, const char *pattern) {
    tram_name_watch *watch;
    enum cli_exit code;

    if (!list->following && !service_daemon())
        return CLI_NOT_FOUND;
    if (!reach_open(&list->reach, NULL, NULL, &code))
        return code;
    if (tram_name_watch_new(list->reach.worker, pattern, on_name, list, &watch) < 0) {
        cli_error("%s", tram_worker_error(list->reach.worker)->text);
        reach_close(&list->reach);
        return CLI_USAGE;
    }
    code = reach_until(&list->reach, &list->told);
    if (code == CLI_TIMEOUT)
        cli_error("the daemon did not answer in time");
    if (code == CLI_OK && list->following) {
        list->reach.until = UINT64_MAX;
        code = reach_until(&list->reach, &list->failed);
        code = code == CLI_INTERRUPTED ? CLI_OK : code;
    }
    reach_close(&list->reach);
    return code == CLI_OK && list->failed ? CLI_FAILURE : code;
}

int ls_services(const char *pattern, bool json, bool following, int64_t timeout_ns) {
    struct list list = {.reach.timeout_ns = timeout_ns, .json = json, .following = following};
    enum cli_exit code;

    if (pattern && strncmp(pattern, "svc://", 6) == 0)
        pattern += 6;
    cli_catch_signals();
    code = run(&list, pattern ? pattern : "*");
    for (size_t i = 0; i < list.count; i++)
        served_free(&list.served[i]);
    free(list.served);
    return (int) code;
}
