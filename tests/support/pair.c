/* SPDX-License-Identifier: MIT */
#include "support/pair.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

#define KEPT_MAX 4096

static struct pair_options options;
static struct pair_counts counts;
static tram_request *kept[KEPT_MAX];
static int kept_count;
static tram_worker *own;
static int journal = -1;

static void note(const struct tram_view *view) {
    if (journal >= 0 && write(journal, view->data, view->size) != (ssize_t) view->size)
        FAIL("the journal: errno %d", errno);
}

/* ---- the server ------------------------------------------------------------------------------ */

struct stream {
    tram_request *request;
    uint32_t at, count;
};
static struct stream streams[16];

static void push(struct stream *stream) {
    while (stream->request && stream->at < stream->count) {
        int rc = tram_reply_part(stream->request, &stream->at, sizeof(stream->at));

        if (rc == -EAGAIN)
            return;
        if (rc < 0)
            break;
        stream->at++;
    }
    if (stream->request)
        CHECK_OK(tram_reply_send(&stream->request, &stream->at, sizeof(stream->at)));
}

static void begin_stream(tram_request **request) {
    const struct tram_view *view = tram_request_view(*request);

    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++) {
        if (streams[i].request)
            continue;
        streams[i].at = 0;
        memcpy(&streams[i].count, view->data, sizeof(streams[i].count));
        streams[i].request = *request;
        *request = NULL;
        push(&streams[i]);
        return;
    }
}

static void back(const struct tram_result *result, void *arg) {
    tram_request *request = arg;

    if (result->status == 0)
        CHECK_OK(tram_reply_send(&request, result->view.data, result->view.size));
    else
        CHECK_OK(tram_reply_error(&request, result->status, "the client did not answer"));
}

static void drained(tram_server *server, void *arg) {
    (void) arg;
    (void) tram_server_free(server);
    (void) tram_worker_stop(own, 0);
}

static void draft(tram_request **request) {
    const struct tram_view *view = tram_request_view(*request);
    tram_draft *draft;
    void *data;

    CHECK_OK(tram_request_draft(*request, view->size + 100, &draft, &data));
    memcpy(data, view->data, view->size);
    CHECK_OK(tram_draft_reply(&draft, request, view->size));
}

static void more(tram_server *server, tram_request **request, const struct tram_view *view) {
    tram_session *session = tram_request_session(*request);
    pid_t self = getpid();

    switch (view->code) {
    case PAIR_STREAM:
        begin_stream(request);
        break;
    case PAIR_ASK_BACK:
        CHECK_OK(tram_session_ask(session, view->code, view->data, view->size, NULL, back, *request,
                                  NULL));
        *request = NULL;
        break;
    case PAIR_TRACE:
        CHECK_OK(tram_reply_send(request, tram_trace(), 16));
        break;
    case PAIR_TELL:
        CHECK_OK(tram_session_send(session, 7, view->data, view->size, NULL));
        CHECK_OK(tram_reply_send(request, NULL, 0));
        break;
    case PAIR_DIE:
        (void) kill(getpid(), SIGKILL);
        break;
    case PAIR_DRAFT:
        draft(request);
        break;
    case PAIR_CLOSE:
        (void) tram_session_free(session);
        break;
    case PAIR_DRAIN:
        note(view);
        CHECK_OK(tram_reply_send(request, NULL, 0));
        CHECK_OK(tram_server_drain(server, drained));
        break;
    case PAIR_SELF:
        CHECK_OK(tram_reply_send(request, &self, sizeof(self)));
        break;
    default: /* PAIR_LEAVE */
        break;
    }
}

static void on_request(tram_server *server, tram_request **request, void *arg) {
    const struct tram_view *view = tram_request_view(*request);

    (void) arg;
    counts.requests++;
    counts.bytes += view->size;
    counts.attempts += view->attempt - 1;
    switch (view->code) {
    case PAIR_ECHO:
        note(view);
        CHECK_OK(tram_reply_send(request, view->data, view->size));
        break;
    case PAIR_ERROR:
        CHECK_OK(tram_reply_error(request, 42, "no such luck"));
        break;
    case PAIR_DEFER:
        CHECK(kept_count < KEPT_MAX);
        kept[kept_count++] = *request;
        *request = NULL;
        break;
    case PAIR_FLUSH:
        while (kept_count > 0) {
            tram_request *mine = kept[--kept_count];
            const struct tram_view *its = tram_request_view(mine);

            CHECK_OK(tram_reply_send(&mine, its->data, its->size));
        }
        CHECK_OK(tram_reply_send(request, NULL, 0));
        break;
    case PAIR_COUNT:
        CHECK_OK(tram_reply_send(request, &counts, sizeof(counts)));
        break;
    default:
        more(server, request, view);
    }
}

static void on_message(tram_server *server, tram_session *session, const struct tram_view *view,
                       void *arg) {
    (void) server;
    (void) session;
    (void) arg;
    counts.messages++;
    counts.bytes += view->size;
    if (options.handed)
        (void) __atomic_add_fetch(options.handed, 1, __ATOMIC_RELAXED);
}

