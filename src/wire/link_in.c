/* SPDX-License-Identifier: MIT
 *
 * Channels in: the peer's origins, our mirrors. What the store says is told to the peer when there
 * is something new: at once if the peer may soon lack credit, else with the next batch or after a
 * pause. Consumption wakes nobody: it is looked for after pauses that double as long as nothing
 * changes, one list for each length of a pause, so that the first of each is the next that is due.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/link_inner.h"

/* ---- what is to be said, and when the store is asked ----------------------------------------- */

static void say(struct link *link, struct link_in *in, unsigned what) {
    in->says |= what;
    if (!list_in(&in->say))
        list_add(&link->says_in, &in->say);
}

static void schedule(struct link *link, struct link_in *in, int level) {
    list_remove(&in->wheel);
    in->level = level;
    link->levels = level < link->levels ? link->levels : level + 1;
    in->due = link->now + (link->config.ack << level);
    list_add(&link->wheel[level], &in->wheel);
}

/* Bytes that may have come at most, of this turn. Never less than was told. */
uint64_t in_credit(const struct link_in *in) {
    uint64_t credit = in->came + in->state.space + (BUG(CREDIT_TWICE) ? in->told_credit / 2 : 0);

    return credit > in->told_credit ? credit : in->told_credit;
}

bool in_news(const struct link_in *in) {
    if (BUG(LOSE_LAST_ACK) && in->state.consumed == in->state.accepted)
        return false;
    return in->state.accepted != in->told_accepted || in->state.consumed != in->told_consumed ||
           in_credit(in) != in->told_credit;
}

void in_told(struct link *link, struct link_in *in) {
    (void) link;
    in->told_accepted = in->state.accepted;
    in->told_consumed = in->state.consumed;
    in->told_credit = in_credit(in);
}

/* The peer may soon have no credit: the store wakes us when there is space. */
static bool is_short(const struct link_in *in) {
    return in->told_credit - in->came < LINK_PART;
}

/* Will the store have something new without being written to? */
static bool will_change(const struct link_in *in) {
    return in->state.accepted > in->state.consumed || in->rest > 0 ||
           ((in->more || in->body_open) && is_short(in));
}

static void look(struct link *link, struct link_in *in) {
    link->vtable->look(link->store, in->channel, &in->state);
    if (BUG(ACK_ON_ARRIVAL))
        in->state.consumed = in->state.accepted;
}

static void want(struct link *link, struct link_in *in) {
    if (in->wanted || !will_change(in) || !link->vtable->want)
        return;
    in->wanted = true;
    link->vtable->want(link->store, in->channel);
}

void in_again(struct link *link, struct link_in *in) {
    if (will_change(in))
        schedule(link, in, 0);
}

/* ---- life ------------------------------------------------------------------------------------ */

void link_in_free(struct link *link, struct link_in *in) {
    if (link->body == in)
        link->body = NULL; /* the rest of it is skipped */
    list_remove(&in->say);
    list_remove(&in->wheel);
    link->ins[in->number] = NULL;
    link->ins_count--;
    free(in);
}

void in_cut(struct link *link) {
    for (uint32_t i = 0; i < link->ins_size; i++) {
        struct link_in *in = link->ins[i];

        if (!in)
            continue;
        if (in->step != IN_OVER && in->channel)
            link->vtable->closed(link->store, in->channel, LINK_CUT, in->more || in->rest > 0);
        link_in_free(link, in);
    }
}

/* Only the refusal is left of it. */
static void in_over(struct link *link, struct link_in *in, enum link_answer answer) {
    in->step = IN_OVER;
    in->channel = NULL;
    in->answer = answer;
    in->says = 0;
    list_remove(&in->wheel);
    if (link->body == in)
        link->body = NULL;
    say(link, in, SAY_REFUSAL);
}

/* From now on the peer may send, behind what there is. */
static void go(struct link *link, struct link_in *in) {
    in->step = IN_TAKEN;
    in->rest = 0;
    in->came = 0;
    in->told_credit = 0;
    in->says &= ~SAY_ACK; /* a STALL or WAIT that was not said yet is said before the STATE */
    in_told(link, in);
    list_remove(&in->wheel);
    say(link, in, SAY_STATE);
    if (will_change(in))
        schedule(link, in, 0);
}

