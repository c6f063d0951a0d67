/* SPDX-License-Identifier: MIT
 *
 * A small bus on which one call after the other fails. A scenario brings nodes into a state and
 * performs one call of the library; it is done again and again, in a new bus each time, with the
 * first, the second, the third … call that the library makes failing, until there is none left.
 *
 * Messages from A to B are numbered, and their bytes follow from the number. Only what a call said
 * was accepted is counted, and a number that was refused is sent again: so B must get 1, 2, 3 …
 * without a gap, whatever failed. In the end nothing may be left open, mapped, allocated, or hidden
 * in the directory, and both nodes are opened once more and asked.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <tram/tram.h>

#define FAULT_A TRAM_ID(1, 1, 1, 1)
#define FAULT_B TRAM_ID(1, 1, 1, 2)
#define FAULT_C TRAM_ID(1, 1, 1, 3)

struct fault_world {
    tram_node *a, *b, *c;
    struct tram_options options;
    uint64_t sent;    /* accepted from A to B, as the calls said */
    uint64_t staged;  /* of these, not yet: to be flushed */
    uint64_t got;     /* received by B */
    uint64_t again;   /* up to this number it was in hand of a dead process */
    struct tram_msg msg, msgs[8];
    char path[300];
};

struct fault_scenario {
    const char *name;
    void (*prepare)(struct fault_world *w);
    int (*act)(struct fault_world *w);    /* its call is in FAULTY() */
    int expect;                           /* what act returns if nothing fails */
    void (*check)(struct fault_world *w); /* what holds afterwards; NULL: nothing more */
};

/* The call of the library in which one call fails. */
#define FAULTY(call) (fault_begin(), fault_end((long long) (call)))
void fault_begin(void);
long long fault_end(long long rc);

/* A check that says where in which scenario it is. */
#define EXPECT(expr)                                                                               \
    ((expr) ? (void) 0 : fault_fail(__FILE__, __LINE__, #expr, fault_note(NULL)))
#define EXPECT_OK(rc) fault_expect_ok(__FILE__, __LINE__, #rc, (long long) (rc))
void fault_fail(const char *file, int line, const char *text, const char *note)
    __attribute__((noreturn));
int fault_expect_ok(const char *file, int line, const char *text, long long rc);
const char *fault_note(const char *more);

/* The result of a call on a node: an error has its text. Returns rc. */
int fault_said(const tram_node *node, long long rc);

/* Run a scenario with each fault; or all of an array. */
void fault_run(const struct fault_scenario *scenario);
void fault_run_all(const struct fault_scenario *scenarios, size_t count);
#define FAULT_RUN(scenarios)                                                                       \
    fault_run_all(scenarios, sizeof(scenarios) / sizeof((scenarios)[0]))

/* Nodes of the world, opened and used without faults. */
tram_node *fault_open(struct fault_world *w, tram_id id);
void fault_open_both(struct fault_world *w);
void fault_send(struct fault_world *w, size_t size);
void fault_send_many(struct fault_world *w, unsigned count, size_t size);
/* B receives so many, and they are the next ones. */
void fault_receive(struct fault_world *w, uint64_t count);
void fault_check_message(struct fault_world *w, const struct tram_msg *msg);
/* A process opens B, takes so many messages in hand, and dies. */
void fault_die_with(struct fault_world *w, int count);

/* The next message as A's, `size` bytes: 0, TRAM_STAGED or the error. Counts it when accepted. */
int fault_try_send(struct fault_world *w, size_t size, uint32_t flags);
const void *fault_bytes(uint64_t number, size_t size);
