/* SPDX-License-Identifier: MIT
 *
 * Calls of who asks. A call is found by its number: the table has number % size as its slot, and
 * the number counts on, past slots that are taken. So there is nothing to search, an answer that
 * comes too late finds another number, and one number comes again after 2^32 calls. The table is
 * never more than half full; two that differ in a small table differ in a larger one.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/client.h"
#include "service/server.h"
#include "service/service.h"

#define SLOTS_FIRST 64u

static int table_grow(struct call_table *table) {
    uint32_t count = table->slots ? 2 * (table->mask + 1) : SLOTS_FIRST;
    struct tram_call **slots = calloc(count, sizeof(struct tram_call *));

    if (!slots)
        return -ENOMEM;
    for (uint32_t i = 0; table->slots && i <= table->mask; i++)
        if (table->slots[i])
            slots[table->slots[i]->number & (count - 1)] = table->slots[i];
    free(table->slots);
    table->slots = slots;
    table->mask = count - 1;
    return 0;
}

struct tram_call *call_new(struct endpoint *endpoint) {
    struct call_table *table = &endpoint->calls;
    struct service *service = endpoint->service;
    struct tram_call *call = service->free_calls;

    if (table->count >= table->max) {
        errno = EAGAIN;
        return NULL;
    }
    if ((!table->slots || table->count > table->mask / 2) && table_grow(table) < 0) {
        errno = ENOMEM;
        return NULL;
    }
    if (call)
        service->free_calls = call->next;
    else if (!(call = malloc(sizeof(*call)))) {
        errno = ENOMEM;
        return NULL;
    }
    while (table->slots[++table->number & table->mask])
        ;
    call->number = table->number;
    table->slots[call->number & table->mask] = call;
    table->count++;
    call->timer.link = NULL;
    call->deadline = INT64_MAX;
    call->endpoint = endpoint;
    call->session = NULL;
    call->state = CALL_QUEUED;
    call->traced = call->listed = call->before_sync = false;
    call->parts = 0;
    call->queued = NULL;
    call->reply = NULL;
    call->done = NULL;
    return call;
}

struct tram_call *call_find(struct endpoint *endpoint, uint64_t correlation) {
    uint32_t number = (uint32_t) correlation;
    struct tram_call *call;

    if (!endpoint->calls.slots)
        return NULL;
    call = endpoint->calls.slots[number & endpoint->calls.mask];
    return call && call->number == number ? call : NULL;
}

/* Out of the table; it can't be found any more. */
static void take_out(struct tram_call *call) {
    struct call_table *table = &call->endpoint->calls;

    wheel_remove(&call->timer);
    if (call->queued)
        client_unqueue(call->queued);
    call->queued = NULL;
    if (call->session)
        call->session->calls--;
    call->session = NULL;
    table->slots[call->number & table->mask] = NULL;
    table->count--;
}

static void put_back(struct tram_call *call) {
    struct service *service = call->endpoint->service;

    call->state = CALL_FREE;
    call->next = service->free_calls;
    service->free_calls = call;
}

