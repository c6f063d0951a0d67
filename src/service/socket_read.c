/* SPDX-License-Identifier: MIT
 *
 * Reading from a socket's link: bytes to frames, and those to the owner.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/link_socket_inner.h"
#include "sys/clock.h"

#define QUICK_NS     2000              /* of a frame with its handler */
#define CORK_NS      20000             /* how long answers are gathered */
#define ANSWER_NS    INT64_C(10000000) /* one-way messages are acknowledged within this time, … */
#define ANSWER_EVERY 1024u             /* … or so many together */

/* ---- messages that are kept ------------------------------------------------------------------ */

struct taken {
    struct socket_link *link;          /* NULL: it is closed */
    struct socket_budget *budget;      /* … which goes on to count it */
    struct taken *next, **at;
    size_t size;
    bool oneway;
    uint8_t bytes[] __attribute__((aligned(16)));
};

bool socket_keeps_too_much(const struct socket_link *me) {
    return me->taken_bytes >= KEPT_MAX;
}

void *socket_take(struct inbound *in, const void **ret_data) {
    struct socket_link *me = in->hold;
    struct taken *taken = malloc(sizeof(*taken) + in->size);

    if (!taken)
        return NULL;
    taken->link = me;
    taken->budget = NULL;
    taken->size = in->size + KEPT_EACH;
    taken->oneway = in->frame.kind == FRAME_ONEWAY;
    if (in->size > 0)
        memcpy(taken->bytes, in->data, in->size);
    taken->next = me->taken;
    taken->at = &me->taken;
    if (taken->next)
        taken->next->at = &taken->next;
    me->taken = taken;
    me->taken_bytes += taken->size;
    socket_account(me);
    in->kept = true;
    *ret_data = taken->bytes;
    return taken;
}

static void handed_on(struct socket_link *me);

void socket_release(tram_worker *worker, void *held) {
    struct taken *taken = held;
    struct socket_link *me = taken->link;

    (void) worker;
    if (me) {
        *taken->at = taken->next;
        if (taken->next)
            taken->next->at = taken->at;
        me->taken_bytes -= taken->size;
        socket_account(me);
        if (taken->oneway)
            handed_on(me);
        if (me->paused && !socket_keeps_too_much(me))
            socket_look_again(me); /* source_turn() goes on reading */
    }
    socket_budget_release(taken->budget, taken->size);
    free(taken);
}

void socket_orphan_taken(struct socket_link *me) {
    for (struct taken *taken = me->taken; taken; taken = taken->next) {
        taken->link = NULL;
        taken->budget = socket_budget_inherit(me->budget, taken->size);
    }
    me->taken = NULL;
    me->taken_bytes = 0;
    socket_account(me);
}

/* ---- acknowledging one-way messages ---------------------------------------------------------- */

void socket_acknowledge(struct socket_link *me) {
    struct frame frame = { .kind = FRAME_ACK, .port = me->link.port };

    if (me->handed == me->answered || me->down != 0)
        return;
    frame.correlation = UINT64_C(1) << 32 | me->handed;
    if (socket_send(&me->link, &frame, 0, NULL, 0, false) == 0)
        me->answered = me->handed; /* else the next time */
}

static void on_answer(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    struct socket_link *me = arg;

    (void) timer;
    (void) late_ns;
    (void) missed;
    me->answer_set = false;
    socket_acknowledge(me);
}

static void handed_on(struct socket_link *me) {
    me->handed++;
    if (me->handed - me->answered >= ANSWER_EVERY)
        socket_acknowledge(me);
    if (me->answer_set || me->handed == me->answered)
        return;
    if ((me->answer || worker_inner_timer(me->link.worker, on_answer, me, &me->answer) == 0) &&
        tram_timer_set(me->answer, ANSWER_NS, 0) == 0)
        me->answer_set = true;
    else
        socket_acknowledge(me);
}

