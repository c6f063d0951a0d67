/* SPDX-License-Identifier: MIT
 *
 * TLS between two hosts: what goes through, and who is refused with which words. Peers that stop in
 * the middle, and those that speak nonsense: tests/tls_hostile_test.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"
#include "keys/authority.h"
#include "support/keys.h"
#include "transport/transport.h"

static const struct keys_order alpha = { .cluster = "plant", .name = "alpha" };
static const struct keys_order beta = { .cluster = "plant", .name = "beta" };

struct two {
    struct security *server_keys, *client_keys;
    struct transport *server, *client;
    int server_rc, client_rc; /* how the handshake ended */
};

static void look(struct transport *transport, int *rc) {
    if (*rc == -EAGAIN)
        *rc = transport_open(transport);
}

/* Both go on until each is through with it. */
static void shake(struct two *two) {
    for (;;) {
        struct pollfd fds[2];

        look(two->client, &two->client_rc);
        look(two->server, &two->server_rc);
        if (two->client_rc != -EAGAIN && two->server_rc != -EAGAIN)
            return;
        for (int i = 0; i < 2; i++) {
            struct transport *one = i == 0 ? two->client : two->server;
            uint32_t want = transport_want(one);
            bool waits = (i == 0 ? two->client_rc : two->server_rc) == -EAGAIN;

            fds[i] = (struct pollfd){
                .fd = waits ? transport_fd(one) : -1,
                .events = (short) ((want & TRANSPORT_READ ? POLLIN : 0) |
                                   (want & TRANSPORT_WRITE ? POLLOUT : 0)),
            };
        }
        CHECK(poll(fds, 2, 10000) > 0);
        /* Who failed has gone. */
        if (two->server_rc != -EAGAIN && two->server_rc < 0)
            two->server = transport_close(two->server);
        if (!two->server)
            two->server_rc = -EKEYREJECTED;
    }
}

static void connect_two(struct two *two, const char *expected) {
    struct sys_address address;
    struct wrong wrong = { 0 };
    struct pollfd poll_fd;
    int listener;

    CHECK_OK(sys_address_numeric("127.0.0.1", 0, &address));
    listener = CHECK_OK(sys_listen(&address, 16));
    CHECK_OK(sys_local_address(listener, &address));
    CHECK_OK(transport_connect(&address, expected, two->client_keys, &two->client, &wrong));
    poll_fd = (struct pollfd){ .fd = listener, .events = POLLIN };
    CHECK_EQ(poll(&poll_fd, 1, 10000), 1);
    CHECK_OK(transport_take(CHECK_OK(sys_accept(listener)), true, NULL, two->server_keys,
                            &two->server));
    close(listener);
    two->client_rc = two->server_rc = -EAGAIN;
}

static void end_two(struct two *two) {
    two->client = transport_close(two->client);
    two->server = transport_close(two->server);
}

static void forget_two(struct two *two) {
    end_two(two);
    two->client_keys = security_unref(two->client_keys);
    two->server_keys = security_unref(two->server_keys);
}

static struct two plant(void) {
    return (struct two){ .client_keys = keys_security(&alpha),
                         .server_keys = keys_security(&beta) };
}

static void open_two(struct two *two) {
    connect_two(two, "beta");
    shake(two);
    if (two->client_rc < 0 || two->server_rc < 0)
        (void) fprintf(stderr, "%s; %s\n", transport_why(two->client), transport_why(two->server));
    CHECK_OK(two->client_rc);
    CHECK_OK(two->server_rc);
}

/* ---- what goes through ----------------------------------------------------------------------- */

TEST(both_know_who_the_other_is) {
    struct two two = plant();
    const struct transport_peer *peer;

    open_two(&two);
    peer = transport_peer(two.client);
    CHECK_STR(peer->name, "beta");
    CHECK_STR(peer->cluster, "plant");
    CHECK_STR(peer->version, "TLSv1.3");
    CHECK_STR(peer->cipher, "TLS_AES_128_GCM_SHA256");
    CHECK_EQ(peer->role, TRANSPORT_HOST);
    CHECK(peer->ends > time(NULL));
    CHECK_STR(transport_peer_name(two.server), "alpha");
    CHECK_STR(security_self(two.client_keys)->name, "alpha");
    CHECK_OK(transport_check(two.server, time(NULL)));
    CHECK_ERR(transport_check(two.server, peer->ends + 1), -EKEYEXPIRED);
    CHECK(strstr(transport_why(two.server), "certificate of alpha ended on") != NULL);
    forget_two(&two);
}

