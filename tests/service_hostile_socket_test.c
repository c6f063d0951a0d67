/* SPDX-License-Identifier: MIT
 *
 * Socket peers that are slow, stopped, gone, or speak nonsense cost nobody else anything: an
 * innocent client asks meanwhile, and is answered, over the same connection, in its usual time; and
 * the server's memory is bounded.
 */
// test: timeout=120 cpus=2
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "harness.h"
#include "support/kit.h"
#include "support/pair.h"
#include "tram/service.h"
#include "wire/frame.h"

/* ---- the server ------------------------------------------------------------------------------ */

static const char *const *addresses;
static uint64_t held_max;
static int told_fd;
static tram_request *waiting[65536];
static uint32_t waiting_from, waiting_to;

/* What finds no room is answered when there is some. */
static void on_request(tram_server *server, tram_request **request, void *arg) {
    const struct tram_view *view = tram_request_view(*request);
    int rc = tram_reply_send(request, view->data, view->size);

    (void) server;
    (void) arg;
    if (rc != -EAGAIN)
        return;
    waiting[waiting_to++ % 65536] = *request;
    *request = NULL;
}

static void on_space(tram_server *server, tram_session *session, void *arg) {
    (void) server;
    (void) session;
    (void) arg;
    for (uint32_t left = waiting_to - waiting_from; left > 0; left--) {
        tram_request *mine = waiting[waiting_from++ % 65536];
        const struct tram_view *view = tram_request_view(mine);

        if (mine && tram_reply_send(&mine, view->data, view->size) == -EAGAIN)
            waiting[waiting_to++ % 65536] = mine;
    }
}

static void on_cancel(tram_server *server, tram_request *request, void *arg) {
    (void) server;
    (void) arg;
    for (uint32_t i = waiting_from; i != waiting_to; i++)
        if (waiting[i % 65536] == request)
            waiting[i % 65536] = NULL;
    (void) tram_request_free(request);
}

static void on_server_state(tram_server *server, enum tram_state state,
                            const struct tram_party *who, void *arg) {
    (void) server;
    (void) who;
    (void) arg;
    CHECK_EQ(state, TRAM_STATE_ONLINE);
    CHECK_EQ(write(told_fd, "x", 1), 1);
}

static void serve(void *arg) {
    static const struct tram_server_handlers handlers = { .on_state = on_server_state,
                                                          .on_request = on_request,
                                                          .on_cancel = on_cancel,
                                                          .on_space = on_space };
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    tram_worker *worker;
    tram_server *server;

    (void) arg;
    options.handlers = &handlers;
    options.flags = TRAM_SERVER_NO_DAEMON;
    options.addresses = addresses;
    options.sockets_held_max = held_max;
    CHECK_OK(tram_worker_new(NULL, &worker));
    CHECK_OK(tram_server_new(worker, "svc://pair", &options, &server));
    (void) tram_worker_run(worker);
}

/* ---- the innocent ---------------------------------------------------------------------------- */

struct innocent {
    uint32_t stop, online, offline;
    uint64_t calls;
    int64_t longest, sum;
};
static struct innocent *innocent;

static void on_state(tram_client *client, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    (void) client;
    (void) who;
    (void) arg;
    innocent->online += state == TRAM_STATE_ONLINE;
    innocent->offline += state == TRAM_STATE_OFFLINE;
}

static void ask_and_ask(void *arg) {
    static const struct tram_client_handlers handlers = { .on_state = on_state };
    const char *address = arg;
    tram_worker *worker = pair_worker(0);
    tram_client *client = pair_client(worker, address, 0, &handlers, NULL);
    char block[100] = "innocent";

    while (!__atomic_load_n(&innocent->stop, __ATOMIC_RELAXED)) {
        int64_t start = pair_now();
        tram_reply *reply;

        CHECK_OK(tram_client_call(client, 1, block, sizeof(block), NULL, &reply));
        CHECK_MEM(tram_reply_view(reply)->data, block, sizeof(block));
        (void) tram_reply_free(reply);
        start = pair_now() - start;
        innocent->longest = start > innocent->longest ? start : innocent->longest;
        innocent->sum += start;
        (void) __atomic_add_fetch(&innocent->calls, 1, __ATOMIC_RELAXED);
        pair_turn(worker);
    }
    CHECK_EQ(innocent->online, 1);
    CHECK_EQ(innocent->offline, 0);
    (void) tram_worker_free(worker);
}

struct scene {
    const char *address[2]; /* of the server */
    const char *ends[3];
    pid_t server, client;
    long memory;            /* KiB, when it began */
};

