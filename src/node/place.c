/* SPDX-License-Identifier: MIT
 *
 * Placement, as who opens a node meets it. What the daemon does is in place_daemon.c.
 */
#include "node/place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "node/error.h"
#include "node/node.h"
#include "sys/bell.h"
#include "sys/cleanup.h"
#include "sys/file.h"
#include "sys/lock.h"

/* A file of which everything is read at once. -ENOENT. */
static int read_words(int dir, const char *name, void *words, uint64_t length) {
    OWNS_FD int fd = sys_file_open(dir, name, false);
    int rc = fd < 0 ? fd : sys_file_read(fd, words, length, 0);

    return rc == -ENODATA ? -EBADMSG : rc;
}

int cluster_read(int bus_dir, struct cluster *ret_cluster) {
    struct cluster cluster;
    int rc = read_words(bus_dir, "cluster", &cluster, sizeof(cluster));

    if (rc < 0)
        return rc;
    if (cluster.magic != CLUSTER_MAGIC || cluster.host == 0 || cluster.host > HOST_MAX)
        return -EBADMSG;
    if (cluster.version != PLACE_VERSION)
        return -EPROTO;
    cluster.name[sizeof(cluster.name) - 1] = '\0';
    *ret_cluster = cluster;
    return 0;
}

int place_read(int node_dir, tram_id id, struct place *ret_place) {
    struct place place;
    int rc = read_words(node_dir, "place", &place, sizeof(place));

    if (rc < 0)
        return rc;
    if (place.magic != PLACE_MAGIC || place.id != id ||
        (place.state != PLACE_HERE && place.state != PLACE_AWAY))
        return -EBADMSG;
    if (place.version != PLACE_VERSION)
        return -EPROTO;
    place.name[sizeof(place.name) - 1] = '\0';
    *ret_place = place;
    return 0;
}

/* ---- opening --------------------------------------------------------------------------------- */

int place_join(tram_node *node, struct tram_error *error) {
    struct cluster cluster;
    int rc = cluster_read(node->bus.dir, &cluster);

    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return error_set(error, rc,
                         "cannot tell which host of its cluster this bus is (%s/cluster): %s",
                         node->bus.path,
                         rc == -EPROTO ? "written by another version of tramd" : strerror(-rc));
    node->cluster = true;
    node->host = cluster.host;
    return 0;
}

static int no_daemon(const tram_node *node, struct tram_error *error) {
    char text[TRAM_ID_TEXT];

    return error_set(error, -EAGAIN,
                     "node %s may be placed on another host of the cluster, and no tramd runs for "
                     "the bus %s to ask: start it",
                     tram_id_format(node->id, text), node->bus.path);
}

static bool daemon_runs(int claims) {
    OWNS_FD int lock = sys_lock_look(claims, "lock");

    return lock >= 0 && sys_lock_held(lock, 0) == 1;
}

/* A FIFO of our own, open before it can be found: one that nobody has open is taken away, as that
 * of a process that died. */
static int make_claim(const tram_node *node, int claims, const char *name) {
    char hidden[TRAM_ID_TEXT + 1];
    OWNS_FD int fd = -1;
    int rc;

    (void) snprintf(hidden, sizeof(hidden), ".%s", name);
    rc = sys_unlink(claims, hidden);
    if (rc == 0 || rc == -ENOENT)
        rc = sys_bell_make(claims, hidden, node->mode);
    if (rc == 0)
        rc = fd = sys_bell_open(claims, hidden);
    if (rc >= 0)
        rc = sys_rename(claims, hidden, name);
    return rc < 0 ? rc : take_fd(&fd);
}

/* Our claim is there, and the daemon rung. */
static int put_claim(const tram_node *node, int claims, const char *name, int *ret_fd) {
    OWNS_FD int bell = -1;
    OWNS_FD int fd = make_claim(node, claims, name);
    int rc = fd;

    if (rc < 0)
        return rc;
    bell = sys_bell_open(claims, "bell");
    rc = bell < 0 ? bell : sys_bell_ring(bell);
    if (rc == 0)
        *ret_fd = take_fd(&fd);
    return rc;
}

/* The daemon took it for that of one who died before us, or died before it answered. */
static bool is_gone(int fd) {
    struct sys_stat st;

    return sys_stat_fd(fd, &st) == 0 && st.links == 0;
}

/* Until there is an answer, the daemon ends, or nobody has patience any more. */
static int await_answer(tram_node *node, int claims, int *fd, struct claim_answer *ret_answer,
                        struct tram_error *error) {
    uint64_t deadline = sys_now() + CLAIM_WAIT;
    char text[TRAM_ID_TEXT];

    for (;;) {
        uint64_t now = sys_now();
        uint64_t look = now + SYS_SECOND / 5;
        int rc = sys_wait_readable(*fd, look < deadline ? look : deadline);

        if (rc > 0)
            rc = sys_bell_get(*fd, ret_answer, sizeof(*ret_answer));
        if (rc == 0 && is_gone(*fd)) {
            cleanup_fd(fd);
            *fd = -1;
            rc = put_claim(node, claims, tram_id_format(node->id, text), fd);
        }
        if (rc < 0 && rc != -EAGAIN)
            return error_set(error, rc, "cannot wait for tramd: %s", strerror(-rc));
        if (rc == (int) sizeof(*ret_answer) && ret_answer->magic == CLAIM_MAGIC &&
            ret_answer->id == node->id)
            return 0;
        if (!daemon_runs(claims))
            return no_daemon(node, error);
        if (now >= deadline)
            return error_set(error, -EAGAIN,
                             "tramd did not say within %u s whether node %s may be opened here; "
                             "`tram links` says whom it waits for",
                             (unsigned) (CLAIM_WAIT / SYS_SECOND),
                             tram_id_format(node->id, text));
    }
}

