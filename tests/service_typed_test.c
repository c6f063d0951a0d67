/* SPDX-License-Identifier: MIT
 *
 * Typed messages: services of protoc-c at a server and at a client, and bytes that are none.
 */
// test: timeout=60
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "kinds.descriptors.h"
#include "kinds.pb-c.h"
#include "support/pair.h"
#include "tram/protobuf.h"

typedef Tram__Test__Tree tree;
typedef Tram__Test__Nothing nothing;

#define SERVER TRAM_ID(1, 1, 5, 3)

/* ---- the server, in a process of its own ----------------------------------------------------- */

struct later {
    Tram__Test__Tree_Closure closure;
    void *data;
    const tree *input;
};

static struct later later[64];
static int laters;

static void kinds_echo(Tram__Test__Kinds_Service *service, const tree *input,
                       Tram__Test__Tree_Closure closure, void *closure_data) {
    (void) service;
    CHECK(tram_protobuf_request(closure_data));
    closure(input, closure_data);
}

static void kinds_later(Tram__Test__Kinds_Service *service, const tree *input,
                        Tram__Test__Tree_Closure closure, void *closure_data) {
    (void) service;
    CHECK(laters < 64);
    later[laters++] = (struct later){closure, closure_data, input};
}

static void kinds_flush(Tram__Test__Kinds_Service *service, const nothing *input,
                        Tram__Test__Nothing_Closure closure, void *closure_data) {
    (void) service;
    while (laters > 0) {
        struct later *l = &later[--laters];

        CHECK(tram_protobuf_request(l->data));
        l->closure(l->input, l->data);
        CHECK(!tram_protobuf_request(l->data));
    }
    closure(input, closure_data);
}

static void kinds_fail(Tram__Test__Kinds_Service *service, const tree *input,
                       Tram__Test__Nothing_Closure closure, void *closure_data) {
    (void) service;
    (void) closure;
    tram_protobuf_error(closure_data, (int32_t) input->number, input->name);
}

static void kinds_drop(Tram__Test__Kinds_Service *service, const tree *input,
                       Tram__Test__Nothing_Closure closure, void *closure_data) {
    (void) service;
    (void) input;
    closure(NULL, closure_data);
}

static void kinds_wrong(Tram__Test__Kinds_Service *service, const nothing *input,
                        Tram__Test__Tree_Closure closure, void *closure_data) {
    (void) service;
    closure((const tree *) (const void *) input, closure_data);
}

static void kinds_twice(Tram__Test__Kinds_Service *service, const tree *input,
                        Tram__Test__Tree_Closure closure, void *closure_data) {
    static void *before; /* of a call that was answered long ago */
    tree other = *input;

    (void) service;
    other.number = -1;
    if (before)
        closure(&other, before);
    closure(input, closure_data);
    closure(&other, closure_data);
    tram_protobuf_error(closure_data, 1, "again");
    before = closure_data;
}

static void kinds_grow(Tram__Test__Kinds_Service *service, const tree *input,
                       Tram__Test__Tree_Closure closure, void *closure_data) {
    tree answer = TRAM__TEST__TREE__INIT;

    (void) service;
    answer.data.len = (size_t) input->number;
    answer.data.data = calloc(1, answer.data.len + 1);
    CHECK(answer.data.data);
    closure(&answer, closure_data);
    free(answer.data.data);
}

static void others_echo(Tram__Test__Others_Service *service, const nothing *input,
                        Tram__Test__Nothing_Closure closure, void *closure_data) {
    (void) service;
    closure(input, closure_data);
}

/* What is for no method is for the application, as it always was. */
static void on_request(tram_server *server, tram_request **request, void *arg) {
    const struct tram_view *view = tram_request_view(*request);

    (void) server;
    (void) arg;
    CHECK_OK(tram_reply_send(request, view->data, view->size));
}

