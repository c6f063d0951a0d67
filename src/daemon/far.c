/* SPDX-License-Identifier: MIT
 *
 * Names of other hosts. Each daemon tells all others what is published on its bus, and each of
 * these tells its own clients: so a look-up is answered where it is asked. A name of another host
 * stands in the list of the published, behind what was known before it, and in a table of its own:
 * it can be held here, too, and by several hosts. Its order, which only clients compare, is that of
 * its host.
 *
 * A name goes when its host says so; all of a host when it was not heard of for as long as the
 * heartbeat allows. A daemon that comes back says all of them, and what it does not say any more
 * goes.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/hosts.h"
#include "daemon/log.h"
#include "sys/socket.h"
#include "wire/address.h"
#include "wire/link.h"

#define EACH 128u                /* names of a frame: at most 64 KiB, see fits() */
#define AGAIN INT64_C(100000000) /* until a host that took no more is told anew */
#define FARTHER 2u               /* a round trip that is so many times the old one is told, */
#define FARTHER_LEAST UINT64_C(100000)    /* … if they are so far apart, */
#define FARTHER_AFTER INT64_C(1000000000) /* … and not before that has passed */

const char *far_host(const struct entry *entry) {
    return entry->far ? entry->far->name : "";
}

uint64_t far_distance(const struct host *host) {
    struct link_stats stats;

    if (!peer_link(host))
        return 0;
    link_stats(peer_link(host), &stats);
    return stats.rtt_min;
}

/* ---- telling others -------------------------------------------------------------------------- */

static void name_words(const struct entry *entry, Tram__Hosts__Name *words) {
    *words = HOSTS_NEW(Name, name);
    words->name = (char *) (uintptr_t) entry->name.name; /* frames that go out are only read */
    words->instance = (char *) (uintptr_t) entry->name.instance;
    words->program = (char *) (uintptr_t) entry->program;
    words->pid = entry->pid;
    words->node = entry->life->node;
    words->life = entry->life->number;
    words->port = entry->port;
    words->addresses = entry->addresses;
    words->n_addresses = entry->count;
    words->order = entry->order;
}

static int say(struct host *host, Tram__Hosts__Name *words, size_t count, bool first, bool last) {
    Tram__Hosts__Names names = HOSTS_NEW(Names, names);
    hosts_frame frame = HOSTS_FRAME(NAMES, names, &names);
    Tram__Hosts__Name *pointers[EACH];

    for (size_t i = 0; i < count; i++)
        pointers[i] = &words[i];
    names.names = pointers;
    names.n_names = count;
    names.first = first;
    names.last = last;
    return peer_say(host, &frame);
}

/* Bytes that it takes, at most. */
static size_t size_of(const Tram__Hosts__Name *words) {
    return tram__hosts__name__get_packed_size(words) + 8;
}

/* All that are published here. */
static void say_all(struct host *host) {
    struct daemon *daemon = host->hosts->daemon;
    Tram__Hosts__Name words[EACH];
    size_t count = 0, bytes = 0;
    bool first = true;
    int rc = 0;

    for (const struct entry *entry = daemon->table.first; entry && rc == 0; entry = entry->next) {
        if (entry->far)
            continue;
        name_words(entry, &words[count]);
        if (bytes + size_of(&words[count]) > 60000 || count == EACH - 1) {
            rc = say(host, words, count, first, false);
            first = false;
            words[0] = words[count];
            count = bytes = 0;
        }
        bytes += size_of(&words[count++]);
    }
    if (rc == 0)
        rc = say(host, words, count, first, true);
    host->names_owed = rc == -ENOBUFS || rc == -ENOMEM;
    host->names_due = host->names_owed ? hosts_now(host->hosts) + AGAIN : 0;
    if (host->names_owed)
        hosts_wake(host->hosts, host->names_due);
}

void far_tell(struct daemon *daemon, const struct entry *entry, bool gone) {
    Tram__Hosts__Name words;

    if (!daemon->hosts)
        return;
    name_words(entry, &words);
    words.gone = gone;
    for (struct host *host = daemon->hosts->list; host; host = host->next) {
        if (!peer_is_up(host) || host->names_owed)
            continue;
        if (say(host, &words, 1, false, false) < 0) {
            host->names_owed = true; /* all of them, when there is room */
            host->names_due = hosts_now(daemon->hosts) + AGAIN;
            hosts_wake(daemon->hosts, host->names_due);
        }
    }
}

