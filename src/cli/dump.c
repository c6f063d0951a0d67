/* SPDX-License-Identifier: MIT
 *
 * tram dump: the messages that lie in a channel, beside its two ends; nothing is received.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/buf.h"
#include "cli/cli.h"

#define PREVIEW 60                    /* bytes of a message on its line */
#define AT_ONCE ((size_t) 256 * 1024) /* of output are written at once, about */
#define PAYLOAD UINT32_MAX            /* no message is longer */

const char verb_dump_help[] =
    "usage: tram dump --to B --from A [OPTIONS]\n"
    "\n"
    "Show the messages in the channel from A to B, oldest first: those kept for the\n"
    "post-mortem that B has consumed already, those in its hand, and those that wait. Nothing\n"
    "is received or changed, and it does not matter whether A and B run, hang or died. What\n"
    "was overwritten while it was being read is counted on standard error.\n"
    "\n"
    "  --from A     the sender; with --aside it may be left out: all\n"
    "  --to B       the receiver\n"
    "  --aside      the messages that were set aside instead\n"
    "  --where W    only those that are: kept, hand, queued, aside or retry\n"
    "  --bytes N    show up to N bytes of each message (60; with --json: all)\n"
    "  --json       a line of JSON for each: from, to, seq, where, tag, size, attempts (how\n"
    "               often it was handed out, as far as the files tell), time_ns, position,\n"
    "               text or base64\n"
    "\n"
    "Examples:\n"
    "  tram dump --from 1.0.0.1 --to 1.0.0.2\n"
    "  tram dump --from 1.0.0.1 --to 1.0.0.2 --where queued --json | wc -l\n"
    "  tram dump --to 1.0.0.2 --aside\n";

struct dump {
    tram_id from, to;
    uint64_t bytes;
    int where; /* enum observe_where; -1: all */
    bool aside, json;
};

static void json_record(struct buf *buf, const struct observe_record *record) {
    bool first = true;

    buf_char(buf, '{');
    json_member_id(buf, &first, "from", record->from);
    json_member_id(buf, &first, "to", record->to);
    json_member_number(buf, &first, "seq", record->seq);
    json_member_text(buf, &first, "where", observe_where_name(record->where));
    json_member_number(buf, &first, "tag", record->tag);
    json_member_number(buf, &first, "size", record->size);
    json_member_number(buf, &first, "attempts", record->attempts);
    json_member_number(buf, &first, "time_ns", record->time_ns);
    json_member_number(buf, &first, "position", record->position);
    json_member_payload(buf, &first, record->data, record->data_size);
    buf_text(buf, "}\n");
}

static void text_record(struct buf *buf, const struct observe_record *record, bool with_from) {
    char id[TRAM_ID_TEXT];

    if (with_from)
        buf_format(buf, "%-15s  ", tram_id_format(record->from, id));
    buf_format(buf, "%10" PRIu64 "  %-7s  %8" PRIu32 "  %10" PRIu64 "  %6" PRIu32 "  ", record->seq,
               observe_where_name(record->where), record->tag, record->size, record->attempts);
    buf_preview(buf, record->data, record->data_size);
    if (record->data_size < record->size)
        buf_text(buf, " ...");
    buf_char(buf, '\n');
}

static void text_head(struct buf *buf, bool with_from) {
    if (with_from)
        buf_format(buf, "%-15s  ", "FROM");
    buf_format(buf, "%10s  %-7s  %8s  %10s  %6s  %s\n", "SEQ", "WHERE", "TAG", "SIZE", "HANDED",
               "PAYLOAD");
}

