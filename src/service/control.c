/* SPDX-License-Identifier: MIT
 *
 * Control frames. They must not be lost because a ring, or the memory of the bus, is full at the
 * moment: they wait in a queue of the session, bounded, in their order. A session whose queue
 * overflows has a peer that has not read for long, and asks for more all the time: it is ended.
 *
 * A session that ends with BYE in its queue leaves that behind (`farewell`), or the peer would wait
 * for ever. There is one farewell to each node; what later sessions have to say there waits behind
 * it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/service.h"

struct control {
    struct control *next;
    struct frame frame;
    uint32_t code;
    size_t size;
    char data[];
};

#define FAREWELL_MAX 4096u /* frames of the farewell to a node; who makes us owe more is not told */

struct farewell {
    struct farewell *next, **at;
    struct service *service;
    struct neighbour *neighbour; /* which has it */
    struct link *link;
    struct control *control, **end;
    uint32_t count;
};

static int put(tram_session *session, const struct frame *frame, uint32_t code, const void *data,
               size_t size) {
    union {
        const void *from;
        void *base;
    } payload = {data}; /* struct iovec has no const */
    struct iovec piece = {payload.base, size};

    return session->link->ops->send(session->link, frame, code, &piece, size > 0, false);
}

static struct control *control_new(const struct frame *frame, uint32_t code, const void *data,
                                   size_t size) {
    struct control *control = malloc(sizeof(*control) + size);

    if (!control)
        return NULL;
    control->next = NULL;
    control->frame = *frame;
    control->code = code;
    control->size = size;
    if (size > 0)
        memcpy(control->data, data, size);
    return control;
}

static int keep(tram_session *session, const struct frame *frame, uint32_t code, const void *data,
                size_t size) {
    bool full =
        session->controls >= CONTROLS_MAX || *session_unsent(session) + size > UNSENT_MAX;
    struct control *control;

    if (full && frame->kind != FRAME_BYE)
        return -ENOBUFS;
    if (full)
        control_drop(session); /* what it was about is over with it */
    control = control_new(frame, code, data, size);
    if (!control)
        return -ENOMEM;
    *session->control_end = control;
    session->control_end = &control->next;
    session->controls++;
    session_waits(session, (int64_t) (sizeof(*control) + size));
    return 0;
}

void session_control(tram_session *session, struct frame frame, uint32_t code, const void *data,
                     size_t size) {
    int rc = -EAGAIN;

    if (session->state == SESSION_DEAD)
        return;
    if (!session->control && !(session->neighbour && session->neighbour->farewell))
        rc = put(session, &frame, code, data, size);
    if (rc == -EAGAIN || service_retries(session->endpoint->service, rc))
        rc = keep(session, &frame, code, data, size);
    if (rc < 0 && session->link->ops->keeps)
        session->broken = BROKEN_TELL; /* ended where no list is being walked */
    if (session->broken)
        worker_defer(session->endpoint->worker, &session->endpoint->notice);
}

bool control_flush(tram_session *session) {
    struct control *control;

    if (session->control && session->neighbour && session->neighbour->farewell)
        return false;
    while ((control = session->control)) {
        int rc = put(session, &control->frame, control->code, control->data, control->size);

        if (rc == -EAGAIN || service_retries(session->endpoint->service, rc))
            return false;
        session->control = control->next;
        if (!session->control)
            session->control_end = &session->control;
        session->controls--;
        session_waits(session, -(int64_t) (sizeof(*control) + control->size));
        free(control);
    }
    return true;
}

bool control_waits(const tram_session *session, const struct frame *frame) {
    const struct control *control = session->control;

    while (control && memcmp(&control->frame, frame, sizeof(*frame)) != 0)
        control = control->next;
    return control != NULL;
}

void control_drop(tram_session *session) {
    struct control *control;

    while ((control = session->control)) {
        session->control = control->next;
        session_waits(session, -(int64_t) (sizeof(*control) + control->size));
        free(control);
    }
    session->control_end = &session->control;
    session->controls = 0;
}

void session_bye(tram_session *session) {
    session_control(session, session_frame(session, FRAME_BYE, session_own(session)), 0, NULL, 0);
}

void session_refuse(tram_session *session, uint64_t correlation, int error) {
    struct frame frame = session_frame(session, FRAME_ERROR, correlation);

    frame.flags = FRAME_FAILED;
    session_control(session, frame, (uint32_t) error, NULL, 0);
}

int session_answer(tram_session *session, uint64_t correlation, int status, uint32_t code,
                   const void *data, size_t size) {
    struct frame frame = session_frame(session, FRAME_REPLY, correlation);

    if (session->state == SESSION_DEAD)
        return -ECONNRESET;
    if (status < 0) {
        session_refuse(session, correlation, status);
        return 0;
    }
    return put(session, &frame, code, data, size);
}

/* ---- farewells ------------------------------------------------------------------------------- */

static void farewell_free(struct farewell *farewell) {
    struct neighbour *neighbour = farewell->neighbour;
    struct control *control;

    while ((control = farewell->control)) {
        farewell->control = control->next;
        neighbour->unsent -= sizeof(*control) + control->size;
        free(control);
    }
    *farewell->at = farewell->next;
    if (farewell->next)
        farewell->next->at = farewell->at;
    neighbour->farewell = NULL;
    farewell->link->ops->close(farewell->link);
    neighbour_put(farewell->service, neighbour);
    free(farewell);
}

