/* SPDX-License-Identifier: MIT
 *
 * An event that is written in place: in the ring, if there is one, where nothing else is published
 * until it is; else in memory. Should the server go meanwhile, the ring stays mapped as long as the
 * application writes there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/draft.h"
#include "service/publish.h"
#include "service/service.h"

struct event_draft {
    struct publisher *publisher; /* NULL: its server went */
    struct sending sending;
    struct event event;
    struct topic_file file;      /* of a server that went */
    void *memory;                /* NULL: in the ring */
    uint32_t flags;
};

static int claim(struct publisher *publisher, struct event_draft *in, size_t size,
                 void **ret_data) {
    struct topic_record record = {0};
    uint8_t *body;
    int rc;

    if (publisher->draft)
        return -EBUSY;
    if (ring_wanted(publisher)) {
        rc = ring_room(publisher, in->event.frame.extra + size);
        if (rc < 0)
            return rc;
    }
    if (!ring_wanted(publisher)) { /* nobody reads there, or not any more */
        in->memory = malloc(size + 1);
        *ret_data = in->memory;
        return in->memory ? 0 : -ENOMEM;
    }
    body = topic_tx_header(&publisher->tx, &record);
    in->event.in_place = true;
    publisher->draft = in;
    *ret_data = body + in->event.frame.extra;
    return 0;
}

int tram_server_draft(tram_server *server, size_t size, const struct tram_how *how,
                      tram_draft **ret_draft, void **ret_data) {
    struct publisher *publisher;
    struct event_draft *in;
    tram_draft *draft;
    int rc;

    if (!server || !ret_draft || !ret_data)
        return -EINVAL;
    rc = worker_check(server->endpoint.worker);
    if (rc < 0)
        return rc;
    draft = calloc(1, sizeof(*draft));
    in = calloc(1, sizeof(*in));
    publisher = publisher_get(server);
    rc = !publisher || !draft || !in ? -ENOMEM : 0;
    if (rc == 0 && (server->endpoint.dead || size > UINT32_MAX ||
                    event_init(&in->event, &in->sending, server->endpoint.service, 0, NULL, 0,
                               how) < 0))
        rc = -EINVAL;
    if (rc == 0)
        rc = claim(publisher, in, size, ret_data);
    if (rc < 0) {
        free(in);
        free(draft);
        return rc == -EINVAL ? worker_fail(server->endpoint.worker, rc,
                                           "an argument is out of its range")
                             : publish_explain(server, rc);
    }
    in->publisher = publisher;
    in->flags = how ? how->flags : 0;
    in->event.data = *ret_data;
    draft->worker = server->endpoint.worker;
    draft->size = size;
    draft->events = in;
    *ret_draft = draft;
    return 0;
}

tram_draft *draft_event_free(tram_draft *draft) {
    struct event_draft *in = draft->events;

    if (in->publisher && in->publisher->draft == in)
        in->publisher->draft = NULL;
    topic_file_close(&in->file);
    free(in->memory);
    free(in);
    free(draft);
    return NULL;
}

void draft_abandon(struct publisher *publisher) {
    struct event_draft *in = publisher->draft;

    publisher->draft = NULL;
    if (!in)
        return;
    in->publisher = NULL;
    in->file = publisher->file;
    publisher->file = (struct topic_file){0};
}

int tram_draft_publish(tram_draft **draft, uint32_t code, size_t size) {
    tram_draft *d = draft ? *draft : NULL;
    struct event_draft *in;
    tram_server *server;
    int rc;

    if (!d || !d->events)
        return -EINVAL;
    rc = worker_check(d->worker);
    if (rc < 0)
        return rc;
    in = d->events;
    if (size > d->size || code == TRAM_ANY_EVENT)
        return worker_fail(d->worker, -EINVAL, "larger than the draft, or no event");
    if (!in->publisher) {
        rc = worker_fail(d->worker, -ENOTCONN, "its server is gone");
    } else {
        server = in->publisher->server;
        in->event.code = code;
        in->event.size = size;
        rc = publish_event(in->publisher, &in->event, in->flags);
        if (rc == -EAGAIN)
            return publish_explain(server, rc);
        rc = rc < 0 ? publish_explain(server, rc) : 0;
    }
    *draft = draft_event_free(d);
    return rc;
}
