/* SPDX-License-Identifier: MIT
 *
 * Exit codes, the same as those of tram(1).
 */
#pragma once

enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_FAILURE = 1, /* the reason is on stderr */
    EXIT_CODE_USAGE = 2,   /* wrong arguments, or a mistake in the config file */
    EXIT_CODE_REFUSED = 4, /* another one serves this bus */
};
