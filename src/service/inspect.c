/* SPDX-License-Identifier: MIT
 *
 * What a server says of itself to tools: FRAME_INSPECT is answered with a tram.control.Inspection.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service/inspect.h"
#include "service/client.h"
#include "service/publish.h"
#include "service/server.h"
#include "wire/control.pb-c.h"

#define SESSIONS_MAX      256u /* in one answer, as the next two */
#define SUBSCRIPTIONS_MAX 512u
#define EVENTS_MAX        256u
#define VALUE_MAX         4096u /* what is shown of a cached one */
#define SUBSCRIPTION_TEXT 400
#define SIZE_LIMIT        (2u << 20)

/* What an answer is made of. */
struct answer {
    Tram__Control__Inspection inspection;
    Tram__Control__Party party;
    Tram__Control__Inspection__Session session[SESSIONS_MAX], *sessions[SESSIONS_MAX];
    Tram__Control__Inspection__Event event[EVENTS_MAX], *events[EVENTS_MAX];
    char *subscriptions[SUBSCRIPTIONS_MAX], text[SUBSCRIPTIONS_MAX][SUBSCRIPTION_TEXT];
    size_t subscription_count;
};

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
    out->host = plain(session->party.host);
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

/* "7 wind block durable, 12 behind, 3 missed": event and topic that it wants, how it is delivered,
 * and, of one that reads the ring, how many events it has not read yet, and how many were lost. */
static void say(const struct subscriber *subscriber, char text[SUBSCRIPTION_TEXT]) {
    static const char *const deliveries[] = {[TRAM_DELIVER_LATEST_ALL] = "",
                                             [TRAM_DELIVER_BLOCK] = " block",
                                             [TRAM_DELIVER_LAST] = " last"};
    const struct publisher *publisher = subscriber->publisher;
    char event[16] = "*";
    uint64_t behind = 0, missed = subscriber->missed;

    if (subscriber->ring) {
        const struct topic_reader *reader = reader_words(&subscriber->reader);
        uint64_t position = load_acquire(&reader->position);
        uint64_t number = load_relaxed(&reader->number[WORD_SLOT(position)]);

        if (load_relaxed(&reader->topic) != load_relaxed(&publisher->tx.words->id) ||
            WORD_POSITION(position) == publisher->tx.pos)
            number = publisher->tx.number; /* it has not begun; or has read all */
        missed = load_relaxed(&reader->missed);
        behind = number < publisher->tx.number ? publisher->tx.number - number : 0;
    }
    if (subscriber->event != TRAM_ANY_EVENT)
        (void) snprintf(event, sizeof(event), "%" PRIu32, subscriber->event);
    (void) snprintf(text, SUBSCRIPTION_TEXT, "%s%s%s%s%s, %" PRIu64 " behind, %" PRIu64 " missed",
                    event, subscriber->topic[0] ? " " : "", subscriber->topic,
                    deliveries[subscriber->delivery], subscriber->durable ? " durable" : "",
                    behind, missed);
}

static void subscriptions(struct answer *a, Tram__Control__Inspection__Session *out,
                          const tram_session *session) {
    const struct publisher *publisher = server_of(session->endpoint)->events;

    out->subscriptions = &a->subscriptions[a->subscription_count];
    for (const struct subscriber *at = publisher ? publisher->subscribers : NULL; at;
         at = at->next) {
        if (at->session != session)
            continue;
        if (a->subscription_count == SUBSCRIPTIONS_MAX) {
            a->inspection.more = true;
            return;
        }
        say(at, a->text[a->subscription_count]);
        a->subscriptions[a->subscription_count] = a->text[a->subscription_count];
        a->subscription_count++;
        out->n_subscriptions++;
    }
}

/* Those of which values are kept, in the order in which they came. */
static void events(struct answer *a, const struct publisher *publisher) {
    const struct cached_topic *at = publisher ? publisher->cache.first : NULL;

    for (; at; at = at->after) {
        Tram__Control__Inspection__Event *out = &a->event[a->inspection.n_events];

        if (a->inspection.n_events == EVENTS_MAX) {
            a->inspection.more = true;
            return;
        }
        tram__control__inspection__event__init(out);
        out->event = at->event;
        out->topic = plain(at->topic);
        out->published = at->published;
        out->cached = at->count;
        if (at->newest) {
            out->size = at->newest->size;
            out->value.data = at->newest->data;
            out->value.len = at->newest->size < VALUE_MAX ? at->newest->size : VALUE_MAX;
        }
        a->events[a->inspection.n_events++] = out;
    }
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

static void say_who(struct answer *a, tram_server *server) {
    Tram__Control__Party *party = &a->party;

    tram__control__party__init(party);
    party->name = server->service;
    party->instance = server->instance;
    party->program = plain(program_invocation_short_name);
    party->pid = (int32_t) getpid();
    party->node = tram_node_id(tram_worker_node(server->endpoint.worker));
    party->port = server->endpoint.port.port;
    a->inspection.party = party;
    a->inspection.requests = server->requests_ever;
    a->inspection.expired = server->expired;
}

static void say_all(struct answer *a, tram_server *server) {
    a->inspection.descriptors =
        (ProtobufCBinaryData){server->descriptors_size, server->descriptors};
    a->inspection.sessions = a->sessions;
    a->inspection.events = a->events;
    for (tram_session *s = server->endpoint.sessions; s; s = s->next) {
        size_t n = a->inspection.n_sessions;

        if (n == SESSIONS_MAX) {
            a->inspection.more = true;
            break;
        }
        describe(&a->session[n], s);
        subscriptions(a, &a->session[n], s);
        a->sessions[n] = &a->session[n];
        a->inspection.n_sessions++;
    }
    events(a, server->events);
}

void server_inspected(tram_session *session, const struct inbound *in) {
    tram_server *server = server_of(session->endpoint);
    struct answer *a = calloc(1, sizeof(*a));

    if (!a) {
        session_refuse(session, in->frame.correlation, -ENOMEM);
        return;
    }
    tram__control__inspection__init(&a->inspection);
    say_who(a, server);
    if (in->code != INSPECT_BRIEF)
        say_all(a, server);
    answer(session, in->frame.correlation, &a->inspection);
    free(a);
}

int client_inspect(tram_client *client, uint32_t what, const struct tram_how *how,
                   tram_result_fn *fn, void *arg, tram_call **ret_call) {
    return client_ask(client, FRAME_INSPECT, what, NULL, 0, how, fn, arg, ret_call);
}