static void serve(void *arg) {
    static Tram__Test__Kinds_Service kinds = TRAM__TEST__KINDS__INIT(kinds_);
    static Tram__Test__Others_Service others = TRAM__TEST__OTHERS__INIT(others_);
    static Tram__Test__Others_Service empty = {TRAM__TEST__OTHERS__BASE_INIT, NULL};
    static const struct tram_server_handlers handlers = {.on_request = on_request};
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    struct tram_protobuf_options limits = TRAM_PROTOBUF_OPTIONS_INIT;
    tram_worker *worker = pair_worker(SERVER);
    tram_server *server;

    options.handlers = &handlers;
    options.flags = TRAM_SERVER_NO_DAEMON;
    limits.size_max = 2000000;
    limits.memory_max = 4000000;
    limits.depth_max = 20;
    CHECK_OK(tram_server_new(worker, "svc://kinds", &options, &server));
    CHECK_ERR(tram_protobuf_serve(server, &empty.base, NULL), -EINVAL);
    CHECK_OK(tram_protobuf_serve(server, &kinds.base, &limits));
    CHECK_OK(tram_protobuf_serve(server, &others.base, NULL));
    CHECK_ERR(tram_protobuf_serve(server, &others.base, NULL), -EEXIST);
    CHECK_EQ(write(*(int *) arg, "", 1), 1);
    CHECK_OK(tram_worker_run(worker));
    CHECK(!tram_worker_free(worker));
}

/* ---- the client ------------------------------------------------------------------------------ */

struct at {
    pid_t server;
    tram_worker *worker;
    tram_client *client;
    ProtobufCService *kinds;
};

static void begin(struct at *at, const struct tram_protobuf_options *options) {
    static int fd;
    int fds[2];
    char byte;

    CHECK_OK(pipe(fds));
    fd = fds[1];
    at->server = test_fork(serve, &fd);
    (void) close(fds[1]);
    CHECK_EQ(read(fds[0], &byte, 1), 1);
    (void) close(fds[0]);
    at->worker = pair_worker(0);
    at->client = pair_client(at->worker, "shm://1.1.5.3/kinds", 0, NULL, NULL);
    CHECK_OK(tram_protobuf_stub_new(at->client, &tram__test__kinds__descriptor, options,
                                    &at->kinds));
}

static void end(struct at *at) {
    CHECK(!tram_worker_free(at->worker));
    test_kill(at->server);
}

struct told {
    struct at *at;
    int count, answers, status;
    int64_t number;
    int32_t code;
    char text[128];
};

static void on_any(const ProtobufCMessage *message, struct told *told) {
    const struct tram_result *result = tram_protobuf_result(told->at->kinds);

    CHECK(result);
    CHECK_EQ(message != NULL, result->status == 0);
    told->count++;
    told->answers += message != NULL;
    told->status = result->status;
    told->code = result->code;
    (void) strncpy(told->text, result->text, sizeof(told->text) - 1);
}

static void on_tree(const tree *answer, void *data) {
    struct told *told = data;

    on_any(answer ? &answer->base : NULL, told);
    if (answer)
        told->number = answer->number;
}

static void on_nothing(const nothing *answer, void *data) {
    on_any(answer ? &answer->base : NULL, data);
}

static tree *call(struct at *at, const char *method, const tree *input) {
    ProtobufCMessage *answer;

    CHECK_OK(tram_protobuf_call(at->kinds, method, &input->base, NULL, &answer));
    return (tree *) answer;
}

/* ---- what arrives ---------------------------------------------------------------------------- */

