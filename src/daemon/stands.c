/* SPDX-License-Identifier: MIT
 *
 * Which nodes have a stand-in: each that has a directory on this bus, is placed on another host,
 * and is not open here. A directory of which nobody knows where its node is placed is asked for.
 */
#include "daemon/stands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/stands_inner.h"
#include "node/mirror.h"
#include "sys/cleanup.h"
#include "sys/event.h"
#include "sys/file.h"

#define AGAIN INT64_C(100000000) /* until a node that could not be taken is tried again */
#define PUMPS_MAX 256            /* of one node in a turn */
#define TURN_MAX 64              /* looked at in a turn of who spins */
#define LOOKS INT64_C(5000000)   /* between two looks at all that may have something to do */
#define PASS INT64_C(1000000000) /* one that a host named, and names no more, is kept so long */

/* ---- the table ------------------------------------------------------------------------------- */

static struct standin **bucket_of(struct hosts *hosts, tram_id id) {
    return &hosts->standins[(id * 2654435761u) >> 20 & (STANDS_BUCKETS - 1)];
}

struct standin *standin_find(struct hosts *hosts, tram_id id) {
    struct standin *standin = *bucket_of(hosts, id);

    while (standin && standin->id != id)
        standin = standin->next;
    return standin;
}

void standins_wake(struct hosts *hosts, int64_t due) {
    if (due < hosts->stands_due)
        hosts->stands_due = due;
    hosts_wake(hosts, due);
}

static void work(struct task *task);

int standin_get(struct hosts *hosts, tram_id id, struct standin **ret_standin) {
    struct standin *standin = standin_find(hosts, id);
    int rc;

    if (!standin) {
        standin = calloc(1, sizeof(*standin));
        rc = standin ? stand_new(&hosts->daemon->bus, id, 0, &standin->stand) : -ENOMEM;
        if (rc < 0) {
            free(standin);
            return rc;
        }
        standin->hosts = hosts;
        standin->id = id;
        standin->fd = -1;
        standin->due = INT64_MAX;
        standin->task.fn = work;
        standin->next = *bucket_of(hosts, id);
        *bucket_of(hosts, id) = standin;
        standin->all_next = hosts->all_standins;
        hosts->all_standins = standin;
    }
    *ret_standin = standin;
    return 0;
}

/* ---- its rings ------------------------------------------------------------------------------- */

static struct origin *origin_add(struct standin *standin, struct stand_in *in) {
    struct origin *origin = calloc(1, sizeof(*origin));
    struct stand_in_state state;

    if (!origin)
        return NULL;
    stand_in_state(in, &state);
    origin->standin = standin;
    origin->in = in;
    origin->from = state.from;
    origin->copy = state.copy;
    origin->next = standin->origins;
    standin->origins = origin;
    stand_in_set_user(in, origin);
    return origin;
}

static void origin_free(struct origin *origin, enum link_end end) {
    struct origin **link = &origin->standin->origins;

    origin_close(origin, end);
    while (*link != origin)
        link = &(*link)->next;
    *link = origin->next;
    free(origin);
}

static void take_news(struct standin *standin, const struct stand_news *news) {
    struct origin *origin = news->in ? stand_in_user(news->in) : NULL;
    struct mirror *mirror = news->out ? stand_out_user(news->out) : NULL;
    struct host *host = mirror ? mirror->host : origin ? origin->host : NULL;
    char text[TRAM_ID_TEXT];

    switch (news->what) {
    case STAND_NEW:
        origin = origin_add(standin, news->in);
        if (origin)
            origin_open(origin);
        break;
    case STAND_BROKEN:
        log_line(LEVEL_WARNING, "a channel to node %s is closed: %s",
                 tram_id_format(standin->id, text), news->text);
        __attribute__((fallthrough));
    case STAND_MORE:
        if (origin && !origin->out)
            origin_open(origin); /* its sender is back */
        else if (origin) {
            link_kick(peer_link(host), origin->out);
            peer_flush(host);
        }
        break;
    case STAND_GONE:
        if (origin)
            origin_free(origin, LINK_ENDED);
        break;
    case STAND_FREED:
        if (mirror && mirror->in) {
            link_kick_in(peer_link(host), mirror->in); /* it may be freed then */
            peer_flush(host);
        }
        break;
    case STAND_OPENER: /* it claims the node, and is answered by placing.c */
        break;
    case STAND_TROUBLE:
        log_line(LEVEL_WARNING, "node %s: %s", tram_id_format(standin->id, text), news->text);
        break;
    }
}

