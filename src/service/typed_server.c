/* SPDX-License-Identifier: MIT
 *
 * Services of protoc-c at a server. A request becomes a call of the generated handler; what its
 * closure is given stands for the request until it is answered, in the handler or later. It is no
 * bare pointer: its low bits count how often the memory was used, so that a closure that is called
 * twice finds that out, and does not answer somebody else.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/server.h"
#include "service/typed.h"

#define USES 63u /* what fits below the alignment */

struct method {
    uint32_t number;        /* 0: none */
    unsigned index;
    struct binding *binding;
    bool deep;
};

struct binding {
    struct binding *next;
    ProtobufCService *service;
    struct tram_protobuf_options options;
};

struct typed_methods {      /* of a server: open addressing, a power of two, at most half full */
    struct method *slots;
    uint32_t mask, count;
    struct binding *bindings;
};

/* A request whose handler was called. */
struct typed_call {
    _Alignas(USES + 1) struct arena arena;
    tram_request *request;  /* NULL: answered */
    struct typed_calls *owner;
    const ProtobufCMessageDescriptor *output;
    unsigned uses;
    bool in_handler;
    uint8_t *answer;        /* that waits for room */
    size_t size;
    struct typed_call *next;
};

#define BLOCK 16u

struct block {
    struct typed_call calls[BLOCK];
    struct block *next;
};

struct typed_calls {        /* of a worker */
    struct typed_call *free;
    struct block *blocks;
    struct typed_call *waiting, **waiting_end;
};

/* ---- calls ----------------------------------------------------------------------------------- */

static bool more_calls(struct typed_calls *calls) {
    struct block *block = aligned_alloc(USES + 1, sizeof(*block));

    if (!block)
        return false;
    memset(block, 0, sizeof(*block));
    block->next = calls->blocks;
    calls->blocks = block;
    for (unsigned i = 0; i < BLOCK; i++) {
        arena_init(&block->calls[i].arena);
        block->calls[i].owner = calls;
        block->calls[i].next = calls->free;
        calls->free = &block->calls[i];
    }
    return true;
}

static struct typed_call *call_take(struct service *service) {
    struct typed_calls *calls = service->typed;
    struct typed_call *call;

    if (!calls) {
        calls = calloc(1, sizeof(*calls));
        if (!calls)
            return NULL;
        calls->waiting_end = &calls->waiting;
        service->typed = calls;
    }
    if (!calls->free && !more_calls(calls))
        return NULL;
    call = calls->free;
    calls->free = call->next;
    call->next = NULL;
    return call;
}

static void call_put(struct typed_call *call) {
    arena_clear(&call->arena);
    free(call->answer);
    call->answer = NULL;
    call->request = NULL;
    call->uses = (call->uses + 1) & USES;
    call->next = call->owner->free;
    call->owner->free = call;
}

static void *call_handle(struct typed_call *call) {
    return (char *) call + call->uses;
}

/* NULL: it was answered before. */
static struct typed_call *call_of(void *handle) {
    struct typed_call *call;
    size_t uses = (uintptr_t) handle & USES;

    if (!handle)
        return NULL;
    call = (struct typed_call *) (void *) ((char *) handle - uses);
    return call->uses == uses && call->request && !call->answer ? call : NULL;
}

void typed_forget(struct service *service) {
    struct typed_calls *calls = service->typed;

    if (!calls)
        return;
    for (struct block *block; (block = calls->blocks);) {
        calls->blocks = block->next;
        for (unsigned i = 0; i < BLOCK; i++) {
            arena_deinit(&block->calls[i].arena);
            free(block->calls[i].answer);
        }
        free(block);
    }
    free(calls);
    service->typed = NULL;
}

/* ---- answers --------------------------------------------------------------------------------- */

/* Answered, or it goes nowhere: if its handler has returned, nobody needs it any more. */
static void answered(struct typed_call *call) {
    if (!call->request && !call->in_handler)
        call_put(call);
}

static void answer_error(struct typed_call *call, int32_t code, const char *text) {
    if (tram_reply_error(&call->request, code, text) < 0 && call->request) {
        tram_request *request = call->request;

        call->request = NULL;
        (void) tram_request_free(request); /* that waits for room by itself */
    }
    answered(call);
}

/* There is no room: keep it, packed, until there is. */
static void keep(struct typed_call *call, const ProtobufCMessage *message, size_t size) {
    call->answer = malloc(size > 0 ? size : 1);
    if (!call->answer) {
        answer_error(call, -ENOMEM, "no memory for the answer");
        return;
    }
    call->size = protobuf_c_message_pack(message, call->answer);
    call->next = NULL;
    *call->owner->waiting_end = call;
    call->owner->waiting_end = &call->next;
}

