/* SPDX-License-Identifier: MIT
 *
 * The servers of a client: which there are, which is chosen, and what becomes of their sessions.
 *
 * FIRST and NEWEST have a session with the one that is elected; LEAST and KEY with all; one that is
 * named by its instance gets one when it is first named. A server that went keeps its session as
 * long as calls wait for its return.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "service/client.h"
#include "service/draft.h"
#include "service/events.h"

#define UNKNOWN_NS UINT64_C(1000000000) /* round trip to a host of which it is not known */
#define RETRY_NS INT64_C(1000000000) /* after a refusal; HELLO is parked there for longer */

static bool usable(const struct target *target) {
    const tram_session *session = target->session;

    return session && !session->link->down &&
           (session->state == SESSION_OPEN || session->state == SESSION_ONLINE);
}

static bool wants_all(const tram_client *client) {
    return client->choice == TRAM_CHOOSE_LEAST || client->choice == TRAM_CHOOSE_KEY;
}

static bool is_ephemeral(tram_id id) {
    return id >> 28 == 15;
}

/* ---- targets --------------------------------------------------------------------------------- */

static void target_free(struct target *target) {
    for (char **address = target->addresses; address && *address; address++)
        free(*address);
    free(target->addresses);
    (void) tram_timer_free(target->again);
    free(target->name);
    free(target->program);
    free(target->host);
    free(target);
}

static struct target *target_new(tram_client *client, const char *name, const char *program,
                                 const char *host) {
    struct target *target = calloc(1, sizeof(*target));
    struct target **end = &client->targets;
    const char *colon;

    if (!target)
        return NULL;
    target->name = strdup(name);
    target->program = strdup(program);
    target->host = strdup(host);
    if (client->count == client->room) {
        int room = client->room ? 2 * client->room : 4;
        struct target **list = realloc(client->list, (size_t) room * sizeof(struct target *));
        struct candidate *candidates;

        client->list = list ? list : client->list;
        candidates = realloc(client->candidates, (size_t) room * sizeof(*candidates));
        client->candidates = candidates ? candidates : client->candidates;
        if (list && candidates)
            client->room = room;
    }
    if (!target->name || !target->program || !target->host || client->count == client->room) {
        target_free(target);
        return NULL;
    }
    target->client = client;
    colon = strrchr(target->name, ':');
    target->instance = colon ? colon + 1 : "";
    target->identity = choose_identity(name) ^ (*host ? choose_identity(host) << 1 : 0);
    while (*end)
        end = &(*end)->next;
    *end = target;
    client->list[client->count++] = target;
    return target;
}

static void target_remove(struct target *target) {
    tram_client *client = target->client;
    struct target **link = &client->targets;
    int at = 0;

    while (*link != target)
        link = &(*link)->next;
    *link = target->next;
    while (client->list[at] != target)
        at++;
    client->list[at] = client->list[--client->count];
    if (client->current == target)
        client->current = NULL;
    target_free(target);
}

/* The one of that name on that host, or NULL. */
static struct target *target_find(tram_client *client, const struct names_party *party) {
    struct target *target = client->targets;

    while (target &&
           (strcmp(target->name, party->full) != 0 || strcmp(target->host, party->host) != 0))
        target = target->next;
    return target;
}

static void leave(tram_session *session, int status) {
    drafts_orphan(session); /* or the channel is closed to us */
    session_bye(session);
    session_end(session, status);
}

/* Over sockets? One of another host is so if the client wants it: the session keeps its path for
 * life, so that nothing is overtaken on another. */
static bool by_socket(const struct target *target) {
    const tram_client *client = target->client;

    if (target->port == 0)
        return true;
    if (client->via)
        return client->via != ADDRESS_SHM;
    return *target->host && client->flags & TRAM_CLIENT_DIRECT;
}

/* Over shared memory, if it may be so. Whether the node runs is told by client_up(). */
static int target_reach(struct target *target) {
    tram_client *client = target->client;
    char address[ADDRESS_SIZE], id[TRAM_ID_TEXT];
    tram_session *session;
    struct link *link;
    bool runs = false;
    int rc;

    if (target->session)
        return 0;
    if (by_socket(target))
        return client_reach_socket(target);
    rc = link_shm_new(client->endpoint.worker, target->node, target->port, *target->host != '\0',
                      &link, &runs);
    if (rc < 0)
        return worker_fail_node(client->endpoint.worker, rc);
    (void) snprintf(address, sizeof(address), "shm://%s/%s", tram_id_format(target->node, id),
                    target->name);
    session = session_new(&client->endpoint, link, address);
    if (!session)
        return worker_fail(client->endpoint.worker, -ENOMEM, "no memory for a session");
    session->state = SESSION_LOST;
    session->fresh = runs;
    target_join(target, session);
    return 0;
}

