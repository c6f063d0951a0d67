/* SPDX-License-Identifier: MIT */
#include "wire/directory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/directory_inner.h"

/* ---- saying ---------------------------------------------------------------------------------- */

void directory_say(struct directory *directory, const char *format, ...) {
    char text[CONTROL_TEXT_MAX + 1];
    va_list arguments;

    if (!directory->calls->say)
        return;
    va_start(arguments, format);
    (void) vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    directory->calls->say(directory->arg, text);
}

void directory_send(struct directory *directory, const struct directory_member *member,
                    hosts_frame frame) {
    directory->calls->send(directory->arg, member->conn, &frame);
}

/* What frames say of a host; it points into it. */
static hosts_host host_words(const struct dir_host *host) {
    hosts_host words = HOSTS_NEW(Host, host);

    words.number = host->number;
    words.name = (char *) (uintptr_t) host->name; /* frames that go out are only read */
    words.instance.data = (uint8_t *) (uintptr_t) host->instance;
    words.instance.len = HOSTS_INSTANCE;
    words.addresses = host->addresses;
    words.n_addresses = host->count;
    words.program = (char *) (uintptr_t) host->program;
    words.away = host->away;
    return words;
}

static void tell_host(struct directory *directory, const struct directory_member *member,
                      const struct dir_host *host, bool gone) {
    hosts_host words = host_words(host);
    Tram__Hosts__Member told = HOSTS_NEW(Member, member);

    told.host = &words;
    told.gone = gone;
    directory_send(directory, member, HOSTS_FRAME(MEMBER, member, &told));
}

static void tell_all(struct directory *directory, const struct dir_host *host, bool gone) {
    for (struct directory_member *member = directory->members; member; member = member->next)
        if (member->host && member->joined)
            tell_host(directory, member, host, gone);
}

/* ---- hosts ----------------------------------------------------------------------------------- */

static struct dir_host *host_find(struct directory *directory, const char *name) {
    for (uint32_t i = 1; i <= HOSTS_MAX; i++)
        if (directory->hosts[i] && strcmp(directory->hosts[i]->name, name) == 0)
            return directory->hosts[i];
    return NULL;
}

static struct dir_host *host_free(struct dir_host *host) {
    if (!host)
        return NULL;
    for (size_t i = 0; i < host->count; i++)
        free(host->addresses[i]);
    free(host->addresses);
    free(host);
    return NULL;
}

/* The number that was given away longest ago, or never. 0: none is free. */
static uint32_t number_free(struct directory *directory) {
    for (uint32_t tries = 0; tries < HOSTS_MAX; tries++) {
        directory->last_number = directory->last_number % HOSTS_MAX + 1;
        if (!directory->hosts[directory->last_number])
            return directory->last_number;
    }
    return 0;
}

/* Its words become those. -ENOMEM: nothing has changed. */
static int host_set(struct dir_host *host, const hosts_host *words) {
    char **addresses = calloc(words->n_addresses + 1, sizeof(*addresses));

    for (size_t i = 0; addresses && i < words->n_addresses; i++) {
        addresses[i] = strdup(words->addresses[i]);
        if (addresses[i])
            continue;
        while (i > 0)
            free(addresses[--i]);
        free(addresses);
        addresses = NULL;
    }
    if (!addresses)
        return -ENOMEM;
    for (size_t i = 0; i < host->count; i++)
        free(host->addresses[i]);
    free(host->addresses);
    host->addresses = addresses;
    host->count = words->n_addresses;
    memcpy(host->instance, words->instance.data, HOSTS_INSTANCE);
    memcpy(host->program, words->program, strlen(words->program) + 1);
    return 0;
}

static struct dir_host *host_new(struct directory *directory, const hosts_host *words,
                                 uint32_t number) {
    struct dir_host *host = calloc(1, sizeof(*host));

    if (!host || host_set(host, words) < 0)
        return host_free(host);
    host->number = number;
    memcpy(host->name, words->name, strlen(words->name) + 1);
    host->away = true;
    directory->hosts[number] = host;
    directory->host_count++;
    return host;
}

static int note_host(struct directory *directory, const struct dir_host *host, bool gone) {
    Tram__Hosts__Record record = HOSTS_NEW(Record, record);
    hosts_host words = host_words(host);

    words.away = false;
    record.host = &words;
    record.gone = gone;
    return directory->calls->note(directory->arg, &record);
}

