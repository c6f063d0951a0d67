/* SPDX-License-Identifier: MIT
 *
 * tram_name_watch_new(): names_watch() for the application. What names.c tells may come inside a
 * blocking call, in which no handler of the application runs: so it is queued, and told by a timer
 * of the application's kind.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/names.h"
#include "tram/service.h"
#include "wire/name.h"
#include "worker/worker.h"

/* What is to be told. */
struct news {
    struct news *next;
    enum tram_state state;
    bool told;                  /* all that was there: no party */
    struct tram_party party;
    char name[NAME_FULL_SIZE];
    char address[NAME_FULL_SIZE + sizeof("shm://255.255.255.255/")];
    char program[];
};

struct tram_name_watch {
    struct names_watch watch;   /* first: names.c gives it back */
    struct worker_ending ending;
    tram_worker *worker;
    tram_timer *timer;
    tram_name_fn *fn;
    void *arg;
    struct news *first, **last;
    bool telling, freed;
};

static void watch_destroy(tram_name_watch *watch) {
    names_unwatch(&watch->watch);
    watch->timer = tram_timer_free(watch->timer);
    worker_ending_remove(&watch->ending);
    while (watch->first) {
        struct news *news = watch->first;

        watch->first = news->next;
        free(news);
    }
    free(watch);
}

static void tell(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    tram_name_watch *watch = arg;

    (void) timer;
    (void) late_ns;
    (void) missed;
    watch->telling = true;
    while (watch->first && !watch->freed) {
        struct news *news = watch->first;

        watch->first = news->next;
        if (!watch->first)
            watch->last = &watch->first;
        watch->fn(news->state, news->told ? NULL : &news->party, watch->arg);
        free(news);
    }
    watch->telling = false;
    if (watch->freed)
        watch_destroy(watch);
}

/* Where to reach it: by shared memory if it has a port. */
static void address_of(struct news *news, const struct names_party *party) {
    char id[TRAM_ID_TEXT];

    if (party->port != 0)
        (void) snprintf(news->address, sizeof(news->address), "shm://%s/%s",
                        tram_id_format(party->node, id), party->full);
    news->party.address = news->address;
}

static void queue(tram_name_watch *watch, enum tram_state state, const struct names_party *party) {
    const char *address = party && party->port == 0 ? party->addresses[0] : NULL;
    size_t program = party ? strlen(party->program) + 1 : 0;
    size_t further = address ? strlen(address) + 1 : 0;
    size_t host = party ? strlen(party->host) + 1 : 0;
    struct news *news = calloc(1, sizeof(*news) + program + further + host);

    if (!news) {
        (void) worker_fail(watch->worker, -ENOMEM, "no memory for news of a name");
        return;
    }
    news->state = state;
    news->told = !party;
    if (party) {
        memcpy(news->program, party->program, program);
        (void) snprintf(news->name, sizeof(news->name), "%s", party->full);
        news->party.name = news->name;
        news->party.program = news->program;
        news->party.node = party->node;
        news->party.pid = party->pid;
        news->party.host = memcpy(news->program + program + further, party->host, host);
        address_of(news, party);
        if (address)
            news->party.address = memcpy(news->program + program, address, further);
    }
    *watch->last = news;
    watch->last = &news->next;
    (void) tram_timer_set(watch->timer, 0, 0); /* its arguments are right */
}

static void on_online(struct names_watch *watch, const struct names_party *party) {
    queue((tram_name_watch *) watch, TRAM_STATE_ONLINE, party);
}

static void on_offline(struct names_watch *watch, const struct names_party *party) {
    queue((tram_name_watch *) watch, TRAM_STATE_OFFLINE, party);
}

static void on_told(struct names_watch *watch) {
    queue((tram_name_watch *) watch, TRAM_STATE_ONLINE, NULL);
}

static void on_ending(struct worker_ending *ending) {
    watch_destroy(
        (tram_name_watch *) ((char *) ending - offsetof(struct tram_name_watch, ending)));
}

int tram_name_watch_new(tram_worker *worker, const char *pattern, tram_name_fn *fn, void *arg,
                        tram_name_watch **ret_watch) {
    tram_name_watch *watch;
    int rc;

    if (!worker || !pattern || !fn || !ret_watch)
        return -EINVAL;
    rc = worker_check(worker);
    if (rc < 0)
        return rc;
    watch = calloc(1, sizeof(*watch));
    if (!watch)
        return worker_fail(worker, -ENOMEM, "no memory to watch names");
    *watch = (tram_name_watch){
        .watch = { .on_online = on_online, .on_offline = on_offline, .on_told = on_told },
        .ending = { .fn = on_ending },
        .worker = worker,
        .fn = fn,
        .arg = arg,
        .last = &watch->first,
    };
    rc = tram_timer_new(worker, tell, watch, &watch->timer);
    if (rc == 0)
        rc = names_watch(worker, &watch->watch, pattern);
    if (rc < 0) {
        (void) tram_timer_free(watch->timer);
        free(watch);
        return rc;
    }
    worker_ending_add(worker, &watch->ending);
    *ret_watch = watch;
    return 0;
}

tram_name_watch *tram_name_watch_free(tram_name_watch *watch) {
    if (!watch || worker_check(watch->worker) < 0)
        return NULL;
    if (watch->telling)
        watch->freed = true; /* in its own handler */
    else
        watch_destroy(watch);
    return NULL;
}
