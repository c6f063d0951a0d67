/* SPDX-License-Identifier: MIT
 *
 * The directory by the config alone: its hosts are all there are, numbered by the order of their
 * names, and a node is placed where the ranges say, for good. So nothing is asked of anybody, all
 * answers are known at once, and they are given from a task.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/hosts.h"
#include "wire/allow.h"

#define EPOCH UINT64_C(1) /* of all nodes */

struct answer {
    struct answer *next;
    uint64_t cookie;
    uint32_t id;
    bool claim;
};

struct seat {
    struct hosts *hosts;
    const struct seat_calls *calls;
    struct task task;
    struct answer *first, **last;
    bool joined;
};

/* The place of a host among all, by name: 1 for the first. */
static uint32_t number_of(const struct settings *settings, const char *host) {
    uint32_t number = 1;

    for (uint64_t i = 0; i < settings->host_count; i++)
        number += strcmp(settings->hosts[i].name, host) < 0;
    return number;
}

static const struct settings_host *holder_of(const struct settings *settings, uint32_t id) {
    for (uint64_t i = 0; i < settings->host_count; i++)
        if (allow_id(settings->hosts[i].allow_ids, id))
            return &settings->hosts[i];
    return NULL;
}

static void say_joined(struct seat *seat) {
    const struct settings *settings = hosts_settings(seat->hosts);

    seat->joined = true;
    seat->calls->on_joined(seat->hosts, number_of(settings, settings->host));
    for (uint64_t i = 0; i < settings->host_count; i++) {
        struct settings_host *one = &settings->hosts[i];
        hosts_host words = HOSTS_NEW(Host, host);
        char *list[HOSTS_ADDRESSES_MAX], texts[HOSTS_ADDRESSES_MAX][HOSTS_ADDRESS_MAX + 1];
        const char *at = one->addresses;

        if (strcmp(one->name, settings->host) == 0)
            continue;
        while (words.n_addresses < HOSTS_ADDRESSES_MAX &&
               allow_next(&at, texts[words.n_addresses], sizeof(texts[0]))) {
            list[words.n_addresses] = texts[words.n_addresses];
            words.n_addresses++;
        }
        words.number = number_of(settings, one->name);
        words.name = one->name;
        words.addresses = list;
        seat->calls->on_host(seat->hosts, &words, false);
    }
    seat->calls->on_told(seat->hosts);
}

static void say(struct seat *seat, const struct answer *answer) {
    const struct settings *settings = hosts_settings(seat->hosts);
    const struct settings_host *holder = answer->id ? holder_of(settings, answer->id) : NULL;
    char text[CONTROL_TEXT_MAX + 1];

    if (answer->id == 0) {
        seat->calls->on_done(seat->hosts, answer->cookie, -EPERM,
                             "without a host server the config says which hosts there are");
    } else if (!answer->claim) {
        hosts_placed placed = HOSTS_NEW(Placed, placed);

        placed.id = answer->id;
        placed.epoch = holder ? EPOCH : 0;
        placed.host = holder ? number_of(settings, holder->name) : 0;
        seat->calls->on_placed(seat->hosts, &placed);
    } else if (holder && strcmp(holder->name, settings->host) == 0) {
        seat->calls->on_granted(seat->hosts, answer->cookie, answer->id, EPOCH, 0, false);
    } else {
        (void) snprintf(text, sizeof(text), "the config places it %s%s",
                        holder ? "on host " : "nowhere", holder ? holder->name : "");
        seat->calls->on_refused(seat->hosts, answer->cookie, answer->id, -EACCES,
                                holder ? number_of(settings, holder->name) : 0, text);
    }
}

static void answer_all(struct task *task) {
    struct seat *seat = (struct seat *) ((char *) task - offsetof(struct seat, task));

    if (!seat->joined)
        say_joined(seat);
    while (seat->first) {
        struct answer *answer = seat->first;

        seat->first = answer->next;
        if (!seat->first)
            seat->last = &seat->first;
        say(seat, answer);
        free(answer);
    }
}

static int ask(struct seat *seat, uint64_t cookie, uint32_t id, bool claim) {
    struct answer *answer = calloc(1, sizeof(*answer));

    if (!answer)
        return -ENOMEM;
    *answer = (struct answer){ .cookie = cookie, .id = id, .claim = claim };
    *seat->last = answer;
    seat->last = &answer->next;
    task_add(&seat->hosts->tasks, &seat->task);
    return 0;
}

/* ---- the maker ------------------------------------------------------------------------------- */

static int list_join(struct hosts *hosts, const struct seat_calls *calls, struct seat **ret_seat) {
    struct seat *seat = calloc(1, sizeof(*seat));

    if (!seat)
        return -ENOMEM;
    seat->hosts = hosts;
    seat->calls = calls;
    seat->last = &seat->first;
    seat->task.fn = answer_all;
    task_add(&hosts->tasks, &seat->task);
    *ret_seat = seat;
    return 0;
}

static struct seat *list_leave(struct seat *seat) {
    if (!seat)
        return NULL;
    task_remove(&seat->hosts->tasks, &seat->task);
    while (seat->first) {
        struct answer *answer = seat->first;

        seat->first = answer->next;
        free(answer);
    }
    free(seat);
    return NULL;
}

static const char *list_trouble(struct seat *seat) {
    return seat->joined ? NULL : "it begins";
}

static int list_claim(struct seat *seat, uint64_t cookie, uint32_t id, bool take) {
    (void) take;
    return ask(seat, cookie, id, true);
}

static void list_claim_end(struct seat *seat, uint64_t cookie) {
    (void) seat;
    (void) cookie; /* it is answered at once */
}

static int list_watch(struct seat *seat, uint32_t id) {
    return ask(seat, 0, id, false);
}

static void list_unwatch(struct seat *seat, uint32_t id) {
    (void) seat;
    (void) id;
}

static void list_nothing(struct seat *seat, uint32_t id, uint64_t epoch) {
    (void) seat;
    (void) id;
    (void) epoch;
}

static void list_yielded(struct seat *seat, uint32_t id, uint64_t epoch, int error, bool knew,
                         struct member_left left, const char *text) {
    (void) error;
    (void) knew;
    (void) left;
    (void) text;
    list_nothing(seat, id, epoch);
}

static void list_left(struct seat *seat, uint32_t id, struct member_left left) {
    (void) seat;
    (void) id;
    (void) left;
}

static int list_forget(struct seat *seat, uint64_t cookie, const char *host) {
    (void) host;
    return ask(seat, cookie, 0, false);
}

static void list_hurry(struct seat *seat) {
    (void) seat;
}

const struct seat_maker seat_by_list = {
    .word = "config",
    .join = list_join,
    .leave = list_leave,
    .trouble = list_trouble,
    .claim = list_claim,
    .claim_end = list_claim_end,
    .watch = list_watch,
    .unwatch = list_unwatch,
    .release = list_nothing,
    .settled = list_nothing,
    .yielded = list_yielded,
    .left = list_left,
    .forget = list_forget,
    .hurry = list_hurry,
};