static int acknowledged(struct socket_link *me, const struct inbound *in) {
    uint32_t count = (uint32_t) in->frame.correlation;

    if (me->sent - count > me->sent - me->acknowledged)
        return -EBADMSG;
    me->acknowledged = count;
    return 0;
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* What the first frame has to be. */
static int check_hello(const struct socket_link *me, const struct inbound *in) {
    struct hello hello;

    if (in->frame.kind != (me->listener ? FRAME_HELLO : FRAME_WELCOME) || in->size < sizeof(hello))
        return -EPROTO;
    memcpy(&hello, in->data, sizeof(hello));
    if (memcmp(hello.magic, "TRAM", 4) != 0 || hello.version != FRAME_VERSION)
        return -EPROTO;
    return 0;
}

/* The first frame. False: no more of this link. */
static bool greet(struct socket_link *me, struct inbound *in) {
    int rc = check_hello(me, in);

    if (rc < 0) {
        (void) socket_broken(me, rc);
        return false;
    }
    me->greeted = true;
    me->link.port = (uint32_t) (in->frame.correlation >> 32);
    return !me->listener || socket_listener_greeted(me->listener, me, in);
}

static void hand(struct socket_link *me, struct inbound *in) {
    bool first = !me->greeted, accepted = me->listener; /* before its owner closes it */

    if (first && !greet(me, in))
        return;
    if (first && accepted) /* it was told by the listener */
        return;
    if (in->frame.kind == FRAME_ACK) {
        if (acknowledged(me, in) < 0)
            (void) socket_broken(me, -EBADMSG);
        return;
    }
    me->link.owner->on_frame(&me->link, in);
    if (in->frame.kind == FRAME_ONEWAY && !in->kept && !in->lost && !me->closed)
        handed_on(me);
}

/* The frame at the start of what was read: its size with padding; 0: not all of it is there, and
 * there is room for some more; or -EBADMSG, -ENOMEM. */
static int64_t next_frame(struct socket_link *me, struct inbound *in) {
    size_t there = me->in.end - me->in.start, whole;
    struct socket_head head;
    const uint8_t *at;

    if (there < sizeof(head))
        return 0; /* nor a buffer, if a blocking call has read all that was there */
    at = me->in.bytes + me->in.start;
    memcpy(&head, at, sizeof(head));
    if (head.size > (me->greeted ? SOCKET_MAX : HELLO_SIZE))
        return -EBADMSG;
    whole = sizeof(head) + PAD((size_t) head.size);
    if (there < whole) {
        /* As much again as there is, not what the head promises. */
        size_t more = whole - there < there + IN_ROOM ? whole - there : there + IN_ROOM;

        if (!buffer_grow(&me->in, more, IN_SIZE, me->pinned))
            return -ENOMEM;
        socket_account(me);
        return 0;
    }
    at += sizeof(head);
    in->frame = head.frame;
    in->code = head.code;
    if (frame_read(&head.frame, at, head.size, &in->extra) < 0)
        return -EBADMSG;
    if (in->extra.deadline != INT64_MAX) {
        int64_t now = (int64_t) sys_now();

        if (in->extra.deadline < 0)
            in->extra.deadline = now;
        else if (in->extra.deadline < INT64_MAX - now)
            in->extra.deadline += now;
        else
            in->extra.deadline = INT64_MAX - 1;
    }
    in->attempt = 1;
    in->time_ns = in->seq = 0;
    in->from = 0;
    in->hold = me;
    in->kept = in->lost = false;
    in->data = at + head.frame.extra;
    in->size = head.size - head.frame.extra;
    return (int64_t) whole;
}

/* Answers are gathered while more of what was read is handed on, but not for long. The clock is
 * looked at after each slow handler, and now and then between quick ones. */
static void uncork(struct socket_link *me) {
    int64_t now;

    if (--me->look_in > 0 || me->closed)
        return;
    now = (int64_t) sys_now();
    me->look_every = now - me->looked_at < me->look_every * QUICK_NS ? 8 : 1;
    me->look_in = me->look_every;
    me->looked_at = now;
    if (now - me->corked_since < CORK_NS || socket_gathered(me) == 0)
        return;
    socket_flush(me);
    me->corked_since = me->looked_at = (int64_t) sys_now();
}

/* Hand on one. False: there is none, or it is not to go on. */
static bool parse_one(struct socket_link *me) {
    uint8_t *outer = me->pinned, *mine = me->in.bytes;
    struct inbound in;
    int64_t whole;

    if (socket_keeps_too_much(me)) {
        me->paused = true;
        socket_watch(me);
        return false;
    }
    whole = next_frame(me, &in);
    if (whole < 0)
        (void) socket_broken(me, (int) whole);
    if (whole <= 0)
        return false;
    me->in.start += (size_t) whole; /* first, because what comes now may read on */
    me->corked = me->in.start < me->in.end;
    me->pinned = mine;
    hand(me, &in);
    me->pinned = outer;
    uncork(me);
    if (mine != me->in.bytes && mine != outer)
        free(mine);
    return me->down == 0 && !me->closed;
}

void socket_parse(struct socket_link *me) {
    me->corked_since = me->looked_at = (int64_t) sys_now();
    me->look_in = me->look_every = 1;
    socket_enter(me);
    while (parse_one(me))
        ;
    me->corked = false;
    if (!socket_leave(me))
        return;
    if (me->in.start == me->in.end && me->in.bytes != me->pinned) {
        me->in.start = me->in.end = 0;
        if (me->in.size > 4 * IN_SIZE || !me->hot)
            buffer_free(&me->in);
    }
    if (socket_gathered(me) > 0 && me->busy == 0)
        socket_flush(me);
    socket_account(me);
}

bool socket_receive(struct socket_link *me) {
    int64_t n;

    if (!buffer_grow(&me->in, IN_ROOM, IN_SIZE, me->pinned)) {
        (void) socket_broken(me, -ENOMEM);
        return false;
    }
    n = transport_read(me->transport, me->in.bytes + me->in.end, me->in.size - me->in.end);
    if (n <= 0) {
        if (n != -EAGAIN)
            (void) socket_broken(me, n == 0 ? -ECONNRESET : (int) n);
        return false;
    }
    me->in.end += (size_t) n;
    if (transport_pending(me->transport))
        socket_look_again(me);
    socket_warm(me);
    socket_parse(me);
    return true;
}
