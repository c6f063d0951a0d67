/* SPDX-License-Identifier: MIT
 *
 * tram retry: what to do with messages that were set aside.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/buf.h"
#include "cli/cli.h"
#include "node/custody.h"

#define PREVIEW 40

const char verb_retry_help[] =
    "usage: tram retry --id B [--from A] [--seq N | --all] [--drop]\n"
    "\n"
    "A message that was handed out five times and never released is set aside, so that it\n"
    "does not hold up the others. Hand it out once more (out of order, marked), whether B is\n"
    "up or not; or drop it. Without --seq and --all: list what was set aside for B.\n"
    "\n"
    "  --id B     the node that they were sent to\n"
    "  --from A   messages of this sender (all)\n"
    "  --seq N    the one with this number; needs --from\n"
    "  --all      every one\n"
    "  --drop     forget it instead\n"
    "  --json     list as JSON, one object: {\"aside\":[{from, seq, tag, size, attempts,\n"
    "             retry}]}; else what was done: {\"retried\":N} or {\"dropped\":N}\n"
    "\n"
    "Examples:\n"
    "  tram retry --id 1.0.0.2\n"
    "  tram retry --id 1.0.0.2 --all\n"
    "  tram retry --id 1.0.0.2 --from 1.0.0.1 --seq 17 --drop\n";

struct retry {
    tram_id id, from;
    uint64_t seq;
    bool all, drop, json;
};

/* ---- the list ------------------------------------------------------------------------------- */

static void list_one(struct buf *buf, bool json, bool *item, const struct observe_record *record) {
    char from[TRAM_ID_TEXT];
    bool first = true;

    (void) tram_id_format(record->from, from);
    if (json) {
        json_item(buf, item);
        buf_char(buf, '{');
        json_member_text(buf, &first, "from", from);
        json_member_number(buf, &first, "seq", record->seq);
        json_member_number(buf, &first, "tag", record->tag);
        json_member_number(buf, &first, "size", record->size);
        json_member_number(buf, &first, "attempts", record->attempts);
        json_member_bool(buf, &first, "retry", record->where == OBSERVE_RETRY);
        buf_char(buf, '}');
        return;
    }
    buf_format(buf, "%-15s  %10" PRIu64 "  %8" PRIu32 "  %10" PRIu64 "  %6" PRIu32 "  %-5s  ", from,
               record->seq, record->tag, record->size, record->attempts,
               record->where == OBSERVE_RETRY ? "yes" : "no");
    buf_preview(buf, record->data, record->data_size);
    buf_text(buf, record->data_size < record->size ? " ...\n" : "\n");
}

static int list_all(const struct retry *retry, struct observe_reader *reader) {
    struct observe_record record;
    struct buf buf = { 0 };
    bool item = true;
    int rc;

    if (retry->json)
        buf_text(&buf, "{\"aside\":[");
    else
        buf_format(&buf, "%-15s  %10s  %8s  %10s  %6s  %-5s  %s\n", "FROM", "SEQ", "TAG", "SIZE",
                   "HANDED", "RETRY", "PAYLOAD");
    while ((rc = observe_next(reader, &record)) > 0)
        list_one(&buf, retry->json, &item, &record);
    if (retry->json)
        buf_text(&buf, "]}\n");
    if (rc == 0)
        rc = buf_write(&buf, STDOUT_FILENO);
    buf_free(&buf);
    return rc;
}

static enum cli_exit list(const struct retry *retry, struct observe *observe) {
    struct observe_reader *reader = NULL;
    char id[TRAM_ID_TEXT];
    enum cli_exit code = CLI_OK;
    int rc = observe_read_aside(observe, retry->from, retry->id, PREVIEW, &reader);

    if (rc == -ENOENT) {
        cli_error("there is no node %s on this bus (%s)", tram_id_format(retry->id, id),
                  cli_bus_path());
        return CLI_NOT_FOUND;
    }
    if (rc == 0)
        rc = list_all(retry, reader);
    if (rc < 0) {
        cli_error("the list cannot be made: %s", strerror(-rc));
        code = CLI_FAILURE;
    } else if (observe_note(reader)[0] != '\0') {
        cli_error("%s", observe_note(reader));
        code = CLI_FAILURE;
    }
    (void) observe_read_end(reader);
    return code;
}

