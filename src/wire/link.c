/* SPDX-License-Identifier: MIT
 *
 * The link's own life: connections, time, and what goes beside the channels.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wire/link_inner.h"

#define BEAT_NS   UINT64_C(2000000000)
#define MISSES    5u
#define SILENT_NS UINT64_C(100000000)
#define ACK_NS    UINT64_C(2000000)
#define SLOW_NS   UINT64_C(256000000)
#define CONTROL_BYTES (4u << 20)

/* The pause in the wheel that is at least so long. */
static int level_of(const struct link *link, uint64_t pause) {
    int level = 0;

    while (level < LINK_LEVELS - 1 && link->config.ack << level < pause)
        level++;
    return level;
}

static void configure(struct link *link, const struct link_config *config) {
    struct link_config *own = &link->config;

    if (config)
        *own = *config;
    own->beat = own->beat ? own->beat : BEAT_NS;
    own->misses = own->misses ? own->misses : MISSES;
    own->silent = own->silent ? own->silent : SILENT_NS;
    own->ack = own->ack ? own->ack : ACK_NS;
    own->ack_slow = own->ack_slow ? own->ack_slow : SLOW_NS;
    own->control = own->control ? own->control : CONTROL_BYTES;
    link->retry_level = level_of(link, LINK_RETRY_NS);
    link->slow_level = level_of(link, own->ack_slow);
}

int link_new(const struct link_identity *self, const char *peer_host,
             const struct link_config *config, const struct link_store *vtable, void *store,
             struct link **ret_link) {
    struct link *link = calloc(1, sizeof(*link));

    if (!link)
        return -ENOMEM;
    link->buffer = malloc(LINK_BUFFER);
    link->stage = malloc(LINK_STAGE);
    if (!link->buffer || !link->stage) {
        (void) link_free(link);
        return -ENOMEM;
    }
    link->self = self;
    (void) snprintf(link->host, sizeof(link->host), "%s", peer_host);
    link->vtable = vtable;
    link->store = store;
    configure(link, config);
    list_init(&link->says_out);
    list_init(&link->says_in);
    list_init(&link->turns);
    for (int i = 0; i < LINK_LEVELS; i++)
        list_init(&link->wheel[i]);
    link->farewells_end = &link->farewells;
    link->control_end = &link->control;
    *ret_link = link;
    return 0;
}

struct link *link_free(struct link *link) {
    if (!link)
        return NULL;
    if (link->up)
        link_cut(link, link->now);
    for (uint32_t i = 0; i < link->outs_size; i++)
        free(link->outs[i]);
    free(link->outs);
    free(link->ins);
    free(link->stage);
    free(link->buffer);
    free(link);
    return NULL;
}

/* ---- what is wrong --------------------------------------------------------------------------- */

int link_wrong_set(struct link *link, int code, const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    (void) vsnprintf(link->wrong.text, sizeof(link->wrong.text), format, arguments);
    va_end(arguments);
    return code;
}

/* The connection ends; the peer is told why. */
int link_nonsense(struct link *link, const char *format, ...) {
    va_list arguments;

    va_start(arguments, format);
    (void) vsnprintf(link->wrong.text, sizeof(link->wrong.text), format, arguments);
    va_end(arguments);
    return -EBADMSG;
}

const char *link_wrong(const struct link *link) {
    return link->wrong.text;
}

/* ---- connections ----------------------------------------------------------------------------- */

bool link_is_up(const struct link *link) {
    return link->up;
}

const struct link_peer *link_peer(const struct link *link) {
    return &link->peer;
}

/* The last word from the peer, or what we wait for since. */
static uint64_t waits_since(const struct link *link) {
    return link->stats.heard > link->ping_since ? link->stats.heard : link->ping_since;
}

/* Until it is silent. Who makes rings reads nothing meanwhile; and were that taken for silence, all
 * of them would be opened anew on the next connection, and so on. */