void target_join(struct target *target, tram_session *session) {
    session->target = target;
    session->party.pid = target->pid;
    session->name = strdup(target->name);
    session->program = strdup(target->program);
    session->party.name = session->name ? session->name : "";
    session->party.program = session->program ? session->program : "";
    session_of_host(session, target->host);
    target->session = session;
}

/* ---- choosing -------------------------------------------------------------------------------- */

static int pick(tram_client *client, uint64_t key, uint32_t turn,
                bool (*can)(const struct target *target)) {
    for (int i = 0; i < client->count; i++) {
        struct target *target = client->list[i];

        client->candidates[i] =
            (struct candidate){.order = target->order,
                               .load = target->session ? target->session->calls : 0,
                               .distance = target->distance,
                               .identity = target->identity,
                               .usable = can(target),
                               .current = target == client->current};
    }
    return choose(client->choice, client->candidates, client->count, key, turn);
}

static bool is_up(const struct target *target) {
    return target->up;
}

/* All who serve should have a session. */
static void reach_all(tram_client *client) {
    for (struct target *target = client->targets; target; target = target->next)
        if (target->up)
            (void) target_reach(target); /* tried again when something changes */
}

/* NEAREST, FIRST and NEWEST: who should have the session, and that it has one. */
static void elect(tram_client *client) {
    struct target *best;
    int at;

    if (wants_all(client)) {
        reach_all(client);
        return;
    }
    at = pick(client, 0, 0, is_up);
    if (at < 0)
        return;
    best = client->list[at];
    (void) target_reach(best); /* likewise */
    client->current = best;
    if (client->choice == TRAM_CHOOSE_FIRST)
        return;
    for (struct target *target = client->targets; target; target = target->next)
        if (target != best && target->session && target->session->calls == 0 && usable(best) &&
            !inbox_has(&client->endpoint, target->session) &&
            (client->choice == TRAM_CHOOSE_NEWEST || (target->distance > 0 && !target->named))) {
            leave(target->session, -ECONNRESET);
            return; /* one at a time: handlers may have run; the others when something changes */
        }
}

static bool undecided(const tram_client *client) {
    if (!client->settled || names_asks(&client->watch))
        return true;
    for (const struct target *target = client->targets; target; target = target->next)
        if (target->session && target->session->fresh)
            return true;
    return false;
}

/* Nearest first. */
static struct target *pick_instance(tram_client *client, const char *instance) {
    struct target *best = NULL;

    for (struct target *target = client->targets; target; target = target->next) {
        if (strcmp(target->instance, instance) != 0)
            continue;
        target->named = true;
        if (!best || (target->up && !best->up) ||
            (target->up == best->up && target->distance < best->distance))
            best = target;
    }
    if (best && best->up)
        (void) target_reach(best); /* if not, it isn't usable */
    return best && usable(best) ? best : NULL;
}

static struct target *pick_any(tram_client *client, uint64_t key) {
    int at = pick(client, key, client->turn++, usable);

    if (at < 0)
        return NULL;
    client->current = client->list[at];
    return client->current;
}

int client_pick(tram_client *client, const char *instance, uint64_t key, bool wait,
                tram_session **ret_session) {
    struct target *target = client->current;

    if (instance)
        target = pick_instance(client, instance);
    else if (!target || client->choice >= TRAM_CHOOSE_LEAST || !usable(target))
        target = pick_any(client, key);
    if (target) {
        *ret_session = target->session;
        return 0;
    }
    if (wait || undecided(client))
        return 1;
    return worker_fail(client->endpoint.worker, -ENOTCONN, "%s", client_nobody(client));
}

bool client_unreachable(tram_session *session, int rc) {
    if (rc != -EHOSTUNREACH)
        return false;
    session->state = SESSION_LOST;
    return true;
}

/* ---- what sessions tell ---------------------------------------------------------------------- */

void client_changed(tram_client *client) {
    if (client->endpoint.dead)
        return;
    elect(client);
    queue_flush(client);
}

/* It runs (again): what lies in its ring is behind us, and what waits here follows. */
static void open_session(tram_session *session) {
    session->state = SESSION_OPEN;
    session->fresh = session->refused = false;
    (void) session_hello(session, FRAME_HELLO);
    if (session->calls > 0)
        sync_send(session);
}

