/* SPDX-License-Identifier: MIT */
#include "support/keys.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "harness.h"
#include "tls/maker.h"

static char *path_of(const char *a, const char *b, const char *c) {
    char *path = NULL;

    CHECK(asprintf(&path, "%s/%s%s%s", test_dir(), a, b, c) > 0);
    return path;
}

static void good(int rc, const struct wrong *wrong) {
    if (rc < 0)
        (void) fprintf(stderr, "%s\n", wrong->text);
    CHECK_OK(rc);
}

struct authority *keys_authority(const char *cluster) {
    char *folder = path_of("ca-", cluster, "");
    struct authority *authority = NULL;
    struct wrong wrong = { 0 };
    int rc = authority_make(folder, cluster, NULL, time(NULL), 100, &wrong);

    if (rc != -EEXIST)
        good(rc, &wrong);
    good(authority_open(folder, &authority, &wrong), &wrong);
    good(authority_unlock(authority, NULL, &wrong), &wrong);
    free(folder);
    return authority;
}

char *keys_bundle(const struct keys_order *order) {
    struct authority *authority = keys_authority(order->cluster);
    struct authority_order inner = {
        .name = order->name,
        .program = order->program,
        .addresses = { order->address },
        .begins = time(NULL) + (order->begins != 0 ? order->begins : -86400),
        .ends = time(NULL) + (order->ends != 0 ? order->ends : 365 * 86400),
    };
    static int number;
    char *text = NULL, *path, id[16];
    struct wrong wrong = { 0 };
    size_t size = 0;
    FILE *file;

    security_built_in(&tram_tls_maker);
    (void) snprintf(id, sizeof(id), "-%d", number++);
    path = path_of(order->name, id, ".keys");
    good(authority_issue(authority, &inner, &text, &size, &wrong), &wrong);
    (void) authority_free(authority);
    file = fopen(path, "w");
    CHECK(file && fwrite(text, 1, size, file) == size && fclose(file) == 0);
    CHECK_OK(chmod(path, 0600));
    free(text);
    return path;
}

struct security *keys_security(const struct keys_order *order) {
    char *path = keys_bundle(order), *list = path_of(order->name, ".revoked", "");
    struct security_paths paths = { .bundle = path, .revoked = list };
    struct security *security = NULL;
    struct wrong wrong = { 0 };

    good(security_new(&paths, &security, &wrong), &wrong);
    free(path);
    free(list);
    return security;
}

void keys_revoke(const char *cluster, const char *name) {
    struct authority *authority = keys_authority(cluster);
    struct wrong wrong = { 0 };
    int count = 0;

    good(authority_revoke(authority, name, time(NULL), &count, &wrong), &wrong);
    CHECK(count > 0);
    (void) authority_free(authority);
}

char *keys_list(const char *cluster) {
    return path_of("ca-", cluster, "/revoked.crl");
}
