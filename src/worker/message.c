/* SPDX-License-Identifier: MIT
 *
 * Messages: from the node to the ports. Each is received with TRAM_HOLD and released when the
 * handler returns, unless that took it.
 *
 * What can't be handed on now waits in one of three lists, in its order: `later` (while a blocking
 * call looks for its own), `parked` (no such port yet), `plain` (no handler for plain messages
 * yet). It stays in its ring meanwhile, and in the hand of this process: the core lets 512 of a
 * sender be so. When that is reached, they are copied and released, so that the sender's next ones
 * can come; plain ones also after PARK_NS, or they would fill their ring for ever, and hold up what
 * is for a port (`outlived`). Should the process die then, they are lost to it as those are that it
 * was working on.
 *
 * Process, then commit: what a handler staged is accepted with the flush, and no message is
 * released between the two. Once something is staged, releases wait for the end of the turn.
 *
 * Copies are bounded (COPIES_MAX): more of `later` wait in their rings, and so do their senders;
 * more of `parked` make the oldest be refused at once; more of plain ones make the oldest be
 * dropped, and counted: nobody has asked for them.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "worker/internal.h"

/* ---- releasing ------------------------------------------------------------------------------- */

static __attribute__((noinline)) void release_later(tram_worker *worker,
                                                    const struct tram_msg *msg) {
    if (worker->owed_count == MESSAGES_MAX)
        worker_settle(worker);
    worker->staged = true;
    worker->owed[worker->owed_count++] = *msg;
}

/* The handler is done with it. */
static inline void release(tram_worker *worker, const struct tram_msg *msg) {
    if (unlikely(worker->staged))
        release_later(worker, msg);
    else
        (void) tram_release(worker->node, msg); /* unless its channel was closed */
}

void worker_settle(tram_worker *worker) {
    uint32_t count = worker->owed_count;

    (void) tram_flush(worker->node); /* its error comes again with the next send */
    worker->staged = false;
    worker->owed_count = 0;
    for (uint32_t i = 0; i < count; i++)
        (void) tram_release(worker->node, &worker->owed[i]); /* as above */
}

/* ---- lists ----------------------------------------------------------------------------------- */

static void held_append(struct held_list *list, struct held *held) {
    held->next = NULL;
    if (list->count == 0)
        list->last = &list->first;
    *list->last = held;
    list->last = &held->next;
    list->count++;
}

struct held *held_first(struct held_list *list) {
    struct held *held = list->first;

    if (held) {
        list->first = held->next;
        list->count--;
    }
    return held;
}

static struct held *held_new(tram_worker *worker, const struct tram_msg *msg) {
    struct held *held = worker->free_held;

    if (likely(held))
        worker->free_held = held->next;
    else
        held = malloc(sizeof(*held));
    if (unlikely(!held))
        return NULL;
    held->message = (struct worker_message){.msg = *msg, .worker = worker, .taken = true};
    held->next = NULL;
    return held;
}

static void held_forget(tram_worker *worker, struct held *held) {
    held->next = worker->free_held;
    worker->free_held = held;
}

static void copy_free(tram_worker *worker, void *copy, size_t size) {
    worker->copies -= size + sizeof(struct held);
    free(copy);
}

void held_release(tram_worker *worker, struct held *held) {
    if (held->message.copy)
        copy_free(worker, held->message.copy, held->message.msg.size);
    else
        release(worker, &held->message.msg);
    held_forget(worker, held);
}

/* ---- ports ----------------------------------------------------------------------------------- */

uint32_t worker_port_of(const struct tram_msg *msg) {
    uint32_t port;

    memcpy(&port, msg->layer + WORKER_PORT_AT, sizeof(port));
    return port;
}

struct worker_port *worker_port_find(const tram_worker *worker, uint32_t port) {
    struct worker_port *entry = worker->ports[port & worker->ports_mask];

    while (entry && entry->port != port)
        entry = entry->next;
    return entry;
}

static void ports_grow(tram_worker *worker) {
    uint32_t mask = worker->ports_mask * 2 + 1;
    struct worker_port **ports = calloc(mask + 1u, sizeof(*ports));

    if (!ports)
        return; /* it works as it is, with longer chains */
    for (uint32_t i = 0; i <= worker->ports_mask; i++) {
        struct worker_port *next;

        for (struct worker_port *entry = worker->ports[i]; entry; entry = next) {
            next = entry->next;
            entry->next = ports[entry->port & mask];
            ports[entry->port & mask] = entry;
        }
    }
    free(worker->ports);
    worker->ports = ports;
    worker->ports_mask = mask;
}

