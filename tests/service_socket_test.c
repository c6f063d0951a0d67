/* SPDX-License-Identifier: MIT
 *
 * What is particular to services over sockets: which address a client takes, who may have one, what
 * is known of one-way messages when a connection ends. What holds over every transport is
 * service_conformance_test.c's.
 */
// test: timeout=180 cpus=2
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"
#include "support/pair.h"
#include "support/tramd.h"
#include "tram/service.h"

struct seen_client {
    int online, offline, messages, space;
    uint32_t unknown;
    int32_t pid;
    char address[160];
    tram_client *client; /* to ask in on_message, if not NULL */
    uint32_t order;      /* messages that came in their order */
};

static void on_state(tram_client *client, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    struct seen_client *at = arg;

    (void) client;
    if (state == TRAM_STATE_ONLINE) {
        at->online++;
        at->pid = who->pid;
        (void) snprintf(at->address, sizeof(at->address), "%s", who->address);
        CHECK(strcmp(who->name, "pair") == 0 || strcmp(who->name, "late") == 0);
        CHECK_STR(who->program, "service_socket_test");
    } else {
        at->offline++;
        at->unknown += who->unknown;
    }
}

static void on_message(tram_client *client, const struct tram_view *view, void *arg) {
    struct seen_client *at = arg;
    uint32_t number;
    tram_reply *reply;

    at->messages++;
    if (!at->client)
        return;
    memcpy(&number, view->data, sizeof(number));
    CHECK_OK(tram_client_call(client, PAIR_ECHO, view->data, view->size, NULL, &reply));
    CHECK_MEM(tram_reply_view(reply)->data, &number, sizeof(number));
    (void) tram_reply_free(reply);
    CHECK_MEM(view->data, &number, sizeof(number)); /* what came meanwhile left it alone */
    at->order += number == at->order;
}

static void on_space(tram_client *client, void *arg) {
    struct seen_client *at = arg;

    (void) client;
    at->space++;
}

static const struct tram_client_handlers handlers = { .on_state = on_state,
                                                      .on_message = on_message,
                                                      .on_space = on_space };

static int ended_count, answered, unknown, refused;

static void ended(const struct tram_result *result, void *arg) {
    (void) arg;
    ended_count++;
    answered += result->status == 0;
    unknown += result->status == -ECONNRESET;
    refused += result->status == -ECONNREFUSED;
}

static tram_client *client_via(tram_worker *worker, const char *address, const char *via,
                               uint32_t flags, struct seen_client *at) {
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    tram_client *client;

    *at = (struct seen_client){ 0 };
    options.via = via;
    options.flags = flags;
    options.handlers = &handlers;
    options.arg = at;
    CHECK_OK(tram_client_new(worker, address, &options, &client));
    return client;
}

static const char *path_of(const char *address) {
    return address + strlen("ipc://");
}

static bool lies_there(const char *address) {
    struct stat stat;

    return lstat(path_of(address), &stat) == 0;
}

/* ---- which address --------------------------------------------------------------------------- */

static void starts_with(const char *text, const char *start) {
    if (strncmp(text, start, strlen(start)) != 0)
        FAIL("'%s' and not '%s…'", text, start);
}

static void choices(uint32_t flags, const char *best) {
    const char *addresses[] = { "tcp://127.0.0.1:0", pair_address("ipc"), NULL };
    struct pair_options options = { .addresses = addresses, .flags = flags, .daemon = true };
    const char *via[] = { NULL, "ipc", "tcp" };
    tram_worker *worker = pair_worker(0);
    pid_t server;

    (void) tramd_start(NULL);
    server = pair_start(&options);
    for (int i = 0; i < 3; i++) {
        struct seen_client at;
        tram_client *client = client_via(worker, "svc://pair", via[i], 0, &at);
        tram_reply *reply;

        CHECK_OK(tram_client_call(client, PAIR_ECHO, "x", 1, NULL, &reply));
        (void) tram_reply_free(reply);
        UNTIL(worker, at.online);
        starts_with(at.address, via[i] ? via[i] : best);
        CHECK_EQ(at.pid, server);
        (void) tram_client_free(client);
    }
    test_kill(server);
    (void) tram_worker_free(worker);
}