/* Any sizes, in any pieces; both ways at once. */
static void exchange(struct transport *from, struct transport *to, unsigned seed) {
    static char sent[3 << 20], got[3 << 20];
    size_t put = 0, taken = 0;

    for (size_t i = 0; i < sizeof(sent); i++)
        sent[i] = (char) (i * 7 + i / 251 + seed);
    memset(got, 0, sizeof(got));
    while (taken < sizeof(got)) {
        struct iovec pieces[5], room[2];
        size_t at = put, left;
        int64_t n = 0;

        for (int i = 0; i < 5; i++) {
            size_t size = (size_t) rand_r(&seed) % (i == 2 ? 200000 : 700);

            if (size > sizeof(sent) - at)
                size = sizeof(sent) - at;
            pieces[i] = (struct iovec){ sent + at, size };
            at += size;
        }
        if (at > put)
            n = transport_writev(from, pieces, 5);
        CHECK(n >= 0 || n == -EAGAIN);
        put += n > 0 ? (size_t) n : 0;
        if (transport_want(from) & TRANSPORT_WRITE)
            (void) transport_flush(from);
        left = sizeof(got) - taken;
        room[0] = (struct iovec){ got + taken, left / 5 };
        room[1] = (struct iovec){ got + taken + left / 5, left - left / 5 };
        n = transport_readv(to, room, 2);
        CHECK(n > 0 || n == -EAGAIN);
        taken += n > 0 ? (size_t) n : 0;
        CHECK(n != -EAGAIN || !transport_pending(to));
    }
    CHECK(memcmp(sent, got, sizeof(sent)) == 0);
}

TEST(all_bytes_arrive_in_order) {
    struct two two = plant();

    open_two(&two);
    for (unsigned seed = 1; seed <= 8; seed++) {
        exchange(two.client, two.server, seed);
        exchange(two.server, two.client, seed);
    }
    forget_two(&two);
}

/* What a write did not take is not owed: the next one may begin with anything. */
TEST(after_a_full_write_anything_may_come) {
    static char bytes[1 << 18], got[1 << 18];
    struct two two = plant();
    size_t written = 0, read = 0;
    int64_t n;
    int marks = 0;

    open_two(&two);
    for (int i = 0; (n = transport_write(two.client, bytes, sizeof(bytes))) != -EAGAIN; i++)
        written += (size_t) CHECK_OK(n);
    CHECK_EQ(transport_want(two.client), TRANSPORT_READ | TRANSPORT_WRITE);
    while (marks == 0) {
        n = transport_read(two.server, got, sizeof(got));
        if (n > 0)
            read += (size_t) n;
        if (transport_write(two.client, "PING", 4) == 4)
            marks = 1;
    }
    while (read < written + 4) {
        (void) transport_flush(two.client);
        n = transport_read(two.server, got, sizeof(got));
        CHECK(n > 0 || n == -EAGAIN);
        read += n > 0 ? (size_t) n : 0;
        if (n >= 4 && read == written + 4)
            CHECK(memcmp(got + n - 4, "PING", 4) == 0);
    }
    forget_two(&two);
}

TEST(an_end_that_was_said_differs_from_a_cut) {
    struct two two = plant();
    int nothing;
    char byte;

    open_two(&two);
    CHECK_EQ(transport_write(two.server, "x", 1), 1);
    two.server = transport_close(two.server);
    while (transport_read(two.client, &byte, 1) == -EAGAIN)
        ;
    CHECK_EQ(transport_read(two.client, &byte, 1), 0);
    end_two(&two);
    open_two(&two);
    nothing = CHECK_OK(open("/dev/null", O_RDONLY)); /* in the place of the connection */
    CHECK_EQ(dup2(nothing, transport_fd(two.server)), transport_fd(two.server));
    close(nothing);
    while (transport_read(two.client, &byte, 1) == -EAGAIN)
        ;
    CHECK_ERR(transport_read(two.client, &byte, 1), -ECONNRESET);
    CHECK(strstr(transport_why(two.client), "ended without saying so") != NULL);
    forget_two(&two);
}

/* ---- who is refused -------------------------------------------------------------------------- */

/* The server's side ends so; and the client hears of it, in words. */
static void server_refuses(struct two *two, const char *why, const char *client_why) {
    char byte;
    int64_t n;

    connect_two(two, NULL);
    while (two->server_rc == -EAGAIN) {
        look(two->client, &two->client_rc);
        look(two->server, &two->server_rc);
    }
    CHECK(two->server_rc < 0);
    if (!strstr(transport_why(two->server), why))
        CHECK_STR(transport_why(two->server), why);
    two->server = transport_close(two->server);
    while ((n = transport_read(two->client, &byte, 1)) == -EAGAIN)
        ;
    CHECK(n < 0);
    if (!strstr(transport_why(two->client), client_why))
        CHECK_STR(transport_why(two->client), client_why);
    forget_two(two);
}

