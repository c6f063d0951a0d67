/* SPDX-License-Identifier: MIT
 *
 * Frames of any kind, in any order, from a hostile node through shared memory and from hostile
 * sockets at both ends, into a server and two clients that live: with sessions, calls and streams
 * under way, blocking calls, subscriptions, credit, SYNC, and handing over. Each request of ours
 * ends at most once, and not after it was taken back; each of theirs is cancelled at most once; who
 * asks in the usual way afterwards is answered once; and when all is freed nothing is left: no
 * session, call, message in hand or byte that is counted.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "files.h"
#include "service/server.h"
#include "service/service.h"
#include "tram/service.h"
#include "wire/events.h"
#define held worker_held /* the layers have one each */
#include "worker/internal.h"
#undef held

#define VICTIM TRAM_ID(1, 1, 6, 1)
#define EVIL   TRAM_ID(1, 1, 6, 2)
#define GOOD   TRAM_ID(1, 1, 6, 3)

#define KEPT     64
#define ASKS     256
#define SEEN     16
#define SESSIONS 8u

struct ask {
    tram_call *call;
    uint32_t ends;
    bool freed;
};

struct wire {
    int fd;
    bool greeted;
};

static tram_worker *worker;
static tram_node *evil, *good;
static int listener = -1;
static char server_path[128], evil_path[128];

static struct world {
    struct input input;
    struct input choices; /* what the victim does: the same bytes, from the end */
    tram_server *server;
    tram_client *clients[2];
    tram_subscription *subscriptions[4];
    tram_request *kept[KEPT];
    struct ask asks[ASKS];
    uint32_t ask_count;
    uint64_t seen[SEEN]; /* correlations that the victim sent, to be answered */
    uint32_t seen_count, port; /* … and the port of its client */
    struct wire to_server, to_client;
    int depth;           /* of handlers */
    bool ending;         /* who asks is answered at once */
} w;

static void act(void);

static void touch(const struct tram_view *view) {
    volatile uint8_t sum = 0;

    for (size_t i = 0; i < view->size; i += view->size > 4096 ? 512 : 1)
        sum = (uint8_t) (sum + ((const uint8_t *) view->data)[i]);
    REQUIRE(strlen(view->topic) < 256 && view->attempt > 0);
}

static void perhaps_act(void) {
    uint8_t choice = input_byte(&w.choices);

    if ((choice & 7) == 7 && w.depth < 3 && !w.ending) {
        w.depth++;
        act();
        w.depth--;
    }
}

static void ended(const struct tram_result *result, void *arg) {
    struct ask *ask = arg;

    REQUIRE(!ask->freed && ask->ends == 0);
    if (result->status == 0)
        touch(&result->view);
    if (result->view.flags & TRAM_VIEW_MORE) {
        REQUIRE(result->status == 0);
    } else {
        REQUIRE(result->status <= 0 && result->text);
        ask->ends++;
        ask->call = NULL;
    }
    perhaps_act();
}

static void keep(tram_request **request) {
    for (int i = 0; i < KEPT; i++) {
        if (w.kept[i])
            continue;
        w.kept[i] = *request;
        *request = NULL;
        return;
    }
}

static void answer(tram_request **request, uint8_t how) {
    static const char block[20000];
    tram_draft *draft;
    void *data;

    switch (how % 8) {
    case 0:
    case 1:
        (void) tram_reply_send(request, block, how & 0x80 ? sizeof(block) : how);
        break;
    case 2:
        (void) tram_reply_error(request, how, "because");
        break;
    case 3:
        for (int i = 0; i < how; i++)
            (void) tram_reply_part(*request, block, how);
        break;
    case 4:
        if (tram_request_draft(*request, how, &draft, &data) < 0)
            break;
        memset(data, 1, how);
        if (tram_draft_reply(&draft, request, how) < 0 && draft)
            (void) tram_draft_free(draft);
        break;
    case 5:
        *request = tram_request_free(*request);
        break;
    default:
        break;
    }
}

