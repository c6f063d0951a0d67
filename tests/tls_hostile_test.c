/* SPDX-License-Identifier: MIT
 *
 * TLS peers that stop anywhere, are changed on their way, speak older versions, show no or wrong
 * certificates, or come in floods: they are turned away with words, and cost nobody else anything.
 */
// test: timeout=120 cpus=2
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "harness.h"
#include "keys/authority.h"
#include "support/keys.h"
#include "support/kit.h"
#include "support/pair.h"
#include "transport/gate.h"
#include "transport/transport.h"

static const struct keys_order alpha = { .cluster = "plant", .name = "alpha" };
static const struct keys_order beta = { .cluster = "plant", .name = "beta" };

/* ---- a handshake through a hand that cuts or changes it -------------------------------------- */

struct hand {
    struct transport *ends[2]; /* the client, the server */
    int fds[2];                /* ours, towards each */
    size_t left[2];            /* bytes that still go from each to the other */
    size_t went[2];
    size_t change[2];          /* the byte that is changed, counted from 1; 0: none */
    uint8_t by;
};

static void set_up(struct hand *hand, struct security *client, struct security *server) {
    *hand = (struct hand){ .left = { SIZE_MAX, SIZE_MAX }, .by = 1 };
    for (int i = 0; i < 2; i++) {
        int fds[2];

        CHECK_OK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds));
        hand->fds[i] = fds[1];
        CHECK_OK(transport_take(fds[0], i == 1, NULL, i == 0 ? client : server, &hand->ends[i]));
    }
}

/* Move what one said to the other. True: something moved. */
static bool pass(struct hand *hand, int from) {
    char bytes[4096];
    size_t most = hand->left[from] < sizeof(bytes) ? hand->left[from] : sizeof(bytes);
    ssize_t n = hand->fds[from] < 0 ? 0 : recv(hand->fds[from], bytes, sizeof(bytes), MSG_DONTWAIT);

    if (n <= 0)
        return false;
    n = (size_t) n > most ? (ssize_t) most : n;
    if (hand->change[from] > hand->went[from] &&
        hand->change[from] <= hand->went[from] + (size_t) n)
        bytes[hand->change[from] - hand->went[from] - 1] ^= (char) hand->by;
    hand->went[from] += (size_t) n;
    hand->left[from] -= (size_t) n;
    (void) send(hand->fds[1 - from], bytes, (size_t) n, MSG_NOSIGNAL);
    if (hand->left[from] == 0) { /* the cable is cut */
        for (int i = 0; i < 2; i++) {
            close(hand->fds[i]);
            hand->fds[i] = -1;
        }
    }
    return true;
}

/* Until nobody does anything any more. *ret_rc: how it ended for each. */
static void shake(struct hand *hand, int rc[2]) {
    bool moved = true;

    rc[0] = rc[1] = -EAGAIN;
    while (moved) {
        moved = false;
        for (int i = 0; i < 2; i++)
            if (rc[i] == -EAGAIN)
                rc[i] = transport_open(hand->ends[i]);
        for (int i = 0; i < 2; i++)
            moved |= pass(hand, i);
    }
    for (int i = 0; i < 2; i++)
        if (rc[i] == -EAGAIN)
            rc[i] = transport_open(hand->ends[i]);
}

static void tear_down(struct hand *hand) {
    for (int i = 0; i < 2; i++) {
        transport_close(hand->ends[i]);
        if (hand->fds[i] >= 0)
            close(hand->fds[i]);
    }
}

TEST_TIMEOUT(handshakes_cut_at_each_byte, 60) {
    struct security *client = keys_security(&alpha), *server = keys_security(&beta);
    size_t whole[2];
    struct hand hand;
    int rc[2], open;

    set_up(&hand, client, server);
    shake(&hand, rc);
    CHECK_OK(rc[0]);
    CHECK_OK(rc[1]);
    memcpy(whole, hand.went, sizeof(whole));
    tear_down(&hand);
    CHECK(whole[0] > 500 && whole[1] > 500 && whole[0] < 4000 && whole[1] < 4000);
    for (int from = 0; from < 2; from++) {
        size_t step = *test_sanitizer() ? 7 : from == 0 ? 1 : 5;

        for (size_t cut = 1; cut < whole[from]; cut += step) {
            set_up(&hand, client, server);
            hand.left[from] = cut;
            shake(&hand, rc);
            open = (rc[0] == 0) + (rc[1] == 0);
            /* The client is open when it has spoken; the server never. */
            CHECK(open <= 1 && rc[1] < 0 && rc[1] != -EAGAIN);
            CHECK(strstr(transport_why(hand.ends[1]), "ended in the middle of the handshake") ||
                  rc[1] != -ECONNRESET);
            tear_down(&hand);
        }
    }
    security_unref(client);
    security_unref(server);
}

