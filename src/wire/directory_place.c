/* SPDX-License-Identifier: MIT
 *
 * Where nodes are placed: claims, and who has to yield. The rules are in directory.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/directory_inner.h"
#include "wire/link_bug.h"

/* ---- the table ------------------------------------------------------------------------------- */

static struct dir_place **bucket_of(struct directory *directory, uint32_t id) {
    return &directory->places[(id * 2654435761u) >> 16 & (DIRECTORY_BUCKETS - 1)];
}

static struct dir_place *dir_place_find(struct directory *directory, uint32_t id) {
    struct dir_place *place = *bucket_of(directory, id);

    while (place && place->id != id)
        place = place->next;
    return place;
}

static struct dir_place *dir_place_get(struct directory *directory, uint32_t id) {
    struct dir_place *place = dir_place_find(directory, id);

    if (place)
        return place;
    place = calloc(1, sizeof(*place));
    if (!place)
        return NULL;
    place->id = id;
    place->next = *bucket_of(directory, id);
    *bucket_of(directory, id) = place;
    place->all_next = directory->all;
    place->all_link = &directory->all;
    if (directory->all)
        directory->all->all_link = &place->all_next;
    directory->all = place;
    directory->id_count++;
    return place;
}

/* Forget one that was never placed and that nobody asks for. */
static void dir_place_put(struct directory *directory, struct dir_place *place) {
    struct dir_place **link = bucket_of(directory, place->id);

    if (place->epoch > 0 || place->asker || place->watches)
        return;
    while (*link != place)
        link = &(*link)->next;
    *link = place->next;
    *place->all_link = place->all_next;
    if (place->all_next)
        place->all_next->all_link = place->all_link;
    directory->id_count--;
    free(place->left);
    free(place);
}

void dir_place_free_all(struct directory *directory) {
    while (directory->all) {
        struct dir_place *place = directory->all;

        directory->all = place->all_next;
        free(place->left);
        free(place);
    }
}

static struct dir_host *host_at(struct directory *directory, uint32_t number) {
    return number <= HOSTS_MAX ? directory->hosts[number] : NULL;
}

/* ---- telling --------------------------------------------------------------------------------- */

static uint32_t *left_to(const struct dir_place *place) {
    return place->left_count > 0 ? place->left + place->left_count : NULL;
}

static void tell_place(struct directory *directory, const struct directory_member *member,
                       struct dir_place *place) {
    Tram__Hosts__Placed placed = HOSTS_NEW(Placed, placed);

    placed.id = place->id;
    placed.epoch = place->epoch;
    placed.host = place->host;
    placed.left = place->left;
    placed.to = left_to(place);
    placed.n_left = placed.n_to = place->left_count;
    directory_send(directory, member, HOSTS_FRAME(PLACED, placed, &placed));
}

static void tell_watches(struct directory *directory, struct dir_place *place) {
    for (const struct dir_watch *watch = place->watches; watch; watch = watch->next)
        tell_place(directory, watch->member, place);
}

__attribute__((format(printf, 7, 8))) static void
refuse(struct directory *directory, const struct directory_member *member, uint64_t cookie,
       uint32_t id, int error, uint32_t host, const char *format, ...) {
    Tram__Hosts__Refused refused = HOSTS_NEW(Refused, refused);
    char text[CONTROL_TEXT_MAX + 1];
    va_list arguments;

    va_start(arguments, format);
    (void) vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    refused.cookie = cookie;
    refused.id = id;
    refused.error = error;
    refused.text = text;
    refused.host = host;
    directory_send(directory, member, HOSTS_FRAME(REFUSED, refused, &refused));
}

/* What the last holder knew of it is lost, as the present one never got to know it. */
static bool is_lost(const struct dir_place *place) {
    return place->host > 0 && place->from == place->host;
}

static void grant(struct directory *directory, const struct directory_member *member,
                  uint64_t cookie, const struct dir_place *place, bool taken) {
    Tram__Hosts__Granted granted = HOSTS_NEW(Granted, granted);

    granted.cookie = cookie;
    granted.id = place->id;
    granted.epoch = place->epoch;
    granted.from = is_lost(place) ? 0 : place->from;
    granted.taken = taken || is_lost(place);
    directory_send(directory, member, HOSTS_FRAME(GRANTED, granted, &granted));
}

/* ---- placing --------------------------------------------------------------------------------- */

