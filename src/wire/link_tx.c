/* SPDX-License-Identifier: MIT
 *
 * What is written, a batch at a time: small frames first, into the stage; then channels that have
 * something take turns, one DATA each, whose bytes stay in the ring (but for small ones, which are
 * cheaper to copy than to point at). The next batch is made when this one is written. What comes
 * meanwhile waits for it, so batches are large only as long as the connection takes each at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/link_inner.h"

#define ROOM_OF_ONE (FRAME_HEAD + OPEN_SIZE) /* of any frame that is staged, DATA and BYE apart */

static void free_sent(struct link *link) {
    struct link_control_frame *frame;

    while ((frame = link->control_sent)) {
        link->control_sent = frame->next;
        free(frame);
    }
    while (link->salvage) {
        void *block = link->salvage;

        memcpy(&link->salvage, block, sizeof(void *));
        free(block);
    }
}

void tx_reset(struct link *link) {
    struct link_out *out;

    free_sent(link);
    link->first = link->count = 0;
    link->staged = 0;
    while ((out = link->farewells)) {
        link->farewells = out->farewell;
        free(out);
    }
    link->farewells_end = &link->farewells;
}

/* ---- a batch is made ------------------------------------------------------------------------- */

static bool has_room(const struct link *link, size_t size) {
    return link->staged + size <= LINK_STAGE && link->count + 2 <= LINK_PIECES &&
           link->batch < link->batch_most;
}

static void add_piece(struct link *link, const void *base, size_t size, struct link_out *owner) {
    link->pieces[link->count] = (struct link_piece){base, size};
    link->owner[link->count++] = owner;
    link->batch += size;
}

/* Room for so many bytes in the stage, which are written with what is before them. */
static uint8_t *stage(struct link *link, size_t size) {
    uint8_t *at = link->stage + link->staged;
    struct link_piece *last = link->count > 0 ? &link->pieces[link->count - 1] : NULL;

    link->staged += size;
    if (last && (const uint8_t *) last->base + last->size == at) {
        last->size += size;
        link->batch += size;
    } else {
        add_piece(link, at, size, NULL);
    }
    return at;
}

/* A frame with its head; returns where its body goes. */
static uint8_t *frame(struct link *link, uint8_t type, uint32_t channel, uint32_t serial,
                      uint16_t turn, uint32_t size) {
    struct link_head head = {type, 0, turn, channel, size, serial};
    uint8_t *at = stage(link, FRAME_HEAD + size);

    link_head_write(at, &head);
    link->batch_frames++;
    if (type != LINK_ACK && type != LINK_PONG && type != LINK_HERE && type != LINK_BYE)
        link->batch_active = true;
    return at + FRAME_HEAD;
}

static uint64_t wall(const struct link *link) {
    return link->vtable->wall ? link->vtable->wall(link->store) : 0;
}

static void make_stamps(struct link *link) {
    uint8_t *body;

    if (link->pong) {
        link->pong = false;
        body = frame(link, LINK_PONG, 0, 0, 0, PONG_SIZE);
        put64(body, link->pong_number);
        put64(body + 8, link->pong_wall);
        put64(body + 16, wall(link));
        put64(body + 24, link->now - link->pong_came);
    }
    if (link->ping) {
        link->ping = false;
        link->ping_sent = link->now ? link->now : 1;
        link->ping_wall = wall(link);
        link->probe_due = UINT64_MAX;
        body = frame(link, LINK_PING, 0, 0, 0, PING_SIZE);
        put64(body, ++link->ping_number);
        put64(body + 8, link->ping_wall);
    }
}

static void make_control(struct link *link) {
    struct link_control_frame *one;

    while ((one = link->control) && has_room(link, 0)) {
        link->control = one->next;
        if (!link->control)
            link->control_end = &link->control;
        link->control_size -= one->size;
        one->next = link->control_sent;
        link->control_sent = one;
        add_piece(link, one->bytes, one->size, NULL);
        link->batch_frames++;
        link->batch_active = true;
    }
}

