/* SPDX-License-Identifier: MIT */
#include "cli/cluster.h"

#include <string.h>
#include <unistd.h>

#define TIMEOUT_NS INT64_C(5000000000)
#define EVERY_NS UINT64_C(1000000000)

struct list {
    const struct cluster_kind *kind;
    struct buf buf;          /* of this turn */
    struct buf shown;        /* of the last one */
    bool json, following, first;
};

static void on_answer(void *arg, const ask_frame *frame) {
    struct list *list = arg;
    struct buf one = { 0 };

    if (list->kind->one(&one, frame, list->json)) {
        if (list->json)
            json_item(&list->buf, &list->first);
        buf_bytes(&list->buf, one.data, one.used);
    }
    buf_free(&one);
}

static void begin(struct list *list) {
    bool first = true;

    list->first = true;
    if (list->json) {
        buf_char(&list->buf, '{');
        json_member_text(&list->buf, &first, "bus", cli_bus_name());
        json_key(&list->buf, &first, list->kind->member);
        buf_char(&list->buf, '[');
    } else {
        list->kind->head(&list->buf);
    }
}

static int show(struct list *list) {
    bool same = list->kind->changes && list->shown.used == list->buf.used && list->buf.used > 0 &&
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
        code = ask_now(&ask, list->kind->what, 0, NULL, TIMEOUT_NS, on_answer, list);
        if (list->json)
            buf_text(&list->buf, "]}\n");
        if (code == CLI_OK && show(list) < 0)
            code = CLI_FAILURE;
        while (list->following && code == CLI_OK && !cli_stop && cli_now() < until)
            cli_wait(-1, (int64_t) (until - cli_now()));
    } while (list->following && code == CLI_OK && !cli_stop);
    ask_close(&ask);
    return code == CLI_INTERRUPTED && list->following ? CLI_OK : code;
}

int cluster_verb(int argc, char **argv, const struct cluster_kind *kind) {
    static const struct option options[] = {
        { "json", no_argument, NULL, 'j' },
        { "follow", no_argument, NULL, 'f' },
        CLI_COMMON,
    };
    struct list list = { .kind = kind };
    enum cli_exit code;
    int option;

    while ((option = cli_option(argc, argv, "jf", options)) >= 0) {
        list.json |= option == 'j';
        list.following |= option == 'f';
    }
    cli_operands(argc, 0, 0);
    cli_catch_signals();
    code = run(&list);
    buf_free(&list.buf);
    buf_free(&list.shown);
    return (int) code;
}