/* ---- joining --------------------------------------------------------------------------------- */

static int refuse(struct directory *directory, struct directory_member *member, int error,
                  struct wrong *wrong) {
    Tram__Hosts__Welcome welcome = HOSTS_NEW(Welcome, welcome);

    welcome.version = HOSTS_VERSION;
    welcome.error = error;
    welcome.text = wrong->text;
    directory_send(directory, member, HOSTS_FRAME(WELCOME, welcome, &welcome));
    return error;
}

/* May it join? */
static int join_check(struct directory *directory, const struct directory_member *member,
                      const Tram__Hosts__Join *join, const struct dir_host *host,
                      struct wrong *wrong) {
    if (join->version != HOSTS_VERSION)
        return wrong_set(wrong, -EPROTO, "it speaks version %u of the protocol, this directory %u",
                         join->version, HOSTS_VERSION);
    if (strcmp(join->cluster, directory->rules.cluster) != 0)
        return wrong_set(wrong, -EINVAL, "this is the directory of cluster '%.63s', not '%.63s'",
                         directory->rules.cluster, join->cluster);
    if (*member->certified && strcmp(member->certified, join->host->name) != 0)
        return wrong_set(wrong, -EACCES, "it says that it is host '%.63s', its certificate '%.63s'",
                         join->host->name, member->certified);
    if (!host && directory->host_count >= directory->rules.hosts)
        return wrong_set(wrong, -EUSERS, "the cluster has %u hosts already",
                         directory->host_count);
    if (host && host->member &&
        memcmp(host->instance, join->host->instance.data, HOSTS_INSTANCE) != 0)
        return wrong_set(wrong, -EEXIST, "another host is there by the name '%.63s'",
                         join->host->name);
    return 0;
}

static void welcome(struct directory *directory, const struct directory_member *member) {
    Tram__Hosts__Welcome welcome = HOSTS_NEW(Welcome, welcome);

    welcome.version = HOSTS_VERSION;
    welcome.number = member->host->number;
    welcome.beat_ms = (uint32_t) (directory->rules.beat_ns / 1000000);
    welcome.misses = directory->rules.misses;
    directory_send(directory, member, HOSTS_FRAME(WELCOME, welcome, &welcome));
}

static int take_join(struct directory *directory, struct directory_member *member,
                     const Tram__Hosts__Join *join, struct wrong *wrong) {
    struct dir_host *host = host_find(directory, join->host->name);
    int rc = member->host ? wrong_set(wrong, -EBADMSG, "it joins a second time")
                          : join_check(directory, member, join, host, wrong);
    bool anew = host && memcmp(host->instance, join->host->instance.data, HOSTS_INSTANCE) != 0;

    if (rc < 0)
        return refuse(directory, member, rc, wrong);
    if (host) {
        rc = host_set(host, join->host);
        host->anew |= anew;
    } else {
        uint32_t number = join->host->number; /* what an earlier directory gave it */

        if (number == 0 || directory->hosts[number])
            number = number_free(directory);
        host = number > 0 ? host_new(directory, join->host, number) : NULL;
        rc = host ? 0 : -ENOMEM;
    }
    if (rc == 0 && host->anew) /* of its nodes it knows nothing any more */
        rc = dir_place_forget(directory, host);
    if (rc == 0)
        rc = note_host(directory, host, false);
    if (rc == 0)
        host->anew = false;
    if (rc < 0)
        return refuse(directory, member, wrong_set(wrong, rc, "it can't be noted"), wrong);
    if (host->member) { /* its old connection, half open */
        dir_place_gone(directory, host->member);
        host->member->host = NULL;
    }
    host->member = member;
    member->host = host;
    if (anew)
        directory_say(directory, "host %s lost its memory", host->name);
    welcome(directory, member);
    return 0;
}

/* All that it holds was said. */
static void joined(struct directory *directory, struct directory_member *member) {
    Tram__Hosts__Told told = HOSTS_NEW(Told, told);

    member->joined = true;
    member->host->away = false;
    for (uint32_t i = 1; i <= HOSTS_MAX; i++)
        if (directory->hosts[i] && directory->hosts[i] != member->host)
            tell_host(directory, member, directory->hosts[i], false);
    tell_all(directory, member->host, false);
    directory_send(directory, member, HOSTS_FRAME(TOLD, told, &told));
    directory_say(directory, "host %s joined, number %u", member->host->name, member->host->number);
}