TEST(shared_memory_is_best_and_via_names_another) {
    choices(0, "shm://");
}

TEST(unix_is_next_best) {
    choices(TRAM_SERVER_NO_SHM, "ipc:///");
}

TEST(server_without_shared_memory_is_not_reached_by_it) {
    const char *addresses[] = { pair_address("ipc"), NULL };
    struct pair_options options = { .addresses = addresses, .flags = TRAM_SERVER_NO_SHM };
    tram_worker *worker = pair_worker(0);
    struct seen_client at;
    tram_client *client;
    tram_reply *reply;
    struct tram_how how = TRAM_HOW_INIT;

    (void) pair_start(&options);
    how.timeout_ns = 200 * KIT_MS;
    client = client_via(worker, "shm://1.1.5.1/pair", NULL, 0, &at);
    CHECK(tram_client_call(client, PAIR_ECHO, NULL, 0, &how, &reply) < 0);
    CHECK_EQ(at.online, 0);
    (void) tram_worker_free(worker);
}

TEST(client_comes_first_and_comes_back) {
    for (int i = 0; i < 2; i++) {
        const char *address = pair_address(i == 0 ? "ipc" : "tcp");
        const char *addresses[] = { address, NULL };
        tram_worker *worker = pair_worker(0);
        struct seen_client at;
        tram_client *client = client_via(worker, address, NULL, TRAM_CLIENT_WAIT, &at);

        ended_count = answered = 0;
        CHECK_OK(tram_client_ask(client, PAIR_ECHO, "x", 1, NULL, ended, NULL, NULL));
        for (int life = 1; life <= 3; life++) {
            pid_t server = pair_start(&(struct pair_options){ .addresses = addresses });

            UNTIL(worker, ended_count == life && at.online == life);
            CHECK_EQ(answered, life);
            test_kill(server);
            UNTIL(worker, at.offline == life);
            CHECK_OK(tram_client_ask(client, PAIR_ECHO, "x", 1, NULL, ended, NULL, NULL));
        }
        (void) tram_worker_free(worker);
    }
}

/* ---- who may have it ------------------------------------------------------------------------- */

static int try_server(tram_worker *worker, const char *address, tram_server **ret_server) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    const char *addresses[] = { address, NULL };

    options.flags = TRAM_SERVER_NO_DAEMON;
    options.addresses = addresses;
    return tram_server_new(worker, "svc://other", &options, ret_server);
}

TEST(addresses_that_cannot_be_are_refused) {
    tram_worker *worker = pair_worker(0);
    tram_server *server;
    tram_client *client;
    char path[160], text[192];
    FILE *file;

    CHECK_ERR(try_server(worker, "tcp://192.0.2.1:80", &server), -EACCES);
    CHECK_ERR(try_server(worker, "tcp://0.0.0.0:0", &server), -EACCES);
    CHECK_ERR(try_server(worker, "tcp://[::]:0", &server), -EACCES);
    CHECK_ERR(try_server(worker, "svc://x", &server), -EINVAL);
    CHECK_ERR(try_server(worker, "ipc://relative", &server), -EINVAL);
    CHECK_ERR(try_server(worker, "ipc:///no/such/folder/x", &server), -ENOENT);
    CHECK_ERR(tram_client_new(worker, "tcp://192.0.2.1:80", NULL, &client), -EACCES);
    /* What is no socket is nobody's to replace. */
    (void) snprintf(path, sizeof(path), "%s/file", test_dir());
    (void) snprintf(text, sizeof(text), "ipc://%s", path);
    file = fopen(path, "w");
    CHECK(file);
    (void) fclose(file);
    CHECK_ERR(try_server(worker, text, &server), -EADDRINUSE);
    CHECK(lies_there(text));
    (void) unlink(path);
    (void) tram_worker_free(worker);
}