static int note_place(struct directory *directory, struct dir_place *place) {
    Tram__Hosts__Record record = HOSTS_NEW(Record, record);

    record.id = place->id;
    record.epoch = place->epoch;
    record.holder = place->host;
    record.from = place->from;
    record.left = place->left;
    record.to = left_to(place);
    record.n_left = record.n_to = place->left_count;
    return directory->calls->note(directory->arg, &record);
}

/* Where what it sent waits, and for whom, as it was; but without one host, and with others for
 * another one, at its place, or as the youngest. */
static int left_change(struct dir_place *place, uint32_t without, uint32_t host,
                       const uint32_t *to, size_t count) {
    uint32_t hosts[HOSTS_LEFT_MAX + HOSTS_LEFT_EACH], whom[HOSTS_LEFT_MAX + HOSTS_LEFT_EACH];
    uint32_t made = 0, *left = NULL;
    bool in = count == 0;

    for (uint32_t i = 0; i <= place->left_count; i++) {
        bool last = i == place->left_count;

        for (size_t k = 0; !in && (last || place->left[i] == host) && k < count; k++) {
            hosts[made] = host;
            whom[made++] = to[k];
        }
        in = in || last || place->left[i] == host;
        if (last || place->left[i] == without || place->left[i] == host)
            continue;
        hosts[made] = place->left[i];
        whom[made++] = place->left[place->left_count + i];
    }
    if (made > HOSTS_LEFT_MAX)
        return -EAGAIN; /* until somewhere it came through */
    if (made > 0) {
        left = malloc(2 * made * sizeof(*left));
        if (!left)
            return -ENOMEM;
        memcpy(left, hosts, made * sizeof(*left));
        memcpy(left + made, whom, made * sizeof(*left));
    }
    place->left = left; /* whose the old one was frees it */
    place->left_count = made;
    return 0;
}

static bool left_has(const struct dir_place *place, uint32_t host) {
    for (uint32_t i = 0; i < place->left_count; i++)
        if (place->left[i] == host)
            return true;
    return false;
}

/* What changed, and left_change() made, is so if it can be noted; else all is as `before`. */
static int note_or_undo(struct directory *directory, struct dir_place *place,
                        const struct dir_place *before) {
    int rc = note_place(directory, place);

    free(rc < 0 ? place->left : before->left);
    if (rc < 0) {
        place->host = before->host;
        place->epoch = before->epoch;
        place->from = before->from;
        place->left = before->left;
        place->left_count = before->left_count;
    }
    return rc;
}

/* It is placed there from now on, if that can be noted. `yielded`: with what waits where it was,
 * or, if it was not known there that it was, what is noted of that host, for what else it has is of
 * one who was fenced; NULL: if something waits, it is of one who is fenced. What the new holder has
 * itself is in front of what it sends, as soon as it is settled. */
static int dir_place_set(struct directory *directory, struct dir_place *place, uint32_t host,
                         uint64_t epoch, uint32_t from, const Tram__Hosts__Yielded *yielded) {
    struct dir_place before = *place;
    bool knew = yielded && yielded->knew;
    int rc = left_change(place, from == 0 ? host : 0, yielded && !knew ? 0 : place->host,
                         knew ? yielded->left : NULL,
                         knew && host != place->host ? yielded->n_left : 0);

    if (rc < 0)
        return rc;
    place->host = host;
    place->epoch = epoch;
    place->from = from;
    rc = note_or_undo(directory, place, &before);
    if (rc < 0)
        return rc;
    if (host_at(directory, before.host))
        host_at(directory, before.host)->ids--;
    if (host_at(directory, host))
        host_at(directory, host)->ids++;
    if (place->asker && host != before.host) { /* no answer to YIELD holds for it any more */
        refuse(directory, place->asker, place->cookie, place->id, -EAGAIN, host,
               "it was placed elsewhere while it was asked for");
        place->asker = NULL;
    }
    tell_watches(directory, place);
    return 0;
}

/* What waits there of it is its own again, and in nobody's way. True also if it can't be noted: it
 * says so once more to a directory that does not know it, by HOLD. */
static int place_settled(struct directory *directory, struct dir_place *place) {
    uint32_t *left = place->left;
    int rc = left_change(place, place->host, 0, NULL, 0);

    if (rc < 0)
        return rc;
    free(left);
    place->from = 0;
    (void) note_place(directory, place);
    tell_watches(directory, place);
    return 0;
}