TEST_TIMEOUT(handshakes_that_are_changed_on_their_way, 60) {
    struct security *client = keys_security(&alpha), *server = keys_security(&beta);
    struct rng rng = { 5 };
    struct hand hand;
    int rc[2], refused = 0, rounds = *test_sanitizer() ? 100 : 600;

    for (int i = 0; i < rounds; i++) {
        int from = i % 2;

        set_up(&hand, client, server);
        hand.change[from] = 1 + rng_below(&rng, 1000);
        hand.by = (uint8_t) (1u << rng_below(&rng, 8));
        shake(&hand, rc);
        if (rc[0] == 0 && rc[1] == 0) { /* a byte that means nothing, or was not reached */
            CHECK_STR(transport_peer_name(hand.ends[0]), "beta");
            CHECK_STR(transport_peer_name(hand.ends[1]), "alpha");
        } else {
            refused++;
        }
        for (int end = 0; end < 2; end++)
            CHECK(rc[end] >= 0 || rc[end] == -EAGAIN || *transport_why(hand.ends[end]));
        tear_down(&hand);
    }
    CHECK(refused > rounds / 2);
    security_unref(client);
    security_unref(server);
}

TEST(any_bytes_are_no_handshake) {
    struct security *server = keys_security(&beta);
    struct rng rng = { 7 };

    for (int i = 0; i < 2000; i++) {
        struct hand hand;
        uint8_t bytes[300];
        size_t size = 1 + rng_below(&rng, sizeof(bytes));
        int rc;

        set_up(&hand, NULL, server);
        for (size_t at = 0; at < size; at++)
            bytes[at] = (uint8_t) rng_next(&rng);
        if (i % 2) /* as if it were a handshake */
            memcpy(bytes, "\x16\x03\x01\x01\x00\x01\x00\x00\xfc\x03\x03",
                   size < 11 ? size : 11);
        CHECK_EQ(transport_write(hand.ends[0], bytes, size), (int64_t) size);
        (void) pass(&hand, 0);
        rc = transport_open(hand.ends[1]);
        close(hand.fds[1]);
        hand.fds[1] = -1;
        if (rc == -EAGAIN)
            rc = transport_open(hand.ends[1]);
        CHECK(rc < 0 && rc != -EAGAIN && *transport_why(hand.ends[1]));
        tear_down(&hand);
    }
    security_unref(server);
}

/* ---- clients that do as they like ------------------------------------------------------------ */

/* A client by OpenSSL alone, that checks nothing: which versions, which certificate (a bundle, or
 * NULL). What the server says of it. */
static void server_says(struct security *server, int version, const char *bundle,
                        const char *why) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    struct hand hand;
    SSL *ssl;
    int rc = -EAGAIN;

    set_up(&hand, NULL, server);
    CHECK(context && SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 &&
          SSL_CTX_set_max_proto_version(context, version) == 1);
    if (bundle)
        CHECK(SSL_CTX_use_PrivateKey_file(context, bundle, SSL_FILETYPE_PEM) == 1 &&
              SSL_CTX_use_certificate_file(context, bundle, SSL_FILETYPE_PEM) == 1);
    ssl = SSL_new(context);
    CHECK(ssl && SSL_set_fd(ssl, hand.fds[1]) == 1);
    for (int i = 0; i < 10 && rc == -EAGAIN; i++) {
        (void) SSL_connect(ssl);
        rc = transport_open(hand.ends[1]);
    }
    CHECK(rc < 0 && rc != -EAGAIN);
    if (!strstr(transport_why(hand.ends[1]), why))
        CHECK_STR(transport_why(hand.ends[1]), why);
    SSL_free(ssl);
    SSL_CTX_free(context);
    tear_down(&hand);
}

/* A key and a certificate of its own making, with the right names in it. */
static char *self_made(void) {
    struct keys_order order = { .cluster = "plant2", .name = "alpha" };
    char *path, *text = NULL, *other;
    struct wrong wrong;
    struct authority *authority;
    size_t size = 0;

    /* Another CA that says it is of the same cluster. */
    CHECK(asprintf(&path, "%s/posing", test_dir()) > 0);
    CHECK_OK(authority_make(path, "plant", NULL, time(NULL), 10, &wrong));
    CHECK_OK(authority_open(path, &authority, &wrong));
    CHECK_OK(authority_unlock(authority, NULL, &wrong));
    CHECK_OK(authority_issue(authority,
                             &(struct authority_order){ .name = order.name,
                                                        .begins = time(NULL) - 10,
                                                        .ends = time(NULL) + 1000 },
                             &text, &size, &wrong));
    authority_free(authority);
    CHECK(asprintf(&other, "%s/posing.keys", test_dir()) > 0);
    CHECK_OK(authority_write(other, text, size, false, &wrong));
    free(text);
    free(path);
    return other;
}

TEST(who_is_let_in_has_a_certificate_of_this_ca_and_speaks_1_3) {
    struct keys_order foreign = { .cluster = "harbour", .name = "alpha" };
    struct keys_order late = { .cluster = "plant", .name = "alpha", .begins = -100, .ends = -10 };
    struct security *server = keys_security(&beta);
    char *good = keys_bundle(&alpha), *other = keys_bundle(&foreign), *posing = self_made();
    char *ended = keys_bundle(&late);

    server_says(server, TLS1_2_VERSION, good, "it does not speak TLS 1.3");
    server_says(server, TLS1_3_VERSION, NULL, "it shows no certificate");
    server_says(server, TLS1_3_VERSION, other, "not signed by the CA of this cluster");
    server_says(server, TLS1_3_VERSION, posing, "not signed by the CA of this cluster");
    server_says(server, TLS1_3_VERSION, ended, "the certificate of alpha ended on");
    free(good);
    free(other);
    free(posing);
    free(ended);
    security_unref(server);
}