static long memory_of(pid_t pid) {
    char path[64], line[128];
    long kib = 0;
    FILE *file;

    (void) snprintf(path, sizeof(path), "/proc/%d/status", pid);
    file = fopen(path, "r");
    CHECK(file);
    while (fgets(line, sizeof(line), file))
        if (sscanf(line, "RssAnon: %ld", &kib) == 1)
            break;
    (void) fclose(file);
    return kib;
}

/* So many more calls of the innocent were answered. */
static void wait_for_calls(uint64_t more) {
    uint64_t until = __atomic_load_n(&innocent->calls, __ATOMIC_RELAXED) + more;
    int64_t patience = pair_now() + pair_patience();

    while (__atomic_load_n(&innocent->calls, __ATOMIC_RELAXED) < until) {
        if (pair_now() > patience)
            FAIL("the innocent is not answered any more");
        (void) poll(NULL, 0, 1);
    }
}

static void begin(struct scene *scene) {
    struct rlimit limit;
    int fds[2];
    char byte;

    CHECK_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < 2000)
        SKIP("it needs 2,000 descriptors");
    limit.rlim_cur = limit.rlim_max;
    CHECK_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    scene->address[0] = scene->ends[0] = pair_address("ipc");
    scene->address[1] = scene->ends[1] = pair_address("tcp");
    scene->ends[2] = NULL;
    addresses = scene->ends;
    CHECK_OK(pipe(fds));
    told_fd = fds[1];
    scene->server = test_fork(serve, NULL);
    CHECK_EQ(read(fds[0], &byte, 1), 1);
    (void) close(fds[0]);
    (void) close(fds[1]);
    innocent = kit_shared(sizeof(*innocent));
    scene->client = test_fork(ask_and_ask, (void *) (uintptr_t) scene->address[0]);
    wait_for_calls(100);
    scene->memory = memory_of(scene->server);
    innocent->longest = innocent->sum = 0;
    innocent->calls = 0;
}

/* `mib`: how much more the server may have. */
static void end(struct scene *scene, long mib) {
    long grown;

    wait_for_calls(100);
    grown = memory_of(scene->server) - scene->memory;
    __atomic_store_n(&innocent->stop, 1, __ATOMIC_RELAXED);
    JOIN(scene->client);
    printf("    innocent: %llu calls, mean %.0f us, longest %.1f ms; server: %+ld KiB\n",
           (unsigned long long) innocent->calls,
           (double) innocent->sum / 1e3 / (double) innocent->calls,
           (double) innocent->longest / 1e6, grown);
    CHECK(innocent->longest < (int64_t) test_seconds(1) * 1000000000);
    if (!*test_sanitizer())
        CHECK(grown < mib * 1024);
    test_kill(scene->server);
}

/* ---- raw peers ------------------------------------------------------------------------------- */

static int dial(const char *address) {
    struct sockaddr_un unix_name = { .sun_family = AF_UNIX };
    struct sockaddr_in name = { .sin_family = AF_INET };
    bool tcp = strncmp(address, "tcp", 3) == 0;
    char host[64];
    unsigned port;
    int fd = CHECK_OK(socket(tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));

    if (tcp) {
        CHECK_EQ(sscanf(address, "tcp://%63[0-9.]:%u", host, &port), 2);
        name.sin_port = htons((uint16_t) port);
        CHECK_EQ(inet_pton(AF_INET, host, &name.sin_addr), 1);
        CHECK_OK(connect(fd, (struct sockaddr *) &name, sizeof(name)));
    } else {
        (void) snprintf(unix_name.sun_path, sizeof(unix_name.sun_path), "%s",
                        address + strlen("ipc://"));
        CHECK_OK(connect(fd, (struct sockaddr *) &unix_name, sizeof(unix_name)));
    }
    return fd;
}

static size_t put_frame(char *at, enum frame_kind kind, uint32_t number, const void *data,
                        uint32_t size) {
    struct socket_head head = { .size = size,
                                .code = 1,
                                .frame = { .kind = (uint8_t) kind,
                                           .port = 1,
                                           .correlation = UINT64_C(77) << 32 | number } };
    size_t padded = (size + 7u) & ~7u;

    memcpy(at, &head, sizeof(head));
    memset(at + sizeof(head), 0, padded);
    if (size > 0)
        memcpy(at + sizeof(head), data, size);
    return sizeof(head) + padded;
}