static void make_closes(struct link *link) {
    struct link_out *out;
    uint8_t *body;

    while ((out = link->farewells) && has_room(link, ROOM_OF_ONE)) {
        link->farewells = out->farewell;
        if (!link->farewells)
            link->farewells_end = &link->farewells;
        body = frame(link, LINK_CLOSE, out->number, out->serial, 0, CLOSE_SIZE);
        if (out->more)
            body[1 - (int) FRAME_HEAD] = LINK_MORE; /* its flags */
        put32(body, (uint32_t) out->end);
        put32(body + 4, 0);
        free(out);
    }
}

static void make_open(struct link *link, struct link_out *out) {
    struct link_offer offer = {0};
    uint8_t *body;

    list_remove(&out->say);
    if (link->vtable->offer(link->store, out->channel, &offer) < 0)
        return; /* stays due: SETTLED waits, too */
    out->open_due = false;
    link->unsaid--;
    if (++link->serial == 0)
        link->serial = 1;
    out->serial = link->serial;
    out->step = OUT_ASKED;
    out_asked(link, out, true);
    out->consumed = out->accepted = offer.consumed;
    out->handed = offer.handed;
    out->offered = offer.accepted;
    if (!BUG(RESUME_AT_SENT))
        out->sent = offer.consumed;
    body = frame(link, LINK_OPEN, out->number, out->serial, 0, OPEN_SIZE);
    put32(body, out->name.from);
    put32(body + 4, out->name.to);
    put64(body + 8, out->name.stream);
    put64(body + 16, offer.consumed);
    put64(body + 24, offer.handed);
    put64(body + 32, offer.accepted);
    put64(body + 40, offer.from_epoch);
    put64(body + 48, offer.to_epoch);
}

static void make_opens(struct link *link) {
    struct link_node *list = &link->says_out;

    while (!list_empty(list) && has_room(link, ROOM_OF_ONE))
        make_open(link, list_entry(list->next, struct link_out, say));
    if (link->settle && has_room(link, ROOM_OF_ONE) && link->unsaid == 0) {
        link->settle = false;
        (void) frame(link, LINK_SETTLED, 0, 0, 0, 0);
    }
}

static void make_ack(struct link *link, struct link_in *in) {
    uint8_t *body = frame(link, LINK_ACK, in->number, in->serial, 0, ACK_SIZE);

    in->says &= ~SAY_ACK;
    in_told(link, in);
    put64(body, in->told_accepted);
    put64(body + 8, in->told_consumed);
    put64(body + 16, in->told_credit);
}

/* All that one channel in has to say, in the order in which it came to be. */
static void make_says_of(struct link *link, struct link_in *in) {
    uint8_t *body;

    list_remove(&in->say);
    if (in->says & SAY_STALL) {
        body = frame(link, LINK_STALL, in->number, in->serial, 0, STALL_SIZE);
        put64(body, in->state.accepted);
        put64(body + 8, in->state.consumed);
    }
    if (in->says & SAY_REFUSAL) {
        body = frame(link, LINK_REFUSAL, in->number, in->serial, 0, REFUSAL_SIZE);
        put32(body, (uint32_t) in->answer);
        put32(body + 4, 0);
        put64(body + 8, in->state.consumed);
    }
    if (in->says & SAY_STATE) {
        body = frame(link, LINK_STATE, in->number, in->serial, in->turn, STATE_SIZE);
        in_told(link, in);
        put64(body, in->told_accepted);
        put64(body + 8, in->told_consumed);
        put64(body + 16, in->told_credit);
        in->says &= ~SAY_ACK;
    }
    if (in->says & SAY_ACK)
        make_ack(link, in);
    in->says = 0;
    if (in->step == IN_OVER)
        link_in_free(link, in);
}

