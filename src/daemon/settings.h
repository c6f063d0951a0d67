/* SPDX-License-Identifier: MIT
 *
 * What the config file says (tramd.conf(5)).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "wire/wrong.h"

#define SETTINGS_HOSTS_MAX 4095

/* What is said of one host of the cluster. */
struct settings_host {
    char name[64];
    char addresses[320];   /* of its link */
    char allow_ids[512];   /* "": see settings_allow_ids() */
    char allow_names[512];
};

struct settings {
    uint64_t level;        /* enum level */
    char log_file[256];    /* "": stderr; of --auto: tramd.log in the bus directory */
    uint64_t idle_ns;      /* --auto: how long nobody has to need it */
    uint64_t connections;
    uint64_t names;        /* in all */
    uint64_t names_each;   /* of a connection */
    uint64_t watches_each;
    uint64_t queue;        /* bytes that wait for one reader */
    uint64_t greeting_ns;  /* for the first frame of a connection */
    char cluster[64];      /* "": none, and what follows has no meaning */
    char host[64];
    char host_server[320]; /* its addresses; "here"; "": the hosts below are all there are */
    char listen[320];      /* addresses, one for each interface */
    uint64_t port, server_port;
    uint64_t beat_ns, misses;
    uint64_t spin_ns;      /* how long to look on before sleeping; 0: not at all */
    uint64_t lease_ns;     /* 0: IDs are taken over by command only */
    uint64_t ids_each;
    uint64_t insecure;
    char keys[256];        /* of 'tram keys', a bundle; "": none, or those that follow */
    char tls_ca[256], tls_certificate[256], tls_key[256], tls_revoked[256];
    struct settings_host *hosts;
    uint64_t host_count;
};

void settings_default(struct settings *settings);
/* What is wrong with the whole, though each key is right; -EINVAL. */
int settings_check(struct settings *settings, struct wrong *wrong);
/* Free what it has. */
void settings_reset(struct settings *settings);

static inline bool settings_have_keys(const struct settings *settings) {
    return *settings->keys != '\0' || *settings->tls_key != '\0';
}

/* What is said of a host, or NULL. */
const struct settings_host *settings_find(const struct settings *settings, const char *host);
/* May that host hold that ID, or announce that name? */
bool settings_allow_id(const struct settings *settings, const char *host, uint32_t id);
bool settings_allow_name(const struct settings *settings, const char *host, const char *name,
                         const char *instance);

/* Read a file over the defaults. -EINVAL: a mistake in it; or what the system says. *wrong has the
 * text, and the line of a mistake. */
int settings_read(const char *path, struct settings *ret_settings, struct wrong *wrong);
