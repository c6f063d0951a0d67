/* SPDX-License-Identifier: MIT
 *
 * What links ask of the rings of this bus: struct link_store (wire/link.h) over node/stand.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/relay.h"
#include "daemon/stands_inner.h"
#include "sys/clock.h"

#define MIRROR_RING (UINT64_C(4) << 20) /* as a node's own */
#define POLL INT64_C(10000000)   /* between two looks at a mirror whose reader can't ring us */
#define AGAIN INT64_C(50000000)  /* between two tries of one that waits */
#define KEEP INT64_C(5000000000) /* a mirror stays open so long without a connection */
#define SWEEP INT64_C(1000000000) /* after all were named: not while connections come and go */

/* ---- origins --------------------------------------------------------------------------------- */

/* A channel that stays open says that more may come: what its sender sends elsewhere would wait for
 * it over there. */
bool origin_is_over(const struct origin *origin) {
    struct hosts *hosts = origin->standin->hosts;
    struct stand_in_state state;
    uint64_t epoch;
    uint32_t placed = placing_of(hosts, origin->from, &epoch);

    if (!origin->copy &&
        (placed == 0 || placed == hosts->self.host || is_ephemeral(origin->from)))
        return false;
    stand_in_state(origin->in, &state);
    return state.consumed == state.accepted && !state.broken;
}

void origin_open(struct origin *origin) {
    struct standin *standin = origin->standin;
    struct host *host = host_by_number(standin->hosts, standin->host);
    struct stand_in_state state;
    struct link_name name;
    int rc;

    if (origin->copy && origin_is_over(origin))
        copies_end(origin);
    if (origin->out || !host || !host->peer || origin_is_over(origin))
        return;
    stand_in_state(origin->in, &state);
    if (state.broken)
        return;
    name = (struct link_name){ state.from, standin->id, state.id };
    rc = link_open(peer_link(host), &name, origin, &origin->out);
    if (rc < 0) {
        log_line(LEVEL_WARNING, "host %s: a channel can't be opened: %s", host->name,
                 strerror(-rc));
        return;
    }
    origin->host = host;
    origin->answer = LINK_TAKEN;
    peer_flush(host);
}

void origin_close(struct origin *origin, enum link_end end) {
    struct stand_in_state state;

    if (!origin->out)
        return;
    stand_in_state(origin->in, &state);
    origin->out = link_close(peer_link(origin->host), origin->out, end,
                             state.consumed < state.accepted);
    peer_flush(origin->host);
    origin->host = NULL;
    if (origin->copy && end == LINK_ENDED && state.consumed == state.accepted)
        copies_end(origin);
}

static int store_offer(void *store, void *channel, struct link_offer *ret_offer) {
    struct host *host = store;
    struct origin *origin = channel;
    struct stand_in_state state;

    stand_in_state(origin->in, &state);
    if (state.broken)
        return -EBADMSG;
    *ret_offer = (struct link_offer){
        .consumed = state.consumed,
        .handed = state.handed,
        .accepted = state.accepted,
        .to_epoch = origin->standin->epoch,
    };
    if (origin->copy) { /* what of it came from elsewhere is not known here */
        ret_offer->handed = state.accepted;
        ret_offer->from_epoch = origin->lost = copies_origin(origin);
    } else if (!is_ephemeral(state.from)) {
        (void) placing_of(host->hosts, state.from, &ret_offer->from_epoch);
    } else {
        (void) life_number(host->hosts->daemon, state.from, &ret_offer->from_epoch);
    }
    return 0;
}

static int store_run(void *store, void *channel, uint64_t seq, uint64_t offset, uint32_t max,
                     struct link_run *ret_run) {
    struct origin *origin = channel;
    struct stand_in_state state;
    struct stand_run run;
    int rc = stand_in_run(origin->in, seq, offset, max, &run);

    (void) store;
    if (rc <= 0) {
        standin_pump(origin->standin); /* so that it tells of more */
        return rc;
    }
    stand_in_state(origin->in, &state);
    *ret_run = (struct link_run){ .bytes = run.data, .size = (uint32_t) run.size };
    ret_run->last = run.last >= run.first ? run.last : 0;
    ret_run->seq = run.last + 1;
    ret_run->offset = run.left == 0 ? 0 : run.offset + run.size;
    ret_run->more = run.left > 0 || state.accepted > run.last;
    return 1;
}