static void make_says(struct link *link) {
    struct link_node *list = &link->says_in;

    while (!list_empty(list) && has_room(link, 3 * ROOM_OF_ONE))
        make_says_of(link, list_entry(list->next, struct link_in, say));
}

/* Acknowledgements that would go a little later go with what goes now: those that are due first. */
static void make_acks(struct link *link) {
    struct link_node *list = &link->wheel[0];

    for (int i = 0; i < 8 && !list_empty(list) && has_room(link, ROOM_OF_ONE); i++) {
        struct link_in *in = list_entry(list->next, struct link_in, wheel);

        if (in->step != IN_TAKEN)
            break;
        link->vtable->look(link->store, in->channel, &in->state);
        if (BUG(ACK_ON_ARRIVAL))
            in->state.consumed = in->state.accepted;
        if (!in_news(in))
            break;
        make_ack(link, in);
        list_remove(&in->wheel);
        in_again(link, in);
    }
}

/* ---- turns ----------------------------------------------------------------------------------- */

static void count_again(struct link *link, struct link_out *out, const struct link_run *run) {
    bool again = out->seq < out->top_seq ||
                 (out->seq == out->top_seq && out->offset < out->top_offset);

    if (again)
        link->stats.retransmitted += run->size;
    if (run->seq > out->top_seq || (run->seq == out->top_seq && run->offset > out->top_offset)) {
        out->top_seq = run->seq;
        out->top_offset = run->offset;
    }
}

static void make_data(struct link *link, struct link_out *out, const struct link_run *run) {
    struct link_head head = {
        .type = LINK_DATA,
        .flags = (uint8_t) ((run->more ? LINK_MORE : 0) | (run->want ? LINK_WANT : 0)),
        .turn = out->turn,
        .channel = out->number,
        .size = DATA_SIZE + run->size,
        .serial = out->serial,
    };
    bool copy = run->size <= LINK_COPY;
    uint8_t *at = stage(link, FRAME_HEAD + DATA_SIZE + (copy ? run->size : 0));

    link_head_write(at, &head);
    put64(at + FRAME_HEAD, out->seq);
    put64(at + FRAME_HEAD + 8, out->offset);
    if (copy)
        memcpy(at + FRAME_HEAD + DATA_SIZE, run->bytes, run->size);
    else
        add_piece(link, run->bytes, run->size, out);
    link->batch_frames++;
    link->batch_active = true;
}

/* One DATA of a channel, if it has something that may go. Then it stands last. */
static void take_turn(struct link *link, struct link_out *out) {
    uint64_t credit = BUG(CREDIT_UNCOUNTED) ? out->credit : out->credit - out->spent;
    uint32_t max = credit < DATA_MAX ? (uint32_t) credit : DATA_MAX;
    struct link_run run = {0};
    int rc;

    list_remove(&out->turns);
    if (max == 0) {
        link->stats.stalls_out++;
        return; /* an ACK brings it back */
    }
    rc = link->vtable->run(link->store, out->channel, out->seq, out->offset, max, &run);
    if (rc == 0)
        return;
    if (rc < 0 || run.size == 0 || run.size > max) {
        out_broken(link, out, "its records are nonsense");
        return;
    }
    if (run.seq == out->seq && max < DATA_MAX && run.size < LINK_SMALL_PART &&
        out->consumed < out->sent) {
        link->stats.stalls_out++;
        return; /* a small part of a record, for want of credit: there will be more */
    }
    if (run.last > out->handed) {
        if (!BUG(HAND_LATE) && link->vtable->handed(link->store, out->channel, run.last) < 0)
            return;
        out->handed = run.last;
    }
    make_data(link, out, &run);
    count_again(link, out, &run);
    if (run.last > out->sent) {
        link->stats.messages_out += run.last - out->sent;
        out->sent = run.last;
    }
    out->seq = run.seq;
    out->offset = run.offset;
    out->spent += run.size;
    out->bytes += run.size;
    list_add(&link->turns, &out->turns);
}

