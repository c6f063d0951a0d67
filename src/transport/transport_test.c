/* SPDX-License-Identifier: MIT
 *
 * Plain TCP, the gate, and addresses of hosts. (TLS: tests/tls_test.c.)
 */
#include "transport/transport.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "harness.h"
#include "transport/gate.h"
#include "transport/security.h"

static int listen_at(const char *host, struct sys_address *ret_address) {
    int fd;

    CHECK_OK(sys_address_numeric(host, 0, ret_address));
    fd = sys_listen(ret_address, 16);
    if (fd >= 0)
        CHECK_OK(sys_local_address(fd, ret_address));
    return fd;
}

static void wait_for(const struct transport *transport) {
    uint32_t want = transport_want(transport);
    struct pollfd poll_fd = {
        .fd = transport_fd(transport),
        .events = (short) ((want & TRANSPORT_READ ? POLLIN : 0) |
                           (want & TRANSPORT_WRITE ? POLLOUT : 0)),
    };

    CHECK_EQ(poll(&poll_fd, 1, 10000), 1);
}

static struct transport *accept_one(int listener) {
    struct pollfd poll_fd = { .fd = listener, .events = POLLIN };
    struct transport *transport;

    CHECK_EQ(poll(&poll_fd, 1, 10000), 1);
    CHECK_OK(transport_take(CHECK_OK(sys_accept(listener)), true, NULL, NULL, &transport));
    return transport;
}

static void open_one(struct transport *transport) {
    int rc;

    while ((rc = transport_open(transport)) == -EAGAIN)
        wait_for(transport);
    CHECK_OK(rc);
    CHECK(transport_is_open(transport));
}

static void both(const char *host, struct transport **ret_a, struct transport **ret_b) {
    struct sys_address address;
    struct wrong wrong = { 0 };
    int listener = CHECK_OK(listen_at(host, &address));

    CHECK_OK(transport_connect(&address, NULL, NULL, ret_a, &wrong));
    *ret_b = accept_one(listener);
    open_one(*ret_a);
    open_one(*ret_b);
    close(listener);
}

static void bytes_go_both_ways_over(const char *host) {
    static char sent[1 << 20], got[1 << 20];
    size_t put = 0, taken = 0;
    struct transport *a, *b;

    both(host, &a, &b);
    for (size_t i = 0; i < sizeof(sent); i++)
        sent[i] = (char) (i * 7 + i / 251);
    while (taken < sizeof(got)) {
        struct iovec from[2] = { { sent + put, (sizeof(sent) - put) / 2 }, { 0 } };
        struct iovec to[2] = { { got + taken, (sizeof(got) - taken) / 3 }, { 0 } };
        int64_t n;

        from[1] = (struct iovec){ sent + put + from[0].iov_len,
                                  sizeof(sent) - put - from[0].iov_len };
        to[1] = (struct iovec){ got + taken + to[0].iov_len,
                                sizeof(got) - taken - to[0].iov_len };
        n = put < sizeof(sent) ? transport_writev(a, from, 2) : 0;
        CHECK(n >= 0 || n == -EAGAIN);
        put += n > 0 ? (size_t) n : 0;
        n = transport_readv(b, to, 2);
        CHECK(n > 0 || n == -EAGAIN);
        taken += n > 0 ? (size_t) n : 0;
    }
    CHECK(memcmp(sent, got, sizeof(sent)) == 0);
    CHECK_EQ(transport_write(b, "x", 1), 1);
    wait_for(a);
    CHECK_EQ(transport_read(a, got, 10), 1);
    CHECK_EQ(transport_read(a, got, 10), -EAGAIN);
    CHECK_EQ(transport_peer(a)->role, TRANSPORT_NOBODY);
    CHECK_STR(transport_peer_name(a), "");
    CHECK_OK(transport_check(a, 0));
    transport_close(b);
    wait_for(a);
    CHECK_EQ(transport_read(a, got, 10), 0);
    transport_close(a);
}

TEST(bytes_go_both_ways) {
    bytes_go_both_ways_over("127.0.0.1");
}

TEST(bytes_go_both_ways_by_ipv6) {
    struct sys_address address;
    int fd = listen_at("::1", &address);

    if (fd < 0)
        SKIP("no IPv6 here");
    close(fd);
    bytes_go_both_ways_over("::1");
}

TEST(want_follows_what_the_kernel_takes) {
    static char bytes[1 << 16];
    struct transport *a, *b;
    int64_t n;

    both("127.0.0.1", &a, &b);
    CHECK_EQ(transport_want(a), TRANSPORT_READ);
    do
        n = transport_write(a, bytes, sizeof(bytes));
    while (n > 0);
    CHECK_EQ(n, -EAGAIN);
    CHECK_EQ(transport_want(a), TRANSPORT_READ | TRANSPORT_WRITE);
    transport_close(b);
    while (transport_is_open(a) && (n = transport_write(a, bytes, sizeof(bytes))) == -EAGAIN)
        wait_for(a);
    CHECK(n == -ECONNRESET || n == -EPIPE);
    CHECK(strstr(transport_why(a), "127.0.0.1:") != NULL);
    CHECK(transport_read(a, bytes, 1) <= 0); /* what it said before: nothing */
    CHECK_EQ(transport_write(a, bytes, 1), n); /* it stays so */
    transport_close(a);
}

