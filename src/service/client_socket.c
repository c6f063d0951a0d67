/* SPDX-License-Identifier: MIT
 *
 * A client reaches a server by sockets: by the best of its addresses that answers, again and again
 * until one does. A round of them that all fail is followed by a pause: BACK_MIN, doubling to
 * BACK_MAX, a quarter more or less, so that not all clients of a server that died come at once.
 */
#include <errno.h>
#include <string.h>

#include "service/client.h"
#include "service/link_socket.h"
#include "sys/socket.h"

#define BACK_MIN INT64_C(10000000)
#define BACK_MAX INT64_C(1000000000)
#define INTERFACES_MAX 32

static bool is_direct(const tram_client *client) {
    return client->address.kind >= ADDRESS_IPC;
}

/* Is it one of a segment that this host is in? */
static bool is_near(const struct address *address, const struct sys_interface *interfaces,
                    int count) {
    struct sys_address found;

    if (sys_address_numeric(address->host, address->port, &found) < 0)
        return false; /* a name is not looked up for this */
    for (int i = 0; i < count; i++)
        if (sys_interface_has(&interfaces[i], &found))
            return true;
    return false;
}

/* May this client use it? A UNIX socket is of its own host. */
static bool is_possible(const struct target *target, const struct address *address) {
    const tram_client *client = target->client;

    if (client->via && client->via != address->kind)
        return false;
    return !*target->host || address->kind != ADDRESS_IPC;
}

/* The address of this number; false: there are not so many. UNIX sockets first; of another host
 * those of our own segments. */
static bool candidate(const struct target *target, int number, struct address *ret_address) {
    const tram_client *client = target->client;
    struct sys_interface interfaces[INTERFACES_MAX];
    struct wrong wrong;
    int count = 0;

    if (is_direct(client)) {
        *ret_address = client->address;
        return number == 0 && (!client->via || client->via == client->address.kind);
    }
    if (*target->host)
        count = sys_interfaces(interfaces, INTERFACES_MAX);
    for (int round = 0; round < 2; round++)
        for (enum address_kind kind = ADDRESS_IPC; kind <= ADDRESS_TLS; kind++)
            for (char **text = target->addresses; text && *text; text++)
                if (address_parse(*text, ret_address, &wrong) == 0 && ret_address->kind == kind &&
                    is_possible(target, ret_address) &&
                    (!*target->host || is_near(ret_address, interfaces, count)) == (round == 0) &&
                    number-- == 0)
                    return true;
    return false;
}

/* ---- again and again ------------------------------------------------------------------------- */

static void on_again(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    struct target *target = arg;

    (void) timer;
    (void) late_ns;
    (void) missed;
    target->again_set = false;
    client_changed(target->client);
}

static void try_again(struct target *target) {
    tram_worker *worker = target->client->endpoint.worker;
    int64_t delay;

    target->attempt = 0;
    target->tried = true;
    target->delay = target->delay == 0 ? BACK_MIN : 2 * target->delay;
    if (target->delay > BACK_MAX)
        target->delay = BACK_MAX;
    delay = target->delay * 3 / 4 + (int64_t) (service_random() % 1024) * target->delay / 2048;
    if (!target->again && worker_inner_timer(worker, on_again, target, &target->again) < 0)
        return; /* tried again when something changes */
    target->again_set = tram_timer_set(target->again, delay, 0) == 0;
}

void client_socket_welcomed(struct target *target) {
    if (!target)
        return;
    target->welcomed = target->tried = true;
    target->delay = 0;
}

void client_socket_gone(struct target *target) {
    if (target->welcomed)
        target->attempt = 0;
    else
        target->attempt++;
    target->welcomed = false;
}

/* ---- reaching -------------------------------------------------------------------------------- */

/* Wrong in a way that no time heals. */
static bool is_wrong(int rc) {
    return rc == -EACCES || rc == -EINVAL || rc == -ENAMETOOLONG ||
           rc == -EHOSTUNREACH || rc == -ENOKEY;
}

static int begin(struct target *target, const struct address *address, struct link *link) {
    tram_client *client = target->client;
    char text[ADDRESS_SIZE];
    tram_session *session;

    session = session_new(&client->endpoint, link, address_format(address, text));
    if (!session)
        return worker_fail(client->endpoint.worker, -ENOMEM, "no memory for a session");
    session->state = SESSION_LOST; /* until it is connected */
    session->fresh = !target->tried;
    target_join(target, session);
    return 0;
}

int client_reach_socket(struct target *target) {
    tram_worker *worker = target->client->endpoint.worker;
    struct address address;
    char text[ADDRESS_SIZE];
    struct link *link;
    int rc = 0;

    if (target->again_set)
        return 0;
    if (!candidate(target, 0, &address))
        return worker_fail(worker, -EPROTONOSUPPORT, "the server has no address of that kind");
    for (; candidate(target, target->attempt, &address); target->attempt++) {
        rc = socket_connect(worker, &address, target->client->flags & TRAM_CLIENT_PLAIN, &link);
        if (rc == 0)
            return begin(target, &address, link);
        if (rc == -ENOKEY) /* the text is there */
            continue;
        (void) worker_fail(worker, rc, "cannot connect to '%.150s': %s",
                           address_format(&address, text),
                           rc == -EACCES && address.kind == ADDRESS_TCP
                               ? "tcp:// beyond loopback has to be meant: TRAM_CLIENT_PLAIN"
                               : strerror(-rc));
    }
    try_again(target);
    return is_wrong(rc) ? rc : 0;
}