/* What the daemon says, with its words. */
static int refused(const struct claim_answer *answer, tram_id id, struct tram_error *error) {
    char text[sizeof(answer->text)];
    int code = answer->code < 0 && answer->code > -4096 ? answer->code : -EBADMSG;

    memcpy(text, answer->text, sizeof(text));
    text[sizeof(text) - 1] = '\0';
    (void) error_set(error, code, "%s", text);
    error->pid = (int32_t) answer->pid;
    error->from = id;
    return code;
}

static int claim(tram_node *node, struct tram_error *error) {
    OWNS_FD int claims = sys_dir_open(node->bus.dir, "claims");
    OWNS_FD int fd = -1;
    struct claim_answer answer;
    char name[TRAM_ID_TEXT];
    int rc;

    (void) tram_id_format(node->id, name);
    if (claims == -ENOENT || (claims >= 0 && !daemon_runs(claims)))
        return no_daemon(node, error);
    rc = claims < 0 ? claims : put_claim(node, claims, name, &fd);
    if (rc < 0)
        return error_set(error, rc, "cannot ask tramd for node %s: %s", name, strerror(-rc));
    rc = await_answer(node, claims, &fd, &answer, error);
    if (rc < 0) {
        (void) sys_unlink(claims, name); /* nobody waits for it */
        return rc;
    }
    return answer.code != 0 ? refused(&answer, node->id, error) : 0;
}

int place_ask(tram_node *node, struct tram_error *error) {
    struct place place = {0};
    char text[TRAM_ID_TEXT];

    for (int tries = 0; tries < 3; tries++) {
        int rc = place_read(node->dir, node->id, &place);

        if (rc == 0 && place.state == PLACE_HERE) {
            node->epoch = place.epoch;
            return 0;
        }
        if (rc < 0 && rc != -ENOENT && rc != -EBADMSG)
            return error_set(error, rc, "cannot tell where node %s is placed: %s",
                             tram_id_format(node->id, text),
                             rc == -EPROTO ? "written by another version of tramd"
                                           : strerror(-rc));
        rc = claim(node, error); /* granted, `place` says so */
        if (rc < 0)
            return rc;
    }
    return error_set(error, -EAGAIN, "node %s is moved to other hosts again and again",
                     tram_id_format(node->id, text));
}

/* ---- ephemeral nodes-------------------------------------------------------------------------- */

/* Each opener counts on, so that an ID comes again only after all others, and in another round:
 * what other hosts still have of a node that ended is not taken for the next one's. A bus that is
 * made anew begins anywhere, so it is hardly in a round that another host has heard of. */
uint64_t place_count(const tram_node *node, uint32_t any) {
    OWNS_FD int claims = sys_dir_open(node->bus.dir, "claims");
    OWNS_FD int fd = claims < 0 ? claims : sys_file_open_or_make(claims, "count", node->mode);
    uint64_t first = any;
    struct sys_stat st;
    struct sys_map map;
    int rc = fd < 0 ? fd : sys_stat_fd(fd, &st);

    if (rc == 0 && st.size < sizeof(first))
        rc = sys_file_write(fd, &first, sizeof(first), 0);
    if (rc == 0)
        rc = sys_map(fd, sizeof(first), 0, SYS_MAP_WRITE | SYS_MAP_GUARD, &map);
    if (rc < 0)
        return any; /* mkdir(2) decides who has it */
    first = __atomic_fetch_add((uint64_t *) map.base, 1, __ATOMIC_RELAXED);
    sys_unmap(&map);
    return first;
}

/* ---- being fenced ---------------------------------------------------------------------------- */

bool place_lost(tram_node *node) {
    struct place place;

    if (node->fenced || node->standing || node->ephemeral || node->dir < 0)
        return node->fenced;
    if (place_read(node->dir, node->id, &place) < 0)
        return false;
    node->cluster = true; /* it may have become one after this node was opened */
    if (place.state != PLACE_AWAY || place.epoch < node->epoch)
        return false;
    node->fenced = true;
    node->lost = "the node was placed on another host of the cluster";
    node->bad = true;
    node->quick = NULL;
    node->last_to = UINT64_MAX;
    (void) place_fenced(node); /* the text, for calls that can't enter to say it */
    /* Nobody enters any more. Who is inside, this thread, leaves by a slot that means nothing. */
    bias_retire(&node->entry);
    node->entry.slot = 0;
    return true;
}

int place_fenced(tram_node *node) {
    char text[TRAM_ID_TEXT];

    return error_set(&node->error, -ESTALE,
                     "node %s was placed on another host of the cluster: close it",
                     tram_id_format(node->id, text));
}