TEST(nobody_there_is_told_with_the_address) {
    struct sys_address address;
    struct transport *a = NULL;
    struct wrong wrong = { 0 };
    int rc, listener = CHECK_OK(listen_at("127.0.0.1", &address));

    close(listener);
    rc = transport_connect(&address, NULL, NULL, &a, &wrong);
    while (rc == 0 && (rc = transport_open(a)) == -EAGAIN) {
        wait_for(a);
        rc = 0;
    }
    CHECK_EQ(rc, -ECONNREFUSED);
    CHECK(strstr(a ? transport_why(a) : wrong.text, "127.0.0.1:") != NULL);
    transport_close(a);
    transport_close(NULL);
}

TEST(beyond_loopback_needs_keys_or_the_word) {
    struct sys_address here, there;
    struct wrong wrong = { 0 };

    CHECK_OK(sys_address_numeric("127.0.0.1", 1, &here));
    CHECK_OK(sys_address_numeric("0.0.0.0", 61001, &there));
    CHECK_OK(transport_allowed(&here, NULL, false, &wrong));
    CHECK_ERR(transport_allowed(&there, NULL, false, &wrong), -EACCES);
    CHECK(strstr(wrong.text, "0.0.0.0:61001 is not loopback") != NULL);
    CHECK_OK(transport_allowed(&there, NULL, true, &wrong));
}

/* ---- the gate -------------------------------------------------------------------------------- */

static struct transport *stranger(int listener, struct sys_address *address, int *ret_fd) {
    bool pending;

    CHECK_OK(sys_connect(address, ret_fd, &pending));
    return accept_one(listener);
}

TEST(the_gate_lets_the_oldest_go) {
    struct sys_address address;
    struct gate gate = { .max = 4, .time_ns = 100 };
    struct transport *one[12];
    int fds[12], listener = CHECK_OK(listen_at("127.0.0.1", &address));

    CHECK_EQ(gate_next(&gate), INT64_MAX);
    for (int i = 0; i < 12; i++) {
        struct transport *goes;

        one[i] = stranger(listener, &address, &fds[i]);
        goes = gate_enter(&gate, one[i], i);
        /* Of four places one host has one. */
        CHECK(goes == (i == 0 ? NULL : one[i - 1]));
        if (goes)
            CHECK(strstr(transport_why(goes), "too many") != NULL);
        transport_close(goes);
        CHECK_EQ(gate.count, 1);
    }
    CHECK_EQ(gate.turned_away, 11);
    CHECK_EQ(gate_next(&gate), 111);
    CHECK(gate_due(&gate, 110) == NULL);
    CHECK(gate_due(&gate, 111) == one[11]);
    CHECK_EQ(transport_open(one[11]), -ETIMEDOUT);
    CHECK(strstr(transport_why(one[11]), "did not say in time") != NULL);
    CHECK_EQ(gate.count, 0);
    transport_close(one[11]);
    for (int i = 0; i < 12; i++)
        close(fds[i]);
    close(listener);
}

TEST(who_said_who_it_is_leaves_the_gate) {
    struct sys_address address;
    struct gate gate = { .max = 16 };
    struct transport *one[4];
    int fds[4], listener = CHECK_OK(listen_at("127.0.0.1", &address));

    for (int i = 0; i < 4; i++) {
        one[i] = stranger(listener, &address, &fds[i]);
        CHECK(gate_enter(&gate, one[i], 0) == NULL);
    }
    gate_leave(one[1]);
    gate_leave(one[1]);
    CHECK_EQ(gate.count, 3);
    transport_close(one[3]);
    CHECK_EQ(gate.count, 2);
    CHECK(gate_due(&gate, GATE_TIME) == one[0]);
    CHECK(gate_due(&gate, GATE_TIME) == one[2]);
    CHECK(gate_due(&gate, INT64_MAX - 1) == NULL);
    for (int i = 0; i < 3; i++)
        transport_close(one[i]);
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    close(listener);
}

/* ---- addresses ------------------------------------------------------------------------------- */

static bool same(const char *a, const char *b) {
    struct sys_address first, second;

    CHECK_OK(sys_address_numeric(a, 1, &first));
    CHECK_OK(sys_address_numeric(b, 2, &second));
    return sys_address_same_host(&first, &second);
}

TEST(addresses_of_hosts) {
    char text[SYS_ADDRESS_TEXT];
    struct sys_interface interface = { .bits = 20 }, all[64];
    struct sys_address address;
    bool loopback = false;
    int count = CHECK_OK(sys_interfaces(all, 64));

    CHECK(same("10.1.2.3", "10.1.2.3"));
    CHECK(!same("10.1.2.3", "10.1.2.4"));
    CHECK(same("::ffff:10.1.2.3", "10.1.2.3"));
    CHECK(!same("::1", "127.0.0.1"));
    CHECK_OK(sys_address_numeric("10.1.2.3", 61001, &address));
    CHECK_STR(sys_address_text(&address, text), "10.1.2.3:61001");
    CHECK_OK(sys_address_numeric("fd00::2", 9, &address));
    CHECK_STR(sys_address_text(&address, text), "[fd00::2]:9");
    CHECK_OK(sys_address_numeric("10.1.16.1", 0, &interface.address));
    CHECK_OK(sys_address_numeric("10.1.31.254", 7, &address));
    CHECK(sys_interface_has(&interface, &address));
    CHECK_OK(sys_address_numeric("10.1.32.1", 7, &address));
    CHECK(!sys_interface_has(&interface, &address));
    CHECK_OK(sys_address_numeric("fd00::2", 7, &address));
    CHECK(!sys_interface_has(&interface, &address));
    for (int i = 0; i < count; i++)
        loopback |= sys_address_is_local(&all[i].address) && strcmp(all[i].name, "lo") == 0;
    CHECK(loopback);
}