static uint64_t patience(const struct link *link) {
    return link->config.silent + link->asked * LINK_OPEN_NS;
}

bool link_wants(const struct link *link, uint64_t now) {
    if (!link->up)
        return true;
    return link->pinging && now - waits_since(link) >= patience(link);
}

/* Is this connection younger than the one in use, as the peer counts? */
static bool is_younger(const struct link *link, const struct greet *greet) {
    const struct link_identity *known = &link->peer.identity, *said = &greet->peer.identity;

    if (!link->peer_known || memcmp(known->instance, said->instance, sizeof(said->instance)) != 0)
        return true; /* another memory: what is known of the old one is over */
    if (known->life != said->life)
        return said->life > known->life;
    if (greet->leader)
        return greet->peer.try > link->peer.try;
    return greet->use_number > link->use_heard;
}

static void come_up(struct link *link, const struct greet *greet, uint64_t now) {
    link->peer = greet->peer;
    link->peer_known = true;
    link->use_heard = greet->leader ? 0 : greet->use_number;
    link->up = true;
    link->over = false;
    link->failed = 0;
    link->wrong.text[0] = 0;
    link->stats.since = now;
    link->stats.connections++;
    link->stats.heard = now;
    link->beat_due = now; /* at once: how far is it? */
    link->probe_due = UINT64_MAX;
    link->here_due = UINT64_MAX;
    link->pinging = link->pong = link->ping = link->here = false;
    link->batch_most = LINK_BATCH_MIN; /* it shows how much it takes */
    for (uint32_t i = 0; i < link->outs_size; i++) {
        if (link->outs[i])
            out_up(link, link->outs[i]);
    }
    if (link->vtable->up)
        link->vtable->up(link->store, &link->peer);
}

enum link_meet link_meet(struct link *link, struct greet *greet, uint64_t now) {
    link->now = now;
    if (!greet->leader && !greet->use && !BUG(FOLLOWER_DECIDES))
        return LINK_MEET_WAIT;
    if (strcmp(link->host, greet->peer.identity.host) != 0) {
        greet_refuse(greet, "%s is not %s", greet->peer.identity.host, link->host);
        return LINK_MEET_DROP;
    }
    if (!is_younger(link, greet) && !BUG(FOLLOWER_DECIDES)) {
        greet_refuse(greet, "a younger connection is in use");
        return LINK_MEET_DROP;
    }
    if (link->up)
        link_cut(link, now);
    if (greet->leader)
        greet_say_use(greet, ++link->use_said);
    come_up(link, greet, now);
    return LINK_MEET_TAKEN;
}

void link_cut(struct link *link, uint64_t now) {
    struct link_control_frame *frame;

    link->now = now;
    if (!link->up)
        return;
    link->up = false;
    link->over = false;
    link->settle = false;
    in_cut(link);
    for (uint32_t i = 0; i < link->outs_size; i++) {
        if (link->outs[i])
            out_down(link, link->outs[i]);
    }
    tx_reset(link);
    link->start = link->end = 0;
    link->body = NULL;
    link->body_left = 0;
    while ((frame = link->control)) {
        link->control = frame->next;
        free(frame);
    }
    link->control_end = &link->control;
    link->control_size = 0;
    if (link->vtable->down)
        link->vtable->down(link->store);
}

/* ---- time ------------------------------------------------------------------------------------ */

