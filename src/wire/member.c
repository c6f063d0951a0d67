/* SPDX-License-Identifier: MIT */
#include "wire/member.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/link_bug.h"

#define HOLD_EACH 1024u /* IDs of one frame that we send */
#define BEAT_NS INT64_C(2000000000)
#define MISSES 5u

struct claim {
    struct claim *next;
    uint64_t cookie;
    uint32_t id;
    bool take;
};

struct watched {
    struct watched *next;
    uint32_t id;
};

#define BUCKETS 1024u

struct member {
    struct member_who who;
    const struct member_calls *calls;
    void *arg;
    bool connected, joined;
    int64_t heard, beaten;
    int64_t beat_ns;
    uint32_t misses;
    struct claim *claims;
    struct watched *watched[BUCKETS];
};

static void put(struct member *member, hosts_frame frame) {
    if (member->connected)
        member->calls->send(member->arg, &frame);
}

/* ---- joining --------------------------------------------------------------------------------- */

static void say_join(struct member *member) {
    hosts_host host = HOSTS_NEW(Host, host);
    Tram__Hosts__Join join = HOSTS_NEW(Join, join);

    host.number = member->who.number;
    host.name = (char *) (uintptr_t) member->who.host; /* frames that go out are only read */
    host.program = (char *) (uintptr_t) member->who.program;
    host.instance.data = member->who.instance;
    host.instance.len = HOSTS_INSTANCE;
    host.addresses = (char **) (uintptr_t) member->who.addresses;
    host.n_addresses = member->who.count;
    join.version = HOSTS_VERSION;
    join.cluster = (char *) (uintptr_t) member->who.cluster;
    join.host = &host;
    put(member, HOSTS_FRAME(JOIN, join, &join));
}

static void say_held(struct member *member) {
    Tram__Hosts__Holding holdings[HOLD_EACH], *pointers[HOLD_EACH];
    uint32_t id = 0;
    bool more = true;

    while (more) {
        Tram__Hosts__Hold hold = HOSTS_NEW(Hold, hold);
        size_t count = 0;

        while (count < HOLD_EACH) {
            holdings[count] = HOSTS_NEW(Holding, holding);
            pointers[count] = &holdings[count];
            more = member->calls->held(member->arg, id, &id, &holdings[count].epoch);
            if (!more)
                break;
            holdings[count++].id = id;
        }
        hold.ids = pointers;
        hold.n_ids = count;
        hold.last = !more;
        put(member, HOSTS_FRAME(HOLD, hold, &hold));
    }
}

static void say_claim(struct member *member, const struct claim *claim) {
    Tram__Hosts__Claim words = HOSTS_NEW(Claim, claim);

    words.cookie = claim->cookie;
    words.id = claim->id;
    words.take = claim->take;
    put(member, HOSTS_FRAME(CLAIM, claim, &words));
}

static void say_where(struct member *member, uint32_t id, bool stop) {
    Tram__Hosts__Where where = HOSTS_NEW(Where, where);

    where.id = id;
    where.stop = stop;
    put(member, HOSTS_FRAME(WHERE, where, &where));
}

void member_connected(struct member *member, int64_t now) {
    member->connected = true;
    member->joined = false;
    member->heard = member->beaten = now;
    say_join(member);
}

