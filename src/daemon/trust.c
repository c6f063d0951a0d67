/* SPDX-License-Identifier: MIT
 *
 * The keys of this host, and whom they let in: read at the start and on SIGHUP; looked at on each
 * beat, so that who was revoked, or whose certificate ended, goes; and the list of the revoked,
 * which each host tells the others. When a link comes up both say the number of theirs, and who has
 * a newer one sends it; who gets one sends it on.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "daemon/hosts.h"
#include "daemon/log.h"
#include "sys/clock.h"
#include "wire/link.h"

#define DAY  INT64_C(86400)
#define SOON (30 * DAY)

/* ---- the keys -------------------------------------------------------------------------------- */

static void warn(struct hosts *hosts) {
    const struct transport_peer *self = security_self(hosts->security);
    int64_t left = self->ends - time(NULL);

    hosts->warned = hosts_now(hosts);
    if (left < SOON)
        log_line(left < 0 ? LEVEL_ERROR : LEVEL_WARNING,
                 "keys: the certificate of this host %s %" PRId64 " days: tram keys renew %s",
                 left < 0 ? "ended before" : "ends in", (left < 0 ? -left : left) / DAY,
                 self->name);
}

static int check_self(struct hosts *hosts) {
    const struct transport_peer *self = security_self(hosts->security);

    if (self->role == TRANSPORT_HOST && strcmp(self->name, hosts->identity.host) == 0 &&
        strcmp(self->cluster, hosts->identity.cluster) == 0)
        return 0;
    log_line(LEVEL_ERROR, "keys: they are of %s %s of cluster %s, the config says host %s of %s",
             self->role == TRANSPORT_HOST ? "host" : "program", self->name, self->cluster,
             hosts->identity.host, hosts->identity.cluster);
    return -EKEYREJECTED;
}

static int set(char *into, size_t room, const char *text, const char *what, struct wrong *wrong) {
    if (text && snprintf(into, room, "%s", text) >= (int) room)
        return wrong_set(wrong, -EINVAL, "--%s is too long", what);
    return 0;
}

int trust_join(const struct daemon_options *options, struct settings *settings,
               struct wrong *wrong) {
    struct security_paths paths = { .bundle = options->keys };
    const struct transport_peer *self;
    struct security *security;
    int rc;

    if (!options->keys && !options->listen && !options->host_server)
        return 0;
    wrong->line = 0;
    rc = set(settings->keys, sizeof(settings->keys), options->keys, "keys", wrong);
    if (rc == 0)
        rc = set(settings->listen, sizeof(settings->listen), options->listen, "listen", wrong);
    if (rc == 0)
        rc = set(settings->host_server, sizeof(settings->host_server), options->host_server,
                 "host-server", wrong);
    if (rc == 0 && options->keys)
        rc = security_new(&paths, &security, wrong);
    if (rc < 0)
        return rc;
    if (options->keys) {
        self = security_self(security);
        (void) snprintf(settings->cluster, sizeof(settings->cluster), "%s", self->cluster);
        (void) snprintf(settings->host, sizeof(settings->host), "%s", self->name);
        (void) security_unref(security);
    }
    return settings_check(settings, wrong);
}

static uint64_t number_of(const struct hosts *hosts) {
    uint64_t number;
    size_t size;

    (void) security_revoked(hosts->security, &size, &number);
    return number;
}

int trust_start(struct hosts *hosts) {
    const struct settings *settings = hosts_settings(hosts);
    struct security_paths paths = {
        .bundle = settings->keys,
        .ca = settings->tls_ca,
        .certificate = settings->tls_certificate,
        .key = settings->tls_key,
        .revoked = *settings->tls_revoked ? settings->tls_revoked : NULL,
    };
    struct wrong wrong = { 0 };
    int rc;

    if (!settings_have_keys(settings))
        return 0;
    rc = security_new(&paths, &hosts->security, &wrong);
    if (rc < 0) {
        log_line(LEVEL_ERROR, "keys: %s", wrong.text);
        return rc;
    }
    warn(hosts);
    if (*settings->host_server && strcmp(settings->host_server, "here") != 0 &&
        !strchr(settings->host_server, '@'))
        log_line(LEVEL_WARNING, "host-server: without the name of its host, as NAME@%.60s, any "
                 "host of the cluster could pose as it", settings->host_server);
    return check_self(hosts);
}

/* ---- who is turned away ---------------------------------------------------------------------- */

/* A line each second, and TURNED_LINES at once: a flood doesn't fill the log. */
#define TURNED_LINES 20

