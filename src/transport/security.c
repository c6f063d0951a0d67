/* SPDX-License-Identifier: MIT */
#include "transport/security.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define LIBRARY "libtram-tls.so.0"
#define SYMBOL  "tram_tls_maker"

static _Atomic(const struct security_maker *) chosen;

void security_built_in(const struct security_maker *maker) {
    atomic_store_explicit(&chosen, maker, memory_order_release); /* read by get_maker() */
}

/* The one beside this code was installed with it: where the linker looks may lie another, or none
 * if all of it is in a folder of its own. */
static void *load(void) {
    char path[PATH_MAX];
    Dl_info here;
    const char *end = NULL;
    void *library = NULL;

    if (dladdr(&chosen, &here) && here.dli_fname)
        end = strrchr(here.dli_fname, '/');
    if (end && snprintf(path, sizeof(path), "%.*s/" LIBRARY, (int) (end - here.dli_fname),
                        here.dli_fname) < (int) sizeof(path))
        library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    return library ? library : dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL);
}

/* What is loaded stays: its code may be in use until the process ends. Two threads that come at
 * the same time load the same. */
static int get_maker(const struct security_maker **ret_maker, struct wrong *wrong) {
    const struct security_maker *maker =
        atomic_load_explicit(&chosen, memory_order_acquire); /* stored by security_built_in() */
    void *library;

    if (!maker) {
        library = load();
        if (!library)
            return wrong_set(wrong, -EPROTONOSUPPORT,
                             "TLS needs the package libtram-tls0: %.120s", dlerror());
        maker = dlsym(library, SYMBOL);
        if (!maker || strcmp(maker->version, TRAM_VERSION) != 0)
            return wrong_set(wrong, -EPROTONOSUPPORT,
                             LIBRARY " is of another version (%.20s) than this library ("
                             TRAM_VERSION ")", maker ? maker->version : "?");
        security_built_in(maker);
    }
    *ret_maker = maker;
    return 0;
}

int security_new(const struct security_paths *paths, struct security **ret_security,
                 struct wrong *wrong) {
    const struct security_maker *maker = NULL;
    int rc = get_maker(&maker, wrong);

    if (rc == 0)
        rc = maker->make(paths, ret_security, wrong);
    if (rc == 0) {
        (*ret_security)->maker = maker;
        (*ret_security)->count = 1;
    }
    return rc;
}

struct security *security_ref(struct security *security) {
    security->count++;
    return security;
}

struct security *security_unref(struct security *security) {
    if (security && --security->count == 0)
        security->maker->end(security);
    return NULL;
}

int security_reload(struct security *security, struct wrong *wrong) {
    return security->maker->reload(security, wrong);
}

const struct transport_peer *security_self(const struct security *security) {
    return security->maker->self(security);
}

const void *security_revoked(const struct security *security, size_t *ret_size,
                             uint64_t *ret_number) {
    return security->maker->revoked(security, ret_size, ret_number);
}

int security_revoked_take(struct security *security, const void *bytes, size_t size,
                          struct wrong *wrong) {
    return security->maker->revoked_take(security, bytes, size, wrong);
}

int security_transport(struct security *security, struct transport **ret_transport) {
    return security->maker->transport(security, ret_transport);
}
