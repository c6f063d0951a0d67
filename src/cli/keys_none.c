/* SPDX-License-Identifier: MIT
 *
 * tram keys, where there is no OpenSSL.
 */
#include "cli/cli.h"

int verb_keys(int argc, char **argv) {
    (void) argc;
    (void) argv;
    cli_error("this tram was built without TLS");
    return CLI_FAILURE;
}