static void on_ring(tram_io *io, int fd, uint32_t events, void *arg);

/* The descriptor may be another one now. */
static void watch(struct standin *standin) {
    int fd = stand_fd(standin->stand);

    if (fd == standin->fd && (fd < 0 || standin->io))
        return;
    standin->io = tram_io_free(standin->io);
    standin->fd = fd < 0 ? -1 : fd;
    if (fd >= 0 && tram_io_new(standin->hosts->tasks.worker, fd, TRAM_IO_READ, on_ring, standin,
                               &standin->io) < 0)
        standin->fd = -1; /* by the clock, then */
}

static void pump(struct standin *standin) {
    struct stand_news news = { 0 };
    struct host *host;
    int more = 1;

    for (int i = 0; i < PUMPS_MAX && (more = stand_next(standin->stand, &news)) > 0; i++)
        take_news(standin, &news);
    for (struct origin *origin = standin->origins; standin->ended && origin; origin = origin->next)
        if (origin->out && origin_is_over(origin))
            origin_close(origin, LINK_ENDED);
    standin->ended = false;
    if (more > 0) {
        task_add(&standin->hosts->tasks, &standin->task);
        return;
    }
    standin->due = hosts_due(stand_due(standin->stand, (uint64_t) hosts_now(standin->hosts)));
    if (stand_next(standin->stand, &news) > 0) { /* what that has found */
        take_news(standin, &news);
        task_add(&standin->hosts->tasks, &standin->task);
    }
    watch(standin);
    standins_wake(standin->hosts, standin->due);
    if (!standin->scanned && stand_is_held(standin->stand)) {
        standin->scanned = true;
        host = host_by_number(standin->hosts, standin->host);
        if (host)
            stands_settle(host);
    }
}

static void work(struct task *task) {
    struct standin *standin = (struct standin *) ((char *) task - offsetof(struct standin, task));

    if (stand_is_held(standin->stand))
        pump(standin);
}

void standin_pump(struct standin *standin) {
    task_add(&standin->hosts->tasks, &standin->task);
}

bool stands_turn(struct hosts *hosts) {
    struct standin *standin;
    bool any = false;

    if (!hosts->looked_at)
        hosts->looked_at = hosts->all_standins;
    for (int i = 0; i < TURN_MAX && (standin = hosts->looked_at); i++) {
        hosts->looked_at = standin->all_next;
        if (!stand_is_knocked(standin->stand))
            continue;
        pump(standin);
        any = true;
    }
    return any;
}

static void on_ring(tram_io *io, int fd, uint32_t events, void *arg) {
    struct standin *standin = arg;

    (void) io;
    (void) fd;
    (void) events;
    pump(standin);
}

/* ---- custody --------------------------------------------------------------------------------- */

int standin_take(struct standin *standin, struct tram_error *error) {
    char text[TRAM_ID_TEXT];
    int rc;

    if (stand_is_held(standin->stand))
        return 0;
    rc = stand_take(standin->stand, error);
    standin->retry = rc < 0 ? hosts_now(standin->hosts) + AGAIN : 0;
    if (rc < 0) {
        standins_wake(standin->hosts, standin->retry);
        return rc;
    }
    log_line(LEVEL_DEBUG, "stands in for node %s", tram_id_format(standin->id, text));
    standin->scanned = false;
    standin_pump(standin);
    if (is_ephemeral(standin->id))
        strays_add(standin);
    return 0;
}

