/* SPDX-License-Identifier: MIT
 *
 * What services over sockets cost, beside the raw socket in the same run: two threads.
 *
 *     service_socket_speed_prog rtt ipc|tcp spin|sleep ROUNDS
 *                            round trips of 32 bytes, in turn: raw socket, blocking calls, requests
 *     service_socket_speed_prog batch ipc|tcp COUNT
 *                            32 bytes: one-way messages, and 256 requests under way
 *     service_socket_speed_prog one ipc|tcp ROUNDS
 *                            blocking calls of workers that don't spin: to be run under strace
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include "support/kit.h"
#include "tram/service.h"

#define SIZE   32
#define WINDOW 256
#define CHUNK  2000

static void must(int rc) {
    if (rc < 0) {
        (void) fprintf(stderr, "service_socket_speed: %s\n", strerror(-rc));
        exit(1);
    }
}

static int by_size(const void *a, const void *b) {
    int64_t left = *(const int64_t *) a, right = *(const int64_t *) b;

    return left < right ? -1 : left > right;
}

static int64_t median(int64_t *samples, long count) {
    qsort(samples, (size_t) count, sizeof(*samples), by_size);
    return samples[count / 2];
}

/* ---- the raw socket -------------------------------------------------------------------------- */

struct raw {
    int fds[2];
    bool spin;
};

static void no_delay(int fd) {
    int on = 1;

    must(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)));
}

static void raw_open(struct raw *raw, bool tcp) {
    struct sockaddr_in address = { .sin_family = AF_INET };
    socklen_t size = sizeof(address);
    int fd;

    if (!tcp) {
        must(socketpair(AF_UNIX, SOCK_STREAM, 0, raw->fds));
        return;
    }
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    must(fd = socket(AF_INET, SOCK_STREAM, 0));
    must(bind(fd, (struct sockaddr *) &address, size));
    must(listen(fd, 1));
    must(getsockname(fd, (struct sockaddr *) &address, &size));
    must(raw->fds[0] = socket(AF_INET, SOCK_STREAM, 0));
    must(connect(raw->fds[0], (struct sockaddr *) &address, size));
    must(raw->fds[1] = accept(fd, NULL, NULL));
    (void) close(fd);
    no_delay(raw->fds[0]);
    no_delay(raw->fds[1]);
}

/* False: the end. */
static bool raw_read(const struct raw *raw, int side, char *block) {
    ssize_t n;

    do
        n = recv(raw->fds[side], block, SIZE, raw->spin ? MSG_DONTWAIT : 0);
    while (n < 0 && errno == EAGAIN);
    return n == SIZE;
}

static void *raw_echo(void *arg) {
    const struct raw *raw = arg;
    char block[SIZE];

    while (raw_read(raw, 1, block))
        must((int) send(raw->fds[1], block, SIZE, MSG_NOSIGNAL));
    return NULL;
}

/* ---- services -------------------------------------------------------------------------------- */

struct pair {
    tram_worker *left, *right;
    tram_server *server;
    tram_client *client;
    char address[320];
    int64_t *samples, since;
    long left_over, ends, received, wanted;
};

static void on_state(tram_server *server, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    struct pair *pair = arg;

    (void) server;
    if (state == TRAM_STATE_ONLINE) {
        (void) snprintf(pair->address, sizeof(pair->address), "%s", who->address);
        (void) tram_worker_stop(pair->right, 0);
    }
}

static void on_request(tram_server *server, tram_request **request, void *arg) {
    const struct tram_view *view = tram_request_view(*request);

    (void) server;
    (void) arg;
    must(tram_reply_send(request, view->data, view->size));
}

static void on_message(tram_server *server, tram_session *session, const struct tram_view *view,
                       void *arg) {
    struct pair *pair = arg;

    (void) server;
    (void) view;
    if (++pair->received == pair->wanted)
        must(tram_session_send(session, 1, NULL, 0, NULL));
}

