/* SPDX-License-Identifier: MIT
 *
 * Lives of nodes of other hosts. Of a node on this host the kernel says when it ends; of one on
 * another host its daemon has to say it. A process looks at such a node (Look in control.proto);
 * the daemon here asks the one there (Look in hosts.proto), which tells each change (Life).
 *
 *   look    that a process here has at a node there
 *   shown   a node here that a host looks at
 *
 * A node ends at once when its host says so. When the host is not heard of for as long as the
 * heartbeat allows, it is `lost`: nobody knows; it may come back in the same life. A restarted
 * daemon knows nothing and asks again, and the process compares.
 */
#include <errno.h>
#include <stdlib.h>

#include "daemon/hosts.h"
#include "daemon/log.h"
#include "daemon/stands_inner.h"
#include "node/files.h"
#include "sys/cleanup.h"

#define LOOKS_MAX 65536u             /* of a connection; nodes that one host looks at */
#define AGAIN INT64_C(100000000)     /* what could not be said, or is not known yet */
#define SOON INT64_C(20000000)       /* its place is being asked for */
#define PLACE_AGAIN INT64_C(1000000000) /* is it placed elsewhere by now? */

struct look {
    struct look *next;               /* of the connection */
    uint64_t cookie;
    tram_id node;
    uint32_t host;                   /* by number; 0: not known yet */
    uint64_t life;                   /* as told to the process */
    bool told, lost;
    int64_t due;                     /* INT64_MAX: nothing is */
};

struct shown {
    struct shown *next;              /* of the host */
    struct host *host;
    struct worker_peer peer;
    uint64_t life;                   /* as said */
    bool said;                       /* false: it has to be, soon */
};

static int64_t bound(const struct hosts *hosts) {
    const struct settings *settings = hosts_settings(hosts);

    return (int64_t) (settings->beat_ns * settings->misses);
}

static uint32_t host_of(struct hosts *hosts, tram_id node) {
    uint64_t epoch;

    return is_ephemeral(node) ? hosts_number_of(node) : placing_of(hosts, node, &epoch);
}

/* ---- for processes here ---------------------------------------------------------------------- */

static void tell(struct conn *conn, struct look *look, uint64_t life, bool lost) {
    Tram__Control__Life words = CONTROL_NEW(Life, life);
    control_frame frame = CONTROL_NEW(Frame, frame);

    if (look->told && look->life == life && look->lost == lost)
        return;
    look->told = true;
    look->life = life;
    look->lost = lost;
    words.cookie = look->cookie;
    words.life = life;
    words.lost = lost;
    if (conn->daemon->hosts && look->host && look->host != conn->daemon->hosts->self.host)
        words.host = (char *) (uintptr_t) host_name(conn->daemon->hosts, look->host);
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_LIFE;
    frame.life = &words;
    conn_send(conn, &frame);
}

static void wake(struct hosts *hosts, struct look *look, int64_t after) {
    look->due = hosts_now(hosts) + after;
    hosts_wake(hosts, look->due);
}

static bool is_seen(struct daemon *daemon, tram_id node);

int looks_ask(struct host *host, tram_id node, bool stop) {
    Tram__Hosts__Look words = HOSTS_NEW(Look, look);
    hosts_frame frame = HOSTS_FRAME(LOOK, look, &words);

    if (stop && (is_seen(host->hosts->daemon, node) || strays_has(host->hosts, node)))
        return 0;
    words.id = node;
    words.stop = stop;
    return peer_say(host, &frame);
}

/* Nobody has asked yet where it is placed: the directory tells stands.c. */
static void find(struct hosts *hosts, tram_id node) {
    struct standin *standin;

    if (is_ephemeral(node) || !hosts->seat || standin_get(hosts, node, &standin) < 0)
        return;
    standin->passing = false;
    if (!standin->watched)
        standin->watched = hosts->maker->watch(hosts->seat, node) == 0;
}

