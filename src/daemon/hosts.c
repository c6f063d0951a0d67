/* SPDX-License-Identifier: MIT
 *
 * This host as a part of a cluster: start and end, the other hosts, time.
 */
#include "daemon/hosts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "daemon/record_file.h"
#include "daemon/relay.h"
#include "daemon/stands.h"
#include "sys/cleanup.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "wire/allow.h"

#define LIFE_NAME "life" /* how many daemons this bus has had in a cluster */
#define HOSTS_FILE "hosts"

/* ---- the table ------------------------------------------------------------------------------- */

struct host *host_by_name(struct hosts *hosts, const char *name) {
    struct host *host = hosts->list;

    while (host && strcmp(host->name, name) != 0)
        host = host->next;
    return host;
}

struct host *host_by_number(struct hosts *hosts, uint32_t number) {
    struct host *host = number > 0 ? hosts->list : NULL;

    while (host && host->number != number)
        host = host->next;
    return host;
}

const char *host_name(struct hosts *hosts, uint32_t number) {
    struct host *host = host_by_number(hosts, number);

    return host ? host->name : number == hosts->self.host ? hosts->self.name : "?";
}

static void host_remove(struct host *host) {
    struct host **link = &host->hosts->list;

    stands_leave(host);
    peer_end(host);
    stands_drop(host);
    far_forget(host);
    looks_down(host);
    sample_leave(host);
    relays_forget(host);
    torn_free(host);
    while (*link != host)
        link = &(*link)->next;
    *link = host->next;
    host->hosts->count--;
    free(host);
}

static struct host *host_add(struct hosts *hosts, const char *name) {
    struct host *host = calloc(1, sizeof(*host));

    if (!host)
        return NULL;
    host->hosts = hosts;
    memcpy(host->name, name, strlen(name) + 1);
    if (peer_begin(host) < 0) {
        free(host);
        return NULL;
    }
    host->next = hosts->list;
    hosts->list = host;
    hosts->count++;
    return host;
}

/* ---- the file -------------------------------------------------------------------------------- */

/* What is known of the other hosts, for a daemon that finds no directory. */
static void hosts_write(struct hosts *hosts) {
    struct control_out out = { 0 };
    int rc = 0;

    for (struct host *host = hosts->list; host && rc == 0; host = host->next) {
        Tram__Hosts__Record record = HOSTS_NEW(Record, record);
        hosts_frame frame = HOSTS_FRAME(RECORD, record, &record);
        hosts_host words = HOSTS_NEW(Host, host);
        char texts[HOSTS_ADDRESSES_MAX][HOSTS_ADDRESS_MAX + 1], *list[HOSTS_ADDRESSES_MAX];
        const char *at = host->addresses;

        while (words.n_addresses < HOSTS_ADDRESSES_MAX &&
               allow_next(&at, texts[words.n_addresses], sizeof(texts[0]))) {
            list[words.n_addresses] = texts[words.n_addresses];
            words.n_addresses++;
        }
        words.addresses = list;
        words.number = host->number;
        words.name = host->name;
        words.program = host->program;
        words.instance.data = host->instance;
        words.instance.len = sizeof(host->instance);
        record.host = &words;
        rc = hosts_out_add(&out, &frame);
    }
    if (rc == 0)
        rc = record_file_write(hosts->daemon->bus.dir, HOSTS_FILE, &out, NULL);
    if (rc < 0)
        log_line(LEVEL_ERROR, "cannot write %s/%s: %s", hosts->daemon->bus.path, HOSTS_FILE,
                 strerror(-rc));
    control_out_reset(&out);
}

/* It is only a help: what can't be read is not there. */
static void hosts_load(struct hosts *hosts) {
    struct record_file file;
    struct wrong wrong;
    hosts_frame *frame;
    int rc = record_file_open(&file, hosts->daemon->bus.dir, HOSTS_FILE);

    while (rc == 0 && (rc = record_file_more(&file)) > 0)
        while ((rc = hosts_in_next(&file.in, HOSTS_TO_FILE, &frame, &wrong)) > 0) {
            if (frame->record->host)
                hosts_on_host(hosts, frame->record->host, false);
            (void) hosts_free(frame);
        }
    record_file_close(&file);
}

/* ---- what the directory says of hosts -------------------------------------------------------- */