TEST(all_kinds_of_fields_arrive) {
    Tram__Test__Tree__CountsEntry entry = TRAM__TEST__TREE__COUNTS_ENTRY__INIT;
    Tram__Test__Tree__CountsEntry *entries[] = {&entry};
    tree parent = TRAM__TEST__TREE__INIT, child = TRAM__TEST__TREE__INIT, *children[] = {&child};
    int32_t steps[] = {-1, 0, INT32_MAX};
    uint8_t bytes[] = {0, 255, 7};
    char name[] = "parent", key[] = "key";
    struct at at;
    tree *answer;

    begin(&at, NULL);
    entry.key = key;
    entry.value = 9;
    parent.name = name;
    parent.number = INT64_MIN;
    parent.data = (ProtobufCBinaryData){sizeof(bytes), bytes};
    parent.children = children;
    parent.n_children = 1;
    parent.colour = TRAM__TEST__COLOUR__BLUE;
    parent.weight = 0.1;
    parent.steps = steps;
    parent.n_steps = 3;
    parent.counts = entries;
    parent.n_counts = 1;
    child.kind_case = TRAM__TEST__TREE__KIND_LEAF;
    child.leaf = 1;
    answer = call(&at, "Echo", &parent);
    CHECK_EQ(strcmp(answer->name, "parent"), 0);
    CHECK_EQ(answer->number, INT64_MIN);
    CHECK_EQ(answer->data.len, 3);
    CHECK_EQ(memcmp(answer->data.data, bytes, 3), 0);
    CHECK_EQ(answer->colour, TRAM__TEST__COLOUR__BLUE);
    CHECK(answer->weight > 0.09 && answer->weight < 0.11);
    CHECK_EQ(answer->n_steps, 3);
    CHECK_EQ(answer->steps[2], INT32_MAX);
    CHECK_EQ(answer->n_counts, 1);
    CHECK_EQ(answer->counts[0]->value, 9);
    CHECK_EQ(answer->n_children, 1);
    CHECK_EQ(answer->children[0]->kind_case, TRAM__TEST__TREE__KIND_LEAF);
    tram__test__tree__free_unpacked(answer, NULL);
    end(&at);
}

TEST(stubs_call_their_closure_once) {
    struct told told = {0};
    tree input = TRAM__TEST__TREE__INIT;
    struct at at;

    begin(&at, NULL);
    told.at = &at;
    for (int i = 1; i <= 500; i++) {
        input.number = i;
        tram__test__kinds__echo(at.kinds, &input, on_tree, &told);
        CHECK_EQ(told.count, i - 1); /* not inside the call */
        UNTIL(at.worker, told.count == i);
        CHECK_EQ(told.number, i);
    }
    CHECK(!tram_protobuf_result(at.kinds));
    for (int i = 0; i < 500; i++)
        tram__test__kinds__echo(at.kinds, &input, on_tree, &told);
    UNTIL(at.worker, told.count == 1000);
    CHECK_EQ(told.answers, 1000);
    end(&at);
}

TEST(answers_may_come_later_and_in_any_order) {
    struct told told[20] = {0}, flushed = {0};
    tree input = TRAM__TEST__TREE__INIT;
    nothing none = TRAM__TEST__NOTHING__INIT;
    struct at at;

    begin(&at, NULL);
    flushed.at = &at;
    for (int i = 0; i < 20; i++) {
        told[i].at = &at;
        input.number = i;
        tram__test__kinds__later(at.kinds, &input, on_tree, &told[i]);
    }
    tram__test__kinds__flush(at.kinds, &none, on_nothing, &flushed);
    UNTIL(at.worker, flushed.count == 1);
    for (int i = 0; i < 20; i++) {
        CHECK_EQ(told[i].answers, 1);
        CHECK_EQ(told[i].number, i);
    }
    end(&at);
}

TEST(large_messages_go_in_place) {
    tree input = TRAM__TEST__TREE__INIT, *answer;
    struct told told = {0};
    struct at at;
    size_t size = 1000000;

    begin(&at, NULL);
    told.at = &at;
    input.data = (ProtobufCBinaryData){size, calloc(1, size)};
    CHECK(input.data.data);
    answer = call(&at, "Echo", &input);
    CHECK_EQ(answer->data.len, size);
    tram__test__tree__free_unpacked(answer, NULL);
    for (int i = 0; i < 20; i++) /* more than the ring has room for at a time */
        tram__test__kinds__echo(at.kinds, &input, on_tree, &told);
    UNTIL(at.worker, told.count == 20);
    CHECK(told.answers >= 2);
    free(input.data.data);
    end(&at);
}