static int send_packed(struct typed_call *call, const ProtobufCMessage *message, size_t size) {
    uint8_t packed[PACKED_SMALL];
    tram_draft *draft;
    void *data;
    int rc;

    if (size <= sizeof(packed)) {
        size = protobuf_c_message_pack(message, packed);
        return tram_reply_send(&call->request, packed, size);
    }
    rc = tram_request_draft(call->request, size, &draft, &data);
    if (rc == -ECANCELED) /* nobody waits for it */
        return tram_reply_send(&call->request, NULL, 0);
    if (rc < 0)
        return rc;
    size = protobuf_c_message_pack(message, data);
    return tram_draft_reply(&draft, &call->request, size);
}

/* What the generated code takes as its closure. */
static void closure(const ProtobufCMessage *message, void *closure_data) {
    struct typed_call *call = call_of(closure_data);
    size_t size;
    int rc;

    if (!call || worker_check(call->request->service->worker) < 0)
        return;
    if (!message) {
        answer_error(call, -ECANCELED, "the handler had no answer");
        return;
    }
    if (message->descriptor != call->output) {
        answer_error(call, -EPROTO, "the handler's answer is of another type");
        return;
    }
    size = protobuf_c_message_get_packed_size(message);
    rc = send_packed(call, message, size);
    if (!call->request)
        answered(call);
    else if (rc == -EAGAIN)
        keep(call, message, size);
    else if (rc < 0)
        answer_error(call, rc, "the answer is too large, or there is no memory for it");
}

void typed_space(tram_server *server) {
    struct typed_calls *calls = server->endpoint.service->typed;
    struct typed_call *call, *list;

    if (!calls || !calls->waiting)
        return;
    list = calls->waiting;
    calls->waiting = NULL;
    calls->waiting_end = &calls->waiting;
    while ((call = list)) {
        list = call->next;
        call->next = NULL;
        if (tram_reply_send(&call->request, call->answer, call->size) == -EAGAIN) {
            *calls->waiting_end = call;
            calls->waiting_end = &call->next;
            continue;
        }
        free(call->answer);
        call->answer = NULL;
        if (call->request)
            answer_error(call, -ENOMEM, "the answer could not be sent");
        else
            answered(call);
    }
}

tram_request *tram_protobuf_request(void *closure_data) {
    struct typed_call *call = call_of(closure_data);

    return call ? call->request : NULL;
}

void tram_protobuf_error(void *closure_data, int32_t code, const char *text) {
    struct typed_call *call = call_of(closure_data);

    if (call && worker_check(call->request->service->worker) == 0)
        answer_error(call, code, text);
}

/* ---- requests -------------------------------------------------------------------------------- */

static struct method *find(struct typed_methods *methods, uint32_t number) {
    uint32_t at = number & methods->mask;

    while (methods->slots[at].number != 0 && methods->slots[at].number != number)
        at = (at + 1) & methods->mask;
    return &methods->slots[at];
}

static void refuse(tram_request **request, const struct method *method, int rc) {
    const ProtobufCServiceDescriptor *service = method->binding->service->descriptor;
    const ProtobufCMethodDescriptor *called = &service->methods[method->index];
    char text[256];

    (void) snprintf(text, sizeof(text), "%.60s.%.60s: %s %.60s", service->name, called->name,
                    rc == -EBADMSG   ? "not, or beyond the limits of,"
                    : rc == -EMSGSIZE ? "too large for"
                                      : "no memory for",
                    called->input->name);
    if (tram_reply_error(request, rc, text) < 0 && *request)
        *request = tram_request_free(*request);
}

static void handle(tram_request **request, const struct method *method, struct typed_call *call) {
    ProtobufCService *service = method->binding->service;
    const ProtobufCMethodDescriptor *called = &service->descriptor->methods[method->index];
    ProtobufCMessage *message;
    int rc = typed_decode(&call->arena, called->input, &(*request)->view,
                          &method->binding->options, method->deep, &message);

    if (rc < 0) {
        refuse(request, method, rc);
        call_put(call);
        return;
    }
    call->request = *request;
    *request = NULL; /* it is the call's, now and if it is answered later */
    call->output = called->output;
    call->in_handler = true;
    service->invoke(service, method->index, message, closure, call_handle(call));
    call->in_handler = false;
    answered(call);
}