/* Ask its host; or see to it that it is asked later. */
static void begin(struct conn *conn, struct look *look) {
    struct hosts *hosts = conn->daemon->hosts;
    struct host *host;

    look->host = host_of(hosts, look->node);
    look->due = INT64_MAX;
    if (look->host == hosts->self.host) { /* the kernel tells of it */
        tell(conn, look, 0, false);
        return;
    }
    host = look->host ? host_by_number(hosts, look->host) : NULL;
    if (!look->host) {
        find(hosts, look->node);
        wake(hosts, look, host_of(hosts, look->node) ? 0 : SOON);
    } else if (!host) {
        wake(hosts, look, look->told ? AGAIN : bound(hosts));
    }
    if (!host)
        return;
    if (!peer_is_up(host))
        wake(hosts, look, bound(hosts)); /* looks_up(), before that */
    else if (looks_ask(host, look->node, false) < 0 || !look->told)
        wake(hosts, look, AGAIN); /* a connection may end with the question on its way */
}

void looks_add(struct conn *conn, uint64_t cookie, tram_id node) {
    struct look *look = conn->looks_count < LOOKS_MAX ? calloc(1, sizeof(*look)) : NULL;

    if (!look) {
        conn_doom(conn, -ENOBUFS, "it looks at more nodes than there is room for");
        return;
    }
    look->cookie = cookie;
    look->node = node;
    look->due = INT64_MAX;
    look->next = conn->looks;
    conn->looks = look;
    conn->looks_count++;
    if (conn->daemon->hosts)
        begin(conn, look);
    else
        tell(conn, look, 0, false);
}

/* Does anybody here look at it? */
static bool is_seen(struct daemon *daemon, tram_id node) {
    for (struct conn *conn = daemon->conns; conn; conn = conn->next)
        for (struct look *look = conn->looks; look; look = look->next)
            if (look->node == node)
                return true;
    return false;
}

static void drop(struct conn *conn, struct look **link) {
    struct hosts *hosts = conn->daemon->hosts;
    struct look *look = *link;
    struct host *host = hosts && look->host ? host_by_number(hosts, look->host) : NULL;

    *link = look->next;
    conn->looks_count--;
    if (host)
        (void) looks_ask(host, look->node, true); /* if it can't be said: it goes with the link */
    free(look);
}

void looks_remove(struct conn *conn, uint64_t cookie) {
    for (struct look **link = &conn->looks; *link; link = &(*link)->next)
        if ((*link)->cookie == cookie) {
            drop(conn, link);
            return;
        }
}

void looks_end(struct conn *conn) {
    while (conn->looks)
        drop(conn, &conn->looks);
}

/* What is due: its host is lost, was not asked, or is another one by now. */
static void look_again(struct conn *conn, struct look *look) {
    struct hosts *hosts = conn->daemon->hosts;
    struct host *host = look->host ? host_by_number(hosts, look->host) : NULL;

    if (host && !peer_is_up(host) && host_of(hosts, look->node) == look->host) {
        look->due = INT64_MAX;
        tell(conn, look, 0, true);
        return;
    }
    if (!host && look->host)
        tell(conn, look, 0, true); /* it was forgotten, or is not known any more */
    begin(conn, look);
}

/* ---- for other hosts ------------------------------------------------------------------------- */

static int say(struct host *host, tram_id node, uint64_t life) {
    Tram__Hosts__Life words = HOSTS_NEW(Life, life);
    hosts_frame frame = HOSTS_FRAME(LIFE, life, &words);

    words.id = node;
    words.life = life;
    return peer_say(host, &frame);
}

static void show(struct shown *shown) {
    struct hosts *hosts = shown->host->hosts;
    uint64_t life;
    int rc = life_look(hosts->daemon, shown->peer.id, &life);

    if (rc == 0 && shown->said && shown->life == life)
        return;
    if (rc == 0)
        rc = say(shown->host, shown->peer.id, life);
    shown->said = rc == 0;
    shown->life = life;
    if (rc < 0)
        hosts_wake(hosts, hosts_now(hosts) + AGAIN);
}

static void on_state(struct worker_peer *peer, bool up, int32_t pid) {
    (void) up; /* it may have changed again: the files know */
    (void) pid;
    show((struct shown *) ((char *) peer - offsetof(struct shown, peer)));
}