static void requested(tram_request **request) {
    uint8_t choice = input_byte(&w.choices);

    touch(tram_request_view(*request));
    REQUIRE(tram_request_session(*request));
    if (w.ending) {
        (void) tram_reply_send(request, "yes", 3);
        return;
    }
    perhaps_act();
    if (choice & 1)
        keep(request);
    else
        answer(request, choice >> 1);
}

static void on_request(tram_server *server, tram_request **request, void *arg) {
    REQUIRE(server == w.server && !arg);
    requested(request);
}

static void on_client_request(tram_client *client, tram_request **request, void *arg) {
    REQUIRE(client && !arg);
    requested(request);
}

static void on_cancel(tram_server *server, tram_request *request, void *arg) {
    int found = 0;

    REQUIRE(server == w.server && !arg);
    for (int i = 0; i < KEPT; i++) {
        if (w.kept[i] != request)
            continue;
        w.kept[i] = tram_request_free(request);
        found++;
    }
    REQUIRE(found == 1); /* it was in hand, and is told once */
    perhaps_act();
}

static void on_message(tram_server *server, tram_session *session, const struct tram_view *view,
                       void *arg) {
    REQUIRE(server == w.server && !arg);
    REQUIRE(tram_session_party(session)->name);
    touch(view);
    perhaps_act();
}

static void on_client_message(tram_client *client, const struct tram_view *view, void *arg) {
    REQUIRE(client && !arg);
    touch(view);
    perhaps_act();
}

static int on_set(tram_server *server, tram_session *session, const struct tram_view *view,
                  void *arg) {
    REQUIRE(server == w.server && session && !arg);
    touch(view);
    perhaps_act();
    return input_byte(&w.choices) & 1 ? 0 : -EPERM;
}

static void on_session(tram_server *server, tram_session *session, bool online, void *arg) {
    int count = 0;

    REQUIRE(!arg);
    if (online)
        for (session = NULL; (session = tram_server_next(server, session));)
            count++;
    REQUIRE(count <= (int) SESSIONS);
    perhaps_act();
}

static void on_state(tram_client *client, enum tram_state state, const struct tram_party *who,
                     void *arg) {
    REQUIRE(client && state && !arg && who->name && who->program);
    perhaps_act();
}

static void on_event(tram_subscription *subscription, const struct tram_view *view, int status,
                     void *arg) {
    REQUIRE(subscription && !arg);
    REQUIRE(view ? status == 0 : status < 0);
    if (view)
        touch(view);
    perhaps_act();
}

static void on_plain(tram_worker *me, const struct tram_msg *msg, void *arg) {
    REQUIRE(me == worker && msg->from == EVIL && !arg);
}

static const struct tram_server_handlers serving = { .on_session = on_session,
                                                     .on_request = on_request,
                                                     .on_message = on_message,
                                                     .on_set = on_set,
                                                     .on_cancel = on_cancel };
static const struct tram_client_handlers asking = { .on_state = on_state,
                                                    .on_request = on_client_request,
                                                    .on_message = on_client_message };

static struct ask *new_ask(void) {
    return w.ask_count < ASKS ? &w.asks[w.ask_count++] : NULL;
}

static void ask(tram_client *client, tram_session *session, uint8_t how) {
    struct tram_how options = TRAM_HOW_INIT;
    struct ask *mine = new_ask();
    int rc;

    if (!mine || (!client && !session))
        return;
    options.timeout_ns = how & 0x10 ? 1 : 0;
    options.window = how & 0x20 ? 2 : 0;
    if (session)
        rc = tram_session_ask(session, how, "ask", 3, &options, ended, mine, &mine->call);
    else if (how & 0x40)
        rc = tram_client_get(client, how & 3, &options, ended, mine, &mine->call);
    else
        rc = tram_client_ask(client, how, "ask", 3, &options, ended, mine, &mine->call);
    REQUIRE(rc <= 0);
    if (rc < 0)
        w.ask_count--; /* nothing else was asked meanwhile: no handler runs in it */
}

