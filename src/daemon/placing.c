/* SPDX-License-Identifier: MIT
 *
 * On which host a node is placed: what openers here claim, what is given up for other hosts, and
 * being fenced. What is known here lies in ID/place of each node, and in memory, sorted by ID.
 *
 * A claim goes through these: the directory grants it; what the old host knows of the node is asked
 * for over the link, and entered; ID/place says HERE; the stand-in lets go; the opener is answered;
 * the directory and the old host are told that it is settled. A daemon that dies anywhere in
 * between is asked by the same opener, or the next one, and the directory grants it again.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/placing_inner.h"
#include "daemon/stands.h"

#define PATIENCE INT64_C(5000000000) /* for what the old host knows */

/* ---- what is known --------------------------------------------------------------------------- */

uint64_t placing_count(struct hosts *hosts, uint32_t host) {
    uint64_t count = 0;

    for (size_t i = 0; i < hosts->placing->count; i++)
        count += hosts->placing->known[i].host == host;
    return count;
}

/* Where it is, or would have to be. */
static size_t known_at(const struct placing *placing, tram_id id) {
    size_t low = 0, high = placing->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (placing->known[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct known *placing_find(struct hosts *hosts, tram_id id) {
    const struct placing *placing = hosts->placing;
    size_t at = known_at(placing, id);

    return at < placing->count && placing->known[at].id == id ? &placing->known[at] : NULL;
}

static int known_set(struct placing *placing, tram_id id, uint32_t host, uint64_t epoch) {
    size_t at = known_at(placing, id);

    if (at == placing->count || placing->known[at].id != id) {
        if (placing->count == placing->room) {
            size_t room = placing->room * 2 + 64;
            struct known *more = realloc(placing->known, room * sizeof(*more));

            if (!more)
                return -ENOMEM;
            placing->known = more;
            placing->room = room;
        }
        memmove(&placing->known[at + 1], &placing->known[at],
                (placing->count - at) * sizeof(*placing->known));
        placing->known[at] = (struct known){ .id = id };
        placing->count++;
    }
    placing->known[at].host = host;
    placing->known[at].epoch = epoch;
    placing->known[at].given_to = 0;
    return 0;
}

uint32_t placing_of(struct hosts *hosts, tram_id id, uint64_t *ret_epoch) {
    struct known *known;

    *ret_epoch = 0;
    if (is_ephemeral(id))
        return hosts_number_of(id);
    known = placing_find(hosts, id);
    if (!known)
        return 0;
    *ret_epoch = known->epoch;
    return known->host;
}

/* Into the file, then into memory. */
static int write_place(struct hosts *hosts, tram_id id, uint32_t host, uint64_t epoch,
                       bool taken) {
    struct place place = { .id = id, .host = host, .epoch = epoch, .taken = taken ? epoch : 0 };
    int rc;

    place.state = host == hosts->self.host ? PLACE_HERE : PLACE_AWAY;
    (void) snprintf(place.name, sizeof(place.name), "%s", host_name(hosts, host));
    rc = place_write(&hosts->daemon->bus, &place);
    if (rc == 0)
        rc = known_set(hosts->placing, id, host, epoch);
    if (rc == 0 && taken)
        placing_find(hosts, id)->taken = epoch;
    if (rc < 0) {
        char text[TRAM_ID_TEXT];

        log_line(LEVEL_ERROR, "cannot write the place of %s: %s", tram_id_format(id, text),
                 strerror(-rc));
    }
    return rc;
}

static bool seat_held(struct hosts *hosts, uint32_t after, uint32_t *ret_id, uint64_t *ret_epoch) {
    const struct placing *placing = hosts->placing;

    for (size_t at = known_at(placing, after + 1); at < placing->count; at++) {
        if (placing->known[at].host != hosts->self.host)
            continue;
        *ret_id = placing->known[at].id;
        *ret_epoch = placing->known[at].epoch;
        return true;
    }
    return false;
}

size_t placing_left(struct hosts *hosts, uint32_t host, tram_id after,
                    struct placing_left *ret_left, size_t most) {
    const struct placing *placing = hosts->placing;
    size_t count = 0;

    for (size_t at = known_at(placing, after + 1); at < placing->count && count < most; at++) {
        struct placing_left *left = &ret_left[count];

        if (placing->known[at].host != host)
            continue;
        *left = (struct placing_left){ .id = placing->known[at].id,
                                       .epoch = placing->known[at].epoch };
        stands_count(hosts, left->id, &left->waiting, &left->arrived);
        count++;
    }
    return count;
}

void placing_each_here(struct hosts *hosts, int (*each)(void *context, tram_id id),
                       void *context) {
    const struct placing *placing = hosts->placing;

    for (size_t i = 0; i < placing->count; i++)
        if (placing->known[i].host == hosts->self.host && each(context, placing->known[i].id) != 0)
            return;
}

bool placing_is_taken(struct hosts *hosts, tram_id id) {
    const struct known *known = placing_find(hosts, id);

    return known && known->host == hosts->self.host && known->taken == known->epoch;
}

bool placing_is_new(struct hosts *hosts, tram_id id, int64_t span) {
    const struct known *known = placing_find(hosts, id);

    return known && known->since > 0 && hosts_now(hosts) < known->since + span;
}

/* ---- claims ---------------------------------------------------------------------------------- */

static struct claim *claim_find(const struct placing *placing, tram_id id) {
    struct claim *claim = placing->claims;

    while (claim && claim->id != id)
        claim = claim->next;
    return claim;
}

bool placing_claims(struct hosts *hosts, tram_id id) {
    return claim_find(hosts->placing, id) != NULL;
}

/* Ask the directory, or join those who have. */
static int claim_begin(struct hosts *hosts, tram_id id, bool take, struct claim **ret_claim) {
    struct claim *claim = claim_find(hosts->placing, id);
    int rc;

    if (claim) {
        *ret_claim = claim;
        return take ? -EEXIST : 0;
    }
    claim = calloc(1, sizeof(*claim));
    if (!claim)
        return -ENOMEM;
    claim->id = id;
    claim->since = hosts_now(hosts);
    rc = hosts->maker->claim(hosts->seat, id, id, take);
    if (rc < 0) {
        free(claim);
        return rc;
    }
    claim->next = hosts->placing->claims;
    hosts->placing->claims = claim;
    hosts_wake(hosts, claim->since + GRACE);
    *ret_claim = claim;
    return 0;
}

__attribute__((format(printf, 6, 7))) static void answer(struct hosts *hosts, tram_id id, int code,
                                                         uint64_t epoch, uint32_t pid,
                                                         const char *format, ...) {
    char text[sizeof(((struct claim_answer *) NULL)->text)];
    va_list arguments;

    va_start(arguments, format);
    (void) vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    (void) claims_answer(&hosts->claims, id, code, epoch, pid, text); /* or nobody waits */
}

/* It ended: who waits is told, and it is forgotten. */
static void claim_end(struct hosts *hosts, struct claim *claim, int code, const char *text) {
    struct claim **link = &hosts->placing->claims;
    char id[TRAM_ID_TEXT];

    while (*link != claim)
        link = &(*link)->next;
    *link = claim->next;
    hosts->maker->claim_end(hosts->seat, claim->id);
    if (claim->opener)
        answer(hosts, claim->id, code, claim->epoch, 0, "%s", text);
    if (claim->command)
        hosts_said(hosts, claim->cookie, code, text);
    if (code < 0)
        log_line(LEVEL_INFO, "node %s is not placed here: %s", tram_id_format(claim->id, id), text);
    free(claim);
}

/* Ask the old host for what it knows; 0: or say that it is known here, so that it forgets it. */
static void say_give(struct hosts *hosts, uint32_t from, tram_id id, uint64_t epoch,
                     uint64_t serial) {
    Tram__Hosts__Give give = HOSTS_NEW(Give, give);
    hosts_frame frame = HOSTS_FRAME(GIVE, give, &give);
    struct host *host = host_by_number(hosts, from);

    give.id = id;
    give.epoch = epoch;
    give.entered = serial == 0;
    give.serial = serial;
    if (host)
        (void) peer_say(host, &frame); /* without a link: asked again, or left there */
}

static void ask_give(struct hosts *hosts, struct claim *claim) {
    claim->serial = ++hosts->placing->serial;
    say_give(hosts, claim->from, claim->id, claim->epoch, claim->serial);
}

/* All is known that there is to know: it is placed here. `taken`: without the old host. */
static void settle(struct hosts *hosts, tram_id id, uint64_t epoch, uint32_t from, bool taken) {
    struct claim *claim = claim_find(hosts->placing, id);
    struct known *known = placing_find(hosts, id);
    uint32_t was = known && known->host > 0 ? known->host : from;
    bool blind = taken && !(known && known->host == hosts->self.host);
    char text[TRAM_ID_TEXT];
    int rc = 0;

    if (blind)
        rc = copies_back(hosts, id);
    if (rc == 0)
        rc = write_place(hosts, id, hosts->self.host, epoch, blind);
    if (rc == 0)
        rc = stands_let_go(hosts, id);
    if (rc == 0)
        rc = copies_here(hosts, id);
    if (rc == 0) {
        known = placing_find(hosts, id);
        known->since = hosts_now(hosts);
        known->told = known->told && !(from > 0 && !taken); /* what goes first may be new */
        log_line(LEVEL_DEBUG, "node %s is placed here, for the %" PRIu64 ". time",
                 tram_id_format(id, text), epoch);
        if (from > 0 || taken)
            hosts->maker->settled(hosts->seat, id, epoch);
        if (from > 0 && !taken)
            say_give(hosts, from, id, epoch, 0);
    }
    if (claim) {
        claim->epoch = epoch;
        if (claim->command && rc == 0 && was > 0)
            hosts_said_whose(hosts, claim->cookie, id, epoch, was);
        claim_end(hosts, claim, rc, rc == 0 ? "" : strerror(-rc));
    }
}

void placing_adopt(struct hosts *hosts, tram_id id) {
    struct claim *claim;

    (void) claim_begin(hosts, id, false, &claim); /* else it is tried when the bus is looked at */
}

static int each_claim(void *context, tram_id id) {
    struct hosts *hosts = context;
    struct known *known = placing_find(hosts, id);
    struct claim *claim;
    int rc;

    if (known && known->host == hosts->self.host) { /* `tram rm` has removed what said so */
        rc = write_place(hosts, id, known->host, known->epoch, false);
        if (rc == 0)
            rc = stands_let_go(hosts, id);
        answer(hosts, id, rc, known->epoch, 0, "%s", rc < 0 ? strerror(-rc) : "");
        return 0;
    }
    rc = claim_begin(hosts, id, false, &claim);
    if (rc < 0)
        answer(hosts, id, rc, 0, 0, "%s", strerror(-rc));
    else
        claim->opener = true;
    return 0;
}

static void on_claims(tram_io *io, int fd, uint32_t events, void *arg) {
    struct hosts *hosts = arg;
    int rc = claims_each(&hosts->claims, each_claim, hosts);

    (void) io;
    (void) fd;
    (void) events;
    if (rc < 0)
        log_line(LEVEL_ERROR, "cannot read claims: %s", strerror(-rc));
}

int placing_takeover(struct hosts *hosts, tram_id id, uint64_t cookie) {
    struct known *known = placing_find(hosts, id);
    struct claim *claim;
    int rc;

    if (known && known->host == hosts->self.host)
        return -EALREADY;
    rc = claim_begin(hosts, id, true, &claim);
    if (rc == 0) {
        claim->command = true;
        claim->cookie = cookie;
    }
    return rc;
}

/* ---- what the directory says ----------------------------------------------------------------- */

static void on_granted(struct hosts *hosts, uint64_t cookie, uint32_t id, uint64_t epoch,
                       uint32_t from, bool taken) {
    struct claim *claim = claim_find(hosts->placing, id);
    struct known *known = placing_find(hosts, id);

    (void) cookie;
    if (from == 0 || taken || (known && known->epoch >= epoch)) { /* (it was here in that epoch) */
        settle(hosts, id, epoch, from, taken);
        return;
    }
    if (!claim)
        return; /* nobody waits any more; who asks next gets it, with what is missing */
    claim->granted = true;
    claim->epoch = epoch;
    claim->from = from;
    claim->since = hosts_now(hosts);
    hosts_wake(hosts, claim->since + PATIENCE);
    if (host_by_number(hosts, from) && peer_is_up(host_by_number(hosts, from)))
        ask_give(hosts, claim);
}

static void on_refused(struct hosts *hosts, uint64_t cookie, uint32_t id, int error, uint32_t host,
                       const char *text) {
    struct claim *claim = claim_find(hosts->placing, id);
    char said[256];

    (void) cookie;
    if (!claim)
        return;
    (void) snprintf(said, sizeof(said), error == -EADDRINUSE ? "on host %2$s: %1$s" : "%1$s", text,
                    host_name(hosts, host));
    claim_end(hosts, claim, error, said);
}

static void on_placed(struct hosts *hosts, const hosts_placed *placed) {
    uint32_t id = placed->id, host = placed->host;
    uint64_t epoch = placed->epoch;
    struct known *known = placing_find(hosts, id);
    struct claim *claim = claim_find(hosts->placing, id);
    char text[TRAM_ID_TEXT];

    stands_known(hosts, id);
    if (claim && claim->granted && claim->epoch < epoch)
        claim_end(hosts, claim, -EAGAIN, "it was taken over meanwhile");
    if (known && known->epoch > epoch)
        return;
    if (host == hosts->self.host) { /* that it is placed here is said by on_granted */
        if (known)
            placing_left_set(hosts, known, placed);
        return;
    }
    if (known && known->host == hosts->self.host) {
        log_line(LEVEL_WARNING, "node %s was placed on host %s meanwhile: fenced",
                 tram_id_format(id, text), host_name(hosts, host));
        (void) copies_keep(hosts, id); /* (what can't be is here when it is back) */
    }
    if (epoch > 0 && (!known || known->epoch != epoch || known->host != host))
        (void) write_place(hosts, id, host, epoch, false);
    known = placing_find(hosts, id);
    if (known)
        placing_left_set(hosts, known, placed);
    stands_place(hosts, id, host, epoch);
}

/* Who asks has the node when the directory says so, and not before: it may not be able to note it.
 * Until then the node is nowhere, in the epoch in which it was here: so it can be placed here again
 * in that one. */
static void on_yield(struct hosts *hosts, uint32_t id, uint64_t epoch, uint32_t to) {
    struct known *known = placing_find(hosts, id);
    struct claim *claim = claim_find(hosts->placing, id);
    struct tram_error error = { 0 };
    struct stand *stand;
    char text[TRAM_ID_TEXT];
    tram_id to_whom[HOSTS_LEFT_EACH] = { 0 }; /* if that can't be said now: maybe to any */
    struct member_left left = { to_whom, 0 };
    int sent = stands_left(hosts, id, NULL, 0, to_whom);
    bool here = known && known->host == hosts->self.host;
    /* … or was given up before, for this epoch. */
    bool knew = here || (known && known->host == 0 && known->epoch + 1 == epoch);
    int rc = 0;

    if (claim && claim->granted)
        claim_end(hosts, claim, -EAGAIN, "another host asked for it meanwhile");
    if (here) {
        rc = stands_hold(hosts, id, &stand, &error);
        if (rc == 0)
            rc = copies_keep(hosts, id);
        if (rc == 0)
            rc = write_place(hosts, id, 0, known->epoch, false);
        else if (rc == -EBUSY)
            rc = -EADDRINUSE;
    }
    if (rc == 0)
        log_line(LEVEL_INFO, "node %s is given up for host %s", tram_id_format(id, text),
                 host_name(hosts, to));
    else if (*error.text == '\0')
        (void) snprintf(error.text, sizeof(error.text), "it can't be given up: %s", strerror(-rc));
    left.count = (size_t) (sent < 0 ? 1 : sent);
    error.text[CONTROL_TEXT_MAX < sizeof(error.text) - 1 ? CONTROL_TEXT_MAX
                                                          : sizeof(error.text) - 1] = '\0';
    hosts->maker->yielded(hosts->seat, id, epoch, rc, knew, left, rc == 0 ? "" : error.text);
    if (rc == 0 && knew) {
        known->given_to = to;
        stands_place(hosts, id, 0, known->epoch);
    }
}

static void on_done(struct hosts *hosts, uint64_t cookie, int error, const char *text) {
    hosts_said(hosts, cookie, error, text);
}

const struct seat_calls hosts_seat_calls = {
    .held = seat_held,
    .on_joined = hosts_on_joined,
    .on_host = hosts_on_host,
    .on_told = hosts_on_told,
    .on_away = hosts_on_away,
    .on_granted = on_granted,
    .on_refused = on_refused,
    .on_placed = on_placed,
    .on_yield = on_yield,
    .on_done = on_done,
};

/* ---- what the old host knows ----------------------------------------------------------------- */

struct giving {
    struct host *host;
    const Tram__Hosts__Give *give;
};

static void answer_to(const Tram__Hosts__Give *give, Tram__Hosts__Given *given) {
    given->id = give->id;
    given->epoch = give->epoch;
    given->serial = give->serial;
}

static int give_note(void *context, const struct stand_note *known) {
    struct giving *giving = context;
    Tram__Hosts__Given given = HOSTS_NEW(Given, given);
    Tram__Hosts__Note note = HOSTS_NEW(Note, note), *notes[1] = { &note };
    hosts_frame frame = HOSTS_FRAME(GIVEN, given, &given);

    answer_to(giving->give, &given);
    given.more = true;
    given.notes = notes;
    given.n_notes = 1;
    note.from = known->from;
    note.stream = known->id;
    note.number = known->number;
    note.copy = known->host;
    return peer_say(giving->host, &frame);
}

/* One channel, in a frame of its own. */
static int give_channel(void *context, const struct stand_journal *journal) {
    struct giving *giving = context;
    Tram__Hosts__Given given = HOSTS_NEW(Given, given);
    Tram__Hosts__Channel channel = HOSTS_NEW(Channel, channel), *channels[1] = { &channel };
    Tram__Hosts__Hand hands[LAYOUT_WINDOW], *pointers[LAYOUT_WINDOW];
    hosts_frame frame = HOSTS_FRAME(GIVEN, given, &given);

    answer_to(giving->give, &given);
    given.more = true;
    given.channels = channels;
    given.n_channels = 1;
    channel.from = journal->from;
    channel.stream = journal->id;
    channel.mirror = journal->mirror;
    channel.consumed = journal->consumed;
    channel.handed = journal->handed;
    channel.unsure = journal->unsure;
    channel.hands = pointers;
    channel.n_hands = journal->count;
    if (journal->mirror && journal->accepted > journal->consumed) { /* it is kept: copies_keep() */
        const struct stand_note note = { journal->from, giving->host->hosts->self.host,
                                         journal->id, journal->accepted };
        int rc = give_note(giving, &note);

        if (rc < 0)
            return rc;
    }
    for (uint32_t i = 0; i < journal->count; i++) {
        hands[i] = HOSTS_NEW(Hand, hand);
        hands[i].number = journal->hands[i].number;
        hands[i].attempts = journal->hands[i].attempts;
        hands[i].released = journal->hands[i].released;
        pointers[i] = &hands[i];
    }
    return peer_say(giving->host, &frame);
}

/* Somebody to whom a node was given up asks what is known of it. */
static void take_give(struct host *host, const Tram__Hosts__Give *give) {
    struct hosts *hosts = host->hosts;
    Tram__Hosts__Given given = HOSTS_NEW(Given, given);
    hosts_frame frame = HOSTS_FRAME(GIVEN, given, &given);
    struct known *known = placing_find(hosts, give->id);
    static const struct stand_exported each = { give_channel, give_note };
    struct giving giving = { host, give };
    struct tram_error error = { 0 };
    struct stand *stand = NULL;
    int rc;

    answer_to(give, &given);
    if (!known)
        rc = 0; /* that it was placed here never came: there is nothing to know */
    else if (known->host == hosts->self.host || known->epoch > give->epoch)
        rc = -ESTALE; /* it is here, or went on */
    else if (give->entered) /* only who was given it may have it forgotten */
        rc = known->host == host->number || (known->host == 0 && known->given_to == host->number)
                 ? copies_given(hosts, give->id)
                 : -ESTALE;
    else /* where it is is said by the directory, and not by who asks */
        rc = stands_hold(hosts, give->id, &stand, &error);
    if (rc == 0 && known && !give->entered)
        rc = stand_export(stand, &each, &giving);
    given.error = rc;
    if (!give->entered)
        (void) peer_say(host, &frame); /* without a link it asks again */
}

/* That the files of one channel are spoiled here, or of another version, keeps nobody from opening
 * the node: what is not known of the channel comes marked, at the worst. */
static int entered(struct claim *claim, tram_id from, int rc) {
    char text[TRAM_ID_TEXT], to[TRAM_ID_TEXT];

    if (rc == 0 || rc == -EINVAL || rc == -EBUSY || rc == -EBADF || files_is_machine(rc))
        return rc;
    if (rc != -EMLINK || !claim->full) /* that host can name any number */
        log_line(LEVEL_WARNING,
                 "what the host before knows of the channel %s → %s can't be noted: %s",
                 tram_id_format(from, text), tram_id_format(claim->id, to), strerror(-rc));
    claim->full |= rc == -EMLINK;
    return 0;
}

static int enter(struct hosts *hosts, struct claim *claim, const Tram__Hosts__Channel *channel) {
    struct stand_journal journal = { .from = channel->from, .mirror = channel->mirror,
                                     .id = channel->stream, .consumed = channel->consumed,
                                     .handed = channel->handed, .unsure = channel->unsure,
                                     .epoch = claim->epoch };
    struct tram_error error = { 0 };
    struct stand *stand;
    int rc = channel->n_hands > LAYOUT_WINDOW ? -EINVAL : 0;

    for (size_t i = 0; rc == 0 && i < channel->n_hands; i++) {
        journal.hands[i].number = channel->hands[i]->number;
        journal.hands[i].attempts =
            (uint8_t) (channel->hands[i]->attempts < 255 ? channel->hands[i]->attempts : 255);
        journal.hands[i].released = channel->hands[i]->released;
    }
    journal.count = (uint32_t) channel->n_hands;
    if (rc == 0)
        rc = stands_enter(hosts, claim->id, &stand, &error);
    if (rc < 0)
        return rc;
    rc = stand_import(stand, &journal);
    if (rc == -EEXIST && (rc = copies_reuse(hosts, journal.from, claim->id)) == 0)
        rc = stand_import(stand, &journal);
    return entered(claim, journal.from, rc);
}

static int enter_note(struct hosts *hosts, struct claim *claim, const Tram__Hosts__Note *note) {
    const struct stand_note known = { note->from, note->copy, note->stream, note->number };
    struct tram_error error = { 0 };
    struct stand *stand;
    int rc = stands_enter(hosts, claim->id, &stand, &error);

    if (rc < 0 || known.host == hosts->self.host)
        return rc; /* (that lies here, and is found here) */
    rc = stand_import_note(stand, &known);
    if (rc == -EEXIST && (rc = copies_reuse(hosts, known.from, claim->id)) == 0)
        rc = stand_import_note(stand, &known);
    return entered(claim, known.from, rc);
}

/* What the old host knows. */
static int take_given(struct host *host, const Tram__Hosts__Given *given) {
    struct hosts *hosts = host->hosts;
    struct claim *claim = claim_find(hosts->placing, given->id);
    char text[256];
    int rc = 0;

    if (!claim || !claim->granted || claim->from != host->number ||
        claim->epoch != given->epoch || claim->serial != given->serial)
        return 0; /* nobody asks any more, or asked again: some of it was not heard */
    for (size_t i = 0; rc == 0 && i < given->n_notes; i++)
        rc = enter_note(hosts, claim, given->notes[i]);
    for (size_t i = 0; rc == 0 && i < given->n_channels; i++)
        rc = enter(hosts, claim, given->channels[i]);
    if (rc < 0 || given->error < 0) {
        (void) snprintf(text, sizeof(text), "what host %s knows of it can't be %s: %s", host->name,
                        rc < 0 ? "entered" : "had", strerror(rc < 0 ? -rc : -given->error));
        claim_end(hosts, claim, -EAGAIN, text);
        return rc == -EINVAL ? -EBADMSG : 0;
    }
    if (!given->more)
        settle(hosts, given->id, given->epoch, host->number, false);
    return 0;
}

int placing_take(struct host *host, const hosts_frame *frame) {
    if (frame->kind_case == TRAM__HOSTS__FRAME__KIND_GIVE)
        take_give(host, frame->give);
    else
        return take_given(host, frame->given);
    return 0;
}

void placing_cut(struct hosts *hosts) {
    struct claim *after;

    for (struct claim *claim = hosts->placing->claims; claim; claim = after) {
        after = claim->next;
        if (claim->granted)
            claim_end(hosts, claim, -EAGAIN, "the connection to the directory ended");
    }
}

void placing_link(struct host *host) {
    for (struct claim *claim = host->hosts->placing->claims; claim; claim = claim->next) {
        if (!claim->granted || claim->from != host->number)
            continue;
        ask_give(host->hosts, claim);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

int64_t placing_time(struct hosts *hosts, int64_t now) {
    const char *trouble = hosts->maker ? hosts->maker->trouble(hosts->seat) : "";
    int64_t next = INT64_MAX, left_at;
    struct claim *after;
    char text[256];

    for (struct claim *claim = hosts->placing->claims; claim; claim = after) {
        int64_t due = claim->since + (claim->granted ? PATIENCE : GRACE);

        after = claim->next;
        if (due > now) {
            next = due < next ? due : next;
        } else if (claim->granted) {
            (void) snprintf(text, sizeof(text), "host %s had it, and does not say what it knows of "
                            "it", host_name(hosts, claim->from));
            claim_end(hosts, claim, -EAGAIN, text);
        } else if (trouble) {
            (void) snprintf(text, sizeof(text), "no directory: %.180s", trouble);
            claim_end(hosts, claim, -EAGAIN, text);
        } else {
            claim->since = now; /* it has been asked, and answers */
            next = now + GRACE < next ? now + GRACE : next;
        }
    }
    left_at = placing_left_time(hosts, now);
    return left_at < next ? left_at : next;
}

/* ---- start and end --------------------------------------------------------------------------- */

static int each_place(void *context, const struct place *place) {
    struct hosts *hosts = context;
    int rc;

    if (is_ephemeral(place->id)) /* its number says where it is; strays.c reads which it is */
        return 0;
    rc = known_set(hosts->placing, place->id,
                   place->state == PLACE_HERE ? hosts->self.host : place->host, place->epoch);
    if (rc == 0)
        placing_find(hosts, place->id)->taken = place->taken;
    return rc;
}

int placing_start(struct hosts *hosts) {
    int rc;

    hosts->placing = calloc(1, sizeof(*hosts->placing));
    if (!hosts->placing)
        return -ENOMEM;
    hosts->placing->began = hosts_now(hosts);
    rc = place_each(&hosts->daemon->bus, each_place, hosts);
    if (rc == 0)
        rc = claims_open(&hosts->daemon->bus, &hosts->claims);
    if (rc == 0)
        rc = tram_io_new(hosts->tasks.worker, claims_fd(&hosts->claims), TRAM_IO_READ, on_claims,
                         hosts, &hosts->claims_io);
    return rc;
}

void placing_stop(struct hosts *hosts) {
    struct placing *placing = hosts->placing;

    hosts->claims_io = tram_io_free(hosts->claims_io);
    claims_close(&hosts->claims);
    if (!placing)
        return;
    while (placing->claims) {
        struct claim *claim = placing->claims;

        placing->claims = claim->next;
        free(claim);
    }
    for (size_t i = 0; i < placing->count; i++)
        free(placing->known[i].left);
    free(placing->known);
    free(placing);
    hosts->placing = NULL;
}