static int take_hold(struct directory *directory, struct directory_member *member,
                     const Tram__Hosts__Hold *hold, struct wrong *wrong) {
    if (member->joined)
        return wrong_set(wrong, -EBADMSG, "it says what it holds a second time");
    for (size_t i = 0; i < hold->n_ids; i++) {
        int rc = dir_place_hold(directory, member, hold->ids[i]->id, hold->ids[i]->epoch);

        if (rc < 0)
            return wrong_set(wrong, rc, rc == -EDQUOT ? "it holds too much" : "no memory");
    }
    if (hold->last)
        joined(directory, member);
    return 0;
}

/* ---- leaving --------------------------------------------------------------------------------- */

static void take_forget(struct directory *directory, struct directory_member *member,
                        const Tram__Hosts__Forget *forget) {
    Tram__Hosts__Done done = HOSTS_NEW(Done, done);
    struct dir_host *host = host_find(directory, forget->host);
    char text[CONTROL_TEXT_MAX + 1] = "";

    done.cookie = forget->cookie;
    done.text = text;
    if (!host) {
        done.error = -ENOENT;
        (void) snprintf(text, sizeof(text), "there is no host %s", forget->host);
    } else if (host->member) {
        done.error = -EBUSY;
        (void) snprintf(text, sizeof(text), "host %s is there", forget->host);
    } else {
        done.error = dir_place_forget(directory, host);
        if (done.error == 0)
            done.error = note_host(directory, host, true);
    }
    if (host && done.error == 0) {
        tell_all(directory, host, true);
        directory->hosts[host->number] = NULL;
        directory->host_count--;
        directory_say(directory, "host %s is forgotten", host->name);
        (void) host_free(host);
    }
    directory_send(directory, member, HOSTS_FRAME(DONE, done, &done));
}

static void take_beat(struct directory *directory, const struct directory_member *member,
                      const Tram__Hosts__Beat *beat) {
    Tram__Hosts__Beat back = HOSTS_NEW(Beat, beat);

    back.time = beat->time;
    directory_send(directory, member, HOSTS_FRAME(BEAT, beat, &back));
}

int directory_take(struct directory *directory, struct directory_member *member, int64_t now,
                   const hosts_frame *frame, struct wrong *wrong) {
    int kind = (int) frame->kind_case;

    member->heard = directory->now = now;
    if (kind == TRAM__HOSTS__FRAME__KIND_JOIN)
        return take_join(directory, member, frame->join, wrong);
    if (!member->host)
        return wrong_set(wrong, -EBADMSG, "it has not joined, or another connection has");
    if (kind == TRAM__HOSTS__FRAME__KIND_HOLD)
        return take_hold(directory, member, frame->hold, wrong);
    if (kind == TRAM__HOSTS__FRAME__KIND_BEAT) {
        take_beat(directory, member, frame->beat);
        return 0;
    }
    if (!member->joined)
        return wrong_set(wrong, -EBADMSG, "it asks before it has said what it holds");
    switch (kind) {
    case TRAM__HOSTS__FRAME__KIND_CLAIM:
        dir_place_claim(directory, member, frame->claim);
        return 0;
    case TRAM__HOSTS__FRAME__KIND_RELEASE:
        dir_place_release(directory, member, frame->release);
        return 0;
    case TRAM__HOSTS__FRAME__KIND_WHERE:
        return dir_place_where(directory, member, frame->where, wrong);
    case TRAM__HOSTS__FRAME__KIND_YIELDED:
        return dir_place_yielded(directory, member, frame->yielded, wrong);
    case TRAM__HOSTS__FRAME__KIND_SETTLED:
        return dir_place_settled(directory, member, frame->settled, wrong);
    case TRAM__HOSTS__FRAME__KIND_LEFT:
        dir_place_left(directory, member, frame->left);
        return 0;
    case TRAM__HOSTS__FRAME__KIND_FORGET:
        take_forget(directory, member, frame->forget);
        return 0;
    default:
        return wrong_set(wrong, -EBADMSG, "a frame of kind %d, which no member sends", kind);
    }
}