static size_t put_hello(char *at) {
    char payload[sizeof(struct hello) + 4];
    struct hello hello = { .magic = "TRAM", .version = FRAME_VERSION, .program = 4, .pid = 1 };

    memcpy(payload, &hello, sizeof(hello));
    memcpy(payload + sizeof(hello), "evil", 4);
    return put_frame(at, FRAME_HELLO, 0, payload, sizeof(payload));
}

/* True: all of it went. */
static bool say(int fd, const void *bytes, size_t size) {
    return send(fd, bytes, size, MSG_NOSIGNAL) == (ssize_t) size;
}

static int dial_and_greet(const char *address) {
    char bytes[128];
    int fd = dial(address);

    CHECK(say(fd, bytes, put_hello(bytes)));
    return fd;
}

/* Read until it ends. */
static void must_end(int fd) {
    struct pollfd entry = { .fd = fd, .events = POLLIN };
    char bytes[4096];

    for (;;) {
        ssize_t n;

        CHECK_EQ(poll(&entry, 1, test_seconds(8) * 1000), 1);
        n = recv(fd, bytes, sizeof(bytes), 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET))
            break;
        CHECK(n > 0);
    }
    (void) close(fd);
}

/* It goes on: a request is answered. */
static void must_live(int fd) {
    struct pollfd entry = { .fd = fd, .events = POLLIN };
    char bytes[4096];
    size_t size = put_frame(bytes, FRAME_REQUEST, 99, "x", 1);

    CHECK(say(fd, bytes, size));
    for (size_t got = 0;;) {
        ssize_t n;

        CHECK_EQ(poll(&entry, 1, test_seconds(8) * 1000), 1);
        n = recv(fd, bytes + got, sizeof(bytes) - got, 0);
        CHECK(n > 0);
        got += (size_t) n;
        for (size_t at = 0; at + sizeof(struct socket_head) <= got;) {
            struct socket_head head;

            memcpy(&head, bytes + at, sizeof(head));
            if (head.frame.kind == FRAME_REPLY && (uint32_t) head.frame.correlation == 99) {
                (void) close(fd);
                return;
            }
            at += sizeof(head) + ((head.size + 7u) & ~7u);
        }
    }
}

/* ---- attacks --------------------------------------------------------------------------------- */

static void nonsense_frame(const char *address, struct socket_head head) {
    char bytes[256] = { 0 };
    int fd = dial_and_greet(address);

    memcpy(bytes, &head, sizeof(head));
    (void) say(fd, bytes, sizeof(bytes)); /* it may be gone by then */
    must_end(fd);
}

TEST_TIMEOUT(nonsense_in_each_field, 60) {
    struct socket_head good = { .size = 8, .frame = { .kind = FRAME_REQUEST, .port = 1,
                                                      .correlation = UINT64_C(77) << 32 | 1 } };
    struct scene scene;

    begin(&scene);
    for (int i = 0; i < 2; i++) {
        const char *address = scene.address[i];
        struct socket_head bad = good;
        char bytes[256];

        bad.size = SOCKET_MAX + 1;
        nonsense_frame(address, bad);
        bad.size = UINT32_MAX;
        nonsense_frame(address, bad);
        for (int kind = 0; kind < 256; kind++) {
            bad = good;
            bad.frame.kind = (uint8_t) kind;
            if (kind == 0 || kind >= FRAME_KINDS)
                nonsense_frame(address, bad);
        }
        for (int flag = 1; flag < 256; flag *= 2) { /* a field that isn't there, or is unknown */
            bad = good;
            bad.frame.flags = (uint8_t) flag;
            if (flag != FRAME_FAILED && flag != FRAME_INITIAL)
                nonsense_frame(address, bad);
        }
        for (int extra = 1; extra < 65536; extra = extra * 2 + 1) {
            bad = good;
            bad.frame.extra = (uint16_t) extra;
            nonsense_frame(address, bad);
        }
        bad = good;
        bad.frame.port = 0;
        nonsense_frame(address, bad);
        bad = good;
        bad.frame.correlation = 1;
        nonsense_frame(address, bad);
        bad = good; /* acknowledges what was never sent */
        bad.frame.kind = FRAME_ACK;
        bad.frame.correlation = UINT64_C(1) << 32 | 5;
        nonsense_frame(address, bad);
        /* In the hello. */
        for (size_t at = 0; at < sizeof(struct socket_head) + 8; at++) {
            size_t size = put_hello(bytes);
            int fd = dial(address);

            if (at >= 4 && at < 8) { /* code: nobody looks at it */
                (void) close(fd);
                continue;
            }
            bytes[at] = (char) (bytes[at] ^ 0xff);
            (void) say(fd, bytes, size);
            (void) shutdown(fd, SHUT_WR);
            must_end(fd);
        }
        /* What is only not for a server is counted, and the connection stays. */
        for (int kind = 1; kind < FRAME_KINDS; kind++) {
            int fd;

            if (kind == FRAME_BYE || kind == FRAME_ACK)
                continue;
            fd = dial_and_greet(address);
            CHECK(say(fd, bytes, put_frame(bytes, (enum frame_kind) kind, 7, "whatever", 8)));
            must_live(fd);
        }
    }
    end(&scene, 8);
}