static void pause_and_retry(struct link *link, struct link_in *in) {
    int level = link->retry_level + in->retries;

    if (level < LINK_LEVELS - 1 && link->config.ack << level < LINK_RETRY_MAX)
        in->retries++;
    if ((in->step == IN_STALLED && BUG(STALL_FOR_EVER)) ||
        (in->step == IN_LATER && BUG(WAIT_FOR_EVER)))
        return;
    schedule(link, in, level);
}

static int ask_open(struct link *link, struct link_in *in) {
    struct link_state state = {0};
    enum link_answer answer;
    bool known; /* to the peer */
    int rc = link->vtable->open(link->store, in, &in->name, &in->offer, &in->channel, &state);

    if (rc == -EEXIST)
        return link_nonsense(link, "an OPEN of what is open, from 0x%08x to 0x%08x", in->name.from,
                             in->name.to);
    in->state = state;
    answer = rc < 0 ? LINK_LATER : (enum link_answer) rc;
    known = (in->step == IN_WAIT || in->step == IN_LATER) && in->answer == answer;
    if (answer != LINK_TAKEN)
        in->answer = answer;
    switch (answer) {
    case LINK_TAKEN:
        in->more = in->behind || in->offer.accepted > state.accepted;
        go(link, in);
        break;
    case LINK_WAIT:
        in->step = IN_WAIT;
        if (!known)
            say(link, in, SAY_REFUSAL);
        break;
    case LINK_LATER:
        in->step = IN_LATER;
        if (!known)
            say(link, in, SAY_REFUSAL);
        pause_and_retry(link, in);
        break;
    default:
        in_over(link, in, answer);
    }
    return 0;
}

static int make_room(struct link *link, uint32_t number) {
    uint32_t size = link->ins_size ? link->ins_size : 16;
    struct link_in **ins;

    while (size <= number)
        size *= 2;
    if (size == link->ins_size)
        return 0;
    ins = realloc(link->ins, size * sizeof(struct link_in *));
    if (!ins)
        return link_wrong_set(link, -ENOMEM, "no memory for channel %u", number);
    memset(ins + link->ins_size, 0, (size - link->ins_size) * sizeof(*ins));
    link->ins = ins;
    link->ins_size = size;
    return 0;
}

static struct link_in *in_find(const struct link *link, const struct link_head *head) {
    struct link_in *in = head->channel < link->ins_size ? link->ins[head->channel] : NULL;

    if (!in || (in->serial != head->serial && !BUG(STALE_SERIAL)) || in->step == IN_OVER)
        return NULL;
    return in;
}

int in_open(struct link *link, const struct link_head *head, const uint8_t *body) {
    struct link_in *in;
    int rc;

    if (head->channel >= LINK_CHANNELS)
        return link_nonsense(link, "an OPEN of channel %u", head->channel);
    rc = make_room(link, head->channel);
    if (rc < 0)
        return rc;
    in = link->ins[head->channel];
    if (in && in->step != IN_OVER)
        return link_nonsense(link, "an OPEN of channel %u, which is open", head->channel);
    if (in)
        link_in_free(link, in); /* its refusal is no news any more */
    in = calloc(1, sizeof(*in));
    if (!in)
        return link_wrong_set(link, -ENOMEM, "no memory for channel %u", head->channel);
    in->number = head->channel;
    in->serial = head->serial;
    in->name = (struct link_name){get32(body), get32(body + 4), get64(body + 8)};
    in->offer = (struct link_offer){
        .consumed = get64(body + 16),
        .handed = get64(body + 24),
        .accepted = get64(body + 32),
        .from_epoch = get64(body + 40),
        .to_epoch = get64(body + 48),
    };
    link->ins[in->number] = in;
    link->ins_count++;
    if (in->offer.consumed > in->offer.handed || in->offer.handed > in->offer.accepted ||
        in->offer.accepted >> 63 != 0 || in->name.from == in->name.to) {
        link_in_free(link, in);
        return link_nonsense(link, "an OPEN that contradicts itself");
    }
    in->more = in->offer.accepted > in->offer.consumed;
    rc = ask_open(link, in);
    if (rc < 0)
        link_in_free(link, in);
    return rc;
}

