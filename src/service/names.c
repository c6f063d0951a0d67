/* SPDX-License-Identifier: MIT
 *
 * Names, the client's side: what is bound and watched, and what is known of others. The connection
 * is names_link.c's.
 *
 * A callback may give back anything. So what is given back loses its owner at once, and is freed
 * when no list is walked any more.
 */
#include "service/names.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "service/names_inner.h"
#include "service/service.h"

/* ---- all of a worker ------------------------------------------------------------------------- */

static void known_free(struct known *known) {
    free(known); /* one block */
}

static void binding_free(struct names_binding_inner *inner) {
    free(inner->addresses);
    free(inner);
}

static void watch_free(struct names_watch_inner *inner) {
    while (inner->known) {
        struct known *known = inner->known;

        inner->known = known->next;
        known_free(known);
    }
    free(inner);
}

void names_sweep(struct names *names) {
    struct names_binding_inner **binding = &names->bindings;
    struct names_watch_inner **watch = &names->watches;

    if (names->walks > 0)
        return;
    while (*binding) {
        struct names_binding_inner *inner = *binding;

        if (inner->owner) {
            binding = &inner->next;
            continue;
        }
        *binding = inner->next;
        binding_free(inner);
    }
    while (*watch) {
        struct names_watch_inner *inner = *watch;

        if (inner->owner) {
            watch = &inner->next;
            continue;
        }
        *watch = inner->next;
        watch_free(inner);
    }
    names_wishes_sweep(names);
}

static void walk_begin(struct names *names) {
    names->walks++;
}

static void walk_end(struct names *names) {
    names->walks--;
    names_sweep(names);
}

bool names_used(const struct names *names) {
    for (const struct names_binding_inner *inner = names->bindings; inner; inner = inner->next)
        if (inner->owner)
            return true;
    for (const struct names_watch_inner *inner = names->watches; inner; inner = inner->next)
        if (inner->owner)
            return true;
    return names_wishes_used(names);
}

/* The worker goes: let go without a word to the owners. */
static void names_ending(struct worker_ending *ending) {
    struct names *names = (struct names *) ((char *) ending - offsetof(struct names, ending));

    for (struct names_binding_inner *inner = names->bindings; inner; inner = inner->next) {
        if (inner->owner)
            inner->owner->inner = NULL;
        inner->owner = NULL;
    }
    for (struct names_watch_inner *inner = names->watches; inner; inner = inner->next) {
        if (inner->owner)
            inner->owner->inner = NULL;
        inner->owner = NULL;
    }
    names_wishes_end(names);
    names_sweep(names);
    worker_ending_remove(&names->ending);
    *service_names(names->worker) = NULL;
    names_link_end(names);
    free(names);
}

int names_of(tram_worker *worker, struct names **ret_names) {
    void **slot = service_names(worker);
    struct names *names = slot ? *slot : NULL;

    if (!names) {
        names = slot ? calloc(1, sizeof(*names)) : NULL;
        if (!names)
            return worker_fail(worker, -ENOMEM, "no memory for the connection to the daemon");
        names->worker = worker;
        names->dir = -1;
        names->fd = -1;
        names->ending.fn = names_ending;
        worker_ending_add(worker, &names->ending);
        *slot = names;
    }
    *ret_names = names;
    return 0;
}

const char *names_trouble(tram_worker *worker) {
    void **slot = service_names(worker);
    const struct names *names = slot ? *slot : NULL;

    if (!names || names->state != NAMES_AWAY)
        return NULL;
    if (names->cannot_start == -ENOENT)
        return "no tramd runs on this bus, and none is installed; TRAMD=PATH says where it is";
    if (names->cannot_start < 0)
        return "no tramd runs on this bus, and none could be started";
    return worker_flags(worker) & TRAM_WORKER_AUTO
               ? "tramd is being started"
               : "no tramd runs on this bus: start it, or use TRAM_WORKER_AUTO";
}

/* ---- binding --------------------------------------------------------------------------------- */