static int store_handed(void *store, void *channel, uint64_t seq) {
    (void) store;
    return stand_in_handed(((struct origin *) channel)->in, seq);
}

static void store_commit(void *store, void *channel, uint64_t consumed) {
    struct host *host = store;
    struct origin *origin = channel;
    struct stand_in_state state;
    int rc = 0;

    stand_in_state(origin->in, &state);
    if (origin->copy) { /* others may have brought more */
        consumed = consumed < state.accepted ? consumed : state.accepted;
        rc = stand_in_handed(origin->in, consumed);
    }
    if (rc == 0)
        rc = stand_in_commit(origin->in, consumed);
    if (rc < 0)
        log_line(LEVEL_WARNING, "host %s acknowledges what can't be: %s", host->name,
                 strerror(-rc));
    origin->standin->ended |= origin_is_over(origin);
    standin_pump(origin->standin);
}

static void store_answered(void *store, void *channel, enum link_answer answer, uint64_t consumed) {
    static const char *const words[LINK_ANSWERS] = {
        [LINK_TAKEN] = "taken", [LINK_WAIT] = "wait", [LINK_AWAY] = "it is not placed there",
        [LINK_STALE] = "the sender is placed elsewhere",
        [LINK_REMOVED] = "the receiver was removed",
        [LINK_BROKEN] = "nonsense", [LINK_DENIED] = "its config does not allow it",
        [LINK_LATER] = "later",
        [LINK_PAST] = "it has had more of it than there is here",
    };
    struct host *host = store;
    struct origin *origin = channel;
    char from[TRAM_ID_TEXT], to[TRAM_ID_TEXT];

    (void) consumed;
    if (answer != origin->answer)
        log_line(LEVEL_DEBUG, "host %s does not take the channel %s → %s: %s", host->name,
                 tram_id_format(origin->from, from), tram_id_format(origin->standin->id, to),
                 words[answer]);
    origin->answer = answer;
    if (answer == LINK_AWAY) { /* what the directory told us is old, or not there yet */
        origin_close(origin, LINK_MOVED);
        origin->standin->ask = hosts_now(host->hosts) + AGAIN;
        standins_wake(host->hosts, origin->standin->ask);
    }
    if (answer == LINK_PAST && origin->copy)
        copies_end(origin);
    if (answer == LINK_REMOVED) {
        (void) stand_in_remove(origin->in); /* or the next connection says it again */
        standin_pump(origin->standin);
    }
    if (answer == LINK_BROKEN)
        stand_in_close(origin->in, "nonsense, as the receiver's host says");
}

/* ---- mirrors --------------------------------------------------------------------------------- */

void mirror_free(struct mirror *mirror) {
    if (mirror->standin->passing)
        standins_passed(mirror->standin->hosts);
    *mirror->link = mirror->next;
    if (mirror->next)
        mirror->next->link = mirror->link;
    if (mirror->standin->following == mirror)
        mirror->standin->following = mirror->next;
    if (mirror->out)
        mirror->out = stand_out_close(mirror->out);
    free(mirror);
}

int mirror_remove(struct standin *standin, tram_id to) {
    int rc = stand_out_remove(standin->stand, to, false);

    if (rc == 0 && is_ephemeral(standin->id))
        (void) stand_out_forget(standin->stand, to); /* none of its streams comes again */
    return rc;
}

void mirrors_away(struct standin *standin, tram_id to) {
    struct mirror *next;

    for (struct mirror *mirror = standin->mirrors; mirror; mirror = next) {
        struct host *host = mirror->host;

        next = mirror->next;
        if (mirror->name.to != to)
            continue;
        if (!mirror->in) {
            mirror_free(mirror);
            continue;
        }
        link_refuse(peer_link(host), mirror->in, LINK_AWAY); /* frees it, by store_closed() */
        peer_flush(host);
    }
}

void mirrors_drop(struct standin *standin, const struct host *host) {
    struct mirror *next;

    for (struct mirror *mirror = standin->mirrors; mirror; mirror = next) {
        next = mirror->next;
        if (!mirror->in && (!host || mirror->host == host))
            mirror_free(mirror);
    }
}