static void on_done(tram_client *client, const struct tram_view *view, void *arg) {
    struct pair *pair = arg;

    (void) client;
    (void) view;
    (void) tram_worker_stop(pair->left, 0);
}

static tram_worker *make(uint32_t flags) {
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    tram_worker *worker;

    options.flags = flags;
    must(tram_worker_new(&options, &worker));
    return worker;
}

static void pair_open(struct pair *pair, bool tcp, uint32_t flags) {
    static const struct tram_server_handlers of_server = { .on_state = on_state,
                                                           .on_request = on_request,
                                                           .on_message = on_message };
    static const struct tram_client_handlers of_client = { .on_message = on_done };
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    struct tram_client_options client = TRAM_CLIENT_OPTIONS_INIT;
    char ipc[256];
    const char *addresses[] = { tcp ? "tcp://127.0.0.1:0" : ipc, NULL };

    memset(pair, 0, sizeof(*pair));
    (void) snprintf(ipc, sizeof(ipc), "ipc://%s/speed.sock", getenv("TRAM_DIR"));
    pair->left = make(flags);
    pair->right = make(flags);
    options.handlers = &of_server;
    options.arg = pair;
    options.flags = TRAM_SERVER_NO_DAEMON | TRAM_SERVER_NO_SHM;
    options.addresses = addresses;
    must(tram_server_new(pair->right, "svc://speed", &options, &pair->server));
    must(tram_worker_run(pair->right));
    must(tram_worker_start(pair->right));
    client.handlers = &of_client;
    client.arg = pair;
    must(tram_client_new(pair->left, pair->address, &client, &pair->client));
    must(tram_client_wait(pair->client, TRAM_FOREVER));
}

static void pair_close(struct pair *pair) {
    (void) tram_worker_free(pair->left);
    (void) tram_worker_free(pair->right);
}

static void on_result(const struct tram_result *result, void *arg);

static void ask(struct pair *pair) {
    char block[SIZE] = "";

    if (pair->samples)
        pair->since = kit_now();
    must(tram_client_ask(pair->client, 1, block, SIZE, NULL, on_result, pair, NULL));
}

static void on_result(const struct tram_result *result, void *arg) {
    struct pair *pair = arg;

    must(result->status);
    if (pair->samples)
        pair->samples[pair->ends] = kit_now() - pair->since;
    pair->ends++;
    if (pair->left_over > 0) {
        pair->left_over--;
        ask(pair);
    } else if (pair->ends == pair->wanted) {
        (void) tram_worker_stop(pair->left, 0);
    }
}

/* ---- round trips ----------------------------------------------------------------------------- */

static void raw_rounds(const struct raw *raw, int64_t *samples, long count) {
    char block[SIZE] = "";

    for (long i = 0; i < count; i++) {
        int64_t start = kit_now();

        must((int) send(raw->fds[0], block, SIZE, 0));
        if (!raw_read(raw, 0, block))
            exit(1);
        samples[i] = kit_now() - start;
    }
}

static void calls(struct pair *pair, int64_t *samples, long count) {
    char block[SIZE] = "";

    for (long i = 0; i < count; i++) {
        int64_t start = kit_now();
        tram_reply *reply;

        must(tram_client_call(pair->client, 1, block, SIZE, NULL, &reply));
        (void) tram_reply_free(reply);
        samples[i] = kit_now() - start;
    }
}

static void asked(struct pair *pair, int64_t *samples, long count) {
    pair->samples = samples;
    pair->ends = 0;
    pair->wanted = count;
    pair->left_over = count - 1;
    ask(pair);
    must(tram_worker_run(pair->left));
}

static void show(const char *what, int64_t *samples, long count, int64_t floor) {
    int64_t half = median(samples, count);

    printf("%-8s p50 %6.2f us, p99 %6.2f", what, (double) half / 1e3,
           (double) samples[count * 99 / 100] / 1e3);
    if (floor)
        printf(", %.2f x raw", (double) half / (double) floor);
    printf("\n");
}

