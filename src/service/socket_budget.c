/* SPDX-License-Identifier: MIT
 *
 * What all connections of a server hold together: buffers, messages that the application keeps, and
 * what waits for them above the link. One connection has its own bounds, but there may be many.
 * When it is too much, those that hold most are ended, until it is not: so who holds little is
 * served on, whatever others do.
 */
#include <errno.h>
#include <stdlib.h>

#include "service/link_socket_inner.h"

#define LITTLE (UINT64_C(128) << 10) /* who holds no more is not ended */

struct socket_budget {
    uint32_t users;
    uint64_t max, used;
    uint64_t doomed;            /* of it, by those that end */
    struct socket_link *links;
};

struct socket_budget *socket_budget_new(uint64_t max) {
    struct socket_budget *budget = calloc(1, sizeof(*budget));

    if (budget) {
        budget->users = 1;
        budget->max = max;
    }
    return budget;
}

struct socket_budget *socket_budget_ref(struct socket_budget *budget) {
    if (budget)
        budget->users++;
    return budget;
}

struct socket_budget *socket_budget_unref(struct socket_budget *budget) {
    if (budget && --budget->users == 0)
        free(budget);
    return NULL;
}

/* ---- connections ----------------------------------------------------------------------------- */

void socket_budget_join(struct socket_link *me, struct socket_budget *budget) {
    if (!budget)
        return;
    me->budget = socket_budget_ref(budget);
    me->peer = budget->links;
    me->peer_at = &budget->links;
    if (me->peer)
        me->peer->peer_at = &me->peer;
    budget->links = me;
}

void socket_budget_leave(struct socket_link *me) {
    struct socket_budget *budget = me->budget;

    if (!budget)
        return;
    *me->peer_at = me->peer;
    if (me->peer)
        me->peer->peer_at = me->peer_at;
    budget->used -= me->holds;
    if (me->doomed)
        budget->doomed -= me->holds;
    me->budget = socket_budget_unref(budget);
}

static struct socket_link *who_holds_most(const struct socket_budget *budget) {
    struct socket_link *most = NULL;

    for (struct socket_link *at = budget->links; at; at = at->peer)
        if (!at->doomed && (!most || at->holds > most->holds))
            most = at;
    return most;
}

static void relieve(struct socket_budget *budget) {
    while (budget->used - budget->doomed > budget->max) {
        struct socket_link *victim = who_holds_most(budget);

        if (!victim || victim->holds <= LITTLE)
            return;
        victim->doomed = true;
        budget->doomed += victim->holds;
        (void) socket_broken(victim, -ENOBUFS);
    }
}

void socket_account(struct socket_link *me) {
    struct socket_budget *budget = me->budget;
    uint64_t holds = me->in.size + me->out.size + me->taken_bytes + me->above;
    uint64_t more = holds - me->holds; /* modulo 2^64 */

    if (!budget || more == 0)
        return;
    me->holds = holds;
    budget->used += more;
    if (me->doomed)
        budget->doomed += more;
    else if (more >> 63 == 0)
        relieve(budget);
}

void socket_hold(struct link *link, int64_t bytes) {
    struct socket_link *me = socket_of(link);

    me->above += (uint64_t) bytes;
    socket_account(me);
}

/* ---- messages that outlive their connection -------------------------------------------------- */

struct socket_budget *socket_budget_inherit(struct socket_budget *budget, uint64_t bytes) {
    if (budget)
        budget->used += bytes;
    return socket_budget_ref(budget);
}

void socket_budget_release(struct socket_budget *budget, uint64_t bytes) {
    if (budget)
        budget->used -= bytes;
    (void) socket_budget_unref(budget);
}
