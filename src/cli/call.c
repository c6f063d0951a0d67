/* SPDX-License-Identifier: MIT
 *
 * tram call: one request. A server that gave its descriptors is spoken to in JSON; any is, with
 * --raw, in bytes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/service.h"
#include "service/inspect.h"
#include "tram/protobuf.h"

struct call {
    struct reach reach;
    const char *method, *payload;
    bool raw, hex, json, pretty, direct;
    struct reflect *reflect;
    const struct reflect_method *chosen; /* NULL: raw */
    bool done;
    enum cli_exit code;
    struct buf out;
};

/* ---- which method ---------------------------------------------------------------------------- */

/* "Method", "Service.Method" or "package.Service.Method" is the end of the full name. */
static bool fits(const char *full, const char *name) {
    size_t more = strlen(full), size = strlen(name);

    return more >= size && strcmp(full + more - size, name) == 0 &&
           (more == size || full[more - size - 1] == '.');
}

static enum cli_exit choose(struct call *call) {
    size_t count, found = 0;
    const struct reflect_method *methods = reflect_methods(call->reflect, &count);

    for (size_t i = 0; i < count; i++) {
        if (!fits(methods[i].name, call->method))
            continue;
        call->chosen = &methods[i];
        found++;
    }
    if (found == 1)
        return CLI_OK;
    if (found > 1)
        cli_error("%s has %zu methods called %s; give the full name, as %s", call->reach.address,
                  found, call->method, call->chosen->name);
    else
        cli_error("%s has no method %s; 'tram describe %s' shows those it has",
                  call->reach.address, call->method, call->reach.address);
    return CLI_NOT_FOUND;
}

static enum cli_exit learn(struct call *call) {
    enum cli_exit code;
    inspection *said = reach_inspect(&call->reach, INSPECT_ALL, &code);
    char text[REFLECT_TEXT];
    int rc;

    if (!said)
        return code;
    if (said->descriptors.len == 0) {
        cli_error("%s gave no descriptors; --raw sends bytes", call->reach.address);
        (void) inspection_free(said);
        return CLI_FAILURE;
    }
    rc = reflect_new(said->descriptors.data, said->descriptors.len, &call->reflect, text);
    (void) inspection_free(said);
    if (rc < 0) {
        cli_error("%s: %s; --raw sends bytes", call->reach.address, text);
        return CLI_FAILURE;
    }
    return choose(call);
}

/* ---- answers --------------------------------------------------------------------------------- */

static void show(struct call *call, const void *data, size_t size) {
    char text[REFLECT_TEXT], *json;
    bool first = true;
    size_t length;

    if (call->chosen) {
        char *copy = calloc(1, size + 1);

        if (copy && size > 0)
            memcpy(copy, data, size); /* the server could change it while we read */
        if (!copy || reflect_to_json(call->reflect, call->chosen->output, copy, size, &json,
                                     &length, text) < 0) {
            cli_error("the answer cannot be shown: %s", copy ? text : "no memory");
            call->code = CLI_FAILURE;
        } else {
            buf_bytes(&call->out, json, length);
            buf_char(&call->out, '\n');
            free(json);
        }
        free(copy);
    } else if (call->json) {
        buf_char(&call->out, '{');
        json_member_number(&call->out, &first, "size", size);
        json_member_payload(&call->out, &first, data, size);
        buf_text(&call->out, "}\n");
    } else {
        buf_bytes(&call->out, data, size);
    }
}

static void on_result(const struct tram_result *result, void *arg) {
    struct call *call = arg;
    bool more = result->view.flags & TRAM_VIEW_MORE;

    call->done = !more;
    if (result->status < 0) {
        call->code = reach_failed(&call->reach, result->status, result->code, result->text);
        return;
    }
    if (more || result->view.size > 0 || !call->chosen || !call->chosen->server_streams)
        show(call, result->view.data, result->view.size);
    if (buf_write(&call->out, STDOUT_FILENO) < 0) {
        call->code = CLI_FAILURE;
        call->done = true;
    }
}

/* ---- the request ----------------------------------------------------------------------------- */

static enum cli_exit encode(struct call *call, char **data, size_t *size) {
    char text[REFLECT_TEXT], *bytes;
    int rc;