/* ---- doing ---------------------------------------------------------------------------------- */

static int do_one(const struct retry *retry, tram_id from, uint64_t seq, struct tram_error *error) {
    if (retry->drop)
        return custody_drop(cli_bus_path(), retry->id, from, seq, error);
    return custody_retry(cli_bus_path(), retry->id, from, seq, error);
}

/* Every one that lies there now. One that went meanwhile is none of ours any more. */
static enum cli_exit do_all(const struct retry *retry, struct observe *observe,
                            uint64_t *ret_count) {
    struct observe_reader *reader = NULL;
    struct observe_record record;
    enum cli_exit code = CLI_OK;
    int rc = observe_read_aside(observe, retry->from, retry->id, 0, &reader);

    if (rc == -ENOENT)
        return CLI_OK; /* no node, so nothing that was set aside for it */
    while (rc == 0 && (rc = observe_next(reader, &record)) > 0) {
        struct tram_error error = { 0 };

        rc = 0;
        if (record.where == OBSERVE_RETRY && !retry->drop)
            continue;
        if (do_one(retry, record.from, record.seq, &error) == 0)
            (*ret_count)++;
        else if (error.code != -ENOENT)
            code = cli_failed(&error);
    }
    if (rc < 0) {
        cli_error("what was set aside cannot be read: %s", strerror(-rc));
        code = CLI_FAILURE;
    }
    (void) observe_read_end(reader);
    return code;
}

static enum cli_exit run(const struct retry *retry, struct observe *observe) {
    struct tram_error error = { 0 };
    enum cli_exit code = CLI_OK;
    uint64_t count = 0;

    if (!retry->all && retry->seq == 0)
        return list(retry, observe);
    if (retry->all)
        code = do_all(retry, observe, &count);
    else if (do_one(retry, retry->from, retry->seq, &error) == 0)
        count = 1;
    else
        return cli_failed(&error);
    if (retry->json)
        (void) printf("{\"%s\":%" PRIu64 "}\n", retry->drop ? "dropped" : "retried", count);
    else
        (void) printf("%" PRIu64 " messages %s\n", count,
                      retry->drop ? "dropped" : "to be handed out again");
    return cli_flushed(stdout, code);
}

int verb_retry(int argc, char **argv) {
    enum { ID = CLI_OPT_OWN, FROM, SEQ, ALL, DROP, JSON };
    static const struct option options[] = {
        { "id", required_argument, NULL, ID },
        { "from", required_argument, NULL, FROM },
        { "seq", required_argument, NULL, SEQ },
        { "all", no_argument, NULL, ALL },
        { "drop", no_argument, NULL, DROP },
        { "json", no_argument, NULL, JSON },
        CLI_COMMON,
    };
    struct retry retry = { 0 };
    enum cli_exit code = CLI_FAILURE;
    struct observe *observe;
    int option;

    while ((option = cli_option(argc, argv, "h", options)) >= 0) {
        if (option == ID)
            retry.id = cli_id("--id", optarg);
        else if (option == FROM)
            retry.from = cli_id("--from", optarg);
        else if (option == SEQ)
            retry.seq = cli_number("--seq", optarg, 1, UINT64_MAX);
        retry.all |= option == ALL;
        retry.drop |= option == DROP;
        retry.json |= option == JSON;
    }
    cli_operands(argc, 0, 0);
    if (retry.id == 0)
        cli_usage("--id is missing");
    if (retry.seq != 0 && (retry.all || retry.from == 0))
        cli_usage("--seq needs --from, and no --all");
    if (retry.drop && retry.seq == 0 && !retry.all)
        cli_usage("--drop what: --from and --seq, or --all?");
    observe = cli_observe(&code);
    if (observe)
        code = run(&retry, observe);
    (void) observe_close(observe);
    return (int) code;
}