void client_up(tram_session *session) {
    tram_client *client = client_of(session->endpoint);

    if (session->state != SESSION_LOST)
        return;
    if (!session->link->ops->keeps) { /* nothing goes before the answer: it may be refused */
        (void) session_hello(session, FRAME_HELLO);
        return;
    }
    open_session(session);
    client_changed(client);
}

void client_welcomed(tram_session *session, const struct inbound *in) {
    tram_client *client = client_of(session->endpoint);
    /* … of a server that is dead. Its successor is greeted first. */
    bool late = session->state == SESSION_LOST && !session->refused && session->link->ops->keeps;

    if (session_read_hello(session, in) < 0) {
        session->endpoint->nonsense++;
        return;
    }
    if (late)
        return;
    if (session->state == SESSION_LOST ||
        (session->state == SESSION_LEAVING && session->refused)) {
        open_session(session); /* its answer makes it online */
        client_changed(client);
        return;
    }
    if (session->state != SESSION_OPEN)
        return;
    session->state = SESSION_ONLINE;
    session->fresh = session->refused = false;
    if (!session->link->ops->keeps)
        client_socket_welcomed(session->target);
    client->wait_up = true;
    worker_defer(client->endpoint.worker, &client->endpoint.notice);
    events_session_ready(session);
    client_changed(client);
}

/* The session stays, to be opened again. */
static void lose(tram_session *session) {
    tram_client *client = client_of(session->endpoint);

    session->state = SESSION_LOST;
    session->fresh = false;
    control_leave(session);
    worker_defer(client->endpoint.worker, &client->endpoint.notice);
    worker_defer(client->endpoint.worker, &client->flush_defer);
    calls_lost(&client->endpoint, session);
}

void client_down(tram_session *session) {
    tram_client *client = client_of(session->endpoint);
    struct target *target = session->target;
    bool gone = !session->link->ops->keeps || is_ephemeral(session->link->peer);
    bool kept = inbox_has(&client->endpoint, session);

    session->refused = false;
    if (gone || (target && !target->up && session->calls == 0 && !kept)) {
        session_end(session, -ECONNRESET);
    } else {
        session->syncing = false;
        lose(session);
    }
    client_changed(client);
}

static void retry(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    tram_client *client = arg;

    (void) timer;
    (void) late_ns;
    (void) missed;
    for (tram_session *s = client->endpoint.sessions; s; s = s->next)
        if (s->refused && (s->state == SESSION_LOST || s->state == SESSION_LEAVING) && s->target &&
            s->target->up)
            (void) session_hello(s, FRAME_HELLO);
}

static void try_again(tram_client *client) {
    if (client->retry || worker_inner_timer(client->endpoint.worker, retry, client,
                                            &client->retry) == 0)
        (void) tram_timer_set(client->retry, RETRY_NS, RETRY_NS); /* cannot fail for these times */
}

/* Its server hands over, and takes no more: what is asked waits for the next one, whom HELLO waits
 * for. */
void client_turned_away(tram_session *session) {
    tram_client *client = client_of(session->endpoint);

    if (session->state != SESSION_OPEN && session->state != SESSION_ONLINE)
        return;
    session->state = SESSION_LEAVING;
    session->refused = true;
    (void) session_hello(session, FRAME_HELLO);
    try_again(client);
    worker_defer(client->endpoint.worker, &client->endpoint.notice);
}

/* BYE: of the server, or of a node that doesn't have it. */
void client_left(tram_session *session, int why) {
    tram_client *client = client_of(session->endpoint);

    if (!session->link->ops->keeps) {
        session_end(session, why);
        client_changed(client);
        return;
    }
    session->refused = true;
    try_again(client);
    if (session->syncing)
        sync_refused(session); /* behind all that is still in the ring */
    if (session->state != SESSION_DEAD)
        lose(session);
    client_changed(client);
}

void client_session_gone(tram_session *session) {
    struct target *target = session->target;

    if (!target)
        return;
    session->target = NULL;
    target->session = NULL;
    if (!session->link->ops->keeps)
        client_socket_gone(target);
    if (!target->up)
        target_remove(target);
}

/* ---- names ----------------------------------------------------------------------------------- */

static tram_client *of(struct names_watch *watch) {
    return container_of(watch, tram_client, watch);
}

static int copy_addresses(struct target *target, const char *const *addresses) {
    size_t count = 0;

    while (addresses && addresses[count])
        count++;
    target->addresses = calloc(count + 1, sizeof(*target->addresses));
    for (size_t i = 0; target->addresses && i < count; i++)
        if (!(target->addresses[i] = strdup(addresses[i])))
            return -ENOMEM;
    return target->addresses ? 0 : -ENOMEM;
}

