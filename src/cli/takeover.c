/* SPDX-License-Identifier: MIT
 *
 * tram takeover: a node whose host is not there.
 */
#include <unistd.h>

#include "cli/ask.h"

#define TIMEOUT_MS 10000u

/* Whose it was. */
struct list {
    struct buf buf;
    bool json, told;
};

static void json_whose(struct buf *buf, const char *id, const char *host, uint64_t epoch) {
    bool first = true;

    buf_char(buf, '{');
    json_member_text(buf, &first, "id", id);
    json_member_text(buf, &first, "host", host);
    json_member_number(buf, &first, "epoch", epoch);
    buf_text(buf, "}\n");
}

static void on_whose(void *arg, const ask_frame *frame) {
    struct list *list = arg;
    const Tram__Control__Left *left = frame->left;
    char id[TRAM_ID_TEXT];

    if (frame->kind_case != TRAM__CONTROL__FRAME__KIND_LEFT)
        return;
    list->told = true;
    if (list->json)
        json_whose(&list->buf, tram_id_format(left->id, id), left->host, left->epoch);
    else
        buf_format(&list->buf, "%s was host %s's; it is placed here now, for the %llu. time\n",
                   tram_id_format(left->id, id), left->host, (unsigned long long) left->epoch);
}

/* Nobody had it, or we. */
static void say_nobody(struct list *list, tram_id id, const struct ask *ask) {
    char text[TRAM_ID_TEXT];

    if (list->json)
        json_whose(&list->buf, tram_id_format(id, text), "", 0);
    else
        buf_format(&list->buf, "%s: %s\n", tram_id_format(id, text),
                   *ask->said ? ask->said : "nobody had it");
}

int verb_takeover(int argc, char **argv) {
    static const struct option options[] = {
        { "timeout", required_argument, NULL, 't' },
        { "json", no_argument, NULL, 'j' },
        CLI_COMMON,
    };
    struct list list = { 0 };
    uint64_t timeout = TIMEOUT_MS;
    enum cli_exit code;
    struct ask ask;
    tram_id id;
    int option;

    while ((option = cli_option(argc, argv, "t:j", options)) >= 0) {
        list.json |= option == 'j';
        if (option == 't')
            timeout = cli_number("--timeout", optarg, 1, 3600000);
    }
    cli_operands(argc, 1, 1);
    id = cli_id("ID", argv[optind]);
    cli_catch_signals();
    if (!ask_open(&ask, &code))
        return (int) code;
    code = ask_now(&ask, ASK_TAKEOVER, id, NULL, (int64_t) timeout * 1000000, on_whose, &list);
    if (code == CLI_OK && !list.told)
        say_nobody(&list, id, &ask);
    if (code == CLI_OK && buf_write(&list.buf, STDOUT_FILENO) < 0)
        code = CLI_FAILURE;
    ask_close(&ask);
    buf_free(&list.buf);
    return (int) code;
}