static void send_bind(struct names_binding_inner *inner) {
    control_party party = CONTROL_NEW(Party, party);
    Tram__Control__Bind bind = CONTROL_NEW(Bind, bind);
    control_frame frame = CONTROL_NEW(Frame, frame);

    party.name = inner->name.name;
    party.instance = inner->name.instance;
    party.port = inner->port;
    bind.cookie = inner->cookie;
    bind.party = &party;
    bind.order = inner->order;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_BIND;
    frame.bind = &bind;
    names_link_add(inner->names, &frame);
}

static void send_publish(struct names_binding_inner *inner) {
    Tram__Control__Publish publish = CONTROL_NEW(Publish, publish);
    control_frame frame = CONTROL_NEW(Frame, frame);

    publish.cookie = inner->cookie;
    publish.addresses = inner->addresses;
    publish.n_addresses = inner->count;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_PUBLISH;
    frame.publish = &publish;
    names_link_add(inner->names, &frame);
}

static void send_unbind(struct names_binding_inner *inner) {
    Tram__Control__Unbind unbind = CONTROL_NEW(Unbind, unbind);
    control_frame frame = CONTROL_NEW(Frame, frame);

    unbind.cookie = inner->cookie;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_UNBIND;
    frame.unbind = &unbind;
    names_link_add(inner->names, &frame);
}

int names_bind(tram_worker *worker, struct names_binding *binding, const char *name,
               const char *instance, uint32_t port) {
    struct names_binding_inner *inner, **link;
    struct names *names;
    int rc;

    if (!instance)
        instance = "";
    if (!name_valid(name) || !name_instance_valid(instance))
        return worker_fail(worker, -EINVAL, "'%.64s%s%.64s' is no name for a service", name,
                           *instance ? ":" : "", instance);
    rc = names_of(worker, &names);
    if (rc < 0)
        return rc;
    inner = calloc(1, sizeof(*inner));
    if (!inner)
        return worker_fail(worker, -ENOMEM, "no memory to bind a name");
    link = &names->bindings;
    inner->owner = binding;
    inner->names = names;
    inner->cookie = ++names->cookies;
    inner->port = port;
    memcpy(inner->name.name, name, strlen(name) + 1);
    memcpy(inner->name.instance, instance, strlen(instance) + 1);
    while (*link)
        link = &(*link)->next; /* in the order of the calls, also when they are made again */
    *link = inner;
    binding->inner = inner;
    rc = names_link_need(names);
    if (rc < 0) {
        names_unbind(binding);
        return rc;
    }
    send_bind(inner);
    names_link_flush(names);
    return 0;
}

/* A list of strings as one block. */
static char **addresses_copy(const char *const *addresses, size_t count) {
    size_t bytes = count * sizeof(char *);
    char **copy, *at;

    for (size_t i = 0; i < count; i++)
        bytes += strlen(addresses[i]) + 1;
    copy = malloc(bytes);
    if (!copy)
        return NULL;
    at = (char *) (copy + count);
    for (size_t i = 0; i < count; i++) {
        size_t size = strlen(addresses[i]) + 1;

        memcpy(at, addresses[i], size);
        copy[i] = at;
        at += size;
    }
    return copy;
}

int names_publish(struct names_binding *binding, const char *const *addresses) {
    struct names_binding_inner *inner = binding->inner;
    size_t count = 0;
    char **copy = NULL;

    if (!inner || inner->refused)
        return -EINVAL;
    while (addresses && addresses[count])
        count++;
    if (count > CONTROL_ADDRESSES_MAX)
        return worker_fail(inner->names->worker, -EINVAL, "%zu addresses; %u are allowed", count,
                           CONTROL_ADDRESSES_MAX);
    if (count > 0) {
        copy = addresses_copy(addresses, count);
        if (!copy)
            return worker_fail(inner->names->worker, -ENOMEM, "no memory to publish a name");
    }
    free(inner->addresses);
    inner->addresses = copy;
    inner->count = count;
    inner->wanted = true;
    if (inner->bound) {
        send_publish(inner);
        names_link_flush(inner->names);
    }
    return 0;
}

