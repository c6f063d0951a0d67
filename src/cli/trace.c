/* SPDX-License-Identifier: MIT
 *
 * tram trace: where is my message? The ring on the sender's host, its copy on the receiver's, how
 * far each is, and what it waits for. On a bus that is part of no cluster, or while no tramd runs,
 * that is what the files here say; else each host that has to do with it is asked.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/ask.h"
#include "cli/trace.h"

#define TIMEOUT_NS INT64_C(5000000000)

/* ---- views ----------------------------------------------------------------------------------- */

/* Of a frame that does not stay. */
static void keep(void *arg, const ask_frame *frame) {
    struct trace *trace = arg;
    view_words *view;
    uint8_t *bytes;
    size_t size;

    if (frame->kind_case != TRAM__CONTROL__FRAME__KIND_VIEW || trace->count >= TRACE_VIEWS)
        return;
    size = tram__control__view__get_packed_size(frame->view);
    bytes = malloc(size > 0 ? size : 1);
    if (!bytes)
        return;
    (void) tram__control__view__pack(frame->view, bytes);
    view = tram__control__view__unpack(NULL, size, bytes);
    free(bytes);
    if (view)
        trace->views[trace->count++] = view;
}

static void local_node(struct observe *observe, tram_id id, struct observe_node *node,
                       view_node *words) {
    tram__control__view__node__init(words);
    if (observe_node(observe, id, node) < 0)
        return;
    words->known = true;
    words->up = node->up;
    words->asleep = node->asleep;
    words->pid = node->pid;
    words->program = node->program;
    words->opens = node->opens;
    words->host = node->host;
    words->epoch = node->epoch;
}

/* What the files here say. `host`: "" on a bus of its own. */
static bool local(struct trace *trace, enum cli_exit *ret_code) {
    struct observe *observe = cli_observe(ret_code);
    struct observe_node sender, receiver;
    struct observe_channel channel;
    view_node from, to;
    view_words view;
    ask_frame frame;

    if (!observe)
        return false;
    tram__control__view__init(&view);
    local_node(observe, trace->from, &sender, &from);
    local_node(observe, trace->to, &receiver, &to);
    view.sender = &from;
    view.receiver = &to;
    if (observe_channel(observe, trace->from, trace->to, &channel) == 0 && channel.streams > 0) {
        view.ring = true;
        view.mirror = from.known && sender.away;
        view.stream = channel.id;
        view.state = (char *) (uintptr_t) observe_state_name(channel.state);
        view.accepted = channel.accepted;
        view.consumed = channel.consumed;
        view.bytes = channel.waiting_bytes;
        view.capacity = channel.capacity;
        view.position = channel.position;
        view.aside = channel.aside;
        view.note = channel.note;
    }
    if (from.known && !sender.away) /* this is the host that has one of them */
        view.host = sender.host;
    else if (to.known && !receiver.away)
        view.host = receiver.host;
    trace->alone = !(to.known && *receiver.host) && !(from.known && *sender.host);
    tram__control__frame__init(&frame);
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_VIEW;
    frame.view = &view;
    keep(trace, &frame);
    (void) observe_close(observe);
    return true;
}

static void ask_hosts(struct trace *trace, struct ask *ask, enum cli_exit *ret_code) {
    ask->from = trace->from;
    ask->quiet = true; /* no cluster: what the files say */
    *ret_code = ask_now(ask, ASK_TRACE, trace->to, NULL, TIMEOUT_NS, keep, trace);
    ask_close(ask);
}

/* ---- which is which -------------------------------------------------------------------------- */

/* Where a node is placed, as whoever knows the newest says. */
static const char *placed(const struct trace *trace, bool sender) {
    const view_node *best = NULL;

    for (size_t i = 0; i < trace->count; i++) {
        const view_node *node = sender ? trace->views[i]->sender : trace->views[i]->receiver;

        if (node && *node->host && (!best || node->epoch > best->epoch))
            best = node;
    }
    return best ? best->host : "";
}

static const view_words *view_of(const struct trace *trace, const char *host) {
    for (size_t i = 0; i < trace->count; i++)
        if (strcmp(trace->views[i]->host, host) == 0)
            return trace->views[i];
    return NULL;
}