static void let_go(struct standin *standin) {
    while (standin->origins)
        origin_free(standin->origins, LINK_MOVED);
    standin->io = tram_io_free(standin->io);
    standin->fd = -1;
    standin->due = INT64_MAX;
    standin->retry = 0;
    task_remove(&standin->hosts->tasks, &standin->task);
    stand_let_go(standin->stand);
}

struct standin *standin_free(struct standin *standin) {
    struct standin **link;

    if (!standin)
        return NULL;
    for (link = bucket_of(standin->hosts, standin->id); *link != standin;)
        link = &(*link)->next;
    *link = standin->next;
    for (link = &standin->hosts->all_standins; *link != standin;)
        link = &(*link)->all_next;
    *link = standin->all_next;
    if (standin->hosts->looked_at == standin)
        standin->hosts->looked_at = standin->all_next;
    while (standin->mirrors)
        mirror_free(standin->mirrors);
    let_go(standin);
    standin->stand = stand_free(standin->stand);
    free(standin);
    return NULL;
}

int stands_let_go(struct hosts *hosts, tram_id id) {
    struct standin *standin = standin_find(hosts, id);

    if (!standin)
        return 0;
    standin->host = 0;
    mirrors_drop(standin, NULL); /* who opens it may write there itself */
    let_go(standin);
    return 0;
}

int stands_hold(struct hosts *hosts, tram_id id, struct stand **ret_stand,
                struct tram_error *error) {
    struct standin *standin;
    int rc = standin_get(hosts, id, &standin);

    if (rc == 0) {
        rc = standin_take(standin, error);
        standin->retry = 0; /* it is not ours to have */
    }
    if (rc < 0)
        return rc;
    *ret_stand = standin->stand;
    return 0;
}

int stands_enter(struct hosts *hosts, tram_id id, struct stand **ret_stand,
                 struct tram_error *error) {
    struct standin *standin;
    int rc = standin_get(hosts, id, &standin);

    if (rc < 0)
        return rc;
    stand_expect(standin->stand, true);
    rc = stands_hold(hosts, id, ret_stand, error);
    stand_expect(standin->stand, false);
    return rc;
}

void stands_refuse(struct hosts *hosts, tram_id id) {
    for (struct standin *sender = hosts->all_standins; sender; sender = sender->all_next)
        mirrors_away(sender, id);
}

/* It sends from another host now: what it sent here makes room for that as soon as all of it was
 * consumed. */
static void end_all(struct hosts *hosts, tram_id id) {
    for (struct standin *to = hosts->all_standins; to; to = to->all_next) {
        struct stand_in *in = to->origins ? stand_in_find(to->stand, id) : NULL;
        struct origin *origin = in ? stand_in_user(in) : NULL;

        if (!origin || !origin->out || !origin_is_over(origin))
            continue;
        to->ended = true;
        standin_pump(to);
    }
}

void stands_place(struct hosts *hosts, tram_id id, uint32_t host, uint64_t epoch) {
    struct standin *standin;
    struct tram_error error;

    if (host == hosts->self.host)
        return;
    stands_refuse(hosts, id);
    end_all(hosts, id);
    if (standin_get(hosts, id, &standin) < 0)
        return; /* looked at again with all others */
    if (!is_ephemeral(id) && !standin->watched && hosts->seat) /* it may go on from there */
        standin->watched = hosts->maker->watch(hosts->seat, id) == 0;
    if (standin->host != host && standin->host > 0)
        for (struct origin *origin = standin->origins; origin; origin = origin->next)
            origin_close(origin, LINK_MOVED);
    if (standin->host != host)
        mirrors_drop(standin, NULL);
    standin->host = host;
    if (!is_ephemeral(id)) /* of these strays.c knows */
        standin->epoch = epoch;
    standin->known = true;
    standin->ask = 0;
    if (host == 0)
        return;
    for (struct mirror *mirror = standin->mirrors; mirror; mirror = standin->following) {
        standin->following = mirror->next;
        if (!mirror->out && mirror->in) /* it waited to know that */
            link_ready(peer_link(mirror->host), mirror->in);
    }
    if (standin_take(standin, &error) == 0)
        for (struct origin *origin = standin->origins; origin; origin = origin->next)
            origin_open(origin);
}

