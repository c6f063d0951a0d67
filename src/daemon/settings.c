/* SPDX-License-Identifier: MIT */
#include "daemon/settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/log.h"
#include "sys/cleanup.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/socket.h"
#include "wire/allow.h"
#include "wire/config.h"
#include "wire/hosts.h"

#define FILE_MAX (UINT64_C(1) << 20)

#define AT(member) offsetof(struct settings, member)
#define TEXT(member) CONFIG_TEXT, AT(member), 0, sizeof(((struct settings *) NULL)->member), NULL
#define HOST_TEXT(member)                                                                          \
    CONFIG_TEXT, offsetof(struct settings_host, member), 0,                                        \
        sizeof(((struct settings_host *) NULL)->member), NULL

#define HOSTS "host *"

static const struct config_key keys[] = {
    { "daemon", "idle", CONFIG_TIME, AT(idle_ns), SYS_SECOND / 10, 86400 * SYS_SECOND, NULL },
    { "log", "level", CONFIG_WORD, AT(level), 0, 0, level_words },
    { "log", "file", CONFIG_TEXT, AT(log_file), 0, sizeof(((struct settings *) NULL)->log_file),
      NULL },
    { "limits", "connections", CONFIG_NUMBER, AT(connections), 1, 1000000, NULL },
    { "limits", "names", CONFIG_NUMBER, AT(names), 1, 1000000, NULL },
    { "limits", "names-each", CONFIG_NUMBER, AT(names_each), 1, 1000000, NULL },
    { "limits", "watches-each", CONFIG_NUMBER, AT(watches_each), 1, 1000000, NULL },
    { "limits", "queue", CONFIG_SIZE, AT(queue), 128 << 10, UINT64_C(1) << 30, NULL },
    { "limits", "greeting", CONFIG_TIME, AT(greeting_ns), SYS_SECOND / 10, 3600 * SYS_SECOND,
      NULL },
    { "cluster", "name", TEXT(cluster) },
    { "cluster", "host", TEXT(host) },
    { "cluster", "host-server", TEXT(host_server) },
    { "cluster", "listen", TEXT(listen) },
    { "cluster", "port", CONFIG_NUMBER, AT(port), 1, 65535, NULL },
    { "cluster", "host-server-port", CONFIG_NUMBER, AT(server_port), 1, 65535, NULL },
    { "cluster", "heartbeat", CONFIG_TIME, AT(beat_ns), SYS_SECOND / 20, 3600 * SYS_SECOND, NULL },
    { "cluster", "misses", CONFIG_NUMBER, AT(misses), 1, 1000, NULL },
    { "cluster", "spin", CONFIG_TIME, AT(spin_ns), 0, SYS_SECOND / 10, NULL },
    { "cluster", "lease", CONFIG_TIME, AT(lease_ns), 0, UINT64_C(1000000) * SYS_SECOND, NULL },
    { "cluster", "ids-each", CONFIG_NUMBER, AT(ids_each), 1, 10000000, NULL },
    { "cluster", "keys", TEXT(keys) },
    { "cluster", "insecure", CONFIG_BOOL, AT(insecure), 0, 0, NULL },
    { "tls", "ca", TEXT(tls_ca) },
    { "tls", "certificate", TEXT(tls_certificate) },
    { "tls", "key", TEXT(tls_key) },
    { "tls", "revoked", TEXT(tls_revoked) },
    { HOSTS, "address", HOST_TEXT(addresses) },
    { HOSTS, "allow-ids", HOST_TEXT(allow_ids) },
    { HOSTS, "allow-names", HOST_TEXT(allow_names) },
    { NULL, NULL, CONFIG_TEXT, 0, 0, 0, NULL },
};

void settings_default(struct settings *settings) {
    *settings = (struct settings){
        .level = LEVEL_INFO,
        .idle_ns = 30 * SYS_SECOND,
        .connections = 4096,
        .names = 16384,
        .names_each = 4096,
        .watches_each = 4096,
        .queue = UINT64_C(1) << 20,
        .greeting_ns = 10 * SYS_SECOND,
        .port = HOSTS_PORT_LINK,
        .server_port = HOSTS_PORT_DIRECTORY,
        .beat_ns = 2 * SYS_SECOND,
        .misses = 5,
        .ids_each = 65536,
    };
}

void settings_reset(struct settings *settings) {
    free(settings->hosts);
    settings->hosts = NULL;
    settings->host_count = 0;
}

/* ---- hosts ----------------------------------------------------------------------------------- */

const struct settings_host *settings_find(const struct settings *settings, const char *host) {
    for (uint64_t i = 0; i < settings->host_count; i++)
        if (strcmp(settings->hosts[i].name, host) == 0)
            return &settings->hosts[i];
    return NULL;
}

/* With a host server a host of which nothing is said may do all: its certificate is its ticket. */
bool settings_allow_id(const struct settings *settings, const char *host, uint32_t id) {
    const struct settings_host *found = settings_find(settings, host);

    if (!found || *found->allow_ids == '\0')
        return *settings->host_server != '\0';
    return allow_id(found->allow_ids, id);
}

bool settings_allow_name(const struct settings *settings, const char *host, const char *name,
                         const char *instance) {
    const struct settings_host *found = settings_find(settings, host);

    return !found || *found->allow_names == '\0' ||
           allow_name(found->allow_names, name, instance);
}

