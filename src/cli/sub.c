/* SPDX-License-Identifier: MIT
 *
 * tram sub: events of a service as lines, JSON or bytes; or how many there are, and how large.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/service.h"
#include "service/inspect.h"

#define SECOND UINT64_C(1000000000)

struct sub {
    struct reach reach;
    const char *topic, *type, *durable;
    uint32_t event, initial;
    uint64_t count;       /* to be shown; 0: no limit */
    bool json, raw, hz, bw, block;
    struct reflect *reflect;
    uint64_t seen, bytes, missed;
    uint64_t since, seen_then, bytes_then;
    bool done;
    enum cli_exit code;
    struct buf out;
};

/* ---- one event ------------------------------------------------------------------------------- */

static bool typed(struct sub *sub, const struct tram_view *view, bool *first) {
    char text[REFLECT_TEXT] = "no memory", *json, *copy = calloc(1, view->size + 1);
    size_t length;

    if (copy && view->size > 0)
        memcpy(copy, view->data, view->size); /* the publisher could change it while we read */
    if (!copy ||
        reflect_to_json(sub->reflect, sub->type, copy, view->size, &json, &length, text) < 0) {
        cli_error("event %" PRIu32 " %s: %s", view->code, view->topic, text);
        free(copy);
        return false;
    }
    if (sub->json)
        json_key(&sub->out, first, "value");
    buf_bytes(&sub->out, json, length);
    free(json);
    free(copy);
    return true;
}

static void as_json(struct sub *sub, const struct tram_view *view) {
    bool first = true;

    buf_char(&sub->out, '{');
    json_member_number(&sub->out, &first, "number", view->code);
    json_member_text(&sub->out, &first, "topic", view->topic);
    json_member_number(&sub->out, &first, "size", view->size);
    json_member_number(&sub->out, &first, "missed", view->missed);
    json_member_bool(&sub->out, &first, "initial", view->flags & TRAM_VIEW_INITIAL);
    if (!sub->reflect || !typed(sub, view, &first))
        json_member_payload(&sub->out, &first, view->data, view->size);
    buf_text(&sub->out, "}\n");
}

static void show(struct sub *sub, const struct tram_view *view) {
    bool first = true;

    if (sub->json) {
        as_json(sub, view);
    } else if (sub->raw) {
        buf_bytes(&sub->out, view->data, view->size);
    } else {
        buf_format(&sub->out, "%" PRIu32 " ", view->code);
        if (*view->topic)
            buf_preview(&sub->out, view->topic, strlen(view->topic));
        else
            buf_char(&sub->out, '-');
        buf_char(&sub->out, ' ');
        if (!sub->reflect || !typed(sub, view, &first))
            buf_preview(&sub->out, view->data, view->size);
        buf_char(&sub->out, '\n');
    }
    if (buf_write(&sub->out, STDOUT_FILENO) < 0) {
        sub->code = CLI_FAILURE;
        sub->done = true;
    }
}

static void on_event(tram_subscription *subscription, const struct tram_view *view, int status,
                     void *arg) {
    struct sub *sub = arg;

    (void) subscription;
    if (!view) {
        cli_error("%s cut the subscription off: %s", sub->reach.address, strerror(-status));
        sub->code = CLI_FAILURE;
        sub->done = true;
        return;
    }
    if (sub->done)
        return;
    sub->seen++;
    sub->bytes += view->size;
    sub->missed += view->missed;
    if (!sub->hz && !sub->bw)
        show(sub, view);
    sub->done |= sub->count > 0 && sub->seen == sub->count;
}

/* ---- rates ----------------------------------------------------------------------------------- */

static void show_rate(struct sub *sub) {
    uint64_t now = cli_now();
    double seconds = (double) (now - sub->since) / 1e9;
    double hz = (double) (sub->seen - sub->seen_then) / seconds;
    double bw = (double) (sub->bytes - sub->bytes_then) / seconds;
    bool first = true;

    sub->since = now;
    sub->seen_then = sub->seen;
    sub->bytes_then = sub->bytes;
    if (sub->json) {
        buf_char(&sub->out, '{');
        json_key(&sub->out, &first, "hz");
        buf_format(&sub->out, "%.1f", hz);
        json_key(&sub->out, &first, "bytes_per_s");
        buf_format(&sub->out, "%.0f", bw);
        json_member_number(&sub->out, &first, "events", sub->seen);
        json_member_number(&sub->out, &first, "bytes", sub->bytes);
        json_member_number(&sub->out, &first, "missed", sub->missed);
        buf_text(&sub->out, "}\n");
    } else {
        if (sub->hz)
            buf_format(&sub->out, "%.1f events/s  ", hz);
        if (sub->bw)
            buf_format(&sub->out, "%.3f MB/s  ", bw / 1e6);
        buf_format(&sub->out, "%" PRIu64 " events, %" PRIu64 " missed\n", sub->seen, sub->missed);
    }
    if (buf_write(&sub->out, STDOUT_FILENO) < 0) {
        sub->code = CLI_FAILURE;
        sub->done = true;
    }
}

/* ---- running --------------------------------------------------------------------------------- */

