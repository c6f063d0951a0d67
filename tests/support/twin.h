/* SPDX-License-Identifier: MIT
 *
 * Two hosts on one machine: two bus directories, each with a tramd, joined over loopback.
 */
#pragma once

#include <sys/types.h>

struct twin {
    char dir[2][256];   /* TRAM_DIR of each */
    pid_t daemon[2];    /* 0: stopped */
    char config[2][320];
};

/* Start both: hosts "a" and "b". The node 1.1.5.1 (PAIR_SERVER) is b's, 1.1.5.2 a's. This process
 * is on a from now on. */
void twin_start(struct twin *twin);
/* This process, and what it forks, is on that host now: 0 is a, 1 b. */
void twin_be(const struct twin *twin, int host);
/* What the daemons said, on standard error: for a test that fails. */
void twin_show(const struct twin *twin);
/* Kill that daemon (-9); start it again. */
void twin_kill(struct twin *twin, int host);
void twin_run(struct twin *twin, int host);
