/* SPDX-License-Identifier: MIT
 *
 * The sending side of the kill storm: senders in all the ways there are to send, and ephemeral
 * nodes, which come and go.
 */
#include "support/storm.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { BIGGEST = 300008, PIECES = 5 };

struct out { /* a channel as its sender sees it */
    struct storm_chan *chan;
    tram_id to;
    uint64_t next; /* number of the next message */
};

struct sender {
    struct storm_life_of *me;
    int n_outs;
    struct out outs[STORM_CHANS];
    char buffer[BIGGEST];
};

static void doing(struct storm_life_of *me, const char *what) {
    snprintf(me->self->doing, sizeof me->self->doing, "%s", what);
}

void storm_open(struct storm_life_of *me) {
    struct tram_options options = kit_options(me->self->ring_size, me->self->spin_ns);
    int64_t end = kit_now() + kit_patience(20);
    int rc;

    options.dir = me->world->dir;
    options.ring_max = 4 << 20;
    options.attempts = me->self->attempts;
    doing(me, "open");
    while ((rc = tram_open(NULL, me->self->id, &options, &me->node)) == -EADDRINUSE)
        if (kit_now() > end)
            break;
        else
            kit_pause();
    doing(me, "");
    if (rc < 0)
        storm_fail(me->world, NULL, "open of %#x: %s: %s", me->self->id, strerror(-rc),
                   kit_error(NULL));
}

uint64_t storm_resume(struct storm_life_of *me, struct storm_chan *chan) {
    uint64_t accepted = 0;
    int rc = tram_accepted(me->node, me->world->nodes[chan->receiver].id, &accepted);

    if (rc < 0)
        storm_fail(me->world, chan, "tram_accepted: %s: %s", strerror(-rc), kit_error(me->node));
    if (accepted < chan->accepted || accepted > chan->tried)
        storm_fail(me->world, chan, "the bus accepted %llu; %llu were accepted, %llu tried",
                   (unsigned long long) accepted, (unsigned long long) chan->accepted,
                   (unsigned long long) chan->tried);
    __atomic_store_n(&chan->accepted, accepted, __ATOMIC_RELEASE);
    __atomic_store_n(&chan->tried, accepted, __ATOMIC_RELEASE);
    return accepted + 1;
}

static void note_accepted(struct sender *s, struct out *out) {
    __atomic_store_n(&out->chan->accepted, out->next - 1, __ATOMIC_RELEASE);
    s->me->world->progress++;
}

/* What a call of a sending kind returned. */
static void note(struct sender *s, struct out *out, int rc, const char *call) {
    if (rc < 0)
        storm_fail(s->me->world, out->chan, "%s of %llu: %s: %s", call,
                   (unsigned long long) out->next, strerror(-rc), kit_error(s->me->node));
    out->next++;
    if (rc == 0)
        note_accepted(s, out);
    else if (rc != TRAM_STAGED)
        storm_fail(s->me->world, out->chan, "%s returned %d", call, rc);
}

static void flush(struct sender *s) {
    int rc;

    doing(s->me, "flush");
    rc = tram_flush(s->me->node);
    doing(s->me, "");
    if (rc < 0)
        storm_fail(s->me->world, NULL, "tram_flush: %s: %s", strerror(-rc), kit_error(s->me->node));
    for (int i = 0; i < s->n_outs; i++)
        note_accepted(s, &s->outs[i]);
}

/* After -EAGAIN: sleep until the event says that there is room. */
static void await_space(struct sender *s, struct out *out) {
    struct pollfd fd = { .fd = tram_fd(s->me->node), .events = POLLIN };
    struct tram_event event;
    struct timespec ts;

    doing(s->me, "poll for space");
    for (;;) {
        int64_t ns = tram_timeout(s->me->node);

        ts.tv_sec = ns / KIT_S;
        ts.tv_nsec = ns % KIT_S;
        ppoll(&fd, 1, ns < 0 ? NULL : &ts, NULL);
        while (tram_dispatch(s->me->node, &event) > 0)
            if (event.type == TRAM_EVENT_SPACE && event.peer == out->to) {
                doing(s->me, "");
                return;
            }
    }
}

