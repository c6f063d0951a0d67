/* SPDX-License-Identifier: MIT
 *
 * Bytes into a link over a socket, cut where the input says, at either side of a connection. What
 * comes out are frames that can be, in their order, and none behind the first that cannot; sends,
 * drafts and messages that are kept meanwhile change nothing of that; and nothing is left behind.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "files.h"
#include "fuzz.h"
#include "service/link_socket.h"
#include "transport/transport.h"

#define KEPT 16

struct fuzzed {
    struct link *link;
    const struct link_ops *ops;
    struct input choices;    /* what the victim does: the same bytes, from the end */
    bool down, closed;
    void *kept[KEPT];
    uint32_t kept_count;
};

static tram_worker *worker;

static void close_link(struct fuzzed *fuzzed) {
    if (!fuzzed->closed)
        fuzzed->link->ops->close(fuzzed->link);
    fuzzed->closed = true;
}

static void keep(struct fuzzed *fuzzed, struct inbound *in) {
    const void *data = NULL;
    void *kept;

    if (fuzzed->kept_count == KEPT)
        return;
    kept = fuzzed->link->ops->take(in, &data);
    REQUIRE(kept && in->kept && memcmp(data, in->data, in->size) == 0);
    fuzzed->kept[fuzzed->kept_count++] = kept;
}

static void send_something(struct fuzzed *fuzzed, uint8_t how) {
    struct frame frame = { .kind = how & 1 ? FRAME_ONEWAY : FRAME_REPLY, .port = 1,
                           .correlation = UINT64_C(1) << 32 };
    char payload[100] = "something";
    struct iovec piece = { payload, how % sizeof(payload) };
    void *data;
    int rc;

    if (how & 2) {
        rc = fuzzed->link->ops->claim(fuzzed->link, piece.iov_len, &data);
        if (rc == 0) {
            memcpy(data, payload, piece.iov_len);
            if (how & 4)
                rc = fuzzed->link->ops->commit(fuzzed->link, &frame, 7, piece.iov_len);
            else
                fuzzed->link->ops->abort(fuzzed->link);
        }
    } else {
        rc = fuzzed->link->ops->send(fuzzed->link, &frame, 7, &piece, 1, how & 4);
    }
    REQUIRE(rc == 0 || rc == -ECONNRESET || rc == -EAGAIN);
}

static void on_frame(struct link *link, struct inbound *in) {
    struct fuzzed *fuzzed = link->context;
    volatile uint8_t sum = 0;
    uint8_t choice = input_byte(&fuzzed->choices);

    REQUIRE(!fuzzed->down && !fuzzed->closed);
    REQUIRE(in->frame.kind > 0 && in->frame.kind < FRAME_KINDS && in->frame.kind != FRAME_ACK);
    REQUIRE(in->size <= SOCKET_MAX && in->frame.port != 0 && in->frame.correlation >> 32 != 0);
    for (size_t i = 0; i < in->size; i++)
        sum = (uint8_t) (sum + ((const uint8_t *) in->data)[i]);
    if (choice & 0x01)
        keep(fuzzed, in);
    if ((choice & 0x40) && fuzzed->kept_count > 0 && !(choice & 0x01))
        fuzzed->ops->release(worker, fuzzed->kept[--fuzzed->kept_count]);
    if (choice & 0x02)
        send_something(fuzzed, choice >> 4);
    if ((choice & 0x0c) == 0x0c && choice > 0xf0)
        close_link(fuzzed);
}

static void on_space(struct link *link) {
    struct fuzzed *fuzzed = link->context;

    REQUIRE(!fuzzed->closed);
}

static void on_down(struct link *link, int why) {
    struct fuzzed *fuzzed = link->context;

    REQUIRE(!fuzzed->down && !fuzzed->closed && why < 0);
    fuzzed->down = true;
    close_link(fuzzed);
}

static void on_up(struct link *link, int32_t pid) {
    (void) link;
    (void) pid;
}

static const struct link_owner owner = { .on_frame = on_frame,
                                         .on_space = on_space,
                                         .on_down = on_down,
                                         .on_up = on_up };

static void turn(void) {
    for (int i = 0; i < 4 && tram_worker_dispatch(worker) > 0; i++)
        ;
}

static void drain(int fd) {
    char bytes[4096];

    while (recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        ;
}

/* Greetings in front, so that the fuzzer need not find them: unless the first byte says so. */
static void greet(int fd) {
    struct hello hello = { .magic = "TRAM", .version = FRAME_VERSION };
    struct socket_head head = { .size = sizeof(hello),
                                .frame = { .kind = FRAME_WELCOME, .port = 1,
                                           .correlation = UINT64_C(5) << 32 } };

    REQUIRE(send(fd, &head, sizeof(head), 0) == sizeof(head));
    REQUIRE(send(fd, &hello, sizeof(hello), 0) == sizeof(hello));
}

static void pour(struct fuzzed *fuzzed, struct input *input, int fd) {
    while (input_left(input) && !fuzzed->closed) {
        size_t size = input_byte(input) + 1u, left = (size_t) (input->end - input->at);

        size = size < left ? size : left;
        if (send(fd, input->at, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            break;
        input->at += size;
        turn();
        drain(fd);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = { data, data + size };
    struct fuzzed fuzzed = { 0 };
    uint8_t first = input_byte(&input);
    uint8_t half[256];
    struct transport *transport;
    int fds[2];

    if (!worker) {
        struct tram_worker_options options = TRAM_WORKER_OPTIONS_INIT;

        options.flags = TRAM_WORKER_NO_SPIN;
        REQUIRE(setenv("TRAM_DIR", files_root(), 1) == 0); /* not the user's own bus */
        REQUIRE(tram_worker_new(&options, &worker) == 0);
    }
    for (size_t i = 0; i < sizeof(half); i++)
        half[i] = size > 0 ? data[size - 1 - i % size] : 0;
    fuzzed.choices = (struct input){ half, half + sizeof(half) };
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
    REQUIRE(transport_take(fds[0], false, NULL, NULL, &transport) == 0);
    fuzzed.link = socket_link_new(worker, transport, ADDRESS_IPC, NULL);
    REQUIRE(fuzzed.link);
    fuzzed.ops = fuzzed.link->ops;
    fuzzed.link->owner = &owner;
    fuzzed.link->context = &fuzzed;
    turn();
    if (!(first & 1))
        greet(fds[1]);
    pour(&fuzzed, &input, fds[1]);
    (void) close(fds[1]);
    for (int i = 0; i < 100 && !fuzzed.closed; i++)
        turn();
    REQUIRE(fuzzed.closed);
    while (fuzzed.kept_count > 0) /* what is kept outlives the link */
        fuzzed.ops->release(worker, fuzzed.kept[--fuzzed.kept_count]);
    turn();
    return 0;
}