static bool is_allowed(struct directory *directory, const struct dir_host *host, uint32_t id) {
    return !directory->calls->allowed ||
           directory->calls->allowed(directory->arg, host->name, id);
}

/* It is new to the directory, or the member knows of a later placing: the higher epoch is right. */
int dir_place_hold(struct directory *directory, struct directory_member *member, uint32_t id,
               uint64_t epoch) {
    struct dir_host *host = member->host, *loser;
    struct dir_place *place;
    int rc;

    if (!is_allowed(directory, host, id))
        return 0; /* it may not have it, whatever it says; nobody will be sent there */
    place = dir_place_get(directory, id);
    if (!place)
        return -ENOMEM;
    if (place->host == host->number && place->epoch == epoch && place->from > 0 &&
        !BUG(SETTLED_LOST))
        return place_settled(directory, place);
    if (place->host == host->number && place->epoch >= epoch)
        return 0;
    if (place->epoch >= epoch && !BUG(HOLD_LOWER)) { /* it was placed elsewhere meanwhile */
        tell_place(directory, member, place);
        return 0;
    }
    if (host->ids >= directory->rules.ids_each) {
        dir_place_put(directory, place);
        return -EDQUOT;
    }
    loser = host_at(directory, place->host);
    rc = dir_place_set(directory, place, host->number, epoch, 0, NULL);
    if (rc < 0)
        return rc;
    if (loser && loser != host && loser->member && loser->member->joined)
        tell_place(directory, loser->member, place);
    return 0;
}

/* Place it with who asked, and tell him; and who had it, if he did not yield. */
static void dir_place_anew(struct directory *directory, struct dir_place *place,
                       struct directory_member *member, uint64_t cookie, bool taken,
                           const Tram__Hosts__Yielded *yielded) {
    struct dir_host *old = host_at(directory, place->host);
    /* What a holder never got to know it can't hand on. */
    uint32_t from = place->from ? place->from : place->host;
    int rc;

    if (is_lost(place) || (from == 0 && place->epoch > 0)) /* nobody has it, who had it once */
        from = member->host->number; /* is lost */
    else if (from == member->host->number || BUG(FORGET_FROM))
        from = 0;
    rc = dir_place_set(directory, place, member->host->number,
                       place->epoch + !(BUG(EPOCH_KEPT) && place->epoch > 0), from, yielded);
    if (rc < 0) {
        refuse(directory, member, cookie, place->id, rc, 0, "it can't be noted: error %d", -rc);
        dir_place_put(directory, place);
        return;
    }
    grant(directory, member, cookie, place, taken);
    if (taken && old && old->member && old->member->joined && !BUG(NO_FENCE))
        tell_place(directory, old->member, place);
}

/* It is placed on another host, which has to be asked, or is not there. */
static void claim_elsewhere(struct directory *directory, struct directory_member *member,
                            const Tram__Hosts__Claim *claim, struct dir_place *place) {
    Tram__Hosts__Yield yield = HOSTS_NEW(Yield, yield);
    struct dir_host *old = host_at(directory, place->host);

    if (claim->take) {
        if (place->asker && place->asker != member)
            refuse(directory, place->asker, place->cookie, place->id, -EAGAIN,
                   member->host->number, "it was taken over by host %s", member->host->name);
        place->asker = NULL;
        dir_place_anew(directory, place, member, claim->cookie, true, NULL);
        return;
    }
    if (place->asker && place->asker != member) {
        refuse(directory, member, claim->cookie, claim->id, -EAGAIN, place->host,
               "host %s asks for it at this moment", place->asker->host->name);
        return;
    }
    if (BUG(NO_YIELD)) {
        dir_place_anew(directory, place, member, claim->cookie, false, NULL);
    } else if (old->member && old->member->joined) {
        place->asker = member;
        place->cookie = claim->cookie;
        yield.id = place->id;
        yield.epoch = place->epoch + 1;
        yield.to = member->host->number;
        directory_send(directory, old->member, HOSTS_FRAME(YIELD, yield, &yield));
    } else if (old->away && directory->rules.lease_ns > 0 &&
               directory->now - old->since > directory->rules.lease_ns) {
        dir_place_anew(directory, place, member, claim->cookie, true, NULL);
    } else {
        refuse(directory, member, claim->cookie, claim->id, -EHOSTUNREACH, place->host,
               "it is placed on host %s, which %s", old->name,
               old->away ? "is unreachable" : "does not answer at the moment");
    }
}

