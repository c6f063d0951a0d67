/* SPDX-License-Identifier: MIT */
#include "service/secure.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "service/service.h"
#include "sys/file.h"
#include "transport/security.h"

#define LOOK_NS INT64_C(2000000000) /* a heartbeat of the daemons */

struct secure {
    tram_worker *worker;
    struct security *security;
    char bundle[400], revoked[412];
    struct sys_stat seen[2];
    struct socket_link *links;
    tram_timer *timer;
    bool timer_set;
};

/* ---- which files ----------------------------------------------------------------------------- */

static bool exists(const char *path) {
    struct sys_stat st;

    return sys_stat_at(AT_FDCWD, path, &st) == 0;
}

static bool put(struct secure *me, const char *folder, const char *rest) {
    int size = snprintf(me->bundle, sizeof(me->bundle), "%s%s", folder, rest);

    return size > 0 && (size_t) size < sizeof(me->bundle);
}

static bool find(struct secure *me) {
    const char *chosen = worker_keys(me->worker), *keys = getenv("TRAM_KEYS");
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

    if (chosen)
        return put(me, chosen, "");
    if (keys && *keys)
        return put(me, keys, "");
    if (config && *config == '/' && put(me, config, "/tram/host.keys") && exists(me->bundle))
        return true;
    if (home && *home == '/' && put(me, home, "/.config/tram/host.keys") && exists(me->bundle))
        return true;
    return put(me, "/etc/tram/host.keys", "");
}

/* Is anything else there than when we looked last? */
static bool changed(struct secure *me) {
    const char *const paths[] = { me->bundle, me->revoked };
    bool any = false;

    for (int i = 0; i < 2; i++) {
        struct sys_stat st;

        if (sys_stat_at(AT_FDCWD, paths[i], &st) < 0)
            st = (struct sys_stat){ 0 };
        any |= st.inode != me->seen[i].inode || st.changed_ns != me->seen[i].changed_ns ||
               st.size != me->seen[i].size;
        me->seen[i] = st;
    }
    return any;
}

/* ---- looking again --------------------------------------------------------------------------- */

static void on_timer(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    struct secure *me = arg;
    struct wrong wrong = { 0 };

    (void) timer;
    (void) late_ns;
    (void) missed;
    if (changed(me) && security_reload(me->security, &wrong) < 0)
        (void) worker_fail(me->worker, -ENOKEY, "%s; the keys that were read before still hold",
                           wrong.text);
    for (struct socket_link *link = me->links; link; link = link->secure_next) {
        int rc = transport_check(link->transport, time(NULL));

        if (rc < 0)
            (void) socket_broken(link, rc);
    }
    if (!me->links) {
        me->timer_set = false;
        (void) tram_timer_set(me->timer, TRAM_FOREVER, 0); /* what was set can be */
    }
}

/* ---- the keys -------------------------------------------------------------------------------- */

void secure_free(struct secure *me) {
    if (!me)
        return;
    me->timer = tram_timer_free(me->timer);
    (void) security_unref(me->security);
    free(me);
}

static int read_keys(struct secure *me) {
    struct security_paths paths = { .bundle = me->bundle, .revoked = me->revoked };
    struct wrong wrong = { 0 };

    if (!find(me))
        return worker_fail(me->worker, -ENOKEY, "the path of the keys is too long");
    (void) snprintf(me->revoked, sizeof(me->revoked), "%s.revoked", me->bundle);
    (void) changed(me);
    if (security_new(&paths, &me->security, &wrong) == 0)
        return 0;
    return worker_fail(me->worker, -ENOKEY, "no keys for tls://: %s", wrong.text);
}

static int make(struct service *service, tram_worker *worker) {
    struct secure *me = calloc(1, sizeof(*me));
    int rc = me ? 0 : -ENOMEM;

    if (rc == 0) {
        me->worker = worker;
        rc = worker_inner_timer(worker, on_timer, me, &me->timer);
    }
    if (rc == 0)
        rc = read_keys(me);
    if (rc < 0) {
        secure_free(me);
        return rc;
    }
    service->secure = me;
    return 0;
}

int secure_get(tram_worker *worker, struct security **ret_security) {
    struct service *service = service_get(worker);
    struct wrong wrong;
    int rc = !service ? -ENOMEM : service->secure ? 0 : make(service, worker);

    if (rc < 0)
        return rc;
    /* Nobody looks while there is no connection: so now. */
    if (!service->secure->links && changed(service->secure) &&
        security_reload(service->secure->security, &wrong) < 0)
        (void) worker_fail(worker, -ENOKEY, "%s; the keys that were read before still hold",
                           wrong.text);
    *ret_security = service->secure->security;
    return 0;
}

void secure_add(struct socket_link *link) {
    struct service *service = service_get(link->link.worker);
    struct secure *me = service->secure; /* by which it was made */

    link->secure_at = &me->links;
    link->secure_next = me->links;
    if (me->links)
        me->links->secure_at = &link->secure_next;
    me->links = link;
    if (!me->timer_set)
        me->timer_set = tram_timer_set(me->timer, LOOK_NS, LOOK_NS) == 0;
}

void secure_remove(struct socket_link *link) {
    if (!link->secure_at)
        return;
    *link->secure_at = link->secure_next;
    if (link->secure_next)
        link->secure_next->secure_at = link->secure_at;
    link->secure_at = NULL;
}
