/* SPDX-License-Identifier: MIT
 *
 * The directory by a host server: a connection that comes back by itself (10 ms, doubling to 1 s,
 * with jitter; at once when a network interface came up), and says everything again.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "daemon/hosts.h"
#include "daemon/log.h"
#include "wire/allow.h"
#include "wire/member.h"

#define BACK_MIN INT64_C(10000000)
#define BACK_MAX INT64_C(1000000000)
#define OPEN_TIME INT64_C(3000000000) /* for connecting and the handshake */

struct seat {
    struct hosts *hosts;
    const struct seat_calls *calls;
    struct member *member;
    struct line line;
    tram_timer *timer;
    int64_t back, began;
    unsigned next;             /* address */
    char own[32];              /* of the host server here */
    char why[256];
    char *addresses[HOSTS_ADDRESSES_MAX + 1];
    char text[HOSTS_ADDRESSES_TEXT];
};

static const char *server_of(const struct seat *seat) {
    const struct settings *settings = hosts_settings(seat->hosts);

    return seat->hosts->server ? seat->own : settings->host_server;
}

/* ---- what the member says -------------------------------------------------------------------- */

static void on_send(void *arg, const hosts_frame *frame) {
    line_send(&((struct seat *) arg)->line, frame);
}

static bool on_held(void *arg, uint32_t after, uint32_t *ret_id, uint64_t *ret_epoch) {
    struct seat *seat = arg;

    return seat->calls->held(seat->hosts, after, ret_id, ret_epoch);
}

static void on_joined(void *arg, uint32_t number) {
    struct seat *seat = arg;

    seat->back = BACK_MIN;
    log_line(LEVEL_INFO, "joined the directory at %s",
             transport_peer(seat->line.transport)->address);
    *seat->why = '\0';
    seat->calls->on_joined(seat->hosts, number);
    (void) tram_timer_set(seat->timer, 0, 0); /* it said how often it wants to hear of us */
}

static void on_host(void *arg, const hosts_host *host, bool gone) {
    struct seat *seat = arg;

    seat->calls->on_host(seat->hosts, host, gone);
}

static void on_told(void *arg) {
    struct seat *seat = arg;

    seat->calls->on_told(seat->hosts);
}

static void on_granted(void *arg, uint64_t cookie, uint32_t id, uint64_t epoch, uint32_t from,
                       bool taken) {
    struct seat *seat = arg;

    seat->calls->on_granted(seat->hosts, cookie, id, epoch, from, taken);
}

static void on_refused(void *arg, uint64_t cookie, uint32_t id, int error, uint32_t host,
                       const char *text) {
    struct seat *seat = arg;

    seat->calls->on_refused(seat->hosts, cookie, id, error, host, text);
}

static void on_placed(void *arg, const hosts_placed *placed) {
    struct seat *seat = arg;

    seat->calls->on_placed(seat->hosts, placed);
}

static void on_yield(void *arg, uint32_t id, uint64_t epoch, uint32_t to) {
    struct seat *seat = arg;

    seat->calls->on_yield(seat->hosts, id, epoch, to);
}

static void on_done(void *arg, uint64_t cookie, int error, const char *text) {
    struct seat *seat = arg;

    seat->calls->on_done(seat->hosts, cookie, error, text);
}

static const struct member_calls member_calls = {
    .send = on_send,
    .held = on_held,
    .on_joined = on_joined,
    .on_host = on_host,
    .on_told = on_told,
    .on_granted = on_granted,
    .on_refused = on_refused,
    .on_placed = on_placed,
    .on_yield = on_yield,
    .on_done = on_done,
};

/* ---- the connection -------------------------------------------------------------------------- */

/* Not now; again in a while. */
static void rest(struct seat *seat, const char *why) {
    bool new = strcmp(seat->why, why) != 0;

    if (new)
        log_line(LEVEL_WARNING, "no directory: %s", why);
    (void) snprintf(seat->why, sizeof(seat->why), "%s", why);
    (void) tram_timer_set(seat->timer, hosts_jitter(seat->back), 0);
    seat->back = seat->back * 2 < BACK_MAX ? seat->back * 2 : BACK_MAX;
}

static void on_open(struct line *line) {
    struct seat *seat = (struct seat *) ((char *) line - offsetof(struct seat, line));

    member_connected(seat->member, hosts_now(seat->hosts));
    (void) tram_timer_set(seat->timer, 0, 0);
}

static int on_frame(struct line *line, const hosts_frame *frame, struct wrong *wrong) {
    struct seat *seat = (struct seat *) ((char *) line - offsetof(struct seat, line));

    return member_take(seat->member, hosts_now(seat->hosts), frame, wrong);
}

static void on_end(struct line *line) {
    struct seat *seat = (struct seat *) ((char *) line - offsetof(struct seat, line));
    bool joined = member_joined(seat->member);
    char why[256];

    (void) snprintf(why, sizeof(why), "%s: %.160s", transport_peer(line->transport)->address,
                    line->why);
    member_cut(seat->member);
    line_reset(line);
    if (joined)
        seat->calls->on_away(seat->hosts, why);
    rest(seat, why);
}