void dir_place_claim(struct directory *directory, struct directory_member *member,
                 const Tram__Hosts__Claim *claim) {
    struct dir_host *host = member->host;
    struct dir_place *place;

    if (!is_allowed(directory, host, claim->id)) {
        refuse(directory, member, claim->cookie, claim->id, -EACCES, 0,
               "host %s may not have it", host->name);
        return;
    }
    place = dir_place_find(directory, claim->id);
    if ((!place || place->host != host->number) && host->ids >= directory->rules.ids_each) {
        refuse(directory, member, claim->cookie, claim->id, -EDQUOT, 0,
               "host %s has %" PRIu64 " nodes already", host->name, host->ids);
        return;
    }
    place = dir_place_get(directory, claim->id);
    if (!place) {
        refuse(directory, member, claim->cookie, claim->id, -ENOMEM, 0, "no memory");
        return;
    }
    if (place->asker && place->host == host->number) /* its answer to YIELD is under way */
        refuse(directory, member, claim->cookie, claim->id, -EAGAIN, place->host,
               "host %s asks for it at this moment", place->asker->host->name);
    else if (place->host == host->number && !host->anew)
        grant(directory, member, claim->cookie, place, claim->take && place->from > 0);
    else if (place->host == 0 || place->host == host->number || !host_at(directory, place->host))
        dir_place_anew(directory, place, member, claim->cookie, false, NULL);
    else
        claim_elsewhere(directory, member, claim, place);
}

int dir_place_yielded(struct directory *directory, struct directory_member *member,
                      const Tram__Hosts__Yielded *yielded, struct wrong *wrong) {
    struct dir_place *place = dir_place_find(directory, yielded->id);
    struct directory_member *asker = place ? place->asker : NULL;

    if (!asker || place->host != member->host->number || yielded->epoch != place->epoch + 1)
        return 0; /* nobody waits for it any more */
    if (yielded->knew && yielded->error == 0 && place->from > 0) { /* whether we were told or not */
        int rc = place_settled(directory, place);

        if (rc < 0)
            return wrong_set(wrong, rc, "that it had a node can't be kept: error %d", -rc);
    }
    place->asker = NULL;
    if (yielded->error < 0)
        refuse(directory, asker, place->cookie, place->id, yielded->error, place->host, "%s",
               yielded->text);
    else
        dir_place_anew(directory, place, asker, place->cookie, false, yielded);
    return 0;
}

/* What waits on that host, by now; or is lost. */
static int left_set(struct directory *directory, struct dir_place *place, uint32_t host,
                    const uint32_t *to, size_t count) {
    struct dir_place before = *place;
    int rc;

    if (!left_has(place, host))
        return 0; /* it says nothing of what it did not give up */
    rc = left_change(place, 0, host, to, count);
    if (rc == 0)
        rc = note_or_undo(directory, place, &before);
    if (rc == 0)
        tell_watches(directory, place);
    return rc;
}

/* Can't it be noted: it is said again. */
void dir_place_left(struct directory *directory, struct directory_member *member,
                    const Tram__Hosts__Left *left) {
    struct dir_place *place = dir_place_find(directory, left->id);

    if (place && !BUG(LEFT_STAYS))
        (void) left_set(directory, place, member->host->number, left->to, left->n_to);
}

int dir_place_settled(struct directory *directory, struct directory_member *member,
                      const Tram__Hosts__Settled *settled, struct wrong *wrong) {
    struct dir_place *place = dir_place_find(directory, settled->id);
    int rc = 0;

    if (place && place->host == member->host->number && place->epoch == settled->epoch &&
        place->from > 0)
        rc = place_settled(directory, place);
    return rc < 0 ? wrong_set(wrong, rc, "that it has a node can't be kept: error %d", -rc) : 0;
}

void dir_place_release(struct directory *directory, struct directory_member *member,
                   const Tram__Hosts__Release *release) {
    struct dir_place *place = dir_place_find(directory, release->id);

    if (place && place->host == member->host->number && place->epoch == release->epoch)
        (void) dir_place_set(directory, place, 0, place->epoch, 0, NULL); /* or it stays there */
}

