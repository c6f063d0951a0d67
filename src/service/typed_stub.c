/* SPDX-License-Identifier: MIT
 *
 * Stubs: what the functions that protoc-c generates take for a service, and make requests of. Each
 * call calls its closure once, also one that could not be sent; that is told by a timer of the
 * worker, so that no closure runs inside the call that it belongs to.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/client.h"
#include "service/typed.h"

struct stub_call {
    struct stub *stub;
    tram_call *call;            /* NULL: it was not sent */
    ProtobufCClosure closure;
    void *data;
    unsigned method;
    int status;                 /* … why */
    struct arena arena;
    struct stub_call *next, **link; /* of the stub: under way, or failed; or free */
};

struct stub_method {
    uint32_t number;
    bool deep;
};

struct stub {
    ProtobufCService service;   /* first */
    tram_client *client;
    tram_worker *worker;
    struct stub *next, **link;  /* of the client */
    struct tram_protobuf_options options;
    struct tram_how how;        /* of the next call */
    const struct tram_result *result;
    struct stub_call *calls;    /* the newest first */
    struct stub_call *failed, **failed_end;
    struct stub_call *free;
    tram_timer *timer;          /* tells those that failed */
    struct worker_deferred memory;
    bool dead;
    struct stub_method methods[];
};

static void invoke(ProtobufCService *service, unsigned index, const ProtobufCMessage *input,
                   ProtobufCClosure closure, void *closure_data);

/* NULL: it is none of ours. */
static struct stub *stub_of(ProtobufCService *service) {
    struct stub *stub = (struct stub *) (void *) service;

    return service && service->invoke == invoke && !stub->dead ? stub : NULL;
}

/* ---- calls ----------------------------------------------------------------------------------- */

static struct stub_call *call_take(struct stub *stub) {
    struct stub_call *call = stub->free;

    if (call) {
        stub->free = call->next;
    } else {
        call = calloc(1, sizeof(*call));
        if (!call)
            return NULL;
        arena_init(&call->arena);
        call->stub = stub;
    }
    call->call = NULL;
    call->next = stub->calls;
    call->link = &stub->calls;
    if (call->next)
        call->next->link = &call->next;
    stub->calls = call;
    return call;
}

static void call_unlink(struct stub_call *call) {
    struct stub *stub = call->stub;

    *call->link = call->next;
    if (call->next)
        call->next->link = call->link;
    else if (stub->failed_end == &call->next)
        stub->failed_end = call->link;
}

static void call_put(struct stub_call *call) {
    arena_clear(&call->arena);
    call->next = call->stub->free;
    call->stub->free = call;
}

/* Tell the closure; `call` is out of all lists. */
static void tell(struct stub_call *call, const struct tram_result *result,
                 const ProtobufCMessage *message) {
    struct stub *stub = call->stub;
    const struct tram_result *before = stub->result;

    stub->result = result;
    if (call->closure)
        call->closure(message, call->data);
    stub->result = before;
    call_put(call); /* of a stub that was freed, too: its memory goes later */
}

static void tell_status(struct stub_call *call, int status, const char *text) {
    struct tram_result result = {.status = status, .text = text};

    result.view.topic = "";
    result.view.deadline_ns = TRAM_FOREVER;
    tell(call, &result, NULL);
}

static void answered(const struct tram_result *result, void *arg) {
    struct stub_call *call = arg;
    struct stub *stub = call->stub;
    const ProtobufCMessageDescriptor *output =
        stub->service.descriptor->methods[call->method].output;
    ProtobufCMessage *message = NULL;
    struct tram_result ours;
    int rc;

    if (result->view.flags & TRAM_VIEW_MORE) {
        (void) tram_call_free(call->call);
        call_unlink(call);
        tell_status(call, -EOPNOTSUPP, "the answer is a stream");
        return;
    }
    call_unlink(call);
    if (result->status < 0) {
        tell(call, result, NULL);
        return;
    }
    rc = typed_decode(&call->arena, output, &result->view, &stub->options,
                      stub->methods[call->method].deep, &message);
    if (rc < 0) {
        ours = *result;
        ours.status = rc == -ENOMEM ? rc : -EBADMSG;
        ours.text = "the answer is no such message, or beyond the limits";
        result = &ours;
    }
    tell(call, result, message);
}

/* ---- those that failed at once --------------------------------------------------------------- */

static void on_timer(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    struct stub *stub = arg;
    struct stub_call *call;
    unsigned count = 0;

    (void) timer;
    (void) late_ns;
    (void) missed;
    for (call = stub->failed; call; call = call->next)
        count++;
    while (count-- > 0 && !stub->dead && (call = stub->failed)) { /* not those that come now */
        call_unlink(call);
        tell_status(call, call->status, strerror(-call->status));
    }
    if (!stub->dead && stub->failed)
        (void) tram_timer_set(stub->timer, 0, 0); /* it was set before: needs nothing new */
}

static void fail(struct stub_call *call, int status) {
    struct stub *stub = call->stub;

    call_unlink(call);
    call->status = status;
    call->next = NULL;
    call->link = stub->failed_end;
    *stub->failed_end = call;
    stub->failed_end = &call->next;
    (void) tram_timer_set(stub->timer, 0, 0); /* of this worker and in its thread: can't fail */
}