/* Move what was parked for a port to what is handed on next. */
static void unpark(tram_worker *worker, uint32_t port) {
    struct held_list stay = {0};
    struct held_list next = {0};
    struct held *held;

    while ((held = held_first(&worker->parked)))
        held_append(worker_port_of(&held->message.msg) == port ? &next : &stay, held);
    worker->parked = stay;
    if (next.count == 0)
        return;
    while ((held = held_first(&worker->later)))
        held_append(&next, held);
    while ((held = held_first(&next)))
        held_append(&worker->later, held);
    worker_call_attention(worker);
}

int worker_port_add(tram_worker *worker, struct worker_port *port) {
    int rc = worker_check(worker);

    if (rc < 0)
        return rc;
    if (port->port == 0 || !port->on_message)
        return -EINVAL;
    if (worker_port_find(worker, port->port))
        return -EADDRINUSE;
    if (worker->port_count > worker->ports_mask)
        ports_grow(worker);
    port->next = worker->ports[port->port & worker->ports_mask];
    worker->ports[port->port & worker->ports_mask] = port;
    worker->port_count++;
    if (worker->parked.count > 0)
        unpark(worker, port->port);
    worker_call_attention(worker); /* messages may wait for somebody to receive them */
    return 0;
}

void worker_port_remove(tram_worker *worker, struct worker_port *port) {
    struct worker_port **link = &worker->ports[port->port & worker->ports_mask];

    while (*link && *link != port)
        link = &(*link)->next;
    if (!*link)
        return;
    *link = port->next;
    worker->port_count--;
}

void worker_set_stranger(tram_worker *worker,
                         void (*fn)(tram_worker *worker, const struct tram_msg *msg),
                         bool (*hopeless)(const struct tram_msg *msg)) {
    worker->stranger = fn;
    worker->hopeless = hopeless;
}

void worker_set_passed(tram_worker *worker,
                       void (*fn)(tram_worker *worker, const struct tram_msg *msg)) {
    worker->passed = fn;
}

/* No port gets it now; `held`: it was told of when it came. */
static void pass(tram_worker *worker, const struct held *held, const struct tram_msg *msg) {
    if (worker->passed && !held)
        worker->passed(worker, msg);
}

int tram_worker_on_message(tram_worker *worker, tram_message_fn *fn, void *arg) {
    struct held *held;
    int rc = worker_check(worker);

    if (rc < 0)
        return rc;
    worker->on_message = fn;
    worker->on_message_arg = arg;
    if (fn && worker->plain.count + worker->outlived.count > 0) {
        struct held_list next = {0};

        while ((held = held_first(&worker->outlived)) || (held = held_first(&worker->plain)))
            held_append(&next, held);
        while ((held = held_first(&worker->later)))
            held_append(&next, held);
        while ((held = held_first(&next)))
            held_append(&worker->later, held);
    }
    worker_call_attention(worker);
    return 0;
}

/* ---- taking ---------------------------------------------------------------------------------- */

struct worker_message *worker_take(struct worker_message *message) {
    struct held *held = held_new(message->worker, &message->msg);

    if (!held)
        return NULL;
    held->message.copy = message->copy;
    message->taken = true;
    return &held->message;
}

struct worker_message *worker_release(struct worker_message *message) {
    if (message)
        held_release(message->worker, (struct held *) message);
    return NULL;
}

void worker_handed_on(struct worker_message *message) {
    if (message->taken)
        held_forget(message->worker, (struct held *) message);
    else
        held_release(message->worker, (struct held *) message);
}

void worker_hand_back(struct worker_message *message) {
    struct held *held = (struct held *) message;
    tram_worker *worker = message->worker;

    held_append(&worker->later, held);
    worker_call_attention(worker);
}

/* ---- staging --------------------------------------------------------------------------------- */

/* Handlers are quick if those of the last turn that had several messages were: one that waits long
 * for the rest of its turn with what it has staged has to be the exception. */
static void judge(tram_worker *worker) {
    int64_t since = worker->batch_since;

    worker->batch_since = 0;
    worker->quick = worker_read_clock(worker) - since < worker->batch_count * QUICK_NS;
}

bool worker_stage(tram_worker *worker, bool more) {
    more |= worker->batch_at < worker->batch_count && worker->quick && worker->pumping == 0;
    worker->staged |= more;
    return more;
}

/* ---- handing on ------------------------------------------------------------------------------ */

void worker_run_deferred(tram_worker *worker) {
    struct worker_deferred *deferred;

    while ((deferred = worker->deferred)) {
        worker->deferred = deferred->next;
        deferred->queued = false;
        deferred->fn(deferred);
    }
}

void worker_defer(tram_worker *worker, struct worker_deferred *deferred) {
    struct worker_deferred **last = &worker->deferred;

    if (deferred->queued)
        return;
    while (*last)
        last = &(*last)->next;
    deferred->queued = true;
    deferred->next = NULL;
    *last = deferred;
    worker_call_attention(worker); /* in case that no handler runs */
}

