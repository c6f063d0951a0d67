/* SPDX-License-Identifier: MIT
 *
 * tram top --hosts: the looks of all daemons as one.
 */
#pragma once

#include "cli/top.h"

/* As top_look(). -ENOENT: no daemon runs here, or the bus is part of no cluster; -EIO: it does not
 * answer. Told, but for -ENOMEM. */
int top_look_hosts(struct top *top);
/* No more of them. */
void top_hosts_end(void);
