/* SPDX-License-Identifier: MIT
 *
 * tram takeover, tram forget: what people decide when a host is not there.
 */
#include "cli/ask.h"

#define TIMEOUT_MS 10000u

static int command(int argc, char **argv, enum ask_what what) {
    static const struct option options[] = {
        { "timeout", required_argument, NULL, 't' },
        CLI_COMMON,
    };
    uint64_t timeout = TIMEOUT_MS;
    enum cli_exit code;
    struct ask ask;
    tram_id id = 0;
    int option;

    while ((option = cli_option(argc, argv, "t:", options)) >= 0)
        if (option == 't')
            timeout = cli_number("--timeout", optarg, 1, 3600000);
    cli_operands(argc, 1, 1);
    if (what == ASK_TAKEOVER)
        id = cli_id("ID", argv[optind]);
    cli_catch_signals();
    if (!ask_open(&ask, &code))
        return (int) code;
    code = ask_now(&ask, what, id, what == ASK_FORGET ? argv[optind] : NULL,
                   (int64_t) timeout * 1000000, NULL, NULL);
    ask_close(&ask);
    return (int) code;
}

int verb_takeover(int argc, char **argv) {
    return command(argc, argv, ASK_TAKEOVER);
}

int verb_forget(int argc, char **argv) {
    return command(argc, argv, ASK_FORGET);
}