static void sort_out(struct trace *trace) {
    trace->sender_host = placed(trace, true);
    trace->receiver_host = placed(trace, false);
    for (size_t i = 0; i < trace->count; i++) {
        const view_words *view = trace->views[i];

        if (!view->ring || view->mirror)
            continue;
        if (!trace->origin || strcmp(view->host, trace->sender_host) == 0)
            trace->origin = view;
    }
    for (size_t i = 0; i < trace->count; i++) {
        const view_words *view = trace->views[i];

        if (view->ring && view->mirror && (!trace->mirror ||
                                           strcmp(view->host, trace->receiver_host) == 0))
            trace->mirror = view;
    }
    trace->crosses = trace->origin && *trace->receiver_host && *trace->origin->host &&
                     strcmp(trace->origin->host, trace->receiver_host) != 0;
    trace->sent = trace->origin ? trace->origin->accepted
                  : trace->mirror ? trace->mirror->accepted : 0;
    trace->consumed = trace->origin ? trace->origin->consumed
                      : trace->mirror ? trace->mirror->consumed : 0;
    trace->arrived = trace->crosses || !trace->origin ? 0 : trace->sent;
    if (trace->mirror && (!trace->origin || trace->mirror->stream == trace->origin->stream)) {
        trace->arrived = trace->mirror->accepted;
        if (trace->mirror->consumed > trace->consumed)
            trace->consumed = trace->mirror->consumed;
    } else if (trace->crosses) {
        trace->arrived = trace->consumed; /* as far as is known */
        trace->older = trace->mirror != NULL;
    }
}

/* ---- what it waits for ----------------------------------------------------------------------- */