int in_close(struct link *link, const struct link_head *head, const uint8_t *body) {
    uint32_t end = get32(body);
    struct link_in *in = in_find(link, head);

    if ((end != LINK_ENDED && end != LINK_MOVED) || get32(body + 4) != 0)
        return link_nonsense(link, "a CLOSE with the reason %u", end);
    if (!in)
        return 0; /* we had refused it */
    if (in->channel)
        link->vtable->closed(link->store, in->channel, (enum link_end) end,
                             head->flags & LINK_MORE || in->rest > 0);
    link_in_free(link, in);
    return 0;
}

void link_refuse(struct link *link, struct link_in *in, enum link_answer answer) {
    if (in->step == IN_OVER)
        return;
    if (in->step == IN_TAKEN || in->step == IN_STALLED)
        look(link, in);
    if (answer == LINK_WAIT) {
        list_remove(&in->wheel);
        in->behind = in->more;
        if (in->offer.accepted < in->state.accepted) /* for when the store is asked again */
            in->offer.accepted = in->state.accepted;
        if (in->offer.handed < in->state.accepted)
            in->offer.handed = in->state.accepted;
        if (in->offer.consumed < in->state.consumed) /* the refusal says so: it is freed there */
            in->offer.consumed = in->state.consumed;
        in->step = IN_WAIT;
        in->answer = LINK_WAIT;
        in->rest = 0;
        in->wanted = false;
        in->says = 0;
        if (link->body == in)
            link->body = NULL;
        say(link, in, SAY_REFUSAL);
        return;
    }
    if (in->channel)
        link->vtable->closed(link->store, in->channel, LINK_REFUSED, in->more || in->rest > 0);
    in_over(link, in, answer);
}

/* ---- data ------------------------------------------------------------------------------------ */

static void stall(struct link *link, struct link_in *in) {
    in->step = IN_STALLED;
    in->rest = 0;
    in->says &= ~SAY_ACK;
    if (link->body == in)
        link->body = NULL;
    link->stats.stalls_in++;
    say(link, in, SAY_STALL);
    pause_and_retry(link, in);
}

/* A function of the store has failed. */
static void failed(struct link *link, struct link_in *in, int error) {
    if (in->step != IN_TAKEN)
        return; /* it has said itself what is to be done */
    if (error == 0 || error == -ENOSPC || error == -ENOMEM) {
        stall(link, in);
        return;
    }
    (void) link_wrong_set(link, 0, "the channel from 0x%08x to 0x%08x was closed, for nonsense",
                          in->name.from, in->name.to);
    link_refuse(link, in, LINK_BROKEN);
}

int in_data(struct link *link, const struct link_head *head, const uint8_t *body) {
    uint64_t seq = get64(body), offset = get64(body + 8);
    struct link_in *in = in_find(link, head);
    uint32_t size = head->size - DATA_SIZE;

    link->body_left = size;
    link->body = NULL;
    if (!in || in->step != IN_TAKEN || (in->turn != head->turn && !BUG(STALE_TURN))) {
        link->stats.dropped += size; /* was on its way when we said stop */
        return 0;
    }
    if (seq != in->state.accepted + 1 || offset != in->rest) {
        if (BUG(NO_TAIL_CHECK) || BUG(STALE_TURN) || BUG(STALE_SERIAL) || BUG(RESUME_AT_SENT))
            goto take;
        return link_nonsense(link, "DATA of message %llu, byte %llu, after %llu and %llu bytes",
                             (unsigned long long) seq, (unsigned long long) offset,
                             (unsigned long long) in->state.accepted,
                             (unsigned long long) in->rest);
    }
    if (in->told_credit - in->came < size && !BUG(CREDIT_UNCOUNTED))
        return link_nonsense(link, "more DATA than there was credit for");
take:
    in->more = head->flags & LINK_MORE;
    in->flag_want = head->flags & LINK_WANT;
    in->body_open = true;
    link->body = in;
    return 0;
}