struct mirror *mirror_find(struct standin *standin, tram_id to) {
    struct mirror *mirror = standin->mirrors;

    while (mirror && mirror->name.to != to)
        mirror = mirror->next;
    return mirror;
}

/* An ephemeral node here, or one that had its ID before? */
static enum link_answer is_meant(struct hosts *hosts, tram_id to, uint64_t number) {
    uint64_t here;
    int rc = number > 0 ? life_number(hosts->daemon, to, &here) : -ENOENT;

    if (rc == -ENOENT || (rc == 0 && here == number))
        return LINK_TAKEN; /* or it is no more, as is seen then */
    return rc < 0 || here == 0 ? LINK_LATER : LINK_REMOVED;
}

/* May this host send for that node, to that one? LINK_TAKEN: so far. *ret_copy: what it has of it
 * is a copy. */
static enum link_answer may_open(struct host *host, const struct link_name *name,
                                 const struct link_offer *offer, bool *ret_copy) {
    struct hosts *hosts = host->hosts;
    enum link_answer answer;
    uint64_t epoch;
    uint32_t placed = placing_of(hosts, name->to, &epoch);

    *ret_copy = false;
    if (placed != hosts->self.host)
        return placing_claims(hosts, name->to) ? LINK_LATER : LINK_AWAY;
    if (offer->to_epoch < epoch)
        return LINK_AWAY; /* said before it left from here, and came back: `handed` is older */
    if (is_ephemeral(name->to) && (answer = is_meant(hosts, name->to, offer->to_epoch)) !=
        LINK_TAKEN)
        return answer;
    *ret_copy = copies_offer(host, name, offer, &answer);
    if (*ret_copy)
        return answer;
    if (offer->from_epoch == LINK_LOST)
        return LINK_STALE;
    if (copies_first(host, name, offer))
        return LINK_LATER;
    if (is_ephemeral(name->from))
        return hosts_number_of(name->from) == host->number ? LINK_TAKEN : LINK_DENIED;
    if (!settings_allow_id(hosts_settings(hosts), host->name, name->from))
        return LINK_DENIED;
    return placing_sends(hosts, name, host->number, offer->from_epoch);
}

/* Nothing more comes of the channel. */
static bool is_final(enum link_answer answer) {
    return answer != LINK_TAKEN && answer != LINK_WAIT && answer != LINK_LATER;
}

/* The host that has the origin goes before one that has a copy: that waits, and sees what comes.
 * But what was sent before goes first, once nothing of what was sent since lies here: that its
 * sender ends would be too late. */
static bool gives_way(struct mirror *one, const struct mirror *mirror) {
    struct hosts *hosts = one->host->hosts;
    bool same = one->name.stream == mirror->name.stream;
    struct stand_out_state state;

    if (one->copy == mirror->copy || one->copy != same)
        return false;
    if (!one->copy && (stand_out_look(one->out, &state) < 0 || state.consumed < state.accepted))
        return false;
    link_refuse(peer_link(one->host), one->in, LINK_WAIT);
    peer_flush(one->host);
    stand_out_drop(one->out);
    one->out = stand_out_close(one->out);
    standins_wake(hosts, hosts_now(hosts) + AGAIN);
    return true;
}

/* Does another link write that one, or another stream of the two? What is only kept gives way. */
static bool is_taken(const struct mirror *mirror) {
    struct mirror *next;

    for (struct mirror *one = mirror->standin->mirrors; one; one = next) {
        next = one->next;
        if (one == mirror || one->name.to != mirror->name.to || !one->out)
            continue;
        if (one->in && !gives_way(one, mirror))
            return true; /* its origin is still there */
        if (!one->in)
            mirror_free(one);
    }
    return false;
}

/* Another stream of the two lies there: of another host, or what the sender sent when it ran here.
 * For that we have to be its custodian. */
static enum link_answer in_the_way(struct mirror *mirror, const struct stand_other *other) {
    struct standin *standin = mirror->standin;

    if (other->held || other->consumed < other->accepted)
        return LINK_WAIT;
    return stand_out_remove(standin->stand, mirror->name.to, false) < 0 ? LINK_WAIT : LINK_TAKEN;
}

