/* SPDX-License-Identifier: MIT
 *
 * tram: the tool. What comes before the verb is for all of them; the rest is the verb's.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static const struct cli_verb *find_verb(const char *name) {
    for (const struct cli_verb *verb = cli_verbs; verb->name; verb++)
        if (strcmp(verb->name, name) == 0)
            return verb;
    return NULL;
}

static int run_help(const char *name) {
    const struct cli_verb *verb = find_verb(name);
    char help[] = "--help";
    char *argv[] = { NULL, help, NULL };

    if (!verb)
        cli_usage("there is no verb '%s'", name);
    if (!verb->help) {
        argv[0] = (char *) (uintptr_t) verb->name;
        return verb->run(2, argv);
    }
    cli_help(verb);
    return (int) cli_flushed(stdout, CLI_OK);
}

int main(int argc, char **argv) {
    enum { VERSION = CLI_OPT_OWN };
    static const struct option options[] = {
        { "version", no_argument, NULL, VERSION },
        CLI_COMMON,
    };
    const struct cli_verb *verb;
    int option, at;

    while ((option = cli_option(argc, argv, "+hV", options)) >= 0) {
        if (option == VERSION || option == 'V') {
            (void) puts("tram " TRAM_VERSION);
            return (int) cli_flushed(stdout, CLI_OK);
        }
    }
    at = optind;
    if (at == argc)
        cli_usage("a verb is missing");
    if (strcmp(argv[at], "help") == 0 && argc - at == 2)
        return run_help(argv[at + 1]);
    if (strcmp(argv[at], "help") == 0) {
        cli_help(NULL);
        return (int) cli_flushed(stdout, CLI_OK);
    }
    verb = find_verb(argv[at]);
    if (!verb)
        cli_usage("there is no verb '%s'", argv[at]);
    cli_begin(verb);
    optind = 0; /* begin anew, with the verb's arguments */
    return verb->run(argc - at, argv + at);
}