static int take_welcome(struct member *member, const Tram__Hosts__Welcome *welcome,
                        struct wrong *wrong) {
    if (welcome->error < 0)
        return wrong_set(wrong, welcome->error, "the directory refuses: %.160s", welcome->text);
    if (member->joined)
        return wrong_set(wrong, -EBADMSG, "a second greeting");
    member->who.number = welcome->number;
    if (welcome->beat_ms >= 10 && welcome->misses > 0) {
        member->beat_ns = (int64_t) welcome->beat_ms * 1000000;
        member->misses = welcome->misses;
    }
    member->joined = true;
    say_held(member);
    for (uint32_t i = 0; i < BUCKETS && !BUG(FORGET_WATCH); i++)
        for (struct watched *watched = member->watched[i]; watched; watched = watched->next)
            say_where(member, watched->id, false);
    for (struct claim *claim = member->claims; claim; claim = claim->next)
        say_claim(member, claim);
    member->calls->on_joined(member->arg, welcome->number);
    return 0;
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* Take a claim off the list. False: nobody waits for it. */
static bool claim_end(struct member *member, uint64_t cookie, uint32_t id) {
    for (struct claim **link = &member->claims; *link; link = &(*link)->next) {
        struct claim *claim = *link;

        if (claim->cookie != cookie || (id != 0 && claim->id != id))
            continue;
        *link = claim->next;
        free(claim);
        return true;
    }
    return false;
}

static void take_answer(struct member *member, const hosts_frame *frame) {
    const struct member_calls *calls = member->calls;

    if (frame->kind_case == TRAM__HOSTS__FRAME__KIND_GRANTED) {
        const Tram__Hosts__Granted *granted = frame->granted;

        /* Also if nobody waits: it is placed here. */
        (void) claim_end(member, granted->cookie, granted->id);
        calls->on_granted(member->arg, granted->cookie, granted->id, granted->epoch, granted->from,
                          granted->taken);
    } else if (claim_end(member, frame->refused->cookie, frame->refused->id)) {
        calls->on_refused(member->arg, frame->refused->cookie, frame->refused->id,
                          frame->refused->error < 0 ? frame->refused->error : -EACCES,
                          frame->refused->host, frame->refused->text);
    }
}

int member_take(struct member *member, int64_t now, const hosts_frame *frame, struct wrong *wrong) {
    const struct member_calls *calls = member->calls;

    member->heard = now;
    if (!member->joined && frame->kind_case != TRAM__HOSTS__FRAME__KIND_WELCOME)
        return wrong_set(wrong, -EBADMSG, "the directory begins without a greeting");
    switch ((int) frame->kind_case) {
    case TRAM__HOSTS__FRAME__KIND_WELCOME:
        return take_welcome(member, frame->welcome, wrong);
    case TRAM__HOSTS__FRAME__KIND_MEMBER:
        calls->on_host(member->arg, frame->member->host, frame->member->gone);
        return 0;
    case TRAM__HOSTS__FRAME__KIND_TOLD:
        calls->on_told(member->arg);
        return 0;
    case TRAM__HOSTS__FRAME__KIND_GRANTED:
    case TRAM__HOSTS__FRAME__KIND_REFUSED:
        take_answer(member, frame);
        return 0;
    case TRAM__HOSTS__FRAME__KIND_PLACED:
        calls->on_placed(member->arg, frame->placed);
        return 0;
    case TRAM__HOSTS__FRAME__KIND_YIELD:
        calls->on_yield(member->arg, frame->yield->id, frame->yield->epoch, frame->yield->to);
        return 0;
    case TRAM__HOSTS__FRAME__KIND_DONE:
        calls->on_done(member->arg, frame->done->cookie, frame->done->error, frame->done->text);
        return 0;
    case TRAM__HOSTS__FRAME__KIND_BEAT:
        return 0; /* that it was heard is all */
    default:
        return wrong_set(wrong, -EBADMSG, "a frame of kind %d, which no directory sends",
                         (int) frame->kind_case);
    }
}

void member_cut(struct member *member) {
    member->connected = member->joined = false;
}

int64_t member_time(struct member *member, int64_t now) {
    if (!member->connected)
        return INT64_MAX;
    if (now - member->heard > member->beat_ns * (int64_t) member->misses)
        return -ETIMEDOUT;
    if (now - member->beaten >= member->beat_ns) {
        Tram__Hosts__Beat beat = HOSTS_NEW(Beat, beat);

        beat.time = (uint64_t) now;
        member->beaten = now;
        if (member->joined)
            put(member, HOSTS_FRAME(BEAT, beat, &beat));
    }
    return member->beaten + member->beat_ns;
}

bool member_joined(const struct member *member) {
    return member->joined;
}

/* ---- what is asked --------------------------------------------------------------------------- */

int member_claim(struct member *member, uint64_t cookie, uint32_t id, bool take) {
    struct claim **link = &member->claims;
    struct claim *claim;

    for (; *link; link = &(*link)->next)
        if ((*link)->id == id)
            return -EEXIST;
    claim = calloc(1, sizeof(*claim));
    if (!claim)
        return -ENOMEM;
    *claim = (struct claim){ .cookie = cookie, .id = id, .take = take };
    *link = claim;
    if (member->joined)
        say_claim(member, claim);
    return 0;
}

void member_claim_end(struct member *member, uint64_t cookie) {
    (void) claim_end(member, cookie, 0);
}

int member_watch(struct member *member, uint32_t id) {
    struct watched **bucket = &member->watched[id % BUCKETS];
    struct watched *watched;

    for (watched = *bucket; watched; watched = watched->next)
        if (watched->id == id)
            return 0;
    watched = calloc(1, sizeof(*watched));
    if (!watched)
        return -ENOMEM;
    watched->id = id;
    watched->next = *bucket;
    *bucket = watched;
    if (member->joined)
        say_where(member, id, false);
    return 0;
}

void member_unwatch(struct member *member, uint32_t id) {
    for (struct watched **link = &member->watched[id % BUCKETS]; *link; link = &(*link)->next) {
        struct watched *watched = *link;

        if (watched->id != id)
            continue;
        *link = watched->next;
        free(watched);
        if (member->joined)
            say_where(member, id, true);
        return;
    }
}

void member_release(struct member *member, uint32_t id, uint64_t epoch) {
    Tram__Hosts__Release release = HOSTS_NEW(Release, release);

    release.id = id;
    release.epoch = epoch;
    if (member->joined)
        put(member, HOSTS_FRAME(RELEASE, release, &release));
}

void member_settled(struct member *member, uint32_t id, uint64_t epoch) {
    Tram__Hosts__Settled settled = HOSTS_NEW(Settled, settled);

    settled.id = id;
    settled.epoch = epoch;
    if (member->joined)
        put(member, HOSTS_FRAME(SETTLED, settled, &settled));
}

void member_left(struct member *member, uint32_t id, struct member_left left) {
    Tram__Hosts__Left words = HOSTS_NEW(Left, left);

    words.id = id;
    words.to = (uint32_t *) (uintptr_t) left.to; /* they are only read */
    words.n_to = left.count;
    if (member->joined)
        put(member, HOSTS_FRAME(LEFT, left, &words));
}

void member_yielded(struct member *member, uint32_t id, uint64_t epoch, int error, bool knew,
                    struct member_left left, const char *text) {
    Tram__Hosts__Yielded yielded = HOSTS_NEW(Yielded, yielded);

    yielded.id = id;
    yielded.epoch = epoch;
    yielded.error = error;
    yielded.knew = knew && !BUG(SETTLED_LOST);
    yielded.left = (uint32_t *) (uintptr_t) left.to; /* they are only read */
    yielded.n_left = left.count;
    yielded.text = (char *) (uintptr_t) text; /* it is only read */
    if (member->joined)
        put(member, HOSTS_FRAME(YIELDED, yielded, &yielded));
}

int member_forget(struct member *member, uint64_t cookie, const char *host) {
    Tram__Hosts__Forget forget = HOSTS_NEW(Forget, forget);

    if (!member->joined)
        return -EAGAIN;
    forget.cookie = cookie;
    forget.host = (char *) (uintptr_t) host; /* it is only read */
    put(member, HOSTS_FRAME(FORGET, forget, &forget));
    return 0;
}

/* ---- all of it ------------------------------------------------------------------------------- */

int member_new(const struct member_who *who, const struct member_calls *calls, void *arg,
               struct member **ret_member) {
    struct member *member = calloc(1, sizeof(*member));

    if (!member)
        return -ENOMEM;
    member->who = *who;
    member->calls = calls;
    member->arg = arg;
    member->beat_ns = BEAT_NS;
    member->misses = MISSES;
    *ret_member = member;
    return 0;
}

struct member *member_free(struct member *member) {
    if (!member)
        return NULL;
    while (member->claims)
        (void) claim_end(member, member->claims->cookie, member->claims->id);
    for (uint32_t i = 0; i < BUCKETS; i++) {
        while (member->watched[i]) {
            struct watched *watched = member->watched[i];

            member->watched[i] = watched->next;
            free(watched);
        }
    }
    free(member);
    return NULL;
}