/* Space that nothing was placed in yet: credit is given by it. */
static struct link_state state_of(const struct stand_out_state *state) {
    return (struct link_state){ state->accepted, state->consumed,
                                state->space > state->placed ? state->space - state->placed : 0 };
}

/* The origin never had as much as lies there: who had the receiver before said more than is true.
 * What can have come from the origin counts, and comes no more; the rest never was. */
static int begin_anew(struct mirror *mirror, const struct stand_out_plan *plan,
                      struct stand_out_state *state) {
    char from[TRAM_ID_TEXT], to[TRAM_ID_TEXT];
    int rc;

    log_line(LEVEL_WARNING, "the channel %s → %s had %" PRIu64 " messages here, more than were "
             "sent: it is mirrored anew", tram_id_format(mirror->name.from, from),
             tram_id_format(mirror->name.to, to), state->accepted);
    rc = stand_out_disown(mirror->out,
                          state->consumed < plan->unsure ? state->consumed : plan->unsure);
    if (rc < 0)
        return rc;
    mirror->out = NULL;
    rc = stand_out_open(mirror->standin->stand, plan, &mirror->out, NULL);
    return rc < 0 ? rc : stand_out_look(mirror->out, state);
}

static enum link_answer try_open(struct mirror *mirror, const struct link_offer *offer,
                                 struct link_state *ret_state) {
    struct stand_out_plan plan = { .to = mirror->name.to, .id = mirror->name.stream,
                                   .consumed = offer->consumed, .unsure = offer->handed,
                                   .capacity = MIRROR_RING };
    struct stand_other other = { 0 };
    struct stand_out_state state;
    int rc;

    if (copies_have(mirror, offer))
        return LINK_PAST;
    if (is_taken(mirror))
        return LINK_WAIT;
    copies_came_from(mirror, offer, plan.origin);
    if (mirror->out && (stand_out_look(mirror->out, &state) < 0 ||
                        state.accepted < offer->consumed))
        mirror->out = stand_out_close(mirror->out); /* as if it had not been kept */
    rc = stand_out_open(mirror->standin->stand, &plan, &mirror->out, &other);
    if (rc == -EEXIST) {
        if (mirror->copy && other.id == plan.id && other.accepted >= offer->accepted)
            return LINK_PAST; /* it is what this is a copy of */
        if (in_the_way(mirror, &other) == LINK_WAIT)
            return LINK_WAIT;
        rc = stand_out_open(mirror->standin->stand, &plan, &mirror->out, &other);
    }
    if (rc == 0)
        rc = stand_out_look(mirror->out, &state);
    if (rc == 0 && mirror->copy && state.accepted > offer->accepted) {
        mirror->out = stand_out_close(mirror->out);
        return LINK_PAST; /* its origin brought more */
    }
    if (rc == 0 && state.accepted > offer->accepted &&
        (offer->from_epoch > 0 || is_ephemeral(mirror->name.from)))
        rc = begin_anew(mirror, &plan, &state);
    if (rc == 0 && (!mirror->copy || offer->from_epoch == LINK_LOST))
        rc = stand_out_from(mirror->out, plan.origin);
    if (rc == 0) {
        stand_out_set_user(mirror->out, mirror);
        *ret_state = state_of(&state);
        mirror->consumed = state.consumed;
        return LINK_TAKEN;
    }
    mirror->out = stand_out_close(mirror->out);
    switch (rc) {
    case -EHOSTUNREACH:
        return LINK_REMOVED;
    case -ENOTRECOVERABLE:
    case -EBADMSG:
        return LINK_BROKEN;
    case -EPROTO:
        return LINK_DENIED;
    default:
        return LINK_LATER;
    }
}

/* As the last connection left it. */
static struct mirror *mirror_kept(struct standin *standin, const struct host *host,
                                  const struct link_name *name) {
    for (struct mirror *mirror = standin->mirrors; mirror; mirror = mirror->next)
        if (!mirror->in && mirror->host == host && mirror->name.to == name->to &&
            mirror->name.stream == name->stream)
            return mirror;
    return NULL;
}