/* Is it of the host that the address names, if it names one? */
static bool is_meant(tram_client *client, const struct names_party *party) {
    const char *at = client->address.at;

    if (!*at || strcmp(at, party->host) == 0)
        return true;
    return !*party->host && names_is_here(client->endpoint.worker, at);
}

static uint64_t distance_of(const struct names_party *party) {
    return *party->host ? party->distance ? party->distance : UNKNOWN_NS : 0;
}

/* It counts the next time that somebody is chosen: nobody is left for it. */
static void on_distance(struct names_watch *watch, const struct names_party *party) {
    struct target *target = target_find(of(watch), party);

    if (target)
        target->distance = distance_of(party);
}

static void on_online(struct names_watch *watch, const struct names_party *party) {
    tram_client *client = of(watch);
    struct target *target = target_find(client, party);
    tram_session *session = target ? target->session : NULL;

    if (!is_meant(client, party))
        return;
    if (session && (target->node != party->node || target->port != party->port)) {
        target->up = true; /* so that it stays */
        session_end(session, -ECONNRESET); /* it comes back elsewhere */
        if (client->endpoint.dead)
            return;
        target = target_find(client, party); /* calls ended, with handlers */
        session = NULL;
    }
    if (!target && !(target = target_new(client, party->full, party->program, party->host))) {
        (void) worker_fail(client->endpoint.worker, -ENOMEM, "no memory for a server");
        return;
    }
    for (char **address = target->addresses; address && *address; address++)
        free(*address);
    free(target->addresses);
    if (copy_addresses(target, party->addresses) < 0)
        (void) worker_fail(client->endpoint.worker, -ENOMEM, "no memory for addresses");
    target->node = party->node;
    target->port = party->port;
    target->order = party->order;
    target->pid = party->pid;
    target->distance = distance_of(party);
    target->up = true;
    if (session && (session->state == SESSION_LEAVING || session->refused))
        open_session(session); /* its node never went */
    client_changed(client);
}

static void on_offline(struct names_watch *watch, const struct names_party *party) {
    tram_client *client = of(watch);
    struct target *target = target_find(client, party);
    tram_session *session = target ? target->session : NULL;

    if (!target)
        return;
    target->up = false;
    if (!session) {
        target_remove(target);
    } else if (session->calls == 0 && !inbox_has(&client->endpoint, session)) {
        leave(session, -ECONNRESET); /* takes the target along */
    } else if (session->state != SESSION_LOST) {
        session->state = SESSION_LEAVING; /* it may still answer */
        worker_defer(client->endpoint.worker, &client->endpoint.notice);
    }
    client_changed(client);
}

static void on_told(struct names_watch *watch) {
    tram_client *client = of(watch);

    client->settled = true;
    client_changed(client);
}

int client_find_servers(tram_client *client) {
    const struct address *address = &client->address;
    char full[NAME_FULL_SIZE];
    struct target *target;
    int rc;

    name_format(address->name.name, address->name.instance, full);
    if (address->kind == ADDRESS_SVC) {
        client->watch.on_online = on_online;
        client->watch.on_offline = on_offline;
        client->watch.on_distance = on_distance;
        client->watch.on_told = on_told;
        client->watch.on_away = on_told;
        rc = names_watch(client->endpoint.worker, &client->watch, full);
        client->watching = rc == 0;
        return rc;
    }
    client->settled = true;
    target = target_new(client, address->kind == ADDRESS_SHM ? full : "", "", "");
    if (!target)
        return worker_fail(client->endpoint.worker, -ENOMEM, "no memory for a server");
    target->up = true;
    client->current = target;
    if (address->kind == ADDRESS_SHM) {
        target->node = address->node;
        target->port = client->at_port ? client->at_port : frame_port(full, strlen(full));
    }
    return target_reach(target);
}

void client_targets_gone(tram_client *client) {
    if (client->watching)
        names_unwatch(&client->watch);
    client->watching = false;
    (void) tram_timer_free(client->retry);
    client->retry = NULL;
    while (client->targets) {
        struct target *target = client->targets;

        if (target->session)
            target->session->target = NULL;
        client->targets = target->next;
        target_free(target);
    }
    free(client->list);
    free(client->candidates);
    client->list = NULL;
    client->candidates = NULL;
    client->count = client->room = 0;
    client->current = NULL;
}