void names_unbind(struct names_binding *binding) {
    struct names_binding_inner *inner = binding->inner;

    if (!inner)
        return;
    binding->inner = NULL;
    inner->owner = NULL;
    if (!inner->refused) {
        send_unbind(inner);
        names_link_flush(inner->names);
    }
    names_link_rest(inner->names);
    names_sweep(inner->names);
}

/* ---- watching -------------------------------------------------------------------------------- */

static void send_watch(struct names_watch_inner *inner) {
    Tram__Control__Watch watch = CONTROL_NEW(Watch, watch);
    control_frame frame = CONTROL_NEW(Frame, frame);

    watch.cookie = inner->cookie;
    watch.pattern = inner->pattern;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_WATCH;
    frame.watch = &watch;
    names_link_add(inner->names, &frame);
}

int names_watch(tram_worker *worker, struct names_watch *watch, const char *pattern) {
    struct names_watch_inner *inner;
    struct names *names;
    int rc;

    if (!pattern_valid(pattern))
        return worker_fail(worker, -EINVAL, "'%.128s' is no pattern of names", pattern);
    rc = names_of(worker, &names);
    if (rc < 0)
        return rc;
    inner = calloc(1, sizeof(*inner));
    if (!inner)
        return worker_fail(worker, -ENOMEM, "no memory to watch names");
    inner->owner = watch;
    inner->names = names;
    inner->cookie = ++names->cookies;
    memcpy(inner->pattern, pattern, strlen(pattern) + 1);
    inner->next = names->watches;
    names->watches = inner;
    watch->inner = inner;
    rc = names_link_need(names);
    if (rc < 0) {
        names_unwatch(watch);
        return rc;
    }
    send_watch(inner);
    names_link_flush(names);
    return 0;
}

void names_unwatch(struct names_watch *watch) {
    struct names_watch_inner *inner = watch->inner;
    Tram__Control__Unwatch unwatch = CONTROL_NEW(Unwatch, unwatch);
    control_frame frame = CONTROL_NEW(Frame, frame);

    if (!inner)
        return;
    watch->inner = NULL;
    inner->owner = NULL;
    unwatch.cookie = inner->cookie;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_UNWATCH;
    frame.unwatch = &unwatch;
    names_link_add(inner->names, &frame);
    names_link_flush(inner->names);
    names_link_rest(inner->names);
    names_sweep(inner->names);
}

bool names_asks(const struct names_watch *watch) {
    const struct names_watch_inner *inner = watch->inner;

    return inner && !inner->told && inner->names->state != NAMES_AWAY;
}

const struct names_party *names_next(const struct names_watch *watch,
                                     const struct names_party *party) {
    const struct known *known = (const struct known *) party; /* its first member */

    if (!watch->inner)
        return NULL;
    known = known ? known->next : watch->inner->known;
    return known ? &known->party : NULL;
}

/* ---- what the daemon says -------------------------------------------------------------------- */

static char *put(char **at, const char *text, size_t size) {
    char *start = *at;

    memcpy(start, text, size);
    start[size] = '\0';
    *at += size + 1;
    return start;
}

/* A party as one block: struct, pointers, strings. */
static struct known *known_new(const control_party *from) {
    size_t name = strlen(from->name), instance = strlen(from->instance);
    size_t program = strlen(from->program), host = strlen(from->host);
    size_t bytes = sizeof(struct known) + (from->n_addresses + 1) * sizeof(char *) +
                   2 * (name + instance) + program + host + 6;
    struct known *known;
    char **list, *at;

