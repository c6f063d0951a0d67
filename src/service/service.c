/* SPDX-License-Identifier: MIT
 *
 * What the endpoints of a worker share: time-outs, the wait of blocking calls, and the refusal of
 * messages for endpoints that nobody has.
 */
#include "service/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "service/client.h"
#include "service/events.h"
#include "service/secure.h"
#include "service/server.h"
#include "service/typed.h"

#define AGAIN_NS INT64_C(10000000)

/* ---- messages for nobody --------------------------------------------------------------------- */

/* The whole question, for who wants to ask it again. NULL: no memory; then it is only refused. */
static void *give_back(const struct tram_msg *msg) {
    struct returned head = {.code = msg->tag};
    char *data = malloc(sizeof(head) + msg->size);

    if (!data)
        return NULL;
    memcpy(&head.frame, msg->layer, sizeof(head.frame));
    memcpy(data, &head, sizeof(head));
    memcpy(data + sizeof(head), msg->data, msg->size);
    return data;
}

/* Tell who sent it. What is no question is not answered, so that two nodes never refuse each
 * other's refusals. */
void service_refuse(tram_worker *worker, const struct tram_msg *msg) {
    struct frame frame, answer = {0};
    void *data = NULL;
    uint32_t code = 0;

    memcpy(&frame, msg->layer, sizeof(frame));
    if (frame.correlation >> 32 == 0)
        return;
    answer.port = (uint32_t) (frame.correlation >> 32);
    switch (frame.kind) {
    case FRAME_REQUEST:
    case FRAME_GET:
    case FRAME_SET:
    case FRAME_INSPECT:
        answer.kind = FRAME_ERROR;
        answer.flags = FRAME_FAILED;
        answer.correlation = frame.correlation;
        code = (uint32_t) -ECONNREFUSED;
        if (service_refuses(&frame))
            data = give_back(msg);
        break;
    case FRAME_HELLO:
    case FRAME_ONEWAY:
    case FRAME_SYNC:
    case FRAME_SUBSCRIBE:
    case FRAME_WELCOME:
        answer.kind = FRAME_BYE;
        answer.correlation = (uint64_t) frame.port << 32;
        break;
    default:
        return;
    }
    farewell_say(worker_shared(worker), msg->from, &answer, code, data,
                 data ? sizeof(struct returned) + msg->size : 0);
    free(data);
}

/* Is it a question that is refused as not executed? */
bool service_refuses(const struct frame *frame) {
    return frame->kind == FRAME_REQUEST || frame->kind == FRAME_GET || frame->kind == FRAME_SET;
}

