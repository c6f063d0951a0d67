/* SPDX-License-Identifier: MIT
 *
 * tram wait: until somebody serves a name, or nobody does any more.
 */
#include <errno.h>

#include "cli/service.h"
#include "service/inspect.h"

struct wait {
    struct reach reach;
    bool online, offline;
};

static void on_state(tram_client *client, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    struct wait *wait = arg;

    (void) client;
    (void) who;
    wait->online |= state == TRAM_STATE_ONLINE;
    wait->offline |= state == TRAM_STATE_OFFLINE;
}

/* Nobody is there, or was, and went. */
static void on_result(const struct tram_result *result, void *arg) {
    struct wait *wait = arg;

    wait->offline |= result->status == -ENOTCONN || result->status == -ECONNREFUSED ||
                     result->status == -ECONNRESET;
}

static enum cli_exit run(struct wait *wait, bool gone) {
    static const struct tram_client_handlers handlers = {.on_state = on_state};
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    enum cli_exit code;

    options.handlers = &handlers;
    options.arg = wait;
    if (!reach_open(&wait->reach, wait->reach.address, &options, &code))
        return code;
    if (gone && client_inspect(wait->reach.client, INSPECT_BRIEF, NULL, on_result, wait, NULL) < 0)
        wait->offline = true;
    code = reach_until(&wait->reach, gone ? &wait->offline : &wait->online);
    if (code == CLI_TIMEOUT)
        cli_error("%s is %s", wait->reach.address, gone ? "still served" : "not served yet");
    reach_close(&wait->reach);
    return code;
}

int verb_wait(int argc, char **argv) {
    enum { GONE = CLI_OPT_OWN, TIMEOUT };
    static const struct option options[] = {
        {"gone", no_argument, NULL, GONE},
        {"timeout", required_argument, NULL, TIMEOUT},
        CLI_COMMON,
    };
    struct wait wait = {.reach.timeout_ns = -1};
    bool gone = false;
    int option;

    while ((option = cli_option(argc, argv, "h", options)) >= 0) {
        gone |= option == GONE;
        if (option == TIMEOUT)
            wait.reach.timeout_ns =
                (int64_t) cli_number("--timeout", optarg, 0, 1000000000) * 1000000;
    }
    cli_operands(argc, 1, 1);
    wait.reach.address = service_address(argv[optind]);
    cli_catch_signals();
    return (int) run(&wait, gone);
}