void hosts_on_joined(struct hosts *hosts, uint32_t number) {
    int rc = 0;

    for (struct host *host = hosts->list; host; host = host->next)
        host->told = false;
    hosts->joined = true;
    hosts->told = false;
    if (hosts->self.host == number)
        return;
    if (hosts->self.host > 0)
        log_line(LEVEL_WARNING, "this host has number %" PRIu32 " now, and had %" PRIu32, number,
                 hosts->self.host);
    hosts->self.host = hosts->identity.number = number;
    rc = cluster_write(&hosts->daemon->bus, &hosts->self);
    if (rc < 0)
        log_line(LEVEL_ERROR, "cannot write %s/cluster: %s", hosts->daemon->bus.path,
                 strerror(-rc));
}

/* A host is there, or is another than it was. */
void hosts_on_host(struct hosts *hosts, const hosts_host *words, bool gone) {
    struct host *host = host_by_name(hosts, words->name);
    char addresses[HOSTS_ADDRESSES_TEXT] = "";
    size_t used = 0;
    bool other;

    if (strcmp(words->name, hosts->identity.host) == 0)
        return;
    if (gone) {
        if (host)
            host_remove(host);
        hosts_write(hosts);
        copies_lost(hosts);
        return;
    }
    if (!host)
        host = host_add(hosts, words->name);
    if (!host) {
        log_line(LEVEL_ERROR, "no memory for host %s", words->name);
        return;
    }
    for (size_t i = 0; i < words->n_addresses && used < sizeof(addresses); i++)
        used += (size_t) snprintf(addresses + used, sizeof(addresses) - used, "%s%s",
                                  i > 0 ? " " : "", words->addresses[i]);
    host->told = true;
    host->number = words->number;
    other = words->instance.len == HOSTS_INSTANCE &&
            memcmp(host->instance, words->instance.data, HOSTS_INSTANCE) != 0;
    if (other)
        memcpy(host->instance, words->instance.data, HOSTS_INSTANCE);
    (void) snprintf(host->program, sizeof(host->program), "%s", words->program);
    if (host->away != words->away)
        log_line(LEVEL_INFO, "host %s is %s", host->name,
                 words->away ? "unreachable for the directory" : "there again");
    host->away = words->away;
    if (strcmp(host->addresses, addresses) != 0) {
        memcpy(host->addresses, addresses, sizeof(addresses));
        peer_change(host);
    }
    if (hosts->told)
        hosts_write(hosts);
    if (other)
        copies_lost(hosts);
}

void hosts_on_told(struct hosts *hosts) {
    struct host *next;

    hosts->told = true;
    for (struct host *host = hosts->list; host; host = next) {
        next = host->next;
        if (!host->told)
            host_remove(host); /* it was forgotten while we did not hear */
    }
    hosts_write(hosts);
    stands_look(hosts);
    copies_lost(hosts);
    for (struct host *host = hosts->list; host; host = host->next)
        stands_settle(host);
    hosts_wake(hosts, hosts_now(hosts)); /* far.c may have waited for it */
}

void hosts_on_away(struct hosts *hosts, const char *why) {
    (void) why; /* the seat has said it */
    hosts->joined = false;
    if (hosts->placing)
        placing_cut(hosts);
}

/* ---- time ------------------------------------------------------------------------------------ */

int64_t hosts_now(struct hosts *hosts) {
    return worker_now(hosts->tasks.worker);
}

static void set(struct hosts *hosts, int64_t due) {
    int64_t now = worker_read_clock(hosts->tasks.worker);

    hosts->due = due;
    (void) tram_timer_set(hosts->timer,
                          due == INT64_MAX ? TRAM_FOREVER : due > now ? due - now : 0, 0);
}

void hosts_wake(struct hosts *hosts, int64_t due) {
    if (due < hosts->due)
        set(hosts, due);
}

