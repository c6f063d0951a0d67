/* SPDX-License-Identifier: MIT
 *
 * What the files of the link share: link.c (its life and connections), link_out.c (channels out),
 * link_in.c (channels in), link_tx.c (what is written), link_rx.c (what is read).
 *
 * Nothing that a peer can make us say is queued as bytes: a channel remembers in `says` that it has
 * something to say, and stands in one list until link_tx.c makes frames of it. Bytes are queued of
 * our own CONTROL frames alone.
 */
#pragma once

#include "wire/link.h"
#include "wire/link_bug.h"
#include "wire/link_frame.h"

#define LINK_STAGE 65536u         /* small frames and heads of one batch */
#define LINK_BATCH (256u << 10)   /* bytes of one batch, about, at most; */
#define LINK_BATCH_MIN (64u << 10) /* … and behind one that was not taken in one piece */
#define LINK_COPY 2048u           /* bodies up to that are copied behind their heads */
#define LINK_BUFFER (FRAME_HEAD + LINK_PART + 4096u)
#define LINK_DIRECT 2048u         /* bodies of which so much is missing are read into the mirror */
#define LINK_SMALL_PART 4096u     /* no smaller part of a record is sent */
#define LINK_HERE_NS UINT64_C(50000000)
#define LINK_OPEN_NS UINT64_C(250000) /* so much longer may a peer be silent for each OPEN */
#define LINK_RETRY_NS UINT64_C(100000000)  /* first, */
#define LINK_RETRY_MAX UINT64_C(1000000000) /* … and longest pause before a store is asked again */
#define LINK_LEVELS 24
#define LINK_SAMPLES 8

/* A doubly linked list with its head in it. */
struct link_node {
    struct link_node *next, *prev;
};

static inline void list_init(struct link_node *list) {
    list->next = list->prev = list;
}
static inline bool list_empty(const struct link_node *list) {
    return list->next == list;
}
static inline bool list_in(const struct link_node *node) {
    return node->next != NULL;
}
static inline void list_add(struct link_node *list, struct link_node *node) {
    node->next = list;
    node->prev = list->prev;
    list->prev->next = node;
    list->prev = node;
}
static inline void list_remove(struct link_node *node) {
    if (!node->next)
        return;
    node->next->prev = node->prev;
    node->prev->next = node->next;
    node->next = node->prev = NULL;
}
#define list_entry(node, type, member)                                                             \
    ((type *) (void *) ((char *) (node) - offsetof(type, member)))

/* ---- channels -------------------------------------------------------------------------------- */

enum link_out_step {
    OUT_CLOSED,  /* not said on this connection */
    OUT_ASKED,   /* OPEN is said, or the peer said that it will answer */
    OUT_TAKEN,
    OUT_STALLED, /* … but has no memory: a STATE will come */
    OUT_REFUSED, /* not before the next connection */
};

struct link_out {
    struct link_name name;
    void *channel;
    uint32_t number;      /* in link->outs */
    uint32_t serial;      /* of its OPEN */
    enum link_out_step step;
    enum link_answer answer;
    uint16_t turn;
    uint64_t accepted, consumed; /* as the peer said last */
    uint64_t handed;             /* as the store has it */
    uint64_t offered;            /* what there was in the origin, as its OPEN said */
    uint64_t sent;               /* whole records */
    uint64_t seq, offset;        /* what is sent next */
    uint64_t top_seq, top_offset; /* highest that ever was */
    uint64_t credit, spent;      /* bytes, of this turn */
    uint64_t bytes, stalls;
    bool open_due;               /* its OPEN is to be said */
    bool asked;                  /* … was, and nothing was answered */
    struct link_node say, turns; /* in link->says_out, link->turns */
    /* Closed here: its CLOSE is to be said, then it is freed. */
    struct link_out *farewell;
    enum link_end end;
    bool more;
};

#define SAY_STATE   1u
#define SAY_REFUSAL 2u
#define SAY_STALL   4u
#define SAY_ACK     8u

enum link_in_step {
    IN_WAIT,    /* the store calls link_ready() */
    IN_LATER,   /* the timer asks it */
    IN_TAKEN,
    IN_STALLED, /* the timer asks */
    IN_OVER,    /* only its refusal is to be said */
};

struct link_in {
    struct link_name name;
    void *channel;
    uint32_t number, serial;
    enum link_in_step step;
    struct link_offer offer;
    struct link_state state;     /* what the store said last */
    uint64_t rest;               /* bytes of the record that isn't whole */
    uint64_t came;               /* bytes, of this turn */
    uint64_t told_accepted, told_consumed, told_credit;
    enum link_answer answer;     /* of a refusal that is to be said */
    uint16_t turn;
    bool more;                   /* the peer said that it has more */
    bool behind;                 /* … when it was taken, and had to wait again */
    bool wanted;                 /* the store kicks us */
    bool flag_want;              /* … as the peer wishes */
    bool body_open;              /* a DATA of it has begun */
    int retries;                 /* pauses so far, of LATER or a stall */
    unsigned says;
    int level;
    uint64_t due;
    struct link_node say, wheel; /* in link->says, link->wheel[level] */
};

/* ---- the link -------------------------------------------------------------------------------- */