void stands_leave(struct host *host) {
    for (struct standin *one = host->hosts->all_standins; one; one = one->all_next)
        for (struct origin *origin = one->origins; origin; origin = origin->next)
            if (origin->host == host)
                origin_close(origin, LINK_MOVED);
}

void stands_drop(struct host *host) {
    host->drop_at = 0;
    for (struct standin *one = host->hosts->all_standins; one; one = one->all_next)
        mirrors_drop(one, host);
}

/* ---- no longer ------------------------------------------------------------------------------- */

void standins_passed(struct hosts *hosts) {
    if (hosts->stands_sweep > 0)
        return;
    hosts->stands_sweep = hosts_now(hosts) + PASS;
    standins_wake(hosts, hosts->stands_sweep);
}

/* Nothing of that node is here, and nobody here asks for it: it was only the name of a sender, said
 * by another host, which can say any number of them. */
static bool is_over(struct standin *standin) {
    OWNS_FD int dir = -1;

    if (!standin->passing || standin->mirrors || standin->origins || standin->retry > 0 ||
        standin->ask > 0 || stand_is_held(standin->stand))
        return false;
    dir = files_node_dir(&standin->hosts->daemon->bus, standin->id, false);
    return dir == -ENOENT;
}

static void sweep(struct hosts *hosts) {
    struct standin *next;
    unsigned count = 0;

    hosts->stands_sweep = 0;
    for (struct standin *standin = hosts->all_standins; standin; standin = next) {
        next = standin->all_next;
        if (!is_over(standin))
            continue;
        if (standin->watched && hosts->seat)
            hosts->maker->unwatch(hosts->seat, standin->id);
        (void) standin_free(standin);
        count++;
    }
    if (count > 0)
        log_line(LEVEL_DEBUG, "%u senders that nobody knows are forgotten", count);
}

/* ---- which ----------------------------------------------------------------------------------- */

void stands_known(struct hosts *hosts, tram_id id) {
    struct standin *standin = standin_find(hosts, id);

    if (standin)
        standin->known = true;
}

/* Is it open here, though nobody placed it here: from before this bus was part of a cluster? */
static bool is_open(struct hosts *hosts, tram_id id) {
    OWNS_FD int dir = files_node_dir(&hosts->daemon->bus, id, false);

    return dir >= 0 && files_held(dir);
}

/* A node has a directory here. */
static void consider(struct hosts *hosts, tram_id id) {
    uint64_t epoch;
    uint32_t host = placing_of(hosts, id, &epoch);
    struct standin *standin;

    if (host == hosts->self.host || (is_ephemeral(id) && host == 0))
        return;
    if (standin_get(hosts, id, &standin) < 0)
        return;
    standin->passing = false;
    if (!is_ephemeral(id) && !standin->watched && hosts->seat)
        standin->watched = hosts->maker->watch(hosts->seat, id) == 0;
    if (host > 0 && !stand_is_held(standin->stand))
        stands_place(hosts, id, host, epoch);
    if (host == 0 && hosts->seat && is_open(hosts, id))
        placing_adopt(hosts, id);
}

static int each_name(void *context, const char *name, uint64_t inode) {
    tram_id id;

    (void) inode;
    if (tram_id_parse(name, &id) == 0)
        consider(context, id);
    return 0;
}

static void on_name(void *context, const char *name) {
    (void) each_name(context, name, 0);
}

static void on_dir(tram_io *io, int fd, uint32_t events, void *arg) {
    struct hosts *hosts = arg;

    (void) io;
    (void) events;
    if (sys_dir_news(fd, on_name, hosts) > 0)
        (void) sys_dir_each(hosts->daemon->bus.dir, each_name, hosts);
}