/* What sessions with this node have to say, which had to wait for it. */
static void controls_resume(struct service *service, const struct neighbour *neighbour) {
    for (struct endpoint *e = service->endpoints; e; e = e->next)
        for (tram_session *session = e->sessions; session; session = session->next)
            if (session->control && (!neighbour || session->neighbour == neighbour))
                (void) control_flush(session); /* or with the next room */
}

static void farewell_flush(struct farewell *farewell) {
    struct service *service = farewell->service;
    struct neighbour *neighbour = farewell->neighbour;
    struct link *link = farewell->link;
    struct control *control;

    while ((control = farewell->control)) {
        struct iovec piece = {control->data, control->size};
        int rc = link->ops->send(link, &control->frame, control->code, &piece, control->size > 0,
                                 false);

        if (rc == -EAGAIN || service_retries(service, rc))
            return;
        if (rc == -EMSGSIZE && control->size > 0) { /* the word goes without it */
            neighbour->unsent -= control->size;
            control->size = 0;
            continue;
        }
        farewell->control = control->next;
        farewell->count--;
        neighbour->unsent -= sizeof(*control) + control->size;
        free(control);
    }
    neighbour->users++;
    farewell_free(farewell);
    controls_resume(service, neighbour);
    neighbour_put(service, neighbour);
}

static void on_space(struct link *link) {
    farewell_flush(link->context);
}

/* The node there ended, and all its endpoints with it. */
static void on_down(struct link *link, int why) {
    (void) why;
    farewell_free(link->context);
}

static void on_up(struct link *link, int32_t pid) {
    (void) link;
    (void) pid;
}

static const struct link_owner farewell_owner = {
    .on_space = on_space,
    .on_down = on_down,
    .on_up = on_up,
};

/* The one to that node. NULL: it does not run, or there is no memory. */
static struct farewell *farewell_to(struct service *service, tram_id node) {
    struct neighbour *neighbour = neighbour_get(service, node);
    struct farewell *farewell;
    bool runs;

    if (!neighbour)
        return NULL;
    if (neighbour->farewell) {
        farewell = neighbour->farewell;
        neighbour_put(service, neighbour);
        return farewell;
    }
    farewell = calloc(1, sizeof(*farewell));
    if (!farewell || link_shm_new(service->worker, node, 1, false, &farewell->link, &runs) < 0) {
        free(farewell);
        neighbour_put(service, neighbour);
        return NULL;
    }
    farewell->service = service;
    farewell->neighbour = neighbour;
    farewell->end = &farewell->control;
    farewell->link->owner = &farewell_owner;
    farewell->link->context = farewell;
    farewell->next = service->farewells;
    farewell->at = &service->farewells;
    if (farewell->next)
        farewell->next->at = &farewell->next;
    service->farewells = farewell;
    neighbour->farewell = farewell;
    if (runs)
        return farewell;
    farewell_free(farewell);
    return NULL;
}

void control_leave(tram_session *session) {
    const struct control *last =
        session->control ? container_of(session->control_end, struct control, next) : NULL;
    struct farewell *farewell = NULL;

    if (last && last->frame.kind == FRAME_BYE && session->link->ops->keeps)
        farewell = farewell_to(session->endpoint->service, session->link->peer);
    if (!farewell || farewell->count + session->controls > FAREWELL_MAX) {
        control_drop(session);
        return;
    }
    *farewell->end = session->control;
    farewell->end = session->control_end;
    farewell->count += session->controls;
    session->control = NULL;
    session->control_end = &session->control;
    session->controls = 0;
    farewell_flush(farewell);
}

void farewell_say(struct service *service, tram_id to, const struct frame *frame, uint32_t code,
                  const void *data, size_t size) {
    union {
        const void *from;
        void *base;
    } payload = {data};
    struct iovec piece = {payload.base, size};
    const struct neighbour *neighbour = service->neighbours;
    struct tram_meta meta = {.tag = code};
    struct farewell *farewell;
    struct control *control;
    int rc = -EAGAIN;

    while (neighbour && neighbour->id != to)
        neighbour = neighbour->next;
    memcpy(meta.layer, frame, sizeof(*frame));
    if (!neighbour || !neighbour->farewell)
        rc = tram_sendv(tram_worker_node(service->worker), to, &meta, &piece, size > 0, TRAM_NOWAIT,
                        0);
    if (rc == -EMSGSIZE && size > 0) {
        farewell_say(service, to, frame, code, NULL, 0);
        return;
    }
    if (rc != -EAGAIN && rc != -EBUSY && !service_retries(service, rc))
        return;
    farewell = farewell_to(service, to);
    if (!farewell || farewell->count >= FAREWELL_MAX)
        return;
    if (farewell->neighbour->unsent + size > UNSENT_MAX)
        size = 0; /* only that it was refused */
    if (!(control = control_new(frame, code, data, size)))
        return; /* who can't be told finds out by his time-out */
    *farewell->end = control;
    farewell->end = &control->next;
    farewell->count++;
    farewell->neighbour->unsent += sizeof(*control) + size;
    farewell_flush(farewell);
}

void controls_again(struct service *service) {
    struct farewell *farewell, *next;

    for (farewell = service->farewells; farewell; farewell = next) {
        next = farewell->next;
        farewell_flush(farewell);
    }
    controls_resume(service, NULL);
}

void farewells_forget(struct service *service) {
    while (service->farewells)
        farewell_free(service->farewells);
}
