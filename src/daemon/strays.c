/* SPDX-License-Identifier: MIT
 *
 * Stand-ins for ephemeral nodes of other hosts. Such a node has a directory here from the first
 * message of it, or to it, until it is over, and that only its host's daemon knows: it is asked,
 * once on each link, and tells (Look and Life, as in looks.c). Without the link nobody knows, and
 * all stays.
 *
 * What is left of one that is over goes when all that it sent was received: its host has named all
 * origins that it has, so a mirror without one gets nothing more; drained, it is removed, and what
 * was noted of it with it, for none of these streams comes again. Then its directory goes, and
 * what was sent to it.
 *
 * Its ID comes round again, after all others of its host: perhaps while the link is down. So
 * `place` in its directory says which of those with that ID it is, by the round (`opens` of its
 * door over there), which OPEN and Life say. If another one lives, what was sent to the one before
 * goes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "daemon/hosts.h"
#include "daemon/log.h"
#include "daemon/stands_inner.h"
#include "node/custody.h"
#include "sys/cleanup.h"

#define AGAIN INT64_C(1000000000)

static void wake(struct hosts *hosts, int64_t at) {
    if (at >= hosts->strays_due)
        return;
    hosts->strays_due = at;
    hosts_wake(hosts, at);
}

void strays_add(struct standin *standin) {
    struct hosts *hosts = standin->hosts;
    OWNS_FD int dir = files_node_dir(&hosts->daemon->bus, standin->id, false);
    struct place place;

    standin->epoch = dir >= 0 && place_read(dir, standin->id, &place) == 0 ? place.epoch : 0;
    wake(hosts, hosts_now(hosts) + AGAIN / 10);
}

void strays_up(struct host *host) {
    wake(host->hosts, hosts_now(host->hosts));
}

/* The host that a stray is of; NULL: it is none. */
static struct host *host_of(const struct standin *standin) {
    if (!is_ephemeral(standin->id) || standin->host != hosts_number_of(standin->id) ||
        !stand_is_held(standin->stand))
        return NULL;
    return host_by_number(standin->hosts, standin->host);
}

bool strays_has(struct hosts *hosts, tram_id id) {
    const struct standin *standin = standin_find(hosts, id);

    return standin && host_of(standin);
}

/* Into the file of its directory: what is sent there is for this one. */
static int note(struct standin *standin, uint64_t number) {
    struct hosts *hosts = standin->hosts;
    struct place place = { .id = standin->id, .state = PLACE_AWAY, .host = standin->host,
                           .epoch = number };
    char text[TRAM_ID_TEXT];
    int rc;

    (void) snprintf(place.name, sizeof(place.name), "%s", host_name(hosts, standin->host));
    rc = place_write(&hosts->daemon->bus, &place);
    if (rc < 0)
        log_line(LEVEL_ERROR, "cannot write which of its nodes %s is: %s",
                 tram_id_format(standin->id, text), strerror(-rc));
    else
        standin->epoch = number;
    return rc;
}

bool strays_is(struct standin *standin, uint64_t number) {
    struct host *host = host_of(standin);

    if (!host || number == 0 || number == standin->epoch)
        return true;
    if (standin->epoch == 0)
        return note(standin, number) == 0;
    standin->stale = true;
    strays_up(host); /* not now: a link asks */
    return false;
}

void strays_life(struct host *host, tram_id id, uint64_t number) {
    struct standin *standin = standin_find(host->hosts, id);

    if (!standin || host_of(standin) != host)
        return;
    standin->asked = true;
    standin->over = number == 0;
    if (standin->over)
        strays_up(host);
    else
        (void) strays_is(standin, number);
}

void strays_down(struct host *host) {
    for (struct standin *one = host->hosts->all_standins; one; one = one->all_next)
        if (one->host == host->number)
            one->asked = one->over = false;
}

/* Is it over, as far as can be told at this moment? */
static bool is_over(const struct standin *standin) {
    const struct host *host = standin->over ? host_of(standin) : NULL;

    return host && host->named && peer_is_up(host);
}

static int each_mirror(void *context, const struct stand_mirror *mirror) {
    struct standin *standin = standin_find(context, mirror->from);
    tram_id to = mirror->to;
    uint64_t epoch;
    int rc;

    if (!standin || !is_over(standin) || standin->mirrors ||
        placing_of(context, to, &epoch) != ((struct hosts *) context)->self.host)
        return 0;
    rc = mirror_remove(standin, to);
    standin->lingers |= rc < 0 && rc != -ENOENT;
    return 0;
}

static void bury(struct standin *standin) {
    struct hosts *hosts = standin->hosts;
    struct host *host = host_of(standin);
    tram_id id = standin->id;

    (void) standin_free(standin);
    (void) custody_remove_far(&hosts->daemon->bus, id); /* or the next daemon finds it */
    (void) looks_ask(host, id, true);
}

/* What was sent to the one before goes, and its senders see it; what that one sent stays. */
static void renew(struct standin *standin) {
    struct hosts *hosts = standin->hosts;
    char text[TRAM_ID_TEXT];
    int rc;

    for (const struct mirror *mirror = standin->mirrors; mirror; mirror = mirror->next)
        if (mirror->in && mirror->out)
            return; /* its link will say that it is over */
    (void) stands_let_go(hosts, standin->id);
    rc = custody_remove_far(&hosts->daemon->bus, standin->id);
    if (rc < 0 && rc != -ENOENT)
        return;
    standin->stale = standin->asked = standin->over = false;
    standin->passing = true; /* who sends, or goes on with its OPEN, takes it anew */
    standins_passed(hosts);
    log_line(LEVEL_INFO, "node %s is another one by now: what waited for the last one is gone",
             tram_id_format(standin->id, text));
}

int64_t strays_time(struct hosts *hosts, int64_t now) {
    struct standin *next;
    bool over = false, more = false;

    if (hosts->strays_due > now)
        return hosts->strays_due;
    for (struct standin *one = hosts->all_standins; one; one = one->all_next) {
        struct host *host;

        if (one->stale)
            renew(one);
        more |= one->stale;
        host = host_of(one);
        if (host && !one->asked && peer_is_up(host)) {
            one->asked = looks_ask(host, one->id, false) == 0;
            more |= !one->asked;
        }
        one->lingers = false;
        over |= is_over(one) && !one->mirrors;
    }
    if (over && stand_mirrors(&hosts->daemon->bus, 0, each_mirror, hosts) < 0)
        over = false; /* the machine's trouble of this moment */
    for (struct standin *one = hosts->all_standins; one; one = next) {
        next = one->all_next;
        if (!is_over(one))
            continue;
        if (over && !one->mirrors && !one->lingers)
            bury(one);
        else
            more |= !one->mirrors; /* else the end of the last one says so */
    }
    hosts->strays_due = more ? now + AGAIN : INT64_MAX;
    return hosts->strays_due;
}