void call_drop(struct tram_call *call) {
    take_out(call);
    put_back(call);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void end_blocking(struct tram_call *call, int status) {
    call->reply->status = status;
    *call->done = true;
    call->endpoint->awaited = NULL;
    call_drop(call);
}

static void tell(struct tram_call *call, const struct tram_result *result) {
    tram_result_fn *fn = call->fn;
    void *arg = call->arg;
    uint8_t trace[16];
    bool traced = call->traced;

    if (traced)
        memcpy(trace, call->trace, sizeof(trace));
    put_back(call); /* it may be the next one that the handler asks with */
    if (!fn)
        return;
    trace_enter(traced ? trace : NULL);
    fn(result, arg);
    trace_leave();
}

static void tell_status(struct tram_call *call, int status) {
    struct tram_result result = {.status = status, .text = ""};

    result.view.topic = "";
    result.view.deadline_ns = INT64_MAX;
    tell(call, &result);
}

void call_end(struct tram_call *call, int status) {
    struct service *service = call->endpoint->service;

    if (call->reply) {
        end_blocking(call, status);
        return;
    }
    if (service->pumping) {
        take_out(call);
        call->state = CALL_ENDED;
        call->status = status;
        call->next = NULL;
        *service->late_end = call;
        service->late_end = &call->next;
        return;
    }
    take_out(call);
    tell_status(call, status);
}

void call_tell_late(struct worker_deferred *deferred) {
    struct service *service = container_of(deferred, struct service, late_defer);
    struct tram_call *call;

    while (!service->pumping && (call = service->late)) {
        service->late = call->next;
        if (!service->late)
            service->late_end = &service->late;
        tell_status(call, call->status);
    }
    requests_tell_cancelled(service);
}

void call_expired(struct wheel_entry *entry) {
    struct tram_call *call = container_of(entry, struct tram_call, timer);

    if (call->state == CALL_SENT && call->session)
        session_control(call->session,
                        session_frame(call->session, FRAME_CANCEL, call_correlation(call)), 0, NULL,
                        0);
    call_end(call, -ETIMEDOUT);
}

/* Ends may have handlers, which may end others, ask anew, and end the endpoint: look from where it
 * was, at whatever is there. Those that are asked meanwhile have another session. */
enum end_how { END_TELL, END_SILENT, END_UNLESS_WAITING }; /* … or answered */

static void end_all(struct endpoint *endpoint, tram_session *session, int status,
                    enum end_how how) {
    for (uint32_t i = 0; endpoint->calls.slots && i <= endpoint->calls.mask; i++) {
        struct tram_call *call = endpoint->calls.slots[i];

        if (!call || (session && call->session != session) ||
            (how == END_UNLESS_WAITING && (call->waits || call->listed)))
            continue;
        if (how == END_SILENT && !call->reply)
            call_drop(call);
        else
            call_end(call, status);
    }
}

void calls_end(struct endpoint *endpoint, tram_session *session, int status) {
    if (!session || session->calls > 0)
        end_all(endpoint, session, status, END_TELL);
}

void calls_forget(struct endpoint *endpoint, tram_session *session) {
    end_all(endpoint, session, -ECANCELED, END_SILENT);
    for (struct tram_call *call = endpoint->service->late; call && !session; call = call->next)
        if (call->endpoint == endpoint)
            call->fn = NULL; /* its end was to be told later: not any more */
}

void calls_lost(struct endpoint *endpoint, tram_session *session) {
    if (session->calls == 0)
        return;
    for (uint32_t i = 0; i <= endpoint->calls.mask; i++) {
        struct tram_call *call = endpoint->calls.slots[i];

        if (call && call->session == session)
            call->listed = false;
    }
    inbox_list_answered(endpoint, session); /* kept, and told when the blocking call is over */
    end_all(endpoint, session, -ECONNRESET, END_UNLESS_WAITING);
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Only who was asked may answer. */
tram_session *call_session(struct endpoint *endpoint, const struct inbound *in) {
    struct tram_call *call = call_find(endpoint, in->frame.correlation);

    if (!call || !call->session || call->session->link->peer != in->from)
        return NULL;
    return call->session;
}

/* Its call ended when the server went; but the next one found the request in its ring, and begins
 * to answer. It would wait for credit without end, and never be done with handing over. */
void call_unwanted(struct endpoint *endpoint, const struct inbound *in) {
    if (endpoint->server || call_find(endpoint, in->frame.correlation))
        return;
    for (tram_session *session = endpoint->sessions; session; session = session->next) {
        struct frame frame = session_frame(session, FRAME_CANCEL, in->frame.correlation);

        if (session->link->peer == in->from && !control_waits(session, &frame))
            session_control(session, frame, 0, NULL, 0);
    }
}

static int failed_status(const struct inbound *in) {
    int32_t code = (int32_t) in->code;

    return code < 0 && code > -4096 ? code : -EPROTO;
}

static char *copy_text(const struct inbound *in) {
    size_t size = in->size < TEXT_MAX ? in->size : TEXT_MAX;
    char *text = malloc(size + 1);

    if (text) {
        memcpy(text, in->data, size);
        text[size] = 0;
    }
    return text;
}

static void answer_blocking(struct tram_call *call, struct inbound *in) {
    tram_reply *reply = call->reply;
    int status = 0;

    view_of(in, &reply->view);
    reply->view.topic = ""; /* what *in has of it goes with it */
    switch (in->frame.kind) {
    case FRAME_ERROR:
        status = in->frame.flags & FRAME_FAILED ? failed_status(in) : -EREMOTEIO;
        reply->code = (int32_t) in->code;
        if (status == -EREMOTEIO)
            reply->text = copy_text(in);
        break;
    case FRAME_PART: /* there is no one to give them to */
        session_control(call->session,
                        session_frame(call->session, FRAME_CANCEL, call_correlation(call)), 0, NULL,
                        0);
        status = -EOPNOTSUPP;
        break;
    default:
        status = hold_take(&reply->held, call->session, in, &reply->view.data);
    }
    end_blocking(call, status);
}

/* A part: hand it out, and let more come when half of the window is through. */
static void hand_part(struct tram_call *call, const struct tram_result *result) {
    tram_session *session = call->session;
    struct frame frame = session_frame(session, FRAME_CREDIT, call_correlation(call));
    uint32_t more = 0;

    if (++call->parts * 2 >= call->window) {
        more = call->parts;
        call->parts = 0;
    }
    trace_enter(call->traced ? call->trace : NULL);
    if (call->fn)
        call->fn(result, call->arg);
    trace_leave();
    if (more > 0 && session->state != SESSION_DEAD)
        session_control(session, frame, more, NULL, 0);
}

void call_answered(struct endpoint *endpoint, tram_session *session, struct inbound *in) {
    struct tram_call *call = call_find(endpoint, in->frame.correlation);
    struct tram_result result;
    char *text = NULL;

    if (!call || call->session != session)
        return; /* it was over here already */
    if (in->frame.kind == FRAME_ERROR && call->waits && (int32_t) in->code == -ECONNREFUSED &&
        in->frame.flags & FRAME_FAILED && queue_take_back(client_of(endpoint), call, in))
        return;
    if (call->reply) {
        answer_blocking(call, in);
        return;
    }
    result.status = 0;
    result.code = 0;
    result.text = "";
    view_of(in, &result.view);
    if (in->frame.kind == FRAME_PART) {
        result.view.flags |= TRAM_VIEW_MORE;
        hand_part(call, &result);
        return;
    }
    if (in->frame.kind == FRAME_ERROR) {
        result.status = in->frame.flags & FRAME_FAILED ? failed_status(in) : -EREMOTEIO;
        result.code = (int32_t) in->code;
        if (result.status == -EREMOTEIO)
            text = copy_text(in);
        result.text = text ? text : "";
        result.view.data = NULL;
        result.view.size = 0;
    }
    take_out(call);
    tell(call, &result);
    free(text);
}

tram_call *tram_call_free(tram_call *call) {
    if (!call || call->state == CALL_FREE || worker_check(call->endpoint->worker) < 0)
        return NULL;
    if (call->state == CALL_ENDED) { /* its end was to be told later: not any more */
        call->fn = NULL;
        return NULL;
    }
    if (call->state == CALL_SENT)
        session_control(call->session,
                        session_frame(call->session, FRAME_CANCEL, call_correlation(call)), 0, NULL,
                        0);
    call_drop(call);
    return NULL;
}