static void client_refuses(struct two *two, const char *expected, const char *why) {
    connect_two(two, expected);
    while (two->client_rc == -EAGAIN) {
        look(two->client, &two->client_rc);
        look(two->server, &two->server_rc);
    }
    CHECK(two->client_rc < 0);
    if (!strstr(transport_why(two->client), why))
        CHECK_STR(transport_why(two->client), why);
    forget_two(two);
}

TEST(another_cluster_is_refused) {
    struct keys_order other = { .cluster = "harbour", .name = "alpha" };
    struct two two = { .client_keys = keys_security(&other), .server_keys = keys_security(&beta) };

    client_refuses(&two, NULL, "not signed by the CA of this cluster");
}

/* A client that doesn't care to check: the server does. */
TEST(a_certificate_that_ended_is_refused) {
    struct keys_order old = { .cluster = "plant", .name = "alpha", .ends = 1 };
    struct two two = { .client_keys = keys_security(&old), .server_keys = keys_security(&beta) };

    while (time(NULL) <= security_self(two.client_keys)->ends)
        (void) poll(NULL, 0, 20); /* until the second is over */
    server_refuses(&two, "the certificate of alpha ended on", "by its clock it has ended");
}

TEST(a_certificate_that_has_not_begun_is_refused) {
    struct keys_order early = { .cluster = "plant", .name = "alpha", .begins = 3600 };
    char *path = keys_bundle(&early);
    struct security_paths paths = { .bundle = path };
    struct security *security;
    struct wrong wrong = { 0 };

    CHECK_ERR(security_new(&paths, &security, &wrong), -EKEYEXPIRED);
    CHECK(strstr(wrong.text, "is the clock right?") != NULL);
    free(path);
}

TEST(the_wrong_host_is_refused) {
    struct two two = plant();

    client_refuses(&two, "gamma", "by its certificate it is host beta, not gamma");
}

TEST(a_program_cannot_pose_as_a_host) {
    struct keys_order program = { .cluster = "plant", .name = "beta", .program = true };
    struct two two = { .client_keys = keys_security(&alpha),
                       .server_keys = keys_security(&program) };

    client_refuses(&two, "beta", "by its certificate it is program beta, not beta");
}

TEST(an_address_in_the_certificate_is_expected_too) {
    struct keys_order with = { .cluster = "plant", .name = "beta", .address = "127.0.0.1" };
    struct two two = { .client_keys = keys_security(&alpha), .server_keys = keys_security(&with) };

    connect_two(&two, "127.0.0.1");
    shake(&two);
    CHECK_OK(two.client_rc);
    end_two(&two);
    client_refuses(&two, "127.0.0.2", "it is host beta, not 127.0.0.2");
}

TEST(plain_and_tls_do_not_mix) {
    struct two two = { .server_keys = keys_security(&beta) };
    char bytes[256];
    int64_t n;

    connect_two(&two, NULL);
    while (transport_write(two.client, "hello, is this plain?", 21) == -EAGAIN)
        ;
    while (two.server_rc == -EAGAIN)
        look(two.server, &two.server_rc);
    CHECK_ERR(two.server_rc, -EPROTO);
    CHECK(strstr(transport_why(two.server), "speaks no TLS") != NULL);
    forget_two(&two);

    two = (struct two){ .client_keys = keys_security(&alpha) };
    connect_two(&two, NULL);
    while (transport_open(two.client) == -EAGAIN &&
           (n = transport_read(two.server, bytes, sizeof(bytes))) == -EAGAIN)
        ;
    CHECK(n > 0 && bytes[0] == 22); /* a handshake */
    CHECK_EQ(transport_write(two.server, "TRAM hello, plain", 17), 17);
    while (two.client_rc == -EAGAIN)
        look(two.client, &two.client_rc);
    CHECK_ERR(two.client_rc, -EPROTO);
    forget_two(&two);
}

/* ---- revoked, and read again ----------------------------------------------------------------- */

static int64_t read_list(const char *cluster, char *bytes, size_t size) {
    char *path = keys_list(cluster);
    FILE *file = fopen(path, "r");
    size_t n = file ? fread(bytes, 1, size, file) : 0;

    CHECK(n > 0);
    (void) fclose(file);
    free(path);
    return (int64_t) n;
}

