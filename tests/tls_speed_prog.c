/* SPDX-License-Identifier: MIT
 *
 * What TLS costs on a transport, beside plain TCP in the same run: two processes on loopback, in
 * turns. 64 KiB messages as fast as they go, and round trips of 32 bytes, both ends looking all the
 * time or asleep between.
 *
 *     tls_speed_prog [--json] [--count TURNS]
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "keys/authority.h"
#include "support/kit.h"
#include "tls/maker.h"
#include "transport/transport.h"

#define BLOCK    65536u
#define STREAM   (UINT64_C(256) << 20) /* bytes of a turn */
#define TRIPS    4000
#define TURNS    9
#define SMALL    32

enum kind { STREAMING, SPINNING, SLEEPING, KINDS };

static void must(int64_t rc, const char *what) {
    if (rc < 0) {
        (void) fprintf(stderr, "tls_speed: %s: %s\n", what, strerror((int) -rc));
        exit(1);
    }
}

static void wait_for(const struct transport *transport, bool writing) {
    uint32_t want = transport_want(transport) | (writing ? TRANSPORT_WRITE : 0);
    struct pollfd entry = { .fd = transport_fd(transport),
                            .events = (short) ((want & TRANSPORT_READ && !writing ? POLLIN : 0) |
                                               (want & TRANSPORT_WRITE ? POLLOUT : 0)) };

    (void) poll(&entry, 1, -1);
}

static void put(struct transport *transport, const char *bytes, size_t size) {
    for (size_t at = 0; at < size;) {
        int64_t n = transport_write(transport, bytes + at, size - at);

        if (n == -EAGAIN)
            wait_for(transport, true);
        else
            must(n, transport_why(transport));
        at += n > 0 ? (size_t) n : 0;
    }
    while (transport_want(transport) & TRANSPORT_WRITE && transport_flush(transport) == -EAGAIN)
        wait_for(transport, true);
}

static void get(struct transport *transport, char *bytes, size_t size, bool spin) {
    for (size_t at = 0; at < size;) {
        int64_t n = transport_read(transport, bytes + at, size - at);

        if (n == -EAGAIN && !spin)
            wait_for(transport, false);
        else if (n != -EAGAIN)
            must(n == 0 ? -ECONNRESET : n, transport_why(transport));
        at += n > 0 ? (size_t) n : 0;
    }
}

/* What the other process does, until it is told 0. */
static void answer(struct transport *transport) {
    static char block[BLOCK];
    char order;

    for (;;) {
        get(transport, &order, 1, false);
        if (order == 'q')
            return;
        if (order == STREAMING) {
            for (uint64_t left = STREAM; left > 0; left -= BLOCK)
                get(transport, block, BLOCK, false);
            put(transport, "k", 1);
        } else {
            for (int i = 0; i < TRIPS; i++) {
                get(transport, block, SMALL, order == SPINNING);
                put(transport, block, SMALL);
            }
        }
    }
}

static int by_size(const void *a, const void *b) {
    double left = *(const double *) a, right = *(const double *) b;

    return left < right ? -1 : left > right;
}

static double median(double *samples, int count) {
    qsort(samples, (size_t) count, sizeof(*samples), by_size);
    return samples[count / 2];
}

/* Bytes in a nanosecond, or nanoseconds of a round trip. */
static double turn(struct transport *transport, enum kind kind) {
    static char block[BLOCK];
    static double trips[TRIPS];
    char order = (char) kind;
    int64_t began;

    put(transport, &order, 1);
    if (kind == STREAMING) {
        began = kit_now();
        for (uint64_t left = STREAM; left > 0; left -= BLOCK)
            put(transport, block, BLOCK);
        get(transport, block, 1, false);
        return (double) STREAM / (double) (kit_now() - began);
    }
    for (int i = 0; i < TRIPS; i++) {
        began = kit_now();
        put(transport, block, SMALL);
        get(transport, block, SMALL, kind == SPINNING);
        trips[i] = (double) (kit_now() - began);
    }
    return median(trips, TRIPS);
}

/* ---- two ends -------------------------------------------------------------------------------- */

static struct security *keys_of(const char *folder, const char *name) {
    struct authority_order order = { .name = name,
                                     .begins = time(NULL) - 10,
                                     .ends = time(NULL) + 3600 };
    struct security_paths paths = { .revoked = "" };
    struct authority *authority;
    struct security *security;
    struct wrong wrong = { 0 };
    char *text, path[4200];
    size_t size;