static void shown_remove(struct shown **link) {
    struct shown *shown = *link;

    *link = shown->next;
    shown->host->shown_count--;
    worker_peer_remove(shown->host->hosts->daemon->worker, &shown->peer);
    free(shown);
}

/* Of a node that isn't there, as one that has just ended, nothing will be told: -ENOENT; nor is it
 * made because another host names it. */
static int shown_add(struct host *host, tram_id node, struct shown **ret_shown) {
    struct daemon *daemon = host->hosts->daemon;
    OWNS_FD int dir = files_node_dir(&daemon->bus, node, false);
    struct shown *shown;
    int rc;

    if (dir < 0)
        return dir;
    if (host->shown_count >= LOOKS_MAX)
        return -ENOBUFS;
    shown = calloc(1, sizeof(*shown));
    if (!shown)
        return -ENOMEM;
    shown->host = host;
    shown->peer.on_state = on_state;
    rc = worker_peer_add(daemon->worker, &shown->peer, node);
    if (rc < 0) {
        free(shown);
        return rc;
    }
    shown->next = host->shown;
    host->shown = shown;
    host->shown_count++;
    *ret_shown = shown;
    return 0;
}

static void take_look(struct host *host, const Tram__Hosts__Look *look) {
    struct shown **link = &host->shown;
    struct shown *shown;
    int rc = 0;

    while (*link && (*link)->peer.id != look->id)
        link = &(*link)->next;
    shown = *link;
    if (look->stop) {
        if (shown)
            shown_remove(link);
        return;
    }
    if (!shown)
        rc = shown_add(host, look->id, &shown);
    if (rc == -ENOENT)
        (void) say(host, look->id, 0);
    if (rc < 0)
        return; /* not answered: for its clients this host is lost */
    shown->said = false;
    show(shown);
}

int looks_take(struct host *host, const hosts_frame *frame) {
    struct daemon *daemon = host->hosts->daemon;

    if (frame->kind_case == TRAM__HOSTS__FRAME__KIND_LOOK) {
        take_look(host, frame->look);
        return 0;
    }
    if (is_ephemeral(frame->life->id) && host_of(host->hosts, frame->life->id) == host->number) {
        /* Who sends to it must find its directory, which only its stand-in makes. */
        if (frame->life->life != 0 && is_seen(daemon, frame->life->id))
            stands_place(host->hosts, frame->life->id, host->number, 0);
        strays_life(host, frame->life->id, frame->life->life);
    }
    for (struct conn *conn = daemon->conns; conn; conn = conn->next)
        for (struct look *look = conn->looks; look; look = look->next) {
            if (look->node != frame->life->id || look->host != host->number)
                continue;
            tell(conn, look, frame->life->life, false);
            look->due = INT64_MAX;
            if (frame->life->life == 0 && !is_ephemeral(look->node))
                wake(host->hosts, look, PLACE_AGAIN);
        }
    return 0;
}

/* ---- links ----------------------------------------------------------------------------------- */

void looks_up(struct host *host) {
    for (struct conn *conn = host->hosts->daemon->conns; conn; conn = conn->next)
        for (struct look *look = conn->looks; look; look = look->next)
            if (look->host == host->number)
                begin(conn, look);
}

void looks_down(struct host *host) {
    while (host->shown)
        shown_remove(&host->shown);
    for (struct conn *conn = host->hosts->daemon->conns; conn; conn = conn->next)
        for (struct look *look = conn->looks; look; look = look->next)
            if (look->host == host->number)
                wake(host->hosts, look, bound(host->hosts));
}

int64_t looks_time(struct hosts *hosts, int64_t now) {
    int64_t next = INT64_MAX;

    for (struct conn *conn = hosts->daemon->conns; conn; conn = conn->next)
        for (struct look *look = conn->looks; look; look = look->next) {
            if (look->due <= now)
                look_again(conn, look);
            if (look->due < next)
                next = look->due;
        }
    for (struct host *host = hosts->list; host; host = host->next)
        for (struct shown *shown = host->shown; shown; shown = shown->next) {
            if (!shown->said && peer_is_up(host))
                show(shown);
            if (!shown->said && now + AGAIN < next)
                next = now + AGAIN;
        }
    return next;
}