TEST(answers_wait_for_room) {
    tree input = TRAM__TEST__TREE__INIT;
    struct told told = {0};
    struct at at;

    begin(&at, NULL);
    told.at = &at;
    input.number = 1000000; /* 30 of them don't fit into the ring here, and nobody reads it yet */
    for (int i = 0; i < 30; i++)
        tram__test__kinds__grow(at.kinds, &input, on_tree, &told);
    UNTIL(at.worker, told.count == 30);
    CHECK_EQ(told.answers, 30);
    end(&at);
}

/* ---- what goes wrong ------------------------------------------------------------------------- */

TEST(errors_have_code_and_text) {
    tree input = TRAM__TEST__TREE__INIT;
    nothing none = TRAM__TEST__NOTHING__INIT;
    char text[] = "no such tree";
    struct told told = {0};
    ProtobufCMessage *answer;
    struct at at;

    begin(&at, NULL);
    told.at = &at;
    input.number = 42;
    input.name = text;
    tram__test__kinds__fail(at.kinds, &input, on_nothing, &told);
    UNTIL(at.worker, told.count == 1);
    CHECK_EQ(told.status, -EREMOTEIO);
    CHECK_EQ(told.code, 42);
    CHECK_EQ(strcmp(told.text, text), 0);
    tram__test__kinds__drop(at.kinds, &input, on_nothing, &told);
    UNTIL(at.worker, told.count == 2);
    CHECK_EQ(told.code, -ECANCELED);
    tram__test__kinds__wrong(at.kinds, &none, on_tree, &told);
    UNTIL(at.worker, told.count == 3);
    CHECK_EQ(told.code, -EPROTO);
    CHECK_ERR(tram_protobuf_call(at.kinds, "Drop", &input.base, NULL, &answer), -EREMOTEIO);
    CHECK_ERR(tram_protobuf_call(at.kinds, "None", &input.base, NULL, &answer), -ENOSYS);
    CHECK_ERR(tram_protobuf_call(at.kinds, "Flush", &input.base, NULL, &answer), -EPROTO);
    /* Of another type, past the compiler. */
    tram__test__kinds__flush(at.kinds, (const nothing *) (const void *) &input, on_nothing, &told);
    CHECK_EQ(told.count, 3);
    UNTIL(at.worker, told.count == 4);
    CHECK_EQ(told.status, -EPROTO);
    end(&at);
}

TEST(a_closure_that_is_called_twice_answers_once) {
    tree input = TRAM__TEST__TREE__INIT, *answer;
    struct at at;

    begin(&at, NULL);
    for (int i = 0; i < 30; i++) {
        input.number = i;
        answer = call(&at, "Twice", &input);
        CHECK_EQ(answer->number, i);
        tram__test__tree__free_unpacked(answer, NULL);
    }
    end(&at);
}

static void raw(struct at *at, const char *name, const void *data, size_t size, int32_t code) {
    uint32_t number = tram_protobuf_number(name);
    tram_reply *reply;
    int rc = tram_client_call(at->client, number, data, size, NULL, &reply);

    if (rc == 0)
        (void) tram_reply_free(reply);
    CHECK_EQ(rc, code ? -EREMOTEIO : 0);
    if (code)
        CHECK_EQ((int32_t) tram_worker_error(at->worker)->limit, code);
}

/* Trees in trees, so deep. */
static size_t nested(uint8_t *out, int depth) {
    uint8_t inner[512];
    size_t size = depth > 1 ? nested(inner, depth - 1) : 0;

    if (depth <= 1)
        return 0;
    CHECK(size < 128);
    out[0] = 4 << 3 | 2;
    out[1] = (uint8_t) size;
    memcpy(out + 2, inner, size);
    return size + 2;
}