static void block(tram_client *client, tram_session *session) {
    struct tram_how how = TRAM_HOW_INIT;
    tram_reply *reply = NULL;
    int rc = -EAGAIN;

    how.timeout_ns = 20000;
    if (session)
        rc = tram_session_call(session, 1, "call", 4, &how, &reply);
    else if (client)
        rc = tram_client_call(client, 1, "call", 4, &how, &reply);
    REQUIRE(rc <= 0);
    if (rc == 0) {
        touch(tram_reply_view(reply));
        (void) tram_reply_free(reply);
    }
}

static void subscribe(tram_client *client, uint8_t how) {
    struct tram_subscribe_options options = TRAM_SUBSCRIBE_OPTIONS_INIT;
    tram_subscription **mine = &w.subscriptions[how % 4];

    if (*mine) {
        *mine = tram_subscription_free(*mine);
    } else if (client) {
        options.delivery = how / 4 % 3;
        options.initial = how & 0x40 ? 2 : 0;
        (void) tram_client_subscribe(client, how & 0x80 ? TRAM_ANY_EVENT : how % 4, NULL, &options,
                                     on_event, NULL, mine);
    }
}

static void publish(tram_session *session, uint8_t how) {
    struct tram_how options = TRAM_HOW_INIT;

    options.topic = how & 0x10 ? "t/1" : NULL;
    options.flags = how & 0x20 ? TRAM_HOW_KEEP : 0;
    if (how & 0x40 && session)
        (void) tram_session_publish(session, how % 4, "event", 5, &options);
    else if (w.server)
        (void) tram_server_publish(w.server, how % 4, "event", 5, &options);
}

/* The application has one kept: answer it, or part of it. */
static void settle_one(uint8_t how) {
    tram_request **mine = &w.kept[how % KEPT];

    for (int i = 0; i < KEPT && !*mine; i++)
        mine = &w.kept[i];
    if (*mine)
        answer(mine, input_byte(&w.choices));
}

static tram_session *some_session(uint8_t which) {
    tram_session *session = w.server ? tram_server_next(w.server, NULL) : NULL;

    for (which %= 8; which > 0 && session; which--)
        session = tram_server_next(w.server, session);
    return session;
}

static void free_one(uint8_t how) {
    if (how < 0xc0)
        return;
    if (how < 0xd0 && w.server) {
        w.server = tram_server_free(w.server);
    } else if (how < 0xe0 && w.server) {
        (void) tram_server_drain(w.server, NULL);
    } else if (w.clients[how & 1]) {
        for (int i = how & 1; i < 4; i += 2)
            w.subscriptions[i] = NULL; /* they go with it */
        w.clients[how & 1] = tram_client_free(w.clients[how & 1]);
    }
}

static void act(void) {
    uint8_t what = input_byte(&w.choices), how = input_byte(&w.choices);
    tram_client *client = w.clients[how & 1];

    switch (what % 13) {
    case 0:
    case 1:
        ask(client, NULL, how);
        break;
    case 2:
        ask(NULL, some_session(how), how);
        break;
    case 3:
        if (client)
            (void) tram_client_send(client, how, "one", 3, NULL);
        break;
    case 4:
        if (w.ask_count > 0 && w.asks[how % w.ask_count].call) {
            struct ask *mine = &w.asks[how % w.ask_count];

            mine->freed = true;
            mine->call = tram_call_free(mine->call);
        }
        break;
    case 5:
        subscribe(w.clients[how & 1], how);
        break;
    case 6:
        publish(some_session(how), how);
        break;
    case 7:
        block(client, how & 2 ? some_session(how >> 2) : NULL);
        break;
    case 8:
        (void) tram_session_send(some_session(how), how, "two", 3, NULL);
        break;
    case 9:
        if (how & 1)
            (void) tram_session_free(some_session(how >> 1));
        break;
    case 10:
        free_one(how);
        break;
    default:
        settle_one(how);
    }
}