/* Keep a message for later. Without memory it stays in hand, unseen, and comes again in the next
 * life of this node: nothing better can be done for it. */
static void keep(tram_worker *worker, struct held_list *list, struct held *held,
                 const struct tram_msg *msg) {
    if (!held)
        held = held_new(worker, msg);
    if (!held) {
        (void) worker_fail(worker, -ENOMEM, "no memory to park a message");
        return;
    }
    held->since = worker_read_clock(worker);
    held_append(list, held);
}

void worker_put_off(tram_worker *worker, const struct tram_msg *msg) {
    pass(worker, NULL, msg);
    keep(worker, &worker->later, NULL, msg);
}

/* To its port; `held` is the same message if it was kept, else NULL. */
void worker_hand_on(tram_worker *worker, struct worker_port *port, struct held *held,
                    const struct tram_msg *msg) {
    struct worker_message message = {.msg = *msg, .worker = worker};

    if (unlikely(held)) {
        message.copy = held->message.copy;
        held_forget(worker, held);
    }
    port->on_message(port, &message);
    if (unlikely(worker->forked))
        return;
    if (likely(!message.taken)) {
        if (unlikely(message.copy))
            copy_free(worker, message.copy, message.msg.size);
        else if (unlikely(worker->staged) && !message.last)
            release_later(worker, &message.msg);
        else
            (void) tram_release(worker->node, &message.msg); /* unless its channel was closed */
    }
    worker_after_handler(worker);
}

static void hand_on_plain(tram_worker *worker, struct held *held, const struct tram_msg *msg) {
    void *copy = held ? held->message.copy : NULL;
    struct tram_msg own = *msg;

    if (!worker->on_message) {
        keep(worker, &worker->plain, held, msg);
        return;
    }
    if (held)
        held_forget(worker, held);
    worker->on_message(worker, &own, worker->on_message_arg);
    if (unlikely(worker->forked))
        return;
    if (copy)
        copy_free(worker, copy, own.size);
    else
        release_later(worker, &own); /* for all we know, it staged something */
    worker_after_handler(worker);
}

static void refuse(tram_worker *worker, struct held *held, const struct tram_msg *msg) {
    worker->stranger(worker, msg);
    if (unlikely(worker->forked))
        return;
    if (held)
        held_release(worker, held);
    else
        release(worker, msg);
    worker_after_handler(worker);
}

static inline void hand_on(tram_worker *worker, struct held *held, const struct tram_msg *msg) {
    uint32_t number = worker_port_of(msg);
    struct worker_port *port;

    if (unlikely(number == 0)) {
        pass(worker, held, msg);
        hand_on_plain(worker, held, msg);
        return;
    }
    port = worker_port_find(worker, number);
    if (likely(port)) {
        worker_hand_on(worker, port, held, msg);
        return;
    }
    pass(worker, held, msg);
    if (worker->hopeless && worker->hopeless(msg))
        refuse(worker, held, msg);
    else
        keep(worker, &worker->parked, held, msg);
}

/* ---- what was parked ------------------------------------------------------------------------- */

static bool make_copy(tram_worker *worker, struct held *held) {
    struct tram_msg *msg = &held->message.msg;
    void *copy;

    if (held->message.copy ||
        worker->copies + msg->size + sizeof(*held) > COPIES_MAX)
        return false;
    copy = malloc(msg->size > 0 ? msg->size : 1);
    if (!copy)
        return false;
    if (msg->size > 0)
        memcpy(copy, msg->data, msg->size);
    (void) tram_release(worker->node, msg); /* unless its channel was closed */
    msg->data = copy;
    held->message.copy = copy;
    worker->copies += msg->size + sizeof(*held);
    return true;
}

static void refuse_first(tram_worker *worker) {
    struct held *held = held_first(&worker->parked);

    worker->stranger(worker, &held->message.msg);
    if (likely(!worker->forked))
        held_release(worker, held);
}

static void drop_first(tram_worker *worker) {
    held_release(worker, held_first(worker->outlived.count > 0 ? &worker->outlived
                                                               : &worker->plain));
    worker->dropped++;
    (void) worker_fail(worker, -ENOBUFS,
                       "%llu messages that are for no endpoint were dropped: see "
                       "tram_worker_on_message()", (unsigned long long) worker->dropped);
    worker_fail_limit(worker, worker->dropped);
}

/* Plain messages leave their rings: all, or those that have waited for long. Copies of these take
 * no more than half of the room. */
static bool outlive(tram_worker *worker, int64_t before) {
    bool any = false;

    while (worker->plain.count > 0 && worker->plain.first->since <= before) {
        any = true;
        if (worker->plain.first->message.copy ||
            (worker->copies <= COPIES_MAX / 2 && make_copy(worker, worker->plain.first)))
            held_append(&worker->outlived, held_first(&worker->plain));
        else
            drop_first(worker);
    }
    return any;
}