TEST(bytes_that_make_no_sense_are_refused) {
    static const uint8_t cut[] = {10, 200, 1, 'x'}, group[] = {11}, zero[] = {0, 0};
    uint8_t deep[512], *large = calloc(1, 2100000), *many = malloc(1000000);
    static const char echo[] = "tram.test.Kinds.Echo";
    struct at at;

    CHECK(large && many);
    begin(&at, NULL);
    raw(&at, echo, NULL, 0, 0);
    raw(&at, echo, cut, sizeof(cut), -EBADMSG);
    raw(&at, echo, group, sizeof(group), -EBADMSG);
    raw(&at, echo, zero, sizeof(zero), -EBADMSG);
    raw(&at, echo, deep, nested(deep, 20), 0);
    raw(&at, echo, deep, nested(deep, 21), -EBADMSG);
    raw(&at, echo, large, 2100000, -EMSGSIZE);
    for (size_t i = 0; i < 1000000; i += 2) { /* empty trees: two bytes become two hundred */
        many[i] = 4 << 3 | 2;
        many[i + 1] = 0;
    }
    raw(&at, echo, many, 20000, 0);
    raw(&at, echo, many, 1000000, -EBADMSG);
    raw(&at, "tram.test.Kinds.None", cut, sizeof(cut), 0); /* the application's */
    raw(&at, "tram.test.Others.Echo", NULL, 0, 0);
    free(large);
    free(many);
    end(&at);
}

TEST(answers_have_limits_too) {
    struct tram_protobuf_options limits = TRAM_PROTOBUF_OPTIONS_INIT;
    tree input = TRAM__TEST__TREE__INIT;
    struct told told = {0};
    ProtobufCMessage *answer;
    struct at at;

    limits.size_max = 1000;
    begin(&at, &limits);
    told.at = &at;
    input.number = 1001;
    tram__test__kinds__grow(at.kinds, &input, on_tree, &told);
    UNTIL(at.worker, told.count == 1);
    CHECK_EQ(told.status, -EBADMSG);
    CHECK_ERR(tram_protobuf_call(at.kinds, "Grow", &input.base, NULL, &answer), -EBADMSG);
    end(&at);
}