void stands_look(struct hosts *hosts) {
    int rc = sys_dir_each(hosts->daemon->bus.dir, each_name, hosts);

    if (rc < 0)
        log_line(LEVEL_ERROR, "cannot read %s: %s", hosts->daemon->bus.path, strerror(-rc));
}

uint64_t stands_waiting(struct hosts *hosts, uint32_t host) {
    uint64_t count = 0;

    for (struct standin *standin = hosts->all_standins; standin; standin = standin->all_next) {
        for (struct origin *origin = standin->origins; origin && standin->host == host;
             origin = origin->next) {
            struct stand_in_state state;

            stand_in_state(origin->in, &state);
            count += state.accepted - state.consumed;
        }
    }
    return count;
}

void stands_count(struct hosts *hosts, tram_id id, uint64_t *ret_waiting, uint64_t *ret_arrived) {
    struct standin *standin = standin_find(hosts, id);

    *ret_waiting = *ret_arrived = 0;
    for (struct origin *origin = standin ? standin->origins : NULL; origin; origin = origin->next) {
        struct stand_in_state state;

        stand_in_state(origin->in, &state);
        *ret_waiting += state.accepted - state.consumed;
    }
    for (struct mirror *mirror = standin ? standin->mirrors : NULL; mirror; mirror = mirror->next) {
        struct stand_out_state state;

        if (mirror->out && stand_out_look(mirror->out, &state) == 0)
            *ret_arrived += state.accepted - state.consumed;
    }
}

/* Does something wait that the node sent to one that is placed here? No stand-in knows of it; it
 * may be told of as long as that node is there. */
static bool waits_here(struct hosts *hosts, tram_id id, tram_id to) {
    OWNS_FD int dir = files_node_dir(&hosts->daemon->bus, to, false);
    struct channel_look look;

    return dir >= 0 && mirror_lies(dir, id) == 0 && channel_look(dir, id, to, &look) == 0 &&
           look.consumed < look.accepted;
}

void stands_again(struct hosts *hosts, tram_id id) {
    for (struct standin *to = hosts->all_standins; to; to = to->all_next) {
        struct stand_in *in = to->origins ? stand_in_find(to->stand, id) : NULL;
        struct origin *origin = in ? stand_in_user(in) : NULL;

        if (!origin || !origin->out || origin->answer != LINK_STALE)
            continue;
        origin_close(origin, LINK_MOVED);
        origin_open(origin);
    }
}

struct leaving {
    struct hosts *hosts;
    tram_id id, *to;
    int count;
};

static int each_here(void *context, tram_id to) {
    struct leaving *leaving = context;

    if (!waits_here(leaving->hosts, leaving->id, to))
        return 0;
    if (leaving->count < (int) HOSTS_LEFT_EACH)
        leaving->to[leaving->count] = to;
    return ++leaving->count > (int) HOSTS_LEFT_EACH;
}

int stands_left(struct hosts *hosts, tram_id id, const tram_id *here, size_t count_here,
                tram_id *ret_to) {
    struct leaving leaving = { hosts, id, ret_to, 0 };
    uint64_t epoch;
    int count;

    if (!here)
        placing_each_here(hosts, each_here, &leaving);
    for (size_t i = 0; here && i < count_here; i++)
        if (placing_of(hosts, here[i], &epoch) == hosts->self.host)
            (void) each_here(&leaving, here[i]);
    count = leaving.count;

    for (struct standin *to = hosts->all_standins; to; to = to->all_next) {
        struct stand_in *in = stand_in_find(to->stand, id);
        struct stand_in_state state = { 0 };

        if (host_by_number(hosts, to->host) &&
            (to->retry > 0 || (stand_is_held(to->stand) && !to->scanned))) {
            ret_to[0] = 0;
            return -EAGAIN;
        }
        if (in)
            stand_in_state(in, &state);
        if (!in || state.broken || state.consumed == state.accepted)
            continue;
        if (count < (int) HOSTS_LEFT_EACH)
            ret_to[count] = to->id;
        count++;
    }
    if (count > (int) HOSTS_LEFT_EACH) {
        ret_to[0] = 0;
        count = 1;
    }
    return count;
}

