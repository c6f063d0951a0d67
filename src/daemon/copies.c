/* SPDX-License-Identifier: MIT
 *
 * What becomes of mirrors when their receiver moves (docs/HOSTS.md, "Copies").
 *
 * In order: messages may lie in a mirror here and nowhere else, for their origin's host may have
 * lost its memory, or may lose it before the receiver's new host has them. So what waits is kept as
 * a copy, and the new host is told so, with what the journals say (placing.c). From then on a copy
 * is an origin: the stand-in of the receiver offers it to the receiver's new host, as the host of
 * the real one does. There the first that comes is taken, and the other one waits; a copy of which
 * all is there is over, and is removed here. So nobody has to find out whether an origin lives.
 *
 * By a take-over: nobody says what was consumed elsewhere. The origin knows, and if its host is
 * connected, with the memory that it had, what lies here is removed, and mirrored anew. If it is
 * not, all of it is kept, and comes marked. Nobody says either which hosts have copies: it is taken
 * from any that may have the receiver, of origins that are lost (may_tell()).
 */
#include <errno.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/stands_inner.h"

#define NOBODY 0xff /* each byte of an origin's instance: its host had lost its memory before */
#define FIRST INT64_C(2000000000) /* a copy has so long to come before what was sent after it */

struct moving {
    struct hosts *hosts;
    int (*each)(struct moving *moving, struct standin *sender, const struct stand_mirror *mirror);
};

static int each_mirror(void *context, const struct stand_mirror *mirror) {
    struct moving *moving = context;
    char from[TRAM_ID_TEXT], to[TRAM_ID_TEXT];
    struct standin *sender;
    int rc = standin_get(moving->hosts, mirror->from, &sender);

    if (rc == 0)
        rc = moving->each(moving, sender, mirror);
    if (rc == 0 || rc == -ENOENT || rc == -EBUSY || files_is_machine(rc))
        return files_is_machine(rc) ? rc : 0;
    log_line(LEVEL_WARNING, "the mirror %s → %s makes no sense, and is left as it is: %s",
             tram_id_format(mirror->from, from), tram_id_format(mirror->to, to), strerror(-rc));
    return 0; /* the other channels go on */
}

/* What has nothing to keep, or makes no sense, is removed. */
static int keep_or_remove(struct standin *sender, tram_id to, bool doubt) {
    int rc = stand_out_keep(sender->stand, to, doubt);

    return rc == 0 || rc == -EBUSY || files_is_machine(rc)
               ? rc : stand_out_remove(sender->stand, to, true);
}

static int keep(struct moving *moving, struct standin *sender, const struct stand_mirror *mirror) {
    (void) moving;
    return stand_out_keep(sender->stand, mirror->to, false);
}

int copies_keep(struct hosts *hosts, tram_id id) {
    struct moving moving = { hosts, keep };

    return stand_mirrors(&hosts->daemon->bus, id, each_mirror, &moving);
}

/* Nobody wrote there since copies_keep(). */
static int given(struct moving *moving, struct standin *sender, const struct stand_mirror *mirror) {
    int rc = stand_out_remove(sender->stand, mirror->to, false);

    (void) moving;
    return rc == -ENOTEMPTY ? 0 : rc;
}

int copies_given(struct hosts *hosts, tram_id id) {
    struct moving moving = { hosts, given };

    stands_refuse(hosts, id);
    return stand_mirrors(&hosts->daemon->bus, id, each_mirror, &moving);
}

/* Its host is connected, with the memory that the mirror came from? */
static bool lives(struct hosts *hosts, const struct stand_mirror *mirror) {
    uint64_t epoch;
    struct host *host = host_by_number(hosts, placing_of(hosts, mirror->from, &epoch));

    return host && peer_is_up(host) &&
           memcmp(host->lived_as, mirror->origin, sizeof(mirror->origin)) == 0;
}

static int back(struct moving *moving, struct standin *sender, const struct stand_mirror *mirror) {
    return lives(moving->hosts, mirror) ? stand_out_remove(sender->stand, mirror->to, true)
                                        : keep_or_remove(sender, mirror->to, true);
}

int copies_back(struct hosts *hosts, tram_id id) {
    struct moving moving = { hosts, back };

    stands_refuse(hosts, id);
    return stand_mirrors(&hosts->daemon->bus, id, each_mirror, &moving);
}

static int here(struct moving *moving, struct standin *sender, const struct stand_mirror *mirror) {
    (void) moving;
    return stand_out_unkeep(sender->stand, mirror->to);
}

int copies_here(struct hosts *hosts, tram_id id) {
    struct moving moving = { hosts, here };

    return stand_mirrors(&hosts->daemon->bus, id, each_mirror, &moving);
}

int copies_reuse(struct hosts *hosts, tram_id from, tram_id id) {
    struct standin *sender;
    int rc = standin_get(hosts, from, &sender);

    return rc < 0 ? rc : keep_or_remove(sender, id, false);
}

/* ---- where the receiver is now --------------------------------------------------------------- */

/* The receiver came here without what its host before knew, so which hosts have copies is not
 * known either. It is taken from who could have had the receiver, when nobody else has it: an
 * origin that lives knows what was consumed, and has it all. */
static bool may_tell(struct host *host, const struct link_name *name,
                     const struct link_offer *offer) {
    return offer->from_epoch == LINK_LOST && placing_is_taken(host->hosts, name->to) &&
           settings_allow_id(hosts_settings(host->hosts), host->name, name->to);
}