static int64_t lesser(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static void on_timer(tram_timer *timer, int64_t late_ns, uint64_t missed, void *arg) {
    struct hosts *hosts = arg;
    int64_t now = hosts_now(hosts), next;

    (void) timer;
    (void) late_ns;
    (void) missed;
    hosts->due = INT64_MAX;
    next = host_server_time(hosts, now);
    next = lesser(next, peers_time(hosts, now));
    next = lesser(next, stands_time(hosts, now));
    next = lesser(next, sample_time(hosts, now));
    next = lesser(next, trace_time(hosts, now));
    next = lesser(next, placing_time(hosts, now));
    next = lesser(next, far_time(hosts, now));
    next = lesser(next, trust_time(hosts, now));
    next = lesser(next, looks_time(hosts, now));
    next = lesser(next, strays_time(hosts, now));
    next = lesser(next, relays_time(hosts, now));
    if (next < hosts->due)
        set(hosts, next);
}

/* ---- spinning -------------------------------------------------------------------------------- */

/* What came is seen by a read that finds something, and who rings by his word in memory: nobody has
 * to be woken. */
static bool on_turn(struct worker_source *source) {
    struct hosts *hosts = (struct hosts *) ((char *) source - offsetof(struct hosts, looking));
    bool any = peers_turn(hosts);

    return stands_turn(hosts) || any;
}

/* ---- start ----------------------------------------------------------------------------------- */

/* One more than the last daemon here had. */
static int life_count(const struct bus *bus, uint64_t *ret_life) {
    OWNS_FD int fd = sys_file_open_or_make(bus->dir, LIFE_NAME, bus->mode);
    uint64_t life = 0, wall = sys_wall();
    int rc = fd < 0 ? fd : sys_file_read(fd, &life, sizeof(life), 0);

    if (rc < 0 && rc != -ENODATA)
        return rc;
    life = life >= wall ? life + 1 : wall; /* also if the file is lost */
    rc = sys_file_write(fd, &life, sizeof(life), 0);
    if (rc == 0)
        *ret_life = life;
    return rc;
}

static int identify(struct hosts *hosts) {
    const struct settings *settings = hosts_settings(hosts);
    const struct bus *bus = &hosts->daemon->bus;
    struct cluster *self = &hosts->self;
    int rc = cluster_read(bus->dir, self);

    if (rc == -ENOENT) {
        *self = (struct cluster){ 0 };
        rc = sys_random(self->instance, sizeof(self->instance));
    }
    if (rc < 0)
        return rc;
    if (self->host > 0 && strcmp(self->name, settings->host) != 0) {
        /* It gets another number, and so this is written. */
        log_line(LEVEL_WARNING, "this host is called %s now, and was %s", settings->host,
                 self->name);
        self->host = 0;
    }
    (void) snprintf(self->name, sizeof(self->name), "%s", settings->host);
    (void) snprintf(hosts->identity.host, sizeof(hosts->identity.host), "%s", settings->host);
    (void) snprintf(hosts->identity.cluster, sizeof(hosts->identity.cluster), "%s",
                    settings->cluster);
    memcpy(hosts->identity.instance, self->instance, sizeof(hosts->identity.instance));
    hosts->identity.number = self->host;
    hosts->identity.features = LINK_FEATURES;
    return life_count(bus, &hosts->identity.life);
}

static void add_address(char *all, size_t room, const char *host, uint16_t port) {
    size_t used = strlen(all);
    bool v6 = strchr(host, ':');

    (void) snprintf(all + used, room - used, "%s%s%s%s:%u", used > 0 ? " " : "", v6 ? "[" : "",
                    host, v6 ? "]" : "", (unsigned) port);
}

/* All of this machine's, for who listens at 0.0.0.0 or [::]. */
static void add_interfaces(char *all, size_t room, uint16_t port, bool v6) {
    struct sys_interface interfaces[16];
    int count = sys_interfaces(interfaces, 16);

    for (int i = 0; i < count; i++) {
        char text[SYS_ADDRESS_TEXT], host[ALLOW_HOST_SIZE];
        uint16_t none;

        (void) sys_address_text(&interfaces[i].address, text);
        if (sys_address_is_local(&interfaces[i].address) ||
            allow_address(text, port, host, &none) < 0 || strchr(host, '%') ||
            (strchr(host, ':') != NULL && !v6))
            continue;
        add_address(all, room, host, port);
    }
}

/* What the others are told to dial. */
static void find_addresses(struct hosts *hosts) {
    const struct settings *settings = hosts_settings(hosts);
    const char *at = *settings->listen ? settings->listen : "127.0.0.1";
    char word[HOSTS_ADDRESS_MAX + 1], host[ALLOW_HOST_SIZE];
    size_t room = sizeof(hosts->addresses);
    uint16_t port;

    hosts->addresses[0] = '\0';
    while (allow_next(&at, word, sizeof(word))) {
        if (allow_address(word, (uint16_t) settings->port, host, &port) < 0)
            continue; /* was checked */
        if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
            add_interfaces(hosts->addresses, room, port, strcmp(host, "::") == 0);
        else
            add_address(hosts->addresses, room, host, port);
    }
}

static int start(struct hosts *hosts) {
    const struct settings *settings = hosts_settings(hosts);
    bool here = strcmp(settings->host_server, "here") == 0;
    int rc = identify(hosts);

    if (rc == 0)
        rc = trust_start(hosts);
    if (rc == 0)
        rc = tram_timer_new(hosts->tasks.worker, on_timer, hosts, &hosts->timer);
    if (rc == 0)
        rc = peers_start(hosts);
    if (rc == 0 && here)
        rc = host_server_start(hosts);
    if (rc == 0)
        rc = stands_start(hosts);
    if (rc == 0)
        rc = placing_start(hosts);
    if (rc == 0)
        rc = relays_start(hosts);
    if (rc < 0)
        return rc;
    find_addresses(hosts);
    hosts->names_until = hosts_now(hosts) + (int64_t) (settings->beat_ns * settings->misses);
    if (*settings->host_server)
        hosts_load(hosts);
    hosts->maker = *settings->host_server ? &seat_by_server : &seat_by_list;
    rc = hosts->maker->join(hosts, &hosts_seat_calls, &hosts->seat);
    if (rc == 0) {
        stands_look(hosts);
        set(hosts, 0);
    }
    hosts->looking.turn = on_turn;
    if (rc == 0 && settings->spin_ns > 0)
        worker_source_add(hosts->tasks.worker, &hosts->looking);
    return rc;
}

int hosts_start(struct daemon *daemon) {
    struct hosts *hosts;
    int rc;

    if (*daemon->settings.cluster == '\0') {
        struct cluster old;

        if (cluster_read(daemon->bus.dir, &old) == 0)
            log_line(LEVEL_WARNING, "this bus was host %s of a cluster, of which the config says "
                     "nothing: nodes that were not placed here can't be opened", old.name);
        return 0;
    }
    hosts = calloc(1, sizeof(*hosts));
    if (!hosts)
        return -ENOMEM;
    hosts->daemon = daemon;
    hosts->due = hosts->strays_due = INT64_MAX;
    hosts->dir_fd = hosts->net_fd = hosts->relays.dir = -1;
    hosts->claims = (struct claims) NO_CLAIMS;
    tasks_init(&hosts->tasks, daemon->worker);
    daemon->hosts = hosts;
    rc = start(hosts);
    if (rc < 0) {
        log_line(LEVEL_ERROR, "cannot be part of cluster %s: %s", daemon->settings.cluster,
                 strerror(-rc));
        hosts_stop(daemon);
        return rc;
    }
    log_line(LEVEL_INFO, "host %s of cluster %s, at %s", hosts->self.name,
             daemon->settings.cluster, hosts->addresses);
    return 0;
}

void hosts_stop(struct daemon *daemon) {
    struct hosts *hosts = daemon->hosts;

    if (!hosts)
        return;
    worker_source_remove(&hosts->looking);
    if (hosts->maker)
        hosts->seat = hosts->maker->leave(hosts->seat);
    commands_stop(hosts);
    trace_forget(hosts, NULL);
    sample_stop(hosts);
    relays_stop(hosts);
    placing_stop(hosts);
    peers_stop(hosts);
    while (hosts->list)
        host_remove(hosts->list);
    stands_stop(hosts);
    host_server_stop(hosts);
    hosts->timer = tram_timer_free(hosts->timer);
    hosts->security = security_unref(hosts->security);
    free(hosts);
    daemon->hosts = NULL;
}

void hosts_reload(struct daemon *daemon, const struct settings *before) {
    const struct settings *now = &daemon->settings;

    if (strcmp(before->cluster, now->cluster) != 0 || strcmp(before->host, now->host) != 0 ||
        strcmp(before->host_server, now->host_server) != 0 ||
        strcmp(before->listen, now->listen) != 0 || before->port != now->port ||
        before->server_port != now->server_port || strcmp(before->keys, now->keys) != 0)
        log_line(LEVEL_WARNING, "[cluster]: name, host, host-server, listen, ports and the place "
                 "of keys count from the next start on");
    if (!daemon->hosts)
        return;
    host_server_reload(daemon->hosts);
    trust_reload(daemon->hosts);
}