    if (!call->raw) {
        rc = reflect_from_json(call->reflect, call->chosen->input, *size ? *data : "{}",
                               *size ? *size : 2, &bytes, size, text);
        if (rc < 0) {
            cli_error("%s", text);
            return CLI_USAGE;
        }
        free(*data);
        *data = bytes;
    } else if (call->hex && service_hex(*data, size) < 0) {
        cli_error("that is no hex");
        return CLI_USAGE;
    }
    return CLI_OK;
}

static enum cli_exit payload(struct call *call, char **ret_data, size_t *ret_size) {
    int rc;

    if (call->payload && strcmp(call->payload, "-") == 0) {
        rc = service_read(ret_data, ret_size);
        if (rc < 0)
            cli_error("the input cannot be read: %s", strerror(-rc));
        return rc < 0 ? CLI_FAILURE : CLI_OK;
    }
    *ret_data = strdup(call->payload ? call->payload : "");
    *ret_size = *ret_data ? strlen(*ret_data) : 0;
    if (!*ret_data)
        cli_error("no memory for the payload");
    return *ret_data ? CLI_OK : CLI_FAILURE;
}

static uint32_t number(const struct call *call) {
    if (call->chosen)
        return tram_protobuf_number(call->chosen->name);
    if (call->method[0] >= '0' && call->method[0] <= '9')
        return (uint32_t) cli_number("METHOD", call->method, 0, UINT32_MAX);
    return tram_protobuf_number(call->method);
}

static enum cli_exit ask(struct call *call, const void *data, size_t size) {
    struct tram_how how = TRAM_HOW_INIT;
    enum cli_exit code;
    int rc;

    how.timeout_ns = call->reach.timeout_ns == 0 ? 1 : call->reach.timeout_ns;
    rc = tram_client_ask(call->reach.client, number(call), data, size, &how, on_result, call, NULL);
    if (rc < 0)
        return reach_failed(&call->reach, rc, 0, tram_worker_error(call->reach.worker)->text);
    code = reach_until(&call->reach, &call->done);
    if (code == CLI_TIMEOUT)
        return reach_failed(&call->reach, -ETIMEDOUT, 0, NULL);
    return code == CLI_OK ? call->code : code;
}

static enum cli_exit run(struct call *call) {
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    enum cli_exit code = CLI_OK;
    char *data = NULL;
    size_t size = 0;

    if (call->direct)
        options.flags = TRAM_CLIENT_DIRECT | TRAM_CLIENT_PLAIN;
    if (!reach_open(&call->reach, call->reach.address, &options, &code))
        return code;
    if (!call->raw)
        code = learn(call);
    if (code == CLI_OK)
        code = payload(call, &data, &size);
    if (code == CLI_OK)
        code = encode(call, &data, &size);
    if (code == CLI_OK)
        code = ask(call, data, size);
    free(data);
    reach_close(&call->reach);
    call->reflect = call->reflect ? reflect_free(call->reflect) : NULL;
    buf_free(&call->out);
    return code;
}

int verb_call(int argc, char **argv) {
    enum { RAW = CLI_OPT_OWN, HEX, JSON, TIMEOUT, DIRECT };
    static const struct option options[] = {
        {"raw", no_argument, NULL, RAW},
        {"hex", no_argument, NULL, HEX},
        {"json", no_argument, NULL, JSON},
        {"direct", no_argument, NULL, DIRECT},
        {"timeout", required_argument, NULL, TIMEOUT},
        CLI_COMMON,
    };
    struct call call = {.reach.timeout_ns = SERVICE_TIMEOUT_NS};
    int option;

    while ((option = cli_option(argc, argv, "h", options)) >= 0) {
        call.raw |= option == RAW || option == HEX;
        call.hex |= option == HEX;
        call.json |= option == JSON;
        call.direct |= option == DIRECT;
        if (option == TIMEOUT)
            call.reach.timeout_ns =
                (int64_t) cli_number("--timeout", optarg, 0, 1000000000) * 1000000;
    }
    cli_operands(argc, 2, 3);
    call.reach.address = service_address(argv[optind]);
    call.method = argv[optind + 1];
    call.payload = argv[optind + 2];
    if (!call.raw && reflect_missing()) {
        cli_error("%s; --raw sends bytes", reflect_missing());
        return CLI_FAILURE;
    }
    cli_catch_signals();
    return (int) run(&call);
}