/* ---- calling --------------------------------------------------------------------------------- */

static int send_small(struct stub_call *call, const ProtobufCMessage *input, size_t size,
                      const struct tram_how *how) {
    struct stub *stub = call->stub;
    uint8_t packed[PACKED_SMALL];

    size = protobuf_c_message_pack(input, packed);
    return tram_client_ask(stub->client, stub->methods[call->method].number, packed, size, how,
                           answered, call, &call->call);
}

static int send_large(struct stub_call *call, const ProtobufCMessage *input, size_t size,
                      const struct tram_how *how) {
    struct stub *stub = call->stub;
    uint32_t number = stub->methods[call->method].number;
    tram_draft *draft;
    void *data;
    int rc = -ENOTCONN;

    if (!stub->client->queue) /* which nothing may overtake */
        rc = tram_client_draft(stub->client, size, how, &draft, &data);
    if (rc == 0) {
        size = protobuf_c_message_pack(input, data);
        rc = tram_draft_ask(&draft, number, size, answered, call, &call->call);
        if (rc < 0)
            (void) tram_draft_free(draft);
        return rc;
    }
    if (rc != -ENOTCONN) /* its server isn't known yet: it may wait */
        return rc;
    data = malloc(size);
    if (!data)
        return -ENOMEM;
    size = protobuf_c_message_pack(input, data);
    rc = tram_client_ask(stub->client, number, data, size, how, answered, call, &call->call);
    free(data);
    return rc;
}

static struct tram_how next_how(struct stub *stub) {
    struct tram_how how = stub->how;

    stub->how = (struct tram_how) TRAM_HOW_INIT;
    if (how.timeout_ns == 0)
        how.timeout_ns = stub->options.timeout_ns;
    return how;
}

static void invoke(ProtobufCService *service, unsigned index, const ProtobufCMessage *input,
                   ProtobufCClosure closure, void *closure_data) {
    struct stub *stub = stub_of(service);
    struct stub_call *call;
    struct tram_how how;
    size_t size;
    int rc;

    if (!stub || worker_check(stub->worker) < 0 || !(call = call_take(stub))) {
        if (closure) /* nothing to remember it with, or not here: the one call that is at once */
            closure(NULL, closure_data);
        return;
    }
    call->closure = closure;
    call->data = closure_data;
    call->method = index;
    how = next_how(stub);
    if (!input || input->descriptor != service->descriptor->methods[index].input) {
        fail(call, -EPROTO);
        return;
    }
    size = protobuf_c_message_get_packed_size(input);
    rc = size <= PACKED_SMALL ? send_small(call, input, size, &how)
                              : send_large(call, input, size, &how);
    if (rc < 0)
        fail(call, rc);
}

void tram_protobuf_next(ProtobufCService *service, const struct tram_how *how) {
    struct stub *stub = stub_of(service);

    if (stub)
        stub->how = how && how->struct_size >= sizeof(*how) ? *how
                                                            : (struct tram_how) TRAM_HOW_INIT;
}

const struct tram_result *tram_protobuf_result(ProtobufCService *service) {
    struct stub *stub = (struct stub *) (void *) service; /* also of one that was freed just now */

    return service && service->invoke == invoke ? stub->result : NULL;
}

static void drop(struct stub_call *call) {
    call_unlink(call);
    (void) tram_call_free(call->call);
    call_put(call);
}

void tram_protobuf_cancel(ProtobufCService *service, const void *closure_data) {
    struct stub *stub = stub_of(service);
    struct stub_call *call, *next;

    if (!stub || worker_check(stub->worker) < 0)
        return;
    for (int list = 0; list < 2; list++) {
        for (call = list ? stub->failed : stub->calls; call; call = next) {
            next = call->next;
            if (call->data == closure_data)
                drop(call);
        }
    }
}

/* ---- waiting --------------------------------------------------------------------------------- */

static int ask(struct stub *stub, unsigned index, const ProtobufCMessage *request,
               const struct tram_how *how, tram_reply **ret_reply) {
    size_t size = protobuf_c_message_get_packed_size(request);
    uint8_t small[PACKED_SMALL], *packed = size <= sizeof(small) ? small : malloc(size);
    int rc;

    if (!packed)
        return worker_fail(stub->worker, -ENOMEM, "no memory for a request");
    size = protobuf_c_message_pack(request, packed);
    rc = tram_client_call(stub->client, stub->methods[index].number, packed, size, how, ret_reply);
    if (packed != small)
        free(packed);
    return rc;
}