/* The core lets no more be in hand: let go of what waits here. */
void worker_copy_out(tram_worker *worker) {
    bool any = outlive(worker, INT64_MAX);

    while (worker->outlived.count > 0 && worker->parked.count > 0 &&
           worker->copies > COPIES_MAX / 2)
        drop_first(worker);
    while (worker->stranger && worker->parked.count > 0 && worker->copies > COPIES_MAX / 2 &&
           !worker->forked)
        refuse_first(worker);
    for (struct held *held = worker->later.first; held; held = held->next)
        any |= make_copy(worker, held);
    for (struct held *held = worker->parked.first; held; held = held->next)
        any |= make_copy(worker, held);
    if (any)
        worker->retry_at = 0;
}

bool worker_copy(struct worker_message *message) {
    return message->copy || make_copy(message->worker, (struct held *) message);
}

/* Nobody has come for it. */
void worker_parked_due(tram_worker *worker) {
    (void) outlive(worker, worker->now - PARK_NS);
    while (worker->parked.count > 0 && worker->stranger &&
           worker->now - worker->parked.first->since >= PARK_NS) {
        refuse_first(worker);
        if (unlikely(worker->forked))
            return;
        worker_after_handler(worker);
    }
}

void worker_messages_end(tram_worker *worker) {
    struct held_list *lists[] = {&worker->later, &worker->parked, &worker->plain,
                                 &worker->outlived};
    struct held *held;

    if (worker->node && !worker->forked)
        worker_settle(worker);
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        while ((held = held_first(lists[i]))) {
            free(held->message.copy);
            free(held); /* not released: it comes again, to the node's next life */
        }
    }
    while ((held = worker->free_held)) {
        worker->free_held = held->next;
        free(held);
    }
    free(worker->ports);
    worker->ports = NULL;
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* Without a handler and without ports messages stay in their rings, unseen. */
bool worker_receives(const tram_worker *worker) {
    return worker->on_message || worker->port_count > 0;
}

/* Fill the batch. How many, or 0. */
int worker_receive(tram_worker *worker, int64_t look_ns) {
    int count;

    if (worker->batch_since)
        judge(worker);
    if (unlikely(worker->staged))
        worker_settle(worker);
    count = tram_recv_batch(worker->node, worker->batch, MESSAGES_MAX, TRAM_HOLD, look_ns);
    if (likely(count > 0)) {
        if (count > 1)
            worker->batch_since = worker_read_clock(worker);
        worker->batch_at = 0;
        worker->batch_count = (uint32_t) count;
        worker->spun_from = 0;
        return count;
    }
    if (count == -EAGAIN || count == -ETIMEDOUT)
        return 0;
    (void) worker_fail_node(worker, count);
    if (count == -ENOBUFS)
        worker_copy_out(worker);
    else if (count != -EBADMSG && count != -EMLINK && count != -ESTALE) /* said once */
        worker->retry_at = worker_read_clock(worker) + RETRY_NS;
    return 0;
}

/* What was put off, before anything else. */
bool worker_later(tram_worker *worker) {
    uint32_t left = worker->later.count;

    if (left == 0)
        return false;
    while (left-- > 0 && worker->later.count > 0) {
        struct held *held = held_first(&worker->later);
        struct tram_msg msg = held->message.msg;

        hand_on(worker, held, &msg);
        if (unlikely(worker_over(worker)))
            break;
    }
    if (worker->staged && !worker->forked)
        worker_settle(worker);
    return true;
}

/* The loop over a batch: what a message costs beside its handler is here. */
bool worker_messages(tram_worker *worker, int64_t look_ns) {
    bool timed = worker->timers.count + worker->inner_timers.count > 0;
    uint32_t count = 0;

    if (unlikely(worker->later.count > 0))
        return worker_later(worker);
    if (worker->batch_at == worker->batch_count) {
        if (unlikely(!worker_receives(worker)) || unlikely(worker->now < worker->retry_at))
            return false;
        if (worker_receive(worker, look_ns) == 0)
            return false;
    }
    while (worker->batch_at < worker->batch_count) {
        hand_on(worker, NULL, &worker->batch[worker->batch_at++]);
        count++;
        if (unlikely(worker_interrupted(worker)) &&
            (worker_over(worker) || count >= MESSAGES_MIN))
            break;
        if (unlikely(worker->later.count > 0)) /* it comes before the rest */
            break;
        worker->since_look++;
        if (++worker->since_clock >= CLOCK_EVERY && timed) {
            int64_t now = worker_read_clock(worker);

            if (now >= heap_due(&worker->timers) || now >= heap_due(&worker->inner_timers))
                break;
        }
    }
    if (unlikely(worker->staged) && !worker->forked)
        worker_settle(worker);
    return true;
}