static void *host_item(void *into, const char *name, struct wrong *wrong) {
    struct settings *settings = into;
    struct settings_host *more;

    if (!hosts_name_valid(name)) {
        (void) wrong_set(wrong, -EINVAL, "'%.60s' can be no host's name", name);
        return NULL;
    }
    if (settings_find(settings, name) || settings->host_count == SETTINGS_HOSTS_MAX) {
        (void) wrong_set(wrong, -EINVAL, "[host %.60s] is there twice, or too many are", name);
        return NULL;
    }
    more = realloc(settings->hosts, (settings->host_count + 1) * sizeof(*more));
    if (!more) {
        (void) wrong_set(wrong, -ENOMEM, "no memory");
        return NULL;
    }
    settings->hosts = more;
    more += settings->host_count++;
    *more = (struct settings_host){ 0 };
    memcpy(more->name, name, strlen(name) + 1);
    return more;
}

static const struct config_items items = { HOSTS, host_item };

/* Does an address lead beyond this host? */
static bool is_beyond(const char *list) {
    char word[ALLOW_HOST_SIZE], host[ALLOW_HOST_SIZE];
    struct sys_address address;
    uint16_t port;

    while (allow_next(&list, word, sizeof(word)))
        if (allow_address(word, 1, host, &port) < 0 ||
            sys_address_numeric(host, port, &address) < 0 || !sys_address_is_local(&address))
            return true;
    return false;
}

static int addresses_check(const char *key, const char *list, bool named, struct wrong *wrong) {
    char word[320], host[ALLOW_HOST_SIZE];
    struct sys_address address;
    uint16_t port;

    while (allow_next(&list, word, sizeof(word))) {
        /* The name of the host that has to be there, by its certificate. */
        char *at = named ? strchr(word, '@') : NULL;

        if (at)
            *at = '\0';
        if ((at && !hosts_name_valid(word)) ||
            allow_address(at ? at + 1 : word, 1, host, &port) < 0 ||
            sys_address_numeric(host, port, &address) < 0)
            return wrong_set(wrong, -EINVAL,
                             "%s: '%.60s' is no address such as 10.0.0.1 or %s[fe80::1]:61001",
                             key, at ? at + 1 : word, named ? "NAME@" : "");
    }
    return 0;
}

static int hosts_check_all(const struct settings *settings, struct wrong *wrong) {
    uint32_t id;

    for (uint64_t i = 0; i < settings->host_count; i++) {
        const struct settings_host *host = &settings->hosts[i];

        if (addresses_check("address", host->addresses, false, wrong) < 0 ||
            allow_ids_check(host->allow_ids, wrong) < 0 ||
            allow_names_check(host->allow_names, wrong) < 0)
            return -EINVAL;
        /* Without a directory these ranges say where a node is. */
        for (uint64_t j = 0; j < i && *settings->host_server == '\0'; j++)
            if (allow_ids_overlap(host->allow_ids, settings->hosts[j].allow_ids, &id))
                return wrong_set(wrong, -EINVAL,
                                 "%u.%u.%u.%u is of hosts %.63s and %.63s: without a host server "
                                 "it has to be of one",
                                 id >> 24, id >> 16 & 255, id >> 8 & 255, id & 255, host->name,
                                 settings->hosts[j].name);
    }
    return 0;
}

/* What is wrong with the whole, though each line is right. */
int settings_check(struct settings *settings, struct wrong *wrong) {
    if (*settings->cluster == '\0')
        return 0;
    if (*settings->host == '\0')
        sys_host_name(settings->host, sizeof(settings->host));
    if (!hosts_name_valid(settings->cluster) || !hosts_name_valid(settings->host))
        return wrong_set(wrong, -EINVAL, "cluster '%.63s', host '%.63s': names are of letters, "
                         "digits, '.', '_' and '-'", settings->cluster, settings->host);
    if (strcmp(settings->host_server, "here") != 0 &&
        addresses_check("host-server", settings->host_server, true, wrong) < 0)
        return -EINVAL;
    if (addresses_check("listen", settings->listen, false, wrong) < 0 ||
        hosts_check_all(settings, wrong) < 0)
        return -EINVAL;
    if (*settings->host_server == '\0' && !settings_find(settings, settings->host))
        return wrong_set(wrong, -EINVAL, "without a host-server there has to be a section "
                         "[host %.63s] with its allow-ids", settings->host);
    if (!settings_have_keys(settings) && !settings->insecure && is_beyond(settings->listen))
        return wrong_set(wrong, -EINVAL, "listen: beyond this machine only with keys, or with "
                         "insecure = yes");
    return 0;
}

int settings_read(const char *path, struct settings *ret_settings, struct wrong *wrong) {
    OWNS_FD int fd = sys_file_open(AT_FDCWD, path, false);
    OWNS_MEMORY char *text = NULL;
    struct settings settings;
    struct sys_stat st;
    int rc = fd < 0 ? fd : sys_stat_fd(fd, &st);

    wrong->line = 0;
    if (rc == 0 && st.is_directory)
        rc = -EISDIR;
    if (rc == 0 && st.size > FILE_MAX)
        rc = -EFBIG;
    if (rc == 0) {
        text = malloc(st.size + 1);
        rc = text ? sys_file_read(fd, text, st.size, 0) : -ENOMEM;
    }
    if (rc < 0)
        return wrong_set(wrong, rc, "%s", strerror(-rc));
    settings_default(&settings);
    rc = config_parse_items(text, st.size, keys, &items, &settings, wrong);
    if (rc == 0) {
        wrong->line = 0;
        rc = settings_check(&settings, wrong);
    }
    if (rc == 0)
        *ret_settings = settings;
    else
        settings_reset(&settings);
    return rc;
}