TEST(socket_that_is_taken_is_refused_and_that_of_a_dead_one_replaced) {
    for (int i = 0; i < 2; i++) {
        const char *address = pair_address(i == 0 ? "ipc" : "tcp");
        const char *addresses[] = { address, NULL };
        pid_t first = pair_start(&(struct pair_options){ .addresses = addresses });
        tram_worker *worker = pair_worker(0);
        tram_server *server;

        CHECK_ERR(try_server(worker, address, &server), -EADDRINUSE);
        test_kill(first);
        CHECK(i == 1 || lies_there(address));
        CHECK_OK(try_server(worker, address, &server));
        CHECK(!tram_server_free(server));
        CHECK(i == 1 || !lies_there(address));
        (void) tram_worker_free(worker);
    }
}

static int refusals, refusal;

static void on_server_state(tram_server *server, enum tram_state state,
                            const struct tram_party *who, void *arg) {
    char *text = arg;

    (void) server;
    if (state == TRAM_STATE_REFUSED) {
        refusals++;
        refusal = who->error;
    } else if (state == TRAM_STATE_ONLINE) {
        (void) snprintf(text, 320, "%s", who->address);
    }
}

/* Whatever the mode of its file says: the kernel knows who connects. */
TEST(another_user_is_turned_away) {
    const char *addresses[] = { pair_address("ipc"), NULL };
    const char *path = strstr(addresses[0], "://") + strlen("://");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = CHECK_OK(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    struct pollfd wait = { .events = POLLIN };
    tram_worker *worker = pair_worker(0);
    tram_client *client;
    pid_t server;
    char byte;

    if (geteuid() != 0)
        SKIP("only root can be somebody else");
    server = pair_start(&(struct pair_options){ .addresses = addresses });
    client = pair_client(worker, addresses[0], 0, NULL, NULL);
    CHECK_OK(tram_client_wait(client, pair_patience()));
    (void) snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    CHECK_OK(chmod(test_dir(), 0755));
    CHECK_OK(chmod(path, 0777));
    CHECK_OK(seteuid(12345));
    CHECK_OK(connect(fd, (struct sockaddr *) &address, sizeof(address)));
    CHECK_OK(seteuid(0));
    wait.fd = fd;
    CHECK_EQ(poll(&wait, 1, 4000), 1); /* one who is let in has 5 s to say who he is */
    CHECK_EQ(recv(fd, &byte, 1, 0), 0);
    (void) close(fd);
    (void) tram_worker_free(worker);
    test_kill(server);
}

TEST(taken_socket_is_told_when_there_is_a_daemon) {
    static const struct tram_server_handlers of_server = { .on_state = on_server_state };
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    const char *addresses[] = { pair_address("ipc"), NULL };
    tram_worker *worker = pair_worker(0);
    tram_server *server;
    char text[320] = "";

    (void) tramd_start(NULL);
    (void) pair_start(&(struct pair_options){ .addresses = addresses });
    options.addresses = addresses;
    options.handlers = &of_server;
    options.arg = text;
    CHECK_OK(tram_server_new(worker, "svc://another", &options, &server));
    UNTIL(worker, refusals);
    CHECK_ERR(refusal, -EADDRINUSE);
    CHECK_EQ(refusals, 1);
    (void) tram_server_free(server);
    /* The name was given back. */
    options.addresses = NULL;
    CHECK_OK(tram_server_new(worker, "svc://another", &options, &server));
    UNTIL(worker, text[0]);
    (void) tram_worker_free(worker);
}

TEST(port_that_was_chosen_is_told) {
    static const struct tram_server_handlers of_server = { .on_state = on_server_state };
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    const char *addresses[] = { "tcp://127.0.0.1:0", "tcp://[::1]:0", NULL };
    tram_worker *worker = pair_worker(0);
    tram_server *server;
    char text[320] = "";
    unsigned port = 0;

    options.flags = TRAM_SERVER_NO_DAEMON | TRAM_SERVER_NO_SHM;
    options.addresses = addresses;
    options.handlers = &of_server;
    options.arg = text;
    if (tram_server_new(worker, "svc://ports", &options, &server) == -EADDRNOTAVAIL) {
        addresses[1] = NULL; /* no IPv6 here */
        CHECK_OK(tram_server_new(worker, "svc://ports", &options, &server));
    }
    UNTIL(worker, text[0]);
    CHECK_EQ(sscanf(text, "tcp://127.0.0.1:%u", &port), 1);
    CHECK(port >= 61002 && port <= 65535);
    if (addresses[1]) {
        CHECK(strstr(text, " tcp://[::1]:"));
        CHECK_EQ(sscanf(strstr(text, "[::1]:"), "[::1]:%u", &port), 1);
        CHECK(port >= 61002 && port <= 65535);
    }
    (void) tram_worker_free(worker);
}

/* ---- blocking calls -------------------------------------------------------------------------- */

TEST(handlers_may_call_while_more_comes) {
    for (int i = 0; i < 2; i++) {
        const char *address = pair_address(i == 0 ? "ipc" : "tcp");
        const char *addresses[] = { address, NULL };
        pid_t server = pair_start(&(struct pair_options){ .addresses = addresses });
        tram_worker *worker = pair_worker(0);
        struct seen_client at;
        tram_client *client = client_via(worker, address, NULL, 0, &at);
        char block[3000] = "";

        at.client = client;
        ended_count = answered = 0;
        for (uint32_t n = 0; n < 300; n++) {
            memcpy(block, &n, sizeof(n));
            CHECK_OK(tram_client_ask(client, PAIR_TELL, block, sizeof(block), NULL, ended, NULL,
                                     NULL));
        }
        UNTIL(worker, at.messages == 300 && ended_count == 300);
        CHECK_EQ(at.order, 300);
        CHECK_EQ(answered, 300);
        (void) tram_worker_free(worker);
        test_kill(server);
    }
}

TEST(server_of_the_same_worker_is_not_waited_for) {
    tram_worker *worker = pair_worker(0);
    tram_server *server;
    tram_client *client;
    tram_reply *reply;
    struct seen_client at;

    CHECK_OK(try_server(worker, pair_address("ipc"), &server));
    client = client_via(worker, pair_address("ipc"), NULL, 0, &at);
    CHECK_ERR(tram_client_call(client, 1, NULL, 0, NULL, &reply), -EDEADLK);
    (void) tram_worker_free(worker);
}

static int64_t deadline_seen;

static void note_deadline(tram_server *server, tram_request **request, void *arg) {
    (void) server;
    (void) arg;
    deadline_seen = tram_request_view(*request)->deadline_ns;
    CHECK_OK(tram_reply_send(request, NULL, 0));
}

TEST(deadline_travels_as_what_is_left) {
    static const struct tram_server_handlers of_server = { .on_request = note_deadline };
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    const char *addresses[] = { pair_address("ipc"), NULL };
    tram_worker *left = pair_worker(0), *right = pair_worker(0);
    struct tram_how how = TRAM_HOW_INIT;
    struct seen_client at;
    tram_server *server;
    tram_client *client;
    int64_t before = pair_now();

    options.flags = TRAM_SERVER_NO_DAEMON;
    options.addresses = addresses;
    options.handlers = &of_server;
    CHECK_OK(tram_server_new(right, "svc://late", &options, &server));
    client = client_via(left, addresses[0], NULL, TRAM_CLIENT_WAIT, &at);
    how.timeout_ns = 10 * KIT_S;
    ended_count = 0;
    CHECK_OK(tram_client_ask(client, 1, NULL, 0, &how, ended, NULL, NULL));
    while (ended_count == 0) {
        pair_turn(right);
        pair_turn(left);
    }
    CHECK(deadline_seen >= before + how.timeout_ns);
    CHECK(deadline_seen <= pair_now() + how.timeout_ns);
    (void) tram_worker_free(left);
    (void) tram_worker_free(right);
}

/* ---- one way --------------------------------------------------------------------------------- */

struct flow {
    tram_worker *worker;
    tram_client *client;
    struct seen_client at;
    uint64_t *handed;
    pid_t server;
};

static void flow_begin(struct flow *flow, int kind) {
    const char *address = pair_address(kind == 0 ? "ipc" : "tcp");
    const char *addresses[] = { address, NULL };

    flow->handed = kit_shared(sizeof(*flow->handed));
    flow->server = pair_start(
        &(struct pair_options){ .addresses = addresses, .handed = flow->handed });
    flow->worker = pair_worker(0);
    flow->client = client_via(flow->worker, address, NULL, 0, &flow->at);
    UNTIL(flow->worker, flow->at.online);
}

static void flow_end(struct flow *flow) {
    (void) tram_worker_free(flow->worker);
}

static uint64_t handed(const struct flow *flow) {
    return __atomic_load_n(flow->handed, __ATOMIC_RELAXED);
}

TEST(idle_connection_leaves_nothing_unknown) {
    for (int kind = 0; kind < 2; kind++) {
        struct flow flow;
        int64_t until;

        flow_begin(&flow, kind);
        for (int i = 0; i < 5000; i++)
            CHECK_OK(tram_client_send(flow.client, 1, "four", 4, NULL));
        UNTIL(flow.worker, handed(&flow) == 5000);
        until = pair_now() + 200 * KIT_MS; /* the acknowledgement is some ms behind */
        while (pair_now() < until)
            pair_turn(flow.worker);
        test_kill(flow.server);
        UNTIL(flow.worker, flow.at.offline);
        CHECK_EQ(flow.at.unknown, 0);
        flow_end(&flow);
    }
}

TEST(what_a_stopped_server_never_saw_is_unknown) {
    for (int kind = 0; kind < 2; kind++) {
        struct flow flow;

        flow_begin(&flow, kind);
        CHECK_EQ(kill(flow.server, SIGSTOP), 0);
        for (int i = 0; i < 1000; i++)
            CHECK_OK(tram_client_send(flow.client, 1, "four", 4, NULL));
        test_kill(flow.server);
        UNTIL(flow.worker, flow.at.offline);
        CHECK_EQ(flow.at.unknown, 1000 - handed(&flow));
        flow_end(&flow);
    }
}

TEST(killed_in_the_midst_the_unknown_are_no_fewer_than_the_lost) {
    for (int round = 0; round < 20; round++) {
        struct flow flow;
        struct tram_how how = TRAM_HOW_INIT;
        uint64_t sent = 0, most = 500 + 300 * (unsigned) round;
        bool killed = false;

        how.flags = round & 2 ? TRAM_HOW_MORE : 0;
        flow_begin(&flow, round & 1);
        while (!flow.at.offline) {
            for (int i = 0; i < 50; i++)
                sent += tram_client_send(flow.client, 1, "a message", 9, &how) == 0;
            pair_turn(flow.worker);
            if (!killed && handed(&flow) >= most) {
                CHECK_EQ(kill(flow.server, SIGKILL), 0);
                killed = true;
            }
        }
        CHECK(flow.at.unknown >= sent - handed(&flow));
        CHECK(flow.at.unknown <= sent);
        flow_end(&flow);
    }
}

TEST(peer_that_does_not_read_is_bounded_and_on_space_follows) {
    for (int kind = 0; kind < 2; kind++) {
        struct flow flow;
        char block[1000] = "";
        uint64_t sent = 0;
        int rc;

        flow_begin(&flow, kind);
        CHECK_EQ(kill(flow.server, SIGSTOP), 0);
        while ((rc = tram_client_send(flow.client, 1, block, sizeof(block), NULL)) == 0)
            sent++;
        CHECK_ERR(rc, -EAGAIN);
        CHECK(sent < 32 * 1000); /* 1 MiB here, and what the kernel takes: some for each side */
        for (int i = 0; i < 100; i++)
            pair_turn(flow.worker);
        CHECK_EQ(flow.at.space, 0);
        CHECK_EQ(kill(flow.server, SIGCONT), 0);
        UNTIL(flow.worker, flow.at.space && handed(&flow) == sent);
        CHECK_EQ(flow.at.space, 1);
        flow_end(&flow);
        test_kill(flow.server);
    }
}

/* ---- ends ------------------------------------------------------------------------------------ */

TEST(what_a_draining_server_did_not_take_was_not_executed) {
    for (int kind = 0; kind < 2; kind++) {
        const char *address = pair_address(kind == 0 ? "ipc" : "tcp");
        const char *addresses[] = { address, NULL };
        char journal[160];
        tram_worker *worker = pair_worker(0);
        struct seen_client at;
        struct stat stat_of;
        tram_client *client;
        struct tram_how how = TRAM_HOW_INIT;

        (void) snprintf(journal, sizeof(journal), "%s/journal%d", test_dir(), kind);
        (void) pair_start(&(struct pair_options){ .addresses = addresses, .journal = journal });
        client = client_via(worker, address, NULL, 0, &at);
        UNTIL(worker, at.online);
        ended_count = answered = refused = 0;
        how.flags = TRAM_HOW_MORE;
        for (int i = 0; i < 10; i++)
            CHECK_OK(tram_client_ask(client, PAIR_ECHO, "x", 1, &how, ended, NULL, NULL));
        CHECK_OK(tram_client_ask(client, PAIR_DRAIN, "x", 1, &how, ended, NULL, NULL));
        for (int i = 0; i < 900; i++)
            CHECK_OK(tram_client_ask(client, PAIR_ECHO, "much", 4, &how, ended, NULL, NULL));
        UNTIL(worker, ended_count == 911);
        CHECK_EQ(answered, 11);
        CHECK_EQ(refused, 900);
        CHECK_EQ(stat(journal, &stat_of), 0);
        CHECK_EQ(stat_of.st_size, 11);
        CHECK(kind == 1 || !lies_there(address));
        (void) tram_worker_free(worker);
    }
}

TEST(what_a_killed_server_had_ends_as_unknown) {
    for (int kind = 0; kind < 2; kind++) {
        struct flow flow;

        flow_begin(&flow, kind);
        ended_count = unknown = 0;
        for (int i = 0; i < 100; i++)
            CHECK_OK(tram_client_ask(flow.client, PAIR_DEFER, "x", 1, NULL, ended, NULL, NULL));
        CHECK_OK(tram_client_ask(flow.client, PAIR_DIE, NULL, 0, NULL, ended, NULL, NULL));
        UNTIL(flow.worker, ended_count == 101);
        CHECK_EQ(unknown, 101);
        flow_end(&flow);
    }
}

TEST(message_larger_than_a_socket_takes_is_refused) {
    struct flow flow;
    char *block = calloc(1, (16u << 20) + 1);
    tram_reply *reply;

    flow_begin(&flow, 0);
    CHECK_ERR(tram_client_call(flow.client, PAIR_ECHO, block, (16u << 20) + 1, NULL, &reply),
              -EMSGSIZE);
    CHECK_OK(tram_client_call(flow.client, PAIR_ECHO, block, (16u << 20) - 8, NULL, &reply));
    CHECK_EQ(tram_reply_view(reply)->size, (16u << 20) - 8);
    (void) tram_reply_free(reply);
    free(block);
    flow_end(&flow);
    test_kill(flow.server);
}

/* ---- many ------------------------------------------------------------------------------------ */

#define MANY 4096

TEST_TIMEOUT(four_thousand_sessions, 60) {
    const char *address = pair_address("ipc");
    const char *addresses[] = { address, NULL };
    struct rlimit limit;
    tram_worker *worker;
    tram_client **clients = calloc(MANY + 1, sizeof(tram_client *));
    struct seen_client at, last;

    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < MANY + 200)
        SKIP("it needs 4,300 descriptors");
    limit.rlim_cur = limit.rlim_max;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    (void) pair_start(&(struct pair_options){ .addresses = addresses });
    worker = pair_worker(0);
    for (int i = 0; i < MANY; i++) {
        clients[i] = client_via(worker, address, NULL, TRAM_CLIENT_WAIT, &last);
        CHECK_OK(tram_client_ask(clients[i], PAIR_ECHO, "x", 1, NULL, ended, NULL, NULL));
    }
    UNTIL(worker, ended_count == MANY);
    CHECK_EQ(answered, MANY);
    clients[MANY] = client_via(worker, address, NULL, TRAM_CLIENT_WAIT, &at);
    CHECK_OK(tram_client_ask(clients[MANY], PAIR_ECHO, "x", 1, NULL, ended, NULL, NULL));
    for (int i = 0; i < 50; i++)
        pair_turn(worker);
    CHECK_EQ(ended_count, MANY); /* one too many */
    (void) tram_client_free(clients[17]);
    UNTIL(worker, ended_count == MANY + 1);
    free(clients);
    (void) tram_worker_free(worker);
}