static size_t prepare(struct sender *s, struct out *out, uint32_t *ret_tag) {
    uint64_t key = storm_key(s->me->world, out->chan, out->next);
    size_t size = storm_size(s->me->world, out->chan, out->next);

    __atomic_store_n(&out->chan->tried, out->next, __ATOMIC_RELEASE);
    pattern_fill(s->buffer, size, key);
    *ret_tag = (uint32_t) key;
    return size;
}

static void send_plain(struct sender *s, struct out *out, uint32_t flags) {
    uint32_t tag;
    size_t size = prepare(s, out, &tag);
    int rc;

    for (;;) {
        doing(s->me, flags & TRAM_NOWAIT ? "send, not waiting" : "send");
        rc = tram_send(s->me->node, out->to, tag, s->buffer, size, flags);
        doing(s->me, "");
        if (rc != -EAGAIN || !(flags & TRAM_NOWAIT))
            break;
        await_space(s, out);
    }
    note(s, out, rc, "tram_send");
}

static void send_gathered(struct sender *s, struct out *out, uint32_t flags) {
    struct tram_meta meta = { 0 };
    struct iovec pieces[PIECES];
    size_t at = 0, size;
    int rc;

    size = prepare(s, out, &meta.tag);
    pattern_fill(meta.layer, sizeof meta.layer, storm_key(s->me->world, out->chan, out->next));
    for (int i = 0; i < PIECES; i++) {
        size_t n = i == PIECES - 1 ? size - at : rng_below(&s->me->rng, size - at + 1);

        pieces[i].iov_base = s->buffer + at;
        pieces[i].iov_len = n;
        at += n;
    }
    doing(s->me, "sendv");
    do
        rc = tram_sendv(s->me->node, out->to, &meta, pieces, PIECES, flags, 2 * KIT_MS);
    while (rc == -ETIMEDOUT);
    doing(s->me, "");
    note(s, out, rc, "tram_sendv");
}

static void send_claimed(struct sender *s, struct out *out, uint32_t flags) {
    struct tram_meta meta = { 0 };
    size_t size = prepare(s, out, &meta.tag), more;
    void *data;
    int rc;

    more = rng_chance(&s->me->rng, 500) ? size : size + rng_below(&s->me->rng, 5000);
    doing(s->me, "claim");
    rc = tram_claim(s->me->node, out->to, more, TRAM_FOREVER, &data);
    doing(s->me, "");
    if (rc < 0)
        storm_fail(s->me->world, out->chan, "tram_claim: %s: %s", strerror(-rc),
                   kit_error(s->me->node));
    memset(data, 0xee, more < 100 ? more : 100);
    if (rng_chance(&s->me->rng, 100)) {
        rc = tram_abort(s->me->node, out->to);
        if (rc < 0)
            storm_fail(s->me->world, out->chan, "tram_abort: %s", strerror(-rc));
        return;
    }
    memcpy(data, s->buffer, size);
    doing(s->me, "commit");
    rc = tram_commit(s->me->node, out->to, &meta, size, flags);
    doing(s->me, "");
    note(s, out, rc, "tram_commit");
}

static void send_some(struct sender *s, struct out *out) {
    unsigned way = (unsigned) rng_below(&s->me->rng, 5);
    uint64_t n = 1 + rng_below(&s->me->rng, 60);
    uint32_t more = rng_chance(&s->me->rng, 500) ? TRAM_MORE : 0;

    for (; n > 0 && !s->me->world->ending; n--) {
        switch (way) {
        case 0:
            send_plain(s, out, 0);
            break;
        case 1:
            send_plain(s, out, TRAM_NOWAIT);
            break;
        case 2:
            send_gathered(s, out, more);
            break;
        case 3:
            send_claimed(s, out, more);
            break;
        default:
            send_plain(s, out, rng_chance(&s->me->rng, 900) ? TRAM_MORE : 0);
            break;
        }
    }
}