static void make_turns(struct link *link) {
    struct link_node *list = &link->turns;

    while (!list_empty(list) && has_room(link, FRAME_HEAD + DATA_SIZE + LINK_COPY))
        take_turn(link, list_entry(list->next, struct link_out, turns));
}

/* ---- the caller's side ----------------------------------------------------------------------- */

static void make_bye(struct link *link) {
    size_t size = strnlen(link->wrong.text, BYE_SIZE_MAX - 1);
    uint8_t *body = frame(link, LINK_BYE, 0, 0, 0, (uint32_t) size);

    link->bye = false;
    memcpy(body, link->wrong.text, size);
}

static void make_batch(struct link *link) {
    free_sent(link);
    link->first = link->count = 0;
    link->staged = 0;
    link->batch = 0;
    link->batch_frames = 0;
    link->batch_active = false;
    link->batch_cut = false;
    if (link->over) {
        if (link->bye)
            make_bye(link);
        return;
    }
    make_stamps(link);
    make_control(link);
    make_closes(link);
    make_opens(link);
    make_says(link);
    make_turns(link);
    if (link->count > 0)
        make_acks(link);
    else if (link->here)
        (void) frame(link, LINK_HERE, 0, 0, 0, 0);
    if (link->count > 0) {
        link->here = false;
        link->here_due = UINT64_MAX;
    }
}

int link_pieces(struct link *link, uint64_t now, const struct link_piece **ret_pieces) {
    link->now = now;
    if (!link->up || link->failed)
        return 0;
    if (link->first == link->count)
        make_batch(link);
    *ret_pieces = link->pieces + link->first;
    return link->count - link->first;
}

void link_wrote(struct link *link, uint64_t now, size_t size) {
    link->now = now;
    if (!link->up)
        return;
    link->stats.bytes_out += size;
    while (size > 0 && link->first < link->count) {
        struct link_piece *piece = &link->pieces[link->first];
        size_t part = size < piece->size ? size : piece->size;

        piece->base = (const uint8_t *) piece->base + part;
        piece->size -= part;
        size -= part;
        if (piece->size == 0)
            link->first++;
    }
    if (link->first < link->count) {
        link->batch_cut = true;
        link->batch_most = LINK_BATCH_MIN;
        return;
    }
    if (!link->batch_cut && link->batch_most < LINK_BATCH)
        link->batch_most *= 2;
    link->stats.frames_out += link->batch_frames;
    link->batch_frames = 0;
    if (link->batch_active && !link->pinging && link->probe_due == UINT64_MAX)
        link->probe_due = now + link->config.silent / 4;
    link->batch_active = false;
}

bool link_has(const struct link *link) {
    if (!link->up || link->failed)
        return false;
    if (link->over)
        return link->bye || link->first < link->count;
    return link->first < link->count || link->pong || link->ping || link->here || link->control ||
           link->farewells || (link->settle && link->unsaid == 0) ||
           !list_empty(&link->says_out) || !list_empty(&link->says_in) ||
           !list_empty(&link->turns);
}

void tx_salvage(struct link *link, const struct link_out *out) {
    size_t size = 0;
    uint8_t *copy;

    for (int i = link->first; i < link->count; i++) {
        if (link->owner[i] == out)
            size += link->pieces[i].size;
    }
    if (size == 0)
        return;
    copy = malloc(sizeof(void *) + size);
    if (!copy) {
        link->failed = link_wrong_set(link, -ENOMEM, "no memory for %zu bytes of a ring", size);
        link->first = link->count = 0;
        return;
    }
    memcpy(copy, &link->salvage, sizeof(void *)); /* a chain: several may close in one batch */
    link->salvage = copy;
    copy += sizeof(void *);
    for (int i = link->first; i < link->count; i++) {
        struct link_piece *piece = &link->pieces[i];

        if (link->owner[i] != out)
            continue;
        memcpy(copy, piece->base, piece->size);
        piece->base = copy;
        copy += piece->size;
        link->owner[i] = NULL;
    }
}
