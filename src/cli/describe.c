/* SPDX-License-Identifier: MIT
 *
 * tram describe: who serves a name, and what it speaks.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/service.h"
#include "service/inspect.h"
#include "tram/protobuf.h"

/* Without who asks. */
static size_t clients(const inspection *said) {
    size_t count = said->n_sessions;

    for (size_t i = 0; i < said->n_sessions; i++)
        count -= said->sessions[i]->pid == (int32_t) getpid();
    return count;
}

static void json_methods(struct buf *buf, const struct reflect *reflect) {
    size_t count;
    const struct reflect_method *methods = reflect_methods(reflect, &count);
    bool item = true;

    for (size_t i = 0; i < count; i++) {
        bool first = true;

        json_item(buf, &item);
        buf_char(buf, '{');
        json_member_text(buf, &first, "method", methods[i].name);
        json_member_number(buf, &first, "number", tram_protobuf_number(methods[i].name));
        json_member_text(buf, &first, "input", methods[i].input);
        json_member_text(buf, &first, "output", methods[i].output);
        json_member_bool(buf, &first, "stream", methods[i].server_streams);
        json_member_text(buf, &first, "comment", methods[i].comment);
        buf_char(buf, '}');
    }
}

static void as_json(struct buf *buf, const inspection *said, const struct reflect *reflect) {
    bool first = true;
    char name[256];

    service_party(said->party, name, sizeof(name));
    buf_char(buf, '{');
    json_member_text(buf, &first, "name", name);
    if (said->party) {
        json_member_text(buf, &first, "program", said->party->program);
        json_member_number(buf, &first, "pid", (uint64_t) said->party->pid);
        json_member_id(buf, &first, "node", said->party->node);
    }
    json_member_number(buf, &first, "clients", clients(said));
    json_member_number(buf, &first, "requests", said->requests);
    json_member_number(buf, &first, "expired", said->expired);
    json_key(buf, &first, "methods");
    buf_char(buf, '[');
    if (reflect)
        json_methods(buf, reflect);
    buf_char(buf, ']');
    if (reflect) {
        char *source = reflect_source(reflect);

        json_member_text(buf, &first, "source", source ? source : "");
        free(source);
    }
    buf_text(buf, "}\n");
}

static void as_text(struct buf *buf, const inspection *said, const struct reflect *reflect) {
    char name[256], id[TRAM_ID_TEXT], *source;
    const struct reflect_method *methods;
    size_t count;

    service_party(said->party, name, sizeof(name));
    buf_preview(buf, name, strlen(name));
    if (said->party) {
        buf_format(buf, ": node %s, pid %" PRId32 ", ", tram_id_format(said->party->node, id),
                   said->party->pid);
        buf_preview(buf, said->party->program, strlen(said->party->program));
    }
    buf_format(buf, "\n%zu clients%s, %" PRIu64 " requests, %" PRIu64 " dropped past their time\n",
               clients(said), said->more ? " or more" : "", said->requests, said->expired);
    if (!reflect)
        return;
    methods = reflect_methods(reflect, &count);
    if (count > 0)
        buf_format(buf, "\n%-10s  %s\n", "NUMBER", "METHOD");
    for (size_t i = 0; i < count; i++)
        buf_format(buf, "%-10" PRIu32 "  %s(%s) returns (%s%s)\n",
                   tram_protobuf_number(methods[i].name), methods[i].name, methods[i].input,
                   methods[i].server_streams ? "stream " : "", methods[i].output);
    source = reflect_source(reflect);
    if (source && *source)
        buf_format(buf, "\n%s", source);
    free(source);
}

static enum cli_exit run(struct reach *reach, bool json) {
    struct reflect *reflect = NULL;
    char text[REFLECT_TEXT];
    struct buf buf = {0};
    enum cli_exit code;
    inspection *said;
    int rc = 0;

    if (!reach_open(reach, reach->address, NULL, &code))
        return code;
    said = reach_inspect(reach, INSPECT_ALL, &code);
    reach_close(reach);
    if (!said)
        return code;
    if (said->descriptors.len > 0)
        rc = reflect_new(said->descriptors.data, said->descriptors.len, &reflect, text);
    if (json)
        as_json(&buf, said, reflect);
    else
        as_text(&buf, said, reflect);
    if (rc < 0)
        cli_error("%s: %s", reach->address, text);
    else if (said->descriptors.len == 0)
        cli_error("%s gave no descriptors: what it speaks is not known", reach->address);
    if (buf_write(&buf, STDOUT_FILENO) < 0 || rc < 0)
        code = CLI_FAILURE;
    buf_free(&buf);
    if (reflect)
        (void) reflect_free(reflect);
    (void) inspection_free(said);
    return code;
}

int verb_describe(int argc, char **argv) {
    enum { JSON = CLI_OPT_OWN, TIMEOUT };
    static const struct option options[] = {
        {"json", no_argument, NULL, JSON},
        {"timeout", required_argument, NULL, TIMEOUT},
        CLI_COMMON,
    };
    struct reach reach = {.timeout_ns = SERVICE_TIMEOUT_NS};
    bool json = false;
    int option;

    while ((option = cli_option(argc, argv, "h", options)) >= 0) {
        json |= option == JSON;
        if (option == TIMEOUT)
            reach.timeout_ns = (int64_t) cli_number("--timeout", optarg, 0, 1000000000) * 1000000;
    }
    cli_operands(argc, 1, 1);
    reach.address = service_address(argv[optind]);
    cli_catch_signals();
    return (int) run(&reach, json);
}
