/* SPDX-License-Identifier: MIT
 *
 * tram ping --host, --hosts: how long another host's daemon takes to say that it is there, and
 * where that time goes: to the daemon here and back; on the link; in the two daemons.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/ping_hosts.h"

struct round {
    struct buf buf;
    bool json;
    uint64_t began, asked, silent;
};

static uint64_t without(uint64_t all, uint64_t part) {
    return all > part ? all - part : 0;
}

static void on_view(void *arg, const ask_frame *frame) {
    struct round *round = arg;
    const Tram__Control__View *view = frame->view;
    uint64_t all = cli_now() - round->began, link = 0;
    bool first = true;

    if (frame->kind_case != TRAM__CONTROL__FRAME__KIND_VIEW)
        return;
    round->asked++;
    round->silent += *view->silent != '\0';
    link = view->link_ns < view->took_ns ? view->link_ns : view->took_ns;
    if (round->json) {
        buf_char(&round->buf, '{');
        json_member_text(&round->buf, &first, "host", view->host);
        json_member_bool(&round->buf, &first, "answered", *view->silent == '\0');
        if (*view->silent) {
            json_member_text(&round->buf, &first, "silent", view->silent);
        } else {
            json_member_number(&round->buf, &first, "time_ns", all);
            json_member_number(&round->buf, &first, "here_ns", without(all, view->took_ns));
            json_member_number(&round->buf, &first, "link_ns", link);
            json_member_number(&round->buf, &first, "daemons_ns", without(view->took_ns, link));
        }
        buf_text(&round->buf, "}\n");
        return;
    }
    buf_preview(&round->buf, view->host, strlen(view->host));
    if (*view->silent) {
        buf_text(&round->buf, ": no answer: ");
        buf_preview(&round->buf, view->silent, strlen(view->silent));
        buf_char(&round->buf, '\n');
        return;
    }
    buf_format(&round->buf, ": %.3f ms: %.3f to the daemon here, %.3f on the link, %.3f in the two "
               "daemons\n", (double) all / 1e6, (double) without(all, view->took_ns) / 1e6,
               (double) link / 1e6, (double) without(view->took_ns, link) / 1e6);
}

static enum cli_exit once(struct ask *ask, const char *host, int64_t timeout_ns, bool json) {
    struct round round = { .json = json, .began = cli_now() };
    enum cli_exit code = ask_now(ask, ASK_THERE, 0, host, timeout_ns, on_view, &round);

    if (buf_write(&round.buf, STDOUT_FILENO) < 0)
        code = CLI_FAILURE;
    buf_free(&round.buf);
    return code == CLI_OK && round.silent > 0 ? CLI_TIMEOUT : code;
}

enum cli_exit ping_hosts(const char *host, uint64_t count, uint64_t interval_ns,
                         int64_t timeout_ns, bool json) {
    enum cli_exit code, worst = CLI_OK;
    struct ask ask;

    if (!ask_open(&ask, &code))
        return code;
    for (uint64_t i = 0; i < count && !cli_stop; i++) {
        uint64_t until = cli_now() + interval_ns;

        code = once(&ask, host, timeout_ns, json);
        worst = code == CLI_OK || code == CLI_INTERRUPTED ? worst : code;
        if (code != CLI_OK && code != CLI_TIMEOUT)
            break;
        while (i + 1 < count && !cli_stop && cli_now() < until)
            cli_wait(-1, (int64_t) (until - cli_now()));
    }
    ask_close(&ask);
    return worst;
}