static struct cause because(const char *word, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static struct cause because(const char *word, const char *format, ...) {
    struct cause cause = { .word = word };
    va_list args;

    va_start(args, format);
    (void) vsnprintf(cause.text, sizeof(cause.text), format, args);
    va_end(args);
    return cause;
}

/* A message that lies where its receiver is. */
static struct cause at_receiver(const struct trace *trace, const view_words *view) {
    const view_node *node = view->receiver;
    char id[TRAM_ID_TEXT];

    (void) tram_id_format(trace->to, id);
    if (strcmp(view->state, "closed") == 0)
        return because("removed", "%s was removed (tram rm)", id);
    if (strcmp(view->state, "broken") == 0 || strcmp(view->state, "damaged") == 0)
        return because(view->state, "the ring is %s: %.100s", view->state, view->note);
    if (node->up && node->asleep)
        return because("receiver-asleep", "%s (pid %d, %s) sleeps, and is rung", id, node->pid,
                       node->program);
    if (node->up)
        return because("receiver-busy", "%s (pid %d, %s) runs, and has not released it", id,
                       node->pid, node->program);
    if (node->opens > 0)
        return because("receiver-down", "%s does not run; the last was pid %d, %s", id, node->pid,
                       node->program);
    return because("receiver-never", "%s was never opened", id);
}

static const char *span(uint64_t ns, char text[32]) {
    if (ns < 1000000)
        (void) snprintf(text, 32, "%.3f ms", (double) ns / 1e6);
    else if (ns < 1000000000)
        (void) snprintf(text, 32, "%.0f ms", (double) ns / 1e6);
    else if (ns < UINT64_C(120000000000))
        (void) snprintf(text, 32, "%.1f s", (double) ns / 1e9);
    else
        (void) snprintf(text, 32, "%.0f min", (double) ns / 6e10);
    return text;
}

/* Words of enum link_answer (wire/link.h), from LINK_WAIT on. */
static const struct {
    const char *word, *text;
} answers[] = {
    { "older-stream", "an older stream of the two lies there, and is drained first" },
    { "place-old", "it is not placed there any more; the directory is being asked" },
    { "fenced", "the sender is placed elsewhere by now" },
    { "removed", "the receiver was removed there" },
    { "broken", "nonsense was seen in it" },
    { "denied", "its config does not allow it" },
    { "later", "it does not know yet where the sender is placed, or lacks memory" },
};

/* A message that has not left the sender's host. */
static struct cause at_origin(const struct trace *trace) {
    const view_words *view = trace->origin;
    char id[TRAM_ID_TEXT], text[32];

    if (trace->daemonless)
        return because("no-daemon", "no tramd runs here: nothing crosses to %s",
                       trace->receiver_host);
    if (!view->link_up)
        return because("link-down", "no link from %s to %s%s%s%s%.120s", view->host,
                       trace->receiver_host, view->heard_ns > 0 ? ", nothing heard for " : "",
                       view->heard_ns > 0 ? span(view->heard_ns, text) : "",
                       *view->error ? ": " : "", view->error);
    if (!view->held)
        return because("not-held", "the daemon of %s does not stand in for %s yet", view->host,
                       tram_id_format(trace->to, id));
    if (view->answer > 0 && view->answer <= sizeof(answers) / sizeof(answers[0]))
        return because(answers[view->answer - 1].word, "host %s: %s", trace->receiver_host,
                       answers[view->answer - 1].text);
    if (!view->carried || !view->open)
        return because("opening", "the channel is being opened on the link to %s",
                       trace->receiver_host);
    if (view->stalled)
        return because("stalled", "%s has no memory for it", trace->receiver_host);
    if (view->sent < view->accepted && view->credit == 0)
        return because("mirror-full", "its ring on %s is full", trace->receiver_host);
    if (view->sent < view->accepted)
        return because("sending", "it is being sent to %s", trace->receiver_host);
    return because("acknowledgement", "all was sent, and %s did not say yet that it has it",
                   trace->receiver_host);
}

static struct cause cause_of(const struct trace *trace, uint64_t number) {
    const view_words *there = *trace->receiver_host ? view_of(trace, trace->receiver_host) : NULL;

    if (number <= trace->consumed)
        return because("nothing", "it was consumed");
    if (number > trace->sent && trace->origin)
        return because("sender", "there is no message %" PRIu64 " yet", number);
    if (trace->origin && !trace->alone && !trace->crosses && !*trace->receiver_host)
        return because("place-unknown", "nobody knows yet on which host the receiver is placed");
    if (trace->origin && !trace->crosses)
        return at_receiver(trace, trace->origin);
    if (number <= trace->arrived && trace->mirror)
        return at_receiver(trace, trace->mirror);
    if (trace->origin && !trace->origin->link_up)
        return at_origin(trace);
    if (there && *there->silent)
        return because("host-silent", "host %s does not say: %.120s", there->host, there->silent);
    return trace->origin ? at_origin(trace)
                         : because("host-silent", "the sender's host could not be asked");
}

/* ---- the verb -------------------------------------------------------------------------------- */

static enum cli_exit tell(struct trace *trace) {
    char from[TRAM_ID_TEXT], to[TRAM_ID_TEXT];
    struct buf buf = { 0 };
    int rc;

    sort_out(trace);
    if (!trace->origin && !trace->mirror) {
        bool silent = false;

        for (size_t i = 0; i < trace->count; i++)
            silent |= *trace->views[i]->silent != '\0';
        cli_error("%s has sent nothing to %s%s", tram_id_format(trace->from, from),
                  tram_id_format(trace->to, to),
                  silent ? ", as far as those hosts know that could be asked" : "");
        return CLI_NOT_FOUND;
    }
    trace->number = trace->wanted > 0 ? trace->wanted
                    : trace->consumed < trace->sent ? trace->consumed + 1 : trace->sent;
    trace->cause = cause_of(trace, trace->number);
    trace_print(trace, &buf);
    rc = buf_write(&buf, STDOUT_FILENO);
    buf_free(&buf);
    return rc < 0 ? CLI_FAILURE : CLI_OK;
}

static enum cli_exit run(struct trace *trace) {
    enum cli_exit code = CLI_OK;
    struct ask ask;

    if (ask_try(&ask))
        ask_hosts(trace, &ask, &code);
    else
        trace->daemonless = true;
    if (code == CLI_INTERRUPTED || code == CLI_TIMEOUT)
        return code;
    if (trace->count == 0 && !local(trace, &code))
        return code;
    return tell(trace);
}

int verb_trace(int argc, char **argv) {
    enum { FROM = CLI_OPT_OWN, TO, SEQ, JSON };
    static const struct option options[] = {
        { "from", required_argument, NULL, FROM },
        { "to", required_argument, NULL, TO },
        { "seq", required_argument, NULL, SEQ },
        { "json", no_argument, NULL, JSON },
        CLI_COMMON,
    };
    struct trace trace = { 0 };
    enum cli_exit code;
    int option;

    while ((option = cli_option(argc, argv, "h", options)) >= 0) {
        if (option == FROM)
            trace.from = cli_id("--from", optarg);
        else if (option == TO)
            trace.to = cli_id("--to", optarg);
        else if (option == SEQ)
            trace.wanted = cli_number("--seq", optarg, 1, UINT64_MAX);
        trace.json |= option == JSON;
    }
    cli_operands(argc, 0, 0);
    if (trace.from == 0 || trace.to == 0)
        cli_usage("--%s is missing", trace.from == 0 ? "from" : "to");
    cli_catch_signals();
    code = run(&trace);
    while (trace.count > 0)
        tram__control__view__free_unpacked(trace.views[--trace.count], NULL);
    return (int) code;
}