static void turn(void) {
    for (int i = 0; i < 4 && tram_worker_dispatch(worker) > 0; i++)
        ;
}

/* ---- the attacker ---------------------------------------------------------------------------- */

static uint32_t some_port(void) {
    uint8_t which = input_byte(&w.input);

    if (which < 0xa0)
        return which & 1 && w.port ? w.port : frame_port("fuzz", 4);
    return which < 0xf0 ? which % 16 : (uint32_t) input_number(&w.input, 4);
}

static uint64_t some_correlation(void) {
    uint8_t which = input_byte(&w.input);

    if (which < 0x60 && w.seen_count > 0)
        return w.seen[which % (w.seen_count < SEEN ? w.seen_count : SEEN)];
    if (which < 0xf0)
        return (uint64_t) (1 + which % 4) << 32 | which >> 2;
    return input_number(&w.input, 8);
}

static size_t extra_of(struct frame *frame, uint8_t *body) {
    struct frame_extra extra = { 0 };
    uint8_t how = input_byte(&w.input);

    if (how >= 0xe0) { /* whatever it is */
        frame->flags = input_byte(&w.input);
        frame->extra = how & 1 ? input_byte(&w.input) * 8 : (uint16_t) input_number(&w.input, 2);
        for (size_t i = 0; i < 64; i++)
            body[i] = input_byte(&w.input);
        return frame->extra < FRAME_EXTRA_MAX ? frame->extra : FRAME_EXTRA_MAX;
    }
    frame->flags = how & (FRAME_FLAGS | FRAME_FAILED | FRAME_INITIAL);
    extra.deadline = how & 0x80 ? 1 : INT64_MAX - 1;
    if (frame->flags & FRAME_WINDOW)
        extra.window = (uint32_t) input_word(&w.input, 16);
    if (frame->flags & FRAME_TOPIC) {
        extra.topic_size = 3;
        memcpy(extra.topic, how & 0x40 ? "t/1" : "t/*", 4);
    }
    frame_extra_write(frame, &extra, body);
    return frame->extra;
}

/* What belongs to its kind, or something. */
static size_t payload_of(uint8_t kind, uint8_t *body) {
    struct hello hello = { .magic = "TRAM", .version = FRAME_VERSION, .pid = (int32_t) getpid() };
    struct subscribed subscribed = { 0 };
    struct subscribe wish = { 0 };
    uint8_t how = input_byte(&w.input);

    if (how >= 0xf0)
        return how == 0xff ? 60000 : how * 64u;
    if (how >= 0xc0) {
        for (int i = 0; i < how - 0xc0; i++)
            body[i] = input_byte(&w.input);
        return how - 0xc0u;
    }
    switch (kind) {
    case FRAME_HELLO:
    case FRAME_WELCOME:
        hello.pid += how & 1;
        memcpy(body, &hello, sizeof(hello));
        return sizeof(hello);
    case FRAME_SUBSCRIBE:
        wish.delivery = how % 4;
        wish.initial = how & 4;
        wish.reader = how & 8;
        if (how & 16)
            memcpy(wish.durable, "me", 3);
        memcpy(body, &wish, sizeof(wish));
        return sizeof(wish);
    case FRAME_SUBSCRIBED:
        subscribed.status = how & 1 ? -EPIPE : 0;
        subscribed.ring = how / 2 % 2;
        subscribed.topic = how;
        memcpy(body, &subscribed, sizeof(subscribed));
        return sizeof(subscribed);
    case FRAME_SYNCED:
        for (int i = 0; i < how % 8; i++)
            memcpy(body + 8 * i, &w.seen[(how + i) % SEEN], 8);
        return how % 8 * 8u;
    default:
        return how;
    }
}

