/* SPDX-License-Identifier: MIT
 *
 * Kill at every instruction. A child brings two nodes into a state and performs one operation,
 * which is single-stepped. After each instruction at which the shared files are not what they were,
 * the files are copied: that is what the world would see if the child had been killed there. The
 * copy's invariants are checked, and successors of both nodes open it and go on to the end.
 *
 * What the successors may get is told by a model. For each number it has a rank, and in the course
 * of an operation ranks only rise:
 *
 *     0 not accepted   1 waits, never handed out   n was handed out n - 1 times   …   gone
 *
 * The states before the operation and after it are known exactly; each one between lies between
 * them and not below the one before it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <tram/tram.h>

#include "support/kit.h"

#define STEP_SENDER TRAM_ID(1, 1, 1, 1)
#define STEP_RECEIVER TRAM_ID(2, 2, 2, 2)
#define STEP_THIRD TRAM_ID(3, 3, 3, 3)

enum {
    STEP_SEQS = 2048, /* numbers that a case may use */
    RANK_GONE = 1000, /* released */
    STEP_MORE = 3,      /* messages that the successors send */
    STEP_PREPARED = 32, /* messages that an operation may send: the first large, the others small */
};

/* Set aside after n hand-outs: on the list. To be handed out once more, out of order, as attempt n.
 * */
#define RANK_ASIDE(n) (500 + 10 * (n))
#define RANK_RETRY(n) (495 + 10 * (n))

struct step_model {
    uint64_t sent, handed;
    uint16_t rank[STEP_SEQS];
};

/* What the processes of a case share. */
struct step_shared {
    struct step_model before, after;
    uint64_t ended; /* the operation is done */
    char copy[128]; /* what the successors found there: */
    struct step_model found;
    char why[400];     /* not empty: what was wrong */
    uint64_t other[8]; /* for a case's own use */
};

/* A case's process: the two nodes, and what it has received. */
struct step_pair {
    const struct step_case *this;
    struct step_shared *shared;
    const char *dir;
    tram_node *sender, *receiver, *third;
    struct tram_msg msgs[600]; /* in hand, in the order in which they came */
    int n_msgs;
    void *claimed;
};

struct step_case {
    const char *name;
    uint64_t ring_size; /* 0: 64 KiB */
    uint32_t attempts;  /* 0: the library's standard */
    uint64_t keep;      /* likewise */
    void (*setup)(struct step_pair *pair);
    void (*operation)(struct step_pair *pair);
    void (*after)(struct step_model *model);
    /* Instead of the standard: the successors' look at a copy. */
    void (*successors)(struct step_shared *shared, const struct step_case *this);
    bool slow; /* too long a path for a build that is instrumented */
};

struct step_result {
    uint64_t steps;  /* instructions */
    uint64_t states; /* distinct ones among them */
    uint64_t checked;
};

/* Run a case in `dir`, an empty directory. Fails the test when something is wrong. */
struct step_result step_run(const struct step_case *this, const char *dir);

/* Can this machine single-step? Otherwise the reason. */
const char *step_impossible(void);

/* Run a case as the test that it is, and print its figures. */
void step_case(const struct step_case *this);

#define STEP_CASE(title, ...)                                                                      \
    TEST_TIMEOUT(title, 60) {                                                                      \
        static const struct step_case this = { .name = #title, __VA_ARGS__ };                      \
        step_case(&this);                                                                          \
    }

/* What successors find wrong ends them; the standard ones. */
void step_wrong(struct step_shared *shared, const char *format, ...)
    __attribute__((noreturn, format(printf, 2, 3)));
void step_successors(struct step_shared *shared, const struct step_case *this);

/* ---- for cases ------------------------------------------------------------------------------ */

/* Open one of the nodes as the case says. */
tram_node *step_open(const struct step_case *this, const char *dir, tram_id id);
void step_open_both(struct step_pair *pair);

/* Things to do in a setup; they keep the model, which the operation's `after` then continues. */
void step_send(struct step_pair *pair, unsigned n, size_t size);
void step_recv(struct step_pair *pair, int n);        /* with TRAM_HOLD */
void step_recv_soft(struct step_pair *pair, int n);   /* released by the next receive */
void step_release(struct step_pair *pair, int index); /* of pair->msgs */
/* In a setup: make its bytes; in an operation: send them. The numbers next to come are prepared
 * anyway. */
void step_prepare(uint64_t seq, size_t size);
char *step_prepared(uint64_t seq);
int step_send_prepared(tram_node *node, uint64_t seq, size_t size, uint32_t flags);
int step_send_one(tram_node *node, uint64_t seq, size_t size, uint32_t flags);
void step_fill(struct step_pair *pair, size_t size); /* until -EAGAIN */
void step_crash_receiver(struct step_pair *pair, int n);
void step_sleep_receiver(struct step_pair *pair); /* it is asleep and armed */

void model_sent(struct step_model *model, unsigned n);
void model_handed(struct step_model *model, unsigned n);
void model_released(struct step_model *model, uint64_t seq);
/* All that is in hand is released. */
void model_released_all(struct step_model *model);

size_t step_size(uint64_t seq);
void step_check(bool good, const char *text);
#define STEP_OK(call) step_check((call) >= 0, #call)