/* ---- what others tell ------------------------------------------------------------------------ */

/* Where it hangs; NULL is there: it was not announced by that host. */
static struct entry **far_link(struct host *host, const char *name, const char *instance) {
    struct entry **link = &host->hosts->far[table_bucket(name, instance)];

    while (*link && ((*link)->far != host || strcmp((*link)->name.name, name) != 0 ||
                     strcmp((*link)->name.instance, instance) != 0))
        link = &(*link)->hash_next;
    return link;
}

static void far_drop(struct host *host, struct entry *entry) {
    struct daemon *daemon = host->hosts->daemon;

    *far_link(host, entry->name.name, entry->name.instance) = entry->hash_next;
    if (entry->order > 0)
        watch_offline(daemon, entry);
    table_hide(&daemon->table, entry);
    host->name_count--;
    free(entry->addresses);
    free(entry);
}

/* The next one that this host announced, behind that one; NULL: the first. */
static struct entry *far_next(const struct host *host, const struct entry *entry) {
    struct entry *next = entry ? entry->next : host->hosts->daemon->table.first;

    if (host->name_count == 0)
        return NULL;
    while (next && next->far != host)
        next = next->next;
    return next;
}

void far_forget(struct host *host) {
    struct entry *next;

    for (struct entry *entry = far_next(host, NULL); entry; entry = next) {
        next = far_next(host, entry);
        far_drop(host, entry);
    }
}

uint64_t far_count(const struct host *host) {
    return host->name_count;
}

/* A taken host can't pose as another: its nodes are its own, and so its names. */
static bool is_allowed(struct host *host, const Tram__Hosts__Name *name) {
    const struct settings *settings = hosts_settings(host->hosts);

    if (is_ephemeral(name->node) ? hosts_number_of(name->node) != host->number
                                 : !settings_allow_id(settings, host->name, name->node))
        return false;
    return settings_allow_name(settings, host->name, name->name, name->instance);
}

/* Loopback and "any" of another machine would be this one; a UNIX socket is of its own host. */
static bool is_usable(const struct host *host, const char *text) {
    struct sys_address where;
    struct address address;
    struct wrong wrong;

    if (address_parse(text, &address, &wrong) < 0 || address.kind == ADDRESS_IPC)
        return false;
    if (strcmp(address.host, "0.0.0.0") == 0 || strcmp(address.host, "::") == 0)
        return false;
    if (strcmp(address.host, "localhost") == 0)
        return peer_is_local(host);
    return sys_address_numeric(address.host, address.port, &where) < 0 ||
           !sys_address_is_local(&where) || peer_is_local(host);
}

/* Leave those that are of no use here. */
static void filter(const struct host *host, Tram__Hosts__Name *name) {
    size_t kept = 0;

    for (size_t i = 0; i < name->n_addresses; i++) {
        char *address = name->addresses[i];

        if (!is_usable(host, address))
            continue; /* behind those that are kept, so that it is freed */
        name->addresses[i] = name->addresses[kept];
        name->addresses[kept++] = address;
    }
    name->n_addresses = kept;
}

static bool is_same(const struct entry *entry, const Tram__Hosts__Name *name) {
    if (entry->far_node != name->node || entry->far_life != name->life ||
        entry->far_order != name->order || entry->port != name->port || entry->pid != name->pid ||
        entry->count != name->n_addresses)
        return false;
    for (size_t i = 0; i < entry->count; i++)
        if (strcmp(entry->addresses[i], name->addresses[i]) != 0)
            return false;
    return true;
}

static int far_add(struct host *host, const Tram__Hosts__Name *name) {
    struct daemon *daemon = host->hosts->daemon;
    struct entry *entry = calloc(1, sizeof(*entry));

    if (!entry || table_set_addresses(entry, name->addresses, name->n_addresses) < 0) {
        free(entry);
        return -ENOMEM;
    }
    memcpy(entry->name.name, name->name, strlen(name->name));
    memcpy(entry->name.instance, name->instance, strlen(name->instance));
    memcpy(entry->program, name->program, strlen(name->program) + 1);
    entry->far = host;
    entry->far_node = name->node;
    entry->far_life = name->life;
    entry->far_order = name->order;
    entry->round = host->round;
    entry->pid = name->pid;
    entry->port = name->port;
    *far_link(host, name->name, name->instance) = entry; /* it is not there: so the last one */
    host->name_count++;
    table_show(&daemon->table, entry, 0);
    watch_online(daemon, entry);
    return 0;
}

