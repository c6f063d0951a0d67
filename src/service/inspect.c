/* SPDX-License-Identifier: MIT
 *
 * What a server says of itself to tools: FRAME_INSPECT is answered with a tram.control.Inspection.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service/inspect.h"
#include "service/client.h"
#include "service/server.h"
#include "wire/control.pb-c.h"

#define SESSIONS_MAX 256u /* in one answer */
#define SIZE_LIMIT   (2u << 20)

union text { /* protobuf-c has no const */
    const char *from;
    char *text;
};

static char *plain(const char *from) {
    union text text = {from};

    return text.text;
}

static void describe(Tram__Control__Inspection__Session *out, tram_session *session) {
    tram__control__inspection__session__init(out);
    out->name = plain(session->party.name);
    out->program = plain(session->party.program);
    out->address = plain(session->party.address);
    out->pid = session->party.pid;
    out->node = session->party.node;
    out->requests = session->requests_ever;
    for (tram_request *r = session->requests; r; r = r->next)
        out->in_hand++;
    out->messages = session->messages_ever;
    out->events = session->events_ever;
    if (session->link->ops->waiting)
        out->waiting = session->link->ops->waiting(session->link);
}

static void answer(tram_session *session, uint64_t correlation,
                   const Tram__Control__Inspection *inspection) {
    size_t size = tram__control__inspection__get_packed_size(inspection);
    uint8_t *packed = size <= SIZE_LIMIT ? malloc(size) : NULL;

    if (!packed) {
        session_refuse(session, correlation, -ENOMEM);
        return;
    }
    (void) tram__control__inspection__pack(inspection, packed);
    if (session_answer(session, correlation, 0, 0, packed, size) < 0)
        session_refuse(session, correlation, -EAGAIN);
    free(packed);
}

void server_inspected(tram_session *session, const struct inbound *in) {
    tram_server *server = server_of(session->endpoint);
    Tram__Control__Inspection inspection;
    Tram__Control__Party party;
    Tram__Control__Inspection__Session *sessions = calloc(SESSIONS_MAX, sizeof(*sessions));
    Tram__Control__Inspection__Session *list[SESSIONS_MAX];

    if (!sessions) {
        session_refuse(session, in->frame.correlation, -ENOMEM);
        return;
    }
    tram__control__inspection__init(&inspection);
    tram__control__party__init(&party);
    party.name = server->service;
    party.instance = server->instance;
    party.program = plain(program_invocation_short_name);
    party.pid = (int32_t) getpid();
    party.node = tram_node_id(tram_worker_node(server->endpoint.worker));
    party.port = server->endpoint.port.port;
    inspection.party = &party;
    inspection.sessions = list;
    inspection.requests = server->requests_ever;
    inspection.expired = server->expired;
    inspection.descriptors = (ProtobufCBinaryData){server->descriptors_size, server->descriptors};
    if (in->code == INSPECT_BRIEF)
        inspection.descriptors.len = 0;
    for (tram_session *s = server->endpoint.sessions; s && in->code != INSPECT_BRIEF; s = s->next) {
        if (inspection.n_sessions == SESSIONS_MAX) {
            inspection.more = true;
            break;
        }
        list[inspection.n_sessions] = &sessions[inspection.n_sessions];
        describe(list[inspection.n_sessions++], s);
    }
    answer(session, in->frame.correlation, &inspection);
    free(sessions);
}

int client_inspect(tram_client *client, uint32_t what, const struct tram_how *how,
                   tram_result_fn *fn, void *arg, tram_call **ret_call) {
    return client_ask(client, FRAME_INSPECT, what, NULL, 0, how, fn, arg, ret_call);
}
