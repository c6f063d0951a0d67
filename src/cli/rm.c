/* SPDX-License-Identifier: MIT
 *
 * tram rm: remove a node, its directory and all that waits for it.
 */
#include "cli/cli.h"
#include "node/custody.h"

const char verb_rm_help[] =
    "usage: tram rm [--force] ID...\n"
    "\n"
    "Remove nodes from the bus: their directories, with the channels to them. Refused (exit\n"
    "code 4) while a process holds the ID and, without --force, while messages wait. A sender\n"
    "that runs is told (-ESTALE), and begins a new channel with what it sends next.\n"
    "\n"
    "  --force   also when messages wait for it; they are lost\n"
    "\n"
    "Examples:\n"
    "  tram rm 1.0.0.2\n"
    "  tram rm --force 1.0.0.2 1.0.0.3\n";

int verb_rm(int argc, char **argv) {
    enum { FORCE = CLI_OPT_OWN };
    static const struct option options[] = {
        { "force", no_argument, NULL, FORCE },
        CLI_COMMON,
    };
    enum cli_exit code = CLI_OK;
    bool force = false;
    int option;

    while ((option = cli_option(argc, argv, "hf", options)) >= 0)
        force |= option == FORCE || option == 'f';
    cli_operands(argc, 1, argc);
    for (int i = optind; i < argc; i++)
        (void) cli_id("the argument", argv[i]); /* none is removed if one is mistyped */
    for (int i = optind; i < argc; i++) {
        struct tram_error error = { 0 };

        if (custody_rm(cli_bus_path(), cli_id("the argument", argv[i]), force, &error) == 0)
            continue;
        if (code == CLI_OK)
            code = cli_failed(&error);
        else
            (void) cli_failed(&error); /* the first one's code is the program's */
    }
    return (int) code;
}
