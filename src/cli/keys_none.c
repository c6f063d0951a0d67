/* SPDX-License-Identifier: MIT
 *
 * tram keys, where there is no OpenSSL: what it would do can be read.
 */
#include <string.h>

#include "cli/cli.h"

int verb_keys(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        static const struct option options[] = {CLI_COMMON};

        (void) cli_option(argc, argv, "h", options);
    }
    cli_error("this tram was built without TLS");
    return CLI_FAILURE;
}