bool typed_request(tram_server *server, tram_request **request) {
    struct typed_methods *methods = server->typed;
    struct typed_call *call;
    struct method *method;

    if (!methods || methods->count == 0)
        return false;
    method = find(methods, (*request)->view.code);
    if (method->number == 0 || (*request)->view.code == 0)
        return false;
    call = call_take(server->endpoint.service);
    if (!call) {
        refuse(request, method, -ENOMEM);
        return true;
    }
    handle(request, method, call);
    return true;
}

/* ---- binding --------------------------------------------------------------------------------- */

static int make_room(struct typed_methods *methods, unsigned more) {
    struct method *old = methods->slots;
    uint32_t size = old ? methods->mask + 1 : 8, before = old ? size : 0;
    struct method *slots;

    while (size < 2 * (methods->count + more))
        size *= 2;
    if (size == before)
        return 0;
    slots = calloc(size, sizeof(*slots));
    if (!slots)
        return -ENOMEM;
    methods->slots = slots;
    methods->mask = size - 1;
    for (uint32_t i = 0; i < before; i++)
        if (old[i].number != 0)
            *find(methods, old[i].number) = old[i];
    free(old);
    return 0;
}

static bool has_handlers(const ProtobufCService *service) {
    if (service->invoke != protobuf_c_service_invoke_internal)
        return service->invoke != NULL;
    for (unsigned i = 0; i < service->descriptor->n_methods; i++) {
        void (*handler)(void); /* they stand behind the base */

        memcpy(&handler, (const char *) (service + 1) + i * sizeof(handler), sizeof(handler));
        if (!handler)
            return false;
    }
    return true;
}

static int add(struct typed_methods *methods, struct binding *binding, tram_worker *worker) {
    const ProtobufCServiceDescriptor *descriptor = binding->service->descriptor;

    for (unsigned i = 0; i < descriptor->n_methods; i++) {
        uint32_t number = typed_number(descriptor, i);

        if (number == 0 || find(methods, number)->number != 0)
            return worker_fail(worker, number ? -EEXIST : -EINVAL,
                               number ? "the server has a method of the number of %.64s.%.64s"
                                      : "the name of %.64s.%.64s is too long",
                               descriptor->name, descriptor->methods[i].name);
        for (unsigned j = 0; j < i; j++)
            if (typed_number(descriptor, j) == number)
                return worker_fail(worker, -EEXIST, "two methods of %.64s have one number",
                                   descriptor->name);
    }
    for (unsigned i = 0; i < descriptor->n_methods; i++) {
        const ProtobufCMessageDescriptor *input = descriptor->methods[i].input;
        uint32_t number = typed_number(descriptor, i);

        *find(methods, number) =
            (struct method){number, i, binding,
                            typed_may_be_deep(input, binding->options.depth_max)};
    }
    methods->count += descriptor->n_methods;
    binding->next = methods->bindings;
    methods->bindings = binding;
    return 0;
}

int tram_protobuf_serve(tram_server *server, ProtobufCService *service,
                        const struct tram_protobuf_options *options) {
    struct binding *binding;
    tram_worker *worker;
    int rc;

    if (!server)
        return -EINVAL;
    worker = server->endpoint.worker;
    rc = worker_check(worker);
    if (rc < 0)
        return rc;
    if (server->endpoint.dead || !service || !service->descriptor ||
        service->descriptor->magic != PROTOBUF_C__SERVICE_DESCRIPTOR_MAGIC)
        return worker_fail(worker, -EINVAL, "no service of protoc-c");
    if (!has_handlers(service))
        return worker_fail(worker, -EINVAL, "%.64s lacks handlers", service->descriptor->name);
    if (!server->typed && !(server->typed = calloc(1, sizeof(struct typed_methods))))
        return worker_fail(worker, -ENOMEM, "no memory for a service");
    binding = calloc(1, sizeof(*binding));
    if (!binding || make_room(server->typed, service->descriptor->n_methods) < 0) {
        free(binding);
        return worker_fail(worker, -ENOMEM, "no memory for a service");
    }
    binding->service = service;
    rc = typed_options(&binding->options, options);
    rc = rc < 0 ? worker_fail(worker, rc, "options out of their range")
                : add(server->typed, binding, worker);
    if (rc < 0)
        free(binding);
    return rc;
}

void typed_server_gone(tram_server *server) {
    struct typed_methods *methods = server->typed;
    struct binding *binding;

    server->typed = NULL;
    if (!methods)
        return;
    while ((binding = methods->bindings)) {
        methods->bindings = binding->next;
        free(binding);
    }
    free(methods->slots);
    free(methods);
}
