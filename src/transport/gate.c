/* SPDX-License-Identifier: MIT */
#include "transport/gate.h"

#include <errno.h>
#include <stddef.h>

#include "transport/transport_inner.h"

static uint32_t most(const struct gate *gate) {
    return gate->max > 0 ? gate->max : GATE_MAX;
}

/* The oldest, of the same host if that has its share already. */
static struct transport *who_goes(struct gate *gate, const struct transport *newcomer) {
    struct transport *first = NULL;
    uint32_t same = 0;

    for (struct transport *one = gate->oldest; one; one = one->gate_next) {
        if (!sys_address_same_host(&one->address, &newcomer->address))
            continue;
        if (!first)
            first = one;
        same++;
    }
    if (first && same >= (most(gate) + 3) / 4)
        return first;
    return gate->count >= most(gate) ? gate->oldest : NULL;
}

struct transport *gate_enter(struct gate *gate, struct transport *transport, int64_t now) {
    struct transport *goes = who_goes(gate, transport);

    transport->gate = gate;
    transport->gate_until = now + (gate->time_ns > 0 ? gate->time_ns : GATE_TIME);
    transport->gate_next = NULL;
    transport->gate_previous = gate->newest;
    if (gate->newest)
        gate->newest->gate_next = transport;
    else
        gate->oldest = transport;
    gate->newest = transport;
    gate->count++;
    if (goes) {
        gate_leave(goes);
        gate->turned_away++;
        (void) transport_broken(goes, -EUSERS,
                                "%s: too many connected and did not say who they are; the first of "
                                "them had to go", goes->peer.address);
    }
    return goes;
}

void gate_leave(struct transport *transport) {
    struct gate *gate = transport->gate;

    if (!gate)
        return;
    if (transport->gate_previous)
        transport->gate_previous->gate_next = transport->gate_next;
    else
        gate->oldest = transport->gate_next;
    if (transport->gate_next)
        transport->gate_next->gate_previous = transport->gate_previous;
    else
        gate->newest = transport->gate_previous;
    transport->gate = NULL;
    gate->count--;
}

int64_t gate_next(const struct gate *gate) {
    return gate->oldest ? gate->oldest->gate_until : INT64_MAX;
}

struct transport *gate_due(struct gate *gate, int64_t now) {
    struct transport *oldest = gate->oldest;

    if (!oldest || oldest->gate_until > now)
        return NULL;
    gate_leave(oldest);
    gate->turned_away++;
    (void) transport_broken(oldest, -ETIMEDOUT,
                            "%s: connected, and did not say in time who it is",
                            oldest->peer.address);
    return oldest;
}