int tram_protobuf_call(ProtobufCService *service, const char *method,
                       const ProtobufCMessage *request, const struct tram_how *how,
                       ProtobufCMessage **ret_answer) {
    struct stub *stub = stub_of(service);
    const ProtobufCMethodDescriptor *called;
    struct tram_how own = how ? *how : (struct tram_how) TRAM_HOW_INIT;
    tram_reply *reply;
    int rc;

    if (!stub || !method || !request || !ret_answer)
        return -EINVAL;
    rc = worker_check(stub->worker);
    if (rc < 0)
        return rc;
    called = protobuf_c_service_descriptor_get_method_by_name(service->descriptor, method);
    if (!called)
        return worker_fail(stub->worker, -ENOSYS, "%.64s has no method '%.64s'",
                           service->descriptor->name, method);
    if (request->descriptor != called->input)
        return worker_fail(stub->worker, -EPROTO, "%.64s.%.64s takes a %.64s",
                           service->descriptor->name, method, called->input->name);
    if (own.timeout_ns == 0)
        own.timeout_ns = stub->options.timeout_ns;
    rc = ask(stub, (unsigned) (called - service->descriptor->methods), request, &own, &reply);
    if (rc < 0)
        return rc;
    rc = tram_protobuf_unpack(called->output, tram_reply_view(reply), &stub->options, ret_answer);
    (void) tram_reply_free(reply);
    if (rc < 0 && rc != -ENOMEM)
        return worker_fail(stub->worker, -EBADMSG, "the answer is no %.64s, or beyond the limits",
                           called->output->name);
    return rc;
}

int tram_protobuf_send(tram_client *client, uint32_t code, const ProtobufCMessage *message,
                       const struct tram_how *how) {
    uint8_t small[PACKED_SMALL], *packed = small;
    size_t size;
    int rc;

    if (!client || !message || !message->descriptor)
        return -EINVAL;
    rc = worker_check(client->endpoint.worker);
    if (rc < 0)
        return rc;
    size = protobuf_c_message_get_packed_size(message);
    if (size > sizeof(small) && !(packed = malloc(size)))
        return worker_fail(client->endpoint.worker, -ENOMEM, "no memory for a message");
    size = protobuf_c_message_pack(message, packed);
    rc = tram_client_send(client, code, packed, size, how);
    if (packed != small)
        free(packed);
    return rc;
}

/* ---- making and ending ----------------------------------------------------------------------- */

static void free_memory(struct worker_deferred *deferred) {
    struct stub *stub = container_of(deferred, struct stub, memory);
    struct stub_call *call;

    while ((call = stub->free)) {
        stub->free = call->next;
        arena_deinit(&call->arena);
        free(call);
    }
    free(stub);
}

static void end(struct stub *stub) {
    while (stub->calls)
        drop(stub->calls);
    while (stub->failed)
        drop(stub->failed);
    *stub->link = stub->next;
    if (stub->next)
        stub->next->link = stub->link;
    (void) tram_timer_free(stub->timer);
    stub->dead = true;
    worker_defer(stub->worker, &stub->memory);
}

static struct stub *make(tram_client *client, const ProtobufCServiceDescriptor *descriptor,
                         const struct tram_protobuf_options *options) {
    struct stub *stub =
        calloc(1, sizeof(*stub) + descriptor->n_methods * sizeof(struct stub_method));

    if (!stub)
        return NULL;
    stub->service = (ProtobufCService) {descriptor, invoke, NULL};
    stub->client = client;
    stub->worker = client->endpoint.worker;
    stub->options = *options;
    stub->how = (struct tram_how) TRAM_HOW_INIT;
    stub->failed_end = &stub->failed;
    stub->memory.fn = free_memory;
    for (unsigned i = 0; i < descriptor->n_methods; i++) {
        stub->methods[i].number = typed_number(descriptor, i);
        stub->methods[i].deep =
            typed_may_be_deep(descriptor->methods[i].output, options->depth_max);
    }
    return stub;
}

int tram_protobuf_stub_new(tram_client *client, const ProtobufCServiceDescriptor *descriptor,
                           const struct tram_protobuf_options *options,
                           ProtobufCService **ret_stub) {
    struct tram_protobuf_options given;
    struct stub *stub;
    int rc;

    if (!client)
        return -EINVAL;
    rc = worker_check(client->endpoint.worker);
    if (rc < 0)
        return rc;
    if (client->endpoint.dead || !descriptor || !ret_stub ||
        descriptor->magic != PROTOBUF_C__SERVICE_DESCRIPTOR_MAGIC ||
        typed_options(&given, options) < 0)
        return worker_fail(client->endpoint.worker, -EINVAL,
                           "no service of protoc-c, or options out of their range");
    stub = make(client, descriptor, &given);
    if (!stub)
        return worker_fail(client->endpoint.worker, -ENOMEM, "no memory for a stub");
    rc = tram_timer_new(stub->worker, on_timer, stub, &stub->timer);
    if (rc < 0) {
        free(stub);
        return rc;
    }
    stub->next = client->typed;
    if (stub->next)
        stub->next->link = &stub->next;
    stub->link = &client->typed;
    client->typed = stub;
    *ret_stub = &stub->service;
    return 0;
}

ProtobufCService *tram_protobuf_stub_free(ProtobufCService *service) {
    struct stub *stub = stub_of(service);

    if (stub && worker_check(stub->worker) == 0)
        end(stub);
    return NULL;
}

void typed_client_gone(tram_client *client) {
    while (client->typed)
        end(client->typed);
}