/* ---- floods ---------------------------------------------------------------------------------- */

static uint64_t *stop, *calls, *longest;

static void ask_and_ask(void *arg) {
    tram_worker *worker = pair_worker(0);
    tram_client *client = pair_client(worker, arg, 0, NULL, NULL);

    while (!__atomic_load_n(stop, __ATOMIC_RELAXED)) {
        int64_t took = kit_now();
        tram_reply *reply;

        CHECK_OK(tram_client_call(client, PAIR_ECHO, "x", 1, NULL, &reply));
        (void) tram_reply_free(reply);
        took = kit_now() - took;
        *longest = (uint64_t) took > *longest ? (uint64_t) took : *longest;
        (void) __atomic_add_fetch(calls, 1, __ATOMIC_RELAXED);
        CHECK(tram_worker_dispatch(worker) >= 0);
    }
    (void) tram_worker_free(worker);
}

static void wait_for_calls(uint64_t more) {
    uint64_t until = __atomic_load_n(calls, __ATOMIC_RELAXED) + more;
    int64_t patience = kit_now() + kit_patience(20);

    while (__atomic_load_n(calls, __ATOMIC_RELAXED) < until) {
        if (kit_now() > patience)
            FAIL("the innocent is not answered any more");
        (void) poll(NULL, 0, 1);
    }
}

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

static int dial(const char *address) {
    struct sockaddr_in name = { .sin_family = AF_INET };
    char host[64];
    unsigned port;
    int fd = CHECK_OK(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));

    CHECK_EQ(sscanf(strchr(address, '@') + 1, "%63[0-9.]:%u", host, &port), 2);
    name.sin_port = htons((uint16_t) port);
    CHECK_EQ(inet_pton(AF_INET, host, &name.sin_addr), 1);
    CHECK_OK(connect(fd, (struct sockaddr *) &name, sizeof(name)));
    return fd;
}

/* What a client says first, as it is. */
static size_t client_hello(uint8_t *bytes, size_t size) {
    struct security *client = keys_security(&alpha);
    struct hand hand;
    ssize_t n;

    set_up(&hand, client, NULL);
    CHECK_ERR(transport_open(hand.ends[0]), -EAGAIN);
    n = recv(hand.fds[0], bytes, size, 0);
    CHECK(n > 100);
    tear_down(&hand);
    security_unref(client);
    return (size_t) n;
}

TEST_TIMEOUT(floods_cost_others_little_and_the_server_a_bounded_memory, 60) {
    enum { SLOW = 1500 }; /* three times as many as wait at a time */
    static int fds[SLOW];
    const char *address = pair_address("tls"), *addresses[] = { address, NULL };
    struct pair_options options = { .addresses = addresses };
    struct keys_order pair = { .cluster = "plant", .name = "pair" };
    char *keys = keys_bundle(&pair);
    uint8_t hello[2048];
    size_t size = client_hello(hello, sizeof(hello));
    struct rlimit limit;
    pid_t server, client;
    long before, grown;

    CHECK_OK(getrlimit(RLIMIT_NOFILE, &limit));
    if (limit.rlim_max < 4000)
        SKIP("it needs 4,000 descriptors");
    limit.rlim_cur = limit.rlim_max;
    CHECK_OK(setrlimit(RLIMIT_NOFILE, &limit));
    CHECK_OK(setenv("TRAM_KEYS", keys, 1));
    free(keys);
    stop = kit_shared(3 * sizeof(*stop));
    calls = stop + 1;
    longest = stop + 2;
    server = pair_start(&options);
    client = test_fork(ask_and_ask, (void *) (uintptr_t) address);
    wait_for_calls(100);
    before = memory_of(server);
    *longest = 0;
    for (int i = 0; i < SLOW; i++) {
        fds[i] = dial(address);
        /* Nothing, a part of a hello, or a hello after which the server waits with all it has. */
        (void) send(fds[i], hello, i % 3 == 0 ? 0 : i % 3 == 1 ? (size_t) i % size : size,
                    MSG_NOSIGNAL);
        if (i % 50 == 0)
            wait_for_calls(1);
    }
    wait_for_calls(100);
    grown = memory_of(server) - before;
    __atomic_store_n(stop, 1, __ATOMIC_RELAXED);
    JOIN(client);
    printf("    innocent: %llu calls, longest %.1f ms; server: %+ld KiB\n",
           (unsigned long long) *calls, (double) *longest / 1e6, grown);
    CHECK(*longest < (uint64_t) test_seconds(3) * 1000000000);
    if (!*test_sanitizer())
        CHECK(grown < 48 * 1024);
    for (int i = 0; i < SLOW; i++)
        close(fds[i]);
    test_kill(server);
}