static int take_usable(struct host *host, const Tram__Hosts__Name *name) {
    const struct settings *settings = hosts_settings(host->hosts);
    struct entry *entry = *far_link(host, name->name, name->instance);
    char full[NAME_FULL_SIZE];

    if (entry && !name->gone && is_same(entry, name)) {
        entry->round = host->round;
        return 0;
    }
    if (entry)
        far_drop(host, entry);
    if (name->gone)
        return 0;
    if (!is_allowed(host, name) || host->name_count >= settings->names) {
        log_line(LEVEL_WARNING, "host %s announces %s: %s", host->name,
                 name_format(name->name, name->instance, full),
                 host->name_count >= settings->names ? "too many names"
                                                     : "the config does not allow it");
        return 0;
    }
    return far_add(host, name);
}

static int take_name(struct host *host, Tram__Hosts__Name *name) {
    size_t all = name->n_addresses;
    int rc;

    filter(host, name);
    rc = take_usable(host, name);
    name->n_addresses = all; /* as it was unpacked, so it is freed */
    return rc;
}

int far_take(struct host *host, const Tram__Hosts__Names *names) {
    struct entry *next;
    int rc = 0;

    host->round += names->first;
    for (size_t i = 0; i < names->n_names && rc == 0; i++)
        rc = take_name(host, names->names[i]);
    if (rc < 0 || !names->last)
        return rc;
    host->heard = true;
    hosts_wake(host->hosts, hosts_now(host->hosts)); /* perhaps it was the last one */
    for (struct entry *entry = far_next(host, NULL); entry; entry = next) {
        next = far_next(host, entry);
        if (entry->round != host->round)
            far_drop(host, entry);
    }
    return 0;
}

/* ---- links ----------------------------------------------------------------------------------- */

void far_up(struct host *host) {
    host->names_until = 0;
    say_all(host);
}

void far_down(struct host *host) {
    const struct settings *settings = hosts_settings(host->hosts);

    host->names_owed = false;
    host->names_until = hosts_now(host->hosts) +
                        (int64_t) (settings->beat_ns * settings->misses);
    hosts_wake(host->hosts, host->names_until);
}

/* Those who watch its names are told how far it is by now. */
static void tell_distance(struct host *host, int64_t now) {
    uint64_t is = host->name_count > 0 && peer_is_up(host) ? far_distance(host) : 0;
    uint64_t was = host->distance;
    uint64_t more = is > was ? is : was, less = is > was ? was : is;

    if (is == 0 || now < host->distance_due ||
        (was > 0 && (more < less * FARTHER || more - less < FARTHER_LEAST)))
        return;
    host->distance = is;
    host->distance_due = now + FARTHER_AFTER;
    for (struct entry *entry = NULL; (entry = far_next(host, entry));)
        watch_online(host->hosts->daemon, entry);
}

bool far_pending(const struct hosts *hosts) {
    return hosts->names_until > 0;
}

/* Nothing is known of names of other hosts when a daemon begins, and who watches names was told
 * them by the one before: it keeps them until all hosts have said theirs. */
static int64_t pending_time(struct hosts *hosts, int64_t now) {
    bool all = hosts->told;

    if (!far_pending(hosts))
        return INT64_MAX;
    for (const struct host *host = hosts->list; host; host = host->next)
        all &= host->heard;
    if (!all && now < hosts->names_until)
        return hosts->names_until;
    hosts->names_until = 0;
    watch_complete(hosts->daemon);
    return INT64_MAX;
}

int64_t far_time(struct hosts *hosts, int64_t now) {
    int64_t next = pending_time(hosts, now);

    for (struct host *host = hosts->list; host; host = host->next) {
        tell_distance(host, now);
        if (host->names_owed && peer_is_up(host)) {
            if (host->names_due <= now)
                say_all(host);
            if (host->names_owed && host->names_due < next)
                next = host->names_due;
        }
        if (host->names_until == 0)
            continue;
        if (host->names_until <= now) {
            host->names_until = 0;
            far_forget(host);
        } else if (host->names_until < next) {
            next = host->names_until;
        }
    }
    return next;
}
