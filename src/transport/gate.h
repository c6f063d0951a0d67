/* SPDX-License-Identifier: MIT
 *
 * The gate: connections that came in and have not shown who they are. How many there are, how many
 * from one host, and for how long, is bounded; nothing that they do costs others more than that.
 *
 *     sys_accept() → transport_take() → gate_enter()   who has to go for it: close that
 *     gate_leave()                        when it has said who it is; closing does it, too
 *     gate_due(now)                       whose time is up: close it, and ask again
 *
 * When it is full the one that came first goes: who means it is through before as many others came.
 * One host has its share of it, a quarter, so that a flood from one leaves the others in.
 */
#pragma once

#include <stdint.h>

#include "transport/transport.h"

#define GATE_MAX  256u
#define GATE_TIME INT64_C(5000000000)

struct gate {
    uint32_t max;     /* how many at a time; 0: GATE_MAX */
    int64_t time_ns;  /* 0: GATE_TIME */
    uint32_t count;
    struct transport *oldest, *newest;
    uint64_t turned_away; /* how many had to go, for room or time */
};

/* NULL, or who has to go for it; never the one that enters. */
struct transport *gate_enter(struct gate *gate, struct transport *transport, int64_t now);
void gate_leave(struct transport *transport);
/* When the next is due; INT64_MAX: nobody is in it. */
int64_t gate_next(const struct gate *gate);
/* Somebody whose time is up, with a text about it; NULL: nobody. */
struct transport *gate_due(struct gate *gate, int64_t now);