/* A frame, with fields and payload in `body`: how many bytes. */
static size_t frame_of(struct frame *frame, uint32_t *code, uint8_t *body, bool any_port) {
    uint8_t kind = input_byte(&w.input);
    size_t extra;

    memset(body, 0, 70000);
    *frame = (struct frame){ .kind = kind < 0xf0 ? 1 + kind % (FRAME_KINDS - 1) : kind };
    frame->port = any_port ? some_port() : 1;
    frame->correlation = some_correlation();
    *code = (uint32_t) input_word(&w.input, 4);
    extra = extra_of(frame, body);
    return extra + payload_of(frame->kind, body + extra);
}

static void say_in_memory(void) {
    static uint8_t body[70000];
    struct tram_meta meta = { 0 };
    struct iovec piece = { body, 0 };
    struct frame frame;

    piece.iov_len = frame_of(&frame, &meta.tag, body, true);
    memcpy(meta.layer, &frame, sizeof(frame));
    (void) tram_sendv(evil, VICTIM, &meta, &piece, 1, TRAM_NOWAIT, 0);
}

static void pour(const struct wire *wire, const void *bytes, size_t size) {
    if (wire->fd >= 0)
        (void) !send(wire->fd, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void greet(struct wire *wire, enum frame_kind kind) {
    struct hello hello = { .magic = "TRAM", .version = FRAME_VERSION };
    struct socket_head head = { .size = sizeof(hello),
                                .frame = { .kind = (uint8_t) kind, .port = 1,
                                           .correlation = UINT64_C(5) << 32 } };

    pour(wire, &head, sizeof(head));
    pour(wire, &hello, sizeof(hello));
    wire->greeted = true;
}

static void say_on_wire(struct wire *wire) {
    static uint8_t body[sizeof(struct socket_head) + 70000];
    struct socket_head head;
    size_t size = frame_of(&head.frame, &head.code, body + sizeof(head), false);

    head.size = (uint32_t) size;
    memcpy(body, &head, sizeof(head));
    if (!wire->greeted)
        greet(wire, wire == &w.to_server ? FRAME_HELLO : FRAME_WELCOME);
    pour(wire, body, sizeof(head) + (size + 7) / 8 * 8);
}

static void hang_up(struct wire *wire) {
    if (wire->fd >= 0)
        (void) close(wire->fd);
    wire->fd = -1;
    wire->greeted = false;
}

static void dial(struct wire *wire) {
    struct sockaddr_un where = { .sun_family = AF_UNIX };

    hang_up(wire);
    memcpy(where.sun_path, server_path, strlen(server_path) + 1);
    wire->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    REQUIRE(wire->fd >= 0);
    if (connect(wire->fd, (struct sockaddr *) &where, sizeof(where)) < 0)
        hang_up(wire);
}

static void pick_up(struct wire *wire) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    if (fd < 0)
        return;
    hang_up(wire);
    wire->fd = fd;
}

/* What was asked, and by whom, is to be known; the rest goes. */
static void listen_to(const struct frame *frame) {
    if (frame->kind == FRAME_HELLO)
        w.port = (uint32_t) (frame->correlation >> 32);
    if (frame->kind == FRAME_REQUEST || frame->kind == FRAME_GET || frame->kind == FRAME_SYNC ||
        frame->kind == FRAME_SUBSCRIBE)
        w.seen[w.seen_count++ % SEEN] = frame->correlation;
}

static void read_wire(struct wire *wire) {
    static uint8_t bytes[65536];
    ssize_t n;

    if (wire->fd < 0 || (n = recv(wire->fd, bytes, sizeof(bytes), MSG_DONTWAIT)) <= 0)
        return;
    for (ssize_t at = 0; at + (ssize_t) sizeof(struct socket_head) <= n;) {
        struct socket_head head;

        memcpy(&head, bytes + at, sizeof(head));
        listen_to(&head.frame);
        at += (ssize_t) (sizeof(head) + (head.size + 7) / 8 * 8);
    }
}

static void read_all(void) {
    struct tram_msg msg;

    while (tram_recv(evil, &msg, 0) == 0) {
        struct frame frame;

        memcpy(&frame, msg.layer, sizeof(frame));
        listen_to(&frame);
    }
    read_wire(&w.to_server);
    read_wire(&w.to_client);
}

static void reborn(void) {
    struct tram_options options = TRAM_OPTIONS_INIT;

    options.spin_ns = TRAM_NO_SPIN;
    REQUIRE(tram_close(evil) == 0);
    REQUIRE(tram_open(NULL, EVIL, &options, &evil) == 0);
}

static void attack(void) {
    uint8_t what = input_byte(&w.input);
    uint8_t raw[32];

    if (what < 0x70) {
        say_in_memory();
    } else if (what < 0x90) {
        say_on_wire(&w.to_server);
    } else if (what < 0xb0) {
        say_on_wire(&w.to_client);
    } else if (what < 0xd0) {
        act();
    } else if (what < 0xe0) {
        turn();
    } else if (what < 0xf0) {
        read_all();
    } else if (what < 0xf4) {
        dial(&w.to_server);
    } else if (what < 0xf8) {
        pick_up(&w.to_client);
    } else if (what < 0xfa) {
        hang_up(what & 1 ? &w.to_server : &w.to_client);
    } else if (what < 0xfc) {
        for (size_t i = 0; i < sizeof(raw); i++)
            raw[i] = input_byte(&w.input);
        pour(what & 1 ? &w.to_server : &w.to_client, raw, sizeof(raw));
    } else if (what == 0xfc) {
        reborn();
    } else {
        (void) tram_send(evil, VICTIM, what, "plain", 5, TRAM_NOWAIT);
    }
}

static void begin_once(void) {
    struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;
    struct tram_options node = TRAM_OPTIONS_INIT;
    struct sockaddr_un where = { .sun_family = AF_UNIX };

    REQUIRE(setenv("TRAM_DIR", files_root(), 1) == 0);
    (void) snprintf(server_path, sizeof(server_path), "%s/server", files_root());
    (void) snprintf(evil_path, sizeof(evil_path), "%s/evil", files_root());
    node.spin_ns = TRAM_NO_SPIN;
    node.ring_size = 65536;
    node.ring_max = 262144;
    options.node = &node;
    options.id = VICTIM;
    options.flags = TRAM_WORKER_NO_SPIN;
    REQUIRE(tram_worker_new(&options, &worker) == 0);
    REQUIRE(tram_open(NULL, EVIL, &node, &evil) == 0);
    REQUIRE(tram_open(NULL, GOOD, &node, &good) == 0);
    memcpy(where.sun_path, evil_path, strlen(evil_path) + 1);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    REQUIRE(listener >= 0 && bind(listener, (struct sockaddr *) &where, sizeof(where)) == 0);
    REQUIRE(listen(listener, 64) == 0);
}

static void serve(bool sockets) {
    struct tram_server_options options = TRAM_SERVER_OPTIONS_INIT;
    char address[160];
    const char *addresses[] = { address, NULL };

    (void) snprintf(address, sizeof(address), "ipc://%s", server_path);
    options.handlers = &serving;
    options.flags = TRAM_SERVER_NO_DAEMON;
    options.sessions_max = SESSIONS;
    options.topic_ring = 65536;
    options.topics_max = 4;
    options.cache = 2;
    options.patience_ns = 1000000;
    options.sockets_held_max = 400000;
    options.addresses = sockets ? addresses : NULL;
    REQUIRE(tram_server_new(worker, "svc://fuzz", &options, &w.server) == 0);
}

static void begin(uint8_t how) {
    struct tram_client_options options = TRAM_CLIENT_OPTIONS_INIT;
    char address[160];

    serve(how & 1);
    options.handlers = &asking;
    options.flags = how & 2 ? TRAM_CLIENT_WAIT : 0;
    options.calls_max = 32;
    REQUIRE(tram_client_new(worker, "shm://1.1.6.2/evil", &options, &w.clients[0]) == 0);
    if (!(how & 4))
        return;
    (void) snprintf(address, sizeof(address), "ipc://%s", evil_path);
    REQUIRE(tram_client_new(worker, address, &options, &w.clients[1]) == 0);
}

static void settle(void) {
    for (int i = 0; i < 1000 && tram_worker_dispatch(worker) > 0; i++)
        ;
}

/* Who asks in the usual way is answered, once; or told that there are too many clients. */
static void ask_in_the_usual_way(void) {
    static uint32_t number;
    struct frame frame = { FRAME_REQUEST, 0, 0, frame_port("fuzz", 4), 7ull << 32 | ++number };
    struct tram_meta meta = { 0 };
    struct tram_msg msg;
    int answers = 0;

    while (tram_recv(good, &msg, 0) == 0)
        ; /* what the last server said when it ended */
    memcpy(meta.layer, &frame, sizeof(frame));
    REQUIRE(tram_sendv(good, VICTIM, &meta, NULL, 0, TRAM_NOWAIT, 0) == 0);
    for (int i = 0; i < 1000 && answers == 0; i++) {
        settle();
        while (tram_recv(good, &msg, 0) == 0) {
            struct frame got;

            memcpy(&got, msg.layer, sizeof(got));
            answers += got.kind == FRAME_BYE ||
                       (got.kind == FRAME_REPLY && got.correlation == frame.correlation);
        }
    }
    REQUIRE(answers == 1);
}

/* All that the victim has goes; what waits for a port that is not there is refused at once. */
static void end_all(uint8_t how) {
    w.ending = true;
    hang_up(&w.to_server);
    hang_up(&w.to_client);
    if (how & 8)
        for (int i = 0; i < KEPT; i++)
            w.kept[i] = tram_request_free(w.kept[i]);
    w.server = tram_server_free(w.server);
    settle();
    serve(false); /* the successor of one that drained */
    read_all();
    ask_in_the_usual_way();
    w.server = tram_server_free(w.server);
    for (int i = 0; i < 2; i++)
        w.clients[i] = tram_client_free(w.clients[i]);
    for (int i = 0; i < KEPT; i++)
        w.kept[i] = tram_request_free(w.kept[i]);
    REQUIRE(tram_worker_on_message(worker, on_plain, NULL) == 0);
    for (int i = 0; i < 4; i++) {
        settle();
        for (; worker->parked.count > 0; worker_parked_due(worker))
            worker->parked.first->since = -PARK_NS;
    }
    REQUIRE(tram_worker_on_message(worker, NULL, NULL) == 0);
}

static void check_nothing_left(void) {
    const struct service *service = worker_shared(worker);
    struct tram_peer peer;

    for (uint32_t i = 0; i < w.ask_count; i++)
        REQUIRE(w.asks[i].ends <= 1);
    REQUIRE(!service->endpoints && !service->neighbours && !service->orphans);
    REQUIRE(!service->late && !service->cancelled && !service->abandoned);
    REQUIRE(service->waiting == 0 && service->pumping == 0);
    REQUIRE(worker->port_count == 0 && worker->later.count == 0 && worker->plain.count == 0);
    REQUIRE(worker->parked.count == 0 && worker->copies == 0);
    read_all();
    REQUIRE(tram_peer(evil, VICTIM, &peer) == 0);
    REQUIRE(peer.to.accepted == peer.to.consumed); /* nothing stayed in hand */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t backwards[1024];
    uint8_t how;

    if (!worker)
        begin_once();
    memset(&w, 0, sizeof(w));
    w.to_server.fd = w.to_client.fd = -1;
    w.input = (struct input){ data, data + size };
    for (size_t i = 0; i < sizeof(backwards); i++)
        backwards[i] = size > 0 ? data[size - 1 - i % size] : 0;
    w.choices = (struct input){ backwards, backwards + sizeof(backwards) };
    how = input_byte(&w.input);
    begin(how);
    turn();
    read_all();
    if (how & 4)
        pick_up(&w.to_client);
    if (how & 1)
        dial(&w.to_server);
    while (input_left(&w.input)) {
        attack();
        if (how & 0x10)
            turn();
    }
    turn();
    end_all(how);
    check_nothing_left();
    return 0;
}