    for (size_t i = 0; i < from->n_addresses; i++)
        bytes += strlen(from->addresses[i]) + 1;
    known = calloc(1, bytes);
    if (!known)
        return NULL;
    list = (char **) (known + 1);
    at = (char *) (list + from->n_addresses + 1);
    known->party = (struct names_party){
        .name = put(&at, from->name, name),
        .instance = put(&at, from->instance, instance),
        .program = put(&at, from->program, program),
        .host = put(&at, from->host, host),
        .addresses = (const char *const *) list,
        .distance = from->distance,
        .order = from->order,
        .life = from->life,
        .port = from->port,
        .node = from->node,
        .pid = from->pid,
    };
    for (size_t i = 0; i < from->n_addresses; i++)
        list[i] = put(&at, from->addresses[i], strlen(from->addresses[i]));
    known->party.full = at;
    (void) name_format(known->party.name, known->party.instance, at);
    return known;
}

static bool same(const struct names_party *known, const control_party *told) {
    size_t i = 0;

    if (known->order != told->order || known->life != told->life || known->node != told->node ||
        known->port != told->port || known->pid != told->pid)
        return false;
    for (; known->addresses[i] && i < told->n_addresses; i++)
        if (strcmp(known->addresses[i], told->addresses[i]) != 0)
            return false;
    return !known->addresses[i] && i == told->n_addresses;
}

/* Where a name hangs in the list of a watch; at the end of it if it is not there. */
static struct known **place_of(struct names_watch_inner *watch, const control_party *party) {
    struct known **link = &watch->known;

    while (*link && (strcmp((*link)->party.name, party->name) != 0 ||
                     strcmp((*link)->party.instance, party->instance) != 0 ||
                     strcmp((*link)->party.host, party->host) != 0))
        link = &(*link)->next;
    return link;
}

/* Take one off the list, and say so. */
static void tell_offline(struct names_watch_inner *watch, struct known **link) {
    struct known *known = *link;

    *link = known->next;
    if (watch->owner)
        watch->owner->on_offline(watch->owner, &known->party);
    known_free(known);
}

static int frame_online(struct names_watch_inner *watch, const control_party *party) {
    struct known **link = place_of(watch, party);
    struct known *known = *link;

    if (known && same(&known->party, party)) {
        known->confirmed = true;
        if (known->party.distance == party->distance)
            return 0;
        known->party.distance = party->distance;
        if (watch->owner && watch->owner->on_distance)
            watch->owner->on_distance(watch->owner, &known->party);
        return 0;
    }
    if (known)
        tell_offline(watch, link);
    known = known_new(party);
    if (!known)
        return -ENOMEM; /* the connection begins anew, and with it what is told */
    known->confirmed = true;
    link = &watch->known;
    while (*link)
        link = &(*link)->next;
    *link = known;
    if (watch->owner)
        watch->owner->on_online(watch->owner, &known->party);
    return 0;
}

static void frame_told(struct names_watch_inner *watch, bool more) {
    struct known **link = &watch->known;

    /* What was there before the connection was lost, and was not told again. `more`: a daemon that
     * has just begun may not have heard of other hosts yet. */
    while (*link && watch->owner) {
        if ((*link)->confirmed || (more && *(*link)->party.host)) {
            link = &(*link)->next;
            continue;
        }
        tell_offline(watch, link);
        link = &watch->known; /* what was called may have changed the list */
    }
    watch->away = false;
    if (watch->owner && !watch->told) {
        watch->told = true;
        watch->owner->on_told(watch->owner);
    }
}

static void frame_bound(struct names_binding_inner *binding, const Tram__Control__Bound *bound) {
    struct known *holder = bound->holder ? known_new(bound->holder) : NULL;

    if (bound->error < 0) {
        binding->refused = true;
        binding->owner->on_refused(binding->owner, bound->error, bound->text,
                                   holder ? &holder->party : NULL);
    } else if (!binding->bound) {
        binding->bound = true;
        if (binding->wanted) {
            send_publish(binding);
            names_link_flush(binding->names);
        }
        binding->owner->on_bound(binding->owner);
    }
    free(holder);
}

