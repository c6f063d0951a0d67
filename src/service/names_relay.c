/* SPDX-License-Identifier: MIT
 *
 * Readers of events of other hosts: the daemon is told which there are, tells when what they want
 * comes, and rings for it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "service/names_inner.h"

static void send_relay(struct names_relay_inner *inner) {
    Tram__Control__Relay relay = CONTROL_NEW(Relay, relay);
    control_frame frame = CONTROL_NEW(Frame, frame);

    relay.cookie = inner->cookie;
    relay.reader = inner->reader;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_RELAY;
    frame.relay = &relay;
    names_link_add(inner->names, &frame);
}

int names_relay(tram_worker *worker, struct names_relay *relay, const char *reader) {
    struct names_relay_inner *inner;
    struct names *names;
    int rc = names_of(worker, &names);

    if (rc < 0)
        return rc;
    inner = calloc(1, sizeof(*inner));
    if (!inner)
        return worker_fail(worker, -ENOMEM, "no memory for a subscription");
    inner->owner = relay;
    inner->names = names;
    inner->cookie = ++names->cookies;
    (void) snprintf(inner->reader, sizeof(inner->reader), "%s", reader);
    inner->next = names->relays;
    names->relays = inner;
    relay->inner = inner;
    rc = names_link_need(names);
    if (rc < 0) {
        names_relay_end(relay);
        return rc;
    }
    send_relay(inner);
    names_link_flush(names);
    return 0;
}

void names_relay_end(struct names_relay *relay) {
    struct names_relay_inner *inner = relay->inner;
    Tram__Control__Unrelay unrelay = CONTROL_NEW(Unrelay, unrelay);
    control_frame frame = CONTROL_NEW(Frame, frame);

    if (!inner)
        return;
    relay->inner = NULL;
    inner->owner = NULL;
    unrelay.cookie = inner->cookie;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_UNRELAY;
    frame.unrelay = &unrelay;
    names_link_add(inner->names, &frame);
    names_link_flush(inner->names);
    names_link_rest(inner->names);
    names_sweep(inner->names);
}

bool names_relays_used(const struct names *names) {
    for (const struct names_relay_inner *inner = names->relays; inner; inner = inner->next)
        if (inner->owner)
            return true;
    return false;
}

void names_relays_register(struct names *names) {
    for (struct names_relay_inner *inner = names->relays; inner; inner = inner->next)
        if (inner->owner)
            send_relay(inner);
}

void names_relays_take(struct names *names, const Tram__Control__Relayed *relayed) {
    struct names_relay_inner *inner = names->relays;

    while (inner && (inner->cookie != relayed->cookie || !inner->owner))
        inner = inner->next;
    if (inner)
        inner->owner->on_relayed(inner->owner, relayed->ring, relayed->error);
}

void names_relays_sweep(struct names *names) {
    struct names_relay_inner **link = &names->relays;

    while (*link) {
        struct names_relay_inner *inner = *link;

        if (inner->owner) {
            link = &inner->next;
            continue;
        }
        *link = inner->next;
        free(inner);
    }
}

void names_relays_end(struct names *names) {
    for (struct names_relay_inner *inner = names->relays; inner; inner = inner->next) {
        if (inner->owner)
            inner->owner->inner = NULL;
        inner->owner = NULL;
    }
}