static struct mirror *mirror_new(struct standin *standin, struct host *host,
                                 const struct link_name *name) {
    struct mirror *mirror = calloc(1, sizeof(*mirror));

    if (!mirror)
        return NULL;
    mirror->standin = standin;
    mirror->host = host;
    mirror->name = *name;
    mirror->next = standin->mirrors;
    mirror->link = &standin->mirrors;
    if (mirror->next)
        mirror->next->link = &mirror->next;
    standin->mirrors = mirror;
    return mirror;
}

/* The stand-in of a sender. NULL in *ret_standin: nothing of it is here, nor needs to be. */
static int sender_get(struct host *host, tram_id from, enum link_answer answer,
                      struct standin **ret_standin) {
    bool had = (*ret_standin = standin_find(host->hosts, from)) != NULL;

    if (had || is_final(answer))
        return 0;
    if (standin_get(host->hosts, from, ret_standin) < 0)
        return -ENOMEM;
    (*ret_standin)->passing = true;
    return 0;
}

/* Who makes a mirror has its sender's custody, and takes it as soon as that is known to be
 * elsewhere. The number of an ephemeral one is its place; that of a copy may be nowhere by now. */
static void take_sender(struct mirror *mirror) {
    struct standin *standin = mirror->standin;
    struct hosts *hosts = standin->hosts;
    struct tram_error error;
    uint64_t epoch;

    if (placing_of(hosts, standin->id, &epoch) == hosts->self.host)
        return;
    if (is_ephemeral(standin->id))
        standin->host = hosts_number_of(standin->id);
    else if (!mirror->copy || placing_claims(hosts, standin->id))
        return;
    (void) standin_take(standin, &error);
}

static int store_open(void *store, struct link_in *in, const struct link_name *name,
                      const struct link_offer *offer, void **ret_channel,
                      struct link_state *ret_state) {
    struct host *host = store;
    bool copy;
    enum link_answer answer = may_open(host, name, offer, &copy);
    struct mirror *mirror = *ret_channel;
    struct standin *standin;

    if (sender_get(host, name->from, answer, &standin) < 0)
        return -ENOMEM;
    if (!standin)
        return (int) answer;
    if (answer == LINK_LATER && host->hosts->seat && !standin->watched)
        standin->watched = host->hosts->maker->watch(host->hosts->seat, name->from) == 0;
    if (!mirror)
        mirror = mirror_kept(standin, host, name);
    if (!mirror)
        mirror = mirror_new(standin, host, name);
    if (!mirror)
        return -ENOMEM;
    mirror->in = in;
    mirror->copy = copy;
    torn_forget(host, name);
    if (answer == LINK_TAKEN)
        take_sender(mirror); /* if it fails: later */
    if (answer == LINK_TAKEN && !copy && !strays_is(standin, offer->from_epoch))
        answer = LINK_LATER;
    if (answer == LINK_TAKEN)
        answer = try_open(mirror, offer, ret_state);
    if (is_final(answer)) {
        if (answer == LINK_PAST)
            copies_over(mirror);
        mirror_free(mirror);
        return (int) answer;
    }
    if (answer != LINK_TAKEN) {
        mirror->out = stand_out_close(mirror->out); /* kept: who waits is in nobody's way */
        standins_wake(host->hosts, hosts_now(host->hosts) + AGAIN);
    }
    *ret_channel = mirror;
    return (int) answer;
}

/* The receiver was removed here, with what waited for it. */
static bool is_removed(int rc) {
    return rc == -ESTALE || rc == -EHOSTUNREACH;
}

/* The channel stalls, or ends: what was placed comes again, whole, or never. */
static int stalled(struct mirror *mirror, int rc) {
    struct host *host = mirror->host;

    stand_out_drop(mirror->out);
    if (is_removed(rc))
        link_refuse(peer_link(host), mirror->in, LINK_REMOVED); /* frees it, by store_closed() */
    return rc;
}

static int store_place(void *store, void *channel, struct link_room *ret_room) {
    struct mirror *mirror = channel;
    uint64_t size;
    void *data;
    int rc = stand_out_place(mirror->out, UINT64_MAX, &data, &size);

    (void) store;
    if (rc < 0)
        return stalled(mirror, rc);
    if (size == 0)
        return stalled(mirror, -ENOSPC);
    *ret_room = (struct link_room){ data, size };
    return 0;
}

