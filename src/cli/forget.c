/* SPDX-License-Identifier: MIT
 *
 * tram forget: a host that does not come back, and what it had.
 */
#include <string.h>
#include <unistd.h>

#include "cli/ask.h"

#define TIMEOUT_MS 10000u

typedef Tram__Control__Left left_words;

/* What is told of nodes, one after the other. */
struct list {
    struct buf buf;
    tram_id last;
    uint64_t count, waiting, arrived;
    bool json, first;
};

static void on_left(void *arg, const ask_frame *frame) {
    struct list *list = arg;
    const left_words *left = frame->left;
    char id[TRAM_ID_TEXT];
    bool first = true;

    if (frame->kind_case != TRAM__CONTROL__FRAME__KIND_LEFT)
        return;
    list->last = left->id;
    list->count++;
    list->waiting += left->waiting;
    list->arrived += left->arrived;
    if (list->json) {
        json_item(&list->buf, &list->first);
        buf_char(&list->buf, '{');
        json_member_id(&list->buf, &first, "id", left->id);
        json_member_text(&list->buf, &first, "host", left->host);
        json_member_number(&list->buf, &first, "epoch", left->epoch);
        json_member_number(&list->buf, &first, "waiting", left->waiting);
        json_member_number(&list->buf, &first, "arrived", left->arrived);
        buf_char(&list->buf, '}');
    } else {
        buf_format(&list->buf, "%-15s  %7llu  %7llu\n", tram_id_format(left->id, id),
                   (unsigned long long) left->waiting, (unsigned long long) left->arrived);
    }
}

/* What is placed there, all of it. */
static enum cli_exit list_left(struct ask *ask, const char *host, int64_t timeout_ns,
                               struct list *list) {
    enum cli_exit code;
    uint64_t before;

    do {
        before = list->count;
        code = ask_now(ask, ASK_LEFT, list->last, host, timeout_ns, on_left, list);
    } while (code == CLI_OK && list->count > before);
    return code;
}

static int show_left(struct list *list, const char *host) {
    struct buf buf = { 0 };
    bool first = true;
    int rc;

    if (list->json) {
        buf_char(&buf, '{');
        json_member_text(&buf, &first, "host", host);
        json_key(&buf, &first, "nodes");
        buf_char(&buf, '[');
    } else if (list->count > 0) {
        buf_format(&buf, "%-15s  %7s  %7s\n", "NODE", "WAITING", "ARRIVED");
    }
    if (list->buf.used > 0)
        buf_bytes(&buf, list->buf.data, list->buf.used);
    if (list->json)
        buf_text(&buf, "]}\n");
    else
        buf_format(&buf, "%llu nodes are known here to be placed on host %s. What they had sent, "
                   "and had not crossed, only that host has.\n",
                   (unsigned long long) list->count, host);
    rc = buf_write(&buf, STDOUT_FILENO);
    buf_free(&buf);
    return rc;
}

int verb_forget(int argc, char **argv) {
    enum { LIST = CLI_OPT_OWN };
    static const struct option options[] = {
        { "timeout", required_argument, NULL, 't' },
        { "json", no_argument, NULL, 'j' },
        { "list", no_argument, NULL, LIST },
        CLI_COMMON,
    };
    struct list list = { .first = true };
    uint64_t timeout = TIMEOUT_MS;
    enum cli_exit code;
    bool only = false;
    struct ask ask;
    int option;

    while ((option = cli_option(argc, argv, "t:j", options)) >= 0) {
        list.json |= option == 'j';
        only |= option == LIST;
        if (option == 't')
            timeout = cli_number("--timeout", optarg, 1, 3600000);
    }
    cli_operands(argc, 1, 1);
    cli_catch_signals();
    if (!ask_open(&ask, &code))
        return (int) code;
    code = list_left(&ask, argv[optind], (int64_t) timeout * 1000000, &list);
    if (code == CLI_OK && show_left(&list, argv[optind]) < 0)
        code = CLI_FAILURE;
    if (code == CLI_OK && !only)
        code = ask_now(&ask, ASK_FORGET, 0, argv[optind], (int64_t) timeout * 1000000, NULL, NULL);
    ask_close(&ask);
    buf_free(&list.buf);
    return (int) code;
}