TEST(deadlines_are_of_a_stub_or_of_a_call) {
    struct tram_protobuf_options options = TRAM_PROTOBUF_OPTIONS_INIT;
    struct tram_how how = TRAM_HOW_INIT;
    tree input = TRAM__TEST__TREE__INIT;
    struct told told = {0};
    ProtobufCMessage *answer;
    struct at at;

    options.timeout_ns = 20000000;
    begin(&at, &options);
    told.at = &at;
    tram__test__kinds__later(at.kinds, &input, on_tree, &told);
    UNTIL(at.worker, told.count == 1);
    CHECK_EQ(told.status, -ETIMEDOUT);
    how.timeout_ns = TRAM_FOREVER;
    tram_protobuf_next(at.kinds, &how);
    tram__test__kinds__later(at.kinds, &input, on_tree, &told);
    tram__test__kinds__later(at.kinds, &input, on_tree, &told); /* the next one has it not */
    UNTIL(at.worker, told.count == 2);
    CHECK_EQ(told.status, -ETIMEDOUT);
    CHECK_ERR(tram_protobuf_call(at.kinds, "Later", &input.base, NULL, &answer), -ETIMEDOUT);
    CHECK_EQ(told.count, 2);
    end(&at);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void free_stub(const tree *answer, void *data) {
    struct told *told = data;

    CHECK(answer);
    told->count++;
    CHECK(!tram_protobuf_stub_free(told->at->kinds));
    CHECK_EQ(answer->number, 5); /* it is there until the closure returns */
    CHECK(tram_protobuf_result(told->at->kinds));
}

TEST(stubs_may_be_freed_in_their_closure) {
    tree input = TRAM__TEST__TREE__INIT;
    struct told told = {0}, other = {0};
    struct at at;

    begin(&at, NULL);
    told.at = other.at = &at;
    input.number = 5;
    tram__test__kinds__echo(at.kinds, &input, free_stub, &told);
    tram__test__kinds__echo(at.kinds, &input, on_tree, &other);
    UNTIL(at.worker, told.count == 1);
    for (int i = 0; i < 100; i++)
        pair_turn(at.worker);
    CHECK_EQ(other.count, 0);
    end(&at);
}

TEST(what_is_cancelled_is_not_told) {
    tree input = TRAM__TEST__TREE__INIT;
    struct told told = {0}, other = {0};
    struct at at;

    begin(&at, NULL);
    told.at = other.at = &at;
    tram__test__kinds__echo(at.kinds, &input, on_tree, &told);
    tram__test__kinds__echo(at.kinds, &input, on_tree, &other);
    tram_protobuf_cancel(at.kinds, &told);
    UNTIL(at.worker, other.count == 1);
    CHECK_EQ(told.count, 0);
    test_kill(at.server);
    UNTIL(at.worker, (tram__test__kinds__echo(at.kinds, &input, on_tree, &other),
                      pair_turn(at.worker), other.status < 0));
    CHECK(!tram_client_free(at.client)); /* and its stubs, with all that is under way */
    for (int i = 0; i < 10; i++)
        pair_turn(at.worker);
    CHECK(!tram_worker_free(at.worker));
}

TEST(nobody_there_is_told_later) {
    tram_worker *worker = pair_worker(0);
    tree input = TRAM__TEST__TREE__INIT;
    struct told told = {0};
    struct at at = {.worker = worker};

    at.client = pair_client(worker, "shm://1.1.5.99/kinds", 0, NULL, NULL);
    CHECK_OK(tram_protobuf_stub_new(at.client, &tram__test__kinds__descriptor, NULL, &at.kinds));
    told.at = &at;
    for (int i = 0; i < 3000; i++) /* more than may be under way */
        tram__test__kinds__echo(at.kinds, &input, on_tree, &told);
    CHECK_EQ(told.count, 0);
    UNTIL(worker, told.count == 3000);
    CHECK_EQ(told.answers, 0);
    CHECK(!tram_worker_free(worker));
}

/* ---- single messages ------------------------------------------------------------------------- */

static char sent_name[32];

static void on_sent(tram_server *server, tram_session *session, const struct tram_view *view,
                    void *arg) {
    ProtobufCMessage *message;

    (void) server;
    (void) arg;
    CHECK_EQ(view->code, 7);
    CHECK(!tram_session_data(session));
    CHECK_OK(tram_protobuf_unpack(&tram__test__tree__descriptor, view, NULL, &message));
    (void) snprintf(sent_name, sizeof(sent_name), "%s", ((tree *) message)->name);
    protobuf_c_message_free_unpacked(message, NULL);
    tram_session_set_data(session, sent_name);
    CHECK(tram_session_data(session) == sent_name);
}

TEST(messages_are_sent_one_way) {
    static const struct tram_server_handlers handlers = {.on_message = on_sent};
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_worker *there = pair_worker(PAIR_SERVER), *here = pair_worker(0);
    tree input = TRAM__TEST__TREE__INIT;
    char name[] = "one way";
    tram_client *client = pair_client(here, "shm://1.1.5.1/sent", 0, NULL, NULL);
    tram_server *server;

    options.handlers = &handlers;
    options.flags = TRAM_SERVER_NO_DAEMON;
    CHECK_OK(tram_server_new(there, "svc://sent", &options, &server));
    input.name = name;
    UNTIL(there, (pair_turn(here), tram_protobuf_send(client, 7, &input.base, NULL) == 0));
    UNTIL(there, (pair_turn(here), sent_name[0]));
    CHECK_STR(sent_name, "one way");
    CHECK_EQ(tram_protobuf_send(NULL, 7, &input.base, NULL), -EINVAL);
    CHECK(!tram_worker_free(here));
    CHECK(!tram_worker_free(there));
}

/* tram sub decodes what the server's descriptors tell of. */
TEST(tools_show_events_by_their_type) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_worker *worker = pair_worker(PAIR_SERVER);
    tree event = TRAM__TEST__TREE__INIT;
    char name[] = "shown", command[400], line[400] = "";
    uint8_t packed[64];
    struct pollfd entry = {.events = POLLIN};
    tram_server *server;
    size_t size;
    FILE *tool;

    options.flags = TRAM_SERVER_NO_DAEMON;
    options.descriptors = kinds_descriptors;
    options.descriptors_size = kinds_descriptors_size;
    CHECK_OK(tram_server_new(worker, "svc://shown", &options, &server));
    event.name = name;
    event.number = 12;
    (void) snprintf(command, sizeof(command),
                    "%s sub --count 1 --json --type tram.test.Tree shm://1.1.5.1/shown 7 2>&1",
                    test_program("../bin/tram"));
    tool = popen(command, "r");
    CHECK(tool);
    entry.fd = fileno(tool);
    size = tram__test__tree__pack(&event, packed);
    UNTIL(worker, (CHECK_OK(tram_server_publish(server, 7, packed, size, NULL)),
                   poll(&entry, 1, 1) == 1));
    CHECK(fgets(line, sizeof(line), tool));
    if (strstr(line, "built without"))
        SKIP("the tool knows no JSON");
    CHECK(strstr(line, "\"name\":\"shown\""));
    CHECK(strstr(line, "\"number\":\"12\""));
    CHECK_OK(pclose(tool));
    CHECK(!tram_worker_free(worker));
}