static void look(struct mirror *mirror, struct link_state *ret_state, uint64_t *ret_placed) {
    struct stand_out_state state;
    int rc = stand_out_look(mirror->out, &state);

    if (is_removed(rc)) { /* that ends the channel, but not in the middle of a look */
        mirror->removed = true;
        standins_wake(mirror->host->hosts, hosts_now(mirror->host->hosts));
    }
    if (rc < 0)
        return; /* the next place says what it is */
    *ret_state = state_of(&state);
    mirror->consumed = state.consumed;
    if (ret_placed)
        *ret_placed = state.placed;
}

static int store_filled(void *store, void *channel, size_t size, struct link_state *ret_state,
                        uint64_t *ret_rest) {
    struct host *host = store;
    struct mirror *mirror = channel;
    uint64_t accepted;
    int rc = stand_out_filled(mirror->out, size, &accepted);

    if (rc < 0 && is_removed(stalled(mirror, rc)))
        return rc;
    look(mirror, ret_state, ret_rest);
    if (rc == -EBADMSG || rc == -EMSGSIZE) {
        log_line(LEVEL_WARNING, "host %s: a channel is closed: %s", host->name,
                 rc == -EBADMSG ? stand_out_why(mirror->out) : "a message larger than may be");
        return -EBADMSG;
    }
    return rc;
}

static void store_look(void *store, void *channel, struct link_state *ret_state) {
    (void) store;
    look(channel, ret_state, NULL);
}

static void store_want(void *store, void *channel) {
    struct host *host = store;
    struct mirror *mirror = channel;

    if (stand_out_want(mirror->out))
        return;
    mirror->poll = true;
    standins_wake(host->hosts, hosts_now(host->hosts) + POLL);
}

static void store_closed(void *store, void *channel, enum link_end end, bool more) {
    struct host *host = store;
    struct mirror *mirror = channel;
    struct standin *standin = mirror->standin;
    tram_id to = mirror->name.to;
    bool ours = mirror->out != NULL; /* or it waited, and what lies there may be another host's */

    if (end == LINK_ENDED && more)
        torn_say(host, &mirror->name);
    if (end == LINK_CUT && more)
        torn_note(host, &mirror->name);
    if (mirror->out)
        stand_out_drop(mirror->out);
    mirror->in = NULL;
    mirror->poll = false;
    if (end == LINK_CUT && mirror->out)
        return;
    if (end == LINK_ENDED && mirror->copy) {
        ours = false; /* what it is a copy of goes on in that mirror */
        copies_over(mirror);
    }
    mirror_free(mirror);
    if (end == LINK_ENDED && ours)
        (void) mirror_remove(standin, to); /* or it is when it is in the way */
    if (standin->over)
        strays_up(host);
}

int64_t mirrors_time(struct standin *standin, int64_t now) {
    int64_t next = INT64_MAX;

    for (struct mirror *mirror = standin->mirrors; mirror; mirror = standin->following) {
        struct host *host = mirror->host;
        struct link *link = mirror->in ? peer_link(host) : NULL;

        standin->following = mirror->next;
        if (!link)
            continue;
        if (mirror->removed) {
            link_refuse(link, mirror->in, LINK_REMOVED);
            peer_flush(host);
        } else if (!mirror->out) {
            link_ready(link, mirror->in);
            peer_flush(host);
            next = now + AGAIN;
        } else if (mirror->poll) {
            struct stand_out_state state;

            if (stand_out_look(mirror->out, &state) == 0 && state.consumed == mirror->consumed) {
                next = now + POLL < next ? now + POLL : next;
                continue;
            }
            mirror->poll = false;
            link_kick_in(link, mirror->in);
            peer_flush(host);
        }
    }
    return next;
}

/* ---- settled --------------------------------------------------------------------------------- */

void stands_settle(struct host *host) {
    struct hosts *hosts = host->hosts;

    if (!peer_is_up(host) || host->settled || !hosts->told)
        return;
    for (struct standin *standin = hosts->all_standins; standin; standin = standin->all_next)
        if ((standin->host == host->number && !standin->scanned) ||
            (standin->watched && !standin->known))
            return;
    host->settled = true;
    link_settle(peer_link(host));
    peer_flush(host);
}