TEST(who_is_revoked_is_refused_by_whoever_heard_of_it) {
    static char list[1 << 16];
    struct two two = plant();
    struct wrong wrong = { 0 };
    const void *bytes;
    uint64_t number;
    size_t size;
    int64_t n;

    open_two(&two);
    n = read_list("plant", list, sizeof(list));
    CHECK_EQ(security_revoked_take(two.server_keys, list, (size_t) n, &wrong), 0);
    keys_revoke("plant", "alpha");
    n = read_list("plant", list, sizeof(list));
    CHECK_OK(transport_check(two.server, time(NULL)));
    CHECK_EQ(security_revoked_take(two.server_keys, list, (size_t) n, &wrong), 1);
    CHECK_STR(wrong.text, "");
    CHECK_EQ(security_revoked_take(two.server_keys, list, (size_t) n, &wrong), 0);
    CHECK_ERR(transport_check(two.server, time(NULL)), -EKEYREVOKED);
    CHECK(strstr(transport_why(two.server), "certificate of alpha was revoked") != NULL);
    end_two(&two);

    /* Handed on, as the daemons do. */
    bytes = security_revoked(two.server_keys, &size, &number);
    CHECK(bytes && number == 2);
    CHECK_EQ(security_revoked_take(two.client_keys, bytes, size, &wrong), 1);
    server_refuses(&two, "certificate of alpha was revoked", "it was revoked");
}

TEST(lists_of_others_do_not_count) {
    static char list[1 << 16];
    struct two two = plant();
    struct wrong wrong = { 0 };
    struct keys_order other = { .cluster = "harbour", .name = "alpha" };
    int64_t n;

    free(keys_bundle(&other));
    keys_revoke("harbour", "alpha");
    n = read_list("harbour", list, sizeof(list));
    CHECK_ERR(security_revoked_take(two.server_keys, list, (size_t) n, &wrong), -EKEYREJECTED);
    CHECK(strstr(wrong.text, "not signed by the CA of this cluster") != NULL);
    keys_revoke("plant", "beta");
    n = read_list("plant", list, sizeof(list));
    list[n / 2] = (char) (list[n / 2] == 'A' ? 'B' : 'A');
    CHECK(security_revoked_take(two.server_keys, list, (size_t) n, &wrong) < 0);
    CHECK_ERR(security_revoked_take(two.server_keys, list, 0, &wrong), -EBADMSG);
    forget_two(&two);
}

/* The list survives a restart in its file, and reading the keys again. */
TEST(a_list_is_kept) {
    static char list[1 << 16];
    struct two two = plant();
    struct wrong wrong = { 0 };
    uint64_t number;
    size_t size;
    int64_t n;

    keys_revoke("plant", "alpha");
    n = read_list("plant", list, sizeof(list));
    CHECK_EQ(security_revoked_take(two.server_keys, list, (size_t) n, &wrong), 1);
    CHECK_OK(security_reload(two.server_keys, &wrong));
    CHECK(security_revoked(two.server_keys, &size, &number) && number == 2);
    security_unref(two.server_keys);
    two.server_keys = keys_security(&beta); /* the same file beside a new bundle */
    CHECK(security_revoked(two.server_keys, &size, &number) && number == 2);
    server_refuses(&two, "certificate of alpha was revoked", "it was revoked");
}

TEST(keys_are_read_again) {
    struct keys_order second = { .cluster = "plant", .name = "beta2" };
    char *path = keys_bundle(&beta), *other = keys_bundle(&second);
    struct security_paths paths = { .bundle = path };
    struct two two = { .client_keys = keys_security(&alpha) };
    struct wrong wrong = { 0 };

    CHECK_OK(security_new(&paths, &two.server_keys, &wrong));
    connect_two(&two, NULL);
    shake(&two);
    CHECK_STR(transport_peer_name(two.client), "beta");
    CHECK_OK(rename(other, path));
    CHECK_OK(security_reload(two.server_keys, &wrong));
    exchange(two.client, two.server, 3); /* who is connected stays so */
    end_two(&two);
    connect_two(&two, NULL);
    shake(&two);
    CHECK_STR(transport_peer_name(two.client), "beta2");
    end_two(&two);
    CHECK_OK(truncate(path, 100));
    CHECK(security_reload(two.server_keys, &wrong) < 0);
    connect_two(&two, NULL); /* what was read before still holds */
    shake(&two);
    CHECK_STR(transport_peer_name(two.client), "beta2");
    forget_two(&two);
    free(path);
    free(other);
}