    (void) snprintf(path, sizeof(path), "%s/%s.keys", folder, name);
    must(authority_open(folder, &authority, &wrong), wrong.text);
    must(authority_unlock(authority, NULL, &wrong), wrong.text);
    must(authority_issue(authority, &order, &text, &size, &wrong), wrong.text);
    must(authority_write(path, text, size, true, &wrong), wrong.text);
    free(text);
    (void) authority_free(authority);
    paths.bundle = path;
    must(security_new(&paths, &security, &wrong), wrong.text);
    return security;
}

static struct transport *pair(struct security *mine, struct security *theirs, pid_t *ret_pid) {
    struct sys_address address;
    struct transport *transport;
    struct wrong wrong = { 0 };
    int listener, fd, rc;

    must(sys_address_numeric("127.0.0.1", 0, &address), "address");
    listener = sys_listen(&address, 1);
    must(listener, "listen");
    must(sys_local_address(listener, &address), "address");
    *ret_pid = fork();
    must(*ret_pid, "fork");
    kit_pin(*ret_pid != 0); /* or both ends share a core in some turns */
    if (*ret_pid == 0) {
        struct pollfd entry = { .fd = listener, .events = POLLIN };

        (void) poll(&entry, 1, -1);
        fd = sys_accept(listener);
        must(fd, "accept");
        must(transport_take(fd, true, NULL, theirs, &transport), "accept");
    } else {
        must(transport_connect(&address, NULL, mine, &transport, &wrong), wrong.text);
    }
    (void) close(listener);
    while ((rc = transport_open(transport)) == -EAGAIN)
        wait_for(transport, false);
    must(rc, transport_why(transport));
    if (*ret_pid == 0) {
        answer(transport);
        (void) transport_close(transport);
        _exit(0);
    }
    return transport;
}

int main(int argc, char **argv) {
    char folder[] = "/tmp/tram-tls-speed-XXXXXX"; /* removed below */
    static double samples[2][KINDS][64];
    struct transport *ends[2];
    struct wrong wrong = { 0 };
    double value[2][KINDS];
    int turns = TURNS;
    pid_t pids[2];

    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--count") == 0 && i + 1 < argc)
            turns = atoi(argv[++i]);
    turns = turns < 1 ? 1 : turns > 63 ? 63 : turns;
    security_built_in(&tram_tls_maker);
    if (!mkdtemp(folder))
        must(-errno, folder);
    must(authority_make(folder, "bench", NULL, time(NULL), 1, &wrong), wrong.text);
    ends[0] = pair(NULL, NULL, &pids[0]);
    ends[1] = pair(keys_of(folder, "a"), keys_of(folder, "b"), &pids[1]);
    kit_remove_tree(folder);
    for (int i = 0; i <= turns; i++) /* the first turn is warming up */
        for (int kind = 0; kind < KINDS; kind++)
            for (int tls = 0; tls < 2; tls++)
                samples[tls][kind][i > 0 ? i - 1 : 0] = turn(ends[tls], (enum kind) kind);
    for (int tls = 0; tls < 2; tls++) {
        for (int kind = 0; kind < KINDS; kind++)
            value[tls][kind] = median(samples[tls][kind], turns);
        put(ends[tls], "q", 1);
        (void) waitpid(pids[tls], NULL, 0);
    }
    printf("{\"verified\":true,\"cipher\":\"%s\",\"plain_gbs\":%.2f,\"tls_gbs\":%.2f,"
           "\"stream_ratio\":%.3f,\"plain_spin_ns\":%.0f,\"tls_spin_ns\":%.0f,\"spin_ratio\":%.3f,"
           "\"plain_sleep_ns\":%.0f,\"tls_sleep_ns\":%.0f,\"sleep_ratio\":%.3f}\n",
           transport_peer(ends[1])->cipher, value[0][STREAMING], value[1][STREAMING],
           value[1][STREAMING] / value[0][STREAMING], value[0][SPINNING], value[1][SPINNING],
           value[1][SPINNING] / value[0][SPINNING], value[0][SLEEPING], value[1][SLEEPING],
           value[1][SLEEPING] / value[0][SLEEPING]);
    for (int tls = 0; tls < 2; tls++)
        (void) transport_close(ends[tls]);
    return 0;
}