/* In turn, so that a busy neighbour hits all three. */
static void rtt(bool tcp, bool spin, long rounds) {
    long turns = rounds / CHUNK, count = turns * CHUNK;
    int64_t *samples[3];
    struct raw raw = { .spin = spin };
    struct pair pair;
    pthread_t thread;

    for (int i = 0; i < 3; i++)
        samples[i] = calloc((size_t) count, sizeof(int64_t));
    for (long turn = 0; turn < turns; turn++) {
        raw_open(&raw, tcp);
        must(-pthread_create(&thread, NULL, raw_echo, &raw));
        raw_rounds(&raw, samples[0] + turn * CHUNK, CHUNK);
        (void) shutdown(raw.fds[0], SHUT_RDWR);
        (void) pthread_join(thread, NULL);
        (void) close(raw.fds[0]);
        (void) close(raw.fds[1]);
        pair_open(&pair, tcp, spin ? TRAM_WORKER_SPIN : TRAM_WORKER_NO_SPIN);
        calls(&pair, samples[1] + turn * CHUNK, CHUNK);
        asked(&pair, samples[2] + turn * CHUNK, CHUNK);
        pair_close(&pair);
    }
    show("raw", samples[0], count, 0);
    show("calls", samples[1], count, samples[0][count / 2]);
    show("requests", samples[2], count, samples[0][count / 2]);
    for (int i = 0; i < 3; i++)
        free(samples[i]);
}

/* ---- many at a time -------------------------------------------------------------------------- */

struct flood {
    struct pair *pair;
    long left;
};

static void push(tram_worker *worker, void *arg) {
    struct flood *flood = arg;
    struct tram_how how = TRAM_HOW_INIT;
    char block[SIZE] = "";

    how.flags = TRAM_HOW_MORE;
    for (int i = 0; i < 1000 && flood->left > 0; i++) {
        int rc = tram_client_send(flood->pair->client, 1, block, SIZE, &how);

        if (rc == -EAGAIN)
            break;
        must(rc);
        flood->left--;
    }
    if (flood->left > 0)
        must(tram_worker_post(worker, push, flood, 0));
}

static void batch(bool tcp, long count) {
    struct pair pair;
    struct flood flood = { &pair, count };
    int64_t start;

    pair_open(&pair, tcp, TRAM_WORKER_SPIN);
    pair.wanted = count;
    start = kit_now();
    must(tram_worker_post(pair.left, push, &flood, 0));
    must(tram_worker_run(pair.left));
    printf("one-way   %.2f M/s\n", (double) count * 1e3 / (double) (kit_now() - start));
    pair.ends = 0;
    pair.wanted = count;
    pair.left_over = count - WINDOW;
    start = kit_now();
    for (int i = 0; i < WINDOW; i++)
        ask(&pair);
    must(tram_worker_run(pair.left));
    printf("requests  %.2f M/s\n", (double) count * 1e3 / (double) (kit_now() - start));
    pair_close(&pair);
}

int main(int argc, char **argv) {
    bool tcp = argc > 2 && strcmp(argv[2], "tcp") == 0;

    if (argc == 5 && strcmp(argv[1], "rtt") == 0) {
        rtt(tcp, strcmp(argv[3], "spin") == 0, atol(argv[4]));
    } else if (argc == 4 && strcmp(argv[1], "batch") == 0) {
        batch(tcp, atol(argv[3]));
    } else if (argc == 4 && strcmp(argv[1], "one") == 0) {
        int64_t *samples = calloc((size_t) atol(argv[3]), sizeof(*samples));
        struct pair pair;

        pair_open(&pair, tcp, TRAM_WORKER_NO_SPIN);
        calls(&pair, samples, atol(argv[3]));
        show("calls", samples, atol(argv[3]), 0);
        free(samples);
        pair_close(&pair);
    } else {
        (void) fprintf(stderr, "see the top of the source\n");
        return 2;
    }
    return 0;
}