static enum cli_exit learn(struct sub *sub) {
    enum cli_exit code;
    char text[REFLECT_TEXT];
    inspection *said;
    int rc = -EINVAL;

    if (!sub->type)
        return CLI_OK;
    said = reach_inspect(&sub->reach, INSPECT_ALL, &code);
    if (!said)
        return code;
    if (said->descriptors.len == 0)
        cli_error("%s gave no descriptors", sub->reach.address);
    else if ((rc = reflect_new(said->descriptors.data, said->descriptors.len, &sub->reflect,
                               text)) < 0)
        cli_error("%s: %s", sub->reach.address, text);
    (void) inspection_free(said);
    return rc < 0 ? CLI_FAILURE : CLI_OK;
}

static enum cli_exit listen_on(struct sub *sub) {
    bool rates = sub->hz || sub->bw;
    uint64_t until = sub->reach.until;
    enum cli_exit code = CLI_OK;

    while (!sub->done) {
        uint64_t next = rates ? sub->since + SECOND : UINT64_MAX;

        sub->reach.until = next < until ? next : until;
        code = reach_until(&sub->reach, &sub->done);
        if (rates && (code == CLI_OK || code == CLI_TIMEOUT || code == CLI_INTERRUPTED))
            show_rate(sub);
        if (code == CLI_TIMEOUT && sub->reach.until != until)
            continue;
        if (code != CLI_OK)
            break;
    }
    if (code == CLI_INTERRUPTED && sub->count == 0)
        code = CLI_OK;
    if (code == CLI_TIMEOUT)
        cli_error("%" PRIu64 " events came in time", sub->seen);
    return sub->done ? sub->code : code;
}

static enum cli_exit run(struct sub *sub) {
    struct tram_subscribe_options options = TRAM_SUBSCRIBE_OPTIONS_INIT;
    struct tram_client_options client = TRAM_CLIENT_OPTIONS_INIT;
    tram_subscription *subscription;
    enum cli_exit code;

    client.flags = TRAM_CLIENT_WAIT;
    if (!reach_open(&sub->reach, sub->reach.address, &client, &code))
        return code;
    options.initial = sub->initial;
    options.durable = sub->durable;
    options.delivery = sub->block ? TRAM_DELIVER_BLOCK : TRAM_DELIVER_LATEST_ALL;
    code = learn(sub);
    if (code == CLI_OK && tram_client_subscribe(sub->reach.client, sub->event, sub->topic, &options,
                                                on_event, sub, &subscription) < 0)
        code = cli_failed(tram_worker_error(sub->reach.worker));
    sub->since = cli_now();
    if (code == CLI_OK)
        code = listen_on(sub);
    reach_close(&sub->reach);
    if (sub->reflect)
        (void) reflect_free(sub->reflect);
    buf_free(&sub->out);
    return code;
}

static void parse(struct sub *sub, int argc, char **argv) {
    enum { COUNT = CLI_OPT_OWN, TOPIC, INITIAL, TYPE, DURABLE, BLOCK, HZ, BW, RAW, JSON, TIMEOUT };
    static const struct option options[] = {
        {"count", required_argument, NULL, COUNT},
        {"topic", required_argument, NULL, TOPIC},
        {"initial", required_argument, NULL, INITIAL},
        {"type", required_argument, NULL, TYPE},
        {"durable", required_argument, NULL, DURABLE},
        {"block", no_argument, NULL, BLOCK},
        {"hz", no_argument, NULL, HZ},
        {"bw", no_argument, NULL, BW},
        {"raw", no_argument, NULL, RAW},
        {"json", no_argument, NULL, JSON},
        {"timeout", required_argument, NULL, TIMEOUT},
        CLI_COMMON,
    };
    int option;

    while ((option = cli_option(argc, argv, "h", options)) >= 0) {
        if (option == COUNT)
            sub->count = cli_number("--count", optarg, 1, UINT64_MAX);
        else if (option == TOPIC)
            sub->topic = optarg;
        else if (option == INITIAL)
            sub->initial = (uint32_t) cli_number("--initial", optarg, 0, UINT32_MAX);
        else if (option == TYPE)
            sub->type = optarg;
        else if (option == DURABLE)
            sub->durable = optarg;
        else if (option == TIMEOUT)
            sub->reach.timeout_ns =
                (int64_t) cli_number("--timeout", optarg, 0, 1000000000) * 1000000;
        sub->block |= option == BLOCK;
        sub->hz |= option == HZ;
        sub->bw |= option == BW;
        sub->raw |= option == RAW;
        sub->json |= option == JSON;
    }
    cli_operands(argc, 1, 2);
    sub->reach.address = service_address(argv[optind]);
    if (argv[optind + 1])
        sub->event = (uint32_t) cli_number("EVENT", argv[optind + 1], 0, UINT32_MAX - 1);
    if (sub->raw && sub->json)
        cli_usage("--raw and --json are two");
}

int verb_sub(int argc, char **argv) {
    struct sub sub = {.reach.timeout_ns = -1, .event = TRAM_ANY_EVENT};

    parse(&sub, argc, argv);
    cli_catch_signals();
    return (int) run(&sub);
}
