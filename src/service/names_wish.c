/* SPDX-License-Identifier: MIT
 *
 * What the daemon is asked to tell of for as long as it is wished for: said again in each new
 * connection, and withdrawn when its owner gives it back.
 */
#include <errno.h>
#include <stdlib.h>

#include "service/names_inner.h"

int names_wish_new(tram_worker *worker, size_t size, void (*say)(const struct names_wish *, bool),
                   struct names_wish **owner) {
    struct names_wish *wish;
    struct names *names;
    int rc = names_of(worker, &names);

    if (rc < 0)
        return rc;
    wish = calloc(1, size);
    if (!wish)
        return worker_fail(worker, -ENOMEM, "no memory to ask the daemon");
    wish->owner = owner;
    wish->names = names;
    wish->cookie = ++names->cookies;
    wish->say = say;
    wish->next = names->wishes;
    names->wishes = wish;
    *owner = wish;
    return 0;
}

int names_wish_begin(struct names_wish *wish) {
    int rc = names_link_need(wish->names);

    if (rc < 0) {
        names_wish_end(wish);
        return rc;
    }
    wish->say(wish, true);
    names_link_flush(wish->names);
    return 0;
}

void names_wish_end(struct names_wish *wish) {
    struct names *names;

    if (!wish)
        return;
    names = wish->names;
    *wish->owner = NULL;
    wish->owner = NULL;
    wish->say(wish, false);
    names_link_flush(names);
    names_link_rest(names);
    names_sweep(names);
}

/* ---- what names.c tells ---------------------------------------------------------------------- */

bool names_wishes_used(const struct names *names) {
    for (const struct names_wish *wish = names->wishes; wish; wish = wish->next)
        if (wish->owner)
            return true;
    return false;
}

void names_wishes_register(struct names *names) {
    for (struct names_wish *wish = names->wishes; wish; wish = wish->next)
        if (wish->owner)
            wish->say(wish, true);
}

struct names_wish *names_wish_find(struct names *names, uint64_t cookie,
                                   void (*say)(const struct names_wish *, bool)) {
    struct names_wish *wish = names->wishes;

    while (wish && (wish->cookie != cookie || wish->say != say || !wish->owner))
        wish = wish->next;
    return wish;
}

void names_wishes_sweep(struct names *names) {
    struct names_wish **link = &names->wishes;

    while (*link) {
        struct names_wish *wish = *link;

        if (wish->owner) {
            link = &wish->next;
            continue;
        }
        *link = wish->next;
        free(wish);
    }
}

void names_wishes_end(struct names *names) {
    for (struct names_wish *wish = names->wishes; wish; wish = wish->next) {
        if (wish->owner)
            *wish->owner = NULL;
        wish->owner = NULL;
    }
}