TEST(closing_at_every_byte) {
    struct scene scene;
    char bytes[512];
    size_t size;

    begin(&scene);
    size = put_hello(bytes);
    size += put_frame(bytes + size, FRAME_REQUEST, 1, "a request", 9);
    size += put_frame(bytes + size, FRAME_ONEWAY, 0, "a message", 9);
    for (int i = 0; i < 2; i++)
        for (size_t cut = 0; cut <= size; cut++) {
            int fd = dial(scene.address[i]);

            CHECK(say(fd, bytes, cut));
            (void) close(fd);
        }
    end(&scene, 8);
}

/* One byte at a time, of a conversation that is all right. */
TEST(one_byte_at_a_time) {
    struct scene scene;
    char bytes[512];
    size_t size;

    begin(&scene);
    size = put_hello(bytes);
    size += put_frame(bytes + size, FRAME_ONEWAY, 0, "a message", 9);
    for (int i = 0; i < 2; i++) {
        int fd = dial(scene.address[i]);

        for (size_t at = 0; at < size; at++) {
            CHECK(say(fd, bytes + at, 1));
            if (at % 8 == 0)
                wait_for_calls(1);
        }
        must_live(fd);
    }
    end(&scene, 8);
}

TEST(those_without_a_hello_go) {
    enum { SLOW = 1400 }; /* more than 512 for each address */
    static int fds[SLOW];
    int64_t since = pair_now();
    struct scene scene;
    char bytes[64];

    begin(&scene);
    (void) put_hello(bytes);
    for (int i = 0; i < SLOW; i++) {
        fds[i] = dial(scene.address[i % 2]);
        (void) say(fds[i], bytes, (size_t) i % 40);
    }
    wait_for_calls(100);
    for (int i = 0; i < 2; i++) /* the first make room for others, … */
        must_end(fds[i]);
    CHECK(pair_now() - since < (int64_t) test_seconds(4) * 1000000000);
    for (int i = 0; i < 2; i++) /* who says hello is let in, however many wait */
        must_live(dial_and_greet(scene.address[i]));
    for (int i = 2; i < SLOW; i++) /* … the others have no more than their time */
        must_end(fds[i]);
    end(&scene, 16);
}

TEST(half_a_message_costs_what_has_come_of_it) {
    enum { HALF = 300 };
    static int fds[HALF];
    struct scene scene;
    struct socket_head head = { .size = SOCKET_MAX,
                                .frame = { .kind = FRAME_REQUEST, .port = 1,
                                           .correlation = UINT64_C(77) << 32 | 1 } };
    char block[2000] = "";

    begin(&scene);
    memcpy(block, &head, sizeof(head));
    for (int i = 0; i < HALF; i++) {
        fds[i] = dial_and_greet(scene.address[i % 2]);
        CHECK(say(fds[i], block, sizeof(block)));
    }
    wait_for_calls(200);
    end(&scene, 64); /* 300 times 16 MiB were promised */
    for (int i = 0; i < HALF; i++)
        (void) close(fds[i]);
}

static void connect_and_go(void *arg) {
    const struct scene *scene = arg;
    int64_t until = pair_now() + KIT_S;

    for (unsigned i = 0; pair_now() < until; i++) {
        char bytes[128];
        int fd = dial(scene->address[0]);

        if (i % 3 == 1)
            (void) say(fd, bytes, put_hello(bytes));
        (void) close(fd);
    }
}

TEST(flood_of_connections) {
    struct scene scene;
    pid_t pid;

    begin(&scene);
    pid = test_fork(connect_and_go, &scene);
    JOIN(pid);
    end(&scene, 32);
}