/* Quiet for a while: the ring is drained, and its memory may be given back. */
static void rest(struct sender *s) {
    int rc;

    doing(s->me, "wait");
    rc = tram_wait(s->me->node, (int64_t) rng_below(&s->me->rng, 20) * KIT_MS);
    doing(s->me, "");
    if (rc == 1) {
        struct tram_event event;

        while (tram_dispatch(s->me->node, &event) > 0)
            ;
    } else if (rc != -ETIMEDOUT && rc != -EAGAIN) {
        storm_fail(s->me->world, NULL, "tram_wait: %d %s", rc, kit_error(s->me->node));
    }
    for (int i = 0; i < s->n_outs; i++)
        note_accepted(s, &s->outs[i]); /* a wait flushes */
}

static void check_counts(struct sender *s) {
    for (int i = 0; i < s->n_outs; i++) {
        uint64_t accepted = 0;

        if (tram_accepted(s->me->node, s->outs[i].to, &accepted) < 0 ||
            accepted != s->outs[i].next - 1)
            storm_fail(s->me->world, s->outs[i].chan, "all is flushed; accepted %llu, sent %llu",
                       (unsigned long long) accepted, (unsigned long long) s->outs[i].next - 1);
    }
}

void storm_sender(struct storm_life_of *me) {
    static struct sender sender;
    struct sender *s = &sender;
    struct storm_world *world = me->world;

    s->me = me;
    storm_open(me);
    for (int i = 0; i < world->n_chans; i++)
        if (world->chans[i].sender == me->index) {
            s->outs[s->n_outs].chan = &world->chans[i];
            s->outs[s->n_outs].to = world->nodes[world->chans[i].receiver].id;
            s->outs[s->n_outs].next = storm_resume(me, &world->chans[i]);
            s->n_outs++;
        }
    while (!world->ending) {
        send_some(s, &s->outs[rng_below(&me->rng, (uint64_t) s->n_outs)]);
        if (rng_chance(&me->rng, 100))
            flush(s);
        if (rng_chance(&me->rng, 60))
            rest(s);
        if (rng_chance(&me->rng, 20)) {
            flush(s);
            check_counts(s);
        }
    }
    doing(me, "close");
    tram_close(me->node); /* flushes what is staged */
    doing(me, "");
    for (int i = 0; i < s->n_outs; i++) {
        note_accepted(s, &s->outs[i]);
        __atomic_store_n(&s->outs[i].chan->final, s->outs[i].next, __ATOMIC_RELEASE);
    }
}

/* ---- ephemeral nodes ------------------------------------------------------------------------ */

/* Any receiver or relay gets a few messages that say whose and which they are. */
void storm_ephemeral(struct storm_life_of *me) {
    struct storm_world *world = me->world;
    uint64_t life = __atomic_fetch_add(&world->n_lives, 1, __ATOMIC_RELAXED), words[3];
    struct storm_life *log = &world->lives[life % STORM_LIVES];
    uint64_t n = 1 + rng_below(&me->rng, 300);
    int to;

    memset(log, 0, sizeof *log);
    do
        to = (int) rng_below(&me->rng, (uint64_t) world->n_nodes);
    while (world->nodes[to].kind != RECEIVER);
    storm_open(me);
    for (uint64_t i = 1; i <= n && !world->ending; i++) {
        int rc;

        words[0] = life;
        words[1] = i;
        words[2] = kit_mix(world->seed, life, i);
        __atomic_store_n(&log->tried, i, __ATOMIC_RELEASE);
        doing(me, "send");
        rc = tram_send(me->node, world->nodes[to].id, 7, words, sizeof words, 0);
        doing(me, "");
        if (rc < 0)
            storm_fail(world, NULL, "ephemeral send: %s: %s", strerror(-rc), kit_error(me->node));
        __atomic_store_n(&log->accepted, i, __ATOMIC_RELEASE);
        world->progress++;
        if (rng_chance(&me->rng, 300))
            kit_pause();
    }
    tram_close(me->node);
}
