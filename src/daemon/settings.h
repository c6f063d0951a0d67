/* SPDX-License-Identifier: MIT
 *
 * What the config file says (tramd.conf(5)).
 */
#pragma once

#include <stdint.h>

#include "wire/wrong.h"

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
};

void settings_default(struct settings *settings);

/* Read a file over the defaults. -EINVAL: a mistake in it; or what the system says. *wrong has the
 * text, and the line of a mistake. */
int settings_read(const char *path, struct settings *ret_settings, struct wrong *wrong);