static void on_session(tram_server *server, tram_session *session, bool online, void *arg) {
    (void) server;
    (void) session;
    (void) arg;
    counts.sessions += online;
    counts.online += online ? 1 : (uint64_t) -1;
}

static void on_cancel(tram_server *server, tram_request *request, void *arg) {
    (void) server;
    (void) arg;
    counts.cancelled++;
    CHECK(tram_request_over(request));
    for (int i = 0; i < kept_count; i++) {
        if (kept[i] != request)
            continue;
        kept[i] = kept[--kept_count];
        (void) tram_request_free(request);
        return;
    }
    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++)
        if (streams[i].request == request)
            streams[i].request = tram_request_free(request);
}

static void on_space(tram_server *server, tram_session *session, void *arg) {
    (void) server;
    (void) session;
    (void) arg;
    for (size_t i = 0; i < sizeof(streams) / sizeof(streams[0]); i++)
        push(&streams[i]);
}

static void on_state(tram_server *server, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    int *fd = arg;

    (void) server;
    (void) who;
    if (state != TRAM_STATE_ONLINE || *fd < 0)
        return;
    CHECK_EQ(write(*fd, "x", 1), 1);
    (void) close(*fd);
    *fd = -1;
}

static void serve(void *arg) {
    static const struct tram_server_handlers handlers = {.on_state = on_state,
                                                         .on_session = on_session,
                                                         .on_request = on_request,
                                                         .on_message = on_message,
                                                         .on_cancel = on_cancel,
                                                         .on_space = on_space};
    struct tram_worker_options worker_options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_options node = TRAM_OPTIONS_INIT;
    struct tram_server_options server_options = TRAM_SERVER_OPTIONS_INIT;
    tram_server *server;

    node.ring_size = options.ring_size;
    worker_options.node = &node;
    worker_options.id = options.id ? options.id : PAIR_SERVER;
    server_options.handlers = &handlers;
    server_options.arg = arg;
    server_options.addresses = options.addresses;
    server_options.sessions_max = options.sessions_max;
    server_options.flags = options.flags | (options.daemon ? 0 : TRAM_SERVER_NO_DAEMON);
    if (options.journal)
        journal = CHECK_OK(open(options.journal, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
    CHECK_OK(tram_worker_new(&worker_options, &own));
    CHECK_OK(tram_server_new(own, options.address ? options.address : "svc://pair", &server_options,
                             &server));
    CHECK_OK(tram_worker_run(own));
    (void) tram_worker_free(own);
    if (journal >= 0)
        (void) close(journal);
    _exit(0);
}

/* Each process has loopback addresses of its own, so that no port is anybody else's. */
const char *pair_address(const char *scheme) {
    static char ipc[128], tcp[64], tls[64];
    unsigned number = (unsigned) getpid();

    if (strcmp(scheme, "ipc") == 0) {
        CHECK(snprintf(ipc, sizeof(ipc), "ipc://%s/pair.sock", getenv("TRAM_DIR")) <
              (int) sizeof(ipc));
        return ipc;
    }
    if (strcmp(scheme, "tls") == 0) {
        (void) snprintf(tls, sizeof(tls), "tls://pair@127.%u.%u.%u:7412",
                        1 + (number >> 16 & 127), number >> 8 & 255, number & 255);
        return tls;
    }
    (void) snprintf(tcp, sizeof(tcp), "tcp://127.%u.%u.%u:7411", 1 + (number >> 16 & 127),
                    number >> 8 & 255, number & 255);
    return tcp;
}

pid_t pair_start(const struct pair_options *given) {
    static int fd;
    int fds[2];
    pid_t pid;
    char byte;

    options = given ? *given : (struct pair_options){0};
    CHECK_OK(pipe2(fds, O_CLOEXEC));
    fd = fds[1];
    pid = test_fork(serve, &fd);
    (void) close(fds[1]);
    CHECK_EQ(read(fds[0], &byte, 1), 1);
    (void) close(fds[0]);
    return pid;
}

/* ---- this side ------------------------------------------------------------------------------- */

tram_worker *pair_worker(tram_id id) {
    struct tram_worker_options made = TRAM_WORKER_OPTIONS_INIT;
    tram_worker *worker;

    made.id = id;
    CHECK_OK(tram_worker_new(&made, &worker));
    return worker;
}

tram_client *pair_client(tram_worker *worker, const char *address, uint32_t flags,
                         const struct tram_client_handlers *handlers, void *arg) {
    struct tram_client_options made = TRAM_CLIENT_OPTIONS_INIT;
    tram_client *client;

    made.flags = flags;
    made.handlers = handlers;
    made.arg = arg;
    CHECK_OK(tram_client_new(worker, address, &made, &client));
    return client;
}

int64_t pair_now(void) {
    struct timespec t;

    (void) clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t pair_patience(void) {
    return (int64_t) test_seconds(8) * 1000000000;
}

void pair_turn(tram_worker *worker) {
    struct pollfd entry = {.fd = tram_worker_fd(worker), .events = POLLIN};
    int rc = tram_worker_dispatch(worker);

    CHECK(rc >= 0 || rc == -ESHUTDOWN);
    if (rc == 0)
        (void) poll(&entry, 1, 2);
}
