/* SPDX-License-Identifier: MIT
 *
 * The return of a server at the node where it was. What the client had sent lies in the ring, and
 * SYNC behind it: when the new server reads that, it has read all before it. Each of those requests
 * it has answered (the answer is ahead of SYNCED), has in hand (SYNCED lists it), or has never
 * seen: then only the dead one had it, and nobody knows how far it came. SYNC has a number: one
 * that a server left to its successor is answered when another one is already under way.
 *
 * The list is whole: no more of a node are in hand than it takes, and SYNC waits while a blocking
 * call keeps requests back.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/service.h"

static_assert(REQUESTS_MAX * sizeof(uint64_t) <= 32768, "SYNCED fits half of the smallest ring");

void sync_send(tram_session *session) {
    struct endpoint *endpoint = session->endpoint;

    for (uint32_t i = 0; endpoint->calls.slots && i <= endpoint->calls.mask; i++) {
        struct tram_call *call = endpoint->calls.slots[i];

        if (call && call->session == session) {
            call->before_sync = true;
            call->listed = false;
        }
    }
    session->syncing = true;
    session->syncs = ++endpoint->syncs;
    session_control(session,
                    session_frame(session, FRAME_SYNC, session_own(session) | session->syncs), 0,
                    NULL, 0);
}

void sync_arrived(tram_session *session, const struct inbound *in) {
    uint64_t *list;
    uint32_t count = 0;

    if (!session->link->ops->keeps) { /* a connection comes back with nothing */
        session->endpoint->nonsense++;
        return;
    }
    for (tram_request *r = session->requests; r; r = r->next)
        count++;
    list = malloc((count + 1) * sizeof(*list));
    if (!list) {
        session->broken = BROKEN_TELL;
        worker_defer(session->endpoint->worker, &session->endpoint->notice);
        return;
    }
    count = 0;
    for (tram_request *r = session->requests; r; r = r->next)
        list[count++] = r->correlation;
    session_control(session,
                    session_frame(session, FRAME_SYNCED,
                                  session_own(session) | (uint32_t) in->frame.correlation),
                    0, list, count * sizeof(*list));
    free(list);
}

/* What nobody has any more, or of those that went before SYNC only. An answer that is kept until a
 * blocking call is over came before this, too. */
static void end_unlisted(tram_session *session, bool all) {
    struct endpoint *endpoint = session->endpoint;

    inbox_list_answered(endpoint, session);
    for (uint32_t i = 0; endpoint->calls.slots && i <= endpoint->calls.mask; i++) {
        struct tram_call *call = endpoint->calls.slots[i];

        if (!call || call->session != session || (!all && !call->before_sync))
            continue;
        call->before_sync = false;
        if (!call->listed)
            call_end(call, -ECONNRESET);
    }
}

void synced_arrived(tram_session *session, const struct inbound *in) {
    struct endpoint *endpoint = session->endpoint;

    if (!session->syncing || (uint32_t) in->frame.correlation != session->syncs ||
        in->size % sizeof(uint64_t) != 0)
        return;
    session->syncing = false;
    for (size_t at = 0; at < in->size; at += sizeof(uint64_t)) {
        struct tram_call *call;
        uint64_t correlation;

        memcpy(&correlation, (const char *) in->data + at, sizeof(correlation));
        call = call_find(endpoint, correlation);
        if (call && call->session == session)
            call->listed = true;
    }
    end_unlisted(session, false);
}

void sync_refused(tram_session *session) {
    session->syncing = false;
    end_unlisted(session, true);
}
