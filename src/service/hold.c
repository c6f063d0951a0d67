/* SPDX-License-Identifier: MIT
 *
 * Messages that are kept beyond their handler: deferred requests, replies that the application
 * has, and what waits for the end of a blocking call.
 *
 * The core lets 512 messages of a sender be in hand, and what is in hand fills its ring. So one
 * that is kept while others pass behind it would stop the channel in the end: it is copied out and
 * released when half of the 512, or PASSED_BYTES, have come behind it, whoever they are for.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/service.h"

#define PASSED_COUNT 256
#define PASSED_BYTES 32768 /* half of the smallest ring: how large this one is, only its sender
                              knows */
#define WAITING_MAX  (16u << 20) /* bytes that wait for the end of a blocking call; what is more
                                    stays in its ring, and holds up who sends it */

static struct neighbour *neighbour_find(const struct service *service, tram_id id) {
    struct neighbour *neighbour = service->neighbours;

    while (neighbour && neighbour->id != id)
        neighbour = neighbour->next;
    return neighbour;
}

struct neighbour *neighbour_get(struct service *service, tram_id id) {
    struct neighbour *neighbour = neighbour_find(service, id);

    if (!neighbour) {
        neighbour = calloc(1, sizeof(*neighbour));
        if (!neighbour)
            return NULL;
        neighbour->id = id;
        neighbour->end = &neighbour->first;
        neighbour->next = service->neighbours;
        service->neighbours = neighbour;
    }
    neighbour->users++;
    return neighbour;
}

void neighbour_put(struct service *service, struct neighbour *neighbour) {
    struct neighbour **link = &service->neighbours;

    if (!neighbour || --neighbour->users > 0)
        return;
    while (*link != neighbour)
        link = &(*link)->next;
    *link = neighbour->next;
    free(neighbour);
}

static void unlist(struct held *held) {
    struct service *service;

    if (!held->neighbour)
        return;
    service = worker_shared(held->worker);
    *held->link = held->next;
    if (held->next)
        held->next->link = held->link;
    else
        held->neighbour->end = held->link;
    service->holds--;
    neighbour_put(service, held->neighbour);
    held->neighbour = NULL;
}

int hold_take(struct held *held, tram_session *session, struct inbound *in, const void **data) {
    if (in->kept) { /* from the inbox */
        struct held *from = in->hold;

        *held = *from;
        held->data = data;
        *data = in->data;
        if (held->neighbour) {
            *held->link = held;
            if (held->next)
                held->next->link = &held->next;
            else
                held->neighbour->end = &held->next;
        }
        *from = (struct held){0};
        return 0;
    }
    memset(held, 0, sizeof(*held));
    held->ops = session->link->ops;
    held->message = held->ops->take(in, data);
    if (!held->message)
        return -ENOMEM;
    held->worker = session->endpoint->worker;
    held->data = data;
    held->size = in->size;
    if (!session->neighbour)
        return 0;
    held->neighbour = session->neighbour;
    held->neighbour->users++;
    session->endpoint->service->holds++;
    held->seq = in->seq;
    held->bytes = held->neighbour->bytes;
    held->link = held->neighbour->end;
    *held->link = held;
    held->neighbour->end = &held->next;
    return 0;
}

int hold_copy(struct held *held, const struct inbound *in, const void **data) {
    memset(held, 0, sizeof(*held));
    held->copy = malloc(in->size ? in->size : 1);
    if (!held->copy)
        return -ENOMEM;
    memcpy(held->copy, in->data, in->size);
    *data = held->copy;
    return 0;
}

void hold_release(struct held *held) {
    unlist(held);
    if (held->message)
        held->ops->release(held->worker, held->message);
    free(held->copy);
    held->message = held->copy = NULL;
}

/* The payload moves; the owner's pointer with it. */
static bool copy_out(struct held *held) {
    const struct service *service = worker_shared(held->worker);
    void *copy;

    if (service->pumping && service->waiting > WAITING_MAX)
        return false;
    copy = malloc(held->size ? held->size : 1);
    if (!copy)
        return false; /* it stays where it is; the next message tries again */
    memcpy(copy, *held->data, held->size);
    *held->data = copy;
    held->copy = copy;
    unlist(held);
    held->ops->release(held->worker, held->message);
    held->message = NULL;
    return true;
}

bool hold_is_old(const struct neighbour *neighbour, uint64_t seq, uint64_t bytes, uint64_t now) {
    return now - seq >= PASSED_COUNT || neighbour->bytes - bytes >= PASSED_BYTES;
}

void hold_look(struct service *service, struct neighbour *neighbour, uint64_t seq) {
    struct held *held;

    while ((held = neighbour->first) && hold_is_old(neighbour, held->seq, held->bytes, seq))
        if (!copy_out(held))
            break;
    if (service->orphans)
        drain_passed(service, neighbour, seq);
}

void hold_other_passed(tram_worker *worker, const struct tram_msg *msg) {
    struct service *service = worker_shared(worker);
    struct neighbour *neighbour = NULL;

    if (service->holds > 0 || service->orphans)
        neighbour = neighbour_find(service, msg->from);
    if (neighbour)
        hold_passed(service, neighbour, msg->seq, msg->size);
}

void hold_forget(struct service *service) {
    while (service->neighbours) {
        struct neighbour *neighbour = service->neighbours;

        neighbour->users++;
        while (neighbour->first) {
            struct held *held = neighbour->first;

            if (copy_out(held))
                continue;
            *held->data = NULL;
            hold_release(held);
        }
        neighbour->users = 1;
        neighbour_put(service, neighbour);
    }
}
