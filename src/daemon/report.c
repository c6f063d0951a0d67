/* SPDX-License-Identifier: MIT
 *
 * What tools ask about the cluster: its hosts, this host's links, and commands, which wait for the
 * directory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/hosts.h"
#include "wire/allow.h"

#define LEFT_MOST 512

struct command {
    struct command *next;
    struct conn *conn;
    uint64_t number, cookie;
};

/* Frames that go out are only read. */
static char *text_of(const char *text) {
    return (char *) (uintptr_t) text;
}

static void done(struct conn *conn, uint64_t cookie, int error, const char *text) {
    Tram__Control__Done words = CONTROL_NEW(Done, done);
    control_frame frame = CONTROL_NEW(Frame, frame);

    words.cookie = cookie;
    words.error = error;
    words.text = text_of(text);
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_DONE;
    frame.done = &words;
    conn_send(conn, &frame);
}

/* ---- hosts ----------------------------------------------------------------------------------- */

/* The addresses of a list, apart; they lie in `room`. */
static size_t apart(const char *list, char room[HOSTS_ADDRESSES_MAX][HOSTS_ADDRESS_MAX + 1],
                    char *ret_list[HOSTS_ADDRESSES_MAX]) {
    size_t count = 0;

    while (count < HOSTS_ADDRESSES_MAX && allow_next(&list, room[count], HOSTS_ADDRESS_MAX + 1)) {
        ret_list[count] = room[count];
        count++;
    }
    return count;
}

static void send_host(struct conn *conn, Tram__Control__Host *words, const char *addresses) {
    char room[HOSTS_ADDRESSES_MAX][HOSTS_ADDRESS_MAX + 1], *list[HOSTS_ADDRESSES_MAX];
    control_frame frame = CONTROL_NEW(Frame, frame);

    words->n_addresses = apart(addresses, room, list);
    words->addresses = list;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_HOST;
    frame.host = words;
    conn_send(conn, &frame);
}

/* Is one of them not loopback? */
static bool has_far(const char *addresses) {
    char word[HOSTS_ADDRESS_MAX + 1];

    while (allow_next(&addresses, word, sizeof(word)))
        if (strncmp(word, "127.", 4) != 0 && strncmp(word, "[::1]", 5) != 0)
            return true;
    return false;
}

static void say_self(struct conn *conn, struct hosts *hosts, uint64_t cookie) {
    Tram__Control__Host words = CONTROL_NEW(Host, host);
    const char *trouble = hosts->maker->trouble(hosts->seat);

    words.cookie = cookie;
    words.self = words.up = true;
    words.name = hosts->self.name;
    words.number = hosts->self.host;
    words.instance.data = hosts->identity.instance;
    words.instance.len = sizeof(hosts->identity.instance);
    words.program = text_of(TRAM_VERSION);
    words.server = hosts->server != NULL;
    words.placed = placing_count(hosts, hosts->self.host);
    words.trouble = text_of(trouble ? trouble : "");
    words.cluster = hosts->identity.cluster;
    words.directory = text_of(hosts->maker->word);
    words.names = hosts->daemon->table.count;
    words.plain = !hosts->security && has_far(hosts->addresses);
    if (hosts->security)
        words.ends = security_self(hosts->security)->ends;
    send_host(conn, &words, hosts->addresses);
}

static void say_host(struct conn *conn, struct host *host, uint64_t cookie) {
    Tram__Control__Host words = CONTROL_NEW(Host, host);

    words.cookie = cookie;
    words.name = host->name;
    words.number = host->number;
    words.instance.data = host->instance;
    words.instance.len = sizeof(host->instance);
    words.program = host->program;
    words.away = host->away;
    words.up = peer_is_up(host);
    words.placed = placing_count(host->hosts, host->number);
    words.waiting = stands_waiting(host->hosts, host->number);
    words.trouble = text_of(words.up ? "" : peer_error(host));
    words.names = far_count(host);
    send_host(conn, &words, host->addresses);
}

static void say_link(struct conn *conn, struct host *host, uint64_t cookie) {
    Tram__Control__Link words = CONTROL_NEW(Link, link);
    control_frame frame = CONTROL_NEW(Frame, frame);

    words.cookie = cookie;
    words.host = host->name;
    words.backlog = stands_waiting(host->hosts, host->number);
    words.cut_short = host->cut_short;
    peer_report(host, &words);
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_LINK;
    frame.link = &words;
    conn_send(conn, &frame);
}

/* ---- what only another host has ------------------------------------------------------------- */