struct settling {
    struct host *host;
};

/* A mirror on this bus: is its origin named by its host? */
static int each_mirror(void *context, const struct stand_mirror *lies) {
    struct host *host = ((struct settling *) context)->host;
    tram_id from = lies->from, to = lies->to;
    struct standin *standin;
    struct mirror *mirror;
    uint64_t epoch;

    /* What a node that was given up had consumed is told to its next host, and then forgotten. */
    if (placing_of(host->hosts, to, &epoch) != host->hosts->self.host)
        return 0;
    if (placing_of(host->hosts, from, &epoch) != host->number ||
        standin_get(host->hosts, from, &standin) < 0)
        return 0;
    mirror = mirror_find(standin, to);
    if (!mirror) /* its origin is gone: when it is drained, it goes, too */
        (void) mirror_remove(standin, to);
    return 0;
}

void mirrors_sweep(struct host *host) {
    struct settling settling = { host };

    stands_drop(host);
    (void) stand_mirrors(&host->hosts->daemon->bus, 0, each_mirror, &settling);
    host->named = true;
    strays_up(host);
}

void mirrors_sweep_soon(struct host *host) {
    host->sweep_at = hosts_now(host->hosts) + SWEEP;
    standins_wake(host->hosts, host->sweep_at);
}

static void store_settled(void *store) {
    mirrors_sweep_soon(store);
}

/* ---- beside ---------------------------------------------------------------------------------- */

static int store_control(void *store, const void *bytes, size_t size) {
    struct host *host = store;
    struct wrong wrong = { 0 };
    hosts_frame *frame;
    int rc = hosts_unpack(bytes, size, HOSTS_TO_PEER, &frame, &wrong);

    if (rc < 0)
        return link_wrong_set(peer_link(host), rc, "%s", wrong.text);
    if (frame->kind_case == TRAM__HOSTS__FRAME__KIND_NAMES)
        rc = far_take(host, frame->names);
    else if (frame->kind_case == TRAM__HOSTS__FRAME__KIND_REVOKED)
        rc = trust_take(host, frame->revoked);
    else if (frame->kind_case == TRAM__HOSTS__FRAME__KIND_ASK ||
             frame->kind_case == TRAM__HOSTS__FRAME__KIND_ANSWER)
        rc = trace_take(host, frame);
    else if (frame->kind_case == TRAM__HOSTS__FRAME__KIND_LOOK ||
             frame->kind_case == TRAM__HOSTS__FRAME__KIND_LIFE)
        rc = looks_take(host, frame);
    else if (frame->kind_case >= TRAM__HOSTS__FRAME__KIND_RELAY &&
             frame->kind_case <= TRAM__HOSTS__FRAME__KIND_HAD)
        rc = relays_take(host, frame);
    else
        rc = placing_take(host, frame);
    (void) hosts_free(frame);
    return rc;
}

static void store_up(void *store, const struct link_peer *peer) {
    struct host *host = store;

    torn_up(host, peer->identity.instance);
    host->settled = host->named = false;
    for (struct standin *standin = host->hosts->all_standins; standin;
         standin = standin->all_next)
        if (standin->host == host->number)
            for (struct origin *origin = standin->origins; origin; origin = origin->next)
                origin_open(origin);
    stands_settle(host);
    placing_link(host);
    far_up(host);
    trust_up(host);
    looks_up(host);
    strays_up(host);
    relays_up(host);
}

static void store_down(void *store) {
    struct host *host = store;

    host->sweep_at = 0;
    host->drop_at = hosts_now(host->hosts) + KEEP;
    standins_wake(host->hosts, host->drop_at);
    far_down(store);
    looks_down(store);
    strays_down(store);
    relays_down(store);
}

static uint64_t store_wall(void *store) {
    (void) store;
    return sys_wall();
}

const struct link_store stands_store = {
    .offer = store_offer,
    .run = store_run,
    .handed = store_handed,
    .commit = store_commit,
    .answered = store_answered,
    .open = store_open,
    .place = store_place,
    .filled = store_filled,
    .look = store_look,
    .want = store_want,
    .closed = store_closed,
    .settled = store_settled,
    .control = store_control,
    .up = store_up,
    .down = store_down,
    .wall = store_wall,
};
