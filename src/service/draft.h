/* SPDX-License-Identifier: MIT */
#pragma once

#include "service/service.h"

struct tram_draft {
    tram_session *session;     /* NULL: it ended */
    tram_worker *worker;
    tram_request *request;     /* that it answers; NULL: none */
    tram_draft *next;          /* of the session */
    struct sending sending;
    size_t size;
    void *events;              /* of an event: what publish.c has for it */
};

/* The session ends. */
void drafts_orphan(tram_session *session);

/* An event's (publish.c). */
tram_draft *draft_event_free(tram_draft *draft);