bool copies_offer(struct host *host, const struct link_name *name, const struct link_offer *offer,
                  enum link_answer *ret_answer) {
    struct hosts *hosts = host->hosts;
    const struct bus *bus = &hosts->daemon->bus;
    uint64_t epoch, consumed, accepted;
    int rc;

    if ((offer->from_epoch != 0 && offer->from_epoch != LINK_LOST) ||
        placing_of(hosts, name->from, &epoch) == host->number)
        return false;
    rc = stand_copy_find(bus, name->from, name->to, name->stream, host->number, &consumed,
                         &accepted);
    if (rc == 0 && consumed < offer->accepted && accepted < offer->accepted &&
        may_tell(host, name, offer)) {
        rc = stand_copy_tell(bus, name->from, name->to, name->stream, host->number,
                             offer->accepted);
        accepted = offer->accepted;
    }
    if (rc < 0 && !files_is_machine(rc))
        return false;
    *ret_answer = rc < 0                        ? LINK_LATER
                  : consumed >= offer->accepted ? LINK_PAST
                  : offer->accepted <= accepted ? LINK_TAKEN
                                                : LINK_STALE;
    return true;
}

void copies_came_from(const struct mirror *mirror, const struct link_offer *offer,
                      uint8_t ret_origin[STAND_ORIGIN]) {
    if (mirror->copy)
        memset(ret_origin, offer->from_epoch == LINK_LOST ? NOBODY : 0, STAND_ORIGIN);
    else
        memcpy(ret_origin, mirror->host->lived_as, STAND_ORIGIN);
}

bool copies_have(const struct mirror *mirror, const struct link_offer *offer) {
    for (const struct mirror *one = mirror->standin->mirrors; one && mirror->copy;
         one = one->next) {
        struct stand_out_state state;

        if (one->name.to == mirror->name.to && one->name.stream == mirror->name.stream &&
            !one->copy && one->in && one->out && stand_out_look(one->out, &state) == 0 &&
            state.accepted >= offer->accepted)
            return true;
    }
    return false;
}

void copies_over(const struct mirror *mirror) {
    struct host *host = mirror->host, *other;
    uint64_t epoch;
    int rc = stand_copy_forget(&host->hosts->daemon->bus, mirror->name.from, mirror->name.to,
                               mirror->name.stream, host->number);

    if (rc == -ENOENT)
        return;
    other = host_by_number(host->hosts, placing_of(host->hosts, mirror->name.from, &epoch));
    if (other && other->named) /* does it have an origin that goes on there? */
        mirrors_sweep_soon(other);
    if (rc < 0) /* it says more than is there, no harm */
        log_line(LEVEL_WARNING, "host %s: a copy that came can't be noted: %s", host->name,
                 strerror(-rc));
}

/* May another host have one of an older stream, of which nobody told? Not of a node that was never
 * placed anew, and not if something of this stream was consumed. */
static bool may_come(const struct host *host, const struct link_name *name,
                     const struct link_offer *offer) {
    const struct host *other = host->hosts->list;

    if (is_ephemeral(name->from) || offer->from_epoch < 2 || offer->consumed > 0 ||
        !placing_is_taken(host->hosts, name->to))
        return false;
    while (other && (other == host || !peer_is_up(other)))
        other = other->next;
    return other;
}

/* What came to another host before has to be there before what was sent since: if that host is
 * there, it has a while to offer it. What it has offered is in the way by itself. */
bool copies_first(struct host *host, const struct link_name *name,
                  const struct link_offer *offer) {
    struct hosts *hosts = host->hosts;
    const struct host *first;
    uint32_t number;

    if (!placing_is_new(hosts, name->to, FIRST))
        return false;
    if (may_come(host, name, offer))
        return true;
    if (stand_copy_other(&hosts->daemon->bus, name->from, name->to, name->stream, &number) < 0)
        return false;
    first = host_by_number(hosts, number);
    return first && peer_is_up(first);
}

/* ---- where the receiver was ------------------------------------------------------------------ */

/* Has no host the memory that this came from? Those that the cluster knows say which they have. */
static bool is_lost(struct hosts *hosts, const uint8_t origin[STAND_ORIGIN]) {
    static const uint8_t unknown[STAND_ORIGIN];

    if (!hosts->told || memcmp(origin, unknown, STAND_ORIGIN) == 0 ||
        memcmp(origin, hosts->identity.instance, STAND_ORIGIN) == 0)
        return false;
    for (const struct host *host = hosts->list; host; host = host->next)
        if (memcmp(host->instance, unknown, STAND_ORIGIN) == 0 ||
            memcmp(host->instance, origin, STAND_ORIGIN) == 0 ||
            memcmp(host->lived_as, origin, STAND_ORIGIN) == 0)
            return false;
    return true;
}

uint64_t copies_origin(const struct origin *origin) {
    struct hosts *hosts = origin->standin->hosts;
    uint8_t instance[STAND_ORIGIN];

    return stand_copy_origin(&hosts->daemon->bus, origin->from, origin->standin->id,
                             instance) == 0 &&
                   is_lost(hosts, instance)
               ? LINK_LOST : 0;
}

void copies_lost(struct hosts *hosts) {
    for (struct standin *one = hosts->all_standins; one; one = one->all_next)
        for (struct origin *origin = one->origins; origin; origin = origin->next) {
            if (!origin->copy || !origin->out || copies_origin(origin) == origin->lost)
                continue;
            origin_close(origin, LINK_MOVED);
            origin_open(origin);
        }
}

void copies_end(struct origin *origin) {
    int rc = stand_in_remove(origin->in);
    char from[TRAM_ID_TEXT], to[TRAM_ID_TEXT];

    if (rc < 0 && rc != -EBADMSG) /* tried again with the next connection */
        log_line(LEVEL_WARNING, "the copy of the channel %s → %s can't be removed: %s",
                 tram_id_format(origin->from, from), tram_id_format(origin->standin->id, to),
                 strerror(-rc));
    standin_pump(origin->standin);
}