static void dial(struct seat *seat) {
    const struct settings *settings = hosts_settings(seat->hosts);
    struct wrong wrong = { 0 };
    struct transport *transport =
        hosts_dial(seat->hosts, server_of(seat), (uint16_t) settings->server_port, &seat->next,
                   NULL, &wrong);
    int rc;

    if (!transport) {
        rest(seat, wrong.text);
        return;
    }
    seat->line.way = HOSTS_TO_MEMBER;
    seat->line.on_open = on_open;
    seat->line.on_frame = on_frame;
    seat->line.on_end = on_end;
    seat->began = hosts_now(seat->hosts);
    rc = line_begin(&seat->line, &seat->hosts->tasks, transport);
    if (rc < 0)
        rest(seat, strerror(-rc));
    else
        (void) tram_timer_set(seat->timer, OPEN_TIME, 0);
}

static void on_timer(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    struct seat *seat = arg;
    int64_t now = hosts_now(seat->hosts), next;

    (void) timer;
    (void) late_ns;
    (void) missed;
    if (!seat->line.transport) {
        dial(seat);
        return;
    }
    if (!seat->line.opened) {
        line_end(&seat->line, "it does not answer");
        return;
    }
    if (transport_check(seat->line.transport, time(NULL)) < 0) {
        line_end(&seat->line, transport_why(seat->line.transport));
        return;
    }
    next = member_time(seat->member, now);
    if (next < 0)
        line_end(&seat->line, "it is silent");
    else
        (void) tram_timer_set(seat->timer, next - now, 0);
}

/* ---- the maker ------------------------------------------------------------------------------- */

/* The addresses as a list; they lie in seat->text. */
static size_t split(struct seat *seat) {
    size_t count = 0;
    char *rest = NULL;

    (void) snprintf(seat->text, sizeof(seat->text), "%s", seat->hosts->addresses);
    for (char *at = strtok_r(seat->text, " ", &rest); at && count < HOSTS_ADDRESSES_MAX;
         at = strtok_r(NULL, " ", &rest))
        seat->addresses[count++] = at;
    return count;
}

static struct seat *server_leave(struct seat *seat) {
    if (!seat)
        return NULL;
    line_reset(&seat->line);
    seat->timer = tram_timer_free(seat->timer);
    seat->member = member_free(seat->member);
    free(seat);
    return NULL;
}

static int server_join(struct hosts *hosts, const struct seat_calls *calls,
                       struct seat **ret_seat) {
    struct seat *seat = calloc(1, sizeof(*seat));
    struct member_who who = { .number = hosts->self.host, .program = TRAM_VERSION };
    int rc;

    if (!seat)
        return -ENOMEM;
    seat->hosts = hosts;
    seat->calls = calls;
    seat->back = BACK_MIN;
    (void) snprintf(seat->own, sizeof(seat->own), "127.0.0.1:%u",
                    (unsigned) hosts_settings(hosts)->server_port);
    who.cluster = hosts->identity.cluster;
    who.host = hosts->identity.host;
    memcpy(who.instance, hosts->identity.instance, HOSTS_INSTANCE);
    who.count = split(seat);
    who.addresses = seat->addresses;
    rc = member_new(&who, &member_calls, seat, &seat->member);
    if (rc == 0)
        rc = tram_timer_new(hosts->tasks.worker, on_timer, seat, &seat->timer);
    if (rc == 0)
        rc = tram_timer_set(seat->timer, 0, 0);
    if (rc < 0) {
        (void) server_leave(seat);
        return rc;
    }
    (void) snprintf(seat->why, sizeof(seat->why), "not connected yet");
    *ret_seat = seat;
    return 0;
}

static const char *server_trouble(struct seat *seat) {
    return member_joined(seat->member) ? NULL : seat->why;
}

static int server_claim(struct seat *seat, uint64_t cookie, uint32_t id, bool take) {
    return member_claim(seat->member, cookie, id, take);
}

static void server_claim_end(struct seat *seat, uint64_t cookie) {
    member_claim_end(seat->member, cookie);
}

static int server_watch(struct seat *seat, uint32_t id) {
    return member_watch(seat->member, id);
}

static void server_unwatch(struct seat *seat, uint32_t id) {
    member_unwatch(seat->member, id);
}

static void server_release(struct seat *seat, uint32_t id, uint64_t epoch) {
    member_release(seat->member, id, epoch);
}

static void server_settled(struct seat *seat, uint32_t id, uint64_t epoch) {
    member_settled(seat->member, id, epoch);
}

static void server_yielded(struct seat *seat, uint32_t id, uint64_t epoch, int error, bool knew,
                           struct member_left left, const char *text) {
    member_yielded(seat->member, id, epoch, error, knew, left, text);
}

static void server_left(struct seat *seat, uint32_t id, struct member_left left) {
    member_left(seat->member, id, left);
}

static int server_forget(struct seat *seat, uint64_t cookie, const char *host) {
    return member_forget(seat->member, cookie, host);
}

static void server_hurry(struct seat *seat) {
    seat->back = BACK_MIN;
    if (!seat->line.transport)
        (void) tram_timer_set(seat->timer, 0, 0);
}

const struct seat_maker seat_by_server = {
    .word = "host server",
    .join = server_join,
    .leave = server_leave,
    .trouble = server_trouble,
    .claim = server_claim,
    .claim_end = server_claim_end,
    .watch = server_watch,
    .unwatch = server_unwatch,
    .release = server_release,
    .settled = server_settled,
    .yielded = server_yielded,
    .left = server_left,
    .forget = server_forget,
    .hurry = server_hurry,
};
