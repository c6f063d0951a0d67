/* SPDX-License-Identifier: MIT
 *
 * Sources: what is looked at in each turn. One that is removed meanwhile moves the cursors on.
 */
#include "worker/internal.h"

void worker_source_add(tram_worker *worker, struct worker_source *source) {
    source->worker = worker;
    source->sleeps = false;
    source->next = worker->sources;
    source->link = &worker->sources;
    if (source->next)
        source->next->link = &source->next;
    worker->sources = source;
    worker_call_attention(worker);
}

void worker_source_remove(struct worker_source *source) {
    if (!source->link)
        return;
    for (struct source_cursor *at = source->worker->source_cursors; at; at = at->outer)
        if (at->next == source)
            at->next = source->next;
    *source->link = source->next;
    if (source->next)
        source->next->link = source->link;
    source->link = NULL;
}

bool worker_sources_run(tram_worker *worker) {
    struct source_cursor cursor = {.next = worker->sources, .outer = worker->source_cursors};
    bool any = false;

    worker->source_cursors = &cursor;
    while (cursor.next && !worker->forked) {
        struct worker_source *source = cursor.next;

        cursor.next = source->next;
        if (!source->turn(source))
            continue;
        any = true;
        if (!worker->forked)
            worker_after_handler(worker);
    }
    worker->source_cursors = cursor.outer;
    return any;
}

void worker_sources_wake(tram_worker *worker) {
    for (struct worker_source *source = worker->sources; source; source = source->next) {
        if (source->sleeps && source->wake)
            source->wake(source);
        source->sleeps = false;
    }
}

/* False: one has work, and none sleeps. */
bool worker_sources_sleep(tram_worker *worker) {
    for (struct worker_source *source = worker->sources; source; source = source->next) {
        source->sleeps = true;
        if (source->sleep && !source->sleep(source)) {
            worker_sources_wake(worker);
            return false;
        }
    }
    return true;
}