static int print_all(const struct dump *dump, struct observe_reader *reader) {
    struct observe_record record;
    struct buf buf = { 0 };
    int rc = 0, written = 0;

    if (!dump->json)
        text_head(&buf, dump->aside);
    while (!cli_stop && written == 0 && (rc = observe_next(reader, &record)) > 0) {
        if (dump->where >= 0 && (int) record.where != dump->where)
            continue;
        if (dump->json)
            json_record(&buf, &record);
        else
            text_record(&buf, &record, dump->aside);
        if (buf.used >= AT_ONCE)
            written = buf_write(&buf, STDOUT_FILENO);
    }
    if (written == 0)
        written = buf_write(&buf, STDOUT_FILENO);
    buf_free(&buf);
    if (written < 0) {
        if (written != -EPIPE)
            cli_error("the output cannot be written: %s", strerror(-written));
        return CLI_FAILURE;
    }
    if (cli_stop)
        return CLI_INTERRUPTED;
    if (observe_missed(reader) > 0)
        cli_error("%" PRIu64 " messages could not be read: overwritten meanwhile, or damaged",
                  observe_missed(reader));
    if (rc < 0 || observe_note(reader)[0] != '\0') {
        cli_error("%s", observe_note(reader)[0] != '\0' ? observe_note(reader) : strerror(-rc));
        return CLI_FAILURE;
    }
    return CLI_OK;
}

static enum cli_exit run(const struct dump *dump, struct observe *observe) {
    struct observe_reader *reader = NULL;
    char from[TRAM_ID_TEXT], to[TRAM_ID_TEXT];
    enum cli_exit code;
    int rc;

    if (dump->aside)
        rc = observe_read_aside(observe, dump->from, dump->to, dump->bytes, &reader);
    else
        rc = observe_read(observe, dump->from, dump->to, dump->bytes, &reader);
    if (rc == -ENOENT) {
        (void) tram_id_format(dump->to, to);
        if (dump->aside)
            cli_error("there is no node %s on this bus (%s)", to, cli_bus_path());
        else
            cli_error("there is no channel from %s to %s on this bus (%s); tram ls shows them",
                      tram_id_format(dump->from, from), to, cli_bus_path());
        return CLI_NOT_FOUND;
    }
    if (rc < 0) {
        cli_error("the channel cannot be read: %s", strerror(-rc));
        return CLI_FAILURE;
    }
    code = print_all(dump, reader);
    (void) observe_read_end(reader);
    return code;
}

static int parse_where(const char *text) {
    static const struct {
        const char *name;
        enum observe_where where;
    } names[] = {
        { "kept", OBSERVE_KEPT },   { "hand", OBSERVE_IN_HAND }, { "queued", OBSERVE_QUEUED },
        { "aside", OBSERVE_ASIDE }, { "retry", OBSERVE_RETRY },
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(text, names[i].name) == 0)
            return (int) names[i].where;
    cli_usage("--where '%s' is none of: kept, hand, queued, aside, retry", text);
}

int verb_dump(int argc, char **argv) {
    enum { FROM = CLI_OPT_OWN, TO, ASIDE, WHERE, BYTES, JSON };
    static const struct option options[] = {
        { "from", required_argument, NULL, FROM },
        { "to", required_argument, NULL, TO },
        { "aside", no_argument, NULL, ASIDE },
        { "where", required_argument, NULL, WHERE },
        { "bytes", required_argument, NULL, BYTES },
        { "json", no_argument, NULL, JSON },
        CLI_COMMON,
    };
    struct dump dump = { .bytes = UINT64_MAX, .where = -1 };
    enum cli_exit code = CLI_FAILURE;
    struct observe *observe;
    int option;

    while ((option = cli_option(argc, argv, "h", options)) >= 0) {
        if (option == FROM)
            dump.from = cli_id("--from", optarg);
        else if (option == TO)
            dump.to = cli_id("--to", optarg);
        else if (option == WHERE)
            dump.where = parse_where(optarg);
        else if (option == BYTES)
            dump.bytes = cli_size("--bytes", optarg, 0, PAYLOAD);
        dump.aside |= option == ASIDE;
        dump.json |= option == JSON;
    }
    cli_operands(argc, 0, 0);
    if (dump.to == 0 || (dump.from == 0 && !dump.aside))
        cli_usage("--%s is missing", dump.to == 0 ? "to" : "from");
    if (dump.bytes == UINT64_MAX)
        dump.bytes = dump.json ? PAYLOAD : PREVIEW;
    cli_catch_signals();
    observe = cli_observe(&code);
    if (observe)
        code = run(&dump, observe);
    (void) observe_close(observe);
    return (int) code;
}