/* ---- time, start, end ------------------------------------------------------------------------ */

/* Where it is: the answer opens its channels. */
static void ask_again(struct standin *standin) {
    struct hosts *hosts = standin->hosts;

    if (is_ephemeral(standin->id)) {
        stands_place(hosts, standin->id, standin->host, standin->epoch);
        return;
    }
    hosts->maker->unwatch(hosts->seat, standin->id);
    standin->watched = hosts->maker->watch(hosts->seat, standin->id) == 0;
}

static int64_t standin_time(struct standin *standin, int64_t now) {
    int64_t next = mirrors_time(standin, now);
    struct tram_error error;

    if (standin->retry > 0 && standin->retry <= now && standin->host > 0)
        (void) standin_take(standin, &error);
    if (standin->due <= now && stand_is_held(standin->stand))
        pump(standin);
    if (standin->ask > 0 && standin->ask <= now) {
        standin->ask = 0;
        ask_again(standin);
    }
    if (standin->retry > 0 && standin->retry < next)
        next = standin->retry;
    if (standin->ask > 0 && standin->ask < next)
        next = standin->ask;
    return standin->due < next ? standin->due : next;
}

/* What lies here of another host. */
static int64_t host_time(struct host *host, int64_t now) {
    if (host->drop_at > 0 && host->drop_at <= now)
        stands_drop(host);
    if (host->sweep_at > 0 && host->sweep_at <= now) {
        host->sweep_at = 0;
        mirrors_sweep(host);
    }
    if (host->drop_at == 0 || (host->sweep_at > 0 && host->sweep_at < host->drop_at))
        return host->sweep_at > 0 ? host->sweep_at : INT64_MAX;
    return host->drop_at;
}

int64_t stands_time(struct hosts *hosts, int64_t now) {
    int64_t next = INT64_MAX;

    if (now < hosts->stands_due)
        return hosts->stands_due;
    hosts->stands_due = INT64_MAX;
    if (hosts->stands_sweep > 0 && hosts->stands_sweep <= now)
        sweep(hosts);
    next = hosts->stands_sweep > 0 ? hosts->stands_sweep : next;
    for (struct standin *standin = hosts->all_standins; standin; standin = standin->all_next) {
        int64_t its = standin_time(standin, now);

        next = its < next ? its : next;
    }
    for (struct host *host = hosts->list; host; host = host->next) {
        int64_t its = host_time(host, now);

        next = its < next ? its : next;
    }
    next = next < now + LOOKS ? now + LOOKS : next; /* there may be thousands */
    hosts->stands_due = next < hosts->stands_due ? next : hosts->stands_due;
    return hosts->stands_due;
}

int stands_start(struct hosts *hosts) {
    int rc;

    hosts->standins = calloc(STANDS_BUCKETS, sizeof(struct standin *));
    if (!hosts->standins)
        return -ENOMEM;
    hosts->dir_fd = sys_dir_watch(hosts->daemon->bus.dir);
    rc = hosts->dir_fd < 0 ? hosts->dir_fd
                           : tram_io_new(hosts->tasks.worker, hosts->dir_fd, TRAM_IO_READ, on_dir,
                                         hosts, &hosts->dir_io);
    return rc;
}

void stands_stop(struct hosts *hosts) {
    hosts->dir_io = tram_io_free(hosts->dir_io);
    cleanup_fd(&hosts->dir_fd);
    hosts->stands_sweep = INT64_MAX; /* all go */
    while (hosts->all_standins)
        (void) standin_free(hosts->all_standins);
    free(hosts->standins);
    hosts->standins = NULL;
}
