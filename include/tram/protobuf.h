/* SPDX-License-Identifier: MIT
 *
 * Typed messages: services that are written in protobuf's language and compiled by protoc-c, bound
 * to servers and clients as they are. Link with -ltram-service and -lprotobuf-c.
 *
 *     service Greeter { rpc Hello(Question) returns (Answer); }           greeter.proto
 *
 * The server writes what protoc-c declares, and serves it:
 *
 *     static void my_hello(Greeter_Service *service, const Question *question,
 *                          Answer_Closure closure, void *closure_data) {
 *         Answer answer = ANSWER__INIT;
 *         …
 *         closure(&answer, closure_data);       now, or later
 *     }
 *     static Greeter_Service greeter = GREETER__INIT(my_);
 *     tram_protobuf_serve(server, &greeter.base, NULL);
 *
 * The client makes a stub, and calls what protoc-c made for it:
 *
 *     tram_protobuf_stub_new(client, &greeter__descriptor, NULL, &stub);
 *     greeter__hello(stub, &question, on_answer, data);
 *
 * Both are ordinary requests: the code is tram_protobuf_number("package.Greeter.Hello"), the
 * payload a message; who speaks protobuf some other way can be either end. .proto files are
 * compiled by tram_protobuf_generate() of the CMake package.
 *
 * What came is decoded from a private copy, for its sender could still change it while it is read,
 * and within the limits below. A server that is called with bytes that make no sense answers with
 * an error; its codes are negative, an application's had better not be:
 *     -EBADMSG    no message of that type
 *     -EMSGSIZE   beyond a limit, of the request or for the answer
 *     -ENOMEM     no memory for it
 *     -EPROTO     the handler gave an answer of another type
 *     -ECANCELED  the handler's closure was called with NULL
 */
#ifndef TRAM_PROTOBUF_H
#define TRAM_PROTOBUF_H

#include <tram/service.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of protobuf-c/protobuf-c.h, which is included by what protoc-c generates. */
struct ProtobufCMessage;
struct ProtobufCMessageDescriptor;
struct ProtobufCService;
struct ProtobufCServiceDescriptor;

/* Read where it lies, without the copy: only for senders that are trusted with this process's
 * memory, for what is looked at twice may differ. */
#define TRAM_PROTOBUF_IN_PLACE 0x01u

struct tram_protobuf_options {
    size_t struct_size;  /* set by TRAM_PROTOBUF_OPTIONS_INIT */
    size_t size_max;     /* bytes of a message that came; 0: 16 MiB */
    size_t memory_max;   /* that a decoded one may take; 0: 64 MiB */
    uint32_t depth_max;  /* of messages in messages, up to 1000; 0: 100 */
    uint32_t flags;      /* TRAM_PROTOBUF_… */
    int64_t timeout_ns;  /* a stub: of its calls, as in struct tram_how; 0: 20 s */
};

#ifdef __cplusplus
#define TRAM_PROTOBUF_OPTIONS_INIT { sizeof(struct tram_protobuf_options), 0, 0, 0, 0, 0 }
#else
#define TRAM_PROTOBUF_OPTIONS_INIT { .struct_size = sizeof(struct tram_protobuf_options) }
#endif

/* The code of a method: FNV-1a, 32 bits, of its full name "package.Service.Method"; 1 for 0. */
TRAM_API uint32_t tram_protobuf_number(const char *name);

/* ---- servers -------------------------------------------------------------------------------- */

/* Have requests for this service's methods answered by its handlers; all others go to on_request,
 * as before. A server may have several; each stays the caller's, and stays as long as the server.
 * `options` may be NULL.
 *   -EEXIST  the server has a method of that number */
TRAM_API int tram_protobuf_serve(tram_server *server, struct ProtobufCService *service,
                                 const struct tram_protobuf_options *options);

/* In a handler, the request is what closure_data stands for until the closure is called or an
 * error given, once, in the worker's thread; as long the handler's input stays valid, too. If the
 * ring is full the answer waits here and goes by itself. */

/* For tram_request_view() and others that look at it, and to compare in on_cancel. NULL: it is
 * answered. */
TRAM_API tram_request *tram_protobuf_request(void *closure_data);
/* Answer with an error in place of the closure. */
TRAM_API void tram_protobuf_error(void *closure_data, int32_t code, const char *text);

/* ---- clients -------------------------------------------------------------------------------- */

/* A service to give to the functions that protoc-c generated. Ends with its client. Closures are
 * called once for each call, from the loop and never inside the call: with the answer, which is
 * valid until the closure returns, or with NULL if there is none. */
TRAM_API int tram_protobuf_stub_new(tram_client *client,
                                    const struct ProtobufCServiceDescriptor *descriptor,
                                    const struct tram_protobuf_options *options,
                                    struct ProtobufCService **ret_stub);
/* Cancels what is under way. */
TRAM_API struct ProtobufCService *tram_protobuf_stub_free(struct ProtobufCService *stub);

/* How the next call goes: deadline, instance, key, trace … What it points to has to stay until
 * then. */
TRAM_API void tram_protobuf_next(struct ProtobufCService *stub, const struct tram_how *how);

/* In a closure: how the call ended. Beside what service.h has for a request:
 *   -EBADMSG     the server answered with bytes that are no such message, or beyond the limits
 *   -EOPNOTSUPP  … with a stream: what protoc-c generates has one closure call for one answer, so
 *                a stub can't have more. Ask such a method by tram_client_ask(), with its number */
TRAM_API const struct tram_result *tram_protobuf_result(struct ProtobufCService *stub);

/* Cancel the calls that were given this closure_data: their closures are not called any more. */
TRAM_API void tram_protobuf_cancel(struct ProtobufCService *stub, const void *closure_data);

/* Call and wait. `method` as in the .proto file; the answer is to be given to
 * protobuf_c_message_free_unpacked(). Errors as tram_client_call() and above, and
 *   -ENOSYS  the service has no such method
 *   -EPROTO  the request is not of its type */
TRAM_API int tram_protobuf_call(struct ProtobufCService *stub, const char *method,
                                const struct ProtobufCMessage *request, const struct tram_how *how,
                                struct ProtobufCMessage **ret_answer);

/* ---- single messages ------------------------------------------------------------------------ */

/* Of a view: an event, a one-way message, a request by hand. To be given to
 * protobuf_c_message_free_unpacked(). -EBADMSG, -EMSGSIZE. */
TRAM_API int tram_protobuf_unpack(const struct ProtobufCMessageDescriptor *descriptor,
                                  const struct tram_view *view,
                                  const struct tram_protobuf_options *options,
                                  struct ProtobufCMessage **ret_message);

/* tram_client_send() of a message. */
TRAM_API int tram_protobuf_send(tram_client *client, uint32_t code,
                                const struct ProtobufCMessage *message, const struct tram_how *how);

#ifdef __cplusplus
}
#endif

#endif
