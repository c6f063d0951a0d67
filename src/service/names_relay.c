/* SPDX-License-Identifier: MIT
 *
 * Readers of events of other hosts: the daemon is told which there are, tells when what they want
 * comes, and rings for it.
 */
#include <stdio.h>

#include "service/names_inner.h"

struct reading {
    struct names_wish wish;
    struct names_relay *relay;
    char reader[CONTROL_READER_MAX];
};

static void say(const struct names_wish *wish, bool wanted) {
    Tram__Control__Relay relay = CONTROL_NEW(Relay, relay);
    Tram__Control__Unrelay unrelay = CONTROL_NEW(Unrelay, unrelay);
    control_frame frame = CONTROL_NEW(Frame, frame);

    relay.cookie = unrelay.cookie = wish->cookie;
    relay.reader = (char *) (uintptr_t) ((const struct reading *) wish)->reader; /* only read */
    if (wanted) {
        frame.kind_case = TRAM__CONTROL__FRAME__KIND_RELAY;
        frame.relay = &relay;
    } else {
        frame.kind_case = TRAM__CONTROL__FRAME__KIND_UNRELAY;
        frame.unrelay = &unrelay;
    }
    names_link_add(wish->names, &frame);
}

int names_relay(tram_worker *worker, struct names_relay *relay, const char *reader) {
    struct reading *reading;
    int rc = names_wish_new(worker, sizeof(*reading), say, &relay->wish);

    if (rc < 0)
        return rc;
    reading = (struct reading *) relay->wish;
    reading->relay = relay;
    (void) snprintf(reading->reader, sizeof(reading->reader), "%s", reader);
    return names_wish_begin(&reading->wish);
}

void names_relay_end(struct names_relay *relay) {
    names_wish_end(relay->wish);
}

void names_relay_take(struct names *names, const Tram__Control__Relayed *relayed) {
    struct reading *reading = (struct reading *) names_wish_find(names, relayed->cookie, say);

    if (reading)
        reading->relay->on_relayed(reading->relay, relayed->ring, relayed->error);
}