static void say_left(struct conn *conn, uint64_t cookie, tram_id id, uint64_t epoch,
                     const char *host, const struct placing_left *left) {
    Tram__Control__Left words = CONTROL_NEW(Left, left);
    control_frame frame = CONTROL_NEW(Frame, frame);

    words.cookie = cookie;
    words.id = id;
    words.epoch = epoch;
    words.host = text_of(host);
    words.waiting = left->waiting;
    words.arrived = left->arrived;
    frame.kind_case = TRAM__CONTROL__FRAME__KIND_LEFT;
    frame.left = &words;
    conn_send(conn, &frame);
}

/* So many at a time: who asks goes on behind the last. */
static void say_all_left(struct conn *conn, struct hosts *hosts,
                         const Tram__Control__Cluster *cluster) {
    struct host *host = host_by_name(hosts, cluster->host);
    struct placing_left left[LEFT_MOST];
    size_t count;

    if (!host) {
        done(conn, cluster->cookie, -ENOENT, "there is no host of that name");
        return;
    }
    count = placing_left(hosts, host->number, cluster->id, left, LEFT_MOST);
    for (size_t i = 0; i < count; i++)
        say_left(conn, cluster->cookie, left[i].id, left[i].epoch, host->name, &left[i]);
    done(conn, cluster->cookie, 0, "");
}

void hosts_said_whose(struct hosts *hosts, uint64_t number, tram_id id, uint64_t epoch,
                      uint32_t host) {
    static const struct placing_left nothing = { 0 };

    for (struct command *command = hosts->commands; command; command = command->next)
        if (command->number == number)
            say_left(command->conn, command->cookie, id, epoch, host_name(hosts, host), &nothing);
}

/* ---- commands -------------------------------------------------------------------------------- */

void hosts_said(struct hosts *hosts, uint64_t number, int error, const char *text) {
    for (struct command **link = &hosts->commands; *link; link = &(*link)->next) {
        struct command *command = *link;

        if (command->number != number)
            continue;
        *link = command->next;
        done(command->conn, command->cookie, error, text);
        free(command);
        return;
    }
}

void commands_forget(struct hosts *hosts, const struct conn *conn) {
    trace_forget(hosts, conn);
    for (struct command **link = &hosts->commands; *link;) {
        struct command *command = *link;

        if (command->conn == conn) {
            *link = command->next;
            free(command);
        } else {
            link = &command->next;
        }
    }
}

void commands_stop(struct hosts *hosts) {
    while (hosts->commands)
        commands_forget(hosts, hosts->commands->conn);
}

static void give_command(struct conn *conn, struct hosts *hosts,
                         const Tram__Control__Cluster *cluster) {
    struct command *command = calloc(1, sizeof(*command));
    int rc;

    if (!command) {
        done(conn, cluster->cookie, -ENOMEM, "no memory");
        return;
    }
    command->conn = conn;
    command->cookie = cluster->cookie;
    command->number = ++hosts->command;
    command->next = hosts->commands;
    hosts->commands = command;
    if (cluster->what == TRAM__CONTROL__ASK__TAKEOVER)
        rc = cluster->id == 0 || is_ephemeral(cluster->id)
                 ? -EINVAL : placing_takeover(hosts, cluster->id, command->number);
    else
        rc = hosts_name_valid(cluster->host)
                 ? hosts->maker->forget(hosts->seat, command->number, cluster->host) : -EINVAL;
    if (rc == -EALREADY)
        hosts_said(hosts, command->number, 0, "it is placed here");
    else if (rc == -EAGAIN)
        hosts_said(hosts, command->number, rc, "there is no directory");
    else if (rc == -EEXIST)
        hosts_said(hosts, command->number, -EBUSY, "it is being asked for at this moment");
    else if (rc < 0)
        hosts_said(hosts, command->number, rc, strerror(-rc));
}

void ask_cluster(struct conn *conn, const Tram__Control__Cluster *cluster) {
    struct hosts *hosts = conn->daemon->hosts;

    if (!hosts) {
        done(conn, cluster->cookie, -ENOENT, "this bus is part of no cluster");
        return;
    }
    switch (cluster->what) {
    case TRAM__CONTROL__ASK__HOSTS:
        say_self(conn, hosts, cluster->cookie);
        for (struct host *host = hosts->list; host; host = host->next)
            say_host(conn, host, cluster->cookie);
        break;
    case TRAM__CONTROL__ASK__LINKS:
        for (struct host *host = hosts->list; host; host = host->next)
            say_link(conn, host, cluster->cookie);
        break;
    case TRAM__CONTROL__ASK__TAKEOVER:
    case TRAM__CONTROL__ASK__FORGET:
        give_command(conn, hosts, cluster);
        return;
    case TRAM__CONTROL__ASK__LEFT:
        say_all_left(conn, hosts, cluster);
        return;
    default:
        trace_ask(conn, cluster);
        return;
    }
    done(conn, cluster->cookie, 0, "");
}
