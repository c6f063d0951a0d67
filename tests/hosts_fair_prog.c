/* SPDX-License-Identifier: MIT
 *
 * How long messages take beside others (hosts_fair_test.py).
 *
 *     hosts_fair_prog echo ID             answers all that comes
 *     hosts_fair_prog ask ID TO COUNT     sends COUNT messages to TO, one each ms, each when the
 *                                         one before it was answered; says p50, p99 and most, in us
 *     hosts_fair_prog fill ID TO MIB      sends so much to TO, as fast as it goes; says the us
 *     hosts_fair_prog drain ID MIB        receives so much
 *     hosts_fair_prog keep ID             is there, and receives nothing
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/kit.h"

enum { SIZE = 64, PIECE = 4096 };

static tram_node *node;
static char buffer[PIECE];

static int fail(const char *what, int rc) {
    fprintf(stderr, "hosts_fair_prog: %s: %s: %s\n", what, strerror(-rc), kit_error(node));
    return 1;
}

static int open_node(tram_id id) {
    struct tram_options options = TRAM_OPTIONS_INIT;
    int64_t end = kit_now() + kit_patience(30);
    int rc;

    options.ring_size = kit_env("FAIR_RING", 0);
    while ((rc = tram_open(NULL, id, &options, &node)) == -EAGAIN && kit_now() < end)
        (void) usleep(20000);
    return rc;
}

static int say(tram_id to, const void *data, size_t size) {
    struct iovec piece = { (void *) (uintptr_t) data, size };

    return tram_sendv(node, to, NULL, &piece, 1, 0, -1);
}

static int echo(void) {
    struct tram_msg msg;
    int rc;

    while ((rc = tram_recv(node, &msg, -1)) == 0) {
        rc = say(msg.from, msg.data, msg.size);
        if (rc == 0)
            rc = tram_done(node);
        if (rc < 0)
            break;
    }
    return fail("echo", rc);
}

static int longer(const void *left, const void *right) {
    int64_t a = *(const int64_t *) left, b = *(const int64_t *) right;

    return (a > b) - (a < b);
}

static int ask(tram_id to, long count) {
    int64_t *took = calloc((size_t) count, sizeof(*took));
    struct tram_msg msg;
    int rc = took ? 0 : -ENOMEM;

    for (long i = 0; rc == 0 && i < count; i++) {
        int64_t began = kit_now(), left;

        rc = say(to, buffer, SIZE);
        if (rc == 0)
            rc = tram_recv(node, &msg, kit_patience(30));
        if (rc == 0)
            rc = tram_done(node);
        took[i] = kit_now() - began;
        left = 1000000 - took[i];
        if (left > 0)
            (void) usleep((useconds_t) (left / 1000));
    }
    if (rc == 0) {
        qsort(took, (size_t) count, sizeof(*took), longer);
        printf("%" PRId64 " %" PRId64 " %" PRId64 "\n", took[count / 2] / 1000,
               took[count * 99 / 100] / 1000, took[count - 1] / 1000);
    }
    free(took);
    return rc < 0 ? fail("ask", rc) : 0;
}

static int fill(tram_id to, long mib) {
    int64_t began = kit_now();
    int rc = 0;

    for (long i = 0; rc == 0 && i < mib << 8; i++)
        rc = say(to, buffer, PIECE);
    if (rc < 0)
        return fail("fill", rc);
    printf("%" PRId64 "\n", (kit_now() - began) / 1000);
    return 0;
}

static int drain(long mib) {
    struct tram_msg msg;
    int rc = 0;

    for (long i = 0; rc == 0 && i < mib << 8; i++) {
        rc = tram_recv(node, &msg, -1);
        if (rc == 0)
            rc = tram_done(node);
    }
    return rc < 0 ? fail("drain", rc) : 0;
}

int main(int argc, char **argv) {
    tram_id id = 0, to = 0;
    int rc;

    if (argc < 3 || tram_id_parse(argv[2], &id) < 0)
        return 2;
    if (argc > 4 && tram_id_parse(argv[3], &to) < 0)
        return 2;
    rc = open_node(id);
    if (rc < 0)
        return fail("open", rc);
    if (strcmp(argv[1], "echo") == 0)
        rc = echo();
    else if (strcmp(argv[1], "ask") == 0 && argc == 5)
        rc = ask(to, atol(argv[4]));
    else if (strcmp(argv[1], "fill") == 0 && argc == 5)
        rc = fill(to, atol(argv[4]));
    else if (strcmp(argv[1], "drain") == 0 && argc == 4)
        rc = drain(atol(argv[3]));
    else if (strcmp(argv[1], "keep") == 0)
        (void) pause();
    else
        rc = 2;
    node = tram_close(node);
    return rc;
}