TEST(views_are_unpacked_within_limits) {
    struct tram_protobuf_options limits = TRAM_PROTOBUF_OPTIONS_INIT;
    uint8_t deep[512];
    struct tram_view view = {.data = deep, .size = nested(deep, 10)};
    ProtobufCMessage *message;

    CHECK_OK(tram_protobuf_unpack(&tram__test__tree__descriptor, &view, NULL, &message));
    CHECK_EQ(((tree *) message)->n_children, 1);
    protobuf_c_message_free_unpacked(message, NULL);
    limits.flags = TRAM_PROTOBUF_IN_PLACE;
    CHECK_OK(tram_protobuf_unpack(&tram__test__tree__descriptor, &view, &limits, &message));
    protobuf_c_message_free_unpacked(message, NULL);
    limits.depth_max = 9;
    CHECK_EQ(tram_protobuf_unpack(&tram__test__tree__descriptor, &view, &limits, &message),
             -EBADMSG);
    limits.depth_max = 0;
    limits.size_max = 1;
    CHECK_EQ(tram_protobuf_unpack(&tram__test__tree__descriptor, &view, &limits, &message),
             -EMSGSIZE);
    limits.size_max = 0;
    limits.memory_max = 100;
    CHECK_EQ(tram_protobuf_unpack(&tram__test__tree__descriptor, &view, &limits, &message),
             -EBADMSG);
    limits.flags = 8;
    CHECK_EQ(tram_protobuf_unpack(&tram__test__tree__descriptor, &view, &limits, &message),
             -EINVAL);
}

TEST(numbers_are_hashes_of_names) {
    CHECK_EQ(tram_protobuf_number(""), 0x811c9dc5u); /* FNV-1a's published values */
    CHECK_EQ(tram_protobuf_number("a"), 0xe40c292cu);
    CHECK_EQ(tram_protobuf_number("foobar"), 0xbf9cf968u);
    CHECK_EQ(tram_protobuf_number("tram.test.Kinds.Echo"), 0x3dcfdcb7u);
    CHECK(kinds_descriptors_size > 100);
    CHECK_EQ(kinds_descriptors[0], 10); /* its first file */
}
