/* SPDX-License-Identifier: MIT */
#pragma once

#include "cli/cli.h"

/* tram ping of a host; "": of each. */
enum cli_exit ping_hosts(const char *host, uint64_t count, uint64_t interval_ns,
                         int64_t timeout_ns, bool json);