int dir_place_forget(struct directory *directory, struct dir_host *host) {
    for (struct dir_place *place = directory->all; place; place = place->all_next) {
        int rc = 0;

        /* One more, so that it is fenced, should it come back. */
        if (place->host == host->number)
            rc = dir_place_set(directory, place, 0, place->epoch + 1, 0, NULL);
        else if (place->from == host->number) /* is lost */
            rc = dir_place_set(directory, place, place->host, place->epoch, place->host, NULL);
        if (rc == 0)
            rc = left_set(directory, place, host->number, NULL, 0);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* ---- watches --------------------------------------------------------------------------------- */

static struct dir_watch **watch_find(struct dir_place *place,
                                     const struct directory_member *member) {
    struct dir_watch **link = &place->watches;

    while (*link && (*link)->member != member)
        link = &(*link)->next;
    return link;
}

static void watch_end(struct dir_watch **link) {
    struct dir_watch *watch = *link;

    watch->member->watches--;
    *link = watch->next;
    free(watch);
}

int dir_place_where(struct directory *directory, struct directory_member *member,
                const Tram__Hosts__Where *where, struct wrong *wrong) {
    struct dir_place *place = where->stop ? dir_place_find(directory, where->id)
                                          : dir_place_get(directory, where->id);
    struct dir_watch **link = place ? watch_find(place, member) : NULL;

    if (where->stop) {
        if (link && *link) {
            watch_end(link);
            dir_place_put(directory, place);
        }
        return 0;
    }
    if (!place)
        return wrong_set(wrong, -ENOMEM, "no memory");
    if (!*link && member->watches < directory->rules.ids_each) {
        struct dir_watch *watch = calloc(1, sizeof(*watch));

        if (!watch) {
            dir_place_put(directory, place);
            return wrong_set(wrong, -ENOMEM, "no memory");
        }
        watch->member = member;
        member->watches++;
        *link = watch;
    } else if (!*link && !member->crowded) {
        member->crowded = true;
        directory_say(directory, "host %s asks for more IDs than ids-each: it is not told when "
                      "those beyond move", member->host->name);
    }
    tell_place(directory, member, place);
    dir_place_put(directory, place); /* if nobody is told of it */
    return 0;
}

void dir_place_gone(struct directory *directory, struct directory_member *member) {
    struct dir_place *next;

    for (struct dir_place *place = directory->all; place; place = next) {
        bool here = member->host && place->host == member->host->number;
        struct dir_watch **link = watch_find(place, member);

        next = place->all_next;
        if (*link)
            watch_end(link);
        if (place->asker && place->asker != member && here)
            refuse(directory, place->asker, place->cookie, place->id, -EHOSTUNREACH, place->host,
                   "it is placed on host %s, which went while it was asked", member->host->name);
        if (place->asker == member || here)
            place->asker = NULL;
        dir_place_put(directory, place);
    }
}

/* ---- the file -------------------------------------------------------------------------------- */

int dir_place_enter(struct directory *directory, const Tram__Hosts__Record *record) {
    struct dir_place *place = dir_place_get(directory, record->id);

    if (!place)
        return -ENOMEM;
    if (host_at(directory, place->host))
        host_at(directory, place->host)->ids--;
    place->epoch = record->epoch;
    place->host = record->holder;
    place->from = record->from;
    free(place->left);
    place->left = NULL;
    place->left_count = 0;
    if (record->n_left > 0)
        place->left = malloc(2 * record->n_left * sizeof(*place->left));
    if (record->n_left > 0 && !place->left)
        return -ENOMEM;
    for (size_t i = 0; i < record->n_left; i++) {
        place->left[i] = record->left[i];
        place->left[record->n_left + i] = record->to[i];
    }
    place->left_count = (uint32_t) record->n_left;
    if (host_at(directory, place->host))
        host_at(directory, place->host)->ids++;
    return 0;
}

int dir_place_each(struct directory *directory,
               int (*each)(void *arg, const Tram__Hosts__Record *record), void *arg) {
    for (struct dir_place *place = directory->all; place; place = place->all_next) {
        Tram__Hosts__Record record = HOSTS_NEW(Record, record);
        int rc;

        if (place->epoch == 0)
            continue;
        record.id = place->id;
        record.epoch = place->epoch;
        record.holder = place->host;
        record.from = place->from;
        record.left = place->left;
        record.to = left_to(place);
        record.n_left = record.n_to = place->left_count;
        rc = each(arg, &record);
        if (rc != 0)
            return rc;
    }
    return 0;
}
