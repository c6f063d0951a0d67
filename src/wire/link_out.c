/* SPDX-License-Identifier: MIT
 *
 * Channels out: what the peer says of its mirrors of our origins. It is not believed: a count that
 * contradicts what was sent, or an earlier one, breaks the channel that it is about.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/link_inner.h"

/* ---- life ------------------------------------------------------------------------------------ */

static void say_open(struct link *link, struct link_out *out) {
    if (!out->open_due)
        link->unsaid++;
    out->open_due = true;
    if (link->up && !list_in(&out->say))
        list_add(&link->says_out, &out->say);
}

static void unsay_open(struct link *link, struct link_out *out) {
    if (out->open_due)
        link->unsaid--;
    out->open_due = false;
    list_remove(&out->say);
}

void out_up(struct link *link, struct link_out *out) {
    out->step = OUT_CLOSED;
    out->answer = LINK_TAKEN;
    say_open(link, out);
}

void out_asked(struct link *link, struct link_out *out, bool asked) {
    link->asked += (uint32_t) asked - (uint32_t) out->asked;
    out->asked = asked;
}

void out_down(struct link *link, struct link_out *out) {
    out->step = OUT_CLOSED;
    out_asked(link, out, false);
    out->serial = 0;
    unsay_open(link, out);
    list_remove(&out->turns);
}

static int make_room(struct link *link) {
    uint32_t size = link->outs_size ? link->outs_size * 2 : 16;
    struct link_out **outs = realloc(link->outs, size * sizeof(*outs));

    if (!outs)
        return -ENOMEM;
    memset(outs + link->outs_size, 0, (size - link->outs_size) * sizeof(*outs));
    link->outs = outs;
    link->outs_size = size;
    return 0;
}

int link_open(struct link *link, const struct link_name *name, void *channel,
              struct link_out **ret_out) {
    struct link_out *out;

    if (link->outs_count == LINK_CHANNELS)
        return -EDQUOT;
    while (link->outs_free < link->outs_size && link->outs[link->outs_free])
        link->outs_free++;
    if (link->outs_free == link->outs_size && make_room(link) < 0)
        return -ENOMEM;
    out = calloc(1, sizeof(*out));
    if (!out)
        return -ENOMEM;
    out->name = *name;
    out->channel = channel;
    out->number = link->outs_free;
    link->outs[out->number] = out;
    link->outs_count++;
    if (link->up)
        out_up(link, out);
    *ret_out = out;
    return 0;
}

struct link_out *link_close(struct link *link, struct link_out *out, enum link_end end, bool more) {
    bool said = out->serial != 0;

    tx_salvage(link, out);
    out->end = end;
    out->channel = NULL;
    out_asked(link, out, false);
    unsay_open(link, out);
    out->more = more;
    list_remove(&out->turns);
    link->outs[out->number] = NULL;
    link->outs_count--;
    if (out->number < link->outs_free)
        link->outs_free = out->number;
    if (!link->up || !said) {
        free(out);
        return NULL;
    }
    *link->farewells_end = out; /* tx frees it */
    link->farewells_end = &out->farewell;
    return NULL;
}

/* ---- sending --------------------------------------------------------------------------------- */

static void take_turns(struct link *link, struct link_out *out) {
    if (out->step == OUT_TAKEN && out->credit > out->spent && !list_in(&out->turns))
        list_add(&link->turns, &out->turns);
}

void link_kick(struct link *link, struct link_out *out) {
    if (out->step == OUT_CLOSED && link->up)
        say_open(link, out); /* perhaps the store can say it by now */
    take_turns(link, out);
}

void out_broken(struct link *link, struct link_out *out, const char *why) {
    (void) link_wrong_set(link, 0, "the channel from 0x%08x to 0x%08x: %s", out->name.from,
                          out->name.to, why);
    out->step = OUT_REFUSED;
    out->answer = LINK_BROKEN;
    list_remove(&out->turns);
    link->vtable->answered(link->store, out->channel, LINK_BROKEN, out->consumed);
}

/* ---- what the peer says ---------------------------------------------------------------------- */

/* Whom a frame is about; NULL: a channel that was closed here, or said anew, meanwhile. */
struct link_out *out_find(const struct link *link, const struct link_head *head) {
    struct link_out *out = head->channel < link->outs_size ? link->outs[head->channel] : NULL;

    if (!out || (out->serial != head->serial && !BUG(STALE_SERIAL)))
        return NULL;
    return out;
}

/* What the mirror has, up to `number`, has left, though the origin may not know of it any more:
 * `handed` fell when the receiver was at home in between, and came back to a mirror that was left
 * over. So it counts again, from before anything is made of it; but no more than there was.
 * -EBADMSG: that can't be. */
static int has_left(struct link *link, struct link_out *out, uint64_t number) {
    int rc;

    if (number <= out->handed)
        return 0;
    if (number > out->offered || BUG(HANDED_FELL))
        return -EBADMSG;
    rc = link->vtable->handed(link->store, out->channel, number);
    if (rc == 0)
        out->handed = number;
    return rc == -EINVAL ? -EBADMSG : rc;
}

/* Has consumed up to there. Checked. */
static void consumed(struct link *link, struct link_out *out, uint64_t accepted,
                     uint64_t consumed) {
    if (BUG(COMMIT_ACCEPTED))
        consumed = accepted;
    out->accepted = accepted;
    if (consumed > out->consumed) {
        out->consumed = consumed;
        link->vtable->commit(link->store, out->channel, consumed);
    }
}