static uint64_t min64(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

uint64_t link_next(const struct link *link) {
    uint64_t next;

    if (!link->up)
        return UINT64_MAX;
    if (link->failed)
        return link->now;
    next = link->stats.heard + link->config.beat * link->config.misses;
    if (link->pinging)
        next = min64(next, waits_since(link) + patience(link) > link->now
                               ? waits_since(link) + patience(link)
                               : UINT64_MAX);
    else
        next = min64(next, min64(link->beat_due, link->probe_due));
    if (!link->here)
        next = min64(next, link->here_due);
    return min64(next, in_next(link));
}

int link_time(struct link *link, uint64_t now) {
    link->now = now;
    if (!link->up)
        return 0;
    if (link->failed)
        return link->failed;
    if (now - link->stats.heard >= link->config.beat * link->config.misses)
        return link_wrong_set(link, -ETIMEDOUT, "%s has said nothing for %u ms", link->host,
                              (unsigned) ((now - link->stats.heard) / 1000000));
    if (!link->pinging && (now >= link->beat_due || now >= link->probe_due)) {
        link->pinging = link->ping = true;
        link->ping_since = now;
        link->ping_sent = 0;
    }
    if (now >= link->here_due)
        link->here = true;
    in_time(link);
    return 0;
}

/* A PING came: its answer has the time that it came. */
void link_pinged(struct link *link, const uint8_t *body) {
    link->pong = true;
    link->pong_number = get64(body);
    link->pong_came = link->now;
    link->pong_wall = link->vtable->wall ? link->vtable->wall(link->store) : 0;
}

/* As NTP has it: half of what went by here and not there is one way. */
static void sample_add(struct link *link, const struct link_stamp *sample) {
    const struct link_stamp *best = NULL;
    uint32_t count;

    link->samples[link->sampled++ % LINK_SAMPLES] = *sample;
    count = link->sampled < LINK_SAMPLES ? link->sampled : LINK_SAMPLES;
    for (uint32_t i = 0; i < count; i++) {
        if (!best || link->samples[i].rtt < best->rtt)
            best = &link->samples[i];
    }
    link->stats.rtt_min = best->rtt;
    link->stats.offset = best->offset;
    link->stats.offset_known = true;
    link->stats.rtt = link->stats.rtt ? (link->stats.rtt * 7 + sample->rtt) / 8 : sample->rtt;
}

void link_ponged(struct link *link, const uint8_t *body) {
    uint64_t wall = link->vtable->wall ? link->vtable->wall(link->store) : 0;
    uint64_t there_came = get64(body + 8), there_went = get64(body + 16), held = get64(body + 24);
    uint64_t took;
    struct link_stamp sample;

    if (!link->pinging || link->ping_sent == 0 || get64(body) != link->ping_number)
        return; /* an answer to none of this connection's */
    link->pinging = false;
    link->beat_due = link->now + link->config.beat;
    took = link->now - link->ping_sent;
    if (held > took)
        return; /* its clock runs faster than ours; or it lies */
    sample.rtt = took - held > 0 ? took - held : 1;
    sample.offset = (int64_t) (there_came - link->ping_wall) / 2 +
                    (int64_t) (there_went - wall) / 2;
    sample_add(link, &sample);
}

/* ---- beside the channels --------------------------------------------------------------------- */

int link_control(struct link *link, const void *bytes, size_t size) {
    struct link_head head = {.type = LINK_CONTROL, .size = (uint32_t) size};
    struct link_control_frame *frame;

    if (!link->up)
        return -ENOTCONN;
    if (size == 0 || size > LINK_CONTROL_MAX)
        return -EMSGSIZE;
    if (link->control_size + size > link->config.control)
        return -ENOBUFS;
    frame = malloc(sizeof(*frame) + FRAME_HEAD + size);
    if (!frame)
        return -ENOMEM;
    frame->next = NULL;
    frame->size = FRAME_HEAD + size;
    link_head_write(frame->bytes, &head);
    memcpy(frame->bytes + FRAME_HEAD, bytes, size);
    *link->control_end = frame;
    link->control_end = &frame->next;
    link->control_size += frame->size;
    return 0;
}

size_t link_control_waits(const struct link *link) {
    return link->control_size;
}

void link_settle(struct link *link) {
    link->settle = link->up;
}

void link_stats(const struct link *link, struct link_stats *ret_stats) {
    *ret_stats = link->stats;
    ret_stats->out = link->outs_count;
    ret_stats->in = link->ins_count;
}