int in_place(struct link *link, struct link_room *ret_room) {
    struct link_in *in = link->body;
    int rc;

    if (!in)
        return 0;
    ret_room->size = 0;
    rc = link->vtable->place(link->store, in->channel, ret_room);
    if (rc < 0 || ret_room->size == 0) {
        failed(link, in, rc);
        link->body = NULL;
        return 0;
    }
    if (ret_room->size > link->body_left)
        ret_room->size = link->body_left;
    return 1;
}

/* So many bytes of the body lie where in_place() said. */
void in_filled(struct link *link, size_t size) {
    struct link_in *in = link->body;
    uint64_t before = in->state.accepted;
    int rc;

    in->came += size;
    link->body_left -= (uint32_t) size;
    rc = link->vtable->filled(link->store, in->channel, size, &in->state, &in->rest);
    if (in->state.accepted > before)
        link->stats.messages_in += in->state.accepted - before;
    if (BUG(ACK_ON_ARRIVAL))
        in->state.consumed = in->state.accepted;
    if (rc < 0) {
        failed(link, in, rc);
        link->body = NULL;
        return;
    }
    if (in->step != IN_TAKEN)
        return;
    in->retries = 0;
    if (link->body_left == 0) {
        in->body_open = false;
        link->body = NULL;
    }
    if (in->flag_want || is_short(in))
        want(link, in);
    if (is_short(in) && in_credit(in) - in->told_credit >= LINK_PART / 2)
        say(link, in, SAY_ACK);
    if (!list_in(&in->wheel) || in->level != 0)
        schedule(link, in, 0);
}

/* ---- time ------------------------------------------------------------------------------------ */

void link_kick_in(struct link *link, struct link_in *in) {
    in->wanted = false;
    if (in->step != IN_TAKEN)
        return;
    look(link, in);
    if (in_news(in))
        say(link, in, SAY_ACK);
    if (is_short(in))
        want(link, in);
}

/* Is there memory by now? */
static void ask_room(struct link *link, struct link_in *in) {
    struct link_room room = {0};
    int rc;

    look(link, in);
    rc = in->state.space > 0 ? link->vtable->place(link->store, in->channel, &room) : -ENOSPC;
    if (in->step != IN_STALLED)
        return;
    if (rc < 0 || room.size == 0) {
        if (in_news(in))
            say(link, in, SAY_ACK);
        pause_and_retry(link, in);
        return;
    }
    in->turn++;
    go(link, in);
}

void link_ready(struct link *link, struct link_in *in) {
    in->retries = 0;
    if (in->step == IN_STALLED && !BUG(STALL_FOR_EVER))
        ask_room(link, in);
    else if (in->step == IN_WAIT || in->step == IN_LATER) {
        in->turn++;
        list_remove(&in->wheel);
        if (ask_open(link, in) < 0)
            in_over(link, in, LINK_BROKEN); /* open elsewhere: the store contradicts itself */
    }
}

/* A pause is over. */
static void due(struct link *link, struct link_in *in) {
    int level = in->level;

    if (in->step == IN_STALLED) {
        ask_room(link, in);
        return;
    }
    if (in->step == IN_LATER) {
        in->turn++;
        if (ask_open(link, in) < 0)
            in_over(link, in, LINK_BROKEN);
        return;
    }
    if (in->step != IN_TAKEN)
        return;
    look(link, in);
    if (in_news(in)) {
        say(link, in, SAY_ACK);
        level = -1;
    }
    if (will_change(in))
        schedule(link, in, level < link->slow_level ? level + 1 : level);
}

void in_time(struct link *link) {
    for (int level = 0; level < link->levels; level++) {
        struct link_node *list = &link->wheel[level];

        while (!list_empty(list)) {
            struct link_in *in = list_entry(list->next, struct link_in, wheel);

            if (in->due > link->now)
                break;
            list_remove(&in->wheel);
            due(link, in);
        }
    }
}

uint64_t in_next(const struct link *link) {
    uint64_t next = UINT64_MAX;

    for (int level = 0; level < link->levels; level++) {
        const struct link_node *list = &link->wheel[level];

        if (!list_empty(list)) {
            const struct link_in *in = list_entry(list->next, struct link_in, wheel);

            if (in->due < next)
                next = in->due;
        }
    }
    return next;
}