int out_state(struct link *link, const struct link_head *head, const uint8_t *body) {
    uint64_t accepted = get64(body), has_consumed = get64(body + 8), credit = get64(body + 16);
    struct link_out *out = out_find(link, head);
    uint64_t resume;
    int rc;

    if (!out)
        return 0;
    out_asked(link, out, false);
    if (out->step != OUT_ASKED && out->step != OUT_STALLED)
        return link_nonsense(link, "a STATE that nobody waited for");
    rc = has_consumed > accepted || has_consumed < out->consumed ? -EBADMSG
                                                                 : has_left(link, out, accepted);
    if (rc == -EBADMSG) {
        out_broken(link, out, "its mirror has counts that can't be");
        return 0;
    }
    if (rc < 0) /* the next connection asks again */
        return link_wrong_set(link, rc, "what left can't be noted: error %d", -rc);
    resume = BUG(RESUME_AT_SENT) && out->sent > accepted ? out->sent : accepted;
    if (BUG(NO_TAIL_CHECK))
        resume = has_consumed;
    out->step = OUT_TAKEN;
    out->answer = LINK_TAKEN;
    out->turn = head->turn;
    out->sent = resume;
    out->seq = resume + 1;
    out->offset = 0;
    out->credit = credit;
    out->spent = 0;
    consumed(link, out, accepted, has_consumed);
    take_turns(link, out);
    return 0;
}

int out_refusal(struct link *link, const struct link_head *head, const uint8_t *body) {
    uint32_t answer = get32(body);
    uint64_t has_consumed = get64(body + 8);
    struct link_out *out = out_find(link, head);
    int rc;

    if (answer == LINK_TAKEN || answer >= LINK_ANSWERS || get32(body + 4) != 0)
        return link_nonsense(link, "a REFUSED with the answer %u", answer);
    if (!out)
        return 0;
    out_asked(link, out, false);
    if (out->step == OUT_REFUSED)
        return 0; /* we had enough of it before */
    rc = has_left(link, out, has_consumed);
    if (rc == -EBADMSG) {
        out_broken(link, out, "more was consumed than left");
        return 0;
    }
    if (rc < 0)
        return link_wrong_set(link, rc, "what left can't be noted: error %d", -rc);
    out->answer = (enum link_answer) answer;
    if (answer == LINK_WAIT || answer == LINK_LATER) {
        out->step = OUT_ASKED;
    } else {
        out->step = OUT_REFUSED;
        out->serial = 0; /* nothing more comes of it, nor is it to be closed */
    }
    list_remove(&out->turns);
    if (has_consumed > out->consumed)
        consumed(link, out, out->accepted > has_consumed ? out->accepted : has_consumed,
                 has_consumed);
    link->vtable->answered(link->store, out->channel, out->answer, out->consumed);
    return 0;
}

/* Counts of a channel that is taken, or stalled: they rise, and not above what was sent. */
static bool counts_fit(const struct link_out *out, uint64_t accepted, uint64_t has_consumed) {
    return accepted >= out->accepted && accepted <= out->sent && has_consumed <= accepted &&
           has_consumed >= out->consumed;
}

int out_ack(struct link *link, const struct link_head *head, const uint8_t *body) {
    uint64_t accepted = get64(body), has_consumed = get64(body + 8), credit = get64(body + 16);
    struct link_out *out = out_find(link, head);

    if (!out || out->step == OUT_REFUSED)
        return 0;
    if (out->step != OUT_TAKEN && out->step != OUT_STALLED)
        return link_nonsense(link, "an ACK of a channel that is not taken");
    if (!counts_fit(out, accepted, has_consumed) || credit < out->credit) {
        out_broken(link, out, "an ACK has counts that can't be");
        return 0;
    }
    consumed(link, out, accepted, has_consumed);
    if (credit > out->credit) {
        out->credit = credit;
        if (!BUG(FORGET_KICK))
            take_turns(link, out);
    }
    return 0;
}

int out_stall(struct link *link, const struct link_head *head, const uint8_t *body) {
    uint64_t accepted = get64(body), has_consumed = get64(body + 8);
    struct link_out *out = out_find(link, head);

    if (!out || out->step == OUT_REFUSED)
        return 0;
    if (out->step != OUT_TAKEN)
        return link_nonsense(link, "a STALL of a channel that is not taken");
    if (!counts_fit(out, accepted, has_consumed)) {
        out_broken(link, out, "a STALL has counts that can't be");
        return 0;
    }
    out->step = OUT_STALLED;
    out->stalls++;
    list_remove(&out->turns);
    consumed(link, out, accepted, has_consumed);
    return 0;
}

void link_out_info(const struct link_out *out, struct link_out_info *ret_info) {
    ret_info->name = out->name;
    ret_info->answer = out->answer;
    ret_info->open = out->step == OUT_TAKEN || out->step == OUT_STALLED;
    ret_info->sent = out->sent;
    ret_info->accepted = out->accepted;
    ret_info->consumed = out->consumed;
    ret_info->credit = out->credit > out->spent ? out->credit - out->spent : 0;
    ret_info->stalled = out->step == OUT_STALLED;
    ret_info->bytes = out->bytes;
    ret_info->stalls = out->stalls;
}