TEST(peers_that_never_read) {
    enum { DEAF = 4, BLOCK = 65536 };
    struct scene scene;
    static char block[BLOCK + 64];
    static char payload[BLOCK];
    int fds[DEAF];

    begin(&scene);
    for (int i = 0; i < DEAF; i++) {
        size_t size = put_frame(block, FRAME_REQUEST, 1, payload, BLOCK);
        uint64_t said = 0;

        fds[i] = dial_and_greet(scene.address[i % 2]);
        for (int quiet = 0; quiet < 50;) { /* until nothing goes for 50 ms */
            ssize_t n = send(fds[i], block, size, MSG_DONTWAIT | MSG_NOSIGNAL);

            CHECK(n > 0 || errno == EAGAIN);
            if (n == (ssize_t) size || n < 0) {
                said += n > 0 ? (uint64_t) n : 0;
            } else if (n > 0) { /* the rest, so that it stays whole */
                said += (uint64_t) n;
                for (size_t at = (size_t) n; at < size && quiet < 50;) {
                    n = send(fds[i], block + at, size - at, MSG_DONTWAIT | MSG_NOSIGNAL);
                    quiet = n > 0 ? 0 : quiet + 1;
                    at += n > 0 ? (size_t) n : 0;
                    if (n < 0)
                        (void) poll(NULL, 0, 1);
                }
                continue;
            }
            quiet = n > 0 ? 0 : quiet + 1;
            if (n < 0)
                (void) poll(NULL, 0, 1);
        }
        CHECK(said < 64u << 20);
    }
    /* Of each: 16 MiB that the application keeps, 1 MiB of answers, and a message. */
    end(&scene, DEAF * 24);
    for (int i = 0; i < DEAF; i++)
        (void) close(fds[i]);
}

/* Send the same again and again, until it goes no further, or the other side has ended it. */
static void fill(int fd, const char *block, size_t size, uint64_t most) {
    uint64_t said = 0;

    for (int quiet = 0; quiet < 20 && said < most;) {
        ssize_t n = send(fd, block + said % size, size - said % size, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (n < 0 && errno != EAGAIN)
            return;
        said += n > 0 ? (uint64_t) n : 0;
        quiet = n > 0 ? 0 : quiet + 1;
        if (n < 0)
            (void) poll(NULL, 0, 1);
    }
}

/* Each is within its bounds, and all together are too much: those that hold most are ended. */
static void many_at_once(const char *block, size_t size, uint64_t most) {
    enum { MANY = 24 };
    struct scene scene;
    int fds[MANY];

    held_max = UINT64_C(64) << 20;
    begin(&scene);
    for (int i = 0; i < MANY; i++) {
        fds[i] = dial_and_greet(scene.address[i % 2]);
        fill(fds[i], block, size, most);
    }
    end(&scene, 64 + 32);
    for (int i = 0; i < MANY; i++)
        (void) close(fds[i]);
}

TEST(messages_that_are_never_finished_are_bounded_together) {
    struct socket_head head = { .size = SOCKET_MAX, .code = 1,
                                .frame = { .kind = FRAME_REQUEST, .port = 1,
                                           .correlation = UINT64_C(77) << 32 | 1 } };
    size_t size = SOCKET_MAX;
    char *block = calloc(1, size);

    CHECK(block);
    memcpy(block, &head, sizeof(head));
    many_at_once(block, size, size - 65536);
    free(block);
}

TEST(answers_that_are_never_read_are_bounded_together) {
    static char block[65536 + 64], payload[65536];

    many_at_once(block, put_frame(block, FRAME_REQUEST, 1, payload, sizeof(payload)),
                 UINT64_C(64) << 20);
}

static void ask_many(void *arg) {
    tram_worker *worker = pair_worker(0);
    tram_client *client = pair_client(worker, arg, 0, NULL, NULL);
    char block[1000] = "";

    for (;;) {
        (void) tram_client_ask(client, 1, block, sizeof(block), NULL, NULL, NULL, NULL);
        (void) tram_client_send(client, 1, block, sizeof(block), NULL);
        (void) tram_worker_dispatch(worker);
    }
}

TEST(peers_that_are_stopped) {
    enum { STOPPED = 6 };
    struct scene scene;
    pid_t pids[STOPPED];

    begin(&scene);
    for (int i = 0; i < STOPPED; i++)
        pids[i] = test_fork(ask_many, (void *) (uintptr_t) scene.address[i % 2]);
    for (int round = 0; round < 10; round++)
        for (int i = 0; i < STOPPED; i++) {
            wait_for_calls(2);
            CHECK_EQ(kill(pids[i], round % 2 ? SIGCONT : SIGSTOP), 0);
        }
    for (int i = 0; i < STOPPED; i++) {
        CHECK_EQ(kill(pids[i], SIGSTOP), 0);
        wait_for_calls(2);
    }
    wait_for_calls(200);
    for (int i = 0; i < STOPPED; i++)
        test_kill(pids[i]);
    end(&scene, STOPPED * 24);
}