/* ---- connections and time -------------------------------------------------------------------- */

int directory_connected(struct directory *directory, int64_t now, void *conn, const char *certified,
                        struct directory_member **ret_member) {
    struct directory_member *member = calloc(1, sizeof(*member));

    if (!member)
        return -ENOMEM;
    member->conn = conn;
    member->heard = now;
    if (certified)
        (void) snprintf(member->certified, sizeof(member->certified), "%s", certified);
    member->next = directory->members;
    directory->members = member;
    *ret_member = member;
    return 0;
}

struct directory_member *directory_gone(struct directory *directory,
                                        struct directory_member *member, int64_t now) {
    struct directory_member **link = &directory->members;

    if (!member)
        return NULL;
    directory->now = now;
    while (*link != member)
        link = &(*link)->next;
    *link = member->next;
    dir_place_gone(directory, member);
    if (member->host) {
        member->host->member = NULL;
        member->host->since = now;
    }
    free(member);
    return NULL;
}

static int64_t patience(const struct directory *directory) {
    return directory->rules.beat_ns * (int64_t) directory->rules.misses;
}

bool directory_silent(const struct directory *directory, const struct directory_member *member,
                      int64_t now) {
    return now - member->heard > patience(directory);
}

void directory_time(struct directory *directory, int64_t now) {
    directory->now = now;
    for (uint32_t i = 1; i <= HOSTS_MAX; i++) {
        struct dir_host *host = directory->hosts[i];

        if (!host || host->away || host->member || now - host->since <= patience(directory))
            continue;
        host->away = true;
        directory_say(directory, "host %s is unreachable", host->name);
        tell_all(directory, host, false);
    }
}

/* ---- all of it ------------------------------------------------------------------------------- */

int directory_new(const struct directory_rules *rules, const struct directory_calls *calls,
                  void *arg, struct directory **ret_directory) {
    struct directory *directory = calloc(1, sizeof(*directory));

    if (!directory)
        return -ENOMEM;
    directory->calls = calls;
    directory->arg = arg;
    directory_set(directory, rules);
    *ret_directory = directory;
    return 0;
}

void directory_set(struct directory *directory, const struct directory_rules *rules) {
    directory->rules = *rules;
    (void) snprintf(directory->cluster, sizeof(directory->cluster), "%s", rules->cluster);
    directory->rules.cluster = directory->cluster;
}

struct directory *directory_free(struct directory *directory) {
    if (!directory)
        return NULL;
    while (directory->members)
        (void) directory_gone(directory, directory->members, directory->now);
    dir_place_free_all(directory);
    for (uint32_t i = 1; i <= HOSTS_MAX; i++)
        (void) host_free(directory->hosts[i]);
    free(directory);
    return NULL;
}

int directory_enter(struct directory *directory, const Tram__Hosts__Record *record) {
    struct dir_host *host;
    uint64_t ids = 0;

    if (!record->host)
        return record->id ? dir_place_enter(directory, record) : 0;
    host = directory->hosts[record->host->number];
    if (host) {
        ids = host->ids; /* its words are others now, its nodes are the same */
        directory->hosts[host->number] = NULL;
        directory->host_count--;
        (void) host_free(host);
    }
    if (record->gone)
        return 0;
    if (record->host->number > directory->last_number)
        directory->last_number = record->host->number;
    host = host_new(directory, record->host, record->host->number);
    if (!host)
        return -ENOMEM;
    host->ids = ids;
    return 0;
}

int directory_each(struct directory *directory,
                   int (*each)(void *arg, const Tram__Hosts__Record *record), void *arg) {
    for (uint32_t i = 1; i <= HOSTS_MAX; i++) {
        Tram__Hosts__Record record = HOSTS_NEW(Record, record);
        hosts_host words;
        int rc;

        if (!directory->hosts[i])
            continue;
        words = host_words(directory->hosts[i]);
        words.away = false;
        record.host = &words;
        rc = each(arg, &record);
        if (rc != 0)
            return rc;
    }
    return dir_place_each(directory, each, arg);
}

uint64_t directory_size(const struct directory *directory) {
    return directory->host_count + directory->id_count;
}