struct link_control_frame {
    struct link_control_frame *next;
    size_t size;          /* of bytes */
    uint8_t bytes[];      /* head and body */
};

struct link_stamp {
    uint64_t rtt;
    int64_t offset;
};

struct link {
    const struct link_identity *self;
    char host[LINK_NAME_SIZE];
    struct link_config config;
    const struct link_store *vtable;
    void *store;
    struct wrong wrong;
    struct link_stats stats;

    /* The connection. */
    bool up;
    bool over;              /* only BYE is to be written */
    int failed;             /* an error that had nobody to be returned to */
    struct link_peer peer;
    bool peer_known;
    uint64_t use_said;      /* highest USE number, as leader */
    uint64_t use_heard;     /* … as follower, of this life of the leader */

    /* Channels. */
    struct link_out **outs;
    uint32_t outs_size, outs_count, outs_free; /* none below outs_free is free */
    struct link_in **ins;
    uint32_t ins_size, ins_count;
    uint32_t serial;        /* of the last OPEN that was made */
    uint32_t unsaid;        /* channels out whose OPEN is not made yet */
    uint32_t asked;         /* … whose OPEN has no answer yet */

    /* To be written. */
    struct link_node says_out, says_in; /* channels that have something to say */
    struct link_node turns;             /* channels out that have something to send */
    struct link_out *farewells, **farewells_end;
    struct link_control_frame *control, **control_end, *control_sent;
    size_t control_size;
    bool settle, pong, ping, here, bye;
    uint8_t *stage;
    size_t staged;
    struct link_piece pieces[LINK_PIECES];
    struct link_out *owner[LINK_PIECES]; /* whose ring a piece lies in */
    int first, count;
    size_t batch;           /* bytes */
    size_t batch_most;      /* bytes, about, of the next */
    bool batch_cut;         /* not all of it was taken at once */
    uint32_t batch_frames;
    bool batch_active;      /* has frames that a peer must say something to */
    void *salvage;          /* what was copied out of rings that were closed */

    /* Read. */
    uint8_t *buffer;
    size_t start, end;
    size_t direct;          /* bytes of the first room that lie in a mirror */
    struct link_in *body;   /* whose DATA is being read; NULL: nobody's: skipped */
    uint32_t body_left;

    /* Time. */
    uint64_t now;           /* as last said */
    uint64_t beat_due;      /* the next PING, if nothing is said before */
    uint64_t probe_due;     /* … because something was said; UINT64_MAX: none */
    uint64_t here_due;      /* UINT64_MAX: nothing was read that wants a word */
    bool pinging;           /* one is under way, */
    uint64_t ping_since;    /* … wanted since then, */
    uint64_t ping_sent;     /* … sent then; 0: not yet */
    uint64_t ping_number, ping_wall;
    uint64_t pong_number, pong_came, pong_wall;
    struct link_stamp samples[LINK_SAMPLES];
    uint32_t sampled;
    int retry_level, slow_level, levels; /* the last: of the wheel, in use so far */
    struct link_node wheel[LINK_LEVELS]; /* channels in, by when they are due, per pause */
};

/* link.c */
int link_nonsense(struct link *link, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void link_pinged(struct link *link, const uint8_t *body);
void link_ponged(struct link *link, const uint8_t *body);

/* link_out.c */
struct link_out *out_find(const struct link *link, const struct link_head *head);
void out_up(struct link *link, struct link_out *out);
void out_down(struct link *link, struct link_out *out);
/* Its OPEN was said; has an answer, or gets none. */
void out_asked(struct link *link, struct link_out *out, bool asked);
int out_state(struct link *link, const struct link_head *head, const uint8_t *body);
int out_refusal(struct link *link, const struct link_head *head, const uint8_t *body);
int out_ack(struct link *link, const struct link_head *head, const uint8_t *body);
int out_stall(struct link *link, const struct link_head *head, const uint8_t *body);
/* The ring, or what the peer says of it, is nonsense: nothing of it goes any more. */
void out_broken(struct link *link, struct link_out *out, const char *why);

/* link_in.c */
int in_open(struct link *link, const struct link_head *head, const uint8_t *body);
int in_close(struct link *link, const struct link_head *head, const uint8_t *body);
/* DATA begins: whose it is goes to link->body. -EBADMSG. */
int in_data(struct link *link, const struct link_head *head, const uint8_t *body);
/* Where its next bytes go, ret_room->size ≤ link->body_left; 0: nowhere, they are skipped. */
int in_place(struct link *link, struct link_room *ret_room);
void in_filled(struct link *link, size_t size);
void in_cut(struct link *link);
void in_time(struct link *link);
uint64_t in_next(const struct link *link);
uint64_t in_credit(const struct link_in *in);
/* Is there something that the peer doesn't know? */
bool in_news(const struct link_in *in);
/* The peer knows what the store said last. */
void in_told(struct link *link, struct link_in *in);
/* Look again after the shortest pause, if there will be something. */
void in_again(struct link *link, struct link_in *in);
void link_in_free(struct link *link, struct link_in *in);

/* link_tx.c */
void tx_reset(struct link *link);
/* Copy what of this channel's ring is still to be written. */
void tx_salvage(struct link *link, const struct link_out *out);