/* A client's port is of one life of it only, and an answer for whoever asked in one. */
static bool hopeless(const struct tram_msg *msg) {
    switch (msg->layer[offsetof(struct frame, kind)]) {
    case FRAME_WELCOME:
    case FRAME_SYNCED:
    case FRAME_REPLY:
    case FRAME_PART:
    case FRAME_ERROR:
    case FRAME_SUBSCRIBED:
    case FRAME_EVENT:
    case FRAME_NEWS:
        return true;
    default:
        return false;
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

/* Have the timer run when the wheel wants it, or before. */
static void arm(struct service *service, int64_t at) {
    int64_t wait;

    if (at >= service->timer_at)
        return;
    wait = at - worker_now(service->worker);
    if (tram_timer_set(service->timer, wait > 0 ? wait : 0, 0) == 0)
        service->timer_at = at;
}

static void turn(struct service *service) {
    struct wheel_entry *entry;

    if (service->pumping) { /* what is due has handlers of the application */
        service->wheel_waits = true;
        return;
    }
    service->wheel_waits = false;
    wheel_turn(&service->wheel, worker_now(service->worker));
    while ((entry = wheel_pop(&service->wheel)))
        call_expired(entry);
    arm(service, wheel_next(&service->wheel));
}

static void on_timer(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    struct service *service = arg;

    (void) timer;
    (void) late_ns;
    (void) missed;
    service->timer_at = WHEEL_NEVER;
    turn(service);
}

void service_timeout(struct service *service, struct wheel_entry *entry, int64_t due_ns) {
    arm(service, wheel_add(&service->wheel, entry, due_ns));
}

int64_t service_deadline(struct service *service, int64_t timeout_ns, int64_t otherwise) {
    int64_t now;

    if (timeout_ns == 0)
        timeout_ns = otherwise;
    if (timeout_ns < 0)
        return INT64_MAX;
    now = worker_read_clock(service->worker); /* the handler may have run for long */
    return timeout_ns > INT64_MAX - now ? INT64_MAX : now + timeout_ns;
}

/* ---- once more ------------------------------------------------------------------------------- */

static void on_again(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    struct service *service = arg;

    (void) timer;
    (void) late_ns;
    (void) missed;
    service->again_set = false;
    controls_again(service);
    for (struct endpoint *e = service->endpoints; e; e = e->next)
        if (!e->server && client_of(e)->queue)
            worker_defer(service->worker, &client_of(e)->flush_defer);
}

bool service_retries(struct service *service, int rc) {
    if (rc != -ENOSPC && rc != -ENOMEM)
        return false;
    if (!service->again &&
        worker_inner_timer(service->worker, on_again, service, &service->again) < 0)
        return false;
    if (!service->again_set)
        service->again_set = tram_timer_set(service->again, AGAIN_NS, 0) == 0;
    return service->again_set;
}

/* ---- blocking calls -------------------------------------------------------------------------- */

/* What was put off while a blocking call was on the way. */
static void after_pump(struct service *service) {
    for (struct endpoint *e = service->endpoints; e; e = e->next) {
        worker_defer(service->worker, &e->notice); /* first: who came, then what it said */
        if (e->inbox)
            worker_defer(service->worker, &e->inbox_defer);
        events_after_pump(e);
        if (e->server) {
            drain_check(e);
            worker_defer(service->worker, &server_of(e)->state_defer);
        } else
            worker_defer(service->worker, &client_of(e)->flush_defer);
    }
    if (service->late || service->cancelled)
        worker_defer(service->worker, &service->late_defer);
    if (service->orphans)
        worker_defer(service->worker, &service->drain_defer);
    if (service->wheel_waits)
        arm(service, worker_now(service->worker));
}

int service_pump(struct service *service, struct endpoint *endpoint, const bool *done,
                 int64_t deadline) {
    int rc;

    service->pumping++;
    rc = worker_pump(service->worker, &endpoint->port, done, deadline);
    if (--service->pumping == 0)
        after_pump(service);
    return rc;
}

/* ---- the shared part ------------------------------------------------------------------------- */

uint32_t service_random(void) {
    static uint32_t fallback = 0x2545f491u;
    uint32_t value;

    while (getentropy(&value, sizeof(value)) < 0 || value == 0) {
        if (errno != EINTR && errno != 0) {
            value = __atomic_add_fetch(&fallback, 0x9e3779b9u, __ATOMIC_RELAXED);
            return value ? value : 1;
        }
    }
    return value;
}

/* Behind all else that was deferred, which is of it. */
static void free_memory(struct worker_deferred *deferred) {
    struct service *service = container_of(deferred, struct service, memory);
    struct tram_request *request;
    struct tram_call *call;

    while ((request = service->free_requests)) {
        service->free_requests = request->next;
        free(request);
    }
    while ((call = service->free_calls)) {
        service->free_calls = call->next;
        free(call);
    }
    secure_free(service->secure);
    free(service);
}

static void ending(struct worker_ending *entry) {
    struct service *service = container_of(entry, struct service, ending);

    while (service->endpoints) {
        if (service->endpoints->server)
            (void) tram_server_free(server_of(service->endpoints));
        else
            (void) tram_client_free(client_of(service->endpoints));
    }
    requests_forget(service);
    typed_forget(service);
    drain_forget(service);
    farewells_forget(service);
    hold_forget(service);
    (void) tram_timer_free(service->timer);
    (void) tram_timer_free(service->again);
    worker_set_shared(service->worker, NULL);
    worker_defer(service->worker, &service->memory);
}

struct service *service_get(tram_worker *worker) {
    struct service *service = worker_shared(worker);

    if (service)
        return service;
    service = calloc(1, sizeof(*service));
    if (!service)
        return NULL;
    if (worker_inner_timer(worker, on_timer, service, &service->timer) < 0) {
        free(service);
        return NULL;
    }
    service->worker = worker;
    service->timer_at = WHEEL_NEVER;
    service->late_end = &service->late;
    service->late_defer.fn = call_tell_late;
    service->drain_defer.fn = drain_hand_on;
    service->memory.fn = free_memory;
    wheel_init(&service->wheel, worker_now(worker));
    service->ending.fn = ending;
    worker_ending_add(worker, &service->ending);
    worker_set_stranger(worker, service_refuse, hopeless);
    worker_set_passed(worker, hold_other_passed);
    worker_set_shared(worker, service);
    return service;
}

void **service_names(tram_worker *worker) {
    struct service *service = service_get(worker);

    return service ? &service->names : NULL;
}