void trust_turned_away(struct hosts *hosts, const char *why) {
    int64_t now = hosts_now(hosts);

    if (hosts->turned_until < now)
        hosts->turned_until = now;
    if (hosts->turned_until - now > (int64_t) (TURNED_LINES * SYS_SECOND)) {
        hosts->turned_silent++;
        return;
    }
    hosts->turned_until += (int64_t) SYS_SECOND;
    if (hosts->turned_silent > 0)
        log_line(LEVEL_INFO, "turned away: %s; and %" PRIu64 " others before", why,
                 hosts->turned_silent);
    else
        log_line(LEVEL_INFO, "turned away: %s", why);
    hosts->turned_silent = 0;
}

const char *trust_bare(const char *address, const char *why) {
    size_t size = strlen(address);

    return strncmp(why, address, size) == 0 && strncmp(why + size, ": ", 2) == 0 ? why + size + 2
                                                                                 : why;
}

char *trust_shown(char *text) {
    for (char *at = text; *at; at++)
        if ((unsigned char) *at < 0x20 || *at == 0x7f)
            *at = '?';
    return text;
}

/* ---- the revoked ----------------------------------------------------------------------------- */

/* Say the number of ours, or all of it. */
static void tell(struct host *host, bool all) {
    Tram__Hosts__Revoked revoked = HOSTS_NEW(Revoked, revoked);
    hosts_frame frame = HOSTS_FRAME(REVOKED, revoked, &revoked);
    size_t size = 0;
    const void *list = security_revoked(host->hosts->security, &size, &revoked.number);
    int rc;

    if (all)
        revoked.list = (ProtobufCBinaryData){ size, (void *) (uintptr_t) list }; /* is read only */
    rc = peer_say(host, &frame);
    if (rc < 0 && rc != -ENOTCONN)
        log_line(LEVEL_ERROR, "host %s: the list of the revoked does not reach it: %s", host->name,
                 strerror(-rc));
}

/* Who is refused now goes; and the others hear of it. */
static void spread(struct hosts *hosts, const struct host *but) {
    log_line(LEVEL_INFO, "keys: list %" PRIu64 " of the revoked counts now", number_of(hosts));
    trust_look(hosts);
    for (struct host *host = hosts->list; host; host = host->next)
        if (host != but && peer_is_up(host))
            tell(host, true);
}

void trust_up(struct host *host) {
    if (host->hosts->security)
        tell(host, false);
}

int trust_take(struct host *host, const Tram__Hosts__Revoked *revoked) {
    struct hosts *hosts = host->hosts;
    struct wrong wrong = { 0 };
    int rc;

    if (!hosts->security)
        return 0; /* plain TCP: nothing can be checked */
    if (revoked->list.len == 0) {
        if (revoked->number < number_of(hosts))
            tell(host, true);
        return 0;
    }
    rc = security_revoked_take(hosts->security, revoked->list.data, revoked->list.len, &wrong);
    if (rc < 0) {
        log_line(LEVEL_WARNING, "host %s: %s", host->name, wrong.text);
        return 0; /* it may have been made to believe it */
    }
    if (rc == 0)
        return 0;
    if (*wrong.text)
        log_line(LEVEL_ERROR, "keys: %s; it counts, and is forgotten when this tramd ends",
                 wrong.text);
    spread(hosts, host);
    return 0;
}

/* ---- time ------------------------------------------------------------------------------------ */

void trust_reload(struct hosts *hosts) {
    struct wrong wrong = { 0 };
    uint64_t before;

    if (!hosts->security)
        return;
    before = number_of(hosts);
    if (security_reload(hosts->security, &wrong) < 0) {
        log_line(LEVEL_ERROR, "keys: %s; what was read before still holds", wrong.text);
        return;
    }
    (void) check_self(hosts); /* said; others will refuse what does not fit */
    warn(hosts);
    if (number_of(hosts) != before)
        spread(hosts, NULL);
}

void trust_look(struct hosts *hosts) {
    int64_t seconds = time(NULL);

    if (!hosts->security)
        return;
    peers_look(hosts, seconds);
    host_server_look(hosts, seconds);
}

int64_t trust_time(struct hosts *hosts, int64_t now) {
    if (!hosts->security)
        return INT64_MAX;
    if (now >= hosts->look) {
        trust_look(hosts);
        hosts->look = now + (int64_t) hosts_settings(hosts)->beat_ns;
    }
    if (now - hosts->warned > (int64_t) (DAY * SYS_SECOND))
        warn(hosts);
    return hosts->look;
}