static void frame_published(struct names_binding_inner *binding, uint64_t order) {
    bool before = binding->published;

    binding->order = order;
    binding->published = true;
    if (!before)
        binding->owner->on_published(binding->owner, order);
}

static struct names_binding_inner *binding_find(struct names *names, uint64_t cookie) {
    struct names_binding_inner *inner = names->bindings;

    while (inner && (inner->cookie != cookie || !inner->owner))
        inner = inner->next;
    return inner; /* NULL: it was given back while the answer was on its way */
}

static struct names_watch_inner *watch_find(struct names *names, uint64_t cookie) {
    struct names_watch_inner *inner = names->watches;

    while (inner && (inner->cookie != cookie || !inner->owner))
        inner = inner->next;
    return inner;
}

static int frame_take(struct names *names, const control_frame *frame) {
    struct names_binding_inner *binding = NULL;
    struct names_watch_inner *watch = NULL;

    switch ((int) frame->kind_case) {
    case TRAM__CONTROL__FRAME__KIND_BOUND:
        binding = binding_find(names, frame->bound->cookie);
        if (binding)
            frame_bound(binding, frame->bound);
        return 0;
    case TRAM__CONTROL__FRAME__KIND_PUBLISHED:
        binding = binding_find(names, frame->published->cookie);
        if (binding)
            frame_published(binding, frame->published->order);
        return 0;
    case TRAM__CONTROL__FRAME__KIND_ONLINE:
        watch = watch_find(names, frame->online->cookie);
        return watch ? frame_online(watch, frame->online->party) : 0;
    case TRAM__CONTROL__FRAME__KIND_OFFLINE:
        watch = watch_find(names, frame->offline->cookie);
        if (watch) {
            struct known **link = place_of(watch, frame->offline->party);

            if (*link)
                tell_offline(watch, link);
        }
        return 0;
    case TRAM__CONTROL__FRAME__KIND_TOLD:
        watch = watch_find(names, frame->told->cookie);
        if (watch)
            frame_told(watch, frame->told->more);
        return 0;
    case TRAM__CONTROL__FRAME__KIND_LIFE:
        names_node_take(names, frame->life);
        return 0;
    case TRAM__CONTROL__FRAME__KIND_RELAYED:
        names_relay_take(names, frame->relayed);
        return 0;
    default:
        return -EBADMSG;
    }
}

int names_frame(struct names *names, const control_frame *frame) {
    int rc;

    walk_begin(names);
    rc = frame_take(names, frame);
    walk_end(names);
    return rc;
}

/* ---- the connection comes and goes ----------------------------------------------------------- */

void names_register(struct names *names) {
    Tram__Control__Settle settle = CONTROL_NEW(Settle, settle);
    control_frame frame = CONTROL_NEW(Frame, frame);

    for (struct names_binding_inner *inner = names->bindings; inner; inner = inner->next) {
        if (!inner->owner || inner->refused)
            continue;
        send_bind(inner);
        if (inner->bound && inner->wanted)
            send_publish(inner);
    }
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_SETTLE;
    frame.settle = &settle;
    names_link_add(names, &frame);
    for (struct names_watch_inner *inner = names->watches; inner; inner = inner->next) {
        if (!inner->owner)
            continue;
        for (struct known *known = inner->known; known; known = known->next)
            known->confirmed = false;
        inner->away &= inner->told; /* who never heard what there is, waits for that again */
        send_watch(inner);
    }
    names_wishes_register(names);
    names_link_flush(names);
}

void names_away(struct names *names) {
    walk_begin(names);
    for (struct names_binding_inner *inner = names->bindings; inner; inner = inner->next) {
        bool told = inner->published;

        inner->published = false;
        if (inner->owner && told && inner->owner->on_away)
            inner->owner->on_away(inner->owner);
    }
    for (struct names_watch_inner *inner = names->watches; inner; inner = inner->next) {
        bool told = inner->away;

        inner->away = true;
        if (inner->owner && !told && inner->owner->on_away)
            inner->owner->on_away(inner->owner);
    }
    walk_end(names);
}
