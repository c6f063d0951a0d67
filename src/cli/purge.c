/* SPDX-License-Identifier: MIT
 *
 * tram purge: throw away what waits in one channel.
 */
#include <inttypes.h>

#include "cli/cli.h"
#include "node/custody.h"

const char verb_purge_help[] =
    "usage: tram purge --from A --to B\n"
    "\n"
    "Throw away the messages that wait in the channel from A to B; they are lost. A channel\n"
    "that was closed, because one side wrote nonsense, is usable again. Refused (exit code 4)\n"
    "while B is up; while A is, too, if it is A that wrote the nonsense.\n"
    "\n"
    "  --from A   the sender\n"
    "  --to B     the receiver\n"
    "  --json     print {\"purged\":N}\n"
    "\n"
    "Example:\n"
    "  tram purge --from 1.0.0.1 --to 1.0.0.2\n";

int verb_purge(int argc, char **argv) {
    enum { FROM = CLI_OPT_OWN, TO, JSON };
    static const struct option options[] = {
        { "from", required_argument, NULL, FROM },
        { "to", required_argument, NULL, TO },
        { "json", no_argument, NULL, JSON },
        CLI_COMMON,
    };
    struct tram_error error = { 0 };
    tram_id from = 0, to = 0;
    uint64_t messages = 0;
    bool json = false;
    int option;

    while ((option = cli_option(argc, argv, "h", options)) >= 0) {
        if (option == FROM)
            from = cli_id("--from", optarg);
        else if (option == TO)
            to = cli_id("--to", optarg);
        json |= option == JSON;
    }
    cli_operands(argc, 0, 0);
    if (from == 0 || to == 0)
        cli_usage("--%s is missing", from == 0 ? "from" : "to");
    if (custody_purge(cli_bus_path(), from, to, &messages, &error) < 0)
        return (int) cli_failed(&error);
    if (json)
        (void) printf("{\"purged\":%" PRIu64 "}\n", messages);
    else
        (void) printf("%" PRIu64 " messages purged\n", messages);
    return (int) cli_flushed(stdout, CLI_OK);
}
